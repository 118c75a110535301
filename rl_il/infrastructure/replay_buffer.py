"""The replay buffer: every (observation, label) pair seen so far, as tensors on the policy's device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from rl_il.infrastructure.pytorch_utils import to_tensor
from rl_il.types import Batch, Trajectory

SMALLEST = 1024  # rows of the first allocation
STEPS_AT_ONCE = 1000  # minibatches whose row numbers are drawn together


class ReplayBuffer:
    """Keeps the newest `max_size` labelled steps.

    Storage doubles until `max_size` and is then written in a ring, so that adding costs the rows added and
    not the rows kept. Floats are stored in single precision; integers and pixels keep their dtype.
    """

    def __init__(self, max_size: int = 1_000_000, device: torch.device | str = "cpu"):
        self.max_size = max_size
        self.device = torch.device(device)
        self.added = 0  # rows ever added; the next one goes to `added % max_size`
        self._obs: torch.Tensor | None = None  # (capacity, *ob_shape)
        self._acs: torch.Tensor | None = None  # (capacity,) or (capacity, ac_dim)
        self._warned = False

    def __len__(self) -> int:
        return min(self.added, self.max_size)

    @property
    def obs(self) -> torch.Tensor:
        """`(len(self), *ob_shape)`: a view of the stored observations."""
        return self._obs[: len(self)]

    @property
    def acs(self) -> torch.Tensor:
        """`(len(self), ...)`: a view of the stored labels."""
        return self._acs[: len(self)]

    def add(self, trajectories: Sequence[Trajectory]) -> None:
        """Appends the labelled steps of each trajectory."""
        for trajectory in trajectories:
            keep = trajectory.labelled_steps
            self._append(trajectory.obs[:-1][keep], trajectory.labels[keep])

    def batch(self, rows: torch.Tensor) -> Batch:
        """The rows of these numbers."""
        return Batch(self._obs.index_select(0, rows), self._acs.index_select(0, rows))

    def sample(self, batch_rows: int, rng: np.random.Generator) -> Batch:
        """`batch_rows` rows, drawn uniformly with replacement."""
        return self.batch(next(self.draws(batch_rows, rng, n_steps=1)))

    def draws(self, batch_rows: int, rng: np.random.Generator, n_steps: int) -> Iterator[torch.Tensor]:
        """Row numbers of `n_steps` minibatches, drawn uniformly with replacement: no pass over the whole buffer."""
        for start in range(0, n_steps, STEPS_AT_ONCE):
            size = (min(STEPS_AT_ONCE, n_steps - start), batch_rows)
            yield from torch.from_numpy(rng.integers(len(self), size=size)).to(self.device)

    def passes(self, batch_rows: int, rng: np.random.Generator, n_epochs: int) -> Iterator[torch.Tensor]:
        """Row numbers of `n_epochs` passes in random order, each row once a pass; a pass's last minibatch may be
        smaller."""
        for _ in range(n_epochs):
            yield from torch.from_numpy(rng.permutation(len(self))).to(self.device).split(batch_rows)

    def _append(self, obs: np.ndarray, acs: np.ndarray) -> None:
        if len(obs) == 0:
            return
        if len(self) + len(obs) > self.max_size and not self._warned:
            warnings.warn(f"the replay buffer holds {self.max_size:,} steps: the oldest are dropped", stacklevel=3)
            self._warned = True
        obs, acs = to_tensor(obs[-self.max_size :], self.device), to_tensor(acs[-self.max_size :], self.device)
        self._reserve(min(len(self) + len(obs), self.max_size), obs, acs)
        start = self.added % self.max_size
        before_end = min(len(obs), self.max_size - start)
        for storage, rows in ((self._obs, obs), (self._acs, acs)):
            storage[start : start + before_end] = rows[:before_end]
            storage[: len(rows) - before_end] = rows[before_end:]
        self.added += len(obs)

    def _reserve(self, rows: int, obs: torch.Tensor, acs: torch.Tensor) -> None:
        """Room for `rows` rows like these; what is stored is copied only where the room doubles."""
        capacity = 0 if self._obs is None else len(self._obs)
        if rows <= capacity:
            return
        capacity = min(max(rows, 2 * capacity, SMALLEST), self.max_size)
        old_obs, old_acs, kept = self._obs, self._acs, len(self)
        self._obs = torch.empty((capacity, *obs.shape[1:]), dtype=obs.dtype, device=self.device)
        self._acs = torch.empty((capacity, *acs.shape[1:]), dtype=acs.dtype, device=self.device)
        if kept:
            self._obs[:kept], self._acs[:kept] = old_obs[:kept], old_acs[:kept]
