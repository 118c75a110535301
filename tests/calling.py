"""Calls the scripts as a user does, without the time that a new process takes."""

import runpy
import shlex
import sys

from rl_il.files import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"


def call_script(command: str, monkeypatch, capsys) -> tuple[int, str, str]:
    """Call a script in this process: `"run_hw1 --n_iter 2"` to status, stdout and stderr."""
    script, *args = shlex.split(command)
    path = str(SCRIPTS / f"{script}.py")
    monkeypatch.setattr(sys, "argv", [path, *args])
    status = 0
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    return status, *capsys.readouterr()


def assert_refused(called: tuple[int, str, str], *words: str) -> None:
    """Assert that a script ended as on a user's mistake: status 2, and one sentence that holds these words."""
    status, _, err = called
    usage, _, sentence = err.rpartition("error: ")
    assert status == 2
    assert sentence.count("\n") == 1
    assert all(word in sentence for word in words), sentence
    assert all(line.startswith(("usage: ", " ")) for line in usage.splitlines()[:-1])
    assert "Traceback" not in err
