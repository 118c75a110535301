"""Gradient steps on minibatches of the buffer, compiled or eager."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from rl_il.config import RunConfig
from rl_il.errors import DivergedError, InputError
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
      must_compile: whether a failure is an error, since earlier steps of the run were compiled.
    """

    def __init__(self, config: RunConfig, policy: BasePolicy, buffer: ReplayBuffer, compiles: bool):
        self.config, self.policy, self.buffer, self.compiles = config, policy, buffer, compiles
        self.must_compile = False
        self.itr = self.step = 0  # of the current minibatch
        self._update: Callable[[Tensor], float | Tensor] | None = None
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
        losses: list[float | Tensor] = []
        rng = stream(self.config.seed, "torch", itr, first_step)
        with threads(self.config.torch_threads), seeded(int(rng.integers(2**62))):  # the seed: for dropout
            update = self.update_of(itr)
            for rows in minibatches:
                self.step = first_step + len(losses)
                losses.append(update(rows))
        found = np.array(torch.stack(losses).tolist() if isinstance(losses[0], Tensor) else losses)
        good = np.isfinite(found)
        if not good.all() or not all(tensor.isfinite().all() for tensor in self.policy.state_dict().values()):
            self.policy.load_state_dict(before)
            at = first_step + (len(found) if good.all() else good.argmin() + 1)
            raise DivergedError(
                f"training diverged in iteration {itr}: after minibatch {at} the loss or a weight is not finite;"
                " lower --learning_rate"
            )
        return found

    def state_dict(self) -> dict[str, bool]:
        """Return whether the steps are compiled, which decides the last digits of the result.

        On a GPU they are captured or eager, with equal results, so there is nothing to keep.
        """
        return {} if on_gpu(self.policy) else {"compiled": self.compiles}

    def load_state_dict(self, state: dict[str, bool]) -> None:
        """Make the steps as they were made before."""
        if state and not on_gpu(self.policy):
            self.compiles = self.must_compile = state["compiled"]

    def prepare(self) -> None:
        """Compile the step if it is to be compiled, before the first minibatch."""
        with threads(self.config.torch_threads):
            self.update_of(self.itr)

    def take(self, rows: Tensor, itr: int, step: int) -> float:
        """Make one gradient step on the rows with these numbers, and return the loss before it, finite or not."""
        with threads(self.config.torch_threads):
            update, self.step = self.update_of(itr), step
            return float(update(rows))

    def update_of(self, itr: int) -> Callable[[Tensor], float | Tensor]:
        """Return a function that takes row numbers, makes a gradient step on these rows and returns their loss.

        It is for this iteration. `config.torch_threads` must be torch's number of threads, since a step is compiled
        for it. Raise `InputError` if the step must be compiled and cannot be.
        """
        self.itr = itr
        if self._update_itr != itr:
            self._update, self._update_itr = self._make_update(), itr
        return self._update

    def _make_update(self) -> Callable[[Tensor], float | Tensor]:
        plain = not self.config.augmentations() and not self.policy.noise_shape
        batch = self.buffer.batch if plain else self.batch
        rows = self.config.train_batch_size
        if self.compiles and not (self.config.n_epochs and len(self.buffer) < rows):  # else no minibatch has so many
            try:
                update = CompiledUpdate(self.policy, rows).on(self.buffer, batch)
                self.must_compile = not on_gpu(self.policy)
                return update
            except CompileError as error:
                if self.must_compile:
                    raise InputError(
                        f"the steps so far were compiled, and eager ones differ in the last digits: {error}; restore"
                        " what is missing, begin again, or resume a run with --accept_changes"
                    ) from error
                self.compiles = False
                print(f"note: the gradient steps are not compiled, so they are slower: {error}", file=sys.stderr)
        return lambda rows: self.policy.update(*batch(rows))["Training Loss"]

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


def on_gpu(policy: BasePolicy) -> bool:
    """Return whether the policy is trained on a GPU."""
    return torch.device(policy.device).type == "cuda"


def pays(config: RunConfig, policy: BasePolicy, rows: int) -> bool:
    """Return whether the gradient steps are compiled if the first iteration trains on `rows` labelled steps.

    On a GPU they are captured, which takes no time and gives the results of eager steps.
    """
    if on_gpu(policy):
        return config.compile != "off"
    return config.compiles(rows) and (policy.compile_pays or config.compile == "on")
