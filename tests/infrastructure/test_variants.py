"""The variants of DAgger against episodes that are worked out by hand: who acts, and which states are chosen."""

import numpy as np
import pytest
from fakes import ConstantActor, StepModuloThree, walk
from variant_episodes import (
    TRAIN,
    Doubting,
    Still,
    choose,
    continuous,
    demonstrated,
    judge_at,
    labelled,
    roll_out,
    sources,
    to_and_fro,
)

from rl_il.infrastructure.counting import count_collected
from rl_il.infrastructure.dagger import ExpertTeacher
from rl_il.infrastructure.labelling import drop_surplus
from rl_il.infrastructure.rules.choosing import Disagreement, KCentre, Random, far_from, k_centre, standardised
from rl_il.infrastructure.rules.dart import DART
from rl_il.infrastructure.rules.safe import SafeDAgger, train_network
from rl_il.infrastructure.rules.takeover import EnsembleDAgger, HGDAgger, distances
from rl_il.infrastructure.rules.thrifty import ThriftyDAgger
from rl_il.policies.actors import ScriptedActor

# The expert takes over: the learner always takes 1, the expert 0 1 2 0 1 2 --------------------------------


@pytest.mark.parametrize(("release", "who"), [(None, "LELLLE"), (0.1, "LEEELE"), (0.25, "LELLLE")])
def test_hg_hands_back_below_the_release(release, who):
    episode = continuous(HGDAgger(0.3, release))
    assert sources(episode) == who
    assert labelled(episode) == [i for i, source in enumerate(who) if source == "E"]


@pytest.mark.parametrize(("doubt", "who"), [(1.0, "ELEELE"), (0.35, "ELEEEE"), (0.0, "EEEEEE")])
def test_ensemble_dagger_lets_the_expert_act_in_doubt_too(doubt, who):
    """At step 4, where the actions are equal and the expert acts already, the disagreement is 0.4."""
    assert sources(roll_out(EnsembleDAgger(doubt=doubt))) == who


def test_ensemble_dagger_takes_over_in_doubt_where_the_actions_are_equal():
    assert sources(roll_out(EnsembleDAgger(doubt=0.35), expert=ConstantActor(1))) == "LLLLEE"


def test_safe_dagger_asks_only_where_its_judge_says_so(monkeypatch):
    asked = []

    class Expert(StepModuloThree):
        def get_action(self, obs):
            asked.append(obs[..., 0].tolist())
            return super().get_action(obs)

    monkeypatch.setattr(TRAIN, judge_at(1, 2, 4))
    assert sources(roll_out(SafeDAgger(), expert=Expert())) == "LEELEL" and asked == [1, 2, 4]


@pytest.mark.parametrize(("release", "who"), [(None, "LELLLE"), (0.1, "LEEELE"), (0.25, "LELLLE")])
def test_lazy_dagger_hands_back_below_the_release(monkeypatch, release, who):
    monkeypatch.setattr(TRAIN, judge_at(1, 5))
    assert sources(continuous(SafeDAgger(0.3, release))) == who


def test_the_judge_learns_where_the_learner_is_wrong():
    obs = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    far = (obs[:, 0] > 0.2).astype(int)
    judge = train_network(obs, far, 2, True, np.random.default_rng(1))
    assert (judge.get_action(obs) == far).mean() > 0.95


@pytest.mark.parametrize(
    ("learner", "data", "expected"),
    [
        (Doubting(1), demonstrated(), [1, 0, 1, 1, 0, 1]),  # where the label is not 1
        (Still(0.8, 1.6), demonstrated(to_and_fro()), [1, 0, 1, 0, 1, 0]),  # at 1.8 and 0.2 from the labels
    ],
)
def test_the_judge_learns_where_the_gap_is_above_the_threshold(monkeypatch, learner, data, expected):
    seen = []
    monkeypatch.setattr(TRAIN, lambda obs, far, *_: seen.append(far.tolist()))
    SafeDAgger(0.3).begin_round(learner, data, 1)
    assert seen == [expected]


def test_a_small_network_learns_numbers_too():
    inputs = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    network = train_network(inputs, inputs[:, :1] ** 2, 1, False, np.random.default_rng(1))
    assert np.abs(network.get_action(inputs) - inputs[:, :1] ** 2).mean() < 0.1


def test_thrifty_takes_over_at_the_given_rate():
    """The data have the disagreements 0 to 0.5, so the upper fifth begins at 0.4. No label is nearer than 2/3."""
    rule = ThriftyDAgger(rate=0.2)
    episode = roll_out(rule)
    assert rule._novelty == pytest.approx(0.4) and rule._near == pytest.approx(4 / 6)
    assert sources(episode) == "LLLLLE" and labelled(episode) == [5]
    rule.begin_round(Doubting(1), demonstrated(), 2)
    assert rule._novelty == pytest.approx(0.4)  # of the six states that were visited


@pytest.mark.parametrize(("rate", "who"), [(0.5, "LLLELE"), (0.7, "LLEELE")])
def test_thrifty_hands_back_where_the_learner_is_near(rate, who):
    """The thresholds are 0.25 and 0.15. The learner is near at step 4, where both do 1, and not at step 3."""
    episode = roll_out(ThriftyDAgger(rate))
    assert sources(episode) == who and labelled(episode) == [i for i, source in enumerate(who) if source == "E"]


def test_thrifty_takes_over_where_success_is_unlikely(monkeypatch):
    rule = ThriftyDAgger(rate=0.2, success=lambda trajectory: True)
    roll_out(rule)
    np.testing.assert_allclose(rule._outcomes[:, 0], 0.99 ** np.arange(5, -1, -1.0), rtol=1e-6)
    chances = ScriptedActor(lambda rows: 1 - rows[:, :1] / 10, (3,))  # falls with each step: 1 to 0.5
    monkeypatch.setattr("rl_il.infrastructure.rules.thrifty.train_network", lambda *_: chances)
    rule.begin_round(Doubting(1), demonstrated(), 2)
    assert (rule._risky, rule._median) == (pytest.approx(0.6), pytest.approx(0.75))
    assert rule.takes_over(np.array([5, 6], np.float32), np.int64(1), None)
    assert not rule.takes_over(np.array([3, 6], np.float32), np.int64(1), None)
    teacher = ExpertTeacher(StepModuloThree())
    assert rule.hands_back(np.array([1, 6], np.float32), np.int64(1), teacher)
    assert not rule.hands_back(np.array([4, 6], np.float32), np.int64(1), teacher)  # the chance is 0.6


def test_distances():
    own, answers = np.array([[0, 0], [3, 8]], np.float32), np.array([[3, 8], [3, 0]], np.float32)
    np.testing.assert_allclose(distances(own, answers, np.array([3, 4])), [np.sqrt(5 / 2), np.sqrt(2)])
    np.testing.assert_array_equal(distances(np.array([1, 2]), np.array([1, 0]), np.ones(1)), [0, 1])


# The learner acts, and some states are chosen -------------------------------------------------------------


def test_random_labels_as_many_states_as_the_budget():
    drawn = set()
    for seed in range(50):
        masks = drop_surplus([np.ones(3, bool), np.ones(2, bool)], 2, np.random.default_rng(seed))
        assert [len(mask) for mask in masks] == [3, 2]
        drawn.add(tuple(np.flatnonzero(np.concatenate(masks))))
    assert len(drawn) == 10  # all pairs of five states
    steps, done = choose(Random(), 3, walk(4), walk(3))
    assert sum(map(len, steps)) == 3
    assert count_collected(done).consulted == count_collected(done).expert_labels == 3


def test_k_centre_takes_the_farthest_point_each_time():
    points = np.array([[0], [1], [5], [9], [10]], np.float32)
    assert k_centre(points, points[:1], 2).tolist() == [4, 2]
    assert sorted(k_centre(points, points[:1], 9)) == [0, 1, 2, 3, 4]
    assert len({*k_centre(np.zeros((3, 1), np.float32), points[:1], 2)}) == 2  # even if all are equal


def test_the_kcentre_rule_chooses_what_is_far_from_the_labels():
    data = demonstrated(walk(2))  # the states [0, 2] and [1, 2]
    (steps,), _ = choose(KCentre(), 1, walk(9, labelled=np.arange(9) != 8), data=data)
    assert steps == [7]  # the farthest that may have a label
    features = ScriptedActor(lambda obs: 0 * obs[:, 0], (2,))
    features.features = lambda obs: -np.abs(obs[:, :1] - 4)  # 0 and 1 have -4 and -3
    (steps,), _ = choose(KCentre("features"), 1, walk(8), learner=features, data=data)
    assert steps == [4]


def test_pictures_are_far_from_their_mean_and_from_each_other():
    """The buffer keeps pictures in another form, so they are not compared with those. The mean is 32.5."""
    pictures = np.array([0, 10, 20, 100], np.uint8)[:, None, None, None] * np.ones((2, 2, 3), np.uint8)
    assert far_from(pictures, np.zeros((5, 2, 2, 1), np.uint8), 2).tolist() == [3, 0]


def test_disagreement_takes_the_states_with_the_largest():
    assert choose(Disagreement(), 2, walk(4), walk(6))[0] == [[], [4, 5]]
    (steps,), _ = choose(Disagreement("kcentre"), 2, walk(20))
    assert steps == [10, 19]  # of the states 10 to 19, the last and the farthest from it


def test_disagreement_in_proportion():
    """The four states have the disagreements 0 to 0.3. The tolerance is four standard deviations."""
    rule, episode = Disagreement("proportion"), walk(4)
    rule.begin_round(Doubting(1), demonstrated(), 1)
    rng = np.random.default_rng(0)
    drawn = sum(rule.select([episode], 1, rng)[0].astype(int) for _ in range(600))
    assert drawn[0] == 0 and drawn.sum() == 600
    assert (np.abs(drawn - [0, 100, 200, 300]) < 50).all()


def test_dart_executes_other_actions_and_labels_with_the_experts():
    episode = roll_out(DART(noise=1.0))
    assert sources(episode) == "EEEEEE" and labelled(episode) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(episode.labels, np.arange(6) % 3)
    assert (episode.acs != episode.labels).all() and np.isin(episode.acs, [0, 1, 2]).all()


def test_dart_disturbs_with_the_given_probability():
    """The tolerances are four standard deviations or more."""
    rule = DART(noise=0.3)
    rule.begin_round(Doubting(1), demonstrated(), 1)
    rule.begin_episode(1)
    done = np.bincount([int(rule._disturbed(np.int64(1))) for _ in range(2000)], minlength=3)
    assert (np.abs(done - [300, 1400, 300]) < 90).all()


def test_darts_noise_is_correlated_as_the_errors_are():
    errors = np.array([[1, 1], [-1, -1], [1, 1], [-1, -1], [1, -1], [-1, 1]])  # in standard deviations, 1 and 2
    demonstration = to_and_fro()
    learner = ScriptedActor(lambda obs: demonstration.acs + errors * [1, 2], (2,))
    rule = DART(noise=0.5)
    rule.begin_round(learner, demonstrated(demonstration), 1)
    rule.begin_episode(1)
    noise = np.array([rule._disturbed(np.zeros(2)) for _ in range(4000)])
    np.testing.assert_allclose(np.cov(noise.T), [[1 / 4, 1 / 6], [1 / 6, 1]], rtol=0.2)


@pytest.mark.parametrize("remembers", [False, True])
def test_darts_noise_has_the_shape_of_the_learners_errors(remembers):
    acs = np.array([[-1, -2], [1, 2]] * 3, np.float32)  # of the standard deviations 1 and 2
    learner = ScriptedActor(lambda obs: np.stack([np.zeros(6), acs[:, 1]], 1), (2,))  # is wrong in the first number
    learner.remembers = remembers
    rule = DART(noise=0.5)
    rule.begin_round(learner, demonstrated(walk(6, acs=acs)), 1)
    rule.begin_episode(1)
    noise = np.array([rule._disturbed(np.zeros(2)) for _ in range(4000)])
    expected = [0.5, 1.0] if remembers else [0.5 * 2**0.5, 0]
    np.testing.assert_allclose(noise.std(axis=0), expected, rtol=0.06, atol=1e-6)


def test_a_label_that_never_varies_gets_no_noise():
    acs = np.array([[-1, 3], [1, 3]] * 3, np.float32)
    learner = ScriptedActor(lambda obs: np.stack([acs[:, 0] + 0.1, np.zeros(6)], 1), (2,))
    rule = DART(noise=0.5)
    rule.begin_round(learner, demonstrated(walk(6, acs=acs)), 1)
    rule.begin_episode(1)
    noise = np.array([rule._disturbed(np.zeros(2)) for _ in range(4000)])
    np.testing.assert_allclose(noise.std(axis=0), [0.5, 0], rtol=0.06, atol=1e-6)


def test_constant_numbers_do_not_decide_which_points_are_far():
    obs = np.random.default_rng(0).normal(size=(50, 3))
    obs[:, 1], obs[:, 2] = 0.7, 1e6 + 100 * obs[:, 2]
    points = standardised(obs.astype(np.float32), obs.astype(np.float32))
    assert not points[:, 1].any()
    np.testing.assert_allclose(points[:, [0, 2]].std(axis=0), 1, rtol=0.01)
    by_hand = np.linalg.norm(points[:, None] - points[None, :3], axis=2).min(axis=1).argmax()
    assert k_centre(points, points[:3], 1).tolist() == [by_hand]
