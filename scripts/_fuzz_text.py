"""Mutations of bytes, of JSON and of CSV: what they change lies in a text that stays whole around it."""

from __future__ import annotations

import json
import random
from typing import Any

Rng = random.Random

NUMBERS = [0, 1, 2, -1, 7, 127, 128, 255, 256, 65535, 65536, 10**6, 10**9, 10**12]
NUMBERS += [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def mutate_bytes(rng: Rng, data: bytes, other: bytes = b"") -> bytes:
    """One to four changes at random places."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 32, 500))
        step = rng.randrange(7)
        if step == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif step == 1:
            data[place:place] = rng.randbytes(length)
        elif step == 2:
            del data[place : place + length]
        elif step == 3:
            data[place : place + length] = b""[:0] if place == 0 else data[:length]
        elif step == 4:
            del data[place:]
        elif step == 5:
            start = rng.randrange(len(other) + 1)
            data[place : place + length] = other[start : start + length]
        else:
            size = rng.choice((1, 2, 4, 8))
            number = (rng.choice(NUMBERS) % 256**size).to_bytes(size, rng.choice(("little", "big")))
            data[place : place + size] = number
    return bytes(data)


VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**63,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    0.5,
    "",
    "x",
    "1",
    "\n\x00",
    "é" * 50,
]
VALUES += [
    [],
    {},
    [1],
    [None],
    [[1]],
    {"a": 1},
    [0, 10**30],
    "x" * 10000,
    "tanh",
    "argmax",
    "clip",
    [1.5, -2.0],
    [0, 2],
]


def mutate_json(rng: Rng, data: bytes, other: bytes) -> bytes:
    """A value somewhere in the tree replaced, taken out or doubled; or the text itself damaged."""
    step = rng.random()
    if step < 0.1:
        return mutate_bytes(rng, data, other)
    if step < 0.14:
        return rng.choice(
            (b"[" * 100000, b'{"a":' * 100000, b"9" * 100000, b"-" * 9, b"NaN", b"null", b"1e99999", b'"\\ud800"')
        )
    tree = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        found = list(places(tree))
        if not found:
            break
        owner, key = rng.choice(found)
        if rng.random() < 0.15:
            del owner[key]
        elif isinstance(owner, dict) and rng.random() < 0.05:
            owner[rng.choice((key + "x", "", "obs_slice", "action_scale", "action_low"))] = owner.pop(key)
        else:
            owner[key] = json.loads(json.dumps(rng.choice(VALUES)))
    text = json.dumps(tree)
    if rng.random() < 0.03:
        text = text.replace(
            rng.choice(("null", "1", "true")), rng.choice(("9" * 5000, "1e999", "[" * 2000 + "]" * 2000)), 1
        )
    return text.encode()


def places(tree: Any):
    """(container, key) of every value in the tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from places(value)


CELLS = [
    "",
    "x",
    "-1",
    "0",
    "1",
    "2",
    "1e5",
    "1e300",
    "1e999",
    "nan",
    "inf",
    "9" * 400,
    "9" * 5000,
    "0x1",
    "1_0",
    '"',
    '"a\nb"',
]
CELLS += [
    ",",
    "\0",
    "x" * 200000,
    "learner",
    "expert",
    "é",
    "-5",
    "1.5",
    "\n",
    "\r",
    "9007199254740993",
    "-inf",
    " 1 ",
]


def mutate_csv(rng: Rng, data: bytes, other: bytes) -> bytes:
    """Cells, rows and columns changed; or the text itself damaged."""
    if rng.random() < 0.15:
        return mutate_bytes(rng, data, other)
    rows = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.choice(rows) if rows else []
        step, j = rng.randrange(8), rng.randrange(max(len(row), 1))
        if step == 0 and row:
            del row[j]
        elif step == 1:
            row.insert(j, rng.choice(CELLS))
        elif step == 2 and rows:
            del rows[rng.randrange(len(rows))]
        elif step == 3 and rows:
            rows.insert(rng.randrange(len(rows)), list(rng.choice(rows)))
        elif row:
            row[j] = rng.choice(CELLS)
    return "\n".join(map(",".join, rows)).encode(errors="replace") + b"\n"
