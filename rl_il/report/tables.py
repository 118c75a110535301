"""Results, and the tables that show them: Markdown, LaTeX, plain text."""

from __future__ import annotations

import functools
from collections.abc import Sequence
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
        """`(n,)`: the returns of all episodes."""
        return np.concatenate(self.returns)

    @property
    def mean(self) -> float:
        """Mean return over all episodes."""
        return float(self.episodes.mean())

    @property
    def seed_means(self) -> list[float]:
        """Each seed's mean return."""
        return [float(returns.mean()) for returns in self.returns]

    @functools.cached_property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean; episodes are redrawn within their seed."""
        return bootstrap_interval(self.returns)


def results_table(
    results: Sequence[Result], experts: Result | Sequence[Result], name: str = "policy"
) -> list[list[str]]:
    """Rows of cells: the header, and a row a policy.

    Args:
      results: what was measured.
      experts: the expert of all of them; or one for each, whose mean then gets a column.
      name: the first column's header.
    """
    one_expert = isinstance(experts, Result)
    experts = [experts] * len(results) if one_expert else experts
    several = any(len(result.returns) > 1 for result in results)
    rows = [[name, "mean return", "95 % interval", "std over episodes"]]
    rows[0] += ["std over seeds", "seed means, least to most"] if several else []
    rows[0] += ["episodes"] + ([] if one_expert else ["expert, measured now"]) + ["% of expert", "expert labels"]
    for result, expert in zip(results, experts, strict=True):
        low, high = result.interval
        percent = percent_of_expert(result.mean, expert.mean)
        row = [result.name, f"{result.mean:.1f}", _range(low, high), f"{result.episodes.std():.1f}"]
        if several:
            spread = seed_spread(result.returns)
            row += [
                "" if np.isnan(spread) else f"{spread:.1f}",
                _range(min(result.seed_means), max(result.seed_means)),
            ]
        row += [f"{len(result.episodes):,}"]
        row += [] if one_expert else [_number(expert.mean)]
        row += [_number(percent)]
        row += ["" if result.expert_labels is None else f"{result.expert_labels:,.0f}"]
        rows.append(row)
    return rows


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}"


def _range(low: float, high: float) -> str:
    return "" if np.isnan(low) else f"{low:.1f} to {high:.1f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is also easy to read as text; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *lines = [f"| {' | '.join(_aligned(row, widths))} |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if i == 0 else ":") for i, width in enumerate(widths)) + "|"
    return "\n".join([header, rule, *lines])


def latex(rows: Sequence[Sequence[str]]) -> str:
    """The rows as a LaTeX table, for a document that loads the package booktabs."""
    escaped = [[_escape(cell) for cell in row] for row in rows]
    header, *lines = [" & ".join(row) + r" \\" for row in escaped]
    columns = "l" + "r" * (len(rows[0]) - 1)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            header,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _escape(text: str) -> str:
    text = text.replace("\\", r"\textbackslash ")
    return "".join("\\" + letter if letter in "%_&#$" + "{}" else letter for letter in text)


def plain(rows: Sequence[Sequence[str]]) -> str:
    """The rows as columns of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The first cell to the left, the others to the right."""
    return [
        cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
