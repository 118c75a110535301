import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from systems import WINDOWS

from rl_il.errors import TERMINATION, InputError, Interrupted, run_command


@pytest.fixture(autouse=True)
def signals_restored():
    """Restore the handlers that `run_command` replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *TERMINATION)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("x.npz: no such file"), 2, "error: x.npz: no such file\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Interrupted("interrupted; data/q1_x is complete"), 130, "interrupted; data/q1_x is complete\n"),
    ],
)
def test_a_mistake_or_ctrl_c_is_one_line_and_a_status(capsys, error, status, said):
    def main():
        raise error

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    assert exit_.value.code == status
    assert capsys.readouterr() == ("", said)


def test_a_bug_keeps_its_traceback():
    def main():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(main)


@pytest.mark.parametrize("raised", ["KeyError('x')", "SystemExit(0)", "KeyboardInterrupt()"])
def test_an_error_in_the_users_own_module_is_one_line(raised, tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.py").write_text(f"def fail():\n    raise {raised}\n")
    monkeypatch.syspath_prepend(tmp_path)

    def main():
        from mine import fail

        fail()

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert raised.partition("(")[0] in err and "mine.py, line 2" in err
    sys.modules.pop("mine")


@pytest.mark.parametrize("fault", [lambda: json.loads("{"), lambda: np.zeros(3).reshape(2)])
def test_an_error_without_a_line_of_the_users_keeps_its_traceback(fault):
    with pytest.raises(ValueError) as error:
        run_command(lambda: fault())
    assert not isinstance(error.value, InputError)


# Output that cannot be written -------------------------------------------------------------------------------

PRINTS = """
import sys
from rl_il.errors import go_on_without_output, run_command

def main():
    {go_on}
    for i in range(3):
        print("line", i, flush=True)
        print("progress", i, file=sys.stderr)
    with open({path!r}, "w") as file:
        file.write("done")

run_command(main)
"""
NEEDED, NOT_NEEDED = "pass", "go_on_without_output()"


def print_into(tmp_path, go_on, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close=()):
    """Call a command that prints and writes a file; return its status, stdout, stderr, and what is in the file."""
    path = tmp_path / "result.txt"
    code = PRINTS.format(go_on=go_on, path=str(path))
    close = "".join(f"os.close({number}); " for number in close)
    if close:  # in the process, before it begins: Python cannot start a process with a closed stream
        code = f"import os, sys; {close}os.execv(sys.executable, [sys.executable, '-c', {code!r}])"
    done = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=stderr, encoding="utf-8")
    return done.returncode, done.stdout, done.stderr, path.read_text() if path.exists() else None


@pytest.fixture
def unread():
    """Return a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def full():
    """Return a file on a full disk."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as file:
        yield file


LINES, PROGRESS = ("".join(f"{name} {i}\n" for i in range(3)) for name in ("line", "progress"))


def test_output_and_progress_are_written(tmp_path):
    assert print_into(tmp_path, NEEDED) == (0, LINES, PROGRESS, "done")


def test_a_command_whose_reader_has_seen_enough_ends_quietly(tmp_path, unread):
    assert print_into(tmp_path, NEEDED, stdout=unread) == (1, None, "", None)


def test_a_command_whose_output_is_on_a_full_disk_says_so(tmp_path, full):
    status, _, error, result = print_into(tmp_path, NEEDED, stdout=full)
    assert (status, result) == (1, None)
    assert error.startswith("error: ") and os.strerror(28) in error and error.count("\n") == 1


@pytest.mark.parametrize("kind", ["unread", "full"])
def test_a_command_with_results_in_files_goes_on_and_ends_with_a_note(tmp_path, kind, request):
    stdout = request.getfixturevalue(kind)
    status, _, error, result = print_into(tmp_path, NOT_NEEDED, stdout=stdout)
    assert (status, result) == (0, "done")
    progress, note = error.split("note: ")
    assert progress == PROGRESS and note.count("\n") == 1


@pytest.mark.parametrize("go_on", [NEEDED, NOT_NEEDED])
@pytest.mark.parametrize("kind", ["unread", "full"])
def test_every_command_goes_on_without_stderr(tmp_path, kind, request, go_on):
    stderr = request.getfixturevalue(kind)
    assert print_into(tmp_path, go_on, stderr=stderr) == (0, LINES, None, "done")


@pytest.mark.skipif(WINDOWS, reason="closes the streams as a shell of Linux and macOS does")
@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)])
def test_a_closed_stream_writes_into_no_other_file(tmp_path, closed):
    status, out, err, result = print_into(tmp_path, NOT_NEEDED, close=closed)
    assert (status, result) == (0, "done")
    assert (out, err) == ("" if 1 in closed else LINES, "" if 2 in closed else PROGRESS)
