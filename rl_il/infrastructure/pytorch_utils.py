"""Torch helpers: devices, conversions, networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from rl_il.errors import InputError
from rl_il.plugins import ACTIVATIONS, load, row


def pick_device(device: str = "auto", gpu: int = 0, pictures: bool = False) -> torch.device:
    """Return the device with this name. Raise `InputError` for a GPU that does not exist.

    `auto` is the CPU, which is faster for small networks. For `pictures`, it is a GPU if there is one.
    """
    if device == "auto" and pictures and torch.cuda.is_available():
        device = "cuda"
    if device == "cuda":
        if not torch.cuda.is_available():
            raise InputError("--device cuda: torch finds no GPU on this machine; use --device cpu")
        if gpu >= torch.cuda.device_count():
            raise InputError(f"--which_gpu {gpu}: must be less than {torch.cuda.device_count()}, the number of GPUs")
        return torch.device("cuda", gpu)
    return torch.device("cpu")


def to_tensor(array: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on `device`. Double precision becomes single precision. Other dtypes do not change."""
    tensor = torch.as_tensor(array, device=device)
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return the tensor's values as an array, without gradients."""
    return tensor.detach().cpu().numpy()


def build_mlp(input_size: int, output_size: int, n_layers: int, size: int, activation: str) -> nn.Sequential:
    """Return `n_layers` hidden layers of `size` units, each followed by the activation, and a linear layer."""
    activation_class = load(row("activation", ACTIVATIONS, activation)[0])
    layers: list[nn.Module] = []
    for _ in range(n_layers):
        layers += [nn.Linear(input_size, size), activation_class()]
        input_size = size
    return nn.Sequential(*layers, nn.Linear(input_size, output_size))


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Seed torch's global generator in the `with` block, for initial weights, and restore it at the end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
