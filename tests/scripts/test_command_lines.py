"""The scripts as a user meets them: help, results, mistakes, Ctrl-C, and the course's own command lines."""

import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from course_files import GENERATIONS, RunsCode, expert_tree, write_demonstrations, write_pickle

from rl_il.datasets import load_trajectories
from rl_il.envs import make_env
from rl_il.policies.mlp_policy import MLPPolicySL

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = "--num_agent_train_steps_per_iter 20 --eval_episodes 2 --ep_len 40 --video_log_freq -1 --n_demos 2"


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Calls a script in this process, in a folder of its own: `call("run_hw1 --n_iter 2")` -> status, out, err."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("rl_il.run_folder.REPOSITORY", tmp_path / "work")

    def run(command: str) -> tuple[int, str, str]:
        script, *args = shlex.split(command)
        path = str(SCRIPTS / f"{script}.py")
        monkeypatch.setattr(sys, "argv", [path, *args])
        status = 0
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_help_shows_examples_that_name_the_script(script):
    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    examples = done.stdout.partition("examples:")[2]
    assert f"python scripts/{script.name}" in examples


# Mistakes -------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path) -> Path:
    """A folder of files with one fault each."""
    folder = tmp_path / "files"
    folder.mkdir()
    rng = np.random.default_rng(0)
    car = {"observations": rng.uniform(-0.1, 0.1, (300, 2)), "actions": rng.integers(0, 3, 300)}
    np.savez_compressed(folder / "flat.npz", **car)
    whole = (folder / "flat.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped.npz").write_bytes(bytes(255 - b if 200 < i < 260 else b for i, b in enumerate(whole)))
    (folder / "text.npz").write_text("these are not arrays\n")
    for suffix in ("npz", "pt", "pkl"):
        (folder / f"empty.{suffix}").write_bytes(b"")
    (folder / "text.pt").write_text("these are not weights\n")
    (folder / "text.pkl").write_text("this is not a pickle\n")
    faults = {
        "nan": car | {"observations": np.where(np.arange(300)[:, None] == 3, np.nan, car["observations"])},
        "infinite": car | {"observations": np.where(np.arange(300)[:, None] == 4, np.inf, car["observations"])},
        "wide": car | {"observations": np.zeros((300, 8))},
        "labels": car | {"actions": car["actions"] + 1},
        "lengths": car | {"actions": car["actions"][:-1]},
        "keys": {"obs": car["observations"], "acs": car["actions"]},
        "objects": car | {"actions": np.array([RunsCode(tmp_path / "ran")] * 300, object)},
    }
    for name, arrays in faults.items():
        np.savez(folder / f"{name}.npz", **arrays)
    write_pickle(folder / "evil.pkl", [{"observation": RunsCode(tmp_path / "ran")}])
    torch.save({"policy": RunsCode(tmp_path / "ran")}, folder / "evil.pt")
    write_pickle(folder / "cheetah.pkl", expert_tree())
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
MISTAKES = {
    # run_hw1: environments and flags
    "run_hw1 --env_name LunarLandr-v3": "LunarLander-v3",
    "run_hw1 --n_iter 3": "--do_dagger",
    "run_hw1 --do_dagger": "--n_iter > 1",
    "run_hw1 --do_dagger --n_iter 1": "--n_iter > 1",
    "run_hw1 --n_iter two": "invalid int value",
    "run_hw1 --learning_rate fast": "invalid float value",
    "run_hw1 --loss huber": "invalid choice",
    "run_hw1 --no_such_flag": "unrecognized arguments",
    "run_hw1 --train_batch_size 0": "--train_batch_size must be above 0",
    "record_demos --table --n_demos 3": "--table describes the shipped files alone; drop --n_demos",
    "run_hw1 --num_workers -2": "must be 1 or more, got -2",
    "run_hw1 --seed -1": "--seed must be 0 or more",
    "run_hw1 --val_fraction 1": "--val_fraction",
    "run_hw1 --video_log_freq 0": "--video_log_freq",
    "run_hw1 --device cuda --no_gpu": "contradict",
    "run_hw1 --loss mse": "discrete",
    "TRAIN --logdir FILES/occupied": "must be new or empty",
    "TRAIN --logdir FILES/flat.npz": "must be new or empty",
    "TRAIN --logdir FILES/flat.npz/below": "cannot be made",
    "TRAIN --n_demos 1000": "holds 100 episodes",
    "TRAIN --n_demos 1 --expert_data FILES/flat.npz": "does not say where episodes end",
    "run_hw1 --env_name CartPole-v1": "no demonstrations are shipped",
    "run_hw1 --env_name CarRacing-v3 --normalize_obs": "pixels are always divided by 255",
    "run_hw1 --env_name CarRacing-v3 --frame_stack 65": "--frame_stack must be 1 to 64, got 65",
    "TRAIN --frame_stack 2 --colour": "--frame_stack, --colour: MountainCar-v0 shows no pictures",
    "TRAIN --augment shift": "shows no pictures",
    "TRAIN --augment shift,mirror": "there is no 'mirror'",
    "TRAIN --beta_decay 2": "--beta_decay must be 0 to 1",
    "TRAIN --vec_env envpool --beta_decay 0.5": "the expert cannot act in it",
    "run_hw1 --env_name CartPole-v1 --do_dagger --n_iter 2": "no expert is shipped",
    # run_hw1: demonstrations
    "TRAIN --expert_data FILES/nowhere.npz": "nowhere.npz: no such file",
    "TRAIN --expert_data FILES/occupied": "occupied",
    "TRAIN --expert_data FILES/occupied/notes.txt": "unknown demonstration format",
    "TRAIN --expert_data FILES/cut.npz": "cut.npz: is not a readable .npz file",
    "TRAIN --expert_data FILES/flipped.npz": "flipped.npz: is not a readable .npz file",
    "TRAIN --expert_data FILES/text.npz": "text.npz: is not a readable .npz file",
    "TRAIN --expert_data FILES/empty.npz": "empty.npz: is not a readable .npz file",
    "TRAIN --expert_data FILES/empty.pkl": "empty.pkl: is not a readable pickle",
    "TRAIN --expert_data FILES/text.pkl": "text.pkl: is not a readable pickle",
    "TRAIN --expert_data FILES/nan.npz": "NaN or infinity (first in row 3 of",
    "TRAIN --expert_data FILES/infinite.npz": "NaN or infinity (first in row 4 of",
    "TRAIN --expert_data FILES/wide.npz": "observation has the shape (8,), but MountainCar-v0 observes (2,)",
    "TRAIN --expert_data FILES/labels.npz": "integers in [0, 3)",
    "TRAIN --expert_data FILES/lengths.npz": "observations has 300 rows, actions has 299",
    "TRAIN --expert_data FILES/keys.npz": "it holds acs, obs",
    "TRAIN --expert_data FILES/objects.npz": "objects.npz: holds objects in 'actions.npy', which are not unpickled",
    "TRAIN --expert_data FILES/evil.pkl": "posix.system",
    "TRAIN --expert_data FILES/cheetah.pkl": "is it an expert's file?",
    "TRAIN --expert_data FILES/cheetah_demos.pkl": "(17,), but MountainCar-v0 observes (2,)",
    # run_hw1: experts
    "TRAIN --expert_policy_file FILES/nowhere.pkl": "nowhere.pkl: no such file",
    "TRAIN --expert_policy_file FILES/flat.npz": "flat.npz: has no JSON object under 'meta'",
    "TRAIN --expert_policy_file FILES/flipped.npz": "flipped.npz: is not a readable .npz file",
    "TRAIN --expert_policy_file FILES/text.pt": "text.pt: is ",
    "TRAIN --expert_policy_file FILES/empty.pt": "empty.pt: is ",
    "TRAIN --expert_policy_file FILES/evil.pt": "evil.pt: asks for posix.system",
    "TRAIN --expert_policy_file FILES/evil.pkl": "posix.system",
    "TRAIN --expert_policy_file FILES/cheetah.pkl": "(17,), but MountainCar-v0 observes (2,)",
    "TRAIN --expert_policy_file FILES/cheetah_demos.pkl": "is not an expert of the course",
    # the others
    "evaluate --env_name MountanCar-v0": "MountainCar-v0",
    "evaluate --policy FILES/nowhere.pt": "nowhere.pt: no such file",
    "evaluate --policy FILES/occupied": "holds no policy_itr_*.pt",
    "evaluate --policy FILES/car.pt --env_name LunarLander-v3": "(2,), but LunarLander-v3 observes (8,)",
    "evaluate --policy FILES/evil.pkl CAR": "posix.system",
    "evaluate --policy random --episodes 0": "must be 1 or more",
    "evaluate --policy random CAR --episodes 1 --seed -1": "seed",
    "evaluate --policy random CAR --video film": "must end in .gif or .mp4, got none",
    "evaluate --policy random CAR --video film.avi": "must end in .gif or .mp4, got .avi",
    "evaluate --policy random CAR --episodes 1 --ep_len 5 --video FILES/flat.npz/film.gif": "film",
    "evaluate --all_experts --policy random": "drop --policy",
    "evaluate --all_experts --video film.gif": "--video",
    "evaluate --all_experts --json --markdown": "not allowed with",
    "record_demos --env_name MountanCar-v0": "MountainCar-v0",
    "record_demos --env_name CartPole-v1": "no expert is shipped",
    "record_demos CAR --n_demos 0": "must be 1 or more",
    "record_demos CAR --n_demos 1 --seed -1": "seed",
    "record_demos CAR --n_demos 1 --min_return 0": "only 0 of 20 episodes reach it",
    "record_demos CAR --n_demos 1 --ep_len 5 --out demos.txt": "demos.txt",
    "record_demos CAR --n_demos 1 --ep_len 5 --out FILES/flat.npz/demos.npz": "demos.npz",
    # teach, and demonstrations by hand
    "teach --env_name MountanCar-v0": "MountainCar-v0",
    "teach --env_name BipedalWalker-v3": "has no keys",
    "teach --env_name BipedalWalker-v3 --mode watch --teacher scripted": "drop --mode watch",
    "teach --env_name CartPole-v1 --teacher scripted": "no expert is shipped",
    "teach --teacher scripted --expert_policy_file FILES/nowhere.pt": "nowhere.pt: no such file",
    "teach --expert_policy_file FILES/car.pt": "--teacher scripted",
    "teach --teacher human": "must be scripted, or scripted:NOISE",
    "teach --teacher scripted:1": "must be scripted, or scripted:NOISE",
    "teach --teacher scripted:nan": "must be scripted, or scripted:NOISE",
    "teach --labels all": "invalid choice",
    "teach --approval_weight 1.5": "--approval_weight must be between 0 and 1",
    "teach --approval_weight nan": "--approval_weight must be between 0 and 1",
    "teach --updates_per_step -1": "--updates_per_step must be 0 or more",
    "teach --publish_every 0": "--publish_every must be above 0",
    "teach --eval_every 0": "--eval_every must be -1 (never) or above 0",
    "teach --port 70000": "--port must be between 0 and 65535",
    "teach --port 1 --env_name BipedalWalker-v3 --mode watch --key_values ArrowUp=1": "--",
    "teach --env_name CarRacing-v3 --port 0 --key_values ArrowUp=fast": "must be KEY=NUMBER",
    "teach --host 0.0.0.0": "unrecognized arguments",
    "teach --loss mse --teacher scripted": "discrete",
    "teach --resume FILES/nowhere": "is FILES/nowhere the folder of a teaching run?",
    "teach --resume FILES/occupied": "the folder of a teaching run?",
    "teach --resume FILES/nowhere --env_name LunarLander-v3": "drop --env_name",
    "record_demos CAR --human --policy random": "you act yourself; drop --policy",
    "record_demos CAR --human --out demos.txt": "must end in .npz",
    "record_demos CAR --human --local": "there is no display here",
    "record_demos CAR --local": "--local and --port are for --human",
    "record_demos --human --env_name Hopper-v5": "has no keys",
    "demo --n_iter 1 --out demo": "--n_iter > 1",
    "demo --env_name LunarLandr-v3 --out demo": "LunarLander-v3",
    "demo --env_name CarRacing-v3 --eval_episodes 1 --out demo": "holds 3 episodes",
    "demo --seeds one --out demo": "invalid positive_integer value",
    "demo --seeds -1 --out demo": "must be 1 or more",
    "demo --out FILES/flat.npz/demo": "cannot be made",
}
if not torch.cuda.is_available():
    MISTAKES["run_hw1 --device cuda"] = "torch finds no GPU"


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(("command", "sentence_part"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_ends_with_one_sentence_and_status_2_and_nothing_is_written(
    tmp_path, files, call, command, sentence_part
):
    before = tree_of(tmp_path)
    sentence_part = sentence_part.replace("FILES", str(files))
    for short, long in SHORT_FOR.items() | {("FILES", str(files))}:
        command = command.replace(short, long)
    status, _, err = call(command)
    assert status == 2
    assert sentence_part in err
    usage, _, sentence = err.rpartition("error: ")
    assert sentence.count("\n") == 1
    lines = usage.splitlines()[:-1]  # the last one is the sentence's own beginning
    assert all(line.startswith(("usage: ", " ")) for line in lines)
    assert "Traceback" not in err
    assert tree_of(tmp_path) == before
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "command",
    [
        "run_hw1.py --env_name LunarLandr-v3",
        "run_hw1.py --env_name MountainCar-v0 --expert_data FILES/evil.pkl",
        "evaluate.py --policy FILES/evil.pt --env_name MountainCar-v0",
    ],
)
def test_a_mistake_in_a_process_of_its_own(tmp_path, files, command):
    command = shlex.split(command.replace("FILES", str(files)))
    before = tree_of(tmp_path)
    done = subprocess.run(
        [sys.executable, SCRIPTS / command[0], *command[1:]], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert tree_of(tmp_path) == before


# What they do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["expert", "random", "velocity_rule", "FILES/car.pt"])
def test_evaluate_prints_one_json_object(call, files, policy):
    policy = policy.replace("FILES", str(files))
    status, out, _ = call(f"evaluate --policy {policy} --env_name MountainCar-v0 --episodes 4 --json")
    assert status == 0
    result = json.loads(out)
    assert out.count("\n") == 1
    keys = {"mean", "std", "iqm", "ci95_low", "ci95_high", "min", "max", "mean_episode_length", "episodes"}
    assert keys <= result.keys()
    assert result["min"] <= result["ci95_low"] <= result["mean"] <= result["ci95_high"] <= result["max"]
    assert result["mean_episode_length"] == -result["mean"]  # every step costs 1
    assert result["episodes"] == 4


def test_evaluate_prints_the_same_numbers_as_a_table(call):
    command = "evaluate --policy velocity_rule --env_name MountainCar-v0 --episodes 3"
    result = json.loads(call(f"{command} --json")[1])
    rows = dict(line.split(maxsplit=1) for line in call(command)[1].splitlines())
    assert rows.keys() == result.keys()
    assert float(rows["mean"]) == pytest.approx(result["mean"], abs=0.005)


def test_a_single_episode_has_no_interval_and_json_says_null(call):
    result = json.loads(call("evaluate --policy random --env_name MountainCar-v0 --episodes 1 --ep_len 5 --json")[1])
    assert (result["mean"], result["std"], result["ci95_low"]) == (-5, 0, None)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_json_stays_one_object_where_the_courses_ant_expert_is_padded_with_a_note(call, tmp_path, generation):
    expert = write_pickle(tmp_path / "Ant.pkl", expert_tree(111, 8), GENERATIONS[generation])
    status, out, err = call(f"evaluate --policy {expert} --env_name Ant-v4 --episodes 1 --ep_len 5 --json")
    assert status == 0
    assert json.loads(out)["mean_episode_length"] <= 5
    assert "padded" in err


def test_evaluate_writes_a_gif(call):
    status, out, _ = call("evaluate --env_name MountainCar-v0 --episodes 1 --ep_len 20 --video film.gif")
    assert status == 0
    assert Path("film.gif").read_bytes()[:6] == b"GIF89a"
    assert "film.gif" in out


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
    monkeypatch.setattr("rl_il.evaluation.evaluate_experts", lambda episodes, *_: [RESULT] * (episodes == 3))
    status, out, _ = call(f"evaluate --all_experts --episodes 3 {flag}")
    assert status == 0
    assert re.sub(" +", " ", out.splitlines()[-1]) == last_line


def test_evaluate_prints_a_markdown_table(call):
    command = "evaluate --policy velocity_rule --env_name MountainCar-v0 --episodes 3 --markdown"
    header, rule, *rows = [line.strip("|").split("|") for line in call(command)[1].splitlines()]
    assert [cell.strip() for cell in header] == ["", "value"]
    assert set("".join(rule)) == {"-", ":"}
    assert ["env_name", "MountainCar-v0"] in [[cell.strip() for cell in row] for row in rows]


def test_record_demos_describes_the_shipped_files_and_records_nothing(call):
    status, out, _ = call("record_demos --table")
    assert status == 0
    assert "`record_demos.py --env_name LunarLander-v3 --n_demos 100`" in out
    assert list(Path().iterdir()) == []


def test_record_demos_says_how_many_were_thrown_away_and_the_file_trains(call):
    record = "record_demos --env_name MountainCar-v0 --n_demos 3 --min_return -119"
    status, out, _ = call(f"{record} --out mine.npz")
    assert status == 0
    returns = [trajectory.episode_return for trajectory in load_trajectories("mine.npz")]
    assert len(returns) == 3
    assert min(returns) >= -119
    thrown_away = json.loads(str(np.load("mine.npz")["meta"]))["thrown_away"]
    assert thrown_away > 0
    steps = int(-sum(returns))
    assert out.splitlines()[0] == f"mine.npz: 3 episodes, {steps} steps; {thrown_away} thrown away"
    status, out, _ = call(f"run_hw1 --env_name MountainCar-v0 --expert_data mine.npz {TINY} --logdir run")
    assert status == 0
    labels = json.loads(Path("run/summary.json").read_text())["expert_labels"]
    assert labels < steps  # two of the three


def test_record_demos_names_the_file_after_the_environment(call):
    call("record_demos --env_name MountainCar-v0 --n_demos 1")
    assert [path.name for path in Path().iterdir()] == ["MountainCar-v0.npz"]


def test_run_hw1_writes_its_command_line(call):
    command = f"run_hw1 --env_name MountainCar-v0 {TINY} --logdir run"
    assert call(command)[0] == 0
    words = json.loads(Path("run/config.json").read_text())["command_line"]
    assert words[0] == "python"
    assert words[1].endswith("run_hw1.py")
    assert words[2:] == shlex.split(command)[1:]


def test_demo_passes_its_flags_on(call, monkeypatch):
    calls = []
    monkeypatch.setattr("rl_il.demo.run_demo", lambda *args: calls.append(args))
    assert call("demo --seeds 2 --n_iter 5 --train_steps 6 --eval_episodes 7 --num_workers 2 --out here")[0] == 0
    ((config, seeds, out),) = calls
    assert (list(seeds), out) == ([1, 2], Path("here"))
    assert (config.do_dagger, config.n_iter, config.num_agent_train_steps_per_iter) == (True, 5, 6)
    assert (config.eval_episodes, config.num_workers) == (7, 2)


# The course's command lines -------------------------------------------------------------------------------


@pytest.fixture(params=GENERATIONS, ids=str)
def course(request, call):
    """The working folder holds the course's files where its README has them."""
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


def living_processes(session: int) -> list[str]:
    """The command lines of a session's processes; one that has ended has none."""
    commands = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                commands.append((folder / "cmdline").read_text())
        except OSError:  # it ended meanwhile
            continue
    return list(filter(None, commands))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize("vec_env", ["gymnasium", "batched"])
def test_ctrl_c_keeps_the_policy_and_leaves_no_process_behind(tmp_path, call, vec_env):
    flags = f"--do_dagger --n_iter 5000 --compile off --num_workers 2 --vec_env {vec_env} {TINY}"
    flags += f" --logdir {tmp_path / 'run'}"
    command = [sys.executable, str(SCRIPTS / "run_hw1.py"), *shlex.split(flags)]
    # A session of its own, whose every process gets the signal, as from a terminal.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            assert any(line.startswith("itr    0/4999") for line in process.stdout)
            assert sum("spawn_main" in line for line in living_processes(process.pid)) == 2
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert err == f"interrupted; to go on: python scripts/run_hw1.py --resume {tmp_path / 'run'}\n"
    assert living_processes(process.pid) == []
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "interrupted"
    status, out, _ = call(f"evaluate --policy {tmp_path / 'run'} --episodes 1 --ep_len 20 --json")
    assert status == 0
    assert json.loads(out)["episodes"] == 1
