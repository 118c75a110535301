"""Errors that the user can correct, the exit status after an error, and output that cannot be written."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TERMINATION = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
"""The signals that ask a process to end. A closed terminal sends SIGHUP; SIGBREAK is Ctrl-Break on Windows."""
RAISED = BaseException
"""What the user's own code may raise. `SystemExit` would end the process with the status of a success, for example.

An interruption must be raised again, which `describe` does.
"""
PACKAGE, STANDARD_LIBRARY = Path(__file__).parent, Path(sysconfig.get_path("stdlib"))


class InputError(ValueError):
    """An error in the user's input. The message says what is wrong, what was expected, and what to do."""


class DivergedError(InputError):
    """A training whose numbers are no longer finite. The same settings would fail again."""


class RemovedError(InputError):
    """A folder was removed or replaced while a command was writing into it. It cannot continue there."""

    def __init__(self, folder: object):
        super().__init__(
            f"{folder}: was removed or replaced, or files in it, while this command wrote into it; run it again"
        )


class Interrupted(KeyboardInterrupt):
    """An interruption by Ctrl-C or SIGTERM. The message, if there is one, says where the work so far is saved.

    Args:
      message: the text for the user.
      signal_number: SIGINT, or one of `TERMINATION`.
      between_steps: whether it occurred between two gradient steps. Only then the state of the training is complete
        and can be saved.
    """

    def __init__(self, message: str = "", signal_number: int = signal.SIGINT, between_steps: bool = False):
        super().__init__(message)
        self.signal_number, self.between_steps = signal_number, between_steps


def is_interruption(error: BaseException) -> bool:
    """Return whether the error comes from Ctrl-C or SIGTERM, and not from code that raises `KeyboardInterrupt`.

    The commands and the worker processes replace Python's handler of SIGINT, so there no signal raises it.
    """
    by_python = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, Interrupted) or (isinstance(error, KeyboardInterrupt) and by_python)


def describe(error: BaseException) -> str:
    """Return the class, the message, the file and the line of an error in the user's code, on one line.

    The line is the last one of the user's, or else the last one. Raise the error itself if it is an interruption.
    """
    if is_interruption(error):
        raise error
    frames = traceback.extract_tb(error.__traceback__)
    last = (own_frames(error) or frames)[-1]
    message = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
    return f"{message} ({last.filename}, line {last.lineno})"


def own_frames(error: BaseException, script: str = "") -> list[traceback.FrameSummary]:
    """Return the places of an error's traceback that are neither in this package nor in a library.

    The file `script` is not the user's either.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if frame.filename != script and is_own_file(frame.filename)]


def is_own_file(file: str) -> bool:
    """Return whether this is a file of the user's: no file of this package, the standard library or a library."""
    path = Path(file)
    library = "site-packages" in path.parts or "dist-packages" in path.parts or path.is_relative_to(STANDARD_LIBRARY)
    return path.is_file() and not library and not path.is_relative_to(PACKAGE)


@contextmanager
def reported(script: str = "") -> Iterator[None]:
    """Raise `InputError` for an error of the user's code in the `with` block, with its file and line.

    An `InputError` and an interruption are raised as they are. So is an error whose traceback has no line of the
    user's, since it is a fault of this package. The file `script` is not the user's.
    """
    try:
        yield
    except InputError:
        raise
    except RAISED as error:
        if is_interruption(error) or not own_frames(error, script):
            raise
        raise InputError(describe(error)) from error


def run_command(main: Callable[[], None]) -> None:
    """Run a script's `main`, and end the process with the right exit status.

    After an `InputError`, or an error in the user's own code, the message is printed without a traceback, and the
    status is 2. The status is 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP. If stdout cannot be written,
    the command ends with status 1, unless it called `go_on_without_output`. It always goes on without stderr.
    """
    _collect_garbage_less()
    _open_streams()
    for number in TERMINATION:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else the parent process ignores it
        signal.signal(signal.SIGINT, _interrupt)
    if hasattr(sys.stdout, "reconfigure"):  # in a pipe, Windows cannot encode every character of a name
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"  # no file, line number or source code
    try:
        try:
            with reported(main.__code__.co_filename):
                main()
        finally:
            _end_output()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OutputError as error:
        if not isinstance(error.__cause__, BrokenPipeError):  # the reader, such as `| head`, has seen enough
            print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "interrupted", file=sys.stderr)
        sys.exit(128 + getattr(interruption, "signal_number", signal.SIGINT))


# Output -----------------------------------------------------------------------------------------------------


class OutputError(Exception):
    """The output cannot be written: its reader has closed the pipe, or its disk is full."""


class LastingFile(io.FileIO):
    """The file of stdout or stderr. After the first failure, the null device takes its place.

    Attributes:
      needed: whether the first failure raises `OutputError`.
      failure: what failed, or None.
    """

    def __init__(self, descriptor: int, needed: bool):
        super().__init__(descriptor, "w", closefd=False)
        self.needed, self.failure = needed, None

    def write(self, content: bytes) -> int:
        """Write the content, or drop it after a failure."""
        try:
            return super().write(content)
        except OSError as error:
            self.failure = error
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if self.needed:
                raise OutputError(f"the output cannot be written ({error.strerror})") from error
            return len(content)


def go_on_without_output() -> None:
    """Let the script go on if stdout cannot be written, since its results are files. A note at its end says so."""
    if (file := _lasting(sys.stdout)) is not None:
        file.needed = False


def _open_streams() -> None:
    """Make stdout and stderr last, if they are pipes or files, and open those that are closed on the null device.

    Otherwise the next file that is opened would get the number of a closed one, and with it what C code prints.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # worker processes need them too
    os.close(descriptor)
    for number, name in ((1, "stdout"), (2, "stderr")):
        old = getattr(sys, name)
        if old is None or (old is getattr(sys, f"__{name}__") and not (os.name == "nt" and old.isatty())):
            file = io.BufferedWriter(LastingFile(number, needed=name == "stdout"))
            how = {"encoding": "utf-8"}
            if old is not None:
                old.flush()
                how = {key: getattr(old, key) for key in ("encoding", "errors", "line_buffering", "write_through")}
            setattr(sys, name, io.TextIOWrapper(file, **how))


def _lasting(stream: Any) -> LastingFile | None:
    """Return the file of a stream that `_open_streams` made, or None."""
    file = getattr(getattr(stream, "buffer", None), "raw", None)
    return file if isinstance(file, LastingFile) else None


def _end_output() -> None:
    """Write what is left, and say on stderr if something was lost. Raise `OutputError` if it was needed."""
    sys.stdout.flush()
    file = _lasting(sys.stdout)
    if file is not None and file.failure is not None and not file.needed:
        print(f"note: stdout could not be written to the end ({file.failure.strerror})", file=sys.stderr)


# Signals ----------------------------------------------------------------------------------------------------


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted("", number)


def _collect_garbage_less() -> None:
    """Make Python's garbage collector run rarely, and let it skip all objects at exit.

    The import of torch creates 170,000 objects that are no garbage. To examine them repeatedly takes half a second.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
