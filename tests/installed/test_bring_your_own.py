"""The main README's own environment, expert, network, rule and data, in a folder of their own, with every command."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from test_readme import OWN

from rl_il.datasets import load_trajectories

pytestmark = pytest.mark.wheel
ENV = "--env_name my_env:Reach-v0"
EXPERT = "--expert_policy_file my_env:pilot"
MINE = f"{ENV} {EXPERT} --expert_data my_data:load --policy_class my_net:ResidualPolicy"
SHORT = "--num_agent_train_steps_per_iter 300 --eval_episodes 5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a working folder with the files of the main README."""
    folder = tmp_path_factory.mktemp("mine")
    for name, code in OWN.items():
        (folder / name).write_text(code, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def call(installed, folder):
    """Return a function that calls `rl-il` in the working folder, and returns what it prints on stdout."""
    return lambda command: installed.call("rl-il", *command.split(), cwd=folder).stdout


@pytest.fixture(scope="module")
def run_folder(call, folder):
    """Return the folder of a DAgger run with everything of one's own, in two worker processes."""
    call(f"run {MINE} {SHORT} --do_dagger --n_iter 3 --rule my_rule:AskWhenFar --num_workers 2 --logdir run")
    return folder / "run"


def summary_of(run_folder):
    return json.loads((run_folder / "summary.json").read_text(encoding="utf-8"))


def expert_return(folder, episodes):
    """Return the mean return of the README's expert, rolled out here without any of our commands."""
    sys.path.insert(0, str(folder))
    from my_env import Reach, pilot

    env, returns = Reach(), []
    for seed in range(episodes):
        ob, total = env.reset(seed=seed)[0], 0.0
        for _ in range(100):
            ob, reward, *_ = env.step(pilot(ob))
            total += reward
        returns.append(total)
    return float(np.mean(returns))


def test_the_run_clones_the_expert_and_asks_less(run_folder, folder):
    summary = summary_of(run_folder)
    assert summary["expert_return_mean"] == pytest.approx(expert_return(folder, 200), abs=4)
    assert summary["eval_return_mean"] == pytest.approx(summary["expert_return_mean"], abs=1)
    assert 1000 < summary["expert_labels"] < 1000 + summary["env_steps"]  # the rule labels some of the states
    config = json.loads((run_folder / "config.json").read_text(encoding="utf-8"))["config"]
    assert (config["env_name"], config["rule"]) == ("my_env:Reach-v0", "my_rule:AskWhenFar")


def test_it_is_resumed_with_the_same_result(call, run_folder):
    before = summary_of(run_folder)
    (run_folder / "summary.json").unlink()
    call("run --resume run --num_workers 1 --accept_changes")  # the checkpoint of a finished run is gone
    after = summary_of(run_folder)
    assert {**after, "wall_seconds": 0} == {**before, "wall_seconds": 0}


def test_it_is_evaluated_in_its_own_environment(call, run_folder):
    one, two = (json.loads(call(f"evaluate --policy run --episodes 6 --json --num_workers {n}")) for n in (1, 2))
    assert one == two and one["env_name"] == "my_env:Reach-v0"
    expert = json.loads(call(f"evaluate --policy my_env:pilot {ENV} --episodes 6 --json"))
    assert one["mean"] == pytest.approx(expert["mean"], abs=1)


def test_the_expert_is_recorded(call, folder):
    call(f"record {ENV} --policy my_env:pilot --n_demos 3 --num_workers 2 --out demos.npz")
    recorded = load_trajectories(folder / "demos.npz")
    assert [len(trajectory) for trajectory in recorded] == [100] * 3
    for trajectory in recorded:
        positions, velocities = trajectory.obs[:-1].T
        np.testing.assert_array_equal(trajectory.labels, 1 + np.sign(-positions - velocities))


def test_it_is_diagnosed(call, run_folder, folder):
    table = call("diagnose --policy run/policy_itr_0.pt run --episodes 4 --num_workers 2 --out diagnosis")
    assert "DAgger, iteration 2" in table
    assert {"drift.png", "losses.md"} <= {path.name for path in (folder / "diagnosis").iterdir()}


def test_it_is_taught_by_its_expert(call, folder):
    call(f"teach {ENV} --teacher scripted {EXPERT} --episodes 2 --eval_every -1 --logdir taught")
    assert len(load_trajectories(folder / "taught")) == 2


def test_an_ablation_runs_in_processes_of_its_own(call):
    flags = f"{MINE} {SHORT} --param n_demos --values 1 5 --seeds 2 --processes 2 --outdir ablation"
    table = call(f"ablate {flags}")
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")][2:] == ["1", "5"]


def test_a_wrong_name_is_refused_in_a_sentence(installed, folder):
    for flags in (
        "--rule my_rule:Ask --do_dagger --n_iter 2",
        "--policy_class my_net:Residal",
        "--expert_data my_data:lod",
    ):
        done = installed.call("rl-il", "run", *f"{MINE} {flags}".split(), cwd=folder, status=2)
        assert "error: " in done.stderr and "Traceback" not in done.stderr
