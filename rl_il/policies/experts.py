"""Reading anything that can act: experts and policies, by name or by file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.datasets.npz import read_meta, read_npz
from rl_il.datasets.quoting import one_line
from rl_il.datasets.safe_pickle import load_pickle
from rl_il.envs import env_spec, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.policies.actors import NumpyActor, RandomActor, ScriptedActor
from rl_il.policies.car_driver import CarDriver
from rl_il.policies.sb3 import load_sb3
from rl_il.types import Actor

MOST_ACTION = 1e30  # what a file may say of an action's range; float32 holds it


def velocity_rule(obs: np.ndarray) -> np.ndarray:
    """MountainCar: push right (2) while the car moves right or stands, otherwise left (0)."""
    return np.where(obs[:, 1] >= 0, 2, 0)


def two_parabola_rule(obs: np.ndarray) -> np.ndarray:
    """MountainCar: push right (2) while the velocity lies between two curves over the position, else left (0).

    The curves are Zhiqing Xiao's (OpenAI Gym leaderboard, MountainCar-v0); faster than the
    velocity rule on average, but not in every episode.
    """
    position, velocity = obs[:, 0], obs[:, 1]
    lowest = np.minimum(-0.09 * (position + 0.25) ** 2 + 0.03, 0.3 * (position + 0.9) ** 4 - 0.008)
    highest = -0.07 * (position + 0.38) ** 2 + 0.07
    return np.where((lowest < velocity) & (velocity < highest), 2, 0)


SCRIPTED_EXPERTS: dict[str, tuple[str, Callable[[tuple[int, ...]], Actor]]] = {
    "velocity_rule": ("MountainCar-v0", partial(ScriptedActor, velocity_rule)),
    "two_parabola_rule": ("MountainCar-v0", partial(ScriptedActor, two_parabola_rule)),
    "car_driver": ("CarRacing-v3", CarDriver),
}
"""Experts written by hand: the environment each is for, and what makes it for an observation's shape."""


def load_expert(expert: str | None, env: gym.Env, activation: str | None = None) -> Actor:
    """The expert as `load_actor` reads it; None is the one shipped for the environment."""
    name = name_of(env)
    expert = expert or env_spec(name).expert_path
    if expert is None:
        raise InputError(f"no expert is shipped for {name}; give the file of one")
    return load_actor(expert, env, activation)


def load_actor(policy: str | Path, env: gym.Env, activation: str | None = None) -> Actor:
    """Anything that can act in `env`.

    Args:
      policy: `expert` (the shipped one), `random`, a scripted expert's name, a file whose suffix is in
        `FORMATS` (`hf:ORG/REPO/FILE` fetches it first), or a run folder (its latest policy).
      activation: the network's, where a Stable-Baselines3 zip names none that is known here.

    Raises:
      InputError: it is missing or broken, or was made for other observations or actions.
    """
    name = name_of(env)
    if policy == "expert":
        return load_expert(None, env)
    if policy == "random":
        return RandomActor(env)
    if policy in SCRIPTED_EXPERTS:
        own_env, make_expert = SCRIPTED_EXPERTS[str(policy)]
        if name != own_env:
            raise InputError(f"{policy} is for {own_env}, not for {name}")
        return make_expert(env.observation_space.shape)
    path = _fetch(str(policy)) if str(policy).startswith("hf:") else Path(policy)
    if os.path.isdir(path):
        path = latest_policy(path)
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file (nor one of the names expert, random, {', '.join(SCRIPTED_EXPERTS)})")
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: unknown policy format; expected {', '.join(FORMATS)} or a run folder")
    if activation and path.suffix != ".zip":
        raise InputError(f"{path}: names its own activation; --expert_activation is for Stable-Baselines3's .zip")
    try:
        actor = FORMATS[path.suffix](path, env, **({"activation": activation} if activation else {}))
        _check_fit(actor, env)
    except InputError as error:
        message = one_line(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    return actor


def _fetch(name: str) -> Path:
    """Downloads `hf:ORG/REPO/FILE` from the Hugging Face hub, or finds it in the hub's own cache."""
    parts = name.removeprefix("hf:").split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise InputError(
            f"{name}: must be hf:ORG/REPO/FILE, such as hf:sb3/ppo-LunarLander-v2/ppo-LunarLander-v2.zip"
        )
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(f"{name}: needs `pip install huggingface_hub`") from error
    try:
        return Path(huggingface_hub.hf_hub_download("/".join(parts[:2]), parts[2]))
    except Exception as error:  # of the hub, its HTTP library, or the disk
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name}: cannot be fetched ({first_line})") from error


def latest_policy(folder: Path) -> Path:
    """The policy of a run folder's last iteration."""
    policies = [path for path in folder.glob("policy_itr_*.pt") if path.stem.rsplit("_", 1)[1].isdigit()]
    if not policies:
        raise InputError(f"{folder}: holds no policy_itr_*.pt; is it a run folder?")
    return max(policies, key=lambda path: int(path.stem.rsplit("_", 1)[1]))


def _check_fit(actor: Actor, env: gym.Env) -> None:
    name, space = name_of(env), env.action_space
    if actor.ob_shape != env.observation_space.shape:
        raise InputError(
            f"was made for observations of shape {actor.ob_shape}, but {name} observes {env.observation_space.shape}"
        )
    if is_discrete(space):
        got, expected = (actor.n_outputs, actor.output == "argmax"), (int(space.n), True)
    else:
        got, expected = (actor.n_outputs, actor.output == "argmax"), (space.shape[0], False)
    if got != expected:
        kinds = {True: "discrete actions", False: "continuous action dimensions"}
        raise InputError(f"gives {got[0]} {kinds[got[1]]}, but {name} takes {expected[0]} {kinds[expected[1]]}")


def _load_checkpoint(path: Path, env: gym.Env) -> Actor:
    from rl_il.policies.cnn_policy import policy_class  # torch, which no other format needs

    return policy_class(env).load(path).actor()


def _load_npz(path: Path, env: gym.Env) -> NumpyActor:
    """Weights `w0, b0, w1, b1, ...` with the JSON string `meta`; experts/README.md has the layout."""
    arrays = read_npz(path)
    meta = read_meta(arrays)
    n_layers = sum(key[:1] == "w" and key[1:].isdigit() for key in arrays)
    missing = [key for i in range(max(n_layers, 1)) for key in (f"w{i}", f"b{i}") if key not in arrays]
    missing += [key for key in ("activation", "output") if key not in meta]
    if missing:
        raise InputError(f"is not an expert's file: it lacks {', '.join(missing)}")
    layers = [(arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(n_layers)]
    if any(array.dtype.kind != "f" or array.size == 0 for layer in layers for array in layer):
        raise InputError("weights must be floats, and some in each layer")
    settings = {key: _bounds(key, meta[key]) for key in ("action_scale", "action_low", "action_high") if key in meta}
    return NumpyActor(
        layers,
        meta["activation"],
        meta["output"],
        # An expert that reads a slice fits any observation that is long enough, others their own size only.
        ob_shape=env.observation_space.shape if "obs_slice" in meta else layers[0][0].shape[:1],
        obs_slice=_slice(meta.get("obs_slice")),
        obs_mean=arrays.get("obs_mean"),
        obs_std=arrays.get("obs_std"),
        **settings,
    )


def _bounds(name: str, value: Any) -> np.ndarray:
    """A number or a list of them, from JSON."""
    numbers = value if isinstance(value, list) else [value]
    if not all(type(number) in (int, float) and abs(number) <= MOST_ACTION for number in numbers):
        raise InputError(f"{name} must be a number or a list of them, up to {MOST_ACTION:g}")
    return np.array(value, np.float64)


def _slice(bounds: Any) -> slice:
    """`[start, stop]` of the observation's numbers that the network reads; None: all."""
    if bounds is None:
        return slice(None)
    if not (isinstance(bounds, list) and len(bounds) == 2 and all(isinstance(bound, int) for bound in bounds)):
        raise InputError(f"obs_slice must be two integers [start, stop], got {bounds}")
    return slice(*bounds)


def _load_course_pickle(path: Path, env: gym.Env) -> NumpyActor:
    """The course's MuJoCo experts, in double precision: (obs - mean) / (std + 1e-6), layers, the mean action."""
    tree = load_pickle(path)
    try:
        policy = tree["GaussianPolicy"]
        hidden = policy["hidden"]["FeedforwardNet"]
        names = sorted(hidden, key=lambda name: int(name.rsplit("_", 1)[1]))
        affine = [hidden[name]["AffineLayer"] for name in names] + [policy["out"]["AffineLayer"]]
        layers = [(_numbers(layer, "W"), _numbers(layer, "b").reshape(-1)) for layer in affine]
        statistics = policy["obsnorm"]["Standardizer"]
        mean = _numbers(statistics, "mean_1_D").reshape(-1)
        with np.errstate(all="ignore"):  # what overflows is refused as infinite
            variance = _numbers(statistics, "meansq_1_D").reshape(-1) - mean**2
        activation = {"tanh": "tanh", "lrelu": "leaky_relu"}[tree["nonlin_type"]]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            "is not an expert of the course: needed are nonlin_type ('tanh' or 'lrelu') and GaussianPolicy with"
            f" hidden, out and obsnorm (found: {type(error).__name__} {error}); is it a file of demonstrations?"
        ) from error
    std = np.sqrt(np.maximum(0, variance)) + 1e-6
    n_inputs, n_observed = len(mean), int(np.prod(env.observation_space.shape))
    if (n_inputs, n_observed) == (111, 27) and name_of(env).startswith("Ant-"):
        note = f"note: {path} takes 111 numbers, {name_of(env)} gives 27; the contact forces are padded with zeros"
        print(note, file=sys.stderr)
        layers[0] = _pad_with_zeros(*layers[0], mean, std, n_observed)
        mean, std = mean[:n_observed], std[:n_observed]
    return NumpyActor(layers, activation, "identity", mean.shape, obs_mean=mean, obs_std=std, dtype=np.float64)


def _numbers(owner: dict[str, Any], key: str) -> np.ndarray:
    """What is under the key, as an array. Not a list: NumPy would write out whatever lists it shares."""
    numbers = np.array(None if isinstance(owner[key], (list, tuple)) else owner[key])
    if numbers.size == 0:
        raise ValueError(f"{key} is empty")
    return numbers


def _pad_with_zeros(w: np.ndarray, b: np.ndarray, mean: np.ndarray, std: np.ndarray, n: int):
    """The first layer for `n` numbers that acts as if zeros followed them: they add a constant to the bias."""
    if w.ndim != 2 or len(w) != len(mean):
        raise InputError(f"layer 0 has weights of shape {w.shape}, but obsnorm has {len(mean)} numbers")
    return w[:n], b + (-mean[n:] / std[n:]) @ w[n:]


# A new format is a function of the path and the environment, and its suffix here.
FORMATS: dict[str, Callable[..., Actor]] = {
    ".npz": _load_npz,
    ".pt": _load_checkpoint,
    ".pkl": _load_course_pickle,
    ".zip": load_sb3,
}
