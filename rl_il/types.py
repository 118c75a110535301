"""The types that all packages share: a trajectory, a minibatch, an actor.

Shapes: `T` is the number of steps of an episode, `N` a number of rows, and `*ob_shape` the shape of one observation.
An action has the shape `()` if it is one integer, and usually `(ac_dim,)` if it is continuous or several integers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl_il.errors import InputError

if TYPE_CHECKING:
    import gymnasium as gym

LEARNER, EXPERT, HUMAN = 0, 1, 2
"""Who chose an executed action: the values of `Trajectory.source`."""


@dataclass(frozen=True)
class Measure:
    """What the episodes of an environment are judged by: its name in tables, and the format of its numbers."""

    name: str
    digits: str


RETURN, SCORE = Measure("return", ".1f"), Measure("score", ".3f")


class Batch(NamedTuple):
    """A minibatch of pairs (observation, label) drawn from a replay buffer."""

    obs: Any  # (N, *ob_shape) tensor
    acs: Any  # (N,) or (N, k) int64, or (N, ac_dim) float32 tensor: the labels, which are never clipped
    noise: Any = None  # (N, *head.noise_shape) tensor of standard normal numbers, if the loss needs them


@dataclass(frozen=True)
class ActionForm:
    """The form of an environment's actions, and their conversion to the labels that a policy learns, and back.

    Labels are `(N,)` int64 from 0 if an action is one integer, `(N, k)` int64 from 0 if it is k integers, and
    `(N, ac_dim)` floats if it is continuous.
    """

    choices: tuple[int, ...]  # the number of values of each integer; empty: actions are continuous
    shape: tuple[int, ...]  # the shape of an action
    start: tuple[int, ...] = ()  # the smallest value of each integer; empty: 0

    @classmethod
    def from_settings(
        cls, ac_dim: int | Sequence[int], discrete: bool, ac_start: Sequence[int] = (), ac_shape: Any = None
    ) -> ActionForm:
        """Return the form that these arguments of a policy's constructor describe."""
        several = isinstance(ac_dim, Sequence)
        # Plain Python numbers: a file with NumPy numbers cannot be read without unpickling code.
        sizes = tuple(map(int, ac_dim)) if several else (int(ac_dim),)
        usual = () if discrete and not several else (len(sizes),) if several else sizes
        shape = usual if ac_shape is None else tuple(map(int, ac_shape))
        return cls(sizes if discrete else (), shape, tuple(map(int, ac_start)) if any(ac_start) else ())

    def settings(self) -> dict[str, Any]:
        """Return the arguments of a policy's constructor: `ac_dim`, `discrete`, and what is not usual."""
        given = {"ac_dim": self.ac_dim, "discrete": self.discrete} | ({"ac_start": self.start} if self.start else {})
        return given if ActionForm.from_settings(**given) == self else given | {"ac_shape": self.shape}

    @property
    def discrete(self) -> bool:
        """Return whether an action is one integer or several."""
        return len(self.choices) > 0

    @property
    def several(self) -> bool:
        """Return whether an action is an array of integers."""
        return self.discrete and self.shape != ()

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Return the shape of the label of one action: `()` for one integer, `(k,)` for k, else `(ac_dim,)`."""
        return (len(self.choices),) if self.several else () if self.discrete else (math.prod(self.shape),)

    def of_chunk(self, chunk: int) -> ActionForm:
        """Return the form of the labels of so many actions in a row, as one array."""
        if self.discrete:
            return ActionForm(self.choices * chunk, (len(self.choices) * chunk,))
        return ActionForm((), (math.prod(self.shape) * chunk,))

    @property
    def ac_dim(self) -> int | tuple[int, ...]:
        """Return the number of actions, or of choices of each integer, or of dimensions of a continuous action."""
        return self.choices if self.several else self.choices[0] if self.discrete else math.prod(self.shape)

    @property
    def usual(self) -> bool:
        """Return whether the actions themselves are the labels."""
        return not self.start and not self.several and (self.discrete or len(self.shape) == 1)

    def __str__(self) -> str:
        """Return the form in words, such as `4 discrete actions`."""
        start = f" from {', '.join(map(str, self.start))}" if self.start else ""
        if self.several:
            return f"{math.prod(self.shape)} integers of {', '.join(map(str, self.choices))} choices{start}"
        if self.discrete:
            return f"{self.ac_dim} discrete actions{start}"
        shape = "" if len(self.shape) == 1 else f" of shape {self.shape}"
        return f"{self.ac_dim} continuous action dimensions{shape}"

    def to_labels(self, acs: np.ndarray) -> np.ndarray:
        """Return the labels of actions `(N, *shape)`. Raise `InputError` for other arrays."""
        if self.usual:
            return acs
        if acs.shape[1:] != self.shape:
            raise InputError(f"actions must be arrays of shape {self.shape}, got {acs.shape[1:]}")
        labels = acs if self.discrete and not self.several else acs.reshape(len(acs), math.prod(self.shape))
        if not self.discrete:
            return labels
        labels = labels.astype(np.int64) - self._offset
        if (labels < 0).any() or (labels >= np.array(self.choices)).any():
            raise InputError(f"actions must be {self}, got {acs.min()} to {acs.max()}")
        return labels

    def to_actions(self, labels: np.ndarray) -> np.ndarray:
        """Return the action `(*shape)` of one label, or the actions `(N, *shape)` of N labels."""
        if self.usual:
            return labels
        acs = labels + self._offset if self.start else labels
        return acs if self.discrete and not self.several else acs.reshape((*acs.shape[:-1], *self.shape))

    @property
    def _offset(self) -> int | np.ndarray:
        """Return the smallest value of each integer, which labels do not include: one, or one for each integer."""
        return np.array(self.start or 0) if self.several else self.start[0] if self.start else 0


class Actor(ABC):
    """Anything that returns actions: a policy, its frozen copy, or an expert.

    Attributes:
      ob_shape: the shape of one observation.
      form: the form of its actions, or None if it is unknown.
      remembers: whether an action also depends on earlier observations of the episode. Such an actor must get the
        observations of an episode one by one, in order.
      reads_simulator: whether it reads the state of the environment, which it gets in `watch` before `reset`.
      ensemble: how many networks decide together. Above 1, there is `disagreement`.
    """

    ob_shape: tuple[int, ...]
    form: ActionForm | None = None
    remembers: bool = False
    reads_simulator: bool = False
    ensemble: int = 1

    @property
    def answers_recorded(self) -> bool:
        """Return whether it can return actions for recorded observations after the end of their episode."""
        return not (self.remembers or self.reads_simulator)

    def watch(self, env: gym.Env) -> None:
        """Store the environment if this actor reads its state."""

    def reset(self, seed: int = 0) -> None:
        """Prepare for a new episode: forget the last one, and draw all random numbers from `seed`."""

    def drop_plan(self) -> None:
        """Forget the actions that were planned, if this actor plans, since another action was executed."""

    @abstractmethod
    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return one action for an observation `(*ob_shape)`, or N actions for `(N, *ob_shape)`.

        They are the environment's own: int64, or float32 that is not clipped to the action space.
        """

    def features(self, obs: np.ndarray) -> np.ndarray:
        """Return the outputs of the last hidden layer, `(N, d)` float32, for recorded observations `(N, *ob_shape)`.

        Raise `InputError` if this actor has no such layer, or sees several observations at once.
        """
        raise InputError(f"a {type(self).__name__} has no features of a single observation")

    def disagreement(self, obs: np.ndarray) -> np.ndarray:
        """Return how much the networks of an ensemble disagree: one float32 for one observation, or `(N,)` for N.

        Like `get_action`, an actor that remembers takes each observation of an episode once. Raise `InputError` if
        there is only one network.
        """
        raise InputError("one network cannot disagree with itself; train several with --ensemble 5")


PER_STEP = ("rewards", "expert_acs", "labelled", "source", "consulted")
"""The arrays of a trajectory that have one item for each step, except the executed actions."""

Expert = Actor  # an expert is an actor whose actions are taken as labels


@dataclass(frozen=True)
class Trajectory:
    """An episode, or a part of one. Arrays keep the dtype of their space.

    An episode is `terminated` if the task ended it, and `truncated` if a time limit ended it. It is neither if it was
    cut off or if its file does not say how it ended. If a file does not have the last observation, the observation
    before it is repeated. If a file has no rewards, they are NaN. The training uses neither the last observation nor
    the rewards.

    Raise `InputError` if shapes do not fit together, if an observation or an action is not finite, or if a reward is
    infinite.
    """

    obs: np.ndarray  # (T + 1, *ob_shape), including the observation after the last action
    acs: np.ndarray  # (T, *shape of an action), integers or floats: the executed actions, the environment's own
    rewards: np.ndarray  # (T,) float64
    terminated: bool = False
    truncated: bool = False
    expert_acs: np.ndarray | None = None  # labels in the shape of `acs`, never clipped; None: `acs` are the labels
    labelled: np.ndarray | None = None  # (T,) bool: whether the step has a label; None: all have one
    source: np.ndarray | None = None  # (T,) int8: LEARNER, EXPERT or HUMAN; None: EXPERT at all steps
    consulted: np.ndarray | None = None  # (T,) bool: whether a teacher was asked at the step; None: at no step
    success: bool | None = None  # what the environment's last info said; None: nothing

    def __post_init__(self) -> None:
        steps = len(self.acs)
        if self.source is None:
            object.__setattr__(self, "source", np.full(steps, EXPERT, np.int8))
        if steps == 0:
            raise InputError("a trajectory must have at least one step, got none")
        if len(self.obs) != steps + 1:
            raise InputError(f"a trajectory of {steps} actions needs {steps + 1} observations, got {len(self.obs)}")
        for name in PER_STEP:
            if getattr(self, name) is not None:
                self._check_per_step(name)
        for name in ("obs", "acs", "expert_acs"):
            check_finite(name, getattr(self, name))
        if np.isinf(self.rewards).any():
            raise InputError("rewards contain an infinite number")

    def _check_per_step(self, name: str) -> None:
        steps, array = len(self), getattr(self, name)
        if len(array) != steps:
            raise InputError(f"a trajectory of {steps} actions needs {steps} {name}, got {len(array)}")
        if name == "expert_acs" and array.shape != self.acs.shape:
            raise InputError(f"expert_acs must have the shape of acs {self.acs.shape}, got {array.shape}")
        if name != "expert_acs" and array.ndim != 1:
            raise InputError(f"{name} must contain one value for each step, got the shape {array.shape}")
        if name in ("labelled", "consulted") and array.dtype != bool:
            raise InputError(f"{name} must contain true or false for each step, got {array.dtype}")

    def __len__(self) -> int:
        return len(self.acs)

    def __getitem__(self, steps: slice) -> Trajectory:
        """Return the steps `start:stop`. A part without the last step is neither terminated nor truncated."""
        start, stop, step = steps.indices(len(self))
        if step != 1 or start >= stop:
            raise InputError(f"a part of a trajectory must have successive steps, got {steps} of {len(self)}")
        parts = {name: getattr(self, name) for name in ("acs", *PER_STEP)}
        parts = {name: None if array is None else array[start:stop] for name, array in parts.items()}
        whole = stop == len(self)
        ends = {"terminated": self.terminated and whole, "truncated": self.truncated and whole}
        return Trajectory(self.obs[start : stop + 1], **parts, **ends, success=self.success if whole else None)

    @property
    def labels(self) -> np.ndarray:
        """Return the labels `(T, ...)`. The values at steps without a label have no meaning."""
        return self.acs if self.expert_acs is None else self.expert_acs

    @property
    def labelled_steps(self) -> np.ndarray:
        """Return `(T,)` bool: whether each step has a label and may be used for training."""
        return np.ones(len(self), bool) if self.labelled is None else self.labelled

    @property
    def episode_return(self) -> float:
        """Return the undiscounted sum of rewards, or NaN if the rewards are unknown."""
        return float(np.sum(self.rewards))


def check_finite(name: str, array: np.ndarray | None) -> None:
    """Raise `InputError` if `array` contains NaN or infinity. The message names the first such row."""
    if array is None or array.dtype.kind not in "fc":
        return
    finite = np.isfinite(array)
    if not finite.all():
        bad = int(np.argmax(~finite.reshape(len(array), -1).all(axis=1)))
        raise InputError(f"{name} hold NaN or infinity (first in row {bad} of {len(array)})")
