"""Tables of results made by hand."""

import numpy as np
from run_folders import dicts

from rl_il.report.tables import Result, latex, markdown, plain, results_table

EXPERT = Result("expert", [np.array([100.0, 300.0])])
CLONE = Result("clone", [np.array([10.0, 20.0, 30.0, 40.0])], expert_labels=1234)


def test_rows_hold_the_numbers_worked_out_by_hand():
    expert, clone = dicts(results_table([EXPERT, CLONE], EXPERT))
    low, high = map(float, clone.pop("95 % interval").split(" to "))
    assert 10 <= low < 25 < high <= 40
    assert clone == {
        "policy": "clone",
        "mean return": "25.0",
        "std over episodes": "11.2",  # the square root of 125
        "episodes": "4",
        "% of expert": "12.5",
        "expert labels": "1,234",
    }
    assert (expert["mean return"], expert["std over episodes"], expert["% of expert"]) == ("200.0", "100.0", "100.0")
    assert expert["expert labels"] == ""


def test_the_interval_redraws_episodes_within_their_seed():
    assert Result("apart", [np.full(10, 0.0), np.full(10, 100.0)]).interval == (50.0, 50.0)
    low, high = Result("pooled", [np.repeat([0.0, 100.0], 10)]).interval
    assert low < 40 < 60 < high


def test_markdown_and_plain_text_align_columns():
    rows = [["name", "n"], ["a", "1"], ["long name", "1,000"]]
    assert markdown(rows).splitlines() == [
        "| name      |     n |",
        "|-----------|------:|",
        "| a         |     1 |",
        "| long name | 1,000 |",
    ]
    assert plain(rows).splitlines() == ["name           n", "a              1", "long name  1,000"]


def test_latex_escapes_what_would_be_a_command():
    lines = latex([["a_b", "% of {x}"], ["1 & 2", "\\n"]]).splitlines()
    assert lines[0] == r"\begin{tabular}{lr}"
    assert r"a\_b & \% of \{x\} \\" in lines
    assert r"1 \& 2 & \textbackslash n \\" in lines
