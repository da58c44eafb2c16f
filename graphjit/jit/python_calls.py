"""Calls of specializations between whose kernels Python runs, written out as Python functions.

Machine code compares the guards and passes on the leaves. What is left is a straight line of
NumPy's and SciPy's routines, kernels and views: its text is made once, with everything known
beforehand in its globals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphjit.capture.sources import NumberSource, Readings, Source
from graphjit.codegen.runtime.compiled import Segment
from graphjit.codegen.runtime.routines import arena_array, array_type, as_contiguous, resolved
from graphjit.core.errors import NeedsPython, PathNotTaken
from graphjit.core.memory_pool import LARGE_BYTES
from graphjit.core.object_layout import READABLE_FLAGS
from graphjit.core.tree import ARRAY, LEAF, Tree, unflatten
from graphjit.ir.program import LibraryCall
from graphjit.tensors.tensor import _wrap
from graphjit.tracing.result_views import BaseArray, CallResult, NumpyCall

from .compiled_call import CompiledCall
from .effects import EffectsDoNotFit
from .plain_array_calls import as_input
from .result_kinds import COMPUTED
from .specialization import CaptureReplacedError, Specialization

# What becomes of results that a function of this kind can make.
_RESULTS = (*COMPUTED, "static", "view", "again", "object")
# What is made is graphjit's own code, to which errors don't point.
_FILE = str(Path(__file__).parent / "<call of a specialization>")
# Stands in a text for the call of `again`.
_AGAIN = "<again>"


class _NotStraight(Exception):
    """Raised for a specialization that is more than a straight line."""


def call_of_any_object(
    specialization: Specialization, leaf_numbers: dict[tuple[str, int], int], miss: Any
) -> Callable[..., Any] | None:
    """As leaf_call, where the objects that the specialization knows may not be those of the
    call: Python has the calls that aren't a straight line. None where none is one.
    """
    try:
        return _Writer(specialization, leaf_numbers, lambda *leaves: miss).function()
    except _NotStraight:
        return None


def leaf_call(
    specialization: Specialization, leaf_numbers: dict[tuple[str, int], int] | None, miss: Any
) -> Callable[..., Any]:
    """The function of the leaves that runs a specialization whose guards hold.

    leaf_numbers: the numbers, as leaves, of captured arrays and of objects that are looked up.
        None where there are no such leaves, and the function compares guards on these, too.
    miss: what it returns where the specialization doesn't fit after all.
    """
    count = len(specialization.kinds)
    given = () if leaf_numbers is None else _leaf_sources(specialization, leaf_numbers)

    def run(*leaves: Any) -> Any:
        try:
            if leaf_numbers is None:
                return CompiledCall(specialization, leaves[:count]).run()
            read = Readings()
            for source, number in given:
                read.put(source, leaves[number])
            read.fitting = specialization
            return CompiledCall(specialization, leaves[:count], read).run()
        except (CaptureReplacedError, EffectsDoNotFit, NeedsPython, PathNotTaken):
            return miss

    if leaf_numbers is None:
        return run
    try:
        return _Writer(specialization, leaf_numbers, run).function()
    except _NotStraight:
        return run


def _leaf_sources(
    specialization: Specialization, leaf_numbers: dict[tuple[str, int], int]
) -> list[tuple[Source, int]]:
    """The sources whose values machine code hands over, and the number of each as a leaf."""
    roles: dict[str, Sequence[Source | None]] = {
        "capture": specialization.sources,
        "object": specialization.objects,
    }
    return [
        (
            source.number if isinstance(source, NumberSource) else source,
            leaf_numbers[role, number],
        )
        for role, sources in roles.items()
        for number, source in enumerate(sources)
        if source is not None
    ]


class _Writer:
    """Writes the text of one function.

    again: runs the same call in the general way, where anything out of the ordinary happens: it
        finds the words for errors.
    """

    def __init__(
        self,
        specialization: Specialization,
        leaf_numbers: dict[tuple[str, int], int],
        again: Callable[..., Any],
    ) -> None:
        executable = specialization.executable
        assert executable is not None
        self.executable, self.program = executable, executable.program
        self.specialization, self.leaf_numbers = specialization, leaf_numbers
        self.names: dict[str, Any] = {
            "ndarray": np.ndarray, "as_input": as_input, "as_contiguous": as_contiguous,
            "again": again, "wrap": _wrap, "__name__": __name__,
        }  # fmt: skip
        self.lines: list[str] = []
        self.arena = False
        # The buffers that have an array by now.
        self.made: set[int] = set()
        # By the identity of a call of NumPy's: the name of its result.
        self.calls: dict[int, str] = {}

    def function(self) -> Callable[..., Any]:
        """The function. _NotStraight where there is more to do than a straight line."""
        made = self.specialization
        more = made.sizes is not None or made.draws or made.donated
        if more or made.variables or self.program.updates:
            raise _NotStraight
        if made.effects is not None and made.effects.targets:
            raise _NotStraight
        if any(kind not in _RESULTS for kind, _ in made.results):
            raise _NotStraight
        count = len(made.kinds) + len(made.sources) + len(made.objects)
        leaves = [f"l{number}" for number in range(count)]
        self._read_inputs()
        self._allocate()
        for item in self.program.sequence:
            if isinstance(item, Segment):
                self._segment(item)
            elif isinstance(item, LibraryCall):
                self._routine(item)
            else:
                raise _NotStraight
        self._results()
        body = "\n".join(f"        {line}" for line in self.lines)
        given = ", ".join(leaves)
        text = f"def call({given}):\n    try:\n{body}\n"
        # errors have the op and the user's line; where the function may handle them, it does,
        # and where it writes outside, it does that before
        careful = made.has_handlers or made.effects is not None
        caught = "Exception" if careful else "(MemoryError, IndexError)"
        text += f"    except {caught}:\n        return again({given})\n"
        if made.effects is None:
            text += "    return made\n"
        else:
            text += f"    return {self.constant(made.effects.finish)}(*made)\n"
        text = text.replace(_AGAIN, f"return again({given})")
        exec(compile(text, _FILE, "exec"), self.names)
        made_call: Callable[..., Any] = self.names["call"]
        return made_call

    def constant(self, value: Any) -> str:
        """The name under which the function finds a value."""
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name

    def _make(self, buffer: int, text: str) -> None:
        """Add a line that makes the array of a buffer."""
        self.lines.append(f"b{buffer} = {text}")
        self.made.add(buffer)

    def _is_made(self, buffer: int) -> bool:
        return buffer in self.made or self.program.buffers[buffer].role == "constant"

    def _read_inputs(self) -> None:
        made = self.specialization
        self.leaf_of = {
            (role, number): f"l{self.leaf_numbers.get((role, number), number)}"
            for role, number in made.parameter_order
        }
        pairs = zip(self.program.inputs, made.parameter_order, strict=True)
        for buffer, (role, number) in pairs:
            leaf = self.leaf_of[role, number]
            if role == "capture" and isinstance(source := made.sources[number], NumberSource):
                dtype = self.constant(source.dtype)
                text = f"{self.constant(np.array)}({leaf}, {dtype})"
            else:
                text = f"as_input({leaf})"
                if role == "capture" or made.kinds[number].kind == ARRAY:
                    usual = f"{leaf}.flags.num & {READABLE_FLAGS} == {READABLE_FLAGS}"
                    native = role == "capture" or made.kinds[number].key[1].isnative
                    if native:
                        text = f"{leaf} if type({leaf}) is ndarray and {usual} else {text}"
            self._make(buffer, text)

    def _allocate(self) -> None:
        """Make the arrays of results that kernels compute, and take an arena."""
        for number, buffer in enumerate(self.program.buffers):
            if buffer.role == "constant":
                self.names[f"b{number}"] = self.executable.constant(number)
        for number in self.executable.allocated:
            shape, dtype = array_type(self.program, number)
            if self.program.buffers[number].type.nbytes >= LARGE_BYTES:
                text = f"{self.constant(self.executable.maker(number))}()"
            else:
                text = f"{self.constant(np.empty)}({shape}, {self.constant(dtype)})"
            self._make(number, text)
        self.arena = bool(self.program.arena_bytes)
        if self.arena:
            take = self.constant(self.executable.take_arena)
            self.lines.append(f"arena = {take}()")

    def _segment(self, segment: Segment) -> None:
        record = "None"
        if self.executable.checks:
            record = f"{self.constant(np.zeros)}(3, {self.constant(np.dtype(np.int64))})"
        native = self.constant(self.executable.native_of(segment))
        # it is given what it leaves alone, too, which a routine may make later
        given = [f"b{n}" if self._is_made(n) else "None" for n in segment.buffers]
        arrays = "".join(f"{name}, " for name in given)
        arena = "arena" if self.arena else "None"
        self.lines.append(f"if {native}({arrays}{arena}, {record}):")
        self.lines.append(f"    {_AGAIN}")

    def _routine(self, call: LibraryCall) -> None:
        arrays = []
        for number in call.inputs:
            spot = arena_array(self.program, number)
            if spot is None:
                arrays.append(f"b{number}")
            else:
                shape, kind, offset = spot
                arena = "arena" if self.arena else "None"  # of empty arrays alone
                arrays.append(f"ndarray({shape}, {self.constant(kind)}, {arena}, {offset})")
        routine, attrs = resolved(call)
        arrays += [f"{name}={self.constant(value)}" for name, value in attrs.items()]
        text = f"{self.constant(routine)}({', '.join(arrays)})"
        self.lines.append(f"{'v' if call.several else 'v0'} = {text}")
        for place, number in enumerate(call.outputs):
            if number not in self.executable.read:
                continue
            if call.several:
                self.lines.append(f"v0 = v[{place}]")
            shape, kind = array_type(self.program, number)
            dtype = self.constant(kind)
            usual = f"type(v0) is ndarray and v0.dtype is {dtype} and v0.shape == {shape}"
            made = f"as_contiguous(v0, {shape}, {dtype})"
            self._make(number, f"v0 if {usual} and v0.flags.c_contiguous else {made}")

    def _results(self) -> None:
        made, numpy = self.specialization, self.specialization.numpy
        outputs = iter(self.program.outputs)
        self.outputs = [f"b{number}" for number in self.program.outputs]
        kinds = [kind for kind, _ in made.results if kind in COMPUTED]
        for place, kind in enumerate(kinds):
            if kind == "swapped":
                array = self.outputs[place]
                self.lines.append(f"{array} = {array}.astype({array}.dtype.newbyteorder())")
        names = []
        for number, (kind, value) in enumerate(made.results):
            if kind in COMPUTED:
                buffer = next(outputs)
                text = f"b{buffer}"
                if kind == "python":
                    text += ".item()"
                elif not numpy:
                    text = f"wrap({text})"
                elif kind == "array" and not array_type(self.program, buffer)[0]:
                    text += "[()]"
            elif kind == "static":
                text = self.constant(value)
            elif kind == "again":
                text = f"r{value}"
            elif kind == "object":
                text = f"l{self.leaf_numbers['object', value]}"
            else:
                text = self._view(value.provenance)
            names.append(f"r{number}")
            self.lines.append(f"r{number} = {text}")
        if self.arena:
            give = self.constant(self.executable.give_arena)
            self.lines.append(f"{give}(arena)")
        self.lines.append(f"made = {self._assembled(made.result_tree, iter(names))}")

    def _assembled(self, tree: Tree, names: Any) -> str:
        if tree is LEAF or tree.kind is None:
            return str(next(names))
        if tree.kind in (tuple, list):
            parts = "".join(f"{self._assembled(child, names)}, " for child in tree.children)
            return f"({parts})" if tree.kind is tuple else f"[{parts}]"
        leaves = "".join(f"{next(names)}, " for _ in range(_leaf_count(tree)))
        build, whole = self.constant(unflatten), self.constant(tree)
        return f"{build}({whole}, iter(({leaves})).__next__, [])"

    def _view(self, value: Any) -> str:
        """The text for a part of what a view is made of."""
        if isinstance(value, BaseArray):
            if value.role == "output":
                return self.outputs[value.number]
            return f"l{self.leaf_numbers.get((value.role, value.number), value.number)}"
        if isinstance(value, CallResult):
            path = "".join(f"[{index}]" for index in value.path)
            return self._numpy_call(value.call) + path
        if isinstance(value, tuple):
            return f"({''.join(self._view(part) + ', ' for part in value)})"
        if isinstance(value, list):
            return f"[{', '.join(map(self._view, value))}]"
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return f"{self.constant(slice)}({', '.join(map(self._view, parts))})"
        if value is None or type(value) in (bool, int):
            return repr(value)
        return self.constant(value)

    def _numpy_call(self, call: NumpyCall) -> str:
        """The name of what a call of NumPy's gives."""
        known = self.calls.get(id(call))
        if known is not None:
            return known
        given = [self._view(part) for part in call.args]
        given += [f"{name}={self._view(part)}" for name, part in call.kwargs.items()]
        name = f"n{len(self.calls)}"
        self.lines.append(f"{name} = {self.constant(call.function)}({', '.join(given)})")
        self.calls[id(call)] = name
        return name


def _leaf_count(tree: Tree) -> int:
    return 1 if tree.kind is None else sum(map(_leaf_count, tree.children))


__all__: Sequence[str] = ["call_of_any_object", "leaf_call"]
