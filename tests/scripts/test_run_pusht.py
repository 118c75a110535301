"""Push-T with the flags of CS285's train.py, in a small environment of the same spaces."""

import csv
import json
import signal
import sys
from contextlib import contextmanager
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
from calling import assert_refused, call_script

from rl_il.datasets import pusht, save_trajectories
from rl_il.errors import Interrupted
from rl_il.types import Trajectory

SMALL = "--num-epochs 3 --batch-size=4 --hidden-dims 8 8 --chunk-size 3 --eval_interval 4 --log-interval 3"
SMALL += " --num_video_episodes 0 --data-dir demos.npz"


class SmallPushT(gym.Env):
    """Episodes of 6 steps. The largest reward is 0.1, 0.2, 0.3 or 0.4, in the third step; others are 0.05."""

    observation_space = gym.spaces.Box(0, 512, (5,), np.float64)
    action_space = gym.spaces.Box(0, 512, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.steps, self.largest = 0, (1 + seed % 4) / 10
        return np.full(5, 100.0 + seed % 7), {}

    def step(self, action):
        self.steps += 1
        ob = np.full(5, 100.0 + self.steps)
        return ob, self.largest if self.steps == 3 else 0.05, False, self.steps == 6, {"is_success": False}


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Return a function that calls a script in a folder with demonstrations: its status, stdout and stderr."""
    monkeypatch.setitem(sys.modules, "gym_pusht", ModuleType("gym_pusht"))
    monkeypatch.setattr(pusht, "URL", "http://127.0.0.1:9/pusht.zip")  # nothing listens there
    gym.register("gym_pusht/PushT-v0", SmallPushT, max_episode_steps=6)
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    episodes = [(rng.random((n + 1, 5)) * 500, rng.random((n, 2)).astype(np.float32) * 500) for n in (4, 8)]
    save_trajectories("demos.npz", [Trajectory(obs, acs, np.zeros(len(acs)), True) for obs, acs in episodes])
    yield lambda command: call_script(command, monkeypatch, capsys)
    del gym.registry["gym_pusht/PushT-v0"]


def settings_of(folder) -> dict:
    return json.loads((folder / "config.json").read_text())["config"]


def log_of(folder) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return [*csv.DictReader(file)]


@pytest.mark.parametrize("policy_type", ["mse", "flow", "mixture"])
def test_the_courses_flags_make_an_ordinary_run_with_its_log(call, tmp_path, policy_type):
    flags = "--policy_type flow --flow-num-steps 2" if policy_type == "flow" else f"--policy-type {policy_type}"
    status, _, err = call(f"run_pusht {flags} {SMALL} --logdir run")
    assert status == 0, err
    settings = settings_of(tmp_path / "run")
    names = "env_name head chunk execute train_batch_size n_layers size activation n_epochs seed eval_seeds".split()
    head = None if policy_type == "mse" else policy_type
    assert [settings[name] for name in names] == (
        ["gym_pusht/PushT-v0", head, 3, None, 4, 2, 8, "relu", 3, 42, "0:100"]
    )
    assert settings["normalize_obs"] and settings["normalize_acs"] and settings["learning_rate"] == 3e-4
    assert settings["flow_steps"] == (2 if policy_type == "flow" else None)
    rows = log_of(tmp_path / "run")  # 8 chunks of 3 actions: 2 gradient steps an epoch
    assert [*rows[0]] == ["train/loss", "eval/mean_reward", "step"]
    assert [(row["step"], bool(row["train/loss"])) for row in rows] == [("3", True), ("4", False), ("6", True)]
    assert [float(row["eval/mean_reward"]) for row in rows[1:]] == [pytest.approx(0.25)] * 2  # of the seeds 0 to 99
    assert not (tmp_path / "run" / "videos").exists()


def test_the_defaults_are_the_courses(call, tmp_path, monkeypatch):
    """Stop before the training, which would take minutes."""
    begun = []
    monkeypatch.setattr("rl_il.runs.experiment.run", lambda config, *_: begun.append(config))
    assert call("run_pusht --data_dir demos.npz")[0] == 0
    (config,) = begun
    assert (config.n_epochs, config.train_batch_size, config.learning_rate, config.seed) == (400, 128, 3e-4, 42)
    assert (config.n_layers, config.size, config.chunk, config.weight_decay) == (3, 256, 8, 0)
    assert (config.eval_interval, config.log_interval, config.head) == ("10000", 100, None)


def test_a_stopped_run_is_resumed_with_its_log(call, tmp_path, monkeypatch):
    @contextmanager
    def stop_at_once(grace):
        def check():
            raise Interrupted("", signal.SIGINT, between_steps=True)

        yield check

    with monkeypatch.context() as patch:
        patch.setattr("rl_il.runs.training.noted_signals", stop_at_once)
        status, _, err = call(f"run_pusht --policy_type flow {SMALL} --logdir stopped")
    assert status == 130 and "run_hw1.py --resume stopped" in err
    assert call("run_hw1 --resume stopped")[0] == 0
    assert call(f"run_pusht --policy_type flow {SMALL} --logdir whole")[0] == 0
    assert log_of(tmp_path / "stopped") == log_of(tmp_path / "whole")


MISTAKES = {
    "--hidden_dims 256 128": "256 128 --policy_class",
    "--hidden-dims 0": "--hidden_dims",
    "--hidden_dims many": "--hidden_dims many",
    "--policy_type diffusion": "--policy_type mse flow mixture",
    "--polcy-type mse": "--polcy_type --policy_type",
    "--chunk-size 0": "--chunk_size 0",
    "--batch_size 0": "--batch_size 0",
    "--lr 0": "--lr 0",
    "--lr fast": "--lr fast",
    "--num-epochs 0": "--num_epochs 0",
    "--eval_interval 0": "--eval_interval 0",
    "--log_interval 0": "--log_interval 0",
    "--num_video_episodes -1": "--num_video_episodes -1",
    "--policy_type flow --flow_num_steps 0": "--flow_num_steps 0",
    "--execute 4": "--execute --chunk_size 3 4",
    "--tracker tensorboard": "--tracker",
    "--logdir demos.npz": "demos.npz",
    "--logdir demos.npz/run": "demos.npz",
    "--data_dir nowhere": "pusht.zip nowhere",
    "--data_dir demos.npz/data": "demos.npz",
    "--data_dir nowhere.npz": "nowhere.npz no such file",
}


@pytest.mark.parametrize(("flags", "words"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_one_sentence_with_the_courses_names_and_writes_nothing(call, tmp_path, flags, words):
    status, out, err = call(f"run_pusht {SMALL} {flags}")
    err = "".join(line for line in err.splitlines(keepends=True) if not line.startswith(("note:", "itr")))
    assert_refused((status, out, err), *words.split())
    assert [path.name for path in tmp_path.rglob("*")] == ["demos.npz"]


def test_a_chunk_longer_than_every_episode_is_named_as_in_the_course(call):
    status, _, err = call(f"run_pusht {SMALL} --chunk_size 9")
    assert status == 2 and "--chunk_size" in err and "--chunk " not in err
    assert "--val_fraction" not in err and "--pad_chunks (of run_hw1.py)" in err  # which this script does not have


@pytest.mark.parametrize(
    ("package", "flags", "word"),
    [("gym_pusht", "", "make pusht-env"), ("wandb", "--tracker wandb", "pip install wandb")],
)
def test_a_missing_package_is_named_before_anything_is_downloaded(call, tmp_path, monkeypatch, package, flags, word):
    monkeypatch.setitem(sys.modules, package, None)
    assert_refused(call(f"run_pusht {SMALL} {flags} --data_dir new"), word)
    assert [path.name for path in tmp_path.rglob("*")] == ["demos.npz"]
