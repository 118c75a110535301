"""An ablation from start to end: first the missing runs, then the table and the figure."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rl_il.config import RunConfig
from rl_il.errors import InputError, Interrupted
from rl_il.files import check_writable, in_use, remove_leftovers
from rl_il.infrastructure.progress import progress, seconds
from rl_il.infrastructure.rollouts import EpisodeStatistics
from rl_il.report.tables import count
from rl_il.runs.checkpoint import lock_folder
from rl_il.runs.folders import is_finished, read_config
from rl_il.studies.ablation.grid import STEPS, Ablation, naming
from rl_il.studies.ablation.jobs import (
    check_config,
    compile_steps,
    difference,
    estimate,
    measure_reference,
    read_reference,
    reference_folder,
    train,
    with_one_compile,
)
from rl_il.studies.ablation.launch import LOCAL, Event, Job, Launcher, Worker, launch_local, launch_ray
from rl_il.studies.ablation.results import gather, has_result, write_results

Launch = Callable[[Mapping[str, Job], str], Iterator[Event]]
Work = Callable[[RunConfig, EpisodeStatistics | None, Path], None]
"""Makes a run: it gets the config, the numbers of the expert's episodes, and the folder of all runs."""
FILES = ("table.md", "table.tex", "results.csv", "figure.png", "figure.svg")


@dataclass(frozen=True)
class Outcome:
    """The outcome of an ablation."""

    table: str  # Markdown; empty if no run is finished
    caption: str
    failures: dict[str, str]  # the reason for each failed run's folder
    missing: int  # number of runs that other shards have to make


def run_ablation(ablation: Ablation, outdir: Path, launcher: Launcher = LOCAL, verbose: bool = True) -> Outcome:
    """Make the runs that are not finished yet, and then the table and the figure of all runs.

    Args:
      ablation: the settings, the values and the seeds.
      outdir: the folder. It may hold finished runs of this ablation, also with other values and seeds.
      launcher: where the runs are made, how many at a time, and which of them.
      verbose: whether to print the plan, the progress and the result.

    Raises:
      InputError: an input of a run is missing or does not fit, or `outdir` holds a run with other settings.
      Interrupted: Ctrl-C or SIGTERM; finished runs are kept.
    """
    check_writable(outdir / FILES[0])
    for variant in ablation.variants:
        with naming(variant):
            check_config(ablation.config(variant, ablation.base.seed))
    configs = with_one_compile(ablation.trainings(), outdir)
    done = [config for config in configs if is_done(config, outdir)]
    mine = part_of(configs, done, launcher.shard)
    if verbose:
        print_plan(ablation, configs, len(done), mine, launcher)
    reasons = make_runs(done, mine, outdir, launcher, verbose)
    failures, missing = not_made(configs, [*done, *mine], reasons, outdir)
    results = gather(ablation, outdir)
    table, caption = write_results(ablation, results, outdir) if results else ("", "")
    outcome = Outcome(table, caption, failures, missing)
    if verbose:
        print_outcome(outcome, outdir)
    return outcome


def part_of(configs: Sequence[RunConfig], done: Sequence[RunConfig], shard: tuple[int, int]) -> list[RunConfig]:
    """Return the runs that part `shard` of the command has to make, without those that are finished."""
    return [config for config in configs[shard[0] - 1 :: shard[1]] if config not in done]


def make_runs(
    done: Sequence[RunConfig],
    mine: Sequence[RunConfig],
    outdir: Path,
    launcher: Launcher = LOCAL,
    verbose: bool = True,
    work: Work = train,
) -> dict[str, str]:
    """Make the runs `mine`, and the reference returns that these and the runs `done` lack.

    Args:
      outdir, launcher, verbose: as for `run_ablation`.
      work: makes one run, as `train` does.

    Returns:
      the folder of each run that failed, with the reason.

    Raises:
      Interrupted: Ctrl-C or SIGTERM; finished runs are kept.
    """
    shard_folder = outdir / ".shard_{}_of_{}".format(*launcher.shard)  # only for its lock
    shard_folder.mkdir(parents=True, exist_ok=True)

    idle: list[Worker] = []  # processes that have measured references, and then make runs

    def launch(jobs: Mapping[str, Job], what: str) -> Iterator[Event]:
        if launcher.kind == "ray":
            events = launch_ray(jobs, outdir, launcher.ray_address)
        else:
            events = launch_local(jobs, outdir, launcher.processes, idle)
        return watch(events, len(jobs), what) if verbose else events

    try:
        # Several shards may work in one folder at a time, but the same shard only once.
        with in_use(outdir), lock_folder(shard_folder):
            remove_leftovers(outdir, below=False)  # files in subfolders may belong to another shard that is running
            compile_steps(mine)
            return measure_references([*done, *mine], outdir, launch) | train_all(mine, outdir, launch, work)
    except KeyboardInterrupt as interruption:
        number = getattr(interruption, "signal_number", signal.SIGINT)
        how = f"interrupted; finished runs are kept in {outdir}; the same command continues"
        raise Interrupted(how, number) from None
    finally:
        for worker in idle:
            worker.end()


def not_made(
    configs: Sequence[RunConfig], tried: Sequence[RunConfig], reasons: Mapping[str, str], outdir: Path
) -> tuple[dict[str, str], int]:
    """Return the reason for each run that was tried and has no result, and how many other shards have to make."""
    unfinished = [config for config in configs if not has_result(config, outdir)]
    failed = [config.logdir for config in unfinished if config in tried]
    failures = {folder: reasons.get(folder, "its process ended too early") for folder in failed}
    return failures, len(unfinished) - len(failures)


def is_done(config: RunConfig, outdir: Path) -> bool:
    """Return whether the run is finished. Raise `InputError` if its folder holds a run with other settings."""
    folder = outdir / config.logdir
    if not is_finished(folder):
        return False
    found = read_config(folder)
    name = difference(found, config)
    if name is None:
        return True
    got, asked = getattr(found, name), getattr(config, name)
    raise InputError(f"{folder}: holds a run with {name} {got}, expected {asked}; choose another --outdir")


def make_missing(
    configs: Sequence[Any],
    outdir: Path,
    launcher: Launcher,
    work: Work = train,
    finished: Callable[[Any, Path], bool] = is_done,
) -> tuple[dict[str, str], int]:
    """Make the runs that are missing; return why runs failed, and how many other shards have to make.

    Args:
      configs: the settings of all runs; `logdir` is relative to `outdir`.
      outdir, launcher: as for `run_ablation`.
      work: makes one run, as `train` does.
      finished: returns whether a run, given its settings and `outdir`, needs nothing more.

    Raises:
      Interrupted: Ctrl-C or SIGTERM; finished runs are kept.
    """
    done = [config for config in configs if finished(config, outdir)]
    mine = part_of(configs, done, launcher.shard)
    print(f"{count(len(configs), 'run')}, {len(done)} of them finished; to make here: {len(mine)}", flush=True)
    reasons = make_runs(done, mine, outdir, launcher, work=work)
    failures, missing = not_made(configs, [*done, *mine], reasons, outdir)
    return failures | reasons, missing


def measure_references(configs: Sequence[RunConfig], outdir: Path, launch: Launch) -> dict[str, str]:
    """Measure the reference returns that are missing.

    Returns:
      the folder of each run whose reference returns could not be measured, with the reason.
    """
    jobs = {reference_folder(config): partial(measure_reference, config) for config in configs}
    missing = {folder: job for folder, job in jobs.items() if not is_finished(outdir / folder)}
    reasons = dict(launch(missing, "references"))
    failed = {config.logdir: reasons.get(reference_folder(config)) for config in configs}
    return {folder: reason for folder, reason in failed.items() if reason}


def train_all(configs: Sequence[RunConfig], outdir: Path, launch: Launch, work: Work = train) -> dict[str, str]:
    """Make the runs whose reference returns were measured; return the folder and the reason of each that failed."""
    ready = [config for config in configs if is_finished(outdir / reference_folder(config))]
    jobs = {c.logdir: partial(work, c, read_reference(c, outdir).get("expert")) for c in ready}
    return {folder: reason for folder, reason in launch(jobs, "runs") if reason}


def watch(events: Iterator[Event], total: int, what: str) -> Iterator[Event]:
    """Yield the events. Show a progress bar or, if there is no terminal, print a line for each finished job."""
    start, finished, terminal = time.perf_counter(), 0, sys.stderr.isatty()
    for name, reason in progress(events, total, what) if terminal else events:
        finished += reason is None
        if reason is None and not terminal:
            elapsed = time.perf_counter() - start
            left = seconds(elapsed / finished * (total - finished))
            print(f"{finished}/{total} {what}, {seconds(elapsed)}, about {left} left", flush=True)
        yield name, reason


def print_plan(
    ablation: Ablation, configs: Sequence[RunConfig], n_done: int, mine: Sequence[RunConfig], launcher: Launcher
) -> None:
    """Print which runs will be made, and an estimate of the time."""
    for name, values in ablation.params.items():
        print(f"{name}: {', '.join(map(str, values))}")
    seeds = ablation.seeds
    print(
        f"{count(len(ablation.variants), 'variant')} x {count(len(seeds), 'seed')} ({seeds[0]} to {seeds[-1]}):"
        f" {count(len(configs), 'run')}, {n_done} of them finished"
    )
    if ablation.lengths:
        print(f"the values of {STEPS} share one run, which is evaluated after each of them")
    elif {STEPS, "n_epochs"} & {*ablation.params}:
        print("each training length has its own run; only numbers of gradient steps of behavioural cloning share one")
    if mine:
        processes = launcher.processes if launcher.kind == "local" else 1
        minutes = estimate(mine, processes) / 60
        how = f"{processes} at a time" if processes > 1 else "one at a time"
        print(f"to make here: {count(len(mine), 'run')}")
        print(f"{how}: about {minutes:.1f} minutes, if every episode has its full length", flush=True)


def print_outcome(outcome: Outcome, outdir: Path) -> None:
    """Print the table, the paths of the files, and which runs are missing or failed."""
    if outcome.table:
        print(f"\n{outcome.table}\n\n{outcome.caption}\n")
        print(*(f"{outdir / name}" for name in FILES), sep="\n")
    print_rest(outcome.failures, outcome.missing, outdir)


def print_rest(failures: Mapping[str, str], missing: int, outdir: Path) -> None:
    """Print how many runs other shards have to make, and the reason for each failed run, if there are some."""
    if missing:
        print(f"\nother shards have to make {count(missing, 'run')}; once their folders are in {outdir},")
        print("the same command without --shard makes the table of all runs")
    if failures:
        print(f"\n{count(len(failures), 'run')} failed:", file=sys.stderr)
        print(*(f"  {name}: {reason}" for name, reason in failures.items()), sep="\n", file=sys.stderr)
        print(f"the same command tries again; {outdir / 'log.txt'} has the details", file=sys.stderr, flush=True)
