"""The operations of a function of tensors, as text. Two functions with the same text can share a compiled step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


def describe_graph(function: Callable[..., Any], inputs: Sequence[Tensor]) -> str:
    """Return the operations of one call of `function` and their arguments, one on a line.

    The function is called with copies, so `inputs` do not change. This takes some milliseconds. Tracing with torch's
    compiler first imports it, which takes more than a second.
    """
    recorder = _Recorder([tensor.clone() for tensor in inputs])
    with recorder:
        results = function(*recorder.inputs)
    strides = [tensor.stride() for tensor in inputs]  # which a copy may not have
    return "\n".join([f"strides {strides}", *recorder.lines, f"returns {recorder.text_of(results)}"])


class _Recorder(TorchDispatchMode):
    """A mode that writes down all operations. It names a tensor by the number of its storage."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler here, although nothing is compiled

    def __init__(self, inputs: Sequence[Tensor]):
        super().__init__()
        self.inputs, self.lines = inputs, []
        self._numbers: dict[int, int] = {}  # of storages by address, in the order of appearance
        self._alive: list[Tensor] = []  # so that no storage gets the address of an earlier one
        self.lines.append(self._with_new(inputs))

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        given = self.text_of([args, kwargs or {}])
        result = operation(*args, **(kwargs or {}))
        self.lines.append(f"{operation} {given} {self._with_new(result)}")
        return result

    def _with_new(self, values: Any) -> str:
        """Return the text of inputs or results. Their storages get numbers, unless they have one."""
        for value in values if isinstance(values, (tuple, list)) else [values]:
            if isinstance(value, Tensor):
                self._numbers.setdefault(self._address(value), len(self._numbers))
        return self.text_of(values)

    def text_of(self, value: Any) -> str:
        """Return the text of a value, in which tensors are named."""
        if isinstance(value, (tuple, list)):
            return f"({', '.join(map(self.text_of, value))})"
        if isinstance(value, dict):
            return self.text_of([*value.items()])
        return self._tensor(value) if isinstance(value, Tensor) else repr(value)

    def _tensor(self, tensor: Tensor) -> str:
        """Return the text of a tensor. A constant, which no operation computed, is described by its content."""
        number = self._numbers.get(self._address(tensor))
        if number is None:
            number = hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()
        return f"{number} {tensor.dtype} {tensor.storage_offset()} {tuple(tensor.shape)} {tensor.stride()}"

    def _address(self, tensor: Tensor) -> int:
        self._alive.append(tensor)
        return tensor.untyped_storage()._cdata
