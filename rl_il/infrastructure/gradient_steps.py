"""Gradient steps on minibatches of the buffer, compiled or eager."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable

import numpy as np
from torch import Tensor

from rl_il.config import RunConfig
from rl_il.errors import DivergedError
from rl_il.infrastructure.augmentation import augment
from rl_il.infrastructure.compiled import CompiledUpdate, CompileError
from rl_il.infrastructure.pytorch_utils import seeded, threads
from rl_il.infrastructure.replay_buffer import ReplayBuffer, with_noise
from rl_il.policies.base_policy import BasePolicy
from rl_il.seeding import stream
from rl_il.types import Batch


class GradientSteps:
    """The gradient steps that fit a policy to the data in a buffer.

    Attributes:
      compiles: whether the steps are compiled. It becomes false if compiling fails.
    """

    def __init__(self, config: RunConfig, policy: BasePolicy, buffer: ReplayBuffer, compiles: bool):
        self.config, self.policy, self.buffer, self.compiles = config, policy, buffer, compiles
        self.itr = self.step = 0  # of the current minibatch
        self._compiled: CompiledUpdate | None = None
        self._update: Callable[[Tensor], float] | None = None
        self._update_itr: int | None = None  # the iteration of `_update`; later ones have more data

    def __call__(self, minibatches: Iterable[Tensor], itr: int, first_step: int) -> np.ndarray:
        """Make a gradient step on each minibatch, and return the losses before the steps, `(n,)` float64.

        Args:
          minibatches: row numbers of the buffer, `(N,)` int64 each.
          itr: the iteration.
          first_step: the number of gradient steps already made in the iteration. The random numbers for a minibatch
            depend on `itr` and the step.

        Raise `DivergedError` if a loss or a weight is not finite. The policy then has its weights before the call.
        """
        before = {name: tensor.clone() for name, tensor in self.policy.state_dict().items()}
        losses = []
        rng = stream(self.config.seed, "torch", itr, first_step)
        with seeded(int(rng.integers(2**62))):  # for a user's network with dropout
            for rows in minibatches:
                losses.append(self.take(rows, itr, first_step + len(losses)))
                if not math.isfinite(losses[-1]):
                    break
        weights = self.policy.state_dict().values()
        if not math.isfinite(losses[-1]) or not all(bool(tensor.isfinite().all()) for tensor in weights):
            self.policy.load_state_dict(before)
            raise DivergedError(
                f"training diverged in iteration {itr}: after minibatch {first_step + len(losses)} the loss or a"
                " weight is not finite; lower --learning_rate"
            )
        return np.array(losses)

    def take(self, rows: Tensor, itr: int, step: int) -> float:
        """Make one gradient step on the rows with these numbers, and return the loss before it, finite or not.

        It uses `config.torch_threads` threads of torch, and a step is also compiled for this number.
        """
        with threads(self.config.torch_threads):
            if self._update_itr != itr:
                self._update, self._update_itr = self._make_update(), itr
            self.itr, self.step = itr, step
            return self._update(rows)

    def _make_update(self) -> Callable[[Tensor], float]:
        """Return a function that takes row numbers, makes one gradient step on these rows and returns their loss."""
        if self.compiles:
            try:
                self._compiled = self._compiled or CompiledUpdate(self.policy, self.config.train_batch_size)
                return self._compiled.on(self.buffer, self.batch)
            except CompileError as error:
                self.compiles = False
                print(f"note: the gradient steps are not compiled, so they are slower: {error}", file=sys.stderr)
        return lambda rows: self.policy.update(*self.batch(rows))["Training Loss"]

    def batch(self, rows: Tensor) -> Batch:
        """Return the rows with these numbers. Augment them if the run does, and add noise if the loss needs it."""
        batch = self.buffer.batch(rows)
        if names := self.config.augmentations():
            batch = augment(batch, names, self._stream("augmentation"))
        shape = self.policy.noise_shape
        return with_noise(batch, shape, self._stream("noise")) if shape else batch

    def _stream(self, purpose: str) -> np.random.Generator:
        """Return the random stream of the current step for this purpose."""
        return stream(self.config.seed, purpose, self.itr, self.step)
