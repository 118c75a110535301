"""The page's server: static files, and the messages and frames of one tab, over one port of 127.0.0.1.

It runs in a thread of its own and touches nothing of the session. What the page asks for waits in an `Inbox` until
the session's thread takes it; frames go the other way, of which only the newest waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import http
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rl_il.errors import InputError
from rl_il.teacher.messages import MAX_BYTES, Ack, Command, Hello, Inbox, Tab, notice, parse

HOST = "127.0.0.1"  # and nothing else: everyone who reaches the page can steer and save
SOCKET = "/socket"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES = {f"/{file.name}": file for file in (Path(__file__).parent / "static").iterdir() if file.suffix in KINDS}
FILES["/"] = FILES.pop("/index.html")
"""What is served under which path: a table, so that no path is ever looked up in the file system."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

MAX_CONNECTIONS = 32  # a browser opens up to six for the page's files
SECONDS_TO_HELLO = 5.0
SECONDS_PER_MESSAGE = 0.001  # a flood waits where it comes from
WRONG_TOKEN, TOO_LATE = 4401, 4408  # closing codes, as `messages.REPLACED`


def listen(port: int) -> socket.socket:
    """Return a socket that listens on the port, 0 for any free one. Raise `InputError` if that is not possible."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"--port {port}: cannot be used ({why}); give another, or 0 for any free one") from error


class Refused(Exception):
    """Ends a connection; holds the closing code and a reason."""


class Server:
    """Serves the page from `start` to `stop`; `inbox` holds what the page asks for.

    Args:
      port: 0 takes any free one.
      welcome: what a tab is told first; called in the server's thread.
      token: that the page must know (None: a new one).
    """

    def __init__(self, port: int, welcome: Callable[[], dict[str, Any]], token: str | None = None):
        self.port, self.welcome, self.token = port, welcome, token or secrets.token_urlsafe(32)
        self.inbox = Inbox()
        self._tab: Tab | None = None  # that holds the session

    @property
    def url(self) -> str:
        """The page's address. The token stands behind a #, which browsers keep to themselves."""
        return f"http://{HOST}:{self.port}/#token={self.token}"

    @property
    def watched(self) -> bool:
        """Whether a tab holds the session."""
        return self._tab is not None

    def start(self) -> None:
        """Serve from now on. Raise `InputError` if the port is taken."""
        listener = listen(self.port)
        self.port = listener.getsockname()[1]
        self._names = [f"{name}:{self.port}" for name in (HOST, "localhost")]
        self._loop, self._stopped = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=[listener], name="server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and the port."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def say(self, message: dict[str, Any]) -> None:
        """Send a message to the tab that holds the session, if there is one."""
        if tab := self._tab:
            self._loop.call_soon_threadsafe(tab.say, message)

    def show(self, state: dict[str, Any], picture: bytes) -> None:
        """Send a frame to the tab that holds the session, if there is one."""
        if tab := self._tab:
            self._loop.call_soon_threadsafe(tab.show, state, picture)

    def _run(self, listener: socket.socket) -> None:
        self._loop.run_until_complete(self._serve(listener))
        self._loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        connections = serve(
            self._talk,
            sock=listener,
            origins=[f"http://{name}" for name in self._names],
            process_request=self._answer,
            process_response=lambda connection, request, response: response.headers.update(HEADERS),
            create_connection=bounded(MAX_CONNECTIONS),
            compression=None,
            max_size=MAX_BYTES,
            open_timeout=SECONDS_TO_HELLO,
            close_timeout=1,
            ping_interval=10,
            ping_timeout=10,
            server_header=None,
            logger=logging.Logger("server", logging.CRITICAL + 1),  # a stranger's requests must not fill the terminal
        )
        async with connections:
            await self._stopped.wait()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return one of the page's files, a refusal, or None where a socket may be opened if its origin is right."""
        if request.headers.get_all("Host") not in [[name] for name in self._names]:  # others may be made to lead here
            return connection.respond(http.HTTPStatus.FORBIDDEN, "forbidden\n")
        if getattr(request, "method", "GET") != "GET":  # older versions of websockets refuse others themselves
            return connection.respond(http.HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed\n")
        if request.path == SOCKET:
            return None
        if request.path not in FILES:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "not found\n")
        file = FILES[request.path]
        response = connection.respond(http.HTTPStatus.OK, file.read_text())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = f"{KINDS[file.suffix]}; charset=utf-8"
        return response

    async def _talk(self, connection: ServerConnection) -> None:
        """Serve one tab, from its hello to its end."""
        tab = Tab(connection)
        try:
            await self._admit(tab)
            await self._listen(tab)
        except ConnectionClosed:
            pass
        except Refused as refusal:
            await connection.close(*refusal.args)
        finally:
            tab.sender.cancel()
            if self._tab is tab:
                self._tab = None
                self.inbox.leave()

    async def _admit(self, tab: Tab) -> None:
        """Give the session to the tab, once it knows the token and the session is free or taken over."""
        try:
            hello = await asyncio.wait_for(self._hello(tab), SECONDS_TO_HELLO)
        except asyncio.TimeoutError:
            raise Refused(TOO_LATE, "no hello") from None
        if self._tab and not hello.take_over:
            tab.say({"type": "taken"})
        while self._tab and not hello.take_over:
            hello = await self._hello(tab)
        before, self._tab = self._tab, tab  # from here on frames go to the new tab
        tab.say({"type": "welcome", **self.welcome()})
        if before:
            self.inbox.leave()
            before.dismiss()
        self.inbox.put(Command("join"))

    async def _hello(self, tab: Tab) -> Hello:
        """Return the tab's hello. Raise `Refused` for any other message, or a wrong token."""
        with contextlib.suppress(InputError):
            message = parse(await tab.connection.recv())
            if isinstance(message, Hello):
                given = message.token.encode(errors="replace")
                if hmac.compare_digest(given, self.token.encode()):
                    return message
        raise Refused(WRONG_TOKEN, "wrong token")

    async def _listen(self, tab: Tab) -> None:
        """Take the tab's messages until it leaves, no more than so many a second."""
        async for text in tab.connection:
            if self._tab is tab:  # else another tab holds the session now, and this one is being closed
                self._take(tab, text)
            await asyncio.sleep(SECONDS_PER_MESSAGE)

    def _take(self, tab: Tab, text: str | bytes) -> None:
        try:
            message = parse(text)
            if isinstance(message, Ack):
                tab.acknowledge(message.seq)
            elif not isinstance(message, Hello) and not self.inbox.put(message):
                raise InputError("too many commands wait; try again")
        except InputError as error:
            tab.say(notice(str(error), "error"))


def bounded(most: int) -> type[ServerConnection]:
    """Return a class of connections that drops each one, before it is read, while `most` are open."""

    connections = set()

    class Bounded(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            if len(connections) >= most:
                transport.abort()
            else:
                connections.add(self)

        def connection_lost(self, error: Exception | None) -> None:
            connections.discard(self)
            super().connection_lost(error)

    return Bounded
