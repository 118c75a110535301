"""Files that could be read wrong without a word: each is read right, refused, or its reading is said."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from refusals import refusal

from rl_il.datasets import load_trajectories
from rl_il.datasets.axes import is_time_first
from rl_il.datasets.content import ReadOptions
from rl_il.envs import make_env
from rl_il.errors import InputError

RNG = np.random.default_rng(0)
OBS = RNG.normal(size=(4, 50, 2)).cumsum(axis=1).astype(np.float32)
"""Four episodes of 50 steps of random walks: successive steps are alike, and episodes are not."""
ACS = RNG.integers(0, 3, (4, 50))
AFTER = np.concatenate((OBS[:, 1:], OBS[:, -1:] + 1), axis=1)
ROWS, LABELS, LAST = OBS.reshape(200, 2), ACS.reshape(200), np.arange(200) % 50 == 49
FLAT = {"observations": ROWS, "actions": LABELS}


def time_first(**columns):
    return {name: np.swapaxes(array, 0, 1) for name, array in columns.items()}


@pytest.fixture
def read(tmp_path, shared_env):
    """Load columns, or anything else that can be pickled, for MountainCar-v0."""

    def load(content=None, env_name="MountainCar-v0", options=ReadOptions(), **columns):  # noqa: B008
        (tmp_path / "demos").write_bytes(pickle.dumps(columns or content))
        return load_trajectories(tmp_path / "demos", shared_env(env_name), options=options)

    return load


def assert_episodes(trajectories, obs=OBS, acs=ACS):
    assert [len(t) for t in trajectories] == [len(each) for each in acs]
    for t, episode, labels in zip(trajectories, obs, acs, strict=True):
        np.testing.assert_array_equal(t.obs[:-1], episode)
        np.testing.assert_array_equal(t.acs, labels)


# Time first --------------------------------------------------------------------------------------------------


def test_episodes_are_the_first_axis_and_it_is_said(read, capsys):
    assert_episodes(read(observations=OBS, actions=ACS))
    assert "4 episodes of 50 steps" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [{}, {"dones": LAST.reshape(4, 50)}], ids=["bare", "dones"])
def test_next_observations_show_that_time_is_the_first_axis(read, columns, capsys):
    columns = time_first(observations=OBS, actions=ACS, next_observations=AFTER, **columns)
    trajectories = read(**columns)
    assert_episodes(trajectories)
    np.testing.assert_array_equal([t.obs[-1] for t in trajectories], AFTER[:, -1])
    assert "50 steps of 4 environments" in capsys.readouterr().err


def test_next_observations_show_that_time_is_the_second_axis():
    obs = RNG.normal(size=(1, 50, 1)) + 1e-3 * np.arange(4)[:, None, None]  # episodes are nearly equal
    after = np.concatenate((obs[:, 1:], obs[:, :1]), axis=1)
    assert is_time_first({"observations": obs}) is None
    assert is_time_first({"observations": obs, "next_observations": after}) is False


def test_if_the_axis_of_time_is_unclear_the_length_decides(read, tmp_path):
    columns = time_first(observations=OBS, actions=ACS)
    with pytest.raises(InputError, match=r"--split_every 50.*--split_every 4"):
        read(**columns)
    assert_episodes(read(**columns, options=ReadOptions(split_every=50)))
    assert len(read(**columns, options=ReadOptions(split_every=4))) == 50
    with pytest.raises(InputError, match="--split_every"):
        read(**columns, options=ReadOptions(split_every=10))


def test_rows_of_environments_without_ends_are_not_counted_as_episodes(tmp_path, shared_env):
    columns = time_first(observations=OBS, actions=ACS, next_observations=AFTER)
    np.savez(tmp_path / "x.npz", **columns)
    with pytest.raises(InputError, match="--n_demos"):
        load_trajectories(tmp_path / "x.npz", shared_env("MountainCar-v0"), n_demos=1)


def test_several_episodes_of_an_environment_are_cut(read):
    starts = np.zeros((4, 50))
    starts[:, [0, 20]] = 1
    columns = time_first(observations=OBS, actions=ACS, next_observations=AFTER, episode_starts=starts)
    assert [len(t) for t in read(**columns)] == [20, 30] * 4


@pytest.mark.parametrize("steps", [1, 4])
def test_dicts_of_one_step_of_several_environments_are_no_episodes(read, steps):
    columns = time_first(obs=OBS[:steps], acs=ACS[:steps], next_obs=AFTER[:steps], done=LAST.reshape(4, 50)[:steps])
    steps_of_all = [{name: array[t] for name, array in columns.items()} for t in range(50)]
    assert_episodes(read(steps_of_all), OBS[:steps], ACS[:steps])


def test_dicts_of_a_step_of_one_environment_are_cut_at_its_ends(read):
    steps = [{"obs": s[None], "acs": a[None], "done": d[None]} for s, a, d in zip(ROWS, LABELS, LAST, strict=True)]
    assert_episodes(read(steps))


def test_overlapping_windows_are_refused(read):
    windows = np.stack([OBS[0, i : i + 8] for i in range(40)])
    with pytest.raises(InputError, match="overlap"):
        read(observations=windows, actions=np.stack([ACS[0, i : i + 8] for i in range(40)]))


# Marks of ends -----------------------------------------------------------------------------------------------


def test_marks_that_stay_after_an_end_are_padding(read):
    dones = np.zeros((4, 50), bool)
    dones[1, 30:], dones[[0, 2, 3], -1] = True, True
    trajectories = read(observations=OBS, actions=ACS, dones=dones)
    assert [len(t) for t in trajectories] == [50, 31, 50, 50]
    assert all(t.terminated for t in trajectories)


def test_a_mark_for_each_stacked_episode_and_its_last_observation_are_read(read):
    last = RNG.random((4, 2), np.float32)
    trajectories = read(observations=OBS, actions=ACS, terminals=[True, False, True, False], final_observations=last)
    assert [t.terminated for t in trajectories] == [True, False, True, False]
    np.testing.assert_array_equal([t.obs[-1] for t in trajectories], last)


@pytest.mark.parametrize("dones", [2 * LAST, np.where(LAST, 1, -1), np.where(LAST, 0.5, 0)])
def test_marks_that_are_neither_0_nor_1_are_refused(read, dones):
    with pytest.raises(InputError, match="dones must be 0 or 1"):
        read(**FLAT, dones=dones)


def test_a_mark_at_most_steps_is_said(read, capsys):
    read(**FLAT, dones=~LAST)
    assert "episodes; are they in order?" in capsys.readouterr().err


def test_ids_of_interleaved_episodes_are_refused(read):
    with pytest.raises(InputError, match="sort"):
        read(**FLAT, episode_ids=np.arange(200) % 4)


def test_indices_without_an_observation_more_for_each_episode_are_not_read(read, capsys):
    (t,) = read(**FLAT, indices=np.arange(200))
    assert len(t) == 200
    assert "not read: indices" in capsys.readouterr().err


def test_starts_within_an_episode_are_refused(read):
    with pytest.raises(InputError, match="episode_starts"):
        read([{"obs": OBS[i], "acs": ACS[i], "episode_starts": np.arange(50) % 25 == 0} for i in range(4)])


# Next observations -------------------------------------------------------------------------------------------


def test_steps_in_random_order_are_not_counted_as_episodes(tmp_path, shared_env):
    order = RNG.permutation(200)
    np.savez(tmp_path / "x.npz", obs=ROWS[order], acs=LABELS[order], next_obs=AFTER.reshape(200, 2)[order])
    env = shared_env("MountainCar-v0")
    assert sum(map(len, load_trajectories(tmp_path / "x.npz", env))) == 200
    with pytest.raises(InputError, match="--n_demos"):
        load_trajectories(tmp_path / "x.npz", env, n_demos=1)


@pytest.mark.parametrize(("rows", "after"), [(np.float16, np.float32), (np.float32, np.float16)])
def test_rounded_observations_are_no_break(read, rows, after):
    trajectories = read(obs=ROWS.astype(rows), acs=LABELS, next_obs=AFTER.reshape(200, 2).astype(after), dones=LAST)
    assert [len(t) for t in trajectories] == [50] * 4


def test_the_next_episodes_first_observation_is_not_an_episodes_last(read):
    after = np.concatenate((ROWS[1:], ROWS[-1:] + 1))  # a vectorised environment resets before it returns
    trajectories = read(obs=ROWS, acs=LABELS, next_obs=after, dones=LAST)
    np.testing.assert_array_equal([t.obs[-1] for t in trajectories[:3]], OBS[:3, -1])
    np.testing.assert_array_equal(trajectories[3].obs[-1], ROWS[-1] + 1)


# Scales ------------------------------------------------------------------------------------------------------


@pytest.fixture
def byte_env(register_env):
    return make_env(register_env(gym.spaces.Box(0, 255, (2,), np.uint8), gym.spaces.Discrete(3)))


@pytest.mark.parametrize(
    "scaled", [np.array([[0.2, 1], [0, 0.5]]), np.array([[256, 1], [0, 2]]), -np.ones((2, 2), int)]
)
def test_bytes_at_another_scale_are_refused(tmp_path, byte_env, scaled):
    np.savez(tmp_path / "x.npz", obs=scaled, acs=[0, 1])
    refusal(load_trajectories, tmp_path / "x.npz", byte_env, holds=["uint8", "scaled"])


@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.uint8])
def test_bytes_in_another_dtype_keep_their_values(tmp_path, byte_env, dtype):
    np.savez(tmp_path / "x.npz", obs=np.array([[200, 1], [0, 255]], dtype), acs=[0, 1])
    (t,) = load_trajectories(tmp_path / "x.npz", byte_env)
    assert t.obs.dtype == np.uint8 and t.obs[:-1].tolist() == [[200, 1], [0, 255]]


def test_integer_observations_of_real_numbers_are_said(read, capsys):
    read(obs=(100 * ROWS).astype(np.int16), acs=LABELS)
    assert "int16" in capsys.readouterr().err


@pytest.mark.parametrize(("acs", "refused"), [([[32767], [-5]], True), ([[2], [0]], True), ([[1], [-1]], False)])
def test_integer_actions_beyond_the_bounds_are_refused(read, acs, refused):
    columns = {"obs": ROWS[:2], "acs": np.array(acs, np.int16)}
    if refused:
        with pytest.raises(InputError, match="int16"):
            read(**columns, env_name="MountainCarContinuous-v0")
    else:
        assert read(**columns, env_name="MountainCarContinuous-v0")[0].acs.tolist() == acs


# Containers --------------------------------------------------------------------------------------------------


def test_a_tuples_fourth_truth_value_is_an_end_and_no_reward(read):
    columns = zip(ROWS, LABELS.tolist(), AFTER.reshape(200, 2), LAST.tolist(), strict=True)
    trajectories = read([*columns])
    assert_episodes(trajectories)
    assert all(np.isnan(t.rewards).all() and t.terminated for t in trajectories)
    (rewarded,) = read([(s, int(a), -1.0, False) for s, a in zip(ROWS, LABELS, strict=True)])
    assert (rewarded.rewards == -1).all()


def test_columns_of_unknown_names_are_no_tuples(read):
    with pytest.raises(InputError, match="--keys"):
        read({"p": [0.1, 0.2], "q": [0.3, 1.0]})


def test_keys_are_refused_where_nothing_has_a_name(read):
    with pytest.raises(InputError, match="--keys"):
        read([([0.1, 0.2], 1), ([0.3, 0.4], 0)], options=ReadOptions(keys="obs=x"))


def test_what_lies_next_to_the_episodes_is_said(read, capsys):
    read({"demos": [{"obs": OBS[0], "acs": ACS[0]}], "test": {"obs": OBS[1], "acs": ACS[1]}})
    assert "not read: test" in capsys.readouterr().err


def test_a_column_does_not_join_one_with_a_number(read, tmp_path, shared_env):
    (tmp_path / "x.csv").write_text("obs_0,obs_1,action,action_0\n0.1,0.2,1,7\n0.1,0.2,2,8\n")
    (t,) = load_trajectories(tmp_path / "x.csv", shared_env("MountainCar-v0"))
    assert t.acs.tolist() == [1, 2]


def test_two_arrays_of_one_meaning_in_a_folder_are_refused(tmp_path):
    for name in ("train_obs", "test_obs", "acs"):
        np.save(tmp_path / f"{name}.npy", ROWS)
    refusal(load_trajectories, tmp_path, holds=["test_obs", "train_obs"])


def test_an_array_of_exactly_a_known_name_is_taken(tmp_path, shared_env):
    for name, array in {"obs": ROWS, "obs_mean": ROWS[0], "acs": LABELS}.items():
        np.save(tmp_path / f"{name}.npy", array)
    (t,) = load_trajectories(tmp_path, shared_env("MountainCar-v0"))
    np.testing.assert_array_equal(t.obs[:-1], ROWS)


def test_the_files_of_a_folder_are_said(tmp_path, capsys):
    for i in range(3):
        np.savez(tmp_path / f"{i}.npz", observations=OBS[i], actions=ACS[i])
    load_trajectories(tmp_path)
    assert "3 files, 0.npz to 2.npz" in capsys.readouterr().err
