"""The results of the study: labels to 95 % of the expert, as tables, a figure, a CSV file and a part of the page."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.files import atomic_write, write_csv
from rl_il.infrastructure.counting import SCALARS
from rl_il.report.figures import add_caption, add_legend_below, encode, marked, new_figure
from rl_il.report.tables import count, markdown
from rl_il.runs.folders import read_record
from rl_il.studies.label_cost.compare import (
    NOT_REACHED,
    ONE_SETTING,
    RANDOM,
    VANILLA,
    Labels,
    best_rules,
    share_of,
    share_text,
    verdict_rows,
)
from rl_il.studies.pages import made_with, page_with

if TYPE_CHECKING:  # it imports matplotlib, which takes 0.6 s
    from matplotlib.axes import Axes

EVALUATIONS = "evaluations.json"  # in each run folder
REACHED = 0.95  # share of the expert's mean return
FILES = ("README.md", "table.md", "results.csv", "figure.png")
LABELS = "Expert_LabelsSoFar"
COLUMNS = {
    "consulted": "Expert_ConsultedSoFar",
    "expert steps": "Expert_StepsSoFar",
    "takeovers": "Expert_TakeoversSoFar",
    "environment steps": "Train_EnvstepsSoFar",
}
"""What else was used when the expert was reached, and its names in metrics.csv."""
MAX_CURVES = 5  # in the figure, so that their bands can be told apart
COLOURS = 64  # of the palette of the figure's file


@dataclass(frozen=True)
class Group:
    """The measured runs of one rule on one environment, one for each seed."""

    env_name: str
    rule: str
    folders: Sequence[Path]

    @functools.cached_property
    def runs(self) -> list[dict[str, Any]]:
        """Return what `measure_run` wrote into the folders."""
        return [json.loads((folder / EVALUATIONS).read_text(encoding="utf-8")) for folder in self.folders]

    def labels(self, again: bool = True) -> list[float]:
        """Return the labels of each seed when the expert was reached (see `reached`); infinity if it was not."""
        points = [reached(run, again) for run in self.runs]
        return [np.inf if point is None else float(point[LABELS]) for point in points]

    def median_of(self, name: str) -> float:
        """Return the median of a count, over the seeds that reached the expert; NaN if there are none."""
        points = [point for run in self.runs if (point := reached(run))]
        return float(np.median([point[name] for point in points])) if points else np.nan


def reached(run: dict[str, Any], again: bool = True) -> dict[str, Any] | None:
    """Return the first evaluation with 95 % of the expert's mean on the same episodes, or None.

    With `again`, the same policy must also have reached it on the fresh episodes.
    """
    for each in run["evaluations"]:
        if len(each["scores"]) < len(run["expert"]) or np.mean(each["scores"]) < REACHED * np.mean(run["expert"]):
            continue
        if not again or (each["fresh"] and np.mean(each["fresh"]) >= REACHED * np.mean(run["expert_fresh"])):
            return each
    return None


def percents(run: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of the evaluations of a run, and the returns in percent of the expert's on these episodes."""
    labels = [each[LABELS] for each in run["evaluations"]]
    pairs = [(each["scores"], run["expert"][: len(each["scores"])]) for each in run["evaluations"]]
    return np.array(labels, float), np.array([100 * np.mean(scores) / np.mean(expert) for scores, expert in pairs])


def shown(values: Sequence[float]) -> str:
    """Return `797 (629 to 1,070)`: the median and the range. Infinity is `not reached`; no values are no text."""
    if not values:
        return ""
    text = {np.inf: NOT_REACHED}
    median, low, high = (text.get(n, f"{n:,.0f}") for n in (float(np.median(values)), min(values), max(values)))
    return median if low == high else f"{median} ({low} to {high})"


def labels_of(groups: Sequence[Group]) -> Labels:
    """Return the labels of the groups that have runs."""
    return {(group.env_name, group.rule): group.labels() for group in groups if group.folders}


def summary_rows(groups: Sequence[Group]) -> list[list[str]]:
    """Return the rows of the table of rules and environments: the labels to 95 % of the expert."""
    env_names, labels = list(dict.fromkeys(group.env_name for group in groups)), labels_of(groups)
    rows = [["rule", *env_names, "share of vanilla's"]]
    for rule in dict.fromkeys(group.rule for group in groups):
        cells = [shown(labels.get((name, rule), ())) for name in env_names]
        rows.append([rule, *cells, share_text(share_of(labels, rule), len(env_names))])
    return rows


def detail_rows(groups: Sequence[Group]) -> list[list[str]]:
    """Return the rows of the long table, with all counts."""
    others = [f"share of {name}'s" for name in RANDOM]
    rows = [["environment", "rule", "reached", "labels", "on the first episodes alone", *others, *COLUMNS]]
    for group in groups:
        if group.folders:
            labels, numbers = group.labels(), [group.median_of(name) for name in COLUMNS.values()]
            of = f"{np.isfinite(labels).sum()} of {len(labels)}"
            here = labels_of([each for each in groups if each.env_name == group.env_name])
            shares = [share_text(share_of(here, group.rule, name)) for name in RANDOM]
            counts = ["" if np.isnan(number) else f"{number:,.0f}" for number in numbers]
            first = shown(group.labels(again=False))
            rows.append([group.env_name, group.rule, of, shown(labels), first, *shares, *counts])
    return rows


def write_results(groups: Sequence[Group], outdir: Path) -> None:
    """Write and print all files of results: `FILES`."""
    caption, made = make_caption(groups), made_with([each for group in groups for each in group.folders], EVALUATIONS)
    plot(groups, caption, outdir / "figure.png")
    write_csv(outdir / "results.csv", [row for group in groups for row in csv_rows(group, outdir)])
    table, answers = markdown(summary_rows(groups)), verdict_rows(labels_of(groups))
    caption = "\n\n".join([markdown(answers), caption] if answers else [caption])
    texts = {"table.md": f"{markdown(detail_rows(groups))}\n\n{caption}\n\n{made}\n"}
    block = (
        f"{table}\n\n{caption}\n\n![Return against labels](figure.png)\n\nAll counts: [table.md](table.md), and for"
    )
    block += f" each run: [results.csv](results.csv).\n\n{made}"
    texts["README.md"] = page_with(outdir / "README.md", block, "label_cost", "What a label buys")
    for name, text in texts.items():
        with atomic_write(outdir / name) as file:
            file.write(text.encode())
    print(f"\n{table}\n\n{caption}\n\n{made}\n", *(outdir / name for name in FILES), sep="\n")


def csv_rows(group: Group, outdir: Path) -> list[dict[str, Any]]:
    """Return a row for each run: what it used until it reached the expert. Cells are empty if it did not."""
    rows = []
    for folder, run in zip(group.folders, group.runs, strict=True):
        point, first = reached(run), reached(run, again=False)
        row = {"environment": group.env_name, "rule": group.rule, "seed": folder.name.removeprefix("seed_")}
        row |= {name: "" if point is None else point[name] for name in ("iteration", *SCALARS)}
        row["labels_on_the_first_episodes_alone"] = "" if first is None else first[LABELS]
        rows.append(row | {"folder": folder.relative_to(outdir).as_posix()})
    return rows


def make_caption(groups: Sequence[Group]) -> str:
    """Return how the numbers were measured."""
    configs = [read_record(group.folders[0])["config"] for group in groups if group.folders]
    config, rounds = configs[0], {}
    for each in configs:
        rounds[each["env_name"]] = max(each["n_iter"] - 1, rounds.get(each["env_name"], 0))
    usual = rounds[config["env_name"]]
    others = "".join(f" ({name}: {n})" for name, n in rounds.items() if n != usual)
    numbers = sorted({len(group.folders) for group in groups if group.folders})
    seeds = ("" if len(numbers) == 1 else f"{numbers[0]} to ") + count(numbers[-1], "seed")
    fresh = max(len(run["expert_fresh"]) for group in groups for run in group.runs)
    share, again = f"{100 * REACHED:.0f} %", f", and again on {fresh} others" if fresh else ""
    return (
        f"Labels until the mean return is {share} of the live expert's, those of the demonstration included: median"
        f" over {seeds}, and lowest to highest. The policy must have {share} on {config['eval_episodes']} episodes"
        f"{again}; the first alone would stop too early by chance. The episodes are the same for all policies of a"
        f" run."
        f" {NOT_REACHED}: not within {config['max_labels']:,} labels or {count(usual, 'round')}{others} of"
        f" whole episodes, of at least {config['batch_size']:,} environment steps together. {config['n_layers']} x"
        f" {config['size']} units,"
        f" {config['num_agent_train_steps_per_iter']:,} gradient steps a round, if the rule's name says nothing else."
        f" {SHARES}"
    )


SHARES = (
    "Share: of the medians, the geometric mean over the environments where vanilla reached the expert, with a 95 %"
    " bootstrap interval over seeds, which is too narrow with so few. In the figure: medians, and lowest to highest"
    " seed, as far as all seeds have labels. A point is the mean of few episodes where it is far from the expert, and"
    " after the expert was reached."
)
"""What the last column and the figure show."""


def plot(groups: Sequence[Group], caption: str, path: Path) -> None:
    """Draw the returns against the labels, with a panel for each environment, in at most three columns."""
    panels: dict[str, list[Group]] = {}
    for group in groups:
        panels.setdefault(group.env_name, []).append(group)
    best = best_rules(labels_of(groups))
    first = [name for name in (VANILLA, RANDOM[-1], ONE_SETTING) if name in best]
    drawn = [*dict.fromkeys(first + best)][:MAX_CURVES]
    of_all = f" Shown: {', '.join(first)} and the best others of {len(best)}." if best[MAX_CURVES:] else ""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with new_figure(columns, (0.5 + 3.5 * columns, 3.1 * rows), rows=rows) as (figure, axes):
        for panel in axes[len(panels) :]:
            panel.remove()
        for panel, (env_name, members) in zip(axes, panels.items(), strict=False):
            for group in members:
                if group.folders and group.rule in drawn:
                    draw_group(panel, group, **marked(drawn.index(group.rule)))
            panel.axhline(100 * REACHED, color="black", linewidth=0.8, linestyle=":")
            panel.set(title=env_name, xlabel="labels", ylabel="return, % of expert", xscale="log", ylim=(0, 110))
        for i, rule in enumerate(drawn):  # for the legend, since a rule may lack runs on the first environment
            axes[0].plot([], [], label=rule, markersize=4, **marked(i))
        add_legend_below(axes[0])
        add_caption(figure, caption + of_all)
        with atomic_write(path) as file:
            file.write(with_palette(encode(figure, "png")))


def draw_group(axes: Axes, group: Group, **style: Any) -> None:
    """Draw the median over the seeds, and a band from the lowest to the highest, where all seeds have labels."""
    curves = [percents(run) for run in group.runs]
    low, high = max(labels[0] for labels, _ in curves), min(labels[-1] for labels, _ in curves)
    at = np.unique([n for labels, _ in curves for n in labels if low <= n <= high])
    values = np.array([np.interp(np.log(at), np.log(labels), returns) for labels, returns in curves])
    axes.fill_between(at, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.15, linewidth=0)
    axes.plot(at, np.median(values, axis=0), markersize=4, **style)


def with_palette(png: bytes) -> bytes:
    """Return the picture with a palette of a few colours, which is several times smaller."""
    from PIL import Image

    picture, file = Image.open(io.BytesIO(png)).convert("RGB"), io.BytesIO()
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3).save(file, "png", optimize=True)
    return file.getvalue()
