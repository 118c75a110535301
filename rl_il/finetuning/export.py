"""Export of a clone into a zip of Stable-Baselines3, which the library itself writes."""

from __future__ import annotations

import inspect
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_of
from rl_il.errors import InputError
from rl_il.files import atomic_write, check_writable
from rl_il.finetuning.clone import clone_file, demonstrations_of, read_clone
from rl_il.infrastructure.rollouts import sample_trajectories
from rl_il.policies.mlp_policy import MLPPolicy
from rl_il.policies.to_sb3 import check_algorithm, check_spaces, exploration, import_sb3, network_of, to_sb3
from rl_il.runs.evaluate import task_of
from rl_il.seeding import stream
from rl_il.types import Trajectory

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

STATES = 1000  # on which the model is compared with the policy


def export(
    policy: str, out: Path, algorithm: str = "PPO", demos: str | None = None, task: RunConfig | None = None
) -> list[str]:
    """Write the zip, compare its greedy actions with the policy's, and return what is to be said about it.

    Args:
      policy: a run folder, `latest`, or a file of a policy.
      out: the zip.
      algorithm: one of `to_sb3.ALGORITHMS`.
      demos: the demonstrations that `to_sb3.exploration` uses. None: those of the policy's run.
      task: the environment. None: that of the policy's run.

    Raises:
      InputError: a file is missing, or the policy cannot be exported.
    """
    if out.suffix != ".zip":
        raise InputError(f"--to {out}: the name must end in .zip")
    check_writable(out)
    import_sb3()
    path = clone_file(policy)
    clone, env = read_clone(path), env_of(task or task_of(str(path)))
    algorithm = check_algorithm(algorithm, clone)
    network = network_of(clone)
    check_spaces(clone, env)
    demonstrations = demonstrations_of(path, clone, env, demos, "--demos")
    model = model_of(clone, env, algorithm, demonstrations)
    episodes = sample_trajectories(env, clone.actor(), STATES, stream(0, "evaluation"))
    obs = np.concatenate([each.obs[:-1] for each in episodes])[:STATES]
    content = io.BytesIO()
    model.save(content)
    with atomic_write(out) as file:
        file.write(content.getvalue())
    said = [
        f"{out}: {algorithm}, from {path}",
        f"greedy actions on {len(obs):,} states: {difference(model, clone, obs)}",
    ]
    if not clone.discrete:
        std, source = exploration(clone, env.action_space, demonstrations)
        said.append(f"standard deviation of drawn actions: {', '.join(f'{each:.3g}' for each in std)} ({source})")
    if algorithm == "DQN":
        said.append("the values of actions are the policy's logits, which have their order but are no returns")
        said.append(f"DQN.load makes memory for {model.buffer_size:,} steps; it takes another number as buffer_size=")
    if not network.can_fold():
        said.append("observations are standardised by a class of rl_il, so that must be installed to load the zip")
    return said


def model_of(clone: MLPPolicy, env: gym.Env, algorithm: str, demonstrations: Sequence[Trajectory]) -> BaseAlgorithm:
    """Return the model to be written. That of DQN has no memory for steps, but the zip gets the library's number."""
    if algorithm != "DQN":
        return to_sb3(clone, env, algorithm, demonstrations)
    model = to_sb3(clone, env, algorithm, demonstrations, buffer_size=1)
    model.buffer_size = inspect.signature(type(model)).parameters["buffer_size"].default
    return model


def difference(model: BaseAlgorithm, clone: MLPPolicy, obs: np.ndarray) -> str:
    """Return how far the model's greedy actions are from the policy's, in words."""
    got, _ = model.predict(obs, deterministic=True)
    expected: Any = clone.actor().get_action(obs)
    if clone.discrete:
        other = int((np.reshape(got != expected, (len(obs), -1))).any(axis=1).sum())
        return f"{len(obs) - other:,} are the policy's"
    space = model.action_space
    return f"at most {np.abs(got - np.clip(expected, space.low, space.high)).max():.1e} from the policy's"
