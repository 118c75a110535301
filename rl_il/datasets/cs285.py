"""The course's demonstrations, of 2022 and 2023: a pickled list with a dict of arrays, a "path", for each episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.arrays import check_lengths, split_episodes
from rl_il.datasets.pickles import load_pickle
from rl_il.errors import InputError
from rl_il.types import Trajectory

KEYS = {"observation": "observations", "action": "actions", "reward": "rewards", "terminal": "dones"}


def load(path: Path, limit: int | None) -> tuple[list[Trajectory], bool]:
    """Return a trajectory for each path, and True: the file says where episodes end.

    The course's `terminal` is 1 even if only a time limit ended the episode. Raise `InputError` for another content.
    """
    paths = load_pickle(path)
    if not isinstance(paths, list) or not paths:
        got = "an empty list" if isinstance(paths, list) else f"a {type(paths).__name__}"
        raise InputError(f"must hold a list of path dicts, got {got}; is it the file of an expert?")
    trajectories = []
    for i, item in enumerate(paths):
        try:
            trajectories.append(_trajectory(item, limit))
        except InputError as error:
            raise InputError(f"path {i}: {error}") from error
    return trajectories, True


def _trajectory(path: Any, limit: int | None) -> Trajectory:
    if not isinstance(path, dict):
        raise InputError(f"must be a dict, got a {type(path).__name__}")
    missing = {*KEYS, "next_observation"} - {*path}
    if missing:
        raise InputError(f"lacks {', '.join(sorted(missing))}; it has {', '.join(map(str, path))}")
    for key in (*KEYS, "next_observation"):
        if not isinstance(path[key], np.ndarray):
            raise InputError(f"{key} must be an array, got a {type(path[key]).__name__}")
    arrays = {ours: path[theirs] for theirs, ours in KEYS.items()}
    arrays["dones"] = arrays["dones"].astype(bool)
    following = path["next_observation"]
    check_lengths(arrays | {"next_observation": following})
    if following.shape != arrays["observations"].shape:
        raise InputError(f"next_observation has shape {following.shape}, observation {arrays['observations'].shape}")
    if arrays["dones"][:-1].any():
        raise InputError("has a terminal before its last step")
    arrays["final_observations"] = following[-1:]
    (trajectory,) = split_episodes(arrays, limit)
    return trajectory
