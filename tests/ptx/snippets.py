"""Short PTX texts written by hand, for tests of single instructions and single faults."""

from __future__ import annotations

from typing import Any

import numpy as np
from ptx.launch import Memory, launch, parse
from ptx.types import TYPES, Array

REGISTERS = """
    .reg .pred %p<8>;
    .reg .b16 %h<8>;
    .reg .b32 %r<40>;
    .reg .b64 %d<40>;
"""


def program(
    body: str, params: str = ".param .u64 a", *, target: int = 80, before: str = ""
) -> str:
    """A kernel `k` with registers %p %h %r %d."""
    return (
        f".version 8.0\n.target sm_{target}\n.address_size 64\n{before}\n"
        f".visible .entry k({params})\n{{\n{REGISTERS}\n{body}\n}}\n"
    )


# %r0: thread; %d1: the buffer a; %d2: the thread's 4 bytes of it.
START = """
    mov.u32 %r0, %tid.x;
    ld.param.u64 %d1, [a];
    mul.wide.u32 %d2, %r0, 4;
    add.s64 %d2, %d1, %d2;
"""


def run(
    body: str,
    values: Array,
    *,
    block: int | tuple[int, ...] = 32,
    grid: int = 1,
    target: int = 80,
    before: str = "",
    **options: Any,
) -> Array:
    """What a kernel makes of a buffer, which its parameter a is."""
    memory = options.pop("memory", None) or Memory()
    buffer = memory.array(values, name="a")
    text = program(START + body + "\n    ret;", target=target, before=before)
    launch(parse(text), "k", grid, block, [buffer], memory=memory, **options)
    return buffer.numpy()  # type: ignore[no-any-return]


def calculate(
    opcode: str, result: str, sources: list[tuple[str, Array]], **options: Any
) -> Array:
    """One instruction over many values: its opcode, the type of its result, its sources.

    Every array has one length; the result has that length too. `tail` ends the operands.
    """
    target, tail = options.pop("target", 90), options.pop("tail", "")
    memory = Memory()
    names = [f"p{i}" for i in range(len(sources) + 1)]
    count = len(sources[0][1])
    size = TYPES[result].size
    out = memory.empty(count, TYPES[result].dtype)
    buffers = [memory.array(np.asarray(x, TYPES[t].dtype)) for t, x in sources]
    lines, operands = [], []
    for i, (type_, _) in enumerate(sources):
        bits = TYPES[type_].bits
        register = f"%{ {16: 'h', 32: 'r', 64: 'd'}[bits] }{i + 1}"
        lines.append(f"ld.param.u64 %d30, [p{i}];")
        lines.append(f"mad.wide.u32 %d30, %r0, {bits // 8}, %d30;")
        lines.append(f"ld.global.b{bits} {register}, [%d30];")
        operands.append(register)
    target_register = f"%{ {16: 'h', 32: 'r', 64: 'd'}[size * 8] }7"
    body = "\n".join(
        [
            "mov.u32 %r0, %ctaid.x;",
            "mov.u32 %r30, %tid.x;",
            "mad.lo.u32 %r0, %r0, 128, %r30;",
            f"setp.ge.u32 %p1, %r0, {count};",
            "@%p1 ret;",
            *lines,
            f"{opcode} {target_register}, {', '.join(operands)}{tail};",
            f"ld.param.u64 %d30, [{names[-1]}];",
            f"mad.wide.u32 %d30, %r0, {size}, %d30;",
            f"st.global.b{size * 8} [%d30], {target_register};",
            "ret;",
        ]
    )
    params = ", ".join(f".param .u64 {name}" for name in names)
    text = program(body, params, target=target)
    grid = max(1, -(-count // 128))
    launch(parse(text), "k", grid, 128, [*buffers, out], memory=memory, **options)
    return out.numpy()  # type: ignore[no-any-return]
