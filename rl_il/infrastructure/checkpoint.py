"""A run's state on disk, so that one that was stopped goes on as if it had not been.

`checkpoint/` in the run folder holds
  data_0.npz, data_1.npz, ...  what each iteration added to the buffer: written once, before it is trained on
  state_7.pt                   weights, optimiser and counters; no pickled code
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
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.datasets import load_trajectories
from rl_il.datasets.npz import to_arrays
from rl_il.errors import InputError
from rl_il.files import atomic_write, write_json
from rl_il.infrastructure.logger import IterationResult
from rl_il.types import Trajectory

if TYPE_CHECKING:
    from rl_il.infrastructure.rl_trainer import RLTrainer

FOLDER = "checkpoint"
INDEX = "checkpoint.json"


class Checkpoints:
    """Writes and reads the checkpoints of one run folder."""

    def __init__(self, run_folder: Path):
        self.folder = run_folder / FOLDER
        self._data: dict[str, str] = {}  # each iteration's file and its checksum
        self._serial = 0
        self.saved_itr: int | None = None  # the iteration that the last checkpoint goes on with

    def exist(self) -> bool:
        """Whether there is one to go on from."""
        return (self.folder / INDEX).exists()

    def add_data(self, itr: int, trajectories: Sequence[Trajectory]) -> None:
        """Writes what an iteration collected, once. It counts from the next `save` on."""
        if f"data_{itr}.npz" in self._data:
            return
        content = io.BytesIO()
        np.savez(content, **to_arrays(trajectories))
        self._data[f"data_{itr}.npz"] = self._write(f"data_{itr}.npz", content.getvalue())

    def save(self, state: dict[str, Any]) -> None:
        """Writes the state: tensors, numbers, texts, and lists and dictionaries of them."""
        import torch  # imported by then; a command that ends on a mistake should not wait for it

        content = io.BytesIO()
        torch.save(state, content)
        self._serial += 1
        name = f"state_{self._serial}.pt"
        checksum = self._write(name, content.getvalue())
        write_json(self.folder / INDEX, {"state": name, "files": {name: checksum, **self._data}})
        self.saved_itr = state["itr"]
        for old in self.folder.glob("state_*.pt"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, Any], list[list[Trajectory]]] | None:
        """The last whole state and each iteration's data; None where nothing was saved.

        Raises `InputError` for a file that is not the one that was written.
        """
        import torch

        if not self.exist():
            return None
        index = self._read_index()
        for name, checksum in index["files"].items():
            self._check(name, checksum)
        self._data = {name: checksum for name, checksum in index["files"].items() if name.endswith(".npz")}
        self._serial = int(Path(index["state"]).stem.removeprefix("state_"))
        try:
            state = torch.load(self.folder / index["state"], map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise InputError(f"{self.folder / index['state']}: is no checkpoint of this project") from error
        return state, [load_trajectories(self.folder / f"data_{itr}.npz") for itr in range(len(self._data))]

    def clear(self) -> None:
        """Removes everything: the run is finished."""
        (self.folder / INDEX).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name: str, content: bytes) -> str:
        with atomic_write(self.folder / name) as file:
            file.write(content)
        return hashlib.sha256(content).hexdigest()

    def _check(self, name: str, checksum: str) -> None:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                found = hashlib.sha256(file.read()).hexdigest()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); the run cannot go on") from error
        if found != checksum:
            raise InputError(f"{path}: was changed or damaged since it was written; the run cannot go on")

    def _read_index(self) -> dict[str, Any]:
        path = self.folder / INDEX
        try:
            index = json.loads(path.read_text())
            names = {"state": index["state"], **index["files"]}
            if not all(isinstance(text, str) and Path(text).name == text for text in (*names, *names.values())):
                raise ValueError("names must be of files beside it")
            if index["state"] not in index["files"]:
                raise ValueError("it lacks the state's checksum")
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: is no index of a checkpoint ({error})") from error
        return index


def state_of(trainer: RLTrainer) -> dict[str, Any]:
    """What it takes, beside the data, to go on after `steps_done` gradient steps of iteration `itr`."""
    return {
        "itr": trainer.itr,
        "steps_done": trainer.steps_done,
        "policy": trainer.policy.state_dict(),
        "optimizer": trainer.policy.optimizer.state_dict(),
        "losses": list(trainer.losses),
        "env_steps": trainer.env_steps,
        "initial_return": float(trainer.initial_return),
        "rows": trainer.logger.rows,
        "episodes": trainer.logger.episode_rows,
        "seconds": trainer.elapsed(),
        "wall_seconds": trainer.wall_seconds,
    }


def restore(trainer: RLTrainer, state: dict[str, Any], data: Sequence[list[Trajectory]]) -> None:
    """Puts everything as it was when the state was taken; `data` is what each iteration collected."""
    trainer.resumed = True
    trainer.first_itr = trainer.itr = state["itr"]
    trainer.steps_done = trainer.steps_to_skip = state["steps_done"]
    trainer.policy.load_state_dict(state["policy"])
    trainer.policy.optimizer.load_state_dict(state["optimizer"])
    trainer.losses.extend(state["losses"])
    trainer.demonstrations = data[0]
    for itr in range(trainer.first_itr):
        trainer.add_to_buffer(itr, data[itr])
    trainer.recorded = dict(enumerate(data[trainer.first_itr :], trainer.first_itr))
    trainer.env_steps, trainer.initial_return = state["env_steps"], state["initial_return"]
    trainer.wall_seconds = state["wall_seconds"]
    trainer.begin_clock(state["seconds"])
    trainer.logger.go_on_from(trainer.first_itr, state["rows"], state["episodes"])
    for itr, scalars in enumerate(trainer.logger.metrics):
        del scalars["iteration"]
        trainer.results.append(IterationResult(itr, scalars, *trainer.logger.episodes("learner", itr)))


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
