"""Arrays that stay in their file until somebody needs them, and values that are not read at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rl_il.files import reading


class Stored:
    """An array in a file of h5py or zarr. `np.asarray` reads it, and raises `InputError` if it is damaged.

    Args:
      like: anything with the array's shape and dtype.
      read: returns the array.
      what: what messages call the file.
    """

    def __init__(self, like: Any, read: Callable[[], Any], what: str):
        self.shape, self.ndim, self.dtype = like.shape, len(like.shape), like.dtype
        self.read, self.what = read, what

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 1

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        with reading(self.what):
            return np.asarray(self.read(), dtype)


class Unread:
    """A value that was not read. Its type is that of no number.

    Args:
      why: what a message says if somebody needs the value.
    """

    dtype = np.dtype(object)

    def __init__(self, why: str = "holds Python objects, expected numbers"):
        self.why = why
