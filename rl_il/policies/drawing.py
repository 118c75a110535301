"""`DrawingHead`, the base class of heads for continuous actions whose actions are drawn."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from rl_il.errors import InputError
from rl_il.policies.heads import Head


class DrawingHead(Head):
    """A head that draws its actions, for data in which one state has several good actions.

    The mean of two good actions may be a bad one. So `act` never returns a mean of all: it draws random numbers and
    computes the actions from them with `decide`. All numbers of a chunk are drawn together.
    """

    DECIDES = (*Head.DECIDES, "draw", "decide")
    discrete, chunks = False, True

    @property
    def numbers(self) -> int:
        """Return how many numbers a chunk of actions has: `chunk` times `ac_dim`."""
        return self.chunk * self.ac_dim

    @abstractmethod
    def draw(self, rows: int, rng: torch.Generator) -> Tensor:
        """Return the random numbers that `decide` needs, `(rows, n)` on the device of `rng`."""

    @abstractmethod
    def decide(self, features: Tensor, draws: Tensor) -> Tensor:
        """Return the actions `(N, numbers)` that follow from features `(N, n_features)` and `draws (N, n)`."""

    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a drawn action for each row of features, `(N, ac_dim)`, or `(N, chunk, ac_dim)` for chunks."""
        return self.as_labels(self.decide(features, self.draw(len(features), rng)))

    def _own_in_numpy(self) -> dict[str, Any] | None:
        """Return the arguments of `numpy_actor`, or None if it cannot compute what the layers do."""
        layers = self._layers_in_numpy("identity")
        if layers is None:
            return None
        del layers["output"]
        return layers | {name: getattr(self, name) for name in self.settings}

    def as_labels(self, rows: Tensor) -> Tensor:
        """Return actions `(N, numbers)` in the shape of labels."""
        return rows if self.chunk == 1 else rows.unflatten(1, (self.chunk, self.ac_dim))


def check_count(name: str, value: object) -> int:
    """Return the value of a head's setting. Raise `InputError` if it is not an integer above 0."""
    if type(value) is not int or value < 1:
        raise InputError(f"--{name} must be an integer above 0, got {value!r}")
    return value
