"""Encoders, which compute the features that a head reads from observations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rl_il.envs.spaces import MIN_SIDE, colours_last, picture_layout
from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import to_numpy
from rl_il.policies.part import Part

CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""Channels, kernel and stride of each layer, as in Mnih et al. 2015 (doi:10.1038/nature14236)."""
GREY = (77, 150, 29)  # the weights of red, green and blue in a shade of grey, times 256 (ITU-R BT.601)
MIN_STD = 1e-3


class Encoder(Part):
    """A module whose `forward` returns features `(N, n_features)` for views `(N, *view's shape)`.

    Attributes:
      n_features: the number of features of an observation.
    """

    DECIDES = ("forward", "view")
    n_features: int

    def view(self, obs: np.ndarray) -> np.ndarray:
        """Return the part of observations `(N, *ob_shape)` that is stored and read: by default all."""
        return obs

    def scale(self, largest: np.ndarray) -> None:
        """Divide observations from now on by `largest (numbers,)`, if this encoder does not scale them already."""

    def fit_normalization(self, obs: np.ndarray) -> None:
        """Standardise all later observations by the statistics of `obs (N, *ob_shape)`, if this encoder can."""


class Flatten(Encoder):
    """An encoder that flattens observations. After `scale` or `fit_normalization` it divides or standardises them.

    Args:
      ob_shape: the shape of one observation.
      history: how many successive observations it reads.
    """

    def __init__(self, ob_shape: tuple[int, ...], history: int = 1):
        super().__init__()
        self.history, n = history, int(np.prod(ob_shape))
        self.n_features = history * n
        self.register_buffer("ob_mean", torch.zeros(self.n_features))
        self.register_buffer("ob_std", torch.ones(self.n_features))
        self.unit = np.ones(n)  # what a number is divided by if its standard deviation is unknown

    def scale(self, largest: np.ndarray) -> None:
        """Divide the flattened observations from now on by `largest (numbers,)`."""
        self.unit = np.asarray(largest, np.float64).reshape(-1)
        self.ob_std.copy_(torch.from_numpy(np.tile(self.unit, self.history)))

    def fit_normalization(self, obs: np.ndarray) -> None:
        """Standardise all later observations by the mean and the standard deviation of `obs (N, *ob_shape)`.

        Both are computed after rounding to single precision, which the network uses. A number that hardly varies is
        centred but not divided by its standard deviation. After such a division, a slightly different value would be
        much larger than all other numbers.
        """
        flat = np.asarray(obs, np.float32).astype(np.float64).reshape(len(obs), -1)
        std = flat.std(axis=0)
        std = np.where(std < MIN_STD * self.unit, self.unit, std)
        self.ob_mean.copy_(torch.from_numpy(np.tile(flat.mean(axis=0), self.history)))
        self.ob_std.copy_(torch.from_numpy(np.tile(std, self.history)))

    def forward(self, observations: Tensor) -> Tensor:
        """Return `(N, n_features)` for `(N, *ob_shape)`, or for `(N, history, *ob_shape)` if it reads several."""
        return (observations.flatten(1) - self.ob_mean) / self.ob_std

    def numpy_settings(self) -> dict[str, Any]:
        """Return the mean and the standard deviation for a `NumpyActor`, or an empty dict if they have no effect."""
        mean, std = to_numpy(self.ob_mean), to_numpy(self.ob_std)
        return {} if not mean.any() and (std == 1).all() else {"obs_mean": mean, "obs_std": std}


class Convolutions(Encoder):
    """A convolutional network that encodes the last few pictures of an episode.

    Args:
      ob_shape: the shape of an observation, uint8, in one of the layouts of `picture_layout`.
      frame_stack: how many successive pictures it reads.
      greyscale: whether pictures are converted to shades of grey.
      rows: how many rows of the picture are kept, from the top.
    """

    def __init__(self, ob_shape: tuple[int, ...], frame_stack: int, greyscale: bool, rows: int):
        super().__init__()
        self.greyscale, self.rows, self.layout = greyscale, rows, picture_layout(ob_shape)
        _, *sides, channels = self.view(np.zeros((1, *ob_shape), np.uint8)).shape
        width, channels = sides[1], frame_stack * channels
        layers: list[nn.Module] = []
        for out, kernel, stride in CONVOLUTIONS:
            layers += [nn.Conv2d(channels, out, kernel, stride), nn.ReLU()]
            sides, channels = [(side - kernel) // stride + 1 for side in sides], out
        if min(sides) < 1:
            raise InputError(
                f"pictures of {rows} x {width} are too small for the convolutions, which need at least {MIN_SIDE} x"
                f" {MIN_SIDE}"
            )
        self.convolutions = nn.Sequential(*layers)
        self.n_features = channels * sides[0] * sides[1]

    def view(self, obs: np.ndarray) -> np.ndarray:
        """Return `(N, rows, width, channels)` uint8 for `(N, *ob_shape)` uint8.

        The channels are the colours, times the number of pictures that the environment stacks.
        """
        obs = colours_last(obs, self.layout)[..., : self.rows, :, :]
        if self.greyscale and obs.shape[-1] == 3:
            red, green, blue = (obs[..., i].astype(np.uint16) * weight for i, weight in enumerate(GREY))
            obs = ((red + green + blue) >> 8).astype(np.uint8)[..., None]
        return np.concatenate(np.moveaxis(obs, 1, 0), axis=-1) if self.layout == "khwc" else obs

    def forward(self, observations: Tensor) -> Tensor:
        """Return `(N, n_features)` for views `(N, frame_stack, rows, width, channels)` uint8.

        If `frame_stack` is 1, the views may be `(N, rows, width, channels)`.
        """
        if observations.ndim == 4:
            observations = observations.unsqueeze(1)
        pictures = observations.permute(0, 1, 4, 2, 3).flatten(1, 2)
        # Convolutions on a CPU are fastest with channels last.
        pictures = pictures.contiguous(memory_format=torch.channels_last).float() / 255
        return self.convolutions(pictures).flatten(1)
