"""How an op is carried out: `apply` runs it eagerly or records it in the trace.

Also what may stand for a tensor (`as_tensor`): tensors, variables, ndarrays, Python scalars
and nested lists, under TensorFlow's rules: a Python value adopts the dtype it meets, arrays
and tensors keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from graphjit.core.dims import Dim, is_symbolic
from graphjit.core.errors import (
    DTypeError,
    IndexOutOfRangeError,
    InvalidArgumentError,
    ShapeError,
    TensorIndexError,
    at_user_line,
)
from graphjit.core.types import (
    Array,
    DType,
    TensorShape,
    TensorType,
    TupleType,
    as_dtype,
    bool_,
    check_size,
    complex128,
    float32,
    float64,
    int32,
    int64,
    uint64,
)
from graphjit.ir.graph import Node
from graphjit.ir.interpreter import run_control, run_primitive
from graphjit.ops import assemble, view
from graphjit.ops import pointwise as pw
from graphjit.ops.primitive import Primitive

from .recording import recorders, recorders_of

# Inside a trace, results of constants alone are computed at once up to this size, and
# recorded above it, so that `zeros((1000, 1000))` is no constant of 4 MB.
TRACED_CONSTANT_BYTES = 1024
INT32_RANGE = range(-(2**31), 2**31)
INT64_RANGE = range(-(2**63), 2**63)
_FLOAT_LIMIT = int(np.finfo(np.float64).max)  # of the ints that Python converts to a float


class TensorBase:
    """What eager tensors, symbolic tensors and variables have in common."""

    __slots__ = ()

    # The trace that a symbolic tensor belongs to; None for a tensor with a value.
    recorder: Any = None
    # Whether this is an array whose length is known only at the call.
    is_selection = False
    # Whether this is a number of which a call says whether it is Python's or NumPy's.
    is_mixed = False
    # An operator asks the operand of highest precedence.
    precedence = 0
    type: TensorType

    def as_tensor(self) -> TensorBase:
        """The value now, for variables; the tensor itself otherwise."""
        return self

    @property
    def shape(self) -> TensorShape:
        """The extents."""
        return TensorShape(self.type.shape)

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.type.shape)

    def get_shape(self) -> TensorShape:
        """The extents, under TensorFlow's older name."""
        return self.shape

    def _require_attribute(self, name: str) -> None:
        """AttributeError where what this represents in a trace has no such attribute."""


# The trace that runs in this context, or None.
current_trace: ContextVar[Any] = ContextVar("graphjit_trace", default=None)


_makers: list[Callable[[Array], TensorBase]] = []


def register_tensor(maker: Callable[[Array], TensorBase]) -> None:
    """Name the function that makes an eager tensor of an array: `tensor.py` stands above this
    module.
    """
    _makers[:] = [maker]


def wrap(array: Array) -> TensorBase:
    """An eager tensor over an array that nobody else will write."""
    return _makers[0](array)


def as_tensor_error(error: IndexOutOfRangeError) -> TensorIndexError:
    """The error for an index outside a tensor: as in TensorFlow, an invalid argument."""
    return TensorIndexError(*error.args)


def apply(primitive: Primitive, *inputs: TensorBase, **attrs: Any) -> Any:
    """The primitive's result: recorded if an input is symbolic, else computed now."""
    for x in inputs:
        if x.recorder is not None:
            return x.recorder.record(primitive, inputs, attrs)
    types = [x.type for x in inputs]
    result = primitive.type(*types, **attrs)
    if isinstance(result, TensorType):
        check_size(result.shape, result.dtype, primitive.tensorflow)
        trace = current_trace.get()
        if trace is not None and (
            is_symbolic(result.shape) or result.nbytes > TRACED_CONSTANT_BYTES
        ):
            return trace.record(primitive, inputs, attrs)
    arrays = [x._array for x in inputs]  # type: ignore[attr-defined]
    try:
        value = run_primitive(primitive, arrays, result, attrs)
    except IndexOutOfRangeError as error:
        raise as_tensor_error(error) from None
    several = isinstance(result, TupleType)
    made = tuple(map(wrap, value)) if several else (wrap(value),)
    if recorders.get():
        for recorder in recorders_of(None):
            recorder.note(primitive, attrs, (), inputs, made)
    return made if several else made[0]


def apply_control(node: Node, inputs: Sequence[TensorBase]) -> tuple[TensorBase, ...]:
    """The results of a node of control flow, run eagerly."""
    arrays = [x._array for x in inputs]  # type: ignore[attr-defined]
    made = tuple(map(wrap, run_control(node, arrays)))
    for recorder in recorders_of(None):
        recorder.note(node.primitive, dict(node.attrs), node.regions, inputs, made)
    return made


def as_tensor(value: Any, dtype: DType | None = None) -> TensorBase:
    """The tensor that a value stands for.

    dtype: what Python scalars, lists and weak traced scalars become. Arrays and tensors of
    another dtype than that are the caller's to refuse.

    Raises InvalidArgumentError for a Python value that the dtype can't hold, for strings and
    for objects; ShapeError for ragged lists.
    """
    if isinstance(value, Dim):
        value = value._as_tensor()
    if isinstance(value, TensorBase):
        tensor = value.as_tensor()
        if tensor.recorder is not None and tensor.origin == "weak":  # type: ignore[attr-defined]
            return _adopt_weak(tensor, dtype)
        return tensor if tensor.recorder is None else tensor.recorder.as_operand(tensor)
    if isinstance(value, (np.ndarray, np.generic)):
        check_size(value.shape, as_dtype(value.dtype), "Const")
        if isinstance(value, np.ma.MaskedArray):
            raise InvalidArgumentError(
                at_user_line("a tensor has no mask", "fill the array first: x.filled(0)")
            )
        trace = current_trace.get()
        if trace is not None and isinstance(value, np.ndarray):
            captured: TensorBase = trace.as_operand(trace.capture(value))
            return captured
        return wrap(np.array(value, dtype=value.dtype.newbyteorder("="), order="C"))
    if isinstance(value, (bool, int, float, complex)):
        return wrap(scalar_array(value, dtype))
    if isinstance(value, (list, tuple)):
        return _from_sequence(value, dtype)
    if hasattr(value, "__array__") and not isinstance(value, type):
        return as_tensor(np.asarray(value), dtype)
    if isinstance(value, range):
        return _from_sequence(list(value), dtype)
    if hasattr(value, "__index__") and not isinstance(value, type):
        return wrap(scalar_array(value.__index__(), dtype))
    raise _no_tensor(value)


def real_number(extent: int) -> Any:
    """An extent as a Python float, a traced one if it is symbolic."""
    if not isinstance(extent, Dim):
        return float(extent)
    trace = current_trace.get()
    return float(extent) if trace is None else trace.extent_value(extent, float64)


def _no_tensor(value: Any) -> InvalidArgumentError:
    if isinstance(value, (str, bytes)):
        return InvalidArgumentError(
            at_user_line(
                f"strings are not supported ({value!r}): graphjit has tensors of numbers only"
            )
        )
    return InvalidArgumentError(
        at_user_line(
            f"Attempt to convert a value ({value!r}) with an unsupported type "
            f"({type(value).__name__}) to a Tensor"
        )
    )


def scalar_dtype(value: bool | int | float | complex) -> DType:
    """TensorFlow's dtype for a Python scalar."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        # `in` would ask an extent for its equality with every number of a range
        if INT32_RANGE.start <= value < INT32_RANGE.stop:
            return int32
        if INT64_RANGE.start <= value < INT64_RANGE.stop:
            return int64
        if 0 < value < 2**64:
            return uint64
        raise InvalidArgumentError(at_user_line(f"the integer {value} has no place in 64 bits"))
    return float32 if isinstance(value, float) else complex128


def scalar_array(value: Any, dtype: DType | None) -> Array:
    """A 0-d array of a Python scalar, which must fit the dtype."""
    if dtype is None:
        dtype = scalar_dtype(value)
    if not _fits(value, dtype):
        raise InvalidArgumentError(
            at_user_line(
                f"cannot convert {value!r} to a {dtype.tensorflow} tensor",
                "convert the tensor first: gj.cast",
            )
        )
    return _inexact(value, dtype) if dtype.is_inexact else np.array(value, dtype.dtype)


def _inexact(value: Any, dtype: DType) -> Array:
    """Python numbers in an inexact dtype; those that 64 bits hold are rounded once."""
    array = np.array(value)
    if array.dtype == np.object_:
        array = array.astype(np.complex128 if dtype.is_complex else np.float64)
    with np.errstate(over="ignore"):
        return array.astype(dtype.dtype)


def _fits(value: Any, dtype: DType) -> bool:
    """Whether a Python scalar may become the dtype without being changed in kind."""
    if isinstance(value, (bool, np.bool_)):
        return True
    if dtype.is_bool:
        return False
    if isinstance(value, (int, np.integer)):
        low, high = (
            (-_FLOAT_LIMIT, _FLOAT_LIMIT) if dtype.is_inexact else (dtype.min, dtype.max)
        )
        return bool(low <= value <= high)
    if isinstance(value, (float, np.floating)):
        return dtype.is_inexact
    return dtype.is_complex


def _adopt_weak(tensor: Any, dtype: DType | None) -> TensorBase:
    """A traced Python scalar as a tensor of the dtype it meets."""
    kind = tensor.type.dtype
    if dtype is None:
        dtype = {"b": bool_, "i": int32, "f": float32, "c": complex128}[kind.kind]
    allowed = {"b": "biufc", "i": "iufc", "f": "fc", "c": "c"}[kind.kind]
    if dtype.kind not in allowed:
        raise InvalidArgumentError(
            at_user_line(
                f"cannot convert a Python {_PYTHON[kind.kind]} to a {dtype.tensorflow} tensor"
            )
        )
    cast: TensorBase = tensor.recorder.record(pw.cast, (tensor,), {"dtype": dtype})
    return cast


_PYTHON = {"b": "bool", "i": "int", "f": "float", "c": "complex"}


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _shape_of(value: Any) -> tuple[int, ...]:
    if isinstance(value, (list, tuple)):
        inner = [_shape_of(item) for item in value]
        if any(shape != inner[0] for shape in inner):
            raise ShapeError(
                at_user_line("Can't convert non-rectangular Python sequence to Tensor.")
            )
        return (len(value), *(inner[0] if inner else ()))
    return tuple(np.shape(value)) if not isinstance(value, TensorBase) else tuple(value.shape)


def _from_sequence(value: Sequence[Any], dtype: DType | None) -> TensorBase:
    leaves = _leaves(value)
    if any(isinstance(leaf, (TensorBase, np.ndarray)) for leaf in leaves):
        return _stack(value, leaves, dtype)
    for leaf in leaves:
        if not isinstance(leaf, (bool, int, float, complex, np.generic)):
            raise _no_tensor(leaf)
    _shape_of(value)
    if dtype is None:
        dtype = _sequence_dtype(leaves)
    for leaf in leaves:
        if not _fits(leaf, dtype):
            raise InvalidArgumentError(
                at_user_line(
                    f"cannot convert {leaf!r} to a {dtype.tensorflow} tensor",
                    "convert the tensor first: gj.cast",
                )
            )
    if dtype.is_inexact and leaves:
        return wrap(_inexact(value, dtype))
    return wrap(np.array(value, dtype.dtype))


def _stack(value: Sequence[Any], leaves: list[Any], dtype: DType | None) -> TensorBase:
    """A list with tensors in it as one tensor."""
    if dtype is None:
        first = next(x for x in leaves if isinstance(x, (TensorBase, np.ndarray)))
        dtype = as_tensor(first).dtype
    _shape_of(value)
    items = [as_tensor(item, dtype) for item in value]
    rows = [apply(view.reshape, item, shape=(1, *item.type.shape)) for item in items]
    stacked: TensorBase = apply(assemble.concat, *rows, axis=0)
    return stacked


def _sequence_dtype(leaves: list[Any]) -> DType:
    if not leaves:
        return float32
    numpy_dtypes = [leaf.dtype for leaf in leaves if isinstance(leaf, np.generic)]
    if numpy_dtypes:
        return as_dtype(np.result_type(*numpy_dtypes))
    found = {scalar_dtype(leaf) for leaf in leaves}
    if bool_ in found and len(found) > 1:
        raise InvalidArgumentError(
            at_user_line("Can't convert Python sequence with mixed types to Tensor.")
        )
    order = (complex128, float32, uint64, int64, int32, bool_)
    return next(d for d in order if d in found)


def same_dtype(*values: Any) -> list[TensorBase]:
    """The operands as tensors; Python values adopt the dtype of the first tensor or array."""
    for value in values:
        if isinstance(value, TensorBase):
            if value.recorder is not None and value.origin == "weak":  # type: ignore[attr-defined]
                continue
            dtype = value.dtype
        elif isinstance(value, (np.ndarray, np.generic)):
            dtype = as_dtype(value.dtype)
        else:
            continue
        return [as_tensor(v, dtype) for v in values]
    first = as_tensor(values[0])
    if first.dtype.is_integer and any(_has_float(v) for v in values[1:]):
        first = as_tensor(values[0], float32)
    return [first, *(as_tensor(v, first.dtype) for v in values[1:])]


def _has_float(value: Any) -> bool:
    if isinstance(value, TensorBase):  # a traced number of Python's
        return value.recorder is not None and value.dtype.is_floating
    return isinstance(value, float) or (
        isinstance(value, (list, tuple)) and any(map(_has_float, _leaves(value)))
    )


def require_same_dtype_of_quotient(x: TensorBase, y: TensorBase) -> None:
    """TensorFlow's check for `/`, which raises TypeError where others raise ValueError."""
    if x.dtype is not y.dtype:
        raise DTypeError(
            at_user_line(
                f"`x` and `y` must have the same dtype, got {x.dtype!r} != {y.dtype!r}.",
                f"convert one of them: gj.cast(x, {y.dtype!r})",
            )
        )
