"""Policies of other programs in files of `torch.save`: the `state_dict` of any network of linear layers.

A `state_dict` holds names and tensors, but not how the layers are connected. The layers of the policy are found by
their names and shapes: those of critics are left out, and the others must form one chain from the observation to the
action. If several chains fit, or if something in the file has an unknown meaning, the file is refused.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from rl_il.envs import action_form, is_discrete
from rl_il.errors import InputError
from rl_il.files import load_torch, reading
from rl_il.plugins import ACTIVATIONS
from rl_il.policies.actors import NumpyActor

# Parts of names. Layers with the first are never the policy's; those with the second only if there are no others.
NOT_ACTING = re.compile(
    r"\w*critic\w*|\w*value\w*|\w*target\w*|v|vf|v\d|(fc|net|linear)_v|qf\d*|\w*log_?std\w*|\w*_std|std\w*|\w*sigma\w*"
)
VALUES = re.compile(r"q\d*|(\w+_)?q|q\d*_?net\w*")
# Parameters that a greedy action does not depend on: the action's standard deviation, and the weight of entropy.
NOT_NEEDED = re.compile(r"(.*[._])?(\w*log_?std\w*|std|sigma|log_alpha|log_ent_coef|target_entropy)")
SB3 = re.compile(r"mlp_extractor\.|actor\.(mu\.0|latent_pi)\b|q_net\.q_net\.")
BOUNDS = re.compile(r"(.*\.)?action_(scale|bias)")
STATISTICS = re.compile(
    r"(.*[._])?(obs?_rms|rms|running_(mean|var|std|mean_std)|(obs?|state)_(mean|var|std)|normali[sz]er)([._].*)?"
)
OPTIMISER = re.compile(r"\w*optim\w*", re.IGNORECASE)

Layers = dict[str, tuple[np.ndarray, np.ndarray]]


class Tensors(NamedTuple):
    """What a file holds."""

    layers: Layers  # each linear layer's weights `(in, out)` and bias `(out,)`
    others: dict[str, Any]  # everything else that has a meaning


def load_torch_file(
    path: Path, env: gym.Env, activation: str | None = None, no_normalizer: bool = False
) -> NumpyActor:
    """Return the policy in a file of `torch.save`, and print which of its layers were read.

    A policy of discrete actions takes the argmax of its outputs. Continuous actions are its outputs, or with
    CleanRL's `action_scale` and `action_bias` their tanh, scaled and shifted. Raise `InputError` for any other file.

    Args:
      path: the file.
      env: the environment, whose spaces the chain of layers must connect.
      activation: the activation between the layers, which the file does not name.
      no_normalizer: ignore statistics of observations that the file holds.
    """
    content = _load(path)
    with reading("state_dict"):
        tensors = _tensors(content)
    if any(SB3.match(name) for name in tensors.layers):
        raise InputError("is a part of a zip of Stable-Baselines3; give the zip, which says how the policy acts")
    names = _policy_layers(tensors.layers, env)
    _check_others(tensors, names, no_normalizer)
    layers = [tensors.layers[name] for name in names]
    if activation is None and len(layers) > 1:
        raise InputError(
            f"holds weights without the activation between their layers; give one of {', '.join(ACTIVATIONS)} with"
            " --expert_activation"
        )
    output = _output(tensors, names, env)
    _say(path, names, tensors, activation, output["output"])
    return NumpyActor(layers, activation or "tanh", ob_shape=env.observation_space.shape, **output)


def _load(path: Path) -> Any:
    """Return the file's content. Raise `InputError` with the way out if it holds more than tensors and plain data."""
    way_out = "no code in it was run. In the program that made it, save the weights alone: torch.save("
    way_out += "model.state_dict(), 'weights.pt')"
    with reading("file of torch.save"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                if any(name.endswith("/constants.pkl") for name in file.namelist()):
                    raise InputError(f"is a TorchScript program; {way_out}")
    try:
        return load_torch(path)
    except InputError as error:
        causes = [error, error.__cause__, getattr(error.__cause__, "__cause__", None)]
        named = re.search(r"GLOBAL ([\w.]+)", " ".join(map(str, causes)))
        if not named:
            raise
        raise InputError(f"holds an object of {named[1]}, whose code would run; {way_out}") from error


def _tensors(content: Any) -> Tensors:
    """Return the linear layers and everything else, by the names of their places, joined by points."""
    leaves = dict(_leaves(content))
    layers: Layers = {}
    for name, weight in leaves.items():
        if name.rpartition(".")[2] == "weight" and getattr(weight, "ndim", 0) == 2:
            layer = name[: -len(".weight")]
            bias = leaves.get(f"{layer}.bias")
            weight = weight.detach().float().numpy()
            bias = np.zeros(len(weight), np.float32) if bias is None else bias.detach().float().numpy()
            layers[layer] = weight.T, bias
    used = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    others = {name: leaf for name, leaf in leaves.items() if name not in used}
    return Tensors(
        layers, {name: leaf for name, leaf in others.items() if hasattr(leaf, "ndim") or STATISTICS.fullmatch(name)}
    )


def _leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each leaf of dicts and lists, except for those of optimisers."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else None
    if items is None:
        yield name, tree
        return
    for key, item in items:
        if not OPTIMISER.fullmatch(str(key)):
            yield from _leaves(item, f"{name}.{key}" if name else str(key))


def _policy_layers(layers: Layers, env: gym.Env) -> list[str]:
    """Return the names of the policy's layers, from input to output. Raise `InputError` unless one chain fits."""
    if not layers:
        raise InputError("holds no linear layers; demonstrations belong to --expert_data")
    discrete = is_discrete(env.action_space)
    n_obs = int(np.prod(env.observation_space.shape))
    form = action_form(env.action_space)
    n_acs = sum(form.choices) or form.ac_dim
    acting = [name for name in layers if not _has(NOT_ACTING, name)]
    acting = [name for name in acting if not _has(VALUES, name)] or (acting if discrete else [])
    if not discrete:
        critics = [group for group in _groups(acting) if _is_chain(layers, group, n_obs + n_acs, 1)]
        acting = [name for name in acting if not any(name in group for group in critics)]
    acting = _in_numeric_order(acting)
    fitting = [group for group in _groups(acting) if _is_chain(layers, group, n_obs, n_acs)]
    shapes = ", ".join(f"{name} {layers[name][0].shape[0]} to {layers[name][0].shape[1]}" for name in [*layers][:12])
    if not fitting:
        raise InputError(
            f"has no chain of linear layers from {n_obs} observed numbers to {n_acs} actions; its layers are {shapes}"
        )
    if len(fitting) > 1 or len(fitting[0]) < len(acting):
        chains = " or ".join(" - ".join(group) for group in fitting)
        rest = [name for name in acting if not any(name in group for group in fitting)]
        unknown = f"; the meaning of {', '.join(rest)} is unknown" if rest else ""
        raise InputError(
            f"does not say which of its layers act: {chains}{unknown}. Save only those of the policy:"
            " torch.save(model.actor.state_dict(), 'actor.pt')"
        )
    return fitting[0]


def _has(pattern: re.Pattern, name: str) -> bool:
    """Return whether a part of the name, between points, has the pattern."""
    return any(pattern.fullmatch(part.lower()) for part in name.split("."))


def _groups(names: list[str]) -> list[list[str]]:
    """Return the different groups of names with a common beginning; the first one is all of them."""
    prefixes = dict.fromkeys(["", *(name[: at.end()] for name in names for at in re.finditer(r"\.", name))])
    groups = [tuple(name for name in names if name.startswith(prefix)) for prefix in prefixes]
    return [list(group) for group in dict.fromkeys(groups) if group]


def _is_chain(layers: Layers, names: list[str], n_in: int, n_out: int) -> bool:
    """Return whether the layers lead from `n_in` numbers to `n_out`, each reading what the one before it gives."""
    shapes = [layers[name][0].shape for name in names]
    ends = [n_in, *(shape[1] for shape in shapes)]
    return all(shape[0] == size for shape, size in zip(shapes, ends, strict=False)) and ends[-1] == n_out


def _in_numeric_order(names: list[str]) -> list[str]:
    """Return the names. Those that differ only in the number at their end (fc1, fc2) are sorted by it."""
    stems = [name.rstrip("0123456789") for name in names]
    by_number = sorted(names, key=lambda name: int(name[len(name.rstrip("0123456789")) :] or -1))
    ordered = {stem: iter([name for name in by_number if name.rstrip("0123456789") == stem]) for stem in stems}
    return [next(ordered[stem]) for stem in stems]


def _check_others(tensors: Tensors, names: list[str], no_normalizer: bool) -> None:
    """Raise `InputError` if the file holds something that would change the action and that is not read."""
    statistics = [name for name in tensors.others if STATISTICS.fullmatch(name)]
    if statistics and not no_normalizer:
        raise InputError(
            f"holds statistics of observations ({', '.join(statistics[:4])}), which are not read; put them into the"
            " first layer's weights and bias, or give --no_normalizer if the policy acts on raw observations"
        )
    unknown = [
        name
        for name in tensors.others
        if name not in statistics
        and not (NOT_NEEDED.fullmatch(name) or BOUNDS.fullmatch(name))
        and not _has(NOT_ACTING, name.rpartition(".")[0])
        and not _beside_critics(name, tensors.layers, names)
    ]
    if unknown:
        raise InputError(
            f"holds {', '.join(unknown[:4])}, which are not linear layers; only networks of linear layers can be read"
        )


def _beside_critics(name: str, layers: Layers, names: list[str]) -> bool:
    """Return whether a tensor is in a part of the file that holds layers, and none of the policy's."""
    part = name.split(".")[0] + "."
    return any(each.startswith(part) for each in layers) and not any(each.startswith(part) for each in names)


def _output(tensors: Tensors, names: list[str], env: gym.Env) -> dict[str, Any]:
    """Return how the last layer's output becomes the action."""
    form = action_form(env.action_space)
    if form.discrete:
        return {"output": "argmax", "form": form}
    bounds = {name.rpartition("_")[2]: leaf for name, leaf in tensors.others.items() if BOUNDS.fullmatch(name)}
    if bounds.keys() == {"scale", "bias"}:
        scale, center = (bounds[key].detach().float().numpy().reshape(-1) for key in ("scale", "bias"))
        return {"output": "tanh", "action_scale": scale, "action_center": center, "form": form}
    spread = [name for name in tensors.layers if re.search(r"log_?std|sigma", name.lower()) and name not in names]
    if all(re.fullmatch(r"(actor\.)?l\d+", name.lower()) for name in names):
        raise InputError(
            f"names its layers {', '.join(names)} as TD3's reference code does, which ends in max_action * tanh; the"
            " file does not say that: add tensors action_scale and action_bias to it, or rename the layers"
        )
    if bounds or spread:
        raise InputError(
            f"has {', '.join([*bounds, *spread][:2])} but not both action_scale and action_bias, so it may squash its"
            " actions by tanh in a way that the file does not say; add these two tensors to it, as CleanRL does"
        )
    return {"output": "identity", "form": form}


def _say(path: Path, names: list[str], tensors: Tensors, activation: str | None, output: str) -> None:
    """Print what was read, what was not, and what the file cannot say."""
    left_out = [name for name in [*tensors.layers, *tensors.others] if name not in names]
    left_out = [name for name in left_out if output != "tanh" or not BOUNDS.fullmatch(name)]
    parts = [f"note: {path}: read {', '.join(names)}"]
    parts.append(f"{activation} between them" if len(names) > 1 else "")
    parts.append({"identity": "the last output is the action", "tanh": "tanh, scaled"}.get(output, output))
    parts.append(f"not read: {', '.join(left_out[:20])}{', ...' if left_out[20:] else ''}" if left_out else "")
    parts.append("it reads raw observations, since the file holds no normaliser (CleanRL's PPO saves none)")
    print("; ".join(filter(None, parts)), file=sys.stderr)
