"""Results, and tables of them as Markdown, LaTeX and plain text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rl_il.statistics import (
    MIN_EPISODES,
    MIN_SEEDS,
    bootstrap_interval,
    episode_spread,
    percent_of_expert,
    seed_spread,
)
from rl_il.types import RETURN, SCORE, Measure

EXPERT_ROW = "expert, same episodes"  # the name of the live expert, measured on the learner's evaluation episodes
PAIRED = "The expert was measured on the same episodes as the learner's evaluations."
THIS_POLICY = "episodes of this policy"  # what a resample draws if there is only one policy
SEEDS = "seeds, then episodes"  # what a resample draws if there are several seeds


@dataclass(frozen=True)
class Result:
    """The scores of one policy, or of one method trained with several seeds. Usually they are returns."""

    name: str
    scores: Sequence[np.ndarray]  # an array of episodes' scores for each seed; one array for a single policy
    expert_labels: float | None = None  # labelled steps of its data, mean over seeds; None: it was not trained
    measure: Measure = RETURN

    @classmethod
    def of_one_policy(cls, name: str, scores: Sequence[np.ndarray], measure: Measure = RETURN) -> Result:
        """Return the result of a policy that was not trained with seeds, such as the expert, as one array."""
        return cls(name, [np.concatenate(scores)], measure=measure)

    @property
    def is_one_policy(self) -> bool:
        """Return whether there is only one policy, so that resamples draw the episodes of this policy."""
        return len(self.scores) == 1

    @property
    def episodes(self) -> np.ndarray:
        """Return the scores of all episodes, `(n,)`."""
        return np.concatenate(self.scores)

    @property
    def mean(self) -> float:
        """Return the mean score over all episodes."""
        return float(self.episodes.mean())

    @property
    def seed_means(self) -> list[float]:
        """Return the mean score of each seed."""
        return [float(scores.mean()) for scores in self.scores]

    @property
    def episode_std(self) -> float:
        """Return the standard deviation of episodes within a seed (`statistics.episode_spread`)."""
        return episode_spread(self.scores)

    def show(self, value: float) -> str:
        """Return a number about the scores as text for a table. The text is empty for NaN."""
        return number(value, self.measure.digits)

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the mean. `interval_kind` says what a resample draws."""
        return bootstrap_interval(self.scores)


def number(value: float, digits: str = ".1f") -> str:
    """Return the number as text for a table. The text is empty for NaN."""
    return "" if np.isnan(value) else f"{value:{digits}}"


def measure_name(results: Iterable[Result]) -> str:
    """Return the name of what was measured: `return` if all results have returns, otherwise `score`."""
    return (SCORE if any(result.measure is SCORE for result in results) else RETURN).name


def span(ends: Sequence[float], digits: str = ".1f") -> str:
    """Return an interval as text for a table. The text is empty if there is no interval."""
    low, high = ends
    return "" if np.isnan(low) else f"{low:{digits}} to {high:{digits}}"


def interval_kind(results: Iterable[Result]) -> str:
    """Return what the resamples of the 95 % intervals draw, for a caption: seeds, or episodes of this policy."""
    single = {result.is_one_policy for result in results}
    if len(single) > 1:
        return f"{SEEDS} (for a single policy, its episodes)"
    return THIS_POLICY if single == {True} else SEEDS


def interval_caption(results: Iterable[Result]) -> str:
    """Return sentences for a caption that say how the intervals were made, and why some are missing."""
    results = list(results)
    shown = [result for result in results if not np.isnan(result.interval[0])]
    needed = f"needs at least {MIN_SEEDS} seeds, or {MIN_EPISODES} episodes of a single policy"
    if not shown:
        return f"There is no 95 % interval: it {needed}."
    text = f"The 95 % intervals are bootstrap intervals over {interval_kind(shown)}."
    return text if len(shown) == len(results) else f"{text} An interval {needed}."


def interval_heading(results: Iterable[Result]) -> str:
    """Return the heading of a column of intervals: over seeds, or of this policy if all are of single policies."""
    return "95 % interval" + (" of this policy" if interval_kind(results) == THIS_POLICY else " over seeds")


def interval_cell(ends: Sequence[float], of: Iterable[Result], table: Iterable[Result], digits: str = ".1f") -> str:
    """Return an interval as text for a table of results. The text is empty if there is no interval.

    `of` are the results from which the interval was computed. If one of them is a single policy, and the table also
    has intervals of methods, the interval is marked with "(this policy)".
    """
    mixed = interval_kind(table) != THIS_POLICY
    mark = " (this policy)" if mixed and any(result.is_one_policy for result in of) else ""
    shown = span(ends, digits)
    return shown and shown + mark


def count(n: int, what: str) -> str:
    """Return the number with its noun, such as `1 run` or `2 runs`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def table_of(columns: dict[str, Callable[..., str]], *items: Iterable) -> list[list[str]]:
    """Return rows of cells: the header, and for each item the texts that the columns' functions return."""
    return [[*columns], *([cell(*item) for cell in columns.values()] for item in zip(*items, strict=True))]


def results_table(
    results: Sequence[Result], experts: Result | Sequence[Result], name: str = "policy", show_experts: bool = False
) -> list[list[str]]:
    """Return rows of cells: the header, and a row for each result.

    Args:
      results: what is compared.
      experts: the expert of all results, or a list with one for each.
      name: the heading of the first column.
      show_experts: whether the mean scores of the experts are a column.
    """
    columns = {
        name: lambda result, _: result.name,
        f"mean {measure_name(results)}": lambda result, _: result.show(result.mean),
        interval_heading(results): lambda r, _: interval_cell(r.interval, [r], results, r.measure.digits),
        "std over episodes": lambda result, _: result.show(result.episode_std),
    }
    if not all(result.is_one_policy for result in results):
        columns["std over seeds"] = lambda result, _: result.show(seed_spread(result.scores))
        columns["seed means, min to max"] = lambda r, _: (
            "" if r.is_one_policy else span((min(r.seed_means), max(r.seed_means)), r.measure.digits)
        )
    columns["episodes"] = lambda result, _: f"{len(result.episodes):,}"
    if isinstance(experts, Result):
        experts = [experts] * len(results)
    if show_experts:
        columns[EXPERT_ROW] = lambda _, expert: expert.show(expert.mean)
    columns["% of expert"] = lambda result, expert: number(percent_of_expert(result.mean, expert.mean))
    columns["expert labels"] = lambda r, _: "" if r.expert_labels is None else f"{r.expert_labels:,.0f}"
    return table_of(columns, results, experts)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that is also easy to read as text. The first row is the header."""
    cells = _aligned(rows)
    rule = [f"-{'-' * len(cells[0][0])}-", *(f"-{'-' * len(cell)}:" for cell in cells[0][1:])]
    header, *lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([header, f"|{'|'.join(rule)}|", *lines])


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as columns of text."""
    return "\n".join("  ".join(row).rstrip() for row in _aligned(rows))


def _aligned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the cells, padded to the width of their column: the first column on the right, others on the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]


def latex(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a LaTeX table, for a document that loads the package booktabs."""
    header, *lines = [" & ".join(map(_escape, row)) + r" \\" for row in rows]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(rows[0]) - 1)}}}"
    return "\n".join([begin, r"\toprule", header, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}"])


def _escape(text: str) -> str:
    text = text.replace("\\", r"\textbackslash ")
    return "".join("\\" + letter if letter in "%_&#$" + "{}" else letter for letter in text)
