"""Return statistics. Numpy only.

The interquartile mean and the stratified bootstrap follow Agarwal et al. 2021, "Deep Reinforcement Learning
at the Edge of the Statistical Precipice" (NeurIPS).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

MOST_NUMBERS = 10_000_000  # resampled at once: 80 MB
Statistic = Callable[..., np.ndarray]


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Interquartile mean: the mean after a quarter of the values (rounded down) is cut off at either end."""
    values = np.sort(np.asarray(values, np.float64), axis=axis)
    count = values.shape[axis]
    cut = count // 4
    return np.take(values, range(cut, count - cut), axis=axis).mean(axis=axis)


def bootstrap_interval(
    strata: Sequence[np.ndarray],
    statistic: Statistic = np.mean,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of `statistic` over the pooled values.

    Args:
      strata: one 1-D array of episode returns for each seed. Episodes are redrawn within their seed, so the
        interval covers new episodes of these very seeds; give seed means as a single stratum for new seeds.
      statistic: takes `(n_resamples, n)` values and `axis`.

    Returns:
      `(low, high)`; both not-a-number when there are fewer than two values, which say nothing of spread.
    """
    strata = [np.asarray(stratum, np.float64) for stratum in strata]
    if sum(len(stratum) for stratum in strata) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    at_once = max(1, MOST_NUMBERS // sum(map(len, strata)))
    estimates = []
    for start in range(0, n_resamples, at_once):
        rows = min(at_once, n_resamples - start)
        resampled = [stratum[rng.integers(len(stratum), size=(rows, len(stratum)))] for stratum in strata]
        estimates.append(statistic(np.concatenate(resampled, axis=1), axis=1))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.concatenate(estimates), [tail, 100 - tail])
    return float(low), float(high)


def percent_of_expert(mean_return: float, expert_mean_return: float) -> float:
    """100 times the ratio of the means; not-a-number unless the expert's is positive.

    Where returns are negative (MountainCar) a ratio would call the worse policy the better one.
    """
    return 100 * mean_return / expert_mean_return if expert_mean_return > 0 else float("nan")


def describe(returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Summary of evaluation episodes; `std` is the population's (divided by n), as in the course."""
    returns, lengths = np.asarray(returns, np.float64), np.asarray(lengths)
    low, high = bootstrap_interval([returns])
    return {
        "episodes": len(returns),
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "iqm": float(iqm(returns)),
        "ci95_low": low,
        "ci95_high": high,
        "min": float(returns.min()),
        "max": float(returns.max()),
        "mean_episode_length": float(lengths.mean()),
    }
