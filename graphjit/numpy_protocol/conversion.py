"""Functions of NumPy that make arrays and ask no operand what to do: np.array, np.zeros.

They know no `__array_function__`. The hooks of calls (`graphjit/capture`) bring them here where
a traced array, or an extent that is known only at the call, is among the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.types import DType, float64, int64
from graphjit.functions import create, shape, subscript
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import TensorBase, apply, current_trace, wrap

from . import creation
from .bounded_arrays import call_function
from .bounded_functions import created
from .promotion import (
    Handler,
    array,
    cast,
    detached,
    element,
    fallback_on_error,
    is_symbol,
    is_weak_symbol,
    leaves,
    owned,
    refuse,
    refuse_order,
    static_int,
    target_dtype,
    unsupported,
)
from .ufuncs import run_ufunc

# How many traced elements a list may have that becomes an array: each is a node of the graph.
MAX_LISTED: Final = 512


def _symbols_of(value: Any) -> list[Any]:
    return [leaf for leaf in leaves(value) if is_symbol(leaf)]


def _own(value: Any) -> Any:
    """A tensor as a new ndarray, also if it has no axes."""
    trace = current_trace.get()
    made = trace.with_numpy_rules(lambda: owned(value, trace))
    if not made.type.shape:
        made.mark_as_array()
    return made


def _listed(value: Any, dtype: DType | None) -> Any:
    """The array of nested lists with traced elements, or of a traced number."""
    found = _symbols_of(value)
    if len(found) > MAX_LISTED:
        raise unsupported(f"an array of a list with more than {MAX_LISTED} elements")
    if any(getattr(leaf, "swapped", False) for leaf in found):
        raise unsupported("an array of a list with arrays in the other byte order")
    made = array(value)
    if dtype is None or dtype is made.type.dtype:
        return made
    inexact = made.type.dtype.is_inexact
    if (inexact and not dtype.is_inexact) or (
        made.type.dtype.is_complex and not dtype.is_complex
    ):
        raise unsupported(f"an array of {dtype.name} of a list of {made.type.dtype.name}")
    if dtype.is_integer and dtype is not int64 and not made.type.dtype.is_bool:
        raise unsupported(f"an array of {dtype.name}, which must hold each number,")
    return cast(made, dtype)


def _converted(a: Any, dtype: Any, order: Any, copy: Any, ndmin: int = 0) -> Any:
    refuse(order=(order, "C", "K"))
    target: Any = None if dtype is None else target_dtype(dtype)
    if not isinstance(a, TensorBase) or is_weak_symbol(a) or a._is_scalar():  # type: ignore[attr-defined]
        if copy is False:
            raise unsupported("copy=False")
        made = _own(_listed(a, target))
    else:
        x: Any = a
        if (
            target not in (None, x.type.dtype)
            and x.type.dtype.is_complex
            and not target.is_complex
        ):
            raise unsupported("a complex array as real numbers")
        same = target in (None, x.type.dtype) and not (dtype is not None and x.swapped)
        if same and not copy:
            x = x if x.ndim >= ndmin else _with_axes(x, ndmin)
            return _in_order(x) if order == "C" else x
        if x.swapped or copy is False:
            raise unsupported("such a conversion")
        plain = detached(x)
        made = _own(plain if same else cast(plain, target))
    return made if made.ndim >= ndmin else _own(_with_axes(made, ndmin))


def _in_order(x: Any) -> Any:
    """An array in C order: itself, if it lies so, and else a copy."""
    whole = not (x.storage.shared or x._index_source is not None or x.storage.handles())
    if whole and x.ndim < 2:
        return x
    # It isn't known which. Neither may be written, and NumPy makes a result of an argument.
    trace = x.recorder
    made = _own(apply(pw.cast, detached(x), dtype=x.type.dtype))
    made._become_view_of(x)
    x.storage.shared = True
    trace.views.note_call(made, np.ascontiguousarray, (x,), {})
    return made


def may_be_same(a: Any, b: Any) -> bool:
    """Whether two traced arrays may be one object in NumPy."""
    if not (is_symbol(a) and is_symbol(b)) or a.origin != "numpy" or b.origin != "numpy":
        return False
    return a.storage is b.storage and a.type == b.type and bool(a.type.shape)


def _with_axes(x: Any, ndmin: int) -> Any:
    return x.reshape((1,) * (ndmin - x.ndim) + x.type.shape)


def new_array(
    object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", subok: Any = False,
    ndmin: Any = 0, ndmax: Any = 0, like: Any = None,
) -> Any:  # fmt: skip
    """np.array."""
    refuse(like=(like,), ndmax=(ndmax, 0))
    return _converted(object, dtype, order, copy, static_int(ndmin))


def as_array(
    a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None,
    like: Any = None,
) -> Any:  # fmt: skip
    """np.asarray and np.asanyarray: an array that needs no conversion is itself."""
    refuse(like=(like,), device=(device, "cpu"))
    return _converted(a, dtype, order, copy)


def as_contiguous(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """np.ascontiguousarray."""
    refuse(like=(like,))
    return _converted(a, dtype, "C", None, 1)


def from_iterable(iter: Any, dtype: Any, count: Any = -1, *, like: Any = None) -> Any:
    """np.fromiter of elements that are traced."""
    refuse(like=(like,))
    target, wanted = target_dtype(dtype), static_int(count)
    found = list(iter if wanted < 0 else islice(iter, wanted))
    if len(found) < wanted:
        raise unsupported("np.fromiter of too few elements")
    if not any(map(is_symbol, found)):
        return np.fromiter(found, target.dtype)
    if len(found) > MAX_LISTED or not target.is_inexact:
        raise unsupported("np.fromiter of many elements, or of integers,")
    return _own(shape.stack([element(v, target) for v in found]))


def _identity(n: Any, dtype: Any = None, *, like: Any = None) -> Any:
    refuse(like=(like,))
    return _eye(n, dtype=float if dtype is None else dtype)


def _eye(
    N: Any, M: Any = None, k: Any = 0, dtype: Any = float, order: Any = "C", *,
    device: Any = None, like: Any = None,
) -> Any:  # fmt: skip
    refuse(like=(like,), device=(device, "cpu"))
    refuse_order(order)
    extents = static_int(N), static_int(N if M is None else M)
    rows, columns = subscript.iota(extents, 0), subscript.iota(extents, 1)
    return cast(
        run_ufunc(np.equal, run_ufunc(np.add, rows, array(static_int(k))), columns),
        target_dtype(dtype),
    )


def _range(*bounds: Any, dtype: Any = None, device: Any = None, like: Any = None) -> Any:
    """np.arange(stop) and np.arange(start, stop) of ints."""
    refuse(like=(like,), device=(device, "cpu"))
    if len(bounds) > 2 or not all(type(n) in (int, Dim) for n in bounds):
        raise unsupported("np.arange with a step, or of floats,")
    start, stop = (0, *bounds)[-2:]
    target = int64 if dtype is None else target_dtype(dtype)
    if target not in (int64, float64):
        raise unsupported(f"np.arange of {target.name}")
    count = max(stop - start, 0)
    numbers = subscript.iota((count,), 0)
    if start != 0:
        numbers = run_ufunc(np.add, numbers, array(start))
    return cast(numbers, target)


def _of_creation(function: Any) -> Handler:
    handler = creation.FUNCTIONS[function]

    def made(*args: Any, like: Any = None, **kwargs: Any) -> Any:
        refuse(like=(like,))
        return handler(*args, **kwargs)

    return made


def _scalar_type(kind: type[np.generic]) -> Handler:
    """np.float32 and the like, called: numbers and arrays converted to that type."""
    target = target_dtype(kind)

    def converted(value: Any, /) -> Any:
        trace = current_trace.get()
        if not isinstance(value, TensorBase):
            return trace.with_numpy_rules(lambda: owned(_listed(value, target), trace))
        before = value.type.dtype
        if before.is_complex and not target.is_complex:
            raise unsupported(f"np.{kind.__name__} of complex numbers")
        if is_weak_symbol(value):
            # which NumPy refuses where it doesn't fit
            wide = target.is_inexact or target.is_bool or before.is_bool or target is before
            if not wide:
                raise unsupported(f"np.{kind.__name__} of a Python number")
        elif getattr(value, "swapped", False):
            raise unsupported("such a conversion")
        plain = array(detached(value))
        made = plain if plain.type.dtype is target else cast(plain, target)
        return trace.with_numpy_rules(lambda: owned(made, trace))

    return converted


# Functions of traced values.
CONVERSIONS: dict[Any, Handler] = {
    **{np.dtype(code).type: _scalar_type(np.dtype(code).type) for code in "?bhilBHILefdFD"},
    np.array: new_array,
    np.asarray: as_array,
    np.asanyarray: as_array,
    np.ascontiguousarray: as_contiguous,
    np.fromiter: from_iterable,
}
# Functions of extents, of which the results are new arrays.
SIZED: dict[Any, Handler] = {
    np.zeros: _of_creation(np.zeros),
    np.ones: _of_creation(np.ones),
    np.empty: _of_creation(np.empty),
    np.full: _of_creation(np.full),
    np.eye: _eye,
    np.identity: _identity,
    np.arange: _range,
    np.linspace: _of_creation(np.linspace),
}
# Functions that take a list for an array as their first argument, and as all.
_FIRST_LISTED: Final = frozenset({
    np.sum, np.prod, np.mean, np.average, np.std, np.var, np.median, np.max, np.min, np.amax,
    np.amin, np.ptp, np.argmax, np.argmin, np.any, np.all, np.cumsum, np.cumprod, np.sort,
    np.argsort, np.diff, np.transpose, np.reshape, np.ravel, np.clip, np.round, np.flip,
    np.roll, np.repeat, np.tile, np.trace, np.diag, np.squeeze, np.expand_dims, np.nansum,
    np.nanmean, np.nanmax, np.nanmin, np.quantile, np.percentile, np.count_nonzero,
    np.linalg.norm, np.linalg.inv, np.linalg.det, np.linalg.eigh, np.linalg.eigvalsh,
    np.linalg.cholesky,
})  # fmt: skip
_ALL_LISTED: Final = frozenset({
    np.append, np.dot, np.vdot, np.inner, np.outer, np.cross, np.kron, np.where,
    np.linalg.solve,
})  # fmt: skip
# Functions that take a list of arrays, each of which may be a list.
_JOINS: Final = frozenset({
    np.stack, np.vstack, np.hstack, np.dstack, np.column_stack, np.concatenate,
})  # fmt: skip
_ITERATES: Final = frozenset({np.fromiter})


def _holds(value: Any, wanted: Callable[[Any], bool]) -> bool:
    return any(map(wanted, leaves(value)))


def _is_known_later(value: Any) -> bool:
    return type(value) is Dim or is_symbol(value)


def call_maker(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a function that makes an array gives for traced values and extents; NotImplemented
    for other functions and values.
    """
    try:
        convert, sized = CONVERSIONS.get(function), SIZED.get(function)
        listed = _listed_arguments(function)
        if listed:
            return _call_with_lists(function, args, kwargs, listed)
    except TypeError:  # it has no hash
        return NotImplemented
    if convert is None and sized is None:
        return NotImplemented
    if args and is_symbol(args[0]) and args[0].is_selection:
        return _of_unknown_length(function, args[0].compact(), args[1:], kwargs)
    trace = current_trace.get()
    if trace is None or kwargs.get("like") is not None:
        return NotImplemented
    given = [*args, *kwargs.values()]
    if any(x.origin == "tensor" for v in given for x in _symbols_of(v)):
        return NotImplemented
    with fallback_on_error(f"np.{function.__name__}"):
        if convert is not None:
            if function not in _ITERATES and not any(_holds(v, is_symbol) for v in given):
                return NotImplemented
            return trace.with_numpy_rules(lambda: convert(*args, **kwargs))
        if not any(_holds(v, _is_known_later) for v in given):
            return NotImplemented
        assert sized is not None
        made = trace.with_numpy_rules(lambda: created(function, args, kwargs, trace))
        if made is not NotImplemented:
            return made
        result = trace.with_numpy_rules(lambda: sized(*args, **kwargs))
        return tuple(map(_own, result)) if isinstance(result, tuple) else _own(result)


def _of_unknown_length(function: Any, value: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a function that makes an array gives for one of unknown length."""
    copying = {np.array: np.copy}.get(function)
    if function not in (np.array, np.asarray, np.asanyarray):
        return NotImplemented
    dtype = kwargs.get("dtype", args[0] if args else None)
    if len(args) > 1 or kwargs.keys() - {"dtype"}:
        raise unsupported(f"np.{function.__name__} with these arguments")
    made = call_function(np.copy, (value,), {}) if copying else value
    same = dtype is None or np.dtype(dtype) == value.source.type.dtype.dtype
    return made if same else made.astype(dtype)


def _listed_arguments(function: Any) -> slice | None:
    """Which arguments of a function NumPy makes arrays of, where they are lists."""
    method = isinstance(getattr(function, "__self__", None), np.ufunc)
    if isinstance(function, np.ufunc) or (method and function.__name__ == "outer"):
        return slice(None)
    if function in _ALL_LISTED:
        return slice(None)
    if method and function.__name__ in ("reduce", "accumulate"):
        return slice(1)
    return slice(1) if function in _FIRST_LISTED or function in _JOINS else None


def _call_with_lists(function: Any, args: Any, kwargs: dict[str, Any], listed: slice) -> Any:
    """The result of a function that NumPy would give arrays for lists."""
    chosen = args[listed]
    if current_trace.get() is None or not args:
        return NotImplemented
    if function in _JOINS:
        if not isinstance(args[0], (list, tuple)):
            return NotImplemented
        chosen = args[0]
    if not any(map(_is_traced_list, chosen)):
        return NotImplemented
    given = [new_array(v) if _is_traced_list(v) else v for v in chosen]
    if function in _JOINS:
        return function(given, *args[1:], **kwargs)
    return function(*given, *args[len(given) :], **kwargs)


def _is_traced_list(value: Any) -> bool:
    found = _symbols_of(value) if isinstance(value, (list, tuple)) else []
    return bool(found) and all(x.origin != "tensor" for x in found)


def as_traced(value: np.ndarray[Any, Any]) -> Any:
    """An ndarray that was made in the trace as a traced one, which can be written into."""
    dtype = target_dtype(value.dtype)
    flat = value.reshape(-1)
    uniform = (
        flat.size > 1 and bool((flat == flat[0]).all()) and not np.signbit(flat.real).any()
    )
    if uniform:
        return _own(create.fill(value.shape, wrap(np.array(flat[0], dtype.dtype))))
    return _own(wrap(np.array(value, dtype.dtype, order="C")))


__all__ = ["as_traced", "call_maker", "may_be_same"]
