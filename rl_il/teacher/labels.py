"""All steps of a session, and the weight of each in training."""

from __future__ import annotations

import threading

import numpy as np
import torch

from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.types import LEARNER, Batch, Trajectory


class Labels:
    """The training set of a session: all steps in order, each with a weight.

    The probability that a minibatch draws a step is proportional to the step's weight. A step of weight 0.2 is drawn
    a fifth as often as one of weight 1, and a step of weight 0 is never drawn. The teacher's steps have weight 1. The
    agent's own steps are approved, because the teacher saw them and did not take over. `rule` gives their weight: 0
    (`human`), 1 (`performed`) or `approval_weight` (`weighted`). One thread may add while another draws.
    """

    def __init__(self, rule: str, approval_weight: float, buffer: ReplayBuffer):
        self.approval = {"human": 0.0, "performed": 1.0, "weighted": approval_weight}[rule]
        self.buffer = buffer
        self.added = 0  # number of labels added so far, including undone ones; it increases with each new label
        self._weights, self._by_teacher = np.zeros(0), np.zeros(0, bool)  # of all steps added so far
        self._sums: np.ndarray | None = None  # cumulative sums of the weights of the buffer's rows
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of steps added so far, with or without a label."""
        return self.buffer.added

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of labels by who chose the action: `human` (the teacher) and `approved` (the agent)."""
        with self._lock:
            labelled, by_teacher = self._weights > 0, self._by_teacher
        numbers = {"human": labelled & by_teacher, "approved": labelled & ~by_teacher}
        return {name: int(np.count_nonzero(steps)) for name, steps in numbers.items()}

    @property
    def acs(self) -> torch.Tensor:
        """Return the actions of the stored steps, as in the buffer."""
        return self.buffer.acs

    @property
    def device(self) -> torch.device:
        """Return the device of the minibatches."""
        return self.buffer.device

    def weight(self, source: int) -> float:
        """Return the weight of a step whose action `source` chose."""
        return self.approval if source == LEARNER else 1.0

    def add(self, trajectory: Trajectory, continued: bool = False) -> None:
        """Append an episode or a part of one. The executed actions are the labels. Unlabelled steps get weight 0.

        With `continued`, the part belongs to the same episode as the last one.
        """
        by_teacher = trajectory.source != LEARNER
        weights = np.where(by_teacher, 1.0, self.approval) * trajectory.labelled_steps
        with self._lock:
            self._weights = np.append(self._weights, weights)
            self._by_teacher = np.append(self._by_teacher, by_teacher)
            # The buffer keeps unlabelled steps too, so that a row and its step have the same number. Undo needs this.
            self.buffer.add([Trajectory(trajectory.obs, trajectory.acs, trajectory.rewards)], continued)
            self._sums = None
            self.added += int(np.count_nonzero(weights))

    def undo(self, steps: int) -> int:
        """Remove the labels of the last `steps` steps; return the number of removed labels."""
        with self._lock:
            taken = self._weights[-steps:]  # a view
            labels = int(np.count_nonzero(taken))
            taken[:] = 0
            self._sums = None
        return labels

    def labelled(self, start: int, stop: int) -> np.ndarray:
        """Return `(stop - start,)` bool: which of these steps are labels now."""
        return self._weights[start:stop] > 0

    def draw(self, n: int, rng: np.random.Generator) -> torch.Tensor | None:
        """Draw `n` row numbers with replacement, in proportion to the weights; return None if there is no label."""
        with self._lock:
            if self._sums is None:
                self._sums = np.cumsum(self._weights[-len(self.buffer) :])
            kept = len(self._sums)
            if kept == 0 or self._sums[-1] == 0:  # there is no label, or the buffer has dropped them all
                return None
            drawn = np.searchsorted(self._sums, rng.random(n) * self._sums[-1], side="right")
            numbers = (len(self) - kept + np.minimum(drawn, kept - 1)) % self.buffer.max_size
        return torch.from_numpy(numbers).to(self.buffer.device)

    def batch(self, rows: torch.Tensor) -> Batch:
        """Return the minibatch of these row numbers."""
        with self._lock:
            return self.buffer.batch(rows)
