"""The command `rl-il`, the same as `python -m rl_il`: `rl-il run ...` runs the code of `scripts/run_hw1.py`."""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from importlib.metadata import PackageNotFoundError, version

from rl_il.commands import COMMANDS, PROGRAM
from rl_il.errors import InputError, run_command
from rl_il.files import shipped

LIST = "list"
EPILOG = f"""
`{PROGRAM} COMMAND --help` explains the flags of a command and shows examples. New runs are written into the folder
`data` of the working folder, or into the folder that the environment variable RL_IL_DATA names.
"""


def main() -> None:
    """Run the command that the first argument names."""
    name, *flags = sys.argv[1:] or ["--help"]
    sys.argv = [f"{PROGRAM} {name}", *flags]
    if name in ("-h", "--help", "help"):
        print(help_text())
    elif name == "--version":
        print(version_text())
    elif name == LIST:
        from rl_il.listing import main as list_parts

        run_command(list_parts)
    elif name in COMMANDS:
        run_command(runpy.run_path(str(shipped("scripts", f"{COMMANDS[name]}.py")))["main"])
    else:
        run_command(lambda: refuse(name))


def help_text() -> str:
    """Return the list of commands, each with the first sentence of its script's docstring. Import no script."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{summary(script)}" for name, script in COMMANDS.items()]
    lines.append(f"  {LIST:<{width}}List the environments, rules, heads, formats, experts ... that there are.")
    return "\n".join([f"usage: {PROGRAM} COMMAND [flags]\n\ncommands:", *lines, EPILOG]).rstrip()


def summary(script: str) -> str:
    """Return the first sentence of a script's docstring."""
    text = ast.get_docstring(ast.parse(shipped("scripts", f"{script}.py").read_text(encoding="utf-8"))) or ""
    return " ".join(text.split()).partition(". ")[0].removesuffix(".") + "."


def version_text() -> str:
    """Return the name and the version of the installed package."""
    try:
        return f"rl_il {version('rl_il')}"
    except PackageNotFoundError:  # the checkout is on PYTHONPATH
        return "rl_il, not installed"


def refuse(name: str) -> None:
    """Raise `InputError` for an unknown command. Its message names the most similar one."""
    scripts = {script: command for command, script in COMMANDS.items()}
    names = [*COMMANDS, LIST, *scripts]
    near = difflib.get_close_matches(name.removesuffix(".py"), names, n=1)
    hint = f"the most similar one is {scripts.get(near[0], near[0])}" if near else "--help lists all commands"
    raise InputError(f"there is no command {name!r}; {hint}")


if __name__ == "__main__":
    main()
