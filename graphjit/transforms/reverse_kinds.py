"""Reverse mode of the kinds of primitives that compute arrays element by element."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from graphjit.core.types import Shape, TensorType, int64
from graphjit.ir.graph import GraphBuilder, Node
from graphjit.ops import assemble, control, index, library, reduce, view
from graphjit.ops.primitive import (
    Assemble,
    Contract,
    Gather,
    Pointwise,
    Reduce,
    Scan,
    Scatter,
    View,
)

from .node_maker import NodeMaker, Ref, is_empty
from .reverse_pass import Reverse
from .slopes import Slopes


def pointwise(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Of a primitive with slopes in its record."""
    d = way.d
    operands = [way.ref(i) for i in node.inputs]
    if node.primitive.slopes is None:
        raise way.refusal(node)
    slopes = node.primitive.slopes(d, way.ref(number), *operands, **dict(node.attrs))
    if slopes is None:
        raise way.refusal(node)
    for operand, slope in zip(node.inputs, slopes, strict=True):
        if slope is NotImplemented and way.active[operand]:
            raise way.refusal(node, " by one of its arguments")
        if slope is not None and way.active[operand]:
            changed = d.apply(slope, g, back=True)
            way.give(operand, d.gathered(changed, way.type(operand).shape))


def _view(way: Reverse, number: int, node: Node, g: Ref) -> None:
    (operand,) = node.inputs
    type, d = way.type(operand), way.d
    match node.primitive:
        case view.reshape:
            found = d.reshaped(g, type.shape)
        case view.transpose:
            perm = node.attr("perm")
            back = tuple(perm.index(axis) for axis in range(len(perm)))
            found = d.make(view.transpose, g, perm=back)
        case view.broadcast:
            found = d.gathered(g, type.shape)
        case view.slice_:
            found = d.make(
                assemble.place,
                d.zeros(type),
                g,
                starts=node.attr("starts"),
                steps=node.attr("steps"),
            )
        case _:
            raise way.refusal(node)
    way.give(operand, found)


def _reduce(way: Reverse, number: int, node: Node, g: Ref) -> None:
    (operand,) = node.inputs
    x, type, d = way.ref(operand), way.type(operand), way.d
    axes = node.attr("axes")
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(type.shape))
    wide = d.reshaped(g, kept)
    match node.primitive:
        case reduce.sum_:
            found = d.spread(wide, type.shape)
        case reduce.max_ | reduce.min_:
            equal = d.eq(x, d.reshaped(way.ref(number), kept))
            ones = d.cast(equal, dtype=type.dtype)
            count = d.reshaped(d.make(reduce.sum_, ones, axes=axes), kept)
            found = d.where(equal, d.div(wide, count), 0.0)
        case reduce.prod:
            found = d.mul(wide, _other_factors(d, x, axes))
        case _:
            raise way.refusal(node)
    way.give(operand, found)


def _other_factors(d: Slopes, x: Ref, axes: Shape) -> Ref:
    """For each element the product of the others along the axes."""
    shape = d.type(x).shape
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    order = (*rest, *axes)
    turned = d.make(view.transpose, x, perm=order)
    rows = (*(shape[axis] for axis in rest), prod(shape[axis] for axis in axes))
    flat, last = d.reshaped(turned, rows), len(rest)
    after = d.flipped(_products_before(d, d.flipped(flat, last), last), last)
    others = d.mul(_products_before(d, flat, last), after)
    back = tuple(order.index(axis) for axis in range(len(shape)))
    return d.make(view.transpose, d.reshaped(others, d.type(turned).shape), perm=back)


def _products_before(d: Slopes, x: Ref, axis: int) -> Ref:
    """For each place along an axis the product of what is before it."""
    shape = d.type(x).shape
    if is_empty(shape):
        return x
    products = d.make(reduce.cumprod, x, axis=axis)
    sizes = tuple(n - 1 if k == axis else n for k, n in enumerate(shape))
    starts, steps = (0,) * len(shape), (1,) * len(shape)
    one = d.number(1.0, x)
    first = d.spread(one, tuple(1 if k == axis else n for k, n in enumerate(shape)))
    return d.make(assemble.concat, first, d.part(products, starts, sizes, steps), axis=axis)


def _scan(way: Reverse, number: int, node: Node, g: Ref) -> None:
    (operand,) = node.inputs
    x, y, d, axis = way.ref(operand), way.ref(number), way.d, node.attr("axis")
    if node.primitive is reduce.cumsum:
        way.give(operand, _sums_from_here(d, g, axis))
        return
    if node.primitive is reduce.cumprod:
        before = _products_before(d, x, axis)
        way.give(operand, d.mul(before, _sums_of_products(d, g, x, axis)))
        return
    type = way.type(operand)  # each maximum goes to the element that it came from
    places = d.coordinates(type.shape, axis)
    none = Ref(way.builder.const(np.zeros((), np.int64)))
    came = d.make(reduce.cummax, d.where(d.eq(x, y), places, none), axis=axis)
    numbers = _numbers(d, type.shape, {axis: came})
    way.give(operand, _scattered(d, d.zeros(type), g, numbers))


def _sums_from_here(d: Slopes, g: Ref, axis: int) -> Ref:
    """Of each place along an axis the sum from there on."""
    flipped = d.flipped(g, axis)
    return d.flipped(d.make(reduce.cumsum, flipped, axis=axis), axis)


def _sums_of_products(d: Slopes, g: Ref, x: Ref, axis: int) -> Ref:
    """r[i] = g[i] + x[i + 1] r[i + 1] along an axis, by a loop."""
    shape = d.type(x).shape
    perm = (axis, *(k for k in range(len(shape)) if k != axis))
    if is_empty(shape):
        return g
    rows, given = (d.make(view.transpose, each, perm=perm) for each in (x, g))
    builder = GraphBuilder("sums_of_products")
    each = TensorType(d.type(rows).shape[1:], d.type(x).dtype)
    types = [TensorType((), int64), each, each, each]
    _, carried, factor, term = (Ref(builder.param(t)) for t in types)
    inside = NodeMaker(builder)
    total = inside.add(term, carried)
    region = builder.finish([inside.mul(factor, total).node, total.node])
    loop = d.builder.add(
        control.scan,
        (d.zeros(each).node, rows.node, given.node),
        d.line,
        (region,),
        start=0,
        count=shape[axis],
        carried=1,
        sliced=2,
        reverse=True,
    )
    found = d.item(loop, 1)
    back = tuple(perm.index(k) for k in range(len(shape)))
    return d.make(view.transpose, found, perm=back)


def _contract(way: Reverse, number: int, node: Node, g: Ref) -> None:
    a, b = node.inputs
    d = way.d
    if way.active[a]:
        found = d.product(g, d.transposed(way.ref(b)))
        way.give(a, d.gathered(found, way.type(a).shape))
    if way.active[b]:
        found = d.product(d.transposed(way.ref(a)), g)
        way.give(b, d.gathered(found, way.type(b).shape))


def _assemble(way: Reverse, number: int, node: Node, g: Ref) -> None:
    d = way.d
    if node.primitive is assemble.concat:
        axis, start = node.attr("axis"), 0
        for operand in node.inputs:
            shape = way.type(operand).shape
            if way.active[operand]:
                starts = tuple(start if k == axis else 0 for k in range(len(shape)))
                part = d.part(g, starts, shape, (1,) * len(shape))
                way.give(operand, part)
            start = start + shape[axis]
        return
    base, piece = node.inputs
    starts, steps = node.attr("starts"), node.attr("steps")
    type = way.type(piece)
    if way.active[base]:
        cleared = d.make(assemble.place, g, d.zeros(type), starts=starts, steps=steps)
        way.give(base, cleared)
    if way.active[piece]:
        way.give(piece, d.part(g, starts, type.shape, steps))


def _gather(way: Reverse, number: int, node: Node, g: Ref) -> None:
    d = way.d
    data, *numbers = node.inputs
    refs = [way.ref(i) for i in numbers]
    base = d.zeros(way.type(data))
    axes = node.attr("axes")
    way.give(data, d.make(index.scatter, base, g, *refs, axes=axes, mode="add"))


def _scatter(way: Reverse, number: int, node: Node, g: Ref) -> None:
    base, updates, *numbers = node.inputs
    d, axes, mode = way.d, node.attr("axes"), node.attr("mode")
    refs = [way.ref(i) for i in numbers]
    if mode in ("max", "min"):
        _scatter_extremes(way, number, node, g)
        return
    if mode not in ("update", "add", "sub"):
        raise way.refusal(node, f" in mode {mode}")
    if way.active[base]:
        found = g
        if mode == "update":
            zeros = d.zeros(way.type(updates))
            found = d.make(index.scatter, g, zeros, *refs, axes=axes, mode="update")
        way.give(base, found)
    if not way.active[updates]:
        return
    found = d.make(index.gather, g, *refs, axes=axes)
    if mode == "sub":
        found = d.neg(found)
    if mode == "update":  # of equal indices the last update is what is left
        found = d.where(_is_last(way, refs, axes, updates, base), found, 0.0)
    way.give(updates, found)


def _scatter_extremes(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Whatever is equal to the result shares its cotangent."""
    base, updates, *numbers = node.inputs
    d, axes, dtype = way.d, node.attr("axes"), way.type(node.inputs[0]).dtype
    refs, result = [way.ref(i) for i in numbers], way.ref(number)
    own = d.cast(d.eq(way.ref(base), result), dtype=dtype)
    there = d.make(index.gather, result, *refs, axes=axes)
    others = d.cast(d.eq(way.ref(updates), there), dtype=dtype)
    count = d.make(index.scatter, own, others, *refs, axes=axes, mode="add")
    share = d.div(g, d.where(d.eq(count, 0.0), 1.0, count))
    way.give(base, d.mul(share, own))
    if way.active[updates]:
        way.give(updates, d.mul(d.make(index.gather, share, *refs, axes=axes), others))


def _is_last(way: Reverse, refs: Sequence[Ref], axes: Shape, updates: int, base: int) -> Ref:
    """Whether an update is that which is left of those with equal indices."""
    d = way.d
    shape = d.type(refs[0]).shape
    flat = 1
    for n in shape:
        flat = flat * n
    own = d.coordinates((flat,), 0)
    own = d.reshaped(own, shape)
    extents = tuple(way.type(base).shape[axis] for axis in axes)
    nobody = Ref(way.builder.const(np.full((), -1, np.int64)))
    every = tuple(range(len(axes)))
    table = d.make(
        index.scatter, d.spread(nobody, extents), own, *refs, axes=every, mode="update"
    )
    last = d.eq(d.make(index.gather, table, *refs, axes=every), own)
    rest = len(way.type(updates).shape) - len(shape)
    return d.reshaped(last, (*shape, *(1,) * rest))


def sorted_back(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Of sorted elements: each goes to the place that it came from."""
    d = way.d
    (operand,) = node.inputs
    type, axis = way.type(operand), node.attr("axis")
    order = d.make(library.argsort, way.ref(operand), axis=axis, kind=node.attr("kind"))
    numbers = _numbers(d, type.shape, {axis: order})
    way.give(operand, _scattered(d, d.zeros(type), g, numbers))


def partitioned_back(way: Reverse, number: int, node: Node, g: Ref) -> None:
    """Of elements partly sorted: the k-th least before is the k-th least after."""
    d, (operand,) = way.d, node.inputs
    type = way.type(operand)
    args, kwargs = json.loads(node.attr("arguments"))
    given = dict(zip(("a", "kth", "axis"), args, strict=False)) | kwargs
    axis = given["axis"]["value"] if "axis" in given else -1
    if axis is None:
        raise way.refusal(node, " along no axis")
    axis %= len(type.shape)

    def order(x: Ref) -> list[Ref]:
        places = d.make(library.argsort, x, axis=axis, kind="stable")
        return _numbers(d, type.shape, {axis: places})

    axes = tuple(range(len(type.shape)))
    ranked = d.make(index.gather, g, *order(way.ref(number)), axes=axes)
    way.give(operand, _scattered(d, d.zeros(type), ranked, order(way.ref(operand))))


def _numbers(d: Slopes, shape: Shape, given: dict[int, Ref]) -> list[Ref]:
    """An index for each axis: those that are given, else each element's own."""
    found = []
    for axis in range(len(shape)):
        own = given.get(axis)
        if own is None:
            own = d.coordinates(shape, axis)
        found.append(own)
    return found


def _scattered(d: Slopes, base: Ref, updates: Ref, numbers: Sequence[Ref]) -> Ref:
    axes = tuple(range(len(numbers)))
    return d.make(index.scatter, base, updates, *numbers, axes=axes, mode="add")


RULES: dict[type, Callable[..., None]] = {
    Pointwise: pointwise,
    View: _view,
    Reduce: _reduce,
    Scan: _scan,
    Contract: _contract,
    Assemble: _assemble,
    Gather: _gather,
    Scatter: _scatter,
}

__all__ = ["RULES", "partitioned_back", "pointwise", "sorted_back"]
