"""`MLPPolicy`, which acts with an encoder and a head, and `MLPPolicySL`, which also learns from labels."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from rl_il.envs import action_form, largest_numbers, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import (
    build_mlp,
    check_network,
    evaluating,
    seeded,
    threads,
    to_numpy,
    to_tensor,
)
from rl_il.policies.actors import as_batch
from rl_il.policies.adam import AdamW
from rl_il.policies.base_policy import OPTIONS, BasePolicy, overridden_since
from rl_il.policies.encoders import Encoder, Flatten
from rl_il.policies.heads import Head, find_head, settings_of
from rl_il.policies.policy_file import load_policy, write_policy
from rl_il.policies.standardised import StandardisedHead
from rl_il.policies.window import Window, WindowActor
from rl_il.types import ActionForm, Actor, Trajectory

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

RELIES_ON = {"actor": ("forward", "get_action", "stack", "view"), "compilable": ("update", "gradient_step")}
"""Attributes that a subclass must also define if it overrides one of the methods, which the inherited ones need."""

Policy = TypeVar("Policy", bound="MLPPolicy")


class MLPPolicy(nn.Module, BasePolicy):
    """A policy whose encoder computes features from observations, and whose head computes actions from features.

    A subclass with another network overrides `build_network`, or `build_encoder`. A subclass that overrides
    `get_action`, `forward`, `view` or `stack` must also define `actor`, since the inherited frozen copy may act
    without these methods.

    Args:
      ob_shape: the shape of one observation.
      ac_dim: the number of discrete actions, or the number of dimensions of a continuous action. If an action is
        several integers, the number of choices of each.
      discrete: whether actions are integers.
      n_layers, size, activation: the number, units and activation of the network's hidden layers.
      loss: one of the head's losses, or your own `module:name`. None takes the head's first: `nll` for discrete
        actions, `mse` for continuous actions.
      seed: the seed of the initial weights.
      device: the device of the weights.
      head: a name in `plugins.HEADS`, or your own `module:Name`. None takes the first one that fits the action space.
      modes, flow_steps: settings of the heads `mixture` and `flow`. None takes the head's own default.
      ac_start: the smallest value of each integer of an action, if it is not 0.
      ac_shape: the shape of an action, if it is neither one integer nor a vector.
      history: how many successive observations it sees.
      chunk: how many successive actions it predicts together.
      execute: how many of them are carried out before it predicts again. None: all.
      normalize_acs: whether the head learns standardised actions, see `StandardisedHead`.
      dropout, layer_norm: the probability of dropout, and whether there is layer normalisation, in the hidden layers
        of `build_mlp`.
    """

    def __init_subclass__(cls, **settings: Any) -> None:
        for promise, methods in RELIES_ON.items():
            for method in overridden_since(cls, promise, methods):
                raise TypeError(
                    f"{cls.__name__} overrides {method}, so it must also define `{promise}`: the inherited one relies"
                    f" on the inherited {method}. For another network, override build_network instead"
                )
        super().__init_subclass__(**settings)

    def __init__(
        self,
        ob_shape: tuple[int, ...],
        ac_dim: int | Sequence[int],
        discrete: bool,
        n_layers: int = 2,
        size: int = 64,
        activation: str = "tanh",
        loss: str | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        head: str | None = None,
        ac_start: Sequence[int] = (),
        ac_shape: Sequence[int] | None = None,
        history: int = 1,
        chunk: int = 1,
        execute: int | None = None,
        modes: int | None = None,
        flow_steps: int | None = None,
        normalize_acs: bool = False,
        dropout: float = 0.0,
        layer_norm: bool = False,
    ):
        super().__init__()
        # Plain Python numbers: a file with NumPy numbers cannot be read without unpickling code.
        self.ob_shape = tuple(map(int, ob_shape))
        self.form = ActionForm.from_settings(ac_dim, bool(discrete), ac_start, ac_shape)
        self.ac_dim, self.discrete = self.form.ac_dim, self.form.discrete
        self.n_layers, self.size, self.activation, self.seed = int(n_layers), int(size), activation, int(seed)
        self.normalize_acs, self.dropout, self.layer_norm = bool(normalize_acs), float(dropout), bool(layer_norm)
        self._check_options()
        self.device = torch.device(device)
        self.frame_stack, self.chunk, self.execute = int(history), int(chunk), int(execute or chunk)
        self.window = Window(self.frame_stack, self.execute)
        self.head_name, head_class = find_head(head, self.form)
        own = settings_of(head_class, self.head_name, modes=modes, flow_steps=flow_steps)
        with seeded(self.seed):
            self.encoder = self.build_encoder()
            chunks = {"chunk": self.chunk} if self.chunk > 1 else {}  # a head of the user's need not have it
            self.head: Head = self.build_head(head_class, loss, **own, **chunks)
        self.head_settings = {name: getattr(self.head, name) for name in self.head.settings}
        if self.normalize_acs:
            self.head = StandardisedHead(self.head)
        self.loss_name, self.noise_shape = self.head.loss_name, self.head.noise_shape
        self.generator = torch.Generator(self.device)
        self._form = None if self.form.usual else self.form
        self.to(self.device)

    def _check_options(self) -> None:
        """Raise `InputError` for options of the training that this policy cannot have."""
        if self.normalize_acs and self.discrete:
            raise InputError(f"--normalize_acs is for continuous actions, but there are {self.form}; drop it")
        if not 0 <= self.dropout < 1:
            raise InputError(f"--dropout must be 0 or more and less than 1, got {self.dropout}")
        own = type(self).build_network is not MLPPolicy.build_network
        for name in ("dropout", "layer_norm"):
            if getattr(self, name) and own:
                raise InputError(
                    f"--{name} has no effect on {type(self).__name__}, whose build_network makes its own layers; add"
                    " it there, and drop the flag"
                )

    def build_encoder(self) -> Encoder:
        """Return the encoder. Override this method for another network.

        If your encoder contains all hidden layers, give `n_layers=0`. Then the head is linear.
        """
        return Flatten(self.ob_shape, self.frame_stack)

    def build_network(self, features: int, outputs: int) -> nn.Module:
        """Return the network from the encoder's features `(N, features)` to the head's `(N, outputs)`.

        Override this method for another network. Its weights depend on the policy's seed. Some heads add their own
        numbers to the features.
        """
        settings = (self.n_layers, self.size, self.activation, self.dropout, self.layer_norm)
        return build_mlp(features, outputs, *settings)

    def build_head(self, head_class: type[Head], loss: str | None, **settings: int) -> Head:
        """Return the head of this class, whose network `build_network` makes."""
        return head_class(self._make_network, self.ac_dim, loss, **settings)

    def _make_network(self, outputs: int, extra_inputs: int = 0) -> nn.Module:
        """Return the network of `build_network`. Raise `InputError` if it does not make the outputs."""
        features = self.encoder.n_features + extra_inputs
        network = self.build_network(features, outputs)
        if type(self).build_network is not MLPPolicy.build_network:
            check_network(network, features, outputs, f"{type(self).__name__}.build_network")
        return network

    @classmethod
    def for_env(cls: type[Policy], env: gym.Env, **hyperparameters: Any) -> Policy:
        """Return a policy with the shapes of the environment's spaces. Integers are divided by their bounds.

        Layers that a subclass makes in its own constructor depend on the seed too, if the policy is made here. Raise
        `InputError` for an environment whose observations are not arrays yet.
        """
        if not (isinstance(env.observation_space, gym.spaces.Box) and env.observation_space.shape):
            raise InputError(
                f"{name_of(env)} has observations {env.observation_space}; a policy takes those of"
                " rl_il.envs.fit_spaces(env)"
            )
        settings = action_form(env.action_space).settings()
        ac_dim, discrete = settings.pop("ac_dim"), settings.pop("discrete")
        with seeded(hyperparameters.get("seed", 0)):  # for layers that the constructor of a subclass makes
            policy = cls(env.observation_space.shape, ac_dim, discrete, **settings, **hyperparameters)
        policy.to(policy.device)
        largest = largest_numbers(env)
        if (largest != 1).any():
            policy.encoder.scale(largest)
        return policy

    def fit_normalization(self, obs: np.ndarray) -> None:
        """Standardise all later observations by the statistics of `obs (N, *ob_shape)`, if the encoder can."""
        self.encoder.fit_normalization(obs)

    def fit_label_normalization(self, labels: np.ndarray) -> None:
        """Standardise all later labels by the statistics of `labels (N, ac_dim)`."""
        if not self.normalize_acs:
            super().fit_label_normalization(labels)
        self.head.fit(labels)

    # Torch -----------------------------------------------------------------------------------------------

    def forward(self, observations: Tensor) -> Distribution:
        """Return the distribution of N actions for `(N, *ob_shape)`, if the head has one."""
        return self.head(self.encoder(observations))

    # NumPy -----------------------------------------------------------------------------------------------

    def view(self, obs: np.ndarray) -> np.ndarray:
        """Return the part of observations `(N, *ob_shape)` that the encoder reads."""
        return self.encoder.view(obs)

    def to_labels(self, acs: np.ndarray) -> np.ndarray:
        """Return the labels of the environment's actions `(N, ...)`, which `loss` takes, as in `ActionForm`."""
        return self.form.to_labels(acs)

    def reset(self, seed: int = 0) -> None:
        """Prepare for a new episode: forget the last one, and draw actions from `seed`."""
        self.generator.manual_seed(seed % 2**63)
        self.window.reset()

    def drop_plan(self) -> None:
        """Forget the planned actions, since another action was executed."""
        self.window.drop_plan()

    @torch.no_grad()
    def get_action(self, obs: np.ndarray, sample: bool = False) -> np.ndarray:
        """Return one action for one observation, or N actions for N observations: the environment's, not clipped.

        With `sample`, draw them from the distribution. Otherwise return the actions of the head's `act`. A policy
        that predicts chunks returns the next action of its plan, and for N observations the first one of each new
        plan.
        """
        obs, single = as_batch(obs, self.ob_shape)
        views = self.stack(self.view(obs))
        if self.chunk == 1:
            acs = self._labels(views, sample)
            acs = acs[0] if single else acs
        elif single:
            acs = self.window.next(lambda: self._labels(views, sample)[0])
        else:
            acs = self._labels(views, sample)[:, 0]
        return acs if self._form is None else self._form.to_actions(acs)

    def _labels(self, views: np.ndarray, sample: bool) -> np.ndarray:
        """Return the labels that the head predicts or draws for N stacks of views."""
        # One thread, as in a worker process: more are hardly faster, and change last digits.
        with evaluating(self), threads(1):
            features = self.encoder(to_tensor(views, self.device))
            return to_numpy((self.head.sample if sample else self.head.act)(features, self.generator))

    def stack(self, view: np.ndarray) -> np.ndarray:
        """Return the input of the encoder: `view` itself, or `(1, history, *view's shape)`, the newest last."""
        return self.window.stack(view)

    def actor(self) -> Actor:
        """Return a frozen copy that only acts.

        If both encoder and head can be converted, it acts in NumPy, which is much faster for one observation.
        """
        if (actor := self._numpy_actor()) is not None:
            return actor
        # The copy needs no optimiser, which is large. It is on the CPU, since worker processes have no GPU.
        instead = {id(self.__dict__.get("optimizer")): None, id(self.generator): torch.Generator()}
        frozen = copy.deepcopy(self, instead).cpu().eval().requires_grad_(False)
        frozen.device = torch.device("cpu")
        frozen.reset()
        return frozen

    def _numpy_actor(self) -> Actor | None:
        """Return the frozen copy in NumPy, or None if the encoder or the head cannot be converted."""
        encoder, head = self.encoder.numpy_settings(), self.head.numpy_settings()
        if encoder is None or head is None:
            return None
        if self.frame_stack == self.chunk == 1:
            return self.head.numpy_actor(ob_shape=self.ob_shape, form=self.form, **encoder, **head)
        ob_shape = self.ob_shape if self.frame_stack == 1 else (self.frame_stack, *self.ob_shape)
        inner = self.head.numpy_actor(ob_shape=ob_shape, form=self.form.of_chunk(self.chunk), **encoder, **head)
        return WindowActor(inner, self.ob_shape, self.form, self.chunk, self.frame_stack, self.execute)

    # Files -----------------------------------------------------------------------------------------------

    def to_sb3(
        self, env: Any, algorithm: str = "PPO", demonstrations: Sequence[Trajectory] = (), **settings: Any
    ) -> BaseAlgorithm:
        """Return a model of Stable-Baselines3 with the same greedy actions. The arguments are those of `to_sb3`."""
        from rl_il.policies.to_sb3 import to_sb3  # only this needs it

        return to_sb3(self, env, algorithm, demonstrations, **settings)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments, except the device and the head's name."""
        names = "n_layers size activation seed".split()
        names += [name for name, default in OPTIONS.items() if getattr(self, name) != default]
        settings = {"ob_shape": self.ob_shape} | self.form.settings() | self.head_settings
        settings |= {name: getattr(self, name) for name in names}
        settings |= {"history": self.frame_stack} if self.frame_stack > 1 else {}
        settings |= {"chunk": self.chunk, "execute": self.execute} if self.chunk > 1 else {}
        return settings | {"loss": self.loss_name}

    def save(self, path: str | Path) -> None:
        """Write the class, the head, the constructor's arguments and the weights to a file, atomically."""
        write_policy(path, self)

    @classmethod
    def load(cls: type[Policy], path: str | Path, device: torch.device | str = "cpu") -> Policy:
        """Return the policy of this class from a file written by `save`. Raise `InputError` for any other file."""
        return load_policy(path, device, cls)


class MLPPolicySL(MLPPolicy):
    """An `MLPPolicy` that is trained by supervised learning on pairs (observation, label).

    A subclass with another loss overrides `loss`. A subclass that overrides `update` must also define
    `compilable = False`, since a compiled step replaces `update`.

    Args:
      learning_rate, weight_decay: settings of AdamW. Without weight decay, AdamW is Adam.
      settings, named: the arguments of `MLPPolicy`.
    """

    compilable = True

    def __init__(self, *settings: Any, learning_rate: float = 5e-3, weight_decay: float = 0.0, **named: Any):
        super().__init__(*settings, **named)
        self.learning_rate, self.weight_decay = float(learning_rate), float(weight_decay)

    @functools.cached_property
    def optimizer(self) -> AdamW:
        """Return the optimiser. It is made at the first use, so that it also has the parameters of subclasses."""
        return AdamW(self.parameters(), self.learning_rate, self.weight_decay)

    def loss(self, observations: Tensor, actions: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the loss of a minibatch, a scalar. Override this method to change what is learnt.

        In long runs this method is compiled once, so it may read only tensors of the policy and the minibatch. If the
        loss depends on a Python number that changes, give `--compile off`.
        """
        return self.head.loss(self.encoder(observations), actions, noise)

    def update(self, observations: Any, actions: Any, noise: Any = None) -> dict[str, float]:
        """Make one gradient step on observations `(N, *ob_shape)` and N labels, and return the loss before it.

        The labels are those that `to_labels` makes of actions.
        """
        batch = [to_tensor(part, self.device) for part in (observations, actions, noise) if part is not None]
        self.check_labels(batch[1], len(batch[0]))
        return {"Training Loss": self.gradient_step(*batch).item()}

    def gradient_step(self, *batch: Tensor) -> Tensor:
        """Make one gradient step on the tensors of a minibatch, and return the loss before it, `()`."""
        loss = self.loss(*batch)
        if not (isinstance(loss, Tensor) and loss.numel() == 1):
            got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise InputError(f"the loss of {type(self).__name__} ({self.loss_name}) must be one number, got {got}")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.constrain(dict(self.named_parameters()))
        return loss.detach().reshape(())

    def check_labels(self, actions: Tensor, rows: int) -> None:
        """Raise `InputError` if these are not `rows` labels of the head's shape."""
        self.head.check_labels(actions, rows)

    def constrain(self, parameters: dict[str, Tensor]) -> None:
        """Clamp the head's parameters to their range after a step, in place. `parameters` are all, by name."""
        self.head.constrain({name.removeprefix("head."): p for name, p in parameters.items() if name[:5] == "head."})

    @torch.no_grad()
    def validate(self, observations: Tensor, actions: Tensor, noise: Tensor | None = None) -> dict[str, float]:
        """Return the loss on held-out pairs, and a measure of how well the head predicts their labels."""
        batch = [part for part in (observations, actions, noise) if part is not None]
        with evaluating(self):
            metrics = self.head.metrics(self.encoder(observations), actions, self.generator)
            return {"Validation Loss": self.loss(*batch).item()} | metrics

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's arguments, except the device and the head's name."""
        return super().hyperparameters() | {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
