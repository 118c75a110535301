"""The figure of one hyper-parameter: runs of cloning that differ in a single setting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.report.figures import Curve
from rl_il.report.page import Block, Commands, Table, Text
from rl_il.report.pictures import curves_picture, results_picture
from rl_il.report.runs import NOT_COMPARED, Variant
from rl_il.report.scores import file_name, last_result
from rl_il.report.tables import Result, results_table
from rl_il.report.tasks import Task, shown_value

RUN = "python scripts/run_hw1.py --eval_batch_size 5000 --video_log_freq -1"


def sweep_blocks(tasks: Sequence[Task]) -> list[Block]:
    """The figure and table of the setting that was varied alone, through the most values."""
    found = max((sweep_of(task) for task in tasks), key=lambda sweep: len(sweep[1]), default=("", []))
    name, variants = found
    if len(variants) < 2:
        run = f"{RUN} --env_name LunarLander-v3 --eval_episodes 20"
        lines = [f"{run} --num_agent_train_steps_per_iter {steps}" for steps in (250, 500, 1000, 2000)]
        return [Text("No runs of cloning differ in exactly one setting. These, for example, do:"), Commands(lines)]
    task = next(task for task in tasks if task.env_name == variants[0].config.env_name)
    results = [last_result(variant, f"{shown_value(variant, name)}") for variant in variants]
    experts = [task.expert(variant) for variant in variants]
    levels = [*task.experts.values(), *([task.random] if task.random else [])]
    episodes = _range_of([len(result.episodes) for result in results], "episode")
    seeds = _range_of([len(result.returns) for result in results], "seed")
    caption = (
        f"Return of behavioural cloning in {task.env_name} against {name}: the mean with its 95 % interval over"
        f" {episodes} of {seeds}."
    )
    values = [getattr(variant.config, name) for variant in variants]
    draw = _sweep_picture if all(_is_number(value) for value in values) else _category_picture
    table = results_table(results, experts[0] if len(task.experts) < 2 else experts, name)
    help = next(item.metadata["help"] for item in fields(RunConfig) if item.name == name)
    return [
        Text(f"`{name}`: {help}. All other settings are the same."),
        draw(task, name, caption, results, values, levels),
        Table(f"{task.env_name}, behavioural cloning", table),
    ]


def sweep_of(task: Task) -> tuple[str, list[Variant]]:
    """The setting through whose values the most variants of cloning differ in nothing else, and these in order."""
    best: tuple[str, list[Variant]] = ("", [])
    for name in (item.name for item in fields(RunConfig) if item.name not in NOT_COMPARED):
        groups: dict[str, list[Variant]] = {}
        for _, variant in task.bc:
            rest = {k: v for k, v in asdict(variant.config).items() if k not in (name, *NOT_COMPARED)}
            groups.setdefault(json.dumps(rest), []).append(variant)
        best = max([best, *((name, group) for group in groups.values())], key=lambda found: len(found[1]))
    name, variants = best
    values = [getattr(variant.config, name) for variant in variants] if name else []
    if all(map(_is_number, values)):
        variants = [variants[i] for i in np.argsort(values)]
    return name, variants


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _sweep_picture(task: Task, name: str, caption: str, results: Sequence[Result], values: Any, levels: Any) -> Block:
    log = min(values) > 0 and max(values) >= 10 * min(values)
    curve = Curve("BC, 95 % interval", values, results)
    return curves_picture(file_name(task, f"part_2_{name}"), caption, name, [curve], levels, log=log)


def _category_picture(
    task: Task, name: str, caption: str, results: Sequence[Result], _values: Any, levels: Any
) -> Block:
    return results_picture(file_name(task, f"part_2_{name}"), caption, results, levels)


def _range_of(counts: Sequence[int], what: str) -> str:
    least, most = min(counts), max(counts)
    return f"{'' if least == most else f'{least:,} to '}{most:,} {what}{'' if most == 1 else 's'}"
