"""What a specialization requires of a call and does in it, as tables that machine code reads.

An *entry* is a table of 64-bit words: the number of arguments, their guards, and how to launch.
A guard is a few words for each leaf or container of the arguments, in traversal order. While a
call runs, a *frame* of words on the stack holds its leaves, arguments and results; tables refer
to words of the frame by index. cpu/dispatcher has the code that reads all this.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import weakref
from collections.abc import Callable, Sequence
from enum import IntEnum, auto
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.core.object_layout import scalar_fits

Array = np.ndarray[Any, np.dtype[Any]]


class GuardKind(IntEnum):
    """What is required of a leaf or container; the first word of a guard."""

    ARRAY = 0
    ZERO_DIM = auto()  # an array without axes, or a NumPy scalar
    TENSOR = auto()
    FLOAT = auto()
    INTEGER = auto()
    COMPLEX = auto()
    SAME = auto()  # this very object
    REFERENT = auto()  # the object that a weak reference refers to
    FLOAT_IS = auto()  # a float with these bits
    INTEGER_IS = auto()  # an int of this value
    SHAPED = auto()  # an array of this dtype and shape in any memory order, read by Python
    TYPE = auto()  # an object of this very type
    LENGTH = auto()  # a container of so many items
    ABSENT = auto()  # a dict without this key
    TUPLE = auto()  # of this very type: a tuple or a named one
    LIST = auto()
    DICT = auto()
    FIELDS = auto()  # of this very type: an object by its attributes
    # Steps of a path. The guard after one is for another object, to which this one leads.
    ITEM = auto()  # the item under a key
    DICT_ITEM = auto()  # the same for a dict, where the object found is only compared
    ATTRIBUTE = auto()
    CONTENT = auto()  # the content of a closure's cell
    DEREFERENCE = auto()  # the object that a weak reference refers to
    VARIABLE = auto()  # the array of a variable's cell
    AGAIN = auto()  # the end of a path: the object must be that of an earlier leaf


class ResultKind(IntEnum):
    """What a result becomes; the first word of its description."""

    ARRAY = 0
    TENSOR = auto()
    SCALAR = auto()  # NumPy's
    FLOAT = auto()
    INTEGER = auto()
    COMPLEX = auto()
    BOOL = auto()
    STATIC = auto()  # an object known beforehand
    LEAF = auto()  # a leaf of the arguments itself
    AGAIN = auto()  # the object of an earlier result
    UPDATE = auto()  # a variable's new array, not returned


class BuildKind(IntEnum):
    """What results are put into; the first word of a plan."""

    RESULT = 0  # the next result itself
    TUPLE = auto()
    LIST = auto()
    DICT = auto()
    CALL = auto()  # the result of a callable


class EntryWord(IntEnum):
    """The words of an entry.

    Those that end in _AT, _ARGUMENT and _CELL are indices of the frame.
    """

    POSITIONAL = 0  # number of positional arguments
    NAMED = auto()  # number of keyword arguments
    NAMES = auto()  # their names, in order
    GUARDS = auto()
    FRAME_WORDS = auto()  # size of the frame
    LEAVES_AT = auto()
    LEAVES = auto()
    PYTHON = auto()  # a Python function of the leaves, or of the arguments; or null
    FINISH = auto()  # a Python function of the result of the latter and the leaves; or null
    RETURNS = auto()  # whether arrays may be returned as they are
    LOCKS = auto()  # number of locks of variables
    LOCK_TABLE = auto()  # two Python functions each: acquire, release
    ROOTS = auto()  # number of objects that lead to captured arrays
    ROOT_TABLE = auto()
    ROOT_GUARDS = auto()
    SEGMENT = auto()  # the address of the segment, or null if there are no kernels
    ARGUMENTS_AT = auto()  # the segment's arguments
    CONSTANTS = auto()
    CONSTANT_TABLE = auto()
    RESULTS = auto()
    RESULT_TABLE = auto()
    RESULTS_AT = auto()
    ARENA_BYTES = auto()
    ARENA_ARGUMENT = auto()
    ARENA_CELL = auto()
    MAKE_ARENA = auto()  # a Python function, or null for an arena on the stack
    SPARE_ARENA = auto()  # an arena that no call uses now; owned
    RECORD_ARGUMENT = auto()
    RECORD_CELL = auto()  # 0: no check can fail
    FAIL = auto()  # a Python function that raises
    PLAN = auto()  # how to put results together, or null where the first is all
    SYMBOLS = auto()  # number of symbolic extents of the arguments
    EXTENTS_AT = auto()  # their values, -1 at first
    PREPARE = auto()  # the address of `prepare`, or null where there are no symbols
    SIZES_ARGUMENT = auto()
    SIZES_CELL = auto()  # followed by what `prepare` writes
    ARENA_AT = auto()  # the arena's bytes, or 0 where they are fixed
    PLAIN = auto()  # 1: the segment only takes arrays and makes small arrays


class GuardWord(IntEnum):
    """The words of a guard on a leaf.

    LEAF: the frame's index of the leaf
    ARGUMENT: the frame's index of the segment's argument
    VALUE: in place of ARGUMENT, the value or object that the leaf must be
    CELL: the frame's index of words that stand in for an array
    NUMBER, OTHER_NUMBER: NumPy's numbers of the dtype
    SHAPE: the first of the extents; of ZERO_DIM, the type of the NumPy scalar
    """

    KIND = 0
    LEAF = 1
    ARGUMENT = 2
    VALUE = 2
    CELL = 3
    DTYPE = 4
    NUMBER = 5
    OTHER_NUMBER = 6
    NDIM = 7
    SHAPE = 8


class ContainerWord(IntEnum):
    """The words of a guard on a container. Guards of its children follow."""

    KIND = 0
    TYPE = 1
    COUNT = 2
    CHILDREN = 3


class PathWord(IntEnum):
    """The words of a step of a path, or of its end AGAIN."""

    KIND = 0
    OPERAND = 1


class ResultWord(IntEnum):
    """The words of a result's description."""

    KIND = 0
    ARGUMENT = auto()  # the frame's index of the segment's argument
    CELL = auto()  # the frame's index of the words that stand in for an array
    DTYPE = auto()
    NDIM = auto()
    SHAPE = auto()
    MAKE = auto()  # a Python function that allocates it, or null
    # a tensor's type, a static result, a variable's cell, a leaf's index, an earlier result's
    OBJECT = auto()
    SHAPE_AT = auto()  # the frame's index of its extents and bytes, or 0 where they are fixed


# An arena of up to so many bytes lies on the stack. No frame has more words than this.
STACK_BYTES, MAX_FRAME_WORDS = 4096, 8192


@dataclass(frozen=True, slots=True)
class LeafGuard:
    """The guard on one leaf.

    value: that of SAME, REFERENT, FLOAT_IS, INTEGER_IS, TYPE, LENGTH and ABSENT
    """

    guard: GuardKind
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    value: Any = None


@dataclass(frozen=True, slots=True)
class ContainerGuard:
    """The guard on a container of leaves.

    kind: its very type
    keys: a dict's keys, or names of attributes
    """

    guard: GuardKind
    kind: type
    children: tuple[LeafGuard | ContainerGuard, ...]
    keys: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class GuardedRoot:
    """An object that leads to an array that a specialization reads.

    steps: how it leads there, each with its operand
    leaf: the guard on the array; or the number of the root's leaf that it must equal
    """

    value: Any
    steps: tuple[tuple[GuardKind, Any], ...]
    leaf: LeafGuard | int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A container to be made of results.

    children: what is in it; None for the next result
    keys: a dict's keys
    call: the callable of CALL
    """

    kind: BuildKind
    children: tuple[Bundle | None, ...]
    keys: tuple[Any, ...] = ()
    call: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What becomes of one result.

    make: a function that allocates its array, or None
    value: a static result, the tensor's type, the variable's cell, or the number of a leaf or
        of an earlier result
    """

    kind: ResultKind
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    make: Callable[..., Array] | None = None
    value: Any = None


@dataclass(frozen=True, slots=True)
class NativeLaunch:
    """One native call.

    address: that of the segment
    sources: each of its arguments: "leaf", "output" or "constant", with a number or an array.
        Leaves of the arguments are numbered first, then those of the roots.
    locks: those to hold meanwhile, in order: how to acquire each, and how to release it
    plan: the container of the results; None where the first result is all
    checked: whether a check can fail
    fail: raises what a status and a record mean
    sized: None where no extent is symbolic
    """

    address: int
    sources: tuple[tuple[str, Any], ...]
    roots: tuple[GuardedRoot, ...]
    locks: tuple[tuple[Callable[[], Any], Callable[[], Any]], ...]
    outputs: tuple[Output, ...]
    plan: Bundle | None
    arena_bytes: int
    make_arena: Callable[..., Array]
    checked: bool
    fail: Callable[[int, int, int, int], None]
    sized: SizedLaunch | None = None


@dataclass(frozen=True, slots=True)
class Interpreted:
    """A Python function that is called with the arguments as they are.

    finish: makes the result of the function's result and the leaves. It isn't called for
        numbers and the like, nor, with `arrays`, for an array that owns its memory and shares
        it with no leaf.
    """

    function: Callable[..., Any]
    finish: Callable[..., Any]
    arrays: bool


@dataclass(frozen=True, slots=True)
class SizedLaunch:
    """What a launch has besides where extents are symbolic.

    prepare: the address of the function `prepare`
    symbols: the extents from which a call's sizes are read
    results: where `prepare` writes the extents of each result
    arena: where it writes the arena's bytes
    """

    prepare: int
    symbols: tuple[int, ...]
    results: tuple[int, ...]
    arena: int


class FrameLayout:
    """Allots the words of a frame. The first ones are the number of held objects and these."""

    def __init__(self, words: int) -> None:
        self.words = words

    def take(self, count: int) -> int:
        index = self.words
        self.words += count
        return index


class TableWriter:
    """Makes tables and keeps alive what they point to."""

    def __init__(self, frame: FrameLayout) -> None:
        self.frame = frame
        self.keep: list[Any] = []
        self.guards: list[int] = []
        self.leaves_at = 0
        self.leaves = 0
        self.arguments: dict[int, int] = {}  # leaf -> argument's index
        self.extents: dict[str, int] = {}  # a symbolic extent -> where the frame holds it

    def table(self, words: Sequence[int]) -> int:
        made = np.array([_as_signed(w) for w in words] or [0], np.int64)
        self.keep.append(made)
        return int(made.ctypes.data)

    def address(self, value: Any) -> int:
        if value is None:
            return 0
        self.keep.append(value)
        return id(value)

    def guard(self, part: LeafGuard | ContainerGuard) -> None:
        if isinstance(part, ContainerGuard):
            self.guards += [part.guard, self.address(part.kind), len(part.children)]
            for number, child in enumerate(part.children):
                if part.guard in (GuardKind.DICT, GuardKind.FIELDS):
                    self.keep.append(part.keys[number])
                    self.guards.append(id(part.keys[number]))
                self.guard(child)
            return
        number, self.leaves = self.leaves, self.leaves + 1
        self.guards += [part.guard, self.leaves_at + number]
        match part.guard:
            case GuardKind.SAME | GuardKind.REFERENT | GuardKind.TYPE | GuardKind.ABSENT:
                self.keep.append(part.value)
                self.guards.append(id(part.value))
            case GuardKind.FLOAT_IS:
                self.guards.append(*struct.unpack("q", struct.pack("d", part.value)))
            case GuardKind.INTEGER_IS | GuardKind.LENGTH:
                self.guards.append(part.value)
            case _:
                # of a number the frame holds a copy, after the pointer to it
                argument = self.arguments.get(number) or self.frame.take(1)
                self.guards += [argument, self.frame.take(3)]
                if part.guard not in (GuardKind.FLOAT, GuardKind.INTEGER, GuardKind.COMPLEX):
                    self.guards += self._array(part)

    def root(self, root: GuardedRoot, first_leaf: int) -> None:
        for step, operand in root.steps:
            self.guards.append(step)
            if step in (GuardKind.ITEM, GuardKind.DICT_ITEM, GuardKind.ATTRIBUTE):
                self.keep.append(operand)
                self.guards.append(id(operand))
        if isinstance(root.leaf, LeafGuard):
            self.guard(root.leaf)
        else:
            self.guards += [GuardKind.AGAIN, self.leaves_at + first_leaf + root.leaf]

    def plan(self, part: Bundle | None) -> list[int]:
        if part is None:
            return [BuildKind.RESULT]
        words = [part.kind, len(part.children)]
        if part.kind is BuildKind.CALL:
            words.append(self.address(part.call))
        for number, child in enumerate(part.children):
            if part.kind is BuildKind.DICT:
                self.keep.append(part.keys[number])
                words.append(id(part.keys[number]))
            words += self.plan(child)
        return words

    def _array(self, part: LeafGuard) -> list[int]:
        dtype = part.dtype
        assert dtype is not None
        # a symbolic extent is written as minus the frame's index of its value
        shape = [-self.extents[str(n)] if isinstance(n, Dim) else n for n in part.shape]
        words = [self.address(dtype), *_type_numbers(dtype), len(shape), *shape]
        if part.guard is GuardKind.ZERO_DIM:
            words.append(self.address(dtype.type) if scalar_fits(dtype) else 0)
        return words


class Entry:
    """The tables of one specialization. Releases the spare arena that they own."""

    _spare = int(EntryWord.SPARE_ARENA)

    def __init__(self, words: dict[EntryWord, int], keep: list[Any]) -> None:
        self._words = np.zeros(len(EntryWord), np.int64)
        for index, value in words.items():
            self._words[index] = _as_signed(value)
        self._keep = keep
        self.address = int(self._words.ctypes.data)

    def __del__(self) -> None:
        spare = int(self._words[self._spare])
        self._words[self._spare] = 0
        if spare and ctypes is not None:  # None while the interpreter shuts down
            ctypes.pythonapi.Py_DecRef(ctypes.c_void_p(spare))


class Table(np.ndarray[Any, Any]):
    """The number of entries and their addresses, in order of use; keeps the entries alive.

    Machine code holds a reference to the table while it runs one of its entries.
    """

    entries: tuple[Entry, ...] = ()


def make_table(entries: Sequence[Entry]) -> Table:
    """A table of entries."""
    table = np.array([len(entries), *(e.address for e in entries)], np.int64).view(Table)
    table.entries = tuple(entries)
    return table


def make_entry(
    positional: Sequence[LeafGuard | ContainerGuard],
    named: dict[str, LeafGuard | ContainerGuard],
    launch: NativeLaunch | Interpreted | Callable[..., Any],
) -> Entry | None:
    """The entry for arguments with these guards; None if there are too many.

    launch: a native call, a call of Python, or a Python function of the leaves. The last one
        returns `dispatcher.MISS` where the specialization doesn't fit after all.
    """
    parts = [*positional, *named.values()]
    held, leaves = sum(map(_count_held, parts)), sum(map(_count_leaves, parts))
    roots = launch.roots if isinstance(launch, NativeLaunch) else ()
    # an array that isn't in order is copied, and the copy is held, too
    frame = FrameLayout(1 + held + leaves + 2 * len(roots))
    writer = TableWriter(frame)
    # one word before the leaves for the value that is passed to FINISH with them
    writer.leaves_at = frame.take(1 + leaves + len(roots)) + 1
    words: dict[EntryWord, int] = {}
    if isinstance(launch, NativeLaunch):
        # three more: the arena, the record, the sizes
        arguments_at = frame.take(len(launch.sources) + 3)
        writer.arguments = {
            number: arguments_at + index
            for index, (source, number) in enumerate(launch.sources)
            if source == "leaf"
        }
        words |= _launch_words(writer, launch, arguments_at)
    elif isinstance(launch, Interpreted):
        words[EntryWord.PYTHON] = writer.address(launch.function)
        words[EntryWord.FINISH] = writer.address(launch.finish)
        words[EntryWord.RETURNS] = int(launch.arrays)
    else:
        words[EntryWord.PYTHON] = writer.address(launch)
    for part in parts:
        writer.guard(part)
    guards, writer.guards = writer.guards, []
    for root in roots:
        writer.keep.append(root.value)
        writer.root(root, leaves)
    words |= {
        EntryWord.POSITIONAL: len(positional),
        EntryWord.NAMED: len(named),
        EntryWord.NAMES: writer.table([writer.address(name) for name in named]),
        EntryWord.GUARDS: writer.table(guards),
        EntryWord.LEAVES_AT: writer.leaves_at,
        EntryWord.LEAVES: leaves,
        EntryWord.ROOTS: len(roots),
        EntryWord.ROOT_TABLE: writer.table([id(root.value) for root in roots]),
        EntryWord.ROOT_GUARDS: writer.table(writer.guards),
    }
    if frame.words > MAX_FRAME_WORDS:
        return None
    words[EntryWord.FRAME_WORDS] = frame.words
    return Entry(words, writer.keep)


_KNOWN = (ResultKind.STATIC, ResultKind.LEAF, ResultKind.AGAIN)  # nothing is computed
_NO_CELL = (ResultKind.ARRAY, ResultKind.TENSOR, ResultKind.UPDATE, *_KNOWN)


def _launch_words(
    writer: TableWriter, launch: NativeLaunch, arguments_at: int
) -> dict[EntryWord, int]:
    frame = writer.frame
    constants: list[int] = []
    outputs: dict[int, int] = {}
    for index, (source, value) in enumerate(launch.sources):
        if source == "constant":
            constants += [arguments_at + index, writer.address(value)]
        elif source == "output":
            outputs[value] = arguments_at + index
    results: list[int] = []
    number = 0
    sized, sizes_cell = launch.sized, 0
    if sized is not None:
        sizes_cell = frame.take(sized.arena + 2)
        extents_at = frame.take(len(sized.symbols))
        writer.extents = {str(n): extents_at + k for k, n in enumerate(sized.symbols)}
    for output in launch.outputs:
        index = shape_at = 0
        if output.kind not in _KNOWN:
            if sized is not None and any(isinstance(n, Dim) for n in output.shape):
                shape_at = sizes_cell + 1 + sized.results[number]
            index, number = outputs.get(number) or frame.take(1), number + 1
        cell = 0 if output.kind in _NO_CELL else frame.take(3)
        description = {
            ResultWord.KIND: output.kind,
            ResultWord.ARGUMENT: index,
            ResultWord.CELL: cell,
            ResultWord.DTYPE: writer.address(output.dtype),
            ResultWord.NDIM: len(output.shape),
            ResultWord.SHAPE: 0 if shape_at else writer.table(output.shape),
            ResultWord.MAKE: writer.address(output.make),
            ResultWord.OBJECT: 0,
            ResultWord.SHAPE_AT: shape_at,
        }
        if output.kind in (ResultKind.STATIC, ResultKind.TENSOR, ResultKind.UPDATE):
            writer.keep.append(output.value)
            description[ResultWord.OBJECT] = id(output.value)
        elif output.kind is ResultKind.LEAF:
            description[ResultWord.OBJECT] = writer.leaves_at + output.value
        elif output.kind is ResultKind.AGAIN:
            description[ResultWord.OBJECT] = output.value
        results += description.values()
    end = arguments_at + len(launch.sources)
    varying = isinstance(launch.arena_bytes, Dim)
    on_stack = not varying and launch.arena_bytes <= STACK_BYTES
    words = {
        EntryWord.SEGMENT: launch.address,
        EntryWord.ARGUMENTS_AT: arguments_at,
        EntryWord.CONSTANTS: len(constants) // 2,
        EntryWord.CONSTANT_TABLE: writer.table(constants),
        EntryWord.RESULTS: len(launch.outputs),
        EntryWord.RESULT_TABLE: writer.table(results),
        EntryWord.RESULTS_AT: frame.take(len(launch.outputs)),
        EntryWord.ARENA_BYTES: 1 if varying else launch.arena_bytes,
        EntryWord.ARENA_ARGUMENT: end,
        EntryWord.ARENA_CELL: frame.take(1),
        EntryWord.MAKE_ARENA: 0 if on_stack else writer.address(launch.make_arena),
        EntryWord.RECORD_ARGUMENT: end + 1,
        EntryWord.RECORD_CELL: frame.take(4) if launch.checked else 0,
        EntryWord.FAIL: writer.address(launch.fail),
        EntryWord.PLAN: 0 if launch.plan is None else writer.table(writer.plan(launch.plan)),
        EntryWord.LOCKS: len(launch.locks),
        EntryWord.LOCK_TABLE: writer.table(
            [writer.address(action) for lock in launch.locks for action in lock]
        ),
    }
    if sized is not None:
        words |= {
            EntryWord.SYMBOLS: len(sized.symbols),
            EntryWord.EXTENTS_AT: extents_at,
            EntryWord.PREPARE: sized.prepare,
            EntryWord.SIZES_ARGUMENT: end + 2,
            EntryWord.SIZES_CELL: sizes_cell,
            EntryWord.ARENA_AT: sizes_cell + 1 + sized.arena if varying else 0,
        }
    small = all(o.kind is ResultKind.ARRAY and o.make is None for o in launch.outputs)
    bare = not (launch.roots or constants or launch.arena_bytes or launch.checked or sized)
    words[EntryWord.PLAIN] = int(small and bare and launch.address != 0)
    return words


@functools.cache
def _type_numbers(dtype: np.dtype[Any]) -> tuple[int, int]:
    """NumPy's numbers of a dtype. Two of C's integer types may have one size: either will
    do.
    """
    twins = [np.dtype(letter) for letter in "bhilqBHILQ"]
    found = [twin.num for twin in twins if twin == dtype] or [dtype.num]
    return found[0], found[-1]


def _count_leaves(part: LeafGuard | ContainerGuard) -> int:
    return 1 if isinstance(part, LeafGuard) else sum(map(_count_leaves, part.children))


def _count_held(part: LeafGuard | ContainerGuard) -> int:
    """How many leaves lie in lists and dicts, from which other threads may take them."""
    if isinstance(part, LeafGuard):
        return 0
    inside = _count_held if part.guard is GuardKind.TUPLE else _count_leaves
    return sum(map(inside, part.children))


def _as_signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def static_leaf(value: Any, by_value: bool) -> LeafGuard:
    """The guard on a leaf that the specialization depends on: on a number's value, else on the
    object.
    """
    if type(value) is float:
        return LeafGuard(GuardKind.FLOAT_IS, value=value)
    if type(value) is int and -(2**63) <= value < 2**63:
        return LeafGuard(GuardKind.INTEGER_IS, value=value)
    if by_value:
        return LeafGuard(GuardKind.SAME, value=value)
    try:
        return LeafGuard(GuardKind.REFERENT, value=weakref.ref(value))
    except TypeError:
        return LeafGuard(GuardKind.SAME, value=value)


__all__ = [
    "BuildKind", "Bundle", "ContainerGuard", "ContainerWord", "Entry", "EntryWord", "GuardKind",
    "GuardWord", "GuardedRoot", "Interpreted", "LeafGuard", "NativeLaunch", "Output",
    "PathWord", "ResultKind", "ResultWord", "SizedLaunch", "Table", "make_entry", "make_table",
    "static_leaf",
]  # fmt: skip
