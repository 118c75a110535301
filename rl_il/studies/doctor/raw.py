"""The arrays of a file before any check, read safely, and the checks for what `load_trajectories` would refuse."""

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
from rl_il.datasets.npz import STEP_ARRAYS, read_meta, read_npz
from rl_il.datasets.odd import constant_columns
from rl_il.datasets.pickles import load_pickle
from rl_il.envs import episode_limit, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.studies.doctor.versions import recorded_on
from rl_il.types import Trajectory

Arrays = Mapping[str, np.ndarray]
BOTH = ("observation", "action")
ELSEWHERE = "were they recorded on another environment?"


@dataclass(frozen=True)
class RawFile:
    """The content of a file, before any check."""

    arrays: dict[str, np.ndarray]  # one row for each step, under the names of `.npz` files; empty: none are usable
    meta: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()  # about what was left out of the arrays


def read_raw(path: Path) -> RawFile:
    """Return the content of a file, without running code in it. Raise `InputError` if it is not a data set."""
    if path.suffix not in FORMATS:
        raise InputError(f"unknown demonstration format; expected {' or '.join(FORMATS)}")
    if path.suffix == ".npz":
        return _read_npz(path)
    # A format without a reader here is examined only if its loader accepts the file.
    return _read_course_pickle(path) if path.suffix == ".pkl" else RawFile({})


def _read_npz(path: Path) -> RawFile:
    arrays = read_npz(path)
    if not {"observations", "actions"} & {*arrays}:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise InputError(f"is not a data set: it has neither observations nor actions, only {found}")
    try:
        meta = read_meta(arrays)
    except InputError:  # other programs' files have none
        meta = {}
    keys = (*STEP_ARRAYS, "final_observations")
    return RawFile({key: array for key, array in arrays.items() if key in keys and _shape(array)}, meta)


def _read_course_pickle(path: Path) -> RawFile:
    """Join the path dicts, without those that are incomplete or have another shape than the first."""
    paths = load_pickle(path)
    if not isinstance(paths, list):
        raise InputError(
            f"is not a data set: it holds a {type(paths).__name__}, not a list of episodes; is it an expert?"
        )
    usable = [p for p in paths if _is_usable(p)]
    if paths and not usable:
        raise InputError("is not a data set: none of its items has the arrays observation and action")
    alike = [p for p in usable if all(p[key].shape[1:] == usable[0][key].shape[1:] for key in BOTH)]
    findings = []
    for n, what in ((len(paths) - len(usable), "incomplete"), (len(usable) - len(alike), "of another shape")):
        if n:
            text = f"{n} of {counted(len(paths), 'path')} are {what} and were not examined; take them out"
            findings.append(Finding(ERROR, text, {"paths": n}, check="paths"))
    return RawFile(_flat(alike) if alike else {}, findings=tuple(findings))


def _is_usable(path: Any) -> bool:
    """Return whether it is a path dict with as many observations as actions, and at least one."""
    obs, acs = (_shape(path.get(key)) if isinstance(path, dict) else () for key in BOTH)
    return obs[:1] == acs[:1] and obs[:1] > (0,)


def _shape(value: Any) -> tuple[int, ...]:
    """Return the shape of an array of numbers; `()` for anything else."""
    return value.shape if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else ()


def _flat(paths: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of all paths under the names of `.npz` files; optional ones only if all paths have them."""
    arrays = {KEYS[key]: np.concatenate([p[key] for p in paths]) for key in BOTH}
    ends = np.cumsum([len(p["action"]) for p in paths]) - 1
    arrays["dones"] = np.isin(np.arange(len(arrays["actions"])), ends)
    if all(_shape(p.get("reward")) == p["action"].shape[:1] for p in paths):
        arrays["rewards"] = np.concatenate([p["reward"] for p in paths])
    if all(_shape(p.get("next_observation")) == p["observation"].shape for p in paths):
        arrays["final_observations"] = np.stack([p["next_observation"][-1] for p in paths])
    return arrays


def salvage(arrays: Arrays, limit: int | None) -> tuple[list[Trajectory], int]:
    """Return the trajectories that can be examined in a file that the loader refuses, and how many rows they lack.

    Arrays are cut to the length of the shortest, and rows with NaN or infinity are left out.
    """
    rows = {key: array for key, array in arrays.items() if key != "final_observations"}
    if not {"observations", "actions"} <= {*rows}:
        return [], 0
    n, longest = min(map(len, rows.values())), max(map(len, arrays.values()))
    if n == 0:
        return [], longest
    finite = np.all([np.isfinite(array[:n]).reshape(n, -1).all(axis=1) for array in rows.values()], axis=0)
    try:
        kept = {key: array[:n][finite] for key, array in rows.items()}
        trajectories = split_episodes(kept, limit) if finite.any() else []
    except InputError:
        return [], 0
    return trajectories, longest - int(finite.sum())


def not_finite(arrays: Arrays, env: gym.Env | None) -> Iterator[Finding]:
    """Find NaN and infinities in each array."""
    for key, array in arrays.items():
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        rows = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
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
    if (shape, space.shape) == ((111,), (27,)) and name.startswith("Ant-"):
        constant = len(constant_columns([obs])) if len(obs) else 0
        text = (
            f"observations have 111 numbers ({constant} of them never change), those of {name} 27: the last 84, which"
            " are contact forces, are cut off when the file is loaded"
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
    if not is_discrete(space):
        if acs.shape[1:] != space.shape:
            text = f"labels have the shape {acs.shape[1:]}, actions of {name} {space.shape}: {ELSEWHERE}"
            yield Finding(ERROR, text, numbers | {"expected": list(space.shape)})
        return
    n = int(space.n)
    acs = acs[:, 0] if acs.shape[1:] == (1,) else acs
    if acs.ndim == 1:
        yield from _integers(acs, n, numbers)
        return
    is_one_hot = acs.shape[1:] == (n,) and ((acs == 0) | (acs == 1)).all() and (acs.sum(axis=1) == 1).all()
    advice = "they are one-hot: store acs.argmax(axis=1)" if is_one_hot else ELSEWHERE
    text = f"labels have the shape {acs.shape[1:]}, actions of {name} are one integer: {advice}"
    yield Finding(ERROR, text, numbers)


def _integers(acs: np.ndarray, n: int, numbers: dict[str, Any]) -> Iterator[Finding]:
    """Find labels `(N,)` that are not integers in `[0, n)`."""
    values, counts = np.unique(acs[np.isfinite(acs)], return_counts=True)
    bad = (values < 0) | (values >= n) | (values != np.floor(values))
    if bad.any():
        listed = ", ".join(f"{v:g}: {count:,}" for v, count in list(zip(values[bad], counts[bad], strict=True))[:5])
        more = ", ..." if bad.sum() > 5 else ""
        shifted = "; do they start at 1?" if values.min() == 1 and values.max() == n else ""
        text = f"{counts[bad].sum():,} of {len(acs):,} labels are not integers in [0, {n}) ({listed}{more}){shifted}"
        yield Finding(ERROR, text, numbers | {"bad": int(counts[bad].sum()), "n": n})
    elif acs.dtype.kind == "f":
        yield Finding(NOTE, f"labels are {acs.dtype}, all whole numbers: they are read as integers", numbers)


def episode_boundaries(arrays: Arrays, env: gym.Env | None) -> Iterator[Finding]:
    """Check whether the file says where episodes end, and whether a time limit or the task ended them."""
    lengths = {len(array) for key, array in arrays.items() if key != "final_observations"}
    if "observations" not in arrays or len(lengths) != 1 or lengths == {0}:
        return
    limit = episode_limit(env) if env else None
    if not has_boundaries(arrays, limit):
        yield Finding(
            WARNING,
            "the file does not say where episodes end, so --n_demos cannot count them, and the return and length are"
            " those of the whole file; add dones, terminations, truncations or episode_starts",
        )
    elif "dones" in arrays and not {"terminations", "truncations"} & {*arrays}:
        read = f"those of {limit:,} steps count as truncated" if limit else "they count as neither"
        text = f"the file says that episodes are done, not whether they were terminated or truncated; {read}"
        yield Finding(NOTE, text)


RAW_CHECKS: dict[str, Callable[[Arrays, gym.Env | None], Iterator[Finding]]] = {
    "not_finite": not_finite,
    "observation_size": observation_size,
    "label_size": label_size,
    "episode_boundaries": episode_boundaries,
}
"""A new check of the arrays is a function and a row here."""
