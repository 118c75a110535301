"""DAgger and its kin: who acts while data are collected, and which steps get the expert's label.

A new variant is a class here and its row in `RULES`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod

import gymnasium as gym
import numpy as np

from rl_il.errors import InputError
from rl_il.types import EXPERT, LEARNER, Actor, Expert, Trajectory, answers_live_only, reads_simulator


class Accompanied:
    """A learner with an expert beside it, who is asked at every step, and acts with probability `beta`.

    That is the policy beta pi* + (1 - beta) pi of DAgger's algorithm 3.1, and how experts label that cannot be asked
    afterwards: they read the simulator, or remember the episode.

    Attributes:
      expert_label: what the expert would do in the state of the last action, not clipped.
      source: who acted there, LEARNER or EXPERT.
    """

    def __init__(self, learner: Actor, expert: Expert, beta: float = 0.0):
        self.learner, self.expert, self.beta = learner, expert, beta
        self.ob_shape = learner.ob_shape
        self.expert_label: np.ndarray | None = None
        self.source = LEARNER
        self._rng = np.random.default_rng()

    def watch(self, env: gym.Env) -> None:
        """Lets the expert read the environment's state."""
        if reads_simulator(self.expert):
            self.expert.watch(env)

    def reset(self, seed: int = 0) -> None:
        """Starts an episode; who acts in it follows from `seed`."""
        self.learner.reset(seed)
        self.expert.reset(seed)
        self._rng = np.random.default_rng([seed, EXPERT])

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """The action of whoever acts, for a single observation. Both see it: either may remember it."""
        ac, self.expert_label = self.learner.get_action(obs), self.expert.get_action(obs)
        self.source = EXPERT if self._rng.random() < self.beta else LEARNER
        return self.expert_label if self.source == EXPERT else ac


class CollectionRule(ABC):
    """How one iteration's data are collected.

    Args:
      expert: answers for every state that the rule asks about.
    """

    def __init__(self, expert: Expert):
        self.expert = expert

    @abstractmethod
    def actor(self, learner: Actor, itr: int) -> Actor:
        """Who acts in iteration `itr` (from 1)."""

    @abstractmethod
    def label(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory with the expert's labels, and which steps have one. What was executed stays."""


class DAgger(CollectionRule):
    """Dataset Aggregation (Ross, Gordon and Bagnell 2011, "A Reduction of Imitation Learning and Structured
    Prediction to No-Regret Online Learning", algorithm 3.1).

    Every state that is visited is labelled with the expert's greedy action. In iteration i the expert acts with
    probability beta_i = beta_decay^i, drawn anew for each step. The default is the paper's parameter-free choice:
    1 in iteration 0, the demonstrations, and 0 after it, where the learner alone acts.
    """

    def __init__(self, expert: Expert, beta_decay: float = 0.0):
        super().__init__(expert)
        self.beta_decay = beta_decay

    def actor(self, learner: Actor, itr: int) -> Actor:
        """The learner; with the expert beside it, where that one acts too or cannot be asked afterwards."""
        beta = self.beta_decay**itr
        return Accompanied(learner, self.expert, beta) if beta or answers_live_only(self.expert) else learner

    def label(self, trajectory: Trajectory) -> Trajectory:
        """Labels every step that has no label from the rollout.

        Raises `InputError` for an expert that answers with something else than actions.
        """
        if trajectory.expert_acs is not None:
            return trajectory
        labels = np.asarray(self.expert.get_action(trajectory.obs[:-1]))
        acs = trajectory.acs
        if labels.shape != acs.shape or (labels.dtype.kind not in "iu" and acs.dtype.kind in "iu"):
            raise InputError(
                f"the expert's labels must be like the actions, {acs.dtype} of shape {acs.shape}; got {labels.dtype}"
                f" of shape {labels.shape}"
            )
        try:
            return dataclasses.replace(trajectory, expert_acs=labels.astype(acs.dtype))
        except InputError as error:
            raise InputError(f"the expert's labels: {error}") from error


RULES: dict[str, type[CollectionRule]] = {"dagger": DAgger}
