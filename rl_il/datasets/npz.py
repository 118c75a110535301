"""Demonstrations as NumPy arrays in an `.npz`: reading any program's, and writing our own."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.names import MEANINGS, WRAPPERS
from rl_il.datasets.pickles import load_objects
from rl_il.datasets.stored import Unread
from rl_il.errors import InputError
from rl_il.files import atomic_write, one_line, reading, to_json
from rl_il.types import Trajectory


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return all arrays of an `.npz` file, read without pickle. Raise `InputError` if it is no such file."""
    with reading(".npz file"):
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            raise InputError("is a single array, expected an .npz file of named arrays")
        with content:
            arrays = {name: content[name] for name in content.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise InputError(f"holds {one_line(name)[:100]!r}, which is not an array")
        return arrays


def read(path: Path) -> dict[str, Any]:
    """Return the arrays of any program's `.npz` by name; arrays of objects as lists, by the allow-list of pickles.

    Objects that are not allowed become `Unread`, which stands only where nobody needs them.
    """
    arrays: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as content:
        for name in content.files:
            try:
                arrays[name] = content[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                arrays[name] = _objects(path, name)
    return arrays


def _objects(path: Path, name: str) -> Any:
    """Return an array of objects as lists in lists, if its name has a meaning and its objects are allowed."""
    if name.lower() not in {*MEANINGS, *WRAPPERS}:
        return Unread()
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        return load_objects(member)


def save_trajectories(
    path: str | Path, trajectories: Sequence[Trajectory], meta: dict[str, Any] | None = None
) -> None:
    """Write trajectories to one compressed `.npz` file, for `load_trajectories`.

    Observations in double precision are rounded to single precision, which policies are trained in; everything else
    is stored exactly. `actions` are the labels, never clipped. Arrays without information are left out:
    `executed_actions` if they equal the labels, `labelled` if all steps are, `rewards` if they are unknown.
    `final_observations` has one row for each episode, `sources` says who chose each executed action, and `meta` how
    the file was made.

    Raise `InputError` if there is no trajectory, or the file cannot be written.
    """
    if not trajectories:
        raise InputError(f"{path}: there are no trajectories to save")
    with atomic_write(Path(path)) as file:
        np.savez_compressed(file, **to_arrays(trajectories, meta))


def to_arrays(trajectories: Sequence[Trajectory], meta: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays that `save_trajectories` writes, by name."""
    executed = np.concatenate([t.acs for t in trajectories])
    labels = np.concatenate([t.labels for t in trajectories])
    last = np.cumsum([len(t) for t in trajectories]) - 1
    ends = {key: np.zeros(len(labels), bool) for key in ("terminations", "truncations", "episode_starts")}
    ends["terminations"][last] = [t.terminated for t in trajectories]
    ends["truncations"][last] = [t.truncated for t in trajectories]
    ends["episode_starts"][[0, *(last[:-1] + 1)]] = True
    arrays = {
        "observations": _single(np.concatenate([t.obs[:-1] for t in trajectories])),
        "actions": labels,
        "final_observations": _single(np.stack([t.obs[-1] for t in trajectories])),
        "sources": np.concatenate([t.source for t in trajectories]),
        "meta": np.array(to_json(meta or {})),
        **ends,
    }
    if not np.array_equal(executed, labels):
        arrays["executed_actions"] = executed
    rewards = np.concatenate([t.rewards for t in trajectories])
    if not np.isnan(rewards).any():
        arrays["rewards"] = rewards
    labelled = np.concatenate([t.labelled_steps for t in trajectories])
    if not labelled.all():
        arrays["labelled"] = labelled
    if any(t.consulted is not None for t in trajectories):
        asked = [np.zeros(len(t), bool) if t.consulted is None else t.consulted for t in trajectories]
        arrays["consulted"] = np.concatenate(asked)
    return arrays


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def read_meta(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the JSON object under `meta`. Raise `InputError` if there is none."""
    try:
        meta = json.loads(str(arrays["meta"]))
    except Exception as error:  # not text, Unicode or JSON, a number that is too long, or too deeply nested
        raise InputError("has no JSON object under 'meta'") from error
    if not isinstance(meta, dict):
        raise InputError(f"must have a JSON object under 'meta', got {type(meta).__name__}")
    return meta
