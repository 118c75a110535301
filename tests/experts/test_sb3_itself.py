"""Zips read here and by Stable-Baselines3 itself. `make test-sb3` installs the library and runs this file."""

import numpy as np
import pytest

from rl_il.envs import make_env
from rl_il.experts.loading import load_actor

pytestmark = pytest.mark.sb3

CASES = [
    ("PPO", "LunarLander-v3", {}),
    ("PPO", "LunarLanderContinuous-v3", {"use_sde": True}),
    ("A2C", "LunarLander-v3", {"policy_kwargs": {"net_arch": []}}),
    ("DQN", "LunarLander-v3", {"buffer_size": 100, "policy_kwargs": {"net_arch": [32, 16, 8]}}),
    ("SAC", "Pendulum-v1", {"buffer_size": 100, "policy_kwargs": {"net_arch": [64, 32]}}),
    ("TD3", "Pendulum-v1", {"buffer_size": 100}),
]


def differences(model, actor, obs, discrete):
    """Return the largest difference of the actions or, if they are discrete, the fraction that differ."""
    expected, _ = model.predict(obs, deterministic=True)
    got = actor.get_action(obs)
    return np.mean(got != expected) if discrete else np.abs(got - expected).max()


@pytest.mark.parametrize(("algorithm", "env_name", "settings"), CASES)
@pytest.mark.parametrize("activation", ["Tanh", "ReLU", "ELU"])
def test_the_policy_acts_as_in_its_library(tmp_path, algorithm, env_name, settings, activation):
    import stable_baselines3
    import torch

    kwargs = settings.get("policy_kwargs", {}) | {"activation_fn": getattr(torch.nn, activation)}
    model = getattr(stable_baselines3, algorithm)("MlpPolicy", env_name, **settings | {"policy_kwargs": kwargs})
    model.save(tmp_path / "model.zip")
    env = make_env(env_name)
    obs = np.array([env.observation_space.sample() for _ in range(200)])
    actor = load_actor(tmp_path / "model.zip", env)
    assert differences(model, actor, obs, hasattr(env.action_space, "n")) <= 1e-5


def test_normalised_observations_are_normalised_alike(tmp_path):
    import stable_baselines3
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    env = make_env("Pendulum-v1")
    vec_env = VecNormalize(DummyVecEnv([lambda: make_env("Pendulum-v1")]), clip_obs=1.0)
    model = stable_baselines3.SAC("MlpPolicy", vec_env, buffer_size=100)
    vec_env.reset()
    for _ in range(50):
        vec_env.step(np.array([vec_env.action_space.sample()]))
    model.save(tmp_path / "model.zip")
    vec_env.save(tmp_path / "vecnormalize.pkl")
    obs = np.array([env.observation_space.sample() for _ in range(200)])
    expected, _ = model.predict(vec_env.normalize_obs(obs), deterministic=True)
    got = load_actor(tmp_path / "model.zip", env).get_action(obs)
    np.testing.assert_allclose(got, expected, atol=1e-5)
