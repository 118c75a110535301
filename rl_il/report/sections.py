"""What the page about a set of runs holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from rl_il.infrastructure.progress import progress
from rl_il.report.figures import Curve
from rl_il.report.page import Block, Heading, Note, Page, Section, Table, Text, Video
from rl_il.report.pictures import curves_picture, in_parts, lengths_picture, loss_rows_picture, losses_picture
from rl_il.report.provenance import reproduce_blocks, setting_blocks
from rl_il.report.scores import EXPLANATIONS, clone_name, file_name, last_result, result_blocks
from rl_il.report.tables import Result
from rl_il.report.tasks import Task, recorded_default

MOST_BC_LINES = 3
LOSSES = Text(
    "Training Loss is the mean of the iteration's last 100 minibatches; Validation Loss is that of the steps held out"
    " with `--val_fraction`, if any were. Neither says anything of the states that the policy itself drifts to."
)


def runs_page(tasks: Sequence[Task], title: str) -> Page:
    """The page of `scripts/report.py`."""
    n_runs = sum(len(variant.runs) for task in tasks for variant in task.variants)
    n_variants = sum(len(task.variants) for task in tasks)
    where = ", ".join(task.env_name for task in tasks)
    lead = (
        f"{_count(n_runs, 'run')} of {_count(n_variants, 'variant')} in {where}. Runs that differ only in their seed"
        " are one variant. The experts were measured by the runs themselves"
    )
    lead += ", the random policy for this page." if any(task.random for task in tasks) else "."
    parts = {
        "Runs": setting_blocks(tasks),
        "Results": [*EXPLANATIONS, *_by_task("results", tasks, result_blocks)],
        "Learning curves": _by_task("learning curves", tasks, curve_blocks),
        "Losses": [LOSSES, *_by_task("losses", tasks, loss_blocks)],
        "Episode lengths": _by_task("episode lengths", tasks, length_blocks),
        "Videos": _by_task("videos", tasks, video_blocks),
        "Reproduce": reproduce_blocks([run for task in tasks for variant in task.variants for run in variant.runs]),
    }
    return Page(title, lead, [Section(name, blocks) for name, blocks in parts.items() if blocks])


def _by_task(what: str, tasks: Sequence[Task], blocks_of: Callable[[Task], list[Block]]) -> list[Block]:
    """The blocks for each environment, under its name where there are several."""
    blocks: list[Block] = []
    for task in progress(tasks, len(tasks), what):
        mine = blocks_of(task)
        blocks += [Heading(task.env_name)] * (len(tasks) > 1 and bool(mine)) + mine
    return blocks


def curve_blocks(task: Task) -> list[Block]:
    """Return against iteration, environment steps and expert labels, for DAgger."""
    levels, left_out = level_lines(task)
    caption = "Mean return with its 95 % band; dots are the means of single seeds."
    caption += f" {_count(left_out, 'further BC line')} left out." if left_out else ""
    axes = (
        ("iteration", "iteration (0 is behavioural cloning)", None),
        ("steps", "environment steps collected", "Train_EnvstepsSoFar"),
        ("labels", "expert labels used", "Expert_LabelsSoFar"),
    )
    points = {name: [variant.result(name, itr) for itr in variant.itrs] for name, variant in task.dagger}
    blocks: list[Block] = []
    parts = list(in_parts(task.dagger, 4))
    for suffix, part in progress(parts, len(parts), "drawing"):
        for file, x_label, column in axes:
            curves = [
                Curve(name, [variant.metric(column, i) if column else i for i in variant.itrs], points[name])
                for name, variant in part
            ]
            blocks.append(curves_picture(file_name(task, f"curve_{file}") + suffix, caption, x_label, curves, levels))
    return blocks


def level_lines(task: Task) -> tuple[list[Result], int]:
    """The expert, behavioural cloning and the random policy, and how many lines of cloning were left out."""
    clones = [last_result(variant, name if name.startswith("BC") else f"BC, {name}") for name, variant in task.bc]
    if not clones:
        clones = [variant.result(clone_name(task, name), 0) for name, variant in task.dagger if 0 in variant.itrs]
    lines = [*task.experts.values(), *clones[:MOST_BC_LINES]]
    lines += [task.random] if task.random else []
    return lines, max(0, len(clones) - MOST_BC_LINES)


def loss_blocks(task: Task) -> list[Block]:
    """Training and validation loss."""
    losses, rows = {}, [["variant", "iteration", "loss", "training", "validation"]]
    for name, variant in task.named:
        training, validation = (
            [variant.metric(column, itr) for itr in variant.itrs] for column in ("Training Loss", "Validation Loss")
        )
        losses[name] = (name, variant.itrs, training, validation)
        kind = recorded_default(variant, "loss") or variant.config.loss or "unknown"
        last = ["" if np.isnan(loss) else f"{loss:.4g}" for loss in (training[-1], validation[-1])]
        rows.append([name, str(variant.itrs[-1]), kind, *last])
    caption = "Training loss (full marks) and validation loss (empty marks), means over seeds."
    curves, points = [losses[name] for name, _ in task.dagger], [losses[name] for name, _ in task.bc]
    blocks: list[Block] = [Table(f"Losses of the last iteration in {task.env_name}, means over seeds", rows)]
    if len({row[2] for row in rows[1:]}) > 1:
        blocks.append(Note("The variants minimise different losses, which cannot be compared."))
    for suffix, part in in_parts(curves, 3):
        blocks.append(losses_picture(file_name(task, "losses") + suffix, caption, part))
    for suffix, part in in_parts(points if len(points) > 1 else [], 12):
        blocks.append(loss_rows_picture(file_name(task, "bc_losses") + suffix, caption, part))
    return blocks


def length_blocks(task: Task) -> list[Block]:
    """How long the episodes of the last evaluation were, beside the expert's."""
    lengths = []
    for name, variant in task.named:
        lengths.append((name, np.concatenate([run.lengths[variant.itrs[-1]] for run in variant.runs])))
    expert = np.concatenate([run.expert_lengths for variant in task.variants for run in variant.runs])
    everything = {*expert.tolist(), *(length for _, values in lengths for length in values.tolist())}
    if len(everything) == 1:
        whose = "Every episode, the expert's too," if len(expert) else "Every episode"
        return [Text(f"{whose} lasted {everything.pop():,} steps.")]
    caption = "Lengths of the last evaluation's episodes, all seeds pooled"
    caption += ", beside the expert's." if len(expert) else "."
    edges = np.linspace(min(everything) - 0.5, max(everything) + 0.5, 25)
    return [
        lengths_picture(file_name(task, "lengths") + suffix, caption, part, expert, edges)
        for suffix, part in in_parts(lengths, 4)
    ]


def video_blocks(task: Task) -> list[Block]:
    """The last video of each variant's first seed, and its first one."""
    blocks: list[Block] = []
    for name, variant in task.named:
        run = variant.runs[0]
        found = {
            int(m[1]): path
            for path in run.folder.glob("videos/*.gif")
            if (m := re.search(r"_(\d+)\.gif$", path.name))
        }
        for itr in sorted({min(found), max(found)} if found else ()):
            caption = f"{name}, seed {run.config.seed}, iteration {itr}"
            blocks.append(Video(f"{task.env_name}: {caption}", found[itr], urgency=int(itr != max(found))))
    return blocks


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
