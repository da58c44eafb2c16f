"""What a traced function returned, as a plan of what each call returns.

Takes the value that the Python code gave and what was there before the trace; gives, for each
leaf of it, where a call finds or makes it. What was there before the call is returned itself,
results that are one object are one, and views of one array share its memory, as undecorated.
"""

from __future__ import annotations

import types
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import TracingError, at_user_line
from graphjit.core.tree import LEAF, Path, Tree, flatten
from graphjit.tensors.apply import TensorBase, as_tensor
from graphjit.tensors.variable import Variable
from graphjit.tracing.side_effects import HARMLESS, PLAIN, memory_owner
from graphjit.tracing.trace import (
    Base,
    Item,
    ResultView,
    SymbolicTensor,
    all_of,
    holds_traced,
    is_strict,
)

from .outputs import COMPUTED, share_memory

if TYPE_CHECKING:
    from graphjit.tracing.side_effects import SideEffects
    from graphjit.tracing.trace import Storage, Trace

# What holds more than the Python code can have made of constants, so that calls could share it.
_COPIED = (set, bytearray, deque, array)
_MAX_BYTES = 1 << 30  # of an array that is made to see which of its views overlap


def is_converted(x: Any, numpy: bool | None) -> bool:
    """Whether a result is given as another type of array than the Python code's, or as a
    variable's value. numpy: whether results are ndarrays, None for what the code makes.
    """
    if isinstance(x, Variable):
        return True
    if numpy is None:
        return False
    if isinstance(x, TensorBase):
        origin = getattr(x, "origin", "tensor")
        return origin != "weak" and numpy == (origin == "tensor")
    numbers = isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biufcV"
    return numbers and not numpy


class Returned:
    """The plan. tree: how results are put together; results: for each leaf of it a kind and a
    value; outputs: what the graph computes, for each computed result in order, then for those
    that others are views of; numpy: whether results are ndarrays; objects: what the kind
    "object" numbers.

    Kinds: those of COMPUTED; "static": the value; "copy": a copy of it; "view": as an
    ResultView says; "again": what an earlier result is; "container": a container of the
    results that is done before; "given": a container of the arguments; "object": one that was
    there before the call.
    """

    def __init__(
        self,
        value: Any,
        trace: Trace,
        before: SideEffects,
        given: Iterable[tuple[Path, Any]],
        statics: Sequence[tuple[int, Any]],
        numpy: bool | None,
        donated: Sequence[int],
        plain: bool,
    ) -> None:
        """plain: whether results are all made anew."""
        self._trace, self._before, self._donated, self._plain = trace, before, donated, plain
        self._given = {id(container): path for path, container in given}
        self._statics = {id(x): leaf for leaf, x in statics}
        self._wanted = numpy
        self._open: dict[int, Any] = {}
        self._done: dict[int, tuple[int, Any]] = {}
        self._count = 0
        self.outputs: list[Any] = []
        self.objects: list[Any] = []
        found: list[Any] = []
        self.tree = self._walk(value, found)
        self.numpy = bool(numpy) if numpy is not None else not any(map(is_strict, found))
        self.results: list[tuple[str, Any]] = []
        found = [self._simple(x) for x in found]
        arrays = self._arrays(found)
        first: dict[int, int] = {}
        for number, x in enumerate(found):
            symbol = isinstance(x, SymbolicTensor)
            if symbol and id(x) in first and not plain:
                self.results.append(("again", first[id(x)]))
                continue
            first[id(x)] = number
            self.results.append(arrays.get(number) or self._result(x))
        self._place_bases()

    # -- containers

    def _walk(self, value: Any, leaves: list[Any]) -> Tree:
        known = id(value) in self._given or id(value) in self._done or self._outside(value)
        if not self._plain and known and not self._holds_converted(value):
            leaves.append(value)
            return LEAF
        if id(value) in self._open:
            raise TracingError(at_user_line("a container that is returned holds itself"))
        self._open[id(value)] = value
        tree = flatten(value, leaves, self._walk)
        del self._open[id(value)]
        if tree.kind is not None:
            if value != ():  # of which Python has one
                self._done[id(value)] = self._count, value
            self._count += 1
        return tree

    def _outside(self, value: Any) -> bool:
        return type(value) not in PLAIN and self._before.holds(value)

    def _holds_converted(self, value: Any) -> bool:
        seen: dict[int, Any] = {}

        def walk(part: Any, leaves: list[Any]) -> Tree:
            if id(part) in seen:
                return LEAF
            seen[id(part)] = part
            return flatten(part, leaves, walk)

        leaves: list[Any] = []
        walk(value, leaves)
        seen.clear()  # `walk` refers to itself, and so would live until a garbage collection
        return any(is_converted(x, self._wanted) for x in leaves)

    # -- leaves

    def _simple(self, x: Any) -> Any:
        """A leaf, with a tensor for a variable, and for an ndarray its parameter."""
        if isinstance(x, Variable):
            return x.as_tensor()
        if type(x) in (np.ndarray, np.memmap) and x.dtype.kind in "biufc":
            return self._trace.capture(x)
        return x

    def _result(self, x: Any) -> tuple[str, Any]:
        """What becomes of one leaf, which no other has to do with."""
        if id(x) in self._done:
            return "container", self._done[id(x)][0]
        if id(x) in self._given:
            return "given", self._given[id(x)]
        if isinstance(x, Dim):
            self.outputs.append(self._trace.size(x))
            return "python", None
        if isinstance(x, np.generic) and self.numpy and x.dtype.kind in "biufc":
            return "static", x
        if isinstance(x, (TensorBase, np.ndarray, np.generic)) and not (
            isinstance(x, np.ndarray) and self.numpy and self._outside(x)
        ):
            return self._computed(x)
        if not self._plain and id(x) in self._statics:
            return "view", ResultView(Base("leaf", self._statics[id(x)]))
        if not self._plain and self._outside(x) and not _lasts(x):
            self.objects.append(x)
            return "object", len(self.objects) - 1
        if holds_traced(x):
            raise TracingError(at_user_line("an object that holds traced values is returned"))
        if isinstance(x, _COPIED) and all(type(item) in PLAIN for item in x):
            return "copy", x
        if not _lasts(x) and not self._before.holds(x):
            raise TracingError(
                at_user_line(f"a new {type(x).__name__} is returned, which calls would share")
            )
        return "static", x

    def _computed(self, x: Any) -> tuple[str, Any]:
        weak = getattr(x, "origin", "") == "weak"
        if weak and x.dtype.kind == "i":  # Python's integers have no end
            x.__index__()
        self.outputs.append(x if weak else as_tensor(x))
        if weak:
            return "python", None
        if self.numpy and not self._plain and _is_swapped(x):
            return "swapped", None
        bare = isinstance(x, SymbolicTensor) and x.is_zero_dim_array()
        return "0-d array" if bare else "array", None

    # -- arrays

    def _arrays(self, found: Sequence[Any]) -> dict[int, tuple[str, Any]]:
        """The results in memory of arguments or outside, and those that share memory."""
        # Of results that share memory: the array that they are views of, which result that is.
        self._sharing: list[tuple[int, int | None]] = []
        if self._plain:
            return {}
        arrays: dict[int, tuple[str, Any]] = {}
        groups: dict[int, tuple[Storage, list[int]]] = {}
        constants: dict[
            int, int
        ] = {}  # nodes of arrays that were made in the trace, by their memory
        for number, x in enumerate(found):
            if not isinstance(x, SymbolicTensor):
                continue
            array = self._trace.captured(x)
            if array is not None and self.numpy and not self._lasting(array):
                if constants.setdefault(id(memory_owner(array)), x.node) != x.node:
                    raise TracingError(at_user_line("views of one constant array are returned"))
                continue
            view = self._trace.view_of_parameter(x, self._lasting)
            if view is not None and self._may_give(x, view):
                arrays[number] = "view", self._looked_up(view)
            elif x.origin == "numpy" and self.numpy and not x._is_scalar():
                base = x.storage.owner()
                groups.setdefault(id(base), (base, []))[1].append(number)
        for _, numbers in groups.values():
            symbols = {id(found[n]): n for n in reversed(numbers)}  # the first of each
            frozen = any(found[n].storage.base is not None for n in symbols.values())
            if len(symbols) > 1 or frozen:
                arrays |= self._sharing_of(sorted(symbols.values()), found)
        return arrays

    def _may_give(self, x: SymbolicTensor, view: ResultView) -> bool:
        if any(base == Base("leaf", number) for base in view.bases for number in self._donated):
            return False
        return not is_converted(x, self.numpy)

    def _looked_up(self, view: ResultView) -> ResultView:
        """The view, of which no call may give the object that the trace made."""
        made = view.made
        if isinstance(made, Item) or made.role != "capture":
            return view
        known = self._before.holds(self._trace.captures[made.number])
        return view if known else ResultView(all_of(made))

    def _lasting(self, array: Any) -> bool:
        """Whether an array lies in memory that was there before the call."""
        return self._before.holds_memory(array)

    def _sharing_of(
        self, numbers: Sequence[int], found: Sequence[Any]
    ) -> dict[int, tuple[str, Any]]:
        """Results that are views of one array: that array is computed, and the others are made
        of it.
        """
        nodes = {n: found[n].node for n in numbers}
        base = self._base(nodes.values())
        if base is None:  # some were written into
            nodes = {n: found[n].as_view().node for n in numbers}
            base = self._base(nodes.values())
        if base is None:
            raise TracingError(
                at_user_line("results are views of one array in ways that can't be traced")
            )
        if len(numbers) == 1:  # a read-only view of what isn't returned
            base = self._trace.way_up(base)[-1]
        frozen = {n for n in numbers if found[n].storage.base is not None}
        owner = next((n for n in numbers if nodes[n] == base and n not in frozen), None)
        if owner is None and not frozen and self._apart(base, list(nodes.values())):
            return {}
        if owner is None and any(_is_swapped(found[n]) for n in numbers):
            raise TracingError(at_user_line("results are views of bytes in the other order"))
        self._sharing.append((base, owner))
        return {
            n: ("view of output", (len(self._sharing) - 1, nodes[n], n in frozen))
            for n in numbers
            if n != owner
        }

    def _base(self, nodes: Iterable[int]) -> int | None:
        """The nearest node that all of these are views of."""
        first, *others = [self._trace.way_up(node) for node in nodes]
        return next((node for node in first if all(node in way for way in others)), None)

    def _apart(self, base: int, nodes: Sequence[int]) -> bool:
        """Whether views of an array that isn't returned have no element in common."""
        type = self._trace.builder.type_of(base)
        if any(isinstance(n, Dim) for n in type.shape) or type.nbytes > _MAX_BYTES:
            return False
        whole = np.empty(type.shape, type.dtype.dtype)
        made = [self._trace.made_of(Base("output", 0), base, node) for node in nodes]
        try:
            views = [ResultView(view).of({"output": [whole]}, {}, {}) for view in made]
        except TypeError:  # an extent that isn't known
            return False
        return not any(share_memory(a, b) for k, a in enumerate(views) for b in views[:k])

    def _place_bases(self) -> None:
        """Number the outputs that results are views of; those that aren't results come last."""
        computed = [n for n, (kind, _) in enumerate(self.results) if kind in COMPUTED]
        places = []
        for base, owner in self._sharing:
            places.append(len(self.outputs) if owner is None else computed.index(owner))
            if owner is None:
                type = self._trace.builder.type_of(base)
                self.outputs.append(SymbolicTensor(self._trace, base, type, "numpy"))
        for n, (kind, value) in enumerate(self.results):
            if kind == "view of output":
                sharing, node, frozen = value
                output = Base("output", places[sharing])
                made = self._trace.made_of(output, self._sharing[sharing][0], node, frozen)
                self.results[n] = "view", ResultView(made)


def _is_swapped(x: Any) -> bool:
    """Whether a result's bytes are, in NumPy, in the other order than this machine's."""
    array = isinstance(x, np.ndarray) and not x.dtype.isnative
    return array or getattr(x, "swapped", False)


def _lasts(x: Any) -> bool:
    """Whether calls may give one and the same object: nothing in it changes."""
    if type(x) in PLAIN:
        return True
    if isinstance(x, (tuple, frozenset)):
        return all(map(_lasts, x))
    if isinstance(x, types.FunctionType):
        return x.__closure__ is None
    if isinstance(x, types.MethodType):
        return _lasts(x.__self__)
    own = type(x).__module__.partition(".")[0] == "graphjit"
    return own or isinstance(x, (*HARMLESS, type, types.ModuleType))


__all__ = ["Returned", "is_converted"]
