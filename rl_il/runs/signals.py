"""Ctrl-C and SIGTERM: they are noted, and handled after the current block, when everything can be saved.

Windows has no SIGTERM from another process. There, Ctrl-Break (SIGBREAK) ends a run in the same way.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rl_il.errors import TERMINATION, Interrupted

SIGNALS = (signal.SIGINT, *TERMINATION)


@contextmanager
def noted_signals(grace: float | None = None) -> Iterator[Callable[[], None]]:
    """Remember the first SIGINT or SIGTERM in the block; the yielded function raises `Interrupted` for it.

    A second signal interrupts at once. So does the first one if the function is not called within `grace` seconds.
    There is no such limit if `grace` is None or the platform has no interval timers. Outside the main thread Python
    cannot handle signals, so nothing is changed.
    """
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
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
    """Request SIGALRM after this many seconds, or cancel it with 0, on platforms with interval timers."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


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
