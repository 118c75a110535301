"""Tables of the names that flags accept, and the user's own classes and functions, which are named `module:Name`.

A row is `"name": "module:Name"`. So the flags can list the names without importing torch. Wherever the name of a row
is accepted, `module:Name` is too: a name in a module of the working folder, or of an installed package.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from rl_il.errors import RAISED, InputError, describe

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
    "EnsemblePolicySL": "rl_il.policies.ensemble:EnsemblePolicySL",
}
"""Policy classes that a policy file may name even if their module has not been imported."""

HEADS = {
    "categorical": "rl_il.policies.heads:Categorical",
    "multi_categorical": "rl_il.policies.heads:MultiCategorical",
    "gaussian": "rl_il.policies.heads:Gaussian",
    "mixture": "rl_il.policies.mixture:Mixture",
    "flow": "rl_il.policies.flow:Flow",
}
"""Heads of a policy. The default is the first one that fits the action space."""

LOSSES = {
    "mse": "rl_il.policies.distributions:mean_squared_error",
    "l1": "rl_il.policies.distributions:mean_absolute_error",
    "nll": "rl_il.policies.distributions:negative_log_likelihood",
}
"""Losses as functions of the distribution of actions and the labels. Each head supports some of them."""

AUGMENTATIONS = {
    "shift": "rl_il.infrastructure.augmentation:shift",
    "brightness": "rl_il.infrastructure.augmentation:brightness",
    "flip_steer": "rl_il.infrastructure.augmentation:flip_steer",
    "noise": "rl_il.infrastructure.augmentation:noise",
}
"""Random changes of the observations in a minibatch. `noise` is for vectors, and the others are for pictures."""

RULES = {
    "dagger": "rl_il.infrastructure.dagger:DAgger",
    "random": "rl_il.infrastructure.rules.choosing:Random",
    "kcentre": "rl_il.infrastructure.rules.choosing:KCentre",
    "disagreement": "rl_il.infrastructure.rules.choosing:Disagreement",
    "hg": "rl_il.infrastructure.rules.takeover:HGDAgger",
    "safe": "rl_il.infrastructure.rules.safe:SafeDAgger",
    "ensemble_dagger": "rl_il.infrastructure.rules.takeover:EnsembleDAgger",
    "thrifty": "rl_il.infrastructure.rules.thrifty:ThriftyDAgger",
    "dart": "rl_il.infrastructure.rules.dart:DART",
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


def find(kind: str, table: Mapping[str, str], name: str) -> Any:
    """Return the class or function of this name: what a row of the table names, or the user's own `module:Name`.

    Raise `InputError` if there is none, or if the user's module cannot be imported.
    """
    check_name(kind, table, name)
    return load(table[name]) if name in table else load_own(name)


def check_name(kind: str, table: Iterable[str], name: str) -> None:
    """Raise `InputError` if the name is neither in the table nor of the form `module:Name`. Import nothing."""
    if name not in table and not is_own(name):
        raise InputError(f"unknown {kind} {name!r}; expected one of {', '.join(table)}, or your own, module:Name")


def is_own(name: object) -> bool:
    """Return whether the name has the form `module:Name`."""
    module, _, attribute = name.partition(":") if isinstance(name, str) else ("", "", "")
    if module == "hf" or (os.name == "nt" and len(module) == 1):  # the Hugging Face hub; a drive
        return False
    return attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_own(name: str) -> Any:
    """Return the user's class or function `module:Name`. Raise `InputError` if it cannot be imported."""
    module, attribute = import_own(name), name.partition(":")[2]
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, [key for key in vars(module) if key[0] != "_"], n=3, cutoff=0.4)
        hint = f"; similar names in it: {', '.join(near)}" if near else ""
        raise InputError(f"{name}: {module.__file__ or module.__name__} has no {attribute}{hint}")
    return getattr(module, attribute)


def import_own(name: str) -> ModuleType:
    """Return the module of the user's `module:Name`. The working folder is searched first, as by `python -m`.

    Raise `InputError` if there is no such module, or if its code fails.
    """
    folder, module = os.getcwd(), name.rpartition(":")[0]
    if folder not in sys.path:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()
    try:
        imported = importlib.import_module(module)
    except RAISED as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            raise InputError(
                f"{name}: there is no module {error.name} in {folder}, and none of this name is installed; run the"
                " command in the folder of the module"
            ) from error
        raise InputError(f"{name} cannot be imported: {describe(error)}") from error
    first = module.partition(".")[0]
    found, used = PathFinder.find_spec(first), sys.modules[first].__file__
    if found and found.has_location and used and not os.path.samefile(found.origin, used):
        raise InputError(f"{name}: {found.origin} is not used, since this process has imported {used} already")
    return imported
