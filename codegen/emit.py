"""Loop IR -> LLVM IR. Knows instructions, no schedule.

A kernel becomes `i64 @name(ptr b0, ptr b1, …, ptr record)`: 0, or the number of the check
that failed, with up to three integers about it in the record. Loop counters and accumulators
live in allocas, which LLVM turns into registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from graphjit.core.dims import Dim
from graphjit.core.errors import SourceLine
from graphjit.core.types import DType, bool_, int64
from graphjit.ir import cost_model
from graphjit.ir.program import (
    Compute,
    Constant,
    DynamicIndex,
    GatherLoad,
    Index,
    IndexValue,
    Load,
    Product,
    Reduction,
    ScanValue,
)
from graphjit.ops.index import OUT_OF_RANGE
from graphjit.ops.primitive import Pointwise, Reduce, Scan, Scatter

from .access import CACHE_LINE, Access, parts_of, turning
from .builder import Builder, MathRule, Module, Value, ir_type
from .loops import (
    Accumulate,
    Finish,
    Let,
    Loop,
    LoopNest,
    Reload,
    Spill,
    Start,
    Statement,
    StoreResult,
    Tiles,
    TransposeTile,
    register_bytes,
)
from .math import MATH
from .math.fast import FAST_FLAGS, FAST_MATH
from .register_blocking import walk_in_register_blocks
from .runtime.compiled import Check
from .sizes import SizeEmitter
from .tile_emitter import TileEmitter

# The least vector that is stored past the cache: what AVX2 writes at once.
STREAMED_BYTES = 32

# The most vectors that are loaded before the loop that needs them: they stay in registers.
MAX_AHEAD = 2


@dataclass
class _Row:
    """One of several rows that are reduced side by side: its number along `dim`, and what was
    made for it.
    """

    dim: int
    counter: str
    values: dict[int, Value]
    zeros: set[int]
    accumulators: dict[int, list[str]]


class KernelEmitter(Access):
    """Writes one kernel's function.

    streaming: the buffers whose elements won't be read from the cache again, each with how far
    past the start of a cache line it starts [elements, -1 for anywhere]; they are stored past
    the cache where whole lines are. shared: the buffers that lie where others do. symbols:
    those whose sizes are one more parameter, if there is such. lanes: of one register where
    the nest is written in parts (register_blocking.py), else all. abreast: how many rows are
    reduced side by side.
    """

    loop_end = ", !llvm.loop !1"  # what a loop's last branch says of it (cpu/target.py)

    def __init__(
        self,
        module: Module,
        nest: LoopNest,
        checks: list[Check],
        streaming: Mapping[int, int] = MappingProxyType({}),
        shared: frozenset[int] = frozenset(),
        fast_math: bool = False,
        symbols: Sequence[str] | None = None,
        lanes: int = 0,
        abreast: int = 1,
    ) -> None:
        math, flags = (FAST_MATH, FAST_FLAGS) if fast_math else (MATH, "")
        super().__init__(module, self.builder(module, lanes or nest.width, math, flags))
        self.in_register_blocks = 0 < lanes < nest.width
        if self.in_register_blocks:
            self.b.table, self.b.parts = {}, nest.width // lanes
        self.streaming = streaming
        self.shared = shared
        self.nest = nest
        self.kernel = nest.kernel
        self.checks = checks
        self.b.fail = self._fail
        self.entry: list[str] = []
        self.sized = symbols is not None
        self.symbols = tuple(symbols or ())
        self.size = SizeEmitter(self.symbols, self.entry)
        self.b.size = self.size
        self.values: dict[int, Value] = {}
        self.zeros: set[int] = set()  # the values that are 0 in lanes that are masked off
        self.counters: dict[int, str] = {}
        self.accumulators: dict[int, list[str]] = {}
        self.room: dict[int, str] = {}
        self.current: tuple[str, SourceLine | None] = ("", None)
        self.tile = ""
        self.peeled = -1
        self.bounds: dict[int, tuple[str, str]] = {}  # of the loops within a panel or tile
        self.turned: dict[int, tuple[str, TransposeTile]] = {}
        self.tail: tuple[Loop, Value, dict[int, Value]] | None = None  # what _read_ahead found
        self.ahead: dict[int, Value] = {}
        self.abreast = 1 if self.in_register_blocks else abreast
        self.rows: list[_Row] = []  # those at hand, where there are several
        self._label = 0

    @staticmethod
    def builder(module: Module, lanes: int, math: dict[str, MathRule], flags: str) -> Builder:
        """What writes the arithmetic of so many elements at a time."""
        return Builder(module, lanes, math, flags)

    def emit(self) -> str:
        """The function's text."""
        kernel = self.kernel
        stored = {s.buffer for s in kernel.stores}
        loaded = {v.buffer for v in kernel.values if isinstance(v, (Load, GatherLoad))}
        parameters = []
        for buffer in sorted(stored | loaded):
            facts = "noalias " * (buffer not in self.shared)
            facts += "readonly " * (buffer not in stored)
            parameters.append(f"ptr {facts}%b{buffer}")
        for number, owner, points in self.nest.kept:
            if owner not in self.room:
                self._make_room(owner, points)
            self.room[number] = self.room[owner]
        self.run(self.nest.body)
        bounds = ["i64 %begin", "i64 %end"] if self.chunked else []
        if self.streamed:  # what passed the cache must be seen by whoever is told of the end
            self.line("fence seq_cst")
        sizes = ["ptr noalias readonly %sizes"] if self.sized else []
        listed = ", ".join([*parameters, "ptr %record", *sizes, *bounds])
        long = len(self.entry) + len(self.b.lines) > cost_model.LONG_CODE * self.abreast
        long |= len(self.b.constants) > cost_model.MAX_CONSTANTS
        # LLVM 22's quick instruction selection aborts the process on vectors of float16
        long &= not any(value.dtype.name == "float16" for value in kernel.values)
        how = "noinline optnone #kernel" if long else "#kernel"
        lines = [f"define internal i64 @{kernel.name}({listed}) {how} {{", "entry:"]
        if self.b.table:
            name = f"@{kernel.name}.table"
            lines.append(f"  %table = getelementptr i8, ptr {name}, i64 0")
            lines.insert(0, f"{name} = hidden global {self.b.table_text()}, align 64")
        lines += [*self.entry, *self.b.lines, "  ret i64 0", "}"]
        self.b.fail = None  # which refers to this object: the collector would find it all
        return "\n".join(lines)

    @property
    def chunked(self) -> bool:
        """Whether the kernel is told which part of its outermost loop to walk."""
        return any(isinstance(s, (Loop, Tiles)) and s.chunked for s in self.nest.body)

    @property
    def buffers(self) -> list[int]:
        """The buffers in the order of the function's parameters."""
        stored = {s.buffer for s in self.kernel.stores}
        loaded = {v.buffer for v in self.kernel.values if isinstance(v, (Load, GatherLoad))}
        return sorted(stored | loaded)

    def run(self, body: Sequence[Statement]) -> None:
        """Write statements in order, each for all rows at hand."""
        for statement in body:
            if not self.rows or isinstance(statement, Loop):
                self._one(statement)
                continue
            for row in self.rows:
                self.counters[row.dim] = row.counter
                self.values, self.zeros = row.values, row.zeros
                self.accumulators = row.accumulators
                self._one(statement)

    def _one(self, statement: Statement) -> None:
        match statement:
            case Let(value=number):
                self.values[number] = self.ahead.get(number) or self._compute(number)
                self._note_zeros(number)
            case Start(value=number):
                self._start(number)
            case Accumulate(value=number):
                self._step(number)
            case Finish(value=number):
                self._finish(number)
            case StoreResult(store=number):
                self._put(number)
            case Spill(value=number):
                self._keep(number)
            case Reload(value=number):
                self.values[number] = self._recall(number)
                self.zeros.discard(number)
            case Loop():
                self._loop(statement)
            case TransposeTile():
                self._turn(statement)
            case Tiles():
                TileEmitter(self, statement).emit()

    def label(self) -> str:
        """A fresh label."""
        self._label += 1
        return f"L{self._label}"

    def _loop(self, loop: Loop) -> None:
        if loop.panel or loop.block:
            self._panels(loop)
            return
        peeled = self._to_peel(loop)
        if peeled >= 0:
            self._peel(loop, peeled)
            return
        if self._long(loop):
            self._masked_loop(loop)
            return
        self._read_ahead(loop)
        whole = loop.extent // loop.width * loop.width
        rest = loop.extent - whole
        b = self.b
        bounds = ("%begin", "%end") if loop.chunked else None
        if loop.within:
            bounds = self.bounds[loop.dim]
        if whole == loop.width and bounds is None:
            self._iteration(loop, "0")
        elif whole:
            start, stop = "0", self.size(whole)
            if bounds is not None:
                start = bounds[0]
                before = b.emit(f"icmp ult i64 {bounds[1]}, {stop}")
                stop = b.emit(f"select i1 {before}, i64 {bounds[1]}, i64 {stop}")
            if self.abreast > 1 and any(isinstance(s, Start) for s in loop.body):
                start = self._abreast(loop, start, stop)
            with self.counting(start, stop, loop.width) as now:
                self._iteration(loop, now)
        if isinstance(rest, Dim):
            count = self.size(rest)
            if bounds is not None:  # what is left over belongs to the last chunk
                last = b.emit(f"icmp eq i64 {bounds[1]}, {self.size(loop.extent)}")
                count = b.emit(f"select i1 {last}, i64 {count}, i64 0")
            self._masked(loop, self.size(whole), count, tail=True)
        elif rest:
            after = self.label()
            if bounds is not None:
                extent, tail = self.size(loop.extent), self.label()
                last = b.emit(f"icmp eq i64 {bounds[1]}, {extent}")
                self.line(f"br i1 {last}, label %{tail}, label %{after}")
                b.lines.append(f"{tail}:")
            bits = ", ".join(f"i1 {'true' if k < rest else 'false'}" for k in range(loop.width))
            previous, b.mask = b.mask, Value(bool_, f"<{bits}>", True)
            self._iteration(loop, self.size(whole))
            b.mask = previous
            if bounds is not None:
                self.line(f"br label %{after}")
                b.lines.append(f"{after}:")

    def _abreast(self, loop: Loop, start: str, stop: str) -> str:
        """Walk rows some at a time; gives where those that are left over start."""
        b = self.b
        count = b.emit(f"and i64 {b.emit(f'sub nuw nsw i64 {stop}, {start}')}, {-self.abreast}")
        middle = b.emit(f"add nuw nsw i64 {start}, {count}")
        outside = self.values, self.zeros, self.accumulators
        with self.counting(start, middle, self.abreast) as now:
            self.rows = [
                _Row(
                    loop.dim,
                    b.emit(f"add nuw nsw i64 {now}, {number}") if number else now,
                    dict(self.values),
                    set(self.zeros),
                    {} if number else self.accumulators,
                )
                for number in range(self.abreast)
            ]
            self.run(loop.body)
            self.rows = []
            self.values, self.zeros, self.accumulators = outside
        return middle

    def _long(self, loop: Loop) -> bool:
        """Whether a loop has a tail and a body so long that it is written only once."""
        plain = all(isinstance(s, (Let, StoreResult)) for s in loop.body)
        if isinstance(loop.extent, Dim):
            tail = loop.width > 1
        else:
            tail = loop.extent % loop.width > 0 and loop.extent > loop.width
        return tail and plain and len(loop.body) >= cost_model.LONG_BODY

    def _masked_loop(self, loop: Loop) -> None:
        """A loop all of whose vectors are masked, so that its tail is one of them."""
        b = self.b
        extent = self.size(loop.extent)
        start, stop = ("%begin", "%end") if loop.chunked else ("0", extent)
        if loop.within:
            start, stop = self.bounds[loop.dim]
        with self.counting(start, stop, loop.width) as now:
            left = b.emit(f"sub nuw nsw i64 {stop}, {now}")
            if self.in_register_blocks:
                walk_in_register_blocks(self, loop, now, left)
            else:
                previous, b.mask = b.mask, self.first_lanes(left)
                self._iteration(loop, now)
                b.mask = previous

    def first_lanes(self, count: str, first: int = 0) -> Value:
        """A mask of the lanes before number `count`, of those from number `first` on.

        The comparison is of numbers as wide as the values are: their masks are its results.
        """
        b = self.b
        part = "i64"
        if max(register_bytes(v.dtype) for v in self.kernel.values) <= 4:
            part, most = "i32", first + b.width
            many = b.emit(f"icmp ugt i64 {count}, {most}")
            some = b.emit(f"select i1 {many}, i64 {most}, i64 {count}")
            count = b.emit(f"trunc i64 {some} to i32")
        kind = f"<{b.width} x {part}>"
        one = b.emit(f"insertelement {kind} poison, {part} {count}, i64 0")
        order = f"<{b.width} x i32> zeroinitializer"
        every = b.emit(f"shufflevector {kind} {one}, {kind} poison, {order}")
        numbers = ", ".join(f"{part} {first + k}" for k in range(b.width))
        return Value(bool_, b.emit(f"icmp slt {kind} <{numbers}>, {every}"), True)

    def _to_peel(self, loop: Loop) -> int:
        """The store whose rows start anywhere, and that could pass the cache from the first
        whole cache line of a row on; -1 for none.
        """
        if loop.dim != self.nest.lane_dim or loop.chunked or loop.within:
            return -1
        if self.in_register_blocks:
            return -1
        # lanes of a reduction and places of kept values are counted from the row's start
        if self._lanes_reduced() or any(
            isinstance(s, (Loop, Spill, Reload, Accumulate)) for s in loop.body
        ):
            return -1
        for statement in loop.body:
            if not isinstance(statement, StoreResult) or self._streams(statement.store):
                continue
            store = self.kernel.stores[statement.store]
            dtype = self.kernel.values[store.arg].dtype
            lines = self.b.width * dtype.size % STREAMED_BYTES == 0
            plain = store.buffer in self.streaming and parts_of(dtype) == 1
            if lines and plain and store.index.strides[loop.dim] == 1 and not store.choices:
                return statement.store
        return -1

    def _peel(self, loop: Loop, number: int) -> None:
        """Walk a loop so that a store's vectors are whole cache lines, but for the first and
        the last, which are masked.
        """
        b = self.b
        store = self.kernel.stores[number]
        dtype = self.kernel.values[store.arg].dtype
        self.counters[loop.dim] = "0"
        offset, _ = self._offset(store.index)
        address = self._address(f"%b{store.buffer}", dtype, offset)
        place = b.emit(f"ptrtoint ptr {address} to i64")
        line = min(CACHE_LINE, b.width * dtype.size)
        missing = b.emit(f"and i64 {b.emit(f'sub i64 0, {place}')}, {line - 1}")
        head = b.emit(f"udiv exact i64 {missing}, {dtype.size}")
        extent = self.size(loop.extent)
        short = b.emit(f"icmp ult i64 {head}, {extent}")
        head = b.emit(f"select i1 {short}, i64 {head}, i64 {extent}")
        self._masked(loop, "0", head)
        left = b.emit(f"sub nuw nsw i64 {extent}, {head}")
        whole = b.emit(f"and i64 {left}, {-loop.width}")
        stop = b.emit(f"add nuw nsw i64 {head}, {whole}")
        self.peeled = number
        with self.counting(head, stop, loop.width) as now:
            self._iteration(loop, now)
        self.peeled = -1
        self._masked(loop, stop, b.emit(f"sub nuw nsw i64 {extent}, {stop}"))

    def _masked(self, loop: Loop, start: str, count: str, tail: bool = False) -> None:
        """Walk a few elements from `start` on, fewer than a vector has: the last, if `tail`."""
        b = self.b
        some, after = self.label(), self.label()
        self.line(f"br i1 {b.emit(f'icmp ne i64 {count}, 0')}, label %{some}, label %{after}")
        b.lines.append(f"{some}:")
        if tail and self.tail is not None and self.tail[0] is loop:
            _, mask, self.ahead = self.tail
        else:
            mask = self.first_lanes(count)
        previous, b.mask = b.mask, mask
        self._iteration(loop, start)
        b.mask, self.ahead = previous, {}
        self.line(f"br label %{after}")
        b.lines.append(f"{after}:")

    def _read_ahead(self, outer: Loop) -> None:
        """Load, before a loop, what the tail of one inside would load anew in each turn: the
        vector of `a @ vector`, say. LLVM moves no load that is masked and on a branch (4% of a
        product of 316 columns).
        """
        b = self.b
        for loop in outer.body:
            if (
                not isinstance(loop, Loop)
                or loop.dim != self.nest.lane_dim
                or self.in_register_blocks
            ):
                continue
            rest = loop.extent % loop.width
            whole = loop.within or loop.panel or loop.block or self._long(loop)
            if not isinstance(rest, Dim) or whole or self._to_peel(loop) >= 0:
                continue
            lets = (s.value for s in loop.body if isinstance(s, Let))
            same = [number for number in lets if self._same(number, outer.dim)]
            if 0 < len(same) <= MAX_AHEAD:
                self.counters[loop.dim] = self.size(loop.extent - rest)
                previous, b.mask = b.mask, self.first_lanes(self.size(rest))
                self.tail = loop, b.mask, {number: self._compute(number) for number in same}
                b.mask = previous
                del self.counters[loop.dim]

    def _same(self, number: int, dim: int) -> bool:
        """Whether a value is a load of neighbouring lanes, the same all along a dim."""
        value = self.kernel.values[number]
        if not isinstance(value, Load) or number in self.turned:
            return False
        strides, stored = value.index.strides, {s.buffer for s in self.kernel.stores}
        lanes = strides[self.nest.lane_dim] == 1
        return lanes and strides[dim] == 0 and value.buffer not in stored

    def _panels(self, loop: Loop) -> None:
        """Walk panels, the last of which may be short, or blocks, which are moved instead."""
        b = self.b
        extent = self.size(loop.extent)
        start, stop = ("%begin", "%end") if loop.chunked else ("0", extent)
        with self.counting(start, stop, loop.width) as now:
            following = b.emit(f"add nuw nsw i64 {now}, {loop.width}")
            short = b.emit(f"icmp ult i64 {following}, {extent}")
            end = b.emit(f"select i1 {short}, i64 {following}, i64 {extent}")
            self.bounds[loop.dim] = (now, end)
            if loop.block:
                first = b.emit(f"sub nuw nsw i64 {end}, {loop.width}")
                self.bounds[loop.dim] = (first, end)
            self.run(loop.body)

    def _iteration(self, loop: Loop, start: str) -> None:
        if self.in_register_blocks and loop.dim == self.nest.lane_dim:
            walk_in_register_blocks(self, loop, start, None)
            return
        self.counters[loop.dim] = start
        self.run(loop.body)

    def _offset(self, index: Index, scale: int = 1) -> tuple[str, int]:
        """The place of lane 0, and how far the next lane is, in elements."""
        b = self.b
        total, constant = "", index.offset * scale
        for dim, stride in enumerate(index.strides):
            if not stride or dim not in self.counters:
                continue
            counter = self.counters[dim]
            if not counter.startswith("%"):
                constant += int(counter) * stride * scale
                continue
            term = counter
            if stride * scale != 1:
                term = b.emit(f"mul nsw i64 {counter}, {self.size(stride * scale)}")
            total = b.emit(f"add nsw i64 {total}, {term}") if total else term
        if constant or not total:
            start = self.size(constant)
            total = b.emit(f"add nsw i64 {total}, {start}") if total else start
        lane = self.nest.lane_dim
        step = index.strides[lane] * scale if lane >= 0 and self.b.width > 1 else 0
        return total, step

    def _compute(self, number: int) -> Value:
        value = self.kernel.values[number]
        b = self.b
        match value:
            case Compute():
                self.current = (value.primitive.tensorflow, value.source)
                kind = value.primitive.kind
                assert isinstance(kind, Pointwise)
                args = [self.values[a] for a in value.args]
                result: Value = kind.scalar(b, *args, **dict(value.attrs))
                return result
            case Constant():
                return b.const(value.number, value.dtype)
            case Load() if number in self.turned:
                room, turn = self.turned[number]
                return self._from_copy(room, value.dtype, turn.row_dim, turn.columns)
            case Load():
                offset, step = self._offset(value.index, parts_of(value.dtype))
                self._fetch_ahead(value, offset)
                return self._load(f"%b{value.buffer}", value.dtype, offset, step)
            case IndexValue():
                offset, step = self._offset(value.index)
                base = Value(int64, offset, b.width == 1)
                return b.add(base, self._lane_numbers(step)) if step else base
            case Product():
                return self._from_tile(value)
            case GatherLoad():
                self.current = ("GatherV2", value.source)
                parts = parts_of(value.dtype)
                offset, step = self._offset(value.index, parts)
                place = self._chosen(offset, step, value.choices, parts)
                return self._load_at(f"%b{value.buffer}", value.dtype, place)
            case _:
                raise AssertionError(value)

    def _fetch_ahead(self, value: Load, offset: str) -> None:
        """Have the memory that rows abreast come to soon fetched, where no cache holds it all:
        as their streams are short and many, the processor doesn't see where they lead.
        """
        strides, kernel = value.index.strides, self.kernel
        if not self.rows or self.b.mask is not None or strides[self.nest.lane_dim] != 1:
            return
        dim, size = self.rows[0].dim, value.dtype.size
        if not cost_model.passes_cache(strides[dim] * kernel.dims[dim] * size):
            return
        at = self._address(f"%b{value.buffer}", value.dtype, offset)
        self.module.declare("void", "llvm.prefetch.p0", "ptr, i32, i32, i32")
        for line in range(0, self.b.width * size, CACHE_LINE):
            there = self.b.emit(
                f"getelementptr i8, ptr {at}, i64 {cost_model.AHEAD_BYTES + line}"
            )
            self.line(f"call void @llvm.prefetch.p0(ptr {there}, i32 0, i32 3, i32 1)")

    def _note_zeros(self, number: int) -> None:
        """Note whether a value is 0 where its lanes are masked off, as loads are."""
        match self.kernel.values[number]:
            case Load(index=index) if number not in self.turned and self.nest.lane_dim >= 0:
                zero = index.strides[self.nest.lane_dim] != 0
            case Compute(primitive=primitive, args=args):
                kind = primitive.kind
                assert isinstance(kind, Pointwise)
                zero = kind.zero_of_zeros and self.zeros.issuperset(args)
            case _:
                zero = False
        (self.zeros.add if zero else self.zeros.discard)(number)

    def _from_tile(self, value: Product) -> Value:
        """A product's elements from the tile at hand."""
        tiles = self.nest.body[0]
        assert isinstance(tiles, Tiles)
        return self._from_copy(self.tile, value.dtype, tiles.row_dim, tiles.columns)

    def _from_copy(self, room: str, dtype: DType, row_dim: int, columns: int) -> Value:
        """Elements of what was copied or summed for the rows and columns at hand."""
        b = self.b
        lane = self.nest.lane_dim
        place = b.emit(f"sub nsw i64 {self.counters[lane]}, {self.bounds[lane][0]}")
        if row_dim >= 0:
            row = b.emit(f"sub nsw i64 {self.counters[row_dim]}, {self.bounds[row_dim][0]}")
            start = b.emit(f"mul nsw i64 {row}, {columns}")
            place = b.emit(f"add nsw i64 {start}, {place}")
        # there is room for whole vectors: lanes that are masked off are there too
        mask, b.mask = b.mask, None
        found = self._load(room, dtype, place, 1)
        b.mask = mask
        return found

    def _turn(self, turn: TransposeTile) -> None:
        """Copy squares of a load, turned."""
        b = self.b
        value = self.kernel.values[turn.value]
        assert isinstance(value, Load)
        dtype, lane = value.dtype, self.nest.lane_dim
        if turn.value not in self.turned:
            room = b.fresh()
            kind = f"[{turn.rows * turn.columns} x {ir_type(dtype)}]"
            self.entry.append(f"  {room} = alloca {kind}, align 64")
            self.turned[turn.value] = (room, turn)
        room = self.turned[turn.value][0]
        side = CACHE_LINE // dtype.size
        square = turning(self.module, ir_type(dtype), dtype.size, side)
        start, stop = self.bounds[lane]
        apart = self.size(value.index.strides[lane])
        with self.counting(start, stop, side) as first:
            left = b.emit(f"sub nsw i64 {stop}, {first}")
            column = b.emit(f"sub nsw i64 {first}, {start}")
            for row in range(0, turn.rows, side):
                self.counters[lane] = first
                self.counters[turn.row_dim] = self.bounds[turn.row_dim][0]
                offset, _ = self._offset(value.index)
                at = self._address(f"%b{value.buffer}", dtype, offset)
                at = self._address(at, dtype, str(row)) if row else at
                to = self._address(room, dtype, column)
                to = self._address(to, dtype, str(row * turn.columns)) if row else to
                listed = f"ptr {at}, i64 {apart}, i64 {left}, ptr {to}, i64 {turn.columns}"
                self.line(f"call void @{square}({listed})")

    @contextmanager
    def counting(self, start: str, stop: str, step: int | str) -> Iterator[str]:
        """A loop; what is written inside is its body."""
        b = self.b
        counter = b.fresh()
        self.entry.append(f"  {counter} = alloca i64")
        head, body, done = self.label(), self.label(), self.label()
        self.line(f"store i64 {start}, ptr {counter}")
        self.line(f"br label %{head}")
        b.lines.append(f"{head}:")
        now = b.emit(f"load i64, ptr {counter}")
        more = b.emit(f"icmp ult i64 {now}, {stop}")
        self.line(f"br i1 {more}, label %{body}, label %{done}")
        b.lines.append(f"{body}:")
        yield now
        following = b.emit(f"add nuw nsw i64 {now}, {step}")
        self.line(f"store i64 {following}, ptr {counter}")
        self.line(f"br label %{head}{self.loop_end}")
        b.lines.append(f"{done}:")

    def _chosen(
        self, offset: str, step: int, choices: Sequence[DynamicIndex], scale: int
    ) -> Value:
        """The place that checked indices choose."""
        b = self.b
        place = Value(int64, offset, b.width == 1)
        if step:
            place = b.add(place, self._lane_numbers(step))
        wrong, index, extent = b.const(False, bool_), b.const(0, int64), b.const(0, int64)
        for choice in reversed(choices):
            chosen = self.values[choice.arg]
            bad = b.or_(b.lt(chosen, 0), b.ge(chosen, choice.extent))
            wrong, index = b.or_(wrong, bad), b.select(bad, chosen, index)
            extent = b.select(bad, b.const(choice.extent, int64), extent)
            # lanes that are masked off may hold anything
            safe = b.select(bad, b.const(0, int64), chosen)
            place = b.add(place, b.mul(safe, choice.stride * scale))
        b.fail_if(wrong, OUT_OF_RANGE, index, extent)
        return place

    def _put(self, number: int) -> None:
        store = self.kernel.stores[number]
        value = self.values[store.arg]
        parts = parts_of(value.dtype)
        base = f"%b{store.buffer}"
        offset, step = self._offset(store.index, parts)
        if store.choices:
            self._scatter(number, offset, step, value)
            return
        self._store(base, value, offset, step, self._streams(number))

    def _streams(self, number: int) -> bool:
        """Whether a store may pass the cache: only whole cache lines or halves of them, one
        after the other, which start as lines or halves do.

        An unaligned one would become many scalar stores.
        """
        store = self.kernel.stores[number]
        dtype = self.kernel.values[store.arg].dtype
        if store.buffer not in self.streaming or parts_of(dtype) > 1:
            return False
        if number == self.peeled:
            return True
        past = self.streaming[store.buffer]
        if past < 0:
            return False
        lane = self.nest.lane_dim
        places = [s for d, s in enumerate(store.index.strides) if d != lane]
        bytes_apart = [
            n * dtype.size for n in (store.index.offset + past, self.b.width, *places)
        ]
        whole = min(CACHE_LINE, self.b.width * dtype.size)
        return whole >= STREAMED_BYTES and all(n % whole == 0 for n in bytes_apart)

    def _scatter(self, number: int, offset: str, step: int, value: Value) -> None:
        store = self.kernel.stores[number]
        assert store.primitive is not None
        self.current = (store.primitive.tensorflow, store.source)
        place = self._chosen(offset, step, store.choices, parts_of(value.dtype))
        self._combine(number, place, value)

    def _combine(self, number: int, place: Value, value: Value) -> None:
        """Combine a value in at a place that was checked."""
        store = self.kernel.stores[number]
        assert store.primitive is not None
        kind = store.primitive.kind
        assert isinstance(kind, Scatter)
        base = f"%b{store.buffer}"
        address = self._address(base, value.dtype, place.ir)
        old = self._scalar_load(address, value.dtype, True)
        new = kind.combine(self.b, old, value, **dict(store.attrs))
        self._scalar_store(address, new)

    def _identity(self, number: int) -> tuple[tuple[object, DType], ...]:
        value = self.kernel.values[number]
        assert isinstance(value, (Reduction, ScanValue))
        kind = value.primitive.kind
        if isinstance(kind, Reduce):
            return kind.identity(value.arg_dtype)
        assert isinstance(kind, Scan)
        return (kind.identity(value.arg_dtype),)

    def _start(self, number: int) -> None:
        if number not in self.accumulators:
            parts = [
                dtype for _, dtype in self._identity(number) for _ in range(parts_of(dtype))
            ]
            self.accumulators[number] = [self._accumulator(dtype) for dtype in parts]
        self._write(number, [self.b.const(n, d) for n, d in self._identity(number)])

    def _accumulator(self, dtype: DType) -> str:
        """Room for an accumulator: one vector, or one element for each place of a panel."""
        kind = self.b.type(dtype, True)
        if self.nest.panel:
            kind = f"[{self.nest.panel} x {_slot_type(dtype)}]"
        slot = self.b.fresh()
        self.entry.append(f"  {slot} = alloca {kind}, align 64")
        return slot

    def _accumulator_at(self, slot: str, dtype: DType) -> str:
        """Where the accumulators of the lanes at hand are."""
        if not self.nest.panel:
            return slot
        b = self.b
        counter = self.counters[self.nest.lane_dim]
        place = b.emit(f"sub nuw nsw i64 {counter}, {self.bounds[self.nest.lane_dim][0]}")
        return b.emit(f"getelementptr inbounds {_slot_type(dtype)}, ptr {slot}, i64 {place}")

    def _read(self, number: int) -> tuple[Value, ...]:
        slots = iter(self.accumulators[number])
        found = []
        for _, dtype in self._identity(number):
            kind = self.b.type(dtype, True)
            texts = []
            for _ in range(parts_of(dtype)):
                address = self._accumulator_at(next(slots), dtype)
                texts.append(
                    self.b.emit(f"load {kind}, ptr {address}, align {_slot_bytes(dtype)}")
                )
            found.append(Value(dtype, texts[0], True, texts[1] if len(texts) > 1 else None))
        return tuple(found)

    def _write(self, number: int, values: Sequence[Value]) -> None:
        slots = iter(self.accumulators[number])
        for value in values:
            wide = self.b.widen(value)
            kind = self.b.type(value.dtype, True)
            for text in (wide.ir, wide.imag)[: parts_of(value.dtype)]:
                address = self._accumulator_at(next(slots), value.dtype)
                align = _slot_bytes(value.dtype)
                self.line(f"store {kind} {text}, ptr {address}, align {align}")

    def _step(self, number: int) -> None:
        value = self.kernel.values[number]
        b = self.b
        assert isinstance(value, (Reduction, ScanValue))
        self.current = (value.primitive.tensorflow, None)
        old = self._read(number)
        x = self.values[value.arg]
        kind = value.primitive.kind
        if isinstance(kind, Scan):
            total = kind.combine(b, old[0], x)
            self._write(number, [total])
            self.values[number] = kind.finish(b, total, value.dtype)
            return
        assert isinstance(kind, Reduce)
        place = None
        if isinstance(value, Reduction) and value.place is not None:
            offset, step = self._offset(value.place)
            place = Value(int64, offset, b.width == 1)
            place = b.add(place, self._lane_numbers(step)) if step else place
        new = kind.combine(b, old, kind.element(b, x, place))
        stays = kind.skips_zeros and value.arg in self.zeros
        if b.mask is not None and self._lanes_reduced() and not stays:
            mask = b.mask
            new = tuple(b.select(mask, n, o) for n, o in zip(new, old, strict=True))
        self._write(number, new)

    def _lanes_reduced(self) -> bool:
        """Whether lanes hold different elements of one row."""
        return self.nest.lane_dim >= len(self.kernel.outer_dims)

    def _finish(self, number: int) -> None:
        value = self.kernel.values[number]
        assert isinstance(value, Reduction)
        kind = value.primitive.kind
        assert isinstance(kind, Reduce)
        totals = self._read(number)
        wide = True
        if self._lanes_reduced() and self.nest.width > 1:
            totals, wide = self._across_lanes(kind, totals), False
        totals = tuple(Value(t.dtype, t.ir, wide, t.imag) for t in totals)
        self.values[number] = kind.finish(self.b, totals, value.dtype)

    def _across_lanes(self, kind: Reduce, totals: tuple[Value, ...]) -> tuple[Value, ...]:
        """Lanes combined by halves: a tree that the number of lanes alone decides."""
        b = self.b
        width = b.width
        narrow = Builder(self.module, width, b.math, b.flags)
        narrow.lines = b.lines
        while width > 1:
            half = width // 2
            sides = []
            for start in (0, half):
                sides.append(tuple(self._part(t, width, start, half) for t in totals))
            narrow.width = half
            totals = kind.combine(narrow, sides[0], sides[1])
            width = half
        return totals

    def _part(self, value: Value, width: int, start: int, size: int) -> Value:
        b = self.b
        kind = f"<{width} x {ir_type(value.dtype)}>"
        texts: list[str] = []
        for text in (value.ir, value.imag):
            if text is None:
                continue
            if size == 1:
                texts.append(b.emit(f"extractelement {kind} {text}, i64 {start}"))
                continue
            order = ", ".join(f"i32 {start + k}" for k in range(size))
            texts.append(
                b.emit(f"shufflevector {kind} {text}, {kind} poison, <{size} x i32> <{order}>")
            )
        return Value(value.dtype, texts[0], True, texts[1] if len(texts) > 1 else None)

    def _make_room(self, number: int, points: int) -> None:
        dtype = self.kernel.values[number].dtype
        lanes = 1 if self._lanes_reduced() else self.b.width
        width = self.b.width if self._lanes_reduced() else 1
        count = -(-points // width) * width * lanes * parts_of(dtype)
        slot = self.b.fresh()
        element = _slot_type(dtype)
        self.entry.append(f"  {slot} = alloca [{count} x {element}], align 64")
        self.room[number] = slot

    def _slot(self, number: int, part: int) -> str:
        """The address of the current point's lanes in a kept value's room."""
        b = self.b
        dtype = self.kernel.values[number].dtype
        inner = self.kernel.inner_dims
        start = len(self.kernel.outer_dims)
        strides, step = [0] * len(self.kernel.dims), 1
        for k in range(len(inner) - 1, -1, -1):
            strides[start + k] = step
            step *= inner[k]
        scale = parts_of(dtype) * (1 if self._lanes_reduced() else b.width)
        offset, _ = self._offset(Index(0, tuple(strides)), scale)
        if part:
            offset = b.emit(f"add nsw i64 {offset}, {b.width}")
        element = _slot_type(dtype)
        return b.emit(
            f"getelementptr inbounds {element}, ptr {self.room[number]}, i64 {offset}"
        )

    def _keep(self, number: int) -> None:
        b = self.b
        value = b.widen(self.values[number])
        texts = [value.ir] if value.imag is None else [value.ir, value.imag]
        for part, text in enumerate(texts):
            address = self._slot(number, part)
            kind = b.type(value.dtype, True)
            if value.dtype.kind == "b":
                wide = kind.replace("i1", "i8")
                text = b.emit(f"zext {kind} {text} to {wide}")
                kind = wide
            self.line(f"store {kind} {text}, ptr {address}, align 1")

    def _recall(self, number: int) -> Value:
        b = self.b
        dtype = self.kernel.values[number].dtype
        texts = []
        for part in range(parts_of(dtype)):
            address = self._slot(number, part)
            kind = b.type(dtype, True)
            if dtype.kind == "b":
                wide = kind.replace("i1", "i8")
                raw = b.emit(f"load {wide}, ptr {address}, align 1")
                zero = "zeroinitializer" if b.width > 1 else "0"
                texts.append(b.emit(f"icmp ne {wide} {raw}, {zero}"))
            else:
                texts.append(b.emit(f"load {kind}, ptr {address}, align 1"))
        return Value(dtype, texts[0], True, texts[1] if len(texts) > 1 else None)

    def _fail(self, condition: Value, reason: str, details: tuple[Value, ...]) -> None:
        """Leave the kernel with a status if a lane fails; details of the first such lane."""
        b = self.b
        op, source = self.current
        self.checks.append(Check(reason, op, source))
        status = len(self.checks)
        vector = condition.wide and b.width > 1
        bad, good = self.label(), self.label()
        flag = condition.ir
        if vector:
            bits = b.emit(f"bitcast <{b.width} x i1> {condition.ir} to i{b.width}")
            flag = b.emit(f"icmp ne i{b.width} {bits}, 0")
        self.line(f"br i1 {flag}, label %{bad}, label %{good}")
        b.lines.append(f"{bad}:")
        lane = "0"
        if vector:
            name = f"llvm.cttz.i{b.width}"
            self.module.declare(f"i{b.width}", name, f"i{b.width}, i1")
            first = b.emit(f"call i{b.width} @{name}(i{b.width} {bits}, i1 true)")
            wide = "trunc" if b.width > 64 else "zext" if b.width < 64 else "bitcast"
            lane = b.emit(f"{wide} i{b.width} {first} to i64")
        for number, detail in enumerate(details):
            text = detail.ir
            if detail.wide and b.width > 1:
                text = b.emit(f"extractelement <{b.width} x i64> {text}, i64 {lane}")
            address = b.emit(f"getelementptr inbounds i64, ptr %record, i64 {number}")
            self.line(f"store i64 {text}, ptr {address}, align 8")
        self.line(f"ret i64 {status}")
        b.lines.append(f"{good}:")


def _slot_type(dtype: DType) -> str:
    """LLVM's type of one element of an accumulator or kept value in memory."""
    return "i8" if dtype.kind == "b" else ir_type(dtype)


def _slot_bytes(dtype: DType) -> int:
    """The alignment that an element of an accumulator has at least."""
    return 1 if dtype.kind == "b" else 4 if ir_type(dtype) == "float" else dtype.real.size
