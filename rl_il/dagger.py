"""DAgger and its kin: who acts while data are collected, and which steps get the expert's label.

A new variant is a class here and its row in `RULES`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod

import numpy as np

from rl_il.errors import InputError
from rl_il.types import Actor, Expert, Trajectory


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

    With the paper's parameter-free choice of beta: 1 in the first iteration, where the expert acts (its
    demonstrations), and 0 after it, where the learner alone does. Every state it visits is labelled with the
    expert's greedy action.
    """

    def actor(self, learner: Actor, itr: int) -> Actor:
        """The learner."""
        return learner

    def label(self, trajectory: Trajectory) -> Trajectory:
        """Labels every step. Raises `InputError` for an expert that answers with something else than actions."""
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
