"""Figures of results made by hand."""

import re
import xml.dom.minidom

import imageio.v3 as imageio
import numpy as np
import pytest

from rl_il.report.figures import COLOURS, Curve, draw_curves, inline_svg, new_figure, plot_learning_curve, save
from rl_il.report.tables import Result

EXPERT = Result("expert", [np.array([100.0, 300.0])])
CLONE = Result("clone", [np.array([10.0, 20.0, 30.0, 40.0])], expert_labels=1234)


@pytest.fixture
def drawn(tmp_path):
    """Draws a curve and returns the picture's pixels."""

    def draw(curve, lines, name="curve.png") -> np.ndarray:
        path = tmp_path / "new" / name
        plot_learning_curve(path, "Corridor-v0", curve, lines, "what was compared")
        assert path.read_bytes()[:4] == b"\x89PNG"
        return imageio.imread(path)

    return draw


def curve_of(*means: float) -> list[Result]:
    return [Result(f"iteration {i}", [mean + np.array([-5.0, 5.0])], 100 * i) for i, mean in enumerate(means)]


def test_the_learning_curve_is_a_picture_with_something_on_it(drawn):
    picture = drawn(curve_of(10, 50, 90), [EXPERT, CLONE])
    height, width, _ = picture.shape
    assert height > 500 and width > 800
    rgb = picture[..., :3].reshape(-1, 3)
    assert 0.5 < (rgb == 255).all(axis=1).mean() < 0.98  # mostly paper, but not blank
    blue = (np.abs(rgb.astype(int) - [0x00, 0x72, 0xB2]) < 10).all(axis=1)
    assert blue.sum() > 500


def test_the_learning_curve_depends_on_its_numbers(drawn):
    same = [drawn(curve_of(10, 50, 90), [EXPERT]) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    other = drawn(curve_of(90, 50, 10), [EXPERT])
    assert other.shape != same[0].shape or (other != same[0]).any()


def texts_of(monkeypatch, curve, lines, path) -> tuple[list[str], tuple[float, float], int]:
    """The legend's words, the vertical range and the number of lines of the figure, read before it is closed."""
    from matplotlib import pyplot

    figures = []
    monkeypatch.setattr(pyplot, "close", figures.append)
    plot_learning_curve(path, "Corridor-v0", curve, lines, "what was compared")
    monkeypatch.undo()
    (axes,) = figures[0].axes
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    level = sum(len(set(line.get_ydata())) == 1 and len(line.get_xdata()) == 2 for line in axes.lines)
    pyplot.close(figures[0])
    return words, axes.get_ylim(), level


def test_other_policies_are_level_lines_named_with_their_scores(monkeypatch, tmp_path):
    words, _, level = texts_of(monkeypatch, curve_of(10, 50, 90), [EXPERT, CLONE], tmp_path / "curve.png")
    assert {"expert (200)", "clone (25)"} <= set(words)
    assert any("95 % interval" in word for word in words)
    assert level == 2


def test_a_policy_far_below_is_named_without_squashing_the_curve(monkeypatch, tmp_path):
    untrained = Result("untrained", [np.array([-5000.0, -5000.0])])
    words, (bottom, _), level = texts_of(monkeypatch, curve_of(10, 50, 90), [untrained], tmp_path / "curve.png")
    assert "untrained (-5000, below the picture)" in words
    assert bottom > -200
    assert level == 0


def test_drawing_leaves_no_figure_open(drawn):
    from matplotlib import pyplot

    drawn(curve_of(10, 50), [])
    assert pyplot.get_fignums() == []


def test_a_single_episode_a_point_is_drawn_without_a_band(drawn):
    curve = [Result(f"iteration {i}", [np.array([float(i)])], i) for i in range(3)]
    assert drawn(curve, [EXPERT]).size


def svg_of(alt: str = "two curves") -> str:
    with new_figure() as (figure, (axes,)):
        draw_curves(axes, [Curve("a", [0, 1, 2], curve_of(1, 2, 3)), Curve("b", [0, 1, 2], curve_of(3, 2, 1))])
        return inline_svg(figure, alt)


def test_an_inline_figure_is_one_element_with_a_description():
    root = xml.dom.minidom.parseString(svg_of("a < b")).documentElement
    assert (root.tagName, root.getAttribute("role"), root.getAttribute("aria-label")) == ("svg", "img", "a < b")
    assert root.getAttribute("viewBox")
    assert not root.getAttribute("width")


def test_an_inline_figure_takes_the_pages_colour_for_its_text():
    svg = svg_of()
    assert "currentColor" in svg and "#101214" not in svg
    assert COLOURS[0] in svg and COLOURS[1] in svg


def test_two_inline_figures_share_no_ids():
    one, other = ({*re.findall(r'\bid="([^"]+)"', svg_of(alt))} for alt in ("one", "other"))
    assert one and not one & other
    assert {*re.findall(r'(?:url\(|href=")#([^")]+)', svg_of("one"))} <= one


def test_figures_are_the_same_to_the_byte(tmp_path):
    for suffix in ("png", "svg"):
        for i in range(2):
            with new_figure() as (figure, (axes,)):
                draw_curves(axes, [Curve("a", [0, 1, 2], curve_of(1, 2, 3))], [EXPERT])
                save(figure, tmp_path / f"{i}.{suffix}")
        assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()


def test_the_means_of_seeds_are_dots_of_their_own():
    points = [Result("x", [np.array([0.0, 2.0]), np.array([5.0, 5.0])])]
    with new_figure() as (_, (axes,)):
        draw_curves(axes, [Curve("a", [7], points)])
        dots = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "."]
    assert dots == [[[7, 1], [7, 5]]]
