"""Messages that quote a file."""

from __future__ import annotations

MOST_MESSAGE = 1000  # characters


def one_line(error: Exception) -> str:
    """The error's message, cut, and without what a terminal would obey: it may quote a stranger's file."""
    return printable(str(error), MOST_MESSAGE)


def printable(text: str, most: int) -> str:
    """The text's first `most` characters, with a space for each that cannot be printed."""
    return "".join(c if c.isprintable() else " " for c in text[:most])
