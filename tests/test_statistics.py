from statistics import NormalDist

import numpy as np
import pytest

from rl_il import statistics
from rl_il.statistics import bootstrap_interval, describe, iqm, percent_of_expert

NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / 400) for i in range(400)])
STANDARD_ERROR = NORMAL.std() / np.sqrt(len(NORMAL))


@pytest.mark.parametrize(
    "values, expected",
    [
        ([8, 1, 7, 2, 6, 3, 5, 4], 4.5),
        ([1, 2, 9], 4),
        ([0, 1, 4, 9, 16, 25, 36, 49, 64, 81], 139 / 6),
    ],
)
def test_iqm_cuts_a_quarter_rounded_down_at_either_end(values, expected):
    assert iqm(values) == pytest.approx(expected)


def test_iqm_along_an_axis_leaves_its_argument_alone():
    rows = [[0, 1], [2, 3], [4, 5], [100, -100]]
    values = np.array(rows)
    assert iqm(values, axis=0).tolist() == [3.0, 2.0]
    assert iqm(values, axis=1).tolist() == [0.5, 2.5, 4.5, 0]
    assert values.tolist() == rows


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_bootstrap_of_a_mean_is_the_normal_interval(confidence):
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * STANDARD_ERROR
    assert bootstrap_interval([NORMAL], confidence=confidence) == pytest.approx((-half, half), abs=0.06 * half)


def test_bootstrap_repeats_with_its_seed_only():
    assert bootstrap_interval([NORMAL], seed=3) == bootstrap_interval([NORMAL], seed=3)
    assert bootstrap_interval([NORMAL], seed=3) != bootstrap_interval([NORMAL], seed=4)


def test_seeds_are_redrawn_before_episodes():
    # Three of three draws are the lowest seed in 1 of 27 resamples, 3.7 %, and the lowest two in 8 of 27.
    strata = [np.zeros(4), np.ones(4), np.full(4, 2.0)]
    assert bootstrap_interval(strata, confidence=0.95) == (0, 2)
    assert bootstrap_interval(strata, confidence=0.9) == pytest.approx((1 / 3, 5 / 3))  # 5 % and 95 % of 27 resamples
    assert bootstrap_interval([[4.0, 4.0], [4.0, 4.0], [4.0, 4.0]]) == (4, 4)


def test_episodes_are_redrawn_within_each_seed():
    # With 200 episodes of -1 and 1 in equal parts a seed, the seeds' means do not differ: only episodes vary.
    strata = [np.tile([-1.0, 1.0], 100)] * 4
    half = NormalDist().inv_cdf(0.975) / np.sqrt(800)
    assert bootstrap_interval(strata) == pytest.approx((-half, half), rel=0.08)


def test_a_drawn_seed_brings_its_own_number_of_episodes():
    assert bootstrap_interval([np.ones(1), np.ones(7), np.ones(3)]) == (1, 1)
    strata = [np.zeros(18), np.zeros(1), np.full(1, 20.0)]
    assert bootstrap_interval(strata) == (0, 20)  # the third seed three times: in 1 of 27 resamples
    # Then 2 times and the second once: in 3 of 27 resamples the mean is 2 * 20 / 3.
    assert bootstrap_interval(strata, confidence=0.9)[1] == pytest.approx(40 / 3)


def test_a_single_policy_gets_the_interval_of_student():
    values = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, -2.0, 2.0, 0.5, -0.5, 0.0])
    half = 2.262 * values.std(ddof=1) / np.sqrt(len(values))  # 97.5 % of Student's t with 9 degrees of freedom
    assert bootstrap_interval([values]) == pytest.approx((-half, half), rel=0.06)


@pytest.mark.parametrize("degrees, quantile", [(4, 2.7764), (5, 2.5706), (9, 2.2622), (30, 2.0423)])
def test_the_quantile_of_student(degrees, quantile):  # of any table
    assert statistics.t_quantile(0.975, degrees) == pytest.approx(quantile, rel=3e-3)
    assert statistics.t_quantile(0.025, degrees) == pytest.approx(-quantile, rel=3e-3)


@pytest.mark.parametrize(
    "strata", [[], [[3.0]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]], [[1, 2], [], [3]]]
)
def test_too_few_episodes_or_seeds_leave_no_interval(strata):
    low, high = bootstrap_interval(strata)
    assert np.isnan(low) and np.isnan(high)


@pytest.mark.parametrize(
    "mean, expert, percent",
    [
        (50, 200, 25),
        (0, 200, 0),
        *((mean, expert, np.nan) for mean, expert in ((-20, 200), (-9, -8), (5, 0), (5, np.nan))),
    ],
)
def test_percent_of_expert_is_unknown_for_negative_returns(mean, expert, percent):
    assert percent_of_expert(mean, expert) == pytest.approx(percent, nan_ok=True)


def test_describe_by_hand():
    summary = describe([0, 1, 2, 3, 10, 20], [10, 20, 30, 40, 50, 61])
    low, high = bootstrap_interval([[0, 1, 2, 3, 10, 20]])
    assert summary == {
        "episodes": 6,
        "mean": 6.0,
        "std": pytest.approx(np.sqrt(298 / 5)),  # divided by n - 1
        "iqm": 4.0,
        "ci95_low": low,
        "ci95_high": high,
        "min": 0.0,
        "max": 20.0,
        "mean_episode_length": 211 / 6,
    }
    assert {type(value) for value in summary.values()} == {int, float}


def test_results_do_not_depend_on_the_pieces_of_resampling(monkeypatch):
    values = np.random.default_rng(0).normal(size=400)
    whole = bootstrap_interval([values], n_resamples=2000)
    improvement = statistics.probability_of_improvement(scores(), scores(-0.08), n_resamples=2000)
    monkeypatch.setattr(statistics, "MAX_NUMBERS", 40_000)  # twenty pieces
    assert bootstrap_interval([values], n_resamples=2000) == pytest.approx(whole, abs=0.01)
    pieces = statistics.probability_of_improvement(scores(), scores(-0.08), n_resamples=2000)
    assert pieces[0] == improvement[0]
    assert pieces[1] == pytest.approx(improvement[1], abs=0.01)


# Against rliable 1.2.0 (numpy 2.4.6, scipy 1.17.1, arch 7.2.0): 200 runs of one episode on one task -----------------


def scores(shift: float = 0.0) -> list[np.ndarray]:
    """40 episodes of each of 5 seeds, from a formula, so that the library could be given the same."""
    e = np.arange(40)
    return [0.7 + shift + 0.35 * np.sin(7.0 * s + 3.0 * e) + 0.1 * s + 0.15 * np.cos(e * e + s) for s in range(5)]


POOLED = np.concatenate(scores())


def test_point_estimates_are_the_librarys():
    assert POOLED.mean() == pytest.approx(0.8999824590, abs=1e-9)
    assert iqm(POOLED) == pytest.approx(0.8940937602, abs=1e-9)
    assert statistics.optimality_gap(POOLED) == pytest.approx(0.1785539576, abs=1e-9)


@pytest.mark.parametrize(
    "statistic, low, high",  # of 50,000 resamples
    [
        (np.mean, 0.86000217, 0.93990565),
        (iqm, 0.84170978, 0.94797364),
        (statistics.optimality_gap, 0.15184687, 0.20594708),
    ],
)
def test_intervals_over_runs_are_the_librarys_to_three_digits(statistic, low, high):
    runs = POOLED[:, None]
    assert bootstrap_interval(runs, statistic, n_resamples=50_000) == pytest.approx((low, high), abs=1e-3)


def test_the_performance_profile_is_the_librarys():
    profile = statistics.performance_profile(POOLED, np.linspace(0, 1.5, 7))
    assert profile == pytest.approx([1, 1, 0.915, 0.655, 0.38, 0.135, 0.01])


def test_the_probability_of_improvement_is_the_librarys():
    runs, others = POOLED[:, None], np.concatenate(scores(-0.08))[:, None]
    probability, interval = statistics.probability_of_improvement(runs, others, n_resamples=5000)
    assert probability == pytest.approx(0.575325)
    assert interval == pytest.approx((0.51808938, 0.63260562), abs=4e-3)


# By hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ours, theirs, probability, interval",
    [
        ([[1, 2] * 3], [[1, 1] * 3], 0.75, (7 / 12, 11 / 12)),  # a tie is half; 6 of 64 resamples hold a single 1
        ([[0], [5], [5]], [[1]] * 3, 2 / 3, (0, 1)),  # all three seeds are the lowest in 1 of 27 resamples
        ([[0, 0], [5, 5]], [[1, 1, 1]] * 3, 0.5, (np.nan, np.nan)),  # two seeds
        ([[1, 2, 3, 4]], [[2] * 5], 0.625, (np.nan, np.nan)),  # four episodes
    ],
)
def test_the_probability_of_improvement(ours, theirs, probability, interval):
    found = statistics.probability_of_improvement(ours, theirs)
    assert found == (pytest.approx(probability), pytest.approx(interval, nan_ok=True))


def test_the_spread_of_seeds_is_that_of_their_means():
    assert statistics.seed_spread([[0, 10], [7], [9, 9, 9]]) == 2  # means 5, 7, 9
    assert np.isnan(statistics.seed_spread([[1, 2, 3]]))


def test_the_spread_of_episodes_leaves_out_that_of_the_seeds():
    assert statistics.episode_spread([[0, 2], [100, 104]]) == pytest.approx(np.sqrt((2 + 8) / 2))
    assert np.isnan(statistics.episode_spread([[0, 2], [1]]))


def test_normalised_scores_order_negative_returns_or_are_unknown():
    assert statistics.normalise([-200, -120, -110], random_mean=-200, expert_mean=-120).tolist() == [0, 1, 1.125]
    for expert in (5.0, 4.0, float("nan")):
        assert np.isnan(statistics.normalise([4, 5, 6], random_mean=5.0, expert_mean=expert)).all()


def test_the_optimality_gap_does_not_reward_excess():
    assert statistics.optimality_gap(np.array([[0.5, 3.0], [1.0, 1.0]]), axis=1).tolist() == [0.25, 0]
