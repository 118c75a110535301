"""A run's state on disk, so that one that was stopped goes on as if it had not been.

`checkpoint/` in the run folder holds
  data_0.npz, data_1.npz, ...  what each iteration added to the buffer: written once, before it is trained on
  state_7.pt                   weights, optimiser, counters and the log; no pickled code
  checkpoint.json              names the state and the data that belong together, with their SHA-256

checkpoint.json is replaced last, in one step, and what it named before is removed only after that: there is a whole
checkpoint at any moment. Random streams need no place in it: each follows from the seed, its purpose and the
iteration.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets import load_trajectories
from rl_il.datasets.npz import to_arrays
from rl_il.datasets.quoting import one_line
from rl_il.errors import InputError
from rl_il.files import atomic_write, write_json
from rl_il.infrastructure.trainer_state import read_state
from rl_il.types import Trajectory

FOLDER = "checkpoint"
INDEX = "checkpoint.json"
STATE = re.compile(r"state_([0-9]{1,15})\.pt")


class Checkpoints:
    """Writes and reads the checkpoints of one run folder.

    Args:
      run_folder: the folder.
      read_state: reads a state's file, and raises `InputError` unless it is one.
    """

    def __init__(self, run_folder: Path, read_state: Callable[[Path], dict[str, Any]] = read_state):
        self.folder, self._read_state = run_folder / FOLDER, read_state
        self._data: dict[str, str] = {}  # each iteration's file and its checksum
        self._serial = 0
        self.saved_itr: int | None = None  # the iteration that the last checkpoint goes on with

    def exist(self) -> bool:
        """Whether there is one to go on from."""
        return (self.folder / INDEX).is_file()

    @property
    def state_file(self) -> Path:
        """The last state's file."""
        return self.folder / f"state_{self._serial}.pt"

    def add_data(self, itr: int, trajectories: Sequence[Trajectory]) -> None:
        """Writes what an iteration collected, once. It counts from the next `save` on."""
        if f"data_{itr}.npz" in self._data:
            return
        content = io.BytesIO()
        pictures = any(t.obs.dtype == np.uint8 for t in trajectories)  # a tenth when they are packed
        (np.savez_compressed if pictures else np.savez)(content, **to_arrays(trajectories))
        self._data[f"data_{itr}.npz"] = self._write(f"data_{itr}.npz", content.getvalue())

    def save(self, state: dict[str, Any]) -> None:
        """Writes the state: tensors, numbers, texts, and lists and dictionaries of them."""
        import torch  # imported by then; a command that ends on a mistake should not wait for it

        content = io.BytesIO()
        torch.save(state, content)
        self._serial += 1
        name = self.state_file.name
        checksum = self._write(name, content.getvalue())
        write_json(self.folder / INDEX, {"state": name, "files": {name: checksum, **self._data}})
        self.saved_itr = state["itr"]
        for old in self.folder.glob("state_*.pt"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def load(self, env: gym.Env | None = None) -> tuple[dict[str, Any], list[list[Trajectory]]] | None:
        """The last whole state and each iteration's data, which must fit `env`; None where nothing was saved.

        Raises `InputError` for a file that is not the one that was written, or none that could have been.
        """
        if not self.exist():
            return None
        self._serial, files = self._read_index()
        for name, checksum in files.items():
            self._check(name, checksum)
        self._data = {name: checksum for name, checksum in files.items() if name != self.state_file.name}
        data = [load_trajectories(self.folder / f"data_{itr}.npz", env) for itr in range(len(self._data))]
        return self._read_state(self.state_file), data

    def clear(self) -> None:
        """Removes everything: the run is finished."""
        (self.folder / INDEX).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, content: bytes) -> str:
        with atomic_write(self.folder / name) as file:
            file.write(content)
        return hashlib.sha256(content).hexdigest()

    def _check(self, name: str, checksum: str) -> None:
        path, found = self.folder / name, hashlib.sha256()
        if not os.path.isfile(path):
            raise InputError(f"{path}: no such file; the run cannot go on")
        try:
            with path.open("rb") as file:
                while part := file.read(2**20):
                    found.update(part)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); the run cannot go on") from error
        if found.hexdigest() != checksum:
            raise InputError(f"{path}: was changed or damaged since it was written; the run cannot go on")

    def _read_index(self) -> tuple[int, dict[str, str]]:
        """The state's number, and the checksums of all files."""
        path = self.folder / INDEX
        try:
            index = json.loads(path.read_text())
            files, state = index["files"], STATE.fullmatch(index["state"])
            data = {f"data_{itr}.npz" for itr in range(len(files) - 1)}
            if not state or files.keys() != data | {index["state"]}:
                raise ValueError("it must name a state and the data of each iteration")
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}: is no index of a checkpoint ({one_line(error)})") from error
        return int(state[1]), files


LOCK = ".lock"


@contextmanager
def lock_folder(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Holds the folder while its block runs, or until the process dies.

    Raises `InputError` if another process holds it.
    """
    try:
        file = (folder / name).open("ab")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder}: is in use by another process; wait for it, or stop it") from error
        try:
            yield
        finally:
            (folder / name).unlink(missing_ok=True)
