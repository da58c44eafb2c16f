"""The compiled entry of a segment: a function that takes arrays and runs the segment's kernels.

It reads each array's data pointer from the ndarray object. The caller has checked types and
shapes. Machine code (cpu/dispatcher) calls it directly; Python calls it through a wrapper with
CPython's METH_FASTCALL signature.
"""

from __future__ import annotations

import ctypes

import numpy as np

from graphjit.codegen.runtime.runtime_symbols import (
    INTERRUPTED,
    OUTSIDE,
    SHALLOW,
    STACK_BYTES,
    STACK_END,
    run_symbol,
)
from graphjit.codegen.sizes import SizeEmitter
from graphjit.core.dims import Dim
from graphjit.core.errors import InternalError
from graphjit.core.object_layout import WORD
from graphjit.ir.cost_model import LONG_CODE, RELEASE_BYTES
from graphjit.ir.program import Program

from .kernel_calls import KernelInvocation, Operands, write_calls


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
    polled = release and any(call.polls for call in calls)
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
    poll = "ptr %polled" if program.symbols else "ptr %poll"
    arrivals = write_calls(lines, calls, Operands(size, lines), poll, polled, timed)
    lines += ["done:", f"  %status = phi i64 {arrivals}"]
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
