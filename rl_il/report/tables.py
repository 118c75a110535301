"""Results, and the tables that show them: Markdown, LaTeX, plain text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rl_il.statistics import bootstrap_interval, percent_of_expert, seed_spread


@dataclass(frozen=True)
class Result:
    """What one policy scored."""

    name: str
    returns: Sequence[np.ndarray]  # one array of episode returns a seed
    expert_labels: float | None = None  # labels it was trained on, mean over seeds; None: it was not trained

    @property
    def episodes(self) -> np.ndarray:
        """Return `(n,)`, the returns of all episodes."""
        return np.concatenate(self.returns)

    @property
    def mean(self) -> float:
        """Return the mean return over all episodes."""
        return float(self.episodes.mean())

    @property
    def seed_means(self) -> list[float]:
        """Return each seed's mean return."""
        return [float(returns.mean()) for returns in self.returns]

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % bootstrap interval of the mean; episodes are redrawn within their seed."""
        return bootstrap_interval(self.returns)


def number(value: float, digits: str = ".1f") -> str:
    """Return the number as a cell shows it: nothing for not-a-number."""
    return "" if np.isnan(value) else f"{value:{digits}}"


def span(ends: Sequence[float], digits: str = ".1f") -> str:
    """Return an interval as a cell shows it: nothing where there is none."""
    low, high = ends
    return "" if np.isnan(low) else f"{low:{digits}} to {high:{digits}}"


def count(n: int, what: str) -> str:
    """Return `1 run`, `2 runs`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def table_of(columns: dict[str, Callable[..., str]], *items: Iterable) -> list[list[str]]:
    """Return rows of cells: the header, and a row for each of the items, of which the columns make its cells."""
    return [[*columns], *([cell(*item) for cell in columns.values()] for item in zip(*items, strict=True))]


def results_table(
    results: Sequence[Result], experts: Result | Sequence[Result], name: str = "policy"
) -> list[list[str]]:
    """Return rows of cells, a row for each result; `name` heads the first column.

    `experts` is the expert of all of them; or one for each, whose mean then gets a column.
    """
    columns = {
        name: lambda result, _: result.name,
        "mean return": lambda result, _: number(result.mean),
        "95 % interval": lambda result, _: span(result.interval),
        "std over episodes": lambda result, _: number(result.episodes.std()),
    }
    if any(len(result.returns) > 1 for result in results):
        columns["std over seeds"] = lambda result, _: number(seed_spread(result.returns))
        columns["seed means, least to most"] = lambda r, _: span((min(r.seed_means), max(r.seed_means)))
    columns["episodes"] = lambda result, _: f"{len(result.episodes):,}"
    if isinstance(experts, Result):
        experts = [experts] * len(results)
    else:
        columns["expert, measured now"] = lambda _, expert: number(expert.mean)
    columns["% of expert"] = lambda result, expert: number(percent_of_expert(result.mean, expert.mean))
    columns["expert labels"] = lambda r, _: "" if r.expert_labels is None else f"{r.expert_labels:,.0f}"
    return table_of(columns, results, experts)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that is also easy to read as text; the first row is the header."""
    cells = _aligned(rows)
    rule = [f"-{'-' * len(cells[0][0])}-", *(f"-{'-' * len(cell)}:" for cell in cells[0][1:])]
    header, *lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([header, f"|{'|'.join(rule)}|", *lines])


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as columns of text."""
    return "\n".join("  ".join(row).rstrip() for row in _aligned(rows))


def _aligned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the cells of equal width in a column: the first column to the left, the others to the right."""
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
