"""Training loops and rollouts as in other projects, for the comparisons of `benchmark.py`.

The command `_peers.py bc FILE.npz` trains on a HalfCheetah expert's file as the course's homework does.
"""

import sys
import time


class CoursePolicy:
    """The course's `MLPPolicySL`: 2 x 64 tanh, eager Adam with torch's default settings."""

    def __init__(self, ob_dim: int, ac_dim: int, discrete: bool):
        import torch

        self.torch, self.discrete = torch, discrete
        linear, tanh = torch.nn.Linear, torch.nn.Tanh
        self.network = torch.nn.Sequential(linear(ob_dim, 64), tanh(), linear(64, 64), tanh(), linear(64, ac_dim))
        self.log_std = torch.nn.Parameter(torch.zeros(ac_dim))
        self.loss = torch.nn.CrossEntropyLoss() if discrete else torch.nn.MSELoss()
        parameters = [*self.network.parameters(), *([] if discrete else [self.log_std])]
        self.optimizer = torch.optim.Adam(parameters, 5e-3)

    def update(self, obs, acs) -> float:
        """Make one gradient step on a minibatch of tensors."""
        loss = self.loss(self.network(obs), acs)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def get_action(self, ob, draw: bool):
        """Return an action for one observation: drawn as in the course, or the most probable one."""
        torch = self.torch
        with torch.no_grad():
            output = self.network(torch.from_numpy(ob[None]).float())
            if self.discrete:
                distribution = torch.distributions.Categorical(logits=output)
                return (distribution.sample() if draw else distribution.probs.argmax(1)).numpy()[0]
            scale = torch.diag(torch.exp(self.log_std))
            distribution = torch.distributions.MultivariateNormal(output, scale_tril=scale)
            return (distribution.sample() if draw else distribution.mean).numpy()[0]


def course_training(obs, acs, policy: CoursePolicy, n_steps: int) -> None:
    """Train as in the course: each minibatch is the beginning of a new permutation of the whole buffer."""
    import numpy as np
    import torch

    for _ in range(n_steps):
        indices = np.random.permutation(len(obs))[:100]
        policy.update(torch.from_numpy(obs[indices]), torch.from_numpy(acs[indices]))


def loader_training(obs, acs, policy: CoursePolicy, n_steps: int) -> float:
    """Train in the usual PyTorch loop over a shuffled DataLoader; return the seconds of `n_steps` gradient steps.

    The rows are shuffled at the beginning of each epoch. An epoch of a million rows has 10,000 steps. If fewer steps
    are made, only the same fraction of the time for shuffling is counted.
    """
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(torch.from_numpy(obs), torch.from_numpy(acs)), batch_size=100, shuffle=True)
    start = time.perf_counter()
    batches = iter(loader)
    first = next(batches)
    shuffling = time.perf_counter() - start
    share, made = min(1.0, n_steps / len(loader)), 0
    start = time.perf_counter()
    policy.update(*first)
    while (made := made + 1) < n_steps:
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        policy.update(*batch)
    return time.perf_counter() - start + share * shuffling


def course_rollouts(env, policy: CoursePolicy, seeds, draw: bool) -> int:
    """Roll out an episode for each seed with Python lists, as the course does; return the number of steps."""
    import numpy as np

    steps = 0
    for seed in seeds:
        ob, _ = env.reset(seed=seed)
        obs, acs, rewards, next_obs, terminals = [], [], [], [], []
        while True:
            obs.append(ob)
            ac = policy.get_action(ob, draw)
            acs.append(ac)
            ob, reward, terminated, truncated, _ = env.step(ac)
            next_obs.append(ob)
            rewards.append(reward)
            terminals.append(int(terminated or truncated))
            steps += 1
            if terminated or truncated:
                break
        for numbers in (obs, rewards, acs, next_obs, terminals):  # the arrays of the course's path dictionary
            np.array(numbers, dtype=np.float32)
    return steps


def course_cloning(file: str) -> None:
    """Do what the homework's script does: 1,000 gradient steps, one evaluation episode, TensorBoard."""
    import tempfile

    import gymnasium as gym
    import numpy as np
    import torch
    from tensorboardX import SummaryWriter

    torch.set_num_threads(1)
    env = gym.make("HalfCheetah-v5")
    data = np.load(file)
    policy = CoursePolicy(17, 6, discrete=False)
    course_training(data["observations"].astype(np.float32), data["actions"].astype(np.float32), policy, 1000)
    with tempfile.TemporaryDirectory() as folder:
        writer = SummaryWriter(folder)
        steps = course_rollouts(env, policy, [1], draw=True)
        writer.add_scalar("Eval_AverageEpLen", steps, 0)
        writer.flush()
        torch.save(policy.network.state_dict(), f"{folder}/policy_itr_0.pt")


IMITATION = """
import tempfile, time, numpy as np, torch
from gymnasium import spaces
from imitation.algorithms.bc import BC
from imitation.data.types import Transitions
from imitation.util import logger
from stable_baselines3.common.policies import ActorCriticPolicy
torch.set_num_threads(1)
rng = np.random.default_rng(0)
obs_space, ac_space = spaces.Box(-np.inf, np.inf, (17,), np.float32), spaces.Box(-1, 1, (6,), np.float32)
policy = ActorCriticPolicy(obs_space, ac_space, lambda _: 5e-3, net_arch=[64, 64], activation_fn=torch.nn.Tanh)
obs, acs = rng.normal(size=(20_000, 17)).astype(np.float32), rng.normal(size=(20_000, 6)).astype(np.float32)
data = Transitions(obs=obs, acts=acs, infos=np.array([{}] * 20_000), next_obs=obs, dones=np.zeros(20_000, bool))
bc = BC(observation_space=obs_space, action_space=ac_space, policy=policy, demonstrations=data, batch_size=100,
        rng=rng, device="cpu", custom_logger=logger.configure(tempfile.mkdtemp(), []))
bc.train(n_batches=20, progress_bar=False)
start = time.perf_counter()
bc.train(n_batches=300, progress_bar=False)
print(300 / (time.perf_counter() - start))
"""
"""A program for a Python that has imitation 1.0.1. It prints the gradient steps/s of imitation's `BC.train`."""


if __name__ == "__main__":
    course_cloning(sys.argv[2])
