"""The three parts that CS285's homework 1 asks for, from run folders.

Part 1: behavioural cloning on two tasks, under the same settings, next to the expert. Part 2: how its return varies
with one hyper-parameter. Part 3: DAgger's learning curve with error bars, and the lines of expert and cloning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from rl_il.config import RunConfig
from rl_il.report.figures import Curve
from rl_il.report.page import Block, Commands, Heading, Note, Page, Picture, Section, Table, Text, shown_path
from rl_il.report.pictures import curves_picture, in_parts, results_picture
from rl_il.report.runs import Run, Variant, compared, differences
from rl_il.report.scores import file_name, last_result
from rl_il.report.sections import reproduce_blocks, runs_of
from rl_il.report.tables import Result, count, number, results_table, span, table_of
from rl_il.report.tasks import Task, shown_value
from rl_il.statistics import percent_of_expert, seed_spread

RUN = "python scripts/run_hw1.py --eval_batch_size 5000 --video_log_freq -1"
SAME_JOB = ("env_name", "expert_policy_file", "expert_data", "expert_activation", "ep_len")  # differ with the task
MEASURING = ("eval_batch_size", "eval_episodes", "scalar_log_freq", "val_fraction", "device", "no_gpu", "which_gpu")
LINES_OF_PART_3 = 3  # each with its line of cloning


def assignment_page(tasks: Sequence[Task], zip_bytes: int, names: Mapping[Path, str]) -> Page:
    """Return the page of `scripts/report.py --assignment`; in submit.zip, run folders have these `names`."""
    runs = runs_of(tasks)
    lead = (
        "Means and standard deviations are over evaluation episodes, all seeds pooled; what the seeds' means"
        " spread by stands apart. The experts were measured by the runs themselves."
    )
    rows = [["folder in submit.zip", "run folder"]]
    rows += [[f"run_logs/{name}", shown_path(folder)] for folder, name in names.items()]
    handed_in = Text(
        f"`submit.zip` ({zip_bytes / 1e3:,.0f} kB; the course takes 15 MB) holds the TensorBoard logs of all runs,"
        " without their videos: `q1_` for behavioural cloning, `q2_` for DAgger."
    )
    sections = [
        Section("Part 1: behavioural cloning on two tasks", [*eval_rule_blocks(runs), *part_1(tasks)]),
        Section("Part 2: one hyper-parameter", part_2(tasks)),
        Section("Part 3: DAgger", part_3(tasks)),
        Section("The files to hand in", [handed_in, Table("What is in submit.zip", rows, folded=True)]),
        Section("Reproduce", reproduce_blocks(runs)),
    ]
    return Page("Homework 1: imitation learning", lead, sections)


def eval_rule_blocks(runs: Sequence[Run]) -> list[Block]:
    """Return a note where the course's rule is broken, which asks that every mean is one of several episodes."""
    single = [run for run in runs if len(run.returns[run.last]) < 2]
    told = ", ".join(f"{shown_path(run.folder)} (eval_batch_size {run.config.eval_batch_size:,})" for run in single)
    note = (
        "The course's rule that the evaluation batch be larger than an episode is long (`--eval_batch_size` above"
        f" `--ep_len`) is not met: one evaluation episode only, which has no standard deviation, in {told}. Run"
        " again with a larger `--eval_batch_size`, or with `--eval_episodes`."
    )
    return [Note(note)] if single else []


def part_1(tasks: Sequence[Task]) -> list[Block]:
    """Return the table over tasks, and whether the comparison is a fair one."""
    with_bc = [task for task in tasks if task.bc]
    if not with_bc:
        lines = [f"{RUN} --env_name {env_name}" for env_name in ("Ant-v5", "Hopper-v5")]
        return [Text("No run of behavioural cloning was given. These two make them:"), Commands(lines)]
    chosen = _most_alike(with_bc)
    results = [last_result(variant, task.env_name) for task, variant in zip(with_bc, chosen, strict=True)]
    experts = [task.expert(variant) for task, variant in zip(with_bc, chosen, strict=True)]
    columns = {
        "task": lambda bc, _: bc.name,
        "BC, mean return": lambda bc, _: f"{bc.mean:.1f}",
        "std over episodes": lambda bc, _: f"{bc.episodes.std():.1f}" if len(bc.episodes) > 1 else "",
        "95 % interval": lambda bc, _: span(bc.interval),
        "episodes": lambda bc, _: f"{len(bc.episodes):,}",
        "seeds": lambda bc, _: f"{len(bc.returns)}",
        "std over seeds": lambda bc, _: number(seed_spread(bc.returns)),
        "expert, mean return": lambda _, expert: number(expert.mean),
        "expert, std over episodes": lambda _, expert: number(expert.episodes.std()),
        "% of expert": lambda bc, expert: number(percent_of_expert(bc.mean, expert.mean)),
    }
    table = Table("Behavioural cloning and the expert", table_of(columns, results, experts))
    blocks: list[Block] = [table, *_fairness(chosen)]
    if len(with_bc) == 1:
        other = "Ant-v5" if with_bc[0].env_name != "Ant-v5" else "Hopper-v5"
        lines = [f"{RUN} --env_name {other}"]
        blocks += [Text("The course asks for a second task. This makes one:"), Commands(lines)]
    return blocks


def _most_alike(tasks: Sequence[Task]) -> list[Variant]:
    """Return one variant of cloning a task, so that their settings differ in as little as can be."""
    first, *others = (task.bc for task in tasks)

    def nearest(variant: Variant) -> list[Variant]:
        return [variant, *(min(mine, key=lambda other: len(_apart([variant, other]))) for mine in others)]

    return min(map(nearest, first), key=lambda chosen: sum(len(_apart([chosen[0], other])) for other in chosen))


def _apart(variants: Sequence[Variant]) -> list[str]:
    """Return the settings that differ, and not only because the tasks do."""
    return [name for name in differences(variants) if name not in (*SAME_JOB, *MEASURING)]


def _fairness(variants: Sequence[Variant]) -> list[Block]:
    """Return what the tasks share, and what they do not."""
    config, apart = variants[0].config, _apart(variants)
    steps = f"{config.n_epochs} epochs" if config.n_epochs else f"{config.num_agent_train_steps_per_iter:,} steps"
    settings = {
        "n_layers size activation": f"network ({config.n_layers} hidden layers of {config.size} {config.activation})",
        "num_agent_train_steps_per_iter n_epochs train_batch_size learning_rate": f"training ({steps} of"
        f" {config.train_batch_size} rows, learning rate {config.learning_rate:g})",
        "n_demos": f"data ({shown_value(variants[0], 'n_demos')} demonstrations)",
    }
    same = [told for names, told in settings.items() if not {*names.split()} & {*apart}]
    lead = "The same in all tasks" if len(variants) > 1 else "Settings"
    blocks: list[Block] = [Text(f"{lead}: {'; '.join(same)}.")] if same else []
    if apart:
        rows = [["task", *apart]] + [[v.config.env_name, *(shown_value(v, name) for name in apart)] for v in variants]
        blocks += [
            Note(f"The tasks' settings differ ({', '.join(apart)}): the comparison is not a fair one."),
            Table("What differs between the tasks", rows),
        ]
    labels = [last_result(variant, "").expert_labels for variant in variants]
    if len({*labels}) > 1:
        told = ", ".join(f"{n:,.0f} in {v.config.env_name}" for n, v in zip(labels, variants, strict=True))
        blocks.append(Text(f"Labelled steps learnt from, mean over seeds: {told}."))
    return blocks


def part_2(tasks: Sequence[Task]) -> list[Block]:
    """Return the figure and table of the setting that was varied alone, through the most values."""
    sweeps = {task.env_name: sweep_of(task) for task in tasks}
    task = max(tasks, key=lambda task: len(sweeps[task.env_name][1]))
    name, variants = sweeps[task.env_name]
    if len(variants) < 2:
        run = f"{RUN} --env_name LunarLander-v3 --eval_episodes 20"
        lines = [f"{run} --num_agent_train_steps_per_iter {steps}" for steps in (250, 500, 1000, 2000)]
        return [Text("No runs of cloning differ in exactly one setting. These, for example, do:"), Commands(lines)]
    results = [last_result(variant, shown_value(variant, name)) for variant in variants]
    experts = [task.expert(variant) for variant in variants]
    table = results_table(results, experts[0] if len(task.experts) < 2 else experts, name)
    help = next(item.metadata["help"] for item in fields(RunConfig) if item.name == name)
    values = [getattr(variant.config, name) for variant in variants]
    return [
        Text(f"`{name}`: {help}. All other settings are the same."),
        _sweep_picture(task, name, values, results),
        Table(f"{task.env_name}, behavioural cloning", table),
    ]


def sweep_of(task: Task) -> tuple[str, list[Variant]]:
    """Return the setting through whose values the most variants of cloning differ in nothing else, and these in
    order."""
    groups: dict[tuple[str, str], list[Variant]] = {("", ""): []}
    for name in compared(task.variants[0].config):
        for variant in task.bc:
            groups.setdefault((name, json.dumps(compared(variant.config, name))), []).append(variant)
    (name, _), variants = max(groups.items(), key=lambda group: len(group[1]))
    values = [getattr(variant.config, name) for variant in variants]
    return name, [variants[i] for i in np.argsort(values)] if _are_numbers(values) else variants


def _are_numbers(values: Sequence) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _sweep_picture(task: Task, name: str, values: Sequence, results: Sequence[Result]) -> Picture:
    """Draw the return against the setting's values: a curve of numbers, or a row for each of other values."""
    episodes = _range_of([len(result.episodes) for result in results], "episode")
    seeds = _range_of([len(result.returns) for result in results], "seed")
    caption = f"Return of behavioural cloning in {task.env_name} against {name}:"
    caption += f" the mean with its 95 % interval over {episodes} of {seeds}."
    file = file_name(task, f"part_2_{name}")
    if not _are_numbers(values):
        return results_picture(file, caption, results, task.levels)
    return curves_picture(file, caption, name, [Curve("BC, 95 % interval", values, results)], task.levels, log=True)


def _range_of(counts: Sequence[int], what: str) -> str:
    least, most = min(counts), max(counts)
    return f"{'' if least == most else f'{least:,} to '}{count(most, what)}"


def part_3(tasks: Sequence[Task]) -> list[Block]:
    """Return the learning curves."""
    with_dagger = [task for task in tasks if task.dagger]
    if not with_dagger:
        lines = [f"{RUN} --env_name Ant-v5 --do_dagger --n_iter 10"]
        return [Text("No run of DAgger was given. This makes one:"), Commands(lines)]
    blocks: list[Block] = []
    for task in with_dagger:
        blocks += [Heading(task.env_name)] * (len(with_dagger) > 1)
        for suffix, part in in_parts(task.dagger, LINES_OF_PART_3):
            blocks.append(_dagger_picture(task, part, suffix))
        for variant in task.dagger:
            results = [variant.result(str(itr), itr) for itr in variant.itrs]
            rows = results_table(results, task.expert(variant), "iteration")
            blocks += [Table(f"{task.env_name}, {variant.name}", rows)]
    return blocks


def _dagger_picture(task: Task, variants: Sequence[Variant], suffix: str) -> Picture:
    caption = (
        f"DAgger in {task.env_name}: mean return; error bars are one standard deviation over the episodes, all seeds"
        " pooled. Level lines: the expert, and behavioural cloning, which is iteration 0."
    )
    curves = [Curve(variant.name, variant.itrs, variant.curve) for variant in variants]
    levels = list(task.experts.values())
    for variant in variants:
        if 0 in variant.itrs:
            levels.append(variant.result("BC" if len(task.dagger) == 1 else f"BC ({variant.name})", 0))
    file = file_name(task, "part_3_dagger") + suffix
    return curves_picture(file, caption, "iteration", curves, levels, std=True)
