"""The subjects of a diagnosis: policies of run folders or files, and the states that each was trained on."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.commands import command_text
from rl_il.config import READING, RunConfig
from rl_il.datasets import load_trajectories
from rl_il.envs import env_row, is_discrete, name_of
from rl_il.errors import InputError
from rl_il.experts.loading import OWN_POLICY, find_format, latest_policy, load_actor
from rl_il.files import named_run
from rl_il.report.runs import Run, read_run
from rl_il.runs.folders import AnyConfig
from rl_il.runs.parts import load_demonstrations
from rl_il.studies.diagnosis.measures import action_errors
from rl_il.types import Actor, Batch, Trajectory

LossFunction = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Named:
    """A policy that the user named and that is not read yet."""

    name: str
    policy: str  # as `load_actor` accepts it
    run: Run | None = None  # the finished run that it comes from
    itr: int = 0  # its iteration in that run


@dataclass(frozen=True)
class Subject:
    """A policy to be diagnosed, and its training data."""

    name: str
    actor: Actor
    loss_name: str
    loss: LossFunction  # of (N, *ob_shape) observations and N labels
    demonstrations: list[Trajectory]
    training_states: np.ndarray  # (N, *ob_shape): the known states that it was trained on
    all_known: bool  # whether these are all; a file outside a run folder does not say it


def find_policies(policies: Sequence[str], names: Sequence[str] | None = None) -> list[Named]:
    """Return the policies with their names, and with their runs if they are in run folders."""
    if names is not None and len(names) != len(policies):
        raise InputError(f"--names: got {len(names)} names for {len(policies)} policies; give one for each")
    found = [_find_policy(policy) for policy in policies]
    names = names or [each.name for each in found]
    if len({*names}) < len(names):
        raise InputError(f"--names: the names must differ, got {', '.join(names)}; give each policy its own name")
    return [dataclasses.replace(each, name=name) for each, name in zip(found, names, strict=True)]


def _find_policy(policy: str) -> Named:
    policy = named_run(policy)
    path = latest_policy(Path(policy)) if Path(policy).is_dir() else Path(policy)
    is_name = ":" in policy or not path.suffix  # such as hf:ORG/REPO/FILE.zip, random
    if not is_name and not path.is_file():
        raise InputError(f"--policy {path}: no such file")
    checkpoint = re.fullmatch(r"policy_itr_(\d+)\.pt", path.name)
    if not checkpoint or not (path.parent / "config.json").is_file():
        return Named(path.stem, str(path) if path.is_file() else policy)
    itr, run = int(checkpoint[1]), read_run(path.parent)
    return Named(f"{run.config.algorithm}, iteration {itr}" if itr else "BC", str(path), run, itr)


def common_config(found: Sequence[Named], env_name: str | None, given: dict[str, Any]) -> RunConfig:
    """Return the config that holds for all policies: the first run folder's, updated with the settings in `given`."""
    runs = [each.run for each in found if each.run]
    env_names = {str(run.folder): run.config.env_title for run in runs}
    if env_name not in (None, *(run.config.env_name for run in runs)):
        env_names["--env_name"] = env_name
    if not env_names:
        raise InputError("--env_name is missing, and no --policy is in a run folder that names it; give the flag")
    if len({*env_names.values()}) > 1:
        each = ", ".join(f"{name} ({where})" for where, name in env_names.items())
        raise InputError(f"the policies must be for one environment, got {each}; diagnose them one by one")
    config = cloning_config(runs[0].config) if runs else RunConfig(env_name=env_name)
    if given.get("expert_policy_file"):
        # The run's values are for another expert.
        config = dataclasses.replace(config, expert_activation=None, no_normalizer=False)
    if given.get("expert_data"):
        config = dataclasses.replace(config, **dict.fromkeys(READING))  # the run's values are for another file
    config = dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})
    if config.expert_data is None and env_row(config.env_name).demos is None:
        raise InputError(f"no demonstrations are included for {config.env_name}; give --demos FILE")
    return config


def cloning_config(config: AnyConfig) -> RunConfig:
    """Return the settings of a run that `RunConfig` has: all, except for reinforcement learning."""
    if isinstance(config, RunConfig):
        return config
    names = ("env_name", "env_kwargs", "wrappers", "ep_len", "seed", "expert_data", "expert_policy_file")
    names += ("expert_activation", "no_normalizer")
    return RunConfig(**{name: getattr(config, name) for name in names})


def read_subject(
    found: Named, common: RunConfig, demos: str | None, env: gym.Env, flags: dict[str, Any] | None = None
) -> Subject:
    """Read a policy and its training data.

    Args:
      common: the config whose demonstrations are used for a policy without a run folder.
      demos: replaces the file that the run folder names; the run's seed still chooses the episodes.
      flags: `load_actor`'s `activation` and `no_normalizer`, for a policy whose format takes them.

    Returns:
      the policy. If it is in a run folder, its training states are all labelled states of its demonstrations and of
      the data that DAgger collected before it. These include the states for validation, and those that a full
      replay buffer dropped. For any other file, and for reinforcement learning, only the demonstrations' states are
      known.

    Raises:
      InputError: something cannot be read, or does not fit the environment.
    """
    actor = load_actor(found.policy, env, **(flags or {}), if_taken=True)
    check_reads_observations(found.name, actor, env)
    loss_name, loss = find_loss(found.policy, actor, is_discrete(env.action_space))
    config, cloned = common, found.run is not None and found.run.config.algorithm != "PPO"
    if cloned:
        read = {name: getattr(common, name) for name in READING} | {"expert_data": demos} if demos else {}
        config = dataclasses.replace(found.run.config, **read)
    demonstrations = load_demonstrations(config, env)
    itrs = range(1, found.itr + 1) if cloned else ()
    collected = [each for itr in itrs for each in collected_data(found.run.folder, itr, env)]
    states = states_of([*demonstrations, *collected])
    return Subject(found.name, actor, loss_name, loss, demonstrations, states, all_known=cloned)


def collected_data(folder: Path, itr: int, env: gym.Env) -> list[Trajectory]:
    """Return the trajectories that the run collected in iteration `itr`, counted from 1."""
    path = folder / "data" / f"itr_{itr}.npz"
    if not path.is_file():
        raise InputError(
            f"{path}: no such file: the run folder has no data of iteration {itr}; runs of studies, of ablations and"
            f" of older versions keep none. Repeat the run with `{command_text('run_hw1')}`"
        )
    return load_trajectories(path, env, may_lack_labels=True)


def check_reads_observations(name: str, actor: Actor, env: gym.Env) -> None:
    """Raise `InputError` if the actor cannot act on recorded observations."""
    if not actor.answers_recorded:
        raise InputError(
            f"{name} can act only during an episode of {name_of(env)}, so it cannot label recorded states: it reads"
            " the simulator or several frames; give one that acts on single observations"
        )


def find_loss(policy: str, actor: Actor, discrete: bool) -> tuple[str, LossFunction]:
    """Return the name of a policy's loss, and the loss.

    For a policy file of this project, return the loss of its training. Other files do not name their loss, and that
    of chunks needs the labels of several steps. For them, return the fraction of actions that differ from the
    labels (discrete) or the mean squared difference (continuous).
    """

    def of_actions(obs: np.ndarray, labels: np.ndarray) -> float:
        actor.reset()  # so that drawn actions depend on nothing before
        return float(action_errors(actor.get_action(obs), labels, discrete).mean())

    path, name = Path(policy), "0-1" if discrete else "mse"
    if not path.is_file() or find_format(path) is not OWN_POLICY:
        return name, of_actions
    from rl_il.infrastructure.pytorch_utils import to_tensor
    from rl_il.infrastructure.replay_buffer import with_noise
    from rl_il.policies.policy_file import load_policy

    learner = load_policy(path)
    if learner.chunk > 1:
        return name, of_actions

    def loss(obs: np.ndarray, labels: np.ndarray) -> float:
        batch = Batch(
            to_tensor(learner.view(obs), learner.device), to_tensor(learner.to_labels(labels), learner.device)
        )
        batch = with_noise(batch, learner.noise_shape, np.random.default_rng(0))
        return learner.validate(*batch)["Validation Loss"]

    return "cross-entropy" if discrete else learner.loss_name, loss


def states_of(trajectories: Sequence[Trajectory]) -> np.ndarray:
    """Return `(N, *ob_shape)`: the labelled states of all trajectories."""
    return np.concatenate([trajectory.obs[:-1][trajectory.labelled_steps] for trajectory in trajectories])
