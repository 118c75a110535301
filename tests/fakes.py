"""Environments and actors whose answers can be worked out by hand. Worker processes import them: no torch here."""

from __future__ import annotations

import itertools

import gymnasium as gym
import numpy as np

from rl_il.seeding import episode_seeds
from rl_il.types import Actor, Trajectory

OB_SHAPE = (2,)


def corridor_length(seed: int) -> int:
    """Steps of the `Corridor` episode that starts from `seed`."""
    return 3 + seed % 4


def first_seeds(seed: int, n: int) -> list[int]:
    """The seeds of the first episodes that a generator of this seed is used for."""
    return list(itertools.islice(episode_seeds(np.random.default_rng(seed)), n))


class Corridor(gym.Env):
    """A walk of `corridor_length(seed)` steps. It observes [steps so far, length]; the action is the reward.

    Discrete: 0, 1 or 2. Continuous: two numbers within 1 and within 2, of which the first is the reward.
    `endless` never terminates. A frame is 20 x 30 pixels of ten times the steps so far.
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
    """A corridor on a machine that cannot draw."""

    def render(self):
        raise OSError("no display")


class FacelessCorridor(Corridor):
    """A corridor whose author never thought of drawing it."""

    def __init__(self):
        super().__init__()


class PixelCorridor(Corridor):
    """A corridor that observes 2 x 2 pixels of ten times the steps so far."""

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
    """A trajectory of `length` steps through the corridor with one action; its return is their product."""
    obs = np.array([[t, length] for t in range(length + 1)], np.float32)
    defaults = {"acs": np.full(length, action), "rewards": np.full(length, float(action)), "terminated": True}
    return Trajectory(obs, **defaults | fields)


class ConstantActor(Actor):
    """Always does the same, and remembers the seeds of its resets."""

    def __init__(self, action, ob_shape: tuple[int, ...] = OB_SHAPE):
        self.action, self.ob_shape = np.asarray(action), ob_shape
        self.seeds: list[int] = []

    def reset(self, seed: int = 0) -> None:
        self.seeds.append(seed)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        return self.action if obs.shape == self.ob_shape else np.stack([self.action] * len(obs))


class FailingActor(ConstantActor):
    """Fails after `patience` actions."""

    def __init__(self, patience: int):
        super().__init__(0)
        self.patience = patience

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        self.patience -= 1
        if self.patience < 0:
            raise RuntimeError("out of patience")
        return super().get_action(obs)


class StepModuloThree(Actor):
    """An expert for the corridor: its action is the number of steps so far, modulo 3."""

    ob_shape = OB_SHAPE

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        return np.int64(obs[..., 0] % 3)


class PictureCorridor(Corridor):
    """A corridor of pictures, 40 x 36 in colour: step t is t in red, 100 + t in green, 0 in blue; the last four rows
    are white. The action is two numbers within 1."""

    def __init__(self, render_mode: str | None = None):
        super().__init__(continuous=True, render_mode=render_mode)
        self.observation_space = gym.spaces.Box(0, 255, PICTURE, np.uint8)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def _observe(self):
        return picture_of(self.steps)


PICTURE = (40, 36, 3)


def picture_of(step: int) -> np.ndarray:
    """What `PictureCorridor` shows at this step."""
    ob = np.zeros(PICTURE, np.uint8)
    ob[:36, :, 0], ob[:36, :, 1], ob[36:] = step, 100 + step, 255
    return ob


class StepCounter(Actor):
    """An expert for `PictureCorridor` that reads the simulator: its action is twice a hundredth of the steps."""

    ob_shape = PICTURE
    reads_simulator = True

    def watch(self, env: gym.Env) -> None:
        self.env = env.unwrapped

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        return np.full(2, self.env.steps / 100, np.float32)


gym.register("PictureCorridor-v0", PictureCorridor, max_episode_steps=50)


class CorridorReader(Actor):
    """An expert for the corridor that reads the simulator: the steps so far, modulo 3."""

    ob_shape = OB_SHAPE
    reads_simulator = True

    def watch(self, env: gym.Env) -> None:
        self.env = env.unwrapped

    def get_action(self, obs: np.ndarray) -> np.int64:
        return np.int64(self.env.steps % 3)
