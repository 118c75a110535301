"""The values that an environment returns: what Gymnasium expects of them, and sentences about other values."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.errors import InputError

EXPECTED = (
    "Gymnasium expects reset(seed=...) to return (observation, info), and step(action) to return (observation,"
    " reward, terminated, truncated, info)"
)
EXPECTED_CONSTRUCTOR = (
    "Gymnasium expects a constructor to take render_mode and the arguments of --env_kwargs, and to set"
    " observation_space and action_space"
)
REWARDS = frozenset({float, np.float64, np.float32})  # the usual types, which need no further check
FLAGS = frozenset({bool, np.bool_})


def checked_observation(ob: Any, space: gym.spaces.Box) -> np.ndarray:
    """Return a copy of the observation as an array of its own dtype. Raise `InputError` if it does not fit.

    Floats of another precision fit. Numbers of another kind fit if the dtype of the space can hold their values.
    """
    array = _numbers(ob)
    fits = array is not None and array.shape == space.shape
    if fits and space.dtype.kind != "f" and array.dtype != space.dtype:
        with np.errstate(invalid="ignore"):
            fits = bool((array.astype(space.dtype) == array).all())
    if not fits:
        raise InputError(
            f"the observation is {described(ob)}, but its observation_space has the shape {space.shape} and the dtype"
            f" {space.dtype}"
        )
    return array


def checked_reward(reward: Any) -> float:
    """Return the reward, also one in an array of one number. Raise `InputError` if it is not a number."""
    array = _numbers(reward)
    if array is None or array.size != 1:
        raise InputError(f"the reward is {described(reward)}, but Gymnasium expects a number (float)")
    return float(array.item())


def _numbers(value: Any) -> np.ndarray | None:
    """Return a copy of the value as an array of numbers. Return None if it cannot become one."""
    try:
        array = np.array(value)
    except ValueError:  # its parts have different shapes
        return None
    return array if array.dtype.kind in "biuf" else None


def checked_flag(name: str, flag: Any) -> bool:
    """Return `terminated` or `truncated`. Raise `InputError` if it is neither a bool nor 0 or 1."""
    if not isinstance(flag, (bool, np.bool_, int, np.integer)) or flag not in (0, 1):
        raise InputError(f"{name} is {described(flag)}, but Gymnasium expects True or False (bool)")
    return bool(flag)


def check_info(info: Any) -> None:
    """Raise `InputError` if this is not a dictionary."""
    if not isinstance(info, dict):
        raise InputError(f"info is {described(info)}, but Gymnasium expects a dictionary")


def described(value: Any) -> str:
    """Return a value of any type in a few words on one line."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} and the shape {value.shape}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an integer of more than 4,300 digits
        text = object.__repr__(value)
    return text if value is None else f"{text[:60]} ({type(value).__name__})"
