"""Ctrl-C, SIGTERM and SIGHUP: they are noted, and handled after the current block, when everything can be saved.

Windows has no SIGTERM from another process. There, Ctrl-Break (SIGBREAK) ends a run in the same way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rl_il.errors import TERMINATION, Interrupted

GRACE = 1.0  # seconds that a training may still take after Ctrl-C
AGAIN = 2.0  # seconds until the next attempt to interrupt
SIGNALS = (signal.SIGINT, *TERMINATION)
HANGUP = getattr(signal, "SIGHUP", None)


@contextmanager
def noted_signals(grace: float | None = None) -> Iterator[Callable[[], None]]:
    """Remember the first of `SIGNALS` in the block; the yielded function raises `Interrupted` for it.

    A second signal interrupts at once, except for SIGHUP, which a closed terminal may send twice. So does the first
    one if the function is not called within `grace` seconds, and again every `AGAIN` seconds, because an exception is
    lost if it is raised in a `__del__` or a callback of C code. There is no such limit if `grace` is None or the
    system has no interval timers. Outside the main thread Python cannot handle signals, so nothing is changed.
    """
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        if noted and number == HANGUP:
            return
        if noted:
            raise Interrupted("", noted[0])
        noted.append(number)
        if grace:
            _set_alarm(grace)

    def check() -> None:
        if noted:
            _set_alarm(0)
            raise Interrupted("", noted[0], between_steps=True)

    if threading.current_thread() is not threading.main_thread():
        yield check
        return
    with _handled([*SIGNALS, *([signal.SIGALRM] if hasattr(signal, "SIGALRM") else [])], note):
        yield check


def _set_alarm(seconds: float) -> None:
    """Request SIGALRM after this many seconds and repeatedly, or cancel it with 0, if there are interval timers."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN if seconds else 0)


@contextmanager
def _handled(numbers: list[int], handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle the signals in the block, except those that the parent process ignored."""
    before = {number: signal.getsignal(number) for number in numbers}
    changed = [number for number in numbers if before[number] is not signal.SIG_IGN]
    for number in changed:
        signal.signal(number, handler)
    try:
        yield
    finally:
        _set_alarm(0)
        for number in changed:
            signal.signal(number, before[number])
