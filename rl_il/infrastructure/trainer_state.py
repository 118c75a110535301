"""What a trainer needs to remember to go on after a stop: taken, read back, and put back.

Whoever can change a checkpoint can also change its checksums, so every value is checked before any takes its place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.datasets.quoting import one_line
from rl_il.datasets.restricted import MOST_SHARING
from rl_il.errors import InputError
from rl_il.infrastructure.torch_file import read_torch
from rl_il.types import Trajectory

if TYPE_CHECKING:
    from torch import Tensor

    from rl_il.infrastructure.rl_trainer import RLTrainer
    from rl_il.policies.mlp_policy import MLPPolicySL

MOST = 10**15  # of whatever is counted; larger integers are no longer exact as floats
PARTS = "itr steps_done env_steps policy optimizer losses initial_return log seconds wall_seconds".split()


def state_of(trainer: RLTrainer) -> dict[str, Any]:
    """What it takes, beside the data, to go on after `steps_done` gradient steps of iteration `itr`."""
    log = {"rows": trainer.logger.rows, "episodes": trainer.logger.episode_rows}
    return {
        "itr": trainer.fitting.itr,
        "steps_done": trainer.fitting.steps_done,
        "policy": trainer.policy.state_dict(),
        "optimizer": trainer.policy.optimizer.state_dict(),
        "losses": list(trainer.fitting.losses),
        "env_steps": trainer.env_steps,
        "initial_return": float(trainer.initial_return),
        "log": as_text(log),
        "seconds": trainer.clock.elapsed(),
        "wall_seconds": trainer.clock.seconds,
    }


def read_state(path: Path) -> dict[str, Any]:
    """The state in the file, with arrays for tensors. Raises `InputError` unless each part is what it should be."""
    with naming(path):
        state = read_torch(path)
        expect(isinstance(state, dict) and set(PARTS) <= state.keys(), f"it must hold {', '.join(PARTS)}")
        for name in ("itr", "steps_done", "env_steps"):
            expect(is_count(state[name]), f"{name} must be an integer from 0 to {MOST}")
        wall_seconds, losses = state["wall_seconds"], state["losses"]
        expect(isinstance(wall_seconds, dict), "wall_seconds must be a dict")
        for seconds in (state["seconds"], *wall_seconds.values()):
            expect(type(seconds) is float and 0 <= seconds <= MOST, "seconds must be numbers from 0")
        expect(all(isinstance(name, str) for name in wall_seconds), "wall_seconds must have names")
        expect(isinstance(losses, list) and all(map(is_finite, losses)), "losses must be a list of finite numbers")
        expect(type(state["initial_return"]) is float, "initial_return must be a number")
        return state | {"log": _read_log(state["log"], path.stat().st_size)}


def restore(trainer: RLTrainer, state: dict[str, Any], data: Sequence[list[Trajectory]]) -> None:
    """Puts everything as it was when the state was taken; `data` is what each iteration collected.

    Raises `InputError`, before anything is changed, where they are not this trainer's.
    """
    with naming(trainer.checkpoints.state_file):
        _check_progress(trainer, state, data)
        weights = weights_for(trainer.policy, state["policy"])
        load_optimizer(trainer.policy, state["optimizer"])
    trainer.policy.load_state_dict(weights)
    trainer.resumed = True
    trainer.first_itr = trainer.fitting.itr = state["itr"]
    trainer.fitting.steps_done = trainer.steps_to_skip = state["steps_done"]
    trainer.fitting.losses.extend(state["losses"])
    trainer.demonstrations = () if trainer.first_itr else data[0]
    for itr in range(trainer.first_itr):
        trainer.add_to_buffer(itr, data[itr])
    trainer.recorded = dict(enumerate(data[trainer.first_itr :], trainer.first_itr))
    trainer.env_steps, trainer.initial_return = state["env_steps"], state["initial_return"]
    trainer.clock.seconds |= state["wall_seconds"]
    trainer.clock.begin(state["seconds"])
    trainer.logger.go_on_from(trainer.first_itr, **state["log"])
    trainer.results.extend(trainer.logger.results())


def _check_progress(trainer: RLTrainer, state: dict[str, Any], data: Sequence[list[Trajectory]]) -> None:
    itr, steps, config = state["itr"], state["steps_done"], trainer.config
    expect(itr < config.n_iter, f"iteration {itr} of {config.n_iter}")
    least = itr + 1 if steps or itr == 0 else itr
    expect(least <= len(data) <= itr + 1, f"iteration {itr} with the data of {len(data)} iterations")
    expect(len(state["log"]["rows"]) >= itr, f"iteration {itr} with {len(state['log']['rows'])} rows of metrics")
    most = config.num_agent_train_steps_per_iter
    if config.n_epochs is not None:  # held-out steps make it less, which the training finds
        rows = sum(int(t.labelled_steps.sum()) for trajectories in data for t in trajectories)
        most = config.n_epochs * math.ceil(min(rows, config.max_replay_buffer_size) / config.train_batch_size)
    expect(steps <= most, f"gradient step {steps} of {most}")
    losses, window = len(state["losses"]), trainer.fitting.losses.maxlen
    expect(losses == min(steps, window) if steps else losses <= window, f"{losses} losses after {steps} steps")


def weights_for(policy: MLPPolicySL, saved: Any) -> dict[str, Tensor]:
    """The saved weights as tensors. Raises `InputError` if they are not this policy's, or no numbers."""
    from rl_il.infrastructure.pytorch_utils import can_replace

    own, tensors = policy.state_dict(), to_tensors(saved)
    expect(isinstance(tensors, dict) and tensors.keys() == own.keys(), f"weights must be {', '.join(own)}")
    for name, tensor in own.items():
        expect(can_replace(tensors[name], tensor), f"{name} must be {tuple(tensor.shape)} of {tensor.dtype}")
        expect(bool(tensors[name].isfinite().all()), f"{name} holds NaN or infinity")
    return tensors


def load_optimizer(policy: MLPPolicySL, saved: Any) -> None:
    """Puts its optimiser's state back. Raises `InputError`, before anything is changed, if it is not that one's."""
    try:
        policy.optimizer.load_state_dict(to_tensors(saved))
    except Exception as error:  # each optimiser raises its own
        raise InputError(f"the optimiser's state does not fit: {one_line(error)}") from error


def _read_log(text: Any, file_size: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of metrics.csv and episodes.csv."""
    log = from_text(text, file_size)
    lists = isinstance(log, dict) and log.keys() == {"rows", "episodes"} and set(map(type, log.values())) == {list}
    expect(lists, "the log must be lists of rows and episodes")
    check_rows(log["rows"], file_size)
    for i, row in enumerate(log["rows"]):
        expect(type(row.get("iteration")) is int and row["iteration"] == i, "rows must be in order")
    expect(all(map(_is_episode, log["episodes"])), "an episode must have policy, iteration, return and length")
    return log


def check_rows(rows: list[Any], file_size: int) -> None:
    """Raises `InputError` unless metrics.csv can hold them: they come from a file of so many bytes."""
    for row in rows:
        expect(isinstance(row, dict) and all(map(_is_number, row.values())), "a row must hold numbers")
        expect(all(map(str.isprintable, row)), "a row's numbers must have names that can be printed")
    names = {name for row in rows for name in row}
    # Rows that share no name would make a table of their number squared.
    expect(len(rows) * len(names) <= MOST_SHARING * file_size, "the rows share too few names to be one table")


def as_text(log: Any) -> Tensor:
    """What grows with a run, as the bytes of its JSON: what stands around a file's tensors may not grow."""
    import torch

    return torch.frombuffer(bytearray(json.dumps(log).encode()), dtype=torch.uint8)


def from_text(text: Any, file_size: int) -> Any:
    """What `as_text` was given. Raises `InputError` for anything else in a file of so many bytes."""
    expect(isinstance(text, np.ndarray) and text.dtype == np.uint8, "the log must be text")
    expect(text.nbytes <= file_size, "the log is packed, which torch does not do")
    try:
        return json.loads(text.tobytes())
    except (ValueError, RecursionError) as error:
        raise InputError("the log must be JSON") from error


def _is_episode(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and row.keys() == {"policy", "iteration", "return", "length"}
        and row["policy"] in ("expert", "learner")
        and type(row["return"]) is float
        and is_count(row["iteration"])
        and is_count(row["length"])
    )


def is_count(value: Any) -> bool:
    """Whether it may count something."""
    return type(value) is int and 0 <= value <= MOST


def is_finite(value: Any) -> bool:
    """Whether it is a float that is finite."""
    return type(value) is float and math.isfinite(value)


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= MOST)


def to_tensors(tree: Any) -> Any:
    """The tree with tensors for arrays."""
    import torch

    if isinstance(tree, dict):
        return {key: to_tensors(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(to_tensors, tree))
    return torch.from_numpy(tree) if isinstance(tree, np.ndarray) else tree


def expect(condition: bool, what: str) -> None:
    """Raises `InputError` unless it is so."""
    if not condition:
        raise InputError(what)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: is no checkpoint of this run ({one_line(error)}); it cannot go on") from error
