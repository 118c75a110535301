"""Augmentations: random changes of the observations in a minibatch. If needed, they change the labels too.

An augmentation takes observations, their labels `(N, ac_dim)` and a random generator. It returns changed observations
and labels. Observations are pictures `(N, ..., height, width, channels)` uint8, or vectors `(N, ..., *ob_shape)`.
`plugins.AUGMENTATIONS` lists those that ship: `noise` is for vectors, and the others for pictures. Your own is a
function in a module of the working folder: `--augment my_changes:darken`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rl_il.errors import InputError
from rl_il.plugins import AUGMENTATIONS, find
from rl_il.types import Batch

SHIFT = 4  # maximum, in pixels, as in DrQ (Kostrikov et al. 2020, arXiv:2004.13649)
BRIGHTNESS = 0.3  # the maximum fraction by which a picture becomes darker or brighter


def shift(obs: Tensor, acs: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Shift the pictures of each row by a random offset of up to `SHIFT` pixels. The edge pixels are repeated."""
    *_, height, width, channels = obs.shape
    planes = obs.permute(0, *range(1, obs.ndim - 3), -1, -3, -2).reshape(len(obs), -1, height, width)
    padded = functional.pad(planes.float(), (SHIFT,) * 4, mode="replicate").to(obs.dtype)
    moved = torch.empty_like(planes)
    for i, (down, right) in enumerate(rng.integers(2 * SHIFT + 1, size=(len(obs), 2)).tolist()):
        moved[i] = padded[i, :, down : down + height, right : right + width]
    frames = moved.view(*obs.shape[:-3], channels, height, width)
    return frames.movedim(-3, -1), acs


def brightness(obs: Tensor, acs: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Multiply the pictures of each row by a random factor, which makes them darker or brighter."""
    factors = torch.from_numpy(rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS, len(obs))).to(obs.device, torch.float32)
    return (obs * factors.view(-1, *[1] * (obs.ndim - 1))).clamp_(0, 255).to(obs.dtype), acs


def flip_steer(obs: Tensor, acs: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirror about half of the rows left to right, and negate the steering, their first action dimension."""
    mirrored = torch.from_numpy(rng.random(len(obs)) < 0.5).to(obs.device)
    sign = 1 - 2 * mirrored.to(acs.dtype)
    acs = torch.cat((acs[:, :1] * sign[:, None], acs[:, 1:]), dim=1)
    return torch.where(mirrored.view(-1, *[1] * (obs.ndim - 1)), obs.flip(-2), obs), acs


def noise(obs: Tensor, acs: Tensor, rng: np.random.Generator, std: Tensor) -> tuple[Tensor, Tensor]:
    """Add Gaussian noise to each number of `obs` float32, with the standard deviation `std (*ob_shape)` float32."""
    drawn = rng.standard_normal(tuple(obs.shape), np.float32)
    return obs + torch.from_numpy(drawn).to(obs.device) * std, acs


def augment(batch: Batch, names: Sequence[str], rng: np.random.Generator, noise_std: Tensor | None = None) -> Batch:
    """Return the minibatch after the named augmentations, which are applied in this order.

    `noise_std (*ob_shape)` is the standard deviation of `noise`, which makes integers floats. Raise `InputError` if
    another augmentation returns arrays of another shape or type, which a compiled step would misread.
    """
    for name in names:
        change = find("augmentation", AUGMENTATIONS, name)
        if change is noise:
            change, batch = partial(noise, std=noise_std), batch._replace(obs=batch.obs.float())
        changed = change(batch.obs, batch.acs, rng)
        for before, after in zip(batch[:2], changed, strict=True):
            if (after.shape, after.dtype) != (before.shape, before.dtype):
                wanted, got = (f"{tuple(each.shape)} {each.dtype}" for each in (before, after))
                raise InputError(
                    f"--augment {name}: must return observations and labels like its arguments, {wanted}, got {got}"
                )
        batch = Batch(*(each.contiguous() for each in changed), batch.noise)
    return batch
