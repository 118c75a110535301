"""Experts that the user wrote: a function or a class that returns the action for an observation."""

from __future__ import annotations

import inspect
import math
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.envs import action_form, name_of
from rl_il.envs.fitting import original_space
from rl_il.errors import RAISED, InputError, describe
from rl_il.policies.actors import as_batch
from rl_il.types import Actor


def own_actor(expert: Any, env: gym.Env, name: str | None = None) -> Actor:
    """Return the actor for what the user wrote.

    Args:
      expert: an `Actor`; a function of one observation that returns one action; an object that has such a method,
        `get_action` or `__call__`; or a class of these, which is called without arguments.
      env: the environment.
      name: how messages call the expert (default: the name of its class or function).

    Raise `InputError` if it is none of these, or if its class cannot be made.
    """
    name = name or getattr(expert, "__qualname__", type(expert).__name__)
    if isinstance(expert, type):
        try:
            expert = expert()
        except RAISED as error:
            raise InputError(
                f"{name} cannot be made ({describe(error)}); the class of an expert is called without arguments"
            ) from error
    if isinstance(expert, Actor):
        return expert
    act = getattr(expert, "get_action", expert)
    if not callable(act):
        raise InputError(
            f"{name}: an expert must be a function of an observation that returns an action, or a class with a method"
            f" get_action, got {type(expert).__name__}"
        )
    return OwnActor(expert, env, name)


class OwnActor(Actor):
    """An actor that calls the user's function or object with one observation at a time.

    The function gets the environment's own observation, as it was before `FlattenObservation`. If the object has a
    method `reset`, which takes nothing or `seed`, it is called where an episode starts. If it has a method `watch`,
    it gets the environment before each episode. An object with one of them is asked only during an episode.
    """

    def __init__(self, expert: Any, env: gym.Env, name: str):
        self.expert, self.name, self.env_name = expert, name, name_of(env)
        self.ob_shape, self.action_space = env.observation_space.shape, env.action_space
        self.form = action_form(env.action_space)
        own_space = original_space(env)
        self.own_space = None if own_space is env.observation_space else own_space
        self.remembers, self.reads_simulator = hasattr(expert, "reset"), hasattr(expert, "watch")

    def watch(self, env: gym.Env) -> None:
        """Give the environment to the object if it has a method `watch`."""
        if self.reads_simulator:
            self.expert.watch(env)

    def reset(self, seed: int = 0) -> None:
        """Call the object's method `reset`, if it has one, with the seed if it takes an argument `seed`."""
        if self.remembers:
            parameters = inspect.signature(self.expert.reset).parameters
            self.expert.reset(**{"seed": seed} if "seed" in parameters else {})

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return one action for one observation, or N actions for N observations: int64 or float32, not clipped.

        Raise `InputError` if the function fails, or returns something that is not an action of the environment.
        """
        obs, single = as_batch(obs, self.ob_shape)
        acs = np.stack([self._act(ob) for ob in obs]) if len(obs) else np.empty((0, *self.action_space.shape))
        return acs[0] if single else acs

    def _act(self, ob: np.ndarray) -> np.ndarray:
        own = ob if self.own_space is None else gym.spaces.unflatten(self.own_space, ob)
        try:
            returned = getattr(self.expert, "get_action", self.expert)(own)
            action = np.asarray(returned)
        except RAISED as error:
            raise InputError(f"{self.name} failed at the observation {own!r:.200}: {describe(error)}") from error
        return self._checked(action, returned)

    def _checked(self, action: np.ndarray, returned: Any) -> np.ndarray:
        """Return the action in the space's shape. Raise `InputError` if it has neither this shape nor is flat."""
        space, size = self.action_space, math.prod(self.action_space.shape)
        fits = action.shape in (space.shape, (size,)) or action.size == size == 1
        if fits and isinstance(space, gym.spaces.Box) and action.dtype.kind in "iuf":
            return action.astype(np.float32).reshape(space.shape)
        if fits and action.dtype.kind in "iufb" and np.isfinite(action).all():
            whole = action.astype(np.int64).reshape(space.shape)
            if (whole == action.reshape(space.shape)).all() and space.contains(whole.astype(space.dtype)):
                return whole
        raise InputError(f"{self.name} returned {returned!r:.100}, but an action of {self.env_name} is {space}")
