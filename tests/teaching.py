"""A session in the corridor, and a learner whose snapshots can be told apart by their actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from fakes import ConstantActor, walk

from rl_il.envs import key_map, make_env
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.teacher.labels import Labels
from rl_il.teacher.session import Session
from rl_il.teacher.settings import MODES, TeachConfig


class Watcher(ConstantActor):
    """Remembers the environment that it got."""

    def watch(self, env):
        self.watched = env


class FakeSnapshot(NamedTuple):
    number: int
    actor: Watcher
    updates: int = 0


class FakeLearner:
    """Its nth snapshot always does action n modulo 3; `publish` makes the next one. It counts calls of `grant`."""

    def __init__(self):
        self.granted, self.updates, self.loss, self.resting = 0, 0, None, False
        self.episodes: list[int] = []
        self.newest = FakeSnapshot(0, Watcher(np.int64(0)))

    def publish(self, action=None):
        number = self.newest.number + 1
        self.newest = FakeSnapshot(number, Watcher(number % 3 if action is None else action))

    def begin_episode(self, episode):
        self.episodes.append(episode)

    def grant(self):
        self.granted += 1


def make_session(env_name="TimedCorridor-v0", keys=None, teacher=None, first_episode=0, modes=MODES, **settings):
    """Return a session of five steps an episode and 10 steps a second, with the keys Digit0, Digit1 and Digit2."""
    env, config, ended = make_env(env_name), TeachConfig(**settings), []
    labels = Labels(config.labels, config.approval_weight, ReplayBuffer(1000))
    parts = (env, keys or key_map(env), labels, FakeLearner(), config)
    session = Session(*parts, ended.append, modes, teacher, first_episode)
    session.ended_episodes = ended
    return session


def finish_episode(session: Session) -> None:
    """Step to the end of the running episode."""
    while session.ended is None:
        session.step()


def steps(*sources, labelled=None):
    """Return a walk with these sources; its actions are the numbers of its steps."""
    n = len(sources)
    labelled = None if labelled is None else np.array(labelled, bool)
    return walk(n, acs=np.arange(n), source=np.array(sources, np.int8), labelled=labelled)
