"""The flags of the commands that make many runs at once."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from rl_il.errors import InputError
from rl_il.options import CommandParser, worker_count

if TYPE_CHECKING:
    from rl_il.studies.ablation.launch import Launcher


def add_launch_flags(parser: CommandParser) -> None:
    """Add the flags that say where and how many runs are made."""
    add = parser.add_argument
    add("--launcher", choices=("local", "ray"), default="local", help="processes on this machine, or Ray tasks")
    add("--ray_address", help="address of a Ray cluster, such as auto or ray://HOST:10001 (default: start one here)")
    add(
        "--processes",
        type=worker_count,
        default="auto",
        help="runs at a time, each with one thread (default: auto, one for each core)",
    )
    add("--shard", type=shard, default=(1, 1), metavar="I/N", help="make only part I of N parts of the runs")


def launcher_of(args: argparse.Namespace) -> Launcher:
    """Return what the flags of `add_launch_flags` say. Raise `InputError` if they contradict each other."""
    if args.ray_address and args.launcher != "ray":
        raise InputError("--ray_address has no effect without --launcher ray; add it, or drop --ray_address")
    from rl_il.studies.ablation.launch import Launcher  # it takes 0.3 s, and --help needs no launcher

    return Launcher(kind=args.launcher, processes=args.processes, ray_address=args.ray_address, shard=args.shard)


def shard(text: str) -> tuple[int, int]:
    """Return `(i, n)` from the text `i/n`. It is an argparse type."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"must be i/n with i from 1 to n (such as 1/2), got {text!r}")
    return part, parts
