"""The commands of the package, and how texts for the user name them.

In a checkout a command is a script, `python scripts/run_hw1.py`. Installed from a wheel, it is `rl-il run`.
"""

from __future__ import annotations

import re
import sys

from rl_il.files import in_checkout

PROGRAM = "rl-il"
COMMANDS = {
    "run": "run_hw1",
    "pusht": "run_pusht",
    "evaluate": "evaluate",
    "record": "record_demos",
    "convert": "convert",
    "doctor": "doctor",
    "ablate": "run_ablation",
    "diagnose": "diagnose",
    "report": "report",
    "teach": "teach",
    "demo": "demo",
    "results": "results",
    "pixels": "pixels",
    "heads": "heads",
    "labels": "label_cost",
    "export": "export",
    "finetune": "finetune",
    "finetune_study": "finetune_study",
}
"""The commands of `rl-il`, and the script of each, in `scripts/`."""

_NAMES = {script: command for command, script in COMMANDS.items()}
_SCRIPT = re.compile(rf"(?:python )?(?:scripts/)?\b({'|'.join(_NAMES)})\.py\b")
_EXTRA = re.compile(r'pip install -e "\.\[(\w+)\]"')


def command_text(script: str) -> str:
    """Return how the user calls a script: `python scripts/run_hw1.py`, or `rl-il run` without a checkout."""
    return f"{PROGRAM} {_NAMES[script]}" if _by_program() else f"python scripts/{script}.py"


def install_text(extra: str) -> str:
    """Return how the user installs an optional dependency, such as `hdf5`."""
    return f'pip install "rl_il[{extra}]"' if _by_program() else f'pip install -e ".[{extra}]"'


def for_user(text: str) -> str:
    """Return a text that names commands as in a checkout, with the commands that this user has."""
    if not _by_program():
        return text
    text = _SCRIPT.sub(lambda found: command_text(found[1]), text)
    return _EXTRA.sub(lambda found: install_text(found[1]), text)


def _by_program() -> bool:
    """Return whether the user calls `rl-il`: it runs now, or there is no checkout."""
    return sys.argv[0].startswith(f"{PROGRAM} ") or not in_checkout()
