"""Tensor: an immutable array with TensorFlow's manners."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, InvalidArgumentError, ShapeError, at_user_line
from graphjit.core.types import Array, TensorSpec, TensorType, as_dtype
from graphjit.functions import create

from .apply import as_tensor, register_tensor
from .operators import Items, Operators


class Tensor(Items, Operators):
    """An immutable array of numbers. Made by `gj.constant` and every `gj` function.

    `numpy()` and `__array__` give its elements as an ndarray; indexing and operators work as
    NumPy's, but for dtypes, which are never converted implicitly.
    """

    __slots__ = ("__weakref__", "_array", "type")

    type: TensorType
    _array: Array

    def __init__(self, value: Any, dtype: Any = None) -> None:
        array = create.constant(value, dtype)._array
        object.__setattr__(self, "_array", array)
        object.__setattr__(self, "type", TensorType(array.shape, as_dtype(array.dtype)))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: no attribute {name!r}")

    def numpy(self) -> Array:
        """The elements as a read-only ndarray over the same memory (a scalar if 0-d)."""
        if not self._array.shape:
            scalar: Array = self._array[()]
            return scalar
        view = self._array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        target = None if dtype is None else np.dtype(dtype)
        if copy or (target is not None and target != self._array.dtype):
            if copy is False:
                raise ValueError("a tensor of another dtype can't be had without a copy")
            return np.array(self._array, dtype=target)
        view = self._array.view()
        view.flags.writeable = False
        return view

    def __dlpack__(self, *, max_version: tuple[int, int] | None = None, **options: Any) -> Any:
        # Before version 1.0 DLPack can't say "read-only"; then the consumer must know.
        array = self._array
        if max_version is not None and max_version[0] >= 1:
            array = array.view()
            array.flags.writeable = False
            options["max_version"] = max_version
        return array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self._array.__dlpack_device__()
        return device

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise InvalidArgumentError(
                at_user_line(
                    "The truth value of an array with more than one element is ambiguous. Use "
                    "gj.reduce_any or gj.reduce_all"
                )
            )
        return bool(self._array.reshape(()))

    def __int__(self) -> int:
        return int(self._scalar("int"))

    def __float__(self) -> float:
        return float(self._scalar("float"))

    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    def __index__(self) -> int:
        if not self.type.dtype.is_integer or self._array.shape:
            raise DTypeError(
                at_user_line("only integer scalar tensors can be converted to a scalar index")
            )
        return int(self._array)

    def _scalar(self, kind: str) -> Any:
        if self._array.size != 1:
            raise ShapeError(
                at_user_line(f"only a tensor of one element converts to a Python {kind}")
            )
        return self._array.reshape(())[()]

    def item(self) -> Any:
        """The one element as a Python number."""
        return self._scalar("number").item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._array.tolist()

    def __format__(self, spec: str) -> str:
        return (
            format(self._array[()], spec) if not self._array.shape else format(str(self), spec)
        )

    def __repr__(self) -> str:
        return (
            f"<gj.Tensor: shape={self.shape}, dtype={self.dtype.name}, "
            f"numpy={_element_text(self._array)}>"
        )

    def __str__(self) -> str:
        text = str(self._array[()] if not self._array.shape else self._array)
        lead = "\n" if "\n" in text else ""
        return f"gj.Tensor({lead}{text}, shape={self.shape}, dtype={self.dtype.name})"

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _unpickle, (np.asarray(self._array, order="C"),)


def _element_text(array: Array) -> str:
    """An array as TensorFlow's repr has it: a bare scalar, else NumPy's repr on new lines."""
    if not array.shape:
        return str(array[()])
    text = repr(array)
    return "\n" + text if "\n" in text else text


def _wrap(array: Array) -> Tensor:
    tensor = object.__new__(Tensor)
    object.__setattr__(tensor, "_array", array)
    object.__setattr__(tensor, "type", TensorType(array.shape, as_dtype(array.dtype)))
    return tensor


_unpickle = _wrap
register_tensor(_wrap)


def from_dlpack(value: Any) -> Tensor:
    """A tensor over the memory of any DLPack exporter, not copied (of this CPU only)."""
    try:
        array = np.from_dlpack(value)
    except (AttributeError, BufferError, TypeError) as error:
        raise DTypeError(
            at_user_line(f"no tensor over {type(value).__name__}: {error}")
        ) from error
    as_dtype(array.dtype)
    return _wrap(array)


__all__ = ["Tensor", "TensorSpec", "as_tensor", "from_dlpack"]
