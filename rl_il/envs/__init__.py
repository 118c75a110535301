"""Environments: a table of the files included for each, `make_env`, and helpers for their spaces."""

from rl_il.envs.bird import Bird
from rl_il.envs.fitting import fit_spaces, flat_rows, largest_numbers
from rl_il.envs.making import FreshWorld, env_of, make_env, prepare_env
from rl_il.envs.recipes import describe_recipe, make_recipe, other_versions, recipe_of
from rl_il.envs.spaces import (
    action_dtype,
    action_form,
    check_actions,
    episode_limit,
    is_discrete,
    is_picture,
    key_map,
    name_of,
    newest_picture,
    picture_layout,
)
from rl_il.envs.table import ENVS, EnvRow, env_row, lap_finished

__all__ = [
    "ENVS",
    "Bird",
    "EnvRow",
    "FreshWorld",
    "action_dtype",
    "action_form",
    "check_actions",
    "describe_recipe",
    "env_of",
    "env_row",
    "episode_limit",
    "fit_spaces",
    "flat_rows",
    "is_discrete",
    "is_picture",
    "key_map",
    "lap_finished",
    "largest_numbers",
    "make_env",
    "make_recipe",
    "name_of",
    "newest_picture",
    "other_versions",
    "picture_layout",
    "prepare_env",
    "recipe_of",
]
