"""A scheduled kernel -> LLVM IR for one thread of a grid.

A kernel becomes `void @name(buffers…, status, sizes…)`. What a point computes is written by the
emitter that serves the CPU too, one element at a time; here is who has which point, how a warp
combines what its lanes hold, and what becomes of checks that fail.

A check that fails lowers the first word of `status` to step · 2^50 + point · 2^10 + value, if
that is less: so the first one in order wins, whoever comes first. A thread that finds its own
number there writes the details behind it; a second launch with the status left as it is makes
sure of that. Nothing is read or written at a place that isn't there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphjit.codegen.access import parts_of
from graphjit.codegen.builder import Builder, MathRule, Value
from graphjit.codegen.compiled import Check
from graphjit.codegen.emit import KernelEmitter
from graphjit.codegen.loops import Let, Loop, LoopNest, Put, Statement
from graphjit.codegen.sizes import SizeEmitter
from graphjit.dims import Dim
from graphjit.errors import UnsupportedError, at_user_line
from graphjit.ops.primitive import Reduce
from graphjit.program import GatherLoad, Index, Load, Product

from .device import LANES, DeviceBuilder, DeviceModule, Unwritable
from .product import ProductEmitter
from .schedule import THREADS, Schedule, Walk
from .wide import lies_in_vectors, load_several, store_several

POINT_SHIFT, STEP_SHIFT = 10, 50
ALIGNMENT = 16  # of every buffer's first element [bytes]


class _Arguments(SizeEmitter):
    """Extents computed from the symbols, which are arguments of the kernel."""

    def _load(self, name: str) -> str:
        return "%" + argument_of(name)


def argument_of(symbol: str) -> str:
    """The kernel argument that brings a symbol's size."""
    return f"size.{symbol}"


class ThreadEmitter(KernelEmitter):
    """Writes one kernel for a GPU. step: its place in the program."""

    pointer = "ptr addrspace(1)"

    def __init__(
        self,
        module: DeviceModule,
        plan: Schedule,
        step: int,
        shared: frozenset[int],
        symbols: Sequence[str],
    ) -> None:
        nests = [walk.nest for walk in plan.walks] or [LoopNest(plan.kernel, 1, -1, ())]
        super().__init__(module, nests[0], [], shared=shared, symbols=symbols)
        assert isinstance(self.b, DeviceBuilder)
        self.device = self.b
        self.plan = plan
        self.kernel = plan.kernel
        self.step = step
        self.size = _Arguments(symbols, self.entry)
        self.b.size = self.size
        self.numbered: dict[int, Check] = {}
        self.place = 0  # of the value or store at hand
        self.wrong: Value | None = None
        self.failed = ""
        self.walk: Walk | None = None
        self.lane = ""
        self.in_lanes = False
        self.product: Value | None = None  # the element at hand of a matrix product
        self.copies: list[tuple[dict[int, str], dict[int, Value]]] = []

    @staticmethod
    def builder(module: Any, nest: LoopNest, math: dict[str, MathRule], flags: str) -> Builder:
        """What writes the arithmetic of one thread."""
        return DeviceBuilder(module, 1, math)

    def emit(self) -> str:
        """The function's text."""
        try:
            if self.plan.tiling is not None:
                ProductEmitter(self, self.plan.tiling).emit()
            elif len(self.plan.walks) == 2:
                self._either(*self.plan.walks)
            else:
                self._walk(self.plan.walks[0])
        except Unwritable as error:
            op, source = self.current
            message = f"no code for {op} on a GPU: {error} [Op:{op}]"
            raise UnsupportedError(at_user_line(message, source=source)) from None
        stored = {s.buffer for s in self.kernel.stores}
        listed = []
        for buffer in self.buffers:
            facts = "noalias " * (buffer not in self.shared)
            facts += "readonly " * (buffer not in stored)
            listed.append(f"ptr addrspace(1) {facts}%b{buffer}")
        if self.numbered:
            listed.append("ptr addrspace(1) %status")
        listed += [f"i64 %{argument_of(name)}" for name in self.symbols]
        threads = self.plan.launch.threads if self.plan.tiling is not None else THREADS
        bound = "reqntid" if self.plan.tiling is not None else "maxntid"
        # of one block a multiprocessor: ptxas would rather spill than have fewer blocks there
        bounds = f'"nvvm.{bound}"="{threads}" "nvvm.minctasm"="1"'
        head = f"define ptx_kernel void @{self.kernel.name}({', '.join(listed)})"
        lines = [f"{head} nounwind {bounds} {{", "entry:"]
        return "\n".join([*lines, *self.entry, *self.b.lines, "  ret void", "}"])

    # -- who has which point

    def _either(self, short: Walk, long: Walk) -> None:
        """One walk for rows shorter than a warp, one for others: a branch that all take."""
        extent = self.size(self.kernel.inner_dims[-1])
        few, many, after = self.label(), self.label(), self.label()
        flag = self.b.emit(f"icmp ult i64 {extent}, {LANES}")
        self.line(f"br i1 {flag}, label %{few}, label %{many}")
        for name, walk in ((few, short), (many, long)):
            self.b.lines.append(f"{name}:")
            self._walk(walk)
            self.line(f"br label %{after}")
        self.b.lines.append(f"{after}:")

    def threads(self) -> tuple[str, str]:
        """The thread's number in the grid, and how many there are."""
        b = self.device
        each = b.thread("ntid.x")
        first = b.emit(f"mul nuw nsw i64 {b.thread('ctaid.x')}, {each}")
        number = b.emit(f"add nuw nsw i64 {first}, {b.thread('tid.x')}")
        return number, b.emit(f"mul nuw nsw i64 {b.thread('nctaid.x')}, {each}")

    def _walk(self, walk: Walk) -> None:
        """All of this thread's points."""
        b = self.b
        self.walk, self.nest = walk, walk.nest
        self.values, self.counters, self.accumulators = {}, {}, {}
        first, stride = self.threads()
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
                self._several(walk)
            else:
                self.run(walk.nest.body)
        last = self.kernel.dims[-1] if walk.vector > 1 else 0
        if walk.vector > 1 and (isinstance(last, Dim) or last % walk.vector):
            self._left_over(walk, first, last)

    def _set_counters(self, walk: Walk, number: str, dims: Sequence[int]) -> None:
        """The counters of the parallel dims, from a point's number."""
        for dim, digit in zip(walk.parallel, self.digits(number, dims), strict=True):
            self.counters[dim] = digit

    def digits(self, number: str, dims: Sequence[int]) -> list[str]:
        """A number's digits, the last dim's the fastest: in 32 bits where it has no more."""
        b, found = self.b, list[str]()
        total: Any = 1
        for n in dims:
            total = total * n
        narrow = len(dims) > 1 and not isinstance(total, Dim) and total < 2**31
        kind = "i32" if narrow else "i64"
        rest = b.emit(f"trunc i64 {number} to i32") if narrow else number
        for place in range(len(dims) - 1, -1, -1):
            digit = rest
            if place:
                base = self.size(dims[place])
                digit = b.emit(f"urem {kind} {rest}, {base}")
                rest = b.emit(f"udiv {kind} {rest}, {base}")
            found.append(b.emit(f"zext i32 {digit} to i64") if narrow else digit)
        return found[::-1]

    def _several(self, walk: Walk) -> None:
        """Neighbours along the last dim, each statement for all of them before the next."""
        b, last = self.b, walk.parallel[-1]
        first = b.emit(f"mul nuw nsw i64 {self.counters[last]}, {walk.vector}")
        for place in range(walk.vector):
            at = b.emit(f"add nuw nsw i64 {first}, {place}") if place else first
            self.copies.append(({**self.counters, last: at}, {}))
        self.run(walk.nest.body)
        self.copies = []

    def _left_over(self, walk: Walk, thread: str, extent: int) -> None:
        """What is left over of whole groups, one for each of the first threads."""
        b = self.b
        whole = extent // walk.vector * walk.vector
        rest = self.size(extent - whole)
        some, after = self.label(), self.label()
        flag = b.emit(f"icmp ult i64 {thread}, {rest}")
        self.line(f"br i1 {flag}, label %{some}, label %{after}")
        b.lines.append(f"{some}:")
        self.counters[walk.parallel[-1]] = b.emit(f"add i64 {thread}, {self.size(whole)}")
        self.values = {}
        self.run(walk.nest.body)
        self.line(f"br label %{after}")
        b.lines.append(f"{after}:")

    def run(self, body: Sequence[Statement]) -> None:
        """Write statements in order; loops over what is shared out are no loops here."""
        for statement in body:
            match statement:
                case Loop(dim=dim) if self.walk is not None and dim in self.walk.parallel:
                    self.run(statement.body)
                case Let(value=number) if self._loaded_wide(number):
                    pass
                case Put(store=number) if self._stored_wide(number):
                    pass
                case Let() | Put() if self.copies:
                    for copy in self.copies:
                        self.counters, self.values = copy
                        super().run((statement,))
                case _:
                    super().run((statement,))

    def _loaded_wide(self, number: int) -> bool:
        """Whether a value is one that all copies load by vectors, which is then done."""
        value = self.kernel.values[number]
        if not isinstance(value, Load) or not self._in_vectors(value.index):
            return False
        offsets = self._offsets(value.index, parts_of(value.dtype))
        found = load_several(self, f"%b{value.buffer}", value.dtype, offsets)
        for (_, values), element in zip(self.copies, found, strict=True):
            values[number] = element
        return True

    def _stored_wide(self, number: int) -> bool:
        """Whether a store is one of all copies by vectors, which is then done."""
        store = self.kernel.stores[number]
        if (self.failed and self.shared) or store.choices or not self._in_vectors(store.index):
            return False
        several = [values[store.arg] for _, values in self.copies]
        offsets = self._offsets(store.index, parts_of(several[0].dtype))
        store_several(self, f"%b{store.buffer}", several, offsets)
        return True

    def _in_vectors(self, index: Index) -> bool:
        last = len(self.kernel.dims) - 1
        return bool(self.copies) and lies_in_vectors(index, last, len(self.copies))

    def _offsets(self, index: Index, scale: int) -> list[str]:
        """The place of each copy's element, in numbers."""
        found = []
        for copy in self.copies:
            self.counters, self.values = copy
            found.append(self._offset(index, scale)[0])
        return found

    def _loop(self, loop: Loop) -> None:
        lanes = loop.dim == self.nest.lane_dim and loop.width == LANES
        start, step = (self.lane, LANES) if lanes else ("0", 1)
        self.in_lanes = lanes
        with self.counting(start, self.size(loop.extent), step) as now:
            self.counters[loop.dim] = now
            self.run(loop.body)
        del self.counters[loop.dim]
        self.in_lanes = False

    def _from_tile(self, value: Product) -> Value:
        assert self.product is not None
        return self.product

    # -- what a warp does together

    def _across_lanes(self, kind: Reduce, totals: tuple[Value, ...]) -> tuple[Value, ...]:
        """Lanes combined by halves, as vectors are; then all have the first lane's result."""
        b, distance = self.device, LANES // 2
        while distance:
            others = tuple(b.from_lane(t, "down", distance) for t in totals)
            totals = kind.combine(b, totals, others)
            distance //= 2
        return tuple(b.from_lane(t, "idx", 0) for t in totals)

    # -- what may fail

    def _compute(self, number: int) -> Value:
        self.place = number
        value = self.kernel.values[number]
        if isinstance(value, GatherLoad) and any(
            _may_be_empty(c.extent) for c in value.choices
        ):
            return self._gathered(value)
        return super()._compute(number)

    def _gathered(self, value: GatherLoad) -> Value:
        """An element of what may have none: 0 where the check failed."""
        b, parts = self.b, parts_of(value.dtype)
        self.current = ("GatherV2", value.source)
        offset, step = self._offset(value.index, parts)
        place = self._chosen(offset, step, value.choices, parts)
        assert self.wrong is not None
        before, inside, after = self.label(), self.label(), self.label()
        self.line(f"br label %{before}")
        b.lines.append(f"{before}:")
        self.line(f"br i1 {self.wrong.ir}, label %{after}, label %{inside}")
        b.lines.append(f"{inside}:")
        found = self._load_at(f"%b{value.buffer}", value.dtype, place)
        last = self.label()
        self.line(f"br label %{last}")
        b.lines += [f"{last}:", f"  br label %{after}", f"{after}:"]
        zero = b.const(0, value.dtype)
        kind = b.type(value.dtype, True)
        texts = [
            b.emit(f"phi {kind} [ {none}, %{before} ], [ {text}, %{last} ]")
            for text, none in ((found.ir, zero.ir), (found.imag, zero.imag))
            if text is not None
        ]
        return Value(value.dtype, texts[0], True, texts[1] if len(texts) > 1 else None)

    def _fail(self, condition: Value, reason: str, details: tuple[Value, ...]) -> None:
        """Note a failure, and go on with what is safe."""
        b, checked = self.b, condition
        op, source = self.current
        self.wrong = checked
        self.numbered[self.place] = Check(reason, op, source)
        if not self.failed:
            self.failed = b.fresh()
            self.entry += [
                f"  {self.failed} = alloca i1",
                f"  store i1 false, ptr {self.failed}",
            ]
        bad, first, good = self.label(), self.label(), self.label()
        self.line(f"br i1 {checked.ir}, label %{bad}, label %{good}")
        b.lines.append(f"{bad}:")
        self.line(f"store i1 true, ptr {self.failed}")
        point = b.emit(f"shl i64 {self._number_of_point()}, {POINT_SHIFT}")
        key = b.emit(f"or i64 {point}, {(self.step << STEP_SHIFT) + self.place}")
        least = f"atomicrmw umin ptr addrspace(1) %status, i64 {key}"
        old = b.emit(f'{least} syncscope("device") monotonic, align 8')
        same = b.emit(f"icmp eq i64 {old}, {key}")
        self.line(f"br i1 {same}, label %{first}, label %{good}")
        b.lines.append(f"{first}:")
        for number, detail in enumerate(details):
            at = b.emit(
                f"getelementptr inbounds i64, ptr addrspace(1) %status, i64 {number + 1}"
            )
            self.line(f"store i64 {detail.ir}, ptr addrspace(1) {at}, align 8")
        self.line(f"br label %{good}")
        b.lines.append(f"{good}:")

    def _number_of_point(self) -> str:
        """The number of the point at hand in the order in which a CPU would come to it."""
        strides, step = [0] * len(self.kernel.dims), 1
        for dim in range(len(self.kernel.dims) - 1, -1, -1):
            strides[dim] = step
            step = step * self.kernel.dims[dim]
        return self._offset(Index(0, tuple(strides)))[0]

    def _put(self, number: int) -> None:
        self.place = len(self.kernel.values) + number
        if self.kernel.stores[number].choices:  # which has its own check
            super()._put(number)
            return
        self.guarded(lambda: KernelEmitter._put(self, number))

    def _scatter(self, number: int, offset: str, step: int, value: Value) -> None:
        store = self.kernel.stores[number]
        assert store.primitive is not None
        self.current = (store.primitive.tensorflow, store.source)
        place = self._chosen(offset, step, store.choices, parts_of(value.dtype))
        self.guarded(lambda: self._combine(number, place, value), scattered=True)

    def guarded(self, write: Callable[[], None], scattered: bool = False) -> None:
        """What is written: by one lane what a warp has together; not after a failure where that
        could be what a second launch reads, or is no place.
        """
        b, conditions = self.b, list[str]()
        alone = self.walk is not None and self.walk.team == LANES and not self.in_lanes
        if alone:
            if self.shared:  # the place may be one that other lanes still read
                self.device.warp_barrier()
            conditions.append(b.emit(f"icmp eq i64 {self.lane}, 0"))
        if self.failed and (self.shared or scattered):
            failed = b.emit(f"load i1, ptr {self.failed}")
            conditions.append(b.emit(f"xor i1 {failed}, true"))
        if not conditions:
            write()
            return
        flag = conditions[0]
        for other in conditions[1:]:
            flag = b.emit(f"and i1 {flag}, {other}")
        inside, after = self.label(), self.label()
        self.line(f"br i1 {flag}, label %{inside}, label %{after}")
        b.lines.append(f"{inside}:")
        write()
        self.line(f"br label %{after}")
        b.lines.append(f"{after}:")


def _may_be_empty(extent: int) -> bool:
    return extent.bounds()[0] < 1 if isinstance(extent, Dim) else extent < 1


__all__ = ["ALIGNMENT", "POINT_SHIFT", "STEP_SHIFT", "ThreadEmitter"]
