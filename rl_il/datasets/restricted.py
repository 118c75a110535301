"""A pickle machine that can build data and do nothing else.

A pickle is a program: it calls what it can name, changes what it has built, and announces how much memory it needs.
This one can name only what a reader gives it, calls nothing but that, and checks what it is told. It is Python's own
`pickle._Unpickler`, whose steps can be replaced one by one. The faster one in C sizes its memo by whatever number
the file gives and allocates what a string announces; and both compute the hash of any key, which for tuples of
tuples takes for ever or overflows the stack.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from rl_il.datasets.quoting import printable
from rl_il.errors import InputError

MOST_SHARING = 16  # a tree may be this many times as large as its file, once what it shares is written out
MOST_QUOTED = 150  # characters of a name
_KEYS = (str, bytes, int, float, np.generic, type(None))
_SCALARS = (bool, int, float, str, bytes, np.generic, type(None))


class StandIn:
    """What a pickle holds in place of an object; the pickle may give it a state if it takes one."""

    n_bytes = 0  # that `finished` will need

    def __setstate__(self, state: Any) -> None:
        raise InputError("tries to change a class or function; refused")

    def finished(self) -> Any:
        """What the reader gets instead."""
        raise InputError(f"holds a {type(self).__name__.lstrip('_').lower()}, expected dicts, lists and arrays")


class Constructor(StandIn):
    """What the pickle gets for an allowed name: it can be called, and nothing else."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        """What the reader makes of the call."""
        return self._function(*args)


class Attributes(StandIn):
    """Stands in for an object of a class that is not imported, and keeps its attributes."""

    state: Any = None

    def __init__(self, *_: Any):
        self.state = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def finished(self) -> Any:
        """The attributes."""
        return self.state


class DataUnpickler(pickle._Unpickler):
    """Reads one pickle from bytes. A subclass says in `find_class` what may be named."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; here, none."""
        wanted = printable(f"{module}.{name}", MOST_QUOTED)
        raise InputError(f"asks for {wanted}, which may run code; refused, and nothing was run")

    def persistent_load(self, pid: Any) -> Any:
        """What stands outside the pickle; here, nothing."""
        raise InputError("refers to objects outside the file")

    def _extension(self) -> None:
        raise InputError("asks for an extension by its number, which may run code; refused, and nothing was run")

    def _set(self) -> None:
        raise InputError("holds a set, expected dicts, lists and arrays")

    def _top(self, kind: type) -> Any:
        target = self.stack[-1]
        if not isinstance(target, kind):
            raise InputError(f"adds to a {type(target).__name__} as if it were a {kind.__name__}")
        return target

    def _append(self) -> None:
        value = self.stack.pop()
        self._top(list).append(value)

    def _appends(self) -> None:
        items = self.pop_mark()
        self._top(list).extend(items)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _fill(self._top(dict), [key, value])

    def _setitems(self) -> None:
        items = self.pop_mark()
        _fill(self._top(dict), items)

    def _dict(self) -> None:
        items = self.pop_mark()
        self.append(_fill({}, items))

    def _bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))  # as much as there is, where Python's own allocates first

    def _build(self) -> None:
        if not isinstance(self.stack[-2], StandIn):
            raise InputError(f"gives a {type(self.stack[-2]).__name__} a state, which it does not have")
        super().load_build()

    def _reduce(self) -> None:
        _check_callable(self.stack[-2])
        super().load_reduce()

    def _newobj(self) -> None:
        _check_callable(self.stack[-2])
        super().load_newobj()

    def _newobj_ex(self) -> None:
        _check_callable(self.stack[-3])
        super().load_newobj_ex()

    def _instantiate(self, function: Any, args: Any) -> None:  # what INST and OBJ end in
        _check_callable(function)
        self.append(function(*args))


DataUnpickler.dispatch.update(
    {
        opcode[0]: step
        for opcodes, step in (
            ((pickle.EXT1, pickle.EXT2, pickle.EXT4), DataUnpickler._extension),
            ((pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET), DataUnpickler._set),
            ((pickle.APPEND,), DataUnpickler._append),
            ((pickle.APPENDS,), DataUnpickler._appends),
            ((pickle.SETITEM,), DataUnpickler._setitem),
            ((pickle.SETITEMS,), DataUnpickler._setitems),
            ((pickle.DICT,), DataUnpickler._dict),
            ((pickle.BYTEARRAY8,), DataUnpickler._bytearray),
            ((pickle.BUILD,), DataUnpickler._build),
            ((pickle.REDUCE,), DataUnpickler._reduce),
            ((pickle.NEWOBJ,), DataUnpickler._newobj),
            ((pickle.NEWOBJ_EX,), DataUnpickler._newobj_ex),
        )
        for opcode in opcodes
    }
)


def _check_callable(function: Any) -> None:
    if not isinstance(function, Constructor) and function is not Attributes:
        raise InputError(f"calls a {type(function).__name__}; refused")


def _fill(target: dict, items: list) -> dict:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, _KEYS):  # the hash of a tuple can take for ever
            raise InputError(f"has a {type(key).__name__} as a key, expected strings or numbers")
        target[key] = value
    return target


def finish(tree: Any, file_size: int, keep_tuples: bool = False) -> Any:
    """The tree with arrays and dicts in place of the stand-ins; tuples become lists unless they are kept.

    What the pickle shares is converted once, by identity, and stays shared. But a small file may share lists of
    shared lists, or one array's bytes a thousand times, and whoever prints or copies them fills the memory: a tree
    much larger than its file is refused.
    """
    return _Finisher(MOST_SHARING * file_size + 10_000, keep_tuples).value(tree)


class _Finisher:
    def __init__(self, most: int, keep_tuples: bool):
        self.most, self.keep_tuples = most, keep_tuples
        self.bytes = 0  # of arrays and encoded text so far
        self.done: dict[int, tuple[Any, int]] = {}  # by identity: the finished value, its size written out
        self.kept: list[Any] = []  # so that no identity is used again
        self.size = 0  # of the value that was asked for last

    def value(self, value: Any) -> Any:
        """The finished value; its size is left in `self.size`."""
        if id(value) not in self.done:
            self.kept.append(value)
            self.done[id(value)] = (None, 1)  # a list that holds itself ends here
            self.done[id(value)] = self._convert(value)
        result, self.size = self.done[id(value)]
        return result

    def _convert(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, StandIn) and not isinstance(value, dict):
            self.bytes += value.n_bytes
            self._check(self.bytes)
            return self.value(value.finished()), self.size
        if isinstance(value, dict):
            items, size = self._all([*value.values()])
            return dict(zip(value, items, strict=True)), size + len(value)
        if isinstance(value, (list, tuple)):
            items, size = self._all(value)
            return (tuple(items) if self.keep_tuples and isinstance(value, tuple) else items), size
        if isinstance(value, np.ndarray):
            return value.astype(value.dtype.newbyteorder("=")), 1  # a copy: the pickle's bytes are read-only
        if isinstance(value, _SCALARS):
            return value, 1
        raise InputError(f"holds a {type(value).__name__}, expected dicts, lists and arrays")

    def _all(self, values: Any) -> tuple[list, int]:
        items, size = [], 1
        for value in values:
            items.append(self.value(value))
            size += self.size
            self._check(size)
        return items, size

    def _check(self, size: int) -> None:
        if size > self.most:
            raise InputError("shares its parts so often that it would be much larger than the file; refused")
