"""Pointwise primitives: conversions between dtypes, parts of complex numbers, checks."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import (
    Array,
    DType,
    TensorType,
    broadcast_shapes,
    complex64,
    complex128,
    float32,
    float64,
)

from .failures import PYTHON_ERRORS
from .family import op
from .primitive import Pointwise, define
from .type_rules import require_kind, to_real


def _cast_type(x: TensorType, dtype: DType) -> TensorType:
    return x.with_dtype(dtype)


def cast_numpy(x: Array, dtype: DType) -> Array:
    """Astype with x86-64's results for floats that no integer of the type can hold."""
    target = dtype.dtype
    kind = x.dtype.kind
    if kind == "V":
        x = x.astype(np.float32)
        kind = "f"
    if kind == "c" and dtype.kind in "iuf":
        x, kind = x.real, "f"
    if kind == "f" and dtype.kind in "iu":
        via = np.int32 if dtype.bits < 32 or target == np.int32 else np.int64
        limit = 2.0 ** (np.dtype(via).itemsize * 8 - 1)
        wide = x.astype(np.float64)
        base = np.zeros(x.shape, np.int64)
        if dtype.name == "uint64":
            big = wide >= limit
            base = np.where(big, np.int64(-(2**63)), np.int64(0))
            wide = np.where(big, wide - limit, wide)
        whole = np.trunc(wide)
        inside = (whole >= -limit) & (whole < limit)
        lowest = np.int64(-(2 ** (np.dtype(via).itemsize * 8 - 1)))
        result = np.where(inside, np.where(inside, whole, 0.0).astype(np.int64), lowest)
        return np.asarray((result ^ base).astype(target))
    if kind != "c" and dtype.kind == "c":
        return x.astype(dtype.real.dtype).astype(target)
    return x.astype(target)


cast = define(
    "cast",
    Pointwise(lambda b, x, *, dtype: b.cast(x, dtype)),
    _cast_type,
    cast_numpy,
    tensorflow="Cast",
    exact=True,
    slopes=lambda d, y, x, dtype: (d.converted(x, dtype),),
)


def _unless_type(x: TensorType, failing: TensorType, reason: str) -> TensorType:
    require_kind(failing.dtype, "b", "Unless")
    return TensorType(broadcast_shapes((x.shape, failing.shape), "Unless"), x.dtype)


def _unless_numpy(x: Array, failing: Array, reason: str) -> Any:
    if np.any(failing):
        raise PYTHON_ERRORS[reason](reason)
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, failing.shape))


def _unless(b: Any, x: Any, failing: Any, *, reason: str) -> Any:
    b.fail_if(failing, reason)
    return x


# The first operand, unless the second is true: that is the error of PYTHON_ERRORS.
unless = define(
    "unless",
    Pointwise(_unless),
    _unless_type,
    _unless_numpy,
    tensorflow="Unless",
    exact=True,
    slopes=lambda d, y, x, failing, reason: (1, None),
)


# The operand itself, which derivatives take for a constant.
stop_gradient = op(
    "stop_gradient",
    "StopGradient",
    "biufc",
    np.array,
    lambda b, x: x,
    exact=True,
    zeros=True,
    slopes=lambda d, y, x: (None,),
)


def _bitcast_type(x: TensorType, dtype: DType) -> TensorType:
    allowed = "iuf"
    narrow = {"float16", "bfloat16"}
    if (
        x.dtype.kind not in allowed
        or dtype.kind not in allowed
        or x.dtype.size != dtype.size
        or narrow & {x.dtype.name, dtype.name}
    ):
        raise InvalidArgumentError(
            at_user_line(
                f"Cannot bitcast from {x.dtype.tensorflow} to {dtype.tensorflow} [Op:Bitcast]"
            )
        )
    return x.with_dtype(dtype)


bitcast = define(
    "bitcast",
    Pointwise(lambda b, x, *, dtype: b.bitcast(x, dtype)),
    _bitcast_type,
    lambda x, dtype: x.view(dtype.dtype),
    tensorflow="Bitcast",
    exact=True,
)


def _complex_of(dtype: DType) -> DType:
    if dtype not in (float32, float64):
        require_kind(dtype, "", "Complex")
    return complex64 if dtype is float32 else complex128


def _complex_numpy(re: Array, im: Array) -> Any:
    dtype = np.complex64 if re.dtype == np.float32 else np.complex128
    result = np.empty(np.broadcast_shapes(re.shape, im.shape), dtype)
    result.real = re
    result.imag = im
    return result


complex_ = op(
    "complex",
    "Complex",
    "f",
    _complex_numpy,
    lambda b, x, y: b.complex(x, y),
    result=_complex_of,
    exact=True,
    slopes=lambda d, z, x, y: (d.real_part(), d.imaginary_part()),
)
real = op(
    "real",
    "Real",
    "c",
    np.real,
    lambda b, x: b.real(x),
    result=to_real,
    exact=True,
    slopes=lambda d, y, x: (d.part_of(real=True),),
)
imag = op(
    "imag",
    "Imag",
    "c",
    np.imag,
    lambda b, x: b.imag(x),
    result=to_real,
    exact=True,
    slopes=lambda d, y, x: (d.part_of(real=False),),
)
conj = op(
    "conj",
    "Conj",
    "c",
    np.conjugate,
    lambda b, x: b.complex(b.real(x), b.neg(b.imag(x)), x.dtype),
    exact=True,
    slopes=lambda d, y, x: (d.conjugated(),),
)
