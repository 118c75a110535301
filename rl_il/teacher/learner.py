"""Learning during a session: gradient steps for each environment step, and snapshots of the policy that act."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from rl_il.errors import DivergedError
from rl_il.infrastructure.gradient_steps import GradientSteps
from rl_il.policies.base_policy import BasePolicy
from rl_il.seeding import stream
from rl_il.teacher.labels import Labels
from rl_il.teacher.settings import TeachConfig
from rl_il.types import Actor

MAX_OWED = 1000.0  # maximum number of gradient steps that wait; a slow machine skips the others
LOSS_MEMORY = 0.98  # weight of earlier losses in the running mean


class Snapshot(NamedTuple):
    """A copy of the policy after a number of gradient steps."""

    number: int
    updates: int  # gradient steps before it was taken
    actor: Actor
    weights: dict[str, Any]


class Learner:
    """The learner of a session: it trains a policy on the session's labels.

    Each environment step adds `updates_per_step` gradient steps to those that are owed. After `rest_after` gradient
    steps without a new label, training waits for one. `work` makes the owed steps. Either the caller calls it, and
    the same seed gives the same weights; or a background thread does so between `start` and `stop`.
    """

    def __init__(self, policy: BasePolicy, labels: Labels, config: TeachConfig, compiles: bool = False):
        self.policy, self.labels, self.config = policy, labels, config
        self.fit = GradientSteps(config.run_config(), policy, labels, compiles)
        self._rows = config.train_batch_size * policy.minibatches
        self.updates = 0
        self.loss: float | None = None  # a running mean
        self.since_label = 0  # gradient steps since the last new label
        self.newest = self._snapshot(0)
        self.error: Exception | None = None  # the exception that ended the thread
        self.lock = threading.Lock()  # held while the policy changes
        self._seen = labels.added
        self._owed, self._owed_lock = 0.0, threading.Lock()
        self._rng = stream(config.seed, "training")
        self._wake, self._stopping = threading.Event(), False
        self._thread: threading.Thread | None = None

    @property
    def resting(self) -> bool:
        """Return whether training waits for a new label."""
        return self.since_label >= self.config.rest_after

    def begin_episode(self, episode: int) -> None:
        """Use the episode's random stream for the following minibatches."""
        with self.lock:
            self._rng = stream(self.config.seed, "training", episode)

    def grant(self) -> None:
        """Count one environment step, which adds `updates_per_step` owed gradient steps."""
        self._owe(self.config.updates_per_step)
        self._wake.set()

    def _owe(self, steps: float) -> None:
        with self._owed_lock:
            self._owed = min(max(self._owed + steps, 0.0), MAX_OWED)

    def work(self, limit: float = MAX_OWED) -> int:
        """Make the owed gradient steps, at most `limit`; return how many were made.

        Raise `DivergedError` if the loss is not finite.
        """
        made = 0
        while made < limit and self._owed >= 1:
            with self.lock:
                updated = self._update()
            self._owe(-1 if updated else -MAX_OWED)
            made += updated
        return made

    def _update(self) -> bool:
        """Make one gradient step if there is something to learn; return whether it was made."""
        if self.labels.added > self._seen:
            self._seen, self.since_label = self.labels.added, 0
        rows = None if self.resting else self.labels.draw(self._rows, self._rng)
        if rows is None:
            return False
        loss = self.fit.take(rows, 0, self.updates)
        if not np.isfinite(loss):
            raise DivergedError(f"the training loss became {loss}; try a smaller --learning_rate")
        self.loss = loss if self.loss is None else LOSS_MEMORY * self.loss + (1 - LOSS_MEMORY) * loss
        self.updates += 1
        self.since_label += 1
        if self.updates % self.config.publish_every == 0:
            self.newest = self._snapshot(self.newest.number + 1)
        return True

    def _snapshot(self, number: int) -> Snapshot:
        weights = {name: tensor.clone() for name, tensor in self.policy.state_dict().items()}
        return Snapshot(number, self.updates, self.policy.actor(), weights)

    def start(self) -> None:
        """Start the background thread."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the background thread after its current gradient step."""
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def check(self) -> None:
        """Raise the exception that ended the background thread, if there is one."""
        if self.error:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stopping:
                if self.work(1) == 0:
                    self._wake.wait()
                    self._wake.clear()
        except Exception as error:  # `check` raises it in the session's thread
            self.error = error

    def state(self) -> dict[str, Any]:
        """Return what a resumed session needs in addition to its labels. The caller must hold `lock`."""
        return {
            "fit": self.fit.state_dict(),
            "updates": self.updates,
            "loss": self.loss,
            "since_label": self.since_label,
            "owed": self._owed,
            "policy": self.policy.state_dict(),
            "optimizer": self.policy.optimizer.state_dict(),
            "snapshot": self.newest.weights,
            "snapshot_number": self.newest.number,
            "snapshot_updates": self.newest.updates,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Load `state`. The labels must have been added before."""
        with self.lock:
            self.fit.load_state_dict(state.get("fit", {"compiled": False}))  # earlier versions were eager
            self.policy.load_state_dict(state["snapshot"])
            number, updates = state["snapshot_number"], state["snapshot_updates"]
            self.newest = Snapshot(number, updates, self.policy.actor(), state["snapshot"])
            self.policy.load_state_dict(state["policy"])
            self.policy.optimizer.load_state_dict(state["optimizer"])
            self.updates, self.loss, self.since_label = state["updates"], state["loss"], state["since_label"]
            self._owed, self._seen = state["owed"], self.labels.added
