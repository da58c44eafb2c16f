"""Pointwise primitives: comparisons, bits and choice."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.types import DType, TensorType, broadcast_shapes, uint8

from .family import op
from .primitive import Pointwise, define, named
from .type_rules import require_kind, require_same_dtype, to_bool

eq = op(
    "eq",
    "Equal",
    "biufc",
    np.equal,
    lambda b, x, y: b.eq(x, y),
    result=to_bool,
    exact=True,
    commutative=True,
    names=named("equal", "x == y, bool.", ufuncs="equal"),
)
ne = op(
    "ne",
    "NotEqual",
    "biufc",
    np.not_equal,
    lambda b, x, y: b.ne(x, y),
    result=to_bool,
    exact=True,
    commutative=True,
    names=named("not_equal", "x != y, bool.", ufuncs="not_equal"),
)
lt = op(
    "lt",
    "Less",
    "biufc",
    np.less,
    lambda b, x, y: b.lt(x, y),
    result=to_bool,
    exact=True,
    names=named("less", "x < y, bool.", ufuncs="less"),
)
le = op(
    "le",
    "LessEqual",
    "biufc",
    np.less_equal,
    lambda b, x, y: b.le(x, y),
    result=to_bool,
    exact=True,
    names=named("less_equal", "x <= y, bool.", ufuncs="less_equal"),
)
gt = op(
    "gt",
    "Greater",
    "biufc",
    np.greater,
    lambda b, x, y: b.gt(x, y),
    result=to_bool,
    exact=True,
    names=named("greater", "x > y, bool.", ufuncs="greater"),
)
ge = op(
    "ge",
    "GreaterEqual",
    "biufc",
    np.greater_equal,
    lambda b, x, y: b.ge(x, y),
    result=to_bool,
    exact=True,
    names=named("greater_equal", "x >= y, bool.", ufuncs="greater_equal"),
)
isnan = op(
    "isnan", "IsNan", "fc", np.isnan, lambda b, x: b.isnan(x), result=to_bool, exact=True
)
bit_and = op(
    "bit_and",
    "BitwiseAnd",
    "biu",
    np.bitwise_and,
    lambda b, x, y: b.and_(x, y),
    exact=True,
    commutative=True,
    names=named("bitwise_and", "Bitwise and of integers or bools.", ufuncs="bitwise_and"),
)
bit_or = op(
    "bit_or",
    "BitwiseOr",
    "biu",
    np.bitwise_or,
    lambda b, x, y: b.or_(x, y),
    exact=True,
    commutative=True,
    names=named("bitwise_or", "Bitwise or of integers or bools.", ufuncs="bitwise_or"),
)
bit_xor = op(
    "bit_xor",
    "BitwiseXor",
    "biu",
    np.bitwise_xor,
    lambda b, x, y: b.xor(x, y),
    exact=True,
    commutative=True,
    names=named(
        "bitwise_xor", "Bitwise exclusive or of integers or bools.", ufuncs="bitwise_xor"
    ),
)
bit_not = op(
    "bit_not",
    "Invert",
    "biu",
    np.invert,
    lambda b, x: b.not_(x),
    exact=True,
    names=named("bitwise_not bitwise_invert", "Bitwise complement of integers; not of bools."),
)


def _shift_left(b: Any, x: Any, y: Any) -> Any:
    wide = b.or_(b.lt(y, 0), b.ge(y, x.dtype.bits))
    return b.select(wide, b.const(0, x.dtype), b.shl(x, b.select(wide, b.const(0, x.dtype), y)))


def _shift_right(b: Any, x: Any, y: Any) -> Any:
    wide = b.or_(b.lt(y, 0), b.ge(y, x.dtype.bits))
    # NumPy: a wide shift gives 0, or -1 of a negative number.
    last = b.const(x.dtype.bits - 1, x.dtype)
    if x.dtype.kind == "u":
        moved = b.shr(x, b.select(wide, b.const(0, x.dtype), y))
        return b.select(wide, b.const(0, x.dtype), moved)
    return b.shr(x, b.select(wide, last, y))


shift_left = op(
    "shift_left",
    "LeftShift",
    "iu",
    np.left_shift,
    _shift_left,
    exact=True,
    names=named("left_shift", "x << y; 0 where y is no valid shift.", ufuncs="left_shift"),
)
shift_right = op(
    "shift_right",
    "RightShift",
    "iu",
    np.right_shift,
    _shift_right,
    exact=True,
    names=named(
        "right_shift", "x >> y; 0 or -1 where y is no valid shift.", ufuncs="right_shift"
    ),
)


def _popcount(b: Any, x: Any) -> Any:
    return b.cast(b.count_bits(b.abs(x)), uint8)


def _to_uint8(_: DType) -> DType:
    return uint8


popcount = op(
    "popcount",
    "PopulationCount",
    "iu",
    np.bitwise_count,
    _popcount,
    result=_to_uint8,
    exact=True,
    names=named(
        "population_count", "Number of set bits of |x|, uint8.", ufuncs="bitwise_count"
    ),
)
logical_not = op(
    "logical_not", "LogicalNot", "b", np.logical_not, lambda b, x: b.not_(x), exact=True
)


def _where_type(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    require_kind(condition.dtype, "b", "SelectV2")
    dtype = require_same_dtype((x, y), "SelectV2")
    return TensorType(broadcast_shapes((condition.shape, x.shape, y.shape), "SelectV2"), dtype)


where = define(
    "where",
    Pointwise(lambda b, c, x, y: b.select(c, x, y)),
    _where_type,
    np.where,
    tensorflow="SelectV2",
    exact=True,
    slopes=lambda d, z, c, x, y: (None, d.chosen(c, True), d.chosen(c, False)),
)
