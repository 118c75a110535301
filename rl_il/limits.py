"""Limits of the numbers in settings: how far NumPy and torch count, and how much memory there is."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

from rl_il.errors import InputError

COUNTABLE = 2**63 - 1  # NumPy and torch have integers of 64 bits
LIMITS = {
    "size": (10**6, "each row of a minibatch needs so many numbers in each layer"),
    "n_layers": (1000, "a deeper network without shortcuts does not learn"),
    "n_envs": (10_000, "each is an environment in the memory of one process"),
    "n_steps": (10**8, "all steps of an update are in memory"),
    "n_iter": (10**6, "each iteration writes a file"),
    "num_agent_train_steps_per_iter": (10**11, "so many take four months at 10,000 a second"),
    "n_epochs": (10**11, "each is at least one gradient step, and so many take four months at 10,000 a second"),
    "torch_threads": (1024, "no machine has more cores"),
    "updates_per_step": (10**6, "so many take more than a minute at each environment step"),
    "history": (1000, "each step of an evaluation reads so many observations"),
    "chunk": (10_000, "the network predicts so many actions at once"),
    "ensemble": (10_000, "each network is trained and acts in every step"),
    "modes": (10_000, "each has a mean and a standard deviation of every number of an action"),
    "flow_steps": (10_000, "each action takes so many evaluations of the network"),
}
"""The largest value of a setting, and why. It is the same on all machines, so that each can read each run folder."""
MAX_EVALUATIONS = 10**6  # within an iteration
MAX_RUNS = 10**5  # of an ablation
MAX_WINDOWS_WORKERS = 61  # the limit of Windows' WaitForMultipleObjects, less two

LARGEST_MACHINE = 2**40  # bytes: a config that needs more is refused on every machine
BYTES_PER_WEIGHT = 4 * 4  # float32: the weight, its gradient, and Adam's two moments
BYTES_PER_STEP = 50  # of a collected step: its action, reward and flags, without its observation
BYTES_PER_ROLLOUT_STEP = 6 * 4 + 1  # float32: reward, return, value, advantage, log p, episode start; the action
BYTES_PER_EPISODE = 100  # its seed, return and length
BYTES_PER_WORKER = 100 * 10**6  # an environment with NumPy and a simulator
STEPS_AT_ONCE = 1000  # minibatches whose row numbers are drawn at once
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_counts(config: Any) -> None:
    """Raise `InputError` if a number in a dataclass of settings is above its limit, or an integer has 64 bits."""
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        limit, why = LIMITS.get(item.name, (COUNTABLE, "NumPy and torch cannot count further"))
        if isinstance(value, int if limit == COUNTABLE else (int, float)) and value > limit:
            raise InputError(f"--{item.name} must be at most {limit:,} ({why}), got {short(value)}")


def check_memory(config: Any, numbers: int = 1, memory: int = LARGEST_MACHINE, features: int = 1) -> None:
    """Raise `InputError` if a run with this `RunConfig` needs more bytes than `memory`.

    `numbers` is the size of one observation, and `features` that of what the first hidden layer gets. Only what every
    run needs is counted, so none is refused wrongly.
    """
    weights = (features + 1) * config.size + (config.n_layers - 1) * config.size**2 if config.n_layers else 0
    weights *= config.ensemble
    row = 8 * min(STEPS_AT_ONCE, config.num_agent_train_steps_per_iter)  # the numbers of the drawn rows
    row += 4 * (numbers + config.size * config.n_layers)  # observation, hidden layers
    rows = config.train_batch_size if config.n_epochs is None else 0  # a pass has at most the rows of the data
    steps = config.batch_size if config.do_dagger and config.batch_episodes is None else 0
    for names, needed in (
        (("size", "n_layers", *(("ensemble",) if config.ensemble > 1 else ())), weights * BYTES_PER_WEIGHT),
        (("train_batch_size",), rows * row),
        (("batch_size",), steps * (BYTES_PER_STEP + numbers)),
        (("batch_episodes",), (config.batch_episodes or 0) * BYTES_PER_EPISODE),
        (("eval_episodes",), (config.eval_episodes or 0) * BYTES_PER_EPISODE),
        (("eval_seeds",), len(config.fixed_seeds or ()) * BYTES_PER_EPISODE),
        (("num_workers",), config.num_workers * BYTES_PER_WORKER if config.num_workers > 1 else 0),
    ):
        check_bytes(" ".join(f"--{name} {getattr(config, name)}" for name in names), needed, memory)


def check_rollout_memory(config: Any, numbers: int = 1, memory: int = LARGEST_MACHINE) -> None:
    """Raise `InputError` if the steps of an update of this `FinetuneConfig` need more bytes than `memory`.

    `numbers` is the size of one observation. As in `check_memory`, only what every run needs is counted.
    """
    steps = config.n_envs * config.n_steps
    needed = steps * (BYTES_PER_ROLLOUT_STEP + numbers)
    check_bytes(f"--n_envs {config.n_envs} --n_steps {config.n_steps}", needed, memory)


def check_bytes(what: str, needed: int, memory: int) -> None:
    """Raise `InputError` if the bytes that something needs are more than `memory`."""
    if needed > memory:
        most = "no run may need more than" if memory == LARGEST_MACHINE else "this machine has"
        raise InputError(f"{what}: needs at least {_gigabytes(needed)} of memory, but {most} {_gigabytes(memory)}")


def check_workers(n: int) -> None:
    """Raise `InputError` if this machine cannot have so many worker processes."""
    check_bytes(f"--num_workers {n}", n * BYTES_PER_WORKER, memory_here())
    if sys.platform == "win32" and n > MAX_WINDOWS_WORKERS:
        raise InputError(f"--num_workers must be at most {MAX_WINDOWS_WORKERS} on Windows, got {n}")


def memory_here() -> int:
    """Return the bytes of memory of this machine, or of its container if that may use less.

    Windows does not tell it without another package. There, return `LARGEST_MACHINE`.
    """
    found = [LARGEST_MACHINE]
    if hasattr(os, "sysconf") and {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= os.sysconf_names.keys():
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    texts = [Path(file).read_text(encoding="utf-8") for file in CGROUPS if os.access(file, os.R_OK)]
    return min(found + [int(text) for text in texts if text.strip().isdecimal()])


def short(value: float) -> str:
    """Return a number as text, with few digits."""
    return (
        str(value) if isinstance(value, float) or abs(value) < 10**25 else f"an integer of {value.bit_length()} bits"
    )


def _gigabytes(n: int) -> str:
    return f"{n / 1e9:,.{0 if n > 1e10 else 1}f} GB"
