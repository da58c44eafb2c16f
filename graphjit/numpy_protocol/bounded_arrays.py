"""Arrays of whose length only a bound is known: slices by computed bounds, what a mask chooses.

Such an array lies in a larger one, whose shape is known: `values`. Of each axis it has all
elements, or those of a window. What is computed with it is computed for all of the larger one;
what its other elements become isn't looked at. Where two lengths must be equal, and aren't in a
call, the call is left to Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import TracingError, asked_by_user
from graphjit.core.types import int64
from graphjit.functions import shape, subscript
from graphjit.ops import index as ix
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.tensors.apply import TensorBase, apply, wrap
from graphjit.tensors.operators import Operators

from . import indexing, masked_arrays
from .masked_arrays import Selection, same_value
from .promotion import (
    array,
    cast,
    constant,
    detached,
    fallback_on_error,
    is_python_scalar,
    is_symbol,
    leaves,
    owned,
    unsupported,
)
from .ufuncs import PRODUCTS, operator_power, run_ufunc
from .windows import (
    Window,
    as_count,
    checked,
    inside,
    moved,
    number,
    same_number,
)

Windows = tuple[Window | None, ...]
# By names: what attributes of ndarrays are, and by NumPy's functions what they give. Filled by
# `bounded_functions`.
METHODS: dict[str, Callable[..., Any]] = {}
FUNCTIONS: dict[Any, Callable[..., Any]] = {}
# How elements are found. Filled by `bounded_indexing`.
INDEXING: dict[str, Callable[..., Any]] = {}


def refusal(what: str) -> TracingError:
    """The error for what isn't done with such arrays."""
    return unsupported(f"{what} of an array whose length is known only at the call")


def _refused(what: str) -> Any:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise refusal(what)

    return refuse


def _in_place(name: str) -> Callable[[BoundedArray, Any], Any]:
    def method(self: BoundedArray, other: Any) -> Any:
        result = self._operator(name, self, other)
        self.write(result)
        return self

    return method


class BoundedArray(Operators):
    """Some elements of an array, by windows of its axes.

    source: the array. windows: for each axis its window, or None where it has all of it.
    new: whether it has memory of its own, as undecorated; else it is a view of the source.
    copied_from: of a copy that stands for a view, the array, and what it was then
    """

    __slots__ = ("copied_from", "new", "source", "windows")

    is_selection = True
    precedence = 2

    def __init__(
        self, source: Any, windows: Windows, new: bool = True, base: Any = None
    ) -> None:
        if source.recorder is not None and not source.recorder.branches.enabled:
            raise refusal("what is asked")
        self.source, self.windows, self.new = source, windows, new
        self.copied_from = None if base is None else (base, base.node)

    @property
    def recorder(self) -> Any:
        """The trace."""
        return self.source.recorder

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance sees: ndarray, in the user's code."""
        return np.ndarray if asked_by_user(sys._getframe(1)) else BoundedArray

    @property
    def values(self) -> Any:
        """The larger array as it is now."""
        self.require_fresh()
        return detached(self.source)

    def require_fresh(self) -> None:
        """TracingError for the copy of a view whose array has changed since."""
        if self.copied_from is not None and self.copied_from[0].node != self.copied_from[1]:
            raise refusal("a view with steps, after an assignment,")

    @property
    def extents(self) -> tuple[Any, ...]:
        """How long each axis can be."""
        return tuple(self.source.type.shape)

    @property
    def mask(self) -> Any:
        """Which elements of the larger array it has."""
        found = inside(self.windows, self.extents)
        return wrap(np.ones((), np.bool_)) if found is None else found

    def filled(self, value: Any) -> Any:
        """The larger array with this value for elements that it hasn't."""
        kept = constant(value, self.source.type.dtype)
        return apply(pw.where, self.mask, self.values, kept)

    def compact(self) -> BoundedArray:
        """The array itself: what it stands for is put together."""
        return self

    def count(self, axis: int) -> Any:
        """The length of an axis: int64 without axes."""
        window = self.windows[axis]
        return number(self.extents[axis], self.recorder) if window is None else window.count

    # -- what the user's code asks

    @property
    def shape(self) -> Any:
        """The lengths of the axes, of which some are known only at the call."""
        return tuple(
            n if w is None else as_count(w.count, n, self.recorder)
            for w, n in zip(self.windows, self.extents, strict=True)
        )

    @property
    def size(self) -> Any:
        """The number of elements."""
        found: Any = 1
        for n in self.shape:
            found = n if type(found) is int and found == 1 else found * n
        return found

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.windows)

    @property
    def dtype(self) -> Any:
        """The element type, NumPy's for the user's code."""
        found = self.source.type.dtype
        return found.dtype if asked_by_user(sys._getframe(1)) else found

    def _require_attribute(self, name: str) -> None:
        if not hasattr(np.ndarray(0), name):
            raise AttributeError(f"'ndarray' object has no attribute {name!r}", name=name)
        if name not in METHODS and name not in vars(BoundedArray):
            raise refusal(f".{name}")

    def __getattr__(self, name: str) -> Any:
        if name == "origin":
            return "numpy"
        method = METHODS.get(name)
        if method is None:
            raise refusal(f".{name}")
        return lambda *args, **kwargs: self.recorded(lambda: method(self, *args, **kwargs))

    def recorded(self, action: Callable[[], Any]) -> Any:
        """What an action gives, by NumPy's rules."""
        trace = self.recorder
        with fallback_on_error("what is done with an array of unknown length"):
            return trace.with_numpy_rules(lambda: _owned(action(), trace))

    # -- elements

    def _operator(self, name: str, *operands: Any) -> Any:
        if name == "matmul":
            return call_function(np.matmul, operands, {})
        return elementwise(masked_arrays.OPERATORS.get(name), operands)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return call_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call_function(func, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self.recorded(lambda: INDEXING["part"](self, key))

    def known_item(self, number_of: Any) -> Any:
        """The item along the first axis at a place that is surely before its end."""
        return self.recorded(lambda: INDEXING["known_item"](self, number_of))

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is self and is_all(key):  # x[...] += v has written already
            return
        parts = key if isinstance(key, tuple) else (key,)
        mask = bounded(key)
        several = _has_axes(bounded(value)) or isinstance(value, (np.ndarray, list, tuple))
        flags = (
            isinstance(mask, BoundedArray)
            and mask.source.type.dtype.is_bool
            and mask.extents == self.extents
        )
        if flags and not several:
            kept = self.recorded(lambda: value_of_kind(value, self.source.type.dtype))
            self.write(call_function(np.where, (mask, kept, self), {}))
            return
        if not all(p is Ellipsis or isinstance(p, slice) or is_number(p) for p in parts):
            self._require_writable()
            self.source._write_elements(
                self.recorded(lambda: INDEXING["put"](self, key, value))
            )
            return
        if len(parts) == self.ndim and all(map(is_number, parts)):
            self._write_elements(key, value)  # without reading what is there
            return
        target = self if is_all(key) else self[key]
        if isinstance(target, BoundedArray):
            target.write(value)
        else:
            self._write_elements(key, value)

    def _write_elements(self, key: Any, value: Any) -> None:
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != self.ndim or not all(map(is_number, parts)):
            raise refusal("an assignment to an index")
        self._require_writable()
        places = [INDEXING["place_of"](self, k, p) for k, p in enumerate(parts)]
        self.recorded(lambda: self._replace_at(places, value))

    def _replace_at(self, places: Sequence[Any], value: Any) -> None:
        key = tuple(owned(p, self.recorder) if is_symbol(p) else p for p in places)
        self.source[key] = value

    def write(self, value: Any) -> None:
        """Replace all of the elements, in what this is a view of, too."""
        self._require_writable()

        def replaced() -> Any:
            dtype = self.source.type.dtype
            if isinstance(value, TensorBase) and not np.can_cast(
                value.dtype.dtype, dtype.dtype, "same_kind"
            ):
                raise unsupported("an assignment that casts")
            new = in_shape(value, self)
            return apply(pw.where, self.mask, cast(new, dtype), self.values)

        if not isinstance(value, TensorBase):
            value = self.recorded(lambda: indexing.assigned(value, self.source.type.dtype))
        made = self.recorded(replaced)
        self.source._write_elements(made)

    def _require_writable(self) -> None:
        if self.copied_from is not None:
            raise refusal("an assignment through a view with steps")
        self.source._require_writable("x[...] = v")

    __iadd__, __isub__, __imul__ = _in_place("add"), _in_place("sub"), _in_place("mul")
    __itruediv__, __ifloordiv__ = _in_place("truediv"), _in_place("floordiv")
    __imod__, __ipow__, __iand__ = _in_place("mod"), _in_place("pow"), _in_place("and")
    __ior__, __ixor__ = _in_place("or"), _in_place("xor")
    __ilshift__, __irshift__ = _in_place("lshift"), _in_place("rshift")
    __bool__, __int__, __float__ = _refused("bool()"), _refused("int()"), _refused("float()")
    __complex__, __index__ = _refused("complex()"), _refused("an index made")
    __len__, __iter__ = _refused("len()"), _refused("iteration over the items")
    __contains__, __array__ = _refused("`in`"), _refused("conversion to a real ndarray")
    __hash__, __reduce__ = _refused("hash()"), _refused("pickling")
    __format__, __str__, __round__ = _refused("text"), _refused("text"), _refused("round()")
    __copy__, __deepcopy__ = _refused("copy()"), _refused("deepcopy()")
    type = mT = property(_refused("what is asked"))

    @property
    def T(self) -> Any:
        """The axes reversed."""
        if self.ndim < 2:
            return self
        return self.recorded(lambda: _transposed(self))

    def __repr__(self) -> str:
        if not self.recorder.closed and asked_by_user(sys._getframe(1)):
            raise refusal("text")
        return f"<windows of {self.source!r}>"


def value_of_kind(value: Any, dtype: Any) -> Any:
    """A number as an assignment casts it, without axes."""
    return indexing.assigned(value, dtype)


def _transposed(x: BoundedArray) -> BoundedArray:
    return BoundedArray(shape.transpose(x.values), x.windows[::-1], x.new, base=x.source)


def _owned(value: Any, trace: Any) -> Any:
    """A result whose arrays are arrays of their own."""
    if type(value) in (list, tuple):
        return type(value)(_owned(v, trace) for v in value)
    if isinstance(value, BoundedArray):
        if value.new and not _is_handle(value.source):
            value.source = owned(value.source, trace)
        return value
    return owned(value, trace)


def _is_handle(source: Any) -> bool:
    """Whether a source is an array of the user's, not only a tensor."""
    return getattr(source, "origin", "") == "numpy"


def plain(x: Any, windows: Windows, new: bool = True) -> Any:
    """An array with these windows; the array itself where it has none."""
    return x if all(w is None for w in windows) else BoundedArray(x, windows, new)


def is_bounded(value: Any) -> bool:
    """Whether a value is an array of unknown length, however it was made."""
    return isinstance(value, (BoundedArray, Selection))


def has_bounded(values: Any) -> bool:
    """Whether such an array is among the values, or in a list or tuple among them."""
    return any(map(is_bounded, leaves(list(values))))


def bounded(value: Any) -> Any:
    """What a mask chose as an array of unknown length; other values as they are."""
    if isinstance(value, Selection):
        return value.compact()
    if type(value) in (list, tuple):
        return type(value)(bounded(v) for v in value)
    return value


def compacted(mask: Any, arrays: Sequence[Any]) -> list[Any]:
    """The elements of arrays where a mask of their shape holds, in order."""
    size = mask.type.size
    flags = shape.reshape(mask, (size,))
    trace = mask.recorder
    numbers = apply(rd.cumsum, cast(flags, int64), axis=0)
    count = apply(rd.sum_, cast(flags, int64), axes=(0,))
    # those that aren't chosen are put behind the end
    end = shape.broadcast_to(number(size, trace), (size,))
    one = shape.broadcast_to(wrap(np.ones((), np.int64)), (size,))
    target = apply(pw.where, flags, apply(pw.sub, numbers, one), end)
    found = []
    for x in arrays:
        room = shape.broadcast_to(wrap(np.zeros((), x.type.dtype.dtype)), (size + 1,))
        flat = shape.reshape(x, (size,))
        made = apply(ix.scatter, room, flat, target, axes=(0,), mode="update")
        made = subscript.getitem(made, slice(0, size))
        zero = wrap(np.zeros((), np.int64))
        found.append(BoundedArray(owned(made, trace), (Window(zero, count),)))
    return found


# -- several arrays


def windows_of(x: Any) -> Windows:
    """For each axis of an array its window, None where all of it is there."""
    return x.windows if isinstance(x, BoundedArray) else (None,) * len(x.type.shape)


def extents_of(x: Any) -> tuple[Any, ...]:
    """The extents that there is room for."""
    return x.extents if isinstance(x, BoundedArray) else tuple(x.type.shape)


def together(operands: Sequence[Any]) -> tuple[list[Any], Windows]:
    """Arrays that are broadcast, as plain ones, and the windows of what is computed of them.

    Calls in which the lengths differ are left to Python.
    """
    ndim = max(len(windows_of(x)) for x in operands)
    trace = next(x for x in operands if isinstance(x, BoundedArray)).recorder
    values = [x.values if isinstance(x, BoundedArray) else x for x in operands]
    windows: list[Window | None] = []
    for axis in range(-ndim, 0):
        with_axis = [k for k, x in enumerate(operands) if len(windows_of(x)) >= -axis]
        moving = [k for k in with_axis if windows_of(operands[k])[axis] is not None]
        fixed = [
            n
            for k in with_axis
            if k not in moving
            and (isinstance(n := extents_of(operands[k])[axis], Dim) or n != 1)
        ]
        if not moving:
            windows.append(None)
            continue
        own = [windows_of(operands[k])[axis] for k in moving]
        if fixed:
            extent, start, count = fixed[0], None, number(fixed[0], trace)
            windows.append(None)
        else:
            extents = [extents_of(operands[k])[axis] for k in moving]
            first = own[0]
            assert first is not None
            alike = all(_is_like(trace, first, w) for w in own[1:])
            if alike and all(n is extents[0] or n == extents[0] for n in extents):
                windows.append(first)
                continue
            extent, start, count = extents[0], first.start, first.count
            for n in extents[1:]:
                if isinstance(n, Dim) or isinstance(extent, Dim):
                    if n is not extent:
                        raise refusal("operations on several arrays, of other arrays,")
                elif n < extent:
                    extent = n
            windows.append(Window(wrap(np.zeros((), np.int64)), count))
        for k, window in zip(moving, own, strict=True):
            assert window is not None
            start = window.start
            if not same_number(trace, window.count, count, same_value_of):
                start = checked(start, apply(pw.ne, window.count, count))
            position = values[k].ndim + axis
            values[k] = moved(values[k], position, start, extent)
    return values, tuple(windows)


def same_value_of(trace: Any, a: int, b: int) -> bool:
    """Whether two nodes compute the same."""
    return same_value(trace, a, b)


def _is_like(trace: Any, a: Window, b: Any) -> bool:
    return same_number(trace, a.start, b.start, same_value_of) and same_number(
        trace, a.count, b.count, same_value_of
    )


def _operand(value: Any) -> Any:
    """An operand of an operation on elements."""
    value = bounded(value)
    if isinstance(value, BoundedArray) or is_python_scalar(value):
        return value
    if isinstance(value, Dim) or (is_symbol(value) and not value.type.shape):
        if getattr(value, "origin", "") == "tensor":
            raise refusal("an operation with a tensor")
        return detached(value)
    if isinstance(value, (np.ndarray, np.generic, list, tuple)) or is_symbol(value):
        if getattr(value, "origin", "") == "tensor":
            raise refusal("an operation with a tensor")
        return detached(array(value)) if not isinstance(value, np.generic) else value
    raise refusal(f"an operation with a {type(value).__name__}")


def elementwise(ufunc: Any, operands: Sequence[Any], dtype: Any = None) -> Any:
    """What a ufunc of NumPy's gives for operands of which some have unknown lengths."""
    if ufunc is None or ufunc in PRODUCTS:
        raise refusal("this operator")
    given = [_operand(x) for x in operands]
    first = next(x for x in given if isinstance(x, BoundedArray))
    if ufunc is np.power and dtype is None:
        function: Any = operator_power
    else:
        options = {} if dtype is None else {"dtype": dtype}
        function = lambda *x: run_ufunc(ufunc, *x, **options)  # noqa: E731
    return first.recorded(lambda: mapped(function, given))


def mapped(function: Callable[..., Any], given: Sequence[Any]) -> Any:
    """What a function of elements gives for operands of which some have unknown lengths."""
    arrays = [k for k, x in enumerate(given) if _has_axes(x)]
    values, windows = together([given[k] for k in arrays])
    filled = list(given)
    for k, value in zip(arrays, values, strict=True):
        filled[k] = value
    made = function(*filled)
    if isinstance(made, tuple):
        return tuple(plain(x, windows) for x in made)
    return plain(made, windows)


def _has_axes(x: Any) -> bool:
    return isinstance(x, BoundedArray) or (isinstance(x, TensorBase) and bool(x.type.shape))


def call_ufunc(ufunc: Any, method: str, inputs: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of a ufunc of which an array of unknown length is an operand."""
    options = dict(kwargs)
    dtype = options.pop("dtype", None)
    if method == "__call__" and ufunc is np.matmul and not options and dtype is None:
        return call_function(np.matmul, inputs, {})
    if method != "__call__" or options:
        raise refusal(f"np.{ufunc.__name__} with these options")
    return elementwise(ufunc, inputs, dtype)


def call_function(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of a NumPy function of which an array of unknown length is an argument."""
    handler = FUNCTIONS.get(func)
    if handler is None:
        raise refusal(f"np.{func.__name__}")
    given = [bounded(x) for x in args]
    named = {name: bounded(x) for name, x in kwargs.items()}
    first = next(x for x in leaves([*given, *named.values()]) if isinstance(x, BoundedArray))
    return first.recorded(lambda: handler(*given, **named))


def in_shape(value: Any, target: BoundedArray) -> Any:
    """A value with the elements of another array in their places, broadcast."""
    value = bounded(value)
    if not isinstance(value, BoundedArray):
        value = array(value)
    if len(windows_of(value)) > target.ndim:
        raise refusal("an assignment of an array with more axes")
    found = value.values if isinstance(value, BoundedArray) else value
    trace = target.recorder
    for axis in range(-len(windows_of(value)), 0):
        window, own = windows_of(value)[axis], target.windows[axis]
        position = found.ndim + axis
        extent = target.extents[axis]
        length = extents_of(value)[axis]
        if window is None and (not isinstance(length, Dim) and length == 1):
            continue
        start = wrap(np.zeros((), np.int64)) if window is None else window.start
        count = number(length, trace) if window is None else window.count
        wanted = target.count(target.ndim + axis)
        place = wrap(np.zeros((), np.int64)) if own is None else own.start
        if not same_number(trace, count, wanted, same_value_of):
            start = checked(start, apply(pw.ne, count, wanted))
        if own is None and window is None:
            continue
        same = same_number(trace, start, place, same_value_of)
        first = wrap(np.zeros((), np.int64)) if same else apply(pw.sub, start, place)
        found = moved(found, position, first, extent)
    return shape.broadcast_to(found, target.extents)


def is_all(key: Any) -> bool:
    """Whether a key is for all of an array."""
    parts = key if isinstance(key, tuple) else (key,)
    whole = [p is Ellipsis or (isinstance(p, slice) and p == slice(None)) for p in parts]
    return bool(parts) and all(whole)


def is_number(part: Any) -> bool:
    """Whether a part of a key is an integer, traced or not."""
    if isinstance(part, (bool, np.bool_)):
        return False
    if is_symbol(part) and not is_bounded(part):
        return not part.type.shape and part.type.dtype.is_integer
    return isinstance(part, (int, np.integer, Dim))


masked_arrays.TOGETHER.update(
    compacted=compacted, elementwise=elementwise, call_function=call_function,
    call_ufunc=call_ufunc,
)  # fmt: skip

__all__ = [
    "FUNCTIONS", "INDEXING", "METHODS", "BoundedArray", "Windows", "bounded", "call_function",
    "call_ufunc", "compacted", "elementwise", "extents_of", "has_bounded", "in_shape", "is_all",
    "is_bounded", "is_number", "mapped", "plain", "refusal", "same_value_of", "together",
    "windows_of",
]  # fmt: skip
