"""Progress lines with the remaining time, and a stopwatch for each kind of work."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LINE = {"leave": False, "disable": None, "delay": 1, "dynamic_ncols": True}
"""Settings of tqdm: a line is shown only on a terminal, after the first second, and is removed at the end."""


def progress(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Return the items as an iterator that shows a progress line."""
    return iter(tqdm(items, description, total, **LINE))


def seconds(value: float) -> str:
    """Return a duration as text, such as `8 s` or `2 min 05 s`."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Watch:
    """A stopwatch for each kind of work in a run, with progress lines for slow work.

    Args:
      last_itr: the number of the run's last iteration, for the progress lines.
      verbose: whether to show progress lines.

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

    def _bar_of(self, kind: str, itr: int, total: int | None, done: int) -> tqdm:
        """Return the progress line of this work, which may continue over several calls."""
        if self._shown != (kind, itr):
            self.close()
            description = f"itr {itr}/{self.last_itr} {kind}"
            self._bar, self._shown = tqdm(desc=description, total=total, initial=done, **LINE), (kind, itr)
        return self._bar

    def close(self) -> None:
        """Remove the progress line."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._shown = None
