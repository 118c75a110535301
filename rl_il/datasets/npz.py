"""Demonstrations as flat NumPy arrays: `observations` and `actions` are enough; see `split_episodes`."""

from __future__ import annotations

import json
import math
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.archive import open_archive
from rl_il.datasets.arrays import check_lengths, has_boundaries, split_episodes
from rl_il.datasets.quoting import one_line
from rl_il.errors import InputError
from rl_il.files import atomic_write, to_json
from rl_il.types import Trajectory

PER_STEP = (
    "observations actions rewards dones terminations truncations episode_starts executed_actions labelled sources"
).split()
MOST_HEADER = 1000  # characters that describe an array; NumPy writes some 100
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file, read without pickle. Raises `InputError` for anything else."""
    try:
        with open(path, "rb") as file:
            if file.read(6) == np.lib.format.MAGIC_PREFIX:
                raise InputError("is a single array, not an .npz of named ones")
            with open_archive(file) as archive:
                return {member.filename.removesuffix(".npy"): _read(archive, member) for member in archive.infolist()}
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises errors of zipfile, zlib, struct, ...; none means more
        raise InputError(f"is not a readable .npz file ({one_line(error)[:200]})") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array, once its header is known to announce as many bytes as the member has: NumPy allocates first."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise InputError(
                f"holds {member.filename!r} in version {version} of the .npy format, expected 1.0 or 2.0"
            )
        shape, _, dtype = HEADERS[version](file, max_header_size=MOST_HEADER)
        if dtype.hasobject:
            raise InputError(
                f"holds objects in {member.filename!r}, which are not unpickled; expected numbers or text"
            )
        announced, held = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if announced != held or any(n < 0 for n in shape):
            raise InputError(f"announces the shape {shape} in {member.filename!r}, but holds {held} bytes of it")
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False, max_header_size=MOST_HEADER)
    characters = array.reshape(-1).view(f"{dtype.byteorder}u4") if dtype.kind == "U" and array.nbytes else []
    if np.max(characters, initial=0) > sys.maxunicode:  # of which NumPy would make broken strings
        raise InputError(f"holds text in {member.filename!r} that is no Unicode")
    return array


def load(path: Path, limit: int | None) -> tuple[list[Trajectory], bool]:
    """The file's trajectories, and whether it says where episodes end."""
    arrays = read_npz(path)
    for key in ("observations", "actions"):
        if key not in arrays:
            found = ", ".join(sorted(arrays)) or "nothing"
            raise InputError(f"needs arrays named observations and actions; it holds {found}")
    check_lengths({key: arrays[key] for key in PER_STEP if key in arrays})
    return split_episodes(arrays, limit), has_boundaries(arrays, limit)


def save_trajectories(
    path: str | Path, trajectories: Sequence[Trajectory], meta: dict[str, Any] | None = None
) -> None:
    """Writes whole trajectories to one compressed `.npz` that `load_trajectories` reads back.

    Observations in double precision are rounded to single, in which policies here learn from them; everything
    else reads back equal. `actions` are the labels, never clipped. What says nothing new is left out:
    `executed_actions` if they are the labels, `labelled` if all steps are, `rewards` if they are unknown.
    `final_observations` has one row an episode, `sources` says who chose each executed action, and `meta` how
    the file was made.
    """
    if not trajectories:
        raise InputError(f"{path}: there are no trajectories to save")
    with atomic_write(Path(path)) as file:
        np.savez_compressed(file, **to_arrays(trajectories, meta))


def to_arrays(trajectories: Sequence[Trajectory], meta: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    """What `save_trajectories` writes, by name."""
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
    return arrays


def _single(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float64 else array


def read_meta(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The JSON object under `meta`; raises `InputError` if it is not one."""
    try:
        meta = json.loads(str(arrays["meta"]))
    except (KeyError, ValueError, RecursionError) as error:  # no text, no JSON, an endless number, or nested too deep
        raise InputError("has no JSON object under 'meta'") from error
    if not isinstance(meta, dict):
        raise InputError(f"must hold a JSON object under 'meta', got {type(meta).__name__}")
    return meta
