"""Checkpoints of runs: good ones, and what goes on from them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _fuzz_checkpoints import case_of, kind_in
from _fuzzing import Case

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.infrastructure.checkpoint import Checkpoints
from rl_il.infrastructure.logger import Logger
from rl_il.types import Trajectory

if TYPE_CHECKING:
    from rl_il.infrastructure.rl_trainer import RLTrainer

SMALL = {"do_dagger": True, "n_iter": 3, "train_batch_size": 2, "size": 3, "n_layers": 1}
CONFIGS = {
    "discrete": RunConfig(env_name="MountainCar-v0", num_agent_train_steps_per_iter=3, **SMALL),
    "continuous": RunConfig(env_name="MountainCarContinuous-v0", n_epochs=1, val_fraction=0.4, loss="nll", **SMALL),
}


@functools.cache
def _env(kind: str) -> Any:
    return make_env(CONFIGS[kind].env_name)


def _trainer(kind: str, folder: Path) -> RLTrainer:
    """A trainer of a run in this folder; its checkpoint lies in the folder itself."""
    from rl_il.infrastructure.rl_trainer import RLTrainer
    from rl_il.policies.mlp_policy import MLPPolicySL

    config, env = CONFIGS[kind], _env(kind)
    policy = MLPPolicySL.for_env(env, n_layers=config.n_layers, size=config.size, loss=config.loss)
    trainer = RLTrainer(config, env, policy, _data(kind), rule=object(), verbose=False)
    trainer.logger, trainer.checkpoints = Logger(folder), Checkpoints(folder)
    trainer.checkpoints.folder = folder
    return trainer


def _data(kind: str) -> list[Trajectory]:
    rng = np.random.default_rng(0)
    acs = rng.integers(0, 3, 5) if kind == "discrete" else rng.normal(size=(5, 1)).astype(np.float32)
    return [Trajectory(rng.normal(size=(6, 2)).astype(np.float32), acs, np.ones(5), terminated=True)]


def resume_seeds() -> list[Case]:
    """Stopped in the first iteration, between two, and in the second."""
    seeds = []
    for kind in CONFIGS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            trainer = _trainer(kind, folder)
            trainer.logger.log_episodes("expert", 0, np.array([10.0, 30.0]), np.array([5, 6]))
            for itr in range(2):
                trainer.store(itr, _data(kind))
                trainer.train(itr)
                seeds.append(_case(trainer, kind))
                trainer.logger.log_iteration(itr, {"Training Loss": 0.5, "Train_EnvstepsSoFar": 5}, False)
                trainer.logger.log_episodes("learner", itr, np.array([1.5, float("nan")]), np.array([3, 4]))
                trainer.fitting.itr, trainer.fitting.steps_done = itr + 1, 0
                seeds.append(_case(trainer, kind))
    return seeds


def _case(trainer: RLTrainer, kind: str) -> Case:
    """The files of the trainer's checkpoint, the same at whatever time."""
    trainer.clock.seconds, trainer.clock.elapsed = {"startup": 0.5}, lambda: 1.5
    trainer.write_checkpoint()
    return case_of(trainer.logger.folder, kind)


def load_resumed(folder: Path) -> None:
    """`Checkpoints.load`, `restore`, and an iteration's training from there."""
    from rl_il.infrastructure.trainer_state import restore

    kind = kind_in(folder)
    trainer = _trainer(kind, folder)
    saved = trainer.checkpoints.load(_env(kind))
    if saved is None:
        return
    restore(trainer, *saved)
    trainer.logger = trainer.checkpoints = None  # which would write
    itr = trainer.first_itr
    assert 0 <= itr < trainer.config.n_iter and len(trainer.results) == itr
    for result in trainer.results:
        assert len(result.returns) == len(result.lengths) and (result.lengths >= 0).all()
        assert all(isinstance(value, (int, float)) for value in result.scalars.values())
    if itr in trainer.recorded:
        trainer.store(itr, trainer.recorded[itr])
    trainer.train(itr)
    assert trainer.fitting.steps_done == trainer.minibatches(itr)[1], "not the steps of an iteration"
