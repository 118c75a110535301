"""The commands that `benchmark.py` measures, as functions that return their seconds.

None of them makes videos, and those that are compared evaluate on equally many episodes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from rl_il.errors import InputError
from rl_il.files import REPOSITORY, shipped

SCRIPTS = REPOSITORY / "scripts"
DAGGER_AMOUNTS = (1000, 6)  # gradient steps, and episodes of an evaluation: --eval_batch_size 1000 means 6
ABLATION = (5000, 20)


def script(name: str, flags: str, status: int = 0, cold: bool = False) -> float:
    """Return the seconds of one of our scripts. A cold one finds nothing that was compiled before."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = ("RL_IL_DATA", "RL_IL_CACHE", "TORCHINDUCTOR_CACHE_DIR")[: 3 if cold else 1]
        environment = {variable: f"{folder}/{variable}" for variable in fresh}
        return seconds(lambda: command([sys.executable, SCRIPTS / name, *flags.split()], status, environment))


def start_up(compile: str, cold: bool = False) -> float:
    """Return the seconds of a run that does almost nothing."""
    flags = "--num_agent_train_steps_per_iter 10 --eval_episodes 1 --ep_len 10 --video_log_freq -1"
    return script("run_hw1.py", f"{flags} --compile {compile}", cold=cold)


def dagger() -> float:
    """Return the seconds of a DAgger run."""
    return script("run_hw1.py", "--do_dagger --n_iter 10 --video_log_freq -1 --compile on")


def cloning() -> float:
    """Return the seconds of a run of behavioural cloning."""
    return script("run_hw1.py", "--env_name HalfCheetah-v5 --video_log_freq -1")


def ablation() -> float:
    """Return the seconds of an ablation of 20 runs."""
    flags = "--env_name HalfCheetah-v5 --param learning_rate --values 5e-3 --seeds 20 --processes 2 --compile on"
    steps, episodes = ABLATION
    return script("run_ablation.py", f"{flags} --num_agent_train_steps_per_iter {steps} --eval_episodes {episodes}")


def other(words: list, env_name: str, steps: int, episodes: int, expert: bool = False) -> float:
    """Return the seconds of another project's program. It uses our demonstrations and, for DAgger, our expert."""
    file = env_name.replace("-v2", "-v3") + ".npz"
    files = [shipped("data", "demos", file), *[shipped("experts", file)] * expert]
    return seconds(lambda: command([*words, env_name, files[0], steps, episodes, *files[1:]]))


course = partial(other, [sys.executable, SCRIPTS / "_peers.py"])


def course_dagger() -> float:
    """Return the seconds of a DAgger run in the course's way."""
    return course("LunarLander-v3", *DAGGER_AMOUNTS, expert=True)


def course_cloning() -> float:
    """Return the seconds of a run of behavioural cloning in the course's way."""
    return course("HalfCheetah-v5", 1000, 1)


def course_ablation() -> float:
    """Return the seconds of 20 runs in the course's way, of which only one is made."""
    return 20 * course("HalfCheetah-v5", *ABLATION)


def imitation_dagger(python: str) -> float:
    """Return the seconds of imitation's DAgger run. Its older Gymnasium has LunarLander-v2, the same task."""
    return other([python, SCRIPTS / "_imitation.py", "dagger"], "LunarLander-v2", *DAGGER_AMOUNTS, expert=True)


def command(words: list, status: int = 0, environment: dict[str, str] | None = None) -> str:
    """Run a command in the repository's root; return its output. Raise `InputError` if it has another status."""
    words, environment = [str(word) for word in words], os.environ | (environment or {})
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, encoding="utf-8")
    if done.returncode != status:
        raise InputError(f"{' '.join(words)} failed: {(done.stderr.splitlines() or ['?'])[-1]}")
    return done.stdout


def printed(words: list) -> float:
    """Return the last number that a command prints."""
    return float(command(words).split()[-1])


def seconds(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
