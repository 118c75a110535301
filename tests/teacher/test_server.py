"""The page's server: what it serves over HTTP, and what it refuses."""

import pytest
from systems import needs_proc
from talking import GET, TOKEN, ask, read, still_serves, tab

from rl_il.errors import InputError
from rl_il.teacher.server import Server, listen


def status(answer):
    return int(answer.split()[1]) if answer else None


@pytest.mark.parametrize("path, kind", [("/", "html"), ("/teach.css", "css"), ("/teach.js", "javascript")])
def test_files_are_served_with_security_headers(server, path, kind):
    answer = ask(server, f"GET {path} HTTP/1.1\r\nHost: {{host}}\r\n\r\n")
    head, _, body = answer.partition("\r\n\r\n")
    assert status(answer) == 200 and body
    assert f"Content-Type: text/{kind}; charset=utf-8" in head and head.count("Content-Type:") == 1
    assert "Content-Security-Policy: default-src 'none'; script-src 'self'" in head
    for said in ("frame-ancestors 'none'", "nosniff", "Referrer-Policy: no-referrer", "Cache-Control: no-store"):
        assert said in head
    assert "Server:" not in head and TOKEN not in answer


def test_the_url_holds_a_new_token_in_its_fragment(server):
    assert server.url == f"http://127.0.0.1:{server.port}/#token={TOKEN}"
    tokens = {Server(0, dict).token for _ in range(5)}
    assert len(tokens) == 5 and all(len(token) >= 43 for token in tokens)


@needs_proc
def test_it_listens_only_on_the_loopback_interface(server):
    with open("/proc/net/tcp") as table:
        listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    port = f":{server.port:04X}"
    assert [address for address in listening if address.endswith(port)] == ["0100007F" + port]


def test_a_port_in_use_is_an_input_error(server):
    with pytest.raises(InputError, match=f"--port {server.port}"):
        listen(server.port)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_hello_is_answered_with_welcome(server, name):
    with tab(server, name=name, compression="deflate") as ws:
        assert read(ws) == {"type": "welcome", "env_name": "Corridor-v0"}
        assert "Sec-WebSocket-Extensions" not in ws.response.headers


OTHER_PATHS = "/../server.py /..%2fserver.py //etc/passwd /teach.js/ /?x=1 /index.html * http://evil.example/"


@pytest.mark.parametrize("path", OTHER_PATHS.split())
def test_every_other_path_is_not_found(server, path):
    answer = ask(server, f"GET {path} HTTP/1.1\r\nHost: {{host}}\r\n\r\n")
    assert status(answer) in (404, 400)
    assert "import" not in answer and "root:" not in answer


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:{port}.example", ""])
def test_another_host_is_forbidden(server, host):
    # A page whose name resolves to 127.0.0.1 (DNS rebinding) sends its own name.
    host = host.replace("{port}", str(server.port))
    headers = f"Host: {host}\r\n" if host else ""
    for path in ("/", "/teach.js", "/socket"):
        assert status(ask(server, f"GET {path} HTTP/1.1\r\n{headers}\r\n")) == 403
    assert status(ask(server, f"{GET}Host: {{host}}\r\nHost: {host}\r\n\r\n")) == 403


NO_REQUESTS = [
    *(
        f"{method} / HTTP/1.1\r\nHost: {{host}}\r\nContent-Length: 3\r\n\r\nabc"
        for method in ("POST", "HEAD", "X" * 5000)
    ),
    "\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    GET + "A: b\r\n" * 1000 + "\r\n",
    "GET /" + "a" * 100_000 + " HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "GET /socket HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\r\n",  # without an upgrade
]


@pytest.mark.parametrize("request_", NO_REQUESTS, ids=range(len(NO_REQUESTS)))
def test_other_methods_and_malformed_requests_are_refused(server, request_):
    answer = ask(server, request_)
    assert status(answer) not in (200, 101) and len(answer) < 2000
    assert "Traceback" not in answer and "<script" not in answer
    assert still_serves(server)
