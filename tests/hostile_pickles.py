"""Pickles that try to run code, in every way that the format allows, and malformed pickles."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
from course_files import RunsCode


def text(value: str) -> bytes:
    """Return the opcodes that push a string."""
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def name(dotted: str) -> bytes:
    """Return the opcode that pushes a function or class of a module."""
    module, _, attribute = dotted.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def stack_name(dotted: str) -> bytes:
    """Return the opcodes that push it by its names on the stack."""
    module, _, attribute = dotted.rpartition(".")
    return text(module) + text(attribute) + b"\x93"


FORBIDDEN = """os.system posix.system subprocess.Popen builtins.eval __builtin__.eval __builtin__.apply builtins.exec
    builtins.open builtins.getattr builtins.bytearray builtins.bytes.fromhex operator.attrgetter
    importlib.import_module functools.partial functools.reduce copyreg.__newobj__ copy_reg._reconstructor
    copyreg.add_extension numpy.load numpy.fromfile numpy.testing._private.utils.runstring numpy.ndarray.tofile
    numpy.core.multiarray.fromfile numpy.matrix numpy.recarray numpy.os.system pickle.loads
    rl_il.datasets.pickles.load_pickle __main__.Thing torch.load torch._utils._rebuild_tensor""".split()
ALLOWED_NAMES = """numpy.ndarray numpy.dtype numpy.core.multiarray._reconstruct numpy.core.multiarray.scalar
    numpy.core.numeric._frombuffer _codecs.encode builtins.bytes builtins.list collections.deque
    collections.defaultdict collections.OrderedDict torch._utils._rebuild_tensor_v2
    torch.storage._load_from_bytes""".split()
WAYS = {  # to call a function with one argument
    "REDUCE": lambda dotted, argument: name(dotted) + argument + b"\x85R.",
    "REDUCE by STACK_GLOBAL": lambda dotted, argument: b"\x80\x04" + stack_name(dotted) + argument + b"\x85R.",
    "NEWOBJ": lambda dotted, argument: b"\x80\x02" + name(dotted) + argument + b"\x85\x81.",
    "NEWOBJ_EX": lambda dotted, argument: b"\x80\x04" + name(dotted) + argument + b"\x85}\x92.",
    "OBJ": lambda dotted, argument: b"(" + name(dotted) + argument + b"o.",
    "INST": lambda dotted, argument: b"(" + argument + name(dotted).replace(b"c", b"i", 1) + b".",
}
EXTENSION = 240  # the test registers os.system under this number

ARRAY, DTYPE = name("numpy.ndarray"), name("numpy.dtype")
RECONSTRUCT, SCALAR = name("numpy.core.multiarray._reconstruct"), name("numpy.core.multiarray.scalar")
FROM_BUFFER, ENCODE = name("numpy.core.numeric._frombuffer"), name("_codecs.encode")
DOUBLE = DTYPE + b"(" + text("f8") + b"I00\nI01\ntR"
OBJECT = DTYPE + b"(" + text("O8") + b"tR"
EMPTY_ARRAY = RECONSTRUCT + b"(" + ARRAY + b"(I0\ntC\x01btR"
EIGHT_BYTES = b"C\x08" + b"\0" * 8
REAL_ARRAY = FROM_BUFFER + b"(" + EIGHT_BYTES + DOUBLE + b"(I1\nt" + text("C") + b"tR"


def filled(shape: bytes, dtype: bytes = DOUBLE, raw: bytes = EIGHT_BYTES) -> bytes:
    """Return the pickle of an array with this state."""
    return EMPTY_ARRAY + b"(I1\n" + shape + dtype + b"I00\n" + raw + b"tb."


def attacks(sentinel: Path) -> dict[str, bytes]:
    """Return pickles that would create the file `sentinel`, or get the means to do so."""
    touch = text(f"touch {sentinel}")
    tables = {f"{way} of {dotted}": call(dotted, touch) for way, call in WAYS.items() for dotted in FORBIDDEN}
    tables |= {f"a class's own, protocol {p}": pickle.dumps(RunsCode(sentinel), p) for p in range(6)}
    return tables | {
        "a name from the memo": b"\x80\x04"
        + text("system")
        + b"\x940"
        + text("os")
        + b"\x940h\x01h\x00\x93"
        + touch
        + b"\x85R.",
        "a name under a mark": b"\x80\x04(" + stack_name("os.system") + touch + b"\x85R1.",
        "a name after a line break": b"\x80\x04" + stack_name("numpy\nos.system") + touch + b"\x85R.",
        "a name in full-width letters": b"\x80\x04\x8c\x06\xef\xbd\x8f\xef\xbd\x93\x8c\x06system\x93"
        + touch
        + b"\x85R.",
        "an extension": b"\x80\x02\x82" + bytes([EXTENSION]) + touch + b"\x85R.",
        "an extension by two bytes": b"\x80\x02\x83" + bytes([EXTENSION, 0]) + touch + b"\x85R.",
        "an argument that attacks": ENCODE + name("os.system") + touch + b"\x85R\x85R.",
        "an array of a subclass": RECONSTRUCT + b"(" + name("numpy.matrix") + b"(I0\ntC\x01btR.",
        "a masked array": pickle.dumps(np.ma.masked_array([1.0], [True])),
    }


MALFORMED = {
    "an array of attacks": pickle.dumps(np.array([RunsCode(Path("ran"))], dtype=object)),
    "an object array from a buffer": FROM_BUFFER + b"(" + EIGHT_BYTES + OBJECT + b"(I1\nt" + text("C") + b"tR.",
    "an object scalar": SCALAR + b"(" + OBJECT + EIGHT_BYTES + b"tR.",
    "a dtype of a structure": pickle.dumps(np.zeros(2, "f8,i4"), 2),
    "a dtype of a class": DTYPE + b"(" + ARRAY + b"tR.",
    "a dtype of a list": DTYPE + b"(((" + text("a") + text("O") + b"tltR.",
    "a dtype of another byte order": DOUBLE + b"(I3\n" + text("x") + b"NNNI-1\nI-1\nI0\ntb.",
    "an array that is never filled": EMPTY_ARRAY + b".",
    "an array larger than its bytes": filled(b"(L1000000000000L\nt"),
    "an array of a list": filled(b"(I1\nt", raw=b"](Ne"),
    "an array without a dtype": filled(b"(I1\nt", dtype=b"N"),
    "BUILD on ndarray": ARRAY + b"}" + text("__setstate__") + text("x") + b"sb.",
    "BUILD on dtype": DTYPE + b"}" + text("value") + text("x") + b"sb.",
    "BUILD on a function": ENCODE + b"(N}" + text("__init__") + ARRAY + b"stb.",
    "BUILD on bytes": name("builtins.bytes") + b")R}" + text("value") + text("x") + b"sb.",
    "SETITEM on a name": ARRAY + text("x") + text("y") + b"s.",
    "an allowed name in a list": b"(" + ENCODE + b"l.",
    "a call of an array": REAL_ARRAY + b")R.",
    "NEWOBJ of an allowed name": b"\x80\x02" + DTYPE + b")\x81.",
    "another codec": ENCODE + text("x") + text("rot13") + b"\x86R.",
    "a memo index of 34 gigabytes": b"Nr\xff\xff\xff\xffR.",
    "a missing memo entry": b"h\x07.",
    "a list that holds itself": b"]q\x00h\x00a.",
    "lists in lists": b"(" * 100_000 + b"l" * 100_000 + b".",
    "a set": b"\x80\x04\x8f(" + text("x") + b"\x90.",
    "a persistent id": b"Pos.system\n.",
    "a buffer outside the file": b"\x80\x05\x97.",
    "an extension that is not registered": b"\x80\x02\x82\x07.",
    "protocol 9": b"\x80\x09N.",
    "an empty stack": b"R.",
    "an empty file": b"",
}
