"""The page's server over real sockets: what it serves, and what it refuses."""

import contextlib
import json
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rl_il.errors import InputError
from rl_il.teacher import server as server_module
from rl_il.teacher.inbox import MOST_COMMANDS, Inbox
from rl_il.teacher.messages import Command, Keys
from rl_il.teacher.server import MOST_CONNECTIONS, MOST_WAITING, Server
from rl_il.teacher.tab import MOST_TEXTS

TOKEN = "correct-horse"


@pytest.fixture
def server():
    server = Server(0, lambda: {"env_name": "Corridor-v0"}, TOKEN)
    server.start()
    yield server
    server.stop()


@contextmanager
def tab(server, token=TOKEN, take_over=False, hello=True, **settings):
    """A page's socket that has said hello."""
    address = f"127.0.0.1:{server.port}"
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
    """Reads until the server closes."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            ws.recv(timeout=5)
    return closed.value.rcvd.code if closed.value.rcvd else None


def ask(server, request, host=None):
    """The answer to a request as it stands; `{host}` in it is the right one. Empty: closed without an answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(request.replace("{host}", host or f"127.0.0.1:{server.port}").encode("latin-1"))
        answer = b""
        try:
            while chunk := plain.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
    return answer.decode("latin-1")


def status(answer):
    return int(answer.split()[1]) if answer else None


def still_serves(server):
    with tab(server) as ws:
        return read(ws)["type"] == "welcome"


# What it serves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, kind", [("/", "text/html"), ("/teach.css", "text/css"), ("/teach.js", "text/javascript")]
)
def test_the_pages_files_come_with_headers_that_allow_nothing_else(server, path, kind):
    answer = ask(server, f"GET {path} HTTP/1.1\r\nHost: {{host}}\r\n\r\n")
    head, _, body = answer.partition("\r\n\r\n")
    assert status(answer) == 200 and body
    for header in (
        f"Content-Type: {kind}; charset=utf-8",
        "Content-Security-Policy: default-src 'none'; script-src 'self'",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        "Cache-Control: no-store",
    ):
        assert header in head
    assert "frame-ancestors 'none'" in head and "Server:" not in head and TOKEN not in answer


def test_the_url_holds_the_token_where_no_server_is_told_it(server):
    assert server.url == f"http://127.0.0.1:{server.port}/#token={TOKEN}"
    tokens = {Server(0, dict).token for _ in range(5)}
    assert len(tokens) == 5 and all(len(token) >= 43 for token in tokens)


def test_it_listens_on_the_loopback_alone(server):
    elsewhere = socket.gethostbyname(socket.gethostname())
    targets = [elsewhere] if not elsewhere.startswith("127.0.0.1") else []
    for target in targets:
        with pytest.raises(OSError):
            socket.create_connection((target, server.port), timeout=2)
    with open("/proc/net/tcp") as table:
        listening = [line.split()[1] for line in table if line.split()[3] == "0A"]
    assert f"0100007F:{server.port:04X}" in listening
    assert f"00000000:{server.port:04X}" not in listening


def test_a_port_in_use_is_a_users_mistake(server):
    second = Server(server.port, dict)
    with pytest.raises(InputError, match=f"--port {server.port}: cannot be used"):
        second.start()


def test_hello_is_answered_with_welcome_and_both_names_lead_here(server):
    for name in ("127.0.0.1", "localhost"):
        address = f"{name}:{server.port}"
        with connect(f"ws://{address}/socket", origin=f"http://{address}", compression=None) as ws:
            send(ws, type="hello", token=TOKEN)
            assert read(ws) == {"type": "welcome", "env_name": "Corridor-v0"}


def test_compression_is_never_agreed_on(server):
    with tab(server, compression="deflate") as ws:
        assert read(ws)["type"] == "welcome"
        assert "Sec-WebSocket-Extensions" not in ws.response.headers


# HTTP that is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../server.py",
            "/static/../server.py",
            "/..%2fserver.py",
            "/%2e%2e/server.py",
            "//etc/passwd",
            "/teach.js/",
        ),
        *(
            "/index.html/../../settings.py",
            "/teach.js%00.png",
            "/?x=1",
            "/index.html",
            "/favicon.ico",
            "/socket/",
            "*",
        ),
        *("/teach.css?../settings.py", "http://evil.example/", "\\..\\server.py"),
    ],
)
def test_every_other_path_is_not_found(server, path):
    answer = ask(server, f"GET {path} HTTP/1.1\r\nHost: {{host}}\r\n\r\n")
    assert status(answer) in (404, 400)
    assert "import" not in answer and "root:" not in answer


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil.example:{port}"]
)
def test_another_host_is_forbidden_which_stops_dns_rebinding(server, host):
    host = host.replace("{port}", str(server.port))
    for path in ("/", "/teach.js", "/socket"):
        assert status(ask(server, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")) == 403
    assert status(ask(server, "GET / HTTP/1.1\r\n\r\n")) == 403
    assert status(ask(server, f"GET / HTTP/1.1\r\nHost: {{host}}\r\nHost: {host}\r\n\r\n")) == 403


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "HEAD", "OPTIONS", "DELETE", "CONNECT", "TRACE", "get", "X" * 5000]
)
def test_another_method_is_refused(server, method):
    answer = ask(server, f"{method} / HTTP/1.1\r\nHost: {{host}}\r\nContent-Length: 3\r\n\r\nabc")
    assert status(answer) in (405, 400, 431, 414, None)
    assert "<canvas" not in answer and "<script" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: {host}\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "GET / HTTP/1.1\r\n" + "A: b\r\n" * 1000 + "\r\n",
        "GET / HTTP/1.1\r\nHost: " + "h" * 100_000 + "\r\n\r\n",
        "GET /" + "a" * 100_000 + " HTTP/1.1\r\nHost: {host}\r\n\r\n",
    ],
    ids=range(7),
)
def test_what_is_no_request_is_refused(server, request_):
    answer = ask(server, request_)
    assert status(answer) != 200 and len(answer) < 2000 and "Traceback" not in answer
    assert still_serves(server)


def test_the_socket_needs_an_upgrade(server):
    answer = ask(server, "GET /socket HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\r\n")
    assert status(answer) in (400, 426)


# The socket ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1",
        "http://127.0.0.1:{port}.evil.example",
    ],
)
def test_another_origin_is_forbidden(server, origin):
    origin = origin and origin.replace("{port}", str(server.port))
    with pytest.raises(InvalidStatus) as refused, tab(server, origin=origin):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN[:-1], "é", "\ud800", "x" * 4000])
def test_a_wrong_token_is_closed_with_4401(server, token):
    with tab(server, token=token) as ws:
        assert closing_code(ws) == 4401
    assert not server.watched


@pytest.mark.parametrize(
    "first",
    [
        b"binary",
        "no JSON",
        json.dumps({"type": "hello"}),
        json.dumps({"type": "hello", "token": None}),
        json.dumps({"type": "command", "name": "save"}),
        json.dumps({"type": "keys", "held": ["ArrowLeft"]}),
        "[" * 4000,
    ],
    ids=range(7),
)
def test_whoever_does_not_say_hello_first_is_closed_and_asks_for_nothing(server, first):
    with tab(server, hello=False) as ws:
        ws.send(first)
        assert closing_code(ws) == 4401
    assert server.inbox.take() == (False, False, []) and server.inbox.take_keys() is None


def test_whoever_says_nothing_is_closed(server, monkeypatch):
    monkeypatch.setattr(server_module, "SECONDS_TO_HELLO", 0.2)
    with tab(server, hello=False) as ws:
        assert closing_code(ws) == 4408


def test_a_handshake_that_never_ends_is_dropped(monkeypatch):
    monkeypatch.setattr(server_module, "SECONDS_TO_HELLO", 0.3)
    server = Server(0, dict, TOKEN)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: 127")
            assert slow.recv(100)[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 400")
    finally:
        server.stop()


def test_an_oversized_or_binary_message_closes_the_connection(server):
    with tab(server) as ws:
        read(ws)
        ws.send("x" * 5000)
        assert closing_code(ws) == 1009
    with tab(server) as ws:
        read(ws)
        ws.send(b"\x00\x01")
        assert closing_code(ws) == 1003
    with tab(server) as ws:
        read(ws)
        with contextlib.suppress(ConnectionClosed):  # it may be closed before the second piece is sent
            ws.send(["x" * 3000, "x" * 3000])
        assert closing_code(ws) == 1009
    assert still_serves(server)


def test_a_malformed_message_gets_a_short_notice_and_the_session_goes_on(server):
    with tab(server) as ws:
        read(ws)
        for text in ("no JSON", "[" * 4000, '{"type": "keys", "held": [NaN]}', '{"type": "command", "name": "exec"}'):
            ws.send(text)
            answer = read(ws)
            assert (answer["type"], answer["level"]) == ("notice", "error") and len(answer["text"]) < 150
        send(ws, type="command", name="pause", value=True)
        assert wait_for(lambda: server.inbox.take()[2]) == [Command("pause", True)]


def wait_for(condition, seconds=5):
    """What the condition comes to, once it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
    raise AssertionError("it never came")


def test_a_flood_is_closed_and_fills_nothing(server):
    with tab(server) as ws:
        read(ws)
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(100_000):
                send(ws, type="command", name="undo", value=1)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1008
    wait_for(lambda: not server.watched)
    assert server.inbox.take()[2] == []  # what a tab that is gone asked for is not done
    assert still_serves(server)


def test_a_flood_that_asks_for_no_answer_is_closed_too(server):
    with tab(server) as ws:
        read(ws)
        with pytest.raises(ConnectionClosed) as closed:
            for _ in range(20_000):
                send(ws, type="ack", seq=1)
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1008


def test_too_many_connections_are_dropped_unread_and_room_is_made_again(server):
    held = []
    try:
        for _ in range(200):
            plain = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            plain.sendall(b"GET / HTTP/1.1\r\n")
            held.append(plain)
        wait_for(lambda: server._open <= MOST_CONNECTIONS)
        gone = 0
        for plain in held:
            plain.settimeout(0.01)
            try:
                gone += plain.recv(10) == b""
            except ConnectionResetError:
                gone += 1
            except TimeoutError:
                pass
        assert gone == 200 - MOST_CONNECTIONS
    finally:
        for plain in held:
            plain.close()
    wait_for(lambda: server._open == 0)
    assert still_serves(server)


# Two tabs --------------------------------------------------------------------------------------------------


def test_a_second_tab_is_told_and_can_take_over(server):
    with tab(server) as first, tab(server) as second:
        read(first)
        send(first, type="keys", held=["ArrowLeft"])
        wait_for(server.inbox.take_keys)
        assert read(second) == {"type": "taken"}
        send(second, type="hello", token=TOKEN, take_over=True)
        assert read(second)["type"] == "welcome"
        assert read(first) == {"type": "replaced"}
        assert closing_code(first) == 4409
        left, joined, _ = server.inbox.take()
        assert left and joined and server.inbox.take_keys() == Keys((), None)
        server.say({"type": "notice"})
        assert read(second) == {"type": "notice"}


def test_taking_over_needs_the_token_again(server):
    with tab(server) as first, tab(server) as second:
        read(first), read(second)
        send(second, type="hello", token="guess", take_over=True)
        assert closing_code(second) == 4401
        server.say({"type": "notice"})
        assert read(first) == {"type": "notice"}


def test_a_waiting_tab_cannot_act(server):
    with tab(server) as first, tab(server) as second:
        read(first), read(second)
        send(second, type="command", name="save")
        assert closing_code(second) == 4401
        assert server.inbox.take()[2] == []


def test_few_tabs_may_wait(server):
    with ExitStack() as stack:
        read(stack.enter_context(tab(server)))
        for _ in range(MOST_WAITING):
            assert read(stack.enter_context(tab(server))) == {"type": "taken"}
        assert closing_code(stack.enter_context(tab(server))) == 1008


def test_leaving_releases_the_keys_and_another_may_come(server):
    with tab(server) as ws:
        read(ws)
        send(ws, type="keys", held=["ArrowLeft"])
        assert wait_for(server.inbox.take_keys).held == ("ArrowLeft",)
    assert wait_for(lambda: server.inbox.take()[0])
    assert server.inbox.take_keys() == Keys((), None)
    assert still_serves(server)


# Frames ----------------------------------------------------------------------------------------------------


def test_two_frames_are_under_way_at_most_and_the_newest_follows(server):
    with tab(server) as ws:
        read(ws)
        wait_for(lambda: server.watched)

        def frame():
            return read(ws)["n"], ws.recv(timeout=5)

        server.show({"n": 0}, b"jpeg0")
        assert frame() == (0, b"\0\0\0\x01jpeg0")
        server.show({"n": 1}, b"jpeg1")
        assert frame() == (1, b"\0\0\0\x02jpeg1")
        for n in range(2, 9):
            server.show({"n": n}, b"jpeg%d" % n)
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.1)
        send(ws, type="ack", seq=1)
        assert frame() == (8, b"\0\0\0\x03jpeg8")
        send(ws, type="ack", seq=3)
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.1)  # nothing new


def test_a_tab_that_reads_nothing_is_closed_and_little_is_kept_for_it(server):
    with tab(server, close_timeout=0.2) as ws:
        held = wait_for(lambda: server._tab)
        for _ in range(5000):
            server.say({"type": "notice", "text": "x" * 4000})
        wait_for(lambda: held.overflowed)
        assert len(held.texts) <= MOST_TEXTS
        assert ws
    wait_for(lambda: not server.watched)
    assert still_serves(server)


# The inbox -------------------------------------------------------------------------------------------------


def keys(*held):
    return Keys(held, None)


def test_the_newest_keys_are_taken_once():
    inbox = Inbox()
    inbox.put(keys("a"))
    inbox.put(keys("a", "b"))
    assert inbox.take_keys() == keys("a", "b")
    assert inbox.take_keys() is None


def test_a_key_that_was_only_tapped_is_held_for_one_step():
    inbox = Inbox()
    inbox.put(keys("a"))
    inbox.put(keys())
    assert [inbox.take_keys() for _ in range(3)] == [keys("a"), keys(), None]
    inbox.put(keys("a"))
    assert inbox.take_keys() == keys("a")
    inbox.put(keys())  # held for long: it is up at once
    assert [inbox.take_keys() for _ in range(2)] == [keys(), None]


def test_who_leaves_takes_a_tap_along():
    inbox = Inbox()
    inbox.put(keys("a"))
    inbox.leave()
    assert [inbox.take_keys() for _ in range(2)] == [keys(), None]


def test_what_was_asked_for_last_is_not_done_when_nobody_is_there_any_more():
    inbox = Inbox()
    inbox.put(Command("pause", False))
    inbox.leave()
    assert inbox.take() == (True, False, [])


def test_no_more_commands_wait_than_there_is_room_for():
    inbox = Inbox()
    taken = [inbox.put(Command("undo", 1.0)) for _ in range(MOST_COMMANDS + 5)]
    assert taken == [True] * MOST_COMMANDS + [False] * 5
    assert len(inbox.take()[2]) == MOST_COMMANDS
