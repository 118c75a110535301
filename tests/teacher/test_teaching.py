"""Whole teaching runs: what their folders hold, and how they go on."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import types
from contextlib import ExitStack

import fakes  # noqa: F401  (registers the corridors)
import numpy as np
import pytest
import torch

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experiment import run as run_experiment
from rl_il.files import REPOSITORY
from rl_il.policies.experts import load_actor
from rl_il.teacher.recording import read_teach_config
from rl_il.teacher.run import settings_to_go_on, teach
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import open_teaching
from rl_il.types import EXPERT, LEARNER

QUICK = {"teacher": "scripted:0.1", "episodes": 4, "updates_per_step": 0.6, "publish_every": 20, "size": 8}
QUICK |= {"eval_every": 2, "eval_episodes": 2, "ep_len": 40, "disagreement_steps": 1, "takeover_steps": 3}


def scripted(folder, **settings):
    return teach(TeachConfig(logdir=str(folder), **QUICK | settings))


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def weights(folder):
    (path,) = folder.glob("policy_itr_*.pt")
    return torch.load(path, weights_only=True)["state"]


def same_weights(one, other):
    return all(torch.equal(weights(one)[name], value) for name, value in weights(other).items())


def demonstrations(folder):
    return {key: array for key, array in np.load(folder / "demonstrations.npz").items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of four episodes."""
    return scripted(tmp_path_factory.mktemp("teaching") / "run")


def test_the_folder_holds_the_session_and_the_policy(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"config.json", "metrics.csv", "demonstrations.npz", "curve.png", "policy_itr_4.pt", "session"} <= names
    assert any(name.startswith("events.out") for name in names)
    assert [path.name for path in sorted((finished / "session").iterdir())] == [
        f"episode_{i:06d}.npz" for i in range(4)
    ]
    assert read_teach_config(finished) == TeachConfig(logdir=str(finished), **QUICK)
    env = make_env("MountainCar-v0")
    assert load_actor(finished, env).get_action(env.reset(seed=0)[0]) in (0, 1, 2)


def test_a_row_an_episode_says_what_was_measured(finished):
    table = rows(finished)
    assert [row["iteration"] for row in table] == ["0", "1", "2", "3"]
    episodes = load_trajectories(finished)
    labels = np.cumsum([np.sum(t.source == EXPERT) for t in episodes])
    for row, episode, count in zip(table, episodes, labels, strict=True):
        assert float(row["Return"]) == episode.episode_return == -40
        assert float(row["Intervention_Rate"]) == np.mean(episode.source != LEARNER)
        assert int(row["Labels_Human"]) == count and row["Labels_Approved"] == "0"
    assert [bool(row["Snapshot_AverageReturn"]) for row in table] == [False, True, False, True]
    assert (finished / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert float(table[-1]["Updates"]) > 20 and float(table[-1]["Training Loss"]) > 0


def test_the_same_seed_gives_the_same_result_to_the_digit(finished, tmp_path):
    again = scripted(tmp_path / "again")
    assert (again / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()
    assert same_weights(again, finished)
    for key, array in demonstrations(finished).items():
        np.testing.assert_array_equal(demonstrations(again)[key], array)
    other = scripted(tmp_path / "other", seed=2)
    assert not same_weights(other, finished)


def test_the_saved_steps_train_and_only_the_labelled_ones(finished, tmp_path):
    for i, path in enumerate((finished, finished / "demonstrations.npz")):
        config = RunConfig(
            env_name="MountainCar-v0",
            expert_data=str(path),
            num_agent_train_steps_per_iter=2,
            eval_episodes=1,
            ep_len=5,
            video_log_freq=-1,
            logdir=str(tmp_path / f"{i}"),
        )
        summary = run_experiment(config, verbose=False).summary
        assert summary["expert_labels"] == int(rows(finished)[-1]["Labels_Human"])


@pytest.mark.parametrize("rule", ["performed", "weighted"])
def test_under_the_other_rules_the_agents_steps_are_labels_too(tmp_path, rule):
    folder = scripted(tmp_path / "run", labels=rule, episodes=1, disagreement_steps=5)
    (episode,) = load_trajectories(folder)
    assert episode.labelled_steps.all() and (episode.source == LEARNER).any()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("episodes_done", [0, 2])
@pytest.mark.parametrize("place", ["save_learning", "save_episode"])
def test_a_killed_run_goes_on_to_the_very_same_end(finished, tmp_path, monkeypatch, episodes_done, place):
    """As after SIGKILL: before or after the episode is saved, nothing that follows it is."""
    from rl_il.teacher.recording import Recording

    whole = getattr(Recording, place)
    calls = []

    def dies(self, *args):
        calls.append(args)
        if len(calls) > episodes_done:
            if place == "save_learning":
                raise Killed
            whole(self, *args)
            raise Killed
        return whole(self, *args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Recording, place, dies)
        scripted(tmp_path / "run")
    config = settings_to_go_on(tmp_path / "run")
    folder = teach(config, resume=tmp_path / "run")
    assert (folder / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()
    assert same_weights(folder, finished)
    for key, array in demonstrations(finished).items():
        np.testing.assert_array_equal(demonstrations(folder)[key], array)


def test_a_finished_run_goes_on_for_more_episodes(finished, tmp_path):
    short = scripted(tmp_path / "run", episodes=2)
    folder = teach(settings_to_go_on(short, episodes=4), resume=short)
    assert (folder / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()
    assert same_weights(folder, finished)


# By hand ---------------------------------------------------------------------------------------------------


@pytest.fixture
def by_hand(tmp_path):
    """Opens a run of the corridor, taught by hand; learns nothing in the background unless told to."""
    with ExitStack() as stack:

        def open_run(resume=None, **settings):
            settings = {"env_name": "TimedCorridor-v0", "updates_per_step": 0, "eval_every": -1} | settings
            config = TeachConfig(logdir=str(tmp_path / "run"), **settings)
            locks = stack.enter_context(ExitStack())
            teaching = open_teaching(locks, config, inline=False, resume=resume)
            teaching.unlock = locks.close
            return teaching

        yield open_run


def steps(teaching, n, *held):
    teaching.session.hold(held)
    for _ in range(n):
        teaching.session.step()


def labelled(folder):
    return [t.labelled_steps.astype(int).tolist() for t in load_trajectories(folder, may_lack_labels=True)]


def test_a_crash_loses_the_running_episode_alone_and_labels_go_on(by_hand):
    teaching = by_hand()
    steps(teaching, 5, "Digit2")
    steps(teaching, 4, "Digit1")  # a start and three steps
    teaching.abandon()  # as if it was killed
    teaching.unlock()
    again = by_hand(resume=teaching.folder)
    assert again.labels.counts == {"human": 5, "approved": 0}
    assert (again.session.episode, len(again.metrics.history)) == (1, 1)
    steps(again, 5)
    again.close()
    assert labelled(teaching.folder) == [[1] * 5, [0] * 5]
    assert [row["iteration"] for row in rows(teaching.folder)] == ["0", "1"]


def test_saving_keeps_the_running_episode_which_is_then_saved_whole(by_hand):
    teaching = by_hand()
    assert teaching.save() is None
    steps(teaching, 3, "Digit2")
    assert teaching.unsaved_steps == 3
    path = teaching.save()
    assert teaching.unsaved_steps == 0
    (part,) = load_trajectories(path)
    assert len(part) == 3 and not (part.terminated or part.truncated)
    steps(teaching, 1, "Digit2")
    assert teaching.unsaved_steps == 1
    steps(teaching, 1)
    teaching.close()
    (whole,) = load_trajectories(path)
    assert len(whole) == 5 and whole.truncated


def test_undo_reaches_into_the_files(by_hand):
    teaching = by_hand()
    steps(teaching, 11, "Digit2")  # two episodes: 5, a start, 5
    teaching.session.step()
    steps(teaching, 2, "Digit2")
    teaching.save()
    assert teaching.undo(0.4) == 4  # at 10 steps a second
    assert labelled(teaching.folder) == [[1] * 5, [1] * 3 + [0] * 2, [0] * 2]
    assert teaching.labels.counts["human"] == 8
    teaching.close()
    teaching.unlock()
    again = by_hand(resume=teaching.folder)
    assert again.labels.counts["human"] == 8
    assert again.undo(1) == 6
    again.abandon()
    assert labelled(teaching.folder)[0] == [1, 1, 0, 0, 0]


def test_two_processes_never_teach_in_one_folder(by_hand):
    teaching = by_hand()
    with pytest.raises(InputError, match="in use by another process"):
        by_hand(resume=teaching.folder)
    teaching.abandon()


def test_a_damaged_episode_is_named(by_hand):
    teaching = by_hand()
    steps(teaching, 5, "Digit2")
    teaching.close()
    teaching.unlock()
    path = teaching.folder / "session" / "episode_000000.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"episode_000000\.npz"):
        by_hand(resume=teaching.folder)
    with pytest.raises(InputError, match=r"episode_000000\.npz"):
        load_trajectories(teaching.folder)


def test_a_folder_without_a_session_is_no_demonstration(tmp_path):
    with pytest.raises(InputError, match=r"is a folder without session/episode_\*\.npz"):
        load_trajectories(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"teaching": 3}', '{"config": {}}', '{"teaching": {"port": "x"}}', "["])
def test_a_broken_config_is_a_users_mistake(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        settings_to_go_on(tmp_path)


def test_a_mistake_makes_no_folder(by_hand, tmp_path):
    for settings, message in (
        ({"env_name": "CorridorContinuous-v0"}, "has no keys"),
        ({"key_values": "Digit1=3"}, "--key_values"),
        ({"env_name": "FacelessCorridor-v0"}, "cannot draw"),
    ):
        with pytest.raises(InputError, match=message):
            by_hand(**settings)
    assert list(tmp_path.iterdir()) == []


# MLflow ----------------------------------------------------------------------------------------------------


def test_metrics_go_to_mlflow_too(finished, tmp_path, monkeypatch):
    calls = []
    names = ("set_experiment", "start_run", "log_params", "log_metrics", "end_run")
    fake = types.ModuleType("mlflow")
    for name in names:
        setattr(fake, name, lambda *args, _name=name, **kwargs: calls.append((_name, args, kwargs)))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    scripted(tmp_path / "run", tracker="mlflow")
    assert [name for name, *_ in calls] == [*names[:3], *["log_metrics"] * 4, "end_run"]
    assert calls[2][1][0]["env_name"] == "MountainCar-v0"
    table = rows(finished)
    for (_, (scalars,), settings), row in zip(calls[3:7], table, strict=True):
        assert settings == {"step": int(row["iteration"])}
        assert scalars["Return"] == float(row["Return"]) and " " not in "".join(scalars)


def failing_mlflow(monkeypatch, fails):
    def call(name):
        def work(*args, **kwargs):
            if name == fails:
                raise ConnectionError("no server\nand much more")

        return work

    fake = types.ModuleType("mlflow")
    for name in ("set_experiment", "start_run", "log_params", "log_metrics", "end_run"):
        setattr(fake, name, call(name))
    monkeypatch.setitem(sys.modules, "mlflow", fake)


def test_an_mlflow_that_cannot_be_reached_is_a_users_mistake(by_hand, monkeypatch):
    failing_mlflow(monkeypatch, "start_run")
    with pytest.raises(InputError, match="--tracker mlflow: no server; set MLFLOW_TRACKING_URI"):
        by_hand(tracker="mlflow")


def test_an_mlflow_that_fails_later_does_not_end_the_teaching(by_hand, monkeypatch, capsys):
    failing_mlflow(monkeypatch, "log_metrics")
    teaching = by_hand(tracker="mlflow")
    steps(teaching, 11, "Digit2")
    teaching.close()
    assert len(rows(teaching.folder)) == 2
    assert capsys.readouterr().err == "note: MLflow gets no more metrics: no server\n"


def test_without_mlflow_the_command_is_named_and_no_folder_is_left(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match="pip install mlflow"):
        scripted(tmp_path / "run", tracker="mlflow")
    assert not (tmp_path / "run").exists()


# The command -----------------------------------------------------------------------------------------------


def start(*flags, **settings):
    command = [sys.executable, str(REPOSITORY / "scripts" / "teach.py"), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_it_is_stopped_in_the_middle_and_goes_on(tmp_path, number, status):
    folder = str(tmp_path / "run")
    flags = "--teacher scripted --episodes 100000 --ep_len 40 --eval_every -1 --disagreement_steps 1".split()
    with start(*flags, "--logdir", folder) as process:
        lines = iter(process.stdout.readline, "")
        assert any(line.startswith("episode   3") for line in lines)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == status, err
    done = len(list((tmp_path / "run" / "session").iterdir()))
    assert done >= 3
    if number != signal.SIGKILL:
        assert err.splitlines()[-1] == f"interrupted; to go on: python scripts/teach.py --resume {folder}"
        assert f"run_hw1.py --env_name MountainCar-v0 --expert_data {folder}" in out
    assert len(load_trajectories(folder)) == done
    with start("--resume", folder, "--episodes", str(done + 2)) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(load_trajectories(folder)) == done + 2
    assert f"episode {done + 1:>3} |" in out and f"episode {done - 2:>3} |" not in out


def test_the_page_is_served_until_it_is_stopped(tmp_path):
    with start("--port", "0", "--logdir", str(tmp_path / "run")) as process:
        assert process.stdout.readline() == f"run folder: {tmp_path / 'run'}\n"
        assert process.stdout.readline().startswith("open this page: http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "saved: 0 episodes" in out and "--resume" in err
    assert json.loads((tmp_path / "run" / "config.json").read_text())["teaching"]["port"] == 0


def test_a_run_that_was_finished_goes_on_to_what_it_was(finished, tmp_path):
    """Killed after its last episode was saved, before it ended."""
    copy = shutil.copytree(finished, tmp_path / "run")
    (copy / "demonstrations.npz").unlink()
    teach(settings_to_go_on(copy), resume=copy)
    assert {path.name for path in copy.glob("*.pt")} == {"policy_itr_4.pt"} and same_weights(copy, finished)
    assert rows(copy) == rows(finished)
    one, other = demonstrations(copy), demonstrations(finished)
    assert all(np.array_equal(one[name], other[name]) for name in other)
