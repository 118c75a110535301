"""The three parts that CS285's homework 1 asks for, from run folders.

Part 1: behavioural cloning on two tasks, under the same settings, beside the expert. Part 2: how its return varies
with one hyper-parameter. Part 3: DAgger's learning curve with error bars, and the lines of expert and cloning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rl_il.report.events import Submission
from rl_il.report.figures import Curve
from rl_il.report.page import Block, Commands, Heading, Note, Page, Picture, Section, Table, Text, shown_path
from rl_il.report.pictures import error_bars_picture, in_parts
from rl_il.report.provenance import reproduce_blocks
from rl_il.report.runs import Run, Variant, differences
from rl_il.report.scores import file_name, last_result
from rl_il.report.sweep import RUN, sweep_blocks
from rl_il.report.tables import results_table
from rl_il.report.tasks import Task, shown_value
from rl_il.statistics import percent_of_expert, seed_spread

SAME_JOB = ("env_name", "expert_policy_file", "expert_data", "expert_activation", "ep_len")  # differ with the task
MEASURING = ("eval_batch_size", "eval_episodes", "scalar_log_freq", "val_fraction", "device", "no_gpu", "which_gpu")
LINES_OF_PART_3 = 3  # each with its line of cloning


def assignment_page(tasks: Sequence[Task], title: str, submission: Submission) -> Page:
    """The page of `scripts/report.py --assignment`."""
    runs = [run for task in tasks for variant in task.variants for run in variant.runs]
    lead = (
        "Means and standard deviations are over evaluation episodes, all seeds pooled; what the seeds' means"
        " spread by stands apart. The experts were measured beside the runs."
    )
    sections = [
        Section("Part 1: behavioural cloning on two tasks", [*eval_rule_blocks(runs), *part_1(tasks)]),
        Section("Part 2: one hyper-parameter", sweep_blocks(tasks)),
        Section("Part 3: DAgger", part_3(tasks)),
        Section("The files to hand in", _submission_blocks(submission)),
        Section("Reproduce", reproduce_blocks(runs)),
    ]
    return Page(title, lead, sections)


def eval_rule_blocks(runs: Sequence[Run]) -> list[Block]:
    """The course's rule, eval_batch_size above ep_len, asks that every mean is one of several episodes."""
    single = [run for run in runs if len(run.returns[run.last]) < 2]
    if not single:
        return []
    told = ", ".join(f"{shown_path(run.folder)} (eval_batch_size {run.config.eval_batch_size:,})" for run in single)
    return [
        Note(
            "The course's rule that the evaluation batch be larger than an episode is long (`--eval_batch_size` above"
            f" `--ep_len`) is not met: one evaluation episode only, which has no standard deviation, in {told}. Run"
            " again with a larger `--eval_batch_size`, or with `--eval_episodes`."
        )
    ]


# Part 1 ---------------------------------------------------------------------------------------------------


def part_1(tasks: Sequence[Task]) -> list[Block]:
    """The table over tasks, and whether the comparison is a fair one."""
    with_bc = [task for task in tasks if task.bc]
    if not with_bc:
        lines = [f"{RUN} --env_name {env_name}" for env_name in ("Ant-v5", "Hopper-v5")]
        return [Text("No run of behavioural cloning was given. These two make them:"), Commands(lines)]
    chosen = _most_alike(with_bc)
    rows = [_part_1_row(task, variant) for task, variant in zip(with_bc, chosen, strict=True)]
    header = ["task", "BC, mean return", "std over episodes", "95 % interval", "episodes", "seeds", "std over seeds"]
    header += ["expert, mean return", "expert, std over episodes", "% of expert"]
    blocks: list[Block] = [Table("Behavioural cloning beside the expert", [header, *rows]), *_fairness(chosen)]
    if len(with_bc) == 1:
        other = "Ant-v5" if with_bc[0].env_name != "Ant-v5" else "Hopper-v5"
        blocks += [
            Text("The course asks for a second task. This makes one:"),
            Commands([f"{RUN} --env_name {other}"]),
        ]
    return blocks


def _most_alike(tasks: Sequence[Task]) -> list[Variant]:
    """One variant of cloning a task, so that their settings differ in as little as can be."""

    def distance(one: Variant, other: Variant) -> int:
        return len({*differences([one, other])} - {*SAME_JOB, *MEASURING})

    def nearest(variant: Variant) -> list[Variant]:
        others = ([v for _, v in task.bc] for task in tasks[1:])
        return [variant, *(min(mine, key=lambda other: distance(variant, other)) for mine in others)]

    return min((nearest(v) for _, v in tasks[0].bc), key=lambda chosen: sum(distance(chosen[0], v) for v in chosen))


def _part_1_row(task: Task, variant: Variant) -> list[str]:
    result, expert = last_result(variant, task.env_name), task.expert(variant)
    low, high = result.interval
    percent, spread = percent_of_expert(result.mean, expert.mean), seed_spread(result.returns)
    std = result.episodes.std() if len(result.episodes) > 1 else np.nan
    row = [task.env_name, f"{result.mean:.1f}", _shown(std, f"{std:.1f}"), _shown(low, f"{low:.1f} to {high:.1f}")]
    row += [f"{len(result.episodes):,}", f"{len(result.returns)}", _shown(spread, f"{spread:.1f}")]
    stds = [expert.mean, expert.episodes.std()]
    return row + [_shown(number, f"{number:.1f}") for number in [*stds, percent]]


def _shown(number: float, text: str) -> str:
    return "" if np.isnan(number) else text


def _fairness(variants: Sequence[Variant]) -> list[Block]:
    """What the tasks share, and what they do not."""
    config = variants[0].config
    apart = [name for name in differences(variants) if name not in (*SAME_JOB, *MEASURING)]
    steps = f"{config.n_epochs} epochs" if config.n_epochs else f"{config.num_agent_train_steps_per_iter:,} steps"
    words = {
        "network": (
            "n_layers size activation",
            f"{config.n_layers} hidden layers of {config.size} {config.activation}",
        ),
        "training": (
            "num_agent_train_steps_per_iter n_epochs train_batch_size learning_rate",
            f"{steps} of {config.train_batch_size} rows, learning rate {config.learning_rate:g}",
        ),
        "data": ("n_demos", f"{shown_value(variants[0], 'n_demos')} demonstrations"),
    }
    same = [f"{what} ({told})" for what, (names, told) in words.items() if not {*names.split()} & {*apart}]
    blocks: list[Block] = []
    if len(variants) > 1 and same:
        blocks.append(Text(f"The same in all tasks: {'; '.join(same)}."))
    elif same:
        blocks.append(Text(f"Settings: {'; '.join(same)}."))
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


# Part 3 ---------------------------------------------------------------------------------------------------


def part_3(tasks: Sequence[Task]) -> list[Block]:
    """The learning curves."""
    with_dagger = [task for task in tasks if task.dagger]
    if not with_dagger:
        line = f"{RUN} --env_name Ant-v5 --do_dagger --n_iter 10"
        return [Text("No run of DAgger was given. This makes one:"), Commands([line])]
    blocks: list[Block] = []
    for task in with_dagger:
        blocks += [Heading(task.env_name)] * (len(with_dagger) > 1)
        for suffix, part in in_parts(task.dagger, LINES_OF_PART_3):
            blocks.append(_dagger_picture(task, part, suffix))
        for name, variant in task.dagger:
            results = [variant.result(str(itr), itr) for itr in variant.itrs]
            rows = results_table(results, task.expert(variant), "iteration")
            blocks.append(Table(f"{task.env_name}, {name}", rows))
    return blocks


def _dagger_picture(task: Task, named: Sequence[tuple[str, Variant]], suffix: str) -> Picture:
    caption = (
        f"DAgger in {task.env_name}: mean return; error bars are one standard deviation over the episodes, all seeds"
        " pooled. Level lines: the expert, and behavioural cloning, which is iteration 0."
    )
    curves = [Curve(name, variant.itrs, [variant.result(name, i) for i in variant.itrs]) for name, variant in named]
    clones = [variant.result(_clone(task, name), 0) for name, variant in named if 0 in variant.itrs]
    levels = [*task.experts.values(), *clones]
    return error_bars_picture(file_name(task, "part_3_dagger") + suffix, caption, "iteration", curves, levels)


def _clone(task: Task, name: str) -> str:
    return "BC" if len(task.dagger) == 1 else f"BC ({name})"


# What is handed in ----------------------------------------------------------------------------------------


def _submission_blocks(submission: Submission) -> list[Block]:
    rows = [["folder in submit.zip", "run folder"]]
    rows += [[f"run_logs/{name}", shown_path(folder)] for folder, name in submission.names.items()]
    return [
        Text(
            f"`submit.zip` ({len(submission.data) / 1e3:,.0f} kB; the course takes 15 MB) holds the TensorBoard logs"
            " of all runs, without their videos: `q1_` for behavioural cloning, `q2_` for DAgger."
        ),
        Table("What is in submit.zip", rows, folded=True),
    ]
