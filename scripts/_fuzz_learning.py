"""Checkpoints of lessons: good ones, and what goes on from them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _fuzz_checkpoints import case_of, kind_in
from _fuzzing import Case

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.files import to_json
from rl_il.run_parts import build_policy
from rl_il.teacher.scripted import summary_table
from rl_il.teacher.settings import TeachConfig
from rl_il.types import Trajectory

if TYPE_CHECKING:
    from rl_il.teacher.learner import Learner
    from rl_il.teacher.metrics import Metrics
    from rl_il.teacher.teaching import Teaching

SMALL = {"ep_len": 4, "publish_every": 3, "train_batch_size": 2, "size": 3, "n_layers": 1}
SMALL |= {"max_replay_buffer_size": 50, "updates_per_step": 1.0, "eval_every": 2, "eval_episodes": 1}
CONFIGS = {
    "discrete": TeachConfig(env_name="MountainCar-v0", **SMALL),
    "continuous": TeachConfig(env_name="LunarLanderContinuous-v3", loss="nll", **SMALL),
}
MODES = ("watch", "demonstrate", "teach")  # of a lesson's episodes: there is no label before the second
UPDATES = 5  # that are made after the loading


@functools.cache
def _env(kind: str) -> Any:
    return make_env(CONFIGS[kind].env_name)


def _teaching(kind: str, folder: Path) -> Teaching:
    """A lesson in this folder; its checkpoint lies in the folder itself."""
    from rl_il.teacher.teaching import Teaching

    config, env = CONFIGS[kind], _env(kind)
    teaching = Teaching(config, folder, env, build_policy(config.run_config(), env), inline=True)
    teaching.recording.checkpoints.folder = folder
    return teaching


@functools.cache
def _lesson(kind: str) -> tuple[list[Case], list[Trajectory]]:
    """The checkpoint after each episode, and the episodes."""
    cases: list[Case] = []
    with tempfile.TemporaryDirectory() as name:
        teaching = _teaching(kind, Path(name))
        for mode in MODES:
            teaching.session.set_mode(mode)
            while len(teaching.metrics.history) == len(cases):
                teaching.session.step()
            cases.append(case_of(Path(name), kind))
        return cases, teaching.recording.load(_env(kind))


def learning_seeds() -> list[Case]:
    """Stopped before the first label, and after some."""
    return [case for kind in CONFIGS for case in _lesson(kind)[0]]


def load_learning(folder: Path) -> None:
    """`Recording.load_learning`, `Teaching.go_on_from`, and some gradient steps from there."""
    kind = kind_in(folder)
    teaching = _teaching(kind, folder)
    try:
        saved = teaching.recording.load_learning()
        if saved is None:
            return
        for trajectory in _lesson(kind)[1][: saved["itr"]]:
            teaching.labels.add(trajectory)
        teaching.go_on_from(saved)
    except InputError as error:
        assert str(error).startswith(f"{folder}/"), f"names no file: {error}"
        raise
    check_learner(teaching.learner, teaching.session.ob)
    check_metrics(teaching.metrics)
    learn(teaching.learner)


def check_learner(learner: Learner, ob: np.ndarray) -> None:
    """Raises `AssertionError` for one that could not play, learn or be saved."""
    adam = learner.policy.optimizer
    for tensors in (learner.policy.parameters(), learner.newest.weights.values(), adam.first_moments):
        assert all(tensor.isfinite().all() for tensor in tensors), "weights or moments that are not finite"
    assert all((tensor >= 0).all() for tensor in adam.second_moments), "squares below 0"
    assert 0 <= learner.state()["owed"] <= 1000, "more than may be owed"
    with np.errstate(all="ignore"):
        learner.newest.actor.get_action(ob)


def check_metrics(metrics: Metrics) -> None:
    """Raises for what metrics.csv, the page or the table at the end could not hold."""
    rows = metrics.logger.rows
    "".join(name for row in rows for name in row).encode()
    to_json(metrics.history).encode()
    for episode in metrics.history:
        assert {"loss", "snapshot_return", "ended", "source"} <= episode.keys(), "half an episode"
    if metrics.history:
        summary_table(metrics.history)


def learn(learner: Learner) -> None:
    """Some gradient steps. The weights may come to no numbers, which the learner itself says."""
    before = learner.updates
    for _ in range(UPDATES):
        learner.grant()
    made = learner.work(UPDATES)
    assert learner.updates == before + made, "gradient steps that were not counted"
    assert learner.loss is None or np.isfinite(learner.loss), "a loss that is no number"
