"""The limits of connections to the page's server. Any process on this machine can open one and send anything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode

from rl_il.files import one_line
from rl_il.teacher.messages import MAX_BYTES

MAX_CONNECTIONS = 32  # a browser opens up to six to load the page's files
MAX_CONTROL_FRAMES = 10  # pings and pongs of a connection, and one more each second: browsers only answer ours


class Limited(ServerConnection):
    """A connection that is dropped if it sends too many control frames, or if newer ones need its place.

    Only a connection that was not admitted gives its place to a newer one, the oldest first. So the page loads while
    other processes hold connections open.
    """

    others: dict[Limited, bool]  # the open connections, oldest first, and whether each was admitted

    def admit(self) -> None:
        """Keep this connection, which has sent the token, when newer ones come."""
        if self in self.others:  # otherwise it was dropped meanwhile
            self.others[self] = True

    def drop(self) -> None:
        """Close the connection at once, without sending what waits."""
        self.others.pop(self, None)
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection. If there are too many, drop the oldest that waits, or this one."""
        super().connection_made(transport)
        transport.max_size = MAX_BYTES  # bytes read at a time, instead of 256 kB: each ping in them is answered
        self.control_frames, self.opened_at = 0, self.loop.time()
        if len(self.others) >= MAX_CONNECTIONS:
            waiting = (other for other, admitted in self.others.items() if not admitted)
            next(waiting, self).drop()
        if not transport.is_closing():
            self.others[self] = False

    def connection_lost(self, error: Exception | None) -> None:
        """Release the connection's place."""
        self.others.pop(self, None)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """Handle what was received. Ignore it once the connection is dropped."""
        if not self.transport.is_closing():  # asyncio warns of each answer that cannot be sent
            super().data_received(data)

    def process_event(self, event: Any) -> None:
        """Handle the request or a frame. Drop the connection after too many pings and pongs."""
        if isinstance(event, Frame) and event.opcode in (Opcode.PING, Opcode.PONG):
            self.control_frames += 1
            if self.control_frames > MAX_CONTROL_FRAMES + self.loop.time() - self.opened_at:
                self.drop()
        if not self.transport.is_closing():
            super().process_event(event)


def limited() -> type[Limited]:
    """Return the connection class of one server. Its limit counts only this server's connections."""
    return type("Limited", (Limited,), {"others": {}})


@contextlib.contextmanager
def quiet(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Keep asyncio from printing in this thread: only the first error of the loop is printed, in one line."""
    thread, errors = threading.get_ident(), []

    def note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not errors:
            error = context.get("exception")
            why = f"{type(error).__name__}: {error}" if error else context["message"]
            print(f"note: error in the page's server, which goes on: {one_line(why)}", file=sys.stderr)
        errors.append(context["message"])

    def of_another_thread(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger = logging.getLogger("asyncio")
    logger.addFilter(of_another_thread)
    loop.set_exception_handler(note)
    try:
        yield
    finally:
        logger.removeFilter(of_another_thread)
