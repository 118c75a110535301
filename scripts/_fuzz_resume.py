"""Checkpoints to go on from: good ones, hostile ones with the right checksums, and what reads them."""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _fuzz_text import NUMBERS, VALUES, Rng, mutate_json, places
from _fuzzing import Case

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.infrastructure.checkpoint import INDEX, Checkpoints
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
    folder, trainer.clock.seconds, trainer.clock.elapsed = trainer.logger.folder, {"startup": 0.5}, lambda: 1.5
    trainer.write_checkpoint()
    files = [folder / INDEX, *folder.glob("state_*.pt"), *folder.glob("data_*.npz")]
    case = {path.name: path.read_bytes() for path in files}
    return case | {INDEX: json.dumps(json.loads(case[INDEX]) | {"kind": kind}).encode()}


def load_resumed(folder: Path) -> None:
    """`Checkpoints.load`, `restore`, and an iteration's training from there."""
    from rl_il.infrastructure.trainer_state import restore

    index = folder / INDEX
    kind = "continuous" if index.exists() and b'"continuous"' in index.read_bytes() else "discrete"
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


# Mutations -------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _read_state(data: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(data), weights_only=True)


@functools.cache
def _tensors() -> list[Any]:
    """Tensors that no part of a state may be."""
    import torch

    ones = torch.ones(3, 2)
    dtypes = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
    tensors = [ones.to(dtype) for dtype in dtypes] + [ones.T, ones[:0], ones.sum(), -ones.sum()]
    tensors += [torch.full((3, 2), value) for value in (float("nan"), float("inf"), -1.0, 1e38)]
    return [
        *tensors,
        torch.ones(1).expand(100_000, 100_000),
        torch.zeros([1] * 40),
        torch.zeros(100_000, dtype=torch.uint8),
    ]


def mutate_state(rng: Rng, case: Case) -> Case:
    """Parts of the state replaced, renamed, taken out or exchanged, and saved as the project saves it."""
    import torch

    name = next(name for name in sorted(case) if name.startswith("state_"))
    state = copy.deepcopy(_read_state(case[name]))
    if rng.random() < 0.2:
        log = mutate_json(rng, bytes(state["log"].tolist()), b"{}")
        state["log"] = torch.frombuffer(bytearray(log or b" "), dtype=torch.uint8)
    else:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _change(rng, state)
    content = io.BytesIO()
    torch.save(state, content)
    return case | {name: content.getvalue()}


def _change(rng: Rng, state: dict[str, Any]) -> None:
    """One part, anywhere."""
    found = list(places(state))
    owner, key = rng.choice(found)
    if rng.random() < 0.1:
        del owner[key]
    elif isinstance(owner, dict) and rng.random() < 0.05:
        owner[rng.choice((f"{key}x", "", 0, None, "itr"))] = owner.pop(key)
    else:
        other, other_key = rng.choice(found)
        choices = (rng.choice(VALUES), rng.choice(NUMBERS), rng.choice(_tensors()), other[other_key])
        owner[key] = copy.deepcopy(rng.choice(choices))


def seal(case: Case) -> Case:
    """The case with the checksums that its files have now."""
    try:
        index = json.loads(case[INDEX])
        sums = {name: hashlib.sha256(case[name]).hexdigest() for name in index["files"] if name in case}
        return case | {INDEX: json.dumps(index | {"files": index["files"] | sums}).encode()}
    except (LookupError, ValueError, TypeError, RecursionError):
        return case
