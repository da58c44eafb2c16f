"""Long bodies of float32 or float64 alone, written one register at a time.

For a vector of several registers LLVM's instruction selection takes thirty times as long as for
one register. For operations on one register, with operands loaded through a pointer, it can use
its fast path. So each statement is written once for each register of the lanes, one after the
other; that hides latency as wide vectors do. Constants are loaded from a table of full vectors.
A math function takes the registers of all lanes, since with one alone it would wait for its own
results. The bits are the same.
"""

from __future__ import annotations

from graphjit.core.dims import Dim
from graphjit.core.types import float32, float64
from graphjit.ir import cost_model

from .instructions import REGISTER_MARK
from .kernel_context import KernelContext
from .loops import Let, Loop, LoopNest, Statement, StoreResult
from .math_calls import REGISTERS_SUFFIX
from .values import Value


def register_lanes(nest: LoopNest, vector_bytes: int) -> int:
    """The lanes of one register if a nest is to be written one register at a time, else all its
    lanes.
    """
    loop, kernel = _innermost(nest.body), nest.kernel
    if loop is None or loop.dim != nest.lane_dim or loop.panel or loop.block or loop.within:
        return nest.width
    if isinstance(loop.extent, Dim) or loop.extent < loop.width:
        return nest.width
    plain = all(isinstance(s, (Let, StoreResult)) for s in loop.body)
    if len(loop.body) < cost_model.LONG_BODY or not plain:
        return nest.width
    numbers = [s.value for s in loop.body if isinstance(s, Let)]
    dtypes = {kernel.values[n].dtype for n in numbers}
    if dtypes not in ({float32}, {float64}) or any(s.choices for s in kernel.stores):
        return nest.width
    lanes = vector_bytes // dtypes.pop().size
    fits = nest.width % lanes == 0 and nest.width // lanes <= MAX_RETURNED
    return lanes if fits else nest.width


MAX_RETURNED = 4  # vectors that a function can return in registers


def _innermost(body: tuple[Statement, ...]) -> Loop | None:
    """The innermost loop, if loops are nested one in one."""
    loops = [s for s in body if not isinstance(s, (Let, StoreResult))]
    if len(loops) != 1 or not isinstance(loops[0], Loop):
        return None
    return _innermost(loops[0].body) or loops[0]


def walk_in_register_blocks(
    emitter: KernelContext, loop: Loop, start: str, left: str | None
) -> None:
    """Write a loop's body for all lanes from `start` on, one register at a time.

    Each statement is written for the first register. For the others its lines are repeated,
    with other names for what depends on the register.

    left: how many elements there are from `start` on, where they may be fewer than the lanes
    """
    b = emitter.b
    outside = b.mask
    first = b.emit(f"add nuw nsw i64 {start}, 0")
    mask = None if left is None else emitter.first_lanes(left)
    others = range(1, loop.width // b.width)
    for k in others:
        emitter.line(f"{first}.{k} = add nuw nsw i64 {start}, {k * b.width}")
        if left is not None and mask is not None:
            name = emitter.first_lanes(left, k * b.width).ir
            b.lines[-1] = b.lines[-1].replace(name, f"{mask.ir}.{k}", 1)
    emitter.counters[loop.dim] = first + REGISTER_MARK
    b.mask = None if mask is None else Value(mask.dtype, mask.ir + REGISTER_MARK, True)
    for statement in loop.body:
        b.loaded.clear()
        written = len(b.lines)
        emitter.run((statement,))
        lines, b.lines[written:] = b.lines[written:], []
        repeated: list[str] = []
        for line in lines:
            if REGISTERS_SUFFIX in line:  # takes the operands of all registers
                b.lines += _repeat_lines(repeated, others)
                b.lines += _call_on_registers(line, len(others) + 1)
                repeated = []
            else:
                repeated.append(line)
        b.lines += _repeat_lines(repeated, others)
    b.mask = outside


def _repeat_lines(repeated: list[str], others: range) -> list[str]:
    """Lines for the first register, then those that depend on the register for the others."""
    own = [line for line in repeated if REGISTER_MARK in line]
    lines = [line.replace(REGISTER_MARK, "") for line in repeated]
    for k in others:
        lines += [line.replace(REGISTER_MARK, f".{k}") for line in own]
    return lines


def _call_on_registers(call: str, count: int) -> list[str]:
    """The call of a math function on `count` registers instead of one."""
    name, rest = call.strip().split(" = call ")
    kind, rest = rest.split(" @")
    symbol, listed = rest.rstrip(")").split("(")
    suffixes = ["", *[f".{k}" for k in range(1, count)]]
    operands = [o.replace(REGISTER_MARK, s) for o in listed.split(", ") for s in suffixes]
    result, every = f"{{{', '.join([kind] * count)}}}", name.replace(REGISTER_MARK, "") + ".all"
    lines = [f"  {every} = call {result} @{symbol}({', '.join(operands)})"]
    for k, suffix in enumerate(suffixes if REGISTER_MARK in name else [""]):
        lines.append(
            f"  {name.replace(REGISTER_MARK, suffix)} = extractvalue {result} {every}, {k}"
        )
    return lines


__all__ = ["register_lanes", "walk_in_register_blocks"]
