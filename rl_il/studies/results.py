"""The results table: expert, behavioural cloning and DAgger on every environment that has an expert to ask."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import ENVS
from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.report.tables import Result, markdown, number, span
from rl_il.statistics import percent_of_expert
from rl_il.studies.ablation.grid import Ablation
from rl_il.studies.ablation.results import Finding, gather
from rl_il.studies.ablation.sweep import run_ablation

# The same for all environments; chosen with seed 1001, which the table does not use.
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
    """Run DAgger on each environment, whose iteration 0 is behavioural cloning; write and print the table.

    Each has `n_seeds` runs, from seed 1, with folders below `outdir`; finished ones are not made again.

    Returns:
      whether every run ended well.
    """
    ablation = Ablation(settings, {"env_name": list(env_names)}, n_seeds)
    outcome = run_ablation(ablation, outdir, processes=processes)
    findings = gather(ablation, outdir)
    if not findings:
        raise InputError(f"{outdir}: no run ended well; its log.txt says more")
    text = f"{markdown([COLUMNS, *map(row, findings)])}\n\n{how(settings, n_seeds, findings)}\n"
    with atomic_write(table) as file:
        file.write(text.encode())
    print(f"\n{text}\n{table}")
    return not outcome.failures


def row(finding: Finding) -> list[str]:
    """Return an environment's cells."""
    runs, expert = finding.variant.runs, finding.variant.expert
    cloned, last = finding.variant.result("BC", 0), finding.variant.result("DAgger")
    minutes = np.mean([run.summary["wall_seconds"]["total"] for run in runs]) / 60
    cells = [runs[0].config.env_name, with_interval(expert)]
    for result in (cloned, last):
        cells += [with_interval(result), number(percent_of_expert(result.mean, expert.mean))]
        if result is last:
            cells.append(span((min(result.seed_means), max(result.seed_means)), ",.1f"))
        cells.append(f"{result.expert_labels:,.0f}")
    return [*cells, f"{minutes:.1f}"]


def with_interval(result: Result) -> str:
    """Return `12.3 (10.0 to 14.6)`: the mean, and its 95 % interval."""
    return f"{result.mean:,.1f} ({span(result.interval, ',.1f')})"


def how(settings: RunConfig, n_seeds: int, findings: Sequence[Finding]) -> str:
    """Return the lines under the table: what was run, and the newest run's date and versions."""
    runs = [run for finding in findings for run in finding.variant.runs]
    ended = {(run.folder / "summary.json").stat().st_mtime: run for run in runs}
    date, versions = datetime.date.fromtimestamp(max(ended)), ended[max(ended)].record["versions"]
    versions = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "gymnasium", "mujoco"))
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
