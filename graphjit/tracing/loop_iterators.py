"""Iterators whose steps are seen, so that a `for` loop over them can become one node."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from graphjit.core.dims import Dim
from graphjit.core.errors import TracingError, at_user_line
from graphjit.numpy_protocol.windows import common_length
from graphjit.tensors.apply import TensorBase

from .grown_lists import GrownList

if TYPE_CHECKING:
    from types import FrameType


def _is_traced(value: Any) -> bool:
    return isinstance(value, TensorBase) and value.recorder is not None


class LoopItems(Protocol):
    """What a `for` loop goes over: items by their numbers.

    count: how many there are, a traced int where that is known only at the call
    """

    count: Any

    def item(self, number: Any) -> Any:
        """The item of a number, an int or a traced one."""


class Turns(Protocol):
    """Who is told of each step."""

    def next_item(self, steps: LoopIterator, frame: FrameType) -> Any:
        """What the next step gives. Raises StopIteration at the end."""


class LoopIterator:
    """What a `for` loop steps through.

    position: the number of the next item. start: how many nodes there were before the loop.
    lost: whether nobody knows the position, so that no code may ask for an item
    """

    __slots__ = (
        "__weakref__", "_turns", "ended", "items", "lost", "position", "start", "trace",
    )  # fmt: skip

    def __init__(self, items: LoopItems, trace: Any, turns: Turns) -> None:
        self.items, self.trace, self._turns = items, trace, turns
        self.position = self.start = 0
        self.ended = self.lost = False

    def __iter__(self) -> LoopIterator:
        return self

    def __next__(self) -> Any:
        return self._turns.next_item(self, sys._getframe(1))


class TracedRange:
    """A range whose bounds are traced. All that can be done with it is to loop over it."""

    __slots__ = ("__weakref__", "_loop", "items")

    def __init__(self, items: LoopItems, loop: Any) -> None:
        self.items, self._loop = items, loop

    def __iter__(self) -> LoopIterator:
        return self._loop(self.items)  # type: ignore[no-any-return]

    def _refuse(self, *_: Any) -> Any:
        raise TracingError(at_user_line("what is asked of a range with traced bounds"))

    __bool__ = __len__ = __getitem__ = __contains__ = __eq__ = __ne__ = __reversed__ = _refuse
    __repr__ = __str__ = __reduce__ = _refuse
    __hash__ = _refuse
    if not TYPE_CHECKING:
        __class__ = property(_refuse)


class RangeItems:
    """The numbers of a range that is known."""

    __slots__ = ("_numbers", "count")

    def __init__(self, numbers: range) -> None:
        self._numbers, self.count = numbers, len(numbers)

    def item(self, number: Any) -> Any:
        """The number at a place."""
        numbers = self._numbers
        if isinstance(number, int):
            return numbers[number]
        found = number if numbers.step == 1 else number * numbers.step
        if numbers.start:
            found = found + numbers.start
        ends = numbers[0], numbers[-1]
        found.recorder.note_bounds(found, min(ends), max(ends))
        return found


class TracedRangeItems:
    """The numbers of a range whose bounds are traced. step: an int that isn't 0."""

    __slots__ = ("_start", "_step", "count")

    def __init__(self, start: Any, stop: Any, step: int) -> None:
        self._start, self._step = start, step
        distance = stop - start if step > 0 else start - stop
        width = abs(step)
        self.count = distance if width == 1 else (distance + (width - 1)) // width

    def item(self, number: Any) -> Any:
        """The number at a place, which is less than the count."""
        found = number if self._step == 1 else number * self._step
        start = self._start
        if _is_traced(start) or start:
            found = start + found
        if _is_traced(found):  # between the bounds, which fit
            found.recorder.note_bounds(found, -(2**63), 2**63 - 1)
        return found


class ArrayItems:
    """The items along the first axis of a traced array."""

    __slots__ = ("_items", "count")

    def __init__(self, array: Any) -> None:
        # a symbolic extent is its number from here on
        self._items, self.count = array, operator.index(array.type.shape[0])

    def item(self, number: Any) -> Any:
        """The item at a place, as it is now."""
        return self._items[number]


class BoundedItems:
    """The items along the first axis of an array of unknown length."""

    __slots__ = ("_items", "count")

    def __init__(self, array: Any) -> None:
        self._items, self.count = array, array.shape[0]

    def item(self, number: Any) -> Any:
        """The item at a place before the end, as it is now."""
        return self._items.known_item(number)


class ListItems:
    """The items of a list that a loop has made longer."""

    __slots__ = ("count", "values")

    def __init__(self, values: Any) -> None:
        self.values, self.count = values.copy(), values.known_length()

    def item(self, number: Any) -> Any:
        """The item at a place before the end."""
        return self.values.item_at(number)


class EnumeratedItems:
    """Pairs of numbers and items."""

    __slots__ = ("_items", "_start", "count")

    def __init__(self, items: LoopItems, start: int) -> None:
        self._items, self._start, self.count = items, start, items.count

    def item(self, number: Any) -> Any:
        """The pair at a place."""
        counted = number + self._start if self._start else number
        if _is_traced(counted):
            known = isinstance(self.count, int)
            top = self.count - 1 + self._start if known else 2**62
            counted.recorder.note_bounds(counted, self._start, max(top, self._start))
        return counted, self._items.item(number)


class ZippedItems:
    """Tuples of the items of several.

    strict: whether they are to be equally many
    """

    __slots__ = ("_parts", "count")

    def __init__(self, parts: Sequence[LoopItems], strict: bool = False) -> None:
        self._parts = parts
        self.count = parts[0].count
        for part in parts[1:]:
            self.count = common_length(self.count, part.count, strict)

    def item(self, number: Any) -> Any:
        """The tuple at a place."""
        return tuple([part.item(number) for part in self._parts])


class ReversedItems:
    """Items in reverse."""

    __slots__ = ("_items", "count")

    def __init__(self, items: LoopItems) -> None:
        self._items, self.count = items, items.count

    def item(self, number: Any) -> Any:
        """The item at a place from the end."""
        return self._items.item(self.count - 1 - number)


def items_of(value: Any) -> LoopItems | None:
    """What a loop over a value goes over; None where that isn't known by numbers."""
    if type(value) is range:
        return RangeItems(value) if len(value) > 1 else None
    if type(value) is TracedRange:
        return value.items
    if type(value) is LoopIterator:
        if value.position or value.ended or value.lost:
            return None
        value.lost = True  # its items are another's now
        return value.items
    if type(value) is GrownList:
        return ListItems(value)
    if not _is_traced(value) or value.origin != "numpy":
        return None
    if value.is_selection:
        return BoundedItems(value.compact())
    shape = value.type.shape
    return ArrayItems(value) if shape else None


def items_of_call(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What a loop over the result of a builtin goes over; None where that isn't known."""
    if function is range and not kwargs and any(_is_traced(x) for x in args):
        return _traced_range(*args)
    if function not in (enumerate, zip, reversed) or not args:
        return None
    parts = [items_of(x) for x in args[: 1 if function is enumerate else len(args)]]
    if any(part is None for part in parts):
        return None
    known: list[Any] = parts
    counted = all(isinstance(part.count, int) for part in known)
    if function is enumerate:
        start = kwargs.get("start", args[1] if len(args) > 1 else 0)
        good = type(start) is int and not kwargs.keys() - {"start"} and len(args) <= 2
        return EnumeratedItems(known[0], start) if good else None
    if function is zip:
        strict = kwargs.get("strict", False)
        uneven = counted and strict and len({part.count for part in known}) > 1
        if kwargs.keys() - {"strict"} or uneven:  # Python raises at the end
            return None
        return ZippedItems(known, bool(strict))
    one = counted and len(args) == 1 and type(args[0]) not in (LoopIterator, TracedRange)
    return ReversedItems(known[0]) if one and not kwargs else None


def _traced_range(first: Any, second: Any = None, step: Any = 1) -> LoopItems | None:
    given = (0, first) if second is None else (first, second)
    if type(step) is not int or not step:
        return None
    bounds = [_as_bound(x) for x in given]
    if any(x is None for x in bounds):
        return None
    return TracedRangeItems(bounds[0], bounds[1], step)


def _as_bound(x: Any) -> Any:
    """An int, or a traced one of Python's; None for what isn't a bound of a range."""
    if type(x) is Dim:
        return operator.index(x)  # its number from here on
    if not _is_traced(x):
        return x if type(x) is int else None
    if x.is_selection or x.type.shape or x.type.dtype.kind not in "biu" or x.origin == "tensor":
        return None
    weak = x.origin == "weak" and x.type.dtype.size == 8
    return x if weak else x.recorder.branches.loops.as_int(x)


__all__ = ["LoopItems", "LoopIterator", "TracedRange", "items_of", "items_of_call"]
