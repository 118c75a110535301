"""The choice of the runs that each part of the course's assignment shows, with reasons for those left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rl_il.config import ENV, READING
from rl_il.report.alike import compared
from rl_il.report.page import shown_path
from rl_il.report.runs import Variant, differences
from rl_il.report.tasks import Task

# Settings that may differ by task.
SAME_JOB = (*ENV, "expert_policy_file", "expert_data", "expert_activation", "no_normalizer", "ep_len", *READING)
MEASURING = ("eval_batch_size", "eval_episodes", "scalar_log_freq", "val_fraction", "device", "no_gpu", "which_gpu")
TAKEN = "taken"


def choices_table(tasks: Sequence[Task], unfinished: Sequence[Path] = ()) -> list[list[str]]:
    """Return a table with a column for each of the three parts. A cell says "taken", or why the run is left out.

    Args:
      tasks: all given runs, by environment.
      unfinished: run folders without a result.
    """
    with_bc = [task for task in tasks if task.bc]
    alike = dict(zip([task.env_name for task in with_bc], most_alike(with_bc), strict=True)) if with_bc else {}
    widest, name, swept = widest_sweep(tasks)
    rows = [["run folder", "seed", "part 1", "part 2", "part 3"]]
    for task in tasks:
        for variant in task.variants:
            reasons = [
                _why_not_in_part_1(variant, alike.get(task.env_name)),
                _why_not_in_part_2(task, variant, widest, name, swept),
                _why_not_in_part_3(task, variant),
            ]
            cells = [f"left out: {reason}" if reason else TAKEN for reason in reasons]
            rows += [[shown_path(run.folder), str(run.config.seed), *cells] for run in variant.runs]
    return rows + [[shown_path(folder), "", *["left out: not finished"] * 3] for folder in unfinished]


def _why_not_in_part_1(variant: Variant, chosen: Variant | None) -> str:
    if variant.config.algorithm != "BC":
        return variant.config.algorithm
    if variant is chosen:
        return ""
    others = ", ".join(differences([chosen, variant]))
    return f"another variant of this task is taken, which differs in {others}"


def _why_not_in_part_2(task: Task, variant: Variant, widest: Task, name: str, swept: Sequence[Variant]) -> str:
    if variant.config.algorithm != "BC":
        return variant.config.algorithm
    if len(swept) < 2:
        return "no two variants differ in exactly one setting"
    if variant in swept:
        return ""
    if task is not widest:
        return f"this part shows only one task, {widest.env_name}"
    others = [other for other in differences([swept[0], variant]) if other != name]
    return f"differs in {', '.join(others)}; this part varies only {name}"


def _why_not_in_part_3(task: Task, variant: Variant) -> str:
    if variant.config.algorithm != "DAgger":
        return "behavioural cloning" if variant.config.algorithm == "BC" else variant.config.algorithm
    return "" if variant in task.dagger else "evaluated in one iteration only"


def widest_sweep(tasks: Sequence[Task]) -> tuple[Task, str, list[Variant]]:
    """Return the task whose `sweep_of` has the most variants, the setting that varies, and these variants."""
    return max(((task, *sweep_of(task)) for task in tasks), key=lambda found: len(found[2]))


def most_alike(tasks: Sequence[Task]) -> list[Variant]:
    """Return one variant of BC for each task, chosen so that their settings differ as little as possible."""
    first, *others = (task.bc for task in tasks)

    def nearest(variant: Variant) -> list[Variant]:
        return [variant, *(min(mine, key=lambda other: len(unlike_settings([variant, other]))) for mine in others)]

    return min(
        map(nearest, first), key=lambda chosen: sum(len(unlike_settings([chosen[0], other])) for other in chosen)
    )


def unlike_settings(variants: Sequence[Variant]) -> list[str]:
    """Return the settings in which the variants differ, without those that may differ in a fair comparison."""
    return [name for name in differences(variants) if name not in (*SAME_JOB, *MEASURING)]


def sweep_of(task: Task) -> tuple[str, list[Variant]]:
    """Return the largest group of BC variants that differ in a single setting: this setting and the variants.

    If the values of the setting are numbers, the variants are in their order.
    """
    groups: dict[tuple[str, str], list[Variant]] = {("", ""): []}
    for name in compared(task.bc[0].config) if task.bc else ():
        for variant in task.bc:
            groups.setdefault((name, json.dumps(compared(variant.config, name))), []).append(variant)
    (name, _), variants = max(groups.items(), key=lambda group: len(group[1]))
    values = [getattr(variant.config, name) for variant in variants]
    return name, [variants[i] for i in np.argsort(values)] if are_numbers(values) else variants


def are_numbers(values: Sequence) -> bool:
    """Return whether all values are numbers, so that they can be positions on an axis."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
