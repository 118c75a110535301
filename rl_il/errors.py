"""The error class for mistakes that the user can correct, and how a script ends on one."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable


class InputError(ValueError):
    """An error in what the user gave; the message says what is wrong, got, expected, and what to do."""


class DivergedError(InputError):
    """An error of a training whose numbers are no longer finite; the same settings would end there again."""


class Interrupted(KeyboardInterrupt):
    """An interruption by Ctrl-C or SIGTERM; the message says where the work so far is kept.

    Args:
      message: what the user is told.
      signal_number: which of the two signals it was.
      between_steps: whether everything is as it was after a whole step, and may be saved.
    """

    def __init__(self, message: str = "", signal_number: int = signal.SIGINT, between_steps: bool = False):
        super().__init__(message)
        self.signal_number, self.between_steps = signal_number, between_steps


def run_command(main: Callable[[], None]) -> None:
    """Run a script's `main`; a user's mistake becomes one sentence and exit status 2, Ctrl-C status 130.

    SIGTERM ends it as Ctrl-C does, with status 143.
    """
    _collect_garbage_less()
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"  # without file, line and source code
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
    """Let Python's garbage collector run rarely, and not at exit.

    Importing torch creates 170,000 objects, none of them garbage; examining them repeatedly costs half a second.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
