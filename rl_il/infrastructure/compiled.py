"""A policy's gradient step as one compiled function. It is several times faster, but must be compiled for seconds.

In an eager step of a small network, most of the time is used to start about a hundred short operations. Here the
loss, its gradient and the optimiser's step are one function. It computes the same as `MLPPolicySL.update`, but sums
in a different order. So the results are not equal to the last digit: after 200 steps they agree to 1e-5.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rl_il.infrastructure.captured import captured
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.adam import BETA1, BETA2, EPSILON, AdamW
from rl_il.policies.base_policy import BasePolicy
from rl_il.types import Batch


class CompileError(RuntimeError):
    """An error because a step cannot be compiled on this machine or for this policy. The message says why."""


class CompiledUpdate:
    """The policy's update, compiled for minibatches of one size.

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
        self._step: Callable[..., Tensor] | None = None
        self._free: list[bool] = []  # for each of the optimiser's parameters, whether it needs a gradient
        self._trained: list[int] = []  # indices of the parameters on which the loss depends

    def on(self, buffer: ReplayBuffer, batch: Callable[[Tensor], Batch]) -> Callable[[Tensor], float]:
        """Return a function of row numbers `(N,)` that makes a gradient step on their `batch` and returns its loss.

        The function is valid until `on` is called again or a parameter is replaced. The first call of `on` compiles
        the step, as does each call after parameters were frozen or unfrozen. Raise `CompileError` if the step cannot
        be compiled.
        """
        self.policy.check_labels(buffer.acs, len(buffer.acs))
        free = [parameter.requires_grad for parameter in self.policy.optimizer.parameters]
        if self._step is None or free != self._free:
            self._step, self._free = self._compile(buffer), free
        step = self._with_inputs(buffer)

        def update(rows: Tensor) -> float:
            if len(rows) != self.batch_rows:
                return self.policy.update(*batch(rows))["Training Loss"]
            return step(*_tensors(batch(rows))).item()

        return update

    def _with_inputs(self, buffer: ReplayBuffer) -> Callable[..., Tensor]:
        """Return the step as a function of the batch only."""
        step, inputs = self._step, self._inputs()
        if self.policy.device.type != "cuda":
            return lambda *batch: step(*batch, *inputs)
        try:
            with torch.cuda.device(self.policy.device):
                return captured(step, self._some_batch(buffer), inputs)
        except Exception as error:  # CUDA raises several classes
            raise CompileError(_reason(error)) from error

    def _inputs(self) -> tuple[Tensor, ...]:
        """Return the tensors that the step reads or changes, except the batch.

        They are the optimiser's settings, the trained parameters with their state, and the policy's other tensors.
        """
        optimizer = self.policy.optimizer
        settings = torch.tensor([optimizer.learning_rate, optimizer.weight_decay], dtype=torch.float64)
        if len({optimizer.counts[i].item() for i in self._trained}) > 1:
            raise CompileError("the policy's parameters were trained for different numbers of steps")
        packed = optimizer.pack(self._trained)
        return settings.to(self.policy.device), *packed, *self._fixed().values()

    def _fixed(self) -> dict[str, Tensor]:
        """Return the policy's tensors that are not trained, by name: frozen parameters and buffers."""
        trained = {id(self.policy.optimizer.parameters[i]) for i in self._trained}
        named = {**dict(self.policy.named_parameters()), **dict(self.policy.named_buffers())}
        return {name: tensor.detach() for name, tensor in named.items() if id(tensor) not in trained}

    def _compile(self, buffer: ReplayBuffer) -> Callable[..., Tensor]:
        """Return the compiled step. Raise `CompileError` for any failure, since eager steps remain possible."""
        check_compiler()
        try:
            from torch._inductor import standalone_compile
            from torch.fx.experimental.proxy_tensor import make_fx

            batch = self._some_batch(buffer)
            self._trained = self._find_trained(batch)
            inputs = (*batch, *self._inputs())
            cheaper = {torch.ops.aten.tanh.default: cheap_tanh}
            graph = make_fx(self._make_step(len(batch)), decomposition_table=cheaper, tracing_mode="fake")(*inputs)
            settings = {"config_patches": {"cpp_wrapper": self.policy.device.type == "cpu"}}
            return standalone_compile(graph, inputs, dynamic_shapes="from_example_inputs", options=settings)
        except CompileError:
            raise
        except Exception as error:  # a compiler fails, or this version of torch does not have a function
            raise CompileError(_reason(error)) from error

    def _some_batch(self, buffer: ReplayBuffer) -> list[Tensor]:
        """Return the tensors of a minibatch with the right shapes."""
        batch = buffer.batch(torch.zeros(self.batch_rows, dtype=torch.int64, device=buffer.device))
        if self.policy.noise_shape:
            batch = batch._replace(noise=torch.zeros(self.batch_rows, *self.policy.noise_shape, device=buffer.device))
        return _tensors(batch)

    def _find_trained(self, batch: list[Tensor]) -> list[int]:
        """Return the indices of the parameters with a gradient: not frozen ones and, with mse, not `log_std`."""
        parameters = self.policy.optimizer.parameters
        free = [i for i, parameter in enumerate(parameters) if parameter.requires_grad]
        loss = self.policy.loss(*batch)
        gradients = torch.autograd.grad(loss, [parameters[i] for i in free], allow_unused=True)
        return [i for i, gradient in zip(free, gradients, strict=True) if gradient is not None]

    def _make_step(self, n_batch: int) -> Callable[..., Tensor]:
        """Return the step as a function of tensors only. The first `n_batch` tensors are the minibatch."""
        policy, loss_of, fixed_names = self.policy, _Loss(self.policy), list(self._fixed())
        names = {id(parameter): name for name, parameter in policy.named_parameters()}
        chosen = [policy.optimizer.parameters[i] for i in self._trained]
        parts = [(names[id(p)], p.shape, p.numel()) for p in chosen]

        def unpack(packed: Tensor) -> dict[str, Tensor]:
            tensors = packed.split([size for _, _, size in parts])
            return {name: tensor.view(shape) for (name, shape, _), tensor in zip(parts, tensors, strict=True)}

        def step(*inputs: Tensor) -> Tensor:
            """Make one gradient step in place, and return the loss before it."""
            batch, (settings, parameters, first, second, counts, *fixed) = inputs[:n_batch], inputs[n_batch:]

            def loss_at(packed: Tensor) -> Tensor:
                tensors = {**unpack(packed), **dict(zip(fixed_names, fixed, strict=True))}
                named = {f"policy.{name}": tensor for name, tensor in tensors.items()}
                return torch.func.functional_call(loss_of, named, batch)

            gradient, loss = torch.func.grad_and_value(loss_at)(parameters)
            adam_step(settings, parameters, gradient, first, second, counts)
            policy.constrain(unpack(parameters))
            return loss

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


def check_compiler() -> None:
    """Raise `CompileError` if there is no C++ compiler. Torch needs it to compile for a CPU."""
    wanted = [os.environ["CXX"]] if os.environ.get("CXX") else ["clang++"] if sys.platform == "darwin" else ["g++"]
    if not any(map(shutil.which, wanted)):
        raise CompileError(f"there is no C++ compiler ({wanted[0]}) on this machine")


def _reason(error: Exception) -> str:
    """Return one informative line of a compiler's message, which may be long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error:" in line), lines[0])[:300]
