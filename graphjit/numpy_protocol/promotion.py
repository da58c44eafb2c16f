"""NumPy's view of operands: arrays, weak scalars, promotion, casts, static options.

Handlers work on tensors that `array` or `convert` gave, never on weak ones, and raise
`ShapeError`, `DTypeError` or NumPy's own AxisError where NumPy raises ValueError, TypeError
or AxisError. Whatever else goes wrong in them is turned into TracingError by
`fallback_on_error`: then the function falls back to NumPy itself, which knows best.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from numpy.exceptions import AxisError
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from graphjit.core.dims import Dim, is_symbolic
from graphjit.core.errors import (
    DTypeError,
    IndexOutOfRangeError,
    InternalError,
    OutOfMemoryError,
    ShapeError,
    TracingError,
    at_user_line,
)
from graphjit.core.frozen import dataclass
from graphjit.core.types import (
    SECOND_LONGS,
    DType,
    Shape,
    as_dtype,
    broadcast_shapes,
    float32,
    float64,
    int64,
)
from graphjit.functions import shape
from graphjit.ops import pointwise as pw
from graphjit.ops.failures import FOR_PYTHON
from graphjit.tensors.apply import TensorBase, apply, as_tensor, current_trace, wrap

Handler = Callable[..., Any]
NO_VALUE: Any = np._NoValue
_WEAK: dict[str, Any] = {"b": np.dtype(bool), "i": int, "f": float, "c": complex}
_SAMPLES: dict[Any, Any] = {int: 0, float: 0.0, complex: 0j}
_DELIBERATE = (
    TracingError, ShapeError, DTypeError, IndexOutOfRangeError, OutOfMemoryError, InternalError,
    AxisError, OverflowError, ZeroDivisionError, np.linalg.LinAlgError, MemoryError,
)  # fmt: skip


def unsupported(what: str) -> TracingError:
    """The error for what NumPy does and tracing doesn't."""
    return TracingError(
        at_user_line(
            f"{what} of a traced array can't be traced",
            "let the function fall back to eager mode, or write it otherwise",
        )
    )


@contextmanager
def fallback_on_error(what: str) -> Iterator[None]:
    """Let NumPy's own errors through and turn all others into TracingError."""
    try:
        yield
    except _DELIBERATE:
        raise
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise TracingError(
            at_user_line(f"{what} can't be traced with these arguments: {reason}")
        ) from error


def is_symbol(value: Any) -> bool:
    """Whether a value is known only when the graph runs."""
    return isinstance(value, TensorBase) and value.recorder is not None


def is_weak_symbol(value: Any) -> bool:
    """Whether a value is a traced Python scalar."""
    return is_symbol(value) and value.origin == "weak"


def is_python_scalar(value: Any) -> bool:
    """Whether a value is a Python number, weak in NumPy's promotion."""
    return isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic)


def need_value(value: Any, what: str) -> NoReturn:
    """Say that Python needs the value of a traced operand."""
    raise value._needs_value(what)


def leaves(value: Any) -> Iterator[Any]:
    """The values in nested lists and tuples."""
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def symbols(value: Any) -> Iterator[Any]:
    """The symbolic tensors in nested lists, tuples and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    for leaf in leaves(value):
        if is_symbol(leaf):
            yield leaf


def trace_of(*values: Any) -> Any:
    """The trace that the symbols among these belong to, else the current one."""
    for symbol in symbols(values):
        return symbol.recorder
    return current_trace.get()


def array(value: Any, dtype: Any = None) -> Any:
    """What np.asarray makes of a value: a tensor of NumPy's dtype, never weak."""
    tensor = _as_array(value)
    return tensor if dtype is None else cast(tensor, target_dtype(dtype))


def _as_array(value: Any) -> Any:
    if type(value) is Dim:
        return strong(value._as_tensor())
    if isinstance(value, TensorBase):
        tensor: Any = value.as_tensor()
        if tensor.is_mixed:
            tensor = tensor.settled() if tensor.whole else tensor.as_numpy()
        return strong(tensor) if is_weak_symbol(tensor) else tensor
    if isinstance(value, np.ndarray):
        if type(value) not in (np.ndarray, np.memmap):
            raise unsupported(f"a {type(value).__name__} in an operation")
        return as_tensor(value)
    if isinstance(value, np.generic):
        return wrap(np.array(value))
    if isinstance(value, (list, tuple)) and any(
        isinstance(leaf, (TensorBase, np.ndarray)) for leaf in leaves(value)
    ):
        return _stacked(value)
    if is_python_scalar(value) or isinstance(value, (list, tuple, range)):
        try:
            found = np.array(value)
        except ValueError as error:
            raise ShapeError(at_user_line(str(error))) from error
        return wrap(found)
    raise unsupported(f"an operand of type {type(value).__name__}")


def strong(weak: Any) -> Any:
    """A traced Python scalar as the 0-d array that np.asarray makes of it."""
    if weak.is_mixed:
        weak = weak.settled()
    return type(weak)(weak.recorder, weak.node, weak.type, "numpy")


def _strong_dtype(value: Any) -> np.dtype[Any]:
    """The dtype that a value has as an array: Python's numbers aren't weak in one."""
    if type(value) is Dim:
        return int64.dtype
    if is_symbol(value):
        if value.is_mixed:
            value = value.settled()
        found: np.dtype[Any] = value.type.dtype.dtype
        return found
    part = promotion_part(value)
    return part if isinstance(part, np.dtype) else np.array(value).dtype


def _stacked(value: Sequence[Any]) -> Any:
    dtype = as_dtype(np.result_type(*map(_strong_dtype, leaves(value))))

    def stack(item: Any) -> Any:
        if not isinstance(item, (list, tuple)):
            return convert(item, dtype)
        rows = [stack(part) for part in item]
        if any(row.type.shape != rows[0].type.shape for row in rows):
            raise ShapeError(at_user_line("setting an array element with a sequence"))
        return shape.stack(rows) if rows else wrap(np.zeros(0, dtype.dtype))

    return stack(value)


def promotion_part(value: Any) -> Any:
    """An operand as NumPy's resolvers take it: a dtype, or int, float, complex if weak."""
    if is_symbol(value) and value.is_mixed:
        value = value.settled()
    if is_weak_symbol(value):
        return _WEAK[value.type.dtype.kind]
    if isinstance(value, TensorBase):
        return value.type.dtype.dtype
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.newbyteorder("=")
    if is_python_scalar(value):
        return np.dtype(bool) if isinstance(value, bool) else type(value)
    return array(value).type.dtype.dtype


def result_dtype(*values: Any) -> DType:
    """NumPy's result type of tensors, arrays and (weak) Python scalars."""
    parts = [promotion_part(v) for v in values]
    return as_dtype(np.result_type(*(_SAMPLES.get(part, part) for part in parts)))


def target_dtype(dtype: Any) -> DType:
    """A dtype as NumPy understands it: float means float64."""
    if isinstance(dtype, DType):
        return dtype
    try:
        # a class of dtypes, such as np.dtypes.Float64DType, has one
        one = isinstance(dtype, type) and issubclass(dtype, np.dtype)
        found: np.dtype[Any] = dtype() if one else np.dtype(dtype)
    except TypeError as error:
        raise DTypeError(at_user_line(str(error))) from error
    if not found.isnative or found.char in SECOND_LONGS:
        raise unsupported(f"dtype {found!r}")
    return as_dtype(found)


def cast(tensor: Any, dtype: DType) -> Any:
    """A tensor as NumPy's astype converts it."""
    before = tensor.type.dtype
    if before.is_complex and not (dtype.is_complex or dtype.is_bool):
        raise unsupported("complex numbers as real ones, of which NumPy warns,")
    return tensor if before is dtype else apply(pw.cast, tensor, dtype=dtype)


def convert(value: Any, dtype: DType) -> Any:
    """A value as an operand of a loop of this dtype; out-of-range Python ints overflow."""
    value = unmixed(value, dtype)
    if is_weak_symbol(value):
        return _convert_weak(value, dtype)
    if is_python_scalar(value):
        return constant(value, dtype)
    return cast(array(value), dtype)


def unmixed(value: Any, dtype: DType) -> Any:
    """A number of which a call says whose it is, where it becomes the same element of this
    dtype in any case; else what it is in the call that is traced.
    """
    if not is_symbol(value) or not value.is_mixed:
        return value
    same = dtype.is_inexact or (value.type.dtype is dtype and not value.whole)
    return value.as_numpy() if same else value.settled()


def constant(value: Any, dtype: DType) -> Any:
    """A 0-d constant of a Python number; OverflowError where NumPy raises it. Of an extent its
    value at the call, where every size has one.
    """
    if type(value) is Dim and (dtype.is_inexact or dtype == int64):
        return cast(strong(value._as_tensor()), dtype)
    if type(value) in (bool, float) and -1e4 < value < 1e4:  # overflows nowhere
        return wrap(np.array(value, dtype.dtype))
    with np.errstate(all="ignore"):
        return wrap(np.array(value, dtype.dtype))


def element(value: Any, dtype: DType) -> Any:
    """A value as NumPy puts it into one element: an error for what has several."""
    if is_symbol(value):
        if value.type.shape:
            raise ShapeError(at_user_line("setting an array element with a sequence."))
        return convert(value, dtype)
    held = np.zeros(1, dtype.dtype)
    with np.errstate(all="ignore"):
        held[0] = value
    return wrap(held.reshape(()))


def chosen(value: Any, dtype: DType) -> Any:
    """A value as np.where casts it: NumPy 2.5 refuses Python ints that don't fit, before it
    they wrapped; so NumPy itself is asked.
    """
    if is_weak_symbol(value):
        return cast(strong(value), dtype)
    if is_python_scalar(value):
        with np.errstate(all="ignore"):
            return wrap(
                np.asarray(np.where(True, value, np.zeros((), dtype.dtype)), dtype.dtype)
            )
    return convert(value, dtype)


def _convert_weak(value: Any, dtype: DType) -> Any:
    kind = value.type.dtype.kind
    tensor = strong(value)
    if kind == "c" and dtype.is_bool:
        need_value(value, "a Python complex that becomes bool")
    if kind == "c" and not dtype.is_complex:
        raise DTypeError(at_user_line("float() argument must be a real number, not 'complex'"))
    if dtype.is_integer and dtype is not int64 and kind == "i":
        if value.recorder.branches.enabled:
            return _fitting(tensor, dtype)
        need_value(value, f"a Python int that must fit {dtype.name}")
    if dtype.is_integer and kind in "fc":
        need_value(value, f"a Python float that becomes {dtype.name}")
    if kind == "i" and dtype.is_inexact:
        tensor = cast(tensor, float64)
    return cast(tensor, dtype)


def _fitting(whole: Any, dtype: DType) -> Any:
    """An integer of Python's in a smaller dtype; one that doesn't fit is left to Python."""
    info = np.iinfo(dtype.dtype)
    failing = apply(pw.lt, whole, constant(info.min, int64))
    if info.max < 2**63:
        above = apply(pw.gt, whole, constant(int(info.max), int64))
        failing = apply(pw.bit_or, failing, above)
    made = apply(pw.unless, cast(whole, dtype), failing, reason=FOR_PYTHON)
    made.recorder.branches.may_need_python = True
    return made.recorder.note_checked(made)


def promoted(*values: Any, dtype: Any = None) -> list[Any]:
    """The operands as tensors of the one dtype that NumPy's promotion gives them."""
    target = target_dtype(dtype) if dtype is not None else result_dtype(*values)
    return [convert(v, target) for v in values]


def inexact(x: Any) -> Any:
    """A tensor as floating-point numbers, integers as float64."""
    return x if x.type.dtype.is_inexact else cast(x, float64)


def truth(x: Any) -> Any:
    """Whether each element isn't 0 (NaN is true)."""
    x = array(x)
    return x if x.type.dtype.is_bool else apply(pw.ne, x, constant(0, x.type.dtype))


def single(function: Callable[..., Any]) -> Callable[..., Any]:
    """A composition that computes float16 and bfloat16 in float32, as NumPy's and ml_dtypes'
    loops do.
    """

    def wide(*tensors: Any) -> Any:
        narrow = tensors[0].type.dtype
        if not narrow.is_narrow:
            return function(*tensors)
        return back(function(*(cast(t, float32) for t in tensors)), narrow)

    def back(result: Any, narrow: DType) -> Any:
        if isinstance(result, tuple):
            return tuple(back(r, narrow) for r in result)
        return cast(result, narrow) if result.type.dtype is float32 else result

    return wide


def static_int(value: Any) -> int:
    """A Python int, or a symbolic extent; a traced one becomes static."""
    if isinstance(value, (bool, np.bool_)):  # an int to some of NumPy's functions only
        raise unsupported("an option that is a bool")
    if isinstance(value, Dim):
        return value
    try:
        return operator.index(value)
    except TypeError as error:
        raise DTypeError(at_user_line(str(error))) from error


def static_ints(value: Any) -> tuple[int, ...]:
    """A tuple of Python ints from one or several."""
    if isinstance(value, TensorBase) and value.type.shape:
        if value.recorder is not None:
            need_value(value, "a static option")
        value = value.numpy()  # type: ignore[attr-defined]
    if isinstance(value, (np.ndarray, range)):
        value = list(value)
    if isinstance(value, (list, tuple)):
        return tuple(static_int(v) for v in value)
    return (static_int(value),)


def static_number(value: Any) -> Any:
    """A number whose value Python knows; a traced one becomes static."""
    if is_symbol(value):
        need_value(value, "a static option")
    return value


def axis_of(axis: Any, ndim: int) -> int:
    """An axis counted from the start; AxisError if there is none."""
    if isinstance(axis, (tuple, list)):
        raise unsupported("several axes in place of one")
    return int(normalize_axis_index(static_int(axis), ndim))


def indexed_axis(axis: Any, ndim: int) -> int:
    """The same where NumPy takes an item of the shape: IndexError if there is none."""
    try:
        return axis_of(axis, ndim)
    except AxisError as error:
        raise IndexOutOfRangeError(at_user_line(str(error))) from error


def axes_of(axis: Any, ndim: int) -> Shape:
    """Axes counted from the start, None for all; AxisError or ValueError as in NumPy."""
    if axis is None:
        return tuple(range(ndim))
    try:
        return tuple(int(a) for a in normalize_axis_tuple(static_ints(axis), ndim))
    except AxisError:
        raise
    except ValueError as error:
        raise ShapeError(at_user_line(str(error))) from error


def refuse(**options: Any) -> None:
    """Raise TracingError for options that are neither None, np._NoValue nor their default.

    Each option is given as (value, *values that are the default).
    """
    for name, (value, *defaults) in options.items():
        if value is None or value is NO_VALUE:
            continue
        if is_symbol(value) or isinstance(value, np.ndarray):
            raise unsupported(f"{name}=")
        if not any(value is d or value == d for d in defaults):
            raise unsupported(f"{name}={value!r}")


def refuse_order(order: Any) -> None:
    """Raise TracingError for a memory order that would be seen in the result."""
    refuse(order=(order, "C", "K", "A"))


def broadcast_shape(*shapes: Shape) -> Shape:
    """NumPy's broadcast of shapes; ValueError where they don't fit."""
    longer = {shape for shape in shapes if shape}
    if len(longer) <= 1:
        return longer.pop() if longer else ()
    try:
        if any(map(is_symbolic, shapes)):
            return broadcast_shapes(shapes, "BroadcastTo")
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError as error:
        texts = " ".join(str(tuple(s)).replace(" ", "") for s in shapes)
        raise ShapeError(
            at_user_line(f"operands could not be broadcast together with shapes {texts}")
        ) from error


def broadcast(x: Any, wanted: Shape) -> Any:
    """A tensor broadcast to a shape; ValueError where it doesn't fit."""
    if broadcast_shape(x.type.shape, wanted) != tuple(wanted):
        raise ShapeError(
            at_user_line(f"could not broadcast from shape {x.type.shape} into {tuple(wanted)}")
        )
    return shape.broadcast_to(x, wanted)


def detached(value: Any) -> Any:
    """The value with each array in it under a new handle: nothing done to it is a view."""
    if is_symbol(value):
        if value.is_mixed or value.origin == "weak":
            return value
        made = type(value)(value.recorder, value.node, value.type, value.origin)
        if value.is_zero_dim_array():
            made.mark_as_array()
        return made
    if type(value) in (list, tuple):
        return type(value)(detached(v) for v in value)
    if type(value) is dict:
        return {k: detached(v) for k, v in value.items()}
    return value


def owned(value: Any, trace: Any) -> Any:
    """The result with each tensor in it as an array of its own, of the trace's origin now."""
    if isinstance(value, TensorBase):
        if value.is_selection:
            return value
        return trace.symbol(trace.node_of(value), value.type)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(owned(v, trace) for v in value))
    if type(value) in (list, tuple):
        return type(value)(owned(v, trace) for v in value)
    return value


@dataclass(frozen=True, slots=True)
class Aliased:
    """A result that in NumPy is the argument itself, or a view of it, this time."""

    value: Any


def viewing(
    value: Any,
    bases: Sequence[Any],
    trace: Any,
    key: Any = None,
    frozen: bool = False,
    renewed: bool = False,
) -> Any:
    """The result with each tensor in it as a view of the bases: base[key], if there is a key.

    frozen: the views are read-only. renewed: a view of all of an array is another object.
    """
    if isinstance(value, TensorBase):
        own = is_symbol(value) and value.origin == "numpy"  # type: ignore[attr-defined]
        whole = own and not frozen and any(value is base for base in bases)
        if whole and value._is_scalar():  # type: ignore[attr-defined]
            return owned(value, trace)
        if whole and not renewed:
            return value
        view: Any = value if own and not frozen and not whole else owned(value, trace)
        key = Ellipsis if whole else key
        for base in bases:
            view._become_view_of(base, key, frozen)
        if len(bases) > 1:
            for base in bases:
                base.storage.shared = True
        return view
    if type(value) in (list, tuple):
        return type(value)(viewing(v, bases, trace, key, frozen, renewed) for v in value)
    return value
