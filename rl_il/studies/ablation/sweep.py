"""Runs an ablation: what is missing of its runs, then its table and figure."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rl_il.config import RunConfig
from rl_il.errors import InputError, Interrupted
from rl_il.files import check_writable, remove_leftovers
from rl_il.infrastructure.progress import progress, seconds
from rl_il.runs.checkpoint import lock_folder
from rl_il.runs.folders import is_finished, read_config
from rl_il.studies.ablation.grid import STEPS, Ablation, naming
from rl_il.studies.ablation.jobs import (
    check_config,
    difference,
    estimate,
    measure_reference,
    read_reference,
    reference_folder,
    train,
    with_one_compile,
)
from rl_il.studies.ablation.launch import Event, Job, launch_local, launch_ray
from rl_il.studies.ablation.results import gather, has_result, write_results

Launch = Callable[[Mapping[str, Job], Path], Iterator[Event]]
FILES = ("table.md", "table.tex", "results.csv", "figure.png", "figure.svg")


@dataclass(frozen=True)
class Outcome:
    """How an ablation ended."""

    table: str  # Markdown; empty if no run is finished
    failures: dict[str, str]  # a run's folder to why it failed
    missing: int  # runs that are left to other shards


def run_ablation(
    ablation: Ablation,
    outdir: Path,
    launcher: str = "local",
    processes: int = 1,
    ray_address: str | None = None,
    shard: tuple[int, int] = (1, 1),
    verbose: bool = True,
) -> Outcome:
    """Make the runs whose folders in `outdir` are not complete yet, and then the table and figure of all.

    Args:
      ablation: what is varied.
      outdir: may hold finished runs of the same ablation, or of one with other values and seeds.
      launcher: `local` (processes on this machine) or `ray`.
      processes: how many work at a time, locally.
      ray_address: of a cluster; None starts one on this machine.
      shard: `(i, n)`: make the ith of n parts of the runs, from 1.
      verbose: whether to print the plan, the progress and the result.

    Raises:
      InputError: a run would find something missing or unfit, or `outdir` holds another run.
      Interrupted: Ctrl-C; finished runs stay.
    """
    check_writable(outdir / FILES[0])
    for variant in ablation.variants:
        with naming(variant):
            check_config(ablation.config(variant, ablation.base.seed))
    configs = with_one_compile(ablation.trainings())
    done = [config for config in configs if is_done(config, outdir)]
    mine = [config for config in configs[shard[0] - 1 :: shard[1]] if config not in done]
    outdir.mkdir(parents=True, exist_ok=True)

    def launch(jobs: Mapping[str, Job], what: str) -> Iterator[Event]:
        ray = launcher == "ray"
        events = launch_ray(jobs, outdir, ray_address) if ray else launch_local(jobs, outdir, processes)
        return watch(events, len(jobs), what) if verbose else events

    if verbose:
        print_plan(ablation, configs, len(done), mine, processes if launcher == "local" else None)
    try:
        # Parts may share a folder, but each only once.
        with lock_folder(outdir, f".lock_{shard[0]}_of_{shard[1]}"):
            remove_leftovers(outdir, below=False)  # which may be another part's
            reasons = measure_references([*done, *mine], outdir, launch) | train_all(mine, outdir, launch)
    except KeyboardInterrupt as interruption:
        number = getattr(interruption, "signal_number", signal.SIGINT)
        how = f"interrupted; finished runs are kept in {outdir}: the same command continues"
        raise Interrupted(how, number) from None
    unfinished = [config for config in configs if not has_result(config, outdir)]
    failures = {c.logdir: reasons.get(c.logdir, "its process was ended") for c in unfinished if c in [*done, *mine]}
    findings = gather(ablation, outdir)
    table = write_results(ablation, findings, outdir) if findings else ""
    outcome = Outcome(table, failures, missing=len(unfinished) - len(failures))
    if verbose:
        print_outcome(outcome, outdir)
    return outcome


def is_done(config: RunConfig, outdir: Path) -> bool:
    """Return whether the folder is complete and holds this very run. Raises `InputError` if it holds another."""
    folder = outdir / config.logdir
    if not is_finished(folder):
        return False
    found = read_config(folder)
    name = difference(found, config)
    if name is None:
        return True
    got, asked = getattr(found, name), getattr(config, name)
    raise InputError(f"{folder}: holds a run with {name} {got}, where this one has {asked}; choose another --outdir")


def measure_references(configs: Sequence[RunConfig], outdir: Path, launch: Launch) -> dict[str, str]:
    """Measure what these runs are compared with; return why runs failed, by folder: those whose references did."""
    jobs = {reference_folder(config): partial(measure_reference, config) for config in configs}
    missing = {folder: job for folder, job in jobs.items() if not is_finished(outdir / folder)}
    reasons = dict(launch(missing, "references"))
    failed = {config.logdir: reasons.get(reference_folder(config)) for config in configs}
    return {folder: reason for folder, reason in failed.items() if reason}


def train_all(configs: Sequence[RunConfig], outdir: Path, launch: Launch) -> dict[str, str]:
    """Train those whose references were measured; return why runs failed, by folder."""
    ready = [config for config in configs if is_finished(outdir / reference_folder(config))]
    jobs = {c.logdir: partial(train, c, read_reference(c, outdir).get("expert")) for c in ready}
    return {folder: reason for folder, reason in launch(jobs, "runs") if reason}


def watch(events: Iterator[Event], total: int, what: str) -> Iterator[Event]:
    """Yield the events, with a line that says how many runs are finished and what time is left."""
    start, finished = time.perf_counter(), 0
    for name, reason in progress(events, total, what):
        finished += reason is None
        if reason is None and not sys.stderr.isatty():  # where the bar isn't drawn
            elapsed = time.perf_counter() - start
            left = seconds(elapsed / finished * (total - finished))
            print(f"{finished}/{total} {what}, {seconds(elapsed)}, about {left} left", flush=True)
        yield name, reason


def print_plan(
    ablation: Ablation, configs: Sequence[RunConfig], n_done: int, mine: Sequence[RunConfig], processes: int | None
) -> None:
    """Say what will be run, and how long that will take."""
    for name, values in ablation.params.items():
        print(f"{name}: {', '.join(map(str, values))}")
    seeds = ablation.seeds
    print(
        f"{len(ablation.variants)} variants x {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}), from {len(configs)}"
        f" runs, {n_done} of them finished"
    )
    if ablation.lengths:
        print(f"each run is evaluated on its way, so it has the result of every {STEPS}")
    elif {STEPS, "n_epochs"} & {*ablation.params}:
        print("a run for each length, from its beginning: only the gradient steps of cloning share one")
    if mine:
        minutes = estimate(mine, processes or 1) / 60
        how = f"{processes} at a time" if processes else "on one core"
        print(f"to make here: {len(mine)} runs")
        print(f"{how}: about {minutes:.1f} minutes, if every episode has its full length", flush=True)


def print_outcome(outcome: Outcome, outdir: Path) -> None:
    """Print the table, where the files are, and what is missing."""
    if outcome.table:
        print(f"\n{outcome.table}\n")
        print(*(f"{outdir / name}" for name in FILES), sep="\n")
    if outcome.missing:
        print(f"\n{outcome.missing} runs are left to other shards; once their folders are in {outdir}, the same")
        print("command without --shard makes the whole table")
    if outcome.failures:
        print(f"\n{len(outcome.failures)} runs failed:", file=sys.stderr)
        print(*(f"  {name}: {reason}" for name, reason in outcome.failures.items()), sep="\n", file=sys.stderr)
        print(f"the same command tries them again; {outdir / 'log.txt'} has more", file=sys.stderr, flush=True)
