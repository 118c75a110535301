import numpy as np
import pytest
from course_files import GENERATIONS, demonstrations, expert_tree, path_dict, write_demonstrations, write_pickle
from refusals import refusal

from rl_il.datasets import load_trajectories


@pytest.mark.parametrize("generation", GENERATIONS)
def test_files_of_both_years_are_read(tmp_path, generation):
    path = write_demonstrations(tmp_path / "x.pkl", generation, (4, 3))
    for t, original in zip(load_trajectories(path), demonstrations(generation, (4, 3)), strict=True):
        np.testing.assert_array_equal(t.obs[:-1], original["observation"])
        np.testing.assert_array_equal(t.obs[-1], original["next_observation"][-1])
        np.testing.assert_array_equal(t.acs, original["action"])
        np.testing.assert_array_equal(t.labels, original["action"])
        np.testing.assert_array_equal(t.rewards, original["reward"])
        assert t.obs.dtype == original["observation"].dtype
        assert (t.acs.dtype, t.rewards.dtype) == (np.float32, np.float64)
        assert np.abs(t.labels).max() > 1  # not clipped
        assert (t.terminated, t.truncated) == (False, False)  # the time limit is unknown


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_environments_dtypes_and_time_limit_are_used(tmp_path, generation, shared_env):
    env = shared_env("HalfCheetah-v4")
    first, second = load_trajectories(write_demonstrations(tmp_path / "x.pkl", generation, (999, 1000)), env)
    assert {first.obs.dtype, second.obs.dtype} == {env.observation_space.dtype}
    assert first.acs.dtype == np.float32
    assert (first.terminated, first.truncated) == (True, False)
    assert (second.terminated, second.truncated) == (False, True)


def test_a_path_that_was_cut_off_has_no_end(tmp_path, shared_env):
    path = path_dict(2022, 5)
    path["terminal"][-1] = 0
    (t,) = load_trajectories(write_pickle(tmp_path / "x.pkl", [path]), shared_env("HalfCheetah-v4"))
    assert (t.terminated, t.truncated) == (False, False)


def test_paths_can_be_counted(tmp_path):
    path = write_demonstrations(tmp_path / "x.pkl", 2023, (2, 3, 4))
    assert [len(t) for t in load_trajectories(path, n_demos=2)] == [2, 3]


def changed(**changes):
    path = path_dict(2023, 4) | changes
    return [path_dict(2023, 3), {key: value for key, value in path.items() if value is not None}]


NAN = np.full((4, 17), np.nan)
GOOD = path_dict(2023, 4)


@pytest.mark.parametrize(
    "content, words",
    [
        ([], ["an empty list"]),
        (expert_tree(), ["--keys"]),
        ([path_dict(2022, 3), [1]], ["a list"]),
        (changed(observation=None), ["episode 1", "--keys", "action"]),
        (changed(reward=3.0), ["episode 1", "reward"]),
        (changed(action=GOOD["action"][:3]), ["episode 1", "4", "actions", "3"]),
        (changed(next_observation=NAN[:2]), ["episode 1", "4", "next_observations", "2"]),
        (changed(terminal=np.array([False, True, False, True])), ["episode 1", "dones"]),
        (changed(next_observation=NAN), ["episode 1", "obs", "NaN", "row 4 of 5"]),
    ],
)
def test_a_malformed_file_is_refused_with_both_numbers(tmp_path, content, words):
    refusal(load_trajectories, write_pickle(tmp_path / "x.pkl", content), holds=words)
