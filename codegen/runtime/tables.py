"""What a specialisation expects of a call and does in it, as tables that machine code reads.

An *entry* is a table of 64-bit words: how many arguments, the guards, and how to launch. A
guard is a few words for each leaf or container of the arguments, in the order in which they are
walked. While a call runs, a *frame* on the stack holds what it makes; tables refer to places in
it by word. `dispatcher.py` has the code that reads all this.
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


class Guard(IntEnum):
    """What is asked of a leaf or container; the first word of a guard."""

    ARRAY = 0
    ZERO_DIM = auto()  # an array without dims, or a NumPy scalar
    TENSOR = auto()
    FLOAT = auto()
    INTEGER = auto()
    COMPLEX = auto()
    SAME = auto()  # this very object
    REFERENT = auto()  # what a weak reference refers to
    FLOAT_IS = auto()
    INTEGER_IS = auto()
    SHAPED = (
        auto()
    )  # an array of this dtype and shape in any memory order, to be read by Python
    TYPE = auto()  # an object of this very type
    TUPLE = auto()  # of this very type: a tuple or a named one
    LIST = auto()
    DICT = auto()
    FIELDS = auto()  # of this very type: an object by its attributes
    # Where the guard that follows is for something else, to which this object leads:
    ITEM = auto()  # what is under a key
    ATTRIBUTE = auto()
    CONTENT = auto()  # what a closure's cell holds
    DEREFERENCE = auto()  # what a weak reference refers to
    VARIABLE = auto()  # the array of a variable's cell
    AGAIN = auto()  # no guard follows: the object is that of an earlier leaf


class Result(IntEnum):
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
    AGAIN = auto()  # the object that an earlier result is
    UPDATE = auto()  # the new array of a variable, not returned


class Build(IntEnum):
    """What results are put into; the first word of a plan."""

    RESULT = 0  # the next result itself
    TUPLE = auto()
    LIST = auto()
    DICT = auto()
    CALL = auto()  # what a callable makes of the parts


class Word(IntEnum):
    """The places of an entry."""

    POSITIONAL = 0  # how many positional arguments
    NAMED = auto()  # how many keyword arguments
    NAMES = auto()  # their names, in order
    GUARDS = auto()
    FRAME_WORDS = auto()
    LEAVES_AT = auto()  # where the frame holds the leaves
    LEAVES = auto()
    PYTHON = auto()  # a Python function of the leaves, or of the arguments; or null
    FINISH = (
        auto()
    )  # null, or a Python function of what the one of the arguments gives, and leaves
    RETURNS = auto()  # whether arrays may be returned as they are
    LOCKS = auto()
    LOCK_TABLE = auto()  # Python functions: one that acquires a lock, one that releases it
    ROOTS = auto()  # objects that lead to what is read but not given, guarded like arguments
    ROOT_TABLE = auto()
    ROOT_GUARDS = auto()
    SEGMENT = auto()  # the address of the generated function, or null if there are no kernels
    ARGUMENTS_AT = auto()  # where the frame holds its arguments
    CONSTANTS = auto()
    CONSTANT_TABLE = auto()
    RESULTS = auto()
    RESULT_TABLE = auto()
    RESULTS_AT = auto()
    ARENA_BYTES = auto()
    ARENA_ARGUMENT = auto()
    ARENA_CELL = auto()
    MAKE_ARENA = auto()  # a Python function, or null for an arena on the stack
    SPARE_ARENA = auto()  # one that no call uses now; owned
    RECORD_ARGUMENT = auto()
    RECORD_CELL = auto()  # 0: no check can fail
    FAIL = auto()  # a Python function that raises
    PLAN = auto()  # how to put results together, or null where the first is all
    SYMBOLS = auto()  # how many symbols the extents of the arguments have
    EXTENTS_AT = auto()  # where the frame holds what extents they stand for, -1 at first
    PREPARE = auto()  # the address of `prepare`, or null where there are no symbols
    SIZES_ARGUMENT = auto()
    SIZES_CELL = auto()  # before what `prepare` writes
    ARENA_AT = auto()  # where the frame holds the arena's bytes, or 0 where they are fixed
    PLAIN = auto()  # 1: kernels take arrays and make small arrays, and nothing else


class ResultWord(IntEnum):
    """The places of a result's description."""

    KIND = 0
    ARGUMENT = auto()
    CELL = auto()
    DTYPE = auto()
    NDIM = auto()
    SHAPE = auto()
    MAKE = auto()  # a Python function that allocates it, or null
    # a tensor's type, a static result, a variable's cell; a leaf's place; an earlier result
    OBJECT = auto()
    SHAPE_AT = auto()  # where the frame holds its extents and bytes, or 0 where they are fixed


# Places of a guard on an array: a code, where the frame holds the leaf, the argument and what
# stands for it, then these.
GUARD_DTYPE, GUARD_NUMBER, GUARD_NUMBER_TOO, GUARD_NDIM, GUARD_SHAPE = 4, 5, 6, 7, 8
# An arena up to this size lies on the stack, and so does a frame up to that size.
STACK_BYTES, MAX_FRAME_WORDS = 4096, 8192


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one leaf must be. value: that of SAME, REFERENT, FLOAT_IS, INTEGER_IS and TYPE."""

    guard: Guard
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    value: Any = None


@dataclass(frozen=True, slots=True)
class Container:
    """A container of leaves. kind: its very type; keys: a dict's, or names of attributes."""

    guard: Guard
    kind: type
    children: tuple[Leaf | Container, ...]
    keys: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Root:
    """An object that leads, by steps with their operands, to an array that a specialisation
    reads; it must be as `leaf` says, or be the object of that leaf of the roots.
    """

    value: Any
    steps: tuple[tuple[Guard, Any], ...]
    leaf: Leaf | int


@dataclass(frozen=True, slots=True)
class Bundle:
    """A container to be made of results, `None` standing for one. keys: a dict's."""

    kind: Build
    children: tuple[Bundle | None, ...]
    keys: tuple[Any, ...] = ()
    call: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What becomes of one result. value: a static result, the tensor's type, the variable's
    cell, or the number of a leaf or of an earlier result.
    """

    kind: Result
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    make: Callable[..., Array] | None = None
    value: Any = None


@dataclass(frozen=True, slots=True)
class Launch:
    """One native call. sources: for each of its arguments ("leaf" | "output" | "constant", a
    number or an array); leaves are those of the arguments, then those of the roots. locks: to
    hold meanwhile, in order: what acquires one and what releases it.
    """

    address: int
    sources: tuple[tuple[str, Any], ...]
    roots: tuple[Root, ...]
    locks: tuple[tuple[Callable[[], Any], Callable[[], Any]], ...]
    outputs: tuple[Output, ...]
    plan: Bundle | None
    arena_bytes: int
    make_arena: Callable[..., Array]
    checked: bool
    fail: Callable[[int, int, int, int], None]
    sized: Sized | None = None


@dataclass(frozen=True, slots=True)
class Interpreted:
    """A Python function that is called with the arguments as they are. finish: what makes the
    result of what that gives and the leaves, unless that is a number or the like, or `arrays`
    says that arrays are returned as they are, and it is one that owns its memory, and no leaf.
    """

    function: Callable[..., Any]
    finish: Callable[..., Any]
    arrays: bool


@dataclass(frozen=True, slots=True)
class Sized:
    """What is more where extents are symbolic: the address of `prepare`, the extents that bring
    the symbols, where `prepare` writes the extents of each result and the arena's bytes.
    """

    prepare: int
    symbols: tuple[int, ...]
    results: tuple[int, ...]
    arena: int


class _Frame:
    """Places in the frame: first the leaves that are held, after their number."""

    def __init__(self, words: int) -> None:
        self.words = words

    def take(self, count: int) -> int:
        place = self.words
        self.words += count
        return place


class _Writer:
    """Makes tables and keeps what they point to."""

    def __init__(self, frame: _Frame) -> None:
        self.frame = frame
        self.keep: list[Any] = []
        self.guards: list[int] = []
        self.leaves_at = 0
        self.leaves = 0
        self.arguments: dict[int, int] = {}  # leaf -> argument's place
        self.extents: dict[str, int] = {}  # a symbolic extent -> where the frame holds it

    def table(self, words: Sequence[int]) -> int:
        made = np.array([_signed(w) for w in words] or [0], np.int64)
        self.keep.append(made)
        return int(made.ctypes.data)

    def address(self, value: Any) -> int:
        if value is None:
            return 0
        self.keep.append(value)
        return id(value)

    def guard(self, part: Leaf | Container) -> None:
        if isinstance(part, Container):
            self.guards += [part.guard, self.address(part.kind), len(part.children)]
            for number, child in enumerate(part.children):
                if part.guard in (Guard.DICT, Guard.FIELDS):
                    self.keep.append(part.keys[number])
                    self.guards.append(id(part.keys[number]))
                self.guard(child)
            return
        number, self.leaves = self.leaves, self.leaves + 1
        self.guards += [part.guard, self.leaves_at + number]
        match part.guard:
            case Guard.SAME | Guard.REFERENT | Guard.TYPE:
                self.keep.append(part.value)
                self.guards.append(id(part.value))
            case Guard.FLOAT_IS:
                self.guards.append(*struct.unpack("q", struct.pack("d", part.value)))
            case Guard.INTEGER_IS:
                self.guards.append(part.value)
            case _:
                # a value that isn't an array's is copied to words after the pointer to it
                argument = self.arguments.get(number) or self.frame.take(1)
                self.guards += [argument, self.frame.take(3)]
                if part.guard not in (Guard.FLOAT, Guard.INTEGER, Guard.COMPLEX):
                    self.guards += self._array(part)

    def root(self, root: Root, first_leaf: int) -> None:
        for step, operand in root.steps:
            self.guards.append(step)
            if step in (Guard.ITEM, Guard.ATTRIBUTE):
                self.keep.append(operand)
                self.guards.append(id(operand))
        if isinstance(root.leaf, Leaf):
            self.guard(root.leaf)
        else:
            self.guards += [Guard.AGAIN, self.leaves_at + first_leaf + root.leaf]

    def plan(self, part: Bundle | None) -> list[int]:
        if part is None:
            return [Build.RESULT]
        words = [part.kind, len(part.children)]
        if part.kind is Build.CALL:
            words.append(self.address(part.call))
        for number, child in enumerate(part.children):
            if part.kind is Build.DICT:
                self.keep.append(part.keys[number])
                words.append(id(part.keys[number]))
            words += self.plan(child)
        return words

    def _array(self, part: Leaf) -> list[int]:
        dtype = part.dtype
        assert dtype is not None
        # where an extent is symbolic, the place of what it is stands with a minus
        shape = [-self.extents[str(n)] if isinstance(n, Dim) else n for n in part.shape]
        words = [self.address(dtype), *_numbers(dtype), len(shape), *shape]
        if part.guard is Guard.ZERO_DIM:
            words.append(self.address(dtype.type) if scalar_fits(dtype) else 0)
        return words


class Entry:
    """The tables of one specialisation; frees the arena that they own."""

    _spare = int(Word.SPARE_ARENA)

    def __init__(self, words: dict[Word, int], keep: list[Any]) -> None:
        self._words = np.zeros(len(Word), np.int64)
        for place, value in words.items():
            self._words[place] = _signed(value)
        self._keep = keep
        self.address = int(self._words.ctypes.data)

    def __del__(self) -> None:
        spare = int(self._words[self._spare])
        self._words[self._spare] = 0
        if spare and ctypes is not None:  # as the process ends, modules are empty
            ctypes.pythonapi.Py_DecRef(ctypes.c_void_p(spare))


class Table(np.ndarray[Any, Any]):
    """The number of entries and their addresses, in order of use; keeps the entries alive.

    Machine code holds a reference to the table while it runs one of its entries.
    """

    entries: tuple[Entry, ...] = ()


def make_table(entries: Sequence[Entry]) -> Table:
    """A table of these entries."""
    table = np.array([len(entries), *(e.address for e in entries)], np.int64).view(Table)
    table.entries = tuple(entries)
    return table


def make_entry(
    positional: Sequence[Leaf | Container],
    named: dict[str, Leaf | Container],
    launch: Launch | Interpreted | Callable[..., Any],
) -> Entry | None:
    """The entry for arguments like these; None if they are too many. launch: a native call, one
    of Python, or a Python function of the leaves, which gives `dispatcher.MISS` where the
    specialisation doesn't fit after all.
    """
    parts = [*positional, *named.values()]
    held, leaves = sum(map(_held, parts)), sum(map(_leaves, parts))
    roots = launch.roots if isinstance(launch, Launch) else ()
    # besides, an array that isn't in order is copied, and the copy is held
    frame = _Frame(1 + held + leaves + 2 * len(roots))
    writer = _Writer(frame)
    # one place before the leaves for what is passed on with them
    writer.leaves_at = frame.take(1 + leaves + len(roots)) + 1
    words: dict[Word, int] = {}
    if isinstance(launch, Launch):
        # with the arena, the record and the sizes
        arguments_at = frame.take(len(launch.sources) + 3)
        writer.arguments = {
            number: arguments_at + place
            for place, (source, number) in enumerate(launch.sources)
            if source == "leaf"
        }
        words |= _launch(writer, launch, arguments_at)
    elif isinstance(launch, Interpreted):
        words[Word.PYTHON] = writer.address(launch.function)
        words[Word.FINISH] = writer.address(launch.finish)
        words[Word.RETURNS] = int(launch.arrays)
    else:
        words[Word.PYTHON] = writer.address(launch)
    for part in parts:
        writer.guard(part)
    guards, writer.guards = writer.guards, []
    for root in roots:
        writer.keep.append(root.value)
        writer.root(root, leaves)
    words |= {
        Word.POSITIONAL: len(positional),
        Word.NAMED: len(named),
        Word.NAMES: writer.table([writer.address(name) for name in named]),
        Word.GUARDS: writer.table(guards),
        Word.LEAVES_AT: writer.leaves_at,
        Word.LEAVES: leaves,
        Word.ROOTS: len(roots),
        Word.ROOT_TABLE: writer.table([id(root.value) for root in roots]),
        Word.ROOT_GUARDS: writer.table(writer.guards),
    }
    if frame.words > MAX_FRAME_WORDS:
        return None
    words[Word.FRAME_WORDS] = frame.words
    return Entry(words, writer.keep)


_KNOWN = (Result.STATIC, Result.LEAF, Result.AGAIN)  # for which nothing is computed
_NO_CELL = (Result.ARRAY, Result.TENSOR, Result.UPDATE, *_KNOWN)


def _launch(writer: _Writer, launch: Launch, arguments_at: int) -> dict[Word, int]:
    frame = writer.frame
    constants: list[int] = []
    outputs: dict[int, int] = {}
    for place, (source, value) in enumerate(launch.sources):
        if source == "constant":
            constants += [arguments_at + place, writer.address(value)]
        elif source == "output":
            outputs[value] = arguments_at + place
    results: list[int] = []
    number = 0
    sized, sizes_cell = launch.sized, 0
    if sized is not None:
        sizes_cell = frame.take(sized.arena + 2)
        extents_at = frame.take(len(sized.symbols))
        writer.extents = {str(n): extents_at + k for k, n in enumerate(sized.symbols)}
    for output in launch.outputs:
        place = shape_at = 0
        if output.kind not in _KNOWN:
            if sized is not None and any(isinstance(n, Dim) for n in output.shape):
                shape_at = sizes_cell + 1 + sized.results[number]
            place, number = outputs.get(number) or frame.take(1), number + 1
        cell = 0 if output.kind in _NO_CELL else frame.take(3)
        description = {
            ResultWord.KIND: output.kind,
            ResultWord.ARGUMENT: place,
            ResultWord.CELL: cell,
            ResultWord.DTYPE: writer.address(output.dtype),
            ResultWord.NDIM: len(output.shape),
            ResultWord.SHAPE: 0 if shape_at else writer.table(output.shape),
            ResultWord.MAKE: writer.address(output.make),
            ResultWord.OBJECT: 0,
            ResultWord.SHAPE_AT: shape_at,
        }
        if output.kind in (Result.STATIC, Result.TENSOR, Result.UPDATE):
            writer.keep.append(output.value)
            description[ResultWord.OBJECT] = id(output.value)
        elif output.kind is Result.LEAF:
            description[ResultWord.OBJECT] = writer.leaves_at + output.value
        elif output.kind is Result.AGAIN:
            description[ResultWord.OBJECT] = output.value
        results += description.values()
    end = arguments_at + len(launch.sources)
    varying = isinstance(launch.arena_bytes, Dim)
    on_stack = not varying and launch.arena_bytes <= STACK_BYTES
    words = {
        Word.SEGMENT: launch.address,
        Word.ARGUMENTS_AT: arguments_at,
        Word.CONSTANTS: len(constants) // 2,
        Word.CONSTANT_TABLE: writer.table(constants),
        Word.RESULTS: len(launch.outputs),
        Word.RESULT_TABLE: writer.table(results),
        Word.RESULTS_AT: frame.take(len(launch.outputs)),
        Word.ARENA_BYTES: 1 if varying else launch.arena_bytes,
        Word.ARENA_ARGUMENT: end,
        Word.ARENA_CELL: frame.take(1),
        Word.MAKE_ARENA: 0 if on_stack else writer.address(launch.make_arena),
        Word.RECORD_ARGUMENT: end + 1,
        Word.RECORD_CELL: frame.take(4) if launch.checked else 0,
        Word.FAIL: writer.address(launch.fail),
        Word.PLAN: 0 if launch.plan is None else writer.table(writer.plan(launch.plan)),
        Word.LOCKS: len(launch.locks),
        Word.LOCK_TABLE: writer.table(
            [writer.address(action) for lock in launch.locks for action in lock]
        ),
    }
    if sized is not None:
        words |= {
            Word.SYMBOLS: len(sized.symbols),
            Word.EXTENTS_AT: extents_at,
            Word.PREPARE: sized.prepare,
            Word.SIZES_ARGUMENT: end + 2,
            Word.SIZES_CELL: sizes_cell,
            Word.ARENA_AT: sizes_cell + 1 + sized.arena if varying else 0,
        }
    small = all(o.kind is Result.ARRAY and o.make is None for o in launch.outputs)
    bare = not (launch.roots or constants or launch.arena_bytes or launch.checked or sized)
    words[Word.PLAIN] = int(small and bare and launch.address != 0)
    return words


@functools.cache
def _numbers(dtype: np.dtype[Any]) -> tuple[int, int]:
    """NumPy's numbers of a type: two of C's integer types may be of one size, and then are as
    good as each other.
    """
    twins = [np.dtype(letter) for letter in "bhilqBHILQ"]
    found = [twin.num for twin in twins if twin == dtype] or [dtype.num]
    return found[0], found[-1]


def _leaves(part: Leaf | Container) -> int:
    return 1 if isinstance(part, Leaf) else sum(map(_leaves, part.children))


def _held(part: Leaf | Container) -> int:
    """How many leaves lie in lists and dicts, from which other threads may take them."""
    if isinstance(part, Leaf):
        return 0
    inside = _held if part.guard is Guard.TUPLE else _leaves
    return sum(map(inside, part.children))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def static_leaf(value: Any, by_value: bool) -> Leaf:
    """The guard on a leaf that the specialisation depends on: on the object itself, or, for
    numbers, on the value.
    """
    if type(value) is float:
        return Leaf(Guard.FLOAT_IS, value=value)
    if type(value) is int and -(2**63) <= value < 2**63:
        return Leaf(Guard.INTEGER_IS, value=value)
    if by_value:
        return Leaf(Guard.SAME, value=value)
    try:
        return Leaf(Guard.REFERENT, value=weakref.ref(value))
    except TypeError:
        return Leaf(Guard.SAME, value=value)


__all__ = [
    "Build", "Bundle", "Container", "Entry", "Guard", "Interpreted", "Launch", "Leaf", "Output",
    "Result", "Root", "Sized", "Table", "make_entry", "make_table", "static_leaf",
]  # fmt: skip
