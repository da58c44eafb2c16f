"""Program -> Program: operands that vector lanes would gather again and again are copied once,
so that lanes read them contiguously.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import ClassVar

from graphjit.core.extents import guess
from graphjit.core.frozen import dataclass
from graphjit.core.types import TensorType
from graphjit.ir import cost_model
from graphjit.ir.program import Buffer, Index, Kernel, Load, Product, Program, Step, Store

from .pipeline import ProgramPass
from .space import row_major


@dataclass(frozen=True)
class Pack(ProgramPass):
    """Copy operands that are read with strides again and again, once."""

    name: ClassVar[str] = "pack"

    def run(self, program: Program) -> Program:
        """The program with the copies that pay."""
        return _pack(program)


def _pack(program: Program) -> Program:
    buffers, steps = list(program.buffers), list[Step]()
    decisions = list(program.decisions)
    for step in program.steps:
        if isinstance(step, Kernel) and not any(isinstance(v, Product) for v in step.values):
            step = _read_copies(step, buffers, steps, decisions)
        steps.append(step)
    if len(steps) == len(program.steps):
        return program
    return replace(
        program, buffers=tuple(buffers), steps=tuple(steps), decisions=tuple(decisions)
    )


def _read_copies(
    kernel: Kernel, buffers: list[Buffer], steps: list[Step], decisions: list[str]
) -> Kernel:
    """The kernel with such loads replaced by loads of copies. Adds the kernels that copy to the
    steps.
    """
    lane = len(kernel.dims) - 1 if kernel.lanes == "inner" else len(kernel.outer_dims) - 1
    values = list(kernel.values)
    if lane < 0:
        return kernel
    for number, value in enumerate(values):
        if not isinstance(value, Load) or value.index.strides[lane] in (0, 1, -1):
            continue
        dims = [d for d, stride in enumerate(value.index.strides) if stride]
        shape = tuple(kernel.dims[d] for d in dims)
        if guess(prod(kernel.dims)) < cost_model.PACK_REUSE * guess(prod(shape)):
            continue
        buffers.append(Buffer(TensorType(shape, value.dtype), "temporary"))
        copied = len(buffers) - 1
        source = Index(value.index.offset, tuple(value.index.strides[d] for d in dims))
        strides = dict(zip(dims, row_major(shape), strict=True))
        name = f"{kernel.name}_pack{number}"
        load = Load(value.buffer, source, value.dtype)
        store = Store(copied, Index(0, row_major(shape)), 0)
        steps.append(Kernel(name, shape, 0, "outer", (load,), (store,)))
        index = Index(0, tuple(strides.get(d, 0) for d in range(len(kernel.dims))))
        values[number] = Load(copied, index, value.dtype)
        decisions.append(
            f"{name}: b{value.buffer} is read {cost_model.PACK_REUSE} times or more "
            "with strides"
        )
    return replace(kernel, values=tuple(values)) if values != list(kernel.values) else kernel
