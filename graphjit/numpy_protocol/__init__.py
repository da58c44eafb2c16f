"""What NumPy's functions, ufuncs, methods and operators do with traced arrays.

A symbolic tensor of NumPy origin answers `__array_ufunc__` and `__array_function__` from the
tables of this package: dtypes are promoted by NumPy 2's rules (Python scalars are weak), then
the same primitives are recorded that the `gj` functions record. What the tables or their
handlers don't do raises TracingError, and the function falls back to eager mode.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import DTypeError, ShapeError, TracingError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.functions import shape
from graphjit.ops import library
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import TensorBase, apply

from . import (
    bounded_arrays,
    bounded_functions,
    bounded_indexing,
    creation,
    elementwise,
    indexing,
    joins,
    linear,
    masked_arrays,
    methods,
    missing,
    order,
    products,
    reductions,
    repetition,
    scipy_calls,
    series,
    shapes,
    statistics,
)
from .byte_order import keep_order
from .promotion import (
    Aliased,
    Handler,
    array,
    broadcast_shape,
    cast,
    convert,
    detached,
    fallback_on_error,
    is_symbol,
    is_weak_symbol,
    owned,
    promoted,
    refuse,
    refuse_order,
    result_dtype,
    strong,
    symbols,
    trace_of,
    unsupported,
    viewing,
)
from .scalars import run_checked, run_python
from .ufunc_methods import outer, run_accumulate, run_at, run_reduce, run_reduceat
from .ufuncs import UFUNCS, operator_power, run_ufunc, scalar_power, shape_of

OPERATORS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power, "matmul": np.matmul,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert,
}  # fmt: skip
VIEWS: dict[Any, Handler] = {}
for _views in (
    shapes.VIEWS,
    joins.VIEWS,
    creation.VIEWS,
    elementwise.VIEWS,
    linear.VIEWS,
):
    VIEWS |= _views
FUNCTIONS: dict[Any, Handler] = {}
for _functions in (
    reductions.FUNCTIONS,
    missing.FUNCTIONS,
    statistics.FUNCTIONS,
    order.FUNCTIONS,
    shapes.FUNCTIONS,
    joins.FUNCTIONS,
    repetition.FUNCTIONS,
    creation.FUNCTIONS,
    elementwise.FUNCTIONS,
    series.FUNCTIONS,
    products.FUNCTIONS,
    linear.FUNCTIONS,
    indexing.FUNCTIONS,
    bounded_functions.COUNTING,
):
    FUNCTIONS |= _functions
READ_ONLY = {
    np.broadcast_to, np.broadcast_arrays, np.diagonal, np.diag, np.imag, np.linalg.diagonal,
}  # fmt: skip
ALIKE = getattr(np, "astype", None)  # gives a NumPy scalar of one, an array of an array
ELEMENTS = getattr(np, "unstack", None)  # gives scalars for an array with one axis
# Views that are the array itself where there is nothing to do; others are always new objects.
ITSELF = {
    np.asarray, np.asanyarray, np.ascontiguousarray, np.atleast_1d, np.atleast_2d,
    np.atleast_3d, np.broadcast_arrays, np.real, np.real_if_close, np.squeeze,
    "conj", "conjugate", "real", "squeeze", "to_device",
}  # fmt: skip
# Functions whose results are Python's bools, and those whose results without axes are arrays.
PYTHON_BOOLS = {np.allclose, np.array_equal, np.array_equiv}
ARRAYS = {
    np.where, np.select, np.pad, np.cov, np.argsort, np.delete, np.resize, np.tile,
    np.tensordot, np.linalg.tensordot, np.roll, np.isin, np.i0, np.block, np.expand_dims,
    np.real_if_close,
}  # fmt: skip
_REDUCING: dict[str, Handler] = {
    "reduce": run_reduce, "accumulate": run_accumulate, "reduceat": run_reduceat,
}  # fmt: skip
ATTRIBUTES = dict.fromkeys(methods.KNOWN | methods.UNKNOWN)


def call_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of a ufunc of which a traced array is an operand."""
    if bounded_arrays.has_bounded(inputs):
        return bounded_arrays.call_ufunc(ufunc, method, inputs, kwargs)
    what = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else "")
    trace = trace_of(tuple(inputs), tuple(kwargs.values()))
    inputs = [trace.extent_value(x) if isinstance(x, Dim) else x for x in inputs]
    with fallback_on_error(what):
        if trace.origin == "weak":
            result = trace.with_numpy_rules(lambda: run_python(ufunc, tuple(inputs)))
            return owned(result, trace)
        plain = [detached(x) for x in inputs]
        options = dict(kwargs)
        if method == "__call__":
            return _call(ufunc, plain, options, trace)
        if method == "outer" and len(plain) == 2:
            dtype = options.pop("dtype", None)
            _refuse_options(options)
            return owned(outer(ufunc, plain[0], plain[1], dtype), trace)
        if method == "at":
            target = inputs[0]
            if not is_symbol(target) or target.origin != "numpy":
                raise unsupported(f"{what} of an array that isn't traced")
            target._require_writable(what)
            indexing.replace(target, run_at(ufunc, *plain))
            return None
        if method in _REDUCING:
            target = _taken_out(options)
            if target is not None:
                return _put(target, call_ufunc(ufunc, method, inputs, options))
            run = _REDUCING[method]
            return owned(run(ufunc, *plain, **options), trace)
        raise unsupported(what)


def call_operator(ufunc: Any, inputs: Sequence[Any], trace: Any) -> Any:
    """The result of an operator that is a ufunc, on operands of which one is traced."""
    inputs = [trace.extent_value(x) if isinstance(x, Dim) else x for x in inputs]
    with fallback_on_error(f"np.{ufunc.__name__}"):
        if trace.origin == "weak":
            result = trace.with_numpy_rules(lambda: run_python(ufunc, tuple(inputs)))
        elif ufunc is np.matmul and not all(len(shape_of(x)) for x in inputs):
            raise unsupported("@ of an operand without axes")
        elif ufunc is np.power:
            base, exponent = inputs
            scalar = is_symbol(base) and not is_weak_symbol(base) and base._is_scalar()
            function = scalar_power if scalar else operator_power
            result = function(detached(base), detached(exponent))
        else:
            result = run_ufunc(ufunc, *[detached(x) for x in inputs])
        return owned(result, trace)


def checked_integer(ufunc: Any, inputs: Sequence[Any], trace: Any) -> Any:
    """The result of an operator on Python's integers, which a call leaves to Python where it
    may have more than 64 bits.
    """
    inputs = [trace.extent_value(x) if isinstance(x, Dim) else x for x in inputs]
    with fallback_on_error(f"np.{ufunc.__name__}"):
        result = trace.with_numpy_rules(lambda: run_checked(ufunc, tuple(inputs)))
        return owned(result, trace)


def _call(ufunc: Any, inputs: list[Any], options: dict[str, Any], trace: Any) -> Any:
    out = options.pop("out", None)
    mask = options.pop("where", True)
    dtype = options.pop("dtype", None)
    _refuse_options(options)
    targets = out if isinstance(out, tuple) else (out,) * (out is not None)
    targets = tuple(t for t in targets if t is not None)
    if mask is not True and (not targets or ufunc.nout != 1):
        raise unsupported("where= without out=, which leaves elements unset,")
    result = run_ufunc(ufunc, *inputs, dtype=dtype)
    if not targets:
        return owned(result, trace)
    results = result if isinstance(result, tuple) else (result,)
    if len(targets) != len(results):
        raise unsupported("out= for some of the results")
    for target, value in zip(targets, results, strict=True):
        _store(target, value, detached(mask))
    return targets if len(targets) > 1 else targets[0]


def _refuse_options(options: dict[str, Any]) -> None:
    refuse_order(options.pop("order", None))
    refuse(casting=(options.pop("casting", None), "same_kind"))
    refuse(subok=(options.pop("subok", None), True))
    refuse(**{name: (value,) for name, value in options.items()})


def _store(target: Any, value: Any, mask: Any) -> None:
    """Put a ufunc's result into its out= array, which must be traced and nobody else's."""
    if not is_symbol(target) or target.origin != "numpy":
        raise unsupported("out= that isn't a traced array")
    target._require_writable("out=")
    source, dtype = value.type.dtype, target.type.dtype
    if not np.can_cast(source.dtype, dtype.dtype, "same_kind"):
        raise DTypeError(
            at_user_line(f"Cannot cast ufunc output from {source.name} to {dtype.name}")
        )
    if broadcast_shape(value.type.shape, target.type.shape) != target.type.shape:
        raise ShapeError(at_user_line("non-broadcastable output operand"))
    value = shape.broadcast_to(cast(value, dtype), target.type.shape)
    if mask is not True:
        chosen = shape.broadcast_to(array(mask), target.type.shape)
        value = apply(pw.where, chosen, value, detached(target))
    indexing.replace(target, value)


def _taken_out(options: dict[str, Any]) -> Any:
    """The traced array that is given as out=, taken out of the options; None if none is."""
    out: Any = options.get("out")
    if isinstance(out, tuple) and len(out) == 1:
        out = out[0]
    if not is_symbol(out) or out.origin != "numpy":
        return None
    del options["out"]
    return out


def _put(target: Any, value: Any) -> Any:
    """Put a function's result into its out= array, if it is of the same dtype and shape: of
    others it depends on the function what is computed.
    """
    same = is_symbol(value) and value.type.dtype is target.type.dtype
    if not same or value.type.shape != target.type.shape or target.swapped:
        raise unsupported("out= of another dtype or shape than the result")
    target._require_writable("out=")
    indexing.replace(target, detached(value))
    return target


def _transforming(func: Any) -> Handler | None:
    """The handler of a function of np.fft, which takes 2 ms to load and few need."""
    if getattr(func, "__module__", "") != "numpy.fft":
        return None
    from . import fourier

    return fourier.FUNCTIONS.get(func)


def call_function(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of a NumPy function of which a traced array is an argument."""
    if bounded_arrays.has_bounded(args):
        return bounded_arrays.call_function(func, args, kwargs)
    what = f"{getattr(func, '__module__', 'np').replace('numpy', 'np')}.{func.__name__}"
    trace = trace_of(tuple(args), tuple(kwargs.values()))
    with fallback_on_error(what):
        _refuse_bools(kwargs)
        if func is np.nan_to_num and not elementwise.makes_copy(*args, **kwargs):
            return elementwise.nan_to_num_in_place(*args, **kwargs)
        options = dict(kwargs)
        target = _taken_out(options)
        if target is not None:
            return _put(target, call_function(func, args, options))
        handler = FUNCTIONS.get(func) or _transforming(func)
        if handler is not None:
            _check_options(handler, what, args, kwargs)
            plain = [detached(a) for a in args]
            result = handler(*plain, **{k: detached(v) for k, v in kwargs.items()})
            if isinstance(result, Aliased):
                bases = _bases(args)
                known = any(base.provenance is not None for base in bases)
                made = viewing(result.value, bases, trace, renewed=known or func is np.meshgrid)
                return _noted(made, trace, func, args, kwargs)
            made = owned(result, trace)
            keep_order(made, func, args, kwargs)
            if func in PYTHON_BOOLS and is_symbol(made):
                return trace.as_weak(made)
            contracted = func is np.einsum and products.as_tensordot(*args, **kwargs)
            kept: Any = func in (np.quantile, np.percentile, np.median) and kwargs.get(
                "keepdims"
            )
            arrays = func in creation.FUNCTIONS or func in ARRAYS or contracted or kept
            if arrays and not (func is ALIKE and args[0]._is_scalar()):
                _not_a_scalar(made)
            return made
        handler = VIEWS.get(func)
        if handler is not None:
            _check_options(handler, what, args, kwargs)
            bases, made = _bases(args), handler(*args, **kwargs)
            if func is ELEMENTS and made and not made[0].type.shape:
                return owned(made, trace)
            frozen = func in READ_ONLY and not _is_complex_part(func, bases)
            if func is np.broadcast_arrays:  # gives arrays of one shape as they are
                frozen = any(all(x is not base for base in bases) for x in made)
                if any(base._is_scalar() for base in bases):
                    raise unsupported("np.broadcast_arrays of a number")
            made = viewing(made, bases, trace, frozen=frozen, renewed=func not in ITSELF)
            if func in ARRAYS:
                _not_a_scalar(made)
            return _noted(made, trace, func, args, kwargs)
        handler = indexing.IN_PLACE.get(func)
        if handler is not None:
            _check_options(handler, what, args, kwargs)
            return handler(*args, **kwargs)
        if func.__name__ in library.ROUTINES["numpy"] and what == f"np.{func.__name__}":
            return owned(scipy_calls.called("numpy", func.__name__, args, kwargs), trace)
        raise unsupported(what)


def _refuse_bools(options: dict[str, Any]) -> None:
    """Leave to NumPy what it doesn't take for a number: most functions raise TypeError."""
    if isinstance(options.get("axis"), (bool, np.bool_)):
        raise unsupported("a bool as axis=")
    if isinstance(options.get("keepdims"), np.generic):
        raise unsupported("a NumPy scalar as keepdims=")
    if isinstance(options.get("where"), np.generic):
        raise unsupported("a NumPy scalar as where=")


def _is_complex_part(func: Any, bases: Sequence[Any]) -> bool:
    return func is np.imag and any(map(_is_complex, bases))


def _is_complex(x: Any) -> bool:
    return bool(x.type.dtype.kind == "c")


def _not_a_scalar(value: Any) -> None:
    """Keep a 0-d array from being taken for a scalar, which `+=` doesn't write into."""
    if is_symbol(value) and not value.type.shape:
        value.mark_as_array()


def _bases(args: Sequence[Any]) -> list[Any]:
    return [s for s in symbols(tuple(args)) if not is_weak_symbol(s)]


@cache
def _signature(handler: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(handler)


def _check_options(
    handler: Callable[..., Any], what: str, args: Sequence[Any], kwargs: dict[str, Any]
) -> None:
    """TracingError for arguments that NumPy has and the handler hasn't."""
    try:
        _signature(handler).bind(*args, **kwargs)
    except TypeError as error:
        raise unsupported(f"{what} with these arguments ({error})") from error


def attribute(x: Any, name: str) -> Any:
    """An ndarray's attribute or method."""
    trace = x.recorder
    if x.origin == "weak":
        if name not in methods.OF_SCALARS:
            raise AttributeError(f"a traced Python number has no attribute {name!r}")
        return _part_of_number(x, name)
    if name in methods.UNKNOWN:
        raise unsupported(f".{name}")
    with fallback_on_error(f".{name}"):
        if name in methods.VALUES:
            return methods.VALUES[name](x)
        if name in methods.VIEW_VALUES:
            value = methods.VIEW_VALUES[name](x)
            frozen = name == "imag" and not _is_complex(x)
            made = viewing(value, [x], trace, frozen=frozen, renewed=name not in ITSELF)
            return _noted(made, trace, operator.attrgetter(name), (x,), {})
    return lambda *args, **kwargs: _method(x, name, args, kwargs)


def _part_of_number(x: Any, name: str) -> Any:
    """What Python's numbers have: `real`, `imag`, `conjugate`."""
    if not _is_complex(x):
        real = x + 0 if x.type.dtype.is_bool else x
        zero = 0.0 if x.type.dtype.is_inexact else 0
        return {"real": real, "imag": zero, "conjugate": lambda: real}[name]
    if name == "conjugate":
        return lambda: x.recorder.as_weak(methods.VIEW_METHODS[name](strong(x)))
    return x.recorder.as_weak(methods.VIEW_VALUES[name](strong(x)))


def _method(x: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    what = f"ndarray.{name}"
    with fallback_on_error(what):
        _refuse_bools(kwargs)
        if name == "astype" and "copy" in kwargs and methods.is_itself(x, *args, **kwargs):
            return x
        options = dict(kwargs)
        target = _taken_out(options)
        if target is not None:
            return _put(target, _method(x, name, args, options))
        if name in methods.VIEW_METHODS:
            handler = methods.VIEW_METHODS[name]
            _check_options(handler, what, (x, *args), kwargs)
            made = handler(x, *args, **kwargs)
            frozen, renewed = name == "diagonal", name not in ITSELF
            made = viewing(made, [x], x.recorder, frozen=frozen, renewed=renewed)
            called = functools.partial(_call_method, name)
            return _noted(made, x.recorder, called, (x, *args), kwargs)
        handlers = methods.IN_PLACE_METHODS | methods.PYTHON_METHODS
        if name in handlers:
            handler = handlers[name]
            _check_options(handler, what, (x, *args), kwargs)
            return handler(x, *args, **kwargs)
        handler = methods.METHODS[name]
        _check_options(handler, what, (x, *args), kwargs)
        options = {k: detached(v) for k, v in kwargs.items()}
        made = owned(handler(*(detached(a) for a in (x, *args)), **options), x.recorder)
        called = functools.partial(_call_method, name)
        keep_order(made, called, (x, *args), kwargs)
        if name in ("copy", "astype", "argsort", "flatten") and not x._is_scalar():
            _not_a_scalar(made)
        return made


def _call_method(name: str, x: Any, /, *args: Any, **kwargs: Any) -> Any:
    return getattr(x, name)(*args, **kwargs)


def _noted(made: Any, trace: Any, function: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """Views with how NumPy makes them, if they are views of arguments or captured arrays."""
    trace.views.note_call(made, function, args, kwargs)
    keep_order(made, function, args, kwargs)
    return made


def getitem(x: Any, key: Any) -> Any:
    """x[key]."""
    with fallback_on_error("indexing"):
        key = bounded_indexing.with_symbols(key)
        selection = masked_arrays.select(x, key)
        if selection is not None:
            return selection
        if bounded_indexing.needs_bounds(key):
            return bounded_indexing.part(x, key)
        made = indexing.getitem(x, key, x.recorder)
        if is_symbol(made) and made.storage is x.storage:
            return _noted(made, x.recorder, operator.getitem, (x, key), {})
        keep_order(made, operator.getitem, (x, key), {})
        return made


@dataclass(frozen=True, slots=True)
class Permutation:
    """In place of an index: the axes of which a view has those of its array."""

    axes: tuple[int, ...]


def part(x: Any, key: Any) -> Any:
    """x[key] as it is now, under a handle of its own; x with its axes permuted by a
    Permutation.
    """
    if isinstance(key, Permutation):
        return shape.transpose(detached(x), key.axes)
    return getitem(detached(x), detached(key))


def setitem(x: Any, key: Any, value: Any) -> Any:
    """x as it is after x[key] = value, which NumPy casts without asking."""
    if isinstance(key, Permutation):  # the value has all elements of x
        inverse = sorted(range(len(key.axes)), key=key.axes.__getitem__)
        return shape.transpose(detached(value), inverse)
    with fallback_on_error("assignment to an index"):
        if isinstance(value, masked_arrays.Selection):
            made = masked_arrays.put_selection(x, key, value)
            if made is not NotImplemented:
                return made
        key = bounded_indexing.with_symbols(key)
        if bounded_arrays.is_bounded(value) or bounded_indexing.needs_window(key):
            return bounded_indexing.assign(detached(x), key, value)
        return indexing.setitem(detached(x), detached(key), detached(value))


def as_whole(result: Any, x: Any) -> Any:
    """x as it is after all of it was set to an array of unknown length."""
    if not np.can_cast(result.dtype.dtype, x.type.dtype.dtype, "same_kind"):
        raise TracingError(at_user_line("an in-place operator that casts"))
    return setitem(x, Ellipsis, result)


def same_kind(result: TensorBase, x: TensorBase) -> Any:
    """The result of an in-place operator in x's dtype, if NumPy allows the cast."""
    if not np.can_cast(result.type.dtype.dtype, x.type.dtype.dtype, "same_kind"):
        raise TracingError(at_user_line(f"{result.type.dtype.name} into {x.type.dtype.name}"))
    if result.type.shape != x.type.shape:
        raise TracingError(at_user_line("an in-place operator that changes the shape"))
    return convert(result, x.type.dtype)


__all__ = [
    "ATTRIBUTES", "FUNCTIONS", "OPERATORS", "Permutation", "UFUNCS", "VIEWS", "as_whole",
    "attribute",
    "call_function", "call_operator", "call_ufunc", "checked_integer", "convert", "detached",
    "getitem", "part", "promoted", "result_dtype", "same_kind", "setitem",
]  # fmt: skip
