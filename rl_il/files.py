"""Functions that read and write files, and that find the files of the package and the run folders.

A file is written completely or not at all. A file that cannot be read raises one `InputError`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from rl_il.errors import InputError, RemovedError

MAX_MESSAGE = 1000  # characters
LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}")  # the names that mkstemp gives to temporary files
REPOSITORY = Path(__file__).resolve().parent.parent
"""The folder of the repository, if the package is used from a checkout (`in_checkout`)."""
SHIPPED = Path(__file__).resolve().parent / "shipped"
"""The copies of experts, demonstrations and scripts in an installed package. `setup.py` makes them for a wheel."""
RUNS = "RL_IL_DATA"  # the environment variable that names the folder of new runs
LATEST = "latest"  # means the newest run folder, wherever a run is accepted


def in_checkout() -> bool:
    """Return whether the package is used from a checkout of the repository, not installed from a wheel."""
    return not SHIPPED.is_dir()


def shipped(*names: str) -> Path:
    """Return the path of something that comes with the package, such as `shipped("experts", "Ant-v5.npz")`."""
    return (REPOSITORY if in_checkout() else SHIPPED).joinpath(*names)


def data_folder() -> Path:
    """Return the folder in which new run folders are made: `$RL_IL_DATA`, or else `data` in the working folder."""
    return Path(os.environ.get(RUNS) or "data").expanduser().absolute()


def safe_name(text: str) -> str:
    """Return the text as a name of a file or folder that every system allows. Forbidden characters become `-`.

    Windows forbids these characters, a dot or space at the end, and the names of its devices.
    """
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "-", text)
    name = re.sub(r"[. ]+$", lambda end: "-" * len(end[0]), name)
    return f"_{name}" if re.match(r"(?i:con|prn|aux|nul|com\d|lpt\d) *(\.|$)", name) else name


def latest_run() -> Path:
    """Return the run folder whose config.json was written last.

    Search `data_folder()` and the folders in it, such as `data/demo`. Teaching sessions are not runs. Raise
    `InputError` if there is no run.
    """
    runs = data_folder()
    newest_first = sorted([*runs.glob("*/config.json"), *runs.glob("*/*/config.json")], key=_modified, reverse=True)
    for path in newest_first:
        try:
            if "config" in json.loads(path.read_text(encoding="utf-8")):
                return path.parent
        except (OSError, ValueError, TypeError):  # not the config.json of a run
            continue
    raise InputError(
        f"{LATEST}: there is no run folder in {runs} yet; give the path of a run, or start a run first (${RUNS} names"
        " another folder)"
    )


def _modified(path: Path) -> tuple[float, str]:
    """Return a key that sorts files by the time of their last change, then by name."""
    return path.stat().st_mtime, str(path)


def named_run(name: str) -> str:
    """Return `name` unchanged. For `latest`, return the newest run folder and print it on stderr."""
    if name != LATEST:
        return name
    folder = latest_run()
    print(f"{LATEST}: {folder}", file=sys.stderr)
    return str(folder)


def one_line(error: BaseException | str) -> str:
    """Return the message on one line, shortened and without control characters, since it may quote any file."""
    return "".join(c if c.isprintable() else " " for c in str(error)[:MAX_MESSAGE])


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Convert any exception in the `with` block to an `InputError`: the file is not a readable `what`.

    On a damaged file, `zipfile`, `zlib`, `struct`, `pickle`, NumPy and torch raise exceptions of almost any class.
    """
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read ({one_line(error.strerror or error)}); expected a {what}") from error
    except Exception as error:
        raise InputError(f"is not a readable {what} ({type(error).__name__}: {one_line(error)[:200]})") from error


LEGACY_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # at the beginning of files of torch.save before version 1.6


def load_torch(file: str | Path | BinaryIO) -> Any:
    """Return what `torch.save` wrote, on the CPU. No code in the file is run.

    Raise `InputError` if the file is damaged, or if it contains anything other than tensors and plain data. If `file`
    is a path, the message begins with it.
    """
    import torch  # slow, and only needed when such a file is read

    try:
        with reading("file of torch.save"):
            try:
                return torch.load(file, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:  # torch's message recommends to run the code in the file
                raise InputError(
                    "is not a readable file of torch.save: it is damaged, or contains something other than tensors"
                    " and plain data; no code in it was run"
                ) from error
    except InputError as error:
        raise InputError(f"{file}: {error}" if isinstance(file, (str, Path)) else str(error)) from error


_in_use: dict[Path, tuple[int, int] | None] = {}  # folders that are not made again if they are removed


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """While the block runs, raise `RemovedError` for a file in the folder, if the folder was removed or replaced.

    Otherwise the next file would be written into a new folder, which held only a part of a run, or into a copy.
    """
    folder = folder.absolute()
    _in_use[folder] = _identity(folder)
    try:
        yield
    finally:
        _in_use.pop(folder, None)


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return numbers that another folder at this path would not have, or None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_folder_of(path: Path) -> None:
    """Make the folders above `path` that do not exist. Raise `RemovedError` if one that was in use does not."""
    used = _used_above(path)
    if used is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    if _identity(used) != _in_use[used]:
        raise RemovedError(used)
    below = path.absolute().parent.relative_to(used).parts
    try:
        for count in range(1, len(below) + 1):
            used.joinpath(*below[:count]).mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise RemovedError(used) from error


def _used_above(path: Path) -> Path | None:
    """Return the innermost folder in use that the path is in, or None."""
    return next((folder for folder in path.absolute().parents if folder in _in_use), None)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to `path`, and rename it to `path` when its content is complete and on disk.

    Raise `InputError` if the file cannot be written, and `RemovedError` if its folder was in use and is gone.
    """
    path = Path(path)
    temporary = None
    try:
        make_folder_of(path)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's mode 0600 would not let other users read it
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)) and (used := _used_above(path)):
            raise RemovedError(used) from error
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError, NotADirectoryError):
                Path(temporary).unlink()


def _sync_folder(folder: Path) -> None:
    """Write the folder's list of files to disk. Otherwise a power failure could remove a new file from it."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, below: bool = True) -> None:
    """Remove the temporary files of killed processes from the folder and, if `below`, from its subfolders."""
    for path in folder.glob("**/.*" if below else ".*"):
        if LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raise `InputError` if the file cannot be written. Call it before the work that produces the content."""
    path = Path(path)
    folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))
    if os.path.isdir(path) or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = "is a folder" if os.path.isdir(path) else f"cannot be written, since {folder} is not writable"
        raise InputError(f"{path}: {what}; give another file")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON. NaN and infinities become null, since JSON does not have them."""
    with atomic_write(path) as file:
        file.write((to_json(value, indent=2) + "\n").encode())


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write a header with the keys of all rows, and the rows. If a row does not have a key, its cell is empty."""
    columns = dict.fromkeys(key for row in rows for key in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a file written by `write_csv`, or an empty list if the file does not exist."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def to_json(value: Any, indent: int | None = None) -> str:
    """Return `value` as JSON text, with null for NaN and infinities."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
