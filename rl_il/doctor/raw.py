"""A file as it stands: its arrays, read safely, with what a loaded trajectory would refuse still in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.arrays import has_boundaries, split_episodes
from rl_il.datasets.cs285 import KEYS
from rl_il.datasets.findings import ERROR, NOTE, WARNING, Finding, counted
from rl_il.datasets.loading import FORMATS
from rl_il.datasets.npz import PER_STEP, read_meta, read_npz
from rl_il.datasets.odd import constant_columns
from rl_il.datasets.safe_pickle import load_pickle
from rl_il.doctor.versions import recorded_on
from rl_il.envs import episode_limit, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.types import Trajectory


@dataclass(frozen=True)
class RawFile:
    """What a file holds, before it is checked."""

    arrays: dict[str, np.ndarray]  # flat, a row a step, by our names; empty: nothing to look at
    meta: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()  # what was left out of the arrays


def read_raw(path: Path) -> RawFile:
    """Reads the file without running anything in it. Raises `InputError` for one that is no data set at all."""
    if path.suffix not in FORMATS:
        raise InputError(f"unknown demonstration format; expected {' or '.join(FORMATS)}")
    read = READERS.get(path.suffix)
    return read(path) if read else RawFile({})


def _read_npz(path: Path) -> RawFile:
    arrays = read_npz(path)
    if not {"observations", "actions"} & {*arrays}:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise InputError(f"is no data set: it has neither observations nor actions; it holds {found}")
    try:
        meta = read_meta(arrays)
    except InputError:  # other programs' files have none
        meta = {}
    rows = {key: array for key, array in arrays.items() if key in (*PER_STEP, "final_observations")}
    return RawFile({key: array for key, array in rows.items() if array.dtype.kind in "biuf" and array.ndim}, meta)


def _read_course_pickle(path: Path) -> RawFile:
    """The path dicts one behind the other; those of another shape than the first, or incomplete, are left out."""
    paths = load_pickle(path)
    if not isinstance(paths, list):
        raise InputError(
            f"is no data set: it holds a {type(paths).__name__}, not a list of episodes; is it an expert?"
        )
    usable = [p for p in paths if _is_usable(p)]
    if paths and not usable:
        raise InputError("is no data set: none of its items has arrays observation and action")
    alike = [p for p in usable if _shapes(p) == _shapes(usable[0])]
    findings = []
    for n, what in ((len(paths) - len(usable), "incomplete"), (len(usable) - len(alike), "of another shape")):
        if n:
            text = f"{n} of {counted(len(paths), 'path')} are {what} and were not examined; take them out"
            findings.append(Finding(ERROR, text, {"paths": n}, check="paths"))
    return RawFile(_flat(alike) if alike else {}, {}, tuple(findings))


def _is_usable(path: Any) -> bool:
    keys = ("observation", "action")
    if not isinstance(path, dict) or not all(isinstance(path.get(key), np.ndarray) for key in keys):
        return False
    return path["observation"].ndim > 0 and 0 < len(path["observation"]) == (path["action"].shape or (0,))[0]


def _shapes(path: dict[str, np.ndarray]) -> tuple:
    return path["observation"].shape[1:], path["action"].shape[1:]


def _flat(paths: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    lengths = [len(p["action"]) for p in paths]
    dones = np.zeros(sum(lengths), bool)
    dones[np.cumsum(lengths) - 1] = True
    arrays = {KEYS[key]: np.concatenate([p[key] for p in paths]) for key in ("observation", "action")}
    if all(_shape(p.get("reward")) == (n,) for p, n in zip(paths, lengths, strict=True)):
        arrays["rewards"] = np.concatenate([p["reward"] for p in paths])
    if all(_shape(p.get("next_observation")) == p["observation"].shape for p in paths):
        arrays["final_observations"] = np.stack([p["next_observation"][-1] for p in paths])
    return arrays | {"dones": dones}


def _shape(value: Any) -> tuple[int, ...] | None:
    return value.shape if isinstance(value, np.ndarray) else None


READERS: dict[str, Callable[[Path], RawFile]] = {".npz": _read_npz, ".pkl": _read_course_pickle}
"""Of a format without a reader here, only what the loader takes is examined."""


def salvage(arrays: Mapping[str, np.ndarray], limit: int | None) -> tuple[list[Trajectory], int]:
    """What can be examined of a file that the loader refuses, and how many of its rows were left out.

    Arrays are cut to the shortest, and rows with NaN or infinity dropped.
    """
    rows = {key: array for key, array in arrays.items() if key != "final_observations"}
    if not {"observations", "actions"} <= {*rows}:
        return [], 0
    n = min(map(len, rows.values()))
    rows = {key: array[:n] for key, array in rows.items()}
    finite = np.ones(n, bool)
    for array in rows.values():
        finite &= np.isfinite(array).reshape(n, -1).all(axis=1) if n else True
    try:
        kept = {key: array[finite] for key, array in rows.items()}
        trajectories = split_episodes(kept, limit) if finite.any() else []
    except InputError:
        return [], 0
    return trajectories, max(map(len, arrays.values())) - int(finite.sum())


# Checks of the arrays --------------------------------------------------------------------------------------


def not_finite(arrays: Mapping[str, np.ndarray], env: gym.Env | None) -> Iterator[Finding]:
    """NaN and infinities, by array."""
    for key, array in arrays.items():
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        nans, infinite = np.isnan(array), np.isinf(array)
        rows = (nans | infinite).reshape(len(array), -1).any(axis=1)
        first = int(np.argmax(rows))
        numbers = {"array": key, "nan": int(nans.sum()), "infinite": int(infinite.sum()), "rows": int(rows.sum())}
        yield Finding(
            ERROR,
            f"{key} hold {nans.sum():,} NaN and {infinite.sum():,} infinite numbers, in {rows.sum():,} of"
            f" {len(array):,} rows (first in row {first}): one would spoil all weights; drop those episodes",
            numbers | {"first_row": first},
        )


def observation_size(arrays: Mapping[str, np.ndarray], env: gym.Env | None) -> Iterator[Finding]:
    """Shape and dtype of the observations against the environment's."""
    if env is None or "observations" not in arrays:
        return
    obs, space, name = arrays["observations"], env.observation_space, name_of(env)
    shape = obs.shape[1:]
    numbers = {"shape": list(shape), "expected": list(space.shape)}
    if (shape, space.shape) == ((111,), (27,)) and name.startswith("Ant-"):
        constant = len(constant_columns([obs])) if len(obs) else 0
        text = (
            f"observations have 111 numbers ({constant} of them never change), {name}'s 27: the 84 contact forces"
            " behind them are cut off on loading"
        )
        yield Finding(NOTE, text, numbers | {"constant": constant})
    elif shape != space.shape:
        hint = f"; {recorded_on(shape[0], name)}" if len(shape) == 1 else ""
        yield Finding(ERROR, f"observations have the shape {shape}, {name}'s {space.shape}{hint}", numbers)
    elif (obs.dtype.kind == "f") != (space.dtype.kind == "f"):
        text = f"observations are {obs.dtype}, {name}'s are {space.dtype}: was something rounded or scaled?"
        yield Finding(WARNING, text, {"dtype": str(obs.dtype), "expected": str(space.dtype)})


def label_size(arrays: Mapping[str, np.ndarray], env: gym.Env | None) -> Iterator[Finding]:
    """Shape, dtype and range of the labels against the environment's actions."""
    if env is None or "actions" not in arrays or not len(arrays["actions"]):
        return
    acs, space, name = arrays["actions"], env.action_space, name_of(env)
    numbers = {"shape": list(acs.shape[1:]), "dtype": str(acs.dtype)}
    if not is_discrete(space):
        if acs.shape[1:] != space.shape:
            text = f"labels have the shape {acs.shape[1:]}, {name}'s actions {space.shape}: another environment's?"
            yield Finding(ERROR, text, numbers | {"expected": list(space.shape)})
        return
    n = int(space.n)
    acs = acs[:, 0] if acs.shape[1:] == (1,) else acs
    if acs.ndim != 1:
        is_one_hot = acs.shape[1:] == (n,) and ((acs == 0) | (acs == 1)).all() and (acs.sum(axis=1) == 1).all()
        advice = "they are one-hot: store acs.argmax(axis=1)" if is_one_hot else "another environment's?"
        yield Finding(ERROR, f"labels have the shape {acs.shape[1:]}, {name} takes one integer: {advice}", numbers)
        return
    values, counts = np.unique(acs[np.isfinite(acs)], return_counts=True)
    bad = (values < 0) | (values >= n) | (values != np.floor(values))
    if bad.any():
        listed = ", ".join(
            f"{value:g}: {count:,}" for value, count in zip(values[bad][:5], counts[bad], strict=False)
        )
        shifted = "; are they counted from 1?" if values.min() == 1 and values.max() == n else ""
        yield Finding(
            ERROR,
            f"{counts[bad].sum():,} of {len(acs):,} labels are no integers in [0, {n}) ({listed}"
            f"{', ...' if bad.sum() > 5 else ''}){shifted}",
            numbers | {"bad": int(counts[bad].sum()), "n": n},
        )
    elif acs.dtype.kind == "f":
        yield Finding(NOTE, f"labels are {acs.dtype}, all whole numbers: they are read as integers", numbers)


def episode_boundaries(arrays: Mapping[str, np.ndarray], env: gym.Env | None) -> Iterator[Finding]:
    """Whether the file tells its episodes apart, and whether it tells time limits from ends of the task."""
    lengths = {len(array) for key, array in arrays.items() if key != "final_observations"}
    if "observations" not in arrays or len(lengths) != 1 or lengths == {0}:
        return
    limit = episode_limit(env) if env else None
    if not has_boundaries(arrays, limit):
        yield Finding(
            WARNING,
            "the file does not say where episodes end, so --n_demos cannot count them, and returns and lengths here"
            " are of the whole; add dones, terminations, truncations or episode_starts",
        )
    elif "dones" in arrays and not {"terminations", "truncations"} & {*arrays}:
        read = (
            f"those of {limit:,} steps are read as cut off by the time limit" if limit else "nothing is read from it"
        )
        yield Finding(NOTE, f"the file says that episodes are done, not whether a time limit ended them; {read}")


RAW_CHECKS: dict[str, Callable[[Mapping[str, np.ndarray], gym.Env | None], Iterator[Finding]]] = {
    "not_finite": not_finite,
    "observation_size": observation_size,
    "label_size": label_size,
    "episode_boundaries": episode_boundaries,
}
"""Checks of the arrays, since a trajectory would refuse what they look for."""
