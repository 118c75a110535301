"""Collection rules, which decide who acts and which states get a label, and teachers, which give the labels.

The variants of DAgger are in `rules/`. To add one, write a subclass of `Rule` and add a row to `plugins.RULES`.
`labelling.py` puts the teachers' answers into the trajectories.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
        """Raise `InputError` if the run lacks something that the rule needs.

        It is called before the run folder is made.
        """
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
