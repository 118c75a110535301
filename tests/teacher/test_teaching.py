"""Sessions by the scripted teacher: their folders, how they are resumed, and the command."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from systems import needs_signals

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.envs import make_env
from rl_il.experts.loading import load_actor
from rl_il.files import REPOSITORY, read_csv
from rl_il.infrastructure.counting import SCALARS, Counts, count_collected
from rl_il.runs.experiment import run as run_experiment
from rl_il.teacher.run import settings_to_go_on, teach
from rl_il.teacher.settings import TeachConfig
from rl_il.types import EXPERT, LEARNER

QUICK = {"teacher": "scripted:0.1", "episodes": 4, "updates_per_step": 0.6, "publish_every": 20, "size": 8}
QUICK |= {"eval_every": 2, "eval_episodes": 2, "ep_len": 40, "disagreement_steps": 1, "takeover_steps": 3}


def scripted(folder, **settings):
    return teach(TeachConfig(logdir=str(folder), **QUICK | settings))


def rows(folder):
    return read_csv(folder / "metrics.csv")


def counts_in(row):
    """Return the counts of a row of metrics.csv."""
    return Counts(*(int(row[name]) for name in SCALARS))


def weights(folder):
    (path,) = folder.glob("policy_itr_*.pt")
    return {name: tensor.numpy() for name, tensor in torch.load(path, weights_only=True)["state"].items()}


def assert_same(one, other):
    """Assert that metrics, weights and episodes of two run folders are equal to the last bit."""
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    np.testing.assert_equal(weights(one), weights(other))
    np.testing.assert_equal(*[dict(np.load(folder / "demonstrations.npz")) for folder in (one, other)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a session of four episodes."""
    return scripted(tmp_path_factory.mktemp("teaching") / "run")


def test_the_folder_holds_the_session_and_the_policy(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"config.json", "metrics.csv", "demonstrations.npz", "curve.png", "policy_itr_4.pt", "session"} <= names
    assert any(name.startswith("events.out") for name in names)
    assert {path.name for path in (finished / "session").iterdir()} == {f"episode_00000{i}.npz" for i in range(4)}
    assert settings_to_go_on(finished) == TeachConfig(logdir=str(finished), **QUICK)
    env = make_env("MountainCar-v0")
    assert load_actor(finished, env).get_action(env.reset(seed=0)[0]) in (0, 1, 2)


def test_metrics_has_a_row_for_each_episode(finished):
    table = rows(finished)
    assert [row["iteration"] for row in table] == ["0", "1", "2", "3"]
    episodes = load_trajectories(finished)
    labels = np.cumsum([np.sum(t.source == EXPERT) for t in episodes])
    assert [counts_in(row) for row in table] == [count_collected(episodes[:n]) for n in (1, 2, 3, 4)]
    assert [counts_in(row).consulted for row in table] == [40, 80, 120, 160]  # the expert is asked at every step
    for row, episode, count in zip(table, episodes, labels, strict=True):
        assert float(row["Return"]) == episode.episode_return == -40
        assert float(row["Intervention_Rate"]) == np.mean(episode.source != LEARNER)
        assert int(row["Expert_LabelsSoFar"]) == count and row["Labels_Approved"] == "0"
    assert [bool(row["Snapshot_AverageReturn"]) for row in table] == [False, True, False, True]
    assert (finished / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert float(table[-1]["Updates"]) > 20 and float(table[-1]["Training Loss"]) > 0


def test_a_run_trains_on_the_labelled_steps_of_a_session(finished, tmp_path):
    for i, path in enumerate((finished, finished / "demonstrations.npz")):
        settings = {"num_agent_train_steps_per_iter": 2, "eval_episodes": 1, "ep_len": 5, "video_log_freq": -1}
        settings |= {"expert_data": str(path), "logdir": str(tmp_path / f"{i}")}
        summary = run_experiment(RunConfig(env_name="MountainCar-v0", **settings), verbose=False).summary
        assert summary["expert_labels"] == counts_in(rows(finished)[-1]).expert_labels


class Killed(BaseException):
    pass


@pytest.mark.parametrize("episodes_done", [0, 2])
@pytest.mark.parametrize("place", ["save_learning", "save_episode"])
def test_a_killed_session_is_resumed_with_the_same_result(finished, tmp_path, monkeypatch, episodes_done, place):
    # As after SIGKILL, before or after the episode is saved: nothing after that is saved.
    from rl_il.teacher.recording import Recording

    whole = getattr(Recording, place)
    calls = []

    def dies(self, *args):
        calls.append(args)
        dying = len(calls) > episodes_done
        if not dying or place == "save_episode":
            whole(self, *args)
        if dying:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Recording, place, dies)
        scripted(tmp_path / "run")
    config = settings_to_go_on(tmp_path / "run")
    assert_same(teach(config, resume=tmp_path / "run"), finished)


@pytest.mark.parametrize("episodes", [2, 4])
def test_a_finished_session_is_resumed_for_more_episodes(finished, tmp_path, episodes):
    """Also one that was killed between saving its last episode and its end."""
    short = scripted(tmp_path / "run", episodes=episodes)
    (short / "demonstrations.npz").unlink()
    assert_same(teach(settings_to_go_on(short, episodes=4), resume=short), finished)
    assert {path.name for path in short.glob("*.pt")} == {"policy_itr_4.pt"}


def start(*flags, **settings):
    command = [sys.executable, str(REPOSITORY / "scripts" / "teach.py"), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


@needs_signals
def test_the_command_is_stopped_and_resumed(tmp_path):
    folder = str(tmp_path / "run")
    flags = "--teacher scripted --episodes 100000 --ep_len 40 --eval_every -1 --disagreement_steps 1 --compile off"
    with start(*flags.split(), "--logdir", folder) as process:
        lines = iter(process.stdout.readline, "")
        assert any(line.startswith("episode   3") for line in lines)
        process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    done = len(list((tmp_path / "run" / "session").iterdir()))
    assert done >= 3
    assert f"--resume {folder}" in err.splitlines()[-1] and f"--expert_data {folder}" in out
    assert len(load_trajectories(folder)) == done
    with start("--resume", folder, "--episodes", str(done + 2)) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(load_trajectories(folder)) == done + 2
    assert f"episode {done + 1:>3} |" in out and f"episode {done - 2:>3} |" not in out


@needs_signals
def test_the_page_is_served_until_it_is_stopped(tmp_path):
    with start("--port", "0", "--logdir", str(tmp_path / "run")) as process:
        assert str(tmp_path / "run") in process.stdout.readline()
        assert "http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "0 episodes" in out and "--resume" in err
    assert json.loads((tmp_path / "run" / "config.json").read_text())["teaching"]["port"] == 0


def test_the_scripted_teacher_gives_no_more_labels_than_it_may(tmp_path):
    folder = scripted(tmp_path / "run", episodes=100, max_labels=50, eval_every=-1)
    table = rows(folder)
    assert counts_in(table[-1]).expert_labels == 50 and len(table) < 100
    assert counts_in(table[0]).takeovers == 1  # at the first step, for at least three
