"""How time goes: a line with the time left, shown for work of more than a second on a terminal, and a stopwatch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Yields the items; the line vanishes when they end, and is not drawn into a file or a pipe."""
    return iter(tqdm(items, description, total, leave=False, disable=None, delay=1, dynamic_ncols=True))


def seconds(value: float) -> str:
    """A duration to read: `8 s`, `2 min 05 s`."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Stopwatch:
    """Adds up how long each kind of work takes.

    Attributes:
      seconds: of each kind, by its name.
    """

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self.begin()

    def begin(self, earlier: float = 0.0) -> None:
        """Counts from now on, or as if it had begun so many seconds earlier."""
        self._start = time.perf_counter() - earlier

    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._start

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time that its block takes to `seconds[name]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
