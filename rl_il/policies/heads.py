"""Heads, which compute actions and the loss from an encoder's features. `plugins.HEADS` lists them.

To add a head, write a class, here or in another module, and add a row to `plugins.HEADS`.
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
from rl_il.policies.actors import greedy
from rl_il.policies.part import Part

LOG_STD_RANGE = (-5.0, 2.0)  # so that the likelihood and its gradient stay finite if labels have no noise


class Head(Part, ABC):
    """A module with the layers after the encoder. It defines how their outputs become an action.

    Args:
      n_features: the number of features that the encoder returns for each observation.
      ac_dim: the number of discrete actions, or the number of dimensions of a continuous action.
      n_layers, size, activation: the number, units and activation of the hidden layers.
      loss: one of `losses`. None takes the first one.

    Attributes:
      discrete: whether the actions are discrete.
      losses: the names of the losses that the head supports.
      noise_shape: the shape of the standard normal numbers that `loss` needs for each row. It is empty if it needs
        none.
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
            raise InputError(f"--loss {loss}: the head {type(self).__name__} has only {', '.join(self.losses)}")
        self.network = build_mlp(n_features, self.count_outputs(), n_layers, size, activation)

    @classmethod
    def fits(cls, discrete: bool) -> bool:
        """Return whether this head is for discrete actions or, if `discrete` is false, for continuous ones."""
        return cls.discrete == discrete

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar, of features `(N, n_features)` and labels `(N, *label_shape)`.

        If `noise_shape` is not empty, `noise` is `(N, *noise_shape)`. In long runs this method is compiled once, so
        it must depend only on tensors.
        """

    @abstractmethod
    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the action to take for each row of features, `(N, *label_shape)` int64 or float32, not clipped."""

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row of features. By default, return the actions of `act`."""
        return self.act(features, rng)

    def count_outputs(self) -> int:
        """Return the number of outputs of the network's last layer."""
        return self.ac_dim

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Return the shape of the label of one observation: `()` if actions are discrete, else `(ac_dim,)`."""
        return () if self.discrete else (self.ac_dim,)

    def check_labels(self, labels: Tensor, rows: int) -> None:
        """Raise `InputError` if these are not `rows` labels. (Torch would broadcast (N,) and (N, 1) to (N, N).)"""
        expected = (rows, *self.label_shape)
        if labels.shape != expected:
            raise InputError(f"labels must have the shape {expected}, got {tuple(labels.shape)}")

    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Clamp parameters, given by name, to their range after a gradient step, in place."""

    def metrics(self, features: Tensor, labels: Tensor, rng: torch.Generator) -> dict[str, float]:
        """Return the accuracy of `act` on the labels, or, for continuous actions, its mean absolute error."""
        predicted = self.act(features, rng)
        if self.discrete:
            return {"Validation Accuracy": (predicted == labels).float().mean().item()}
        return {"Validation MAE": (predicted - labels).abs().mean().item()}


class DistributionHead(Head):
    """A head whose `forward` returns a distribution of actions. Its losses are rows of `plugins.LOSSES`."""

    def __init__(self, *settings: Any, **named: Any):
        super().__init__(*settings, **named)
        self._loss = load(LOSSES[self.loss_name])

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution of N actions for `(N, n_features)`."""

    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the chosen loss, a scalar."""
        return self._loss(self(features), labels)

    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the most likely action of each row: the mode of the distribution."""
        return self(features).mode

    def _layers_in_numpy(self, output: str) -> dict[str, Any] | None:
        """Return the layers for a `NumpyActor`, or None if the network differs from the one of `build_mlp`."""
        linear, hidden = self.network[::2], self.network[1::2]
        activation = load(ACTIVATIONS[self.activation][0])
        if {type(module) for module in linear} != {nn.Linear} or {type(module) for module in hidden} - {activation}:
            return None
        layers = [(to_numpy(layer.weight.T), to_numpy(layer.bias)) for layer in linear]
        return {"layers": layers, "activation": self.activation, "output": output}


class LogitDistribution(distributions.Categorical):
    """A categorical distribution of `(N, n_actions)` logits whose mode is the action with the largest logit.

    In torch's class, the mode is the action with the largest probability. Rounding can make two probabilities equal.
    """

    def __init__(self, logits: Tensor):
        super().__init__(logits=logits, validate_args=False)
        self._unnormalised = logits

    @property
    def mode(self) -> Tensor:
        """Return the most likely action of each row, `(N,)` int64."""
        return greedy(self._unnormalised)


class Categorical(DistributionHead):
    """A head with a probability for each discrete action."""

    discrete, losses = True, ("nll",)

    def forward(self, features: Tensor) -> Distribution:
        """Return the categorical distribution of N actions."""
        return LogitDistribution(self.network(features))

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row."""
        return torch.multinomial(self(features).probs, 1, generator=rng)[:, 0]

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the layers. The index of the largest output is the action."""
        return self._layers_in_numpy("argmax")


class Gaussian(DistributionHead):
    """A head with a Gaussian distribution, as in the course.

    The mean is not limited to the action space, and the standard deviation does not depend on the observation.
    """

    discrete, losses = False, ("mse", "l1", "nll")

    def __init__(self, *settings: Any, **named: Any):
        super().__init__(*settings, **named)
        self.log_std = nn.Parameter(torch.zeros(self.ac_dim))

    def forward(self, features: Tensor) -> Distribution:
        """Return the Gaussian distribution of N actions."""
        normal = distributions.Normal(self.network(features), self.log_std.exp(), validate_args=False)
        return distributions.Independent(normal, 1, validate_args=False)

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row."""
        distribution = self(features)
        return torch.normal(distribution.mean, distribution.stddev, generator=rng)

    @torch.no_grad()
    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Clamp the standard deviation. Clamping it in `forward` would set its gradient to zero."""
        if "log_std" in parameters:
            parameters["log_std"].clamp_(*LOG_STD_RANGE)

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the layers. The last one returns the action."""
        return self._layers_in_numpy("identity")


def negative_log_likelihood(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean of -log p(label). For a categorical distribution this is the cross-entropy."""
    return -distribution.log_prob(labels).mean()


def mean_squared_error(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean squared difference between the distribution's mean and the label."""
    return functional.mse_loss(distribution.mean, labels)


def mean_absolute_error(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean absolute difference between the distribution's mean and the label."""
    return functional.l1_loss(distribution.mean, labels)


def find_head(name: str | None, discrete: bool) -> tuple[str, type[Head]]:
    """Return the head's name and class. None takes the first one that fits. Raise `InputError` if it does not fit."""
    fitting = {name: load(path) for name, path in HEADS.items() if load(path).fits(discrete)}
    name = name or next(iter(fitting))
    row("head", HEADS, name)
    if name not in fitting:
        kind = "discrete" if discrete else "continuous"
        raise InputError(f"--head {name} does not fit {kind} actions; these do: {', '.join(fitting)}")
    return name, fitting[name]
