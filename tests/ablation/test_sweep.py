"""Ablations of small runs: one training for several lengths, going on after a stop, and what is written."""

import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rl_il.ablation import sweep
from rl_il.ablation.estimate import estimate
from rl_il.ablation.grid import Ablation
from rl_il.ablation.jobs import Reference, Training, trainings, with_one_compile
from rl_il.ablation.sweep import FILES, run_ablation
from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.evaluation import evaluate
from rl_il.experiment import run
from rl_il.files import REPOSITORY
from rl_il.infrastructure.checkpoint import lock_folder
from rl_il.report.runs import read_run

BASE = RunConfig(n_demos=2, num_agent_train_steps_per_iter=30, size=16, eval_episodes=3, ep_len=60, video_log_freq=-1)
SIZES = Ablation(BASE, {"size": [8, 16]}, n_seeds=2)
LENGTHS = Ablation(BASE, {"num_agent_train_steps_per_iter": [20, 60, 130]}, n_seeds=2)


def contents(outdir: Path) -> dict[str, bytes]:
    return {name: (outdir / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    outdir = tmp_path_factory.mktemp("sizes")
    return outdir, run_ablation(SIZES, outdir, processes=2, verbose=False)


# Which runs are one training --------------------------------------------------------------------------------


def test_clonings_that_differ_in_length_alone_are_one_training():
    grid = Ablation(BASE, {"size": [8, 16], "num_agent_train_steps_per_iter": [60, 20]}, n_seeds=3)
    jobs = trainings(grid.configs())
    assert len(jobs) == 6
    for job in jobs:
        assert [config.num_agent_train_steps_per_iter for config in job.configs] == [20, 60]
        assert len({(config.size, config.seed) for config in job.configs}) == 1


def test_dagger_runs_share_nothing():
    dagger = replace(BASE, do_dagger=True, n_iter=2)
    assert len(trainings(Ablation(dagger, {"num_agent_train_steps_per_iter": [20, 60]}, 1).configs())) == 2


def test_if_the_longest_is_compiled_all_are():
    lengths = {"num_agent_train_steps_per_iter": [500, 40_000]}
    assert {c.compile for c in with_one_compile(Ablation(BASE, lengths, 1).configs())} == {"on"}
    assert {c.compile for c in with_one_compile(LENGTHS.configs())} == {"auto"}
    off = Ablation(replace(BASE, compile="off"), lengths, 1)
    assert {c.compile for c in with_one_compile(off.configs())} == {"off"}


# What is written --------------------------------------------------------------------------------------------


def test_there_is_a_row_for_each_run(sizes):
    outdir, outcome = sizes
    with (outdir / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["size"], row["seed"]) for row in rows] == [("8", "1"), ("8", "2"), ("16", "1"), ("16", "2")]
    for row in rows:
        record = read_run(outdir / row["folder"])
        assert float(row["eval_return_mean"]) == record.summary["eval_return_mean"]
        assert float(row["expert_return_mean"]) == record.expert_returns.mean()
        assert int(row["expert_labels"]) == record.summary["expert_labels"]
    assert (outcome.failures, outcome.missing) == ({}, 0)


def test_the_tables_numbers_are_those_of_the_episodes(sizes):
    outdir, outcome = sizes
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in outcome.table.splitlines()]
    for size, row in zip(("8", "16"), rows, strict=True):
        cells = dict(zip(header, row, strict=True))
        returns = [read_run(outdir / f"runs/size={size}/seed_{seed}").returns[0] for seed in (1, 2)]
        means = [r.mean() for r in returns]
        assert cells["size"] == size
        assert cells["episodes"] == "6"
        assert cells["mean return"] == f"{np.mean(returns):.1f}"
        assert cells["std over episodes"] == f"{np.std(returns):.1f}"
        assert cells["std over seeds"] == f"{np.std(means, ddof=1):.1f}"
        assert cells["seed means, least to most"] == f"{min(means):.1f} to {max(means):.1f}"


def test_the_caption_says_what_was_compared(sizes):
    caption = (sizes[0] / "table.md").read_text().splitlines()[-1]
    for words in ("LunarLander-v3", "behavioural cloning", "varied: size", "2 seeds, 3 fresh episodes each"):
        assert words in caption
    for words in ("training length 30", "minibatch 100", "learning rate 0.005", "data: 2 demonstrated episodes"):
        assert words in caption
    assert (
        caption in (sizes[0] / "figure.svg").read_text().replace("\n", " ")
        or "varied: size" in (sizes[0] / "figure.svg").read_text()
    )


def test_the_latex_table_has_the_same_cells(sizes):
    outdir, outcome = sizes
    latex = (outdir / "table.tex").read_text()
    assert latex.startswith(r"\begin{tabular}{lrrrrrrrrr}")
    for row in outcome.table.splitlines()[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert " & ".join(cells) + r" \\" in latex


def test_the_figure_has_the_expert_and_the_random_policy(sizes):
    svg = (sizes[0] / "figure.svg").read_text()
    assert re.search(r"expert, measured now \(", svg)
    assert re.search(r"random policy \(", svg)


def test_words_are_positions_of_their_own(tmp_path):
    run_ablation(Ablation(BASE, {"activation": ["tanh", "relu"]}, 1), tmp_path, verbose=False)
    svg = (tmp_path / "figure.svg").read_text()
    assert ">tanh<" in svg and ">relu<" in svg


def test_across_environments_the_figure_goes_from_random_to_expert(tmp_path):
    ablation = Ablation(BASE, {"env_name": ["LunarLander-v3", "LunarLanderContinuous-v3"]}, 1)
    outcome = run_ablation(ablation, tmp_path, verbose=False)
    assert "from 0 (random policy) to 1 (expert)" in (tmp_path / "figure.svg").read_text()
    assert len(outcome.table.splitlines()) == 4


def test_references_are_the_expert_and_the_random_policy_on_the_runs_own_episodes(tmp_path):
    (tmp_path / "x").mkdir()
    config = replace(BASE, seed=5)
    assert list(Reference(config).run(tmp_path)) == [None]
    measured = Reference(config).read(tmp_path)
    assert len(measured["expert"][0]) == 10  # at least
    assert measured["random"][0].mean() == evaluate("random", BASE.env_name, 3, seed=5, ep_len=60)["mean"]
    alone = run(replace(config, logdir=str(tmp_path / "run")), verbose=False)
    np.testing.assert_array_equal(measured["expert"][0], alone.expert_returns)


def test_references_differ_by_what_decides_them():
    folder = Reference(BASE).folder
    for other in (
        {"seed": 2},
        {"eval_episodes": 4},
        {"ep_len": 50},
        {"expert_policy_file": "x.npz"},
        {"env_name": "a/b"},
    ):
        assert Reference(replace(BASE, **other)).folder != folder
    assert Reference(replace(BASE, size=8, learning_rate=1e-4)).folder == folder


# Going on after a stop --------------------------------------------------------------------------------------


def test_only_what_is_missing_is_run_again(sizes, tmp_path):
    outdir, _ = sizes
    before = contents(outdir)
    stamps = {path: path.stat().st_mtime_ns for path in outdir.rglob("metrics.csv")}
    lost = outdir / "runs/size=8/seed_2"
    (lost / "summary.json").unlink()
    run_ablation(SIZES, outdir, verbose=False)
    assert contents(outdir) == before
    again = {path for path in outdir.rglob("metrics.csv") if path.stat().st_mtime_ns != stamps[path]}
    assert again == {lost / "metrics.csv"}


def test_more_values_and_seeds_add_to_what_is_there(sizes, tmp_path):
    outdir, _ = sizes
    stamps = {path: path.stat().st_mtime_ns for path in (outdir / "runs").rglob("summary.json")}
    more = Ablation(BASE, {"size": [8, 16, 32]}, n_seeds=3)
    outcome = run_ablation(more, outdir, processes=2, verbose=False)
    assert len(outcome.table.splitlines()) == 5
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    run_ablation(SIZES, outdir, verbose=False)


def test_a_folder_of_other_runs_is_refused(sizes):
    other = replace(SIZES, base=replace(BASE, learning_rate=1e-3))
    with pytest.raises(InputError, match=r"holds a run with learning_rate 0.005, where this one has 0.001; choose"):
        run_ablation(other, sizes[0], verbose=False)


def test_references_that_were_lost_are_measured_again(sizes):
    outdir, _ = sizes
    before = contents(outdir)
    for file in (outdir / "references").rglob("summary.json"):
        file.unlink()
    run_ablation(SIZES, outdir, verbose=False)
    assert contents(outdir) == before


ARGUMENTS = (
    "--n_demos 2 --size 16 --ep_len 60 --eval_episodes 3 --seeds 3 --processes 2 --train_batch_size 32"
    " --param learning_rate --values 1e-3 5e-3 --param num_agent_train_steps_per_iter --values 200 400"
).split()


def ablation_process(outdir: Path, **settings) -> subprocess.Popen:
    command = [sys.executable, str(REPOSITORY / "scripts" / "run_ablation.py"), *ARGUMENTS, "--outdir", str(outdir)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **settings)


def test_killed_five_times_it_ends_with_the_same_bytes(tmp_path):
    """At a random moment of each, not before the first run can have begun."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with ablation_process(whole) as process:
        assert "4 variants x 3 seeds" in process.communicate()[0]
    rng = random.Random(0)
    ended_by_itself = 0
    for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with ablation_process(killed) as process:
            for line in process.stdout:
                if re.match(r"\d+ at a time", line):
                    break
            timer = threading.Timer(rng.uniform(0, 1.5), process.send_signal, [how])
            timer.start()
            process.communicate()
            timer.cancel()
        ended_by_itself += process.returncode == 0
    assert ended_by_itself <= 2
    with ablation_process(killed) as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    assert contents(killed) == contents(whole)
    assert {p.relative_to(killed) for p in killed.rglob("*.pt")} == {
        p.relative_to(whole) for p in whole.rglob("*.pt")
    }


# Failures and parts -----------------------------------------------------------------------------------------


def test_a_run_that_fails_is_listed_and_the_others_go_on(tmp_path, capsys):
    ablation = Ablation(replace(BASE, env_name="LunarLanderContinuous-v3"), {"learning_rate": [1e-3, 1e30]}, 2)
    outcome = run_ablation(ablation, tmp_path)
    assert list(outcome.failures) == [f"runs/learning_rate=1e+30/seed_{seed}" for seed in (1, 2)]
    assert all("training diverged" in reason for reason in outcome.failures.values())
    assert [line.split("|")[1].strip() for line in outcome.table.splitlines()[2:]] == ["0.001"]
    printed = capsys.readouterr()
    assert "2 runs failed" in printed.err and "training diverged" in printed.err
    assert "2 variants x 2 seeds (1 to 2) = 4 runs, 0 of them finished" in printed.out


def test_what_no_run_could_use_is_found_before_any_starts(tmp_path):
    with pytest.raises(InputError, match=r"n_demos=100000: "):
        run_ablation(Ablation(BASE, {"n_demos": [2, 100_000]}, 1), tmp_path / "out", verbose=False)
    assert not (tmp_path / "out").exists()


def test_shards_are_parts_of_one_whole(sizes, tmp_path):
    outdir, _ = sizes
    for i, missing in ((1, 2), (2, 0)):
        outcome = run_ablation(SIZES, tmp_path, shard=(i, 2), verbose=False)
        assert (outcome.missing, outcome.failures) == (missing, {})
    run_ablation(SIZES, tmp_path, verbose=False)
    assert contents(tmp_path) == contents(outdir)


def test_a_shard_makes_its_own_part_only(tmp_path):
    run_ablation(SIZES, tmp_path, shard=(2, 4), verbose=False)
    assert [str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("runs/*/*/summary.json")] == [
        "runs/size=8/seed_2"
    ]


def test_the_plan_is_printed_before_the_start(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "estimate", lambda jobs, processes: 60.0 * len(jobs) / processes)
    run_ablation(LENGTHS, tmp_path, processes=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "num_agent_train_steps_per_iter: 20, 60, 130",
        "3 variants x 2 seeds (1 to 2) = 6 runs, 0 of them finished",
        "to make here: 6 runs in 2 trainings; each training is evaluated at every length on its way",
        "2 at a time: about 1.0 minutes, if every episode has its full length",
    ]
    assert lines[4].startswith("1/6 runs, ")
    assert lines[9].startswith("6/6 runs, ")


def test_the_estimate_counts_a_shared_training_once(monkeypatch):
    monkeypatch.setattr("rl_il.ablation.estimate._step_times", lambda config: (0.001, 0.01))
    jobs = trainings(LENGTHS.configs())
    # Two trainings of 130 steps, each evaluated 3 times on 3 episodes of 60 steps.
    assert estimate(jobs, 1) == pytest.approx(2 * (1.3 + 0.54))
    assert estimate(jobs, 2) == pytest.approx(1.3 + 0.54)
    dagger = Training((replace(BASE, do_dagger=True, n_iter=3, batch_size=500),))
    assert estimate([dagger], 4) == pytest.approx(3 * 0.3 + 3 * 0.18 + 2 * 0.5)


# The command ------------------------------------------------------------------------------------------------


def ended(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "scripts" / "run_ablation.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "each --param needs its --values"),
        ("--param sise --values 1", "did you mean size"),
        ("--param size --values 1 --shard 3/2", "must be i/n with i from 1 to n"),
        ("--param size --values 1 --seeds 0", "must be 1 or more"),
        ("--param size --values 1 --ray_address auto", "is for --launcher ray"),
        ("--param size --values 1 --env_name LunarLander-v9", "unknown environment"),
    ],
)
def test_mistakes_end_with_status_2_and_a_sentence(arguments, message):
    done = ended(*arguments.split())
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_run_ends_the_command_with_status_1(tmp_path):
    arguments = "--env_name LunarLanderContinuous-v3 --n_demos 1 --ep_len 60 --num_agent_train_steps_per_iter 30"
    arguments += " --seeds 1 --param learning_rate --values 1e30 --outdir"
    done = ended(*arguments.split(), str(tmp_path))
    assert done.returncode == 1
    assert "1 runs failed" in done.stderr and "Traceback" not in done.stderr
    assert json.loads((tmp_path / "references").rglob("summary.json").__next__().read_text())["status"] == "finished"
    assert not os.path.exists(tmp_path / "table.md")


def test_two_commands_do_not_work_in_one_folder(tmp_path):
    with lock_folder(tmp_path, ".lock_1_of_1"), pytest.raises(InputError, match="is in use by another process"):
        run_ablation(SIZES, tmp_path, verbose=False)


def test_a_folder_that_cannot_be_made_is_named():
    done = ended("--param", "size", "--values", "8", "--outdir", "/proc/nothing/here")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "/proc/nothing" in done.stderr


def test_sigterm_ends_it_with_143_and_a_sentence(tmp_path):
    with ablation_process(tmp_path / "out") as process:
        assert any(re.match(r"1/\d+ runs", line) for line in process.stdout)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 143
    assert "interrupted; finished runs are kept in" in rest
