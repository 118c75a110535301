"""The types that all packages share: a trajectory, a minibatch, an actor.

Shapes: `T` steps of one episode, `N` rows, `*ob_shape` one observation's shape; an action is `()` (discrete)
or `(ac_dim,)` (continuous).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl_il.errors import InputError

if TYPE_CHECKING:
    import gymnasium as gym

LEARNER, EXPERT, HUMAN = 0, 1, 2
"""Who chose an executed action: the values of `Trajectory.source`."""


class Batch(NamedTuple):
    """Rows of (observation, label), drawn from a replay buffer."""

    obs: Any  # (N, *ob_shape) tensor
    acs: Any  # (N,) int64 or (N, ac_dim) float32 tensor: the labels, never clipped
    noise: Any = None  # (N, *head.noise_shape) tensor of standard normal numbers, for a head whose loss draws


class Actor(ABC):
    """Anything that gives actions: a policy, its frozen copy, an expert, a person.

    Attributes:
      ob_shape: the shape of one observation.
      n_outputs, output: how many numbers a network gives, and what is done with them (`argmax`: an integer
        action). None: unknown.
      remembers: whether an action follows from earlier observations of the episode too. Such an actor takes single
        observations only, each of an episode in turn.
      reads_simulator: whether it reads the environment's state, which `watch` shows it before `reset`.
    """

    ob_shape: tuple[int, ...]
    n_outputs: int | None = None
    output: str | None = None
    remembers: bool = False
    reads_simulator: bool = False

    @property
    def answers_recorded(self) -> bool:
        """Return whether it can be asked about recorded observations, after their episode has ended."""
        return not (self.remembers or self.reads_simulator)

    def watch(self, env: gym.Env) -> None:
        """Take the environment whose state this actor may read."""

    def reset(self, seed: int = 0) -> None:
        """Start an episode: forget the last one, and draw from `seed` if this actor draws at all."""

    @abstractmethod
    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return one action for `(*ob_shape)`, or N for `(N, *ob_shape)`: int64 or float32, not clipped."""


PER_STEP = ("rewards", "expert_acs", "labelled", "source", "consulted")
"""The arrays of a trajectory, besides the actions, that have one item a step."""

Expert = Actor  # an expert is an actor whose actions are taken as labels


@dataclass(frozen=True)
class Trajectory:
    """One episode, or a piece of it. Arrays keep the dtype of their space.

    `terminated`: the task ended it. `truncated`: a time limit did. Neither: it was cut off, or the file it
    was read from does not say. Where a file lacks the last observation, the one before it is repeated; where it
    lacks rewards, they are not-a-number. Nothing that learns reads either.

    Raise `InputError` where shapes disagree or numbers are not finite.
    """

    obs: np.ndarray  # (T + 1, *ob_shape), with the last observation
    acs: np.ndarray  # (T,) integers or (T, ac_dim) floats: what was executed
    rewards: np.ndarray  # (T,) float64
    terminated: bool = False
    truncated: bool = False
    expert_acs: np.ndarray | None = None  # (T, ...) labels where they are not `acs`; never clipped
    labelled: np.ndarray | None = None  # (T,) bool: steps that have a label; None: all
    source: np.ndarray | None = None  # (T,) int8 LEARNER, EXPERT or HUMAN; None becomes all EXPERT
    consulted: np.ndarray | None = None  # (T,) bool: steps at which a teacher was asked, labelled or not; None: none

    def __post_init__(self) -> None:
        steps = len(self.acs)
        if self.source is None:
            object.__setattr__(self, "source", np.full(steps, EXPERT, np.int8))
        if steps == 0:
            raise InputError("a trajectory needs at least one step, got none")
        if len(self.obs) != steps + 1:
            raise InputError(f"a trajectory of {steps} actions needs {steps + 1} observations, got {len(self.obs)}")
        for name in PER_STEP:
            if getattr(self, name) is not None:
                self._check_per_step(name)
        for name in ("obs", "acs", "expert_acs"):
            check_finite(name, getattr(self, name))
        if np.isinf(self.rewards).any():
            raise InputError("rewards hold an infinite number")

    def _check_per_step(self, name: str) -> None:
        steps, array = len(self), getattr(self, name)
        if len(array) != steps:
            raise InputError(f"a trajectory of {steps} actions needs as many {name}, got {len(array)}")
        if name == "expert_acs" and array.shape != self.acs.shape:
            raise InputError(f"expert_acs must have the shape of acs {self.acs.shape}, got {array.shape}")
        if name != "expert_acs" and array.ndim != 1:
            raise InputError(f"{name} must hold one value a step, got the shape {array.shape}")
        if name in ("labelled", "consulted") and array.dtype != bool:
            raise InputError(f"{name} must hold true or false for each step, got {array.dtype}")

    def __len__(self) -> int:
        return len(self.acs)

    def __getitem__(self, steps: slice) -> Trajectory:
        """Return the steps `start:stop`. Without the last step they are neither terminated nor truncated."""
        start, stop, step = steps.indices(len(self))
        if step != 1 or start >= stop:
            raise InputError(f"a piece of a trajectory needs successive steps, got {steps} of {len(self)}")
        parts = {name: getattr(self, name) for name in ("acs", *PER_STEP)}
        parts = {name: None if array is None else array[start:stop] for name, array in parts.items()}
        whole = stop == len(self)
        ends = {"terminated": self.terminated and whole, "truncated": self.truncated and whole}
        return Trajectory(self.obs[start : stop + 1], **parts, **ends)

    @property
    def labels(self) -> np.ndarray:
        """Return `(T, ...)`: what the expert would do at each step."""
        return self.acs if self.expert_acs is None else self.expert_acs

    @property
    def labelled_steps(self) -> np.ndarray:
        """Return `(T,)` bool: which steps may be learnt from."""
        return np.ones(len(self), bool) if self.labelled is None else self.labelled

    @property
    def episode_return(self) -> float:
        """Return the undiscounted sum of rewards; not-a-number where the rewards are unknown."""
        return float(np.sum(self.rewards))


def check_finite(name: str, array: np.ndarray | None) -> None:
    """Raise `InputError` naming the first row of `array` that holds NaN or infinity."""
    if array is None or array.dtype.kind not in "fc":
        return
    finite = np.isfinite(array)
    if not finite.all():
        bad = int(np.argmax(~finite.reshape(len(array), -1).all(axis=1)))
        raise InputError(f"{name} hold NaN or infinity (first in row {bad} of {len(array)})")
