"""The default rule is DAgger as its paper has it, to the last digit."""

import gymnasium as gym
import numpy as np
import torch
from fakes import Combination, CombinationExpert

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.infrastructure.dagger import DAgger, ExpertTeacher
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.seeding import episode_seeds, stream
from rl_il.types import EXPERT

LOCK = "CombinationUsual-v0"  # the states that are visited depend on the actions
gym.register(LOCK, Combination, max_episode_steps=10, kwargs={"action_space": gym.spaces.Discrete(4)})


def new_policy(env):
    return MLPPolicySL.for_env(env, n_layers=1, size=8, seed=3)


def plain_dagger(env, policy, expert, demonstration, n_iter, batch_size, steps, rows):
    """Train the policy by algorithm 3.1 of Ross, Gordon and Bagnell (2011), with beta 1, 0, 0, ...

    Return the observations and labels of all iterations, and the actions that the learner executed.
    """
    obs, acs, executed = [*demonstration.obs[:-1]], [*demonstration.acs], []
    for itr in range(n_iter):
        learner, seeds, visited = policy.actor(), episode_seeds(stream(1, "collection", itr)), 0
        while itr and visited < batch_size:
            (ob, _), ended = env.reset(seed=next(seeds)), False
            while not ended:
                obs.append(ob)
                acs.append(expert.get_action(ob))
                executed.append(int(learner.get_action(ob)))
                ob, _, *ends, _ = env.step(executed[-1])
                ended, visited = any(ends), visited + 1
        rng = stream(1, "training", itr)
        for _ in range(steps):
            drawn = rng.integers(len(obs), size=rows)
            policy.update(torch.from_numpy(np.array(obs)[drawn]), torch.from_numpy(np.array(acs)[drawn]))
    return np.array(obs), np.array(acs), executed


def test_vanilla_dagger_is_the_papers_loop():
    env = make_env(LOCK)
    expert, size = CombinationExpert(env.action_space), {"n_iter": 4, "batch_size": 25}
    demonstration = sample_trajectory(env, expert, 3, source=EXPERT)
    steps = {"num_agent_train_steps_per_iter": 8, "train_batch_size": 4}
    config = RunConfig(LOCK, do_dagger=True, compile="off", seed=1, **size, **steps)
    trainer = RLTrainer(config, env, new_policy(env), [demonstration], DAgger(), ExpertTeacher(expert))
    env.unwrapped.executed.clear()
    trainer.run_training_loop()
    done = [*env.unwrapped.executed]
    policy = new_policy(env)
    obs, acs, executed = plain_dagger(env, policy, expert, demonstration, **size, steps=8, rows=4)
    assert done == executed and executed != acs[10:].tolist()  # the learner makes mistakes
    np.testing.assert_array_equal(trainer.buffer.obs, obs)
    np.testing.assert_array_equal(trainer.buffer.acs, acs)
    weights = trainer.policy.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in policy.state_dict().items())
    n = len(executed)
    assert trainer.counts == (n, n + 10, n + 10, 0, 0)
