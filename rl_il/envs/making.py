"""`make_env`, which makes an environment from its recipe."""

from __future__ import annotations

import ctypes.util
import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils import RecordConstructorArgs

from rl_il.envs.fitting import fit_spaces
from rl_il.envs.interface import EXPECTED_CONSTRUCTOR
from rl_il.envs.recipes import make_recipe
from rl_il.envs.spaces import name_of
from rl_il.envs.table import env_row
from rl_il.errors import RAISED, InputError, describe, own_frames


@functools.cache
def _has_egl() -> bool:
    """Return whether the EGL library exists. If MUJOCO_GL is egl, mujoco cannot be imported without it."""
    return ctypes.util.find_library("EGL") is not None


def make_env(recipe: str | EnvSpec, render: bool = False) -> gym.Env:
    """Return the environment of this name or recipe, with spaces that policies of this package support.

    With `render`, it can draw frames `(height, width, 3)` uint8, also without a display. `recipe_of` returns the
    recipe with which it can be made again. Raise `InputError` for an unknown name, a missing package, a constructor
    that fails, or spaces that no policy supports.
    """
    spec = make_recipe(recipe) if isinstance(recipe, str) else recipe
    if not os.environ.get("DISPLAY") and _has_egl():
        os.environ.setdefault("MUJOCO_GL", "egl")  # mujoco reads it when it is first imported
    kwargs: dict[str, Any] = {"render_mode": "rgb_array"} if render else {}
    if render and env_row(spec.id).camera:
        kwargs["camera_name"] = env_row(spec.id).camera
    env = prepare_env(_make(spec, kwargs))
    if render and hasattr(env.unwrapped, "model"):
        # Without shadows and multisampling, a frame of MuJoCo rendered on the CPU takes 39 ms instead of 202.
        env.unwrapped.model.vis.quality.shadowsize = 0
        env.unwrapped.model.vis.quality.offsamples = 0
    return env


def env_of(settings: Any) -> gym.Env:
    """Return the environment that a config, or another object with the fields in `config.ENV`, describes."""
    return make_env(make_recipe(settings.env_name, settings.env_kwargs, settings.wrappers))


def _make(spec: EnvSpec, kwargs: dict[str, Any]) -> gym.Env:
    """Return what Gymnasium makes of the recipe. If its own `spec` would not make it again, it keeps this one."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*out of date", DeprecationWarning)  # -v4 is supported on purpose
            _quieten(spec)
            env = gym.make(spec, disable_env_checker=True, **kwargs)
    except RAISED as error:
        if isinstance(error, (gym.error.Error, ImportError)) and not own_frames(error):
            raise InputError(f"{spec.id} cannot be made: {error}") from error
        raise InputError(f"{spec.id} cannot be made: {describe(error)}; {EXPECTED_CONSTRUCTOR}") from error
    own = [wrapper.kwargs is None for wrapper in env.spec.additional_wrappers]
    return KeepRecipe(env, spec) if any(own) else env


def _quieten(spec: EnvSpec) -> None:
    """Keep the libraries of an environment from printing what a user cannot change, and from writing log files.

    Without a display, SDL looks for Wayland and prints that XDG_RUNTIME_DIR is not set. MuJoCo prints that
    Gymnasium's HalfCheetah has an old attribute, and writes each warning to MUJOCO_LOG.TXT in the working folder.
    """
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws pictures without a window
    if isinstance(spec.entry_point, str):
        load_env_creator(spec.entry_point)  # this imports mujoco if the environment uses it
    mujoco = sys.modules.get("mujoco")
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_print_warning)


def _print_warning(message: str) -> None:
    """Print a warning of MuJoCo, such as one about an unstable simulation, but none about Gymnasium's HalfCheetah."""
    if "settotalmass" not in message:
        print(f"MuJoCo: {message}", file=sys.stderr)


def prepare_env(env: gym.Env) -> gym.Env:
    """Return the environment with spaces that policies support, and with episodes that depend only on their seeds.

    An error in its `close` will be a note, since it comes when all results are there. Raise `InputError` if no policy
    supports its spaces.
    """
    env = fit_spaces(env)
    for kind in (gym.wrappers.NormalizeObservation, gym.wrappers.NormalizeReward):
        if _has_wrapper(env, kind):
            raise InputError(
                f"{name_of(env)}: the wrapper {kind.__name__} keeps statistics of all earlier episodes, so a result"
                " would depend on the number of workers; give --normalize_obs, or a wrapper with fixed numbers"
            )
    if type(env.unwrapped).__module__ == "gymnasium.envs.box2d.bipedal_walker" and not _has_wrapper(env, FreshWorld):
        env = FreshWorld(env)
    if not isinstance(env.close, functools.partial):  # not prepared before
        env.close = functools.partial(_close, name_of(env), env.close)
    return env


def _close(name: str, close: Callable[[], None]) -> None:
    """Close the environment of this name. Print a note if that fails."""
    try:
        close()
    except RAISED as error:
        print(f"note: {name}: its close failed with {describe(error)}", file=sys.stderr)


def _has_wrapper(env: gym.Env, kind: type[gym.Wrapper]) -> bool:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, kind):
            return True
        env = env.env
    return False


class KeepRecipe(gym.Wrapper):
    """A wrapper that knows the recipe of its environment, for wrappers that do not record how they were made."""

    def __init__(self, env: gym.Env, recipe: EnvSpec):
        super().__init__(env)
        self._recipe = recipe

    @property
    def spec(self) -> EnvSpec:
        """Return the recipe."""
        return self._recipe


class FreshWorld(gym.Wrapper, RecordConstructorArgs):
    """A wrapper that gives BipedalWalker a new Box2D world in each episode. (LunarLander has this already.)

    In Gymnasium 1.4, BipedalWalker keeps the world, whose solver has a state. An episode would then also depend on
    the episodes before it, and so on the number of worker processes.
    """

    def __init__(self, env: gym.Env):
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Start an episode that depends only on the seed, and return (observation, info) as in Gymnasium."""
        import Box2D

        walker = self.unwrapped
        walker._destroy()
        walker.world = Box2D.b2World()
        return self.env.reset(seed=seed, options=options)
