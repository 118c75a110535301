"""Ctrl-C and SIGTERM, heeded between two steps and not within one; how worker processes begin, and end."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rl_il.errors import InputError, Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOST_DEATHS = 3  # of worker processes, before what they were asked for is given up
MOST_SECONDS = 600  # for an episode, before a worker process is taken for hanging


@contextmanager
def noted_signals() -> Iterator[Callable[[], None]]:
    """Inside, the first SIGINT or SIGTERM is noted, and the function that is yielded raises `Interrupted` for it.

    A second one interrupts at once. Outside the main thread, which alone may handle signals, nothing is changed.
    """
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        if noted:
            raise Interrupted("", number)
        noted.append(number)

    def check() -> None:
        if noted:
            raise Interrupted("", noted[0], between_steps=True)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]  # else it is a parent's
    for number in heeded:
        signal.signal(number, note)
    try:
        yield check
    finally:
        for number in heeded:
            signal.signal(number, before[number])


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Inside, SIGINT is ignored: processes that are started here inherit that. (SIGTERM must still end them.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def begin_worker() -> None:
    """What a process that rolls out episodes does first."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for torch, which a policy that sees pictures brings: one core a worker
    faulthandler.enable()
    end_with_parent()


def died_too_often(env_name: str) -> InputError:
    """What is raised when workers died `MOST_DEATHS` times at one episode."""
    return InputError(
        f"the processes that roll out {env_name} died {MOST_DEATHS} times at one episode; if memory is short, give"
        " fewer --num_workers"
    )


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone: a parent that is killed can't do it any more."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
