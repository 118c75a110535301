"""The page's server: static files, frames and messages over one port of 127.0.0.1, in a thread of its own.

Nothing here touches the session. What the page asks for waits in an `Inbox`, of bounded size, until the session's
thread takes it; frames go the other way, the newest alone.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from rl_il.errors import InputError
from rl_il.files import to_json
from rl_il.teacher.files_served import HOST, answer
from rl_il.teacher.inbox import Inbox
from rl_il.teacher.messages import MOST_BYTES, Ack, Hello, notice, parse
from rl_il.teacher.tab import TOO_MANY, Tab

MOST_CONNECTIONS = 32  # a browser opens up to six for the page's files
MOST_WAITING = 4  # tabs that are told the session is taken
SECONDS_TO_HELLO = 5.0
MESSAGES_PER_SECOND, BURST = 500.0, 1000.0  # four times the fastest frames' acknowledgements, and keys
WRONG_TOKEN, TOO_LATE, REPLACED = 4401, 4408, 4409  # closing codes


def check_port(port: int) -> None:
    """Raises `InputError` for a port that is taken, before anything is made."""
    try:
        with socket.create_server((HOST, port)):
            pass
    except OSError as error:
        raise _taken(port, error) from error


def _taken(port: int, error: OSError) -> InputError:
    why = error.strerror or error
    return InputError(f"--port {port}: cannot be used ({why}); give another, or 0 for any free one")


class Server:
    """Serves the page from `start` to `stop`.

    Args:
      port: 0 takes any free one.
      welcome: what a tab is told first; called in the server's thread.
      token: that the page must know (None: a new one).

    `inbox` holds what the page asks for; `url` is where the page is, with the token.
    """

    def __init__(self, port: int, welcome: Callable[[], dict[str, Any]], token: str | None = None):
        self.port, self.welcome, self.token = port, welcome, token or secrets.token_urlsafe(32)
        self.inbox = Inbox()
        self._tab: Tab | None = None
        self._open = self._waiting = 0
        self._loop = asyncio.new_event_loop()
        self._ready, self._error = threading.Event(), None
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    @property
    def url(self) -> str:
        """The page's address. The token stands behind a #, which browsers keep to themselves."""
        return f"http://{HOST}:{self.port}/#token={self.token}"

    @property
    def watched(self) -> bool:
        """Whether a tab holds the session."""
        return self._tab is not None

    def start(self) -> None:
        """Serves from now on. Raises `InputError` if the port is taken."""
        self._thread.start()
        self._ready.wait()
        if self._error:
            raise _taken(self.port, self._error) from self._error

    def stop(self) -> None:
        """Closes every connection and the port."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def say(self, message: dict[str, Any]) -> None:
        """Sends a message to the tab that holds the session, if there is one."""
        self._call(lambda tab: tab.say(to_json(message)))

    def show(self, state: dict[str, Any], picture: bytes) -> None:
        """Sends a frame to the tab; the newest alone."""
        self._call(lambda tab: tab.show(state, picture))

    def _call(self, action: Callable[[Tab], None]) -> None:
        def act() -> None:
            if self._tab is not None:
                action(self._tab)

        if self._loop.is_running():
            self._loop.call_soon_threadsafe(act)

    # The server's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._error = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        self._stopped = asyncio.Event()
        quiet = logging.getLogger("rl_il.teacher.server")  # whoever knocks must not fill the terminal
        quiet.setLevel(logging.CRITICAL)
        connections = serve(
            self._talk,
            HOST,
            self.port,
            process_request=lambda connection, request: answer(request, self.port),
            create_connection=self._connection_class(),
            compression=None,
            max_size=MOST_BYTES,
            open_timeout=SECONDS_TO_HELLO,
            close_timeout=1,
            ping_interval=10,
            ping_timeout=10,
            server_header=None,
            logger=quiet,
        )
        async with connections as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stopped.wait()

    def _connection_class(self) -> type[ServerConnection]:
        """A connection that is dropped before it is read where too many are open."""
        owner = self

        class Counted(ServerConnection):
            dropped = False

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                owner._open += 1
                if owner._open > MOST_CONNECTIONS:
                    self.dropped = True
                    transport.abort()
                else:
                    super().connection_made(transport)

            def connection_lost(self, error: Exception | None) -> None:
                owner._open -= 1
                if not self.dropped:
                    super().connection_lost(error)

        return Counted

    async def _talk(self, connection: ServerConnection) -> None:
        """One tab, from its hello to its end."""
        try:
            tab = await self._admit(connection)
            if tab is None:
                return
            sender = asyncio.create_task(tab.send_all())
            try:
                await self._listen(tab)
            finally:
                sender.cancel()
                if self._tab is tab:
                    self._tab = None
                    self.inbox.leave()
        except (ConnectionClosed, asyncio.TimeoutError):
            pass

    async def _admit(self, connection: ServerConnection) -> Tab | None:
        """The tab as the session's holder, once it knows the token and the session is free or taken over."""
        hello = await self._hello(connection, SECONDS_TO_HELLO)
        if hello and self._tab is not None and not hello.take_over:
            if self._waiting >= MOST_WAITING:
                await connection.close(TOO_MANY, "too many tabs")
                return None
            self._waiting += 1
            try:
                await connection.send(to_json({"type": "taken"}))
                while hello and not hello.take_over and self._tab is not None:
                    hello = await self._hello(connection, None)
            finally:
                self._waiting -= 1
        if not hello:
            return None
        before, tab = self._tab, Tab(connection)
        self._tab = tab  # from here on frames go to the new tab
        tab.say(to_json({"type": "welcome", **self.welcome()}))
        if before:
            self.inbox.leave()
            await self._dismiss(before)
        self.inbox.join()
        return tab

    async def _hello(self, connection: ServerConnection, seconds: float | None) -> Hello | None:
        """The tab's hello; None, and the connection closed, if it is none, too late, or has the wrong token."""
        try:
            text = await asyncio.wait_for(connection.recv(), seconds)
            message = parse(text) if isinstance(text, str) else None
        except asyncio.TimeoutError:
            await connection.close(TOO_LATE, "no hello")
            return None
        except InputError:
            message = None
        known = message.token if isinstance(message, Hello) else ""
        if hmac.compare_digest(known.encode(errors="replace"), self.token.encode()):
            return message
        await connection.close(WRONG_TOKEN, "wrong token")
        return None

    async def _dismiss(self, tab: Tab) -> None:
        """Tells the tab that another one has taken the session."""
        try:
            await asyncio.wait_for(tab.connection.send(to_json({"type": "replaced"})), 1)
            await tab.connection.close(REPLACED, "taken over")
        except (ConnectionClosed, asyncio.TimeoutError):
            tab.connection.transport.abort()

    async def _listen(self, tab: Tab) -> None:
        """Takes the tab's messages until it leaves; one that floods is closed."""
        credit, last = BURST, time.monotonic()
        async for text in tab.connection:
            now = time.monotonic()
            credit, last = min(BURST, credit + (now - last) * MESSAGES_PER_SECOND) - 1, now
            if credit < 0:
                await tab.connection.close(TOO_MANY, "too many messages")
                return
            if not isinstance(text, str):
                await tab.connection.close(1003, "text only")
                return
            if self._tab is not tab:  # another tab holds the session now, and this one is being told
                continue
            self._take(tab, text)

    def _take(self, tab: Tab, text: str) -> None:
        try:
            message = parse(text)
            if isinstance(message, Hello):
                return
            if isinstance(message, Ack):
                tab.acknowledge(message.seq)
            elif not self.inbox.put(message):
                raise InputError("too many commands wait; try again")
        except InputError as error:
            tab.say(to_json(notice(str(error), "error")))
