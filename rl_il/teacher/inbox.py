"""What the page asked for, until the session's thread takes it."""

from __future__ import annotations

import threading
from collections import deque

from rl_il.teacher.messages import Command, Keys

MOST_COMMANDS = 32  # that wait to be taken


class Inbox:
    """What the page asked for since the session last looked: the keys as they are now, and a few commands."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self._lock = threading.Lock()
        self._commands: deque[Command] = deque()
        self._keys: Keys | None = None
        self._tap: Keys | None = None  # pressed and released again since the session last looked
        self._joined = self._left = False

    def put(self, message: Keys | Command) -> bool:
        """Whether there was room."""
        with self._lock:
            if isinstance(message, Keys):
                if message.held:
                    self._tap = message
                self._keys = message
            elif len(self._commands) >= MOST_COMMANDS:
                return False
            else:
                self._commands.append(message)
        self.changed.set()
        return True

    def join(self) -> None:
        """Somebody has come."""
        with self._lock:
            self._joined = True
        self.changed.set()

    def leave(self) -> None:
        """Nobody is there any more: no key is held, and what was asked for last is not done."""
        with self._lock:
            self._commands.clear()
            self._left, self._keys, self._tap = True, Keys((), None), None
        self.changed.set()

    def take_keys(self) -> Keys | None:
        """The keys to hold in the next step; None if they are as before. One that was only tapped is held once."""
        with self._lock:
            keys, self._keys = self._keys, None
            tap, self._tap = self._tap, None
            if keys is not None and tap is not None and not keys.held:
                self._keys = keys
                return tap
            return keys

    def take(self) -> tuple[bool, bool, list[Command]]:
        """Whether somebody left, whether somebody came, and the commands since the last time."""
        with self._lock:
            taken = self._left, self._joined, list(self._commands)
            self._left = self._joined = False
            self._commands.clear()
            self.changed.clear()
            return taken
