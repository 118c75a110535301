"""The figures of a page: one question each, small enough for a phone, with the legend below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.report.figures import (
    COLOURS,
    DASHES,
    MARKERS,
    Curve,
    draw_curves,
    draw_levels,
    encode,
    inline_svg,
    new_figure,
)
from rl_il.report.page import Picture
from rl_il.report.tables import Result
from rl_il.statistics import performance_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AT_ONCE = 5  # curves in one picture: as many as there are line styles
WIDTH, HEIGHT = 4.5, 3.0  # inches of the axes' share; 10-point text stays readable where a phone shows 360 pixels


def picture(name: str, caption: str, alt: str, draw: Callable[[Axes], Any], rows: float = HEIGHT) -> Picture:
    """Draws one figure.

    Args:
      name: its file's name.
      caption: what stands below it.
      alt: what it shows, in words and numbers.
      draw: draws on the axes; labelled lines get a legend.
      rows: inches of height without the legend.
    """
    from matplotlib import rc_context

    with new_figure(size=(WIDTH, rows)) as (figure, (axes,)), rc_context({"text.parse_math": False}):
        draw(axes)  # a name with dollar signs is no formula
        labels = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if labels:
            figure.set_figheight(rows + 0.2 * len(labels))
            figure.legend(
                labels.values(), labels.keys(), loc="outside lower center", frameon=False, fontsize=9, ncols=1
            )
        return Picture(name, caption, alt, inline_svg(figure, alt), encode(figure, "svg"))


def in_parts(items: Sequence, size: int = AT_ONCE) -> Iterator[tuple[str, Sequence]]:
    """The items, at most `size` at a time, each part with a suffix for its picture's name."""
    for start in range(0, len(items), size):
        yield f"_{start // size + 1}" if len(items) > size else "", items[start : start + size]


def curves_picture(
    name: str, caption: str, x_label: str, curves: Sequence[Curve], levels: Sequence[Result], log: bool = False
) -> Picture:
    """Mean return with its 95 % band against anything, and level lines for other policies."""

    def draw(axes: Axes) -> None:
        draw_curves(axes, curves, levels, legend=False)
        if log:
            axes.set_xscale("log")
            positions = sorted({float(x) for curve in curves for x in curve.x})
            axes.set_xticks(positions, [f"{x:g}" for x in positions], fontsize=9, rotation=30)
            axes.set_xticks([], minor=True)
        axes.set_xlabel(x_label)

    return picture(name, caption, _describe(f"return against {x_label}", curves, levels), draw)


def error_bars_picture(
    name: str, caption: str, x_label: str, curves: Sequence[Curve], levels: Sequence[Result]
) -> Picture:
    """Mean return with one standard deviation over the episodes as error bars, and level lines."""

    def draw(axes: Axes) -> None:
        ends = []
        for i, curve in enumerate(curves):
            means, stds = (np.array(x) for x in zip(*((p.mean, p.episodes.std()) for p in curve.points), strict=True))
            axes.plot(curve.x, means, color=COLOURS[i], marker=MARKERS[i], label=curve.name)
            axes.errorbar(curve.x, means, stds, color=COLOURS[i], fmt="none", capsize=3)
            ends += [means - stds, means + stds]
        draw_levels(axes, levels, np.min(ends), np.max(ends), len(curves))
        axes.set_xlabel(x_label)
        axes.set_ylabel("return")

    return picture(name, caption, _describe(f"return against {x_label}", curves, levels), draw)


def results_picture(name: str, caption: str, results: Sequence[Result], levels: Sequence[Result]) -> Picture:
    """A row a policy: the mean's 95 % interval, and faintly the means of its seeds."""

    def draw(axes: Axes) -> None:
        for y, result in enumerate(results):
            low, high = result.interval
            axes.plot([low, high], [y, y], color=COLOURS[0], linewidth=3, solid_capstyle="butt", alpha=0.6)
            axes.plot(result.mean, y, "o", color=COLOURS[0])
            if len(result.returns) > 1:
                axes.plot(result.seed_means, [y] * len(result.returns), ".", color=COLOURS[0], alpha=0.5)
        left, right = axes.get_xlim()
        for i, level in enumerate(levels):
            below = level.mean < left - (right - left)
            label = f"{level.name} ({level.mean:.0f}{', left of the picture' if below else ''})"
            if below:
                axes.plot([], [], " ", label=label)
            else:
                style = {"color": COLOURS[1 + i % 6], "linestyle": DASHES[i % len(DASHES)], "label": label}
                for y in range(len(results)):  # beside each mark, and not through the names
                    axes.plot([level.mean] * 2, [y - 0.14, y + 0.2], **style)
                    style["label"] = None
        _name_rows(axes, [result.name for result in results])
        axes.set_xlabel("return")

    alt = "Mean returns: " + "; ".join(f"{result.name} {_score(result)}" for result in [*results, *levels]) + "."
    return picture(name, caption, alt, draw, rows=0.8 + 0.45 * len(results))


def losses_picture(name: str, caption: str, losses: Sequence[tuple[str, Sequence[int], Any, Any]]) -> Picture:
    """Training loss (full lines) and validation loss (broken ones) against the iteration.

    Args:
      losses: of each variant the name, the iterations, and the two losses, not-a-number where there is none.
    """

    def draw(axes: Axes) -> None:
        for i, (variant, itrs, training, validation) in enumerate(losses):
            style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 5}
            axes.plot(itrs, training, **style, label=f"{variant}, training")
            if np.isfinite(validation).any():
                axes.plot(itrs, validation, "--", **style, markerfacecolor="none", label=f"{variant}, validation")
        axes.set_xlabel("iteration")
        axes.set_ylabel("loss")
        axes.xaxis.get_major_locator().set_params(integer=True)

    return picture(name, caption, _describe_losses(losses), draw)


def loss_rows_picture(name: str, caption: str, losses: Sequence[tuple[str, Sequence[int], Any, Any]]) -> Picture:
    """A row a variant: its training loss (full mark) and validation loss (empty mark) at the end."""

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
    """Histograms of episode lengths, as fractions of the episodes; the expert's is filled."""

    def draw(axes: Axes) -> None:
        if len(expert):
            weights = np.full(len(expert), 1 / len(expert))
            axes.hist(expert, edges, weights=weights, color=COLOURS[6], alpha=0.4, label="expert, measured now")
        for i, (variant, values) in enumerate(lengths):
            weights = np.full(len(values), 1 / len(values))
            style = {"color": COLOURS[i], "linestyle": ("-", *DASHES)[i % 5], "linewidth": 1.8}
            axes.hist(values, edges, weights=weights, histtype="step", label=variant, **style)
        axes.set_xlabel("steps in an episode")
        axes.set_ylabel("fraction of episodes")

    told = [*lengths, *([("expert", expert)] if len(expert) else [])]
    alt = "Episode lengths: " + "; ".join(
        f"{who} {values.min():,} to {values.max():,} steps, median {np.median(values):,.0f}" for who, values in told
    )
    return picture(name, caption, alt + ".", draw)


def profiles_picture(name: str, caption: str, scores: Sequence[tuple[str, np.ndarray]]) -> Picture:
    """The fraction of each policy's episodes above a normalised score."""
    everything = np.concatenate([values for _, values in scores])
    thresholds = np.linspace(max(everything.min(), -1.0) - 0.02, max(everything.max(), 1.0) + 0.05, 200)

    def draw(axes: Axes) -> None:
        for i, (who, values) in enumerate(scores):
            style = {"color": COLOURS[i], "linestyle": ("-", *DASHES)[i % 5], "linewidth": 1.8}
            axes.plot(thresholds, performance_profile(values, thresholds), label=who, **style)
        for score, who in ((0.0, "random"), (1.0, "expert")):
            axes.axvline(score, color=COLOURS[6], linewidth=1)
            axes.annotate(who, (score, 1.02), ha="center", fontsize=8, xycoords=("data", "axes fraction"))
        axes.set_xlabel("score (random policy 0, expert 1)")
        axes.set_ylabel("fraction of episodes above it")

    alt = "Fraction of episodes that reach more than half of the way from random to expert: " + "; ".join(
        f"{who} {performance_profile(values, np.array([0.5]))[0]:.0%}" for who, values in scores
    )
    return picture(name, caption, alt + ".", draw)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Each name above its row: beside it, a long one would leave no room."""
    axes.set_ylim(len(names) - 0.6, -0.9)  # the first on top
    axes.set_yticks([])
    for y, name in enumerate(names):
        axes.annotate(name, (0.01, y - 0.18), xycoords=("axes fraction", "data"), fontsize=9, va="bottom")


def _score(result: Result) -> str:
    low, high = result.interval
    return f"{result.mean:.1f}" + ("" if np.isnan(low) else f" (95 % interval {low:.1f} to {high:.1f})")


def _describe(what: str, curves: Sequence[Curve], levels: Sequence[Result]) -> str:
    told = [
        f"{curve.name} goes from {curve.points[0].mean:.1f} at {_position(curve.x[0])} to"
        f" {curve.points[-1].mean:.1f} at {_position(curve.x[-1])}"
        for curve in curves
    ]
    return f"Mean {what}: " + "; ".join(told + [f"{level.name} {level.mean:.1f}" for level in levels]) + "."


def _position(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:g}"


def _describe_losses(losses: Sequence[tuple[str, Sequence[int], Any, Any]]) -> str:
    told = []
    for variant, itrs, training, validation in losses:
        held_out = f", validation {validation[-1]:.4g}" if np.isfinite(validation[-1]) else ""
        told.append(f"{variant} training {training[-1]:.4g}{held_out} in iteration {itrs[-1]}")
    return "Losses: " + "; ".join(told) + "."
