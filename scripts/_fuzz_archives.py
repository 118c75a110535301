"""Mutations of zips and of the arrays in them: checksums are right, so that what is changed is read."""

from __future__ import annotations

import ast
import functools
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

from _fuzz_text import NUMBERS, Rng, mutate_bytes, mutate_json

LOCAL, CENTRAL, END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")


@functools.lru_cache(maxsize=64)
def read_zip(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Names and contents of a good zip's members."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return tuple((name, file.read(name)) for name in file.namelist())


def write_zip(
    members: list[tuple[str, bytes]], method: int = 0, lies: dict[int, dict[str, int]] | None = None
) -> bytes:
    """A zip with correct checksums, except for the fields that `lies` names for a member."""
    body, directory = bytearray(), bytearray()
    for i, (name, content) in enumerate(members):
        lie = (lies or {}).get(i, {})
        packed = zlib.compress(content, 1)[2:-4] if method == 8 else content
        packed = BOMB if lie.get("bomb") else packed
        fields = {"flags": 0x800, "method": method, "crc": zlib.crc32(content), "packed": len(packed)}
        fields |= {"size": len(content), "offset": len(body)} | lie
        flags, kind, crc, small, size = (fields[key] for key in ("flags", "method", "crc", "packed", "size"))
        encoded = name.encode("utf-8", "surrogateescape")[:60000]
        head = LOCAL.pack(b"PK\3\4", 20, flags, kind, 0, 0x21, crc, small, size, len(encoded), 0)
        directory += CENTRAL.pack(
            b"PK\1\2", 20, 20, flags, kind, 0, 0x21, crc, small, size, len(encoded), 0, 0, 0, 0, 0, fields["offset"]
        )
        body += head + encoded + packed
        directory += encoded
    n = len(members)
    return bytes(body + directory + END.pack(b"PK\5\6", 0, 0, n, n, len(directory), len(body), 0))


def packed_zeros(n_bytes: int) -> bytes:
    """So many zeros, deflated: a block of 64 KiB that repeats without reference to what was before."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packer.compress(bytes(65536))
    packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(65536)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (n_bytes // 65536) + b"\3\0"


BOMB = packed_zeros(3_000_000_000)
Member = Callable[[Rng, str, bytes, bytes], bytes]


def mutate_zip(rng: Rng, data: bytes, other: bytes, mutate_member: Member) -> bytes:
    """Mostly one member changed by what it is; sometimes the archive around it."""
    if rng.random() < 0.1 or data[:2] != b"PK":
        return mutate_bytes(rng, data, other)
    members, others = list(read_zip(data)), read_zip(other) if other[:2] == b"PK" else (("x", b""),)
    i, j = rng.randrange(len(members)), rng.randrange(len(others))
    name, content = members[i]
    step, lies = rng.random(), {}
    if step < 0.7:
        same = next((value for key, value in others if key == name), others[j][1])
        members[i] = (name, mutate_member(rng, name, content, same))
    elif step < 0.75:
        del members[i]
    elif step < 0.8:
        members.insert(rng.randrange(len(members) + 1), others[j])
    elif step < 0.83:
        members[i] = (
            rng.choice((members[-1][0], "../../x.npy", "", "x" * 60000, "\udcff\n", name.upper(), "/x")),
            content,
        )
    elif step < 0.85:
        members[i] = (name, others[j][1])
    elif step < 0.852:
        lies = {i: {"bomb": 1, "method": 8, "size": rng.choice((250_000_000, 3_000_000_000, 2**32 - 1, 2**32 - 1))}}
    elif step < 0.87:
        members += [(f"{k}", b"") for k in range(500)]
    else:
        field = rng.choice(("flags", "method", "crc", "packed", "size", "offset"))
        lies = {i: {field: rng.choice((0, 1, 8, 12, 14, 93, 99, len(content), rng.choice(NUMBERS) % 2**32))}}
        if field in ("flags", "method"):
            lies[i][field] %= 65536
    return write_zip(members, rng.choice((0, 8)), lies)


# Arrays ----------------------------------------------------------------------------------------------------

DTYPES = "<f4 >f8 <f2 <f16 |b1 |u1 <i8 >i4 <u8 <c8 |O |V8 |V0 <U3 |S0 |S1000000000 <U500000000 <M8[s] f8,i4 x".split()


def write_npy(header: str, body: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    """An `.npy` of this header, however wrong it is."""
    size = 2 if version == (1, 0) else 4
    text = header.encode("latin1", "replace")[: 256**size - 80]
    text += b" " * (-(len(text) + 9 + size) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(size, "little") + text + body


def mutate_npy(rng: Rng, data: bytes, other: bytes) -> bytes:
    """A changed header (type, shape, order), changed numbers, or changed JSON in the array of it."""
    length = int.from_bytes(data[8:10], "little")
    header, body = data[10 : 10 + length].decode("latin1").strip(), data[10 + length :]
    fields = ast.literal_eval(header)
    if fields["descr"][1] == "U" and rng.random() < 0.8:
        text = mutate_json(rng, body.decode("utf-32-le").encode(), b"{}").decode(errors="replace")
        return write_npy(str(fields | {"descr": f"<U{len(text)}"}), text.encode("utf-32-le", "replace"))
    step, shape = rng.randrange(9), list(fields["shape"])
    if step == 0:
        fields["descr"] = rng.choice(DTYPES)
    elif step == 1 and shape:
        shape[rng.randrange(len(shape))] = rng.choice(NUMBERS)
    elif step == 2:
        shape.insert(rng.randrange(len(shape) + 1), rng.choice(NUMBERS))
    elif step == 3:
        shape = rng.choice(([], [0], [0, 10**9], [10**9, 0], [1] * 70, [-1], [-1, -1], shape[::-1], [2**63, 0]))
    elif step == 4:
        body = mutate_numbers(rng, body)
    elif step == 5:
        rows = max(1, len(body) // (4 * max(1, shape[0]))) * 4 if shape else 8
        body = body[: -min(rows, len(body))]
        shape = [shape[0] - 1, *shape[1:]] if shape else []
    elif step == 6:
        return mutate_bytes(rng, data, other)
    elif step == 7:
        text = str(fields | {"shape": tuple(shape)})
        return write_npy(
            rng.choice(("(" * 900, "-" * 900 + "1", "{}", text * 3, text[:-1], "[" * 9000, "'" + "x" * 30000)), body
        )
    else:
        fields[rng.choice(("fortran_order", "extra"))] = rng.choice((True, 1, None, "x"))
    version = rng.choice(((1, 0),) * 8 + ((2, 0), (3, 0), (0, 0)))
    return write_npy(str(fields | {"shape": tuple(shape)}), body, version)


def mutate_numbers(rng: Rng, body: bytes) -> bytes:
    """Some numbers become not-a-number, infinite, huge or others."""
    patterns = (
        b"\0\0\xc0\x7f",
        b"\0\0\x80\x7f",
        b"\xff\xff\x7f\x7f",
        b"\0\0\0\0\0\0\xf8\x7f",
        b"\xff" * 8,
        b"\0" * 8,
        b"\1",
    )
    body = bytearray(body)
    for _ in range(rng.choice((1, 3))):
        pattern = rng.choice(patterns)
        place = rng.randrange(len(body) // len(pattern) + 1) * len(pattern)
        body[place : place + len(pattern)] = pattern[: max(0, len(body) - place)]
    return bytes(body)
