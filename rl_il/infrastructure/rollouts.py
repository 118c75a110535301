"""Rolling out an actor: one episode, enough steps, or n episodes.

Each episode's seed is drawn in order from one generator, and an actor draws only from the seed of its `reset`: the
same generator gives the same episodes, wherever they are rolled out. Importing this file does not import torch.
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

from rl_il.envs import env_spec, episode_limit, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Decision, Rule, Teacher
from rl_il.seeding import episode_seeds
from rl_il.types import EXPERT, LEARNER, Actor, Trajectory


class Rollout:
    """One episode so far, and the one place that steps an environment.

    Attributes:
      seed: what the episode started from.
      has_teacher: whether there is a teacher to ask.
      ob: the observation now.
      own: what the learner would have done at the last step.
      obs, acs, rewards, sources, may_label: a list each, with an item a step; `obs` has one more.
      answers: the teacher's action at each step, not clipped; None where it was not asked.
      terminated, truncated, cut: how the episode ended: by the task, by a time limit, by the rule.
    """

    def __init__(self, env: gym.Env, seed: int, limit: int, has_teacher: bool):
        self.env, self.seed, self.limit, self.has_teacher = env, seed, limit, has_teacher
        space = env.action_space
        self._bounds = None if is_discrete(space) else (space.low, space.high)
        self.ob, _ = env.reset(seed=seed)
        self.own: np.ndarray | None = None
        self.obs, self.acs, self.answers = [np.array(self.ob)], [], []
        self.rewards, self.sources, self.may_label = [], [], []
        self.terminated = self.truncated = self.cut = False

    def __len__(self) -> int:
        return len(self.acs)

    @property
    def ended(self) -> bool:
        """Return whether there is no further step."""
        return self.terminated or self.truncated or self.cut

    def step(self, decision: Decision, answer: np.ndarray | None) -> None:
        """Take the decided action, and record it with the teacher's answer.

        Raise `InputError` where the environment fails.
        """
        action, source, may_label, self.cut = decision
        executed = self._executable(action)
        try:
            self.ob, reward, self.terminated, truncated, _ = self.env.step(executed)
        except Exception as error:  # an environment's code may raise any class
            raise InputError(self._what_failed(error)) from error
        self.obs.append(np.array(self.ob))  # some environments write every observation into one array
        self.acs.append(executed)
        self.answers.append(answer)
        self.rewards.append(reward)
        self.sources.append(source)
        self.may_label.append(may_label)
        self.truncated = truncated or (not self.terminated and len(self.acs) >= self.limit)

    def _executable(self, action: np.ndarray) -> int | np.ndarray:
        """Return the action as the environment takes it: an integer, or floats within its bounds."""
        if self._bounds is None:
            return int(action)
        low, high = self._bounds
        return np.minimum(np.maximum(action, low), high)

    def _what_failed(self, error: Exception) -> str:
        """Return where the environment failed: the place in its code, and how to reproduce it."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"{name_of(self.env)} failed in step {len(self) + 1} of the episode from seed {self.seed}:"
            f" {type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
        )

    def trajectory(self, start: int = 0) -> Trajectory:
        """Return the steps from `start` on. If the teacher was asked at any of them, `expert_acs` holds its answers,
        and what was executed at the others."""
        dtype = np.int64 if is_discrete(self.env.action_space) else np.float32
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
    """A teacher whose answers are kept for one step, so that asking again changes nothing."""

    def __init__(self, teacher: Teacher):
        self.teacher, self.source, self.answers_recorded = teacher, teacher.source, teacher.answers_recorded
        self.begin_step()

    def begin_step(self) -> None:
        """Forget the answers to the last step."""
        self.answer: np.ndarray | None = None
        self._has_said = False

    def wants(self, ob: np.ndarray, own: np.ndarray) -> np.ndarray | None:
        """Return the action that the teacher insists on at this step, or None."""
        if not self._has_said:
            self._has_said, self._wanted = True, self.teacher.wants(ob, own)
            self.answer = self._wanted if self.answer is None else self.answer
        return self._wanted

    def act(self, ob: np.ndarray) -> np.ndarray:
        """Return the teacher's action at this step: what it insists on, if it was asked for that before."""
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

    A continuous action is clipped to the environment's bounds before it is executed; `acs` holds what was executed.
    Reaching `max_path_length` counts as a time limit. Raise `InputError` where the environment has no time limit, or
    fails.

    Args:
      actor: the learner, or another actor.
      seed: where the episode, the actor, the rule and the teacher start from.
      source: who the actor is, if there is no rule. An EXPERT's unclipped actions are kept as labels.
      rule: decides at each step who acts, and may ask the teacher, which it needs.
      teacher: if it cannot answer afterwards, it is asked at every step.
    """
    limit = episode_limit(env, max_path_length)
    if limit is None:
        raise InputError(f"{name_of(env)} has no time limit of its own; give one with --ep_len")
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
    """Return the rule's decision, and the teacher's answer if it was asked: always, if it cannot answer later."""
    teacher.begin_step()
    decision = rule.decide(rollout.ob, rollout.own, teacher)
    return decision, teacher.answer if teacher.answers_recorded else teacher.act(rollout.ob)


def sample_trajectory(*settings: Any, **named: Any) -> Trajectory:
    """Roll out one whole episode; the arguments are those of `episode_steps`."""
    return deque(episode_steps(*settings, **named), maxlen=1)[0].trajectory()


RollOut = Callable[..., Trajectory]
"""`sample_trajectory` with everything but the environment and the seed."""


class EpisodeSource(Protocol):
    """A source of episodes that takes an environment's place: worker processes."""

    env_name: str

    def episodes(self, roll_out: RollOut, seeds: Sequence[int] | Iterator[int]) -> Iterator[Trajectory]:
        """Return the seeds' whole episodes, in order; of an endless iterator, as many as are asked for."""

    def close(self) -> None:
        """End the processes that it runs."""


RolloutSource = gym.Env | EpisodeSource

Episodes = tuple[np.ndarray, np.ndarray]
"""Returns and lengths of evaluation episodes, `(n,)` each."""
NO_EPISODES: Episodes = (np.empty(0), np.empty(0, int))


def sample_trajectories(
    env: RolloutSource,
    actor: Actor,
    min_timesteps: int,
    rng: np.random.Generator,
    max_path_length: int | None = None,
    source: int = LEARNER,
) -> list[Trajectory]:
    """Return whole episodes that hold at least `min_timesteps` steps together: for collecting, not for evaluating,
    since stopping at a step count favours short episodes."""
    return enough(begin_episodes(env, actor, rng, max_path_length, source), min_timesteps)


def enough(episodes: Iterator[Trajectory], min_timesteps: int, n_episodes: int | None = None) -> list[Trajectory]:
    """Return as many of the episodes as hold at least `min_timesteps` steps together, or `n_episodes`."""
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
    """Yield exactly `n` whole episodes, each as soon as it and those before it are finished."""
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
    """Return `n` whole episodes, or endlessly many. Worker processes begin the first ones now."""
    seeds = episode_seeds(rng) if n is None else list(itertools.islice(episode_seeds(rng), n))
    roll_out = partial(
        sample_trajectory, actor=actor, max_path_length=max_path_length, source=source, rule=rule, teacher=teacher
    )
    if isinstance(env, gym.Env):
        return (roll_out(env, seed=seed) for seed in seeds)
    return env.episodes(roll_out, seeds)


def returns_and_lengths(trajectories: Sequence[Trajectory]) -> tuple[np.ndarray, np.ndarray]:
    """Return each episode's return (float64) and number of steps."""
    return np.array([t.episode_return for t in trajectories]), np.array([len(t) for t in trajectories])


def look_at(episodes: Iterable[Trajectory], env_name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return each episode's return, length and, if the environment says what it is, success (bool).

    Each episode is dropped once it is counted: a hundred of CarRacing's pictures would take 2 GB.
    """
    reached = env_spec(env_name).success
    rows = [(t.episode_return, len(t), bool(reached and reached(t))) for t in episodes]
    returns, lengths, success = (np.array(column) for column in zip(*rows, strict=True))
    return returns, lengths, success if reached else None
