"""Tables and figures of results."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rl_il.files import atomic_write
from rl_il.statistics import bootstrap_interval, percent_of_expert


@dataclass(frozen=True)
class Result:
    """What one policy scored."""

    name: str
    returns: Sequence[np.ndarray]  # one array of episode returns a seed
    expert_labels: float | None = None  # labels it was trained on, mean over seeds; None: it was not trained

    @property
    def mean(self) -> float:
        """Mean return over all episodes."""
        return float(np.concatenate(self.returns).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the mean; episodes are redrawn within their seed."""
        return bootstrap_interval(self.returns)


def results_table(results: Sequence[Result], expert: Result) -> str:
    """A Markdown table, a row a policy. With several seeds, their means' range has a column of its own."""
    several = len(expert.returns) > 1
    header = ["policy", "mean return", "95 % interval", "std over episodes"]
    header += ["seed means, least to most"] if several else []
    header += ["episodes", "% of expert", "expert labels"]
    rows = [header]
    for result in results:
        episodes = np.concatenate(result.returns)
        seed_means = [float(returns.mean()) for returns in result.returns]
        low, high = result.interval
        percent = percent_of_expert(result.mean, expert.mean)
        row = [result.name, f"{result.mean:.1f}", f"{low:.1f} to {high:.1f}", f"{episodes.std():.1f}"]
        row += [f"{min(seed_means):.1f} to {max(seed_means):.1f}"] if several else []
        row += [str(len(episodes)), "" if np.isnan(percent) else f"{percent:.1f}"]
        row += ["" if result.expert_labels is None else f"{result.expert_labels:,.0f}"]
        rows.append(row)
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is also easy to read as text; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *lines = [f"| {' | '.join(_aligned(row, widths))} |" for row in rows]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if i == 0 else ":") for i, width in enumerate(widths)) + "|"
    return "\n".join([header, rule, *lines])


def plain(rows: Sequence[Sequence[str]]) -> str:
    """The rows as columns of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(_aligned(row, widths)).rstrip() for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The first cell to the left, the others to the right."""
    return [
        cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def plot_learning_curve(
    path: Path, title: str, curve: Sequence[Result], lines: Sequence[Result], caption: str
) -> None:
    """Draws mean return against iterations with its 95 % band, and a level line for each other policy.

    The number of expert labels stands under each iteration. `caption` says what was compared.
    """
    import matplotlib

    matplotlib.use("Agg")  # draws into a file; no display is needed
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    itrs = np.arange(len(curve))
    low, high = np.array([result.interval for result in curve]).T
    means = [result.mean for result in curve]
    axes.fill_between(itrs, low, high, color="C0", alpha=0.25, linewidth=0, label="95 % interval")
    axes.plot(itrs, means, "o-", color="C0", label="DAgger (iteration 0 is behavioural cloning)")
    floor = low.min() - (high.max() - low.min())  # a line far below would squash the curve: it is named only
    for i, result in enumerate(lines):
        label = f"{result.name} ({result.mean:.0f}{', below the picture' if result.mean < floor else ''})"
        if result.mean < floor:
            axes.plot([], [], " ", label=label)
        else:
            axes.axhline(result.mean, color=f"C{i + 1}", linestyle=("--", ":", "-.")[i % 3], label=label)
    axes.set_xticks(itrs, [f"{i}\n{result.expert_labels:,.0f}" for i, result in enumerate(curve)], fontsize=8)
    axes.set_xlabel("iteration, and expert labels used so far")
    axes.set_ylabel("return")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)
    figure.text(0.01, -0.02, caption, fontsize=8, va="top", wrap=True)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, bbox_inches="tight")
    pyplot.close(figure)
    with atomic_write(path) as file:
        file.write(picture.getvalue())
