import dataclasses
import time

import numpy as np
import pytest
from fakes import walk

from rl_il.datasets.findings import NOTE, WARNING, Demos, counted, ranges, run_checks
from rl_il.datasets.odd import CHEAP_CHECKS, duplicate_columns, quick_look
from rl_il.envs import make_env
from rl_il.types import Trajectory


def found(check, trajectories, env=None):
    return list(run_checks({check: CHEAP_CHECKS[check]}, Demos(trajectories, env)))


def only(check, trajectories, env=None):
    (finding,) = found(check, trajectories, env)
    assert finding.check == check
    return finding


def episode(obs, acs=None, seed=0, **fields):
    """An episode over the rows `obs (T, D)`; random continuous actions in [-1, 1] x [-2, 2] unless they are given."""
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
def test_nothing_is_said_about_clean_data(check, continuous):
    assert found(check, CLEAN) == []
    assert found(check, CLEAN, continuous) == []


# Numbers ---------------------------------------------------------------------------------------------------


def test_constant_numbers_are_counted_over_all_episodes():
    trajectories = []
    for seed in range(3):
        obs = np.random.default_rng(seed).normal(size=(9, 6))
        obs[:, [1, 2, 3]] = 0
        obs[:, 5] = seed  # constant in each episode, not in all
        trajectories.append(episode(obs, seed=seed))
    finding = only("constant_numbers", trajectories)
    assert finding.severity == WARNING
    assert finding.text.startswith("3 of 6 observation numbers never change (1 to 3; always 0)")
    assert finding.numbers == {"of": "observation", "dimensions": [1, 2, 3]}
    assert finding.short == "3 constant observation numbers"


def test_a_constant_label_number_is_found_too():
    acs = np.random.default_rng(0).normal(size=(20, 3))
    acs[:, 2] = 0.5
    finding = only("constant_numbers", [episode(CLEAN[0].obs[:-1], acs)])
    assert finding.numbers == {"of": "label", "dimensions": [2]}
    assert "always 0.5" in finding.text


def test_unlabelled_steps_do_not_count_as_labels():
    acs = np.ones((20, 2)) * np.arange(20)[:, None] ** [1, 2]
    acs[5:, 1] = 7
    labelled = np.arange(20) >= 5
    assert only("constant_numbers", [episode(CLEAN[0].obs[:-1], acs, labelled=labelled)]).numbers["dimensions"] == [1]


def test_a_constant_that_ends_late_is_none():
    obs = np.random.default_rng(0).normal(size=(20, 2))
    obs[:, 1] = 3
    later = obs.copy()
    later[-1, 1] = 4
    assert found("constant_numbers", [episode(obs), episode(later)]) == []


def test_repeated_numbers_are_pairs_and_constants_are_not_repeated_there():
    trajectories = []
    for seed in range(3):
        obs = np.random.default_rng(seed).normal(size=(30, 7))
        obs[:, 4] = obs[:, 1]
        obs[:, 6] = obs[:, 1]
        obs[:, [2, 3]] = 0
        trajectories.append(episode(obs, seed=seed))
    finding = only("duplicate_numbers", trajectories)
    assert finding.numbers["pairs"] == [[1, 4], [1, 6]]
    assert finding.text.startswith("2 of 7 observation numbers repeat another one (4 is 1, ...)")


def test_numbers_that_part_between_the_rows_that_are_probed_are_no_duplicates():
    obs = np.random.default_rng(0).normal(size=(1000, 2))
    obs[:, 1] = obs[:, 0]
    obs[1] += [0, 1]
    assert duplicate_columns([obs]) == []


def test_pixels_are_not_examined_for_constant_numbers():
    frames = np.zeros((5, 4), np.uint8)
    trajectory = Trajectory(frames, np.zeros(4, int), np.ones(4))
    assert found("constant_numbers", [trajectory]) == found("duplicate_numbers", [trajectory]) == []


# Episodes --------------------------------------------------------------------------------------------------


def test_repeated_episodes_are_counted_and_not_again_as_start_states():
    copy = dataclasses.replace(CLEAN[0])
    finding = only("duplicate_episodes", [*CLEAN[:3], copy, CLEAN[1]])
    assert finding.numbers == {"episodes": [3, 4]}
    assert finding.text.startswith("2 of 5 episodes repeat an earlier one, state by state (3, 4)")


def test_episodes_with_other_labels_are_not_the_same():
    other = dataclasses.replace(CLEAN[0], acs=-CLEAN[0].acs)
    finding = only("duplicate_episodes", [CLEAN[0], other])
    assert finding.numbers == {"same_start": 1}


def test_resets_with_one_seed_are_seen():
    trajectories = [random_episode(seed) for seed in range(5)]
    for t in trajectories[1:]:
        t.obs[0] = trajectories[0].obs[0]
    finding = only("duplicate_episodes", trajectories)
    assert (finding.severity, finding.numbers) == (WARNING, {"same_start": 4})
    assert finding.text.startswith("4 of 5 different episodes start in the state of an earlier one")


# Labels ----------------------------------------------------------------------------------------------------


def classes(*counts):
    acs = np.repeat(np.arange(len(counts)), counts)
    return [episode(np.random.default_rng(0).normal(size=(len(acs), 2)), acs)]


def test_balanced_classes_get_a_note_with_their_shares(discrete):
    finding = only("class_balance", classes(10, 30, 60), discrete)
    assert (finding.severity, finding.numbers, finding.short) == (NOTE, {"counts": [10, 30, 60]}, "")
    assert "0: 10.0 %, 1: 30.0 %, 2: 60.0 %" in finding.text


@pytest.mark.parametrize(
    ("counts", "key", "actions", "words"),
    [
        ((10, 0, 60), "never", [1], "action 1 is never a label (3 actions)"),
        ((10,), "never", [1, 2], "actions 1, 2 are never a label (3 actions)"),
        ((996, 4, 200), "hardly", [1], "action 1 is hardly ever a label (least: 4 of 1,200 steps)"),
    ],
)
def test_classes_that_are_never_or_hardly_seen(discrete, counts, key, actions, words):
    note, finding = found("class_balance", classes(*counts), discrete)
    assert note.severity == NOTE
    assert (finding.severity, finding.numbers[key]) == (WARNING, actions)
    assert finding.text.startswith(words)


def test_without_an_environment_the_classes_are_those_up_to_the_greatest():
    note, finding = found("class_balance", classes(5, 0, 5))
    assert note.numbers["counts"] == [5, 0, 5]
    assert finding.numbers["never"] == [1]
    assert found("class_balance", [episode(np.zeros((2, 2)), [0, 10**12])]) == []


def test_labels_out_of_bounds_by_dimension(continuous):
    acs = np.zeros((10, 2))
    acs[:4, 0] = [1.5, -1.5, 3, 1.0001]
    acs[:2, 1] = [2, -2]  # on the bound
    finding = only("bounds", [episode(np.zeros((10, 2)), acs)], continuous)
    assert finding.severity == NOTE
    assert finding.numbers == {"share": 0.2, "shares": [0.4, 0.0], "largest": 3.0}
    assert finding.text.startswith("20.0 % of the label entries lie outside CorridorContinuous-v0's bounds")
    assert "0: 40 %, 1: 0 %" in finding.text


def test_a_dimension_mostly_out_of_bounds_is_a_warning(continuous):
    finding = only("bounds", [episode(np.zeros((10, 2)), np.full((10, 2), 1.5))], continuous)
    assert finding.severity == WARNING
    assert finding.short == "50 % of the label entries outside the bounds"
    assert "scaled otherwise" in finding.text


# Ends and returns ------------------------------------------------------------------------------------------


def test_time_limits_stored_as_terminations(shared_env):
    env = shared_env("TimedCorridor-v0")  # 5 steps
    rows = [episode(np.eye(2)[[0] * n], [0] * n, terminated=True) for n in (5, 4, 5)]
    rows.append(episode(np.zeros((5, 2)), [0] * 5, truncated=True))
    finding = only("time_limits", rows, env)
    assert finding.numbers == {"episodes": [0, 2]}
    assert finding.text.startswith("2 of 4 episodes last exactly the limit of 5 steps")
    assert found("time_limits", rows) == []  # whose limit?
    assert found("time_limits", rows, make_env("EndlessCorridor-v0")) == []


def test_episodes_beyond_the_time_limit(shared_env):
    finding = only("time_limits", [walk(4), walk(7), walk(9)], shared_env("TimedCorridor-v0"))
    assert finding.numbers == {"episodes": [1, 2], "longest": 9}


def returning(*returns):
    return [dataclasses.replace(walk(4), rewards=np.full(4, value / 4)) for value in returns]


def test_episodes_of_far_smaller_return():
    finding = only("poor_episodes", returning(280, 275, 290, -100, 285, 281))
    assert finding.numbers == {"episodes": [3], "least": -100, "median": 280.5}
    assert found("poor_episodes", returning(280, 275, 290, 230, 285, 281)) == []  # within 10 standard deviations
    assert found("poor_episodes", returning(100, 100, 100, 100, 99)) == []  # within 10 %
    assert found("poor_episodes", returning(280, 281, 282, -100)) == []  # too few to tell


def test_missing_rewards_are_a_note():
    assert only("poor_episodes", [walk(4, rewards=np.full(4, np.nan))]).severity == NOTE


# The line --------------------------------------------------------------------------------------------------


def test_the_line_of_a_clean_set(discrete):
    line = quick_look([walk(3, 1), walk(4, 2), walk(5, 0)], discrete)
    assert line == "demonstrations: 3 episodes, 12 steps, returns 0.0 to 8.0"


def test_the_line_names_what_is_odd(discrete):
    line = quick_look([walk(3), walk(3)], discrete)
    assert line == (
        "demonstrations: 2 episodes, 6 steps, returns 3.0 to 3.0; odd: 1 constant observation number,"
        " 1 repeated episode, actions 0, 2 are never a label; see scripts/doctor.py"
    )


def test_the_line_of_one_episode_and_of_unknown_returns():
    assert quick_look([random_episode(0)]) == "demonstrations: 1 episode, 20 steps, return 20.0"
    unknown = random_episode(0, rewards=np.full(20, np.nan))
    assert quick_look([unknown]) == "demonstrations: 1 episode, 20 steps, returns unknown"


def test_the_quick_look_is_quick(shared_env):
    rng = np.random.default_rng(0)
    block = rng.normal(size=(1001, 17)).astype(np.float32)
    block[:, 5] = 0
    trajectories = [
        Trajectory(block + np.float32(i) * (block != 0), rng.normal(size=(1000, 6)).astype(np.float32), np.ones(1000))
        for i in range(100)
    ]
    env = shared_env("HalfCheetah-v5")
    times = []
    for _ in range(3):
        start = time.perf_counter()
        line = quick_look(trajectories, env)
        times.append(time.perf_counter() - start)
    assert "1 constant observation number" in line
    assert min(times) < 0.1  # 9 ms on an idle core


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([3], "3"),
        ([1, 2], "1, 2"),
        ([1, 2, 3, 7], "1 to 3, 7"),
        (range(0, 20, 2), "0, 2, 4, 6, ..."),
        (np.arange(5), "0 to 4"),
    ],
)
def test_ranges(numbers, text):
    assert ranges(numbers) == text


def test_counted():
    assert (counted(1, "episode"), counted(1200, "step")) == ("1 episode", "1,200 steps")
