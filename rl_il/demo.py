"""The main job: what behavioural cloning makes of 1 and of 10 demonstrations, and DAgger of 1."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experiment import RunResult, run
from rl_il.files import atomic_write
from rl_il.infrastructure.logger import new_folder
from rl_il.infrastructure.progress import seconds
from rl_il.infrastructure.rollouts import returns_and_lengths, sample_n_trajectories
from rl_il.infrastructure.seeding import stream
from rl_il.infrastructure.video import RenderError, record_frames, tile, write_video
from rl_il.policies.experts import load_actor
from rl_il.report.figures import plot_learning_curve
from rl_il.report.tables import Result, markdown, results_table
from rl_il.run_parts import build_policy, count_eval_episodes, find_expert, load_demonstrations

MANY_DEMOS = 10


@dataclass(frozen=True)
class SeedRuns:
    """All that was measured with one seed."""

    untrained: np.ndarray  # (episodes,) returns
    many_demos: RunResult  # behavioural cloning from 10 demonstrations
    dagger: RunResult  # DAgger from 1; its iteration 0 is behavioural cloning from that one


def run_demo(config: RunConfig, seeds: Sequence[int], out: Path, verbose: bool = True) -> str:
    """Runs the comparison for each seed; writes table, figure and GIFs to a new folder; returns the table.

    Args:
      config: the DAgger run; `n_demos`, `seed` and `logdir` are set here.
      seeds: each draws its own demonstrations, weights, minibatches and episodes.
      out: the folder, with a number behind its name if it is taken.
    """
    start = time.perf_counter()
    if len({*seeds}) < len(seeds):
        raise InputError(f"--seeds must differ, got {' '.join(map(str, seeds))}")
    configs = [replace(config, seed=seed, n_demos=MANY_DEMOS) for seed in seeds]
    env = make_env(config.env_name)  # a mistake is found here, before the folder is made
    find_expert(config, env)
    load_demonstrations(configs[0], env)
    count_eval_episodes(config, env)
    env.close()
    out = new_folder(out, numbered=True)
    runs = []
    for i, seed in enumerate(seeds):
        elapsed = time.perf_counter() - start
        left = f", about {seconds(elapsed / i * (len(seeds) - i))} left" if i else ""
        if verbose:
            print(f"\nseed {seed} ({i + 1} of {len(seeds)}; {seconds(elapsed)}{left})", flush=True)
        runs.append(_run_seed(configs[i], out, verbose))
    expert, results = _results(runs, config.n_iter)
    table = markdown(results_table(results, expert))
    with atomic_write(out / "table.md") as file:
        file.write((table + "\n").encode())
    untrained, _, _, many, *dagger = results
    curve = [replace(results[2], name="iteration 0"), *dagger]
    plot_learning_curve(
        out / "learning_curve.png", config.env_name, curve, [expert, many, untrained], _caption(config, seeds)
    )
    if verbose:
        print(f"\n{config.env_name}, {seconds(time.perf_counter() - start)}\n\n{table}\n")
    try:
        _record_gifs(*_median_run(runs, configs), out)
    except RenderError as error:
        print(f"note: no videos: {error}", file=sys.stderr)
    if verbose:
        files = [f"{what:<16}{out / name}" for what, name in _FILES if (out / name).exists()]
        print(*files, sep="\n", flush=True)
    return table


_FILES = (
    ("table", "table.md"),
    ("learning curve", "learning_curve.png"),
    ("clone's video", "bc_1_demo.gif"),
    ("DAgger's video", "dagger.gif"),
)


def _run_seed(config: RunConfig, out: Path, verbose: bool) -> SeedRuns:
    def say(text: str) -> None:
        if verbose:
            print(text, flush=True)

    env = make_env(config.env_name)
    say("[1/3] the untrained policy")
    actor, rng = build_policy(config, env).actor(), stream(config.seed, "evaluation")
    untrained, _ = returns_and_lengths(
        list(sample_n_trajectories(env, actor, config.eval_episodes, rng, config.ep_len))
    )
    say(f"[2/3] behavioural cloning from {MANY_DEMOS} demonstrations")
    cloning = replace(config, do_dagger=False, n_iter=1)
    folder = out / f"bc_{MANY_DEMOS}_demos_seed_{config.seed}"
    many = run(replace(cloning, logdir=str(folder)), verbose=verbose)
    say("[3/3] DAgger from 1 demonstration; its iteration 0 is behavioural cloning")
    folder = out / f"dagger_seed_{config.seed}"
    dagger = run(replace(config, n_demos=1, logdir=str(folder)), verbose=verbose)
    return SeedRuns(untrained, many, dagger)


def _results(runs: Sequence[SeedRuns], n_iter: int) -> tuple[Result, list[Result]]:
    """The expert's result, and all rows in order: untrained, expert, 1 demonstration, 10, then DAgger's."""

    def labels(results: list) -> float:
        return float(np.mean([result.scalars["Expert_LabelsSoFar"] for result in results]))

    def iteration(name: str, results: list) -> Result:
        return Result(name, [result.returns for result in results], labels(results))

    expert = Result("expert, measured now", [seed.dagger.expert_returns for seed in runs])
    rows = [
        Result("untrained policy", [seed.untrained for seed in runs], 0),
        expert,
        iteration("BC, 1 demonstration", [seed.dagger.results[0] for seed in runs]),
        iteration(f"BC, {MANY_DEMOS} demonstrations", [seed.many_demos.results[0] for seed in runs]),
    ]
    for itr in range(1, n_iter):
        rows.append(
            iteration(f"DAgger, 1 demonstration, iteration {itr}", [seed.dagger.results[itr] for seed in runs])
        )
    return expert, rows


def _caption(config: RunConfig, seeds: Sequence[int]) -> str:
    return (
        f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}, {config.eval_episodes} fresh episodes each; bands are"
        f" 95 % bootstrap intervals over episodes within seeds. {config.n_layers} x {config.size}"
        f" {config.activation}, {config.num_agent_train_steps_per_iter:,} gradient steps of"
        f" {config.train_batch_size} rows and at least {config.batch_size:,} environment steps an iteration,"
        f" learning rate {config.learning_rate:g}."
    )


def _median_run(runs: Sequence[SeedRuns], configs: Sequence[RunConfig]) -> tuple[Path, RunConfig]:
    """The DAgger run of the seed whose clone scored the median: neither the luckiest nor the unluckiest."""
    order = np.argsort([seed.dagger.results[0].returns.mean() for seed in runs])
    median = order[len(order) // 2]
    return runs[median].dagger.folder, configs[median]


def _record_gifs(dagger_folder: Path, config: RunConfig, out: Path) -> None:
    """The clone and DAgger's last policy in the same four fresh episodes, side by side."""
    env = make_env(config.env_name)
    seeds = [int(seed) for seed in stream(config.seed, "video").integers(2**62, size=4)]
    policies = {"bc_1_demo.gif": dagger_folder / "policy_itr_0.pt", "dagger.gif": dagger_folder}
    for name, policy in policies.items():
        actor = load_actor(policy, env)
        videos = [record_frames(config.env_name, actor, seed, config.ep_len) for seed in seeds]
        write_video(out / name, tile([frames for frames, _ in videos], columns=2), fps=videos[0][1])
