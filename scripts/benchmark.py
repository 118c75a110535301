"""Compare the speed of this project with that of other code that does the same work.

Most rows have the medians of alternating measurements of both sides, with one thread. Run it when no other program
uses the machine. The code that it compares with is in `_peers.py`.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from unittest import mock

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch are imported

from rl_il.config import RunConfig
from rl_il.errors import InputError, run_command
from rl_il.files import REPOSITORY, write_json
from rl_il.options import CommandParser, path, positive_integer

EXAMPLES = """examples:
  the whole table, in about 4 minutes:
    python scripts/benchmark.py --json benchmark.json
  the rows about training, with a comparison with imitation, which needs a separate environment:
    python -m venv /tmp/imitation && /tmp/imitation/bin/pip install imitation==1.0.1 \\
      "gymnasium~=0.29" "stable-baselines3~=2.2"
    python scripts/benchmark.py --only training --imitation /tmp/imitation/bin/python
"""

AT_LEAST, AT_MOST = "at least", "at most"


@dataclass(frozen=True)
class Row:
    """One row of the table. `ratio` is how many times faster this project is, or how many times as much it needs."""

    name: str
    unit: str
    ours: float
    theirs: float
    bound: str
    target: float

    @property
    def ratio(self) -> float:
        """Return theirs / ours if both are times and a large ratio is good; else ours / theirs."""
        return self.theirs / self.ours if self.unit == "s" and self.bound == AT_LEAST else self.ours / self.theirs

    @property
    def met(self) -> bool:
        """Return whether the ratio reaches the target."""
        return self.ratio >= self.target if self.bound == AT_LEAST else self.ratio <= self.target


def alternate(ours: Callable[[], float], theirs: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Measure both sides alternately and return their medians."""
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    return tuple(map(statistics.median, zip(*pairs, strict=True)))


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# Training ------------------------------------------------------------------------------------------------


def training(repeats: int, imitation: str | None) -> Iterator[Row]:
    """Yield rows of gradient steps/s: compiled training, compared with loops that use eager Adam."""
    from _peers import CoursePolicy, course_training, loader_training

    if imitation:
        imitation_speed(imitation)  # so that an error comes before the long measurements
    for env_name, loss in (("HalfCheetah-v5", "MSE 17 to 6"), ("LunarLander-v3", "cross-entropy 8 to 4")):
        for rows, course_steps in ((20_000, 500), (1_000_000, 40)):
            trainer, obs, acs = filled_trainer(env_name, rows)
            peer = CoursePolicy(obs.shape[1], trainer.policy.ac_dim, trainer.policy.discrete)
            ours = partial(training_speed, trainer)
            ours()  # compiles
            for name, loop, steps in (
                ("the course's loop", course_training, course_steps),
                ("a DataLoader", loader_training, 500),
            ):
                theirs = partial(loop_speed, loop, obs, acs, peer, steps)
                theirs()
                what = f"training: gradient steps/s, {loss}, {rows:,} rows, against {name}"
                yield Row(what, "steps/s", *alternate(ours, theirs, repeats), AT_LEAST, 6)
    if imitation:
        trainer, _, _ = filled_trainer("HalfCheetah-v5", 20_000, loss="nll")  # the loss of imitation
        ours = partial(training_speed, trainer)
        ours()
        what = "training: gradient steps/s, Gaussian likelihood 17 to 6, 20,000 rows, against imitation's BC.train"
        yield Row(what, "steps/s", *alternate(ours, partial(imitation_speed, imitation), repeats), AT_LEAST, 20)


def loop_speed(loop: Callable, obs, acs, peer, steps: int) -> float:
    """Return gradient steps/s of another loop. The loop may return the seconds to be counted."""
    start = time.perf_counter()
    taken = loop(obs, acs, peer, steps)
    return steps / (taken or time.perf_counter() - start)


def imitation_speed(python: str) -> float:
    """Return gradient steps/s of imitation's `BC.train`, measured in the other Python."""
    from _peers import IMITATION

    done = subprocess.run([python, "-c", IMITATION], capture_output=True, encoding="utf-8")
    if done.returncode:
        raise InputError(f"--imitation {python}: {(done.stderr.splitlines() or ['failed'])[-1]}")
    return float(done.stdout.split()[-1])


def training_speed(trainer) -> float:
    """Return gradient steps/s of the training of one iteration."""

    def train() -> None:
        for minibatches, _ in trainer.remaining_blocks(0):
            trainer.fit(minibatches, 0, 0)

    return trainer.config.num_agent_train_steps_per_iter / seconds(train)


def filled_trainer(env_name: str, rows: int, loss: str | None = None, steps: int = 3000, compile: str = "on"):
    """Return a trainer with `rows` rows of random numbers in its buffer, and these observations and actions."""
    import numpy as np

    from rl_il.envs import make_env
    from rl_il.infrastructure.rl_trainer import RLTrainer
    from rl_il.policies.mlp_policy import MLPPolicySL
    from rl_il.types import Trajectory

    env, rng = make_env(env_name), np.random.default_rng(0)
    config = RunConfig(env_name=env_name, num_agent_train_steps_per_iter=steps, compile=compile, loss=loss)
    policy = MLPPolicySL.for_env(env, loss=loss)
    obs = rng.standard_normal((rows + 1, *policy.ob_shape), np.float32)
    if policy.discrete:
        acs = rng.integers(policy.ac_dim, size=rows)
    else:
        acs = rng.standard_normal((rows, policy.ac_dim), np.float32)
    trainer = RLTrainer(config, env, policy, [Trajectory(obs, acs, np.zeros(rows))])
    trainer.add(0, trainer.demonstrations)
    return trainer, obs[:-1], acs


# Rollouts ------------------------------------------------------------------------------------------------


def rollouts(repeats: int, _: str | None) -> Iterator[Row]:
    """Yield rows of environment steps/s of a BC policy that acts greedily, in the same episodes on both sides."""
    from _peers import CoursePolicy

    from rl_il.infrastructure.workers import RolloutWorkers

    for env_name, target, few, many in (
        ("LunarLander-v3", 2.5, 20, 200),
        ("HalfCheetah-v5", 1.3, 5, 24),
        ("Ant-v5", 1.3, 3, 8),
    ):
        env, policy = cloned(env_name)
        peer, actor = CoursePolicy(policy.ob_shape[0], policy.ac_dim, policy.discrete), policy.actor()
        peer.network.load_state_dict(policy.head.network.state_dict())
        ours, theirs = partial(steps_per_second, env, actor, few), partial(course_speed, env, peer, few)
        what = f"rollouts: environment steps/s, {env_name}, against a torch forward a step and Python lists"
        yield Row(what, "steps/s", *alternate(ours, theirs, repeats), AT_LEAST, target)
        workers = RolloutWorkers(env_name, 2)
        try:
            two, one = partial(steps_per_second, workers, actor, many), partial(steps_per_second, env, actor, many)
            two()
            what = f"rollouts: the same, {env_name}, 2 workers against 1"
            yield Row(what, "steps/s", *alternate(two, one, repeats), AT_LEAST, 1.7)
        finally:
            workers.close()


def course_speed(env, peer, episodes: int) -> float:
    """Return environment steps/s of the course's sampler. It acts greedily; drawing actions would be slower."""
    from _peers import course_rollouts

    from rl_il.seeding import episode_seeds, stream

    seeds = list(islice(episode_seeds(stream(0, "evaluation")), episodes))  # as in `sample_n_trajectories`
    start = time.perf_counter()
    return course_rollouts(env, peer, seeds, draw=False) / (time.perf_counter() - start)


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


def dagger(repeats: int, _: str | None) -> Iterator[Row]:
    """Yield rows of the seconds of a DAgger run, compared with those of only its environment steps."""
    for env_name, target in (("Ant-v5", 1.3), ("HalfCheetah-v5", 2.5), ("LunarLander-v3", 2.5)):
        run, stepping = dagger_and_replay(env_name)
        what = f"DAgger: {env_name}, 10 iterations, --compile on (start-up left out), against stepping alone"
        yield Row(what, "s", *alternate(run, stepping, repeats), AT_MOST, target)


def dagger_and_replay(env_name: str, **changes) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return two functions. One makes a DAgger run, the other only its environment steps. Both return the seconds."""
    from rl_il.infrastructure.compiled import CompiledUpdate
    from rl_il.infrastructure.rollouts import NO_STATISTICS
    from rl_il.runs.parts import Inputs, count_eval_episodes, find_expert, find_rule, load_demonstrations
    from rl_il.runs.run_folder import RunFolder
    from rl_il.runs.training import build, train_in_folder

    flags = {"do_dagger": True, "n_iter": 10, "eval_batch_size": 5000, "video_log_freq": -1, "compile": "on"}
    config, env = RunConfig(env_name=env_name, **flags | changes), recording(env_name)
    expert, n_eval_episodes = find_expert(config, env), count_eval_episodes(config, env)
    compiling: list[float] = []
    compile_step = CompiledUpdate._compile

    def timed(self, buffer):
        start = time.perf_counter()
        step = compile_step(self, buffer)
        compiling.append(time.perf_counter() - start)
        return step

    def run(place=env.env) -> float:
        inputs = Inputs(env, place, expert, load_demonstrations(config, env), n_eval_episodes, 0.0, find_rule(config))
        parts = build(config, inputs, verbose=False)
        compiling.clear()
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(CompiledUpdate, "_compile", timed):
            run_folder = RunFolder(Path(folder), config)
            run_folder.begin({"config": {}})
            train = partial(train_in_folder, parts, run_folder, NO_STATISTICS)
            return seconds(train) - sum(compiling)

    run(env)  # records seeds and actions
    return run, partial(replay, env=env)


def replay(env) -> float:
    """Return the seconds that only the environment needs for the recorded episodes."""

    def steps() -> None:
        for seed, acs in env.log:
            env.env.reset(seed=seed)
            for ac in acs:
                env.env.step(ac)

    return seconds(steps)


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


def shell(repeats: int, _: str | None) -> Iterator[Row]:
    """Yield rows of the seconds of whole commands. Neither side makes videos."""
    scripts, demos = REPOSITORY / "scripts", REPOSITORY / "data" / "demos" / "HalfCheetah-v5.npz"
    ours = [sys.executable, str(scripts / "run_hw1.py")]
    theirs = [sys.executable, str(scripts / "_peers.py"), "bc", str(demos)]
    flags = "--env_name HalfCheetah-v5 --video_log_freq -1 --logdir".split()
    with tempfile.TemporaryDirectory() as folder:
        pair = alternate(
            lambda: call([*ours, *flags, f"{folder}/{time.time_ns()}"]),
            lambda: call(theirs),
            repeats,
        )
    what = "shell: cloning HalfCheetah-v5, everything included, against the course's way"
    yield Row(what, "s", *pair, AT_LEAST, 1.5)
    for name, flag, status in (("--help", "--help", 0), ("a wrong flag", "--no_such_flag", 2)):
        taken = statistics.median(call([*ours, flag], status) for _ in range(repeats))
        yield Row(f"shell: {name} answers, against the 0.4 s that are allowed", "s", taken, 0.4, AT_MOST, 1.0)


def call(command: list[str], status: int = 0) -> float:
    """Run a command in the repository's root without output; return the seconds that it takes."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, encoding="utf-8")
    if done.returncode != status:
        raise InputError(f"{' '.join(command)} failed: {(done.stderr.splitlines() or ['?'])[-1]}")
    return time.perf_counter() - start


# The buffer ----------------------------------------------------------------------------------------------


def buffer(repeats: int, _: str | None) -> Iterator[Row]:
    """Yield a row of the seconds for adding 1,000 transitions, and one of the memory for a million."""
    import numpy as np

    from rl_il.infrastructure.replay_buffer import ReplayBuffer
    from rl_il.types import Trajectory

    rng = np.random.default_rng(0)
    obs, acs = rng.standard_normal((1_000_001, 27), np.float32), rng.standard_normal((1_000_000, 8), np.float32)
    full = ReplayBuffer()
    full.add([Trajectory(obs, acs, np.zeros(len(acs)))])
    few = [Trajectory(obs[:1001], acs[:1000], np.zeros(1000))]
    warnings.simplefilter("ignore")  # the full buffer warns that it drops the oldest rows

    def adding(make_buffer: Callable[[], ReplayBuffer]) -> float:
        buffer = make_buffer()
        return seconds(lambda: buffer.add(few))

    pair = alternate(lambda: adding(lambda: full), lambda: adding(ReplayBuffer), 20 * repeats)
    what = "buffer: adding 1,000 Ant transitions to the default buffer, full with 1,000,000, against an empty one"
    yield Row(what, "s", *pair, AT_MOST, 2)
    if not Path("/proc/self/status").exists():
        print("note: memory is measured on Linux only", file=sys.stderr)
        return
    yield weighed("1,000,000 Ant transitions, against their bytes", TRANSITIONS, 1.2)


def pictures(repeats: int, _: str | None) -> Iterator[Row]:
    """Yield a row of the memory for the pictures of a hundred laps."""
    if Path("/proc/self/status").exists():
        yield weighed("100,000 CarRacing pictures in colour, stacked by 4 when drawn, against 3 GB", PICTURES, 1)


def weighed(what: str, program: str, target: float) -> Row:
    """Return the row for the two amounts of memory that a program prints."""
    command = [sys.executable, "-c", WEIGHT + program]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", check=True)
    ours, theirs = map(float, done.stdout.split())
    return Row(f"buffer: memory of {what}", "MB", ours, theirs, AT_MOST, target)


WEIGHT = """
import re
import numpy as np
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.types import Trajectory
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status", encoding="utf-8").read())[1]) / 1e3
"""
"""The beginning of a program that prints the peak memory of a buffer that is filled, and the size of its contents.

Both are in units of 1,000 KiB.
"""
TRANSITIONS = """
few = Trajectory(np.ones((1001, 27), np.float32), np.ones((1000, 8), np.float32), np.zeros(1000))
warm = ReplayBuffer()
warm.add([few])
before, buffer = peak(), ReplayBuffer()
for _ in range(1000):
    buffer.add([few])
print(peak() - before, 1e6 * 35 * 4 / 1.024e6)
"""
PICTURES = """
lap = Trajectory(np.ones((1001, 96, 96, 3), np.uint8), np.ones((1000, 3), np.float32), np.zeros(1000))
before, buffer = peak(), ReplayBuffer(100_000, frame_stack=4)
for _ in range(100):
    buffer.add([lap])
print(peak() - before, 3e9 / 1.024e6)
"""
BENCHMARKS = {
    "training": training,
    "rollouts": rollouts,
    "dagger": dagger,
    "shell": shell,
    "buffer": buffer,
    "pictures": pictures,
}


def table(rows: list[Row]) -> str:
    """Return a line about the machine, and the rows as a Markdown table."""
    from rl_il.report.tables import markdown

    lines = [["what", "ours", "theirs", "unit", "ratio", "target", "met"]]
    for row in rows:
        numbers = [f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in (row.ours, row.theirs)]
        target = [f"{row.ratio:.2f}", f"{row.bound} {row.target:g}", "yes" if row.met else "NO"]
        lines.append([row.name, *numbers, row.unit, *target])
    return f"{machine()}\n\n{markdown(lines)}"


def machine() -> str:
    """Return one line about the date, the machine and the versions."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [
            line
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        model = names[0].partition(":")[2].strip() if names else model
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy", "gymnasium"))
    today = datetime.date.today().isoformat()
    return f"{today}, {model}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def main() -> None:
    """Parse the flags, measure, and print the table."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "--only",
        nargs="+",
        choices=BENCHMARKS,
        default=list(BENCHMARKS),
        help="the groups of rows (default: all)",
    )
    add(
        "--repeats",
        type=positive_integer,
        default=5,
        help="measurements of most rows (default: %(default)s)",
    )
    add("--imitation", metavar="PYTHON", help="a Python with imitation 1.0.1; adds one row")
    add("--json", type=path, metavar="FILE", help="also write the rows to this file")
    args = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in args.only:
        for row in BENCHMARKS[name](args.repeats, args.imitation):
            rows.append(row)
            print(f"{row.name}: {row.ratio:.2f}", file=sys.stderr, flush=True)
    print(table(rows))
    if args.json:
        fields = ("name", "ours", "theirs", "ratio", "target", "met")
        write_json(args.json, {"rows": [{field: getattr(row, field) for field in fields} for row in rows]})


if __name__ == "__main__":
    run_command(main)
