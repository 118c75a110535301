"""Layouts: columns that are flat, stacked as (episodes, steps, ...), one array for each episode, or tuples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_il.datasets.axes import is_time_first, per_row
from rl_il.datasets.content import ENDS, Columns, Content, ReadOptions, as_column, n_dimensions, prepared
from rl_il.errors import InputError

MAX_ENVIRONMENTS = 64  # that were stepped side by side


def fill_flat(columns: Columns, options: ReadOptions, ob_ndim: int | None, content: Content) -> None:
    """Fill in a dict of columns: flat, stacked as (episodes, steps, ...), or with an array for each episode."""
    if any(is_ragged(columns[name]) for name in ("observations", "actions")):
        content.episodes = _from_ragged(columns)
        return
    needed = ("observations", "actions")
    for name in [name for name, value in columns.items() if name not in needed and n_dimensions(value) == 0]:
        content.drop(columns, name)  # a number about the file
    columns = {name: as_column(name, value) for name, value in columns.items()}
    stacked = _is_stacked(columns, ob_ndim)
    _turn_not_dones(columns, content)
    if not stacked or columns.get("valid", columns["actions"]).shape[:2] != columns["actions"].shape[:2]:
        content.drop(columns, "valid")
    lengths = columns.get("episode_lengths")
    fits = lengths is None or stacked or lengths.sum() == len(columns["actions"])
    if not (fits or content.read["episode_lengths"].startswith("episode")):
        content.drop(columns, "episode_lengths")  # of something else
    cuts = columns.get("episode_cuts")
    if cuts is not None and len(columns["observations"]) != len(columns["actions"]) + len(cuts) + 1:
        content.drop(columns, "episode_cuts")  # not imitation's, whose episodes have an observation more
    rewards = columns.get("rewards")
    if rewards is not None and rewards.shape[: 1 + stacked] != columns["actions"].shape[: 1 + stacked]:
        content.drop(columns, "rewards")
    if stacked:
        fill_stacked(columns, options, content)
    else:
        content.episodes, content.flat = [_without_env_axis(columns, ob_ndim)], True


def _turn_not_dones(columns: Columns, content: Content) -> None:
    """Replace `not_dones`, 1 where the episode goes on, by `dones`, if there are none."""
    values = columns.get("not_dones")
    if values is None:
        return
    if {*ENDS} & {*columns} or not np.isin(values, (0, 1)).all() or values.size != len(columns["actions"]):
        content.drop(columns, "not_dones")
    else:
        columns["dones"] = 1 - columns.pop("not_dones")


def fill_stacked(columns: Columns, options: ReadOptions, content: Content) -> None:
    """Fill in columns that are stacked as (episodes, steps, ...), without their padding."""
    content.episodes, padding = _from_stacked(_episodes_first(columns, options.split_every, content))
    if padding:
        content.remarks[f"{padding:,} rows at the episodes' ends are padding and were dropped"] = None


def is_ragged(value: Any) -> bool:
    """Return whether a value is a list of arrays or lists of different lengths: one for each episode."""
    if not isinstance(value, list) or not value:
        return False
    if all(isinstance(item, np.ndarray) and item.ndim for item in value) or all(
        isinstance(item, list) for item in value
    ):
        return len({len(item) for item in value}) > 1 or (isinstance(value[0], list) and is_ragged(value[0]) is True)
    return False


def _from_ragged(columns: Columns) -> list[Columns]:
    """Return the episodes of columns that hold an array for each episode."""
    lengths = {name: len(value) if n_dimensions(value) else 0 for name, value in columns.items()}
    n = lengths["actions"]
    episodes: list[Columns] = [{} for _ in range(n)]
    for name, value in columns.items():
        if lengths[name] != n:
            raise InputError(f"{name} has {lengths[name]} items, actions have {n}: one for each episode is needed")
        for episode, item in zip(episodes, value, strict=True):
            episode[name] = item
    return [prepared(episode) for episode in episodes]


def _is_stacked(columns: Columns, ob_ndim: int | None) -> bool:
    """Return whether observations are (episodes, steps, ...); steps may be one more than the actions have."""
    obs, acs = columns["observations"], columns["actions"]
    if obs.ndim < 3 or acs.ndim < 2 or len(obs) != len(acs) or acs.shape[1] == 1:
        return False
    if obs.shape[1] not in (acs.shape[1], acs.shape[1] + 1):
        return False
    if ob_ndim is not None:
        return obs.ndim == ob_ndim + 2
    return acs.ndim == 3 or columns.get("rewards", acs).shape[:2] == acs.shape[:2]


def _episodes_first(columns: Columns, length: int | None, content: Content) -> Columns:
    """Return stacked columns as (episodes, steps, ...). `length` is what the user said an episode has."""
    n, steps = columns["actions"].shape[:2]
    if length in (n, steps):
        content.stated, time_first = True, length == n != steps
    elif columns["observations"].shape[1] > steps or len(columns.get("episode_lengths", ())) == n:
        time_first = False
    else:
        time_first = is_time_first(columns)
    if time_first is None:
        raise InputError(
            f"its arrays begin with the axes ({n}, {steps}), and the first looks like time; give --split_every {n} if"
            f" it is, and --split_every {steps} if the rows are {n} episodes"
        )
    if not time_first:
        content.remarks[f"read as {n:,} episodes of {steps:,} steps or less"] = None
        return columns
    content.remarks[f"read as {n:,} steps of {steps:,} environments side by side"] = None
    content.uncounted = not (content.stated or {*ENDS, "episode_starts"} & {*columns})
    return {k: v.swapaxes(0, 1) if v.shape[:2] == (n, steps) else v for k, v in columns.items()}


def _from_stacked(columns: Columns) -> tuple[list[Columns], int]:
    """Return the episodes of stacked columns without their padding, and the number of rows that were padding."""
    acs, n = columns["actions"], len(columns["actions"])
    lengths = columns.get("episode_lengths", np.full(n, acs.shape[1])).astype(int).reshape(-1)
    whole, by_step = {}, {}
    for name, value in columns.items():
        if value.shape[:2] == acs.shape[:2] or name == "observations":
            by_step[name] = value
        elif name in (*ENDS, "final_observations") and len(value) == n:
            whole[name] = value.reshape(n, 1) if name in ENDS else value
        elif name not in ("episode_lengths", "episode_ids"):
            raise InputError(f"{name} have the shape {value.shape}, expected {acs.shape[:2]} as the actions")
    if len(lengths) != n:
        raise InputError(f"episode_lengths has {len(lengths)} rows, expected {n}")
    episodes, padding = [], 0
    for i, length in enumerate(lengths):
        rows = {name: value[i] for name, value in by_step.items()}
        extra = len(rows["observations"]) - len(rows["actions"])
        if "valid" in rows:
            length = int(per_row(rows.pop("valid")).sum())
        elif "episode_lengths" not in columns:
            used = per_row(rows["observations"][: len(acs[i])]) | per_row(acs[i])
            length = int(np.flatnonzero(used).max(initial=-1)) + 1
        if not 0 < length <= len(acs[i]):
            raise InputError(f"episode {i} has {length} steps, expected 1 to {len(acs[i])}")
        cut = {name: value[: length + extra * (name == "observations")] for name, value in rows.items()}
        pieces = _cut_at_dones(cut)
        pieces[-1] |= {name: value[i] for name, value in whole.items()}
        episodes += pieces
        padding += len(acs[i]) - sum(len(piece["actions"]) for piece in pieces)
    return episodes, padding


def _cut_at_dones(rows: Columns) -> list[Columns]:
    """Return the episodes of a row of steps, which may hold several, each with its end marked.

    If all steps after an end are marked too, they are padding, and are left out.
    """
    n = len(rows["actions"])
    ends = np.zeros(n, bool)
    for name in ENDS:
        if name in rows:
            ends |= per_row(rows[name])
    if "episode_starts" in rows:
        ends[:-1] |= per_row(rows.pop("episode_starts"))[1:]
    first = int(np.argmax(ends))
    if ends[first:].all() and not ends.all():
        extra = len(rows["observations"]) - n
        rows = {name: value[: first + 1 + extra * (name == "observations")] for name, value in rows.items()}
        n, ends = first + 1, ends[: first + 1]
    stops = [*(np.flatnonzero(ends) + 1), *([] if ends[-1] else [n])]
    if len(stops) > 1 and not ends[-1] and _is_repeated(rows, stops[-2]):
        stops.pop()  # the last row before it, again and again: padding
    return [
        prepared(
            {
                name: value[start : stop if name != "observations" or stop < n else None]
                for name, value in rows.items()
            }
        )
        for start, stop in zip([0, *stops[:-1]], stops, strict=True)
    ]


def _is_repeated(rows: Columns, start: int) -> bool:
    """Return whether all observations and actions from row `start` on equal those of the row before."""
    pairs = ((rows[name][start:], rows[name][start - 1]) for name in ("observations", "actions"))
    return all((later == before).all() for later, before in pairs)


def _without_env_axis(columns: Columns, ob_ndim: int | None) -> Columns:
    """Return flat columns; the axis of a single vectorised environment, (N, 1, ...), is taken out."""
    obs, acs = columns["observations"], columns["actions"]
    if ob_ndim is not None and obs.ndim == ob_ndim + 2 and obs.shape[1] == 1 and acs.ndim >= 2 and acs.shape[1] == 1:
        n = len(obs)
        columns = {k: v[:, 0] if v.ndim >= 2 and v.shape[:2] == (n, 1) else v for k, v in columns.items()}
    elif acs.ndim == 3 and acs.shape[1] == 1:
        columns = columns | {"actions": acs[:, 0]}
    elif ob_ndim is not None and obs.ndim == ob_ndim + 2 and 1 in (obs.shape[1], obs.shape[-1]):
        axis = 1 if obs.shape[1] == 1 else -1
        names = [name for name in ("observations", "next_observations") if columns.get(name, acs).shape == obs.shape]
        columns = columns | {name: columns[name].squeeze(axis) for name in names}
    return columns


def unstack(options: ReadOptions, content: Content) -> None:
    """Take episodes apart that are the steps of environments side by side."""
    first, n = content.episodes[0], len(content.episodes)
    steps = len(first["actions"])
    shapes = [{name: array.shape for name, array in each.items()} for each in content.episodes]
    if not (1 <= steps == len(first["observations"]) < n and all(each == shapes[0] for each in shapes)):
        return
    if steps == 1:
        content.episodes = [{k: np.concatenate([each[k] for each in content.episodes]) for k in first}]
        content.flat = True
    elif steps <= MAX_ENVIRONMENTS and first["observations"].ndim > 1:
        columns = {name: np.stack([each[name] for each in content.episodes]) for name in first}
        fill_stacked(columns, options, content)


def is_step(columns: Columns, ob_ndim: int | None) -> bool:
    """Return whether a dict holds one step, not one episode."""
    obs, acs = columns["observations"], columns["actions"]
    if is_ragged(obs) or n_dimensions(acs) > 1:
        return False
    if ob_ndim is not None:
        return n_dimensions(obs) == ob_ndim
    scalars = [n_dimensions(columns[name]) == 0 for name in ("rewards", "dones", "terminations") if name in columns]
    if n_dimensions(obs) > 1:
        return False
    return any(scalars) or n_dimensions(acs) == 0 or (n_dimensions(obs) == 1 and len(obs) != len(acs))


def fill_from_tuples(items: Mapping[str, list], ob_ndim: int | None, content: Content) -> None:
    """Fill in a list of (state, action), or longer tuples; or a list of lists of them, one for each episode.

    Two arrays in each tuple, with a row for each step, are an episode.
    """
    first = next(iter(items.values()))
    steps = ob_ndim is not None and n_dimensions(first[0]) == ob_ndim
    if not steps and len(first) == 2 and all(_is_episode_pair(item) for item in items.values()):
        content.remarks["read each pair of arrays as the observations and actions of an episode"] = None
        content.episodes = [prepared({"observations": item[0], "actions": item[1]}) for item in items.values()]
    elif isinstance(first[0], list) and len(first[0]) and isinstance(first[0][0], (list, np.ndarray)):
        content.episodes = [prepared(_columns_of_tuples(item, content)) for item in items.values()]
    else:
        content.episodes, content.flat = [_columns_of_tuples([*items.values()], content)], True


def _is_episode_pair(item: list) -> bool:
    arrays = len(item) == 2 and all(isinstance(each, np.ndarray) for each in item)
    return arrays and item[0].ndim >= 2 and item[1].ndim >= 1 and len(item[0]) - len(item[1]) in (0, 1)


def _columns_of_tuples(steps: list, content: Content) -> Columns:
    """Return columns from tuples that begin with a state and an action."""
    size = len(steps[0]) if isinstance(steps[0], list) else 0
    if not 2 <= size <= 6 or any(not isinstance(step, list) or len(step) != size for step in steps):
        raise InputError(
            "its steps must be tuples of one length: (state, action), or (state, action, reward, next, done)"
        )
    names = ["observations", "actions", *_rest_of_tuples(steps)]
    if size > 2:
        content.remarks[f"read the tuples as ({', '.join(names)})"] = None
    columns = {name: as_column(name, [step[i] for step in steps]) for i, name in enumerate(names)}
    if "next_observations" in columns and columns["next_observations"].shape != columns["observations"].shape:
        raise InputError("its tuples must have next states of the shape of the states")
    return columns


def _rest_of_tuples(steps: list) -> list[str]:
    """Return what follows state and action: reward, next state and ends, told apart by their types and shapes."""
    size, ob_ndim = len(steps[0]), n_dimensions(steps[0][0])
    flags = [i for i in range(2, size) if all(isinstance(step[i], (bool, np.bool_)) for step in steps)]
    if len(flags) > 2:
        raise InputError("its tuples have more than two marks of an end; store a dict of named arrays")
    names = dict(zip(flags, ["dones"] if len(flags) == 1 else ["terminations", "truncations"], strict=False))
    for i in [i for i in range(2, size) if i not in flags]:
        is_next = n_dimensions(steps[0][i]) == ob_ndim and (ob_ndim > 0 or "rewards" in names.values())
        order = ["next_observations"] if is_next else ["rewards", "dones"]
        free = [name for name in order if name not in names.values()]
        if not free:
            raise InputError("the meaning of its tuples is not known; store a dict of named arrays")
        names[i] = free[0]
    return [names[i] for i in range(2, size)]
