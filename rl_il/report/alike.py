"""What tells the variants of a report apart: their settings, and how the policy was made that a run begins with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rl_il.finetune_config import FinetuneConfig
from rl_il.runs.checkpoint import checksum
from rl_il.runs.folders import AnyConfig, read_config, read_record
from rl_il.runs.inputs import POLICY, Input

# The runs of a variant may differ in the seed, in names, and in settings that do not change the result.
NOT_COMPARED = "seed logdir exp_name num_workers video_log_freq save_params tracker log_interval".split()


def compared(config: AnyConfig, *without: str) -> dict[str, Any]:
    """Return the settings that distinguish variants, except those named in `without`."""
    return {name: value for name, value in asdict(config).items() if name not in (*NOT_COMPARED, *without)}


def settings_of(config: AnyConfig, record: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that distinguish variants, with the origin of the policy in place of its path.

    `record` is what the run's config.json holds.
    """
    begins = {"policy": origin_of(config, record)} if isinstance(config, FinetuneConfig) else {}
    return compared(config) | begins


def origin_of(config: FinetuneConfig, record: dict[str, Any]) -> Any:
    """Return how the policy was made that a run begins with, which is equal for clones that differ in their seed.

    It is the file's name and the settings of the run in whose folder it is. If the file is not there as it was
    recorded, or in no such folder, it is its checksum; in a run that recorded none, its path.
    """
    policy = recorded_policy(record)
    if policy is None:
        return config.policy
    try:
        path = policy.find(config)
        if path is not None and checksum(path) == policy.sha256:
            return [path.name, settings_of(read_config(path.parent), read_record(path.parent))]
    except (OSError, ValueError):  # an `InputError`, or a path that cannot exist
        pass
    return policy.sha256


def recorded_policy(record: dict[str, Any]) -> Input | None:
    """Return the policy that a run of reinforcement learning begins with, if config.json lists it."""
    try:
        found = next(Input(**item) for item in record["inputs"] if item["setting"] == POLICY)
    except (LookupError, TypeError, StopIteration):
        return None
    return found if all(isinstance(text, str) for text in (found.given, found.file, found.sha256)) else None
