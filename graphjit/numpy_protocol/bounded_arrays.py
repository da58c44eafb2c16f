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
from graphjit.core.errors import IndexOutOfRangeError, TracingError, asked_by_user, at_user_line
from graphjit.core.types import int64
from graphjit.functions import shape, subscript
from graphjit.ops import assemble
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
    is_known,
    moved,
    number,
    plus,
    same_number,
    slice_window,
    taken,
)

Windows = tuple[Window | None, ...]
# By names: what attributes of ndarrays are, and by NumPy's functions what they give. Filled by
# `bounded_functions`.
METHODS: dict[str, Callable[..., Any]] = {}
FUNCTIONS: dict[Any, Callable[..., Any]] = {}


def _refusal(what: str) -> TracingError:
    return unsupported(f"{what} of an array whose length is known only at the call")


def _refused(what: str) -> Any:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise _refusal(what)

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
    base: of a copy that stands for a view, the array, and what it was then
    """

    __slots__ = ("base", "new", "source", "windows")

    is_selection = True
    precedence = 2

    def __init__(
        self, source: Any, windows: Windows, new: bool = True, base: Any = None
    ) -> None:
        if source.recorder is not None and not source.recorder.branches.enabled:
            raise _refusal("what is asked")
        self.source, self.windows, self.new = source, windows, new
        self.base = None if base is None else (base, base.node)

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
        if self.base is not None and self.base[0].node != self.base[1]:
            raise _refusal("a view with steps, after an assignment,")

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
            raise _refusal(f".{name}")

    def __getattr__(self, name: str) -> Any:
        if name == "origin":
            return "numpy"
        method = METHODS.get(name)
        if method is None:
            raise _refusal(f".{name}")
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
        return self.recorded(lambda: part(self, key))

    def known_item(self, number_of: Any) -> Any:
        """The item along the first axis at a place that is surely before its end."""
        return self.recorded(lambda: _known_item(self, number_of))

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is self and _is_all(key):  # x[...] += v has written already
            return
        target = self if _is_all(key) else self[key]
        if isinstance(target, BoundedArray) and not target.new:
            target.write(value)
        elif isinstance(target, BoundedArray) and _is_all(key):
            target.write(value)
        else:
            self._write_elements(key, value)

    def _write_elements(self, key: Any, value: Any) -> None:
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != self.ndim or not all(map(_is_number, parts)):
            raise _refusal("an assignment to an index")
        self._require_writable()
        places = [_place(self, axis, p) for axis, p in enumerate(parts)]
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
            new = _in_shape(value, self)
            return apply(pw.where, self.mask, cast(new, dtype), self.values)

        if not isinstance(value, TensorBase):
            value = self.recorded(lambda: indexing.assigned(value, self.source.type.dtype))
        made = self.recorded(replaced)
        self.source._write_elements(made)

    def _require_writable(self) -> None:
        if self.base is not None:
            raise _refusal("an assignment through a view with steps")
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
    __hash__, __reduce__ = _refused("hash()"), _refused("pickling")  # type: ignore[assignment]
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
            raise _refusal("text")
        return f"<windows of {self.source!r}>"


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
        return compacted(value.mask, [value.values])[0]
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


def _windows_of(x: Any) -> Windows:
    return x.windows if isinstance(x, BoundedArray) else (None,) * len(x.type.shape)


def _extents_of(x: Any) -> tuple[Any, ...]:
    return x.extents if isinstance(x, BoundedArray) else tuple(x.type.shape)


def together(operands: Sequence[Any]) -> tuple[list[Any], Windows]:
    """Arrays that are broadcast, as plain ones, and the windows of what is computed of them.

    Calls in which the lengths differ are left to Python.
    """
    ndim = max(len(_windows_of(x)) for x in operands)
    trace = next(x for x in operands if isinstance(x, BoundedArray)).recorder
    values = [x.values if isinstance(x, BoundedArray) else x for x in operands]
    windows: list[Window | None] = []
    for axis in range(-ndim, 0):
        with_axis = [k for k, x in enumerate(operands) if len(_windows_of(x)) >= -axis]
        moving = [k for k in with_axis if _windows_of(operands[k])[axis] is not None]
        fixed = [
            n
            for k in with_axis
            if k not in moving
            and (isinstance(n := _extents_of(operands[k])[axis], Dim) or n != 1)
        ]
        if not moving:
            windows.append(None)
            continue
        own = [_windows_of(operands[k])[axis] for k in moving]
        if fixed:
            extent, start, count = fixed[0], None, number(fixed[0], trace)
            windows.append(None)
        else:
            extents = [_extents_of(operands[k])[axis] for k in moving]
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
                        raise _refusal("operations on several arrays, of other arrays,")
                elif n < extent:
                    extent = n
            windows.append(Window(wrap(np.zeros((), np.int64)), count))
        for k, window in zip(moving, own, strict=True):
            assert window is not None
            start = window.start
            if not same_number(trace, window.count, count, _same_value):
                start = checked(start, apply(pw.ne, window.count, count))
            position = values[k].ndim + axis
            values[k] = moved(values[k], position, start, extent)
    return values, tuple(windows)


def _same_value(trace: Any, a: int, b: int) -> bool:
    return same_value(trace, a, b)


def _is_like(trace: Any, a: Window, b: Any) -> bool:
    return same_number(trace, a.start, b.start, _same_value) and same_number(
        trace, a.count, b.count, _same_value
    )


def _operand(value: Any) -> Any:
    """An operand of an operation on elements."""
    value = bounded(value)
    if isinstance(value, BoundedArray) or is_python_scalar(value):
        return value
    if isinstance(value, Dim) or (is_symbol(value) and not value.type.shape):
        if getattr(value, "origin", "") == "tensor":
            raise _refusal("an operation with a tensor")
        return detached(value)
    if isinstance(value, (np.ndarray, np.generic, list, tuple)) or is_symbol(value):
        if getattr(value, "origin", "") == "tensor":
            raise _refusal("an operation with a tensor")
        return detached(array(value)) if not isinstance(value, np.generic) else value
    raise _refusal(f"an operation with a {type(value).__name__}")


def elementwise(ufunc: Any, operands: Sequence[Any], dtype: Any = None) -> Any:
    """What a ufunc of NumPy's gives for operands of which some have unknown lengths."""
    if ufunc is None or ufunc in PRODUCTS:
        raise _refusal("this operator")
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
        raise _refusal(f"np.{ufunc.__name__} with these options")
    return elementwise(ufunc, inputs, dtype)


def call_function(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of a NumPy function of which an array of unknown length is an argument."""
    handler = FUNCTIONS.get(func)
    if handler is None:
        raise _refusal(f"np.{func.__name__}")
    given = [bounded(x) for x in args]
    named = {name: bounded(x) for name, x in kwargs.items()}
    first = next(x for x in leaves([*given, *named.values()]) if isinstance(x, BoundedArray))
    return first.recorded(lambda: handler(*given, **named))


def _in_shape(value: Any, target: BoundedArray) -> Any:
    """A value with the elements of another array in their places, broadcast."""
    value = bounded(value)
    if not isinstance(value, BoundedArray):
        value = array(value)
    if len(_windows_of(value)) > target.ndim:
        raise _refusal("an assignment of an array with more axes")
    found = value.values if isinstance(value, BoundedArray) else value
    trace = target.recorder
    for axis in range(-len(_windows_of(value)), 0):
        window, own = _windows_of(value)[axis], target.windows[axis]
        position = found.ndim + axis
        extent = target.extents[axis]
        length = _extents_of(value)[axis]
        if window is None and (not isinstance(length, Dim) and length == 1):
            continue
        start = wrap(np.zeros((), np.int64)) if window is None else window.start
        count = number(length, trace) if window is None else window.count
        wanted = target.count(target.ndim + axis)
        place = wrap(np.zeros((), np.int64)) if own is None else own.start
        if not same_number(trace, count, wanted, _same_value):
            start = checked(start, apply(pw.ne, count, wanted))
        if own is None and window is None:
            continue
        same = same_number(trace, start, place, _same_value)
        first = wrap(np.zeros((), np.int64)) if same else apply(pw.sub, start, place)
        found = moved(found, position, first, extent)
    return shape.broadcast_to(found, target.extents)


# -- indexing


def _is_all(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    whole = [p is Ellipsis or (isinstance(p, slice) and p == slice(None)) for p in parts]
    return bool(parts) and all(whole)


def _is_number(part: Any) -> bool:
    if isinstance(part, (bool, np.bool_)):
        return False
    if is_symbol(part) and not is_bounded(part):
        return not part.type.shape and part.type.dtype.is_integer
    return isinstance(part, (int, np.integer, Dim))


def _is_moving(part: Any) -> bool:
    """Whether a part of a key is a slice with a bound that is traced."""
    return isinstance(part, slice) and any(map(is_symbol, (part.start, part.stop)))


def with_symbols(key: Any) -> Any:
    """A key with the traced arrays that stand for ndarrays of bools which are captured."""
    parts = key if isinstance(key, tuple) else (key,)
    if not any(map(_is_real_mask, parts)):
        return key
    found = tuple(_captured(p) if _is_real_mask(p) else p for p in parts)
    return found if isinstance(key, tuple) else found[0]


def _is_real_mask(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == bool and part.ndim > 0


def _captured(mask: Any) -> Any:
    made = array(mask)
    if made.recorder is None:
        return mask
    return owned(made, made.recorder)


def needs_window(key: Any) -> bool:
    """Whether a value that is assigned to a key goes to an unknown number of places."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(_is_moving(p) or is_bounded(p) for p in parts)


def needs_bounds(key: Any) -> bool:
    """Whether a key makes an array of unknown length of one of a known length."""
    parts = key if isinstance(key, tuple) else (key,)
    return any(_is_moving(p) or is_bounded(p) or _is_traced_mask(p) for p in parts)


def _is_traced_mask(part: Any) -> bool:
    return (
        is_symbol(part)
        and not is_bounded(part)
        and part.type.dtype.is_bool
        and part.origin == "numpy"
        and bool(part.type.shape)
    )


def _expanded(key: Any, ndim: int) -> list[Any]:
    """A key with one part for each axis, and None for new ones."""
    parts = list(key) if isinstance(key, tuple) else [key]
    if sum(p is Ellipsis for p in parts) > 1:
        raise IndexOutOfRangeError(
            at_user_line("an index can only have a single ellipsis ('...')")
        )
    used = sum(_axes_taken(p) for p in parts)
    if used > ndim:
        raise IndexOutOfRangeError(
            at_user_line(
                f"too many indices for array: array is {ndim}-dimensional, but {used} were "
                "indexed"
            )
        )
    at = next((k for k, p in enumerate(parts) if p is Ellipsis), len(parts))
    rest = [slice(None)] * (ndim - used)
    return [*parts[:at], *rest, *parts[at + 1 :]]


def _axes_taken(part: Any) -> int:
    return 0 if part is None or part is Ellipsis else 1


def part(x: Any, key: Any) -> Any:
    """x[key], where x or the key has an unknown length."""
    found = _plain_key(x, key)
    return _chosen(x, found) if any(map(_is_advanced, found)) else _view(x, tuple(found))


def _plain_key(x: Any, key: Any) -> list[Any]:
    """A key with arrays for lists, and places for masks."""
    found: list[Any] = []
    parts = [bounded(p) for p in (key if isinstance(key, tuple) else (key,))]
    for k, p in enumerate(parts):
        if isinstance(p, list):
            p = array(p) if any(map(is_symbol, leaves(p))) else np.asarray(p)
            if not p.size:
                raise _refusal("an empty list as an index")
        if not _is_mask(p):
            found.append(p)
            continue
        mask = p if isinstance(p, BoundedArray) else BoundedArray(array(p), (None,) * p.ndim)
        if any(q is None or q is Ellipsis or _is_mask(q) for q in parts[:k]):
            raise _refusal("this index")
        found += _of_shape(x, k, mask)
    return found


def _is_mask(p: Any) -> bool:
    if isinstance(p, BoundedArray):
        return bool(p.source.type.dtype.is_bool)
    return _is_traced_mask(p) or _is_real_mask(p)


def _of_shape(x: Any, first: int, mask: BoundedArray) -> list[Any]:
    """The places where a mask holds, which must have the lengths of x's axes from a first one
    on.
    """
    windows, extents = _windows_of(x), _extents_of(x)
    found = nonzero(mask)
    if first + mask.ndim > len(windows):
        raise IndexOutOfRangeError(at_user_line("too many indices for array"))
    for k in range(mask.ndim):
        axis = first + k
        if windows[axis] is None and mask.windows[k] is None:
            if indexing.broadcast_or_none((extents[axis],), (mask.extents[k],)) is None or (
                str(extents[axis]) != str(mask.extents[k])
            ):
                raise IndexOutOfRangeError(
                    at_user_line(
                        f"boolean index did not match indexed array along axis {axis}; size of "
                        f"axis is {extents[axis]} but size of corresponding boolean axis is "
                        f"{mask.extents[k]}"
                    )
                )
            continue
        trace = mask.recorder
        length = BoundedArray.count(x, axis) if windows[axis] is not None else None
        length = number(extents[axis], trace) if length is None else length
        if not same_number(trace, length, mask.count(k), _same_value):
            (window,) = found[0].windows
            count = checked(window.count, apply(pw.ne, length, mask.count(k)))
            for each in found:
                each.windows = (Window(window.start, count),)
    return found


def _is_advanced(p: Any) -> bool:
    return isinstance(p, (BoundedArray, np.ndarray)) or (is_symbol(p) and bool(p.type.shape))


def nonzero(x: Any) -> list[Any]:
    """np.nonzero of an array with windows."""
    extents = _extents_of(x)
    values = x.values if isinstance(x, BoundedArray) else x
    dtype = values.type.dtype
    flags = values if dtype.is_bool else apply(pw.ne, values, constant(0, dtype))
    windows = _windows_of(x)
    mask = inside(windows, extents)
    if mask is not None:
        flags = apply(pw.bit_and, flags, mask)
    if flags.recorder is None:
        raise unsupported("a mask that is known")
    numbers = []
    for axis, window in enumerate(windows):
        along = subscript.iota(extents, axis)
        if window is not None and not is_known(window.start, 0):
            along = apply(pw.sub, along, shape.broadcast_to(window.start, extents))
        numbers.append(along)
    return compacted(flags, numbers)


def _place(x: Any, axis: int, index: Any) -> Any:
    """Where in the larger array an element is, by an integer for an axis."""
    window = x.windows[axis] if isinstance(x, BoundedArray) else None
    if window is None:
        return index
    trace = x.recorder
    found = number(index, trace)
    known = trace.known_bounds(index) if is_symbol(index) else None
    zero = wrap(np.zeros((), np.int64))
    if found.recorder is None:
        negative = int(found.numpy()) < 0
        counted = plus(found, window.count) if negative else found
    elif known is not None and known[0] >= 0:
        counted, negative = found, False
    else:
        below = apply(pw.lt, found, zero)
        counted, negative = apply(pw.where, below, plus(found, window.count), found), True
    failing = apply(pw.ge, counted, window.count)
    if negative:
        failing = apply(pw.bit_or, failing, apply(pw.lt, counted, zero))
    place = checked(plus(counted, window.start), failing)
    # NumPy's, which can't be less than 0
    return place


def _view(x: Any, key: Any) -> Any:
    """x[key] for integers, slices, None and `...`."""
    is_view = isinstance(x, BoundedArray)
    if is_view:
        x.require_fresh()
    source, windows = (x.source, x.windows) if is_view else (x, (None,) * x.ndim)
    trace = source.recorder
    parts: list[Any] = []
    made: list[Window | None] = []
    steps: list[tuple[int, Window, int]] = []
    axis = 0
    for p in _expanded(key, len(windows)):
        if p is None:
            parts.append(None)
            made.append(None)
            continue
        window, extent = windows[axis], source.type.shape[axis]
        if _is_number(p):
            place = _place(x, axis, p) if window is not None else p
            parts.append(owned(place, trace) if place is not p else p)
        elif not isinstance(p, slice):
            raise _refusal("this index")
        elif window is None and not _is_moving(p):
            parts.append(p)
            made.append(None)
        else:
            parts.append(slice(None))
            length = number(extent, trace) if window is None else window.count
            found, step = slice_window(p, length, trace)
            if window is not None:
                found = Window(plus(window.start, found.start), found.count)
            if step != 1:
                steps.append((len(made), found, step))
                made.append(Window(wrap(np.zeros((), np.int64)), found.count))
            else:
                made.append(found)
        axis += 1
    new = is_view and x.new
    base = x.base[0] if is_view and x.base is not None else None
    chosen = source[tuple(parts)] if any(not _is_all(p) for p in parts) else source
    if not made:
        return chosen
    for position, found, step in steps:
        extent = chosen.type.shape[position]
        base = chosen if base is None else base
        chosen = owned(moved(detached(chosen), position, found.start, extent, step), trace)
    if base is not None and all(w is None for w in made):
        raise _refusal("this index")
    return chosen if all(w is None for w in made) else BoundedArray(
        chosen, tuple(made), new, base
    )


def _known_item(x: BoundedArray, item: Any) -> Any:
    x.require_fresh()
    trace, window = x.recorder, x.windows[0]
    place = item
    if window is not None and not is_known(window.start, 0):
        place = owned(plus(number(item, trace), window.start), trace)
    elif not is_symbol(item):
        place = item
    chosen = x.source[place]
    if all(w is None for w in x.windows[1:]):
        return chosen
    base = None if x.base is None else x.base[0]
    return BoundedArray(chosen, x.windows[1:], x.new, base)


def _chosen(x: Any, parts: list[Any]) -> Any:
    """x[key] where the key has index arrays, next to each other, and slices of whole axes."""
    ndim = len(_windows_of(x))
    expanded = _expanded(tuple(parts), ndim)
    at = [k for k, p in enumerate(expanded) if not isinstance(p, slice)]
    others = [p for p in expanded if isinstance(p, slice)]
    neighbours = at == list(range(at[0], at[-1] + 1))
    if any(p is None for p in expanded) or not neighbours or not all(map(_is_all, others)):
        raise _refusal("this index")
    indices = [_as_index(expanded[k]) for k in at]
    values, windows = _mixed(indices, x)
    found = [_places(x, axis, v, windows) for axis, v in zip(at, values, strict=True)]
    source = x.values if isinstance(x, BoundedArray) else detached(x)
    made = apply(ix.gather, source, *found, axes=tuple(at))
    count = found[0].ndim
    if at[0]:
        made = shape.moveaxis(made, tuple(range(count)), tuple(range(at[0], at[0] + count)))
    own = _windows_of(x)
    result = (*own[: at[0]], *windows, *own[at[-1] + 1 :])
    return plain(made, result)


def _as_index(p: Any) -> Any:
    if isinstance(p, BoundedArray):
        if not p.source.type.dtype.is_integer:
            raise IndexOutOfRangeError(
                at_user_line("arrays used as indices must be of integer (or boolean) type")
            )
        return p
    found = array(p)
    if not found.type.dtype.is_integer:
        raise _refusal("this index")
    return cast(found, int64)


def _mixed(indices: list[Any], x: Any) -> tuple[list[Any], Windows]:
    """Index arrays broadcast together, with the windows of their common shape."""
    if any(isinstance(i, BoundedArray) for i in indices):
        values, windows = together(indices)
    else:
        values, windows = indices, (None,) * max(i.ndim for i in indices)
    whole = values[0].type.shape
    for v in values[1:]:
        whole = indexing.broadcast_or_none(whole, v.type.shape)
        if whole is None:
            raise _refusal("index arrays of these shapes")
    return [shape.broadcast_to(cast(v, int64), tuple(whole)) for v in values], windows


def _places(x: Any, axis: int, index: Any, windows: Windows, end: bool = False) -> Any:
    """Where in the larger array elements are, by index arrays: those of other elements than the
    windows' are 0, or with `end` one behind the last.
    """
    trace = x.recorder or index.recorder
    extents = index.type.shape
    own = _windows_of(x)[axis]
    length = number(_extents_of(x)[axis], trace) if own is None else own.count

    def whole(n: Any) -> Any:
        return shape.broadcast_to(n, extents)

    zero = whole(wrap(np.zeros((), np.int64)))
    negative = apply(pw.lt, index, zero)
    counted = apply(pw.where, negative, apply(pw.add, index, whole(length)), index)
    bad = apply(pw.bit_or, apply(pw.lt, counted, zero), apply(pw.ge, counted, whole(length)))
    mask = inside(windows, extents)
    if mask is not None:
        bad = apply(pw.bit_and, bad, mask)
    failing = apply(rd.any_, bad, axes=tuple(range(bad.ndim)))
    if own is not None:
        counted = apply(pw.add, counted, whole(own.start))
    behind = number(_extents_of(x)[axis], trace) if end else wrap(np.zeros((), np.int64))
    behind = checked(behind, failing)
    if mask is None:
        mask = whole(wrap(np.ones((), np.bool_)))
    return apply(pw.where, mask, counted, whole(behind))


def assign(x: Any, key: Any, value: Any) -> Any:
    """x as it is after x[key] = value, where the key or the value has an unknown length."""
    value = bounded(value)
    expanded = _expanded(tuple(_plain_key(x, key)), x.ndim)
    if any(_is_advanced(p) for p in expanded):
        return _assign_chosen(x, expanded, value)
    windows: list[Window | None] = []
    parts: list[Any] = []
    for axis, p in enumerate(q for q in expanded if q is not None):
        if _is_moving(p):
            found, step = slice_window(p, number(x.type.shape[axis], x.recorder), x.recorder)
            if step != 1:
                raise _refusal("an assignment to a slice with steps")
            windows.append(found)
            parts.append(slice(None))
        else:
            if isinstance(p, slice):
                windows.append(None)
            parts.append(p)
    if any(p is None for p in expanded):
        raise _refusal("an assignment with new axes")
    old = detached(indexing.getitem(x, tuple(parts), x.recorder))
    target = BoundedArray(old, tuple(windows))
    if not isinstance(value, BoundedArray):
        value = indexing.assigned(value, x.type.dtype)
    elif not np.can_cast(value.dtype.dtype, x.type.dtype.dtype, "same_kind"):
        raise unsupported("an assignment that casts")
    new = cast(_in_shape(value, target), x.type.dtype)
    if any(w is not None for w in windows):
        new = apply(pw.where, target.mask, new, old)
    if all(isinstance(p, slice) and _is_all(p) for p in parts):
        return new
    return indexing.setitem(x, tuple(parts), new)


def _assign_chosen(x: Any, parts: list[Any], value: Any, mode: str = "update") -> Any:
    """x as it is after values are put where index arrays of the first axes say. What belongs to
    no element is put behind the end.
    """
    at = [k for k, p in enumerate(parts) if not isinstance(p, slice)]
    rest = [p for p in parts if isinstance(p, slice)]
    if any(p is None for p in parts) or at != list(range(len(at))) or not all(map(_is_all, rest)):
        raise _refusal("an assignment to this index")
    indices = [_as_index(parts[k]) for k in at]
    values, windows = _mixed(indices, x)
    found = [
        _places(x, axis, v, windows, end=axis == 0)
        for axis, v in zip(at, values, strict=True)
    ]
    others = x.type.shape[len(at) :]
    chosen = BoundedArray(
        shape.broadcast_to(wrap(np.zeros((), np.bool_)), (*found[0].type.shape, *others)),
        (*windows, *(None,) * len(others)),
    )
    chosen.source = owned(chosen.source, found[0].recorder)
    if not isinstance(value, BoundedArray):
        value = indexing.assigned(value, x.type.dtype)
    elif not np.can_cast(value.dtype.dtype, x.type.dtype.dtype, "same_kind"):
        raise unsupported("an assignment that casts")
    new = cast(_in_shape(value, chosen), x.type.dtype)
    row = wrap(np.zeros((), x.type.dtype.dtype))
    room = shape.broadcast_to(row, (1, *x.type.shape[1:]))
    longer = apply(assemble.concat, x, room, axis=0)
    size = found[0].type.size
    flat = [shape.reshape(i, (size,)) for i in found]
    made = apply(
        ix.scatter, longer, shape.reshape(new, (size, *others)), *flat,
        axes=tuple(range(len(at))), mode=mode,
    )  # fmt: skip
    return subscript.getitem(made, slice(0, x.type.shape[0]))


__all__ = [
    "FUNCTIONS", "METHODS", "BoundedArray", "assign", "bounded", "call_function", "call_ufunc",
    "compacted", "elementwise", "has_bounded", "is_bounded", "mapped", "needs_bounds",
    "nonzero", "part", "plain", "taken", "together",
]  # fmt: skip
