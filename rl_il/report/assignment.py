"""The three parts of CS285's homework 1, made from run folders.

Part 1 compares behavioural cloning (BC) and the expert on two tasks, with the same settings. Part 2 shows how the
return of BC depends on one hyper-parameter. Part 3 has DAgger's learning curve with error bars, and level lines for
the expert and BC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from rl_il.commands import command_text
from rl_il.config import RunConfig
from rl_il.report.choices import are_numbers, choices_table, most_alike, unlike_settings, widest_sweep
from rl_il.report.figures import Curve
from rl_il.report.page import Commands, Heading, Note, PageBlock, Picture, Report, Section, Table, Text, shown_path
from rl_il.report.pictures import curves_picture, in_parts, results_picture
from rl_il.report.runs import Run, Variant
from rl_il.report.scores import INTERVALS, distinct_clones, file_name, last_result
from rl_il.report.sections import reproduce_blocks, runs_of
from rl_il.report.tables import (
    PAIRED,
    Result,
    count,
    interval_caption,
    interval_cell,
    interval_heading,
    measure_name,
    number,
    results_table,
    table_of,
)
from rl_il.report.tasks import Task, shown_value
from rl_il.statistics import percent_of_expert, seed_spread

RUN = f"{command_text('run_hw1')} --eval_batch_size 5000 --video_log_freq -1"
RUNS_OF_PARTS = "Which runs each part shows, and why others are left out"
LINES_OF_PART_3 = 3  # curves in one figure; each adds a level line of BC


def assignment_report(
    tasks: Sequence[Task], zip_bytes: int, names: Mapping[Path, str], unfinished: Sequence[Path] = ()
) -> Report:
    """Return the page of `scripts/report.py --assignment`.

    Args:
      tasks: all given runs, by environment.
      zip_bytes: the size of submit.zip.
      names: the name in submit.zip of each run folder.
      unfinished: run folders that are left out because they have no result.
    """
    runs = runs_of(tasks)
    lead = (
        "Means are over the evaluation episodes of all seeds; standard deviations are those of episodes within a"
        f" seed, and of the seeds' means in a column of their own. {INTERVALS} {PAIRED}"
    )
    rows = [["folder in submit.zip", "run folder"]]
    rows += [[f"run_logs/{name}", shown_path(folder)] for folder, name in names.items()]
    handed_in = Text(
        f"`submit.zip` ({zip_bytes / 1e3:,.0f} kB; the course accepts at most 15 MB) contains the TensorBoard logs of"
        " all runs, without videos. Names begin with `q1_` for behavioural cloning and `q2_` for DAgger."
    )
    sections = [
        Section("Part 1: behavioural cloning on two tasks", [*eval_rule_blocks(runs), *part_1(tasks)]),
        Section("Part 2: one hyper-parameter", part_2(tasks)),
        Section("Part 3: DAgger", part_3(tasks)),
        Section("The runs of each part", [Table(RUNS_OF_PARTS, choices_table(tasks, unfinished))]),
        Section("The files to hand in", [handed_in, Table("What is in submit.zip", rows, folded=True)]),
        Section("Reproduce", reproduce_blocks(runs)),
    ]
    return Report("Homework 1: imitation learning", lead, sections)


def eval_rule_blocks(runs: Sequence[Run]) -> list[PageBlock]:
    """Return a note if a run does not follow the course's rule that a mean is over several episodes."""
    single = [run for run in runs if len(run.scores[run.last]) < 2]
    described = ", ".join(
        f"{shown_path(run.folder)} (eval_batch_size {run.config.eval_batch_size:,})" for run in single
    )
    note = (
        "The course asks for an evaluation batch that is larger than an episode (`--eval_batch_size` above"
        f" `--ep_len`). These runs have only one evaluation episode and therefore no standard deviation: {described}."
        " Run them again with a larger `--eval_batch_size`, or with `--eval_episodes`."
    )
    return [Note(note)] if single else []


def part_1(tasks: Sequence[Task]) -> list[PageBlock]:
    """Return the table of tasks, and notes that say whether the comparison is fair."""
    with_bc = [task for task in tasks if task.bc]
    if not with_bc:
        lines = [f"{RUN} --env_name {env_name}" for env_name in ("Ant-v5", "Hopper-v5")]
        return [Text("No run of behavioural cloning was given. These commands make two:"), Commands(lines)]
    chosen = most_alike(with_bc)
    results = [last_result(variant, task.env_name) for task, variant in zip(with_bc, chosen, strict=True)]
    experts = [task.expert(variant) for task, variant in zip(with_bc, chosen, strict=True)]
    measured = measure_name(results)
    columns = {
        "task": lambda bc, _: bc.name,
        f"BC, mean {measured}": lambda bc, _: bc.show(bc.mean),
        "std over episodes": lambda bc, _: bc.show(bc.episode_std),
        interval_heading(results): lambda bc, _: interval_cell(bc.interval, [bc], results, bc.measure.digits),
        "episodes": lambda bc, _: f"{len(bc.episodes):,}",
        "seeds": lambda bc, _: f"{len(bc.scores)}",
        "std over seeds": lambda bc, _: bc.show(seed_spread(bc.scores)),
        f"expert, mean {measured}": lambda _, expert: expert.show(expert.mean),
        "expert, std over episodes": lambda _, expert: expert.show(expert.episode_std),
        "% of expert": lambda bc, expert: number(percent_of_expert(bc.mean, expert.mean)),
    }
    table = Table("Behavioural cloning and the expert", table_of(columns, results, experts))
    blocks: list[PageBlock] = [table, *_fairness(chosen)]
    if len(with_bc) == 1:
        other = "Ant-v5" if with_bc[0].env_name != "Ant-v5" else "Hopper-v5"
        lines = [f"{RUN} --env_name {other}"]
        blocks += [Text("The course asks for a second task. This command makes a run of one:"), Commands(lines)]
    return blocks


def _fairness(variants: Sequence[Variant]) -> list[PageBlock]:
    """Return the settings that the tasks share, and those that differ."""
    config, apart = variants[0].config, unlike_settings(variants)
    steps = f"{config.n_epochs} epochs" if config.n_epochs else f"{config.num_agent_train_steps_per_iter:,} steps"
    settings = {
        "n_layers size activation": f"network ({config.n_layers} hidden layers of {config.size} {config.activation})",
        "num_agent_train_steps_per_iter n_epochs train_batch_size learning_rate": f"training ({steps} of"
        f" {config.train_batch_size} rows, learning rate {config.learning_rate:g})",
        "n_demos": f"data ({shown_value(variants[0], 'n_demos')} demonstrations)",
    }
    same = [described for names, described in settings.items() if not {*names.split()} & {*apart}]
    lead = "Settings that are the same in all tasks" if len(variants) > 1 else "Settings"
    blocks: list[PageBlock] = [Text(f"{lead}: {'; '.join(same)}.")] if same else []
    if apart:
        rows = [["task", *apart]]
        rows += [[variant.config.env_title, *(shown_value(variant, name) for name in apart)] for variant in variants]
        blocks += [
            Note(f"The comparison is not fair, since the tasks' settings differ ({', '.join(apart)})."),
            Table("What differs between the tasks", rows),
        ]
    labels = [last_result(variant, "").expert_labels for variant in variants]
    if len({*labels}) > 1:
        described = ", ".join(f"{n:,.0f} in {v.config.env_title}" for n, v in zip(labels, variants, strict=True))
        blocks.append(Text(f"Number of labelled steps, mean over seeds: {described}."))
    return blocks


def part_2(tasks: Sequence[Task]) -> list[PageBlock]:
    """Return the figure and the table of the setting that the most runs vary."""
    task, name, variants = widest_sweep(tasks)
    if len(variants) < 2:
        run = f"{RUN} --env_name LunarLander-v3 --eval_episodes 20"
        lines = [f"{run} --num_agent_train_steps_per_iter {steps}" for steps in (250, 500, 1000, 2000)]
        return [Text("No variants of BC differ in exactly one setting. These commands make some:"), Commands(lines)]
    results = [last_result(variant, shown_value(variant, name)) for variant in variants]
    experts = [task.expert(variant) for variant in variants]
    table = results_table(results, experts, name, show_experts=len(task.experts) > 1)
    help = next(item.metadata["help"] for item in fields(RunConfig) if item.name == name)
    values = [getattr(variant.config, name) for variant in variants]
    return [
        Text(f"`{name}`: {help}. All other settings are the same."),
        _sweep_picture(task, name, values, results),
        Table(f"{task.env_name}, behavioural cloning", table),
    ]


def _sweep_picture(task: Task, name: str, values: Sequence, results: Sequence[Result]) -> Picture:
    """Draw the return against the setting's values: a curve if these are numbers, else a row for each value."""
    episodes = _range_of([len(result.episodes) for result in results], "episode")
    seeds = _range_of([len(result.scores) for result in results], "seed")
    caption = f"{measure_name(results).capitalize()} of behavioural cloning in {task.env_name} against {name}:"
    caption += f" the mean over {episodes} of {seeds}. {interval_caption(results)}"
    caption += f" {PAIRED}" if task.experts else ""
    file = file_name(task, f"part_2_{name}")
    if not are_numbers(values):
        return results_picture(file, caption, results, task.levels)
    return curves_picture(file, caption, name, [Curve("BC, 95 % interval", values, results)], task.levels, log=True)


def _range_of(counts: Sequence[int], what: str) -> str:
    low, high = min(counts), max(counts)
    return f"{'' if low == high else f'{low:,} to '}{count(high, what)}"


def part_3(tasks: Sequence[Task]) -> list[PageBlock]:
    """Return the learning curves."""
    with_dagger = [task for task in tasks if task.dagger]
    if not with_dagger:
        lines = [f"{RUN} --env_name Ant-v5 --do_dagger --n_iter 10"]
        return [Text("No run of DAgger was given. This command makes one:"), Commands(lines)]
    blocks: list[PageBlock] = []
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
        f"DAgger in {task.env_name}: mean {variants[0].measure.name}. Error bars are one standard deviation of the"
        " episodes within a seed. Level lines are the expert and behavioural cloning (iteration 0)."
    )
    caption += f" {PAIRED}" if task.experts else ""
    curves = [Curve(variant.name, variant.itrs, variant.curve) for variant in variants]
    levels = list(task.experts.values())
    cloned = distinct_clones(replace(task, variants=variants))
    for variant in cloned:
        levels.append(variant.result("BC" if len(cloned) == 1 else f"BC ({variant.name})", 0))
    file = file_name(task, "part_3_dagger") + suffix
    return curves_picture(file, caption, "iteration", curves, levels, std=True)
