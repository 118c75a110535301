"""Heads, which compute actions and the loss from an encoder's features. `plugins.HEADS` lists them.

A head of your own is a class in a module of the working folder: `--head my_heads:Laplace`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution

from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import to_numpy
from rl_il.plugins import ACTIVATIONS, HEADS, LOSSES, check_name, find, is_own, load
from rl_il.policies.actors import NORM_EPSILON, NumpyActor
from rl_il.policies.distributions import LogitDistribution, SeveralCategorical
from rl_il.policies.part import Part
from rl_il.types import ActionForm, Actor

LOG_STD_RANGE = (-5.0, 2.0)  # so that the likelihood and its gradient stay finite if labels have no noise


class Head(Part, ABC):
    """A module with the layers after the encoder. It defines how their outputs become an action.

    Args:
      build_network: a function of a number of outputs that returns the network from the encoder's features to these
        outputs: the policy's `build_network`. With `extra_inputs=n`, the network reads n numbers after the features.
      ac_dim: the number of discrete actions, or of the dimensions of a continuous action, or, for several integers,
        the number of choices of each.
      loss: one of `losses`. None takes the first one.
      chunk: how many successive actions are predicted together.

    Attributes:
      network: the layers after the encoder.
      discrete: whether the actions are integers.
      several: whether an action is several integers.
      losses: the names of the losses that the head supports.
      noise_shape: the shape of the standard normal numbers that `loss` needs for each row. It is empty if it needs
        none.
      settings: the names of the head's own settings, which are arguments of its constructor: `modes`, `flow_steps`.
      numpy_actor: the class of the frozen copies in NumPy. Its constructor takes what `numpy_settings` returns.
      chunks: whether the head can predict several successive actions. With a chunk of K > 1, labels and the results
        of `act` are `(N, K, *label_shape)`.
    """

    DECIDES = ("forward", "act")
    discrete: bool
    several: bool = False
    losses: tuple[str, ...]
    noise_shape: tuple[int, ...] = ()
    chunks: bool = False
    settings: tuple[str, ...] = ()
    numpy_actor: type[Actor] = NumpyActor

    def __init__(
        self,
        build_network: Callable[..., nn.Module],
        ac_dim: int | tuple[int, ...],
        loss: str | None = None,
        chunk: int = 1,
    ):
        super().__init__()
        self.ac_dim, self.loss_name, self.chunk = ac_dim, loss or self.losses[0], chunk
        if chunk > 1 and not self.chunks:
            raise InputError(f"--chunk {chunk}: the head {type(self).__name__} predicts one action; drop the flag")
        if not self.supports(self.loss_name):
            raise InputError(f"--loss {loss}: the head {type(self).__name__} has only {', '.join(self.losses)}")
        self.network = self.make_network(build_network)

    @classmethod
    def fits(cls, discrete: bool, several: bool = False) -> bool:
        """Return whether this head is for actions of one integer, of `several` integers, or for continuous ones."""
        return (cls.discrete, cls.several) == (discrete, several)

    def supports(self, loss: str) -> bool:
        """Return whether the head can be trained with the loss of this name."""
        return loss in self.losses

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar, of features `(N, n_features)` and labels `(N, *label_shape)`.

        If `noise_shape` is not empty, `noise` is `(N, *noise_shape)`. In long runs this method is compiled once, so
        it must depend only on tensors.
        """

    @abstractmethod
    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the label of the action to take for each row of features, `(N, *label_shape)`.

        It is int64, from 0, or float32, not clipped.
        """

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row of features. By default, return the actions of `act`."""
        return self.act(features, rng)

    def count_outputs(self) -> int:
        """Return the number of outputs of the network's last layer for one action."""
        return self.ac_dim

    def make_network(self, build_network: Callable[..., nn.Module]) -> nn.Module:
        """Return the layers after the encoder: `count_outputs` outputs for each action of a chunk."""
        return build_network(self.chunk * self.count_outputs())

    def outputs(self, features: Tensor) -> Tensor:
        """Return the network's outputs, `(N, outputs)`, or `(N, chunk, outputs)` for several actions."""
        outputs = self.network(features)
        return outputs if self.chunk == 1 else outputs.unflatten(1, (self.chunk, -1))

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Return the shape of the label of one observation: `()` for one integer, `(k,)` for k, else `(ac_dim,)`."""
        return (len(self.ac_dim),) if self.several else () if self.discrete else (self.ac_dim,)

    def check_labels(self, labels: Tensor, rows: int) -> None:
        """Raise `InputError` if these are not `rows` labels. (Torch would broadcast (N,) and (N, 1) to (N, N).)"""
        expected = (rows, *((self.chunk,) if self.chunk > 1 else ()), *self.label_shape)
        if labels.shape != expected:
            raise InputError(f"labels must have the shape {expected}, got {tuple(labels.shape)}")

    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Clamp parameters, given by name, to their range after a gradient step, in place."""

    def metrics(self, features: Tensor, labels: Tensor, rng: torch.Generator) -> dict[str, float]:
        """Return the accuracy of `act` on the labels, or, for continuous actions, its mean absolute error.

        Several integers are right if all of them are. Each action of a chunk counts.
        """
        predicted = self.act(features, rng)
        if self.discrete:
            right = (predicted == labels).reshape(len(labels) * self.chunk, -1).all(dim=1)
            return {"Validation Accuracy": right.float().mean().item()}
        return {"Validation MAE": (predicted - labels).abs().mean().item()}

    def _layers_in_numpy(self, output: str) -> dict[str, Any] | None:
        """Return the layers for a `NumpyActor`, or None if it cannot compute what the network does."""
        hooked = any(each._forward_hooks or each._forward_pre_hooks for each in self.network.modules())
        if type(self.network) is not nn.Sequential or hooked:
            return None
        modules = [module for module in self.network if type(module) is not nn.Dropout]  # it has no effect on acting
        every = 3 if any(type(module) is nn.LayerNorm for module in modules) else 2
        linear, norms, hidden = modules[::every], modules[1::every] if every == 3 else [], modules[every - 1 :: every]
        kinds = {name: load(path) for name, (path, _) in ACTIVATIONS.items()}
        names = [name for name, kind in kinds.items() if all(_is_default(module, kind) for module in hidden)]
        biased = all(type(module) is nn.Linear and module.bias is not None for module in linear)
        if not (biased and names and all(map(_is_usual_norm, norms)) and len(modules) == every * len(hidden) + 1):
            return None
        settings: dict[str, Any] = {"layers": [(to_numpy(layer.weight.T), to_numpy(layer.bias)) for layer in linear]}
        settings["norms"] = [(to_numpy(norm.weight), to_numpy(norm.bias)) for norm in norms]
        return settings | {"activation": names[0], "output": output}


class DistributionHead(Head):
    """A head whose `forward` returns a distribution of actions.

    Its losses are rows of `plugins.LOSSES`, or the user's own functions `module:name`, of the distribution and the
    labels.
    """

    chunks = True

    def __init__(self, *settings: Any, **named: Any):
        super().__init__(*settings, **named)
        self._loss = find("loss", LOSSES, self.loss_name)
        if not callable(self._loss):
            raise InputError(f"--loss {self.loss_name}: must be a function of a distribution and labels")

    def supports(self, loss: str) -> bool:
        """Return whether the head can be trained with the loss of this name: one of `losses`, or the user's own."""
        return super().supports(loss) or is_own(loss)

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution of N actions for `(N, n_features)`."""

    def loss(self, features: Tensor, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the chosen loss, a scalar."""
        return self._loss(self(features), labels)

    def act(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return the most likely action of each row: the mode of the distribution."""
        return self(features).mode


def draw(probs: Tensor, rng: torch.Generator) -> Tensor:
    """Return an index `(...)` int64 for each row of probabilities `(..., n)`."""
    return torch.multinomial(probs.flatten(0, -2), 1, generator=rng).reshape(probs.shape[:-1])


def _is_default(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether the module is of this class and has its default settings, such as the slope of a leaky ReLU."""
    return type(module) is kind and repr(module) == repr(kind())


def _is_usual_norm(module: nn.Module) -> bool:
    """Return whether the module is a LayerNorm over the last dimension with its default settings."""
    if type(module) is not nn.LayerNorm or module.weight is None or module.bias is None:
        return False
    return len(module.normalized_shape) == 1 and module.eps == NORM_EPSILON


class Categorical(DistributionHead):
    """A head with a probability for each discrete action."""

    discrete, losses = True, ("nll",)

    def forward(self, features: Tensor) -> Distribution:
        """Return the categorical distribution of N actions."""
        return LogitDistribution(self.outputs(features))

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row."""
        return draw(self(features).probs, rng)

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the layers. The index of the largest output is the action."""
        return self._layers_in_numpy("argmax")


class MultiCategorical(DistributionHead):
    """A head with a probability for each choice of each integer of an action. The integers are independent."""

    discrete, several, losses = True, True, ("nll",)

    def count_outputs(self) -> int:
        """Return the number of choices of all integers."""
        return sum(self.ac_dim)

    def forward(self, features: Tensor) -> Distribution:
        """Return the distribution of N actions."""
        return SeveralCategorical(self.outputs(features), self.ac_dim)

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row."""
        return torch.stack([draw(part.probs, rng) for part in self(features).parts], dim=-1)

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the layers. The index of the largest output among those of an integer is its value."""
        return self._layers_in_numpy("argmax")


class Gaussian(DistributionHead):
    """A head with a Gaussian distribution, as in the course.

    The mean is not limited to the action space, and the standard deviation does not depend on the observation.
    """

    discrete, losses = False, ("mse", "l1", "nll")

    def __init__(self, *settings: Any, **named: Any):
        super().__init__(*settings, **named)
        self.log_std = nn.Parameter(torch.zeros(self.ac_dim))

    def forward(self, features: Tensor) -> Distribution:
        """Return the Gaussian distribution of N actions."""
        normal = distributions.Normal(self.outputs(features), self.log_std.exp(), validate_args=False)
        return distributions.Independent(normal, 1, validate_args=False)

    def sample(self, features: Tensor, rng: torch.Generator) -> Tensor:
        """Return a randomly drawn action for each row."""
        distribution = self(features)
        return torch.normal(distribution.mean, distribution.stddev, generator=rng)

    @torch.no_grad()
    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Clamp the standard deviation. Clamping it in `forward` would set its gradient to zero."""
        if "log_std" in parameters:
            parameters["log_std"].clamp_(*LOG_STD_RANGE)

    def numpy_settings(self) -> dict[str, Any] | None:
        """Return the layers. The last one returns the action."""
        return self._layers_in_numpy("identity")


def find_head(name: str | None, form: ActionForm) -> tuple[str, type[Head]]:
    """Return the head's name and class. None takes the first one that fits the actions.

    The name is one of `plugins.HEADS` or the user's own `module:Name`. Raise `InputError` if it does not fit.
    """
    if name is not None:
        check_name("head", HEADS, name)
    fitting = {key: load(path) for key, path in HEADS.items() if load(path).fits(form.discrete, form.several)}
    name = name or next(iter(fitting))
    head = fitting.get(name) or find("head", HEADS, name)
    if not (isinstance(head, type) and issubclass(head, Head)):
        raise InputError(f"--head {name}: must be a subclass of rl_il.policies.heads.Head, got {head!r}")
    if not head.fits(form.discrete, form.several):
        raise InputError(f"--head {name} does not fit {form}; these do: {', '.join(fitting)}")
    return name, head


def settings_of(head: type[Head], name: str, **given: int | None) -> dict[str, int]:
    """Return the given settings of the head, without those that are None.

    Raise `InputError` if the head does not have a setting that is given.
    """
    given = {key: value for key, value in given.items() if value is not None}
    for key, value in given.items():
        if key not in head.settings:
            others = " or ".join(other for other, path in HEADS.items() if key in load(path).settings)
            raise InputError(f"--{key} {value}: the head {name} does not have it; drop it, or give --head {others}")
    return given
