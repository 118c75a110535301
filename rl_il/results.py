"""The results table: expert, behavioural cloning and DAgger on every environment that has an expert to ask."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rl_il.ablation.grid import Ablation
from rl_il.ablation.jobs import with_one_compile
from rl_il.ablation.results import Finding, gather
from rl_il.ablation.sweep import run_ablation
from rl_il.config import RunConfig
from rl_il.envs import ENVS
from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.report.tables import Result, markdown
from rl_il.statistics import percent_of_expert

# One setting for all; chosen with seed 1001, which is none of the table's.
SETTINGS = RunConfig(
    n_demos=1,
    do_dagger=True,
    n_iter=21,
    batch_size=5000,
    num_agent_train_steps_per_iter=5000,
    learning_rate=1e-3,
    size=128,
    normalize_obs=True,
    eval_episodes=20,
    scalar_log_freq=20,  # behavioural cloning and the last iteration
    video_log_freq=-1,
)
ENVIRONMENTS = [name for name, spec in ENVS.items() if not (name.endswith("-v4") or spec.picture_rows)]
COLUMNS = ["environment", "expert, measured now", "BC", "% of expert", "labels", "DAgger", "% of expert", "its seeds"]
COLUMNS += ["labels", "minutes a run"]


def make_results(
    outdir: Path, table: Path, env_names: Sequence[str], n_seeds: int, processes: int, settings: RunConfig = SETTINGS
) -> bool:
    """Runs DAgger on each environment; its iteration 0 is behavioural cloning. Writes and prints the table.

    Args:
      outdir: where the run folders go; those that are whole are not made again.
      table: the Markdown file.
      env_names: the rows.
      n_seeds: runs of each, from seed 1.
      processes: runs at a time.
      settings: of all of them.

    Returns:
      whether every run ended well.
    """
    ablation = Ablation(settings, {"env_name": list(env_names)}, n_seeds)
    outcome = run_ablation(ablation, outdir, processes=processes)
    findings = gather(ablation, with_one_compile(ablation.configs()), outdir)
    if not findings:
        raise InputError(f"{outdir}: no run ended well; its log.txt says more")
    text = f"{markdown([COLUMNS, *map(row, findings)])}\n\n{how(settings, n_seeds, findings)}\n"
    with atomic_write(table) as file:
        file.write(text.encode())
    print(f"\n{text}\n{table}")
    return not outcome.failures


def row(finding: Finding) -> list[str]:
    """An environment's cells."""
    runs, expert = finding.variant.runs, finding.variant.expert
    cloned, last = finding.variant.result("BC", 0), finding.variant.result("DAgger")
    minutes = np.mean([run.summary["wall_seconds"]["total"] for run in runs]) / 60
    cells = [runs[0].config.env_name, with_interval(expert)]
    for result in (cloned, last):
        percent = percent_of_expert(result.mean, expert.mean)
        cells += [with_interval(result), "" if np.isnan(percent) else f"{percent:.1f}"]
        cells += [f"{min(result.seed_means):,.1f} to {max(result.seed_means):,.1f}"] if result is last else []
        cells += [f"{result.expert_labels:,.0f}"]
    return [*cells, f"{minutes:.1f}"]


def with_interval(result: Result) -> str:
    """`12.3 (10.0 to 14.6)`: the mean, and its 95 % interval."""
    low, high = result.interval
    return f"{result.mean:,.1f} ({low:,.1f} to {high:,.1f})"


def how(settings: RunConfig, n_seeds: int, findings: Sequence[Finding]) -> str:
    """The lines under the table: what was run, when, with what; date and versions are those of the newest run."""
    runs = [run for finding in findings for run in finding.variant.runs]
    newest = max(runs, key=lambda run: (run.folder / "summary.json").stat().st_mtime)
    date = datetime.date.fromtimestamp((newest.folder / "summary.json").stat().st_mtime)
    names = ("python", "torch", "gymnasium", "mujoco")
    versions = ", ".join(f"{name} {newest.record['versions'][name]}" for name in names)
    demos = "1 demonstration" if settings.n_demos == 1 else f"{settings.n_demos} demonstrations"
    return (
        f"Mean return, and its 95 % interval over episodes within seeds: {n_seeds} seeds, {settings.eval_episodes}"
        f" fresh episodes each. BC: cloned from {demos}, with {settings.num_agent_train_steps_per_iter:,} gradient"
        f" steps; DAgger: after {settings.n_iter - 1} more iterations of as many steps and at least"
        f" {settings.batch_size:,} labelled environment steps each. {settings.n_layers} x {settings.size}"
        f" {settings.activation}, minibatches of {settings.train_batch_size}, learning rate"
        f" {settings.learning_rate:g}, standardised observations, the same everywhere. Minutes: on one core,"
        f" everything included. Its seeds: the least and the greatest mean of a seed.\n\n{date}, {versions}."
    )
