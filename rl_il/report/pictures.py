"""The figures of a page. Each is readable on a phone and has its legend below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.report.figures import (
    COLOURS,
    DASHES,
    Curve,
    add_legend_below,
    draw_curves,
    draw_levels,
    encode,
    inline_svg,
    marked,
    new_figure,
    wrapped,
)
from rl_il.report.page import Picture
from rl_il.report.tables import EXPERT_ROW, Result, interval_kind, measure_name, span
from rl_il.statistics import performance_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AT_ONCE = 5  # maximum number of curves in a picture, the number of line styles
MAX_TICKS = 12  # maximum number of ticks on a logarithmic axis
WIDTH, HEIGHT = 4.5, 3.0  # inches; then text of 10 points is readable on a phone that is 360 pixels wide
ROW_WIDTH = WIDTH - 0.4  # inches for the name of a row
Losses = tuple[str, Sequence[int], Sequence[float], Sequence[float]]
"""A variant's name, its iterations, its training loss and its validation loss (NaN if there is none)."""


def picture(name: str, caption: str, alt: str, draw: Callable[[Axes], Any], rows: float = HEIGHT) -> Picture:
    """Return the figure that `draw` draws on its axes. It is `rows` inches high, without the legend below."""
    with new_figure(size=(WIDTH, rows), formulas=False) as (figure, (axes,)):  # a name may have dollar signs
        draw(axes)
        add_legend_below(axes)
        return Picture(name, caption, alt, inline_svg(figure, alt), encode(figure, "svg"))


def in_parts(items: Sequence, size: int = AT_ONCE) -> Iterator[tuple[str, Sequence]]:
    """Yield the items in parts of at most `size`, each with a suffix for the name of its picture."""
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
    """Draw the mean return against a quantity, with its 95 % band or standard deviation (`std`), and level lines.

    With `log`, the axis is logarithmic if there are only a few positions and the last is at least 10 times the first.
    """

    def draw(axes: Axes) -> None:
        draw_curves(axes, curves, levels, legend=False, std=std)
        positions = sorted({float(x) for curve in curves for x in curve.x})
        if log and len(positions) <= MAX_TICKS and 0 < 10 * positions[0] <= positions[-1]:
            axes.set_xscale("log")
            axes.set_xticks(positions, [f"{x:g}" for x in positions], fontsize=9, rotation=30)
            axes.set_xticks([], minor=True)
        axes.set_xlabel(x_label)

    described = [
        f"{curve.name} goes from {curve.points[0].mean:.1f} at {_position(curve.x[0])} to"
        f" {curve.points[-1].mean:.1f} at {_position(curve.x[-1])}"
        for curve in curves
    ]
    described += [f"{level.name} {level.show(level.mean)}" for level in levels]
    return picture(name, caption, f"Mean return against {x_label}: {'; '.join(described)}.", draw)


def _position(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:g}"


def results_picture(name: str, caption: str, results: Sequence[Result], levels: Sequence[Result]) -> Picture:
    """Draw a row for each policy: its mean, the 95 % interval, and the means of its seeds as small dots."""

    def draw(axes: Axes) -> None:
        """Draw a row for each result, and the levels."""
        for y, result in enumerate(results):
            axes.plot(result.interval, [y, y], color=COLOURS[0], linewidth=3, solid_capstyle="butt", alpha=0.6)
            axes.plot(result.mean, y, "o", color=COLOURS[0])
            if len(result.scores) > 1:
                axes.plot(result.seed_means, [y] * len(result.scores), ".", color=COLOURS[0], alpha=0.5)
        draw_levels(axes, levels, [axes.get_xlim()], 1, rows=len(results))
        _name_rows(axes, [result.name for result in results])
        axes.set_xlabel(measure_name(results))

    intervals = [(result, span(result.interval, result.measure.digits)) for result in (*results, *levels)]
    described = [
        f"{each.name} {each.show(each.mean)}"
        + (f" (95 % interval {ends}, over {interval_kind([each])})" if ends else "")
        for each, ends in intervals
    ]
    height = _height_of_rows([result.name for result in results])
    return picture(name, caption, f"Mean {measure_name(results)}s: {'; '.join(described)}.", draw, height)


def losses_picture(name: str, caption: str, losses: Sequence[Losses]) -> Picture:
    """Draw the training loss (solid lines) and the validation loss (dashed lines) against the iteration."""

    def draw(axes: Axes) -> None:
        """Draw the two lines of each variant."""
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
    """Draw a row for each variant: the training loss (full mark) and validation loss (empty mark) at the end."""

    def draw(axes: Axes) -> None:
        rows = range(len(losses))
        axes.plot([training[-1] for *_, training, _ in losses], rows, "o", color=COLOURS[0], label="training")
        validation = [validation[-1] for *_, validation in losses]
        if np.isfinite(validation).any():
            axes.plot(validation, rows, "s", color=COLOURS[1], markerfacecolor="none", label="validation")
        _name_rows(axes, [variant for variant, *_ in losses])
        axes.set_xlabel("loss")

    return picture(name, caption, _describe_losses(losses), draw, _height_of_rows([who for who, *_ in losses]))


def lengths_picture(
    name: str, caption: str, lengths: Sequence[tuple[str, np.ndarray]], expert: np.ndarray, edges: np.ndarray
) -> Picture:
    """Draw histograms of episode lengths, as fractions of the episodes. Only the expert's histogram is filled."""

    def draw(axes: Axes) -> None:
        """Draw the histograms over the same bins."""
        if len(expert):
            weights = np.full(len(expert), 1 / len(expert))
            axes.hist(expert, edges, weights=weights, color=COLOURS[6], alpha=0.4, label=EXPERT_ROW)
        for i, (variant, values) in enumerate(lengths):
            weights = np.full(len(values), 1 / len(values))
            axes.hist(values, edges, weights=weights, histtype="step", label=variant, **_dashed(i))
        axes.set_xlabel("steps in an episode")
        axes.set_ylabel("fraction of episodes")

    described = [
        f"{who} {values.min():,} to {values.max():,} steps, median {np.median(values):,.0f}"
        for who, values in (*lengths, ("expert", expert))
        if len(values)
    ]
    return picture(name, caption, f"Episode lengths: {'; '.join(described)}.", draw)


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
        axes.set_xlabel("normalised score (random policy 0, expert 1)")
        axes.set_ylabel("fraction of episodes above it")

    half = "; ".join(f"{who} {performance_profile(values, np.array([0.5]))[0]:.0%}" for who, values in scores)
    alt = "Fraction of episodes with a normalised score above 0.5, halfway from the random policy to the expert:"
    alt += f" {half}."
    return picture(name, caption, alt, draw)


def _dashed(i: int) -> dict[str, Any]:
    """Return the style of line number `i`, which has no markers."""
    return {"color": COLOURS[i], "linestyle": ("-", *DASHES)[i % AT_ONCE], "linewidth": 1.8}


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write each name above its row, since long names next to the rows would leave no room for the marks."""
    axes.set_ylim(len(names) - 0.6, -0.9)  # the first on top
    axes.set_yticks([])
    for y, name in enumerate(names):
        place = {"xycoords": ("axes fraction", "data"), "va": "bottom", "linespacing": 1}
        axes.annotate(wrapped(name, ROW_WIDTH), (0.01, y - 0.18), fontsize=9, **place)


def _height_of_rows(names: Sequence[str]) -> float:
    """Return the height, in inches, of axes whose rows have these names above them."""
    lines = max(wrapped(name, ROW_WIDTH).count("\n") + 1 for name in names)
    return 0.8 + (0.3 + 0.15 * lines) * len(names)


def _describe_losses(losses: Sequence[Losses]) -> str:
    described = []
    for variant, itrs, training, validation in losses:
        held_out = f", validation {validation[-1]:.4g}" if np.isfinite(validation[-1]) else ""
        described.append(f"{variant} training {training[-1]:.4g}{held_out} in iteration {itrs[-1]}")
    return "Losses: " + "; ".join(described) + "."
