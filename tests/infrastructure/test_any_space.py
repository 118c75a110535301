"""Cloning and DAgger in environments of every kind of space: the clone reaches the expert's return."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from fakes import COMBINATIONS, CombinationExpert, TinyGridExpert

from rl_il.config import RunConfig
from rl_il.envs import fit_spaces, make_env
from rl_il.infrastructure.dagger import DAgger, ExpertTeacher
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.rollouts import returns_and_lengths, sample_n_trajectories
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.policies.actors import NumpyActor, ScriptedActor
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.types import EXPERT

MAX_STEPS = 50


def frozen_lake():
    """Down, down, right, down, right, right; elsewhere back to that path."""
    acs = np.array([1, 0, 1, 0, 1, 0, 1, 0, 2, 1, 1, 0, 0, 2, 2, 0])
    return fit_spaces(gym.make("FrozenLake-v1", is_slippery=False)), by_state(acs)


def taxi():
    """The actions of value iteration."""
    env = fit_spaces(gym.make("Taxi-v4"))
    table = env.unwrapped.P
    outcomes = np.array([[table[s][a][0][1:] for a in range(6)] for s in range(500)], float)
    following, rewards, ends = outcomes[..., 0].astype(int), outcomes[..., 1], outcomes[..., 2]
    values = np.zeros(500)
    for _ in range(40):
        q = rewards + (1 - ends) * values[following]
        values = q.max(axis=1)
    return env, by_state(q.argmax(axis=1))


def cliff_walking():
    """Up, along the cliff, down."""
    acs = np.full((4, 12), 2)
    acs[2, :11], acs[:2, :11], acs[3] = 1, 2, 0
    acs[2, :11], acs[:, 11] = 1, 2
    return fit_spaces(gym.make("CliffWalking-v1")), by_state(acs.reshape(-1))


def blackjack():
    """Hit below 17."""
    env = fit_spaces(gym.make("Blackjack-v1"))
    return env, ScriptedActor(lambda obs: (obs[:, :32].argmax(axis=1) < 17).astype(np.int64), (45,))


def tiny_grid():
    return make_env("TinyGrid-v0"), TinyGridExpert()


def by_state(acs: np.ndarray) -> ScriptedActor:
    """Return the expert that takes `acs[state]`, and reads one-hot states."""
    return ScriptedActor(lambda obs: acs[obs.argmax(axis=1)], (len(acs),))


def combination(name: str):
    return lambda: (make_env(name), CombinationExpert(COMBINATIONS[name]))


TASKS = {  # the environment with its expert, the expert's mean return, episodes to learn from, and gradient steps
    "FrozenLake": (frozen_lake, 1, 2, 100),
    "Taxi": (taxi, None, 500, 700),
    "CliffWalking": (cliff_walking, -13, 2, 100),
    "Blackjack": (blackjack, None, 400, 500),
    "TinyGrid": (tiny_grid, 1, 100, 200),
    **{name: (combination(name), 10, 4, 150) for name in COMBINATIONS},
}


def returns_of(env, actor) -> np.ndarray:
    episodes = list(sample_n_trajectories(env, actor, 20, np.random.default_rng(99), MAX_STEPS))
    assert episodes[0].acs.shape == (len(episodes[0]), *env.action_space.shape)
    return returns_and_lengths(episodes)[0]


@pytest.mark.parametrize("do_dagger", [False, True], ids=["BC", "DAgger"])
@pytest.mark.parametrize("task", TASKS)
def test_the_clone_reaches_the_experts_return(task, do_dagger, tmp_path):
    make, known, n, steps = TASKS[task]
    env, expert = make()
    expected = returns_of(env, expert)
    assert known is None or expected.mean() == known
    n = max(n // 5, 1) if do_dagger else n  # the rest is for DAgger to find
    demonstrations = list(sample_n_trajectories(env, expert, n, np.random.default_rng(0), MAX_STEPS, EXPERT))
    rounds = {"n_iter": 4, "batch_episodes": 2 * n} if do_dagger else {}
    short = {"num_agent_train_steps_per_iter": steps, "ep_len": MAX_STEPS, "compile": "off"}
    config = RunConfig(env_name=task, do_dagger=do_dagger, **short, **rounds)
    policy = MLPPolicySL.for_env(env, n_layers=1, size=32, learning_rate=0.02)
    trainer = RLTrainer(config, env, policy, demonstrations, DAgger(), ExpertTeacher(expert))
    assert len(trainer.run_training_loop()) == config.n_iter
    actor = policy.actor()
    assert isinstance(actor, NumpyActor)
    np.testing.assert_array_equal(returns_of(env, actor), expected)
    policy.save(tmp_path / "policy.pt")
    obs = demonstrations[0].obs
    np.testing.assert_allclose(load_policy(tmp_path / "policy.pt").get_action(obs), actor.get_action(obs), atol=1e-5)


@pytest.mark.parametrize("name", ["CombinationMultiBinary-v0", "TinyGrid-v0"])
def test_workers_act_as_one_process_does(name):
    env = make_env(name)
    actor = MLPPolicySL.for_env(env, seed=3).actor()
    workers = RolloutWorkers(f"fakes:{name}", 2)
    try:
        there = list(sample_n_trajectories(workers, actor, 3, np.random.default_rng(1)))
    finally:
        workers.close()
    here = list(sample_n_trajectories(env, actor, 3, np.random.default_rng(1)))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
        np.testing.assert_array_equal(one.acs, other.acs)


def test_stepping_the_toy_texts_needs_no_pygame():
    code = """
import sys
from rl_il.envs import make_env
for name in ("FrozenLake-v1", "Taxi-v4", "Blackjack-v1", "CliffWalking-v1"):
    env = make_env(name)
    env.reset(seed=0)
    env.step(env.action_space.sample())
assert "pygame" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
