"""A memo of the operators in a trace, by the types of their operands.

NumPy's rules for an operator take a hundred steps. For floating-point arrays and Python floats
they depend on the operands' types alone. Where the rules recorded just one node of these
operands, with floats as constants, the next such operator of the trace is recorded at once. All
others go through the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import user_line
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType, float32, float64
from graphjit.ir.graph import GraphBuilder, Node
from graphjit.ops import source
from graphjit.ops.primitive import Attrs, Primitive

# Of two operands: the value of a float doesn't matter to what these become. Of one: any ufunc.
_OPERATORS = {"add", "sub", "mul", "truediv"}
_UFUNCS = {np.add, np.subtract, np.multiply, np.divide}
# Python floats up to this size are no infinity in float32.
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class _Recipe:
    """The node that an operator became."""

    primitive: Primitive
    attrs: Attrs
    type: TensorType
    # The type of the constant that a float among the operands became.
    constant: TensorType | None
    # Keys have their ids: they live for as long as these.
    operand_types: tuple[TensorType, ...]


class OpMemo:
    """The operators of one trace that are recorded at once, until it is closed."""

    def __init__(self, builder: GraphBuilder, symbols: frozenset[type]) -> None:
        self.closed = False
        self._builder = builder
        # The classes of the trace's arrays.
        self._symbols = symbols
        self._recipes: dict[tuple[Any, ...], _Recipe] = {}
        self._types: dict[TensorType, TensorType] = {}

    def canonical_type(self, type_: TensorType) -> TensorType:
        """The one object for all equal types."""
        return self._types.setdefault(type_, type_)

    def key(self, what: Any, operands: Sequence[Any]) -> tuple[Any, ...] | None:
        """The key of an operator or ufunc; None where it may depend on more than types."""
        if len(operands) > 1 and what not in _OPERATORS and what not in _UFUNCS:
            return None
        parts: list[Any] = [what]
        builder = self._builder
        for x in operands:
            kind = type(x)
            if kind is float:
                parts.append(float)
            elif (
                kind in self._symbols and x.origin == "numpy" and x.recorder.builder is builder
            ):
                parts.append(id(x._type))
            else:
                return None
        return None if self.closed else tuple(parts)

    def recall(
        self, key: tuple[Any, ...], operands: Sequence[Any], own: int
    ) -> tuple[int, TensorType] | None:
        """The node, and its type, of an operator like one before; None if there was none.
        own: so many calls lie between this and the user's code.
        """
        recipe = self._recipes.get(key)
        if recipe is None:
            return None
        line, kind, nodes = user_line(own + 2), recipe.constant, self._builder.nodes
        inputs = []
        for x in operands:
            if type(x) is not float:
                inputs.append(x.node)
                continue
            assert kind is not None
            if kind.dtype is float32 and abs(x) > _FLOAT32_MAX:
                return None
            literal = source.Literal(np.array(x, kind.dtype.dtype))
            inputs.append(len(nodes))
            nodes.append(Node(source.const, (), (("value", literal),), kind, line))
        nodes.append(Node(recipe.primitive, tuple(inputs), recipe.attrs, recipe.type, line))
        return len(nodes) - 1, recipe.type

    def record_memoized(
        self, key: tuple[Any, ...], operands: Sequence[Any], first: int
    ) -> TensorType:
        """Note what an operator became, the nodes from the `first` on. Gives the result's type,
        the same object for all equal ones.
        """
        type_ = self.canonical_type(self._builder.nodes[-1].tensor)
        recipe = self._make_recipe(operands, first, type_)
        if recipe is not None:
            self._recipes[key] = recipe
        return type_

    def _make_recipe(
        self, operands: Sequence[Any], first: int, result: TensorType
    ) -> _Recipe | None:
        nodes = self._builder.nodes
        constants = iter(range(first, len(nodes) - 1))
        inputs = []
        kind: TensorType | None = None
        for x in operands:
            number = next(constants, None) if type(x) is float else x.node
            if number is None:
                return None
            if type(x) is float:
                kind = _constant_type(nodes[number], x)
                if kind is None:
                    return None
            inputs.append(number)
        last = nodes[-1]
        if len(nodes) == first or next(constants, None) is not None:
            return None
        if last.inputs != tuple(inputs):
            return None
        types = tuple(x._type for x in operands if type(x) is not float)
        return _Recipe(last.primitive, last.attrs, result, kind, types)


def _constant_type(node: Node, value: float) -> TensorType | None:
    """The type of a constant that is this float, rounded to it; None if the node isn't that."""
    if node.primitive is not source.const or node.tensor.dtype not in (float32, float64):
        return None
    literal = node.attr("value").array
    with np.errstate(all="ignore"):
        same = literal.tobytes() == np.array(value, literal.dtype).tobytes()
    return node.tensor if same and literal.shape == () else None


__all__ = ["OpMemo"]
