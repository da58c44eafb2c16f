"""The schedule of matrix products: tiles for the team, blocks for the caches, registers.

The bits of an element depend on the length of a block alone. Within a block, products are added
in order by fused multiply-adds; the sums of blocks are added in order.
"""

from __future__ import annotations

from math import prod

from graphjit.core.dims import Dim
from graphjit.core.extents import guess
from graphjit.core.frozen import dataclass
from graphjit.ir import cost_model
from graphjit.ir.program import (
    Index,
    Kernel,
    Load,
    Product,
    arguments,
    indices_of,
    values_for_stores,
)

from .loops import Let, Loop, LoopNest, Statement, StoreResult, Tiles, register_bytes

# The longest sum along the inner dim. So much of b and of a stays in the first two
# caches. Longer sums are cut into equal blocks.
BLOCK = 512


def product_of(kernel: Kernel) -> int | None:
    """The number of a kernel's matrix product; None if it has none."""
    for number, value in enumerate(kernel.values):
        if isinstance(value, Product):
            return number
    return None


@dataclass(frozen=True, slots=True)
class ProductAxes:
    """The roles of a matrix product's operands and dims.

    a, b: the loads of the operands; a has the rows
    row_dim: -1 where there are no rows
    batch: the other outer dims
    """

    a: int
    b: int
    row_dim: int
    column_dim: int
    batch: tuple[int, ...]


def product_axes(kernel: Kernel, number: int) -> ProductAxes:
    """The roles of the operands and dims of a kernel's product."""
    product = kernel.values[number]
    assert isinstance(product, Product)
    a, b = product.a, product.b
    rows, columns = own_dims(kernel, a, b), own_dims(kernel, b, a)
    if not columns and rows:
        a, b, rows, columns = b, a, columns, rows
    outer = len(kernel.dims) - 1
    column_dim = columns[-1] if columns else outer - 1
    row_dim = rows[-1] if rows else -1
    batch = tuple(d for d in range(outer) if d not in (row_dim, column_dim))
    return ProductAxes(a, b, row_dim, column_dim, batch)


def own_dims(kernel: Kernel, one: int, other: int) -> list[int]:
    """The outer dims along which one operand moves and the other doesn't."""
    mine, others = _index(kernel, one).strides, _index(kernel, other).strides
    return [d for d in range(len(kernel.dims) - 1) if mine[d] and not others[d]]


def is_symmetric(kernel: Kernel, axes: ProductAxes) -> bool:
    """Whether a product is its own transpose, to the bit: x.T @ x."""
    a, b = kernel.values[axes.a], kernel.values[axes.b]
    if not isinstance(a, Load) or not isinstance(b, Load) or axes.row_dim < 0:
        return False
    if kernel.dims[axes.row_dim] != kernel.dims[axes.column_dim] or a.buffer != b.buffer:
        return False
    turned = list(a.index.strides)
    turned[axes.column_dim], turned[axes.row_dim] = turned[axes.row_dim], 0
    plain = a.index.strides[axes.column_dim] == 0
    return plain and Index(a.index.offset, tuple(turned)) == b.index


def lower_product(
    kernel: Kernel, number: int, vector_bytes: int, block_rows: int = 0
) -> LoopNest:
    """The loop nest of a kernel with a product. block_rows: the rows of a tile, if given."""
    product = kernel.values[number]
    assert isinstance(product, Product)
    inner = len(kernel.dims) - 1
    axes = product_axes(kernel, number)
    a, b, row_dim, column_dim, batch = axes.a, axes.b, axes.row_dim, axes.column_dim, axes.batch
    m = kernel.dims[row_dim] if row_dim >= 0 else 1
    n, k = kernel.dims[column_dim], kernel.dims[inner]
    about, wide = _about(m), _about(n)
    lanes = max(1, vector_bytes // product.dtype.size)
    registers = 32 if vector_bytes == 64 else 16
    side = 0 if block_rows else _symmetric_side(kernel, axes, about, lanes)
    row_step, vectors = _choose_registers(
        about, -(-wide // lanes), registers, block_rows or side, side // lanes
    )
    column_step = vectors * lanes
    block = BLOCK if isinstance(k, Dim) else -(-k // -(-k // BLOCK))
    index = _index(kernel, b)
    apart = guess(index.strides[inner]) * product.dtype.size
    close = apart <= cost_model.CLOSE_BYTES and n % column_step == 0
    packed = index.strides[column_dim] != 1 or (about > 2 * row_step and not close)
    by_rows = 0
    if not (packed or block_rows) and wide > column_step:
        by_rows = _columns_by_rows(m, _about(k) * wide, product.dtype.size, column_step)
    batches = prod(kernel.dims[d] for d in batch)
    if side:
        tile_rows = tile_columns = side
    elif by_rows:
        tile_rows, tile_columns = m, column_step
    else:
        tile_columns = column_step
        if about > row_step:
            tile_columns *= max(1, min(cost_model.TILE_COLUMNS, wide) // column_step)
        beside = _about(-(-n // tile_columns) * batches)
        products = min(wide, tile_columns) * _about(k)
        tile_rows = block_rows or _choose_tile_rows(m, beside, products, row_step)
    count = -(-m // tile_rows) * -(-n // tile_columns) * batches
    abreast = 1 if packed or by_rows else cost_model.IN_FLIGHT // (row_step * vectors)
    if not isinstance(k, Dim):
        abreast = min(abreast, k // block)
    direct = _sums_in_place(kernel, number, column_dim)
    body = (
        ()
        if direct
        else _tile_body(kernel, number, row_dim, column_dim, tile_columns, vector_bytes)
    )
    width, statements = body or (lanes, ())
    tiles = Tiles(
        number, a, b, row_dim, column_dim, batch, tile_rows, tile_columns, row_step,
        column_step, block, packed, direct, count, statements, max(1, abreast),
        wide=by_rows, lanes=lanes, symmetric=side > 0,
    )  # fmt: skip
    return LoopNest(kernel, width, column_dim, (tiles,))


def _symmetric_side(kernel: Kernel, axes: ProductAxes, rows: int, lanes: int) -> int:
    """The side of a symmetric product's tiles; 0 for others, and for small ones."""
    if rows < cost_model.SYMMETRIC_LEAST or not is_symmetric(kernel, axes):
        return 0
    small, large = cost_model.SYMMETRIC_SIDES
    return small if rows <= 2 * small and small >= 6 * lanes else large


def _columns_by_rows(m: int, elements: int, size: int, step: int) -> int:
    """Of how many columns rows of b are best read after one another; 0 if they aren't.

    They are where a single row is multiplied by a matrix, or few by one that is large.

    elements: those of b; size: their bytes; step: of what the columns are a multiple
    """
    if isinstance(m, Dim) or m > cost_model.FEW_ROWS:
        return 0
    if m > 1 and elements * size < cost_model.FEW_ROWS_BYTES:
        return 0
    return cost_model.ROW_SUM_BYTES // (size * m) // step * step


def _choose_tile_rows(m: int, beside: int, row_products: int, row_step: int) -> int:
    """The rows of a tile: few enough for the cache and for enough tiles, with enough work in
    each.

    beside: the tiles beside one another
    row_products: the multiply-adds of one row of a tile
    """
    about = _about(m)
    most = min(about, cost_model.TILE_ROWS)
    while (
        most > cost_model.LEAST_TILE_ROWS and about // most * beside < cost_model.TILES_WANTED
    ):
        if most // 2 * row_products < cost_model.LEAST_TILE_PRODUCTS:
            break
        most //= 2
    equal = most if isinstance(m, Dim) else -(-m // -(-m // most))
    return -(-equal // row_step) * row_step


def _about(extent: int) -> int:
    """About how many elements an extent counts. A guess of a difference can be below 1."""
    return max(1, guess(extent))


def _index(kernel: Kernel, number: int) -> Index:
    value = kernel.values[number]
    assert isinstance(value, Load)
    return value.index


def _choose_registers(
    m: int, vectors: int, registers: int, block_rows: int, block_vectors: int
) -> tuple[int, int]:
    """The rows, and the vectors of each, that are summed in registers: the fastest choice.

    block_rows, block_vectors: of what they are divisors; 0 for any

    A step of the inner dim takes a multiply-add for each of them, but no less than the latency
    of one, and loads.
    """
    room = registers - registers // 4
    best, least = (1, 1), float("inf")
    for wide in (1, 2, 4, 8):
        if wide > 1 and (wide >= 2 * vectors or block_vectors % wide):
            break
        for high in range(1, min(m, room // wide) + 1):
            if high * wide + wide + 1 > registers:  # b's vectors and one of a beside the sums
                continue
            if block_rows and block_rows % high:
                continue
            full, rest = divmod(m, high)
            down = full * _step_cycles(high, wide) + (_step_cycles(rest, wide) if rest else 0)
            cycles = down * -(-vectors // wide)
            if cycles < least:
                best, least = (high, wide), cycles
    return best


def _step_cycles(high: int, wide: int) -> float:
    """Rough cycles of one step of the inner dim."""
    return max(high * wide, cost_model.IN_FLIGHT / 2) + 0.25 * (wide + high) + 1


def _sums_in_place(kernel: Kernel, number: int, column_dim: int) -> bool:
    """Whether sums are accumulated in the store's buffer: nothing else is done with them."""
    if len(kernel.stores) != 1 or kernel.stores[0].arg != number or kernel.stores[0].choices:
        return False
    return kernel.stores[0].index.strides[column_dim] == 1


def _tile_body(
    kernel: Kernel, product: int, row_dim: int, column_dim: int, most: int, vector_bytes: int
) -> tuple[int, tuple[Statement, ...]]:
    """Vector lanes, and the loops over a tile that compute and store what follows from it."""
    own = {product}
    dims: list[set[int]] = []
    value = kernel.values[product]
    assert isinstance(value, Product)
    for number, item in enumerate(kernel.values):
        if number == product:
            found = {row_dim, column_dim}
        else:
            found = {d for i in indices_of(item) for d, s in enumerate(i.strides) if s}
            for argument in arguments(item):
                found |= dims[argument]
        dims.append(found)
    used = values_for_stores(kernel, kernel.stores, product)
    widest = max(register_bytes(kernel.values[n].dtype) for n in used | own)
    width = max(1, vector_bytes // widest)
    while width * 2 <= most and width * 2 * widest <= 2 * vector_bytes:
        width *= 2
    width = min(width, most, 64)
    while most % width:  # no vector crosses a border between tiles
        width //= 2
    row = [Let(n) for n in sorted(used) if column_dim not in dims[n]]
    lane = [Let(n) for n in sorted(used) if column_dim in dims[n]]
    stores = [StoreResult(n) for n in range(len(kernel.stores))]
    columns = Loop(column_dim, kernel.dims[column_dim], width, (*lane, *stores), within=True)
    if row_dim < 0:
        return width, (*row, columns)
    return width, (Loop(row_dim, kernel.dims[row_dim], 1, (*row, columns), within=True),)
