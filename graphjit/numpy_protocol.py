"""What NumPy's functions, ufuncs, methods and operators do with traced arrays.

A symbolic tensor of NumPy origin answers `__array_ufunc__` and `__array_function__` from the
tables here: dtypes are promoted by NumPy 2's rules (Python scalars are weak), then the same
primitives are recorded that the `gj` functions record. What isn't in the tables raises
TracingError, and the function falls back to eager mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .dispatch import TensorBase, apply, as_tensor, scalar_array, wrap
from .errors import TracingError, at_user_line
from .functions import index, linalg, math
from .ops import pointwise as pw
from .types import DType, as_dtype, float64

Handler = Callable[..., Any]

_PYTHON_SCALARS = {"b": False, "i": 0, "f": 0.0, "c": 0j}


def promoted(*values: Any, dtype: Any = None) -> list[TensorBase]:
    """The operands as tensors of the one dtype that NumPy's promotion gives them."""
    target = as_dtype(dtype) if dtype is not None else result_dtype(*values)
    return [convert(v, target) for v in values]


def result_dtype(*values: Any) -> DType:
    """NumPy's result type of tensors, arrays and (weak) Python scalars."""
    parts: list[Any] = []
    for value in values:
        if getattr(value, "origin", None) == "weak":
            parts.append(_PYTHON_SCALARS[value.type.dtype.kind])
        elif isinstance(value, TensorBase):
            parts.append(value.type.dtype.dtype)
        elif isinstance(value, (np.ndarray, np.generic)):
            parts.append(value.dtype)
        elif isinstance(value, (bool, int, float, complex)):
            parts.append(value)
        else:
            parts.append(np.asarray(value).dtype)
    return as_dtype(np.result_type(*parts))


def convert(value: Any, dtype: DType) -> TensorBase:
    """A value as a tensor of a dtype, cast as NumPy casts."""
    if isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic):
        return wrap(scalar_array(value, dtype))
    if isinstance(value, TensorBase):
        value = value.as_tensor()
        return value if value.type.dtype is dtype else apply(pw.cast, value, dtype=dtype)
    if isinstance(value, (list, tuple)):
        value = np.asarray(value)
    tensor = as_tensor(value)
    return tensor if tensor.type.dtype is dtype else apply(pw.cast, tensor, dtype=dtype)


def inexact(dtype: DType) -> DType:
    """The floating-point dtype in which NumPy computes, say, exp of this dtype."""
    if dtype.is_inexact:
        return dtype
    return as_dtype(np.exp(np.zeros(1, dtype.dtype)).dtype) if dtype.size <= 2 else float64


def _unary(function: Callable[[Any], Any]) -> Handler:
    return lambda x: function(promoted(x)[0])


def _float_unary(function: Callable[[Any], Any]) -> Handler:
    def handler(x: Any) -> Any:
        return function(convert(x, inexact(result_dtype(x))))

    return handler


def _binary(function: Callable[[Any, Any], Any]) -> Handler:
    return lambda x, y: function(*promoted(x, y))


def _float_binary(function: Callable[[Any, Any], Any]) -> Handler:
    def handler(x: Any, y: Any) -> Any:
        dtype = inexact(result_dtype(x, y))
        return function(convert(x, dtype), convert(y, dtype))

    return handler


def _divided(primitive: Any) -> Handler:
    return lambda x, y: apply(primitive, *promoted(x, y), strict=False)


UFUNCS: dict[Any, Handler] = {
    np.add: _binary(lambda x, y: math.logical_or(x, y) if x.dtype.is_bool else math.add(x, y)),
    np.subtract: _binary(math.subtract),
    np.multiply: _binary(
        lambda x, y: math.logical_and(x, y) if x.dtype.is_bool else math.multiply(x, y)
    ),
    np.divide: _float_binary(math.divide),
    np.floor_divide: _divided(pw.floordiv),
    np.remainder: _divided(pw.mod),
    np.fmod: _divided(pw.fmod),
    np.power: _binary(math.pow),
    np.matmul: _binary(linalg.matmul),
    np.negative: _unary(math.negative),
    np.absolute: _unary(math.abs),
    np.exp: _float_unary(math.exp),
    np.log: _float_unary(math.log),
    np.sqrt: _float_unary(math.sqrt),
    np.tanh: _float_unary(math.tanh),
    np.maximum: _binary(math.maximum),
    np.minimum: _binary(math.minimum),
    np.equal: _binary(math.equal),
    np.not_equal: _binary(math.not_equal),
    np.less: _binary(math.less),
    np.less_equal: _binary(math.less_equal),
    np.greater: _binary(math.greater),
    np.greater_equal: _binary(math.greater_equal),
    np.bitwise_and: _binary(math.bitwise_and),
    np.bitwise_or: _binary(math.bitwise_or),
    np.bitwise_xor: _binary(math.bitwise_xor),
    np.invert: _unary(lambda x: math.logical_not(x) if x.dtype.is_bool else math.bitwise_not(x)),
    np.left_shift: _binary(math.left_shift),
    np.right_shift: _binary(math.right_shift),
}

FUNCTIONS: dict[Any, Handler] = {}

ATTRIBUTES: dict[str, Callable[[Any], Any]] = {}

OPERATORS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power, "matmul": np.matmul,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "neg": np.negative, "abs": np.absolute, "invert": np.invert,
}  # fmt: skip


def call_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of a ufunc of which a traced array is an operand."""
    handler = UFUNCS.get(ufunc)
    if handler is None or method != "__call__" or kwargs:
        raise _unsupported(f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else ""))
    return handler(*inputs)


def call_function(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of a NumPy function of which a traced array is an argument."""
    handler = FUNCTIONS.get(func)
    if handler is None:
        raise _unsupported(f"np.{func.__name__}")
    return handler(*args, **kwargs)


def _unsupported(what: str) -> TracingError:
    return TracingError(at_user_line(f"{what} of a traced array can't be traced (yet)"))


def attribute(x: TensorBase, name: str) -> Any:
    """An ndarray's attribute or method."""
    return ATTRIBUTES[name](x)


def getitem(x: TensorBase, key: Any) -> Any:
    """x[key]."""
    return index.getitem(x, key)


def setitem(x: TensorBase, key: Any, value: Any) -> Any:
    """x as it is after x[key] = value, which NumPy casts without asking."""
    return index.setitem(x, key, convert(value, x.type.dtype))


def same_kind(result: TensorBase, x: TensorBase) -> Any:
    """The result of an in-place operator in x's dtype, if NumPy allows the cast."""
    if not np.can_cast(result.type.dtype.dtype, x.type.dtype.dtype, "same_kind"):
        raise TracingError(at_user_line(f"{result.type.dtype.name} into {x.type.dtype.name}"))
    if result.type.shape != x.type.shape:
        raise TracingError(at_user_line("an in-place operator that changes the shape"))
    return convert(result, x.type.dtype)
