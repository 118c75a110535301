"""Rules under which the learner acts, and which choose some of the visited states after the iteration's episodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Rule
from rl_il.infrastructure.labelling import split_like
from rl_il.infrastructure.rules.arguments import check_name
from rl_il.types import Actor, Trajectory

if TYPE_CHECKING:  # it imports torch, which a worker process does not need
    from rl_il.infrastructure.replay_buffer import ReplayBuffer

ROWS_AT_ONCE = 1000  # points whose distances to all centres are computed together
CANDIDATES = 5  # times as many states as the budget, among which spread=kcentre chooses
CONSTANT = 1e-6  # numbers with a smaller standard deviation, relative to their mean, count as constant


class Random(Rule):
    """Label states that are drawn uniformly at random from those of the iteration.

    It is no paper's rule, but the baseline that a cleverer choice must surpass. All states are selected, and
    `label_round` draws from them.
    """

    has_budget = True


class Choosing(Rule):
    """A rule that chooses among all states of the iteration, whatever their episode. A subclass defines `choose`."""

    has_budget = True
    stays = ("_learner", "_labelled")

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Store the learner, and the observations that have a label so far."""
        self._learner, self._labelled = snapshot, data.labelled_obs().cpu().numpy()

    def select(
        self, trajectories: Sequence[Trajectory], budget: int | None, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return the chosen states of the iteration's episodes."""
        masks = [t.labelled_steps for t in trajectories]
        return choose_among(trajectories, masks, budget, lambda obs, n: self.choose(obs, n, rng))

    @abstractmethod
    def choose(self, obs: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return the indices of `n` of the observations `(N, *ob_shape)`."""


class KCentre(Choosing):
    """Label states that are far from the labelled ones (Sener and Savarese 2018, "Active Learning for Convolutional
    Neural Networks: A Core-Set Approach", arXiv:1708.00489).

    The states are chosen one by one: each time the one with the largest distance to the nearest state that is
    chosen, or labelled and in the replay buffer. This is the paper's greedy algorithm 1, without its refinement.
    Pictures are compared only with those of the same iteration, since the buffer keeps them in another form; the
    first one is the farthest from their mean.

    Args:
      space: where distances are measured. obs: between standardised observations. features: between the outputs of
        the network's last hidden layer, as in the paper.
    """

    def __init__(self, space: str = "obs"):
        self.space = check_name("space", space, ("obs", "features"))

    def check(self, config: RunConfig, learner: Actor) -> None:
        """Raise `InputError` if there is no budget, or if the learner has no features."""
        super().check(config, learner)
        if self.space == "features":
            try:
                learner.features(np.zeros((1, *learner.ob_shape), np.float32))
            except InputError as error:
                raise InputError(f"--rule_kwargs space=features: {error}; give space=obs") from error

    def choose(self, obs: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return the indices of the `n` observations that are far from the labelled ones and from each other."""
        if self.space == "features":
            return k_centre(self._learner.features(obs), self._learner.features(self._labelled), n)
        return far_from(obs, self._labelled, n)


class Disagreement(Choosing):
    """Label the states where the networks of an ensemble disagree most, as in DADAgger (Haridas, Hamadeh and Dash
    2023, arXiv:2301.01348).

    The paper's networks differ by dropout, and it takes the states with the largest variance. Here they are the
    learner's ensemble, of which each network has weights and minibatches of its own; for discrete actions, the
    disagreement is a divergence of their probabilities. The other two kinds of `spread` are not the paper's.

    Args:
      spread: top: the states with the largest disagreement. proportion: states drawn at random, with probabilities in
        proportion to the disagreement. kcentre: of five times as many states with the largest disagreement, those
        that are far from each other.
    """

    needs_ensemble = True
    asks_learner = True

    def __init__(self, spread: str = "top"):
        self.spread = check_name("spread", spread, ("top", "proportion", "kcentre"))

    def choose(self, obs: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        """Return the indices of `n` observations with a large disagreement."""
        doubts = self._learner.disagreement(obs).astype(np.float64)
        if self.spread == "proportion":
            doubts += 1e-9  # so that there are n states with a probability above 0
            return rng.choice(len(doubts), n, replace=False, p=doubts / doubts.sum())
        ranked = np.argsort(-doubts, kind="stable")
        if self.spread == "top" or n == 0:
            return ranked[:n]
        candidates = ranked[: CANDIDATES * n]
        points = standardised(obs, obs)[candidates]
        return candidates[[0, *(k_centre(points[1:], points[:1], n - 1) + 1)]]


def choose_among(
    trajectories: Sequence[Trajectory],
    masks: Sequence[np.ndarray],
    budget: int | None,
    choose: Callable[[np.ndarray, int], np.ndarray],
) -> list[np.ndarray]:
    """Return `(T,)` bool for each episode: at most `budget` states of the `masks`.

    `choose(obs, n)` returns the indices of `n` of the observations in the masks.
    """
    visited, may = np.concatenate([t.obs[:-1] for t in trajectories]), np.flatnonzero(np.concatenate(masks))
    chosen = np.zeros(len(visited), bool)
    if len(may):
        chosen[may[choose(visited[may], len(may) if budget is None else min(budget, len(may)))]] = True
    return split_like(chosen, trajectories)


def standardised(obs: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return the observations as points `(N, d)` float32, standardised by the statistics of others.

    Numbers that are constant there become 0, so that they do not decide.
    """
    rows, given = (each.reshape(len(each), -1).astype(np.float64) for each in (obs, like))
    mean, std = given.mean(axis=0), given.std(axis=0)
    varies = std > CONSTANT * np.maximum(1, np.abs(mean))
    return np.where(varies, (rows - mean) / np.where(varies, std, 1), 0).astype(np.float32)


def far_from(obs: np.ndarray, labelled: np.ndarray, n: int) -> np.ndarray:
    """Return the indices of `n` observations that are far from the labelled ones and from each other.

    Labelled ones of another shape, as the buffer keeps pictures, are not compared.
    """
    if labelled.shape[1:] != obs.shape[1:]:
        points = standardised(obs, obs)
        return k_centre(points, np.zeros((1, points.shape[1]), np.float32), n)
    return k_centre(standardised(obs, labelled), standardised(labelled, labelled), n)


def k_centre(points: np.ndarray, centres: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of `k` points, each in turn the farthest from all centres and from those before it.

    Args:
      points: `(N, d)` floats. If there are fewer than `k`, all are returned.
      centres: `(M, d)` floats, at least one.
      k: the number of points to choose.
    """
    parts = [_nearest(points[i : i + ROWS_AT_ONCE], centres) for i in range(0, len(points), ROWS_AT_ONCE)]
    distances = np.concatenate([*parts, np.empty(0, np.float32)])
    chosen = np.empty(min(k, len(points)), int)
    for i in range(len(chosen)):
        chosen[i] = farthest = distances.argmax()
        distances = np.minimum(distances, np.linalg.norm(points - points[farthest], axis=1))
        distances[farthest] = -1  # it is not chosen again, even if other points are equal to it
    return chosen


def _nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest centre, `(N,)` float32."""
    import torch

    exact = "donot_use_mm_for_euclid_dist"  # the faster way loses the digits of small distances
    return torch.cdist(*map(torch.from_numpy, (points, centres)), compute_mode=exact).min(dim=1).values.numpy()
