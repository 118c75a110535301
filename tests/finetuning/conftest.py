"""Fixtures of the tests of clones in Stable-Baselines3."""

from pathlib import Path

import numpy as np
import pytest
from calling import call_script

from rl_il.envs import make_env
from rl_il.policies.mlp_policy import MLPPolicySL


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """Return the file of a clone for CartPole."""
    path = tmp_path_factory.mktemp("clones") / "clone.pt"
    env = make_env("CartPole-v1")
    policy = MLPPolicySL.for_env(env, size=16, seed=2)
    policy.fit_normalization(np.random.default_rng(0).normal(size=(50, 4)) * [0.1, 0.5, 0.1, 0.5])
    policy.save(path)
    return path


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Return a function that calls a script in an empty folder, and returns its status, stdout and stderr."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return lambda command: call_script(command, monkeypatch, capsys)
