"""AdamW without start-up cost. The optimisers of torch.optim import the compiler at their first step (1 second)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw

STATE = ("first_moments", "second_moments", "counts")
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # the defaults of torch, which the course uses


class AdamW:
    """AdamW with exactly the results of `torch.optim.AdamW(parameters, lr, weight_decay=..., fused=True)`.

    Source: Loshchilov and Hutter 2019 (arXiv:1711.05101). Without weight decay it is Adam. A parameter without a
    gradient does not change. A policy may use an optimiser of torch.optim instead.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, weight_decay: float = 0.0):
        self.parameters = list(parameters)
        self.settings = torch.tensor([learning_rate, weight_decay], dtype=torch.float64)  # a compiled step reads it
        self._learning_rate, self.weight_decay = learning_rate, weight_decay
        self._rate: Tensor | None = None  # on a GPU, after the first change: a captured step reads it
        self.first_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.second_moments = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.counts = [torch.zeros((), device=p.device) for p in self.parameters]  # steps made

    @property
    def learning_rate(self) -> float:
        """Return the learning rate. If it is changed, compiled steps use the new one at once.

        On a GPU, the first change makes it a tensor in single precision, which steps captured after that use.
        """
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._learning_rate = rate
        self.settings[0] = rate
        if self._rate is not None:
            self._rate.fill_(rate)
        elif self.parameters[0].is_cuda:
            self._rate = torch.tensor(rate, dtype=torch.float32, device=self.parameters[0].device)

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Make one step, with the gradient in each parameter's `grad`."""
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
            lr=self._learning_rate if self._rate is None else self._rate,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return copies of the moments and counts, in the order of the parameters."""
        return {name: [tensor.detach().cpu().clone() for tensor in getattr(self, name)] for name in STATE}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Restore what `state_dict` returned. Do it in place, since a compiled step may have views of the tensors."""
        for name in STATE:
            for own, saved in zip(getattr(self, name), state[name], strict=True):
                own.copy_(saved)

    @torch.no_grad()
    def pack(self, chosen: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Move the chosen parameters into one flat tensor, and their moments and counts into three others.

        Return these four tensors. Then each chosen parameter, moment and count is a view of a part of them.
        """
        packed = []
        for tensors in (self.parameters, self.first_moments, self.second_moments, self.counts):
            whole = torch.cat([tensors[i].detach().reshape(-1) for i in chosen])
            parts = whole.split([tensors[i].numel() for i in chosen])
            for i, part in zip(chosen, parts, strict=True):
                tensors[i].data = part.view(tensors[i].shape)
            packed.append(whole)
        return tuple(packed)
