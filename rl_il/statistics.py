"""Statistics of episode returns, with NumPy only.

The interquartile mean, the bootstrap over runs, the optimality gap, the probability of improvement and the
performance profile follow Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (NeurIPS). The tests compare them with results of its library, `rliable`.

A stratum is the array of the episode returns of one seed. With several strata, an interval describes the method,
since another seed would train another policy. With a single stratum, it describes only this policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np

MAX_NUMBERS = 3_000_000  # numbers that are resampled at once; they take 80 MB
MIN_EPISODES = 5  # of a single policy, below which there is no interval
MIN_SEEDS = 3  # of a method, below which there is no interval
Statistic = Callable[..., np.ndarray]


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the interquartile mean: the mean without the lowest and the highest quarter (rounded down) of values."""
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
    """Return the bootstrap interval of `statistic` over the pooled values.

    With several strata, it is the two-level percentile bootstrap: seeds are drawn again with replacement, and then
    the episodes of each drawn seed. With few seeds it covers less than `confidence` (data/results/README.md gives the
    measured coverage). With one stratum, its episodes are drawn again, and the percentiles are moved outwards as
    Student's t requires for few episodes. This is the expanded percentile interval of Hesterberg 2015, "What Teachers
    Should Know About the Bootstrap".

    Args:
      strata: one 1-D array of episode returns for each seed. A policy that no seed trained, such as an expert, is a
        single stratum.
      statistic: takes `(n_resamples, n)` values and `axis`.
      confidence: the nominal coverage, between 0 and 1.
      n_resamples: the number of resamples.
      seed: the seed of the resamples.

    Both ends are not-a-number for two seeds, and for a single stratum of fewer than five episodes.
    """
    strata = [np.asarray(stratum, np.float64) for stratum in strata]
    if not _enough(strata):
        return float("nan"), float("nan")
    estimates = np.concatenate([*_estimates(strata, statistic, n_resamples, np.random.default_rng(seed))])
    tail = tail_probability(len(strata[0]), confidence) if len(strata) == 1 else (1 - confidence) / 2
    low, high = np.quantile(estimates, [tail, 1 - tail])
    return float(low), float(high)


def _enough(strata: Sequence[np.ndarray]) -> bool:
    """Return whether there are enough seeds, or enough episodes of a single policy, for an interval."""
    if len(strata) == 1:
        return len(strata[0]) >= MIN_EPISODES
    return len(strata) >= MIN_SEEDS and min(map(len, strata)) > 0


def _estimates(
    strata: Sequence[np.ndarray], statistic: Statistic, n_resamples: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the statistic of the resamples, in arrays. A seed that is drawn brings as many episodes as it has."""
    n_seeds, lengths = len(strata), {len(stratum) for stratum in strata}
    if len(lengths) > 1:
        for _ in range(n_resamples):
            drawn = [strata[i] for i in rng.integers(n_seeds, size=n_seeds)]
            values = np.concatenate([stratum[rng.integers(len(stratum), size=len(stratum))] for stratum in drawn])
            yield statistic(values[None], axis=1)
        return
    table, (n,) = np.stack(strata), lengths
    for rows in _portions(n_resamples, n_seeds * n):
        seeds, episodes = rng.integers(n_seeds, size=(rows, n_seeds, 1)), rng.integers(n, size=(rows, n_seeds, n))
        yield statistic(table[seeds, episodes].reshape(rows, -1), axis=1)


def tail_probability(n: int, confidence: float = 0.95) -> float:
    """Return the probability of each tail of a single policy's percentile interval from `n` episodes."""
    return NormalDist().cdf(-math.sqrt(n / (n - 1)) * t_quantile((1 + confidence) / 2, n - 1))


def t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution. At 0.975 it is right to 0.3 % from 4 degrees of freedom on.

    It is the Cornish-Fisher expansion around the normal quantile (Abramowitz and Stegun 1964, formula 26.7.5).
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum(term / degrees**power for power, term in enumerate(terms))


def _portions(n_resamples: int, width: int) -> Iterator[int]:
    """Yield how many resamples of `width` numbers to draw at once, so that they fit into memory."""
    at_once = max(1, MAX_NUMBERS // width)
    for start in range(0, n_resamples, at_once):
        yield min(at_once, n_resamples - start)


def episode_spread(strata: Sequence[np.ndarray]) -> float:
    """Return the standard deviation of episodes within a seed: the square root of the seeds' mean variance (n - 1).

    It does not include the spread between the seeds' means. It is NaN if a seed has a single episode.
    """
    if min(map(len, strata)) < 2:
        return float("nan")
    return float(np.sqrt(np.mean([np.var(stratum, ddof=1) for stratum in strata])))


def seed_spread(strata: Sequence[np.ndarray]) -> float:
    """Return the sample standard deviation (divided by n - 1) of the seeds' means, or NaN for a single seed."""
    means = [float(np.mean(stratum)) for stratum in strata]
    return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")


def normalise(returns: np.ndarray, random_mean: float, expert_mean: float) -> np.ndarray:
    """Return the returns as scores: 0 for the mean of the random policy, and 1 for the mean of the live expert.

    Unlike the percentage of the expert's return, scores also order policies correctly if returns are negative. All
    are NaN unless the expert is better than the random policy.
    """
    if not expert_mean > random_mean:
        return np.full(len(returns), np.nan)
    return (np.asarray(returns, np.float64) - random_mean) / (expert_mean - random_mean)


def optimality_gap(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean difference between 1 and the normalised scores. A score above 1 counts as 1."""
    return 1 - np.minimum(scores, 1).mean(axis=axis)


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return `(len(thresholds),)`, the fraction of scores above each threshold."""
    return (np.asarray(scores)[:, None] > np.asarray(thresholds)).mean(axis=0)


def probability_of_improvement(
    strata: Sequence[np.ndarray], others: Sequence[np.ndarray], n_resamples: int = 10_000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Return the probability that an episode of one variant has a higher return than an episode of the other.

    It is the Mann-Whitney U statistic over all pairs, divided by the number of pairs. A tie counts half. Also return
    its 95 % interval. The resamples of both variants are drawn as in `bootstrap_interval`, but the percentiles are
    not moved for a single seed. The interval is NaN if either variant has too few seeds or, with a single seed, too
    few episodes.

    Args:
      strata: a 1-D array of episode returns for each seed of the variant.
      others: the same of the other variant.
    """
    strata, others = ([np.asarray(s, np.float64) for s in side] for side in (strata, others))
    ours, theirs = np.concatenate(strata), np.concatenate(others)
    wins = (ours[:, None] > theirs) + 0.5 * (ours[:, None] == theirs)
    if not (_enough(strata) and _enough(others)):
        return float(wins.mean()), (float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    estimates = []
    for rows in _portions(n_resamples, len(ours) + len(theirs)):
        weights, other_weights = _bootstrap_weights(strata, rows, rng), _bootstrap_weights(others, rows, rng)
        estimates.append(((weights @ wins) * other_weights).sum(axis=1))
    low, high = np.percentile(np.concatenate(estimates), [2.5, 97.5])
    return float(wins.mean()), (float(low), float(high))


def _bootstrap_weights(strata: Sequence[np.ndarray], rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return the share of each of the n pooled values in each resample, `(rows, n)`.

    A seed that was drawn k times has k times its number of episodes in the resample.
    """
    times = rng.multinomial(len(strata), np.full(len(strata), 1 / len(strata)), size=rows)
    counts = [rng.multinomial(k * len(s), np.full(len(s), 1 / len(s))) for k, s in zip(times.T, strata, strict=True)]
    pooled = np.concatenate(counts, axis=1)
    return pooled / pooled.sum(axis=1, keepdims=True)


def percent_of_expert(mean_return: float, expert_mean_return: float) -> float:
    """Return 100 times the ratio of the means, or NaN if either is negative or the expert's is zero.

    With negative returns (MountainCar), the ratio of the worse policy would be higher.
    """
    if expert_mean_return > 0 and mean_return >= 0:
        return 100 * mean_return / expert_mean_return
    return float("nan")


def describe(returns: np.ndarray, lengths: np.ndarray) -> dict[str, float]:
    """Return a summary of the evaluation episodes of one policy. `std` is divided by n - 1."""
    returns, lengths = np.asarray(returns, np.float64), np.asarray(lengths)
    low, high = bootstrap_interval([returns])
    return {
        "episodes": len(returns),
        "mean": float(returns.mean()),
        "std": episode_spread([returns]),
        "iqm": float(iqm(returns)),
        "ci95_low": low,
        "ci95_high": high,
        "min": float(returns.min()),
        "max": float(returns.max()),
        "mean_episode_length": float(lengths.mean()),
    }
