"""What a run folder says of its run: its name, config.json, summary.json, and the result as it is printed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_spec
from rl_il.files import REPOSITORY
from rl_il.infrastructure.logger import new_folder
from rl_il.infrastructure.progress import seconds
from rl_il.statistics import bootstrap_interval, percent_of_expert

if TYPE_CHECKING:  # it imports torch, which a mistake in the arguments should not wait for
    from rl_il.infrastructure.rl_trainer import RLTrainer


def summarise(trainer: RLTrainer, expert_returns: np.ndarray) -> dict[str, Any]:
    """What summary.json holds; numbers that do not exist are null."""
    evaluated = [result for result in trainer.results if len(result.returns)]
    returns = evaluated[-1].returns if evaluated else np.full(1, np.nan)
    expert_mean = float(expert_returns.mean()) if len(expert_returns) else math.nan
    low, high = bootstrap_interval([returns])
    return {
        "env_name": trainer.config.env_name,
        "eval_return_mean": float(returns.mean()),
        "eval_return_std": float(returns.std()),
        "eval_return_ci95_low": low,
        "eval_return_ci95_high": high,
        "eval_episodes": len(returns) if evaluated else 0,
        "best_eval_return_mean": max((float(r.returns.mean()) for r in evaluated), default=math.nan),
        "expert_return_mean": expert_mean,
        "expert_return_std": float(expert_returns.std()) if len(expert_returns) else math.nan,
        "expert_episodes": len(expert_returns),
        "percent_of_expert": percent_of_expert(float(returns.mean()), expert_mean),
        "expert_labels": trainer.expert_labels,
        "env_steps": trainer.env_steps,
        "iterations": len(trainer.results),
        "compiled": trainer.fitting.compiles,
        "wall_seconds": trainer.clock.seconds,
    }


def print_summary(summary: dict[str, Any]) -> None:
    """The result as a table."""
    low, high = summary["eval_return_ci95_low"], summary["eval_return_ci95_high"]
    several = summary["eval_episodes"] > 1
    rows = [
        ("return, mean +- std over episodes", _mean_std(summary, "eval_return")),
        ("95 % interval of the mean", f"{low:.1f} to {high:.1f}" if several else "needs 2 episodes or more"),
        ("evaluation episodes", f"{summary['eval_episodes']}"),
        ("expert, measured now", _mean_std(summary, "expert_return")),
        ("% of the expert", _percent(summary)),
        ("expert labels used", f"{summary['expert_labels']:,}"),
        ("time", seconds(summary["wall_seconds"]["total"])),
    ]
    width = max(len(name) for name, _ in rows)
    print(*(f"{name:<{width}}  {value}" for name, value in rows), sep="\n", flush=True)


def _mean_std(summary: dict[str, Any], name: str) -> str:
    mean, std = summary[f"{name}_mean"], summary[f"{name}_std"]
    return "none" if math.isnan(mean) else f"{mean:.1f} +- {std:.1f}"


def _percent(summary: dict[str, Any]) -> str:
    if math.isnan(summary["expert_return_mean"]):
        return "none"
    percent = summary["percent_of_expert"]
    return "no ratio (the expert's return is not positive)" if math.isnan(percent) else f"{percent:.1f}"


def make_run_folder(config: RunConfig) -> Path:
    """`--logdir` itself, or a new `data/q1_...` (cloning) or `data/q2_...` (DAgger) with name and time."""
    if config.logdir:
        return new_folder(Path(config.logdir), numbered=False)
    prefix, name = ("q2", "dagger") if config.do_dagger else ("q1", "bc")
    moment = time.strftime("%d-%m-%Y_%H-%M-%S")
    name = f"{prefix}_{config.exp_name or name}_{config.env_name}_{moment}".replace("/", "-")
    return new_folder(REPOSITORY / "data" / name, numbered=True)


def make_teach_folder(env_name: str, logdir: str | None) -> Path:
    """`logdir` itself, or a new `data/teach_...` with the environment's name and the time."""
    if logdir:
        return new_folder(Path(logdir), numbered=False)
    name = f"teach_{env_name}_{time.strftime('%d-%m-%Y_%H-%M-%S')}".replace("/", "-").replace(":", "-")
    return new_folder(REPOSITORY / "data" / name, numbered=True)


def describe_run(config: RunConfig, trainer: RLTrainer, command_line: Sequence[str]) -> dict[str, Any]:
    """What config.json holds: enough to run the same again."""
    return {
        "config": dataclasses.asdict(config),
        "defaults": {  # what the flags that were left out came to
            "expert_policy_file": config.expert_policy_file or env_spec(config.env_name).expert,
            "expert_data": config.expert_data or env_spec(config.env_name).demos,
            "loss": trainer.policy.loss_name,
            "eval_episodes": trainer.n_eval_episodes,
            "device": str(trainer.policy.device),
        },
        **provenance(command_line),
    }


def provenance(command_line: Sequence[str]) -> dict[str, Any]:
    """What made a run: the command, the checkout, the versions."""
    packages = ("torch", "numpy", "gymnasium", "mujoco", "box2d")
    return {
        "command_line": list(command_line),
        "git_commit": _git_commit(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "platform": platform.platform(),
    }


def _git_commit() -> str | None:
    """The checkout's commit, with `-dirty` behind it if files differ; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def command_line() -> list[str]:
    """The command that started this process."""
    return ["python", *sys.argv]
