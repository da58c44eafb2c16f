"""Ufuncs on traced arrays: every one in every dtype, promotion, options, special values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special as sp
from protocol_checks import ALL, FLOATS, array, check, outcome, refused, same_outcome

import graphjit

UNARY = [
    "absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "bitwise_count",
    "cbrt", "ceil", "conjugate", "cos", "cosh", "deg2rad", "degrees", "exp", "exp2", "expm1",
    "fabs", "floor", "invert", "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2",
    "logical_not", "modf", "negative", "positive", "rad2deg", "radians", "reciprocal", "rint",
    "sign", "signbit", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
]  # fmt: skip


BINARY = [
    "add",
    "arctan2",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "copysign",
    "divide",
    "divmod",
    "equal",
    "float_power",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "greater",
    "greater_equal",
    "heaviside",
    "hypot",
    "left_shift",
    "less",
    "less_equal",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "not_equal",
    "power",
    "remainder",
    "right_shift",
    "subtract",
]


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", UNARY)
def test_unary_ufunc(name: str, dtype: str) -> None:
    ufunc = getattr(np, name)
    for shape in ((), (0,), (3, 5)):
        check(lambda x: ufunc(x), array(shape, dtype))


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("name", BINARY)
def test_binary_ufunc(name: str, dtype: str) -> None:
    ufunc = getattr(np, name)
    check(lambda x, y: ufunc(x, y), array((3, 5), dtype), array((5,), dtype, 1))
    check(lambda x, y: ufunc(x, y), array((), dtype), array((2, 1), dtype, 1))
    check(lambda x, y: ufunc(x, y), array((3,), dtype), array((2,), dtype, 1))


@pytest.mark.parametrize(
    "other", ("bool", "int8", "uint8", "int64", "uint64", "float16", "float64", "complex64")
)
@pytest.mark.parametrize("dtype", ("bool", "int8", "int64", "uint64", "float32", "complex128"))
def test_promotion(dtype: str, other: str) -> None:
    x, y = array((3,), dtype), array((3,), other, 1)
    for name in (
        "add",
        "divide",
        "power",
        "maximum",
        "equal",
        "less",
        "logical_or",
        "left_shift",
    ):
        check(lambda x, y, name=name: getattr(np, name)(x, y), x, y)


@pytest.mark.parametrize("scalar", (True, 2, -1, 0, 300, 2**40, 2.5, 1e300, 1j))
@pytest.mark.parametrize("dtype", ALL)
def test_python_scalars_are_weak(dtype: str, scalar: Any) -> None:
    x = array((3,), dtype)
    for f in (
        lambda x: x + scalar, lambda x: scalar - x, lambda x: x * scalar, lambda x: x / scalar,
        lambda x: x // scalar, lambda x: x % scalar, lambda x: x < scalar,
        lambda x: scalar >= x, lambda x: x == scalar, lambda x: x != scalar,
        lambda x: x & scalar, lambda x: np.maximum(x, scalar), lambda x: np.clip(x, 0, scalar),
        lambda x: np.where(x > 0, x, scalar),
    ):  # fmt: skip
        check(f, x)


@pytest.mark.parametrize("exponent", (0, 1, 2, 3, -1, 0.5, 2.0, -1.0, 1.5))
@pytest.mark.parametrize("dtype", ALL)
def test_power(dtype: str, exponent: Any) -> None:
    check(lambda x: x**exponent, array((4,), dtype), may_refuse=dtype == "bool")
    check(lambda x: exponent**x, np.abs(array((4,), dtype)))
    if dtype == "bool":
        refused(lambda x: x**2, array((4,), dtype))  # int8, where np.power gives int64


def test_numpy_scalars_and_arrays_are_strong() -> None:
    x = array((3,), "float32")
    check(lambda x: x + np.float64(2), x)
    check(lambda x: np.int8(2) * x, x)
    y = np.arange(3.0)
    check(lambda x: x + y, x)
    check(lambda x: y - x, x)
    check(lambda x: x + [1, 2, 3], x)  # noqa: RUF005
    check(lambda x: [1.5, 2, 3] * x, x)


def test_int64_with_uint64_is_compared_exactly() -> None:
    x = np.array([-1, 2**62, 5], np.int64)
    y = np.array([2**64 - 1, 2**62, 2], np.uint64)
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
        check(lambda x, y, n=name: getattr(np, n)(x, y), x, y)
        check(lambda x, y, n=name: getattr(np, n)(y, x), x, y)


def test_special_values() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -2.5])
    for name in (*UNARY, "nan_to_num"):
        if name not in ("invert", "bitwise_count"):
            check(lambda x, n=name: getattr(np, n)(x), x)
    y = np.array([1.0, np.nan, 0.0, np.inf, 2.0, -np.inf, -0.0])
    for name in BINARY:
        if "shift" not in name and "bitwise" not in name:
            check(lambda x, y, n=name: getattr(np, n)(x, y), x, y)


def test_integer_edge_cases() -> None:
    for dtype in ("int8", "int32", "int64", "uint8", "uint64"):
        info = np.iinfo(dtype)
        x = np.array([info.min, info.max, 0, 1, 2], dtype)
        y = np.array([0, 1, 0, 200 % 127, 65], dtype)
        for name in (
            "floor_divide",
            "remainder",
            "fmod",
            "left_shift",
            "right_shift",
            "divmod",
        ):
            check(lambda x, y, n=name: getattr(np, n)(x, y), x, y)
        check(lambda x: (np.reciprocal(x), abs(x), -x, np.sign(x), x**3), x)


UFUNC_OPTIONS: list[Callable[..., Any]] = [
    lambda x: np.add(x, x, dtype=np.float64),
    lambda x: np.exp(x, dtype="float64"),
    lambda x: np.add.reduce(x),
    lambda x: np.add.reduce(x, axis=1, keepdims=True),
    lambda x: np.add.reduce(x, axis=None, initial=3),
    lambda x: np.multiply.reduce(x, axis=(0, 1)),
    lambda x: np.maximum.reduce(x, axis=1, initial=0),
    lambda x: np.minimum.reduce(x),
    lambda x: np.fmax.reduce(x),
    lambda x: np.logical_and.reduce(x, axis=1),
    lambda x: np.logical_or.reduce(x),
    lambda x: np.add.accumulate(x),
    lambda x: np.multiply.accumulate(x, axis=1),
    lambda x: np.maximum.accumulate(x, 1),
    lambda x: np.minimum.accumulate(x),
    lambda x: np.logical_and.accumulate(x),
    lambda x: np.add.outer(x, x),
    lambda x: np.multiply.outer(x[0], [1, 2]),
    lambda x: np.less.outer(x, 1),
    lambda x: np.matmul(x, x.T),
    lambda x: x @ x.T,
    lambda x: x @ x[0],
    lambda x: x[0] @ x.T,
    lambda x: x[0] @ x[1],
    lambda x: x @ x,
    lambda x: np.vecdot(x, x),
    lambda x: x @ 2,
]


@pytest.mark.parametrize("dtype", ALL)
@pytest.mark.parametrize("index", range(len(UFUNC_OPTIONS)))
def test_ufunc_methods_and_options(index: int, dtype: str) -> None:
    refusing = np.dtype(dtype).kind == "c" and index in (6, 7, 8, 13, 14)
    check(UFUNC_OPTIONS[index], array((3, 5), dtype), may_refuse=refusing)


def test_out() -> None:
    def into(x: Any, y: Any) -> Any:
        z = np.zeros_like(x)
        np.add(x, y, out=z)
        np.multiply(z, 2, out=z, where=x > 0)
        return z

    check(into, array((3, 5), "float32"), array((5,), "float32"))
    refused(lambda x: np.add(x, 1, out=np.zeros(3)), array((3,), "float64"))
    refused(lambda x: np.add(x, 1, out=x), array((3,), "float64"))
    refused(lambda x: np.add(x, 1, where=x > 0), array((3,), "float64"))


SPECIAL = [
    sp.expit, sp.erf, sp.erfc, sp.gammaln, sp.gamma, sp.digamma, sp.psi, sp.log1p, sp.expm1,
    sp.entr, sp.logit, sp.i0, sp.i1, sp.i0e, sp.ndtr, sp.ndtri, sp.erfinv, sp.log_ndtr, sp.j0,
    sp.k0, sp.exp1, sp.spence, sp.cbrt, sp.exp2, sp.log_expit,
]  # fmt: skip


@pytest.mark.parametrize("dtype", ("bool", "int32", *FLOATS))
@pytest.mark.parametrize("ufunc", SPECIAL, ids=lambda f: f.__name__)
def test_scipy_special(ufunc: Any, dtype: str) -> None:
    check(lambda x: ufunc(x), array((3, 5), dtype))
    check(lambda x: ufunc(x / 4), array((3, 5), dtype))


def test_scipy_special_of_two() -> None:
    x, y = np.array([0.0, 0.0, 2.0, 1.5]), np.array([0.0, np.nan, 3.0, 0.5])
    for f in (sp.xlogy, sp.xlog1py, sp.gammainc, sp.gammaincc):
        check(lambda x, y, f=f: f(x, y), x, y)
    refused(lambda x: sp.airy(x), x)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floor_division_rounds_once(dtype: str) -> None:
    random = np.random.default_rng(0)
    x = random.uniform(-1000, 1000, 10_000).astype(dtype)
    y = random.uniform(-5, 5, 10_000).astype(dtype)
    x[:4], y[:4] = (1025, 7, 1000.5, 2112), (1.5, -0.001, 1.001, 0.9995)
    for function in (np.floor_divide, np.remainder):
        compiled = graphjit.function(lambda v, w, function=function: function(v, w))
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(compiled(x, y), function(x, y))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_powers_of_one_half(dtype: str) -> None:
    x = np.array([-np.inf, -0.0, np.inf, 4.0], dtype)
    half = np.array([0.5], dtype)
    for function in (
        lambda x: x**0.5,
        lambda x: np.power(x, 0.5),
        lambda x: np.float_power(x, 0.5),
        lambda x: x**half,
        lambda x: np.power(x, [0.5]),
        lambda x: np.power(x, np.full(4, 0.5)),
        lambda x: np.power(x[:1], half),
        lambda x: x[0] ** 0.5,
        lambda x: x[1] ** 0.5,
        lambda x: np.power(x[1], 0.5),
        lambda x: x.min() ** half[0],
    ):
        with np.errstate(all="ignore"):
            expected = outcome(function, (x,))
            assert same_outcome(outcome(graphjit.function(function), (x,)), expected)
    compiled = graphjit.function(lambda x, p: x**p)
    for p in (0.25, 0.5, 2.0, 0.5):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(compiled(x, p), x**p, rtol=4e-3)
            assert same_outcome(np.signbit(compiled(x, p)), np.signbit(x**p))


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (lambda x, n: x * (1 / n), (3, 7, 0, 5)),
        (lambda x, n: x * (1.0 / n), (3.0, 7.0, 0.0, -0.0, 5.0)),
        (lambda x, n: (x, 1 / n)[0], (3, 7, 0, 5)),
        (lambda x, n: x[:0] * (1 / n), (3, 7, 0, 5)),
        (lambda x, n: 1 / n, (3.0, 7.0, 0.0, 5.0)),
        (lambda x, n: x * 10.0**n, (2.0, 3.0, 400.0, -400.0)),
        (lambda x, n: x * n**2, (2.0, 3.0, 1e200, 1e-200, float("inf"), float("nan"))),
        (lambda x, n: x * n**-1, (2.0, 3.0, 0.0)),
        (lambda x, n: x * n**0.5, (2.0, 3.0, 0.0)),
        (lambda x, n: x * (7 // n), (2, 3, 0)),
        (lambda x, n: x * (7 % n), (2, 3, 0)),
        (lambda x, n: x * (7.0 // n), (2.0, -3.0, 0.0)),
        (lambda x, n: x * (n % 7.0), (2.0, -3.0, -0.0, float("inf"))),
        (lambda x, n: x * (n // 0.1), (2.0, -3.0, -0.0, float("inf"), 1e300)),
        (lambda x, n: x * (n / 0), (2.0, 3.0)),
        (lambda x, n: x * (1 / n), (2j, 3j, 0j)),
        (lambda x, n: x * abs(n), (2j, 3j, complex(1e308, 1e308))),
        (lambda x, n: x * n**2, (2j, 3j, complex(1e308, 1e308))),
    ],
)
def test_python_numbers_fail_as_in_python(
    function: Callable[..., Any], values: tuple[Any, ...]
) -> None:
    compiled = graphjit.function(function)
    for value in values:
        actual, expected = (outcome(f, (np.ones(2), value)) for f in (compiled, function))
        if isinstance(expected, type):
            assert actual is expected, value
        else:
            np.testing.assert_allclose(actual, expected, rtol=1e-15)
