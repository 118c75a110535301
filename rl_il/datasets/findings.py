"""What a check finds, what it looks at, and how numbers are put into its sentence."""

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
"""Training fails or learns something certainly wrong; something to look at; something to know."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found."""

    severity: str  # ERROR, WARNING or NOTE
    text: str  # a sentence with counts, and what to do
    numbers: dict[str, Any] = field(default_factory=dict)  # the same for programs, in plain Python types
    short: str = ""  # a few words for the line of `quick_look`; empty: not worth them
    check: str = ""  # the check's name, filled in by `run_checks`


@dataclass(frozen=True)
class Demos:
    """What a check looks at."""

    trajectories: Sequence[Trajectory]
    env: gym.Env | None = None  # None: unknown

    @property
    def obs(self) -> list[np.ndarray]:
        """Each episode's observations `(T, *ob_shape)` that have an action, so without the last one."""
        return [t.obs[:-1] for t in self.trajectories]

    @property
    def labels(self) -> list[np.ndarray]:
        """Each episode's labels, of the labelled steps alone."""
        return [t.labels if t.labelled is None else t.labels[t.labelled] for t in self.trajectories]

    @property
    def classes(self) -> np.ndarray | None:
        """`(N,)` int64: all discrete labels that are whole numbers; None where the labels are not discrete."""
        labels = np.concatenate(self.labels)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 and labels.dtype.kind in "iu" else labels
        discrete = is_discrete(self.env.action_space) if self.env else labels.dtype.kind in "iu"
        if not discrete or labels.ndim != 1:
            return None
        labels = labels.astype(np.float64)
        return labels[(labels == np.floor(labels)) & (np.abs(labels) < 2.0**53)].astype(np.int64)


Check = Callable[[Demos], Iterator[Finding]]


def run_checks(checks: Mapping[str, Callable[..., Iterator[Finding]]], *data: Any) -> Iterator[Finding]:
    """The findings of all checks, each with its check's name."""
    for name, check in checks.items():
        for finding in check(*data):
            yield dataclasses.replace(finding, check=name)


def counted(n: int, noun: str) -> str:
    """`1 episode`, `1,200 episodes`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def ranges(numbers: Sequence[int] | np.ndarray) -> str:
    """Sorted integers, at least one, to read: `0, 3 to 7, 9`; the first of many."""
    numbers = [int(number) for number in numbers]
    starts = [i for i, number in enumerate(numbers) if i == 0 or number != numbers[i - 1] + 1]
    runs = [numbers[start:stop] for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True)]
    words = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs[:4]]
    return ", ".join([*words, *(["..."] if len(runs) > 4 else [])])
