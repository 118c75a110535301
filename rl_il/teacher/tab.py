"""The browser's tab that holds the session, as the server sees it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from rl_il.files import to_json

MOST_UNACKNOWLEDGED = 2  # frames
MOST_TEXTS = 500  # that wait to be sent
TOO_MANY = 1008  # closing code


class Tab:
    """The tab that holds the session: what waits to be sent there."""

    def __init__(self, connection: ServerConnection):
        self.connection = connection
        self.texts: deque[str] = deque()
        self.frame: tuple[dict[str, Any], bytes] | None = None  # the newest that was not sent
        self.unacknowledged: deque[int] = deque()
        self.overflowed = False
        self.wake = asyncio.Event()

    def say(self, text: str) -> None:
        """Sends the text after those before it; a tab that reads none of them is closed."""
        if len(self.texts) >= MOST_TEXTS:
            self.overflowed = True
        else:
            self.texts.append(text)
        self.wake.set()

    def show(self, state: dict[str, Any], picture: bytes) -> None:
        """Sends the frame as soon as the tab can take it, unless a newer one comes before."""
        self.frame = (state, picture)
        self.wake.set()

    def acknowledge(self, seq: int) -> None:
        """The tab has drawn this frame, and so is done with those before it."""
        while self.unacknowledged and self.unacknowledged[0] <= seq:
            self.unacknowledged.popleft()
        self.wake.set()

    async def send_all(self) -> None:
        """Sends what there is, until the connection ends."""
        with contextlib.suppress(ConnectionClosed):
            await self._send_all()

    async def _send_all(self) -> None:
        seq = 0
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self.overflowed:
                await self.connection.close(TOO_MANY, "reads too slowly")
                return
            while self.texts:
                await self.connection.send(self.texts.popleft())
            if self.frame and len(self.unacknowledged) < MOST_UNACKNOWLEDGED:
                (state, picture), self.frame, seq = self.frame, None, seq + 1
                self.unacknowledged.append(seq)
                await self.connection.send(to_json({"type": "state", "seq": seq, **state}))
                await self.connection.send(seq.to_bytes(4, "big") + picture)
