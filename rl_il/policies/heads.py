"""Heads: they turn an encoder's features into actions, and give the loss. `plugins.HEADS` lists them.

A new one is a class here or in another module, and its row in that table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution
from torch.nn import functional

from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import build_mlp, to_numpy
from rl_il.plugins import ACTIVATIONS, HEADS, LOSSES, load, row
from rl_il.policies.part import Part

LOG_STD_RANGE = (-5.0, 2.0)  # keeps a nearly noiseless expert's likelihood, and its gradient, finite


class Head(Part, ABC):
    """The hidden layers behind the features, and how their output becomes an action.

    Args:
      n_features: how many numbers the encoder gives for each observation.
      ac_dim: number of discrete actions, or dimensions of a continuous one.
      n_layers, size, activation: the hidden layers.
      loss: one of `losses`; None is the first.

    Attributes:
      discrete: whether it gives discrete actions.
      losses: names of the losses that it takes.
      noise_shape: the shape of the standard normal numbers that `loss` needs for each row; empty if it needs none.
    """

    DECIDES = ("forward", "act")
    discrete: bool
    losses: tuple[str, ...]
    noise_shape: tuple[int, ...] = ()

    def __init__(
        self, n_features: int, ac_dim: int, n_layers: int, size: int, activation: str, loss: str | None = None
    ):
        super().__init__()
        self.ac_dim, self.activation, self.loss_name = ac_dim, activation, loss or self.losses[0]
        if self.loss_name not in self.losses:
            raise InputError(f"--loss {loss}: the head {type(self).__name__} takes {', '.join(self.losses)}")
        self.network = build_mlp(n_features, self.count_outputs(), n_layers, size, activation)

    @classmethod
    def fits(cls, discrete: bool) -> bool:
        """Return whether it can give actions of this kind."""
        return cls.discrete == discrete

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return what is minimised, a scalar, from features `(N, n_features)`, labels `(N, *label_shape)` and, where
        `noise_shape` is not empty, noise `(N, *noise_shape)`.

        In long runs it is compiled once, so it must follow from tensors alone.
        """

    @abstractmethod
    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the action to take for each row of features, `(N, *label_shape)` int64 or float32, not clipped."""

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return an action drawn for each row of features; what `act` returns, where that draws already."""
        return self.act(features, rng)

    def count_outputs(self) -> int:
        """Return how many numbers the network's last layer gives."""
        return self.ac_dim

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Return the shape of one observation's label: `()` for discrete actions, `(ac_dim,)` for continuous ones."""
        return () if self.discrete else (self.ac_dim,)

    def check_labels(self, labels: Tensor, rows: int) -> None:
        """Raise `InputError` unless these are `rows` labels: torch would broadcast (N,) against (N, 1) to (N, N)."""
        expected = (rows, *self.label_shape)
        if labels.shape != expected:
            raise InputError(f"labels must have the shape {expected}, got {tuple(labels.shape)}")

    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Move parameters, given by name, back into their range after a gradient step, in place."""

    def metrics(self, features: Tensor, labels: Tensor, rng: torch.Generator) -> dict[str, float]:
        """Return how often (discrete) or how closely (continuous) `act` meets the labels."""
        predicted = self.act(features, rng)
        if self.discrete:
            return {"Validation Accuracy": (predicted == labels).float().mean().item()}
        return {"Validation MAE": (predicted - labels).abs().mean().item()}


class DistributionHead(Head):
    """A head whose `forward` gives the distribution of actions. It takes the losses of `plugins.LOSSES`."""

    def __init__(self, *settings: Any, **named: Any):
        super().__init__(*settings, **named)
        self._loss = load(LOSSES[self.loss_name])

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution of N actions for `(N, n_features)`."""

    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the loss that was chosen."""
        return self._loss(self(features), labels)

    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the likeliest actions."""
        return self(features).mode

    def _layers_in_numpy(self, output: str) -> dict[str, Any] | None:
        """Return a `NumpyActor`'s layers, or None if the network is not the one that `build_mlp` built."""
        linear, hidden = self.network[::2], self.network[1::2]
        activation = load(ACTIVATIONS[self.activation][0])
        if {type(module) for module in linear} != {nn.Linear} or {type(module) for module in hidden} - {activation}:
            return None
        layers = [(to_numpy(layer.weight.T), to_numpy(layer.bias)) for layer in linear]
        return {"layers": layers, "activation": self.activation, "output": output}


class Categorical(DistributionHead):
    """A head that gives each discrete action a probability."""

    discrete, losses = True, ("nll",)

    def forward(self, features: Tensor) -> Distribution:
        """Return the categorical distribution of N actions."""
        return distributions.Categorical(logits=self.network(features), validate_args=False)

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return an action drawn for each row."""
        return torch.multinomial(self(features).probs, 1, generator=rng)[:, 0]

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the layers, of which the largest output is the action."""
        return self._layers_in_numpy("argmax")


class Gaussian(DistributionHead):
    """A head that gives a Gaussian: its mean is not squashed, and its standard deviation does not depend on the
    observation, as in the course."""

    discrete, losses = False, ("mse", "l1", "nll")

    def __init__(self, *settings: Any, **named: Any):
        super().__init__(*settings, **named)
        self.log_std = nn.Parameter(torch.zeros(self.ac_dim))

    def forward(self, features: Tensor) -> Distribution:
        """Return the Gaussian of N actions."""
        normal = distributions.Normal(self.network(features), self.log_std.exp(), validate_args=False)
        return distributions.Independent(normal, 1, validate_args=False)

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return an action drawn for each row."""
        distribution = self(features)
        return torch.normal(distribution.mean, distribution.stddev, generator=rng)

    @torch.no_grad()
    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Keep the standard deviation in its range: not in `forward`, where that would end its gradient."""
        if "log_std" in parameters:
            parameters["log_std"].clamp_(*LOG_STD_RANGE)

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the layers, whose output is the action."""
        return self._layers_in_numpy("identity")


def negative_log_likelihood(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean of -log p(label); for a categorical distribution this is cross-entropy."""
    return -distribution.log_prob(labels).mean()


def mean_squared_error(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean squared difference of the distribution's mean and the label."""
    return functional.mse_loss(distribution.mean, labels)


def mean_absolute_error(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean absolute difference of the distribution's mean and the label."""
    return functional.l1_loss(distribution.mean, labels)


def find_head(name: str | None, discrete: bool) -> tuple[str, type[Head]]:
    """Return the head's name and class; None is the first that fits. Raise `InputError` for one that does not fit."""
    fitting = {name: load(path) for name, path in HEADS.items() if load(path).fits(discrete)}
    name = name or next(iter(fitting))
    row("head", HEADS, name)
    if name not in fitting:
        kind = "discrete" if discrete else "continuous"
        raise InputError(f"--head {name} does not fit {kind} actions; these do: {', '.join(fitting)}")
    return name, fitting[name]
