"""The course's MuJoCo experts: pickled dictionaries of a network's weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.pickles import load_pickle
from rl_il.envs import name_of
from rl_il.errors import InputError
from rl_il.policies.actors import NumpyActor


def load_course_expert(path: Path, env: gym.Env) -> NumpyActor:
    """Return the network, in double precision as in the course.

    Its input is (obs - mean) / (std + 1e-6), and its output is the mean action. Raise `InputError` for another file.
    """
    tree = load_pickle(path)
    try:
        policy = tree["GaussianPolicy"]
        hidden = policy["hidden"]["FeedforwardNet"]
        names = sorted(hidden, key=lambda name: int(name.rsplit("_", 1)[1]))
        affine = [hidden[name]["AffineLayer"] for name in names] + [policy["out"]["AffineLayer"]]
        layers = [(_numbers(layer, "W"), _numbers(layer, "b").reshape(-1)) for layer in affine]
        statistics = policy["obsnorm"]["Standardizer"]
        mean = _numbers(statistics, "mean_1_D").reshape(-1)
        variance = _numbers(statistics, "meansq_1_D").reshape(-1) - mean**2
        activation = {"tanh": "tanh", "lrelu": "leaky_relu"}[tree["nonlin_type"]]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            "is not an expert of the course; expected nonlin_type ('tanh' or 'lrelu') and GaussianPolicy with hidden,"
            f" out and obsnorm, got {type(error).__name__}: {error}; demonstrations belong to --expert_data"
        ) from error
    std = np.sqrt(np.maximum(0, variance)) + 1e-6
    n_observed = int(np.prod(env.observation_space.shape))
    if (len(mean), n_observed) == (111, 27) and name_of(env).startswith("Ant-"):
        note = f"note: {path} reads 111 numbers, and {name_of(env)} observes 27; zeros replace the contact forces"
        print(note, file=sys.stderr)
        layers[0] = _pad_with_zeros(*layers[0], mean, std, n_observed)
        mean, std = mean[:n_observed], std[:n_observed]
    return NumpyActor(layers, activation, "identity", mean.shape, obs_mean=mean, obs_std=std, dtype=np.float64)


def _numbers(owner: dict[str, Any], key: str) -> np.ndarray:
    numbers = owner[key]
    if not isinstance(numbers, (np.ndarray, np.generic)) or numbers.size == 0:
        raise ValueError(f"{key} is not an array, or it is empty")
    return np.asarray(numbers)


def _pad_with_zeros(w: np.ndarray, b: np.ndarray, mean: np.ndarray, std: np.ndarray, n: int):
    """Return the first layer for the first `n` numbers. The others are taken as zeros, which changes the bias."""
    if w.ndim != 2 or len(w) != len(mean):
        raise InputError(f"layer 0 has weights of shape {w.shape}, but obsnorm has {len(mean)} numbers")
    return w[:n], b + (-mean[n:] / std[n:]) @ w[n:]
