"""The table of environments, with the expert, the demonstrations and the settings included for each.

To include an environment, add a row to `ENVS`. Any other environment works without a row, with the user's own expert
and demonstrations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rl_il.envs.keys import CAR_RACING, LUNAR_LANDER, LUNAR_LANDER_CONTINUOUS, MOUNTAIN_CAR, KeyMap
from rl_il.files import shipped
from rl_il.types import RETURN, SCORE, Measure, Trajectory


def lap_finished(trajectory: Trajectory) -> bool:
    """Return whether CarRacing's lap was completed. If the car leaves the field, the last reward is -100."""
    return trajectory.terminated and trajectory.rewards[-1] > -50


def task_done(trajectory: Trajectory) -> bool:
    """Return whether the task ended the episode, in environments that only success ends."""
    return trajectory.terminated


def largest_reward(trajectory: Trajectory) -> float:
    """Return the largest reward of the episode: on Push-T, the covered share of the goal / 0.95, at most 1."""
    return float(trajectory.rewards.max())


def episode_return(trajectory: Trajectory) -> float:
    """Return the sum of the rewards."""
    return trajectory.episode_return


@dataclass(frozen=True)
class EnvRow:
    """A row of `ENVS`: the files and settings included for one environment."""

    expert: str | None = None  # a file in experts/, or the name of a scripted expert
    demos: str | None = None  # a file in data/demos/
    camera: str | None = None  # a MuJoCo camera that follows the body; None: the default camera
    picture_rows: int | None = None  # upper rows of an observed picture, above the dials; None: all rows
    score: Callable[[Trajectory], float] = episode_return  # what an episode is judged by
    success: Callable[[Trajectory], bool] | None = None  # whether an episode reached the goal
    keys: KeyMap | None = None  # the keys for a person who acts
    expert_steps: int | None = None  # mean length of the expert's episodes; None: the time limit
    package: tuple[str, str] | None = None  # the module of another package that registers it, and how to install it

    @property
    def expert_path(self) -> str | None:
        """Return the file or name of the included expert, for `load_actor`, or None if there is none."""
        is_file = self.expert is not None and self.expert.endswith(".npz")
        return str(shipped("experts", self.expert)) if is_file else self.expert

    @property
    def measure(self) -> Measure:
        """Return how tables name and write what `score` returns."""
        return RETURN if self.score is episode_return else SCORE

    @property
    def demos_path(self) -> Path | None:
        """Return the file of the included demonstrations, or None if there is none."""
        return None if self.demos is None else shipped("data", "demos", self.demos)


ENVS: dict[str, EnvRow] = {
    "LunarLander-v3": EnvRow("LunarLander-v3.npz", "LunarLander-v3.npz", keys=LUNAR_LANDER, expert_steps=184),
    "LunarLanderContinuous-v3": EnvRow(
        "LunarLanderContinuous-v3.npz",
        "LunarLanderContinuous-v3.npz",
        keys=LUNAR_LANDER_CONTINUOUS,
        expert_steps=182,
    ),
    "MountainCar-v0": EnvRow("velocity_rule", "MountainCar-v0.npz", keys=MOUNTAIN_CAR, expert_steps=120),
    "BipedalWalker-v3": EnvRow("BipedalWalker-v3.npz", "BipedalWalker-v3.npz", expert_steps=929),
    "CarRacing-v3": EnvRow(
        "car_driver", "CarRacing-v3.npz", picture_rows=84, success=lap_finished, keys=CAR_RACING, expert_steps=771
    ),
    "HalfCheetah-v5": EnvRow("HalfCheetah-v5.npz", "HalfCheetah-v5.npz", camera="track"),
    "HalfCheetah-v4": EnvRow("HalfCheetah-v5.npz", "HalfCheetah-v5.npz", camera="track"),
    "Hopper-v5": EnvRow("Hopper-v5.npz", "Hopper-v5.npz", camera="track"),
    "Hopper-v4": EnvRow("Hopper-v5.npz", "Hopper-v5.npz", camera="track"),
    "Walker2d-v5": EnvRow("Walker2d-v5.npz", "Walker2d-v5.npz", camera="track"),
    "Walker2d-v4": EnvRow("Walker2d-v5.npz", "Walker2d-v5.npz", camera="track"),
    "Ant-v5": EnvRow("Ant-v5.npz", "Ant-v5.npz", camera="track"),
    "Ant-v4": EnvRow("Ant-v5.npz", "Ant-v5.npz", camera="track"),
    "Humanoid-v5": EnvRow("Humanoid-v5.npz", "Humanoid-v5.npz", camera="track"),
    "Humanoid-v4": EnvRow("Humanoid-v5.npz", "Humanoid-v5.npz", camera="track"),
    "Bird-v0": EnvRow("bird_pilot"),
    "BirdHard-v0": EnvRow("bird_pilot"),
    "gym_pusht/PushT-v0": EnvRow(score=largest_reward, success=task_done, package=("gym_pusht", "make pusht-env")),
}


def env_row(env_name: str) -> EnvRow:
    """Return the environment's row, which may have the name without its module, or an empty row if it has none."""
    return ENVS.get(env_name) or ENVS.get(env_name.rpartition(":")[2]) or EnvRow()
