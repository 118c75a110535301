import json

import pytest

from rl_il.errors import InputError
from rl_il.teacher.messages import Ack, Command, Hello, Keys, parse


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
    *("", "x", "null", "[]", "17", '"hello"', "{}", '{"type": 1}', '{"type": ["hello"]}', '{"type": "nothing"}'),
    *('{"type": "hello"', "\ud800", '{"type": "hello", "token": 1}', '{"type": "hello", "token": null}'),
    '{"type": "hello", "token": "t", "take_over": 1}',
    '{"type": "keys"}',
    '{"type": "keys", "held": "ArrowLeft"}',
    '{"type": "keys", "held": [1]}',
    '{"type": "keys", "held": [["ArrowLeft"]]}',
    '{"type": "keys", "held": [], "stamp": NaN}',
    '{"type": "keys", "held": [], "more": NaN}',
    '{"type": "keys", "held": [], "stamp": Infinity}',
    '{"type": "keys", "held": [], "stamp": 1e999}',
    '{"type": "keys", "held": [], "stamp": true}',
    '{"type": "keys", "held": [], "stamp": "now"}',
    json.dumps({"type": "keys", "held": ["ArrowLeft"] * 33}),
    json.dumps({"type": "keys", "held": ["A" * 33]}),
    '{"type": "ack"}',
    '{"type": "ack", "seq": -1}',
    '{"type": "ack", "seq": 1.5}',
    '{"type": "ack", "seq": true}',
    '{"type": "ack", "seq": 4294967296}',
    '{"type": "ack", "seq": ' + "9" * 4000 + "}",
    '{"type": "command"}',
    '{"type": "command", "name": "shell", "value": "ls"}',
    '{"type": "command", "name": "__class__"}',
    '{"type": "command", "name": ["mode"]}',
    '{"type": "command", "name": "pause", "value": 1}',
    '{"type": "command", "name": "undo", "value": NaN}',
    '{"type": "command", "name": "undo", "value": -Infinity}',
    '{"type": "command", "name": "undo", "value": 1e400}',
    '{"type": "command", "name": "undo", "value": 1' + "0" * 400 + "}",
    '{"type": "command", "name": "undo", "value": "5"}',
    '{"type": "command", "name": "speed", "value": true}',
    '{"type": "command", "name": "save", "value": "/etc/passwd"}',
    '{"type": "command", "name": "mode", "value": "' + "x" * 33 + '"}',
    "[" * 2000 + "]" * 2000,
    "[" * 4096,
    '{"type": "keys", "held": [], "x": ' + "[" * 100 + "]" * 100 + "}",
    '{"type": "hello", "token": "' + "x" * 4096 + '"}',
]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_anything_else_is_refused_with_a_short_sentence_that_quotes_nothing(text):
    with pytest.raises(InputError) as error:
        parse(text)
    assert len(str(error.value)) < 120
    assert "\n" not in str(error.value) and "passwd" not in str(error.value)
