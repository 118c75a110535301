"""A run from its config to its folder: what is written, what repeats, what is refused, and what is learnt."""

import csv
import importlib.metadata
import json
import multiprocessing
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from course_files import GENERATIONS, expert_action, expert_tree, write_demonstrations, write_pickle
from small_runs import TINY, assert_same_run, corridor, points_of, rows_of, run_in, weights_of

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories, save_trajectories
from rl_il.envs import ENVS, EnvRow, make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import returns_and_lengths, sample_n_trajectories
from rl_il.policies.actors import ScriptedActor
from rl_il.runs.evaluate import INTERVAL, interval_text
from rl_il.runs.experiment import run
from rl_il.runs.parts import build_policy, load_demonstrations
from rl_il.types import EXPERT

TINY_CAR = replace(TINY, env_name="MountainCar-v0")
COURSE_SCALARS = [f"{set}_{name}" for set in ("Eval", "Train") for name in
                  "AverageReturn StdReturn MaxReturn MinReturn AverageEpLen".split()]  # fmt: skip
COURSE_SCALARS += ["Train_EnvstepsSoFar", "Training Loss"]


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    """Use a temporary folder as the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What a run writes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dagger_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dagger") / "run"
    settings = {"do_dagger": True, "n_iter": 3, "video_log_freq": 1, "val_fraction": 0.2, "logdir": str(folder)}
    config = replace(TINY, **settings)
    return config, run(config, ["python", "run_hw1.py", "--seed", "1"], verbose=False)


def test_a_run_folder_holds_every_file(dagger_run):
    _, result = dagger_run
    names = {str(path.relative_to(result.folder)) for path in result.folder.rglob("*") if path.is_file()}
    events = {name for name in names if "events.out.tfevents" in name}
    assert sorted(str(Path(name).parent) for name in events) == [".", "steps"]
    assert names - events - {".lock"} == {
        "config.json",
        "episodes.csv",
        "metrics.csv",
        "summary.json",
        *(f"policy_itr_{itr}.pt" for itr in range(3)),
        *(f"videos/eval_rollouts_itr_{itr}.gif" for itr in range(3)),
        *(f"data/itr_{itr}.npz" for itr in (1, 2)),
    }


def test_config_json_is_enough_to_run_the_same_again(dagger_run):
    config, result = dagger_run
    written = json.loads((result.folder / "config.json").read_text())
    assert RunConfig(**written["config"]) == config
    assert written["config"].keys() == asdict(config).keys()
    assert written["command_line"] == ["python", "run_hw1.py", "--seed", "1"]
    assert written["versions"]["torch"] == importlib.metadata.version("torch")
    assert {"python", "numpy", "gymnasium"} <= written["versions"].keys()
    command = ["git", "-C", Path(__file__).parent, "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True).stdout.strip() or None
    assert (written["git_commit"] or "").removesuffix("-dirty") == (commit or "")


def test_metrics_have_a_row_an_iteration_with_the_courses_names(dagger_run):
    config, result = dagger_run
    rows = list(csv.DictReader((result.folder / "metrics.csv").open()))
    assert [row["iteration"] for row in rows] == ["0", "1", "2"]
    assert [row["gradient_steps"] for row in rows] == ["20", "40", "60"]
    names = [*COURSE_SCALARS, "Validation Loss", "Validation Accuracy", "Expert_LabelsSoFar", "Eval_ExpertAgreement"]
    for row in rows:
        assert all(np.isfinite(float(row[name])) for name in (*names, "TimeSinceStart"))
    assert 0 < float(rows[0]["TimeSinceStart"]) < float(rows[1]["TimeSinceStart"])
    demonstrated = rows[0]["Train_AverageReturn"]
    assert [row["Initial_DataCollection_AverageReturn"] for row in rows] == [demonstrated] * 3  # as in the course
    demonstrations = load_demonstrations(config, make_env(config.env_name))
    assert float(demonstrated) == returns_and_lengths(demonstrations)[0].mean()
    steps, labels = ([int(row[name]) for row in rows] for name in ("Train_EnvstepsSoFar", "Expert_LabelsSoFar"))
    assert labels == [step + sum(map(len, demonstrations)) for step in steps]
    assert 0 == steps[0] < steps[1] < steps[2]


def test_the_summary_agrees_with_the_last_row_and_the_expert(dagger_run):
    _, result = dagger_run
    summary = json.loads((result.folder / "summary.json").read_text())
    rows = rows_of(result.folder)
    assert summary["status"] == "finished"
    assert summary["eval_return_mean"] == float(rows[-1]["Eval_AverageReturn"])
    n = summary["eval_episodes"]
    course_std = float(rows[-1]["Eval_StdReturn"])  # divided by n
    assert summary["eval_return_std"] == pytest.approx(course_std * np.sqrt(n / (n - 1)))
    assert summary["expert_return_mean"] == pytest.approx(np.mean(result.expert_returns))
    assert summary["expert_return_std"] == pytest.approx(np.std(result.expert_returns, ddof=1))
    assert summary["expert_labels"] == float(rows[-1]["Expert_LabelsSoFar"])
    assert (summary["gradient_steps"], summary["iterations"]) == (60, 3)
    wall = summary["wall_seconds"]
    total = wall.pop("total")
    assert wall.keys() == {"startup", "expert", "collect", "train", "evaluate", "log", "video"}
    assert min(wall.values()) > 0 and sum(wall.values()) <= total


def test_tensorboards_own_reader_finds_every_scalar_and_video(dagger_run):
    from tensorboard.backend.event_processing import event_accumulator

    _, result = dagger_run
    points = points_of(result.folder)
    for row in rows_of(result.folder):
        for name in row.keys() - {"iteration", "gradient_steps"}:
            values = dict(points[name.replace(" ", "_")])  # as tensorboardX writes a name with a space
            assert values[int(row["iteration"])] == pytest.approx(float(row[name]), rel=1e-6)
    reader = event_accumulator.EventAccumulator(str(result.folder)).Reload()
    images = {event.step: event for event in reader.Images("eval_rollouts")}
    for itr in range(3):
        gif = (result.folder / f"videos/eval_rollouts_itr_{itr}.gif").read_bytes()
        assert images[itr].encoded_image_string == gif and gif.startswith(b"GIF8")
        assert (images[itr].width, images[itr].height) == (300, 200)


def test_a_verbose_run_prints_each_evaluation_and_the_result(tmp_path, capsys):
    config = corridor(tmp_path / "files", n_iter=2, eval_interval="8", eval_episodes=5, logdir=str(tmp_path / "run"))
    result = run(config)
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("demonstrations: 2 episodes")
    assert str(tmp_path / "run") in out.splitlines()[1]
    lines = [line for line in out.splitlines() if line.startswith("itr ")]
    assert [line.split(" | ")[0] for line in lines] == ["itr 0/1"] * 3 + ["itr 1/1"] * 3
    assert ["step" in line.split(" | ")[1] for line in lines] == [True, True, False] * 2
    for line, row in zip(lines, result.results, strict=True):  # the numbers of the summary and of statistics.py
        low, high = row.interval
        assert f"{row.returns.mean():.1f} (" in line and f"{low:.1f} to {high:.1f}" in line and "5 episodes" in line
        assert f"expert labels {row.scalars['Expert_LabelsSoFar']}" in line
    assert ["left" in line for line in lines] == [False, False, True, False, False, False]
    assert result.results[-1].interval == tuple(result.summary[f"eval_return_ci95_{end}"] for end in ("low", "high"))
    rows = dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)
    assert rows[INTERVAL].strip() == interval_text(*result.results[-1].interval)
    assert "% of expert" in rows


def test_what_means_nothing_is_not_printed(tmp_path, capsys):
    # One episode has neither a standard deviation nor an interval; MountainCar's returns are negative.
    settings = {"env_name": "MountainCar-v0", "ep_len": 20, "n_demos": 1, "eval_episodes": 1, "size": 8}
    settings |= {"num_agent_train_steps_per_iter": 5, "video_log_freq": -1, "logdir": str(tmp_path / "run")}
    summary = run(RunConfig(**settings)).summary
    out = capsys.readouterr().out
    assert "over 1 episode |" in out and "(1 episode)" in out
    assert interval_text(np.nan, np.nan) in out
    assert "% of expert" not in out and "nan" not in out
    assert np.isnan(summary["eval_return_std"]) and "best_eval_return_mean" not in summary
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["eval_return_std"] is None


# Where it is written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"do_dagger": False, "n_iter": 1}, "q1_bc_Corridor-v0_"),
        ({}, "q2_dagger_Corridor-v0_"),
        ({"exp_name": "a/../mine"}, "q2_a-..-mine_Corridor-v0_"),
    ],
)
def test_the_run_folder_has_question_name_environment_and_time(working_folder, tmp_path, changes, name):
    before = time.time()
    folder = run(corridor(tmp_path / "files", **changes), verbose=False).folder
    assert folder.parent == working_folder / "data"
    assert folder.name.startswith(name)
    moment = time.mktime(time.strptime(folder.name.removeprefix(name), "%d-%m-%Y_%H-%M-%S"))
    assert before - 1 <= moment <= time.time()


def test_a_second_run_in_the_same_second_gets_another_folder(working_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("rl_il.runs.folders.time.strftime", lambda _: "01-02-2025_03-04-05")
    config = corridor(tmp_path / "files", n_iter=2)
    folders = [run(config, verbose=False).folder for _ in range(3)]
    assert [folder.name.split("-05")[1] for folder in folders] == ["", "_2", "_3"]
    assert all((folder / "summary.json").exists() for folder in folders)


def test_logdir_may_be_new_or_empty_but_not_occupied(tmp_path):
    config = corridor(tmp_path / "files", n_iter=2)
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new/within/new"):
        assert run_in(folder, config).folder == folder
        assert (folder / "summary.json").exists()
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("occupied", "file", "file/below"):
        with pytest.raises(InputError, match=name):
            run_in(tmp_path / name, config)
    assert [path.name for path in (tmp_path / "occupied").iterdir()] == ["notes.txt"]


# What is refused ------------------------------------------------------------------------------------------


@pytest.fixture
def demo_file(tmp_path):
    """Write demonstrations by hand: `demo_file(actions=...)`."""

    def write(**arrays) -> str:
        rows = {"observations": np.zeros((4, 2), np.float32), "actions": np.array([0, 1, 1, 0])} | arrays
        np.savez(tmp_path / "demos.npz", **rows)
        return str(tmp_path / "demos.npz")

    return write


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env_name": "MountainCar-v7"}, "MountainCar-v0"),
        ({"expert_policy_file": "nowhere.npz"}, "nowhere.npz"),
        ({"n_demos": 100_000}, "100000"),
        ({"env_name": "CartPole-v1"}, "--expert_data"),  # none are shipped
        ({"env_name": "CartPole-v1", "do_dagger": True, "n_iter": 2}, "CartPole-v1"),
        ({"expert_data": {"observations": np.full((4, 2), np.nan)}, "n_demos": None}, "NaN"),
        ({"expert_data": {"actions": np.array([0, 1, 3, 0])}, "n_demos": None}, r"\[0, 3\)"),
        ({"loss": "mse"}, "mse"),  # the actions are discrete
        ({"augment": "shift"}, "--augment shift.*noise"),
        ({"normalize_acs": True}, "--normalize_acs"),
    ],
)
def test_nothing_is_written_for_bad_input(working_folder, demo_file, changes, message):
    if isinstance(changes.get("expert_data"), dict):
        changes = changes | {"expert_data": demo_file(**changes["expert_data"])}
    with pytest.raises(InputError, match=message):
        run(replace(TINY_CAR, **changes), verbose=False)
    assert {path.name for path in working_folder.iterdir()} <= {"demos.npz"}


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_endless_environment_is_refused(working_folder, demo_file, num_workers):
    changes = {"env_name": "EndlessCorridor-v0", "ep_len": None, "n_demos": None, "expert_data": demo_file()}
    with pytest.raises(InputError, match="--ep_len"):
        run(replace(TINY, num_workers=num_workers, **changes), verbose=False)
    assert [path.name for path in working_folder.iterdir()] == ["demos.npz"]


@pytest.mark.parametrize("val_fraction", [0.5, 0.999])
def test_a_large_validation_fraction_leaves_something_to_learn(tmp_path, demo_file, val_fraction):
    one_step = demo_file(observations=np.zeros((1, 2)), actions=np.array([1]))
    config = replace(TINY_CAR, n_demos=None, expert_data=one_step, val_fraction=val_fraction)
    assert np.isfinite(run_in(tmp_path / "run", config).results[0].scalars["Training Loss"])


# What repeats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"do_dagger": True, "n_iter": 3},
        {"env_name": "LunarLanderContinuous-v3", "loss": "nll", "do_dagger": True, "n_iter": 2, "n_epochs": 1},
        {"env_name": "MountainCar-v0", "val_fraction": 0.3, "normalize_obs": True},
    ],
    ids=["discrete", "continuous, epochs", "validation"],
)
def test_one_seed_gives_one_run_and_another_another(tmp_path, changes):
    config = replace(TINY, **changes)
    for name, seed in (("one", 1), ("two", 2)):
        torch.manual_seed(seed)
        np.random.seed(seed)
        run_in(tmp_path / name, config)
    assert_same_run(tmp_path / "one", tmp_path / "two")
    other = run_in(tmp_path / "other", replace(config, seed=2)).folder
    assert rows_of(other) != rows_of(tmp_path / "one")
    assert weights_of(other)["policy_itr_0.pt"] != weights_of(tmp_path / "one")["policy_itr_0.pt"]


@pytest.mark.parametrize("settings", [{}, {"num_workers": 2}], ids=["videos", "workers"])
def test_videos_and_workers_change_no_number(dagger_run, tmp_path, settings):
    config, result = dagger_run
    other = run_in(tmp_path / "run", replace(config, video_log_freq=-1, **settings)).folder
    assert not (other / "videos").exists()
    assert_same_run(result.folder, other)
    assert multiprocessing.active_children() == []


def test_another_rhythm_of_evaluations_changes_no_weight(dagger_run, tmp_path):
    config, result = dagger_run
    changes = {"seldom": {"scalar_log_freq": -1}, "often": {"eval_interval": "7"}}
    for name, settings in changes.items():
        other = run_in(tmp_path / name, replace(config, video_log_freq=-1, **settings)).folder
        assert weights_of(other) == weights_of(result.folder)
    seldom, often = (rows_of(tmp_path / name) for name in changes)
    assert [row["Eval_AverageReturn"] == "" for row in seldom] == [True, True, False]
    assert all(row["Validation Loss"] for row in seldom)
    ends = [row for row in often if int(row["gradient_steps"]) % 20 == 0]
    assert len(often) == 9 and ends == rows_of(result.folder)


@pytest.mark.parametrize(("frequency", "itrs"), [(-1, []), (2, [0, 2, 3]), (9, [0, 3])])
def test_videos_are_made_when_due(tmp_path, frequency, itrs):
    run_in(tmp_path / "run", corridor(tmp_path / "files", n_iter=4, video_log_freq=frequency))
    names = [path.name for path in sorted((tmp_path / "run").glob("videos/*"))]
    assert names == [f"eval_rollouts_itr_{itr}.gif" for itr in itrs]


@pytest.mark.parametrize("env_name", ["BlindCorridor-v0", "FacelessCorridor-v0"])
def test_where_nothing_can_be_drawn_one_note_says_so(tmp_path, capsys, env_name):
    result = run_in(tmp_path / "run", corridor(tmp_path / "files", env_name=env_name, video_log_freq=1))
    (note,) = capsys.readouterr().err.splitlines()
    assert env_name in note
    assert len(result.results) == 3
    assert not (tmp_path / "run/videos").exists()


def test_a_new_environment_is_a_row_of_the_table(tmp_path, monkeypatch):
    config = corridor(tmp_path / "files")
    row = EnvRow(config.expert_policy_file, config.expert_data, success=lambda t: t.terminated, expert_steps=4)
    monkeypatch.setitem(ENVS, "Corridor-v0", row)
    config = replace(config, expert_policy_file=None, expert_data=None, eval_episodes=None, eval_batch_size=10)
    result = run_in(tmp_path / "run", config)
    assert [len(evaluation.returns) for evaluation in result.results] == [3] * 3  # 10 steps, 4 an episode
    assert result.results[-1].scalars["Eval_SuccessRate"] == 1
    assert result.summary["status"] == "finished" and len(result.expert_returns) == 3


# What is learnt -------------------------------------------------------------------------------------------


def test_a_clone_of_ten_episodes_is_as_good_as_the_rule(tmp_path):
    config = RunConfig(
        env_name="MountainCar-v0", n_demos=10, eval_episodes=100, normalize_obs=True, video_log_freq=-1
    )
    result = run_in(tmp_path / "run", config)
    assert len(result.expert_returns) == len(result.results[0].returns) == 100
    standard_error = result.expert_returns.std() / np.sqrt(100)
    assert result.summary["eval_return_mean"] >= result.expert_returns.mean() - standard_error
    written = json.loads((result.folder / "summary.json").read_text())
    assert written["percent_of_expert"] is None  # for negative returns the worse policy would have the better ratio


@pytest.mark.parametrize("loss", ["mse", "nll"])
def test_cloning_and_dagger_learn_to_land(tmp_path, loss):
    settings = {"num_agent_train_steps_per_iter": 600, "eval_episodes": 10, "video_log_freq": -1}
    config = RunConfig(env_name="LunarLanderContinuous-v3", loss=loss, **settings)
    env = make_env(config.env_name)
    untrained = sample_n_trajectories(env, build_policy(config, env).actor(), 10, np.random.default_rng(0))
    untrained_mean = returns_and_lengths(list(untrained))[0].mean()
    cloned = run_in(tmp_path / "bc", replace(config, n_demos=10))
    assert cloned.summary["eval_return_mean"] > max(200, untrained_mean + 200)
    percent = 100 * cloned.summary["eval_return_mean"] / cloned.expert_returns.mean()
    assert cloned.summary["percent_of_expert"] == pytest.approx(percent)
    dagger = run_in(tmp_path / "dagger", replace(config, n_demos=1, do_dagger=True, n_iter=3))
    means = [result.returns.mean() for result in dagger.results]
    assert means[-1] > max(100, untrained_mean + 200)
    assert means[-1] > means[0]


def test_without_a_shipped_expert_a_file_is_cloned(tmp_path):
    env = make_env("CartPole-v1")
    balancer = ScriptedActor(lambda obs: (obs[:, 2] + 0.5 * obs[:, 3] > 0).astype(np.int64), (4,))
    demos = list(sample_n_trajectories(env, balancer, 5, np.random.default_rng(0), source=EXPERT))
    save_trajectories(tmp_path / "demos.npz", demos)
    settings = {"num_agent_train_steps_per_iter": 200, "eval_episodes": 5, "video_log_freq": -1}
    config = RunConfig(env_name="CartPole-v1", expert_data=str(tmp_path / "demos.npz"), **settings)
    result = run_in(tmp_path / "run", config)
    written = json.loads((result.folder / "summary.json").read_text())
    assert {written[name] for name in ("expert_return_mean", "expert_return_std", "percent_of_expert")} == {None}
    assert written["eval_return_mean"] > 300
    assert "Eval_ExpertAgreement" not in rows_of(result.folder)[0]


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("dagger", [False, True], ids=["cloning", "dagger"])
def test_the_courses_files_train_on_half_cheetah(tmp_path, generation, dagger):
    tree = expert_tree()
    config = replace(
        TINY,
        env_name="HalfCheetah-v4",
        expert_data=str(write_demonstrations(tmp_path / "demos.pkl", generation, lengths=(40, 30, 20))),
        expert_policy_file=str(write_pickle(tmp_path / "expert.pkl", tree, GENERATIONS[generation])),
        do_dagger=dagger,
        n_iter=2 if dagger else 1,
        ep_len=30,
    )
    result = run_in(tmp_path / "run", config)
    assert all(len(row.returns) == 2 and np.isfinite(row.returns).all() for row in result.results)
    assert len(result.expert_returns) == 2
    files = sorted((tmp_path / "run").glob("data/*.npz"))
    collected = [trajectory for file in files for trajectory in load_trajectories(file)]
    assert len(collected) == (4 if dagger else 0)  # 100 steps in episodes of 30
    for trajectory in collected:
        np.testing.assert_allclose(trajectory.labels, expert_action(tree, trajectory.obs[:-1]), rtol=1e-5, atol=1e-6)
        assert np.abs(trajectory.labels).max() > 1  # labels stay unclipped
