"""The environments: a table of what ships for each.

A new environment is a row of `ENVS`. Any other registered Gymnasium environment with a `Box` observation and
a `Discrete` or one-dimensional `Box` action works too, with an expert and demonstrations of the user's own.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym

from rl_il.envs.keys import CAR_RACING, LUNAR_LANDER, LUNAR_LANDER_CONTINUOUS, MOUNTAIN_CAR, KeyMap
from rl_il.errors import InputError
from rl_il.files import REPOSITORY
from rl_il.types import Trajectory


def lap_finished(trajectory: Trajectory) -> bool:
    """Return whether CarRacing's lap was driven to its end. Leaving the field ends an episode too, for -100."""
    return trajectory.terminated and trajectory.rewards[-1] > -50


@dataclass(frozen=True)
class EnvSpec:
    """What ships for one environment."""

    expert: str | None = None  # a file in experts/, or the name of a scripted expert
    demos: str | None = None  # a file in data/demos/
    camera: str | None = None  # MuJoCo's camera that follows the body; its default one stands still
    picture_rows: int | None = None  # of an observed picture, from the top, that show the world; dials are below
    success: Callable[[Trajectory], bool] | None = None  # whether an episode reached the task's goal
    keys: KeyMap | None = None  # what a person's keys do
    expert_steps: int | None = None  # of the expert's episode, on average; None: it lasts as long as it may

    @property
    def expert_path(self) -> str | None:
        """Return the expert as `load_actor` takes it."""
        is_file = self.expert is not None and self.expert.endswith(".npz")
        return str(REPOSITORY / "experts" / self.expert) if is_file else self.expert

    @property
    def demos_path(self) -> Path | None:
        """Return the file of the shipped demonstrations."""
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
    """Return the environment's row; an empty one for a registered environment without a row.

    Raise `InputError` with the nearest names for one that Gymnasium does not know.
    """
    if env_name in ENVS:
        return ENVS[env_name]
    if _is_registered(env_name):
        return EnvSpec()
    near = difflib.get_close_matches(env_name, sorted({*ENVS, *gym.registry}), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(ENVS)}"
    raise InputError(f"unknown environment {env_name!r}; {hint}")


def _is_registered(env_name: str) -> bool:
    """Return whether Gymnasium knows the name, once the package before a colon (package:Env-v0) is imported."""
    module, _, name = env_name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
    except (ImportError, TypeError) as error:
        raise InputError(f"{env_name}: the package {module} cannot be imported ({error})") from error
    return name in gym.registry
