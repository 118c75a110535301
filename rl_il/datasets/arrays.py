"""Flat arrays of many episodes, and how they are split into trajectories. All file formats use this."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rl_il.errors import InputError
from rl_il.types import Trajectory


def check_lengths(arrays: Mapping[str, np.ndarray]) -> None:
    """Raise `InputError` unless every array has as many rows as `observations`, at least one."""
    for key, array in arrays.items():
        check_numbers(key, array)
    n = len(arrays["observations"])
    for key, array in arrays.items():
        if len(array) != n:
            raise InputError(f"lengths disagree: observations has {n} rows, {key} has {len(array)}")
    if n == 0:
        raise InputError("holds no observations")


def check_numbers(key: str, array: np.ndarray) -> None:
    """Raise `InputError` unless the array has rows of numbers."""
    if array.dtype.kind not in "biuf":
        raise InputError(f"{key} must hold numbers, got {array.dtype}")
    if array.ndim == 0:
        raise InputError(f"{key} must have a row for each step, got a single number")


def episode_stops(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the index after each episode's last row, in order; an empty array if no array marks an end."""
    n = len(arrays["observations"])
    ends = np.zeros(n, bool)
    for key in ("dones", "terminations", "truncations", "episode_starts"):
        if key in arrays:
            flags = arrays[key].reshape(n, -1).any(axis=1)
            # An episode ends where the next one starts, and the last with the file.
            ends |= np.append(flags[1:], True) if key == "episode_starts" else flags
    return np.flatnonzero(ends) + 1


def has_boundaries(arrays: Mapping[str, np.ndarray], limit: int | None) -> bool:
    """Return whether the file says where episodes end: an end is marked, and no episode is longer than `limit`."""
    stops = episode_stops(arrays)
    return len(stops) > 0 and (limit is None or bool(np.diff(stops, prepend=0).max() <= limit))


def split_episodes(arrays: Mapping[str, np.ndarray], limit: int | None) -> list[Trajectory]:
    """Split flat arrays at the ends of episodes. Rows after the last end become a trajectory that did not end.

    Raise `InputError` if the arrays do not fit together.

    Args:
      arrays: `observations` and `actions` (N rows), and any of `rewards`, `dones`, `terminations`,
        `truncations`, `episode_starts`, `executed_actions`, `labelled`, `sources`, `consulted`, and
        `final_observations` (one row for each episode).
      limit: the environment's longest episode. A file with only `dones` does not say whether the task or a time limit
        ended an episode: one of `limit` steps counts as truncated, a shorter one as terminated. Without a limit,
        neither is set.
    """
    n = len(arrays["observations"])
    stops = episode_stops(arrays)
    stops = stops if len(stops) and stops[-1] == n else np.append(stops, n)
    starts = np.concatenate(([0], stops[:-1]))
    finals = arrays.get("final_observations")
    if finals is not None:
        check_numbers("final_observations", finals)
        expected = (len(stops), *arrays["observations"].shape[1:])
        if finals.shape != expected:
            raise InputError(f"final_observations must have the shape {expected} (episodes, ...), got {finals.shape}")
    return [
        _episode(arrays, slice(start, stop), None if finals is None else finals[i], limit)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def _episode(arrays: Mapping[str, np.ndarray], rows: slice, final: np.ndarray | None, limit: int | None):
    obs, labels = arrays["observations"][rows], arrays["actions"][rows]
    executed = arrays["executed_actions"][rows] if "executed_actions" in arrays else None
    terminated, truncated = _why_it_ended(arrays, rows, limit)
    final = obs[-1] if final is None else final.astype(obs.dtype, copy=False)
    return Trajectory(
        obs=np.concatenate((obs, final[None])),
        acs=labels if executed is None else executed,
        rewards=_rewards(arrays, rows, len(obs)),
        terminated=terminated,
        truncated=truncated,
        expert_acs=None if executed is None else labels,
        labelled=arrays["labelled"][rows].astype(bool) if "labelled" in arrays else None,
        source=arrays["sources"][rows].astype(np.int8) if "sources" in arrays else None,
        consulted=arrays["consulted"][rows].astype(bool) if "consulted" in arrays else None,
    )


def _why_it_ended(arrays: Mapping[str, np.ndarray], rows: slice, limit: int | None) -> tuple[bool, bool]:
    """Return (terminated, truncated) from the file. If it lacks one of them, `dones` decides."""
    keys = ("dones", "terminations", "truncations")
    done, terminated, truncated = (bool(arrays[key][rows][-1].any()) if key in arrays else None for key in keys)
    if done and terminated is None and truncated is None and limit:
        truncated = rows.stop - rows.start >= limit
    if done and terminated is None and truncated is not None:
        terminated = not truncated
    if done and truncated is None and terminated is not None:
        truncated = not terminated
    return bool(terminated), bool(truncated)


def _rewards(arrays: Mapping[str, np.ndarray], rows: slice, n: int) -> np.ndarray:
    if "rewards" not in arrays:
        return np.full(n, np.nan)
    rewards = arrays["rewards"][rows].astype(np.float64).reshape(-1)
    if not np.isfinite(rewards).all():
        raise InputError("rewards hold NaN or infinity")
    return rewards
