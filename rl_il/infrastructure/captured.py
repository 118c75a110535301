"""A policy's gradient step on a GPU as a CUDA graph, which starts all operations of the step at once.

To start the operations of a small network one by one takes longer than to run them. The graph has the operations of
the eager step and its results. It is made in a hundredth of a second and needs no compiler. `make test-gpu` tests it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from rl_il.policies.base_policy import BasePolicy

WARM_UP = 3  # calls before the capture; the first calls choose kernels and allocate memory


class CapturedStep:
    """The policy's gradient step as a function of a minibatch that returns the loss before the step.

    A graph uses the same memory at every replay, so each minibatch is copied into the memory of the first one. The
    graph is valid until a tensor of the policy is replaced, frozen or unfrozen. Settings of the optimiser keep their
    values from the time of the capture, except a learning rate that was changed before, see `AdamW.learning_rate`.

    Args:
      policy: a `compilable` policy. Making the graph does not change it.
      batch: the tensors of a minibatch, on the policy's device. Later ones must have the same shapes.
    """

    def __init__(self, policy: BasePolicy, batch: Sequence[Tensor]):
        self.policy = policy  # the graph does not keep the policy's tensors in memory
        self._places = [tensor.clone() for tensor in batch]
        with unchanged(policy):
            self._replay, self._loss = capture(partial(policy.gradient_step, *self._places), policy.device)

    def __call__(self, batch: Sequence[Tensor]) -> Tensor:
        """Make one gradient step, and return the loss before it, `()`. This does not wait for the GPU."""
        for place, tensor in zip(self._places, batch, strict=True):
            place.copy_(tensor)
        self._replay()
        return self._loss.clone()


@contextmanager
def unchanged(policy: BasePolicy) -> Iterator[None]:
    """Undo the gradient steps of the `with` block, in place, and the random numbers that they drew."""
    weights = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    optimizer = policy.optimizer.state_dict()
    with torch.random.fork_rng([policy.device] if policy.device.type == "cuda" else []):
        try:
            yield
        finally:
            policy.load_state_dict(weights)
            policy.optimizer.load_state_dict(optimizer)
            policy.optimizer.zero_grad()


def capture(work: Callable[[], Tensor], device: torch.device) -> tuple[Callable[[], None], Tensor]:
    """Return a function that repeats `work` as a CUDA graph, and the tensor to which it writes the result."""
    with torch.cuda.device(device):
        stream = side_stream(device)
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            result = work()
    return graph.replay, result


@functools.cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream on which steps are captured. For each stream, cuBLAS keeps 32 MB until the process ends."""
    return torch.cuda.Stream(device)
