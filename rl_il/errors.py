"""Errors that the user can correct, and the exit status of a script after an error."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable

TERMINATION = [getattr(signal, name) for name in ("SIGTERM", "SIGBREAK") if hasattr(signal, name)]
"""The signals that ask a process to end. SIGBREAK is Ctrl-Break on Windows, where no process receives SIGTERM."""


class InputError(ValueError):
    """An error in the user's input. The message says what is wrong, what was expected, and what to do."""


class DivergedError(InputError):
    """A training whose numbers are no longer finite. The same settings would fail again."""


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


def place_of(error: BaseException) -> str:
    """Return the file and the line where an exception was raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}, line {last.lineno}"


def run_command(main: Callable[[], None]) -> None:
    """Run a script's `main`, and end the process with the right exit status.

    After an `InputError`, the message is printed without a traceback, and the status is 2. The status is 130 after
    Ctrl-C and 143 after SIGTERM.
    """
    _collect_garbage_less()
    for number in TERMINATION:
        signal.signal(number, _interrupt)
    if hasattr(sys.stdout, "reconfigure"):  # in a pipe, Windows cannot encode every character of a name
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"  # no file, line number or source code
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader, such as `| head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "interrupted", file=sys.stderr)
        sys.exit(128 + getattr(interruption, "signal_number", signal.SIGINT))


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted("", number)


def _collect_garbage_less() -> None:
    """Make Python's garbage collector run rarely, and let it skip all objects at exit.

    The import of torch creates 170,000 objects that are no garbage. To examine them repeatedly takes half a second.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
