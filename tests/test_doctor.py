"""The demo doctor: small files with one known fault each, and what it says about them."""

import json
import runpy
import shlex
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from course_files import GENERATIONS, RunsCode, demonstrations, expert_tree, write_demonstrations, write_pickle
from fakes import ConstantActor, StepModuloThree, walk

from rl_il.datasets import save_trajectories
from rl_il.datasets.findings import ERROR, NOTE, WARNING, Demos
from rl_il.datasets.loading import FORMATS
from rl_il.doctor.checks import (
    equal_states,
    expert_disagreement,
    near_states,
    nearest_neighbours,
    other_policies,
    random_states,
)
from rl_il.doctor.examine import CHECKS, examine, to_dict, to_text
from rl_il.doctor.raw import RAW_CHECKS
from rl_il.doctor.versions import SIZES, base_of, make_similar, name_in, recorded_on
from rl_il.envs import ENVS, make_env
from rl_il.errors import InputError
from rl_il.types import Trajectory

REPOSITORY = Path(__file__).resolve().parents[1]
RNG = np.random.default_rng(0)
CAR = {"observations": RNG.uniform(-0.1, 0.1, (60, 2)), "actions": np.arange(60) % 3, "rewards": -np.ones(60)}
CAR["dones"] = np.arange(60) % 20 == 19
"""Three episodes of 20 steps that could be MountainCar's."""


@pytest.fixture
def write(tmp_path):
    def write(name="MountainCar-v0.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return write


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the script in this process: status, what it prints, what it prints as errors."""

    def call(command):
        monkeypatch.setattr(sys, "argv", ["doctor.py", *shlex.split(command)])
        status = 0
        try:
            runpy.run_path(str(REPOSITORY / "scripts" / "doctor.py"), run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return call


def of(report, check, severity=None):
    return [f for f in report.findings if f.check == check and severity in (None, f.severity)]


def only(report, check, severity=None):
    (finding,) = of(report, check, severity)
    return finding


# The shipped files, and the course's -------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((REPOSITORY / "data/demos").glob("*.npz")), ids=lambda path: path.stem)
def test_shipped_demonstrations_have_no_errors_and_their_experts_labels(path):
    report = examine(path)
    assert report.count(ERROR) == 0
    assert report.env_name == path.stem
    assert {f.check for f in report.findings if f.severity == WARNING} <= {"constant_numbers", "class_balance"}
    if path.stem != "CarRacing-v3":  # whose driver cannot be asked about pictures
        assert only(report, "expert").numbers["share"] < 0.001


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_courses_files_are_examined_by_their_name(tmp_path, generation):
    report = examine(write_demonstrations(tmp_path / "expert_data_HalfCheetah-v4.pkl", generation, (9, 8)))
    assert (report.env_name, report.env_from) == ("HalfCheetah-v4", "the file's name")
    assert report.count(ERROR) == 0
    assert [len(t) for t in report.trajectories] == [9, 8]
    assert "a time limit" in only(report, "episode_boundaries", NOTE).text
    expert = only(report, "expert")
    assert (expert.severity, expert.numbers["expert"]) == (NOTE, "HalfCheetah-v5.npz")  # nobody said they were its
    assert "two experts' labels" in expert.text


def test_the_courses_ant_is_cut_and_the_zeros_among_its_forces_are_counted(tmp_path, capsys):
    paths = demonstrations(2022, (9, 8), 111, 8)
    for path in paths:
        path["observation"][:, 27:57] = path["next_observation"][:, 27:57] = 0
    report = examine(write_pickle(tmp_path / "Ant-v2.pkl", paths))
    assert report.env_name == "Ant-v4"
    assert only(report, "observation_size", NOTE).numbers == {"shape": [111], "expected": [27], "constant": 30}
    assert "Ant-v2" in only(report, "environment", NOTE).text
    assert report.trajectories[0].obs.shape == (10, 27)
    assert report.count(ERROR) == 0
    assert capsys.readouterr().err == ""


# Which environment -------------------------------------------------------------------------------------------


def test_the_environment_is_the_one_asked_for_else_the_metas_else_the_names(tmp_path):
    path = tmp_path / "MountainCar-v0.npz"
    save_trajectories(path, [walk(4), walk(5)], {"env_name": "Corridor-v0"})
    report = examine(path)
    assert (report.env_name, report.env_from) == ("Corridor-v0", "the file's meta")
    report = examine(path, "MountainCar-v0")
    assert (report.env_name, report.env_from) == ("MountainCar-v0", "--env_name")
    assert "is for Corridor-v0" in only(report, "environment", WARNING).text
    save_trajectories(path, [walk(4), walk(5)])
    report = examine(path)
    assert (report.env_name, report.env_from) == ("MountainCar-v0", "the file's name")


def test_without_an_environment_the_rest_is_examined(write):
    report = examine(write("mine.npz", **CAR))
    assert report.env_name is None
    assert "sizes, bounds, time limits and the expert were not checked" in only(report, "environment", WARNING).text
    assert of(report, "class_balance", NOTE)
    assert "environment  unknown" in to_text(report)
    with pytest.raises(InputError, match="--expert needs the environment"):
        examine(write("mine.npz", **CAR), expert="velocity_rule")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("expert_data_Ant-v4", "Ant-v4"),
        ("my_LunarLander-v3_good", "LunarLander-v3"),
        ("Ant-v2", "Ant-v2"),
        ("demos", None),
        ("", None),
    ],
)
def test_a_name_in_a_file_name(text, name):
    assert name_in(text) == name


def test_an_underscore_may_belong_to_the_environment(register_env):
    gym.register("My_Own-v0", lambda: None)
    try:
        assert name_in("demos_My_Own-v0") == "My_Own-v0"
    finally:
        del gym.registry["My_Own-v0"]


def test_a_name_from_a_file_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    save_trajectories(tmp_path / "mine.npz", [walk(4)], {"env_name": "trap:Ant-v4"})
    examine(tmp_path / "mine.npz")
    assert make_similar("trap:Ant-v4") is None
    assert "trap" not in sys.modules
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("old", "now"), [("Ant-v2", "Ant-v4"), ("LunarLander-v2", "LunarLander-v3"), ("No-v1", None)]
)
def test_an_old_version_is_examined_as_the_nearest_later_one(old, now):
    env = make_similar(old)
    assert (env.spec.id if env else None) == now


# Sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", sorted(SIZES))
def test_the_table_of_sizes_is_what_gymnasium_makes(base, shared_env):
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


def test_a_wrong_size_says_which_version_it_is_and_what_to_do(write):
    arrays = {"observations": RNG.normal(size=(9, 376)), "actions": np.zeros((9, 17)), "dones": np.arange(9) == 8}
    report = examine(write("Humanoid-v5.npz", **arrays))
    finding = only(report, "observation_size", ERROR)
    assert finding.numbers == {"shape": [376], "expected": [348]}
    assert "Humanoid-v2 to -v4: try --env_name Humanoid-v4" in finding.text
    assert len(report.trajectories[0]) == 9  # examined all the same
    assert of(report, "constant_numbers")
    assert examine(write("Humanoid-v4.npz", **arrays)).count(ERROR) == 0


@pytest.mark.parametrize(
    ("n", "env_name", "words"),
    [
        (105, "Ant-v4", "try --env_name Ant-v5"),
        (27, "Ant-v5", "try --env_name Ant-v4"),
        (11, "Reacher-v5", "try --env_name Reacher-v4"),
        (17, "Hopper-v5", "HalfCheetah-v2 to -v5; Walker2d-v2 to -v5"),
        (5, "Hopper-v5", "no environment known here has this size"),
    ],
)
def test_what_a_size_was_recorded_on(n, env_name, words):
    assert words in recorded_on(n, env_name)


# Files that the loader refuses -------------------------------------------------------------------------------


def test_nan_is_counted_and_the_other_rows_are_examined(write):
    obs = CAR["observations"].copy()
    obs[[3, 3, 7], [0, 1, 0]] = np.nan
    obs[30, 1] = np.inf
    report = examine(write(**CAR | {"observations": obs}))
    finding = only(report, "not_finite", ERROR)
    assert finding.numbers == {"array": "observations", "nan": 3, "infinite": 1, "rows": 3, "first_row": 3}
    assert "hold 3 NaN and 1 infinite numbers, in 3 of 60 rows (first in row 3)" in finding.text
    assert "obs hold NaN" in only(report, "loader", ERROR).text
    assert only(report, "loader", NOTE).numbers == {"rows": 3}
    assert [len(t) for t in report.trajectories] == [18, 19, 20]


def test_labels_out_of_range_are_counted(write):
    report = examine(write(**CAR | {"actions": CAR["actions"] + 1}))
    finding = only(report, "label_size", ERROR)
    assert finding.numbers["bad"] == 20
    assert "20 of 60 labels are no integers in [0, 3) (3: 20); are they counted from 1?" in finding.text
    assert only(report, "class_balance", NOTE).numbers["counts"] == [0, 20, 20]


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.arange(60) % 3 / 2, "20 of 60 labels are no integers in [0, 3) (0.5: 20)"),
        (np.eye(3)[np.arange(60) % 3], "they are one-hot: store acs.argmax(axis=1)"),
        (RNG.normal(size=(60, 2)), "labels have the shape (2,)"),
    ],
)
def test_labels_of_another_kind(write, actions, words):
    report = examine(write(**CAR | {"actions": actions}))
    assert words in only(report, "label_size", ERROR).text
    assert of(report, "loader", ERROR)


def test_whole_floats_are_read_as_integers_with_a_note(write):
    report = examine(write(**CAR | {"actions": CAR["actions"].astype(np.float32)}))
    assert report.count(ERROR) == 0
    assert only(report, "label_size", NOTE).numbers["dtype"] == "float32"


def test_continuous_labels_of_another_shape(write):
    report = examine(write("Hopper-v5.npz", observations=RNG.normal(size=(9, 11)), actions=np.zeros((9, 2))))
    assert only(report, "label_size", ERROR).numbers == {"shape": [2], "dtype": "float64", "expected": [3]}


def test_integer_observations_are_odd(write):
    report = examine(write(**CAR | {"observations": np.arange(120).reshape(60, 2)}))
    assert only(report, "observation_size", WARNING).numbers == {"dtype": "int64", "expected": "float32"}


def test_arrays_of_different_lengths_are_examined_up_to_the_shortest(write):
    report = examine(write(**CAR | {"rewards": np.ones(50)}))
    assert "lengths disagree" in only(report, "loader", ERROR).text
    assert sum(map(len, report.trajectories)) == 50


@pytest.mark.parametrize("missing", ["observations", "actions"])
def test_a_file_without_one_of_the_two_arrays_says_so(write, missing):
    report = examine(write(**{key: array for key, array in CAR.items() if key != missing}))
    assert "needs arrays named observations and actions" in only(report, "loader", ERROR).text
    assert report.trajectories == []
    assert "episodes     0" in to_text(report)


@pytest.mark.parametrize("arrays", [{key: array[:0] for key, array in CAR.items()}, CAR | {"actions": np.array("x")}])
def test_an_empty_file_or_one_of_text_is_an_error(write, arrays):
    report = examine(write(**arrays))
    assert of(report, "loader", ERROR)
    assert report.trajectories == []
    json.loads(json.dumps(to_dict(report)))


def test_incomplete_paths_and_paths_of_another_shape_are_left_out(tmp_path):
    paths = demonstrations(2022, (9, 8, 7))
    paths += [{"observation": np.zeros(3)}, "text", *demonstrations(2022, (0,)), *demonstrations(2022, (6,), 11, 6)]
    report = examine(write_pickle(tmp_path / "HalfCheetah-v4.pkl", paths))
    incomplete, other = of(report, "paths", ERROR)
    assert incomplete.text.startswith("3 of 7 paths are incomplete")
    assert other.text.startswith("1 of 7 paths are of another shape")
    assert [len(t) for t in report.trajectories] == [9, 8, 7]


@pytest.mark.parametrize("rewards", [[1, [2, 3]], "text", None, np.zeros(3)])
def test_paths_with_odd_rewards_are_examined_without_them(tmp_path, rewards):
    paths = demonstrations(2022, (9, 8))
    paths[0]["reward"] = rewards
    report = examine(write_pickle(tmp_path / "HalfCheetah-v4.pkl", paths))
    assert "path 0" in only(report, "loader", ERROR).text
    assert [len(t) for t in report.trajectories] == [9, 8]
    assert to_dict(report)["returns"]["mean"] is None


def test_nan_in_a_course_file(tmp_path):
    paths = demonstrations(2023, (9, 8))
    paths[1]["action"][2, 3] = np.nan
    report = examine(write_pickle(tmp_path / "HalfCheetah-v4.pkl", paths))
    assert only(report, "not_finite", ERROR).numbers["first_row"] == 11
    assert [len(t) for t in report.trajectories] == [9, 7]


def test_a_file_without_any_label_is_examined(write):
    report = examine(write(**CAR | {"labelled": np.zeros(60, bool)}))
    assert "no labelled step" in only(report, "loader", ERROR).text
    assert len(report.trajectories) == 3


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_beyond_all_measure_are_no_reason_to_stop_or_to_complain(write):
    huge = {"observations": 1e300 * RNG.normal(size=(60, 2)), "actions": np.full(60, 1e300)}
    report = examine(write(**CAR | huge))
    assert of(report, "label_size", ERROR)
    assert len(report.trajectories) == 3


def test_files_without_boundaries(write):
    flat = {key: CAR[key] for key in ("observations", "actions", "rewards")}
    assert "--n_demos" in only(examine(write(**flat)), "episode_boundaries", WARNING).text
    assert "done" in only(examine(write(**CAR)), "episode_boundaries", NOTE).text
    told = CAR | {"terminations": CAR["dones"]}
    assert of(examine(write(**told)), "episode_boundaries") == []


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


def test_neighbours_are_the_nearest_other_rows():
    obs = np.array([[0.0], [1], [1.5], [9]])
    nearest, distances = nearest_neighbours(obs, 3)
    assert nearest.tolist() == [1, 2, 1]
    assert distances.tolist() == [1, 0.5, 0.5]
    far = RNG.normal(size=(200, 5))
    nearest, distances = nearest_neighbours(far, 200)
    by_hand = np.sqrt(((far[:, None] - far) ** 2).mean(axis=2)) + np.diag(np.full(200, np.inf))
    np.testing.assert_allclose(distances, by_hand.min(axis=1))


@pytest.mark.parametrize("continuous", [True, False])
def test_near_states_with_random_labels_are_odd_and_with_smooth_ones_are_not(continuous):
    obs = RNG.uniform(-1, 1, (3000, 2))
    if continuous:
        smooth, random = np.sin(obs), RNG.normal(size=(3000, 2))
    else:
        smooth, random = (obs[:, 0] > 0).astype(int), RNG.integers(0, 4, 3000)
    assert list(near_states(rows(obs, smooth))) == []
    (finding,) = near_states(rows(obs, random))
    assert finding.severity == WARNING
    assert finding.numbers["pairs"] > 300
    assert finding.numbers["contradictory"] > 0.6 * finding.numbers["pairs"]


def test_some_contradictions_are_a_note():
    obs = RNG.uniform(-1, 1, (3000, 2))
    noisy = np.where(RNG.random(3000) < 0.1, 1, 0)
    (finding,) = near_states(rows(obs, noisy))
    assert finding.severity == NOTE


def test_states_without_near_neighbours_say_nothing():
    assert list(near_states(rows(RNG.normal(size=(200, 20)), RNG.integers(0, 4, 200)))) == []
    assert list(near_states(rows(np.zeros((200, 3)), RNG.integers(0, 4, 200)))) == []


def corridor(*actions):
    """An episode for each action, in which it is the label throughout."""
    return [walk(3 + i, action) for i, action in enumerate(actions)]


def test_the_experts_share_of_other_labels(shared_env):
    demos = Demos([walk(6, 1), walk(3, 2)], shared_env("Corridor-v0"))  # the expert says 0 1 2 0 1 2, and 0 1 2
    finding, *_ = expert_disagreement(demos, StepModuloThree(), "modulo", True)
    assert finding.severity == WARNING
    assert finding.numbers["share"] == pytest.approx(6 / 9)
    assert finding.numbers["share_by_episode"] == pytest.approx([4 / 6, 2 / 3])
    assert finding.text.startswith("the expert modulo disagrees with 66.7 % of the labels")


def test_the_experts_distance_from_continuous_labels(shared_env):
    acs = np.array([[0.0, 0], [0.05, 0], [0.5, 0], [0, -0.3]])
    demos = Demos([walk(4, acs=acs)], shared_env("CorridorContinuous-v0"))
    (finding,) = expert_disagreement(demos, ConstantActor(np.zeros(2, np.float32)), "zero", False)
    assert finding.numbers["share"] == 2 / 8
    assert finding.numbers["rms"] == pytest.approx(np.sqrt((0.05**2 + 0.5**2 + 0.3**2) / 8))
    assert finding.severity == NOTE


def test_episodes_of_another_policy_stand_out(shared_env):
    demos = Demos(corridor(1, 1, 1, 2, 1), shared_env("Corridor-v0"))
    share, other = expert_disagreement(demos, ConstantActor(1), "one", True)
    assert share.numbers["share_by_episode"] == [0, 0, 0, 1, 0]
    assert other.numbers == {"episodes": [3], "most": 1.0, "median": 0.0}
    assert list(other_policies(np.array([0.3, 0.35, 0.4, 0.3]))) == []


def test_episodes_without_labels_keep_their_numbers(shared_env):
    bare = walk(4, 1, labelled=np.zeros(4, bool))
    demos = Demos([bare, *corridor(1, 1, 1, 2)], shared_env("Corridor-v0"))
    share, other = expert_disagreement(demos, ConstantActor(1), "one", True)
    assert np.isnan(share.numbers["share_by_episode"][0])
    assert share.numbers["share"] == pytest.approx(6 / 18)
    assert other.numbers["episodes"] == [4]
    assert list(expert_disagreement(Demos([bare], demos.env), ConstantActor(1), "one", True)) == []


def test_an_expert_of_ones_own_is_compared(write):
    assert only(examine(write(**CAR), expert="two_parabola_rule"), "expert", WARNING).numbers["share"] > 0.05
    with pytest.raises(InputError, match="is for MountainCar-v0"):
        examine(write("Corridor-v0.npz", **CAR), expert="velocity_rule")
    assert "give --expert" in only(examine(write("Corridor-v0.npz", **CAR)), "expert", NOTE).text


def test_an_expert_that_watches_the_simulator_is_not_asked_about_recorded_states(write):
    frames = RNG.integers(0, 256, (3, 96, 96, 3)).astype(np.uint8)
    path = write("CarRacing-v3.npz", observations=frames, actions=np.zeros((3, 3)), dones=np.arange(3) == 2)
    report = examine(path)
    assert "no expert at hand" in only(report, "expert", NOTE).text
    assert report.count(ERROR) == 0
    with pytest.raises(InputError, match="--expert car_driver: answers only while an episode goes on"):
        examine(path, expert="car_driver")


def test_constants_of_the_environment_itself_are_a_note(write, register_env):
    space = gym.spaces.Box(np.array([-1, 0, -1]), np.array([1, 0, 1]), dtype=np.float32)  # the second is always 0
    name = register_env(space, gym.spaces.Discrete(2), max_episode_steps=7)
    obs = RNG.uniform(-1, 1, (9, 3))
    obs[:, 1] = 0
    finding = only(examine(write(observations=obs, actions=np.arange(9) % 2), name), "constant_numbers")
    assert (finding.severity, finding.numbers["otherwise_in_environment"]) == (NOTE, [])
    obs[:, 2] = 0
    finding = only(examine(write(observations=obs, actions=np.arange(9) % 2), name), "constant_numbers")
    assert (finding.severity, finding.numbers["otherwise_in_environment"]) == (WARNING, [2])
    assert "does not hold for 1 of them" in finding.text
    obs = RNG.uniform(-1, 1, (9, 3))
    obs[:, 2] = obs[:, 0]
    finding = only(examine(write(observations=obs, actions=np.arange(9) % 2), name), "duplicate_numbers")
    assert (finding.severity, finding.numbers["otherwise_in_environment"]) == (WARNING, [2])


def test_random_states_are_the_same_each_time():
    env = make_env("MountainCar-v0")
    first = random_states(env)
    assert first.shape == (300, 2)
    np.testing.assert_array_equal(first, random_states(env))


# The script --------------------------------------------------------------------------------------------------


def test_a_clean_file_ends_with_status_0_and_its_header(call):
    path = REPOSITORY / "data/demos/LunarLander-v3.npz"
    status, out, _ = call(f"{path}")
    assert status == 0
    assert out.splitlines()[1:7] == [
        "environment  LunarLander-v3 (from the file's meta)",
        "episodes     100",
        "steps        18,931",
        "returns      252.3 to 319.4, mean 287.4",
        "lengths      139 to 248, mean 189.3",
        "",
    ]
    assert out.splitlines()[-1] == "0 errors, 0 warnings"


def test_warnings_alone_end_with_status_0_and_errors_with_1(call, write):
    flat = {key: CAR[key] for key in ("observations", "actions")}
    status, out, _ = call(f"{write(**flat)}")
    assert (status, out.splitlines()[-1]) == (0, "0 errors, 1 warning")
    status, out, _ = call(f"{write(**flat | {'actions': np.full(60, 7)})}")
    assert status == 1
    assert out.splitlines()[-1].startswith("2 errors, ")


def test_json_is_one_strict_object_that_agrees_with_the_text(call, write):
    path = write(**CAR | {"observations": np.where(np.arange(60)[:, None] == 3, np.nan, CAR["observations"])})
    status, text, _ = call(f"{path}")
    assert status == 1
    status, out, _ = call(f"{path} --json")
    assert status == 1
    assert out.count("\n") == 1

    def refuse(constant):
        raise AssertionError(constant)

    report = json.loads(out, parse_constant=refuse)
    keys = "file env_name episodes steps returns lengths findings errors warnings".split()
    assert list(report) == keys
    assert (report["env_name"], report["episodes"], report["steps"]) == ("MountainCar-v0", 3, 59)
    assert report["lengths"] == {"min": 19, "mean": 59 / 3, "max": 20}
    lines = [f"{f['severity']:<7}  {f['check']}: {f['text']}" for f in report["findings"]]
    assert text.splitlines()[7:-1] == lines
    severities = [f["severity"] for f in report["findings"]]
    assert (severities.count(ERROR), severities.count(WARNING)) == (report["errors"], report["warnings"])
    assert severities == sorted(severities, key=[ERROR, WARNING, NOTE].index)
    assert report["findings"][0]["nan"] == 2


def test_unknown_returns_are_null(call, write):
    report = json.loads(call(f"{write('mine.npz', **{k: CAR[k] for k in ('observations', 'actions')})} --json")[1])
    assert report["returns"] == {"min": None, "mean": None, "max": None}
    assert report["env_name"] is None


@pytest.fixture
def broken(tmp_path, write):
    whole = write(**CAR).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_text("no arrays\n")
    (tmp_path / "notes.txt").write_text("no data\n")
    (tmp_path / "empty.pkl").write_bytes(b"")
    (tmp_path / "folder.npz").mkdir()
    write_pickle(tmp_path / "evil.pkl", [{"observation": RunsCode(tmp_path / "ran")}])
    write_pickle(tmp_path / "expert.pkl", expert_tree())
    write_pickle(tmp_path / "words.pkl", ["no", "paths"])
    np.savez(tmp_path / "weights.npz", w0=np.zeros(3))
    np.savez(tmp_path / "objects.npz", observations=np.array([RunsCode(tmp_path / "ran")], object))
    return tmp_path


MISTAKES = {
    "nowhere.npz": "no such file",
    "folder.npz": "no such file",
    "cut.npz": "is not a readable .npz file",
    "text.npz": "is not a readable .npz file",
    "objects.npz": "objects.npz: ",
    "weights.npz": "is no data set: it has neither observations nor actions; it holds w0",
    "notes.txt": "unknown demonstration format",
    "empty.pkl": "empty.pkl: ",
    "evil.pkl": "posix.system",
    "expert.pkl": "not a list of episodes",
    "words.pkl": "none of its items has arrays observation and action",
    "MountainCar-v0.npz --env_name MountanCar-v0": "MountainCar-v0",
    "MountainCar-v0.npz --expert nowhere.npz": "no such file",
    "MountainCar-v0.npz --no_such_flag": "unrecognized arguments",
    "": "the following arguments are required: FILE",
}


@pytest.mark.parametrize(("command", "words"), MISTAKES.items(), ids=MISTAKES)
def test_what_cannot_be_examined_ends_with_status_2_and_one_sentence(call, broken, monkeypatch, command, words):
    monkeypatch.chdir(broken)
    status, out, err = call(command)
    assert (status, out) == (2, "")
    assert words in err
    sentence = err.rpartition("error: ")[2]
    assert sentence.count("\n") == 1
    assert "Traceback" not in err
    assert not (broken / "ran").exists()


def test_a_format_that_only_the_loader_reads_is_examined_as_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS, ".own", lambda path, limit: ([walk(4), walk(5)], True))
    (tmp_path / "Corridor-v0.own").write_text("")
    report = examine(tmp_path / "Corridor-v0.own")
    assert (report.count(ERROR), len(report.trajectories)) == (0, 2)
    monkeypatch.setitem(FORMATS, ".own", lambda path, limit: ([walk(4, 7)], True))
    assert of(examine(tmp_path / "Corridor-v0.own"), "loader", ERROR)


def test_an_empty_list_is_a_data_set_without_episodes(call, tmp_path):
    status, out, _ = call(str(write_pickle(tmp_path / "HalfCheetah-v4.pkl", [])))
    assert status == 1
    assert "an empty list" in out


def test_every_check_of_the_tables_is_tried_here():
    source = Path(__file__).read_text() + (Path(__file__).parent / "datasets/test_odd.py").read_text()
    for name in (*CHECKS, *RAW_CHECKS):
        assert name in source
