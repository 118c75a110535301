"""The clone that is exported or improved: its file, its demonstrations, and the labels that it was trained on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import gymnasium as gym

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.errors import InputError
from rl_il.experts.loading import OWN_POLICY, find_file, find_format
from rl_il.files import read_csv
from rl_il.policies.mlp_policy import MLPPolicy
from rl_il.policies.policy_file import load_policy
from rl_il.policies.to_sb3 import needs_demonstrations
from rl_il.runs.folders import read_config
from rl_il.runs.parts import load_demonstrations
from rl_il.types import Trajectory

LABELS = "Expert_LabelsSoFar"


def clone_file(name: str) -> Path:
    """Return the file of a policy of this package. Raise `InputError` for any other file or name."""
    path = find_file(name)
    if find_format(path) is not OWN_POLICY:
        raise InputError(f"{path}: is no policy of this package; give a run folder, latest, or a policy_itr_*.pt")
    return path


def read_clone(path: Path) -> MLPPolicy:
    """Return the policy in the file. Raise `InputError` if it has no encoder and head."""
    policy = load_policy(path)
    if not isinstance(policy, MLPPolicy):
        raise InputError(f"{path}: is a {type(policy).__name__}, which is no MLPPolicy, so its network is unknown")
    return policy


def demonstrations_of(path: Path, policy: MLPPolicy, env: gym.Env, given: str | None, flag: str) -> list[Trajectory]:
    """Return the given demonstrations, or those of the run folder that the policy is in; none if it needs none.

    A note says if there are none, since the exploration then does not follow from them. Raise `InputError` if
    demonstrations were given, with this flag, to a policy that needs none.
    """
    if not needs_demonstrations(policy):
        if given is not None:
            why = "its actions are integers" if policy.discrete else "--loss nll learned their standard deviation"
            raise InputError(f"{flag} has no effect on {path}: {why}; drop it")
        return []
    if given is not None:
        return load_trajectories(given, env)
    try:
        config = read_config(path.parent)
        if isinstance(config, RunConfig):
            return load_demonstrations(config, env)
        why = "the run that it is from has none"
    except InputError as error:
        why = str(error)
    print(f"note: no demonstrations of {path} ({why})", file=sys.stderr)
    return []


def labels_of(path: Path) -> int:
    """Return how many labels of an expert the policy in a run folder was trained on; 0 if that is not known."""
    match = re.fullmatch(r"policy_itr_(\d+)\.pt", path.name)
    rows = read_csv(path.parent / "metrics.csv") if match else []
    texts = (row.get(LABELS) for row in reversed(rows) if row.get("iteration") == match[1])
    return int(float(next(texts, None) or 0))
