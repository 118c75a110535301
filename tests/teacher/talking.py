"""Functions that talk to the page's server over real sockets."""

from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager, suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

TOKEN = "correct-horse"
GET = "GET / HTTP/1.1\r\n"


@contextmanager
def tab(server, token=TOKEN, take_over=False, hello=True, name="127.0.0.1", **settings):
    """Open a page's socket and, if `hello`, send the first message."""
    address = f"{name}:{server.port}"
    settings = {"origin": f"http://{address}", "compression": None, "open_timeout": 5} | settings
    with connect(f"ws://{address}/socket", **settings) as ws:
        if hello:
            send(ws, type="hello", token=token, take_over=take_over)
        yield ws


def send(ws, **message):
    ws.send(json.dumps(message))


def read(ws):
    return json.loads(ws.recv(timeout=5))


def closing_code(ws):
    """Read until the server closes; return the close code."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            ws.recv(timeout=5)
    return closed.value.rcvd.code if closed.value.rcvd else None


def ask(server, request):
    """Return the answer to a request, with the right host in place of `{host}`; empty: closed without an answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(request.replace("{host}", f"127.0.0.1:{server.port}").encode("latin-1"))
        answer = b""
        with suppress(ConnectionResetError):
            while chunk := plain.recv(65536):
                answer += chunk
    return answer.decode("latin-1")


def flood(server, origin, pings, reads):
    """Ask for the socket and send pings without a hello; return how many are answered before the end.

    If `reads` is false, leave without reading, so that the answers cannot be sent.
    """
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    request = f"GET /socket HTTP/1.1\r\nHost: {{host}}\r\nOrigin: {origin}\r\n{upgrade}"
    request += "Sec-WebSocket-Key: YWFhYWFhYWFhYWFhYWFhYQ==\r\n\r\n"
    ping, answer = b"\x89\xe4\0\0\0\0" + b"x" * 100, b""  # with a mask of zeros
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain, suppress(ConnectionError):
        plain.sendall(request.replace("{host}", f"127.0.0.1:{server.port}").encode() + pings * ping)
        while reads and (chunk := plain.recv(65536)):
            answer += chunk
    return answer.count(ping[6:])


def still_serves(server):
    with tab(server) as ws:
        return read(ws)["type"] == "welcome"


def wait_for(condition, seconds=5):
    """Wait until the condition is true; return its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
    raise AssertionError(f"the condition was not true within {seconds} seconds")
