"""Tables and figures of results made by hand."""

import re

import imageio.v3 as imageio
import numpy as np
import pytest

from rl_il.report import Result, markdown, plot_learning_curve, results_table

EXPERT = Result("expert", [np.array([100.0, 300.0])])
CLONE = Result("clone", [np.array([10.0, 20.0, 30.0, 40.0])], expert_labels=1234)


def cells_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def row_of(table: str, name: str) -> dict[str, str]:
    header, _, *rows = cells_of(table)
    (row,) = [row for row in rows if row[0] == name]
    return dict(zip(header, row, strict=True))


def test_a_row_holds_the_numbers_worked_out_by_hand():
    row = row_of(results_table([CLONE, EXPERT], EXPERT), "clone")
    low, high = map(float, row.pop("95 % interval").split(" to "))
    assert 10 <= low < 25 < high <= 40
    assert row == {
        "policy": "clone",
        "mean return": "25.0",
        "std over episodes": "11.2",  # the square root of 125
        "episodes": "4",
        "% of expert": "12.5",
        "expert labels": "1,234",
    }


def test_rows_keep_their_order_and_the_expert_has_no_labels():
    table = results_table([EXPERT, CLONE], EXPERT)
    assert [row[0] for row in cells_of(table)[2:]] == ["expert", "clone"]
    row = row_of(table, "expert")
    assert (row["mean return"], row["std over episodes"], row["% of expert"]) == ("200.0", "100.0", "100.0")
    assert row["expert labels"] == ""


def test_percent_of_expert_is_empty_where_the_experts_return_is_not_positive():
    expert = Result("expert", [np.array([-100.0, -120.0])])
    assert row_of(results_table([CLONE, expert], expert), "clone")["% of expert"] == ""


def test_several_seeds_pool_their_episodes_and_show_the_range_of_their_means():
    expert = Result("expert", [np.array([100.0, 100.0])] * 2)
    clone = Result("clone", [np.array([0.0, 20.0]), np.array([70.0, 90.0])], expert_labels=7.4)
    row = row_of(results_table([clone], expert), "clone")
    assert row["mean return"] == "45.0"
    assert row["seed means, least to most"] == "10.0 to 80.0"
    assert row["episodes"] == "4"
    assert row["std over episodes"] == "36.4"  # the square root of 1325
    assert row["expert labels"] == "7"
    assert "seed means, least to most" not in results_table([CLONE], EXPERT)


def test_the_interval_redraws_episodes_within_their_seed_only():
    apart = Result("apart", [np.full(10, 0.0), np.full(10, 100.0)])
    assert apart.interval == (50.0, 50.0)
    low, high = Result("pooled", [np.repeat([0.0, 100.0], 10)]).interval
    assert low < 40 < 60 < high


def test_markdown_aligns_columns():
    assert markdown([["name", "n"], ["a", "1"], ["long name", "1,000"]]).splitlines() == [
        "| name      |     n |",
        "|-----------|------:|",
        "| a         |     1 |",
        "| long name | 1,000 |",
    ]


def test_markdown_lines_are_equally_long_and_have_a_rule():
    lines = results_table([CLONE, EXPERT], EXPERT).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert re.fullmatch(r"\|-+\|(-+:\|)+", lines[1])


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
    blue = (np.abs(rgb.astype(int) - [0x1F, 0x77, 0xB4]) < 10).all(axis=1)
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
    assert {"expert (200)", "clone (25)", "95 % interval"} <= set(words)
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
