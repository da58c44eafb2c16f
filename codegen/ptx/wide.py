"""Neighbouring elements of one thread, loaded and stored by vectors of up to 16 bytes.

Only these accesses are marked as aligned. LLVM would read whole vectors through any pointer
that it knows to be aligned, also where a buffer is shorter.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphjit.codegen.access import ElementAccess, parts_of, storage_type
from graphjit.codegen.values import Value
from graphjit.core.dims import Dim
from graphjit.core.extents import exact_quotient
from graphjit.core.types import DType
from graphjit.ir.program import Index

VECTOR_BYTES = 16


def lies_in_vectors(index: Index, lane: int, count: int) -> bool:
    """Whether groups of `count` elements along a dim begin at multiples of `count`."""
    if isinstance(index.strides[lane], Dim) or index.strides[lane] != 1:
        return False
    rest = [index.offset, *(n for d, n in enumerate(index.strides) if d != lane)]
    return all(exact_quotient(n, count) is not None for n in rest)


def _chunks(dtype: DType, count: int) -> list[range]:
    """The elements of each vector."""
    chunk = min(count, max(1, VECTOR_BYTES // dtype.size))
    return [range(start, start + chunk) for start in range(0, count, chunk)]


def load_several(
    access: ElementAccess, base: str, dtype: DType, offsets: Sequence[str]
) -> list[Value]:
    """Load neighbouring elements. offsets: that of each, in numbers."""
    b, parts, kind = access.b, parts_of(dtype), storage_type(dtype)
    found: list[Value] = []
    for chunk in _chunks(dtype, len(offsets)):
        address = access.address(base, dtype, offsets[chunk[0]])
        vector = f"<{len(chunk) * parts} x {kind}>"
        align = len(chunk) * dtype.size
        raw = b.emit(f"load {vector}, {access.pointer} {address}, align {align}")
        texts = [
            b.emit(f"extractelement {vector} {raw}, i64 {k}") for k in range(len(chunk) * parts)
        ]
        if parts == 2:
            found += [Value(dtype, *pair) for pair in _pairs(texts)]
        else:
            found += [access.unpack(text, dtype) for text in texts]
    return found


def _pairs(texts: Sequence[str]) -> list[tuple[str, bool, str]]:
    return [(texts[k], True, texts[k + 1]) for k in range(0, len(texts), 2)]


def store_several(
    access: ElementAccess, base: str, values: Sequence[Value], offsets: Sequence[str]
) -> None:
    """Store neighbouring elements."""
    b, dtype = access.b, values[0].dtype
    kind = storage_type(dtype)
    for chunk in _chunks(dtype, len(values)):
        texts: list[str] = []
        for k in chunk:
            texts.append(access.pack(values[k]))
            imag = values[k].imag
            texts += [imag] if imag is not None else []
        vector, whole = f"<{len(texts)} x {kind}>", "poison"
        for position, text in enumerate(texts):
            whole = b.emit(f"insertelement {vector} {whole}, {kind} {text}, i64 {position}")
        address = access.address(base, dtype, offsets[chunk[0]])
        align = len(chunk) * dtype.size
        access.line(f"store {vector} {whole}, {access.pointer} {address}, align {align}")


__all__ = ["lies_in_vectors", "load_several", "store_several"]
