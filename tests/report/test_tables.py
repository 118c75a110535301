"""Tables of results made by hand."""

import numpy as np
from run_folders import dicts

from rl_il.report.tables import (
    SEEDS,
    THIS_POLICY,
    Result,
    interval_caption,
    interval_kind,
    latex,
    markdown,
    plain,
    results_table,
)

EXPERT = Result("expert", [np.array([100.0, 300.0])])
CLONE = Result("clone", [np.array([10.0, 20.0, 30.0, 40.0])], expert_labels=1234)


def test_rows_hold_the_numbers_worked_out_by_hand():
    expert, clone = dicts(results_table([EXPERT, CLONE], EXPERT))
    assert clone == {
        "policy": "clone",
        "mean return": "25.0",
        "95 % interval of this policy": "",  # of four episodes
        "std over episodes": "12.9",  # the square root of 500 / 3
        "episodes": "4",
        "% of expert": "12.5",
        "expert labels": "1,234",
    }
    assert (expert["mean return"], expert["std over episodes"], expert["% of expert"]) == ("200.0", "141.4", "100.0")
    assert expert["expert labels"] == ""


def constant(name: str, *means: float) -> Result:
    """Return a result whose seeds scored the same in each of five episodes."""
    return Result(name, [np.full(5, mean) for mean in means])


def test_a_table_of_single_policies_says_so_in_its_heading():
    rows = dicts(results_table([constant("a", 3.0), constant("b", 4.0)], EXPERT))
    assert [row["95 % interval of this policy"] for row in rows] == ["3.0 to 3.0", "4.0 to 4.0"]
    assert "std over seeds" not in rows[0] and "seed means, min to max" not in rows[0]
    assert interval_kind([constant("a", 3.0)]) == THIS_POLICY


def test_a_table_with_a_method_marks_the_single_policies():
    results = [constant("random", 3.0), constant("method", 7.0, 7.0, 7.0), constant("two seeds", 4.0, 6.0), CLONE]
    random, method, two, few = dicts(results_table(results, EXPERT))
    assert random["95 % interval over seeds"] == "3.0 to 3.0 (this policy)"
    assert method["95 % interval over seeds"] == "7.0 to 7.0"
    assert two["95 % interval over seeds"] == few["95 % interval over seeds"] == ""  # too few seeds, too few episodes
    assert (random["std over seeds"], random["seed means, min to max"]) == ("", "")
    assert (two["std over seeds"], two["seed means, min to max"]) == ("1.4", "4.0 to 6.0")  # the square root of 2
    assert two["std over episodes"] == "0.0"  # the spread between the seeds is no part of it
    assert interval_kind(results[1:3]) == SEEDS
    assert SEEDS in interval_caption(results[1:3])
    assert "3 seeds" in interval_caption(results[2:]) and SEEDS not in interval_caption(results[2:])
    assert interval_kind(results) not in (SEEDS, THIS_POLICY)


def test_the_interval_of_several_seeds_redraws_seeds():
    assert Result.of_one_policy("expert", [np.full(10, 5.0), np.full(10, 5.0)]).interval == (5.0, 5.0)
    low, high = constant("seeds", 0.0, 0.0, 100.0).interval
    assert (low, high) == (0.0, 100.0)  # all three redrawn seeds are the same in more than 2.5 % of the resamples


def test_a_policy_that_no_seed_trained_is_one_array():
    expert = Result.of_one_policy("expert", [np.array([0.0, 2.0]), np.array([4.0])])
    assert [returns.tolist() for returns in expert.scores] == [[0, 2, 4]]
    assert expert.is_one_policy and expert.episode_std == 2


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
