"""`load_trajectories`: demonstrations of any file format, checked against their environment."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.datasets import cs285, npz
from rl_il.datasets.findings import counted
from rl_il.envs import check_actions, episode_limit, name_of
from rl_il.errors import InputError
from rl_il.files import one_line
from rl_il.types import Trajectory

Loader = Callable[[Path, int | None], tuple[list[Trajectory], bool]]
"""A function of a file and the longest episode. It returns trajectories, and whether the file says where they end."""
FORMATS: dict[str, Loader] = {".npz": npz.load, ".pkl": cs285.load}
"""A new file format is a `Loader` and a row here, with the suffix of its files."""
SESSION = "session"  # the folder of a teaching run that holds one file for each episode


def session_files(run_folder: Path) -> list[Path]:
    """Return the episode files of a teaching run, in order; an empty list for another folder."""
    files = (run_folder / SESSION).glob("episode_*.npz")
    return sorted(path for path in files if path.stem.removeprefix("episode_").isdecimal())


@np.errstate(all="ignore")  # `Trajectory` refuses NaN and infinite numbers
def load_trajectories(
    path: str | Path,
    env: gym.Env | None = None,
    n_demos: int | None = None,
    rng: np.random.Generator | None = None,
    may_lack_labels: bool = False,
) -> list[Trajectory]:
    """Return the demonstrations of a file or folder.

    Raise `InputError`, which begins with the path, if the file is missing or damaged, does not fit the environment,
    or has fewer episodes than `n_demos`.

    Args:
      path: a file whose suffix is in `FORMATS`, or the folder of a teaching run.
      env: the environment, whose spaces the observations and actions must fit, and whose dtypes they get.
      n_demos: how many episodes to return, drawn without replacement by `rng` (the first ones without `rng`).
      rng: the generator that draws the episodes.
      may_lack_labels: whether a file without any label is accepted.
    """
    path = Path(path)
    limit = episode_limit(env) if env else None
    try:
        trajectories, has_boundaries = _load_session(path) if os.path.isdir(path) else _load_file(path, limit)
        if n_demos is not None:
            trajectories = _choose(trajectories, has_boundaries, n_demos, rng)
        if not (may_lack_labels or any(t.labelled_steps.any() for t in trajectories)):
            raise InputError("has no step with a label")
        shape = trajectories[0].obs.shape[1:]
        if env and name_of(env).startswith("Ant-") and (shape, env.observation_space.shape) == ((111,), (27,)):
            # The course's Ant-v4 observes 84 contact forces after the 27 numbers that Gymnasium's observes.
            note = (
                f"observations in {path} have 111 numbers, those of {name_of(env)} 27; the contact forces are cut off"
            )
            print(f"note: {note}", file=sys.stderr)
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
    """Return all episodes of a teaching run, even of one that was killed."""
    trajectories = []
    for file in session_files(folder):
        try:
            trajectories += npz.load(file, None)[0]
        except InputError as error:
            raise InputError(f"{file.name}: {one_line(error)}") from error
    if not trajectories:
        raise InputError("is a folder without session/episode_*.npz; expected a file or a teaching run's folder")
    if len({(t.obs.shape[1:], t.acs.shape[1:], t.acs.dtype.kind) for t in trajectories}) > 1:
        raise InputError("has observations or actions of different shapes; are all episodes from one environment?")
    return trajectories, True


def _choose(
    trajectories: list[Trajectory], has_boundaries: bool, n_demos: int, rng: np.random.Generator | None
) -> list[Trajectory]:
    if not has_boundaries:
        raise InputError(
            "does not say where episodes end, so --n_demos cannot count them; add an array dones, terminations,"
            " truncations or episode_starts that marks every end, or drop --n_demos"
        )
    if not 1 <= n_demos <= len(trajectories):
        raise InputError(f"has {counted(len(trajectories), 'episode')}, so --n_demos {n_demos} is not possible")
    order = range(n_demos) if rng is None else rng.permutation(len(trajectories))[:n_demos]
    return [trajectories[i] for i in order]


def _fit(trajectory: Trajectory, env: gym.Env) -> Trajectory:
    """Return the trajectory in the environment's dtypes. Raise `InputError` if it does not fit the environment."""
    name, space, shape = name_of(env), env.observation_space, trajectory.obs.shape[1:]
    if shape != space.shape:
        raise InputError(f"observations have the shape {shape}, but those of {name} {space.shape}")
    labels = trajectory.expert_acs
    return dataclasses.replace(
        trajectory,
        obs=trajectory.obs.astype(space.dtype, copy=False),
        acs=check_actions(trajectory.acs, name, env.action_space),
        expert_acs=None if labels is None else check_actions(labels, name, env.action_space),
    )
