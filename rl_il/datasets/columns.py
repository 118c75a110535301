"""From what a file holds (dicts, lists, arrays) to the columns of its episodes, by our names.

Every container format ends here: the readers return a tree of dicts, lists and arrays, and do not know what the names
in it mean or how its episodes are laid out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rl_il.datasets.content import Columns, Content, ReadOptions, as_column, n_dimensions, n_items, natural, prepared
from rl_il.datasets.layouts import fill_flat, fill_from_tuples, is_step, unstack
from rl_il.datasets.named import named_columns
from rl_il.datasets.names import MEANINGS, NAMES, WRAPPERS, listed, parse_keys
from rl_il.errors import InputError


def find_content(tree: Any, options: ReadOptions, ob_ndim: int | None = None) -> Content:
    """Return the columns that a tree of dicts, lists and arrays holds.

    Args:
      tree: a dict of columns, a list of episodes or of steps, or a dict of episodes, possibly in a dict or list with
        this single item.
      options: what the user said about the file.
      ob_ndim: the number of dimensions of one observation; None: unknown.

    Raise `InputError` for anything else.
    """
    content, keys = Content(), parse_keys(options.keys)
    tree = _with_chosen(_unwrap(_with_chosen(tree, options), keys, content), options)
    if _is_pair(tree):
        content.remarks["read the first array as observations, the second as actions"] = None
        tree = {"observations": tree[0], "actions": tree[1]}
    if isinstance(tree, Mapping) and [*tree] == ["arr_0", "arr_1"] and not keys and _is_pair([*tree.values()]):
        content.remarks["read arr_0 as observations, arr_1 as actions"] = None  # numpy.savez without names
        tree = {"observations": tree["arr_0"], "actions": tree["arr_1"]}
    if isinstance(tree, Mapping) and _is_columns(tree, keys):
        fill_flat(named_columns(tree, keys, options, content), options, ob_ndim, content)
        return content
    items = {name: _of_steps(item, keys) for name, item in _items(tree).items()}
    sets = isinstance(tree, Mapping) and all(_is_columns(item, keys) for item in items.values())
    if sets and len(items) > 1 and not _are_numbered(items):
        raise InputError(f"holds several data sets, {listed(items)}; store the one to learn from in its own file")
    if items and all(isinstance(item, Mapping) for item in items.values()):
        _fill_from_dicts(items, keys, options, ob_ndim, content)
    elif items and all(isinstance(item, list) and item for item in items.values()) and _are_numbered(tree):
        if keys:
            raise InputError("--keys has no meaning here: the file holds tuples, without names")
        fill_from_tuples(items, ob_ndim, content)
    else:
        raise InputError(_not_demonstrations(tree))
    if isinstance(tree, Mapping):
        content.not_read |= {str(name): None for name in tree if name not in items}
    return content


def _is_pair(tree: Any) -> bool:
    """Return whether this is a list of two arrays or long lists of equal length, the first of which has vectors."""
    if not (isinstance(tree, list) and len(tree) == 2 and all(isinstance(item, (np.ndarray, list)) for item in tree)):
        return False
    if n_dimensions(tree[0]) < 2 or n_dimensions(tree[1]) < 1 or len(tree[0]) != len(tree[1]):
        return False
    if isinstance(tree[0][0], list) and len({n_dimensions(each) for each in tree[0][0]}) > 1:
        return False  # a state and an action, so these are two episodes of equal length
    if all(isinstance(each, np.ndarray) and each.ndim > 1 for each in tree[0]) and isinstance(tree[1], list):
        return all(n_dimensions(acs) and len(obs) - len(acs) in (0, 1) for obs, acs in zip(*tree, strict=True))
    return all(isinstance(item, np.ndarray) for item in tree) or len(tree[0]) > 6  # longer than any tuple of a step


def _with_chosen(tree: Any, options: ReadOptions) -> Any:
    """Return the tree with the columns that `--obs_keys` names as its observations, if it has them all."""
    chosen = options.obs_keys.split(",") if options.obs_keys else []
    if not (chosen and isinstance(tree, Mapping) and all(name in tree for name in chosen)):
        return tree
    replaced = [name for name in tree if MEANINGS.get(str(name).lower()) == "observations"]
    if any(isinstance(tree[name], Mapping) for name in replaced):
        return tree  # whose parts are meant
    others = {name: value for name, value in tree.items() if name not in (*chosen, *replaced)}
    return {"observations": {name: tree[name] for name in chosen}} | others


def _unwrap(tree: Any, keys: Mapping[str, str], content: Content) -> Any:
    """Return the tree inside dicts and lists that hold it under a usual name, or hold nothing else."""
    for _ in range(4):
        if isinstance(tree, Mapping) and not _is_columns(tree, keys):
            inner = {name: value for name, value in tree.items() if isinstance(value, (Mapping, list)) and len(value)}
            named = [value for name, value in inner.items() if str(name).lower() in WRAPPERS]
            only = [value for name, value in inner.items() if len(inner) == 1 and not re.search(r"\d", str(name))]
            if len(named) != 1 and not only:
                return tree
            inside = named[0] if len(named) == 1 else only[0]
            content.not_read |= {
                str(name): None for name, value in tree.items() if value is not inside and n_items(value)
            }
            tree = inside
        elif isinstance(tree, list) and len(tree) == 1 and isinstance(tree[0], list):
            tree = tree[0]
        else:
            return tree
    return tree


def _is_columns(tree: Any, keys: Mapping[str, str]) -> bool:
    """Return whether a dict's names include observations and actions."""
    if not isinstance(tree, Mapping):
        return False
    names = {str(name).lower() for name in tree}
    wanted = [
        {keys[meaning].lower()} if meaning in keys else {*NAMES[meaning]} for meaning in ("observations", "actions")
    ]
    return all(names & each for each in wanted)


def _items(tree: Any) -> dict[str, Any]:
    """Return the items of a dict or list of episodes or steps by name, in their natural order."""
    if isinstance(tree, Mapping):
        return {name: tree[name] for name in sorted(tree, key=natural) if isinstance(tree[name], (Mapping, list))}
    return {f"episode {i}": item for i, item in enumerate(tree)} if isinstance(tree, list) else {}


def _of_steps(item: Any, keys: Mapping[str, str]) -> Any:
    """Return an episode as columns if it is a list of dicts, one for each step, or holds such a list."""
    if isinstance(item, Mapping) and not _is_columns(item, keys):
        lists = [value for name, value in item.items() if str(name).lower() in WRAPPERS and isinstance(value, list)]
        item = lists[0] if len(lists) == 1 else item
    if isinstance(item, list) and item and all(_is_columns(step, keys) for step in item):
        names = [name for name in item[0] if all(name in step for step in item)]
        return {name: [step[name] for step in item] for name in names}
    return item


def _are_numbered(tree: Any) -> bool:
    """Return whether it is a list, or a dict whose names have numbers, as episodes have and columns have not."""
    return isinstance(tree, list) or all(re.search(r"\d", str(name)) for name in tree)


def _fill_from_dicts(
    items: Mapping[str, Mapping[str, Any]],
    keys: Mapping[str, str],
    options: ReadOptions,
    ob_ndim: int | None,
    content: Content,
) -> None:
    """Fill in a list of dicts: each is an episode, or each a step."""
    named = []
    for name, item in items.items():
        try:
            item = _with_chosen(item, options)
            if not _is_columns(item, keys):
                raise InputError(_not_demonstrations(item))
            named.append(named_columns(item, keys, options, content))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    if all(is_step(columns, ob_ndim) for columns in named):
        _check_same_names(named)
        columns = {name: as_column(name, [step[name] for step in named]) for name in named[0]}
        content.episodes, content.flat = [columns], True
        return
    for name, columns in zip(items, named, strict=True):
        try:
            content.episodes.append(prepared(columns))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    if all("episode_ids" in columns for columns in content.episodes):  # pieces, of which the ids tell the episodes
        first = content.episodes[0]
        content.episodes = [{k: np.concatenate([each[k] for each in content.episodes]) for k in first}]
        content.flat = True
        return
    unstack(options, content)


def _check_same_names(named: Sequence[Columns]) -> None:
    if any({*columns} != {*named[0]} for columns in named):
        raise InputError("its steps do not all have the same names")


def _not_demonstrations(tree: Any) -> str:
    if isinstance(tree, Mapping):
        return (
            f"holds {listed(tree)}; needed are observations and actions under a usual name, such as obs and acs; say"
            " which is which by --keys obs=NAME,actions=NAME"
        )
    what = "an empty list" if isinstance(tree, list) and not tree else f"a {type(tree).__name__}"
    return (
        f"holds {what}, expected arrays of observations and actions, or a list of episodes; is it an expert's file?"
    )
