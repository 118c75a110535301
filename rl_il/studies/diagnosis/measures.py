"""Measures of drift: differences of actions, distances to the nearest states, and the first divergence.

This module needs only NumPy.
"""

from __future__ import annotations

import numpy as np

from rl_il.infrastructure.progress import progress

WINDOW = 10  # length in steps of the window in which actions must differ for a divergence
CHUNK = 10_000_000  # number of distances in memory at a time: 80 MB
MIN_STD = 1e-3  # a smaller std is replaced by 1, as in `fit_normalization`


def action_errors(acs: np.ndarray, labels: np.ndarray, discrete: bool) -> np.ndarray:
    """Return `(N,)` errors. For discrete actions, an error is 1 if the action is not the label, else 0.

    Several integers are the label if all are. For continuous actions it is the squared difference, averaged over the
    dimensions.
    """
    if discrete:
        return (acs != labels).reshape(len(acs), -1).any(axis=1).astype(np.float64)
    return ((acs.astype(np.float64) - labels) ** 2).reshape(len(acs), -1).mean(axis=1)


def state_scale(states: np.ndarray) -> np.ndarray:
    """Return `(numbers,)`: the std of each number of a state. To measure distances, states are divided by it."""
    std = np.asarray(states, np.float64).reshape(len(states), -1).std(axis=0)
    return np.where(std < MIN_STD, 1.0, std)


def nearest_rows(
    queries: np.ndarray, rows: np.ndarray, description: str, but_itself: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the row that is nearest to each query. All pairs are compared, in chunks that fit into memory.

    Args:
      queries: `(N, D)`.
      rows: `(M, D)`.
      description: the text of the progress bar.
      but_itself: the queries are the first N rows, and a row does not count as its own neighbour.

    Returns:
      `(N,)` indices into `rows`, and `(N,)` Euclidean distances.
    """
    squares = (rows**2).sum(axis=1)
    step = max(1, CHUNK // len(rows))
    nearest, distances = np.empty(len(queries), int), np.empty(len(queries))
    starts = range(0, len(queries), step)
    for start in progress(starts, len(starts), description):
        some, here = queries[start : start + step], slice(start, start + step)
        # |a - b|^2 without |a|^2, which is the same for every b.
        scores = squares - 2 * (some @ rows.T)
        if but_itself:
            scores[np.arange(len(some)), start + np.arange(len(some))] = np.inf
        nearest[here] = scores.argmin(axis=1)
        # This is computed directly, because the difference of large squares would not be exact near 0.
        distances[here] = np.linalg.norm(some - rows[nearest[here]], axis=1)
    return nearest, distances


def nearest_distances(
    states: np.ndarray, training_states: np.ndarray, scale: np.ndarray, description: str
) -> np.ndarray:
    """Return `(N,)` distances from each state to the nearest training state, after both are divided by `scale`."""
    centre = training_states.reshape(len(training_states), -1).mean(axis=0, dtype=np.float64)
    states, training = (
        (np.asarray(each, np.float64).reshape(len(each), -1) - centre) / scale for each in (states, training_states)
    )
    return nearest_rows(states, training, description)[1]


def first_divergence(errors: np.ndarray, limit: float) -> tuple[int, bool]:
    """Return the step at which an episode first diverges from the expert.

    Args:
      errors: `(T,)`, one for each step.
      limit: the mean over a window of `WINDOW` steps must exceed it.

    Returns:
      the step, and whether there is such a window. The step is the first above `limit` in the first such window. If
      there is none, it is the step with the largest error in the window with the largest mean.
    """
    window = min(WINDOW, len(errors))
    sums = np.convolve(errors, np.ones(window), "valid")
    diverges = bool((sums > limit * window).any())
    start = int(np.argmax(sums > limit * window)) if diverges else int(np.argmax(sums))
    inside = errors[start : start + window]
    return start + int(np.argmax(inside > limit) if diverges else np.argmax(inside)), diverges
