"""Matrix products tile by tile, as LLVM IR: blocks packed, sums in registers.

For each tile and each block of the inner dim, b's block is packed so that what is read in turn
is contiguous, unless it is so already. Then sums of row_step x column_step elements are made in
registers and added to the tile. What follows from the product is computed while the tile is in
the cache. Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
ACM TOMS 34(3), 2008. Unlike there, a is read where it is.
"""

from __future__ import annotations

from graphjit.codegen.access import transpose_function
from graphjit.codegen.kernel_context import KernelContext
from graphjit.codegen.loops import Tiles
from graphjit.codegen.product_code import ProductCode
from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
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
        self.micro_kernels: dict[tuple[int, int, bool, int], str] = {}
        self.lanes = min(tiles.column_step, 64 // self.size)

    def _a_stride(self, dim: int) -> int:
        return self.a_index.strides[dim] if dim >= 0 else 0

    def emit(self) -> None:
        """Write the loops over tiles and blocks, and what follows from the product."""
        tiles = self.tiles
        if not tiles.direct:
            self.emitter.tile = self._allocate(tiles.rows * tiles.columns)
        if tiles.packed:
            self.pack = self._allocate(self.longest * tiles.columns)
        if isinstance(self.k, Dim):
            self.block = self._equal_blocks(self.k)
        count = self.emitter.size(tiles.count)
        start, stop = ("%begin", "%end") if tiles.chunked else ("0", count)
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
            start = "0"
            if tiles.abreast > 1:
                start = self._add_blocks_abreast(tile)
            with self.emitter.counting(start, self.emitter.size(self.k), self.block) as k:
                self._add_block(tile, k)
            if tiles.body:
                self.emitter.bounds[tiles.column_dim] = tile.columns
                self.emitter.bounds[tiles.row_dim] = tile.rows
                self.emitter.run(tiles.body)

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
            strides = [self.emitter.size(stride) for stride in self._open_strides().values()]
            more = "".join(f", i64 {number}" for number in [*strides, *[left] * bool(left)])
            self.emitter.line(
                f"call void @{name}(ptr {a_at}, ptr {b_at}, ptr {target}, i64 {block.length}, "
                f"i1 {block.fresh}{more})"
            )

        width = block.width
        if self.cut == 0 or (tiles.packed and not tiles.direct):
            with self.emitter.counting("0", width, step) as column:
                call_micro_kernel(column, step)
            return
        if self.cut is not None and self.n < step:
            call_micro_kernel("0", self.cut)
            return
        full = b.emit(f"and i64 {width}, {-step}")
        with self.emitter.counting("0", full, step) as column:
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
            text = self._micro_kernel_text("{name}", high, columns, rest, abreast)
            self.micro_kernels[key] = self.emitter.module.function(name, text)
        return self.micro_kernels[key]

    def _strides(self) -> dict[str, int]:
        """The strides of a micro-kernel: along the inner dim in a and b, along rows in a and
        the result.
        """
        tiles = self.tiles
        b_step = tiles.column_step if tiles.packed else self.b_index.strides[self.inner]
        c_row = tiles.columns
        if tiles.direct:
            index = self.emitter.kernel.stores[0].index
            c_row = index.strides[tiles.row_dim] if tiles.row_dim >= 0 else 0
        a_step, a_row = self._a_stride(self.inner), self._a_stride(tiles.row_dim)
        return {"a.step": a_step, "a.next": a_row, "b.step": b_step, "c.next": c_row}

    def _open_strides(self) -> dict[str, int]:
        """Those of the strides that are symbolic."""
        strides = self._strides()
        return {name: s for name, s in strides.items() if isinstance(s, Dim)}

    def _micro_kernel_text(
        self, name: str, high: int, columns: int, rest: bool, abreast: int
    ) -> str:
        """The text of a micro-kernel."""
        tiles, rows = self.tiles, range(high)
        wide = tiles.column_step
        vector = f"<{wide} x {self.element}>"
        suffix = f"v{wide}f{8 * self.size}"
        module = self.emitter.module
        module.declare(vector, f"llvm.fma.{suffix}", f"{vector}, {vector}, {vector}")
        opened = list(self._open_strides())
        steps = {
            name: f"%{name}" if name in opened else str(stride)
            for name, stride in self._strides().items()
        }
        row_offsets = {"a": ["0"], "c": ["0"]}  # of the rows
        begin = []
        for operand, found in row_offsets.items():
            next_row = f"{operand}.next"
            for r in range(1, high):
                if next_row in opened:
                    begin.append(f"  %{operand}{r}.place = mul nsw i64 {steps[next_row]}, {r}")
                    found.append(f"%{operand}{r}.place")
                else:
                    found.append(str(r * int(steps[next_row])))
        align = f"align {self.size}"
        from_b = from_c = f"load {vector}, ptr {{}}, {align}"
        to_c = f"store {vector} {{}}, ptr {{}}, {align}"
        if columns < wide or rest:
            opened += ["left"] * rest
            count = "%left" if rest else str(columns)
            text, mask = _first_lanes_mask(wide, 8 * self.size, count, "%some")
            begin += text
            name_of_load, name_of_store = (
                f"llvm.masked.{access}.{suffix}.p0" for access in ("load", "store")
            )
            lanes = f"<{wide} x i1>"
            module.declare(vector, name_of_load, f"ptr, {lanes}, {vector}")
            module.declare("void", name_of_store, f"{vector}, ptr, {lanes}")
            from_b = (
                f"call {vector} @{name_of_load}(ptr {align} {{}}, {mask}, "
                f"{vector} zeroinitializer)"
            )
            if tiles.direct:  # the columns after these belong to other tiles or rows
                from_c = from_b
                to_c = f"call void @{name_of_store}({vector} {{}}, ptr {align} {{}}, {mask})"
        lines = [
            f"define internal void @{name}(ptr noalias readonly %a, ptr noalias readonly %b, "
            f"ptr noalias %c, i64 %length, i1 %fresh{''.join(f', i64 %{n}' for n in opened)}) "
            "noinline #kernel {",
            "entry:",
            *begin,
            "  br label %head",
            "head:",
            "  %k = phi i64 [ 0, %entry ], [ %k.next, %head ]",
        ]
        sums = [f"{r}" if part == 0 else f"{r}.{part}" for part in range(abreast) for r in rows]
        lines += [
            f"  %s{n} = phi {vector} [ zeroinitializer, %entry ], [ %t{n}, %head ]"
            for n in sums
        ]
        for part in range(abreast):
            k, tail = "%k", ""
            if part:
                k, tail = f"%k.{part}", f".{part}"
                lines += [
                    f"  %from{tail} = mul nuw nsw i64 %length, {part}",
                    f"  {k} = add nuw nsw i64 %k, %from{tail}",
                ]
            lines += [
                f"  %b.place{tail} = mul nsw i64 {k}, {steps['b.step']}",
                f"  %b.at{tail} = getelementptr inbounds {self.element}, ptr %b, "
                f"i64 %b.place{tail}",
                f"  %row{tail} = {from_b.format(f'%b.at{tail}')}",
                f"  %a.place{tail} = mul nsw i64 {k}, {steps['a.step']}",
                f"  %a.at{tail} = getelementptr inbounds {self.element}, ptr %a, "
                f"i64 %a.place{tail}",
            ]
            for r in rows:
                n = f"{r}{tail}"
                lines += [
                    f"  %a{n}.at = getelementptr inbounds {self.element}, ptr %a.at{tail}, "
                    f"i64 {row_offsets['a'][r]}",
                    f"  %a{n}.value = load {self.element}, ptr %a{n}.at, {align}",
                    f"  %a{n}.one = insertelement {vector} poison, {self.element} %a{n}.value, "
                    "i64 0",
                    f"  %a{n}.all = shufflevector {vector} %a{n}.one, {vector} poison, "
                    f"<{wide} x i32> zeroinitializer",
                    f"  %t{n} = call {vector} @llvm.fma.{suffix}({vector} %a{n}.all, "
                    f"{vector} %row{tail}, {vector} %s{n})",
                ]
        lines += [
            "  %k.next = add nuw nsw i64 %k, 1",
            "  %more = icmp ult i64 %k.next, %length",
            "  br i1 %more, label %head, label %done, !llvm.loop !1",
            "done:",
            "  br i1 %fresh, label %first, label %again",
        ]
        for label, mark in (("first", "f"), ("again", "g")):
            lines.append(f"{label}:")
            for r in rows:
                address = f"%c{r}.{mark}"
                lines.append(
                    f"  {address} = getelementptr inbounds {self.element}, ptr %c, "
                    f"i64 {row_offsets['c'][r]}"
                )
                terms = [f"%t{r}", *(f"%t{r}.{part}" for part in range(1, abreast))]
                if label == "again":
                    lines.append(f"  %old{r} = {from_c.format(address)}")
                    terms.insert(0, f"%old{r}")
                total = terms[0]
                for number, term in enumerate(terms[1:]):
                    lines.append(f"  %u{r}.{number}.{mark} = fadd {vector} {total}, {term}")
                    total = f"%u{r}.{number}.{mark}"
                lines.append("  " + to_c.format(total, address))
            lines.append("  ret void")
        lines.append("}")
        return "\n".join(lines)

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
        text, mask = _first_lanes_mask(step, 8 * self.size, columns, b.fresh())
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
                self.emitter.counting("0", done, lanes) as k,
                self.emitter.counting("0", str(step), lanes) as first,
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


def _first_lanes_mask(wide: int, bits: int, count: str, name: str) -> tuple[list[str], str]:
    """A mask of the first `count` lanes of elements of so many bits.

    count: a number, or a value no greater than `wide`. Gives the lines that compute it, and the
        mask with its type.
    """
    kind = f"<{wide} x i1>"
    if not count.startswith("%"):
        listed = ", ".join(f"i1 {'true' if i < int(count) else 'false'}" for i in range(wide))
        return [], f"{kind} <{listed}>"
    vector = f"<{wide} x i{bits}>"
    numbers = ", ".join(f"i{bits} {i}" for i in range(wide))
    narrow = f"trunc i64 {count} to i{bits}" if bits < 64 else f"add i64 {count}, 0"
    return [
        f"  {name}.count = {narrow}",
        f"  {name}.one = insertelement {vector} poison, i{bits} {name}.count, i64 0",
        f"  {name}.all = shufflevector {vector} {name}.one, {vector} poison, "
        f"<{wide} x i32> zeroinitializer",
        f"  {name} = icmp slt {vector} <{numbers}>, {name}.all",
    ], f"{kind} {name}"
