import dataclasses
import timeit

import numpy as np
import pytest
from fakes import walk

from rl_il.datasets.findings import NOTE, WARNING, Demos, counted, ranges, run_checks
from rl_il.datasets.odd import CHEAP_CHECKS, duplicate_columns, quick_look
from rl_il.types import Trajectory


def found(check, trajectories, env=None):
    return list(run_checks({check: CHEAP_CHECKS[check]}, Demos(trajectories, env)))


def only(check, trajectories, env=None):
    (finding,) = found(check, trajectories, env)
    assert finding.check == check and finding.text
    return finding


def episode(obs, acs=None, seed=0, **fields):
    """Return an episode with the observations `obs (T, D)`, and actions drawn from [-1, 1] x [-2, 2] by default."""
    obs = np.asarray(obs, np.float32)
    acs = np.random.default_rng(seed).uniform([-1, -2], [1, 2], (len(obs), 2)) if acs is None else np.asarray(acs)
    return Trajectory(np.concatenate((obs, obs[-1:])), acs, **{"rewards": np.ones(len(obs))} | fields)


def random_episode(seed, steps=20, width=4, **fields):
    return episode(np.random.default_rng(seed).normal(size=(steps, width)), seed=seed, **fields)


CLEAN = [random_episode(seed) for seed in range(6)]


@pytest.fixture
def continuous(shared_env):
    return shared_env("CorridorContinuous-v0")


@pytest.fixture
def discrete(shared_env):
    return shared_env("Corridor-v0")


@pytest.mark.parametrize("check", CHEAP_CHECKS)
def test_clean_data_have_no_finding(check, continuous):
    assert found(check, CLEAN) == []
    assert found(check, CLEAN, continuous) == []


# Numbers ---------------------------------------------------------------------------------------------------


def test_constant_numbers_are_counted_over_all_episodes():
    trajectories = []
    for seed in range(3):
        obs = np.random.default_rng(seed).normal(size=(9, 6))
        obs[:, [1, 2, 3]] = 0
        obs[:, 4] = [7] * 8 + [seed]  # it changes in the last row
        obs[:, 5] = seed  # constant within an episode, but not over all
        trajectories.append(episode(obs, seed=seed))
    finding = only("constant_numbers", trajectories)
    assert (finding.severity, finding.numbers) == (WARNING, {"of": "observation", "dimensions": [1, 2, 3]})
    assert "3 of 6" in finding.text and "1 to 3" in finding.text and "always 0" in finding.text


def test_constant_labels_are_found_among_labelled_steps():
    acs = np.random.default_rng(0).normal(size=(20, 3))
    acs[:, 2] = 0.5
    acs[5:, 1] = 7
    finding = only("constant_numbers", [episode(CLEAN[0].obs[:-1], acs, labelled=np.arange(20) >= 5)])
    assert finding.numbers == {"of": "label", "dimensions": [1, 2]}


def test_repeated_numbers_are_pairs_without_the_constants():
    trajectories = []
    for seed in range(3):
        obs = np.random.default_rng(seed).normal(size=(30, 7))
        obs[:, 4] = obs[:, 6] = obs[:, 1]
        obs[:, [2, 3]] = 0
        trajectories.append(episode(obs, seed=seed))
    finding = only("duplicate_numbers", trajectories)
    assert finding.numbers["pairs"] == [[1, 4], [1, 6]]
    assert "2 of 7" in finding.text and "4 equals 1" in finding.text


def test_numbers_that_differ_in_one_row_are_not_duplicates():
    obs = np.random.default_rng(0).normal(size=(1000, 2))
    obs[:, 1] = obs[:, 0]
    obs[1] += [0, 1]  # not one of the rows that are compared first
    assert duplicate_columns([obs]) == []


def test_pixels_are_not_examined_for_constant_numbers():
    trajectory = Trajectory(np.zeros((5, 4), np.uint8), np.zeros(4, int), np.ones(4))
    assert found("constant_numbers", [trajectory]) == found("duplicate_numbers", [trajectory]) == []


# Episodes --------------------------------------------------------------------------------------------------


def test_repeated_episodes_are_counted_once():
    copy = dataclasses.replace(CLEAN[0])
    finding = only("duplicate_episodes", [*CLEAN[:3], copy, CLEAN[1]])  # not as repeated start states too
    assert finding.numbers == {"episodes": [3, 4]} and "2 of 5" in finding.text
    other = dataclasses.replace(CLEAN[0], acs=-CLEAN[0].acs)
    finding = only("duplicate_episodes", [CLEAN[0], other])
    assert finding.numbers == {"same_start": 1} and "1 of 2" in finding.text


# Labels ----------------------------------------------------------------------------------------------------


def classes(*counts):
    acs = np.repeat(np.arange(len(counts)), counts)
    return [episode(np.random.default_rng(0).normal(size=(len(acs), 2)), acs)]


def test_balanced_labels_get_a_note_with_the_share_of_each_action(discrete):
    finding = only("class_balance", classes(10, 30, 60), discrete)
    assert (finding.severity, finding.numbers, finding.short) == (NOTE, {"counts": [10, 30, 60]}, "")
    assert "0: 10.0 %, 1: 30.0 %, 2: 60.0 %" in finding.text


@pytest.mark.parametrize(
    ("counts", "key", "actions", "words"),
    [
        ((10,), "never", [1, 2], ["1, 2", "3"]),
        ((996, 4, 200), "hardly", [1], ["1", "4 of 1,200"]),
    ],
)
def test_actions_that_are_never_or_hardly_ever_a_label(discrete, counts, key, actions, words):
    note, finding = found("class_balance", classes(*counts), discrete)
    assert note.severity == NOTE
    assert (finding.severity, finding.numbers[key]) == (WARNING, actions)
    assert all(word in finding.text for word in words)


def test_without_an_environment_the_largest_label_is_the_last_action():
    _, finding = found("class_balance", classes(5, 0, 5))
    assert finding.numbers == {"counts": [5, 0, 5], "never": [1]}
    assert found("class_balance", [episode(np.zeros((2, 2)), [0, 10**12])]) == []


def test_labels_outside_the_bounds_are_counted_for_each_dimension(continuous):
    acs = np.zeros((10, 2))
    acs[:4, 0] = [1.5, -1.5, 3, 1.0001]
    acs[:2, 1] = [2, -2]  # on the bound
    finding = only("bounds", [episode(np.zeros((10, 2)), acs)], continuous)
    assert finding.severity == NOTE
    assert finding.numbers == {"share": 0.2, "shares": [0.4, 0.0], "largest": 3.0}
    assert "20.0 %" in finding.text and "0: 40 %, 1: 0 %" in finding.text
    finding = only("bounds", [episode(np.zeros((10, 2)), np.full((10, 2), 1.5))], continuous)
    assert finding.severity == WARNING and "50 %" in finding.short  # so many that the scale is probably wrong


# Ends and returns ------------------------------------------------------------------------------------------


def test_episodes_that_reach_the_time_limit_as_terminated_or_exceed_it(shared_env):
    rows = [episode(np.eye(2)[[0] * n], [0] * n, terminated=True) for n in (5, 4, 5)]
    rows.append(episode(np.zeros((5, 2)), [0] * 5, truncated=True))
    finding = only("time_limits", rows, shared_env("TimedCorridor-v0"))  # 5 steps
    assert finding.numbers == {"episodes": [0, 2]} and "2 of 4" in finding.text
    finding = only("time_limits", [walk(4), walk(7), walk(9)], shared_env("TimedCorridor-v0"))
    assert finding.numbers == {"episodes": [1, 2], "longest": 9}
    assert found("time_limits", rows) == []  # the limit is not known
    assert found("time_limits", rows, shared_env("EndlessCorridor-v0")) == []


def returning(*returns):
    return [dataclasses.replace(walk(4), rewards=np.full(4, value / 4)) for value in returns]


def test_episodes_with_a_far_lower_return():
    finding = only("poor_episodes", returning(280, 275, 290, -100, 285, 281))
    assert finding.numbers == {"episodes": [3], "min": -100, "median": 280.5}
    assert found("poor_episodes", returning(280, 275, 290, 230, 285, 281)) == []  # within 10 standard deviations
    assert found("poor_episodes", returning(100, 100, 100, 100, 99)) == []  # within 10 %
    assert found("poor_episodes", returning(280, 281, 282, -100)) == []  # too few episodes
    assert only("poor_episodes", [walk(4, rewards=np.full(4, np.nan))]).severity == NOTE


# The quick look --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trajectories", "words", "odd"),
    [
        ([walk(3, 1), walk(4, 2), walk(5, 0)], ["3 episodes", "12 steps", "0.0 to 8.0"], []),
        (
            [walk(3), walk(3)],
            ["2 episodes", "6 steps", "3.0 to 3.0"],
            ["1 constant observation number", "1 repeated episode", "actions 0, 2", "doctor.py"],
        ),
        ([walk(20, 2, rewards=np.full(20, np.nan))], ["1 episode", "unknown"], ["actions 0, 1"]),
    ],
)
def test_the_quick_look_has_counts_returns_and_findings(discrete, trajectories, words, odd):
    line = quick_look(trajectories, discrete)
    assert "\n" not in line and ("odd" in line) == bool(odd)
    for word in (*words, *odd):
        assert word in line


def test_ranges_and_counts_as_text():
    assert ranges([1, 2, 3, 7]) == "1 to 3, 7"
    assert ranges(range(0, 20, 2)) == "0, 2, 4, 6, ..."
    assert (counted(1, "episode"), counted(1200, "step")) == ("1 episode", "1,200 steps")


def test_the_quick_look_is_quick(shared_env):
    rng = np.random.default_rng(0)
    block = rng.normal(size=(1001, 17)).astype(np.float32)
    block[:, 5] = 0
    trajectories = [
        Trajectory(block + np.float32(i) * (block != 0), rng.normal(size=(1000, 6)).astype(np.float32), np.ones(1000))
        for i in range(100)
    ]
    env = shared_env("HalfCheetah-v5")
    line = quick_look(trajectories, env)
    assert "1 constant observation number" in line
    assert min(timeit.repeat(lambda: quick_look(trajectories, env), number=1, repeat=3)) < 0.1  # 9 ms on an idle core
