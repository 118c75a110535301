"""The demo doctor, on small files with one known fault each."""

import json
import os
import sys

import gymnasium as gym
import numpy as np
import pytest
from calling import assert_refused, call_script
from course_files import GENERATIONS, RunsCode, demonstrations, expert_tree, write_demonstrations, write_pickle
from fakes import ConstantActor, StepModuloThree, walk

from rl_il.datasets import save_trajectories
from rl_il.datasets.content import ReadOptions
from rl_il.datasets.findings import ERROR, NOTE, WARNING, Demos
from rl_il.envs import ENVS
from rl_il.errors import InputError
from rl_il.files import REPOSITORY
from rl_il.studies.doctor.checks import equal_states, expert_disagreement, near_states, other_policies
from rl_il.studies.doctor.examine import examine, to_dict, to_text
from rl_il.studies.doctor.versions import SIZES, base_of, make_similar, name_in, recorded_on
from rl_il.types import Trajectory

RNG = np.random.default_rng(0)
CAR = {"observations": RNG.uniform(-0.1, 0.1, (60, 2)), "actions": np.arange(60) % 3, "rewards": -np.ones(60)}
CAR["dones"] = np.arange(60) % 20 == 19
"""Three episodes of 20 steps that could be MountainCar's."""
FLAT = {key: CAR[key] for key in ("observations", "actions")}


@pytest.fixture
def write(tmp_path):
    def write(name="MountainCar-v0.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return write


@pytest.fixture
def call(monkeypatch, capsys):
    return lambda command: call_script(f"doctor {command}", monkeypatch, capsys)


def of(report, check, severity=None):
    return [f for f in report.findings if f.check == check and severity in (None, f.severity)]


def only(report, check, severity=None):
    (finding,) = of(report, check, severity)
    return finding


# The shipped files, and the course's -------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((REPOSITORY / "data/demos").glob("*.npz")), ids=lambda path: path.stem)
def test_shipped_files_have_no_errors_and_the_labels_of_their_experts(path):
    report = examine(path)
    assert report.count(ERROR) == 0
    assert report.env_name == path.stem
    assert {f.check for f in report.findings if f.severity == WARNING} <= {"constant_numbers", "class_balance"}
    if path.stem != "CarRacing-v3":  # its driver cannot act on recorded pictures
        assert only(report, "expert").numbers["share"] < 0.001


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_name_of_a_course_file_gives_its_environment(tmp_path, generation):
    report = examine(write_demonstrations(tmp_path / "expert_data_HalfCheetah-v4.pkl", generation, (9, 8)))
    assert report.env_name == "HalfCheetah-v4"
    assert report.count(ERROR) == 0
    assert [len(t) for t in report.trajectories] == [9, 8]
    assert of(report, "episode_boundaries", NOTE)  # it does not say whether a time limit ended an episode
    # A note only: the file does not say that the labels are this expert's.
    assert only(report, "expert", NOTE).numbers["expert"] == "HalfCheetah-v5.npz"


def test_the_contact_forces_of_the_courses_ant_are_noted_and_cut_off(tmp_path, capsys):
    paths = demonstrations(2022, (9, 8), 111, 8)
    for path in paths:
        path["observation"][:, 27:57] = path["next_observation"][:, 27:57] = 0
    report = examine(write_pickle(tmp_path / "Ant-v2.pkl", paths))
    assert report.env_name == "Ant-v4"
    assert only(report, "observation_size", NOTE).numbers == {"shape": [111], "expected": [27], "constant": 30}
    assert only(report, "environment", NOTE).numbers == {"named": "Ant-v2"}
    assert report.trajectories[0].obs.shape == (10, 27)
    assert report.count(ERROR) == 0
    assert capsys.readouterr().err == ""


# Which environment -------------------------------------------------------------------------------------------


def test_the_environment_is_the_flags_then_the_metas_then_the_file_names(tmp_path):
    path = tmp_path / "MountainCar-v0.npz"
    save_trajectories(path, [walk(4), walk(5)], {"env_name": "Corridor-v0"})
    by_meta, by_flag = examine(path), examine(path, "MountainCar-v0")
    assert (by_meta.env_name, by_flag.env_name) == ("Corridor-v0", "MountainCar-v0")
    assert only(by_flag, "environment", WARNING).numbers == {"named": "Corridor-v0"}
    save_trajectories(path, [walk(4), walk(5)])
    by_name = examine(path)
    assert by_name.env_name == "MountainCar-v0"
    assert len({by_meta.env_from, by_flag.env_from, by_name.env_from}) == 3
    save_trajectories(path, [walk(4), walk(5)], {"env_name": "fakes:Corridor-v0"})
    assert examine(path).env_name is None
    assert not of(examine(path, "fakes:Corridor-v0"), "environment", WARNING)


def test_an_unknown_environment_is_a_warning_and_the_rest_is_examined(write):
    report = examine(write("mine.npz", **CAR))
    assert report.env_name is None
    assert "--env_name" in only(report, "environment", WARNING).text
    assert of(report, "class_balance", NOTE)
    assert "unknown" in to_text(report)
    with pytest.raises(InputError, match="--env_name"):
        examine(write("mine.npz", **CAR), expert="velocity_rule")


def test_the_environment_in_a_file_name(monkeypatch):
    monkeypatch.setitem(gym.registry, "My_Own-v0", None)
    texts = ["expert_data_Ant-v4", "my_LunarLander-v3_good", "Ant-v2", "demos_My_Own-v0", "demos"]
    assert [*map(name_in, texts)] == ["Ant-v4", "LunarLander-v3", "Ant-v2", "My_Own-v0", None]


def test_no_module_is_imported_for_a_name_from_a_file(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    save_trajectories(tmp_path / "mine.npz", [walk(4)], {"env_name": "trap:Ant-v4"})
    examine(tmp_path / "mine.npz")
    assert make_similar("trap:Ant-v4") is None
    assert "trap" not in sys.modules
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("old", "now"),
    [("Ant-v2", "Ant-v4"), ("Ant-v5", "Ant-v5"), ("LunarLander-v2", "LunarLander-v3"), ("No-v1", None)],
)
def test_the_next_later_version_stands_for_one_that_does_not_exist(old, now):
    env = make_similar(old)
    assert (env.spec.id if env else None) == now


# Sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", sorted(SIZES))
def test_the_table_of_sizes_agrees_with_gymnasium(base, shared_env):
    versions = [name for name in gym.registry if base_of(name) == base and not name.endswith(("-v2", "-v3"))]
    versions += [name for name in ENVS if base_of(name) == base and name not in versions]
    made = 0
    for name in versions:
        try:
            (size,) = shared_env(name).observation_space.shape
        except InputError:  # Pusher-v4 needs another mujoco
            continue
        made += 1
        description = SIZES[base][size]
        version = int(name[-1])
        assert f"-v{version}" in description or "to -v5" in description or "-v" not in description
    assert made


def test_a_wrong_size_is_an_error_that_names_its_version(write):
    arrays = {"observations": RNG.normal(size=(9, 376)), "actions": np.zeros((9, 17)), "dones": np.arange(9) == 8}
    report = examine(write("Humanoid-v5.npz", **arrays))
    finding = only(report, "observation_size", ERROR)
    assert finding.numbers == {"shape": [376], "expected": [348]}
    assert "--env_name Humanoid-v4" in finding.text
    assert len(report.trajectories[0]) == 9  # examined nevertheless
    assert of(report, "constant_numbers")
    assert examine(write("Humanoid-v4.npz", **arrays)).count(ERROR) == 0


def test_the_environment_that_a_size_belongs_to():
    assert "--env_name Ant-v5" in recorded_on(105, "Ant-v4")
    assert "HalfCheetah-v2 to -v5; Walker2d-v2 to -v5" in recorded_on(17, "Hopper-v5")
    assert "-v" not in recorded_on(5, "Hopper-v5")


# Files that the loader refuses -------------------------------------------------------------------------------


def test_nan_is_counted_and_the_other_rows_are_examined(write):
    obs = CAR["observations"].copy()
    obs[[3, 3, 7], [0, 1, 0]] = np.nan
    obs[30, 1] = np.inf
    report = examine(write(**CAR | {"observations": obs}))
    finding = only(report, "not_finite", ERROR)
    assert finding.numbers == {"array": "observations", "nan": 3, "infinite": 1, "rows": 3, "first_row": 3}
    assert of(report, "loader", ERROR)
    assert only(report, "loader", NOTE).numbers == {"rows": 3}
    assert [len(t) for t in report.trajectories] == [18, 19, 20]


def test_labels_out_of_range_are_counted(write):
    report = examine(write(**CAR | {"actions": CAR["actions"] + 1}))
    finding = only(report, "label_size", ERROR)
    assert (finding.numbers["bad"], finding.numbers["n"]) == (20, 3)
    assert "(3: 20)" in finding.text and "at 1?" in finding.text
    assert only(report, "class_balance", NOTE).numbers["counts"] == [0, 20, 20]


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.arange(60) % 3 / 2, "(0.5: 20)"),
        (RNG.normal(size=(60, 2)), "(2,)"),
        (np.full(60, 1e300), "60 of 60"),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_labels_of_a_wrong_kind_are_an_error(write, actions, words):
    report = examine(write(**CAR | {"actions": actions, "observations": 1e300 * CAR["observations"]}))
    assert words in only(report, "label_size", ERROR).text
    assert of(report, "loader", ERROR)
    assert len(report.trajectories) == 3


INTEGERS = {"dtype": "int64", "expected": "float32"}


@pytest.mark.parametrize(
    ("changes", "check", "severity", "numbers"),
    [
        ({"actions": np.float32(CAR["actions"])}, "label_size", NOTE, {"dtype": "float32", "shape": []}),
        ({"observations": np.ones((60, 2), int)}, "observation_size", WARNING, INTEGERS),
    ],
    ids=["whole floats", "integer observations"],
)
def test_unexpected_dtypes(write, changes, check, severity, numbers):
    report = examine(write(**CAR | changes))
    assert only(report, check, severity).numbers == numbers
    assert report.count(ERROR) == 0


def test_labels_of_a_wrong_shape_are_an_error(write):
    report = examine(write("Hopper-v5.npz", observations=RNG.normal(size=(9, 11)), actions=np.zeros((9, 2))))
    numbers = {"shape": [2], "dtype": "float64", "expected": [3]}
    assert only(report, "label_size", ERROR).numbers == numbers


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"labelled": np.zeros(60, bool)}, 60),
        ({"actions": CAR["actions"][:50]}, 0),
        ({key: array[:0] for key, array in CAR.items()}, 0),
    ],
)
def test_the_intact_part_of_a_refused_file_is_examined(write, changes, steps):
    report = examine(write(**{key: array for key, array in (CAR | changes).items() if array is not None}))
    assert of(report, "loader", ERROR)
    assert sum(map(len, report.trajectories)) == steps
    assert json.loads(json.dumps(to_dict(report)))["steps"] == steps
    assert to_text(report)


def test_episodes_of_another_shape_are_counted_and_left_out(tmp_path):
    paths = [*demonstrations(2022, (9, 8, 7)), *demonstrations(2022, (6,), 11, 6)]
    report = examine(write_pickle(tmp_path / "HalfCheetah-v4.pkl", paths))
    assert only(report, "shapes", ERROR).numbers == {"episodes": 1}
    assert [len(t) for t in report.trajectories] == [9, 8, 7]


def test_rewards_of_a_wrong_length_are_left_out_and_so_are_rows_with_nan(tmp_path):
    paths = demonstrations(2022, (9, 8))
    paths[0]["reward"], paths[1]["action"][2, 3] = np.zeros(3), np.nan
    report = examine(write_pickle(tmp_path / "HalfCheetah-v4.pkl", paths))
    assert of(report, "loader", ERROR)
    assert only(report, "not_finite", ERROR).numbers["first_row"] == 11
    assert [len(t) for t in report.trajectories] == [9, 7]
    assert to_dict(report)["returns"]["mean"] is None


def test_an_episode_without_actions_is_named(tmp_path):
    paths = [*demonstrations(2022, (9,)), {"observation": np.zeros(3)}]
    with pytest.raises(InputError, match=r"episode 1.*--keys"):
        examine(write_pickle(tmp_path / "HalfCheetah-v4.pkl", paths))


@pytest.mark.parametrize(
    ("changes", "severities"),
    [({"dones": None}, [WARNING]), ({}, [NOTE]), ({"terminations": CAR["dones"]}, [])],
)
def test_files_that_do_not_say_where_or_how_episodes_end(write, changes, severities):
    arrays = {key: array for key, array in (CAR | changes).items() if array is not None}
    assert [f.severity for f in of(examine(write(**arrays)), "episode_boundaries")] == severities


# Neighbours, the environment, the expert ---------------------------------------------------------------------


def rows(obs, acs):
    obs = np.asarray(obs, np.float32)
    return Demos([Trajectory(np.concatenate((obs, obs[-1:])), np.asarray(acs), np.ones(len(obs)))])


def test_equal_states_with_different_labels():
    obs = np.array([[0, 1], [1, 1], [0, 1], [0, 1], [1, 1]])
    (finding,) = equal_states(rows(obs, [0, 1, 0, 2, 1]))
    assert finding.numbers == {"contradictory": 1, "repeated": 3}
    assert list(equal_states(rows(obs, [0, 1, 0, 0, 1]))) == []
    assert len(list(equal_states(rows(obs, [[0.0], [1], [0], [0.5], [1]])))) == 1


NEAR = RNG.uniform(-1, 1, (3000, 2))


@pytest.mark.parametrize(
    ("obs", "labels", "severity"),
    [
        (NEAR, np.sin(NEAR), None),
        (NEAR, RNG.normal(size=(3000, 2)), WARNING),
        (NEAR, (NEAR[:, 0] > 0).astype(int), None),
        (NEAR, RNG.integers(0, 4, 3000), WARNING),
        (NEAR, np.where(RNG.random(3000) < 0.1, 1, 0), NOTE),
        (RNG.normal(size=(200, 20)), RNG.integers(0, 4, 200), None),  # too far from each other
        (np.zeros((200, 3)), RNG.integers(0, 4, 200), None),
    ],
)
def test_near_states_with_different_labels(obs, labels, severity):
    findings = list(near_states(rows(obs, labels)))
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
    if severity == WARNING:
        (numbers,) = (finding.numbers for finding in findings)
        assert numbers["pairs"] > 300 and numbers["contradictory"] > 0.6 * numbers["pairs"]


def test_the_share_of_labels_that_differ_from_the_experts_actions(shared_env):
    demos = Demos([walk(6, 1), walk(3, 2)], shared_env("Corridor-v0"))  # the expert: 0 1 2 0 1 2, and 0 1 2
    finding, *_ = expert_disagreement(demos, StepModuloThree(), "modulo", True)
    assert finding.severity == WARNING
    assert finding.numbers["share"] == pytest.approx(6 / 9)
    assert finding.numbers["share_by_episode"] == pytest.approx([4 / 6, 2 / 3])
    assert "modulo" in finding.text and "66.7 %" in finding.text


def test_the_distance_of_continuous_labels_from_the_experts_actions(shared_env):
    acs = np.array([[0.0, 0], [0.05, 0], [0.5, 0], [0, -0.3]])
    demos = Demos([walk(4, acs=acs)], shared_env("CorridorContinuous-v0"))
    (finding,) = expert_disagreement(demos, ConstantActor(np.zeros(2, np.float32)), "zero", False)
    assert finding.numbers["share"] == 2 / 8
    assert finding.numbers["rms"] == pytest.approx(np.sqrt((0.05**2 + 0.5**2 + 0.3**2) / 8))
    assert finding.severity == NOTE


def test_episodes_of_another_policy_are_found(shared_env):
    bare = walk(4, 1, labelled=np.zeros(4, bool))  # without labels: it has an index, but no share
    demos = Demos([bare, *(walk(3 + i, action) for i, action in enumerate((1, 1, 1, 2)))], shared_env("Corridor-v0"))
    share, other = expert_disagreement(demos, ConstantActor(1), "one", True)
    assert np.isnan(share.numbers["share_by_episode"][0])
    assert share.numbers["share_by_episode"][1:] == [0, 0, 0, 1]
    assert share.numbers["share"] == pytest.approx(6 / 18)
    assert other.numbers == {"episodes": [4], "max": 1.0, "median": 0.0}
    assert list(expert_disagreement(Demos([bare], demos.env), ConstantActor(1), "one", True)) == []
    assert list(other_policies(np.array([0.3, 0.35, 0.4, 0.3]))) == []


def test_labels_are_compared_with_the_given_expert(write):
    assert only(examine(write(**CAR), expert="two_parabola_rule"), "expert", WARNING).numbers["share"] > 0.05
    with pytest.raises(InputError, match="velocity_rule"):
        examine(write("Corridor-v0.npz", **CAR), expert="velocity_rule")
    assert "--expert" in only(examine(write("Corridor-v0.npz", **CAR)), "expert", NOTE).text


def test_an_expert_that_reads_the_simulator_is_not_compared(write):
    frames = RNG.integers(0, 256, (3, 96, 96, 3)).astype(np.uint8)
    path = write("CarRacing-v3.npz", observations=frames, actions=np.zeros((3, 3)), dones=np.arange(3) == 2)
    report = examine(path)
    assert "--expert" in only(report, "expert", NOTE).text
    assert report.count(ERROR) == 0
    with pytest.raises(InputError, match="car_driver"):
        examine(path, expert="car_driver")


def test_numbers_that_are_constant_in_the_environment_are_a_note(write, register_env):
    space = gym.spaces.Box(np.array([-1, 0, -1]), np.array([1, 0, 1]), dtype=np.float32)  # the second is always 0
    name = register_env(space, gym.spaces.Discrete(2), max_episode_steps=7)

    def found(obs, check):
        finding = only(examine(write(observations=obs, actions=np.arange(9) % 2), name), check)
        return finding.severity, finding.numbers["otherwise_in_environment"]

    obs = RNG.uniform(-1, 1, (9, 3))
    assert found(obs * [1, 0, 1], "constant_numbers") == (NOTE, [])
    assert found(obs * [1, 0, 0], "constant_numbers") == (WARNING, [2])
    assert found(obs[:, [0, 1, 0]], "duplicate_numbers") == (WARNING, [2])


# The script --------------------------------------------------------------------------------------------------


def test_a_clean_file_gives_status_0_and_a_summary(call):
    status, out, _ = call(REPOSITORY / "data/demos/LunarLander-v3.npz")
    values = [line.split(None, 1)[1] for line in out.splitlines()[1:6]]
    assert status == 0
    assert values[0].startswith("LunarLander-v3")
    assert values[1:] == ["100", "18,931", "252.3 to 319.4, mean 287.4", "139 to 248, mean 189.3"]
    assert out.splitlines()[-1] == "0 errors, 0 warnings"


def test_warnings_give_status_0_and_errors_1(call, write):
    status, out, _ = call(write(**FLAT))
    assert (status, out.splitlines()[-1]) == (0, "0 errors, 1 warning")
    status, out, _ = call(write(**FLAT | {"actions": np.full(60, 7)}))
    assert (status, out.splitlines()[-1].split(",")[0]) == (1, "2 errors")
    empty = write_pickle(write().with_name("HalfCheetah-v4.pkl"), [])
    assert call(empty)[0] == 2


def test_json_is_one_valid_object_that_agrees_with_the_text(call, write):
    path = write(**CAR | {"observations": np.where(np.arange(60)[:, None] == 3, np.nan, CAR["observations"])})
    status, text, _ = call(path)
    json_status, out, _ = call(f"{path} --json")
    assert status == json_status == 1
    assert out.count("\n") == 1
    report = json.loads(out, parse_constant=pytest.fail)
    assert list(report) == "file env_name episodes steps returns lengths findings errors warnings".split()
    assert (report["env_name"], report["episodes"], report["steps"]) == ("MountainCar-v0", 3, 59)
    assert report["lengths"] == {"min": 19, "mean": 59 / 3, "max": 20}
    assert all(f["text"] in line for f, line in zip(report["findings"], text.splitlines()[7:-1], strict=True))
    severities = [f["severity"] for f in report["findings"]]
    assert (severities.count(ERROR), severities.count(WARNING)) == (report["errors"], report["warnings"])
    assert severities == sorted(severities, key=[ERROR, WARNING, NOTE].index)
    assert report["findings"][0]["nan"] == 2
    unknown = json.loads(call(f"{write('mine.npz', **FLAT)} --json")[1])
    assert unknown["returns"] == {"min": None, "mean": None, "max": None} and unknown["env_name"] is None


@pytest.fixture
def broken(tmp_path, write):
    whole = write(**CAR).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("no data\n")
    (tmp_path / "folder.npz").mkdir()
    write_pickle(tmp_path / "evil.pkl", [{"observation": RunsCode(tmp_path / "ran")}])
    write_pickle(tmp_path / "expert.pkl", expert_tree())
    write_pickle(tmp_path / "words.pkl", ["no", "paths"])
    np.savez(tmp_path / "weights.npz", w0=np.zeros(3))
    return tmp_path


FAULTY = "nowhere.npz folder.npz cut.npz notes.txt expert.pkl words.pkl".split()
MISTAKES = {name: name for name in FAULTY} | {
    "weights.npz": "w0",
    "evil.pkl": f"{os.name}.system",
    "MountainCar-v0.npz --env_name MountanCar-v0": "MountainCar-v0",
    "MountainCar-v0.npz --expert nowhere.npz": "nowhere.npz",
    "MountainCar-v0.npz --no_such_flag": "--no_such_flag",
    "": "FILE",
}


@pytest.mark.parametrize(("command", "word"), MISTAKES.items(), ids=MISTAKES)
def test_a_file_that_cannot_be_examined_is_refused(call, broken, monkeypatch, command, word):
    monkeypatch.chdir(broken)
    called = call(command)
    assert_refused(called, word)
    assert called[1] == ""
    assert not (broken / "ran").exists()


# Formats -----------------------------------------------------------------------------------------------------


def test_what_the_loader_reads_is_examined_by_the_same_names(tmp_path, call):
    path = tmp_path / "MountainCar-v0.json"
    columns = {"at": CAR["observations"], "did": CAR["actions"], "timeout": CAR["dones"], "extra": CAR["rewards"]}
    path.write_text(json.dumps({name: array.tolist() for name, array in columns.items()}))
    with pytest.raises(InputError, match="--keys"):
        examine(path)
    report = examine(path, options=ReadOptions(keys="obs=at,actions=did"))
    assert [len(t) for t in report.trajectories] == [20] * 3
    assert "extra" in only(report, "names", NOTE).text
    status, out, _ = call(f"{path} --keys obs=at,actions=did --json")
    assert (status, json.loads(out)["episodes"]) == (0, 3)


def test_a_folder_is_examined_as_a_whole(tmp_path):
    for i, rows in enumerate((slice(0, 20), slice(20, 60))):
        np.savez(tmp_path / f"{i}.npz", **{name: array[rows] for name, array in FLAT.items()})
    assert [len(t) for t in examine(tmp_path, "MountainCar-v0").trajectories] == [20, 40]


def test_split_every_says_where_episodes_end(write):
    report = examine(write(**FLAT), options=ReadOptions(split_every=30))
    assert of(report, "episode_boundaries") == []
    assert [len(t) for t in report.trajectories] == [30, 30]


def test_one_hot_labels_are_noted(write):
    report = examine(write(**CAR | {"actions": np.eye(3)[CAR["actions"]]}))
    assert only(report, "label_size", NOTE).numbers["shape"] == [3]
    assert report.count(ERROR) == 0
