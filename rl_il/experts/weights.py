"""Experts as weights in an `.npz` file. experts/README.md describes the layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.npz import read_meta, read_npz
from rl_il.errors import InputError
from rl_il.policies.actors import NumpyActor

MAX_ACTION = 1e30  # the largest action bound that a file may have; float32 can hold it


def load_weights(path: Path, env: gym.Env) -> NumpyActor:
    """Return the network of weights `w0, b0, w1, b1, ...`, which the JSON string `meta` describes.

    Raise `InputError` for any other file.
    """
    arrays = read_npz(path)
    meta = read_meta(arrays)
    n_layers = sum(key[:1] == "w" and key[1:].isdigit() for key in arrays)
    missing = [key for i in range(max(n_layers, 1)) for key in (f"w{i}", f"b{i}") if key not in arrays]
    missing += [key for key in ("activation", "output") if key not in meta]
    if missing:
        raise InputError(f"is not an expert's file: it lacks {', '.join(missing)}")
    layers = [(arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(n_layers)]
    if any(array.dtype.kind != "f" or array.size == 0 for layer in layers for array in layer):
        raise InputError("the weights and biases of each layer must be floats and not empty")
    return NumpyActor(
        layers,
        meta["activation"],
        meta["output"],
        # An expert that reads a slice fits any observation that is long enough. Others fit only their own size.
        ob_shape=env.observation_space.shape if "obs_slice" in meta else layers[0][0].shape[:1],
        obs_slice=_slice(meta.get("obs_slice")),
        obs_mean=arrays.get("obs_mean"),
        obs_std=arrays.get("obs_std"),
        **{key: _bounds(key, meta[key]) for key in ("action_scale", "action_low", "action_high") if key in meta},
    )


def _bounds(name: str, value: Any) -> np.ndarray:
    """Return a number or a list of numbers from JSON as an array. Raise `InputError` for anything else."""
    numbers = value if isinstance(value, list) else [value]
    if not all(type(number) in (int, float) and abs(number) <= MAX_ACTION for number in numbers):
        raise InputError(f"{name} must be a number or a list of them, up to {MAX_ACTION:g}")
    return np.array(value, np.float64)


def _slice(bounds: Any) -> slice:
    """Return which of the observation's numbers the network reads, from `[start, stop]` or None for all."""
    if bounds is None:
        return slice(None)
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(bound, int) for bound in bounds)):
        raise InputError(f"obs_slice must be two integers [start, stop], got {bounds}")
    return slice(*bounds)
