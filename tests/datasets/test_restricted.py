"""Pickles that take time or memory rather than run code, and roundabout ways to ask for it."""

import copyreg
import os
import struct
import time
import tracemalloc

import numpy as np
import pytest
from test_safe_pickle import (
    ARRAY,
    DOUBLE,
    EIGHT_BYTES,
    EMPTY_ARRAY,
    ENCODE,
    FROM_BUFFER,
    SCALAR,
    name,
    stack_name,
    text,
)

from rl_il.datasets import load_trajectories
from rl_il.datasets.restricted import Constructor, DataUnpickler, finish
from rl_il.datasets.safe_pickle import load_pickle
from rl_il.errors import InputError
from rl_il.policies.experts import load_actor

SECONDS, MEGABYTES = 10, 300
DOUBLED = b"2\x86" * 60  # 60 times: what lies on the stack, and once more, as a pair
NONE_PAIRS = b"N" + DOUBLED
MEGABYTE = b"B" + struct.pack("<I", 1_000_000) + bytes(1_000_000)


def q8(opcode, size):
    return b"\x80\x05" + opcode + struct.pack("<Q", size)


def array(shape, raw=EIGHT_BYTES, dtype=DOUBLE):
    return EMPTY_ARRAY + b"(I1\n" + shape + dtype + b"I00\n" + raw + b"tb"


def long_number(n_bytes):
    return b"\x8b" + struct.pack("<i", n_bytes) + b"\x7f" * n_bytes


BOMBS = {
    "a tuple of tuples as a key": b"\x80\x02}" + NONE_PAIRS + b"Ns.",
    "a tuple of tuples among keys": b"\x80\x02}(" + NONE_PAIRS + b"Nu.",
    "a tuple of tuples in a dict by marks": b"\x80\x02(" + NONE_PAIRS + b"Nd.",
    "a tuple of tuples in a set": b"\x80\x04\x8f(" + NONE_PAIRS + b"\x90.",
    "a tuple of tuples in a frozenset": b"\x80\x04(" + NONE_PAIRS + b"\x91.",
    "a deep tuple as a key": b"\x80\x02}N" + b"\x85" * 200_000 + b"Ns.",
    "a deep tuple": b"\x80\x02N" + b"\x85" * 200_000 + b".",
    "deep lists": b"(" * 100_000 + b"l" * 100_000 + b".",
    "deep dicts": b"N" * 100_000 + b"}" + b"Na" * 3 + b".",
    "a million marks": b"(" * 200_000 + b".",
    "shared lists": b"\x80\x02]" + DOUBLED + b".",
    "shared lists as a byte order": b"\x80\x02" + DOUBLE + b"(I3\n" + NONE_PAIRS + b"NNNI-1\nI-1\nI0\ntb.",
    "shared lists as a codec": b"\x80\x02" + ENCODE + b"(" + text("x") + NONE_PAIRS + b"tR.",
    "shared lists as a shape": b"\x80\x02" + array(NONE_PAIRS) + b".",
    "shared lists as an order": b"\x80\x02"
    + FROM_BUFFER
    + b"("
    + EIGHT_BYTES
    + DOUBLE
    + b"I1\n\x85"
    + NONE_PAIRS
    + b"tR.",
    "a shape that multiplies a string": b"\x80\x02" + array(text("x" * 1000) + long_number(4) + b"\x86") + b".",
    "a shape that multiplies a list": b"\x80\x02" + array(b"]Na" + long_number(4) + b"\x86") + b".",
    "a shape of long numbers": b"\x80\x02"
    + array(b"(" + long_number(1_000_000) + b"q\x01" + b"h\x01" * 2000 + b"t")
    + b".",
    "a shape of many dimensions": b"\x80\x02" + array(b"(" + b"K\x01" * 100 + b"t") + b".",
    "a shape of nothing times everything": b"\x80\x02" + array(b"K\x00" + long_number(9) + b"\x86", b"C\x00") + b".",
    "a negative shape": array(b"(I-1\nt") + b".",
    "a shape of booleans": b"\x80\x02" + array(b"\x88\x85") + b".",
    "one megabyte in two thousand arrays": b"("
    + MEGABYTE
    + b"q\x01"
    + (FROM_BUFFER + b"(h\x01" + DOUBLE + b"(I125000\nt" + text("C") + b"tR") * 2000
    + b"l.",
    "one megabyte of text encoded two thousand times": b"("
    + text("x" * 1_000_000)
    + b"q\x01"
    + (ENCODE + b"(h\x01" + text("latin1") + b"tR") * 2000
    + b"l.",
    "a memo of four thousand million places": b"N" + b"r\xff\xff\xff\xff.",
    "a memo of a hundred million places": b"Nr\xff\xff\xff\x07.",
    "a memo by a name without end": b"Np" + b"9" * 1_000_000 + b"\n.",
    "bytes of two exabytes": q8(b"\x8e", 2**61) + b"x.",
    "bytes of more than there is": q8(b"\x8e", 2**64 - 1) + b"x.",
    "text of a terabyte": q8(b"\x8d", 2**40) + b"x.",
    "a bytearray of ten gigabytes": q8(b"\x96", 10**10) + b"x.",
    "a bytearray of two exabytes": q8(b"\x96", 2**61) + b"x.",
    "a frame of a terabyte": q8(b"\x95", 2**40) + b"N.",
    "a string of four gigabytes": b"T" + struct.pack("<I", 2**31 - 1) + b"x.",
    "a number of two gigabytes": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "a number of minus one bytes": b"\x8b" + struct.pack("<i", -1) + b"x.",
    "a decimal of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "a line without end": b"I" + b"1" * 1_000_000,
    "a dtype of a gigabyte": name("numpy", "dtype") + b"(" + text("V1000000000") + b"tR.",
    "a dtype of many fields": name("numpy", "dtype") + b"(" + text("f8," * 100_000) + b"tR.",
}
ROUNDABOUT = {
    "a name from the memo": b"\x80\x04"
    + text("system")
    + b"\x940"
    + text("os")
    + b"\x940h\x01h\x00\x93"
    + text("touch ran")
    + b"\x85R.",
    "a name after others were popped": b"\x80\x04"
    + text("numpy")
    + text("ndarray")
    + b"00"
    + stack_name("os", "system")
    + b".",
    "a name under a mark": b"\x80\x04(" + text("os") + text("system") + b"\x93" + text("touch ran") + b"\x85R1.",
    "a name with a line break": b"\x80\x04" + stack_name("numpy\nos", "system") + b".",
    "a name of bytes": b"\x80\x04C\x02osC\x06system\x93.",
    "a name of a subclass": b"\x80\x04" + stack_name("numpy", "ndarray\0") + b".",
    "a name in full-width letters": b"\x80\x04"
    + text("x")[:0]
    + b"\x8c\x06\xef\xbd\x8f\xef\xbd\x93\x8c\x06system\x93.",
    "a name as protocol 0 spells it": b"(S'touch ran'\np0\nios\nsystem\np1\n.",
    "a name of Python 2": name("__builtin__", "apply") + b"(" + name("os", "system") + b"(" + text("x") + b"ttR.",
    "EXT2": b"\x80\x02\x83\xf0\x00.",
    "EXT4": b"\x80\x02\x84\xf0\x00\x00\x00.",
    "EXT1 from the registry's cache": b"\x80\x02\x82\xf1" + text("touch ran") + b"\x85R.",
    "a persistent tuple": b"\x80\x02" + text("storage") + name("os", "system") + b"\x86Q.",
    "INST of an allowed name": b"(" + f"{'S'}'O8'\n".encode() + b"inumpy\ndtype\n.",
    "OBJ of a string": b"(" + text("x") + text("y") + b"o.",
    "NEWOBJ of a string": b"\x80\x02" + text("x") + b")\x81.",
    "NEWOBJ_EX of an allowed name": b"\x80\x04" + ARRAY + b")}" + text("shape") + b"K\x01s\x92.",
    "REDUCE of a number": b"K\x01)R.",
    "REDUCE of a list": b"])R.",
    "BUILD on a number": b"K\x01}b.",
    "BUILD on a list": b"]}" + text("append") + b"Nsb.",
    "BUILD on a dict": b"}}" + text("__class__") + b"Nsb.",
    "BUILD on a scalar": SCALAR + b"(" + DOUBLE + EIGHT_BYTES + b"tR}b.",
    "BUILD with __setstate__ in the state": EMPTY_ARRAY + b"}" + text("__setstate__") + ENCODE + b"sb.",
    "a numpy scalar that holds an object": SCALAR + b"(" + name("numpy", "dtype") + b"(" + text("O") + b"tRNtR.",
    "a numpy scalar that holds a list": SCALAR + b"(" + DOUBLE + b"]tR.",
    "a numpy scalar of another dtype's state": SCALAR + b"(" + EMPTY_ARRAY + EIGHT_BYTES + b"tR.",
    "a dtype that is an array": array(b"(I1\nt", dtype=EMPTY_ARRAY) + b".",
    "APPEND to a dict": b"}Na.",
    "APPENDS to a bytearray": q8(b"\x96", 1) + b"x(K\x01e.",
    "SETITEM on a list": b"]NNs.",
    "SETITEM on an array": array(b"(I1\nt") + b"I0\nNs.",
    "SETITEMS with a key too many": b"}(NNNu.",
    "DICT with a key too many": b"(NNNd.",
    "a key that is an array": b"}" + array(b"(I1\nt") + b"Ns.",
    "a key that is a name": b"}" + ARRAY + b"Ns.",
    "READONLY_BUFFER": q8(b"\x96", 1) + b"x\x98.",
    "a list of a name": b"(" + ENCODE + b"l.",
    "torch's own": name("torch._utils", "_rebuild_tensor_v2") + b")R.",
    "torch.load": name("torch", "load") + b"(" + text("x") + b"tR.",
}


@pytest.fixture
def cached_extension():
    """An extension that somebody in this process has already asked for: Python then hands it out unasked."""
    copyreg.add_extension("os", "system", 0xF1)
    copyreg._extension_cache[0xF1] = os.system
    yield
    copyreg.remove_extension("os", "system", 0xF1)


@pytest.mark.parametrize("attack", [*BOMBS, *ROUNDABOUT])
def test_an_attack_is_refused_at_once(attack, tmp_path, monkeypatch, shared_env, cached_extension):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "attack.pkl"
    path.write_bytes((BOMBS | ROUNDABOUT)[attack])
    tracemalloc.start()
    started = time.monotonic()
    try:
        for read in (load_trajectories, lambda path: load_actor(path, shared_env("MountainCarContinuous-v0"))):
            with pytest.raises(InputError) as error:
                read(path)
            message = str(error.value)
            assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 1500
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES * 1e6
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 2 * SECONDS
    assert [file.name for file in tmp_path.iterdir()] == ["attack.pkl"]


def test_there_are_many():
    assert len(BOMBS) + len(ROUNDABOUT) >= 60


def test_a_machine_without_names_has_none():
    with pytest.raises(InputError, match=r"asks for numpy\.ndarray"):
        DataUnpickler(ARRAY + b".").load()


def test_data_needs_no_name():
    assert DataUnpickler(b"\x80\x02}" + text("a") + b"](K\x01NG" + struct.pack(">d", 0.5) + b"es.").load() == {
        "a": [1, None, 0.5]
    }


@pytest.mark.parametrize("keep", [True, False])
def test_tuples_become_lists_unless_they_are_kept(keep):
    assert finish({"a": (1, (2,))}, 100, keep_tuples=keep) == {"a": (1, (2,)) if keep else [1, [2]]}


def test_an_array_in_a_tree_is_copied_into_this_machine_s_byte_order():
    big = np.arange(3, dtype=">f4")
    big.flags.writeable = False
    copy = finish([big], 100)[0]
    assert copy.dtype.isnative and copy.flags.writeable and copy.tolist() == [0, 1, 2]


def test_a_constructor_left_over_is_refused():
    with pytest.raises(InputError, match="holds a constructor"):
        finish([Constructor(len)], 100)


def test_course_files_of_one_shared_array_are_read(tmp_path):
    """Two names for one array are one array."""
    raw = b"(" + array(b"(I1\nt") + b"q\x01h\x01h\x01l."
    (tmp_path / "x.pkl").write_bytes(raw)
    first, second, third = load_pickle(tmp_path / "x.pkl")
    assert first is second is third
