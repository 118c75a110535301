"""Where the checkout is, and files that are written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from rl_il.errors import InputError

LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}")  # how mkstemp names it
REPOSITORY = Path(__file__).resolve().parent.parent
"""The checkout that holds `experts/` and `data/` (the package is installed from it with `pip install -e`)."""


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path`, and puts it in `path`'s place once it is whole and on disk.

    Raises `InputError` where the disk or the folder does not let it.
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
    """Has the folder itself written to disk: after a power cut it would not know of a file that was put in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, below: bool = True) -> None:
    """Removes what `atomic_write` was writing in the folder, or `below` it too, when its process was killed."""
    for path in folder.glob("**/.*" if below else ".*"):
        if LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raises `InputError` for a file that could not be written, before the work whose result it is to hold."""
    path = Path(path)
    folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    if os.path.isdir(path) or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "is a folder" if os.path.isdir(path) else f"cannot be written into {folder}"
        raise InputError(f"{path}: {what}; give another file")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON. Not-a-number and infinities become null: JSON has neither."""
    with atomic_write(path) as file:
        file.write((to_json(value, indent=2) + "\n").encode())


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes the rows under a header of all their keys; a row that lacks one has an empty cell there."""
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file that `write_csv` wrote; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def to_json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON text, with null for not-a-number and infinities."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
