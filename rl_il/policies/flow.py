"""`Flow`, a head that turns noise into actions: conditional flow matching.

Lipman et al. 2023, Flow matching for generative modeling (arXiv:2210.02747).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rl_il.policies.drawing import DrawingHead, check_count
from rl_il.policies.drawing_actors import FlowActor


class Flow(DrawingHead):
    """A head whose network gives the velocity at which noise moves to an action, from time 0 to time 1.

    The network reads the features, a point `x` between noise and action, and the time `t`. The noise and the labels
    should be about equally large: standardise labels that are not.

    Args:
      flow_steps: the number of Euler steps from noise to action.
      settings, named: the arguments of `Head`.
    """

    losses, settings, numpy_actor = ("flow_matching",), ("flow_steps",), FlowActor

    def __init__(self, *settings: Any, flow_steps: int = 10, **named: Any):
        self.flow_steps = check_count("flow_steps", flow_steps)
        super().__init__(*settings, **named)

    def make_network(self, build_network: Callable[..., nn.Module]) -> nn.Module:
        """Return the network. After the features it reads `x` and `t`. It returns the velocity of each number."""
        return build_network(self.numbers, extra_inputs=self.numbers + 1)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Return how many random numbers `loss` needs for each row: where the path begins, and one for the time."""
        return (self.numbers + 1,)

    def velocity(self, features: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """Return the velocity `(N, numbers)` at the points `x (N, numbers)` and the times `t (N, 1)`."""
        return self.network(torch.cat((features, x, t), dim=1))

    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the mean squared error of the velocity at a random point of a straight path, a scalar.

        The path of a row begins at the first numbers of its `noise` and ends at its label, so its velocity is their
        difference. The time is uniform in 0 to 1: the normal distribution function of the last number of the noise.
        """
        start, end = noise[:, :-1], labels.flatten(1)
        t = (1 + torch.erf(noise[:, -1:] / math.sqrt(2))) / 2
        return functional.mse_loss(self.velocity(features, (1 - t) * start + t * end, t), end - start)

    def draw(self, rows: int, rng: torch.Generator) -> Tensor:
        """Return standard normal numbers `(rows, numbers)`: where the paths begin."""
        return torch.randn(rows, self.numbers, device=rng.device, generator=rng)

    def decide(self, features: Tensor, draws: Tensor) -> Tensor:
        """Return where the velocity leads from `draws (N, numbers)` in `flow_steps` steps of Euler's method."""
        x = draws
        for i in range(self.flow_steps):
            t = torch.full_like(x[:, :1], i / self.flow_steps)
            x = x + self.velocity(features, x, t) / self.flow_steps
        return x

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the arguments of `numpy_actor`."""
        return self._own_in_numpy()
