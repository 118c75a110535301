"""Measure memory, open files and threads of a long DAgger run with small iterations. They must not increase."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rl_il.errors import run_command
from rl_il.files import REPOSITORY
from rl_il.options import CommandParser, positive_integer

EXAMPLES = """examples:
  half an hour (make soak):
    python scripts/soak.py
  two minutes:
    python scripts/soak.py --minutes 2
"""

RUN = (
    "scripts/run_hw1.py --do_dagger --n_iter 1000000 --n_demos 1 --num_agent_train_steps_per_iter 50 --batch_size 200"
    " --eval_episodes 2 --ep_len 100 --size 16 --max_replay_buffer_size 5000 --video_log_freq 200 --num_workers 2"
)
SECONDS = 2  # between two measurements
# A run keeps a few kilobytes of each iteration for its tables. This is not a leak.
MAX_PER_ITERATION = 20_000  # maximum growth of the main process, in bytes
MAX_PER_HOUR = 10_000_000  # maximum growth of a worker, in bytes
WORKER = b"multiprocessing.spawn"

Look = dict[str, tuple[float, int, int, int]]
"""Time, bytes of memory, open files and threads of the `main` process and of each worker."""


def main() -> None:
    """Parse the flags, watch a run, and print its growth; exit with status 1 if something grows."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--minutes", type=positive_integer, default=30, help="duration (default: %(default)s)")
    # Not LunarLander: Gymnasium's own code grows by 1.6 kB an episode there, which would hide this project's growth.
    add("--env_name", "-env", default="MountainCar-v0", help="environment (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        looks, iterations = watch(args.env_name, Path(folder) / "run", 60 * args.minutes)
    print(f"{args.env_name}, {args.minutes} minutes, {iterations:,} iterations; growth after the first third:")
    grown = report(looks, iterations)
    print("something grows" if grown else "nothing grows")
    sys.exit(1 if grown else 0)


def watch(env_name: str, folder: Path, seconds: float) -> tuple[list[Look], int]:
    """Run for `seconds`; return the measurements, and the number of iterations."""
    script, *flags = RUN.split()
    command = [sys.executable, str(REPOSITORY / script), *flags, "--env_name", env_name, "--logdir", str(folder)]
    looks, end = [], time.monotonic() + seconds
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8") as process:
        while time.monotonic() < end and process.poll() is None:
            time.sleep(SECONDS)
            looks.append(look(process.pid))
            if sys.stderr.isatty():
                print(f"\r{(end - time.monotonic()) / 60:.1f} minutes left ", end="", file=sys.stderr, flush=True)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate()
    if process.returncode != 128 + signal.SIGTERM:
        sys.exit(f"the run ended with status {process.returncode}: {error}")
    return looks, json.loads((folder / "summary.json").read_text(encoding="utf-8"))["iterations"]


def look(pid: int) -> Look:
    """Return the measurements of the main process and of each worker."""
    seen = {"main": measure(pid)}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
        try:
            if WORKER in Path(f"/proc/{child}/cmdline").read_bytes():
                seen[f"worker {child}"] = measure(int(child))
        except OSError:  # it has ended since it was listed
            continue
    return seen


def measure(pid: int) -> tuple[float, int, int, int]:
    """Return the time, bytes of memory, and numbers of open files and threads."""
    folder = Path(f"/proc/{pid}")
    pages = int((folder / "statm").read_text(encoding="utf-8").split()[1])
    files, threads = len(os.listdir(folder / "fd")), len(os.listdir(folder / "task"))
    return time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE"), files, threads


def report(looks: list[Look], iterations: int) -> bool:
    """Print a line for each process; return whether one grows."""
    grown = False
    for name in looks[-1]:
        seen = [each[name] for each in looks if name in each]
        times, memory, files, threads = zip(*seen[len(seen) // 3 :], strict=True)
        per_hour = 3600 * slope(times, memory)
        per_iteration = per_hour / 3600 * (looks[-1]["main"][0] - looks[0]["main"][0]) / max(iterations, 1)
        print(
            f"{name:<16} memory {memory[-1] / 1e6:.1f} MB, {per_hour / 1e6:+.2f} MB an hour"
            f" ({per_iteration / 1e3:+.2f} kB an iteration); open files {files[-1]} ({max(files) - files[0]:+}),"
            f" threads {threads[-1]} ({max(threads) - threads[0]:+})"
        )
        grown |= per_iteration > MAX_PER_ITERATION if name == "main" else per_hour > MAX_PER_HOUR
        grown |= 3600 * max(slope(times, files), slope(times, threads)) > 5
    return grown


def slope(times: tuple, values: tuple) -> float:
    """Return the slope of the least-squares line, in units of the values per second."""
    mean_time, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((t - mean_time) ** 2 for t in times)
    return sum((t - mean_time) * (v - mean) for t, v in zip(times, values, strict=True)) / spread if spread else 0.0


if __name__ == "__main__":
    run_command(main)
