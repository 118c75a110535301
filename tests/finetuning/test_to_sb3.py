"""Policies as networks of Stable-Baselines3, as far as they can be checked without the library."""

import sys
from contextlib import nullcontext

import gymnasium as gym
import numpy as np
import pytest
import torch
from clones import clone_of, states_of
from fakes import walk

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.finetune_config import FinetuneConfig
from rl_il.finetuning.clone import clone_file, demonstrations_of, labels_of
from rl_il.finetuning.experiment import given_policy
from rl_il.policies.ensemble import EnsemblePolicySL
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.to_sb3 import STD_FLOOR, check_algorithm, check_spaces, exploration, network_of, to_sb3
from rl_il.types import Trajectory


class Narrow(MLPPolicySL):
    """A policy whose own network is a plain one."""

    def build_network(self, features, outputs):
        return torch.nn.Sequential(torch.nn.Linear(features, 7), torch.nn.ELU(), torch.nn.Linear(7, outputs))


class Doubled(MLPPolicySL):
    """A policy whose network no library knows."""

    def build_network(self, features, outputs):
        return torch.nn.Bilinear(1, 1, 1) if features == 0 else Twice(features, outputs)


class Twice(torch.nn.Linear):
    """A linear layer whose outputs are doubled."""

    def forward(self, x):
        return 2 * super().forward(x)


class Own(MLPPolicySL):
    """A policy that acts in its own way."""

    def actor(self):
        return super().actor()


SETTINGS = [
    {},
    {"n_layers": 0},
    {"n_layers": 3, "activation": "relu", "dropout": 0.2},
    {"normalize_acs": True},
    {"normalize_acs": True, "n_layers": 0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_folded_network_acts_as_the_policy(settings):
    policy = clone_of("LunarLanderContinuous-v3", **settings)
    obs = states_of(policy.ob_shape)
    network = network_of(policy)
    assert network.can_fold()
    got = network.folded().actor(np.float32).get_action(obs)
    assert np.abs(got).max() > 0.5
    np.testing.assert_allclose(got, policy.actor().get_action(obs), atol=1e-5)


def test_a_network_of_ones_own_is_exported_if_it_is_plain():
    policy = Narrow((8,), 2, False)
    network = network_of(policy)
    assert [len(bias) for _, bias in network.layers] == [7, 2] and network.activation == "elu"


def test_large_offsets_are_not_folded_since_single_precision_loses_them():
    policy = clone_of("LunarLanderContinuous-v3", offsets=True)
    obs, network = states_of(policy.ob_shape, offsets=True), network_of(policy)
    assert not network.can_fold()
    expected = policy.actor().get_action(obs)
    errors = [np.abs(each.actor(np.float32).get_action(obs) - expected).max() for each in (network, network.folded())]
    assert errors[0] < 1e-5 < errors[1]


# The exploration --------------------------------------------------------------------------------------------

BOX = gym.spaces.Box(np.array([-1, -4], np.float32), np.array([1, 4], np.float32))


def constant(action: float, loss: str = "mse", **settings) -> MLPPolicySL:
    """Return a policy of two actions, both of which are always this number."""
    policy = MLPPolicySL((2,), 2, False, n_layers=0, loss=loss, **settings)
    layer = policy.head.head.network[-1] if settings else policy.head.network[-1]
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.constant_(layer.bias, action)
    return policy


def test_the_standard_deviation_is_that_of_the_errors_but_not_below_the_floor():
    labels = np.array([[1.0, 0.2], [-1.0, 0.2], [1.0, 0.2], [5.0, 5.0]], np.float32)
    demos = Trajectory(np.zeros((5, 2), np.float32), labels, np.zeros(4), labelled=np.array([True] * 3 + [False]))
    std, source = exploration(constant(0), BOX, [demos])
    np.testing.assert_allclose(std, [1.0, STD_FLOOR * 4])
    assert "3 demonstrated" in source


def test_without_demonstrations_it_is_a_share_of_the_range():
    np.testing.assert_allclose(exploration(constant(0), BOX)[0], [0.2, 0.8])


def test_a_likelihood_has_learned_it_in_the_units_of_the_actions():
    policy = constant(0, "nll", normalize_acs=True)
    policy.fit_label_normalization(np.array([[0.0, 0], [2, 20]]))  # standard deviations 1 and 10
    policy.head.head.log_std.data.fill_(np.log(0.3))
    np.testing.assert_allclose(exploration(policy, BOX, [walk(3)])[0], [0.3, 3.0], rtol=1e-6)


def test_a_likelihood_that_learned_less_is_raised_to_the_floor_too():
    policy = constant(0, "nll")
    policy.head.log_std.data.fill_(-9)
    np.testing.assert_allclose(exploration(policy, BOX)[0], [STD_FLOOR, STD_FLOOR * 4])


# What is refused --------------------------------------------------------------------------------------------

REFUSED = {
    "history": ({"history": 2}, "--history"),
    "chunk": ({"chunk": 2}, "--chunk"),
    "mixture": ({"head": "mixture"}, "mixture"),
    "flow": ({"head": "flow"}, "flow"),
    "layer_norm": ({"layer_norm": True}, "layer normalisation"),
    "activation": ({"activation": "torch.nn:GELU"}, "tanh, relu"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_library_cannot_do_is_refused(name):
    settings, word = REFUSED[name]
    with pytest.raises(InputError, match=word):
        network_of(MLPPolicySL((8,), 2, False, **settings))


@pytest.mark.parametrize(
    ("policy_class", "word"), [(Own, "Own"), (Doubled, "own network"), (EnsemblePolicySL, "ensemble")]
)
def test_a_policy_that_acts_in_another_way_is_refused(policy_class, word):
    several = {"ensemble": 3} if policy_class is EnsemblePolicySL else {}
    with pytest.raises(InputError, match=word):
        network_of(policy_class((8,), 2, False, **several))


def test_pictures_are_refused():
    from rl_il.policies.cnn_policy import CNNPolicySL

    with pytest.raises(InputError, match="pictures"):
        network_of(CNNPolicySL((40, 40, 3), 2, False))


@pytest.mark.parametrize(
    ("algorithm", "actions", "word"),
    [("sac", 4, "tanh"), ("TD3", 4, "tanh"), ("xyz", 4, "XYZ"), ("DQN", (2, 3), "DQN"), ("DQN", None, "DQN")],
)
def test_an_algorithm_of_other_policies_is_refused(algorithm, actions, word):
    policy = MLPPolicySL((8,), 2, False) if actions is None else MLPPolicySL((8,), actions, True)
    with pytest.raises(InputError, match=word):
        check_algorithm(algorithm, policy)


@pytest.mark.parametrize(
    ("space", "word"),
    [
        (gym.spaces.Discrete(3, start=1), "from 0"),
        (gym.spaces.MultiBinary(3), "MultiDiscrete"),
        (gym.spaces.MultiDiscrete([[2, 3]]), "flat"),
        (gym.spaces.Box(-np.inf, np.inf, (2,)), "bounds"),
    ],
)
def test_actions_that_the_library_cannot_hold_are_refused(register_env, space, word):
    env = make_env(register_env(gym.spaces.Box(-1, 1, (8,)), space))
    with pytest.raises(InputError, match=word):
        check_spaces(MLPPolicySL.for_env(env), env)


@pytest.mark.parametrize(
    ("high", "dtype", "refused"), [(255, np.uint8, True), (9, np.uint8, False), (255, int, False)]
)
def test_observations_that_the_library_takes_for_pictures_are_refused(register_env, high, dtype, refused):
    env = make_env(register_env(gym.spaces.Box(0, high, (4, 4, 3), dtype), gym.spaces.Discrete(2)))
    policy = MLPPolicySL((4, 4, 3), 2, True)
    with pytest.raises(InputError, match="FlattenObservation") if refused else nullcontext():
        check_spaces(policy, env)


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
def test_a_policy_of_another_environment_is_refused(name):
    with pytest.raises(InputError, match=name):
        check_spaces(MLPPolicySL((4,), 3, True), make_env(name))


def test_a_missing_library_is_one_sentence_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(InputError, match=r"pip install .*sb3"):
        to_sb3(MLPPolicySL((4,), 2, True), "CartPole-v1")


# The clone's file -------------------------------------------------------------------------------------------


def test_only_policies_of_this_package_are_clones(tmp_path):
    np.savez(tmp_path / "expert.npz", w0=np.zeros((4, 2)), b0=np.zeros(2))
    with pytest.raises(InputError, match=r"expert\.npz"):
        clone_file(str(tmp_path / "expert.npz"))
    with pytest.raises(InputError, match="--policy"):
        given_policy(FinetuneConfig())


def test_the_labels_of_a_clone_are_those_of_its_iteration(tmp_path):
    rows = ["iteration,Expert_LabelsSoFar", "0,200", "1,700", "1,750"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    names = ("policy_itr_0.pt", "policy_itr_1.pt", "policy_itr_2.pt", "other.pt")
    assert [labels_of(tmp_path / name) for name in names] == [200, 750, 0, 0]


@pytest.mark.parametrize("text", ["iteration,Training Loss\n0,0.5\n", "iteration,Expert_LabelsSoFar\n0,\n"])
def test_labels_that_a_table_does_not_tell_are_0(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    assert labels_of(tmp_path / "policy_itr_0.pt") == 0


@pytest.mark.parametrize("policy", [MLPPolicySL((2,), 3, True), constant(0, "nll")], ids=["integers", "nll"])
def test_demonstrations_without_an_effect_are_refused(tmp_path, policy):
    assert demonstrations_of(tmp_path / "clone.pt", policy, None, None, "--demos") == []
    with pytest.raises(InputError, match="--demos"):
        demonstrations_of(tmp_path / "clone.pt", policy, None, "demos.npz", "--demos")
