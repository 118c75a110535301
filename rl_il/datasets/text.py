"""JSON, JSON lines and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.content import natural
from rl_il.datasets.formats import read_bytes
from rl_il.errors import InputError


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or a list of the lines of a file with one JSON value in each."""
    text = read_bytes(path).decode("utf-8")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        return [json.loads(line) for line in text.splitlines() if line.strip()]


def read_csv(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a CSV file by its header; numbered ones, such as obs_0 and obs_1, become one array."""
    text = read_bytes(path).decode("utf-8-sig")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    names = [name.strip().removeprefix("# ") for name in rows[0]]  # NumPy's savetxt writes a #
    if len({*names}) < len(names) or all(_number(name) is not None for name in names):
        raise InputError("needs a first line with a different name for each column, such as obs_0,obs_1,action,done")
    bad = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if bad is not None:
        raise InputError(f"row {bad + 1} has {len(rows[bad])} cells, expected {len(names)}")
    columns = {name: _column(name, [row[i] for row in rows[1:]]) for i, name in enumerate(names)}
    return grouped(columns)


TRUTH = {"true": 1.0, "false": 0.0}


def _number(text: str) -> float | None:
    try:
        return TRUTH[text.strip().lower()] if text.strip().lower() in TRUTH else float(text)
    except ValueError:
        return None


def _column(name: str, cells: list[str]) -> np.ndarray:
    """Return a column as numbers; as text if any cell is none."""
    numbers = [_number(cell) for cell in cells]
    return np.array(cells) if None in numbers else np.array(numbers, np.float64)


def grouped(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns with those of one name and different numbers put together, in the numbers' order."""
    groups: dict[str, list[str]] = {}
    for name in columns:
        match = re.fullmatch(r"(.+?)[_.\[ ]?(\d+)\]?", name)
        # A column without a number keeps its name for itself.
        groups.setdefault(match[1] if match and match[1] not in columns else name, []).append(name)
    found = {}
    for group, names in groups.items():
        numbered = names != [group]
        same = all(columns[name].dtype.kind in "biuf" and columns[name].ndim == 1 for name in names)
        if numbered and same:
            found[group] = np.stack([columns[name] for name in sorted(names, key=natural)], axis=1)
        else:
            found |= {name: columns[name] for name in names}
    return found
