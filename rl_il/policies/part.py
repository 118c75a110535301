"""What an encoder and a head have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from rl_il.policies.base_policy import overridden_since


class Part(nn.Module):
    """An encoder or a head: one of the two modules that a policy's network consists of.

    A class that overrides a method in `DECIDES` acts in torch, unless it defines `numpy_settings` too.
    """

    DECIDES: ClassVar[tuple[str, ...]] = ("forward",)

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if overridden_since(cls, "numpy_settings", cls.DECIDES):
            cls.numpy_settings = Part.numpy_settings

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the arguments of a `NumpyActor` that make it compute what this part does, or None where none do."""
        return None
