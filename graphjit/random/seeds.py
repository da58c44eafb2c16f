"""Seeds of two integers, as TensorFlow's stateless functions take them; new ones from them."""

from __future__ import annotations

from typing import Any

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import int32, int64, uint64
from graphjit.functions import math
from graphjit.functions.shape import as_shape, reshape, stack
from graphjit.tensors.apply import as_tensor

from .words import Counter, as_uint64, block_words, draw, integers, joined

# The key under which seeds are scrambled.
_SCRAMBLING = 0x02461E29_3EC8F720


def seed_counter(seed: Any, op: str) -> Counter:
    """Where the draws of a seed start. InvalidArgumentError for what is no seed."""
    words = as_tensor(seed)
    if words.dtype not in (int32, int64) or words.type.shape != (2,):
        raise InvalidArgumentError(
            at_user_line(
                f"seed must have shape [2] and dtype int32 or int64, not "
                f"{list(words.type.shape)} and {words.dtype.name} [Op:{op}]"
            )
        )
    both = math.bitcast(math.cast(words, int64), uint64)
    mixed = block_words(Counter(as_uint64(_SCRAMBLING), both[0], both[1]), 1)
    k0, k1, c2, c3 = (reshape(x, ()) for x in mixed)
    return Counter(joined(k0, k1), None, joined(c2, c3))


def seed_key(seed: Any, op: str) -> Any:
    """A key made of a seed, for the distributions that have graphjit's own way."""
    x0, x1, _, _ = block_words(seed_counter(seed, op), 1)
    return stack([reshape(x0, ()), reshape(x1, ())])


def stateless_split(seed: Any, num: Any = 2) -> Any:
    """New seeds of a seed's dtype, shape [num, 2]; `num` may be a shape."""
    words, extents = as_tensor(seed), as_shape(num, "StatelessSplit")
    counter = seed_counter(words, "StatelessSplit")
    return draw(counter, (*extents, 2), *integers(words.dtype), "StatelessSplit")


def stateless_fold_in(seed: Any, data: Any) -> Any:
    """The seed that a seed and an integer make, of the integer's dtype."""
    number = as_tensor(data)
    if number.dtype not in (int32, int64) or number.type.shape:
        raise InvalidArgumentError(
            at_user_line(
                f"data is an int32 or int64 without axes, not {number.dtype.name} of shape "
                f"{list(number.type.shape)} [Op:StatelessFoldIn]"
            )
        )
    counter = seed_counter(seed, "StatelessFoldIn")
    first = draw(counter, (), *integers(number.dtype), "StatelessFoldIn")
    return stack([first, number])
