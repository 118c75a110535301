"""Kill or signal runs at random moments, resume them, and compare their results with those of undisturbed runs."""

import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from _kills import WAYS, check_end, strike, wait_for_moment

from rl_il.errors import run_command
from rl_il.files import REPOSITORY
from rl_il.options import CommandParser, positive_integer

EXAMPLES = """examples:
  100 kills over all modes (make chaos; up to half an hour):
    python scripts/chaos.py
  10 kills of one kind of run, in one way, at other moments:
    python scripts/chaos.py --kills 10 --modes dagger --ways SIGHUP-group --seed 7
"""

SMALL = "--n_demos 2 --num_agent_train_steps_per_iter 300 --batch_size 200 --size 16 --ep_len 100 --eval_episodes 3"
DAGGER = f"scripts/run_hw1.py {SMALL} --video_log_freq -1 --val_fraction 0.1 --do_dagger --n_iter 12"
LENGTHS = "--param num_agent_train_steps_per_iter --values 300 1500 3000"  # one training that is evaluated at each
MODES = {
    "bc": f"scripts/run_hw1.py {SMALL} --video_log_freq -1 --num_agent_train_steps_per_iter 6000",
    "dagger": DAGGER,
    "dagger, 2 workers": f"{DAGGER} --num_workers 2",
    "pixels": "scripts/run_hw1.py --env_name CarRacing-v3 --n_demos 1 --do_dagger --n_iter 5 --ep_len 25"
    " --batch_episodes 2 --num_agent_train_steps_per_iter 12 --train_batch_size 8 --size 16 --eval_episodes 1"
    " --video_log_freq -1 --augment shift,brightness,flip_steer --beta_decay 0.5 --num_workers 2",
    "teacher": "scripts/teach.py --teacher scripted --episodes 6 --ep_len 80 --eval_every 2 --eval_episodes 2",
    "ablation": f"scripts/run_ablation.py {SMALL} --param size --values 8 16 {LENGTHS} --seeds 2 --processes 2",
}
MAX_STOP = 2.0  # seconds between SIGSTOP and SIGCONT
MAX_KILLS = 5  # maximum number of kills of one run; after that it runs to its end
EARLIEST = 0.2  # the earliest moment of a kill, as a fraction of the run's time


def main() -> None:
    """Parse the flags, kill runs, print the differences; exit with status 1 if there are any."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--kills", type=positive_integer, default=100, help="number of kills over all modes (default: %(default)s)")
    add("--modes", nargs="+", choices=MODES, default=list(MODES), help="the kinds of runs to kill (default: all)")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="how to kill, one after another (default: all)")
    add("--seed", type=int, default=0, help="seed of the random moments (default: %(default)s)")
    args = parser.parse_args()
    rng, start, kills, runs, differences = random.Random(args.seed), time.perf_counter(), 0, 0, []
    ways = itertools.cycle(args.ways)
    with tempfile.TemporaryDirectory() as folder:
        whole, seconds = {}, {}
        for i, mode in enumerate(args.modes):
            before = time.perf_counter()
            whole[mode] = finish(mode, Path(folder) / f"whole_{i}")
            seconds[mode] = time.perf_counter() - before
            print(f"{mode}: {seconds[mode]:.1f} s without a kill", flush=True)
        for mode in itertools.cycle(args.modes):
            if kills >= args.kills:
                break
            killed = Path(folder) / f"run_{runs}"
            count = kill_and_go_on(mode, killed, rng, seconds[mode], min(MAX_KILLS, args.kills - kills), ways)
            found = [f"{mode}: {text}" for text in compare(mode, killed, whole[mode])]
            kills, runs, differences = kills + count, runs + 1, differences + found
            left = (time.perf_counter() - start) / max(kills, 1) * (args.kills - kills)
            counts = f"{kills}/{args.kills} kills, {runs} runs, {len(differences)} differences"
            print(f"{counts}, about {left:.0f} s left ({mode}: {count})", *found, sep="\n", flush=True)
            shutil.rmtree(killed)
    print(f"\n{kills} kills in {runs} runs, {len(differences)} differences, {time.perf_counter() - start:.0f} s")
    sys.exit(1 if differences else 0)


def command(mode: str, folder: Path) -> list[str]:
    """Return the command that starts the run in this folder, or resumes it."""
    script, *flags = MODES[mode].split()
    where = ["--outdir" if mode == "ablation" else "--logdir", str(folder)]
    if mode != "ablation" and (folder / "config.json").exists():
        flags, where = (["--num_workers", "2"] if "workers" in MODES[mode] else []), ["--resume", str(folder)]
    elif mode != "ablation":
        shutil.rmtree(folder, ignore_errors=True)  # the run was killed before its config.json was written
    return [sys.executable, str(REPOSITORY / script), *flags, *where]


def start(mode: str, folder: Path) -> subprocess.Popen:
    """Start the run in a new process session; return its process."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "start_new_session": True, "encoding": "utf-8"}
    return subprocess.Popen(command(mode, folder), **pipes, env=os.environ | {"OMP_NUM_THREADS": "1"})


def end(mode: str, process: subprocess.Popen) -> None:
    """Wait for the end of the process; exit with its message if it failed."""
    _, error = process.communicate()
    if process.returncode:
        sys.exit(f"{mode} ended with status {process.returncode}: {error}")


def finish(mode: str, folder: Path) -> Path:
    """Run to the end without a kill; return the folder."""
    end(mode, start(mode, folder))
    return folder


def kill_and_go_on(
    mode: str, folder: Path, rng: random.Random, seconds: float, max_kills: int, ways: Iterator[str]
) -> int:
    """Start a run, kill it within `seconds`, and resume it, until it ends. Kill it at most `max_kills` times.

    Returns:
      the number of kills. To be stopped for a moment counts as one.
    """
    process, kills = start(mode, folder), 0
    while kills < max_kills:
        wait_for_moment(process, folder, rng, rng.uniform(EARLIEST, 1) * seconds)
        if process.poll() is not None:
            break
        kills += 1
        way = next(ways)
        if strike(process, way, rng.uniform(0, MAX_STOP)):
            check_end(mode, way, process, folder)
            process = start(mode, folder)
    end(mode, process)
    return kills


def compare(mode: str, killed: Path, whole: Path) -> list[str]:
    """Return the names of the contents that differ between two folders. Times are not compared."""
    if mode == "ablation":
        names = [path.relative_to(whole) for path in whole.iterdir() if path.is_file() and path.name != "log.txt"]
        return [str(name) for name in names if (killed / name).read_bytes() != (whole / name).read_bytes()]
    one, other = contents(killed), contents(whole)
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def contents(folder: Path) -> dict[str, object]:
    """Return everything that a run wrote, by name, except for times."""
    from rl_il.datasets.npz import read_npz
    from rl_il.files import read_csv
    from rl_il.policies.cnn_policy import CNNPolicySL
    from rl_il.policies.mlp_policy import MLPPolicySL
    from rl_il.report.writing import event_files

    found: dict[str, object] = {"files": sorted(p.name for p in folder.iterdir() if "tfevents" not in p.name)}
    rows = read_csv(folder / "metrics.csv")
    found["metrics.csv"] = [{k: v for k, v in row.items() if k != "TimeSinceStart"} for row in rows]
    for path in folder.glob("episodes.csv"):
        found[path.name] = path.read_text(encoding="utf-8")
    for path in folder.glob("**/*.npz"):  # collected data, or the episodes of a teaching session
        found[str(path.relative_to(folder))] = {name: array.tolist() for name, array in read_npz(path).items()}
    policy_class = CNNPolicySL if "CarRacing" in (folder / "config.json").read_text(encoding="utf-8") else MLPPolicySL
    for path in folder.glob("*.pt"):
        found[path.name] = {name: tensor.tolist() for name, tensor in policy_class.load(path).state_dict().items()}
    for name, place in (("TensorBoard", folder), ("TensorBoard, steps", folder / "steps")):
        events = [event for records in event_files(place).values() for _, event in records]
        scalars = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
        found[name] = sorted(scalar for scalar in scalars if scalar[1] != "TimeSinceStart")
    return found


if __name__ == "__main__":
    run_command(main)
