"""Worker processes that roll out whole episodes, each with an environment of its own. They import no torch."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import pickle
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import gymnasium as gym

from rl_il.envs import make_env
from rl_il.infrastructure.batched import BatchedEpisodes
from rl_il.infrastructure.interrupts import (
    MOST_DEATHS,
    MOST_SECONDS,
    begin_worker,
    died_too_often,
    interrupts_ignored,
)
from rl_il.infrastructure.lockstep import LockstepEpisodes
from rl_il.infrastructure.rollouts import RolloutSource, sample_trajectory
from rl_il.types import Actor, Trajectory

# To ask and to answer takes half a millisecond, and short episodes seven: many are asked for in groups. Few are not,
# since larger groups end less evenly.
GROUPS_PER_WORKER = 32


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
        pool = ProcessPoolExecutor(self.num_workers, context, initializer=begin_worker)
        with interrupts_ignored():  # Ctrl-C is the parent's to handle; it ends the processes
            for _ in range(self.num_workers):
                pool.submit(_worker_env, self.env_name)
        return pool

    def episodes(
        self, actor: Actor, seeds: Sequence[int] | Iterator[int], max_path_length: int | None, source: int
    ) -> Episodes:
        """The seeds' episodes in order. All of a sequence are asked for at once, many of them in groups; of an
        endless iterator a few, ahead of need."""
        return Episodes(self, seeds, (pickle.dumps(actor), max_path_length, source))

    def submit(self, seeds: list[int], arguments: tuple) -> tuple[ProcessPoolExecutor, Future]:
        """Asks for a group's episodes. The pool is named with it, since it may be replaced before the answer."""
        actor, max_path_length, source = arguments
        try:
            future = self._pool.submit(_worker_trajectories, self.env_name, actor, seeds, max_path_length, source)
        except BrokenProcessPool as error:  # it is found dead before it is asked
            future = Future()
            future.set_exception(error)
        return self._pool, future

    def result(self, n: int, pool: ProcessPoolExecutor, future: Future) -> list[Trajectory]:
        """A group of n episodes, when it is finished. Processes that don't answer are killed, and so break their
        pool."""
        try:
            return future.result(timeout=n * MOST_SECONDS)
        except FutureTimeout:
            if future.done():  # the environment raised this very error
                raise
            print(f"note: no answer for {n * MOST_SECONDS} s; the worker processes are killed", file=sys.stderr)
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
        size, ahead = 1, workers.num_workers + 1
        if isinstance(seeds, Sequence):
            size, ahead = max(1, len(seeds) // (GROUPS_PER_WORKER * workers.num_workers)), len(seeds)
        seeds = iter(seeds)
        self._groups = iter(lambda: list(itertools.islice(seeds, size)), [])
        self._pending: deque[tuple[list[int], ProcessPoolExecutor, Future]] = deque()
        self._finished: deque[Trajectory] = deque()
        self._begin(ahead)

    def _begin(self, n: int) -> None:
        for group in itertools.islice(self._groups, n):
            self._pending.append((group, *self._workers.submit(group, self._arguments)))

    def __iter__(self) -> Episodes:
        return self

    def __next__(self) -> Trajectory:
        if not self._finished:
            self._finished.extend(self._next_group())
            self._begin(1)
        return self._finished.popleft()

    def _next_group(self) -> list[Trajectory]:
        if not self._pending:
            raise StopIteration
        for deaths in itertools.count(1):
            group, pool, future = self._pending[0]
            try:
                trajectories = self._workers.result(len(group), pool, future)
            except BrokenProcessPool as error:
                if deaths == MOST_DEATHS:
                    raise died_too_often(self._workers.env_name) from error
                self._workers.replace(pool)
                self._pending = deque(map(self._again, self._pending))
            else:
                self._pending.popleft()
                return trajectories

    def _again(
        self, pending: tuple[list[int], ProcessPoolExecutor, Future]
    ) -> tuple[list[int], ProcessPoolExecutor, Future]:
        """The group, or the same asked for again if it died with its process."""
        group, _, future = pending
        lost = future.done() and isinstance(future.exception(), BrokenProcessPool)
        return (group, *self._workers.submit(group, self._arguments)) if lost else pending

    def close(self) -> None:
        """Drops the episodes that nobody asked for."""
        for _, _, future in self._pending:
            future.cancel()
        self._pending.clear()
        self._finished.clear()


def _worker_trajectories(
    env_name: str, pickled: bytes, seeds: list[int], max_path_length: int | None, source: int
) -> list[Trajectory]:
    actor = _worker_actor(pickled)  # first: its module may be what registers the environment
    env = _worker_env(env_name)
    return [sample_trajectory(env, actor, seed, max_path_length, source) for seed in seeds]


@functools.cache
def _worker_env(env_name: str) -> gym.Env:
    return make_env(env_name)


@functools.lru_cache(maxsize=1)
def _worker_actor(pickled: bytes) -> Actor:
    """Made once for all its episodes, of which an evaluation has a hundred. The pickle is the parent's own."""
    return pickle.loads(pickled)


@contextmanager
def rollout_source(
    env_name: str, env: gym.Env, num_workers: int, vec_env: str = "gymnasium"
) -> Iterator[RolloutSource]:
    """The environment itself, or what takes its place: `num_workers` processes that hold one like it each, and the
    actor or only ask it (batched); envpool. It is closed at the end."""
    if vec_env == "envpool":
        source = LockstepEpisodes(env_name, env)
    elif vec_env == "batched":
        source = BatchedEpisodes(env_name, env, num_workers)
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
