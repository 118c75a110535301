"""Scripts called in this process, which saves the time that a new one takes."""

import runpy
import shlex
import sys

from rl_il.files import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


def call_script(command: str, monkeypatch, capsys) -> tuple[int, str, str]:
    """Call a script, such as `run_hw1 --n_iter 2`, and return its exit status, stdout and stderr."""
    script, *args = shlex.split(command)
    path = str(SCRIPTS / f"{script}.py")
    monkeypatch.setattr(sys, "argv", [path, *args])
    monkeypatch.syspath_prepend(SCRIPTS)  # as Python does for a script
    status = 0
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    return status, *capsys.readouterr()


def assert_refused(called: tuple[int, str, str], *words: str) -> None:
    """Assert that a script ended with status 2, and with an error message of one line that holds these words."""
    status, _, err = called
    assert status == 2
    assert "error: " in err and err.count("\n") == 1, err
    assert all(word in err for word in words), err
