"""A scripted expert for the bird that does not agree with itself: of two gaps it takes either."""

from __future__ import annotations

import numpy as np

from rl_il.envs.bird import GAP
from rl_il.errors import InputError
from rl_il.seeding import EXPERT_DRAWS
from rl_il.types import Actor

SMOOTHING = 0.2  # the share of the way to the gap by which the target moves in a step


class BirdPilot(Actor):
    """A pilot of Bird-v0 and BirdHard-v0 that takes either gap at random, and moves its target smoothly.

    It draws one of the two gaps when a pipe comes next, and keeps to it until the bird has passed the pipe. If
    somebody else acts, and the bird flies towards the other gap, it takes that one: its labels must fit the flight.
    """

    remembers = True

    def __init__(self, ob_shape: tuple[int, ...]):
        self.ob_shape = tuple(ob_shape)
        self.reset()

    def reset(self, seed: int = 0) -> None:
        """Start an episode, whose choices depend only on the seed."""
        self.rng = np.random.default_rng([seed, EXPERT_DRAWS])
        self.pipe: tuple[float, float] | None = None
        self.target: float | None = None
        self.height = 0.0  # of the bird one step before

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return the target height, `(1,)` float32.

        Raise `InputError` for a batch of observations, since the pilot remembers the episode.
        """
        if np.shape(obs) != self.ob_shape:
            raise InputError(
                "bird_pilot remembers the episode, so it cannot label recorded observations; expected one observation"
                f" {self.ob_shape}, got {np.shape(obs)}"
            )
        _, lower, upper, height = map(float, obs)
        if self.pipe != (lower, upper):
            self.pipe = lower, upper
            self.gap, self.height = (lower, upper)[self.rng.integers(2)], height
        self.target = height if self.target is None else self.target
        if self._leaves(height):
            self.gap, self.target = lower + upper - self.gap, height
        self.height = height
        self.target += SMOOTHING * (self.gap - self.target)
        return np.array([self.target], np.float32)

    def _leaves(self, height: float) -> bool:
        """Return whether the bird is outside the gap, and moves away from it."""
        return abs(height - self.gap) > max(abs(self.height - self.gap), GAP)
