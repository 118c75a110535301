"""A run's description and result: config.json, summary.json, and what is printed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_row
from rl_il.infrastructure.evaluation import Evaluation
from rl_il.infrastructure.progress import seconds
from rl_il.infrastructure.rl_trainer import Block, RLTrainer
from rl_il.runs.evaluate import INTERVAL, interval_text
from rl_il.runs.inputs import Input
from rl_il.runs.provenance import provenance
from rl_il.runs.run_folder import RunFolder
from rl_il.statistics import episode_spread, percent_of_expert


def summarise(folder: RunFolder, trainer: RLTrainer, seconds: dict[str, float], status: str) -> dict[str, Any]:
    """Return what summary.json holds. Numbers that do not exist are NaN, which is written as null.

    Standard deviations have the divisor n - 1, unlike the course's scalars in metrics.csv.
    """
    evaluated = [evaluation for evaluation in folder.evaluations if len(evaluation.returns)]
    last = evaluated[-1] if evaluated else Evaluation(0, returns=np.full(1, np.nan))
    expert = folder.expert[0] if len(folder.expert[0]) else np.full(1, np.nan)
    mean, expert_mean = float(last.returns.mean()), float(expert.mean())
    return {
        **trainer.config.env_settings,
        "eval_return_mean": mean,
        "eval_return_std": episode_spread([last.returns]),
        "eval_return_ci95_low": last.interval[0],
        "eval_return_ci95_high": last.interval[1],
        "eval_episodes": len(last.returns) if evaluated else 0,
        "expert_return_mean": expert_mean,
        "expert_return_std": episode_spread([expert]),
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
    """Return an evaluation in one line, with an estimate of the time left from the `elapsed` seconds."""
    itr, last = evaluation.itr, n_iter - 1
    line = f"itr {itr:>{len(str(last))}}/{last} | "
    line += "" if block.ends_iteration else f"step {block.steps:,} | "
    line += f"loss {evaluation.scalars['Training Loss']:.4f}"
    if n := len(evaluation.returns):
        low, high = evaluation.interval
        interval = "" if math.isnan(low) else f" (this policy's 95 % interval: {low:.1f} to {high:.1f})"
        line += f" | eval return {evaluation.returns.mean():.1f}{interval} over {n} episode{'s' if n > 1 else ''}"
    line += f" | expert labels {block.expert_labels:,} | {seconds(elapsed)}"
    left = elapsed / (itr + 1) * (last - itr)
    return line + (f", about {seconds(left)} left" if itr < last and block.ends_iteration else "")


def print_summary(summary: dict[str, Any]) -> None:
    """Print the result as a table, without the rows that have no value in this run."""
    rows = _return_rows(summary, "return", "eval")
    rows[INTERVAL] = interval_text(summary["eval_return_ci95_low"], summary["eval_return_ci95_high"])
    if not math.isnan(summary["expert_return_mean"]):
        rows |= _return_rows(summary, "expert, same episodes", "expert")
    if not math.isnan(summary["percent_of_expert"]):
        rows["% of expert"] = f"{summary['percent_of_expert']:.1f}"
    rows["expert labels used"] = f"{summary['expert_labels']:,}"
    rows["time"] = seconds(summary["wall_seconds"]["total"])
    width = max(map(len, rows))
    print(*(f"{name:<{width}}  {value}" for name, value in rows.items()), sep="\n", flush=True)


def _return_rows(summary: dict[str, Any], name: str, key: str) -> dict[str, str]:
    """Return the row of a mean return, with a standard deviation if there are several episodes."""
    mean, std, n = summary[f"{key}_return_mean"], summary[f"{key}_return_std"], summary[f"{key}_episodes"]
    if math.isnan(std):
        return {name: f"{mean:.1f} (1 episode)"}
    return {f"{name}, mean +- std": f"{mean:.1f} +- {std:.1f} ({n:,} episodes)"}


def describe_run(
    config: RunConfig, trainer: RLTrainer, n_eval_episodes: int, command_line: Sequence[str], inputs: Sequence[Input]
) -> dict[str, Any]:
    """Return the content of config.json, which is enough to repeat the run."""
    policy = trainer.policy
    return {
        "config": dataclasses.asdict(config),
        "defaults": {  # the values of flags that were not given
            "expert_policy_file": config.expert_policy_file or env_row(config.env_name).expert,
            "expert_data": config.expert_data or env_row(config.env_name).demos,
            "loss": policy.loss_name,
            "eval_episodes": n_eval_episodes,
            "device": str(policy.device),
            "compile": "on" if trainer.fit.compiles else "off",
        },
        "inputs": [dataclasses.asdict(item) for item in inputs],
        **provenance(command_line),
    }
