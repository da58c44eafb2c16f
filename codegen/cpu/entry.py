"""The compiled entry of a segment: a function that takes arrays and runs the segment's kernels.

It reads each array's data pointer from the ndarray object. The caller has checked types and
shapes. Machine code (cpu/dispatcher) calls it directly; Python calls it through a wrapper with
CPython's METH_FASTCALL signature.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.codegen.runtime.runtime_symbols import (
    INTERRUPTED,
    OUTSIDE,
    SHALLOW,
    STACK_BYTES,
    STACK_END,
    TEAM_RUN,
    run_symbol,
)
from graphjit.codegen.sizes import SizeEmitter
from graphjit.core.dims import Dim
from graphjit.core.errors import InternalError
from graphjit.core.frozen import dataclass
from graphjit.core.object_layout import WORD
from graphjit.ir.cost_model import LONG_CODE, RELEASE_BYTES
from graphjit.ir.program import Program, RowBlock


def data_offset() -> int:
    """Where an ndarray object holds its data pointer [bytes].

    Found rather than assumed, since debug builds of CPython have larger objects, and verified
    on three arrays.
    """
    for offset in range(2 * WORD, 8 * WORD, WORD):
        if all(
            ctypes.c_void_p.from_address(id(a) + offset).value == a.ctypes.data
            for a in (np.arange(7), np.ones((2, 3)), np.zeros(5, np.int8))
        ):
            return offset
    raise InternalError("this NumPy lays arrays out in a way that graphjit doesn't know")


DATA_OFFSET = data_offset()


def declarations(*names: str) -> str:
    """LLVM's declarations of external functions; of all that segments call if none is named."""
    lines = []
    for name in names or OUTSIDE:
        result, arguments = OUTSIDE[name].split(" ", 1)
        lines.append(f"declare {result} @{name}{arguments}\n")
    return "".join(lines)


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
    """

    symbol: str
    buffers: Sequence[int]
    checked: bool
    chunks: tuple[int | str, int | str] | None = None
    step: int = 0
    sized: bool = False
    starts: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()


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


def write_entry(
    program: Program,
    symbol: str,
    calls: list[KernelInvocation],
    release: bool,
    timed: bool = False,
    checks_stack: bool = False,
) -> tuple[tuple[int, ...], str]:
    """The entry of a segment, and the buffers whose arrays it takes, in order.

    Its arguments are those arrays, then the arena, the record and, where there are symbols,
    their sizes. It returns a status: INTERRUPTED where a Python exception was raised.

    release: whether to release the GIL while kernels run, if they take long
    timed: whether to leave in @cycles what each step took
    checks_stack: whether to return SHALLOW where less than STACK_BYTES of the stack are left
    """
    used = {number for call in calls for number in call.buffers}
    buffers = program.buffers
    results = (*program.outputs, *program.updates)
    first = [*program.inputs, *results]
    others = [i for i, b in enumerate(buffers) if b.role in ("constant", "library")]
    order = (*first, *(i for i in others if i in used or buffers[i].role == "constant"))
    lines = [f"define i64 @{run_symbol(symbol)}(ptr %args) noinline nounwind {{", "entry:"]
    if checks_stack:
        lines += [
            "  %here = alloca i8",
            f"  %end = call i64 @{STACK_END}()",
            "  %top = ptrtoint ptr %here to i64",
            "  %left = sub i64 %top, %end",
            f"  %shallow = icmp slt i64 %left, {STACK_BYTES}",
            "  br i1 %shallow, label %refuse, label %enough",
            "refuse:",
            f"  ret i64 {SHALLOW}",
            "enough:",
        ]

    def data(name: str, position: int) -> None:
        lines.append(f"  {name}.slot = getelementptr ptr, ptr %args, i64 {position}")
        lines.append(f"  {name}.object = load ptr, ptr {name}.slot")
        lines.append(f"  {name}.field = getelementptr i8, ptr {name}.object, i64 {DATA_OFFSET}")
        lines.append(f"  {name} = load ptr, ptr {name}.field")

    for position, number in enumerate(order):
        if number in used:
            data(f"%b{number}", position)
    size = SizeEmitter(program.symbols, lines)
    if program.symbols:
        data("%sizes", len(order) + 2)
    if any(buffers[i].role == "temporary" for i in used):
        if isinstance(program.arena_bytes, Dim) or program.arena_bytes:
            data("%arena", len(order))
        else:  # temporaries without elements: there may be no arena
            lines.append("  %arena = getelementptr i8, ptr null, i64 0")
    for number in sorted(used):
        if buffers[number].role == "temporary":
            offset = size(buffers[number].offset_bytes)
            lines.append(f"  %b{number} = getelementptr i8, ptr %arena, i64 {offset}")
    if any(call.checked for call in calls):
        data("%record", len(order) + 1)
    polled = release and any(call.chunks is not None or call.sized for call in calls)
    if program.symbols and release:
        lines += _release_if_long(program, size, "enough" if checks_stack else "entry")
    elif release:
        lines.append("  %thread = call ptr @PyEval_SaveThread()")
    if polled and not program.symbols:
        lines += [  # the thread state, and when signals were last checked: never
            "  %poll = alloca [2 x i64], align 8",
            "  store [2 x i64] zeroinitializer, ptr %poll",
            "  store ptr %thread, ptr %poll",
        ]
    lines.append("  br label %step0")
    arrivals = []
    operands = Operands(size, lines)
    for number, call in enumerate(calls):
        lines.append(f"step{number}:")
        pointers = operands.pointers(call)
        if timed:
            lines.append(f"  %before{number} = call i64 @llvm.readcyclecounter()")
        record = "ptr %record" if call.checked else "ptr null"
        if call.sized:
            poll = "ptr null"
            if polled:
                poll = "ptr %polled" if program.symbols else "ptr %poll"
            listed = ", ".join([*(f"ptr {pointer}" for pointer in pointers), record])
            listed += f", ptr {operands.sizes(call)}, {poll}"
            lines.append(f"  %status{number} = call i64 @{call.symbol}({listed})")
        elif call.chunks is not None:
            poll = "ptr %poll" if polled else "ptr null"
            lines += team_call(call, number, f"{record}, {poll}", pointers)
        else:
            listed = ", ".join([*(f"ptr {pointer}" for pointer in pointers), record])
            lines.append(f"  %status{number} = call i64 @{call.symbol}({listed})")
        if timed:
            lines += [
                f"  %after{number} = call i64 @llvm.readcyclecounter()",
                f"  %took{number} = sub i64 %after{number}, %before{number}",
                f"  %cycles{number} = getelementptr i64, ptr @cycles, i64 {call.step}",
                f"  store i64 %took{number}, ptr %cycles{number}",
            ]
        if call.checked or (polled and (call.chunks is not None or call.sized)):
            lines.append(f"  %bad{number} = icmp ne i64 %status{number}, 0")
            lines.append(f"  br i1 %bad{number}, label %done, label %step{number + 1}")
            arrivals.append(f"[ %status{number}, %step{number} ]")
        else:
            lines.append(f"  br label %step{number + 1}")
    last = len(calls)
    lines += [f"step{last}:", "  br label %done", "done:"]
    arrivals.append(f"[ 0, %step{last} ]")
    lines.append(f"  %status = phi i64 {', '.join(arrivals)}")
    if program.symbols and release:
        lines += [
            "  br i1 %long, label %restore, label %restored",
            "restore:",
            "  call void @PyEval_RestoreThread(ptr %thread)",
            "  br label %restored",
            "restored:",
        ]
    elif release:
        lines.append("  call void @PyEval_RestoreThread(ptr %thread)")
    lines += ["  ret i64 %status", "}"]
    if len(lines) > LONG_CODE:
        lines[0] = lines[0].replace("noinline", "noinline optnone")
    return order, "\n".join([*lines, *_python_wrapper(symbol)])


def _python_wrapper(symbol: str) -> list[str]:
    """The function through which Python calls an entry."""
    return [
        f"define ptr @{symbol}(ptr %self, ptr %args, i64 %count) nounwind {{",
        f"  %status = call i64 @{run_symbol(symbol)}(ptr %args)",
        f"  %raised = icmp eq i64 %status, {INTERRUPTED}",
        "  br i1 %raised, label %leave, label %tell",
        "leave:",
        "  ret ptr null",
        "tell:",
        "  %result = call ptr @PyLong_FromLongLong(i64 %status)",
        "  ret ptr %result",
        "}",
    ]


def _release_if_long(program: Program, size: SizeEmitter, block: str) -> list[str]:
    """Release the GIL where the sizes make much work, else set %polled to null.

    block: the block in which this is written
    """
    moved = sum(b.type.nbytes for b in program.buffers)
    return [
        f"  %long = icmp ugt i64 {size(moved)}, {RELEASE_BYTES}",
        "  %poll = alloca [2 x i64], align 8",
        "  store [2 x i64] zeroinitializer, ptr %poll",
        "  br i1 %long, label %leave.python, label %stay",
        "leave.python:",
        "  %saved = call ptr @PyEval_SaveThread()",
        "  store ptr %saved, ptr %poll",
        "  br label %stay",
        "stay:",
        f"  %thread = phi ptr [ null, %{block} ], [ %saved, %leave.python ]",
        f"  %polled = phi ptr [ null, %{block} ], [ %poll, %leave.python ]",
    ]


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


__all__: list[Any] = [
    "team_call",
    "declarations",
    "write_entry",
]
