"""The input and the result of checks of demonstrations, and helpers for their sentences."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.envs import is_discrete
from rl_il.types import Trajectory

ERROR, WARNING, NOTE = "error", "warning", "note"
"""Severities: training fails or learns something wrong; something to look into; something to know."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found."""

    severity: str  # ERROR, WARNING or NOTE
    text: str  # a sentence with counts, and what to do
    numbers: dict[str, Any] = field(default_factory=dict)  # the same for programs, in plain Python types
    short: str = ""  # a few words for the line of `quick_look`; empty: the finding is not in it
    check: str = ""  # the check's name, filled in by `run_checks`


@dataclass(frozen=True)
class Demos:
    """The demonstrations that are checked."""

    trajectories: Sequence[Trajectory]
    env: gym.Env | None = None  # None: unknown

    @property
    def obs(self) -> list[np.ndarray]:
        """Return each episode's observations `(T, *ob_shape)`, without the one after the last action."""
        return [t.obs[:-1] for t in self.trajectories]

    @property
    def labels(self) -> list[np.ndarray]:
        """Return each episode's labels, only of its labelled steps."""
        return [t.labels if t.labelled is None else t.labels[t.labelled] for t in self.trajectories]

    @property
    def classes(self) -> np.ndarray | None:
        """Return all discrete labels that are whole numbers, `(N,)` int64; None if labels are not discrete."""
        labels = np.concatenate(self.labels)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 and labels.dtype.kind in "iu" else labels
        discrete = is_discrete(self.env.action_space) if self.env else labels.dtype.kind in "iu"
        if not discrete or labels.ndim != 1:
            return None
        labels = labels.astype(np.float64)
        return labels[(labels == np.floor(labels)) & (np.abs(labels) < 2.0**53)].astype(np.int64)


Check = Callable[[Demos], Iterator[Finding]]


def run_checks(checks: Mapping[str, Callable[..., Iterator[Finding]]], *data: Any) -> Iterator[Finding]:
    """Yield the findings of all checks, each with its check's name."""
    for name, check in checks.items():
        for finding in check(*data):
            yield dataclasses.replace(finding, check=name)


def counted(n: int, noun: str) -> str:
    """Return the number with its noun: `1 episode`, `1,200 episodes`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def ranges(numbers: Sequence[int] | np.ndarray) -> str:
    """Return at least one sorted integer as text, such as `0, 3 to 7, 9`; if there are many, only the first."""
    numbers = [int(number) for number in numbers]
    starts = [i for i, number in enumerate(numbers) if i == 0 or number != numbers[i - 1] + 1]
    runs = [numbers[start:stop] for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True)]
    words = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs[:4]]
    return ", ".join([*words, *(["..."] if len(runs) > 4 else [])])
