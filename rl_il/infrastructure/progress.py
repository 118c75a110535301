"""A progress line with the time left, shown for work of more than a second on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
