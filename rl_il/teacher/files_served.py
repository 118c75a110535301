"""The answer to each HTTP request: one of the page's files, its socket, or a refusal."""

from __future__ import annotations

import http
from importlib import resources

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

HOST = "127.0.0.1"  # and nothing else: whoever reaches the page can steer and save
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
STATIC = resources.files("rl_il.teacher") / "static"
FILES = {f"/{file.name}": file for file in STATIC.iterdir() if file.name.rpartition(".")[2] in KINDS}
FILES["/"] = FILES.pop("/index.html")
"""What is served under which path: a table, so that no path is ever looked up in the file system."""
SOCKET = "/socket"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def answer(request: Request, port: int) -> Response | None:
    """A file, a refusal, or None where the page's socket may be opened. `port` is the server's own."""
    names = (f"{HOST}:{port}", f"localhost:{port}")
    if request.headers.get_all("Host") not in [[name] for name in names]:  # another name may be made to lead here
        return respond(http.HTTPStatus.FORBIDDEN)
    if getattr(request, "method", "GET") != "GET":
        return respond(http.HTTPStatus.METHOD_NOT_ALLOWED)
    if request.path == SOCKET:
        origins = request.headers.get_all("Origin")  # of the page that asks; no script can change it
        return None if origins in [[f"http://{name}"] for name in names] else respond(http.HTTPStatus.FORBIDDEN)
    if request.path not in FILES:
        return respond(http.HTTPStatus.NOT_FOUND)
    file = FILES[request.path]
    return respond(http.HTTPStatus.OK, file.read_bytes(), f"{KINDS[file.name.rpartition('.')[2]]}; charset=utf-8")


def respond(status: http.HTTPStatus, body: bytes | None = None, kind: str = "text/plain; charset=utf-8") -> Response:
    """The answer with the headers that all have; without a body it names its status."""
    body = f"{status.value} {status.phrase}\n".encode() if body is None else body
    headers = Headers({**HEADERS, "Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, body)
