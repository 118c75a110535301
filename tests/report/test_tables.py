"""Tables of results made by hand."""

import re

import numpy as np

from rl_il.report.tables import Result, latex, markdown, results_table

EXPERT = Result("expert", [np.array([100.0, 300.0])])
CLONE = Result("clone", [np.array([10.0, 20.0, 30.0, 40.0])], expert_labels=1234)


def shown(results, experts) -> str:
    return markdown(results_table(results, experts))


def cells_of(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def row_of(table: str, name: str) -> dict[str, str]:
    header, _, *rows = cells_of(table)
    (row,) = [row for row in rows if row[0] == name]
    return dict(zip(header, row, strict=True))


def test_a_row_holds_the_numbers_worked_out_by_hand():
    row = row_of(shown([CLONE, EXPERT], EXPERT), "clone")
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
    table = shown([EXPERT, CLONE], EXPERT)
    assert [row[0] for row in cells_of(table)[2:]] == ["expert", "clone"]
    row = row_of(table, "expert")
    assert (row["mean return"], row["std over episodes"], row["% of expert"]) == ("200.0", "100.0", "100.0")
    assert row["expert labels"] == ""


def test_percent_of_expert_is_empty_where_the_experts_return_is_not_positive():
    expert = Result("expert", [np.array([-100.0, -120.0])])
    assert row_of(shown([CLONE, expert], expert), "clone")["% of expert"] == ""


def test_several_seeds_pool_their_episodes_and_show_the_range_of_their_means():
    expert = Result("expert", [np.array([100.0, 100.0])] * 2)
    clone = Result("clone", [np.array([0.0, 20.0]), np.array([70.0, 90.0])], expert_labels=7.4)
    row = row_of(shown([clone], expert), "clone")
    assert row["mean return"] == "45.0"
    assert row["seed means, least to most"] == "10.0 to 80.0"
    assert row["std over seeds"] == "49.5"  # 35 times the square root of 2
    assert row["episodes"] == "4"
    assert row["std over episodes"] == "36.4"  # the square root of 1325
    assert row["expert labels"] == "7"
    assert "seed means, least to most" not in shown([CLONE], EXPERT)


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
    lines = shown([CLONE, EXPERT], EXPERT).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert re.fullmatch(r"\|-+\|(-+:\|)+", lines[1])


def test_experts_of_their_own_have_a_column():
    rows = results_table([CLONE, CLONE], [EXPERT, Result("expert", [np.array([50.0])])], name="value")
    assert rows[0][0] == "value"
    column = rows[0].index("expert, measured now")
    assert [row[column] for row in rows[1:]] == ["200.0", "50.0"]
    percent = rows[0].index("% of expert")
    assert [row[percent] for row in rows[1:]] == ["12.5", "50.0"]


def test_latex_escapes_what_would_be_a_command():
    lines = latex([["a_b", "% of {x}"], ["1 & 2", "\\n"]]).splitlines()
    assert lines[0] == r"\begin{tabular}{lr}"
    assert r"a\_b & \% of \{x\} \\" in lines
    assert r"1 \& 2 & \textbackslash n \\" in lines
