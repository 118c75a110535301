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
        ([1, 2, 3, 4, 5, 6, 7, 8], 4.5),
        ([8, 1, 7, 2, 6, 3, 5, 4], 4.5),
        ([-1000, 1, 2, 3, 1000], 2),
        ([1, 2, 9], 4),
        ([7], 7),
        ([0, 1, 4, 9, 16, 25, 36, 49, 64, 81], 139 / 6),
    ],
)
def test_iqm_cuts_a_quarter_rounded_down_at_either_end(values, expected):
    assert iqm(values) == pytest.approx(expected)


def test_iqm_along_an_axis():
    values = np.array([[0, 1], [2, 3], [4, 5], [100, -100]])
    assert iqm(values, axis=0).tolist() == [3.0, 2.0]
    assert iqm(values, axis=1).tolist() == [0.5, 2.5, 4.5, 0]


def test_iqm_leaves_its_argument_alone():
    values = np.array([3.0, 1.0, 2.0])
    iqm(values)
    assert values.tolist() == [3, 1, 2]


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_bootstrap_of_a_mean_is_the_normal_interval(confidence):
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * STANDARD_ERROR
    assert bootstrap_interval([NORMAL], confidence=confidence) == pytest.approx((-half, half), abs=0.06 * half)


def test_bootstrap_of_the_median_has_its_known_width():
    low, high = bootstrap_interval([NORMAL], np.median, n_resamples=4000)
    assert high - low == pytest.approx(2 * 1.96 * 1.2533 * STANDARD_ERROR, rel=0.1)


def test_bootstrap_takes_iqm():
    low, high = bootstrap_interval([[0, 0, 0, 0, 0, 0, 0, 1e6]], iqm)
    assert (low, high) != (0, 0)
    assert bootstrap_interval([[5, 5, 5, 5]], iqm) == (5, 5)


def test_bootstrap_repeats_with_its_seed_only():
    assert bootstrap_interval([NORMAL], seed=3) == bootstrap_interval([NORMAL], seed=3)
    assert bootstrap_interval([NORMAL], seed=3) != bootstrap_interval([NORMAL], seed=4)


def test_episodes_are_redrawn_within_their_stratum():
    low, high = bootstrap_interval([np.zeros(3), np.full(1, 10.0)])
    assert low == high == 2.5
    low, high = bootstrap_interval([np.array([0, 0, 0, 10.0])])
    assert low < 2.5 < high


def test_strata_weigh_by_their_episodes():
    assert bootstrap_interval([np.full(9, 1.0), np.full(1, 11.0)]) == pytest.approx((2, 2))


@pytest.mark.parametrize("strata", [[], [[]], [[3.0]]])
def test_fewer_than_two_values_have_no_interval(strata):
    low, high = bootstrap_interval(strata)
    assert np.isnan(low) and np.isnan(high)


def test_constant_values_have_an_interval_without_width():
    assert bootstrap_interval([[4.0, 4.0, 4.0]]) == (4, 4)


@pytest.mark.parametrize("mean, expert, percent", [(50, 200, 25), (220, 200, 110), (-20, 200, -10), (200, 200, 100)])
def test_percent_of_expert(mean, expert, percent):
    assert percent_of_expert(mean, expert) == pytest.approx(percent)


@pytest.mark.parametrize("expert", [-120.0, 0.0, float("nan")])
def test_percent_of_an_expert_without_positive_mean_is_unknown(expert):
    assert np.isnan(percent_of_expert(-130.0, expert))


def test_describe_by_hand():
    summary = describe([0, 1, 2, 3, 10, 20], [10, 20, 30, 40, 50, 61])
    low, high = bootstrap_interval([[0, 1, 2, 3, 10, 20]])
    assert summary == {
        "episodes": 6,
        "mean": 6.0,
        "std": pytest.approx(np.sqrt(298 / 6)),  # divided by n
        "iqm": 4.0,
        "ci95_low": low,
        "ci95_high": high,
        "min": 0.0,
        "max": 20.0,
        "mean_episode_length": 211 / 6,
    }
    assert {type(value) for value in summary.values()} == {int, float}


def test_describe_one_episode_has_no_interval():
    summary = describe([5.0], [7])
    assert (summary["mean"], summary["std"], summary["iqm"]) == (5, 0, 5)
    assert np.isnan(summary["ci95_low"]) and np.isnan(summary["ci95_high"])


def test_the_interval_does_not_depend_on_how_many_numbers_are_resampled_at_once(monkeypatch):
    values = np.random.default_rng(0).normal(size=400)
    whole = bootstrap_interval([values], n_resamples=2000)
    monkeypatch.setattr(statistics, "MOST_NUMBERS", 40_000)  # twenty pieces
    assert bootstrap_interval([values], n_resamples=2000) == pytest.approx(whole, abs=0.01)
