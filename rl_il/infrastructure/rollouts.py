"""Rolling out an actor: one episode, enough steps, or n episodes.

Each episode's seed is drawn in order from one generator and an actor draws only from the seed of its
`reset`, so the same generator gives the same episodes, wherever they are rolled out. Importing this file
does not import torch.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Protocol

import gymnasium as gym
import numpy as np

from rl_il.envs import env_spec, episode_limit, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.seeding import episode_seeds
from rl_il.types import EXPERT, LEARNER, Actor, Trajectory, has_expert_beside, reads_simulator

OnStep = Callable[[gym.Env], None]


def sample_trajectory(
    env: gym.Env,
    actor: Actor,
    seed: int,
    max_path_length: int | None = None,
    source: int = LEARNER,
    on_step: OnStep | None = None,
) -> Trajectory:
    """Rolls out one whole episode.

    A continuous action is clipped to the environment's bounds before it is executed; `acs` holds what was
    executed. If the actor is the expert (`source=EXPERT`), `expert_acs` keeps its unclipped action as the
    label; if an expert is beside it, that one's. Reaching `max_path_length` counts as a time limit.
    `on_step(env)` is called before each step.
    """
    steps = trajectory_steps(env, actor, seed, max_path_length, source, on_step)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def trajectory_steps(
    env: gym.Env,
    actor: Actor,
    seed: int,
    max_path_length: int | None = None,
    source: int = LEARNER,
    on_step: OnStep | None = None,
) -> Generator[np.ndarray, None, Trajectory]:
    """`sample_trajectory`, a step at a time: yields each observation before the actor is asked about it."""
    limit = episode_limit(env, max_path_length)
    if limit is None:
        raise InputError(f"{name_of(env)} has no time limit of its own; give one with --ep_len")
    discrete = is_discrete(env.action_space)
    low, high = (None, None) if discrete else (env.action_space.low, env.action_space.high)
    ob, _ = env.reset(seed=seed)
    if reads_simulator(actor):
        actor.watch(env)
    actor.reset(seed)
    obs, labels, executed, rewards, sources = [np.array(ob)], [], [], [], []
    get_action, step = actor.get_action, env.step
    accompanied = has_expert_beside(actor)
    terminated = truncated = False
    while not (terminated or truncated):
        if on_step:
            on_step(env)
        yield ob
        ac = get_action(ob)
        step_ac = int(ac) if discrete else np.minimum(np.maximum(ac, low), high)
        try:
            ob, reward, terminated, truncated, _ = step(step_ac)
        except Exception as error:  # whatever the environment's author did not think of
            raise InputError(_what_failed(env, seed, len(executed), error)) from error
        obs.append(np.array(ob))  # some environments write every observation into one array
        labels.append(actor.expert_label if accompanied else ac)
        executed.append(step_ac)
        rewards.append(reward)
        sources.append(actor.source if accompanied else source)
        truncated = truncated or (not terminated and len(executed) >= limit)
    dtype = np.int64 if discrete else np.float32
    return Trajectory(
        obs=np.array(obs, env.observation_space.dtype),
        acs=np.array(executed, dtype),
        rewards=np.array(rewards, np.float64),
        terminated=bool(terminated),
        truncated=bool(truncated),
        expert_acs=np.array(labels, dtype) if accompanied or source == EXPERT else None,
        source=np.array(sources, np.int8),
    )


def _what_failed(env: gym.Env, seed: int, steps: int, error: Exception) -> str:
    """Where an environment failed: the place in its code, and how to come back to it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{name_of(env)} failed in step {steps + 1} of the episode from seed {seed}: {type(error).__name__}: {error}"
        f" ({last.filename}, line {last.lineno})"
    )


class EpisodeSource(Protocol):
    """What takes an environment's place where episodes come from: worker processes, environments in lockstep."""

    env_name: str

    def episodes(
        self, actor: Actor, seeds: Sequence[int] | Iterator[int], max_path_length: int | None, source: int
    ) -> Iterator[Trajectory]:
        """The seeds' whole episodes, in order; of an endless iterator, as many as are asked for."""

    def close(self) -> None:
        """Ends what it runs."""


RolloutSource = gym.Env | EpisodeSource


def sample_trajectories(
    env: RolloutSource,
    actor: Actor,
    min_timesteps: int,
    rng: np.random.Generator,
    max_path_length: int | None = None,
    source: int = LEARNER,
) -> list[Trajectory]:
    """Whole episodes until they hold at least `min_timesteps` steps together. For collecting, not for
    evaluating: stopping at a step count favours short episodes."""
    return enough(begin_episodes(env, actor, rng, max_path_length, source), min_timesteps)


def enough(episodes: Iterator[Trajectory], min_timesteps: int, n_episodes: int | None = None) -> list[Trajectory]:
    """As many of the episodes as hold at least `min_timesteps` steps together, or `n_episodes`."""
    trajectories: list[Trajectory] = []
    timesteps = 0
    while timesteps < min_timesteps if n_episodes is None else len(trajectories) < n_episodes:
        trajectories.append(next(episodes))
        timesteps += len(trajectories[-1])
    episodes.close()
    return trajectories


def sample_n_trajectories(
    env: RolloutSource,
    actor: Actor,
    n: int,
    rng: np.random.Generator,
    max_path_length: int | None = None,
    source: int = LEARNER,
) -> Iterator[Trajectory]:
    """Yields exactly `n` whole episodes, each as soon as it and those before it are finished."""
    return begin_episodes(env, actor, rng, max_path_length, source, n)


def begin_episodes(
    env: RolloutSource,
    actor: Actor,
    rng: np.random.Generator,
    max_path_length: int | None = None,
    source: int = LEARNER,
    n: int | None = None,
) -> Iterator[Trajectory]:
    """`n` whole episodes, or without end. Worker processes begin the first ones now, before they are asked for."""
    seeds = episode_seeds(rng) if n is None else list(itertools.islice(episode_seeds(rng), n))
    if isinstance(env, gym.Env):
        return (sample_trajectory(env, actor, seed, max_path_length, source) for seed in seeds)
    return env.episodes(actor, seeds, max_path_length, source)


def returns_and_lengths(trajectories: Sequence[Trajectory]) -> tuple[np.ndarray, np.ndarray]:
    """Each episode's return (float64) and number of steps."""
    return np.array([t.episode_return for t in trajectories]), np.array([len(t) for t in trajectories])


def look_at(episodes: Iterable[Trajectory], env_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Each episode's return, length and, if the environment says what it is, success (bool).

    Each is dropped once it is counted: a hundred of CarRacing's pictures would take 2 GB.
    """
    reached = env_spec(env_name).success
    rows = [(t.episode_return, len(t), bool(reached and reached(t))) for t in episodes]
    returns, lengths, success = (np.array(column) for column in zip(*rows, strict=True))
    return returns, lengths, success if reached else None
