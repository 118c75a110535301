"""The page's server: static files, frames and messages over one port of 127.0.0.1, in a thread of its own.

Nothing here touches the session. What the page asks for waits in an `Inbox`, of bounded size, until the session's
thread takes it; frames go the other way, the newest alone.
"""

from __future__ import annotations

import asyncio
import hmac
import http
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from importlib import resources
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rl_il.errors import InputError
from rl_il.files import to_json
from rl_il.teacher.messages import MOST_BYTES, Ack, Command, Hello, Keys, notice, parse

HOST = "127.0.0.1"  # and nothing else: whoever reaches the page can steer and save
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/teach.css": ("teach.css", "text/css; charset=utf-8"),
    "/teach.js": ("teach.js", "text/javascript; charset=utf-8"),
}
SOCKET = "/socket"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
MOST_CONNECTIONS = 32  # a browser opens up to six for the page's files
MOST_WAITING = 4  # tabs that are told the session is taken
SECONDS_TO_HELLO = 5.0
MESSAGES_PER_SECOND, BURST = 500.0, 1000.0  # four times the fastest frames' acknowledgements, and keys
MOST_UNACKNOWLEDGED = 2  # frames
MOST_COMMANDS, MOST_TEXTS = 32, 500  # that wait to be taken, and to be sent
WRONG_TOKEN, REPLACED, TOO_MANY = 4401, 4409, 1008  # closing codes


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
        """Nobody is there any more: no key is held."""
        with self._lock:
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


class Client:
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
        self._client: Client | None = None
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
        return self._client is not None

    def start(self) -> None:
        """Serves from now on. Raises `InputError` if the port is taken."""
        self._thread.start()
        self._ready.wait()
        if self._error:
            error = self._error
            raise InputError(
                f"--port {self.port}: cannot be used ({error.strerror or error}); give another, or 0 for any"
            ) from error

    def stop(self) -> None:
        """Closes every connection and the port."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def say(self, message: dict[str, Any]) -> None:
        """Sends a message to the tab that holds the session, if there is one."""
        self._call(lambda client: client.say(to_json(message)))

    def show(self, state: dict[str, Any], picture: bytes) -> None:
        """Sends a frame to the tab; the newest alone."""
        self._call(lambda client: client.show(state, picture))

    def _call(self, action: Callable[[Client], None]) -> None:
        def act() -> None:
            if self._client is not None:
                action(self._client)

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
            process_request=self._answer,
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

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A file, a refusal, or None for the page's socket."""
        names = (f"{HOST}:{self.port}", f"localhost:{self.port}")
        if request.headers.get_all("Host") not in [[name] for name in names]:  # another name may lead here too
            return _respond(http.HTTPStatus.FORBIDDEN)
        if getattr(request, "method", "GET") != "GET":
            return _respond(http.HTTPStatus.METHOD_NOT_ALLOWED)
        if request.path == SOCKET:
            origins = request.headers.get_all("Origin")  # of the page that asks, which its script cannot change
            return None if origins in [[f"http://{name}"] for name in names] else _respond(http.HTTPStatus.FORBIDDEN)
        if request.path not in FILES:
            return _respond(http.HTTPStatus.NOT_FOUND)
        name, kind = FILES[request.path]
        return _respond(http.HTTPStatus.OK, (resources.files("rl_il.teacher") / "static" / name).read_bytes(), kind)

    async def _talk(self, connection: ServerConnection) -> None:
        """One tab, from its hello to its end."""
        try:
            client = await self._admit(connection)
            if client is None:
                return
            sender = asyncio.create_task(client.send_all())
            try:
                await self._listen(client)
            finally:
                sender.cancel()
                if self._client is client:
                    self._client = None
                    self.inbox.leave()
        except (ConnectionClosed, asyncio.TimeoutError):
            pass

    async def _admit(self, connection: ServerConnection) -> Client | None:
        """The tab as the session's holder, once it knows the token and the session is free or taken over."""
        hello = await self._hello(connection, SECONDS_TO_HELLO)
        if hello and self._client is not None and not hello.take_over:
            if self._waiting >= MOST_WAITING:
                await connection.close(TOO_MANY, "too many tabs")
                return None
            self._waiting += 1
            try:
                await connection.send(to_json({"type": "taken"}))
                while hello and not hello.take_over and self._client is not None:
                    hello = await self._hello(connection, None)
            finally:
                self._waiting -= 1
        if not hello:
            return None
        before, client = self._client, Client(connection)
        self._client = client  # from here on frames go to the new tab
        client.say(to_json({"type": "welcome", **self.welcome()}))
        if before:
            self.inbox.leave()
            await self._dismiss(before)
        self.inbox.join()
        return client

    async def _hello(self, connection: ServerConnection, seconds: float | None) -> Hello | None:
        """The tab's hello; None, and the connection closed, if it is none or has the wrong token."""
        try:
            text = await asyncio.wait_for(connection.recv(), seconds)
            message = parse(text) if isinstance(text, str) else None
        except (InputError, asyncio.TimeoutError):
            message = None
        known = message.token if isinstance(message, Hello) else ""
        if hmac.compare_digest(known.encode(errors="replace"), self.token.encode()):
            return message
        await connection.close(WRONG_TOKEN, "wrong token")
        return None

    async def _dismiss(self, client: Client) -> None:
        """Tells the tab that another one has taken the session."""
        try:
            await asyncio.wait_for(client.connection.send(to_json({"type": "replaced"})), 1)
            await client.connection.close(REPLACED, "taken over")
        except (ConnectionClosed, asyncio.TimeoutError):
            client.connection.transport.abort()

    async def _listen(self, client: Client) -> None:
        """Takes the tab's messages until it leaves; one that floods is closed."""
        credit, last = BURST, time.monotonic()
        async for text in client.connection:
            now = time.monotonic()
            credit, last = min(BURST, credit + (now - last) * MESSAGES_PER_SECOND) - 1, now
            if credit < 0:
                await client.connection.close(TOO_MANY, "too many messages")
                return
            if not isinstance(text, str):
                await client.connection.close(1003, "text only")
                return
            if self._client is not client:  # another tab holds the session now
                return
            self._take(client, text)

    def _take(self, client: Client, text: str) -> None:
        try:
            message = parse(text)
            if isinstance(message, Hello):
                return
            if isinstance(message, Ack):
                client.acknowledge(message.seq)
            elif not self.inbox.put(message):
                raise InputError("too many commands wait; try again")
        except InputError as error:
            client.say(to_json(notice(str(error), "error")))


def _respond(status: http.HTTPStatus, body: bytes | None = None, kind: str = "text/plain; charset=utf-8") -> Response:
    body = f"{status.value} {status.phrase}\n".encode() if body is None else body
    headers = Headers({**HEADERS, "Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)
