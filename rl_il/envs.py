"""The environments: a table of what ships for each, and `make_env`.

A new environment is a row of `ENVS`. Any other registered Gymnasium environment with a `Box` observation and
a `Discrete` or one-dimensional `Box` action works too, with an expert and demonstrations of the user's own.
"""

from __future__ import annotations

import ctypes.util
import difflib
import functools
import importlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.errors import InputError
from rl_il.files import REPOSITORY
from rl_il.keys import CAR_RACING, LUNAR_LANDER, LUNAR_LANDER_CONTINUOUS, MOUNTAIN_CAR, KeyMap, digit_keys
from rl_il.types import Trajectory


def lap_finished(trajectory: Trajectory) -> bool:
    """CarRacing: the lap was driven to its end. Leaving the field ends an episode too, for -100."""
    return trajectory.terminated and trajectory.rewards[-1] > -50


@dataclass(frozen=True)
class EnvSpec:
    """What ships for one environment."""

    expert: str | None = None  # a file of experts/, or the name of a scripted expert
    demos: str | None = None  # a file of data/demos/
    camera: str | None = None  # MuJoCo's camera that follows the body; its default one stands still
    picture_rows: int | None = None  # of an observed picture, from the top, that show the world; then come dials
    success: Callable[[Trajectory], bool] | None = None  # whether an episode reached the task's goal
    keys: KeyMap | None = None  # what a person's keys do
    expert_steps: int | None = None  # of the expert's episode, on average; None: it lasts as long as it may

    @property
    def expert_path(self) -> str | None:
        """The expert as `load_actor` takes it."""
        is_file = self.expert is not None and self.expert.endswith(".npz")
        return str(REPOSITORY / "experts" / self.expert) if is_file else self.expert

    @property
    def demos_path(self) -> Path | None:
        """The shipped demonstrations."""
        return None if self.demos is None else REPOSITORY / "data" / "demos" / self.demos


ENVS: dict[str, EnvSpec] = {
    "LunarLander-v3": EnvSpec("LunarLander-v3.npz", "LunarLander-v3.npz", keys=LUNAR_LANDER, expert_steps=184),
    "LunarLanderContinuous-v3": EnvSpec(
        "LunarLanderContinuous-v3.npz",
        "LunarLanderContinuous-v3.npz",
        keys=LUNAR_LANDER_CONTINUOUS,
        expert_steps=182,
    ),
    "MountainCar-v0": EnvSpec("velocity_rule", "MountainCar-v0.npz", keys=MOUNTAIN_CAR, expert_steps=120),
    "BipedalWalker-v3": EnvSpec("BipedalWalker-v3.npz", "BipedalWalker-v3.npz", expert_steps=929),
    "CarRacing-v3": EnvSpec(
        "car_driver", "CarRacing-v3.npz", picture_rows=84, success=lap_finished, keys=CAR_RACING, expert_steps=771
    ),
    "HalfCheetah-v5": EnvSpec("HalfCheetah-v5.npz", "HalfCheetah-v5.npz", camera="track"),
    "HalfCheetah-v4": EnvSpec("HalfCheetah-v5.npz", "HalfCheetah-v5.npz", camera="track"),
    "Hopper-v5": EnvSpec("Hopper-v5.npz", "Hopper-v5.npz", camera="track"),
    "Hopper-v4": EnvSpec("Hopper-v5.npz", "Hopper-v5.npz", camera="track"),
    "Walker2d-v5": EnvSpec("Walker2d-v5.npz", "Walker2d-v5.npz", camera="track"),
    "Walker2d-v4": EnvSpec("Walker2d-v5.npz", "Walker2d-v5.npz", camera="track"),
    "Ant-v5": EnvSpec("Ant-v5.npz", "Ant-v5.npz", camera="track"),
    "Ant-v4": EnvSpec("Ant-v5.npz", "Ant-v4.npz", camera="track"),
    "Humanoid-v5": EnvSpec("Humanoid-v5.npz", "Humanoid-v5.npz", camera="track"),
    "Humanoid-v4": EnvSpec("Humanoid-v5.npz", "Humanoid-v4.npz", camera="track"),
}


def env_spec(env_name: str) -> EnvSpec:
    """The environment's row; an empty one for a registered environment without a row.

    Raises `InputError` with the nearest names for one that Gymnasium does not know.
    """
    if env_name in ENVS:
        return ENVS[env_name]
    if _is_registered(env_name):
        return EnvSpec()
    near = difflib.get_close_matches(env_name, sorted({*ENVS, *gym.registry}), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(ENVS)}"
    raise InputError(f"unknown environment {env_name!r}; {hint}")


def _is_registered(env_name: str) -> bool:
    """Whether Gymnasium knows the name, once what stands before a colon (package:Env-v0) is imported."""
    module, _, name = env_name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
    except (ImportError, TypeError) as error:
        raise InputError(f"{env_name}: the package {module} cannot be imported ({error})") from error
    return name in gym.registry


@functools.cache
def _has_egl() -> bool:
    """Whether mujoco can be told to draw by EGL: without the library it could then not even be imported."""
    return ctypes.util.find_library("EGL") is not None


def make_env(env_name: str, render: bool = False) -> gym.Env:
    """Makes the environment; with `render`, one that draws `(height, width, 3)` uint8 frames without a display.

    Raises `InputError` for an unknown name, a missing package, or spaces that no policy here fits.
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
    """Gives BipedalWalker a new Box2D world for each episode, as LunarLander has it.

    Gymnasium 1.4 keeps one, whose solver remembers: the same seed's episode then depends on the episodes before
    it, and so on how they are shared among processes.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Starts an episode that follows from the seed alone."""
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
    """The space's description without the line breaks that long bounds bring."""
    return " ".join(str(space).split())


def name_of(env: gym.Env) -> str:
    """The name that the environment was made by, or its class if it was made without one."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def is_picture(observation_space: gym.Space) -> bool:
    """Whether observations are pictures `(height, width, channels)` of bytes."""
    return observation_space.dtype == np.uint8 and len(observation_space.shape) == 3


def is_discrete(action_space: gym.Space) -> bool:
    """Whether actions are integers `0 .. n - 1`."""
    return isinstance(action_space, gym.spaces.Discrete)


def key_map(env: gym.Env) -> KeyMap | None:
    """The keys for the environment: its row's, or digits for integer actions; None where nobody could act by keys."""
    spec = ENVS.get(name_of(env), EnvSpec())
    if spec.keys is None and is_discrete(env.action_space):
        return digit_keys(int(env.action_space.n))
    return spec.keys


def episode_limit(env: gym.Env, ep_len: int | None = None) -> int | None:
    """Longest episode in steps: `ep_len`, or the environment's own limit; None where there is neither."""
    own = env.spec.max_episode_steps if env.spec else None
    return min(filter(None, (ep_len, own)), default=None)


def check_actions(acs: np.ndarray, env_name: str, action_space: gym.Space) -> np.ndarray:
    """Labels in the action space's own dtype: int64 in `[0, n)`, or float32 of any size (never clipped).

    Raises `InputError` for any other.
    """
    if is_discrete(action_space):
        acs = acs[:, 0] if acs.ndim == 2 and acs.shape[1] == 1 else acs
        n = int(action_space.n)
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
    """A hint for the likeliest mistake: the discrete and the continuous lander taken for each other."""
    if env_name == "LunarLander-v3":
        return "; was it recorded on LunarLanderContinuous-v3?"
    return "; was it recorded on LunarLander-v3?" if env_name == "LunarLanderContinuous-v3" else ""
