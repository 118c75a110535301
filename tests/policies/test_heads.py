"""Heads: a new head, its noise, its file, its NumPy copy, and files from before there were heads."""

import json

import numpy as np
import pytest
import torch
from fakes import walk
from test_mlp_policy import LABELS, OBS, Doubling, constant_policy, same_weights, weights

from rl_il import plugins
from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.weights import load_weights
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import sample_n_trajectories
from rl_il.policies.actors import NumpyActor
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.policies.heads import Gaussian, Head
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.runs.parts import build_policy


class Jumping(Head):
    """A head that learns from labels and noise, and draws one of the two best discrete actions."""

    discrete, losses, noise_shape = True, ("jump",), (2,)

    def loss(self, features, labels, noise=None):
        return torch.nn.functional.cross_entropy(self.network(features) * (1 + 0.1 * noise[:, :1]), labels)

    def act(self, features, rng):
        best = self.network(features).topk(2).indices
        return best[torch.arange(len(best)), torch.randint(2, (len(best),), generator=rng)]


@pytest.fixture
def jumping(monkeypatch):
    monkeypatch.setitem(plugins.HEADS, "jumping", f"{__name__}:Jumping")


def test_a_new_head_trains_saves_loads_and_acts(jumping, tmp_path):
    env = make_env("Corridor-v0")
    policy = build_policy(RunConfig("Corridor-v0", head="jumping", size=8), env)
    assert (policy.loss_name, policy.noise_shape) == ("jump", (2,))
    buffer, noise, episodes = ReplayBuffer(), torch.ones(8, 2), []
    buffer.add([walk(8, action=2)])
    rows = torch.arange(8)
    losses = [policy.update(*buffer.batch(rows)._replace(noise=noise))["Training Loss"] for _ in range(50)]
    assert losses[-1] < losses[0] / 2
    validated = policy.validate(*buffer.batch(rows)._replace(noise=noise))
    assert validated.keys() == {"Validation Loss", "Validation Accuracy"}
    policy.save(tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    assert type(loaded.head) is Jumping and same_weights(weights(loaded), weights(policy))
    for actor in (policy.actor(), loaded.actor()):
        (episode,) = sample_n_trajectories(env, actor, 1, np.random.default_rng(5))
        episodes.append(episode.acs.tolist())
    assert episodes[0] == episodes[1] and set(episodes[0]) <= {0, 1, 2}


CLOSE_LOGITS = [([0, 1e-9], 1), ([1000, 1000.0001], 1), ([7, 7 + 4e-7, 7], 1), ([-1e-9, 0, 0], 1), ([2, 2], 0)]


@pytest.mark.parametrize(("logits", "expected"), CLOSE_LOGITS)
def test_close_logits_give_the_same_action_in_torch_and_numpy(logits, expected, tmp_path):
    policy = constant_policy([float(number) for number in logits], True)
    assert policy(torch.zeros(1, 2)).mode.tolist() == [expected]
    path = tmp_path / "expert.npz"
    layer = policy.head.network[-1]
    meta = json.dumps({"activation": "tanh", "output": "argmax"})
    np.savez(path, w0=layer.weight.detach().numpy().T, b0=layer.bias.detach().numpy(), meta=np.array(meta))
    torch_actor = Doubling((2,), len(logits), True, n_layers=0)
    torch_actor.load_state_dict(policy.state_dict())
    numpy_actor, frozen = policy.actor(), torch_actor.actor()
    assert isinstance(numpy_actor, NumpyActor) and not isinstance(frozen, NumpyActor)
    for actor in (policy, numpy_actor, frozen, load_weights(path, make_env("Corridor-v0"))):
        assert actor.get_action(OBS[0]) == expected
        assert actor.get_action(OBS).tolist() == [expected] * len(OBS)
    accuracy = policy.validate(torch.from_numpy(OBS), torch.full((len(OBS),), expected))["Validation Accuracy"]
    assert accuracy == 1


def test_a_softmax_makes_some_of_these_logits_equal():
    probabilities = [torch.tensor(logits, dtype=torch.float32).softmax(0) for logits, _ in CLOSE_LOGITS]
    assert [int(row.argmax()) for row in probabilities] != [expected for _, expected in CLOSE_LOGITS]


@pytest.mark.parametrize(
    ("head", "discrete", "message"),
    [("gaussian", True, "gaussian"), ("categorical", False, "categorical"), ("fuzzy", True, "fuzzy")],
)
def test_a_head_that_does_not_fit_is_an_error(head, discrete, message):
    with pytest.raises(InputError, match=message):
        MLPPolicySL((2,), 3, discrete, head=head)
    assert MLPPolicySL((2,), 3, discrete).head_name == ("categorical" if discrete else "gaussian")


class Shy(Gaussian):
    """A head that acts differently from its parent and has no NumPy copy."""

    def act(self, features, rng):
        return super().act(features, rng) / 2


class Huber(Gaussian):
    """A head with another loss that acts as its parent does."""

    def loss(self, features, labels, noise=None):
        return torch.nn.functional.huber_loss(self(features).mean, labels)


@pytest.mark.parametrize("name", ["Shy", "Huber"])
def test_a_head_acts_in_numpy_only_if_the_copy_is_exact(name, monkeypatch):
    monkeypatch.setitem(plugins.HEADS, "own", f"{__name__}:{name}")
    policy = MLPPolicySL((2,), 3, False, head="own")
    actor = policy.actor()
    assert isinstance(actor, NumpyActor) is (name == "Huber")
    np.testing.assert_allclose(actor.get_action(OBS), policy.get_action(OBS), atol=1e-6)
    policy.update(OBS[:2], np.pad(LABELS, ((0, 0), (0, 1))))


def double(distribution, labels):
    """Return twice the squared error."""
    return 2 * (distribution.mean - labels).square().mean()


def test_a_new_row_of_a_table_is_accepted_everywhere(monkeypatch):
    monkeypatch.setitem(plugins.LOSSES, "double", f"{__name__}:double")
    monkeypatch.setitem(plugins.ACTIVATIONS, "softsign", ("torch.nn:Softsign", f"{__name__}:softsign"))
    monkeypatch.setattr(Gaussian, "losses", (*Gaussian.losses, "double"))
    config = RunConfig("CorridorContinuous-v0", loss="double", activation="softsign")
    policy = build_policy(config, make_env("CorridorContinuous-v0"))
    batch = torch.zeros(2, 2), torch.from_numpy(LABELS)
    mse = MLPPolicySL((2,), 2, False, activation="softsign", seed=policy.seed).loss(*batch)
    torch.testing.assert_close(policy.loss(*batch), 2 * mse)
    assert isinstance(policy.actor(), NumpyActor)
    np.testing.assert_allclose(policy.actor().get_action(OBS), policy.get_action(OBS), atol=1e-6)


def softsign(x):
    np.divide(x, 1 + np.abs(x), out=x)


@pytest.mark.parametrize("discrete", [True, False])
def test_a_file_from_before_there_were_heads_is_read(tmp_path, discrete):
    policy = MLPPolicySL((2,), 3, discrete, size=5, seed=2)
    policy.fit_normalization(OBS + 1)
    old = {"head.network.": "network.", "head.log_std": "log_std", "encoder.": ""}
    state = policy.state_dict()
    for new, name in old.items():
        state = {key.replace(new, name): tensor for key, tensor in state.items()}
    expected = {"ob_mean", "ob_std", *(f"network.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias"))}
    assert set(state) == expected | (set() if discrete else {"log_std"})
    content = {"policy": "MLPPolicySL", "hyperparameters": policy.hyperparameters(), "state": state}
    torch.save(content, tmp_path / "p.pt")
    loaded = load_policy(tmp_path / "p.pt")
    assert same_weights(weights(loaded), weights(policy)) and loaded.head_name == policy.head_name
    np.testing.assert_array_equal(loaded.get_action(OBS), policy.get_action(OBS))


def test_the_repositorys_old_policy_is_read():
    policy = load_policy("data/results/CarRacing-v3/policy.pt")
    assert type(policy) is CNNPolicySL and (policy.head_name, policy.loss_name) == ("gaussian", "mse")
    policy.reset()
    action = policy.get_action(np.full((96, 96, 3), 100, np.uint8))
    assert action.shape == (3,) and np.abs(action).max() > 0.01
