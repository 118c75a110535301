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
    (`performed`) or `approval_weight` (`weighted`).

    One thread adds, another may sample.
    """

    def __init__(self, rule: str, approval_weight: float, buffer: ReplayBuffer):
        self.approval = {"human": 0.0, "performed": 1.0, "weighted": approval_weight}[rule]
        self.buffer = buffer
        self.human = self.approved = 0  # labels of each kind
        self.added = 0  # labels ever added, of which some may be undone: it grows where there is something to learn
        self._weights = np.zeros(1024)  # of all steps ever; a row a step, doubled where it is full
        self._is_human = np.zeros(1024, bool)
        self._sums: np.ndarray | None = None  # of the weights up to each row that the buffer holds
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Steps ever performed, labelled or not."""
        return self.buffer.added

    @property
    def counts(self) -> dict[str, int]:
        """How many labels there are by who chose them."""
        return {"human": self.human, "approved": self.approved}

    def weight(self, source: int) -> float:
        """What a step counts by who chose its action."""
        return self.approval if source == LEARNER else 1.0

    def add(self, trajectory: Trajectory, continued: bool = False) -> None:
        """Appends an episode or a piece of one; steps that are not labelled get no weight.

        `continued`: the piece goes on where the last one ended.
        """
        with self._lock:
            start, stop = len(self), len(self) + len(trajectory)
            self._reserve(stop)
            weights = np.where(trajectory.source == LEARNER, self.approval, 1.0) * trajectory.labelled_steps
            self._weights[start:stop], self._is_human[start:stop] = weights, trajectory.source != LEARNER
            # The buffer keeps unlabelled steps too: a row's number then is the step's, which undoing needs.
            self.buffer.add([Trajectory(trajectory.obs, trajectory.labels, trajectory.rewards)], continued)
            self._count(start, stop, 1)
            self.added += int(np.count_nonzero(weights))

    def undo(self, steps: int) -> int:
        """Takes the label from each of the last `steps` steps; returns how many had one."""
        with self._lock:
            stop = len(self)
            start = max(0, stop - steps)
            before = self.human + self.approved
            self._count(start, stop, -1)
            self._weights[start:stop] = 0
            return before - self.human - self.approved

    def labelled(self, start: int, stop: int) -> np.ndarray:
        """`(stop - start,)` bool: which of these steps are labels now."""
        return self._weights[start:stop] > 0

    def sample(self, rows: int, rng: np.random.Generator) -> Batch | None:
        """`rows` labels, drawn in proportion to their weights with replacement; None if there are none."""
        with self._lock:
            if self.human + self.approved == 0:
                return None
            kept = len(self.buffer)
            first = len(self) - kept
            if self._sums is None:
                self._sums = np.cumsum(self._weights[first : len(self)])
            if self._sums[-1] == 0:  # the labels are older than what the buffer keeps
                return None
            drawn = np.searchsorted(self._sums, rng.random(rows) * self._sums[-1], side="right")
            numbers = (first + np.minimum(drawn, kept - 1)) % self.buffer.max_size
            return self.buffer.batch(torch.from_numpy(numbers).to(self.buffer.device))

    def _count(self, start: int, stop: int, sign: int) -> None:
        labelled, human = self._weights[start:stop] > 0, self._is_human[start:stop]
        self.human += sign * int(np.count_nonzero(labelled & human))
        self.approved += sign * int(np.count_nonzero(labelled & ~human))
        self._sums = None

    def _reserve(self, steps: int) -> None:
        if steps > len(self._weights):
            more = max(steps, 2 * len(self._weights)) - len(self._weights)
            self._weights = np.append(self._weights, np.zeros(more))
            self._is_human = np.append(self._is_human, np.zeros(more, bool))
