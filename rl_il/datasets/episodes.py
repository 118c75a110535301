"""From the columns of a file to trajectories: where episodes end, why, and what their last observation is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rl_il.datasets.axes import per_row
from rl_il.datasets.content import Columns, Content
from rl_il.errors import InputError
from rl_il.types import Trajectory

PER_STEP = (
    *("actions", "rewards", "dones", "terminations", "truncations", "next_observations", "executed_actions"),
    *("labelled", "sources", "consulted"),
)
"""The columns that have a row for each action."""
FLAGS = ("dones", "terminations", "truncations")


def to_trajectories(
    content: Content, limit: int | None, split_every: int | None = None
) -> tuple[list[Trajectory], bool]:
    """Return the trajectories of a file, and whether it says where its episodes end.

    Args:
      content: what the file holds.
      limit: the environment's longest episode. A file that only says `dones` does not distinguish a time limit from
        an end of the task: an episode of `limit` steps is truncated, a shorter one terminated. None: neither.
      split_every: the length of every episode of a file that does not say where they end.
    """
    _drop_misfits(content)
    if not content.flat:
        if split_every is not None and not content.stated:
            raise InputError("--split_every has no meaning here: the file says where its episodes end")
        trajectories = [_numbered(i, columns, limit) for i, columns in enumerate(content.episodes)]
        return trajectories, not content.uncounted
    (columns,) = content.episodes
    stops, known = episode_stops(columns, limit)
    if split_every is not None:
        if known:
            raise InputError("--split_every has no meaning here: the file says where its episodes end")
        stops, known = _every(split_every, len(columns["actions"])), True
    if len(stops) > max(3, len(columns["actions"]) / 2):
        content.remarks[f"its {len(columns['actions']):,} steps make {len(stops):,} episodes; are they in order?"] = (
            None
        )
    if not known:
        content.remarks["does not say where its episodes end, so --n_demos cannot count them"] = None
    if [name for name in MARKS if name in columns] == ["terminations"] and known:
        content.remarks["has no timeouts: an episode that a time limit ended is joined to the next one"] = None
    pieces = split(columns, stops)
    return [_trajectory(piece, limit) for piece in pieces], known


def _drop_misfits(content: Content) -> None:
    """Remove what nothing that learns needs, if it is not as its name says: rewards, and other next observations."""
    for name, fits in (("rewards", _are_rewards), ("next_observations", _follow)):
        if any(name in columns and not fits(columns) for columns in content.episodes):
            for columns in content.episodes:
                columns.pop(name, None)
            content.not_read[content.read.pop(name, name)] = None


def _are_rewards(columns: Columns) -> bool:
    rewards = columns["rewards"]
    return rewards.size == len(columns["actions"]) and bool(np.isfinite(rewards.astype(np.float64)).all())


def _follow(columns: Columns) -> bool:
    return columns["next_observations"].shape[1:] == columns["observations"].shape[1:]


def _every(length: int, n: int) -> np.ndarray:
    if length < 1 or n % length:
        raise InputError(f"--split_every {length} does not divide the {n} steps of the file")
    return np.arange(length, n + 1, length)


def _numbered(i: int, columns: Columns, limit: int | None) -> Trajectory:
    try:
        n = len(columns["actions"])
        for name in FLAGS:
            if name in columns and per_row(columns[name])[:-1].any() and n > 1:
                raise InputError(f"has an end in {name} before its last step")
        if "episode_starts" in columns and per_row(columns["episode_starts"])[1:].any():
            raise InputError("has a start in episode_starts after its first step")
        return _trajectory(columns, limit)
    except InputError as error:
        raise InputError(f"episode {i}: {error}") from error


# Where episodes end ------------------------------------------------------------------------------------------


def episode_stops(columns: Columns, limit: int | None = None) -> tuple[np.ndarray, bool]:
    """Return the row after the last one of each episode, and whether the file says so.

    Rows behind the last marked end make an episode without an end.
    """
    n = len(columns["actions"])
    if n == 0:
        raise InputError("holds no actions")
    of_all_rows = [name for name in MARKS if name in columns and not (name in FLAGS and len(columns[name]) != n)]
    marked = [_marks(name, columns[name], n) for name in of_all_rows]
    breaks = _breaks(columns) if "next_observations" in columns else ()
    marked += [breaks] if len(breaks) else []
    stops = np.unique(np.concatenate([*marked, [n]]).astype(int))
    known = any(len(marks) for marks in marked)
    if known and limit is not None and np.diff(stops, prepend=0).max() > limit:
        known = False  # some end is missing
    if len(breaks) > max(2, n / 2):
        known = False  # the steps are in random order
    return stops, known


def _marks(name: str, values: np.ndarray, n: int) -> np.ndarray:
    """Return the rows after an episode's last one, from one column."""
    if name in FLAGS:
        return np.flatnonzero(per_row(values)) + 1
    if values.size != len(values):
        raise InputError(f"{name} must hold one number for each step or episode, got the shape {values.shape}")
    values = values.reshape(-1)
    if name in ("episode_starts", "episode_ends") and len(values) == n and np.isin(values, (0, 1)).all():
        rows = np.flatnonzero(values)
        return np.append(rows[rows > 0], n) if name == "episode_starts" else rows + 1
    if name == "episode_ids":
        _check_rows(name, values, n)
        stops = np.append(np.flatnonzero(values[1:] != values[:-1]) + 1, n)
        if len(stops) > len(np.unique(values)):
            raise InputError("episode_ids return after those of other episodes; sort the rows by episode")
        return stops
    if name == "step_numbers":
        _check_rows(name, values, n)
        return np.flatnonzero(values[1:] <= values[:-1]) + 1
    return _stops_of_numbers(name, values, n)


def _stops_of_numbers(name: str, values: np.ndarray, n: int) -> np.ndarray:
    """Return the stops that row numbers or lengths give, one for each episode."""
    if len(values) and (values != np.floor(values)).any():
        raise InputError(f"{name} must hold whole numbers, got {values.dtype}")
    values = values.astype(np.int64)
    if name == "episode_lengths":
        stops = np.cumsum(values)
        fits = (values > 0).all() and stops[-1:] == n
    elif name == "episode_ends":
        stops = values + (values[-1:] == n - 1).any()  # the last row, or the one after it
        fits = (np.diff(stops, prepend=0) > 0).all() and stops[-1:] == n
    else:  # episode_starts, episode_cuts
        stops = np.append(values[values > 0], n)
        fits = (np.diff(stops, prepend=0) > 0).all()
    if not np.all(fits) or not len(stops):
        raise InputError(f"{name} do not fit the {n} steps of the file: they must rise and end with it")
    return stops


MARKS = (*FLAGS, "episode_starts", "episode_ends", "episode_ids", "episode_lengths", "episode_cuts", "step_numbers")


def _goes_on(columns: Columns, stop: int) -> bool:
    """Return whether the next observation of an episode's last step is the first of the next episode."""
    return "next_observations" in columns and np.array_equal(
        columns["next_observations"][stop - 1], columns["observations"][stop]
    )


def _breaks(columns: Columns) -> np.ndarray:
    """Return the rows whose observation is not the next observation of the row before."""
    obs, following = columns["observations"], columns["next_observations"]
    if obs.shape != following.shape or len(obs) < 2:
        return np.empty(0, int)
    if obs.dtype.kind == following.dtype.kind == "u":
        differ = per_row(obs[1:] != following[:-1])
    else:
        coarse = max(np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0 for a in (obs, following))
        differ = per_row(~np.isclose(obs[1:], following[:-1], rtol=max(1e-4, 4 * coarse), atol=1e-6))
    return np.flatnonzero(differ) + 1


def split(columns: Columns, stops: np.ndarray) -> list[Columns]:
    """Return the columns of each episode. Observations may have a row more for each episode: its last observation."""
    n, n_obs = len(columns["actions"]), len(columns["observations"])
    if n_obs not in (n, n + len(stops)):
        raise InputError(f"lengths disagree: observations has {n_obs} rows, actions has {n}")
    for name in PER_STEP:
        if name in columns and not (name in FLAGS and len(columns[name]) == len(stops) != n):
            _check_rows(name, columns[name], n)
    finals = columns.get("final_observations")
    if finals is not None:
        expected = (len(stops), *columns["observations"].shape[1:])
        if finals.shape != expected:
            raise InputError(f"final_observations must have the shape {expected} (episodes, ...), got {finals.shape}")
    pieces = []
    for i, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
        piece = {name: columns[name][start:stop] for name in PER_STEP if name in columns and len(columns[name]) == n}
        piece |= {name: columns[name][[i]] for name in FLAGS if name in columns and name not in piece}
        extra = (n_obs > n) * i
        piece["observations"] = columns["observations"][start + extra : stop + extra + (n_obs > n)]
        if stop < n == n_obs and _goes_on(columns, stop):
            del piece["next_observations"]  # after an end, a vectorised environment gives the next episode's first
        if finals is not None:
            piece["final_observations"] = finals[i]
        pieces.append(piece)
    return pieces


def _check_rows(name: str, values: np.ndarray, n: int) -> None:
    if len(values) != n:
        raise InputError(f"lengths disagree: actions has {n} rows, {name} has {len(values)}")


# One episode -------------------------------------------------------------------------------------------------


def _trajectory(columns: Columns, limit: int | None) -> Trajectory:
    """Return one episode, of which only its own rows are given."""
    labels = columns["actions"]
    n = len(labels)
    if n == 0:
        raise InputError("holds no steps")
    for name in PER_STEP:
        if name in columns and not (name in FLAGS and len(columns[name]) == 1):
            _check_rows(name, columns[name], n)
    executed = columns.get("executed_actions")
    terminated, truncated = _why_it_ended(columns, n, limit)
    return Trajectory(
        obs=_observations(columns, n),
        acs=labels if executed is None else executed,
        rewards=_rewards(columns, n),
        terminated=terminated,
        truncated=truncated,
        expert_acs=None if executed is None else labels,
        labelled=columns["labelled"].astype(bool) if "labelled" in columns else None,
        source=columns["sources"].astype(np.int8) if "sources" in columns else None,
        consulted=columns["consulted"].astype(bool) if "consulted" in columns else None,
    )


def _observations(columns: Columns, n: int) -> np.ndarray:
    """Return `(n + 1, ...)`, with the last observation, or the one before it again if the file lacks it."""
    obs = columns["observations"]
    if len(obs) == n + 1:
        return obs
    if len(obs) != n:
        raise InputError(f"lengths disagree: observations has {len(obs)} rows, actions has {n}")
    if "final_observations" in columns:
        last = columns["final_observations"]
    elif "next_observations" in columns:
        last = columns["next_observations"][-1]
    else:
        last = obs[-1]
    if last.shape != obs.shape[1:]:
        raise InputError(f"the next observations have the shape {last.shape}, observations {obs.shape[1:]}")
    return np.concatenate((obs, last[None].astype(obs.dtype, copy=False)))


def _why_it_ended(columns: Mapping[str, np.ndarray], n: int, limit: int | None) -> tuple[bool, bool]:
    """Return (terminated, truncated), as far as the file says; `dones` decides what it leaves out."""
    done, terminated, truncated = (bool(columns[name][-1].any()) if name in columns else None for name in FLAGS)
    if done and terminated is None and truncated is None and limit:
        truncated = n >= limit
    if done and terminated is None and truncated is not None:
        terminated = not truncated
    if done and truncated is None and terminated is not None:
        truncated = not terminated
    return bool(terminated), bool(truncated)


def _rewards(columns: Mapping[str, np.ndarray], n: int) -> np.ndarray:
    if "rewards" not in columns:
        return np.full(n, np.nan)
    rewards = columns["rewards"].astype(np.float64).reshape(-1)
    if len(rewards) != n or not np.isfinite(rewards).all():
        raise InputError("rewards must be one finite number for each step")
    return rewards
