import signal
import sys
from pathlib import Path

import gymnasium as gym
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rl_il.envs import make_env

# A shell starts what it runs in the background with SIGINT ignored, and every process of a test would inherit that:
# those that send it would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class FakeEnv(gym.Env):
    """Two spaces and nothing behind them."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.fixture
def register_env():
    """Registers a `FakeEnv` of the given spaces for one test; returns its name."""
    names = []

    def register(observation_space, action_space, max_episode_steps=None):
        name = f"Fake{len(names)}-v0"
        gym.register(
            name, entry_point=lambda: FakeEnv(observation_space, action_space), max_episode_steps=max_episode_steps
        )
        names.append(name)
        return name

    yield register
    for name in names:
        del gym.registry[name]


@pytest.fixture(scope="session")
def shared_env():
    """Environments by name, made once: for tests that only read the spaces."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = make_env(name)
        return made[name]

    yield get
    for env in made.values():
        env.close()
