"""Arguments on which math_accuracy.py measures errors: hard ones and random ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.codegen.math.gamma import ROOTS

Array = np.ndarray[Any, Any]

BINARY = ("pow", "atan2", "hypot")


def specials(dtype: str) -> Array:
    """Zeros, infinities, NaN, the ends of the range and small whole numbers, both signs."""
    info = np.finfo(dtype)
    tiny, step = info.smallest_normal, info.smallest_subnormal
    values = [0.0, np.inf, np.nan, info.max, tiny, step, 2 * step, tiny - step, info.eps]
    values += [0.5, 1, 1.5, 2, 2.5, 3, 4, 10, 100, 1e10, 1 - info.epsneg, 1 + info.eps]
    x = np.array(values).astype(dtype)
    return np.concatenate([x, -x])


def near(centres: Any, dtype: str, steps: int = 4) -> Array:
    """The floats round the given numbers."""
    x = np.atleast_1d(np.asarray(centres)).astype(dtype)
    bits = x.view("i4" if dtype == "float32" else "i8")
    moved = bits[:, None] + np.arange(-steps, steps + 1, dtype=bits.dtype)
    return moved.ravel().view(dtype)


# Where something changes: thresholds of range, of our own intervals, hard cases of reduction.
TURNS = [0.25, 0.3465736, 0.4142136, 0.5, 0.6, 1.0, 1.0397208, 1.4142135623730951, 2.0, 4.0]
TURNS += [6.0, 10.0, 10.06, 20.0, 26.5, 27.3, 30.0, 88.72284, 89.416, 103.97, 128.0, 149.5]
TURNS += [709.782712893384, 710.4758600739439, 745.1332191019412, 1024.0, 1074.5, 2.0**30]
TURNS += [
    32768.0,
    131072.0,
    2.0**23,
    2.0**24,
    2.0**52,
    2.0**53,
    1e-4,
    1e-8,
    1e-16,
    0.9999,
    1.0001,
]


def samples(name: str, dtype: str, count: int, seed: int = 0) -> tuple[Array, ...]:
    """Hard and random arguments for a function."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    size = info.bits // 8

    def anything(n: int) -> Array:
        return np.frombuffer(rng.bytes(n * size), dtype).copy()

    def plain(n: int, limit: float) -> Array:
        return rng.uniform(-limit, limit, n).astype(dtype)

    def scaled(n: int, low: float, high: float) -> Array:
        sign = rng.choice([-1.0, 1.0], n)
        return (sign * np.exp2(rng.uniform(low, high, n))).astype(dtype)

    part = max(count // 8, 16)
    if name in BINARY:
        edge = specials(dtype)
        first, second = (a.ravel() for a in np.meshgrid(edge, edge))
        x = [first, anything(part), plain(part, 10), scaled(part, -2, 2)]
        y = [second, anything(part), plain(part, 10), scaled(part, -2, 2)]
        if name == "pow":
            base = np.abs(scaled(4 * part, -300 if dtype == "float64" else -60, 60))
            reach = (1100 if dtype == "float64" else 152) / np.abs(np.log2(base) + 1e-9)
            x += [base, 1 + scaled(part, -12, -1), np.round(plain(part, 50))]
            power = rng.uniform(-1, 1, 4 * part) * reach
            y += [power.astype(dtype), scaled(part, 0, 12), np.round(plain(part, 20))]
        else:
            one = anything(2 * part)
            other = (one.astype(np.float64) * np.exp2(rng.uniform(-30, 30, 2 * part))).astype(
                dtype
            )
            x += [one, scaled(part, info.minexp - 20, info.minexp + 4)]
            y += [other, scaled(part, info.minexp - 20, info.minexp + 4)]
        return np.concatenate(x), np.concatenate(y)
    turns = np.array(TURNS)
    groups = [specials(dtype), near(turns, dtype), near(-turns, dtype), anything(2 * part)]
    groups += [plain(part, 1), plain(part, 10), scaled(part, -12, 4), scaled(part, -3, 11)]
    groups += [plain(part, 110 if dtype == "float32" else 750), 1 + scaled(part, -30, -1)]
    if name in ("sin", "cos", "tan"):
        multiples = np.concatenate([np.arange(1, 400), rng.integers(1, 2**22, part)])
        exact = (
            multiples.astype(np.longdouble)
            * (np.longdouble(np.pi) + np.longdouble(1.2246467991473532e-16))
            / 2
        )
        groups += [near(exact, dtype, 1), scaled(part, 10, info.maxexp)]
        groups += [
            near([6381956970095103.0 * 2.0**797, 5.319372648326541e255], "float64").astype(
                dtype
            )
        ]
        groups += [near([16367173 * 2.0**72, 1.6e7, 1e22], dtype)]
    if name in ("lgamma", "tgamma"):
        whole = np.round(plain(part, 40))
        groups = [specials(dtype), plain(part, 185 if dtype == "float64" else 42)]
        groups += [plain(part, 10), whole + scaled(part, -50, -1), scaled(part, info.minexp, 8)]
        if name == "lgamma":
            zeros = np.array([row[0] for row in ROOTS])
            groups += [near(zeros, dtype, 4), (zeros + scaled(zeros.size, -40, -5))]
            groups += [1 + scaled(part, -50, -1), 2 + scaled(part, -50, -1), anything(part)]
    groups = [group.astype(dtype) for group in groups]
    return (np.concatenate(groups),)


def complex_samples(dtype: str, n: int, seed: int = 4) -> tuple[Array, Array]:
    """Arguments near 0, the unit circle and the real axis, and others; exponents of powers."""
    rng = np.random.default_rng(seed)
    z = np.concatenate(
        [
            rng.uniform(-2, 2, n) + 1j * rng.uniform(-2, 2, n),
            np.exp(rng.uniform(-18, 1, n)) * np.exp(1j * rng.uniform(-4, 4, n)),
            np.exp(1j * rng.uniform(-3, 3, n)) * (1 + rng.normal(size=n) * 1e-5),
            rng.uniform(-2, 2, n) + 1e-7j * rng.normal(size=n),
        ]
    ).astype(dtype)
    w = (rng.uniform(-2, 2, z.size) + 1j * rng.uniform(-2, 2, z.size)).astype(dtype)
    return z, w
