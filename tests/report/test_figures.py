"""Figures of results made by hand."""

import re
import xml.dom.minidom

import imageio.v3 as imageio
import numpy as np
import pytest
from matplotlib import pyplot

from rl_il.report.figures import (
    COLOURS,
    Curve,
    add_caption,
    add_legend_below,
    draw_curves,
    encode,
    inline_svg,
    new_figure,
    plot_learning_curve,
)
from rl_il.report.tables import Result

EXPERT = Result("expert", [np.array([100.0, 300.0])])
CLONE = Result("clone", [np.array([10.0, 20.0, 30.0, 40.0])], expert_labels=1234)


def curve_of(*means: float) -> list[Result]:
    return [Result(f"iteration {i}", [mean + np.array([-5.0, 5.0])], 100 * i) for i, mean in enumerate(means)]


def test_the_learning_curve_is_a_picture_of_its_numbers(tmp_path):
    path = tmp_path / "new" / "curve.png"
    single = [Result(f"iteration {i}", [np.array([float(i)])], i) for i in range(3)]  # without a band
    pictures = []
    for curve in (curve_of(10, 50, 90), curve_of(90, 50, 10), single):
        plot_learning_curve(path, "Corridor-v0", curve, [EXPERT, CLONE], "what was compared")
        pictures.append(imageio.imread(path))
    first, other, _ = pictures
    blue = np.abs(first[..., :3].astype(int) - [0x00, 0x72, 0xB2]).max(axis=2) < 10
    assert blue.sum() > 500
    assert 0.5 < (first == 255).all(axis=2).mean() < 0.98  # mostly white, but not blank
    assert other.shape != first.shape or (other != first).any()
    assert pyplot.get_fignums() == []  # nothing is left open


def drawn_on(curves, levels=(), **settings):
    """Return the axes on which the curves were drawn."""
    with new_figure() as (_, (axes,)):
        draw_curves(axes, curves, levels, **settings)
        return axes


def level_lines(axes) -> int:
    return sum(len({*line.get_ydata()}) == 1 and len(line.get_xdata()) == 2 for line in axes.lines)


def test_other_policies_are_level_lines_with_their_scores():
    axes = drawn_on([Curve("curve", range(3), curve_of(10, 50, 90))], [EXPERT, CLONE])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["curve", "expert (200.0)", "clone (25.0)"]
    assert level_lines(axes) == 2


def test_a_policy_far_below_does_not_compress_the_curve():
    untrained = Result("untrained", [np.array([-5000.0, -5000.0])])
    axes = drawn_on([Curve("curve", range(3), curve_of(10, 50, 90))], [untrained])
    assert "untrained (-5000.0, " in axes.get_legend().get_texts()[-1].get_text()
    assert axes.get_ylim()[0] > -200
    assert level_lines(axes) == 0


def test_the_means_of_seeds_are_dots():
    axes = drawn_on([Curve("a", [7], [Result("x", [np.array([0.0, 2.0]), np.array([5.0, 5.0])])])])
    dots = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "."]
    assert dots == [[[7, 1], [7, 5]]]


def test_error_bars_are_one_standard_deviation_within_a_seed():
    seeds = [np.array([0.0, 2.0, 4.0]), np.array([10.0, 12.0, 14.0])]
    axes = drawn_on([Curve("a", [7], [Result("x", seeds)])], std=True)
    ((segment,),) = [lines.get_segments() for lines in axes.containers[0].lines[2]]
    assert segment.tolist() == [[7, 5], [7, 9]]


def test_categories_are_not_joined():
    axes = drawn_on([Curve(name, [0, 1], curve_of(1, 2)) for name in "ab"], joined=False)
    means = [bar.lines[0] for bar in axes.containers]
    assert [line.get_linestyle() for line in means] == ["None", "None"]
    assert means[0].get_xdata()[0] < 0 < means[1].get_xdata()[0]  # next to each other


def drawn_size(*names: str, below: bool = False) -> tuple[float, float, float]:
    """Return the inches of the axes' width and height, and of the figure's width with all that is drawn."""
    with new_figure(size=(4.5, 3.0)) as (figure, (axes,)):
        draw_curves(axes, [Curve(name, [0, 1], curve_of(1, 2)) for name in names], legend=not below)
        if below:
            add_legend_below(axes)
        figure.canvas.draw()
        box = axes.get_window_extent()
        inches = figure.get_tightbbox().width
        return box.width / figure.dpi, box.height / figure.dpi, inches


LONG = [f"expert_data demonstrations_of_another_expert_{i}.npz, learning_rate 0.005, size {i}" for i in range(12)]


def test_a_legend_of_long_names_leaves_the_axes_their_size():
    short = drawn_size("a", "b", below=True)
    assert drawn_size(*LONG, below=True) == pytest.approx(short, abs=0.1)
    assert drawn_size(*"abcdefghijkl") == pytest.approx(drawn_size("a"), abs=0.1)


def test_a_legend_below_the_axes_is_above_the_caption():
    with new_figure() as (figure, (axes,)):
        draw_curves(axes, [Curve("a curve", [0, 1], curve_of(1, 2))], legend=False)
        add_legend_below(axes)
        add_caption(figure, "caption " * 100)
        svg = encode(figure, "svg").decode()
    (legend,) = re.findall(r' y="([\d.]+)"[^>]*>a curve<', svg)
    caption = re.findall(r'translate\([\d.]+ ([\d.]+)\)">caption', svg)
    assert len(caption) > 3 and float(legend) < min(map(float, caption))


def svg_of(alt: str = "two curves") -> str:
    with new_figure() as (figure, (axes,)):
        draw_curves(axes, [Curve("a", [0, 1, 2], curve_of(1, 2, 3)), Curve("b", [0, 1, 2], curve_of(3, 2, 1))])
        return inline_svg(figure, alt)


def test_an_inline_figure_is_one_described_element():
    svg = svg_of("a < \\1 b")
    root = xml.dom.minidom.parseString(svg).documentElement
    assert (root.tagName, root.getAttribute("role"), root.getAttribute("aria-label")) == ("svg", "img", "a < \\1 b")
    assert root.getAttribute("viewBox")
    assert not root.getAttribute("width")
    assert "currentColor" in svg and "#101214" not in svg  # its text has the page's colour
    assert COLOURS[0] in svg and COLOURS[1] in svg


def test_two_inline_figures_share_no_ids():
    one, other = ({*re.findall(r'\bid="([^"]+)"', svg_of(alt))} for alt in ("one", "other"))
    assert one and not one & other
    assert {*re.findall(r'(?:url\(|href=")#([^")]+)', svg_of("one"))} <= one
