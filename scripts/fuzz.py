"""Feeds every loader damaged and hostile files; each must load, or be refused with a sentence, and nothing else."""

import argparse
import sys
import time
from pathlib import Path

from rl_il.errors import InputError, run_command
from rl_il.files import REPOSITORY
from rl_il.options import HelpFormatter, positive_integer, worker_count

EXAMPLES = """examples:
  every loader (make fuzz):
    python scripts/fuzz.py
  two of them, quickly:
    python scripts/fuzz.py --loader checkpoint sb3 --inputs 5000

Failing inputs are written to --out, where failure.txt says what went wrong. The same seed gives the same inputs.
"""
LOADERS = "demonstrations course_demonstrations pickle meta weights course_expert checkpoint sb3".split()
LOADERS += "run_folder session events resume learning".split()


def main() -> None:
    """Parses the flags, runs the loaders one after another, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("--inputs", type=positive_integer, default=100_000, help="inputs for each loader (default: %(default)s)")
    add("--loader", nargs="+", choices=LOADERS, default=LOADERS, help="the loaders (default: all)", metavar="NAME")
    add("--seed", type=int, default=0, help="decides the inputs (default: %(default)s)")
    add("--processes", type=worker_count, default="auto", help="processes at a time (default: one a core)")
    add("--seconds", type=float, default=10.0, help="what one input may take (default: %(default)s)")
    default = REPOSITORY / "data" / "fuzz"
    add("--out", type=Path, default=default, help="folder for failing inputs (default: data/fuzz)")
    arguments = parser.parse_args()
    if not sys.platform.startswith("linux"):
        raise InputError("the memory limit needs Linux; run it there")
    print("| loader | inputs | loaded | refused | failures | seconds |\n|---|---|---|---|---|---|", flush=True)
    failed = False
    for name in arguments.loader:
        r = _run(name, arguments)
        failures = ", ".join(f"{n} {kind}" for kind, n in r.kinds().most_common()) or "0"
        row = f"| {r.loader} | {r.inputs:,} | {r.loaded:,} | {r.refused:,} | {failures} | {r.seconds:.0f} |"
        print(row, flush=True)
        failed |= bool(r.failures)
    if failed:
        print(f"failing inputs: {arguments.out}", file=sys.stderr)
        sys.exit(1)


def _run(name: str, arguments: argparse.Namespace):
    from _fuzz_loaders import make_loader  # imports torch
    from _fuzzing import Limits, fuzz

    last, started = [0.0], time.monotonic()

    def show(done: int) -> None:
        now = time.monotonic()
        if now - last[0] < (1 if sys.stderr.isatty() else 15) or not done:
            return
        last[0] = now
        left = (now - started) / done * (arguments.inputs - done)
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"{name}: {done:,} of {arguments.inputs:,}, {left:.0f} s left   ", end=end, file=sys.stderr, flush=True)

    limits = Limits(seconds=arguments.seconds)
    return fuzz(make_loader(name), arguments.inputs, arguments.seed, arguments.processes, limits, arguments.out, show)


if __name__ == "__main__":
    run_command(main)
