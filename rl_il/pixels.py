"""Driving from the camera: what behavioural cloning makes of 1 to 20 laps, and DAgger of 20, on CarRacing-v3."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_spec, make_env
from rl_il.errors import InputError
from rl_il.evaluation import record_demos
from rl_il.experiment import resume, run
from rl_il.files import atomic_write
from rl_il.infrastructure.logger import is_finished, read_config
from rl_il.infrastructure.progress import seconds
from rl_il.infrastructure.seeding import episode_seeds, stream
from rl_il.infrastructure.video import record_frames, tile, write_video
from rl_il.policies.experts import load_actor
from rl_il.report.figures import Curve, add_caption, draw_curves, new_figure, save
from rl_il.report.runs import Run, Variant, read_run
from rl_il.report.tables import Result, markdown
from rl_il.report.track import Drive, draw_drives, drive
from rl_il.run_parts import Episodes
from rl_il.types import Actor

TRACKS_TO_TRY = 20  # fresh ones, of which the first that the clone does not finish is drawn


@dataclass(frozen=True)
class Experiment:
    """What is run.

    Attributes:
      laps: numbers of demonstrated laps to clone from; DAgger begins with the last.
      config: of the DAgger run; cloning takes its settings too.
    """

    laps: Sequence[int]
    config: RunConfig


# Chosen with seed 1001, on other tracks than those of the results.
DRIVING = RunConfig(
    env_name="CarRacing-v3",
    do_dagger=True,
    n_iter=9,
    batch_episodes=5,
    num_agent_train_steps_per_iter=2000,
    train_batch_size=64,
    learning_rate=5e-4,
    eval_episodes=20,
    max_replay_buffer_size=100_000,
    torch_threads=2,
    video_log_freq=-1,
)
FULL = Experiment((1, 5, 10, 20), DRIVING)
QUICK = Experiment(
    (1, 5), replace(DRIVING, n_iter=4, batch_episodes=4, num_agent_train_steps_per_iter=1500, eval_episodes=5)
)


def run_pixels(experiment: Experiment, out: Path, seed: int, num_workers: int) -> str:
    """Records the laps, trains, and draws; what the folder holds already is not made again.

    Args:
      experiment: what to run.
      out: the folder of everything.
      seed: of the laps, the training, and the tracks that are evaluated.
      num_workers: processes that drive.

    Returns:
      the table.
    """
    start = time.perf_counter()
    laps = out / f"laps_{experiment.laps[-1]}_seed_{seed}.npz"
    config = replace(experiment.config, seed=seed, num_workers=num_workers, expert_data=str(laps))
    if not laps.exists():
        print(f"recording {experiment.laps[-1]} laps of the expert", flush=True)
        record_demos(
            config.env_name,
            laps,
            n_demos=experiment.laps[-1],
            seed=seed,
            ep_len=config.ep_len,
            num_workers=num_workers,
        )
    print(f"\nDAgger from {experiment.laps[-1]} laps; its iteration 0 is cloning", flush=True)
    dagger = finished(config, out / "dagger")
    cloning = replace(config, do_dagger=False, n_iter=1)
    clones = []
    for laps in experiment.laps[:-1]:
        print(f"\ncloning from {laps} lap{'s' if laps > 1 else ''}", flush=True)
        expert = (dagger.expert_returns, dagger.expert_lengths)
        clones.append(finished(replace(cloning, n_demos=laps), out / f"bc_{laps}", expert))
    rows = results(experiment, clones, dagger)
    table = markdown(table_of(rows, Variant([dagger]).expert, dagger))
    with atomic_write(out / "table.md") as file:
        file.write((table + "\n").encode())
    plot_results(out / "results.png", experiment, clones, dagger)
    shutil.copyfile(dagger.folder / f"policy_itr_{dagger.last}.pt", out / "policy.pt")
    print(f"\n{table}\n\n{seconds(time.perf_counter() - start)}; drawing a track", flush=True)
    show_drives(out, config, dagger)
    names = ("table.md", "results.png", "track.png", "drive.gif", "policy.pt")
    print(*(out / name for name in names), sep="\n")
    return table


def finished(config: RunConfig, folder: Path, expert_episodes: Episodes | None = None) -> Run:
    """The run in this folder, which is made, or gone on with, unless it is finished.

    Raises `InputError` if the folder holds a run with other settings.
    """
    config = replace(config, logdir=str(folder))
    same = {name: getattr(config, name) for name in ("logdir", "num_workers", "expert_data")}  # of another spelling
    if not (folder / "config.json").exists():
        run(config, expert_episodes=expert_episodes)
    elif replace(read_config(folder), **same) != config:
        raise InputError(f"{folder}: holds a run with other settings; choose another --out, or remove it")
    elif not is_finished(folder):
        resume(folder, config.num_workers)
    return read_run(folder)


def results(experiment: Experiment, clones: Sequence[Run], dagger: Run) -> list[tuple[Result, float]]:
    """Each policy's returns, and the fraction of its laps that it finished."""
    cloned = zip(experiment.laps, (*clones, dagger), strict=True)
    named = [(f"BC, {laps} lap{'s' if laps > 1 else ''}", each, 0) for laps, each in cloned]
    named += [(f"DAgger, round {itr}", dagger, itr) for itr in sorted(dagger.returns) if itr]
    return [(Variant([each]).result(name, itr), each.metrics[itr]["Eval_SuccessRate"]) for name, each, itr in named]


def table_of(rows: Sequence[tuple[Result, float]], expert: Result, dagger: Run) -> list[list[str]]:
    """Rows of the table; the first is its header."""
    table = [["policy", "mean return", "95 % interval", "least", "laps finished", "% of expert", "labels"]]
    n_expert = len(dagger.expert_returns)
    for result, rate in [*rows, (expert, np.nan)]:
        low, high = result.interval
        laps = "" if np.isnan(rate) else f"{rate * len(result.episodes):.0f} of {len(result.episodes)}"
        percent = f"{100 * result.mean / expert.mean:.0f}"
        labels = "" if result is expert else f"{result.expert_labels:,.0f}"
        name = f"{result.name} ({n_expert} laps)" if result is expert else result.name
        numbers = [f"{result.mean:.0f}", f"{low:.0f} to {high:.0f}", f"{result.episodes.min():.0f}"]
        table.append([name, *numbers, laps, percent, labels])
    return table


def plot_results(path: Path, experiment: Experiment, clones: Sequence[Run], dagger: Run) -> None:
    """Cloning against the number of laps, and DAgger against its rounds."""
    expert = Variant([dagger]).expert
    cloned = [Variant([each]).result("BC", 0) for each in (*clones, dagger)]
    rounds = sorted(dagger.returns)
    improved = [Variant([dagger]).result("DAgger", itr) for itr in rounds]
    config = experiment.config
    with new_figure(2, (10, 4.6)) as (figure, (left, right)):
        draw_curves(left, [Curve("behavioural cloning", experiment.laps, cloned)], [expert])
        left.set_xlabel("demonstrated laps")
        draw_curves(right, [Curve(f"DAgger, from {experiment.laps[-1]} laps", rounds, improved)], [expert])
        right.set_xlabel("round (0: behavioural cloning)")
        right.sharey(left)
        add_caption(
            figure,
            f"CarRacing-v3 from pictures. One seed, {config.eval_episodes} unseen tracks each; bands are 95 %"
            f" intervals over the tracks. {config.num_agent_train_steps_per_iter:,} gradient steps of"
            f" {config.train_batch_size} rows and {config.batch_episodes} laps a round, learning rate"
            f" {config.learning_rate:g}.",
        )
        save(figure, path)


def show_drives(out: Path, config: RunConfig, dagger: Run) -> None:
    """The clone and DAgger's last policy on one fresh track: their paths, and a GIF."""
    env = make_env(config.env_name)
    names = ("BC", "DAgger")
    actors = [load_actor(dagger.folder / f"policy_itr_{itr}.pt", env) for itr in (0, dagger.last)]
    seed, cloned = unfinished_drive(env, actors[0], config)
    drives = [cloned, drive(env, actors[1], seed, config.ep_len)]
    env.close()
    draw_drives(out / "track.png", names, drives)
    videos = [record_frames(config.env_name, actor, seed, config.ep_len, max_frames=200) for actor in actors]
    write_video(out / "drive.gif", tile([frames for frames, _ in videos], columns=2), fps=videos[0][1])


def unfinished_drive(env: gym.Env, actor: Actor, config: RunConfig) -> tuple[int, Drive]:
    """The first of some fresh tracks whose lap the actor does not finish, or the last of them."""
    seeds = episode_seeds(stream(config.seed, "video"))
    success = env_spec(config.env_name).success
    for _ in range(TRACKS_TO_TRY):
        seed = next(seeds)
        found = drive(env, actor, seed, config.ep_len)
        if not success(found.trajectory):
            break
    return seed, found
