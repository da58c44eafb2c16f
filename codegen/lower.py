"""Kernel -> loop IR: the schedule. Which dim the vector lanes go along, what is computed at
which depth, what is kept between stages and what is computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from graphjit.core.config import config
from graphjit.core.dims import Dim, Undecided, guess, is_symbolic
from graphjit.core.frozen import dataclass
from graphjit.ir import cost_model
from graphjit.ir.program import (
    Compute,
    Constant,
    Kernel,
    Load,
    Reduction,
    ScanValue,
    Store,
    Value,
    arguments,
    indices_of,
    merge_outer,
)

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
from .tiles import lower_product, product_of
from .verify_nest import verify_nest

# Lanes of every reduction along contiguous rows, whatever the target and dtype: the order of
# combining, and so the bits of the result, is a function of the shape alone.
ROW_LANES = 32


def lower(kernel: Kernel, vector_bytes: int, part: int = 0, short: bool = False) -> LoopNest:
    """The loop nest of a kernel for vectors of this many bytes.

    part: the rows at a time of the row block that the kernel is in, if it is in one. short:
    where the length of reduced rows is symbolic, whether it is less than ROW_LANES, or no less;
    where that of lanes read across is, whether they are too few to be turned in squares.
    """
    product = product_of(kernel)
    in_row_block = part > 0  # whose rows stay apart from what is within them
    if product is not None:
        merged = merge_outer(kernel, last=in_row_block)
        nest = lower_product(merged, product, vector_bytes, part)
    else:
        merged = merge_outer(kernel, first=in_row_block)
        nest = Lowering(merged, vector_bytes, part, short).nest()
    if config.verify:
        verify_nest(nest)
    return nest


@dataclass(frozen=True, slots=True)
class TransposeCondition:
    """Loads that are turned in squares where no fewer than `rows` of `extent` elements lie in a
    row, and there are more lanes, so many bytes apart, than the first cache keeps.
    """

    extent: int
    rows: int
    lanes: int
    apart_bytes: int


def transpose_condition(kernel: Kernel, vector_bytes: int) -> TransposeCondition | None:
    """When a kernel's loads are turned in squares, where that depends on the sizes."""
    if product_of(kernel) is not None or kernel.inner or not is_symbolic(kernel.dims):
        return None
    kernel = merge_outer(kernel)
    lowering = Lowering(kernel, vector_bytes)
    turned = lowering.turned()
    extent, lanes = kernel.dims[lowering.turning_dim], kernel.dims[lowering.lane_dim]
    if not turned or not is_symbolic((extent, lanes)):
        return None
    value = kernel.values[turned[0]]
    assert isinstance(value, Load)
    apart = value.index.strides[lowering.lane_dim] * value.dtype.size
    return TransposeCondition(extent, lowering.square_rows(turned), lanes, apart)


def row_lengths(kernel: Kernel) -> tuple[bool, ...]:
    """The values of `short` for which a kernel with reduced rows has to be lowered."""
    rows = kernel.inner_dims[-1] if kernel.lanes == "inner" and kernel.inner else 0
    if not isinstance(rows, Dim):
        return (False,)
    low, high = rows.bounds()
    return (True,) * (low < ROW_LANES) + (False,) * (high >= ROW_LANES)


def rows_abreast(nest: LoopNest, vector_bytes: int) -> int:
    """How many rows are reduced side by side: additions of one row wait for each other, and the
    memory of several is fetched at once. 1 where that isn't so, or rows aren't simply reduced.
    """
    kernel, statements = nest.kernel, nest.body
    # nothing that may fail: of what does, the first is told
    plain = all(
        isinstance(v, (Load, Constant, Compute, Reduction)) and v.dtype.is_inexact
        for v in kernel.values
    )
    if not plain or nest.panel or nest.spilled or any(s.choices for s in kernel.stores):
        return 1
    if nest.width == 1 or nest.lane_dim < len(kernel.outer_dims):
        return 1
    row: Loop | None = None
    while not any(isinstance(s, Start) for s in statements):
        loops = [s for s in statements if isinstance(s, Loop)]
        if len(loops) != 1:
            return 1
        row, statements = loops[0], loops[0].body
    inner = [s for s in statements if isinstance(s, Loop)]
    if row is None or len(inner) != 1 or len(inner[0].body) > cost_model.ABREAST_BODY:
        return 1
    if not all(isinstance(s, (Let, Accumulate)) for s in inner[0].body):
        return 1
    costs = [v.primitive.cost for v in kernel.values if isinstance(v, Compute)]
    if max(costs, default=0) >= cost_model.MATH_COST:
        return 1
    sums = [kernel.values[s.value] for s in statements if isinstance(s, Start)]
    each = sum(-(-nest.width * register_bytes(v.dtype) // vector_bytes) for v in sums)
    room = (16 if vector_bytes == 64 else 8) // each
    extent = guess(row.extent) if isinstance(row.extent, Dim) else row.extent
    return max(n for n in (1, 2, cost_model.ABREAST) if n <= max(1, min(room, extent)))


def in_chunks(nest: LoopNest) -> tuple[LoopNest, Loop | Tiles | None]:
    """The nest with its outermost loop to be walked in chunks, and that loop.

    None where there is no such loop: chunks must not share an inner dim or a scattered store.
    """
    kernel = nest.kernel
    for place, statement in enumerate(nest.body):
        if isinstance(statement, Tiles):
            tiles = replace(statement, chunked=True)
            return replace(nest, body=(tiles,)), tiles
        if isinstance(statement, Loop):
            if statement.dim >= len(kernel.outer_dims) or any(s.choices for s in kernel.stores):
                return nest, None
            loop = replace(statement, chunked=True)
            body = (*nest.body[:place], loop, *nest.body[place + 1 :])
            return replace(nest, body=body), loop
    return nest, None


def expression_cost(kernel: Kernel, number: int, seen: set[int] | None = None) -> int:
    """Rough cycles to compute a value and what it is computed from, loads being free."""
    seen = set() if seen is None else seen
    total, todo = 0, [number]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        value = kernel.values[current]
        if isinstance(value, Compute):
            total += value.primitive.cost
        if not isinstance(value, (Reduction, ScanValue)):
            todo += arguments(value)
    return total


class Lowering:
    """Makes the loop nest of a kernel that has no product."""

    def __init__(
        self, kernel: Kernel, vector_bytes: int, part: int = 0, short: bool = False
    ) -> None:
        self.kernel = kernel
        self.part = part
        self.short = short
        self.outer = len(kernel.outer_dims)
        self.inner_dims = frozenset(range(self.outer, len(kernel.dims)))
        self.dims: list[frozenset[int]] = []
        for value in kernel.values:
            self.dims.append(self._depends(value))
        self.rooms: dict[int, int] = {}
        self.vectors = 1  # registers that one value of all lanes takes, roughly
        self.width, self.lane_dim = self._lanes(vector_bytes)
        self.turning_dim = -1
        self._by_stage: dict[int, tuple[set[int], list[int], list[int]]] = {}
        self.available = [0] * len(kernel.values)
        for number in range(len(kernel.values)):
            self.available[number] = self._available(number)
        self.stages = 1 + max(
            (
                self.available[v.arg]
                for v in kernel.values
                if isinstance(v, (Reduction, ScanValue))
            ),
            default=0,
        )
        for store in kernel.stores:
            if self._per_point(store):
                self.stages = max(self.stages, self.available[store.arg] + 1)

    def _lanes(self, vector_bytes: int) -> tuple[int, int]:
        """Vector lanes, and the dim they go along."""
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
        self.vectors = unroll
        while width > 8 and width >= 2 * extent:
            width //= 2
        return min(64, width), lane

    def _depends(self, value: Value) -> frozenset[int]:
        """The dims that a value depends on."""
        found = frozenset[int]().union(*[self.dims[arg] for arg in arguments(value)])
        if type(value) is Compute:
            return found
        for index in indices_of(value):
            found |= {k for k, s in enumerate(index.strides) if s}
        if isinstance(value, Reduction):
            return found - self.inner_dims
        if isinstance(value, ScanValue):
            return found | self.inner_dims
        return found

    def _inner(self, number: int) -> bool:
        """Whether a value is computed for each point of the inner dims."""
        return not self.inner_dims.isdisjoint(self.dims[number])

    def _available(self, number: int) -> int:
        """The first stage in which a value can be used."""
        value = self.kernel.values[number]
        first = max([self.available[a] for a in arguments(value)], default=0)
        return first + 1 if isinstance(value, Reduction) else first

    def _stage_values(self, stage: int) -> tuple[set[int], list[int], list[int]]:
        """The inner values a stage needs, its reductions and scans, its inner stores."""
        found = self._by_stage.get(stage)
        if found is None:
            found = self._by_stage[stage] = self._find_stage_values(stage)
        return found

    def _find_stage_values(self, stage: int) -> tuple[set[int], list[int], list[int]]:
        kernel = self.kernel
        combined = [
            n
            for n, v in enumerate(kernel.values)
            if (isinstance(v, Reduction) and self.available[v.arg] == stage)
            or (isinstance(v, ScanValue) and self.available[n] == stage)
        ]
        stores = [
            n
            for n, s in enumerate(kernel.stores)
            if self._per_point(s) and self.available[s.arg] == stage
        ]
        todo = [a for n in combined for a in arguments(kernel.values[n])]
        todo += [kernel.stores[n].arg for n in stores]
        todo += [c.arg for n in stores for c in kernel.stores[n].choices]
        needed: set[int] = set()
        while todo:
            number = todo.pop()
            if number in needed or not self._inner(number):
                continue
            needed.add(number)
            todo += arguments(kernel.values[number])
        return needed, combined, stores

    def _per_point(self, store: Store) -> bool:
        """Whether a store is carried out for each point of the inner dims."""
        return self._inner(store.arg) or any(s for s in store.index.strides[self.outer :])

    def _kept(self) -> dict[int, int]:
        """The values to keep between stages, with the first stage of each."""
        if self.stages == 1:
            return {}
        first: dict[int, int] = {}
        later: set[int] = set()
        for stage in range(self.stages):
            for number in sorted(self._stage_values(stage)[0]):
                if number in first:
                    later.add(number)
                else:
                    first[number] = stage
        points = self._most_points()
        if self.lane_dim < self.outer:
            points *= self.width
        sizes: dict[int, int] = {}
        for number in sorted(later):
            value = self.kernel.values[number]
            size = points * max(
                1, value.dtype.size if value.dtype.kind != "f" else register_bytes(value.dtype)
            )
            if (
                isinstance(value, ScanValue)
                and size > cost_model.KEEP_BYTES
                and is_symbolic(self.kernel.inner_dims)
            ):
                raise Undecided(f"the room for a scan along {self.kernel.inner_dims}")
            if isinstance(value, ScanValue) or (
                expression_cost(self.kernel, number) >= cost_model.KEEP_COST
                and size <= cost_model.KEEP_BYTES
            ):
                sizes[number] = size
        for share in (True, True, True, False):
            kept = {number: first[number] for number in sizes}
            self.rooms = self._in_rooms(sizes, kept, self._last_recalls(kept), share)
            if len(self.rooms) == len(sizes):
                break
            sizes = {number: size for number, size in sizes.items() if number in self.rooms}
        return {number: first[number] for number in self.rooms}

    def _last_recalls(self, kept: dict[int, int]) -> dict[int, int]:
        """The last stage in which each of the values that are kept is recalled, if it is."""
        last: dict[int, int] = {}
        for stage in range(self.stages):
            needed, combined, stores = self._stage_values(stage)
            recalled = {n for n in needed if n in kept and kept[n] < stage}
            if recalled:
                wanted = self._without_inputs_of(recalled, combined, stores)
                last.update(dict.fromkeys(recalled & wanted, stage))
        return last

    def _in_rooms(
        self, sizes: dict[int, int], first: dict[int, int], last: dict[int, int], share: bool
    ) -> dict[int, int]:
        """For the values that there is room to keep, whose room each of them takes: that of a
        value that isn't recalled any more, if they share, or is so for the last time just
        before it, point by point; else its own.
        """
        left = cost_model.KEEP_BYTES
        rooms: dict[int, int] = {}
        holders: dict[int, int] = {}  # of each room the value that was last to take it
        for number in sorted(sizes, key=lambda n: (first[n], n)):
            value = self.kernel.values[number]
            running = isinstance(value, ScanValue)
            if number not in last and not running:
                continue
            found = number
            for room, holder in holders.items() if share and not running else ():
                free = (last[holder], holder) < (first[number], number)
                if free and self.kernel.values[room].dtype is value.dtype:
                    found = room
                    break
            if found == number:
                if sizes[number] > left and not running:
                    continue
                left -= sizes[number]
            rooms[number] = found
            if not running:
                holders[found] = number
        return rooms

    def _most_points(self) -> int:
        """The most points that the inner dims have."""
        ends = [n.bounds()[1] if isinstance(n, Dim) else n for n in self.kernel.inner_dims]
        if self.short and ends:
            ends[-1] = min(ends[-1], ROW_LANES - 1)
        return prod(ends)

    def nest(self) -> LoopNest:
        """The loops."""
        kernel = self.kernel
        kept = self._kept()
        lane_outer = 0 <= self.lane_dim < self.outer
        rows = [d for d in range(self.outer) if d != self.lane_dim]
        top: list[Statement] = []
        row: list[Statement] = []
        lane: list[Statement] = []
        for number, value in enumerate(kernel.values):
            if isinstance(value, (Reduction, ScanValue)) or self._inner(number):
                continue
            if self.available[number] > 0:
                continue
            dims = self.dims[number]
            place = top if not dims else row if self.lane_dim not in dims else lane
            place.append(Let(number))
        inside: list[Statement] = list(lane)
        placed: set[int] = set()
        for stage in range(self.stages):
            inside += self._stage(stage, kept, placed)
        placed_stores = {
            n for stage in range(self.stages) for n in self._stage_values(stage)[2]
        }
        inside += [StoreResult(n) for n in range(len(kernel.stores)) if n not in placed_stores]
        body: tuple[Statement, ...] = tuple(inside)
        panel = cost_model.PANEL if lane_outer and self._in_panels() else 0
        if panel:
            body = (self._panel(lane, inside, panel),)
        elif lane_outer and self.turned():
            rows.remove(self.turning_dim)
            body, row = self._in_squares(row, body), []
        elif lane_outer:
            body = self._loads_late(body)
            body = (Loop(self.lane_dim, kernel.dims[self.lane_dim], self.width, body),)
        body = (*row, *body)
        for dim in reversed(rows):
            body = (Loop(dim, kernel.dims[dim], 1, body),)
        points = self._most_points()
        return LoopNest(
            kernel,
            self.width,
            self.lane_dim,
            (*top, *body),
            tuple((n, self.rooms[n], points) for n in sorted(kept)),
            panel,
        )

    def _loads_late(self, body: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """A loop's body with each load where it is first read, if there are more than the
        registers hold: code that LLVM doesn't optimise would put the others on the stack
        (`np.convolve` by 16 coefficients: three times as slow). No load passes a store.
        """
        values = self.kernel.values
        loads = {s.value for s in body if isinstance(s, Let) and type(values[s.value]) is Load}
        if len(loads) * self.vectors <= cost_model.REGISTERS:
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

    def turned(self) -> list[int]:
        """The loads to be read in squares: many lanes lie apart in memory, but along another
        dim elements lie in a row.
        """
        kernel, found = self.kernel, list[int]()
        if (
            self.part
            or kernel.inner
            or self.width == 1
            or any(s.choices for s in kernel.stores)
        ):
            return found
        for number, value in enumerate(kernel.values):
            if not isinstance(value, Load) or value.dtype.real.size not in (4, 8):
                continue
            strides = value.index.strides
            if value.dtype.kind == "c" or strides[self.lane_dim] in (0, 1, -1):
                continue
            for dim in range(self.outer):
                few = len(found) < cost_model.MAX_TURNED
                apart = strides[self.lane_dim] * value.dtype.size
                if (
                    few
                    and strides[dim] == 1
                    and self.turning_dim in (-1, dim)
                    and self._worth_turning(dim, apart)
                ):
                    self.turning_dim = dim
                    found.append(number)
        return found

    def _worth_turning(self, dim: int, apart_bytes: int) -> bool:
        extent, lanes = self.kernel.dims[dim], self.kernel.dims[self.lane_dim]
        if not isinstance(extent, Dim) and extent < cost_model.SQUARE_BYTES // 4:
            return False  # there is no whole square
        if is_symbolic((extent, lanes)):
            return not self.short
        return lanes > cost_model.near_lanes(apart_bytes)

    def square_rows(self, turned: list[int]) -> int:
        """How many elements along memory are turned at a time."""
        kernel = self.kernel
        side = max(cost_model.SQUARE_BYTES // kernel.values[n].dtype.size for n in turned)
        extent = kernel.dims[self.turning_dim]
        most = (
            cost_model.SQUARES
            if isinstance(extent, Dim)
            else min(cost_model.SQUARES, extent // side)
        )
        return side * most

    def _in_squares(
        self, row: list[Statement], body: tuple[Statement, ...]
    ) -> tuple[Statement, ...]:
        """The loops over panels of lanes, then over blocks of the dim that squares are turned
        along, then over both again.
        """
        kernel, dim, lane = self.kernel, self.turning_dim, self.lane_dim
        turned = self.turned()
        rows = self.square_rows(turned)
        turns = tuple(TransposeTile(n, dim, rows, cost_model.STRIP) for n in turned)
        across = Loop(lane, kernel.dims[lane], self.width, body, within=True)
        down = Loop(dim, kernel.dims[dim], 1, (*row, across), within=True)
        block = Loop(dim, kernel.dims[dim], rows, (*turns, down), block=True)
        return (Loop(lane, kernel.dims[lane], cost_model.STRIP, (block,), panel=True),)

    def _in_panels(self) -> bool:
        """Whether rows are combined element by element, and are long enough for panels."""
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
        if room > cost_model.KEEP_BYTES:
            return False
        return not any(self._per_point(s) for s in kernel.stores)

    def _panel(self, lane: list[Statement], inside: list[Statement], panel: int) -> Loop:
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

    def _stage(self, stage: int, kept: dict[int, int], placed: set[int]) -> list[Statement]:
        kernel = self.kernel
        needed, combined, stores = self._stage_values(stage)
        recalled = {n for n in needed if n in kept and kept[n] < stage}
        again = {n for n in needed - recalled if isinstance(kernel.values[n], ScanValue)}
        result: list[Statement] = [Start(n) for n in sorted(again.union(combined))]
        wanted = self._without_inputs_of(recalled, combined, stores)
        inner: list[Statement] = []
        for number in sorted((needed & wanted) | (set(combined) & needed)):
            value = kernel.values[number]
            if number in recalled:
                inner.append(Reload(number))
                continue
            inner.append(Accumulate(number) if isinstance(value, ScanValue) else Let(number))
            if number in kept:
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
            if ready and not self._inner(number) and not isinstance(value, Reduction):
                result.append(Let(number))
                placed.add(number)
        return result

    def _without_inputs_of(
        self, recalled: set[int], combined: list[int], stores: list[int]
    ) -> set[int]:
        """What a stage must have when recalled values need not be computed."""
        kernel = self.kernel
        todo = [a for n in combined for a in arguments(kernel.values[n])]
        todo += [n for n in combined if isinstance(kernel.values[n], ScanValue)]
        todo += [kernel.stores[n].arg for n in stores]
        todo += [c.arg for n in stores for c in kernel.stores[n].choices]
        found: set[int] = set()
        while todo:
            number = todo.pop()
            if number in found:
                continue
            found.add(number)
            if number not in recalled:
                todo += arguments(kernel.values[number])
        return found
