"""Every step that was performed, and how much each of them counts in training."""

from __future__ import annotations

import threading

import numpy as np
import torch

from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.types import LEARNER, Batch, Trajectory


class Labels:
    """The training set of a session: steps in the order in which they were performed, each with a weight.

    A minibatch draws each row with a probability in proportion to its weight, so that a step of weight 0.2 takes
    part in the loss a fifth as often as one of weight 1, and one of weight 0 not at all. `rule` gives the weights:
    the teacher's steps have 1; the agent's own, which the teacher saw and let pass, have 0 (`human`), 1
    (`performed`) or `approval_weight` (`weighted`). One thread adds, another may draw.
    """

    def __init__(self, rule: str, approval_weight: float, buffer: ReplayBuffer):
        self.approval = {"human": 0.0, "performed": 1.0, "weighted": approval_weight}[rule]
        self.buffer = buffer
        self.added = 0  # labels ever, of which some may be undone: it grows where there is something to learn
        self._weights, self._by_teacher = np.zeros(0), np.zeros(0, bool)  # of all steps ever
        self._sums: np.ndarray | None = None  # of the weights up to each row that the buffer holds
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Steps ever performed, labelled or not."""
        return self.buffer.added

    @property
    def counts(self) -> dict[str, int]:
        """Return how many labels there are by who chose them."""
        with self._lock:
            labelled, by_teacher = self._weights > 0, self._by_teacher
        numbers = {"human": labelled & by_teacher, "approved": labelled & ~by_teacher}
        return {name: int(np.count_nonzero(steps)) for name, steps in numbers.items()}

    def weight(self, source: int) -> float:
        """Return what a step counts by who chose its action."""
        return self.approval if source == LEARNER else 1.0

    def add(self, trajectory: Trajectory, continued: bool = False) -> None:
        """Append an episode or a piece of one, with what was done as labels; unlabelled steps get no weight.

        `continued`: the piece goes on where the last one ended.
        """
        by_teacher = trajectory.source != LEARNER
        weights = np.where(by_teacher, 1.0, self.approval) * trajectory.labelled_steps
        with self._lock:
            self._weights = np.append(self._weights, weights)
            self._by_teacher = np.append(self._by_teacher, by_teacher)
            # The buffer keeps unlabelled steps too: a row's number then is the step's, which undoing needs.
            self.buffer.add([Trajectory(trajectory.obs, trajectory.acs, trajectory.rewards)], continued)
            self._sums = None
            self.added += int(np.count_nonzero(weights))

    def undo(self, steps: int) -> int:
        """Take the label from each of the last `steps` steps; return how many had one."""
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
        """Draw the row numbers of `n` labels with replacement, in proportion to their weights; None without any."""
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
        """Return the rows of these numbers."""
        with self._lock:
            return self.buffer.batch(rows)
