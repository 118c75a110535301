"""A compiled step as a CUDA graph, which starts all its kernels at once: one by one, starting them takes longer than
running them. `make test-gpu` tests it where there is a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture: the first ones choose kernels and allocate


def captured(step: Callable[..., Tensor], batch: Sequence[Tensor], inputs: Sequence[Tensor]) -> Callable[..., Tensor]:
    """Return `step(*batch, *inputs)` as a function of the batch alone, which changes `inputs` in place.

    A graph reads the same memory at every replay, so each batch is copied to the place of the first one.
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
    """Return a function that does `work` again as a CUDA graph, and the tensor that holds its result afterwards."""
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()
    return graph.replay, result
