"""The table of environments, with the expert, the demonstrations and the settings included for each.

To add an environment, add a row to `ENVS`. Any other registered Gymnasium environment with a `Box` observation and
a `Discrete` or one-dimensional `Box` action works too, with the user's own expert and demonstrations.
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
    """Return whether CarRacing's lap was completed. If the car leaves the field, the last reward is -100."""
    return trajectory.terminated and trajectory.rewards[-1] > -50


@dataclass(frozen=True)
class EnvSpec:
    """A row of `ENVS`: the files and settings included for one environment."""

    expert: str | None = None  # a file in experts/, or the name of a scripted expert
    demos: str | None = None  # a file in data/demos/
    camera: str | None = None  # a MuJoCo camera that follows the body; None: the default camera
    picture_rows: int | None = None  # upper rows of an observed picture, above the dials; None: all rows
    success: Callable[[Trajectory], bool] | None = None  # whether an episode reached the goal
    keys: KeyMap | None = None  # the keys for a person who acts
    expert_steps: int | None = None  # mean length of the expert's episodes; None: the time limit

    @property
    def expert_path(self) -> str | None:
        """Return the file or name of the included expert, for `load_actor`, or None if there is none."""
        is_file = self.expert is not None and self.expert.endswith(".npz")
        return str(REPOSITORY / "experts" / self.expert) if is_file else self.expert

    @property
    def demos_path(self) -> Path | None:
        """Return the file of the included demonstrations, or None if there is none."""
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
    """Return the environment's row, or an empty row for a registered environment that has none.

    Raise `InputError` for an environment that Gymnasium does not know. The message lists the most similar names.
    """
    for name in (env_name, env_name.rpartition(":")[2]):  # the row may have the name with or without the package
        if name in ENVS:
            return ENVS[name]
    if _is_registered(env_name):
        return EnvSpec()
    near = difflib.get_close_matches(env_name, sorted({*ENVS, *gym.registry}), n=3, cutoff=0.5)
    hint = f"similar names: {', '.join(near)}" if near else f"the environments of this package: {', '.join(ENVS)}"
    raise InputError(f"unknown environment {env_name!r}; {hint}")


def _is_registered(env_name: str) -> bool:
    """Return whether Gymnasium knows the name. If it has the form package:Env-v0, import the package first."""
    module, _, name = env_name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
    except (ImportError, TypeError) as error:
        raise InputError(f"{env_name}: the package {module} cannot be imported ({error})") from error
    return name in gym.registry
