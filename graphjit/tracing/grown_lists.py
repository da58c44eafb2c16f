"""Lists that grow in the turns of a loop: their items in arrays that have room for more."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import numpy as np

from graphjit.core.errors import TracingError, asked_by_user, at_user_line
from graphjit.core.types import TensorType, bool_, float64, int64
from graphjit.functions import shape, subscript
from graphjit.numpy_protocol.bounded_arrays import BoundedArray
from graphjit.numpy_protocol.promotion import (
    array,
    cast,
    convert,
    is_symbol,
    owned,
    promoted,
)
from graphjit.numpy_protocol.python_numbers import left_to_python
from graphjit.numpy_protocol.windows import (
    Window,
    checked,
    moved,
    number,
    plus,
    slice_window,
)
from graphjit.ops import index as ix
from graphjit.ops import pointwise as pw
from graphjit.ops import source
from graphjit.tensors.apply import TensorBase, apply, wrap

from .number_kinds import (
    TupleKind,
    common_kind,
    is_given,
    is_traced_array,
    join,
    kind_of,
    kinds_of_numbers,
    may_be_item,
    parts_of,
    split,
)

_ZERO, _ONE = wrap(np.zeros((), np.int64)), wrap(np.ones((), np.int64))
# The room that a list has at first, in items, and how many bytes all of it may take.
ROOM, MAX_BYTES = 1024, 1 << 28


class GrownList(TensorBase):
    """In place of a list of items that are alike, which some loop makes longer.

    item: the kind of an item. buffers: arrays with the parts of the items, along the first
    axis. length: how many there are, of Python's. room: how many there may be
    """

    __slots__ = ("__weakref__", "_trace", "buffers", "item", "length", "room")

    is_selection = True
    is_list = True
    precedence = 2

    def __init__(
        self, trace: Any, item: Any, buffers: Sequence[Any], length: Any, room: int
    ) -> None:
        self._trace, self.item, self.buffers = trace, item, list(buffers)
        self.length, self.room = length, room
        trace.note_bounds(length, 0, room)

    @staticmethod
    def buffer_types(
        parts: Sequence[tuple[TensorType, str]], room: int
    ) -> list[tuple[TensorType, str]]:
        """The types of arrays for so many items, with one place behind the end."""
        return [(TensorType((room + 1, *t.shape), t.dtype), "numpy") for t, _ in parts]

    @property
    def recorder(self) -> Any:
        """The trace."""
        return self._trace

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance sees: list, in the user's code."""
        return list if asked_by_user(sys._getframe(1)) else GrownList

    @property
    def shape(self) -> Any:
        """Its length, for len()."""
        return (self.length,)

    @property
    def origin(self) -> str:
        """Whose rules hold for its items."""
        origins = {origin for _, origin in parts_of(self.item)}
        return "tensor" if "tensor" in origins else "numpy"

    def known_length(self) -> Any:
        """How many items there are: an int if that doesn't depend on the call."""
        node = self._trace.builder.nodes[self.length.node]
        while node.primitive is pw.cast:
            node = self._trace.builder.nodes[node.inputs[0]]
        return int(node.attr("value").array) if node.primitive is source.const else self.length

    def copy(self) -> GrownList:
        """Another list with the same items."""
        return GrownList(self._trace, self.item, self.buffers, self.length, self.room)

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TracingError(
            at_user_line("what is done with a list that a loop makes longer can't be traced")
        )

    def _require_attribute(self, name: str) -> None:
        if not hasattr(list, name):
            raise AttributeError(f"'list' object has no attribute {name!r}", name=name)
        if name not in ("append", "pop", "reverse", "sort"):
            self._refuse()

    def _parts_of(self, value: Any) -> list[Any]:
        """The arrays that stand for a value that becomes an item."""
        trace = self._trace
        if not may_be_item(value) or not _is_of(self.item, value):
            trace.branches.loops.want_wider(self, value)
            raise TracingError(
                at_user_line(
                    "a list gets items of several types, or that aren't numbers or arrays"
                )
            )
        trace.branches.listed_given |= is_given(value)
        if is_traced_array(value):
            trace.branches.loops.require_new(value)
            again = any(value.storage is x.storage for x in trace.branches.in_lists)
            if again or trace.branches.loops.is_older(value):  # one array, several times
                trace.branches.listed_given = True
        parts = split(trace, value, self.item)
        for x in parts:
            if is_symbol(x) and x.type.shape:
                x.storage.freeze()
                trace.branches.in_lists.append(x)
        return parts

    def _with(self, parts: Sequence[Any], place: Any) -> list[Any]:
        """The buffers with an item at a place that they have."""
        made = []
        for buffer, x in zip(self.buffers, parts, strict=True):
            row = convert(x, buffer.type.dtype) if not is_symbol(x) else x
            row = shape.reshape(cast(array(row), buffer.type.dtype), (1, *row.type.shape))
            where = shape.reshape(place, (1,))
            found = apply(ix.scatter, buffer, row, where, axes=(0,), mode="update")
            made.append(owned(found, self._trace))
        return made

    def append(self, value: Any) -> None:
        """Add an item at the end. A call in which there is no room is left to Python."""
        trace = self._trace
        trace.branches.loops.require_grows(self)
        parts = self._parts_of(value)
        trace.branches.has_rooms = True

        def longer() -> list[Any]:
            length = number(self.length, trace)
            full = apply(pw.ge, length, wrap(np.array(self.room)))
            made = self._with(parts, checked(length, full))
            return [made, owned(plus(length, _ONE), trace)]

        self.buffers, length = trace.with_numpy_rules(longer)
        self.length = trace.as_weak(length)
        trace.note_bounds(self.length, 0, self.room)

    def pop(self, place: Any = -1) -> Any:
        """Remove the last item, and give it."""
        if type(place) is not int or place != -1:
            self._refuse()
        trace = self._trace
        trace.branches.loops.require_grows(self)

        def shorter() -> Any:
            # the check is part of the length, which is needed where the item isn't
            length = number(self.length, trace)
            length = checked(length, apply(pw.le, length, _ZERO))
            return owned(apply(pw.sub, length, _ONE), trace)

        place = trace.with_numpy_rules(shorter)
        found = self.item_at(place)
        self.length = trace.as_weak(place)
        trace.note_bounds(self.length, 0, self.room)
        return found

    def item_at(self, place: Any) -> Any:
        """The item at a place before the end."""
        trace = self._trace
        parts = []
        for buffer, (type, origin) in zip(self.buffers, parts_of(self.item), strict=True):
            found = trace.with_numpy_rules(
                lambda b=buffer, t=type: owned(
                    shape.reshape(moved(b, 0, number(place, trace), 1), t.shape), trace
                )
            )
            if origin == "weak":
                found = trace.as_weak(found)
                if type.dtype is int64:
                    trace.note_bounds(found, -(2**63), 2**63 - 1)
            elif type.shape:
                found.storage.freeze()
                trace.branches.in_lists.append(found)
            parts.append(found)
        return join(trace, self.item, iter(parts))

    def _part(self, key: slice) -> GrownList:
        """A new list of the items that a slice chooses."""
        trace = self._trace

        def parts() -> Any:
            length = number(self.length, trace)
            window, step = slice_window(key, length, trace)
            found = [
                owned(moved(b, 0, window.start, self.room + 1, step), trace)
                for b in self.buffers
            ]
            return found, owned(window.count, trace)

        buffers, count = trace.with_numpy_rules(parts)
        return GrownList(trace, self.item, buffers, trace.as_weak(count), self.room)

    def reverse(self) -> None:
        """Put the items in reverse order."""
        self._trace.branches.loops.require_grows(self, longer=False)
        self.buffers = self._part(slice(None, None, -1)).buffers

    def sort(self, *given: Any, **named: Any) -> None:
        """Sort the items, which are numbers."""
        if given or named:
            self._refuse()
        self._trace.branches.loops.require_grows(self, longer=False)
        made = self.sorted()
        self.buffers, self.length = made.buffers, made.length

    def sorted(self) -> GrownList:
        """A new list of the items, which are numbers, in order. A call with NaN, or with zeros
        of both signs, is left to Python.
        """
        (type, origin), *others = kinds_of_numbers(self.item)
        kind, trace = type.dtype, self._trace
        known = origin in ("weak", "numpy") and kind in (int64, float64)
        if others or type.shape or not known:
            self._refuse()
        top = np.iinfo(np.int64).max if kind is int64 else np.inf
        (buffer,) = self.buffers

        def made() -> tuple[Any, Any]:
            length = number(self.length, trace)
            inside = array(np.arange(self.room + 1) < length)
            found = np.sort(np.where(inside, buffer, top))
            if kind is float64:
                odd = np.isnan(buffer) | ((buffer == 0) & np.signbit(buffer))
                length = left_to_python(length, array((odd & inside).any()))
            return owned(array(found), trace), owned(array(length), trace)

        values, length = trace.with_numpy_rules(made)
        return GrownList(trace, self.item, [values], trace.as_weak(length), self.room)

    def reduced(self, name: str) -> Any:
        """What min(), max(), sum(), all() and any() give for numbers. A call with NaN, or
        with zeros of both signs for an extreme, or an int that leaves 64 bits, is left to
        Python.
        """
        (type, origin), *others = parts = kinds_of_numbers(self.item)
        if others or type.shape or origin not in ("weak", "numpy"):
            self._refuse()
        assert parts
        trace, kind = self._trace, type.dtype
        whole = self.compact()
        if name in ("all", "any"):
            return trace.as_weak(
                trace.with_numpy_rules(lambda: owned(array(getattr(whole != 0, name)()), trace))
            )

        def extreme() -> Any:
            reduce = getattr(whole, name)
            found = reduce()
            if not kind.is_floating:
                return found
            nan = np.isnan(whole).any()
            zero = (whole == 0) & np.signbit(whole)
            both = zero.any() & (found == 0)
            return left_to_python(found, array(nan | both))

        if name == "sum":
            if kind is not int64 and kind is not float64:
                self._refuse()
            made = trace.with_numpy_rules(whole.sum)
            if kind is int64:
                about = trace.with_numpy_rules(lambda: np.abs(whole.astype(float)).sum())
                large = trace.with_numpy_rules(lambda: about >= 9.2e18)
                made = trace.with_numpy_rules(
                    lambda: owned(left_to_python(made, array(large)), trace)
                )
                if origin == "numpy":
                    self._refuse()
            elif origin == "numpy":  # an int where there is none
                empty = trace.with_numpy_rules(lambda: owned(array(self.length == 0), trace))
                made = trace.with_numpy_rules(lambda: owned(left_to_python(made, empty), trace))
        else:
            made = trace.with_numpy_rules(lambda: owned(extreme(), trace))
        if origin == "weak":
            made = trace.as_weak(made)
            if kind is int64:
                trace.note_bounds(made, -(2**63), 2**63 - 1)
            elif name == "sum":
                empty = trace.with_numpy_rules(lambda: owned(array(self.length == 0), trace))
                made = trace.as_weak(
                    trace.with_numpy_rules(lambda: owned(left_to_python(made, empty), trace))
                )
        return made

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self._part(key)
        return self.item_at(self._place_of(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        self._trace.branches.loops.require_grows(self, longer=False)
        place, parts = self._place_of(key), self._parts_of(value)
        self.buffers = self._trace.with_numpy_rules(lambda: self._with(parts, place))

    def _place_of(self, key: Any) -> Any:
        """The place of an item, counted from the beginning. A call in which it isn't there is
        left to Python.
        """
        if isinstance(key, bool) or not (
            isinstance(key, (int, np.integer))
            or (is_symbol(key) and not key.is_selection and not key.type.shape)
        ):
            self._refuse()
        trace = self._trace

        def place() -> Any:
            length, found = number(self.length, trace), number(key, trace)
            if found.recorder is None:
                counted = plus(found, length) if int(found.numpy()) < 0 else found
            else:
                negative = apply(pw.lt, found, _ZERO)
                counted = apply(pw.where, negative, plus(found, length), found)
            bad = apply(pw.bit_or, apply(pw.lt, counted, _ZERO), apply(pw.ge, counted, length))
            return owned(checked(counted, bad), trace)

        return trace.with_numpy_rules(place)

    def __bool__(self) -> bool:
        found = self.length > 0
        outcome: bool | None = self._trace.branches.outcome(found, sys._getframe(1))
        return bool(found) if outcome is None else outcome

    def compact(self) -> Any:
        """The items as an array of unknown length, as np.array makes it."""
        trace, kinds = self._trace, kinds_of_numbers(self.item)
        several, parts, chosen = len(kinds) > 1, iter(self.buffers), []
        for type_, origin in kinds:
            chosen.append(next(parts))
            if origin == "mixed":  # of either kind the array's
                next(parts)
            elif origin not in ("weak", "numpy") or (type_.shape and several):
                self._refuse()

        def made() -> Any:
            columns = [subscript.getitem(b, slice(0, self.room)) for b in chosen]
            if several or type(self.item) is TupleKind:
                columns = [shape.stack(promoted(*columns), axis=1)]
            values, length = owned(columns[0], trace), number(self.length, trace)
            if values.ndim > 1 or values.type.dtype is not float64:  # np.array([]) is another
                length = checked(length, apply(pw.le, length, _ZERO))
            window = Window(_ZERO, length)
            return BoundedArray(values, (window, *(None,) * (values.ndim - 1)))

        return trace.with_numpy_rules(made)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.shape and len(args) == 1 and args[0] is self:
            (kind, *others) = kinds_of_numbers(self.item)
            if others or kind[0].shape:
                self._refuse()
            return self.shape

        def given(value: Any) -> Any:
            if type(value) in (list, tuple):
                return type(value)(given(x) for x in value)
            return value.compact() if type(value) is GrownList else value

        return func(*map(given, args), **{k: given(x) for k, x in kwargs.items()})

    __iter__ = __len__ = __delitem__ = __contains__ = __add__ = __radd__ = _refuse
    __mul__ = __rmul__ = __iadd__ = __imul__ = __eq__ = __ne__ = __lt__ = __le__ = _refuse
    __gt__ = __ge__ = __array__ = __reversed__ = __str__ = __format__ = __reduce__ = _refuse
    __hash__ = object.__hash__
    __array_ufunc__ = None

    def __repr__(self) -> str:
        if not self._trace.closed and asked_by_user(sys._getframe(1)):
            self._refuse()
        return f"<list that grows, of {self.item}>"


def _is_of(item: Any, value: Any) -> bool:
    return bool(common_kind(item, kind_of(value), [value]) == item)


def grown(trace: Any, items: Sequence[Any], item: Any, room: int) -> GrownList:
    """A list with these items of one kind, and room for more."""
    trace.branches.listed_given |= any(map(is_given, items))
    kinds = GrownList.buffer_types(parts_of(item), room)
    if sum(t.nbytes for t, _ in kinds) > MAX_BYTES:
        raise TracingError(at_user_line("a list that a loop makes longer takes too much room"))
    rows = [split(trace, x, item) for x in items]
    for x in (x for row in rows for x in row):
        if is_symbol(x) and x.type.shape:
            x.storage.freeze()
            trace.branches.in_lists.append(x)

    def buffers() -> list[Any]:
        made = []
        for k, (type, _) in enumerate(kinds):
            zero = wrap(np.zeros((), type.dtype.dtype))
            buffer = shape.broadcast_to(zero, type.shape)
            if rows:
                known = shape.stack([cast(array(row[k]), type.dtype) for row in rows])
                place = subscript.iota((len(rows),), 0)
                buffer = apply(ix.scatter, buffer, known, place, axes=(0,), mode="update")
            made.append(owned(buffer, trace))
        return made

    found = trace.with_numpy_rules(buffers)
    length = trace.with_numpy_rules(lambda: owned(wrap(np.array(len(items))), trace))
    return GrownList(trace, item, found, trace.as_weak(length), room)


def listed(trace: Any, x: Any) -> GrownList:
    """The list of Python's numbers that `tolist` of an array gives, with room for as many."""
    count = x.type.shape[0]
    dtype = {"b": bool_, "i": int64, "f": float64}[x.type.dtype.kind]

    def parts() -> tuple[list[Any], Any]:
        rest = wrap(np.zeros(count + 1, dtype.dtype))
        found = shape.concat([cast(array(x), dtype), rest])
        return [owned(found, trace)], owned(wrap(np.array(count)), trace)

    buffers, length = trace.with_numpy_rules(parts)
    item = (TensorType((), dtype), "weak")
    return GrownList(trace, item, buffers, trace.as_weak(length), 2 * count)


def same_items(a: Any, b: Any) -> bool:
    """Whether two values are such lists with the same items."""
    if type(a) is not GrownList or type(b) is not GrownList:
        return False
    nodes = ([x.length.node, *(buffer.node for buffer in x.buffers)] for x in (a, b))
    return next(nodes) == next(nodes)


def is_held_by(value: Any, known: Sequence[Any]) -> bool:
    """Whether no other containers than these, and no other objects, hold a value."""
    # without closures, whose cells would be holders
    for holder in gc.get_referrers(value):
        if isinstance(holder, FrameType):
            continue
        for each in known:
            if holder is each:
                break
        else:
            return False
    return True


def is_held_once(
    value: list[Any],
    frame: FrameType,
    known: Sequence[Any],
    variables: dict[str, Any] | None = None,
) -> bool:
    """Whether only a frame's variable knows a list.

    known: containers that don't count.
    variables: those that may still be read, if not all of the frame's.
    """
    if not is_held_by(value, known):
        return False
    if _times(value, frame.f_locals if variables is None else variables) != 1:
        return False
    above = frame.f_back
    while above is not None:
        own = above.f_globals.get("__name__", "").startswith("graphjit")
        if not own and _times(value, above.f_locals):
            return False
        above = above.f_back
    return True


def _times(value: Any, variables: dict[str, Any]) -> int:
    """How many variables are a value."""
    found = 0
    for x in variables.values():
        found += x is value
    return found


__all__ = ["ROOM", "GrownList", "grown", "is_held_by", "is_held_once", "listed", "same_items"]
