"""Dropout: elements set to 0 at random, under TensorFlow's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import float64
from graphjit.functions import math
from graphjit.functions.shape import broadcast_to
from graphjit.ops.type_rules import require_kind
from graphjit.tensors.apply import TensorBase, as_tensor

from .continuous import parameter
from .generator import get_global_generator
from .stateless import stateless_uniform


def dropout(x: Any, rate: Any, noise_shape: Any = None, seed: int | None = None) -> Any:
    """The elements of floats, each 0 with probability `rate`, else divided by 1 - rate.

    noise_shape: a shape that broadcasts to that of `x`, whose elements are drawn for; None
    (the whole, or one of its extents): as `x` has it. seed: an integer, which gives the same
    elements at each call; None: the next ones of the generator that all share. Raises
    InvalidArgumentError for a rate outside [0, 1), DTypeError for integers.
    """
    if seed is None:
        return _dropped(
            x, rate, noise_shape, lambda: get_global_generator().make_seeds(1)[:, 0]
        )
    return _dropped(x, rate, noise_shape, lambda: [seed, 0])


def stateless_dropout(
    x: Any, rate: Any, seed: Any, rng_alg: Any = "auto_select", noise_shape: Any = None
) -> Any:
    """`dropout` by a seed of two integers: the same elements for the same seed, which are
    TensorFlow's own. rng_alg: "philox" or "auto_select".
    """
    if getattr(rng_alg, "name", rng_alg) not in (None, "philox", "PHILOX", "auto_select"):
        raise InvalidArgumentError(
            at_user_line(f"the algorithm is philox, not {rng_alg!r} [Op:Dropout]")
        )
    return _dropped(x, rate, noise_shape, lambda: seed)


def _dropped(x: Any, rate: Any, noise_shape: Any, seed: Callable[[], Any]) -> Any:
    x = as_tensor(x)
    require_kind(x.dtype, "f", "Dropout")
    if not isinstance(rate, TensorBase):
        share = float(rate) if isinstance(rate, (float, int, np.generic, np.ndarray)) else -1.0
        if not 0 <= share < 1:
            raise InvalidArgumentError(
                at_user_line(f"rate is in [0, 1), not {rate!r} [Op:Dropout]")
            )
        if share == 0:
            return x
        scale: Any = as_tensor(1 / (1 - share), x.dtype)
        rate = as_tensor(share, x.dtype)
    else:
        exact: Any = parameter(rate, float64)
        scale, rate = math.cast(1 / (1 - exact), x.dtype), math.cast(exact, x.dtype)
    keep = stateless_uniform(_noise_shape(x, noise_shape), seed(), dtype=x.dtype) >= rate
    scaled = math.multiply(x, scale)
    return math.where(broadcast_to(keep, x.type.shape), scaled, math.zeros_like_scalar(x))


def _noise_shape(x: TensorBase, given: Any) -> tuple[Any, ...]:
    shape = tuple(x.type.shape)
    if given is None:
        return shape
    wanted = tuple(given)
    if len(wanted) != len(shape):
        return wanted
    return tuple(n if m is None else m for n, m in zip(shape, wanted, strict=True))


__all__ = ["dropout", "stateless_dropout"]
