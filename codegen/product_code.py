"""What the emitters of matrix products for CPU and GPU share: extents, operands, minima."""

from __future__ import annotations

from graphjit.ir.program import Index, Load, Product

from .builder import Builder
from .kernel_context import KernelContext
from .values import ir_type


class ProductCode:
    """A product whose code is written into a kernel's function.

    element: LLVM's type of an element
    size: an element's bytes
    m, n, k: the rows, the columns and the length of the sums
    inner: the dim that is summed over
    """

    def __init__(
        self, emitter: KernelContext, b: Builder, number: int, row_dim: int, column_dim: int
    ) -> None:
        self.emitter: KernelContext = emitter
        self.b = b
        kernel = emitter.kernel
        product = kernel.values[number]
        assert isinstance(product, Product)
        self.dtype = product.dtype
        self.element = ir_type(product.dtype)
        self.size = product.dtype.size
        self.inner = len(kernel.dims) - 1
        self.k = kernel.dims[self.inner]
        self.m = kernel.dims[row_dim] if row_dim >= 0 else 1
        self.n = kernel.dims[column_dim] if column_dim >= 0 else 1

    def operand(self, number: int) -> tuple[int, Index]:
        """An operand's buffer, and the index of its elements."""
        value = self.emitter.kernel.values[number]
        assert isinstance(value, Load)
        return value.buffer, value.index

    def smaller(self, one: str, other: str) -> str:
        """The smaller of two sizes."""
        less = self.b.emit(f"icmp ult i64 {one}, {other}")
        return self.b.emit(f"select i1 {less}, i64 {one}, i64 {other}")


__all__ = ["ProductCode"]
