"""Worker processes that roll out whole episodes, each with an environment of its own. They import no torch."""

from __future__ import annotations

import faulthandler
import functools
import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import gymnasium as gym

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import RollOut, RolloutSource
from rl_il.types import Trajectory

# A request and its answer take half a millisecond, a short episode seven: many episodes are requested in groups. Few
# are not, since larger groups end less evenly.
GROUPS_PER_WORKER = 32
MAX_DEATHS = 3  # of worker processes at one episode, before it is given up
MAX_SECONDS = 600  # for an episode, before its worker process counts as hung


class RolloutWorkers:
    """Processes that roll out whole episodes, in the place of an environment; close them when done.

    If one of them dies (a segmentation fault prints its traceback), new ones are started and the unfinished
    episodes are rolled out again: their seeds make them the same.
    """

    def __init__(self, env_name: str, num_workers: int):
        self.env_name, self.num_workers = env_name, num_workers
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads and locks
        pool = ProcessPoolExecutor(self.num_workers, context, initializer=begin_worker)
        with interrupts_ignored():  # the parent handles Ctrl-C, and ends the processes
            for _ in range(self.num_workers):
                pool.submit(_worker_env, self.env_name)
        return pool

    def episodes(self, roll_out: RollOut, seeds: Sequence[int] | Iterator[int]) -> Episodes:
        """Return the seeds' episodes in order. All of a sequence are requested at once, many of them in groups; of an
        endless iterator a few, ahead of need."""
        return Episodes(self, seeds, pickle.dumps(roll_out))

    def submit(self, seeds: list[int], roll_out: bytes) -> tuple[ProcessPoolExecutor, Future]:
        """Request a group's episodes. The pool is returned too, since it may be replaced before the answer."""
        try:
            future = self._pool.submit(_worker_trajectories, self.env_name, roll_out, seeds)
        except BrokenProcessPool as error:  # its processes had died already
            future = Future()
            future.set_exception(error)
        return self._pool, future

    def result(self, n: int, pool: ProcessPoolExecutor, future: Future) -> list[Trajectory]:
        """Return a group of n episodes, once it is finished. Processes that do not answer are killed, which breaks
        their pool."""
        try:
            return future.result(timeout=n * MAX_SECONDS)
        except FutureTimeout:
            if future.done():  # the environment raised this very error
                raise
            print(f"note: no answer for {n * MAX_SECONDS} s; the worker processes are killed", file=sys.stderr)
            _kill(pool)
            return future.result()

    def kill(self) -> None:
        """End the processes at once, whatever they are doing."""
        _kill(self._pool)

    def replace(self, broken: ProcessPoolExecutor) -> None:
        """Start new processes in the place of this pool, unless that was done already."""
        if broken is self._pool:
            print("note: a worker process died; its episodes are rolled out again", file=sys.stderr)
            self._pool.shutdown()
            self._pool = self._start()

    def close(self) -> None:
        """End the processes; episodes under way are finished first."""
        self._pool.shutdown(cancel_futures=True)


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # kill_workers() comes with Python 3.14
        process.kill()


class Episodes:
    """An iterator over episodes that worker processes have begun."""

    def __init__(self, workers: RolloutWorkers, seeds: Sequence[int] | Iterator[int], roll_out: bytes):
        self._workers, self._roll_out = workers, roll_out
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
            self._pending.append((group, *self._workers.submit(group, self._roll_out)))

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
                if deaths == MAX_DEATHS:
                    raise InputError(
                        f"the processes that roll out {self._workers.env_name} died {MAX_DEATHS} times at one"
                        " episode; if memory is short, give fewer --num_workers"
                    ) from error
                self._workers.replace(pool)
                self._pending = deque(map(self._again, self._pending))
            else:
                self._pending.popleft()
                return trajectories

    def _again(
        self, pending: tuple[list[int], ProcessPoolExecutor, Future]
    ) -> tuple[list[int], ProcessPoolExecutor, Future]:
        """Return the pending group; if it was lost with its process, requested again."""
        group, _, future = pending
        lost = future.done() and isinstance(future.exception(), BrokenProcessPool)
        return (group, *self._workers.submit(group, self._roll_out)) if lost else pending

    def close(self) -> None:
        """Drop the episodes that were begun ahead of need."""
        for _, _, future in self._pending:
            future.cancel()
        self._pending.clear()
        self._finished.clear()


def _worker_trajectories(env_name: str, pickled: bytes, seeds: list[int]) -> list[Trajectory]:
    roll_out = _worker_roll_out(pickled)  # first: its modules may be what registers the environment
    env = _worker_env(env_name)
    return [roll_out(env, seed=seed) for seed in seeds]


@functools.cache
def _worker_env(env_name: str) -> gym.Env:
    return make_env(env_name)


@functools.lru_cache(maxsize=1)
def _worker_roll_out(pickled: bytes) -> RollOut:
    """Unpickle once for all episodes, of which an evaluation has a hundred. The pickle is the parent's own."""
    return pickle.loads(pickled)


@contextmanager
def rollout_source(env_name: str, env: gym.Env, num_workers: int) -> Iterator[RolloutSource]:
    """Yield the environment itself or, above one worker, processes that hold one each; close it at the end."""
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


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ignore SIGINT inside: processes that are started here inherit that. (SIGTERM must still end them.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def begin_worker() -> None:
    """Prepare a process that rolls out episodes."""
    os.environ["OMP_NUM_THREADS"] = "1"  # one core a worker, for a policy in torch, which sees pictures
    faulthandler.enable()
    end_with_parent()


def end_with_parent() -> None:
    """End this process when the one that started it has ended: a parent that was killed cannot end it."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
