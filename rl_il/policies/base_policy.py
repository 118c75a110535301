"""What the training loop asks of a policy. This file does not import torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rl_il.types import Actor

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class BasePolicy(Actor):
    """A policy that learns. It owns its network, its optimiser and its device.

    Attributes:
      device: where its weights are, and where minibatches are put.
      discrete: whether actions are integers.
      optimizer: has `state_dict` and `load_state_dict`.
      loss_name: the loss that is minimised.
      head_name: a name in `plugins.HEADS`, or None for a policy that is made without a head.
      frame_stack: how many successive observations an action follows from. Above 1, `update` takes them stacked,
        `(N, frame_stack, *view's shape)`; the replay buffer puts them together.
      noise_shape: the shape of the random numbers that the loss needs for each row; empty if it needs none.
      compile_pays: whether a compiled gradient step is much faster than an eager one.
      compilable: whether a gradient step is the gradient of `loss`, AdamW's step and `constrain`, and nothing else.
    """

    classes: ClassVar[dict[str, type[BasePolicy]]] = {}  # every policy class imported so far, by name

    device: torch.device
    discrete: bool
    optimizer: Any
    loss_name: str
    head_name: str | None = None
    frame_stack: int = 1
    noise_shape: tuple[int, ...] = ()
    compile_pays: bool = True
    compilable: bool = False

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        BasePolicy.classes[cls.__name__] = cls

    @property
    def remembers(self) -> bool:
        """Return whether an action follows from earlier observations of the episode too."""
        return self.frame_stack > 1

    def view(self, obs: np.ndarray) -> np.ndarray:
        """Return what of `(N, *ob_shape)` is stored and trained on: all of it, unless a subclass keeps less."""
        return obs

    def fit_normalization(self, obs: np.ndarray) -> None:
        """Standardise observations by those in `obs (N, *ob_shape)` from now on, if this policy can."""

    @abstractmethod
    def get_action(self, obs: np.ndarray, sample: bool = False) -> np.ndarray:
        """Return one action for `(*ob_shape)`, or N for `(N, *ob_shape)`: the best, or with `sample` a drawn one."""

    @abstractmethod
    def actor(self) -> Actor:
        """Return a frozen copy that only acts. It does not change when the policy is trained further."""

    @abstractmethod
    def check_labels(self, actions: Tensor, rows: int) -> None:
        """Raise `InputError` unless these are labels for `rows` observations."""

    @abstractmethod
    def loss(self, observations: Tensor, actions: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return what is minimised, a scalar."""

    @abstractmethod
    def update(self, observations: Any, actions: Any, noise: Any = None) -> dict[str, float]:
        """Make one gradient step on a minibatch; return what the course logs: `{"Training Loss": ...}`."""

    @abstractmethod
    def validate(self, observations: Tensor, actions: Tensor, noise: Tensor | None = None) -> dict[str, float]:
        """Return the loss on pairs that are not trained on, and how well the labels are predicted."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights by name."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Tensor]) -> Any:
        """Take back weights that `state_dict` returned."""

    @abstractmethod
    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments except the device, as plain Python values."""

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the policy to one file without pickled code."""


def overridden_since(cls: type, promise: str, methods: Iterable[str]) -> list[str]:
    """Return the methods that a subclass has overridden of the class whose `promise` about them `cls` inherits."""

    def place(name: str) -> int:
        return next((i for i, base in enumerate(cls.__mro__) if name in vars(base)), len(cls.__mro__))

    return [name for name in methods if place(name) < place(promise)]
