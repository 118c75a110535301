"""The results of the study of PPO from clones: a table, a figure, a CSV file and a part of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.errors import InputError
from rl_il.files import atomic_write, write_csv
from rl_il.report.figures import COLOURS, Curve, add_caption, add_legend_below, draw_curves, new_figure, save
from rl_il.report.runs import Variant
from rl_il.report.tables import EXPERT_ROW, PAIRED, count, interval_caption, markdown, span
from rl_il.studies.pages import made_with, page_with

STEPS = "Train_EnvstepsSoFar"
FILES = ("README.md", "results.csv", "figure.png")
MAX_FALL = 50  # how far the protected start may fall below its clone
IN_A_ROW = 3  # evaluations whose mean has to reach the goal, so that a lucky one does not count


@dataclass(frozen=True)
class Group:
    """The finished runs of one variant on one environment."""

    env_name: str
    variant: Variant
    goal: float
    about: str = ""  # the settings on this environment
    key: str = ""  # the name of the variant in `studies.finetune.VARIANTS`

    def __post_init__(self) -> None:
        first, *others = self.variant.runs
        for run in others:
            if run.scores.keys() != first.scores.keys():
                raise InputError(
                    f"{run.folder}: has {len(run.scores)} evaluations, expected {len(first.scores)} as in"
                    f" {first.folder}; remove the folder that is wrong, and give the same command again"
                )

    @property
    def steps(self) -> list[int]:
        """Return the environment steps before each evaluation."""
        return [int(self.variant.metric(STEPS, itr)) for itr in self.variant.itrs]

    @property
    def means(self) -> list[float]:
        """Return the mean over the seeds in each evaluation."""
        return [result.mean for result in self.variant.curve]

    @property
    def lowest(self) -> tuple[float, int]:
        """Return how far the lowest of the later means is below the first, and the environment steps before it.

        The number is negative if no mean is below the first.
        """
        first, *later = self.means
        i = int(np.argmin(later))
        return first - later[i], self.steps[1 + i]

    def steps_to_goal(self, means: Sequence[float]) -> float:
        """Return the environment steps before the first of `IN_A_ROW` evaluations whose mean reaches the goal.

        Return infinity if there are no such evaluations.
        """
        in_a_row = (means[i : i + IN_A_ROW] for i in range(len(means) - IN_A_ROW + 1))
        reached = (steps for steps, part in zip(self.steps, in_a_row, strict=False) if np.mean(part) >= self.goal)
        return next(reached, np.inf)


def table_rows(groups: Sequence[Group]) -> list[list[str]]:
    """Return the rows of one environment's table."""
    rows = [["", "at the beginning", "lowest below it (steps)", "at the end", "95 % interval"]]
    rows[0] += [f"steps to {groups[0].goal:,.0f}", "single seeds"]
    for group in groups:
        last, (fall, at) = group.variant.curve[-1], group.lowest
        seeds = zip(*(result.seed_means for result in group.variant.curve), strict=True)
        cells = [f"{group.means[0]:,.1f}", f"{fall:,.1f} ({at:,})", f"{last.mean:,.1f}", span(last.interval, ",.1f")]
        single = ", ".join(_shown(group.steps_to_goal(means)) for means in seeds)
        rows.append([group.variant.name, *cells, _shown(group.steps_to_goal(group.means)), single])
    return rows


def verdict(groups: Sequence[Group]) -> str:
    """Return in one line whether the protected start does on this environment what was hoped."""
    found = {group.key: group for group in groups}
    if not {"protected", "nothing"} <= found.keys():
        return "Was the aim reached? Not known: the protected start or PPO from nothing has no runs."
    protected, nothing = found["protected"], found["nothing"]
    steps, others = (group.steps_to_goal(group.means) for group in (protected, nothing))
    aims = {
        f"is never more than {MAX_FALL} below its clone": protected.lowest[0] <= MAX_FALL,
        "ends above it": protected.means[-1] > protected.means[0],
        f"reaches {protected.goal:,.0f} in fewer steps than PPO from nothing": steps < others,
    }
    if "plain" in found:
        plain = found["plain"].steps_to_goal(found["plain"].means)
        aims["reaches it in fewer steps than PPO from nothing with the library's settings"] = steps < plain
    shown = "; ".join(f"{aim}: {'yes' if reached else 'no'}" for aim, reached in aims.items())
    return f"Was the aim reached? The protected start {shown}."


def _shown(steps: float) -> str:
    return "not reached" if np.isinf(steps) else f"{steps:,.0f}"


def write_results(groups: Sequence[Group], outdir: Path) -> None:
    """Write and print all files of results: `FILES`."""
    caption = make_caption(groups)
    plot(groups, caption, outdir / "figure.png")
    write_csv(outdir / "results.csv", [row for group in groups for row in csv_rows(group)])
    parts = []
    for env_name in dict.fromkeys(group.env_name for group in groups):
        mine = [group for group in groups if group.env_name == env_name]
        parts.append(f"**{env_name}**: {mine[0].about}\n\n{markdown(table_rows(mine))}\n\n{verdict(mine)}")
    text = "\n\n".join([*parts, caption + COLUMNS])
    made = made_with([run.folder for group in groups for run in group.variant.runs])
    block = (
        f"{text}\n\n![Return against environment steps](figure.png)\n\nEvery evaluation: [results.csv](results.csv)."
    )
    page = page_with(outdir / "README.md", f"{block}\n\n{made}", "finetune_study", "From the clone to PPO")
    with atomic_write(outdir / "README.md") as file:
        file.write(page.encode())
    print(f"\n{text}\n\n{made}\n", *(outdir / name for name in FILES), sep="\n")


def csv_rows(group: Group) -> list[dict[str, Any]]:
    """Return a row for each evaluation of each seed."""
    return [
        {
            "environment": group.env_name,
            "variant": group.variant.name,
            "seed": run.config.seed,
            "environment_steps": int(run.metrics[itr][STEPS]),
            "mean_return": float(scores.mean()),
        }
        for run in group.variant.runs
        for itr, scores in run.scores.items()
    ]


def make_caption(groups: Sequence[Group]) -> str:
    """Return how the numbers were measured."""
    run = groups[0].variant.runs[0]
    seeds = count(max(len(group.variant.runs) for group in groups), "seed")
    results = [group.variant.curve[-1] for group in groups]
    return (
        f"Mean return of greedy actions: {seeds}, each with its own clone, {run.config.eval_episodes} episodes an"
        f" evaluation. {interval_caption(results)} {PAIRED}"
    )


COLUMNS = (
    " Lowest below it: how far the mean over the seeds is below that at the beginning where it is lowest afterwards,"
    " and the environment steps before that evaluation; a negative number means that it was never below. Steps to a"
    f" return: environment steps before the first of {IN_A_ROW} evaluations in a row whose mean reaches it, of the"
    " mean over the seeds and of single seeds."
)
"""What the columns of the table mean."""


def lowest_shown(groups: Sequence[Group]) -> float | None:
    """Return where the vertical axis begins: a tenth of their range below the lowest mean of a run from a clone.

    New weights may begin far lower, and would take all of the room. None: where the axis begins by itself.
    """
    runs = [run for group in groups for run in group.variant.runs]
    values = [scores.mean() for run in runs if not run.config.from_nothing for scores in run.scores.values()]
    return float(1.1 * min(values) - 0.1 * max(values)) if values else None


def plot(groups: Sequence[Group], caption: str, path: Path) -> None:
    """Draw the returns against environment steps, with a panel for each environment."""
    env_names = list(dict.fromkeys(group.env_name for group in groups))
    with new_figure(len(env_names), (5.2 * len(env_names), 4.2)) as (figure, axes):
        for panel, env_name in zip(axes, env_names, strict=True):
            mine = [group for group in groups if group.env_name == env_name]
            expert = mine[0].variant.expert
            curves = [Curve(group.variant.name, group.steps, group.variant.curve) for group in mine]
            draw_curves(panel, curves, legend=False)
            if expert:  # without its number, since the legend is that of all panels
                panel.axhline(expert.mean, color=COLOURS[-1], linestyle="--", label=EXPERT_ROW)
            panel.axhline(mine[0].goal, color="black", linewidth=0.8, linestyle=":")
            panel.set(title=env_name, xlabel="environment steps", ylim=(lowest_shown(mine), None))
        add_legend_below(axes[0])
        outside = " Where PPO from nothing is far below the others, it is outside the picture."
        add_caption(figure, f"{caption} The dotted line is the return to be reached.{outside}")
        save(figure, path)
