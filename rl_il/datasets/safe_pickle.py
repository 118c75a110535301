"""Reads other programs' pickles without running anything that they hold.

A pickle is a program for building objects: it may call whatever it can name. Here it can name nothing but
what NumPy writes for arrays, and even those names lead to the small functions below, not to NumPy. A reader
may name modules besides whose objects become dicts of their attributes; their code is not imported.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.errors import InputError

_KINDS = "biuf"  # booleans, integers, floats


def load_pickle(path: Path, as_dicts: tuple[str, ...] = ()) -> Any:
    """Dicts, lists, strings and numeric arrays; objects of the modules `as_dicts` as dicts of their attributes.

    Raises `InputError` for anything else.
    """
    try:
        unpickler = _AllowListUnpickler(io.BytesIO(Path(path).read_bytes()), encoding="latin1")
        unpickler.as_dicts = as_dicts
        return _to_arrays(unpickler.load(), {})
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from error
    except Exception as error:  # a broken pickle program can raise any error; none means more than this
        raise InputError(f"is not a readable pickle ({type(error).__name__}: {error})") from error


class _Constructor:
    """What the pickle gets for an allowed name: it can be called, and nothing else."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:  # refuses to be changed by the pickle
        raise InputError("tries to change a class or function; refused")


class _Dtype:
    """A numeric dtype; its pickled state only adds the byte order."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str):
            raise InputError(f"holds a dtype made from {type(code).__name__}, expected a name such as 'f8'")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in _KINDS or self.dtype.shape:
            raise InputError(f"holds {self.dtype} values, expected plain numbers")

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise InputError(f"holds a dtype of byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array that is filled by its pickled state: (version, shape, dtype, Fortran order, bytes)."""

    def __init__(self, subtype: Any, *_: Any):
        if subtype is not _ALLOWED["numpy", "ndarray"]:
            raise InputError("holds an array of a foreign class")
        self.array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, raw = state[-4:]
        self.array = _from_bytes(raw, dtype, shape, "F" if fortran else "C")


class _Attributes:
    """Stands in for an object of a class that is not imported, and keeps its attributes."""

    def __init__(self, *_: Any):
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    if isinstance(raw, str):  # bytes written by Python 2
        raw = raw.encode("latin1")
    if not isinstance(dtype, _Dtype) or not isinstance(raw, (bytes, bytearray)):
        raise InputError("holds an array of objects, expected numbers")
    if math.prod(shape) * dtype.dtype.itemsize != len(raw):  # before anything is allocated
        raise InputError(f"holds an array of shape {shape} with {len(raw)} bytes")
    array = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)
    return array.astype(array.dtype.newbyteorder("="))  # a copy, since the pickle's bytes are read-only


def _scalar(dtype: Any, raw: Any) -> Any:
    return _from_bytes(raw, dtype, (), "C")[()]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise InputError(f"asks for the codec {encoding!r}, expected 'latin1'")
    return text.encode("latin1")


def _empty_bytes() -> bytes:  # protocol 2 writes b"" as a call of bytes(); any argument is refused
    return b""


_ALLOWED: dict[tuple[str, str], _Constructor] = {}
for _numpy in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_numpy}.multiarray", "_reconstruct"] = _Constructor(_Array)
    _ALLOWED[f"{_numpy}.multiarray", "scalar"] = _Constructor(_scalar)
    _ALLOWED[f"{_numpy}.numeric", "_frombuffer"] = _Constructor(_from_bytes)
_ALLOWED["numpy", "ndarray"] = _Constructor(_Array)
_ALLOWED["numpy", "dtype"] = _Constructor(_Dtype)
_ALLOWED["_codecs", "encode"] = _Constructor(_encode)
_ALLOWED["builtins", "bytes"] = _ALLOWED["__builtin__", "bytes"] = _Constructor(_empty_bytes)


class _AllowListUnpickler(pickle.Unpickler):
    as_dicts: tuple[str, ...] = ()

    def find_class(self, module: str, name: str) -> Any:
        if module in self.as_dicts:
            return _Attributes
        if (module, name) not in _ALLOWED:
            raise InputError(f"asks for {module}.{name}, which may run code; refused, and nothing was run")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise InputError("refers to objects outside the file")


def _to_arrays(value: Any, seen: dict[int, Any]) -> Any:
    """The tree with its arrays in place of the pickle's stand-ins.

    What the pickle shares is converted once (`seen`, by identity): a small file may share lists of shared
    lists, and writing them out would fill the memory.
    """
    if id(value) not in seen:
        seen[id(value)] = None  # a list that holds itself ends here
        seen[id(value)] = _convert(value, seen)
    return seen[id(value)]


def _convert(value: Any, seen: dict[int, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _to_arrays(item, seen) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_arrays(item, seen) for item in value]
    if isinstance(value, _Attributes):
        return _to_arrays(value.state, seen)
    if isinstance(value, _Dtype):
        return value.dtype.name
    if isinstance(value, _Array):
        if value.array is None:
            raise InputError("holds an unfinished array")
        return value.array
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic, np.ndarray)):
        return value
    raise InputError(f"holds a {type(value).__name__}, expected dicts, lists and arrays")
