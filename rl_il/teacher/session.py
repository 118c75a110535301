"""The human loop as one state machine: who acts, and which steps become labels. No sockets, no threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl_il.envs import episode_limit, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.seeding import stream
from rl_il.keys import KeyMap
from rl_il.teacher.settings import MODES
from rl_il.types import HUMAN, LEARNER, Trajectory, reads_simulator

if TYPE_CHECKING:  # they import torch
    from rl_il.teacher.labels import Labels
    from rl_il.teacher.learner import Learner

SPEEDS = (0.25, 4.0)
MOST_UNDO_SECONDS = 600.0
FRAMES_PER_SECOND = 30.0  # of an environment that does not say


@dataclass(frozen=True)
class Episode:
    """What became of one episode. `start` and `stop` are the numbers of its steps among all steps ever performed."""

    number: int
    mode: str  # in which it ended
    trajectory: Trajectory
    start: int
    stop: int
    taken_over: int  # steps that the teacher chose
    snapshot: int  # that played last
    ended: str | None  # terminated, truncated or reset; None: not yet

    @property
    def intervention_rate(self) -> float:
        """The share of steps that the teacher chose."""
        return self.taken_over / len(self.trajectory)


class Session:
    """One agent, its teacher, one environment.

    `demonstrate`: the teacher acts always (the idle action where no key is held). `teach`: held keys override the
    agent; without one it acts, which is implicit approval. `watch`: the agent acts, and nothing becomes a label.
    `paused` stops any of them.

    Args:
      env: the environment; nobody else may touch it.
      keys: what the teacher's keys do; None: nobody can take over, and `watch` is the only mode.
      labels: every step goes there.
      learner: publishes the snapshots that play.
      seed: root of the episodes' seeds.
      on_end: called with each episode that ends.
      modes: those that may be chosen; the session starts in the first.
      teacher: the source that is written for the teacher's steps, HUMAN or EXPERT.
      hot_swap: whether a new snapshot plays at once; else it waits for the next episode.
      first_episode: its number, for a session that goes on.
      ep_len: longest episode in steps (None: the environment's own limit).
    """

    def __init__(
        self,
        env: gym.Env,
        keys: KeyMap | None,
        labels: Labels,
        learner: Learner,
        seed: int,
        on_end: Callable[[Episode], None] = lambda episode: None,
        modes: Sequence[str] = ("teach", "demonstrate", "watch"),
        teacher: int = HUMAN,
        hot_swap: bool = False,
        first_episode: int = 0,
        ep_len: int | None = None,
    ):
        self.env, self.keys, self.labels, self.learner, self.seed = env, keys, labels, learner, seed
        self.on_end, self.teacher, self.hot_swap = on_end, teacher, hot_swap
        self.limit = episode_limit(env, ep_len)
        self.discrete = is_discrete(env.action_space)
        self.fps = float(env.metadata.get("render_fps") or FRAMES_PER_SECOND)
        self.modes = [mode for mode in MODES if mode in modes]
        self.mode, self.paused, self.speed = modes[0], False, 1.0
        self._check_mode(self.mode)
        self.held: tuple[str, ...] = ()
        self.keys_stamp: float | None = None  # of the keys that the last step used
        self._stamp: float | None = None
        self.episode = first_episode - 1
        self._reset_wanted = False
        self.begin()

    # What the teacher does ------------------------------------------------------------------------------------

    def hold(self, codes: Sequence[str], stamp: float | None = None) -> None:
        """From now on these keys are held, in the order in which they were pressed. `stamp` marks this message."""
        self.held, self._stamp = tuple(codes), stamp

    def release(self) -> None:
        """The teacher is gone: no key is held, and the session is paused."""
        self.hold(())
        self.paused = True

    def set_mode(self, mode: str) -> None:
        """Raises `InputError` for a mode that there isn't, here."""
        self._check_mode(mode)
        self.mode = mode

    def set_speed(self, speed: float) -> None:
        """How fast the environment's time passes."""
        low, high = SPEEDS
        if not low <= speed <= high:
            raise InputError(f"the speed must be between {low:g} and {high:g}, got {speed:g}")
        self.speed = speed

    def undo(self, seconds: float) -> int:
        """Takes the labels of the last `seconds` of the environment's time; returns how many there were."""
        if not 0 < seconds <= MOST_UNDO_SECONDS:
            raise InputError(f"undo takes between 0 and {MOST_UNDO_SECONDS:g} seconds, got {seconds:g}")
        return self.labels.undo(max(1, round(seconds * self.fps)))

    def reset(self) -> None:
        """Ends the running episode where it is; its labels stay. The next step starts another."""
        if self.ended is None and self.acs:
            self._end("reset")
        self.ended = self.ended or "reset"

    # Steps ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts an episode with the newest snapshot."""
        self.episode += 1
        self.seed_now = int(stream(self.seed, "teaching", self.episode).integers(2**62))
        self.ob, _ = self.env.reset(seed=self.seed_now)
        self.ob = np.array(self.ob)
        self.obs, self.acs, self.rewards, self.sources = [self.ob], [], [], []
        self.labelled: list[bool] = []
        self.start = len(self.labels)
        self.ended: str | None = None
        self.acting, self.agent_action, self.human_action = "nobody", None, None
        self.learner.begin_episode(self.episode)
        self._take_newest()

    def step(self) -> bool:
        """One step, or, after an episode's last, the next one's start; False while paused."""
        if self.paused:
            return False
        if self.ended is not None:
            self.begin()
            return True
        self.human_action, self.keys_stamp = self._human_action(), self._stamp
        self.agent_action = self.intention
        by_human = self.human_action is not None
        self.acting = "human" if by_human else "agent"
        self._perform(self.human_action if by_human else self.agent_action, self.teacher if by_human else LEARNER)
        return True

    def _human_action(self) -> np.ndarray | None:
        """What the teacher does at this step; None where the agent acts."""
        if self.mode == "watch":
            return None
        action = self.keys.action(self.held)
        return self.keys.idle_action if action is None and self.mode == "demonstrate" else action

    def _perform(self, action: np.ndarray, source: int) -> None:
        if not self.discrete:
            action = np.clip(action, self.env.action_space.low, self.env.action_space.high)
        before = self.ob
        try:
            ob, reward, terminated, truncated, _ = self.env.step(int(action) if self.discrete else action)
        except Exception as error:  # whatever the environment's author did not think of
            raise InputError(
                f"{name_of(self.env)} failed in step {len(self.acs) + 1} of the episode from seed {self.seed_now}:"
                f" {type(error).__name__}: {error}"
            ) from error
        self.ob = np.array(ob)  # some environments write every observation into one array
        self.obs.append(self.ob)
        self.acs.append(action)
        self.rewards.append(float(reward))
        self.sources.append(source)
        self.labelled.append(self.mode != "watch" and self.labels.weight(source) > 0)
        self.labels.add(self._trajectory([before, self.ob], slice(-1, None)), continued=len(self.acs) > 1)
        self.learner.grant()
        if terminated or truncated or (self.limit and len(self.acs) >= self.limit):
            self._end("terminated" if terminated else "truncated")
        elif self.hot_swap and self.learner.newest.number != self.playing.number:
            self._take_newest()
        else:
            self.intention = self.actor.get_action(self.ob)

    def _take_newest(self) -> None:
        """The newest snapshot plays from here on; one with a memory begins with an empty one."""
        self.playing = self.learner.newest
        self.actor = self.playing.actor
        if reads_simulator(self.actor):
            self.actor.watch(self.env)
        self.actor.reset(self.seed_now)
        self.intention = self.actor.get_action(self.ob)

    def _end(self, why: str) -> None:
        self.ended = why
        self.on_end(self.so_far())

    def _trajectory(self, obs: Sequence[np.ndarray], steps: slice) -> Trajectory:
        return Trajectory(
            obs=np.array(obs, self.env.observation_space.dtype),
            acs=np.array(self.acs[steps], np.int64 if self.discrete else np.float32),
            rewards=np.array(self.rewards[steps], np.float64),
            terminated=self.ended == "terminated",
            truncated=self.ended == "truncated",
            labelled=np.array(self.labelled[steps], bool),
            source=np.array(self.sources[steps], np.int8),
        )

    # What is shown and saved ----------------------------------------------------------------------------------

    def so_far(self) -> Episode | None:
        """The running episode up to now, with the labels that were not undone; None before its first step."""
        if not self.acs:
            return None
        stop = self.start + len(self.acs)
        self.labelled = self.labels.labelled(self.start, stop).tolist()
        taken_over = sum(source != LEARNER for source in self.sources)
        trajectory = self._trajectory(self.obs, slice(None))
        return Episode(
            self.episode, self.mode, trajectory, self.start, stop, taken_over, self.playing.number, self.ended
        )

    def state(self) -> dict[str, Any]:
        """What the page shows of it: plain numbers and texts."""
        steps = len(self.acs)
        return {
            "mode": self.mode,
            "paused": self.paused,
            "acting": self.acting,
            "agent_action": plain(self.agent_action),
            "human_action": plain(self.human_action),
            "episode": self.episode,
            "step": steps,
            "episode_return": float(sum(self.rewards)),
            "intervention_rate": sum(source != LEARNER for source in self.sources) / steps if steps else 0.0,
            "labels": self.labels.counts,
            "snapshot": self.learner.newest.number,
            "playing_snapshot": self.playing.number,
            "updates": self.learner.updates,
            "loss": self.learner.loss,
            "resting": self.learner.resting,
            "speed": self.speed,
            "keys_stamp": self.keys_stamp,
            "ended": self.ended,
        }

    def _check_mode(self, mode: str) -> None:
        if mode not in self.modes:
            raise InputError(f"the mode must be one of {', '.join(self.modes)}, got {str(mode)[:50]!r}")
        if self.keys is None and mode != "watch":
            raise InputError(
                f"{name_of(self.env)} has no keys, so nobody can act in it: only --mode watch works (keys are a row"
                " of ENVS in rl_il/envs.py)"
            )


def plain(action: np.ndarray | None) -> int | list[float] | None:
    """An action as JSON holds it."""
    return None if action is None else np.asarray(action).tolist()
