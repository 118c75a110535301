"""Distributions of discrete actions, and the losses, which are functions of a distribution and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution
from torch.nn import functional

from rl_il.policies.actors import greedy


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


class SeveralCategorical(Distribution):
    """Several independent categorical distributions, with their logits `(N, sum of choices)` in a row.

    A sample is `(N, k)` int64.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  # torch reads it, and would warn without it

    def __init__(self, logits: Tensor, choices: Sequence[int]):
        super().__init__(logits.shape[:-1], torch.Size([len(choices)]), validate_args=False)
        self.parts = [LogitDistribution(part) for part in logits.split(list(choices), dim=-1)]

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the logarithm of the probability of each row, `(N,)`: the sum over its k integers."""
        return torch.stack([part.log_prob(value[..., i]) for i, part in enumerate(self.parts)], dim=-1).sum(dim=-1)

    @property
    def mode(self) -> Tensor:
        """Return the most likely action of each row, `(N, k)` int64."""
        return torch.stack([part.mode for part in self.parts], dim=-1)


def negative_log_likelihood(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean of -log p(label). For a categorical distribution this is the cross-entropy."""
    return -distribution.log_prob(labels).mean()


def mean_squared_error(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean squared difference between the distribution's mean and the label."""
    return functional.mse_loss(distribution.mean, labels)


def mean_absolute_error(distribution: Distribution, labels: Tensor) -> Tensor:
    """Return the mean absolute difference between the distribution's mean and the label."""
    return functional.l1_loss(distribution.mean, labels)
