"""Constructors that the pointwise records share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.types import Array, DType

from .primitive import NAMELESS, Names, Pointwise, Primitive, define
from .type_rules import elementwise


def op(
    name: str,
    tensorflow: str,
    kinds: str,
    numpy: Callable[..., Any],
    scalar: Callable[..., Any],
    *,
    result: Callable[[DType], DType] | None = None,
    exact: bool = False,
    commutative: bool = False,
    cost: int = 1,
    zeros: bool = False,
    names: Names = NAMELESS,
    slopes: Callable[..., tuple[Any, ...]] | None = None,
) -> Primitive:
    """Add an op of operands of one dtype of the given kinds; `zeros` is zero_of_zeros."""
    return define(
        name,
        Pointwise(scalar, zeros),
        elementwise(kinds, tensorflow, scalar, result),
        numpy,
        tensorflow=tensorflow,
        exact=exact,
        commutative=commutative,
        cost=cost,
        names=names,
        slopes=slopes,
    )


def single(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy rule that computes bfloat16 in float32: ml_dtypes has not every ufunc."""

    def rule(*arrays: Array, **attrs: Any) -> Any:
        dtype = arrays[0].dtype
        if dtype.kind == "V":
            result = function(*(a.astype(np.float32) for a in arrays), **attrs)
            return result.astype(dtype) if result.dtype == np.float32 else result
        return function(*arrays, **attrs)

    return rule
