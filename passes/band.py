"""Program -> Program: kernels over the same rows run one after another, a few rows at a time,
so that what goes between them stays in the cache and is never whole.

Attention is the case in point: scores, their softmax and the mix of values are three kernels
over the same rows, and only a block of rows of the scores exists at any time. Cf. Dao et al.,
"FlashAttention", 2022, arXiv:2205.14135, which also cuts the columns.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from graphjit import cost
from graphjit.dims import is_symbolic
from graphjit.program import (
    Band,
    Buffer,
    GatherLoad,
    Index,
    Kernel,
    Load,
    Product,
    Program,
    merge_outer,
    reads_and_writes,
)


def band(program: Program) -> Program:
    """The program with its bands: runs of kernels that share their rows."""
    bands: list[Band] = []
    buffers, steps = list(program.buffers), list(program.steps)
    first = 0
    while first < len(program.steps):
        found = _longest(program, first)
        if found is None:
            first += 1
            continue
        made, kernels, local = found
        bands.append(made)
        steps[made.first : made.stop] = kernels
        for number in local:
            buffers[number] = replace(buffers[number], role="local")
        first = made.stop
    if not bands:
        return program
    return replace(program, buffers=tuple(buffers), steps=tuple(steps), bands=tuple(bands))


def _longest(program: Program, first: int) -> tuple[Band, list[Kernel], set[int]] | None:
    """The longest band that starts at a step, with its kernels and the buffers that it keeps
    to itself.
    """
    best = None
    head = program.steps[first]
    if not isinstance(head, Kernel) or is_symbolic(head.dims):
        return None
    for stop in range(first + 2, len(program.steps) + 1):
        step = program.steps[stop - 1]
        if not isinstance(step, Kernel) or is_symbolic(step.dims):
            break
        local = _local(program, first, stop)
        for lead in range(1, len(head.outer_dims) + 1):
            rows = prod(head.dims[:lead])
            kernels = [
                _by_rows(step, rows)
                for step in program.steps[first:stop]
                if isinstance(step, Kernel)
            ]
            part = _part(program, kernels, rows, local)
            if part and (best is None or 2 * part >= best[0].part):
                best = Band(first, stop, rows, part), kernels, local
    return best


def _local(program: Program, first: int, stop: int) -> set[int]:
    """The temporaries that nothing outside these steps touches."""
    inside: set[int] = set()
    outside: set[int] = set()
    for number, step in enumerate(program.steps):
        read, written = reads_and_writes(step)
        (inside if first <= number < stop else outside).update((*read, *written))
    return {
        number for number in inside - outside if program.buffers[number].role == "temporary"
    }


def _by_rows(kernel: Kernel, rows: int) -> Kernel:
    """The kernel with its rows as one dim, if that is possible; products keep theirs."""
    lead = _lead(kernel, rows)
    if lead is None or any(isinstance(v, Product) for v in kernel.values):
        return kernel
    return merge_outer(kernel, last=len(kernel.outer_dims) - lead)


def _part(program: Program, kernels: list[Kernel], rows: int, local: set[int]) -> int:
    """How many rows at a time these kernels can run for; 0 if they don't belong together."""
    buffers = program.buffers
    total = sum(buffers[number].type.nbytes for number in local)
    if not local or total < cost.BAND_BYTES:
        return 0
    # what is written a few rows at a time, local or not, is read so too
    written = {store.buffer for kernel in kernels for store in kernel.stores}
    fits = set(range(1, min(cost.BAND_ROWS, rows // 4) + 1))
    for kernel in kernels:
        lead = _lead(kernel, rows)
        if (
            lead is None
            or any(s.choices for s in kernel.stores)
            or not _walks_rows(kernel, lead)
        ):
            return 0
        for number, index in _accesses(kernel):
            own = number in written or number in local
            if own and not _keeps_rows(kernel, index, lead, buffers[number], rows):
                return 0
        within = kernel.dims[lead - 1]
        fits = {n for n in fits if within % n == 0 and n * total <= cost.BAND_PART_BYTES * rows}
    part = max(fits, default=0)
    return part if part >= cost.LEAST_BAND_ROWS else 0


def _walks_rows(kernel: Kernel, lead: int) -> bool:
    """Whether a kernel's outermost loop, or its tiles, can be told which rows to compute."""
    for value in kernel.values:
        if isinstance(value, Product):
            a, b = (kernel.values[n] for n in (value.a, value.b))
            assert isinstance(a, Load) and isinstance(b, Load)
            if kernel.dims[-1] * kernel.dims[-2] * b.dtype.size > cost.BAND_OPERAND_BYTES:
                return False
            own = a.index.strides[lead - 1] and not b.index.strides[lead - 1]
            return bool(own and b.index.strides[lead]) and lead == len(kernel.outer_dims) - 1
    along_rows = kernel.lanes == "inner" and kernel.inner_dims[-1] >= cost.BAND_ROWS
    return lead == 1 and (along_rows or len(kernel.outer_dims) > 1)


def _lead(kernel: Kernel, rows: int) -> int | None:
    """How many outer dims make up the rows."""
    for lead in range(1, len(kernel.outer_dims) + 1):
        if prod(kernel.dims[:lead]) == rows:
            return lead
    return None


def _accesses(kernel: Kernel) -> list[tuple[int, Index]]:
    """Every buffer that is read or written, with the place."""
    found = [(v.buffer, v.index) for v in kernel.values if isinstance(v, (Load, GatherLoad))]
    return found + [(s.buffer, s.index) for s in kernel.stores]


def _keeps_rows(kernel: Kernel, index: Index, lead: int, buffer: Buffer, rows: int) -> bool:
    """Whether a place is in the row at hand of a buffer that has `rows` of them."""
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
