"""How a run was made: its command line, its commit, and the versions of its packages."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from rl_il.commands import PROGRAM
from rl_il.files import REPOSITORY


def provenance(command_line: Sequence[str]) -> dict[str, Any]:
    """Return how this run was made: its command line, its commit, and the versions of its packages."""
    packages = ["torch", "numpy", "gymnasium", "mujoco", "box2d"]
    packages += ["stable-baselines3"] if "stable_baselines3" in sys.modules else []
    return {
        "command_line": list(command_line),
        "git_commit": _git_commit(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "platform": platform.platform(),
    }


def _git_commit() -> str | None:
    """Return the checkout's commit, with `-dirty` appended if tracked files have changes; None outside a checkout.

    The package may be installed, or copied, into a folder of another project's repository: its commit is not ours.
    """
    if not (REPOSITORY / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, encoding="utf-8", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def command_line() -> list[str]:
    """Return the command that started this process."""
    program = sys.argv[0].split() if sys.argv[0].startswith(f"{PROGRAM} ") else ["python", sys.argv[0]]
    return [*program, *sys.argv[1:]]
