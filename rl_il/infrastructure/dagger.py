"""Collection rules, which decide who acts and which states get a label, and teachers, which give the labels.

The variants of DAgger are in `rules/`. To add one, write a subclass of `Rule` and add a row to `plugins.RULES`.
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
from rl_il.seeding import RULE_DRAWS
from rl_il.types import EXPERT, LEARNER, Actor, Trajectory

if TYPE_CHECKING:  # this imports torch, which a worker process does not need
    from rl_il.infrastructure.replay_buffer import ReplayBuffer


class Teacher(ABC):
    """A source of actions that a rule can ask: a network, a script, or a person at the keyboard.

    Attributes:
      source: the value of `Trajectory.source` for the actions of this teacher.
      answers_recorded: whether `label` can return actions after the episode. If not, the teacher is asked at every
        step of a rollout.
    """

    source = EXPERT
    answers_recorded = False

    def watch(self, env: gym.Env) -> None:
        """Store the environment of the following episodes, if the teacher needs it."""

    def reset(self, seed: int = 0) -> None:
        """Prepare for a new episode."""

    @abstractmethod
    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return the teacher's action if it takes over at `ob`, or None if it accepts the learner's `own` action."""

    @abstractmethod
    def act(self, ob: np.ndarray) -> np.ndarray:
        """Return the teacher's action for one observation: int64 or float32, not clipped."""

    def label(self, obs: np.ndarray) -> np.ndarray | None:
        """Return actions for recorded observations `(N, *ob_shape)`, or None if this is not possible."""
        return None


class ExpertTeacher(Teacher):
    """A teacher that returns the actions of an expert when it is asked. It never takes over."""

    def __init__(self, expert: Actor):
        self.expert, self.answers_recorded = expert, expert.answers_recorded

    def watch(self, env: gym.Env) -> None:
        """Store the environment of the following episodes, if the teacher needs it."""
        self.expert.watch(env)

    def reset(self, seed: int = 0) -> None:
        """Prepare for a new episode."""
        self.expert.reset(seed)

    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return None, since an expert does not take over."""
        return None

    def act(self, ob: np.ndarray) -> np.ndarray:
        """Return the expert's action for one observation."""
        return self.expert.get_action(ob)

    def label(self, obs: np.ndarray) -> np.ndarray | None:
        """Return the expert's actions, or None if it reads the simulator or remembers the episode."""
        return self.expert.get_action(obs) if self.answers_recorded else None


class Decision(NamedTuple):
    """The decision of a rule at one step."""

    action: np.ndarray
    source: int  # who chose the action: LEARNER, EXPERT or HUMAN
    may_label: bool = True  # whether the state may get a label
    end_episode: bool = False  # whether the episode is cut off after this step


class Rule:
    """A collection rule. This base class lets the learner act and labels every state.

    A rule is pickled and sent to worker processes, and needs no torch while it acts. Only `begin_round` and `select`
    may change state that lasts longer than an episode. `begin_episode` must reset all other state. Then neither the
    number of workers nor a stop between two iterations changes a result.

    Attributes:
      settings: the names of those settings in `RunConfig` that are arguments of the constructor.
      has_budget: whether `--labels_per_iter` must be given (True), may be given (None), or must not be given (False).
      needs_ensemble: whether it asks the learner for the disagreement of its networks.
      asks_learner: whether it asks the learner about single observations, outside the order of an episode.
      stays: the names of attributes that are not sent to worker processes, since they are not needed while it acts.
    """

    settings: tuple[str, ...] = ()
    has_budget: bool | None = None
    needs_ensemble: bool = False
    asks_learner: bool = False
    stays: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: RunConfig) -> Rule:
        """Return the rule with its settings from the run's configuration.

        Raise `InputError` for a setting that has no effect with this rule.
        """
        if config.beta_decay and "beta_decay" not in cls.settings:
            raise InputError(f"--beta_decay has no effect with --rule {config.rule}; drop it")
        rule = cls(**{name: getattr(config, name) for name in cls.settings}, **config.rule_values())
        rule.check_budget(config)
        return rule

    def check_budget(self, config: RunConfig) -> None:
        """Raise `InputError` if `--labels_per_iter` is missing, or has no place."""
        if self.has_budget and config.labels_per_iter is None:
            raise InputError(
                f"--rule {config.rule} chooses a number of states; give it with --labels_per_iter, such as 50"
            )
        if self.has_budget is False and config.labels_per_iter is not None:
            raise InputError(
                f"--rule {config.rule} labels all visited states; for --labels_per_iter give --rule random"
            )

    def check(self, config: RunConfig, learner: Actor) -> None:
        """Raise `InputError` if the run lacks something that the rule needs. Nothing was written yet."""
        rule = f"--rule {config.rule}"
        self.check_budget(config)
        if self.needs_ensemble and learner.ensemble == 1:
            raise InputError(f"{rule} asks how much the networks of an ensemble disagree; give --ensemble 5")
        if self.asks_learner and not learner.answers_recorded:
            raise InputError(f"{rule} asks the policy about single states, so it needs --history 1 and no pictures")

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes that are sent to worker processes."""
        return {name: value for name, value in vars(self).items() if name not in self.stays}

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Prepare for the episodes of an iteration.

        Args:
          snapshot: a frozen copy of the policy.
          data: the replay buffer with the labelled states of all earlier iterations (`data.in_order` returns their
            row numbers). A rule must not keep the buffer, since it would be pickled for every worker process.
          itr: the iteration, 1 or more.
        """

    def begin_episode(self, seed: int) -> None:
        """Prepare for a new episode. The rule's random choices in it must depend only on `seed`."""

    def decide(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> Decision:
        """Return the decision at the observation `ob`. The learner's action is `own`.

        `teacher` may be asked several times. It repeats its first answer of the step.
        """
        return Decision(own, LEARNER)

    def select(
        self, trajectories: Sequence[Trajectory], budget: int | None, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return which states of the iteration get a label: a bool array `(T,)` for each episode.

        Args:
          trajectories: the whole episodes of the iteration. Their `labelled_steps` say which states may get a label.
          budget: the maximum number of states to choose, or None for no limit. If more are chosen, some of them are
            dropped at random.
          rng: the generator for random choices.
        """
        return [np.ones(len(trajectory), bool) for trajectory in trajectories]

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save between two iterations: plain numbers, strings and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""


class DAgger(Rule):
    """Dataset Aggregation (Ross, Gordon and Bagnell 2011, "A Reduction of Imitation Learning and Structured
    Prediction to No-Regret Online Learning", algorithm 3.1).

    Every visited state is labelled with the expert's action. In iteration i, the expert acts with probability
    beta_i = beta_decay^i, drawn at each step. The default is the paper's choice without parameters: beta is 1 for the
    demonstrations (iteration 0) and 0 in later iterations, in which only the learner acts.
    """

    settings = ("beta_decay",)
    has_budget = False

    def __init__(self, beta_decay: float = 0.0):
        self.beta_decay, self._beta = beta_decay, 0.0
        self._rng = np.random.default_rng()

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Set beta to the iteration's value."""
        self._beta = self.beta_decay**itr

    def begin_episode(self, seed: int) -> None:
        """Start the episode's own random stream."""
        self._rng = np.random.default_rng([seed, RULE_DRAWS])

    def decide(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> Decision:
        """Return the learner's action or, with probability beta, the expert's action."""
        if not self._beta:
            return Decision(own, LEARNER)
        answer = teacher.act(ob)  # asked at every step, since the expert may remember the episode
        return Decision(answer, teacher.source) if self._rng.random() < self._beta else Decision(own, LEARNER)


def label_round(
    trajectories: Sequence[Trajectory],
    rule: Rule,
    teacher: Teacher,
    rng: np.random.Generator,
    budget: int | None = None,
    chunk: int = 1,
) -> list[Trajectory]:
    """Return the iteration's trajectories with the teacher's labels for the states that the rule selects.

    With a chunk of K, a selected state brings the labels of the K states from it on, or of the episode's last K.
    Chunks with a state that may not be labelled are left out, since no policy could learn from them. If there are
    more than `budget` labels, selected states are dropped at random. Raise `InputError` if the teacher's answers are
    not actions, or if the rule's selection is not a bool array.
    """
    starts = None if budget is None else budget // chunk
    chosen, name = rule.select(trajectories, starts, rng), f"{type(rule).__name__}.select"
    if not isinstance(chosen, Sequence) or len(chosen) != len(trajectories):
        raise InputError(f"{name} must return a list of {len(trajectories)} arrays, got {chosen!r:.100}")
    for trajectory, mask in zip(trajectories, chosen, strict=True):
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (len(trajectory),):
            got = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else f"{mask!r:.100}"
            raise InputError(
                f"{name} must return a bool array of shape ({len(trajectory)},) for an episode of {len(trajectory)}"
                f" steps, got {got}"
            )
    may = [trajectory.labelled_steps for trajectory in trajectories]
    masks = [with_chunks(mask, may_be, chunk) for mask, may_be in zip(chosen, may, strict=True)]
    if budget is not None and sum(int(mask.sum()) for mask in masks) > budget:
        chosen = drop_surplus([mask & may_be for mask, may_be in zip(chosen, may, strict=True)], starts, rng)
        masks = [with_chunks(mask, may_be, chunk) for mask, may_be in zip(chosen, may, strict=True)]
    return [label(trajectory, mask, teacher) for trajectory, mask in zip(trajectories, masks, strict=True)]


def drop_surplus(masks: Sequence[np.ndarray], budget: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the bool arrays with at most `budget` true values in all. The others are dropped at random."""
    chosen = np.flatnonzero(np.concatenate(masks))
    kept = rng.choice(chosen, min(budget, len(chosen)), replace=False)
    return split_like(np.isin(np.arange(sum(map(len, masks))), kept), masks)


def split_like(values: np.ndarray, parts: Sequence[Any]) -> list[np.ndarray]:
    """Return the values `(sum of lengths, ...)` in pieces that are as long as the parts."""
    return np.split(values, np.cumsum([len(part) for part in parts])[:-1])


def with_chunks(chosen: np.ndarray, may: np.ndarray, chunk: int) -> np.ndarray:
    """Return `(T,)` bool: the chosen steps that may have a label, each with the `chunk` - 1 steps after it.

    For a step near the end of the episode, these are the last `chunk` steps, since a policy learns whole chunks.
    Chunks with a step that may not have a label are left out.
    """
    if chunk == 1 or len(chosen) < chunk:
        return chosen & may
    starts = np.minimum(np.flatnonzero(chosen), len(chosen) - chunk)
    steps = starts[:, None] + np.arange(chunk)
    widened = np.zeros(len(chosen), bool)
    widened[steps[may[steps].all(axis=1)]] = True
    return widened


def label(trajectory: Trajectory, chosen: np.ndarray, teacher: Teacher) -> Trajectory:
    """Return the trajectory with labels for the `chosen` states that may have one. Executed actions do not change.

    Answers that the teacher gave during the rollout become labels. For the other chosen states it is asked now. If it
    cannot answer for recorded states, these states get no label.
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
    """Return the labels. Raise `InputError` if they do not have the shape and the kind of the actions."""
    if labels.shape != acs.shape or (labels.dtype.kind not in "iu" and acs.dtype.kind in "iu"):
        raise InputError(
            f"the expert's labels must be {acs.dtype} of shape {acs.shape}, as the actions are, got {labels.dtype} of"
            f" shape {labels.shape}"
        )
    return labels
