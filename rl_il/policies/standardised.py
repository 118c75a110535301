"""A head whose labels are standardised, so that the sizes of the actions' units do not matter to the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, distributions
from torch.distributions import Distribution

from rl_il.infrastructure.pytorch_utils import to_numpy
from rl_il.policies.heads import Head

MIN_STD = 1e-6  # of a number whose mean is 1
COPIED = ("ac_dim", "loss_name", "discrete", "several", "losses", "noise_shape", "chunk", "chunks", "settings")
"""The attributes that a head of other heads has from them, besides their settings and `numpy_actor`."""


class StandardisedHead(Head):
    """Another head that learns standardised labels. What goes in and comes out is in the units of the actions.

    Only the loss is in standardised units: each action dimension counts the same in it. Until `fit`, the mean is 0
    and the standard deviation 1.

    Args:
      head: a head for continuous actions.
    """

    def __init__(self, head: Head):
        torch.nn.Module.__init__(self)  # the other head has the layers
        for name in (*COPIED, "numpy_actor"):
            setattr(self, name, getattr(head, name))
        self.head = head
        self.register_buffer("ac_mean", torch.zeros(self.ac_dim))
        self.register_buffer("ac_std", torch.ones(self.ac_dim))

    def fit(self, labels: np.ndarray) -> None:
        """Standardise from now on by the mean and the standard deviation of labels `(N, ac_dim)`.

        An action dimension that does not vary is only centred.
        """
        numbers = np.asarray(labels, np.float32).astype(np.float64)
        mean, std = numbers.mean(axis=0), numbers.std(axis=0)
        varies = std > MIN_STD * np.abs(mean)
        self.ac_mean.copy_(torch.from_numpy(mean))
        self.ac_std.copy_(torch.from_numpy(np.where(varies, std, 1)))

    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution of N actions, if the head has one."""
        return Shifted(self.head(features), self.ac_mean, self.ac_std)

    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the head's loss of the standardised labels."""
        return self.head.loss(features, (labels - self.ac_mean) / self.ac_std, noise)

    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the action to take for each row of features."""
        return self.head.act(features, rng) * self.ac_std + self.ac_mean

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row of features."""
        return self.head.sample(features, rng) * self.ac_std + self.ac_mean

    def check_labels(self, labels: Tensor, rows: int) -> None:
        """Raise `InputError` if these are not `rows` labels."""
        self.head.check_labels(labels, rows)

    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Clamp the head's parameters to their range after a gradient step, in place."""
        self.head.constrain({name.removeprefix("head."): tensor for name, tensor in parameters.items()})

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the settings of the head's `NumpyActor`, with the scale and the centre of its actions."""
        settings = self.head.numpy_settings()
        scale, center = (np.tile(to_numpy(numbers), self.chunk) for numbers in (self.ac_std, self.ac_mean))
        units = {"action_scale": scale, "action_center": center}
        return None if settings is None else settings | units


class Shifted(distributions.TransformedDistribution):
    """The distribution of `x * std + mean`, where x has the distribution `base`."""

    def __init__(self, base: Distribution, mean: Tensor, std: Tensor):
        dimensions = len(base.event_shape)
        transform = distributions.AffineTransform(mean, std, event_dim=dimensions)
        super().__init__(base, transform, validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Return the mean of each row."""
        return self.transforms[0](self.base_dist.mean)

    @property
    def mode(self) -> Tensor:
        """Return the most likely action of each row."""
        return self.transforms[0](self.base_dist.mode)

    @property
    def variance(self) -> Tensor:
        """Return the variance of each number."""
        return self.base_dist.variance * self.transforms[0].scale.square()
