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
from rl_il.datasets.quoting import one_line
from rl_il.envs import check_actions, episode_limit, name_of
from rl_il.errors import InputError
from rl_il.types import Trajectory

Loader = Callable[[Path, int | None], tuple[list[Trajectory], bool]]
FORMATS: dict[str, Loader] = {".npz": npz.load, ".pkl": cs285.load}
"""A new file format is a module with a `load(path, episode_limit)` and its suffix here."""


def load_trajectories(
    path: str | Path,
    env: gym.Env | None = None,
    n_demos: int | None = None,
    rng: np.random.Generator | None = None,
) -> list[Trajectory]:
    """Reads demonstrations.

    Args:
      path: a file whose suffix is in `FORMATS`.
      env: if given, observations and actions must fit its spaces, and take their dtypes.
      n_demos: keep this many episodes, drawn without replacement by `rng` (without `rng`: the first ones).

    Raises:
      InputError: a file that is missing, broken, does not fit, or lacks the episodes asked for. The message
        begins with the path.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: unknown demonstration format; expected {' or '.join(FORMATS)}")
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    try:
        trajectories, has_boundaries = FORMATS[path.suffix](path, episode_limit(env) if env else None)
        if n_demos is not None:
            trajectories = _choose(trajectories, has_boundaries, n_demos, rng)
        if not any(t.labelled_steps.any() for t in trajectories):
            raise InputError("holds no labelled step")
        if env and _is_course_ant(trajectories, env):
            print(f"note: {path} has 111 numbers, {name_of(env)} 27; the contact forces are cut off", file=sys.stderr)
            trajectories = [dataclasses.replace(t, obs=t.obs[:, :27]) for t in trajectories]
        return [_fit(t, env) for t in trajectories] if env else trajectories
    except InputError as error:
        raise InputError(f"{path}: {one_line(error)}") from error


def _choose(
    trajectories: list[Trajectory], has_boundaries: bool, n_demos: int, rng: np.random.Generator | None
) -> list[Trajectory]:
    if not has_boundaries:
        raise InputError(
            "does not say where episodes end (no end is marked, or a piece is longer than the environment's limit),"
            " so --n_demos cannot count them; mark the ends in an array dones, terminations, truncations or"
            " episode_starts, or train on all of it without --n_demos"
        )
    if n_demos < 1:
        raise InputError(f"--n_demos must be above 0, got {n_demos}")
    if n_demos > len(trajectories):
        raise InputError(f"holds {len(trajectories)} episodes, --n_demos asks for {n_demos}")
    if rng is None:
        return trajectories[:n_demos]
    return [trajectories[i] for i in rng.permutation(len(trajectories))[:n_demos]]


def _is_course_ant(trajectories: list[Trajectory], env: gym.Env) -> bool:
    """The course makes its Ant-v4 with 84 contact forces behind the 27 numbers that Gymnasium's gives."""
    shapes = (trajectories[0].obs.shape[1:], env.observation_space.shape)
    return name_of(env).startswith("Ant-") and shapes == ((111,), (27,))


def _fit(trajectory: Trajectory, env: gym.Env) -> Trajectory:
    """The trajectory in the environment's dtypes; raises `InputError` if it was recorded elsewhere."""
    name = name_of(env)
    space = env.observation_space
    if trajectory.obs.shape[1:] != space.shape:
        raise InputError(
            f"an observation has the shape {trajectory.obs.shape[1:]}, but {name} observes {space.shape}"
        )
    labels = trajectory.expert_acs
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and the trajectory refuses it
        return dataclasses.replace(
            trajectory,
            obs=trajectory.obs.astype(space.dtype, copy=False),
            acs=check_actions(trajectory.acs, name, env.action_space),
            expert_acs=None if labels is None else check_actions(labels, name, env.action_space),
        )
