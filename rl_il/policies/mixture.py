"""`Mixture`, a head with several Gaussian distributions of actions: a mixture density network.

Bishop 1994, Mixture density networks (https://publications.aston.ac.uk/id/eprint/373).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from rl_il.policies.drawing import DrawingHead, check_count
from rl_il.policies.drawing_actors import MixtureActor

LOG_STD_RANGE = (-4.0, 2.0)


class Mixture(DrawingHead):
    """A head with `modes` Gaussian distributions, each over all numbers of a chunk of actions.

    Their probabilities, means and standard deviations depend on the observation. `act` draws one of the Gaussians and
    returns its mean, which stays near the data; `sample` also draws from the Gaussian. The likeliest one for all
    states would be worse, since several may be equally likely.

    Args:
      modes: the number of Gaussians.
      settings, named: the arguments of `Head`.
    """

    losses, settings, numpy_actor = ("nll",), ("modes",), MixtureActor

    def __init__(self, *settings: Any, modes: int = 5, **named: Any):
        self.modes = check_count("modes", modes)
        super().__init__(*settings, **named)

    def make_network(self, build_network: Callable[..., nn.Module]) -> nn.Module:
        """Return the network. Its outputs are the logits of the Gaussians, their means, then their deviations."""
        return build_network(self.modes * (1 + 2 * self.numbers))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits `(N, modes)`, the means and the logarithms of the standard deviations.

        The last two are `(N, modes, numbers)`. A sigmoid holds the logarithms in `LOG_STD_RANGE`, so that the
        likelihood stays finite if labels have no noise. It has a gradient everywhere, so a standard deviation can
        leave the end of the range again. Clamping would set its gradient to zero there.
        """
        outputs, wide = self.network(features), self.modes * self.numbers
        logits, means, raw = outputs.split([self.modes, wide, wide], dim=1)
        low, high = LOG_STD_RANGE
        log_stds = low + (high - low) * torch.sigmoid(raw)
        each = (self.modes, self.numbers)
        return logits, means.unflatten(1, each), log_stds.unflatten(1, each)

    def log_likelihood(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the logarithm of the density of each row's labels, `(N,)`."""
        logits, means, log_stds = self(features)
        distances = (labels.flatten(1).unsqueeze(1) - means) * torch.exp(-log_stds)
        logs = -(distances.square() / 2 + log_stds + math.log(2 * math.pi) / 2).sum(dim=2)  # of each Gaussian
        return torch.logsumexp(logits.log_softmax(dim=1) + logs, dim=1)

    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the negative log-likelihood, divided by how many numbers a chunk has, a scalar."""
        return -self.log_likelihood(features, labels).mean() / self.numbers

    def draw(self, rows: int, rng: torch.Generator) -> Tensor:
        """Return random numbers of the exponential distribution, `(rows, modes)`."""
        return torch.empty(rows, self.modes, device=rng.device).exponential_(generator=rng)

    def decide(self, features: Tensor, draws: Tensor) -> Tensor:
        """Return the mean of one Gaussian for each row, `(N, numbers)`."""
        logits, means, _ = self(features)
        return _rows_of(means, _choose(logits, draws))

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row: a draw from the mixture."""
        logits, means, log_stds = self(features)
        chosen = _choose(logits, self.draw(len(features), rng))
        std = _rows_of(log_stds, chosen).exp()
        return self.as_labels(torch.normal(_rows_of(means, chosen), std, generator=rng))

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the arguments of `numpy_actor`, without the standard deviations, which `act` does not need."""
        if (found := self._own_in_numpy()) is not None:
            weights, bias = found["layers"][-1]
            needed = self.modes * (1 + self.numbers)
            found["layers"][-1] = weights[:, :needed], bias[:needed]
        return found


def _choose(logits: Tensor, draws: Tensor) -> Tensor:
    """Return an index for each row, `(N,)`, drawn with the probabilities of the logits.

    If each E is exponentially distributed, the largest `logit - log(E)` is that of a logit with its probability: the
    Gumbel-max trick.
    """
    return (logits - draws.log()).argmax(dim=1)


def _rows_of(parts: Tensor, chosen: Tensor) -> Tensor:
    """Return the chosen part `(N, numbers)` of each row of `(N, modes, numbers)`."""
    return parts[torch.arange(len(parts), device=parts.device), chosen]
