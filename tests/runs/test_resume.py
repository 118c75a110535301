"""Runs that are stopped anywhere and resumed end with the same result."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calling import assert_refused, call_script
from small_runs import TINY_DAGGER, assert_same_run, corridor, points_of, rows_of, run_in, stop_after, weights_of
from systems import WINDOWS, needs_limits, needs_signals
from test_signals import compute_until_interrupted, send

from rl_il.config import RunConfig
from rl_il.errors import DivergedError, InputError, Interrupted, RemovedError
from rl_il.files import REPOSITORY
from rl_il.infrastructure.evaluation import Evaluator
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.runs.checkpoint import Checkpoint, lock_folder
from rl_il.runs.evaluate import evaluate
from rl_il.runs.experiment import resume
from rl_il.runs.run_folder import RunFolder
from rl_il.runs.tensorboard import EventWriter

TINY = replace(TINY_DAGGER, eval_interval="8")  # 3 blocks an iteration
OPTIONS = replace(
    TINY,
    env_name="LunarLanderContinuous-v3",
    loss="nll",
    normalize_obs=True,
    normalize_acs=True,
    layer_norm=True,
    dropout=0.2,
    lr_schedule="cosine",
    average_weights=True,
    augment="noise",
    val_fraction=0.2,
)
VARIANTS = {
    "validation": replace(TINY, val_fraction=0.2, normalize_obs=True, weight_decay=0.01),
    "small buffer": replace(TINY, max_replay_buffer_size=250),
    "epochs": replace(TINY, num_agent_train_steps_per_iter=1, n_epochs=2, eval_interval="5"),
    "rare evaluation": replace(TINY, scalar_log_freq=2, env_name="LunarLanderContinuous-v3", loss="nll"),
    "cloning": replace(TINY, do_dagger=False, n_iter=1, num_agent_train_steps_per_iter=60),
    "pictures": RunConfig(
        env_name="CarRacing-v3",
        n_demos=1,
        num_agent_train_steps_per_iter=4,
        eval_interval="2",
        train_batch_size=8,
        do_dagger=True,
        batch_episodes=2,
        ep_len=12,
        n_iter=3,
        beta_decay=0.5,
        augment="shift,brightness,flip_steer",
        val_fraction=0.2,
        eval_episodes=1,
        video_log_freq=1,
    ),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RunConfig:
    """Return the config of a run of 3 iterations of 3 blocks, with videos."""
    return corridor(tmp_path_factory.mktemp("files"), eval_interval="8", video_log_freq=1, val_fraction=0.2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, config) -> Path:
    """Return the run, without a stop."""
    return run_in(tmp_path_factory.mktemp("whole") / "run", config).folder


@pytest.fixture(scope="module")
def with_options(tmp_path_factory) -> Path:
    """Return a run with all training options, without a stop."""
    return run_in(tmp_path_factory.mktemp("options") / "run", OPTIONS).folder


@pytest.fixture
def stopped(tmp_path, monkeypatch, config) -> Path:
    """Return the run, stopped after 16 steps of its second iteration."""
    stop_after(monkeypatch, tmp_path / "run", config, 5)
    return tmp_path / "run"


def place_of(folder: Path) -> tuple[int, int, list[str]]:
    """Return the checkpoint's place in the run, and the files that belong to it."""
    state, files = Checkpoint(folder).load()
    return state["trainer"]["itr"], state["trainer"]["steps_done"], sorted(files)


@pytest.mark.parametrize("blocks", range(1, 9))
def test_a_run_stopped_at_any_boundary_ends_the_same(tmp_path, monkeypatch, config, whole, blocks):
    folder = tmp_path / "run"
    stop_after(monkeypatch, folder, config, blocks)
    itr, steps = divmod(blocks, 3)
    assert place_of(folder) == (itr, [0, 8, 16][steps], [f"data/itr_{i}.npz" for i in range(1, itr + (steps > 0))])
    assert json.loads((folder / "summary.json").read_text())["status"] == "interrupted"
    assert len(list((folder / "checkpoint").glob("state_*"))) == 1  # the replaced one is gone
    assert evaluate(str(folder), "Corridor-v0", episodes=1)["episodes"] == 1  # the policy of the moment of the stop
    resume(folder, verbose=False)
    assert_same_run(folder, whole)
    assert sorted(path.name for path in folder.iterdir() if "events" not in path.name) == sorted(
        path.name for path in whole.iterdir() if "events" not in path.name
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_every_kind_of_run_can_be_resumed(tmp_path, monkeypatch, name):
    run_in(tmp_path / "whole", VARIANTS[name])
    stop_after(monkeypatch, tmp_path / "run", VARIANTS[name], 4)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("blocks", [1, 3, 4])
def test_all_training_options_can_be_resumed_with_other_workers(tmp_path, monkeypatch, with_options, blocks):
    stop_after(monkeypatch, tmp_path / "run", OPTIONS, blocks)
    resume(tmp_path / "run", num_workers=2, verbose=False)
    assert_same_run(tmp_path / "run", with_options)


def test_a_double_precision_file_is_standardised_in_single_precision(tmp_path, monkeypatch):
    config = replace(corridor(tmp_path / "files"), normalize_obs=True, do_dagger=False, n_iter=1, eval_interval="8")
    rng, folders = np.random.default_rng(0), []
    arrays = {"observations": rng.normal(1e4, 1e-2, (40, 2)), "actions": rng.integers(3, size=40)}
    for dtype in (np.float64, np.float32):
        path = tmp_path / f"{dtype.__name__}.npz"
        np.savez(path, **arrays | {"observations": arrays["observations"].astype(dtype)})
        folders.append(run_in(tmp_path / path.stem, replace(config, expert_data=str(path))).folder)
    stopped = replace(config, expert_data=str(tmp_path / "float64.npz"))
    stop_after(monkeypatch, tmp_path / "stopped", stopped, 2)
    resume(tmp_path / "stopped", verbose=False)
    assert_same_run(tmp_path / "stopped", folders[0])
    assert weights_of(folders[0]) == weights_of(folders[1])


def test_interrupted_twice_and_with_other_workers(tmp_path, monkeypatch, whole, config):
    config = replace(config, env_name="fakes:Corridor-v0", num_workers=2)
    stop_after(monkeypatch, tmp_path / "run", config, 2)
    stop_after(monkeypatch, tmp_path / "run", None, 3)
    assert place_of(tmp_path / "run")[:2] == (1, 16)
    resume(tmp_path / "run", num_workers=2, verbose=False)
    run_in(tmp_path / "whole", replace(config, num_workers=1))
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert rows_of(tmp_path / "run") == rows_of(whole)


@pytest.mark.parametrize(("seconds", "place"), [(60, (1, 0)), (0, (1, 16))])
def test_within_an_iteration_checkpoints_follow_the_clock(tmp_path, monkeypatch, config, whole, seconds, place):
    monkeypatch.setattr("rl_il.runs.run_folder.SECONDS_BETWEEN_CHECKPOINTS", seconds)
    stop_after(monkeypatch, tmp_path / "run", config, 5, between_steps=False)
    assert place_of(tmp_path / "run")[:2] == place
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (Evaluator, "measure", 1),
        (RLTrainer, "collect", 2),
        (Evaluator, "__call__", 5),
        (MLPPolicySL, "update", 25),
        (RunFolder, "save_checkpoint", 2),
    ],
)
def test_an_immediate_ctrl_c_goes_back_to_the_last_boundary(tmp_path, monkeypatch, config, whole, owner, name, call):
    original, calls = getattr(owner, name), []

    def method(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            raise Interrupted  # as the handler of a second Ctrl-C does
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, method)
        with pytest.raises(Interrupted) as caught:
            run_in(tmp_path / "run", config)
    assert caught.value.signal_number == signal.SIGINT
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "interrupted"
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole)


def test_a_block_longer_than_the_grace_is_interrupted(tmp_path, monkeypatch, config, whole):
    original, calls = MLPPolicySL.update, []

    def update(self, *batch):
        calls.append(1)
        if len(calls) == 25:
            send(signal.SIGTERM)
            compute_until_interrupted()
        return original(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr("rl_il.runs.training.GRACE", 0.05)
        patch.setattr(MLPPolicySL, "update", update)
        with pytest.raises(Interrupted) as caught:
            run_in(tmp_path / "run", config)
    assert (caught.value.signal_number, len(calls)) == (signal.SIGTERM, 25)
    assert place_of(tmp_path / "run")[:2] == (1, 0)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole)


def test_a_signal_in_the_last_block_does_not_disturb_the_end(tmp_path, monkeypatch, config, whole):
    def save(self, block, *args, original=RunFolder.save):
        row = original(self, block, *args)
        if block.gradient_steps == 60:
            send(signal.SIGTERM)
        return row

    def finish(self, summary, original=RunFolder.finish):
        compute_until_interrupted(bound=1)
        original(self, summary)

    monkeypatch.setattr("rl_il.runs.training.GRACE", 0.5)
    monkeypatch.setattr(RunFolder, "save", save)
    monkeypatch.setattr(RunFolder, "finish", finish)
    with pytest.raises(Interrupted):  # nothing may begin after the run
        run_in(tmp_path / "run", replace(config, video_log_freq=-1))
    assert rows_of(tmp_path / "run") == rows_of(whole)
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "finished"


# Killed -----------------------------------------------------------------------------------------------------

KILLER = """
import os, signal, sys
sys.path[:0] = {paths!r}
import fakes
from pathlib import Path
from rl_il.config import RunConfig
from rl_il.infrastructure.evaluation import Evaluator
from rl_il.infrastructure.gradient_steps import GradientSteps
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.runs import checkpoint
from rl_il.runs.experiment import resume, run
from rl_il.runs.run_folder import RunFolder

def kill_in(owner, name, number, after=False):
    original, calls = getattr(owner, name), []
    def method(*args, **kwargs):
        calls.append(1)
        result = original(*args, **kwargs) if len(calls) < number or after else None
        if len(calls) == number:
            os.kill(os.getpid(), 9)
        return result
    setattr(owner, name, method)

{where}
"""
RUN = "run(RunConfig(**{config!r}), verbose=False)"
RESUME = "resume(Path({folder!r}), verbose=False)"
KILLED = [
    ['kill_in(GradientSteps, "__call__", 1)'],  # before anything was saved
    ['kill_in(MLPPolicySL, "update", 30)'],  # in the middle of a block
    ['kill_in(RunFolder, "_add_data", 2, after=True)'],
    ['kill_in(MLPPolicySL, "save", 2, after=True)'],
    ['kill_in(RunFolder, "save_checkpoint", 2)'],
    ['kill_in(RunFolder, "finish", 1)'],  # all is written, except the summary
    ['kill_in(checkpoint, "write_json", 2)'],  # there are two states, and the index names neither
    ['kill_in(Evaluator, "__call__", 5, after=True)', 'kill_in(RLTrainer, "load_state_dict", 1, after=True)'],
    ['kill_in(RunFolder, "save_checkpoint", 2, after=True)', 'kill_in(Evaluator, "__call__", 1)'],
]


@pytest.mark.parametrize("places", KILLED, ids=lambda places: places[0].split('"')[1] + f"_{len(places)}")
def test_a_run_that_was_killed_can_be_resumed(tmp_path, config, whole, places):
    folder, paths = str(tmp_path / "run"), [str(Path(__file__).parent.parent), str(Path(__file__).parent)]
    settings = vars(replace(config, logdir=folder))
    for place, begin in zip(places, (RUN, RESUME), strict=False):
        code = KILLER.format(paths=paths, where=place) + begin.format(config=settings, folder=folder)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode in (-9, 9), done.stderr  # SIGKILL, or the status that Windows gives
    resume(Path(folder), verbose=False)
    assert_same_run(Path(folder), whole)


# What cannot be resumed ------------------------------------------------------------------------------------------


def test_only_leftovers_of_a_finished_run_are_removed(tmp_path, whole, capsys):
    folder = shutil.copytree(whole, tmp_path / "run")
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "state_9.pt").write_text("killed before this was removed")
    (folder / ".summary.json.a1b2c3d4").write_text("killed while this was written")
    assert resume(folder) is None
    assert str(folder) in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in whole.iterdir())
    assert resume(folder, keep_data=False, verbose=False) is None
    assert not (folder / "data").exists()


@pytest.mark.parametrize("changes", [None, {"size": "16"}, {"size": -1}])
def test_a_folder_without_a_config_is_refused(stopped, changes):
    record = json.loads((stopped / "config.json").read_text())
    record["config"] |= changes or {}
    (stopped / "config.json").write_text(json.dumps(record if changes else []))
    with pytest.raises(InputError, match=r"config.json.*" + ("size" if changes else "")):
        resume(stopped, verbose=False)


def test_a_run_that_is_still_running_is_refused(stopped):
    with lock_folder(stopped), pytest.raises(InputError, match=str(stopped)):
        resume(stopped, verbose=False)
    resume(stopped, verbose=False)


@pytest.mark.skipif(WINDOWS, reason="Windows removes no file that is open")
def test_a_lock_lasts_although_its_file_is_removed(stopped):
    with lock_folder(stopped):
        (stopped / ".lock").unlink()
        for _ in range(2):
            with pytest.raises(InputError, match=str(stopped)):
                resume(stopped, verbose=False)
    resume(stopped, verbose=False)


@pytest.mark.parametrize("name", ["data/itr_1.npz", "checkpoint/state_2.pt"])
@pytest.mark.parametrize("damage", ["one bit", "gone"])
def test_a_file_that_is_damaged_is_named(stopped, name, damage):
    path = stopped / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content) if damage == "one bit" else path.unlink()
    with pytest.raises(InputError, match=re.escape(str(path))):
        resume(stopped, verbose=False)


@pytest.mark.parametrize("text", ["", "[]", "1", '{"state": 1, "files": {}}', '{"state": "state_1.pt", "files": []}'])
def test_a_damaged_index_is_named(stopped, text):
    path = stopped / "checkpoint" / "checkpoint.json"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(str(path))):
        resume(stopped, verbose=False)


# What stops a run -------------------------------------------------------------------------------------------


def in_train(monkeypatch, itr, do):
    """Make something happen when the iteration's first block begins."""
    original = RLTrainer.train

    def train(self, *args):
        if args[0] == itr and self.steps_done == 0:
            do()
        return original(self, *args)

    monkeypatch.setattr(RLTrainer, "train", train)


def fail():
    raise InputError("the model is on fire")


def fill_the_disk():
    """Limit the size of files, in place of a full disk: both raise an OSError in the middle of a file."""
    limit_files((1000, limit_files(None)[1]))


def limit_files(limits):
    """Set the limits of a file's size, unless they are None, and return those before: None on Windows."""
    if WINDOWS:
        return None
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits or before)
    return before


@pytest.mark.parametrize(
    ("do", "named"),
    [(fail, "on fire"), pytest.param(fill_the_disk, f"itr_2.npz.*{os.strerror(27)}", marks=needs_limits)],
)
def test_an_error_in_the_middle_says_how_to_continue(tmp_path, monkeypatch, config, whole, do, named):
    limits = limit_files(None)
    with monkeypatch.context() as patch, pytest.raises(InputError, match=f"{named}.*--resume .*run"):
        in_train(patch, 2, do)
        try:
            run_in(tmp_path / "run", config)
        finally:
            limit_files(limits)
    resume(tmp_path / "run", verbose=False)
    assert_same_run(tmp_path / "run", whole)


def test_divergence_leaves_the_last_good_weights(tmp_path, monkeypatch, config):
    monkeypatch.setattr(MLPPolicySL, "update", lambda *_: {"Training Loss": np.nan})
    with pytest.raises(DivergedError, match=re.escape(str(tmp_path / "run" / "policy_last_good.pt"))):
        run_in(tmp_path / "run", config)
    weights = MLPPolicySL.load(tmp_path / "run" / "policy_last_good.pt").parameters()
    assert all(parameter.isfinite().all() for parameter in weights)


def empty(folder: Path) -> None:
    """Remove what is in the folder, as `rm -r` does if another file is written before it removes the folder."""
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("remove", [shutil.rmtree, empty])
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (RunFolder, "begin", 1),
        (RunFolder, "log_expert", 1),
        (RLTrainer, "train", 1),
        (RunFolder, "_add_data", 2),
        (EventWriter, "scalars", 1),
        (MLPPolicySL, "save", 1),
        (MLPPolicySL, "save", 3),
        (Checkpoint, "save", 2),
    ],
)
def test_a_folder_that_is_removed_while_it_runs_ends_the_run(
    tmp_path, monkeypatch, config, owner, name, call, remove
):
    original, calls, folder = getattr(owner, name), [], tmp_path / "run"

    def method(*args):
        result = original(*args)
        calls.append(1)
        if len(calls) == call:
            remove(folder)
        return result

    monkeypatch.setattr(owner, name, method)
    with pytest.raises(RemovedError, match=re.escape(str(folder))) as caught:
        run_in(folder, config)
    assert "--resume" not in str(caught.value)
    assert folder.exists() == (remove is empty)  # it is not made again
    assert not {"config.json", "summary.json"} & {path.name for path in folder.glob("*")}


@pytest.mark.skipif(WINDOWS, reason="Windows renames no folder with a file that is open")
def test_a_run_does_not_go_on_in_a_copy_of_its_folder(tmp_path, monkeypatch, config):
    def replace_it():
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        shutil.rmtree(tmp_path / "run")
        (tmp_path / "copy").rename(tmp_path / "run")

    in_train(monkeypatch, 2, replace_it)
    with pytest.raises(RemovedError, match=re.escape(str(tmp_path / "run"))):
        run_in(tmp_path / "run", config)
    assert not (tmp_path / "run/summary.json").exists()


def test_data_that_are_removed_while_it_runs_end_the_run(tmp_path, monkeypatch, config):
    path = tmp_path / "run/data/itr_1.npz"
    in_train(monkeypatch, 2, path.unlink)
    with pytest.raises(InputError, match=re.escape(str(path))) as caught:
        run_in(tmp_path / "run", config)
    assert not isinstance(caught.value, RemovedError)
    assert not (tmp_path / "run/summary.json").exists()


@pytest.mark.skipif(WINDOWS, reason="Windows removes no file that is open")
@pytest.mark.parametrize("name", ["policy_itr_0.pt", "steps"])
@pytest.mark.parametrize("running", [True, False])
def test_other_files_that_are_removed_give_one_note(tmp_path, monkeypatch, config, whole, name, running, capsys):
    folder = tmp_path / "run"

    def remove():
        shutil.rmtree(folder / name) if name == "steps" else (folder / name).unlink()

    if running:
        in_train(monkeypatch, 2, remove)
        run_in(folder, config)
    else:
        stop_after(monkeypatch, folder, config, 4)
        remove()
        resume(folder, verbose=False)
    err = capsys.readouterr().err
    assert err.startswith("note: ") and err.count("\n") == 1 and name in err and str(folder) in err
    kept = {file: text for file, text in weights_of(whole).items() if file != name}
    assert weights_of(folder) == kept
    assert {*points_of(folder / "steps")} == {*points_of(whole / "steps")}  # later points are written


def test_a_stop_does_not_make_a_removed_folder_again(tmp_path, monkeypatch, config):
    in_train(monkeypatch, 1, lambda: (shutil.rmtree(tmp_path / "run"), send(signal.SIGINT)))
    with pytest.raises(RemovedError):
        run_in(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


# The command ------------------------------------------------------------------------------------------------


def command(*words: str) -> subprocess.Popen:
    script = str(REPOSITORY / "scripts" / "run_hw1.py")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen([sys.executable, script, *words], **pipes)


@needs_signals
@pytest.mark.parametrize(("number", "status"), [(2, 130), (15, 143), (1, 129)], ids="INT TERM HUP".split())
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_ends_it_with_its_status(tmp_path, number, status, workers):
    flags = "--do_dagger --n_iter 5000 --compile off --n_demos 1 --num_agent_train_steps_per_iter 20 --size 16"
    flags += f" --ep_len 60 --batch_size 100 --eval_episodes 2 --num_workers {workers} --logdir {tmp_path / 'run'}"
    with command(*flags.split()) as process:
        assert any(line.startswith("itr    1/4999") for line in process.stdout)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == status
    (line,) = error.splitlines()
    assert line.endswith(f"--resume {tmp_path / 'run'}")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "interrupted"
    assert points_of(tmp_path / "run") and points_of(tmp_path / "run/steps")
    assert place_of(tmp_path / "run")[0] >= 1


def test_resume_takes_no_other_settings(tmp_path, monkeypatch, capsys):
    called = call_script(f"run_hw1 --resume {tmp_path} --seed 1 --num_workers 2 --do_dagger", monkeypatch, capsys)
    assert_refused(called, "--do_dagger", "--seed")  # also one of the default value
    assert_refused(call_script("run_hw1 --accept_changes", monkeypatch, capsys), "--resume")


def test_the_command_goes_on_with_accepted_changes(stopped, monkeypatch, capsys):
    command = f"run_hw1 --resume {stopped} --torch_threads 2"
    assert_refused(call_script(command, monkeypatch, capsys), "--torch_threads", "--accept_changes")
    assert call_script(f"{command} --accept_changes", monkeypatch, capsys)[0] == 0
    assert json.loads((stopped / "config.json").read_text())["config"]["torch_threads"] == 2


def test_a_run_goes_on_when_nobody_reads_its_output(tmp_path):
    flags = "--do_dagger --n_iter 3 --compile off --n_demos 1 --num_agent_train_steps_per_iter 20 --size 16"
    flags += f" --ep_len 60 --batch_size 100 --eval_episodes 2 --video_log_freq -1 --logdir {tmp_path / 'run'}"
    with command(*flags.split()) as process:
        assert process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
    assert (process.returncode, error.count("\n")) == (0, 1)
    assert error.startswith("note: ")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"


def test_resume_prints_where_it_continues(tmp_path, monkeypatch):
    stop_after(monkeypatch, tmp_path / "run", TINY, 5)
    with command("--resume", str(tmp_path / "run")) as process:
        output, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    (line,) = [line for line in output.splitlines() if str(tmp_path / "run") in line]
    assert "step 16 of iteration 1" in line
    assert "itr 3/3" in output
