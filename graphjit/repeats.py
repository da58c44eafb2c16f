"""What operators became once in a trace, so that they become it again without being looked up.

NumPy's rules for an operator take a hundred steps, and depend on nothing but the types of its
operands where those are floating-point arrays and Python floats. Where the rules then recorded
one node of just these operands, floats as constants, the next such operator of the same trace
is recorded at once. All else goes its usual way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .errors import user_line
from .ir import Attrs, GraphBuilder, Node
from .ops import source
from .ops.primitive import Primitive
from .types import TensorType, float32, float64

# Of two operands: the value of a float doesn't matter to what these become. Of one: any ufunc.
_OPERATORS = {"add", "sub", "mul", "truediv"}
_UFUNCS = {np.add, np.subtract, np.multiply, np.divide}
# Python floats up to this size are no infinity in float32.
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class _Recipe(NamedTuple):
    primitive: Primitive
    attrs: Attrs
    type: TensorType
    constant: TensorType | None  # of a float among the operands


class Repeats:
    """The operators of one trace that are recorded at once."""

    def __init__(self, builder: GraphBuilder) -> None:
        self._builder = builder
        self._known: dict[tuple[Any, ...], _Recipe] = {}

    def key(self, what: Any, operands: Sequence[Any], symbol: Any, trace: Any) -> Any:
        """What an operator or ufunc depends on, or None where that may be more than types."""
        if len(operands) > 1 and what not in _OPERATORS and what not in _UFUNCS:
            return None
        parts: list[Any] = [what]
        for x in operands:
            if type(x) is symbol and x.origin == "numpy" and x.recorder is trace:
                parts.append(x._type)
            elif type(x) is float:
                parts.append(float)
            else:
                return None
        return None if trace.closed else tuple(parts)

    def again(self, key: tuple[Any, ...], operands: Sequence[Any]) -> tuple[int, Any] | None:
        """The node, and its type, of an operator like one before; None if there was none."""
        recipe = self._known.get(key)
        if recipe is None:
            return None
        line, kind = user_line(), recipe.constant
        inputs = []
        for x in operands:
            if type(x) is not float:
                inputs.append(x.node)
                continue
            assert kind is not None
            if kind.dtype is float32 and abs(x) > _FLOAT32_MAX:
                return None
            literal = source.Literal(np.array(x, kind.dtype.dtype))
            node = Node(source.const, (), (("value", literal),), kind, line)
            inputs.append(self._builder.append(node))
        node = Node(recipe.primitive, tuple(inputs), recipe.attrs, recipe.type, line)
        return self._builder.append(node), recipe.type

    def learn(self, key: tuple[Any, ...], operands: Sequence[Any], first: int) -> None:
        """Note what an operator became: the nodes from the `first` on."""
        nodes = self._builder.nodes
        constants = iter(range(first, len(nodes) - 1))
        inputs = []
        kind: TensorType | None = None
        for x in operands:
            number = next(constants, None) if type(x) is float else x.node
            if number is None:
                return
            if type(x) is float:
                kind = _constant_type(nodes[number], x)
                if kind is None:
                    return
            inputs.append(number)
        last = nodes[-1]
        if len(nodes) == first or next(constants, None) is not None:
            return
        if last.inputs == tuple(inputs) and isinstance(last.type, TensorType):
            self._known[key] = _Recipe(last.primitive, last.attrs, last.type, kind)


def _constant_type(node: Node, value: float) -> TensorType | None:
    """The type of a constant that is this float, rounded to it; None if the node isn't that."""
    if node.primitive is not source.const or node.tensor.dtype not in (float32, float64):
        return None
    literal = node.attr("value").array
    with np.errstate(all="ignore"):
        same = literal.tobytes() == np.array(value, literal.dtype).tobytes()
    return node.tensor if same and literal.shape == () else None


__all__ = ["Repeats"]
