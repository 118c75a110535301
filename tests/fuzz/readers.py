"""The readers under test, each with a check of its result. As a script, this reads the files in its arguments."""

from __future__ import annotations

import contextlib
import functools
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.datasets import load_trajectories
from rl_il.datasets.pickles import load_pickle
from rl_il.envs import is_discrete, make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.experts.normaliser import MODULES as NORMALISER_MODULES
from rl_il.report.runs import find_runs, group_runs
from rl_il.runs.checkpoint import Checkpoint
from rl_il.runs.folders import AnyConfig, read_config
from rl_il.studies.doctor.examine import examine, to_dict

ENVS = ("MountainCar-v0", "MountainCarContinuous-v0")
MAX_MESSAGE = 2000  # characters; a longer message would repeat the file


@functools.cache
def env_of(name: str) -> gym.Env:
    return make_env(name)


def read_demonstrations(path: Path, env_name: str) -> None:
    env = env_of(env_name)
    space, load = env.action_space, load_trajectories
    load(path)
    for t in load(path, env):
        assert t.obs.shape == (len(t) + 1, 2) and t.obs.dtype == np.float32 and np.isfinite(t.obs).all()
        for acs in (t.acs, t.labels):
            assert acs.shape == (len(t), *space.shape) and np.isfinite(acs).all()
            assert acs.dtype == (np.int64 if is_discrete(space) else np.float32)
            assert not is_discrete(space) or ((acs >= 0) & (acs < 3)).all()
        for array, dtype in ((t.rewards, np.float64), (t.labelled_steps, bool), (t.source, np.int8)):
            assert array.shape == (len(t),) and array.dtype == dtype
        assert type(t.terminated) is bool and type(t.truncated) is bool


def read_actor(path: Path, env_name: str) -> None:
    env = env_of(env_name)
    actor = load_actor(path, env)
    actor.reset(0)
    with np.errstate(all="ignore"):  # the weights may be as large as floats can be
        for batch in ((), (3,)):
            acs = actor.get_action(np.zeros((*batch, 2), np.float32))
            assert acs.shape == (*batch, *env.action_space.shape)
            assert acs.dtype == (np.int64 if is_discrete(env.action_space) else np.float32)


def read_any_pickle(path: Path, env_name: str) -> None:
    left = [load_pickle(path, NORMALISER_MODULES)]
    while left:
        value = left.pop()
        if isinstance(value, (dict, list)):
            left += value.values() if isinstance(value, dict) else value
        else:
            assert isinstance(value, (np.ndarray, np.generic, bool, int, float, str, bytes, type(None)))
            assert not isinstance(value, np.ndarray) or value.dtype.kind in "biuf"


def read_run_folder(folder: Path, env_name: str) -> None:
    with contextlib.suppress(InputError):
        read_config(folder)
    for variant in group_runs(find_runs([folder])):
        for run in variant.runs:
            assert run.scores.keys() == run.lengths.keys() and run.last < len(run.metrics)
            numbers = (*run.expert, *run.scores.values(), *run.lengths.values())
            assert all(np.isfinite(array).all() for array in numbers)


def diagnose(path: Path, env_name: str) -> None:
    assert to_dict(examine(path, env_name))["file"] == str(path)


def read_config_json(folder: Path, text: bytes) -> None:
    (folder / "config.json").write_bytes(text)
    assert isinstance(read_config(folder), AnyConfig)


def read_checkpoint_json(folder: Path, text: bytes) -> None:
    """Load a checkpoint. No text has the right checksum of a file, so only one that names no file is accepted."""
    for name in ("checkpoint/state_1.pt", "data/itr_1.npz"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"whatever")
    (folder / "checkpoint" / "checkpoint.json").write_bytes(text)
    Checkpoint(folder).load()


def read_meta_json(read, arrays: dict[str, np.ndarray], folder: Path, text: bytes) -> None:
    np.savez(folder / "x.npz", **arrays, meta=np.array(text.decode(errors="replace").replace("\0", "")))
    read(folder / "x.npz", "MountainCar-v0")


JSONS = {
    "config": read_config_json,
    "PPO's config": read_config_json,
    "checkpoint": read_checkpoint_json,
    "demonstrations": functools.partial(
        read_meta_json, diagnose, {"observations": np.ones((5, 2)), "actions": np.ones(5, int)}
    ),
    "expert": functools.partial(read_meta_json, read_actor, {"w0": np.ones((2, 3)), "b0": np.ones(3)}),
}
"""Functions that read a text in a folder, for each kind of text."""


IN_A_CHILD = {"actor": read_actor, "demonstrations": read_demonstrations}
"""Readers of files that other libraries read, which may crash, by the name that begins the file's name."""


def outcome(read, path: Path, what: str | bytes) -> str:
    """Return `values` or `InputErrors`; any other exception is raised."""
    try:
        read(path, what)
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) < MAX_MESSAGE
        return "InputErrors"
    return "values"


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        reader, _, env_name = file.stem.split("_")
        print(outcome(IN_A_CHILD[reader], file, env_name), flush=True)
