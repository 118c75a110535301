"""Policy files: the class, the head, the constructor's arguments and the weights. No code in a file is run."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from rl_il.errors import InputError
from rl_il.files import atomic_write, load_torch, one_line
from rl_il.plugins import POLICIES, is_own, load, load_own
from rl_il.policies.base_policy import OPTIONS, BasePolicy

OLD_NAMES = {
    "network.": "head.network.",
    "log_std": "head.log_std",
    "ob_mean": "encoder.ob_mean",
    "ob_std": "encoder.ob_std",
    "convolutions.": "encoder.convolutions.",
}
"""The beginnings of the names of weights in old files, which do not name a head, and the current ones."""

ACTING = {"__init__", "build_encoder", "build_network", "forward", "get_action", "view", "stack", "actor", "reset"}
ACTING |= {"hyperparameters", "to_labels"}
"""The methods that a subclass overrides if it acts, or is constructed, in another way than its parent class."""

Policy = TypeVar("Policy", bound=BasePolicy)


def write_policy(path: str | Path, policy: BasePolicy) -> None:
    """Write the policy to a file, atomically. Raise `InputError` if the file could not be read again."""
    _check_hyperparameters(policy)
    state = {name: tensor.cpu() for name, tensor in policy.state_dict().items()}
    content = {
        "policy": class_name_of(policy),
        "head": policy.head_name,
        "hyperparameters": policy.hyperparameters(),
        "state": state,
    }
    with atomic_write(Path(path)) as file:
        torch.save(content, file)


def _check_hyperparameters(policy: BasePolicy) -> None:
    """Raise `InputError` if `hyperparameters` lacks an argument of the constructor, which would get its default."""
    parameters = inspect.signature(type(policy).__init__).parameters.values()
    named = {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
    optional = {
        "self",
        "device",
        "head",
        "ac_start",
        "ac_shape",
        "modes",
        "flow_steps",
        "history",
        "chunk",
        "execute",
    }
    lacking = named - optional - OPTIONS.keys() - policy.hyperparameters().keys()
    if lacking:
        raise InputError(
            f"{type(policy).__name__}.hyperparameters must also return {', '.join(sorted(lacking))}: a file of the"
            " policy could not be read without it"
        )


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

    So a program that does not know a subclass can read its policies, if the subclass changes only the training. The
    name of its own class is `module:Name`, or only `Name` if no import finds it: in a notebook or a running script.
    """
    for parent in type(policy).__mro__:
        if POLICIES.get(parent.__name__) == f"{parent.__module__}:{parent.__qualname__}":
            return parent.__name__
        if ACTING & vars(parent).keys():
            break
    return _own_name(type(policy))


def _own_name(policy_class: type[BasePolicy]) -> str:
    """Return the name `module:Name` of a class, or `Name` if it is in `__main__` or inside a function or class."""
    name = f"{policy_class.__module__}:{policy_class.__qualname__}"
    return name if is_own(name) and policy_class.__module__ != "__main__" else policy_class.__name__


def find_class(name: Any, wanted: type[Policy]) -> type[Policy]:
    """Return the policy class of this name, which a file holds.

    The name is one of `plugins.POLICIES`, or `module:Name`, whose module is imported if it is installed or in the
    working folder, or the name of a class of this process. If it is a parent class of `wanted`, return `wanted`.
    Raise `InputError` if there is no such class, or if it is neither a subclass nor a parent class of `wanted`.
    """
    name = str(name)[:200]
    if name == _own_name(wanted):
        return wanted
    found = _imported_class(name)
    if issubclass(wanted, found):  # saved as a parent class of `wanted`
        return wanted
    if not issubclass(found, wanted):
        raise InputError(f"contains a {name}, expected a {wanted.__name__}")
    return found


def _imported_class(name: str) -> type[BasePolicy]:
    """Return the policy class of this name. Raise `InputError` if there is none."""
    if is_own(name):
        try:
            found = load_own(name)
        except InputError as error:
            raise InputError(f"contains a policy of the class {name}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, BasePolicy)):
            raise InputError(
                f"contains a policy of the class {name}, which is not a subclass of {BasePolicy.__name__}"
            )
        return found
    if name in POLICIES:
        return load(POLICIES[name])
    if name not in BasePolicy.classes:
        known = ", ".join({**POLICIES, **BasePolicy.classes})
        raise InputError(
            f"contains a {name}, which is not known (known: {known}). If it is the class of a notebook or script, put"
            f" it into a module, train with --policy_class my_net:{name}, and run the command in the module's folder"
        )
    return BasePolicy.classes[name]


def with_current_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of an old file, which does not name a head, with their current names."""

    def rename(name: str) -> str:
        old = next(filter(name.startswith, OLD_NAMES), "")
        return OLD_NAMES.get(old, "") + name[len(old) :]

    return {rename(name): tensor for name, tensor in state.items()}
