"""NumPy's ufuncs: which primitives each is, on operands of its loop's dtypes.

NumPy itself resolves the dtypes (`ufunc.resolve_dtypes`), so promotion, weak scalars, `dtype=`
and the errors for operands that have no loop are its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.core.types import Shape, as_dtype, bool_, float16, float64, uint64
from graphjit.functions import linalg, math, shape
from graphjit.ops import PRIMITIVES
from graphjit.ops import pointwise as pw
from graphjit.ops.primitive import Primitive
from graphjit.tensors.apply import INT64_RANGE, TensorBase, apply

from .promotion import (
    array,
    broadcast_shape,
    cast,
    constant,
    convert,
    is_python_scalar,
    is_weak_symbol,
    promotion_part,
    single,
    target_dtype,
    truth,
    unsupported,
)

Loop = Callable[..., Any]


def _of(primitive: Primitive, **attrs: Any) -> Loop:
    return lambda *tensors: apply(primitive, *tensors, **attrs)


def _bools(on_bools: Loop, otherwise: Loop) -> Loop:
    return lambda *t: on_bools(*t) if t[0].type.dtype.is_bool else otherwise(*t)


def _floats(on_floats: Loop, otherwise: Loop = lambda x: x) -> Loop:
    return lambda *t: on_floats(*t) if t[0].type.dtype.is_inexact else otherwise(*t)


def _parts(function: Loop) -> Loop:
    """A function of real numbers, of complex ones by parts."""

    def loop(x: Any) -> Any:
        if not x.type.dtype.is_complex:
            return function(x)
        return math.complex(function(math.real(x)), function(math.imag(x)))

    return loop


def _full(x: Any, value: Any, dtype: Any = None) -> Any:
    """The value in x's shape."""
    number = constant(value, dtype or x.type.dtype)
    return shape.broadcast_to(number, x.type.shape)


def _complex_reciprocal(z: Any) -> Any:
    """1 / z as NumPy's loop divides, which makes NaN of 0."""
    re, im = math.real(z), math.imag(z)
    one = constant(1, re.type.dtype)
    flat = apply(pw.le, apply(pw.abs_, im), apply(pw.abs_, re))
    large, small = apply(pw.where, flat, re, im), apply(pw.where, flat, im, re)
    ratio = apply(pw.div, small, large)
    whole = apply(pw.add, large, apply(pw.mul, small, ratio))
    first, second = apply(pw.div, one, whole), apply(pw.div, ratio, whole)
    return math.complex(
        apply(pw.where, flat, first, second),
        apply(pw.neg, apply(pw.where, flat, second, first)),
    )


def _reciprocal(x: Any) -> Any:
    one = constant(1, x.type.dtype)
    if x.type.dtype.is_complex:
        return _complex_reciprocal(x)
    if x.type.dtype.is_inexact:
        return apply(pw.div, one, x)
    # NumPy casts 1.0 / x, whose value for 0 is what x86-64 makes of infinity.
    lowest = x.type.dtype.min if x.type.dtype.name in ("int32", "int64") else 0
    zero = constant(0, x.type.dtype)
    unit = apply(pw.eq, apply(pw.abs_, x), one)
    rest = apply(pw.where, unit, x, zero)
    return apply(pw.where, apply(pw.eq, x, zero), constant(lowest, x.type.dtype), rest)


def isinf(x: Any) -> Any:
    """np.isinf of a tensor of any dtype."""
    if x.type.dtype.is_complex:
        return math.logical_or(isinf(math.real(x)), isinf(math.imag(x)))
    if not x.type.dtype.is_inexact:
        return _full(x, False, bool_)
    return apply(pw.eq, apply(pw.abs_, x), constant(np.inf, x.type.dtype))


def isfinite(x: Any) -> Any:
    """np.isfinite of a tensor of any dtype."""
    if x.type.dtype.is_complex:
        return math.logical_and(isfinite(math.real(x)), isfinite(math.imag(x)))
    if not x.type.dtype.is_inexact:
        return _full(x, True, bool_)
    return apply(pw.lt, apply(pw.abs_, x), constant(np.inf, x.type.dtype))


def isnan(x: Any) -> Any:
    """np.isnan of a tensor of any dtype."""
    if not x.type.dtype.is_inexact:
        return _full(x, False, bool_)
    return apply(pw.isnan, x)


def _signbit(x: Any) -> Any:
    one = constant(1, x.type.dtype)
    return apply(pw.lt, apply(pw.copysign, one, x), constant(0, x.type.dtype))


def _ignoring_nan(primitive: Primitive) -> Loop:
    def loop(x: Any, y: Any) -> Any:
        if not x.type.dtype.is_inexact:
            return apply(primitive, x, y)
        other = apply(pw.where, apply(pw.isnan, x), y, apply(primitive, x, y))
        return apply(pw.where, apply(pw.isnan, y), x, other)

    return loop


def _heaviside(x: Any, middle: Any) -> Any:
    zero, one = constant(0, x.type.dtype), constant(1, x.type.dtype)
    sides = apply(pw.where, apply(pw.lt, x, zero), zero, one)
    result = apply(pw.where, apply(pw.eq, x, zero), middle, sides)
    return apply(pw.where, apply(pw.isnan, x), x, result)


def _logaddexp(x: Any, y: Any) -> Any:
    return math.logaddexp(x, y)


def _logaddexp2(x: Any, y: Any) -> Any:
    high, distance = math.high_and_distance(x, y)
    rest = math.log1p(math.exp2(distance))
    return math.add(high, math.multiply(rest, constant(np.log2(np.e), x.type.dtype)))


def _scaled(numerator: float, denominator: float) -> Loop:
    def loop(x: Any) -> Any:
        dtype = x.type.dtype
        factor = dtype.type(numerator) / dtype.type(denominator)
        return apply(pw.mul, x, constant(float(factor), dtype))

    return single(loop)


def _modf(x: Any) -> tuple[Any, Any]:
    whole = apply(pw.trunc, x)
    zero = constant(0, x.type.dtype)
    rest = apply(pw.where, isinf(x), zero, apply(pw.sub, x, whole))
    return apply(pw.copysign, rest, x), whole


def _logical(primitive: Primitive) -> Loop:
    return lambda x, y: apply(primitive, truth(x), truth(y))


def power(x: Any, y: Any) -> Any:
    """np.power's loop. For float32 and float64 it has a shorter way to some powers where the
    exponent is a single number, with other results for -inf and -0.0 to the power of 0.5.
    """
    if y.type.dtype.is_integer and _least(y) < 0:
        raise ShapeError(at_user_line("Integers to negative integer powers are not allowed."))
    if not _is_single(x, y) or x.type.dtype.is_narrow or x.type.dtype.is_complex:
        return apply(pw.pow_, x, y)
    if y.recorder is not None:
        if not x.type.dtype.is_floating:
            return apply(pw.pow_, x, y)
        half = apply(pw.eq, y, constant(0.5, y.type.dtype))
        return apply(pw.where, half, apply(pw.sqrt, x), apply(pw.pow_, x, y))
    short = _short_power(x, float(y.numpy().item()))
    return apply(pw.pow_, x, y) if short is None else _with_shape_of(short, y)


def _with_shape_of(x: Any, y: Any) -> Any:
    return shape.broadcast_to(x, broadcast_shape(x.type.shape, y.type.shape))


def operator_power(x: Any, exponent: Any) -> Any:
    """x ** exponent of an array: Python's numbers have their short ways for all dtypes."""
    if is_python_scalar(exponent) and not isinstance(exponent, (bool, complex)):
        tensor = array(x)
        if tensor.type.dtype.is_inexact and resolve(np.power, (x, exponent))[0] == (
            tensor.type.dtype.dtype
        ):
            short = _short_power(tensor, exponent)
            if short is not None:
                return short
    elif is_weak_symbol(exponent) and array(x).type.dtype is float16:
        half = apply(pw.eq, convert(exponent, float64), constant(0.5, float64))
        return apply(pw.where, half, apply(pw.sqrt, array(x)), run_ufunc(np.power, x, exponent))
    return run_ufunc(np.power, x, exponent)


def scalar_power(x: Any, exponent: Any) -> Any:
    """x ** exponent of a NumPy scalar, which knows short ways to whole powers only."""
    if is_python_scalar(exponent) and exponent != 0.5:
        return operator_power(x, exponent)
    resolved = [as_dtype(d) for d in resolve(np.power, (x, exponent))]
    if not resolved[0].is_floating:
        return run_ufunc(np.power, x, exponent)
    return apply(pw.pow_, *(convert(v, resolved[0]) for v in (x, exponent)))


def _short_power(x: Any, exponent: Any) -> Any:
    """x to the power of a number for which pow isn't needed; None for others."""
    if exponent == 2:
        return apply(pw.mul, x, x)
    if exponent == 1:
        return x
    if x.type.dtype.is_inexact and exponent == 0.5:
        return apply(pw.sqrt, x)
    if x.type.dtype.is_inexact and exponent == -1:
        return _reciprocal(x)
    return None


def _least(y: Any) -> Any:
    """The least element of a tensor whose value is known; 0 of others."""
    return y.numpy().min(initial=0) if y.recorder is None else 0


def _is_single(x: Any, y: Any) -> bool:
    """Whether NumPy's loop for x ** y sees one exponent: not where x has but one, too."""
    if not y.type.shape:
        return True
    if any(isinstance(n, Dim) or n != 1 for n in y.type.shape):
        return False
    return bool(x.type.shape != () and (x.ndim > y.ndim or any(n != 1 for n in x.type.shape)))


def _as_matrices(x: Any, y: Any) -> tuple[Any, Any]:
    if x.type.dtype.is_bool:  # counted in int64, which doesn't wrap to 0
        return cast(x, as_dtype("int64")), cast(y, as_dtype("int64"))
    return x, y


def _product(a: Any, b: Any, op: str) -> Any:
    """The matrix product of tensors with two axes or more, or NumPy's ValueError."""
    if a.type.shape[-1] != b.type.shape[-2]:
        raise ShapeError(
            at_user_line(
                f"{op}: Input operand 1 has a mismatch in its core dimension: "
                f"{a.type.shape} and {b.type.shape}"
            )
        )
    broadcast_shape(a.type.shape[:-2], b.type.shape[:-2])
    is_bool = a.type.dtype.is_bool
    result = linalg.matmul(*_as_matrices(a, b))
    return truth(result) if is_bool else result


def _matmul(a: Any, b: Any) -> Any:
    if not a.ndim or not b.ndim:
        raise ShapeError(
            at_user_line("matmul: Input operand does not have enough dimensions (has 0)")
        )
    left = shape.expand_dims(a, 0) if a.ndim == 1 else a
    right = shape.expand_dims(b, 1) if b.ndim == 1 else b
    result = _product(left, right, "matmul")
    drop = [-2] * (a.ndim == 1) + [-1] * (b.ndim == 1)
    return shape.squeeze(result, drop) if drop else result


def _with_vectors(op: str, left: bool, right: bool, conjugate: bool) -> Loop:
    """vecdot, matvec, vecmat: a product with the last axis of an operand as a vector."""

    def loop(a: Any, b: Any) -> Any:
        if a.ndim < (1 if left else 2) or b.ndim < (1 if right else 2):
            raise ShapeError(at_user_line(f"{op}: an operand does not have enough dimensions"))
        a = math.conj(a) if conjugate else a
        a = shape.expand_dims(a, -2) if left else a
        b = shape.expand_dims(b, -1) if right else b
        result = _product(a, b, op)
        return shape.squeeze(result, [-2] * left + [-1] * right)

    return loop


def _rounded(primitive: Primitive) -> Loop:
    return _floats(_parts(_of(primitive)))


def _divmod(x: Any, y: Any) -> tuple[Any, Any]:
    return apply(pw.floordiv, x, y, strict=False), apply(pw.mod, x, y, strict=False)


def _sign(x: Any) -> Any:
    result = apply(pw.sign, x)
    if x.type.dtype.name != "bfloat16":
        return result
    zero = apply(pw.eq, x, constant(0, x.type.dtype))  # ml_dtypes keeps the sign of zero
    return apply(pw.where, zero, x, result)


# Ufuncs that are a primitive and no more, from the primitives' records.
UFUNCS: dict[Any, Loop] = {
    getattr(np, name): _of(primitive)
    for primitive in PRIMITIVES.values()
    for name in primitive.names.ufuncs
}
UFUNCS |= {
    np.add: _bools(_of(pw.bit_or), _of(pw.add)),
    np.multiply: _bools(_of(pw.bit_and), _of(pw.mul)),
    np.floor_divide: _of(pw.floordiv, strict=False),
    np.remainder: _of(pw.mod, strict=False),
    np.fmod: _of(pw.fmod, strict=False),
    np.divmod: _divmod,
    np.power: power,
    np.matmul: _matmul,
    np.positive: lambda x: x,
    np.absolute: _bools(lambda x: x, _of(pw.abs_)),
    np.sign: _sign,
    np.conjugate: math.conj,
    np.square: lambda x: apply(pw.mul, x, x),
    np.reciprocal: _reciprocal,
    np.logaddexp: single(_logaddexp),
    np.logaddexp2: single(_logaddexp2),
    np.heaviside: _heaviside,
    np.deg2rad: _scaled(np.pi, 180.0),
    np.radians: _scaled(np.pi, 180.0),
    np.rad2deg: _scaled(180.0, np.pi),
    np.degrees: _scaled(180.0, np.pi),
    np.floor: _rounded(pw.floor),
    np.ceil: _rounded(pw.ceil),
    np.trunc: _rounded(pw.trunc),
    np.rint: _rounded(pw.rint),
    np.modf: _modf,
    np.isnan: isnan,
    np.isinf: isinf,
    np.isfinite: isfinite,
    np.signbit: _signbit,
    np.fmax: _ignoring_nan(pw.maximum),
    np.fmin: _ignoring_nan(pw.minimum),
    np.logical_and: _logical(pw.bit_and),
    np.logical_or: _logical(pw.bit_or),
    np.logical_xor: _logical(pw.bit_xor),
    np.logical_not: lambda x: apply(pw.logical_not, truth(x)),
    np.invert: _bools(_of(pw.logical_not), _of(pw.bit_not)),
}
if hasattr(np, "vecdot"):
    UFUNCS[np.vecdot] = _with_vectors("vecdot", True, True, True)
if hasattr(np, "matvec"):
    UFUNCS[np.matvec] = _with_vectors("matvec", False, True, False)
    UFUNCS[np.vecmat] = _with_vectors("vecmat", True, False, True)

# Mirrored: what x < y is as y > x.
COMPARISONS = {
    np.equal: np.equal, np.not_equal: np.not_equal, np.less: np.greater,
    np.greater: np.less, np.less_equal: np.greater_equal, np.greater_equal: np.less_equal,
}  # fmt: skip
LOGICAL = {np.logical_and, np.logical_or, np.logical_xor, np.logical_not}
PRODUCTS = {f for f in UFUNCS if f.signature is not None}


def run_ufunc(ufunc: Any, *inputs: Any, dtype: Any = None) -> Any:
    """The result of ufunc(*inputs, dtype=dtype): a tensor, or a tuple of them."""
    handler = UFUNCS.get(ufunc)
    if handler is None:
        from .special import special_loop  # which few need

        handler = special_loop(ufunc)
    if handler is None:
        raise unsupported(f"np.{ufunc.__name__}")
    inputs = tuple(array(x) if isinstance(x, (list, tuple)) else x for x in inputs)
    if any(type(x) is int and not INT64_RANGE.start <= x < 2**64 for x in inputs) and not all(
        promotion_part(x) in (int, float, complex) or promotion_part(x).kind in "fc"
        if ufunc not in COMPARISONS and ufunc not in LOGICAL
        else ufunc in COMPARISONS and promotion_part(x) != np.dtype(bool)
        for x in inputs
    ):
        raise unsupported("a Python int beyond 64 bits")
    if (
        ufunc is np.power
        and isinstance(inputs[1], int)
        and promotion_part(inputs[0]) == np.dtype(bool)
    ):
        raise unsupported("a power of bools, whose dtype depends on how it is written,")
    dtypes = resolve(ufunc, inputs, dtype)
    if ufunc not in PRODUCTS:
        broadcast_shape(*(shape_of(x) for x in inputs))
    if ufunc in COMPARISONS:
        known = _beyond_range(ufunc, inputs)
        if known is not None:
            return known
    operands = [convert(x, as_dtype(d)) for x, d in zip(inputs, dtypes, strict=False)]
    if ufunc in COMPARISONS and dtypes[0] != dtypes[1]:
        return _compare_mixed(ufunc, *operands)
    result = handler(*operands)
    results = result if isinstance(result, tuple) else (result,)
    found = [cast(r, as_dtype(d)) for r, d in zip(results, dtypes[len(inputs) :], strict=True)]
    return tuple(found) if isinstance(result, tuple) else found[0]


def shape_of(value: Any) -> Shape:
    """The shape of an operand of any kind."""
    return value.type.shape if isinstance(value, TensorBase) else np.shape(value)


def resolve(
    ufunc: Any, inputs: tuple[Any, ...], dtype: Any = None
) -> tuple[np.dtype[Any], ...]:
    """The dtypes of operands and results that NumPy's loop has; TypeError if there is none."""
    parts = tuple([promotion_part(x) for x in inputs])
    wanted = None if dtype is None else target_dtype(dtype).dtype
    try:
        return _resolved(ufunc, parts, wanted)
    except TypeError as error:
        raise DTypeError(at_user_line(str(error))) from error


@lru_cache(4096)
def _resolved(
    ufunc: Any, parts: tuple[Any, ...], wanted: np.dtype[Any] | None
) -> tuple[np.dtype[Any], ...]:
    options: dict[str, Any] = {}
    if wanted is not None:
        options["signature"] = (None,) * len(parts) + (wanted,) * ufunc.nout
    found: tuple[np.dtype[Any], ...] = ufunc.resolve_dtypes(
        (*parts, *(None,) * ufunc.nout), **options
    )
    return found


def _beyond_range(ufunc: Any, inputs: tuple[Any, ...]) -> Any:
    """A comparison with a Python int that no element can equal; None if there is none."""
    for number, other, compare in (
        (inputs[1], inputs[0], ufunc), (inputs[0], inputs[1], COMPARISONS[ufunc]),
    ):  # fmt: skip
        if not isinstance(number, int) or isinstance(number, bool) or is_python_scalar(other):
            continue
        tensor = array(other)
        dtype = tensor.type.dtype
        dtype = (
            as_dtype("int64")
            if dtype.is_bool or getattr(other, "origin", "") == "weak"
            else dtype
        )
        if dtype.is_integer and not dtype.min <= number <= dtype.max:
            value = bool(compare(0, 1 if number > 0 else -1))
            return _full(tensor, value, bool_)
    return None


def _compare_mixed(ufunc: Any, x: Any, y: Any) -> Any:
    """int64 with uint64, compared exactly."""
    if y.type.dtype.kind == "i":
        return _compare_mixed(COMPARISONS[ufunc], y, x)
    if (x.type.dtype.kind, y.type.dtype.kind) != ("i", "u"):
        raise unsupported(f"np.{ufunc.__name__} of {x.type.dtype.name} and {y.type.dtype.name}")
    negative = apply(pw.lt, x, constant(0, x.type.dtype))
    below = constant(bool(ufunc(-1, 0)), bool_)
    return apply(pw.where, negative, below, UFUNCS[ufunc](cast(x, uint64), y))
