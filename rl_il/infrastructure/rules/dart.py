"""DART: the expert acts with noise, so that it shows how to correct errors of the learner's size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rl_il.config import RunConfig
from rl_il.infrastructure.dagger import Decision, Rule, Teacher
from rl_il.infrastructure.rules.arguments import check_number
from rl_il.seeding import RULE_DRAWS
from rl_il.types import Actor

if TYPE_CHECKING:  # it imports torch, which a worker process does not need
    from rl_il.infrastructure.replay_buffer import ReplayBuffer


class DART(Rule):
    """Let the expert act with noise, and label all states with its actions without noise (Laskey et al. 2017, "DART:
    Noise Injection for Robust Imitation Learning", arXiv:1703.09327).

    The learner never acts, and no state is labelled afterwards; all steps count as consulted. The noise of continuous
    actions is Gaussian. As in the paper, its covariance has the shape of the learner's errors on the labelled states
    (on which it was trained), and is scaled. The paper scales it by the error that it expects of the final policy;
    here the scale is `noise`. If the learner makes no errors, or cannot act on recorded states, the noise is
    independent in each number. For discrete actions the paper has no noise; here another action that occurs among the
    labels is executed with the probability `noise`.

    Args:
      noise: the root mean square of the noise in standard deviations of the labels, or its probability.
    """

    def __init__(self, noise: float = 0.3):
        self.noise = check_number("noise", noise)
        self._rng = np.random.default_rng()

    def check(self, config: RunConfig, learner: Actor) -> None:
        """Raise `InputError` if the noise is a probability above 1, since the actions are discrete."""
        super().check(config, learner)
        if learner.form is not None and learner.form.discrete:
            check_number("noise", self.noise, 1)

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Compute the noise's covariance, as a factor, or the actions among which another one is drawn."""
        labels = data.labelled_acs().cpu().numpy()
        self._actions = None
        if labels.dtype.kind in "iu":
            check_number("noise", self.noise, 1)  # a trainer that was made in Python calls no `check`
            self._actions = snapshot.form.to_actions(np.unique(labels, axis=0))
            return
        std = labels.std(axis=0, dtype=np.float64)
        varies = std > 0
        errors = np.diag(varies.astype(float))  # independent noise
        obs = data.labelled_obs().cpu().numpy() if snapshot.answers_recorded else None
        if obs is not None and obs.shape[1:] == snapshot.ob_shape:
            acs = snapshot.get_action(obs).reshape(len(labels), -1)
            found = np.where(varies, (acs - labels) / np.where(varies, std, 1), 0)
            errors = found if found.any() else errors
        covariance = errors.T @ errors
        power = np.trace(covariance) / max(varies.sum(), 1)  # the mean square of a number that varies
        values, vectors = np.linalg.eigh(covariance / (power or 1))
        self._factor = self.noise * std[:, None] * vectors * np.sqrt(np.maximum(values, 0))

    def begin_episode(self, seed: int) -> None:
        """Start the episode's own random stream."""
        self._rng = np.random.default_rng([seed, RULE_DRAWS])

    def decide(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> Decision:
        """Return the expert's action with noise. Its label is the expert's action."""
        answer = teacher.act(ob)
        return Decision(self._disturbed(np.asarray(answer)), teacher.source)

    def _disturbed(self, answer: np.ndarray) -> np.ndarray:
        if self._actions is None:
            noise = self._factor @ self._rng.standard_normal(len(self._factor))
            return (answer + noise.reshape(answer.shape)).astype(answer.dtype)
        others = [action for action in self._actions if not np.array_equal(action, answer)]
        if not others or self._rng.random() >= self.noise:
            return answer
        return others[self._rng.integers(len(others))]
