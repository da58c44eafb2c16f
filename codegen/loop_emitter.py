"""Loops, their tails and their panels, as LLVM IR."""

from __future__ import annotations

from graphjit.core.dims import Dim
from graphjit.core.types import bool_
from graphjit.ir import cost_model
from graphjit.ir.program import Load

from .access import CACHE_LINE, parts_of
from .kernel_context import Row
from .loops import Accumulate, Let, Loop, Reload, Spill, Start, StoreResult
from .register_blocking import walk_in_register_blocks
from .stores import STREAMED_BYTES, StoreEmitter
from .values import Value

# The most vectors that are loaded before a loop: they must stay in registers.
MAX_HOISTED_LOADS = 2


class LoopEmitter(StoreEmitter):
    """Writes loops: whole vectors, then a masked tail."""

    def emit_loop(self, loop: Loop) -> None:
        """Write a loop."""
        if loop.panel or loop.block:
            self._emit_panels(loop)
            return
        peeled = self._find_store_to_peel(loop)
        if peeled >= 0:
            self._emit_peeled_loop(loop, peeled)
            return
        if self._has_long_body(loop):
            self._emit_masked_loop(loop)
            return
        self._hoist_tail_loads(loop)
        bounds = ("%begin", "%end") if loop.chunked else None
        if loop.within:
            bounds = self.bounds[loop.dim]
        whole = loop.extent // loop.width * loop.width
        self._emit_whole_vectors(loop, whole, bounds)
        if isinstance(loop.extent - whole, Dim):
            self._emit_symbolic_tail(loop, whole, bounds)
        elif loop.extent - whole:
            self._emit_known_tail(loop, whole, bounds)

    def _emit_whole_vectors(
        self, loop: Loop, whole: int, bounds: tuple[str, str] | None
    ) -> None:
        """Write the iterations before `whole`, none of which is masked."""
        if whole == loop.width and bounds is None:
            self._emit_iteration(loop, "0")
        elif whole:
            b, start, stop = self.b, "0", self.size(whole)
            if bounds is not None:
                start = bounds[0]
                before = b.emit(f"icmp ult i64 {bounds[1]}, {stop}")
                stop = b.emit(f"select i1 {before}, i64 {bounds[1]}, i64 {stop}")
            if self.rows_abreast > 1 and any(isinstance(s, Start) for s in loop.body):
                start = self._run_rows_abreast(loop, start, stop)
            with self.counting(start, stop, loop.width) as now:
                self._emit_iteration(loop, now)

    def _emit_symbolic_tail(
        self, loop: Loop, whole: int, bounds: tuple[str, str] | None
    ) -> None:
        """Write the masked iteration of a symbolic number of elements."""
        b, count = self.b, self.size(loop.extent - whole)
        if bounds is not None:  # the tail belongs to the last chunk
            last = b.emit(f"icmp eq i64 {bounds[1]}, {self.size(loop.extent)}")
            count = b.emit(f"select i1 {last}, i64 {count}, i64 0")
        self._emit_masked_iteration(loop, self.size(whole), count, tail=True)

    def _emit_known_tail(self, loop: Loop, whole: int, bounds: tuple[str, str] | None) -> None:
        """Write the masked iteration of a known number of elements."""
        b, rest = self.b, loop.extent - whole
        after = self.label()
        if bounds is not None:  # the tail belongs to the last chunk
            extent, tail = self.size(loop.extent), self.label()
            last = b.emit(f"icmp eq i64 {bounds[1]}, {extent}")
            self.line(f"br i1 {last}, label %{tail}, label %{after}")
            b.lines.append(f"{tail}:")
        bits = ", ".join(f"i1 {'true' if k < rest else 'false'}" for k in range(loop.width))
        previous, b.mask = b.mask, Value(bool_, f"<{bits}>", True)
        self._emit_iteration(loop, self.size(whole))
        b.mask = previous
        if bounds is not None:
            self.line(f"br label %{after}")
            b.lines.append(f"{after}:")

    def _run_rows_abreast(self, loop: Loop, start: str, stop: str) -> str:
        """Iterate several rows at a time. Gives where the rows left over start."""
        b = self.b
        count = b.emit(
            f"and i64 {b.emit(f'sub nuw nsw i64 {stop}, {start}')}, {-self.rows_abreast}"
        )
        middle = b.emit(f"add nuw nsw i64 {start}, {count}")
        outside = self.values, self.zeros, self.accumulators
        with self.counting(start, middle, self.rows_abreast) as now:
            self.active_rows = [
                Row(
                    loop.dim,
                    b.emit(f"add nuw nsw i64 {now}, {number}") if number else now,
                    dict(self.values),
                    set(self.zeros),
                    {} if number else self.accumulators,
                )
                for number in range(self.rows_abreast)
            ]
            self.run(loop.body)
            self.active_rows = []
            self.values, self.zeros, self.accumulators = outside
        return middle

    def _has_long_body(self, loop: Loop) -> bool:
        """Whether a loop with a tail has a body so long that it is written only once."""
        plain = all(isinstance(s, (Let, StoreResult)) for s in loop.body)
        if isinstance(loop.extent, Dim):
            tail = loop.width > 1
        else:
            tail = loop.extent % loop.width > 0 and loop.extent > loop.width
        return tail and plain and len(loop.body) >= cost_model.LONG_BODY

    def _emit_masked_loop(self, loop: Loop) -> None:
        """Write a loop whose vectors are all masked, so that no second body is needed for the
        tail.
        """
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
                self._emit_iteration(loop, now)
                b.mask = previous

    def _find_store_to_peel(self, loop: Loop) -> int:
        """The store for which a loop is peeled; -1 for none.

        Its rows start anywhere in a cache line. From the first whole line of a row on it may go
        past the cache.
        """
        if loop.dim != self.nest.lane_dim or loop.chunked or loop.within:
            return -1
        if self.in_register_blocks:
            return -1
        # lanes of a reduction and slots of spilled values are counted from the row's start
        if self.lanes_along_row() or any(
            isinstance(s, (Loop, Spill, Reload, Accumulate)) for s in loop.body
        ):
            return -1
        for statement in loop.body:
            if not isinstance(statement, StoreResult) or self._may_stream(statement.store):
                continue
            store = self.kernel.stores[statement.store]
            dtype = self.kernel.values[store.arg].dtype
            lines = self.b.width * dtype.size % STREAMED_BYTES == 0
            plain = store.buffer in self.streaming and parts_of(dtype) == 1
            if lines and plain and store.index.strides[loop.dim] == 1 and not store.choices:
                return statement.store
        return -1

    def _emit_peeled_loop(self, loop: Loop, number: int) -> None:
        """Write a loop so that a store's vectors are whole cache lines. The first and the last
        are masked.
        """
        b = self.b
        store = self.kernel.stores[number]
        dtype = self.kernel.values[store.arg].dtype
        self.counters[loop.dim] = "0"
        offset, _ = self.element_offset(store.index)
        address = self.address(f"%b{store.buffer}", dtype, offset)
        start_bits = b.emit(f"ptrtoint ptr {address} to i64")
        line = min(CACHE_LINE, b.width * dtype.size)
        missing = b.emit(f"and i64 {b.emit(f'sub i64 0, {start_bits}')}, {line - 1}")
        head = b.emit(f"udiv exact i64 {missing}, {dtype.size}")
        extent = self.size(loop.extent)
        short = b.emit(f"icmp ult i64 {head}, {extent}")
        head = b.emit(f"select i1 {short}, i64 {head}, i64 {extent}")
        self._emit_masked_iteration(loop, "0", head)
        left = b.emit(f"sub nuw nsw i64 {extent}, {head}")
        whole = b.emit(f"and i64 {left}, {-loop.width}")
        stop = b.emit(f"add nuw nsw i64 {head}, {whole}")
        self.peeled_store = number
        with self.counting(head, stop, loop.width) as now:
            self._emit_iteration(loop, now)
        self.peeled_store = -1
        self._emit_masked_iteration(loop, stop, b.emit(f"sub nuw nsw i64 {extent}, {stop}"))

    def _emit_masked_iteration(
        self, loop: Loop, start: str, count: str, tail: bool = False
    ) -> None:
        """Write one masked iteration of `count` elements, fewer than a vector has. tail:
        whether it is the loop's last.
        """
        b = self.b
        some, after = self.label(), self.label()
        self.line(f"br i1 {b.emit(f'icmp ne i64 {count}, 0')}, label %{some}, label %{after}")
        b.lines.append(f"{some}:")
        if tail and self.hoisted_tail is not None and self.hoisted_tail[0] is loop:
            _, mask, self.hoisted = self.hoisted_tail
        else:
            mask = self.first_lanes(count)
        previous, b.mask = b.mask, mask
        self._emit_iteration(loop, start)
        b.mask, self.hoisted = previous, {}
        self.line(f"br label %{after}")
        b.lines.append(f"{after}:")

    def _hoist_tail_loads(self, outer: Loop) -> None:
        """Load before a loop what the tail of an inner loop would load in every iteration.

        The vector of `a @ vector` is such a load. LLVM hoists no masked load that stands on a
        branch (4% of a product of 316 columns).
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
            whole = loop.within or loop.panel or loop.block or self._has_long_body(loop)
            if not isinstance(rest, Dim) or whole or self._find_store_to_peel(loop) >= 0:
                continue
            lets = (s.value for s in loop.body if isinstance(s, Let))
            same = [number for number in lets if self._is_invariant_load(number, outer.dim)]
            if 0 < len(same) <= MAX_HOISTED_LOADS:
                self.counters[loop.dim] = self.size(loop.extent - rest)
                previous, b.mask = b.mask, self.first_lanes(self.size(rest))
                self.hoisted_tail = (
                    loop,
                    b.mask,
                    {number: self.compute(number) for number in same},
                )
                b.mask = previous
                del self.counters[loop.dim]

    def _is_invariant_load(self, number: int, dim: int) -> bool:
        """Whether a value is a load of contiguous lanes that doesn't change along a dim."""
        value = self.kernel.values[number]
        if not isinstance(value, Load) or number in self.transposed:
            return False
        strides, stored = value.index.strides, {s.buffer for s in self.kernel.stores}
        lanes = strides[self.nest.lane_dim] == 1
        return lanes and strides[dim] == 0 and value.buffer not in stored

    def _emit_panels(self, loop: Loop) -> None:
        """Write a loop over panels or blocks.

        The last panel may be short. The last block is moved back, so that it overlaps the one
        before.
        """
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

    def _emit_iteration(self, loop: Loop, start: str) -> None:
        """Write a loop's body once, at this index."""
        if self.in_register_blocks and loop.dim == self.nest.lane_dim:
            walk_in_register_blocks(self, loop, start, None)
            return
        self.counters[loop.dim] = start
        self.run(loop.body)
