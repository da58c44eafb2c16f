"""Tensors and variables: what they are, how they are made and updated."""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.types import as_dtype
from graphjit.functions import create, math
from graphjit.functions import shape as _shape
from graphjit.tensors.apply import TensorBase, as_tensor
from graphjit.tensors.variable import Variable

from .settings import floatx

__all__ = [
    "arange", "batch_get_value", "batch_set_value", "cast", "cast_to_floatx", "constant",
    "count_params", "dtype", "eval", "eye", "get_value", "identity", "int_shape", "is_sparse",
    "is_tensor", "moving_average_update", "ndim", "ones", "ones_like", "set_value", "shape",
    "stop_gradient", "to_dense", "update", "update_add", "update_sub", "variable", "zeros",
    "zeros_like",
]  # fmt: skip


def is_tensor(x: Any) -> bool:
    """Whether x is a tensor or a variable."""
    return isinstance(x, TensorBase)


def is_sparse(tensor: Any) -> bool:
    """Whether the tensor is sparse: never."""
    return False


def to_dense(tensor: Any) -> Any:
    """The tensor itself: none is sparse."""
    return as_tensor(tensor)


def dtype(x: Any) -> str:
    """The name of the element type."""
    return (x if isinstance(x, TensorBase) else as_tensor(x)).dtype.name


def int_shape(x: Any) -> tuple[int, ...]:
    """The extents, as ints."""
    return tuple((x if isinstance(x, TensorBase) else as_tensor(x)).type.shape)


def ndim(x: Any) -> int:
    """The number of axes."""
    return len(int_shape(x))


def shape(x: Any) -> Any:
    """The extents as a 1-d int32 tensor."""
    return _shape.shape(x)


def count_params(x: Any) -> int:
    """The number of elements."""
    return pymath.prod(int_shape(x))


def variable(value: Any, dtype: Any = None, name: str | None = None) -> Variable:
    """A variable of this value, of the default float dtype unless told."""
    return Variable(value, dtype=as_dtype(dtype or floatx()), name=name)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Any:
    """A constant of this value, of the default float dtype unless told."""
    return create.constant(value, dtype or floatx(), shape)


def get_value(x: Any) -> Any:
    """The value of a variable or tensor as an ndarray."""
    return x.numpy() if isinstance(x, TensorBase) else x  # type: ignore[attr-defined]


eval = get_value


def set_value(x: Any, value: Any) -> None:
    """Set the value of a variable, cast to its dtype."""
    x.assign(np.asarray(value, dtype=x.dtype.dtype))


def batch_get_value(tensors: Sequence[Any]) -> list[Any]:
    """The values of several variables."""
    return [get_value(x) for x in tensors]


def batch_set_value(tuples: Sequence[tuple[Any, Any]]) -> None:
    """Set the values of several variables."""
    for x, value in tuples:
        set_value(x, value)


def update(x: Any, new_x: Any) -> Any:
    """Assign a new value to a variable."""
    return x.assign(new_x)


def update_add(x: Any, increment: Any) -> Any:
    """Add to a variable."""
    return x.assign_add(increment)


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtract from a variable."""
    return x.assign_sub(decrement)


def moving_average_update(x: Any, value: Any, momentum: Any) -> Any:
    """Move a variable towards a value: x momentum + value (1 - momentum)."""
    step = math.subtract(x, math.cast(value, x.dtype))
    return x.assign_sub(math.multiply(step, math.subtract(1.0, as_tensor(momentum, x.dtype))))


def cast(x: Any, dtype: Any) -> Any:
    """X converted to a dtype."""
    return math.cast(x, dtype)


def cast_to_floatx(x: Any) -> Any:
    """X converted to the default float dtype: tensors to a tensor, all else to an ndarray."""
    if isinstance(x, TensorBase):
        return math.cast(x, floatx())
    return np.asarray(x, dtype=as_dtype(floatx()).dtype)


def zeros(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Zeros."""
    return create.zeros(shape, dtype or floatx())


def ones(shape: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Ones."""
    return create.ones(shape, dtype or floatx())


def eye(size: Any, dtype: Any = None, name: str | None = None) -> Any:
    """The identity matrix, square or of a pair of extents."""
    rows, columns = size if isinstance(size, (tuple, list)) else (size, size)
    return create.eye(rows, columns, dtype=dtype or floatx())


def zeros_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Zeros of the shape of x."""
    return create.zeros_like(x, dtype)


def ones_like(x: Any, dtype: Any = None, name: str | None = None) -> Any:
    """Ones of the shape of x."""
    return create.ones_like(x, dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Any:
    """start, start + step, … before stop; a negative start alone gives nothing."""
    if stop is None and start < 0:
        start = 0
    return math.cast(create.range(start, stop, step), dtype)


identity = _shape.identity


def stop_gradient(variables: Any) -> Any:
    """The value itself, or each of a list."""
    if isinstance(variables, (list, tuple)):
        return [as_tensor(x) for x in variables]
    return as_tensor(variables)
