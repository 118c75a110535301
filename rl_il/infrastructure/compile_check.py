"""Whether a compiled step computes the same as the eager one. A compiler has faults too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rl_il.infrastructure.pytorch_utils import seeded

# Much more than the differences by rounding, and much less than what a fault of the compiler makes.
RELATIVE, ROUNDING = 0.1, 1e-6


def agrees(found: Sequence[Tensor], step: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor]) -> bool:
    """Return whether the eager `step` makes of `inputs` what a compiled step with the seed 0 made of them.

    The differences of all tensors together are compared with the step's changes, since single numbers may be mere
    rounding errors. If the step draws other random numbers than dropout, they differ from those of the compiled step.
    Then only that the numbers are finite is compared.

    Args:
      found: the inputs after the compiled step, which may change them in place, and its results.
    """
    expected = [tensor.clone() for tensor in inputs]
    with seeded(0), _Draws() as draws:
        expected += step(*expected)
    before = [*inputs, *(torch.zeros_like(result) for result in expected[len(inputs) :])]
    return all(
        _near(*tensors) if draws.like_compiled else _as_finite(*tensors[:2])
        for tensors in zip(found, expected, before, strict=True)
    )


def _near(found: Tensor, expected: Tensor, before: Tensor) -> bool:
    """Return whether the differences are small, compared with the changes from `before` to `expected`."""
    found, expected, before = (tensor.detach().double() for tensor in (found, expected, before))
    if not expected.isfinite().all():
        return True  # then the training stops anyway
    allowed = RELATIVE * (expected - before).abs().sum() + ROUNDING * (1 + expected.abs().sum())
    return bool((found - expected).abs().sum() <= allowed)


def _as_finite(found: Tensor, expected: Tensor) -> bool:
    """Return whether all numbers of `found` are finite if those of `expected` are."""
    return bool(found.isfinite().all() or not expected.isfinite().all())


class _Draws(TorchDispatchMode):
    """A mode that notices whether a compiled step draws the same random numbers as an eager one."""

    like_compiled = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if torch.Tag.nondeterministic_seeded in operation.tags and operation != torch.ops.aten.bernoulli_.float:
            self.like_compiled = False
        return operation(*args, **(kwargs or {}))
