"""What every policy that learns can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.types import Actor, VectorActor


class BasePolicy(ABC):
    """A policy owns its network, its optimiser and its device. It is an `Actor` too.

    NumPy in and out: `get_action`, `reset`, `actor`. Torch: `forward` and `loss`, in the classes below.
    """

    ob_shape: tuple[int, ...]
    frame_stack = 1
    """How many successive observations an action follows from. Above 1 `update` takes them stacked, `(N, frame_stack,
    *view's shape)`; the replay buffer puts them together."""
    compile_pays = True
    """Whether a compiled gradient step is much faster than an eager one."""

    def view(self, obs: np.ndarray) -> np.ndarray:
        """What of `(N, *ob_shape)` is stored and trained on: all of it. A subclass may keep less."""
        return obs

    def reset(self, seed: int = 0) -> None:
        """Called where an episode starts; a policy that draws actions draws them from `seed`."""

    @abstractmethod
    def get_action(self, obs: np.ndarray, sample: bool = False) -> np.ndarray:
        """NumPy: `(*ob_shape)` to one action or `(N, *ob_shape)` to N. Greedy, unless `sample`."""

    @abstractmethod
    def update(self, observations: Any, actions: Any) -> dict[str, float]:
        """Makes one optimiser step on a minibatch; returns what the course logs: `{"Training Loss": ...}`."""

    @abstractmethod
    def actor(self) -> Actor:
        """A frozen copy that acts greedily. It does not change when the policy is trained further."""

    def vectorized(self, n: int) -> VectorActor | None:
        """For `--vec_env batched`: what acts for n episodes in one batch. None, the default: nothing does, and each
        episode has a copy of the policy."""
        return None

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Writes weights and architecture to one file without pickled code."""
