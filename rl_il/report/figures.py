"""Figures of results: the mean with its interval, and every other policy as a level line.

One palette (Okabe and Ito 2008, safe for the colour-blind) and one look for all. The same input gives the same
bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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


@contextmanager
def new_figure(columns: int = 1, size: tuple[float, float] = (8, 5)) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with `columns` pictures side by side, closed at the end; nothing is shown on a screen."""
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
    axes: Axes, curves: Sequence[Curve], levels: Sequence[Result] = (), legend: bool = True, joined: bool = True
) -> None:
    """Each curve's mean with its 95 % band and, faintly, the means of its seeds; a level line for each other policy.

    With `joined` false, positions are separate things, and intervals are bars beside each other. A policy far below
    the curves is named without being drawn: it would squash them.
    """
    bands = [np.array([point.interval for point in curve.points]).T for curve in curves]
    means = [np.array([point.mean for point in curve.points]) for curve in curves]
    for i, (curve, mean, (low, high)) in enumerate(zip(curves, means, bands, strict=True)):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        if joined:
            axes.fill_between(curve.x, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.plot(curve.x, mean, marker=marker, color=colour, label=curve.name)
        else:
            x = np.asarray(curve.x) + 0.12 * (i - (len(curves) - 1) / 2)
            bars = np.nan_to_num([mean - low, high - mean])
            axes.errorbar(x, mean, bars, fmt=marker, color=colour, capsize=4, label=curve.name)
        seeds = [(x, seed) for x, point in zip(curve.x, curve.points, strict=True) for seed in point.seed_means]
        if len(seeds) > len(mean):
            axes.plot(*zip(*seeds, strict=True), ".", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
    shown = np.concatenate([*(band.ravel() for band in bands), *means])
    draw_levels(axes, levels, np.nanmin(shown), np.nanmax(shown), len(curves))
    axes.set_ylabel("return")
    if legend:
        axes.legend(loc="best", fontsize=9, framealpha=0.6)


def draw_levels(axes: Axes, levels: Sequence[Result], least: float, most: float, n_curves: int) -> None:
    """A level line for each policy, in the colours after those of the `n_curves` curves, which lie between `least`
    and `most`; one far below them is named without being drawn."""
    for i, level in enumerate(levels):
        below = level.mean < least - (most - least)
        label = f"{level.name} ({level.mean:.0f}{', below the picture' if below else ''})"
        if below:
            axes.plot([], [], " ", label=label)
        else:
            colour = COLOURS[(n_curves + i) % len(COLOURS)]
            axes.axhline(level.mean, color=colour, linestyle=DASHES[i % len(DASHES)], label=label)


def add_caption(figure: Figure, caption: str) -> None:
    """A few lines below the picture that say what was compared."""
    import textwrap

    width = int(figure.get_figwidth() * 16)
    figure.text(0.01, -0.02, textwrap.fill(caption, width), fontsize=8, va="top")


def save(figure: Figure, *paths: Path) -> None:
    """Writes the figure to each path, in the format of its suffix."""
    for path in paths:
        with atomic_write(path) as file:
            file.write(encode(figure, path.suffix[1:]))


def encode(figure: Figure, format: str) -> bytes:
    """The figure as a file of this format holds it."""
    picture = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if format == "svg" else {"Software": None}
    figure.savefig(picture, format=format, dpi=120, bbox_inches="tight", metadata=metadata)
    return picture.getvalue()


def inline_svg(figure: Figure, alt: str) -> str:
    """The figure as an `<svg>` element for a page: described by `alt`, without a background, its text and axes in the
    page's own colour, its ids unlike those of the page's other figures.

    The colours are the page's too, where it has a style for `--c1`, `--c2`, ...: darker or lighter `COLOURS`.
    """
    import html
    import zlib

    text = io.StringIO()
    figure.savefig(
        text, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None, "Creator": None}
    )
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    for i, colour in enumerate(COLOURS, start=1):
        svg = svg.replace(colour, f"var(--c{i}, {colour})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    prefix = f"f{zlib.crc32((alt + svg).encode()):08x}-"
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    size = re.search(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"', svg, re.DOTALL)
    svg = svg.replace(f'width="{size[1]}pt" height="{size[2]}pt"', f'role="img" aria-label="{html.escape(alt)}"', 1)
    return svg


def plot_learning_curve(
    path: Path, title: str, curve: Sequence[Result], lines: Sequence[Result], caption: str
) -> None:
    """Draws mean return against DAgger's iterations, with the number of expert labels under each.

    `caption` says what was compared.
    """
    with new_figure() as (figure, (axes,)):
        itrs = range(len(curve))
        draw_curves(axes, [Curve("DAgger (iteration 0 is behavioural cloning), 95 % interval", itrs, curve)], lines)
        axes.set_xticks(itrs, [f"{i}\n{result.expert_labels:,.0f}" for i, result in enumerate(curve)], fontsize=8)
        axes.set_xlabel("iteration, and expert labels used so far")
        axes.set_title(title)
        add_caption(figure, caption)
        save(figure, path)
