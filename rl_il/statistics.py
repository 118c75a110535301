"""Statistics of episode returns, with NumPy only.

The interquartile mean, the stratified bootstrap, the optimality gap, the probability of improvement and the
performance profile follow Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS); the tests compare them with its library, `rliable`.

Two spreads are kept apart: that of episodes within a seed, and that of the seeds' means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

MAX_NUMBERS = 10_000_000  # resampled at once: 80 MB
Statistic = Callable[..., np.ndarray]


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the interquartile mean: the mean without a quarter of the values (rounded down) at either end."""
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
    """Return the percentile bootstrap interval of `statistic` over the pooled values.

    Args:
      strata: one 1-D array of episode returns for each seed. Episodes are redrawn within their seed, so the
        interval covers new episodes of these very seeds; give seed means as a single stratum for new seeds.
      statistic: takes `(n_resamples, n)` values and `axis`.

    Both ends are not-a-number where a stratum has fewer than two values, which say nothing of its spread.
    """
    strata = [np.asarray(stratum, np.float64) for stratum in strata]
    if min(map(len, strata), default=0) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    estimates = []
    for rows in _portions(n_resamples, sum(map(len, strata))):
        resampled = [stratum[rng.integers(len(stratum), size=(rows, len(stratum)))] for stratum in strata]
        estimates.append(statistic(np.concatenate(resampled, axis=1), axis=1))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.concatenate(estimates), [tail, 100 - tail])
    return float(low), float(high)


def _portions(n_resamples: int, width: int) -> Iterator[int]:
    """Yield how many resamples of `width` numbers to draw at once, so that memory holds them."""
    at_once = max(1, MAX_NUMBERS // width)
    for start in range(0, n_resamples, at_once):
        yield min(at_once, n_resamples - start)


def seed_spread(strata: Sequence[np.ndarray]) -> float:
    """Return the sample standard deviation (divided by n - 1) of the seeds' means; not-a-number for a single seed."""
    means = [float(np.mean(stratum)) for stratum in strata]
    return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")


def normalise(returns: np.ndarray, random_mean: float, expert_mean: float) -> np.ndarray:
    """Return the returns as scores on which the random policy has 0 and the live expert 1.

    Unlike a percentage of the expert's return, this also orders policies where returns are negative. All are
    not-a-number unless the expert is the better of the two.
    """
    if not expert_mean > random_mean:
        return np.full(len(returns), np.nan)
    return (np.asarray(returns, np.float64) - random_mean) / (expert_mean - random_mean)


def optimality_gap(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return by how much normalised scores fall short of 1 on average; a score above 1 counts as 1."""
    return 1 - np.minimum(scores, 1).mean(axis=axis)


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return `(len(thresholds),)`, the fraction of scores above each threshold."""
    return (np.asarray(scores)[:, None] > np.asarray(thresholds)).mean(axis=0)


def probability_of_improvement(
    strata: Sequence[np.ndarray], others: Sequence[np.ndarray], n_resamples: int = 10_000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Return how probably an episode of one variant returns more than one of the other, and its 95 % interval.

    It is the Mann-Whitney U statistic over all pairs, divided by their number; a tie counts half. For the bootstrap
    interval episodes are redrawn within their seed; it is not-a-number where a seed has fewer than two.

    Args:
      strata, others: a 1-D array of episode returns for each seed of either variant.
    """
    ours, theirs = (np.concatenate([np.asarray(s, np.float64) for s in side]) for side in (strata, others))
    wins = (ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)
    if min(map(len, (*strata, *others))) < 2:
        return float(wins.mean()), (float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    estimates = []
    for rows in _portions(n_resamples, len(ours) + len(theirs)):
        weights, other_weights = _bootstrap_weights(strata, rows, rng), _bootstrap_weights(others, rows, rng)
        estimates.append(((weights @ wins) * other_weights).sum(axis=1))
    low, high = np.percentile(np.concatenate(estimates), [2.5, 97.5])
    return float(wins.mean()), (float(low), float(high))


def _bootstrap_weights(strata: Sequence[np.ndarray], rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return `(rows, n)`, the share that each of the n pooled values has in each of the resamples."""
    counts = [rng.multinomial(len(s), np.full(len(s), 1 / len(s)), size=rows) for s in strata]
    return np.concatenate(counts, axis=1) / sum(map(len, strata))


def percent_of_expert(mean_return: float, expert_mean_return: float) -> float:
    """Return 100 times the ratio of the means; not-a-number unless the expert's is positive.

    Where returns are negative (MountainCar) a ratio would call the worse policy the better one.
    """
    return 100 * mean_return / expert_mean_return if expert_mean_return > 0 else float("nan")


def describe(returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Return a summary of evaluation episodes; `std` is the population's (divided by n), as in the course."""
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
