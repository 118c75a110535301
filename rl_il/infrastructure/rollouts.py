"""Rollouts of an actor: one episode, n episodes, or episodes until there are enough steps.

The seeds of the episodes are drawn in order from one generator, and the random numbers of an actor depend only on the
seed given to its `reset`. So the same generator gives the same episodes in this process and in worker processes. This
file does not import torch.
"""

from __future__ import annotations

import itertools
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from rl_il.envs import action_dtype, action_form, env_row, episode_limit, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Decision, Rule, Teacher
from rl_il.seeding import episode_seeds
from rl_il.types import EXPERT, LEARNER, Actor, Trajectory

EXPECTED = (
    "Gymnasium expects reset(seed=...) to return (observation, info), and step(action) to return (observation,"
    " reward, terminated, truncated, info)"
)


class Rollout:
    """An episode so far. In this package, only this class calls the `step` of an environment.

    Attributes:
      seed: the seed of the episode.
      has_teacher: whether there is a teacher to ask.
      ob: the current observation.
      own: the learner's action at the last step, whether it was executed or not.
      obs, acs, rewards, sources, may_label: lists with one item for each step. `obs` has one more item.
      answers: a list with the teacher's action at each step, not clipped, or None if it was not asked.
      terminated, truncated, cut: whether the task, a time limit or the rule ended the episode.
    """

    def __init__(self, env: gym.Env, seed: int, limit: int, has_teacher: bool):
        self.env, self.seed, self.limit, self.has_teacher = env, seed, limit, has_teacher
        space = env.action_space
        self._bounds = None if is_discrete(space) else (space.low, space.high)
        self._counts_from_0 = self._bounds is None and action_form(space).usual
        self.acs, self.answers = [], []
        self.ob = self._first_observation()
        self.own: np.ndarray | None = None
        self.obs = [np.array(self.ob)]
        self.rewards, self.sources, self.may_label = [], [], []
        self.terminated = self.truncated = self.cut = False

    def __len__(self) -> int:
        return len(self.acs)

    def _first_observation(self) -> np.ndarray:
        """Return the observation with which the episode begins. Raise `InputError` if the environment has none."""
        try:
            returned = self.env.reset(seed=self.seed)
            if not isinstance(returned, tuple):  # an array of two numbers could be unpacked too
                raise TypeError(f"reset returned a value of type {type(returned).__name__}")
            ob, _ = returned
        except Exception as error:  # the code of an environment may raise any class
            raise InputError(self._what_failed(f"reset(seed={self.seed})", error)) from error
        expected = self.env.observation_space.shape
        if np.shape(ob) != expected:
            raise InputError(
                f"{name_of(self.env)} returned an observation of shape {np.shape(ob)} from reset(seed={self.seed}),"
                f" but its observation_space has the shape {expected}"
            )
        return ob

    @property
    def ended(self) -> bool:
        """Return whether the episode has ended."""
        return self.terminated or self.truncated or self.cut

    def step(self, decision: Decision, answer: np.ndarray | None) -> None:
        """Execute the action of the decision, and record it with the teacher's answer.

        Raise `InputError` if the environment raises an error.
        """
        action, source, may_label, self.cut = decision
        executed = self._executable(action)
        try:
            self.ob, reward, self.terminated, truncated, _ = self.env.step(executed)
        except Exception as error:  # the code of an environment may raise any class
            where = f"step {len(self) + 1} of the episode from seed {self.seed}"
            raise InputError(self._what_failed(where, error)) from error
        self.obs.append(np.array(self.ob))  # some environments write all observations into the same array
        self.acs.append(executed)
        self.answers.append(answer)
        self.rewards.append(reward)
        self.sources.append(source)
        self.may_label.append(may_label)
        self.truncated = truncated or (not self.terminated and len(self.acs) >= self.limit)

    def _executable(self, action: np.ndarray) -> int | np.ndarray:
        """Return the action for the environment: one integer or an array of them, or floats clipped to its bounds."""
        if self._counts_from_0:
            return int(action)
        if self._bounds is None:
            return self._checked(action)
        low, high = self._bounds
        return np.minimum(np.maximum(action, low), high)

    def _checked(self, action: np.ndarray) -> int | np.ndarray:
        """Return the integers as the space has them. Raise `InputError` if they are not an action of it."""
        space = self.env.action_space
        executed = np.asarray(action).astype(space.dtype)
        executed = int(executed) if executed.ndim == 0 else executed
        if not space.contains(executed):
            raise InputError(f"{name_of(self.env)} takes actions of {space}, got {action!r} of an expert or a policy")
        return executed

    def _what_failed(self, where: str, error: Exception) -> str:
        """Return a message with the place of the error, and what Gymnasium expects if the interface may be wrong."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
        if isinstance(error, (TypeError, ValueError)):  # maybe it has the interface of the old package gym
            text += f"; {EXPECTED}"
        return f"{name_of(self.env)} failed in {where}: {text}"

    def trajectory(self, start: int = 0) -> Trajectory:
        """Return the trajectory of the steps from `start` on.

        If there are answers, `expert_acs` contains them, and the executed actions at the steps without an answer.
        """
        dtype = action_dtype(self.env.action_space)
        answers, may_label = self.answers[start:], self.may_label[start:]
        consulted = np.array([answer is not None for answer in answers])
        labels = [ac if answer is None else answer for ac, answer in zip(self.acs[start:], answers, strict=True)]
        return Trajectory(
            obs=np.array(self.obs[start:], self.env.observation_space.dtype),
            acs=np.array(self.acs[start:], dtype),
            rewards=np.array(self.rewards[start:], np.float64),
            terminated=bool(self.terminated),
            truncated=bool(self.truncated),
            expert_acs=np.array(labels, dtype) if consulted.any() else None,
            labelled=None if all(may_label) else np.array(may_label, bool),
            source=np.array(self.sources[start:], np.int8),
            consulted=consulted if consulted.any() and self.has_teacher else None,
        )


class AskedOnce(Teacher):
    """A teacher that keeps its answers during a step, so that it can be asked again without any effect."""

    def __init__(self, teacher: Teacher):
        self.teacher, self.source, self.answers_recorded = teacher, teacher.source, teacher.answers_recorded
        self.begin_step()

    def begin_step(self) -> None:
        """Forget the answers of the last step."""
        self.answer: np.ndarray | None = None
        self._has_said = False

    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return the teacher's action if it takes over at this step, or None."""
        if not self._has_said:
            self._has_said, self._wanted = True, self.teacher.wants(ob, own)
            self.answer = self._wanted if self.answer is None else self.answer
        return self._wanted

    def act(self, ob: np.ndarray) -> np.ndarray:
        """Return the teacher's action at this step. If it took over, return the action with which it did."""
        if self.answer is None:
            self.answer = self.teacher.act(ob)
        return self.answer


def episode_steps(
    env: gym.Env,
    actor: Actor,
    seed: int,
    max_path_length: int | None = None,
    source: int = LEARNER,
    rule: Rule | None = None,
    teacher: Teacher | None = None,
) -> Iterator[Rollout]:
    """Roll out one episode, and yield it (the same object) at its start and after each step.

    Continuous actions are clipped to the environment's bounds, executed, and stored in `acs`. Raise `InputError` if
    there is no time limit, or if a step of the environment raises an error.

    Args:
      env: the environment.
      actor: the learner, or another actor.
      seed: the seed of the environment, the actor, the rule and the teacher.
      max_path_length: the maximum number of steps, if it is lower than the environment's own limit. An episode that
        reaches it is truncated.
      source: who the actor is, if there is no rule. The unclipped actions of an EXPERT are stored as labels.
      rule: decides at each step who acts, and may ask the teacher. It needs a teacher.
      teacher: the teacher that the rule asks. If it cannot answer after the episode, it is asked at every step.
    """
    limit = episode_limit(env, max_path_length)
    if limit is None:
        raise InputError(f"{name_of(env)} has no time limit; give one with --ep_len")
    rollout = Rollout(env, seed, limit, teacher is not None)
    for each in (actor, teacher) if teacher is not None else (actor,):
        each.watch(env)
        each.reset(seed)
    if rule is not None:
        rule.begin_episode(seed)
    asked = None if teacher is None else AskedOnce(teacher)
    yield rollout
    while not rollout.ended:
        rollout.own = actor.get_action(rollout.ob)
        if rule is None:
            decision, answer = Decision(rollout.own, source), rollout.own if source == EXPERT else None
        else:
            decision, answer = _ask(rule, asked, rollout)
        rollout.step(decision, answer)
        yield rollout


def _ask(rule: Rule, teacher: AskedOnce, rollout: Rollout) -> tuple[Decision, np.ndarray | None]:
    """Return the rule's decision, and the teacher's answer or, if it was not asked and can answer later, None."""
    teacher.begin_step()
    decision = rule.decide(rollout.ob, rollout.own, teacher)
    return decision, teacher.answer if teacher.answers_recorded else teacher.act(rollout.ob)


def sample_trajectory(*settings: Any, **named: Any) -> Trajectory:
    """Return one whole episode. The arguments are those of `episode_steps`."""
    return deque(episode_steps(*settings, **named), maxlen=1)[0].trajectory()


RollOut = Callable[..., Trajectory]
"""`sample_trajectory` with all arguments except the environment and the seed."""


class EpisodeSource(Protocol):
    """A source of episodes that replaces an environment: worker processes."""

    env_name: str

    def episodes(self, roll_out: RollOut, seeds: Sequence[int] | Iterator[int]) -> Iterator[Trajectory]:
        """Return whole episodes with these seeds, in order. An iterator of seeds may be endless."""

    def close(self) -> None:
        """End the processes."""


RolloutSource = gym.Env | EpisodeSource

EpisodeStatistics = tuple[np.ndarray, np.ndarray]
"""The returns and the lengths of n evaluation episodes: `(n,)` float64 and `(n,)` int."""
NO_STATISTICS: EpisodeStatistics = (np.empty(0), np.empty(0, int))


def sample_trajectories(
    env: RolloutSource,
    actor: Actor,
    min_timesteps: int,
    rng: np.random.Generator,
    max_path_length: int | None = None,
    source: int = LEARNER,
) -> list[Trajectory]:
    """Return whole episodes with at least `min_timesteps` steps in total.

    Use this to collect data, not for evaluation: to stop at a number of steps favours short episodes.
    """
    return enough(begin_episodes(env, actor, rng, max_path_length, source), min_timesteps)


def enough(episodes: Iterator[Trajectory], min_timesteps: int, n_episodes: int | None = None) -> list[Trajectory]:
    """Return the first `n_episodes`. If that is None, return the first ones with `min_timesteps` steps in total."""
    trajectories: list[Trajectory] = []
    timesteps = 0
    while timesteps < min_timesteps if n_episodes is None else len(trajectories) < n_episodes:
        trajectories.append(next(episodes))
        timesteps += len(trajectories[-1])
    episodes.close()
    return trajectories


def sample_n_trajectories(
    env: RolloutSource,
    actor: Actor,
    n: int,
    rng: np.random.Generator,
    max_path_length: int | None = None,
    source: int = LEARNER,
) -> Iterator[Trajectory]:
    """Return an iterator over exactly `n` whole episodes. It yields an episode when it and all earlier ones end."""
    return begin_episodes(env, actor, rng, max_path_length, source, n)


def begin_episodes(
    env: RolloutSource,
    actor: Actor,
    rng: np.random.Generator,
    max_path_length: int | None = None,
    source: int = LEARNER,
    n: int | None = None,
    rule: Rule | None = None,
    teacher: Teacher | None = None,
) -> Iterator[Trajectory]:
    """Return an iterator over `n` whole episodes, or without end for None. Worker processes start at once."""
    seeds = episode_seeds(rng) if n is None else list(itertools.islice(episode_seeds(rng), n))
    roll_out = partial(
        sample_trajectory, actor=actor, max_path_length=max_path_length, source=source, rule=rule, teacher=teacher
    )
    if isinstance(env, gym.Env):
        return (roll_out(env, seed=seed) for seed in seeds)
    return env.episodes(roll_out, seeds)


def returns_and_lengths(trajectories: Sequence[Trajectory]) -> tuple[np.ndarray, np.ndarray]:
    """Return each episode's return, `(n,)` float64, and number of steps, `(n,)` int."""
    return np.array([t.episode_return for t in trajectories]), np.array([len(t) for t in trajectories])


def look_at(episodes: Iterable[Trajectory], env_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the return, the length and the success (bool) of each episode, as arrays `(n,)`.

    The success is None if the environment's row in `ENVS` does not define it. No episode is kept, since the pictures
    of a hundred episodes of CarRacing would need 2 GB.
    """
    reached = env_row(env_name).success
    rows = [(t.episode_return, len(t), bool(reached and reached(t))) for t in episodes]
    returns, lengths, success = (np.array(column) for column in zip(*rows, strict=True))
    return returns, lengths, success if reached else None
