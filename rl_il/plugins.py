"""Tables of the names that flags accept, with the place where each class or function is defined.

A row is `"name": "module:Name"`. So the flags can list the names without importing torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from rl_il.errors import InputError

ACTIVATIONS = {
    "tanh": ("torch.nn:Tanh", "rl_il.policies.actors:tanh"),
    "relu": ("torch.nn:ReLU", "rl_il.policies.actors:relu"),
    "leaky_relu": ("torch.nn:LeakyReLU", "rl_il.policies.actors:leaky_relu"),
    "elu": ("torch.nn:ELU", "rl_il.policies.actors:elu"),
    "sigmoid": ("torch.nn:Sigmoid", "rl_il.policies.actors:sigmoid"),
}
"""Activation functions: torch's module, and a function that does the same to a NumPy array, in place."""

POLICIES = {
    "MLPPolicySL": "rl_il.policies.mlp_policy:MLPPolicySL",
    "CNNPolicySL": "rl_il.policies.cnn_policy:CNNPolicySL",
}
"""Policy classes that a policy file may name even if their module has not been imported."""

HEADS = {
    "categorical": "rl_il.policies.heads:Categorical",
    "gaussian": "rl_il.policies.heads:Gaussian",
}
"""Heads of a policy. The default is the first one that fits the action space."""

LOSSES = {
    "mse": "rl_il.policies.heads:mean_squared_error",
    "l1": "rl_il.policies.heads:mean_absolute_error",
    "nll": "rl_il.policies.heads:negative_log_likelihood",
}
"""Losses as functions of the distribution of actions and the labels. Each head supports some of them."""

AUGMENTATIONS = {
    "shift": "rl_il.infrastructure.augmentation:shift",
    "brightness": "rl_il.infrastructure.augmentation:brightness",
    "flip_steer": "rl_il.infrastructure.augmentation:flip_steer",
}
"""Random changes of the pictures in a minibatch."""

RULES = {
    "dagger": "rl_il.infrastructure.dagger:DAgger",
}
"""Collection rules (DAgger and its variants): who acts while data are collected, and which steps get a label."""


def load(path: str) -> Any:
    """Return the class or function at `module:Name`, such as `rl_il.policies.heads:Categorical`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def row(kind: str, table: Mapping[str, Any], name: str) -> Any:
    """Return the row of the table with this name. Raise `InputError` if there is none."""
    if not isinstance(name, str) or name not in table:
        raise InputError(f"unknown {kind} {name!r}; expected one of {', '.join(table)}")
    return table[name]
