"""`load_trajectories`: any demonstration file, checked against the environment it is for."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.datasets import cs285, npz
from rl_il.envs import check_actions, episode_limit, name_of
from rl_il.errors import InputError
from rl_il.files import one_line
from rl_il.types import Trajectory

Loader = Callable[[Path, int | None], tuple[list[Trajectory], bool]]
"""A function of a file and the longest episode; it returns trajectories, and whether the file says where they end."""
FORMATS: dict[str, Loader] = {".npz": npz.load, ".pkl": cs285.load}
"""A new file format is a function `load(path, episode_limit)` and its suffix here."""
SESSION = "session"  # the folder of a teaching run that holds one file for each episode


def session_files(run_folder: Path) -> list[Path]:
    """Return the files of a teaching run's episodes, in order; none if it is no such run's folder."""
    files = (run_folder / SESSION).glob("episode_*.npz")
    return sorted(path for path in files if path.stem.removeprefix("episode_").isdecimal())


@np.errstate(all="ignore")  # a trajectory refuses infinite and undefined numbers
def load_trajectories(
    path: str | Path,
    env: gym.Env | None = None,
    n_demos: int | None = None,
    rng: np.random.Generator | None = None,
    may_lack_labels: bool = False,
) -> list[Trajectory]:
    """Return the demonstrations in a file or a folder.

    Raise `InputError`, which begins with the path, for a file that is missing, broken, does not fit, or lacks the
    episodes asked for.

    Args:
      path: a file whose suffix is in `FORMATS`, or the folder of a teaching run.
      env: if given, observations and actions must fit its spaces, and take their dtypes.
      n_demos: keep this many episodes, drawn without replacement by `rng` (without `rng`: the first ones).
      may_lack_labels: whether a file without any label is accepted.
    """
    path = Path(path)
    limit = episode_limit(env) if env else None
    try:
        trajectories, has_boundaries = _load_session(path) if os.path.isdir(path) else _load_file(path, limit)
        if n_demos is not None:
            trajectories = _choose(trajectories, has_boundaries, n_demos, rng)
        if not (may_lack_labels or any(t.labelled_steps.any() for t in trajectories)):
            raise InputError("holds no labelled step")
        shape = trajectories[0].obs.shape[1:]
        if env and name_of(env).startswith("Ant-") and (shape, env.observation_space.shape) == ((111,), (27,)):
            # The course's Ant-v4 has 84 contact forces after the 27 numbers of Gymnasium's.
            print(f"note: {path} has 111 numbers, {name_of(env)} 27; the contact forces are cut off", file=sys.stderr)
            trajectories = [dataclasses.replace(t, obs=t.obs[:, :27]) for t in trajectories]
        return [_fit(t, env) for t in trajectories] if env else trajectories
    except InputError as error:
        raise InputError(f"{path}: {one_line(error)}") from error


def _load_file(path: Path, limit: int | None) -> tuple[list[Trajectory], bool]:
    if path.suffix not in FORMATS:
        raise InputError(f"unknown demonstration format; expected {' or '.join(FORMATS)}")
    if not os.path.isfile(path):
        raise InputError("no such file")
    return FORMATS[path.suffix](path, limit)


def _load_session(folder: Path) -> tuple[list[Trajectory], bool]:
    """Return all episodes of a teaching run, also of one that was killed."""
    trajectories = []
    for file in session_files(folder):
        try:
            trajectories += npz.load(file, None)[0]
        except InputError as error:
            raise InputError(f"{file.name}: {one_line(error)}") from error
    if not trajectories:
        raise InputError("is a folder without session/episode_*.npz; expected a file, or a teaching run's folder")
    if len({(t.obs.shape[1:], t.acs.shape[1:], t.acs.dtype.kind) for t in trajectories}) > 1:
        raise InputError("its episodes observe or act in different shapes; are they of one environment?")
    return trajectories, True


def _choose(
    trajectories: list[Trajectory], has_boundaries: bool, n_demos: int, rng: np.random.Generator | None
) -> list[Trajectory]:
    if not has_boundaries:
        raise InputError(
            "does not say where episodes end, so --n_demos cannot count them; mark every end in an array dones,"
            " terminations, truncations or episode_starts, or leave --n_demos out"
        )
    if not 1 <= n_demos <= len(trajectories):
        raise InputError(f"holds {len(trajectories)} episodes, but --n_demos asks for {n_demos}")
    order = range(n_demos) if rng is None else rng.permutation(len(trajectories))[:n_demos]
    return [trajectories[i] for i in order]


def _fit(trajectory: Trajectory, env: gym.Env) -> Trajectory:
    """Return the trajectory in the environment's dtypes. Raise `InputError` if it was recorded elsewhere."""
    name, space, shape = name_of(env), env.observation_space, trajectory.obs.shape[1:]
    if shape != space.shape:
        raise InputError(f"an observation has the shape {shape}, but {name} observes {space.shape}")
    labels = trajectory.expert_acs
    return dataclasses.replace(
        trajectory,
        obs=trajectory.obs.astype(space.dtype, copy=False),
        acs=check_actions(trajectory.acs, name, env.action_space),
        expert_acs=None if labels is None else check_actions(labels, name, env.action_space),
    )
