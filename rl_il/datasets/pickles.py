"""Other programs' pickles, read without running anything that they hold.

A pickle is a program that builds objects: it may call any function by its name. Here it can name only what NumPy
writes for arrays, and gets the small classes below for those names; they keep data and do nothing else. A caller may
allow further modules, whose objects become dicts of their attributes; these modules are not imported.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_il.errors import InputError
from rl_il.files import one_line, reading

PLAIN = (bool, int, float, str, bytes, np.generic, type(None))


def load_pickle(path: Path, as_dicts: Sequence[str] = ()) -> Any:
    """Return dicts, lists, strings, numbers and arrays; objects of the modules `as_dicts` become dicts.

    Tuples become lists, and types of numbers their names. Files of Python 2, and of NumPy 1 and 2, are read. Raise
    `InputError` for anything else.
    """
    with reading("pickle of dicts, lists and arrays"):
        return _finish(_Unpickler(Path(path).read_bytes(), as_dicts).load())


class _StandIn:
    """What the pickle gets in place of an object: a value, which it can set only where a subclass allows it."""

    value: Any = None

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        raise InputError("tries to change a class or function; refused")


class _Attributes(_StandIn):
    """An object of a class that is not imported."""

    def __setstate__(self, state: Any) -> None:
        self.value = state


class _Bytes(_StandIn):
    """Bytes as protocols 0 to 2 write them: as text and its codec, or as a call without arguments."""

    def __init__(self, text: str = "", codec: str = "latin1"):
        if codec != "latin1":
            raise InputError(f"asks for the codec {codec!r}, expected 'latin1'")
        self.value = text.encode("latin1")


class _Dtype(_StandIn):
    """A type of numbers; its state adds the byte order."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str) or np.dtype(code).kind not in "biuf":
            raise InputError(f"holds values of the type {code!r}, expected plain numbers")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        self.value = self.value.newbyteorder(state[1])


class _Array(_StandIn):
    """An array: created empty, and filled by its state (version, shape, dtype, Fortran order, bytes)."""

    def __setstate__(self, state: Any) -> None:
        *_, shape, dtype, fortran, raw = state
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: Any, dtype: Any, shape: Any, order: str) -> None:
        """Make the array, with bytes of its own in this machine's order. Python 2 wrote bytes as text."""
        if not isinstance(dtype, _Dtype):
            raise InputError("holds an array of objects, expected numbers")
        raw = raw.value if isinstance(raw, _Bytes) else raw.encode("latin1") if isinstance(raw, str) else raw
        array = np.frombuffer(raw, dtype.value).reshape(shape, order=order)
        self.value = array.astype(dtype.value.newbyteorder("="))


class _FromBuffer(_Array):
    """An array as protocol 5 writes it: from its bytes."""

    def __init__(self, raw: Any, dtype: Any, shape: Any, order: str):
        self.fill(raw, dtype, shape, order)


class _Scalar(_Array):
    """One of NumPy's numbers."""

    def __init__(self, dtype: Any, raw: Any):
        self.fill(raw, dtype, (), "C")
        self.value = self.value[()]


ALLOWED: dict[tuple[str, str], type[_StandIn]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
    ("builtins", "bytes"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
}
for _numpy in ("numpy.core", "numpy._core"):
    ALLOWED[f"{_numpy}.multiarray", "_reconstruct"] = _Array
    ALLOWED[f"{_numpy}.multiarray", "scalar"] = _Scalar
    ALLOWED[f"{_numpy}.numeric", "_frombuffer"] = _FromBuffer


# Python's own unpickler rather than the one in C, which allocates whatever size a damaged file announces.
class _Unpickler(pickle._Unpickler):
    def __init__(self, data: bytes, as_dicts: Sequence[str]):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.as_dicts = as_dicts
        copyreg.clear_extension_cache()  # what is in it would be served without asking `find_class`

    def find_class(self, module: str, name: str) -> type[_StandIn]:
        if module in self.as_dicts:
            return _Attributes
        if (module, name) not in ALLOWED:
            raise InputError(f"asks for {one_line(f'{module}.{name}')[:150]}, which may run code; nothing was run")
        return ALLOWED[module, name]


def _finish(value: Any) -> Any:
    """Return the tree with values in place of stand-ins."""
    if isinstance(value, _Array):
        if value.value is None:
            raise InputError("holds an array without numbers")
        return value.value
    if isinstance(value, _Dtype):
        return value.value.name
    if isinstance(value, (_Bytes, _Attributes)):
        return _finish(value.value)
    if isinstance(value, dict):
        return {key: _finish(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finish(item) for item in value]
    if isinstance(value, PLAIN):
        return value
    raise InputError(f"holds a {type(value).__name__.lstrip('_').lower()}, expected dicts, lists and arrays")
