import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import gymnasium as gym
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rl_il.envs import make_env

# A shell starts background processes with SIGINT ignored, and nohup does so with SIGHUP. Every process of a test
# inherits that, and tests that send the signals would wait forever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # Windows has none
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_configure(config):
    """Keep the tests' compiled steps in a new folder, which the processes of pytest-xdist share."""
    os.environ.pop("RL_IL_COMPILE", None)
    if not hasattr(config, "workerinput"):
        os.environ["RL_IL_CACHE"] = tempfile.mkdtemp(prefix="rl_il_tests_")
        config.add_cleanup(lambda: shutil.rmtree(os.environ["RL_IL_CACHE"], ignore_errors=True))


class FakeEnv(gym.Env):
    """An environment with the given spaces: observations are random, rewards 0, and episodes do not end."""

    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.fixture
def register_env():
    """Return a function that registers a `FakeEnv` of the given spaces for one test, and returns its name."""
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
    """Return a function from names to environments, each made once: for tests that only read the spaces."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = make_env(name)
        return made[name]

    yield get
    for env in made.values():
        env.close()


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """Return a function that writes modules into a new working folder; they are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before, registered = {*sys.modules}, {*gym.registry}

    def write(**modules):
        for name, code in modules.items():
            (tmp_path / f"{name}.py").write_text(code)
        return tmp_path

    yield write
    for name in {*sys.modules} - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    for name in {*gym.registry} - registered:
        del gym.registry[name]
