"""Matrix products tile by tile, as LLVM IR: blocks packed, sums in registers.

For each tile and each block of the inner dim, b's block is packed so that what is read in turn
is contiguous, unless it is so already. Then sums of row_step x column_step elements are made in
registers and added to the tile. What follows from the product is computed while the tile is in
the cache. Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
ACM TOMS 34(3), 2008. Unlike there, a is read where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from graphjit.codegen.access import transpose_function
from graphjit.codegen.kernel_context import KernelContext
from graphjit.codegen.loops import Tiles
from graphjit.codegen.micro_kernel import (
    MicroKernelStrides,
    MicroKernelWriter,
    first_lanes_mask,
)
from graphjit.codegen.product_code import ProductCode
from graphjit.codegen.row_sums import RowSumsWriter
from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.ir import cost_model
from graphjit.ir.program import Index


@dataclass(frozen=True, slots=True)
class _TileBounds:
    """The bounds [start, stop) of a tile's rows and columns."""

    rows: tuple[str, str]
    columns: tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Block:
    """One block of the inner dim, for one tile.

    width: the tile's columns
    a_from: the offset of the block in a
    source: the address of the block of b
    length: how many products each sum has
    fresh: whether it is the tile's first block, whose sums are stored rather than added
    abreast: how many blocks are summed side by side
    """

    tile: _TileBounds
    width: str
    a_from: str
    source: str
    length: str
    fresh: str
    abreast: int


class TileEmitter(ProductCode):
    """Writes the loops of a product's tiles into a kernel's function.

    longest: the greatest length of a block
    block: the length of blocks as an operand
    cut: how many columns the last vector has where it isn't full, 0 where it is; None where n
        is symbolic
    """

    def __init__(self, emitter: KernelContext, tiles: Tiles) -> None:
        super().__init__(emitter, emitter.b, tiles.value, tiles.row_dim, tiles.column_dim)
        self.tiles = tiles
        self.longest = tiles.block if isinstance(self.k, Dim) else min(tiles.block, self.k)
        self.block = str(tiles.block)
        a, self.a_index = self.operand(tiles.a)
        b, self.b_index = self.operand(tiles.b)
        self.a, self.b_buffer = f"%b{a}", f"%b{b}"
        rest = self.n % tiles.column_step
        self.cut = None if isinstance(rest, Dim) else rest
        self.writer = MicroKernelWriter(
            emitter.module,
            self.element,
            self.size,
            tiles.column_step,
            self._strides(),
            tiles.direct,
        )
        self.micro_kernels: dict[tuple[int, int, bool, int], str] = {}
        self.lanes = min(tiles.column_step, 64 // self.size)
        self.by_rows: str | None = None  # the function that sums rows after one another
        self.sums = ""  # where it has its sums

    def _a_stride(self, dim: int) -> int:
        return self.a_index.strides[dim] if dim >= 0 else 0

    def emit(self) -> None:
        """Write the loops over tiles and blocks, and what follows from the product."""
        tiles, b = self.tiles, self.b
        if not tiles.direct:
            self.emitter.tile = self._allocate(tiles.rows * max(tiles.columns, tiles.wide))
        if tiles.packed:
            self.pack = self._allocate(self.longest * tiles.columns)
        if isinstance(self.k, Dim):
            self.block = self._equal_blocks(self.k)
        count = self.emitter.size(tiles.count)
        start, stop = ("%begin", "%end") if tiles.chunked else ("0", count)
        if tiles.wide:
            self._emit_wide_tiles(start, stop)
            return
        with self.emitter.counting(start, stop, 1) as number:
            rest = number
            column, rest = self._split_digit(rest, -(-self.n // tiles.columns))
            row, rest = self._split_digit(rest, -(-self.m // tiles.rows))
            for dim in reversed(tiles.batch):
                self.emitter.counters[dim], rest = self._split_digit(
                    rest, self.emitter.kernel.dims[dim]
                )
            columns = self._bounds(column, tiles.columns, self.n)
            tile = _TileBounds(self._bounds(row, tiles.rows, self.m), columns)
            if tiles.symmetric:
                with self._where(b.emit(f"icmp ule i64 {row}, {column}")):
                    self._emit_tile(tile)
            else:
                self._emit_tile(tile)

    def _emit_wide_tiles(self, first: str, stop: str) -> None:
        """Write the loop over the tiles of a product of few rows: those beside one another are
        computed as one.
        """
        tiles, b = self.tiles, self.b
        self.sums = self._allocate(tiles.rows * tiles.wide)
        across = self.emitter.size(-(-self.n // tiles.columns))
        steps: list[str] = []
        with self.emitter.counting(first, stop, lambda: steps[0]) as number:
            column = b.emit(f"urem i64 {number}, {across}")
            rest = b.emit(f"udiv i64 {number}, {across}")
            for dim in reversed(tiles.batch):
                self.emitter.counters[dim], rest = self._split_digit(
                    rest, self.emitter.kernel.dims[dim]
                )
            some = b.emit(f"sub nuw nsw i64 {across}, {column}")
            some = self.smaller(some, b.emit(f"sub nuw nsw i64 {stop}, {number}"))
            some = self.smaller(some, str(tiles.wide // tiles.columns))
            start = b.emit(f"mul nuw nsw i64 {column}, {tiles.columns}")
            width = b.emit(f"mul nuw nsw i64 {some}, {tiles.columns}")
            end = b.emit(f"add nuw nsw i64 {start}, {width}")
            columns = start, self.smaller(end, self.emitter.size(self.n))
            self._emit_tile(_TileBounds(("0", str(self.m)), columns))
            steps.append(some)

    def _emit_tile(self, tile: _TileBounds) -> None:
        """Write the blocks of one tile, and what follows from its sums."""
        tiles = self.tiles
        start = "0"
        if tiles.abreast > 1:
            start = self._add_blocks_abreast(tile)
        with self.emitter.counting(start, self.emitter.size(self.k), self.block) as k:
            self._add_block(tile, k)
        if tiles.symmetric:
            self._mirror_in_place(tile)
        if tiles.body:
            self._emit_body(tile)
        if tiles.body and tiles.symmetric:
            with self._where(self.b.emit(f"icmp ult i64 {tile.rows[0]}, {tile.columns[0]}")):
                usual, self.emitter.tile = self.emitter.tile, self._turned(tile)
                self._emit_body(_TileBounds(tile.columns, tile.rows))
                self.emitter.tile = usual

    def _emit_body(self, tile: _TileBounds) -> None:
        """Write what follows from the product, for one tile."""
        self.emitter.bounds[self.tiles.column_dim] = tile.columns
        self.emitter.bounds[self.tiles.row_dim] = tile.rows
        self.emitter.run(self.tiles.body)

    @contextmanager
    def _where(self, condition: str) -> Iterator[None]:
        """Code written inside runs only if a condition holds."""
        with self.emitter.counting("0", self.b.emit(f"zext i1 {condition} to i64"), 1):
            yield

    def _mirror_in_place(self, tile: _TileBounds) -> None:
        """Copy what is above the diagonal of a symmetric product to its place below: in the
        result if sums are there, else within a tile on the diagonal.
        """
        tiles, b = self.tiles, self.b
        if tiles.direct:
            store = self.emitter.kernel.stores[0]
            terms = self._batch_terms(store.index)
            base = self._at(f"%b{store.buffer}", self._sum(*terms))
            stride: int = store.index.strides[tiles.row_dim]
            rows, columns = tile.rows, tile.columns
        else:
            base, stride = self.emitter.tile, tiles.columns
            size = self._sum((tile.columns[1], 1), (tile.columns[0], -1))
            above = b.emit(f"icmp ult i64 {tile.rows[0]}, {tile.columns[0]}")
            rows = columns = "0", b.emit(f"select i1 {above}, i64 0, i64 {size}")
        with self.emitter.counting(*columns, 1) as column:
            stop = self.smaller(rows[1], column)
            with self.emitter.counting(rows[0], stop, 1) as row:
                self._copy(
                    base, ((row, stride), (column, 1)), base, ((column, stride), (row, 1))
                )

    def _turned(self, tile: _TileBounds) -> str:
        """A copy of the tile, transposed."""
        columns = self.tiles.columns
        copy = self._allocate(columns * columns)
        height = self._sum((tile.rows[1], 1), (tile.rows[0], -1))
        width = self._sum((tile.columns[1], 1), (tile.columns[0], -1))
        with (
            self.emitter.counting("0", width, 1) as column,
            self.emitter.counting("0", height, 1) as row,
        ):
            from_place, place = ((row, columns), (column, 1)), ((column, columns), (row, 1))
            self._copy(self.emitter.tile, from_place, copy, place)
        return copy

    def _copy(
        self,
        source: str,
        from_place: Sequence[tuple[str, int]],
        target: str,
        place: Sequence[tuple[str, int]],
    ) -> None:
        """Copy one element."""
        at, to = self._at(source, self._sum(*from_place)), self._at(target, self._sum(*place))
        number = self.b.emit(f"load {self.element}, ptr {at}, align {self.size}")
        self.emitter.line(f"store {self.element} {number}, ptr {to}, align {self.size}")

    def _allocate(self, elements: int) -> str:
        """An array on the stack."""
        slot = self.b.fresh()
        self.emitter.entry.append(f"  {slot} = alloca [{elements} x {self.element}], align 64")
        return slot

    def _equal_blocks(self, k: Dim) -> str:
        """The length of blocks where k is symbolic, as in `lower_product`."""
        b, most = self.b, self.tiles.block
        more = b.emit(f"add nuw nsw i64 {self.emitter.size(k)}, {most - 1}")
        count = b.emit(f"udiv i64 {more}, {most}")
        more = b.emit(f"add nuw nsw i64 {self.emitter.size(k)}, {count}")
        return b.emit(f"udiv i64 {b.emit(f'sub nuw nsw i64 {more}, 1')}, {count}")

    def _add_blocks_abreast(self, tile: _TileBounds) -> str:
        """Add the sums of whole blocks, several side by side. Gives where the rest starts."""
        some, b, k = self.tiles.abreast, self.b, self.emitter.size(self.k)
        if isinstance(self.k, Dim):
            span = b.emit(f"mul nuw nsw i64 {self.block}, {some}")
            groups = b.emit(f"udiv i64 {k}, {span}")
            stop = b.emit(f"mul nuw nsw i64 {groups}, {span}")
        else:
            span = str(some * self.tiles.block)
            stop = str(self.k // int(span) * int(span))
        with self.emitter.counting("0", stop, span) as k:
            self._add_block(tile, k, some)
        return stop

    def _split_digit(self, number: str, base: int) -> tuple[str, str]:
        """A number's last digit to a base, and the number without it."""
        if base == 1:
            return "0", number
        b, text = self.b, self.emitter.size(base)
        return b.emit(f"urem i64 {number}, {text}"), b.emit(f"udiv i64 {number}, {text}")

    def _bounds(self, number: str, step: int, extent: int) -> tuple[str, str]:
        """The bounds of a tile along one dim."""
        if not isinstance(extent, Dim) and step >= extent:
            return "0", str(extent)
        b = self.b
        start = b.emit(f"mul nuw nsw i64 {number}, {step}")
        end = b.emit(f"add nuw nsw i64 {start}, {step}")
        return start, self.smaller(end, self.emitter.size(extent))

    def _sum(self, *terms: tuple[str, int]) -> str:
        """The sum of numbers times strides."""
        b = self.b
        constant = sum(int(t) * s for t, s in terms if not t.startswith("%"))
        size = self.emitter.size
        total = size(constant)
        for term, stride in terms:
            if not term.startswith("%") or not stride:
                continue
            part = term if stride == 1 else b.emit(f"mul nsw i64 {term}, {size(stride)}")
            total = part if total == "0" else b.emit(f"add nsw i64 {total}, {part}")
        return total

    def _at(self, base: str, offset: str) -> str:
        if offset == "0":
            return base
        return self.b.emit(f"getelementptr inbounds {self.element}, ptr {base}, i64 {offset}")

    def _batch_terms(self, index: Index) -> list[tuple[str, int]]:
        """The terms of an offset that don't depend on row, column and inner dim."""
        counters = self.emitter.counters
        return [("1", index.offset)] + [
            (counters[d], index.strides[d]) for d in self.tiles.batch
        ]

    def _add_block(self, tile: _TileBounds, k: str, abreast: int = 1) -> None:
        """Add one block's sums to the tile, or those of some whole blocks side by side.

        k: where the block starts
        """
        tiles, b = self.tiles, self.b
        length = self.emitter.size(self.k)
        if abreast > 1:
            length = self.block
        elif isinstance(self.k, Dim) or tiles.block < self.k:
            end = b.emit(f"add nuw nsw i64 {k}, {self.block}")
            stop = self.smaller(end, self.emitter.size(self.k))
            length = b.emit(f"sub nuw nsw i64 {stop}, {k}")
        fresh = b.emit(f"icmp eq i64 {k}, 0")
        index = self.b_index
        b_from = self._sum(
            *self._batch_terms(index),
            (tile.columns[0], index.strides[tiles.column_dim]),
            (k, index.strides[self.inner]),
        )
        source = self._at(self.b_buffer, b_from)
        width = self._sum((tile.columns[1], 1), (tile.columns[0], -1))
        if tiles.packed:
            self._pack_block(source, width, length)
        a_from = self._sum(
            *self._batch_terms(self.a_index),
            (k, self._a_stride(self.inner)),
        )
        block = _Block(tile, width, a_from, source, length, fresh, abreast)
        if tiles.wide:
            self._add_by_rows(block)
            return
        if isinstance(self.m, Dim):
            self._add_symbolic_rows(block)
            return
        whole = self.m // tiles.row_step * tiles.row_step
        start, end = tile.rows
        stop = end if whole == self.m else self.smaller(end, self.emitter.size(whole))
        with self.emitter.counting(start, stop, tiles.row_step) as row:
            self._add_rows(block, row, tiles.row_step)
        rest = self.m - whole
        if rest:
            first = self._larger(start, whole)
            with self.emitter.counting(first, end, tiles.row_step) as row:
                self._add_rows(block, row, rest)

    def _add_by_rows(self, block: _Block) -> None:
        """Add a block's sums to the only rows, b's rows after one another."""
        tiles = self.tiles
        if self.by_rows is None:
            step = cost_model.ROW_REGISTERS * tiles.lanes if tiles.rows == 1 else tiles.lanes
            step = min(tiles.column_step, step)
            writer = RowSumsWriter(
                self.emitter.module,
                self.element,
                self.size,
                tiles.lanes,
                step,
                tiles.rows,
                tiles.wide,
                self.writer.strides,
                tiles.direct,
            )
            name = f"{self.emitter.kernel.name}.by_rows"
            self.by_rows = self.emitter.module.function(name, writer.text("{name}"))
        target = self.emitter.tile
        if tiles.direct:
            store = self.emitter.kernel.stores[0]
            first = (block.tile.columns[0], 1)
            offset = self._sum(*self._batch_terms(store.index), first)
            target = self._at(f"%b{store.buffer}", offset)
        strides = [self.emitter.size(x) for x in self.writer.strides.symbolic().values()]
        self.emitter.line(
            f"call void @{self.by_rows}(ptr {self._at(self.a, block.a_from)}, "
            f"ptr {block.source}, ptr {self.sums}, ptr {target}, i64 {block.length}, "
            f"i1 {block.fresh}, i64 {block.width}{''.join(f', i64 {x}' for x in strides)})"
        )

    def _add_symbolic_rows(self, block: _Block) -> None:
        """Add a block's sums to a symbolic number of rows.

        What `row_step` leaves over is done four rows at a time, then two, then one.
        """
        b, step = self.b, self.tiles.row_step
        at, end = block.tile.rows
        for high in (step, *(n for n in (4, 2, 1) if n < step)):
            some = b.emit(f"sub nuw nsw i64 {end}, {at}")
            rest = b.emit(f"urem i64 {some}, {high}")
            stop = b.emit(f"sub nuw nsw i64 {end}, {rest}")
            with self.emitter.counting(at, stop, high) as row:
                self._add_rows(block, row, high)
            at = stop

    def _larger(self, one: str, other: int) -> str:
        b = self.b
        more = b.emit(f"icmp ugt i64 {one}, {other}")
        return b.emit(f"select i1 {more}, i64 {one}, i64 {other}")

    def _add_rows(self, block: _Block, row: str, high: int) -> None:
        """Add a block's sums to `high` rows from `row` on, for all columns of the tile."""
        tiles, b = self.tiles, self.b
        first_row, first_column = block.tile.rows[0], block.tile.columns[0]
        row_from = self._sum((block.a_from, 1), (row, self._a_stride(tiles.row_dim)))
        a_at = self._at(self.a, row_from)
        step = tiles.column_step

        def call_micro_kernel(column: str, columns: int, left: str = "") -> None:
            if tiles.direct:
                store = self.emitter.kernel.stores[0]
                index = store.index
                row_stride = index.strides[tiles.row_dim] if tiles.row_dim >= 0 else 0
                offset = self._sum(
                    *self._batch_terms(index), (first_column, 1), (column, 1), (row, row_stride)
                )
                target = self._at(f"%b{store.buffer}", offset)
            else:
                own = self._sum((row, tiles.columns), (first_row, -tiles.columns), (column, 1))
                target = self._at(self.emitter.tile, own)
            if tiles.packed:
                offset = self._sum((column, self.longest))
                b_at = self._at(self.pack, offset)
            else:
                stride = self.b_index.strides[tiles.column_dim]
                b_at = self._at(block.source, self._sum((column, stride)))
            name = self._micro_kernel(high, columns, bool(left), block.abreast)
            strides = [
                self.emitter.size(stride) for stride in self.writer.strides.symbolic().values()
            ]
            more = "".join(f", i64 {number}" for number in [*strides, *[left] * bool(left)])
            self.emitter.line(
                f"call void @{name}(ptr {a_at}, ptr {b_at}, ptr {target}, i64 {block.length}, "
                f"i1 {block.fresh}{more})"
            )

        width, begin = block.width, "0"
        if tiles.symmetric:  # what is left of the diagonal is that above it
            past = b.emit(f"sub nsw i64 {row}, {first_column}")
            right = b.emit(f"call i64 @llvm.smax.i64(i64 {past}, i64 0)")
            begin = self.smaller(b.emit(f"and i64 {right}, {-step}"), width)
            self.emitter.module.declare("i64", "llvm.smax.i64", "i64, i64")
        if self.cut == 0 or (tiles.packed and not tiles.direct):
            with self.emitter.counting(begin, width, step) as column:
                call_micro_kernel(column, step)
            return
        if self.cut is not None and self.n < step:
            call_micro_kernel("0", self.cut)
            return
        full = b.emit(f"and i64 {width}, {-step}")
        with self.emitter.counting(begin, full, step) as column:
            call_micro_kernel(column, step)
        with self.emitter.counting(full, width, step) as column:
            if self.cut is None:
                call_micro_kernel(column, step, b.emit(f"sub nuw nsw i64 {width}, {full}"))
            else:
                call_micro_kernel(column, self.cut)

    # -- the sums

    def _micro_kernel(self, high: int, columns: int, rest: bool, abreast: int) -> str:
        """The function that sums `high` rows of `columns` elements over a block, or over
        several.

        rest: whether it is told how many columns there are
        """
        key = (high, columns, rest, abreast)
        if key not in self.micro_kernels:
            name = f"{self.emitter.kernel.name}.sums{high}x{columns}{'.rest' * rest}"
            name += f".{abreast}abreast" * (abreast > 1)
            text = self.writer.text("{name}", high, columns, rest, abreast)
            self.micro_kernels[key] = self.emitter.module.function(name, text)
        return self.micro_kernels[key]

    def _strides(self) -> MicroKernelStrides:
        """The strides that the micro-kernels move by."""
        tiles = self.tiles
        b_step = tiles.column_step if tiles.packed else self.b_index.strides[self.inner]
        c_row = tiles.wide or tiles.columns
        if tiles.direct:
            index = self.emitter.kernel.stores[0].index
            c_row = index.strides[tiles.row_dim] if tiles.row_dim >= 0 else 0
        a_step, a_row = self._a_stride(self.inner), self._a_stride(tiles.row_dim)
        return MicroKernelStrides(a_step, a_row, b_step, c_row)

    # -- the copy of a block

    def _pack_block(self, source: str, width: str, length: str) -> None:
        """Copy b's block: for each group of column_step columns, row after row. Missing columns
        are 0.
        """
        step, cut = self.tiles.column_step, self.cut
        if cut == 0:
            self._pack_groups("0", width, str(step), source, length)
            return
        full = self.b.emit(f"and i64 {width}, {-step}")
        if cut is None or self.n >= step:
            self._pack_groups("0", full, str(step), source, length)
        left = self.b.emit(f"sub i64 {width}, {full}") if cut is None else str(cut)
        self._pack_groups(full, width, left, source, length)

    def _pack_groups(
        self, start: str, stop: str, columns: str, source: str, length: str
    ) -> None:
        with self.emitter.counting(start, stop, self.tiles.column_step) as column:
            from_column = self._sum((column, self.b_index.strides[self.tiles.column_dim]))
            origin = self._at(source, from_column)
            target = self._at(self.pack, self._sum((column, self.longest)))
            if self.b_index.strides[self.tiles.column_dim] == 1:
                self._pack_rows(origin, target, columns, length)
            else:
                self._pack_columns(origin, target, columns, length)

    def _pack_rows(self, origin: str, target: str, columns: str, length: str) -> None:
        step = self.tiles.column_step
        vector = f"<{step} x {self.element}>"
        b = self.b
        text, mask = first_lanes_mask(step, 8 * self.size, columns, b.fresh())
        if columns != str(step):
            b.lines.extend(text)
        with self.emitter.counting("0", length, 1) as k:
            at = self._at(origin, self._sum((k, self.b_index.strides[self.inner])))
            if columns != str(step):
                name = f"llvm.masked.load.v{step}f{8 * self.size}.p0"
                self.emitter.module.declare(vector, name, f"ptr, <{step} x i1>, {vector}")
                masked = f"ptr align {self.size} {at}, {mask}, {vector} zeroinitializer"
                row = b.emit(f"call {vector} @{name}({masked})")
            else:
                row = b.emit(f"load {vector}, ptr {at}, align {self.size}")
            to = self._at(target, self._sum((k, step)))
            self.emitter.line(f"store {vector} {row}, ptr {to}, align {self.size}")

    def _pack_columns(self, origin: str, target: str, columns: str, length: str) -> None:
        """Copy columns that aren't neighbours.

        Where each column is contiguous, squares are transposed in registers. The rest is copied
        element by element.
        """
        lanes, step = self.lanes, self.tiles.column_step
        strides = self.b_index.strides
        apart = strides[self.tiles.column_dim]
        done = "0"
        if strides[self.inner] == 1:
            done = self.b.emit(f"and i64 {length}, {-lanes}")
            transpose = transpose_function(self.emitter.module, self.element, self.size, lanes)
            with (
                self.emitter.counting("0", str(step), lanes) as first,
                self.emitter.counting("0", done, lanes) as k,
            ):
                at = self._at(origin, self._sum((k, 1), (first, apart)))
                to = self._at(target, self._sum((k, step), (first, 1)))
                left = self._sum((first, -1), (columns, 1))
                row = self.emitter.size(apart)
                square = f"ptr {at}, i64 {row}, i64 {left}, ptr {to}, i64 {step}"
                self.emitter.line(f"call void @{transpose}({square})")
        with self.emitter.counting(done, length, 1) as k:
            at = self._at(origin, self._sum((k, strides[self.inner])))
            to = self._at(target, self._sum((k, step)))
            with self.emitter.counting("0", columns, 1) as column:
                address = self._at(at, self._sum((column, apart)))
                number = self.b.emit(f"load {self.element}, ptr {address}, align {self.size}")
                address = self._at(to, column)
                self.emitter.line(
                    f"store {self.element} {number}, ptr {address}, align {self.size}"
                )
            with self.emitter.counting(columns, str(step), 1) as column:
                address = self._at(to, column)
                self.emitter.line(f"store {self.element} 0.0, ptr {address}, align {self.size}")
