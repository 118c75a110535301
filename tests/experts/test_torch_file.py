"""The weights of other programs' networks in files of `torch.save`, named as CleanRL and others name them."""

import math
import pickle

import numpy as np
import pytest
import torch
from refusals import refusal
from torch import nn, tensor

from rl_il.experts.loading import load_actor
from rl_il.plugins import ACTIVATIONS
from rl_il.policies.mlp_policy import MLPPolicySL

DISCRETE, CONTINUOUS = "MountainCar-v0", "MountainCarContinuous-v0"  # both observe two numbers; 3 and 1 action
OB = np.array([0.5, -0.25], np.float32)
# Two layers by hand: the first gives (0, 0.5) for OB, of which relu changes nothing.
FIRST = ([[1.0, 2.0], [-1.0, 0.0]], [0.0, 1.0])
MEAN = ([[1.0, 3.0]], [0.25])  # 1.75 for OB
LOGITS = ([[0.0, 1.0], [0.0, 2.0], [0.0, -1.0]], [0.0, 0.0, 0.0])  # 0.5, 1, -0.5


def layer(name, parameters):
    weight, bias = parameters
    return {f"{name}.weight": tensor(weight), f"{name}.bias": tensor(bias)}


def some(name, n_in, n_out):
    return layer(name, (torch.ones(n_out, n_in).tolist(), [0.0] * n_out))


CRITIC = some("critic.0", 2, 2) | some("critic.2", 2, 1)
PPO_CONTINUOUS = (
    CRITIC | {"actor_logstd": torch.zeros(1, 1)} | layer("actor_mean.0", FIRST) | layer("actor_mean.2", MEAN)
)
PPO_DISCRETE = CRITIC | layer("actor.0", FIRST) | layer("actor.2", LOGITS)
DQN = layer("network.0", FIRST) | layer("network.2", LOGITS)
BOUNDS = {"action_scale": tensor([[2.0]]), "action_bias": tensor([[0.5]])}
TD3_ACTOR = BOUNDS | layer("fc1", FIRST) | layer("fc_mu", MEAN)
SAC_ACTOR = TD3_ACTOR | some("fc_logstd", 2, 1)
QF = some("fc1", 3, 2) | some("fc2", 2, 1)
SQUASHED = 2 * math.tanh(1.75) + 0.5


def save(path, content, **settings):
    torch.save(content, path, **settings)
    return path


def refuse(path, env, *words, activation="relu"):
    return refusal(load_actor, path, env, activation, holds=words)


@pytest.mark.parametrize(
    ("content", "action"),
    [
        (PPO_CONTINUOUS, 1.75),
        (TD3_ACTOR, SQUASHED),
        (SAC_ACTOR, SQUASHED),
        ((TD3_ACTOR, QF, QF), SQUASHED),  # as CleanRL's TD3 saves it
        ((TD3_ACTOR, QF | {"norm.weight": torch.ones(2), "norm.bias": torch.ones(2)}), SQUASHED),  # in a critic
        ({"agent": PPO_CONTINUOUS | {"critic.1.weight": torch.ones(2), "critic.1.bias": torch.ones(2)}}, 1.75),
        ({"actor": SAC_ACTOR, "qf1": QF, "qf2": QF, "actor_optimizer": {"state": {0: torch.ones(2)}}}, SQUASHED),
        ({"actor": layer("fc1", FIRST) | layer("fc2", MEAN), "log_alpha": torch.zeros(1)}, 1.75),
        ({"model_state_dict": layer("net.0", FIRST) | layer("net.2", MEAN), "epoch": 3, "loss": 0.5}, 1.75),
        (layer("module.fc1", FIRST) | layer("module.fc2", MEAN) | {"module.log_std": torch.zeros(1)}, 1.75),
        (layer("fc2", MEAN) | layer("fc1", FIRST), 1.75),  # in the order of their numbers
        (layer("0", FIRST) | layer("2", MEAN), 1.75),
        (layer("body.0", FIRST) | layer("mu_head", MEAN) | some("value_head", 2, 1), 1.75),
        (layer("actor.0", FIRST) | layer("actor.2", MEAN) | some("actor_target.0", 2, 2), 1.75),
        ({"0.weight": tensor(FIRST[0]), "2.weight": tensor(MEAN[0])}, 3 * 0 + 0.0),  # no biases: (0, -0.5), relu
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".cleanrl_model"])
def test_continuous_actions_by_hand(tmp_path, shared_env, content, action, suffix):
    actor = load_actor(save(tmp_path / f"x{suffix}", content), shared_env(CONTINUOUS), "relu")
    assert actor.get_action(OB) == pytest.approx([action], abs=1e-6)
    assert actor.get_action(OB[None]).shape == (1, 1)


@pytest.mark.parametrize(
    "content",
    [
        PPO_DISCRETE,
        DQN,
        layer("q_network.0", FIRST) | layer("q_network.2", LOGITS) | some("target_network.0", 2, 3),
        layer("fc1", FIRST) | layer("fc_pi", LOGITS) | some("fc_v", 2, 1),
    ],
)
def test_discrete_actions_by_hand(tmp_path, shared_env, content):
    actor = load_actor(save(tmp_path / "x.pt", content), shared_env(DISCRETE), "relu")
    assert actor.get_action(np.array([OB, [0.5, 2.0]])).tolist() == [1, 1]
    assert actor.get_action(np.array([2.0, 1.0])).tolist() == 0  # the second unit is relu(-1): all logits are 0


def test_the_activation_is_the_flags(tmp_path, shared_env):
    path = save(tmp_path / "x.pt", PPO_CONTINUOUS)
    refuse(path, shared_env(CONTINUOUS), "--expert_activation", *ACTIVATIONS, activation=None)
    action = load_actor(path, shared_env(CONTINUOUS), "tanh").get_action(OB)
    assert action == pytest.approx([3 * math.tanh(0.5) + 0.25], abs=1e-6)


def test_one_layer_needs_no_activation(tmp_path, shared_env):
    path = save(tmp_path / "x.pt", layer("policy", ([[0.1, 0.2]], [0.05])))
    assert load_actor(path, shared_env(CONTINUOUS)).get_action(OB) == pytest.approx([0.05], abs=1e-6)


def test_torchs_own_network_acts_alike(tmp_path, shared_env):
    network = nn.Sequential(nn.Linear(8, 16), nn.ELU(), nn.Linear(16, 16), nn.ELU(), nn.Linear(16, 2))
    path = save(tmp_path / "x.pth", network.state_dict())
    obs = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    acs = load_actor(path, shared_env("LunarLanderContinuous-v3"), "elu").get_action(obs)
    np.testing.assert_allclose(acs, network(torch.from_numpy(obs)).detach().numpy(), atol=1e-5)


def test_files_of_old_versions_of_torch_are_read(tmp_path, shared_env):
    path = save(tmp_path / "x.pkl", PPO_CONTINUOUS, _use_new_zipfile_serialization=False)
    assert load_actor(path, shared_env(CONTINUOUS), "relu").get_action(OB) == pytest.approx([1.75])


def test_one_line_says_what_was_read_and_what_was_not(tmp_path, shared_env, capsys):
    path = save(tmp_path / "x.pt", PPO_CONTINUOUS)
    load_actor(path, shared_env(CONTINUOUS), "relu")
    note = capsys.readouterr().err
    read, left_out = note.split("not read:")
    assert note.count("\n") == 1 and str(path) in note
    assert all(word in read for word in ("actor_mean.0", "actor_mean.2", "relu"))
    assert all(word in left_out for word in ("critic.0", "critic.2", "actor_logstd"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PPO_CONTINUOUS | some("other.0", 2, 5) | some("other.2", 5, 1), ["actor_mean.0", "other.0"]),  # two chains
        (layer("encoder.0", ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])) | PPO_CONTINUOUS, ["encoder.0", "actor_mean.0"]),
        (PPO_CONTINUOUS | some("side.0", 2, 7), ["side.0"]),
        (some("actor.0", 4, 8) | some("actor.2", 8, 1), ["actor.0 4 to 8", "2 observed"]),
        (some("actor.0", 2, 8) | some("actor.2", 8, 5), ["actor.2 8 to 5", "1 action"]),
        (some("actor.0", 2, 8) | some("actor.2", 7, 1), ["actor.0", "actor.2"]),
        (
            PPO_CONTINUOUS | {"actor_mean.1.weight": torch.ones(2), "actor_mean.1.bias": torch.ones(2)},
            ["actor_mean.1"],
        ),
        (PPO_CONTINUOUS | {"conv.weight": torch.ones(2, 2, 3, 3)}, ["conv.weight"]),
        (PPO_CONTINUOUS | {"atoms": torch.ones(51)}, ["atoms"]),
        (PPO_CONTINUOUS | {"obs_rms.mean": torch.ones(2)}, ["obs_rms.mean", "--no_normalizer"]),
        ({"model": PPO_CONTINUOUS, "obs_mean": [0.5, 0.5]}, ["obs_mean", "--no_normalizer"]),
        (layer("fc1", FIRST) | layer("fc_mu", MEAN) | some("fc_logstd", 2, 1), ["fc_logstd", "action_scale"]),
        (layer("fc1", FIRST) | layer("fc_mu", MEAN) | {"action_scale": tensor([1.0])}, ["action_bias"]),
        (layer("l1", FIRST) | layer("l2", MEAN), ["l1", "tanh", "action_scale"]),  # TD3's reference code
        ({"observations": torch.zeros(5, 2), "actions": torch.zeros(5, 1)}, ["--expert_data"]),
        ([], ["--expert_data"]),
        (PPO_CONTINUOUS | {"actor_mean.2.bias": tensor([float("nan")])}, ["NaN"]),
        (PPO_CONTINUOUS | {"actor_mean.2.bias": torch.zeros(3)}, ["layer 1", "(3,)"]),
        (PPO_CONTINUOUS | {"actor_mean.2.bias": 3}, []),
        (some("actor.mu.0", 2, 8) | some("actor.mu.2", 8, 1), ["give the zip"]),  # of TD3, which squashes its actions
        (some("mlp_extractor.policy_net.0", 2, 8) | some("action_net", 8, 1), ["give the zip"]),
    ],
)
def test_what_is_not_one_plain_network_is_refused(tmp_path, shared_env, content, words):
    refuse(save(tmp_path / "x.pt", content), shared_env(CONTINUOUS), *words)


def test_statistics_in_the_file_are_passed_over_only_with_the_flag(tmp_path, shared_env):
    path = save(tmp_path / "x.pt", PPO_CONTINUOUS | {"obs_rms.mean": torch.ones(2)})
    actor = load_actor(path, shared_env(CONTINUOUS), "relu", no_normalizer=True)
    assert actor.get_action(OB) == pytest.approx([1.75])


@pytest.mark.parametrize("new", [True, False])
def test_a_whole_network_is_refused_with_the_way_out(tmp_path, shared_env, new):
    path = save(tmp_path / "x.pt", nn.Sequential(nn.Linear(2, 1)), _use_new_zipfile_serialization=new)
    refuse(path, shared_env(CONTINUOUS), "Sequential", "torch.save(model.state_dict()")


def test_a_torchscript_program_is_refused_with_the_way_out(tmp_path, shared_env):
    torch.jit.trace(nn.Sequential(nn.Linear(2, 1)), torch.zeros(2)).save(tmp_path / "x.pt")
    refuse(tmp_path / "x.pt", shared_env(CONTINUOUS), "TorchScript", "torch.save(model.state_dict()")


def test_this_projects_own_policies_take_no_activation(tmp_path, shared_env):
    env, path = shared_env(CONTINUOUS), tmp_path / "x.pt"
    policy = MLPPolicySL.for_env(env, n_layers=1, size=4, seed=0)
    policy.save(path)
    refuse(path, env, "--expert_activation")
    actor = load_actor(path, env, "relu", no_normalizer=True, if_taken=True)
    np.testing.assert_allclose(actor.get_action(OB), policy.get_action(OB), atol=1e-6)


def test_the_flags_are_refused_for_formats_that_do_not_take_them(tmp_path, shared_env):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({}))
    refuse(path, shared_env(CONTINUOUS), "--expert_activation")
    refusal(load_actor, path, shared_env(CONTINUOUS), None, True, holds=["--no_normalizer"])
