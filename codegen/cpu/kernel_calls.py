"""Calls of kernels: their operands, the functions that run chunks and row blocks, the team.

A segment's entry (segment_entry.py) makes these calls one after another.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphjit.codegen.runtime.runtime_symbols import TEAM_RUN
from graphjit.codegen.sizes import SizeEmitter
from graphjit.core.dims import Dim
from graphjit.core.frozen import dataclass
from graphjit.ir.program import Program, RowBlock


@dataclass(frozen=True, slots=True)
class KernelInvocation:
    """A call of a kernel's function.

    symbol: the function
    buffers: the buffers that it takes
    checked: whether it can fail
    chunks: for a kernel that the team runs, the extent of its outermost loop and of a chunk
    step: which of the program's steps it is, or the first of a row block
    sized: whether it takes sizes
    starts: where the kernel's elements of each buffer begin [bytes]; none for 0 everywhere
    sizes: the sizes that it takes
    regions: whether it is a function that runs regions
    """

    symbol: str
    buffers: Sequence[int]
    checked: bool
    chunks: tuple[int | str, int | str] | None = None
    step: int = 0
    sized: bool = False
    starts: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    regions: bool = False

    @property
    def polls(self) -> bool:
        """Whether it takes long enough to ask for signals."""
        return self.chunks is not None or self.sized or self.regions


class Operands:
    """The pointers that kernels are called with: buffers from a kernel's first element on, and
    sizes.

    Appends the instructions that compute them to `lines`.
    """

    def __init__(self, size: SizeEmitter, lines: list[str]) -> None:
        self.size = size
        self.lines = lines
        self._known: dict[tuple[int, int], str] = {}
        self._sizes: dict[tuple[int, ...], str] = {}

    def pointers(self, call: KernelInvocation) -> list[str]:
        """The pointer to each of a call's buffers."""
        starts = call.starts or (0,) * len(call.buffers)
        return [self._pointer(b, n) for b, n in zip(call.buffers, starts, strict=True)]

    def _pointer(self, buffer: int, start: int) -> str:
        if not isinstance(start, Dim) and start == 0:
            return f"%b{buffer}"
        known = self._known.get((buffer, start))
        if known is None:
            position = self.size(start)
            known = self._known[buffer, start] = f"%b{buffer}.{len(self._known)}"
            self.lines.append(f"  {known} = getelementptr i8, ptr %b{buffer}, i64 {position}")
        return known

    def sizes(self, call: KernelInvocation) -> str:
        """The pointer to the sizes that a call takes."""
        known = self._sizes.get(call.sizes)
        if known is None:
            known = self._sizes[call.sizes] = f"%sizes{len(self._sizes)}"
            words = f"[{len(call.sizes)} x i64]"
            self.lines.append(f"  {known} = alloca {words}, align 8")
            for position, n in enumerate(call.sizes):
                value = self.size(n)
                self.lines += [
                    f"  {known}.{position} = getelementptr i64, ptr {known}, i64 {position}",
                    f"  store i64 {value}, ptr {known}.{position}, align 8",
                ]
        return known


def write_calls(
    lines: list[str],
    calls: Sequence[KernelInvocation],
    operands: Operands,
    poll: str,
    polled: bool,
    timed: bool = False,
) -> str:
    """Append the calls, one after another, the blocks `step0` to `step{n}`, whose last one goes
    to `done`. Gives the operands of the phi of the status there.

    poll: the operand by which long calls ask for signals, if `polled`
    timed: whether to leave in @cycles what each step took
    """
    arrivals = []
    for number, call in enumerate(calls):
        lines.append(f"step{number}:")
        pointers = operands.pointers(call)
        if timed:
            lines.append(f"  %before{number} = call i64 @llvm.readcyclecounter()")
        record = "ptr %record" if call.checked else "ptr null"
        asked = poll if polled else "ptr null"
        listed = ", ".join([*(f"ptr {pointer}" for pointer in pointers), record])
        if call.regions:
            sizes = "ptr %sizes" if operands.size.symbols else "ptr null"
            listed += f", {sizes}, {asked}"
            lines.append(f"  %status{number} = call i64 @{call.symbol}({listed})")
        elif call.sized:
            listed += f", ptr {operands.sizes(call)}, {asked}"
            lines.append(f"  %status{number} = call i64 @{call.symbol}({listed})")
        elif call.chunks is not None:
            lines += team_call(call, number, f"{record}, {asked}", pointers)
        else:
            lines.append(f"  %status{number} = call i64 @{call.symbol}({listed})")
        if timed:
            lines += [
                f"  %after{number} = call i64 @llvm.readcyclecounter()",
                f"  %took{number} = sub i64 %after{number}, %before{number}",
                f"  %cycles{number} = getelementptr i64, ptr @cycles, i64 {call.step}",
                f"  store i64 %took{number}, ptr %cycles{number}",
            ]
        if call.checked or (polled and call.polls):
            lines.append(f"  %bad{number} = icmp ne i64 %status{number}, 0")
            lines.append(f"  br i1 %bad{number}, label %done, label %step{number + 1}")
            arrivals.append(f"[ %status{number}, %step{number} ]")
        else:
            lines.append(f"  br label %step{number + 1}")
    last = len(calls)
    lines += [f"step{last}:", "  br label %done"]
    arrivals.append(f"[ 0, %step{last} ]")
    return ", ".join(arrivals)


def write_chunk(call: KernelInvocation) -> str:
    """The function that the team calls for one chunk of a kernel."""
    lines = [
        f"define internal i64 @{call.symbol}.chunk(ptr %context, i64 %begin, i64 %end, "
        "ptr %record) nounwind {"
    ]
    for number in range(len(call.buffers)):
        lines.append(f"  %at{number} = getelementptr ptr, ptr %context, i64 {number}")
        lines.append(f"  %b{number} = load ptr, ptr %at{number}")
    listed = ", ".join(f"ptr %b{number}" for number in range(len(call.buffers)))
    sizes = ""
    if call.sized:
        lines.append(f"  %at = getelementptr ptr, ptr %context, i64 {len(call.buffers)}")
        lines.append("  %sizes = load ptr, ptr %at")
        sizes = ", ptr %sizes"
    lines.append(
        f"  %status = call i64 @{call.symbol}({listed}, ptr %record{sizes}, i64 %begin, "
        "i64 %end)"
    )
    return "\n".join([*lines, "  ret i64 %status", "}"])


def write_row_block(
    program: Program,
    block: RowBlock,
    symbol: str,
    calls: list[KernelInvocation],
    ranges: list[int],
) -> tuple[KernelInvocation, str]:
    """The function that the team calls for some parts of a row block, and its call.

    ranges: for each kernel, how many iterations of its outermost loop a part has
    """
    own = {number for call in calls for number in call.buffers}
    local = [n for n in sorted(own) if program.buffers[n].role == "local"]
    order = [n for n in sorted(own) if program.buffers[n].role != "local"]
    parts = block.rows // block.part
    checked = any(call.checked for call in calls)
    lines = [
        f"define internal i64 @{symbol}.chunk(ptr %context, i64 %begin, i64 %end, "
        "ptr %record) nounwind {",
        "entry:",
        f"  %room = alloca [{max(1, block.bytes)} x i8], align 64",
    ]
    for slot, number in enumerate(order):
        lines.append(f"  %at{number} = getelementptr ptr, ptr %context, i64 {slot}")
        lines.append(f"  %b{number} = load ptr, ptr %at{number}")
    lines += [
        "  br label %head",
        "head:",
        f"  %part = phi i64 [ %begin, %entry ], [ %next, %step{len(calls)} ]",
        "  %more = icmp ult i64 %part, %end",
        "  br i1 %more, label %body, label %done",
        "body:",
        "  %next = add nuw nsw i64 %part, 1",
    ]
    for number in local:  # shifted as if the whole buffer were there, not only this part's rows
        buffer = program.buffers[number]
        length = buffer.type.nbytes // parts
        lines += [
            f"  %back{number} = mul nsw i64 %part, {-length}",
            f"  %off{number} = add nsw i64 %back{number}, {buffer.offset_bytes}",
            f"  %b{number} = getelementptr i8, ptr %room, i64 %off{number}",
        ]
    operands = Operands(SizeEmitter((), lines), lines)
    lines.append("  br label %step0")
    for number, (call, count) in enumerate(zip(calls, ranges, strict=True)):
        lines.append(f"step{number}:")
        listed = ", ".join(f"ptr {pointer}" for pointer in operands.pointers(call))
        lines += [
            f"  %from{number} = mul nuw nsw i64 %part, {count}",
            f"  %to{number} = mul nuw nsw i64 %next, {count}",
            f"  %status{number} = call i64 @{call.symbol}({listed}, ptr %record, "
            f"i64 %from{number}, i64 %to{number})",
            f"  %bad{number} = icmp ne i64 %status{number}, 0",
            f"  br i1 %bad{number}, label %fail, label %step{number + 1}",
        ]
    arrivals = ", ".join(f"[ %status{n}, %step{n} ]" for n in range(len(calls)))
    lines += [
        f"step{len(calls)}:",
        "  br label %head",
        "fail:",
        f"  %status = phi i64 {arrivals}",
        "  ret i64 %status",
        "done:",
        "  ret i64 0",
        "}",
    ]
    return KernelInvocation(symbol, order, checked, (parts, 1), block.first), "\n".join(lines)


def team_call(
    call: KernelInvocation, number: int, record: str, pointers: Sequence[str]
) -> list[str]:
    """The instructions that have the team run a kernel's chunks. pointers: those to its
    buffers.
    """
    assert call.chunks is not None
    extent, chunk = call.chunks
    lines = [f"  %context{number} = alloca [{len(call.buffers) + 1} x ptr]"]
    if call.sized:
        name = f"%context{number}.sizes"
        lines.append(
            f"  {name} = getelementptr ptr, ptr %context{number}, i64 {len(call.buffers)}"
        )
        lines.append(f"  store ptr %sizes, ptr {name}")
    for slot, pointer in enumerate(pointers):
        name = f"%context{number}.{slot}"
        lines.append(f"  {name} = getelementptr ptr, ptr %context{number}, i64 {slot}")
        lines.append(f"  store ptr {pointer}, ptr {name}")
    lines.append(
        f"  %status{number} = call i64 @{TEAM_RUN}(ptr @{call.symbol}.chunk, "
        f"ptr %context{number}, i64 {extent}, i64 {chunk}, {record})"
    )
    return lines
