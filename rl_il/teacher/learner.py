"""Learning while somebody teaches: gradient steps as they are earned, and snapshots that play."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl_il.errors import DivergedError
from rl_il.infrastructure.seeding import stream
from rl_il.infrastructure.trainer_state import expect, load_optimizer, weights_for
from rl_il.teacher.labels import Labels
from rl_il.types import Actor

if TYPE_CHECKING:
    from rl_il.policies.mlp_policy import MLPPolicySL

MOST_OWED = 1000.0  # gradient steps that may wait: a slow machine then makes fewer, and does not fall behind for good
LOSS_MEMORY = 0.98  # of the running mean of the loss


class Snapshot(NamedTuple):
    """The policy as it was at one moment."""

    number: int
    updates: int  # gradient steps it has had
    actor: Actor
    weights: dict[str, Any]


class Learner:
    """Trains a policy on the labels there are.

    Each environment step earns `updates_per_step` gradient steps, and after `rest_after` of them without a new label
    nothing is earned until one comes. They are made by `work`, either where it is called (the same seed then gives
    the same weights) or by a background thread between `start` and `stop`.

    Args:
      policy: what is trained; nobody else may use it meanwhile.
      labels: what it is trained on.
      seed: root of the minibatches' draws; each episode has its own stream.
      updates_per_step, rest_after, rows: see above; rows in a minibatch.
      publish_every: gradient steps between two snapshots.
    """

    def __init__(
        self,
        policy: MLPPolicySL,
        labels: Labels,
        seed: int,
        updates_per_step: float = 4.0,
        publish_every: int = 100,
        rest_after: int = 5000,
        rows: int = 100,
    ):
        self.policy, self.labels, self.seed = policy, labels, seed
        self.updates_per_step, self.publish_every = updates_per_step, publish_every
        self.rest_after, self.rows = rest_after, rows
        self.updates = 0
        self.loss: float | None = None  # a running mean
        self.since_label = 0  # gradient steps since the last new label
        self.newest = self._snapshot(0)
        self.error: Exception | None = None  # what ended the thread
        self.lock = threading.Lock()  # held while the policy changes
        self._seen = labels.added
        self._owed, self._owed_lock = 0.0, threading.Lock()
        self._rng = stream(seed, "training")
        self._wake, self._stopping = threading.Event(), False
        self._thread: threading.Thread | None = None

    @property
    def resting(self) -> bool:
        """Whether it waits for a new label."""
        return self.since_label >= self.rest_after

    def begin_episode(self, episode: int) -> None:
        """From now on minibatches are drawn from the episode's own stream."""
        with self.lock:
            self._rng = stream(self.seed, "training", episode)

    def grant(self) -> None:
        """An environment step was made: it earns gradient steps."""
        self._owe(self.updates_per_step)
        self._wake.set()

    def _owe(self, steps: float) -> None:
        with self._owed_lock:
            self._owed = min(max(self._owed + steps, 0.0), MOST_OWED)

    def work(self, most: int = MOST_OWED) -> int:
        """Makes the gradient steps that are owed, at most so many; returns how many.

        Raises `DivergedError` where the loss is no number.
        """
        made = 0
        while made < most and self._owed >= 1:
            with self.lock:
                updated = self._update()
            if not updated:
                self._owe(-MOST_OWED)
                break
            self._owe(-1)
            made += 1
        return made

    def _update(self) -> bool:
        """One gradient step, unless there is nothing to learn."""
        if self.labels.added > self._seen:
            self._seen, self.since_label = self.labels.added, 0
        batch = None if self.resting else self.labels.sample(self.rows, self._rng)
        if batch is None:
            return False
        loss = self.policy.update(batch.obs, batch.acs)["Training Loss"]
        if not np.isfinite(loss):
            raise DivergedError(f"the training loss became {loss}; try a smaller --learning_rate")
        self.loss = loss if self.loss is None else LOSS_MEMORY * self.loss + (1 - LOSS_MEMORY) * loss
        self.updates += 1
        self.since_label += 1
        if self.updates % self.publish_every == 0:
            self.newest = self._snapshot(self.newest.number + 1)
        return True

    def _snapshot(self, number: int) -> Snapshot:
        weights = {name: tensor.clone() for name, tensor in self.policy.state_dict().items()}
        return Snapshot(number, self.updates, self.policy.actor(), weights)

    # A thread of its own --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Works in the background from now on."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the background work, after the gradient step under way."""
        self._stopping = True
        self._wake.set()
        if self._thread:
            self._thread.join()
            self._thread = None

    def check(self) -> None:
        """Raises what ended the background work, if anything did."""
        if self.error:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stopping:
                if self.work(1) == 0:
                    self._wake.wait()
                    self._wake.clear()
        except Exception as error:  # it is raised again where somebody sees it
            self.error = error

    # Going on after a stop ------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """What it takes, beside the labels, to go on: plain numbers and tensors. The caller holds `lock`."""
        return {
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
        """Goes on from `state`, with arrays for tensors; the labels are there already.

        Raises `InputError`, before anything is changed, for the state of another policy.
        """
        with self.lock:
            expect(0 <= state["owed"] <= MOST_OWED, f"owed must be between 0 and {MOST_OWED}")
            snapshot, weights = (weights_for(self.policy, state[name]) for name in ("snapshot", "policy"))
            load_optimizer(self.policy, state["optimizer"])
            self.policy.load_state_dict(snapshot)
            number, updates = state["snapshot_number"], state["snapshot_updates"]
            self.newest = Snapshot(number, updates, self.policy.actor(), snapshot)
            self.policy.load_state_dict(weights)
            self.updates, self.loss, self.since_label = state["updates"], state["loss"], state["since_label"]
            self._owed, self._seen = state["owed"], self.labels.added
