"""Random graphs of the patterns that fusion looks for, with extents round the vector widths.

Where `strategies.graphs` draws every op at every small shape, these are longer chains: rows
reduced and combined with their reductions, seen through transposes, reshapes and slices.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphjit.core.types import (
    DType,
    Shape,
    TensorType,
    complex64,
    float16,
    float32,
    float64,
    int32,
    int64,
    uint8,
)
from graphjit.ir.graph import Graph, GraphBuilder
from graphjit.ops import PRIMITIVES as P
from graphjit.ops import source

Array = np.ndarray[Any, Any]
EXTENTS = (1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 64, 65, 100, 255, 257)
DTYPES = (int32, float32, float32, int64, float64, uint8, float16, complex64)
MAX_ELEMENTS = 6000
MAX_NDIM = 5


class _Chain:
    """Adds steps to a graph of one dtype."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.b = GraphBuilder("chain")
        self.dtype: DType = DTYPES[self.random.integers(len(DTYPES))]
        self.nodes: list[int] = []
        real = not self.dtype.is_complex
        self.one = ["neg", "abs"] if real else ["neg", "conj"]
        self.one += ["exp", "tanh", "sqrt"] if self.dtype.kind == "f" else []
        self.two = ["add", "sub", "mul"] + (["maximum", "minimum"] if real else [])
        self.rows = ["sum"] + (["max", "min"] if real else [])

    def chance(self, part: float) -> bool:
        return bool(self.random.random() < part)

    def choose(self, options: Any) -> Any:
        return options[self.random.integers(len(options))]

    def shape_of(self, node: int) -> Shape:
        return self.b.type_of(node).shape

    def param(self, shape: Shape) -> None:
        type, name = TensorType(shape, self.dtype), f"p{len(self.nodes)}"
        self.nodes.append(self.b.add(source.param, type=type, name=name, role="argument"))

    def params(self) -> None:
        base: Shape = (MAX_ELEMENTS + 1,)
        while math.prod(base) > MAX_ELEMENTS:
            base = tuple(self.choose(EXTENTS) for _ in range(self.random.integers(1, 5)))
        self.param(base)
        if self.chance(0.7):
            self.param(tuple(n if self.chance(0.6) else 1 for n in base))
        if self.chance(0.5):
            self.param(base[::-1])

    def combined(self, x: int, y: int) -> int:
        inputs = (x, y) if self.chance(0.5) else (y, x)
        return self.b.add(P[self.choose(self.two)], inputs)

    def unary(self, x: int, shape: Shape) -> int | None:
        return self.b.add(P[self.choose(self.one)], (x,))

    def binary(self, x: int, shape: Shape) -> int | None:
        for y in self.random.permutation(self.nodes).tolist():
            try:
                joint = np.broadcast_shapes(shape, self.shape_of(y))
            except ValueError:
                continue
            if math.prod(joint) <= MAX_ELEMENTS and len(joint) <= MAX_NDIM:
                return self.combined(x, y)
        return None

    def reduced(self, x: int, shape: Shape) -> int | None:
        if not shape:
            return None
        count = int(self.random.integers(1, len(shape) + 1))
        chosen = self.random.choice(len(shape), count, replace=False).tolist()
        result = self.b.add(P[self.choose(self.rows)], (x,), axes=tuple(sorted(chosen)))
        if self.chance(0.75):
            kept = tuple(1 if k in chosen else n for k, n in enumerate(shape))
            result = self.b.add(P["reshape"], (result,), shape=kept)
            self.nodes.append(result)
            return self.combined(x, result)
        return result

    def transposed(self, x: int, shape: Shape) -> int | None:
        perm = tuple(self.random.permutation(len(shape)).tolist())
        return self.b.add(P["transpose"], (x,), perm=perm)

    def reshaped(self, x: int, shape: Shape) -> int | None:
        options: list[Shape] = [(math.prod(shape),)]
        for k, n in enumerate(shape):
            options += [
                (*shape[:k], f, n // f, *shape[k + 1 :]) for f in (2, 4, 8) if n % f == 0
            ]
            if k:
                options.append((*shape[: k - 1], shape[k - 1] * n, *shape[k + 1 :]))
        return self.b.add(
            P["reshape"], (x,), shape=self.choose([s for s in options if len(s) <= MAX_NDIM])
        )

    def sliced(self, x: int, shape: Shape) -> int | None:
        boxes = [self._box(n) for n in shape]
        starts, sizes, steps = zip(*boxes, strict=True) if boxes else ((), (), ())
        return self.b.add(P["slice"], (x,), starts=starts, sizes=sizes, steps=steps)

    def _box(self, extent: int) -> tuple[int, int, int]:
        step = int(self.choose((1, 1, 1, -1, 2, -2)))
        if not extent:
            return 0, 0, 1
        if abs(step) == 1 and self.chance(0.5):
            return (0 if step > 0 else extent - 1), extent, step
        start = int(self.random.integers(extent))
        room = (extent - 1 - start) // step if step > 0 else start // -step
        least = 1 if self.chance(0.95) else 0
        return start, int(self.random.integers(least, room + 2)), step

    def scanned(self, x: int, shape: Shape) -> int | None:
        if not shape:
            return None
        name = "cumsum" if self.dtype.is_complex or self.chance(0.6) else "cummax"
        return self.b.add(P[name], (x,), axis=int(self.random.integers(len(shape))))

    def joined(self, x: int, shape: Shape) -> int | None:
        if not shape or 2 * math.prod(shape) > MAX_ELEMENTS:
            return None
        return self.b.add(P["concat"], (x, x), axis=int(self.random.integers(len(shape))))

    def gathered(self, x: int, shape: Shape) -> int | None:
        axis = int(self.random.integers(len(shape))) if shape else 0
        if not shape or not shape[axis]:
            return None
        chosen = self.random.integers(0, shape[axis], self.random.integers(1, 6))
        return self.b.add(P["gather"], (x, self.b.const(chosen)), axes=(axis,))

    def counted(self, x: int, shape: Shape) -> int | None:
        if not shape:
            return None
        axis = int(self.random.integers(len(shape)))
        places = self.b.add(P["iota"], shape=shape, axis=axis)
        return self.b.add(P["mul"], (x, self.b.add(P["cast"], (places,), dtype=self.dtype)))

    def graph(self) -> Graph:
        self.params()
        steps = [self.unary] * 15 + [self.binary] * 30 + [self.reduced] * 17
        steps += [self.transposed] * 8 + [self.reshaped] * 8 + [self.sliced] * 7
        steps += (
            [self.scanned] * 4 + [self.joined] * 4 + [self.gathered] * 4 + [self.counted] * 3
        )
        for _ in range(self.random.integers(3, 22)):
            x = self.nodes[-1] if self.chance(0.55) else self.choose(self.nodes)
            new = self.choose(steps)(x, self.shape_of(x))
            if new is not None:
                self.nodes.append(new)
        more = [self.choose(self.nodes) for _ in range(self.random.integers(3))]
        return self.b.finish([self.nodes[-1], *more])


def chain(seed: int) -> Graph:
    """The graph of a seed."""
    return _Chain(seed).graph()


def values(graph: Graph, seed: int) -> list[Array]:
    """Small values for the graph's parameters."""
    random = np.random.default_rng(seed)
    found = []
    for position in graph.params:
        shape, dtype = graph.nodes[position].tensor.shape, graph.nodes[position].tensor.dtype
        array: Any = random.integers(0 if dtype.kind == "u" else -9, 10, shape)
        if dtype.is_inexact:
            array = random.standard_normal(shape)
        if dtype.is_complex:
            array = array + 1j * random.standard_normal(shape)
        found.append(np.ascontiguousarray(array, dtype.dtype))
    return found
