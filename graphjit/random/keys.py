"""Keys, and new keys from them.

The two words of a key are Philox's. The upper half of a counter says what its blocks are for:
word 3 tells draws, `split`, `fold_in` and what generators draw apart. Word 2 counts the tries
of a rejection method.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import as_dtype, int64, uint32, uint64
from graphjit.functions import math
from graphjit.functions.shape import as_shape, reshape, stack
from graphjit.tensors.apply import TensorBase, as_tensor, wrap

from .seeds import stateless_fold_in, stateless_split
from .words import (
    Counter,
    as_uint64,
    block_words,
    draw,
    halves,
    integers,
    joined,
    known_int,
)

_SPLIT, _FOLD, _DRAW = (n << 32 for n in (1, 2, 3))


def key(seed: Any) -> Any:
    """The key of a seed: uint32 of shape (2,), as `jax.random.PRNGKey` makes it.

    seed: an int of 64 bits, or an integer tensor without axes. Raises InvalidArgumentError for
    others.
    """
    known = known_int(seed)
    if known is not None:
        if not -(2**63) <= known < 2**64:
            raise InvalidArgumentError(
                at_user_line(f"seed {seed} isn't one of 64 bits [Op:Key]")
            )
        value = known & 0xFFFF_FFFF_FFFF_FFFF
        return wrap(np.array([value >> 32, value & 0xFFFF_FFFF], np.uint32))
    low, high = halves(_as_seed(seed, "Key"))
    return stack([high, low])


PRNGKey = key


def _as_seed(seed: Any, op: str) -> Any:
    x = as_tensor(seed)
    if x.dtype.kind not in "iu" or x.type.shape:
        raise InvalidArgumentError(
            at_user_line(f"{_shown(x)} is no integer without axes [Op:{op}]")
        )
    if x.dtype.kind == "u":
        return math.cast(x, uint64)
    return math.bitcast(math.cast(x, int64), uint64)


def _shown(x: Any) -> str:
    return f"a tensor of shape {list(x.type.shape)} and dtype {x.dtype.name}"


def as_counter(key: Any, op: str, stream: Any = 0, use: int = _DRAW) -> Counter:
    """Where the draws of a key start. InvalidArgumentError for what is no key.

    stream: the number of a try, where several are made of one key. use: what for
    """
    given = as_tensor(key) if isinstance(key, (TensorBase, np.ndarray)) else None
    if given is None or given.dtype is not uint32 or given.type.shape != (2,):
        shown = type(key).__name__ if given is None else _shown(given)
        raise InvalidArgumentError(
            at_user_line(
                f"the first argument is a key, uint32 of shape [2], and not {shown} [Op:{op}]",
                "keys come from gj.random.key(seed); numbers without keys from "
                "gj.random.Generator, or gj.random.stateless_… with a seed",
            )
        )
    high = as_uint64(use)
    if isinstance(stream, TensorBase):
        high = high + math.cast(stream, uint64)
    words: Any = given
    return Counter(joined(words[0], words[1]), None, high)


def is_key(x: Any) -> bool:
    """Whether this is one key or several: uint32 with a last axis of 2."""
    if not isinstance(x, (TensorBase, np.ndarray)):
        return False
    given = as_tensor(x)
    return given.dtype is uint32 and given.ndim > 0 and given.type.shape[-1] == 2


def split(key: Any, num: Any = 2) -> Any:
    """New keys from one, shape [num, 2]; `num` may be a shape. The old one isn't to be used
    again. For a seed of TensorFlow's, `gj.random.stateless_split`.
    """
    if not is_key(key):
        return stateless_split(key, num)
    shape = as_shape(num, "Split")
    counter = as_counter(key, "Split", use=_SPLIT)
    found = draw(counter, shape, 1, lambda a, b, c, d: [joined(a, b)], "Split")
    low, high = halves(found)
    return stack([low, high], axis=-1)


def fold_in(key: Any, data: Any) -> Any:
    """The key that a key and an integer make: another one for each integer, of 64 bits. For a
    seed of TensorFlow's, `gj.random.stateless_fold_in`.
    """
    if not is_key(key):
        return stateless_fold_in(key, data)
    counter = as_counter(key, "FoldIn", use=_FOLD)
    known = known_int(data)
    if known is not None:
        number = as_uint64(known & 0xFFFF_FFFF_FFFF_FFFF)
    else:
        number = _as_seed(data, "FoldIn")
    first, second, *_ = block_words(counter._replace(low=number), 1)
    return stack([reshape(first, ()), reshape(second, ())])


def key_data(keys: Any) -> Any:
    """The words of keys: they are their words."""
    return as_tensor(keys)


def wrap_key_data(data: Any) -> Any:
    """Keys of these words, uint32 [..., 2]."""
    if not is_key(data):
        raise InvalidArgumentError(
            at_user_line(f"{_shown(as_tensor(data))} is no key's words [Op:WrapKeyData]")
        )
    return as_tensor(data)


def bits(key: Any, shape: Any = (), dtype: Any = uint32) -> Any:
    """Random bits: unsigned integers of a shape, spread over all that the dtype has."""
    target = as_dtype(dtype)
    if target.kind != "u":
        raise InvalidArgumentError(
            at_user_line(f"dtype is an unsigned one, not {target.name} [Op:Bits]")
        )
    return draw(as_counter(key, "Bits"), shape, *integers(target), "Bits")
