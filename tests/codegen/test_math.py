"""Elementary functions against the true values, the special cases and each other's widths."""

from __future__ import annotations

import csv
import math
import sys
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import math_accuracy as accuracy  # noqa: E402

sys.path.remove(str(ROOT / "benchmarks"))
FLOATS = ("float32", "float64")
COMPLEX = sorted(n for n in accuracy.MATH if n.startswith("complex_"))
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@cache
def compiled(name: str, dtype: str, width: int = 0) -> Any:
    return accuracy.Compiled(name, dtype, width or (16 if dtype == "float32" else 8))


def same(y: Any, expected: Any) -> Any:
    """Equal, signs of zero too; NaN equals NaN."""
    equal = (y == expected) & (np.signbit(y) == np.signbit(expected))
    return equal | (np.isnan(y) & np.isnan(expected))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", accuracy.REAL)
def test_error_is_at_most_two_ulp(name: str, dtype: str) -> None:
    slow = dtype == "float64" and (name in ("erf", "erfc", "tgamma") or not accuracy.LONG)
    operands = accuracy.samples(name, dtype, 4000 if slow else 40000, seed=1)
    error, place = accuracy.worst(name, compiled(name, dtype)(*operands), operands)
    assert error <= 2, f"{error} ULP at {place}"


@pytest.mark.parametrize("name", ["exp", "log", "pow", "sin", "tan", "asinh", "log1p", "tanh"])
def test_float64_against_mpmath(name: str) -> None:
    # The long double of the C library is the usual oracle; here it is not trusted.
    operands = accuracy.samples(name, "float64", 600, seed=2)
    finite = np.all([np.isfinite(x) & (x != 0) & (abs(x) < 1e4) for x in operands], axis=0)
    operands = tuple(x[finite] for x in operands)
    exact = np.array([accuracy._exact(name, *row) for row in zip(*operands, strict=True)])
    error = accuracy.ulp_errors(compiled(name, "float64")(*operands), exact)
    assert error.max() <= 2, operands[0][error.argmax()]


# Numbers beside a multiple of π/2: Kahan's worst for float64; Muller, "Elementary Functions".
HARD = [
    6381956970095103.0 * 2.0**797,
    5.319372648326541416707296656673541083813475031793921822105998164685e255,
]
HARD += [1e22, 1e300, 1.7976931348623157e308, 2.0**1023, 2.0**30, 2.0**30 + 1, 2.0**31 * np.pi]
HARD += [
    np.pi,
    2 * np.pi,
    1e5 * np.pi,
    355.0,
    103993.0,
    245850922.0,
    411557987.0 * 2,
    2.0**29 + 0.5,
]
HARD_SINGLE = [
    16367173 * 2.0**72,
    3.4028234663852886e38,
    32768.0,
    32769.0,
    1e10,
    355.0,
    103993.0,
]
HARD_SINGLE += [
    float(np.float32(k * np.pi / 2)) for k in (1, 2, 3, 11, 710, 20860, 20861, 41724)
]


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize(("dtype", "hard"), [("float64", HARD), ("float32", HARD_SINGLE)])
def test_hard_reductions(name: str, dtype: str, hard: list[float]) -> None:
    x = np.array([*hard, *(-v for v in hard)]).astype(dtype)
    y = compiled(name, dtype)(x)
    with mpmath.workprec(1300):
        for value, result in zip(x, y, strict=True):
            exact = getattr(mpmath, name)(mpmath.mpf(float(value)))
            unit = float(np.spacing(np.abs(np.array(float(exact), dtype))))
            assert abs(mpmath.mpf(float(result)) - exact) <= 2 * unit, value


VALIDATION = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh"}
VALIDATION |= {"arccosh": "acosh", "arctanh": "atanh"}
DATA = Path(np.__file__).parent / "_core" / "tests" / "data"
FILES = sorted(DATA.glob("umath-validation-set-*.csv"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem.rsplit("-", 1)[1])
def test_numpy_validation_set(file: Path) -> None:
    found = file.stem.rsplit("-", 1)[1]
    name = VALIDATION.get(found, found)
    with file.open() as stream:
        lines = [line for line in stream if line.strip() and line[0] not in "$#"]
    rows = list(csv.DictReader(lines, ["type", "input", "output", "ulp"]))
    for kind, integer, dtype in (
        (np.float32, np.uint32, "float32"),
        (np.float64, np.uint64, "float64"),
    ):
        chosen = [r for r in rows if r["type"] == f"np.{dtype}"]
        x = np.array([int(r["input"], 16) for r in chosen], integer).view(kind)
        expected = np.array([int(r["output"], 16) for r in chosen], integer).view(kind)
        y = compiled(name, dtype)(x)
        # The sets give outputs as magnitudes of correctly rounded values.
        close = np.abs(y - expected) <= 2 * np.spacing(np.abs(expected))
        assert np.all(same(y, expected) | close), x[~(same(y, expected) | close)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n in accuracy.REAL if n not in accuracy.BINARY])
def test_zeros_infinities_and_nan_as_numpy(name: str, dtype: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, -2.0, 2.0], dtype)
    long = accuracy.numpy_function(name)(x.astype(np.float64)).astype(dtype)
    if name == "sigmoid":
        long[:5] = [0.5, 0.5, 1, 0, np.nan]
    y = compiled(name, dtype)(x)
    first = slice(0, 5)
    if name == "cos":
        assert np.array_equal(y[:2], [1, 1])
    expected = np.where(np.isnan(long), np.nan, long)
    exact = np.isnan(expected) | np.isinf(expected) | (expected == 0)
    assert np.all(same(y, expected)[first] | ~exact[first])
    assert np.all(same(y, expected)[exact])
    assert np.all(np.abs(y - expected)[~exact] <= 2 * np.spacing(np.abs(expected[~exact])))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", accuracy.BINARY)
def test_binary_tables_as_numpy(name: str, dtype: str) -> None:
    info = np.finfo(dtype)
    values = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 2.0**53, 2.0**53 - 1, 2.0**24 - 1, np.inf]
    values += [info.max, info.smallest_normal, info.smallest_subnormal, np.nan, 1 - info.epsneg]
    edge = np.array([*values, *(-v for v in values)]).astype(dtype)
    x, y = (a.ravel() for a in np.meshgrid(edge, edge))
    expected = accuracy.numpy_function(name)(x, y)
    result = compiled(name, dtype)(x, y)
    close = np.abs(result - expected) <= 3 * np.spacing(np.abs(expected))
    wrong = ~(same(result, expected) | (close & (expected != 0)))
    assert not wrong.any(), [(x[i], y[i], result[i], expected[i]) for i in np.nonzero(wrong)[0]]


@pytest.mark.parametrize("dtype", FLOATS)
def test_exact_results(dtype: str) -> None:
    info = np.finfo(dtype)
    powers = np.arange(info.minexp - info.nmant, info.maxexp)
    x = np.ldexp(np.ones(1, dtype), powers)
    assert np.array_equal(compiled("log2", dtype)(x), powers)
    assert np.array_equal(compiled("exp2", dtype)(powers.astype(dtype)), x)
    tens = np.arange(0, 23 if dtype == "float64" else 11)
    assert np.array_equal(compiled("log10", dtype)((10.0**tens).astype(dtype)), tens)
    cubes = np.arange(-100, 101).astype(dtype)
    assert np.array_equal(compiled("cbrt", dtype)(cubes**3), cubes)
    whole = np.arange(1, 24 if dtype == "float64" else 14)
    factorials = [math.factorial(n - 1) for n in whole]
    assert np.array_equal(compiled("tgamma", dtype)(whole.astype(dtype)), factorials)
    assert np.array_equal(compiled("lgamma", dtype)(np.array([1, 2], dtype)), [0, 0])
    two = np.full(20, 3, dtype)
    count = np.arange(20 if dtype == "float64" else 15).astype(dtype)
    expected = (3.0**count).astype(dtype)
    assert np.array_equal(compiled("pow", dtype)(two[: count.size], count), expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_range_ends_of_exponentials(dtype: str) -> None:
    info = np.finfo(dtype)
    top = np.log(np.longdouble(info.max)).astype(dtype)
    top = (
        top
        if float(top) <= float(np.log(np.longdouble(info.max)))
        else np.nextafter(top, np.float32(0))
    )
    x = np.array([top, np.nextafter(top, np.array(np.inf, dtype))], dtype)
    for name in ("exp", "expm1"):
        y = compiled(name, dtype)(x)
        assert np.isfinite(y[0]) and np.isinf(y[1])
    lowest = np.log(np.longdouble(info.smallest_subnormal)) - np.log(np.longdouble(2))
    x = np.array([lowest * 0.9999, lowest * 1.0001, -1e4, -np.inf]).astype(dtype)
    assert list(compiled("exp", dtype)(x) > 0) == [True, False, False, False]


@pytest.mark.parametrize("dtype", FLOATS)
def test_gamma_functions_as_scipy(dtype: str) -> None:
    rng = np.random.default_rng(0)
    limit = 150 if dtype == "float64" else 30
    # Near its zeros at 1, 2 and below 0 gammaln itself is good to an absolute error only.
    x = np.concatenate([rng.uniform(0.01, limit, 200), rng.uniform(-20, 0, 200)]).astype(dtype)
    poles = np.array([0.0, -0.0, -1, -2, -30, np.inf, -np.inf, np.nan, 1, 2], dtype)
    for name, function in (("lgamma", scipy.special.gammaln), ("tgamma", scipy.special.gamma)):
        assert np.all(same(compiled(name, dtype)(poles), function(poles))), name
        relative = 1e-12 if dtype == "float64" else 1e-6
        np.testing.assert_allclose(compiled(name, dtype)(x), function(x), relative, relative)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", accuracy.REAL)
def test_bits_do_not_depend_on_the_width(name: str, dtype: str) -> None:
    operands = accuracy.samples(name, dtype, 2000, seed=3)
    alone = compiled(name, dtype, 1)(*operands)
    many = accuracy.Compiled(name, dtype, 16)(*operands)
    assert np.all(same(alone, many))
    # nor on whether the target has an instruction for it
    bare = accuracy.Compiled(name, dtype, 8, native=frozenset())(*operands)
    assert np.all(same(alone, bare))
    odd = np.roll(np.stack(operands), 5, axis=1)
    assert np.all(same(np.roll(alone, 5), compiled(name, dtype)(*odd)))


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf", "sigmoid", "log1p", "expm1"])
def test_float32_functions_stay_in_float32(name: str) -> None:
    assert "double" not in compiled(name, "float32").text


def test_huge_arguments_are_a_rare_branch() -> None:
    text = compiled("sin", "float64").text
    assert "llvm.vector.reduce.or" in text
    body = next(
        part
        for part in text.split("define")
        if part.startswith(" internal double @math.sin_huge")
    )
    assert "noinline" in body


def grid(dtype: str, values: list[float]) -> Any:
    re, im = (a.ravel() for a in np.meshgrid(values, values))
    z = np.empty(re.size, dtype)
    z.real, z.imag = re, im
    return z


def numpy_complex(name: str) -> Any:
    rule = name.removeprefix("complex_")
    if rule == "sigmoid":
        return lambda z: 1 / (1 + np.exp(-z))
    long = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide"}
    return getattr(np, long.get(rule) or accuracy._SPELLING.get(rule, rule))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_error_of_the_norm(name: str, dtype: str) -> None:
    z, w = accuracy.complex_samples(dtype, 60)
    function = compiled(name, dtype, 4)
    operands = (z, w) if function.count == 2 else (z,)
    error = accuracy.norm_errors(name.removeprefix("complex_"), function(*operands), operands)
    # w ln z amplifies the error of the logarithm by its own size.
    limit = 8 + (np.abs(w * np.log(z)) if name == "complex_pow" else 0)
    assert np.all(error <= limit), (error.max(), z[error.argmax()])


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", [n for n in COMPLEX if n != "complex_pow"])
def test_branch_cuts_and_signed_zeros_as_numpy(name: str, dtype: str) -> None:
    z = grid(dtype, [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 30, -30])
    function = compiled(name, dtype, 4)
    operands = (np.repeat(z, z.size), np.tile(z, z.size)) if function.count == 2 else (z,)
    y, expected = function(*operands), numpy_complex(name)(*operands)
    tolerance = 16 * np.finfo(dtype).eps * np.maximum(np.abs(expected), 1)
    for ours, theirs in ((y.real, expected.real), (y.imag, expected.imag)):
        close = (np.abs(ours - theirs) <= tolerance) & (np.signbit(ours) == np.signbit(theirs))
        wrong = ~(same(ours, theirs) | close)
        if name == "complex_sigmoid":  # NumPy has none; the signs of 1 / (1 + e^-z) are moot
            wrong &= np.abs(ours - theirs) > tolerance
            wrong &= np.isfinite(theirs)
        if function.count == 2:  # zero parts after cancellation: fused products in NumPy
            wrong &= np.abs(ours - theirs) > tolerance
        if name == "complex_exp2":  # NumPy rounds z ln 2 first
            wrong &= np.abs(ours - theirs) > 8 * tolerance
        at = [z[i] for i in np.nonzero(wrong)[0]] if function.count == 1 else int(wrong.sum())
        assert not wrong.any(), at


SAME_SPECIALS = "sqrt exp log log2 log10 sinh cosh tanh sin cos tan asin acos asinh acosh"


@pytest.mark.parametrize("rule", [*SAME_SPECIALS.split(), "atan", "atanh", "div"])
def test_infinite_and_huge_complex_as_numpy(rule: str) -> None:
    z = grid(
        "complex128", [0.0, -0.0, 1, -2, 1e300, -1e300, 1e-300, 800, np.inf, -np.inf, np.nan]
    )
    function = compiled("complex_" + rule, "complex128", 4)
    operands = (np.repeat(z, z.size), np.tile(z, z.size)) if function.count == 2 else (z,)
    y, expected = function(*operands), numpy_complex(rule)(*operands)
    for ours, theirs in ((y.real, expected.real), (y.imag, expected.imag)):
        tolerance = 16 * np.finfo(float).eps * np.abs(theirs)
        good = same(ours, theirs) | (np.abs(ours - theirs) <= tolerance)
        assert good.all(), [
            (o[~good][:9], ours[~good][:9], theirs[~good][:9]) for o in operands
        ]


def test_complex_power_special_cases() -> None:
    power = compiled("complex_pow", "complex128", 4)
    z = np.array([0, 0, 0, 1 + 2j, 1 + 2j, 2j, 3 + 4j, np.nan, 1 + 1j], complex)
    w = np.array([0, 2, -1, 0, 2, -2, 1, 0, 20], complex)
    y = power(z, w)
    assert np.array_equal(y[[0, 1, 3, 4, 6, 7]], [1, 0, 1, -3 + 4j, 3 + 4j, 1])
    assert np.isnan(y[2]) and y[5] == -0.25 and y[8] == -1024


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_bits_do_not_depend_on_the_width(name: str) -> None:
    z = grid("complex128", [0.0, -1, 0.3, 1.7, 1e10, 1e200, np.inf, np.nan, 2])
    alone, many = compiled(name, "complex128", 1), compiled(name, "complex128", 4)
    operands = (z, z[::-1].copy()) if alone.count == 2 else (z,)
    one, four = alone(*operands), many(*operands)
    assert np.all(same(one.real, four.real) & same(one.imag, four.imag))
