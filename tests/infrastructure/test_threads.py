"""The number of torch's threads: small networks need one, and the user's number is the same afterwards."""

import numpy as np
import pytest
import torch
from fakes import walk
from test_rl_trainer import build

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.infrastructure.evaluation import Evaluator
from rl_il.infrastructure.gradient_steps import GradientSteps
from rl_il.infrastructure.progress import Watch
from rl_il.infrastructure.pytorch_utils import threads
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.heads import Categorical
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.runs.parts import build_policy


class Observed(MLPPolicySL):
    """A policy that keeps the number of threads of each kind of work."""

    compilable = False

    def __init__(self, *settings, **named):
        super().__init__(*settings, **named)
        self.seen = {"update": [], "validate": []}

    def update(self, *batch):
        self.seen["update"].append(torch.get_num_threads())
        return super().update(*batch)

    def validate(self, *batch):
        self.seen["validate"].append(torch.get_num_threads())
        return super().validate(*batch)


def observed_policy() -> Observed:
    return Observed.for_env(make_env("Corridor-v0"), n_layers=1, size=8, seed=3)


@pytest.fixture
def three_threads():
    """Set torch to three threads, as on the machine of a user, for one test."""
    with threads(3):
        yield


def test_the_number_of_threads_is_restored_also_after_an_error(three_threads):
    with pytest.raises(KeyboardInterrupt), threads(2):
        assert torch.get_num_threads() == 2
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("settings", "expected"), [({}, 1), ({"torch_threads": 2}, 2)])
def test_gradient_steps_use_the_threads_of_the_config(three_threads, settings, expected):
    policy = observed_policy()
    for _ in build(policy, n_iter=2, **settings).blocks():
        assert torch.get_num_threads() == 3
    assert policy.seen["update"] == [expected] * 6


def test_a_single_step_uses_them_too(three_threads):
    policy, buffer = observed_policy(), ReplayBuffer()
    buffer.add([walk(3, action=2)])
    GradientSteps(RunConfig(env_name="Corridor-v0"), policy, buffer, compiles=False).take(torch.arange(3), 0, 0)
    assert policy.seen["update"] == [1]
    assert torch.get_num_threads() == 3


def test_validation_uses_them_too(three_threads):
    env, policy, held = make_env("Corridor-v0"), observed_policy(), ReplayBuffer()
    held.add([walk(3, action=2)])
    config = RunConfig(env_name="Corridor-v0", torch_threads=2)
    Evaluator(config, env, 1, None, held, Watch())(policy, 0)
    assert policy.seen["validate"] == [2]


def test_a_network_acts_in_one_thread(three_threads, monkeypatch):
    policy, seen, act = observed_policy(), [], Categorical.act
    monkeypatch.setattr(Categorical, "act", lambda *args: seen.append(torch.get_num_threads()) or act(*args))
    policy.get_action(np.zeros(2, np.float32))
    assert seen == [1]
    assert torch.get_num_threads() == 3


def test_building_a_runs_policy_leaves_the_number_alone(three_threads):
    build_policy(RunConfig(env_name="Corridor-v0", torch_threads=2), make_env("Corridor-v0"))
    assert torch.get_num_threads() == 3
