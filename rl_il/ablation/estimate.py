"""How long trainings will take: from some steps of each kind, here and now."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from rl_il.ablation.jobs import Training, labelled_steps
from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.experts import load_actor
from rl_il.run_parts import build_policy, count_eval_episodes

COMPILING = 6.0  # seconds
COMPILED_GAIN = 4.0  # times an eager step's speed


def estimate(jobs: Sequence[Training], processes: int) -> float:
    """Seconds that the trainings will take, if every episode has its full length: from some steps of each kind."""
    times: dict[Any, tuple[float, float]] = {}
    total = []
    for job in jobs:
        config = job.configs[-1]
        kind = (config.env_name, config.n_layers, config.size, config.train_batch_size)
        if kind not in times:
            times[kind] = _step_times(config)
        total.append(_seconds(job, *times[kind]))
    return max(max(total, default=0.0), sum(total) / processes)


def _seconds(job: Training, env_step: float, gradient_step: float) -> float:
    config = job.configs[-1]
    env = make_env(config.env_name)
    episodes = count_eval_episodes(config, env) * (len(job.configs) if len(job.configs) > 1 else config.n_iter)
    env_steps = (
        episodes * (config.ep_len or env.spec.max_episode_steps or 0) + (config.n_iter - 1) * config.batch_size
    )
    rows = labelled_steps(config)
    steps = config.num_agent_train_steps_per_iter * config.n_iter
    if config.n_epochs:
        steps = config.n_epochs * config.n_iter * math.ceil(rows / config.train_batch_size)
    training = steps * gradient_step
    if config.compiles(rows):
        training = COMPILING + training / COMPILED_GAIN
    return training + env_steps * env_step


def _step_times(config: RunConfig) -> tuple[float, float]:
    """Seconds of an environment step with a random policy and of an eager gradient step, here and now."""
    env = make_env(config.env_name)
    policy = build_policy(config, env)
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < 0.2:
        steps += len(sample_trajectory(env, load_actor("random", env), seed=steps, max_path_length=config.ep_len))
    env_step = (time.perf_counter() - start) / steps
    obs = np.zeros((config.train_batch_size, *env.observation_space.shape), np.float32)
    acs = np.stack([env.action_space.sample()] * config.train_batch_size)
    for i in range(60):
        if i == 10:
            start = time.perf_counter()
        policy.update(obs, acs)
    env.close()
    return env_step, (time.perf_counter() - start) / 50
