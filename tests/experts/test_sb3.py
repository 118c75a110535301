"""Zips as Stable-Baselines3 writes them, made by hand. `test_sb3_itself.py` compares with the library."""

import pickle
import zipfile

import fakes  # noqa: F401  # registers the combinations
import numpy as np
import pytest
import torch
from course_files import RunsCode
from gymnasium.spaces import Box
from refusals import refusal
from sb3_files import RNG, box, discrete, linear, network, space, write_normaliser, write_zip

from rl_il.envs import make_env
from rl_il.experts.loading import load_actor


def raw_output(tensors, names, obs, activation):
    """Return the output of the network's last layer, computed with plain NumPy."""
    (w0, b0), (w1, b1) = ((tensors[f"{n}.weight"].numpy(), tensors[f"{n}.bias"].numpy()) for n in names)
    return activation(obs @ w0.T + b0) @ w1.T + b1


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize(("algorithm", "activation"), [("ppo", np.tanh), ("dqn", relu)])
def test_a_discrete_policy_takes_its_most_likely_action(tmp_path, shared_env, algorithm, activation):
    tensors, names = network(algorithm, 8, 4)
    obs = RNG.normal(size=(50, 8)).astype(np.float32)
    acs = load_actor(write_zip(tmp_path / "x.zip", tensors), shared_env("LunarLander-v3")).get_action(obs)
    np.testing.assert_array_equal(acs, raw_output(tensors, names, obs, activation).argmax(axis=1))
    assert acs.dtype == np.int64


@pytest.mark.parametrize(
    ("algorithm", "activation", "head"),
    [("ppo", np.tanh, lambda x: np.clip(x, -1, 1)), ("sac", relu, np.tanh), ("td3", relu, np.tanh)],
)
def test_a_continuous_policy_takes_its_mean(tmp_path, shared_env, algorithm, activation, head):
    tensors, names = network(algorithm, 8, 2)
    obs = RNG.normal(size=(50, 8)).astype(np.float32)
    actor = load_actor(write_zip(tmp_path / "x.zip", tensors), shared_env("LunarLanderContinuous-v3"))
    expected = head(raw_output(tensors, names, obs, activation))
    np.testing.assert_allclose(actor.get_action(obs), expected, atol=1e-5)


def test_a_squashed_action_fills_bounds_that_are_not_symmetric(tmp_path, register_env):
    name = register_env(Box(-9, 9, (3,)), Box(np.float32([-1, 0]), np.float32([1, 4])))
    tensors, _ = network("sac", 3, 2)
    tensors |= {"actor.mu.weight": torch.zeros(2, 5), "actor.mu.bias": torch.tensor([0.0, 20.0])}
    action = load_actor(write_zip(tmp_path / "x.zip", tensors), make_env(name)).get_action(np.zeros(3, np.float32))
    np.testing.assert_allclose(action, [0, 4], atol=1e-6)  # tanh 0 is the middle, tanh 20 the upper bound


@pytest.mark.parametrize(
    ("named", "flag", "activation"),
    [
        ("<class 'torch.nn.modules.activation.Tanh'>", None, np.tanh),
        (None, None, relu),
        (None, "tanh", np.tanh),
        ("<class 'torch.nn.modules.activation.Mish'>", "tanh", np.tanh),
    ],
)
def test_the_activation_is_the_flags_the_files_or_the_default(tmp_path, shared_env, named, flag, activation):
    tensors, names = network("sac", 8, 2)
    data = {"policy_kwargs": {":serialized:": "never read", "activation_fn": named} if named else {}}
    path = write_zip(tmp_path / "x.zip", tensors, data)
    obs = RNG.normal(size=(20, 8)).astype(np.float32)
    actor = load_actor(path, shared_env("LunarLanderContinuous-v3"), flag)
    np.testing.assert_allclose(actor.get_action(obs), np.tanh(raw_output(tensors, names, obs, activation)), atol=1e-5)


def refuse(path, env, *words, flag=None):
    refusal(load_actor, path, env, flag, holds=words)


def test_code_in_the_zip_or_the_normaliser_is_not_run(tmp_path, shared_env):
    env, attack = shared_env("LunarLanderContinuous-v3"), RunsCode(tmp_path / "ran")
    path = write_zip(tmp_path / "x.zip", network("sac", 8, 2)[0])
    write_normaliser(tmp_path / "vecnormalize.pkl", obs_rms=attack)
    refuse(path, env, "vecnormalize.pkl", "system")
    (tmp_path / "vecnormalize.pkl").unlink()
    refuse(write_zip(path, {"actor.mu.weight": attack}), env)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("policy.pth", pickle.dumps(attack))
        file.writestr("data", "{}")
    refuse(path, env)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("algorithm", "shape", "env_name", "words"),
    [
        ("dqn", (8, 4), "LunarLanderContinuous-v3", ["discrete", "continuous"]),
        ("sac", (8, 2), "LunarLander-v3", ["continuous", "discrete"]),
        ("ppo", (7, 4), "LunarLander-v3", ["(7,)", "(8,)"]),
    ],
)
def test_a_policy_for_another_task_is_refused(tmp_path, shared_env, algorithm, shape, env_name, words):
    refuse(write_zip(tmp_path / "x.zip", network(algorithm, *shape)[0]), shared_env(env_name), env_name, *words)


@pytest.mark.parametrize(
    ("action_space", "observation_space", "words"),
    [
        (discrete(4), box(8), ["Discrete(4)", "LunarLanderContinuous-v3", "Box(2)"]),
        (discrete("4"), None, ["Discrete(4)", "Box(2)"]),
        (box(3), box(8), ["Box(3)", "Box(2)"]),
        (box(2), box(9), ["Box(9)", "Box(8)"]),
        (box(2), box(96, 96, 3), ["Box(96, 96, 3)", "Box(8)"]),
        (space("multi_discrete.MultiDiscrete", nvec="[2 2]", _shape=[2]), box(8), ["MultiDiscrete", "Box(2)"]),
        (space("box.Box", shape=[3]), box(8), ["Box(3)", "Box(2)"]),  # as old versions of gym
        (box(2), space("dict.Dict", spaces="OrderedDict()"), ["Dict", "Box(8)"]),
    ],
)
def test_the_zips_own_spaces_are_compared_first(tmp_path, shared_env, action_space, observation_space, words):
    tensors = network("ppo", 8, 2)[0] | linear("pi_features_extractor.cnn.0", 8, 8)  # refused otherwise
    data = {"action_space": action_space, "observation_space": observation_space}
    refuse(write_zip(tmp_path / "x.zip", tensors, data), shared_env("LunarLanderContinuous-v3"), *words)


def test_the_zips_spaces_may_be_the_environments(tmp_path, shared_env):
    data = {"action_space": box(2), "observation_space": box(8)}
    path = write_zip(tmp_path / "x.zip", network("sac", 8, 2)[0], data)
    assert load_actor(path, shared_env("LunarLanderContinuous-v3")).n_outputs == 2


def test_ppo_acts_in_several_integers_and_reads_integers_as_one_hot(tmp_path):
    env = make_env("CombinationMultiDiscreteFromOne-v0")
    tensors, (hidden, output) = network("ppo", 5, 5)
    several = {"_shape": [2], "nvec": "[2 3]", "start": "[1 -1]"}
    data = {"action_space": space("multi_discrete.MultiDiscrete", **several), "observation_space": discrete(5)}
    actor = load_actor(write_zip(tmp_path / "x.zip", tensors, data), env)
    obs = np.eye(5)
    outputs = np.tanh(by_hand(tensors, hidden, obs))
    outputs = by_hand(tensors, output, outputs)
    expected = np.stack([1 + outputs[:, :2].argmax(axis=1), outputs[:, 2:].argmax(axis=1) - 1], axis=1)
    np.testing.assert_array_equal(actor.get_action(obs), expected)
    data["action_space"] = space("multi_discrete.MultiDiscrete", **several | {"nvec": "[3 2]"})
    refuse(write_zip(tmp_path / "x.zip", tensors, data), env, "MultiDiscrete(3, 2)")
    refuse(write_zip(tmp_path / "x.zip", network("dqn", 5, 5)[0]), make_env("CombinationMatrix-v0"), "DQN")
    binary = make_env("CombinationMultiBinary-v0")
    refuse(write_zip(tmp_path / "x.zip", network("ppo", 5, 3)[0]), binary, "MultiBinary")


def by_hand(tensors, name, inputs):
    return inputs @ tensors[f"{name}.weight"].numpy().T + tensors[f"{name}.bias"].numpy()


def test_a_policy_of_ppo_that_squashes_its_actions_does_so_here(tmp_path, shared_env):
    tensors, names = network("ppo", 8, 2)
    data = {"policy_kwargs": {"squash_output": True}}
    obs = RNG.normal(size=(20, 8)).astype(np.float32)
    actor = load_actor(write_zip(tmp_path / "x.zip", tensors, data), shared_env("LunarLanderContinuous-v3"))
    expected = np.tanh(raw_output(tensors, names, obs, np.tanh))
    np.testing.assert_allclose(actor.get_action(obs), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        ({"lstm_actor.weight_ih_l0": torch.zeros(8, 8)} | network("ppo", 8, 4)[0], "recurrent"),
        (linear("mlp_extractor.shared_net.0", 8, 8) | network("ppo", 8, 4)[0], "shared_net"),
        (linear("quantile_net.quantile_net.0", 8, 800), "QR-DQN"),
        (linear("action_net.0", 8, 5) | linear("action_net.2", 5, 4), "ARS"),
    ],
)
def test_a_policy_of_an_algorithm_that_cannot_be_read_says_why(tmp_path, shared_env, tensors, word):
    refuse(write_zip(tmp_path / "x.zip", tensors), shared_env("LunarLander-v3"), word)


def test_a_policy_that_needs_masks_is_refused(tmp_path, shared_env):
    data = {"policy_class": {"__module__": "sb3_contrib.common.maskable.policies"}}
    refuse(write_zip(tmp_path / "x.zip", network("ppo", 8, 4)[0], data), shared_env("LunarLander-v3"), "MaskablePPO")


def changed(**extra):
    return network("sac", 8, 2)[0] | extra


@pytest.mark.parametrize(
    ("tensors", "data", "words"),
    [
        ({"other.weight": torch.zeros(2)}, None, ["other.weight"]),
        (changed(**{"actor.features_extractor.cnn.0.weight": torch.zeros(1)}), None, ["MLP"]),
        (changed(**linear("actor.mu.0", 5, 2)), None, ["use_sde"]),
        (changed(**{"actor.latent_pi.2.weight": torch.zeros(5, 5)}), None, ["actor.latent_pi.2", "bias"]),
        (changed(**{"actor.mu.weight": torch.zeros(0, 5)}), None, ["actor.mu"]),
        (changed(), {"policy_kwargs": {"activation_fn": "torch.nn.modules.activation.Mish"}}, ["Mish", "relu"]),
        (changed(**{"actor.mu.bias": "text"}), None, []),
        ([torch.zeros(2)], None, []),
    ],
)
def test_a_network_that_cannot_be_read_says_why(tmp_path, shared_env, tensors, data, words):
    refuse(write_zip(tmp_path / "x.zip", tensors, data), shared_env("LunarLanderContinuous-v3"), *words)


def test_the_activation_flag_is_for_zips_only(tmp_path, shared_env):
    (tmp_path / "x.npz").touch()
    refuse(tmp_path / "x.npz", shared_env("LunarLander-v3"), "--expert_activation", flag="tanh")
