"""Graph -> JSON -> Graph. The text format of dumps and tests is `text`'s."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from graphjit.core.dims import Dim, Sizes, parse_dim
from graphjit.core.errors import InvalidArgumentError, SourceLine
from graphjit.core.types import DType, TensorType, TupleType, as_dtype
from graphjit.ops import primitive_named, source

from .graph import Graph, Node

INLINE_ELEMENTS = 16


def to_json(graph: Graph) -> str:
    """The graph as JSON with keys in a fixed order; `from_json` reads it back."""
    return json.dumps(_document(graph), indent=1, allow_nan=False)


def _document(graph: Graph) -> dict[str, Any]:
    return {
        "graph": graph.name,
        "nodes": [_node_json(index, node) for index, node in enumerate(graph.nodes)],
        "outputs": list(graph.outputs),
        "updates": [{"param": param, "value": value} for param, value in graph.updates],
    }


def from_json(text: str) -> Graph:
    """The graph that `to_json` wrote; InvalidArgumentError where the text is another."""
    try:
        return _graph_of(json.loads(text), Sizes())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgumentError(f"not the JSON of a graph: {error!r}") from error


def _graph_of(document: dict[str, Any], sizes: Sizes) -> Graph:
    nodes = tuple(_node_of(item, sizes) for item in document["nodes"])
    updates = tuple((pair["param"], pair["value"]) for pair in document["updates"])
    return Graph(document["graph"], nodes, tuple(document["outputs"]), updates)


def _node_json(index: int, node: Node) -> dict[str, Any]:
    line = node.source
    regions = [_document(region) for region in node.regions]
    return {
        "index": index,
        "op": node.primitive.name,
        "type": _type_json(node.type),
        "inputs": list(node.inputs),
        "attrs": {name: _attr_json(value) for name, value in node.attrs},
        "source": line and {"file": line.file, "line": line.line, "function": line.function},
        **({"regions": regions} if regions else {}),
    }


def _node_of(item: dict[str, Any], sizes: Sizes) -> Node:
    line = item["source"]
    return Node(
        primitive_named(item["op"]),
        tuple(item["inputs"]),
        tuple((name, _attr_of(value, sizes)) for name, value in item["attrs"].items()),
        _type_of(item["type"], sizes),
        SourceLine(line["file"], line["line"], line["function"]) if line else None,
        tuple(_graph_of(region, sizes) for region in item.get("regions", ())),
    )


def _type_json(type: TensorType | TupleType) -> Any:
    if isinstance(type, TupleType):
        return [_type_json(item) for item in type.items]
    return {"dtype": type.dtype.name, "shape": _attr_json(type.shape)}


def _type_of(value: Any, sizes: Sizes) -> TensorType | TupleType:
    if isinstance(value, list):
        items = tuple(_type_of(item, sizes) for item in value)
        return TupleType(tuple(item for item in items if isinstance(item, TensorType)))
    return TensorType(_attr_of(value["shape"], sizes), as_dtype(value["dtype"]))


def _attr_json(value: Any) -> Any:
    """Numbers, strings and None as they are, tuples as lists, all else an object of one key."""
    match value:
        case tuple():
            return [_attr_json(item) for item in value]
        case Dim():
            return {"size": value.text}
        case DType():
            return {"dtype": value.name}
        case TensorType() | TupleType():
            return {"type": _type_json(value)}
        case source.Literal():
            return {"array": _array_json(value.array)}
        case float() if not np.isfinite(value):
            return {"float": repr(value)}
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise InvalidArgumentError(f"no JSON for an attribute of {type(value).__name__}")


def _attr_of(value: Any, sizes: Sizes) -> Any:
    match value:
        case list():
            return tuple(_attr_of(item, sizes) for item in value)
        case {"size": text}:
            return parse_dim(text, sizes)
        case {"dtype": name}:
            return as_dtype(name)
        case {"type": type}:
            return _type_of(type, sizes)
        case {"array": array}:
            return source.Literal(_array_of(array))
        case {"float": text}:
            return float(text)
        case _:
            return value


def _array_json(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """A short array of real, finite numbers as a flat list, any other as its bytes."""
    head = {"dtype": as_dtype(array.dtype).name, "shape": list(array.shape)}
    array = array.astype(as_dtype(array.dtype).dtype)  # this machine's byte order
    if array.size <= INLINE_ELEMENTS and array.dtype.kind != "c":
        values = [item.item() for item in array.reshape(-1)]
        if all(np.isfinite(value) for value in values):
            return head | {"data": values}
    return head | {"base64": base64.b64encode(array.tobytes()).decode("ascii")}


def _array_of(value: dict[str, Any]) -> np.ndarray[Any, Any]:
    dtype, shape = as_dtype(value["dtype"]).dtype, tuple(value["shape"])
    if "data" in value:
        return np.array(value["data"], dtype).reshape(shape)
    return np.frombuffer(base64.b64decode(value["base64"]), dtype).reshape(shape)
