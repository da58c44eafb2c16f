"""A trace: one run of a Python function on symbolic tensors, which becomes a graph."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from graphjit.capture.sources import MAX_INTEGER, Guard
from graphjit.core.config import config
from graphjit.core.dims import Dim, Sizes
from graphjit.core.errors import (
    GraphJitError,
    LeakedTracerError,
    SourceLine,
    TracingError,
    at_user_line,
    on_refusal,
    user_line,
)
from graphjit.core.types import DType, TensorType, TupleType, as_dtype, check_size, int64
from graphjit.functions.region_values import AssignedInRegionError, origin_of
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ops import pointwise as pw
from graphjit.ops import source, view
from graphjit.ops.primitive import (
    ConditionalLoop,
    CountedLoop,
    Gather,
    Item,
    Library,
    Primitive,
    Scatter,
    Source,
    View,
)
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace
from graphjit.tensors.variable import Variable

from .branches import Branches
from .handlers import handled_by_user
from .leaks import leak_error
from .mixed_numbers import MixedNumber, mixed_parts
from .op_memo import OpMemo
from .own_gradients import without_own_gradients
from .regions import Region, Regions, compacted
from .result_views import BaseArray
from .symbolic_tensor import SYMBOLIC_CLASSES, SymbolicTensor, is_weak
from .view_history import ViewHistory

# What may raise only when compiled code runs: an index out of range, a singular matrix.
_MAY_FAIL = (Gather, Scatter, Library)


class WrittenAfterUseError(TracingError):
    """A real array was written to after a traced computation had used it."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        super().__init__(at_user_line("an array is written to after it was used in the trace"))
        self.array = array


def _content_checksum(array: np.ndarray[Any, Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


class _Run(NamedTuple):
    """A node of control flow in which something may fail, and one of its results."""

    node: int
    result: SymbolicTensor


def _itself(value: Any) -> Any:
    return value


class Trace:
    """One run of a Python function on symbolic tensors.

    Inside a trace, variables are read and written symbolically. Their last values are the
    graph's updates.
    """

    def __init__(self, name: str) -> None:
        self.builder = GraphBuilder(name)
        # The origin of what is recorded now.
        self.origin = "tensor"
        self.closed = False
        # Is told of objects whose changes until now are to stay, whatever the trace comes to.
        self.settle: Callable[[Any], object] = _itself
        # Gives what is called in place of a function of the user's.
        self.followed: Callable[[Any], Any] = _itself
        # Whether arguments and captured arrays may be written: each call writes them back.
        self.writes_back = False
        # The first error by which tracing refused something, whether it was caught or not.
        self.refusal: GraphJitError | None = None
        # The ndarrays that the Python code read, each a parameter that every call reads anew.
        self.captures: list[np.ndarray[Any, Any]] = []
        # How many parameters are drawn.
        self.draw_count = 0
        # The variables that were read or written.
        self.variables: list[Variable] = []
        # By the ids of arrays: the parameters of captures.
        self._capture_symbols: dict[int, SymbolicTensor] = {}
        # What functions of graphjit's own read outside, and what must hold of it.
        self.required: list[Guard] = []
        # Captured arrays of tensors, by their nodes.
        self._captured_tensors: dict[int, SymbolicTensor] = {}
        self._capture_checksums: list[int] = []
        # The dicts of objects' attributes that the code has, which Python makes when asked.
        self.attribute_dicts: list[dict[str, Any]] = []
        # By the ids of tensors with a value: the tensor and its node.
        self._constants: dict[int, tuple[TensorBase, int]] = {}
        # By the ids of variables' cells: the parameter, and the value at this point.
        self._variable_params: dict[int, int] = {}
        self._variable_values: dict[int, TensorBase] = {}
        # The cells of variables that were assigned.
        self._written_cells: list[int] = []
        # The parameters that are Python scalars.
        self._weak_params: set[int] = set()
        # Values whose computation may fail, and so must not be left out.
        self._must_be_computed: list[SymbolicTensor | _Run] = []
        # The id of the frame that traces.
        self._tracing_frame = 0
        self.views = ViewHistory(self.builder.nodes, self.captures)
        self.sizes = Sizes()
        self.op_memo = OpMemo(self.builder, SYMBOLIC_CLASSES)
        self.regions = Regions(self.builder.nodes)
        self.branches = Branches()
        # By nodes: the bounds of Python integers that stay within some.
        self._bounds: dict[int, tuple[int, int]] = {}

    @contextmanager
    def active(self) -> Iterator[Trace]:
        """Make this the trace of the context."""
        self._tracing_frame = id(sys._getframe(2))  # past the context manager's
        token = current_trace.set(self)
        watch = on_refusal.set(self._note_refusal)
        self.sizes.recording, self.sizes.traced = True, self.extent_value
        try:
            with config.python_decides():
                yield self
            for array, contents in zip(self.captures, self._capture_checksums, strict=True):
                if _content_checksum(array) != contents:
                    raise WrittenAfterUseError(array)
        finally:
            current_trace.reset(token)
            on_refusal.reset(watch)
            self.closed = self.op_memo.closed = True
            self.settle = self.followed = _itself
            self.sizes.recording, self.sizes.traced = False, None

    @contextmanager
    def released(self) -> Iterator[None]:
        """Have no symbolic tensor or error after the `with` block: they have the trace, and
        would live, with the arrays of the call, until a garbage collection.
        """
        try:
            yield
        finally:
            self.refusal = None
            self._capture_symbols.clear()
            self._captured_tensors.clear()
            self._variable_values.clear()
            self._must_be_computed.clear()
            self.branches.release()
            self.views.release()

    def _note_refusal(self, error: GraphJitError) -> None:
        self.refusal = self.refusal or error

    def with_numpy_rules(self, action: Callable[[], Any], operands: Sequence[Any] = ()) -> Any:
        """Run an action whose results are of NumPy origin, or weak if all operands are."""
        previous = self.origin
        self.origin = "weak" if operands and all(map(is_weak, operands)) else "numpy"
        try:
            return action()
        finally:
            self.origin = previous

    def record_memoized(
        self,
        key: tuple[Any, ...] | None,
        operands: Sequence[Any],
        action: Callable[[], Any],
        weak: Sequence[Any] = (),
    ) -> Any:
        """What an operator or ufunc gives by NumPy's rules; the memo records what it became."""
        first = len(self.builder.nodes)
        result = self.with_numpy_rules(action, weak)
        if (
            key is not None
            and type(result) in SYMBOLIC_CLASSES
            and result.origin == "numpy"
            and result.node == len(self.builder.nodes) - 1
        ):
            result._type = self.op_memo.record_memoized(key, operands, first)
        return result

    def parameter(
        self,
        type: TensorType,
        name: str,
        origin: str,
        role: str,
        leaf: int = -1,
        array: bool = True,
    ) -> SymbolicTensor:
        """A new parameter of the graph.

        leaf: its number, if it is a leaf of the arguments. array: whether what NumPy has
        without axes is an array, not a number.
        """
        node = self.builder.add(source.param, (), None, type=type, name=name, role=role)
        if origin == "weak":
            self._weak_params.add(node)
        symbol = SymbolicTensor(self, node, self.op_memo.canonical_type(type), origin)
        symbol.storage.shared = array
        if leaf >= 0:
            self.views.add_base(symbol, BaseArray("leaf", leaf))
            symbol.storage.written_back = self.writes_back and origin == "numpy"
        if array and origin == "numpy" and not type.shape:
            symbol.mark_as_array()
        return symbol

    def as_operand(self, x: SymbolicTensor) -> SymbolicTensor:
        """An ndarray as an operand of a `gj` function: a tensor with storage of its own."""
        if self.origin != "tensor" or x.origin != "numpy" or not x.storage.shared:
            return x
        return SymbolicTensor(self, x.node, x.type, "tensor")

    def as_tensor_of(self, x: SymbolicTensor) -> SymbolicTensor:
        """A captured array as the tensor whose elements it has."""
        known = self._captured_tensors.get(x.node)
        if known is None:
            known = SymbolicTensor(self, x.node, x.type, "tensor")
            self._captured_tensors[x.node] = known
        return known

    def extent_value(self, dim: Dim, dtype: DType = int64) -> SymbolicTensor:
        """A symbolic extent as a Python number that is known at run time."""
        node = self.builder.add(source.extent, (), user_line(), value=dim, dtype=dtype)
        return SymbolicTensor(self, node, self.builder.type_of(node), "weak")

    def capture_number(self, array: np.ndarray[Any, Any]) -> SymbolicTensor:
        """The parameter for a Python number that the function's code reads from outside.

        array: one without axes that holds it.
        """
        self.captures.append(array)
        self._capture_checksums.append(_content_checksum(array))
        type = TensorType((), as_dtype(array.dtype))
        name = f"capture{len(self.captures) - 1}"
        symbol = self.parameter(type, name, "weak", "capture")
        self.branches.know(symbol.node, lambda: array)
        return symbol

    def capture(self, array: np.ndarray[Any, Any], outside: bool = False) -> SymbolicTensor:
        """The parameter for an ndarray that the function's Python code holds.

        outside: whether the code has only the parameter, and so can't write into the array.
        """
        found = self._capture_symbols.get(id(array))
        if found is not None and not outside:
            number = next(k for k, known in enumerate(self.captures) if known is array)
            if _content_checksum(array) != self._capture_checksums[number]:
                raise WrittenAfterUseError(array)
        if found is None:
            self.captures.append(array)
            self._capture_checksums.append(_content_checksum(array))
            type = TensorType(array.shape, as_dtype(array.dtype))
            name = f"capture{len(self.captures) - 1}"
            found = self.parameter(type, name, "numpy", "capture")
            self.branches.know(found.node, lambda: array.astype(type.dtype.dtype, copy=False))
            found.swapped = not array.dtype.isnative
            self.views.add_base(found, BaseArray("capture", len(self.captures) - 1))
            found.storage.written_back = self.writes_back and array.flags.writeable
            self._capture_symbols[id(array)] = found
        return found

    def drawn(self, value: Any) -> SymbolicTensor:
        """The parameter for random numbers that each call draws. value: those of the trace."""
        array = np.asarray(value)
        self.draw_count += 1
        type_ = TensorType(array.shape, as_dtype(array.dtype))
        weak = type(value) in (int, float)
        symbol = self.parameter(
            type_,
            f"draw{self.draw_count - 1}",
            "weak" if weak else "numpy",
            "draw",
            array=isinstance(value, np.ndarray),
        )
        if type(value) is int:
            self.note_bounds(symbol, -MAX_INTEGER, MAX_INTEGER)
        self.branches.know(symbol.node, lambda: array)
        return symbol

    def read(self, variable: Variable) -> TensorBase:
        """A variable's value at this point of the trace."""
        cell = id(variable.cell)
        if cell not in self._variable_values:
            self.variables.append(variable)
            name = variable.name.removesuffix(":0")
            symbol = self.parameter(variable.type, name, "tensor", "variable")
            self.branches.know(symbol.node, lambda: variable.cell.array)
            self._variable_params[cell] = symbol.node
            self._variable_values[cell] = symbol
        return self._variable_values[cell]

    @contextmanager
    def variables_given(self, values: Sequence[tuple[Variable, TensorBase]]) -> Iterator[None]:
        """Have variables these values in a `with` block, after which they are as they were,
        whatever the block assigned.
        """
        before, written = dict(self._variable_values), list(self._written_cells)
        self._variable_values |= {id(v.cell): self._fresh(x) for v, x in values}
        try:
            yield
        finally:
            self._variable_values, self._written_cells = before, written

    def _fresh(self, x: TensorBase) -> TensorBase:
        return self.symbol_of(self.node_of(x), "tensor")

    def assign(self, variable: Variable, value: TensorBase) -> None:
        """A variable's value from this point of the trace on."""
        inside = bool(self.regions.starts)
        if inside and not self.regions.note_assigned(variable):
            raise TracingError(
                at_user_line(
                    "a variable is assigned in a branch or loop, which can't be traced",
                    "return the value, and assign it after that",
                )
            )
        self.read(variable)
        cell = id(variable.cell)
        if not inside and cell not in self._written_cells:
            self._written_cells.append(cell)
        if isinstance(value, SymbolicTensor):  # its handle may be written to later
            value = SymbolicTensor(self, value.node, value.type, "tensor")
        self._variable_values[cell] = value

    def variable_slice(self, variable: Variable, key: Any, part: Any) -> Any:
        """A slice of a variable, which can be assigned."""
        if isinstance(part, SymbolicTensor):
            symbol = SymbolicTensor(self, part.node, part.type, part.origin)
            symbol._assign_target = (variable, key)
            return symbol
        return part

    def weak_params_of(self, node: int) -> frozenset[int]:
        """The Python-scalar parameters that a node depends on."""
        found, todo, seen = set(), [node], set()
        while todo:
            index = todo.pop()
            if index in seen:
                continue
            seen.add(index)
            if index in self._weak_params:
                found.add(index)
            todo += self.builder.nodes[index].inputs
        return frozenset(found)

    def is_handled(self) -> bool:
        """Whether the user's code would handle what is raised here."""
        return handled_by_user(self._tracing_frame)

    def _note_handler(self, op: str) -> bool:
        """Whether the user's code would handle an error that compiled code finds: a call in
        which there is one is left to Python. TracingError where that can't be.
        """
        if not self.is_handled():
            return False
        if not self.branches.enabled:
            raise TracingError(
                at_user_line(
                    f"what {op} may raise when the compiled function runs is handled in it, by "
                    "a `try` around it"
                )
            )
        self.branches.may_need_python = self.branches.has_handlers = True
        return True

    def note_index(self, x: SymbolicTensor) -> None:
        """Note an element that is read by an index which may be out of range, used or not."""
        inside = bool(self.regions.starts) and not self.branches.loops.is_open
        if self.branches.enabled and not inside and not x.type.shape:
            self._must_be_computed.append(x)

    def note_checked(self, x: SymbolicTensor) -> SymbolicTensor:
        """Note a value whose computation may fail as Python's does, used or not."""
        self._note_handler("arithmetic")
        self._must_be_computed.append(x)
        return x

    def forget_checks(self, start: int, stop: int) -> None:
        """Leave out nodes that may fail and are no part of any graph."""
        self._must_be_computed = [
            x for x in self._must_be_computed if not start <= x.node < stop
        ]

    def require_checks_in(self, region: Region, nodes: Sequence[int]) -> bool:
        """Require that a region computes all of its values that may fail. Whether there are
        any.
        """
        computed = set(self.regions.needed(region, nodes)[0])
        inside = [x for x in self._must_be_computed if x.node >= region.start]
        found = [x for x in inside if x.node in computed]
        for x in found:
            self.forget_checks(x.node, x.node + 1)
        return bool(found)

    def checks_since(self, start: int) -> list[SymbolicTensor]:
        """The values from a node on that may fail, used or not."""
        found = [x.result if isinstance(x, _Run) else x for x in self._must_be_computed]
        return [x for x in found if x.node >= start]

    def unused_checks(self, nodes: Sequence[int]) -> list[SymbolicTensor]:
        """The values that may fail and that a graph of these outputs doesn't compute."""
        if not self._must_be_computed:
            return []
        todo, seen = [*nodes, *(node for _, node in self.updates())], set[int]()
        todo += [branch.predicate for branch in self.branches.taken]
        while todo:
            index = todo.pop()
            node = self.builder.nodes[index]
            empty = isinstance(node.type, TensorType) and 0 in node.type.shape
            if index not in seen and not empty:  # nothing is computed of empty arrays
                seen.add(index)
                todo += node.inputs
        unused = [
            x
            for x in self._must_be_computed
            if x.node not in seen and not self.regions.was_dropped(x.node)
        ]
        return [x.result if isinstance(x, _Run) else x for x in unused]

    def require_checks(self, nodes: Sequence[int]) -> None:
        """Require that a graph of these outputs computes all values that may fail. Where no
        output needs one, Python needs the number now.
        """
        for x in self.unused_checks(nodes):
            raise x._needs_value("an operation that may fail and whose result isn't used")

    def node_of(self, x: TensorBase, line: SourceLine | None = None) -> int:
        """The node of an input; a new constant for a tensor that has a value.

        line: that of the constant, the user's if None.
        """
        if isinstance(x, SymbolicTensor):
            if x.recorder is not self or self.closed:
                raise leak_error(x)
            return x.node
        known = self._constants.get(id(x))
        if known is None:
            array = x._array  # type: ignore[attr-defined]
            known = (x, self.builder.const(array, line or user_line()))
            self._constants[id(x)] = known
        return known[1]

    def record(
        self, primitive: Primitive, inputs: Sequence[TensorBase], attrs: dict[str, Any]
    ) -> Any:
        """Append a node; its result, or results, as symbolic tensors."""
        for x in inputs:
            if isinstance(x, SymbolicTensor) and (x.recorder is not self or x.recorder.closed):
                raise leak_error(x)
        handled = isinstance(primitive.kind, _MAY_FAIL) and self._note_handler(
            primitive.tensorflow
        )
        line = user_line()
        nodes = [self.node_of(x, line) for x in inputs]
        node = self.builder.add(primitive, nodes, line, **attrs)
        type = self.builder.nodes[node].type
        if isinstance(type, TupleType):
            items = [
                self.builder.add(source.item, (node,), line, index=i)
                for i in range(len(type.items))
            ]
            made = [self.symbol(item, t) for item, t in zip(items, type.items, strict=True)]
            if handled:
                self._must_be_computed.append(made[0])
            return tuple(made)
        check_size(type.shape, type.dtype, primitive.tensorflow)
        symbol = self.symbol(node, type)
        if handled:
            self._must_be_computed.append(symbol)
        if isinstance(primitive.kind, View) and isinstance(inputs[0], SymbolicTensor):
            symbol._become_view_of(inputs[0])
        return symbol

    def note_bounds(self, x: SymbolicTensor, low: int, high: int) -> None:
        """Note between which numbers a Python integer is, whatever the call."""
        self._bounds[x.node] = low, high

    def fits(self, x: SymbolicTensor) -> bool:
        """Whether a Python integer is known to fit in 64 bits."""
        return x.node in self._bounds

    def bounds_of(self, x: Any) -> tuple[int, int] | None:
        """The same for a Python integer that may be known itself."""
        if isinstance(x, SymbolicTensor):
            node = self.builder.nodes[x.node]
            if node.primitive is not source.const:
                return self._bounds.get(x.node)
            value = node.attr("value").array
        else:
            value = x.numpy()
        if value.shape or value.dtype != np.int64:
            return None
        return int(value), int(value)

    def known_bounds(self, x: SymbolicTensor) -> tuple[int, int] | None:
        """Between which numbers an integer is, where that is known."""
        return self._bounds.get(x.node)

    def bounds_after(self, name: str, operands: Sequence[Any]) -> tuple[int, int] | None:
        """Between which numbers arithmetic of Python's integers stays, where that is known and
        fits in 64 bits.
        """
        known = []
        for x in operands:
            if isinstance(x, SymbolicTensor) and x.node in self._bounds:
                known.append(self._bounds[x.node])
            elif isinstance(x, int):
                known.append((int(x), int(x)))
            else:
                return None
        a, b = known[0], known[-1]
        match name:
            case "add":
                low, high = a[0] + b[0], a[1] + b[1]
            case "sub":
                low, high = a[0] - b[1], a[1] - b[0]
            case "mul":
                ends = [p * q for p in a for q in b]
                low, high = min(ends), max(ends)
            case "neg":
                low, high = -a[1], -a[0]
            case _:
                return None
        return (low, high) if low >= -(2**63) and high < 2**63 else None

    def placeholder(self, type: TensorType, origin: str) -> SymbolicTensor:
        """A value of the region whose function runs."""
        node = self.builder.add(source.placeholder, (), user_line(), type=type)
        symbol = SymbolicTensor(self, node, type, origin)
        symbol.storage.shared = origin == "numpy"  # as an argument, which may not be written
        return symbol

    def region(
        self, types: Sequence[tuple[TensorType, str]], function: Callable[..., Any]
    ) -> Region:
        """Run the function of a region on new symbolic tensors of these types and origins."""
        before = dict(self._variable_values)
        with self.regions.opened() as start:
            symbols = [self.placeholder(type, origin) for type, origin in types]
            try:
                result = function(*symbols)
            finally:  # what was read there first is a parameter
                self._variable_values = {
                    cell: before[cell] if cell in before else self._variable_symbol(cell)
                    for cell in self._variable_values
                }
            assigned = tuple(self.regions.assigned[-1][1])
        return Region(start, tuple(x.node for x in symbols), result, assigned)

    def require_handed_on(self, *regions: Region) -> None:
        """Raise AssignedInRegionError for variables whose values regions don't hand on."""
        found = [variable for region in regions for variable in region.assigned]
        if found:
            raise AssignedInRegionError(found)

    def _variable_symbol(self, cell: int) -> SymbolicTensor:
        """What a variable is when the function starts."""
        node = self._variable_params[cell]
        return SymbolicTensor(self, node, self.builder.nodes[node].tensor, "tensor")

    def variables_now(self) -> dict[int, TensorBase]:
        """What variables are at this point, by the ids of their cells."""
        return dict(self._variable_values)

    def variables_changed(self, before: dict[int, TensorBase]) -> bool:
        """Whether variables are others than they were."""
        return any(
            value is not before[cell]
            if cell in before
            else self.node_of(value) != self._variable_params.get(cell)
            for cell, value in self._variable_values.items()
        )

    def hand_variables(
        self, variables: Sequence[Variable], values: Sequence[TensorBase]
    ) -> None:
        """Give variables the values that a region has of them."""
        for variable, value in zip(variables, values, strict=True):
            self.read(variable)
            self._variable_values[id(variable.cell)] = value

    def control(
        self,
        primitive: Primitive,
        regions: Sequence[tuple[Region, Sequence[Any]]],
        inputs: Sequence[TensorBase],
        origins: Sequence[str],
        **attrs: Any,
    ) -> list[SymbolicTensor]:
        """Append a node of control flow, and give its results.

        regions: each with its outputs. inputs: operands that aren't read inside the regions.
        origins: those of the results.
        """
        self.require_handed_on(*(region for region, _ in regions))
        line = user_line()
        outputs = [[self.node_of(x, line) for x in found] for _, found in regions]
        for (region, _), nodes in zip(regions, outputs, strict=True):
            # from its own nodes on, which leaves the regions inside it
            self.require_no_leak(nodes, region.start + 1)
        pairs = zip(regions, outputs, strict=True)
        fails = [self.require_checks_in(region, nodes) for (region, _), nodes in pairs]
        outside = [
            self.regions.needed(region, nodes)[1]
            for (region, _), nodes in zip(regions, outputs, strict=True)
        ]
        operands = list(dict.fromkeys(number for found in outside for number in found))
        self.regions.used.update(region.start for region, _ in regions)
        graphs = tuple(
            self.regions.graph(region, nodes, operands, f"{primitive.name}_{k}")
            for k, ((region, _), nodes) in enumerate(zip(regions, outputs, strict=True))
        )
        given = [self.node_of(x, line) for x in inputs]
        node = self.builder.add(primitive, (*given, *operands), line, graphs, **attrs)
        type = self.builder.nodes[node].type
        assert isinstance(type, TupleType)
        results = []
        for k, (item, origin) in enumerate(zip(type.items, origins, strict=True)):
            number = self.builder.add(source.item, (node,), line, index=k)
            results.append(SymbolicTensor(self, number, item, origin))
            if origin == "weak" and item.dtype is int64:  # as all that regions compute
                self.note_bounds(results[-1], -(2**63), 2**63 - 1)
        self._freeze_operands(primitive, regions, inputs, results, attrs)
        if any(fails) and results:  # it is run even where no result is used
            numbers = [x for x in results if not x.type.shape]
            self._must_be_computed.append(_Run(node, (numbers or results)[0]))
        return results

    def _freeze_operands(
        self,
        primitive: Primitive,
        regions: Sequence[tuple[Region, Sequence[Any]]],
        inputs: Sequence[Any],
        results: Sequence[SymbolicTensor],
        attrs: dict[str, Any],
    ) -> None:
        """Let nothing be written any more into results of control flow that are arrays from
        outside of its regions where nothing is done to them, nor into these: what is written
        into one would have to be seen in the other.
        """
        loops = isinstance(primitive.kind, (CountedLoop, ConditionalLoop))
        turns = isinstance(primitive.kind, CountedLoop) and attrs["count"]
        for k, result in enumerate(results[: attrs.get("carried")]):
            if not result.type.shape or result.origin != "numpy":
                continue
            last = regions[-1:] if loops else regions
            given = [y[k] for region, y in last if not self._is_new(region, y[k])]
            if loops and (given or type(turns) is not int or turns == 0):
                given.append(inputs[k])
            for x in (result, *given) if given else ():
                if isinstance(x, SymbolicTensor) and x.type.shape:
                    x.storage.owner().freeze()

    def _is_new(self, region: Region, x: Any) -> bool:
        """Whether what a region gives is a constant, or was surely computed there."""
        if not isinstance(x, SymbolicTensor):
            return True
        record = self.builder.nodes[x.node]
        computed = not isinstance(record.primitive.kind, (Source, Item, View))
        return record.primitive is source.const or (x.node >= region.start and computed)

    def require_no_leak(self, nodes: Sequence[int], start: int = 0) -> None:
        """LeakedTracerError where nodes need one of a branch or loop that has ended."""
        node = self.regions.leaked_node(nodes, start)
        if node is not None:
            made = self.builder.nodes[node].source
            where = f", made {made.describe()}," if made is not None else ""
            raise LeakedTracerError(
                at_user_line(
                    f"a value of a branch or loop{where} is used outside of it",
                    "return it from the function of the branch or loop",
                )
            )

    def symbol(self, node: int, type: TensorType) -> SymbolicTensor:
        """A symbolic tensor of a node, of the origin that results have now."""
        return SymbolicTensor(self, node, type, self.origin)

    def as_weak(self, x: SymbolicTensor) -> SymbolicTensor:
        """A number or bool that NumPy gives as Python's."""
        return SymbolicTensor(self, x.node, x.type, "weak")

    def mixed_number(self, number: TensorBase, flag: TensorBase, whole: bool) -> SymbolicTensor:
        """A number that is NumPy's where a flag says so: see `mixed_numbers`."""
        known = self.symbol_of(self.node_of(flag), "weak")
        made: SymbolicTensor = MixedNumber(
            self, self.node_of(number), number.type, "", known, whole
        )
        return made

    def mixed_parts(self, values: Sequence[Any]) -> Any:
        """Numbers of two kinds as values of one dtype, with flags that say which of them, and
        whether Python's are ints; None where they are none.
        """
        return mixed_parts(self, values)

    def symbol_of(self, node: int, origin: str) -> SymbolicTensor:
        """A symbolic tensor of a node that isn't an operation's result."""
        return SymbolicTensor(self, node, self.builder.type_of(node), origin)

    def same_value(self, x: TensorBase) -> SymbolicTensor:
        """The value of a tensor as a node of its own."""
        node, line = self.node_of(x), user_line()
        shape = self.builder.type_of(node).shape
        made = self.builder.add(view.reshape, (node,), line, shape=shape)
        return self.symbol_of(made, origin_of(x))

    def without_derivative(self, x: TensorBase) -> SymbolicTensor:
        """The value of a tensor, which derivatives take for a constant."""
        made = self.builder.add(pw.stop_gradient, (self.node_of(x),), user_line())
        return self.symbol_of(made, "tensor")

    def renew_variables(self) -> None:
        """Have the values of variables be nodes of their own from here on."""
        self._variable_values = {
            cell: self.same_value(value) for cell, value in self._variable_values.items()
        }

    def as_result(self, x: TensorBase, origin: str) -> SymbolicTensor:
        """A tensor for which the rules of another origin hold."""
        node = self.node_of(x)
        return SymbolicTensor(self, node, self.builder.type_of(node), origin)

    def updates(self) -> list[tuple[int, int]]:
        """Pairs (a variable's parameter, the node of its last value)."""
        return [
            (self._variable_params[cell], self.node_of(self._variable_values[cell]))
            for cell in self._written_cells
        ]

    def finish(self, outputs: Sequence[Any]) -> Graph:
        """The graph of these outputs and of all variables written."""
        return self.graph_of([self.node_of(as_tensor(x)) for x in outputs])

    def graph_of(self, nodes: Sequence[int]) -> Graph:
        """The graph of these output nodes and of all variables written."""
        updates = self.updates()
        roots = [*nodes, *(node for _, node in updates)]
        self.require_no_leak(roots)
        kept: list[int] = []
        self.branches.loops.require_closed()
        if self.branches.taken:
            roots, kept = self.branches.nested(self, roots)
            written = zip(updates, roots[len(nodes) :], strict=True)
            updates = [(param, node) for (param, _), node in written]
        graph = self.builder.finish(roots[: len(nodes)], updates)
        if self.regions.closed or kept:
            graph = compacted(graph, kept)
        return without_own_gradients(graph)


__all__ = ["Trace", "WrittenAfterUseError"]
