"""Files damaged by Hypothesis: a good file is split into parts, and some of them are replaced, moved or left out.

A part depends on the format: an opcode of a pickle, a word of JSON or of an array's header, a cell of a table, a
member of a zip file, or a byte. The rest of the file stays correct, with its lengths and checksums, so that a reader
does not stop before the damage.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Sequence

from hostile_pickles import ALLOWED_NAMES, DOUBLE, EMPTY_ARRAY, FORBIDDEN, name, stack_name, text
from hypothesis import strategies as st


def spread(number: int) -> int:
    """Return a large number for a small one, since Hypothesis prefers small ones: a position anywhere in the file."""
    return number * 2654435761 % 2**32


OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
PICKLED = [name(dotted) for dotted in (*ALLOWED_NAMES, *FORBIDDEN)] + [stack_name("os.system"), text("touch ran")]
PICKLED += [DOUBLE, EMPTY_ARRAY, *b"h\x01 q\x01 K\x01 J\xff\xff\xff\xff I01\n L99999999999L\n Fnan\n".split(b" ")]
WORDS = rb"""null true false NaN Infinity 0 1 -1 0.5 1e5 1e300 1e999 9007199254740993 "" "x" "1" "tanh" "clip" [] {}
    [1] [0,2] [null] {"a":1} : , [ ] { } "\ud800" x learner expert nan -inf 2 1_0 <f4 '<f8' '>i4' '|O' '|V8' '<U3'
    '|b1' (2,) (-1,) (0,) (3,1) (10**9,) True""".split()
WORDS += [b"9" * 400, b"9" * 5000, b"[" * 3000, b"\0", b"\n", b'"\n"', "é".encode()]
TOKENS = st.one_of(st.sampled_from(OPCODES), st.sampled_from(PICKLED), st.sampled_from(WORDS), st.binary(max_size=8))
STEPS = st.tuples(
    st.sampled_from(["flip", "flip", "flip", "replace", "replace", "insert", "delete", "copy", "cut"]),
    st.integers(0, 2**20).map(spread),  # the position
    st.integers(0, 2**20).map(spread),  # the position that is copied from
    TOKENS,
)
EDITS = st.lists(STEPS, min_size=1, max_size=3)


def edit(parts: Sequence[bytes], steps: Sequence[tuple]) -> bytes:
    """Return the parts as one file, after each step has changed them."""
    parts = list(parts)
    for step, place, source, token in steps:
        i, j = place % (len(parts) + 1), source % (len(parts) + 1)
        if step == "flip" and i < len(parts):
            parts[i] = parts[i][:-1] + bytes([(parts[i] or b"\0")[-1] ^ 1 << source % 8])
        elif step == "replace":
            parts[i : i + 1] = [token]
        elif step == "insert":
            parts[i:i] = [token]
        elif step == "delete":
            del parts[i : i + 1 + source % 4]
        elif step == "copy":
            parts[i:i] = parts[j : j + 1 + place % 8]
        elif step == "cut":
            del parts[i:]
    return b"".join(parts)


def by_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def by_opcodes(data: bytes) -> list[bytes]:
    places = [place for _, _, place in pickletools.genops(data)]
    return [data[start:stop] for start, stop in zip(places, [*places[1:], len(data)], strict=True)]


def by_words(data: bytes) -> list[bytes]:
    """Return the words of JSON, of a table, or of an array's header."""
    return re.findall(rb'"[^"]*"|\'[^\']*\'|[\w.+-]+|\s+|.', data)


def damage_npy(data: bytes, steps: Sequence[tuple]) -> bytes:
    """Return an array with another header, whose length is correct, or with other bytes."""
    start = 10 + int.from_bytes(data[8:10], "little")
    if steps[0][1] % 2:
        return data[:start] + edit(by_bytes(data[start:]), steps)
    header = edit(by_words(data[10:start]), steps)[:60_000]
    return data[:8] + len(header).to_bytes(2, "little") + header + data[start:]


def damage_zip(data: bytes, steps: Sequence[tuple]) -> bytes:
    """Return a zip file with correct checksums, but with one member damaged, left out, or replaced by another."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    names = sorted(members)
    (step, place, source, _), *rest = steps
    chosen, other = names[place % len(names)], names[source % len(names)]
    if rest or step in ("flip", "replace", "insert"):
        members[chosen] = damage(chosen, members[chosen], rest or steps)
    elif step == "copy":
        members[chosen] = members[other]
    else:
        del members[chosen]
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as file:
        for member, content in members.items():
            file.writestr(member, content)
    return result.getvalue()


PARTS = {"pkl": by_opcodes, "json": by_words, "csv": by_words, "data": by_words}


def damage(file: str, data: bytes, steps: Sequence[tuple]) -> bytes:
    """Return the file damaged in the way that its suffix, or its whole name, asks for."""
    kind = file.rsplit("/", 1)[-1].rsplit(".", 1)[-1]
    if kind in ("npz", "zip", "pt", "pth"):
        return damage_zip(data, steps)
    return damage_npy(data, steps) if kind == "npy" else edit(PARTS.get(kind, by_bytes)(data), steps)


def damaged(file: str, seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy: one of the good files, damaged in its format's way or byte by byte."""
    seed = st.sampled_from(seeds)
    by_format = st.builds(lambda data, steps: damage(file, data, steps), seed, EDITS)
    return st.one_of(by_format, by_format, st.builds(lambda data, steps: edit(by_bytes(data), steps), seed, EDITS))
