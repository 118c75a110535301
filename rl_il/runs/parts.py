"""The parts of a run, made from its config: expert, demonstrations, policy, and numbers of episodes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gymnasium as gym

from rl_il.config import RunConfig
from rl_il.datasets import load_trajectories
from rl_il.datasets.content import ReadOptions
from rl_il.datasets.odd import quick_look
from rl_il.envs import env_spec, episode_limit, is_discrete, make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_expert
from rl_il.infrastructure.rollouts import RolloutSource
from rl_il.infrastructure.workers import rollout_source
from rl_il.seeding import stream
from rl_il.types import Expert, Trajectory

if TYPE_CHECKING:  # it imports torch: a mistake in the arguments is reported without it
    from rl_il.policies.mlp_policy import MLPPolicySL


@dataclass
class Inputs:
    """The inputs of a run, read and checked."""

    env: gym.Env
    source: RolloutSource  # the environment itself, or worker processes
    expert: Expert | None
    demonstrations: list[Trajectory]
    n_eval_episodes: int
    start: float  # `time.perf_counter()` when reading began


@contextmanager
def gather_inputs(config: RunConfig, verbose: bool = False) -> Iterator[Inputs]:
    """Read and check everything that the user gave, start the worker processes, and yield the inputs."""
    start = time.perf_counter()
    env = make_env(config.env_name)
    expert = find_expert(config, env)
    demonstrations = load_demonstrations(config, env)
    n_eval_episodes = count_eval_episodes(config, env)
    if verbose:
        print(quick_look(demonstrations, env), flush=True)
    with rollout_source(config.env_name, env, config.num_workers) as source:
        yield Inputs(env, source, expert, demonstrations, n_eval_episodes, start)


def find_expert(config: RunConfig, env: gym.Env) -> Expert | None:
    """Return the named expert, or else the included one. Without both, behavioural cloning has None."""
    if not (config.expert_policy_file or config.do_dagger or env_spec(config.env_name).expert):
        return None
    return load_expert(config.expert_policy_file, env, config.expert_activation, config.no_normalizer)


def load_demonstrations(config: RunConfig, env: gym.Env) -> list[Trajectory]:
    """Load the named demonstrations, or else those included for the environment."""
    path = config.expert_data or env_spec(config.env_name).demos_path
    if path is None:
        by = "" if env_spec(config.env_name).expert else " --policy FILE_OF_AN_EXPERT"
        raise InputError(
            f"no demonstrations are included for {config.env_name}; give --expert_data FILE, or record some:"
            f" python scripts/record_demos.py --env_name {config.env_name}{by}"
        )
    options = read_options(config) if config.expert_data else ReadOptions()  # the shipped files need none
    return load_trajectories(path, env, config.n_demos, stream(config.seed, "demonstrations"), options=options)


def read_options(config: RunConfig) -> ReadOptions:
    """Return what the config says about the names and the layout of its demonstrations."""
    return ReadOptions(config.keys, config.obs_keys, config.split_every)


def build_policy(config: RunConfig, env: gym.Env) -> MLPPolicySL:
    """Return a new policy for the environment."""
    import torch  # takes 1.7 s: a mistake in the arguments is reported without it

    from rl_il.infrastructure.pytorch_utils import pick_device
    from rl_il.policies.cnn_policy import picture_settings, policy_class

    pictures = picture_settings(env, config.frame_stack, config.colour, config.whole_picture)
    check_picture_flags(config, env, bool(pictures))
    torch.set_num_threads(config.torch_threads)
    names = "n_layers size activation head loss learning_rate weight_decay".split()
    return policy_class(env).for_env(
        env,
        **{name: getattr(config, name) for name in names},
        **pictures,
        seed=int(stream(config.seed, "weights").integers(2**62)),
        device=pick_device("cpu" if config.no_gpu else config.device, config.which_gpu, bool(pictures)),
    )


def check_picture_flags(config: RunConfig, env: gym.Env, pictures: bool) -> None:
    """Raise `InputError` if a flag does not fit the environment's observations or actions."""
    if pictures and config.normalize_obs:
        raise InputError("--normalize_obs: pixels are always divided by 255; drop the flag")
    if config.augment and not pictures:
        raise InputError(f"--augment: {config.env_name} shows no pictures; drop the flag")
    if "flip_steer" in config.augmentations() and is_discrete(env.action_space):
        raise InputError(f"--augment flip_steer: {config.env_name} has no steering to mirror; drop it")


def count_eval_episodes(config: RunConfig, env: gym.Env) -> int:
    """Return how many whole episodes an evaluation has, if `eval_episodes` does not say it.

    The course rolls out until it has enough steps, which favours short episodes. Here its `eval_batch_size` is
    divided by the usual episode length of the expert, or by the time limit if that length is unknown.
    """
    limit = episode_limit(env, config.ep_len)
    if limit is None:
        raise InputError(f"{config.env_name} has no time limit; give one with --ep_len")
    usual = min(env_spec(config.env_name).expert_steps or limit, limit)
    return config.eval_episodes or math.ceil(config.eval_batch_size / usual)
