"""Training loops, rollouts and the homework's script as in other projects, for the comparisons of `benchmark.py`.

This file is also the homework's script: `python _peers.py ENV DEMONSTRATIONS GRADIENT_STEPS EVAL_EPISODES [EXPERT]`.
With an expert, which must have discrete actions, it makes a DAgger run, else it clones. It has no videos.
"""

from __future__ import annotations

import math
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import count, islice, pairwise

N_ITER = 10  # of a DAgger run
BATCH_SIZE = 1000  # environment steps that it collects in each iteration
CHUNK, MINIBATCH, HIDDEN = 8, 128, (256, 256, 256)  # of the heads that are compared
MODES = 5


class CoursePolicy:
    """The course's `MLPPolicySL`: 2 x 64 tanh, eager Adam with torch's default settings, or its fused one."""

    def __init__(self, ob_dim: int, ac_dim: int, discrete: bool, fused: bool = False):
        import torch

        self.torch, self.discrete = torch, discrete
        linear, tanh = torch.nn.Linear, torch.nn.Tanh
        self.network = torch.nn.Sequential(linear(ob_dim, 64), tanh(), linear(64, 64), tanh(), linear(64, ac_dim))
        self.log_std = torch.nn.Parameter(torch.zeros(ac_dim))
        self.loss = torch.nn.CrossEntropyLoss() if discrete else torch.nn.MSELoss()
        parameters = [*self.network.parameters(), *([] if discrete else [self.log_std])]
        self.optimizer = torch.optim.Adam(parameters, 5e-3, fused=fused)

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


def fused_training(obs, acs, policy: CoursePolicy, n_steps: int) -> None:
    """Train as fast as a plain PyTorch loop can: all data are a tensor, and rows are drawn with replacement.

    The policy should have the fused optimiser.
    """
    import torch

    obs, acs = torch.from_numpy(obs), torch.from_numpy(acs)
    for rows in torch.randint(len(obs), (n_steps, 100)):
        policy.update(obs[rows], acs[rows])


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


class HeadLoop:
    """A plain PyTorch loop that trains a head for chunks: `gaussian` (mean squared error), `mixture` or `flow`.

    All data are a tensor, rows are drawn with replacement, and Adam has torch's default settings.
    """

    def __init__(self, head: str, obs, acs):
        import torch

        self.torch, self.obs = torch, torch.from_numpy(obs[: len(obs) - CHUNK + 1])
        windows = torch.from_numpy(acs).unfold(0, CHUNK, 1)  # (N, ac_dim, CHUNK)
        self.labels = windows.transpose(1, 2).flatten(1).contiguous()
        numbers = self.labels.shape[1]
        extra = numbers + 1 if head == "flow" else 0  # a point and a time
        outputs = MODES * (1 + 2 * numbers) if head == "mixture" else numbers
        self.widths = (self.obs.shape[1] + extra, *HIDDEN, outputs)
        *hidden, last = (torch.nn.Linear(*ends) for ends in pairwise(self.widths))
        self.network = torch.nn.Sequential(*(part for layer in hidden for part in (layer, torch.nn.ReLU())), last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), 5e-3)
        self.loss = getattr(self, f"{head}_loss")

    def train(self, n_steps: int) -> None:
        """Make the gradient steps."""
        for rows in self.torch.randint(len(self.obs), (n_steps, MINIBATCH)):
            loss = self.loss(self.obs[rows], self.labels[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()

    def gaussian_loss(self, obs, labels):
        """Return the mean squared error."""
        return self.torch.nn.functional.mse_loss(self.network(obs), labels)

    def mixture_loss(self, obs, labels):
        """Return the negative log-likelihood of a mixture of Gaussians, for each number of a chunk."""
        numbers = labels.shape[1]
        logits, means, log_stds = self.network(obs).split([MODES, MODES * numbers, MODES * numbers], dim=1)
        scales = log_stds.clamp(-4, 2).exp().unflatten(1, (MODES, numbers))
        distances = (labels[:, None] - means.unflatten(1, (MODES, numbers))) / scales
        logs = (-distances.square() / 2 - scales.log() - math.log(2 * math.pi) / 2).sum(2)
        return -self.torch.logsumexp(logits.log_softmax(1) + logs, 1).mean() / numbers

    def flow_loss(self, obs, labels):
        """Return the error of the velocity at a random point between noise and label."""
        start, t = self.torch.randn_like(labels), self.torch.rand(len(labels), 1)
        inputs = self.torch.cat((obs, (1 - t) * start + t * labels, t), 1)
        return self.torch.nn.functional.mse_loss(self.network(inputs), labels - start)


def matrix_products(widths: Sequence[int]) -> Callable[[int], None]:
    """Return a function that makes only the matrix products of `n` gradient steps of a network with these widths.

    Each layer has three: of its outputs, of the gradient of its weights and, but for the first, of its inputs.
    """
    import torch

    values = [torch.randn(MINIBATCH, width) for width in widths]
    layers = [(torch.randn(a, b), x, y) for (a, b), (x, y) in zip(pairwise(widths), pairwise(values), strict=True)]

    def multiply(n: int) -> None:
        for _ in range(n):
            for i, (weight, inputs, outputs) in enumerate(layers):
                torch.mm(inputs, weight)
                torch.mm(inputs.T, outputs)
                if i:
                    torch.mm(outputs, weight.T)

    return multiply


def course_episodes(env, policy: CoursePolicy, seeds: Iterable[int], draw: bool) -> Iterator[dict]:
    """Roll out an episode for each seed with Python lists, as the course does; yield its path dictionary."""
    import numpy as np

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
            if terminated or truncated:
                break
        lists = {"observation": obs, "reward": rewards, "next_observation": next_obs, "terminal": terminals}
        path = {name: np.array(numbers, dtype=np.float32) for name, numbers in lists.items()}
        yield path | {"action": np.array(acs)}


def course_run(env_name: str, demos: str, n_steps: int, eval_episodes: int, expert: str | None = None) -> None:
    """Do what the homework's script does: in each iteration data, gradient steps, evaluation, TensorBoard, a file."""
    import gymnasium as gym
    import numpy as np
    import torch
    from tensorboardX import SummaryWriter

    torch.set_num_threads(1)
    torch.manual_seed(1)
    np.random.seed(1)
    env, seeds = gym.make(env_name), count(1)
    obs, acs = demonstrations(demos)
    policy = CoursePolicy(obs.shape[1], env.action_space.n if acs.ndim == 1 else acs.shape[1], acs.ndim == 1)
    label = expert and expert_network(expert)
    with tempfile.TemporaryDirectory() as folder:
        writer = SummaryWriter(folder)
        for itr in range(N_ITER if label else 1):
            if itr:
                paths = at_least(BATCH_SIZE, course_episodes(env, policy, seeds, draw=True))
                with torch.no_grad():
                    labels = [label(torch.from_numpy(path["observation"])).argmax(1).numpy() for path in paths]
                obs = np.concatenate([obs, *(path["observation"] for path in paths)])
                acs = np.concatenate([acs, *labels])
            course_training(obs, acs, policy, n_steps)
            evaluated = list(islice(course_episodes(env, policy, seeds, draw=True), eval_episodes))
            returns = [path["reward"].sum() for path in evaluated]
            for measure in (np.mean, np.std, np.max, np.min):
                writer.add_scalar(f"Eval_{measure.__name__}Return", measure(returns), itr)
            writer.flush()
            torch.save(policy.network.state_dict(), f"{folder}/policy_itr_{itr}.pt")
            print(itr, len(obs), np.mean(returns), sum(len(path["reward"]) for path in evaluated), flush=True)


def at_least(n_steps: int, episodes: Iterator[dict]) -> list[dict]:
    """Return the first episodes that have `n_steps` steps in total."""
    paths, steps = [], 0
    while steps < n_steps:
        paths.append(next(episodes))
        steps += len(paths[-1]["reward"])
    return paths


def demonstrations(file: str):
    """Return the observations and the actions of an included file of demonstrations."""
    import numpy as np

    data = np.load(file)
    return data["observations"], data["actions"]


def expert_network(file: str):
    """Return the network of logits of an included expert with discrete actions."""
    import numpy as np
    import torch

    data, layers = np.load(file), []
    for i in range(3):
        weight = torch.from_numpy(data[f"w{i}"])
        layers += [torch.nn.Linear(*weight.shape), torch.nn.ReLU()]
        layers[-2].load_state_dict({"weight": weight.T, "bias": torch.from_numpy(data[f"b{i}"])})
    return torch.nn.Sequential(*layers[:-1])


def replay(file: str, env, seed: int) -> int:
    """Repeat the recorded episode with this number: only the environment's steps. Return how many these are.

    Worker processes call it, with the number in place of a seed.
    """
    env_seed, acs = recorded(file)[seed]
    env.reset(seed=env_seed)
    for ac in acs:
        env.step(ac)
    return len(acs)


@lru_cache(maxsize=1)
def recorded(file: str) -> list[tuple[int, list]]:
    """Return the seed and the actions of each recorded episode."""
    with open(file, "rb") as opened:
        return pickle.load(opened)


def numbers_from(words: list[str]) -> list:
    """Return the words of a command, with integers as `int`."""
    return [int(word) if word.isdecimal() else word for word in words]


if __name__ == "__main__":
    course_run(*numbers_from(sys.argv[1:]))
