"""Methods and attributes of ndarray on traced arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.dims import is_symbolic
from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.functions import math, shape

from . import (
    bounded_functions,
    elementwise,
    flat_writes,
    indexing,
    order,
    products,
    reductions,
    repetition,
    shapes,
)
from .promotion import (
    NO_VALUE,
    Handler,
    array,
    cast,
    detached,
    need_value,
    refuse,
    refuse_order,
    target_dtype,
    unsupported,
)
from .python_numbers import call_number
from .ufuncs import run_ufunc


def _astype(
    x: Any, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True,
    copy: Any = True,
) -> Any:  # fmt: skip
    refuse_order(order)
    target = target_dtype(dtype)
    source = x.type.dtype
    if not np.can_cast(source.dtype, target.dtype, casting):
        raise DTypeError(
            at_user_line(f"Cannot cast array data from {source.name} to {target.name}")
        )
    if not copy and source is target and not x.swapped:
        raise unsupported("astype(copy=False) to the same dtype")
    return cast(array(x), target)


def is_itself(x: Any, dtype: Any, *args: Any, copy: Any = True, **options: Any) -> bool:
    """Whether `astype` with these arguments gives the array itself."""
    if not x.ndim or args or options or copy or x.swapped:
        return False
    return target_dtype(dtype) is x.type.dtype


def _copy(x: Any, order: Any = "C") -> Any:
    refuse_order(order)
    return array(x)


def _flatten(x: Any, order: Any = "C") -> Any:
    return shapes.ravel(x, order)


def _reshape(x: Any, *wanted: Any, order: Any = "C", copy: Any = None) -> Any:
    if not wanted:
        raise unsupported("x.reshape()")
    if len(wanted) == 1:
        wanted = wanted[0]
    if wanted is None or (isinstance(wanted, tuple) and None in wanted):
        raise unsupported("x.reshape(None)")
    return shapes.reshape(x, wanted, order, copy=copy)


def _transpose(x: Any, *axes: Any) -> Any:
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        return shapes.transpose(x, axes[0])
    return shapes.transpose(x, axes or None)


def _turned(x: Any) -> Any:
    return shapes.transpose(x)


def _view(x: Any, dtype: Any = NO_VALUE, type: Any = None) -> Any:
    refuse(type=(type,))
    if dtype is NO_VALUE:
        return shape.reshape(x, x.type.shape)
    target, source = target_dtype(dtype), x.type.dtype
    if x.swapped:
        raise unsupported("a view as another dtype of bytes in the other order")
    if target is source:
        return x
    if target.size != source.size or "c" in target.kind + source.kind:
        raise unsupported(f"a view of {source.name} as {target.name}")
    if target.is_bool or (source.is_bool and target.size == 1):
        if target.is_bool:
            raise unsupported("a view as bool")
        return cast(x, target)
    return math.bitcast(x, target)


def _python_number(x: Any, what: str) -> Any:
    """A traced number as one of Python's, of the same kind."""
    function = {"b": bool, "i": int, "u": int, "f": float}.get(x.type.dtype.kind)
    made = NotImplemented if function is None else call_number(function, (x,), {})
    if made is NotImplemented:
        need_value(x, what)
    return made


def _item(x: Any, *args: Any) -> Any:
    if len(args) == 1 and isinstance(args[0], tuple):
        args = args[0]
    if len(args) == 1 and x.ndim != 1:
        x, args = shape.reshape(x, (-1,)), (args[0],)
    if args and len(args) == x.ndim and not any(isinstance(k, (slice, bool)) for k in args):
        x, args = x[tuple(args)], ()
    if args or is_symbolic(x.type.shape) or x.type.size != 1:
        need_value(x, "item()")
    return _python_number(shape.reshape(x, ()) if x.ndim else x, "item()")


# Arrays of at most so many elements become lists of Python's, longer ones of one dimension
# lists that a loop makes: a branch for an element is then part of a loop, and not a path.
_SHORT, _FEW = 4, 32


def _nested(x: Any) -> Any:
    if not x.ndim:
        return _python_number(x, "tolist()")
    return [_nested(x[k]) for k in range(x.type.shape[0])]


def _tolist(x: Any) -> Any:
    if is_symbolic(x.type.shape):
        need_value(x, "tolist()")
    if not x.ndim:
        return _python_number(x, "tolist()")
    if x.type.size <= (_SHORT if x.ndim == 1 else _FEW):
        return _nested(x)
    if x.ndim > 1 or x.type.dtype.kind not in "bif" or not x.recorder.branches.enabled:
        need_value(x, "tolist()")
    return x.recorder.branches.loops.as_list(x)


def _sort(x: Any, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> None:
    x._require_writable("x.sort")
    if axis is None:
        raise unsupported("x.sort(axis=None)")
    indexing.replace(x, order.sort(x, axis, kind, stable=stable))


def _partition(x: Any, kth: Any, axis: Any = -1, kind: Any = "introselect") -> None:
    x._require_writable("x.partition")
    if axis is None:  # which np.partition takes, and the method does not
        raise unsupported("x.partition along no axis")
    indexing.replace(x, np.partition(detached(x), kth, axis, kind))


def _argpartition(x: Any, kth: Any, axis: Any = -1, kind: Any = "introselect") -> Any:
    return np.argpartition(x, kth, axis, kind)


def _put(x: Any, indices: Any, values: Any, mode: Any = "raise") -> None:
    flat_writes.put(x, indices, values, mode)


def _round(x: Any, decimals: Any = 0, out: Any = None) -> Any:
    return elementwise.round_(x, decimals, out)


def _clip(
    x: Any, min: Any = NO_VALUE, max: Any = NO_VALUE, out: Any = None, **kwargs: Any
) -> Any:
    return elementwise.clipped(x, min, max, out, **kwargs)


def _spread(function: Handler) -> Handler:
    """The methods var and std, which lack an option of the functions."""

    def method(
        x: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0,
        keepdims: Any = False, *, where: Any = True, mean: Any = NO_VALUE,
    ) -> Any:  # fmt: skip
        return function(x, axis, dtype, out, ddof, keepdims, where=where, mean=mean)

    return method


def _conjugate(x: Any) -> Any:
    return math.conj(x)  # the array itself if it isn't complex


def _device(x: Any, device: Any, /, *, stream: Any = None) -> Any:
    refuse(stream=(stream,))
    if device != "cpu":
        raise ShapeError(at_user_line(f"Unsupported device: {device}. Only 'cpu' is accepted."))
    return x


# Methods whose results are numbers and lists of Python's.
PYTHON_METHODS: dict[str, Handler] = {"item": _item, "tolist": _tolist}
# Methods whose results are new arrays: name -> (x, *args, **kwargs).
METHODS: dict[str, Handler] = {
    "all": reductions.all_,
    "any": reductions.any_,
    "argmax": reductions.argmax,
    "argmin": reductions.argmin,
    "argpartition": _argpartition,
    "argsort": order.argsort,
    "nonzero": bounded_functions.COUNTING[np.nonzero],
    "astype": _astype,
    "clip": _clip,
    "copy": _copy,
    "cumprod": reductions.cumprod,
    "cumsum": reductions.cumsum,
    "dot": products.dot,
    "flatten": _flatten,
    "max": reductions.maximum,
    "mean": reductions.mean,
    "min": reductions.minimum,
    "prod": reductions.product,
    "repeat": repetition.repeat,
    "round": _round,
    "searchsorted": order.searchsorted,
    "std": _spread(reductions.std),
    "sum": reductions.total,
    "take": indexing.take,
    "trace": products.trace,
    "var": _spread(reductions.var),
    "__array_namespace__": lambda x, api_version=None: np,
    "__copy__": _copy,
    "__deepcopy__": lambda x, memo=None: _copy(x),
    "__complex__": lambda x: need_value(x, "complex()"),
    "__divmod__": lambda x, y: run_ufunc(np.divmod, x, y),
    "__rdivmod__": lambda x, y: run_ufunc(np.divmod, y, x),
}
VIEW_METHODS: dict[str, Handler] = {
    "conj": _conjugate,
    "conjugate": _conjugate,
    "diagonal": shapes.diagonal,
    "ravel": shapes.ravel,
    "reshape": _reshape,
    "squeeze": shapes.squeeze,
    "swapaxes": shapes.swapaxes,
    "to_device": _device,
    "transpose": _transpose,
    "view": _view,
}
IN_PLACE_METHODS: dict[str, Handler] = {
    "fill": indexing.fill,
    "partition": _partition,
    "put": _put,
    "sort": _sort,
}
VALUES: dict[str, Callable[[Any], Any]] = {
    "device": lambda x: "cpu",
    "flat": flat_writes.TracedFlat,
    "itemsize": lambda x: x.type.dtype.size,
    "nbytes": lambda x: x.type.nbytes,
    "size": lambda x: x.type.size,
}
VIEW_VALUES: dict[str, Callable[[Any], Any]] = {
    "T": _turned,
    "imag": elementwise.imag,
    "mT": shapes.matrix_transpose,
    "real": elementwise.real,
}
_TABLES = (
    METHODS, VIEW_METHODS, IN_PLACE_METHODS, PYTHON_METHODS, VALUES, VIEW_VALUES,
)  # fmt: skip
KNOWN = {
    name
    for table in _TABLES
    for name in table
    if not name.startswith("__") or name in ("__array_namespace__", "__divmod__", "__rdivmod__")
}
# What an ndarray has and a traced one hasn't: TracingError, not AttributeError.
UNKNOWN = (
    {n for n in dir(np.ndarray) if not n.startswith("_")} - KNOWN - {"shape", "dtype", "ndim"}
)
# What Python numbers have.
OF_SCALARS = {"real", "imag", "conjugate"}
