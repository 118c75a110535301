"""Making an environment from its name."""

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
    """Return whether mujoco can draw with EGL: told to do so without the library, it could not be imported at all."""
    return ctypes.util.find_library("EGL") is not None


def make_env(env_name: str, render: bool = False) -> gym.Env:
    """Return the environment; with `render`, one that draws `(height, width, 3)` uint8 frames without a display.

    Raise `InputError` for an unknown name, a missing package, or spaces that no policy here fits.
    """
    spec = env_spec(env_name)
    if not os.environ.get("DISPLAY") and _has_egl():
        os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is first imported
    kwargs: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
    if render and spec.camera:
        kwargs["camera_name"] = spec.camera
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*out of date", DeprecationWarning)  # -v4 is served on purpose
            env = gym.make(env_name, disable_env_checker=True, **kwargs)
    except (gym.error.Error, ImportError) as error:
        raise InputError(f"{env_name} cannot be made: {error}") from error
    _check_spaces(env_name, env)
    if type(env.unwrapped).__module__ == "gymnasium.envs.box2d.bipedal_walker":
        env = FreshWorld(env)
    if render and hasattr(env.unwrapped, "model"):
        # MuJoCo in software: without shadows and multisampling a frame takes 39 ms instead of 202.
        env.unwrapped.model.vis.quality.shadowsize = 0
        env.unwrapped.model.vis.quality.offsamples = 0
    return env


class FreshWorld(gym.Wrapper):
    """A wrapper that gives BipedalWalker a new Box2D world for each episode, as LunarLander has it.

    Gymnasium 1.4 keeps one, whose solver has a state: an episode then depends on its seed and on the episodes before
    it, and so on how they are shared among processes.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode that follows from the seed alone."""
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
            f"{env_name} observes {_line(observation_space)} and acts in {_line(action_space)}; needed are a Box of"
            " observations and Discrete (from 0) or one-dimensional Box actions"
        )


def _line(space: gym.Space) -> str:
    """Return the space's description without the line breaks that long bounds bring."""
    return " ".join(str(space).split())
