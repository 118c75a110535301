"""AdamW without start-up cost: torch.optim's classes import the compiler (a second) at their first step."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import can_replace

STATE = ("first_moments", "second_moments", "counts")
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch's defaults, and the course's


class AdamW:
    """`torch.optim.AdamW(parameters, lr, weight_decay=weight_decay, fused=True)`, to the last digit.

    Loshchilov and Hutter 2019 (arXiv:1711.05101); without weight decay it is Adam. A parameter without a
    gradient is left alone. Another optimiser of torch.optim can take its place.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, weight_decay: float = 0.0):
        self.parameters = list(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.first_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.second_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.counts = [torch.zeros((), device=p.device) for p in self.parameters]  # steps made

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients in each parameter's `grad`."""
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
        """Copies of the moments and counts, in the order of the parameters."""
        return {name: [tensor.detach().cpu().clone() for tensor in getattr(self, name)] for name in STATE}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Takes over what `state_dict` gave; in place, since a compiled step may hold views.

        Raises `InputError`, before anything is changed, for a state of other parameters.
        """
        if not isinstance(state, dict) or not all(isinstance(state.get(name), list) for name in STATE):
            raise InputError(f"Adam's state must have the lists {', '.join(STATE)}")
        pairs = [(own, saved) for name in STATE for own, saved in zip_longest(getattr(self, name), state[name])]
        if not all(own is not None and can_replace(saved, own) for own, saved in pairs):
            raise InputError("Adam's state is that of other parameters")
        if not all(count >= 0 for count in state["counts"]):
            raise InputError("Adam has counted its steps below 0")
        if not all(moment.isfinite().all() for moment in state["first_moments"]):
            raise InputError("Adam's first moments hold NaN or infinity")
        # Infinity is what a huge gradient leaves, and its weight then stands still.
        if not all((moment >= 0).all() for moment in state["second_moments"]):
            raise InputError("Adam's second moments hold NaN or numbers below 0")
        for own, saved in pairs:
            own.copy_(saved)

    @torch.no_grad()
    def pack(self, chosen: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Lays the chosen parameters out in one tensor, their moments and counts in three more.

        Afterwards each is a view into its tensor, so that whoever changes one changes the other.
        """
        packed = []
        for tensors in (self.parameters, self.first_moments, self.second_moments, self.counts):
            whole = torch.cat([tensors[i].detach().reshape(-1) for i in chosen])
            parts = whole.split([tensors[i].numel() for i in chosen])
            for i, part in zip(chosen, parts, strict=True):
                tensors[i].data = part.view(tensors[i].shape)
            packed.append(whole)
        return tuple(packed)
