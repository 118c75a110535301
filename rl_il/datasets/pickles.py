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
from typing import Any, BinaryIO

import numpy as np

from rl_il.datasets.formats import read_bytes
from rl_il.errors import InputError
from rl_il.files import load_torch, one_line, reading

PLAIN = (bool, int, float, str, bytes, np.generic, type(None))


def load_pickle(path: Path, as_dicts: Sequence[str] = ()) -> Any:
    """Return the file's dicts, lists, strings, numbers and arrays. Objects of the modules `as_dicts` become dicts.

    Tuples become lists, and NumPy dtypes their names. Files of Python 2, and of NumPy 1 and 2, can be read. Raise
    `InputError` for any other content.
    """
    with reading("pickle of dicts, lists and arrays"):
        return loads(read_bytes(Path(path)), as_dicts)


def load_objects(member: BinaryIO) -> Any:
    """Return the lists and dicts in an array of Python objects, from an open `.npy` file."""
    version = np.lib.format.read_magic(member)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, _ = header(member)
    value = loads(member.read())
    return value[0] if shape == () and isinstance(value, list) else value


def loads(data: bytes, as_dicts: Sequence[str] = ()) -> Any:
    """Return what `load_pickle` returns, from the bytes of a pickle; of several, one behind the other, a list."""
    file = io.BytesIO(data)
    values = []
    while not values or data[file.tell() :].strip():
        values.append(_finish(_Unpickler(file, as_dicts).load()))
    return values[0] if len(values) == 1 else values


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
        if not isinstance(code, str) or np.dtype(code).kind not in "biufOUS":
            raise InputError(f"holds values of the type {code!r}, expected plain numbers")
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
            raise InputError("holds an array of a type that is not plain")
        if dtype.value.kind == "O":  # its items are Python objects, each unpickled as everything else
            self.value = _nested(raw, shape)
            return
        raw = raw.value if isinstance(raw, _Bytes) else raw.encode("latin1") if isinstance(raw, str) else raw
        array = np.frombuffer(raw, dtype.value).reshape(shape, order=order)
        self.value = array.astype(dtype.value.newbyteorder("="))


def _nested(items: Any, shape: Any) -> list:
    """Return the items of an array of objects as lists in lists."""
    if not isinstance(items, list) or len(items) != np.prod(shape, dtype=int):
        raise InputError("holds an array of objects of another shape than its items")
    for size in shape[:0:-1]:
        items = [items[i : i + size] for i in range(0, len(items), size)]
    return items


class _FromBuffer(_Array):
    """An array, which protocol 5 writes as its bytes."""

    def __init__(self, raw: Any, dtype: Any, shape: Any, order: str):
        self.fill(raw, dtype, shape, order)


class _Scalar(_Array):
    """A NumPy scalar."""

    def __init__(self, dtype: Any, raw: Any):
        self.fill(raw, dtype, (), "C")
        self.value = self.value[()]


class _Items(_PickledObject):
    """A deque, a defaultdict or an OrderedDict: its items are kept as a list or a dict."""

    def __init__(self, *arguments: Any):
        listed = next((a for a in arguments if isinstance(a, (list, tuple, dict))), None)
        self.value = dict(listed) if isinstance(listed, dict) else [*listed] if listed is not None else []

    def append(self, item: Any) -> None:
        self.value.append(item)

    def extend(self, items: Any) -> None:
        self.value.extend(items)

    def __setitem__(self, key: Any, item: Any) -> None:
        if self.value == []:
            self.value = {}
        self.value[key] = item

    def __setstate__(self, state: Any) -> None:
        """Ignore attributes that a program added."""


class _Type(_PickledObject):
    """A type such as `list`, which a defaultdict names and never calls here."""


class _Storage(_PickledObject):
    """A torch tensor's numbers, as `torch.save` wrote them inside the pickle."""

    def __init__(self, raw: Any = None):
        self.value = load_torch(io.BytesIO(raw.value if isinstance(raw, _Bytes) else raw))


class _Tensor(_Array):
    """A torch tensor: a view of a storage."""

    def __init__(self, storage: Any = None, offset: int = 0, shape: Any = (), stride: Any = (), *_: Any):
        if not isinstance(storage, _Storage):
            raise InputError("holds a tensor without numbers")
        import torch

        flat = torch.tensor([], dtype=storage.value.dtype).set_(storage.value)
        self.value = torch.as_strided(flat, tuple(shape), tuple(stride), offset).clone().numpy()


ALLOWED: dict[tuple[str, str], type[_PickledObject]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
    ("builtins", "bytes"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
}
for _name in ("deque", "defaultdict", "OrderedDict"):
    ALLOWED["collections", _name] = _Items
for _name in ("list", "dict", "int", "float", "bool", "tuple"):
    ALLOWED["builtins", _name] = ALLOWED["__builtin__", _name] = _Type
ALLOWED["torch.storage", "_load_from_bytes"] = _Storage
ALLOWED["torch._utils", "_rebuild_tensor_v2"] = _Tensor
for _numpy in ("numpy.core", "numpy._core"):
    ALLOWED[f"{_numpy}.multiarray", "_reconstruct"] = _Array
    ALLOWED[f"{_numpy}.multiarray", "scalar"] = _Scalar
    ALLOWED[f"{_numpy}.numeric", "_frombuffer"] = _FromBuffer


# The unpickler in Python, not the one in C, which allocates any amount of memory that a damaged file asks for.
class _Unpickler(pickle._Unpickler):
    def __init__(self, file: io.BytesIO, as_dicts: Sequence[str]):
        super().__init__(file, encoding="latin1")
        self.as_dicts = as_dicts
        copyreg.clear_extension_cache()  # its entries would be used without a call of `find_class`

    def find_class(self, module: str, name: str) -> type[_PickledObject]:
        if module in self.as_dicts:
            return _Attributes
        if (module, name) not in ALLOWED:
            asked = one_line(f"{module}.{name}")[:150]
            raise InputError(f"asks for {asked}, which may run code; nothing was run{_way_out(module)}")
        return ALLOWED[module, name]


WAYS_OUT = {
    "pandas": "; if you trust it: python -c \"import pandas; pandas.read_pickle('FILE').to_csv('FILE.csv')\"",
    "imitation": (
        '; if you trust it, convert it with imitation: python -c "import pickle;'
        " from imitation.data.serialize import save; save('FOLDER', pickle.load(open('FILE', 'rb')))\""
    ),
}
"""Packages whose pickles are common, and the line that converts them."""


def _way_out(module: str) -> str:
    return WAYS_OUT.get(module.split(".")[0], "")


def _finish(value: Any) -> Any:
    """Return the tree with values in place of the `_PickledObject`s."""
    if isinstance(value, _Array):
        if value.value is None:
            raise InputError("holds an array without numbers")
        return _finish(value.value) if isinstance(value.value, list) else value.value
    if isinstance(value, _Dtype):
        return value.value.name
    if isinstance(value, _Type):
        return None
    if isinstance(value, (_Bytes, _Attributes, _Items)):
        return _finish(value.value)
    if isinstance(value, dict):
        return {_key(key): _finish(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finish(item) for item in value]
    if isinstance(value, PLAIN):
        return value
    raise InputError(f"holds a {type(value).__name__.lstrip('_').lower()}, expected dicts, lists and arrays")


def _key(key: Any) -> Any:
    """Return a dict's key; Python 2 wrote text as bytes."""
    key = _finish(key)
    return key.decode("latin1") if isinstance(key, bytes) else key
