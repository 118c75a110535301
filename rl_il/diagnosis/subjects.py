"""What is diagnosed: policies by run folder or by file, read and checked, and the states each was trained on."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.diagnosis.measures import action_errors
from rl_il.envs import env_spec, is_discrete, make_env, name_of
from rl_il.errors import InputError
from rl_il.infrastructure.progress import progress
from rl_il.infrastructure.workers import rollout_source
from rl_il.policies.experts import SCRIPTED_EXPERTS, latest_policy, load_actor
from rl_il.report.runs import Run, read_run
from rl_il.run_parts import build_trainer, find_expert, load_demonstrations
from rl_il.types import Actor, Trajectory, answers_live_only

LossFunction = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Named:
    """A policy that was asked for, not read yet."""

    name: str
    policy: str  # as `load_actor` takes it
    run: Run | None = None  # the finished run whose iteration `itr` it is
    itr: int = 0


@dataclass(frozen=True)
class Subject:
    """A policy to be diagnosed, and what it was trained on."""

    name: str
    actor: Actor
    loss_name: str
    loss: LossFunction  # of (N, *ob_shape) observations and N labels
    demonstrations: list[Trajectory]
    run: Run | None = None  # with `config`, what it takes to collect again what DAgger collected
    config: RunConfig | None = None
    itr: int = 0


def find_policies(policies: Sequence[str], names: Sequence[str] | None = None) -> list[Named]:
    """The policies with their run folders, where they lie in one, and their names."""
    if names is not None and len(names) != len(policies):
        raise InputError(f"--names: got {len(names)} names for {len(policies)} policies; give one each")
    found = [_find_policy(policy) for policy in policies]
    if names is not None:
        found = [dataclasses.replace(each, name=name) for each, name in zip(found, names, strict=True)]
    called = [each.name for each in found]
    if len({*called}) < len(called):
        raise InputError(f"--names: the policies are called {', '.join(called)}; give each a name of its own")
    return found


def _find_policy(policy: str) -> Named:
    path = latest_policy(Path(policy)) if Path(policy).is_dir() else Path(policy)
    names = ("expert", "random", *SCRIPTED_EXPERTS)
    if policy not in names and not policy.startswith("hf:") and not path.is_file():
        raise InputError(f"{path}: no such file")
    checkpoint = re.fullmatch(r"policy_itr_(\d+)\.pt", path.name)
    if not checkpoint or not (path.parent / "config.json").is_file():
        return Named(path.stem, str(path) if path.is_file() else policy)
    itr = int(checkpoint[1])
    collectors = [path.with_name(f"policy_itr_{i}.pt") for i in range(itr)]
    for collector in collectors:
        if not collector.is_file():
            raise InputError(
                f"{collector}: no such file, but it collected data for {path.name}; a copy of that one outside the"
                " run folder can be diagnosed beside the demonstrations alone"
            )
    return Named(f"DAgger, iteration {itr}" if itr else "BC", str(path), read_run(path.parent), itr)


def common_config(found: Sequence[Named], env_name: str | None, given: dict[str, Any]) -> RunConfig:
    """What holds for all policies: the first run folder's config, with what the user has `given` in its place."""
    runs = [each.run for each in found if each.run]
    env_names = {str(run.folder): run.config.env_name for run in runs}
    if env_name is not None:
        env_names["--env_name"] = env_name
    if not env_names:
        raise InputError("--env_name is missing, and no --policy lies in a run folder that would say it; give it")
    if len({*env_names.values()}) > 1:
        each = ", ".join(f"{name} ({where})" for where, name in env_names.items())
        raise InputError(f"the policies must be of one environment, got {each}; diagnose them one by one")
    config = runs[0].config if runs else RunConfig(env_name=env_name)
    if given.get("expert_policy_file"):
        config = dataclasses.replace(config, expert_activation=None)  # which was another expert's
    config = dataclasses.replace(config, **{name: value for name, value in given.items() if value is not None})
    if config.expert_data is None and env_spec(config.env_name).demos is None:
        raise InputError(f"no demonstrations are shipped for {config.env_name}; give --demos FILE")
    return config


def read_subject(found: Named, common: RunConfig, demos: str | None, env: gym.Env, num_workers: int = 1) -> Subject:
    """Reads a policy and its demonstrations.

    Args:
      common: its demonstrations stand beside a policy without a run folder.
      demos: takes the place of the file that the run folder names; which episodes of it is still the run's choice.
      num_workers: processes that will collect again what the run collected.

    Raises:
      InputError: something cannot be read, or does not fit the environment.
    """
    actor = load_actor(found.policy, env)
    check_reads_observations(found.name, actor, env)
    loss_name, loss = find_loss(found.policy, actor, is_discrete(env.action_space))
    config = common
    if found.run:
        own = found.run.config
        workers = 1 if own.vec_env == "envpool" else num_workers
        config = dataclasses.replace(own, expert_data=demos or own.expert_data, num_workers=workers)
        find_expert(config, env)  # `collect_again` needs it
    demonstrations = load_demonstrations(config, env)
    return Subject(found.name, actor, loss_name, loss, demonstrations, found.run, config, found.itr)


def check_reads_observations(name: str, actor: Actor, env: gym.Env) -> None:
    """Raises `InputError` for an actor that cannot be asked about recorded states."""
    if answers_live_only(actor):
        raise InputError(
            f"{name} answers only while an episode of {name_of(env)} goes on, so it cannot be asked about recorded"
            " states: it reads the simulator, or remembers earlier pictures; give one that reads single observations"
        )


def find_loss(policy: str, actor: Actor, discrete: bool) -> tuple[str, LossFunction]:
    """What a loss is called, and the loss.

    A checkpoint of this project brings the one that it was trained by. Other files say nothing of theirs, and get the
    fraction of actions that are not the labels (discrete), or the mean squared difference.
    """
    path = latest_policy(Path(policy)) if Path(policy).is_dir() else Path(policy)
    if path.suffix != ".pt" or not path.is_file():
        name = "0-1" if discrete else "mse"
        return name, lambda obs, labels: float(action_errors(actor.get_action(obs), labels, discrete).mean())
    import torch

    from rl_il.infrastructure.pytorch_utils import to_tensor
    from rl_il.policies.mlp_policy import MLPPolicySL

    learner = MLPPolicySL.load(path)

    @torch.no_grad()
    def loss(obs: np.ndarray, labels: np.ndarray) -> float:
        return learner.loss(to_tensor(obs, learner.device), to_tensor(labels, learner.device)).item()

    return "cross-entropy" if discrete else learner.loss_name, loss


def training_states(subject: Subject) -> np.ndarray:
    """`(N, *ob_shape)`: the states that the policy was trained on, as far as that is known.

    For a policy in a run folder these are all: its demonstrations and what DAgger collected before it, rolled out
    again, since a collection follows from the policy before it and the seed. They are those of the run's own buffer,
    so less what it held out or dropped. For any other file they are the demonstrations.
    """
    if subject.run is None:
        return demonstrated_states(subject)
    import torch

    from rl_il.policies.mlp_policy import MLPPolicySL

    config, folder = subject.config, subject.run.folder
    torch.set_num_threads(1)
    env = make_env(config.env_name)
    expert = find_expert(config, env)
    workers = config.num_workers if subject.itr else 1  # none where nothing is to be collected
    with rollout_source(config.env_name, env, workers, config.vec_env) as source:
        policy = MLPPolicySL.load(folder / "policy_itr_0.pt")
        trainer = build_trainer(
            config, source, policy, subject.demonstrations, expert, n_eval_episodes=1, verbose=False
        )
        trainer.store(0, subject.demonstrations)
        for itr in progress(
            range(1, subject.itr + 1), subject.itr, f"{subject.name}, collecting its training set again"
        ):
            trainer.policy = MLPPolicySL.load(folder / f"policy_itr_{itr - 1}.pt")
            trainer.store(itr, trainer.collect(itr))
    collected = (
        subject.run.metrics[subject.itr]["Train_EnvstepsSoFar"] if subject.itr < len(subject.run.metrics) else None
    )
    if collected is not None and collected != trainer.env_steps:
        print(
            f"note: {subject.name}: the run collected {collected:,.0f} steps, rolled out again they are"
            f" {trainer.env_steps:,} (other versions, or another machine?); the distances are from the latter",
            file=sys.stderr,
        )
    return trainer.buffer.obs.numpy()


def demonstrated_states(subject: Subject) -> np.ndarray:
    """`(N, *ob_shape)`: the demonstrations' states."""
    return np.concatenate([trajectory.obs[:-1] for trajectory in subject.demonstrations])
