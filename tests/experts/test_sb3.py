"""Zips as Stable-Baselines3 writes them, made by hand. `test_sb3_itself.py` compares with the library."""

import io
import json
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch
from course_files import RunsCode
from gymnasium.spaces import Box
from refusals import refusal

from rl_il.envs import make_env
from rl_il.experts.loading import load_actor

RNG = np.random.default_rng(0)


def linear(name, n_in, n_out):
    """Return a linear layer's tensors, by name."""
    weight, bias = RNG.normal(size=(n_out, n_in)), RNG.normal(size=n_out)
    return {f"{name}.weight": torch.tensor(weight).float(), f"{name}.bias": torch.tensor(bias).float()}


def network(algorithm, n_in, n_out):
    """Return the tensors of the policy network (one hidden layer of 5) and of others, which must not be used."""
    names = {
        "ppo": ("mlp_extractor.policy_net.0", "action_net"),
        "dqn": ("q_net.q_net.0", "q_net.q_net.2"),
        "sac": ("actor.latent_pi.0", "actor.mu"),
        "td3": ("actor.mu.0", "actor.mu.2"),
    }[algorithm]
    others = {
        "ppo": linear("mlp_extractor.value_net.0", n_in, 5) | linear("value_net", 5, 1) | {"log_std": torch.zeros(2)},
        "dqn": linear("q_net_target.q_net.0", n_in, 5) | linear("q_net_target.q_net.2", 5, n_out),
        "sac": linear("actor.log_std", 5, n_out) | linear("critic.qf0.0", n_in + n_out, 5),
        "td3": linear("actor_target.mu.0", n_in, 5) | linear("critic.qf0.0", n_in + n_out, 5),
    }[algorithm]
    return others | linear(names[0], n_in, 5) | linear(names[1], 5, n_out), names


def write_zip(path, tensors, data=None):
    weights = io.BytesIO()
    torch.save(tensors, weights)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("policy.pth", weights.getvalue())
        file.writestr("data", json.dumps({"policy_kwargs": {}} if data is None else data))
    return path


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


class VecNormalize:
    """A class that is pickled under Stable-Baselines3's name, with the attributes that the library saves."""


class RunningMeanStd:
    """As `VecNormalize`."""


def write_normaliser(path, **changes):
    """Write what `VecNormalize.save` writes, with classes under the library's names."""
    statistics, normaliser = RunningMeanStd(), VecNormalize()
    statistics.mean, statistics.var = np.arange(8.0), np.arange(1.0, 9.0)
    settings = {"obs_rms": statistics, "epsilon": 1e-8, "clip_obs": 1.5, "norm_obs": True}
    settings["np_random"] = np.random.default_rng(0)  # the library's file has generators too
    normaliser.__dict__.update(settings | changes)
    data = pickle.dumps(normaliser, 2)
    for module, name in (("vec_env.vec_normalize", "VecNormalize"), ("running_mean_std", "RunningMeanStd")):
        data = data.replace(f"c{__name__}\n{name}".encode(), f"cstable_baselines3.common.{module}\n{name}".encode())
    path.write_bytes(data)


@pytest.mark.parametrize(("folder", "normalised"), [("", True), ("LunarLanderContinuous-v3", True), ("", False)])
def test_observations_are_normalised_as_in_training(tmp_path, shared_env, folder, normalised):
    tensors, names = network("sac", 8, 2)
    (tmp_path / folder).mkdir(exist_ok=True)
    write_normaliser(tmp_path / folder / "vecnormalize.pkl", norm_obs=normalised)
    actor = load_actor(write_zip(tmp_path / "x.zip", tensors), shared_env("LunarLanderContinuous-v3"))
    obs = RNG.normal(0, 5, size=(50, 8)).astype(np.float32)
    seen = np.clip((obs - np.arange(8)) / np.sqrt(np.arange(1, 9) + 1e-8), -1.5, 1.5)
    assert (np.abs(seen) == 1.5).any()
    expected = np.tanh(raw_output(tensors, names, seen if normalised else obs, relu))
    np.testing.assert_allclose(actor.get_action(obs), expected, atol=1e-5)


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


@pytest.mark.parametrize("changes", [{"obs_rms": None}, {"epsilon": "small"}, {"clip_obs": -1.0}, {"epsilon": -9.0}])
def test_a_normaliser_of_other_numbers_is_refused(tmp_path, shared_env, changes):
    path = write_zip(tmp_path / "x.zip", network("sac", 8, 2)[0])
    write_normaliser(tmp_path / "vecnormalize.pkl", **changes)
    refuse(path, shared_env("LunarLanderContinuous-v3"), "vecnormalize.pkl", "clip_obs")


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


def test_a_file_of_the_hub_is_downloaded_or_refused_in_one_line(tmp_path, shared_env, monkeypatch):
    env, hub, asked = shared_env("LunarLander-v3"), types.ModuleType("huggingface_hub"), []

    def download(repo, name):
        asked.append((repo, name))
        if repo == "a/b":
            raise OSError("404\nmany lines")
        return str(write_zip(tmp_path / "x.zip", network("ppo", 8, 4)[0]))

    hub.hf_hub_download = download
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert load_actor("hf:sb3/ppo-LunarLander-v2/some/x.zip", env).n_outputs == 4
    assert asked == [("sb3/ppo-LunarLander-v2", "some/x.zip")]
    refuse("hf:a/b/c.zip", env, "404")
    refuse("hf:a/b", env, "hf:ORG/REPO/FILE")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refuse("hf:a/b/c.zip", env, "pip install huggingface_hub")
