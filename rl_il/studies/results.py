"""The results table: expert, behavioural cloning and DAgger on each environment with vector observations."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rl_il.config import RunConfig
from rl_il.envs import ENVS, env_of, episode_limit
from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.report.tables import EXPERT_ROW, PAIRED, Result, count, interval_caption, markdown, number, span
from rl_il.runs.parts import load_demonstrations
from rl_il.statistics import percent_of_expert
from rl_il.studies.ablation.grid import Ablation
from rl_il.studies.ablation.launch import Launcher
from rl_il.studies.ablation.results import VariantResult, gather
from rl_il.studies.ablation.sweep import run_ablation

# The settings of all environments. They were chosen with seed 1001, which the table does not use.
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
    scalar_log_freq=20,  # evaluate iteration 0, which is behavioural cloning, and the last iteration
    video_log_freq=-1,
)
ENVIRONMENTS = [name for name, spec in ENVS.items() if spec.demos and not (name.endswith("-v4") or spec.picture_rows)]
COLUMNS = ["environment", EXPERT_ROW, "BC", "% of expert, BC", "labels, BC"]
COLUMNS += ["DAgger", "% of expert, DAgger", "seed means, DAgger", "labels, DAgger"]
CUT_OFF = "*"  # marks an environment whose demonstrations are not whole episodes


def make_results(
    outdir: Path, table: Path, env_names: Sequence[str], n_seeds: int, processes: int, settings: RunConfig = SETTINGS
) -> bool:
    """Run DAgger, whose iteration 0 is BC, on each environment. Write and print the table.

    Args:
      outdir: the folder of the runs; finished runs are not made again.
      table: the file to write.
      env_names: the environments, one for each row.
      n_seeds: the number of runs of each environment, with the seeds 1, 2, ...
      processes: the number of runs at a time.
      settings: the settings of all runs.

    Returns:
      True if every run ended without an error.

    Raises:
      InputError: all runs failed.
    """
    ablation = Ablation(settings, {"env_name": list(env_names)}, n_seeds)
    outcome = run_ablation(ablation, outdir, Launcher(processes=processes))
    results = gather(ablation, outdir)
    if not results:
        raise InputError(f"{outdir}: all runs failed; log.txt in this folder has the reasons")
    text = f"{markdown([COLUMNS, *map(row, results)])}\n\n{make_caption(settings, n_seeds, results)}\n"
    with atomic_write(table) as file:
        file.write(text.encode())
    print(f"\n{text}\n{table}")
    return not outcome.failures


def row(result: VariantResult) -> list[str]:
    """Return the cells of an environment's row."""
    variant = result.variant
    expert, bc, dagger = variant.expert, variant.result("BC", 0), variant.result("DAgger")
    percents = [number(percent_of_expert(each.mean, expert.mean)) for each in (bc, dagger)]
    mark = f" {CUT_OFF}" if cut_off_lengths(variant.config) else ""
    seed_means = span((min(dagger.seed_means), max(dagger.seed_means)), ",.1f")
    return [
        *(variant.config.env_name + mark, with_interval(expert)),
        *(with_interval(bc), percents[0], f"{bc.expert_labels:,.0f}"),
        *(with_interval(dagger), percents[1], seed_means, f"{dagger.expert_labels:,.0f}"),
    ]


def with_interval(result: Result) -> str:
    """Return `12.3 (10.0 to 14.6)`: the mean and its 95 % interval; only the mean if there is no interval."""
    interval = span(result.interval, ",.1f")
    return f"{result.mean:,.1f}" + (f" ({interval})" if interval else "")


def cut_off_lengths(config: RunConfig) -> tuple[int, int] | None:
    """Return the length of the longest cut-off demonstration and the time limit, in steps; None if none is cut off.

    A whole episode ends in a terminal state or at the environment's time limit.
    """
    with closing(env_of(config)) as env:
        limit, demonstrations = episode_limit(env, None), load_demonstrations(config, env)
    cut_off = [len(each) for each in demonstrations if not each.terminated and limit and len(each) < limit]
    return (max(cut_off), limit) if cut_off else None


def make_caption(settings: RunConfig, n_seeds: int, results: Sequence[VariantResult]) -> str:
    """Return the text below the table: how it was measured, the settings, and the newest run's date and versions."""
    runs = [run for result in results for run in result.variant.runs]
    ended = {(run.folder / "summary.json").stat().st_mtime: run for run in runs}
    date, versions = datetime.date.fromtimestamp(max(ended)), ended[max(ended)].record["versions"]
    versions = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "gymnasium", "mujoco"))
    demos, iterations = count(settings.n_demos, "demonstration"), count(settings.n_iter - 1, "more iteration")
    shown = [each for result in results for each in (result.variant.expert, result.variant.result("DAgger"))]
    cut_off = {result.variant.config.env_name: cut_off_lengths(result.variant.config) for result in results}
    return (
        f"Mean return, with its 95 % interval in brackets: {count(n_seeds, 'seed')},"
        f" {count(settings.eval_episodes, 'new episode')} each. {interval_caption(shown)} {PAIRED}"
        f" BC: behavioural cloning of {demos}, with {settings.num_agent_train_steps_per_iter:,} gradient steps."
        f" DAgger: after {iterations} of as many steps and at least {settings.batch_size:,} labelled environment"
        f" steps each. {settings.n_layers} x {settings.size} {settings.activation}, minibatches of"
        f" {settings.train_batch_size}, learning rate {settings.learning_rate:g}, standardised observations, the same"
        " for all environments. Seed means: min to max."
        + "".join(f" {CUT_OFF} {name}: {_about_cut_off(*lengths)}" for name, lengths in cut_off.items() if lengths)
        + f"\n\n{date}, {versions}."
    )


def _about_cut_off(steps: int, limit: int) -> str:
    return f"a demonstration is the first {steps:,} of an episode's {limit:,} steps."
