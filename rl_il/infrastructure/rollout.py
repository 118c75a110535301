"""One episode of an environment, step by step. Whatever the environment does wrong is an `InputError` that names it.

This file does not import torch.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.envs import action_dtype, action_form, is_discrete, name_of
from rl_il.envs.interface import (
    EXPECTED,
    FLAGS,
    REWARDS,
    check_info,
    checked_flag,
    checked_observation,
    checked_reward,
    described,
)
from rl_il.errors import RAISED, InputError, describe, is_interruption, own_frames
from rl_il.infrastructure.dagger import Decision
from rl_il.types import Trajectory

SUCCESS = ("is_success", "success")
"""The names under which the info of an environment may say whether the episode reached its goal."""


def success_in(info: dict[str, Any]) -> bool | None:
    """Return what the info says about success, or None if it says nothing that is true or false."""
    found = next((info[name] for name in SUCCESS if name in info), None)
    return bool(found) if np.ndim(found) == 0 and found in (0, 1) else None


class Rollout:
    """An episode so far. In this package, only this class calls the `reset` and the `step` of an environment.

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
        self._ac_dtype = action_dtype(space)
        self._shape, self._dtype = env.observation_space.shape, env.observation_space.dtype
        self.obs, self.acs, self.answers = [], [], []
        self.rewards, self.sources, self.may_label = [], [], []
        self.terminated = self.truncated = self.cut = False
        self.own: np.ndarray | None = None
        self.info: dict[str, Any] = {}  # of the last step
        self.ob = self._first_observation()

    def __len__(self) -> int:
        return len(self.acs)

    @property
    def ended(self) -> bool:
        """Return whether the episode has ended."""
        return self.terminated or self.truncated or self.cut

    def _first_observation(self) -> np.ndarray:
        """Return the observation with which the episode begins, and record it."""
        try:
            returned = self.env.reset(seed=self.seed)
            if not isinstance(returned, tuple):  # an array of two numbers could be unpacked too
                raise TypeError(f"reset returned a value of type {type(returned).__name__}")
            ob, info = returned
            check_info(info)
            return self._recorded(ob)
        except RAISED as error:
            raise self._failure(0, error) from error

    def step(self, decision: Decision, answer: np.ndarray | None) -> None:
        """Execute the action of the decision, and record it with the teacher's answer.

        Raise `InputError` if the environment raises an error, or returns what does not fit.
        """
        action, source, may_label, self.cut = decision
        try:
            executed = self._executable(action)
        except (TypeError, ValueError, OverflowError) as error:  # of a policy, an expert or a rule
            raise self._wrong_action(action) from error
        try:
            ob, reward, terminated, truncated, info = self.env.step(executed)
            if (  # this takes 0.2 microseconds; what is unusual is examined more closely
                type(ob) is np.ndarray
                and ob.dtype is self._dtype
                and ob.shape == self._shape
                and type(reward) in REWARDS
                and type(terminated) in FLAGS
                and type(truncated) in FLAGS
                and type(info) is dict
            ):
                self.obs.append(ob.copy())  # some environments write all observations into the same array
            else:
                check_info(info)
                reward = checked_reward(reward)
                terminated, truncated = checked_flag("terminated", terminated), checked_flag("truncated", truncated)
                ob = self._recorded(ob)
        except RAISED as error:
            raise self._failure(len(self) + 1, error) from error
        self.ob, self.terminated, self.info = ob, terminated, info
        self.acs.append(executed)
        self.answers.append(answer)
        self.rewards.append(reward)
        self.sources.append(source)
        self.may_label.append(may_label)
        self.truncated = truncated or (not terminated and len(self.acs) >= self.limit)

    def _recorded(self, ob: Any) -> np.ndarray:
        """Return the observation as an array, and record a copy. Raise `InputError` if it does not fit."""
        copy = checked_observation(ob, self.env.observation_space)
        self.obs.append(copy)
        if self.env.observation_space.dtype.kind == "f":
            self._dtype = copy.dtype  # of the later observations too
        return ob if isinstance(ob, np.ndarray) else copy.copy()

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
            raise self._wrong_action(action)
        return executed

    def _wrong_action(self, action: Any) -> InputError:
        space = " ".join(str(self.env.action_space).split())
        return InputError(f"{self.place(len(self) + 1)}: the action is {described(action)}, but an action is {space}")

    def _failure(self, step: int, error: BaseException) -> InputError:
        """Return the error to raise for what the environment did at a step; step 0 is its reset.

        If an earlier observation or reward is not a finite number, that is the cause. Raise the error itself if it is
        an interruption.
        """
        if isinstance(error, InputError):
            return InputError(f"{self.place(step)}: {error}")
        text = f"{self.place(step)}: the environment failed with {describe(error)}"
        self.check_numbers()
        if isinstance(error, (TypeError, ValueError)):  # maybe it has the interface of the old package gym
            text += f"; {EXPECTED}"
        return InputError(text)

    def place(self, step: int) -> str:
        """Return the environment's name and a step of this episode in words; step 0 is its reset."""
        where = f"step {step} of the episode from seed {self.seed}" if step else f"reset(seed={self.seed})"
        return f"{name_of(self.env)}, {where}"

    def explain(self, error: BaseException) -> None:
        """Raise `InputError` for an error of the actor, the rule or the teacher, if the user's code has caused it.

        So does an earlier observation that is not finite. In all other cases do nothing.
        """
        if is_interruption(error):
            return
        self.check_numbers()
        if not isinstance(error, InputError) and own_frames(error):
            raise InputError(f"{self.place(len(self) + 1)}: {describe(error)}") from error

    def check_numbers(self, start: int = 0) -> dict[str, np.ndarray]:
        """Return the arrays of a trajectory from step `start` on. Raise `InputError` if they hold NaN or infinity.

        This is done once for all steps, since it would take as long at each of them.
        """
        with np.errstate(over="ignore"):
            obs = np.array(self.obs[start:], self.env.observation_space.dtype)
        acs, rewards = np.array(self.acs[start:], self._ac_dtype), np.array(self.rewards[start:], np.float64)
        for name, rows, first in (("observation", obs, 0), ("action", acs, 1), ("reward", rewards, 1)):
            finite = np.isfinite(rows) if rows.dtype.kind == "f" else np.ones(len(rows), bool)
            if not finite.all():
                bad = int(np.argmin(finite.reshape(len(rows), -1).all(axis=1)))
                got = f"is {rows[bad]}" if rows.ndim == 1 else "contains NaN or infinity"
                raise InputError(f"{self.place(start + first + bad)}: the {name} {got}, but it must be finite")
        return {"obs": obs, "acs": acs, "rewards": rewards}

    def trajectory(self, start: int = 0) -> Trajectory:
        """Return the trajectory of the steps from `start` on. Raise `InputError` if a number is not finite.

        If there are answers, `expert_acs` contains them, and the executed actions at the steps without an answer.
        """
        arrays = self.check_numbers(start)
        answers, may_label = self.answers[start:], self.may_label[start:]
        consulted = np.array([answer is not None for answer in answers])
        labels = [ac if answer is None else answer for ac, answer in zip(self.acs[start:], answers, strict=True)]
        return Trajectory(
            **arrays,
            terminated=bool(self.terminated),
            truncated=bool(self.truncated),
            expert_acs=np.array(labels, self._ac_dtype) if consulted.any() else None,
            labelled=None if all(may_label) else np.array(may_label, bool),
            source=np.array(self.sources[start:], np.int8),
            success=success_in(self.info),
            consulted=consulted if consulted.any() and self.has_teacher else None,
        )
