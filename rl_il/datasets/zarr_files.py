"""Zarr stores, of formats 2 and 3, in a folder or a zip, as Diffusion Policy and its successors write them."""

from __future__ import annotations

import functools
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.episodes import FLAGS
from rl_il.datasets.names import MEANINGS
from rl_il.datasets.stored import Stored

METADATA = (".zgroup", "zarr.json")


def is_zip(path: Path) -> bool:
    """Return whether a zip holds a zarr store."""
    try:
        return _root(path) is not None
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return False


def _root(path: Path) -> str | None:
    """Return the folder in the zip that is the outermost group; None if there is none."""
    with zipfile.ZipFile(path) as archive:
        groups = [name for name in archive.namelist() if name.rpartition("/")[2] in METADATA]
    return min(groups, key=len).rpartition("/")[0] if groups else None


def read(path: Path) -> dict[str, Any]:
    """Return the groups as dicts, and the arrays as `Stored`; the arrays of `data` and `meta` are put together."""
    import zarr

    if path.is_dir():
        root = zarr.open_group(str(path), mode="r")
    else:
        root = zarr.open_group(zarr.storage.ZipStore(str(path), mode="r"), mode="r", path=_root(path))
    tree = _group(root)
    data, meta = tree.get("data"), tree.get("meta")
    if isinstance(data, dict) and isinstance(meta, dict):
        return data | {name: value for name, value in meta.items() if name in MEANINGS}
    return tree


def _group(group: Any) -> dict[str, Any]:
    arrays = {name: Stored(array, functools.partial(_read, array), "Zarr store") for name, array in group.arrays()}
    return {**arrays, **{name: _group(inner) for name, inner in group.groups()}}


def _read(array: Any) -> np.ndarray:
    """Return an array of zarr, with a warning if chunks are missing, which zarr reads as zeros.

    Rewards and flags may have none: zarr leaves out chunks that hold only zeros.
    """
    missing = array.nchunks - array.nchunks_initialized
    if missing and MEANINGS.get(array.basename) not in ("rewards", *FLAGS):
        warnings.warn(
            f"{missing} of {array.nchunks} chunks of {array.name} are missing; zarr reads {array.fill_value} there",
            stacklevel=2,
        )
    return array[...]
