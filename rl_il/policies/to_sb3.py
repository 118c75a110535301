"""Policies as models of Stable-Baselines3, which choose the same greedy actions: for reinforcement learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rl_il.commands import install_text
from rl_il.envs import action_form, make_env, name_of, prepare_env
from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import to_numpy
from rl_il.plugins import ACTIVATIONS, load
from rl_il.policies.actors import NumpyActor
from rl_il.policies.base_policy import BasePolicy, overridden_since
from rl_il.policies.heads import Categorical, Gaussian, MultiCategorical
from rl_il.policies.standardised import StandardisedHead
from rl_il.types import Trajectory

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

ALGORITHMS = ("PPO", "A2C", "DQN")
SQUASHED = ("SAC", "TQC", "TD3", "DDPG")
"""Algorithms whose actors end in tanh."""
STD_FLOOR = 0.1
"""The smallest standard deviation of a drawn action, as a share of half the range of its number.

The errors of a clone can be nearly 0 where it was trained, and so can the deviation that it learned. Without a floor,
it would explore nothing.
"""
STD_DEFAULT = 0.2
"""The same share without demonstrations from which the standard deviation could be computed."""
TOLERANCE = 2e-6
"""How much folding may change the outputs of a network, as a share of the largest of them or of 1."""


@dataclass(frozen=True)
class PlainNetwork:
    """Linear layers with one activation between them, in double precision."""

    layers: Sequence[tuple[np.ndarray, np.ndarray]]  # weights (in, out) and bias (out,); outputs in units of actions
    activation: str  # a name in ACTIVATIONS
    ob_mean: np.ndarray | None = None  # (in,); None: observations are not standardised
    ob_std: np.ndarray | None = None

    def folded(self) -> PlainNetwork:
        """Return the same network with the standardisation of observations in its first layer."""
        if self.ob_mean is None:
            return self
        (weights, bias), *rest = self.layers
        weights = weights / self.ob_std[:, None]
        return PlainNetwork([(weights, bias - self.ob_mean @ weights), *rest], self.activation)

    def actor(self, dtype: type) -> NumpyActor:
        """Return what computes the outputs of the last layer, in this precision."""
        scales = {} if self.ob_mean is None else {"obs_mean": self.ob_mean, "obs_std": self.ob_std}
        inputs = (len(self.layers[0][0]),)
        return NumpyActor(self.layers, self.activation, "identity", inputs, dtype=dtype, **scales)

    def can_fold(self) -> bool:
        """Return whether single precision holds the folded network well enough, on 1,000 states like the clone's.

        A number with a mean of 1,000 and a deviation of 1 is the difference of two large products in it, each of
        them rounded to 1e-4. The policy itself subtracts the mean first, which is exact.
        """
        if self.ob_mean is None:
            return True
        noise = np.random.default_rng(0).normal(size=(1000, len(self.ob_mean)))
        states = (self.ob_mean + self.ob_std * noise).astype(np.float32)
        exact, rounded = (
            each.get_action(states) for each in (self.actor(np.float64), self.folded().actor(np.float32))
        )
        return bool(np.abs(exact - rounded).max() <= TOLERANCE * max(1.0, np.abs(exact).max()))


def to_sb3(
    policy: BasePolicy,
    env: Any,
    algorithm: str = "PPO",
    demonstrations: Sequence[Trajectory] = (),
    fold: bool | None = None,
    copy_weights: bool = True,
    **settings: Any,
) -> BaseAlgorithm:
    """Return a model of Stable-Baselines3 that chooses the same greedy actions as the policy, to be trained on.

    The critic of PPO and A2C is new. For DQN, the logits of the policy become the values of actions: they have the
    same order, but are no returns, and change a lot as soon as they are trained.

    Args:
      policy: an `MLPPolicy`.
      env: an environment, its name, or a vector environment of the library.
      algorithm: one of `ALGORITHMS`.
      demonstrations: the standard deviation of actions is that of the policy's errors on them, see `exploration`.
      fold: whether the standardisation of observations becomes a part of the first layer. If not, it is a class of
        this package in the model, which is needed to load it. None: if single precision allows it.
      copy_weights: whether the actor gets the policy's weights. If not, all weights are new.
      settings: arguments of the algorithm's constructor, such as `learning_rate` and `seed`.

    Raises:
      InputError: the library is not installed, it has no such policies, or the policy does not fit the environment.
    """
    library = import_sb3()
    algorithm = check_algorithm(algorithm, policy)
    network = network_of(policy)
    env = make_env(env) if isinstance(env, str) else prepare_env(env) if isinstance(env, gym.Env) else env
    check_spaces(policy, env)
    network = network.folded() if (network.can_fold() if fold is None else fold) else network
    kwargs = settings.pop("policy_kwargs", {}) | _architecture(network)
    model = getattr(library, algorithm)("MlpPolicy", env, policy_kwargs=kwargs, **{"device": "cpu"} | settings)
    if copy_weights:
        _copy(network, model)
        if not policy.discrete:
            log_std = np.log(exploration(policy, env.action_space, demonstrations)[0])
            model.policy.log_std.data.copy_(torch.from_numpy(log_std))
    return model


def import_sb3() -> ModuleType:
    """Return the library. Raise `InputError` if it is not installed."""
    try:
        import stable_baselines3
    except ImportError as error:
        raise InputError(f"this needs Stable-Baselines3: {install_text('sb3')}") from error
    return stable_baselines3


def check_algorithm(name: str, policy: BasePolicy) -> str:
    """Return the name in capitals. Raise `InputError` for an algorithm whose policies are of another kind."""
    name = name.upper()
    if name in SQUASHED:
        raise InputError(
            f"{name}: its actor ends in tanh, and a policy of this package does not, so it would act differently;"
            " take PPO or A2C"
        )
    if name not in ALGORITHMS:
        raise InputError(f"unknown algorithm {name!r:.50}; expected one of {', '.join(ALGORITHMS)}")
    if name == "DQN" and (not policy.discrete or policy.form.several):
        raise InputError(f"DQN is for actions of one integer, but the policy gives {policy.form}; take PPO or A2C")
    return name


def network_of(policy: BasePolicy) -> PlainNetwork:
    """Return the layers of a policy. Raise `InputError` if a network of the library cannot act as it does."""
    head = head_of(policy)
    encoder, settings = policy.encoder.numpy_settings(), policy.head.numpy_settings()
    kind = type(policy).__name__
    reasons = (
        (encoder is None, "reads pictures, or has its own encoder; only networks of flat numbers can be exported"),
        (policy.ensemble > 1, f"is an ensemble of {policy.ensemble} networks, and the library's policies have one"),
        (
            policy.frame_stack > 1,
            f"reads {policy.frame_stack} observations (--history), and the library's policies one",
        ),
        (policy.chunk > 1, f"predicts {policy.chunk} actions at once (--chunk), and the library's policies one"),
        (
            not isinstance(head, (Gaussian, Categorical, MultiCategorical)),
            f"has the head {policy.head_name}, and the library has only Gaussian and categorical actions",
        ),
        (bool(overridden_since(type(policy), "_numpy_actor", ["actor"])), f"is a {kind}, which acts in its own way"),
        (bool((settings or {}).get("norms")), "has layer normalisation, and the library's networks have none"),
        (
            settings is None,
            f"has its own network; only linear layers with one of {', '.join(ACTIVATIONS)} between them can be"
            " exported",
        ),
    )
    for holds, reason in reasons:
        if holds:
            raise InputError(f"the policy {reason}")
    layers = [(weights.astype(np.float64), bias.astype(np.float64)) for weights, bias in settings["layers"]]
    if isinstance(policy.head, StandardisedHead):
        scale, center = (np.asarray(settings[name], np.float64) for name in ("action_scale", "action_center"))
        weights, bias = layers[-1]
        layers[-1] = (weights * scale, bias * scale + center)
    scales = {name.replace("obs", "ob"): array.astype(np.float64) for name, array in encoder.items()}
    return replace(PlainNetwork(layers, settings["activation"]), **scales)


def head_of(policy: BasePolicy) -> nn.Module:
    """Return the policy's head, or the one inside a `StandardisedHead`."""
    return policy.head.head if isinstance(policy.head, StandardisedHead) else policy.head


def check_spaces(policy: BasePolicy, env: Any) -> None:
    """Raise `InputError` if the policy does not fit the environment, or the library cannot use its actions."""
    name = name_of(env) if isinstance(env, gym.Env) else "the environment"
    space, form = env.action_space, action_form(env.action_space)
    if env.observation_space.shape != policy.ob_shape:
        got, expected = env.observation_space.shape, policy.ob_shape
        raise InputError(f"the policy takes observations {expected}, but those of {name} are {got}")
    if is_picture(env.observation_space):
        raise InputError(
            f"the library takes the observations {policy.ob_shape} of {name} for pictures, and divides them by 255;"
            " flatten them with gymnasium.wrappers.FlattenObservation, and clone there"
        )
    if form != policy.form:
        raise InputError(f"the policy gives {policy.form}, but {name} takes {form}")
    if form.start:
        raise InputError(
            f"the library counts actions from 0, but {name} takes {form}; convert them with"
            " gymnasium.wrappers.TransformAction, clone there, and export that policy"
        )
    if isinstance(space, spaces.MultiBinary) or (form.several and len(form.shape) > 1):
        raise InputError(f"the library needs {form} as a flat MultiDiscrete, but {name} has {type(space).__name__}")
    if not (form.discrete or (np.isfinite(space.low).all() and np.isfinite(space.high).all())):
        raise InputError(f"the library needs actions with finite bounds, but those of {name} have none")


def is_picture(space: spaces.Space) -> bool:
    """Return whether the library treats observations as pictures, as its `is_image_space` says."""
    return (
        isinstance(space, spaces.Box)
        and space.dtype == np.uint8
        and len(space.shape) == 3
        and bool((space.low == 0).all() and (space.high == 255).all())
    )


def needs_demonstrations(policy: BasePolicy) -> bool:
    """Return whether `exploration` computes the standard deviation of actions from demonstrations."""
    return not (policy.discrete or policy.loss_name == "nll")


def exploration(
    policy: BasePolicy, space: spaces.Box, demonstrations: Sequence[Trajectory] = ()
) -> tuple[np.ndarray, str]:
    """Return the standard deviation of each number of an action `(ac_dim,)` float64, and where it comes from.

    A policy trained with `nll` has learned it. Otherwise it is the root mean square of the policy's errors on the
    labelled steps of the demonstrations. Both are raised to `STD_FLOOR` if they are below it.
    """
    half = (space.high.astype(np.float64) - space.low.astype(np.float64)).reshape(-1) / 2
    if not needs_demonstrations(policy):
        scale = to_numpy(policy.head.ac_std) if isinstance(policy.head, StandardisedHead) else 1.0
        std = np.exp(to_numpy(head_of(policy).log_std).astype(np.float64)) * scale
        return np.maximum(std, STD_FLOOR * half), "learned by the policy"
    if not demonstrations:
        return STD_DEFAULT * half, f"{STD_DEFAULT:g} of half the range, without demonstrations"
    obs = np.concatenate([t.obs[:-1][t.labelled_steps] for t in demonstrations])
    labels = policy.to_labels(np.concatenate([t.labels[t.labelled_steps] for t in demonstrations]))
    errors = policy.to_labels(policy.actor().get_action(obs)).astype(np.float64) - labels
    std = np.sqrt(np.mean(errors**2, axis=0))
    return np.maximum(std, STD_FLOOR * half), f"of the errors on {len(obs):,} demonstrated steps"


def _architecture(network: PlainNetwork) -> dict[str, Any]:
    """Return the arguments of the library's policy for a network of this shape. The critic has the same shape."""
    kwargs: dict[str, Any] = {"net_arch": [len(bias) for _, bias in network.layers[:-1]]}
    kwargs["activation_fn"] = load(ACTIVATIONS[network.activation][0])
    if network.ob_mean is not None:
        from rl_il.policies.standardise_sb3 import Standardise  # it imports the library

        scales = {"mean": network.ob_mean.tolist(), "std": network.ob_std.tolist()}
        kwargs |= {"features_extractor_class": Standardise, "features_extractor_kwargs": scales}
    return kwargs


def actor_layers(model: BaseAlgorithm) -> list[nn.Linear]:
    """Return the layers that choose the model's actions, from input to output."""
    if hasattr(model.policy, "q_net"):
        return [each for each in model.policy.q_net.q_net if isinstance(each, nn.Linear)]
    hidden = [each for each in model.policy.mlp_extractor.policy_net if isinstance(each, nn.Linear)]
    return [*hidden, model.policy.action_net]


@torch.no_grad()
def _copy(network: PlainNetwork, model: BaseAlgorithm) -> None:
    """Give the model the weights of the network."""
    for (weights, bias), layer in zip(network.layers, actor_layers(model), strict=True):
        layer.weight.copy_(torch.from_numpy(weights.T))
        layer.bias.copy_(torch.from_numpy(bias))
    if hasattr(model.policy, "q_net_target"):
        model.policy.q_net_target.load_state_dict(model.policy.q_net.state_dict())
