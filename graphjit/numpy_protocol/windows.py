"""Windows: the parts of axes that slices choose whose bounds are known only at the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.types import int64
from graphjit.functions import shape, subscript
from graphjit.ops import index as ix
from graphjit.ops import pointwise as pw
from graphjit.ops.failures import FOR_PYTHON
from graphjit.tensors.apply import apply, wrap

from .promotion import array, cast, is_symbol, owned, unsupported

_MAX = 2**62


class Window(NamedTuple):
    """The elements of an axis from `start` on, `count` of them: int64 without axes."""

    start: Any
    count: Any


def number(value: Any, trace: Any) -> Any:
    """A Python number, extent or traced integer as int64 without axes."""
    if isinstance(value, Dim):
        value = trace.extent_value(value)
    if is_symbol(value):
        return cast(array(value), int64)
    return wrap(np.array(int(value), np.int64))


def is_known(x: Any, value: int) -> bool:
    """Whether an integer is a number that is known while tracing."""
    return x.recorder is None and int(x.numpy()) == value


def plus(a: Any, b: Any) -> Any:
    """The sum of integers."""
    if is_known(a, 0) or is_known(b, 0):
        return b if is_known(a, 0) else a
    return apply(pw.add, a, b)


def minus(a: Any, b: Any) -> Any:
    """The difference of integers."""
    return a if is_known(b, 0) else apply(pw.sub, a, b)


def least(a: Any, b: Any) -> Any:
    """The less of two integers."""
    return a if a is b else apply(pw.minimum, a, b)


def greatest(a: Any, b: Any) -> Any:
    """The greater of two integers."""
    return a if a is b else apply(pw.maximum, a, b)


def as_count(count: Any, most: Any, trace: Any) -> Any:
    """A count as the Python number that the user's code sees."""
    if count.recorder is None:
        return int(count.numpy())
    found = trace.as_weak(trace.with_numpy_rules(lambda: owned(count, trace)))
    trace.note_bounds(found, 0, _MAX if isinstance(most, Dim) else most)
    return found


def checked(value: Any, failing: Any) -> Any:
    """The value, in a call where something doesn't hold; a call where it does is Python's."""
    trace = (failing if value.recorder is None else value).recorder
    if trace is None:
        if bool(failing.numpy()):
            raise unsupported("what can't be done with this length")
        return value
    made = apply(pw.unless, value, failing, reason=FOR_PYTHON)
    trace.branches.may_need_python = True
    return trace.note_checked(made)


def common_length(a: Any, b: Any, strict: bool) -> Any:
    """The less of two lengths, ints or traced ones of Python's. strict: they must be equal."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    trace = next(x for x in (a, b) if is_symbol(x)).recorder
    one, other = number(a, trace), number(b, trace)
    least_one = least(one, other)
    if strict:
        least_one = checked(least_one, apply(pw.ne, one, other))
    return as_count(least_one, _MAX, trace)


def same_number(
    trace: Any, a: Any, b: Any, same_value: Callable[[Any, int, int], bool]
) -> bool:
    """Whether two integers are the same, as far as is known while tracing."""
    if a.recorder is None or b.recorder is None:
        return a.recorder is b.recorder and int(a.numpy()) == int(b.numpy())
    return same_value(trace, a.node, b.node)


def places(extent: Any, axis: int, ndim: int) -> Any:
    """The numbers of an axis's elements, along that axis of as many."""
    along = subscript.iota((extent,), 0)
    return shape.reshape(along, (*(1,) * axis, extent, *(1,) * (ndim - 1 - axis)))


def inside(windows: Sequence[Window | None], extents: Sequence[Any]) -> Any:
    """Whether each element of an array lies in all windows; None where there are none."""
    found = None
    for axis, (window, extent) in enumerate(zip(windows, extents, strict=True)):
        if window is None:
            continue
        place = places(extent, axis, len(extents))
        one = _below(place, plus(window.start, window.count))
        if not is_known(window.start, 0):
            from_start = apply(pw.le, *shape_alike(window.start, place))
            one = apply(pw.bit_and, from_start, one)
        found = one if found is None else apply(pw.bit_and, *_together(found, one))
    return None if found is None else shape.broadcast_to(found, tuple(extents))


def shape_alike(small: Any, large: Any) -> tuple[Any, Any]:
    """A number as an array of the shape of another, with that one."""
    return shape.broadcast_to(small, large.type.shape), large


def _below(place: Any, end: Any) -> Any:
    return apply(pw.lt, place, shape.broadcast_to(end, place.type.shape))


def _together(a: Any, b: Any) -> tuple[Any, Any]:
    whole = tuple(m if n == 1 else n for n, m in zip(a.type.shape, b.type.shape, strict=True))
    return shape.broadcast_to(a, whole), shape.broadcast_to(b, whole)


def moved(x: Any, axis: int, first: Any, extent: Any, step: int = 1) -> Any:
    """The elements of an axis from `first` on, `extent` of them; those beyond the ends are
    others.
    """
    length = x.type.shape[axis]
    if is_known(first, 0) and step == 1 and _is_same(extent, length):
        return x
    if not isinstance(length, Dim) and not length:
        whole = (*x.type.shape[:axis], extent, *x.type.shape[axis + 1 :])
        zero = wrap(np.zeros((), x.type.dtype.dtype))
        return shape.broadcast_to(zero, whole)
    along = subscript.iota((extent,), 0)
    if step != 1:
        along = apply(pw.mul, along, shape.broadcast_to(wrap(np.array(step)), (extent,)))
    along = apply(pw.add, along, shape.broadcast_to(first, (extent,)))
    return taken(x, axis, along)


def taken(x: Any, axis: int, along: Any) -> Any:
    """The elements of an axis at these places; those beyond the ends are others."""
    extent = along.type.shape
    trace = x.recorder or along.recorder
    last = number(x.type.shape[axis] - 1, trace)
    zero = wrap(np.zeros((), np.int64))
    along = apply(pw.maximum, along, shape.broadcast_to(zero, extent))
    along = apply(pw.minimum, along, shape.broadcast_to(last, extent))
    made = apply(ix.gather, x, along, axes=(axis,))
    return shape.moveaxis(made, 0, axis) if axis else made


def _is_same(a: Any, b: Any) -> bool:
    if isinstance(a, Dim) or isinstance(b, Dim):
        return isinstance(a, Dim) and isinstance(b, Dim) and str(a) == str(b)
    return bool(a == b)


def slice_window(item: slice, length: Any, trace: Any) -> tuple[Window, int]:
    """What a slice chooses of an axis of some length, int64 without axes: where it begins, how
    many elements it has, and its step.
    """
    step = 1 if item.step is None else item.step
    if is_symbol(step) or isinstance(step, Dim):
        raise unsupported("a slice whose step is computed")
    step = int(step)
    if not step:
        raise ValueError("slice step cannot be zero")
    zero = wrap(np.zeros((), np.int64))
    if step > 0:
        start = _bound(item.start, zero, zero, length, trace)
        stop = _bound(item.stop, length, zero, length, trace)
        span = minus(stop, start)
    else:
        below = wrap(np.array(-1))
        last = plus(length, below)
        start = _bound(item.start, last, below, last, trace, length)
        stop = _bound(item.stop, below, below, last, trace, length)
        span = minus(start, stop)
    width = abs(step)
    if width > 1:
        span = plus(span, wrap(np.array(width - 1)))
        span = apply(pw.floordiv, span, wrap(np.array(width)), strict=False)
    return Window(start, greatest(span, zero)), step


def _bound(
    value: Any, default: Any, low: Any, high: Any, trace: Any, length: Any = None
) -> Any:
    """A bound of a slice, counted from the end where it is negative, within the axis."""
    if value is None:
        return default
    length = high if length is None else length
    known = trace.known_bounds(value) if is_symbol(value) else None
    found = number(value, trace)
    if found.recorder is None:
        if int(found.numpy()) < 0:
            found = greatest(plus(found, length), low)
        return least(found, high)
    if known is None or known[0] < 0:
        negative = apply(pw.lt, found, wrap(np.zeros((), np.int64)))
        counted = greatest(plus(found, length), low)
        found = apply(pw.where, negative, counted, found)
    if known is not None and high.recorder is None and known[1] <= int(high.numpy()):
        return found
    return least(found, high)


__all__ = [
    "Window", "as_count", "checked", "common_length", "greatest", "inside", "is_known",
    "least", "minus", "moved", "number", "places", "plus", "same_number", "shape_alike",
    "slice_window", "taken",
]  # fmt: skip
