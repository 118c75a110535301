"""HDF5 files of Minari, D4RL, robomimic, Isaac Lab, ManiSkill, d3rlpy and ACT, and any other with usual names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.episodes import FLAGS
from rl_il.datasets.names import MEANINGS
from rl_il.datasets.stored import Stored, Unread
from rl_il.errors import InputError

SMALL = 2**20  # bytes
UNREAD = ("infos",)
MAX_DEPTH = 8  # of groups in groups; a group may contain itself


def read_minari(folder: Path) -> Any:
    """Return the episodes of a Minari data set's folder, or of the folder `data` in it."""
    return read(next(path for path in (folder / "data" / MINARI_FILE, folder / MINARI_FILE) if path.exists()))


MINARI_FILE = "main_data.hdf5"


def read(path: Path) -> Any:
    """Return the groups of an HDF5 file as dicts, with its arrays; large ones are read when they are needed."""
    import h5py

    with h5py.File(path, "r") as file:
        tree = _group(file, path)
    return _of_d3rlpy(tree) if {"num_episodes", "actions_0"} <= {*tree} else tree


def _group(group: Any, path: Path, depth: int = 0) -> dict[str, Any]:
    """Return a group of h5py as a dict.

    In robomimic's `demo_0` and ManiSkill's `traj_0`, each an episode, every step at which the task is solved may be
    marked as an end; the last mark tells how the episode ended.
    """
    if depth > MAX_DEPTH:
        raise InputError(f"its groups are nested more than {MAX_DEPTH} deep")
    tree: dict[str, Any] = {}
    for name, value in group.items():
        if name in UNREAD:
            tree[name] = Unread()
        else:
            tree[name] = _group(value, path, depth + 1) if hasattr(value, "items") else _array(value, path)
    if re.fullmatch(r".*/(demo|traj)_\d+", group.name):
        tree |= {
            name: np.asarray(value).reshape(-1)[-1:] for name, value in tree.items() if MEANINGS.get(name) in FLAGS
        }
    return tree


def _array(dataset: Any, path: Path) -> Any:
    """Return an array of h5py: its numbers, or if they are many, a `Stored` that opens the file again."""
    import h5py

    name = dataset.name
    if h5py.check_vlen_dtype(dataset.dtype) is not None:
        return Unread("has rows of different lengths, such as JPEG pictures; write it without JPEG encoding")
    if dataset.nbytes <= SMALL:
        return dataset[()]

    def read_again() -> np.ndarray:
        with h5py.File(path, "r") as file:
            return file[name][()]

    return Stored(dataset, read_again, "HDF5 file")


def _of_d3rlpy(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the episodes of d3rlpy's `observations_0`, `actions_0`, ...; `observations_0_1` is a part of a tuple."""
    episodes: dict[str, Any] = {}
    for name, value in tree.items():
        match = re.fullmatch(r"(\w+?)_(\d+)(?:_(\d+))?", name)
        if match:
            column, episode, part = match.groups()
            columns = episodes.setdefault(f"episode_{episode}", {})
            if part is None:
                columns[column] = value
            else:
                columns.setdefault(column, {})[part] = value
    if len(episodes) != tree["num_episodes"]:
        raise InputError(f"holds {len(episodes)} episodes, expected {tree['num_episodes']}")
    return episodes
