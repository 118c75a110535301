"""Runs an ablation: what is missing of its runs, then its table and figure."""

from __future__ import annotations

import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rl_il.ablation.estimate import estimate
from rl_il.ablation.grid import Ablation, variant_name
from rl_il.ablation.jobs import Reference, Training, trainings, with_one_compile
from rl_il.ablation.launch import Event, Job, launch_local, launch_ray
from rl_il.ablation.results import gather, has_result, write_results
from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError, Interrupted
from rl_il.files import check_writable, remove_leftovers
from rl_il.infrastructure.checkpoint import lock_folder
from rl_il.infrastructure.logger import is_finished
from rl_il.infrastructure.progress import progress, seconds
from rl_il.report.runs import NOT_COMPARED, read_run
from rl_il.run_parts import count_eval_episodes, find_expert, load_demonstrations

Launch = Callable[[Sequence[Job], Path], Iterator[Event]]
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
    """Makes the runs whose folders in `outdir` are not whole yet, and then, of all that are, the table and figure.

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
    check(ablation)
    configs = with_one_compile(ablation.configs())
    todo = [config for config in configs if not is_done(config, outdir)]
    mine = [config for job in trainings(configs)[shard[0] - 1 :: shard[1]] for config in job.configs]
    jobs = trainings([config for config in mine if config in todo])
    try:
        outdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{outdir}: cannot be made ({error.strerror})") from error

    def launch(jobs: Sequence[Job]) -> Iterator[Event]:
        return launch_ray(jobs, outdir, ray_address) if launcher == "ray" else launch_local(jobs, outdir, processes)

    if verbose:
        print_plan(ablation, configs, todo, jobs, processes if launcher == "local" else None)
    wanted = [config for config in configs if config not in todo or any(config in job.configs for job in jobs)]
    try:
        # Parts may share a folder, but each only once.
        with lock_folder(outdir, f".lock_{shard[0]}_of_{shard[1]}"):
            remove_leftovers(outdir, below=False)  # which may be another part's
            reasons = measure_references(wanted, outdir, launch, verbose) | make_runs(jobs, outdir, launch, verbose)
    except KeyboardInterrupt as interruption:
        number = getattr(interruption, "signal_number", signal.SIGINT)
        how = f"interrupted; finished runs are kept in {outdir}: the same command goes on"
        raise Interrupted(how, number) from None
    unfinished = [config.logdir for config in configs if not has_result(config, outdir)]
    here = {config.logdir for config in wanted}
    failures = {name: reasons.get(name, "its process was ended") for name in unfinished if name in here}
    findings = gather(ablation, configs, outdir)
    outcome = Outcome(
        write_results(ablation, findings, outdir) if findings else "", failures, len(unfinished) - len(failures)
    )
    if verbose:
        print_outcome(outcome, outdir)
    return outcome


def check(ablation: Ablation) -> None:
    """Raises `InputError` for what a run would find missing or unfit, before any of them starts."""
    for variant in ablation.variants:
        config = ablation.config(variant, ablation.base.seed)
        try:
            env = make_env(config.env_name)
            find_expert(config, env)
            load_demonstrations(config, env)
            count_eval_episodes(config, env)
            env.close()
        except InputError as error:
            raise InputError(f"{variant_name(variant)}: {error}") from error


def is_done(config: RunConfig, outdir: Path) -> bool:
    """Whether the run's folder is whole, and holds this very run. Raises `InputError` if it holds another."""
    folder = outdir / config.logdir
    if not is_finished(folder):
        return False
    found, asked = dataclasses.asdict(read_run(folder).config), dataclasses.asdict(config)
    for name in asked:
        if name not in NOT_COMPARED and found[name] != asked[name]:
            raise InputError(
                f"{folder}: holds a run with {name} {found[name]}, where this one has {asked[name]}; choose another"
                " --outdir"
            )
    return True


def measure_references(configs: Sequence[RunConfig], outdir: Path, launch: Launch, verbose: bool) -> dict[str, str]:
    """Measures what these runs are compared with; returns why the runs failed whose references did."""
    references = {Reference(config).folder: Reference(config) for config in configs}
    missing = [job for folder, job in references.items() if not is_finished(outdir / folder)]
    events = launch(missing)
    failed = {}
    for job, reason in progress(events, len(missing), "expert and random policy") if verbose else events:
        failed |= {job.folder: reason} if reason else {}
    return {c.logdir: failed[Reference(c).folder] for c in configs if Reference(c).folder in failed}


def make_runs(jobs: Sequence[Training], outdir: Path, launch: Launch, verbose: bool) -> dict[str, str]:
    """Runs the trainings whose references were measured; returns why the runs that failed did so."""
    ready = []
    for job in jobs:
        reference = Reference(job.configs[0])
        if is_finished(outdir / reference.folder):
            ready.append(replace(job, expert_episodes=reference.read(outdir).get("expert")))
    reasons = {}
    for job, reason in watch(launch(ready), sum(len(job.configs) for job in ready), verbose):
        if reason:
            reasons |= {config.logdir: reason for config in job.configs}
    return reasons


def watch(events: Iterator[Event], total: int, verbose: bool) -> Iterator[Event]:
    """The events, with a line that says how many runs are finished and what time is left."""
    if not verbose:
        yield from events
        return
    start, finished = time.perf_counter(), 0
    bar = progress(events, total, "runs")
    for job, reason in bar:
        finished += reason is None
        if reason is None and not sys.stderr.isatty():  # where the bar isn't drawn
            elapsed = time.perf_counter() - start
            left = seconds(elapsed / finished * (total - finished))
            print(f"{finished}/{total} runs, {seconds(elapsed)}, about {left} left", flush=True)
        yield job, reason


def print_plan(
    ablation: Ablation,
    configs: Sequence[RunConfig],
    todo: Sequence[RunConfig],
    jobs: Sequence[Training],
    processes: int | None,
) -> None:
    """Says what will be run, and how long that will take."""
    for name, values in ablation.params.items():
        print(f"{name}: {', '.join(map(str, values))}")
    seeds = ablation.seeds
    print(
        f"{len(ablation.variants)} variants x {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}) = {len(configs)} runs,"
        f" {len(configs) - len(todo)} of them finished"
    )
    here = sum(len(job.configs) for job in jobs)
    if not here:
        return
    shared = "; each training is evaluated at every length on its way" if here > len(jobs) else ""
    print(f"to make here: {here} runs in {len(jobs)} trainings{shared}", flush=True)
    minutes = estimate(jobs, processes or 1) / 60
    how = f"{processes} at a time" if processes else "on one core"
    print(f"{how}: about {minutes:.1f} minutes, if every episode has its full length", flush=True)


def print_outcome(outcome: Outcome, outdir: Path) -> None:
    """The table, where the files are, and what is missing."""
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
