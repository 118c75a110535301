"""Environments and actors whose results can be computed by hand. Worker processes import them, without torch."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np

from rl_il.seeding import episode_seeds
from rl_il.types import Actor, Trajectory

OB_SHAPE = (2,)


def corridor_length(seed: int) -> int:
    """Return the number of steps of the `Corridor` episode with this seed."""
    return 3 + seed % 4


def first_seeds(seed: int, n: int) -> list[int]:
    """Return the seeds of the first n episodes for which a generator with this seed is used."""
    return list(itertools.islice(episode_seeds(np.random.default_rng(seed)), n))


class Corridor(gym.Env):
    """A walk of `corridor_length(seed)` steps. The observation is [steps so far, length]; the reward is the action.

    A discrete action is 0, 1 or 2. A continuous one has two numbers, with bounds 1 and 2; the reward is the first.
    With `endless` the episode never terminates. A frame has 20 x 30 pixels with ten times the number of steps so far.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, continuous: bool = False, endless: bool = False, render_mode: str | None = None):
        self.continuous, self.endless, self.render_mode = continuous, endless, render_mode
        self.observation_space = gym.spaces.Box(0, np.inf, OB_SHAPE, np.float32)
        bound = np.array([1, 2], np.float32)
        self.action_space = gym.spaces.Box(-bound, bound) if continuous else gym.spaces.Discrete(3)
        self.seeds: list[int] = []
        self.executed: list[np.ndarray | int] = []

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self.seeds.append(seed)
        self.steps, self.length = 0, corridor_length(seed)
        return self._observe(), {}

    def step(self, action):
        self.executed.append(action)
        self.steps += 1
        reward = float(action[0] if self.continuous else action)
        return self._observe(), reward, not self.endless and self.steps == self.length, False, {}

    def render(self):
        return np.full((20, 30, 3), 10 * self.steps, np.uint8)

    def _observe(self):
        return np.array([self.steps, self.length], np.float32)


class BlindCorridor(Corridor):
    """A corridor on a machine that cannot render."""

    def render(self):
        raise OSError("no display")


class FacelessCorridor(Corridor):
    """A corridor without rendering."""

    def __init__(self):
        super().__init__()


class PixelCorridor(Corridor):
    """A corridor whose observations are 2 x 2 pixels with ten times the number of steps so far."""

    def __init__(self, render_mode: str | None = None):
        super().__init__(render_mode=render_mode)
        self.observation_space = gym.spaces.Box(0, 255, (2, 2), np.uint8)

    def _observe(self):
        return np.full((2, 2), 10 * self.steps, np.uint8)


gym.register("Corridor-v0", Corridor, max_episode_steps=50)
gym.register("CorridorContinuous-v0", Corridor, max_episode_steps=50, kwargs={"continuous": True})
gym.register("TimedCorridor-v0", Corridor, max_episode_steps=5, kwargs={"endless": True})
gym.register("EndlessCorridor-v0", Corridor, kwargs={"endless": True})
gym.register("BlindCorridor-v0", BlindCorridor, max_episode_steps=50)
gym.register("FacelessCorridor-v0", FacelessCorridor, max_episode_steps=50)
gym.register("PixelCorridor-v0", PixelCorridor, max_episode_steps=50)


def walk(length: int, action: int = 1, **fields) -> Trajectory:
    """Return a trajectory of `length` steps through the corridor with one action; its return is their product."""
    obs = np.array([[t, length] for t in range(length + 1)], np.float32)
    defaults = {"acs": np.full(length, action), "rewards": np.full(length, float(action)), "terminated": True}
    return Trajectory(obs, **defaults | fields)


class ConstantActor(Actor):
    """An actor that always takes the same action, and keeps the seeds of its resets."""

    def __init__(self, action, ob_shape: tuple[int, ...] = OB_SHAPE):
        self.action, self.ob_shape = np.asarray(action), ob_shape
        self.seeds: list[int] = []

    def reset(self, seed: int = 0) -> None:
        self.seeds.append(seed)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        return self.action if obs.shape == self.ob_shape else np.stack([self.action] * len(obs))


class FailingActor(ConstantActor):
    """An actor that fails after `patience` actions."""

    def __init__(self, patience: int):
        super().__init__(0)
        self.patience = patience

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        self.patience -= 1
        if self.patience < 0:
            raise RuntimeError("out of patience")
        return super().get_action(obs)


class StepModuloThree(Actor):
    """An expert for the corridor, whose action is the number of steps so far, modulo 3."""

    ob_shape = OB_SHAPE

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        return np.int64(obs[..., 0] % 3)


class PictureCorridor(Corridor):
    """A corridor that shows pictures of 40 x 36 pixels in colour. The action has two numbers with bound 1.

    At step t, red is t, green 100 + t and blue 0; the last four rows are white.
    """

    def __init__(self, render_mode: str | None = None):
        super().__init__(continuous=True, render_mode=render_mode)
        self.observation_space = gym.spaces.Box(0, 255, PICTURE, np.uint8)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def _observe(self):
        return picture_of(self.steps)


PICTURE = (40, 36, 3)


def picture_of(step: int) -> np.ndarray:
    """Return the picture that `PictureCorridor` shows at this step."""
    ob = np.zeros(PICTURE, np.uint8)
    ob[:36, :, 0], ob[:36, :, 1], ob[36:] = step, 100 + step, 255
    return ob


class StepCounter(Actor):
    """An expert for `PictureCorridor` that reads the simulator: both numbers of its action are steps / 100."""

    ob_shape = PICTURE
    reads_simulator = True

    def watch(self, env: gym.Env) -> None:
        self.env = env.unwrapped

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        return np.full(2, self.env.steps / 100, np.float32)


gym.register("PictureCorridor-v0", PictureCorridor, max_episode_steps=50)


class CorridorReader(Actor):
    """An expert for the corridor that reads the simulator. Its action is the number of steps so far, modulo 3."""

    ob_shape = OB_SHAPE
    reads_simulator = True

    def watch(self, env: gym.Env) -> None:
        self.env = env.unwrapped

    def get_action(self, obs: np.ndarray) -> np.int64:
        return np.int64(self.env.steps % 3)
