"""Layer normalisation and dropout in the built network."""

import numpy as np
import pytest
import torch
from test_mlp_policy import OBS
from torch import nn

from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import build_mlp
from rl_il.policies.actors import NumpyActor, normalise
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy

BOTH = {"dropout": 0.4, "layer_norm": True}


def kinds(network) -> str:
    return " ".join(type(module).__name__ for module in network)


def test_the_order_of_the_layers():
    assert kinds(build_mlp(2, 1, 2, 8, "relu")) == "Linear ReLU Linear ReLU Linear"
    assert kinds(build_mlp(2, 1, 1, 8, "relu", layer_norm=True)) == "Linear LayerNorm ReLU Linear"
    whole = build_mlp(2, 1, 2, 8, "tanh", 0.3, True)
    assert kinds(whole) == "Linear LayerNorm Tanh Dropout Linear LayerNorm Tanh Dropout Linear"
    assert {module.p for module in whole if type(module) is nn.Dropout} == {0.3}
    assert kinds(build_mlp(2, 1, 0, 8, "tanh", 0.3, True)) == "Linear"
    assert kinds(MLPPolicySL((2,), 3, True, **BOTH).head.network) == kinds(whole)
    assert kinds(CNNPolicySL((36, 36, 3), 3, True, **BOTH).head.network) == kinds(whole)


def test_layer_normalisation_by_hand():
    x = np.array([[1.0, 3], [-5, 5]])
    normalise(x, np.array([1.0, 10]), np.array([0.0, 2]))
    np.testing.assert_allclose(x, [[-1, 12], [-1, 12]], rtol=1e-5)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("options", [BOTH, {"layer_norm": True}, {"dropout": 0.4}])
def test_the_numpy_copy_equals_the_policy(options, discrete, tmp_path):
    policy = MLPPolicySL((2,), 3, discrete, size=32, **options)
    for _ in range(20):  # so that gains and biases are not 1 and 0
        policy.update(OBS, np.arange(64) % 3 if discrete else np.tile(OBS[:, :1], (1, 3)))
    policy.save(tmp_path / "policy.pt")
    expected = policy.get_action(OBS)
    for each in (policy.actor(), load_policy(tmp_path / "policy.pt"), load_policy(tmp_path / "policy.pt").actor()):
        np.testing.assert_allclose(each.get_action(OBS), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose([each.get_action(ob) for ob in OBS], expected, rtol=1e-5, atol=1e-6)
    assert isinstance(policy.actor(), NumpyActor)


def test_dropout_is_in_the_loss_and_not_in_the_action():
    policy = MLPPolicySL((2,), 1, False, size=64, dropout=0.4)
    batch = torch.from_numpy(OBS), torch.zeros(64, 1)
    assert policy.loss(*batch).item() != policy.loss(*batch).item()
    assert policy.validate(*batch) == policy.validate(*batch)
    np.testing.assert_array_equal(policy.get_action(OBS), policy.get_action(OBS))
    assert policy.training


class Own(MLPPolicySL):
    """A policy with its own network."""

    def build_network(self, features, outputs):
        return nn.Linear(features, outputs)


@pytest.mark.parametrize("name", BOTH)
def test_a_network_of_the_users_own_refuses_the_options(name):
    with pytest.raises(InputError, match=f"--{name} .*Own"):
        Own((2,), 3, True, **{name: BOTH[name]})


@pytest.mark.parametrize("value", [1.0, -0.1, float("nan")])
def test_a_wrong_fraction_is_refused(value):
    with pytest.raises(InputError, match=f"--dropout.*{value}"):
        MLPPolicySL((2,), 3, True, dropout=value)


@pytest.mark.parametrize("norms", [[(np.ones(3), np.ones(3))], [(np.ones(2), np.ones(2))] * 2, [(np.ones(2),) * 3]])
def test_norms_that_do_not_fit_the_layers_are_refused(norms):
    layers = [(np.ones((2, 2)), np.ones(2)), (np.ones((2, 1)), np.ones(1))]
    with pytest.raises(InputError, match="norms"):
        NumpyActor(layers, "tanh", "identity", (2,), norms=norms)


@pytest.mark.parametrize(
    "modules",
    [
        [nn.Linear(2, 4), nn.LayerNorm(4, eps=0.1), nn.Tanh(), nn.Linear(4, 1)],
        [nn.Linear(2, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 1)],
        [nn.LayerNorm(2), nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)],
        [nn.Linear(2, 4), nn.LayerNorm(4, elementwise_affine=False), nn.Tanh(), nn.Linear(4, 1)],
    ],
)
def test_other_norms_act_in_torch(modules):
    policy = MLPPolicySL((2,), 1, False)
    policy.head.network = nn.Sequential(*modules)
    assert not isinstance(policy.actor(), NumpyActor)
    np.testing.assert_array_equal(policy.actor().get_action(OBS), policy.get_action(OBS))
