"""The axes of arrays: which of the first two is time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rl_il.errors import InputError

SAMPLE = 64  # how many rows, columns and numbers are compared
CLEARLY = 0.5


def is_time_first(columns: Mapping[str, np.ndarray]) -> bool | None:
    """Return whether the first axis of observations `(A, B, ...)` is time; None: it may be.

    The next observations decide, if there are any. Otherwise, successive observations should be more alike than those
    of two episodes. Raise `InputError` for windows that overlap.
    """
    obs = _sample(columns["observations"])
    if min(obs.shape[:2]) < 2:
        return False
    moving = (obs[:-1, 1:] != obs[:-1, :-1]).any(axis=2)
    if moving.any() and (obs[1:, :-1] == obs[:-1, 1:]).all(axis=2)[moving].mean() > 1 - CLEARLY / 5:
        raise InputError("its rows are windows that overlap by all but one step; store each step once")
    if "next_observations" in columns and columns["next_observations"].shape == columns["observations"].shape:
        following = _sample(columns["next_observations"])
        down = np.isclose(following[:-1], obs[1:]).all(axis=2).mean()
        along = np.isclose(following[:, :-1], obs[:, 1:]).all(axis=2).mean()
        if min(down, along) < CLEARLY < max(down, along):
            return bool(down > along)
    spread = obs.std(axis=(0, 1)) + 1e-12
    down, along = (np.abs(np.diff(obs, axis=axis) / spread).mean() for axis in (0, 1))
    return None if 0 < down < CLEARLY * along else False


def per_row(values: np.ndarray) -> np.ndarray:
    """Return `(N,)` bool for `(N, ...)`: whether any value in the row is not zero."""
    return values.any(axis=tuple(range(1, values.ndim))).astype(bool)


def _sample(obs: np.ndarray) -> np.ndarray:
    part = obs[:SAMPLE, :SAMPLE]
    return part.reshape(*part.shape[:2], -1)[..., :SAMPLE].astype(np.float64)
