"""Compare the speed of this project with that of other code that does the same work.

Each row of the table has the medians of alternating measurements of both sides, with one thread. Run it when no other
program uses the machine. What is measured is in `_sides.py`, the other code in `_peers.py` and `_imitation.py`.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch are imported
os.environ.pop("RL_IL_COMPILE", None)  # the user's default would change what is measured

import _shell as shell
import _sides as sides
from _peers import course_training, fused_training, loader_training

from rl_il.errors import InputError, run_command
from rl_il.files import write_json
from rl_il.options import CommandParser, path, positive_integer

EXAMPLES = """examples:
  the whole table:
    python scripts/benchmark.py --json benchmark.json
  the rows about training, and one about a start:
    python scripts/benchmark.py --only training "start of a compiled run, warm"
  the rows that compare with imitation, which needs a separate environment:
    python -m venv /tmp/imitation && /tmp/imitation/bin/pip install imitation==1.0.1 \\
      "gymnasium~=0.29" "stable-baselines3~=2.2" box2d
    python scripts/benchmark.py --only imitation --imitation /tmp/imitation/bin/python
"""
AT_LEAST, AT_MOST = "at least", "at most"
DAGGER = "shell: DAgger on LunarLander-v3, 10 iterations, compiled, warm, against"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
      name: what is measured, and against what.
      unit: the unit of both sides.
      bound: AT_LEAST if a large ratio is good, AT_MOST if a small one is.
      target: the ratio to reach. None: the row only informs.
      sides: a generator from `_sides.py`.
      once: measure each side only once, with the caches as they are.
    """

    name: str
    unit: str
    bound: str
    target: float | None
    sides: Callable[[], Iterator[sides.Sides]]
    once: bool = False

    def measure(self, repeats: int) -> Result:
        """Measure both sides alternately. The first measurement of each only fills caches, and is not counted."""
        with contextmanager(self.sides)() as (ours, theirs):
            if self.once:
                return Result(self, ours(), theirs())
            pairs = [(ours(), theirs()) for _ in range(1 + repeats)][1:]
        return Result(self, *map(statistics.median, zip(*pairs, strict=True)))


@dataclass(frozen=True)
class Result:
    """The medians of a row."""

    row: Row
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Return how many times faster this project is or, for AT_MOST, how many times as much it needs."""
        faster = self.row.unit == "s" and self.row.bound == AT_LEAST
        return self.theirs / self.ours if faster else self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        """Return whether the ratio reaches the target, or None without a target."""
        if self.row.target is None:
            return None
        return self.ratio >= self.row.target if self.row.bound == AT_LEAST else self.ratio <= self.row.target


def all_rows(imitation: str | None) -> list[Row]:
    """Return the rows of the table. Those that compare with imitation need the Python that has it."""
    return [
        *training_rows(),
        *head_rows(),
        *rollout_rows(),
        *dagger_rows(),
        *shell_rows(),
        *buffer_rows(),
        *(imitation_rows(imitation) if imitation else ()),
    ]


def training_rows() -> Iterator[Row]:
    """Yield the rows of gradient steps/s."""
    few, many = 20_000, 1_000_000
    for env_name, loss in (("HalfCheetah-v5", "MSE 17 to 6"), ("LunarLander-v3", "cross-entropy 8 to 4")):
        for rows, against, target, loop, steps in (
            (few, "the course's loop", 11, course_training, 500),
            (few, "eager PyTorch with fused Adam and a resident buffer", 5, fused_training, 500),
            (few, "a DataLoader", 6, loader_training, 500),
            (many, "the course's loop", 11, course_training, 40),
            (many, "a DataLoader", 6, loader_training, 500),
        ):
            what = f"training: gradient steps/s, {loss}, {rows:,} rows, against {against}"
            yield Row(what, "steps/s", AT_LEAST, target, partial(sides.training, env_name, rows, loop, steps))


def head_rows() -> Iterator[Row]:
    """Yield the rows of gradient steps/s of the heads for chunks of actions."""
    for head, name in (("gaussian", "mse"), ("mixture", "mixture"), ("flow", "flow")):
        what = f"training: gradient steps/s, {name}, chunks of 8, 3 x 256 relu, minibatch 128, against"
        both = partial(sides.head_training, head)
        yield Row(f"{what} a plain loop with Adam", "steps/s", AT_LEAST, 1.8, both)
        yield Row(f"{what} only its matrix products", "steps/s", AT_LEAST, None, partial(sides.head_limit, head))


def rollout_rows() -> Iterator[Row]:
    """Yield the rows of environment steps/s."""
    for env_name, target, few, many in (
        ("LunarLander-v3", 2.5, 20, 200),
        ("HalfCheetah-v5", 1.3, 5, 24),
        ("Ant-v5", 1.3, 3, 8),
    ):
        what = f"rollouts: environment steps/s, {env_name}, against a torch forward a step and Python lists"
        yield Row(what, "steps/s", AT_LEAST, target, partial(sides.rollouts, env_name, few))
        what = f"rollouts: the same, {env_name}, 2 workers against 1"
        yield Row(what, "steps/s", AT_LEAST, 1.7, partial(sides.two_workers, env_name, many))


def dagger_rows() -> Iterator[Row]:
    """Yield the rows of the seconds of a DAgger run, compared with those of only its environment steps."""
    for env_name, target in (("Ant-v5", 1.2), ("HalfCheetah-v5", 1.6), ("LunarLander-v3", 1.6)):
        what = f"DAgger: {env_name}, 10 iterations, compiled, without the start, against stepping alone"
        # In one process. Several cannot be fully used: an iteration of Ant collects a single episode.
        yield Row(what, "s", AT_MOST, target, partial(sides.stepping, env_name, 1))


def shell_rows() -> Iterator[Row]:
    """Yield the rows of the seconds of whole commands."""
    eager = partial(shell.start_up, "off")
    for how, target in (("warm", 1.1), ("cold", None)):
        what = f"shell: start of a compiled run, {how}, against that of an eager run"
        both = partial(sides.pair, partial(shell.start_up, "on", cold=how == "cold"), eager)
        yield Row(what, "s", AT_MOST, target, both, once=how == "cold")
    both = partial(sides.pair, shell.dagger, shell.course_dagger)
    yield Row(f"{DAGGER} the course's way", "s", AT_LEAST, 4, both)
    what = "shell: cloning HalfCheetah-v5, against the course's way"
    yield Row(what, "s", AT_LEAST, 2, partial(sides.pair, shell.cloning, shell.course_cloning))
    what = "shell: ablation of 20 HalfCheetah-v5 runs of 5,000 gradient steps, compiled, warm, 2 cores"
    what += ", against 20 times one run in the course's way"
    yield Row(what, "s", AT_LEAST, 8, partial(sides.pair, shell.ablation, shell.course_ablation))
    for what, flag, status in (("--help", "--help", 0), ("a wrong flag", "--no_such_flag", 2)):
        both = partial(sides.pair, partial(shell.script, "run_hw1.py", flag, status), lambda: 0.4)
        yield Row(f"shell: {what} answers, against the 0.4 s that are allowed", "s", AT_MOST, 1, both)


def buffer_rows() -> Iterator[Row]:
    """Yield the rows about the replay buffer. Peak memory can be read on Linux only."""
    what = "buffer: adding 1,000 Ant transitions to the default buffer, full with 1,000,000, against an empty one"
    yield Row(what, "s", AT_MOST, 2, sides.adding)
    if Path("/proc/self/status").exists():
        what, both = "buffer: memory of 1,000,000 Ant transitions, against their bytes", sides.transitions
        yield Row(what, "MB", AT_MOST, 1.2, both, once=True)
        what = "buffer: memory of 100,000 CarRacing pictures in colour, stacked by 4 when drawn, against 3 GB"
        yield Row(what, "MB", AT_MOST, 1, sides.pictures, once=True)


def imitation_rows(python: str) -> Iterator[Row]:
    """Yield the rows that compare with imitation 1.0.1, which another Python has."""
    what = "training: gradient steps/s, Gaussian likelihood 17 to 6, 20,000 rows, against imitation's BC.train"
    yield Row(what, "steps/s", AT_LEAST, 20, partial(sides.imitation_training, python))
    both = partial(sides.pair, shell.dagger, partial(shell.imitation_dagger, python))
    yield Row(f"{DAGGER} imitation 1.0.1", "s", AT_LEAST, 10, both)


def table(results: list[Result]) -> str:
    """Return a line about the machine, and the results as a Markdown table."""
    from rl_il.report.tables import markdown

    lines = [["what", "ours", "theirs", "unit", "ratio", "target", "met"]]
    for result in results:
        row, met = result.row, {True: "yes", False: "NO", None: ""}[result.met]
        numbers = [f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" for value in (result.ours, result.theirs)]
        target = "none" if row.target is None else f"{row.bound} {row.target:g}"
        lines.append([row.name, *numbers, row.unit, f"{result.ratio:.2f}", target, met])
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


def chosen(rows: list[Row], texts: list[str]) -> list[Row]:
    """Return the rows whose name contains one of the texts. Raise `InputError` if a text is in no name."""
    for text in texts:
        if not any(text in row.name for row in rows):
            raise InputError(f"--only {text!r}: no row has this text in its name; --list prints the names")
    return [row for row in rows if any(text in row.name for text in texts)]


def as_json(results: list[Result]) -> dict[str, list[dict]]:
    """Return the results for a JSON file."""
    numbers = ("ours", "theirs", "ratio", "met")
    described = [{"name": result.row.name, "target": result.row.target} for result in results]
    measured = [{name: getattr(result, name) for name in numbers} for result in results]
    return {"rows": [a | b for a, b in zip(described, measured, strict=True)]}


def main() -> None:
    """Parse the flags, measure, and print the table."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    help = "measure only the rows with one of these texts in their name (default: all)"
    add("--only", nargs="+", metavar="TEXT", default=[""], help=help)
    add("--list", action="store_true", help="print the names of the rows, and measure nothing")
    add("--repeats", type=positive_integer, default=5, help="measurements of most rows (default: %(default)s)")
    add("--imitation", metavar="PYTHON", help="a Python with imitation 1.0.1; adds the rows that compare with it")
    add("--json", type=path, metavar="FILE", help="also write the rows to this file")
    args = parser.parse_args()
    rows = chosen(all_rows(args.imitation), args.only)
    if args.list:
        print(*(row.name for row in rows), sep="\n")
        return
    if args.imitation:
        shell.command([args.imitation, "-c", "import imitation"])  # an error comes before the long measurements

    import torch

    torch.set_num_threads(1)
    results = []
    for row in rows:
        results.append(row.measure(args.repeats))
        print(f"{row.name}: {results[-1].ratio:.2f}", file=sys.stderr, flush=True)
    print(table(results))
    if args.json:
        write_json(args.json, as_json(results))


if __name__ == "__main__":
    run_command(main)
