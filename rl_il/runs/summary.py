"""A run's description and result: config.json, summary.json, and what is printed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_spec
from rl_il.infrastructure.evaluation import Evaluation
from rl_il.infrastructure.progress import seconds
from rl_il.infrastructure.rl_trainer import Block, RLTrainer
from rl_il.policies.base_policy import BasePolicy
from rl_il.runs.checkpoint import checksum
from rl_il.runs.provenance import provenance
from rl_il.runs.run_folder import RunFolder
from rl_il.statistics import percent_of_expert


def summarise(folder: RunFolder, trainer: RLTrainer, seconds: dict[str, float], status: str) -> dict[str, Any]:
    """Return what summary.json holds; numbers that do not exist are null."""
    evaluated = [evaluation for evaluation in folder.evaluations if len(evaluation.returns)]
    last = evaluated[-1] if evaluated else Evaluation(0, returns=np.full(1, np.nan))
    expert = folder.expert[0] if len(folder.expert[0]) else np.full(1, np.nan)
    mean, expert_mean = float(last.returns.mean()), float(expert.mean())
    return {
        "env_name": trainer.config.env_name,
        "eval_return_mean": mean,
        "eval_return_std": float(last.returns.std()),
        "eval_return_ci95_low": last.interval[0],
        "eval_return_ci95_high": last.interval[1],
        "eval_episodes": len(last.returns) if evaluated else 0,
        "best_eval_return_mean": max((float(e.returns.mean()) for e in evaluated), default=math.nan),
        "expert_return_mean": expert_mean,
        "expert_return_std": float(expert.std()),
        "expert_episodes": len(folder.expert[0]),
        "percent_of_expert": percent_of_expert(mean, expert_mean),
        "expert_labels": trainer.expert_labels,
        "env_steps": trainer.env_steps,
        "iterations": trainer.itr,
        "gradient_steps": trainer.gradient_steps,
        "compiled": trainer.fit.compiles,
        "wall_seconds": seconds,
        "status": status,
    }


def line_of(evaluation: Evaluation, block: Block, n_iter: int, elapsed: float) -> str:
    """Return an evaluation in one line, with the time left if the rest is as fast as these `elapsed` seconds."""
    itr, last = evaluation.itr, n_iter - 1
    line = f"itr {itr:>{len(str(last))}}/{last} | "
    line += "" if block.ends_iteration else f"step {block.steps:,} | "
    line += f"loss {evaluation.scalars['Training Loss']:.4f}"
    if n := len(evaluation.returns):
        low, high = evaluation.interval
        interval = f" [{low:.1f}, {high:.1f}]" if n > 1 else ""
        line += f" | eval return {evaluation.returns.mean():.1f}{interval} over {n} episode{'s' if n > 1 else ''}"
    line += f" | expert labels {block.expert_labels:,} | {seconds(elapsed)}"
    left = elapsed / (itr + 1) * (last - itr)
    return line + (f", about {seconds(left)} left" if itr < last and block.ends_iteration else "")


def print_summary(summary: dict[str, Any]) -> None:
    """Print the result as a table."""
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


def describe_run(
    config: RunConfig, policy: BasePolicy, n_eval_episodes: int, command_line: Sequence[str]
) -> dict[str, Any]:
    """Return what config.json holds: enough to run the same again."""
    demonstrations = Path(config.expert_data or env_spec(config.env_name).demos_path).resolve()
    return {
        "config": dataclasses.asdict(config),
        "defaults": {  # what the flags that were left out meant
            "expert_policy_file": config.expert_policy_file or env_spec(config.env_name).expert,
            "expert_data": config.expert_data or env_spec(config.env_name).demos,
            "loss": policy.loss_name,
            "eval_episodes": n_eval_episodes,
            "device": str(policy.device),
        },
        "data": {"demonstrations": {"file": str(demonstrations), "sha256": checksum(demonstrations)}},
        **provenance(command_line),
    }
