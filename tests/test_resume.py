"""Runs that are stopped anywhere and go on end as if they had not been."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rl_il.config import RunConfig
from rl_il.errors import InputError, Interrupted
from rl_il.experiment import resume, run
from rl_il.files import REPOSITORY
from rl_il.infrastructure import rl_trainer
from rl_il.infrastructure.batched import BatchedEpisodes
from rl_il.infrastructure.checkpoint import Checkpoints, lock_folder
from rl_il.infrastructure.fitting import Fitting
from rl_il.infrastructure.logger import read_config
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.policies.mlp_policy import MLPPolicySL

TINY = RunConfig(
    n_demos=2,
    num_agent_train_steps_per_iter=20,
    batch_size=100,
    train_batch_size=32,
    size=16,
    eval_episodes=2,
    ep_len=60,
    video_log_freq=-1,
    do_dagger=True,
    n_iter=4,
)
VARIANTS = {
    "dagger": TINY,
    "validation": replace(TINY, val_fraction=0.2, normalize_obs=True, weight_decay=0.01),
    "small buffer": replace(TINY, max_replay_buffer_size=250),
    "epochs": replace(TINY, num_agent_train_steps_per_iter=1, n_epochs=2),
    "rare evaluation": replace(TINY, scalar_log_freq=2, env_name="LunarLanderContinuous-v3", loss="nll"),
    "bc": replace(TINY, do_dagger=False, n_iter=1, num_agent_train_steps_per_iter=60),
}
PIXELS = replace(
    TINY,
    env_name="CarRacing-v3",
    n_demos=1,
    num_agent_train_steps_per_iter=4,
    train_batch_size=8,
    batch_episodes=2,
    ep_len=12,
    n_iter=5,
    beta_decay=0.5,
    augment="shift,brightness,flip_steer",
    val_fraction=0.2,
)


def in_folder(folder: Path, config: RunConfig):
    return run(replace(config, logdir=str(folder)), verbose=False)


def scalars_of(folder: Path) -> list[tuple]:
    """Everything that TensorBoard reads from the folder, less the times."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder)).Reload()
    tags = [tag for tag in accumulator.Tags()["scalars"] if tag != "TimeSinceStart"]
    return [(tag, event.step, event.value) for tag in tags for event in accumulator.Scalars(tag)]


def without_times(folder: Path) -> list[list[str]]:
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    time = rows[0].index("TimeSinceStart")
    return [row[:time] + row[time + 1 :] for row in rows]


def assert_same_run(one: Path, other: Path) -> None:
    assert without_times(one) == without_times(other)
    assert (one / "episodes.csv").read_text() == (other / "episodes.csv").read_text()
    assert scalars_of(one) == scalars_of(other)
    load = CNNPolicySL.load if read_config(one).env_name == "CarRacing-v3" else MLPPolicySL.load
    names = sorted(path.name for path in one.glob("*.pt"))
    assert names == sorted(path.name for path in other.glob("*.pt"))
    for name in names:
        a, b = (load(folder / name).state_dict() for folder in (one, other))
        assert all(torch.equal(a[key], b[key]) for key in a), name
    summaries = [json.loads((folder / "summary.json").read_text()) | {"wall_seconds": 0} for folder in (one, other)]
    assert summaries[0] == summaries[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run of each variant that nobody stopped."""
    made = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = in_folder(tmp_path_factory.mktemp("whole") / "run", VARIANTS[name]).folder
        return made[name]

    return get


def stop_at(monkeypatch, folder: Path, config: RunConfig, number: int, between_steps: bool) -> None:
    """Starts the run, and stops it where it looks for signals for the `number`-th time."""
    calls = []

    def check() -> None:
        calls.append(number)
        if len(calls) == number:
            raise Interrupted("", signal.SIGTERM, between_steps=between_steps)

    with monkeypatch.context() as patch:
        patch.setattr("rl_il.experiment.noted_signals", lambda: Context(check))
        with pytest.raises(Interrupted, match=f"--resume {folder}") as caught:
            in_folder(folder, config)
    assert caught.value.signal_number == signal.SIGTERM


class Context:
    def __init__(self, value):
        self.value = value

    def __enter__(self):
        return self.value

    def __exit__(self, *_):
        pass


# A look for signals follows each expert episode (10), gradient step (20 an iteration) and evaluation episode (2).
@pytest.mark.parametrize("number", [3, 10, 11, 17, 30, 31, 32, 33, 45, 54, 76, 98])
def test_a_run_that_was_interrupted_anywhere_ends_the_same(tmp_path, monkeypatch, whole, number):
    stop_at(monkeypatch, tmp_path / "run", TINY, number, between_steps=True)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole("dagger"))
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "dagger"])
def test_every_kind_of_run_goes_on(tmp_path, monkeypatch, whole, name):
    stop_at(monkeypatch, tmp_path / "run", VARIANTS[name], 41, between_steps=True)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole(name))


def test_an_interruption_within_a_step_goes_back_to_the_last_whole_iteration(tmp_path, monkeypatch, whole):
    stop_at(monkeypatch, tmp_path / "run", TINY, 45, between_steps=False)
    state, data = Checkpoints(tmp_path / "run").load()
    assert (state["itr"], state["steps_done"], len(data)) == (1, 0, 1)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole("dagger"))


def test_interrupted_twice(tmp_path, monkeypatch, whole):
    stop_at(monkeypatch, tmp_path / "run", TINY, 17, between_steps=True)
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 40:
            raise Interrupted("", signal.SIGINT, between_steps=True)

    with monkeypatch.context() as patch:
        patch.setattr("rl_il.experiment.noted_signals", lambda: Context(check))
        with pytest.raises(Interrupted):
            resume(tmp_path / "run", verbose=False)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole("dagger"))


def test_a_checkpoint_within_an_iteration_is_written_by_the_clock(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(rl_trainer, "SECONDS_BETWEEN_CHECKPOINTS", 0)  # after every step
    stop_at(monkeypatch, tmp_path / "run", TINY, 45, between_steps=False)
    state, data = Checkpoints(tmp_path / "run").load()
    assert (state["itr"], state["steps_done"], len(data)) == (1, 12, 2)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole("dagger"))


def test_workers_change_nothing_when_a_run_goes_on(tmp_path, monkeypatch, whole):
    stop_at(monkeypatch, tmp_path / "run", replace(TINY, num_workers=2), 54, between_steps=True)
    resume(tmp_path / "run", num_workers=2, verbose=False)
    assert_same_run(tmp_path / "run", whole("dagger"))


def test_a_batched_run_goes_on_with_its_own_workers(tmp_path, monkeypatch):
    """From pixels: in batches of another size, the last digits would be others."""
    config = replace(PIXELS, vec_env="batched", num_workers=2, n_iter=3)
    in_folder(tmp_path / "whole", config)
    stop_at(monkeypatch, tmp_path / "run", config, 10, between_steps=True)
    with pytest.raises(InputError, match="goes on with its own --num_workers 2, which --vec_env batched"):
        resume(tmp_path / "run", num_workers=3, verbose=False)
    asked = []
    monkeypatch.setattr(BatchedEpisodes, "__init__", noting(BatchedEpisodes.__init__, asked))
    resume(tmp_path / "run", verbose=False)
    assert asked == [2]
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def noting(init, asked: list[int]):
    """The constructor, which first notes the number of workers."""

    def noted(self, env_name, env, num_workers):
        asked.append(num_workers)
        init(self, env_name, env, num_workers)

    return noted


# Killed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("killed_in", ["training", "add_data", "save", "before_index", "evaluate", "go_on_from"])
def test_a_killed_run_goes_on(tmp_path, whole, killed_in):
    """Killed for good, in the middle of what it does, in its second iteration (or before anything was learnt)."""
    folder = tmp_path / "run"
    killer = f"""
import os, signal, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from test_resume import TINY, in_folder
from pathlib import Path
from rl_il.infrastructure import checkpoint
from rl_il.infrastructure.checkpoint import Checkpoints
from rl_il.infrastructure.logger import read_config
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.policies.cnn_policy import CNNPolicySL

def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def kill_second(owner, name, after=False):
    original, calls = getattr(owner, name), []
    def method(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2 and not after:
            kill()
        result = original(*args, **kwargs)
        return result if len(calls) < 2 else kill()
    setattr(owner, name, method)

where = {killed_in!r}
if where == "add_data": kill_second(Checkpoints, "add_data", after=True)
if where == "training": RLTrainer.train = kill
if where == "save": kill_second(Checkpoints, "save")
if where == "before_index": kill_second(checkpoint, "write_json")
if where in ("evaluate", "go_on_from"): kill_second(RLTrainer, "evaluate", after=True)
in_folder(Path({str(folder)!r}), TINY)
"""
    done = subprocess.run([sys.executable, "-c", killer], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    if killed_in == "go_on_from":  # and once more while it takes up what there is
        again = killer.replace("in_folder(Path", "from rl_il.experiment import resume; resume(Path").replace(
            ", TINY)\n", ")\n"
        )
        again = again.replace('kill_second(RLTrainer, "evaluate", after=True)', "RLTrainer.store = kill")
        assert subprocess.run([sys.executable, "-c", again], capture_output=True).returncode == -signal.SIGKILL
    resume(folder, verbose=False)
    assert_same_run(folder, whole("dagger"))


# What cannot go on ------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    stop_at(monkeypatch, tmp_path / "run", TINY, 45, between_steps=True)
    return tmp_path / "run"


def test_a_finished_run_is_left_as_it_is_but_for_leftovers(tmp_path, whole, capsys):
    folder = shutil.copytree(whole("bc"), tmp_path / "run")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "state_9.pt").write_text("killed before this was removed")
    (folder / ".summary.json.a1b2c3d4").write_text("killed while this was written")
    assert resume(folder) is None
    assert capsys.readouterr().out == f"{folder}: this run is finished\n"
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in whole("bc").iterdir())


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config.json: cannot be read \(No such file"):
        resume(tmp_path)


def test_a_config_of_other_types_is_refused(stopped):
    record = json.loads((stopped / "config.json").read_text())
    record["config"]["size"] = "16"
    (stopped / "config.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"config.json: size must be int, got str"):
        resume(stopped, verbose=False)


def test_a_run_under_way_is_refused(stopped):
    with lock_folder(stopped), pytest.raises(InputError, match="is in use by another process"):
        resume(stopped, verbose=False)
    resume(stopped, verbose=False)


@pytest.mark.parametrize("name", ["data_0.npz", "data_1.npz", "state_2.pt"])
def test_a_file_that_was_changed_is_refused(stopped, name):
    path = stopped / "checkpoint" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: was changed or damaged since it was written"):
        resume(stopped, verbose=False)


def test_a_file_that_is_gone_is_named(stopped):
    (stopped / "checkpoint" / "data_0.npz").unlink()
    with pytest.raises(InputError, match=r"data_0.npz: no such file"):
        resume(stopped, verbose=False)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"state": "../x.pt", "files": {"../x.pt": "0"}}', '{"state": "state_1.pt", "files": {}}']
)
def test_an_index_that_is_none_is_refused(stopped, text):
    (stopped / "checkpoint" / "checkpoint.json").write_text(text)
    with pytest.raises(InputError, match="is no index of a checkpoint"):
        resume(stopped, verbose=False)


def test_the_checkpoint_that_was_replaced_is_gone_and_the_data_are_not_written_again(stopped):
    names = sorted(path.name for path in (stopped / "checkpoint").iterdir())
    assert names == ["checkpoint.json", "data_0.npz", "data_1.npz", "state_2.pt"]


# What stops a run -------------------------------------------------------------------------------------------


def test_an_error_in_the_middle_names_the_checkpoint_and_how_to_go_on(tmp_path, monkeypatch, whole):
    original = RLTrainer.train

    def train(self, itr):
        if itr == 2:
            raise InputError(f"{tmp_path}: cannot be written (No space left on device)")
        return original(self, itr)

    with monkeypatch.context() as patch:
        patch.setattr(RLTrainer, "train", train)
        with pytest.raises(InputError, match=rf"No space left on device\) \(.*--resume {tmp_path / 'run'}\)"):
            in_folder(tmp_path / "run", TINY)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole("dagger"))


def test_a_loss_that_is_no_number_leaves_the_last_good_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("rl_il.infrastructure.fitting.GOOD_WEIGHTS_EVERY", 5)
    original, losses = MLPPolicySL.update, []

    def update(self, observations, actions):
        losses.append(original(self, observations, actions))
        if len(losses) == 13:
            with torch.no_grad():
                next(self.parameters()).fill_(np.nan)
            return {"Training Loss": float("nan")}
        return losses[-1]

    monkeypatch.setattr(MLPPolicySL, "update", update)
    with pytest.raises(
        InputError, match=r"iteration 0: after minibatch 13 the loss or a weight is not finite; .*policy_last_good.pt"
    ):
        in_folder(tmp_path / "run", TINY)
    monkeypatch.undo()
    good = MLPPolicySL.load(tmp_path / "run" / "policy_last_good.pt")
    config = replace(TINY, do_dagger=False, n_iter=1, num_agent_train_steps_per_iter=10)
    ten_steps = MLPPolicySL.load(in_folder(tmp_path / "ten", config).folder / "policy_itr_0.pt")
    assert all(torch.equal(a, b) for a, b in zip(good.parameters(), ten_steps.parameters(), strict=True))


# The command ------------------------------------------------------------------------------------------------


def command(*words: str, **settings) -> subprocess.Popen:
    script = str(REPOSITORY / "scripts" / "run_hw1.py")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen([sys.executable, script, *words], **pipes | settings)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", [1, 2])
def test_signals_end_it_between_steps_with_their_status(tmp_path, number, status, workers):
    flags = "--do_dagger --n_iter 5000 --compile off --n_demos 1 --num_agent_train_steps_per_iter 20 --size 16"
    flags += f" --ep_len 60 --batch_size 100 --eval_episodes 2 --num_workers {workers} --logdir {tmp_path / 'run'}"
    with command(*flags.split()) as process:
        assert any(line.startswith("itr    1/4999") for line in process.stdout)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert error == f"interrupted; to go on: python scripts/run_hw1.py --resume {tmp_path / 'run'}\n"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "interrupted"
    assert scalars_of(tmp_path / "run")
    assert Checkpoints(tmp_path / "run").load() is not None


def test_resume_takes_no_other_settings(tmp_path):
    with command("--resume", str(tmp_path), "--seed", "2", "--num_workers", "2", "--do_dagger") as process:
        _, error = process.communicate()
    assert process.returncode == 2
    assert "--resume goes on with the run's own settings; drop --do_dagger, --seed" in error


def test_resume_prints_where_it_goes_on(stopped):
    copy = shutil.copytree(stopped, stopped.parent / "copy")
    with command("--resume", str(copy)) as process:
        output, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    assert f"run folder: {copy} (going on after gradient step 12 of iteration 1)" in output
    assert "itr 3/3" in output


# The disk -----------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_ends_it_with_a_sentence_and_the_run_goes_on_later(tmp_path, whole):
    """A limit on a file's size stands for the disk's end: both are an OSError in the middle of a file."""
    folder = tmp_path / "run"
    limited = f"""
import resource, sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from pathlib import Path
from test_resume import TINY, in_folder
from rl_il.errors import run_command
from rl_il.infrastructure.logger import read_config
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.policies.cnn_policy import CNNPolicySL
original = RLTrainer.store
def store(self, itr, trajectories):
    if itr == 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    return original(self, itr, trajectories)
RLTrainer.store = store
run_command(lambda: in_folder(Path({str(folder)!r}), TINY))
"""
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "data_2.npz: cannot be written (File too large)" in done.stderr
    assert f"go on with python scripts/run_hw1.py --resume {folder}" in done.stderr
    resume(folder, verbose=False)
    assert_same_run(folder, whole("dagger"))


def test_a_folder_that_is_removed_while_it_runs_ends_the_run(tmp_path, monkeypatch):
    original = RLTrainer.train

    def train(self, itr):
        if itr == 1:
            shutil.rmtree(tmp_path / "run")
        return original(self, itr)

    monkeypatch.setattr(RLTrainer, "train", train)
    with pytest.raises(InputError, match=r"was removed while the run was writing into it; start the run again"):
        in_folder(tmp_path / "run", TINY)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_may_not_be_written_ends_the_run_with_a_sentence(tmp_path, monkeypatch):
    def refuse(self, itr, trajectories):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", lambda **_: refuse(None, 0, []))
    with pytest.raises(InputError, match=r"config.json: cannot be written \(Permission denied\)"):
        in_folder(tmp_path / "run", TINY)


def test_pixels_stopped_in_round_3_go_on(tmp_path, monkeypatch):
    """Augmented minibatches, an expert that labels while it watches, and acts at times."""
    whole = in_folder(tmp_path / "whole", PIXELS).folder
    trained = []

    def train(trainer, itr, original=RLTrainer.train):
        trained.append(itr)
        return original(trainer, itr)

    def batch(fitting, rows, original=Fitting.batch):
        if (fitting.itr, fitting.steps_done) == (3, 2):
            raise Interrupted("", signal.SIGTERM, between_steps=True)
        return original(fitting, rows)

    monkeypatch.setattr(RLTrainer, "train", train)
    with monkeypatch.context() as patch:
        patch.setattr(Fitting, "batch", batch)
        with pytest.raises(Interrupted):
            in_folder(tmp_path / "run", PIXELS)
    assert trained == [0, 1, 2, 3]
    resume(tmp_path / "run", verbose=False)
    assert trained == [0, 1, 2, 3, 3, 4]
    assert_same_run(whole, tmp_path / "run")
