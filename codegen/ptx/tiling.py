"""The schedule of matrix products on a GPU: tiles of a block of threads, and of one thread.

The bits of an element are the CPU's: sums of at most `BLOCK` products, each by fused
multiply-adds in order, then added in order.
"""

from __future__ import annotations

from math import prod

from graphjit.codegen.tiles import product_axes
from graphjit.core.extents import guess
from graphjit.core.frozen import dataclass
from graphjit.core.types import float32
from graphjit.ir.program import Kernel, Product

# Steps of the inner dim that are in shared memory at a time.
DEPTH = 16
# Rows and columns of a block's tile, and those of a thread's: 256 threads, or 64.
_TILES = ((64, 4), (32, 4), (16, 2))
# Blocks below which smaller tiles are taken, to keep more of the GPU busy.
_BLOCKS_WANTED = 256


@dataclass(frozen=True, slots=True)
class Tiling:
    """Compute product `value` of loads a and b by tiles of side x side elements.

    own: the rows and columns of a thread, side / own threads apart
    row_dim: -1 where there are no rows
    batch: the other outer dims
    count: the number of tiles
    tensor_cores: the type that operands are rounded to if tensor cores make the sums
        (tensor_cores.py)
    """

    value: int
    a: int
    b: int
    row_dim: int
    column_dim: int
    batch: tuple[int, ...]
    side: int
    own: int
    count: int
    tensor_cores: str | None = None

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return (self.side // self.own) ** 2


def tiling_of(kernel: Kernel, number: int, tensor_cores: str | None = None) -> Tiling:
    """The tiling of a kernel's matrix product. tensor_cores: for products of float32."""
    product = kernel.values[number]
    assert isinstance(product, Product)
    axes = product_axes(kernel, number)
    row_dim, column_dim, batch = axes.row_dim, axes.column_dim, axes.batch
    m = kernel.dims[row_dim] if row_dim >= 0 else 1
    n = kernel.dims[column_dim] if column_dim >= 0 else 1
    beside = prod(kernel.dims[d] for d in batch)

    def count(side: int) -> int:
        return (m + side - 1) // side * ((n + side - 1) // side) * beside

    side, own = _TILES[-1]
    for wide, each in _TILES:
        if guess(count(wide)) >= _BLOCKS_WANTED:
            side, own = wide, each
            break
    variant = tensor_cores if product.dtype is float32 else None
    return Tiling(
        number, axes.a, axes.b, row_dim, column_dim, batch, side, own, count(side), variant
    )


__all__ = ["DEPTH", "Tiling", "tiling_of"]
