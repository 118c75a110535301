"""What each variant of DAgger labels and counts in an episode that is worked out by hand; budgets and chunks."""

import numpy as np
import pytest
from fakes import walk
from variant_episodes import TRAIN, choose, demonstrated, judge_at, labelled, roll_out, sources

from rl_il.infrastructure.counting import Counts, count_collected, count_demonstrations
from rl_il.infrastructure.dagger import DAgger, Rule
from rl_il.infrastructure.labelling import with_chunks
from rl_il.infrastructure.rules.choosing import Disagreement, KCentre, Random
from rl_il.infrastructure.rules.dart import DART
from rl_il.infrastructure.rules.safe import SafeDAgger
from rl_il.infrastructure.rules.takeover import EnsembleDAgger, HGDAgger
from rl_il.infrastructure.rules.thrifty import ThriftyDAgger

ALL = [0, 1, 2, 3, 4, 5]
EPISODES = {  # the rule, the budget, who acts, what is labelled; how often the expert is asked, acts and takes over
    "dagger": (DAgger(), None, "LLLLLL", ALL, (6, 0, 0)),
    "random": (Random(), 2, "LLLLLL", [3, 4], (2, 0, 0)),  # default_rng(0).choice(6, 2, replace=False) is [4, 3]
    "kcentre": (KCentre(), 2, "LLLLLL", [3, 5], (2, 0, 0)),  # far from 0 and 1: first 5, then 3
    "disagreement": (Disagreement(), 2, "LLLLLL", [4, 5], (2, 0, 0)),
    "hg": (HGDAgger(), None, "ELEELE", [0, 2, 3, 5], (6, 4, 3)),
    "hg with kcentre": (HGDAgger(choose="kcentre"), 1, "ELEELE", [5], (6, 4, 3)),
    "safe": (SafeDAgger(), None, "LEELEL", [1, 2, 4], (3, 3, 2)),
    "lazy": (SafeDAgger(release=0), None, "LEEELL", [1, 2, 3], (4, 3, 1)),  # asked at 4 too, where both do 1
    "ensemble_dagger": (EnsembleDAgger(doubt=0.35), None, "ELEEEE", [0, 2, 3, 4, 5], (6, 5, 2)),
    "thrifty": (ThriftyDAgger(0.7), None, "LLEELE", [2, 3, 5], (4, 3, 2)),  # asked at 4 too, where it hands back
    "dart": (DART(noise=1.0), None, "EEEEEE", ALL, (6, 6, 1)),
}


@pytest.mark.parametrize("name", EPISODES)
def test_an_episode_by_hand(monkeypatch, name):
    rule, budget, who, steps, asked = EPISODES[name]
    monkeypatch.setattr(TRAIN, judge_at(1, 2, 4))
    few = demonstrated(walk(2, acs=np.zeros(2, int)))  # the states 0 and 1
    episode = roll_out(rule, data=few if "kcentre" in name else None, budget=budget)
    assert sources(episode) == who and labelled(episode) == steps
    np.testing.assert_array_equal(episode.labels[steps], np.arange(6)[steps] % 3)  # the expert's actions
    if name != "dart":  # whose actions have noise
        np.testing.assert_array_equal(episode.acs, np.where(episode.source, np.arange(6) % 3, 1))
    assert count_collected([episode]) == Counts(6, len(steps), *asked)


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


def test_demonstrations_count_as_labels_only():
    assert count_demonstrations([walk(4), walk(3, labelled=np.array([True, False, True]))]) == Counts(0, 6, 6, 0, 0)
