"""One kernel's function while it is written: its lines, its values, the state of its loops.

The parts of the kernel emitter (emit.py) that write loops, accumulators, spills and stores
derive from `KernelContext` and share its state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from graphjit.core.errors import SourceLine
from graphjit.core.types import DType, bool_
from graphjit.ir.program import GatherLoad, Index, Load

from .access import ElementAccess
from .builder import Builder
from .instructions import MathRule
from .loops import Loop, LoopNest, Statement, Tiles, TransposeTile, register_bytes
from .math import MATH
from .math.fast import FAST_FLAGS, FAST_MATH
from .module import Module
from .runtime.compiled import Check
from .sizes import SizeEmitter
from .values import Value, ir_type


@dataclass
class Row:
    """One of several rows that are reduced side by side.

    dim: the dim whose iterations are the rows
    counter: the row's index along that dim
    values, zeros, accumulators: the row's own, as in `KernelContext`
    """

    dim: int
    counter: str
    values: dict[int, Value]
    zeros: set[int]
    accumulators: dict[int, list[str]]


class KernelContext(ElementAccess):
    """The state that the parts of the kernel emitter share.

    streaming: buffers to store past the cache, since nothing reads them from it again. For
        each: how many elements after the start of a cache line it begins, or -1 if unknown.
    shared: buffers that overlap another buffer of the kernel
    fast_math: whether to use the functions and flags of `math.fast`
    symbols: names of the symbolic sizes that the parameter `%sizes` has; None for no parameter
    lanes: lanes of one register, where the nest is written one register at a time
        (register_blocking.py); 0 for all lanes of the nest
    abreast: how many rows are reduced side by side
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
            self.b.table, self.b.registers = {}, nest.width // lanes
        self.streaming = streaming
        self.shared = shared
        self.nest = nest
        self.kernel = nest.kernel
        self.checks = checks
        self.b.fail = self.emit_failure
        self.entry: list[str] = []  # lines of the entry block: allocas and sizes
        self.sized = symbols is not None
        self.symbols = tuple(symbols or ())
        self.size = SizeEmitter(self.symbols, self.entry)
        self.b.size = self.size
        self.values: dict[int, Value] = {}
        self.zeros: set[int] = set()  # values that are 0 in masked-off lanes
        self.counters: dict[int, str] = {}  # dim -> its loop's counter
        self.bounds: dict[int, tuple[str, str]] = {}  # dim -> [start, stop) in a panel or tile
        self.accumulators: dict[int, list[str]] = {}
        self.spill_slots: dict[int, str] = {}
        self.current_op: tuple[str, SourceLine | None] = ("", None)  # named if a check fails
        self.tile = ""  # the array of a product's tile
        self.transposed: dict[int, tuple[str, TransposeTile]] = {}  # load -> its copy
        self.peeled_store = -1  # the store whose vectors are whole cache lines now
        self.hoisted_tail: tuple[Loop, Value, dict[int, Value]] | None = None
        self.hoisted: dict[int, Value] = {}  # values loaded before the loop
        self.rows_abreast = 1 if self.in_register_blocks else abreast
        self.active_rows: list[Row] = []  # while several rows are reduced side by side
        self._label = 0

    @staticmethod
    def builder(module: Module, lanes: int, math: dict[str, MathRule], flags: str) -> Builder:
        """The builder of arithmetic on vectors of this many lanes."""
        return Builder(module, lanes, math, flags)

    @property
    def chunked(self) -> bool:
        """Whether the caller says which part of the outermost loop to run."""
        return any(isinstance(s, (Loop, Tiles)) and s.chunked for s in self.nest.body)

    @property
    def buffers(self) -> list[int]:
        """The buffers in the order of the function's parameters."""
        stored = {s.buffer for s in self.kernel.stores}
        loaded = {v.buffer for v in self.kernel.values if isinstance(v, (Load, GatherLoad))}
        return sorted(stored | loaded)

    def buffer_parameters(self) -> list[str]:
        """The function's parameters for its buffers, with what LLVM may assume of them."""
        stored = {s.buffer for s in self.kernel.stores}
        parameters = []
        for buffer in self.buffers:
            facts = "noalias " * (buffer not in self.shared)
            facts += "readonly " * (buffer not in stored)
            parameters.append(f"{self.pointer} {facts}%b{buffer}")
        return parameters

    def run(self, body: Sequence[Statement]) -> None:
        """Write statements in order."""
        raise NotImplementedError

    def compute(self, number: int) -> Value:
        """Write the code of one value."""
        raise NotImplementedError

    def emit_failure(self, condition: Value, reason: str, details: tuple[Value, ...]) -> None:
        """Write what happens where a check fails in some lane."""
        raise NotImplementedError

    def label(self) -> str:
        """A fresh label."""
        self._label += 1
        return f"L{self._label}"

    def lanes_along_row(self) -> bool:
        """Whether lanes hold different elements of one reduced row."""
        return self.nest.lane_dim >= len(self.kernel.outer_dims)

    @contextmanager
    def counting(
        self, start: str, stop: str, step: int | str | Callable[[], str]
    ) -> Iterator[str]:
        """A loop over range(start, stop, step). Code written inside is its body, which may say
        the step.
        """
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
        following = b.emit(f"add nuw nsw i64 {now}, {step() if callable(step) else step}")
        self.line(f"store i64 {following}, ptr {counter}")
        self.line(f"br label %{head}{self.loop_end}")
        b.lines.append(f"{done}:")

    def first_lanes(self, count: str, first: int = 0) -> Value:
        """A mask of lane k where first + k < count.

        The comparison is in integers as wide as the values, so that its result is their mask.
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

    def element_offset(self, index: Index, scale: int = 1) -> tuple[str, int]:
        """The offset of lane 0, and the distance to the next lane, both in elements times
        `scale`.
        """
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


def slot_type(dtype: DType) -> str:
    """LLVM's type of one element of an accumulator or spilled value in memory."""
    return "i8" if dtype.kind == "b" else ir_type(dtype)


def slot_alignment(dtype: DType) -> int:
    """The least alignment of an accumulator's element [bytes]."""
    return 1 if dtype.kind == "b" else 4 if ir_type(dtype) == "float" else dtype.real.size
