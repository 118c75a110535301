"""Several networks that act together, in NumPy: the mean or the vote, and how much they disagree. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rl_il.policies.actors import NumpyActor, as_batch, greedy, normalise
from rl_il.types import ActionForm, Actor


def vote(logits: np.ndarray) -> np.ndarray:
    """Return the integers `(...)` int64 that most of K networks choose, for their logits `(K, ..., n)`.

    Of several with the same number of votes, it is the one whose probability has the largest mean over the networks.
    """
    chosen = greedy(logits)
    if (chosen == chosen[0]).all():
        return chosen[0]
    votes = (chosen[..., None] == np.arange(logits.shape[-1])).sum(0)
    return greedy(votes + np.exp(log_softmax(logits)).mean(0))


def divergence(logits: np.ndarray) -> np.ndarray:
    """Return the disagreement `(...)` of K networks about an integer, for their logits `(K, ..., n)`.

    It is the mean Kullback-Leibler divergence of the networks' probabilities from their mean, in nats: 0 if all are
    equal, and at most log K. Source: McCallum and Nigam 1998, "Employing EM and Pool-Based Active Learning for Text
    Classification". The share of lost votes would have few different values, so many states would be equal.
    """
    each = log_softmax(logits)
    mean = np.log(np.exp(each).mean(0))
    return np.maximum((np.exp(each) * (each - mean)).sum(-1).mean(0), 0)


def spread(acs: np.ndarray) -> np.ndarray:
    """Return the disagreement `(N,)` of K networks about continuous actions `(K, N, numbers)`.

    It is the root of the variance over the networks, averaged over the numbers of an action, as the variance of the
    ensemble in Menda et al. 2019 (EnsembleDAgger, arXiv:1807.08364).
    """
    return np.sqrt(acs.var(0).mean(-1))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the logarithms of the probabilities for logits `(..., n)`. None is below -80, so all are finite."""
    shifted = np.maximum(logits - logits.max(-1, keepdims=True), -80)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


class EnsembleActor(Actor):
    """The frozen copy of an ensemble, which acts by the mean (continuous actions) or by a vote (integers).

    All networks are computed together, which takes less time than one after the other.

    Args:
      members: the arguments of each network's `NumpyActor`. They differ only in `layers` and `norms`.
      ob_shape: the environment's observation shape.
      form: the form of the actions.
      action_scale, action_center: an action is the mean times `action_scale`, plus `action_center`.
      inputs: the arguments of all `NumpyActor`s about observations.
    """

    def __init__(
        self,
        members: Sequence[dict[str, Any]],
        ob_shape: tuple[int, ...],
        form: ActionForm,
        action_scale: np.ndarray | float = 1.0,
        action_center: np.ndarray | float = 0.0,
        **inputs: Any,
    ):
        raw = {"output": "identity"} if form.discrete else {}
        actors = [NumpyActor(**each | raw, ob_shape=ob_shape, **inputs) for each in members]
        self.first = actors[0]  # its settings are those of all
        self.layers = [_stacked(layer) for layer in zip(*(actor.layers for actor in actors), strict=True)]
        self.norms = [_stacked(norm) for norm in zip(*(actor.norms for actor in actors), strict=True)]
        self.ob_shape, self.form, self.ensemble = tuple(ob_shape), form, len(actors)
        self.action_scale, self.action_center = action_scale, action_center
        self._ends = np.cumsum(form.choices)[:-1]

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return one action for one observation, or N actions for N observations. They are not clipped."""
        outputs, single = self._outputs(obs)
        if self.form.discrete:
            labels = np.stack([vote(part) for part in self._integers(outputs)], axis=-1)
            labels = labels if self.form.several else labels[:, 0]
        else:
            labels = (outputs.mean(0) * self.action_scale + self.action_center).astype(np.float32)
        acs = self.form.to_actions(labels)
        return acs[0] if single else acs

    def disagreement(self, obs: np.ndarray) -> np.ndarray:
        """Return how much the networks disagree: one float32 for one observation, or `(N,)` for N.

        It is their `spread`, or, if actions are integers, the mean of the `divergence` of each integer.
        """
        outputs, single = self._outputs(obs)
        if self.form.discrete:
            found = np.mean([divergence(part) for part in self._integers(outputs)], axis=0)
        else:
            found = spread(outputs)
        return found[0] if single else found

    def _outputs(self, obs: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the outputs of the networks, `(K, N, numbers)`, and whether `obs` was a single observation."""
        obs, single = as_batch(obs, self.ob_shape)
        h = self.first.read(obs)
        for i, (w, b) in enumerate(self.layers):
            if i > 0:
                if self.norms:
                    normalise(h, *self.norms[i - 1])
                self.first.activate(h)
            h = np.matmul(h, w)
            h += b
        return self.first.decide(h), single

    def _integers(self, outputs: np.ndarray) -> list[np.ndarray]:
        """Return the logits `(K, N, choices)` of each integer of an action."""
        return np.split(outputs, self._ends, axis=-1) if self.form.several else [outputs]


def _stacked(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return K pairs of weights and bias, or of gain and bias, as two arrays `(K, in or 1, out)`."""
    return tuple(np.stack([np.atleast_2d(array) for array in arrays]) for arrays in zip(*pairs, strict=True))
