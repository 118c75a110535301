"""What was found in a file of demonstrations, and what the user said about it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rl_il.datasets.names import listed
from rl_il.datasets.stored import Unread
from rl_il.errors import InputError

Columns = dict[str, Any]
"""One episode, or the rows of several, by our names: arrays with a row for each step."""
ENDS = ("dones", "terminations", "truncations")


@dataclass(frozen=True)
class ReadOptions:
    """What a user may have to say about a file.

    Attributes:
      keys: which name has which meaning, as `--keys` has it.
      obs_keys: the parts of a dict observation to join, in this order, with commas; None: all that fit, by name.
      split_every: the length of each episode, for a file that does not say where they end.
      space: the environment's own space of observations, if it is a `Dict`.
    """

    keys: str | None = None
    obs_keys: str | None = None
    split_every: int | None = None
    space: Any = None


@dataclass
class Content:
    """What was found in a file.

    Attributes:
      episodes: the columns of each episode, or of all rows at once if `flat`.
      flat: whether the rows must still be cut into episodes.
      read: our name to the name in the file.
      not_read: names in the file that were not used.
      remarks: what else a user should know, in sentences without a full stop.
      stated: whether `--split_every` decided the layout.
      uncounted: whether the file does not say where episodes end, although they are separate.
    """

    episodes: list[Columns] = field(default_factory=list)
    flat: bool = False
    read: dict[str, str] = field(default_factory=dict)
    not_read: dict[str, None] = field(default_factory=dict)  # an ordered set
    remarks: dict[str, None] = field(default_factory=dict)
    stated: bool = False
    uncounted: bool = False

    def drop(self, columns: Columns, name: str) -> None:
        """Remove a column that is not what its name says, if there is one, and count it as not read."""
        if name in columns:
            del columns[name]
            self.not_read[self.read.pop(name)] = None

    def note(self) -> str:
        """Return the line that says what was read under another name, what was not read, and the remarks."""
        others = [f"{name} as {meaning}" for meaning, name in self.read.items() if name != meaning]
        parts = [f"read {', '.join(others)}"] if others else []
        parts += [f"not read: {listed(self.not_read)}"] if self.not_read else []
        return "; ".join([*parts, *self.remarks])


def numbers(name: str, value: Any) -> np.ndarray:
    """Return the value as an array of numbers with a row for each step. Raise `InputError` if it is none."""
    if isinstance(value, Unread):
        raise InputError(f"{name} {value.why}")
    try:
        array = np.asarray(value)
    except ValueError:  # nested lists of different lengths
        raise InputError(f"{name}: its rows have different lengths") from None
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must hold numbers, got {array.dtype}")
    if array.ndim == 0:
        raise InputError(f"{name} must have a row for each step, got a single number")
    if 0 in array.shape[1:]:
        raise InputError(f"{name} has the shape {array.shape}, whose rows are empty")
    return array


def prepared(columns: Columns) -> Columns:
    """Return one episode's columns as arrays; single numbers for the whole episode, such as `terminal`, stay."""
    return {name: as_column(name, value) for name, value in columns.items()}


def as_column(name: str, value: Any) -> np.ndarray:
    """Return a column as numbers. The marks of ends are 0 or 1, and may be a single one for the whole episode."""
    if name not in ENDS:
        return numbers(name, value)
    array = numbers(name, [value] if n_dimensions(value) == 0 else value)
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"{name} must be 0 or 1, got {array.min():g} to {array.max():g}")
    return array


def n_dimensions(value: Any) -> int:
    """Return the number of dimensions; of lists of different lengths those that they have in common, and one more."""
    try:
        return np.ndim(value)
    except ValueError:
        return 2


def natural(name: Any) -> list[Any]:
    """Return a key that sorts `demo_2` before `demo_10`."""
    parts = re.split(r"(\d+)", str(name))
    digits = [part.lstrip("0") for part in parts]
    return [(len(digits[i]), digits[i]) if i % 2 else part for i, part in enumerate(parts)]


def n_items(value: Any) -> int:
    """Return the number of items in an array, list or dict; 1 for anything else."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.size(value)
    return len(value) if hasattr(value, "__len__") else 1
