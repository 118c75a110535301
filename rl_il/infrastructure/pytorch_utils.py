"""Torch helpers: devices, conversions, networks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from rl_il.errors import RAISED, InputError, describe
from rl_il.plugins import ACTIVATIONS, find

CONVERTED = {
    torch.float64: torch.float32,
    torch.float16: torch.float32,
    torch.bool: torch.uint8,
    torch.uint16: torch.int32,
    torch.uint32: torch.int64,
    torch.uint64: torch.int64,
}


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
    """Return a tensor on `device`, in a dtype that torch computes with.

    Double and half precision become single precision, and unsigned integers of more than a byte signed ones.
    """
    tensor = torch.as_tensor(array, device=device)
    return tensor.to(CONVERTED[tensor.dtype]) if tensor.dtype in CONVERTED else tensor


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return the tensor's values as an array, without gradients."""
    return tensor.detach().cpu().numpy()


def build_mlp(
    input_size: int,
    output_size: int,
    n_layers: int,
    size: int,
    activation: str,
    dropout: float = 0.0,
    layer_norm: bool = False,
) -> nn.Sequential:
    """Return `n_layers` hidden layers of `size` units, and a linear layer.

    A hidden layer is linear. It is followed by layer normalisation (if `layer_norm`), the activation, and dropout
    with the probability `dropout` (if it is not 0), in this order.
    """
    activation_class = find_activation(activation)
    layers: list[nn.Module] = []
    for _ in range(n_layers):
        layers.append(nn.Linear(input_size, size))
        if layer_norm:
            layers.append(nn.LayerNorm(size))
        layers.append(activation_class())
        if dropout:
            layers.append(nn.Dropout(dropout))
        input_size = size
    return nn.Sequential(*layers, nn.Linear(input_size, output_size))


def find_activation(name: str) -> type[nn.Module]:
    """Return the activation of this name: of a row of `plugins.ACTIVATIONS`, or the user's `module:Name`."""
    found = find("activation", {key: path for key, (path, _) in ACTIVATIONS.items()}, name)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):  # a name in a file must not call just anything
        raise InputError(f"activation {name}: must be a subclass of torch.nn.Module, got {found!r}")
    return found


def check_network(network: object, features: int, outputs: int, maker: str) -> None:
    """Raise `InputError` if this is no network from `(N, features)` to `(N, outputs)`. Draw no random numbers.

    `maker` is the name of the user's function that made it, for the message.
    """
    if not isinstance(network, nn.Module):
        raise InputError(f"{maker} must return a torch.nn.Module, got {type(network).__name__}")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            shape = tuple(network.eval()(torch.zeros(2, features)).shape)
        except RAISED as error:
            raise InputError(f"{maker}: its network fails for (2, {features}) features: {describe(error)}") from error
    network.train()
    if shape != (2, outputs):
        raise InputError(f"{maker}: its network makes {shape} of (2, {features}) features; expected (2, {outputs})")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator in the `with` block, and restore it at the end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def kept_generators() -> Iterator[None]:
    """Restore the global generators of Python, NumPy and torch at the end of the `with` block."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put the module into evaluation mode in the `with` block (no dropout), and restore its mode at the end."""
    was_training = module.training
    if was_training:
        module.eval()
    try:
        yield
    finally:
        if was_training:
            module.train()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch use `n` CPU threads in the `with` block, and restore the number at the end.

    By default, torch uses all cores. For small networks that is slower than one thread, on a busy machine ten times.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)  # takes 0.1 microseconds
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def without_denormals() -> Iterator[None]:
    """Count numbers below 1.2e-38 as 0 in the `with` block, and restore what was before at the end.

    A processor computes with such numbers up to a hundred times slower. Adam's averages come to have many of them
    where a unit of a relu network is silent: its gradient is 0, so they decay. They are too small to change a weight.
    """
    before = bool(torch.tensor(1e-40) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
