"""The standardisation of observations as a part of a network of Stable-Baselines3, which this file imports."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor


class Standardise(BaseFeaturesExtractor):
    """A feature extractor that flattens and standardises observations, exactly as `encoders.Flatten` does.

    Args:
      observation_space: a Box.
      mean, std: a number for each number of an observation.
    """

    def __init__(self, observation_space: spaces.Box, mean: Sequence[float], std: Sequence[float]):
        super().__init__(observation_space, spaces.flatdim(observation_space))
        self.register_buffer("ob_mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("ob_std", torch.tensor(std, dtype=torch.float32))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return `(N, numbers)` for observations `(N, *ob_shape)`."""
        return (observations.flatten(1) - self.ob_mean) / self.ob_std
