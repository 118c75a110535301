"""The numbers of a diagnosis, one a step: how far actions lie apart, how far states lie from the training set, and
where a policy first diverges. NumPy only."""

from __future__ import annotations

import numpy as np

from rl_il.infrastructure.progress import progress

WINDOW = 10  # steps in which actions must differ, for a divergence
LEAST_STD = 1e-3  # a number that hardly varies is not divided by its std, as in `fit_normalization`
CHUNK = 10_000_000  # distances held at once: 80 MB


def action_errors(acs: np.ndarray, labels: np.ndarray, discrete: bool) -> np.ndarray:
    """`(N,)`: 1 where an action is not the label, else 0; of continuous ones the squared difference, mean over its
    dimensions."""
    if discrete:
        return (acs != labels).astype(np.float64)
    return ((acs.astype(np.float64) - labels) ** 2).mean(axis=1)


def state_scale(states: np.ndarray) -> np.ndarray:
    """`(numbers,)`: each of a state's numbers is divided by this for distances: its std over `states`."""
    std = np.asarray(states, np.float64).reshape(len(states), -1).std(axis=0)
    return np.where(std < LEAST_STD, 1.0, std)


def nearest_distances(
    states: np.ndarray, training_states: np.ndarray, scale: np.ndarray, description: str = "measuring distances"
) -> np.ndarray:
    """`(N,)`: the Euclidean distance from each of N states to the nearest training state, both divided by `scale`."""
    centre = training_states.reshape(len(training_states), -1).mean(axis=0, dtype=np.float64)
    states, training = (
        (np.asarray(each, np.float64).reshape(len(each), -1) - centre) / scale for each in (states, training_states)
    )
    squares = (training**2).sum(axis=1)
    rows = max(1, CHUNK // len(training))
    distances = np.empty(len(states))
    starts = range(0, len(states), rows)
    for start in progress(starts, len(starts), description):
        some = states[start : start + rows]
        # |a - b|^2 less |a|^2, which is the same for every b; the distance is taken afresh, so that nothing cancels.
        nearest = np.argmin(squares - 2 * (some @ training.T), axis=1)
        distances[start : start + rows] = np.linalg.norm(some - training[nearest], axis=1)
    return distances


def first_divergence(errors: np.ndarray, limit: float) -> tuple[int, bool]:
    """Where an episode first leaves the expert.

    Args:
      errors: `(T,)`, one a step.
      limit: what the mean over `WINDOW` steps must exceed.

    Returns:
      the first step above `limit` in the first such window, and True; without one, the step of the greatest error in
      the worst window, and False.
    """
    window = min(WINDOW, len(errors))
    sums = np.convolve(errors, np.ones(window), "valid")
    diverges = bool((sums > limit * window).any())
    start = int(np.argmax(sums > limit * window)) if diverges else int(np.argmax(sums))
    inside = errors[start : start + window]
    return start + int(np.argmax(inside > limit) if diverges else np.argmax(inside)), diverges
