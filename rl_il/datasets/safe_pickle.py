"""Reads other programs' pickles without running anything that they hold.

A pickle is a program for building objects: it may call whatever it can name. Here it can name nothing but
what NumPy writes for arrays, and even those names lead to the small functions below, not to NumPy. A reader
may name modules besides whose objects become dicts of their attributes; their code is not imported.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.datasets.quoting import one_line
from rl_il.datasets.restricted import Attributes, Constructor, DataUnpickler, StandIn, finish
from rl_il.errors import InputError

_KINDS = "biuf"  # booleans, integers, floats
_MOST_DIMENSIONS = 32
_LONGEST_DTYPE = 20


def load_pickle(path: Path, as_dicts: tuple[str, ...] = ()) -> Any:
    """Dicts, lists, strings and numeric arrays; objects of the modules `as_dicts` as dicts of their attributes.

    Raises `InputError` for anything else.
    """
    try:
        data = Path(path).read_bytes()
        unpickler = _AllowListUnpickler(data)
        unpickler.as_dicts = as_dicts
        return finish(unpickler.load(), len(data))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from error
    except Exception as error:  # a broken pickle program can raise any error; none means more than this
        raise InputError(f"is not a readable pickle ({type(error).__name__}: {one_line(error)[:200]})") from error


class _Dtype(StandIn):
    """A numeric dtype; its pickled state only adds the byte order."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str):
            raise InputError(f"holds a dtype made from {type(code).__name__}, expected a name such as 'f8'")
        if len(code) > _LONGEST_DTYPE:  # NumPy takes seconds over a long list of fields
            raise InputError(f"holds a dtype named {_short(code)}..., expected a name such as 'f8'")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in _KINDS or self.dtype.shape:
            raise InputError(f"holds {self.dtype} values, expected plain numbers")

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if not isinstance(order, str) or order not in ("<", ">", "|", "="):
            raise InputError(f"holds a dtype of byte order {_short(order)}")
        self.dtype = self.dtype.newbyteorder(order)

    def finished(self) -> str:
        """The dtype's name."""
        return self.dtype.name


class _Encoded(StandIn):
    """Text that stands for bytes. It is encoded where it is used: a file may refer to one long text often."""

    def __init__(self, text: str):
        self.text, self.n_bytes = text, len(text)

    def finished(self) -> bytes:
        """The bytes."""
        return self.text.encode("latin1")


class _Array(StandIn):
    """An array that is filled by its pickled state: (version, shape, dtype, Fortran order, bytes)."""

    def __init__(self) -> None:
        self.content: tuple | None = None

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, raw = state[-4:]
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: Any, dtype: Any, shape: Any, order: str) -> _Array:
        """Checks everything and keeps it; nothing is allocated before the whole pickle has been read."""
        raw = raw.text if isinstance(raw, _Encoded) else raw  # a string: bytes written by Python 2
        if not isinstance(dtype, _Dtype) or not isinstance(raw, (bytes, bytearray, str)):
            raise InputError("holds an array of objects, expected numbers")
        _check_shape(shape, dtype.dtype.itemsize, len(raw))
        self.content, self.n_bytes = (raw, dtype.dtype, shape, order), len(raw)
        return self

    def finished(self) -> np.ndarray:
        """The array, on the pickle's own bytes."""
        if self.content is None:
            raise InputError("holds an unfinished array")
        raw, dtype, shape, order = self.content
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, dtype).reshape(shape, order=order)


def _check_shape(shape: Any, itemsize: int, n_bytes: int) -> None:
    """Raises `InputError` unless an array of the shape has exactly these bytes."""
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        raise InputError(f"holds an array of shape {_short(shape)}")
    for n in shape:  # first each for itself: the product of a thousand long integers takes for ever
        if type(n) is not int or not 0 <= n <= max(n_bytes, 1_000_000):
            shown = ", ".join(map(_short, shape))
            raise InputError(f"holds an array of shape ({shown}{',' * (len(shape) == 1)}) with {n_bytes} bytes")
    if math.prod(shape) * itemsize != n_bytes:
        raise InputError(f"holds an array of shape {shape} with {n_bytes} bytes")


def _short(value: Any) -> str:
    """The value for a message; only its type's name where it may be long."""
    if isinstance(value, str):
        return repr(value[:40])
    return str(value) if type(value) is int and value.bit_length() < 128 else f"a {type(value).__name__}"


def _reconstruct(subtype: Any, *_: Any) -> _Array:
    if subtype is not _ALLOWED["numpy", "ndarray"]:
        raise InputError("holds an array of a foreign class")
    return _Array()


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: str) -> _Array:
    if order not in ("C", "F"):
        raise InputError(f"holds an array in the order {_short(order)}")
    return _Array().fill(raw, dtype, shape, order)


def _scalar(dtype: Any, raw: Any) -> Any:
    value = _Array().fill(raw, dtype, (), "C").finished()
    return value.astype(value.dtype.newbyteorder("="))[()]


def _encode(text: Any, encoding: Any) -> _Encoded:
    if not isinstance(encoding, str) or encoding != "latin1":
        raise InputError(f"asks for the codec {_short(encoding)}, expected 'latin1'")
    if not isinstance(text, str):
        raise InputError(f"encodes a {type(text).__name__}, expected text")
    return _Encoded(text)


def _empty_bytes() -> bytes:  # protocol 2 writes b"" as a call of bytes(); any argument is refused
    return b""


_ALLOWED: dict[tuple[str, str], Constructor] = {}
for _numpy in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_numpy}.multiarray", "_reconstruct"] = Constructor(_reconstruct)
    _ALLOWED[f"{_numpy}.multiarray", "scalar"] = Constructor(_scalar)
    _ALLOWED[f"{_numpy}.numeric", "_frombuffer"] = Constructor(_from_bytes)
_ALLOWED["numpy", "ndarray"] = Constructor(_reconstruct)
_ALLOWED["numpy", "dtype"] = Constructor(_Dtype)
_ALLOWED["_codecs", "encode"] = Constructor(_encode)
_ALLOWED["builtins", "bytes"] = _ALLOWED["__builtin__", "bytes"] = Constructor(_empty_bytes)


class _AllowListUnpickler(DataUnpickler):
    as_dicts: tuple[str, ...] = ()

    def find_class(self, module: str, name: str) -> Any:
        if module in self.as_dicts:
            return Attributes
        return _ALLOWED.get((module, name)) or super().find_class(module, name)
