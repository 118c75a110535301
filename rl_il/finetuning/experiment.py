"""Runs of `finetune.py`: what they read, and how their parts are made. The rest is that of every run."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_il.envs import env_of
from rl_il.errors import InputError
from rl_il.experts.loading import find_file
from rl_il.finetune_config import FinetuneConfig
from rl_il.infrastructure.workers import rollout_source
from rl_il.limits import check_rollout_memory, memory_here
from rl_il.runs.evaluate import task_of
from rl_il.runs.experiment import Kind
from rl_il.runs.folders import read_config
from rl_il.runs.given import NOTHING_GIVEN, Given
from rl_il.runs.inputs import DATA, POLICY, Input, expert_files, listed
from rl_il.runs.parts import Inputs, count_eval_episodes, find_expert
from rl_il.runs.trackers import check_tracker
from rl_il.types import Trajectory

if TYPE_CHECKING:  # these import torch: a mistake in the arguments is reported without it
    from rl_il.policies.mlp_policy import MLPPolicy
    from rl_il.runs.training import Parts


@dataclass
class Clone(Inputs):
    """The inputs of a run, with the policy to begin with."""

    policy: MLPPolicy | None = None
    labels: int = 0  # of an expert, that the policy was trained on


def given_policy(config: FinetuneConfig) -> str:
    """Return the policy to begin with. Raise `InputError` if none is given."""
    if config.policy is None:
        raise InputError("--policy is missing: the run folder of a clone, latest, or a policy_itr_*.pt of one")
    return config.policy


def of_its_run(config: FinetuneConfig, given: Sequence[str]) -> FinetuneConfig:
    """Return the config with the policy's file, and with the environment of its run unless one is given.

    If that run was one of PPO, the policy explores as PPO has left it.

    `given` are the names of the flags that the user gave.
    """
    path = find_file(given_policy(config))
    config = replace(config, policy=str(path))
    if config.temperature is None and _made_by_ppo(path):
        config = replace(config, temperature=1.0)
    if "env_name" in given:
        return config
    task = task_of(str(path))
    names = [name for name in ("env_name", "env_kwargs", "wrappers", "ep_len") if name not in given]
    return replace(config, **{name: getattr(task, name) for name in names})


def _made_by_ppo(path: Path) -> bool:
    """Return whether the policy is in the folder of a run of PPO."""
    try:
        return isinstance(read_config(path.parent), FinetuneConfig)
    except InputError:  # the file is in no run folder
        return False


@contextmanager
def gather(config: FinetuneConfig, given: Given = NOTHING_GIVEN, verbose: bool = False) -> Iterator[Clone]:
    """Read and check everything that the user gave, start the worker processes, and yield the inputs."""
    start = time.perf_counter()
    if given != NOTHING_GIVEN:
        raise InputError("a run of finetune.py takes no objects; name the environment, the expert and the policy")
    check_tracker(config.tracker)
    from rl_il.finetuning.clone import clone_file, demonstrations_of, labels_of, read_clone
    from rl_il.policies.to_sb3 import check_spaces, import_sb3, network_of

    import_sb3()
    path = clone_file(given_policy(config))
    policy, env = read_clone(path), env_of(config)
    network_of(policy)
    check_spaces(policy, env)
    if config.temperature not in (None, 1) and not policy.discrete:
        raise InputError(
            f"--temperature has no effect on {path}: its actions are no integers; their exploration follows from its"
            " demonstrations (--expert_data)"
        )
    expert = find_expert(config, env)
    check_rollout_memory(config, math.prod(env.observation_space.shape), memory_here())
    asked = (path, policy, env, config.expert_data, "--expert_data")
    demonstrations = [] if config.from_nothing else demonstrations_of(*asked)
    n_eval_episodes = count_eval_episodes(config, env)
    with rollout_source(env, config.num_workers) as source:
        parts = (env, source, expert, demonstrations, n_eval_episodes, start)
        yield Clone(*parts, policy=policy, labels=labels_of(path))


def build(config: FinetuneConfig, inputs: Clone, verbose: bool, policy: Any = None) -> Parts:
    """Return the parts of a run; no folder is made yet."""
    from rl_il.finetuning.trainer import PPOTrainer
    from rl_il.infrastructure.evaluation import Evaluator
    from rl_il.infrastructure.progress import Watch
    from rl_il.infrastructure.replay_buffer import ReplayBuffer
    from rl_il.runs.training import Parts

    watch = Watch(config.n_iter - 1, verbose)
    trainer = PPOTrainer(config, inputs.policy, inputs.demonstrations, inputs.labels, watch)
    expert = inputs.expert if inputs.expert is not None and inputs.expert.answers_recorded else None
    nothing = ReplayBuffer(1, inputs.policy.device)  # there are no labelled steps to hold out
    evaluator = Evaluator(config, inputs.source, inputs.n_eval_episodes, expert, nothing, watch)
    if verbose:
        print(
            f"an evaluation every {config.steps_per_iteration:,} environment steps, up to {config.whole_timesteps:,};"
            f" the critic alone is trained in the first {config.warmup:,}"
        )
    watch.seconds["startup"] = time.perf_counter() - inputs.start
    return Parts(config, trainer, evaluator, inputs.expert, watch, verbose)


def read_inputs(config: FinetuneConfig, demonstrations: Sequence[Trajectory], written: FinetuneConfig) -> list[Input]:
    """Return the files that a run with this config reads, with the checksums of now, as `inputs.read_inputs` does."""
    files = [(POLICY, written.policy, Path(config.policy))]
    files += [(setting, written.expert_policy_file, path) for setting, path in expert_files(config)]
    files += [(DATA, written.expert_data, Path(config.expert_data))] if config.expert_data else []
    return listed(files, config)


FINETUNING = Kind("finetune", gather, build, read_inputs)
"""PPO that begins with a clone, for `runs.experiment.run` and `resume`."""
