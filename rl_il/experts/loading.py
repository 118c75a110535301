"""Loading of actors: experts and policies, by name or from a file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from rl_il.envs import action_form, env_row, name_of
from rl_il.errors import InputError
from rl_il.experts.bird_pilot import BirdPilot
from rl_il.experts.car_driver import CarDriver
from rl_il.experts.course import load_course_expert
from rl_il.experts.hub import fetch
from rl_il.experts.normaliser import locate
from rl_il.experts.own import own_actor
from rl_il.experts.sb3 import load_sb3
from rl_il.experts.torch_file import load_torch_file
from rl_il.experts.weights import load_weights
from rl_il.files import LEGACY_TORCH, named_run, one_line, reading
from rl_il.plugins import is_own, load_own
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


SCRIPTED_EXPERTS: dict[str, tuple[tuple[str, ...], Callable[[tuple[int, ...]], Actor]]] = {
    "velocity_rule": (("MountainCar-v0",), partial(ScriptedActor, velocity_rule)),
    "two_parabola_rule": (("MountainCar-v0",), partial(ScriptedActor, two_parabola_rule)),
    "car_driver": (("CarRacing-v3",), CarDriver),
    "bird_pilot": (("Bird-v0", "BirdHard-v0"), BirdPilot),
}
"""Each name's environments, and a function that makes the expert for the shape of an observation."""


class Format(NamedTuple):
    """A file format of policies."""

    load: Callable[..., Actor]  # takes the path and the environment, and the flags
    flags: tuple[str, ...] = ()  # the names of the flags that it takes


def _load_policy(path: Path, env: gym.Env) -> Actor:
    from rl_il.policies.policy_file import load_policy  # imports torch, which of the formats only .pt and .zip need

    return load_policy(path).actor()


OWN_POLICY = Format(_load_policy)
FORMATS: dict[str, Format] = {
    ".npz": Format(load_weights),
    ".pt": Format(load_torch_file, ("activation", "no_normalizer")),
    ".pth": Format(load_torch_file, ("activation", "no_normalizer")),
    ".pkl": Format(load_course_expert),
    ".zip": Format(load_sb3, ("activation", "no_normalizer")),
}
"""The formats by their suffixes. A file is recognised by its content (`find_format`), whatever its name is."""

WITHOUT_FLAG = {
    "activation": "names its own activation; drop --expert_activation, which is for .zip, .pt and .pth files",
    "no_normalizer": "has no normaliser in another file; drop --no_normalizer, which is for .zip, .pt and .pth files",
}


def load_expert(
    expert: str | None, env: gym.Env, activation: str | None = None, no_normalizer: bool = False
) -> Actor:
    """Return the expert, loaded by `load_actor`. None takes the one that is shipped for the environment."""
    name = name_of(env)
    expert = expert or env_row(name).expert_path
    if expert is None:
        raise InputError(f"no expert is shipped for {name}; give one with --expert_policy_file or --policy")
    return load_actor(expert, env, activation, no_normalizer)


def load_actor(
    policy: str | Path,
    env: gym.Env,
    activation: str | None = None,
    no_normalizer: bool = False,
    if_taken: bool = False,
) -> Actor:
    """Return the actor of this name or file. Raise `InputError` if it is missing or damaged, or does not fit `env`.

    Args:
      policy: `expert` (the shipped one), `random`, a scripted expert's name, a file of one of the `FORMATS`
        (`hf:ORG/REPO/FILE` downloads it first), a run folder (its latest policy), `latest`, the newest run folder, or
        `module:Name` of the user's own function or class (`own_actor`).
      activation: the network's, if the file of another program names none that is known here.
      no_normalizer: act on raw observations, without the normaliser of a Stable-Baselines3 policy.
      if_taken: ignore the two flags for a file whose format takes none, instead of refusing them.
    """
    name = name_of(env)
    if policy == "expert":
        return load_expert(None, env)
    if policy == "random":
        return RandomActor(env)
    if policy in SCRIPTED_EXPERTS:
        own_envs, make_expert = SCRIPTED_EXPERTS[str(policy)]
        if name not in own_envs:
            raise InputError(f"{policy} is an expert for {' and '.join(own_envs)}, not for {name}")
        return make_expert(env.observation_space.shape)
    if is_own(policy):
        for flag in ["activation"] * bool(activation) + ["no_normalizer"] * bool(no_normalizer):
            if not if_taken:
                raise InputError(f"{policy}: {WITHOUT_FLAG[flag]}")
        return own_actor(load_own(str(policy)), env, str(policy))
    path = find_file(policy, with_normaliser=not no_normalizer)
    flags = {"activation": activation, "no_normalizer": no_normalizer}
    try:
        with np.errstate(all="ignore"):  # numbers that are not finite are refused
            actor = _load(path, env, {flag: value for flag, value in flags.items() if value}, if_taken)
        _check_fit(actor, env)
    except InputError as error:
        message = one_line(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    return actor


def _load(path: Path, env: gym.Env, flags: dict[str, Any], if_taken: bool) -> Actor:
    """Return the actor in the file, loaded with the flags that its format takes. Refuse others, unless `if_taken`."""
    found = find_format(path)
    if found is None:
        raise InputError(f"unknown policy format; expected {', '.join(FORMATS)} or a run folder")
    for flag in [flag for flag in flags if flag not in found.flags]:
        if not if_taken:
            raise InputError(WITHOUT_FLAG[flag])
        del flags[flag]
    return found.load(path, env, **flags)


def find_format(path: Path) -> Format | None:
    """Return the format of a file's content, or else of its suffix; None if both are unknown."""
    suffix = path.suffix
    with reading("file"):
        with path.open("rb") as file:
            head = file.read(20)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                pickles = [name for name in file.namelist() if name.endswith("/data.pkl")]
                if any(b"hyperparameters" in file.read(name) for name in pickles):
                    return OWN_POLICY
                suffix = _kind_of_zip(file.namelist()) or suffix
        elif LEGACY_TORCH in head:
            suffix = ".pt"
        elif head[:1] == b"\x80" and suffix != ".pkl":
            suffix = ".pkl"
    return FORMATS.get(suffix)


def _kind_of_zip(names: list[str]) -> str | None:
    """Return the suffix of the format of a zip with files of these names."""
    if "policy.pth" in names:
        return ".zip"
    if any(name.endswith("/data.pkl") for name in names):
        return ".pt"
    return ".npz" if any(name.endswith(".npy") for name in names) else None


def normaliser_of(path: Path, env_name: str) -> Path | None:
    """Return the file of the normaliser that belongs to the policy in the file `path`, or None."""
    return locate(path, env_name) if find_format(path) is FORMATS[".zip"] else None


def find_file(policy: str | Path, with_normaliser: bool = True) -> Path:
    """Return the file that `policy` names: itself, one of the Hugging Face hub, or a run folder's latest policy.

    `latest` is the newest run folder. With a zip of the hub comes its normaliser, unless `with_normaliser` is false.
    """
    name = named_run(str(policy))
    path = fetch(name, with_normaliser) if name.startswith("hf:") else Path(name)
    if os.path.isdir(path):
        path = latest_policy(path)
    if not os.path.isfile(path):
        names = ", ".join(["expert", "random", *SCRIPTED_EXPERTS])
        raise InputError(f"{path}: no such file, nor one of the names {names}, nor your own module:Name")
    return path


def latest_policy(folder: Path) -> Path:
    """Return the policy of a run folder's last iteration."""
    policies = [path for path in folder.glob("policy_itr_*.pt") if path.stem.rsplit("_", 1)[1].isdigit()]
    if not policies:
        raise InputError(f"{folder}: holds no policy_itr_*.pt; give a run folder")
    return max(policies, key=lambda path: int(path.stem.rsplit("_", 1)[1]))


def _check_fit(actor: Actor, env: gym.Env) -> None:
    name, expected = name_of(env), action_form(env.action_space)
    if actor.ob_shape != env.observation_space.shape:
        raise InputError(
            f"takes observations {actor.ob_shape}, but those of {name} are {env.observation_space.shape}"
        )
    if actor.form is not None and actor.form != expected:
        raise InputError(f"gives {actor.form}, but {name} takes {expected}")
