"""The page's socket: who may open it, which messages it takes, and which tab controls the session."""

import json
import socket
import time
from contextlib import suppress

import pytest
from talking import TOKEN, closing_code, read, send, still_serves, tab, wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from rl_il.teacher import server as server_module
from rl_il.teacher.messages import MAX_COMMANDS, MAX_TEXTS, Command, Keys
from rl_il.teacher.server import MAX_CONNECTIONS

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


def test_too_many_connections_are_dropped_unread(server):
    address = ("127.0.0.1", server.port)
    held = [socket.create_connection(address, timeout=5) for _ in range(MAX_CONNECTIONS + 3)]
    assert [plain.recv(10) for plain in held[MAX_CONNECTIONS:]] == [b""] * 3

    def has_room():
        with suppress(OSError, EOFError, WebSocketException):
            return still_serves(server)

    assert not has_room()
    for plain in held:
        plain.close()
    wait_for(has_room)


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
