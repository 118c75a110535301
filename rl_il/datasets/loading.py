"""`load_trajectories`: demonstrations of any file format, checked against their environment."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.columns import find_content
from rl_il.datasets.content import ReadOptions, natural
from rl_il.datasets.episodes import to_trajectories
from rl_il.datasets.findings import counted
from rl_il.datasets.formats import FORMATS, find_format
from rl_il.datasets.names import listed
from rl_il.datasets.npz import to_arrays
from rl_il.envs import check_actions, episode_limit, flat_rows, name_of
from rl_il.envs.fitting import original_space
from rl_il.errors import RAISED, InputError, describe
from rl_il.files import one_line, reading
from rl_il.plugins import is_own, load_own
from rl_il.types import Trajectory

AS_FOUND = ReadOptions()  # the user says nothing about the file
SESSION = "session"  # the folder of a teaching run that holds one file for each episode

V4_ZEROS = [45] * 10 + [175] * 6 + [253] * 6 + [270] * 6
"""Before which numbers of Humanoid-v5's observation Humanoid-v4 has zeros: the world's inertia, velocity and contact
forces, and the forces of actuators on the torso."""


def session_files(run_folder: Path) -> list[Path]:
    """Return the episode files of a teaching run, in order; an empty list for another folder."""
    files = (run_folder / SESSION).glob("episode_*.npz")
    return sorted(path for path in files if path.stem.removeprefix("episode_").isdecimal())


@np.errstate(all="ignore")  # `Trajectory` refuses NaN and infinite numbers
def load_trajectories(
    path: str | Path,
    env: gym.Env | None = None,
    n_demos: int | None = None,
    rng: np.random.Generator | None = None,
    may_lack_labels: bool = False,
    options: ReadOptions = AS_FOUND,
) -> list[Trajectory]:
    """Return the demonstrations of a file or folder.

    One line on stderr says what was read under another name than ours, and what was not read.

    Args:
      path: a file or folder in any of `formats.FORMATS`, a folder with such a file for each episode, the folder of a
        teaching run, or `module:Name` of the user's function, which takes nothing and returns a list of `Trajectory`,
        or dicts, lists and arrays as a file holds them.
      env: if given, observations and actions must fit its spaces, and take their dtypes.
      n_demos: keep this many episodes, drawn without replacement by `rng` (without `rng`: the first ones).
      may_lack_labels: whether a file without any label is accepted.
      options: what the user says about names and layout.

    Raise `InputError`, which begins with the path, for a file that is missing, broken, does not fit, or lacks the
    episodes asked for.
    """
    path = Path(path)
    with naming(path):
        notes: list[str] = []
        trajectories, has_boundaries = read_trajectories(path, env, options, notes)
        if n_demos is not None:
            trajectories = _choose(trajectories, has_boundaries, n_demos, rng)
        if not (may_lack_labels or any(t.labelled_steps.any() for t in trajectories)):
            raise InputError("has no step with a label")
        shape = trajectories[0].obs.shape[1:]
        if env and (adapted := adaptation(shape, env)):
            how, adapt = adapted
            numbers = f"{shape[0]} numbers, those of {name_of(env)} {env.observation_space.shape[0]}"
            print(f"note: observations in {path} have {numbers}; {how}", file=sys.stderr)
            trajectories = [dataclasses.replace(t, obs=adapt(t.obs)) for t in trajectories]
        if env:
            trajectories = [_fit(dataclasses.replace(t, obs=flat_rows(t.obs, env)), env) for t in trajectories]
    for note in notes:  # of a file that is refused, only the reason is said
        say(note)
    return trajectories


def adaptation(shape: tuple[int, ...], env: gym.Env) -> tuple[str, Callable[[np.ndarray], np.ndarray]] | None:
    """Return how observations of this shape, of another version, are adapted to the environment; None if not.

    It is given in words and as a function. The course's Ant-v4 observes 84 contact forces, and Ant-v5 observes 78.
    Gymnasium's Ant-v4 observes none.
    """
    name, own = name_of(env), env.observation_space.shape
    if name.startswith("Ant-") and shape in ((111,), (105,)) and own == (27,):
        rewards = "; the rewards are those of Ant-v5" if shape == (105,) else ""
        return f"the contact forces are cut off{rewards}", lambda obs: obs[..., :27]
    if name.startswith("Humanoid-") and shape == (348,) and own == (376,):
        how = "the zeros that Humanoid-v5 leaves out are added; the rewards are those of Humanoid-v5"
        return how, lambda obs: np.insert(obs, V4_ZEROS, 0, axis=-1)
    return None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise an `InputError` that begins with the path for any inside, and for a file that needs too much memory."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {one_line(error)}") from error
    except (MemoryError, RecursionError) as error:
        raise InputError(f"{path}: is too large or too deeply nested to be read ({type(error).__name__})") from error


def read_trajectories(
    path: Path, env: gym.Env | None, options: ReadOptions, notes: list[str], folder: Path | None = None
) -> tuple[list[Trajectory], bool]:
    """Return all episodes of a file or folder, and whether it says where they end.

    What should be said about the file is added to `notes`, and names `folder` if the file is one of a folder's.
    """
    limit = episode_limit(env) if env else None
    files = files_of(path)
    if files != [path]:
        return _read_folder(path, files, env, options, notes)
    tree = read_tree(path)
    if env and isinstance(space := original_space(env), gym.spaces.Dict):
        options = dataclasses.replace(options, space=space)
    with reading("set of demonstrations"):  # NumPy raises almost any exception for lists of anything
        content = find_content(tree, options, len(env.observation_space.shape) if env else None)
        trajectories, has_boundaries = to_trajectories(content, limit, options.split_every)
    if note := content.note():
        # All files of a folder have the same note, which is said once.
        notes.append(f"{path if path.parent != folder else folder}: {note}")
    return trajectories, has_boundaries


def read_tree(path: Path) -> Any:
    """Return the tree that a file or folder of a known format holds, or what the user's own function returns."""
    if is_own(str(path)):
        return _call_own(str(path))
    found = find_format(path)
    if found is None:
        known = ", ".join(each.name for each in FORMATS)
        raise InputError(f"is of no known format; known are {known}, and folders with a file for each episode")
    return found.read(path)


def _call_own(name: str) -> Any:
    """Return what the user's function `module:Name` returns. Raise `InputError` if it fails."""
    function = load_own(name)
    try:
        found = function()
        if isinstance(found, Iterator):
            found = list(found)
        own = isinstance(found, list) and len(found) > 0 and all(isinstance(each, Trajectory) for each in found)
        return to_arrays(found) if own else _without_tuples(found)
    except RAISED as error:
        raise InputError(
            f"the function failed: {describe(error)}; it is called without arguments, and returns a"
            " list of Trajectory, or dicts, lists and arrays as a file holds them"
        ) from error


def _without_tuples(tree: Any) -> Any:
    """Return the tree with lists in the place of tuples, as all readers of files return it."""
    if isinstance(tree, Mapping):
        return {name: _without_tuples(item) for name, item in tree.items()}
    return [_without_tuples(item) for item in tree] if isinstance(tree, (list, tuple)) else tree


def files_of(path: Path) -> list[Path]:
    """Return the file or folder itself, or the files of a folder with one for each episode, in order.

    Raise `InputError` for a path that does not exist, and for a folder without such files.
    """
    if is_own(str(path)):
        return [path]
    if not os.path.exists(path):
        raise InputError("no such file")
    if not path.is_dir() or find_format(path):
        return [path]
    files = session_files(path) or episode_files(path)
    if not files:
        raise InputError("is a folder without session/episode_*.npz and without a file of a known format")
    return files


def episode_files(folder: Path) -> list[Path]:
    """Return the files of a folder that has a file for each episode: those of its commonest format, by their numbers.

    Raise `InputError` if there are several without a number: they may be other sets, or the same one again.
    """
    paths = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    by_format: dict[str, list[Path]] = {}
    for path in sorted(paths, key=lambda path: natural(path.name)):
        if found := find_format(path):
            by_format.setdefault(found.name, []).append(path)
    files = max(by_format.values(), key=len, default=[])
    numbered = [path for path in files if re.search(r"\d", path.stem)]
    alone = len(files) == 1 and len(by_format) == 1
    if not alone and len(numbered) < len(files):
        names = ", ".join(path.name for same in by_format.values() for path in same[:3])
        raise InputError(f"holds {names}: files of episodes have numbers; give one of these, or number them")
    return files


@functools.cache
def say(note: str) -> None:
    """Print a note on stderr, once in this process."""
    print(f"note: {note}", file=sys.stderr)


def _read_folder(
    folder: Path, files: list[Path], env: gym.Env | None, options: ReadOptions, notes: list[str]
) -> tuple[list[Trajectory], bool]:
    """Return the episodes of a teaching session or of a folder with a file for each, and whether it says their ends.

    A file that does not say where episodes end is one episode, unless it is longer than the environment allows.
    """
    trajectories: list[Trajectory] = []
    has_boundaries, limit = True, episode_limit(env) if env else None
    if files != session_files(folder):
        notes.append(f"{folder}: read {counted(len(files), 'file')}, {files[0].name} to {files[-1].name}")
        others = sorted(path.name for path in folder.iterdir() if path not in files and path.is_file())
        notes += [f"{folder}: not read: {listed(others)}"] if others else []
    for file in files:
        try:
            found, known = read_trajectories(file, env, options, notes, folder)
            trajectories += found
            has_boundaries &= known or limit is None or len(found[0]) <= limit
        except InputError as error:
            raise InputError(f"{file.name}: {one_line(error)}") from error
    if len({(t.obs.shape[1:], t.acs.shape[1:], t.acs.dtype.kind) for t in trajectories}) > 1:
        raise InputError("its episodes observe or act in different shapes; are they of one environment?")
    return trajectories, has_boundaries


def _choose(
    trajectories: list[Trajectory], has_boundaries: bool, n_demos: int, rng: np.random.Generator | None
) -> list[Trajectory]:
    if not has_boundaries:
        raise InputError(
            "does not say where episodes end, so --n_demos cannot count them; give --split_every LENGTH if all have"
            " one length, mark every end in an array dones, terminations, truncations or episode_starts, or leave"
            " --n_demos out"
        )
    if not 1 <= n_demos <= len(trajectories):
        raise InputError(f"has {counted(len(trajectories), 'episode')}, so --n_demos {n_demos} is not possible")
    order = range(n_demos) if rng is None else rng.permutation(len(trajectories))[:n_demos]
    return [trajectories[i] for i in order]


def _fit(trajectory: Trajectory, env: gym.Env) -> Trajectory:
    """Return the trajectory in the environment's dtypes. Raise `InputError` if it does not fit the environment."""
    name, space, shape = name_of(env), env.observation_space, trajectory.obs.shape[1:]
    if shape != space.shape:
        raise InputError(f"observations have the shape {shape}, but those of {name} {space.shape}")
    _check_scale(trajectory, env)
    labels = trajectory.expert_acs
    return dataclasses.replace(
        trajectory,
        obs=trajectory.obs.astype(space.dtype, copy=False),
        acs=check_actions(trajectory.acs, name, env.action_space),
        expert_acs=None if labels is None else check_actions(labels, name, env.action_space),
    )


def _check_scale(trajectory: Trajectory, env: gym.Env) -> None:
    """Raise `InputError` for numbers that the space's dtype would change, or that were stored at another scale."""
    obs, space, actions = trajectory.obs, env.observation_space, env.action_space
    if space.dtype.kind in "iu" and obs.dtype != space.dtype:
        low, high = np.iinfo(space.dtype).min, np.iinfo(space.dtype).max
        if (obs != np.floor(obs)).any() or obs.min() < low or obs.max() > high:
            raise InputError(
                f"observations are {obs.dtype} from {obs.min():g} to {obs.max():g}, those of {name_of(env)}"
                f" {space.dtype}: were they scaled? Store the environment's own numbers"
            )
    elif space.dtype.kind == "f" and obs.dtype.kind in "iu":
        say(f"observations are {obs.dtype}, those of {name_of(env)} {space.dtype}: were they rounded or scaled?")
    acs = trajectory.labels
    comparable = isinstance(actions, gym.spaces.Box) and acs.dtype.kind in "iu" and acs.shape[1:] == actions.shape
    if comparable and ((acs < actions.low).any() or (acs > actions.high).any()):
        raise InputError(
            f"actions are {acs.dtype} from {acs.min()} to {acs.max()}, beyond the bounds of {name_of(env)}: were they"
            " scaled, or are they discrete? Store the environment's own numbers"
        )
