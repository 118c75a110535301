"""Files: written whole or not at all, read or refused with one `InputError`; and where the checkout is."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pickle
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from rl_il.errors import InputError

MAX_MESSAGE = 1000  # characters of an error
LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}")  # how mkstemp names a temporary file
REPOSITORY = Path(__file__).resolve().parent.parent
"""The checkout that holds `experts/` and `data/` (the package is installed from it with `pip install -e`)."""


def one_line(error: Exception | str) -> str:
    """Return the message on one line, cut, and without control characters: it may quote a file of unknown origin."""
    return "".join(c if c.isprintable() else " " for c in str(error)[:MAX_MESSAGE])


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one `InputError`: the file is not a readable `what`.

    `zipfile`, `zlib`, `struct`, `pickle`, NumPy and torch raise almost any exception; none of them says more.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read ({one_line(error.strerror or error)}); expected a {what}") from error
    except Exception as error:
        raise InputError(f"is not a readable {what} ({type(error).__name__}: {one_line(error)[:200]})") from error


def load_torch(file: str | Path | BinaryIO) -> Any:
    """Return what `torch.save` wrote, on the CPU. No code in the file is run.

    Raise `InputError`, which begins with the path if `file` is one, where the file is damaged or holds anything but
    tensors and plain data.
    """
    import torch  # most commands need no torch before they read such a file

    try:
        with reading("file of torch.save"):
            try:
                return torch.load(file, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:  # whose message recommends running the code
                raise InputError(
                    "is not a readable file of torch.save: it is damaged, or holds something else than tensors and"
                    " plain data; nothing in it was run"
                ) from error
    except InputError as error:
        raise InputError(f"{file}: {error}" if isinstance(file, (str, Path)) else str(error)) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path`, and rename it to `path` once it is whole and on disk.

    Raise `InputError` where the disk or the folder does not allow it.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide the file from a shared machine's group
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Write the folder itself to disk: otherwise a power cut could lose the name of a file that was put in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, below: bool = True) -> None:
    """Remove what a killed process was writing with `atomic_write` in the folder, and in those `below` it."""
    for path in folder.glob("**/.*" if below else ".*"):
        if LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raise `InputError` for a file that could not be written: before the work whose result it will hold."""
    path = Path(path)
    folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    if os.path.isdir(path) or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "is a folder" if os.path.isdir(path) else f"cannot be written into {folder}"
        raise InputError(f"{path}: {what}; give another file")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON. Not-a-number and infinities become null: JSON has neither."""
    with atomic_write(path) as file:
        file.write((to_json(value, indent=2) + "\n").encode())


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows under a header of all their keys; a row that lacks one has an empty cell there."""
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file that `write_csv` wrote; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def to_json(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON text, with null for not-a-number and infinities."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
