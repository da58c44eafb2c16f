"""The fundamental types of PTX (PTX ISA 5.2.1) and how NumPy looks at their bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Type:
    """A type: its width [bits], its kind (b, u, s, f, p) and the NumPy type of its values."""

    name: str
    bits: int
    kind: str
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Width [bytes]; a predicate has none, and is never in memory."""
        return self.bits // 8


def _table() -> dict[str, Type]:
    rows = [
        Type(f"{kind}{bits}", bits, kind, np.dtype(f"{'i' if kind == 's' else 'u'}{bits // 8}"))
        for kind in "bus"
        for bits in (8, 16, 32, 64)
    ]
    rows += [
        Type("f16", 16, "f", np.dtype(np.float16)),
        Type("bf16", 16, "f", np.dtype(ml_dtypes.bfloat16)),
        Type("f32", 32, "f", np.dtype(np.float32)),
        Type("f64", 64, "f", np.dtype(np.float64)),
        Type("tf32", 32, "b", np.dtype(np.uint32)),
        Type("pred", 1, "p", np.dtype(np.bool_)),
    ]
    # Two halves in one 32-bit register, the lower half first.
    rows += [
        Type(f"{name}x2", 32, kind, np.dtype(np.uint32))
        for name, kind in (("f16", "f"), ("bf16", "f"), ("u16", "b"), ("s16", "b"))
    ]
    return {row.name: row for row in rows}


TYPES = _table()

# The type of the halves of a packed type.
HALF = {"f16x2": "f16", "bf16x2": "bf16", "u16x2": "u16", "s16x2": "s16"}

# Registers keep bits: an unsigned integer of the register's width, or a boolean.
BITS = {
    1: np.dtype(np.bool_),
    8: np.dtype(np.uint8),
    16: np.dtype(np.uint16),
    32: np.dtype(np.uint32),
    64: np.dtype(np.uint64),
}


def values(bits: Array, type_: Type) -> Array:
    """The values of a register's bits; a wider register is truncated to the type."""
    if type_.kind == "p":
        return bits
    if bits.dtype.itemsize != type_.size:
        bits = bits.astype(BITS[type_.bits])
    return bits.view(type_.dtype)


def bits_of(result: Array, type_: Type, width: int) -> Array:
    """The bits a value leaves in a register of `width` bits.

    A narrow value in a wide register is sign-extended if signed, else zero-extended
    (PTX ISA 9.4.1, operand size exceeding instruction-type size).
    """
    if type_.kind == "p":
        return np.asarray(result, np.bool_)
    result = np.asarray(result)
    if result.dtype != type_.dtype:
        raise AssertionError(f"{result.dtype} computed for {type_.name}")
    if width == type_.bits:
        return result.view(BITS[width])
    if type_.kind == "s":
        return result.astype(np.dtype(f"i{width // 8}")).view(BITS[width])
    return result.view(BITS[type_.bits]).astype(BITS[width])
