"""The teaching session as a state machine: who acts, and which steps become labels."""

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
from rl_il.infrastructure.counting import Counts, count_steps
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
FRAMES_PER_SECOND = 30.0  # of an environment without `render_fps`


@dataclass(frozen=True)
class Episode:
    """An episode, finished or still running, and its circumstances."""

    number: int
    mode: str  # at its end
    trajectory: Trajectory
    start: int  # the number of its first step in the session
    snapshot: int  # the number of the snapshot that acted last
    ended: str | None  # terminated, truncated, reset or no labels left; None if it has not ended yet


class Session:
    """One agent, its teacher and one environment. It uses no sockets and no threads.

    `demonstrate`: the teacher always acts (with the idle action if no key is held). `teach`: held keys override the
    agent; if no key is held, the agent acts, and its steps are approved. `watch`: the agent acts, and no step becomes
    a label. While `paused` is true, nothing is stepped.

    Args:
      env: the environment; no other code may step it.
      keys: the environment's keys. With None nobody can take over, and `watch` is the only mode.
      labels: the training set.
      learner: the learner; its snapshots act.
      config: the settings of the session.
      on_end: a function that is called with each episode that ends.
      modes: the modes that may be chosen.
      teacher: the teacher who corrects the agent; None means the person at the keyboard.
      first_episode: the number of the first episode; above 0 in a resumed session.
      counts: what the episodes before it have used; None means nothing.
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
        counts: Counts | None = None,
    ):
        self.env, self.keys, self.labels, self.learner, self.config = env, keys, labels, learner, config
        self.on_end, self.modes = on_end, modes
        self.limit = episode_limit(env, config.ep_len) or sys.maxsize  # without a limit, only New episode ends it
        self.fps = float(env.metadata.get("render_fps") or FRAMES_PER_SECOND)
        self.player, self.rule = Player(learner), Interventions(labels)
        self.person = Person(keys)
        self.teacher = teacher or self.person
        self.set_mode(config.mode)
        self.paused, self.speed = False, 1.0
        self.keys_stamp: float | None = None  # the stamp of the keys that the last step used
        self._stamp: float | None = None
        self.episode = first_episode - 1
        self._used = counts or Counts()  # one attribute, replaced after each step, which any thread may read
        self.begin()

    def hold(self, codes: Sequence[str], stamp: float | None = None) -> None:
        """Hold these keys from now on, in the order in which they were pressed. `stamp` identifies the message."""
        self.person.held, self._stamp = tuple(codes), stamp

    def release(self) -> None:
        """Release all keys and pause, because the tab has disconnected."""
        self.hold(())
        self.paused = True

    def set_mode(self, mode: str) -> None:
        """Change the mode. Raise `InputError` if this session does not allow it."""
        if mode not in self.modes:
            raise InputError(f"the mode must be one of {', '.join(self.modes)}, got {str(mode)[:50]!r}")
        check_keys(self.env, self.keys, mode)
        self.rule.mode = mode

    def set_speed(self, speed: float) -> None:
        """Set the speed, in multiples of real time. Raise `InputError` outside `SPEEDS`."""
        low, high = SPEEDS
        if not low <= speed <= high:
            raise InputError(f"the speed must be between {low:g} and {high:g}, got {speed:g}")
        self.speed = speed

    def undo(self, seconds: float) -> int:
        """Remove the labels of the last `seconds` of the environment's time; return their number."""
        if not 0 < seconds <= MAX_UNDO_SECONDS:
            raise InputError(f"undo needs between 0 and {MAX_UNDO_SECONDS:g} seconds, got {seconds:g}")
        return self.labels.undo(max(1, round(seconds * self.fps)))

    def reset(self) -> None:
        """End the running episode now and keep its labels. The next step starts a new episode."""
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
        self._used_before = self._used
        self._consulted: list[bool] = []  # whether the teacher could take over at each step of the episode

    def step(self) -> bool:
        """Make one step, or start a new episode if the last one has ended; return False while paused."""
        if self.paused:
            return False
        if self.ended is not None:
            self.begin()
            return True
        self.keys_stamp = self._stamp
        rollout = next(self._steps)
        self._consulted.append(self.mode != "watch")
        self._used = self._used_before + count_steps(np.array(rollout.sources), self._consulted, 0)
        self.labels.add(rollout.trajectory(len(rollout) - 1), continued=len(rollout) > 1)
        self.learner.grant()
        if rollout.ended:
            self._end("terminated" if rollout.terminated else "truncated")
        elif self.labels_left == 0 and self.mode != "watch":
            self._end("no labels left")
        elif self.config.hot_swap and self.learner.newest.number != self.player.snapshot.number:
            self.player.swap()
        return True

    def _end(self, why: str) -> None:
        self.ended = why
        self.on_end(self.so_far())

    @property
    def counts(self) -> Counts:
        """Return what the session has used so far, counted as in a run. Any thread may read it.

        The teacher is consulted at every step at which it may act, so never in `watch`. Its labels are those that
        `max_labels` limits: undone labels and approved steps are not among them.
        """
        return self._used._replace(expert_labels=self.labels.counts["human"])

    @property
    def labels_left(self) -> int | None:
        """Return how many labels the teacher may still give, or None if there is no limit."""
        limit = self.config.max_labels
        return None if limit is None else max(limit - self.labels.counts["human"], 0)

    @property
    def used_up(self) -> bool:
        """Return whether the teacher may give no more labels, and no episode is running."""
        return self.labels_left == 0 and (self.ended is not None or not len(self.rollout))

    @property
    def mode(self) -> str:
        """Return the mode, one of `MODES`."""
        return self.rule.mode

    def so_far(self) -> Episode | None:
        """Return the episode so far with its current labels, or None before its first step."""
        if not len(self.rollout):
            return None
        labelled = self.labels.labelled(self.start, self.start + len(self.rollout))
        # The teacher's answers are dropped, because at steps at which it did not act they are not labels.
        consulted = np.array(self._consulted)
        trajectory = replace(self.rollout.trajectory(), labelled=labelled, expert_acs=None, consulted=consulted)
        return Episode(self.episode, self.mode, trajectory, self.start, self.player.snapshot.number, self.ended)

    def state(self) -> dict[str, Any]:
        """Return what the page shows of the session: numbers and texts. Any thread may call this method."""
        rollout = self.rollout
        by_teacher = [source != LEARNER for source in rollout.sources]
        steps = len(by_teacher)
        acting = "nobody" if not steps else "human" if by_teacher[-1] else "agent"
        return {
            "mode": self.mode,
            "paused": self.paused,
            "acting": acting,
            "agent_action": plain(rollout.own),
            "human_action": plain(rollout.acs[-1]) if acting == "human" else None,
            "episode": self.episode,
            "step": steps,
            "episode_return": float(sum(rollout.rewards)),
            "intervention_rate": sum(by_teacher) / steps if steps else 0.0,
            "counts": self.counts.scalars(),
            "labels": self.labels.counts,
            "labels_left": self.labels_left,
            "snapshot": self.learner.newest.number,
            "playing_snapshot": self.player.snapshot.number,
            "updates": self.learner.updates,
            "loss": self.learner.loss,
            "resting": self.learner.resting,
            "speed": self.speed,
            "keys_stamp": self.keys_stamp,
            "ended": self.ended,
        }


def plain(action: np.ndarray | None) -> float | list[float] | None:
    """Return an action as JSON has it: a number, or a list of the numbers of an array of any shape."""
    array = np.asarray(action)
    return array.reshape(-1).tolist() if array.ndim else array.tolist()


def check_keys(env: gym.Env, keys: KeyMap | None, mode: str) -> None:
    """Raise `InputError` if the mode needs keys and the environment has none."""
    if keys is None and mode != "watch":
        raise InputError(
            f"{name_of(env)} has no keys, so nobody can take over: only actions of one integer or of up to 3 numbers"
            " have them; watch it with teach.py --mode watch"
        )
