"""Driving from pictures: behavioural cloning from 1 to 20 laps, and DAgger from 20, on CarRacing-v3."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gymnasium as gym

from rl_il.config import RunConfig
from rl_il.envs import env_of, env_row
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.files import atomic_write
from rl_il.infrastructure.progress import seconds
from rl_il.infrastructure.rollouts import EpisodeStatistics
from rl_il.infrastructure.video import record_frames, tile, write_video
from rl_il.report.figures import Curve, add_caption, draw_curves, new_figure, save
from rl_il.report.runs import Run, Variant, read_run
from rl_il.report.tables import Result, count, interval_caption, interval_heading, markdown, number, span
from rl_il.report.track import Drive, draw_drives, drive
from rl_il.runs.evaluate import record_demos
from rl_il.runs.experiment import resume, run
from rl_il.runs.folders import is_finished, read_config
from rl_il.seeding import episode_seeds, stream
from rl_il.statistics import percent_of_expert
from rl_il.types import Actor

SHOWN_FRAMES = 5  # drive.gif has every fifth frame; with all it would take 2 MB
TRACKS_TO_TRY = 20  # number of new tracks; the first on which the BC policy does not finish is drawn

# The settings of all runs. They were chosen with seed 1001, on other tracks than those of the results.
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
QUICK = replace(DRIVING, n_iter=4, batch_episodes=4, num_agent_train_steps_per_iter=1500, eval_episodes=5)
LAPS, QUICK_LAPS = (1, 5, 10, 20), (1, 5)


def run_pixels(n_laps: Sequence[int], config: RunConfig, out: Path, seed: int, num_workers: int) -> str:
    """Record the laps, train, draw the figures, and return the table. Existing laps and runs are used again.

    Args:
      n_laps: the numbers of demonstrated laps for BC; DAgger begins with the last number.
      config: the settings of the DAgger run. This function sets `seed`, `num_workers` and `expert_data`.
      out: the folder of laps, runs, table and figures.
      seed: it chooses the laps, the training, and the tracks of all evaluations.
      num_workers: the number of processes that drive.

    Raises:
      InputError: `out` holds runs with other settings.
    """
    start = time.perf_counter()
    *fewer, most = n_laps
    laps = out / f"laps_{most}_seed_{seed}.npz"
    config = replace(config, seed=seed, num_workers=num_workers, expert_data=str(laps))
    if not laps.exists():
        print(f"recording {count(most, 'lap')} of the expert", flush=True)
        settings = {"seed": seed, "ep_len": config.ep_len, "num_workers": num_workers}
        record_demos(config.env_name, laps, n_demos=most, **settings)
    print(f"\nDAgger from {count(most, 'lap')}; its iteration 0 is behavioural cloning", flush=True)
    dagger = finished(config, out / "dagger")
    clones, expert = {}, dagger.expert
    for n in fewer:
        print(f"\nbehavioural cloning from {count(n, 'lap')}", flush=True)
        cloning = replace(config, do_dagger=False, n_iter=1, n_demos=n)
        clones[n] = finished(cloning, out / f"bc_{n}", expert)
    clones[most] = dagger
    results = results_of(clones, dagger)
    table, caption = markdown(table_of(results)), make_caption(dagger.config, results)
    with atomic_write(out / "table.md") as file:
        file.write(f"{table}\n\n{caption}\n".encode())
    plot_results(out / "results.png", clones, dagger, caption)
    shutil.copyfile(dagger.folder / f"policy_itr_{dagger.last}.pt", out / "policy.pt")
    print(f"\n{table}\n\n{caption}\n\n{seconds(time.perf_counter() - start)}; drawing a track", flush=True)
    show_drives(out, config, dagger)
    names = ("table.md", "results.png", "track.png", "drive.gif", "policy.pt")
    print(*(out / name for name in names), sep="\n")
    return table


def finished(config: RunConfig, folder: Path, expert_episodes: EpisodeStatistics | None = None) -> Run:
    """Return the finished run of this folder. If necessary, start or resume it first.

    Args:
      config: the run's settings; `logdir` is set to `folder`.
      expert_episodes: the numbers of the expert's episodes. With None, the run measures the expert.

    Raises:
      InputError: the folder holds a run with other settings.
    """
    config = replace(config, logdir=str(folder))
    # These may differ: paths can be spelled differently, and the number of workers does not change a result.
    same = {name: getattr(config, name) for name in ("logdir", "num_workers", "expert_data")}
    if not (folder / "config.json").exists():
        run(config, expert_episodes=expert_episodes, keep_data=False)
    elif replace(read_config(folder), **same) != config:
        raise InputError(f"{folder}: holds a run with other settings; choose another --out, or remove it")
    elif not is_finished(folder):
        resume(folder, config.num_workers, keep_data=False)
    return read_run(folder)


def results_of(clones: dict[int, Run], dagger: Run) -> list[tuple[Result, str]]:
    """Return the result of each row, with its number of finished laps as text. The last row is the expert's."""
    named = [(f"BC, {count(n, 'lap')}", each, 0) for n, each in clones.items()]
    named += [(f"DAgger, iteration {itr}", dagger, itr) for itr in sorted(dagger.scores) if itr]
    results = []
    for name, each, itr in named:
        result, rate = Variant([each]).result(name, itr), each.metrics[itr]["Eval_SuccessRate"]
        n = len(result.episodes)
        results.append((result, f"{rate * n:.0f} of {n}"))
    expert = Variant([dagger]).expert
    return [*results, (replace(expert, name=f"{expert.name} ({count(len(expert.episodes), 'lap')})"), "")]


def table_of(results: Sequence[tuple[Result, str]]) -> list[list[str]]:
    """Return the rows of the table; the first is its header."""
    heading, expert = interval_heading(result for result, _ in results), results[-1][0]
    rows = [["policy", "mean return", heading, "min", "laps finished", "% of expert", "labels"]]
    for result, laps in results:
        numbers = [f"{result.mean:.0f}", span(result.interval, ".0f"), f"{result.episodes.min():.0f}"]
        labels = "" if result.expert_labels is None else f"{result.expert_labels:,.0f}"
        percent = number(percent_of_expert(result.mean, expert.mean), ".0f")
        rows.append([result.name, *numbers, laps, percent, labels])
    return rows


def make_caption(config: RunConfig, results: Sequence[tuple[Result, str]]) -> str:
    """Return how the returns were measured, and the settings."""
    return (
        f"{config.env_name} from pictures, one seed. All policies and the expert drove the same"
        f" {config.eval_episodes} new tracks."
        f" {interval_caption([result for result, _ in results])}"
        f" {config.num_agent_train_steps_per_iter:,} gradient steps of {config.train_batch_size} rows for each BC run"
        f" and each iteration of DAgger, {count(config.batch_episodes, 'lap')} an iteration, learning rate"
        f" {config.learning_rate:g}."
    )


def plot_results(path: Path, clones: dict[int, Run], dagger: Run, caption: str) -> None:
    """Draw the return of BC against the number of laps, and that of DAgger against its iterations."""
    expert, rounds = Variant([dagger]).expert, sorted(dagger.scores)
    cloned = [Variant([each]).result("BC", 0) for each in clones.values()]
    improved = [Variant([dagger]).result("DAgger", itr) for itr in rounds]
    with new_figure(2, (10, 4.6)) as (figure, (left, right)):
        draw_curves(left, [Curve("behavioural cloning", list(clones), cloned)], [expert])
        left.set_xlabel("demonstrated laps")
        draw_curves(right, [Curve(f"DAgger, from {count(max(clones), 'lap')}", rounds, improved)], [expert])
        right.set_xlabel("iteration (0: behavioural cloning)")
        right.sharey(left)
        add_caption(figure, caption)
        save(figure, path)


def show_drives(out: Path, config: RunConfig, dagger: Run) -> None:
    """Draw the paths of the BC policy and of DAgger's last policy on one new track, and write a GIF of both."""
    env = env_of(config)
    actors = [load_actor(dagger.folder / f"policy_itr_{itr}.pt", env) for itr in (0, dagger.last)]
    seed, cloned = unfinished_drive(env, actors[0], config)
    drives = [cloned, drive(env, actors[1], seed, config.ep_len)]
    env.close()
    draw_drives(out / "track.png", ("BC", "DAgger"), drives)
    videos = [record_frames(env, actor, seed, config.ep_len, max_frames=200) for actor in actors]
    shown = tile([frames[::SHOWN_FRAMES] for frames, _ in videos], columns=2)
    write_video(out / "drive.gif", shown, fps=videos[0][1] / SHOWN_FRAMES)


def unfinished_drive(env: gym.Env, actor: Actor, config: RunConfig) -> tuple[int, Drive]:
    """Drive new tracks until the actor does not finish a lap; return the seed of that track and the drive.

    If it finishes the laps of all `TRACKS_TO_TRY` tracks, return the last track.
    """
    seeds = episode_seeds(stream(config.seed, "video"))
    success = env_row(config.env_name).success
    for _ in range(TRACKS_TO_TRY):
        seed = next(seeds)
        found = drive(env, actor, seed, config.ep_len)
        if not success(found.trajectory):
            break
    return seed, found
