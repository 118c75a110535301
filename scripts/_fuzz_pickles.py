"""Mutations of pickles, instruction by instruction, and pickles that attack."""

from __future__ import annotations

import functools
import os
import pickle
import pickletools
import struct

from _fuzz_text import Rng, mutate_bytes


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _hostile_steps() -> list[bytes]:
    """Instructions to put anywhere: every opcode with odd arguments, and small attacks."""
    names = [
        "os system",
        "builtins eval",
        "builtins getattr",
        "numpy ndarray",
        "numpy dtype",
        "numpy.core.multiarray scalar",
    ]
    names += [
        "numpy.core.multiarray _reconstruct",
        "numpy.core.numeric _frombuffer",
        "_codecs encode",
        "builtins bytes",
    ]
    names += ["collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage", "torch LongStorage"]
    steps = [f"c{module}\n{name}\n".encode() for module, name in map(str.split, names)]
    steps += [f"({'S'}'x'\ni{module}\n{name}\n".encode() for module, name in map(str.split, names[:5])]
    steps += [
        _text("os") + _text("system") + b"\x93",
        _text("touch ran") + b"\x85R",
        b"\x82\x01",
        b"\x83\1\0",
        b"\x84\1\0\0\0",
    ]
    simple = b"()]}.012NRboldtusaeQ\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98"
    steps += [bytes([opcode]) for opcode in simple] * 2
    steps += [b"h" + bytes([k]) for k in range(12)] + [b"q" + bytes([k]) for k in range(12)]
    steps += [b"K" + bytes([k]) for k in (0, 1, 2, 3, 8, 17, 255)]
    steps += [
        b"r\xff\xff\xff\xff",
        b"r\0\0\0\x10",
        b"j\xff\xff\xff\xff",
        b"p99999999999\n",
        b"g0\n",
        b"p-1\n",
        b"Px\n",
    ]
    steps += [
        b"I10000000000000\n",
        b"I" + b"9" * 5000 + b"\n",
        b"L" + b"9" * 5000 + b"L\n",
        b"F1e999\n",
        b"Fnan\n",
        b"I01\n",
    ]
    steps += [b"\x8b" + struct.pack("<i", size) for size in (-1, 2**31 - 1)] + [
        b"\x8a\xff",
        b"\x8b\0\x10\0\0" + b"\x7f" * 4096,
    ]
    steps += [
        op + struct.pack("<Q", size)
        for op in (b"\x8e", b"\x8d", b"\x96", b"\x95")
        for size in (0, 4, 10**9, 2**40, 2**63)
    ]
    steps += [op + struct.pack("<I", size) for op in (b"B", b"X", b"T") for size in (0, 2**31 - 1, 2**32 - 1)]
    steps += [b"J" + struct.pack("<i", number) for number in (-1, 10**6, 10**9, 2**31 - 1, -(2**31))]
    steps += [b"\x8a\x09" + struct.pack("<q", number) + b"\0" for number in (-1, 10**12, 2**62, 2**63 - 1)]
    steps += [
        b"N" + b"\x85" * 5000,
        b"]" * 3000,
        b"(" * 3000,
        b"N" + b"2\x86" * 60,
        b"]" + b"2\x86" * 60,
        b"N" + b"2\x86" * 60 + b"}2N",
    ]
    steps += [
        _text(text)
        for text in ("f8", "O8", "f4,O", "x" * 100000, "__setstate__", "rot13", "latin1", "\n", "U9999999")
    ]
    return steps


STEPS = _hostile_steps()


@functools.lru_cache(maxsize=64)
def opcodes(data: bytes) -> tuple[bytes, ...]:
    """The pickle's instructions, each with its argument; without frames, which only tell lengths."""
    places = [(place, opcode.name) for opcode, _, place in pickletools.genops(data)]
    ends = [place for place, _ in places[1:]] + [len(data)]
    return tuple(data[place:end] for (place, name), end in zip(places, ends, strict=True) if name != "FRAME")


def mutate_pickle(rng: Rng, data: bytes, other: bytes) -> bytes:
    """Instructions taken out, doubled, exchanged, put in, or given another argument."""
    if rng.random() < 0.1:
        return mutate_bytes(rng, data, other)
    steps, others = list(opcodes(data)), opcodes(other)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not steps:
            break
        i, step = rng.randrange(len(steps)), rng.randrange(8)
        if step == 0:
            del steps[i]
        elif step == 1:
            steps.insert(i, steps[i])
        elif step == 2:
            j = rng.randrange(len(steps))
            steps[i], steps[j] = steps[j], steps[i]
        elif step == 3:
            steps.insert(i, rng.choice(STEPS))
        elif step == 4:
            steps[i] = rng.choice(STEPS)
        elif step == 5:
            j = rng.randrange(len(others))
            steps[i : i + rng.randrange(5)] = others[j : j + rng.randrange(20)]
        elif step == 6 and len(steps[i]) > 1:
            steps[i] = steps[i][:1] + mutate_bytes(rng, steps[i][1:])
        else:
            steps[i] = rng.choice(steps)
    return b"".join(steps)


class Touches:
    """Runs a command in whoever unpickles it."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def attack(protocol: int) -> bytes:
    """A pickle that runs a command."""
    return pickle.dumps({"observation": Touches()}, protocol)
