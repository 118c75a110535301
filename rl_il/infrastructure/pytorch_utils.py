"""Torch helpers: devices, conversions, networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from rl_il.errors import InputError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
}


def pick_device(device: str = "auto", gpu: int = 0, pictures: bool = False) -> torch.device:
    """The device by name. `auto` is the CPU, the faster one for small networks, but for `pictures` a GPU if there is
    one."""
    if device == "auto" and pictures and torch.cuda.is_available():
        device = "cuda"
    if device == "cuda":
        if not torch.cuda.is_available():
            raise InputError("--device cuda: torch finds no GPU here; use --device cpu")
        if gpu >= torch.cuda.device_count():
            raise InputError(f"--which_gpu {gpu}: there are {torch.cuda.device_count()} GPUs, counted from 0")
        return torch.device("cuda", gpu)
    return torch.device("cpu")


def to_tensor(array: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on `device`; double precision becomes single, every other dtype stays."""
    tensor = torch.as_tensor(array, device=device)
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """The tensor's values on the CPU, without its gradient."""
    return tensor.detach().cpu().numpy()


def can_replace(saved: Any, tensor: torch.Tensor) -> bool:
    """Whether what was read from a file is a tensor of the same shape and dtype; bfloat16 is read as float32."""
    dtype = torch.float32 if tensor.dtype == torch.bfloat16 else tensor.dtype
    return isinstance(saved, torch.Tensor) and saved.shape == tensor.shape and saved.dtype == dtype


def build_mlp(input_size: int, output_size: int, n_layers: int, size: int, activation: str) -> nn.Sequential:
    """`n_layers` hidden layers of `size` units, each followed by the activation, and a linear output."""
    layers: list[nn.Module] = []
    for width in [size] * n_layers:
        layers += [nn.Linear(input_size, width), ACTIVATIONS[activation]()]
        input_size = width
    return nn.Sequential(*layers, nn.Linear(input_size, output_size))


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Draws initial weights from `seed`, and leaves torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
