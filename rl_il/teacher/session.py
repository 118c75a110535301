"""The human loop as one state machine: who acts, and which steps become labels. No sockets, no threads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl_il.envs import episode_limit, name_of
from rl_il.envs.keys import KeyMap
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Teacher
from rl_il.infrastructure.rollouts import episode_steps
from rl_il.seeding import stream
from rl_il.teacher.acting import Interventions, Person, Player
from rl_il.teacher.settings import MODES, TeachConfig
from rl_il.types import LEARNER, Trajectory

if TYPE_CHECKING:  # they import torch
    from rl_il.teacher.labels import Labels
    from rl_il.teacher.learner import Learner

SPEEDS = (0.25, 4.0)
MAX_UNDO_SECONDS = 600.0
FRAMES_PER_SECOND = 30.0  # of an environment that does not say


@dataclass(frozen=True)
class Episode:
    """What became of one episode."""

    number: int
    mode: str  # in which it ended
    trajectory: Trajectory
    start: int  # the number of its first step among all steps ever made
    snapshot: int  # that played last
    ended: str | None  # terminated, truncated or reset; None: not yet


class Session:
    """One agent, its teacher, one environment.

    `demonstrate`: the teacher acts always (the idle action where no key is held). `teach`: held keys override the
    agent; without one it acts, which is implicit approval. `watch`: the agent acts, and nothing becomes a label.
    `paused` stops any of them.

    Args:
      env: the environment; nobody else may touch it.
      keys: what the teacher's keys do; None: nobody can take over, and `watch` is the only mode.
      on_end: called with each episode that ends.
      modes: those that may be chosen.
      teacher: who corrects the agent; None: the person who holds the keys.
      first_episode: its number, for a session that goes on.
    """

    def __init__(
        self,
        env: gym.Env,
        keys: KeyMap | None,
        labels: Labels,
        learner: Learner,
        config: TeachConfig,
        on_end: Callable[[Episode], None] = lambda episode: None,
        modes: Sequence[str] = MODES,
        teacher: Teacher | None = None,
        first_episode: int = 0,
    ):
        self.env, self.keys, self.labels, self.learner, self.config = env, keys, labels, learner, config
        self.on_end, self.modes = on_end, modes
        self.limit = episode_limit(env, config.ep_len) or sys.maxsize  # a person can end an episode without end
        self.fps = float(env.metadata.get("render_fps") or FRAMES_PER_SECOND)
        self.player, self.rule = Player(learner), Interventions(labels)
        self.person = Person(keys)
        self.teacher = teacher or self.person
        self.set_mode(config.mode)
        self.paused, self.speed = False, 1.0
        self.keys_stamp: float | None = None  # of the keys that the last step used
        self._stamp: float | None = None
        self.episode = first_episode - 1
        self.begin()

    def hold(self, codes: Sequence[str], stamp: float | None = None) -> None:
        """Hold these keys from now on, in the order in which they were pressed. `stamp` marks this message."""
        self.person.held, self._stamp = tuple(codes), stamp

    def release(self) -> None:
        """Let go of all keys and pause: the teacher is gone."""
        self.hold(())
        self.paused = True

    def set_mode(self, mode: str) -> None:
        """Change the mode. Raise `InputError` for one that does not exist here."""
        if mode not in self.modes:
            raise InputError(f"the mode must be one of {', '.join(self.modes)}, got {str(mode)[:50]!r}")
        check_keys(self.env, self.keys, mode)
        self.rule.mode = mode

    def set_speed(self, speed: float) -> None:
        """Set how fast the environment's time passes."""
        low, high = SPEEDS
        if not low <= speed <= high:
            raise InputError(f"the speed must be between {low:g} and {high:g}, got {speed:g}")
        self.speed = speed

    def undo(self, seconds: float) -> int:
        """Take back the labels of the last `seconds` of the environment's time; return how many there were."""
        if not 0 < seconds <= MAX_UNDO_SECONDS:
            raise InputError(f"undo takes between 0 and {MAX_UNDO_SECONDS:g} seconds, got {seconds:g}")
        return self.labels.undo(max(1, round(seconds * self.fps)))

    def reset(self) -> None:
        """End the running episode where it is; its labels stay. The next step starts another."""
        if self.ended is None and len(self.rollout):
            self._end("reset")
        self.ended = self.ended or "reset"

    def begin(self) -> None:
        """Start an episode with the newest snapshot."""
        self.episode += 1
        self.ended: str | None = None
        self.start = len(self.labels)
        self.learner.begin_episode(self.episode)
        seed = int(stream(self.config.seed, "teaching", self.episode).integers(2**62))
        self._steps = episode_steps(self.env, self.player, seed, self.limit, rule=self.rule, teacher=self.teacher)
        self.rollout = next(self._steps)

    def step(self) -> bool:
        """Make one step, or, after an episode's last, start the next one; return False while paused."""
        if self.paused:
            return False
        if self.ended is not None:
            self.begin()
            return True
        self.keys_stamp = self._stamp
        rollout = next(self._steps)
        self.labels.add(rollout.trajectory(len(rollout) - 1), continued=len(rollout) > 1)
        self.learner.grant()
        if rollout.ended:
            self._end("terminated" if rollout.terminated else "truncated")
        elif self.config.hot_swap and self.learner.newest.number != self.player.snapshot.number:
            self.player.swap()
        return True

    def _end(self, why: str) -> None:
        self.ended = why
        self.on_end(self.so_far())

    @property
    def mode(self) -> str:
        """Return who acts: one of `MODES`."""
        return self.rule.mode

    def so_far(self) -> Episode | None:
        """Return the running episode up to now, with the labels that were not undone; None before its first step."""
        if not len(self.rollout):
            return None
        labelled = self.labels.labelled(self.start, self.start + len(self.rollout))
        # What the teacher answered is of no use: where it did not act, it let the learner's action pass.
        trajectory = replace(self.rollout.trajectory(), labelled=labelled, expert_acs=None, consulted=None)
        return Episode(self.episode, self.mode, trajectory, self.start, self.player.snapshot.number, self.ended)

    def state(self) -> dict[str, Any]:
        """Return what the page shows of it: plain numbers and texts. The server may ask at any moment."""
        rollout = self.rollout
        by_teacher = [source != LEARNER for source in rollout.sources]
        steps = len(by_teacher)
        acting = "nobody" if not steps else "human" if by_teacher[-1] else "agent"
        return {
            "mode": self.mode,
            "paused": self.paused,
            "acting": acting,
            "agent_action": np.asarray(rollout.own).tolist(),
            "human_action": np.asarray(rollout.acs[-1]).tolist() if acting == "human" else None,
            "episode": self.episode,
            "step": steps,
            "episode_return": float(sum(rollout.rewards)),
            "intervention_rate": sum(by_teacher) / steps if steps else 0.0,
            "labels": self.labels.counts,
            "snapshot": self.learner.newest.number,
            "playing_snapshot": self.player.snapshot.number,
            "updates": self.learner.updates,
            "loss": self.learner.loss,
            "resting": self.learner.resting,
            "speed": self.speed,
            "keys_stamp": self.keys_stamp,
            "ended": self.ended,
        }


def check_keys(env: gym.Env, keys: KeyMap | None, mode: str) -> None:
    """Raise `InputError` where nobody could act as the mode asks."""
    if keys is None and mode != "watch":
        raise InputError(
            f"{name_of(env)} has no keys, so nobody can act in it: only --mode watch works (keys are a row of ENVS in"
            " rl_il/envs/table.py)"
        )
