"""Flat arrays of many episodes, cut into trajectories. Every file format ends here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rl_il.errors import InputError
from rl_il.types import Trajectory


def check_lengths(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises `InputError` unless every array has as many rows as `observations`, and there are some."""
    n = len(arrays["observations"])
    for key, array in arrays.items():
        if array.ndim == 0 or len(array) != n:
            got = "a single number" if array.ndim == 0 else f"{len(array)} rows"
            raise InputError(f"lengths disagree: observations has {n} rows, {key} has {got}")
        if array.dtype.kind not in "biuf":
            raise InputError(f"{key} must hold numbers, got {array.dtype}")
    if n == 0:
        raise InputError("holds no observations")


def episode_ends(arrays: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """`(N,)` bool, True on each episode's last row; None where no array says where episodes end."""
    n = len(arrays["observations"])
    keys = [key for key in ("dones", "terminations", "truncations", "episode_starts") if key in arrays]
    if not keys:
        return None
    ends = np.zeros(n, bool)
    for key in keys:
        flags = arrays[key].reshape(n, -1).any(axis=1)
        if key == "episode_starts":  # an episode ends where the next one starts, and the last with the file
            flags = np.append(flags[1:], True)
        ends |= flags
    return ends


def split_episodes(arrays: Mapping[str, np.ndarray], limit: int | None) -> list[Trajectory]:
    """Cuts flat arrays at the episodes' ends. Rows after the last end make a trajectory without one.

    Args:
      arrays: `observations` and `actions` (N rows), and any of `rewards`, `dones`, `terminations`,
        `truncations`, `episode_starts`, `executed_actions`, and `final_observations` (a row an episode).
      limit: the environment's longest episode. A file that only says `dones` does not tell a time limit from
        an end of the task: an episode of `limit` steps is truncated, a shorter one terminated; with None,
        neither.
    """
    n = len(arrays["observations"])
    ends = episode_ends(arrays)
    stops = np.flatnonzero(ends) + 1 if ends is not None else np.array([], int)
    stops = stops if len(stops) and stops[-1] == n else np.append(stops, n)
    starts = np.concatenate(([0], stops[:-1]))
    finals = arrays.get("final_observations")
    if finals is not None and len(finals) != len(stops):
        raise InputError(f"final_observations has {len(finals)} rows for {len(stops)} episodes")
    return [
        _episode(arrays, slice(start, stop), None if finals is None else finals[i], limit)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def _episode(arrays: Mapping[str, np.ndarray], rows: slice, final: np.ndarray | None, limit: int | None):
    obs, labels = arrays["observations"][rows], arrays["actions"][rows]
    executed = arrays["executed_actions"][rows] if "executed_actions" in arrays else None
    last = {key: bool(arrays[key][rows][-1].any()) for key in _ENDS if key in arrays}
    if "terminations" not in last and "truncations" not in last and last.get("dones") and limit:
        truncated = len(obs) >= limit
        terminated = not truncated
    else:
        terminated, truncated = last.get("terminations", False), last.get("truncations", False)
        if last.get("dones") and "terminations" not in last and "truncations" in last:
            terminated = not truncated  # done and not by the time limit
    final = obs[-1] if final is None else final.astype(obs.dtype, copy=False)
    return Trajectory(
        obs=np.concatenate((obs, final[None])),
        acs=labels if executed is None else executed,
        rewards=_rewards(arrays, rows, len(obs)),
        terminated=terminated,
        truncated=truncated,
        expert_acs=None if executed is None else labels,
    )


_ENDS = ("dones", "terminations", "truncations")


def _rewards(arrays: Mapping[str, np.ndarray], rows: slice, n: int) -> np.ndarray:
    if "rewards" not in arrays:
        return np.full(n, np.nan)
    rewards = arrays["rewards"][rows].astype(np.float64).reshape(-1)
    if not np.isfinite(rewards).all():
        raise InputError("rewards hold NaN or infinity")
    return rewards
