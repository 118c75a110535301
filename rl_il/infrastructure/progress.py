"""Progress lines with the time left, and how long each kind of work takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LINE = {"leave": False, "disable": None, "delay": 1, "dynamic_ncols": True}
"""What tqdm is told: a line is removed at its end, and not drawn into a file or a pipe, nor in the first second."""


def progress(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Yield the items under a progress line."""
    return iter(tqdm(items, description, total, **LINE))


def seconds(value: float) -> str:
    """Return a duration to read: `8 s`, `2 min 05 s`."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Watch:
    """The time that each kind of work in a run takes, and progress lines for the long ones.

    Args:
      last_itr: the number of the run's last iteration, for the progress lines.
      verbose: whether to show them.

    Attributes:
      seconds: how long each kind of work took, by its name.
    """

    def __init__(self, last_itr: int = 0, verbose: bool = False):
        self.last_itr, self.verbose = last_itr, verbose
        self.seconds: dict[str, float] = {}
        self._bar, self._shown = None, None
        self.begin()

    def begin(self, earlier: float = 0.0) -> None:
        """Start the clock now, or as if it had been started `earlier` seconds ago."""
        self._start = time.perf_counter() - earlier

    def elapsed(self) -> float:
        """Return the seconds since the clock was started."""
        return time.perf_counter() - self._start

    @contextmanager
    def phase(self, kind: str) -> Iterator[None]:
        """Add the time that the block takes to `seconds[kind]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - start

    def __call__(
        self, items: Iterable[Item], kind: str, itr: int, total: int | None = None, done: int = 0
    ) -> Iterator[Item]:
        """Yield the items of one kind of work in an iteration, which has `total` of them, `done` before these."""
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
        """Return the progress line of this work, which goes on over several calls."""
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
