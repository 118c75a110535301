"""The run folder of a session: one file for each episode, and what is needed to resume the session.

  config.json                     the settings
  session/episode_000000.npz ...  each episode's steps: who acted, where you could act, which are labels
  demonstrations.npz              all episodes in one file, written when the session ends
  policy_itr_12.pt                the policy after 12 episodes
  metrics.csv, events.out...      one row for each episode
  checkpoint/                     weights, optimiser and counters

`run_hw1.py --expert_data` takes the folder or demonstrations.npz.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.datasets.loading import SESSION, session_files
from rl_il.errors import InputError
from rl_il.files import remove_leftovers
from rl_il.runs.checkpoint import Checkpoint
from rl_il.types import Trajectory

if TYPE_CHECKING:
    from rl_il.policies.base_policy import BasePolicy
    from rl_il.teacher.labels import Labels

DEMONSTRATIONS = "demonstrations.npz"


class Recording:
    """The run folder of one session: methods to write and to read it."""

    def __init__(self, folder: Path, env_settings: dict[str, str]):
        self.folder, self.env_settings = folder, env_settings  # those of `RunConfig.env_settings`
        self.checkpoint = Checkpoint(folder)
        self.episodes: dict[int, tuple[int, int]] = {}  # the start and the stop of the steps of each saved episode

    @property
    def next_number(self) -> int:
        """Return the number of the episode after the last saved one."""
        return max(self.episodes, default=-1) + 1

    def path(self, number: int) -> Path:
        """Return the file of the episode with this number."""
        return self.folder / SESSION / f"episode_{number:06d}.npz"

    def save_episode(self, number: int, start: int, trajectory: Trajectory) -> None:
        """Write one episode atomically; `start` is the number of its first step in the session."""
        save_trajectories(self.path(number), [trajectory], self.env_settings | {"episode": number})
        self.episodes[number] = (start, start + len(trajectory))

    def relabel(self, first_step: int, labels: Labels) -> None:
        """Rewrite the saved episodes that have steps from `first_step` on, with their current labels."""
        for number, (start, stop) in list(self.episodes.items()):
            if stop > first_step:
                (trajectory,) = load_trajectories(self.path(number), may_lack_labels=True)
                trajectory = dataclasses.replace(trajectory, labelled=labels.labelled(start, stop))
                self.save_episode(number, start, trajectory)

    def save_all(self) -> Path | None:
        """Write all saved episodes into one file and return it; None if there are none."""
        if not self.episodes:
            return None
        path = self.folder / DEMONSTRATIONS
        trajectories = load_trajectories(self.folder, may_lack_labels=True)
        save_trajectories(path, trajectories, self.env_settings | {"made_by": "teach.py"})
        return path

    def save_learning(self, state: dict[str, Any], policy: BasePolicy) -> None:
        """Save the policy, and the state from which the session can continue after `state["itr"]` episodes."""
        self.checkpoint.save(state)
        name = f"policy_itr_{state['itr']}.pt"
        policy.save(self.folder / name)
        for old in self.folder.glob("policy_itr_*.pt"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def load(self, env: gym.Env, limit: int | None = None) -> list[Trajectory]:
        """Return the saved episodes in order; remove those after the first `limit`.

        Raise `InputError` if a file is damaged. The file is not removed, because that is the user's decision.
        """
        remove_leftovers(self.folder)
        (self.folder / DEMONSTRATIONS).unlink(missing_ok=True)  # it would be incomplete soon
        trajectories, step = [], 0
        for path in session_files(self.folder):
            number = int(path.stem.rsplit("_", 1)[1])
            if limit is not None and number >= limit:
                path.unlink()
                continue
            episode = load_trajectories(path, env, may_lack_labels=True)
            if len(episode) != 1:
                raise InputError(f"{path}: holds {len(episode)} episodes, expected 1")
            trajectories += episode
            self.episodes[number] = (step, step + len(episode[0]))
            step += len(episode[0])
        return trajectories
