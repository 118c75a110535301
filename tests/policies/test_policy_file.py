import math
import os
import pickle

import numpy as np
import pytest
import torch
from refusals import refusal
from test_mlp_policy import OBS, Doubling, labels_for, same_weights, weights

from rl_il.errors import InputError
from rl_il.plugins import load_own
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy


@pytest.mark.parametrize("load", [MLPPolicySL.load, load_policy])
@pytest.mark.parametrize(
    ("discrete", "settings"),
    [
        (True, {"n_layers": 1, "size": 5, "activation": "relu", "seed": 2**62 - 1}),
        (False, {"n_layers": 3, "size": 7, "activation": "elu", "loss": "l1"}),
        (False, {"loss": "nll", "learning_rate": 1e-4, "weight_decay": 0.01}),
    ],
)
def test_a_saved_policy_is_the_same_when_loaded(tmp_path, discrete, settings, load):
    policy = MLPPolicySL((2,), 3, discrete, **settings)
    policy.fit_normalization(OBS * [3, 0.1] + 1)
    policy.update(OBS, labels_for(policy))
    policy.save(tmp_path / "new" / "policy.pt")
    before = torch.get_rng_state()
    loaded = load(tmp_path / "new" / "policy.pt")
    assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(weights(loaded), weights(policy))
    np.testing.assert_array_equal(loaded.get_action(OBS), policy.get_action(OBS))
    np.testing.assert_array_equal(loaded.actor().get_action(OBS), policy.actor().get_action(OBS))
    assert loaded.hyperparameters() == policy.hyperparameters()


def test_a_policy_made_with_numpy_numbers_can_be_loaded(tmp_path):
    """They are common: `env.action_space.n` is a NumPy integer."""
    policy = MLPPolicySL((np.int64(2),), np.int64(3), np.bool_(True), learning_rate=np.float64(1e-3))
    policy.save(tmp_path / "policy.pt")
    np.testing.assert_array_equal(MLPPolicySL.load(tmp_path / "policy.pt").get_action(OBS), policy.get_action(OBS))


def refused(path, load=MLPPolicySL.load):
    """Return the message. It must not repeat torch's advice to run the code in the file."""
    message = refusal(load, path)
    assert "weights_only" not in message
    return message


# Classes ---------------------------------------------------------------------------------------------------


class Halved(MLPPolicySL):
    def loss(self, observations, actions, noise=None):
        return super().loss(observations, actions, noise) / 2


class Huber(MLPPolicySL):
    def __init__(self, *args, delta=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.delta = delta

    def hyperparameters(self):
        return super().hyperparameters() | {"delta": self.delta}


@pytest.mark.parametrize(("subclass", "settings"), [(Doubling, {}), (Huber, {"delta": 3.0})])
def test_a_subclass_is_read_by_its_name(tmp_path, subclass, settings):
    policy = subclass((2,), 3, True, **settings)
    policy.save(tmp_path / "policy.pt")
    for load in (MLPPolicySL.load, load_policy, subclass.load):
        loaded = load(tmp_path / "policy.pt")
        assert type(loaded) is subclass
        np.testing.assert_array_equal(loaded.get_action(OBS), policy.get_action(OBS))
        assert loaded.hyperparameters() == policy.hyperparameters()


def test_a_subclass_that_only_learns_differently(tmp_path):
    policy = Halved((2,), 3, True)
    policy.save(tmp_path / "policy.pt")
    loads = {MLPPolicySL.load: MLPPolicySL, load_policy: MLPPolicySL, Halved.load: Halved}
    for load, policy_class in loads.items():  # as in a command that does not know the subclass
        loaded = load(tmp_path / "policy.pt")
        assert type(loaded) is policy_class
        np.testing.assert_array_equal(loaded.get_action(OBS), policy.get_action(OBS))


@pytest.mark.parametrize("load", [CNNPolicySL.load, Doubling.load])
def test_a_policy_of_another_class_is_refused(tmp_path, load):
    Huber((2,), 3, True).save(tmp_path / "policy.pt")
    message = refused(tmp_path / "policy.pt", load)
    assert "Huber" in message and load.__self__.__name__ in message


# Damaged files ---------------------------------------------------------------------------------------------


def without(content, key):
    return {name: value for name, value in content.items() if name != key}


def changed(part, **changes):
    return lambda content: content | {part: content[part] | changes}


SPOILED = {
    "another class": lambda content: content | {"policy": "Other"},
    "another head": lambda content: content | {"head": "other"},
    "a class of no name": lambda content: content | {"policy": [1]},
    "no weights": lambda content: without(content, "state"),
    "a list": lambda content: [1, 2],
    "a weight missing": lambda content: content | {"state": without(content["state"], "head.network.0.weight")},
    "weights of another type": lambda content: content | {"state": [1, 2]},
    "not a number": changed("state", **{"head.network.2.bias": torch.full((64,), math.nan)}),
    "another size": changed("hyperparameters", size=5),
    "a negative size": changed("hyperparameters", size=-1),
    "a shape of one number": changed("hyperparameters", ob_shape=2),
    "an unknown setting": changed("hyperparameters", depth=5),
    "activations": changed("hyperparameters", activation=["tanh"]),
    "a seed of 400 digits": changed("hyperparameters", seed=10**400),
    "learning rates": changed("hyperparameters", learning_rate=[1]),
}


@pytest.mark.parametrize("load", [MLPPolicySL.load, load_policy])
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_file_with_other_content_is_an_error(tmp_path, spoil, load):
    path = tmp_path / "policy.pt"
    MLPPolicySL((2,), 3, True).save(path)
    torch.save(spoil(torch.load(path, weights_only=True)), path)
    refused(path, load)


SPOILED_BYTES = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[: len(data) // 2],
    "a byte gone": lambda data: data[1:],
    "a zip's head": lambda data: b"PK\x03\x04",
    "a pickle": lambda data: pickle.dumps({"policy": "MLPPolicySL"}),
}


@pytest.mark.parametrize("spoil", SPOILED_BYTES.values(), ids=SPOILED_BYTES)
def test_a_damaged_file_is_an_error(tmp_path, spoil):
    path = tmp_path / "policy.pt"
    refused(path)  # the file is missing
    MLPPolicySL((2,), 3, True).save(path)
    path.write_bytes(spoil(path.read_bytes()))
    refused(path)


class Malicious:
    """An object that makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("write", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_code_in_a_policy_file_is_not_run(tmp_path, write):
    path = tmp_path / "policy.pt"
    write({"policy": "MLPPolicySL", "hyperparameters": {}, "state": Malicious(tmp_path / "made")}, path)
    refused(path)
    assert not (tmp_path / "made").exists()
    with open(path, "rb") as file:  # the object itself works
        unpickle = torch.load if path.read_bytes()[:2] == b"PK" else lambda file, weights_only: pickle.load(file)
        unpickle(file, weights_only=False)
    assert (tmp_path / "made").exists()


SAME_NAME = """
from torch import nn
from rl_il.policies import mlp_policy

class MLPPolicySL(mlp_policy.MLPPolicySL):
    def build_network(self, features, outputs):
        return nn.Sequential(nn.Linear(features, 3), nn.LayerNorm(3), nn.Linear(3, outputs))

class Scaled(mlp_policy.MLPPolicySL):
    def __init__(self, *settings, factor=1.0, **named):
        super().__init__(*settings, **named)
        self.factor = factor
"""


def test_a_class_with_the_name_of_a_shipped_one_is_another_class(own_folder):
    """The last layers have the same shapes, so its weights would be read without an error."""
    folder = own_folder(my_net=SAME_NAME)
    own = load_own("my_net:MLPPolicySL")((2,), 3, True)
    own.save(folder / "own.pt")
    MLPPolicySL((2,), 3, True).save(folder / "shipped.pt")
    assert type(load_policy(folder / "own.pt")) is type(own)
    assert type(load_policy(folder / "shipped.pt")) is MLPPolicySL


def test_an_argument_that_the_file_would_lack_is_named(own_folder):
    folder = own_folder(my_net=SAME_NAME)
    with pytest.raises(InputError, match=r"Scaled.*factor"):
        load_own("my_net:Scaled")((2,), 3, True, factor=5.0).save(folder / "own.pt")
