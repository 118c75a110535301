import math
import os
import pickle

import numpy as np
import pytest
import torch
from test_mlp_policy import OBS, Doubling, labels_for, same_weights, weights

from rl_il.errors import InputError
from rl_il.policies.mlp_policy import MLPPolicySL


@pytest.mark.parametrize(
    ("discrete", "settings"),
    [
        (True, {"n_layers": 1, "size": 5, "activation": "relu", "seed": 2**62 - 1}),
        (False, {"n_layers": 3, "size": 7, "activation": "elu", "loss": "l1"}),
        (False, {"loss": "nll", "learning_rate": 1e-4, "weight_decay": 0.01}),
    ],
)
def test_a_saved_policy_is_the_same_when_loaded(tmp_path, discrete, settings):
    policy = MLPPolicySL((2,), 3, discrete, **settings)
    policy.fit_normalization(OBS * [3, 0.1] + 1)
    policy.update(OBS, labels_for(policy))
    policy.save(tmp_path / "new" / "policy.pt")
    loaded = MLPPolicySL.load(tmp_path / "new" / "policy.pt")
    assert same_weights(weights(loaded), weights(policy))
    np.testing.assert_array_equal(loaded.get_action(OBS), policy.get_action(OBS))
    np.testing.assert_array_equal(loaded.actor().get_action(OBS), policy.actor().get_action(OBS))
    names = "ob_shape ac_dim discrete n_layers size activation seed loss_name learning_rate weight_decay".split()
    assert [getattr(loaded, name) for name in names] == [getattr(policy, name) for name in names]


def test_a_policy_made_with_numpy_numbers_can_be_loaded(tmp_path):
    """`env.action_space.n` is a NumPy integer."""
    policy = MLPPolicySL((np.int64(2),), np.int64(3), np.bool_(True), learning_rate=np.float64(1e-3))
    policy.save(tmp_path / "policy.pt")
    np.testing.assert_array_equal(MLPPolicySL.load(tmp_path / "policy.pt").get_action(OBS), policy.get_action(OBS))


def test_loading_does_not_touch_the_global_generator(tmp_path):
    MLPPolicySL((2,), 3, True).save(tmp_path / "policy.pt")
    before = torch.get_rng_state()
    MLPPolicySL.load(tmp_path / "policy.pt")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_subclass_loads_its_own_files_only(tmp_path):
    policy = Doubling((2,), 3, True)
    policy.save(tmp_path / "policy.pt")
    np.testing.assert_array_equal(Doubling.load(tmp_path / "policy.pt").get_action(OBS), policy.get_action(OBS))
    with pytest.raises(InputError, match="holds a Doubling, expected a MLPPolicySL"):
        MLPPolicySL.load(tmp_path / "policy.pt")


def assert_refused(path):
    """One line that begins with the file, and does not pass on torch's advice to run the code in it."""
    with pytest.raises(InputError) as error:
        MLPPolicySL.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).isprintable()
    assert "weights_only" not in str(error.value)


def without(content: dict, key: str) -> dict:
    return {name: value for name, value in content.items() if name != key}


SPOILED_CONTENT = {
    "another class": lambda content: content | {"policy": "Other"},
    "no class": lambda content: without(content, "policy"),
    "no hyperparameters": lambda content: without(content, "hyperparameters"),
    "no weights": lambda content: without(content, "state"),
    "a list": lambda content: [1, 2],
    "a tensor": lambda content: torch.ones(3),
    "none": lambda content: None,
    "a weight missing": lambda content: content | {"state": without(content["state"], "network.0.weight")},
    "another size": lambda content: content | {"hyperparameters": content["hyperparameters"] | {"size": 5}},
    "unknown setting": lambda content: content | {"hyperparameters": content["hyperparameters"] | {"depth": 5}},
    "unknown activation": lambda content: (
        content | {"hyperparameters": content["hyperparameters"] | {"activation": "swish"}}
    ),
    "weights of another type": lambda content: content | {"state": [1, 2]},
    "not a number": lambda content: (
        content | {"state": content["state"] | {"network.2.bias": torch.full((64,), math.nan)}}
    ),
    "infinity": lambda content: content | {"state": content["state"] | {"ob_std": torch.full((2,), math.inf)}},
}


@pytest.mark.parametrize("spoil", SPOILED_CONTENT.values(), ids=SPOILED_CONTENT)
def test_a_checkpoint_with_other_content_is_an_error(tmp_path, spoil):
    path = tmp_path / "policy.pt"
    MLPPolicySL((2,), 3, True).save(path)
    torch.save(spoil(torch.load(path, weights_only=True)), path)
    assert_refused(path)


SPOILED_BYTES = {
    "empty": lambda data: b"",
    "text": lambda data: b"hello\n" * 100,
    "cut short": lambda data: data[: len(data) // 2],
    "a byte gone": lambda data: data[1:],
    "a zip's head": lambda data: b"PK\x03\x04",
    "a pickle": lambda data: pickle.dumps({"policy": "MLPPolicySL"}),
}


@pytest.mark.parametrize("spoil", SPOILED_BYTES.values(), ids=SPOILED_BYTES)
def test_a_corrupt_checkpoint_is_an_error(tmp_path, spoil):
    path = tmp_path / "policy.pt"
    MLPPolicySL((2,), 3, True).save(path)
    path.write_bytes(spoil(path.read_bytes()))
    assert_refused(path)


@pytest.mark.parametrize("name", ["missing.pt", "."])
def test_a_missing_checkpoint_is_an_error(tmp_path, name):
    with pytest.raises(InputError, match="not a readable checkpoint"):
        MLPPolicySL.load(tmp_path / name)


class Malicious:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("write", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_code_in_a_checkpoint_is_not_run(tmp_path, write):
    path = tmp_path / "policy.pt"
    write({"policy": "MLPPolicySL", "hyperparameters": {}, "state": Malicious(tmp_path / "made")}, path)
    assert_refused(path)
    assert not (tmp_path / "made").exists()
    with open(path, "rb") as file:  # the trap itself works
        unpickle = torch.load if path.read_bytes()[:2] == b"PK" else lambda file, weights_only: pickle.load(file)
        unpickle(file, weights_only=False)
    assert (tmp_path / "made").exists()


def test_a_policy_that_only_learns_differently_is_read_without_its_class(tmp_path):
    class Halved(MLPPolicySL):
        def loss(self, observations, actions):
            return super().loss(observations, actions) / 2

    class Shifted(MLPPolicySL):
        def encode(self, observations):
            return super().encode(observations + 1)

    Halved((2,), 3, True, seed=4).save(tmp_path / "halved.pt")
    read = MLPPolicySL.load(tmp_path / "halved.pt")
    obs = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    np.testing.assert_array_equal(read.get_action(obs), MLPPolicySL((2,), 3, True, seed=4).get_action(obs))
    assert isinstance(Halved.load(tmp_path / "halved.pt"), Halved)
    Shifted((2,), 3, True).save(tmp_path / "shifted.pt")
    with pytest.raises(InputError, match="holds a Shifted, expected a MLPPolicySL"):
        MLPPolicySL.load(tmp_path / "shifted.pt")


def test_a_subclass_with_settings_of_its_own_is_read_by_itself_only(tmp_path):
    class Huber(MLPPolicySL):
        def __init__(self, *args, delta=1.0, **kwargs):
            super().__init__(*args, **kwargs)
            self.delta = delta

        def hyperparameters(self):
            return super().hyperparameters() | {"delta": self.delta}

    Huber((2,), 1, False, delta=3.0).save(tmp_path / "huber.pt")
    assert Huber.load(tmp_path / "huber.pt").delta == 3.0
    with pytest.raises(InputError, match="holds a Huber, expected a MLPPolicySL"):
        MLPPolicySL.load(tmp_path / "huber.pt")
