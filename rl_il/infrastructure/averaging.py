"""A moving average of a policy's weights, which acts better than the weights of the last gradient step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

POWER, MAX_DECAY = 0.75, 0.9999  # as in diffusion policy (Chi et al. 2023, arXiv:2303.04137), `ema_model.py`


class AveragedWeights:
    """An exponential moving average of the parameters of a policy.

    After gradient step t, counted from 0 over the whole run, the average moves by `(1 + t)^-0.75` of the way to the
    parameters, at least by 1 / 10,000. So at step 1,000 about the last 180 steps count, and at step 100,000 the last
    5,600.

    The policy has the averaged weights, except in the `with` block of `training`. Buffers are not averaged.
    """

    def __init__(self, policy: nn.Module):
        self.parameters = list(policy.parameters())
        self.others = [parameter.detach().clone() for parameter in self.parameters]  # what the policy does not have
        self.steps = 0

    @contextmanager
    def training(self) -> Iterator[None]:
        """Give the policy the weights that are trained in the `with` block, and the average after it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average after a gradient step."""
        decay = min(MAX_DECAY, 1 - (1 + self.steps) ** -POWER)
        torch._foreach_lerp_(self.others, self.parameters, 1 - decay)
        self.steps += 1

    @torch.no_grad()
    def _exchange(self) -> None:
        """Exchange the weights in place, since a compiled step may have views of the tensors."""
        for parameter, other in zip(self.parameters, self.others, strict=True):
            before = parameter.clone()
            parameter.copy_(other)
            other.copy_(before)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of steps and the weights that are trained. The policy has the average."""
        return {"steps": self.steps, "weights": [tensor.cpu().clone() for tensor in self.others]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.steps = state["steps"]
        for own, saved in zip(self.others, state["weights"], strict=True):
            own.copy_(saved)
