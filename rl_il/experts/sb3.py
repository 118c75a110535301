"""Policies of Stable-Baselines3, read from their zip without that library and without running code in it.

`policy.pth` holds plain tensors, whose names and shapes show the algorithm and the network. From the JSON in `data`,
the spaces and the settings of the policy are read. `normaliser.py` finds how the observations were normalised.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.envs import action_form, is_discrete, name_of
from rl_il.envs.fitting import original_space
from rl_il.errors import InputError
from rl_il.experts.normaliser import find_normaliser
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
# What a name of a tensor says about a policy that cannot be read, and why.
REFUSED = (
    (r"lstm_actor\.", "is a recurrent policy (RecurrentPPO), whose action depends on earlier observations"),
    (
        r"mlp_extractor\.shared_net\.",
        "has layers that the policy and its value network share (shared_net, which old"
        " versions of Stable-Baselines3 made); train it again with a current version",
    ),
    (r"quantile_net\.", "is a QR-DQN policy, whose outputs are quantiles of returns, not values of actions"),
    (r"action_net\.\d+\.", "is an ARS policy, whose file does not say whether its actions are squashed"),
    (
        r"((pi_)?|actor\.)features_extractor\.",
        "has a feature extractor, as image policies have; only MLP policies can be read",
    ),
)

Layers = list[tuple[np.ndarray, np.ndarray]]


def load_sb3(path: Path, env: gym.Env, activation: str | None = None, no_normalizer: bool = False) -> NumpyActor:
    """Return the policy as it acts with `deterministic=True`. Raise `InputError` for any other file or network.

    For discrete actions of PPO and A2C the library takes the argmax of the probabilities, and this project that of
    the logits. The two differ only where rounding makes two probabilities equal.

    Args:
      path: the zip that `model.save` wrote, for PPO, A2C, DQN, SAC, TQC, TD3 or DDPG with an MLP policy. Its
        normaliser is found by `find_normaliser`.
      env: the environment, whose spaces must be the policy's. Its action space bounds the actions as in training.
      activation: the activation to use instead of the file's. It is needed if the file names an unknown one.
      no_normalizer: do not normalise the observations, and do not look for a normaliser.
    """
    tensors, data = _read_zip(path)
    _check_spaces(data, env)
    scales = _standardisation(tensors)
    algorithm, layers, default = _find_layers(tensors, data)
    return NumpyActor(
        layers,
        activation or _find_activation(data, default),
        ob_shape=layers[0][0].shape[:1],
        **_find_output(algorithm, data, env),
        **(scales or ({} if no_normalizer else find_normaliser(path, name_of(env)))),
    )


def _check_spaces(data: dict[str, Any], env: gym.Env) -> None:
    """Raise `InputError` if the policy was trained in other spaces than the environment's.

    The library makes integers that are observed one-hot, as `FlattenObservation` does.
    """
    acting = ("action_space", "acts in", "needs", env.action_space)
    observing = ("observation_space", "observes", "gives", original_space(env))
    for key, does, needs, space in (acting, observing):
        got, expected = _space_in(data.get(key)), _describe(space)
        if got and got != expected:
            raise InputError(f"it {does} {got}, {name_of(env)} {needs} {expected}")
    if original_space(env).dtype == np.uint8 and len(original_space(env).shape or ()) == 3:
        raise InputError(f"it observes pictures, which the library divides by 255; {name_of(env)} flattens them")


def _space_in(data: Any) -> str:
    """Return the space in the zip's JSON as `_describe` does; an empty string if it is not there."""
    kind = re.search(r"spaces\.(?:\w+\.)*(\w+)'", str(data.get(":type:"))) if isinstance(data, dict) else None
    if not kind:
        return ""
    if kind[1] == "Discrete":
        return f"Discrete({data.get('n')})"
    shape = data.get("nvec") if kind[1] == "MultiDiscrete" else data.get("_shape", data.get("shape"))
    sizes = re.findall(r"\d+", str(shape))
    return f"{kind[1]}({', '.join(sizes)})" if kind[1] in ("Box", "MultiDiscrete") else kind[1]


def _describe(space: gym.Space) -> str:
    """Return the kind and the size of a space: Discrete(4), Box(2), Box(96, 96), MultiDiscrete(3, 2), MultiBinary."""
    if isinstance(space, gym.spaces.Discrete):
        return f"Discrete({space.n})"
    if isinstance(space, gym.spaces.MultiDiscrete):
        return f"MultiDiscrete({', '.join(map(str, space.nvec.ravel()))})"
    kind = type(space).__name__
    return f"Box({', '.join(map(str, space.shape))})" if kind == "Box" else kind


def _find_output(algorithm: str, data: dict[str, Any], env: gym.Env) -> dict[str, Any]:
    """Return how the network's output becomes an action. Raise `InputError` for an algorithm for other actions."""
    space, discrete = env.action_space, is_discrete(env.action_space)
    if algorithm != "PPO or A2C" and discrete != (algorithm == "DQN"):
        kinds = ("continuous", "discrete") if discrete else ("discrete", "continuous")
        raise InputError(
            f"is a {algorithm} policy, whose actions are {kinds[0]}, but {name_of(env)}'s are {kinds[1]}"
        )
    if isinstance(space, gym.spaces.MultiBinary):
        raise InputError(f"acts in MultiBinary, as {name_of(env)} does; such policies of the library cannot be read")
    form = action_form(space)
    if discrete:
        return {"output": "argmax", "form": form}
    if algorithm == "PPO or A2C" and not _settings(data).get("squash_output"):
        return {"output": "clip", "action_low": space.low.ravel(), "action_high": space.high.ravel(), "form": form}
    scale, center = (space.high - space.low).ravel() / 2, (space.high + space.low).ravel() / 2
    return {"output": "tanh", "action_scale": scale, "action_center": center, "form": form}


def _settings(data: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the policy's class, as far as they are plain."""
    settings = data.get("policy_kwargs")
    return settings if isinstance(settings, dict) else {}


def _read_zip(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the tensors of `policy.pth` as arrays, and the JSON object `data`."""
    with reading("zip of Stable-Baselines3"), zipfile.ZipFile(path) as file:
        weights = load_torch(io.BytesIO(file.read("policy.pth")))
        tensors = {str(name): tensor.detach().float().numpy() for name, tensor in weights.items()}
        data = json.loads(file.read("data"))
    return tensors, data if isinstance(data, dict) else {}


def _standardisation(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Remove the tensors of `policies.standardise_sb3.Standardise`, and return the actor's arguments for them."""
    found = {}
    for name in [name for name in tensors if re.search(r"features_extractor\.ob_(mean|std)$", name)]:
        found["obs_" + name.rpartition("_")[2]] = tensors.pop(name)
    return found


def _find_layers(tensors: dict[str, np.ndarray], data: dict[str, Any]) -> tuple[str, Layers, str]:
    """Return the algorithm, the layers from input to output, and the default activation, from the tensors' names."""
    for pattern, reason in REFUSED:
        if any(re.match(pattern, name) for name in tensors):
            raise InputError(reason)
    if "maskable" in str(data.get("policy_class")):
        raise InputError("is a MaskablePPO policy, which acts only with the masks of its own environment")
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
    named = _settings(data).get("activation_fn")
    if named is None:
        return default
    match = re.search(r"torch\.nn\.modules\.activation\.(\w+)", str(named))
    if not match or match[1] not in TORCH_NAMES:
        raise InputError(f"has the activation {named}; give one of {', '.join(ACTIVATIONS)} with --expert_activation")
    return TORCH_NAMES[match[1]]
