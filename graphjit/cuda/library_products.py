"""Large matrix products by cuBLAS, where it is installed: which kernels are such products, and
what one is in the terms of BLAS. NOT YET RUN ON A GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from graphjit.codegen.tiles import own_dims
from graphjit.core.extents import evaluate, guess, guesses
from graphjit.core.types import DType
from graphjit.ir.graph import Graph
from graphjit.ir.program import Index, Kernel, Load, Product, merge_outer
from graphjit.ops.primitive import Contract
from graphjit.passes import PTX, program_of

# Multiply-adds from which a product is large: a guess, for it was never timed.
LARGE = 1 << 24
_MOST = 2**31 - 1  # what BLAS counts by


@dataclass(frozen=True)
class Matrix:
    """Where a matrix lies, by columns: address, distance of columns and of the matrices of a
    batch [elements].
    """

    address: int
    columns_apart: int
    batch_apart: int


@dataclass(frozen=True)
class Multiplication:
    """One call of BLAS: c = op(a) op(b), of m x k and k x n, where op may turn; `batch` times.

    tensor_cores: what they may round operands to, None if nothing.
    """

    dtype: DType
    tensor_cores: str | None
    m: int
    n: int
    k: int
    batch: int
    a: Matrix
    a_turned: bool
    b: Matrix
    b_turned: bool
    c: Matrix


@dataclass(frozen=True)
class _Operand:
    """A buffer, with the strides of its own dim, of the other one, and of the batch."""

    buffer: int
    index: Index
    own: int
    inner: int
    batch: int


@dataclass(frozen=True)
class LibraryProduct:
    """A kernel that is a matrix product and nothing else: left, of rows, times right, of
    columns. Extents and strides may be symbolic.
    """

    dtype: DType
    tensor_cores: str | None
    extents: tuple[int, int, int, int]  # rows, columns, inner, batch
    left: _Operand
    right: _Operand
    result: _Operand

    def at(self, addresses: dict[int, int], sizes: dict[str, int]) -> Multiplication | None:
        """The call for these sizes, if it is large, and all lies as BLAS wants it.

        What lies by rows is, by columns, the transposed: BLAS is asked for the transposed
        product, right times left.
        """
        rows, columns, inner, batch = (evaluate(n, sizes) for n in self.extents)
        if rows * columns * inner * batch < LARGE or max(rows, columns, inner, batch) > _MOST:
            return None
        left = self._matrix(self.left, rows, inner, addresses, sizes)
        right = self._matrix(self.right, columns, inner, addresses, sizes)
        result = self._matrix(self.result, rows, columns, addresses, sizes)
        if left is None or right is None or result is None or not result[1]:
            return None
        if batch > 1 and not result[0].batch_apart:
            return None
        return Multiplication(
            self.dtype, self.tensor_cores, columns, rows, inner, batch,
            right[0], right[1], left[0], not left[1], result[0],
        )  # fmt: skip

    def _matrix(
        self,
        operand: _Operand,
        own: int,
        inner: int,
        addresses: dict[int, int],
        sizes: dict[str, int],
    ) -> tuple[Matrix, bool] | None:
        """Where an operand of own x inner elements lies, and whether by rows."""
        apart, along = evaluate(operand.own, sizes), evaluate(operand.inner, sizes)
        place = evaluate(operand.index.offset, sizes) * self.dtype.size
        address, batch = addresses[operand.buffer] + place, evaluate(operand.batch, sizes)
        if batch < 0:
            return None
        for distance, one, extent, by_rows in (
            (apart, along, inner, True), (along, apart, own, False),
        ):  # fmt: skip
            if one == 1 and max(1, extent) <= distance <= _MOST:
                return Matrix(address, distance, batch), by_rows
        return None


def library_product(kernel: Kernel, tensor_cores: str | None) -> LibraryProduct | None:
    """What a kernel asks of cuBLAS, if it is a product of matrices that is stored as it is."""
    kernel = merge_outer(kernel)
    if len(kernel.values) != 3 or len(kernel.stores) != 1 or kernel.stores[0].choices:
        return None
    store, inner = kernel.stores[0], len(kernel.dims) - 1
    product = kernel.values[store.arg]
    if not isinstance(product, Product) or product.dtype.name not in ("float32", "float64"):
        return None
    rows, columns = (
        own_dims(kernel, one, other)
        for one, other in ((product.a, product.b), (product.b, product.a))
    )
    if not rows or not columns or inner > 3:
        return None
    row, column = rows[-1], columns[-1]
    batch = [d for d in range(inner) if d not in (row, column)]

    def operand(buffer: int, index: Index, own: int, other: int) -> _Operand:
        strides = index.strides
        of_batch = strides[batch[0]] if batch else 0
        return _Operand(buffer, index, strides[own], strides[other], of_batch)

    a, b = kernel.values[product.a], kernel.values[product.b]
    if not isinstance(a, Load) or not isinstance(b, Load):
        return None
    if a.dtype is not product.dtype or b.dtype is not product.dtype:
        return None
    extents = kernel.dims[row], kernel.dims[column], kernel.dims[inner]
    return LibraryProduct(
        product.dtype,
        tensor_cores if product.dtype.name == "float32" else None,
        (*extents, prod(kernel.dims[d] for d in batch)),
        operand(a.buffer, a.index, row, inner),
        operand(b.buffer, b.index, column, inner),
        operand(store.buffer, store.index, row, column),
    )


def library_products(graph: Graph, tensor_cores: str | None) -> frozenset[int]:
    """The nodes of a graph that cuBLAS is likely to compute if nothing is fused to them: it is
    asked of a program in which nothing is, and for the sizes that symbolic extents may have.
    """
    large = frozenset(
        number
        for number, node in enumerate(graph.nodes)
        if isinstance(node.primitive.kind, Contract)
        and guess(node.tensor.size * graph.nodes[node.inputs[0]].tensor.shape[-1]) >= LARGE
    )
    if not large:
        return large
    program = program_of(graph, PTX, library_products=large)
    addresses = dict.fromkeys(range(len(program.buffers)), 0)
    sizes = guesses(n for p in graph.params for n in graph.nodes[p].tensor.shape)
    found = set[int]()
    for step in program.steps:
        product = library_product(step, tensor_cores) if isinstance(step, Kernel) else None
        if product is not None and product.at(addresses, sizes) is not None:
            found |= large.intersection(step.nodes)
    return frozenset(found)


__all__ = [
    "LARGE",
    "LibraryProduct",
    "Matrix",
    "Multiplication",
    "library_product",
    "library_products",
]
