"""Clones with random weights, whose actions vary, states on which they are compared, and a small training by PPO."""

from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

from rl_il.envs import make_env
from rl_il.finetune_config import FinetuneConfig
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.policies.to_sb3 import head_of

BOX = gym.spaces.Box(-10, 10, (5,))
ACTIONS = {
    "integer": gym.spaces.Discrete(4),
    "integers": gym.spaces.MultiDiscrete([2, 3, 4]),
    "numbers": gym.spaces.Box(-1, 1, (2,)),
    "matrix": gym.spaces.Box(-1, np.array([[1, 2], [3, 4]], np.float32), (2, 2)),
}
SMALL = FinetuneConfig(
    env_name="CartPole-v1",
    total_timesteps=256,
    eval_every=128,
    n_envs=2,
    n_steps=32,
    n_epochs=2,
    train_batch_size=32,
    critic_warmup=0,
    kl_to_clone=0.0,
    temperature=1.0,
    eval_episodes=2,
    learning_rate=1e-3,
)


def clone_of(env, offsets: bool = False, **settings) -> MLPPolicySL:
    """Return a policy with weights of usual size, fitted to states of `states_of`."""
    env = make_env(env) if isinstance(env, str) else env
    policy = MLPPolicySL.for_env(env, **{"size": 32, "seed": 3} | settings)
    with torch.no_grad():
        for parameter in head_of(policy).network.parameters():
            parameter.mul_(2)
    policy.fit_normalization(states_of(policy.ob_shape, offsets))
    if policy.normalize_acs:
        rng = np.random.default_rng(2)
        policy.fit_label_normalization(
            rng.normal(size=(50, policy.ac_dim)) * np.linspace(0.1, 3, policy.ac_dim) + 0.2
        )
    return policy


def states_of(ob_shape: tuple[int, ...], offsets: bool = False, n: int = 1000) -> np.ndarray:
    """Return `(n, *ob_shape)` float32: one number is constant, and deviations differ a lot.

    With `offsets`, the mean of a number can be thousands of times its deviation.
    """
    rng, numbers = np.random.default_rng(1), int(np.prod(ob_shape))
    scale = np.geomspace(0.01, 10, numbers)
    scale[0] = 0
    center = np.geomspace(1, 1e5, numbers)[::-1] if offsets else np.linspace(-0.1, 0.1, numbers)
    return (center + scale * rng.normal(size=(n, numbers))).reshape(n, *ob_shape).astype(np.float32)


def trainer_of(clone: Path, **settings):
    """Return a training from the clone in this file, with `SMALL` and these settings."""
    from rl_il.finetuning.trainer import PPOTrainer

    return PPOTrainer(replace(SMALL, **settings), load_policy(clone), labels=7)


def same(one, other) -> bool:
    """Return whether all these tensors are equal."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
