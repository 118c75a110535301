"""The replay buffer, which stores the newest pairs (observation, label) as tensors on the policy's device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from rl_il.infrastructure.pytorch_utils import to_tensor
from rl_il.types import Batch, Trajectory

MIN_ROWS = 1024  # rows of the first allocation
STEPS_AT_ONCE = 1000  # minibatches whose row numbers are drawn at once


class ReplayBuffer:
    """A buffer of the newest `max_size` steps.

    The storage doubles until it has `max_size` rows. Then it is a ring: new rows overwrite the oldest ones, so the
    time to add rows does not depend on the size of the buffer. Floats are stored in single precision. Integers and
    pixels keep their dtype.

    Args:
      max_size: the maximum number of stored steps.
      device: the device of the storage.
      frame_stack: with 1, a minibatch contains observations `(N, *ob_shape)`. With k > 1, it contains stacks
        `(N, k, *ob_shape)` of each observation and the k - 1 observations before it. At the start of an episode, the
        first observation is repeated. Each observation is stored once, and stacks are made when they are drawn.
        Unlabelled steps are stored too, since later stacks contain them.
      chunk: with 1, a minibatch contains one label for each observation, `(N, *shape of a label)`. With K > 1, it
        contains the labels of K successive steps `(N, K, *shape of a label)`, from the observation's step on. Only
        steps that are followed by so many labels in their episode are drawn. Each label is stored once.
      pad: whether to draw the other labelled steps too, with their last label repeated.
      view: a function that returns the part of observations `(N, *ob_shape)` to store, for example pictures without
        colours.
      to_labels: a function that returns the labels to store of actions `(N, ...)`.
    """

    def __init__(
        self,
        max_size: int = 1_000_000,
        device: torch.device | str = "cpu",
        frame_stack: int = 1,
        view: Callable[[np.ndarray], np.ndarray] = lambda obs: obs,
        to_labels: Callable[[np.ndarray], np.ndarray] = lambda acs: acs,
        chunk: int = 1,
        pad: bool = False,
    ):
        self.max_size = max_size
        self.device = torch.device(device)
        self.frame_stack, self.view, self.to_labels = frame_stack, view, to_labels
        self.chunk, self.pad = chunk, pad
        self.has_windows = frame_stack > 1 or chunk > 1  # then unlabelled steps are stored too
        self.added = 0  # all rows so far, with dropped ones; row i is stored at `i % max_size`
        self._obs: torch.Tensor | None = None  # (capacity, *ob_shape)
        self._acs: torch.Tensor | None = None  # (capacity, *shape of a label)
        self._behind: torch.Tensor | None = None  # (capacity,) number of earlier rows in the row's stack
        self._ahead: torch.Tensor | None = None  # (capacity,) number of labels that follow, < chunk; -1: no label
        self._drawable: torch.Tensor | None = None  # (len(self),) rows that are drawn; None: not computed yet
        self._back = torch.arange(frame_stack - 1, -1, -1, device=self.device)
        self._forward = torch.arange(chunk, device=self.device)
        self._episode_rows = 0  # stored steps of the last episode
        self._last_labelled = np.empty(0, bool)  # whether each of its last chunk - 1 steps has a label
        self._warned = False

    def __len__(self) -> int:
        """Return the number of steps that can be drawn."""
        return len(self._drawable_rows()) if self.has_windows else self._kept

    @property
    def _kept(self) -> int:
        return min(self.added, self.max_size)

    @property
    def obs(self) -> torch.Tensor:
        """Return the stored observations, `(rows, *ob_shape)`, without copying them."""
        return self._obs[: self._kept]

    @property
    def acs(self) -> torch.Tensor:
        """Return the stored labels, `(rows, *shape of a label)`, without copying them."""
        return self._acs[: self._kept]

    def labelled_obs(self) -> torch.Tensor:
        """Return the stored observations that have a label, `(rows, *ob_shape)`, without stacks."""
        return self.obs[self._labelled_rows()]

    def labelled_acs(self) -> torch.Tensor:
        """Return the stored labels, `(rows, *shape of a label)`, without chunks."""
        return self.acs[self._labelled_rows()]

    def _labelled_rows(self) -> torch.Tensor | slice:
        return self._ahead[: self._kept] >= 0 if self.has_windows else slice(None)

    def add(self, trajectories: Sequence[Trajectory], continued: bool = False) -> None:
        """Append the labelled steps of each trajectory. With stacks or chunks, also append the unlabelled steps.

        Args:
          trajectories: episodes, or parts of them.
          continued: whether the first trajectory continues the episode that was added last.
        """
        for trajectory in trajectories:
            labelled = trajectory.labelled_steps
            keep = slice(None) if self.has_windows else labelled
            self._episode_rows = self._episode_rows if continued else 0
            labels = self.to_labels(trajectory.labels[keep])
            self._append(self.view(trajectory.obs[:-1][keep]), labels, labelled[keep])
            continued = False
        self._drawable = None

    def count_drawable(self, trajectories: Sequence[Trajectory]) -> int:
        """Return how many steps could be drawn from these whole trajectories alone, without storing them."""
        ahead = np.concatenate([labels_ahead(t.labelled_steps, self.chunk) for t in trajectories])
        stored = ahead if self.has_windows else ahead[ahead >= 0]
        return int((stored[-self.max_size :] >= self._fewest_ahead).sum())

    @property
    def _fewest_ahead(self) -> int:
        return 0 if self.pad else self.chunk - 1

    def batch(self, rows: torch.Tensor) -> Batch:
        """Return the minibatch with these row numbers `(N,)`."""
        return Batch(self._stacks(rows), self._chunks(rows))

    def _stacks(self, rows: torch.Tensor) -> torch.Tensor:
        if self.frame_stack == 1:
            return self._obs.index_select(0, rows)
        frames = (rows[:, None] - torch.minimum(self._behind[rows][:, None], self._back)) % self.max_size
        return self._obs.index_select(0, frames.reshape(-1)).unflatten(0, frames.shape)

    def _chunks(self, rows: torch.Tensor) -> torch.Tensor:
        if self.chunk == 1:
            return self._acs.index_select(0, rows)
        steps = (rows[:, None] + torch.minimum(self._ahead[rows][:, None], self._forward)) % self.max_size
        return self._acs.index_select(0, steps.reshape(-1)).unflatten(0, steps.shape)

    def sample(self, batch_rows: int, rng: np.random.Generator) -> Batch:
        """Return a minibatch of `batch_rows` rows, drawn uniformly with replacement."""
        return self.batch(next(self.draws(batch_rows, rng, n_steps=1)))

    def draws(self, batch_rows: int, rng: np.random.Generator, n_steps: int) -> Iterator[torch.Tensor]:
        """Yield the row numbers `(batch_rows,)` of `n_steps` minibatches, drawn uniformly with replacement."""
        for start in range(0, n_steps, STEPS_AT_ONCE):
            size = (min(STEPS_AT_ONCE, n_steps - start), batch_rows)
            yield from self._rows(rng.integers(len(self), size=size))

    def passes(self, batch_rows: int, rng: np.random.Generator, n_epochs: int) -> Iterator[torch.Tensor]:
        """Yield the row numbers of the minibatches of `n_epochs` passes over the data.

        Each pass contains every row once, in random order. Its last minibatch may be smaller.
        """
        for _ in range(n_epochs):
            yield from self._rows(rng.permutation(len(self))).split(batch_rows)

    def minibatches(
        self, batch_rows: int, rng: np.random.Generator, n_steps: int, n_epochs: int | None = None, together: int = 1
    ) -> Iterator[torch.Tensor]:
        """Return an iterator over the row numbers for each gradient step, of `n_steps` draws or `n_epochs` passes.

        With `together` above 1, a step gets the row numbers of so many independent minibatches in a row.
        """

        def one() -> Iterator[torch.Tensor]:
            if n_epochs is None:
                return self.draws(batch_rows, rng, n_steps)
            return self.passes(batch_rows, rng, n_epochs)

        return one() if together == 1 else map(torch.cat, zip(*[one() for _ in range(together)], strict=True))

    def in_order(self, batch_rows: int) -> Iterator[torch.Tensor]:
        """Return an iterator over the row numbers of one pass, in the order of storage, in minibatches."""
        return iter(self._rows(np.arange(len(self))).split(batch_rows))

    def _rows(self, numbers: np.ndarray) -> torch.Tensor:
        """Return the row numbers for these positions, `0 .. len(self) - 1`, in the list of rows that can be drawn."""
        rows = torch.from_numpy(numbers).to(self.device)
        return self._drawable_rows()[rows] if self.has_windows else rows

    def _drawable_rows(self) -> torch.Tensor:
        """Return the numbers of the rows that can be drawn. Compute them only when they are needed."""
        if self._drawable is None:
            ahead = torch.empty(0) if self._ahead is None else self._ahead[: self._kept]
            self._drawable = (ahead >= self._fewest_ahead).nonzero()[:, 0]
        return self._drawable

    def _append(self, obs: np.ndarray, acs: np.ndarray, labelled: np.ndarray) -> None:
        """Append successive steps of one episode."""
        if len(obs) == 0:
            return
        if self._kept + len(obs) > self.max_size and not self._warned:
            warnings.warn(
                f"the replay buffer is full ({self.max_size:,} steps, --max_replay_buffer_size), so the oldest steps"
                " are dropped",
                stacklevel=3,
            )
            self._warned = True
        columns = {"_obs": obs[-self.max_size :], "_acs": acs[-self.max_size :]}
        before = self._last_labelled if self._episode_rows else np.empty(0, bool)
        if self.has_windows:
            ahead = labels_ahead(np.concatenate((before, labelled)), self.chunk)
            columns["_ahead"] = ahead[len(before) :][-self.max_size :]
            self._last_labelled = np.concatenate((before, labelled))[::-1][: self.chunk - 1][::-1]
        if self.frame_stack > 1:
            behind = self._episode_rows if len(obs) <= self.max_size else 0  # else its first steps are not stored
            columns["_behind"] = np.minimum(behind + np.arange(len(columns["_obs"])), self.frame_stack - 1)
        columns = {name: to_tensor(rows, self.device) for name, rows in columns.items()}
        n = len(columns["_obs"])
        self._reserve(min(self._kept + n, self.max_size), columns)
        start = (self.added + len(obs) - n) % self.max_size
        before_end = min(n, self.max_size - start)
        for name, rows in columns.items():
            storage = getattr(self, name)
            storage[start : start + before_end] = rows[:before_end]
            storage[: n - before_end] = rows[before_end:]
        self.added += len(obs)
        if len(before) and n + len(before) <= self.max_size:  # the steps before have more labels ahead now
            rows = (start - len(before) + torch.arange(len(before), device=self.device)) % self.max_size
            self._ahead[rows] = torch.from_numpy(ahead[: len(before)]).to(self.device)
        self._episode_rows += len(obs)
        if self.frame_stack > 1:
            self._forget_overwritten()

    def _forget_overwritten(self) -> None:
        """Shorten the stacks of the oldest rows, so that they contain only rows that are still stored."""
        if self.added <= self.max_size:
            return
        oldest = (self.added + torch.arange(self.frame_stack - 1, device=self.device)) % self.max_size
        self._behind[oldest] = torch.minimum(self._behind[oldest], torch.arange(len(oldest), device=self.device))

    def _reserve(self, rows: int, columns: dict[str, torch.Tensor]) -> None:
        """Allocate storage for `rows` rows like `columns`. Stored rows are copied only if it must become larger."""
        capacity = 0 if self._obs is None else len(self._obs)
        if rows <= capacity:
            return
        capacity, kept = max(rows, 2 * capacity, MIN_ROWS), self._kept
        if 2 * capacity > self.max_size:  # so that no later copy needs memory for two large storages
            capacity = self.max_size
        for name, like in columns.items():
            old = getattr(self, name)
            new = torch.empty((capacity, *like.shape[1:]), dtype=like.dtype, device=self.device)
            if kept:
                new[:kept] = old[:kept]
            setattr(self, name, new)


def labels_ahead(labelled: np.ndarray, chunk: int) -> np.ndarray:
    """Return how many labels follow each label without a gap, at most chunk - 1; -1 for a step without a label.

    Args:
      labelled: `(T,)` bool, whether each step of an episode has a label.
      chunk: the number of successive labels that are wanted.
    """
    steps = np.arange(len(labelled))
    gaps = np.where(labelled, len(labelled), steps)  # the next step without a label is the smallest from here on
    return np.minimum(np.minimum.accumulate(gaps[::-1])[::-1] - steps - 1, chunk - 1)


def with_noise(batch: Batch, shape: tuple[int, ...], rng: np.random.Generator) -> Batch:
    """Return the minibatch with standard normal numbers `(N, *shape)`, for a loss that needs noise.

    If `shape` is empty, return it unchanged.
    """
    if not shape:
        return batch
    noise = rng.standard_normal((len(batch.acs), *shape), np.float32)
    return batch._replace(noise=torch.from_numpy(noise).to(batch.acs.device))
