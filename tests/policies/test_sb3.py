"""Zips as Stable-Baselines3 writes them, made by hand; `test_sb3_itself.py` compares with the library."""

import io
import json
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch

from rl_il.errors import InputError
from rl_il.policies.experts import load_actor

RNG = np.random.default_rng(0)


def linear(name, n_in, n_out):
    """A linear layer's tensors under its name."""
    weight, bias = RNG.normal(size=(n_out, n_in)), RNG.normal(size=n_out)
    return {f"{name}.weight": torch.tensor(weight).float(), f"{name}.bias": torch.tensor(bias).float()}


def network(algorithm, n_in, n_out):
    """The tensors of the policy network (one hidden layer of 5) and of others that must not be taken for it."""
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
    """The network's output by plain NumPy, before any head."""
    (w0, b0), (w1, b1) = ((tensors[f"{n}.weight"].numpy(), tensors[f"{n}.bias"].numpy()) for n in names)
    return activation(obs @ w0.T + b0) @ w1.T + b1


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("algorithm", "env_name", "activation"),
    [("ppo", "LunarLander-v3", np.tanh), ("dqn", "LunarLander-v3", relu)],
)
def test_a_discrete_policy_takes_its_likeliest_action(tmp_path, shared_env, algorithm, env_name, activation):
    tensors, names = network(algorithm, 8, 4)
    obs = RNG.normal(size=(50, 8)).astype(np.float32)
    acs = load_actor(write_zip(tmp_path / "x.zip", tensors), shared_env(env_name)).get_action(obs)
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
    from gymnasium.spaces import Box

    from rl_il.envs import make_env

    name = register_env(Box(-9, 9, (3,)), Box(np.float32([-1, 0]), np.float32([1, 4])))
    tensors, names = network("sac", 3, 2)
    tensors |= {"actor.mu.weight": torch.zeros(2, 5), "actor.mu.bias": torch.tensor([0.0, 20.0])}
    action = load_actor(write_zip(tmp_path / "x.zip", tensors), make_env(name)).get_action(np.zeros(3, np.float32))
    np.testing.assert_allclose(action, [0, 4], atol=1e-6)  # tanh 0 is the middle, tanh 20 the upper bound
    assert names[1] == "actor.mu"


@pytest.mark.parametrize(
    ("named", "flag", "activation"),
    [
        ("<class 'torch.nn.modules.activation.Tanh'>", None, np.tanh),
        ("<class 'torch.nn.modules.activation.ReLU'>", None, relu),
        (None, None, relu),
        (None, "tanh", np.tanh),
        ("<class 'torch.nn.modules.activation.Mish'>", "tanh", np.tanh),
    ],
)
def test_the_activation_is_the_flags_or_the_files_or_the_algorithms(tmp_path, shared_env, named, flag, activation):
    tensors, names = network("sac", 8, 2)
    data = {"policy_kwargs": {":serialized:": "never read", "activation_fn": named} if named else {}}
    path = write_zip(tmp_path / "x.zip", tensors, data)
    obs = RNG.normal(size=(20, 8)).astype(np.float32)
    actor = load_actor(path, shared_env("LunarLanderContinuous-v3"), flag)
    np.testing.assert_allclose(actor.get_action(obs), np.tanh(raw_output(tensors, names, obs, activation)), atol=1e-5)


class VecNormalize:
    """Pickled under Stable-Baselines3's name, with the attributes that it saves."""


class RunningMeanStd:
    """The same."""


def write_normaliser(path, monkeypatch, **changes):
    """What `VecNormalize.save` writes, with two modules of its names standing in for the library."""
    for name, cls in (("vec_env.vec_normalize", VecNormalize), ("running_mean_std", RunningMeanStd)):
        module = types.ModuleType(f"stable_baselines3.common.{name}")
        setattr(module, cls.__name__, cls)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(cls, "__module__", module.__name__)
    for parent in ("stable_baselines3", "stable_baselines3.common", "stable_baselines3.common.vec_env"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    statistics, normaliser = RunningMeanStd(), VecNormalize()
    statistics.mean, statistics.var = np.arange(8.0), np.arange(1.0, 9.0)
    settings = {"obs_rms": statistics, "epsilon": 1e-8, "clip_obs": 1.5, "norm_obs": True}
    settings["np_random"] = np.random.default_rng(0)  # spaces carry generators
    normaliser.__dict__.update(settings | changes)
    path.write_bytes(pickle.dumps(normaliser))
    monkeypatch.undo()


@pytest.mark.parametrize("folder", ["", "LunarLanderContinuous-v3"])
def test_normalised_observations_stay_normalised(tmp_path, shared_env, monkeypatch, folder):
    tensors, names = network("sac", 8, 2)
    (tmp_path / folder).mkdir(exist_ok=True)
    write_normaliser(tmp_path / folder / "vecnormalize.pkl", monkeypatch)
    actor = load_actor(write_zip(tmp_path / "x.zip", tensors), shared_env("LunarLanderContinuous-v3"))
    obs = RNG.normal(0, 5, size=(50, 8)).astype(np.float32)
    seen = np.clip((obs - np.arange(8)) / np.sqrt(np.arange(1, 9) + 1e-8), -1.5, 1.5)
    assert (np.abs(seen) == 1.5).any()
    np.testing.assert_allclose(actor.get_action(obs), np.tanh(raw_output(tensors, names, seen, relu)), atol=1e-5)


def test_observations_that_were_not_normalised_are_left_alone(tmp_path, shared_env, monkeypatch):
    tensors, names = network("sac", 8, 2)
    write_normaliser(tmp_path / "vecnormalize.pkl", monkeypatch, norm_obs=False)
    actor = load_actor(write_zip(tmp_path / "x.zip", tensors), shared_env("LunarLanderContinuous-v3"))
    obs = RNG.normal(size=(5, 8)).astype(np.float32)
    np.testing.assert_allclose(actor.get_action(obs), np.tanh(raw_output(tensors, names, obs, relu)), atol=1e-5)


class RunsCode:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def refusal(path, env, flag=None):
    with pytest.raises(InputError) as error:
        load_actor(path, env, flag)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_a_normaliser_that_would_run_code_is_refused(tmp_path, shared_env, monkeypatch):
    path = write_zip(tmp_path / "x.zip", network("sac", 8, 2)[0])
    write_normaliser(tmp_path / "vecnormalize.pkl", monkeypatch, obs_rms=RunsCode(tmp_path / "ran"))
    said = refusal(path, shared_env("LunarLanderContinuous-v3"))
    assert f"vecnormalize.pkl beside it asks for {open.__module__}.open" in said  # io's, _io's since Python 3.12
    assert not (tmp_path / "ran").exists()


def test_code_in_the_weights_is_not_run(tmp_path, shared_env):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("policy.pth", pickle.dumps(RunsCode(tmp_path / "ran")))
        file.writestr("data", "{}")
    assert "is not a zip of Stable-Baselines3" in refusal(path, shared_env("LunarLander-v3"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("algorithm", "shape", "env_name", "words"),
    [
        ("dqn", (8, 4), "LunarLanderContinuous-v3", "actions are discrete"),
        ("sac", (8, 2), "LunarLander-v3", "actions are continuous"),
        ("td3", (8, 2), "LunarLander-v3", "actions are continuous"),
        ("ppo", (8, 3), "LunarLander-v3", "gives 3 discrete actions, but LunarLander-v3 takes 4"),
        ("ppo", (7, 4), "LunarLander-v3", "shape (7,), but LunarLander-v3 observes (8,)"),
    ],
)
def test_a_policy_for_another_task_is_refused(tmp_path, shared_env, algorithm, shape, env_name, words):
    path = write_zip(tmp_path / "x.zip", network(algorithm, *shape)[0])
    assert words in refusal(path, shared_env(env_name))


def changed(**extra):
    return network("sac", 8, 2)[0] | extra


@pytest.mark.parametrize(
    ("tensors", "data", "words"),
    [
        ({"other.weight": torch.zeros(2)}, None, "no policy network that is known; it holds other.weight"),
        (changed(**{"actor.features_extractor.cnn.0.weight": torch.zeros(1)}), None, "only MLP policies"),
        (changed(**linear("actor.mu.0", 5, 2)), None, "use_sde"),
        (changed(**{"actor.latent_pi.2.weight": torch.zeros(5, 5)}), None, "no bias"),
        (changed(), {"policy_kwargs": {"activation_fn": "torch.nn.modules.activation.Mish"}}, "--expert_activation"),
        (changed(**{"actor.mu.bias": torch.full((2,), torch.nan)}), None, "NaN"),
    ],
)
def test_a_network_that_cannot_be_read_says_why(tmp_path, shared_env, tensors, data, words):
    assert words in refusal(write_zip(tmp_path / "x.zip", tensors, data), shared_env("LunarLanderContinuous-v3"))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken"])
def test_a_broken_zip_is_refused(tmp_path, shared_env, content):
    (tmp_path / "x.zip").write_bytes(content)
    assert "is not a zip of Stable-Baselines3" in refusal(tmp_path / "x.zip", shared_env("LunarLander-v3"))


def test_the_activation_flag_is_for_zips_only(tmp_path, shared_env):
    (tmp_path / "x.npz").touch()
    assert "--expert_activation is for" in refusal(tmp_path / "x.npz", shared_env("LunarLander-v3"), "tanh")


def test_a_file_of_the_hub_is_fetched_first(tmp_path, shared_env, monkeypatch):
    path = write_zip(tmp_path / "x.zip", network("ppo", 8, 4)[0])
    asked = []
    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = lambda repo, name: asked.append((repo, name)) or str(path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    actor = load_actor("hf:sb3/ppo-LunarLander-v2/some/x.zip", shared_env("LunarLander-v3"))
    assert asked == [("sb3/ppo-LunarLander-v2", "some/x.zip")]
    assert actor.n_outputs == 4


def test_a_file_the_hub_does_not_have_is_one_sentence(shared_env, monkeypatch):
    def missing(repo, name):
        raise OSError("404\nmany lines")

    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = missing
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(InputError, match=r"^hf:a/b/c\.zip: cannot be fetched \(404\)$"):
        load_actor("hf:a/b/c.zip", shared_env("LunarLander-v3"))
    with pytest.raises(InputError, match="must be hf:ORG/REPO/FILE"):
        load_actor("hf:a/b", shared_env("LunarLander-v3"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="pip install huggingface_hub"):
        load_actor("hf:a/b/c.zip", shared_env("LunarLander-v3"))
