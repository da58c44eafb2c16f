"""Primitives that are routines of NumPy or SciPy, called between kernels.

Only what has no kernel of its own: sorting, linear algebra, Fourier transforms, and special
functions without a polynomial.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from graphjit.core.errors import (
    InternalError,
    InvalidArgumentError,
    LinearAlgebraError,
    NeedsPython,
    at_user_line,
)
from graphjit.core.types import (
    Array,
    DType,
    TensorType,
    TupleType,
    as_dtype,
    broadcast_shapes,
    complex64,
    complex128,
    float32,
    float64,
    int32,
    int64,
    shape_text,
)

from . import lapack
from .primitive import Library, Primitive, define, named
from .special_slopes import special_slopes
from .type_rules import require_axes, require_kind, require_same_dtype

BLAS_DTYPES = (float32, float64, complex64, complex128)


def _call(
    name: str,
    tensorflow: str,
    type: Callable[..., Any],
    numpy: Callable[..., Any],
    quiet: bool = False,
    slopes: Callable[..., Any] | None = None,
) -> Primitive:
    return define(name, Library(quiet), type, numpy, tensorflow=tensorflow, slopes=slopes)


def _sortable(op: str, result: DType | None = None) -> Callable[..., TensorType]:
    def rule(x: TensorType, axis: int, kind: str) -> TensorType:
        require_kind(x.dtype, "biufc", op)
        require_axes((axis,), x.ndim, op)
        return x.with_dtype(result) if result else x

    return rule


def _sorted(x: Array, axis: int, kind: Any) -> Array:
    if x.dtype.kind == "V":  # bfloat16, which NumPy can't sort
        return _sorted(x.astype(np.float32), axis, kind).astype(x.dtype)
    result = x.copy()
    result.sort(axis, kind)
    return result


def _order(x: Array, axis: int, kind: Any) -> Array:
    return (x.astype(np.float32) if x.dtype.kind == "V" else x).argsort(axis, kind)


# kind: one of NumPy's. Equal elements that can be told apart (indices, zeros of either sign)
# lie in an order of each kind's own.
sort = _call(
    "sort",
    "Sort",
    _sortable("Sort"),
    _sorted,
    quiet=True,
)
argsort = _call(
    "argsort",
    "ArgSort",
    _sortable("ArgSort", int64),
    _order,
    quiet=True,
)


def _search_type(sequence: TensorType, values: TensorType, right: bool) -> TensorType:
    require_same_dtype((sequence, values), "SearchSorted")
    if sequence.ndim != 1:
        raise InvalidArgumentError(
            at_user_line("searchsorted takes a sorted 1-d tensor first [Op:SearchSorted]")
        )
    return values.with_dtype(int64)


searchsorted = _call(
    "searchsorted",
    "SearchSorted",
    _search_type,
    lambda sequence, values, right: np.asarray(
        np.searchsorted(sequence, values, side="right" if right else "left"), np.int64
    ),
    quiet=True,
)


def _matrices(x: TensorType, op: str, square: bool = False) -> tuple[tuple[int, ...], int, int]:
    if x.dtype not in BLAS_DTYPES:
        require_kind(x.dtype, "", op)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        what = "square matrices" if square else "matrices"
        raise InvalidArgumentError(
            at_user_line(f"Input must be {what}, not of shape {shape_text(x.shape)} [Op:{op}]")
        )
    return x.shape[:-2], x.shape[-2], x.shape[-1]


def _square(op: str) -> Callable[..., TensorType]:
    def rule(x: TensorType, **_: Any) -> TensorType:
        _matrices(x, op, square=True)
        return x

    return rule


def _guarded(op: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The routine with LinAlgError turned into InvalidArgumentError."""

    def rule(*arrays: Array, **attrs: Any) -> Any:
        try:
            return function(*arrays, **attrs)
        except np.linalg.LinAlgError as error:
            raise LinearAlgebraError(at_user_line(f"{error} [Op:{op}]")) from error

    return rule


def _linalg(
    name: str,
    op: str,
    type: Callable[..., Any],
    numpy: Callable[..., Any],
    quiet: bool = False,
) -> Primitive:
    return _call(name, op, type, _guarded(op, numpy), quiet)


# What solves, inverts and factors leaves the flags of floating point alone.
cholesky = _linalg("cholesky", "Cholesky", _square("Cholesky"), lapack.cholesky, True)
inv = _linalg("inv", "MatrixInverse", _square("MatrixInverse"), lapack.inv, True)


def _det_type(x: TensorType) -> TensorType:
    batch, _, _ = _matrices(x, "MatrixDeterminant", square=True)
    return x.with_shape(batch)


def _slogdet_type(x: TensorType) -> TupleType:
    batch, _, _ = _matrices(x, "LogMatrixDeterminant", square=True)
    sign = x.with_shape(batch)
    return TupleType((sign, sign.with_dtype(x.dtype.real)))


det = _linalg("det", "MatrixDeterminant", _det_type, np.linalg.det)
slogdet = _linalg(
    "slogdet", "LogMatrixDeterminant", _slogdet_type, lambda x: tuple(np.linalg.slogdet(x))
)


def _solve_type(a: TensorType, b: TensorType, **attrs: Any) -> TensorType:
    require_same_dtype((a, b), "MatrixSolve")
    batch, n, _ = _matrices(a, "MatrixSolve", square=True)
    other, m, _ = _matrices(b, "MatrixSolve")
    if m != n:
        raise InvalidArgumentError(
            at_user_line(
                f"Input matrix and rhs are incompatible: {shape_text(a.shape)}, "
                f"{shape_text(b.shape)} [Op:MatrixSolve]"
            )
        )
    return b.with_shape((*broadcast_shapes((batch, other), "MatrixSolve"), *b.shape[-2:]))


def _solve_any_type(a: TensorType, b: TensorType) -> TensorType:
    if b.ndim != 1:
        return _solve_type(a, b)
    result = _solve_type(a, b.with_shape((*b.shape, 1)))
    return result.with_shape(result.shape[:-1])


# b: matrices, or one vector.
solve = _linalg("solve", "MatrixSolve", _solve_any_type, lapack.solve, True)


triangular_solve = _linalg(
    "triangular_solve", "MatrixTriangularSolve", _solve_type, lapack.solve_triangular
)


def _qr_type(x: TensorType, complete: bool) -> TupleType:
    batch, m, n = _matrices(x, "Qr")
    k = m if complete else min(m, n)
    return TupleType((x.with_shape((*batch, m, k)), x.with_shape((*batch, k, n))))


def _svd_type(x: TensorType, full: bool) -> TupleType:
    batch, m, n = _matrices(x, "Svd")
    k = min(m, n)
    u = x.with_shape((*batch, m, m if full else k))
    vh = x.with_shape((*batch, n if full else k, n))
    return TupleType((u, x.with_shape((*batch, k)).with_dtype(x.dtype.real), vh))


def _eigh_numpy(x: Array, upper: bool = False) -> tuple[Array, ...]:
    return tuple(np.linalg.eigh(x, "U" if upper else "L"))


def _eigh_type(x: TensorType, upper: bool = False) -> TupleType:
    batch, n, _ = _matrices(x, "SelfAdjointEigV2", square=True)
    return TupleType((x.with_shape((*batch, n)).with_dtype(x.dtype.real), x))


def _eig_type(x: TensorType) -> TupleType:
    batch, n, _ = _matrices(x, "Eig", square=True)
    dtype = complex64 if x.dtype in (float32, complex64) else complex128
    return TupleType((TensorType((*batch, n), dtype), x.with_dtype(dtype)))


def _eig_numpy(x: Array) -> Any:
    values, vectors = np.linalg.eig(x)
    dtype = np.complex64 if x.dtype in (np.float32, np.complex64) else np.complex128
    return values.astype(dtype), vectors.astype(dtype)


qr = _linalg(
    "qr",
    "Qr",
    _qr_type,
    lambda x, complete: tuple(np.linalg.qr(x, mode="complete" if complete else "reduced")),
    True,
)
svd = _linalg(
    "svd", "Svd", _svd_type, lambda x, full: tuple(np.linalg.svd(x, full_matrices=full)), True
)
eigh = _linalg("eigh", "SelfAdjointEigV2", _eigh_type, _eigh_numpy, True)
eig = _linalg("eig", "Eig", _eig_type, _eig_numpy)


def _lstsq_type(a: TensorType, b: TensorType, rcond: float | None) -> TensorType:
    require_same_dtype((a, b), "MatrixSolveLs")
    _, m, n = _matrices(a, "MatrixSolveLs")
    if a.ndim != 2 or b.ndim not in (1, 2) or b.shape[0] != m:
        raise InvalidArgumentError(
            at_user_line(
                f"least squares of {shape_text(a.shape)} and {shape_text(b.shape)} "
                "[Op:MatrixSolveLs]"
            )
        )
    return b.with_shape((n, *b.shape[1:]))


lstsq = _linalg(
    "lstsq",
    "MatrixSolveLs",
    _lstsq_type,
    lambda a, b, rcond: np.linalg.lstsq(a, b, rcond=rcond)[0],
)


def _lstsq_rank_type(a: TensorType, rcond: float | None) -> TensorType:
    _matrices(a, "MatrixSolveLs")
    return TensorType((), int32)


# The rank that LAPACK's least squares finds, by the same steps.
lstsq_rank = _linalg(
    "lstsq_rank",
    "MatrixSolveLs",
    _lstsq_rank_type,
    lambda a, rcond: np.asarray(
        np.linalg.lstsq(a, np.zeros(len(a), a.dtype), rcond=rcond)[2], np.int32
    ),
)


def _pinv_type(x: TensorType, rcond: float | None) -> TensorType:
    batch, m, n = _matrices(x, "PseudoInverse")
    return x.with_shape((*batch, n, m))


def _pinv_numpy(x: Array, rcond: float | None) -> Array:
    if rcond is None:  # TensorFlow's
        rcond = 10.0 * max(x.shape[-2:]) * float(np.finfo(x.dtype).eps)
    return np.linalg.pinv(x, rcond=rcond)


pinv = _linalg("pinv", "PseudoInverse", _pinv_type, _pinv_numpy)


def _expm_numpy(x: Array) -> Array:
    from scipy.linalg import expm as scipy_expm

    return np.asarray(scipy_expm(x), x.dtype)


expm = _linalg("expm", "MatrixExponential", _square("MatrixExponential"), _expm_numpy)

_FFT_RESULT = {"fft": "c", "ifft": "c", "rfft": "c", "irfft": "f"}


def _fft_type(x: TensorType, transform: str, axis: int, n: int) -> TensorType:
    allowed = "f" if transform == "rfft" else "c"
    require_kind(x.dtype, allowed, transform.upper())
    require_axes((axis,), x.ndim, transform.upper())
    if n < 1:
        raise InvalidArgumentError(
            at_user_line(f"a transform of {n} points [Op:{transform.upper()}]")
        )
    wide = x.dtype in (float64, complex128)
    if _FFT_RESULT[transform] == "c":
        dtype = complex128 if wide else complex64
    else:
        dtype = float64 if wide else float32
    points = n // 2 + 1 if transform == "rfft" else n
    return TensorType((*x.shape[:axis], points, *x.shape[axis + 1 :]), dtype)


def _fft_numpy(x: Array, transform: str, axis: int, n: int) -> Array:
    if x.dtype.itemsize == 2:
        x = x.astype(np.float32)
    if x.shape[axis] == x.size:  # one transform, at which NumPy is sooner
        return np.asarray(getattr(np.fft, transform)(x, n=n, axis=axis))
    from scipy import fft as scipy_fft  # which makes several side by side

    return np.asarray(getattr(scipy_fft, transform)(x, n=n, axis=axis))


fft = _call("fft", "FFT", _fft_type, _fft_numpy, quiet=True)


def _special_type(op: str) -> Callable[..., TensorType]:
    def rule(*inputs: TensorType, name: str) -> TensorType:
        if name not in SPECIAL and not _is_special(name):
            raise InternalError(f"no special function {name}")
        dtype = require_same_dtype(inputs, op)
        require_kind(dtype, "f", op)
        return TensorType(broadcast_shapes(tuple(t.shape for t in inputs), op), dtype)

    return rule


def _is_special(name: str) -> bool:
    """Whether scipy.special has a ufunc of this name, with one result."""
    import scipy.special

    found = getattr(scipy.special, name, None)
    return isinstance(found, np.ufunc) and found.nout == 1


# The routines of scipy.special that `special` calls, by its `name`, with the users' names for
# them; it also calls ufuncs that aren't here, by their own names. Those with public names have
# one operand. sici and fresnel give two results: _s and _c.
SPECIAL = {
    "digamma": named("digamma psi", "Derivative of lgamma.", scipy="psi digamma"),
    "erfinv": named("erfinv", "Inverse of erf.", scipy="erfinv"),
    "erfcinv": named("erfcinv", "Inverse of erfc.", scipy="erfcinv"),
    "ndtri": named("ndtri", "Quantile of the standard normal distribution.", scipy="ndtri"),
    "log_ndtr": named(
        "log_ndtr", "Logarithm of ndtr, accurate for very negative x.", scipy="log_ndtr"
    ),
    "i0": named(
        "i0 bessel_i0", "Modified Bessel function of the first kind, order 0.", scipy="i0"
    ),
    "i0e": named("i0e bessel_i0e", "exp(-|x|) i0(x).", scipy="i0e"),
    "i1": named(
        "i1 bessel_i1", "Modified Bessel function of the first kind, order 1.", scipy="i1"
    ),
    "i1e": named("i1e bessel_i1e", "exp(-|x|) i1(x).", scipy="i1e"),
    "k0": named(
        "k0 bessel_k0", "Modified Bessel function of the second kind, order 0.", scipy="k0"
    ),
    "k0e": named("k0e bessel_k0e", "exp(x) k0(x).", scipy="k0e"),
    "k1": named(
        "k1 bessel_k1", "Modified Bessel function of the second kind, order 1.", scipy="k1"
    ),
    "k1e": named("k1e bessel_k1e", "exp(x) k1(x).", scipy="k1e"),
    "j0": named("j0 bessel_j0", "Bessel function of the first kind, order 0.", scipy="j0"),
    "j1": named("j1 bessel_j1", "Bessel function of the first kind, order 1.", scipy="j1"),
    "y0": named("y0 bessel_y0", "Bessel function of the second kind, order 0.", scipy="y0"),
    "y1": named("y1 bessel_y1", "Bessel function of the second kind, order 1.", scipy="y1"),
    "dawsn": named(
        "dawsn",
        "Dawson's integral: exp(-x²) times the integral of exp(t²) from 0 to x.",
        scipy="dawsn",
    ),
    "spence": named(
        "spence",
        "Spence's function: the integral of log(t) / (1 - t) from 1 to x.",
        scipy="spence",
    ),
    "exp1": named("exp1", "Exponential integral E1.", scipy="exp1"),
    "expi": named("expi expint", "Exponential integral Ei.", scipy="expi"),
    "sici_s": named("sin_integral", "Sine integral: of sin(t) / t from 0 to x."),
    "sici_c": named(
        "cos_integral", "Cosine integral: Euler's constant + log x + of (cos t - 1) / t."
    ),
    "fresnel_s": named("fresnel_sin", "Fresnel integral of sin(π t² / 2) from 0 to x."),
    "fresnel_c": named("fresnel_cos", "Fresnel integral of cos(π t² / 2) from 0 to x."),
    "gammainc": named(scipy="gammainc"),
    "gammaincc": named(scipy="gammaincc"),
    "betainc": named(scipy="betainc"),
    "zeta": named(),
}


def _special_numpy(*arrays: Array, name: str) -> Array:
    import scipy.special

    narrow = arrays[0].dtype.itemsize == 2
    wide = [a.astype(np.float32) if narrow else a for a in arrays]
    split = name in SPECIAL and name[-2] == "_"
    called, _, part = name.partition("_") if split else (name, "", "")
    result = getattr(scipy.special, called)(*wide)
    if part:
        result = result[0 if part == "s" else 1]
    return np.asarray(result).astype(arrays[0].dtype)


# name: one of SPECIAL, or a ufunc's.
special = _call(
    "special", "Special", _special_type("Special"), _special_numpy, slopes=special_slopes
)


# Functions of SciPy and NumPy that depend on their arguments alone, change nothing, and whose
# results' types depend on the types and static values among the arguments, by their modules.
ROUTINES: dict[str, frozenset[str]] = {
    "numpy": frozenset({
        "partition", "argpartition", "polyfit", "unravel_index", "packbits", "unpackbits",
        "sort_complex", "histogram2d",
    }),
    "scipy.fft": frozenset({
        "dct", "idct", "dst", "idst", "dctn", "idctn", "dstn", "idstn", "hfft", "ihfft",
    }),
    "scipy.linalg": frozenset({
        "inv", "det", "solve", "solve_triangular", "solve_toeplitz", "cholesky", "eigh",
        "eigvalsh", "eigvals", "svd", "svdvals", "qr", "lu", "pinv", "pinvh", "expm", "sinhm",
        "coshm", "polar", "hessenberg", "toeplitz", "circulant", "hankel", "block_diag",
        "solve_sylvester", "solve_banded", "solveh_banded", "khatri_rao",
    }),
    "scipy.signal": frozenset({
        "convolve", "correlate", "fftconvolve", "oaconvolve", "convolve2d", "correlate2d",
        "lfilter", "filtfilt", "sosfilt", "sosfiltfilt", "savgol_filter", "hilbert", "detrend",
        "medfilt", "resample",
    }),
    "scipy.ndimage": frozenset({
        "gaussian_filter", "gaussian_filter1d", "uniform_filter", "uniform_filter1d",
        "convolve", "convolve1d", "correlate", "correlate1d", "sobel", "prewitt", "laplace",
        "gaussian_laplace", "gaussian_gradient_magnitude", "median_filter", "maximum_filter",
        "minimum_filter", "percentile_filter", "rank_filter", "shift", "rotate",
    }),
    "scipy.integrate": frozenset({
        "trapezoid", "cumulative_trapezoid", "simpson", "cumulative_simpson", "romb",
    }),
}  # fmt: skip


def _routine_type(
    *inputs: TensorType, function: str, arguments: str, results: Any
) -> TensorType | TupleType:
    made = tuple(TensorType(tuple(shape), as_dtype(name)) for name, *shape in results)
    return made[0] if len(made) == 1 else TupleType(made)


@cache
def _routine_named(function: str) -> Callable[..., Any]:
    module, _, name = function.rpartition(".")
    if name not in ROUTINES.get(module, ()):
        raise InternalError(f"no routine {function}")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def call_routine(function: str, arguments: str, arrays: Any) -> Any:
    """What a routine gives. arguments: JSON of a list and a dict, in which [k] is an array and
    {"value": v} anything else.
    """
    args, kwargs = json.loads(arguments)

    def given(part: Any) -> Any:
        return arrays[part[0]] if isinstance(part, list) else part["value"]

    return _routine_named(function)(
        *map(given, args), **{k: given(v) for k, v in kwargs.items()}
    )


def _routine_numpy(*arrays: Array, function: str, arguments: str, results: Any) -> Any:
    value = call_routine(function, arguments, arrays)
    parts = value if type(value) is tuple else (value,)
    if [(x.dtype.name, *x.shape) for x in map(np.asarray, parts)] != [*map(tuple, results)]:
        raise NeedsPython  # their shapes depend on what is in the arrays
    made = []
    for part in parts:
        found = np.asarray(part)
        own = not any(np.may_share_memory(found, x) for x in arrays)
        made.append(found if own else found.copy())
    return tuple(made) if len(results) > 1 else made[0]


# function: one of ROUTINES. results: of each the name of its dtype and its extents.
routine = _call("routine", "Routine", _routine_type, _routine_numpy)
