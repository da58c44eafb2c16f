"""The pointwise primitive that random numbers are made of: a counter-based generator.

Philox 4x32 with 10 rounds: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as
easy as 1, 2, 3", SC 2011. Each counter of 128 bits gives a block of four words of 32 bits, and
no block depends on another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphjit.core.errors import InternalError, InvalidArgumentError, at_user_line
from graphjit.core.types import (
    Array,
    TensorType,
    broadcast_shapes,
    check_size,
    uint32,
    uint64,
)

from .primitive import Pointwise, define
from .type_rules import require_same_dtype

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
# What is added to the key's words after each round.
WEYL = 0x9E3779B9, 0xBB67AE85
# How many blocks NumPy computes at a time: what they need fits the cache.
_CHUNK = 8192


def _philox(b: Any, low: Any, high: Any, key: Any, *, word: int) -> Any:
    def halves(x: Any) -> tuple[Any, Any]:
        return b.cast(x, uint32), b.cast(b.shr(x, 32), uint32)

    x0, x1 = halves(low)
    x2, x3 = halves(high)
    k0, k1 = halves(key)
    for _ in range(ROUNDS):
        low0, high0 = halves(b.mul(b.cast(x0, uint64), MULTIPLIERS[0]))
        low1, high1 = halves(b.mul(b.cast(x2, uint64), MULTIPLIERS[1]))
        x0, x1, x2, x3 = b.xor(b.xor(high1, x1), k0), low1, b.xor(b.xor(high0, x3), k1), low0
        k0, k1 = b.add(k0, WEYL[0]), b.add(k1, WEYL[1])
    return (x0, x1, x2, x3)[word]


def _chunk_words(low: Array, high: Array, key: Array) -> tuple[Array, Array, Array, Array]:
    """The four words of each block, as uint64."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, x2, x3 = low & mask, low >> half, high & mask, high >> half
    k0, k1 = key & mask, key >> half
    m0, m1 = map(np.uint64, MULTIPLIERS)
    for _ in range(ROUNDS):
        p0, p1 = x0 * m0, x2 * m1
        x0, x1, x2, x3 = (p1 >> half) ^ x1 ^ k0, p1 & mask, (p0 >> half) ^ x3 ^ k1, p0 & mask
        k0, k1 = (k0 + np.uint64(WEYL[0])) & mask, (k1 + np.uint64(WEYL[1])) & mask
    return x0, x1, x2, x3


def philox_words(low: Array, high: Array, key: Array) -> list[Array]:
    """The four words, uint32, of each counter's block. All arrays are uint64 and broadcast.

    low, high: the halves of the counter. key: its first word in the low bits.
    """
    shape = np.broadcast_shapes(low.shape, high.shape, key.shape)
    given = [np.broadcast_to(x, shape).reshape(-1) if x.ndim else x for x in (low, high, key)]
    found = [np.empty(shape, np.uint32) for _ in range(4)]
    flat = [x.reshape(-1) for x in found]
    for part in _parts(flat[0].size):
        chunk = [x[part] if x.ndim else x for x in given]
        for target, word in zip(flat, _chunk_words(*chunk), strict=True):
            target[part] = word
    return found


def _parts(size: int) -> Iterator[slice]:
    for start in range(0, size, _CHUNK):
        yield slice(start, start + _CHUNK)


def _philox_type(*inputs: TensorType, word: int) -> TensorType:
    if len(inputs) != 3 or not 0 <= word < 4:
        raise InternalError(f"Philox of {len(inputs)} inputs, word {word}")
    if require_same_dtype(inputs, "Philox") is not uint64:
        raise InvalidArgumentError(
            at_user_line(
                f"counters and keys are uint64, not {inputs[0].dtype.name} [Op:Philox]"
            )
        )
    shape = broadcast_shapes(tuple(x.shape for x in inputs), "Philox")
    check_size(shape, uint32, "Philox")
    return TensorType(shape, uint32)


# Word `word` of the block that a counter gives under a key: uint64s in, uint32 out.
philox = define(
    "philox",
    Pointwise(_philox),
    _philox_type,
    lambda low, high, key, word: philox_words(low, high, key)[word],
    exact=True,
    cost=30,
)
