"""A policy as a file: its weights, and its constructor's arguments. No code in a file is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from rl_il.datasets.quoting import one_line
from rl_il.errors import InputError
from rl_il.files import atomic_write
from rl_il.infrastructure.torch_file import read_torch

if TYPE_CHECKING:
    from rl_il.policies.mlp_policy import MLPPolicy

MOST_UNCHECKED = 10_000_000  # weights that a network may have before they are compared with the file's
Policy = TypeVar("Policy", bound="MLPPolicy")


def write_policy(path: str | Path, class_name: str, policy: MLPPolicy) -> None:
    """Writes the policy, atomically, as one that the class of this name reads."""
    state = {name: tensor.cpu() for name, tensor in policy.state_dict().items()}
    content = {"policy": class_name, "hyperparameters": policy.hyperparameters(), "state": state}
    with atomic_write(Path(path)) as file:
        torch.save(content, file)


def read_policy(path: str | Path, policy_class: type[Policy], device: torch.device | str) -> Policy:
    """Reads what `write_policy` wrote for this class or one of its parents.

    Raises `InputError` for any other file, and for weights that are not finite.
    """
    try:
        content = read_torch(Path(path))
        if not isinstance(content, dict):
            raise InputError(f"is not a checkpoint of this project (holds a {type(content).__name__})")
        name, hyperparameters = content["policy"], content["hyperparameters"]
        if name not in [parent.__name__ for parent in policy_class.__mro__]:
            raise InputError(f"holds a {str(name)[:100]}, expected a {policy_class.__name__}")
        state = {key: torch.from_numpy(array) for key, array in content["state"].items()}
        _check_size(hyperparameters, policy_class, sum(map(torch.numel, state.values())), len(state))
        policy = policy_class(**hyperparameters, device=device)
        policy.load_state_dict(state)
    except InputError as error:
        raise InputError(f"{path}: {one_line(error)}") from error
    except LookupError as error:
        raise InputError(f"{path}: is not a checkpoint of this project (lacks or misnames {error})") from error
    except OSError as error:
        raise InputError(f"{path}: is not a readable checkpoint ({_first_line(error)})") from error
    except Exception as error:  # torch raises anything on weights that do not fit; none means more
        raise InputError(f"{path}: is not a checkpoint of this project ({_first_line(error)})") from error
    if not all(tensor.isfinite().all() for tensor in policy.state_dict().values()):
        raise InputError(f"{path}: the weights hold NaN or infinity")
    return policy


def _check_size(hyperparameters: dict[str, Any], policy: type[Policy], n_numbers: int, n_tensors: int) -> None:
    """Raises `ValueError` for hyperparameters of a network much larger than the weights beside them, which would fill
    the memory before anything is compared."""
    sizes = [hyperparameters.get(name, default) for name, default in (("n_layers", 2), ("size", 64), ("ac_dim", 1))]
    shape = hyperparameters["ob_shape"]
    if not all(type(n) is int and 0 <= n <= MOST_UNCHECKED for n in [*sizes, *shape]) or len(shape) > 17:
        raise ValueError(f"the network's sizes must be integers up to {MOST_UNCHECKED:,}")
    n_layers, size, ac_dim = sizes
    weights = policy.count_features(hyperparameters) * size + max(n_layers - 1, 0) * size**2 + size * ac_dim
    if n_layers > n_tensors or weights > max(2 * n_numbers, MOST_UNCHECKED):
        raise ValueError(f"describes a network of {n_layers} layers and {weights:,} weights, but holds {n_numbers:,}")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0]
