"""Demonstrations as a CSV file, a row for each step."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.npz import to_arrays
from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.types import EXPERT, Trajectory

OPTIONAL = ("executed_actions", "labelled", "sources", "consulted")
"""The columns that a file has only if they say something."""


def write(path: Path, trajectories: Sequence[Trajectory], meta: dict[str, Any], env: gym.Env | None) -> list[str]:
    """Write the columns obs_0, ..., action (or action_0, ...), reward, terminated, truncated, episode.

    Every number is written with all digits of double precision.
    """
    columns = to_columns(trajectories)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
    return ["the observation after each episode's last action is lost"]


def to_columns(trajectories: Sequence[Trajectory]) -> dict[str, list]:
    """Return the columns `(N,)` by name. Raise `InputError` for observations or actions that are no vectors."""
    obs = np.concatenate([t.obs[:-1] for t in trajectories])
    if trajectories[0].acs.ndim > 2:
        shape = trajectories[0].acs.shape[1:]
        raise InputError(f"CSV cannot hold actions of the shape {shape}; give --to npz or minari")
    if obs.ndim != 2:
        raise InputError(f"CSV cannot hold observations of the shape {obs.shape[1:]}; give --to npz or minari")
    arrays = to_arrays(trajectories)
    if (arrays["sources"] == EXPERT).all():
        del arrays["sources"]
    columns = {f"obs_{i}": column for i, column in enumerate(obs.T)}
    columns |= _numbered("action", arrays["actions"])
    if "rewards" in arrays:
        columns["reward"] = arrays["rewards"]
    columns |= {"terminated": arrays["terminations"], "truncated": arrays["truncations"]}
    columns["episode"] = np.cumsum(arrays["episode_starts"]) - 1
    for name in OPTIONAL:
        columns |= _numbered(name, arrays[name]) if name in arrays else {}
    return {name: _exact(column) for name, column in columns.items()}


def _numbered(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """Return one column for `(N,)`, and one for each number of `(N, D)`."""
    return {name: array} if array.ndim == 1 else {f"{name}_{i}": column for i, column in enumerate(array.T)}


def _exact(column: np.ndarray) -> list:
    """Return Python numbers, which are written with all their digits: a float32 as the double that equals it."""
    return (column.astype(int) if column.dtype == bool else column).tolist()
