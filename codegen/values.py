"""Values of LLVM IR as code generation handles them: types, constants, operands."""

from __future__ import annotations

import math
import struct
from typing import Any

from graphjit.core.types import DType


def ir_type(dtype: DType) -> str:
    """LLVM's type of one element in a register (of the real part, for complex)."""
    if dtype.kind == "b":
        return "i1"
    if dtype.kind in "iu":
        return f"i{dtype.bits}"
    return "double" if dtype.real.name == "float64" else "float"


def _round_to_float32(value: float) -> float:
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return single


def literal(number: Any, dtype: DType) -> str:
    """LLVM's text of a constant element (of the real part, for complex)."""
    if dtype.kind == "b":
        return "true" if number else "false"
    if dtype.kind in "iu":
        bits = int(number) & (2**dtype.bits - 1)
        return str(bits - 2**dtype.bits if bits >> (dtype.bits - 1) else bits)
    value = float(number)
    if dtype.real.name != "float64":
        value = _round_to_float32(value)
    return "0x" + struct.pack(">d", value).hex().upper()


class Value:
    """One SSA value.

    ir: the operand's text, of the real part if complex
    imag: the text of the imaginary part, if complex
    wide: whether it is a vector
    """

    __slots__ = ("dtype", "imag", "ir", "wide")

    def __init__(self, dtype: DType, ir: str, wide: bool, imag: str | None = None) -> None:
        self.dtype = dtype
        self.ir = ir
        self.wide = wide
        self.imag = imag
