import numpy as np
import pytest
from course_files import (
    GENERATIONS,
    PROTOCOLS,
    demonstrations,
    expert_tree,
    path_dict,
    write_demonstrations,
    write_pickle,
)

from rl_il.datasets import load_trajectories
from rl_il.errors import InputError


@pytest.mark.parametrize("old_names", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_both_generations_load_equal(tmp_path, generation, protocol, old_names):
    path = write_demonstrations(tmp_path / "x.pkl", generation, (4, 3), protocol=protocol, old_names=old_names)
    trajectories = load_trajectories(path)
    assert len(trajectories) == 2
    for t, original in zip(trajectories, demonstrations(generation, (4, 3)), strict=True):
        np.testing.assert_array_equal(t.obs[:-1], original["observation"])
        np.testing.assert_array_equal(t.obs[-1], original["next_observation"][-1])
        np.testing.assert_array_equal(t.acs, original["action"])
        np.testing.assert_array_equal(t.labels, original["action"])
        np.testing.assert_array_equal(t.rewards, original["reward"])
        assert t.obs.dtype == original["observation"].dtype
        assert (t.acs.dtype, t.rewards.dtype) == (np.float32, np.float64)
        assert np.abs(t.labels).max() > 1  # not clipped


@pytest.mark.parametrize("generation", GENERATIONS)
def test_both_generations_take_the_environments_dtypes(tmp_path, generation, shared_env):
    env = shared_env("HalfCheetah-v4")
    for t in load_trajectories(write_demonstrations(tmp_path / "x.pkl", generation), env):
        assert t.obs.dtype == env.observation_space.dtype
        assert t.acs.dtype == np.float32


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_terminal_at_the_time_limit_is_a_truncation(tmp_path, generation, shared_env):
    path = write_demonstrations(tmp_path / "x.pkl", generation, (999, 1000))
    first, second = load_trajectories(path, shared_env("HalfCheetah-v4"))
    assert (first.terminated, first.truncated) == (True, False)
    assert (second.terminated, second.truncated) == (False, True)


def test_without_an_environment_the_end_is_unknown(tmp_path):
    first, _ = load_trajectories(write_demonstrations(tmp_path / "x.pkl"))
    assert (first.terminated, first.truncated) == (False, False)


def test_a_path_that_was_cut_off_has_no_end(tmp_path, shared_env):
    path = path_dict(2022, 5)
    path["terminal"][-1] = 0
    (t,) = load_trajectories(write_pickle(tmp_path / "x.pkl", [path]), shared_env("HalfCheetah-v4"))
    assert (t.terminated, t.truncated) == (False, False)


def test_paths_can_be_counted_and_drawn(tmp_path):
    path = write_demonstrations(tmp_path / "x.pkl", 2023, (2, 3, 4))
    assert [len(t) for t in load_trajectories(path, n_demos=2)] == [2, 3]
    drawn = load_trajectories(path, n_demos=3, rng=np.random.default_rng(0))
    assert sorted(len(t) for t in drawn) == [2, 3, 4]
    with pytest.raises(InputError, match="holds 3 episodes, --n_demos asks for 4"):
        load_trajectories(path, n_demos=4)


def changed(**changes):
    path = path_dict(2023, 4) | changes
    return [path_dict(2023, 3), {key: value for key, value in path.items() if value is not None}]


NAN = np.full((4, 17), np.nan)
GOOD = path_dict(2023, 4)


@pytest.mark.parametrize(
    "content, words",
    [
        ([], ["list of path dicts", "an empty list"]),
        ({"a": 1}, ["list of path dicts", "a dict", "expert"]),
        (expert_tree(), ["list of path dicts", "a dict", "expert"]),
        ([1, 2], ["path 0", "must be a dict", "a int"]),
        ([path_dict(2022, 3), [1]], ["path 1", "must be a dict", "a list"]),
        (changed(action=None), ["path 1", "lacks action", "observation"]),
        (changed(observation=None, terminal=None), ["path 1", "lacks observation, terminal"]),
        (changed(next_observation=None), ["path 1", "lacks next_observation"]),
        (changed(reward=3.0), ["path 1", "reward must be an array", "float"]),
        (changed(action=GOOD["action"][:3]), ["path 1", "observations has 4 rows", "actions has 3"]),
        (changed(reward=np.zeros(5)), ["path 1", "observations has 4 rows", "rewards has 5"]),
        (changed(terminal=np.zeros(2, bool)), ["path 1", "observations has 4 rows", "dones has 2"]),
        (changed(next_observation=NAN[:2]), ["path 1", "observations has 4 rows", "next_observation has 2"]),
        (changed(next_observation=np.zeros((4, 16))), ["path 1", "(4, 16)", "(4, 17)"]),
        (changed(terminal=np.array([False, True, False, True])), ["path 1", "terminal before its last step"]),
        (changed(observation=NAN), ["path 1", "obs hold NaN or infinity", "row 0 of 5"]),
        (changed(next_observation=NAN), ["path 1", "obs hold NaN or infinity", "row 4 of 5"]),
        (changed(action=np.full((4, 6), np.inf)), ["path 1", "acs hold NaN or infinity"]),
        (changed(reward=np.full(4, np.nan)), ["path 1", "rewards hold NaN or infinity"]),
        (changed(observation=np.array(3.0)), ["path 1", "observation", "a single number"]),
        (
            changed(**{key: array[:0] for key, array in GOOD.items()}),
            ["path 1", "no observations"],
        ),
    ],
)
def test_a_malformed_file_is_refused_with_its_path_and_both_numbers(tmp_path, content, words):
    path = write_pickle(tmp_path / "x.pkl", content)
    with pytest.raises(InputError) as error:
        load_trajectories(path)
    assert str(error.value).startswith(f"{path}: ")
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("ob_dim, ac_dim, words", [(111, 6, ["(111,)", "(17,)"]), (17, 8, ["(N, 6)", "(4, 8)"])])
def test_another_environments_file_is_refused_with_both_sizes(tmp_path, shared_env, ob_dim, ac_dim, words):
    path = write_demonstrations(tmp_path / "x.pkl", 2022, (4,), ob_dim, ac_dim)
    with pytest.raises(InputError) as error:
        load_trajectories(path, shared_env("HalfCheetah-v4"))
    for word in ("HalfCheetah-v4", *words):
        assert word in str(error.value)


@pytest.mark.parametrize("value", [np.zeros(3), [np.zeros(3)]])
def test_arrays_where_paths_belong_are_refused(tmp_path, value):
    with pytest.raises(InputError, match="got a ndarray"):
        load_trajectories(write_pickle(tmp_path / "x.pkl", value))
