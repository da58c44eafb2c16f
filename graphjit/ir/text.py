"""Graph <-> text. The one format of dumps, golden tests and issues.

    graph step
    %0: f32[64, 8] = param "x"
    %1: f32[] = const 1.0
    %2: f32[64, 8] = mul %0, %1        # model.py:12
    return %2
    update %0 = %2

Regions of a node stand in braces after it, each as a graph:

    %3: (f32[8]) = cond %0, %1 {
      graph true
      %0: f32[8] = param "x"
      return %0
    } {
      ...
    }

A node is its type, its primitive with attributes in braces, and its inputs. Symbolic extents
are n0, n1 and so on, and sums, products and floors of them: `f32[2*n0, 64]`. The guards that
sizes fulfil come last: `given n0 - 4 >= 0`.
"""

from __future__ import annotations

import ast
import base64
import json
import re
from typing import Any

import numpy as np

from graphjit.core.dims import Dim, Guard, Sizes, parse_dim
from graphjit.core.errors import InvalidArgumentError
from graphjit.core.types import BY_SHORT, DType, TensorType, TupleType
from graphjit.ops import primitive_named, source

from .graph import Graph, Node

INLINE_ELEMENTS = 16
_NODE = re.compile(
    r"%(?P<index>\d+): (?P<type>\(.*?\)|\w+\[[^\]]*\]) = (?P<op>\w+)"
    r"""(?:\{(?P<attrs>(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^'"])*?)\}(?= |$))?"""
    r"(?: (?P<rest>.*))?$"
)
_TYPE = re.compile(r"(\w+)\[([^\]]*)\]")
_INPUT = re.compile(r"%(\d+)")
_INPUTS = re.compile(r"(%\d+(, %\d+)*)?")
_UPDATE = re.compile(r"update %(\d+) = %(\d+)")
_GIVEN = re.compile(r"given (.+) (==|!=|>=) 0")
# No quotes: a `#` within a name or an attribute has a closing quote after it.
_COMMENT = re.compile(r"""\s+#[^"']*$""")

_UNREADABLE = (ValueError, KeyError, SyntaxError, TypeError, AttributeError, OverflowError)


def print_graph(graph: Graph, abbreviate: bool = False, sources: bool = True) -> str:
    """The graph as text; long constants by size only if `abbreviate` (not to be parsed)."""
    lines = _lines(graph, abbreviate, sources)
    lines += [f"given {guard}" for guard in guards_of(graph)]
    return "\n".join(line.rstrip() for line in lines)


def _lines(graph: Graph, abbreviate: bool, sources: bool) -> list[str]:
    name = graph.name
    if not name or name.strip() != name or not name.isprintable() or name[0] == '"':
        name = json.dumps(name)
    lines = [f"graph {name}"]
    for index, node in enumerate(graph.nodes):
        text = f"%{index}: {node.type} = {print_operation(node, abbreviate)}"
        if node.regions:
            text += " {"
        if sources and node.source is not None:
            shown = re.sub(r"""["'\n\r]""", "_", str(node.source))
            text = f"{text:<56}  # {shown}"
        lines.append(text)
        for number, region in enumerate(node.regions):
            if number:
                lines.append("} {")
            lines += [f"  {line}" for line in _lines(region, abbreviate, sources)]
        if node.regions:
            lines.append("}")
    lines.append("return " + ", ".join(f"%{i}" for i in graph.outputs))
    lines += [f"update %{param} = %{value}" for param, value in graph.updates]
    return lines


def guards_of(graph: Graph) -> list[Guard]:
    """What the sizes of a graph with symbolic extents fulfil."""
    shapes = (graph.nodes[number].tensor.shape for number in graph.params)
    dims = (n for shape in shapes for n in shape if isinstance(n, Dim))
    first = next(dims, None)
    return [] if first is None else first.sizes.guards


def print_operation(node: Node, abbreviate: bool = False) -> str:
    """A node without its number and type."""
    attrs = dict(node.attrs)
    if node.primitive is source.const:
        return f"const {_print_array(attrs['value'].array, abbreviate)}"
    tail = ", ".join(f"%{i}" for i in node.inputs)
    if node.primitive is source.param:
        attrs.pop("type")
        tail = json.dumps(attrs.pop("name"), ensure_ascii=False)
        if attrs["role"] == "argument":
            attrs.pop("role")
    shown = ", ".join(f"{name}={_print_attr(value)}" for name, value in attrs.items())
    braces = f"{{{shown}}}" if shown else ""
    return f"{node.primitive.name}{braces} {tail}".rstrip()


def _print_attr(value: Any) -> str:
    if isinstance(value, DType):
        return value.short
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_print_attr, value)) + "]"
    return repr(value)


def _print_array(array: np.ndarray[Any, Any], abbreviate: bool) -> str:
    if array.size <= INLINE_ELEMENTS:
        text = _print_list(array)
        try:
            again = _parse_list(text, array.dtype, array.shape)
        except ValueError:
            again = None
        if again is not None and again.tobytes() == array.tobytes():
            return text
    if abbreviate:
        return f"<{array.nbytes} bytes>"
    data = np.ascontiguousarray(array).tobytes()
    return "base64 " + base64.b64encode(data).decode("ascii")


def _print_list(array: np.ndarray[Any, Any]) -> str:
    if array.ndim:
        return "[" + ", ".join(_print_list(item) for item in array) + "]"
    value = array.item()
    if isinstance(value, float) and array.dtype.itemsize < 8 and np.isfinite(value):
        # the shortest digits that give this value back in its own dtype
        if array.dtype == np.float32 or array.dtype == np.float16:
            shortest = np.format_float_scientific(
                array.dtype.type(value), unique=True, trim="0"
            )
            return repr(float(shortest)) if float(shortest) != 0 else repr(value)
        return repr(value)
    return repr(value)


def _parse_list(text: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    plain = re.sub(r"\b(nan|inf)\b", r"'\1'", text).replace("-'inf'", "'-inf'")
    if dtype.kind == "c":
        if "'" in plain:
            raise ValueError("complex constants that are not finite are printed as bytes")
        return np.array(ast.literal_eval(plain), dtype).reshape(shape)
    value = ast.literal_eval(plain)
    if dtype.kind in "fV":
        return np.array(value).astype(np.float64).astype(dtype).reshape(shape)
    wanted = bool if dtype.kind == "b" else int
    if any(type(item) is not wanted for item in np.array(value, object).reshape(-1)):
        raise ValueError(f"{dtype} has no such values")
    return np.array(value, dtype).reshape(shape)


def parse_graph(text: str) -> Graph:
    """The graph that a text describes; InvalidArgumentError where it can't be read."""
    number, raw = 1, ""
    sizes, guards = Sizes(), []
    stack = [_Unfinished()]
    try:
        for number, raw in enumerate(text.split("\n"), 1):  # noqa: B007  (read below)
            line = _COMMENT.sub("", raw).strip()
            if not line or line.startswith("#"):
                continue
            top = stack[-1]
            if line in ("}", "} {"):
                if len(stack) == 1:
                    raise ValueError("no region is open")
                region = stack.pop().graph()
                stack[-1].regions.append(region)
                if line == "}":
                    stack[-1].close()
                else:
                    stack.append(_Unfinished())
            elif len(stack) == 1 and (match := _GIVEN.fullmatch(line)):
                guards.append((parse_dim(match[1], sizes), match[2]))
            elif top.read(line, raw, sizes):
                stack.append(_Unfinished())
        if len(stack) > 1:
            raise ValueError("a region without end")
        graph = stack[0].graph()
    except _UNREADABLE as error:
        raise InvalidArgumentError(
            f"line {number} of the graph text can't be read: {raw.strip()}\n  {error}"
        ) from error
    for left, relation in guards:  # now: of what they fix, extents would be numbers at once
        sizes.note(left, relation)
    return graph


class _Unfinished:
    """A graph of which lines were read. regions: those of the last node, while it is open."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.nodes: list[Node] = []
        self.outputs: tuple[int, ...] | None = None
        self.updates: list[tuple[int, int]] = []
        self.regions: list[Graph] = []

    def read(self, line: str, raw: str, sizes: Sizes) -> bool:
        """Read a line; whether a region begins after it."""
        if line.startswith("graph "):
            if self.name is not None or self.nodes or self.outputs is not None:
                raise ValueError("`graph` is the first line")
            name = raw.strip()[6:].strip()
            self.name = str(json.loads(name)) if name.startswith('"') else name
        elif line == "return" or line.startswith("return "):
            if self.outputs is not None:
                raise ValueError("a second `return`")
            self.outputs = _parse_inputs(line[7:], len(self.nodes))
        elif match := _UPDATE.fullmatch(line):
            if self.outputs is None:
                raise ValueError("`update` comes after `return`")
            param, value = (_position(digits, len(self.nodes)) for digits in match.groups())
            self.updates.append((param, value))
        elif self.outputs is not None:
            raise ValueError("after `return` come updates: `update %0 = %1`")
        else:
            opens = line.endswith(" {")
            self.nodes.append(_parse_node(line.removesuffix(" {"), len(self.nodes), sizes))
            return opens
        return False

    def close(self) -> None:
        """Give the last node its regions."""
        node = self.nodes[-1]
        regions, self.regions = tuple(self.regions), []
        self.nodes[-1] = Node(
            node.primitive, node.inputs, node.attrs, node.type, node.source, regions
        )

    def graph(self) -> Graph:
        """The graph, once it is whole."""
        if self.outputs is None:
            raise ValueError("no `return`")
        name = "f" if self.name is None else self.name
        return Graph(name, tuple(self.nodes), self.outputs, tuple(self.updates))


def _position(digits: str, count: int) -> int:
    if int(digits) >= count:
        raise ValueError(f"%{digits} does not come before")
    return int(digits)


def _parse_inputs(text: str, count: int) -> tuple[int, ...]:
    text = text.strip()
    if not _INPUTS.fullmatch(text):
        raise ValueError(f"expected `%0, %1`, not `{text}`")
    return tuple(_position(digits, count) for digits in _INPUT.findall(text))


def _parse_type(text: str, sizes: Sizes) -> TensorType | TupleType:
    items = tuple(
        TensorType(
            tuple(parse_dim(n, sizes) for n in dims.split(",")) if dims else (), BY_SHORT[short]
        )
        for short, dims in _TYPE.findall(text)
    )
    known = [n for item in items for n in item.shape if not isinstance(n, Dim)]
    if any(extent < 0 for extent in known):
        raise ValueError("a negative extent")
    return TupleType(items) if text.startswith("(") else items[0]


def _parse_node(line: str, position: int, sizes: Sizes) -> Node:
    match = _NODE.match(line)
    if match is None or int(match["index"]) != position:
        raise ValueError(f"expected `%{position}: type = op ...`")
    type = _parse_type(match["type"], sizes)
    primitive = primitive_named(match["op"])
    rest = match["rest"] or ""
    if primitive is source.const:
        if not isinstance(type, TensorType):
            raise ValueError("a constant is one tensor")
        dtype = type.dtype.dtype
        if rest.startswith("base64 "):
            data = base64.b64decode(rest[7:], validate=True)
            array = np.frombuffer(data, dtype).reshape(type.shape)
        else:
            array = _parse_list(rest, dtype, type.shape)
        return Node(primitive, (), (("value", source.Literal(array)),), type)
    attrs = _parse_attrs(match["attrs"] or "", sizes)
    if primitive is source.param:
        attrs |= {"type": type, "name": json.loads(rest)}
        attrs.setdefault("role", "argument")
        rest = ""
    inputs = _parse_inputs(rest, position)
    return Node(primitive, inputs, tuple(sorted(attrs.items())), type)


def _parse_attrs(text: str, sizes: Sizes) -> dict[str, Any]:
    if not text:
        return {}
    call = ast.parse(f"f({text})", mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError(f"expected `{{name=value}}`, not `{{{text}}}`")
    if any(keyword.arg is None for keyword in call.keywords):
        raise ValueError("`**` is no attribute")
    return {str(keyword.arg): _attr_value(keyword.value, sizes) for keyword in call.keywords}


def _attr_value(tree: ast.expr, sizes: Sizes) -> Any:
    match tree:
        case ast.List(elts=items):
            return tuple(_attr_value(item, sizes) for item in items)
        case ast.Name(id="inf"):
            return float("inf")
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="inf")):
            return float("-inf")
        case ast.Name(id=short) if short in BY_SHORT:
            return BY_SHORT[short]
        case ast.Name() | ast.BinOp():
            return parse_dim(ast.unparse(tree), sizes)
        case _:
            return ast.literal_eval(tree)
