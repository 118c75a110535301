"""Policy files: the class, the head, the constructor's arguments and the weights. No code in a file is run."""

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
"""The beginnings of the names of weights in old files, which do not name a head, and the current ones."""

ACTING = {"__init__", "build_encoder", "forward", "get_action", "view", "stack", "actor", "reset", "hyperparameters"}
"""The methods that a subclass overrides if it acts, or is constructed, in another way than its parent class."""

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
    """Return the policy in the file. Its class must be `wanted`, or a subclass or a parent class of it.

    If it is a parent class, return the policy as a `wanted`. Raise `InputError` for any other file, and for weights
    that are not finite.
    """
    content = load_torch(Path(path))
    names = ("policy", "hyperparameters", "state")
    if not isinstance(content, dict) or not content.keys() >= {*names}:
        raise InputError(f"{path}: is not a policy file of this project; expected a dict with {', '.join(names)}")
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
    except Exception as error:  # torch raises many classes for weights that do not fit
        raise InputError(f"{path}: is not a policy file of this project ({one_line(error)})") from error
    if not all(tensor.isfinite().all() for tensor in policy.state_dict().values()):
        raise InputError(f"{path}: the weights contain NaN or infinity")
    return policy


def class_name_of(policy: BasePolicy) -> str:
    """Return the name of a class in `plugins.POLICIES` that acts as the policy does, or else of its own class.

    So a program that does not know a subclass can read its policies, if the subclass changes only the training.
    """
    for parent in type(policy).__mro__:
        if parent.__name__ in POLICIES:
            return parent.__name__
        if ACTING & vars(parent).keys():
            break
    return type(policy).__name__


def find_class(name: Any, wanted: type[Policy]) -> type[Policy]:
    """Return the policy class of this name. If it is not in `plugins.POLICIES`, its module must have been imported.

    If it is a parent class of `wanted`, return `wanted`. Raise `InputError` if there is no such class, or if it is
    neither a subclass nor a parent class of `wanted`.
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
            f"contains a {name}, which is not known (known: {known}); first import the module that defines it"
        )
    if issubclass(wanted, found):  # saved as a parent class of `wanted`
        return wanted
    if not issubclass(found, wanted):
        raise InputError(f"contains a {name}, expected a {wanted.__name__}")
    return found


def with_current_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an old file, which does not name a head, with their current names."""

    def rename(name: str) -> str:
        old = next(filter(name.startswith, OLD_NAMES), "")
        return OLD_NAMES.get(old, "") + name[len(old) :]

    return {rename(name): tensor for name, tensor in state.items()}
