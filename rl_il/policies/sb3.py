"""Policies of Stable-Baselines3, read from their zip without that library and without unpickling.

`policy.pth` holds plain tensors, whose names and shapes tell the algorithm and the network; `data` is JSON,
of which the activation's name is read and nothing else. If the observations were normalised, the
`vecnormalize.pkl` beside the zip is read through the allow-list.
"""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.archive import open_archive, read_member
from rl_il.datasets.quoting import one_line
from rl_il.datasets.safe_pickle import load_pickle
from rl_il.envs import is_discrete, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.torch_file import read_torch
from rl_il.policies.actors import ACTIVATIONS, NumpyActor

# Algorithms, hidden layers' prefix, output layer's prefix (None: the last hidden one), default activation.
# A file is of the first row whose output layer it has.
LAYOUTS = (
    ("PPO or A2C", "mlp_extractor.policy_net", "action_net", "tanh"),
    ("DQN", "q_net.q_net", None, "relu"),
    ("SAC or TQC", "actor.latent_pi", "actor.mu", "relu"),
    ("TD3 or DDPG", "actor.mu", None, "relu"),
)
TORCH_NAMES = {"Tanh": "tanh", "ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "Sigmoid": "sigmoid"}
NORMALISER_MODULES = (
    "stable_baselines3.common.vec_env.vec_normalize",
    "stable_baselines3.common.running_mean_std",
    *(f"{gym}.spaces.{space}" for gym in ("gymnasium", "gym") for space in ("box", "discrete", "space")),
    "numpy.random._pickle",
    "numpy.random._pcg64",
    "numpy.random._mt19937",
    "numpy.random.bit_generator",
)
MOST_JSON = 16_000_000  # bytes

Layers = list[tuple[np.ndarray, np.ndarray]]


def load_sb3(path: Path, env: gym.Env, activation: str | None = None) -> NumpyActor:
    """The policy as it acts with `deterministic=True`.

    Args:
      path: the zip that `model.save` wrote, of PPO, A2C, DQN, SAC, TQC, TD3 or DDPG with an MLP policy. A
        `vecnormalize.pkl` beside it, or in a folder of the environment's name there, is used.
      env: its action space bounds the actions, as it did in training.
      activation: overrides what the file says; needed if the file names an unknown one.

    Raises:
      InputError: not such a zip, or a network of another kind.
    """
    tensors, data = _read_zip(path)
    algorithm, layers, default = _find_layers(tensors)
    space = env.action_space
    head: dict[str, Any] = {"output": "argmax"}
    if not is_discrete(space):
        low, high = space.low, space.high
        if algorithm == "PPO or A2C":
            head = {"output": "clip", "action_low": low, "action_high": high}
        else:
            head = {"output": "tanh", "action_scale": (high - low) / 2, "action_center": (high + low) / 2}
    if (algorithm == "DQN") > is_discrete(space):
        raise InputError(f"is a DQN policy, whose actions are discrete, but {name_of(env)}'s are continuous")
    if (algorithm in ("SAC or TQC", "TD3 or DDPG")) > (not is_discrete(space)):
        raise InputError(f"is a {algorithm} policy, whose actions are continuous, but {name_of(env)}'s are discrete")
    return NumpyActor(
        layers,
        activation or _find_activation(data, default),
        ob_shape=layers[0][0].shape[:1],
        **head,
        **_find_normaliser(path, env),
    )


def _read_zip(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of `policy.pth` as arrays, and the JSON object `data`."""
    try:
        with open_archive(path) as file:
            weights = read_torch(io.BytesIO(read_member(file, "policy.pth")))
            data = json.loads(read_member(file, "data", MOST_JSON))
        tensors = {str(name): _array(str(name), tensor) for name, tensor in weights.items()}
    except Exception as error:  # a damaged archive raises anything; none means more than this
        raise InputError(f"is not a zip of Stable-Baselines3 ({one_line(error)[:200]})") from error
    return tensors, data if isinstance(data, dict) else {}


def _array(name: str, value: Any) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise InputError(f"{name[:100]} must be an array, got a {type(value).__name__}")
    return value


def _find_layers(tensors: dict[str, np.ndarray]) -> tuple[str, Layers, str]:
    """(algorithm, layers from input to output, default activation) by the tensors' names."""
    if any(re.match(r"(pi_)?features_extractor\.|actor\.features_extractor\.", name) for name in tensors):
        raise InputError("has a feature extractor, as image policies do; only MLP policies can be read")
    if "actor.mu.0.weight" in tensors and "actor.latent_pi.0.weight" in tensors:
        raise InputError("was trained with use_sde and clips its mean; such policies cannot be read")
    for algorithm, hidden, output, activation in LAYOUTS:
        layers = _numbered_layers(tensors, hidden)
        if output and f"{output}.weight" in tensors:
            return algorithm, [*layers, _layer(tensors, output)], activation
        if output is None and layers:
            return algorithm, layers, activation
    raise InputError(f"holds no policy network that is known; it holds {', '.join(sorted(tensors)[:5])}, ...")


def _numbered_layers(tensors: dict[str, np.ndarray], prefix: str) -> Layers:
    """`prefix.0`, `prefix.2`, ...: the linear layers of a torch `Sequential`."""
    numbers = [re.fullmatch(rf"{re.escape(prefix)}\.(\d+)\.weight", name) for name in tensors]
    return [_layer(tensors, f"{prefix}.{n}") for n in sorted(int(match[1]) for match in numbers if match)]


def _layer(tensors: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    if f"{name}.bias" not in tensors:
        raise InputError(f"has the weights of {name} but no bias")
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if weight.size == 0:
        raise InputError(f"has no weights in {name}")
    return weight.T, bias


def _find_activation(data: dict[str, Any], default: str) -> str:
    """The activation that `policy_kwargs` names, or the algorithm's own."""
    settings = data.get("policy_kwargs")
    named = settings.get("activation_fn") if isinstance(settings, dict) else None
    if named is None:
        return default
    match = re.search(r"torch\.nn\.modules\.activation\.(\w+)", str(named))
    if not match or match[1] not in TORCH_NAMES:
        raise InputError(
            f"has the activation {named}; give the nearest of {', '.join(ACTIVATIONS)} by --expert_activation"
        )
    return TORCH_NAMES[match[1]]


def _find_normaliser(path: Path, env: gym.Env) -> dict[str, Any]:
    """What `VecNormalize` did to the observations, if its file lies beside the zip."""
    places = (path.with_name("vecnormalize.pkl"), path.parent / name_of(env) / "vecnormalize.pkl")
    found = next((place for place in places if os.path.isfile(place)), None)
    if found is None:
        return {}
    try:
        state = load_pickle(found, NORMALISER_MODULES)
        if not state.get("norm_obs", True):
            return {}
        mean, variance = (_array(key, state["obs_rms"][key]) for key in ("mean", "var"))
        epsilon, clip = float(state["epsilon"]), float(state["clip_obs"])
        if not (clip > 0 and np.all(variance + epsilon > 0)):
            raise InputError("must have variances and a clip_obs above 0")
    except InputError as error:
        raise InputError(f"{found.name} beside it {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{found.name} beside it is not a saved VecNormalize: needed are obs_rms with mean and var, epsilon and"
            f" clip_obs (found: {type(error).__name__} {error})"
        ) from error
    return {"obs_mean": mean, "obs_std": np.sqrt(variance + epsilon), "obs_clip": clip}
