"""A run from config to folder: what is written, what repeats, what is refused, and what is learnt."""

import csv
import importlib.metadata
import itertools
import json
import multiprocessing
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import fakes  # noqa: F401  # registers the corridors
import numpy as np
import pytest
import torch
from course_files import GENERATIONS, expert_action, expert_tree, write_demonstrations, write_pickle

from rl_il.config import RunConfig
from rl_il.datasets import save_trajectories
from rl_il.envs import make_env
from rl_il.errors import InputError, Interrupted
from rl_il.evaluation import evaluate
from rl_il.experiment import run
from rl_il.infrastructure.lockstep import LockstepEpisodes
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.rollouts import returns_and_lengths, sample_n_trajectories, sample_trajectory
from rl_il.policies.actors import ScriptedActor
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.run_parts import build_policy, load_demonstrations
from rl_il.types import EXPERT

TINY = RunConfig(
    n_demos=2,
    num_agent_train_steps_per_iter=20,
    batch_size=100,
    train_batch_size=32,
    size=16,
    eval_episodes=2,
    ep_len=60,
    video_log_freq=-1,
)
TINY_DAGGER = replace(TINY, do_dagger=True, n_iter=3)
TINY_CAR = replace(TINY, env_name="MountainCar-v0")
COURSE_SCALARS = [f"{set}_{name}" for set in ("Eval", "Train") for name in
                  "AverageReturn StdReturn MaxReturn MinReturn AverageEpLen".split()]  # fmt: skip
COURSE_SCALARS += ["Train_EnvstepsSoFar", "TimeSinceStart", "Training Loss"]


def run_in(folder: Path, config: RunConfig):
    return run(replace(config, logdir=str(folder)), verbose=False)


def metrics_of(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the one column that is a time."""
    with (folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "TimeSinceStart"} for row in csv.DictReader(file)]


def weights_of(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.name: MLPPolicySL.load(path).state_dict() for path in sorted(folder.glob("*.pt"))}


def assert_same_run(one: Path, other: Path) -> None:
    assert metrics_of(one) == metrics_of(other)
    a, b = weights_of(one), weights_of(other)
    assert a and a.keys() == b.keys()
    for name in a:
        assert all(torch.equal(a[name][key], b[name][key]) for key in a[name])


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of the test's own for the run folders; experts and demonstrations stay where they are."""
    monkeypatch.setattr("rl_il.run_folder.REPOSITORY", tmp_path)
    return tmp_path


# What a run leaves ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dagger_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dagger") / "run"
    config = replace(TINY_DAGGER, video_log_freq=1, val_fraction=0.2, logdir=str(folder))
    return config, run(config, ["python", "run_hw1.py", "--seed", "1"], verbose=False)


def test_a_run_folder_holds_every_file(dagger_run):
    _, result = dagger_run
    names = {str(path.relative_to(result.folder)) for path in result.folder.rglob("*") if path.is_file()}
    (events,) = [name for name in names if name.startswith("events.out.tfevents")]
    assert names - {events} == {
        "config.json",
        "episodes.csv",
        "metrics.csv",
        "summary.json",
        *(f"policy_itr_{itr}.pt" for itr in range(3)),
        *(f"videos/eval_rollouts_itr_{itr}.gif" for itr in range(3)),
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


def test_metrics_csv_has_a_row_an_iteration_with_the_courses_names(dagger_run):
    _, result = dagger_run
    rows = list(csv.DictReader((result.folder / "metrics.csv").open()))
    assert [row["iteration"] for row in rows] == ["0", "1", "2"]
    names = [*COURSE_SCALARS, "Validation Loss", "Validation Accuracy", "Expert_LabelsSoFar", "Eval_ExpertAgreement"]
    for row in rows:
        assert all(np.isfinite(float(row[name])) for name in names)
    demonstrated = rows[0]["Train_AverageReturn"]
    assert [row["Initial_DataCollection_AverageReturn"] for row in rows] == [demonstrated] * 3  # as in the course


def test_metrics_csv_counts_steps_and_labels(dagger_run):
    config, result = dagger_run
    rows = [{k: float(v) for k, v in row.items() if v} for row in metrics_of(result.folder)]
    demonstrated = sum(map(len, load_demonstrations(config, make_env(config.env_name))))
    assert rows[0]["Train_EnvstepsSoFar"] == 0
    assert rows[0]["Expert_LabelsSoFar"] == demonstrated
    for before, row in itertools.pairwise(rows):
        collected = row["Train_EnvstepsSoFar"] - before["Train_EnvstepsSoFar"]
        assert config.batch_size <= collected < config.batch_size + config.ep_len
        assert row["Expert_LabelsSoFar"] == before["Expert_LabelsSoFar"] + collected


def test_summary_json_agrees_with_the_last_row_and_the_live_expert(dagger_run):
    _, result = dagger_run
    summary = json.loads((result.folder / "summary.json").read_text())
    rows = metrics_of(result.folder)
    assert summary["status"] == "finished"
    assert summary["eval_return_mean"] == float(rows[-1]["Eval_AverageReturn"])
    assert summary["eval_return_std"] == float(rows[-1]["Eval_StdReturn"])
    assert summary["best_eval_return_mean"] == max(float(row["Eval_AverageReturn"]) for row in rows)
    assert summary["expert_return_mean"] == pytest.approx(np.mean(result.expert_returns))
    assert summary["expert_return_std"] == pytest.approx(np.std(result.expert_returns))
    assert summary["expert_labels"] == float(rows[-1]["Expert_LabelsSoFar"])
    wall = summary["wall_seconds"]
    phases = {"startup", "expert", "collect", "train", "evaluate", "log", "video"}
    assert wall.keys() == phases | {"total"}
    assert all(wall[phase] > 0 for phase in phases)
    assert sum(wall[phase] for phase in phases) <= wall["total"]


def test_tensorboards_own_reader_finds_every_scalar_and_video(dagger_run):
    from tensorboard.backend.event_processing import event_accumulator

    _, result = dagger_run
    reader = event_accumulator.EventAccumulator(str(result.folder)).Reload()
    for row in csv.DictReader((result.folder / "metrics.csv").open()):
        for name, text in row.items():
            if text and name != "iteration":
                points = reader.Scalars(name.replace(" ", "_"))  # as tensorboardX writes a name with a blank
                (value,) = [point.value for point in points if point.step == int(row["iteration"])]
                assert value == pytest.approx(float(text), rel=1e-6)
    images = {event.step: event.encoded_image_string for event in reader.Images("eval_rollouts")}
    for itr in range(3):
        assert images[itr] == (result.folder / f"videos/eval_rollouts_itr_{itr}.gif").read_bytes()


def test_a_verbose_run_prints_its_folder_a_line_an_iteration_and_the_result(tmp_path, capsys):
    run(replace(TINY_DAGGER, logdir=str(tmp_path / "run")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("demonstrations: 2 episodes, 342 steps")
    assert lines[1].startswith(f"run folder: {tmp_path / 'run'}")
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["itr 0/2", "itr 1/2", "itr 2/2"]
    assert any(line.startswith("% of the expert") for line in lines)


# Where it is left -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "q1_bc_MountainCar-v0_"),
        ({"do_dagger": True, "n_iter": 2}, "q2_dagger_MountainCar-v0_"),
        ({"exp_name": "mine"}, "q1_mine_MountainCar-v0_"),
        ({"exp_name": "a/../b"}, "q1_a-..-b_MountainCar-v0_"),
    ],
)
def test_the_run_folder_is_named_after_question_experiment_environment_and_time(repository, changes, name):
    before = time.time()
    folder = run(replace(TINY_CAR, **changes), verbose=False).folder
    assert folder.parent == repository / "data"
    assert folder.name.startswith(name)
    moment = time.mktime(time.strptime(folder.name.removeprefix(name), "%d-%m-%Y_%H-%M-%S"))
    assert before - 1 <= moment <= time.time()


def test_a_second_run_in_the_same_second_gets_another_folder(repository, monkeypatch):
    monkeypatch.setattr("rl_il.run_folder.time.strftime", lambda _: "01-02-2025_03-04-05")
    folders = [run(TINY_CAR, verbose=False).folder for _ in range(2)]
    assert folders[0].name == "q1_bc_MountainCar-v0_01-02-2025_03-04-05"
    assert folders[1] != folders[0]
    assert all((folder / "summary.json").exists() for folder in folders)


def test_logdir_may_be_new_or_empty_but_not_occupied(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "new/within/new"):
        assert run_in(folder, TINY_CAR).folder == folder
        assert (folder / "summary.json").exists()
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied/notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("occupied", "file", "file/below"):
        with pytest.raises(InputError, match=name):
            run_in(tmp_path / name, TINY_CAR)
    assert [path.name for path in (tmp_path / "occupied").iterdir()] == ["notes.txt"]


@pytest.fixture
def demo_file(tmp_path):
    """Writes demonstrations by hand: `demo_file(actions=...)`."""

    def write(**arrays) -> str:
        rows = {"observations": np.zeros((4, 2), np.float32), "actions": np.array([0, 1, 1, 0])} | arrays
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        np.savez(folder / "demos.npz", **rows)
        return str(folder / "demos.npz")

    return write


BAD = {
    "unknown environment": ({"env_name": "MountainCar-v7"}, "MountainCar-v0"),
    "missing expert": ({"expert_policy_file": "nowhere.npz"}, "nowhere.npz: no such file"),
    "missing demonstrations": ({"expert_data": "nowhere.npz"}, "nowhere.npz: no such file"),
    "too few demonstrations": ({"n_demos": 100_000}, "asks for 100000"),
    "no shipped demonstrations": ({"env_name": "CartPole-v1"}, "no demonstrations are shipped"),
    "no shipped expert": ({"env_name": "CartPole-v1", "do_dagger": True, "n_iter": 2}, "no expert is shipped"),
    "another environment's expert": (
        {"env_name": "LunarLander-v3", "expert_policy_file": "velocity_rule"},
        "is for MountainCar-v0",
    ),
    "a loss that discrete actions do not have": ({"loss": "mse"}, "loss"),
}


@pytest.mark.parametrize("name", BAD)
def test_nothing_is_written_for_bad_input(repository, name):
    changes, message = BAD[name]
    with pytest.raises(InputError, match=message):
        run(replace(TINY_CAR, **changes), verbose=False)
    assert list(repository.iterdir()) == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"observations": np.full((4, 2), np.nan)}, "NaN"),
        ({"observations": np.zeros((4, 3))}, r"\(3,\).*\(2,\)"),
        ({"observations": np.zeros((3, 2))}, "3 rows"),
        ({"actions": np.array([0, 1, 3, 0])}, r"\[0, 3\)"),
        ({"actions": np.array([0, 1, 0.5, 0])}, "integers"),
    ],
)
def test_nothing_is_written_for_bad_demonstrations(repository, demo_file, arrays, message):
    config = replace(TINY_CAR, n_demos=None, expert_data=demo_file(**arrays))
    with pytest.raises(InputError, match=message):
        run(config, verbose=False)
    assert [path.name for path in repository.iterdir()] == ["files"]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_environment_that_never_ends_an_episode_is_refused_before_anything_is_written(
    repository, demo_file, num_workers
):
    config = replace(
        TINY,
        env_name="EndlessCorridor-v0",
        ep_len=None,
        n_demos=None,
        expert_data=demo_file(),
        num_workers=num_workers,
    )
    with pytest.raises(InputError, match="--ep_len"):
        run(config, verbose=False)
    assert [path.name for path in repository.iterdir()] == ["files"]


@pytest.mark.parametrize("val_fraction", [0.5, 0.999])
def test_a_validation_fraction_too_large_for_the_data_is_refused_or_leaves_something_to_learn(
    tmp_path, demo_file, val_fraction
):
    for seed in range(5):
        folder = tmp_path / f"run_{seed}"
        one_step = demo_file(observations=np.zeros((1, 2)), actions=np.array([1]))
        config = replace(TINY_CAR, n_demos=None, expert_data=one_step, val_fraction=val_fraction, seed=seed)
        try:
            result = run_in(folder, config)
        except InputError as error:
            assert "val_fraction" in str(error)
            assert not folder.exists()
        else:
            assert np.isfinite(result.results[0].scalars["Training Loss"])


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
def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(tmp_path, changes):
    config = replace(TINY, **changes)
    torch.manual_seed(1)
    np.random.seed(1)
    one = run_in(tmp_path / "one", config).folder
    torch.manual_seed(2)
    np.random.seed(2)
    two = run_in(tmp_path / "two", config).folder
    assert_same_run(one, two)
    other = run_in(tmp_path / "other", replace(config, seed=2)).folder
    assert metrics_of(other) != metrics_of(one)
    first, second = (weights_of(folder)["policy_itr_0.pt"]["network.0.weight"] for folder in (one, other))
    assert not torch.equal(first, second)


def test_videos_change_no_number(dagger_run, tmp_path):
    config, with_videos = dagger_run
    without = run_in(tmp_path / "run", replace(config, video_log_freq=-1))
    assert not (without.folder / "videos").exists()
    assert_same_run(with_videos.folder, without.folder)


def test_the_number_of_workers_changes_no_number(dagger_run, tmp_path):
    config, alone = dagger_run
    shared = run_in(tmp_path / "run", replace(config, video_log_freq=-1, num_workers=2))
    assert_same_run(alone.folder, shared.folder)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batched_episodes_of_a_policy_in_numpy_change_no_number(dagger_run, tmp_path, num_workers):
    config, alone = dagger_run
    batched = replace(config, video_log_freq=-1, vec_env="batched", num_workers=num_workers)
    assert_same_run(alone.folder, run_in(tmp_path / "run", batched).folder)
    assert multiprocessing.active_children() == []


def test_envpool_rolls_out_what_gymnasium_would(dagger_run, tmp_path, monkeypatch):
    config, _ = dagger_run
    rolled_out = []

    class Recording(LockstepEpisodes):
        def __init__(self, env_name, env):
            self.env_name, self.env = env_name, env

        def episodes(self, actor, seeds, max_path_length, source):
            for seed in seeds:
                rolled_out.append(sample_trajectory(self.env, actor, seed, max_path_length, source))
                yield rolled_out[-1]

    monkeypatch.setattr("rl_il.infrastructure.workers.LockstepEpisodes", Recording)
    run_in(tmp_path / "run", replace(config, video_log_freq=-1, vec_env="envpool"))
    assert len(rolled_out) > config.n_iter


def test_envpool_and_an_expert_that_reads_the_simulator(tmp_path):
    config = RunConfig(env_name="CarRacing-v3", vec_env="envpool", logdir=str(tmp_path / "run"))
    with pytest.raises(InputError, match="the expert of CarRacing-v3 reads Gymnasium's simulator; drop the flag"):
        run(config, verbose=False)
    assert not (tmp_path / "run").exists()


def test_evaluating_less_often_changes_no_weight(dagger_run, tmp_path):
    config, _ = dagger_run
    seldom = run_in(tmp_path / "run", replace(config, video_log_freq=-1, scalar_log_freq=-1)).folder
    assert [row["Eval_AverageReturn"] == "" for row in metrics_of(seldom)] == [True, True, False]
    always = weights_of(Path(config.logdir))
    for name, state in weights_of(seldom).items():
        assert all(torch.equal(state[key], always[name][key]) for key in state)


# How long it evaluates ------------------------------------------------------------------------------------


def test_exactly_so_many_episodes_are_evaluated(tmp_path):
    result = run_in(tmp_path / "run", replace(TINY_CAR, eval_episodes=3, ep_len=20))
    assert len(result.results[0].returns) == 3
    assert len(result.expert_returns) == 10
    assert result.summary["eval_episodes"] == 3


# Ctrl-C ---------------------------------------------------------------------------------------------------


def interrupted_run(monkeypatch, folder: Path, owner: type, name: str, number: int) -> str:
    """Runs until the `number`-th call of the method, which is interrupted; returns what the user is told."""
    original, calls = getattr(owner, name), []

    def method(*args, **kwargs):
        calls.append(name)
        if len(calls) == number:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, method)
        try:
            run_in(folder, TINY_DAGGER)
        except Interrupted as interruption:
            return str(interruption)
        except KeyboardInterrupt:  # would end pytest itself
            pytest.fail("the interruption was not handled")
    return "not interrupted"


@pytest.mark.parametrize(
    ("owner", "name", "number", "rows"),
    [
        (RLTrainer, "roll_out", 1, 0),
        (MLPPolicySL, "update", 10, 0),
        (MLPPolicySL, "update", 25, 1),
        (RLTrainer, "collect", 2, 2),
        (RLTrainer, "evaluate", 2, 1),
        (RLTrainer, "write_checkpoint", 1, 1),
    ],
    ids=["expert", "first training", "second training", "collection", "evaluation", "saving"],
)
def test_an_interrupted_run_leaves_a_folder_that_can_be_evaluated(tmp_path, monkeypatch, owner, name, number, rows):
    folder = tmp_path / "run"
    assert str(folder) in interrupted_run(monkeypatch, folder, owner, name, number)
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    written = len(metrics_of(folder)) if (folder / "metrics.csv").exists() else 0
    assert written == rows
    assert evaluate(str(folder), TINY.env_name, episodes=1, ep_len=20)["episodes"] == 1


def test_an_interrupted_run_keeps_what_the_last_steps_learnt(tmp_path, monkeypatch):
    interrupted_run(monkeypatch, tmp_path / "cut", MLPPolicySL, "update", 36)
    full = run_in(tmp_path / "full", TINY_DAGGER).folder
    cut, whole = weights_of(tmp_path / "cut"), weights_of(full)
    assert cut.keys() == {"policy_itr_0.pt", "policy_itr_1.pt"}
    at_cut = cut["policy_itr_1.pt"]["network.0.weight"]
    first, last = (whole[f"policy_itr_{itr}.pt"]["network.0.weight"] for itr in (0, 1))
    assert torch.equal(cut["policy_itr_0.pt"]["network.0.weight"], first)
    assert not torch.equal(at_cut, first)
    assert (at_cut - last).norm() < (first - last).norm()


# What is learnt -------------------------------------------------------------------------------------------


def test_a_clone_of_ten_mountain_car_episodes_is_as_good_as_the_rule(tmp_path):
    config = RunConfig(
        env_name="MountainCar-v0", n_demos=10, eval_episodes=100, normalize_obs=True, video_log_freq=-1
    )
    result = run_in(tmp_path / "run", config)
    assert len(result.expert_returns) == len(result.results[0].returns) == 100
    standard_error = result.expert_returns.std() / np.sqrt(100)
    assert result.summary["eval_return_mean"] >= result.expert_returns.mean() - standard_error
    written = json.loads((result.folder / "summary.json").read_text())
    assert written["percent_of_expert"] is None  # a ratio of negative returns would praise the worse


@pytest.mark.parametrize("loss", ["mse", "nll"])
def test_cloning_and_dagger_learn_to_land_with_continuous_actions(tmp_path, loss):
    config = RunConfig(
        env_name="LunarLanderContinuous-v3",
        loss=loss,
        num_agent_train_steps_per_iter=600,
        eval_episodes=10,
        video_log_freq=-1,
    )
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


def test_an_environment_without_a_shipped_expert_is_cloned_from_a_file(tmp_path):
    env = make_env("CartPole-v1")
    balancer = ScriptedActor(lambda obs: (obs[:, 2] + 0.5 * obs[:, 3] > 0).astype(np.int64), (4,))
    demos = list(sample_n_trajectories(env, balancer, 5, np.random.default_rng(0), source=EXPERT))
    save_trajectories(tmp_path / "demos.npz", demos)
    config = RunConfig(
        env_name="CartPole-v1",
        expert_data=str(tmp_path / "demos.npz"),
        num_agent_train_steps_per_iter=200,
        eval_episodes=5,
        video_log_freq=-1,
    )
    result = run_in(tmp_path / "run", config)
    written = json.loads((result.folder / "summary.json").read_text())
    assert written["expert_return_mean"] is None
    assert written["expert_return_std"] is None
    assert written["percent_of_expert"] is None
    assert written["eval_return_mean"] > 300
    assert "Eval_ExpertAgreement" not in metrics_of(result.folder)[0]


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
    added = []
    with pytest.MonkeyPatch.context() as patch:
        original = ReplayBuffer.add
        patch.setattr(ReplayBuffer, "add", lambda self, items: (added.extend(items), original(self, items)))
        result = run_in(tmp_path / "run", config)
    assert all(len(row.returns) == 2 and np.isfinite(row.returns).all() for row in result.results)
    assert len(result.expert_returns) == 10
    demonstrated, collected = added[:2], added[2:]
    assert {len(trajectory) for trajectory in demonstrated} < {40, 30, 20}
    assert len(collected) == (4 if dagger else 0)  # 100 steps in episodes of 30
    for trajectory in collected:
        np.testing.assert_allclose(trajectory.labels, expert_action(tree, trajectory.obs[:-1]), rtol=1e-5, atol=1e-6)
        assert np.abs(trajectory.labels).max() > 1  # labels stay unclipped
