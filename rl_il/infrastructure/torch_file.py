"""Reads what `torch.save` wrote, without torch: tensors come as arrays, and no code in the file is run.

`torch.load(weights_only=True)` runs no code either. But a file of a megabyte can make it hash tuples of tuples for
ever or overflow the stack, and a tensor with strides of zero is as large as it claims.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rl_il.datasets.archive import open_archive, read_member
from rl_il.datasets.quoting import one_line
from rl_il.datasets.restricted import Constructor, DataUnpickler, StandIn, finish
from rl_il.errors import InputError

DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "BFloat16Storage": "u2",  # the upper half of a single-precision number, which it becomes
}
MOST_DIMENSIONS = 16
MOST_PICKLE = 4_000_000  # bytes that say what the tensors are called; the numbers lie beside them


def read_torch(file: Path | BinaryIO) -> Any:
    """The saved value: dicts, lists, tuples, strings, numbers, and tensors as arrays of their own.

    bfloat16, which NumPy lacks, becomes float32.
    Raises `InputError` for a file that is damaged, holds anything else, or was written by torch before 1.6.
    """
    try:
        with open_archive(file) as archive:
            names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(names) != 1:
                raise InputError("is not a file of torch.save (it needs one data.pkl)")
            data = read_member(archive, names[0], MOST_PICKLE)
            unpickler = _TensorUnpickler(data, archive, names[0].removesuffix("data.pkl"))
            tree = unpickler.load()
            return finish(tree, len(data) + sum(map(len, unpickler.storages.values())), keep_tuples=True)
    except (InputError, FileNotFoundError, IsADirectoryError):
        raise
    except zipfile.BadZipFile as error:
        raise InputError(
            "is not a readable file of torch.save: it is cut short, or holds pickled code, which is never run, or was"
            " written by torch before 1.6"
        ) from error
    except Exception as error:  # a damaged archive or pickle raises anything; none means more
        raise InputError(f"is not a readable file of torch.save ({one_line(error)[:200]})") from error


class _Storage(StandIn):
    """The numbers that one or more tensors are views of."""

    def __init__(self, numbers: np.ndarray):
        self.numbers = numbers


class _StorageType(StandIn):
    def __init__(self, name: str):
        self.name, self.dtype = name, np.dtype(DTYPES[name])


class _Tensor(StandIn):
    """A view of a storage; it is copied once the whole file has been read and found no larger than it may be."""

    def __init__(self, view: np.ndarray):
        self.view, self.n_bytes = view, view.nbytes

    def finished(self) -> np.ndarray:
        """The view."""
        return self.view


class _OrderedDict(dict, StandIn):
    """A dict; the attributes that torch adds to its state dicts are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise InputError("holds a tensor without a storage")
    n = len(storage.numbers)
    _check_integers(size, max(n, 1))
    if len(size) > MOST_DIMENSIONS or math.prod(max(x, 1) for x in size) > max(n, 1):
        raise InputError(f"holds a tensor of more numbers than its storage, which has {n}")
    if 0 in size:
        return _Tensor(storage.numbers[:0].reshape(size))
    _check_integers((offset,), n)
    _check_integers(stride, n)
    last = offset + sum((x - 1) * step for x, step in zip(size, stride, strict=True))
    if last >= n:
        raise InputError(f"holds a tensor that does not lie in its storage of {n} numbers")
    steps = [step * storage.numbers.itemsize for step in stride]
    return _Tensor(np.lib.stride_tricks.as_strided(storage.numbers[offset:], size, steps, writeable=False))


def _check_integers(numbers: Any, most: int) -> None:
    if not isinstance(numbers, tuple) or not all(type(x) is int and 0 <= x <= most for x in numbers):
        raise InputError(f"holds a tensor that does not lie in its storage of {most} numbers")


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _ordered_dict(*items: Any) -> _OrderedDict:
    if items:
        raise InputError("holds an OrderedDict made from its items, expected them one by one")
    return _OrderedDict()


_ALLOWED: dict[tuple[str, str], StandIn] = {
    ("collections", "OrderedDict"): Constructor(_ordered_dict),
    ("torch._utils", "_rebuild_tensor_v2"): Constructor(_tensor),
    ("torch._utils", "_rebuild_parameter"): Constructor(_parameter),
    **{("torch", name): _StorageType(name) for name in DTYPES},
}


class _TensorUnpickler(DataUnpickler):
    def __init__(self, data: bytes, archive: zipfile.ZipFile, folder: str):
        super().__init__(data)
        self.archive, self.folder = archive, folder
        self.storages: dict[str, bytes] = {}
        order = f"{folder}byteorder"
        self.big = order in archive.namelist() and read_member(archive, order) == b"big"

    def find_class(self, module: str, name: str) -> Any:
        return _ALLOWED.get((module, name)) or super().find_class(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage by (`storage`, its type, the member's name, the device, the number of its elements)."""
        if not isinstance(pid, tuple) or len(pid) != 5 or not isinstance(pid[1], _StorageType):
            raise InputError("refers to something that is no tensor of plain numbers")
        _, kind, key, _, count = pid
        if not isinstance(key, str) or type(count) is not int:
            raise InputError("refers to a tensor's numbers in a way that torch does not")
        if key not in self.storages:
            self.storages[key] = read_member(self.archive, f"{self.folder}data/{key}")
        data = self.storages[key]
        if len(data) != count * kind.dtype.itemsize:
            raise InputError(f"holds {len(data)} bytes for {count} numbers of {kind.dtype.itemsize} bytes")
        numbers = np.frombuffer(data, kind.dtype.newbyteorder(">" if self.big else "<"))
        if kind.name == "BFloat16Storage":
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        return _Storage(numbers)
