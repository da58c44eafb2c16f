"""Reverse mode of SciPy's routines that the graph calls as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from graphjit.core.types import Shape, TensorType
from graphjit.ir.graph import Node
from graphjit.ops import assemble, library
from graphjit.ops import pointwise as pw

from .matrices import Unconjugated
from .node_maker import Ref
from .reverse_decompositions import of_cholesky
from .reverse_kinds import partitioned_back
from .reverse_pass import Cotangent, Reverse
from .reverse_routines import det, expm, inv, solve, triangular


def _routine(way: Reverse, number: int, node: Node, *cotangents: Cotangent) -> None:
    rule = _WITH_OPTIONS.get(node.attr("function"))
    if _takes_arrays_alone(node):
        rule = _OF_ARRAYS.get(node.attr("function"), rule)
    if rule is None:
        raise way.refusal(node)
    if len({way.type(i).dtype for i in (*node.inputs, number)}) > 1:
        way = cast(Reverse, _Converting(way, number, node))
    rule(way, number, node, *cotangents)


class _Converting:
    """The way back of a routine that converted its operands to the dtype of its result."""

    def __init__(self, way: Reverse, number: int, node: Node) -> None:
        self._way, self._dtype = way, way.type(number).dtype
        self.d, self.active, self.refusal = way.d, way.active, way.refusal

    def type(self, number: int) -> TensorType:
        """The type of an old node, converted."""
        return self._way.type(number).with_dtype(self._dtype)

    def ref(self, number: int) -> Ref:
        """The new node of an old one, converted."""
        found = self._way.ref(number)
        same = self._way.type(number).dtype is self._dtype
        return found if same else self.d.make(pw.cast, found, dtype=self._dtype)

    def give(self, number: int, cotangent: Cotangent) -> None:
        """Add to the cotangent of an old node, converted back."""
        dtype = self._way.type(number).dtype
        if cotangent is None or not self.active[number] or dtype is self._dtype:
            self._way.give(number, cotangent)
            return
        slope = self.d.converted(self._way.ref(number), self._dtype)
        self._way.give(number, self.d.apply(slope, cotangent, back=True))


def _takes_arrays_alone(node: Node) -> bool:
    """Whether a routine is called with its operands, and nothing else."""
    args, kwargs = json.loads(node.attr("arguments"))
    return not kwargs and args == [[k] for k in range(len(node.inputs))]


def _options(node: Node, *names: str) -> dict[str, Any]:
    """The options of a routine by name; names: of the arguments by position."""
    args, kwargs = json.loads(node.attr("arguments"))
    given = dict(zip(names, args, strict=False)) | kwargs
    return {k: part["value"] for k, part in given.items() if isinstance(part, dict)}


def _require_real(way: Reverse, node: Node) -> None:
    if way.type(node.inputs[0]).dtype.is_complex:
        raise way.refusal(node, " of complex numbers")


def _scipy_cholesky(way: Reverse, number: int, node: Node, g: Ref) -> None:
    own = Unconjugated(way)
    d, factor, g = own.d, own.ref(number), own.given(g)
    if not _options(node, "a", "lower").get("lower", False):
        factor, g = d.adjoint(factor), d.adjoint(g)
    own.give(node.inputs[0], of_cholesky(d, factor, g))


def _scipy_triangular(way: Reverse, number: int, node: Node, g: Ref) -> None:
    options = _options(node, "a", "b", "trans", "lower", "unit_diagonal")
    trans = options.get("trans", 0)
    turned = trans in (1, 2, "T", "C")
    conjugated = trans in (2, "C") or not way.type(node.inputs[0]).dtype.is_complex
    if (
        options.get("unit_diagonal")
        or len(way.type(node.inputs[0]).shape) != 2
        or (turned and not conjugated)
    ):
        raise way.refusal(node, " with these options")
    triangular(way, number, node, g, bool(options.get("lower")), turned)


def _scipy_convolution(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """The way back of each of two is a convolution with the other backwards."""
    first, second = node.inputs
    d, shapes = way.d, [way.type(i).shape for i in node.inputs]
    _require_real(way, node)
    options = _options(node, "in1", "in2", "mode")
    mode, name = options.pop("mode", "full"), str(node.attr("function"))
    rest = {k: v for k, v in options.items() if k != "method"}
    sizes = all(isinstance(n, int) for shape in shapes for n in shape)
    fits = sizes and all(n >= m > 0 for n, m in zip(*shapes, strict=True))
    if rest or not fits or way.type(first).dtype != way.type(second).dtype:
        raise way.refusal(node, " with these arguments")
    correlates = "correlate" in name
    whole = tuple(n + m - 1 for n, m in zip(*shapes, strict=True))
    found = d.type(g).shape
    starts = {
        "full": (0,) * len(whole),
        "same": tuple((w - n) // 2 for w, n in zip(whole, found, strict=True)),
        "valid": tuple(m - 1 for m in shapes[1]),
    }[mode]
    if name == "scipy.signal.correlate2d" and mode == "same":
        starts = tuple((w - n + 1) // 2 for w, n in zip(whole, found, strict=True))
    zeros = d.zeros(TensorType(whole, d.type(g).dtype))
    steps = (1,) * len(whole)
    wide = d.make(assemble.place, zeros, g, starts=starts, steps=steps)

    def valid(kernel: Ref, flipped: bool, shape: Shape) -> Ref:
        for axis in range(len(shape) if flipped else 0):
            kernel = d.flipped(kernel, axis)
        return d.make(
            library.routine,
            wide,
            kernel,
            function="scipy.signal.convolve",
            arguments=json.dumps([[[0], [1], {"value": "valid"}], {}]),
            results=((d.type(g).dtype.name, *shape),),
        )

    way.give(first, valid(way.ref(second), not correlates, shapes[0]))
    if way.active[second]:
        back = valid(way.ref(first), True, shapes[1])
        for axis in range(len(shapes[1]) if correlates else 0):
            back = d.flipped(back, axis)
        way.give(second, back)


def _sylvester(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """The way back is an equation of the adjoint matrices."""
    a, b, q = node.inputs
    own = Unconjugated(way)
    d, x = own.d, own.ref(number)
    found = d.make(
        library.routine,
        d.adjoint(own.ref(a)),
        d.adjoint(own.ref(b)),
        own.given(g),
        **dict(node.attrs),
    )
    own.give(q, found)
    if own.active[a]:
        own.give(a, d.neg(d.product(found, d.adjoint(x))))
    if own.active[b]:
        own.give(b, d.neg(d.product(d.adjoint(x), found)))


# Of routines of SciPy that are called with arrays alone.
_OF_ARRAYS: dict[str, Callable[..., None]] = {
    "scipy.linalg.solve_sylvester": _sylvester,
    "scipy.linalg.inv": inv,
    "scipy.linalg.det": det,
    "scipy.linalg.solve": solve,
    "scipy.linalg.expm": expm,
}
# Of others, whatever their options are.
_WITH_OPTIONS: dict[str, Callable[..., None]] = {
    "numpy.partition": partitioned_back,
    "scipy.linalg.cholesky": _scipy_cholesky,
    "scipy.linalg.solve_triangular": _scipy_triangular,
    **{
        f"scipy.signal.{name}": _scipy_convolution
        for name in (
            "convolve", "fftconvolve", "oaconvolve", "correlate", "convolve2d", "correlate2d",
        )
    },
}  # fmt: skip

ROUTINES: dict[Any, Callable[..., None]] = {library.routine: _routine}

__all__ = ["ROUTINES"]
