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
from rl_il.infrastructure.rollouts import NO_STATISTICS, EpisodeStatistics
from rl_il.runs.evaluate import INTERVAL, interval_text
from rl_il.runs.inputs import Input
from rl_il.runs.provenance import provenance
from rl_il.runs.run_folder import RunFolder
from rl_il.statistics import bootstrap_interval, episode_spread, percent_of_expert
from rl_il.types import RETURN, Measure


def summarise(folder: RunFolder, trainer: RLTrainer, seconds: dict[str, float], status: str) -> dict[str, Any]:
    """Return what summary.json holds. Numbers that do not exist are NaN, which is written as null.

    Standard deviations have the divisor n - 1, unlike the course's scalars in metrics.csv. The scores are the returns
    unless the environment's row in `ENVS` says otherwise. `percent_of_expert` is of the scores.
    """
    evaluated = [evaluation for evaluation in folder.evaluations if len(evaluation.returns)]
    last = evaluated[-1] if evaluated else NO_STATISTICS
    learner, expert = _numbers("eval", last), _numbers("expert", folder.expert)
    return {
        **trainer.config.env_settings,
        **learner,
        **expert,
        "percent_of_expert": percent_of_expert(learner["eval_score_mean"], expert["expert_score_mean"]),
        **trainer.counts._asdict(),
        "iterations": trainer.itr,
        "gradient_steps": trainer.gradient_steps,
        "compiled": trainer.fit.compiles,
        "wall_seconds": seconds,
        "status": status,
    }


def _numbers(key: str, of: Evaluation | EpisodeStatistics) -> dict[str, float]:
    """Return the mean, standard deviation and 95 % interval of the returns and of the scores."""
    numbers: dict[str, float] = {f"{key}_episodes": len(of.returns)}
    for name, values in (("return", of.returns), ("score", of.scores)):
        values = values if len(values) else np.full(1, np.nan)
        low, high = bootstrap_interval([values])
        numbers |= {f"{key}_{name}_mean": float(values.mean()), f"{key}_{name}_std": episode_spread([values])}
        numbers |= {f"{key}_{name}_ci95_low": low, f"{key}_{name}_ci95_high": high}
    return numbers


def line_of(evaluation: Evaluation, block: Block, n_iter: int, elapsed: float, measure: Measure = RETURN) -> str:
    """Return an evaluation in one line, with an estimate of the time left from the `elapsed` seconds."""
    itr, last, digits = evaluation.itr, n_iter - 1, measure.digits
    line = f"itr {itr:>{len(str(last))}}/{last} | "
    line += "" if block.ends_iteration else f"step {block.steps:,} | "
    line += (
        f"loss {evaluation.scalars['Training Loss']:.4f}" if "Training Loss" in evaluation.scalars else "the clone"
    )
    if n := len(evaluation.returns):
        low, high = evaluation.interval
        interval = "" if math.isnan(low) else f" (this policy's 95 % interval: {interval_text(low, high, digits)})"
        line += f" | eval {measure.name} {evaluation.scores.mean():{digits}}{interval}"
        line += f" over {n} episode{'s' if n > 1 else ''}"
    alone = block.counts.env_steps and not block.counts.consulted  # reinforcement learning asks no expert
    used = (
        f"environment steps {block.counts.env_steps:,}" if alone else f"expert labels {block.counts.expert_labels:,}"
    )
    line += f" | {used} | {seconds(elapsed)}"
    left = elapsed / (itr + 1) * (last - itr)
    return line + (f", about {seconds(left)} left" if block.ends_iteration and not block.ends_run else "")


def print_summary(summary: dict[str, Any]) -> None:
    """Print the result as a table, without the rows that have no value in this run."""
    measure = env_row(summary["env_name"]).measure
    name, digits = measure.name, measure.digits
    rows = _mean_rows(summary, name, "eval", measure)
    rows[INTERVAL] = interval_text(summary[f"eval_{name}_ci95_low"], summary[f"eval_{name}_ci95_high"], digits)
    if not math.isnan(summary["expert_return_mean"]):
        rows |= _mean_rows(summary, "expert, same episodes", "expert", measure)
    if not math.isnan(summary["percent_of_expert"]):
        rows["% of expert"] = f"{summary['percent_of_expert']:.1f}"
    rows["expert labels used"] = f"{summary['expert_labels']:,}"
    rows["time"] = seconds(summary["wall_seconds"]["total"])
    width = max(map(len, rows))
    print(*(f"{name:<{width}}  {value}" for name, value in rows.items()), sep="\n", flush=True)


def _mean_rows(summary: dict[str, Any], name: str, key: str, measure: Measure) -> dict[str, str]:
    """Return the row of a mean return or score, with a standard deviation if there are several episodes."""
    mean, std = (f"{summary[f'{key}_{measure.name}_{of}']:{measure.digits}}" for of in ("mean", "std"))
    n = summary[f"{key}_episodes"]
    return {name: f"{mean} (1 episode)"} if n == 1 else {f"{name}, mean +- std": f"{mean} +- {std} ({n:,} episodes)"}


def describe_run(
    config: RunConfig, trainer: RLTrainer, n_eval_episodes: int, command_line: Sequence[str], inputs: Sequence[Input]
) -> dict[str, Any]:
    """Return the content of config.json, which is enough to repeat the run."""
    policy = trainer.policy
    return {
        "config": dataclasses.asdict(config),
        "defaults": {  # the values of flags that were not given
            "expert_policy_file": config.expert_policy_file or env_row(config.env_name).expert,
            "expert_data": config.expert_data or (env_row(config.env_name).demos if trainer.demonstrations else None),
            "loss": policy.loss_name,
            "eval_episodes": n_eval_episodes,
            "device": str(policy.device),
            "compile": "on" if trainer.fit.compiles else "off",
        },
        "inputs": [dataclasses.asdict(item) for item in inputs],
        **provenance(command_line),
    }
