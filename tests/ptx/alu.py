"""The instructions that make values from values, a row each.

A function takes the opcode's modifiers, the machine's random generator and arrays of values;
it returns an array of the result's type, or a tuple for two results. PTX ISA sections are
9.7.1 (integer), 9.7.3 (floating point), 9.7.4 (half), 9.7.6 (comparison), 9.7.8 (logic and
shift) and 9.7.9 (data movement and conversion).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ptx import approx, arithmetic
from ptx.isa import row
from ptx.types import HALF, TYPES, Array

Mods = dict[str, str]
Random = np.random.Generator

INT = "u16|s16|u32|s32|u64|s64"
CANONICAL = {"f16": 0x7FFF, "bf16": 0x7FFF, "f32": 0x7FFFFFFF}
TINY = {"f16": 2.0**-14, "bf16": 2.0**-126, "f32": 2.0**-126, "f64": 2.0**-1022}


# Integers


def _int(operation: Callable[..., Any]) -> Callable[..., Array]:
    """A row's function for an operation that stays in the type of its operands."""
    return lambda mods, random, *args: operation(*args).astype(args[0].dtype, copy=False)


row(f"add type={INT}", "=type, type, type")(_int(np.add))
row(f"sub type={INT}", "=type, type, type")(_int(np.subtract))
row(f"mul lo type={INT}", "=type, type, type")(_int(np.multiply))
row(f"mad lo type={INT}", "=type, type, type, type")(_int(lambda a, b, c: a * b + c))
row(f"min type={INT}", "=type, type, type")(_int(np.minimum))
row(f"max type={INT}", "=type, type, type")(_int(np.maximum))
row("abs type=s16|s32|s64", "=type, type")(_int(np.abs))
row("neg type=s16|s32|s64", "=type, type")(_int(np.negative))
row("and type=b16|b32|b64|pred", "=type, type, type")(_int(np.bitwise_and))
row("or type=b16|b32|b64|pred", "=type, type, type")(_int(np.bitwise_or))
row("xor type=b16|b32|b64|pred", "=type, type, type")(_int(np.bitwise_xor))
row("not type=b16|b32|b64|pred", "=type, type")(_int(np.invert))
row("cnot type=b16|b32|b64", "=type, type")(_int(lambda a: a == 0))


@row("mul wide type=u16|s16|u32|s32", "=wide, type, type")
def mul_wide(mods: Mods, random: Random, a: Array, b: Array) -> Array:
    wide = _wide(mods)
    return a.astype(wide) * b.astype(wide)


@row("mad wide type=u16|s16|u32|s32", "=wide, type, type, wide")
def mad_wide(mods: Mods, random: Random, a: Array, b: Array, c: Array) -> Array:
    return mul_wide(mods, random, a, b) + c


def _wide(mods: Mods) -> np.dtype[Any]:
    type_ = TYPES[mods["type"]]
    return TYPES[f"{type_.kind}{2 * type_.bits}"].dtype


def _high(a: Array, b: Array) -> Array:
    """The upper half of the exact product."""
    bits = a.dtype.itemsize * 8
    if bits < 64:
        wide = np.dtype(f"{a.dtype.kind}{bits // 4}")
        return ((a.astype(wide) * b.astype(wide)) >> wide.type(bits)).astype(a.dtype)
    a, b = np.broadcast_arrays(a, b)
    products = [(int(x) * int(y)) >> 64 for x, y in zip(a, b, strict=True)]
    return np.array(products, a.dtype)


row(f"mul hi type={INT}", "=type, type, type")(_int(_high))
row(f"mad hi type={INT}", "=type, type, type, type")(_int(lambda a, b, c: _high(a, b) + c))


def _divided(mods: Mods, a: Array, b: Array) -> tuple[Array, Array]:
    """Quotient toward zero and remainder with the sign of the dividend.

    By zero the result is unspecified (PTX ISA 9.7.1, div): all ones and the dividend here.
    """
    a, b = np.broadcast_arrays(a, b)
    one = a.dtype.type(1)
    if a.dtype.kind == "u":
        safe = np.where(b == 0, one, b)
        quotient = a // safe
    else:
        unsigned = np.dtype(f"u{a.dtype.itemsize}")
        size_a, size_b = (np.abs(x).view(unsigned) for x in (a, b))
        size = size_a // np.where(size_b == 0, unsigned.type(1), size_b)
        quotient = np.where((a < 0) != (b < 0), (~size) + unsigned.type(1), size).view(a.dtype)
    quotient = np.where(b == 0, ~a.dtype.type(0), quotient)
    return quotient, np.where(b == 0, a, a - quotient * b)


@row(f"div type={INT}", "=type, type, type")
def div(mods: Mods, random: Random, a: Array, b: Array) -> Array:
    return _divided(mods, a, b)[0]


@row(f"rem type={INT}", "=type, type, type")
def rem(mods: Mods, random: Random, a: Array, b: Array) -> Array:
    return _divided(mods, a, b)[1]


@row("sad type=u16|s16|u32|s32|u64|s64", "=type, type, type, type")
def sad(mods: Mods, random: Random, a: Array, b: Array, c: Array) -> Array:
    return c + np.where(a < b, b - a, a - b)


@row("popc type=b32|b64", "=u32, type")
def popc(mods: Mods, random: Random, a: Array) -> Array:
    return np.bitwise_count(a).astype(np.uint32)


@row("clz type=b32|b64", "=u32, type")
def clz(mods: Mods, random: Random, a: Array) -> Array:
    bits = a.dtype.itemsize * 8
    for shift in (1, 2, 4, 8, 16, 32)[: 5 + (bits == 64)]:
        a = a | (a >> a.dtype.type(shift))
    return (bits - np.bitwise_count(a).astype(np.int64)).astype(np.uint32)


@row("bfind type=u32|s32|u64|s64", "=u32, type")
def bfind(mods: Mods, random: Random, a: Array) -> Array:
    a = np.where(a < 0, ~a, a).view(np.dtype(f"u{a.dtype.itemsize}"))
    bits = a.dtype.itemsize * 8
    return (np.uint32(bits - 1) - clz(mods, random, a)).astype(np.uint32)


@row("brev type=b32|b64", "=type, type")
def brev(mods: Mods, random: Random, a: Array) -> Array:
    size = a.dtype.itemsize
    octets = np.ascontiguousarray(a).view(np.uint8).reshape(-1, size)
    flipped = np.packbits(np.unpackbits(octets, axis=1, bitorder="little"), axis=1)
    return np.ascontiguousarray(flipped[:, ::-1]).view(a.dtype).ravel()


@row("bfe type=u32|s32|u64|s64", "=type, type, u32, u32")
def bfe(mods: Mods, random: Random, a: Array, b: Array, c: Array) -> Array:
    a, b, c = np.broadcast_arrays(a, b, c)
    bits = a.dtype.itemsize * 8
    position, length = (b & np.uint32(255)).astype(int), (c & np.uint32(255)).astype(int)
    # Shifted by at most bits - 1, a signed value leaves copies of its sign.
    beyond = position >= bits
    field = a >> np.minimum(position, bits - 1).astype(a.dtype)
    if a.dtype.kind == "u":
        field = np.where(beyond, a.dtype.type(0), field)
    rest = np.clip(bits - length, 0, bits - 1).astype(a.dtype)
    field = (field << rest) >> rest
    return np.where(length == 0, a.dtype.type(0), field)


@row("bfi type=b32|b64", "=type, type, type, u32, u32")
def bfi(mods: Mods, random: Random, a: Array, b: Array, c: Array, d: Array) -> Array:
    a, b, c, d = np.broadcast_arrays(a, b, c, d)
    bits, one = a.dtype.itemsize * 8, a.dtype.type(1)
    position, length = (c & np.uint32(255)).astype(int), (d & np.uint32(255)).astype(int)
    ones = (one << np.minimum(length, bits - 1).astype(a.dtype)) - one
    ones = np.where(length >= bits, ~a.dtype.type(0), ones)
    shift = np.minimum(position, bits - 1).astype(a.dtype)
    merged = (b & ~(ones << shift)) | ((a & ones) << shift)
    return np.where((position >= bits) | (length == 0), b, merged)


@row("szext mode=clamp|wrap type=u32|s32", "=type, type, u32")
def szext(mods: Mods, random: Random, a: Array, b: Array) -> Array:
    b = b & np.uint32(31) if mods["mode"] == "wrap" else np.minimum(b, np.uint32(32))
    return bfe(mods, random, a, np.zeros_like(b), b)


@row("bmsk mode=clamp|wrap b32", "=b32, b32, b32")
def bmsk(mods: Mods, random: Random, a: Array, b: Array) -> Array:
    if mods["mode"] == "wrap":
        a, b = a & np.uint32(31), b & np.uint32(31)
    ones = np.full(1, 0xFFFFFFFF, np.uint32)
    return bfi({"type": "b32"}, random, ones, np.zeros(1, np.uint32), *_bytes(a, b))


def _bytes(*amounts: Array) -> list[Array]:
    return [np.minimum(amount, np.uint32(255)) for amount in amounts]


def _shift(a: Array, amount: Array, *, left: bool) -> Array:
    """Shift by any amount: what is shifted out is lost, the sign is kept going right."""
    bits = a.dtype.itemsize * 8
    safe = np.minimum(amount, np.uint32(bits - 1)).astype(a.dtype)
    if left:
        return np.where(amount >= bits, a.dtype.type(0), a << safe)
    if a.dtype.kind == "i":
        return a >> safe
    return np.where(amount >= bits, a.dtype.type(0), a >> safe)


@row("shl type=b16|b32|b64", "=type, type, u32")
def shl(mods: Mods, random: Random, a: Array, amount: Array) -> Array:
    return _shift(a, amount, left=True)


@row("shr type=b16|b32|b64|u16|s16|u32|s32|u64|s64", "=type, type, u32")
def shr(mods: Mods, random: Random, a: Array, amount: Array) -> Array:
    return _shift(a, amount, left=False)


@row("shf way=l|r mode=wrap|clamp b32", "=b32, b32, b32, u32")
def shf(mods: Mods, random: Random, low: Array, high: Array, amount: Array) -> Array:
    clamp = mods["mode"] == "clamp"
    n = np.minimum(amount, np.uint32(32)) if clamp else amount & np.uint32(31)
    both = (high.astype(np.uint64) << np.uint64(32)) | low
    if mods["way"] == "l":
        return ((both << n.astype(np.uint64)) >> np.uint64(32)).astype(np.uint32)
    return (both >> n.astype(np.uint64)).astype(np.uint32)


@row("lop3 b32", "=b32, b32, b32, b32, imm")
def lop3(mods: Mods, random: Random, a: Array, b: Array, c: Array, table: int) -> Array:
    result = np.zeros(1, np.uint32)
    for i in range(8):
        if table >> i & 1:
            terms = [x if i >> bit & 1 else ~x for x, bit in ((a, 2), (b, 1), (c, 0))]
            result = result | (terms[0] & terms[1] & terms[2])
    return result


# For each mode and each value of the two low bits of c: the source byte of each result byte,
# lowest first (PTX ISA 9.7.9, prmt).
PRMT_MODES = {
    "f4e": ["3210", "4321", "5432", "6543"],
    "b4e": ["5670", "6701", "7012", "0123"],
    "rc8": ["0000", "1111", "2222", "3333"],
    "ecl": ["3210", "3211", "3222", "3333"],
    "ecr": ["0000", "1110", "2210", "3210"],
    "rc16": ["1010", "3232", "1010", "3232"],
}


@row("prmt b32 mode=f4e|b4e|rc8|ecl|ecr|rc16?", "=b32, b32, b32, b32")
def prmt(mods: Mods, random: Random, a: Array, b: Array, c: Array) -> Array:
    both = (b.astype(np.uint64) << np.uint64(32)) | a
    if "mode" in mods:
        codes = np.array([int(text, 16) for text in PRMT_MODES[mods["mode"]]], np.uint32)
        c = codes[c & np.uint32(3)]
    result = np.zeros(1, np.uint32)
    for i in range(4):
        selector = (c >> np.uint32(4 * i)) & np.uint32(15)
        shift = (selector & np.uint32(7)).astype(np.uint64) * np.uint64(8)
        octet = ((both >> shift) & np.uint64(255)).astype(np.uint32)
        if "mode" not in mods:
            sign = np.where(octet & np.uint32(128), np.uint32(255), np.uint32(0))
            octet = np.where(selector & np.uint32(8), sign, octet)
        result = result | (octet << np.uint32(8 * i))
    return result


def _dot(a: Array, b: Array, c: Array, a_kind: str, b_kind: str) -> Array:
    a, b, c = np.broadcast_arrays(a, b, c)
    signed = {"u32": np.uint8, "s32": np.int8}
    first = np.ascontiguousarray(a).view(signed[a_kind]).reshape(-1, 4).astype(np.int64)
    second = np.ascontiguousarray(b).view(signed[b_kind]).reshape(-1, 4).astype(np.int64)
    return (c.astype(np.int64) + (first * second).sum(1)).astype(np.uint64)


@row("dp4a atype=u32|s32 btype=u32|s32", "=b32, b32, b32, b32", sm=61)
def dp4a(mods: Mods, random: Random, a: Array, b: Array, c: Array) -> Array:
    return _dot(a, b, c, mods["atype"], mods["btype"]).astype(np.uint32)


# Floating point


def flush(x: Array, name: str) -> Array:
    """Subnormals become zeros of their sign (.ftz)."""
    return np.where(np.abs(x) < TINY[name], np.copysign(x.dtype.type(0), x), x)


def _canonical(x: Array, name: str) -> Array:
    """Results that are NaN have one pattern (PTX ISA 9.7.3); f64 keeps its own."""
    if name not in CANONICAL:
        return x
    type_ = TYPES[name]
    bits = np.asarray(x, type_.dtype).view(f"u{type_.size}")
    return np.where(np.isnan(x), bits.dtype.type(CANONICAL[name]), bits).view(type_.dtype)


def _finish(mods: Mods, name: str, result: Array) -> Array:
    """What the modifiers do to a result: saturate, flush, one NaN; then the result's type."""
    if "sat" in mods:
        result = np.where(np.isnan(result), 0.0, np.clip(result, 0.0, 1.0))
        result = np.where(result == 0, 0.0, result)
    if "relu" in mods:
        result = np.where(result > 0, result, np.where(np.isnan(result), result, 0.0))
    result = np.asarray(result).astype(TYPES[name].dtype, copy=False)
    if "ftz" in mods:
        result = flush(result, name)
    return _canonical(result, name)


def floating(operation: Callable[..., Array]) -> Callable[..., Any]:
    """A row's function for an operation given as (format, mode, operands) -> values.

    Packed halves are done one by one; `.ftz` flushes operands first.
    """

    def run(mods: Mods, random: Random, *args: Array) -> Array:
        name = mods["type"]
        if name in HALF:
            inner = {**mods, "type": HALF[name]}
            spread = np.broadcast_arrays(*args)
            dtype = TYPES[HALF[name]].dtype
            halves = [np.ascontiguousarray(x).view(dtype).reshape(-1, 2) for x in spread]
            parts = [run(inner, random, *(x[:, i] for x in halves)) for i in (0, 1)]
            return np.stack(parts, 1).view(np.uint32).ravel()
        if "ftz" in mods:
            args = tuple(flush(x, name) for x in args)
        return _finish(mods, name, operation(name, mods.get("rnd", "rn"), *args))

    return run


def _fma(name: str, mode: str, a: Array, b: Array, c: Array) -> Array:
    if name == "f64":
        return arithmetic.fma64(a, b, c, mode)
    return arithmetic.fma_narrow(a, b, c, name, mode)


def add_floats(name: str, mode: str, a: Array, b: Array) -> Array:
    if name == "f64":
        return arithmetic.add64(a, b, mode)
    if name == "f32" and mode == "rn":
        return a + b
    return _sum_narrow(name, mode, a, b)


def _sum_narrow(name: str, mode: str, a: Array, b: Array) -> Array:
    return arithmetic.fma_narrow(a, np.ones(1), b, name, mode)


def _mul(name: str, mode: str, a: Array, b: Array) -> Array:
    if name == "f64":
        return arithmetic.multiply64(a, b, mode)
    if name == "f32" and mode == "rn":
        return a * b
    return arithmetic.narrow(a.astype(np.float64) * b.astype(np.float64), name, mode)


def _div(name: str, mode: str, a: Array, b: Array) -> Array:
    if name == "f32" and mode == "rn":
        return a / b
    if name == "f64":
        return arithmetic.divide64(a, b, mode)
    return _odd_division(name, mode, a.astype(np.float64), b.astype(np.float64))


def _odd_division(name: str, mode: str, a: Array, b: Array) -> Array:
    quotient = a / b
    # a - quotient * b has the sign of the quotient's error, times b's.
    rest = arithmetic.fma64(-quotient, b, a)
    error = np.where(np.isfinite(rest), rest * np.sign(b), 0.0)
    return arithmetic.narrow(arithmetic.to_odd(quotient, error), name, mode)


def _sqrt(name: str, mode: str, a: Array) -> Array:
    if name == "f32" and mode == "rn":
        return np.sqrt(a)
    if name == "f64":
        return arithmetic.sqrt64(a, mode)
    root = np.sqrt(a.astype(np.float64))
    rest = arithmetic.fma64(-root, root, a.astype(np.float64))
    rest = np.where(np.isfinite(rest), rest, 0.0)
    return arithmetic.narrow(arithmetic.to_odd(root, rest), name, mode)


for _type, _modifiers, _sm in (
    ("f32", "rnd=rn|rz|rm|rp? ftz? sat?", 50),
    ("f64", "rnd=rn|rz|rm|rp?", 50),
    ("f16|f16x2", "rnd=rn? ftz? sat?", 53),
    ("bf16|bf16x2", "rnd=rn?", 90),
):
    row(f"add {_modifiers} type={_type}", "=type, type, type", sm=_sm)(floating(add_floats))
    row(f"mul {_modifiers} type={_type}", "=type, type, type", sm=_sm)(floating(_mul))
    row(f"sub {_modifiers} type={_type}", "=type, type, type", sm=_sm)(
        floating(lambda name, mode, a, b: add_floats(name, mode, a, -b))
    )
for _type, _modifiers, _sm in (
    ("f32", "rnd=rn|rz|rm|rp ftz? sat?", 50),
    ("f64", "rnd=rn|rz|rm|rp", 50),
    ("f16|f16x2", "rnd=rn ftz? sat?", 53),
    ("f16|f16x2", "rnd=rn ftz? relu", 80),
    ("bf16|bf16x2", "rnd=rn relu?", 80),
):
    row(f"fma {_modifiers} type={_type}", "=type, type, type, type", sm=_sm)(floating(_fma))
    if _type in ("f32", "f64"):
        row(f"mad {_modifiers} type={_type}", "=type, type, type, type")(floating(_fma))


def _mixed(operation: Callable[..., Array]) -> Callable[..., Any]:
    """Of narrow operands, made wide (PTX ISA 9.7.5, mixed precision)."""
    run = floating(operation)

    def widened(mods: Mods, random: Random, *args: Array) -> Array:
        wide = (x.astype(np.float32) for x in args)
        return run({**mods, "type": "f32"}, random, *wide)

    return widened


_MIXED = "rnd=rn|rz|rm|rp sat? f32 type=f16|bf16"
row(f"add {_MIXED}", "=f32, type, f32", sm=100)(_mixed(add_floats))
row(f"sub {_MIXED}", "=f32, type, f32", sm=100)(
    _mixed(lambda name, mode, a, b: add_floats(name, mode, a, -b))
)
row(f"fma {_MIXED}", "=f32, type, type, f32", sm=100)(_mixed(_fma))
for _type, _modifiers in (("f32", "rnd=rn|rz|rm|rp ftz?"), ("f64", "rnd=rn|rz|rm|rp")):
    row(f"div {_modifiers} type={_type}", "=type, type, type")(floating(_div))
    row(f"sqrt {_modifiers} type={_type}", "=type, type")(floating(_sqrt))
    row(f"rcp {_modifiers} type={_type}", "=type, type")(
        floating(lambda name, mode, a: _div(name, mode, np.ones(1, a.dtype), a))
    )


def _extreme(ordered: Callable[..., Array]) -> Callable[..., Any]:
    """Minimum or maximum: the number if one is NaN, unless `.NaN`; -0 is less than +0."""

    def run(mods: Mods, random: Random, *args: Array) -> Array:
        def operation(name: str, mode: str, a: Array, b: Array) -> Array:
            a, b = (x.astype(np.float64) for x in np.broadcast_arrays(a, b))
            first = ordered(a, b) | ((a == b) & (np.signbit(a) == (ordered is np.less)))
            result = np.where(first, a, b)
            result = np.where(np.isnan(a), b, np.where(np.isnan(b), a, result))
            if "NaN" in mods:
                result = np.where(np.isnan(a) | np.isnan(b), np.nan, result)
            return result

        return floating(operation)(mods, random, *args)  # type: ignore[no-any-return]

    return run


for _name, _function in (
    ("min", _extreme(np.less)),
    ("max", _extreme(np.greater)),
):
    row(f"{_name} ftz? type=f32", "=type, type, type")(_function)
    row(f"{_name} type=f64", "=type, type, type")(_function)
    row(f"{_name} ftz? NaN type=f32", "=type, type, type", sm=80)(_function)
    row(f"{_name} ftz? NaN? type=f16|f16x2", "=type, type, type", sm=80)(_function)
    row(f"{_name} NaN? type=bf16|bf16x2", "=type, type, type", sm=80)(_function)


def _sign(bits_operation: Callable[[Array, Any, Any], Array]) -> Callable[..., Any]:
    """neg and abs: bit operations on the sign, also of NaN."""

    def run(mods: Mods, random: Random, a: Array) -> Array:
        name = mods["type"]
        if "ftz" in mods and name not in HALF:
            a = flush(a, name)
        half = TYPES[HALF.get(name, name)]
        unsigned = np.dtype(f"u{half.size}")
        bits = np.ascontiguousarray(a).view(unsigned)
        top = unsigned.type(1 << (half.bits - 1))
        return bits_operation(bits, top, ~top).astype(unsigned).view(TYPES[name].dtype)

    return run


_neg = _sign(lambda bits, top, rest: bits ^ top)
_abs = _sign(lambda bits, top, rest: bits & rest)
for _type, _modifiers, _sm in (
    ("f32", "ftz?", 50),
    ("f64", "", 50),
    ("f16|f16x2", "", 53),
    ("bf16|bf16x2", "", 80),
):
    row(f"neg {_modifiers} type={_type}", "=type, type", sm=_sm)(_neg)
    row(f"abs {_modifiers} type={_type}", "=type, type", sm=_sm)(_abs)


@row("copysign type=f32|f64", "=type, type, type")
def copysign(mods: Mods, random: Random, a: Array, b: Array) -> Array:
    return np.copysign(b, a)


@row(
    "testp what=finite|infinite|number|notanumber|normal|subnormal type=f32|f64", "=pred, type"
)
def testp(mods: Mods, random: Random, a: Array) -> Array:
    small = np.abs(a) < TINY[mods["type"]]
    return {
        "finite": np.isfinite(a),
        "infinite": np.isinf(a),
        "number": ~np.isnan(a),
        "notanumber": np.isnan(a),
        "normal": np.isfinite(a) & ~small,
        "subnormal": small & (a != 0),
    }[mods["what"]]


# The approximate functions


def _approximate(function: Callable[..., Array]) -> Callable[..., Any]:
    def run(mods: Mods, random: Random, *args: Array) -> Array:
        if "ftz" in mods:
            args = tuple(flush(x, "f32") for x in args)
        return _finish(mods, "f32", function(*np.broadcast_arrays(*args), random))

    return run


for _name, _function in {
    "ex2": approx.ex2,
    "lg2": approx.lg2,
    "sin": approx.sin,
    "cos": approx.cos,
    "rcp": approx.reciprocal,
    "sqrt": approx.sqrt,
    "rsqrt": approx.rsqrt,
}.items():
    row(f"{_name} approx ftz? type=f32", "=type, type")(_approximate(_function))
row("tanh approx type=f32", "=type, type", sm=75)(_approximate(approx.tanh))
row("div approx ftz? type=f32", "=type, type, type")(
    _approximate(lambda a, b, random: approx.divide(a, b, random, full=False))
)
row("div full ftz? type=f32", "=type, type, type")(
    _approximate(lambda a, b, random: approx.divide(a, b, random, full=True))
)


def _half_function(
    function: Callable[[Array], Array], bounds: dict[str, approx.Bound]
) -> Callable[..., Any]:
    def run(mods: Mods, random: Random, a: Array) -> Array:
        def operation(name: str, mode: str, x: Array) -> Array:
            exact = function(x.astype(np.float64))
            error = bounds[name].around(exact)
            moved = exact + error * random.uniform(-1, 1, exact.shape)
            toward = arithmetic.narrow(exact, name)
            result = arithmetic.narrow(moved, name)
            return np.where(np.abs(result - exact) > error, toward, result)

        return floating(operation)(mods, random, a)  # type: ignore[no-any-return]

    return run


_ex2_half = _half_function(np.exp2, {"f16": approx.EX2_F16, "bf16": approx.EX2_BF16})
_tanh_half = _half_function(np.tanh, {"f16": approx.TANH_F16, "bf16": approx.TANH_BF16})
row("ex2 approx type=f16|f16x2", "=type, type", sm=75)(_ex2_half)
row("ex2 approx ftz type=bf16|bf16x2", "=type, type", sm=90)(_ex2_half)
row("tanh approx type=f16|f16x2", "=type, type", sm=75)(_tanh_half)
row("tanh approx type=bf16|bf16x2", "=type, type", sm=90)(_tanh_half)


# Comparison and selection (PTX ISA 9.7.6)

ORDERED: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


def compare(name: str, a: Array, b: Array) -> Array:
    """A comparison by its name; a `u` at the end makes a NaN compare true."""
    if name in ("num", "nan"):
        unordered = np.isnan(a) | np.isnan(b)
        return unordered if name == "nan" else ~unordered
    name = UNSIGNED.get(name, name)
    if name in ORDERED:
        result = ORDERED[name](a, b)
        if name == "ne" and a.dtype.kind not in "iub":
            result = result & ~(np.isnan(a) | np.isnan(b))
        return result
    return ORDERED[name.removesuffix("u")](a, b) | np.isnan(a) | np.isnan(b)


FLOAT_COMPARISONS = "eq|ne|lt|le|gt|ge|equ|neu|ltu|leu|gtu|geu|num|nan"
COMBINE: dict[str, Callable[[Array, Array], Array]] = {
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
}


def _setp(mods: Mods, random: Random, *args: Array) -> Any:
    a, b, *rest = args
    if "ftz" in mods:
        a, b = flush(a, mods["type"]), flush(b, mods["type"])
    result = compare(mods["cmp"], a, b)
    negated = ~result
    if rest:
        combine = COMBINE[mods["bool"]]
        result, negated = combine(result, rest[0]), combine(negated, rest[0])
    return result, negated


for _type, _compares, _modifiers in (
    ("u16|u32|u64", "eq|ne|lt|le|gt|ge|lo|ls|hi|hs", ""),
    ("s16|s32|s64", "eq|ne|lt|le|gt|ge", ""),
    ("b16|b32|b64", "eq|ne", ""),
    ("f32|f16", FLOAT_COMPARISONS, "ftz?"),
    ("f64|bf16", FLOAT_COMPARISONS, ""),
):
    row(f"setp cmp={_compares} {_modifiers} type={_type}", "=pred|pred, type, type")(_setp)
    row(
        f"setp cmp={_compares} bool=and|or|xor {_modifiers} type={_type}",
        "=pred|pred, type, type, !pred",
    )(_setp)


def _set(mods: Mods, random: Random, *args: Array) -> Array:
    result = compare(mods["cmp"], args[0], args[1])
    if mods["to"] == "f32":
        return result.astype(np.float32)
    return (-result.astype(np.int32)).view(TYPES[mods["to"]].dtype)


for _type, _compares in (
    ("u16|u32|u64|s16|s32|s64", "eq|ne|lt|le|gt|ge"),
    ("b16|b32|b64", "eq|ne"),
    ("f32|f64|f16", FLOAT_COMPARISONS),
):
    row(f"set cmp={_compares} to=u32|s32|f32 type={_type}", "=to, type, type")(_set)


@row(f"selp type=b16|b32|b64|{INT}|f32|f64", "=type, type, type, pred", accepts="chosen")
def selp(mods: Mods, random: Random, a: Array, b: Array, p: Array) -> Array:
    return np.where(p, a, b)


@row(f"slct type=b16|b32|b64|{INT}|f32|f64 s32", "=type, type, type, s32")
def slct(mods: Mods, random: Random, a: Array, b: Array, c: Array) -> Array:
    return np.where(c >= 0, a, b)


@row(f"slct ftz? type=b16|b32|b64|{INT}|f32|f64 f32", "=type, type, type, f32")
def slct_f32(mods: Mods, random: Random, a: Array, b: Array, c: Array) -> Array:
    c = flush(c, "f32") if "ftz" in mods else c
    return np.where(c >= 0, a, b)


# Conversion


def _int_to_int(mods: Mods, random: Random, a: Array) -> Array:
    to = TYPES[mods["to"]].dtype
    if "sat" in mods:
        bounds = np.iinfo(to)
        wide = [int(x) for x in a]
        return np.array([min(max(x, bounds.min), bounds.max) for x in wide], to)
    return a.astype(to)


def _int_to_float(mods: Mods, random: Random, a: Array) -> Array:
    name = mods["to"]
    return _finish(mods, name, arithmetic.integers_to(a, name, mods["rnd"]))


def _float_to_int(mods: Mods, random: Random, a: Array) -> Array:
    name, to = mods["type"], TYPES[mods["to"]]
    if "ftz" in mods:
        a = flush(a, name)
    mode = mods["rnd"].removesuffix("i")
    return arithmetic.to_integers(a, to.kind, to.bits, mode, name)


def _float_to_float(mods: Mods, random: Random, a: Array) -> Array:
    name, mode = mods["to"], mods.get("rnd", "rn")
    if "ftz" in mods and mods["type"] == "f32":
        a = flush(a, "f32")
    x = a.astype(np.float64)
    if mode.endswith("i"):
        x = arithmetic.TO_INTEGRAL[mode[:-1]](x)
        x = np.copysign(x, a.astype(np.float64))
    elif name != "f64":
        x = arithmetic.narrow(x, name, mode)
    return _finish({k: v for k, v in mods.items() if k != "ftz" or name == "f32"}, name, x)


_ALL_INT = "u8|u16|u32|u64|s8|s16|s32|s64"
_INTEGRAL, _ROUND = "rnd=rni|rzi|rmi|rpi", "rnd=rn|rz|rm|rp"
row(f"cvt sat? to={_ALL_INT} type={_ALL_INT}", "=to~, type~")(_int_to_int)
row(f"cvt {_ROUND} sat? to=f16|f32|f64 type={_ALL_INT}", "=to~, type~")(_int_to_float)
row(f"cvt {_ROUND} to=bf16 type={_ALL_INT}", "=to~, type~", sm=90)(_int_to_float)
row(f"cvt {_INTEGRAL} ftz? sat? to={_ALL_INT} type=f16|f32|f64", "=to~, type~")(_float_to_int)
row(f"cvt {_INTEGRAL} to={_ALL_INT} type=bf16", "=to~, type~", sm=90)(_float_to_int)
# To a wider float, or to the same: exact, no rounding mode, or rounded to an integral value.
for _type in ("f16", "f32", "f64"):
    row(f"cvt {_INTEGRAL}? ftz? sat? to={_type} type={_type}", "=to~, type~")(_float_to_float)
row(f"cvt {_INTEGRAL} to=bf16 type=bf16", "=to~, type~", sm=90)(_float_to_float)
row("cvt ftz? sat? to=f32 type=f16", "=to~, type~")(_float_to_float)
row("cvt sat? to=f64 type=f16", "=to~, type~")(_float_to_float)
row("cvt ftz? sat? to=f64 type=f32", "=to~, type~")(_float_to_float)
row("cvt to=f32 type=bf16", "=to~, type~", sm=90)(_float_to_float)
row("cvt to=f64 type=bf16", "=to~, type~", sm=90)(_float_to_float)
row(f"cvt {_ROUND} ftz? sat? to=f32 type=f64", "=to~, type~")(_float_to_float)
row(f"cvt {_ROUND} ftz? sat? to=f16 type=f32", "=to~, type~")(_float_to_float)
row(f"cvt {_ROUND} sat? to=f16 type=f64", "=to~, type~")(_float_to_float)
row("cvt rnd=rn|rz relu to=f16 type=f32", "=to~, type~", sm=80)(_float_to_float)
row("cvt rnd=rn|rz relu? to=bf16 type=f32", "=to~, type~", sm=80)(_float_to_float)
row(f"cvt {_ROUND} to=bf16 type=f16|f64", "=to~, type~", sm=90)(_float_to_float)
row(f"cvt {_ROUND} to=f16 type=bf16", "=to~, type~", sm=90)(_float_to_float)


@row("cvt rnd=rna to=tf32 type=f32", "=b32, type", sm=80)
@row("cvt rnd=rn|rz relu? to=tf32 type=f32", "=b32, type", sm=90)
def cvt_tf32(mods: Mods, random: Random, a: Array) -> Array:
    narrow = arithmetic.narrow(a.astype(np.float64), "tf32", mods["rnd"])
    return _finish(mods, "f32", narrow).view(np.uint32)


@row("cvt rnd=rn|rz relu? to=f16x2|bf16x2 type=f32", "=b32, type, type", sm=80)
def cvt_packed(mods: Mods, random: Random, a: Array, b: Array) -> Array:
    """The first source goes into the upper half."""
    half = {**mods, "to": HALF[mods["to"]]}
    upper, lower = (_float_to_float(half, random, x) for x in np.broadcast_arrays(a, b))
    return np.stack([lower, upper], 1).view(np.uint32).ravel()
