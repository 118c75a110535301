"""How much actions differ, which states are nearest and how far, and where a policy first diverges. NumPy only."""

from __future__ import annotations

import numpy as np

from rl_il.infrastructure.progress import progress

WINDOW = 10  # steps in which actions must differ, for a divergence
CHUNK = 10_000_000  # distances held at once: 80 MB
MIN_STD = 1e-3  # a number that hardly varies is not divided by its std, as in `fit_normalization`


def action_errors(acs: np.ndarray, labels: np.ndarray, discrete: bool) -> np.ndarray:
    """Return `(N,)`: 1 where an action is not the label, else 0; for continuous ones the squared difference, mean
    over the dimensions."""
    if discrete:
        return (acs != labels).astype(np.float64)
    return ((acs.astype(np.float64) - labels) ** 2).mean(axis=1)


def state_scale(states: np.ndarray) -> np.ndarray:
    """Return `(numbers,)`, by which a state's numbers are divided for distances: their std over `states`."""
    std = np.asarray(states, np.float64).reshape(len(states), -1).std(axis=0)
    return np.where(std < MIN_STD, 1.0, std)


def nearest_rows(
    queries: np.ndarray, rows: np.ndarray, description: str, but_itself: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return `(N,)` indices of the nearest of `rows (M, D)` for each of `queries (N, D)`, and `(N,)` distances.

    All pairs are compared, in pieces that fit into memory. With `but_itself` the queries are the first N rows, and a
    row does not count as its own neighbour. `description` is what the progress bar says.
    """
    squares = (rows**2).sum(axis=1)
    step = max(1, CHUNK // len(rows))
    nearest, distances = np.empty(len(queries), int), np.empty(len(queries))
    starts = range(0, len(queries), step)
    for start in progress(starts, len(starts), description):
        some, here = queries[start : start + step], slice(start, start + step)
        # |a - b|^2 less |a|^2, which is the same for every b.
        scores = squares - 2 * (some @ rows.T)
        if but_itself:
            scores[np.arange(len(some)), start + np.arange(len(some))] = np.inf
        nearest[here] = scores.argmin(axis=1)
        # Computed directly: the difference of large squares would not be exact near 0.
        distances[here] = np.linalg.norm(some - rows[nearest[here]], axis=1)
    return nearest, distances


def nearest_distances(
    states: np.ndarray, training_states: np.ndarray, scale: np.ndarray, description: str
) -> np.ndarray:
    """Return `(N,)`: the distance from each of N states to the nearest training state, both divided by `scale`."""
    centre = training_states.reshape(len(training_states), -1).mean(axis=0, dtype=np.float64)
    states, training = (
        (np.asarray(each, np.float64).reshape(len(each), -1) - centre) / scale for each in (states, training_states)
    )
    return nearest_rows(states, training, description)[1]


def first_divergence(errors: np.ndarray, limit: float) -> tuple[int, bool]:
    """Find where an episode first diverges from the expert.

    Args:
      errors: `(T,)`, one a step.
      limit: what the mean over `WINDOW` steps must exceed.

    Returns:
      the first step above `limit` in the first such window, and True; without one, the step of the largest error in
      the worst window, and False.
    """
    window = min(WINDOW, len(errors))
    sums = np.convolve(errors, np.ones(window), "valid")
    diverges = bool((sums > limit * window).any())
    start = int(np.argmax(sums > limit * window)) if diverges else int(np.argmax(sums))
    inside = errors[start : start + window]
    return start + int(np.argmax(inside > limit) if diverges else np.argmax(inside)), diverges
