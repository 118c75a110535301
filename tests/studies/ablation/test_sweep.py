"""Ablations of small runs: the files, one training for several lengths, and continuing after a stop."""

import csv
import itertools
import json
import multiprocessing
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calling import call_script
from systems import WINDOWS

from rl_il.config import COMPILE_FROM, RunConfig
from rl_il.errors import InputError, RemovedError
from rl_il.files import REPOSITORY
from rl_il.infrastructure.evaluation import Evaluator
from rl_il.infrastructure.gradient_steps import GradientSteps
from rl_il.report.runs import read_run
from rl_il.report.tables import SEEDS
from rl_il.runs import run_folder
from rl_il.runs.checkpoint import lock_folder
from rl_il.runs.evaluate import evaluate
from rl_il.runs.experiment import run
from rl_il.runs.run_folder import RunFolder
from rl_il.studies.ablation import sweep
from rl_il.studies.ablation.grid import STEPS, Ablation, variant_name
from rl_il.studies.ablation.jobs import (
    compile_steps,
    estimate,
    measure_reference,
    read_reference,
    reference_folder,
    train,
    with_one_compile,
)
from rl_il.studies.ablation.launch import Launcher, launch_local
from rl_il.studies.ablation.sweep import FILES, run_ablation

BASE = RunConfig(n_demos=2, num_agent_train_steps_per_iter=30, size=16, eval_episodes=3, ep_len=60, video_log_freq=-1)
SIZES = Ablation(BASE, {"size": [8, 16]}, n_seeds=2)
LENGTHS = Ablation(BASE, {"num_agent_train_steps_per_iter": [20, 60, 130]}, n_seeds=2)


def contents(outdir: Path) -> dict[str, bytes]:
    return {name: (outdir / name).read_bytes() for name in FILES}


def rows_of(outdir: Path) -> list[dict[str, str]]:
    with (outdir / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    outdir = tmp_path_factory.mktemp("sizes")
    return outdir, run_ablation(SIZES, outdir, Launcher(processes=2), verbose=False)


# What is written --------------------------------------------------------------------------------------------


def test_there_is_a_row_for_each_run(sizes):
    outdir, outcome = sizes
    rows = rows_of(outdir)
    assert [(row["size"], row["seed"]) for row in rows] == [("8", "1"), ("8", "2"), ("16", "1"), ("16", "2")]
    for row in rows:
        record = read_run(outdir / row["folder"])
        assert float(row["eval_return_mean"]) == record.summary["eval_return_mean"]
        assert float(row["expert_return_mean"]) == record.expert.scores.mean()
        assert int(row["expert_labels"]) == record.summary["expert_labels"]
    assert (outcome.failures, outcome.missing) == ({}, 0)


def test_the_tables_numbers_are_those_of_the_episodes(sizes):
    outdir, outcome = sizes
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in outcome.table.splitlines()]
    for size, row in zip(("8", "16"), rows, strict=True):
        cells = dict(zip(header, row, strict=True))
        returns = [read_run(outdir / f"runs/size={size}/seed_{seed}").scores[0] for seed in (1, 2)]
        assert (cells["size"], cells["episodes"]) == (size, "6")
        assert cells["mean return"] == f"{np.mean(returns):.1f}"
        assert cells["std over seeds"] == f"{np.std([r.mean() for r in returns], ddof=1):.1f}"


def test_the_caption_says_what_was_compared(sizes):
    caption = (sizes[0] / "table.md").read_text().splitlines()[-1]
    words = "LunarLander-v3|size|2 seeds|3 new|layers 2|tanh|length 30|minibatch 100|0.005".split("|")
    assert all(word in caption for word in words)
    assert SEEDS not in caption and "at least 3 seeds" in caption  # two are too few for an interval


def test_two_seeds_have_no_interval_and_no_cell_says_nan(sizes):
    outdir, outcome = sizes
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in outcome.table.splitlines()]
    assert [row[header.index("95 % interval over seeds")] for row in rows] == ["", ""]
    for name in ("table.md", "table.tex", "results.csv", "figure.svg"):
        assert not re.search(r"\bnan\b", (outdir / name).read_text(), re.IGNORECASE), name


def test_the_figure_shows_the_expert_and_the_random_policy(sizes):
    svg = (sizes[0] / "figure.svg").read_text()
    assert all(words in svg for words in ("expert, same episodes (", "random policy (", "varied: size"))
    assert (sizes[0] / "table.tex").read_text().count(" & 6 & ") == 2  # episodes


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("activation", ["tanh", "relu"], [">tanh<", ">relu<"]),  # each word has its own position
        ("env_name", ["LunarLander-v3", "LunarLanderContinuous-v3"], ["from 0 (random policy) to 1 (expert)"]),
    ],
)
def test_figures_against_words_and_environments(tmp_path, name, values, words):
    outcome = run_ablation(Ablation(BASE, {name: values}, 1), tmp_path, verbose=False)
    svg = (tmp_path / "figure.svg").read_text()
    assert all(word in svg for word in words)
    assert len(outcome.table.splitlines()) == 4


def test_reference_scores_are_measured_on_the_runs_own_episodes(tmp_path):
    config = replace(BASE, seed=5)
    measure_reference(config, tmp_path)
    measured = read_reference(config, tmp_path)
    for name in ("random", "expert"):
        alone = evaluate(name, BASE.env_name, 3, seed=5, ep_len=60)
        assert len(measured[name][0]) == 3
        assert measured[name][0].mean() == alone["mean"]
    alone = run(replace(config, logdir=str(tmp_path / "run")), verbose=False)
    np.testing.assert_array_equal(measured["expert"][0], alone.expert_returns)


def test_reference_scores_have_a_folder_for_each_setting_that_they_depend_on():
    decisive = [{}, {"seed": 2}, {"eval_episodes": 4}, {"ep_len": 50}, {"expert_policy_file": "x.npz"}]
    assert len({reference_folder(replace(BASE, **changes)) for changes in decisive}) == len(decisive)
    assert reference_folder(replace(BASE, size=8, learning_rate=1e-4)) == reference_folder(BASE)


PICTURES = {"env_name": "CarRacing-v3"}  # compiling does not make convolutions faster
ENOUGH = COMPILE_FROM // 4  # gradient steps, for two values and two seeds


@pytest.mark.parametrize(
    ("changes", "steps", "got"),
    [
        ({}, ENOUGH, "on"),
        ({}, ENOUGH - 1, "auto"),
        ({"compile": "off"}, ENOUGH, "off"),
        (PICTURES, ENOUGH, "auto"),
    ],
)
def test_the_sum_of_the_runs_decides_whether_all_are_compiled(changes, steps, got, tmp_path):
    base = replace(BASE, num_agent_train_steps_per_iter=steps, n_epochs=None, **changes)
    configs = Ablation(base, {"size": [8, 16]}, 2).trainings()
    assert [config.compile for config in with_one_compile(configs, tmp_path)] == [got] * 4


def test_runs_that_are_added_do_as_the_finished_ones_did(tmp_path):
    base = replace(BASE, num_agent_train_steps_per_iter=20, n_epochs=None)
    run_ablation(Ablation(base, {"size": [8]}, 1), tmp_path, verbose=False)
    (first, *more) = Ablation(base, {"size": [8]}, 4).trainings()
    many = [replace(config, num_agent_train_steps_per_iter=COMPILE_FROM) for config in more]
    assert {config.compile for config in with_one_compile(many, tmp_path)} == {"on"}
    assert {config.compile for config in with_one_compile([first, *many], tmp_path)} == {"auto"}


def test_the_runs_load_what_was_compiled_before(monkeypatch, tmp_path):
    (config,) = Ablation(replace(BASE, compile="on"), {"size": [8]}, 1).trainings()
    compile_steps([config])
    monkeypatch.setattr("rl_il.infrastructure.compile_cache._loaded", {})
    monkeypatch.setattr("rl_il.infrastructure.compile_cache.build", None)  # a call would fail
    train(config, None, tmp_path)
    assert json.loads((tmp_path / config.logdir / "summary.json").read_text())["compiled"] is True


def test_each_network_shape_is_prepared_once_before_the_runs(monkeypatch):
    prepared = []
    monkeypatch.setattr(GradientSteps, "prepare", lambda fit: prepared.append(fit.config))
    base = replace(BASE, compile="on")
    compile_steps(Ablation(base, {"size": [8, 16], "learning_rate": [1e-3, 1e-4]}, 2).trainings())
    assert [config.size for config in prepared] == [8, 16]
    compile_steps(Ablation(replace(base, compile="auto"), {"size": [8, 16]}, 1).trainings())
    assert len(prepared) == 2


# One training for several lengths --------------------------------------------------------------------------


def test_lengths_have_the_results_of_separate_runs(tmp_path):
    base = replace(BASE, val_fraction=0.2, normalize_obs=True, weight_decay=0.01)
    ablation = Ablation(base, {"size": [8, 16], STEPS: [150, 20]}, n_seeds=2)
    outcome = run_ablation(ablation, tmp_path / "together", verbose=False)
    rows = rows_of(tmp_path / "together")
    assert len(list((tmp_path / "together").rglob("config.json"))) == 4
    names = [line.split("|")[1].strip() for line in outcome.table.splitlines()[2:]]
    assert names == ["8, 150", "8, 20", "16, 150", "16, 20"]
    for (variant, seed), row in zip(itertools.product(ablation.variants, ablation.seeds), rows, strict=True):
        folder = tmp_path / f"{variant_name(variant)}_{seed}"
        (alone,) = run(replace(base, **variant, seed=seed, logdir=str(folder)), verbose=False).results
        assert float(row["eval_return_mean"]) == alone.returns.mean()
        assert float(row["eval_return_std"]) == pytest.approx(alone.returns.std(ddof=1))
        columns = {"training_loss": "Training Loss", "validation_loss": "Validation Loss"}
        for name, scalar in (columns | {"expert_labels": "Expert_LabelsSoFar"}).items():
            assert float(row[name]) == alone.scalars[scalar]


@pytest.mark.parametrize(
    ("owner", "name", "call", "runs_left", "steps_left"),
    [
        (GradientSteps, "__call__", 1, 2, 260),  # nothing is saved yet
        (Evaluator, "__call__", 3, 2, 200),  # the first two lengths of the first seed are saved
        (RunFolder, "tidy_up", 1, 1, 130),
    ],
)
def test_a_killed_training_of_lengths_continues(tmp_path, monkeypatch, owner, name, call, runs_left, steps_left):
    monkeypatch.setattr(sweep, "launch_local", in_this_process)
    monkeypatch.setattr(run_folder, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_ablation(LENGTHS, whole, verbose=False)
    calls, original = [], getattr(owner, name)

    def method(*args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise InputError("killed")  # after which nothing is saved either
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, method)
        with pytest.raises(InputError, match="killed"):
            run_ablation(LENGTHS, killed, verbose=False)
    assert sum(not sweep.is_done(config, killed) for config in LENGTHS.trainings()) == runs_left
    steps = []
    fit = GradientSteps.__call__
    counted = lambda *args: steps.extend(losses := fit(*args)) or losses  # noqa: E731
    monkeypatch.setattr(GradientSteps, "__call__", counted)
    run_ablation(LENGTHS, killed, verbose=False)
    assert len(steps) == steps_left
    assert contents(killed) == contents(whole)
    for config in LENGTHS.trainings():
        one, other = (outdir / config.logdir / "episodes.csv" for outdir in (whole, killed))
        assert one.read_text() == other.read_text()


def in_this_process(jobs, outdir, processes, idle):
    for name, job in jobs.items():
        job(outdir)
        yield name, None


def test_an_unfinished_run_with_other_settings_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "launch_local", in_this_process)
    other = replace(SIZES, base=replace(BASE, learning_rate=1e-3, eval_interval="10"), n_seeds=1)
    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "SECONDS_BETWEEN_CHECKPOINTS", 0)
        patch.setattr(RunFolder, "finish", lambda *_: (_ for _ in ()).throw(InputError("killed")))
        with pytest.raises(InputError, match="killed"):
            run_ablation(other, tmp_path, verbose=False)
    run_ablation(replace(SIZES, n_seeds=1), tmp_path, verbose=False)
    assert read_run(tmp_path / "runs/size=8/seed_1").config.learning_rate == BASE.learning_rate


def test_data_that_dagger_collected_is_not_kept(tmp_path):
    dagger = replace(BASE, do_dagger=True, n_iter=2, batch_size=60)
    run_ablation(Ablation(dagger, {STEPS: [20, 30]}, 1), tmp_path, verbose=False)
    assert len(list(tmp_path.rglob("policy_itr_1.pt"))) == 2
    assert list(tmp_path.rglob("*.npz")) == []


# Continuing after a stop --------------------------------------------------------------------------------------


def test_only_what_is_missing_is_run_again(sizes):
    outdir, _ = sizes
    before = contents(outdir)
    stamps = {path: path.stat().st_mtime_ns for path in outdir.rglob("metrics.csv")}
    lost = outdir / "runs/size=8/seed_2"
    for file in (lost / "summary.json", *(outdir / "references").rglob("summary.json")):
        file.unlink()
    run_ablation(SIZES, outdir, verbose=False)
    assert contents(outdir) == before
    again = {path for path in outdir.rglob("metrics.csv") if path.stat().st_mtime_ns != stamps[path]}
    assert again == {lost / "metrics.csv"}


def test_more_values_and_seeds_add_to_what_is_there(sizes):
    outdir, _ = sizes
    stamps = {path: path.stat().st_mtime_ns for path in (outdir / "runs").rglob("summary.json")}
    more = Ablation(BASE, {"size": [8, 16, 32]}, n_seeds=3)
    outcome = run_ablation(more, outdir, Launcher(processes=2), verbose=False)
    assert len(outcome.table.splitlines()) == 5
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    run_ablation(SIZES, outdir, verbose=False)


def test_a_folder_of_other_runs_is_refused(sizes):
    other = replace(SIZES, base=replace(BASE, learning_rate=1e-3))
    with pytest.raises(InputError, match=r"learning_rate.*0\.005.*0\.001.*--outdir"):
        run_ablation(other, sizes[0], verbose=False)


def test_a_terminated_command_continues_to_the_same_bytes(tmp_path):
    flags = "--n_demos 2 --size 16 --ep_len 60 --eval_episodes 3 --video_log_freq -1 --seeds 2 --processes 1"
    flags += " --num_agent_train_steps_per_iter 30 --param size --values 8 16"
    command = [sys.executable, str(REPOSITORY / "scripts" / "run_ablation.py"), *flags.split(), "--outdir"]
    with subprocess.Popen(
        [*command, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert any(re.match("1/4 runs", line) for line in process.stdout)
        process.terminate()
        rest, _ = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert f"kept in {tmp_path}" in rest and "Error" not in rest
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("summary.json")}
    assert 1 <= len(kept) < 4
    run_ablation(SIZES, tmp_path, verbose=False)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_when_all_processes_are_killed_the_same_command_continues_to_the_same_bytes(sizes, tmp_path, monkeypatch):
    def killed(jobs, outdir, processes, idle):
        for event in launch_local(jobs, outdir, processes, idle):
            yield event
            for process in multiprocessing.active_children():
                process.kill()

    monkeypatch.setattr(sweep, "launch_local", killed)
    outcome = run_ablation(SIZES, tmp_path, Launcher(processes=2), verbose=False)
    assert outcome.failures and all("exit code" in reason for reason in outcome.failures.values())
    monkeypatch.setattr(sweep, "launch_local", in_this_process)
    assert run_ablation(SIZES, tmp_path, verbose=False).failures == {}
    assert contents(tmp_path) == contents(sizes[0])


# Failures and shards ----------------------------------------------------------------------------------------


def test_a_run_that_fails_is_listed_and_the_others_continue(tmp_path, capsys):
    ablation = Ablation(replace(BASE, env_name="LunarLanderContinuous-v3"), {"learning_rate": [1e-3, 1e30]}, 2)
    outcome = run_ablation(ablation, tmp_path)
    assert list(outcome.failures) == [f"runs/learning_rate=1e+30/seed_{seed}" for seed in (1, 2)]
    assert all("diverged" in reason for reason in outcome.failures.values())
    assert [line.split("|")[1].strip() for line in outcome.table.splitlines()[2:]] == ["0.001"]
    printed = capsys.readouterr()
    assert all(name in printed.err for name in outcome.failures)
    assert outcome.table in printed.out


def test_an_invalid_value_is_found_before_any_run_starts(tmp_path):
    with pytest.raises(InputError, match="n_demos=100000"):
        run_ablation(Ablation(BASE, {"n_demos": [2, 100_000]}, 1), tmp_path / "out", verbose=False)
    assert not (tmp_path / "out").exists()


def test_shards_together_make_the_whole_ablation(sizes, tmp_path):
    outdir, _ = sizes
    for i, missing in ((2, 2), (1, 0)):
        outcome = run_ablation(SIZES, tmp_path, Launcher(shard=(i, 2)), verbose=False)
        assert (outcome.missing, outcome.failures) == (missing, {})
        made = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.glob("runs/*/*/summary.json")}
        if missing:  # only the second shard was made
            assert made == {"runs/size=8/seed_2", "runs/size=16/seed_2"}
    assert contents(tmp_path) == contents(outdir)


def test_the_plan_is_printed_before_the_start(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "estimate", lambda configs, processes: 60.0 * len(configs) / processes)
    run_ablation(LENGTHS, tmp_path, Launcher(processes=2))
    lines = capsys.readouterr().out.splitlines()
    numbers = [re.findall(r"\d+\.?\d*", line) for line in lines]
    # Values; variants, seeds (first, last), runs, finished runs; the shared run; runs to make; processes, minutes.
    assert numbers[:5] == [["20", "60", "130"], ["3", "2", "1", "2", "2", "0"], [], ["2"], ["2", "1.0"]]
    assert STEPS in lines[2]
    assert [line[:3] for line in lines[5:9]] == ["1/2", "2/2"] * 2


def test_the_estimate_counts_a_training_once(monkeypatch):
    monkeypatch.setattr("rl_il.studies.ablation.jobs.step_times", lambda config: (0.001, 0.01))
    configs = LENGTHS.trainings()
    # Two trainings of 130 steps, each evaluated 3 times on 3 episodes of 60 steps.
    assert estimate(configs, 1) == pytest.approx(2 * (1.3 + 0.54))
    assert estimate(configs, 2) == pytest.approx(1.3 + 0.54)
    dagger = replace(BASE, do_dagger=True, n_iter=3, batch_size=500)
    assert estimate([dagger], 4) == pytest.approx(3 * 0.3 + 3 * 0.18 + 2 * 0.5)


# The command ------------------------------------------------------------------------------------------------


def test_a_failed_run_ends_the_command_with_status_1(tmp_path, monkeypatch, capsys):
    command = "run_ablation --env_name LunarLanderContinuous-v3 --n_demos 1 --ep_len 60 --seeds 1"
    command += f" --num_agent_train_steps_per_iter 30 --param learning_rate --values 1e30 --outdir {tmp_path}"
    status, _, err = call_script(command, monkeypatch, capsys)
    assert status == 1
    assert "runs/learning_rate=1e+30/seed_1" in err and "Traceback" not in err
    (reference,) = (tmp_path / "references").rglob("summary.json")
    assert json.loads(reference.read_text())["status"] == "finished"
    assert not (tmp_path / "table.md").exists()


def test_two_commands_do_not_work_in_one_folder(tmp_path):
    (tmp_path / ".shard_1_of_1").mkdir()
    with lock_folder(tmp_path / ".shard_1_of_1"):
        for _ in range(2):
            with pytest.raises(InputError, match=re.escape(str(tmp_path))):
                run_ablation(SIZES, tmp_path, verbose=False)
            if not WINDOWS:  # which removes no file that is open
                (tmp_path / ".shard_1_of_1/.lock").unlink()


def test_a_removed_folder_is_not_made_again(tmp_path):
    with pytest.raises(RemovedError):
        train(RunConfig(logdir="runs/a/seed_1"), None, tmp_path / "removed")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tracker_is_reported_once_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(sweep, "make_runs", lambda *_: pytest.fail("runs are made"))
    with pytest.raises(InputError, match="pip install wandb"):
        run_ablation(replace(SIZES, base=replace(BASE, tracker="wandb")), tmp_path / "out", verbose=False)
    assert not (tmp_path / "out").exists()
