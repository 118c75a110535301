import math
import pickle

import numpy as np
import pytest
import torch
from fakes import Corridor
from torch import nn
from torch.distributions import Categorical, Independent, Normal

from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import seeded_weights
from rl_il.policies.actors import NumpyActor
from rl_il.policies.mlp_policy import MLPPolicySL

OBS = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
KINDS = pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])


def constant_policy(output: list[float], discrete: bool, **settings) -> MLPPolicySL:
    """A policy whose network gives `output` whatever it observes."""
    policy = MLPPolicySL((2,), len(output), discrete, n_layers=0, **settings)
    with torch.no_grad():
        policy.network[-1].weight.zero_()
        policy.network[-1].bias.copy_(torch.tensor(output))
    return policy


def labels_for(policy: MLPPolicySL, rows: int = 64) -> np.ndarray:
    rng = np.random.default_rng(1)
    if policy.discrete:
        return rng.integers(policy.ac_dim, size=rows)
    return rng.normal(size=(rows, policy.ac_dim)).astype(np.float32)


def weights(policy: MLPPolicySL) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in policy.state_dict().items()}


def same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


class Doubling(MLPPolicySL):
    """Reads twice the observation."""

    def encode(self, observations):
        return super().encode(2 * observations)


class Mirrored(MLPPolicySL):
    """Computes its distribution from the negative output."""

    def forward(self, observations):
        return Categorical(logits=-self.network(self.encode(observations)))


class Shifted(MLPPolicySL):
    """Takes the next action."""

    def get_action(self, obs, sample=False):
        return (super().get_action(obs, sample) + 1) % self.ac_dim


class Normed(MLPPolicySL):
    """Has a network of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        with seeded_weights(3):
            self.network = nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, self.ac_dim))


class Contrary(MLPPolicySL):
    """Learns the negative labels."""

    def loss(self, observations, actions):
        return super().loss(observations, -actions)


class Indifferent(MLPPolicySL):
    """Has a loss without a gradient."""

    def loss(self, observations, actions):
        return 0 * sum(parameter.sum() for parameter in self.parameters())


# Batches of episodes -------------------------------------------------------------------------------------


def test_who_acts_from_single_observations_acts_for_many_episodes_at_once():
    for make in (MLPPolicySL, Doubling, Mirrored):
        learner = make((2,), 3, True)
        assert learner.vectorized(4) is learner
        learner.begin(slot=3, seed=0)
        assert learner.get_action(np.zeros((4, 2), np.float32)).shape == (4,)
    assert Shifted((2,), 3, True).vectorized(4) is None  # it may remember


# Distributions -------------------------------------------------------------------------------------------


def test_a_discrete_policy_gives_a_categorical_distribution():
    distribution = constant_policy(np.log([0.2, 0.3, 0.5]).tolist(), True)(torch.zeros(4, 2))
    assert isinstance(distribution, Categorical)
    torch.testing.assert_close(distribution.probs, torch.tensor([[0.2, 0.3, 0.5]] * 4))


def test_a_continuous_policy_gives_a_gaussian_of_each_action():
    policy = constant_policy([1.0, -2.0], False)
    policy.log_std.data = torch.tensor([0.0, math.log(3)])
    distribution = policy(torch.zeros(4, 2))
    assert isinstance(distribution, Independent)
    assert isinstance(distribution.base_dist, Normal)
    assert (distribution.batch_shape, distribution.event_shape) == ((4,), (2,))
    torch.testing.assert_close(distribution.mean, torch.tensor([[1.0, -2.0]] * 4))
    torch.testing.assert_close(distribution.stddev, torch.tensor([[1.0, 3.0]] * 4))


def test_a_policy_for_an_environment_has_its_shapes():
    discrete = MLPPolicySL.for_env(Corridor(), n_layers=1, size=5)
    assert (discrete.ob_shape, discrete.ac_dim, discrete.discrete) == ((2,), 3, True)
    assert discrete.network[0].out_features == 5
    continuous = MLPPolicySL.for_env(Corridor(continuous=True))
    assert (continuous.ob_shape, continuous.ac_dim, continuous.discrete) == ((2,), 2, False)


# Acting --------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("sample", [True, False], ids=["sampled", "greedy"])
@pytest.mark.parametrize(
    ("ob_shape", "shape", "n"),
    [((4,), (4,), None), ((4,), (1, 4), 1), ((4,), (4, 4), 4), ((2, 2), (2, 2), None), ((2, 2), (3, 2, 2), 3)],
)
def test_actions_have_the_shape_and_dtype_of_the_space(discrete, sample, ob_shape, shape, n):
    ac = MLPPolicySL(ob_shape, 3, discrete).get_action(np.ones(shape), sample)
    assert ac.dtype == (np.int64 if discrete else np.float32)
    assert ac.shape == (() if n is None else (n,)) + (() if discrete else (3,))


def test_a_batch_gives_what_its_observations_give_alone():
    policy = MLPPolicySL((2,), 3, False)
    np.testing.assert_allclose(policy.get_action(OBS), [policy.get_action(ob) for ob in OBS], atol=1e-6)


def test_pixels_can_be_observed():
    policy = MLPPolicySL((2, 2), 3, False)
    obs = np.array([[0, 255], [1, 2]], np.uint8)
    np.testing.assert_array_equal(policy.get_action(obs), policy.get_action(obs.astype(np.float32)))


def test_an_observation_of_another_size_is_an_error():
    with pytest.raises(InputError, match=r"\(2,\).*\(3,\)"):
        MLPPolicySL((2,), 3, True).get_action(np.zeros(3))


def test_greedy_is_the_default_and_takes_the_likeliest():
    assert (constant_policy(np.log([0.3, 0.4, 0.3]).tolist(), True).get_action(OBS) == 1).all()
    np.testing.assert_array_equal(constant_policy([3.0, -2.0], False).get_action(OBS), [[3, -2]] * 64)


def test_sampled_discrete_actions_have_the_distributions_frequencies():
    probabilities = np.array([0.2, 0.3, 0.5])
    policy = constant_policy(np.log(probabilities).tolist(), True)
    policy.reset(0)
    counts = np.bincount(policy.get_action(np.zeros((20_000, 2)), sample=True), minlength=3)
    expected = 20_000 * probabilities
    assert ((counts - expected) ** 2 / expected).sum() < 15  # chi-square, two degrees of freedom


def test_sampled_continuous_actions_have_the_distributions_moments():
    policy = constant_policy([1.0, -2.0], False)
    policy.log_std.data = torch.tensor([0.0, math.log(3)])
    policy.reset(0)
    acs = policy.get_action(np.zeros((20_000, 2)), sample=True)
    np.testing.assert_allclose(acs.mean(axis=0), [1, -2], atol=0.08)
    np.testing.assert_allclose(acs.std(axis=0), [1, 3], rtol=0.03)
    assert abs(np.corrcoef(acs.T)[0, 1]) < 0.03


@KINDS
def test_samples_follow_from_the_seed_of_a_reset(discrete):
    policy = MLPPolicySL((2,), 3, discrete)

    def draw(seed):
        policy.reset(seed)
        torch.rand(5)  # the global generator must not matter
        return np.concatenate([policy.get_action(OBS, sample=True) for _ in range(2)])

    first = draw(2**62 - 1)
    np.testing.assert_array_equal(draw(2**62 - 1), first)
    assert not np.array_equal(draw(0), first)
    assert not np.array_equal(first[:64], first[64:])


# Seeds ---------------------------------------------------------------------------------------------------


@KINDS
def test_a_policy_never_touches_the_global_generator(discrete):
    before = torch.get_rng_state()
    policy = MLPPolicySL((2,), 3, discrete, seed=5)
    policy.reset(1)
    policy.get_action(OBS, sample=True)
    policy.update(OBS, labels_for(policy))
    policy.actor()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_follow_from_the_seed():
    def make(seed):
        torch.rand(3)
        return weights(MLPPolicySL((2,), 3, True, seed=seed))

    assert same_weights(make(1), make(1))
    assert not same_weights(make(1), make(2))


# Learning ------------------------------------------------------------------------------------------------


LABELS = np.array([[2, 1], [1, -1]], np.float32)  # by [1, -1] they are missed by 1, 2, 0 and 0


@pytest.mark.parametrize(
    ("loss", "std", "expected"),
    [
        ("mse", 1, 5 / 4),
        ("mse", 2, 5 / 4),
        ("l1", 1, 3 / 4),
        ("nll", 1, (1 + 4) / 2 / 2 + math.log(2 * math.pi)),
        ("nll", 2, (1 + 4) / 4 / 2 / 2 + 2 * math.log(2) + math.log(2 * math.pi)),
    ],
)
def test_continuous_losses_by_hand(loss, std, expected):
    policy = constant_policy([1.0, -1.0], False, loss=loss)
    policy.log_std.data.fill_(math.log(std))
    value = policy.loss(torch.zeros(2, 2), torch.from_numpy(LABELS))
    assert value.shape == ()
    assert value.item() == pytest.approx(expected)


def test_cross_entropy_by_hand():
    policy = constant_policy(np.log([0.2, 0.3, 0.5]).tolist(), True)
    value = policy.loss(torch.zeros(3, 2), torch.tensor([0, 2, 2]))
    assert value.item() == pytest.approx(-(math.log(0.2) + 2 * math.log(0.5)) / 3)


@pytest.mark.parametrize(("discrete", "loss"), [(True, "nll"), (False, "mse")])
def test_the_default_loss(discrete, loss):
    policy, named = (MLPPolicySL((2,), 3, discrete, loss=name) for name in (None, loss))
    batch = torch.from_numpy(OBS), torch.from_numpy(labels_for(policy))
    assert policy.loss(*batch) == named.loss(*batch)


@pytest.mark.parametrize(
    ("discrete", "loss", "message"),
    [(True, "mse", "continuous"), (True, "l1", "continuous"), (False, "huber", "unknown loss 'huber'.*mse")],
)
def test_a_loss_that_does_not_fit_is_an_error(discrete, loss, message):
    with pytest.raises(InputError, match=message):
        MLPPolicySL((2,), 3, discrete, loss=loss)


@pytest.mark.parametrize(("discrete", "loss"), [(True, "nll"), (False, "nll"), (False, "mse"), (False, "l1")])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy], ids=["arrays", "tensors"])
def test_update_lowers_the_loss_and_returns_what_it_was(discrete, loss, convert):
    policy = MLPPolicySL((2,), 3, discrete, loss=loss)
    acs = labels_for(policy)
    with torch.no_grad():
        before = policy.loss(torch.from_numpy(OBS), torch.from_numpy(acs)).item()
    first = policy.update(convert(OBS), convert(acs))
    assert list(first) == ["Training Loss"]
    assert type(first["Training Loss"]) is float
    assert first["Training Loss"] == pytest.approx(before)
    for _ in range(20):
        last = policy.update(convert(OBS), convert(acs))
    assert last["Training Loss"] < before


def test_update_takes_double_precision():
    single, double = MLPPolicySL((2,), 3, False), MLPPolicySL((2,), 3, False)
    acs = labels_for(single)
    assert single.update(OBS, acs) == double.update(OBS.astype(np.float64), acs.astype(np.float64))
    assert same_weights(weights(single), weights(double))


@pytest.mark.parametrize("loss", ["mse", "nll", "l1"])
def test_labels_outside_the_bounds_can_be_fitted(loss):
    policy = MLPPolicySL((2,), 1, False, n_layers=0, loss=loss, learning_rate=0.05)
    labels = (3 * OBS[:, :1] - 4 * OBS[:, 1:] + 2).astype(np.float32)
    for _ in range(500):
        policy.update(OBS, labels)
    assert np.abs(labels).max() > 5
    assert np.abs(policy.get_action(OBS) - labels).max() < 0.5


def test_discrete_labels_can_be_fitted():
    policy = MLPPolicySL((2,), 2, True, size=16)
    labels = np.int64(OBS.sum(axis=1) > 0)
    for _ in range(300):
        policy.update(OBS, labels)
    assert (policy.get_action(OBS) == labels).mean() > 0.95


def test_the_gaussian_learns_its_spread():
    policy = MLPPolicySL((2,), 1, False, n_layers=0, loss="nll", learning_rate=0.05)
    labels = np.random.default_rng(0).normal(0, 0.2, (2000, 1)).astype(np.float32)
    for _ in range(300):
        policy.update(np.zeros((2000, 2), np.float32), labels)
    assert policy(torch.zeros(1, 2)).stddev.item() == pytest.approx(0.2, rel=0.1)


def test_the_likelihood_of_labels_without_noise_stays_finite():
    policy = MLPPolicySL((2,), 1, False, n_layers=0, loss="nll", learning_rate=0.1)
    for _ in range(300):
        loss = policy.update(np.zeros((8, 2)), np.ones((8, 1)))["Training Loss"]
    assert math.isfinite(loss)
    assert all(tensor.isfinite().all() for tensor in policy.state_dict().values())


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_weight_decay_shrinks_the_weights(weight_decay):
    policy = Indifferent((2,), 3, True, learning_rate=0.5, weight_decay=weight_decay)
    before = weights(policy)
    policy.update(OBS, labels_for(policy))
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter.data, (1 - 0.5 * weight_decay) * before[name])


def test_validation_by_hand():
    discrete = constant_policy(np.log([0.2, 0.3, 0.5]).tolist(), True)
    before = weights(discrete)
    metrics = discrete.validate(torch.zeros(4, 2), torch.tensor([2, 2, 2, 0]))
    expected = {"Validation Loss": -(3 * math.log(0.5) + math.log(0.2)) / 4, "Validation Accuracy": 0.75}
    assert metrics == pytest.approx(expected)
    assert same_weights(weights(discrete), before)
    continuous = constant_policy([1.0, -1.0], False)
    metrics = continuous.validate(torch.zeros(2, 2), torch.from_numpy(LABELS))
    assert metrics == pytest.approx({"Validation Loss": 5 / 4, "Validation MAE": 3 / 4})


def test_normalization_by_hand():
    policy = MLPPolicySL((2, 2), 3, True)
    obs = np.array([[[0, 5], [10, -1]], [[2, 5], [30, -3]]])  # one number never changes
    policy.fit_normalization(obs)
    np.testing.assert_allclose(policy.encode(torch.tensor(obs)), [[-1, 0, -1, 1], [1, 0, 1, -1]])
    unseen = torch.tensor([[[1, 6], [20, -2]]])
    np.testing.assert_allclose(policy.encode(unseen), [[0, 1, 0, 0]])  # it is not blown up either


@pytest.mark.parametrize(("discrete", "shape"), [(True, (3, 1)), (False, (3,)), (False, (3, 2)), (False, (2, 1))])
def test_labels_of_another_shape_are_refused_rather_than_broadcast(discrete, shape):
    policy = MLPPolicySL((2,), 1, discrete)
    with pytest.raises(InputError, match=r"labels must have the shape"):
        policy.update(np.zeros((3, 2)), np.zeros(shape, np.int64 if discrete else np.float32))


def test_the_gaussians_std_recovers_from_its_least_value():
    policy = MLPPolicySL((1,), 1, False, loss="nll", n_layers=0, learning_rate=0.05)
    obs = np.zeros((100, 1), np.float32)
    for _ in range(400):
        policy.update(obs, np.zeros((100, 1), np.float32))
    assert policy.log_std.item() == pytest.approx(-5)
    noise = np.random.default_rng(0).normal(size=(100, 1)).astype(np.float32)
    for _ in range(4000):
        policy.update(obs, noise)
    assert policy.log_std.exp().item() > noise.std() / 2  # it stood still for ever where `forward` clamped it


# Frozen copies -------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("policy_class", [MLPPolicySL, Doubling])
def test_an_actor_is_frozen(policy_class, discrete):
    policy = policy_class((2,), 3, discrete, learning_rate=0.5)
    actor = policy.actor()
    before, labels = actor.get_action(OBS), labels_for(policy)
    np.testing.assert_allclose(before, policy.get_action(OBS), atol=1e-5)
    for _ in range(10):
        policy.update(OBS, labels)
    policy.fit_normalization(OBS + 5)
    np.testing.assert_array_equal(actor.get_action(OBS), before)
    assert not np.array_equal(policy.get_action(OBS), before)


@pytest.mark.parametrize("policy_class", [Doubling, Mirrored, Shifted, Normed])
def test_an_actor_computes_as_its_own_class_does(policy_class):
    policy = policy_class((2,), 3, True, seed=1)
    expected = policy.get_action(OBS)
    np.testing.assert_array_equal(policy.actor().get_action(OBS), expected)
    assert len(np.unique(expected)) > 1


def test_a_subclass_with_another_loss_still_acts_in_numpy():
    assert isinstance(Contrary((2,), 3, False).actor(), NumpyActor)


@pytest.mark.parametrize("policy_class", [MLPPolicySL, Doubling])
def test_an_actor_can_be_sent_to_another_process(policy_class):
    actor = policy_class((2,), 3, True).actor()
    copy = pickle.loads(pickle.dumps(actor))
    copy.reset(3)
    np.testing.assert_array_equal(copy.get_action(OBS), actor.get_action(OBS))


def test_a_subclass_trains_with_its_own_loss():
    policy = Contrary((2,), 1, False, n_layers=0, learning_rate=0.05)
    labels = 3 * OBS[:, :1]
    for _ in range(400):
        policy.update(OBS, labels)
    np.testing.assert_allclose(policy.get_action(OBS), -labels, atol=0.2)


def test_the_tables_of_names_agree():
    from rl_il import config
    from rl_il.infrastructure import pytorch_utils
    from rl_il.policies import actors, mlp_policy

    assert {*config.ACTIVATIONS} == {*pytorch_utils.ACTIVATIONS} == {*actors.ACTIVATIONS}
    assert {*config.LOSSES} == {*mlp_policy.LOSSES}
