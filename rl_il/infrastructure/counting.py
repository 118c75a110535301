"""What a run has used so far: labels, the expert's attention, and steps of the environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rl_il.types import LEARNER, Trajectory


class Counts(NamedTuple):
    """What was used so far. The demonstrations count as labels and as consulted, but not otherwise."""

    env_steps: int = 0  # steps that were collected
    expert_labels: int = 0  # labels, with those of held-out steps
    consulted: int = 0  # steps at which the expert was asked, whether its answer became a label or not
    expert_steps: int = 0  # collected steps at which the expert acted
    takeovers: int = 0  # times that the expert began to act

    def __add__(self, other: Counts) -> Counts:
        """Return the sums."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    def scalars(self) -> dict[str, int]:
        """Return the counts by the names that they have in metrics.csv. The first two are the course's."""
        return dict(zip(SCALARS, self, strict=True))


SCALARS = (
    "Train_EnvstepsSoFar",
    "Expert_LabelsSoFar",
    "Expert_ConsultedSoFar",
    "Expert_StepsSoFar",
    "Expert_TakeoversSoFar",
)
"""The names of the counts in metrics.csv."""


def count_demonstrations(trajectories: Sequence[Trajectory]) -> Counts:
    """Return the counts of demonstrations. Every label was an action of the expert."""
    labels = sum(int(t.labelled_steps.sum()) for t in trajectories)
    return Counts(expert_labels=labels, consulted=labels)


def count_collected(trajectories: Sequence[Trajectory]) -> Counts:
    """Return the counts of the episodes of an iteration."""
    return sum(map(_count, trajectories), Counts())


def _count(trajectory: Trajectory) -> Counts:
    asked = trajectory.labelled_steps if trajectory.consulted is None else trajectory.consulted
    return count_steps(trajectory.source, asked, int(trajectory.labelled_steps.sum()))


def count_steps(sources: np.ndarray, consulted: Sequence[bool], labels: int) -> Counts:
    """Return the counts of an episode, or of its steps so far, with so many labels.

    Args:
      sources: `(T,)` int, who acted at each step.
      consulted: `(T,)` bool, whether the expert was asked at each step.
      labels: the number of labels.
    """
    asked, acts = (int(np.count_nonzero(steps)) for steps in (consulted, sources != LEARNER))
    return Counts(len(sources), labels, asked, acts, takeovers(sources))


def takeovers(sources: np.ndarray) -> int:
    """Return how often another than the learner began to act, for the sources `(T,)` of an episode's actions."""
    acts = sources != LEARNER
    return int((np.diff(acts, prepend=False) & acts).sum())
