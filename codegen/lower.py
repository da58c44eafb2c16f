"""Kernel -> loop IR: the schedule.

It decides which dim the vector lanes go along, what is computed at which depth, and what is
spilled between stages rather than computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from graphjit.core.config import config
from graphjit.core.dims import Dim, is_symbolic
from graphjit.core.extents import guess
from graphjit.ir import cost_model
from graphjit.ir.program import (
    Compute,
    Kernel,
    Load,
    Reduction,
    ScanValue,
    arguments,
    indices_of,
    merge_outer,
)

from .interleaving import load_together
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
    TransposeTile,
    register_bytes,
)
from .spill_plan import SpillPlan, plan_spills
from .stages import StageAnalysis
from .tiles import lower_product, product_of
from .transposes import (
    TransposeCondition,
    tile_rows,
    transposed_loads,
    transposed_rows,
)
from .verify_nest import verify_nest

# Lanes of every reduction along contiguous rows, whatever the target and dtype. So the order of
# combining, and with it every bit of the result, depends on the shape alone.
ROW_LANES = 32


def lower(
    kernel: Kernel, vector_bytes: int, block_rows: int = 0, short: bool = False
) -> LoopNest:
    """The loop nest of a kernel, for vectors of this many bytes.

    block_rows: the rows at a time of the row block that the kernel is in; 0 if it is in none
    short: where the length of reduced rows is symbolic, whether it is less than ROW_LANES;
        where the number of lanes of a strided load is, whether they are too few to be
        transposed
    """
    product = product_of(kernel)
    in_row_block = block_rows > 0  # its rows must stay a dim of their own
    if product is not None:
        merged = merge_outer(kernel, last=in_row_block)
        nest = lower_product(merged, product, vector_bytes, block_rows)
    else:
        merged = merge_outer(kernel, first=in_row_block)
        nest = Lowering(merged, vector_bytes, block_rows, short).nest()
    if config.verify:
        verify_nest(nest)
    return nest


def transpose_condition(kernel: Kernel, vector_bytes: int) -> TransposeCondition | None:
    """When a kernel's loads are transposed; None where that doesn't depend on the sizes."""
    if product_of(kernel) is not None or kernel.inner or not is_symbolic(kernel.dims):
        return None
    kernel = merge_outer(kernel)
    lowering = Lowering(kernel, vector_bytes)
    loads, dim = lowering.transposed_loads()
    extent, lanes = kernel.dims[dim], kernel.dims[lowering.lane_dim]
    if not loads or not is_symbolic((extent, lanes)):
        return None
    value = kernel.values[loads[0]]
    assert isinstance(value, Load)
    apart = value.index.strides[lowering.lane_dim] * value.dtype.size
    return TransposeCondition(extent, tile_rows(kernel, loads, dim), lanes, apart)


def row_lengths(kernel: Kernel) -> tuple[bool, ...]:
    """The values of `short` for which a kernel with reduced rows has to be lowered."""
    rows = kernel.inner_dims[-1] if kernel.lanes == "inner" and kernel.inner else 0
    if not isinstance(rows, Dim):
        return (False,)
    low, high = rows.bounds()
    return (True,) * (low < ROW_LANES) + (False,) * (high >= ROW_LANES)


class Lowering(StageAnalysis):
    """Makes the loop nest of a kernel that has no product. For the options see `lower`.

    width, lane_dim: the number of vector lanes, and the dim that they go along
    registers: about how many registers a value of all lanes takes
    """

    def __init__(
        self, kernel: Kernel, vector_bytes: int, block_rows: int = 0, short: bool = False
    ) -> None:
        super().__init__(kernel)
        self.block_rows = block_rows
        self.short = short
        self.registers = 1
        self.width, self.lane_dim = self._choose_lanes(vector_bytes)

    def _choose_lanes(self, vector_bytes: int) -> tuple[int, int]:
        """The number of vector lanes, and the dim that they go along; -1 for none."""
        kernel = self.kernel
        inner = kernel.inner_dims
        long = bool(inner) and (
            not self.short if isinstance(inner[-1], Dim) else inner[-1] >= ROW_LANES
        )
        if kernel.lanes == "inner" and long:
            return ROW_LANES, len(kernel.dims) - 1
        if not self.outer or any(s.choices for s in kernel.stores):
            return 1, -1
        lane = self.outer - 1
        loads = [i for v in kernel.values if isinstance(v, Load) for i in indices_of(v)]
        contiguous = any(i.strides[lane] in (1, -1) for i in loads)
        if any(isinstance(v, ScanValue) for v in kernel.values) and not contiguous:
            return 1, -1
        sizes = [register_bytes(v.dtype) for v in kernel.values]
        widest = max((s for s, d in zip(sizes, self.dims, strict=True) if lane in d), default=8)
        width = max(1, vector_bytes // widest)
        costs = [v.primitive.cost for v in kernel.values if isinstance(v, Compute)]
        unroll = cost_model.UNROLL_SUMS if inner else 1
        if sum(costs) >= cost_model.UNROLL_COST:
            unroll = (
                cost_model.UNROLL_MATH
                if max(costs) >= cost_model.MATH_COST
                else cost_model.UNROLL_PLAIN
            )
        extent = guess(kernel.dims[lane])
        while unroll > 1 and extent < unroll * width:
            unroll //= 2
        width *= unroll
        self.registers = unroll
        while width > 8 and width >= 2 * extent:
            width //= 2
        return min(64, width), lane

    def _plan_spills(self) -> SpillPlan:
        """The values to spill between stages."""
        points = self._max_points()
        if self.lane_dim < self.outer:
            points *= self.width
        return plan_spills(self, points)

    def transposed_loads(self) -> tuple[list[int], int]:
        """The loads to transpose, and the dim along which their elements are contiguous."""
        if self.block_rows:
            return [], -1
        return transposed_loads(self.kernel, self.lane_dim, self.width, self.short)

    def transposed_rows(self) -> list[int]:
        """The loads of short reduced rows to transpose."""
        symbolic = any(isinstance(n, Dim) for n in self.kernel.inner_dims)
        if self.block_rows or self.width == 1 or (symbolic and not self.short):
            return []
        return transposed_rows(self.kernel, self.lane_dim, ROW_LANES)

    def _max_points(self) -> int:
        """The most points that the inner dims can have."""
        ends = [n.bounds()[1] if isinstance(n, Dim) else n for n in self.kernel.inner_dims]
        if self.short and ends:
            ends[-1] = min(ends[-1], ROW_LANES - 1)
        return prod(ends)

    def nest(self) -> LoopNest:
        """The loop nest."""
        kernel = self.kernel
        spills = self._plan_spills()
        lane_outer = 0 <= self.lane_dim < self.outer
        rows = [d for d in range(self.outer) if d != self.lane_dim]
        top: list[Statement] = []
        row: list[Statement] = []
        lane: list[Statement] = []
        for number, value in enumerate(kernel.values):
            if isinstance(value, (Reduction, ScanValue)) or self.is_inner(number):
                continue
            if self.available[number] > 0:
                continue
            dims = self.dims[number]
            level = top if not dims else row if self.lane_dim not in dims else lane
            level.append(Let(number))
        inside: list[Statement] = list(lane)
        placed: set[int] = set()
        for stage in range(self.stages):
            inside += self._stage_statements(stage, spills.first_stage, placed)
        placed_stores = {n for stage in range(self.stages) for n in self.stage_values(stage)[2]}
        inside += [StoreResult(n) for n in range(len(kernel.stores)) if n not in placed_stores]
        body: tuple[Statement, ...] = tuple(inside)
        loads, dim = self.transposed_loads()
        short_rows = self.transposed_rows() if lane_outer else []
        panels = lane_outer and not short_rows and self._pays_in_panels()
        panel = cost_model.PANEL if panels else 0
        if short_rows:
            body = (self._short_rows_loop(short_rows, body),)
        elif panel:
            body = (self._panel_loop(lane, inside, panel),)
        elif lane_outer and loads:
            rows.remove(dim)
            body, row = self._transposed_loops(loads, dim, row, body), []
        elif lane_outer:
            body = self._sink_loads(self._load_together(body))
            body = (Loop(self.lane_dim, kernel.dims[self.lane_dim], self.width, body),)
        body = (*row, *body)
        for row_dim in reversed(rows):
            body = (Loop(row_dim, kernel.dims[row_dim], 1, body),)
        points = self._max_points()
        return LoopNest(
            kernel,
            self.width,
            self.lane_dim,
            (*top, *body),
            tuple((n, spills.slot_of[n], points) for n in sorted(spills.slot_of)),
            panel,
        )

    def _stage_statements(
        self, stage: int, first_stage: dict[int, int], placed: set[int]
    ) -> list[Statement]:
        """The statements of one stage, between outer loops.

        placed: the outer values that earlier stages have computed
        """
        kernel = self.kernel
        needed, combined, stores = self.stage_values(stage)
        reloaded = {n for n in needed if n in first_stage and first_stage[n] < stage}
        again = {n for n in needed - reloaded if isinstance(kernel.values[n], ScanValue)}
        result: list[Statement] = [Start(n) for n in sorted(again.union(combined))]
        wanted = self.needed_with_reloads(reloaded, combined, stores)
        inner: list[Statement] = []
        for number in sorted((needed & wanted) | (set(combined) & needed)):
            value = kernel.values[number]
            if number in reloaded:
                inner.append(Reload(number))
                continue
            inner.append(Accumulate(number) if isinstance(value, ScanValue) else Let(number))
            if number in first_stage:
                inner.append(Spill(number))
        inner += [Accumulate(n) for n in combined if n not in needed]
        inner += [StoreResult(n) for n in stores]
        if kernel.inner and inner:
            loops: tuple[Statement, ...] = tuple(inner)
            for dim in range(len(kernel.dims) - 1, self.outer - 1, -1):
                width = self.width if dim == self.lane_dim else 1
                loops = (Loop(dim, kernel.dims[dim], width, loops),)
            result += loops
        else:
            result += inner
        result += [Finish(n) for n in combined if isinstance(kernel.values[n], Reduction)]
        for number in range(len(kernel.values)):
            value = kernel.values[number]
            ready = 0 < self.available[number] <= stage + 1 and number not in placed
            if ready and not self.is_inner(number) and not isinstance(value, Reduction):
                result.append(Let(number))
                placed.add(number)
        return result

    def _load_together(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """A loop's body with the loads of short rows made together."""
        if self.width == 1 or len(body) >= cost_model.LONG_BODY:
            return body  # long bodies are written one register at a time
        return load_together(self.kernel, body, self.lane_dim)

    def _sink_loads(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """A loop's body with each load just before its first use, if registers can't hold all.

        Code that LLVM doesn't optimize would otherwise put the loads on the stack
        (`np.convolve` by 16 coefficients: three times as slow). No load moves past a store.
        """
        values = self.kernel.values
        loads = {s.value for s in body if isinstance(s, Let) and type(values[s.value]) is Load}
        if len(loads) * self.registers <= cost_model.REGISTERS:
            return body
        result: list[Statement] = []
        waiting: dict[int, Statement] = {}
        for statement in body:
            if isinstance(statement, Let):
                if statement.value in loads:
                    waiting[statement.value] = statement
                    continue
                first = [a for a in arguments(values[statement.value]) if a in waiting]
            else:
                first = list(waiting)
            result += [waiting.pop(a) for a in dict.fromkeys(first)]
            result.append(statement)
        return (*result, *waiting.values())

    def _transposed_loops(
        self,
        loads: list[int],
        dim: int,
        row: list[Statement],
        body: tuple[Statement, ...],
    ) -> tuple[Statement, ...]:
        """Loops over panels of lanes, then over blocks of the contiguous dim, then over both
        within.
        """
        kernel, lane = self.kernel, self.lane_dim
        rows = tile_rows(kernel, loads, dim)
        tiles = tuple(TransposeTile(n, dim, rows, cost_model.STRIP, rows) for n in loads)
        across = Loop(lane, kernel.dims[lane], self.width, body, within=True)
        down = Loop(dim, kernel.dims[dim], 1, (*row, across), within=True)
        block = Loop(dim, kernel.dims[dim], rows, (*tiles, down), block=True)
        return (Loop(lane, kernel.dims[lane], cost_model.STRIP, (block,), panel=True),)

    def _short_rows_loop(self, loads: list[int], body: tuple[Statement, ...]) -> Loop:
        """The loop over strips of lanes: first their whole rows are copied, transposed."""
        kernel, lane, dim = self.kernel, self.lane_dim, len(self.kernel.dims) - 1
        most, strip = self._max_points(), cost_model.STRIP
        row_bytes = most * max(kernel.values[n].dtype.size for n in loads)
        while strip > self.width and strip * row_bytes > cost_model.STRIP_BYTES:
            strip //= 2
        tiles = tuple(TransposeTile(n, dim, kernel.dims[dim], strip, most) for n in loads)
        across = Loop(lane, kernel.dims[lane], self.width, body, within=True)
        return Loop(lane, kernel.dims[lane], strip, (*tiles, across), panel=True)

    def _pays_in_panels(self) -> bool:
        """Whether rows are combined element by element and are long enough for panels."""
        kernel = self.kernel
        if not kernel.inner or guess(self.kernel.dims[self.lane_dim]) < 4 * self.width:
            return False
        if any(isinstance(v, ScanValue) for v in kernel.values) or self.stages > 1:
            return False
        room = sum(
            cost_model.PANEL * max(1, v.dtype.size)
            for v in kernel.values
            if isinstance(v, Reduction)
        )
        if room > cost_model.SPILL_BYTES:
            return False
        return not any(self.is_per_point(s) for s in kernel.stores)

    def _panel_loop(self, lane: list[Statement], inside: list[Statement], panel: int) -> Loop:
        """The loop over panels: start, then rows outside and lanes inside, then finish."""
        kernel = self.kernel
        starts = [s for s in inside if isinstance(s, Start)]
        loops = [s for s in inside if isinstance(s, Loop)]
        rest = [s for s in inside if s not in starts and s not in loops and s not in lane]

        def across(body: Sequence[Statement]) -> Loop:
            extent = kernel.dims[self.lane_dim]
            return Loop(self.lane_dim, extent, self.width, tuple(body), within=True)

        def innermost(loop: Loop) -> Loop:
            if len(loop.body) == 1 and isinstance(loop.body[0], Loop):
                return replace(loop, body=(innermost(loop.body[0]),))
            return replace(loop, body=(across([*lane, *loop.body]),))

        body = (across(starts), *(innermost(loop) for loop in loops), across([*lane, *rest]))
        return Loop(self.lane_dim, kernel.dims[self.lane_dim], panel, body, panel=True)
