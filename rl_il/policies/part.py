"""The common base class of encoders and heads."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from rl_il.policies.base_policy import overridden_since


class Part(nn.Module):
    """An encoder or a head: one of the two modules of a policy's network.

    A class that overrides a method in `DECIDES` acts in torch, unless it also defines `numpy_settings`.
    """

    DECIDES: ClassVar[tuple[str, ...]] = ("forward",)

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if overridden_since(cls, "numpy_settings", cls.DECIDES):
            cls.numpy_settings = Part.numpy_settings

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the arguments of a `NumpyActor` that computes the same as this part, or None if none can."""
        return None
