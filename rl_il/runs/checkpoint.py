"""The state of a run on disk. A run that was stopped continues from it, and ends with the same result.

`checkpoint/` in the run folder holds
  state_7.pt       weights, optimiser, counters and what was logged; no pickled code
  checkpoint.json  names the state, and all files that belong to it with their SHA-256

checkpoint.json is replaced last, in one step. The previous state is removed only after that, so that a complete
checkpoint exists at any moment. Random streams are not saved: each follows from the seed, its purpose and the
iteration.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import filelock

from rl_il.datasets.loading import session_files
from rl_il.errors import InputError
from rl_il.files import atomic_write, in_use, load_torch, write_json

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FOLDER = "checkpoint"
INDEX = "checkpoint.json"
LOCK = ".lock"
FILE = re.compile(rf"{FOLDER}/state_[0-9]{{1,15}}\.pt|data/itr_[0-9]{{1,15}}\.npz")


class Checkpoint:
    """The checkpoint of one run folder."""

    def __init__(self, run_folder: Path):
        self.run_folder, self.folder = run_folder, run_folder / FOLDER

    def exists(self) -> bool:
        """Return whether there is a checkpoint to continue from."""
        return (self.folder / INDEX).is_file()

    def save(self, state: dict[str, Any], files: dict[str, str] | None = None) -> None:
        """Write the state: tensors, numbers, strings, and lists and dictionaries of them.

        Args:
          files: other files of the run folder that belong to the state, with their checksums.
        """
        import torch  # imported late, so that a mistake in the arguments is reported at once

        content = io.BytesIO()
        torch.save(state, content)
        old = self._read_index()["state"] if self.exists() else "state_0.pt"
        name = f"state_{int(old.split('_')[1].removesuffix('.pt')) + 1}.pt"
        with atomic_write(self.folder / name) as file:
            file.write(content.getvalue())
        checksum = hashlib.sha256(content.getvalue()).hexdigest()
        write_json(self.folder / INDEX, {"state": name, "files": {f"{FOLDER}/{name}": checksum, **(files or {})}})
        for other in self.folder.glob("state_*.pt"):
            if other.name != name:
                other.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, Any], dict[str, str]] | None:
        """Return the last state, and the files that belong to it with their checksums; None if nothing was saved.

        Raise `InputError` if a file was changed after the state was saved.
        """
        if not self.exists():
            return None
        index = self._read_index()
        for name, expected in index["files"].items():
            check_same(self.run_folder / name, expected)
        files = {name: value for name, value in index["files"].items() if not name.startswith(f"{FOLDER}/")}
        return load_torch(self.folder / index["state"]), files

    def clear(self) -> None:
        """Remove the checkpoint of a finished run."""
        (self.folder / INDEX).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_index(self) -> dict[str, Any]:
        path = self.folder / INDEX
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            files, state = index["files"], f"{FOLDER}/{index['state']}"
            if not isinstance(files, dict) or state not in files or not all(map(FILE.fullmatch, files)):
                raise ValueError("it must name a state and its files")
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{path}: is not a checkpoint's index ({error}); start the run again") from error
        return index


def is_plain(value: Any) -> bool:
    """Return whether a value can be read again from a checkpoint, in which no code is run."""
    if isinstance(value, dict):
        return all(map(is_plain, [*value.keys(), *value.values()]))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return isinstance(value, (bool, int, float, str, type(None))) or type(value).__name__ == "Tensor"


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, of a teaching run's episodes, or of all files of another folder, as text."""
    found = hashlib.sha256()
    inside = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]
    for file in session_files(path) or inside:
        with file.open("rb") as content:
            while part := content.read(2**20):
                found.update(part)
    return found.hexdigest()


def check_there(path: Path) -> None:
    """Raise `InputError` if a file of the run is missing."""
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file, but the run needs it; restore it, or start the run again")


def check_same(path: Path, expected: str) -> None:
    """Raise `InputError` if the file is missing or has another checksum."""
    check_there(path)
    try:
        found = checksum(path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); make it readable, or start the run again"
        ) from error
    if found != expected:
        raise InputError(f"{path}: was changed or damaged after the run used it; restore it, or start the run again")


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock the folder while the block runs, in which it is also `in_use`. If the process ends, the lock is released.

    Raise `InputError` if another process holds the lock.
    """
    with ExitStack() as stack:
        try:
            lock = filelock.FileLock(folder / LOCK)
            lock.acquire(timeout=0)
            stack.callback(lock.release)
            _lock_itself(folder, stack)
        except (filelock.Timeout, BlockingIOError) as error:
            raise InputError(f"{folder}: is in use by another process; wait for it, or stop it") from error
        except (OSError, NotImplementedError) as error:  # some network file systems cannot lock files
            raise InputError(f"{folder}: cannot be locked ({error}); choose a folder on another disk") from error
        stack.enter_context(in_use(folder))
        yield


def _lock_itself(folder: Path, stack: ExitStack) -> None:
    """Lock the folder itself, since somebody may remove the lock file, and another process would lock a new one.

    Raise `BlockingIOError` if another process holds it. Windows does not need this: it removes no file that is open.
    """
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # some network file systems lock only files
        pass
