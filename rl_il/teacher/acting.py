"""Who acts in a session: the newest snapshot, its teacher (a person or the stand-in), and the rule that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np

from rl_il.envs.keys import KeyMap
from rl_il.infrastructure.dagger import Decision, ExpertTeacher, Rule, Teacher
from rl_il.seeding import stream
from rl_il.teacher.settings import TeachConfig
from rl_il.types import HUMAN, LEARNER, Actor, Expert

if TYPE_CHECKING:  # they import torch
    from rl_il.teacher.labels import Labels
    from rl_il.teacher.learner import Learner


class Player(Actor):
    """The learner's snapshots as one actor: the one that is newest at an episode's start plays it."""

    def __init__(self, learner: Learner):
        self.learner, self.snapshot = learner, learner.newest
        self.ob_shape = self.snapshot.actor.ob_shape

    def watch(self, env: gym.Env) -> None:
        """Take the environment of the episodes to come."""
        self.env = env

    def reset(self, seed: int = 0) -> None:
        """Start an episode with the newest snapshot."""
        self.seed = seed
        self.swap()

    def swap(self) -> None:
        """Let the newest snapshot play from here on; one with a memory begins with an empty one."""
        self.snapshot = self.learner.newest
        self.snapshot.actor.watch(self.env)
        self.snapshot.actor.reset(self.seed)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return the action of the snapshot that plays."""
        return self.snapshot.actor.get_action(obs)


class Person(Teacher):
    """The person who holds the keys: `held`, in the order in which they were pressed."""

    source = HUMAN

    def __init__(self, keys: KeyMap | None):
        self.keys = keys
        self.held: tuple[str, ...] = ()

    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return the action of the held keys; None where none is held."""
        return self.keys.action(self.held) if self.keys else None

    def act(self, ob: np.ndarray) -> np.ndarray | None:
        """Return the action of the held keys, or the idle action; None where the environment has no keys."""
        action = self.wants(ob, None)
        return self.keys.idle_action if action is None and self.keys else action


class StandIn(ExpertTeacher):
    """A scripted teacher: an expert that presses the keys a person would press.

    It lets the agent act until agent and expert have disagreed for `disagreement_steps` steps in a row: a single
    other action seldom matters, a run of them leads away. It then acts for `takeover_steps` steps, and on from there
    until the agent would do what the expert does. Two actions agree if the same keys are nearest to them, so
    continuous ones agree when a person could not tell them apart with these keys.

    Args:
      config: the numbers above, and how often it presses a wrong key while it acts.
      first_episode: the number of the episode that starts with the first `reset`.
    """

    def __init__(self, expert: Expert, keys: KeyMap, config: TeachConfig, first_episode: int = 0):
        super().__init__(expert)
        self.keys, self.config, self.episode = keys, config, first_episode - 1
        self._answer: np.ndarray | None = None  # the expert's at this step: it is asked once

    def reset(self, seed: int = 0) -> None:
        """Start the next episode."""
        super().reset(seed)
        self.episode += 1
        self._disagreed = self._acted = 0
        self._acting = False
        self._rng = stream(self.config.seed, "teacher", self.episode)

    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return the action of the keys that are pressed; None where the agent may do what it likes."""
        action = self.keys.action(self.choose(ob, own))
        if action is not None:
            self._answer = None  # which is used at this step only
        return action

    def act(self, ob: np.ndarray) -> np.ndarray:
        """Return the expert's action: the answer that `choose` had at this step, if it asked."""
        answer, self._answer = self._answer, None
        return super().act(ob) if answer is None else answer

    def choose(self, ob: np.ndarray, own: np.ndarray) -> tuple[str, ...]:
        """Return the keys to hold in the step from `ob`, where the agent would do `own`; none: it acts."""
        self._answer = super().act(ob)
        wanted = self.keys.nearest(self._answer)
        disagrees = self.keys.nearest(own) != wanted
        self._disagreed = self._disagreed + 1 if disagrees else 0
        if self._acting:
            self._acted += 1
            self._acting = disagrees or self._acted < self.config.takeover_steps
        elif self._disagreed >= self.config.disagreement_steps:
            self._acting, self._acted = True, 0
        if not self._acting:
            return ()
        if self._rng.random() >= self.config.noise:
            return wanted
        others = [key.code for key in self.keys.keys if (key.code,) != wanted]
        return (others[self._rng.integers(len(others))],)


class Interventions(Rule):
    """In the mode `demonstrate` the teacher acts always, in `teach` where it wants to, in `watch` never.

    In `watch` no step becomes a label.
    """

    def __init__(self, labels: Labels):
        self.labels, self.mode = labels, "teach"

    def decide(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> Decision:
        """Return the teacher's action or the learner's own."""
        action = None
        if self.mode == "demonstrate":
            action = teacher.act(ob)
        elif self.mode == "teach":
            action = teacher.wants(ob, own)
        source = LEARNER if action is None else teacher.source
        may_label = self.mode != "watch" and self.labels.weight(source) > 0
        return Decision(own if action is None else action, source, may_label)
