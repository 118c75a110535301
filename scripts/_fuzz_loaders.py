"""The project's loaders, each with small good files to start from and a check of what it loads."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _fuzz_learning
import _fuzz_resume
import _fuzz_seeds
import numpy as np
from _fuzz_checkpoints import mutate_checkpoint
from _fuzz_mutations import mutate_case
from _fuzzing import Case, Loader, write_case

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.datasets.npz import read_meta, read_npz
from rl_il.datasets.safe_pickle import load_pickle
from rl_il.envs import is_discrete, make_env
from rl_il.errors import InputError
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.experts import load_actor
from rl_il.policies.sb3 import NORMALISER_MODULES
from rl_il.report.runs import read_run
from rl_il.teacher.labels import Labels
from rl_il.teacher.recording import read_teach_config
from rl_il.types import Trajectory

ENVS = {"discrete": "MountainCar-v0", "continuous": "MountainCarContinuous-v0"}
"""A file's name says for which of them it is loaded. Both observe two numbers."""


@functools.cache
def _env(kind: str) -> Any:
    return make_env(ENVS[kind])


def _the_file(folder: Path, suffix: str) -> tuple[Path, Any]:
    """The file with the suffix, and the environment that its name asks for."""
    found = [path for path in folder.iterdir() if path.suffix == suffix and path.stem in ENVS]
    path = found[0] if found else folder / f"discrete{suffix}"
    return path, _env(path.stem)


# Checks ----------------------------------------------------------------------------------------------------


def _check(condition: Any, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def check_trajectories(trajectories: list[Trajectory], env: Any) -> None:
    """Raises `AssertionError` for trajectories that training could not use."""
    _check(trajectories, "no trajectories")
    for t in trajectories:
        n, space = len(t), env.action_space
        _check(t.obs.shape == (n + 1, *env.observation_space.shape), f"observations {t.obs.shape}")
        _check(t.obs.dtype == env.observation_space.dtype and np.isfinite(t.obs).all(), "observations")
        for acs in (t.acs, t.labels):
            _check(acs.shape == (n, *space.shape) and np.isfinite(acs).all(), f"actions {acs.shape}")
            _check(acs.dtype == (np.int64 if is_discrete(space) else np.float32), f"actions {acs.dtype}")
            _check(not is_discrete(space) or ((acs >= 0) & (acs < space.n)).all(), "actions out of range")
        for array, dtype in ((t.rewards, np.float64), (t.labelled_steps, bool), (t.source, np.int8)):
            _check(array.shape == (n,) and array.dtype == dtype, f"{array.shape} {array.dtype}")
        _check(type(t.terminated) is bool and type(t.truncated) is bool, "an end that is no bool")


def check_actor(actor: Any, env: Any) -> None:
    """Raises `AssertionError` for an actor that does not act in the environment."""
    shape = env.observation_space.shape
    dtype = np.int64 if is_discrete(env.action_space) else np.float32
    actor.reset(0)
    with np.errstate(all="ignore"):
        for batch in ((), (3,)):
            acs = actor.get_action(np.zeros((*batch, *shape), np.float32))
            _check(acs.shape == (*batch, *env.action_space.shape), f"actions {acs.shape}")
            _check(acs.dtype == dtype, f"actions {acs.dtype}")


def check_tree(tree: Any) -> None:
    """Raises `AssertionError` for a tree with anything but plain data in it, and for an endless one."""
    left, seen = [tree], 0
    while left:
        value, seen = left.pop(), seen + 1
        _check(seen < 10_000_000, "an endless tree")
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, (list, tuple)):
            left += value
        else:
            plain = (np.ndarray, np.generic, bool, int, float, str, bytes, type(None))
            _check(isinstance(value, plain), f"a {type(value).__name__}")
            _check(not isinstance(value, np.ndarray) or value.dtype.kind in "biuf", "an array of no numbers")


@functools.cache
def _hints() -> dict[str, Any]:
    return typing.get_type_hints(RunConfig)


def check_run(run: Any) -> None:
    """Raises `AssertionError` for a run that no report could show."""
    hints = _hints()
    for item in dataclasses.fields(run.config):
        value, kinds = getattr(run.config, item.name), typing.get_args(hints[item.name]) or (hints[item.name],)
        _check(isinstance(value, kinds) or (isinstance(value, int) and float in kinds), f"{item.name} {value!r}")
    _check(run.returns.keys() == run.lengths.keys() and run.last < len(run.metrics), "iterations")
    for numbers in (run.expert_returns, run.expert_lengths, *run.returns.values(), *run.lengths.values()):
        _check(np.isfinite(numbers).all(), "numbers")
    _check(all((lengths >= 0).all() for lengths in run.lengths.values()), "lengths")


# Loading ---------------------------------------------------------------------------------------------------


def load_demonstrations(suffix: str, folder: Path) -> None:
    """`load_trajectories`, without and with an environment."""
    path, env = _the_file(folder, suffix)
    load_trajectories(path)
    check_trajectories(load_trajectories(path, env), env)
    with contextlib.suppress(InputError):  # a good file need not say where episodes end
        check_trajectories(load_trajectories(path, env, n_demos=1), env)


def load_and_act(suffix: str, folder: Path) -> None:
    """`load_actor` and an action."""
    path, env = _the_file(folder, suffix)
    check_actor(load_actor(path, env), env)


def load_session(folder: Path) -> None:
    """A teaching run's settings and episodes, as training and going on read them."""
    config = read_teach_config(folder)
    _check(isinstance(config.run_config(), RunConfig), "settings")
    env = _env("discrete")
    trajectories = load_trajectories(folder, env, may_lack_labels=True)
    check_trajectories(trajectories, env)
    labels = Labels(config.labels, config.approval_weight, ReplayBuffer(1000))
    for trajectory in trajectories:
        labels.add(trajectory)
    counts = labels.counts
    _check(counts["human"] + counts["approved"] <= sum(map(len, trajectories)), "labels")


def load_any_pickle(folder: Path) -> None:
    """`load_pickle` with the modules of Stable-Baselines3's normaliser."""
    check_tree(load_pickle(folder / "x.pkl", NORMALISER_MODULES))


def load_meta(folder: Path) -> None:
    """`read_npz` and `read_meta`."""
    arrays = read_npz(folder / "x.npz")
    check_tree({key: array for key, array in arrays.items() if array.dtype.kind in "biuf"})
    read_meta(arrays)


def load_run(folder: Path) -> None:
    """`read_run`."""
    check_run(read_run(folder))


def load_events(folder: Path) -> None:
    """`without_images`, which reads every event."""
    from rl_il.report.events import without_images

    _check(isinstance(without_images(folder / "x"), bytes), "bytes")


SOURCES: dict[str, tuple[Callable[[], list[Case]], Callable[[Path], None]]] = {
    "demonstrations": (_fuzz_seeds.demo_seeds, functools.partial(load_demonstrations, ".npz")),
    "course_demonstrations": (_fuzz_seeds.course_demo_seeds, functools.partial(load_demonstrations, ".pkl")),
    "pickle": (_fuzz_seeds.pickle_seeds, load_any_pickle),
    "meta": (_fuzz_seeds.meta_seeds, load_meta),
    "weights": (_fuzz_seeds.weights_seeds, functools.partial(load_and_act, ".npz")),
    "course_expert": (_fuzz_seeds.course_expert_seeds, functools.partial(load_and_act, ".pkl")),
    "checkpoint": (_fuzz_seeds.checkpoint_seeds, functools.partial(load_and_act, ".pt")),
    "sb3": (_fuzz_seeds.sb3_seeds, functools.partial(load_and_act, ".zip")),
    "run_folder": (_fuzz_seeds.run_seeds, load_run),
    "session": (_fuzz_seeds.session_seeds, load_session),
    "events": (_fuzz_seeds.event_seeds, load_events),
    "resume": (_fuzz_resume.resume_seeds, _fuzz_resume.load_resumed),
    "learning": (_fuzz_learning.learning_seeds, _fuzz_learning.load_learning),
}
"""A new loader is a row here: its good files, and what reads and checks them."""
CHECKSUMMED = ("resume", "learning")  # loaders of checkpoints, whose index names each file's SHA-256


def make_loader(name: str) -> Loader:
    """The loader of that name, with its seeds made; raises what a good file must not raise."""
    make_seeds, load = SOURCES[name]
    seeds = make_seeds()
    with tempfile.TemporaryDirectory() as folder:  # imports what the loader imports, before anybody watches
        write_case(Path(folder), seeds[0])
        load(Path(folder))
    return Loader(name, seeds, mutate_checkpoint if name in CHECKSUMMED else mutate_case, load)
