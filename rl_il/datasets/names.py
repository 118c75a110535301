"""The names that arrays of demonstrations have in other programs' files, by their meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rl_il.errors import InputError

NAMES: dict[str, tuple[str, ...]] = {
    "observations": (
        *("observations", "observation", "obs", "ob", "states", "state"),
        *("expert_observations", "expert_observation", "expert_obs", "expert_states"),
        "observation.state",  # LeRobot
        *("obs_buf", "obs_b_t_do"),  # Spinning Up, OpenAI's imitation
    ),
    "actions": (
        *("actions", "action", "acts", "act", "acs", "ac"),
        *("expert_actions", "expert_action", "expert_acts", "expert_acs"),
        *("act_buf", "a_b_t_da"),
    ),
    "rewards": ("rewards", "reward", "rews", "rew", "next.reward", "rew_buf", "r_b_t"),
    "terminations": ("terminations", "termination", "terminals", "terminated", "terminateds", "is_terminal"),
    "truncations": ("truncations", "truncation", "truncated", "timeouts", "timeout", "next.truncated", "truncateds"),
    # CS285's and imitation's `terminal` and d3rlpy's `episode_terminals` include time limits.
    "dones": ("dones", "done", "terminal", "episode_terminals", "next.done", "dones_float", "is_last", "done_buf"),
    "not_dones": ("not_dones", "not_done", "nonterminals", "nonterminal", "not_terminal", "non_terminal", "masks"),
    "next_observations": (
        *("next_observations", "next_observation", "next_obs", "next_ob"),
        *("next_states", "next_state", "new_obs", "obs2_buf"),
    ),
    "episode_starts": ("episode_starts", "episode_start", "is_first"),
    "episode_ends": ("episode_ends", "episode_end", "traj_ends"),
    "episode_ids": (
        *("episode_ids", "episode_id", "episode_index", "episode_idx", "episode", "episodes", "eps_id"),
        *("traj_ids", "traj_id", "trajectory_ids", "trajectory_id"),
    ),
    "episode_lengths": (
        *("episode_lengths", "episode_length", "ep_lengths", "ep_lens", "lengths", "lens", "len_b"),
        *("traj_lengths", "traj_lens"),
    ),
    "step_numbers": ("timesteps", "timestep"),  # that begin again in each episode
    "valid": ("valid", "valids", "mask", "padding_mask"),  # of stacked episodes: 1, and 0 in the padding
    "episode_cuts": ("indices",),  # of imitation: where each episode but the first begins
    "final_observations": ("final_observations",),
    "executed_actions": ("executed_actions",),
    "labelled": ("labelled",),
    "sources": ("sources",),
    "consulted": ("consulted",),
}
"""Meanings, and the names of each, in lower case."""
WRAPPERS = (
    *("data", "episodes", "trajectories", "paths", "demos", "demonstrations", "transitions", "rollouts", "steps"),
    *("trajs", "expert_trajectories", "expert_data", "buffer"),
)
"""The names of dicts and lists that hold all episodes, all steps, or the steps of an episode."""
MEANINGS = {name: meaning for meaning, names in NAMES.items() for name in names}


def parse_keys(text: str | None) -> dict[str, str]:
    """Return what `--keys obs=state,actions=act` says: a name in the file for each meaning.

    Raise `InputError` for a meaning that is not known, or named twice.
    """
    keys: dict[str, str] = {}
    for part in (text or "").split(",") if text else []:
        said, equals, name = (piece.strip() for piece in part.partition("="))
        meaning = MEANINGS.get(said.lower())
        if not (equals and name and meaning):
            raise InputError(
                f"--keys must be such as obs=state,actions=act, got {text!r}; what can be named: {', '.join(NAMES)}"
            )
        if meaning in keys:
            raise InputError(f"--keys names the {meaning} twice: {keys[meaning]} and {name}")
        keys[meaning] = name
    return keys


def find_names(available: Iterable[str], keys: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each meaning that is among the available names; `keys` decides first.

    Raise `InputError` if two names have one meaning, or if one of `keys` is not available.
    """
    names = [*map(str, available)]
    found: dict[str, str] = {}
    for meaning, name in keys.items():
        if name not in names:
            raise InputError(f"--keys says {meaning}={name}, but the file holds {listed(names)}")
        found[meaning] = name
    for name in names:
        meaning = MEANINGS.get(name.lower())
        if meaning is None or meaning in keys or name in keys.values():
            continue
        if meaning in found:
            raise InputError(
                f"holds both {found[meaning]} and {name}, which may be the {meaning};"
                f" choose one, such as --keys {meaning}={name}"
            )
        found[meaning] = name
    return found


def listed(names: Iterable[str]) -> str:
    """Return the names in a sentence; of many only the first."""
    names = [*map(str, names)]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "nothing"
