"""A bird that flies through pipes with one or two gaps: experts may take either, and the mean of both is a crash."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

MAX_STEPS = 1000
PERIOD = 20  # steps from one pipe to the next
WIDTH = 3  # the last steps of a period, in which the bird is inside the pipe
GAP = 0.12  # half the height of a gap; heights are from 0 (the ground) to 1
SINGLE = (0.15, 0.85)  # the height of a single gap is drawn from this range
LOWER, UPPER = (0.15, 0.3), (0.7, 0.85)  # the heights of two gaps
STIFFNESS, DAMPING = 0.07, 0.3  # the acceleration towards the target height, and the share of the velocity lost
PIXELS = 96  # of a frame, in both directions
SKY, PIPE, BIRD = (135, 206, 235), (60, 150, 60), (230, 170, 0)


class Bird(gym.Env):
    """A bird that flies at constant speed, and chooses the height to which it is drawn.

    An observation, `(4,)` float32 from 0 to 1, has the distance to the end of the next pipe in periods, the heights
    of its lower and its upper gap (equal if it has only one), and the height of the bird. The velocity is hidden. An
    action, `(1,)` float32 from 0 to 1, is the target height. The reward is 1 for each step that the bird survives.
    The episode ends when it hits a pipe. If `hard`, every other pipe has two gaps, from the second on.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, hard: bool = False, render_mode: str | None = None):
        self.hard, self.render_mode = hard, render_mode
        self.observation_space = gym.spaces.Box(0, 1, (4,), np.float32)
        self.action_space = gym.spaces.Box(0, 1, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the first observation: the bird is in the middle, at rest, a period before the first pipe."""
        super().reset(seed=seed)
        self.height, self.velocity, self.pipes = 0.5, 0.0, 0
        self._next_pipe()
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move the bird by one step; return (observation, reward, terminated, truncated, info) as in Gymnasium."""
        target = min(max(float(action[0]), 0.0), 1.0)
        self.velocity += STIFFNESS * (target - self.height) - DAMPING * self.velocity
        self.height = min(max(self.height + self.velocity, 0.0), 1.0)
        self.steps_left -= 1
        hit = self.steps_left < WIDTH and min(abs(self.height - gap) for gap in self.gaps) > GAP
        if self.steps_left == 0 and not hit:
            self._next_pipe()
        return self._observe(), float(not hit), hit, False, {}

    def _next_pipe(self) -> None:
        two = self.hard and self.pipes % 2 == 1
        ranges = (LOWER, UPPER) if two else (SINGLE,)
        heights = [float(self.np_random.uniform(*each)) for each in ranges]
        self.gaps, self.steps_left = (heights[0], heights[-1]), PERIOD
        self.pipes += 1

    def _observe(self) -> np.ndarray:
        return np.array([self.steps_left / PERIOD, *self.gaps, self.height], np.float32)

    def render(self) -> np.ndarray:
        """Return a picture `(96, 96, 3)` uint8 of the bird and the next pipe."""
        frame = np.full((PIXELS, PIXELS, 3), SKY, np.uint8)
        heights = 1 - (np.arange(PIXELS) + 0.5) / PIXELS
        wall = np.min([abs(heights - gap) for gap in self.gaps], axis=0) > GAP
        at, scale = PIXELS // 6, (PIXELS - PIXELS // 6) / PERIOD  # the bird's column, and the columns of a step
        left, right = (at + max(0, round(scale * steps)) for steps in (self.steps_left - WIDTH, self.steps_left))
        frame[wall, left:right] = PIPE
        row = round((1 - self.height) * (PIXELS - 1))
        frame[max(0, row - 2) : row + 3, at - 2 : at + 3] = BIRD
        return frame


gym.register("Bird-v0", Bird, max_episode_steps=MAX_STEPS)
gym.register("BirdHard-v0", Bird, max_episode_steps=MAX_STEPS, kwargs={"hard": True})
