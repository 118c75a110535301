"""The variants of DAgger against episodes that are worked out by hand: who acted, what was labelled and counted."""

import numpy as np
import pytest
import torch
from calling import assert_refused, call_script
from fakes import ConstantActor, StepModuloThree, walk

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.counting import Counts, count_collected, count_demonstrations
from rl_il.infrastructure.dagger import DAgger, ExpertTeacher, Rule, drop_surplus, label_round, with_chunks
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.infrastructure.rules.choosing import Disagreement, KCentre, Random, k_centre, standardised
from rl_il.infrastructure.rules.dart import DART
from rl_il.infrastructure.rules.safe import SafeDAgger, train_network
from rl_il.infrastructure.rules.takeover import EnsembleDAgger, HGDAgger, distances
from rl_il.infrastructure.rules.thrifty import ThriftyDAgger
from rl_il.policies.actors import ScriptedActor
from rl_il.runs.given import Given
from rl_il.types import LEARNER, ActionForm

DISCRETE = ActionForm.from_settings(3, True)


class Doubting(ConstantActor):
    """A learner whose networks disagree by a tenth of the steps so far."""

    form = DISCRETE
    ensemble = 2

    def disagreement(self, obs):
        return obs[..., 0] / 10


def demonstrated(*trajectories):
    """Return a buffer with the labels of the trajectories."""
    buffer = ReplayBuffer()
    buffer.add(trajectories or [walk(6, acs=np.arange(6) % 3)])
    return buffer


def roll_out(rule, learner=None, env_name="Corridor-v0", expert=None, data=None, seed=3, itr=1):
    """Return the labelled episode of a round, which has 6 steps for seed 3 in the corridor."""
    learner, teacher = learner or Doubting(1), ExpertTeacher(expert or StepModuloThree())
    rule.begin_round(learner, data or demonstrated(), itr)
    rolled = sample_trajectory(make_env(env_name), learner, seed, rule=rule, teacher=teacher)
    (labelled,) = label_round([rolled], rule, teacher, np.random.default_rng(0))
    return labelled


def sources(trajectory):
    return "".join("LE"[source] for source in trajectory.source)


def labelled(trajectory):
    return np.flatnonzero(trajectory.labelled_steps).tolist()


# The expert takes over: the learner always takes 1, the expert 0 1 2 0 1 2 --------------------------------


def test_hg_lets_the_expert_act_where_the_actions_differ():
    episode = roll_out(HGDAgger())
    assert sources(episode) == "ELEELE"
    assert episode.acs.tolist() == [0, 1, 2, 0, 1, 2]
    assert labelled(episode) == [0, 2, 3, 5]
    assert count_collected([episode]) == Counts(6, 4, consulted=6, expert_steps=4, takeovers=3)


def continuous(rule):
    """Return an episode in which the learner's distances from the expert are 0.2, 0.4, 0.2, 0.2, 0.05 and 0.4."""
    at = np.array([0.2, 0.4, 0.2, 0.2, 0.05, 0.4])
    expert = ScriptedActor(lambda obs: np.float32(at[obs[:, 0].astype(int)][:, None] * [1, 2]), (2,))
    acs = np.array([[-1, -2], [1, 2]] * 3, np.float32)  # of the standard deviations 1 and 2
    data = demonstrated(walk(6, acs=acs))
    return roll_out(rule, ConstantActor(np.zeros(2, np.float32)), "CorridorContinuous-v0", expert, data)


@pytest.mark.parametrize(("release", "who"), [(None, "LELLLE"), (0.1, "LEEELE"), (0.25, "LELLLE")])
def test_hg_hands_back_below_the_release(release, who):
    episode = continuous(HGDAgger(0.3, release))
    assert sources(episode) == who
    assert labelled(episode) == [i for i, source in enumerate(who) if source == "E"]


@pytest.mark.parametrize(
    ("doubt", "who"),
    [(1.0, "ELEELE"), (0.35, "ELEEEE"), (0.0, "EEEEEE")],  # step 4 has the disagreement 0.4, step 1 has 0.1
)
def test_ensemble_dagger_lets_the_expert_act_in_doubt_too(doubt, who):
    assert sources(roll_out(EnsembleDAgger(doubt=doubt))) == who


def test_safe_dagger_asks_only_where_its_judge_says_so(monkeypatch):
    rule, asked = SafeDAgger(), []

    class Expert(StepModuloThree):
        def get_action(self, obs):
            asked.append(obs[..., 0].tolist())
            return super().get_action(obs)

    judged = ScriptedActor(lambda obs: np.isin(obs[:, 0], [1, 2, 4]).astype(int), (2,))
    monkeypatch.setattr("rl_il.infrastructure.rules.safe.train_network", lambda *_: judged)
    episode = roll_out(rule, expert=Expert())
    assert sources(episode) == "LEELEL" and asked == [1, 2, 4]
    assert count_collected([episode]) == Counts(6, 3, consulted=3, expert_steps=3, takeovers=2)
    lazy = roll_out(SafeDAgger(release=0))  # from step 1 on, until the learner agrees at step 4
    assert sources(lazy) == "LEEELL"


def test_the_judge_learns_where_the_learner_is_wrong():
    obs = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    far = (obs[:, 0] > 0.2).astype(int)
    judge = train_network(obs, far, 2, True, np.random.default_rng(1))
    assert (judge.get_action(obs) == far).mean() > 0.95


def test_the_safe_rule_judges_by_the_labels(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "rl_il.infrastructure.rules.safe.train_network",
        lambda obs, positive, *_: seen.append(positive.tolist()) or ScriptedActor(lambda obs: 0 * obs[:, 0], (2,)),
    )
    roll_out(SafeDAgger())
    assert seen == [[1, 0, 1, 1, 0, 1]]  # where the label is not 1


def test_thrifty_takes_over_at_the_given_rate():
    """The data have the disagreements 0 to 0.5, so the upper fifth begins at 0.4. No label is nearer than 2/3."""
    rule = ThriftyDAgger(rate=0.2)
    episode = roll_out(rule)
    assert rule._novelty == pytest.approx(0.4) and rule._near == pytest.approx(4 / 6)
    assert sources(episode) == "LLLLLE" and labelled(episode) == [5]
    rule.begin_round(Doubting(1), demonstrated(), 2)
    assert rule._novelty == pytest.approx(0.4)  # of the six states that were visited


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


def choose(rule, budget, *trajectories, learner=None, data=None, chunk=1):
    """Return the labelled steps of each trajectory."""
    rule.begin_round(learner or Doubting(1), data or demonstrated(), 1)
    teacher = ExpertTeacher(StepModuloThree())
    done = label_round(trajectories, rule, teacher, np.random.default_rng(0), budget, chunk)
    return [labelled(each) for each in done], done


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


def test_disagreement_takes_the_states_with_the_largest():
    assert choose(Disagreement(), 2, walk(4), walk(6))[0] == [[], [4, 5]]
    both, drawn = walk(4), set()
    for seed in range(30):
        rule = Disagreement("proportion")
        rule.begin_round(Doubting(1), demonstrated(), 1)
        (mask,) = rule.select([both], 1, np.random.default_rng(seed))
        drawn.add(int(np.flatnonzero(mask)[0]))
    assert drawn == {1, 2, 3}  # the first has no disagreement
    (steps,), _ = choose(Disagreement("kcentre"), 2, walk(20))
    assert steps == [10, 19]  # of the states 10 to 19, the last and the farthest from it


def test_dart_executes_other_actions_and_labels_with_the_experts():
    episode = roll_out(DART(noise=1.0))
    assert sources(episode) == "EEEEEE" and labelled(episode) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(episode.labels, np.arange(6) % 3)
    assert (episode.acs != episode.labels).all() and np.isin(episode.acs, [0, 1, 2]).all()


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


# Budgets, chunks and counts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "chunk", "expected"),
    [
        ([1], 1, [1]),
        ([1], 3, [1, 2, 3]),
        ([0, 4], 2, [0, 1, 4, 5]),
        ([5], 3, [3, 4, 5]),
        ([2], 9, [2]),  # the episode is too short for a chunk
    ],
)
def test_a_chosen_state_brings_the_labels_of_its_chunk(chosen, chunk, expected):
    assert np.flatnonzero(with_chunks(np.isin(np.arange(6), chosen), np.ones(6, bool), chunk)).tolist() == expected


def test_a_budget_counts_the_labels_of_whole_chunks():
    (steps,), done = choose(Random(), 5, walk(12), chunk=2)
    assert len(steps) in (3, 4)  # two states, whose chunks may overlap
    assert count_collected(done).expert_labels == len(steps)


def test_surplus_takeovers_are_dropped():
    episode = walk(6, source=np.array([1, 1, 0, 1, 1, 0], np.int8))
    steps, _ = choose(HGDAgger(), 2, episode)
    assert len(steps[0]) == 2 and {*steps[0]} <= {0, 1, 3, 4}


def test_hg_with_kcentre_labels_the_experts_states_that_are_far():
    episode = walk(8, source=np.array([1, 1, 0, 1, 1, 0, 0, 1], np.int8))
    (steps,), _ = choose(HGDAgger(choose="kcentre"), 2, episode, data=demonstrated(walk(2, acs=np.zeros(2, int))))
    assert steps == [4, 7]  # first 7, the farthest from 0 and 1; then 4, at 3 from both


def test_a_budget_that_is_enough_changes_nothing_with_chunks():
    (steps,), _ = choose(Rule(), 12, walk(12), chunk=5)
    assert steps == list(range(12))
    (steps,), _ = choose(Rule(), 11, walk(12), chunk=5)  # two starts, whose chunks may overlap
    assert 5 <= len(steps) <= 10


def test_chunks_that_may_not_be_labelled_as_a_whole_cost_nothing():
    may = np.isin(np.arange(9), [0, 1, 2, 4, 5, 8])
    (steps,), _ = choose(Rule(), None, walk(9, labelled=may), chunk=3)
    assert steps == [0, 1, 2]


def test_constant_numbers_do_not_decide_which_points_are_far():
    obs = np.random.default_rng(0).normal(size=(50, 3))
    obs[:, 1], obs[:, 2] = 0.7, 1e6 + 100 * obs[:, 2]
    points = standardised(obs.astype(np.float32), obs.astype(np.float32))
    assert not points[:, 1].any()
    np.testing.assert_allclose(points[:, [0, 2]].std(axis=0), 1, rtol=0.01)
    by_hand = np.linalg.norm(points[:, None] - points[None, :3], axis=2).min(axis=1).argmax()
    assert k_centre(points, points[:3], 1).tolist() == [by_hand]


def test_a_rule_object_is_described_by_its_settings_only():
    """Else the seeds of one setting would count as different settings."""
    rule = ThriftyDAgger()
    before = Given(rule=rule).name_in(RunConfig()).rule
    roll_out(rule)
    assert Given(rule=rule).name_in(RunConfig()).rule == before
    assert rule._visited is not None
    rule.begin_round(Doubting(1), demonstrated(), 1)  # of another run
    assert rule._visited is None


def test_a_label_that_never_varies_gets_no_noise():
    acs = np.array([[-1, 3], [1, 3]] * 3, np.float32)
    learner = ScriptedActor(lambda obs: np.stack([acs[:, 0] + 0.1, np.zeros(6)], 1), (2,))
    rule = DART(noise=0.5)
    rule.begin_round(learner, demonstrated(walk(6, acs=acs)), 1)
    rule.begin_episode(1)
    noise = np.array([rule._disturbed(np.zeros(2)) for _ in range(4000)])
    np.testing.assert_allclose(noise.std(axis=0), [0.5, 0], rtol=0.06, atol=1e-6)


def test_demonstrations_count_as_labels_only():
    assert count_demonstrations([walk(4), walk(3, labelled=np.array([True, False, True]))]) == Counts(0, 6, 6, 0, 0)


def test_vanilla_dagger_is_not_changed_by_counting():
    episode = roll_out(DAgger())
    assert count_collected([episode]) == Counts(6, 6, consulted=6)
    assert (episode.source == LEARNER).all()


# What a rule needs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "settings", "named"),
    [
        (Random, {"rule": "random"}, "labels_per_iter"),
        (DAgger, {"labels_per_iter": 5}, "random"),
        (HGDAgger, {"rule": "hg", "beta_decay": 0.5}, "beta_decay"),
        (HGDAgger, {"rule": "hg", "rule_kwargs": "threshold=0.1 release=0.2"}, "release"),
        (HGDAgger, {"rule": "hg", "rule_kwargs": "choose=kcentre"}, "labels_per_iter"),
        (HGDAgger, {"rule": "hg", "labels_per_iter": 5, "rule_kwargs": "choose=first"}, "choose"),
        (KCentre, {"rule": "kcentre", "labels_per_iter": 5, "rule_kwargs": "space=all"}, "space"),
        (ThriftyDAgger, {"rule": "thrifty", "ensemble": 2, "rule_kwargs": "rate=2"}, "rate"),
        (DART, {"rule": "dart", "rule_kwargs": "noise=much"}, "noise"),
        (EnsembleDAgger, {"rule": "ensemble_dagger", "ensemble": 2, "rule_kwargs": "doubt=nan"}, "doubt"),
        (ThriftyDAgger, {"rule": "thrifty", "ensemble": 2, "rule_kwargs": "success=yes"}, "success"),
        (KCentre, {"rule": "kcentre", "labels_per_iter": 5, "rule_kwargs": "space=features"}, "--rule_kw.*Doubting"),
    ],
)
def test_a_rule_without_what_it_needs_is_refused(rule, settings, named):
    with pytest.raises(InputError, match=named):
        config = RunConfig(do_dagger=True, n_iter=2, **settings)
        rule.from_config(config).check(config, Doubting(1))


@pytest.mark.parametrize("rule", [Disagreement(), EnsembleDAgger(), ThriftyDAgger()])
def test_a_rule_that_needs_an_ensemble_refuses_one_network(rule):
    with pytest.raises(InputError, match="ensemble"):
        rule.check(RunConfig(do_dagger=True, n_iter=2, labels_per_iter=5), ConstantActor(1))


def test_the_arguments_of_a_rule_come_from_the_settings():
    config = RunConfig(do_dagger=True, n_iter=2, rule="hg", rule_kwargs="release=0.1   threshold=0.5")
    assert config.rule_kwargs == "release=0.1 threshold=0.5"
    rule = HGDAgger.from_config(config)
    assert (rule.threshold, rule.release) == (0.5, 0.1)
    with pytest.raises(TypeError):
        Rule.from_config(config)


@pytest.mark.parametrize("rule", ["safe", "thrifty --ensemble 2"])
@pytest.mark.parametrize("settings", ["--env_name CarRacing-v3", "--history 2"])
def test_such_rules_are_refused_before_there_is_a_folder(tmp_path, capsys, monkeypatch, rule, settings):
    monkeypatch.chdir(tmp_path)
    command = f"run_hw1 --do_dagger --n_iter 2 --rule {rule} {settings}"
    assert_refused(call_script(command, monkeypatch, capsys), "--history 1" if "history" in settings else "pictures")
    assert not list(tmp_path.iterdir())


def test_a_rules_state_survives(tmp_path):
    rule = ThriftyDAgger(success=lambda trajectory: False)
    rule.select([walk(3)], None, None)
    torch.save(rule.state_dict(), tmp_path / "state.pt")
    again = ThriftyDAgger()
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    np.testing.assert_array_equal(again._visited, walk(3).obs[:-1])
    np.testing.assert_array_equal(again._outcomes, np.zeros((3, 1)))
