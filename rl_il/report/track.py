"""Pictures of the paths of cars on a track of CarRacing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.infrastructure.rollouts import episode_steps
from rl_il.report.figures import COLOURS, new_figure, save
from rl_il.types import Actor, Trajectory

HALF_WIDTH = 40 / 6  # of the road in Gymnasium, in metres


@dataclass(frozen=True)
class Drive:
    """An episode of CarRacing with the car's path. Lengths are in metres."""

    trajectory: Trajectory
    path: np.ndarray  # (T, 2) the car's position before each step
    centre: np.ndarray  # (N, 2) the centre line of the road

    @property
    def off_road(self) -> np.ndarray:
        """Return `(T,)` bool: whether the car's centre is off the road before each step."""
        nearest = np.linalg.norm(self.path[:, None] - self.centre, axis=2).min(axis=1)
        return nearest > HALF_WIDTH


def drive(env: gym.Env, actor: Actor, seed: int, max_path_length: int | None = None) -> Drive:
    """Roll out one episode, and return it with the car's path."""
    path: list[tuple[float, float]] = []
    for rollout in episode_steps(env, actor, seed, max_path_length):
        if not rollout.ended:
            path.append(tuple(env.unwrapped.car.hull.position))
    centre = np.array([point[2:4] for point in env.unwrapped.track])
    return Drive(rollout.trajectory(), np.array(path), centre)


def draw_drives(path: Path, names: Sequence[str], drives: Sequence[Drive]) -> None:
    """Draw each path on the track, side by side. A cross marks the place where the car first leaves the road."""
    with new_figure(len(drives), (4.6 * len(drives), 4.8)) as (figure, axes):
        for axis, name, each in zip(axes, names, drives, strict=True):
            centre = np.concatenate((each.centre, each.centre[:1]))
            axis.fill(*outline(centre, HALF_WIDTH), color="#d9d9d9", linewidth=0)
            axis.fill(*outline(centre, -HALF_WIDTH), color="white", linewidth=0)
            axis.plot(*each.path.T, color=COLOURS[0], linewidth=1.5)
            axis.plot(*each.path[0], marker="o", color="black", markersize=6, linestyle="", label="start")
            if each.off_road.any():
                first = int(np.argmax(each.off_road))
                label = f"leaves the road (step {first})"
                axis.plot(*each.path[first], marker="X", color=COLOURS[1], markersize=10, linestyle="", label=label)
            share = 100 * each.off_road.mean()
            title = f"{name}: return {each.trajectory.episode_return:.0f}, {share:.0f} % of its steps off the road"
            axis.set_title(title, fontsize=10)
            axis.set_aspect("equal")
            axis.set_xlabel("metres")
            axis.legend(fontsize=9, loc="best", framealpha=0.6)
            axis.set_axisbelow(True)
        save(figure, path)


def outline(centre: np.ndarray, offset: float) -> np.ndarray:
    """Return the line `(2, N)` that is `offset` metres to the right of the closed line `centre`, `(N, 2)`."""
    along = np.gradient(centre, axis=0)
    along[0] = along[-1] = along[0] + along[-1]
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return (centre + offset * np.stack((along[:, 1], -along[:, 0]), axis=1)).T
