"""Ctrl-C and SIGTERM, heeded between two steps and not within one; and processes that end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rl_il.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone: a parent that is killed can't do it any more."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
