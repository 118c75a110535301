"""Environments: a table of the files included for each, `make_env`, and helpers for their spaces."""

from rl_il.envs.making import FreshWorld, make_env
from rl_il.envs.spaces import check_actions, episode_limit, is_discrete, is_picture, key_map, name_of
from rl_il.envs.table import ENVS, EnvSpec, env_spec, lap_finished

__all__ = [
    "ENVS",
    "EnvSpec",
    "FreshWorld",
    "check_actions",
    "env_spec",
    "episode_limit",
    "is_discrete",
    "is_picture",
    "key_map",
    "lap_finished",
    "make_env",
    "name_of",
]
