"""Long bodies of arithmetic, written a register at a time: the bits of NumPy, and of the code
that LLVM makes of them when they are written as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.codegen.cpu import kernel_table, target
from graphjit.core.config import config

LENGTHS = (1, 7, 8, 9, 16, 31, 32, 33, 63, 64, 65, 127, 128, 1000, 1003)


def chain(x: Any, *others: Any, ops: int = 90) -> Any:
    """Sums, products, quotients, negations and roots, with constants and other arrays."""
    y = x
    for k in range(ops):
        other = others[k % len(others)] if others else np.float32(1 + k / 64).astype(x.dtype)
        match k % 6:
            case 0:
                y = y + other
            case 1:
                y = y * (0.5 + k / 256)
            case 2:
                y = y - 0.25 / (k + 1)
            case 3:
                y = y / (1.5 + k / 128)
            case 4:
                y = -y
            case 5:
                y = np.sqrt(y * y + other * other)
    return y


def in_parts(fn: Any, *args: Any) -> int:
    """How many kernels of a specialization are written in parts."""
    return target.emit_program(fn.specialization(*args).program).text.count(".table =")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", LENGTHS)
def test_every_length(n: int, dtype: Any) -> None:
    rng = np.random.default_rng(n)
    x, y = (rng.normal(size=n).astype(dtype) for _ in "xy")
    for args in ((x,), (x, y)):
        fn = gj.function(lambda *a: chain(*a), fallback="error")
        np.testing.assert_array_equal(fn(*args), chain(*args), strict=True)
        if n >= 64:
            assert in_parts(fn, *args) == 1


@pytest.mark.parametrize("shape", [(3, 40), (5, 33), (2, 3, 65), (4, 1, 100), (40, 3)])
def test_rows_columns_and_views(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    row, column = rng.normal(size=shape[-1]), rng.normal(size=(*shape[:-1], 1))

    def body(x: Any, row: Any, column: Any) -> Any:
        return chain(x, row, column, np.flip(x, -1), x[..., :1])

    fn = gj.function(body, fallback="error")
    np.testing.assert_array_equal(fn(x, row, column), body(x, row, column))


def test_special_values_go_through() -> None:
    values = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, 1e308, -1e-310]
    x = np.resize(np.array(values), 203)
    fn = gj.function(lambda x: chain(x), fallback="error")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(fn(x), chain(x))


@pytest.mark.parametrize("n", [100_003, 3_000_001])
def test_in_chunks_and_past_the_cache(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).normal(size=n).astype(np.float32)
    expected = chain(x)
    found = gj.function(lambda x: chain(x), fallback="error")(x)
    np.testing.assert_array_equal(found, expected)
    offset = np.empty(n + 1, np.float32)[1:]  # results that don't start at a cache line
    fn = gj.function(lambda x: chain(x), fallback="error")
    np.testing.assert_array_equal(fn.into(offset, x), expected)


def test_the_same_bits_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(2).normal(size=1001).astype(np.float32)
    y = np.random.default_rng(3).normal(size=1001).astype(np.float32)

    def body(x: Any, y: Any) -> Any:
        return chain(x, y), chain(y, x, ops=70), x + y

    split = gj.function(body, fallback="error")
    found = split(x, y)
    assert in_parts(split, x, y)
    monkeypatch.setattr(kernel_table, "register_lanes", lambda nest, vector_bytes: nest.width)
    monkeypatch.setattr(config, "cache", False)
    whole = gj.function(body, fallback="error")
    for a, b in zip(found, whole(x, y), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not in_parts(whole, x, y)


MATH: dict[str, tuple[Any, int]] = {  # and how often, as calls or in place
    "tanh": (lambda x, s: np.tanh(x), 20),
    "exp, a few": (lambda x, s: np.exp(-abs(x)), 3),
    "pow": (lambda x, s: np.power(abs(x) + 0.5, 0.3 * x), 12),
    "arctan2": (lambda x, s: np.arctan2(x, 1 + x * x), 12),
    "hypot with a number": (lambda x, s: np.hypot(x, s) * 0.5, 12),
    "of a number": (lambda x, s: x * np.tanh(s) + np.exp(s) * 0.1, 12),
    "sin, rare parts": (lambda x, s: np.sin(x * 1e9), 12),
    "several": (lambda x, s: np.log1p(abs(np.sin(x))) - np.cbrt(x) * np.expm1(-abs(x)), 12),
}


@pytest.mark.parametrize("name", MATH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_math_functions_take_all_registers(
    name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, often = MATH[name]

    def body(x: Any, s: Any) -> Any:
        for k in range(70):
            x = x * (0.9 + k / 1000) + 0.01 * k
            if k % (70 // often) == 0:
                x = function(x, s)
        return x

    monkeypatch.setattr(config, "cache", False)
    for n in (33, 1003):
        x = np.random.default_rng(n).normal(size=n).astype(dtype)
        x[:4] = np.nan, np.inf, -0.0, -np.inf
        s = np.array(0.7, dtype)
        split = gj.function(body, fallback="error")
        found = split(x, s)
        assert in_parts(split, x, s)
        text = target.emit_program(split.specialization(x, s).program).text
        assert (".parts(" in text) == (name != "of a number")
        with monkeypatch.context() as here:
            here.setattr(kernel_table, "register_lanes", lambda nest, vector_bytes: nest.width)
            whole = gj.function(body, fallback="error")
            np.testing.assert_array_equal(found, whole(x, s), strict=True)
            assert not in_parts(whole, x, s)
        if name != "sin, rare parts":  # where errors of the argument are all
            with np.errstate(all="ignore"):
                wanted = body(x.astype(np.longdouble), np.longdouble(0.7))
            np.testing.assert_allclose(found, wanted.astype(dtype), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("math", [False, True])
def test_constants_of_other_types(math: bool, dtype: Any) -> None:
    """`nextafter` has whole numbers among them, which no table of floats holds."""

    def body(x: Any, y: Any) -> Any:
        t = x
        for k in range(70):
            t = np.nextafter(t * (0.5 + k / 100), y) - y
            if math and k % 7 == 0:
                t = np.sqrt(abs(t)) + np.tanh(y)
        return t, np.nextafter(t, 1)

    x, y = (np.random.default_rng(k).normal(size=205).astype(dtype) for k in (0, 1))
    fn = gj.function(body, fallback="error")
    for a, b in zip(fn(x, y), body(x, y), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4 * math, atol=1e-5 * math)
    assert in_parts(fn, x, y)


@pytest.mark.parametrize("dtype", [np.float16, np.complex64, np.int32, np.uint8, bool])
def test_other_dtypes_are_written_in_one_piece(dtype: Any) -> None:
    x = (np.arange(200) % 2).astype(dtype)

    def body(x: Any) -> Any:
        y = x
        for k in range(80):
            y = np.logical_xor(y, x) if dtype is bool else y + x * x if k % 2 else y - x
        return y

    fn = gj.function(body, fallback="error")
    np.testing.assert_array_equal(fn(x), body(x), strict=True)
    assert not in_parts(fn, x)
