"""Rolling out an actor: one episode, enough steps, or n episodes; here or in worker processes.

Each episode's seed is drawn in order from one generator and an actor draws only from the seed of its
`reset`, so the same generator gives the same episodes whatever the number of workers. Importing this file
does not import torch: a worker needs none.
"""

from __future__ import annotations

import faulthandler
import functools
import itertools
import multiprocessing
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import gymnasium as gym
import numpy as np

from rl_il.envs import env_spec, episode_limit, is_discrete, make_env, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.interrupts import end_with_parent, interrupts_ignored
from rl_il.infrastructure.lockstep import LockstepEpisodes
from rl_il.infrastructure.seeding import episode_seeds
from rl_il.types import EXPERT, LEARNER, Actor, Trajectory, has_expert_beside, reads_simulator

OnStep = Callable[[gym.Env], None]

MOST_DEATHS = 3  # of worker processes, before an episode is given up
MOST_SECONDS = 600  # without an answer, before a worker process is taken for hanging


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


class RolloutWorkers:
    """Processes that roll out whole episodes. Takes the place of an environment below; close it when done.

    If one of them dies (a segmentation fault prints its traceback), new ones are started and the unfinished
    episodes are rolled out again: their seeds make them the same.
    """

    def __init__(self, env_name: str, num_workers: int):
        self.env_name, self.num_workers = env_name, num_workers
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads and locks
        pool = ProcessPoolExecutor(self.num_workers, context, initializer=_begin_worker)
        with interrupts_ignored():  # Ctrl-C is the parent's to handle; it ends the processes
            for _ in range(self.num_workers):
                pool.submit(_worker_env, self.env_name)
        return pool

    def episodes(
        self, actor: Actor, seeds: Sequence[int] | Iterator[int], max_path_length: int | None, source: int
    ) -> Episodes:
        """The seeds' episodes in order. All of a sequence are asked for at once; of an endless iterator a few, ahead
        of need."""
        return Episodes(self, seeds, (actor, max_path_length, source))

    def submit(self, seed: int, arguments: tuple) -> tuple[ProcessPoolExecutor, Future]:
        """Asks for an episode. The pool is named with it, since it may be replaced before the answer."""
        actor, max_path_length, source = arguments
        try:
            future = self._pool.submit(_worker_trajectory, self.env_name, actor, seed, max_path_length, source)
        except BrokenProcessPool as error:  # it is found dead before it is asked
            future = Future()
            future.set_exception(error)
        return self._pool, future

    def result(self, pool: ProcessPoolExecutor, future: Future) -> Trajectory:
        """The episode, when it is finished. Processes that don't answer are killed, and so break their pool."""
        try:
            return future.result(timeout=MOST_SECONDS)
        except FutureTimeout:
            if future.done():  # the environment raised this very error
                raise
            print(f"note: no episode for {MOST_SECONDS} s; the worker processes are killed", file=sys.stderr)
            _kill(pool)
            return future.result()

    def kill(self) -> None:
        """Ends the processes at once; nobody waits for their episodes."""
        _kill(self._pool)

    def replace(self, broken: ProcessPoolExecutor) -> None:
        """Starts new processes in the place of this pool, unless that was done already."""
        if broken is self._pool:
            print("note: a worker process died; its episodes are rolled out again", file=sys.stderr)
            self._pool.shutdown()
            self._pool = self._start()

    def close(self) -> None:
        """Ends the processes; episodes under way are finished first."""
        self._pool.shutdown(cancel_futures=True)


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # kill_workers() comes with Python 3.14
        process.kill()


class Episodes:
    """An iterator over episodes that worker processes have begun."""

    def __init__(self, workers: RolloutWorkers, seeds: Sequence[int] | Iterator[int], arguments: tuple):
        self._workers, self._arguments = workers, arguments
        ahead = len(seeds) if isinstance(seeds, Sequence) else workers.num_workers + 1
        self._seeds = iter(seeds)
        self._pending: deque[tuple[int, ProcessPoolExecutor, Future]] = deque()
        self._begin(ahead)

    def _begin(self, n: int) -> None:
        for seed in itertools.islice(self._seeds, n):
            self._pending.append((seed, *self._workers.submit(seed, self._arguments)))

    def __iter__(self) -> Episodes:
        return self

    def __next__(self) -> Trajectory:
        if not self._pending:
            raise StopIteration
        for deaths in itertools.count(1):
            _, pool, future = self._pending[0]
            try:
                trajectory = self._workers.result(pool, future)
            except BrokenProcessPool as error:
                if deaths == MOST_DEATHS:
                    raise InputError(
                        f"the processes that roll out {self._workers.env_name} died {deaths} times at one episode; if"
                        " memory is short, give fewer --num_workers"
                    ) from error
                self._workers.replace(pool)
                self._pending = deque(map(self._again, self._pending))
            else:
                self._pending.popleft()
                self._begin(1)
                return trajectory

    def _again(self, episode: tuple[int, ProcessPoolExecutor, Future]) -> tuple[int, ProcessPoolExecutor, Future]:
        """The episode, or the same asked for again if it died with its process."""
        seed, _, future = episode
        lost = future.done() and isinstance(future.exception(), BrokenProcessPool)
        return (seed, *self._workers.submit(seed, self._arguments)) if lost else episode

    def close(self) -> None:
        """Drops the episodes that nobody asked for."""
        for _, _, future in self._pending:
            future.cancel()
        self._pending.clear()


RolloutSource = gym.Env | RolloutWorkers | LockstepEpisodes
"""Where episodes come from."""


@contextmanager
def rollout_source(
    env_name: str, env: gym.Env, num_workers: int, vec_env: str = "gymnasium"
) -> Iterator[RolloutSource]:
    """The environment itself, `num_workers` processes that hold one like it each, or envpool's; closed at the end."""
    if vec_env == "envpool":
        source = LockstepEpisodes(env_name, env)
    else:
        source = RolloutWorkers(env_name, num_workers) if num_workers > 1 else env
    try:
        yield source
    except BaseException:
        if isinstance(source, RolloutWorkers):
            source.kill()
        raise
    finally:
        source.close()
        env.close()


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


def enough(
    episodes: Episodes | Generator[Trajectory], min_timesteps: int, n_episodes: int | None = None
) -> list[Trajectory]:
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
    if isinstance(env, (RolloutWorkers, LockstepEpisodes)):
        return env.episodes(actor, seeds, max_path_length, source)
    return (sample_trajectory(env, actor, seed, max_path_length, source) for seed in seeds)


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


def _begin_worker() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # for torch, which a policy that sees pictures brings: one core a worker
    faulthandler.enable()
    end_with_parent()


def _worker_trajectory(env_name: str, actor: Actor, seed: int, max_path_length: int | None, source: int):
    return sample_trajectory(_worker_env(env_name), actor, seed, max_path_length, source)


@functools.cache
def _worker_env(env_name: str) -> gym.Env:
    return make_env(env_name)
