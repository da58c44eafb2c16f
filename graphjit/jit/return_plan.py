"""What a traced function returned, as a plan of what each call returns.

For each leaf of the value that the Python code gave, the plan says where a call finds it or how
it is made. Results are the objects that they are undecorated: what was there before the call is
returned itself, a result that occurs twice is one object, and views of one array share its
memory.
"""

from __future__ import annotations

import enum
import functools
import operator
import sys
import types
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.capture.callables import is_trusted
from graphjit.capture.effects import EffectKind
from graphjit.core.dims import Dim
from graphjit.core.errors import TracingError, at_user_line
from graphjit.core.static_lookup import is_plain_object
from graphjit.core.tree import LEAF, Path, Tree, flatten
from graphjit.numpy_protocol.deferred_texts import (
    DeferredText,
    as_formatted,
)
from graphjit.numpy_protocol.promotion import is_symbol
from graphjit.tensors.apply import TensorBase, as_tensor
from graphjit.tensors.variable import Variable
from graphjit.tracing.grown_lists import GrownList
from graphjit.tracing.leaks import holds_traced
from graphjit.tracing.number_kinds import shown_kind
from graphjit.tracing.result_views import (
    BaseArray,
    CallResult,
    NumpyCall,
    ResultView,
    as_list,
    cut,
    full_view,
    map_parts,
    read_only,
)
from graphjit.tracing.side_effects import IMMUTABLE_TYPES, STATELESS_TYPES, memory_owner
from graphjit.tracing.symbolic_tensor import SymbolicTensor, is_strict

from .eager import is_converted
from .effects import EffectPlan, WriteTarget, has_fixed_owner
from .output_memory import share_memory
from .result_kinds import COMPUTED

if TYPE_CHECKING:
    from graphjit.capture.effects import Effect
    from graphjit.tracing.side_effects import SideEffects
    from graphjit.tracing.storage import Storage
    from graphjit.tracing.trace import Trace

# Containers of constants that a result is a copy of: calls must not share them.
_COPIED_TYPES = (set, bytearray, deque, array)
# Calls of NumPy that give a view, whatever the layout of the array.
_VIEWS = frozenset({np.transpose, np.swapaxes, np.moveaxis, np.expand_dims, read_only})
# How many bytes an array may have that is made to see which of its views overlap.
_MAX_BYTES = 1 << 30


class _Owner:
    """In place of an object that an effect changes, among the leaves."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Target:
    """In place of an array that is written into, among the leaves."""

    def __init__(self, base: BaseArray) -> None:
        self.base = base


class _Elements:
    """In place of the new elements of an array that is written into, among the leaves."""

    def __init__(self, symbol: SymbolicTensor) -> None:
        self.symbol = symbol


class ReturnPlan:
    """The plan of a function's results, and of what it writes outside of it."""

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
        effects: Sequence[Effect] = (),
    ) -> None:
        """Plan the results of a trace.

        value: what the Python function gave.
        before: what it could reach before the trace.
        given: the containers among the arguments, with the paths to them.
        statics: the static values among the leaves of the arguments, with their numbers.
        numpy: whether results are to be ndarrays, None for what the Python code makes.
        donated: the leaves whose memory results may take.
        plain: whether all results are made anew, as on a device.
        effects: what the function does outside.
        """
        self._trace = trace
        self._side_effects = before
        self._donated = donated
        self._plain = plain
        # By ids: the paths to the containers, and the leaves that are static values.
        self._given = {id(container): path for path, container in given}
        self._statics = {id(x): leaf for leaf, x in statics}
        self._wanted = numpy
        # By ids: the containers that are being flattened.
        self._open: dict[int, Any] = {}
        # By ids: the containers that are done, with the order in which they were.
        self._done: dict[int, tuple[int, Any]] = {}
        self._count = 0
        # What the graph computes: the computed results in order, then what others are views of.
        self.outputs: list[Any] = []
        # The objects of results of kind "object", by their numbers.
        self.objects: list[Any] = []
        found: list[Any] = []
        # How results are put together.
        self.tree = self._flatten(value, found)
        self._written = trace.views.written_bases()
        # What is written outside: how, and in the tree after the function's own result.
        self.effects: EffectPlan | None = None
        count = len(found)
        if effects or self._written:
            self._add_effects(effects, found)
        # Whether results are ndarrays.
        self.numpy = (
            bool(numpy) if numpy is not None else not any(map(is_strict, found[:count]))
        )
        if any(is_converted(x, self.numpy) for x in found[count:]):
            raise TracingError(at_user_line("a value is stored as another type than it has"))
        # Of each result the kind and a value: see `specialization.COMPUTED`.
        self.results: list[tuple[str, Any]] = []
        found = [self._normalize_leaf(x) for x in found]
        self._require_apart(found)
        # Of results that are parts of arrays: the arrays.
        self._cut: list[Any] = []
        self._cut_bases: dict[int, BaseArray] = {}
        arrays = self._plan_arrays(found)
        first: dict[int, int] = {}
        for number, x in enumerate(found):
            symbol = isinstance(x, SymbolicTensor) or _is_cut(x)
            if symbol and id(x) in first and not plain:
                self.results.append(("again", first[id(x)]))
                continue
            first[id(x)] = number
            self.results.append(arrays.get(number) or self._plan_leaf(x))
        self._number_bases()

    # -- effects

    def _add_effects(self, effects: Sequence[Effect], found: list[Any]) -> None:
        """Add what is written outside to the leaves and to the tree."""
        if self._plain:
            raise TracingError(at_user_line("writes outside of it, which a device can't"))
        if self._written and any(e.kind is EffectKind.WARN for e in effects):
            # elements are written first, also those that aren't where the warning is raised
            raise TracingError(at_user_line("writes into an array and gives a warning"))
        trees = [self.tree]
        for effect in effects:
            if not has_fixed_owner(effect):
                found.append(_Owner(effect.owner))
                trees.append(LEAF)
            trees += [self._flatten(x, found) for x in effect.values]
        for base, symbol in self._written:
            found += [_Target(base), _Elements(symbol)]
            trees += [LEAF, LEAF]
        self.tree = Tree(tuple, (), tuple(trees))
        targets = [WriteTarget(base.role, base.number) for base, _ in self._written]
        self.effects = EffectPlan(targets, effects)

    # -- containers

    def _flatten(self, value: Any, leaves: list[Any]) -> Tree:
        known = (
            id(value) in self._given or id(value) in self._done or self._existed_before(value)
        )
        if not self._plain and known and not self._holds_converted(value):
            leaves.append(value)
            return LEAF
        if any(value is x for x in self._trace.attribute_dicts):
            raise TracingError(at_user_line("the dict of an object's attributes is returned"))
        if isinstance(value, dict) and not all(map(_is_immutable, value)):
            raise TracingError(at_user_line("a dict with keys that are objects is returned"))
        if id(value) in self._open:
            raise TracingError(at_user_line("a container that is returned holds itself"))
        self._open[id(value)] = value
        own = not self._plain and is_plain_object(value) and not is_trusted(type(value))
        if own and type(value).__module__.partition(".")[0] != "graphjit":
            names = tuple(vars(value))
            parts = [self._flatten(vars(value)[name], leaves) for name in names]
            tree = Tree(type(value), names, tuple(parts))
        else:
            tree = flatten(value, leaves, self._flatten)
        del self._open[id(value)]
        if tree.kind is not None:
            if type(value) is not tuple or value:  # Python has one empty tuple
                self._done[id(value)] = self._count, value
            self._count += 1
        return tree

    def _existed_before(self, value: Any) -> bool:
        return type(value) not in IMMUTABLE_TYPES and self._side_effects.existed(value)

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

    def _normalize_leaf(self, x: Any) -> Any:
        """A leaf; the value of a variable, and the parameter of an ndarray."""
        if isinstance(x, Variable):
            return x.as_tensor()
        if type(x) is GrownList:
            return self._normalize_list(x)
        if _is_cut(x):
            return self._normalize_cut(x)
        if isinstance(x, TensorBase) and x.is_mixed:
            return x.settled()  # type: ignore[attr-defined]
        if type(x) in (np.ndarray, np.memmap) and x.dtype.kind in "biufc":
            return self._trace.capture(x)
        return x

    def _plan_leaf(self, x: Any) -> tuple[str, Any]:
        """The kind and value of a leaf that shares no memory with others."""
        if isinstance(x, _Target):
            return "view", ResultView(x.base)
        if isinstance(x, _Elements):
            self.outputs.append(
                SymbolicTensor(self._trace, x.symbol.node, x.symbol.type, "numpy")
            )
            return "array", None
        if isinstance(x, _Owner):
            return self._plan_owner(x.value)
        if _is_cut(x) or type(x) is DeferredText:
            self._cut.append(x)
            return "cut", len(self._cut) - 1
        if id(x) in self._done:
            return "container", self._done[id(x)][0]
        if id(x) in self._given:
            return "given", self._given[id(x)]
        if isinstance(x, Dim):
            self.outputs.append(self._trace.extent_value(x))
            return "python", None
        if isinstance(x, np.generic) and self.numpy and x.dtype.kind in "biufc":
            return "static", x
        if isinstance(x, (TensorBase, np.ndarray, np.generic)) and not (
            isinstance(x, np.ndarray) and self.numpy and self._existed_before(x)
        ):
            return self._plan_computed(x)
        if not self._plain and id(x) in self._statics:
            return "view", ResultView(BaseArray("leaf", self._statics[id(x)]))
        if not self._plain and self._existed_before(x) and not _is_immutable(x):
            self.objects.append(x)
            return "object", len(self.objects) - 1
        if holds_traced(x):
            raise TracingError(at_user_line("an object that holds traced values is returned"))
        if isinstance(x, types.FunctionType) and not self._side_effects.existed(x):
            raise TracingError(at_user_line("a new function would be shared by all calls"))
        if isinstance(x, _COPIED_TYPES) and all(type(item) in IMMUTABLE_TYPES for item in x):
            return "copy", x
        if not _is_immutable(x) and not self._side_effects.existed(x):
            raise TracingError(
                at_user_line(f"a new {type(x).__name__} is returned, which calls would share")
            )
        return "static", x

    def _normalize_cut(self, x: Any) -> Any:
        """An array of unknown length that is to be returned."""
        x = x.compact()
        views = self._trace.views
        outside = not x.new and (
            views.is_part_of_base(x.source)
            or views.base_capture(x.source) is not None
            or views.find_result_view(x.source, self._memory_existed) is not None
        )
        if outside or (x.copied_from is not None and not x.new):
            raise TracingError(at_user_line("a view at a place that is computed is returned"))
        if self._plain or self._wanted is False:
            raise TracingError(at_user_line("an array of unknown length is returned"))
        return x

    def _require_apart(self, found: Sequence[Any]) -> None:
        """TracingError where a result of unknown length shares memory with another."""
        # those of one array are views of it, as undecorated
        owners = {
            id(x.source): (
                x.source if x.copied_from is None else x.copied_from[0]
            ).storage.owner()
            for x in found
            if _is_cut(x) and type(x) is not GrownList
        }
        counts = Counter(
            id(x.source)
            for x in {id(x): x for x in found if _is_cut(x)}.values()
            if type(x) is not GrownList
        )
        self._shared_cuts = {source for source, count in counts.items() if count > 1}
        others = {id(x): x.storage.owner() for x in found if isinstance(x, SymbolicTensor)}
        listed = {id(x.storage.owner()) for x in self._trace.branches.in_lists}
        lists = any(type(x) is GrownList and any(b.ndim > 1 for b in x.buffers) for x in found)
        if lists and any(id(owner) in listed for owner in others.values()):
            raise TracingError(at_user_line("an array is returned, and a list that it is in"))
        seen = [id(owner) for owner in (*owners.values(), *others.values())]
        if owners and len(set(seen)) < len(seen):
            raise TracingError(
                at_user_line("results of unknown length that share memory are returned")
            )

    def _normalize_list(self, x: Any) -> Any:
        """A list that a loop made longer and that is to be returned."""
        known = self._trace.branches.listed_given and any(b.ndim > 1 for b in x.buffers)
        if self._plain or self._wanted is False or known:
            raise TracingError(at_user_line("a list that a loop makes longer is returned"))
        return x

    def _add_output(self, x: Any) -> BaseArray:
        """Another output of the graph."""
        self.outputs.append(SymbolicTensor(self._trace, x.node, x.type, "numpy"))
        return BaseArray("output", len(self.outputs) - 1)

    def _plan_cut(self, x: Any) -> tuple[str, Any]:
        """The outputs of which a result is a part or a text, and how."""
        output = self._add_output
        if type(x) is DeferredText:
            if self._plain:
                raise TracingError(at_user_line("a text of traced values is returned"))
            return "view", ResultView(self._plan_text(x))
        if type(x) is GrownList:
            parts = [output(part) for part in (x.length, *x.buffers)]
            call = NumpyCall(as_list, (shown_kind(x.item), *parts), {})
            return "view", ResultView(CallResult(call, ()))

        def number(n: Any) -> Any:
            return int(n.numpy()) if n.recorder is None else output(n)

        shared = id(x.source) in self._shared_cuts
        base = self._cut_bases.get(id(x.source)) if shared else None
        if base is None:
            base = self._cut_bases[id(x.source)] = output(x.source)
        windows = [None if w is None else (number(w.start), number(w.count)) for w in x.windows]
        call = NumpyCall(cut, (base, x.new and not shared, *windows), {})
        return "view", ResultView(CallResult(call, ()))

    def _plan_text(self, x: DeferredText) -> CallResult:
        """How each call makes a text."""
        parts = [
            tuple(map(self._plan_part, part))
            if x.function is operator.mod and type(part) is tuple
            else self._plan_part(part)
            for part in x.args
        ]
        return CallResult(NumpyCall(x.function, tuple(parts), {}), ())

    def _plan_part(self, x: Any) -> Any:
        """A part of what a text is made of."""
        if type(x) is DeferredText:
            return self._plan_text(x)
        if type(x) is dict:
            items = [(k, self._plan_part(value)) for k, value in x.items()]
            return CallResult(NumpyCall(dict, (items,), {}), ())
        if type(x) in (list, tuple):
            return map_parts(x, self._plan_part)
        if isinstance(x, Dim):
            x = self._trace.extent_value(x)
        if not is_symbol(x):
            return x
        known = isinstance(x, SymbolicTensor) and not (x.is_mixed or x.is_selection)
        if not known or x.origin == "tensor":
            raise TracingError(at_user_line("a text of such a value can't be made"))
        weak = x.origin == "weak"
        if weak and x.dtype.kind == "i" and not self._trace.fits(x):
            x.__index__()  # Python's integers have no end
        bare = x.is_zero_dim_array()
        kind = "python" if weak else "array" if x.type.shape or bare else "numpy"
        output = self._add_output(x)
        return CallResult(NumpyCall(as_formatted, (kind, output), {}), ())

    def _plan_owner(self, x: Any) -> tuple[str, Any]:
        """How each call finds an object that is changed."""
        if id(x) in self._given:
            return "given", self._given[id(x)]
        if id(x) in self._statics:
            return "view", ResultView(BaseArray("leaf", self._statics[id(x)]))
        self.objects.append(x)
        return "object", len(self.objects) - 1

    def _plan_computed(self, x: Any) -> tuple[str, Any]:
        weak = getattr(x, "origin", "") == "weak"
        if weak and x.dtype.kind == "i" and not self._trace.fits(x):
            x.__index__()  # Python's integers have no end
        self.outputs.append(x if weak else as_tensor(x))
        if weak:
            return "python", None
        if self.numpy and not self._plain and _is_swapped(x):
            return "swapped", None
        bare = isinstance(x, SymbolicTensor) and x.is_zero_dim_array()
        return "0-d array" if bare else "array", None

    # -- arrays

    def _plan_arrays(self, found: Sequence[Any]) -> dict[int, tuple[str, Any]]:
        """The results that are views: of what was there before the call, or of each other."""
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
            array = self._trace.views.base_capture(x)
            if array is not None and self.numpy and not self._memory_existed(array):
                if constants.setdefault(id(memory_owner(array)), x.node) != x.node:
                    raise TracingError(at_user_line("views of one constant array are returned"))
                continue
            view = self._trace.views.find_result_view(x, self._memory_existed)
            if view is not None and self._can_return_view(x, view):
                arrays[number] = "view", self._without_trace_object(view)
            elif x.origin == "numpy" and self.numpy and not x._is_scalar():
                if self._trace.views.is_part_of_base(x):
                    raise TracingError(
                        at_user_line("a view at a place that is computed is returned")
                    )
                base = x.storage.owner()
                groups.setdefault(id(base), (base, []))[1].append(number)
        for _, numbers in groups.values():
            symbols = {id(found[n]): n for n in reversed(numbers)}  # the first of each
            frozen = any(found[n].storage.base is not None for n in symbols.values())
            if len(symbols) > 1 or frozen:
                arrays |= self._plan_shared(sorted(symbols.values()), found)
        return arrays

    def _can_return_view(self, x: SymbolicTensor, view: ResultView) -> bool:
        if any(
            base == BaseArray("leaf", number) for base in view.bases for number in self._donated
        ):
            return False
        written = {base for base, _ in self._written}
        certain = view.is_base or all(map(_is_view_for_certain, view.calls))
        if not certain and not written.isdisjoint(view.bases):
            raise TracingError(
                at_user_line(
                    "what may be a view or a copy of an array that is written into is returned"
                )
            )
        return not is_converted(x, self.numpy)

    def _without_trace_object(self, view: ResultView) -> ResultView:
        """The view; a new one of the whole array, where that is an object of the trace's."""
        made = view.provenance
        if isinstance(made, CallResult) or made.role != "capture":
            return view
        known = self._side_effects.existed(self._trace.captures[made.number])
        return view if known else ResultView(full_view(made))

    def _memory_existed(self, array: Any) -> bool:
        """Whether an array lies in memory that was there before the call."""
        return self._side_effects.memory_existed(array)

    def _plan_shared(
        self, numbers: Sequence[int], found: Sequence[Any]
    ) -> dict[int, tuple[str, Any]]:
        """The plan of results that are views of one array. The program computes that array, and
        the results are made of it.
        """
        nodes = {n: found[n].node for n in numbers}
        base = self._common_base(nodes.values())
        if base is None:  # some were written into
            nodes = {n: found[n].reindexed().node for n in numbers}
            base = self._common_base(nodes.values())
        if base is None:
            raise TracingError(
                at_user_line("results are views of one array in ways that can't be traced")
            )
        if len(numbers) == 1:  # a read-only view of what isn't returned
            base = self._trace.views.view_chain(base)[-1]
        frozen = {n for n in numbers if found[n].storage.base is not None}
        owner = next((n for n in numbers if nodes[n] == base and n not in frozen), None)
        if owner is None and not frozen and self._are_disjoint(base, list(nodes.values())):
            return {}
        if owner is None and any(_is_swapped(found[n]) for n in numbers):
            raise TracingError(at_user_line("results are views of bytes in the other order"))
        self._sharing.append((base, owner))
        return {
            n: ("view of output", (len(self._sharing) - 1, nodes[n], n in frozen))
            for n in numbers
            if n != owner
        }

    def _common_base(self, nodes: Iterable[int]) -> int | None:
        """The nearest node that all of these are views of."""
        first, *others = [self._trace.views.view_chain(node) for node in nodes]
        return next((node for node in first if all(node in way for way in others)), None)

    def _are_disjoint(self, base: int, nodes: Sequence[int]) -> bool:
        """Whether views of an array that isn't returned have no element in common."""
        type = self._trace.builder.type_of(base)
        if any(isinstance(n, Dim) for n in type.shape) or type.nbytes > _MAX_BYTES:
            return False
        whole = np.empty(type.shape, type.dtype.dtype)
        made = [
            self._trace.views.view_provenance(BaseArray("output", 0), base, node)
            for node in nodes
        ]
        try:
            views = [ResultView(view).replay({"output": [whole]}, {}, {}) for view in made]
        except TypeError:  # an extent that isn't known
            return False
        return not any(share_memory(a, b) for k, a in enumerate(views) for b in views[:k])

    def _number_bases(self) -> None:
        """Number the outputs that results are views of. Those that aren't results come last."""
        computed = [n for n, (kind, _) in enumerate(self.results) if kind in COMPUTED]
        output_numbers = []
        for base, owner in self._sharing:
            output_numbers.append(len(self.outputs) if owner is None else computed.index(owner))
            if owner is None:
                type = self._trace.builder.type_of(base)
                self.outputs.append(SymbolicTensor(self._trace, base, type, "numpy"))
        for n, (kind, value) in enumerate(self.results):
            if kind == "cut":
                self.results[n] = self._plan_cut(self._cut[value])
            if kind == "view of output":
                sharing, node, frozen = value
                output = BaseArray("output", output_numbers[sharing])
                made = self._trace.views.view_provenance(
                    output, self._sharing[sharing][0], node, frozen
                )
                self.results[n] = "view", ResultView(made)


def _is_view_for_certain(call: NumpyCall) -> bool:
    """Whether a call of NumPy gives a view, whatever the layout of the array is."""
    if call.function is operator.getitem:
        key = call.args[1]
        parts = key if isinstance(key, tuple) else (key,)
        return all(
            isinstance(part, (int, slice, Dim, type(None), types.EllipsisType))
            for part in parts
        )
    if isinstance(call.function, operator.attrgetter):
        return call.function.__reduce__()[1] in (("T",), ("mT",))
    if isinstance(call.function, functools.partial):  # a method
        return call.function.args in (("transpose",), ("swapaxes",))
    return call.function in _VIEWS


def _is_cut(x: Any) -> bool:
    """Whether a result is an array whose length is known only at the call."""
    return bool(getattr(type(x), "is_selection", False))


def _is_swapped(x: Any) -> bool:
    """Whether a result's bytes are, in NumPy, in the other order than this machine's."""
    array = isinstance(x, np.ndarray) and not x.dtype.isnative
    return array or getattr(x, "swapped", False)


def _is_immutable(x: Any) -> bool:
    """Whether calls may share an object, for nothing in it changes."""
    if type(x) in IMMUTABLE_TYPES:
        return True
    if isinstance(x, (tuple, frozenset)):
        return all(map(_is_immutable, x))
    if isinstance(x, types.FunctionType):
        return x.__closure__ is None
    if isinstance(x, types.MethodType):
        return _is_immutable(x.__self__)
    kind = type(x)
    if kind.__module__.partition(".")[0] == "graphjit":
        return True
    if isinstance(x, (type, types.ModuleType, enum.Enum)):
        return True
    values = isinstance(x, STATELESS_TYPES) and not isinstance(x, BaseException)
    return values and (is_trusted(kind) or kind.__module__ in sys.stdlib_module_names)


__all__ = ["ReturnPlan"]
