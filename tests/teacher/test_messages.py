"""The messages that the page may send, and the inbox."""

import json

import pytest

from rl_il.errors import InputError
from rl_il.teacher.messages import MAX_COMMANDS, Ack, Command, Hello, Inbox, Keys, parse


@pytest.mark.parametrize(
    "message, expected",
    [
        ({"type": "hello", "token": "t", "take_over": True}, Hello("t", True)),
        ({"type": "hello", "token": "t"}, Hello("t", False)),
        ({"type": "keys", "held": ["ArrowLeft"], "stamp": 1.5}, Keys(("ArrowLeft",), 1.5)),
        ({"type": "keys", "held": []}, Keys((), None)),
        ({"type": "ack", "seq": 0}, Ack(0)),
        ({"type": "command", "name": "pause", "value": True}, Command("pause", True)),
        ({"type": "command", "name": "undo", "value": 5}, Command("undo", 5)),
        ({"type": "command", "name": "save"}, Command("save", None)),
        ({"type": "command", "name": "mode", "value": "watch", "more": 1}, Command("mode", "watch")),
    ],
)
def test_a_message_is_read(message, expected):
    assert parse(json.dumps(message)) == expected


WRONG = [
    b'{"type": "keys", "held": []}',
    '{"type": "hello"',
    "[" * 4096,  # deeper than the parser goes
    "[]",
    '{"type": "hello", "token": 1}',
    '{"type": "hello", "token": "t", "take_over": 1}',
    '{"type": "keys", "held": "ArrowLeft"}',
    '{"type": "keys", "held": [1]}',
    '{"type": "keys", "held": [], "stamp": NaN}',
    '{"type": "keys", "held": [], "stamp": 1e999}',
    '{"type": "keys", "held": [], "stamp": true}',
    json.dumps({"type": "keys", "held": ["ArrowLeft"] * 33}),
    json.dumps({"type": "keys", "held": ["A" * 33]}),
    *('{"type": "ack", "seq": -1}', '{"type": "ack", "seq": true}', '{"type": "ack", "seq": 4294967296}'),
    '{"type": "command", "name": "leave"}',
    '{"type": "command", "name": "pause", "value": 1}',
    '{"type": "command", "name": "undo", "value": "5"}',
    '{"type": "command", "name": "save", "value": "/etc/passwd"}',
    '{"type": "command", "name": "mode", "value": "' + "x" * 33 + '"}',
]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_other_messages_are_refused_and_not_quoted(text):
    with pytest.raises(InputError) as error:
        parse(text)
    assert len(str(error.value)) < 120
    assert "\n" not in str(error.value) and "passwd" not in str(error.value)


def keys(*held):
    return Keys(held, None)


@pytest.mark.parametrize(
    "put, taken",
    [
        ([keys("a"), keys("a", "b")], [keys("a", "b"), None]),  # the newest one, once
        ([keys("a"), keys()], [keys("a"), keys(), None]),  # a key that was only tapped is held for one step
        ([keys("a"), keys(), keys()], [keys("a"), keys(), None]),
        ([keys("a"), keys(), keys("b")], [keys("b"), None]),
        ([keys("a"), "step", keys()], [keys(), None]),  # it was held longer: the release counts at once
        ([keys("a"), "leave"], [keys(), None]),
    ],
)
def test_which_keys_the_next_steps_hold(put, taken):
    inbox = Inbox()
    for each in put:
        inbox.take_keys() if each == "step" else inbox.leave() if each == "leave" else inbox.put(each)
    assert [inbox.take_keys() for _ in taken] == taken


def test_commands_wait_in_order_up_to_a_limit():
    inbox = Inbox()
    taken = [inbox.put(Command("undo", float(i))) for i in range(MAX_COMMANDS + 5)]
    assert taken == [True] * MAX_COMMANDS + [False] * 5
    assert inbox.changed.is_set()
    assert inbox.take() == [Command("undo", float(i)) for i in range(MAX_COMMANDS)]
    assert not inbox.changed.is_set() and inbox.take() == []
    inbox.put(Command("pause", False))
    inbox.leave()
    assert inbox.take() == [Command("leave")]  # the waiting commands are dropped
