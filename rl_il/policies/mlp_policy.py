"""`MLPPolicy`: a network and its action distribution. `MLPPolicySL`: the same, trained by supervised learning.

`forward` and `loss` are torch; `get_action` and `actor` are NumPy.
"""

from __future__ import annotations

import copy
import functools
import math
from abc import ABC
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal
from torch.nn import functional

from rl_il.envs import is_discrete
from rl_il.errors import InputError
from rl_il.infrastructure.adam import AdamW
from rl_il.infrastructure.pytorch_utils import ACTIVATIONS, build_mlp, seeded_weights, to_numpy, to_tensor
from rl_il.policies.actors import NumpyActor, as_batch
from rl_il.policies.base_policy import BasePolicy
from rl_il.policies.policy_file import read_policy, write_policy
from rl_il.types import Actor, VectorActor

LOG_STD_RANGE = (-5.0, 2.0)  # keeps a nearly noiseless expert's likelihood, and its gradient, finite
Policy = TypeVar("Policy", bound="MLPPolicy")

LOSSES = {
    "nll": lambda distribution, actions: -distribution.log_prob(actions).mean(),
    "mse": lambda distribution, actions: functional.mse_loss(distribution.mean, actions),
    "l1": lambda distribution, actions: functional.l1_loss(distribution.mean, actions),
}
"""Distribution and labels to a scalar. Cross-entropy is `nll` of a categorical distribution."""


class MLPPolicy(BasePolicy, nn.Module, ABC):
    """A multilayer perceptron from observations to a categorical or a Gaussian distribution of actions.

    The Gaussian's mean is not squashed and its standard deviation does not depend on the observation, as in
    the course.

    Args:
      ob_shape: one observation's shape; it is flattened.
      ac_dim: number of discrete actions, or dimensions of a continuous one.
      discrete: whether actions are integers.
      n_layers, size, activation: the hidden layers.
      seed: decides the initial weights and nothing else.
      device: where the weights live.
    """

    def __init__(
        self,
        ob_shape: tuple[int, ...],
        ac_dim: int,
        discrete: bool,
        n_layers: int = 2,
        size: int = 64,
        activation: str = "tanh",
        seed: int = 0,
        device: torch.device | str = "cpu",
    ):
        super().__init__()
        # Plain Python numbers: a checkpoint that holds NumPy's cannot be read without unpickling code.
        self.ob_shape, self.ac_dim, self.discrete = tuple(map(int, ob_shape)), int(ac_dim), bool(discrete)
        self.n_layers, self.size, self.activation, self.seed = int(n_layers), int(size), activation, int(seed)
        self.device = torch.device(device)
        with seeded_weights(seed):
            features = self.build_encoder()
            self.network = build_mlp(features, ac_dim, n_layers, size, activation)
        self.log_std = None if discrete else nn.Parameter(torch.zeros(ac_dim))
        self.generator = torch.Generator(self.device)
        self.to(self.device)

    @property
    def n_outputs(self) -> int:
        """As of a `NumpyActor`: discrete actions, or dimensions of a continuous one."""
        return self.ac_dim

    @property
    def output(self) -> str:
        """As of a `NumpyActor`: what becomes of the network's last layer."""
        return "argmax" if self.discrete else "identity"

    @classmethod
    def for_env(cls: type[Policy], env: gym.Env, **hyperparameters: Any) -> Policy:
        """A policy whose shapes are the environment's."""
        space = env.action_space
        discrete = is_discrete(space)
        ac_dim = int(space.n) if discrete else space.shape[0]
        return cls(env.observation_space.shape, ac_dim, discrete, **hyperparameters)

    def fit_normalization(self, obs: np.ndarray) -> None:
        """From now on standardises observations by the mean and std of `obs (N, *ob_shape)`.

        A number that hardly varies there (std below 0.001) is only centred: dividing by its std would let
        the first new value drown all others.
        """
        flat = np.asarray(obs, np.float64).reshape(len(obs), -1)
        std = flat.std(axis=0)
        self.ob_mean.copy_(torch.from_numpy(flat.mean(axis=0)))
        self.ob_std.copy_(torch.from_numpy(np.where(std < 1e-3, 1.0, std)))

    # Torch -----------------------------------------------------------------------------------------------

    @classmethod
    def count_features(cls, hyperparameters: dict[str, Any]) -> int:
        """How many features a policy with these arguments of the constructor encodes an observation in."""
        return math.prod(hyperparameters["ob_shape"])

    def build_encoder(self) -> int:
        """Makes what `encode` needs; returns how many features it gives. A subclass that encodes in another way
        overrides this, `count_features` and `encode`."""
        ob_dim = int(np.prod(self.ob_shape))
        self.register_buffer("ob_mean", torch.zeros(ob_dim))
        self.register_buffer("ob_std", torch.ones(ob_dim))
        return ob_dim

    def encode(self, observations: Tensor) -> Tensor:
        """`(N, *ob_shape)` to `(N, features)`, what the network reads. A subclass may override it."""
        return (observations.flatten(1) - self.ob_mean) / self.ob_std

    def forward(self, observations: Tensor) -> Distribution:
        """`(N, *ob_shape)` to the distribution of N actions."""
        output = self.network(self.encode(observations))
        if self.discrete:
            return Categorical(logits=output, validate_args=False)
        return Independent(Normal(output, self.log_std.exp(), validate_args=False), 1, validate_args=False)

    # NumPy -----------------------------------------------------------------------------------------------

    def reset(self, seed: int = 0) -> None:
        """Starts an episode: actions drawn in it follow from `seed`."""
        self.generator.manual_seed(seed % 2**63)

    def see(self, obs: np.ndarray) -> np.ndarray:
        """What `forward` reads to act on `(N, *ob_shape)`: their view. A subclass may add what it remembers."""
        return self.view(obs)

    @torch.no_grad()
    def get_action(self, obs: np.ndarray, sample: bool = False) -> np.ndarray:
        """One observation to one action, or a batch to a batch: int64 or float32, not clipped.

        Greedy (the likeliest action, the Gaussian's mean), or drawn from the distribution with `sample`.
        """
        obs, single = as_batch(obs, self.ob_shape)
        distribution = self(to_tensor(self.see(obs), self.device))
        acs = to_numpy(self._draw(distribution) if sample else distribution.mode)
        return acs[0] if single else acs

    def _draw(self, distribution: Distribution) -> Tensor:
        """One draw an observation, from this policy's own generator."""
        if self.discrete:
            return torch.multinomial(distribution.probs, 1, generator=self.generator)[:, 0]
        return torch.normal(distribution.mean, distribution.stddev, generator=self.generator)

    def actor(self) -> Actor:
        """A frozen greedy copy: in NumPy, which is much faster for one observation at a time, or a copy of
        the policy itself if a subclass computes its actions in its own way."""
        if not self._is_plain_mlp():
            memo = {id(self.__dict__.get("optimizer")): None}  # which has nothing to do there, and weighs most
            return copy.deepcopy(self, memo).eval().requires_grad_(False)
        linear = [module for module in self.network if isinstance(module, nn.Linear)]
        return NumpyActor(
            layers=[(to_numpy(layer.weight.T), to_numpy(layer.bias)) for layer in linear],
            activation=self.activation,
            output=self.output,
            ob_shape=self.ob_shape,
            **self._normalization(),
        )

    def _normalization(self) -> dict[str, np.ndarray]:
        """What a NumPy copy subtracts and divides by; nothing where that would change nothing."""
        mean, std = to_numpy(self.ob_mean), to_numpy(self.ob_std)
        return {} if not mean.any() and (std == 1).all() else {"obs_mean": mean, "obs_std": std}

    def _is_plain_mlp(self) -> bool:
        """Whether a NumPy copy computes the same: nothing overridden, and the network that `build_mlp` built."""
        names = ("forward", "build_encoder", "encode", "view", "see", "get_action")
        own = all(getattr(type(self), name) is getattr(MLPPolicy, name) for name in names)
        hidden = [nn.Linear, ACTIVATIONS[self.activation]] * self.n_layers
        return own and [type(module) for module in self.network] == [*hidden, nn.Linear]

    def vectorized(self, n: int) -> VectorActor | None:
        """Itself; None for a subclass that may remember an episode or draw in its own way."""
        names = ("get_action", "see", "reset")
        return self if all(getattr(type(self), name) is getattr(MLPPolicy, name) for name in names) else None

    def begin(self, slot: int, seed: int) -> None:
        """Where one of several episodes starts: there is nothing to forget."""

    # Files -----------------------------------------------------------------------------------------------

    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's arguments, except the device."""
        names = "ob_shape ac_dim discrete n_layers size activation seed".split()
        return {name: getattr(self, name) for name in names}

    def save(self, path: str | Path) -> None:
        """Writes the weights and the constructor's arguments, atomically."""
        # A subclass that only learns differently acts like its parent, and can be read without the subclass.
        same = self._is_plain_mlp() and type(self).hyperparameters is MLPPolicySL.hyperparameters
        write_policy(path, MLPPolicySL.__name__ if same else type(self).__name__, self)

    @classmethod
    def load(cls: type[Policy], path: str | Path, device: torch.device | str = "cpu") -> Policy:
        """Reads a policy that `save` wrote; no code in the file is run. Raises `InputError` for any other."""
        return read_policy(path, cls, device)


class MLPPolicySL(MLPPolicy):
    """An `MLPPolicy` trained by supervised learning on (observation, label) pairs.

    Args:
      loss: a name in `LOSSES`; None is `nll` for discrete actions and `mse` for continuous ones.
      learning_rate, weight_decay: of AdamW; without weight decay it is Adam.
      Others: those of `MLPPolicy`.
    """

    def __init__(
        self,
        ob_shape: tuple[int, ...],
        ac_dim: int,
        discrete: bool,
        n_layers: int = 2,
        size: int = 64,
        activation: str = "tanh",
        loss: str | None = None,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.0,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ):
        super().__init__(ob_shape, ac_dim, discrete, n_layers, size, activation, seed, device)
        self.loss_name = loss or ("nll" if discrete else "mse")
        if self.loss_name not in LOSSES:
            raise InputError(f"unknown loss {loss!r}; expected one of {', '.join(LOSSES)}")
        if discrete and self.loss_name != "nll":
            raise InputError(f"--loss {loss} is for continuous actions; discrete ones take nll (cross-entropy)")
        self.learning_rate, self.weight_decay = float(learning_rate), float(weight_decay)

    @functools.cached_property
    def optimizer(self) -> AdamW:
        """Made when it is first asked for, with whatever parameters a subclass has added by then."""
        return AdamW(self.parameters(), self.learning_rate, self.weight_decay)

    def hyperparameters(self) -> dict[str, Any]:
        """The constructor's arguments, except the device."""
        own = {"loss": self.loss_name, "learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        return super().hyperparameters() | own

    def loss(self, observations: Tensor, actions: Tensor) -> Tensor:
        """What is minimised, a scalar. This is the one place for a subclass to change what is learnt.

        In long runs it is compiled once, for good: whatever it reads must be a tensor of the policy or the batch. One
        that changes with a Python number needs `--compile off`.
        """
        return LOSSES[self.loss_name](self(observations), actions)

    def update(self, observations: Any, actions: Any) -> dict[str, float]:
        """One optimiser step on `(N, *ob_shape)` observations and N labels, arrays or tensors."""
        observations, actions = to_tensor(observations, self.device), to_tensor(actions, self.device)
        self.check_labels(actions, len(observations))
        loss = self.loss(observations, actions)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.constrain(dict(self.named_parameters()))
        return {"Training Loss": loss.item()}

    def updates_plainly(self) -> bool:
        """Whether a step is `update` below and nothing else, so that it may be compiled."""
        return type(self).update is MLPPolicySL.update

    def check_labels(self, actions: Tensor, rows: int) -> None:
        """Raises `InputError` unless these are `rows` labels: torch would broadcast (N,) against (N, 1) to (N, N)."""
        expected = (rows,) if self.discrete else (rows, self.ac_dim)
        if actions.shape != expected:
            raise InputError(f"labels must have the shape {expected}, got {tuple(actions.shape)}")

    @torch.no_grad()
    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Moves parameters back into their range after a step, in place: not in `forward`, where it would end the
        gradient."""
        if "log_std" in parameters:
            parameters["log_std"].clamp_(*LOG_STD_RANGE)

    @torch.no_grad()
    def validate(self, observations: Tensor, actions: Tensor) -> dict[str, float]:
        """Loss on held-out pairs, and how often (discrete) or how closely (continuous) the labels are met."""
        metrics = {"Validation Loss": self.loss(observations, actions).item()}
        predicted = self(observations).mode
        if self.discrete:
            return metrics | {"Validation Accuracy": (predicted == actions).float().mean().item()}
        return metrics | {"Validation MAE": (predicted - actions).abs().mean().item()}
