"""How often a 95 % interval holds the true mean. `python tests/test_coverage.py` prints the results page's table."""

import numpy as np
import pytest

from rl_il.statistics import bootstrap_interval

EPISODES = 20
SAMPLERS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "skewed": lambda rng, n: rng.exponential(size=n) - 1,  # mean 0
}


def policy(rng: np.random.Generator, n_episodes: int, kind: str) -> list[np.ndarray]:
    """Return the returns of one policy, whose true mean is 0."""
    return [SAMPLERS[kind](rng, n_episodes)]


def method(rng: np.random.Generator, n_seeds: int, spread: float) -> list[np.ndarray]:
    """Return the returns of seeds whose true means are normal about 0; an episode's std within a seed is 1."""
    return [mean + rng.normal(size=EPISODES) for mean in spread * rng.normal(size=n_seeds)]


def coverage(sample, *settings, trials: int, n_resamples: int = 1000) -> float:
    """Return the fraction of intervals that hold 0."""
    rng = np.random.default_rng(0)
    intervals = (bootstrap_interval(sample(rng, *settings), n_resamples=n_resamples) for _ in range(trials))
    return float(np.mean([low <= 0 <= high for low, high in intervals]))


@pytest.mark.parametrize("n_seeds, low, high", [(5, 0.78, 0.91), (10, 0.86, 0.95)])
def test_few_seeds_cover_less_than_the_nominal_rate(n_seeds, low, high):
    assert low < coverage(method, n_seeds, 1.0, trials=400) < high


@pytest.mark.parametrize("n_episodes", [5, 9, 20])
def test_one_policy_is_covered_at_the_nominal_rate(n_episodes):
    assert 0.89 < coverage(policy, n_episodes, "normal", trials=600) < 0.98


if __name__ == "__main__":
    for n_seeds in (3, 5, 10, 20):
        rates = [coverage(method, n_seeds, spread, trials=4000) for spread in (1.0, 0.2)]
        print(f"{n_seeds:>3} seeds, std between seeds 1 and 0.2 of that within: {rates[0]:.3f} {rates[1]:.3f}")
    for n_episodes in (5, 6, 9, 20, 100):
        rates = [coverage(policy, n_episodes, kind, trials=4000) for kind in SAMPLERS]
        print(f"{n_episodes:>3} episodes of one policy, normal and skewed: {rates[0]:.3f} {rates[1]:.3f}")
