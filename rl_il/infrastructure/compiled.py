"""A policy's gradient step as one compiled function, which is several times faster.

On a GPU, nothing is compiled: the eager step becomes a CUDA graph, see `captured.py`.

In an eager step of a small network, most of the time is used to start about a hundred short operations. Here the
loss, its gradient and the optimiser's step are one function. It computes the same as `MLPPolicySL.update`, but sums
in a different order. So the results are not equal to the last digit: after 200 steps they agree to 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rl_il.infrastructure.captured import CapturedStep
from rl_il.infrastructure.compile_cache import CompileError, Step, compiled_step
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.adam import BETA1, BETA2, EPSILON, AdamW
from rl_il.policies.base_policy import BasePolicy
from rl_il.types import Batch


class CompiledUpdate:
    """The policy's update, compiled or captured for minibatches of one size.

    `policy.loss` must depend only on tensors. Anything else that it reads keeps its value from the time of compiling.

    Args:
      policy: the policy to train. It may also be trained eagerly between two compiled steps.
      batch_rows: the number of rows in a minibatch. For a minibatch of another size, the step is eager.

    Raise `CompileError` for a policy that does not use `AdamW` or that overrides `update`.
    """

    def __init__(self, policy: BasePolicy, batch_rows: int):
        if not isinstance(policy.optimizer, AdamW):
            raise CompileError(f"the policy has its own optimiser ({type(policy.optimizer).__name__})")
        if not policy.compilable:
            raise CompileError(f"{type(policy).__name__} has its own `update`, which a compiled step would not call")
        self.policy, self.batch_rows = policy, batch_rows
        self._trained: list[int] = []  # indices of the parameters on which the loss depends

    def on(self, buffer: ReplayBuffer, batch: Callable[[Tensor], Batch]) -> Callable[[Tensor], Tensor]:
        """Return a function of row numbers `(N,)` that makes a gradient step on their `batch` and returns its loss.

        The function is valid until `on` is called again, or until a parameter is replaced, frozen or unfrozen. Raise
        `CompileError` if the step cannot be compiled.
        """
        some = _tensors(batch(torch.arange(self.batch_rows, device=buffer.device) % len(buffer)))
        self.policy.check_labels(some[1], self.batch_rows)
        try:
            with torch.random.fork_rng(devices=[]):  # the loss may draw random numbers
                step = self._step_for(some)
        except CompileError:
            raise
        except Exception as error:  # a compiler or CUDA fails, or this version of torch does not have a function
            raise CompileError(_reason(error)) from error

        def update(rows: Tensor) -> Tensor:
            tensors = _tensors(batch(rows))
            return step(tensors) if len(rows) == self.batch_rows else self.policy.gradient_step(*tensors)

        return update

    def _step_for(self, batch: list[Tensor]) -> Callable[[list[Tensor]], Tensor]:
        """Return the fast step as a function of a minibatch like `batch`."""
        if self.policy.device.type == "cuda":
            return CapturedStep(self.policy, batch)
        self._trained = self._find_trained(batch)
        inputs = self._inputs()
        library = compiled_step(self._make_step(len(batch)), [*batch, *inputs], REWRITES)
        return lambda batch: library([*batch, *inputs])[0]

    def _inputs(self) -> tuple[Tensor, ...]:
        """Return the tensors that the step reads or changes, except the batch.

        They are the optimiser's settings, the trained parameters with their state, and the policy's other tensors.
        """
        optimizer = self.policy.optimizer
        if len({optimizer.counts[i].item() for i in self._trained}) > 1:
            raise CompileError("the policy's parameters were trained for different numbers of steps")
        packed = optimizer.pack(self._trained)
        optimizer.settings[1] = optimizer.weight_decay
        return optimizer.settings, *packed, *self._fixed().values()

    def _fixed(self) -> dict[str, Tensor]:
        """Return the policy's tensors that are not trained, by name: frozen parameters and buffers."""
        trained = {id(self.policy.optimizer.parameters[i]) for i in self._trained}
        named = {**dict(self.policy.named_parameters()), **dict(self.policy.named_buffers())}
        return {name: tensor.detach() for name, tensor in named.items() if id(tensor) not in trained}

    def _find_trained(self, batch: list[Tensor]) -> list[int]:
        """Return the indices of the parameters with a gradient: not frozen ones and, with mse, not `log_std`."""
        parameters = self.policy.optimizer.parameters
        free = [i for i, parameter in enumerate(parameters) if parameter.requires_grad]
        copies = {f"policy.{name}": buffer.clone() for name, buffer in self.policy.named_buffers()}
        loss = torch.func.functional_call(_Loss(self.policy), copies, tuple(batch))  # changes no statistics
        gradients = torch.autograd.grad(loss, [parameters[i] for i in free], allow_unused=True)
        return [i for i, gradient in zip(free, gradients, strict=True) if gradient is not None]

    def _make_step(self, n_batch: int) -> Step:
        """Return the step as a function of tensors only. The first `n_batch` tensors are the minibatch."""
        policy, loss_of, fixed_names = self.policy, _Loss(self.policy), list(self._fixed())
        names = {id(parameter): name for name, parameter in policy.named_parameters()}
        chosen = [policy.optimizer.parameters[i] for i in self._trained]
        parts = [(names[id(p)], p.shape, p.numel()) for p in chosen]

        def unpack(packed: Tensor) -> dict[str, Tensor]:
            tensors = packed.split([size for _, _, size in parts])
            return {name: tensor.view(shape) for (name, shape, _), tensor in zip(parts, tensors, strict=True)}

        def step(*inputs: Tensor) -> tuple[Tensor]:
            """Make one gradient step in place, and return the loss before it."""
            batch, (settings, parameters, first, second, counts, *fixed) = inputs[:n_batch], inputs[n_batch:]
            with torch.enable_grad():
                variable = parameters.detach().requires_grad_()
                tensors = {**unpack(variable), **dict(zip(fixed_names, fixed, strict=True))}
                named = {f"policy.{name}": tensor for name, tensor in tensors.items()}
                loss = torch.func.functional_call(loss_of, named, batch)
            (gradient,) = torch.autograd.grad(loss, variable)
            with torch.no_grad():
                adam_step(settings, parameters, gradient, first, second, counts)
                policy.constrain(unpack(parameters))
            return (loss.detach().reshape(()),)

        return step


class _Loss(nn.Module):
    """A module whose `forward` is the policy's loss, so that `functional_call` can replace the policy's tensors."""

    def __init__(self, policy: BasePolicy):
        super().__init__()
        self.policy = policy

    def forward(self, *batch: Tensor) -> Tensor:
        return self.policy.loss(*batch)


def _tensors(batch: Batch) -> list[Tensor]:
    """Return the tensors of the batch. If `noise` is None, leave it out."""
    return [tensor for tensor in batch if tensor is not None]


def cheap_tanh(x: Tensor) -> Tensor:
    """Return tanh with an error below 2e-7. It takes a third of the time of `torch.tanh`."""
    return 2 * torch.sigmoid(2 * x) - 1


REWRITES = {torch.ops.aten.tanh.default: cheap_tanh}


def adam_step(settings, parameters, gradient, first, second, counts) -> None:
    """Make one step of AdamW in place, as torch does (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2)."""
    learning_rate, weight_decay = settings.unbind()
    counts += 1
    first.lerp_(gradient, 1 - BETA1)
    second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
    t = counts[0].double()  # the same for all parameters
    correction1, correction2 = -torch.expm1(t * math.log(BETA1)), -torch.expm1(t * math.log(BETA2))
    parameters.mul_((1 - learning_rate * weight_decay).float())
    scale, root = (learning_rate / correction1).float(), correction2.sqrt().float()
    parameters.sub_(scale * first / (second.sqrt() / root + EPSILON))


def _reason(error: Exception) -> str:
    """Return one informative line of a compiler's message, which may be long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error:" in line), lines[0])[:300]
