"""Writes the tables of a specialization's entry, and frees them.

entry_spec.py says what is written, entry_layout.py where it stands.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.object_layout import scalar_fits

from .entry_layout import (
    FORK_STEPS,
    MAX_FRAME_WORDS,
    MAX_STACK_ARENA_BYTES,
    BuildKind,
    EntryWord,
    GuardKind,
    ResultKind,
    ResultWord,
    StepWord,
)
from .entry_spec import (
    ArgumentLeaf,
    Bundle,
    ContainerGuard,
    GuardNode,
    Interpreted,
    LeafCall,
    LeafGuard,
    NativeLaunch,
    Step,
    guard_trees,
)


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
        self.arrays: list[int] = []  # the indices of leaves that are arrays
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
        self._leaf(part, number)

    def _leaf(self, part: LeafGuard, number: int | None) -> None:
        """The guard on a leaf of this number, or on what is only compared."""
        self.guards += [part.guard, 0 if number is None else self.leaves_at + number]
        match part.guard:
            case GuardKind.REFERENT | GuardKind.TYPE | GuardKind.ABSENT:
                self.keep.append(part.value)
                self.guards += [id(part.value), 0]
            case GuardKind.SAME:
                self.keep.append(part.value)
                self.guards += [id(part.value), id(part.value)]
            case GuardKind.FLOAT_IS:
                bits = struct.unpack("q", struct.pack("d", part.value))
                self.guards += [*bits, self.address(part.value)]
            case GuardKind.INTEGER_IS:
                self.guards += [part.value, self.address(part.value)]
            case GuardKind.LENGTH | GuardKind.SMALL:
                self.guards += [part.value, 0]
            case _:
                assert number is not None
                # of a number the frame holds a copy, after the pointer to it
                argument = self.arguments.get(number) or self.frame.take(1)
                self.guards += [argument, self.frame.take(3)]
                if part.dtype is not None:
                    self.arrays.append(self.leaves_at + number)
                if part.guard not in (GuardKind.FLOAT, GuardKind.INTEGER, GuardKind.COMPLEX):
                    self.guards += self._array(part)

    def tree(self, node: GuardNode, first_leaf: int) -> None:
        """The guards on an object and on what it leads to.

        first_leaf: the number of leaves of the arguments, which come first.
        """
        leaves, steps = node.in_order()
        count = len(leaves) + len(steps)
        if count > 1 or any(step.kind in FORK_STEPS for step, _ in steps):
            self.guards += [GuardKind.FORK, count]
        for leaf, number in leaves:
            if isinstance(leaf, LeafGuard):
                self._leaf(leaf, None if number is None else first_leaf + number)
            else:
                self.guards += [GuardKind.AGAIN, self.leaves_at + first_leaf + leaf]
        for step, child in steps:
            start = len(self.guards)
            self._step(step)
            self.tree(child, first_leaf)
            if step.kind in (GuardKind.LACKS, GuardKind.UNCHANGED):
                self.guards[start + StepWord.SKIP] = 8 * (len(self.guards) - start)

    def _step(self, step: Step) -> None:
        self.guards.append(step.kind)
        operand, place = step.operand, step.place
        match step.kind:
            case GuardKind.CONSTANT:
                self.guards.append(self.address(operand))
            case GuardKind.ITEM:
                index = operand if type(operand) is int and 0 <= operand < 2**63 else -1
                self.keep.append(operand)
                self.guards += [id(operand), index, step.hint]
            case GuardKind.ATTRIBUTE | GuardKind.LACKS | GuardKind.UNCHANGED:
                self.guards.append(self.address(operand))
                words = [0] * 7
                if place is not None:
                    words = [
                        self.address(place.kind), place.version, place.value_at,
                        place.valid_at, place.dict_at, place.keys, place.hint,
                    ]  # fmt: skip
                self.guards += words
                if step.kind is not GuardKind.ATTRIBUTE:
                    self.guards.append(0)

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
        words = [self.address(dtype), dtype.num, len(shape), *shape]
        if part.guard is GuardKind.NUMBER:
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
    launch: NativeLaunch | Interpreted | LeafCall,
) -> Entry | None:
    """The entry for arguments with these guards; None if there are too many.

    launch: a native call, or a call of Python with the arguments or with their leaves
    """
    parts = [*positional, *named.values()]
    held, leaves = sum(map(_count_held, parts)), sum(map(_count_leaves, parts))
    roots = () if isinstance(launch, Interpreted) else launch.roots
    # an array that isn't in order is copied, and the copy is held, too
    kept = sum(root.number is not None for root in roots)
    frame = FrameLayout(1 + held + leaves + 2 * kept)
    writer = TableWriter(frame)
    # one word before the leaves for the value that is passed to FINISH with them
    writer.leaves_at = frame.take(1 + leaves + kept) + 1
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
        words[EntryWord.PYTHON] = writer.address(launch.function)
    for part in parts:
        writer.guard(part)
    guards, writer.guards = writer.guards, []
    trees = guard_trees(roots)
    for value, node in trees:
        writer.keep.append(value)
        writer.tree(node, leaves)
    words |= {
        EntryWord.POSITIONAL: len(positional),
        EntryWord.NAMED: len(named),
        EntryWord.NAMES: writer.table([writer.address(name) for name in named]),
        EntryWord.GUARDS: writer.table(guards),
        EntryWord.LEAVES_AT: writer.leaves_at,
        EntryWord.LEAVES: leaves + kept,
        EntryWord.ROOTS: len(trees),
        EntryWord.ROOT_TABLE: writer.table([_root_word(v, writer.leaves_at) for v, _ in trees]),
        EntryWord.ROOT_GUARDS: writer.table(writer.guards),
        EntryWord.ARRAYS: len(writer.arrays),
        EntryWord.ARRAY_TABLE: writer.table(writer.arrays),
    }
    if frame.words > MAX_FRAME_WORDS:
        return None
    words[EntryWord.FRAME_WORDS] = frame.words
    return Entry(words, writer.keep)


_KNOWN = (ResultKind.STATIC, ResultKind.LEAF, ResultKind.AGAIN)  # nothing is computed
_INTO_LEAF = (ResultKind.WRITTEN, ResultKind.IN_PLACE)
_NO_CELL = (ResultKind.ARRAY, ResultKind.TENSOR, ResultKind.UPDATE, *_INTO_LEAF, *_KNOWN)


def _launch_words(
    writer: TableWriter, launch: NativeLaunch, arguments_at: int
) -> dict[EntryWord, int]:
    frame = writer.frame
    writer.keep.append(launch.code)
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
        elif output.kind in (ResultKind.LEAF, *_INTO_LEAF):
            description[ResultWord.OBJECT] = writer.leaves_at + output.value
        elif output.kind is ResultKind.AGAIN:
            description[ResultWord.OBJECT] = output.value
        results += description.values()
    end = arguments_at + len(launch.sources)
    varying = isinstance(launch.arena_bytes, Dim)
    on_stack = not varying and launch.arena_bytes <= MAX_STACK_ARENA_BYTES
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
        EntryWord.FAIL: 0 if launch.fail is None else writer.address(launch.fail),
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


def _root_word(root: Any, leaves_at: int) -> int:
    return leaves_at + root.number if isinstance(root, ArgumentLeaf) else id(root)


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


__all__ = ["Entry", "Table", "make_entry", "make_table"]
