"""The emulator's arithmetic against rational numbers and Python's integers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ptx import approx
from ptx.snippets import calculate
from ptx.types import TYPES, Array

# Converting a signalling NaN is such an operation to NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")

# Bits of the exponent and of the stored significand.
SHAPES = {"f16": (5, 10), "bf16": (8, 7), "f32": (8, 23), "f64": (11, 52), "tf32": (8, 10)}
MODES = ("rn", "rz", "rm", "rp")


@cache
def decode(pattern: int, name: str) -> Fraction:
    """The value of the bits of a number that is not negative; of infinity, the next power."""
    exponent_bits, stored = SHAPES[name]
    exponent, significand = pattern >> stored, pattern & ((1 << stored) - 1)
    bias = (1 << (exponent_bits - 1)) - 1
    if exponent == 0:
        return Fraction(significand) * Fraction(2) ** (1 - bias - stored)
    return (Fraction(significand) + (1 << stored)) * Fraction(2) ** (exponent - bias - stored)


def search(below: Callable[[Fraction], bool], name: str) -> int:
    """The bits of the greatest number for which `below` holds; infinity counts as the last."""
    exponent_bits, stored = SHAPES[name]
    low, high = 0, ((1 << exponent_bits) - 1) << stored
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if below(decode(middle, name)) else (low, middle - 1)
    return low


def rounded(
    below: Callable[[Fraction], bool],
    exact: Callable[[Fraction], bool],
    negative: bool,
    name: str,
    mode: str,
) -> float:
    """The number next to one that is only known by comparisons of its size."""
    exponent_bits, stored = SHAPES[name]
    infinity = ((1 << exponent_bits) - 1) << stored
    pattern = search(below, name)
    if pattern < infinity and not exact(decode(pattern, name)):
        middle = (decode(pattern, name) + decode(pattern + 1, name)) / 2
        if mode == "rn":
            up = below(middle) and (not exact(middle) or pattern & 1 == 1)
        elif mode == "rna":
            up = below(middle)
        else:
            up = mode == ("rm" if negative else "rp")
        pattern += up
    elif pattern == infinity and (mode == "rz" or mode == ("rp" if negative else "rm")):
        pattern -= 1
    size = float("inf") if pattern == infinity else float(decode(pattern, name))
    return -size if negative else size


def nearest(value: Fraction, name: str, mode: str) -> float:
    size = abs(value)
    return rounded(lambda x: x <= size, lambda x: x == size, value < 0, name, mode)


def root(value: Fraction, name: str, mode: str) -> float:
    return rounded(lambda x: x * x <= value, lambda x: x * x == value, False, name, mode)


@np.errstate(all="ignore")
def draw(name: str, count: int, seed: int) -> Array:
    """Values of a float type: any bits, near powers of two, small integers, specials."""
    random = np.random.default_rng(seed)
    type_ = TYPES[name]
    unsigned = np.dtype(f"u{type_.size}")
    stored = SHAPES[name][1]
    bits = random.integers(0, 1 << type_.bits, count, unsigned, endpoint=False)
    kind = random.integers(0, 6, count)
    powers = bits >> unsigned.type(stored) << unsigned.type(stored)
    wiggle = random.integers(-2, 3, count).astype(f"i{type_.size}").view(unsigned)
    bits = np.where(kind == 0, powers + wiggle, bits)
    found = bits.view(type_.dtype)
    small = random.integers(-9, 10, count).astype(np.float64)
    near = random.normal(size=count) * 2.0 ** random.integers(-8, 9, count)
    tiny = np.ldexp(near, -(SHAPES[name][0] ** 2) * 2 + (-900 if name == "f64" else 0))
    for number, values in ((1, small), (2, near), (3, near), (4, tiny)):
        found = np.where(kind == number, values.astype(type_.dtype), found)
    special = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0]).astype(type_.dtype)
    chosen = special[random.integers(0, len(special), count)]
    return np.where(random.random(count) < 0.06, chosen, found).astype(type_.dtype)


def same(actual: Array, expected: Array) -> None:
    """Equal values and signs of zeros; any NaN is like any other."""
    actual, expected = actual.astype(np.float64), np.asarray(expected, np.float64)
    np.testing.assert_array_equal(actual, expected)
    finite = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[finite]), np.signbit(expected[finite]))


def finite(*values: float) -> bool:
    return bool(np.isfinite(np.array(values, np.float64)).all())


def expect(op: str, a: float, b: float, c: float, name: str, mode: str) -> float | None:
    """The result of an operation on float64 operands by rationals; None for what IEEE says."""
    if not finite(a, b, c):
        return None
    x, y, z = Fraction(a), Fraction(b), Fraction(c)
    if op == "sqrt":
        return root(x, name, mode) if x > 0 else None
    if op in ("div", "rcp"):
        x, y = (Fraction(1), x) if op == "rcp" else (x, y)
        if y == 0 or x == 0:
            return None
    value = {
        "add": lambda: x + y,
        "sub": lambda: x - y,
        "mul": lambda: x * y,
        "fma": lambda: x * y + z,
        "div": lambda: x / y,
        "rcp": lambda: x / y,
    }[op]()
    if value == 0:
        if op in ("add", "sub", "fma"):
            first = np.copysign(1, a) * np.copysign(1, b) if op == "fma" else np.copysign(1, a)
            second = {"fma": c, "add": b, "sub": -b}[op]
            both_zero = (x * y if op == "fma" else x) == 0
            if both_zero and np.copysign(1, second) == first:
                return 0.0 * float(first)
            return -0.0 if mode == "rm" else 0.0
        return 0.0 * float(np.copysign(1, a) * np.copysign(1, b))
    return nearest(value, name, mode)


def plain(op: str, a: float, b: float, c: float) -> float:
    """What IEEE says where an operand is not finite or the result is a pole."""
    with np.errstate(all="ignore"):
        x, y, z = np.float64(a), np.float64(b), np.float64(c)
        return float(
            {
                "add": lambda: x + y,
                "sub": lambda: x - y,
                "div": lambda: x / y,
                "mul": lambda: x * y,
                "sqrt": lambda: np.sqrt(x),
                "rcp": lambda: 1 / x,
                "fma": lambda: z if finite(a, b) else x * y + z,
            }[op]()
        )


ARITIES = {"add": 2, "sub": 2, "mul": 2, "fma": 3, "div": 2, "sqrt": 1, "rcp": 1}
CASES = [
    (op, name, mode)
    for op in ARITIES
    for name in ("f16", "bf16", "f32", "f64")
    for mode in (MODES if name in ("f32", "f64") else ("rn",))
    if op in ("add", "sub", "mul", "fma") or name in ("f32", "f64")
]


@pytest.mark.parametrize(("op", "name", "mode"), CASES)
@settings(max_examples=4)
@given(seed=st.integers(0, 1 << 32))
def test_one_rounding(op: str, name: str, mode: str, seed: int) -> None:
    operands = [draw(name, 96, seed + i) for i in range(ARITIES[op])]
    if op in ("add", "sub", "fma"):
        # Cancellation, and sums of very different sizes.
        operands[-1][:20] = -operands[0][:20] if op == "add" else operands[0][:20]
    actual = calculate(f"{op}.{mode}.{name}", name, [(name, x) for x in operands])
    wide = [x.astype(np.float64) for x in operands] + [np.ones(96)] * (3 - len(operands))
    expected = []
    for a, b, c in zip(*wide, strict=True):
        value = expect(op, a, b, c, name, mode)
        expected.append(plain(op, a, b, c) if value is None else value)
    same(actual, np.array(expected))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("source", "target"),
    [("f64", "f32"), ("f32", "f16"), ("f64", "f16"), ("f32", "bf16"), ("f64", "bf16")],
)
@settings(max_examples=5)
@given(seed=st.integers(0, 1 << 32))
def test_narrowing(source: str, target: str, mode: str, seed: int) -> None:
    if (source, target) == ("f32", "bf16") and mode in ("rm", "rp"):
        return
    x = draw(source, 128, seed)
    # Ties and their neighbours.
    step = 2.0 ** -(SHAPES[target][1] + 1)
    x[:40] = (1 + step * np.arange(40)).astype(x.dtype)
    x[40:60] = np.nextafter(x[:20], x.dtype.type(np.inf))
    x[60:80] = np.nextafter(x[:20], x.dtype.type(-np.inf))
    actual = calculate(f"cvt.{mode}.{target}.{source}", target, [(source, x)])
    expected = [
        nearest(Fraction(float(v)), target, mode) if np.isfinite(v) and v != 0 else float(v)
        for v in x
    ]
    same(actual, np.array(expected))


@settings(max_examples=10)
@given(seed=st.integers(0, 1 << 32))
def test_tf32(seed: int) -> None:
    x = draw("f32", 128, seed)
    x[:40] = (1 + 2.0**-11 * np.arange(40)).astype(np.float32)
    actual = calculate("cvt.rna.tf32.f32", "b32", [("f32", x)]).view(np.float32)
    expected = [
        nearest(Fraction(float(v)), "tf32", "rna") if np.isfinite(v) and v != 0 else float(v)
        for v in x
    ]
    same(actual, np.array(expected))


INTEGERS = [f"{kind}{bits}" for bits in (16, 32, 64) for kind in "us"]


def integers(name: str, count: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    info = np.iinfo(TYPES[name].dtype)
    found = random.integers(info.min, info.max, count, TYPES[name].dtype, endpoint=True)
    found >>= random.integers(0, TYPES[name].bits, count).astype(found.dtype)
    edges = np.array([0, 1, info.min, info.max, info.max - 1, info.max // 2], found.dtype)
    return np.where(random.random(count) < 0.2, edges[random.integers(0, 6, count)], found)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", ["f16", "f32", "f64", "bf16"])
@pytest.mark.parametrize("source", INTEGERS)
def test_integers_to_floats(source: str, target: str, mode: str) -> None:
    x = integers(source, 200, 7)
    actual = calculate(f"cvt.{mode}.{target}.{source}", target, [(source, x)])
    same(actual, np.array([nearest(Fraction(int(v)), target, mode) for v in x]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("source", ["f16", "f32", "f64", "bf16"])
@pytest.mark.parametrize("target", INTEGERS)
def test_floats_to_integers(source: str, target: str, mode: str) -> None:
    x = draw(source, 200, 11)
    x[:30] = (np.arange(30) / 4 - 4).astype(x.dtype)
    actual = calculate(f"cvt.{mode}i.{target}.{source}", target, [(source, x)])
    info = np.iinfo(actual.dtype)
    pick = {"rn": round, "rz": int, "rm": np.floor, "rp": np.ceil}[mode]
    for value, result in zip(x.astype(np.float64), actual, strict=True):
        if np.isnan(value):
            odd = source == "f64" or target.endswith("64")
            expected = (1 << (info.bits - 1)) * ((info.min < 0 and -1) or 1) if odd else 0
        elif np.isinf(value):
            expected = info.max if value > 0 else info.min
        else:
            expected = min(max(int(pick(value)), info.min), info.max)
        assert int(result) == expected, (value, target)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["f16", "f32", "f64", "bf16"])
def test_floats_to_integral_floats(name: str, mode: str) -> None:
    x = draw(name, 200, 5)
    x[:30] = (np.arange(30) / 4 - 4).astype(x.dtype)
    actual = calculate(f"cvt.{mode}i.{name}.{name}", name, [(name, x)])
    pick = {"rn": np.rint, "rz": np.trunc, "rm": np.floor, "rp": np.ceil}[mode]
    same(actual, pick(x.astype(np.float64)))


def wrap(value: int, name: str) -> int:
    bits = TYPES[name].bits
    value &= (1 << bits) - 1
    return value - (1 << bits) if name[0] == "s" and value >> (bits - 1) else value


def quotient(a: int, b: int) -> int:
    size = abs(a) // abs(b)
    return size if (a < 0) == (b < 0) else -size


OPERATIONS: dict[str, Callable[..., int]] = {
    "add.{}": lambda a, b: a + b,
    "sub.{}": lambda a, b: a - b,
    "mul.lo.{}": lambda a, b: a * b,
    "mad.lo.{}": lambda a, b, c: a * b + c,
    "min.{}": min,
    "max.{}": max,
    "div.{}": quotient,
    "rem.{}": lambda a, b: a - quotient(a, b) * b,
    "sad.{}": lambda a, b, c: c + abs(a - b),
}


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("op", [*OPERATIONS, "mul.hi.{}"])
def test_integer_operations(op: str, name: str) -> None:
    bits = TYPES[name].bits
    function = OPERATIONS.get(op) or (lambda a, b: (a * b) >> bits)
    count = 3 if op[:3] in ("mad", "sad") else 2
    operands = [integers(name, 150, seed) for seed in range(count)]
    if op[:3] in ("div", "rem"):
        operands[1] = np.where(operands[1] == 0, operands[1].dtype.type(3), operands[1])
    actual = calculate(op.format(name), name, [(name, x) for x in operands])
    for row in zip(actual, *operands, strict=True):
        result, *values = (int(x) for x in row)
        assert result == wrap(function(*values), name), values


@pytest.mark.parametrize("name", ["u16", "s16", "u32", "s32"])
def test_wide_products(name: str) -> None:
    a, b = (integers(name, 150, seed) for seed in (3, 4))
    wide = f"{name[0]}{2 * TYPES[name].bits}"
    c = integers(wide, 150, 5)
    product = calculate(f"mul.wide.{name}", wide, [(name, a), (name, b)])
    total = calculate(f"mad.wide.{name}", wide, [(name, a), (name, b), (wide, c)])
    for x, y, z, p, t in zip(a, b, c, product, total, strict=True):
        assert int(p) == int(x) * int(y)
        assert int(t) == wrap(int(x) * int(y) + int(z), wide)


@pytest.mark.parametrize(
    "name", ["b16", "b32", "b64", "u16", "u32", "u64", "s16", "s32", "s64"]
)
def test_shifts(name: str) -> None:
    plain_name = name.replace("b", "u")
    x = integers(plain_name, 150, 1)
    amount = np.random.default_rng(2).integers(0, 80, 150, np.uint32)
    right = calculate(f"shr.{name}", plain_name, [(plain_name, x), ("u32", amount)])
    for a, n, result in zip(x, amount, right, strict=True):
        assert int(result) == int(a) >> int(n)
    if name[0] == "b":
        left = calculate(f"shl.{name}", plain_name, [(plain_name, x), ("u32", amount)])
        for a, n, result in zip(x, amount, left, strict=True):
            assert int(result) == wrap(int(a) << int(n), plain_name)


@pytest.mark.parametrize("name", ["u32", "s32", "u64", "s64"])
def test_bit_fields(name: str) -> None:
    """By the loops that define them (PTX ISA 9.7.1, bfe and bfi)."""
    bits = TYPES[name].bits
    x, y = integers(name, 200, 1), integers(name, 200, 2)
    random = np.random.default_rng(3)
    position, length = random.integers(0, 80, (2, 200)).astype(np.uint32)
    length[:40] = 0
    fields = calculate(f"bfe.{name}", name, [(name, x), ("u32", position), ("u32", length)])
    inserts = calculate(
        f"bfi.b{bits}", name, [(name, x), (name, y), ("u32", position), ("u32", length)]
    )
    for a, b, p, n, field, inserted in zip(
        x, y, position, length, fields, inserts, strict=True
    ):
        a, b, p, n = int(a), int(b), int(p), int(n)
        top = min(p + n - 1, bits - 1)
        sign = a >> top & 1 if name[0] == "s" and n else 0
        expected = 0
        for i in range(bits):
            expected |= (a >> (p + i) & 1 if i < n and p + i < bits else sign) << i
        assert int(field) == wrap(expected, name)
        for i in range(n):
            if p + i < bits:
                b = b & ~(1 << (p + i)) | (a >> i & 1) << (p + i)
        assert int(inserted) == wrap(b, name)


def test_bits_of_words() -> None:
    for name in ("b32", "b64"):
        unsigned, bits = name.replace("b", "u"), TYPES[name].bits
        x = integers(unsigned, 200, 9)
        texts = [f"{int(v):0{bits}b}" for v in x]
        assert calculate(f"popc.{name}", "u32", [(unsigned, x)]).tolist() == [
            text.count("1") for text in texts
        ]
        assert calculate(f"clz.{name}", "u32", [(unsigned, x)]).tolist() == [
            bits - len(text.lstrip("0")) for text in texts
        ]
        assert calculate(f"brev.{name}", unsigned, [(unsigned, x)]).tolist() == [
            int(text[::-1], 2) for text in texts
        ]
    x = integers("s32", 100, 4)
    found = calculate("bfind.s32", "u32", [("s32", x)])
    expected = [(int(v) if v >= 0 else ~int(v)).bit_length() - 1 for v in x]
    assert found.view(np.int32).tolist() == expected


def test_funnel_shifts_permutes_and_tables() -> None:
    a, b = integers("u32", 200, 1), integers("u32", 200, 2)
    c = np.random.default_rng(3).integers(0, 1 << 16, 200, np.uint32)
    c[:50] %= 70
    words = [("u32", a), ("u32", b), ("u32", c)]
    for mode in ("wrap", "clamp"):
        left = calculate(f"shf.l.{mode}.b32", "u32", words)
        right = calculate(f"shf.r.{mode}.b32", "u32", words)
        for x, y, n, low, high in zip(a, b, c, right, left, strict=True):
            shift = min(int(n), 32) if mode == "clamp" else int(n) & 31
            both = int(y) << 32 | int(x)
            assert int(low) == both >> shift & 0xFFFFFFFF
            assert int(high) == both << shift >> 32 & 0xFFFFFFFF
    for x, y, z, result in zip(a, b, c, calculate("prmt.b32", "u32", words), strict=True):
        octets = (int(y) << 32 | int(x)).to_bytes(8, "little")
        picks = [(int(z) >> 4 * i) & 15 for i in range(4)]
        parts = [octets[p & 7] if p < 8 else 255 * (octets[p & 7] >> 7) for p in picks]
        assert int(result) == int.from_bytes(bytes(parts), "little")
    # The tables are those of the operations' own names (PTX ISA 9.7.8, lop3).
    for table, function in (
        (0x80, lambda x, y, z: x & y & z),
        (0xFE, lambda x, y, z: x | y | z),
        (0x40, lambda x, y, z: x & y & ~z),
        (0x1A, lambda x, y, z: (x & y | z) ^ x),
        (0x96, lambda x, y, z: x ^ y ^ z),
    ):
        from_table = calculate("lop3.b32", "u32", words, tail=f", {table}")
        np.testing.assert_array_equal(from_table, function(a, b, c))


def test_comparisons() -> None:
    """All of them on floats, with NaN; the unordered ones are true of it."""
    a, b = draw("f32", 200, 1), draw("f32", 200, 2)
    b[::3] = a[::3]
    a[::7] = np.nan
    unordered = np.isnan(a) | np.isnan(b)
    ordered = {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}
    for name, result in ordered.items():
        strict = calculate(f"set.{name}.u32.f32", "u32", [("f32", a), ("f32", b)])
        loose = calculate(f"set.{name}u.u32.f32", "u32", [("f32", a), ("f32", b)])
        np.testing.assert_array_equal(strict != 0, result & ~unordered)
        np.testing.assert_array_equal(loose != 0, result | unordered)
    nan = calculate("set.nan.s32.f32", "s32", [("f32", a), ("f32", b)])
    num = calculate("set.num.s32.f32", "s32", [("f32", a), ("f32", b)])
    np.testing.assert_array_equal(nan, -unordered.astype(np.int32))
    np.testing.assert_array_equal(num, unordered - 1)


@pytest.mark.parametrize("name", ["f16", "bf16", "f32", "f64"])
def test_minimum_and_maximum(name: str) -> None:
    a, b = draw(name, 200, 1), draw(name, 200, 2)
    a[:4], b[:4] = [0.0, -0.0, 0.0, -0.0], [-0.0, 0.0, 0.0, -0.0]
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    for op, pick in (("min", np.fmin), ("max", np.fmax)):
        actual = calculate(f"{op}.{name}", name, [(name, a), (name, b)])
        expected = pick(wide_a, wide_b)
        expected[:2] = -0.0 if op == "min" else 0.0
        expected[2:4] = [0.0, -0.0]
        zeros = (wide_a == 0) & (wide_b == 0)
        zeros[:4] = False
        same(actual[~zeros], expected[~zeros])
        if name == "f64":
            continue
        actual = calculate(f"{op}.NaN.{name}", name, [(name, a), (name, b)])
        expected = np.where(np.isnan(wide_a) | np.isnan(wide_b), np.nan, expected)
        same(actual[~zeros], expected[~zeros])


def test_modifiers() -> None:
    tiny = np.array([1e-40, -1e-40, 2.0**-126, 3e-39], np.float32)
    one = np.ones(4, np.float32)
    flushed = calculate("mul.rn.ftz.f32", "f32", [("f32", tiny), ("f32", one)])
    same(flushed, np.array([0.0, -0.0, 2.0**-126, 0.0]))
    half = np.full(4, 0.5, np.float32)
    same(
        calculate("mul.ftz.f32", "f32", [("f32", np.full(4, 2.0**-126)), ("f32", half)]),
        np.zeros(4),
    )
    same(calculate("mul.f32", "f32", [("f32", tiny), ("f32", one)]), tiny)
    values = np.array([-3, 0.25, 7, np.nan, -0.0, np.inf], np.float32)
    zeros = np.zeros(6, np.float32)
    clamped = calculate("add.sat.f32", "f32", [("f32", values), ("f32", zeros)])
    same(clamped, np.array([0, 0.25, 1, 0, 0, 1]))
    relu = calculate("cvt.rn.relu.f16.f32", "f16", [("f32", values)])
    same(relu, np.array([0, 0.25, 7, np.nan, 0, np.inf]))
    wide = np.array([-5, 70000, 12, -70000, 255, 256], np.int32)
    narrow = calculate("cvt.sat.u16.s32", "u16", [("s32", wide)])
    assert narrow.tolist() == [0, 65535, 12, 0, 255, 256]
    signs = calculate("copysign.f32", "f32", [("f32", values[:4]), ("f32", one)])
    assert np.signbit(signs).tolist() == np.signbit(values[:4]).tolist()
    nan = calculate(
        "add.f32", "f32", [("f32", np.array([np.inf])), ("f32", np.array([-np.inf]))]
    )
    assert nan.view(np.uint32)[0] == 0x7FFFFFFF


@pytest.mark.parametrize("name", ["f16x2", "bf16x2"])
def test_packed_halves(name: str) -> None:
    half = name.removesuffix("x2")
    a, b, c = (draw(half, 100, seed) for seed in range(3))
    packed = [("u32", x.view(np.uint32)) for x in (a, b, c)]
    for op, count in (("fma.rn", 3), ("add.rn", 2), ("mul.rn", 2), ("max", 2), ("neg", 1)):
        actual = calculate(f"{op}.{name}", "u32", packed[:count])
        single = calculate(f"{op}.{half}", half, [(half, x) for x in (a, b, c)[:count]])
        same(actual.view(TYPES[half].dtype), single)
    x, y = draw("f32", 50, 1), draw("f32", 50, 2)
    both = calculate(f"cvt.rn.{name}.f32", "u32", [("f32", x), ("f32", y)])
    parts = [calculate(f"cvt.rn.{half}.f32", half, [("f32", v)]) for v in (y, x)]
    same(both.view(TYPES[half].dtype), np.stack(parts, 1).ravel())


APPROXIMATE: dict[str, tuple[Callable[[Array], Array], float, float]] = {
    "ex2.approx.f32": (np.exp2, 2.0**-22, 0),
    "lg2.approx.f32": (np.log2, 2.0**-22, 2.0**-22),
    "sin.approx.f32": (np.sin, 0, 2.0**-20.5),
    "cos.approx.f32": (np.cos, 0, 2.0**-20.5),
    "tanh.approx.f32": (np.tanh, 2.0**-11, 0),
    "rcp.approx.f32": (np.reciprocal, 2.0**-23, 0),
    "sqrt.approx.f32": (np.sqrt, 2.0**-23, 0),
    "rsqrt.approx.f32": (lambda x: 1 / np.sqrt(x), 2.0**-22.4, 0),
}


@pytest.mark.parametrize("opcode", APPROXIMATE)
def test_approximate_functions_use_their_error_and_stay_in_it(opcode: str) -> None:
    function, relative, absolute = APPROXIMATE[opcode]
    x = np.random.default_rng(1).uniform(-6, 6, 2000).astype(np.float32)
    x = np.abs(x) if opcode[:2] in ("lg", "sq", "rs") else x
    exact = function(x.astype(np.float64))
    results = [calculate(opcode, "f32", [("f32", x)], seed=seed) for seed in (1, 2)]
    for result in results:
        error = np.abs(result - exact)
        near = (x > 0.5) & (x < 2) if opcode.startswith("lg2") else np.ones(len(x), bool)
        bound = np.maximum(relative * np.abs(exact), np.where(near, absolute, 0))
        assert (error <= bound).all()
        assert (error > bound / 2).any()
    assert (results[0] != results[1]).any()


def test_special_values_of_approximate_functions() -> None:
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    for opcode, expected in {
        "ex2": [1, 1, np.inf, 0, np.nan],
        "lg2": [-np.inf, -np.inf, np.inf, np.nan, np.nan],
        "sin": [0, -0.0, np.nan, np.nan, np.nan],
        "cos": [1, 1, np.nan, np.nan, np.nan],
        "tanh": [0, -0.0, 1, -1, np.nan],
        "rcp": [np.inf, -np.inf, 0, -0.0, np.nan],
        "sqrt": [0, -0.0, np.inf, np.nan, np.nan],
        "rsqrt": [np.inf, -np.inf, 0, np.nan, np.nan],
    }.items():
        same(calculate(f"{opcode}.approx.f32", "f32", [("f32", special)]), np.array(expected))


def test_approximate_division() -> None:
    random = np.random.default_rng(5)
    a, b = random.normal(size=(2, 2000)).astype(np.float32)
    for opcode in ("div.approx.f32", "div.full.f32"):
        result = calculate(opcode, "f32", [("f32", a), ("f32", b)])
        exact = a.astype(np.float64) / b
        assert (np.abs(result - exact) <= approx.DIV.relative * np.abs(exact)).all()
    far = np.full(2, 2.0**127, np.float32)
    top = np.array([3e38, np.inf], np.float32)
    same(
        calculate("div.approx.f32", "f32", [("f32", top), ("f32", far)]), np.array([0, np.nan])
    )
    assert calculate("div.full.f32", "f32", [("f32", top), ("f32", far)])[0] > 1
