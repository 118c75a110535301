"""A compiled step as a CUDA graph: its kernels are started together, where starting one by one takes longer than they
do. Not tested on a GPU: `make test-gpu` says whether it does on yours what the CPU does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture: the first ones choose kernels and allocate


def captured(step: Callable[..., Tensor], batch: Sequence[Tensor], inputs: Sequence[Tensor]) -> Callable[..., Tensor]:
    """`step(*batch, *inputs)` as a function of the batch alone, which replays what it does to `inputs` in place.

    A graph reads the same memory at every replay, so each batch is copied to where the first one lay.
    """
    places = [tensor.clone() for tensor in batch]
    before = [tensor.clone() for tensor in inputs]
    try:
        replay, loss = capture(partial(step, *places, *inputs))
    finally:
        for tensor, value in zip(inputs, before, strict=True):
            tensor.copy_(value)  # the warm-up was training too

    def replayed(*batch: Tensor) -> Tensor:
        for place, tensor in zip(places, batch, strict=True):
            place.copy_(tensor)
        replay()
        return loss

    return replayed


def capture(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """The CUDA graph's replay of `work`, and where its result lies afterwards."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result
