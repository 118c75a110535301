"""The sections of a page about a set of runs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence

import numpy as np

from rl_il.config import ENV
from rl_il.flags import command_of
from rl_il.infrastructure.progress import progress
from rl_il.report.alike import compared
from rl_il.report.figures import Curve
from rl_il.report.page import Commands, Heading, Note, PageBlock, Report, Section, Table, Text, Video, shown_path
from rl_il.report.pictures import curves_picture, in_parts, lengths_picture, loss_rows_picture, losses_picture
from rl_il.report.runs import Run, Variant, differences
from rl_il.report.scores import EXPLANATIONS, clone, distinct_clones, file_name, last_result, result_blocks
from rl_il.report.tables import EXPERT_ROW, PAIRED, Result, count, interval_caption, measure_name, number
from rl_il.report.tasks import Task, recorded_default, shown_value

MAX_BC_LINES = 3
LABELS = "Expert_LabelsSoFar"
AXES = {
    "iteration": ("iteration (0 is behavioural cloning)", ""),
    "steps": ("environment steps collected", "Train_EnvstepsSoFar"),
    "labels": ("expert labels used", LABELS),
    "consulted": ("steps at which the expert was consulted", "Expert_ConsultedSoFar"),
    "expert_steps": ("steps at which the expert acted", "Expert_StepsSoFar"),
    "takeovers": ("takeovers of the expert", "Expert_TakeoversSoFar"),
}
"""The x axes of DAgger's learning curves, by the names in their files: a label, and a column of metrics.csv."""
EXTRA_AXES = (
    "consulted",
    "expert_steps",
    "takeovers",
)  # drawn if a rule's counts differ from those of vanilla DAgger
LOSSES = Text(
    "Training Loss is the mean loss of the last 100 minibatches of the iteration. Validation Loss is the loss on the"
    " steps that were held out with `--val_fraction`, if there are any. Both are losses on states in the data, not on"
    " the states that the policy visits now."
)


def runs_report(tasks: Sequence[Task]) -> Report:
    """Return the report that `scripts/report.py` writes without `--assignment`."""
    runs = runs_of(tasks)
    n_variants = sum(len(task.variants) for task in tasks)
    where = ", ".join(task.env_name for task in tasks)
    lead = (
        f"{count(len(runs), 'run')} of {count(n_variants, 'variant')} in {where}. Runs that differ only in their seed"
        " are one variant. Each run measured its expert."
    )
    lead += " The random policy was measured for this page." if any(task.random for task in tasks) else ""
    parts = {
        "Runs": setting_blocks(tasks),
        "Results": [*EXPLANATIONS, *_by_task("results", tasks, result_blocks)],
        "Learning curves": _by_task("learning curves", tasks, curve_blocks),
        "Losses": [LOSSES, *_by_task("losses", tasks, loss_blocks)],
        "Episode lengths": _by_task("episode lengths", tasks, length_blocks),
        "Videos": _by_task("videos", tasks, video_blocks),
        "Reproduce": reproduce_blocks(runs),
    }
    sections = [Section(name, blocks) for name, blocks in parts.items() if blocks]
    return Report("Imitation learning: results", lead, sections)


def runs_of(tasks: Sequence[Task]) -> list[Run]:
    """Return all runs of the tasks."""
    return [run for task in tasks for variant in task.variants for run in variant.runs]


def _by_task(what: str, tasks: Sequence[Task], blocks_of: Callable[[Task], list[PageBlock]]) -> list[PageBlock]:
    """Return the blocks of each environment. If there are several, put its name above them."""
    blocks: list[PageBlock] = []
    for task in progress(tasks, len(tasks), what):
        mine = blocks_of(task)
        blocks += [Heading(task.env_name)] * (len(tasks) > 1 and bool(mine)) + mine
    return blocks


def setting_blocks(tasks: Sequence[Task]) -> list[PageBlock]:
    """Return tables of the settings that differ, of the settings that are the same, and of the run folders."""
    variants = [variant for task in tasks for variant in task.variants]
    names = [name for name in differences(variants) if name not in (*ENV, "do_dagger")]
    rows = [["variant", "environment", "algorithm", *names, "seeds"]]
    folders = [["folder", "variant", "environment", "seed"]]
    for variant in variants:
        env_name, seeds = variant.config.env_title, [str(run.config.seed) for run in variant.runs]
        values = [shown_value(variant, setting) for setting in names]
        rows.append([variant.name, env_name, variant.config.algorithm, *values, ", ".join(seeds)])
        folders += [[shown_path(run.folder), variant.name, env_name, str(run.config.seed)] for run in variant.runs]
    same = [["setting", "value"]]
    shared = dict.fromkeys(
        name for variant in variants for name in compared(variant.config, *names, *ENV, "do_dagger")
    )
    for name in shared:
        # A default may have a different value in each environment, and no run has all settings.
        having = [variant for variant in variants if hasattr(variant.config, name)]
        same.append([name, ", ".join(dict.fromkeys(shown_value(variant, name) for variant in having))])
    blocks: list[PageBlock] = [
        Table("The settings in which the variants differ" if len(variants) > 1 else "What was run", rows),
        Table("The settings that are the same in all runs", same, folded=True),
        Table("The run folders", folders, folded=True),
    ]
    cut = ", ".join(shown_path(run.folder) for run in runs_of(tasks) if run.summary.get("status") != "finished")
    described = f"Not finished: {cut}. Tables show the last iteration in which all seeds of a variant were evaluated."
    return [*blocks, *([Note(described)] if cut else [])]


def curve_blocks(task: Task) -> list[PageBlock]:
    """Return the learning curves.

    DAgger is drawn against iterations, environment steps and expert labels, and against what else its rule used, if
    that differs. Reinforcement learning is drawn against environment steps, with DAgger. Behavioural cloning is drawn
    against gradient steps, if it was evaluated several times.
    """
    levels, left_out = level_lines(task)
    more = f" {count(left_out, 'more BC line')} left out." if left_out else ""
    blocks: list[PageBlock] = []
    parts = list(in_parts(task.dagger, 4))
    for suffix, part in progress(parts, len(parts), "drawing"):
        for axis, (x_label, metric) in AXES.items():
            if axis in EXTRA_AXES and not any(_says_more(variant, metric) for variant in part):
                continue
            curves = [against(metric, variant) for variant in part]
            file = file_name(task, f"curve_{axis}") + suffix
            blocks.append(curves_picture(file, band_caption(curves, levels) + more, x_label, curves, levels))
    x_label, metric = AXES["steps"]
    for suffix, part in in_parts([*task.dagger, *task.ppo] if task.ppo else [], 4):
        curves, file = [against(metric, variant) for variant in part], file_name(task, "curve_ppo") + suffix
        blocks.append(curves_picture(file, band_caption(curves, levels) + more, x_label, curves, levels))
    cloned = [Curve(v.name, v.steps, [v.after(n) for n in v.steps]) for v in task.bc if len(v.steps) > 1]
    for suffix, part in in_parts(cloned, 4):
        file = file_name(task, "curve_gradient_steps") + suffix
        caption = band_caption(part, task.levels)
        blocks.append(curves_picture(file, caption, "gradient steps", part, task.levels, log=True))
    return blocks


def against(metric: str, variant: Variant) -> Curve:
    """Return the variant's curve against a column of metrics.csv, or against iterations if that is empty."""
    return Curve(
        variant.name, [variant.metric(metric, itr) if metric else itr for itr in variant.itrs], variant.curve
    )


def _says_more(variant: Variant, metric: str) -> bool:
    """Return whether this count is above 0 in the last iteration, and is not that of the labels."""
    last = variant.itrs[-1]
    return variant.metric(metric, last) > 0 and variant.metric(metric, last) != variant.metric(LABELS, last)


def band_caption(curves: Sequence[Curve], levels: Sequence[Result]) -> str:
    """Return the caption of a picture with these learning curves."""
    points = [point for curve in curves for point in curve.points]
    caption = f"Mean {measure_name(points)} and its 95 % band. {interval_caption(points)}"
    caption += " Dots are the means of single seeds." if not all(point.is_one_policy for point in points) else ""
    paired = any(level.name.startswith(EXPERT_ROW) for level in levels)
    return caption + (f" {PAIRED}" if paired else "")


def level_lines(task: Task) -> tuple[list[Result], int]:
    """Return the experts, BC and the random policy as level lines, and the number of BC lines left out."""
    clones = [last_result(v, v.name if v.name.startswith("BC") else f"BC, {v.name}") for v in task.bc]
    clones = clones or [clone(task, variant) for variant in distinct_clones(task)]
    experts = list(task.experts.values())
    lines = [*experts, *clones[:MAX_BC_LINES], *task.levels[len(experts) :]]
    return lines, max(0, len(clones) - MAX_BC_LINES)


def loss_blocks(task: Task) -> list[PageBlock]:
    """Return the table and the figures of the training and validation losses."""
    losses, rows = {}, [["variant", "iteration", "loss", "training", "validation"]]
    for variant in task.variants:
        training = [variant.metric("Training Loss", itr) for itr in variant.itrs]
        validation = [variant.metric("Validation Loss", itr) for itr in variant.itrs]
        losses[variant.name] = (variant.name, variant.itrs, training, validation)
        learned = variant.config.algorithm != "PPO"  # which has a loss of its own
        kind = recorded_default(variant, "loss") or variant.config.loss or "unknown" if learned else "PPO"
        last = [number(training[-1], ".4g"), number(validation[-1], ".4g")]
        rows.append([variant.name, str(variant.itrs[-1]), kind, *last])
    blocks: list[PageBlock] = [Table(f"Losses of the last iteration in {task.env_name}, means over seeds", rows)]
    if len({row[2] for row in rows[1:]}) > 1:
        blocks.append(Note("The variants minimise different losses, so their values cannot be compared."))
    caption = "Training loss (full marks) and validation loss (empty marks), means over seeds."
    curves, points = ([losses[variant.name] for variant in variants] for variants in (task.dagger, task.bc))
    for suffix, part in in_parts(curves, 3):
        blocks.append(losses_picture(file_name(task, "losses") + suffix, caption, part))
    for suffix, part in in_parts(points if len(points) > 1 else [], 12):
        blocks.append(loss_rows_picture(file_name(task, "bc_losses") + suffix, caption, part))
    return blocks


def length_blocks(task: Task) -> list[PageBlock]:
    """Return histograms of the episode lengths in the last evaluation, with the expert's."""
    lengths = [(v.name, np.concatenate([run.lengths[v.itrs[-1]] for run in v.runs])) for v in task.variants]
    expert = np.concatenate([run.expert.lengths for run in runs_of([task])])
    everything = np.concatenate([expert, *(values for _, values in lengths)])
    shortest, longest = everything.min(), everything.max()
    if shortest == longest:
        whose = "Every episode (also of the expert)" if len(expert) else "Every episode"
        return [Text(f"{whose} lasted {longest:,} steps.")]
    whose = " and of the expert's episodes" if len(expert) else ""
    caption = f"Lengths of the last evaluation's episodes, all seeds together{whose}."
    edges = np.linspace(shortest - 0.5, longest + 0.5, 25)
    file = file_name(task, "lengths")
    return [lengths_picture(file + end, caption, part, expert, edges) for end, part in in_parts(lengths, 4)]


def video_blocks(task: Task) -> list[PageBlock]:
    """Return the first and the last video of each variant's first seed."""
    blocks: list[PageBlock] = []
    for variant in task.variants:
        run, found = variant.runs[0], {}
        for path in run.folder.glob("videos/*.gif"):
            if match := re.search(r"_(\d+)\.gif$", path.name):
                found[int(match[1])] = path
        for itr in sorted({min(found), max(found)} if found else ()):
            caption = f"{variant.name}, seed {run.config.seed}, iteration {itr}"
            blocks.append(Video(f"{task.env_name}: {caption}", found[itr], urgency=int(itr != max(found))))
    return blocks


def reproduce_blocks(runs: Sequence[Run]) -> list[PageBlock]:
    """Return the command line of each run, and the versions of its software."""
    commands = [(run.record.get("command_line"), run.config) for run in runs]
    lines = [shlex.join(map(str, recorded)) if recorded else command_of(config) for recorded, config in commands]
    setups: dict[str, list[Run]] = {}
    for run in runs:
        setups.setdefault(json.dumps(_setup(run), sort_keys=True), []).append(run)
    blocks: list[PageBlock] = [
        Text("Run these commands in the repository's root. A folder given with `--logdir` must be new or empty."),
        Commands(lines),
    ]
    names = ["all runs"]
    if len(setups) > 1:
        blocks.append(Note("Not all runs were made with the same software. The table has the versions."))
        firsts = [(same[0].folder.resolve().name, len(same) - 1) for same in setups.values()]
        names = [f"{name} and {more} more" if more else name for name, more in firsts]
    columns = [_setup(same[0]) for same in setups.values()]
    keys = dict.fromkeys(key for column in columns for key in column)
    rows = [[key, *(column.get(key, "") for column in columns)] for key in keys]
    blocks.append(Table("What the runs were made with", [["", *names], *rows], folded=True))
    if any(column.get("git commit", "").endswith("-dirty") for column in columns):
        blocks.append(Text("`-dirty` means that files differed from those of the commit."))
    return blocks


def _setup(run: Run) -> dict[str, str]:
    """Return the commit, the platform, the versions and the device that the run recorded."""
    versions, defaults = (run.record.get(name) for name in ("versions", "defaults"))
    setup = {"git commit": run.record.get("git_commit"), "platform": run.record.get("platform")}
    setup |= versions if isinstance(versions, dict) else {}
    setup |= {"device": defaults.get("device")} if isinstance(defaults, dict) else {}
    return {name: str(value) for name, value in setup.items() if value is not None}
