"""The progress of slow work with the remaining time, and a stopwatch for each kind of work."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

BAR = {"leave": False, "delay": 1, "dynamic_ncols": True}
"""Settings of tqdm: a line of a terminal is shown after the first second, and is removed at the end."""
SECONDS_BETWEEN_LINES = 10  # in a notebook, a pipe or a file, where a line cannot be removed


class Lines:
    """A display of progress in whole lines on stderr, where there is no terminal: notebooks, pipes and files.

    Args:
      description: the work.
      total: the number of items, or None if it is not known.
      done: how many of them came before.
    """

    def __init__(self, description: str, total: int | None, done: int = 0):
        self.description, self.total, self.n = description, total, done
        self._first, self._start = done, time.perf_counter()
        self._last = self._start

    def update(self) -> None:
        """Count an item, and print a line if the last one is old."""
        self.n += 1
        now = time.perf_counter()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            print(self._line(now - self._start), file=sys.stderr, flush=True)

    def _line(self, elapsed: float) -> str:
        if self.total is None:
            return f"{self.description}: {self.n:,}, {seconds(elapsed)}"
        left = elapsed / (self.n - self._first) * (self.total - self.n)
        return f"{self.description}: {self.n:,} of {self.total:,}, {seconds(elapsed)}, about {seconds(left)} left"

    def close(self) -> None:
        """Do nothing: the lines remain."""


def display(description: str, total: int | None, done: int = 0) -> tqdm | Lines:
    """Return what shows the progress: a line that changes if stderr is a terminal, else a line now and then."""
    if sys.stderr is not None and sys.stderr.isatty():
        return tqdm(desc=description, total=total, initial=done, **BAR)
    return Lines(description, total, done)


def progress(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Yield the items and show the progress."""
    shown = display(description, total)
    try:
        for item in items:
            yield item
            shown.update()
    finally:
        shown.close()


@contextmanager
def clock(description: str) -> Iterator[None]:
    """Show how long the `with` block takes: with a moving clock in a terminal, elsewhere with one line before it."""
    if sys.stderr is None or not sys.stderr.isatty():
        print(f"{description} ...", file=sys.stderr, flush=True)
        yield
        return
    stopped = threading.Event()
    bar = tqdm(bar_format="{desc}: {elapsed}", desc=description, leave=False)

    def move() -> None:
        while not stopped.wait(1):
            bar.refresh()

    thread = threading.Thread(target=move, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        bar.close()


def seconds(value: float) -> str:
    """Return a duration as text, such as `8 s` or `2 min 05 s`."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Watch:
    """A stopwatch for each kind of work in a run, which also shows the progress of slow work.

    Args:
      last_itr: the number of the run's last iteration, for the description.
      verbose: whether to show the progress.

    Attributes:
      seconds: the name of each kind of work, and the seconds that it took.
    """

    def __init__(self, last_itr: int = 0, verbose: bool = False):
        self.last_itr, self.verbose = last_itr, verbose
        self.seconds: dict[str, float] = {}
        self._bar, self._shown = None, None
        self.begin()

    def begin(self, earlier: float = 0.0) -> None:
        """Start the clock now. It starts at `earlier` seconds, the time of an interrupted run."""
        self._start = time.perf_counter() - earlier

    def elapsed(self) -> float:
        """Return the seconds on the clock."""
        return time.perf_counter() - self._start

    @contextmanager
    def phase(self, kind: str) -> Iterator[None]:
        """Add the time of the `with` block to `seconds[kind]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - start

    def __call__(
        self, items: Iterable[Item], kind: str, itr: int, total: int | None = None, done: int = 0
    ) -> Iterator[Item]:
        """Yield the items of one kind of work in an iteration. `done` of the `total` items came before them."""
        with self.phase(kind):
            if not self.verbose:
                yield from items
                return
            bar = self._bar_of(kind, itr, total, done)
            for item in items:
                yield item
                bar.update()
            if total is None or bar.n >= total:
                self.close()

    def _bar_of(self, kind: str, itr: int, total: int | None, done: int) -> tqdm | Lines:
        """Return the display of this work, which may continue over several calls."""
        if self._shown != (kind, itr):
            self.close()
            self._bar, self._shown = display(f"itr {itr}/{self.last_itr} {kind}", total, done), (kind, itr)
        return self._bar

    def close(self) -> None:
        """Remove the line of a terminal."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._shown = None
