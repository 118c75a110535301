"""The messages between page and server, and their queues.

`Inbox` holds the messages from the page, `Tab` those to the page.

Every incoming message is checked here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import deque
from typing import Any, NamedTuple

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from rl_il.errors import InputError
from rl_il.files import to_json

MAX_BYTES = 4096  # maximum size of a message from the page
MAX_KEYS = 32  # keys held at the same time
MAX_NAME = 32  # characters of a key's or a mode's name
MAX_COMMANDS = 32  # commands that wait in the inbox
MAX_TEXTS = 500  # messages that wait to be sent to a tab
MAX_UNACKNOWLEDGED = 2  # frames that were sent but are not drawn yet
REPLACED = 4409  # WebSocket close code: another tab has taken over the session


class Hello(NamedTuple):
    """The first message of a tab: its token, and whether it takes over from another tab."""

    token: str
    take_over: bool


class Keys(NamedTuple):
    """All keys that are held now, in the order in which they were pressed; `stamp` is the page's clock in ms."""

    held: tuple[str, ...]
    stamp: float | None


class Ack(NamedTuple):
    """The page has drawn the frame of this number."""

    seq: int


class Command(NamedTuple):
    """One of `COMMANDS` with its value. The server adds `join` and `leave` when a tab connects or disconnects."""

    name: str
    value: Any = None


def _is_number(value: Any) -> bool:
    """Return whether it is a finite number; JSON's true, NaN and 1e999 (infinite) are not."""
    return type(value) in (int, float) and abs(value) < 1e15


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME


COMMANDS = {
    "mode": _is_name,
    "pause": lambda value: isinstance(value, bool),
    "undo": _is_number,
    "reset": lambda value: value is None,
    "save": lambda value: value is None,
    "speed": _is_number,
}
"""The commands that the page may send, with the check of their value."""


def parse(text: str | bytes) -> Hello | Keys | Ack | Command:
    """Return the message. Raise `InputError` if the text is no valid message; the error does not quote it."""
    content = None
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(text) if isinstance(text, str) else None
    match content:
        case {"type": "hello", "token": str(token)} if isinstance(content.get("take_over", False), bool):
            return Hello(token, content.get("take_over", False))
        case {"type": "keys", "held": list(held)} if len(held) <= MAX_KEYS and all(map(_is_name, held)):
            stamp = content.get("stamp")
            if stamp is None or _is_number(stamp):
                return Keys(tuple(held), stamp)
        case {"type": "ack", "seq": int(seq)} if type(seq) is int and 0 <= seq < 2**32:
            return Ack(seq)
        case {"type": "command", "name": str(name)} if name in COMMANDS and COMMANDS[name](content.get("value")):
            return Command(name, content.get("value"))
    raise InputError("the message was ignored: expected JSON of type hello, keys, ack or command, with its values")


def notice(text: str, level: str = "info") -> dict[str, str]:
    """Return the message that shows `text` on the page for some seconds; `level` is `info` or `error`."""
    return {"type": "notice", "level": level, "text": text}


class Inbox:
    """The page's keys and commands, until the session's thread takes them; `changed` is set when some arrive."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self._lock = threading.Lock()
        self._commands: list[Command] = []
        self._keys: list[Keys] = []  # one for each of the next steps: at most a short press and its release

    def put(self, message: Keys | Command) -> bool:
        """Add a message; return whether there was room."""
        with self._lock:
            if isinstance(message, Keys):
                # A key that was pressed and released between two steps still counts as held for one step.
                tap = [] if message.held else [keys for keys in self._keys if keys.held]
                self._keys = [*tap, message]
            elif len(self._commands) >= MAX_COMMANDS:
                return False
            else:
                self._commands.append(message)
        self.changed.set()
        return True

    def leave(self) -> None:
        """Note that the tab has disconnected: release all keys, and drop its waiting commands."""
        with self._lock:
            self._commands, self._keys = [Command("leave")], [Keys((), None)]
        self.changed.set()

    def take_keys(self) -> Keys | None:
        """Return the keys to hold in the next step; None if they have not changed."""
        with self._lock:
            return self._keys.pop(0) if self._keys else None

    def take(self) -> list[Command]:
        """Return the commands since the last call, including `join` and `leave`."""
        with self._lock:
            self.changed.clear()
            taken, self._commands = self._commands, []
            return taken


class Tab:
    """The server's side of one browser tab: its connection, and the messages that wait to be sent to it."""

    def __init__(self, connection: ServerConnection):
        self.connection = connection
        self._texts: deque[str] = deque()
        self._frame: tuple[dict[str, Any], bytes] | None = None  # the newest one, until it is sent
        self._sent = self._drawn = 0  # number of the last frame
        self._wake = asyncio.Event()
        self.sender = asyncio.create_task(self._send_all())

    def say(self, message: dict[str, Any]) -> None:
        """Send the message in order. Drop the connection if the tab has stopped reading."""
        if len(self._texts) >= MAX_TEXTS:
            self.connection.transport.abort()
            return
        self._texts.append(to_json(message))
        self._wake.set()

    def show(self, state: dict[str, Any], picture: bytes) -> None:
        """Send the frame as soon as the tab is ready for it, unless a newer frame replaces it before that."""
        self._frame = (state, picture)
        self._wake.set()

    def acknowledge(self, seq: int) -> None:
        """Note that the tab has drawn this frame, and has drawn or dropped all frames before it."""
        self._drawn = min(max(self._drawn, seq), self._sent)
        self._wake.set()

    def dismiss(self) -> None:
        """Close the connection, because another tab has taken over the session."""
        self._closing = asyncio.create_task(self.connection.close(REPLACED, "taken over"))

    async def _send_all(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._texts:
                    await self.connection.send(self._texts.popleft())
                if self._frame and self._sent - self._drawn < MAX_UNACKNOWLEDGED:
                    (state, picture), self._frame = self._frame, None
                    self._sent += 1
                    await self.connection.send(to_json({"type": "state", "seq": self._sent, **state}))
                    await self.connection.send(self._sent.to_bytes(4, "big") + picture)
