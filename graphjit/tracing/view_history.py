"""Which arrays of a trace lie in the memory of arguments and captured arrays, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.ir.graph import Node
from graphjit.ops import index, pointwise
from graphjit.ops.primitive import View
from graphjit.tensors.apply import TensorBase

from .result_views import (
    BaseArray,
    CallResult,
    NumpyCall,
    ResultView,
    base_arrays,
    full_view,
    map_parts,
    read_only,
)
from .symbolic_tensor import SymbolicTensor

# The parts of complex numbers, which NumPy has in their memory.
_COMPLEX_PARTS = (pointwise.real, pointwise.imag)


class ViewHistory:
    """What the arrays of a trace are views of.

    There are two ways to know. The `provenance` of a symbolic tensor holds the calls of NumPy
    that made it. Where these can't be replayed, the view nodes of the graph lead to its base.
    """

    def __init__(self, nodes: list[Node], captures: list[np.ndarray[Any, Any]]) -> None:
        self._nodes = nodes
        self._captures = captures
        # Leaves and captured arrays, by the nodes of their parameters.
        self._base_symbols: dict[int, SymbolicTensor] = {}
        # Nodes that np.ravel made.
        self._ravels: set[int] = set()

    def add_base(self, symbol: SymbolicTensor, base: BaseArray) -> None:
        """Note an argument or captured array, which results may be views of."""
        symbol.provenance = base
        self._base_symbols[symbol.node] = symbol

    def written_bases(self) -> list[tuple[BaseArray, SymbolicTensor]]:
        """The arguments and captured arrays that were written into."""
        return [
            (symbol.provenance, symbol)
            for node, symbol in self._base_symbols.items()
            if symbol.node != node and isinstance(symbol.provenance, BaseArray)
        ]

    def release(self) -> None:
        """Refer to no symbolic tensors any more: see `Trace.released`."""
        self._base_symbols.clear()

    def find_result_view(
        self, x: SymbolicTensor, memory_existed: Callable[[Any], bool]
    ) -> ResultView | None:
        """How a result is made of arguments and captured arrays that it is, or that it shares
        memory with; None for other results.

        memory_existed: whether a captured array lies in memory that was there before the trace.
        """
        is_base = isinstance(x.provenance, BaseArray)
        noted = x.provenance if x.origin == "numpy" or is_base else None
        for provenance in (noted, self._provenance_by_nodes(x)):
            if provenance is None:
                continue
            if all(map(memory_existed, self._captures_in(provenance))):
                return ResultView(provenance)
        return None

    def is_part_of_base(self, x: SymbolicTensor) -> bool:
        """Whether NumPy gives a view of an argument or captured array, of which the place is
        known only at the call: A[i + 1].
        """
        node = self._nodes[self.view_chain(x.node)[-1]]
        if node.primitive is not index.gather or not x.type.shape:
            return False
        places = [self._nodes[i].tensor for i in node.inputs[1:]]
        return all(not place.shape for place in places) and (
            self.view_chain(node.inputs[0])[-1] in self._base_symbols
        )

    def _captures_in(self, provenance: BaseArray | CallResult) -> list[np.ndarray[Any, Any]]:
        bases = base_arrays(provenance)
        return [self._captures[n] for role, n in bases if role == "capture"]

    def _provenance_by_nodes(self, x: SymbolicTensor) -> BaseArray | CallResult | None:
        """How NumPy makes a view of an argument or captured array, by the graph's nodes."""
        end = self.view_chain(x.node)[-1]
        base = self._base_symbols.get(end)
        if base is None or x.origin != "numpy":
            return None
        if all(x.storage.owner() is not known.storage for known in self._base_symbols.values()):
            return None
        assert isinstance(base.provenance, BaseArray)
        return self.view_provenance(base.provenance, end, x.node, x.storage.base is not None)

    def base_capture(self, x: SymbolicTensor) -> np.ndarray[Any, Any] | None:
        """The captured array that this is, or is a view of; None for others."""
        made = self._provenance_by_nodes(x) if x.provenance is None else x.provenance
        found = [] if made is None else self._captures_in(made)
        return found[0] if found else None

    def note_call(
        self,
        results: Any,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
    ) -> None:
        """Note the call of NumPy that gave results, which may lie in memory of its arguments.

        Nothing is noted unless all arrays among the arguments have a provenance.
        """
        todo: list[tuple[SymbolicTensor, tuple[int, ...]]]
        if isinstance(results, SymbolicTensor):
            todo = [(results, ())]
        elif type(results) in (list, tuple):
            todo = [(x, (i,)) for i, x in enumerate(results) if isinstance(x, SymbolicTensor)]
        else:
            return
        new = [(x, path) for x, path in todo if x.provenance is None]
        try:
            call = NumpyCall(
                function,
                _provenance_of(tuple(args)),
                {k: _provenance_of(v) for k, v in kwargs.items()},
            )
        except LookupError:
            return
        for x, path in new if call.bases else ():
            x.provenance = CallResult(call, path)

    def view_chain(self, node: int) -> list[int]:
        """A node, the node that it is a view of, and so on."""
        chain = [node]
        while (viewed := self._viewed_node(chain[-1])) is not None:
            chain.append(viewed)
        return chain

    def _viewed_node(self, number: int) -> int | None:
        node = self._nodes[number]
        views = isinstance(node.primitive.kind, View) or node.primitive in _COMPLEX_PARTS
        return node.inputs[0] if views and len(node.inputs) == 1 else None

    def view_provenance(
        self, base: BaseArray, top: int, node: int, frozen: bool = False
    ) -> CallResult:
        """How NumPy makes a view of a base.

        top: the node of the base, in the `view_chain` of the view's node. frozen: whether the
        view is read-only.
        """
        made: BaseArray | CallResult = base
        chain = self.view_chain(node)
        for number in reversed(chain[: chain.index(top)]):
            step = self._nodes[number]
            ravels = number in self._ravels
            function = np.ravel if ravels else step.primitive.numpy
            made = CallResult(
                NumpyCall(function, (made,), {} if ravels else dict(step.attrs)), ()
            )
        view = made if isinstance(made, CallResult) else full_view(made)
        return CallResult(NumpyCall(read_only, (view,), {}), ()) if frozen else view

    def note_ravel(self, x: SymbolicTensor) -> SymbolicTensor:
        """Note an array that np.ravel made: unlike reshape, it copies what isn't contiguous."""
        self._ravels.add(x.node)
        return x


def _provenance_of(value: Any) -> Any:
    """An argument of NumPy's as a `NumpyCall` keeps it. LookupError where it has an array
    without provenance, or one that may change.
    """
    if isinstance(value, SymbolicTensor):
        if value.provenance is None or value.origin == "tensor":
            raise LookupError
        return value.provenance
    if isinstance(value, (TensorBase, np.ndarray)):
        raise LookupError
    return map_parts(value, _provenance_of)


__all__ = ["ViewHistory"]
