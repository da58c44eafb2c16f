"""Program -> Program: kernels over the same rows run one after another, a few rows at a time,
so that intermediate results stay in the cache and are never whole.

Attention is an example: scores, their softmax and the mix of values are three kernels over the
same rows, and only a block of rows of the scores exists at any time. Cf. Dao et al.,
"FlashAttention", 2022, arXiv:2205.14135, which also blocks the columns.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from math import prod
from typing import ClassVar

from graphjit.core.dims import is_symbolic
from graphjit.core.frozen import dataclass
from graphjit.ir import cost_model
from graphjit.ir.program import (
    Buffer,
    GatherLoad,
    Index,
    Kernel,
    Load,
    Product,
    Program,
    RowBlock,
    merge_outer,
)

from .liveness import uses_of_buffers
from .pipeline import ProgramPass


@dataclass(frozen=True)
class RowBlocks(ProgramPass):
    """Run kernels over the same rows one after another, a few rows at a time, where sizes are
    known.
    """

    name: ClassVar[str] = "row-blocks"

    def run(self, program: Program) -> Program:
        """The program with its row blocks."""
        return _with_row_blocks(program)


def _with_row_blocks(program: Program) -> Program:
    if any(is_symbolic(b.type.shape) for b in program.buffers):
        return program
    temporary = [b.type.nbytes for b in program.buffers if b.role == "temporary"]
    if sum(temporary) < cost_model.ROW_BLOCK_BYTES:
        return program
    row_blocks: list[RowBlock] = []
    buffers, steps = list(program.buffers), list(program.steps)
    first_use, last_use = uses_of_buffers(program)
    lives = {
        number: (first_use[number], last_use[number])
        for number in first_use
        if program.buffers[number].role == "temporary"
    }
    born = [0] * (len(steps) + 1)  # bytes of the temporaries first used before each step
    for number, (start, _) in lives.items():
        born[start + 1] += buffers[number].type.nbytes
    born = list(accumulate(born))
    first = 0
    while first < len(program.steps):
        few = (
            born[min(first + cost_model.ROW_BLOCK_STEPS, len(steps))] - born[first]
            < cost_model.ROW_BLOCK_BYTES
        )
        found = None if few else _find_longest(program, first, lives)
        if found is None:
            first += 1
            continue
        made, kernels, local = found
        row_blocks.append(made)
        steps[made.first : made.stop] = kernels
        for number in local:
            buffers[number] = replace(buffers[number], role="local")
        first = made.stop
    if not row_blocks:
        return program
    return replace(
        program, buffers=tuple(buffers), steps=tuple(steps), row_blocks=tuple(row_blocks)
    )


def _find_longest(
    program: Program, first: int, lives: dict[int, tuple[int, int]]
) -> tuple[RowBlock, list[Kernel], set[int]] | None:
    """The longest row block that starts at a step, with its kernels and its local buffers."""
    best = None
    head = program.steps[first]
    if not isinstance(head, Kernel):
        return None
    runs = [KernelRun(program, head, lead) for lead in range(1, len(head.outer_dims) + 1)]
    starting: dict[int, int] = {}  # bytes of the temporaries first used in the block
    for stop in range(
        first + 1, min(len(program.steps), first + cost_model.ROW_BLOCK_STEPS) + 1
    ):
        step = program.steps[stop - 1]
        if not isinstance(step, Kernel):
            break
        runs = [run for run in runs if run.add(step)]
        if not runs:
            break
        for buffer in dict.fromkeys(s.buffer for s in step.stores):
            if lives.get(buffer, (-1,))[0] >= first:
                starting[buffer] = program.buffers[buffer].type.nbytes
        if stop < first + 2 or sum(starting.values()) < cost_model.ROW_BLOCK_BYTES:
            continue
        local = {n for n in starting if lives[n][1] < stop}
        total = sum(starting[n] for n in local)
        if total < cost_model.ROW_BLOCK_BYTES:
            continue
        for run in runs:
            part = run.part(local, total)
            if part and (best is None or 2 * part >= best[0].part):
                best = RowBlock(first, stop, run.rows, part), list(run.kernels), local
    return best


class KernelRun:
    """Consecutive kernels that may run some rows at a time, built kernel by kernel.

    lead: how many outer dims of the first kernel make up the rows
    """

    def __init__(self, program: Program, head: Kernel, lead: int) -> None:
        self.program = program
        self.rows = prod(head.dims[:lead])
        self.kernels: list[Kernel] = []
        self._parts = list(range(1, min(cost_model.ROW_BLOCK_MAX_ROWS, self.rows // 4) + 1))
        # a buffer that is written row by row must be read row by row, local or not
        self._written: set[int] = set()
        self._elsewhere: set[int] = set()  # buffers accessed outside the current row

    def add(self, step: Kernel) -> bool:
        """Add a kernel if it can be computed row by row. Says whether all still can."""
        kernel = _merge_rows(step, self.rows)
        lead = _count_row_dims(kernel, self.rows)
        if (
            lead is None
            or any(s.choices for s in kernel.stores)
            or not _can_be_chunked_by_rows(kernel, lead)
        ):
            return False
        within = kernel.dims[lead - 1]
        self._parts = [n for n in self._parts if within % n == 0]
        self._written |= {store.buffer for store in kernel.stores}
        for number, index in _accesses(kernel):
            if not _stays_in_row(kernel, index, lead, self.program.buffers[number], self.rows):
                self._elsewhere.add(number)
        self.kernels.append(kernel)
        return not self._written & self._elsewhere

    def part(self, local: set[int], total: int) -> int:
        """How many rows at a time the kernels can run for, with so many bytes of local buffers.

        0 if they don't belong together.
        """
        if local & self._elsewhere:
            return 0
        most = cost_model.ROW_BLOCK_PART_BYTES * self.rows
        part = max((n for n in self._parts if n * total <= most), default=0)
        return part if part >= cost_model.ROW_BLOCK_MIN_ROWS else 0


def _merge_rows(kernel: Kernel, rows: int) -> Kernel:
    """The kernel with its rows as one dim, if that is possible. Products keep theirs."""
    lead = _count_row_dims(kernel, rows)
    if lead is None or any(isinstance(v, Product) for v in kernel.values):
        return kernel
    return merge_outer(kernel, last=len(kernel.outer_dims) - lead)


def _can_be_chunked_by_rows(kernel: Kernel, lead: int) -> bool:
    """Whether a kernel's outermost loop, or its tiles, can run for given rows only."""
    for value in kernel.values:
        if isinstance(value, Product):
            a, b = (kernel.values[n] for n in (value.a, value.b))
            assert isinstance(a, Load) and isinstance(b, Load)
            if (
                kernel.dims[-1] * kernel.dims[-2] * b.dtype.size
                > cost_model.ROW_BLOCK_OPERAND_BYTES
            ):
                return False
            own = a.index.strides[lead - 1] and not b.index.strides[lead - 1]
            return bool(own and b.index.strides[lead]) and lead == len(kernel.outer_dims) - 1
    along_rows = (
        kernel.lanes == "inner" and kernel.inner_dims[-1] >= cost_model.ROW_BLOCK_MAX_ROWS
    )
    return lead == 1 and (along_rows or len(kernel.outer_dims) > 1)


def _count_row_dims(kernel: Kernel, rows: int) -> int | None:
    """How many outer dims make up the rows."""
    for lead in range(1, len(kernel.outer_dims) + 1):
        if prod(kernel.dims[:lead]) == rows:
            return lead
    return None


def _accesses(kernel: Kernel) -> list[tuple[int, Index]]:
    """Every access: a buffer and an index."""
    found = [(v.buffer, v.index) for v in kernel.values if isinstance(v, (Load, GatherLoad))]
    return found + [(s.buffer, s.index) for s in kernel.stores]


def _stays_in_row(kernel: Kernel, index: Index, lead: int, buffer: Buffer, rows: int) -> bool:
    """Whether an index stays in the current row of a buffer that has `rows` of them."""
    length, rest = divmod(buffer.type.size, rows)
    step = length
    for dim in reversed(range(lead)):
        if index.strides[dim] != step:
            return False
        step *= kernel.dims[dim]
    spans = [s * (n - 1) for s, n in zip(index.strides[lead:], kernel.dims[lead:], strict=True)]
    low = index.offset + sum(min(0, s) for s in spans)
    high = index.offset + sum(max(0, s) for s in spans)
    return not rest and low >= 0 and high < length
