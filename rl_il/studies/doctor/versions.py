"""The environment of a file, from its name, and the version that it was recorded on, from its sizes."""

from __future__ import annotations

import re

import gymnasium as gym

from rl_il.envs import make_env, make_recipe
from rl_il.errors import InputError

SIZES: dict[str, dict[int, str]] = {
    "Ant": {111: "Ant-v2, -v3, or -v4 with contact forces", 27: "Ant-v4, or -v5 without them", 105: "Ant-v5"},
    "HalfCheetah": {17: "HalfCheetah-v2 to -v5"},
    "Hopper": {11: "Hopper-v2 to -v5"},
    "Walker2d": {17: "Walker2d-v2 to -v5"},
    "Humanoid": {376: "Humanoid-v2 to -v4", 348: "Humanoid-v5"},
    "HumanoidStandup": {376: "HumanoidStandup-v2 to -v4", 348: "HumanoidStandup-v5"},
    "Swimmer": {8: "Swimmer-v2 to -v5"},
    "Reacher": {11: "Reacher-v2 to -v4", 10: "Reacher-v5"},
    "Pusher": {23: "Pusher-v2 to -v5"},
    "InvertedPendulum": {4: "InvertedPendulum-v2 to -v5"},
    "InvertedDoublePendulum": {11: "InvertedDoublePendulum-v2 to -v4", 9: "InvertedDoublePendulum-v5"},
    "LunarLander": {8: "LunarLander"},
    "LunarLanderContinuous": {8: "LunarLanderContinuous"},
    "BipedalWalker": {24: "BipedalWalker"},
    "CartPole": {4: "CartPole"},
    "MountainCar": {2: "MountainCar"},
    "Pendulum": {3: "Pendulum"},
    "Acrobot": {6: "Acrobot"},
}
"""For each environment: how many numbers an observation has, and in which versions.

-v4 and -v5 are those of gymnasium 1.4, and a test compares them. -v2 and -v3 follow from the version histories in its
documentation (gymnasium.farama.org/environments/mujoco), which list what -v4 and -v5 left out.
"""


def base_of(env_name: str) -> str:
    """Return the name without the version, such as `Ant` for `Ant-v4`."""
    return re.sub(r"-v\d+$", "", env_name)


def recorded_on(n_numbers: int, env_name: str) -> str:
    """Return the end of a sentence: on which environment observations of `n_numbers` were probably recorded."""
    own = SIZES.get(base_of(env_name), {})
    if n_numbers in own:
        others = [name for name in gym.registry if base_of(name) == base_of(env_name) and name != env_name]
        fitting = [name for name in sorted(others) if re.search(rf"{name[-3:]}\b", own[n_numbers])]
        advice = f"try --env_name {fitting[-1]}, or" if fitting else "you can"
        return f"this is the size in {own[n_numbers]}: {advice} record again with {env_name}"
    others = [sizes[n_numbers] for sizes in SIZES.values() if n_numbers in sizes]
    if others:
        return f"this is the size in {'; '.join(others)}: was it recorded there?"
    return "no known environment has this size: did a wrapper change the observation (stacked, cut, time added)?"


def name_in(text: str) -> str | None:
    """Return the environment that a text names, such as `Ant-v4` in `expert_data_Ant-v4`; None without one.

    The text may also name the environment's module, as in `my_env:Reach-v0`.
    """
    found = re.search(r"([\w.]+:)?[\w/]+-v\d{1,9}", text)
    if not found:
        return None
    name = found[0]
    while name not in gym.registry and "_" in name and ":" not in name:
        name = name.partition("_")[2]
    return name


def make_similar(env_name: str, env_kwargs: str = "") -> gym.Env | None:
    """Return the environment of this name or of the next later version (`Ant-v4` for `Ant-v2`); None without one.

    The name and the arguments come from a file, so no module is imported for them: Gymnasium must know the name.
    """
    version = int(env_name.rpartition("-v")[2])
    same = [spec for spec in gym.registry.values() if base_of(spec.id) == base_of(env_name)]
    for spec in sorted(same, key=lambda spec: spec.version or 0):
        if (spec.version or 0) >= version:
            try:
                return make_env(make_recipe(spec.id, env_kwargs))
            except InputError:  # this machine cannot make it
                continue
    return None
