"""Standardised actions: the loss is in standardised units, and all else in the units of the actions."""

import numpy as np
import pytest
import torch
from fakes import Corridor
from test_mlp_policy import OBS, same_weights, weights

from rl_il.errors import InputError
from rl_il.policies.actors import NumpyActor
from rl_il.policies.base_policy import OPTIONS
from rl_il.policies.heads import Gaussian, Head
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy

LABELS = np.array([[90, 1], [110, 1]], np.float32)  # mean 100 and std 10; a number that does not vary


class Drawing(Head):
    """A head without a distribution, whose actions are drawn, and whose loss has noise."""

    discrete, losses, noise_shape = False, ("error",), (1,)

    def loss(self, features, labels, noise=None):
        return (self.network(features) + noise - labels).square().mean()

    def act(self, features, rng):
        return self.network(features) + torch.rand(len(features), self.ac_dim, generator=rng)


class Halving(MLPPolicySL):
    """A policy with its own loss, of the distribution that `forward` returns."""

    def loss(self, observations, actions):
        return (self(observations).mean - actions).abs().mean() / 2


def standard(output=(1.5, 2.0), policy_class=MLPPolicySL, **settings) -> MLPPolicySL:
    """Return a policy whose network returns `output`, and whose labels were `LABELS`."""
    policy = policy_class((2,), 2, False, n_layers=0, normalize_acs=True, **settings)
    with torch.no_grad():
        policy.head.head.network[-1].weight.zero_()
        policy.head.head.network[-1].bias.copy_(torch.tensor(output))
    policy.fit_label_normalization(LABELS)
    return policy


def test_it_acts_in_the_units_of_the_actions_in_torch_and_numpy_and_after_loading(tmp_path):
    policy = standard()
    policy.save(tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    assert same_weights(weights(loaded), weights(policy)) and loaded.normalize_acs
    for each in (policy, policy.actor(), loaded, loaded.actor()):
        np.testing.assert_allclose(each.get_action(OBS), [[115, 3]] * len(OBS), rtol=1e-6)
        np.testing.assert_allclose(each.get_action(OBS[0]), [115, 3], rtol=1e-6)
        assert each.get_action(OBS[0]).dtype == np.float32
    assert isinstance(policy.actor(), NumpyActor)


def test_the_loss_is_in_standardised_units_and_the_error_in_those_of_the_actions():
    batch = torch.from_numpy(OBS[:2]), torch.from_numpy(LABELS)
    # The labels are -1 and 1, and twice 0; the network returns 1.5 and 2.
    assert standard().loss(*batch).item() == pytest.approx((2.5**2 + 0.5**2 + 2 * 2**2) / 4)
    assert standard(loss="l1").loss(*batch).item() == pytest.approx((2.5 + 0.5 + 2 * 2) / 4)
    assert standard().validate(*batch) == pytest.approx(
        {"Validation Loss": (2.5**2 + 0.5**2 + 2 * 2**2) / 4, "Validation MAE": (25 + 5 + 2 * 2) / 4}
    )


def test_the_distribution_is_in_the_units_of_the_actions():
    policy = standard(loss="nll")
    distribution = policy(torch.from_numpy(OBS[:1]))
    assert distribution.mean.tolist() == distribution.mode.tolist() == [[115, 3]]
    assert distribution.stddev.tolist() == [[10, 1]]
    same = torch.distributions.Normal(torch.tensor([115.0, 3]), torch.tensor([10.0, 1]))
    label = torch.tensor([[101.0, 2]])
    torch.testing.assert_close(distribution.log_prob(label), same.log_prob(label).sum(dim=-1))
    drawn = policy.get_action(np.zeros((4000, 2)), sample=True)
    assert drawn.mean(axis=0) == pytest.approx([115, 3], rel=0.02) and drawn.std(axis=0) == pytest.approx(
        [10, 1], rel=0.05
    )


def test_a_loss_of_a_subclass_is_of_actions_in_their_units():
    policy = standard(policy_class=Halving)
    assert policy.loss(torch.from_numpy(OBS[:2]), torch.from_numpy(LABELS)).item() == pytest.approx((25 + 5 + 4) / 8)


def test_a_head_without_a_distribution_is_standardised_too(monkeypatch):
    monkeypatch.setitem(__import__("rl_il.plugins").plugins.HEADS, "drawing", f"{__name__}:Drawing")
    policy = standard(head="drawing")
    assert (policy.noise_shape, policy.loss_name, policy.head_name) == ((1,), "error", "drawing")
    batch = torch.from_numpy(OBS[:2]), torch.from_numpy(LABELS), torch.zeros(2, 1)
    assert policy.loss(*batch).item() == pytest.approx((2.5**2 + 0.5**2 + 2 * 2**2) / 4)
    acs = policy.get_action(np.zeros((500, 2)))
    assert acs[:, 0].min() > 115 and acs[:, 0].max() < 125 and acs[:, 0].std() == pytest.approx(10 / 12**0.5, rel=0.1)


def test_training_reaches_labels_in_large_units():
    policy = MLPPolicySL((2,), 2, False, n_layers=1, size=32, normalize_acs=True, learning_rate=0.02)
    labels = np.stack([500 + 100 * OBS[:, 0], 0.001 * OBS[:, 1]], axis=1)
    policy.fit_label_normalization(labels)
    for _ in range(300):
        policy.update(OBS, labels)
    errors = np.abs(policy.get_action(OBS) - labels).mean(axis=0)
    assert errors[0] < 10 and errors[1] < 0.0001  # a tenth of their standard deviations


def test_the_standard_deviation_stays_in_its_range():
    policy = standard(loss="nll")
    with torch.no_grad():
        policy.head.head.log_std.fill_(-9)
    policy.constrain(dict(policy.named_parameters()))
    assert policy.head.head.log_std.tolist() == [-5, -5]


def test_labels_of_a_wrong_shape_are_refused():
    with pytest.raises(InputError, match=r"\(2, 2\).*\(2,\)"):
        standard().update(OBS[:2], np.zeros(2, np.float32))


def test_integers_are_refused_and_policies_made_without_it():
    for env_policy in ({"ac_dim": 3, "discrete": True}, {"ac_dim": (2, 3), "discrete": True}):
        with pytest.raises(InputError, match="--normalize_acs"):
            MLPPolicySL((2,), **env_policy, normalize_acs=True)
    policy = MLPPolicySL.for_env(Corridor(continuous=True))
    assert type(policy.head) is Gaussian
    with pytest.raises(InputError, match=r"--normalize_acs.*normalize_acs=True"):
        policy.fit_label_normalization(LABELS)


def test_a_file_holds_the_options_only_if_they_are_given(tmp_path):
    for options in ({}, {"normalize_acs": True, "dropout": 0.5, "layer_norm": True}):
        MLPPolicySL((2,), 2, False, **options).save(tmp_path / "policy.pt")
        found = torch.load(tmp_path / "policy.pt")["hyperparameters"]
        assert {name: found[name] for name in OPTIONS.keys() & found.keys()} == options
