"""Demonstrations as a data set of Minari (https://minari.farama.org, version 0.5), written without it."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from rl_il.datasets.findings import counted
from rl_il.envs import is_picture
from rl_il.errors import InputError
from rl_il.files import to_json, write_json
from rl_il.types import EXPERT, Trajectory

DATASET_ID = r"([-\w][-\w/]*[-\w]/)?[-\w]+-v\d+"
VERSION, PICTURE_VERSION = "0.5.0", "0.5.4"
"""The first versions of Minari that read the data set; pictures without JPEG since the second."""


def write(path: Path, trajectories: Sequence[Trajectory], meta: dict[str, Any], env: gym.Env | None) -> list[str]:
    """Write the folder `path` with `data/main_data.hdf5` and `data/metadata.json`.

    An episode has T + 1 observations, and its other arrays have T rows. `infos` has what only our files know, if it
    says something: `source`, `labelled` and `executed_actions`. As in Minari's own `infos`, row t + 1 is of step t.

    Raise `InputError` if rewards are unknown, which Minari requires, or if the folder exists already.
    """
    if any(np.isnan(t.rewards).any() for t in trajectories):
        raise InputError(f"{path}: Minari requires rewards, and these are unknown; give --to npz or csv")
    if os.path.lexists(path):
        raise InputError(f"{path}: is already there; give another folder")
    name, notes = dataset_id(path), []
    if env is None:
        trajectories, spaces = guess_spaces(trajectories)
        notes.append(
            f"without --env_name, Minari cannot recover the environment, and its spaces are guessed: {spaces[0]},"
            f" {spaces[1]}"
        )
    else:
        spaces = env.observation_space, env.action_space
    spec = env_spec_json(env)
    if env is not None and spec is None:
        notes.append("the environment is made by an object that JSON cannot name, so Minari cannot recover it")
    endless = sum(not (t.terminated or t.truncated) for t in trajectories)
    if endless:
        verb = "is" if endless == 1 else "are"
        notes.append(
            f"{counted(endless, 'episode')} {verb} neither terminated nor truncated; Minari's own always are"
        )
    metadata = {
        "total_episodes": len(trajectories),
        "total_steps": sum(map(len, trajectories)),
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": space_json(spaces[0]),
        "action_space": space_json(spaces[1]),
        **({"env_spec": spec} if spec else {}),
        "dataset_id": name,
        "minari_version": PICTURE_VERSION if is_picture(spaces[0]) else VERSION,
        "description": f"Written by rl_il. What is known about it: {to_json(meta)}",
    }
    with new_folder(path) as folder:
        (folder / "data").mkdir()
        data = folder / "data" / "main_data.hdf5"
        write_episodes(data, trajectories)
        metadata["dataset_size"] = round(data.stat().st_size / 1e6, 1)
        write_json(folder / "data" / "metadata.json", metadata)
    return notes


def dataset_id(path: Path) -> str:
    """Return the name by which `minari.load_dataset` finds the folder.

    It is the path in Minari's folder. Elsewhere, it is a relative path as it was given, which Minari finds if
    `MINARI_DATASETS_PATH` is the working folder, or the last part of another path.
    """
    root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets").absolute()
    if path.absolute().is_relative_to(root):
        name = path.absolute().relative_to(root).as_posix()
    else:
        name = path.as_posix() if re.fullmatch(DATASET_ID, path.as_posix()) else path.name
    if not re.fullmatch(DATASET_ID, name):
        raise InputError(f"{path}: {name} cannot be the name of a Minari data set; give one such as Lander/expert-v0")
    return name


def env_spec_json(env: gym.Env | None) -> str | None:
    """Return what `recover_environment` needs; None if there is no environment, or if JSON cannot name it.

    The wrappers of this package are left out: another program may not have them.
    """
    if env is None or env.spec is None:
        return None
    wrappers = [each for each in env.spec.additional_wrappers if not each.entry_point.startswith("rl_il.")]
    if any(each.kwargs is None for each in wrappers):  # with which arguments it was made is unknown
        return None
    try:
        return replace(env.spec, additional_wrappers=tuple(wrappers)).to_json()
    except (TypeError, ValueError):  # its class is given as an object
        return None


def guess_spaces(trajectories: Sequence[Trajectory]) -> tuple[list[Trajectory], tuple[gym.Space, gym.Space]]:
    """Return the trajectories, and spaces that they fit. Whole numbers, one for each step, are Discrete actions."""
    acs = np.concatenate([t.labels for t in trajectories])
    observation_space = _box(trajectories[0].obs)
    if acs.ndim > 1 or (acs != np.floor(acs)).any() or acs.min() < 0:
        return [*trajectories], (observation_space, _box(acs))
    whole = [
        replace(t, acs=t.acs.astype(np.int64), expert_acs=None if t.expert_acs is None else t.labels.astype(np.int64))
        for t in trajectories
    ]
    return whole, (observation_space, Discrete(int(acs.max()) + 1))


def _box(array: np.ndarray) -> Box:
    """Return the space of all values of the array's dtype."""
    if array.dtype == bool:
        return Box(0, 1, array.shape[1:], np.int8)
    ends = (-np.inf, np.inf) if array.dtype.kind == "f" else (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
    return Box(*ends, array.shape[1:], array.dtype)


def space_json(space: gym.Space) -> str:
    """Return a space as Minari's metadata have it."""
    if isinstance(space, Discrete):
        return json.dumps({"type": "Discrete", "dtype": "int64", "start": int(space.start), "n": int(space.n)})
    if isinstance(space, MultiDiscrete):
        numbers = {"dtype": str(space.dtype), "nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return json.dumps({"type": "MultiDiscrete"} | numbers)
    if isinstance(space, MultiBinary):
        return json.dumps({"type": "MultiBinary", "n": list(space.shape) if len(space.shape) > 1 else space.shape[0]})
    bounds = {"low": space.low.tolist(), "high": space.high.tolist()}
    return json.dumps({"type": "Box", "dtype": str(space.dtype), "shape": [*space.shape], **bounds})


def write_episodes(path: Path, trajectories: Sequence[Trajectory]) -> None:
    """Write the groups `episode_0`, ... of an HDF5 file. Minari can append to them."""
    has_source = any((t.source != EXPERT).any() for t in trajectories)
    has_labelled = any(not t.labelled_steps.all() for t in trajectories)
    has_executed = any(not np.array_equal(t.acs, t.labels) for t in trajectories)
    with h5py.File(path, "w") as file:
        for i, t in enumerate(trajectories):
            group = file.create_group(f"episode_{i}")
            group.attrs.update({"id": i, "total_steps": len(t)})
            last = np.arange(len(t)) == len(t) - 1
            arrays = {"observations": t.obs, "actions": t.labels, "rewards": t.rewards}
            arrays |= {"terminations": last & t.terminated, "truncations": last & t.truncated}
            infos = {"source": t.source} if has_source else {}
            infos |= {"labelled": t.labelled_steps} if has_labelled else {}
            infos |= {"executed_actions": t.acs} if has_executed else {}
            arrays |= {f"infos/{name}": np.concatenate([array[:1], array]) for name, array in infos.items()}
            for name, array in arrays.items():
                group.create_dataset(
                    name, data=array, chunks=True, maxshape=(None, *array.shape[1:]), compression="gzip"
                )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder that gets its name `path` when it is complete. Raise `InputError` if it cannot be written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.")
        yield Path(temporary)
        os.chmod(temporary, 0o755)  # with mkdtemp's 0700, other users of the machine could not read it
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
