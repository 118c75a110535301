"""What a label buys: when the expert counts as reached, shares with intervals, and the tables and the figure."""

import numpy as np
import pytest
from label_points import FEW, LATER, LOW, NEVER, ONCE, TWICE, group_of, point, run_with, seeds_at

from rl_il.studies.label_cost import results, study
from rl_il.studies.label_cost.compare import ONE_SETTING, Share, best_rules, share_of, share_text, verdict_rows
from rl_il.studies.label_cost.results import labels_of, percents, reached, shown
from rl_il.studies.pages import page_with

GROUPS = [
    seeds_at("A", "vanilla", 900, 1000, 5000),
    seeds_at("A", "random", 100, 250, NEVER),
    seeds_at("A", "hg", 1000, NEVER, NEVER),
    seeds_at("B", "vanilla", 2000),
    seeds_at("B", "random", 2000),
    seeds_at("B", "hg", 10),
    seeds_at("C", "vanilla", NEVER),
    seeds_at("C", "random", 7),
    group_of("B", "unmade"),
]


def test_the_expert_is_reached_on_all_episodes_and_again_on_others():
    run = run_with(FEW, LOW, ONCE, TWICE, LATER)
    assert (reached(run, again=False), reached(run)) == (ONCE, TWICE)
    assert reached(run_with(FEW, LOW, ONCE)) is None
    assert reached(run_with(FEW, LOW), again=False) is None


def test_a_curve_compares_with_the_expert_on_the_same_episodes():
    labels, returns = percents(run_with(FEW, ONCE))
    assert (labels.tolist(), returns.tolist()) == ([10, 30], [300, 95])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1070, 629, 797], "797 (629 to 1,070)"),
        ([500, NEVER, 600], "600 (500 to not reached)"),
        ([500, NEVER, NEVER], "not reached (500 to not reached)"),
        ([500, NEVER], "not reached (500 to not reached)"),
        ([500, 700], "600 (500 to 700)"),
        ([NEVER], "not reached"),
        ([], ""),
    ],
)
def test_a_seed_that_does_not_reach_the_expert_counts_in_median_and_range(values, text):
    assert shown(values) == text


def test_a_rule_is_compared_with_vanilla_over_all_environments():
    labels = labels_of(GROUPS)
    shares = {rule: share_of(labels, rule) for rule in ("random", "vanilla", "hg", "unmade")}
    assert shares["random"].value == pytest.approx(0.5)  # a quarter on A and all on B; on C vanilla has no number
    assert shares["vanilla"].value == 1 and shares["random"].env_names == ["A", "B"]
    assert shares["hg"].value == NEVER and shares["unmade"] is None
    assert best_rules(labels)[:2] == ["random", "vanilla"]
    labels["B", "cheap"] = [1]  # compared on fewer environments
    assert best_rules(labels)[-1] == "cheap"


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1, 3], [1], (2, 1, 3)),  # of four draws, one is twice 1 and one twice 3
        ([1, NEVER], [1], (NEVER, 1, NEVER)),
        ([2], [1, NEVER, 1], (2, 0, 2)),  # in a quarter of the draws the other one does not reach the expert
        ([1, NEVER], [1, NEVER, 1], (NEVER, 0, NEVER)),  # in some draws neither reaches it
        ([2, 2, 2], [4, 4], (0.5, 0.5, 0.5)),
        ([2], [NEVER, NEVER, 1], None),
        ([2], [], None),
    ],
)
def test_a_share_has_an_interval_over_the_seeds_of_both(ours, theirs, expected):
    labels = {("A", "ours"): ours, ("A", "theirs"): theirs}
    share = share_of(labels, "ours", "theirs")
    assert (share and (share.value, share.low, share.high)) == (expected and pytest.approx(expected))


VANILLA = {("A", "vanilla"): [300], ("B", "vanilla"): [300]}
RANDOM = {("A", "random_50"): [80], ("A", "random_25"): [94], ("B", "random_50"): [NEVER]}
OURS = {("A", ONE_SETTING): [90, 100], ("B", ONE_SETTING): [100]}
UNKNOWN = ("not known", "0 of 2, without A, B")


@pytest.mark.parametrize(
    ("labels", "answers"),
    [
        # on A 1.01 times the labels of random_25, 0.96 to 1.06
        (
            VANILLA | RANDOM | OURS,
            [("yes: 0.32 (0.32 to 0.33)", "2 of 2"), ("no: A", "1 of 2, without B"), ("yes", "1 of 2, without B")],
        ),
        (VANILLA | OURS | {("B", ONE_SETTING): [121]}, [("no: 0.36 (0.35 to 0.37)", "2 of 2"), UNKNOWN, UNKNOWN]),
        (OURS, [UNKNOWN, UNKNOWN, UNKNOWN]),
        (VANILLA | RANDOM, []),
    ],
)
def test_the_aim_is_a_third_of_vanillas_labels_and_nowhere_more_than_random(labels, answers):
    assert [tuple(row[1:]) for row in verdict_rows(labels)[1:]] == answers


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (Share(0.126, 0.001, 0.3, ["A", "B"]), "0.13 (0.00 to 0.30)"),
        (Share(0.5, 0.0, NEVER, ["A"]), "0.50 (0 to not reached), 1 of 2 environments"),
        (Share(1.0, 1.0, 1.0, ["A", "B"]), "1.00"),
        (None, ""),
    ],
)
def test_a_share_is_shown_with_its_interval(share, text):
    assert share_text(share, 2) == text


def test_the_tables_have_medians_ranges_and_counts():
    header, vanilla, random, hg, unmade = results.summary_rows(GROUPS)
    assert header[1:4] == ["A", "B", "C"]
    assert random[:4] == ["random", "250 (100 to not reached)", "2,000", "7"]
    assert random[4].startswith("0.50 (") and random[4].endswith("2 of 3 environments")
    assert vanilla[3] == "not reached" and vanilla[4] == "1.00, 2 of 3 environments"
    assert hg[:4] == ["hg", "not reached (1,000 to not reached)", "10", ""]
    assert unmade == ["unmade", "", "", "", ""]
    groups = [seeds_at("A", "random_25", 80), group_of("A", "hg", *[run_with(ONCE, TWICE)] * 2, run_with(LOW))]
    row = dict(zip(*(results.detail_rows(groups)[i] for i in (0, 2)), strict=True))
    assert [*row.values()][:5] == ["A", "hg", "2 of 3", "40 (40 to not reached)", "30 (30 to not reached)"]
    assert [*row.values()][-4:] == ["400", "3", "2", "1"]
    assert row["share of random_25's"].startswith("0.50 (0.50 to ") and row["share of random_50's"] == ""


def test_the_figure_of_the_whole_study_is_small(tmp_path):
    rng, groups = np.random.default_rng(0), []
    for env_name in study.ENVIRONMENTS:
        for rule in [*study.VARIANTS][:8]:
            points = [point(100 * (i + 1), [5 * i + 10 * rng.normal()]) for i in range(15)]
            runs = [run_with(*points[:end]) for end in (15, 15, 12)]
            groups.append(group_of(env_name, rule, *runs))
    results.plot(groups, "caption " * 100, tmp_path / "figure.png")
    assert 20_000 < (tmp_path / "figure.png").stat().st_size < 60_000


def test_the_page_keeps_what_a_person_wrote(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(page_with(page, "old numbers", "label_cost", "Labels"))
    page.write_text("Before.\n" + page.read_text() + "After.\n")
    text = page_with(page, "new numbers", "label_cost", "Labels")
    assert text.startswith("Before.\n") and text.endswith("After.\n")
    assert text.count("new numbers") == 1 and "old numbers" not in text
