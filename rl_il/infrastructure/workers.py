"""Worker processes that roll out whole episodes. Each has its own environment. This file does not import torch."""

from __future__ import annotations

import faulthandler
import functools
import io
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
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from rl_il.envs import make_env, recipe_of
from rl_il.errors import RAISED, InputError, is_interruption, reported
from rl_il.files import one_line
from rl_il.infrastructure.rollouts import RollOut, RolloutSource
from rl_il.limits import check_workers
from rl_il.types import Trajectory

# A request and its answer take half a millisecond, and a short episode takes seven. Therefore many episodes are
# requested in groups. A few episodes are requested one by one, so that all workers finish at about the same time.
GROUPS_PER_WORKER = 32
MAX_DEATHS = 3  # of worker processes at the same group of episodes; then an error is raised
MAX_SECONDS = 600  # for an episode; then the worker processes are killed


class RolloutWorkers:
    """Processes that roll out whole episodes. They replace an environment, and must be closed at the end.

    If a process dies, new processes are started and the unfinished episodes are rolled out again. The same seeds give
    the same episodes. After a segmentation fault, the traceback is printed.

    Args:
      recipe: the recipe or the name of the environment that each process makes.
      num_workers: the number of processes.

    Raise `InputError` if there is too little memory for them, or if the recipe cannot be sent to another process.
    """

    def __init__(self, recipe: str | EnvSpec, num_workers: int):
        check_workers(num_workers)
        self.env_name = recipe if isinstance(recipe, str) else recipe.id
        if not isinstance(recipe, str):
            parts = [recipe.entry_point, *(wrapper.entry_point for wrapper in recipe.additional_wrappers)]
            _refuse_main(next((part for part in parts if str(part).startswith("__main__:")), None))
        self.num_workers, self._recipe = num_workers, to_bytes(recipe, self.env_name)
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads and locks of torch
        with interrupts_ignored():  # the parent handles Ctrl-C and ends the processes
            pool = ProcessPoolExecutor(self.num_workers, context, initializer=begin_worker)
            for _ in range(self.num_workers):
                pool.submit(_worker_env, self._recipe)
        return pool

    def episodes(self, roll_out: RollOut, seeds: Sequence[int] | Iterator[int]) -> PendingEpisodes:
        """Return an iterator over the episodes with these seeds, in order.

        If `seeds` is a sequence, all episodes are requested at once, in groups if they are many. If it is an
        iterator, which may be endless, a few episodes are requested in advance.
        """
        return PendingEpisodes(self, seeds, to_bytes(roll_out, "the policy, the rule or the expert"))

    def submit(self, seeds: list[int], roll_out: bytes) -> tuple[ProcessPoolExecutor, Future]:
        """Request a group of episodes. Also return the pool, since it may be replaced before the answer."""
        try:
            future = self._pool.submit(_worker_trajectories, self._recipe, roll_out, seeds)
        except BrokenProcessPool as error:  # its processes are already dead
            future = Future()
            future.set_exception(error)
        return self._pool, future

    def result(self, n: int, pool: ProcessPoolExecutor, future: Future) -> list[Trajectory]:
        """Return a group of n episodes when it is finished.

        If there is no answer in time, kill the processes, which raises `BrokenProcessPool`.
        """
        try:
            return future.result(timeout=n * MAX_SECONDS)
        except FutureTimeout:
            if future.done():  # the environment raised this error
                raise
            print(f"note: no answer for {n * MAX_SECONDS} s; the worker processes are killed", file=sys.stderr)
            _kill(pool)
            return future.result()

    def kill(self) -> None:
        """End the processes at once, without waiting for their episodes."""
        _kill(self._pool)

    def replace(self, broken: ProcessPoolExecutor) -> None:
        """Start new processes instead of this pool, if this has not been done yet."""
        if broken is self._pool:
            print("note: a worker process died; its episodes are rolled out again", file=sys.stderr)
            self._pool.shutdown()
            self._pool = self._start()

    def close(self) -> None:
        """End the processes when they have finished the episodes that they have started."""
        self._pool.shutdown(cancel_futures=True)


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):  # kill_workers() comes with Python 3.14
        process.kill()


class PendingEpisodes:
    """An iterator over episodes that were requested from worker processes."""

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

    def __iter__(self) -> PendingEpisodes:
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
                        f"the worker processes of {self._workers.env_name} died {MAX_DEATHS} times in the"
                        f" {'episode' if len(group) == 1 else f'{len(group)} episodes'} from seed {group[0]}; if the"
                        " machine has too little memory, give fewer --num_workers; if the environment ends its"
                        " process (os._exit, a crash), correct it. A program that starts workers must do it below"
                        ' `if __name__ == "__main__":`'
                    ) from error
                self._workers.replace(pool)
                self._pending = deque(map(self._again, self._pending))
            else:
                self._pending.popleft()
                return trajectories

    def _again(
        self, pending: tuple[list[int], ProcessPoolExecutor, Future]
    ) -> tuple[list[int], ProcessPoolExecutor, Future]:
        """Return the pending group. If it was lost with its process, request it again."""
        group, _, future = pending
        lost = future.done() and isinstance(future.exception(), BrokenProcessPool)
        return (group, *self._workers.submit(group, self._roll_out)) if lost else pending

    def close(self) -> None:
        """Drop the episodes that were requested but not used."""
        for _, _, future in self._pending:
            future.cancel()
        self._pending.clear()
        self._finished.clear()


class _Pickler(pickle.Pickler):
    """A pickler that refuses the classes and functions of a notebook or a program: a new process has another one."""

    def reducer_override(self, value: Any) -> Any:
        if getattr(value, "__module__", None) == "__main__" and hasattr(value, "__qualname__"):
            _refuse_main(value.__qualname__)
        return NotImplemented


def _refuse_main(name: str | None) -> None:
    """Raise `InputError` for the name of something that is defined in a notebook or in the running program."""
    if name is not None:
        raise InputError(
            f"worker processes cannot import {name}, which is defined in a notebook or in the program itself; move it"
            " into a file of its own (my_module.py) and import it, or use one worker"
        )


def to_bytes(value: Any, what: str) -> bytes:
    """Return the pickled value for a worker process. Raise `InputError` if it cannot be pickled."""
    file = io.BytesIO()
    try:
        _Pickler(file).dump(value)
    except InputError:
        raise
    except RAISED as error:  # of the user's classes
        if is_interruption(error):
            raise
        raise InputError(
            f"{what} cannot be sent to worker processes ({one_line(error)}); use one worker (--num_workers 1)"
        ) from error
    return pickle.dumps((sys.path, file.getvalue()))


def from_bytes(pickled: bytes) -> Any:
    """Return the value that `to_bytes` pickled. Modules are searched in the same folders as in the parent process."""
    sys.path[:], content = pickle.loads(pickled)
    return pickle.loads(content)


def _worker_trajectories(recipe: bytes, pickled: bytes, seeds: list[int]) -> list[Trajectory]:
    roll_out = _worker_roll_out(pickled)  # done first, since its modules may register the environment
    env = _worker_env(recipe)
    with reported():
        return [roll_out(env, seed=seed) for seed in seeds]


@functools.cache
def _worker_env(recipe: bytes) -> gym.Env:
    return make_env(from_bytes(recipe))


@functools.lru_cache(maxsize=1)
def _worker_roll_out(pickled: bytes) -> RollOut:
    """Return the unpickled function, cached for all episodes of an evaluation. The parent process pickled it."""
    return from_bytes(pickled)


@contextmanager
def rollout_source(env: gym.Env, num_workers: int, close_env: bool = True) -> Iterator[RolloutSource]:
    """Yield the environment or, for several workers, processes with one such environment each.

    Close the processes at the end, and the environment if `close_env`. Raise `InputError` if there are several
    workers, but the environment cannot be made again.
    """
    source = RolloutWorkers(recipe_of(env), num_workers) if num_workers > 1 else env
    try:
        yield source
    except BaseException:
        if isinstance(source, RolloutWorkers):
            source.kill()
        raise
    finally:
        for each in {source, env} if close_env else {source} - {env}:
            each.close()


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ignore SIGINT and SIGHUP in the `with` block and in processes started there. (SIGTERM still ends them.)

    A terminal sends both to all processes. One of those started there may be Python's resource tracker.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def begin_worker() -> None:
    """Prepare a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows does not pass on that the parent ignored it
    os.environ["OMP_NUM_THREADS"] = "1"  # one core for each worker, if the policy needs torch
    faulthandler.enable()
    end_with_parent()


def end_with_parent() -> None:
    """End this process when its parent has ended, since a killed parent cannot end it."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
