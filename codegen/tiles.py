"""The schedule of matrix products: tiles for the team, blocks for the caches, registers.

What an element's bits depend on is the length of a block alone: within one, products are added
in order by fused multiply-adds; the blocks' sums are added in order.
"""

from __future__ import annotations

from math import prod

from graphjit.core.dims import Dim, guess
from graphjit.ir import cost_model
from graphjit.ir.program import Index, Kernel, Load, Product, arguments, indices_of

from .loops import Let, Loop, LoopNest, Statement, StoreResult, Tiles, register_bytes

# The longest sum along the inner dim: so much of b's columns and of a's rows stays in the
# first two caches. Longer ones are cut into equal blocks.
BLOCK = 512


def product_of(kernel: Kernel) -> int | None:
    """The number of a kernel's matrix product, if it has one."""
    for number, value in enumerate(kernel.values):
        if isinstance(value, Product):
            return number
    return None


def lower_product(kernel: Kernel, number: int, vector_bytes: int, part: int = 0) -> LoopNest:
    """The loop nest of a kernel with a product. part: the rows of a tile, if they are given."""
    product = kernel.values[number]
    assert isinstance(product, Product)
    inner = len(kernel.dims) - 1
    outer = range(inner)
    a, b = product.a, product.b
    rows, columns = own_dims(kernel, a, b), own_dims(kernel, b, a)
    if not columns and rows:
        a, b, rows, columns = b, a, columns, rows
    column_dim = columns[-1] if columns else inner - 1
    row_dim = rows[-1] if rows else -1
    batch = tuple(d for d in outer if d not in (row_dim, column_dim))
    m = kernel.dims[row_dim] if rows else 1
    n, k = kernel.dims[column_dim], kernel.dims[inner]
    about, wide = guess(m), guess(n)
    lanes = max(1, vector_bytes // product.dtype.size)
    registers = 32 if vector_bytes == 64 else 16
    row_step, vectors = _registers(about, -(-wide // lanes), registers, part)
    column_step = vectors * lanes
    block = BLOCK if isinstance(k, Dim) else -(-k // -(-k // BLOCK))
    index = _index(kernel, b)
    apart = guess(index.strides[inner]) * product.dtype.size
    close = apart <= cost_model.CLOSE_BYTES and n % column_step == 0
    packed = index.strides[column_dim] != 1 or (about > 2 * row_step and not close)
    tile_columns = column_step
    if about > row_step:
        tile_columns *= max(1, min(cost_model.TILE_COLUMNS, wide) // column_step)
    beside = -(-n // tile_columns) * prod(kernel.dims[d] for d in batch)
    products = min(wide, tile_columns) * guess(k)
    tile_rows = part or _tile_rows(m, guess(beside), products, row_step)
    count = -(-m // tile_rows) * beside
    abreast = 1 if packed else cost_model.IN_FLIGHT // (row_step * vectors)
    if not isinstance(k, Dim):
        abreast = min(abreast, k // block)
    direct = _direct(kernel, number, column_dim)
    body = (
        () if direct else _body(kernel, number, row_dim, column_dim, tile_columns, vector_bytes)
    )
    width, statements = body or (lanes, ())
    tiles = Tiles(
        number, a, b, row_dim, column_dim, batch, tile_rows, tile_columns, row_step,
        column_step, block, packed, direct, count, statements, max(1, abreast),
    )  # fmt: skip
    return LoopNest(kernel, width, column_dim, (tiles,))


def _tile_rows(m: int, beside: int, row_products: int, row_step: int) -> int:
    """Rows of a tile: few enough for the cache and so that there are tiles to share out (of
    which so many lie beside each other), but work enough in each.
    """
    about = guess(m)
    most = min(about, cost_model.TILE_ROWS)
    while (
        most > cost_model.LEAST_TILE_ROWS and about // most * beside < cost_model.TILES_WANTED
    ):
        if most // 2 * row_products < cost_model.LEAST_TILE_PRODUCTS:
            break
        most //= 2
    equal = most if isinstance(m, Dim) else -(-m // -(-m // most))
    return -(-equal // row_step) * row_step


def _index(kernel: Kernel, number: int) -> Index:
    value = kernel.values[number]
    assert isinstance(value, Load)
    return value.index


def own_dims(kernel: Kernel, one: int, other: int) -> list[int]:
    """The outer dims that one operand moves along and the other doesn't."""
    mine, others = _index(kernel, one).strides, _index(kernel, other).strides
    return [d for d in range(len(kernel.dims) - 1) if mine[d] and not others[d]]


def _registers(m: int, vectors: int, registers: int, part: int) -> tuple[int, int]:
    """How many rows, and vectors of each, are summed in registers: what takes least time.

    A step of the inner dim costs a multiply-add for each of them, but no less than the time
    until the same sums are at hand again, and loads.
    """
    room = registers - registers // 4
    best, least = (1, 1), float("inf")
    for wide in (1, 2, 4, 8):
        if wide > 1 and wide >= 2 * vectors:
            break
        for high in range(1, min(m, room // wide) + 1):
            if high * wide + wide + 1 > registers:  # b's vectors and one of a beside the sums
                continue
            if part and part % high:
                continue
            full, rest = divmod(m, high)
            down = full * _cycles(high, wide) + (_cycles(rest, wide) if rest else 0)
            cycles = down * -(-vectors // wide)
            if cycles < least:
                best, least = (high, wide), cycles
    return best


def _cycles(high: int, wide: int) -> float:
    return max(high * wide, cost_model.IN_FLIGHT / 2) + 0.25 * (wide + high) + 1


def _direct(kernel: Kernel, number: int, column_dim: int) -> bool:
    """Whether sums can be gathered in the store's buffer: nothing else is done with them."""
    if len(kernel.stores) != 1 or kernel.stores[0].arg != number or kernel.stores[0].choices:
        return False
    return kernel.stores[0].index.strides[column_dim] == 1


def _body(
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
    used = used_by_stores(kernel, product)
    widest = max(register_bytes(kernel.values[n].dtype) for n in used | own)
    width = max(1, vector_bytes // widest)
    while width * 2 <= most and width * 2 * widest <= 2 * vector_bytes:
        width *= 2
    width = min(width, most, 64)
    while most % width:  # a border between tiles is one between vectors
        width //= 2
    row = [Let(n) for n in sorted(used) if column_dim not in dims[n]]
    lane = [Let(n) for n in sorted(used) if column_dim in dims[n]]
    stores = [StoreResult(n) for n in range(len(kernel.stores))]
    columns = Loop(column_dim, kernel.dims[column_dim], width, (*lane, *stores), within=True)
    if row_dim < 0:
        return width, (*row, columns)
    return width, (Loop(row_dim, kernel.dims[row_dim], 1, (*row, columns), within=True),)


def used_by_stores(kernel: Kernel, product: int) -> set[int]:
    """The values that the stores need, down to the product."""
    todo = [s.arg for s in kernel.stores] + [c.arg for s in kernel.stores for c in s.choices]
    found: set[int] = set()
    while todo:
        number = todo.pop()
        if number not in found:
            found.add(number)
            if number != product:
                todo += arguments(kernel.values[number])
    return found
