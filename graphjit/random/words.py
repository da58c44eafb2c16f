"""Random words of 32 and 64 bits, and the numbers that their bits make."""

from __future__ import annotations

import math as pymath
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphjit.core.dims import Dim, is_symbolic
from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import (
    DType,
    as_dtype,
    bfloat16,
    float16,
    float32,
    float64,
    uint32,
    uint64,
)
from graphjit.functions import math
from graphjit.functions.shape import as_shape, reshape, slice_axis, stack
from graphjit.functions.subscript import iota
from graphjit.ops.random import philox, philox_words
from graphjit.tensors.apply import TensorBase, apply, as_tensor, current_trace, wrap

FLOATS = (float16, bfloat16, float32, float64)
# A function of the four words of blocks that gives some numbers for each block, in order.
Transform = Callable[..., Sequence[Any]]


class Counter(NamedTuple):
    """Where a stream of blocks starts.

    key, low, high: uint64 without axes; the halves of the first block's number, of which the
    lower is None for 0
    """

    key: Any
    low: Any
    high: Any


def as_uint64(value: int) -> Any:
    """A number without axes."""
    return wrap(np.array(value, np.uint64))


def known_int(value: Any) -> int | None:
    """An integer whose value is known; None for tensors, symbolic extents and others."""
    plain = isinstance(value, (int, np.integer)) and not isinstance(value, (bool, Dim))
    return int(value) if plain else None


def one_extent(value: Any, op: str) -> Any:
    """A count. InvalidArgumentError for several."""
    extents = as_shape(value, op)
    if len(extents) != 1:
        raise InvalidArgumentError(at_user_line(f"one count, not {list(extents)} [Op:{op}]"))
    return extents[0]


def joined(low: Any, high: Any) -> Any:
    """Two words of 32 bits as one of 64."""
    upper = math.cast(high, uint64) << np.uint64(32)
    return math.cast(low, uint64) | upper


def halves(x: Any) -> tuple[Any, Any]:
    """A word of 64 bits as two of 32: the lower and the upper half."""
    return math.cast(x, uint32), math.cast(x >> np.uint64(32), uint32)


def block_words(counter: Counter, blocks: Any) -> list[Any]:
    """The four words of so many blocks: uint32 tensors of shape [blocks]."""
    index = math.cast(iota((blocks,), 0), uint64)
    key, start, high = counter
    if isinstance(start, TensorBase):
        low = index + start
        carry = math.cast(low < start, uint64)
        high = high + carry
    else:
        low = index
    parts = [as_tensor(low), as_tensor(high), as_tensor(key)]
    if all(x.recorder is None for x in parts) and current_trace.get() is None:
        arrays = [x._array for x in parts]  # type: ignore[attr-defined]
        return [wrap(x) for x in philox_words(*arrays)]
    return [apply(philox, *parts, word=word) for word in range(4)]


def draw(counter: Counter, shape: Any, per_block: int, transform: Transform, op: str) -> Any:
    """A tensor of a shape, of numbers that a transform makes of blocks of words, in order."""
    extents = as_shape(shape, op)
    if any(not is_symbolic((n,)) and n < 0 for n in extents):
        raise InvalidArgumentError(
            at_user_line(f"no extent may be negative: {list(extents)} [Op:{op}]")
        )
    count = pymath.prod(extents)
    blocks = -(-count // per_block)
    parts = list(transform(*block_words(counter, blocks)))
    if not extents or (not is_symbolic((count,)) and count == 1):
        return reshape(slice_axis(parts[0], 0, 0, 1), extents)
    flat = parts[0] if per_block == 1 else reshape(stack(parts, axis=-1), (-1,))
    return reshape(slice_axis(flat, 0, 0, count), extents)


# -- words


def words64(x0: Any, x1: Any, x2: Any, x3: Any) -> Sequence[Any]:
    """Two words of 64 bits of a block."""
    return joined(x0, x1), joined(x2, x3)


def integers(dtype: DType) -> tuple[int, Transform]:
    """Full-range integers of a dtype: how many a block gives, and how."""
    if dtype.bits == 64:
        return 2, lambda *x: [_signed(y, dtype) for y in words64(*x)]
    return 4, lambda *x: [_signed(y, dtype) for y in x]


def _signed(x: Any, dtype: DType) -> Any:
    if dtype.bits < 32:
        x = math.cast(x, as_dtype(f"uint{dtype.bits}"))
    return x if x.dtype is dtype else math.bitcast(x, dtype)


# -- floating-point numbers in [0, 1), from as many bits as the significand has


def unit_float32(x: Any) -> Any:
    """23 bits of a word."""
    bits = (x & np.uint32(0x7FFFFF)) | np.uint32(127 << 23)
    return math.bitcast(bits, float32) - np.float32(1)


def unit_float64(x0: Any, x1: Any) -> Any:
    """52 bits of two words, the upper ones of the first."""
    upper = (x0 & np.uint32(0xFFFFF)) | np.uint32(1023 << 20)
    return math.bitcast(joined(x1, upper), float64) - np.float64(1)


def _unit_narrow(x: Any, dtype: DType) -> Any:
    """10 bits of a word as float16, or 7 as bfloat16."""
    bits = 10 if dtype is float16 else 7
    number = math.cast(x & np.uint32((1 << bits) - 1), float32) * np.float32(2.0**-bits)
    return math.cast(number, dtype)


def units(dtype: DType) -> tuple[int, Transform]:
    """Numbers in [0, 1) of a dtype: how many a block gives, and how."""
    if dtype is float64:
        return 2, lambda a, b, c, d: (unit_float64(a, b), unit_float64(c, d))
    if dtype is float32:
        return 4, lambda *x: [unit_float32(y) for y in x]
    return 4, lambda *x: [_unit_narrow(y, dtype) for y in x]


def normals(dtype: DType, least: float | None) -> tuple[int, Transform]:
    """Normally distributed numbers: how many a block gives, and how.

    G. E. P. Box, M. E. Muller, "A note on the generation of random normal deviates", 1958.
    Narrow floats are computed as float32. least: what numbers in [0, 1) are raised to before
    their logarithm is taken; None: their distance from 1 is taken instead.
    """

    def pair(u: Any, v: Any) -> tuple[Any, Any]:
        one = np.float64(1) if u.dtype is float64 else np.float32(1)
        kind = type(one)
        u = one - u if least is None else math.maximum(u, kind(least))
        radius = math.sqrt(kind(-2) * math.log(u))
        angle = kind(2 * pymath.pi) * v
        return math.sin(angle) * radius, math.cos(angle) * radius

    if dtype is float64:
        return 2, lambda a, b, c, d: pair(unit_float64(a, b), unit_float64(c, d))

    def of_float32(*x: Any) -> Sequence[Any]:
        a, b, c, d = (unit_float32(y) for y in x)
        found = (*pair(a, b), *pair(c, d))
        return found if dtype is float32 else [math.cast(y, dtype) for y in found]

    return 4, of_float32


def float_dtype(dtype: Any, op: str) -> DType:
    """A floating-point dtype, float32 for None; InvalidArgumentError for others."""
    found = float32 if dtype is None else as_dtype(dtype)
    if found not in FLOATS:
        raise InvalidArgumentError(
            at_user_line(f"dtype is a floating-point one, not {found.name} [Op:{op}]")
        )
    return found
