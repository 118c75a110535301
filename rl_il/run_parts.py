"""What a run is made of, from its config: expert, demonstrations, policy, training loop, and the expert's score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.dagger import RULES
from rl_il.datasets import load_trajectories
from rl_il.envs import env_spec, episode_limit, is_discrete
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import RolloutSource, returns_and_lengths
from rl_il.infrastructure.seeding import stream
from rl_il.policies.experts import load_expert
from rl_il.types import Expert, Trajectory, answers_live_only, reads_simulator

if TYPE_CHECKING:  # these import torch, which a mistake in the arguments should not wait for
    from rl_il.infrastructure.rl_trainer import RLTrainer
    from rl_il.policies.mlp_policy import MLPPolicySL

LEAST_EXPERT_EPISODES = 10

Episodes = tuple[np.ndarray, np.ndarray]
"""Returns and lengths of evaluation episodes, `(n,)` each."""
NO_EPISODES: Episodes = (np.empty(0), np.empty(0, int))


def find_expert(config: RunConfig, env: gym.Env) -> Expert | None:
    """The expert that was named, or the one shipped; None where a clone can do without."""
    if not (config.expert_policy_file or config.do_dagger or env_spec(config.env_name).expert):
        return None
    expert = load_expert(config.expert_policy_file, env, config.expert_activation)
    if config.vec_env == "envpool" and reads_simulator(expert):
        raise InputError(
            f"--vec_env envpool: the expert of {config.env_name} reads Gymnasium's simulator; drop the flag"
        )
    return expert


def load_demonstrations(config: RunConfig, env: gym.Env) -> list[Trajectory]:
    """The demonstrations that were named, or those shipped for the environment."""
    path = config.expert_data or env_spec(config.env_name).demos_path
    if path is None:
        by = "" if env_spec(config.env_name).expert else " --policy FILE_OF_AN_EXPERT"
        raise InputError(
            f"no demonstrations are shipped for {config.env_name}; give --expert_data FILE, or record some:"
            f" python scripts/record_demos.py --env_name {config.env_name}{by}"
        )
    return load_trajectories(path, env, config.n_demos, stream(config.seed, "demonstrations"))


def build_policy(config: RunConfig, env: gym.Env) -> MLPPolicySL:
    """A fresh policy for the environment."""
    import torch  # 1.7 s, which a mistake in the arguments should not cost

    from rl_il.infrastructure.pytorch_utils import pick_device
    from rl_il.policies.cnn_policy import picture_settings, policy_class

    pictures = picture_settings(env, config.frame_stack, config.colour, config.whole_picture)
    check_picture_flags(config, env, bool(pictures))
    torch.set_num_threads(config.torch_threads)
    names = "n_layers size activation loss learning_rate weight_decay".split()
    return policy_class(env).for_env(
        env,
        **{name: getattr(config, name) for name in names},
        **pictures,
        seed=int(stream(config.seed, "weights").integers(2**62)),
        device=pick_device("cpu" if config.no_gpu else config.device, config.which_gpu, bool(pictures)),
    )


def check_picture_flags(config: RunConfig, env: gym.Env, pictures: bool) -> None:
    """Raises `InputError` for flags that say nothing about what this environment shows."""
    if pictures and config.normalize_obs:
        raise InputError("--normalize_obs: pixels are always divided by 255; drop the flag")
    if config.augment and not pictures:
        raise InputError(f"--augment: {config.env_name} shows no pictures; drop the flag")
    if "flip_steer" in config.augmentations() and is_discrete(env.action_space):
        raise InputError(f"--augment flip_steer: {config.env_name} has no steering to mirror; drop it")


def build_trainer(
    config: RunConfig,
    env: RolloutSource,
    policy: MLPPolicySL,
    demonstrations: list[Trajectory],
    expert: Expert | None,
    n_eval_episodes: int,
    verbose: bool,
) -> RLTrainer:
    """The training loop, which does not log yet."""
    from rl_il.infrastructure.rl_trainer import RLTrainer

    return RLTrainer(
        config,
        env,
        policy,
        demonstrations,
        rule=RULES["dagger"](expert, config.beta_decay) if config.do_dagger else None,
        # The expert and the policy are compared on recorded states.
        expert=None if expert is None or answers_live_only(expert) or answers_live_only(policy) else expert,
        n_eval_episodes=n_eval_episodes,
        verbose=verbose,
    )


def count_eval_episodes(config: RunConfig, env: gym.Env) -> int:
    """Whole episodes an evaluation. The course goes on until it has enough steps, which favours short episodes; here
    its `eval_batch_size` is turned into the number of episodes that the expert would need for so many steps."""
    limit = episode_limit(env, config.ep_len)
    if limit is None:
        raise InputError(f"{config.env_name} has no time limit of its own; give one with --ep_len")
    usual = min(env_spec(config.env_name).expert_steps or limit, limit)
    return config.eval_episodes or math.ceil(config.eval_batch_size / usual)


def measure_expert(trainer: RLTrainer, expert: Expert | None) -> Episodes:
    """The live expert on fresh episodes: stored scores come from other versions of the physics."""
    if expert is None:
        return NO_EPISODES
    with trainer.clock.phase("expert"):
        n = count_expert_episodes(trainer.n_eval_episodes)
        return returns_and_lengths(list(trainer.roll_out(expert, "expert", 0, n)))


def count_expert_episodes(n_eval_episodes: int) -> int:
    """Episodes on which the expert is measured: as many as the learner, and ten at least."""
    return max(n_eval_episodes, LEAST_EXPERT_EPISODES)
