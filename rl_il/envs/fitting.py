"""`fit_spaces`, which gives an environment observations that policies take, or refuses it."""

from __future__ import annotations

import functools
import multiprocessing
import sys

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation

from rl_il.envs.spaces import is_discrete, name_of
from rl_il.errors import InputError

UNBOUNDED = 2**31 - 1  # integers up to this bound or a larger one are not scaled by it


def fit_spaces(env: gym.Env) -> gym.Env:
    """Return the environment with observations that are arrays: itself, or wrapped in `FlattenObservation`.

    A note on stderr says so. Raise `InputError` for spaces that no policy of this package supports.
    """
    name = name_of(env)
    for what in ("observation_space", "action_space"):
        each = getattr(env, what, None)
        if not isinstance(each, gym.Space):
            raise InputError(f"{name}: {what} must be a space of gymnasium.spaces, got {type(each).__name__}")
    space = env.observation_space
    _check_actions(name, env.action_space)
    if isinstance(space, spaces.Box) and space.shape:
        return env
    if obstacle := _find_obstacle(space):
        part, kind = obstacle
        place = f", whose part {part} is" if part else ","
        raise InputError(
            f"{name} has observations {_line(space)}{place} a {kind} that no network here takes; leave it out with"
            " gymnasium.wrappers.FilterObservation, or convert it to numbers with TransformObservation, in a wrapper"
            " of your own: --wrappers my_module:MyWrapper"
        )
    env = FlattenObservation(env)
    if multiprocessing.parent_process() is None:  # once, and not in each worker process
        n = env.observation_space.shape[0]
        _say(f"{name}: observations {_line(space)} become {n} numbers (gymnasium.wrappers.FlattenObservation)")
    return env


def _check_actions(name: str, space: gym.Space) -> None:
    """Raise `InputError` for actions that no policy supports."""
    if is_discrete(space) or (isinstance(space, spaces.Box) and space.dtype.kind == "f"):
        return
    integers = "integers, which MultiDiscrete describes" if isinstance(space, spaces.Box) else "of several parts"
    raise InputError(
        f"{name} has actions {_line(space)}; expected Discrete, MultiDiscrete, MultiBinary, or a Box of floats. Its"
        f" actions are {integers}: convert them with gymnasium.wrappers.TransformAction, in a wrapper of your own:"
        " --wrappers my_module:MyWrapper"
    )


def _find_obstacle(space: gym.Space, place: str = "") -> tuple[str, str] | None:
    """Return the name and the kind of the first part of a space that cannot become an array, or None."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        inside = (_find_obstacle(part, f"{place}.{key}" if place else str(key)) for key, part in parts)
        return next(filter(None, inside), None)
    try:
        flat = space.is_np_flattenable and not isinstance(space, spaces.Text)
    except NotImplementedError:  # a space of another package, such as MiniGrid's missions
        flat = False
    return None if flat else (place, type(space).__name__)


@functools.cache
def _say(note: str) -> None:
    """Print a note on stderr, once in this process."""
    print(f"note: {note}", file=sys.stderr)


def _line(space: gym.Space) -> str:
    """Return the space's description on one line. (Long bounds contain line breaks.)"""
    return " ".join(str(space).split())


def largest_numbers(env: gym.Env) -> np.ndarray:
    """Return what each number of a flattened observation is divided by, `(numbers,)`: its bound if it is an integer.

    It is 1 for floats and for integers without a bound. The parts that `FlattenObservation` joined count as
    themselves: bytes among floats are scaled too.
    """
    return _largest(original_space(env))


def original_space(env: gym.Env) -> gym.Space:
    """Return the observation space before `FlattenObservation`, or the environment's own without that wrapper."""
    space, inner = env.observation_space, env
    while isinstance(inner, gym.Wrapper) and inner.observation_space is space:
        if isinstance(inner, FlattenObservation):
            return inner.env.observation_space
        inner = inner.env
    return space


def _largest(space: gym.Space) -> np.ndarray:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return np.concatenate([_largest(part) for part in parts])
    if not isinstance(space, spaces.Box) or space.dtype.kind not in "iu":
        return np.ones(spaces.flatdim(space))
    bounds = np.maximum(np.abs(space.low.astype(float)), np.abs(space.high.astype(float))).reshape(-1)
    return np.where((bounds > 0) & (bounds < UNBOUNDED), bounds, 1.0)


def flat_rows(obs: np.ndarray, env: gym.Env) -> np.ndarray:
    """Return recorded observations `(N, ...)` as the environment's: flattened if they were recorded before that."""
    original = original_space(env)
    if original is env.observation_space or obs.shape[1:] == env.observation_space.shape:
        return obs
    obs = obs[:, 0] if obs.shape[1:] == (1,) and original.shape == () else obs
    if original.shape is None or obs.shape[1:] != original.shape:
        return obs
    rows = obs if original.dtype.kind == "f" else obs.astype(original.dtype)
    if not (rows == obs).all() or not all(original.contains(row) for row in rows):
        raise InputError(
            f"observations are {obs.dtype} from {obs.min():g} to {obs.max():g}, but those of {name_of(env)} are"
            f" {_line(original)}"
        )
    return np.stack([spaces.flatten(original, row) for row in rows])
