import pickle

import fakes  # noqa: F401 (registers the corridors)
import numpy as np
import pytest
import torch

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.policies.actors import ACTIVATIONS, NumpyActor, RandomActor, ScriptedActor, as_batch
from rl_il.policies.mlp_policy import MLPPolicySL

IDENTITY = (np.eye(2), np.zeros(2))


def by_hand(output="identity", **settings) -> NumpyActor:
    """Two inputs to [x0 + x1, x0 - x1 + 1] with no hidden layer."""
    return NumpyActor([(np.array([[1, 1], [1, -1]]), np.array([0, 1]))], "tanh", output, (2,), **settings)


# Shapes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ob_shape", "shape", "single"),
    [
        ((4,), (4,), True),
        ((4,), (1, 4), False),
        ((4,), (4, 4), False),
        ((2, 2), (2, 2), True),
        ((2, 2), (2, 2, 2), False),
        ((2, 2), (7, 2, 2), False),
        ((3, 4, 4), (3, 4, 4), True),
        ((3, 4, 4), (3, 3, 4, 4), False),
    ],
)
def test_one_and_many_are_told_apart_by_the_observations_shape(ob_shape, shape, single):
    obs = np.arange(np.prod(shape)).reshape(shape)
    batch, was_single = as_batch(obs, ob_shape)
    assert was_single is single
    np.testing.assert_array_equal(batch, obs[None] if single else obs)


@pytest.mark.parametrize(
    ("ob_shape", "shape"), [((4,), ()), ((4,), (3,)), ((4,), (2, 3)), ((4,), (2, 2, 4)), ((2, 2), (4,))]
)
def test_another_shape_is_an_error_that_names_both(ob_shape, shape):
    with pytest.raises(InputError) as error:
        as_batch(np.zeros(shape), ob_shape)
    assert str(ob_shape) in str(error.value)
    assert str(shape) in str(error.value)


# Networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize("normalised", [True, False], ids=["normalised", "raw"])
def test_a_network_acts_as_its_policy_does(activation, discrete, normalised):
    rng = np.random.default_rng(0)
    policy = MLPPolicySL((3, 2), 4, discrete, n_layers=2, size=16, activation=activation, seed=1)
    obs = rng.normal(2, 3, (50, 3, 2)).astype(np.float32)
    if normalised:
        policy.fit_normalization(obs)
    outputs = policy.network(policy.encode(torch.from_numpy(obs)))
    policy.network[-1].bias.data -= outputs.mean(axis=0).detach()  # or one discrete action may win everywhere
    actor = policy.actor()
    assert isinstance(actor, NumpyActor)
    acs, expected = actor.get_action(obs), policy.get_action(obs)
    assert (acs.dtype, acs.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(acs, expected, atol=1e-5)
    for ob, ac in zip(obs, expected, strict=True):
        single = actor.get_action(ob)
        assert single.shape == ac.shape
        np.testing.assert_allclose(single, ac, atol=1e-5)
    assert len(np.unique(expected)) > 1


@pytest.mark.parametrize(("name", "expected"), [("tanh", -np.tanh(2)), ("relu", 0), ("leaky_relu", -0.02)])
def test_activations_of_minus_two_by_hand(name, expected):
    actor = NumpyActor([IDENTITY, IDENTITY], name, "identity", (2,), dtype=np.float64)
    np.testing.assert_allclose(actor.get_action(np.array([-2.0, -2.0])), [expected] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("output", "settings", "expected"),
    [
        ("identity", {}, [3, 0]),
        ("argmax", {}, 0),
        ("tanh", {"action_scale": [2, 3]}, [2 * np.tanh(3), 0]),
        ("clip", {"action_low": [-1, 0.5], "action_high": [1, 2]}, [1, 0.5]),
        ("identity", {"obs_mean": [1, 1], "obs_std": [0.5, 1]}, [1, 0]),
    ],
)
def test_outputs_by_hand(output, settings, expected):
    ac = by_hand(output, **settings).get_action(np.array([1.0, 2.0]))  # [1 + 2, 1 - 2 + 1], or [0 + 1, 0 - 1 + 1]
    np.testing.assert_allclose(ac, expected, rtol=1e-6)
    assert ac.dtype == (np.int64 if output == "argmax" else np.float32)


def test_a_slice_of_the_observation_is_read():
    actor = NumpyActor([IDENTITY], "tanh", "identity", (5,), obs_slice=slice(1, 3))
    np.testing.assert_array_equal(actor.get_action(np.arange(5.0)), [1, 2])


def test_pixels_are_read():
    actor = NumpyActor([(np.eye(4), np.zeros(4))], "tanh", "identity", (2, 2))
    np.testing.assert_array_equal(actor.get_action(np.array([[0, 50], [100, 255]], np.uint8)), [0, 50, 100, 255])


@pytest.mark.parametrize(("dtype", "is_positive"), [(np.float32, False), (np.float64, True)])
def test_it_computes_in_the_precision_asked_for(dtype, is_positive):
    actor = NumpyActor([(np.ones((2, 1)), np.zeros(1))], "tanh", "identity", (2,), dtype=dtype)
    sum_of_both = actor.get_action(np.array([1 + 1e-9, -1.0]))  # single precision has no 1 + 1e-9
    assert (sum_of_both[0] > 0) == is_positive


def test_a_network_does_not_change_with_the_arrays_it_was_given():
    w, b = np.eye(2), np.zeros(2)
    actor = NumpyActor([(w, b)], "tanh", "identity", (2,), dtype=np.float64)
    w[:] = b[:] = 7
    np.testing.assert_array_equal(actor.get_action(np.array([1.0, 2.0])), [1, 2])


def test_every_network_can_be_sent_to_another_process():
    for activation in ACTIVATIONS:
        actor = NumpyActor([IDENTITY, IDENTITY], activation, "identity", (2,))
        copy = pickle.loads(pickle.dumps(actor))
        obs = np.array([[1.0, -2.0], [0.5, 0.0]])
        np.testing.assert_array_equal(copy.get_action(obs), actor.get_action(obs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "swish"}, r"'swish'.*tanh"),
        ({"output": "softmax"}, r"'softmax'.*argmax"),
        ({"layers": [(np.eye(3), np.zeros(3))]}, "layer 0 takes 3.*observation has 2"),
        ({"layers": [IDENTITY, (np.eye(3), np.zeros(3))]}, "layer 1 takes 3.*layer 0 gives 2"),
        ({"layers": [(np.eye(2), np.zeros(3))]}, r"weights \(2, 2\) and bias \(3,\)"),
        ({"layers": [(np.ones(2), np.zeros(2))]}, "do not fit"),
        ({"layers": [(np.eye(2), np.array([0, np.nan]))]}, "NaN or infinity"),
        ({"layers": [(np.full((2, 2), np.inf), np.zeros(2))]}, "NaN or infinity"),
        ({"obs_mean": np.zeros(3), "obs_std": np.ones(2)}, "obs_mean must be 2 finite numbers"),
        ({"obs_mean": np.zeros(2), "obs_std": np.array([1, np.nan])}, "obs_std must be 2 finite numbers"),
        ({"obs_slice": slice(0, 1)}, "layer 0 takes 2.*observation has 1"),
    ],
)
def test_a_network_that_does_not_fit_is_an_error(settings, message):
    arguments = {"layers": [IDENTITY], "activation": "tanh", "output": "identity", "ob_shape": (2,)} | settings
    with pytest.raises(InputError, match=message):
        NumpyActor(**arguments)


# Chance and rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_name", ["Corridor-v0", "CorridorContinuous-v0"])
def test_chance_repeats_for_the_seed_of_a_reset(env_name):
    actor = RandomActor(make_env(env_name))

    def draw(seed):
        actor.reset(seed)
        return np.array([actor.get_action(np.zeros(2)) for _ in range(20)])

    first = draw(1)
    np.testing.assert_array_equal(draw(1), first)
    assert not np.array_equal(draw(2), first)


def test_chance_takes_every_discrete_action():
    acs = RandomActor(make_env("Corridor-v0")).get_action(np.zeros((3000, 2)))
    assert acs.dtype == np.int64
    counts = np.bincount(acs, minlength=3)
    assert len(counts) == 3
    assert (np.abs(counts - 1000) < 120).all()


def test_chance_fills_continuous_bounds():
    acs = RandomActor(make_env("CorridorContinuous-v0")).get_action(np.zeros((3000, 2)))  # within 1 and within 2
    assert (acs.dtype, acs.shape) == (np.float32, (3000, 2))
    np.testing.assert_allclose(acs.min(axis=0), [-1, -2], atol=0.02)
    np.testing.assert_allclose(acs.max(axis=0), [1, 2], atol=0.02)
    assert (np.abs(acs) <= [1, 2]).all()


@pytest.mark.parametrize(("env_name", "shape"), [("Corridor-v0", ()), ("CorridorContinuous-v0", (2,))])
def test_chance_gives_one_action_to_one_observation(env_name, shape):
    assert RandomActor(make_env(env_name)).get_action(np.zeros(2)).shape == shape


def test_a_rule_is_asked_for_a_batch():
    shapes = []

    def rule(obs):
        shapes.append(obs.shape)
        return obs.sum(axis=(1, 2))

    actor = ScriptedActor(rule, (2, 2))
    actor.reset(3)
    assert actor.get_action(np.ones((2, 2))) == 4
    np.testing.assert_array_equal(actor.get_action(np.ones((2, 2, 2))), [4, 4])
    assert shapes == [(1, 2, 2), (2, 2, 2)]
    with pytest.raises(InputError, match="must have the shape"):
        actor.get_action(np.ones(4))


@pytest.mark.parametrize("output", ["identity", "tanh", "clip", "argmax"])
def test_an_action_outlives_the_next_one_and_the_observation_stays(output):
    actor = by_hand(output, obs_mean=np.zeros(2) + 1, obs_std=np.ones(2))
    obs = np.array([[3.0, 1.0], [0.0, 2.0]])
    first = actor.get_action(obs[0])
    kept = np.array(first)
    second = actor.get_action(obs[1])
    assert np.array_equal(first, kept) and not np.array_equal(first, second)
    batch = actor.get_action(obs)
    np.testing.assert_array_equal(batch, [first, second])
    np.testing.assert_array_equal(obs, [[3.0, 1.0], [0.0, 2.0]])


def test_a_list_is_an_observation_too():
    assert by_hand().get_action([2.0, 1.0]).tolist() == [3.0, 2.0]
