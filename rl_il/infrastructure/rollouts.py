"""Rollouts of an actor: one episode, n episodes, or episodes until there are enough steps.

The seeds of the episodes are drawn in order from one generator, and the random numbers of an actor depend only on the
seed given to its `reset`. So the same generator gives the same episodes in this process and in worker processes. This
file does not import torch.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np

from rl_il.envs import env_row, episode_limit, name_of
from rl_il.envs.interface import described
from rl_il.errors import RAISED, InputError
from rl_il.infrastructure.dagger import Decision, Rule, Teacher
from rl_il.infrastructure.rollout import Rollout
from rl_il.limits import BYTES_PER_EPISODE, check_bytes, memory_here
from rl_il.seeding import episode_seeds
from rl_il.types import EXPERT, LEARNER, Actor, Trajectory


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
    there is no time limit, or if the code of the environment, the actor, the rule or the teacher fails.

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
        raise InputError(f"{name_of(env)} has no time limit that Gymnasium knows; give one with --ep_len")
    rollout = Rollout(env, seed, limit, teacher is not None)
    asked = None if teacher is None else AskedOnce(teacher)
    try:
        for each in (actor, teacher) if teacher is not None else (actor,):
            each.watch(env)
            each.reset(seed)
        if rule is not None:
            rule.begin_episode(seed)
    except RAISED as error:
        rollout.explain(error)
        raise
    yield rollout
    while not rollout.ended:
        try:
            rollout.own = actor.get_action(rollout.ob)
            if rule is None:
                decision, answer = Decision(rollout.own, source), rollout.own if source == EXPERT else None
            else:
                decision, answer = _ask(rule, asked, rollout)
        except RAISED as error:
            rollout.explain(error)
            raise
        rollout.step(decision, answer)
        if rule is not None and decision.source != LEARNER:
            actor.drop_plan()
        yield rollout


def _ask(rule: Rule, teacher: AskedOnce, rollout: Rollout) -> tuple[Decision, np.ndarray | None]:
    """Return the rule's decision, and the teacher's answer or, if it was not asked and can answer later, None."""
    teacher.begin_step()
    decision = rule.decide(rollout.ob, rollout.own, teacher)
    if not isinstance(decision, Decision):
        raise InputError(f"{type(rule).__name__}.decide must return a Decision, got {described(decision)}")
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


class EpisodeStatistics(NamedTuple):
    """The numbers of n evaluation episodes."""

    returns: np.ndarray  # (n,) float64
    lengths: np.ndarray  # (n,) int
    scores: np.ndarray  # (n,) float64: what the environment's row judges by; for most environments the returns

    @classmethod
    def from_lists(cls, returns: Sequence, lengths: Sequence, scores: Sequence | None = None) -> EpisodeStatistics:
        """Return the numbers that a file holds. The scores are the returns if they are not given."""
        scores = returns if scores is None else scores
        return cls(np.array(returns, np.float64), np.array(lengths, int), np.array(scores, np.float64))


NO_STATISTICS = EpisodeStatistics(np.empty(0), np.empty(0, int), np.empty(0))


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
    rng: np.random.Generator | Sequence[int],
    max_path_length: int | None = None,
    source: int = LEARNER,
) -> Iterator[Trajectory]:
    """Return an iterator over exactly `n` whole episodes. It yields an episode when it and all earlier ones end."""
    return begin_episodes(env, actor, rng, max_path_length, source, n)


def begin_episodes(
    env: RolloutSource,
    actor: Actor,
    rng: np.random.Generator | Sequence[int],
    max_path_length: int | None = None,
    source: int = LEARNER,
    n: int | None = None,
    rule: Rule | None = None,
    teacher: Teacher | None = None,
) -> Iterator[Trajectory]:
    """Return an iterator over `n` whole episodes, or without end for None. Worker processes start at once.

    `rng` draws the seeds of the episodes, or is the seeds themselves. Raise `InputError` if not even the numbers of n
    episodes fit into memory.
    """
    check_bytes(f"{n} episodes", (n or 0) * BYTES_PER_EPISODE, memory_here())
    seeds = episode_seeds(rng) if isinstance(rng, np.random.Generator) else rng
    seeds = seeds if n is None else list(itertools.islice(seeds, n))
    roll_out = partial(
        sample_trajectory, actor=actor, max_path_length=max_path_length, source=source, rule=rule, teacher=teacher
    )
    if isinstance(env, gym.Env):
        return (roll_out(env, seed=seed) for seed in seeds)
    return env.episodes(roll_out, seeds)


def returns_and_lengths(trajectories: Sequence[Trajectory]) -> tuple[np.ndarray, np.ndarray]:
    """Return each episode's return, `(n,)` float64, and number of steps, `(n,)` int."""
    return np.array([t.episode_return for t in trajectories]), np.array([len(t) for t in trajectories])


def look_at(episodes: Iterable[Trajectory], env_name: str) -> tuple[EpisodeStatistics, np.ndarray | None]:
    """Return the numbers of the episodes, and whether each reached its goal, `(n,)` bool.

    The latter is None if neither the environment's row in `ENVS` nor its info says it. No episode is kept, since the
    pictures of a hundred episodes of CarRacing would need 2 GB.
    """
    row = env_row(env_name)
    reached = row.success or attrgetter("success")
    rows = [(t.episode_return, len(t), row.score(t), reached(t)) for t in episodes]
    returns, lengths, scores, success = zip(*rows, strict=True)
    known = None if None in success else np.array(success, bool)
    return EpisodeStatistics.from_lists(returns, lengths, scores), known
