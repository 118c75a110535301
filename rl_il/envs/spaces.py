"""Properties of an environment: its name, spaces, time limit and keys."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from rl_il.envs.keys import KeyMap, digit_keys
from rl_il.envs.table import ENVS, EnvSpec
from rl_il.errors import InputError


def name_of(env: gym.Env) -> str:
    """Return the environment's name, or the name of its class if it was not made from a name."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def is_picture(observation_space: gym.Space) -> bool:
    """Return whether observations are pictures `(height, width, channels)` of bytes."""
    return observation_space.dtype == np.uint8 and len(observation_space.shape) == 3


def is_discrete(action_space: gym.Space) -> bool:
    """Return whether actions are integers `0 .. n - 1`."""
    return isinstance(action_space, gym.spaces.Discrete)


def key_map(env: gym.Env) -> KeyMap | None:
    """Return the keys in the environment's row, or else digits and letters for integer actions, or else None."""
    spec = ENVS.get(name_of(env), EnvSpec())
    if spec.keys is None and is_discrete(env.action_space):
        return digit_keys(int(env.action_space.n))
    return spec.keys


def episode_limit(env: gym.Env, ep_len: int | None = None) -> int | None:
    """Return the maximum number of steps of an episode: the smaller of `ep_len` and the limit of `env`, or None."""
    own = env.spec.max_episode_steps if env.spec else None
    return min(filter(None, (ep_len, own)), default=None)


def check_actions(acs: np.ndarray, env_name: str, action_space: gym.Space) -> np.ndarray:
    """Return the labels in the form of the action space: `(N,)` int64 in `[0, n)`, or `(N, ac_dim)` float32.

    Discrete actions may come as `(N,)`, `(N, 1)`, whole floats, or one-hot `(N, n)`.
    Continuous labels are not clipped. Raise `InputError` if the labels do not fit the action space.
    """
    if is_discrete(action_space):
        acs = acs[:, 0] if acs.ndim == 2 and acs.shape[1] == 1 else acs
        n = int(action_space.n)
        if acs.ndim == 2 and acs.shape[1] == n and np.isin(acs, (0, 1)).all() and (acs.sum(axis=1) == 1).all():
            acs = acs.argmax(axis=1)  # one-hot
        if acs.ndim != 1 or (acs != np.floor(acs)).any() or (acs < 0).any() or (acs >= n).any():
            values = f" in [{acs.min():g}, {acs.max():g}]" if acs.size else ""
            raise InputError(
                f"actions must be integers in [0, {n}) for {env_name}, got {acs.dtype} of shape"
                f" {acs.shape}{values}{_other_variant(env_name)}"
            )
        return acs.astype(np.int64)
    if acs.ndim != 2 or acs.shape[1:] != action_space.shape:
        raise InputError(
            f"actions must have the shape (N, {action_space.shape[0]}) for {env_name}, got"
            f" {acs.dtype} of shape {acs.shape}{_other_variant(env_name)}"
        )
    return acs.astype(np.float32)


def _other_variant(env_name: str) -> str:
    """Return a hint if the actions may come from the other LunarLander (discrete or continuous)."""
    if env_name == "LunarLander-v3":
        return "; maybe the file was recorded on LunarLanderContinuous-v3"
    return "; maybe the file was recorded on LunarLander-v3" if env_name == "LunarLanderContinuous-v3" else ""
