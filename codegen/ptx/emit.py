"""A scheduled kernel -> LLVM IR for one thread of a grid.

A kernel becomes `void @name(buffers…, status, sizes…)`. The values of a point are written by
the emitter that serves the CPU, too, one element at a time. This module distributes points to
threads and combines the lanes of a warp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphjit.codegen.access import parts_of
from graphjit.codegen.loops import Let, Loop, LoopNest, Statement, StoreResult
from graphjit.codegen.values import Value
from graphjit.core.dims import Dim
from graphjit.ir.program import Index, Load, Product
from graphjit.ops.primitive import Reduce

from .checks import PointEmitter, argument_of
from .device import LANES, DeviceModule
from .product_emitter import ProductEmitter
from .schedule import THREADS, Schedule, ThreadWalk, order_by_store
from .tensor_cores import TensorCoreEmitter
from .wide import lies_in_vectors, load_several, store_several

ALIGNMENT = 16  # of every buffer's first element [bytes]


class ThreadEmitter(PointEmitter):
    """Writes one kernel for a GPU.

    step: its position in the program
    copies: while a thread takes several points at once, the counters and values of each
    """

    def __init__(
        self,
        module: DeviceModule,
        plan: Schedule,
        step: int,
        shared: frozenset[int],
        symbols: Sequence[str],
    ) -> None:
        nests = [walk.nest for walk in plan.walks] or [LoopNest(plan.kernel, 1, -1, ())]
        super().__init__(module, nests[0], step, shared, symbols)
        self.plan = plan
        self.kernel = plan.kernel
        self.walk: ThreadWalk | None = None
        self.lane = ""
        self.in_lanes = False
        self.product: Value | None = None  # the current element of a matrix product
        self.copies: list[tuple[dict[int, str], dict[int, Value]]] = []

    def emit(self) -> str:
        """The function's text."""
        if self.plan.tiling is not None:
            tiling = self.plan.tiling
            kind = TensorCoreEmitter if tiling.tensor_cores else ProductEmitter
            kind(self, tiling).emit()
        elif len(self.plan.walks) == 2:
            self._emit_either(*self.plan.walks)
        else:
            self._emit_walk(self.plan.walks[0])
        listed = self.buffer_parameters()
        if self.numbered:
            listed.append("ptr addrspace(1) %status")
        listed += [f"i64 %{argument_of(name)}" for name in self.symbols]
        threads = self.plan.launch.threads if self.plan.tiling is not None else THREADS
        bound = "reqntid" if self.plan.tiling is not None else "maxntid"
        # minctasm: otherwise ptxas would spill rather than have fewer blocks per multiprocessor
        bounds = f'"nvvm.{bound}"="{threads}" "nvvm.minctasm"="1"'
        head = f"define ptx_kernel void @{self.kernel.name}({', '.join(listed)})"
        lines = [f"{head} nounwind {bounds} {{", "entry:"]
        return "\n".join([*lines, *self.entry, *self.b.lines, "  ret void", "}"])

    # -- distributing points

    def _emit_either(self, short: ThreadWalk, long: ThreadWalk) -> None:
        """Write two walks, the first for rows shorter than a warp: all threads take the same
        branch.
        """
        extent = self.size(self.kernel.inner_dims[-1])
        few, many, after = self.label(), self.label(), self.label()
        flag = self.b.emit(f"icmp ult i64 {extent}, {LANES}")
        self.line(f"br i1 {flag}, label %{few}, label %{many}")
        for name, walk in ((few, short), (many, long)):
            self.b.lines.append(f"{name}:")
            self._emit_walk(walk)
            self.line(f"br label %{after}")
        self.b.lines.append(f"{after}:")

    def number_threads(self) -> tuple[str, str]:
        """The thread's number in the grid, and how many threads there are."""
        b = self.device
        each = b.thread("ntid.x")
        first = b.emit(f"mul nuw nsw i64 {b.thread('ctaid.x')}, {each}")
        number = b.emit(f"add nuw nsw i64 {first}, {b.thread('tid.x')}")
        return number, b.emit(f"mul nuw nsw i64 {b.thread('nctaid.x')}, {each}")

    def _emit_walk(self, walk: ThreadWalk) -> None:
        """Write the loop over this thread's points."""
        b = self.b
        self.walk, self.nest = walk, walk.nest
        self.values, self.counters, self.accumulators = {}, {}, {}
        first, stride = self.number_threads()
        if walk.team == LANES:
            self.lane = b.emit(f"and i64 {first}, {LANES - 1}")
            first = b.emit(f"lshr i64 {first}, 5")
            stride = b.emit(f"lshr i64 {stride}, 5")
        dims = [self.kernel.dims[d] for d in walk.parallel]
        if walk.vector > 1:
            dims[-1] = dims[-1] // walk.vector
        with self.counting(first, self.size(walk.points), stride) as now:
            self._set_counters(walk, now, dims)
            if walk.vector > 1:
                self._emit_neighbours(walk)
            else:
                self.run(self._body_of(walk))
        last = self.kernel.dims[-1] if walk.vector > 1 else 0
        if walk.vector > 1 and (isinstance(last, Dim) or last % walk.vector):
            self._emit_left_over(walk, first, last)

    def _body_of(self, walk: ThreadWalk) -> tuple[Statement, ...]:
        """The statements of a point. Where buffers overlap, all loads come before the
        stores.
        """
        shared_out = len(walk.parallel) == len(self.kernel.outer_dims)
        found = order_by_store(self.kernel) if shared_out and not self.shared else None
        return walk.nest.body if found is None else found

    def _set_counters(self, walk: ThreadWalk, number: str, dims: Sequence[int]) -> None:
        """Set the counters of the parallel dims from a point's number."""
        for dim, digit in zip(walk.parallel, self.digits(number, dims), strict=True):
            self.counters[dim] = digit

    def digits(self, number: str, dims: Sequence[int]) -> list[str]:
        """A number's digits to these bases, the last one the fastest; in 32 bits where
        possible.
        """
        b, found = self.b, list[str]()
        total: Any = 1
        for n in dims:
            total = total * n
        narrow = len(dims) > 1 and not isinstance(total, Dim) and total < 2**31
        kind = "i32" if narrow else "i64"
        rest = b.emit(f"trunc i64 {number} to i32") if narrow else number
        for position in range(len(dims) - 1, -1, -1):
            digit = rest
            if position:
                base = self.size(dims[position])
                digit = b.emit(f"urem {kind} {rest}, {base}")
                rest = b.emit(f"udiv {kind} {rest}, {base}")
            found.append(b.emit(f"zext i32 {digit} to i64") if narrow else digit)
        return found[::-1]

    def _emit_neighbours(self, walk: ThreadWalk) -> None:
        """Write several points along the last dim, each statement for all before the next
        statement.
        """
        b, last = self.b, walk.parallel[-1]
        first = b.emit(f"mul nuw nsw i64 {self.counters[last]}, {walk.vector}")
        for position in range(walk.vector):
            at = b.emit(f"add nuw nsw i64 {first}, {position}") if position else first
            self.copies.append(({**self.counters, last: at}, {}))
        self.run(self._body_of(walk))
        self.copies = []

    def _emit_left_over(self, walk: ThreadWalk, thread: str, extent: int) -> None:
        """Write the points that don't fill a group, one for each of the first threads."""
        b = self.b
        whole = extent // walk.vector * walk.vector
        rest = self.size(extent - whole)
        some, after = self.label(), self.label()
        flag = b.emit(f"icmp ult i64 {thread}, {rest}")
        self.line(f"br i1 {flag}, label %{some}, label %{after}")
        b.lines.append(f"{some}:")
        self.counters[walk.parallel[-1]] = b.emit(f"add i64 {thread}, {self.size(whole)}")
        self.values = {}
        self.run(self._body_of(walk))
        self.line(f"br label %{after}")
        b.lines.append(f"{after}:")

    def run(self, body: Sequence[Statement]) -> None:
        """Write statements in order. Loops over distributed dims aren't loops here."""
        for statement in body:
            match statement:
                case Loop(dim=dim) if self.walk is not None and dim in self.walk.parallel:
                    self.run(statement.body)
                case Let(value=number) if self._load_wide(number):
                    pass
                case StoreResult(store=number) if self._store_wide(number):
                    pass
                case Let() | StoreResult() if self.copies:
                    for copy in self.copies:
                        self.counters, self.values = copy
                        super().run((statement,))
                case _:
                    super().run((statement,))

    def _load_wide(self, number: int) -> bool:
        """Load a value for all copies by vectors, if it can be. Says whether it was."""
        value = self.kernel.values[number]
        if not isinstance(value, Load) or not self._lies_in_vectors(value.index):
            return False
        offsets = self._offsets_of_copies(value.index, parts_of(value.dtype))
        found = load_several(self, f"%b{value.buffer}", value.dtype, offsets)
        for (_, values), element in zip(self.copies, found, strict=True):
            values[number] = element
        return True

    def _store_wide(self, number: int) -> bool:
        """Carry out a store for all copies by vectors, if it can be. Says whether it was."""
        store = self.kernel.stores[number]
        if (
            (self.failed and self.shared)
            or store.choices
            or not self._lies_in_vectors(store.index)
        ):
            return False
        several = [values[store.arg] for _, values in self.copies]
        offsets = self._offsets_of_copies(store.index, parts_of(several[0].dtype))
        store_several(self, f"%b{store.buffer}", several, offsets)
        return True

    def _lies_in_vectors(self, index: Index) -> bool:
        last = len(self.kernel.dims) - 1
        return bool(self.copies) and lies_in_vectors(index, last, len(self.copies))

    def _offsets_of_copies(self, index: Index, scale: int) -> list[str]:
        """The offset of each copy's element, in numbers."""
        found = []
        for copy in self.copies:
            self.counters, self.values = copy
            found.append(self.element_offset(index, scale)[0])
        return found

    def emit_loop(self, loop: Loop) -> None:
        """Write a loop: shared out among a warp's lanes, or in order."""
        lanes = loop.dim == self.nest.lane_dim and loop.width == LANES
        start, step = (self.lane, LANES) if lanes else ("0", 1)
        self.in_lanes = lanes
        with self.counting(start, self.size(loop.extent), step) as now:
            self.counters[loop.dim] = now
            self.run(loop.body)
        del self.counters[loop.dim]
        self.in_lanes = False

    def load_from_tile(self, value: Product) -> Value:
        """The element of the matrix product."""
        assert self.product is not None
        return self.product

    # -- warps

    def storing_lane(self) -> str:
        """A flag for the lane that stores where a warp has one value to store; empty for all
        lanes.
        """
        if self.walk is None or self.walk.team < LANES or self.in_lanes:
            return ""
        if self.shared:  # other lanes may still have to read what is overwritten
            self.device.warp_barrier()
        return self.b.emit(f"icmp eq i64 {self.lane}, 0")

    def combine_lanes(self, kind: Reduce, totals: tuple[Value, ...]) -> tuple[Value, ...]:
        """Combine lanes by halves, as vectors are. All lanes then have the first lane's
        result.
        """
        b, distance = self.device, LANES // 2
        while distance:
            others = tuple(b.from_lane(t, "down", distance) for t in totals)
            totals = kind.combine(b, totals, others)
            distance //= 2
        return tuple(b.from_lane(t, "idx", 0) for t in totals)


__all__ = ["ALIGNMENT", "ThreadEmitter"]
