"""Runs a Graph, or one primitive, by the NumPy rules: eager mode and the oracle of tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.errors import OutOfMemoryError, at_user_line
from graphjit.core.types import TensorType, TupleType
from graphjit.ops.primitive import Control, CountedLoop

if TYPE_CHECKING:
    from graphjit.ops.primitive import Primitive

    from .graph import Graph, Node


def run_primitive(
    primitive: Primitive,
    arrays: Sequence[Any],
    type: TensorType | TupleType,
    attrs: dict[str, Any],
) -> Any:
    """One primitive's value: an ndarray of exactly `type`, or a tuple of them."""
    try:
        with np.errstate(all="ignore"):
            value = primitive.numpy(*arrays, **attrs)
    except MemoryError as error:
        raise OutOfMemoryError(
            at_user_line(f"no memory for {type} [Op:{primitive.tensorflow}]")
        ) from error
    if isinstance(type, TupleType):
        return tuple(_exactly(v, t) for v, t in zip(value, type.items, strict=True))
    return _exactly(value, type)


def _exactly(value: Any, type: TensorType) -> np.ndarray[Any, Any]:
    return np.asarray(value, dtype=type.dtype.dtype).reshape(type.shape)


# What is shown each node that isn't a parameter, its operands, and its value.
Look = Callable[["Node", Sequence[Any], Any], None]


def run_control(node: Node, arrays: Sequence[Any], look: Look | None = None) -> tuple[Any, ...]:
    """The results of a node of control flow, its regions run by NumPy, too."""
    regions = [
        lambda inputs, region=region: run(region, inputs, look)[0] for region in node.regions
    ]
    kind, type = node.primitive.kind, node.type
    assert isinstance(kind, Control) and isinstance(type, TupleType)
    attrs = dict(node.attrs)
    if isinstance(kind, CountedLoop):
        attrs["stacked"] = type.items[attrs["carried"] :]
    values = kind.run(regions, arrays, **attrs)
    return tuple(_exactly(v, t) for v, t in zip(values, type.items, strict=True))


def run(
    graph: Graph, values: Sequence[Any], look: Look | None = None
) -> tuple[list[Any], list[Any]]:
    """The outputs and the updates' values for the parameters' values, in order."""
    results: list[Any] = []
    given = iter(values)
    params = set(graph.params)
    for number, node in enumerate(graph.nodes):
        if number in params:
            results.append(np.asarray(next(given), node.tensor.dtype.dtype))
            continue
        arrays = [results[i] for i in node.inputs]
        if isinstance(node.primitive.kind, Control):
            results.append(run_control(node, arrays, look))
        else:
            if isinstance(arrays[0] if arrays else None, tuple):
                arrays = [arrays[0]]
            made = run_primitive(node.primitive, arrays, node.type, dict(node.attrs))
            results.append(made)
        if look is not None:
            look(node, arrays, results[-1])
    return [results[i] for i in graph.outputs], [results[v] for _, v in graph.updates]
