"""Single arrays in `.npy` files: one file of observations and one of actions in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.names import MEANINGS
from rl_il.datasets.pickles import load_objects
from rl_il.errors import InputError

OTHER_TIMES = {"prev", "previous", "last", "init", "initial", "target", "goal"}  # not the steps' own values


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of all `.npy` files in a folder; a file's name says what it holds."""
    paths = {path.stem: path for path in sorted(folder.glob("*.npy"))}
    names = {stem: _name(path) for stem, path in paths.items() if path.stem.lower() not in MEANINGS}
    names = {stem: name for stem, name in names.items() if name not in map(str.lower, paths)}
    names = {stem: names.get(stem, stem) for stem in paths}
    twice = [stem for stem, name in names.items() if [*names.values()].count(name) > 1]
    if twice:
        raise InputError(f"has several files of {names[twice[0]]}: {', '.join(twice)}; move the others elsewhere")
    return {names[stem]: load_array(path) for stem, path in paths.items()}


def load_array(path: Path) -> Any:
    """Return the array of a `.npy` file, or the lists and dicts in an array of Python objects (by the allow-list).

    Raise `InputError` for bytes behind it, such as a second array.
    """
    with path.open("rb") as file:
        try:
            array = np.load(file, allow_pickle=False)
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            file.seek(0)
            return load_objects(file)
        if file.read(1):
            raise InputError("holds more than one array; write each to a file of its own")
        return array


def read(path: Path) -> Any:
    """Return what a `.npy` file of objects holds, or the arrays of its folder: one array is not enough."""
    array = load_array(path)
    if isinstance(array, (list, dict)):
        return array
    others = read_folder(path.parent)
    if array.dtype.kind not in "biuf" or len(others) < 2:
        raise InputError(
            "is a single array; give the folder that holds it and the actions, such as obs.npy and acs.npy"
        )
    return others


def _name(path: Path) -> str:
    """Return the file's name, or the part of it, such as `obs` in `hopper_obs.npy`, that says what it holds."""
    stem = path.stem.lower()
    if OTHER_TIMES & {*stem.replace("-", "_").split("_")} and not stem.endswith(("next_state", "next_obs")):
        return path.stem
    known = [name for name in MEANINGS if stem == name or stem.endswith(("_" + name, "-" + name))]
    known += [name for name in MEANINGS if stem.startswith((name + "_", name + "-"))]
    return max(known, key=len) if known else path.stem
