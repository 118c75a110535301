"""A policy as a file: its class, its head, its constructor's arguments and its weights. No code in a file is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from rl_il.errors import InputError
from rl_il.files import atomic_write, load_torch, one_line
from rl_il.plugins import POLICIES, load
from rl_il.policies.base_policy import BasePolicy

OLD_NAMES = {
    "network.": "head.network.",
    "log_std": "head.log_std",
    "ob_mean": "encoder.ob_mean",
    "ob_std": "encoder.ob_std",
    "convolutions.": "encoder.convolutions.",
}
"""The names of weights in files that name no head, and their names now."""

ACTING = {"__init__", "build_encoder", "forward", "get_action", "view", "stack", "actor", "reset", "hyperparameters"}
"""The methods that a subclass overrides if it acts, or is made, in another way than its parent."""

Policy = TypeVar("Policy", bound=BasePolicy)


def write_policy(path: str | Path, policy: BasePolicy) -> None:
    """Write the policy to a file, atomically."""
    state = {name: tensor.cpu() for name, tensor in policy.state_dict().items()}
    content = {
        "policy": class_name_of(policy),
        "head": policy.head_name,
        "hyperparameters": policy.hyperparameters(),
        "state": state,
    }
    with atomic_write(Path(path)) as file:
        torch.save(content, file)


def load_policy(path: str | Path, device: torch.device | str = "cpu", wanted: type[Policy] = BasePolicy) -> Policy:
    """Return the policy in the file, of whatever class that is one of `wanted`.

    Raise `InputError` for any other file, and for weights that are not finite.
    """
    content = load_torch(Path(path))
    names = ("policy", "hyperparameters", "state")
    if not isinstance(content, dict) or not content.keys() >= {*names}:
        raise InputError(f"{path}: is not a policy of this project; expected a dict of {', '.join(names)}")
    try:
        policy_class = find_class(content["policy"], wanted)
        settings, state = content["hyperparameters"], content["state"]
        if "head" not in content:
            state = with_current_names(state)
        elif content["head"] is not None:
            settings = settings | {"head": content["head"]}
        policy = policy_class(**settings, device=device)
        policy.load_state_dict(state)
    except InputError as error:
        raise InputError(f"{path}: {one_line(error)}") from error
    except Exception as error:  # torch raises many classes on weights that do not fit
        raise InputError(f"{path}: is not a policy of this project ({one_line(error)})") from error
    if not all(tensor.isfinite().all() for tensor in policy.state_dict().values()):
        raise InputError(f"{path}: the weights hold NaN or infinity")
    return policy


def class_name_of(policy: BasePolicy) -> str:
    """Return the name of the shipped class that acts as the policy does, or else its own: a subclass that only learns
    differently can then be read by programs that do not know it."""
    for parent in type(policy).__mro__:
        if parent.__name__ in POLICIES:
            return parent.__name__
        if ACTING & vars(parent).keys():
            break
    return type(policy).__name__


def find_class(name: Any, wanted: type[Policy]) -> type[Policy]:
    """Return the policy class of this name, whose module must have been imported unless it is a shipped one.

    Raise `InputError` if there is none, or it is no subclass of `wanted`.
    """
    name = str(name)[:100]
    if name == wanted.__name__:
        return wanted
    if name not in BasePolicy.classes and name in POLICIES:
        load(POLICIES[name])
    found = BasePolicy.classes.get(name)
    if found is None:
        known = ", ".join({**POLICIES, **BasePolicy.classes})
        raise InputError(
            f"holds a {name}, which is not known here ({known} are): import the module that defines it first"
        )
    if issubclass(wanted, found):  # saved by a parent, or as one
        return wanted
    if not issubclass(found, wanted):
        raise InputError(f"holds a {name}, expected a {wanted.__name__}")
    return found


def with_current_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a file that names no head, under the names that they have now."""

    def rename(name: str) -> str:
        old = next(filter(name.startswith, OLD_NAMES), "")
        return OLD_NAMES.get(old, "") + name[len(old) :]

    return {rename(name): tensor for name, tensor in state.items()}
