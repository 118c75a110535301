"""Loading of actors: experts and policies, by name or from a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np

from rl_il.envs import env_spec, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.experts.car_driver import CarDriver
from rl_il.experts.course import load_course_expert
from rl_il.experts.sb3 import load_sb3
from rl_il.experts.weights import load_weights
from rl_il.files import named_run, one_line
from rl_il.policies.actors import RandomActor, ScriptedActor
from rl_il.types import Actor


def velocity_rule(obs: np.ndarray) -> np.ndarray:
    """Return MountainCar's actions: push right (2) while the car moves right or stands, otherwise left (0)."""
    return np.where(obs[:, 1] >= 0, 2, 0)


def two_parabola_rule(obs: np.ndarray) -> np.ndarray:
    """Return MountainCar's actions: right (2) while the velocity is between two functions of the position, else 0.

    The functions are Zhiqing Xiao's (OpenAI Gym leaderboard, MountainCar-v0). The rule is faster than the velocity
    rule on average, but not in every episode.
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
"""Each name's environment, and a function that makes the expert for the shape of an observation."""


def _load_policy(path: Path, env: gym.Env) -> Actor:
    from rl_il.policies.policy_file import load_policy  # imports torch, which of the formats only .pt and .zip need

    return load_policy(path).actor()


FORMATS: dict[str, Callable[..., Actor]] = {
    ".npz": load_weights,
    ".pt": _load_policy,
    ".pkl": load_course_expert,
    ".zip": load_sb3,
}
"""The suffix and the loader of each file format. A new one is a function of the path and the environment."""


def load_expert(expert: str | None, env: gym.Env, activation: str | None = None) -> Actor:
    """Return the expert, loaded by `load_actor`. None takes the one that is shipped for the environment."""
    name = name_of(env)
    expert = expert or env_spec(name).expert_path
    if expert is None:
        raise InputError(f"no expert is shipped for {name}; give one with --expert_policy_file or --policy")
    return load_actor(expert, env, activation)


def load_actor(policy: str | Path, env: gym.Env, activation: str | None = None) -> Actor:
    """Return the actor of this name or file. Raise `InputError` if it is missing or damaged, or does not fit `env`.

    Args:
      policy: `expert` (the shipped one), `random`, a scripted expert's name, a file whose suffix is in
        `FORMATS` (`hf:ORG/REPO/FILE` fetches it first), a run folder (its latest policy), or `latest`, the newest
        run folder.
      activation: the network's, where a Stable-Baselines3 zip names none that is known here.
    """
    name = name_of(env)
    if policy == "expert":
        return load_expert(None, env)
    if policy == "random":
        return RandomActor(env)
    if policy in SCRIPTED_EXPERTS:
        own_env, make_expert = SCRIPTED_EXPERTS[str(policy)]
        if name != own_env:
            raise InputError(f"{policy} is an expert for {own_env}, not for {name}")
        return make_expert(env.observation_space.shape)
    path = find_file(policy)
    if activation and path.suffix != ".zip":
        raise InputError(f"{path}: names its own activation; drop --expert_activation, which is for .zip files")
    try:
        with np.errstate(all="ignore"):  # numbers that are not finite are refused
            actor = FORMATS[path.suffix](path, env, **({"activation": activation} if activation else {}))
        _check_fit(actor, env)
    except InputError as error:
        message = one_line(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    return actor


def find_file(policy: str | Path) -> Path:
    """Return the file that `policy` names: itself, one of the Hugging Face hub, or a run folder's latest policy.

    `latest` is the newest run folder.
    """
    name = named_run(str(policy))
    path = _fetch(name) if name.startswith("hf:") else Path(name)
    if os.path.isdir(path):
        path = latest_policy(path)
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file, nor one of the names expert, random, {', '.join(SCRIPTED_EXPERTS)}")
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: unknown policy format; expected {', '.join(FORMATS)} or a run folder")
    return path


def _fetch(name: str) -> Path:
    """Return the path of `hf:ORG/REPO/FILE`, which the hub's library downloads or finds in its cache."""
    parts = name.removeprefix("hf:").split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise InputError(f"{name}: must be hf:ORG/REPO/FILE, for example hf:sb3/a2c-CartPole-v1/a2c-CartPole-v1.zip")
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(f"{name}: needs `pip install huggingface_hub`") from error
    try:
        return Path(huggingface_hub.hf_hub_download("/".join(parts[:2]), parts[2]))
    except Exception as error:  # from the hub, its HTTP library, or the disk
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name}: cannot be downloaded ({first_line})") from error


def latest_policy(folder: Path) -> Path:
    """Return the policy of a run folder's last iteration."""
    policies = [path for path in folder.glob("policy_itr_*.pt") if path.stem.rsplit("_", 1)[1].isdigit()]
    if not policies:
        raise InputError(f"{folder}: holds no policy_itr_*.pt; give a run folder")
    return max(policies, key=lambda path: int(path.stem.rsplit("_", 1)[1]))


def _check_fit(actor: Actor, env: gym.Env) -> None:
    name, space, discrete = name_of(env), env.action_space, is_discrete(env.action_space)
    if actor.ob_shape != env.observation_space.shape:
        raise InputError(
            f"takes observations {actor.ob_shape}, but those of {name} are {env.observation_space.shape}"
        )
    if actor.n_outputs is None:
        return
    got = (actor.n_outputs, actor.output == "argmax")
    expected = (int(space.n) if discrete else space.shape[0], discrete)
    if got != expected:
        kinds = {True: "discrete actions", False: "continuous action dimensions"}
        raise InputError(f"gives {got[0]} {kinds[got[1]]}, but {name} takes {expected[0]} {kinds[expected[1]]}")
