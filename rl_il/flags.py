"""Flags of run_hw1.py that other commands have too, and the command line of a config."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

from rl_il.commands import command_text
from rl_il.config import ENV, RunConfig
from rl_il.errors import InputError
from rl_il.options import CommandParser, add_arguments, named_path, path, positive_integer

EXPERT = ("expert_activation", "no_normalizer")
"""The settings that say how the file of an expert is read."""
RESUMING = ("resume", "accept_changes", "num_workers", "torch_threads")
"""The flags that may be given together when a run is resumed."""


def command_of(config: RunConfig) -> str:
    """Return the command line that makes this run again, in a new folder."""
    words = command_text(config.command).split()
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if item.name == "env_name" or (value != item.default and item.name != "logdir"):
            words += [f"--{item.name}"]
            words += shlex.split(value) if item.metadata["words"] else [] if value is True else [str(value)]
    return shlex.join(words)


def add_resume_flags(parser: CommandParser) -> None:
    """Add the flags that continue a run."""
    help = "continue the run in this folder (latest: the newest) with its own settings; only --num_workers,"
    help += " --torch_threads and --accept_changes may be given too"
    parser.add_argument("--resume", type=path, metavar="RUN_FOLDER", help=help)
    help = "with --resume: continue although settings in config.json or files that the run reads were changed"
    parser.add_argument("--accept_changes", action="store_true", help=help)


def resume_settings(args: argparse.Namespace, given: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `experiment.resume` after the folder. Raise `InputError` for flags that do not fit.

    `given` are the names of the flags that the user gave.
    """
    if args.resume and (others := [f"--{name}" for name in given if name not in RESUMING]):
        raise InputError(f"--resume continues a run with its own settings; drop {', '.join(others)}")
    if args.accept_changes and not args.resume:
        raise InputError("--accept_changes has no effect without --resume; add it, or drop --accept_changes")
    threads = args.torch_threads if "torch_threads" in given else None
    return {"num_workers": args.num_workers, "torch_threads": threads, "accept_changes": args.accept_changes}


def add_fields(parser: CommandParser, *names: str) -> None:
    """Add the flags of these fields of `RunConfig`."""
    others = [item.name for item in dataclasses.fields(RunConfig) if item.name not in names]
    add_arguments(parser, RunConfig, without=others)


def add_env_flags(parser: CommandParser, otherwise: str | None = None) -> None:
    """Add the flags that describe an environment.

    `otherwise` says which environment it is if they are not given; None: the default one of `RunConfig`.
    """
    add_fields(parser, *ENV)
    if otherwise:
        parser.set_default("--env_name", None, otherwise)


def add_rollout_flags(parser: CommandParser, otherwise: str | None = None) -> None:
    """Add the flags of the commands that roll out a policy without training one.

    `otherwise` says which environment it is if none is given, as for `add_env_flags`.
    """
    add = parser.add_argument
    add(
        "--policy",
        type=named_path,
        default="expert",
        help="who acts: expert (the one shipped), random, the name of a scripted expert, a run folder, latest (the"
        " newest run folder), a file (.npz, .pt, .pth, the course's .pkl, Stable-Baselines3's .zip),"
        " hf:ORG/REPO/FILE.zip, or module:Name of your own function or class",
    )
    add_env_flags(parser, otherwise)
    add("--seed", type=int, default=0, help="seed from which the seeds of all episodes are drawn")
    add("--ep_len", type=positive_integer, help="longest episode, in steps (default: the environment's own limit)")
    add_fields(parser, *EXPERT, "num_workers")
