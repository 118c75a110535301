"""The jobs of an ablation: its trainings and reference returns, and an estimate of how long they take."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
import zlib
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.config import COMPILE_FROM, ENV, RunConfig
from rl_il.envs import env_of, env_row, episode_limit, is_picture
from rl_il.errors import InputError, RemovedError
from rl_il.experts.loading import load_actor
from rl_il.files import safe_name, write_json
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.rollouts import EpisodeStatistics, look_at, sample_n_trajectories, sample_trajectory
from rl_il.report.alike import NOT_COMPARED
from rl_il.runs.checkpoint import Checkpoint
from rl_il.runs.experiment import CLONING, Kind, resume, run
from rl_il.runs.folders import AnyConfig, is_finished, read_config
from rl_il.runs.parts import (
    build_policy,
    count_eval_episodes,
    find_expert,
    labelled_demonstrations,
)
from rl_il.runs.trackers import check_tracker
from rl_il.seeding import evaluation_seeds
from rl_il.types import Actor

COMPILED_GAIN = 4.0  # speed of a compiled step, relative to an eager one
GRADIENT_STEPS = 50  # the number that is timed for the estimate
GRAPH = (*ENV, "expert_data", "policy_class", "head", "loss", "n_layers", "size", "activation", "train_batch_size")
GRAPH += ("torch_threads", "history", "chunk", "modes", "flow_steps", "colour", "whole_picture")
GRAPH += ("ensemble", "ensemble_minibatches", "normalize_acs", "layer_norm", "dropout", "augment")
"""The settings on which a compiled step depends."""
TIMED = ("n_layers", "size", "train_batch_size", "ensemble", "ensemble_minibatches")
"""The settings on which the estimated time of a gradient step depends."""


def check_config(config: RunConfig) -> None:
    """Raise `InputError` if the run's tracker, expert, demonstrations or time limit is missing or does not fit."""
    check_tracker(config.tracker)
    with closing(env_of(config)) as env:
        find_expert(config, env)
        labelled_demonstrations(config, env)
        count_eval_episodes(config, env)


def train(config: AnyConfig, expert_episodes: EpisodeStatistics | None, outdir: Path, kind: Kind = CLONING) -> None:
    """Train one run in its folder below `outdir`; resume it if it was interrupted.

    Args:
      expert_episodes: the numbers of the expert's episodes. With None, the run measures the expert.
      kind: the kind of run that the config describes.
    """
    if not outdir.is_dir():  # removed since the ablation began; a new one would hold a part of it
        raise RemovedError(outdir)
    config = replace(config, logdir=str(outdir / config.logdir))
    folder = Path(config.logdir)
    if Checkpoint(folder).exists() and difference(read_config(folder), config) is None:
        resume(folder, verbose=False, keep_data=False, kind=kind)
        return
    shutil.rmtree(folder, ignore_errors=True)
    run(config, verbose=False, expert_episodes=expert_episodes, keep_data=False, kind=kind)


def difference(found: RunConfig, asked: RunConfig) -> str | None:
    """Return the name of the first setting in which two configs differ, or None.

    The seed, the folder, and settings that do not change a result are not compared.
    """
    names = (item.name for item in dataclasses.fields(asked) if item.name not in NOT_COMPARED)
    return next((name for name in names if getattr(found, name, None) != getattr(asked, name)), None)


def reference_folder(config: RunConfig) -> str:
    """Return the folder of a run's reference returns. Its name contains everything that they depend on."""
    decisive = (config.expert_policy_file, config.expert_activation, config.ep_len, config.eval_batch_size)
    decisive += ("no_normalizer",) if config.no_normalizer else ()
    decisive += (config.eval_seeds,) if config.eval_seeds else ()
    if len(config.env_settings) > 1 or safe_name(config.env_name) != config.env_name:
        decisive += tuple(config.env_settings.values())
    episodes = (config.eval_episodes, env_row(config.env_name).expert_steps)
    key = zlib.crc32(json.dumps([*decisive, *episodes]).encode())
    return f"references/{safe_name(config.env_name)}_seed_{config.seed}_{key:08x}"


def measure_reference(config: RunConfig, outdir: Path) -> None:
    """Measure the reference returns of a seed, those of the random policy and of the expert, and write them.

    Both are measured on the episodes of the runs' evaluations.
    """
    with closing(env_of(config)) as env:
        n = count_eval_episodes(config, env)
        measured = {"random": measure(load_actor("random", env), config, env, n)}
        expert = find_expert(config, env)
        if expert is not None:
            measured["expert"] = measure(expert, config, env, n)
    lists = {name: [numbers.tolist() for numbers in episodes] for name, episodes in measured.items()}
    write_json(outdir / reference_folder(config) / "summary.json", lists | {"status": "finished"})


def measure(actor: Actor, config: RunConfig, env: gym.Env, n_episodes: int) -> EpisodeStatistics:
    """Return the numbers of an actor's episodes, on the seeds of the run's evaluations."""
    seeds = evaluation_seeds(config.seed, config.fixed_seeds)
    return look_at(sample_n_trajectories(env, actor, n_episodes, seeds, config.ep_len), config.env_name)[0]


def read_reference(config: RunConfig, outdir: Path) -> dict[str, EpisodeStatistics]:
    """Return what `measure_reference` wrote: the episodes of `random` and, if there is one, of `expert`."""
    measured = json.loads((outdir / reference_folder(config) / "summary.json").read_text(encoding="utf-8"))
    del measured["status"]
    return {name: EpisodeStatistics.from_lists(*lists) for name, lists in measured.items()}


def with_one_compile(configs: Sequence[RunConfig], outdir: Path) -> list[RunConfig]:
    """Return the configs, with `--compile on` for all if together they make the gradient steps that justify it.

    The runs then differ only in the settings that are compared. If some were finished before, for instance with fewer
    seeds, the others do as these did.
    """
    if any(config.compile != "auto" for config in configs):
        return list(configs)
    before = [read_config(outdir / c.logdir).compile for c in configs if is_finished(outdir / c.logdir)]
    compiled = sum(config.total_steps(labelled_steps(config)) for config in configs) >= COMPILE_FROM
    for config in {tuple(getattr(config, name) for name in ENV): config for config in configs}.values():
        with closing(env_of(config)) as env:  # convolutions do not become faster by compiling
            compiled = compiled and not is_picture(env.observation_space)
    choice = before[0] if before else "on" if compiled else "auto"
    return [replace(config, compile=choice) for config in configs]


def compile_steps(configs: Sequence[RunConfig]) -> None:
    """Compile the gradient step of each network shape among the configs, unless it is in the cache."""
    compiled = [config for config in configs if config.compile == "on"]
    for config in {tuple(getattr(config, name) for name in GRAPH): config for config in compiled}.values():
        with suppress(InputError), closing(env_of(config)) as env:  # the run itself reports it
            filled_trainer(config, env).fit.prepare()


def labelled_steps(config: RunConfig) -> int:
    """Return the number of labelled steps in iteration 0; return 0 if the training length does not depend on it."""
    if config.n_epochs is None:
        return 0
    with closing(env_of(config)) as env:
        return sum(int(trajectory.labelled_steps.sum()) for trajectory in labelled_demonstrations(config, env))


def estimate(configs: Sequence[RunConfig], processes: int) -> float:
    """Return the seconds that the trainings take if every episode has its full length."""
    times, seconds = {}, []
    for config in configs:
        kind = tuple(getattr(config, name) for name in (*ENV, *TIMED))
        times[kind] = times.get(kind) or step_times(config)
        seconds.append(seconds_of(config, *times[kind]))
    return max(*seconds, sum(seconds) / processes)


def seconds_of(config: RunConfig, env_step: float, gradient_step: float) -> float:
    """Return the seconds of a training, given the seconds of an environment step and of an eager gradient step."""
    rows = labelled_steps(config)
    steps = config.steps_per_iteration(rows)
    with closing(env_of(config)) as env:
        env_steps = count_eval_episodes(config, env) * (episode_limit(env, config.ep_len) or 0)
    env_steps *= config.n_iter * len(config.evaluation_steps(steps))
    env_steps += (config.n_iter - 1) * config.batch_size
    training = config.n_iter * steps * gradient_step / (COMPILED_GAIN if config.compiles(rows) else 1)
    return training + env_steps * env_step


def step_times(config: RunConfig) -> tuple[float, float]:
    """Return the seconds of an environment step with a random policy, and of an eager gradient step."""
    with closing(env_of(config)) as env:
        actor = load_actor("random", env)
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < 0.2:
            steps += len(sample_trajectory(env, actor, seed=steps, max_path_length=config.ep_len))
        env_step = (time.perf_counter() - start) / steps
        trainer = filled_trainer(replace(config, compile="off"), env)
    steps, together = 10 + GRADIENT_STEPS, trainer.policy.minibatches
    draws = trainer.buffer.minibatches(config.train_batch_size, np.random.default_rng(0), steps, None, together)
    for i, rows in enumerate(draws, start=-10):  # the first steps are slower, so they are not timed
        if i == 0:
            start = time.perf_counter()
        trainer.policy.update(*trainer.fit.batch(rows))
    return env_step, (time.perf_counter() - start) / GRADIENT_STEPS


def filled_trainer(config: RunConfig, env: gym.Env) -> RLTrainer:
    """Return a trainer of behavioural cloning that has the run's demonstrations in its buffer."""
    policy, demonstrations = build_policy(config, env), labelled_demonstrations(config, env)
    trainer = RLTrainer(replace(config, do_dagger=False, n_iter=1), env, policy, demonstrations)
    trainer.add(0, demonstrations)
    return trainer
