"""Driving from pictures: what behavioural cloning makes of 1 to 20 laps, and DAgger of 20, on CarRacing-v3."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import gymnasium as gym

from rl_il.config import RunConfig
from rl_il.datasets.findings import counted
from rl_il.envs import env_spec, make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.files import atomic_write
from rl_il.infrastructure.progress import seconds
from rl_il.infrastructure.rollouts import Episodes
from rl_il.infrastructure.video import record_frames, tile, write_video
from rl_il.report.figures import Curve, add_caption, draw_curves, new_figure, save
from rl_il.report.runs import Run, Variant, read_run
from rl_il.report.tables import Result, markdown, span
from rl_il.report.track import Drive, draw_drives, drive
from rl_il.runs.evaluate import record_demos
from rl_il.runs.experiment import resume, run
from rl_il.runs.folders import is_finished, read_config
from rl_il.seeding import episode_seeds, stream
from rl_il.types import Actor

TRACKS_TO_TRY = 20  # fresh ones; the first that the clone does not finish is drawn

# The DAgger run; cloning has its settings too. Chosen with seed 1001, on other tracks than those of the results.
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
    """Record the laps, train, draw, and return the table; what the folder `out` holds already is not made again.

    `n_laps` are the numbers of demonstrated laps to clone from; DAgger, of which `config` is, begins with the last.
    `seed` is that of the laps, the training, and the tracks that are evaluated.
    """
    start = time.perf_counter()
    *fewer, most = n_laps
    laps = out / f"laps_{most}_seed_{seed}.npz"
    config = replace(config, seed=seed, num_workers=num_workers, expert_data=str(laps))
    if not laps.exists():
        print(f"recording {most} laps of the expert", flush=True)
        settings = {"seed": seed, "ep_len": config.ep_len, "num_workers": num_workers}
        record_demos(config.env_name, laps, n_demos=most, **settings)
    print(f"\nDAgger from {most} laps; its iteration 0 is cloning", flush=True)
    dagger = finished(config, out / "dagger")
    clones, expert = {}, (dagger.expert_returns, dagger.expert_lengths)
    for n in fewer:
        print(f"\ncloning from {counted(n, 'lap')}", flush=True)
        cloning = replace(config, do_dagger=False, n_iter=1, n_demos=n)
        clones[n] = finished(cloning, out / f"bc_{n}", expert)
    clones[most] = dagger
    table = markdown(table_of(clones, dagger))
    with atomic_write(out / "table.md") as file:
        file.write((table + "\n").encode())
    plot_results(out / "results.png", clones, dagger)
    shutil.copyfile(dagger.folder / f"policy_itr_{dagger.last}.pt", out / "policy.pt")
    print(f"\n{table}\n\n{seconds(time.perf_counter() - start)}; drawing a track", flush=True)
    show_drives(out, config, dagger)
    names = ("table.md", "results.png", "track.png", "drive.gif", "policy.pt")
    print(*(out / name for name in names), sep="\n")
    return table


def finished(config: RunConfig, folder: Path, expert_episodes: Episodes | None = None) -> Run:
    """Return the run in this folder; it is begun or continued unless it is finished.

    Raises `InputError` if the folder holds a run with other settings.
    """
    config = replace(config, logdir=str(folder))
    same = {name: getattr(config, name) for name in ("logdir", "num_workers", "expert_data")}  # of another spelling
    if not (folder / "config.json").exists():
        run(config, expert_episodes=expert_episodes, keep_data=False)
    elif replace(read_config(folder), **same) != config:
        raise InputError(f"{folder}: holds a run with other settings; choose another --out, or remove it")
    elif not is_finished(folder):
        resume(folder, config.num_workers, keep_data=False)
    return read_run(folder)


def table_of(clones: dict[int, Run], dagger: Run) -> list[list[str]]:
    """Return the rows of the table; the first is its header. `clones` are by their number of laps."""
    expert = Variant([dagger]).expert
    named = [(f"BC, {counted(n, 'lap')}", each, 0) for n, each in clones.items()]
    named += [(f"DAgger, round {itr}", dagger, itr) for itr in sorted(dagger.returns) if itr]
    rows = [["policy", "mean return", "95 % interval", "least", "laps finished", "% of expert", "labels"]]
    for name, each, itr in named:
        result, rate = Variant([each]).result(name, itr), each.metrics[itr]["Eval_SuccessRate"]
        n = len(result.episodes)
        rows.append(row(result, expert, f"{rate * n:.0f} of {n}", f"{result.expert_labels:,.0f}"))
    counted_expert = replace(expert, name=f"{expert.name} ({len(expert.episodes)} laps)")
    return [*rows, row(counted_expert, expert, "", "")]


def row(result: Result, expert: Result, laps: str, labels: str) -> list[str]:
    """Return one policy's cells."""
    numbers = [f"{result.mean:.0f}", span(result.interval, ".0f"), f"{result.episodes.min():.0f}"]
    return [result.name, *numbers, laps, f"{100 * result.mean / expert.mean:.0f}", labels]


def plot_results(path: Path, clones: dict[int, Run], dagger: Run) -> None:
    """Draw cloning against the number of laps, and DAgger against its rounds."""
    expert, rounds, config = Variant([dagger]).expert, sorted(dagger.returns), dagger.config
    cloned = [Variant([each]).result("BC", 0) for each in clones.values()]
    improved = [Variant([dagger]).result("DAgger", itr) for itr in rounds]
    with new_figure(2, (10, 4.6)) as (figure, (left, right)):
        draw_curves(left, [Curve("behavioural cloning", list(clones), cloned)], [expert])
        left.set_xlabel("demonstrated laps")
        draw_curves(right, [Curve(f"DAgger, from {max(clones)} laps", rounds, improved)], [expert])
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
    """Draw the paths of the clone and of DAgger's last policy on one fresh track, and film them."""
    env = make_env(config.env_name)
    actors = [load_actor(dagger.folder / f"policy_itr_{itr}.pt", env) for itr in (0, dagger.last)]
    seed, cloned = unfinished_drive(env, actors[0], config)
    drives = [cloned, drive(env, actors[1], seed, config.ep_len)]
    env.close()
    draw_drives(out / "track.png", ("BC", "DAgger"), drives)
    videos = [record_frames(config.env_name, actor, seed, config.ep_len, max_frames=200) for actor in actors]
    write_video(out / "drive.gif", tile([frames for frames, _ in videos], columns=2), fps=videos[0][1])


def unfinished_drive(env: gym.Env, actor: Actor, config: RunConfig) -> tuple[int, Drive]:
    """Return the first of some fresh tracks whose lap the actor does not finish, or the last of them."""
    seeds = episode_seeds(stream(config.seed, "video"))
    success = env_spec(config.env_name).success
    for _ in range(TRACKS_TO_TRY):
        seed = next(seeds)
        found = drive(env, actor, seed, config.ep_len)
        if not success(found.trajectory):
            break
    return seed, found
