"""Who acts in a session: the newest snapshot or the teacher (a person or a script), and the rule that decides."""

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
    """The agent of a session: an actor that takes the learner's newest snapshot at the start of each episode."""

    def __init__(self, learner: Learner):
        self.learner, self.snapshot = learner, learner.newest
        self.ob_shape = self.snapshot.actor.ob_shape

    def watch(self, env: gym.Env) -> None:
        """Store the environment of the following episodes."""
        self.env = env

    def reset(self, seed: int = 0) -> None:
        """Start an episode with the newest snapshot."""
        self.seed = seed
        self.swap()

    def swap(self) -> None:
        """Let the newest snapshot act from now on. If it has a memory, the memory starts empty."""
        self.snapshot = self.learner.newest
        self.snapshot.actor.watch(self.env)
        self.snapshot.actor.reset(self.seed)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return the action of the snapshot in use: int64 or float32, not clipped."""
        return self.snapshot.actor.get_action(obs)


class Person(Teacher):
    """A person at the keyboard. `held` are the keys held now, in the order in which they were pressed."""

    source = HUMAN

    def __init__(self, keys: KeyMap | None):
        self.keys = keys
        self.held: tuple[str, ...] = ()

    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return the action of the held keys, or None if no key is held."""
        return self.keys.action(self.held) if self.keys else None

    def act(self, ob: np.ndarray) -> np.ndarray | None:
        """Return the action of the held keys, else the idle action; None if the environment has no keys."""
        action = self.wants(ob, None)
        return self.keys.idle_action if action is None and self.keys else action


class ScriptedTeacher(ExpertTeacher):
    """A script that replaces the person. It presses the keys whose action is nearest to an expert's action.

    It takes over when agent and expert have disagreed for `disagreement_steps` steps in a row. It then acts for at
    least `takeover_steps` steps, and until the agent agrees with the expert. Two actions agree if the same keys are
    nearest to both, so small differences of continuous actions do not count.

    Args:
      expert: the expert whose actions the script follows.
      keys: the environment's keys.
      config: its `disagreement_steps`, `takeover_steps`, `noise` (the probability of a wrong key) and seed are read.
      first_episode: the number of the episode that starts with the first `reset`.
    """

    def __init__(self, expert: Expert, keys: KeyMap, config: TeachConfig, first_episode: int = 0):
        super().__init__(expert)
        self.keys, self.config, self.episode = keys, config, first_episode - 1
        self._answer: np.ndarray | None = None  # the expert's action at this step, so that it is asked only once

    def reset(self, seed: int = 0) -> None:
        """Start the next episode."""
        super().reset(seed)
        self.episode += 1
        self._disagreed = self._acted = 0
        self._acting = False
        self._rng = stream(self.config.seed, "teacher", self.episode)

    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return the action of the pressed keys, or None to let the agent act."""
        action = self.keys.action(self.choose(ob, own))
        if action is not None:
            self._answer = None  # `act` is not called at this step
        return action

    def act(self, ob: np.ndarray) -> np.ndarray:
        """Return the expert's action; the expert is not asked again if `choose` asked it at this step."""
        answer, self._answer = self._answer, None
        return super().act(ob) if answer is None else answer

    def choose(self, ob: np.ndarray, own: np.ndarray) -> tuple[str, ...]:
        """Return the keys to hold at `ob`; `own` is the agent's action. An empty tuple lets the agent act."""
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
    """The collection rule of a session.

    `mode` says when the teacher acts: always (`demonstrate`), when it wants to (`teach`), or never (`watch`). In
    `watch` no step becomes a label.
    """

    def __init__(self, labels: Labels):
        self.labels, self.mode = labels, "teach"

    def decide(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> Decision:
        """Return the teacher's action or the agent's, and whether the step may become a label."""
        action = None
        if self.mode == "demonstrate":
            action = teacher.act(ob)
        elif self.mode == "teach":
            action = teacher.wants(ob, own)
        source = LEARNER if action is None else teacher.source
        may_label = self.mode != "watch" and self.labels.weight(source) > 0
        return Decision(own if action is None else action, source, may_label)
