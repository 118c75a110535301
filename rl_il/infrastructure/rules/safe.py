"""SafeDAgger and LazyDAgger: a second network judges where the learner may act."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Teacher
from rl_il.infrastructure.rules.arguments import check_thresholds
from rl_il.infrastructure.rules.takeover import Takeover, distances
from rl_il.seeding import stream
from rl_il.types import Actor

if TYPE_CHECKING:  # it imports torch, which a worker process does not need
    from rl_il.infrastructure.replay_buffer import ReplayBuffer

STEPS, MINIBATCH, UNITS = 1000, 100, 32  # of the training of a small network


class SafeDAgger(Takeover):
    """Let the expert act where a classifier predicts that the learner is far from it (Zhang and Cho 2017,
    "Query-Efficient Imitation Learning for End-to-End Simulated Driving", arXiv:1605.06450).

    The classifier learns, at the start of each iteration, at which labelled states the learner's action is further
    than `threshold` from the label. In the paper it also learns from states that the learner does not train on, and
    reads the features that the learner's network computes; here it reads the observations. With `release` the rule is
    LazyDAgger (Hoque et al. 2021, arXiv:2104.00053): the expert goes on until the learner's action is at most
    `release` away. LazyDAgger's noise in the expert's actions is left out.

    Args:
      threshold, release: distances, as for HGDAgger. Without `release`, the expert hands back where the classifier
        predicts that the learner is near.
      seed: the seed of the classifier's weights and minibatches.
    """

    settings = ("seed",)
    asks_learner = True

    def __init__(self, threshold: float = 0.3, release: float | None = None, seed: int = 1):
        self.threshold, self.release, self.seed = check_thresholds(threshold, release)[0], release, seed

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Train the classifier on the labelled states so far."""
        super().begin_round(snapshot, data, itr)
        obs, gaps = errors_on_labels(snapshot, data, self._scale)
        far = (gaps > self.threshold).astype(np.int64)
        self._judge = train_network(obs, far, 2, True, stream(self.seed, "rule", itr))

    def takes_over(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the classifier predicts that the learner is far from the expert."""
        return bool(self._judge.get_action(ob))

    def hands_back(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the learner is near: in truth with `release`, else as predicted."""
        if self.release is None:
            return not self.takes_over(ob, own, teacher)
        return self.gap(own, teacher.act(ob)) <= self.release


def errors_on_labels(snapshot: Actor, data: ReplayBuffer, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labelled observations `(N, *ob_shape)`, and the learner's distance from each label, `(N,)`.

    Raise `InputError` if the buffer keeps pictures in another form than the environment gives them.
    """
    obs, labels = data.labelled_obs().cpu().numpy(), data.labelled_acs().cpu().numpy()
    if obs.shape[1:] != snapshot.ob_shape:
        raise InputError("this rule asks the learner about the labelled states, which are no vectors here")
    return obs, distances(snapshot.get_action(obs), snapshot.form.to_actions(labels), scale)


def train_network(
    inputs: np.ndarray, labels: np.ndarray, outputs: int, discrete: bool, rng: np.random.Generator
) -> Actor:
    """Return a small network that was trained on the inputs `(N, *shape)` and the labels, as an actor."""
    from rl_il.policies.mlp_policy import MLPPolicySL  # it imports torch

    seed = int(rng.integers(2**62))
    network = MLPPolicySL(inputs.shape[1:], outputs, discrete, size=UNITS, seed=seed)
    network.fit_normalization(inputs)
    for _ in range(STEPS):
        rows = rng.integers(len(inputs), size=MINIBATCH)
        network.update(inputs[rows], labels[rows])
    return network.actor()
