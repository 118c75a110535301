"""What the page and the server say to each other. Everything that comes in is checked here."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from rl_il.errors import InputError

MOST_BYTES = 4096  # of a message from the page
MOST_KEYS = 32  # held at once
MOST_NAME = 32  # characters of a key's or a command's name
MOST_DEPTH = 4  # of nested brackets; the page needs 2


class Hello(NamedTuple):
    """The first message: who is there."""

    token: str
    take_over: bool


class Keys(NamedTuple):
    """All keys that are held now, in the order in which they were pressed."""

    held: tuple[str, ...]
    stamp: float | None


class Ack(NamedTuple):
    """The frame of this number was drawn."""

    seq: int


class Command(NamedTuple):
    """One of `COMMANDS`, with its value."""

    name: str
    value: Any


def parse(text: str) -> Hello | Keys | Ack | Command:
    """The message. Raises `InputError` for anything else; its text is short and quotes nothing."""
    if len(text) > MOST_BYTES or _depth(text) > MOST_DEPTH:
        raise InputError("the message is too long or nested too deep")
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InputError("the message is no JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("type"), str) or content["type"] not in PARSERS:
        raise InputError(f"a message must be an object whose type is one of {', '.join(PARSERS)}")
    return PARSERS[content["type"]](content)


def _depth(text: str) -> int:
    """No less than how deep brackets are nested: JSON's parser is recursive."""
    deepest = depth = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and infinities, which Python's parser would take


def _is_number(value: Any) -> bool:
    """Whether it is a finite number that a float holds; JSON's 1e999 is infinite."""
    return type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value)


def _hello(content: dict[str, Any]) -> Hello:
    token, take_over = content.get("token"), content.get("take_over", False)
    if not isinstance(token, str) or not isinstance(take_over, bool):
        raise InputError("hello needs a token (text) and take_over (true or false)")
    return Hello(token, take_over)


def _keys(content: dict[str, Any]) -> Keys:
    held, stamp = content.get("held"), content.get("stamp")
    if not isinstance(held, list) or len(held) > MOST_KEYS:
        raise InputError(f"keys needs held: a list of at most {MOST_KEYS} key codes")
    if not all(isinstance(code, str) and len(code) <= MOST_NAME for code in held):
        raise InputError("key codes must be short texts")
    if stamp is not None and not _is_number(stamp):
        raise InputError("stamp must be a number or null")
    return Keys(tuple(held), stamp)


def _ack(content: dict[str, Any]) -> Ack:
    if type(content.get("seq")) is not int or not 0 <= content["seq"] < 2**32:
        raise InputError("ack needs seq, the number of a frame")
    return Ack(content["seq"])


def _command(content: dict[str, Any]) -> Command:
    name, value = content.get("name"), content.get("value")
    if not isinstance(name, str) or name not in COMMANDS:
        raise InputError(f"a command must be one of {', '.join(COMMANDS)}")
    what, fits = COMMANDS[name]
    if not fits(value):
        raise InputError(f"the command {name} takes {what}")
    return Command(name, value)


PARSERS = {"hello": _hello, "keys": _keys, "ack": _ack, "command": _command}
COMMANDS = {
    "mode": ("a mode's name", lambda value: isinstance(value, str) and len(value) <= MOST_NAME),
    "pause": ("true or false", lambda value: isinstance(value, bool)),
    "undo": ("a number of seconds", _is_number),
    "reset": ("null", lambda value: value is None),
    "save": ("null", lambda value: value is None),
    "speed": ("a number", _is_number),
}
"""What the page may ask for: what its value is, and the check."""


def notice(text: str, level: str = "info") -> dict[str, str]:
    """A sentence for the page."""
    return {"type": "notice", "level": level, "text": text}
