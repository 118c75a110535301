import csv
import json
import os
from pathlib import Path

import gymnasium as gym
import h5py
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from refusals import refusal

from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.datasets.content import ReadOptions
from rl_il.datasets.to_minari import dataset_id
from rl_il.datasets.writing import WRITERS, check_target, convert, write_demonstrations
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.types import EXPERT, HUMAN, LEARNER, Trajectory

# Two steps of a car (ended by the task), then three (by the time limit). Single precision has no exact tenths.
OBS = [np.array([[0.1, 1], [0.2, 2], [0.3, 3]], np.float32), np.array([[4, 5]] * 3 + [[6, 7]], np.float32)]
CARS = [
    Trajectory(OBS[0], np.array([2, 0]), np.array([-1.0, 0.1]), terminated=True),
    Trajectory(OBS[1], np.array([1, 1, 2]), np.array([1.0, 2.0, 3.0]), truncated=True),
]
# The learner did 0, 1; the expert would have done 2 at the first step, and was not asked at the second.
DAGGER = [
    Trajectory(
        OBS[0],
        np.array([0, 1]),
        np.zeros(2),
        truncated=True,
        expert_acs=np.array([2, 9]),
        labelled=np.array([True, False]),
        source=np.array([LEARNER, HUMAN], np.int8),
        consulted=np.array([True, False]),
    )
]
CONTINUOUS = [
    Trajectory(
        np.array([[1 / 3], [1e-300], [2]]),
        np.array([[0.1, -1], [1, 0.3]], np.float32),
        np.array([0.1, 1e9]),
        terminated=True,
        truncated=True,
        expert_acs=np.array([[0.1, -7], [1.5, 0.3]], np.float32),
    )
]
TARGETS = {"npz": "out.npz", "csv": "out.csv", "minari": "Car/out-v0"}


@pytest.fixture
def put(tmp_path):
    """Return a function that writes trajectories in a format, and returns the path."""

    def put(to, trajectories, *args, **kwargs):
        out = tmp_path / TARGETS[to]
        write_demonstrations(to, out, trajectories, *args, **kwargs)
        return out

    return put


def parts(trajectories, names=("obs", "acs", "labels", "rewards", "labelled_steps", "source")):
    found = [{name: getattr(t, name).tolist() for name in names} for t in trajectories]
    return [part | {"ends": (t.terminated, t.truncated)} for part, t in zip(found, trajectories, strict=True)]


def rows_of(path):
    with path.open(newline="") as file:
        return [*csv.reader(file)]


# Every format ------------------------------------------------------------------------------------------------


def test_the_formats_are_those_of_the_flags():
    assert {*WRITERS} == {*TARGETS}
    for script in ("convert", "record_demos"):
        text = (Path(__file__).parents[2] / f"scripts/{script}.py").read_text()
        assert "npz, minari or csv" in text


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("trajectories", [CARS, CONTINUOUS], ids=["discrete", "continuous"])
def test_equal_values_come_back(put, to, trajectories):
    read = load_trajectories(put(to, trajectories))
    names = ("obs", "labels", "rewards") if to == "minari" else ("obs", "acs", "labels", "rewards")
    expected, got = parts(trajectories, names), parts(read, names)
    for i, (one, other) in enumerate(zip(expected, got, strict=True)):
        if to == "csv":
            one["obs"][-1] = one["obs"][-2]  # which is lost
        if to == "npz":
            one["obs"] = trajectories[i].obs.astype(np.float32).tolist()
        assert one == other


@pytest.mark.parametrize("to", WRITERS)
def test_labels_are_written_by_default_and_executed_actions_on_request(put, tmp_path, to, capsys):
    (read,) = load_trajectories(put(to, DAGGER))
    assert read.labels.tolist() == [2, 1]  # the executed 1, not the 9 of a step without a label
    assert "1 of 2 steps has no label" in capsys.readouterr().err
    if to != "minari":  # whose infos are not read
        assert read.acs.tolist() == [0, 1]
        assert read.labelled_steps.tolist() == [True, False]
        assert read.source.tolist() == [LEARNER, HUMAN]
        assert read.consulted.tolist() == [True, False]
    again = tmp_path / "again" / TARGETS[to]
    write_demonstrations(to, again, DAGGER, actions="executed")
    (read,) = load_trajectories(again)
    assert read.labels.tolist() == read.acs.tolist() == [0, 1]
    assert read.labelled_steps.tolist() == [True, True]
    assert "no label" not in capsys.readouterr().err


@pytest.mark.parametrize("to", WRITERS)
def test_data_without_any_label_are_refused_unless_executed_actions_are_chosen(put, to):
    silent = [Trajectory(OBS[0], np.array([0, 1]), np.zeros(2), truncated=True, labelled=np.zeros(2, bool))]
    with pytest.raises(InputError, match="--actions executed"):
        put(to, silent)
    (read,) = load_trajectories(put(to, silent, actions="executed"))
    assert read.labels.tolist() == [0, 1]


@pytest.mark.parametrize("trajectories, actions", [([], "labels"), (CARS, "both")])
def test_nothing_and_unknown_actions_are_refused(put, trajectories, actions):
    with pytest.raises(InputError):
        put("csv", trajectories, actions=actions)


@pytest.mark.parametrize(
    "to, name, words",
    [
        ("xlsx", "x.xlsx", ["xlsx", "npz, minari, csv"]),
        ("csv", "x.npz", ["x.npz", ".csv"]),
        ("npz", "x", [".npz"]),
        ("minari", "x", ["-v0"]),
        ("minari", "taken-v0", ["taken-v0"]),
        ("csv", "file/x.csv", ["x.csv"]),
        ("minari", "file/x-v0", ["x-v0"]),
    ],
)
def test_a_target_that_cannot_be_written_is_refused(tmp_path, to, name, words):
    (tmp_path / "taken-v0").mkdir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError) as error:
        write_demonstrations(to, tmp_path / name, CARS)
    assert all(word in str(error.value) for word in words)
    assert sorted(os.listdir(tmp_path)) == ["file", "taken-v0"]


def test_a_target_is_checked_before_the_work_that_fills_it(tmp_path):
    (tmp_path / "x.csv").mkdir()
    refusal(lambda out: check_target("csv", out), tmp_path / "x.csv")


def test_a_missing_package_names_its_extra(tmp_path, monkeypatch):
    def load(path):
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")

    monkeypatch.setattr("rl_il.datasets.writing.load", load)
    with pytest.raises(InputError, match=r"h5py.*\[hdf5\]"):
        write_demonstrations("minari", tmp_path / "x-v0", CARS)


# CSV ---------------------------------------------------------------------------------------------------------


def test_the_columns_of_csv(put, capsys):
    path = put("csv", CARS)
    assert "lost" in capsys.readouterr().err
    header, *rows = rows_of(path)
    assert header == ["obs_0", "obs_1", "action", "reward", "terminated", "truncated", "episode"]
    assert rows[:3] == [
        ["0.10000000149011612", "1.0", "2", "-1.0", "0", "0", "0"],
        ["0.20000000298023224", "2.0", "0", "0.1", "1", "0", "0"],
        ["4.0", "5.0", "1", "1.0", "0", "0", "1"],
    ]
    assert rows[-1][3:] == ["3.0", "0", "1", "1"]


def test_the_columns_of_csv_for_dagger(put):
    header, *rows = rows_of(put("csv", DAGGER))
    assert header[7:] == ["executed_actions", "labelled", "sources", "consulted"]
    assert [row[2] for row in rows] == ["2", "1"]
    assert [row[7:] for row in rows] == [["0", "1", "0", "1"], ["1", "0", "2", "0"]]


def test_unknown_rewards_have_no_column(put):
    path = put("csv", [Trajectory(OBS[0], np.array([2, 0]), np.full(2, np.nan), terminated=True)])
    assert "reward" not in rows_of(path)[0]
    assert np.isnan(load_trajectories(path)[0].rewards).all()


def test_episodes_of_csv_stay_apart_without_an_end(put):
    cut = [Trajectory(OBS[0], np.array([2, 0]), np.zeros(2)), Trajectory(OBS[1], np.array([1, 1, 2]), np.zeros(3))]
    read = load_trajectories(put("csv", cut))
    assert [(len(t), t.terminated, t.truncated) for t in read] == [(2, False, False), (3, False, False)]


def test_csv_refuses_pictures(put):
    with pytest.raises(InputError, match="--to"):
        put("csv", [Trajectory(np.zeros((2, 4, 4, 3), np.uint8), np.array([0]), np.zeros(1))])


# Minari ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def car():
    return make_env("MountainCar-v0")


def test_the_structure_of_minari(put, car):
    path = put("minari", CARS, {"policy": "me"}, car)
    metadata = json.loads((path / "data/metadata.json").read_text())
    assert (metadata["total_episodes"], metadata["total_steps"]) == (2, 5)
    assert (metadata["dataset_id"], metadata["minari_version"]) == ("out-v0", "0.5.0")
    assert (metadata["data_format"], metadata["jpeg_encoding"]) == ("hdf5", False)
    assert "me" in metadata["description"]
    spec = gym.envs.registration.EnvSpec.from_json(metadata["env_spec"])
    assert (spec.id, spec.max_episode_steps, spec.additional_wrappers) == ("MountainCar-v0", 200, ())
    space = json.loads(metadata["observation_space"])
    assert (space["type"], space["dtype"], space["shape"]) == ("Box", "float32", [2])
    assert space["low"] == car.observation_space.low.tolist() and space["high"] == car.observation_space.high.tolist()
    discrete = {"type": "Discrete", "dtype": "int64", "start": 0, "n": 3}
    assert json.loads(metadata["action_space"]) == discrete
    with h5py.File(path / "data/main_data.hdf5") as file:
        assert [*file] == ["episode_0", "episode_1"]
        second = file["episode_1"]
        assert dict(second.attrs) == {"id": 1, "total_steps": 3}
        assert {*second} == {"observations", "actions", "rewards", "terminations", "truncations"}
        assert second["observations"][()].tolist() == [[4, 5], [4, 5], [4, 5], [6, 7]]
        assert second["observations"].dtype == np.float32
        assert second["observations"].maxshape == (None, 2)  # Minari can append
        assert second["actions"][()].tolist() == [1, 1, 2]
        assert second["rewards"][()].tolist() == [1, 2, 3]
        assert (second["terminations"].dtype, second["truncations"].dtype) == (bool, bool)
        assert second["terminations"][()].tolist() == [False] * 3
        assert second["truncations"][()].tolist() == [False, False, True]
        assert file["episode_0/terminations"][()].tolist() == [False, True]
        assert file["episode_0/truncations"][()].tolist() == [False, False]


def test_minari_keeps_who_acted_in_infos_a_row_later(put):
    path = put("minari", [*DAGGER, CARS[1]])
    with h5py.File(path / "data/main_data.hdf5") as file:
        infos = file["episode_0/infos"]
        assert infos["source"][1:].tolist() == [LEARNER, HUMAN]
        assert infos["labelled"][1:].tolist() == [True, False]
        assert infos["executed_actions"][1:].tolist() == [0, 1]
        assert {len(array) for array in infos.values()} == {3}
        assert file["episode_1/infos/source"][1:].tolist() == [EXPERT] * 3


def test_minari_without_an_environment_guesses_spaces_and_says_so(put, capsys):
    path = put("minari", [Trajectory(OBS[0], np.array([2.0, 0.0]), np.zeros(2), terminated=True)])
    metadata = json.loads((path / "data/metadata.json").read_text())
    assert "env_spec" not in metadata
    assert json.loads(metadata["action_space"])["n"] == 3
    assert json.loads(metadata["observation_space"])["high"] == [np.inf, np.inf]
    with h5py.File(path / "data/main_data.hdf5") as file:
        assert file["episode_0/actions"].dtype == np.int64
    assert "--env_name" in capsys.readouterr().err


def test_minari_says_what_has_no_end_and_refuses_unknown_rewards(put, car, capsys):
    read = load_trajectories(put("minari", [Trajectory(OBS[0], np.array([2, 0]), np.zeros(2))], env=car))
    assert (read[0].terminated, read[0].truncated) == (False, False)
    assert "1 episode is neither" in capsys.readouterr().err


def test_minari_refuses_unknown_rewards(put):
    with pytest.raises(InputError, match="rewards"):
        put("minari", [Trajectory(OBS[0], np.array([2, 0]), np.array([0, np.nan]), terminated=True)])


def test_pictures_need_a_version_of_minari_that_reads_them_unencoded(put):
    obs = np.arange(2 * 40 * 40 * 3, dtype=np.uint8).reshape(2, 40, 40, 3)
    path = put("minari", [Trajectory(obs, np.array([0]), np.zeros(1), terminated=True)])
    assert json.loads((path / "data/metadata.json").read_text())["minari_version"] == "0.5.4"
    np.testing.assert_array_equal(load_trajectories(path)[0].obs, obs)


def test_more_than_ten_episodes_keep_their_order(put):
    many = [Trajectory(OBS[0] + i, np.array([2, 0]), np.zeros(2), terminated=True) for i in range(12)]
    assert [t.obs[0, 1] for t in load_trajectories(put("minari", many))] == [*range(1, 13)]


def test_the_name_of_a_data_set_is_its_path_in_minaris_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert dataset_id(tmp_path / "Car" / "me-v1") == "Car/me-v1"
    assert dataset_id(tmp_path.parent / "Car" / "me-v1") == "me-v1"
    assert dataset_id(Path("Car/me-v1")) == "Car/me-v1"
    assert dataset_id(Path("../Car/me-v1")) == "me-v1"
    with pytest.raises(InputError):
        dataset_id(tmp_path / "a car" / "me-v1")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("rl_il.datasets.to_minari.write_episodes", fail)
    with pytest.raises(InputError, match=r"out-v0.*disk full"):
        write_demonstrations("minari", tmp_path / "out-v0", CARS)
    assert os.listdir(tmp_path) == []


@pytest.mark.formats
@pytest.mark.parametrize("name", ["MountainCar-v0", "BipedalWalker-v3", "CarRacing-v3"])
def test_minari_loads_it_and_recovers_the_environment(tmp_path, monkeypatch, name):
    import minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = make_env(name)
    env.action_space.seed(0)
    written = []
    for seed, ends in enumerate([(True, False), (False, True), (True, True)]):
        obs, acs, rewards = [env.reset(seed=seed)[0]], [], []
        for _ in range(seed + 2):
            acs.append(env.action_space.sample())
            ob, reward, *_ = env.step(acs[-1])
            obs.append(ob)
            rewards.append(float(reward))
        written.append(
            Trajectory(np.array(obs), np.array(acs), np.array(rewards), *ends, source=np.zeros(len(acs), np.int8))
        )
    write_demonstrations("minari", tmp_path / "Test" / "mine-v0", written, env=env)
    data = minari.load_dataset("Test/mine-v0")
    assert (data.total_episodes, data.total_steps, data.spec.dataset_id) == (3, 9, "Test/mine-v0")
    for episode, t in zip(data.iterate_episodes(), written, strict=True):
        np.testing.assert_array_equal(episode.observations, t.obs)
        np.testing.assert_array_equal(episode.actions, t.acs)
        np.testing.assert_array_equal(episode.rewards, t.rewards)
        assert episode.observations.dtype == env.observation_space.dtype
        assert (episode.terminations[-1], episode.truncations[-1]) == (t.terminated, t.truncated)
        assert not episode.terminations[:-1].any() and not episode.truncations[:-1].any()
        assert episode.infos["source"].tolist() == [LEARNER] * (len(t) + 1)
    assert data.observation_space == env.observation_space and data.action_space == env.action_space
    recovered = data.recover_environment()
    assert recovered.observation_space == env.observation_space
    assert recovered.spec.max_episode_steps == env.spec.max_episode_steps
    np.testing.assert_array_equal(recovered.reset(seed=1)[0], written[1].obs[0])
    assert "Test/mine-v0" in minari.list_local_datasets()


# Converting --------------------------------------------------------------------------------------------------


def test_converting_takes_the_environment_and_the_description_of_the_file(tmp_path):
    save_trajectories(tmp_path / "in.npz", CARS, {"env_name": "MountainCar-v0", "seed": 3})
    convert(tmp_path / "in.npz", tmp_path / "out-v0", "minari")
    metadata = json.loads((tmp_path / "out-v0/data/metadata.json").read_text())
    assert json.loads(metadata["env_spec"])["id"] == "MountainCar-v0"
    assert '"seed": 3' in metadata["description"] and '"actions": "labels"' in metadata["description"]


def test_converting_writes_the_chosen_actions(tmp_path):
    save_trajectories(tmp_path / "in.npz", DAGGER)
    for actions, expected in (("labels", [2, 1]), ("executed", [0, 1])):
        convert(tmp_path / "in.npz", tmp_path / "out.npz", "npz", actions=actions)
        assert load_trajectories(tmp_path / "out.npz")[0].labels.tolist() == expected


def test_converting_goes_on_without_an_environment_that_cannot_be_made(tmp_path, capsys):
    save_trajectories(tmp_path / "in.npz", CARS, {"env_name": "Nowhere-v0"})
    convert(tmp_path / "in.npz", tmp_path / "out.csv", "csv")
    assert "Nowhere" in capsys.readouterr().err
    assert len(load_trajectories(tmp_path / "out.csv")) == 2


def test_converting_passes_on_what_the_user_says(tmp_path, capsys):
    np.savez(tmp_path / "in.npz", joints=np.arange(12.0).reshape(6, 2), torques=[0, 1, 2, 0, 1, 2])
    options = ReadOptions("obs=joints,actions=torques", None, 3)
    read = convert(tmp_path / "in.npz", tmp_path / "out.npz", "npz", "MountainCar-v0", options)
    assert [len(t) for t in read] == [3, 3]
    again = load_trajectories(tmp_path / "out.npz", n_demos=2)
    assert [t.labels.tolist() for t in again] == [[0, 1, 2]] * 2
    assert again[1].obs[:3].tolist() == [[6, 7], [8, 9], [10, 11]]
    assert again[0].obs.dtype == np.float32 and again[0].acs.dtype == np.int64
    assert "last observation" in capsys.readouterr().err


def test_converting_says_that_a_file_seems_to_be_one_episode(tmp_path, capsys):
    np.savez(tmp_path / "in.npz", obs=np.arange(12.0).reshape(6, 2), actions=[0, 1, 2, 0, 1, 2])
    convert(tmp_path / "in.npz", tmp_path / "out.npz", "npz")
    assert "--split_every" in capsys.readouterr().err


def test_a_file_is_not_converted_into_itself(tmp_path):
    save_trajectories(tmp_path / "in.npz", CARS)
    before = (tmp_path / "in.npz").read_bytes()
    with pytest.raises(InputError, match=r"in\.npz"):
        convert(tmp_path / "in.npz", tmp_path / "in.npz", "npz")
    assert (tmp_path / "in.npz").read_bytes() == before


def test_what_cannot_be_read_is_not_converted(tmp_path):
    refusal(convert, tmp_path / "nowhere.npz", tmp_path / "out.csv", "csv")
    assert os.listdir(tmp_path) == []


def test_double_precision_that_npz_rounds_is_said(put, capsys):
    put("npz", CONTINUOUS)
    assert "single precision" in capsys.readouterr().err
    put("npz", CARS)
    assert capsys.readouterr().err == ""


class Shifted(gym.ObservationWrapper):
    def observation(self, observation):
        return observation + 1


@pytest.mark.parametrize("kind", ["object", "wrapped"])
def test_an_environment_that_json_cannot_name_is_said(put, register_env, car, kind, capsys):
    env = Shifted(car) if kind == "wrapped" else make_env(register_env(Box(-9, 9, (2,), np.float32), Discrete(3)))
    path = put("minari", CARS, env=env)
    assert "env_spec" not in json.loads((path / "data/metadata.json").read_text())
    assert "cannot recover" in capsys.readouterr().err
