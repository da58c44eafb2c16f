"""Matrix products tile by tile through shared memory, as LLVM IR.

A block of threads has a tile of the result. Strip after strip of the inner dim, it copies both
operands to shared memory; from there every thread reads what its own elements need. Sums are in
registers. At the end the tile goes through shared memory, so that neighbouring threads compute
what follows from it for neighbouring elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from graphjit.codegen.loops import Let, StoreResult
from graphjit.codegen.product_code import ProductCode
from graphjit.codegen.tiles import BLOCK
from graphjit.codegen.values import Value
from graphjit.core.dims import Dim
from graphjit.core.extents import exact_quotient
from graphjit.ir.program import Index, values_for_stores

from .tiling import DEPTH, Tiling
from .wide import VECTOR_BYTES, lies_in_vectors, load_several

if TYPE_CHECKING:
    from .device import DeviceBuilder
    from .emit import ThreadEmitter

SHARED = "ptr addrspace(3)"


class ProductEmitter(ProductCode):
    """Writes the loops of a product's tiles into a kernel's function.

    pad: elements between rows in shared memory. They shift rows to other banks and keep 16-byte
        vectors aligned.
    """

    pad = 4

    def __init__(self, emitter: ThreadEmitter, tiling: Tiling) -> None:
        b = emitter.device
        super().__init__(emitter, b, tiling.value, tiling.row_dim, tiling.column_dim)
        self.emitter: ThreadEmitter = emitter
        self.b: DeviceBuilder = b
        self.tiling = tiling
        self.pitch = tiling.side + self.pad
        self.elements = max(2 * DEPTH * self.pitch, tiling.side * self.pitch)
        self.room = f"@{emitter.kernel.name}.room"

    def emit(self) -> None:
        """Write the loop over tiles."""
        b, tiling, emitter = self.b, self.tiling, self.emitter
        emitter.module.functions.append(
            f"{self.room} = internal addrspace(3) global [{self.elements} x {self.element}] "
            "undef, align 16"
        )
        self.thread = b.thread("tid.x")
        self._locate()
        self.sums = self._allocate_sums()
        self.totals = self._allocate_sums() if self._has_blocks() else {}
        first, stride = b.thread("ctaid.x"), b.thread("nctaid.x")
        with emitter.counting(first, emitter.size(tiling.count), stride) as number:
            side = tiling.side
            across_tiles, down_tiles = (self.n + side - 1) // side, (self.m + side - 1) // side
            batch = [emitter.kernel.dims[d] for d in tiling.batch]
            *positions, row, column = emitter.digits(number, [*batch, down_tiles, across_tiles])
            emitter.counters.update(zip(tiling.batch, positions, strict=True))
            self.row = b.emit(f"mul nuw nsw i64 {row}, {side}")
            self.column = b.emit(f"mul nuw nsw i64 {column}, {side}")
            self._compute_sums()
            self._finish_tile()

    def _locate(self) -> None:
        """Compute the thread's first row and column in the tile."""
        b, own = self.b, self.tiling.own
        across = self.tiling.side // own
        self.my_column = b.emit(f"urem i64 {self.thread}, {across}")
        self.my_column = b.emit(f"mul i64 {self.my_column}, {own}")
        self.my_row = b.emit(f"udiv i64 {self.thread}, {across}")
        self.my_row = b.emit(f"mul i64 {self.my_row}, {own}")

    def _own_elements(self) -> list[tuple[int, int]]:
        """Rows and columns of a thread's sums, counted from its first."""
        own = range(self.tiling.own)
        return [(i, j) for i in own for j in own]

    def _sum_positions(self) -> Iterator[tuple[str, str, str]]:
        """A thread's sums in the end: the slot of each, its row and its column in the tile."""
        b = self.b
        for (i, j), slot in (self.totals or self.sums).items():
            row = b.emit(f"add i64 {self.my_row}, {i}")
            yield slot, row, b.emit(f"add i64 {self.my_column}, {j}")

    def _has_blocks(self) -> bool:
        """Whether sums along the inner dim are made of several blocks."""
        return isinstance(self.k, Dim) or self.k > BLOCK

    def _block_length(self) -> str:
        """The length of a block, as in `lower_product` for the CPU."""
        b, k = self.b, self.k
        if not isinstance(k, Dim):
            return str(-(-k // -(-k // BLOCK)))
        size = self.emitter.size(k)
        more = b.emit(f"add nuw nsw i64 {size}, {BLOCK - 1}")
        count = b.emit(f"udiv i64 {more}, {BLOCK}")
        none = b.emit(f"icmp eq i64 {count}, 0")
        count = b.emit(f"select i1 {none}, i64 1, i64 {count}")
        more = b.emit(f"add nuw nsw i64 {size}, {b.emit(f'sub i64 {count}, 1')}")
        return b.emit(f"udiv i64 {more}, {count}")

    def _allocate_sums(self) -> dict[tuple[int, int], str]:
        """A slot for each of the thread's sums."""
        found = {}
        for position in self._own_elements():
            found[position] = self.b.fresh()
            self.emitter.entry.append(f"  {found[position]} = alloca {self.element}")
        return found

    def _write(self, slot: str, text: str) -> None:
        self.emitter.line(f"store {self.element} {text}, ptr {slot}")

    def _read(self, slot: str) -> str:
        return self.b.emit(f"load {self.element}, ptr {slot}")

    def _branch(
        self, flag: str, write: Callable[[], None], otherwise: Callable[[], None] | None = None
    ) -> None:
        """Write code for where a condition holds, and for where it doesn't."""
        emitter = self.emitter
        inside, after = emitter.label(), emitter.label()
        outside = emitter.label() if otherwise else after
        emitter.line(f"br i1 {flag}, label %{inside}, label %{outside}")
        self.b.lines.append(f"{inside}:")
        write()
        emitter.line(f"br label %{after}")
        if otherwise:
            self.b.lines.append(f"{outside}:")
            otherwise()
            emitter.line(f"br label %{after}")
        self.b.lines.append(f"{after}:")

    def _compute_sums(self) -> None:
        """Compute the sums of this thread's elements of the tile."""
        b, emitter = self.b, self.emitter
        size, block = emitter.size(self.k), self._block_length()
        for slot in self.totals.values():  # a sum of nothing is 0
            self._write(slot, "0.0")
        with emitter.counting("0", size, block) as start:
            for slot in self.sums.values():
                self._write(slot, "0.0")
            stop = self.smaller(b.emit(f"add nuw nsw i64 {start}, {block}"), size)
            with emitter.counting(start, stop, DEPTH) as k:
                self._add_strip(k, stop)
            if self.totals:
                fresh = b.emit(f"icmp eq i64 {start}, 0")
                for position, slot in self.totals.items():
                    part = self._read(self.sums[position])
                    more = b.emit(f"fadd {self.element} {self._read(slot)}, {part}")
                    kind = self.element
                    self._write(
                        slot, b.emit(f"select i1 {fresh}, {kind} {part}, {kind} {more}")
                    )

    def _add_strip(self, k: str, stop: str) -> None:
        """Add the products of one strip, which all threads copy together."""
        b, tiling = self.b, self.tiling
        b.barrier()  # all threads have read the strip before
        self._copy_strip(tiling.a, tiling.row_dim, self.row, self.m, k, stop, 0)
        self._copy_strip(
            tiling.b, tiling.column_dim, self.column, self.n, k, stop, DEPTH * self.pitch
        )
        b.barrier()
        self._add_strip_products(k, stop)

    def _add_strip_products(self, k: str, stop: str) -> None:
        """Add the products of the strip from step k on, which is in shared memory."""
        b, emitter = self.b, self.emitter
        left = b.emit(f"sub nuw nsw i64 {stop}, {k}")
        whole, part, after = emitter.label(), emitter.label(), emitter.label()
        flag = b.emit(f"icmp uge i64 {left}, {DEPTH}")
        emitter.line(f"br i1 {flag}, label %{whole}, label %{part}")
        b.lines.append(f"{whole}:")
        for position in range(DEPTH):
            self._add_products(str(position * self.pitch))
        emitter.line(f"br label %{after}")
        b.lines.append(f"{part}:")  # adding zeros instead could change -0.0
        with emitter.counting("0", left, 1) as now:
            self._add_products(b.emit(f"mul nuw nsw i64 {now}, {self.pitch}"))
        emitter.line(f"br label %{after}")
        b.lines.append(f"{after}:")

    def _shared_address(self, position: str) -> str:
        """The address of an element of shared memory."""
        return self.b.emit(
            f"getelementptr inbounds {self.element}, {SHARED} {self.room}, i64 {position}"
        )

    def _load_own(self, start: str, position: str, offset: int) -> list[str]:
        """The thread's elements of an operand at one step of the inner dim."""
        b, found = self.b, []
        at = b.emit(f"add i64 {start}, {position}")
        for k in range(self.tiling.own):
            address = self._shared_address(b.emit(f"add i64 {at}, {offset + k}"))
            found.append(b.emit(f"load {self.element}, {SHARED} {address}, align {self.size}"))
        return found

    def _add_products(self, start: str) -> None:
        """Add the products of one step to all of the thread's sums."""
        b = self.b
        left = self._load_own(start, self.my_row, 0)
        right = self._load_own(start, self.my_column, DEPTH * self.pitch)
        for (i, j), slot in self.sums.items():
            x, y = (Value(self.dtype, text, True) for text in (left[i], right[j]))
            self._write(slot, b.fma(x, y, Value(self.dtype, self._read(slot), True)).ir)

    def _copy_strip(
        self, number: int, dim: int, start: str, extent: int, k: str, stop: str, offset: int
    ) -> None:
        """Copy a strip of an operand to shared memory: DEPTH steps of the inner dim for the
        tile's rows.
        """
        b, emitter, side = self.b, self.emitter, self.tiling.side
        buffer, index = self.operand(number)
        strides = index.strides
        along = strides[dim] if dim >= 0 else 0
        inner = strides[self.inner]
        together = not isinstance(inner, Dim) and inner == 1  # neighbours lie along inner dim
        width = self._vector_width(index, self.inner if together else dim, extent)
        size = emitter.size(extent)
        base = self._batch_offset(index, dim)
        length = (DEPTH if together else side) // width
        for part in range(side * DEPTH // self.tiling.threads // width):
            e = b.emit(f"add nuw nsw i64 {self.thread}, {part * self.tiling.threads}")
            low = b.emit(f"urem i64 {e}, {length}")
            low = b.emit(f"mul nuw nsw i64 {low}, {width}")
            high = b.emit(f"udiv i64 {e}, {length}")
            step, own = (low, high) if together else (high, low)
            row = b.emit(f"add nuw nsw i64 {start}, {own}")
            column = b.emit(f"add nuw nsw i64 {k}, {step}")
            inside = b.emit(f"icmp ult i64 {row}, {size}")
            flag = b.emit(f"and i1 {inside}, {b.emit(f'icmp ult i64 {column}, {stop}')}")
            position = b.emit(f"mul nuw nsw i64 {step}, {self.pitch}")
            position = b.emit(f"add nuw nsw i64 {position}, {own}")
            position = b.emit(f"add nuw nsw i64 {position}, {offset}")
            terms = ((row, along), (column, inner))
            apart = self.pitch if together else 1
            move = partial(self._copy_neighbours, buffer, base, terms, position, width, apart)
            self._branch(flag, move, self._write_missing(position, width, apart))

    def _write_missing(
        self, position: str, width: int, apart: int
    ) -> Callable[[], None] | None:
        """Code for elements outside of an operand; None for none."""
        return None

    def _vector_width(self, index: Index, lane: int, extent: int) -> int:
        """How many neighbours along a dim one load can have."""
        width = VECTOR_BYTES // self.size
        ends = [extent]
        if lane == self.inner:
            if isinstance(self.k, Dim):  # blocks may end anywhere
                return 1
            ends = [self.k, int(self._block_length())]
        whole = all(exact_quotient(n, width) is not None for n in ends)
        return width if lane >= 0 and whole and lies_in_vectors(index, lane, width) else 1

    def _batch_offset(self, index: Index, dim: int) -> str:
        """The offset of an operand's first element in the current batch."""
        strides = [0 if d in (dim, self.inner) else n for d, n in enumerate(index.strides)]
        return self.emitter.element_offset(Index(index.offset, tuple(strides)))[0]

    def _copy_neighbours(
        self,
        buffer: int,
        base: str,
        terms: tuple[tuple[str, int], ...],
        position: str,
        width: int,
        apart: int,
    ) -> None:
        """Copy neighbours to shared memory, where they are `apart` elements apart."""
        b, emitter = self.b, self.emitter
        offset = base
        for counter, stride in terms:
            part = b.emit(f"mul nsw i64 {counter}, {emitter.size(stride)}")
            offset = b.emit(f"add nsw i64 {offset}, {part}")
        if width == 1:
            found = [emitter.load_lanes(f"%b{buffer}", self.dtype, offset, 1)]
        else:
            found = load_several(emitter, f"%b{buffer}", self.dtype, [offset] * width)
        for number, element in enumerate(found):
            address = self._shared_address(
                b.emit(f"add nuw nsw i64 {position}, {number * apart}")
            )
            emitter.line(
                f"store {self.element} {element.ir}, {SHARED} {address}, align {self.size}"
            )

    def _finish_tile(self) -> None:
        """Compute and store what follows from the tile."""
        b, emitter, tiling = self.b, self.emitter, self.tiling
        b.barrier()
        for slot, row, column in self._sum_positions():
            position = b.emit(f"mul i64 {row}, {self.pitch}")
            position = b.emit(f"add i64 {position}, {column}")
            text, address = self._read(slot), self._shared_address(position)
            emitter.line(f"store {self.element} {text}, {SHARED} {address}, align {self.size}")
        b.barrier()
        elements = str(tiling.side**2)
        with emitter.counting(self.thread, elements, tiling.threads) as e:
            own_row = b.emit(f"udiv i64 {e}, {tiling.side}")
            own_column = b.emit(f"urem i64 {e}, {tiling.side}")
            row = b.emit(f"add nuw nsw i64 {self.row}, {own_row}")
            column = b.emit(f"add nuw nsw i64 {self.column}, {own_column}")
            inside = b.emit(f"icmp ult i64 {row}, {emitter.size(self.m)}")
            beside = b.emit(f"icmp ult i64 {column}, {emitter.size(self.n)}")
            flag = b.emit(f"and i1 {inside}, {beside}")

            def follow() -> None:
                position = b.emit(f"mul i64 {own_row}, {self.pitch}")
                address = self._shared_address(b.emit(f"add i64 {position}, {own_column}"))
                text = b.emit(f"load {self.element}, {SHARED} {address}, align {self.size}")
                emitter.product = Value(self.dtype, text, True)
                if tiling.row_dim >= 0:
                    emitter.counters[tiling.row_dim] = row
                if tiling.column_dim >= 0:
                    emitter.counters[tiling.column_dim] = column
                kernel = emitter.kernel
                emitter.run(
                    [
                        Let(n)
                        for n in sorted(values_for_stores(kernel, kernel.stores, tiling.value))
                    ]
                )
                emitter.run([StoreResult(n) for n in range(len(kernel.stores))])

            self._branch(flag, follow)


__all__ = ["ProductEmitter"]
