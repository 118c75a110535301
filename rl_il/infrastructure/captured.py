"""A compiled gradient step as a CUDA graph.

The graph starts all kernels of the step at once. For a small network, starting the kernels one by one takes longer
than running them. `make test-gpu` tests this file on a machine with a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture; the first calls choose kernels and allocate memory


def captured(step: Callable[..., Tensor], batch: Sequence[Tensor], inputs: Sequence[Tensor]) -> Callable[..., Tensor]:
    """Return `step(*batch, *inputs)` as a function of the batch only. The function changes `inputs` in place.

    A graph reads the same memory at every replay, so each batch is copied into the memory of the first batch.
    """
    places = [tensor.clone() for tensor in batch]
    before = [tensor.clone() for tensor in inputs]
    try:
        replay, loss = capture(partial(step, *places, *inputs))
    finally:
        for tensor, value in zip(inputs, before, strict=True):
            tensor.copy_(value)  # the warm-up calls were gradient steps too

    def replayed(*batch: Tensor) -> Tensor:
        for place, tensor in zip(places, batch, strict=True):
            place.copy_(tensor)
        replay()
        return loss

    return replayed


def capture(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Return a function that repeats `work` as a CUDA graph, and the tensor to which it writes the result."""
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
