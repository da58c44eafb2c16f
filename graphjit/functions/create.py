"""Tensors made from nothing but a shape and a dtype."""

from __future__ import annotations

import math as pymath
from typing import Any

import numpy as np

from graphjit.core.dims import is_symbolic
from graphjit.core.errors import (
    DTypeError,
    InvalidArgumentError,
    OutOfMemoryError,
    ShapeError,
    at_user_line,
)
from graphjit.core.size_facts import MAX_SIZE
from graphjit.core.types import as_dtype, as_int, check_size, float32, int64
from graphjit.tensors.apply import TensorBase, as_tensor, same_dtype, wrap

from . import math
from .shape import as_shape, broadcast_to, filled, reshape
from .subscript import iota

__all__ = [
    "arange",
    "asarray",
    "constant",
    "convert_to_tensor",
    "empty",
    "empty_like",
    "eye",
    "fill",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "range",
    "tril",
    "triu",
    "zeros",
    "zeros_like",
]


def constant(value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A tensor of a Python value, nested list, ndarray or tensor.

    Python floats give float32, ints int32 (int64 where needed); an ndarray keeps its dtype.
    shape: one value fills it, or the elements are laid out in it. Raises DTypeError for a
    Python value that the dtype can't hold, ShapeError for ragged lists.
    """
    target = None if dtype is None else as_dtype(dtype)
    try:
        tensor = as_tensor(value, target)
    except InvalidArgumentError as error:
        if target is not None and not isinstance(value, str) and "cannot convert" in str(error):
            raise DTypeError(
                at_user_line(f"Cannot convert {value!r} to EagerTensor of dtype {target.name}")
            ) from None
        raise
    if target is not None and tensor.dtype is not target:
        tensor = math.cast(tensor, target)
    if shape is None:
        return tensor
    wanted = as_shape(shape, "Const")
    if tensor.type.size == 1:
        return broadcast_to(reshape(tensor, ()), wanted)
    if tensor.type.size != pymath.prod(wanted):
        raise ShapeError(
            at_user_line(
                f"Eager execution of constant with unsupported shape: the value has "
                f"{tensor.type.size} elements, the shape {list(wanted)} {pymath.prod(wanted)}"
            )
        )
    return reshape(tensor, wanted)


def convert_to_tensor(value: Any, dtype: Any = None) -> Any:
    """The value as a tensor. A tensor or array of another dtype than asked for is refused."""
    target = None if dtype is None else as_dtype(dtype)
    tensor = as_tensor(value, target)
    if target is not None and tensor.dtype is not target:
        if isinstance(value, TensorBase):
            raise InvalidArgumentError(
                at_user_line(
                    f"Tensor conversion requested dtype {target.name} for Tensor with dtype "
                    f"{tensor.dtype.name}"
                )
            )
        return math.cast(tensor, target)
    return tensor


def asarray(value: Any, dtype: Any = None) -> Any:
    """The value as a tensor, converted to a dtype if one is given."""
    tensor = as_tensor(value, None if dtype is None else as_dtype(dtype))
    return tensor if dtype is None else math.cast(tensor, dtype)


def fill(dims: Any, value: Any) -> Any:
    """A tensor of this shape, all elements equal to the value."""
    tensor = as_tensor(value)
    if tensor.ndim:
        as_shape(dims, "Fill")
        raise InvalidArgumentError(at_user_line("value must be a scalar [Op:Fill]"))
    return filled(dims, tensor)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """A tensor of this shape, all elements equal to the value."""
    return fill(shape, constant(fill_value, dtype))


def zeros(shape: Any, dtype: Any = float32) -> Any:
    """Zeros."""
    return fill(shape, as_tensor(False, as_dtype(dtype)))


def ones(shape: Any, dtype: Any = float32) -> Any:
    """Ones."""
    return fill(shape, as_tensor(True, as_dtype(dtype)))


def empty(shape: Any, dtype: Any = float32) -> Any:
    """Zeros, under NumPy's name for an array yet to be filled."""
    return zeros(shape, dtype)


def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of the shape and (unless given) dtype of x."""
    x = as_tensor(x)
    return zeros(x.type.shape, x.dtype if dtype is None else dtype)


def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones of the shape and (unless given) dtype of x."""
    x = as_tensor(x)
    return ones(x.type.shape, x.dtype if dtype is None else dtype)


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """The value repeated, of the shape and (unless given) dtype of x."""
    x = as_tensor(x)
    return full(x.type.shape, fill_value, x.dtype if dtype is None else dtype)


def empty_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of the shape and (unless given) dtype of x."""
    return zeros_like(x, dtype)


def eye(
    num_rows: int, num_columns: int | None = None, batch_shape: Any = (), dtype: Any = float32
) -> Any:
    """The identity matrix [num_rows, num_columns], repeated for a batch."""
    columns = num_rows if num_columns is None else num_columns
    shape = as_shape((num_rows, columns), "Eye")
    check_size(shape, as_dtype(dtype), "Eye")
    matrix = math.cast(math.equal(iota(shape, 0), iota(shape, 1)), dtype)
    return broadcast_to(matrix, (*as_shape(batch_shape, "Eye"), *shape))


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None) -> Any:
    """start, start + delta, … before the limit; one argument is the limit.

    Ints give int32 (int64 where needed), floats float32, unless a dtype is given. The bounds
    are static.
    """
    if limit is None:
        start, limit = 0, start
    bounds = [_static_number(v) for v in (start, limit, delta)]
    if bounds[2] == 0:
        raise InvalidArgumentError(at_user_line("Requires delta != 0: 0 [Op:Range]"))
    if dtype is None:
        given = [
            v
            for v in (start, limit, delta)
            if isinstance(v, (TensorBase, np.ndarray, np.generic))
        ]
        dtype = same_dtype(*given, *bounds)[0].dtype if given else as_tensor(bounds).dtype
    target = as_dtype(dtype)
    first, end, step = bounds
    quotient = -((first - end) // step) if _all_ints(bounds) else (end - first) / step
    numbers = _count_up(max(0, pymath.ceil(quotient)), "Range")
    if target.is_integer and numbers.size:
        last = first + (numbers.size - 1) * step
        if not (target.min <= first <= target.max and target.min <= last <= target.max):
            raise InvalidArgumentError(
                at_user_line(
                    f"{first} to {last} in steps of {step} leaves {target.name} [Op:Range]"
                )
            )
    wide: Any = np.float32 if target.name == "float32" else np.float64
    if _all_ints(bounds) and target.is_integer:  # modulo 2**64, which is right in 64 bits
        wide, first, step = np.uint64, first % 2**64, step % 2**64
    values = np.asarray(first, wide) + numbers.astype(wide) * np.asarray(step, wide)
    return wrap(values.astype(target.dtype))


def _all_ints(values: Any) -> bool:
    return all(isinstance(v, int) for v in values)


def _count_up(count: int, op: str) -> Any:
    """0, 1, … count - 1 in int64."""
    check_size((count,), int64, op)
    try:
        return np.arange(count)
    except MemoryError as error:
        raise OutOfMemoryError(
            at_user_line(f"no memory for {count} numbers [Op:{op}]")
        ) from error


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
    """As range, under NumPy's name."""
    return range(start, stop, step, dtype)


def _static_number(value: Any) -> Any:
    if isinstance(value, TensorBase):
        if value.recorder is not None:
            value.__index__()  # type: ignore[attr-defined]
        value = value.numpy()  # type: ignore[attr-defined]
    if isinstance(value, (np.ndarray, np.generic)) and value.size == 1:
        value = value.item()
    if not isinstance(value, (int, float)) or not -(2**63) <= value < 2**64:
        raise InvalidArgumentError(at_user_line(f"range of {value!r} [Op:Range]"))
    return value


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None
) -> Any:
    """Num evenly spaced values from start to stop (left out unless endpoint)."""
    count = as_int(num, "num", "LinSpace")
    if count < 0:
        raise InvalidArgumentError(at_user_line(f"Requires num >= 0: {num} [Op:LinSpace]"))
    first, last = same_dtype(start, stop)
    if not first.dtype.is_inexact:
        first, last = math.cast(first, float32), math.cast(last, float32)
    wide = math.cast(first, "float64") if first.dtype.is_floating else first
    steps = count - 1 if endpoint else count
    weights = math.divide(wrap(_count_up(count, "LinSpace")), max(steps, 1))
    weights = math.cast(weights, wide.dtype)
    column = (count,) + (1,) * first.ndim
    span = math.subtract(math.cast(last, wide.dtype), wide)
    values = math.add(wide, math.multiply(reshape(weights, column), span))
    values = math.cast(values, first.dtype)
    if endpoint and count > 1:  # the end exactly
        at_end = reshape(wrap(np.arange(count) == count - 1), column)
        values = math.where(at_end, last, values)
    return values if dtype is None else math.cast(values, dtype)


def tril(x: Any, k: int = 0) -> Any:
    """The lower triangle of the last two axes up to the k-th diagonal, else 0."""
    x = as_tensor(x)
    mask = _triangle(x, as_int(k, "k", "MatrixBandPart"))
    return math.where(mask, x, math.zeros_like_scalar(x))


def triu(x: Any, k: int = 0) -> Any:
    """The upper triangle of the last two axes from the k-th diagonal, else 0."""
    x = as_tensor(x)
    mask = _triangle(x, as_int(k, "k", "MatrixBandPart") - 1)
    return math.where(mask, math.zeros_like_scalar(x), x)


def _triangle(x: TensorBase, k: int) -> TensorBase:
    """Which elements of the last two axes are on or below the k-th diagonal."""
    if x.ndim < 2:
        raise InvalidArgumentError(
            at_user_line(
                f"input must be at least 2-dim, not of rank {x.ndim} [Op:MatrixBandPart]"
            )
        )
    rows, columns = x.type.shape[-2:]
    if is_symbolic((rows, columns)):
        last = wrap(np.array(max(-MAX_SIZE, min(k, MAX_SIZE)), np.int64))
        row, column = (iota((rows, columns), axis) for axis in (0, 1))
        mask: TensorBase = math.greater_equal(math.add(row, last), column)
        return mask
    return wrap(np.tri(rows, columns, max(-rows, min(k, columns)), dtype=np.bool_))
