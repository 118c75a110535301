"""Fitting the policy to the buffer: one gradient step after another, compiled or eager, until they diverge."""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from rl_il.config import RunConfig
from rl_il.errors import DivergedError
from rl_il.infrastructure.augmentation import augment
from rl_il.infrastructure.compiled import CompiledUpdate, CompileError
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.seeding import stream
from rl_il.types import Batch

if TYPE_CHECKING:  # the room above
    from torch import Tensor

    from rl_il.policies.mlp_policy import MLPPolicySL

GOOD_WEIGHTS_EVERY = 500  # gradient steps
LOSS_WINDOW = 100  # minibatches at an iteration's end over which `Training Loss` is averaged


class Fitting:
    """The gradient steps of a run.

    Attributes:
      compiles: whether they are compiled; no longer, once that has failed.
      itr, steps_done: the iteration, and how many of its steps are made.
      losses: the iteration's last ones.
      good_weights: a copy of the policy's, when they last were looked at and finite.
    """

    def __init__(self, config: RunConfig, policy: MLPPolicySL, buffer: ReplayBuffer, compiles: bool):
        self.policy, self.buffer, self.compiles = policy, buffer, compiles
        self.seed, self.minibatch_rows = config.seed, config.train_batch_size
        self.augmentations = config.augmentations()
        self.compiled: CompiledUpdate | None = None
        self.itr = self.steps_done = 0
        self.losses: deque[float] = deque(maxlen=LOSS_WINDOW)
        self.good_weights: dict[str, Tensor] | None = None

    def steps(
        self, itr: int, minibatches: Iterable[Tensor], gradient_step: Callable[[Tensor], float]
    ) -> Iterator[float]:
        """Makes a gradient step on each minibatch, given as row numbers of the buffer, and yields its loss.

        Raises `DivergedError` once a loss or a weight is not finite; the policy then has its good weights.
        """
        self.itr = itr
        self.keep_good_weights()
        for minibatch in minibatches:
            loss = gradient_step(minibatch)
            self.losses.append(loss)
            self.steps_done += 1
            look = self.steps_done % GOOD_WEIGHTS_EVERY == 0
            if not math.isfinite(loss) or (look and not self.keep_good_weights()):
                self._stop()
            yield loss
        if not self.keep_good_weights():
            self._stop()

    def eager_step(self, rows: Tensor) -> float:
        """Fits the policy to the rows of these numbers, once, and returns their loss before it."""
        return self.policy.update(*self.batch(rows))["Training Loss"]

    def compiled_step(self) -> Callable[[Tensor], float]:
        """The same as one compiled function, which the first call makes; eager where that cannot be done."""
        try:
            self.compiled = self.compiled or CompiledUpdate(self.policy, self.minibatch_rows)
            return self.compiled.on(self.buffer, self.batch)
        except CompileError as error:
            self.compiles = False
            print(f"note: the gradient step is not compiled, and slower: {error}", file=sys.stderr)
            return self.eager_step

    def batch(self, rows: Tensor) -> Batch:
        """The buffer's rows of these numbers, augmented if the run asks for it."""
        batch = self.buffer.batch(rows)
        if not self.augmentations:
            return batch
        return augment(batch, self.augmentations, stream(self.seed, "augmentation", self.itr, self.steps_done))

    def keep_good_weights(self) -> bool:
        """Keeps a copy of the weights, if they are all finite; returns whether they are."""
        weights = self.policy.state_dict()
        finite = all(bool(tensor.isfinite().all()) for tensor in weights.values())
        if finite:
            self.good_weights = {name: tensor.clone() for name, tensor in weights.items()}
        return finite

    def _stop(self) -> None:
        if self.good_weights is not None:
            self.policy.load_state_dict(self.good_weights)
        raise DivergedError(
            f"training diverged in iteration {self.itr}: after minibatch {self.steps_done} the loss or a weight is"
            " not finite; lower --learning_rate"
        )
