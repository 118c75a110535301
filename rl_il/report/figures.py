"""Figures of results: the mean with its interval, and every other policy as a level line.

One palette (Okabe and Ito 2008, safe for the colour-blind) and one look for all. The same input gives the same
bytes.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.files import atomic_write
from rl_il.report.tables import Result

if TYPE_CHECKING:  # 0.6 s, which only those who draw should wait for
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#777777")
MARKERS = "osD^vP*"
DASHES = ("--", ":", "-.", (0, (3, 1, 1, 1, 1, 1)))
INK = "#101214"  # of text and axes; a page puts its own colour in its place


@dataclass(frozen=True)
class Curve:
    """One line of a figure: a result at each position."""

    name: str
    x: Sequence[float]
    points: Sequence[Result]


def marked(i: int) -> dict[str, str]:
    """Return the colour and the marker of the line number `i`."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


@contextmanager
def new_figure(columns: int = 1, size: tuple[float, float] = (8, 5)) -> Iterator[tuple[Figure, list[Axes]]]:
    """Make a figure with `columns` pictures side by side, closed at the end; nothing is shown on a screen."""
    import matplotlib

    matplotlib.use("Agg")  # draws into a file; no display is needed
    from matplotlib import pyplot

    look = {"svg.hashsalt": "rl_il", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3}
    look |= dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with matplotlib.rc_context(look):
        figure, axes = pyplot.subplots(1, columns, figsize=size, layout="constrained", squeeze=False)
        try:
            yield figure, list(axes[0])
        finally:
            pyplot.close(figure)


def draw_curves(
    axes: Axes,
    curves: Sequence[Curve],
    levels: Sequence[Result] = (),
    legend: bool = True,
    joined: bool = True,
    std: bool = False,
) -> None:
    """Draw each curve's mean with its 95 % band and, faintly, the means of its seeds, and the level lines.

    With `joined` false, positions are separate things, and intervals are bars next to each other. With `std`, error
    bars are one standard deviation over the episodes, and seeds have no dots.
    """
    ends = []
    for i, curve in enumerate(curves):
        style = marked(i)
        mean = np.array([point.mean for point in curve.points])
        spread = np.array([point.episodes.std() for point in curve.points])
        low, high = (mean - spread, mean + spread) if std else np.array([point.interval for point in curve.points]).T
        ends += [low, high, mean]
        if std:
            axes.plot(curve.x, mean, **style, label=curve.name)
            axes.errorbar(curve.x, mean, spread, color=style["color"], fmt="none", capsize=3)
        elif joined:
            axes.fill_between(curve.x, low, high, color=style["color"], alpha=0.25, linewidth=0)
            axes.plot(curve.x, mean, **style, label=curve.name)
        else:
            x = np.asarray(curve.x) + 0.12 * (i - (len(curves) - 1) / 2)
            bars = np.nan_to_num([mean - low, high - mean])
            axes.errorbar(x, mean, bars, fmt=style["marker"], color=style["color"], capsize=4, label=curve.name)
        seeds = [(x, seed) for x, point in zip(curve.x, curve.points, strict=True) for seed in point.seed_means]
        if len(seeds) > len(mean) and not std:
            x, y = zip(*seeds, strict=True)
            axes.plot(x, y, ".", color=style["color"], alpha=0.45, markersize=4, markeredgewidth=0)
    draw_levels(axes, levels, ends, len(curves))
    axes.set_ylabel("return")
    if legend:
        axes.legend(loc="best", fontsize=9, framealpha=0.6)


def draw_levels(axes: Axes, levels: Sequence[Result], ends: Any, n_curves: int, rows: int | None = None) -> None:
    """Draw a line for each policy, in the colours after those of the `n_curves` curves, whose values are `ends`.

    It is level; or, where the returns lie along the x axis, a short upright mark in each of `rows` rows. A policy far
    below the curves is named without being drawn: it would squash them.
    """
    least, most = (np.nanmin(np.concatenate(ends)), np.nanmax(np.concatenate(ends))) if levels else (0, 0)
    for i, level in enumerate(levels):
        outside = level.mean < least - (most - least)
        where = f", {'below' if rows is None else 'left of'} the picture" if outside else ""
        style = {"color": COLOURS[(n_curves + i) % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}
        style["label"] = f"{level.name} ({level.mean:.0f}{where})"
        if outside:
            axes.plot([], [], " ", label=style["label"])
        elif rows is None:
            axes.axhline(level.mean, **style)
        else:
            for y in range(rows):  # next to each mark, and not through the names
                axes.plot([level.mean] * 2, [y - 0.14, y + 0.2], **style)
                style["label"] = None


def add_caption(figure: Figure, caption: str) -> None:
    """Write a few lines below the picture that say what was compared."""
    width = int(figure.get_figwidth() * 16)
    figure.text(0.01, -0.02, textwrap.fill(caption, width), fontsize=8, va="top")


def save(figure: Figure, *paths: Path) -> None:
    """Write the figure to each path, in the format of its suffix."""
    for path in paths:
        with atomic_write(path) as file:
            file.write(encode(figure, path.suffix[1:]))


def encode(figure: Figure, format: str, **settings: Any) -> bytes:
    """Return the figure as a file of this format holds it."""
    picture = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if format == "svg" else {"Software": None}
    figure.savefig(picture, format=format, dpi=120, bbox_inches="tight", metadata=metadata, **settings)
    return picture.getvalue()


def inline_svg(figure: Figure, alt: str) -> str:
    """Return the figure as an `<svg>` element, described by `alt`, in a page's own colours of text and lines (its
    styles `--c1`, `--c2`, ...), with ids unlike those of the page's other figures."""
    svg = encode(figure, "svg", transparent=True).decode()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    for i, colour in enumerate(COLOURS, start=1):
        svg = svg.replace(colour, f"var(--c{i}, {colour})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    prefix = f"f{zlib.crc32((alt + svg).encode()):08x}-"
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    described = f'role="img" aria-label="{html.escape(alt)}"'.replace("\\", r"\\")
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', described, svg, count=1)


def plot_learning_curve(
    path: Path, title: str, curve: Sequence[Result], lines: Sequence[Result], caption: str
) -> None:
    """Draw mean return against DAgger's iterations, with the number of expert labels under each."""
    with new_figure() as (figure, (axes,)):
        itrs = range(len(curve))
        draw_curves(axes, [Curve("DAgger (iteration 0 is behavioural cloning), 95 % interval", itrs, curve)], lines)
        axes.set_xticks(itrs, [f"{i}\n{result.expert_labels:,.0f}" for i, result in enumerate(curve)], fontsize=8)
        axes.set_xlabel("iteration, and expert labels used so far")
        axes.set_title(title)
        add_caption(figure, caption)
        save(figure, path)
