"""Policies of Stable-Baselines3, read from their zip without that library and without running code in it.

`policy.pth` holds plain tensors, whose names and shapes show the algorithm and the network. From the JSON in `data`,
only the activation's name is read. If the observations were normalised, `vecnormalize.pkl` next to the zip is read
with `load_pickle`.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.pickles import load_pickle
from rl_il.envs import is_discrete, name_of
from rl_il.errors import InputError
from rl_il.files import load_torch, reading
from rl_il.plugins import ACTIVATIONS
from rl_il.policies.actors import NumpyActor

# Algorithms, prefix of the hidden layers, prefix of the output layer (None: it is the last of the hidden ones), and
# default activation. The first row whose output layer a file has is the file's.
LAYOUTS = (
    ("PPO or A2C", "mlp_extractor.policy_net", "action_net", "tanh"),
    ("DQN", "q_net.q_net", None, "relu"),
    ("SAC or TQC", "actor.latent_pi", "actor.mu", "relu"),
    ("TD3 or DDPG", "actor.mu", None, "relu"),
)
TORCH_NAMES = {path.rpartition(":")[2]: name for name, (path, _) in ACTIVATIONS.items()}
NORMALISER_MODULES = (
    "stable_baselines3.common.vec_env.vec_normalize",
    "stable_baselines3.common.running_mean_std",
    *(f"{gym}.spaces.{space}" for gym in ("gymnasium", "gym") for space in ("box", "discrete", "space")),
    "numpy.random._pickle",
    "numpy.random._pcg64",
    "numpy.random._mt19937",
    "numpy.random.bit_generator",
)

Layers = list[tuple[np.ndarray, np.ndarray]]


def load_sb3(path: Path, env: gym.Env, activation: str | None = None) -> NumpyActor:
    """Return the policy as it acts with `deterministic=True`. Raise `InputError` for any other file or network.

    For discrete actions of PPO and A2C the library takes the argmax of the probabilities, and this project that of
    the logits. The two differ only where rounding makes two probabilities equal.

    Args:
      path: the zip that `model.save` wrote, for PPO, A2C, DQN, SAC, TQC, TD3 or DDPG with an MLP policy. A
        `vecnormalize.pkl` next to it, or in a folder there with the environment's name, is read too.
      env: the environment, whose action space bounds the actions as in training.
      activation: the activation to use instead of the file's. It is needed if the file names an unknown one.
    """
    tensors, data = _read_zip(path)
    algorithm, layers, default = _find_layers(tensors)
    return NumpyActor(
        layers,
        activation or _find_activation(data, default),
        ob_shape=layers[0][0].shape[:1],
        **_find_output(algorithm, env),
        **_find_normaliser(path, env),
    )


def _find_output(algorithm: str, env: gym.Env) -> dict[str, Any]:
    """Return how the network's output becomes an action. Raise `InputError` for an algorithm for other actions."""
    space, discrete = env.action_space, is_discrete(env.action_space)
    if algorithm != "PPO or A2C" and discrete != (algorithm == "DQN"):
        kinds = ("continuous", "discrete") if discrete else ("discrete", "continuous")
        raise InputError(
            f"is a {algorithm} policy, whose actions are {kinds[0]}, but {name_of(env)}'s are {kinds[1]}"
        )
    if discrete:
        return {"output": "argmax"}
    if algorithm == "PPO or A2C":
        return {"output": "clip", "action_low": space.low, "action_high": space.high}
    scale, center = (space.high - space.low) / 2, (space.high + space.low) / 2
    return {"output": "tanh", "action_scale": scale, "action_center": center}


def _read_zip(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors of `policy.pth` as arrays, and the JSON object `data`."""
    with reading("zip of Stable-Baselines3"), zipfile.ZipFile(path) as file:
        weights = load_torch(io.BytesIO(file.read("policy.pth")))
        tensors = {str(name): tensor.detach().float().numpy() for name, tensor in weights.items()}
        data = json.loads(file.read("data"))
    return tensors, data if isinstance(data, dict) else {}


def _find_layers(tensors: dict[str, np.ndarray]) -> tuple[str, Layers, str]:
    """Return the algorithm, the layers from input to output, and the default activation, from the tensors' names."""
    if any(re.match(r"(pi_)?features_extractor\.|actor\.features_extractor\.", name) for name in tensors):
        raise InputError("has a feature extractor, as image policies have; only MLP policies can be read")
    if "actor.mu.0.weight" in tensors and "actor.latent_pi.0.weight" in tensors:
        raise InputError("was trained with use_sde and clips its mean; such policies cannot be read")
    for algorithm, hidden, output, activation in LAYOUTS:
        # The linear layers of a torch `Sequential` are `hidden.0`, `hidden.2`, ...
        matches = [re.fullmatch(rf"{re.escape(hidden)}\.(\d+)\.weight", name) for name in tensors]
        layers = [_layer(tensors, f"{hidden}.{n}") for n in sorted(int(match[1]) for match in matches if match)]
        if output and f"{output}.weight" in tensors:
            return algorithm, [*layers, _layer(tensors, output)], activation
        if output is None and layers:
            return algorithm, layers, activation
    raise InputError(f"holds no known policy network; its tensors are {', '.join(sorted(tensors)[:5])}, ...")


def _layer(tensors: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
    if bias is None or weight.size == 0:
        raise InputError(f"{name} must have weights and a bias")
    return weight.T, bias


def _find_activation(data: dict[str, Any], default: str) -> str:
    """Return the activation that `policy_kwargs` names, or the algorithm's default."""
    settings = data.get("policy_kwargs")
    named = settings.get("activation_fn") if isinstance(settings, dict) else None
    if named is None:
        return default
    match = re.search(r"torch\.nn\.modules\.activation\.(\w+)", str(named))
    if not match or match[1] not in TORCH_NAMES:
        raise InputError(f"has the activation {named}; give one of {', '.join(ACTIVATIONS)} with --expert_activation")
    return TORCH_NAMES[match[1]]


def _find_normaliser(path: Path, env: gym.Env) -> dict[str, Any]:
    """Return how `VecNormalize` changed the observations, if its file is found."""
    places = (path.with_name("vecnormalize.pkl"), path.parent / name_of(env) / "vecnormalize.pkl")
    found = next((place for place in places if os.path.isfile(place)), None)
    if found is None:
        return {}
    try:
        state = load_pickle(found, NORMALISER_MODULES)
        if not state.get("norm_obs", True):
            return {}
        mean, variance = (np.array(state["obs_rms"][key], np.float64) for key in ("mean", "var"))
        epsilon, clip = float(state["epsilon"]), float(state["clip_obs"])
        if not (clip > 0 and np.all(variance + epsilon > 0)):
            raise InputError("must have variances and a clip_obs above 0")
    except InputError as error:
        raise InputError(f"{found.name} next to it {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        needed = "obs_rms with mean and var, epsilon, clip_obs"
        raise InputError(f"{found.name} next to it needs {needed} ({type(error).__name__} {error})") from error
    return {"obs_mean": mean, "obs_std": np.sqrt(variance + epsilon), "obs_clip": clip}
