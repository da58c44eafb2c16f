"""Algebraic simplification: a table of rules that change no bit of any result.

Rules that change NaN, infinity or -0.0 aren't here: x + 0 -> x (-0.0 + 0.0 is +0.0), x - x ->
0, x * 0 -> 0 of floats, x ** 0.5 -> sqrt x. Powers by 3 and 4 become products, whose error
stays under the bound of pow, 2 ULP.
"""

from __future__ import annotations

import math
from typing import Any

from graphjit.core.frozen import dataclass
from graphjit.core.types import DType
from graphjit.ir.graph import Graph
from graphjit.ops import pointwise as pw
from graphjit.ops import reduce as rd
from graphjit.ops import view

from .pipeline import Pass
from .rewrite import AnyNode, Match, Op, Rule, rewrite, rule

x, y = AnyNode("x"), AnyNode("y")
FLOATS, INTEGERS = "f", "iu"


def _keep_operand(match: Match, x: int, **_: int) -> int:
    return x


def _make_constant(match: Match, number: Any) -> int:
    import numpy as np

    dtype: DType = match.node.tensor.dtype
    return match.rewriter.const(np.array(number, dtype.dtype), match.node.source)


def _may_fail(match: Match, number: int) -> bool:
    """Whether computing a node may end the call, and so must not be left out."""
    nodes, todo, seen = match.rewriter.nodes, [number], set[int]()
    while todo:
        number = todo.pop()
        if number in seen:
            continue
        seen.add(number)
        if nodes[number].primitive is pw.unless:
            return True
        todo += nodes[number].inputs
    return False


def _zero(match: Match, x: int) -> int | None:
    return None if _may_fail(match, x) else _make_constant(match, 0)


ARITHMETIC = (
    rule("x * 1 -> x", x * 1, _keep_operand, FLOATS + INTEGERS),
    rule("x / 1 -> x", x / 1, _keep_operand, FLOATS),
    rule("x - 0 -> x", x - 0, _keep_operand, FLOATS + INTEGERS),
    rule("x + 0 -> x", x + 0, _keep_operand, INTEGERS),
    rule("x + -0.0 -> x", x + -0.0, _keep_operand, FLOATS),
    rule("x * 0 -> 0", x * 0, _zero, INTEGERS),
    rule("--x -> x", Op(pw.neg, (-x,)), _keep_operand, FLOATS + INTEGERS),
    rule("x + -y -> x - y", x + (-y), lambda m, x, y: m.make(pw.sub, x, y), FLOATS + INTEGERS),
    rule("x - -y -> x + y", x - (-y), lambda m, x, y: m.make(pw.add, x, y), FLOATS + INTEGERS),
    rule("x * -1 -> -x", x * -1, lambda m, x: m.make(pw.neg, x), FLOATS),
    rule("x ** 1 -> x", x**1, _keep_operand, FLOATS + INTEGERS),
    rule("x ** 2 -> x * x", x**2, lambda m, x: m.make(pw.mul, x, x), FLOATS + INTEGERS),
    rule(
        "x ** 3 -> x * x * x",
        x**3,
        lambda m, x: m.make(pw.mul, m.make(pw.mul, x, x), x),
        FLOATS + INTEGERS,
    ),
    rule(
        "x ** -1 -> 1 / x", x**-1, lambda m, x: m.make(pw.div, _make_constant(m, 1), x), FLOATS
    ),
)


def _fourth_power(match: Match, x: int) -> int:
    square = match.make(pw.mul, x, x)
    return match.make(pw.mul, square, square)


def _divide_by_power_of_two(match: Match) -> int | None:
    dtype = match.node.tensor.dtype
    number = match.number_of(match.node.inputs[1])
    if dtype.kind != "f" or number is None or number == 0 or not math.isfinite(number):
        return None
    exact = math.frexp(number)[0] in (0.5, -0.5)
    # the reciprocal must be a normal number of the dtype, as must the divisor
    if not exact or not 2.0**-14 <= abs(number) <= 2.0**14 or abs(number) == 1:
        return None
    return match.make(pw.mul, match.node.inputs[0], _make_constant(match, 1 / number))


STRENGTH = (
    rule("x ** 4 -> (x * x) * (x * x)", x**4, _fourth_power, FLOATS + INTEGERS),
    Rule("x / 2^k -> x * 2^-k", (pw.div,), _divide_by_power_of_two),
)


def _idempotent(primitive: Any, name: str) -> Rule:
    return rule(f"{name}(x, x) -> x", Op(primitive, (x, x)), _keep_operand)


LOGIC = (
    rule("~~x -> x", ~(~x), _keep_operand),
    rule("not not x -> x", Op(pw.logical_not, (Op(pw.logical_not, (x,)),)), _keep_operand),
    rule("abs(-x) -> abs(x)", Op(pw.abs_, (-x,)), lambda m, x: m.make(pw.abs_, x), FLOATS),
    rule(
        "abs(abs(x)) -> abs(x)",
        Op(pw.abs_, (Op(pw.abs_, (x,)),)),
        lambda m, x: m.make(pw.abs_, x),
    ),
    _idempotent(pw.minimum, "minimum"),
    _idempotent(pw.maximum, "maximum"),
    _idempotent(pw.bit_and, "and"),
    _idempotent(pw.bit_or, "or"),
)


def _where_constant(match: Match) -> int | None:
    condition = match.number_of(match.node.inputs[0])
    if condition is None:
        return None
    kept, dropped = match.node.inputs[1:] if condition else match.node.inputs[:0:-1]
    return None if _may_fail(match, dropped) else kept


def _lossless(narrow: DType, wide: DType) -> bool:
    """Whether every value of one dtype has an equal value of the other."""
    import numpy as np

    if narrow.is_integer and narrow.bits == 64 and wide.is_inexact:
        return False  # NumPy calls int64 to float64 safe, but 2 ** 53 + 1 has no equal
    if "bfloat16" in (narrow.name, wide.name):
        return wide.name in ("float32", "float64", "complex64", "complex128")
    return bool(np.can_cast(narrow.dtype, wide.dtype, "safe"))


def _cast_of_cast(match: Match) -> int | None:
    inner = match.input(0)
    if inner.primitive is not pw.cast:
        return None
    start = match.rewriter.nodes[inner.inputs[0]].tensor.dtype
    if not _lossless(start, inner.tensor.dtype):
        return None
    target = match.node.tensor.dtype
    if target is start:
        return inner.inputs[0]
    # a float may become bool or int through the wider float
    if start.kind == inner.tensor.dtype.kind or target.kind == inner.tensor.dtype.kind:
        return match.make(pw.cast, inner.inputs[0], dtype=target)
    return None


def _cast_to_itself(match: Match) -> int | None:
    same = match.input(0).tensor.dtype is match.node.tensor.dtype
    return match.node.inputs[0] if same else None


CASTS = (
    Rule("cast(x) -> x", (pw.cast,), _cast_to_itself),
    Rule("cast(cast(x)) -> cast(x)", (pw.cast,), _cast_of_cast),
    Rule("where(constant, x, y) -> x or y", (pw.where,), _where_constant),
)


def _same_shape(match: Match) -> int | None:
    same = match.input(0).type == match.node.type
    return match.node.inputs[0] if same else None


def _reshape_of_reshape(match: Match) -> int | None:
    inner = match.input(0)
    if inner.primitive is not view.reshape:
        return None
    return match.make(view.reshape, inner.inputs[0], shape=match.node.tensor.shape)


def _transpose_to_itself(match: Match) -> int | None:
    perm = match.node.attr("perm")
    return match.node.inputs[0] if perm == tuple(range(len(perm))) else None


def _transpose_of_transpose(match: Match) -> int | None:
    inner = match.input(0)
    if inner.primitive is not view.transpose:
        return None
    first, second = inner.attr("perm"), match.node.attr("perm")
    return match.make(view.transpose, inner.inputs[0], perm=tuple(first[a] for a in second))


def _transpose_of_units(match: Match) -> int | None:
    shape, perm = match.input(0).tensor.shape, match.node.attr("perm")
    longer = [a for a in perm if shape[a] != 1]
    if longer != sorted(longer):
        return None
    return match.make(view.reshape, match.node.inputs[0], shape=match.node.tensor.shape)


def _slice_of_all(match: Match) -> int | None:
    whole = match.node.attr("steps") == (1,) * match.node.tensor.ndim
    return match.node.inputs[0] if whole and match.input(0).type == match.node.type else None


def _slice_of_slice(match: Match) -> int | None:
    inner = match.input(0)
    if inner.primitive is not view.slice_ or match.node.tensor.size == 0:
        return None
    a, b = dict(inner.attrs), dict(match.node.attrs)
    starts = tuple(
        s + p * t for s, p, t in zip(a["starts"], a["steps"], b["starts"], strict=True)
    )
    steps = tuple(p * q for p, q in zip(a["steps"], b["steps"], strict=True))
    return match.make(
        view.slice_, inner.inputs[0], starts=starts, steps=steps, sizes=b["sizes"]
    )


def _broadcast_of_broadcast(match: Match) -> int | None:
    inner = match.input(0)
    if inner.primitive is not view.broadcast:
        return None
    return match.make(view.broadcast, inner.inputs[0], shape=match.node.tensor.shape)


VIEWS = (
    Rule("reshape(x) -> x", (view.reshape, view.broadcast), _same_shape),
    Rule("reshape(reshape(x)) -> reshape(x)", (view.reshape,), _reshape_of_reshape),
    Rule("transpose(x) -> x", (view.transpose,), _transpose_to_itself),
    Rule("transpose(transpose(x)) -> transpose(x)", (view.transpose,), _transpose_of_transpose),
    Rule("transpose(unit axes) -> reshape", (view.transpose,), _transpose_of_units),
    Rule("slice(x) -> x", (view.slice_,), _slice_of_all),
    Rule("slice(slice(x)) -> slice(x)", (view.slice_,), _slice_of_slice),
    Rule("broadcast(broadcast(x)) -> broadcast(x)", (view.broadcast,), _broadcast_of_broadcast),
)


def _reduce_of_one(match: Match) -> int | None:
    """A reduction over axes of extent 1 combines nothing."""
    shape, axes = match.input(0).tensor.shape, match.node.attr("axes")
    rest = tuple(a for a in axes if shape[a] != 1)
    if rest == axes:
        return None
    if rest:
        kept = tuple(n for a, n in enumerate(shape) if n != 1 or a not in axes)
        squeezed = match.make(view.reshape, match.node.inputs[0], shape=kept)
        positions = [a for a in range(len(shape)) if shape[a] != 1 or a not in axes]
        return match.make(
            match.node.primitive, squeezed, axes=tuple(positions.index(a) for a in rest)
        )
    return match.make(view.reshape, match.node.inputs[0], shape=match.node.tensor.shape)


REDUCTIONS = (
    Rule(
        "reduce over one element -> x",
        (rd.prod, rd.max_, rd.min_, rd.any_, rd.all_),
        _reduce_of_one,
    ),
)

RULES = (*ARITHMETIC, *STRENGTH, *LOGIC, *CASTS, *VIEWS, *REDUCTIONS)


@dataclass(frozen=True)
class Simplify(Pass):
    """Apply the table of rules until none matches."""

    name = "simplify"

    def run(self, graph: Graph) -> Graph:
        """The simpler graph."""
        return rewrite(graph, RULES)[0]

    def explain(self, graph: Graph) -> list[tuple[str, int]]:
        """Which rules fire, and at which nodes of this graph."""
        return rewrite(graph, RULES)[1]


__all__ = ["RULES", "Simplify"]
