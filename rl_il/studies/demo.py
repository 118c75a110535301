"""The demo: behavioural cloning from 1 and from 10 demonstrations, compared with DAgger from 1."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_of
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.files import atomic_write
from rl_il.infrastructure.progress import seconds
from rl_il.infrastructure.video import RenderError, record_frames, tile, write_video
from rl_il.report.figures import plot_learning_curve
from rl_il.report.runs import Run, Variant, read_run
from rl_il.report.tables import PAIRED, Result, count, interval_caption, markdown, results_table
from rl_il.runs.experiment import run
from rl_il.runs.folders import new_folder
from rl_il.runs.parts import build_policy
from rl_il.seeding import stream
from rl_il.studies.ablation.jobs import check_config, measure

MANY_DEMOS = 10
FILES = {
    "table.md": "table",
    "learning_curve.png": "learning curve",
    "bc_1_demo.gif": "BC's video",
    "dagger.gif": "DAgger's video",
}


def run_demo(config: RunConfig, seeds: Sequence[int], out: Path) -> str:
    """Run the comparison for each seed. Write the table, the figure and the GIFs to a new folder; return the table.

    Args:
      config: the settings of the DAgger run. This function sets `n_demos`, `seed` and `logdir`.
      seeds: each seed chooses the demonstrations, weights, minibatches and episodes of its runs.
      out: the new folder. If it exists, a number is appended to its name.

    Raises:
      InputError: an input is missing or does not fit, or a seed is repeated. Then no folder was made.
    """
    start = time.perf_counter()
    if len({*seeds}) < len(seeds):
        raise InputError(f"the seeds must differ, got {' '.join(map(str, seeds))}")
    configs = [replace(config, seed=seed, n_demos=MANY_DEMOS) for seed in seeds]
    check_config(configs[0])
    out = new_folder(out, numbered=True)
    runs = []
    for i, each in enumerate(configs):
        elapsed = time.perf_counter() - start
        left = f", about {seconds(elapsed / i * (len(seeds) - i))} left" if i else ""
        print(f"\nseed {each.seed} ({i + 1} of {len(seeds)}; {seconds(elapsed)}{left})", flush=True)
        runs.append(run_seed(each, out))
    untrained, many, dagger = zip(*runs, strict=True)
    results = results_of(untrained, Variant(many), Variant(dagger))
    untrained, expert, one, many, *improved = results
    table = markdown(results_table(results, expert))
    caption = make_caption(config, len(seeds), results)
    with atomic_write(out / "table.md") as file:
        file.write(f"{table}\n\n{caption}\n".encode())
    curve, levels = [replace(one, name="iteration 0"), *improved], [expert, many, untrained]
    plot_learning_curve(out / "learning_curve.png", config.env_name, curve, levels, caption)
    print(f"\n{config.env_name}, {seconds(time.perf_counter() - start)}\n\n{table}\n\n{caption}\n", flush=True)
    median = np.argsort(one.seed_means)[len(seeds) // 2]  # the seed whose BC policy has the median return
    try:
        record_gifs(dagger[median].folder, configs[median], out)
    except RenderError as error:
        print(f"note: no videos: {error}", file=sys.stderr)
    print(*(f"{what:<16}{out / name}" for name, what in FILES.items() if (out / name).exists()), sep="\n")
    return table


def run_seed(config: RunConfig, out: Path) -> tuple[np.ndarray, Run, Run]:
    """Return the untrained policy's returns, and two runs: BC from 10 demonstrations, and DAgger from 1."""
    print("[1/3] the untrained policy", flush=True)
    env = env_of(config)
    untrained = measure(build_policy(config, env).actor(), config, env, config.eval_episodes)
    print(f"[2/3] behavioural cloning from {MANY_DEMOS} demonstrations", flush=True)
    cloning, folder = replace(config, do_dagger=False, n_iter=1), out / f"bc_{MANY_DEMOS}_demos_seed_{config.seed}"
    many = run(replace(cloning, logdir=str(folder)))
    print("[3/3] DAgger from 1 demonstration; its iteration 0 is behavioural cloning", flush=True)
    folder = out / f"dagger_seed_{config.seed}"
    dagger = run(replace(config, n_demos=1, logdir=str(folder)), keep_data=False)
    return untrained.scores, read_run(many.folder), read_run(dagger.folder)


def results_of(untrained: Sequence[np.ndarray], many: Variant, dagger: Variant) -> list[Result]:
    """Return the rows of the table: untrained policy, expert, BC from 1 and from 10 demonstrations, DAgger."""
    return [
        Result("untrained policy", untrained, 0),
        dagger.expert,
        dagger.result("BC, 1 demonstration", 0),
        many.result(f"BC, {MANY_DEMOS} demonstrations", 0),
        *(dagger.result(f"DAgger, 1 demonstration, iteration {itr}", itr) for itr in dagger.itrs[1:]),
    ]


def make_caption(config: RunConfig, n_seeds: int, results: Sequence[Result]) -> str:
    """Return how the returns were measured, and the settings."""
    return (
        f"{count(n_seeds, 'seed')}, {count(config.eval_episodes, 'new episode')} each. {interval_caption(results)}"
        f" {PAIRED} {config.n_layers} x {config.size} {config.activation},"
        f" {config.num_agent_train_steps_per_iter:,} gradient steps of {config.train_batch_size} rows and at least"
        f" {config.batch_size:,} environment steps an iteration, learning rate {config.learning_rate:g}."
    )


def record_gifs(dagger_folder: Path, config: RunConfig, out: Path) -> None:
    """Write a GIF of the BC policy and one of DAgger's last policy, both on the same four new episodes."""
    env = env_of(config)
    seeds = [int(seed) for seed in stream(config.seed, "video").integers(2**62, size=4)]
    policies = {"bc_1_demo.gif": dagger_folder / "policy_itr_0.pt", "dagger.gif": dagger_folder}
    for name, policy in policies.items():
        actor = load_actor(policy, env)
        videos = [record_frames(env, actor, seed, config.ep_len) for seed in seeds]
        write_video(out / name, tile([frames for frames, _ in videos], columns=2), fps=videos[0][1])
