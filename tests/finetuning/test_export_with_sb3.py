"""Clones as zips of Stable-Baselines3, with the library itself. `make test-sb3` runs this file."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from calling import assert_refused
from clones import ACTIONS, BOX, clone_of, same, states_of

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.experts.loading import load_actor
from rl_il.infrastructure.rollouts import sample_trajectories
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.to_sb3 import is_picture, network_of
from rl_il.runs.experiment import run

pytestmark = pytest.mark.sb3
EXPORTED = [
    ("PPO", "integer", {}),
    ("PPO", "integers", {"activation": "relu"}),
    ("PPO", "numbers", {"normalize_acs": True}),
    ("PPO", "matrix", {"n_layers": 0}),
    ("PPO", "numbers", {"offsets": True, "dropout": 0.1}),
    ("A2C", "integer", {"n_layers": 3, "activation": "elu"}),
    ("A2C", "numbers", {"normalize_acs": True, "offsets": True}),
    ("DQN", "integer", {}),
    ("DQN", "integer", {"offsets": True, "n_layers": 1}),
]


@pytest.mark.parametrize(("algorithm", "actions", "settings"), EXPORTED, ids=str)
def test_what_the_library_loads_acts_as_the_policy(tmp_path, register_env, algorithm, actions, settings):
    import stable_baselines3

    env = make_env(register_env(BOX, ACTIONS[actions]))
    policy = clone_of(env, **settings)
    policy.to_sb3(env, algorithm, **({"buffer_size": 100} if algorithm == "DQN" else {})).save(tmp_path / "clone.zip")
    model = getattr(stable_baselines3, algorithm).load(tmp_path / "clone.zip", env=env)
    obs = states_of(policy.ob_shape, settings.get("offsets", False))
    got, _ = model.predict(obs, deterministic=True)
    expected = policy.actor().get_action(obs)
    if not policy.discrete:
        expected = np.clip(expected, env.action_space.low, env.action_space.high)
    assert len({str(each) for each in np.round(got, 3)}) > 2  # the actions vary
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(load_actor(tmp_path / "clone.zip", env).get_action(obs), expected, atol=1e-5)


def test_the_target_network_of_dqn_is_the_clone_too(register_env):
    env = make_env(register_env(BOX, ACTIONS["integer"]))
    policy = clone_of(env).to_sb3(env, "dqn", buffer_size=100).policy
    assert same(policy.q_net.parameters(), policy.q_net_target.parameters())


def test_a_zip_of_dqn_is_written_without_memory_for_a_million_steps(register_env):
    from rl_il.finetuning.export import model_of

    env = make_env(register_env(BOX, ACTIONS["integer"]))
    model = model_of(clone_of(env), env, "DQN", [])
    assert (model.replay_buffer.buffer_size, model.buffer_size) == (1, 1_000_000)


@pytest.mark.parametrize("algorithm", ["PPO", "DQN"])
def test_a_trained_clone_acts_equally_on_states_of_the_environment(tmp_path, trained, algorithm):
    import stable_baselines3

    policy, obs = trained
    assert network_of(policy).can_fold()
    expected = policy.head.network(policy.encoder(torch.tensor(obs))).detach()
    smaller = {"buffer_size": 1} if algorithm == "DQN" else {}
    policy.to_sb3("LunarLander-v3", algorithm, **smaller).save(tmp_path / "clone.zip")
    model = getattr(stable_baselines3, algorithm).load(tmp_path / "clone.zip")
    np.testing.assert_array_equal(model.predict(obs, deterministic=True)[0], policy.actor().get_action(obs))
    with torch.no_grad():
        if algorithm == "DQN":
            got = model.policy.q_net(torch.tensor(obs))
        else:
            got, expected = model.policy.get_distribution(torch.tensor(obs)).distribution.probs, expected.softmax(1)
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[MLPPolicySL, np.ndarray]:
    """Return a trained clone that standardises observations, and 1,000 states that it visits."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    settings = {"n_demos": 1, "normalize_obs": True, "num_agent_train_steps_per_iter": 500, "eval_episodes": 1}
    run(RunConfig(env_name="LunarLander-v3", logdir=str(folder), **settings, video_log_freq=-1), verbose=False)
    policy = MLPPolicySL.load(folder / "policy_itr_0.pt")
    rng = np.random.default_rng(0)
    episodes = sample_trajectories(make_env("LunarLander-v3"), policy.actor(), 1000, rng)
    return policy, np.concatenate([each.obs[:-1] for each in episodes])[:1000]


def test_a_clone_is_trained_on_by_the_library(tmp_path, monkeypatch, register_env):
    monkeypatch.setenv("SB3_LOGDIR", str(tmp_path))  # else the library leaves a folder in the system's
    env = make_env(register_env(BOX, ACTIONS["numbers"]))
    policy = clone_of(env, loss="nll")
    policy.head.log_std.data.fill_(-1.5)
    model = policy.to_sb3(env, n_steps=64, seed=1, learning_rate=1e-3)
    np.testing.assert_allclose(model.policy.log_std.detach(), -1.5)
    obs = states_of(policy.ob_shape)
    before, _ = model.predict(obs, deterministic=True)
    model.learn(64)
    after, _ = model.predict(obs, deterministic=True)
    assert 0 < np.abs(after - before).max() < 1


def test_the_command_exports_a_run(call):
    task = "--env_name LunarLanderContinuous-v3 --n_demos 1 --ep_len 100 --video_log_freq -1 --eval_episodes 1"
    status, _, err = call(f"run_hw1 {task} --num_agent_train_steps_per_iter 20 --logdir clone")
    assert status == 0, err
    status, out, _ = call("export --policy clone --to clone.zip --algorithm a2c")
    assert status == 0
    assert "A2C" in out and "demonstrated steps" in out and Path("clone.zip").exists()
    assert float(out.split("at most ")[1].split()[0]) < 1e-5
    assert_refused(call("export --policy clone --to clone.zip --algorithm dqn"), "DQN")
    assert_refused(call("export --policy clone --to clone.zip --env_name LunarLander-v3"), "LunarLander-v3")


@pytest.mark.parametrize("shape", [(4, 4, 3), (4, 4)], ids=str)
@pytest.mark.parametrize(("high", "dtype"), [(255, np.uint8), (9, np.uint8), (255, np.float32)])
def test_pictures_are_what_the_library_takes_for_them(shape, high, dtype):
    from stable_baselines3.common.preprocessing import is_image_space

    space = gym.spaces.Box(0, high, shape, dtype)
    assert is_picture(space) == is_image_space(space)
