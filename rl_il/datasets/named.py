"""Columns by name: which of a dict's arrays have a meaning, and the parts of a dict observation joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.content import Columns, Content, ReadOptions, n_dimensions, n_items, numbers
from rl_il.datasets.names import MEANINGS, find_names, listed
from rl_il.datasets.stored import Unread
from rl_il.errors import InputError

IGNORED = ("meta",)  # the description in our own files


def named_columns(
    tree: Mapping[str, Any], keys: Mapping[str, str], options: ReadOptions, content: Content
) -> Columns:
    """Return the columns that have a meaning, by our names, and take note of the others."""
    found = find_names(_without_simulator(tree, keys), keys)
    content.read |= found
    content.not_read |= {
        str(n): None for n in tree if n not in found.values() and str(n) not in IGNORED and n_items(tree[n])
    }
    columns: Columns = {}
    for meaning, name in found.items():
        value = tree[name]
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = _stacked(value)  # a dict observation for each step
        if isinstance(value, Mapping):
            if meaning not in ("observations", "next_observations"):
                raise InputError(f"{name} must be an array, got a dict of {listed(value)}")
            value = _joined(value, name, options, content)
        columns[meaning] = value if isinstance(value, (list, Unread)) else np.asarray(value)
    if "observations" in keys and "next_observations" not in keys:
        following = columns.get("next_observations")
        if following is not None and np.shape(following)[1:] != np.shape(columns["observations"])[1:]:
            del columns["next_observations"]  # they follow other observations than the chosen ones
            content.not_read[content.read.pop("next_observations")] = None
    return columns


def _without_simulator(tree: Mapping[str, Any], keys: Mapping[str, str]) -> list[Any]:
    """Return the names without `states`, which robomimic and Isaac Lab keep next to a dict of observations."""
    has_dict = any(isinstance(tree.get(name), Mapping) for name in ("obs", "observations"))
    return [name for name in tree if not (has_dict and name == "states" and name not in keys.values())]


def _stacked(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a dict of columns from a list of dicts of one step each."""
    names = {*steps[0]}
    if any({*step} != names for step in steps):
        raise InputError("its steps do not all have the same names")
    return {name: [step[name] for step in steps] for name in steps[0]}


def _joined(parts: Mapping[str, Any], name: str, options: ReadOptions, content: Content) -> np.ndarray:
    """Return one `(N, D)` array from the vectors of a dict observation, without its pictures; or its only array."""
    flat = _leaves(parts)
    own = {} if options.obs_keys or options.space is None else leaf_spaces(options.space)
    if own.keys() == flat.keys():  # as `FlattenObservation` does in the environment
        content.remarks[f"{name} flattened as the environment does: {', '.join(own)}"] = None
        return np.concatenate([_flattened(own[part], numbers(f"{name}/{part}", flat[part])) for part in own], axis=1)
    chosen = options.obs_keys.split(",") if options.obs_keys else sorted(flat)
    missing = [part for part in chosen if part not in flat]
    if missing:
        raise InputError(f"--obs_keys: {name} has no {missing[0]}; it has {listed(flat)}")
    if not options.obs_keys and len(chosen) > 1:
        chosen = [part for part in chosen if not _is_picture(part, flat[part])]
    if not chosen:
        raise InputError(f"{name} holds only pictures ({listed(flat)}); choose one by --obs_keys NAME")
    arrays = {part: numbers(f"{name}/{part}", flat[part]) for part in chosen}
    is_first = MEANINGS.get(name.lower()) != "next_observations"  # the others are joined alike
    if is_first:
        content.not_read |= {f"{name}/{part}": None for part in flat if part not in arrays}
    if len({len(array) for array in arrays.values()}) > 1:
        raise InputError(f"{name}: its parts have different numbers of rows")
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if any(array.ndim > 2 for array in arrays.values()):
        raise InputError("--obs_keys: pictures and vectors cannot be joined; choose one picture, or vectors only")
    if is_first:
        content.remarks[f"{name} joined from {', '.join(arrays)} in this order (--obs_keys chooses)"] = None
    return np.concatenate([array.reshape(len(array), -1) for array in arrays.values()], axis=1)


def leaf_spaces(space: gym.Space, place: str = "") -> dict[str, gym.Space]:
    """Return the parts of a nested `Dict` space by their path, such as `robot/joints`, in the order of the space."""
    if not isinstance(space, gym.spaces.Dict):
        return {place.removesuffix("/"): space}
    return {
        name: leaf for key, part in space.spaces.items() for name, leaf in leaf_spaces(part, f"{place}{key}/").items()
    }


def _flattened(space: gym.Space, rows: np.ndarray) -> np.ndarray:
    """Return the rows `(N, ...)` of a part as `(N, numbers)`. Raise `InputError` if one is not in the space."""
    rows = rows[:, 0] if space.shape == () and rows.shape[1:] == (1,) else rows
    if isinstance(space, gym.spaces.Box):
        return rows.reshape(len(rows), -1)
    for row in rows:
        if not space.contains(np.asarray(row).astype(space.dtype)):
            raise InputError(f"an observation has the part {row}, but the environment's is {space}")
    return np.stack([gym.spaces.flatten(space, row.astype(space.dtype)) for row in rows])


def _is_picture(part: str, value: Any) -> bool:
    """Return whether a part of a dict observation is no vector. ACT keeps compressed pictures as rows of bytes."""
    return n_dimensions(value) > 2 or bool({"image", "images"} & {*part.split("/")})


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the arrays of nested dicts by their path, such as `robot/joints`."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _leaves(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
