"""Gradient steps on minibatches of the buffer, compiled or eager."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rl_il.config import RunConfig
from rl_il.errors import DivergedError, InputError
from rl_il.infrastructure.augmentation import augment
from rl_il.infrastructure.averaging import AveragedWeights
from rl_il.infrastructure.compiled import CompiledUpdate, CompileError
from rl_il.infrastructure.pytorch_utils import seeded, threads, without_denormals
from rl_il.infrastructure.replay_buffer import ReplayBuffer, with_noise
from rl_il.policies.adam import AdamW
from rl_il.policies.base_policy import BasePolicy
from rl_il.seeding import stream
from rl_il.types import Batch


class GradientSteps:
    """The gradient steps that fit a policy to the data in a buffer.

    Args:
      noise_std: the standard deviation of `--augment noise` for each number of an observation, `(*ob_shape)` float32.

    Attributes:
      compiles: whether the steps are compiled. It becomes false if compiling fails.
      must_compile: whether a failure is an error, since earlier steps of the run were compiled.
    """

    def __init__(
        self,
        config: RunConfig,
        policy: BasePolicy,
        buffer: ReplayBuffer,
        compiles: bool,
        noise_std: np.ndarray | None = None,
    ):
        self.config, self.policy, self.buffer, self.compiles = config, policy, buffer, compiles
        self.must_compile = False
        _check_options(config, policy)
        self.scheduled = config.lr_schedule != "constant"
        self.average = AveragedWeights(policy) if config.average_weights else None
        self._noise_std = None if noise_std is None else torch.from_numpy(noise_std).to(policy.device)
        self._base_rate = 0.0  # the learning rate without the schedule, in a block of gradient steps
        self.itr = self.step = 0  # of the current minibatch
        self._update: Callable[[Tensor], float | Tensor] | None = None
        self._made_for_few = False  # whether `_update` is for a buffer of less than a minibatch

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
        seed = int(rng.integers(2**62))  # for dropout
        with self._base_rate_kept(), self._trained_weights(), self._fast(), seeded(seed):
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

    def state_dict(self) -> dict[str, Any]:
        """Return whether the steps are compiled, which decides the last digits of the result.

        On a GPU they are captured or eager, with equal results, so there is nothing to keep of that. If the weights
        are averaged, return also those that are trained, since the policy has the average.
        """
        average = {} if self.average is None else {"average": self.average.state_dict()}
        return average if on_gpu(self.policy) else {"compiled": self.compiles} | average

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the steps as they were made before."""
        if state and not on_gpu(self.policy):
            self.compiles = self.must_compile = state["compiled"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def prepare(self) -> None:
        """Compile the step if it is to be compiled, before the first minibatch."""
        with threads(self.config.torch_threads):
            self.update_of(self.itr)

    def take(self, rows: Tensor, itr: int, step: int) -> float:
        """Make one gradient step on the rows with these numbers, and return the loss before it, finite or not."""
        drops = self.config.dropout > 0  # seeding takes longer than a compiled step
        seed = int(stream(self.config.seed, "torch", itr, step).integers(2**62)) if drops else 0
        with self._fast(), seeded(seed) if drops else nullcontext():
            update, self.step = self.update_of(itr), step
            return float(update(rows))

    @contextmanager
    def _fast(self) -> Iterator[None]:
        with threads(self.config.torch_threads), without_denormals():
            yield

    def update_of(self, itr: int) -> Callable[[Tensor], float | Tensor]:
        """Return a function that takes row numbers, makes a gradient step on these rows and returns their loss.

        It uses the random streams of this iteration until the next call. `config.torch_threads` must be torch's
        number of threads, since a step is compiled for it. Raise `InputError` if the step must be compiled and cannot
        be.
        """
        self.itr = itr
        few = self._has_few()
        if self._update is None or few != self._made_for_few:
            self._update, self._made_for_few = self._with_options(self._make_update()), few
        return self._update

    def _has_few(self) -> bool:
        """Return whether no minibatch of a pass over the data has as many rows as a compiled step needs."""
        return self.config.n_epochs is not None and len(self.buffer) < self.config.train_batch_size

    def _make_update(self) -> Callable[[Tensor], float | Tensor]:
        if self.scheduled:  # so that a captured step reads the rate from a tensor
            self.policy.optimizer.learning_rate = self.policy.optimizer.learning_rate
        plain = not self.config.augmentations() and not self.policy.noise_shape
        batch = self.buffer.batch if plain else self.batch
        if self.compiles and not self._has_few():
            try:
                rows = self.config.train_batch_size * self.policy.minibatches
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
            batch = augment(batch, names, self._stream("augmentation"), self._noise_std)
        shape = self.policy.noise_shape
        return with_noise(batch, shape, self._stream("noise")) if shape else batch

    def _with_options(self, update: Callable[[Tensor], float | Tensor]) -> Callable[[Tensor], float | Tensor]:
        """Return `update` with the schedule of the learning rate and the average of the weights."""
        if not self.scheduled and self.average is None:
            return update

        def update_and_average(rows: Tensor) -> float | Tensor:
            if self.scheduled:
                self.policy.optimizer.learning_rate = self._base_rate * cosine(self._progress())
            loss = update(rows)
            if self.average is not None:
                self.average.follow()
            return loss

        return update_and_average

    def _progress(self) -> float:
        """Return the fraction of the run's gradient steps that was made before the current one.

        Each iteration is an equal part of the run. With `n_epochs`, later iterations have more gradient steps, and
        how many is not known before.
        """
        total = self.config.steps_per_iteration(len(self.buffer))
        return (self.itr + self.step / total) / self.config.n_iter

    @contextmanager
    def _base_rate_kept(self) -> Iterator[None]:
        """Restore the optimiser's learning rate at the end of the `with` block, if there is a schedule."""
        if not self.scheduled:
            yield
            return
        optimizer = self.policy.optimizer
        self._base_rate = optimizer.learning_rate
        try:
            yield
        finally:
            optimizer.learning_rate = self._base_rate

    def _trained_weights(self) -> Any:
        """Return a context in which the policy has the weights that are trained."""
        return nullcontext() if self.average is None else self.average.training()

    def _stream(self, purpose: str) -> np.random.Generator:
        """Return the random stream of the current step for this purpose."""
        return stream(self.config.seed, purpose, self.itr, self.step)


def cosine(progress: float) -> float:
    """Return what the learning rate is multiplied by after this fraction of the run: from 1 to 0.

    Source: Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.
    """
    return (1 + math.cos(math.pi * progress)) / 2


def _check_options(config: RunConfig, policy: BasePolicy) -> None:
    """Raise `InputError` if an option of the config does not fit the policy."""
    if config.lr_schedule != "constant" and not isinstance(policy.optimizer, AdamW):
        raise InputError(
            f"--lr_schedule {config.lr_schedule}: {type(policy).__name__} has its own optimiser"
            f" ({type(policy.optimizer).__name__}), whose learning rate it must set itself; drop the flag"
        )
    if config.average_weights and not isinstance(policy, nn.Module):
        raise InputError(
            f"--average_weights: {type(policy).__name__} is not a torch.nn.Module, so its weights are unknown; drop"
            " the flag"
        )


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
