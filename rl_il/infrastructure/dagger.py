"""Rules: who acts while data are collected, and which states get a label. Teachers: whom a rule asks.

A new variant of DAgger is a subclass of `Rule` and its row in `plugins.RULES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.types import EXPERT, LEARNER, Actor, Trajectory

if TYPE_CHECKING:  # it imports torch, which a worker process does without
    from rl_il.infrastructure.replay_buffer import ReplayBuffer


class Teacher(ABC):
    """What a rule asks: a network, a script, or a person at the keyboard.

    Attributes:
      source: what `Trajectory.source` says of steps that this teacher chose.
      answers_recorded: whether `label` answers afterwards. If not, the teacher is asked at every step of a rollout.
    """

    source = EXPERT
    answers_recorded = False

    def watch(self, env: gym.Env) -> None:
        """Take the environment of the episodes to come."""

    def reset(self, seed: int = 0) -> None:
        """Start an episode."""

    @abstractmethod
    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return the action that the teacher insists on where the learner would take `own`, or None: it agrees."""

    @abstractmethod
    def act(self, ob: np.ndarray) -> np.ndarray:
        """Return the teacher's action for one observation: int64 or float32, not clipped."""

    def label(self, obs: np.ndarray) -> np.ndarray | None:
        """Return the actions for recorded observations `(N, *ob_shape)`; None: cannot answer afterwards."""
        return None


class ExpertTeacher(Teacher):
    """An expert that answers when it is asked, and never interferes by itself."""

    def __init__(self, expert: Actor):
        self.expert, self.answers_recorded = expert, expert.answers_recorded

    def watch(self, env: gym.Env) -> None:
        """Take the environment of the episodes to come."""
        self.expert.watch(env)

    def reset(self, seed: int = 0) -> None:
        """Start an episode."""
        self.expert.reset(seed)

    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return None: an expert does not interfere."""
        return None

    def act(self, ob: np.ndarray) -> np.ndarray:
        """Return the expert's action."""
        return self.expert.get_action(ob)

    def label(self, obs: np.ndarray) -> np.ndarray | None:
        """Return the expert's actions, or None if it reads the simulator or remembers the episode."""
        return self.expert.get_action(obs) if self.answers_recorded else None


class Decision(NamedTuple):
    """What a rule decides at one step."""

    action: np.ndarray
    source: int  # who chose it: LEARNER, EXPERT or HUMAN
    may_label: bool = True  # whether the state may get a label
    end_episode: bool = False  # whether the episode is cut off after this step


class Rule:
    """A collection rule. This one lets the learner act and labels every state.

    A rule is pickled into worker processes and needs no torch while it acts. It may change its own state in
    `begin_round` and in `select`, nowhere else, and `begin_episode` resets whatever it keeps within an episode: so
    the number of workers, and a stop between two rounds, change no result.

    Attributes:
      settings: names of the `RunConfig` settings that the constructor takes.
    """

    settings: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: RunConfig) -> Rule:
        """Return the rule with the settings that it reads from the run's configuration."""
        if config.beta_decay and "beta_decay" not in cls.settings:
            raise InputError(f"--beta_decay has no effect with --rule {config.rule}; drop it")
        return cls(**{name: getattr(config, name) for name in cls.settings})

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Start collecting for iteration `itr` (from 1).

        Args:
          snapshot: a frozen copy of the policy.
          data: the replay buffer with the labelled states of all earlier iterations (`data.in_order` gives their row
            numbers). A rule must not keep the buffer itself, which would be pickled into every worker process.
        """

    def begin_episode(self, seed: int) -> None:
        """Start an episode; random choices in it follow from `seed`."""

    def decide(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> Decision:
        """Return what is done at `ob`, where the learner would do `own`. Asking `teacher` twice costs one answer."""
        return Decision(own, LEARNER)

    def select(
        self, trajectories: Sequence[Trajectory], budget: int | None, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return which states of the round's whole episodes get a label, a `(T,)` bool array for each episode.

        Args:
          trajectories: `labelled_steps` of each says which of its states may get a label.
          budget: how many states may be chosen; None: no limit.
          rng: the source of random choices.
        """
        return [np.ones(len(trajectory), bool) for trajectory in trajectories]

    def state_dict(self) -> dict[str, Any]:
        """Return what must be saved between two rounds: plain numbers, texts, tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""


class DAgger(Rule):
    """Dataset Aggregation (Ross, Gordon and Bagnell 2011, "A Reduction of Imitation Learning and Structured
    Prediction to No-Regret Online Learning", algorithm 3.1).

    Every state that is visited is labelled with the expert's greedy action. In iteration i the expert acts with
    probability beta_i = beta_decay^i, drawn for each step. The default is the paper's parameter-free choice:
    1 in iteration 0, the demonstrations, and 0 after it, where the learner alone acts.
    """

    settings = ("beta_decay",)

    def __init__(self, beta_decay: float = 0.0):
        self.beta_decay, self.beta = beta_decay, 0.0
        self._rng = np.random.default_rng()

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Compute beta_i."""
        self.beta = self.beta_decay**itr

    def begin_episode(self, seed: int) -> None:
        """Start the episode's own random stream."""
        self._rng = np.random.default_rng([seed, EXPERT])

    def decide(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> Decision:
        """Return the learner's action or, with probability beta, the expert's."""
        if not self.beta:
            return Decision(own, LEARNER)
        answer = teacher.act(ob)  # asked at every step: the expert may remember the episode
        return Decision(answer, teacher.source) if self._rng.random() < self.beta else Decision(own, LEARNER)


def label_round(
    trajectories: Sequence[Trajectory],
    rule: Rule,
    teacher: Teacher,
    rng: np.random.Generator,
    budget: int | None = None,
) -> list[Trajectory]:
    """Return the round's trajectories with the teacher's labels at the states that the rule selects.

    Raise `InputError` for a teacher whose answers are not actions, and for a rule whose selection is not a mask of
    states.
    """
    chosen = rule.select(trajectories, budget, rng)
    for trajectory, mask in zip(trajectories, chosen, strict=True):
        if mask.dtype != bool or mask.shape != (len(trajectory),):
            raise InputError(
                f"{type(rule).__name__}.select must return a bool array of shape ({len(trajectory)},) for an episode"
                f" of so many steps; got {mask.dtype} of shape {mask.shape}"
            )
    return [label(trajectory, mask, teacher) for trajectory, mask in zip(trajectories, chosen, strict=True)]


def label(trajectory: Trajectory, chosen: np.ndarray, teacher: Teacher) -> Trajectory:
    """Return the trajectory with labels at the `chosen` states that may have one. What was executed stays.

    Answers from the rollout are used; about the other states the teacher is asked now. Where it cannot answer
    afterwards, they have no label.
    """
    chosen = chosen & trajectory.labelled_steps
    asked = np.zeros(len(trajectory), bool) if trajectory.consulted is None else trajectory.consulted
    labels = trajectory.acs.copy() if trajectory.expert_acs is None else trajectory.expert_acs.copy()
    missing = chosen & ~asked
    answers = teacher.label(trajectory.obs[:-1][missing]) if missing.any() else None
    if answers is None:
        chosen = chosen & asked
    else:
        labels[missing] = _checked(np.asarray(answers), labels[missing])
        asked = asked | missing
    try:
        return replace(trajectory, expert_acs=labels, labelled=None if chosen.all() else chosen, consulted=asked)
    except InputError as error:
        raise InputError(f"the expert's labels: {error}") from error


def _checked(labels: np.ndarray, acs: np.ndarray) -> np.ndarray:
    """Return the labels. Raise `InputError` unless they are like the actions."""
    if labels.shape != acs.shape or (labels.dtype.kind not in "iu" and acs.dtype.kind in "iu"):
        raise InputError(
            f"the expert's labels must be like the actions, {acs.dtype} of shape {acs.shape}; got {labels.dtype}"
            f" of shape {labels.shape}"
        )
    return labels
