import math
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from fakes import Corridor
from torch import nn
from torch.distributions import Categorical, Independent

from rl_il.envs import fit_spaces, make_env
from rl_il.errors import InputError
from rl_il.policies.actors import NumpyActor
from rl_il.policies.encoders import Encoder, Flatten
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy

OBS = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)
KINDS = pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])


def constant_policy(output: list[float], discrete: bool, **settings) -> MLPPolicySL:
    """Return a policy whose network returns `output` for every observation."""
    policy = MLPPolicySL((2,), len(output), discrete, n_layers=0, **settings)
    with torch.no_grad():
        policy.head.network[-1].weight.zero_()
        policy.head.network[-1].bias.copy_(torch.tensor(output))
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


class Twice(Flatten):
    """An encoder that doubles the observation and has no NumPy copy."""

    def forward(self, observations):
        return super().forward(2 * observations)


class Doubling(MLPPolicySL):
    """A policy with its own encoder."""

    def build_encoder(self):
        return Twice(self.ob_shape)


class LayerNorm(Encoder):
    """An encoder with hidden layers."""

    def __init__(self, n_inputs: int):
        super().__init__()
        self.layers, self.n_features = nn.Sequential(nn.Linear(n_inputs, 8), nn.LayerNorm(8), nn.ReLU()), 8

    def forward(self, observations):
        return self.layers(observations)


class Normed(MLPPolicySL):
    """A policy with another network."""

    def build_encoder(self):
        return LayerNorm(*self.ob_shape)


class Dropping(MLPPolicySL):
    """A policy whose network is changed after it was built."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.head.network[1] = nn.Softsign()


def test_a_policy_gives_the_distribution_of_actions():
    distribution = constant_policy(np.log([0.2, 0.3, 0.5]).tolist(), True)(torch.zeros(4, 2))
    assert isinstance(distribution, Categorical)
    torch.testing.assert_close(distribution.probs, torch.tensor([[0.2, 0.3, 0.5]] * 4))
    policy = constant_policy([1.0, -2.0], False)
    policy.head.log_std.data = torch.tensor([0.0, math.log(3)])
    distribution = policy(torch.zeros(4, 2))
    assert isinstance(distribution, Independent)
    assert (distribution.batch_shape, distribution.event_shape) == ((4,), (2,))
    torch.testing.assert_close(distribution.mean, torch.tensor([[1.0, -2.0]] * 4))
    torch.testing.assert_close(distribution.stddev, torch.tensor([[1.0, 3.0]] * 4))


def test_a_policy_for_an_environment_has_its_shapes():
    for env, ac_dim, discrete in ((Corridor(), 3, True), (Corridor(continuous=True), 2, False)):
        policy = MLPPolicySL.for_env(env, n_layers=1, size=5)
        assert (policy.ob_shape, policy.ac_dim, policy.discrete) == ((2,), ac_dim, discrete)
        assert policy.head.network[0].out_features == 5


@pytest.mark.parametrize("space", [gym.spaces.Discrete(5), gym.spaces.Box(-1, 1, ())])
def test_a_policy_for_observations_that_are_no_arrays_yet_is_refused(space):
    env = Corridor()
    env.observation_space = space
    with pytest.raises(InputError, match="fit_spaces"):
        MLPPolicySL.for_env(env)
    assert MLPPolicySL.for_env(fit_spaces(env)).encoder.n_features in (5, 1)


@pytest.fixture
def byte_env(register_env):
    def make(high):
        space = gym.spaces.Box(0, np.array(high, np.uint8), dtype=np.uint8)
        return make_env(register_env(space, gym.spaces.Box(-1, 1, (3,))))

    return make


def test_bytes_are_scaled_to_one_by_their_bounds_in_torch_and_numpy_and_after_loading(byte_env, tmp_path):
    policy = MLPPolicySL.for_env(byte_env([255, 255, 3, 0]), n_layers=0)
    with torch.no_grad():  # the action is the scaled first three numbers
        policy.head.network[-1].weight.copy_(torch.eye(3, 4))
        policy.head.network[-1].bias.zero_()
    obs = np.array([[255, 51, 3, 0], [0, 102, 1, 0]], np.uint8)
    policy.save(tmp_path / "policy.pt")
    for each in (
        policy,
        policy.actor(),
        load_policy(tmp_path / "policy.pt"),
        load_policy(tmp_path / "policy.pt").actor(),
    ):
        np.testing.assert_allclose(each.get_action(obs), [[1, 0.2, 1], [0, 0.4, 1 / 3]], rtol=1e-6)
        np.testing.assert_allclose(each.get_action(obs[0]), [1, 0.2, 1], rtol=1e-6)
    assert isinstance(policy.actor(), NumpyActor)


def test_bytes_that_never_vary_are_divided_by_their_bound_after_normalisation(byte_env):
    policy = MLPPolicySL.for_env(byte_env([255, 255]))
    policy.fit_normalization(np.array([[7, 10], [7, 30]], np.uint8))
    seen = torch.tensor([[7, 10], [58, 30]], dtype=torch.uint8)
    torch.testing.assert_close(policy.encoder(seen), torch.tensor([[0, -1], [0.2, 1]]))


def test_normalization_by_hand():
    policy = MLPPolicySL((2, 2), 3, True)
    obs = np.array([[[0, 5], [10, -1]], [[2, 5], [30, -3]]])  # one number is constant
    policy.fit_normalization(obs)
    np.testing.assert_allclose(policy.encoder(torch.tensor(obs)), [[-1, 0, -1, 1], [1, 0, 1, -1]])
    unseen = torch.tensor([[[1, 6], [20, -2]]])
    np.testing.assert_allclose(policy.encoder(unseen), [[0, 1, 0, 0]])  # and it is not divided by a tiny number


def test_double_precision_observations_are_rounded_before_they_are_standardised():
    obs = np.random.default_rng(0).normal(1e4, 1e-2, (100, 2))  # float32 numbers here are 1e-3 apart
    policies = [MLPPolicySL((2,), 3, True) for _ in range(2)]
    for policy, observed in zip(policies, (obs, obs.astype(np.float32)), strict=True):
        policy.fit_normalization(observed)
    assert same_weights(*map(weights, policies))


@KINDS
@pytest.mark.parametrize("sample", [True, False], ids=["sampled", "greedy"])
@pytest.mark.parametrize(("ob_shape", "shape", "n"), [((4,), (4,), None), ((4,), (1, 4), 1), ((2, 2), (3, 2, 2), 3)])
def test_actions_have_the_shape_and_dtype_of_the_space(discrete, sample, ob_shape, shape, n):
    ac = MLPPolicySL(ob_shape, 3, discrete).get_action(np.ones(shape), sample)
    assert ac.dtype == (np.int64 if discrete else np.float32)
    assert ac.shape == (() if n is None else (n,)) + (() if discrete else (3,))


def test_actions_for_a_batch_equal_those_for_its_observations():
    policy = MLPPolicySL((2, 2), 3, False)
    obs = np.random.default_rng(0).integers(256, size=(9, 2, 2), dtype=np.uint8)  # pixels are accepted too
    np.testing.assert_allclose(policy.get_action(obs), [policy.get_action(ob) for ob in obs / 1], rtol=1e-5)


def test_greedy_is_the_default_and_takes_the_most_likely_action():
    assert (constant_policy(np.log([0.3, 0.4, 0.3]).tolist(), True).get_action(OBS) == 1).all()
    np.testing.assert_array_equal(constant_policy([3.0, -2.0], False).get_action(OBS), [[3, -2]] * 64)


def test_sampled_actions_have_the_distributions_moments():
    probabilities = np.array([0.2, 0.3, 0.5])
    policy = constant_policy(np.log(probabilities).tolist(), True)
    policy.reset(0)
    counts = np.bincount(policy.get_action(np.zeros((20_000, 2)), sample=True), minlength=3)
    expected = 20_000 * probabilities
    assert ((counts - expected) ** 2 / expected).sum() < 15  # chi-square, two degrees of freedom
    policy = constant_policy([1.0, -2.0], False)
    policy.head.log_std.data = torch.tensor([0.0, math.log(3)])
    policy.reset(0)
    acs = policy.get_action(np.zeros((20_000, 2)), sample=True)
    np.testing.assert_allclose(acs.mean(axis=0), [1, -2], atol=0.08)
    np.testing.assert_allclose(acs.std(axis=0), [1, 3], rtol=0.03)
    assert abs(np.corrcoef(acs.T)[0, 1]) < 0.03


@KINDS
def test_samples_depend_on_the_seed_of_the_reset(discrete):
    policy = MLPPolicySL((2,), 3, discrete)

    def draw(seed):
        policy.reset(seed)
        torch.rand(5)  # the global generator must not matter
        return np.concatenate([policy.get_action(OBS, sample=True) for _ in range(2)])

    first = draw(2**62 - 1)
    np.testing.assert_array_equal(draw(2**62 - 1), first)
    assert not np.array_equal(draw(0), first)
    assert not np.array_equal(first[:64], first[64:])


@KINDS
def test_weights_depend_on_the_policys_seed_only(discrete):
    before = torch.get_rng_state()
    policy, twin, other = (MLPPolicySL((2,), 3, discrete, seed=seed) for seed in (5, 5, 6))
    assert same_weights(weights(policy), weights(twin))
    assert not same_weights(weights(policy), weights(other))
    policy.get_action(OBS, sample=True)
    policy.update(OBS, labels_for(policy))
    policy.actor()
    assert torch.equal(torch.get_rng_state(), before)


LABELS = np.array([[2, 1], [1, -1]], np.float32)  # their differences from [1, -1] are 1, 2, 0 and 0


@pytest.mark.parametrize(
    ("loss", "std", "expected"),
    [
        (None, 1, 5 / 4),
        ("mse", 2, 5 / 4),
        ("l1", 1, 3 / 4),
        ("nll", 1, (1 + 4) / 2 / 2 + math.log(2 * math.pi)),
        ("nll", 2, (1 + 4) / 4 / 2 / 2 + 2 * math.log(2) + math.log(2 * math.pi)),
    ],
)
def test_continuous_losses_by_hand(loss, std, expected):
    policy = constant_policy([1.0, -1.0], False, loss=loss)
    policy.head.log_std.data.fill_(math.log(std))
    value = policy.loss(torch.zeros(2, 2), torch.from_numpy(LABELS))
    assert value.shape == ()
    assert value.item() == pytest.approx(expected)
    assert policy.loss_name == (loss or "mse")


@pytest.mark.parametrize(("discrete", "loss"), [(True, "mse"), (True, "l1"), (False, "huber")])
def test_a_loss_that_does_not_fit_is_an_error(discrete, loss):
    with pytest.raises(InputError, match=loss):
        MLPPolicySL((2,), 3, discrete, loss=loss)


@pytest.mark.parametrize(("discrete", "loss"), [(True, "nll"), (False, "nll"), (False, "mse"), (False, "l1")])
@pytest.mark.parametrize(
    "convert", [np.asarray, torch.from_numpy, np.float64], ids=["arrays", "tensors", "double precision"]
)
def test_update_lowers_the_loss_and_returns_what_it_was(discrete, loss, convert):
    policy = MLPPolicySL((2,), 3, discrete, loss=loss)
    acs = labels_for(policy)
    with torch.no_grad():
        before = policy.loss(torch.from_numpy(OBS), torch.from_numpy(acs)).item()
    acs = acs if discrete and convert is np.float64 else convert(acs)
    first = policy.update(convert(OBS), acs)
    assert list(first) == ["Training Loss"]
    assert type(first["Training Loss"]) is float
    assert first["Training Loss"] == pytest.approx(before)
    for _ in range(20):
        last = policy.update(convert(OBS), acs)
    assert last["Training Loss"] < before


@pytest.mark.parametrize("loss", ["mse", "nll", "l1"])
def test_labels_outside_the_bounds_can_be_fitted(loss):
    policy = MLPPolicySL((2,), 1, False, n_layers=0, loss=loss, learning_rate=0.05)
    labels = (3 * OBS[:, :1] - 4 * OBS[:, 1:] + 2).astype(np.float32)
    for _ in range(500):
        policy.update(OBS, labels)
    assert np.abs(labels).max() > 5
    assert np.abs(policy.get_action(OBS) - labels).max() < 0.5


def test_the_gaussian_learns_its_std_even_from_the_smallest():
    policy = MLPPolicySL((1,), 1, False, loss="nll", n_layers=0, learning_rate=0.05)
    obs = np.zeros((100, 1), np.float32)
    for _ in range(400):
        loss = policy.update(obs, np.zeros((100, 1), np.float32))["Training Loss"]
    assert math.isfinite(loss)
    assert policy.head.log_std.item() == pytest.approx(-5)
    noise = np.random.default_rng(0).normal(size=(100, 1)).astype(np.float32)
    for _ in range(6000):
        policy.update(obs, noise)
    # If it were clamped in `forward`, it would have no gradient.
    assert policy.head.log_std.exp().item() == pytest.approx(noise.std(), rel=0.05)


@pytest.mark.parametrize("loss", [None, "nll"])
def test_cross_entropy_and_validation_by_hand(loss):
    discrete = constant_policy(np.log([0.2, 0.3, 0.5]).tolist(), True, loss=loss)
    value = discrete.loss(torch.zeros(3, 2), torch.tensor([0, 2, 2]))
    assert value.item() == pytest.approx(-(math.log(0.2) + 2 * math.log(0.5)) / 3)
    assert discrete.loss_name == "nll"
    before = weights(discrete)
    metrics = discrete.validate(torch.zeros(4, 2), torch.tensor([2, 2, 2, 0]))
    expected = {"Validation Loss": -(3 * math.log(0.5) + math.log(0.2)) / 4, "Validation Accuracy": 0.75}
    assert metrics == pytest.approx(expected)
    assert same_weights(weights(discrete), before)
    continuous = constant_policy([1.0, -1.0], False)
    metrics = continuous.validate(torch.zeros(2, 2), torch.from_numpy(LABELS))
    assert metrics == pytest.approx({"Validation Loss": 5 / 4, "Validation MAE": 3 / 4})


@pytest.mark.parametrize(("discrete", "shape"), [(True, (3, 1)), (False, (3,)), (False, (3, 2)), (False, (2, 1))])
def test_labels_of_another_shape_are_not_broadcast(discrete, shape):
    policy = MLPPolicySL((2,), 1, discrete)
    with pytest.raises(InputError) as error:
        policy.update(np.zeros((3, 2)), np.zeros(shape, np.int64 if discrete else np.float32))
    assert str(shape) in str(error.value)


@KINDS
@pytest.mark.parametrize("policy_class", [MLPPolicySL, Doubling])
def test_an_actor_is_frozen(policy_class, discrete):
    policy = policy_class((2,), 3, discrete, learning_rate=0.5)
    actor = policy.actor()
    before, labels, sent = actor.get_action(OBS), labels_for(policy), pickle.loads(pickle.dumps(actor))
    np.testing.assert_allclose(before, policy.get_action(OBS), atol=1e-5)
    for _ in range(10):
        policy.update(OBS, labels)
    policy.fit_normalization(OBS + 5)
    np.testing.assert_array_equal(actor.get_action(OBS), before)
    np.testing.assert_array_equal(sent.get_action(OBS), before)  # as in another process
    assert not np.array_equal(policy.get_action(OBS), before)


@pytest.mark.parametrize("policy_class", [Doubling, Normed, Dropping])
def test_the_frozen_copy_of_another_network_acts_as_it_does(policy_class):
    policy = policy_class((2,), 3, False, seed=1)
    expected = policy.get_action(OBS)
    actor = policy.actor()
    assert type(actor) is policy_class
    np.testing.assert_array_equal(actor.get_action(OBS), expected)
    assert len(np.unique(expected)) > 64


class Mixin:
    def get_action(self, obs, sample=False):
        return super().get_action(obs, sample) + 1


@pytest.mark.parametrize("method", ["forward", "get_action", "view", "stack", "update", "mixin"])
def test_a_subclass_must_define_what_relies_on_the_method_it_overrides(method):
    with pytest.raises(TypeError, match="get_action" if method == "mixin" else method):
        if method == "mixin":
            type("Shifted", (Mixin, MLPPolicySL), {})
        else:
            type("Shifted", (MLPPolicySL,), {method: lambda self, *_: None})
    type("Shifted", (MLPPolicySL,), {"update": None, "compilable": False, "view": None, "actor": None})
