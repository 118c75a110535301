"""Demonstrations written for other programs: the formats, and which action of each step is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.commands import install_text
from rl_il.datasets.content import ReadOptions
from rl_il.datasets.findings import counted
from rl_il.datasets.loading import AS_FOUND, load_trajectories, say
from rl_il.datasets.npz import read_meta, save_trajectories
from rl_il.envs import make_env, make_recipe
from rl_il.errors import InputError
from rl_il.files import check_writable
from rl_il.plugins import load, row
from rl_il.types import Trajectory

LABELS, EXECUTED = "labels", "executed"
"""Which action of a step is written: what the expert would do, or what was done."""


@dataclass(frozen=True)
class Writer:
    """A format that demonstrations can be written in.

    Attributes:
      function: `module:function`. It takes the path, the trajectories (their `labels` are written as actions), a dict
        that describes them, and their environment or None. It returns what a user should know, in sentences without a
        full stop.
      name: a regular expression for the name of the file or folder.
      example: such a name.
      extra: the optional dependency, as in `pip install -e ".[hdf5]"`.
      lost: what is not written.
    """

    function: str
    name: str
    example: str
    extra: str = ""
    lost: str = ""


WRITERS: dict[str, Writer] = {
    "npz": Writer(
        "rl_il.datasets.writing:write_npz", r".+\.npz", "demos.npz", lost="double precision of observations"
    ),
    "minari": Writer(
        "rl_il.datasets.to_minari:write", r"[-\w]+-v\d+", "LunarLander/expert-v0", "hdf5", "who was consulted"
    ),
    "csv": Writer("rl_il.datasets.to_csv:write", r".+\.csv", "demos.csv", lost="pictures, last observations"),
}
"""A new format is a function, and its row here."""


def check_target(to: str, out: Path) -> None:
    """Raise `InputError` if `out` cannot be written in the format `to`. Called before the work that fills it."""
    writer = row("format", WRITERS, to)
    if not re.fullmatch(writer.name, out.name):
        raise InputError(f"{out}: the name of a {to} file must be such as {writer.example}")
    try:
        load(writer.function)
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is needed to write a {to} file: {install_text(writer.extra)}") from error
    check_writable(out)


def write_demonstrations(
    to: str,
    out: Path,
    trajectories: Sequence[Trajectory],
    meta: dict[str, Any] | None = None,
    env: gym.Env | None = None,
    actions: str = LABELS,
) -> None:
    """Write trajectories in one of `WRITERS`. A line on stderr says what the format cannot hold.

    Args:
      to: the format.
      out: the file or, for Minari, the folder to write.
      trajectories: at least one.
      meta: a description, where the format can hold one.
      env: their environment; None: unknown.
      actions: `labels` or `executed`.

    Raise `InputError` if the format cannot hold the trajectories, or if `out` cannot be written.
    """
    check_target(to, out)
    chosen, notes = choose_actions(trajectories, actions)
    notes += load(WRITERS[to].function)(out, chosen, meta or {}, env)
    if notes:
        say(f"{out}: {'; '.join(notes)}")


def choose_actions(trajectories: Sequence[Trajectory], actions: str) -> tuple[list[Trajectory], list[str]]:
    """Return the trajectories with the chosen actions as their `labels`, and what a user should know.

    A step without a label has its executed action there, and is marked in `labelled`. If executed actions are chosen,
    every step has one, and `labelled` is left out.
    """
    if actions not in (LABELS, EXECUTED):
        raise InputError(f"--actions must be {LABELS} or {EXECUTED}, got {actions!r}")
    if not trajectories:
        raise InputError("there are no trajectories to write")
    if actions == EXECUTED:
        return [replace(t, expert_acs=None, labelled=None) for t in trajectories], []
    without = sum(int((~t.labelled_steps).sum()) for t in trajectories)
    if without == 0:
        return [*trajectories], []
    steps = sum(map(len, trajectories))
    if without == steps:
        raise InputError(f"none of its {steps:,} steps has a label; give --actions executed")
    verb = "has" if without == 1 else "have"
    note = (
        f"{without:,} of {steps:,} steps {verb} no label: the executed action stands there, and `labelled` is false"
        " (a program that ignores `labelled` would clone it)"
    )
    return [_filled(t) for t in trajectories], [note]


def _filled(trajectory: Trajectory) -> Trajectory:
    """Return the trajectory with the executed action as the label of every step that has none."""
    labelled = trajectory.labelled_steps.reshape(-1, *[1] * (trajectory.acs.ndim - 1))
    return replace(trajectory, expert_acs=np.where(labelled, trajectory.labels, trajectory.acs))


def write_npz(path: Path, trajectories: Sequence[Trajectory], meta: dict[str, Any], env: gym.Env | None) -> list[str]:
    """Write our own format."""
    save_trajectories(path, trajectories, meta)
    fine = [t.obs for t in trajectories if t.obs.dtype == np.float64]
    rounded = any((obs.astype(np.float32) != obs).any() for obs in fine)
    return ["observations were rounded to single precision"] if rounded else []


# Converting --------------------------------------------------------------------------------------------------


def convert(
    source: Path,
    out: Path,
    to: str,
    env_name: str | None = None,
    options: ReadOptions = AS_FOUND,
    actions: str = LABELS,
    env_kwargs: str | None = None,
    wrappers: str | None = None,
) -> list[Trajectory]:
    """Write the demonstrations of a file or folder in another format, and return them.

    Args:
      source: what `load_trajectories` reads.
      out: the file or folder to write.
      to: its format, one of `WRITERS`.
      env_name: the environment; None: the one that a file of ours names, if it can be made.
      options: what the user says about names and layout of `source`.
      actions: which actions to write, `labels` or `executed`.
      env_kwargs, wrappers: the arguments and wrappers of the named environment, as in `make_recipe`.
    """
    check_target(to, out)
    if out.exists() and source.exists() and out.samefile(source):
        raise InputError(f"{out}: is the file that is read; give another name")
    meta = read_meta_of(source)
    named = {"env_name": env_name, "env_kwargs": env_kwargs, "wrappers": wrappers}
    env = make_env(make_recipe(**named)) if env_name else _env_of(meta)
    trajectories = load_trajectories(source, env, may_lack_labels=True, options=options)
    if len(trajectories) == 1 and not (trajectories[0].terminated or trajectories[0].truncated):
        say(f"{source}: read as 1 episode without an end; if these are several, give --split_every LENGTH")
    if all(np.array_equal(t.obs[-1], t.obs[-2]) for t in trajectories):
        say(f"{source}: seems to lack the last observation of each episode; the one before it is repeated")
    meta |= {"converted_from": source.name, "actions": actions} | {name: text for name, text in named.items() if text}
    write_demonstrations(to, out, trajectories, meta, env, actions)
    return trajectories


def read_meta_of(path: Path) -> dict[str, Any]:
    """Return the description in a file of ours; an empty one for any other file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return read_meta({"meta": arrays["meta"]})
    except Exception:  # `load_trajectories` says what is wrong
        return {}


def _env_of(meta: dict[str, Any]) -> gym.Env | None:
    """Return the environment that a file names, or None if it cannot be made.

    No module is imported because a file names it.
    """
    name = meta.get("env_name")
    if not isinstance(name, str):
        return None
    if ":" in name or meta.get("wrappers"):
        say(f"converted without the file's environment {name}; give --env_name to use it")
        return None
    try:
        return make_env(make_recipe(name, str(meta.get("env_kwargs") or "")))
    except InputError as error:
        say(f"converted without the file's environment: {error}")
        return None


def summary(trajectories: Sequence[Trajectory]) -> str:
    """Return the numbers of episodes and steps as text."""
    return f"{counted(len(trajectories), 'episode')}, {counted(sum(map(len, trajectories)), 'step')}"
