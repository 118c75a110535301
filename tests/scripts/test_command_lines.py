"""The command lines of the scripts: help, results, mistakes, Ctrl-C, and the course's own command lines."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from calling import SCRIPTS, assert_refused, call_script
from course_files import GENERATIONS, RunsCode, expert_tree, write_demonstrations, write_pickle
from systems import needs_signals

from rl_il.datasets import load_trajectories
from rl_il.envs import make_env
from rl_il.policies.mlp_policy import MLPPolicySL

TINY = "--num_agent_train_steps_per_iter 20 --eval_episodes 2 --ep_len 40 --video_log_freq -1 --n_demos 2"


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Return a function that calls a script in an empty folder, and returns its status, stdout and stderr."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    return lambda command: call_script(command, monkeypatch, capsys)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_help_shows_examples_that_name_the_script(script):
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    examples = done.stdout.partition("examples:")[2]
    assert f"python scripts/{script.name}" in examples


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_every_script_answers_an_unknown_flag_in_one_line(script, monkeypatch, capsys):
    required = {
        "doctor": "FILE",
        "heads": "bird",
        "convert": "IN OUT --to csv",
        "report": "RUN",
        "diagnose": "--policy RUN",
        "train_expert": "--env_name Hopper-v5",
        "export": "--policy RUN --to clone.zip",
    }
    called = call_script(f"{script.stem} {required.get(script.stem, '')} --helpp", monkeypatch, capsys)
    assert_refused(called, script.name, "--helpp", " --help\n")


# Mistakes -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Return a folder of files with one fault each. If code in one of them runs, it writes the file `ran` there."""
    folder = tmp_path_factory.mktemp("files")
    ran = folder / "ran"
    for name, width in (("flat", 2), ("wide", 8)):
        np.savez(folder / f"{name}.npz", observations=np.zeros((300, width)), actions=np.arange(300) % 3)
    write_pickle(folder / "evil.pkl", [{"observation": RunsCode(ran)}])
    torch.save({"policy": RunsCode(ran)}, folder / "evil.pt")
    write_demonstrations(folder / "cheetah_demos.pkl")
    env = make_env("MountainCar-v0")
    MLPPolicySL.for_env(env, size=4).save(folder / "car.pt")
    (folder / "occupied").mkdir()
    (folder / "occupied/notes.txt").write_text("mine")
    return folder


SHORT_FOR = {
    "CAR": "--env_name MountainCar-v0",
    "TRAIN": "run_hw1 --env_name MountainCar-v0 --num_agent_train_steps_per_iter 5 --eval_episodes 1 --ep_len 5",
}
MISTAKES = {  # the command, and words that its message must have: the wrong flag, value or file
    # run_hw1: environments and flags (tests/test_config.py has the ranges of all)
    "run_hw1 --env_name LunarLandr-v3": "LunarLander-v3",
    "run_hw1 --n_iter two": "--n_iter 'two'",
    "run_hw1 --no_such_flag": "--no_such_flag",
    "run_hw1 --lerning_rate 3": "--lerning_rate --learning_rate",
    "run_hw1 --n_iter 0": "--n_iter 0",
    "TRAIN --logdir FILES/occupied": "--logdir occupied",
    "run_hw1 --env_name CarRacing-v3 --normalize_obs": "--normalize_obs",
    "run_hw1 --env_name CarRacing-v3 --frame_stack 65": "--history 65",
    "TRAIN --frame_stack 2 --colour": "--colour MountainCar-v0",
    "run_hw1 --env_name CartPole-v1 --do_dagger --n_iter 2": "CartPole-v1",
    # run_hw1: demonstrations and experts (tests/datasets, tests/experts and tests/runs have more faults)
    "TRAIN --expert_data FILES/nowhere.npz": "nowhere.npz",
    "TRAIN --expert_data FILES/wide.npz": "(8,) MountainCar-v0 (2,)",
    "TRAIN --expert_data FILES/evil.pkl": f"evil.pkl {os.name}.system",
    "TRAIN --expert_data FILES/cheetah_demos.pkl": "(17,) MountainCar-v0 (2,)",
    "TRAIN --expert_policy_file FILES/nowhere.pkl": "nowhere.pkl",
    "TRAIN --expert_policy_file FILES/evil.pt": "evil.pt",
    # evaluate and record_demos
    "evaluate --policy FILES/nowhere.pt": "nowhere.pt",
    "evaluate --policy random --episodes 0": "--episodes 0",
    "evaluate --policy random CAR --video film.avi": ".avi .gif",
    "evaluate --policy random CAR --episodes 1 --ep_len 5 --video FILES/flat.npz/film.gif": "film",
    "evaluate --all_experts --policy random": "--policy",
    "evaluate --all_experts --video film.gif": "--video",
    "evaluate --all_experts --json --markdown": "--json --markdown",
    "record_demos --env_name MountanCar-v0": "MountainCar-v0",
    "record_demos --env_name CartPole-v1": "CartPole-v1",
    "record_demos --table --n_demos 3": "--table --n_demos",
    "record_demos CAR --n_demos 0": "--n_demos 0",
    "record_demos CAR --n_demos 1 --ep_len 5 --out FILES/flat.npz/demos.npz": "demos.npz",
    "record_demos CAR --port 0": "--port --human",
    "record_demos CAR --human --policy random": "--human --policy",
    "record_demos CAR --human --out demos.txt": ".npz",
    "record_demos --human --env_name Ant-v5": "Ant-v5",
    "record_demos CAR --to minari": "--to --out",
    "record_demos CAR --to minari --out demos.npz": "demos.npz minari -v0",
    "record_demos CAR --to xlsx": "xlsx npz, minari, csv",
    "record_demos --table --to csv": "--table --to",
    # convert
    "convert FILES/flat.npz out.npz": "--to",
    "convert FILES/flat.npz out.npz --to xlsx": "xlsx npz, minari, csv",
    "convert FILES/flat.npz out.npz --to csv": "out.npz .csv",
    "convert FILES/flat.npz out.csv --to csv --actions all": "--actions all",
    "convert FILES/nowhere.npz out.csv --to csv": "nowhere.npz",
    "convert FILES/evil.pkl out.csv --to csv": f"evil.pkl {os.name}.system",
    "convert FILES/wide.npz out.csv --to csv CAR": "(8,) MountainCar-v0 (2,)",
    "convert FILES/flat.npz out.csv --to csv --split_every 7": "--split_every 7 300",
    "convert FILES/flat.npz out.csv --to csv --split_every 0": "--split_every 0",
    "convert FILES/flat.npz out.csv --to csv --keys position": "--keys position",
    "convert FILES/flat.npz out.csv --to csv --keys obs=position": "--keys observations",
    # teach
    "teach --env_name MountanCar-v0": "MountainCar-v0",
    "teach --env_name BipedalWalker-v3": "BipedalWalker-v3",
    "teach --env_name BipedalWalker-v3 --mode watch --teacher scripted": "--mode",
    "teach --env_name CartPole-v1 --teacher scripted": "CartPole-v1",
    "teach --teacher scripted --expert_policy_file FILES/nowhere.pt": "nowhere.pt",
    "teach --expert_policy_file FILES/car.pt": "--teacher",
    "teach --teacher human": "--teacher human",
    "teach --teacher scripted:1": "--teacher scripted:1",
    "teach --labels all": "--labels 'all'",
    "teach --approval_weight 1.5": "--approval_weight 1.5",
    "teach --updates_per_step -1": "--updates_per_step -1",
    "teach --publish_every 0": "--publish_every 0",
    "teach --eval_every 0": "--eval_every 0",
    "teach --port 70000": "--port 70000",
    "teach --port 1 --env_name BipedalWalker-v3 --mode watch --key_values ArrowUp=1": "--",
    "teach --env_name CarRacing-v3 --port 0 --key_values ArrowUp=fast": "ArrowUp=fast",
    "teach --host 0.0.0.0": "--host",
    "teach --loss mse --teacher scripted": "mse Categorical",
    "teach --resume FILES/nowhere": "nowhere",
    "teach --resume FILES/occupied": "occupied",
    "teach --resume FILES/nowhere --env_name LunarLander-v3": "--env_name",
    # demo and run_ablation
    "demo --n_iter 1 --out demo": "--n_iter",
    "demo --seeds one --out demo": "--seeds 'one'",
    "demo --out FILES/flat.npz/demo": "flat.npz/demo",
    "run_ablation": "--param --values",
    "run_ablation --param sise --values 1": "sise size",
    "run_ablation --param size --values 1 --shard 3/2": "--shard 3/2",
    "run_ablation --param size --values 1 --seeds 0": "--seeds 0",
    "run_ablation --param size --values 1 --ray_address auto": "--ray_address --launcher",
    "run_ablation --param size --values 8 --outdir FILES/flat.npz/out": "flat.npz/out",
}
if not torch.cuda.is_available():
    MISTAKES["run_hw1 --device cuda"] = "GPU"


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("command", "words"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_one_sentence_and_writes_nothing(files, call, command, words):
    before = tree_of(files)
    for short, long in (*SHORT_FOR.items(), ("FILES", str(files))):
        command = command.replace(short, long)
    assert_refused(call(command), *words.split())
    assert tree_of(files) == before and "ran" not in os.listdir(files)
    assert list(Path().iterdir()) == []


def test_a_mistake_in_a_process_of_its_own(tmp_path, files):
    command = [sys.executable, SCRIPTS / "evaluate.py", "--policy", files / "evil.pt", "--env_name", "MountainCar-v0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert_refused((done.returncode, done.stdout, done.stderr), "evil.pt")
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


# Results -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["", "--markdown"])
def test_evaluate_prints_the_same_numbers_as_a_table(call, flag):
    command = "evaluate --policy velocity_rule --env_name MountainCar-v0 --episodes 3"
    result = json.loads(call(f"{command} --json")[1])
    assert result["mean_episode_length"] == -result["mean"]  # every step costs 1
    lines = call(f"{command} {flag}")[1].splitlines()
    rows = {words[0]: words[-1] for words in (line.replace("|", " ").split() for line in lines)}
    for name in ("mean", "iqm", "min", "max", "mean_episode_length"):
        assert float(rows[name]) == pytest.approx(result[name], abs=0.005)
    assert (rows["policy"], rows["episodes"]) == ("velocity_rule", "3")


def test_json_stays_one_object_where_the_course_ant_is_padded(call, tmp_path):
    expert = write_pickle(tmp_path / "Ant.pkl", expert_tree(111, 8))
    status, out, err = call(f"evaluate --policy {expert} --env_name Ant-v4 --episodes 1 --ep_len 5 --json")
    assert status == 0
    assert json.loads(out)["mean_episode_length"] <= 5
    assert err.count("note: ") == 1


RESULT = dict.fromkeys("mean std min mean_episode_length ci95_low ci95_high".split(), 1.5)
RESULT |= {"env_name": "Ant-v5", "expert": "Ant-v5.npz", "episodes": 3}


@pytest.mark.parametrize(
    "flag, last_line",
    [
        ("", "Ant-v5 Ant-v5.npz 1.5 1.5 to 1.5 1.5 1.5 3 1.5"),
        ("--markdown", "| Ant-v5 | Ant-v5.npz | 1.5 | 1.5 to 1.5 | 1.5 | 1.5 | 3 | 1.5 |"),
        ("--json", json.dumps([RESULT])),
    ],
)
def test_evaluate_prints_a_table_of_all_experts(call, monkeypatch, flag, last_line):
    monkeypatch.setattr("rl_il.runs.evaluate.evaluate_experts", lambda episodes, *_: [RESULT] * (episodes == 3))
    status, out, _ = call(f"evaluate --all_experts --episodes 3 {flag}")
    assert status == 0
    assert re.sub(" +", " ", out.splitlines()[-1]) == last_line


def test_record_demos_describes_the_shipped_files(call):
    status, out, _ = call("record_demos --table")
    assert status == 0
    assert "`record_demos.py --env_name LunarLander-v3 --n_demos 100`" in out
    assert list(Path().iterdir()) == []


def test_record_demos_leaves_out_poor_episodes_and_its_file_can_be_trained_on(call):
    status, out, _ = call("record_demos --env_name MountainCar-v0 --n_demos 3 --min_return -119")
    assert status == 0
    returns = [trajectory.episode_return for trajectory in load_trajectories("MountainCar-v0.npz")]
    assert len(returns) == 3
    assert min(returns) >= -119
    thrown_away = json.loads(str(np.load("MountainCar-v0.npz")["meta"]))["thrown_away"]
    assert thrown_away > 0
    steps = int(-sum(returns))
    assert re.findall(r"\d+", out.splitlines()[0].partition(":")[2]) == ["3", str(steps), str(thrown_away)]
    status, out, _ = call(f"run_hw1 --env_name MountainCar-v0 --expert_data MountainCar-v0.npz {TINY} --logdir run")
    assert status == 0
    labels = json.loads(Path("run/summary.json").read_text())["expert_labels"]
    assert labels < steps  # two of the three


def test_recorded_csv_can_be_trained_on(call):
    assert call("record_demos --env_name MountainCar-v0 --n_demos 2 --to csv")[0] == 0
    status, _, _ = call(f"run_hw1 --env_name MountainCar-v0 --expert_data MountainCar-v0.csv {TINY} --logdir run")
    assert status == 0


def test_convert_passes_its_flags_on_and_says_what_it_wrote(call):
    np.savez("in.npz", joints=np.arange(12.0).reshape(6, 2), torques=[0, 1, 2, 0, 1, 2])
    flags = "--env_name MountainCar-v0 --keys obs=joints,actions=torques --split_every 3 --actions executed"
    status, out, _ = call(f"convert in.npz out.npz --to npz {flags}")
    assert status == 0
    assert out == "out.npz: 2 episodes, 6 steps\n"
    meta = json.loads(str(np.load("out.npz")["meta"]))
    assert meta == {"converted_from": "in.npz", "env_name": "MountainCar-v0", "actions": "executed"}
    assert [t.labels.tolist() for t in load_trajectories("out.npz")] == [[0, 1, 2]] * 2


def test_the_flags_of_demo_reach_the_runs(call, monkeypatch):
    calls = []
    monkeypatch.setattr("rl_il.studies.demo.run_demo", lambda *args: calls.append(args))
    assert call("demo --seeds 2 --n_iter 5 --train_steps 6 --eval_episodes 7 --num_workers 2 --out here")[0] == 0
    ((config, seeds, out),) = calls
    assert (list(seeds), out) == ([1, 2], Path("here"))
    assert (config.do_dagger, config.n_iter, config.num_agent_train_steps_per_iter) == (True, 5, 6)
    assert (config.eval_episodes, config.num_workers) == (7, 2)


def test_a_flag_without_effect_is_noted_once_and_the_run_goes_on(call):
    ignored = "--batch_size 10 --beta_decay 0.5 --n_layers 0 --size 8 --which_gpu 1"
    status, _, err = call(f"run_hw1 --env_name MountainCar-v0 {ignored} {TINY} --logdir run")
    assert status == 0
    flags = [line.split()[1] for line in err.splitlines() if line.startswith("note: ")]
    assert sorted(flags) == ["--batch_size", "--beta_decay", "--size", "--which_gpu"]
    assert json.loads(Path("run/summary.json").read_text())["status"] == "finished"
    status, out, err = call("run_hw1 --resume run")
    assert (status, out.count("\n"), err) == (0, 1, "")


# The course's command lines -------------------------------------------------------------------------------


@pytest.fixture(params=GENERATIONS, ids=str)
def course(request, call):
    """Put the course's files where its README expects them, and return `call`."""
    for folder in ("cs285/policies/experts", "cs285/expert_data"):
        Path(folder).mkdir(parents=True)
    write_pickle(Path("cs285/policies/experts/Ant.pkl"), expert_tree(111, 8), GENERATIONS[request.param])
    write_demonstrations(
        Path("cs285/expert_data/expert_data_Ant-v4.pkl"), request.param, lengths=(50, 50), ob_dim=27, ac_dim=8
    )
    return call


def test_the_courses_cloning_command_runs_unchanged(course):
    status, out, _ = course(
        "run_hw1 --expert_policy_file cs285/policies/experts/Ant.pkl --env_name Ant-v4 --exp_name bc_ant --n_iter 1"
        " --expert_data cs285/expert_data/expert_data_Ant-v4.pkl --video_log_freq -1"
    )
    assert status == 0
    (folder,) = Path("data").iterdir()
    assert folder.name.startswith("q1_bc_ant_Ant-v4_")
    assert str(folder) in out
    assert json.loads((folder / "summary.json").read_text())["expert_labels"] == 100


def test_the_courses_dagger_command_runs_with_short_flags(course):
    status, _, _ = course(
        "run_hw1 -epf cs285/policies/experts/Ant.pkl -env Ant-v4 -exp dagger_ant -n 2 --do_dagger"
        " -ed cs285/expert_data/expert_data_Ant-v4.pkl --video_log_freq -1 -ngpu -lr 1e-3 --which_gpu 0 --save_params"
        " --num_agent_train_steps_per_iter 30 --batch_size 50 --eval_batch_size 100 --ep_len 50 --train_batch_size 64"
        " --n_layers 1 --size 32 --scalar_log_freq 1 --max_replay_buffer_size 1000000 --seed 2"
    )
    assert status == 0
    (folder,) = Path("data").iterdir()
    assert folder.name.startswith("q2_dagger_ant_Ant-v4_")
    config = json.loads((folder / "config.json").read_text())["config"]
    assert (config["learning_rate"], config["no_gpu"], config["n_layers"], config["seed"]) == (1e-3, True, 1, 2)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["eval_episodes"] == 2
    assert summary["expert_labels"] >= 150


# Ctrl-C ---------------------------------------------------------------------------------------------------


@needs_signals
def test_ctrl_c_leaves_no_process(tmp_path):
    flags = f"--do_dagger --n_iter 5000 --compile off --num_workers 2 {TINY} --logdir {tmp_path / 'run'}"
    command = [sys.executable, str(SCRIPTS / "run_hw1.py"), *shlex.split(flags)]
    # Its own session: all of its processes get the signal, as from a terminal.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            assert any(line.startswith("itr    1/4999") for line in process.stdout)
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)  # returns when no process has the pipes open
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert err.count("\n") == 1 and f"--resume {tmp_path / 'run'}" in err
