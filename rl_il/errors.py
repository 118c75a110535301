"""The one error class for mistakes that the user can mend, and how a script ends on it."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import warnings
from collections.abc import Callable


class InputError(ValueError):
    """Something the user gave is wrong: the message says what, got, expected, and what to do."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C after the work so far was saved; the message says where it lies."""


def run_command(main: Callable[[], None]) -> None:
    """Runs a script's `main`; a user's mistake becomes one sentence and exit status 2, Ctrl-C status 130."""
    _spare_the_collector()
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"  # without file, line and source code
    try:
        main()
    except InputError as error:
        sys.exit(_say(f"error: {error}", 2))
    except BrokenPipeError:  # the reader, such as `| head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as interruption:
        sys.exit(_say(str(interruption) or "interrupted", 130))


def _spare_the_collector() -> None:
    """Importing torch leaves 170,000 objects, none of them garbage. Python's collector would go through them again
    and again on the way, and once more at the end: half a second together."""
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


def _say(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status
