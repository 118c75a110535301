import pickle

import fakes  # noqa: F401 (registers the corridors)
import numpy as np
import pytest
import torch

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.plugins import ACTIVATIONS
from rl_il.policies.actors import NumpyActor, RandomActor, ScriptedActor, as_batch
from rl_il.policies.mlp_policy import MLPPolicySL

IDENTITY = (np.eye(2), np.zeros(2))


def by_hand(output="identity", **settings) -> NumpyActor:
    """Return a network without hidden layers: [x0 + x1, x0 - x1 + 1]."""
    return NumpyActor([(np.array([[1, 1], [1, -1]]), np.array([0, 1]))], "tanh", output, (2,), **settings)


@pytest.mark.parametrize("ob_shape", [(4,), (2, 2), (3, 4, 4)])
@pytest.mark.parametrize("rows", [(), (1,), (2,), (4,)])
def test_the_shape_tells_one_observation_from_many(ob_shape, rows):
    shape, single = (*rows, *ob_shape), not rows
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


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("discrete", [True, False], ids=["discrete", "continuous"])
@pytest.mark.parametrize("normalised", [True, False], ids=["normalised", "raw"])
def test_a_network_acts_as_its_policy_does(activation, discrete, normalised):
    rng = np.random.default_rng(0)
    policy = MLPPolicySL((3, 2), 4, discrete, n_layers=2, size=16, activation=activation, seed=1)
    obs = rng.normal(2, 3, (50, 3, 2)).astype(np.float32)
    if normalised:
        policy.fit_normalization(obs)
    outputs = policy.head.network(policy.encoder(torch.from_numpy(obs)))
    policy.head.network[-1].bias.data -= outputs.mean(axis=0).detach()  # so that several actions occur
    actor = policy.actor()
    assert isinstance(actor, NumpyActor)
    actor = pickle.loads(pickle.dumps(actor))  # as for another process
    acs, expected = actor.get_action(obs), policy.get_action(obs)
    assert (acs.dtype, acs.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(acs, expected, atol=1e-5)
    for ob, ac in zip(obs, expected, strict=True):
        single = actor.get_action(ob)
        assert single.shape == ac.shape
        np.testing.assert_allclose(single, ac, atol=1e-5)
    assert len(np.unique(expected)) > 1


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


def test_a_slice_and_pixels_are_read():
    actor = NumpyActor([IDENTITY], "tanh", "identity", (5,), obs_slice=slice(1, 3))
    np.testing.assert_array_equal(actor.get_action(np.arange(5.0)), [1, 2])
    actor = NumpyActor([(np.eye(4), np.zeros(4))], "tanh", "identity", (2, 2))
    np.testing.assert_array_equal(actor.get_action(np.array([[0, 50], [100, 255]], np.uint8)), [0, 50, 100, 255])


@pytest.mark.parametrize(("dtype", "is_positive"), [(np.float32, False), (np.float64, True)])
def test_it_computes_in_the_given_precision(dtype, is_positive):
    actor = NumpyActor([(np.ones((2, 1)), np.zeros(1))], "tanh", "identity", (2,), dtype=dtype)
    sum_of_both = actor.get_action(np.array([1 + 1e-9, -1.0]))  # single precision has no 1 + 1e-9
    assert (sum_of_both[0] > 0) == is_positive


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation": "swish"}, "'swish'"),
        ({"output": "softmax"}, "'softmax'"),
        ({"layers": [(np.eye(3), np.zeros(3))]}, "layer 0.* 3.* 2"),
        ({"layers": [IDENTITY, (np.eye(3), np.zeros(3))]}, "layer 1.* 3.*layer 0.* 2"),
        ({"layers": [(np.eye(2), np.zeros(3))]}, r"\(2, 2\).*\(3,\)"),
        ({"layers": [(np.ones(2), np.zeros(2))]}, r"\(2,\)"),
        ({"layers": [(np.eye(2), np.array([0, np.nan]))]}, "layer 0.*NaN"),
        ({"obs_mean": np.zeros(3), "obs_std": np.ones(2)}, r"obs_mean.*\(3,\)"),
        ({"obs_mean": np.zeros(2), "obs_std": np.array([1, np.nan])}, "obs_std"),
        ({"obs_mean": np.zeros(2), "obs_std": np.array([1, 0])}, "obs_std.* 0"),
        ({"obs_mean": np.zeros(2)}, "obs_std"),
        ({"action_scale": np.ones(3)}, r"action_scale.*\(3,\)"),
        ({"obs_slice": slice(0, 1)}, "layer 0.* 2.* 1"),
    ],
)
def test_a_network_that_does_not_fit_is_an_error(settings, message):
    arguments = {"layers": [IDENTITY], "activation": "tanh", "output": "identity", "ob_shape": (2,)} | settings
    with pytest.raises(InputError, match=message):
        NumpyActor(**arguments)


@pytest.mark.parametrize(("env_name", "shape"), [("Corridor-v0", ()), ("CorridorContinuous-v0", (2,))])
def test_random_actions_fill_the_space_and_depend_on_the_seed(env_name, shape):
    actor = RandomActor(make_env(env_name))

    def draw(seed, rows=3000):
        actor.reset(seed)
        return actor.get_action(np.zeros((rows, 2)))

    acs = draw(1)
    assert (acs.dtype, acs.shape) == (np.float32 if shape else np.int64, (3000, *shape))
    np.testing.assert_array_equal(draw(1), acs)
    assert not np.array_equal(draw(2), acs)
    if not shape:
        assert (np.abs(np.bincount(acs) - 1000) < 120).all() and acs.max() == 2
        return
    np.testing.assert_allclose(acs.min(axis=0), [-1, -2], atol=0.02)  # within 1 and within 2
    np.testing.assert_allclose(acs.max(axis=0), [1, 2], atol=0.02)
    assert (np.abs(acs) <= [1, 2]).all()


def test_a_random_action_is_independent_of_the_start_state():
    env = make_env("HalfCheetah-v5")
    start, actor, acs, noises = env.unwrapped.init_qpos, RandomActor(env), [], []
    for seed in range(100):
        ob, _ = env.reset(seed=seed)
        actor.reset(seed)
        acs.append(actor.get_action(ob))
        noises.append(env.unwrapped.data.qpos - start)
    correlations = np.corrcoef(np.array(acs).T, np.array(noises).T)[:6, 6:]
    assert np.abs(correlations).max() < 0.5  # it is 1 if both are drawn from the same stream


def test_a_rule_gets_a_batch():
    shapes = []

    def rule(obs):
        shapes.append(obs.shape)
        return obs.sum(axis=(1, 2))

    actor = ScriptedActor(rule, (2, 2))
    actor.reset(3)
    assert actor.get_action(np.ones((2, 2))) == 4
    np.testing.assert_array_equal(actor.get_action(np.ones((2, 2, 2))), [4, 4])
    assert shapes == [(1, 2, 2), (2, 2, 2)]
    with pytest.raises(InputError, match=r"\(2, 2\).*\(4,\)"):
        actor.get_action(np.ones(4))


@pytest.mark.parametrize("output", ["identity", "tanh", "clip", "argmax"])
def test_the_next_action_does_not_change_the_last_one_or_the_observation(output):
    actor = by_hand(output, obs_mean=np.zeros(2) + 1, obs_std=np.ones(2))
    obs = np.array([[3.0, 1.0], [0.0, 2.0]])
    first = actor.get_action(obs[0])
    kept = np.array(first)
    second = actor.get_action(obs[1])
    assert np.array_equal(first, kept) and not np.array_equal(first, second)
    batch = actor.get_action(obs)
    np.testing.assert_array_equal(batch, [first, second])
    np.testing.assert_array_equal(obs, [[3.0, 1.0], [0.0, 2.0]])
    assert by_hand().get_action([2.0, 1.0]).tolist() == [3.0, 2.0]  # a list is accepted too


def test_features_are_the_outputs_of_the_last_hidden_layer():
    weights = np.array([[1.0, 0], [0, -1]])
    layers = [(weights, np.zeros(2)), (np.ones((2, 3)), np.zeros(3))]
    actor = NumpyActor(layers, "relu", "argmax", (2,), obs_mean=np.array([1.0, 0]), obs_std=np.array([2.0, 1]))
    obs = np.array([[5, 3], [1, -4]], np.float32)
    np.testing.assert_array_equal(actor.features(obs), [[2, 0], [0, 4]])
    np.testing.assert_array_equal(obs, [[5, 3], [1, -4]])
    with pytest.raises(InputError, match="ScriptedActor"):
        ScriptedActor(lambda obs: obs, (2,)).features(obs)
