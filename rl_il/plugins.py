"""The tables of names that flags accept, and where each name's class or function is defined.

A row is `"name": "module:Name"`, so that the flags can list the names without importing torch.
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
"""Nonlinearities: torch's module, and the function that does the same to a NumPy array in place."""

POLICIES = {
    "MLPPolicySL": "rl_il.policies.mlp_policy:MLPPolicySL",
    "CNNPolicySL": "rl_il.policies.cnn_policy:CNNPolicySL",
}
"""The policies that a saved file may name without their module being imported first."""

HEADS = {
    "categorical": "rl_il.policies.heads:Categorical",
    "gaussian": "rl_il.policies.heads:Gaussian",
}
"""What turns features into actions. The first one that fits the action space is the default."""

LOSSES = {
    "mse": "rl_il.policies.heads:mean_squared_error",
    "l1": "rl_il.policies.heads:mean_absolute_error",
    "nll": "rl_il.policies.heads:negative_log_likelihood",
}
"""What is minimised, given the distribution of actions and the labels. Each head says which of them it takes."""

AUGMENTATIONS = {
    "shift": "rl_il.infrastructure.augmentation:shift",
    "brightness": "rl_il.infrastructure.augmentation:brightness",
    "flip_steer": "rl_il.infrastructure.augmentation:flip_steer",
}
"""Random changes to the pictures of a minibatch."""

RULES = {
    "dagger": "rl_il.infrastructure.dagger:DAgger",
}
"""Who acts while data are collected, and which steps get a label."""


def load(path: str) -> Any:
    """Return what a row names, such as `rl_il.policies.heads:Categorical`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def row(kind: str, table: Mapping[str, Any], name: str) -> Any:
    """Return the table's row of this name. Raise `InputError` where there is none."""
    if not isinstance(name, str) or name not in table:
        raise InputError(f"unknown {kind} {name!r}; expected one of {', '.join(table)}")
    return table[name]
