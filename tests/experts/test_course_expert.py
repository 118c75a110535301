"""The course's pickled experts, compared with what the course computes."""

import numpy as np
import pytest
from course_files import expert_action, expert_tree, write_pickle
from refusals import refusal

from rl_il.experts.loading import load_actor, load_expert

CONTINUOUS = "MountainCarContinuous-v0"  # observes two numbers
STANDARDIZER = "GaussianPolicy obsnorm Standardizer"
HIDDEN = "GaussianPolicy hidden FeedforwardNet"


def deep_set(tree, keys, value):
    """Replace the value under the keys, or remove it if `value` is None."""
    *path, last = keys.split()
    for key in path:
        tree = tree[key]
    if value is None:
        del tree[last]
    else:
        tree[last] = value


def refuse(policy, env, *words):
    refusal(load_actor, policy, env, holds=words)


def assert_acts_like_the_course(actor, tree, obs, padded=None):
    expected = expert_action(tree, obs if padded is None else padded)
    acs = actor.get_action(obs)
    assert acs.dtype == np.float32
    np.testing.assert_allclose(acs, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(actor.get_action(obs[0]), expected[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("nonlin", ["tanh", "lrelu"])
def test_it_acts_as_plain_numpy_does(tmp_path, shared_env, nonlin):
    tree = expert_tree(nonlin=nonlin)
    path = write_pickle(tmp_path / "HalfCheetah.pkl", tree)
    obs = np.random.default_rng(1).normal(scale=3, size=(50, 17))
    assert np.abs(expert_action(tree, obs)).max() > 1  # actions are not clipped
    assert_acts_like_the_course(load_expert(str(path), shared_env("HalfCheetah-v4")), tree, obs)


def test_it_acts_as_computed_by_hand(tmp_path, shared_env):
    tree = expert_tree(2, 1, (1,), "lrelu")
    # the standard deviations are 2 and 1
    deep_set(tree, STANDARDIZER, {"mean_1_D": np.array([[1.0, -1.0]]), "meansq_1_D": np.array([[5.0, 2.0]])})
    first = {"W": np.array([[1.0], [2.0]]), "b": np.array([[0.5]])}
    deep_set(tree, f"{HIDDEN} layer_0 AffineLayer", first)
    deep_set(tree, "GaussianPolicy out AffineLayer", {"W": np.array([[4.0]]), "b": np.array([[-1.0]])})
    actor = load_actor(write_pickle(tmp_path / "x.pkl", tree), shared_env(CONTINUOUS))
    # Standardised (1, 2), hidden 5.5; and standardised (1, -2), hidden -2.5, of which leaky ReLU leaves a hundredth.
    assert actor.get_action(np.array([[3.0, 1.0], [3.0, -3.0]]))[:, 0] == pytest.approx([21.0, -1.1], rel=1e-5)


@pytest.mark.parametrize(("mean", "variance", "spread"), [(1e6, 1.0, 1.0), (0.3, -1e-9, 1e-6)])
def test_it_computes_in_double_precision(tmp_path, shared_env, mean, variance, spread):
    # A variance that rounding made negative is taken as zero.
    tree = expert_tree(2, 1)
    means = np.array([[mean, -mean]])
    deep_set(tree, f"{STANDARDIZER} mean_1_D", means)
    deep_set(tree, f"{STANDARDIZER} meansq_1_D", means**2 + variance)
    obs = means + spread * np.random.default_rng(0).normal(size=(10, 2))
    actor = load_actor(write_pickle(tmp_path / "x.pkl", tree), shared_env(CONTINUOUS))
    assert_acts_like_the_course(actor, tree, obs)


def test_layers_are_sorted_by_number(tmp_path, shared_env):
    tree = expert_tree(2, 1, (2, 2, 2))
    first, second, third = tree["GaussianPolicy"]["hidden"]["FeedforwardNet"].values()
    deep_set(tree, HIDDEN, {"layer_10": third, "layer_0": first, "layer_2": second})
    actor = load_actor(write_pickle(tmp_path / "x.pkl", tree), shared_env(CONTINUOUS))
    assert_acts_like_the_course(actor, tree, np.random.default_rng(0).normal(size=(10, 2)))


def test_the_ant_expert_gets_zeros_for_the_contact_forces(tmp_path, shared_env, capsys):
    tree = expert_tree(111, 8)
    path = write_pickle(tmp_path / "Ant.pkl", tree)
    actor = load_expert(str(path), shared_env("Ant-v4"))
    note = capsys.readouterr().err
    assert note.startswith("note: ") and note.count("\n") == 1
    assert all(word in note for word in (str(path), "111", "27"))
    obs = np.random.default_rng(0).normal(size=(20, 27))
    assert_acts_like_the_course(actor, tree, obs, padded=np.concatenate([obs, np.zeros((20, 84))], axis=1))
    load_actor(write_pickle(path, expert_tree(27, 8)), shared_env("Ant-v4"))
    assert capsys.readouterr() == ("", "")  # there is no note if the file fits
    deep_set(tree, f"{HIDDEN} layer_0 AffineLayer W", np.zeros((17, 8)))
    refuse(write_pickle(path, tree), shared_env("Ant-v4"), "layer 0")


@pytest.mark.parametrize(
    "n_inputs, n_outputs, env, words",
    [
        (111, 6, "HalfCheetah-v4", ["(111,)", "(17,)"]),
        (111, 8, "Ant-v5", ["(111,)", "(105,)"]),
        (17, 8, "HalfCheetah-v4", ["8 continuous", "6 continuous"]),
        (8, 4, "LunarLander-v3", ["4 continuous", "4 discrete"]),
    ],
)
def test_any_other_mismatch_names_both_sizes(tmp_path, shared_env, n_inputs, n_outputs, env, words):
    refuse(write_pickle(tmp_path / "x.pkl", expert_tree(n_inputs, n_outputs)), shared_env(env), env, *words)


@pytest.mark.parametrize(
    "keys, value, words",
    [
        ("nonlin_type", "relu", ["relu", "demonstrations"]),
        ("GaussianPolicy out", None, ["out"]),
        (f"{STANDARDIZER} meansq_1_D", np.ones((1, 3)), ["(3,)"]),
        (f"{STANDARDIZER} mean_1_D", np.full((1, 2), np.nan), ["finite"]),
        (HIDDEN, [1, 2], []),
        (f"{HIDDEN} layer_x", {}, []),
        (f"{HIDDEN} layer_0 AffineLayer W", "weights", ["W"]),
        (f"{HIDDEN} layer_0 AffineLayer W", np.zeros((2, 7)), ["layer 0", "(2, 7)", "(8,)"]),
        ("GaussianPolicy out AffineLayer b", np.array([[np.inf]]), ["layer 2", "infinity"]),
    ],
)
def test_a_malformed_expert_is_refused_with_its_path(tmp_path, shared_env, keys, value, words):
    tree = expert_tree(2, 1)
    deep_set(tree, keys, value)
    refuse(write_pickle(tmp_path / "x.pkl", tree), shared_env(CONTINUOUS), *words)
