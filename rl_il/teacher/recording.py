"""A teaching run's folder: an episode a file as it ends, one file of all of them, and what it takes to go on.

  config.json                     the settings
  session/episode_000000.npz ...  every step with who chose it and whether it is a label
  demonstrations.npz              all of them in one file, written when the run ends
  policy_itr_12.pt                the policy after that episode
  metrics.csv, events.out...      a row an episode
  checkpoint/                     weights, optimiser and counters

`run_hw1.py --expert_data` takes the folder or the one file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.datasets.loading import SESSION, session_files
from rl_il.errors import InputError
from rl_il.files import remove_leftovers, write_json
from rl_il.infrastructure.checkpoint import Checkpoints
from rl_il.infrastructure.torch_file import read_torch
from rl_il.infrastructure.trainer_state import as_text, check_rows, expect, from_text, is_count, is_finite, naming
from rl_il.options import from_json
from rl_il.run_folder import provenance
from rl_il.teacher.settings import MODES, TeachConfig
from rl_il.types import Trajectory

if TYPE_CHECKING:
    from rl_il.policies.mlp_policy import MLPPolicySL

DEMONSTRATIONS = "demonstrations.npz"
PARTS = "itr updates loss since_label owed policy optimizer snapshot snapshot_number snapshot_updates log".split()


class Recording:
    """Writes and reads one teaching run's folder."""

    def __init__(self, folder: Path, env_name: str):
        self.folder, self.env_name = folder, env_name
        self.checkpoints = Checkpoints(folder, read_learning)
        self.episodes: dict[int, tuple[int, int]] = {}  # saved ones: the numbers of their first step and the next

    def write_config(self, config: TeachConfig, command_line: Sequence[str]) -> None:
        """Writes config.json."""
        write_json(self.folder / "config.json", {"teaching": dataclasses.asdict(config), **provenance(command_line)})

    def path(self, number: int) -> Path:
        """The file of the episode of this number."""
        return self.folder / SESSION / f"episode_{number:06d}.npz"

    def save_episode(self, number: int, start: int, trajectory: Trajectory) -> None:
        """Writes one episode, whole or not at all; `start` is the number of its first step."""
        save_trajectories(self.path(number), [trajectory], {"env_name": self.env_name, "episode": number})
        self.episodes[number] = (start, start + len(trajectory))

    def relabel(self, first_step: int, labelled: Any) -> int:
        """Writes the saved episodes again that reach beyond `first_step`; returns how many.

        Args:
          first_step: labels before it are as they were.
          labelled: gives the labels of the steps `start` to `stop`, `(stop - start,)` bool.
        """
        touched = [number for number, (_, stop) in self.episodes.items() if stop > first_step]
        for number in touched:
            start, stop = self.episodes[number]
            trajectory = dataclasses.replace(self._load(number)[0], labelled=labelled(start, stop))
            self.save_episode(number, start, trajectory)
        return len(touched)

    def save_all(self) -> Path | None:
        """Writes all saved episodes into one file; None if there are none."""
        if not self.episodes:
            return None
        path = self.folder / DEMONSTRATIONS
        trajectories = [trajectory for number in sorted(self.episodes) for trajectory in self._load(number)]
        save_trajectories(path, trajectories, {"env_name": self.env_name, "made_by": "teach.py"})
        return path

    def save_learning(self, episodes: int, policy: MLPPolicySL, state: dict[str, Any], log: dict[str, Any]) -> None:
        """Writes the policy after so many episodes, and what it takes to go on: the learner's state, and what was
        logged (`rows`, `history`)."""
        self.checkpoints.save({"itr": episodes, **state, "log": as_text(log)})
        policy.save(self.folder / f"policy_itr_{episodes}.pt")
        for old in self.folder.glob("policy_itr_*.pt"):
            if old.name != f"policy_itr_{episodes}.pt":
                old.unlink(missing_ok=True)

    def load(self, env: gym.Env, most: int | None = None) -> list[Trajectory]:
        """The saved episodes in order, of which those after the first `most` are removed; their numbers begin anew.

        Raises `InputError` for a damaged file: it says which, and removing it is the user's choice.
        """
        remove_leftovers(self.folder)
        (self.folder / DEMONSTRATIONS).unlink(missing_ok=True)  # more is to come
        trajectories, step = [], 0
        for path in session_files(self.folder):
            number = int(path.stem.rsplit("_", 1)[1])
            if most is not None and number >= most:
                path.unlink()
                continue
            pieces = load_trajectories(path, env, may_lack_labels=True)
            if len(pieces) != 1:
                raise InputError(f"{path}: holds {len(pieces)} episodes, expected 1")
            trajectory = pieces[0]
            trajectories.append(trajectory)
            self.episodes[number] = (step, step + len(trajectory))
            step += len(trajectory)
        return trajectories

    def load_learning(self) -> dict[str, Any] | None:
        """What `save_learning` wrote last; None if nothing was."""
        saved = self.checkpoints.load()
        return None if saved is None else saved[0]

    def _load(self, number: int) -> list[Trajectory]:
        return load_trajectories(self.path(number), may_lack_labels=True)


def read_learning(path: Path) -> dict[str, Any]:
    """What was saved of a learner, with arrays for tensors.

    Raises `InputError` unless each part is what it should be: whoever can change a checkpoint can also change its
    checksums.
    """
    with naming(path):
        state = read_torch(path)
        expect(isinstance(state, dict) and set(PARTS) <= state.keys(), f"it must hold {', '.join(PARTS)}")
        for name in ("itr", "updates", "since_label", "snapshot_number", "snapshot_updates"):
            expect(is_count(state[name]), f"{name} must be a count")
        expect(is_finite(state["owed"]), "owed must be a number")
        expect(_is_finite_or_none(state["loss"]), "loss must be a number")
        log = from_text(state["log"], path.stat().st_size)
        lists = isinstance(log, dict) and log.keys() == {"rows", "history"} and set(map(type, log.values())) == {list}
        expect(lists, "the log must be lists of rows and episodes")
        check_rows(log["rows"], path.stat().st_size)
        expect(all(is_count(row.get("iteration")) for row in log["rows"]), "a row must have an iteration")
        expect(all(map(_is_episode, log["history"])), "the history must hold what is told of an episode")
        return state | log


def _is_finite_or_none(value: Any) -> bool:
    return value is None or is_finite(value)


def _are_label_counts(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"human", "approved"} and all(map(is_count, value.values()))


EPISODE: dict[str, Callable[[Any], bool]] = {
    "type": lambda value: value == "episode",
    "episode": is_count,
    "return": is_finite,
    "length": lambda value: is_count(value) and value > 0,
    "intervention_rate": lambda value: is_finite(value) and 0 <= value <= 1,
    "labels": _are_label_counts,
    "snapshot": is_count,
    "updates": is_count,
    "loss": _is_finite_or_none,
    "source": lambda value: value in MODES,
    "ended": lambda value: value in ("terminated", "truncated", "reset"),
    "snapshot_return": _is_finite_or_none,
}
"""What `Metrics.log` tells of an episode: the page, the curve and the table at the end read every part."""


def _is_episode(message: Any) -> bool:
    fits = isinstance(message, dict) and message.keys() == EPISODE.keys()
    return fits and all(is_right(message[name]) for name, is_right in EPISODE.items())


def read_teach_config(folder: Path) -> TeachConfig:
    """The settings of the teaching run in this folder. Raises `InputError` where config.json is missing or broken."""
    path = folder / "config.json"
    try:
        return from_json(TeachConfig, json.loads(path.read_text())["teaching"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__} {error}"[:200]
        raise InputError(f"{path}: cannot be read ({why}); is {folder} the folder of a teaching run?") from error
