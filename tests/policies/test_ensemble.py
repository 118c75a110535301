"""Several networks in one policy: what they learn, how they act together, and how much they disagree."""

import copy
import pickle
from dataclasses import replace

import fakes  # noqa: F401 (registers the corridors)
import numpy as np
import pytest
import torch
from test_mlp_policy import OBS, same_weights, weights

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_expert
from rl_il.policies.ensemble import EnsemblePolicySL
from rl_il.policies.ensemble_actors import EnsembleActor, divergence, log_softmax, spread, vote
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.policies.window import WindowActor
from rl_il.runs.parts import build_policy
from rl_il.types import ActionForm

FORMS = {"continuous": (2, False), "discrete": (3, True), "several integers": ((3, 2), True)}
RNG = np.random.default_rng(1)
LABELS = {
    "continuous": RNG.normal(5, 3, (64, 2)).astype(np.float32),
    "discrete": RNG.integers(0, 3, 64),
    "several integers": RNG.integers(0, (3, 2), (64, 2)),
}


def constant(outputs, discrete: bool, ac_dim=None, **settings) -> EnsemblePolicySL:
    """Return an ensemble whose networks return these outputs, one list for each network, for every observation."""
    ac_dim = ac_dim or len(outputs[0])
    policy = EnsemblePolicySL((2,), ac_dim, discrete, n_layers=0, ensemble=len(outputs), **settings)
    head = policy.head.head if policy.normalize_acs else policy.head
    with torch.no_grad():
        for member, output in zip(head.members, outputs, strict=True):
            member.network[-1].weight.zero_()
            member.network[-1].bias.copy_(torch.tensor(output))
    return policy


def both(policy: EnsemblePolicySL) -> tuple:
    """Return the policy and its frozen copy in NumPy, after pickling, as worker processes get it."""
    actor = pickle.loads(pickle.dumps(policy.actor()))
    assert isinstance(actor, (EnsembleActor, WindowActor)) and actor.ensemble == policy.ensemble
    return policy, actor


# Acting and disagreement by hand -------------------------------------------------------------------------


def test_continuous_actions_are_the_mean_and_disagree_by_the_standard_deviation():
    for each in both(constant([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]], discrete=False)):
        np.testing.assert_allclose(each.get_action(OBS), [[2, 1]] * len(OBS))
        np.testing.assert_allclose(each.get_action(OBS[0]), [2, 1])
        # The variances are 8 / 3 and 0, and their mean is 4 / 3.
        np.testing.assert_allclose(each.disagreement(OBS), [np.sqrt(4 / 3)] * len(OBS), rtol=1e-6)
        assert each.disagreement(OBS[0]) == pytest.approx(np.sqrt(4 / 3))
        assert each.disagreement(OBS[0]).shape == () and each.disagreement(OBS).dtype == np.float32


def test_standardised_actions_disagree_in_standardised_units():
    policy = constant([[-1.0], [3.0]], discrete=False, normalize_acs=True)
    policy.fit_label_normalization(np.array([[90], [110]], np.float32))  # mean 100, standard deviation 10
    for each in both(policy):
        np.testing.assert_allclose(each.get_action(OBS), [[110]] * len(OBS))
        np.testing.assert_allclose(each.disagreement(OBS), [2] * len(OBS))


def test_the_most_votes_win_although_one_network_is_surer():
    for each in both(constant([[0.1, 0, 0], [0.1, 0, 0], [0, 0, 9.0]], discrete=True)):
        assert each.get_action(OBS).tolist() == [0] * len(OBS)
        assert each.get_action(OBS[0]) == 0 and each.get_action(OBS).dtype == np.int64


def test_of_equal_votes_the_larger_mean_probability_wins():
    assert vote(np.log([[[0.8, 0.2]], [[0.4, 0.6]]])).tolist() == [0]
    assert vote(np.log([[[0.6, 0.4]], [[0.2, 0.8]]])).tolist() == [1]
    assert vote(np.log([[[0.5, 0.3, 0.2]], [[0.3, 0.5, 0.2]]])).tolist() == [0]  # equal in all: the first
    for each in both(constant(np.log([[0.6, 0.4], [0.2, 0.8]]).tolist(), discrete=True)):
        assert each.get_action(OBS[0]) == 1


def test_integers_disagree_by_the_divergence_from_the_mean():
    first, second = np.array([0.9, 0.1]), np.array([0.5, 0.5])
    mean = (first + second) / 2
    expected = ((first * np.log(first / mean)).sum() + (second * np.log(second / mean)).sum()) / 2
    for each in both(constant(np.log([first, second]).tolist(), discrete=True)):
        np.testing.assert_allclose(each.disagreement(OBS), [expected] * len(OBS), rtol=1e-5)
    assert divergence(np.array([[[1000.0, 0]], [[0, 1000.0]]])) == pytest.approx(np.log(2))
    assert divergence(np.array([[[3.0, 1]], [[3.0, 1]]])) == pytest.approx(0)


def test_each_of_several_integers_has_its_own_votes_and_all_count_in_the_disagreement():
    outputs = [[0, 9.0, 0, 0, 9.0], [0, 9.0, 0, 9.0, 0], [0, 9.0, 0, 9.0, 0]]
    policy, actor = both(constant(outputs, discrete=True, ac_dim=(3, 2)))
    probs = np.exp(log_softmax(np.array([[0, 9.0], [9.0, 0], [9.0, 0]])))
    expected = (probs * np.log(probs / probs.mean(0))).sum(1).mean() / 2
    for each in (policy, actor):
        assert each.get_action(OBS[:2]).tolist() == [[1, 0], [1, 0]]
        np.testing.assert_allclose(each.disagreement(OBS[:2]), [expected] * 2, rtol=1e-5)


def test_one_network_does_not_disagree():
    policy = MLPPolicySL((2,), 2, False)
    for each in (policy, policy.actor(), MLPPolicySL((2,), 2, False, chunk=2).actor()):
        assert each.ensemble == 1
        with pytest.raises(InputError, match="--ensemble"):
            each.disagreement(OBS)


def test_the_spread_is_the_root_of_the_mean_variance():
    acs = np.random.default_rng(0).normal(size=(4, 5, 3))
    np.testing.assert_allclose(spread(acs), np.sqrt(((acs - acs.mean(0)) ** 2).mean((0, 2))))


SETTINGS = [
    {},
    {"layer_norm": True, "dropout": 0.2, "activation": "relu"},
    {"normalize_acs": True, "loss": "l1"},
    {"loss": "nll", "weight_decay": 0.1},
    {"chunk": 3, "execute": 2},
    {"history": 2},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_copy_in_numpy_equals_the_policy_before_and_after_saving(form, settings, tmp_path):
    if form != "continuous":
        settings = {name: value for name, value in settings.items() if name not in ("normalize_acs", "loss")}
    ac_dim, discrete = FORMS[form]
    policy = EnsemblePolicySL((2,), ac_dim, discrete, size=8, seed=3, ensemble=3, **settings)
    policy.fit_normalization(OBS * 3 + 1)
    if policy.normalize_acs:
        policy.fit_label_normalization(LABELS[form])
    policy.save(tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    assert type(loaded) is EnsemblePolicySL and loaded.hyperparameters() == policy.hyperparameters()
    for episode in np.split(OBS, 4):
        for method in ("get_action", "disagreement"):
            found = []
            for each in (*both(policy), *both(loaded)):
                each.reset()
                found.append(np.stack([getattr(each, method)(ob) for ob in episode]))
                if not each.remembers:
                    assert len(getattr(each, method)(episode)) == len(episode)
            for other in found[1:]:
                np.testing.assert_allclose(other, found[0], rtol=1e-4, atol=1e-6)
    assert len(np.unique(found[0])) > 1


def test_one_observation_and_many_give_the_same():
    for discrete in (False, True):
        for each in both(EnsemblePolicySL((2,), 3, discrete, ensemble=5)):
            for method in (each.get_action, each.disagreement):
                np.testing.assert_allclose(method(OBS), [method(ob) for ob in OBS], rtol=1e-4, atol=1e-6)


def test_drawn_actions_come_from_all_networks():
    policy = constant([[0.0], [100.0]], discrete=False)
    policy.reset(1)
    drawn = policy.get_action(OBS, sample=True)
    assert {*(drawn > 50)[:, 0].tolist()} == {True, False}


def test_a_file_is_an_expert_too(tmp_path):
    policy = EnsemblePolicySL.for_env(make_env("Corridor-v0"), ensemble=3)
    policy.save(tmp_path / "policy.pt")
    expert = load_expert(str(tmp_path / "policy.pt"), make_env("Corridor-v0"))
    assert expert.get_action(OBS).tolist() == policy.get_action(OBS).tolist()


# Training ------------------------------------------------------------------------------------------------


def alone(policy: EnsemblePolicySL, form: str, i: int, **settings) -> MLPPolicySL:
    """Return a policy with one network: the ensemble's with the number i."""
    single = MLPPolicySL((2,), *FORMS[form], size=8, **settings)
    single.head.load_state_dict(policy.head.members[i].state_dict())
    return single


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_each_network_is_trained_as_one_alone_on_its_minibatches(form, own):
    settings = {"learning_rate": 1e-2, "weight_decay": 0.1}
    settings |= {"loss": "nll"} if form == "continuous" else {}
    policy = EnsemblePolicySL(
        (2,), *FORMS[form], size=8, ensemble=4, ensemble_minibatches="own" if own else "shared", **settings
    )
    singles = [alone(policy, form, i, **settings) for i in range(4)]
    assert policy.minibatches == (4 if own else 1)
    for _ in range(20):
        losses = []
        for i, single in enumerate(singles):
            rows = slice(16 * i, 16 * i + 16) if own else slice(None)
            losses.append(single.update(OBS[rows], LABELS[form][rows])["Training Loss"])
        assert policy.update(OBS, LABELS[form])["Training Loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    for i, single in enumerate(singles):
        for name, tensor in single.head.state_dict().items():
            torch.testing.assert_close(policy.head.members[i].state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def test_the_networks_begin_with_different_weights_that_follow_from_the_seed():
    first, second = (EnsemblePolicySL((2,), 3, True, seed=3) for _ in range(2))
    assert same_weights(weights(first), weights(second))
    members = [member.network[0].weight for member in first.head.members]
    assert len(members) == 5
    assert len({tuple(member.flatten().tolist()) for member in members}) == 5


def test_a_batch_that_is_not_one_minibatch_for_each_network_is_refused():
    policy = EnsemblePolicySL((2,), 3, True, ensemble=5)
    with pytest.raises(InputError, match=r"64.*5"):
        policy.update(OBS, LABELS["discrete"])
    with pytest.raises(InputError, match="shape"):
        policy.update(OBS[:60], np.zeros((60, 2)))


def test_validation_measures_all_networks_on_all_rows():
    policy = EnsemblePolicySL((2,), 3, True, size=8, ensemble=4)
    batch = torch.from_numpy(OBS), torch.from_numpy(LABELS["discrete"])
    singles = [alone(policy, "discrete", i) for i in range(4)]
    found = policy.validate(*batch)
    losses = [single.loss(*batch).item() for single in singles]
    assert found["Validation Loss"] == pytest.approx(np.mean(losses))
    right = policy.get_action(OBS) == LABELS["discrete"]
    assert found["Validation Accuracy"] == pytest.approx(right.mean())


def test_the_standard_deviation_of_each_network_stays_in_its_range():
    policy = constant([[0.0], [0.0]], discrete=False, loss="nll", learning_rate=1.0)
    for _ in range(10):
        policy.update(OBS, np.zeros((64, 1), np.float32))
    assert [member.log_std.item() for member in policy.head.members] == [-5, -5]


# Settings ------------------------------------------------------------------------------------------------

CONFIG = RunConfig(env_name="Corridor-v0", ensemble=3, size=8)


def test_one_network_is_the_usual_policy_and_several_are_an_ensemble():
    env = make_env("Corridor-v0")
    assert type(build_policy(replace(CONFIG, ensemble=1), env)) is MLPPolicySL
    policy = build_policy(replace(CONFIG, ensemble_minibatches="shared"), env)
    assert type(policy) is EnsemblePolicySL
    assert (policy.ensemble, policy.ensemble_minibatches, policy.minibatches) == (3, "shared", 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ensemble": 0}, "--ensemble"),
        ({"ensemble": 3, "policy_class": "my_net:Net"}, "--policy_class"),
        ({"ensemble_minibatches": "shared"}, "--ensemble"),
        ({"ensemble": 3, "ensemble_minibatches": "some"}, "ensemble_minibatches"),
        ({"ensemble": 10_000, "size": 10_000, "n_layers": 2}, "--ensemble"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        RunConfig(**changes)


@pytest.mark.parametrize("head", ["mixture", "flow"])
def test_heads_that_draw_are_refused(head):
    with pytest.raises(InputError, match=f"--ensemble 3.*{head}"):
        build_policy(replace(CONFIG, env_name="CorridorContinuous-v0", head=head), make_env("CorridorContinuous-v0"))


def test_pictures_and_a_single_network_are_refused():
    with pytest.raises(InputError, match=r"--ensemble 3.*pictures"):
        build_policy(replace(CONFIG, env_name="PictureCorridor-v0"), make_env("PictureCorridor-v0"))
    with pytest.raises(InputError, match="1"):
        EnsemblePolicySL((2,), 3, True, ensemble=1)


def test_the_frozen_copy_does_not_change_with_training():
    policy = EnsemblePolicySL((2,), 3, True, ensemble=4, learning_rate=0.1)
    actor, before = policy.actor(), copy.deepcopy(policy).disagreement(OBS)
    policy.update(OBS, LABELS["discrete"])
    np.testing.assert_allclose(actor.disagreement(OBS), before, rtol=1e-4, atol=1e-6)
    assert not np.allclose(policy.disagreement(OBS), before, rtol=1e-3)


def test_actions_from_another_start_and_of_another_shape():
    head = [{"layers": [(np.zeros((2, 3)), np.array(b))], "activation": "tanh"} for b in ([0, 1, 0], [0, 1, 0])]
    assert EnsembleActor(head, (2,), ActionForm((3,), (), (5,))).get_action(OBS[0]) == 6
    column = EnsembleActor(
        [each | {"output": "identity"} for each in head], (2,), ActionForm((), (3, 1)), action_scale=2.0
    )
    assert column.get_action(OBS[0]).tolist() == [[0], [2], [0]]
