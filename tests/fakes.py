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


class Combination(gym.Env):
    """A lock with five positions in a circle, observed as an integer. The right action turns it by one, and gives 1.

    The right action at position i is `right_actions(action_space)[i]`. A continuous action is right if each number
    differs by less than 0.25. An episode has ten steps and starts at position `seed % 5`, so the best return is 10.
    """

    def __init__(self, action_space: gym.Space, observation_space: gym.Space | None = None):
        self.action_space, self.observation_space = action_space, observation_space or gym.spaces.Discrete(5)
        self.rights = right_actions(action_space)
        self.executed: list = []

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self.position = seed % 5
        return self.position, {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.executed.append(action)
        difference = np.abs(np.asarray(action, float) - self.rights[self.position])
        right = bool((difference < 0.25).all())
        self.position = (self.position + right) % 5
        return self.position, float(right), False, False, {}


def right_actions(space: gym.Space) -> np.ndarray:
    """Return the five right actions of a `Combination` `(5, *shape of an action)`; each value occurs."""
    if isinstance(space, gym.spaces.Box):
        numbers = np.arange(5 * np.prod(space.shape, dtype=int)) % 3 - 1
        return (numbers / 2).reshape(5, *space.shape).astype(space.dtype)
    if isinstance(space, gym.spaces.Discrete):
        return space.start + np.arange(5) % space.n
    if isinstance(space, gym.spaces.MultiBinary):
        return np.arange(5 * space.n).reshape(5, space.n) // 2 % 2
    return space.start + np.arange(5 * len(space.nvec)).reshape(5, -1) % space.nvec


COMBINATIONS = {
    "CombinationFromOne-v0": gym.spaces.Discrete(4, start=1),
    "CombinationFromMinusTwo-v0": gym.spaces.Discrete(3, start=-2),
    "CombinationMultiDiscrete-v0": gym.spaces.MultiDiscrete([2, 3, 4]),
    "CombinationMultiDiscreteFromOne-v0": gym.spaces.MultiDiscrete([2, 3], start=[1, -1]),
    "CombinationMultiBinary-v0": gym.spaces.MultiBinary(3),
    "CombinationMatrix-v0": gym.spaces.Box(-1, 1, (2, 3), np.float32),
    "CombinationDouble-v0": gym.spaces.Box(-1, 1, (2,), np.float64),
    "CombinationNumber-v0": gym.spaces.Box(-1, 1, (), np.float32),
}
for _name, _space in COMBINATIONS.items():
    gym.register(_name, Combination, max_episode_steps=10, kwargs={"action_space": _space})


class CombinationExpert(Actor):
    """The expert of a `Combination`, which reads one-hot positions."""

    ob_shape = (5,)

    def __init__(self, action_space: gym.Space):
        self.rights = right_actions(action_space)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        return self.rights[obs.argmax(axis=-1)]


class TinyGrid(gym.Env):
    """A room of 5 x 5 cells in 7 x 7, observed as MiniGrid does: bytes `(7, 7, 3)`, and a direction 0 to 3.

    The first channel holds 2 at walls, 8 at the goal and 10 at the agent. Actions turn left, turn right, and go
    forward. The goal is the cell (5, 5), which gives 1 and ends the episode.
    """

    MOVES = ((1, 0), (0, 1), (-1, 0), (0, -1))  # right, down, left, up

    def __init__(self):
        image = gym.spaces.Box(0, 255, (7, 7, 3), np.uint8)
        self.observation_space = gym.spaces.Dict(image=image, direction=gym.spaces.Discrete(4))
        self.action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        cell, self.direction = seed % 24, seed % 4
        self.place = (1 + cell % 5, 1 + cell // 5)
        return self._observe(), {}

    def step(self, action):
        if action == 2:
            dx, dy = self.MOVES[self.direction]
            self.place = (min(max(self.place[0] + dx, 1), 5), min(max(self.place[1] + dy, 1), 5))
        else:
            self.direction = (self.direction + (1 if action else -1)) % 4
        done = self.place == (5, 5)
        return self._observe(), float(done), done, False, {}

    def _observe(self):
        image = np.zeros((7, 7, 3), np.uint8)
        image[[0, 6]], image[:, [0, 6]] = (2, 5, 0), (2, 5, 0)
        image[5, 5], image[self.place] = (8, 1, 0), (10, 0, 0)
        return {"image": image, "direction": self.direction}


class TinyGridExpert(Actor):
    """The expert of `TinyGrid`: it goes right to the last column, then down to the goal."""

    ob_shape = (151,)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        rows = obs.reshape(-1, 151)
        columns = (rows[:, :147].reshape(-1, 7, 7, 3)[..., 0] == 10).any(axis=2).argmax(axis=1)
        wanted, facing = np.where(columns < 5, 0, 1), rows[:, 147:].argmax(axis=1)
        acs = np.where(facing == wanted, 2, np.where((wanted - facing) % 4 == 3, 0, 1))
        return acs[0] if obs.ndim == 1 else acs


gym.register("TinyGrid-v0", TinyGrid, max_episode_steps=40)
