"""A policy of this package with the weights of a model of Stable-Baselines3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from rl_il.infrastructure.pytorch_utils import seeded
from rl_il.policies.mlp_policy import MLPPolicy
from rl_il.policies.to_sb3 import actor_layers

if TYPE_CHECKING:
    from stable_baselines3 import PPO


@torch.no_grad()
def policy_of(model: PPO, clone: MLPPolicy) -> MLPPolicy:
    """Return the model's actor as a policy like the clone: the same class, network and standardised observations.

    Its layers compute actions in their own units, and the standard deviation of continuous actions is a learned one.
    The model was made with `to_sb3(clone, ..., fold=False)`.
    """
    settings = clone.hyperparameters() | {"head": clone.head_name}
    settings.pop("normalize_acs", None)
    with seeded(0):  # the weights that are drawn here are replaced
        policy = type(clone)(**settings | ({} if clone.discrete else {"loss": "nll"}))
    policy.encoder.load_state_dict(clone.encoder.state_dict())
    layers = [each for each in policy.head.network.modules() if isinstance(each, nn.Linear)]
    for layer, trained in zip(layers, actor_layers(model), strict=True):
        layer.load_state_dict(trained.state_dict())
    if not clone.discrete:
        policy.head.log_std.copy_(model.policy.log_std)
    return policy
