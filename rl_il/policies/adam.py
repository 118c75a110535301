"""AdamW without start-up cost: torch.optim's classes import the compiler (a second) at their first step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw

STATE = ("first_moments", "second_moments", "counts")
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch's defaults, and the course's


class AdamW:
    """AdamW with the results of `torch.optim.AdamW(parameters, lr, weight_decay=..., fused=True)`, to the last digit.

    Loshchilov and Hutter 2019 (arXiv:1711.05101); without weight decay it is Adam. A parameter without a gradient
    stays as it is. An optimiser of torch.optim can be used instead.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, weight_decay: float = 0.0):
        self.parameters = list(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.first_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.second_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.counts = [torch.zeros((), device=p.device) for p in self.parameters]  # steps made

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Make one step along the gradients in each parameter's `grad`."""
        chosen = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        adamw(
            [self.parameters[i] for i in chosen],
            [self.parameters[i].grad for i in chosen],
            [self.first_moments[i] for i in chosen],
            [self.second_moments[i] for i in chosen],
            [],
            [self.counts[i] for i in chosen],
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return copies of the moments and counts, in the order of the parameters."""
        return {name: [tensor.detach().cpu().clone() for tensor in getattr(self, name)] for name in STATE}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Take back what `state_dict` returned; in place, since a compiled step may hold views."""
        for name in STATE:
            for own, saved in zip(getattr(self, name), state[name], strict=True):
                own.copy_(saved)

    @torch.no_grad()
    def pack(self, chosen: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Lay the chosen parameters out in one tensor, their moments and counts in three more, and return the four.

        Afterwards each is a view into its tensor: a change of one changes the other.
        """
        packed = []
        for tensors in (self.parameters, self.first_moments, self.second_moments, self.counts):
            whole = torch.cat([tensors[i].detach().reshape(-1) for i in chosen])
            parts = whole.split([tensors[i].numel() for i in chosen])
            for i, part in zip(chosen, parts, strict=True):
                tensors[i].data = part.view(tensors[i].shape)
            packed.append(whole)
        return tuple(packed)
