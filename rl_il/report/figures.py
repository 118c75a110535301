"""Figures of results: curves of means with intervals, and level lines for other policies.

All figures have the same style, and the colours of Okabe and Ito (2008), which colour-blind people can distinguish.
The same input gives the same bytes.
"""

from __future__ import annotations

import html
import io
import os
import re
import sys
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.files import atomic_write
from rl_il.report.tables import Result, measure_name

if TYPE_CHECKING:  # this import takes 0.6 s, so it is done only for drawing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#777777")
MARKERS = "osD^vP*"
DASHES = ("--", ":", "-.", (0, (3, 1, 1, 1, 1, 1)))
MAX_INSIDE, MAX_LETTERS_INSIDE = 6, 60  # maximum lines of a legend inside the axes, and letters in each
LETTERS_PER_INCH = 13  # for text of 9 points
INK = "#101214"  # colour of text and axes; a page replaces it by its own colour


@dataclass(frozen=True)
class Curve:
    """A line of a figure: a result at each position."""

    name: str
    x: Sequence[float]
    points: Sequence[Result]


def marked(i: int) -> dict[str, str]:
    """Return the colour and the marker of the line number `i`."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


@contextmanager
def new_figure(
    columns: int = 1, size: tuple[float, float] = (8, 5), formulas: bool = True, rows: int = 1
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure with `columns` axes side by side in each of `rows` rows.

    Unless `formulas`, a dollar sign in a text is a dollar sign. The figure is for files and needs no display.
    `pyplot` does not know it, so a user's notebook keeps its own figures.
    """
    matplotlib = import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    look = {"svg.hashsalt": "rl_il", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3}
    look |= dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with matplotlib.rc_context(look | {"text.parse_math": formulas}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def import_matplotlib() -> ModuleType:
    """Import matplotlib, also if MPLBACKEND names a backend that this Python does not have.

    Jupyter and Colab give `MPLBACKEND=module://matplotlib_inline.backend_inline` to each process that a cell starts
    with `!python`. If this module is not installed, the first import of matplotlib raises `ValueError`.
    """
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):  # what matplotlib does with it, but a wrong name is no error
            matplotlib.rcParams["backend"] = backend
    return matplotlib


def draw_curves(
    axes: Axes,
    curves: Sequence[Curve],
    levels: Sequence[Result] = (),
    legend: bool = True,
    joined: bool = True,
    std: bool = False,
) -> None:
    """Draw the mean of each curve with its 95 % band, the means of its seeds as small dots, and the level lines.

    If `joined` is false, the positions are categories, and the intervals are bars next to each other. With `std`,
    draw error bars of one standard deviation of the episodes within a seed instead of the band and the dots.
    """
    ends = []
    for i, curve in enumerate(curves):
        style = marked(i)
        mean = np.array([point.mean for point in curve.points])
        spread = np.array([point.episode_std for point in curve.points])
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
            bars = np.array([mean - low, high - mean])
            axes.errorbar(x, mean, bars, fmt=style["marker"], color=style["color"], capsize=4, label=curve.name)
        seeds = [(x, seed) for x, point in zip(curve.x, curve.points, strict=True) for seed in point.seed_means]
        if len(seeds) > len(mean) and not std:
            x, y = zip(*seeds, strict=True)
            axes.plot(x, y, ".", color=style["color"], alpha=0.45, markersize=4, markeredgewidth=0)
    draw_levels(axes, levels, ends, len(curves))
    axes.set_ylabel(measure_name(point for curve in curves for point in curve.points))
    if legend:
        add_legend(axes)


def add_legend(axes: Axes) -> None:
    """Add a legend: inside the axes if it has only a few short names, else below the axes."""
    labels = axes.get_legend_handles_labels()[1]
    if len(labels) <= MAX_INSIDE and max(map(len, labels), default=0) <= MAX_LETTERS_INSIDE:
        axes.legend(loc="best", fontsize=9, framealpha=0.6)
    else:
        add_legend_below(axes)


def add_legend_below(axes: Axes) -> None:
    """Add a legend below the axes, with each name once.

    The figure becomes higher by the height of the legend, so that the axes keep their size. It does not become wider,
    since long names are broken into several lines.
    """
    figure = axes.figure
    lines = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if not lines:
        return
    names = [wrapped(name, figure.get_figwidth() - 0.7) for name in lines]  # 0.7 inches for the samples of the lines
    legend = figure.legend(lines.values(), names, loc="outside lower center", frameon=False, fontsize=9)
    pixels = legend.get_window_extent(figure.canvas.get_renderer()).height
    figure.set_figheight(figure.get_figheight() + pixels / figure.dpi)


def wrapped(name: str, inches: float) -> str:
    """Return the name, broken into lines of at most this width in text of 9 points."""
    return textwrap.fill(name, int(inches * LETTERS_PER_INCH), break_on_hyphens=False)


def draw_levels(axes: Axes, levels: Sequence[Result], ends: Any, n_curves: int, rows: int | None = None) -> None:
    """Draw a level line for each policy, in the next colours after those of the `n_curves` curves.

    The line is horizontal. If `rows` is given, scores are on the x axis, and the line is a short vertical mark in
    each row. `ends` are the values of the curves. A policy far below them is only named in the legend, since the
    figure with its line would have no room for the curves.
    """
    low, high = (np.nanmin(np.concatenate(ends)), np.nanmax(np.concatenate(ends))) if levels else (0, 0)
    for i, level in enumerate(levels):
        outside = level.mean < low - (high - low)
        where = f", {'below' if rows is None else 'left of'} the picture" if outside else ""
        style = {"color": COLOURS[(n_curves + i) % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}
        style["label"] = f"{level.name} ({level.show(level.mean)}{where})"
        if outside:
            axes.plot([], [], " ", label=style["label"])
        elif rows is None:
            axes.axhline(level.mean, **style)
        else:
            for y in range(rows):  # only next to the marks, not across the names
                axes.plot([level.mean] * 2, [y - 0.14, y + 0.2], **style)
                style["label"] = None


def add_caption(figure: Figure, caption: str) -> None:
    """Write the caption below the figure, in a few lines. The figure must be complete."""
    if figure.legends:  # their place depends on the size of the picture, so that they would move onto the caption
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for legend in figure.legends:
            legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
    width = int(figure.get_figwidth() * 16)
    figure.text(0.01, -0.02, textwrap.fill(caption, width), fontsize=8, va="top")


def save(figure: Figure, *paths: Path) -> None:
    """Write the figure to each path, in the format of its suffix."""
    for path in paths:
        with atomic_write(path) as file:
            file.write(encode(figure, path.suffix[1:]))


def encode(figure: Figure, format: str, **settings: Any) -> bytes:
    """Return the bytes of the figure's file in this format."""
    picture = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if format == "svg" else {"Software": None}
    figure.savefig(picture, format=format, dpi=120, bbox_inches="tight", metadata=metadata, **settings)
    return with_palette(picture) if format == "png" else picture.getvalue()


def with_palette(png: io.BytesIO) -> bytes:
    """Return a PNG file with a palette of at most 256 colours, which has about a third of the bytes."""
    from PIL import Image  # matplotlib needs it too

    smaller = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def inline_svg(figure: Figure, alt: str) -> str:
    """Return the figure as an `<svg>` element, with `alt` as its description.

    Text and lines have the colours of the page (its styles `--c1`, `--c2`, ...). The ids in the element differ from
    those of other figures on the page.
    """
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
    """Write a figure of the mean return against DAgger's iterations, with the number of expert labels at each."""
    with new_figure() as (figure, (axes,)):
        itrs = range(len(curve))
        draw_curves(axes, [Curve("DAgger (iteration 0 is behavioural cloning), 95 % interval", itrs, curve)], lines)
        axes.set_xticks(itrs, [f"{i}\n{result.expert_labels:,.0f}" for i, result in enumerate(curve)], fontsize=8)
        axes.set_xlabel("iteration, and expert labels used so far")
        axes.set_title(title)
        add_caption(figure, caption)
        save(figure, path)
