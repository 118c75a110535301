"""Checks of the arguments that a rule gets from `--rule_kwargs`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rl_il.errors import InputError


def check_name(name: str, value: str, names: Sequence[str]) -> str:
    """Return the argument of a rule. Raise `InputError` if it is none of the names."""
    if value not in names:
        raise InputError(f"--rule_kwargs {name} must be one of {', '.join(names)}, got {value!r}")
    return value


def check_number(name: str, value: float, high: float = math.inf) -> float:
    """Return the argument of a rule. Raise `InputError` if it is no number from 0 to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        most = "" if high == math.inf else f" and at most {high:g}"
        raise InputError(f"--rule_kwargs {name} must be a number of 0 or more{most}, got {value!r}")
    return value


def check_thresholds(threshold: float, release: float | None) -> tuple[float, float]:
    """Return both thresholds; the release is the threshold if it is None. Raise `InputError` if it is larger."""
    check_number("threshold", threshold)
    return threshold, check_number("release", threshold if release is None else release, threshold)
