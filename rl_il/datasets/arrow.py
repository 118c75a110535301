"""Arrow and Parquet: Minari's arrow data sets, imitation's and other Hugging Face folders, LeRobot, plain files."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.datasets.content import natural
from rl_il.datasets.episodes import FLAGS
from rl_il.datasets.names import MEANINGS, listed
from rl_il.datasets.stored import Unread
from rl_il.datasets.text import grouped
from rl_il.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def read(path: Path) -> Any:
    """Return the columns of a Parquet file, or of an Arrow file or stream; or its episodes, if each row is one."""
    return _columns_or_episodes(_table([path]))


def read_folder(folder: Path) -> Any:
    """Return what a folder of the library `datasets` holds, which is how imitation saves episodes.

    The files of a local data set are those in its `state.json`; the files of a data set of the hub are named
    `train-00000-of-00002.parquet`.
    """
    if (folder / "state.json").exists():
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if state.get("_indices_data_files"):
            raise InputError("chooses among its rows by indices; write it again by flatten_indices().save_to_disk()")
        return _columns_or_episodes(_table([folder / item["filename"] for item in state["_data_files"]]))
    files = [path for place in (folder, folder / "data") for path in sorted(place.glob("*-of-[0-9]*"))]
    files = [path for path in files if path.suffix in (".arrow", ".parquet")]
    splits = {re.sub(r"-\d+-of-\d+.*", "", path.name) for path in files}
    if len(splits) > 1:
        raise InputError(f"holds several splits, {listed(sorted(splits))}; give the file of one of them")
    if len(files) != int(re.sub(r".*-of-(\d+).*", r"\1", files[0].name)):
        raise InputError(f"lacks files: {len(files)} found, named as {files[0].name}")
    return _columns_or_episodes(_table(files))


def read_minari(folder: Path) -> dict[str, Any]:
    """Return the episodes of a Minari data set of arrow files, which has a folder for each.

    Minari writes T + 1 rows an episode: the last one holds the last observation, and zeros. Observations and actions
    of more than one dimension are flattened there; the data set's metadata say their shapes.
    """
    data = folder / "data" if (folder / "data").is_dir() else folder
    metadata = json.loads((data / "metadata.json").read_text(encoding="utf-8"))
    episodes: dict[str, Any] = {}
    for place in (path for path in data.iterdir() if path.is_dir()):
        columns = _columns(_table(sorted(place.glob("*.arrow"), key=lambda path: natural(path.name))))
        rows = len(columns["rewards"])
        steps = json.loads((place / "metadata.json").read_text(encoding="utf-8"))["total_steps"]
        if rows != steps + 1:
            raise InputError(f"episode {place.name} has {rows} rows, expected {steps + 1}")
        for name in ("observations", "actions"):
            columns[name] = _shaped(columns[name], json.loads(metadata.get(f"{name[:-1]}_space") or "{}"))
        for name in columns.keys() - {"observations"}:
            columns[name] = _picked(columns[name], slice(steps))
        episodes[f"episode_{place.name}"] = columns
    return episodes


def _shaped(column: Any, space: dict[str, Any]) -> Any:
    """Return a column in the shape of Minari's description of its space."""
    if isinstance(column, dict):
        return {name: _shaped(value, space.get("subspaces", {}).get(name, {})) for name, value in column.items()}
    return column.reshape(len(column), *space["shape"]) if space.get("shape") and column.ndim > 1 else column


def read_lerobot(folder: Path) -> dict[str, Any]:
    """Return the episodes of a LeRobot data set, of any version that writes Parquet files; no videos.

    Its columns say which episode and frame a row is: the names of files and their order have no meaning.
    """
    info = json.loads((folder / "meta" / "info.json").read_text(encoding="utf-8"))
    columns = _columns(_table(sorted((folder / "data").glob("**/*.parquet"))))
    ids, frames = columns["episode_index"], columns["frame_index"]
    order = np.lexsort((frames, ids))
    bounds = np.flatnonzero(np.diff(ids[order], prepend=-1, append=-1))
    features = info.get("features", {})
    for name, column in columns.items():
        columns[name] = Unread() if isinstance(column, list) else _picked(column, order)
        if isinstance(column, np.ndarray) and "shape" in features.get(name, {}):
            columns[name] = columns[name].reshape(len(order), *features[name]["shape"])
    columns |= {name: Unread() for name, feature in features.items() if feature.get("dtype") == "video"}
    episodes = {}
    for start, stop in itertools.pairwise(bounds):
        episode = {name: _picked(column, slice(start, stop)) for name, column in columns.items()}
        number = int(ids[order[start]])
        if not np.array_equal(frames[order[start:stop]], np.arange(stop - start)):
            raise InputError(f"episode {number} lacks frames")
        if "next.done" in episode:
            episode["next.done"] = episode["next.done"][-1].reshape(1)  # may mark success before the end
        episodes[f"episode_{number}"] = episode
    if len(episodes) != info.get("total_episodes", len(episodes)):
        warnings.warn(f"{folder} holds {len(episodes)} of its {info['total_episodes']} episodes", stacklevel=2)
    return episodes


# Tables ------------------------------------------------------------------------------------------------------


def _table(paths: list[Path]) -> pa.Table:
    """Return the rows of Arrow and Parquet files, all of whose offsets Arrow has checked."""
    import pyarrow as pa
    import pyarrow.parquet

    tables = []
    for path in paths:
        head = path.open("rb").read(6)
        if head.startswith(b"PAR1"):
            table = pyarrow.parquet.read_table(path, partitioning=None)
        else:
            with pa.OSFile(str(path)) as file:
                open_it = pa.ipc.open_file if head.startswith(b"ARROW1") else pa.ipc.open_stream
                table = open_it(file).read_all()
        table.validate(full=True)
        tables.append(table)
    if not tables:
        raise InputError("holds no .arrow or .parquet file")
    return pa.concat_tables(tables).combine_chunks()


def _columns(table: pa.Table) -> dict[str, Any]:
    """Return the columns by name; those of text, bytes and other types are not read."""
    return {name: _values(table[name].combine_chunks()) for name in table.column_names}


def _values(array: Any) -> Any:
    """Return an array of numbers, a list of arrays of different lengths, or a dict of the fields of a struct."""
    import pyarrow as pa

    array = pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array
    array = array.storage if isinstance(array, pa.ExtensionArray) else array
    kind = array.type
    if pa.types.is_struct(kind):
        return {field.name: _values(part) for field, part in zip(kind, array.flatten(), strict=True)}
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return array.to_numpy(zero_copy_only=False)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return Unread()
    if array.null_count:
        return Unread()
    items, stops = _values(array.flatten()), np.cumsum(array.value_lengths().to_numpy(zero_copy_only=False))
    if isinstance(items, (Unread, dict)):
        return Unread()
    lengths = np.diff(stops, prepend=0)
    if isinstance(items, np.ndarray) and len(lengths) and (lengths == lengths[0]).all():
        return items.reshape(len(lengths), int(lengths[0]), *items.shape[1:])
    return [items[start:stop] for start, stop in zip([0, *stops[:-1]], stops, strict=True)]


def _picked(column: Any, rows: Any) -> Any:
    """Return these rows of a column, of all its fields; a single number picks one row."""
    if isinstance(column, dict):
        return {name: _picked(value, rows) for name, value in column.items()}
    return column if isinstance(column, Unread) else column[rows]


def _columns_or_episodes(table: pa.Table) -> Any:
    """Return the columns; or the list of episodes, if each row is one: its rewards, ends or infos are lists."""
    columns = _columns(table)
    if any(_is_of_steps(name, table[name].combine_chunks()) for name in table.column_names):
        return [{name: _picked(column, i) for name, column in columns.items()} for i in range(table.num_rows)]
    arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    return grouped(arrays) | {name: column for name, column in columns.items() if name not in arrays}


def _is_of_steps(name: str, array: Any) -> bool:
    """Return whether a column that should have a value for each step has a list of them in a row."""
    import pyarrow as pa

    if not (name == "infos" or MEANINGS.get(name.lower()) in ("rewards", *FLAGS)):
        return False
    is_list = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    return is_list and (name == "infos" or max(array.value_lengths().to_pylist(), default=0) > 1)
