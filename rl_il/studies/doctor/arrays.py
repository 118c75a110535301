"""The arrays of a file before any check, and the checks for what `load_trajectories` would refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.axes import per_row
from rl_il.datasets.content import Columns, Content
from rl_il.datasets.episodes import FLAGS, PER_STEP, episode_stops, to_trajectories
from rl_il.datasets.findings import ERROR, NOTE, WARNING, Finding, counted
from rl_il.datasets.loading import adaptation
from rl_il.datasets.odd import constant_columns
from rl_il.envs import name_of
from rl_il.errors import InputError
from rl_il.studies.doctor.versions import recorded_on
from rl_il.types import Trajectory

Arrays = Mapping[str, np.ndarray]
ELSEWHERE = "were they recorded on another environment?"


def alike_episodes(contents: Sequence[Content]) -> tuple[list[Content], list[Finding]]:
    """Return the contents without the episodes whose arrays have another shape than the first's, and the findings."""
    episodes = [columns for content in contents for columns in content.episodes]
    shapes = [tuple(columns[name].shape[1:] for name in ("observations", "actions")) for columns in episodes]
    other = sum(shape != shapes[0] for shape in shapes)
    if not other:
        return [*contents], []
    text = f"{other} of {counted(len(shapes), 'episode')} have another shape and were not examined; take them out"
    kept = iter(shape == shapes[0] for shape in shapes)
    alike = [replace(content, episodes=[e for e in content.episodes if next(kept)]) for content in contents]
    return alike, [Finding(ERROR, text, {"episodes": other}, check="shapes")]


def joined(contents: Sequence[Content]) -> dict[str, np.ndarray]:
    """Return the arrays that all episodes have, with the rows of all episodes."""
    episodes = [columns for content in contents for columns in content.episodes]
    first = episodes[0]
    common = [
        name
        for name in first
        if all(name in columns and columns[name].shape[1:] == first[name].shape[1:] for columns in episodes)
    ]
    if len(episodes) == 1:  # without a copy
        return {name: first[name] for name in common}
    return {name: np.concatenate([columns[name] for columns in episodes]) for name in common}


def salvage(contents: Sequence[Content], limit: int | None) -> tuple[list[Trajectory], int]:
    """Return the trajectories that can be examined in a file that the loader refuses, and how many rows they lack.

    Rows with NaN or infinity, and arrays of another length than the actions, are left out.
    """
    trajectories, left_out = [], 0
    for content in contents:
        for columns in content.episodes:
            rows, finite = _intact(columns)
            left_out += int((~finite).sum())
            if "observations" not in rows or not finite.any():
                continue
            try:
                found, _ = to_trajectories(Content([rows], content.flat), limit)
            except InputError:  # nothing can be made of this episode
                continue
            trajectories += found
    return trajectories, left_out


def _intact(columns: Columns) -> tuple[Columns, np.ndarray]:
    """Return the columns of one length without rows that are not finite, and `(n,)` bool: which rows are finite."""
    n = len(columns["actions"])
    obs = columns["observations"]
    columns = columns | {"observations": obs[:n] if len(obs) == n + 1 else obs}
    names = ("observations", *PER_STEP, "episode_starts", "episode_ids")
    rows = {name: columns[name] for name in names if name in columns and len(columns[name]) == n}
    rows.pop("next_observations", None)  # the row after one that is left out would look like a new episode
    finite = np.all([~per_row(~np.isfinite(array)) for array in rows.values()], axis=0)
    whole = {name: columns[name] for name in FLAGS if name in columns and name not in rows}
    return {name: array[finite] for name, array in rows.items()} | whole, finite


def not_finite(arrays: Arrays, env: gym.Env | None) -> Iterator[Finding]:
    """Find NaN and infinities in each array."""
    for key, array in arrays.items():
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        rows = per_row(~np.isfinite(array))
        numbers = {"nan": np.isnan(array).sum(), "infinite": np.isinf(array).sum(), "rows": rows.sum()}
        numbers = {name: int(n) for name, n in (numbers | {"first_row": np.argmax(rows)}).items()}
        yield Finding(
            ERROR,
            f"{key} hold {numbers['nan']:,} NaN and {numbers['infinite']:,} infinite numbers, in {numbers['rows']:,}"
            f" of {len(array):,} rows (first in row {numbers['first_row']}): a single one would make all weights"
            " NaN; leave out those episodes",
            {"array": key} | numbers,
        )


def observation_size(arrays: Arrays, env: gym.Env | None) -> Iterator[Finding]:
    """Compare the shape and dtype of observations with the environment."""
    if env is None or "observations" not in arrays:
        return
    obs, space, name = arrays["observations"], env.observation_space, name_of(env)
    shape = obs.shape[1:]
    numbers = {"shape": list(shape), "expected": list(space.shape)}
    if adapted := adaptation(shape, env):
        constant = len(constant_columns([obs])) if len(obs) else 0
        text = (
            f"observations have {shape[0]} numbers ({constant} of them never change), those of {name}"
            f" {space.shape[0]}: when the file is loaded, {adapted[0]}"
        )
        yield Finding(NOTE, text, numbers | {"constant": constant})
    elif shape != space.shape:
        hint = f"; {recorded_on(shape[0], name)}" if len(shape) == 1 else ""
        yield Finding(ERROR, f"observations have the shape {shape}, those of {name} {space.shape}{hint}", numbers)
    elif (obs.dtype.kind == "f") != (space.dtype.kind == "f"):
        text = f"observations are {obs.dtype}, those of {name} {space.dtype}: were they rounded or scaled?"
        yield Finding(WARNING, text, {"dtype": str(obs.dtype), "expected": str(space.dtype)})


def label_size(arrays: Arrays, env: gym.Env | None) -> Iterator[Finding]:
    """Compare the shape, dtype and range of labels with the environment's actions."""
    if env is None or not len(arrays.get("actions", ())):
        return
    acs, space, name = arrays["actions"], env.action_space, name_of(env)
    numbers = {"shape": list(acs.shape[1:]), "dtype": str(acs.dtype)}
    if not isinstance(space, gym.spaces.Discrete):
        if acs.shape[1:] != space.shape:
            text = f"labels have the shape {acs.shape[1:]}, actions of {name} {space.shape}: {ELSEWHERE}"
            yield Finding(ERROR, text, numbers | {"expected": list(space.shape)})
        return
    n, first = int(space.n), int(space.start)
    acs = acs[:, 0] if acs.shape[1:] == (1,) else acs
    if acs.ndim == 1:
        yield from _integers(acs, first, n, numbers)
        return
    if first == 0 and acs.shape[1:] == (n,) and ((acs == 0) | (acs == 1)).all() and (acs.sum(axis=1) == 1).all():
        yield Finding(NOTE, f"labels are one-hot, {acs.shape[1]} numbers each: they are read as integers", numbers)
        return
    text = f"labels have the shape {acs.shape[1:]}, actions of {name} are one integer: {ELSEWHERE}"
    yield Finding(ERROR, text, numbers)


def _integers(acs: np.ndarray, first: int, n: int, numbers: dict[str, Any]) -> Iterator[Finding]:
    """Find labels `(N,)` that are not integers in `[first, first + n)`."""
    values, counts = np.unique(acs[np.isfinite(acs)], return_counts=True)
    bad = (values < first) | (values >= first + n) | (values != np.floor(values))
    if bad.any():
        listed = ", ".join(f"{v:g}: {count:,}" for v, count in list(zip(values[bad], counts[bad], strict=True))[:5])
        more = ", ..." if bad.sum() > 5 else ""
        least, largest = values.min(), values.max()
        shifted = "; do they start at 1?" if first == 0 and least == 1 and largest == n else ""
        shifted = "; do they start at 0?" if first and least >= 0 and largest < n else shifted
        text = f"{counts[bad].sum():,} of {len(acs):,} labels are not integers in [{first}, {first + n})"
        text += f" ({listed}{more}){shifted}"
        yield Finding(ERROR, text, numbers | {"bad": int(counts[bad].sum()), "n": n})
    elif acs.dtype.kind == "f":
        yield Finding(NOTE, f"labels are {acs.dtype}, all whole numbers: they are read as integers", numbers)


def episode_boundaries(contents: Sequence[Content], limit: int | None, split_every: int | None) -> Iterator[Finding]:
    """Check whether the file says where episodes end, and whether a time limit or the task ended them."""
    for content in contents:
        try:
            known = not content.flat or split_every is not None or episode_stops(content.episodes[0], limit)[1]
        except InputError:  # the loader refuses it, with the reason
            return
        if not known:
            yield Finding(
                WARNING,
                "the file does not say where all episodes end, so --n_demos cannot count them, and several may be"
                " taken for one; add timeouts, dones, terminations, truncations or episode_starts, or give"
                " --split_every LENGTH if all episodes have one length",
            )
            return
    names = {name for content in contents for columns in content.episodes for name in columns}
    if "dones" in names and not {"terminations", "truncations"} & names:
        read = f"those of {limit:,} steps count as truncated" if limit else "they count as neither"
        text = f"the file says that episodes are done, not whether they were terminated or truncated; {read}"
        yield Finding(NOTE, text)


ARRAY_CHECKS: dict[str, Callable[[Arrays, gym.Env | None], Iterator[Finding]]] = {
    "not_finite": not_finite,
    "observation_size": observation_size,
    "label_size": label_size,
}
"""A new check of the arrays is a function and a row here."""
