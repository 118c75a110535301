"""Pickles of other programs, read without running code in them.

A pickle is a program that builds objects, and may call any function by its name. Here it can name only the functions
that NumPy writes for arrays. In their place it gets the small classes below, which hold data and do nothing else. A
caller can allow further modules: their objects become dicts of their attributes, and they are not imported.
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
    """Return the file's dicts, lists, strings, numbers and arrays. Objects of the modules `as_dicts` become dicts.

    Tuples become lists, and NumPy dtypes their names. Files of Python 2, and of NumPy 1 and 2, can be read. Raise
    `InputError` for any other content.
    """
    with reading("pickle of dicts, lists and arrays"):
        return _finish(_Unpickler(Path(path).read_bytes(), as_dicts).load())


class _PickledObject:
    """The substitute for an object in a pickle. The pickle can set its value only if a subclass allows that."""

    value: Any = None

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        raise InputError("tries to change a class or function, which is refused")


class _Attributes(_PickledObject):
    """An object of a class that is not imported."""

    def __setstate__(self, state: Any) -> None:
        self.value = state


class _Bytes(_PickledObject):
    """Bytes, which protocols 0 to 2 write as text with a codec, or as a call without arguments."""

    def __init__(self, text: str = "", codec: str = "latin1"):
        if codec != "latin1":
            raise InputError(f"names the codec {codec!r}, expected 'latin1'")
        self.value = text.encode("latin1")


class _Dtype(_PickledObject):
    """A dtype; its state adds the byte order."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str) or np.dtype(code).kind not in "biuf":
            raise InputError(f"holds values of the dtype {code!r}, expected plain numbers")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        self.value = self.value.newbyteorder(state[1])


class _Array(_PickledObject):
    """An array, which is created empty and filled by its state (version, shape, dtype, Fortran order, bytes)."""

    def __setstate__(self, state: Any) -> None:
        *_, shape, dtype, fortran, raw = state
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: Any, dtype: Any, shape: Any, order: str) -> None:
        """Make the array, with its own copy of the bytes, in this machine's order. Python 2 wrote bytes as text."""
        if not isinstance(dtype, _Dtype):
            raise InputError("holds an array of objects, expected numbers")
        raw = raw.value if isinstance(raw, _Bytes) else raw.encode("latin1") if isinstance(raw, str) else raw
        array = np.frombuffer(raw, dtype.value).reshape(shape, order=order)
        self.value = array.astype(dtype.value.newbyteorder("="))


class _FromBuffer(_Array):
    """An array, which protocol 5 writes as its bytes."""

    def __init__(self, raw: Any, dtype: Any, shape: Any, order: str):
        self.fill(raw, dtype, shape, order)


class _Scalar(_Array):
    """A NumPy scalar."""

    def __init__(self, dtype: Any, raw: Any):
        self.fill(raw, dtype, (), "C")
        self.value = self.value[()]


ALLOWED: dict[tuple[str, str], type[_PickledObject]] = {
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


# The unpickler in Python, not the one in C, which allocates any amount of memory that a damaged file asks for.
class _Unpickler(pickle._Unpickler):
    def __init__(self, data: bytes, as_dicts: Sequence[str]):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.as_dicts = as_dicts
        copyreg.clear_extension_cache()  # its entries would be used without a call of `find_class`

    def find_class(self, module: str, name: str) -> type[_PickledObject]:
        if module in self.as_dicts:
            return _Attributes
        if (module, name) not in ALLOWED:
            raise InputError(f"asks for {one_line(f'{module}.{name}')[:150]}, which may run code; nothing was run")
        return ALLOWED[module, name]


def _finish(value: Any) -> Any:
    """Return the tree with values in place of the `_PickledObject`s."""
    if isinstance(value, _Array):
        if value.value is None:
            raise InputError("holds an array without content")
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
