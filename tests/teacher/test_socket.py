"""The page's socket: who may open it, which messages it takes, and which tab controls the session."""

import json
import socket
import time
from contextlib import ExitStack, suppress

import pytest
from talking import GET, TOKEN, ask, closing_code, flood, read, send, still_serves, tab, wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from rl_il.teacher import server as server_module
from rl_il.teacher.connections import MAX_CONNECTIONS
from rl_il.teacher.messages import MAX_COMMANDS, MAX_TEXTS, Command, Keys

ORIGINS = ["null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1", "http://127.0.0.1:{port}.x"]


@pytest.mark.parametrize("origin", [None, *ORIGINS])
def test_another_origin_is_forbidden(server, origin):
    origin = origin and origin.replace("{port}", str(server.port))
    with pytest.raises(InvalidStatus) as refused, tab(server, origin=origin):
        pass
    assert refused.value.response.status_code == 403


WRONG_TOKENS = ["", "wrong", TOKEN + "x", TOKEN[:-1], "\ud800"]
NO_HELLOS = [b"binary", '{"type": "hello"}', '{"type": "command", "name": "save"}']
NO_HELLOS += [json.dumps({"type": "hello", "token": token}) for token in WRONG_TOKENS]


@pytest.mark.parametrize("first", NO_HELLOS, ids=range(len(NO_HELLOS)))
def test_without_the_token_the_socket_is_closed_and_has_no_effect(server, first):
    with tab(server, hello=False) as ws:
        ws.send(first)
        assert closing_code(ws) == 4401
    assert not server.watched and server.inbox.take() == [] and server.inbox.take_keys() is None


def test_a_tab_that_says_nothing_is_closed(server, monkeypatch):
    monkeypatch.setattr(server_module, "SECONDS_TO_HELLO", 0.2)
    with tab(server, hello=False) as ws:
        assert closing_code(ws) == 4408


@pytest.mark.parametrize("message", ["x" * 5000, ["x" * 3000, "x" * 3000]], ids=["whole", "in parts"])
def test_an_oversized_message_closes_the_connection(server, message):
    with tab(server) as ws:
        read(ws)
        with suppress(ConnectionClosed):  # it may be closed before the second part is sent
            ws.send(message)
        assert closing_code(ws) == 1009
    assert still_serves(server)


def test_a_malformed_message_only_gets_a_notice(server):
    with tab(server) as ws:
        read(ws)
        for text in (b"\x00\xff", "no JSON", "[" * 4000, '{"type": "command", "name": "exec"}'):
            ws.send(text)
            answer = read(ws)
            assert (answer["type"], answer["level"]) == ("notice", "error") and len(answer["text"]) < 150
        assert server.inbox.take() == [Command("join")]
        send(ws, type="command", name="pause", value=True)
        assert wait_for(server.inbox.take) == [Command("pause", True)]


def test_a_flood_of_commands_is_refused(server):
    with tab(server) as ws:
        read(ws)
        for _ in range(MAX_COMMANDS + 5):
            send(ws, type="command", name="undo", value=1)
        assert [read(ws)["level"] for _ in range(5)] == ["error"] * 5
        assert len(server.inbox.take()) == MAX_COMMANDS


def test_messages_are_read_at_a_limited_rate(server, monkeypatch):
    monkeypatch.setattr(server_module, "SECONDS_PER_MESSAGE", 0.05)
    with tab(server) as ws:
        read(ws)
        start = time.monotonic()
        for seq in range(8):
            send(ws, type="ack", seq=seq)
        send(ws, type="nothing")
        assert read(ws)["level"] == "error"
        assert time.monotonic() - start >= 8 * 0.05


def test_the_page_loads_and_opens_its_socket_while_others_send_nothing(server):
    address = ("127.0.0.1", server.port)
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(60)]
        for plain in held:
            with suppress(OSError):  # the oldest are dropped for the newer ones
                plain.sendall(b"GET / HT")
        assert " 200 " in ask(server, f"{GET}Host: {{host}}\r\n\r\n")
        assert still_serves(server)
        assert is_dropped(held[0])


def is_dropped(plain):
    try:
        return plain.recv(10) == b""
    except ConnectionResetError:
        return True


def test_a_request_that_is_not_complete_in_time_is_dropped(server, monkeypatch):
    monkeypatch.setattr(server_module, "SECONDS_TO_HELLO", 0.2)
    other = server_module.Server(0, dict, TOKEN)
    other.start()
    with socket.create_connection(("127.0.0.1", other.port), timeout=5) as plain:
        plain.sendall(b"GET / HT")
        assert is_dropped(plain)
    other.stop()


def test_tabs_with_the_token_are_never_dropped_for_new_connections(server):
    def has_room():
        with suppress(OSError, EOFError, WebSocketException), tab(server) as ws:
            return read(ws)["type"] in ("welcome", "taken")

    with ExitStack() as stack:
        tabs = [stack.enter_context(tab(server)) for _ in range(MAX_CONNECTIONS)]
        assert [read(ws)["type"] for ws in tabs] == ["welcome"] + ["taken"] * (MAX_CONNECTIONS - 1)
        assert not has_room()
        server.say({"type": "notice"})
        assert read(tabs[0]) == {"type": "notice"}
    wait_for(has_room)


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("origin", ["http://evil.example", "http://{host}"], ids=["forged", "no hello"])
def test_a_flood_of_pings_without_the_token_is_dropped_and_prints_nothing(server, origin, reads, caplog, capfd):
    with tab(server) as ws:
        read(ws)
        for _ in range(10):
            assert flood(server, origin, 5000, reads) < 100
        server.say({"type": "notice"})
        assert read(ws) == {"type": "notice"}
    assert still_serves(server)
    assert caplog.records == [] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["ping", "pong"])
def test_a_flood_after_the_hello_drops_the_tab(server, kind):
    with tab(server) as ws:
        read(ws)
        with pytest.raises(ConnectionClosed):
            for n in range(100_000):
                getattr(ws, kind)(b"%d" % n)
    assert still_serves(server)


def test_an_error_in_the_server_is_one_line(server, caplog, capfd):
    def fails():
        raise ValueError("for the test")

    for _ in range(3):
        server._loop.call_soon_threadsafe(fails)
    assert still_serves(server)
    printed = capfd.readouterr().err
    assert caplog.records == [] and printed.count("\n") == 1 and "ValueError: for the test" in printed


def test_a_second_tab_can_take_over(server):
    with tab(server) as first, tab(server) as second:
        read(first)
        send(first, type="keys", held=["ArrowLeft"])
        wait_for(server.inbox.take_keys)
        assert read(second) == {"type": "taken"}
        send(second, type="hello", token=TOKEN, take_over=True)
        assert read(second)["type"] == "welcome"
        assert closing_code(first) == 4409
        assert server.inbox.take() == [Command("leave"), Command("join")]
        assert server.inbox.take_keys() == Keys((), None)
        server.say({"type": "notice"})
        assert read(second) == {"type": "notice"}


def test_a_waiting_tab_cannot_act_and_needs_the_token_again(server):
    with tab(server) as first:
        read(first)
        for message in ({"type": "command", "name": "save"}, {"type": "hello", "token": "no", "take_over": True}):
            with tab(server) as second:
                assert read(second) == {"type": "taken"}
                send(second, **message)
                assert closing_code(second) == 4401
        assert server.inbox.take() == [Command("join")]
        server.say({"type": "notice"})
        assert read(first) == {"type": "notice"}


def test_leaving_releases_the_keys_and_another_tab_may_come(server):
    with tab(server) as ws:
        read(ws)
        send(ws, type="keys", held=["ArrowLeft"])
        assert wait_for(server.inbox.take_keys).held == ("ArrowLeft",)
    wait_for(lambda: Command("leave") in server.inbox.take())
    assert server.inbox.take_keys() == Keys((), None)
    assert still_serves(server)


def test_two_frames_are_in_flight_and_then_the_newest_is_sent(server):
    with tab(server) as ws:
        read(ws)

        def frame():
            return read(ws)["n"], ws.recv(timeout=5)

        for n in range(2):
            server.show({"n": n}, b"jpeg%d" % n)
            assert frame() == (n, b"\0\0\0%cjpeg%d" % (n + 1, n))
        for n in range(2, 9):
            server.show({"n": n}, b"jpeg%d" % n)
        for seq, newest in ((1, (8, b"\0\0\0\x03jpeg8")), (3, None)):
            with pytest.raises(TimeoutError):
                ws.recv(timeout=0.1)
            send(ws, type="ack", seq=seq)
            if newest:
                assert frame() == newest
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.1)  # nothing new


def test_a_tab_that_reads_nothing_is_dropped(server):
    with tab(server, close_timeout=0.2):
        held = wait_for(lambda: server._tab)
        for _ in range(5000):
            server.say({"type": "notice", "text": "x" * 4000})
        wait_for(lambda: not server.watched)
        assert len(held._texts) <= MAX_TEXTS
    assert still_serves(server)
