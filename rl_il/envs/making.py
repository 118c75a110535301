"""`make_env`, which makes an environment from its name."""

from __future__ import annotations

import ctypes.util
import functools
import os
import warnings
from typing import Any

import gymnasium as gym

from rl_il.envs.table import env_spec
from rl_il.errors import InputError


@functools.cache
def _has_egl() -> bool:
    """Return whether the EGL library exists. If MUJOCO_GL is egl, mujoco cannot be imported without it."""
    return ctypes.util.find_library("EGL") is not None


def make_env(env_name: str, render: bool = False) -> gym.Env:
    """Return the environment. With `render`, it can draw frames `(height, width, 3)` uint8, also without a display.

    Raise `InputError` for an unknown name, a missing package, or spaces that no policy of this package supports.
    """
    spec = env_spec(env_name)
    if not os.environ.get("DISPLAY") and _has_egl():
        os.environ.setdefault("MUJOCO_GL", "egl")  # mujoco reads it when it is first imported
    kwargs: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
    if render and spec.camera:
        kwargs["camera_name"] = spec.camera
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*out of date", DeprecationWarning)  # -v4 is supported on purpose
            env = gym.make(env_name, disable_env_checker=True, **kwargs)
    except (gym.error.Error, ImportError) as error:
        raise InputError(f"{env_name} cannot be made: {error}") from error
    _check_spaces(env_name, env)
    if type(env.unwrapped).__module__ == "gymnasium.envs.box2d.bipedal_walker":
        env = FreshWorld(env)
    if render and hasattr(env.unwrapped, "model"):
        # Without shadows and multisampling, a frame of MuJoCo rendered on the CPU takes 39 ms instead of 202.
        env.unwrapped.model.vis.quality.shadowsize = 0
        env.unwrapped.model.vis.quality.offsamples = 0
    return env


class FreshWorld(gym.Wrapper):
    """A wrapper that gives BipedalWalker a new Box2D world in each episode. (LunarLander has this already.)

    In Gymnasium 1.4, BipedalWalker keeps the world, whose solver has a state. An episode would then also depend on
    the episodes before it, and so on the number of worker processes.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode that depends only on the seed, and return (observation, info) as in Gymnasium."""
        import Box2D

        walker = self.unwrapped
        walker._destroy()
        walker.world = Box2D.b2World()
        return self.env.reset(seed=seed, options=options)


def _check_spaces(env_name: str, env: gym.Env) -> None:
    observation_space, action_space = env.observation_space, env.action_space
    discrete = isinstance(action_space, gym.spaces.Discrete) and action_space.start == 0
    continuous = isinstance(action_space, gym.spaces.Box) and len(action_space.shape) == 1
    if not isinstance(observation_space, gym.spaces.Box) or not (discrete or continuous):
        raise InputError(
            f"{env_name} has observations {_line(observation_space)} and actions {_line(action_space)}; expected"
            " Box observations, and actions that are Discrete (from 0) or a one-dimensional Box"
        )


def _line(space: gym.Space) -> str:
    """Return the space's description on one line. (Long bounds contain line breaks.)"""
    return " ".join(str(space).split())
