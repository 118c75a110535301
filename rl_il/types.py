"""The types every room shares: a trajectory, a minibatch, and what it takes to act.

Shapes: `T` steps of one episode, `N` rows, `*ob_shape` one observation's shape; an action is `()` (discrete)
or `(ac_dim,)` (continuous).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from rl_il.errors import InputError

LEARNER, EXPERT, HUMAN = 0, 1, 2
"""Who chose an executed action: the values of `Trajectory.source`."""


class Batch(NamedTuple):
    """Rows of (observation, label), drawn from a replay buffer."""

    obs: Any  # (N, *ob_shape) tensor
    acs: Any  # (N,) int64 or (N, ac_dim) float32 tensor: the labels, never clipped


class Actor(Protocol):
    """Anything that can be asked for actions: a policy, its frozen copy, an expert, a human.

    One that reads the simulator (`reads_simulator`) also has `watch(env)`, called before its `reset`. It and one that
    remembers earlier observations (`frame_stack` above 1) take single observations only, each of an episode in turn.
    One that has an expert beside it (`dagger.Accompanied`) also says after each action what the expert would have
    done (`expert_label`), and who acted (`source`). One that answers best for many episodes together has
    `vectorized(n)`, which makes a `VectorActor` or, where it cannot, None.
    """

    ob_shape: tuple[int, ...]

    def reset(self, seed: int = 0) -> None:
        """Called where an episode starts: forgets the last one, and draws from `seed` if it draws at all."""

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """`(*ob_shape)` to one action, or `(N, *ob_shape)` to N: int64 or float32, not clipped."""


class VectorActor(Protocol):
    """An actor in n episodes at once, each in a slot of its own."""

    def begin(self, slot: int, seed: int) -> None:
        """Called where an episode starts in the slot: forgets the last one there."""

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """`(n, *ob_shape)`, the slots' observations, to n actions."""


Expert = Actor  # an expert is an actor whose actions are taken as labels


def reads_simulator(actor: Actor) -> bool:
    """Whether the actor needs the simulator's state: it can act and label while it is rolled out, not afterwards."""
    return hasattr(actor, "watch")


def has_expert_beside(actor: Actor) -> bool:
    """Whether the actor says after each action what an expert would have done, and who of the two acted."""
    return hasattr(actor, "expert_label")


def answers_live_only(actor: Actor) -> bool:
    """Whether the actor can only be asked in an episode as it goes, and not about recorded observations."""
    return reads_simulator(actor) or getattr(actor, "frame_stack", 1) > 1


@dataclass(frozen=True)
class Trajectory:
    """One episode, or one piece of it. Arrays keep the dtype of their space.

    `terminated`: the task ended it. `truncated`: a time limit did. Neither: it was cut off, or the file it
    was read from does not say. A file that lacks the last observation has the one before it repeated there;
    one that lacks rewards has not-a-number. Nothing that learns reads either.

    Raises `InputError` where shapes disagree or numbers are not finite.
    """

    obs: np.ndarray  # (T + 1, *ob_shape), with the last observation
    acs: np.ndarray  # (T,) integers or (T, ac_dim) floats: what was executed
    rewards: np.ndarray  # (T,) float64
    terminated: bool = False
    truncated: bool = False
    expert_acs: np.ndarray | None = None  # (T, ...) labels where they are not `acs`; never clipped
    labelled: np.ndarray | None = None  # (T,) bool: steps that have a label; None: all
    source: np.ndarray | None = None  # (T,) int8 LEARNER, EXPERT or HUMAN; None becomes all EXPERT

    def __post_init__(self) -> None:
        steps = len(self.acs)
        if self.source is None:
            object.__setattr__(self, "source", np.full(steps, EXPERT, np.int8))
        if steps == 0:
            raise InputError("a trajectory needs at least one step, got none")
        if len(self.obs) != steps + 1:
            raise InputError(f"a trajectory of {steps} actions needs {steps + 1} observations, got {len(self.obs)}")
        for name in ("rewards", "expert_acs", "labelled", "source"):
            array = getattr(self, name)
            if array is not None and len(array) != steps:
                raise InputError(f"a trajectory of {steps} actions needs as many {name}, got {len(array)}")
        for name in ("rewards", "labelled", "source"):
            array = getattr(self, name)
            if array is not None and array.ndim != 1:
                raise InputError(f"{name} must hold one value a step, got the shape {array.shape}")
        if self.expert_acs is not None and self.expert_acs.shape != self.acs.shape:
            raise InputError(f"expert_acs must have the shape of acs {self.acs.shape}, got {self.expert_acs.shape}")
        for name in ("obs", "acs", "expert_acs"):
            check_finite(name, getattr(self, name))
        if np.isinf(self.rewards).any():
            raise InputError("rewards hold an infinite number")

    def __len__(self) -> int:
        return len(self.acs)

    def __getitem__(self, steps: slice) -> Trajectory:
        """The piece of successive steps `start:stop`. One that leaves out the last step is neither terminated nor
        truncated."""
        start, stop, step = steps.indices(len(self))
        if step != 1 or start >= stop:
            raise InputError(f"a piece of a trajectory needs successive steps, got {steps} of {len(self)}")
        parts = {name: getattr(self, name) for name in ("acs", "rewards", "expert_acs", "labelled", "source")}
        parts = {name: None if array is None else array[start:stop] for name, array in parts.items()}
        whole = stop == len(self)
        ends = {"terminated": self.terminated and whole, "truncated": self.truncated and whole}
        return Trajectory(self.obs[start : stop + 1], **parts, **ends)

    @property
    def labels(self) -> np.ndarray:
        """`(T, ...)`: what the expert would do at each step."""
        return self.acs if self.expert_acs is None else self.expert_acs

    @property
    def labelled_steps(self) -> np.ndarray:
        """`(T,)` bool: which steps may be learnt from."""
        return np.ones(len(self), bool) if self.labelled is None else self.labelled

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of rewards; not-a-number where the rewards are unknown."""
        return float(np.sum(self.rewards))


def check_finite(name: str, array: np.ndarray | None) -> None:
    """Raises `InputError` naming the first row of `array` that holds NaN or infinity."""
    if array is None or array.dtype.kind not in "fc":
        return
    finite = np.isfinite(array)
    if not finite.all():
        bad = int(np.argmax(~finite.reshape(len(array), -1).all(axis=1)))
        raise InputError(f"{name} hold NaN or infinity (first in row {bad} of {len(array)})")
