"""A run's state on disk, from which a run that was stopped continues as if it had never been.

`checkpoint/` in the run folder holds
  state_7.pt       weights, optimiser, counters and what was logged; no pickled code
  checkpoint.json  names the state, and with their SHA-256 all files that belong together

checkpoint.json is replaced last, in one step, and the state that it named before is removed only after that: there
is a whole checkpoint at any moment. Random streams need no place in it: each follows from the seed, its purpose and
the iteration.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from rl_il.datasets.loading import session_files
from rl_il.errors import InputError
from rl_il.files import atomic_write, load_torch, write_json

FOLDER = "checkpoint"
INDEX = "checkpoint.json"
FILE = re.compile(rf"{FOLDER}/state_[0-9]{{1,15}}\.pt|data/itr_[0-9]{{1,15}}\.npz")


class Checkpoint:
    """The checkpoint of one run folder."""

    def __init__(self, run_folder: Path):
        self.run_folder, self.folder = run_folder, run_folder / FOLDER

    def exists(self) -> bool:
        """Return whether there is a checkpoint to continue from."""
        return (self.folder / INDEX).is_file()

    def save(self, state: dict[str, Any], files: dict[str, str] | None = None) -> None:
        """Write the state: tensors, numbers, texts, and lists and dictionaries of them.

        Args:
          files: other files of the run folder that belong to the state, with their checksums.
        """
        import torch  # a command that ends on the user's mistake should not wait for it

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
        """Return the last state, and the files that belong to it with their checksums; None where nothing was saved.

        Raise `InputError` for a file that was changed since.
        """
        if not self.exists():
            return None
        index = self._read_index()
        for name, expected in index["files"].items():
            check_unchanged(self.run_folder / name, expected)
        files = {name: value for name, value in index["files"].items() if not name.startswith(f"{FOLDER}/")}
        return load_torch(self.folder / index["state"]), files

    def clear(self) -> None:
        """Remove the checkpoint: the run is finished."""
        (self.folder / INDEX).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_index(self) -> dict[str, Any]:
        path = self.folder / INDEX
        try:
            index = json.loads(path.read_text())
            files, state = index["files"], f"{FOLDER}/{index['state']}"
            if not isinstance(files, dict) or state not in files or not all(map(FILE.fullmatch, files)):
                raise ValueError("it must name a state and its files")
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{path}: is no index of a checkpoint ({error}); the run cannot go on") from error
        return index


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, or of the episodes in the folder of a lesson, in hexadecimal digits."""
    found = hashlib.sha256()
    for file in session_files(path) if path.is_dir() else [path]:
        with file.open("rb") as content:
            while part := content.read(2**20):
                found.update(part)
    return found.hexdigest()


def check_unchanged(path: Path, expected: str) -> None:
    """Raise `InputError` unless the file has this checksum."""
    if not path.exists():
        raise InputError(f"{path}: no such file; the run cannot go on")
    try:
        found = checksum(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); the run cannot go on") from error
    if found != expected:
        raise InputError(f"{path}: was changed or damaged since the run used it; the run cannot go on")


@contextmanager
def lock_folder(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Hold the folder while the block runs, or until the process dies.

    Raise `InputError` if another process holds it.
    """
    lock = filelock.FileLock(folder / name)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f"{folder}: is in use by another process; wait for it, or stop it") from error
    except (OSError, NotImplementedError) as error:  # some network file systems cannot lock
        raise InputError(f"{folder}: cannot be locked ({error}); choose a folder on another disk") from error
    try:
        yield
    finally:
        lock.release()
