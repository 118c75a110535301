"""How `chaos.py` kills or stops a run, and what must be true afterwards."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from rl_il.errors import InputError
from rl_il.runs.folders import is_finished

WAYS = {  # the signals to send, and whether the run's whole process group gets them, as it does from a terminal
    "SIGKILL": (["SIGKILL"], False),
    "SIGKILL-group": (["SIGKILL"], True),
    "SIGTERM": (["SIGTERM"], False),
    "SIGTERM-group": (["SIGTERM"], True),
    "SIGINT": (["SIGINT"], False),
    "SIGINT-group": (["SIGINT"], True),  # Ctrl-C
    "SIGHUP": (["SIGHUP"], False),
    "SIGHUP-group": (["SIGHUP"], True),  # the terminal is closed
    "SIGSTOP": (["SIGSTOP", "SIGCONT"], False),
    "SIGSTOP-group": (["SIGSTOP", "SIGCONT"], True),  # Ctrl-Z, and then `fg`
}


def wait_for_moment(process: subprocess.Popen, folder: Path, rng: random.Random, seconds: float) -> None:
    """Wait for `seconds`. Then, with a probability of one half, also wait until a file is being written."""
    moment = time.monotonic() + seconds
    in_writing = rng.random() < 0.5
    while process.poll() is None and (time.monotonic() < moment or (in_writing and not any(being_written(folder)))):
        if time.monotonic() < moment:
            time.sleep(0.001)


def being_written(folder: Path) -> Iterator[Path]:
    """Yield the temporary files of `atomic_write` in a run folder, or in the run folders of an ablation."""
    for place in (folder, folder / "checkpoint", *folder.glob("runs/*/*/checkpoint")):
        try:
            yield from (Path(entry) for entry in os.scandir(place) if entry.name.startswith("."))
        except OSError:
            continue


def strike(process: subprocess.Popen, way: str, seconds: float) -> bool:
    """Send the signals, with a pause of `seconds` between two; return whether they end the process."""
    names, to_group = WAYS[way]
    for i, name in enumerate(names):
        time.sleep(seconds if i else 0)
        with suppress(ProcessLookupError):  # it has just ended
            (os.killpg if to_group else os.kill)(process.pid, getattr(signal, name))
    return names[-1] != "SIGCONT"


def check_end(mode: str, way: str, process: subprocess.Popen, folder: Path) -> None:
    """Wait for the end. Raise `InputError` if the status is not the one of the signal, or processes are left.

    The status is 0 if the run was already finishing. A signal has its usual effect, which is to end the process
    without a word, while Python itself starts, or ends after the run has finished.
    """
    _, error = process.communicate()
    name = WAYS[way][0][0]
    number = getattr(signal, name)
    by_python = not any(folder.glob("*.json")) or is_finished(folder) or (folder / "table.md").exists()
    expected = {0, 128 + number} if name != "SIGKILL" else {0}
    expected |= {-number} if name == "SIGKILL" or by_python else set()
    if process.returncode not in expected or "Traceback" in error:
        raise InputError(f"{mode} ended with status {process.returncode} after {way}: {error}")
    check_nothing_is_left(mode, process.pid)


def check_nothing_is_left(mode: str, session: int) -> None:
    """Raise `InputError` if a process of the session is still running ten seconds after the kill."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        alive = [path.name for path in Path("/proc").glob("[0-9]*") if session_of(path) == session]
        if not alive:
            return
        time.sleep(0.01)
    for name in alive:
        os.kill(int(name), signal.SIGKILL)
    raise InputError(f"{mode}: the processes {', '.join(alive)} were still running ten seconds after the kill")


def session_of(process: Path) -> int | None:
    """Return the session of a running process in /proc; None if the process has ended."""
    try:
        state, _, _, session = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(session)
