"""The two sides of each row of `benchmark.py`: this project, and what it is compared with.

Each generator yields a `Sides` once, and cleans up when it is continued.
"""

from __future__ import annotations

import pickle
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

from _peers import CHUNK, MINIBATCH, CoursePolicy, HeadLoop, course_episodes, fused_training, matrix_products, replay
from _shell import SCRIPTS, printed, seconds

from rl_il.config import RunConfig

CHUNKED = "LunarLanderContinuous-v3"  # 8 numbers to 2; with chunks of 8, the network is about that of Push-T
HEAD_SETTINGS = {"chunk": CHUNK, "n_layers": 3, "size": 256, "activation": "relu", "train_batch_size": MINIBATCH}

Sides = tuple[Callable[[], float], Callable[[], float]]
"""A function that measures this project, and one that measures the other side."""


def pair(ours: Callable[[], float], theirs: Callable[[], float]) -> Iterator[Sides]:
    """Yield two functions that need no preparation."""
    yield ours, theirs


# Training ------------------------------------------------------------------------------------------------


def training(env_name: str, rows: int, loop: Callable, steps: int) -> Iterator[Sides]:
    """Yield the gradient steps/s of compiled training, and of another loop that makes some eager steps."""
    trainer, obs, acs = filled_trainer(env_name, rows)
    peer = CoursePolicy(obs.shape[1], trainer.policy.ac_dim, trainer.policy.discrete, loop is fused_training)
    yield partial(training_speed, trainer), partial(loop_speed, loop, obs, acs, peer, steps)


def head_training(head: str, rows: int = 20_000, steps: int = 1000) -> Iterator[Sides]:
    """Yield the gradient steps/s of a head for chunks, compiled, and of a plain loop with PyTorch's Adam."""
    trainer, obs, acs = filled_trainer(CHUNKED, rows, steps=steps, head=head, **HEAD_SETTINGS)
    peer = HeadLoop(head, obs, acs)
    yield partial(training_speed, trainer), partial(loop_speed, HeadLoop.train, peer, steps)


def head_limit(head: str, rows: int = 20_000, steps: int = 1000) -> Iterator[Sides]:
    """Yield the gradient steps/s of a head for chunks, compiled, and those if only its matrix products took time."""
    trainer, obs, acs = filled_trainer(CHUNKED, rows, steps=steps, head=head, **HEAD_SETTINGS)
    products = matrix_products(HeadLoop(head, obs, acs).widths)
    yield partial(training_speed, trainer), partial(loop_speed, products, steps)


def imitation_training(python: str) -> Iterator[Sides]:
    """Yield the gradient steps/s of compiled training with imitation's loss, and of imitation's `BC.train`."""
    trainer, _, _ = filled_trainer("HalfCheetah-v5", 20_000, loss="nll")
    yield partial(training_speed, trainer), partial(printed, [python, SCRIPTS / "_imitation.py", "bc"])


def loop_speed(loop: Callable, *args) -> float:
    """Return gradient steps/s of another loop; its last argument is how many it makes.

    The loop may return the seconds to be counted.
    """
    start, steps = time.perf_counter(), args[-1]
    taken = loop(*args)
    return steps / (taken or time.perf_counter() - start)


def training_speed(trainer) -> float:
    """Return gradient steps/s of the training of one iteration."""

    def train() -> None:
        for minibatches, _ in trainer.remaining_blocks(0):
            trainer.fit(minibatches, 0, 0)

    return trainer.config.num_agent_train_steps_per_iter / seconds(train)


@lru_cache(maxsize=1)  # for the next row
def filled_trainer(env_name: str, rows: int, steps: int = 3000, compile: str = "on", **settings):
    """Return a trainer with `rows` rows of random numbers in its buffer, and these observations and actions."""
    import numpy as np

    from rl_il.envs import make_env
    from rl_il.infrastructure.rl_trainer import RLTrainer
    from rl_il.runs.parts import build_policy
    from rl_il.types import Trajectory

    env, rng = make_env(env_name), np.random.default_rng(0)
    config = RunConfig(env_name=env_name, num_agent_train_steps_per_iter=steps, compile=compile, **settings)
    policy = build_policy(config, env)
    obs = rng.standard_normal((rows + 1, *policy.ob_shape), np.float32)
    if policy.discrete:
        acs = rng.integers(policy.ac_dim, size=rows)
    else:
        acs = rng.standard_normal((rows, policy.ac_dim), np.float32)
    trainer = RLTrainer(config, env, policy, [Trajectory(obs, acs, np.zeros(rows))])
    trainer.add(0, trainer.demonstrations)
    return trainer, obs[:-1], acs


# Rollouts ------------------------------------------------------------------------------------------------


def rollouts(env_name: str, episodes: int) -> Iterator[Sides]:
    """Yield the environment steps/s of a BC policy that acts greedily, in the same episodes on both sides."""
    env, policy = cloned(env_name)
    peer = CoursePolicy(policy.ob_shape[0], policy.ac_dim, policy.discrete)
    peer.network.load_state_dict(policy.head.network.state_dict())
    yield partial(steps_per_second, env, policy.actor(), episodes), partial(course_speed, env, peer, episodes)


def two_workers(env_name: str, episodes: int) -> Iterator[Sides]:
    """Yield the environment steps/s in two processes, and in this one."""
    from rl_il.infrastructure.workers import rollout_source

    env, policy = cloned(env_name)
    with rollout_source(env, 2, close_env=False) as workers:
        yield tuple(partial(steps_per_second, place, policy.actor(), episodes) for place in (workers, env))


def course_speed(env, peer, episodes: int) -> float:
    """Return environment steps/s of the course's sampler. It acts greedily; drawing actions would be slower."""
    from rl_il.seeding import episode_seeds, stream

    seeds = list(islice(episode_seeds(stream(0, "evaluation")), episodes))  # as in `sample_n_trajectories`
    start = time.perf_counter()
    steps = sum(len(path["reward"]) for path in course_episodes(env, peer, seeds, draw=False))
    return steps / (time.perf_counter() - start)


@lru_cache(maxsize=1)
def cloned(env_name: str):
    """Return the environment, and a BC policy of its included demonstrations."""
    import numpy as np

    from rl_il.datasets import load_trajectories
    from rl_il.envs import env_row, make_env
    from rl_il.infrastructure.replay_buffer import ReplayBuffer
    from rl_il.policies.mlp_policy import MLPPolicySL

    env, buffer = make_env(env_name), ReplayBuffer()
    buffer.add(load_trajectories(env_row(env_name).demos_path, env))
    policy = MLPPolicySL.for_env(env)
    for rows in buffer.draws(100, np.random.default_rng(0), 2000):
        policy.update(*buffer.batch(rows))
    return env, policy


def steps_per_second(source, actor, episodes: int) -> float:
    """Return environment steps/s of the actor's rollouts."""
    from rl_il.infrastructure.rollouts import sample_n_trajectories
    from rl_il.seeding import stream

    start = time.perf_counter()
    steps = sum(map(len, sample_n_trajectories(source, actor, episodes, stream(0, "evaluation"))))
    return steps / (time.perf_counter() - start)


# Whole runs ----------------------------------------------------------------------------------------------


def stepping(env_name: str, num_workers: int, **changes) -> Iterator[Sides]:
    """Yield the seconds of a DAgger run without its start, and of only its environment steps, in equal processes."""
    from rl_il.infrastructure.rollouts import NO_STATISTICS
    from rl_il.infrastructure.workers import rollout_source
    from rl_il.runs.parts import Inputs, count_eval_episodes, find_expert, find_rule, load_demonstrations
    from rl_il.runs.run_folder import RunFolder
    from rl_il.runs.training import build, train_in_folder

    flags = {"do_dagger": True, "n_iter": 10, "eval_batch_size": 5000, "video_log_freq": -1, "compile": "on"}
    config = RunConfig(env_name=env_name, num_workers=num_workers, **flags | changes)
    env = recording(env_name)
    expert, n_eval_episodes = find_expert(config, env), count_eval_episodes(config, env)

    def run(place) -> float:
        inputs = Inputs(env, place, expert, load_demonstrations(config, env), n_eval_episodes, 0.0, find_rule(config))
        parts = build(config, inputs, verbose=False)
        with tempfile.TemporaryDirectory() as folder:
            run_folder = RunFolder(Path(folder), config)
            run_folder.begin({"config": {}, "inputs": []})
            return seconds(partial(train_in_folder, parts, run_folder, NO_STATISTICS))

    run(env)  # records the episodes: those of the same run in other processes are equal
    with tempfile.TemporaryDirectory() as folder, rollout_source(env.env, num_workers) as place:
        file = Path(folder) / "episodes.pkl"
        file.write_bytes(pickle.dumps(env.log))
        yield partial(run, place), partial(seconds, partial(repeat_steps, place, file, len(env.log)))


def repeat_steps(place, file: Path, n: int) -> int:
    """Make the environment steps of n recorded episodes, in this process or in workers; return how many they are."""
    step = partial(replay, str(file))
    if hasattr(place, "episodes"):
        return sum(place.episodes(step, range(n)))
    return sum(step(place, i) for i in range(n))


def recording(env_name: str):
    """Return the environment in a wrapper that records each episode's seed and actions in `log`."""
    import gymnasium as gym

    from rl_il.envs import make_env

    class Recording(gym.Wrapper):
        def __init__(self, env):
            super().__init__(env)
            self.log: list[tuple[int, list]] = []

        def reset(self, *, seed=None, options=None):
            self.log.append((seed, []))
            return self.env.reset(seed=seed, options=options)

        def step(self, action):
            self.log[-1][1].append(action)
            return self.env.step(action)

    return Recording(make_env(env_name))


# The buffer ----------------------------------------------------------------------------------------------


def adding() -> Iterator[Sides]:
    """Yield the seconds for adding 1,000 transitions to the full default buffer, and to an empty one."""
    import numpy as np

    from rl_il.infrastructure.replay_buffer import ReplayBuffer
    from rl_il.types import Trajectory

    rng = np.random.default_rng(0)
    obs, acs = rng.standard_normal((1_000_001, 27), np.float32), rng.standard_normal((1_000_000, 8), np.float32)
    full = ReplayBuffer()
    full.add([Trajectory(obs, acs, np.zeros(len(acs)))])
    few = [Trajectory(obs[:1001], acs[:1000], np.zeros(1000))]
    warnings.simplefilter("ignore")  # the full buffer warns that it drops the oldest rows

    def median(make_buffer: Callable[[], ReplayBuffer]) -> float:
        return statistics.median(seconds(partial(make_buffer().add, few)) for _ in range(20))

    yield partial(median, lambda: full), partial(median, ReplayBuffer)


def transitions() -> Iterator[Sides]:
    """Yield the memory for a million transitions, and their bytes."""
    yield partial(printed, [sys.executable, "-c", WEIGHT + TRANSITIONS]), lambda: 1e6 * 35 * 4 / 1.024e6


def pictures() -> Iterator[Sides]:
    """Yield the memory for the pictures of a hundred laps, and 3 GB."""
    yield partial(printed, [sys.executable, "-c", WEIGHT + PICTURES]), lambda: 3e9 / 1.024e6


WEIGHT = """
import re
import numpy as np
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.types import Trajectory
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status", encoding="utf-8").read())[1]) / 1e3
"""
"""The beginning of a program that prints the peak memory of a buffer that it fills, in units of 1,000 KiB."""
TRANSITIONS = """
few = Trajectory(np.ones((1001, 27), np.float32), np.ones((1000, 8), np.float32), np.zeros(1000))
warm = ReplayBuffer()
warm.add([few])
before, buffer = peak(), ReplayBuffer()
for _ in range(1000):
    buffer.add([few])
print(peak() - before)
"""
PICTURES = """
lap = Trajectory(np.ones((1001, 96, 96, 3), np.uint8), np.ones((1000, 3), np.float32), np.zeros(1000))
before, buffer = peak(), ReplayBuffer(100_000, frame_stack=4)
for _ in range(100):
    buffer.add([lap])
print(peak() - before)
"""
