"""A vector environment whose slots roll out episodes: an environment each, with an actor or an expert beside it."""

from __future__ import annotations

import copy
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.interrupts import MOST_SECONDS, begin_worker, interrupts_ignored
from rl_il.infrastructure.rollouts import trajectory_steps
from rl_il.types import Actor, VectorActor, has_expert_beside


class Told:
    """Stands beside an environment for the policy, whose actions come from the main process."""

    def __init__(self, ob_shape: tuple[int, ...]):
        self.ob_shape, self.ac = ob_shape, None

    def reset(self, seed: int = 0) -> None:
        """The policy itself hears of the episode's start."""

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """What it was told."""
        return self.ac


def divide(actor: Actor, n: int) -> tuple[VectorActor | None, Actor, Told | None]:
    """What acts for n episodes in one batch, what acts beside each environment, and who there is told the former's
    actions.

    An expert stays beside the environment, whose simulator it may read. So does a whole actor that makes no batches:
    NumPy is fastest for one observation, and what it draws or remembers is of one episode.
    """
    learner = actor.learner if has_expert_beside(actor) else actor
    policy = learner.vectorized(n) if hasattr(learner, "vectorized") else None
    if policy is None:
        return None, actor, None
    told = Told(learner.ob_shape)
    if learner is actor:
        return policy, told, told
    beside = copy.copy(actor)
    beside.learner = told
    return policy, beside, told


class Slot(gym.Wrapper):
    """An environment with an actor beside it.

    A step is one of `sample_trajectory`. At the episode's end `info` holds it as `trajectory`; where something
    failed, it holds the message as `error`. Then the slot rests, whatever it is told, until it is reset.

    Args:
      env: is closed with the slot, unless it is `borrowed`.
    """

    def __init__(self, env: gym.Env, borrowed: bool = False):
        super().__init__(env)
        self.borrowed = borrowed
        space = env.observation_space
        self.ob = np.zeros(space.shape, space.dtype)
        self.told = self.steps = None

    def take(self, actor: Actor, told: Told | None, max_path_length: int | None, source: int) -> None:
        """Who acts here from now on, and `sample_trajectory`'s other arguments. An episode under way is dropped."""
        self.actor, self.told, self.settings = actor, told, (max_path_length, source)
        self.steps = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Begins the seed's episode."""
        self.steps = trajectory_steps(self.env, self.actor, seed, *self.settings)
        info = self._go_on()
        return self.ob, info

    def step(self, action: Any):
        """Goes on by one step, with `action` where the actor is told it. The rewards are in the trajectory."""
        if self.told:
            self.told.ac = action
        info = self._go_on() if self.steps else {}
        return self.ob, 0.0, "trajectory" in info, False, info

    def close(self) -> None:
        """Closes the environment, if it is the slot's own."""
        if not self.borrowed:
            self.env.close()

    def _go_on(self) -> dict[str, Any]:
        """To the next observation or the end; returns the `info`."""
        try:
            self.ob = next(self.steps)
            return {}
        except StopIteration as end:
            self.steps = None
            return {"trajectory": end.value}
        except InputError as error:
            self.steps = None
            return {"error": str(error)}
        except (OSError, EOFError) as error:  # which would be taken for a broken pipe
            raise RuntimeError(f"{type(error).__name__}: {error}") from error


class WorkerDied(Exception):
    """A process of the vector environment is gone, or hangs."""


@contextmanager
def deaths_noticed() -> Iterator[None]:
    """Inside, a pipe that is broken or silent means `WorkerDied`."""
    try:
        yield
    except multiprocessing.TimeoutError as error:
        raise WorkerDied(f"a worker process gave no answer for {MOST_SECONDS} s") from error
    except (EOFError, OSError) as error:
        raise WorkerDied("a worker process died") from error


class Processes(AsyncVectorEnv):
    """A process a slot. If one is gone or hangs, asking raises `WorkerDied`; closing kills them."""

    def __init__(self, env_name: str, n: int):
        make = partial(_make_slot, env_name, os.getpid())
        self.processes: list[BaseProcess] = []
        self.parent_pipes: list[Connection | None] = []
        try:
            with deaths_noticed(), interrupts_ignored():  # Ctrl-C is the parent's to handle; it ends the processes
                # A fork would copy torch's threads and locks.
                super().__init__([make] * n, context="spawn", autoreset_mode=AutoresetMode.DISABLED)
        except BaseException:
            self.close_extras()  # some may have started
            raise

    def reset(self, **kwargs: Any):
        """Resets the slots in the mask."""
        return self._ask("reset", **kwargs)

    def step(self, actions: Sequence):
        """Steps every slot."""
        return self._ask("step", actions)

    def call(self, name: str, *args: Any):
        """Calls every slot's method."""
        return self._ask("call", name, *args)

    def _ask(self, what: str, *args: Any, **kwargs: Any):
        with deaths_noticed():
            getattr(self, f"{what}_async")(*args, **kwargs)
            return getattr(self, f"{what}_wait")(timeout=MOST_SECONDS)

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the processes at once: they hold nothing that anybody waits for."""
        for process in self.processes:
            if process.pid:  # it was started
                process.kill()
                process.join()
        for pipe in filter(None, self.parent_pipes):
            pipe.close()


def _make_slot(env_name: str, parent: int) -> Slot:
    if os.getpid() != parent:  # which makes one too, to see its spaces
        begin_worker()
    return Slot(make_env(env_name))


def make_slots(env_name: str, env: gym.Env, n: int) -> VectorEnv:
    """One slot in this process, around `env`, or n in a process each."""
    if n == 1:
        return SyncVectorEnv([lambda: Slot(env, borrowed=True)], autoreset_mode=AutoresetMode.DISABLED)
    return Processes(env_name, n)
