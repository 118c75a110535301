"""The interface of a policy that the training loop uses. This file does not import torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rl_il.errors import InputError
from rl_il.types import Actor

if TYPE_CHECKING:
    import torch
    from torch import Tensor


OPTIONS = {"normalize_acs": False, "dropout": 0.0, "layer_norm": False}
"""Arguments of a policy that are given, and are in its file, only if they are not these values."""


class BasePolicy(Actor):
    """A policy that learns. It has its own network, optimiser and device.

    Attributes:
      device: the device of its weights and of the minibatches.
      discrete: whether actions are integers.
      optimizer: an object with `state_dict` and `load_state_dict`.
      loss_name: the name of the loss that is minimised.
      head_name: a name in `plugins.HEADS` or `module:Name`, or None for a policy without a head.
      frame_stack: how many successive observations the policy sees. Above 1, the observations that `update` takes are
        stacks made by the replay buffer, `(N, frame_stack, *view's shape)`.
      chunk: how many successive actions the policy predicts together. Above 1, the labels of a minibatch are
        `(N, chunk, *shape of one label)`.
      minibatches: how many minibatches a gradient step takes, one after the other in one batch.
      noise_shape: the shape of the random numbers that the loss needs for each row. It is empty if it needs none.
      compile_pays: whether, on a CPU, a compiled gradient step is much faster than an eager one.
      compilable: whether a gradient step consists only of the gradient of `loss`, AdamW's step and `constrain`. Then
        `gradient_step(*minibatch)` makes one with tensors, and returns the loss before it as a tensor. A subclass
        that overrides one of them must define this attribute too.
    """

    classes: ClassVar[dict[str, type[BasePolicy]]] = {}  # all policy classes imported so far, by name

    device: torch.device
    discrete: bool
    optimizer: Any
    loss_name: str
    head_name: str | None = None
    frame_stack: int = 1
    chunk: int = 1
    minibatches: int = 1
    noise_shape: tuple[int, ...] = ()
    compile_pays: bool = True
    compilable: bool = False

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        BasePolicy.classes[cls.__name__] = cls

    @property
    def remembers(self) -> bool:
        """Return whether an action also depends on earlier observations of the episode."""
        return self.frame_stack > 1

    def view(self, obs: np.ndarray) -> np.ndarray:
        """Return the part of observations `(N, *ob_shape)` that is stored and used in training: by default all."""
        return obs

    def to_labels(self, acs: np.ndarray) -> np.ndarray:
        """Return the labels of actions `(N, ...)` that are stored and used in training: by default the actions."""
        return acs

    def fit_normalization(self, obs: np.ndarray) -> None:
        """Standardise all later observations by the statistics of `obs (N, *ob_shape)`, if this policy can."""

    def fit_label_normalization(self, labels: np.ndarray) -> None:
        """Standardise all later labels by the statistics of `labels (N, ac_dim)`. Raise `InputError` if it cannot."""
        raise InputError(
            f"--normalize_acs: {type(self).__name__} does not standardise labels; make the policy with"
            " normalize_acs=True, or drop the flag"
        )

    @abstractmethod
    def get_action(self, obs: np.ndarray, sample: bool = False) -> np.ndarray:
        """Return one action for `(*ob_shape)`, or N actions for `(N, *ob_shape)`. With `sample`, draw them."""

    @abstractmethod
    def actor(self) -> Actor:
        """Return a frozen copy that only acts. Further training of the policy does not change it."""

    @abstractmethod
    def check_labels(self, actions: Tensor, rows: int) -> None:
        """Raise `InputError` if these are not labels for `rows` observations."""

    @abstractmethod
    def loss(self, observations: Tensor, actions: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the loss of a minibatch, a scalar."""

    @abstractmethod
    def update(self, observations: Any, actions: Any, noise: Any = None) -> dict[str, float]:
        """Make one gradient step on a minibatch, and return the loss as in the course: `{"Training Loss": ...}`."""

    @abstractmethod
    def validate(self, observations: Tensor, actions: Tensor, noise: Tensor | None = None) -> dict[str, float]:
        """Return the loss on held-out pairs, and a measure of how well the policy predicts their labels."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights by name."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Tensor]) -> Any:
        """Restore weights that `state_dict` returned."""

    @abstractmethod
    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments, except the device, as plain Python values."""

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the policy to a file without pickled code."""


def overridden_since(cls: type, promise: str, methods: Iterable[str]) -> list[str]:
    """Return the `methods` that `cls`, or a base class, overrides below the class that defines `promise`."""

    def place(name: str) -> int:
        return next((i for i, base in enumerate(cls.__mro__) if name in vars(base)), len(cls.__mro__))

    return [name for name in methods if place(name) < place(promise)]
