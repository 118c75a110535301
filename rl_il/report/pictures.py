"""The figures of a page: one question each, small enough for a phone, with the legend below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.report.figures import (
    COLOURS,
    DASHES,
    Curve,
    draw_curves,
    draw_levels,
    encode,
    inline_svg,
    marked,
    new_figure,
)
from rl_il.report.page import Picture
from rl_il.report.tables import Result, span
from rl_il.statistics import performance_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AT_ONCE = 5  # curves in one picture: as many as there are line styles
MAX_TICKS = 12  # that a logarithmic axis names
WIDTH, HEIGHT = 4.5, 3.0  # inches of the axes' share; 10-point text stays readable where a phone shows 360 pixels
Losses = tuple[str, Sequence[int], Sequence[float], Sequence[float]]
"""A variant's name, its iterations, and training and validation loss, not-a-number where there is none."""


def picture(name: str, caption: str, alt: str, draw: Callable[[Axes], Any], rows: float = HEIGHT) -> Picture:
    """Return the figure that `draw` makes on its axes, `rows` inches high without the legend of labelled lines."""
    from matplotlib import rc_context

    with new_figure(size=(WIDTH, rows)) as (figure, (axes,)), rc_context({"text.parse_math": False}):
        draw(axes)  # a name with dollar signs is no formula
        labels = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if labels:
            figure.set_figheight(rows + 0.2 * len(labels))
            figure.legend(labels.values(), labels.keys(), loc="outside lower center", frameon=False, fontsize=9)
        return Picture(name, caption, alt, inline_svg(figure, alt), encode(figure, "svg"))


def in_parts(items: Sequence, size: int = AT_ONCE) -> Iterator[tuple[str, Sequence]]:
    """Yield the items, at most `size` at a time, each part with a suffix for its picture's name."""
    for start in range(0, len(items), size):
        yield f"_{start // size + 1}" if len(items) > size else "", items[start : start + size]


def curves_picture(
    name: str,
    caption: str,
    x_label: str,
    curves: Sequence[Curve],
    levels: Sequence[Result],
    log: bool = False,
    std: bool = False,
) -> Picture:
    """Draw mean return against anything, with its 95 % band, or standard deviation (`std`), and level lines.

    With `log`, a few positions that span a factor of 10 or more are drawn on a logarithmic axis.
    """

    def draw(axes: Axes) -> None:
        draw_curves(axes, curves, levels, legend=False, std=std)
        positions = sorted({float(x) for curve in curves for x in curve.x})
        if log and len(positions) <= MAX_TICKS and 0 < 10 * positions[0] <= positions[-1]:
            axes.set_xscale("log")
            axes.set_xticks(positions, [f"{x:g}" for x in positions], fontsize=9, rotation=30)
            axes.set_xticks([], minor=True)
        axes.set_xlabel(x_label)

    told = [
        f"{curve.name} goes from {curve.points[0].mean:.1f} at {_position(curve.x[0])} to"
        f" {curve.points[-1].mean:.1f} at {_position(curve.x[-1])}"
        for curve in curves
    ]
    told += [f"{level.name} {level.mean:.1f}" for level in levels]
    return picture(name, caption, f"Mean return against {x_label}: {'; '.join(told)}.", draw)


def _position(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:g}"


def results_picture(name: str, caption: str, results: Sequence[Result], levels: Sequence[Result]) -> Picture:
    """Draw a row for each policy: the mean's 95 % interval, and faintly the means of its seeds."""

    def draw(axes: Axes) -> None:
        for y, result in enumerate(results):
            axes.plot(result.interval, [y, y], color=COLOURS[0], linewidth=3, solid_capstyle="butt", alpha=0.6)
            axes.plot(result.mean, y, "o", color=COLOURS[0])
            if len(result.returns) > 1:
                axes.plot(result.seed_means, [y] * len(result.returns), ".", color=COLOURS[0], alpha=0.5)
        draw_levels(axes, levels, [axes.get_xlim()], 1, rows=len(results))
        _name_rows(axes, [result.name for result in results])
        axes.set_xlabel("return")

    intervals = [(result, span(result.interval)) for result in (*results, *levels)]
    told = [f"{each.name} {each.mean:.1f}" + (f" (95 % interval {ends})" if ends else "") for each, ends in intervals]
    return picture(name, caption, f"Mean returns: {'; '.join(told)}.", draw, rows=0.8 + 0.45 * len(results))


def losses_picture(name: str, caption: str, losses: Sequence[Losses]) -> Picture:
    """Draw training loss (full lines) and validation loss (broken ones) against the iteration."""

    def draw(axes: Axes) -> None:
        for i, (variant, itrs, training, validation) in enumerate(losses):
            style = {**marked(i), "markersize": 5}
            axes.plot(itrs, training, **style, label=f"{variant}, training")
            if np.isfinite(validation).any():
                axes.plot(itrs, validation, "--", **style, markerfacecolor="none", label=f"{variant}, validation")
        axes.set_xlabel("iteration")
        axes.set_ylabel("loss")
        axes.xaxis.get_major_locator().set_params(integer=True)

    return picture(name, caption, _describe_losses(losses), draw)


def loss_rows_picture(name: str, caption: str, losses: Sequence[Losses]) -> Picture:
    """Draw a row for each variant: its training loss (full mark) and validation loss (empty mark) at the end."""

    def draw(axes: Axes) -> None:
        rows = range(len(losses))
        axes.plot([training[-1] for *_, training, _ in losses], rows, "o", color=COLOURS[0], label="training")
        validation = [validation[-1] for *_, validation in losses]
        if np.isfinite(validation).any():
            axes.plot(validation, rows, "s", color=COLOURS[1], markerfacecolor="none", label="validation")
        _name_rows(axes, [variant for variant, *_ in losses])
        axes.set_xlabel("loss")

    return picture(name, caption, _describe_losses(losses), draw, rows=0.8 + 0.45 * len(losses))


def lengths_picture(
    name: str, caption: str, lengths: Sequence[tuple[str, np.ndarray]], expert: np.ndarray, edges: np.ndarray
) -> Picture:
    """Draw histograms of episode lengths, as fractions of the episodes; the expert's is filled."""

    def draw(axes: Axes) -> None:
        if len(expert):
            weights = np.full(len(expert), 1 / len(expert))
            axes.hist(expert, edges, weights=weights, color=COLOURS[6], alpha=0.4, label="expert, measured now")
        for i, (variant, values) in enumerate(lengths):
            weights = np.full(len(values), 1 / len(values))
            axes.hist(values, edges, weights=weights, histtype="step", label=variant, **_dashed(i))
        axes.set_xlabel("steps in an episode")
        axes.set_ylabel("fraction of episodes")

    told = [
        f"{who} {values.min():,} to {values.max():,} steps, median {np.median(values):,.0f}"
        for who, values in (*lengths, ("expert", expert))
        if len(values)
    ]
    return picture(name, caption, f"Episode lengths: {'; '.join(told)}.", draw)


def profiles_picture(name: str, caption: str, scores: Sequence[tuple[str, np.ndarray]]) -> Picture:
    """Draw the fraction of each policy's episodes above a normalised score."""
    everything = np.concatenate([values for _, values in scores])
    thresholds = np.linspace(max(everything.min(), -1.0) - 0.02, max(everything.max(), 1.0) + 0.05, 200)

    def draw(axes: Axes) -> None:
        for i, (who, values) in enumerate(scores):
            axes.plot(thresholds, performance_profile(values, thresholds), label=who, **_dashed(i))
        for score, who in ((0.0, "random"), (1.0, "expert")):
            axes.axvline(score, color=COLOURS[6], linewidth=1)
            axes.annotate(who, (score, 1.02), ha="center", fontsize=8, xycoords=("data", "axes fraction"))
        axes.set_xlabel("score (random policy 0, expert 1)")
        axes.set_ylabel("fraction of episodes above it")

    half = "; ".join(f"{who} {performance_profile(values, np.array([0.5]))[0]:.0%}" for who, values in scores)
    alt = f"Fraction of episodes that reach more than half of the way from random to expert: {half}."
    return picture(name, caption, alt, draw)


def _dashed(i: int) -> dict[str, Any]:
    """Return the style of the unmarked line number `i`."""
    return {"color": COLOURS[i], "linestyle": ("-", *DASHES)[i % AT_ONCE], "linewidth": 1.8}


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write each name above its row: next to it, a long one would leave no room."""
    axes.set_ylim(len(names) - 0.6, -0.9)  # the first on top
    axes.set_yticks([])
    for y, name in enumerate(names):
        axes.annotate(name, (0.01, y - 0.18), xycoords=("axes fraction", "data"), fontsize=9, va="bottom")


def _describe_losses(losses: Sequence[Losses]) -> str:
    told = []
    for variant, itrs, training, validation in losses:
        held_out = f", validation {validation[-1]:.4g}" if np.isfinite(validation[-1]) else ""
        told.append(f"{variant} training {training[-1]:.4g}{held_out} in iteration {itrs[-1]}")
    return "Losses: " + "; ".join(told) + "."
