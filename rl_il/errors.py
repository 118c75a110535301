"""The one error class for mistakes that the user can mend, and how a script ends on it."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable


class InputError(ValueError):
    """Something the user gave is wrong: the message says what, got, expected, and what to do."""


class DivergedError(InputError):
    """Training came to numbers that are not finite: the same settings would again."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the message says where the work so far lies.

    Args:
      message: what the user is told.
      signal_number: which of the two it was.
      between_steps: whether everything is as it was after a whole step, and may be saved.
    """

    def __init__(self, message: str = "", signal_number: int = signal.SIGINT, between_steps: bool = False):
        super().__init__(message)
        self.signal_number, self.between_steps = signal_number, between_steps


def run_command(main: Callable[[], None]) -> None:
    """Runs a script's `main`; a user's mistake becomes one sentence and exit status 2, Ctrl-C status 130.

    SIGTERM ends it as Ctrl-C does, with status 143.
    """
    _spare_the_collector()
    signal.signal(signal.SIGTERM, _interrupt)
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"  # without file, line and source code
    try:
        main()
    except InputError as error:
        sys.exit(_say(f"error: {error}", 2))
    except BrokenPipeError:  # the reader, such as `| head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as interruption:
        number = getattr(interruption, "signal_number", signal.SIGINT)
        sys.exit(_say(str(interruption) or "interrupted", 128 + number))


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted("", number)


def _spare_the_collector() -> None:
    """Importing torch leaves 170,000 objects, none of them garbage. Python's collector would go through them again
    and again on the way, and once more at the end: half a second together."""
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


def _say(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status
