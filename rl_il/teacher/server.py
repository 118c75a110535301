"""The page's server: it serves the static files and one tab's WebSocket, on one port of 127.0.0.1.

It runs in a separate thread and never uses the session directly. The page's messages wait in an `Inbox` until the
session's thread takes them. In the other direction only the newest frame waits.
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
from rl_il.teacher.connections import limited, quiet
from rl_il.teacher.messages import MAX_BYTES, Ack, Command, Hello, Inbox, Tab, notice, parse

HOST = "127.0.0.1"  # never another address: anyone who can open the page can act and save
SOCKET = "/socket"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES = {f"/{file.name}": file for file in (Path(__file__).parent / "static").iterdir() if file.suffix in KINDS}
FILES["/"] = FILES.pop("/index.html")
"""The served files by path. Only these paths are served; no path of a request is opened as a file."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

SECONDS_TO_HELLO = 5.0
SECONDS_PER_MESSAGE = 0.001  # the minimum time for a message; faster messages wait in the browser
WRONG_TOKEN, TOO_LATE = 4401, 4408  # WebSocket close codes, like `messages.REPLACED`


def listen(port: int) -> socket.socket:
    """Return a socket that listens on the port (0: any free port). Raise `InputError` if this is not possible."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"--port {port} cannot be used ({why}); give another, or 0 for any free port") from error


class Refused(Exception):
    """An error that ends a connection. Its arguments are the WebSocket close code and the reason."""


class Server:
    """The page's server. It runs between `start` and `stop`; `inbox` holds the page's messages.

    Args:
      port: the port on 127.0.0.1; 0 means any free port.
      welcome: a function that returns the first message to a tab. It is called in the server's thread.
      token: the secret that the page must send; None means a new random token.
    """

    def __init__(self, port: int, welcome: Callable[[], dict[str, Any]], token: str | None = None):
        self.port, self.welcome, self.token = port, welcome, token or secrets.token_urlsafe(32)
        self.inbox = Inbox()
        self._tab: Tab | None = None  # the tab that controls the session

    @property
    def url(self) -> str:
        """Return the page's address. The token is after a #, because browsers do not send that part to servers."""
        return f"http://{HOST}:{self.port}/#token={self.token}"

    @property
    def watched(self) -> bool:
        """Return whether a tab controls the session."""
        return self._tab is not None

    def start(self) -> None:
        """Start the server's thread. Raise `InputError` if the port cannot be used."""
        listener = listen(self.port)
        self.port = listener.getsockname()[1]
        self._names = [f"{name}:{self.port}" for name in (HOST, "localhost")]
        self._loop, self._stopped = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=[listener], name="server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and the port, and end the thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def say(self, message: dict[str, Any]) -> None:
        """Send a message to the tab that controls the session, if there is one."""
        if tab := self._tab:
            self._loop.call_soon_threadsafe(tab.say, message)

    def show(self, state: dict[str, Any], picture: bytes) -> None:
        """Send a frame to the tab that controls the session, if there is one."""
        if tab := self._tab:
            self._loop.call_soon_threadsafe(tab.show, state, picture)

    def _run(self, listener: socket.socket) -> None:
        with quiet(self._loop):
            self._loop.run_until_complete(self._serve(listener))
            self._loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        connections = serve(
            self._talk,
            sock=listener,
            origins=[f"http://{name}" for name in self._names],
            process_request=self._answer,
            process_response=lambda connection, request, response: response.headers.update(HEADERS),
            create_connection=limited(),
            compression=None,
            max_size=MAX_BYTES,
            open_timeout=SECONDS_TO_HELLO,
            close_timeout=1,
            ping_interval=10,
            ping_timeout=10,
            server_header=None,
            logger=logging.Logger("server", logging.CRITICAL + 1),  # wrong requests must not fill the terminal
        )
        async with connections:
            await self._stopped.wait()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return one of the page's files, an error, or None to open the WebSocket if its origin is allowed."""
        if request.headers.get_all("Host") not in [[name] for name in self._names]:  # protects against DNS rebinding
            return connection.respond(http.HTTPStatus.FORBIDDEN, "forbidden\n")
        if getattr(request, "method", "GET") != "GET":  # older versions of websockets refuse other methods themselves
            return connection.respond(http.HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed\n")
        if request.path == SOCKET:
            return None
        if request.path not in FILES:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "not found\n")
        file = FILES[request.path]
        response = connection.respond(http.HTTPStatus.OK, file.read_text(encoding="utf-8"))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = f"{KINDS[file.suffix]}; charset=utf-8"
        return response

    async def _talk(self, connection: ServerConnection) -> None:
        """Serve one tab until its connection ends."""
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
        """Give the tab control of the session. While another tab has it, wait until `take_over` is sent."""
        try:
            hello = await asyncio.wait_for(self._hello(tab), SECONDS_TO_HELLO)
        except asyncio.TimeoutError:
            raise Refused(TOO_LATE, "no hello") from None
        if self._tab and not hello.take_over:
            tab.say({"type": "taken"})
        while self._tab and not hello.take_over:
            hello = await self._hello(tab)
        before, self._tab = self._tab, tab  # from now on frames go to the new tab
        tab.say({"type": "welcome", **self.welcome()})
        if before:
            self.inbox.leave()
            before.dismiss()
        self.inbox.put(Command("join"))

    async def _hello(self, tab: Tab) -> Hello:
        """Return the tab's hello. Raise `Refused` if the message is another one or the token is wrong."""
        with contextlib.suppress(InputError):
            message = parse(await tab.connection.recv())
            if isinstance(message, Hello):
                given = message.token.encode(errors="replace")
                if hmac.compare_digest(given, self.token.encode()):
                    tab.connection.admit()
                    return message
        raise Refused(WRONG_TOKEN, "wrong token")

    async def _listen(self, tab: Tab) -> None:
        """Receive the tab's messages, at a limited rate, until it disconnects."""
        async for text in tab.connection:
            if self._tab is tab:  # otherwise another tab has taken over, and this one is being closed
                self._take(tab, text)
            await asyncio.sleep(SECONDS_PER_MESSAGE)

    def _take(self, tab: Tab, text: str | bytes) -> None:
        try:
            message = parse(text)
            if isinstance(message, Ack):
                tab.acknowledge(message.seq)
            elif not isinstance(message, Hello) and not self.inbox.put(message):
                raise InputError("too many commands are waiting; try again")
        except InputError as error:
            tab.say(notice(str(error), "error"))
