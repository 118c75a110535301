"""A session in the corridor, and a learner whose snapshots say which they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from fakes import ConstantActor

from rl_il.envs import key_map, make_env
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.teacher.labels import Labels
from rl_il.teacher.session import Session


class FakeSnapshot(NamedTuple):
    number: int
    actor: ConstantActor
    updates: int = 0


class FakeLearner:
    """Its nth snapshot always does action n modulo 3; `publish` makes the next. It counts what it is granted."""

    def __init__(self):
        self.granted, self.updates, self.loss, self.resting = 0, 0, None, False
        self.episodes: list[int] = []
        self.newest = FakeSnapshot(0, ConstantActor(np.int64(0)))

    def publish(self, action=None):
        number = self.newest.number + 1
        self.newest = FakeSnapshot(number, ConstantActor(np.int64(number % 3 if action is None else action)))

    def begin_episode(self, episode):
        self.episodes.append(episode)

    def grant(self):
        self.granted += 1


def make_session(env_name="TimedCorridor-v0", rule="human", weight=0.2, **settings) -> Session:
    """Five steps an episode; 10 steps a second; keys Digit0, Digit1 and Digit2."""
    env = make_env(env_name)
    labels = Labels(rule, weight, ReplayBuffer(1000))
    ended = []
    settings.setdefault("keys", key_map(env))
    session = Session(env, labels=labels, learner=FakeLearner(), seed=1, on_end=ended.append, **settings)
    session.ended_episodes = ended
    return session


def finish_episode(session: Session) -> None:
    """Steps to the end of the running episode."""
    while session.ended is None:
        session.step()
