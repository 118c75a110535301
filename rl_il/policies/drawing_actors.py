"""Actors in NumPy that draw their actions: the frozen copies of policies with the heads `mixture` and `flow`.

The draws follow from the episode's seed, but are not those that the policy itself makes in torch from the same seed.
This file does not import torch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from rl_il.policies.actors import NumpyActor, as_batch
from rl_il.seeding import POLICY_DRAWS
from rl_il.types import ActionForm, Actor


class DrawingActor(Actor):
    """An actor that draws random numbers and computes its actions from them with `decide`.

    Args:
      ob_shape: the shape of one observation.
      form: the form of the actions.
      action_scale, action_center: an action is what `decide` returns, times the scale, plus the centre. Each is one
        number, or one number for each number of an action.
    """

    def __init__(
        self,
        ob_shape: tuple[int, ...],
        form: ActionForm,
        action_scale: np.ndarray | float = 1.0,
        action_center: np.ndarray | float = 0.0,
    ):
        self.ob_shape, self.form, self.numbers = tuple(ob_shape), form, math.prod(form.shape)
        self.action_scale, self.action_center = np.float32(action_scale), np.float32(action_center)
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Start the episode's random stream, which is independent of the environment's stream for the same seed."""
        self.rng = np.random.default_rng([seed, POLICY_DRAWS])

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return one drawn action for one observation, or N for N observations: float32, not clipped."""
        obs = np.asarray(obs)
        rows = () if obs.shape == self.ob_shape else (len(as_batch(obs, self.ob_shape)[0]),)
        labels = self.decide(obs, self.draw(rows)) * self.action_scale + self.action_center
        return self.form.to_actions(labels)

    @abstractmethod
    def draw(self, rows: tuple[int, ...]) -> np.ndarray:
        """Return the random numbers that `decide` needs, `(*rows, n)`: `rows` is empty for one observation."""

    @abstractmethod
    def decide(self, obs: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return the action `(numbers,)` that follows from an observation and `draws (n,)`, or N of them."""


class MixtureActor(DrawingActor):
    """The frozen copy of a policy with the head `Mixture`: it draws a Gaussian and takes its mean.

    Args:
      modes: the number of Gaussians.
      ob_shape, form, action_scale, action_center: as for `DrawingActor`.
      network: arguments of a `NumpyActor` whose outputs are the logits of the Gaussians, then their means.
    """

    def __init__(
        self,
        modes: int,
        ob_shape: tuple[int, ...],
        form: ActionForm,
        action_scale: np.ndarray | float = 1.0,
        action_center: np.ndarray | float = 0.0,
        **network: Any,
    ):
        super().__init__(ob_shape, form, action_scale, action_center)
        self.modes, self.network = modes, NumpyActor(output="identity", ob_shape=ob_shape, **network)

    def draw(self, rows: tuple[int, ...]) -> np.ndarray:
        """Return random numbers of the exponential distribution, `(*rows, modes)`."""
        return self.rng.standard_exponential((*rows, self.modes), np.float32)

    def decide(self, obs: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return the mean of one Gaussian, `(numbers,)` or `(N, numbers)`."""
        outputs = self.network.get_action(obs)
        means = outputs[..., self.modes :].reshape(*draws.shape, self.numbers)
        chosen = (outputs[..., : self.modes] - np.log(draws)).argmax(-1)
        return means[chosen] if draws.ndim == 1 else means[np.arange(len(means)), chosen]


class FlowActor(DrawingActor):
    """The frozen copy of a policy with the head `Flow`: noise moves to the action in `flow_steps` steps.

    Args:
      flow_steps: the number of Euler steps.
      ob_shape, form, action_scale, action_center: as for `DrawingActor`.
      obs_mean, obs_std: as for `NumpyActor`. They apply to the observation only.
      network: the other arguments of a `NumpyActor` that reads the flattened observation, the point and the time.
    """

    def __init__(
        self,
        flow_steps: int,
        ob_shape: tuple[int, ...],
        form: ActionForm,
        action_scale: np.ndarray | float = 1.0,
        action_center: np.ndarray | float = 0.0,
        obs_mean: np.ndarray | None = None,
        obs_std: np.ndarray | None = None,
        **network: Any,
    ):
        super().__init__(ob_shape, form, action_scale, action_center)
        self.flow_steps, self.features, extra = flow_steps, math.prod(self.ob_shape), self.numbers + 1
        if obs_mean is not None:
            network["obs_mean"] = np.append(obs_mean, np.zeros(extra))
            network["obs_std"] = np.append(obs_std, np.ones(extra))
        self.network = NumpyActor(output="identity", ob_shape=(self.features + extra,), **network)

    def draw(self, rows: tuple[int, ...]) -> np.ndarray:
        """Return standard normal numbers `(*rows, numbers)`: where the paths begin."""
        return self.rng.standard_normal((*rows, self.numbers), np.float32)

    def decide(self, obs: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return where the velocity leads from `draws`, `(numbers,)` or `(N, numbers)`."""
        x, rows = draws.copy(), draws.shape[:-1]
        inputs = np.empty((*rows, self.features + self.numbers + 1), np.float32)
        inputs[..., : self.features] = obs.reshape(*rows, -1)
        for i in range(self.flow_steps):
            inputs[..., self.features : -1] = x
            inputs[..., -1] = i / self.flow_steps
            x += self.network.get_action(inputs) / np.float32(self.flow_steps)
        return x
