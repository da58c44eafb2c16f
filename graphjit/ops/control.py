"""Control flow: primitives that run graphs, their regions, on arrays.

A region reads nothing from outside but its parameters: what it uses of the surrounding graph is
an operand. Results are tuples. What a primitive does is said once, by `Control.run`: for graphs
run by NumPy, where a region is a graph that is run so, and for compiled programs, where it is
compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InternalError
from graphjit.core.types import Array, TensorType, TupleType, bool_, int64

from .primitive import Control, RegionTypes, define

Region = Callable[[Sequence[Array]], Sequence[Array]]


def _no_value(*_: Any, **__: Any) -> Any:
    raise InternalError("a primitive with regions is run by `Control.run`")


def _same_types(regions: Sequence[RegionTypes]) -> TupleType:
    results = [region.results for region in regions]
    if any(found != results[0] for found in results):
        raise InternalError(f"the regions' results differ: {results}")
    return TupleType(results[0])


def _cond_type(
    predicate: TensorType, *operands: TensorType, regions: Sequence[RegionTypes]
) -> TupleType:
    if predicate != TensorType((), bool_):
        raise InternalError(f"a predicate of type {predicate}")
    if len(regions) != 2 or any(region.params != operands for region in regions):
        raise InternalError(f"regions of {operands}, with other parameters")
    return _same_types(regions)


def _run_cond(regions: Sequence[Region], inputs: Sequence[Array]) -> Sequence[Array]:
    predicate, *operands = inputs
    return regions[0 if bool(predicate) else 1](operands)


# One of two regions: the first where the predicate, a bool, is true. Both have the operands for
# parameters.
cond = define("cond", Control(_run_cond), _cond_type, _no_value, tensorflow="Cond")


def _loop_type(
    *operands: TensorType, start: int, count: int, carried: int, regions: Sequence[RegionTypes]
) -> TupleType:
    if len(regions) != 1 or regions[0].params != (TensorType((), int64), *operands):
        raise InternalError(f"a loop over {operands}, whose body has other parameters")
    if count < 0 or regions[0].results != operands[:carried]:
        raise InternalError(f"a loop over {operands[:carried]} with {regions[0].results}")
    return TupleType(operands[:carried])


def _run_loop(
    regions: Sequence[Region], inputs: Sequence[Array], start: int, count: int, carried: int
) -> Sequence[Array]:
    (body,) = regions
    state, invariant = list(inputs[:carried]), inputs[carried:]
    if not count:
        return [np.array(x) for x in state]
    for index in range(start, start + count):
        state = list(body([np.array(index, np.int64), *state, *invariant]))
    return state


# A region that is run `count` times: its parameters are the index (int64, from `start` on), the
# `carried` operands as the run before left them, and the other operands as they are.
fori_loop = define(
    "fori_loop", Control(_run_loop), _loop_type, _no_value, tensorflow="ForiLoop"
)


__all__ = ["Region", "cond", "fori_loop"]
