"""What a tape notes in eager mode: ops and calls of compiled functions, and the way back.

The way back of each op runs by `apply`, so other tapes note it, too: there are second
derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, TupleType
from graphjit.ir.graph import Graph, GraphBuilder, Node
from graphjit.ops import pointwise as pw
from graphjit.ops import source
from graphjit.ops.primitive import Control, Primitive
from graphjit.tensors.apply import TensorBase, apply, apply_control, wrap

from .node_maker import has_cotangent
from .reverse import way_back

# What gives cotangents of inputs, None for 0, by those of the outputs.
Pull = Callable[[Sequence[TensorBase | None]], Sequence[TensorBase | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What ran. inputs, outputs: tensors; pull: its way back."""

    inputs: tuple[TensorBase, ...]
    outputs: tuple[TensorBase, ...]
    pull: Pull


class EagerTape:
    """The entries since the tape began, and the tensors that depend on what is watched."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._tracked: dict[int, TensorBase] = {}

    def watch(self, x: TensorBase) -> None:
        """Note what is computed of a tensor from now on."""
        self._tracked[id(x)] = x

    def tracks(self, x: Any) -> bool:
        """Whether a tensor depends on what is watched."""
        return id(x) in self._tracked

    def note(
        self,
        primitive: Primitive,
        attrs: dict[str, Any],
        regions: tuple[Graph, ...],
        inputs: Sequence[TensorBase],
        outputs: tuple[TensorBase, ...],
    ) -> None:
        """Note an op that ran, if it computes of what is watched."""
        flags = tuple(map(self.tracks, inputs))
        if any(flags):
            given = tuple(inputs)
            pull = _Op(primitive, attrs, regions, given, outputs, flags)
            self.note_entry(Entry(given, outputs, pull))

    def note_entry(self, entry: Entry) -> None:
        """Note what ran."""
        self.entries.append(entry)
        for x in entry.outputs:
            if has_cotangent(x.type):
                self._tracked[id(x)] = x

    def pulled(
        self, seeds: Sequence[tuple[TensorBase, TensorBase]], wanted: Sequence[TensorBase]
    ) -> list[TensorBase | None]:
        """Cotangents of tensors, None for those that nothing depends on. seeds: tensors and
        their cotangents.
        """
        found: dict[int, TensorBase] = {}

        def give(x: TensorBase, cotangent: TensorBase) -> None:
            known = found.get(id(x))
            found[id(x)] = cotangent if known is None else apply(pw.add, known, cotangent)

        for x, cotangent in seeds:
            if self.tracks(x):
                give(x, cotangent)
        kept = {id(x) for x in wanted}
        for entry in reversed(self.entries[:]):
            given = [
                found.get(id(x)) if id(x) in kept else found.pop(id(x), None)
                for x in entry.outputs
            ]
            if all(g is None for g in given):
                continue
            for x, g in zip(entry.inputs, entry.pull(given), strict=True):
                if g is not None:
                    give(x, g)
        return [found.get(id(x)) for x in wanted]


class _Op:
    """The way back of one op."""

    __slots__ = ("_attrs", "_flags", "_inputs", "_outputs", "_primitive", "_regions")

    def __init__(
        self,
        primitive: Primitive,
        attrs: dict[str, Any],
        regions: tuple[Graph, ...],
        inputs: tuple[TensorBase, ...],
        outputs: tuple[TensorBase, ...],
        flags: tuple[bool, ...],
    ) -> None:
        self._primitive, self._attrs, self._regions = primitive, attrs, regions
        self._inputs, self._outputs, self._flags = inputs, outputs, flags

    def __call__(self, cotangents: Sequence[TensorBase | None]) -> list[TensorBase | None]:
        builder = GraphBuilder(self._primitive.name)
        params = [builder.param(x.type) for x in self._inputs]
        made = builder.add(self._primitive, params, None, self._regions, **self._attrs)
        results = [made]
        if isinstance(builder.nodes[made].type, TupleType):
            count = range(len(self._outputs))
            results = [builder.add(source.item, (made,), index=k) for k in count]
        given = [(k, g) for k, g in zip(results, cotangents, strict=True) if g is not None]
        back, moved = way_back(builder.finish([k for k, _ in given]), self._flags)
        known = {moved[k]: x for k, x in zip(params, self._inputs, strict=True)}
        known |= {
            moved[k]: x for k, x in zip(results, self._outputs, strict=True) if k in moved
        }
        for (_, g), number in zip(given, back.params[len(params) :], strict=True):
            known[number] = g
        found = iter(evaluated(back, known))
        return [next(found) if flag else None for flag in self._flags]


def evaluated(graph: Graph, known: dict[int, TensorBase]) -> list[TensorBase]:
    """The outputs of a graph, op by op. known: the values of nodes, parameters among them."""
    values: dict[int, Any] = dict(known)
    needed, todo = set[int](), list(graph.outputs)
    while todo:
        number = todo.pop()
        if number not in needed and number not in values:
            needed.add(number)
            todo += graph.nodes[number].inputs
    for number in sorted(needed):
        node = graph.nodes[number]
        values[number] = _value(node, [values[i] for i in node.inputs])
    return [values[i] for i in graph.outputs]


def _value(node: Node, inputs: Sequence[Any]) -> Any:
    if node.primitive is source.item:
        return inputs[0][node.attr("index")]
    if node.primitive is source.const:
        return wrap(node.attr("value").array)
    if isinstance(node.primitive.kind, Control):
        return apply_control(node, inputs)
    return apply(node.primitive, *inputs, **dict(node.attrs))


def zeros_of(type: TensorType) -> TensorBase:
    """Zeros of a type."""
    return wrap(np.zeros(type.shape, type.dtype.dtype))


def ones_of(type: TensorType) -> TensorBase:
    """Ones of a type."""
    return wrap(np.ones(type.shape, type.dtype.dtype))


__all__ = ["EagerTape", "Entry", "evaluated", "ones_of", "zeros_of"]
