"""Control flow: primitives that run graphs, their regions, on arrays.

A region reads nothing from outside but its parameters: what it uses of the surrounding graph is
an operand. Results are tuples. What a primitive does is said once, by `Control.run`: for graphs
run by NumPy, where a region is a graph that is run so, and for compiled programs, where it is
compiled code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import InternalError, PathNotTaken
from graphjit.core.types import Array, TensorType, TupleType, bool_, int64

from .primitive import (
    Assumption,
    Choice,
    ConditionalLoop,
    CountedLoop,
    OwnGradient,
    RegionTypes,
    define,
)

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
cond = define("cond", Choice(_run_cond), _cond_type, _no_value, tensorflow="Cond")


def _switch_type(
    index: TensorType, *operands: TensorType, regions: Sequence[RegionTypes]
) -> TupleType:
    if index != TensorType((), int64):
        raise InternalError(f"an index of type {index}")
    if not regions or any(region.params != operands for region in regions):
        raise InternalError(f"regions of {operands}, with other parameters")
    return _same_types(regions)


def _run_switch(regions: Sequence[Region], inputs: Sequence[Array]) -> Sequence[Array]:
    index, *operands = inputs
    return regions[min(max(int(index), 0), len(regions) - 1)](operands)


# The region whose number the index is, the first below 0, the last beyond the end.
switch = define("switch", Choice(_run_switch), _switch_type, _no_value, tensorflow="Case")


def _checkpoint_type(
    index: TensorType, *operands: TensorType, keeps: str, regions: Sequence[RegionTypes]
) -> TupleType:
    if keeps not in ("nothing", "products"):
        raise InternalError(f"a checkpoint that keeps {keeps}")
    return _switch_type(index, *operands, regions=regions)


def _run_checkpoint(
    regions: Sequence[Region], inputs: Sequence[Array], keeps: str
) -> Sequence[Array]:
    return _run_switch(regions, inputs)


# The only region, whose number 0 is given. On the way back it is run again: of what it computes
# nothing is kept for that, or the results of its products. Nothing moves out of it.
checkpoint = define(
    "checkpoint", Choice(_run_checkpoint), _checkpoint_type, _no_value, tensorflow="Checkpoint"
)


def _own_gradient_type(
    *operands: TensorType, outputs: int, arguments: int, regions: Sequence[RegionTypes]
) -> TupleType:
    results, rest = operands[:outputs], operands[outputs + arguments :]
    wanted = (*results, *rest), operands[outputs : outputs + arguments]
    if len(regions) != 1 or (regions[0].params, regions[0].results) != wanted:
        raise InternalError(f"a derivative of {operands}, of other types")
    return TupleType(results)


def _run_own_gradient(
    regions: Sequence[Region], inputs: Sequence[Array], outputs: int, arguments: int
) -> Sequence[Array]:
    return inputs[:outputs]


# Values with a derivative that the user wrote. It is for transformations: a graph that is
# compiled has none.
own_gradient = define(
    "own_gradient",
    OwnGradient(_run_own_gradient),
    _own_gradient_type,
    _no_value,
    tensorflow="CustomGradient",
)


def _scan_type(
    *operands: TensorType,
    start: int,
    count: int,
    carried: int,
    sliced: int,
    reverse: bool,
    regions: Sequence[RegionTypes],
) -> TupleType:
    state, arrays = operands[:carried], operands[carried : carried + sliced]
    if any(not x.shape or x.shape[0] != count for x in arrays):
        raise InternalError(f"a scan of {count} turns over {arrays}")
    slices = (TensorType(x.shape[1:], x.dtype) for x in arrays)
    wanted = (TensorType((), int64), *state, *slices, *operands[carried + sliced :])
    if len(regions) != 1 or regions[0].params != wanted:
        raise InternalError(f"a loop over {operands}, whose body has other parameters")
    results = regions[0].results
    if (not isinstance(count, Dim) and count < 0) or results[:carried] != state:
        raise InternalError(f"a loop over {state} with {results}")
    stacked = (TensorType((count, *y.shape), y.dtype) for y in results[carried:])
    return TupleType((*state, *stacked))


class TooManyTurns(Exception):  # noqa: N818: no error, and never the user's
    """Loops that NumPy was to run for a while only."""


# How many turns of loops NumPy may run still; None for any number.
_turns_left: ContextVar[list[int] | None] = ContextVar("graphjit_turns", default=None)


@contextmanager
def limited_turns(most: int) -> Iterator[None]:
    """Raise TooManyTurns where loops that NumPy runs come to more turns in all."""
    token = _turns_left.set([most])
    try:
        yield
    finally:
        _turns_left.reset(token)


def _count_turn(left: list[int] | None) -> None:
    if left is not None:
        left[0] -= 1
        if left[0] < 0:
            raise TooManyTurns


def _run_scan(
    regions: Sequence[Region],
    inputs: Sequence[Array],
    start: int,
    count: int,
    carried: int,
    sliced: int,
    reverse: bool,
    stacked: Sequence[TensorType] = (),
) -> Sequence[Array]:
    (body,) = regions
    state, arrays = list(inputs[:carried]), inputs[carried : carried + sliced]
    invariant = inputs[carried + sliced :]
    made = [np.empty(y.shape, y.dtype.dtype) for y in stacked]
    left = _turns_left.get()
    for turn in reversed(range(count)) if reverse else range(count):
        _count_turn(left)
        slices = [x[turn, ...] for x in arrays]
        results = body([np.array(start + turn, np.int64), *state, *slices, *invariant])
        state = list(results[:carried])
        for y, value in zip(made, results[carried:], strict=True):
            y[turn] = value
    return [*(state if count else map(np.array, state)), *made]


# A region that is run `count` times. Its parameters are the index (int64, from `start` on), the
# `carried` operands as the run before left them, one element along the first axis of each of
# the `sliced` operands, and the other operands as they are. It gives new values of what is
# carried, and elements of the results that are stacked along a first axis of length `count`.
# reverse: the last index comes first.
scan = define("scan", CountedLoop(_run_scan), _scan_type, _no_value, tensorflow="Scan")


def _while_type(
    *operands: TensorType, carried: int, regions: Sequence[RegionTypes]
) -> TupleType:
    if len(regions) != 2 or any(region.params != operands for region in regions):
        raise InternalError(f"a loop over {operands}, whose regions have other parameters")
    test, body = regions
    if test.results != (TensorType((), bool_),) or body.results != operands[:carried]:
        raise InternalError(f"a loop over {operands[:carried]} with {body.results}")
    return TupleType(operands[:carried])


def _run_while(
    regions: Sequence[Region], inputs: Sequence[Array], carried: int
) -> Sequence[Array]:
    test, body = regions
    state, invariant = [np.array(x) for x in inputs[:carried]], inputs[carried:]
    left = _turns_left.get()
    while bool(test([*state, *invariant])[0]):
        _count_turn(left)
        state = list(body([*state, *invariant]))
    return state


# Two regions with the operands for parameters: the second is run, and gives new values of the
# `carried` operands, while the first gives true.
while_loop = define(
    "while_loop", ConditionalLoop(_run_while), _while_type, _no_value, tensorflow="While"
)


def _assume_type(
    predicate: TensorType, *operands: TensorType, holds: bool, regions: Sequence[RegionTypes]
) -> TupleType:
    if len(regions) != 1:
        raise InternalError(f"{len(regions)} regions in place of one")
    return _cond_type(predicate, *operands, regions=(*regions, *regions))


def _run_assume(
    regions: Sequence[Region], inputs: Sequence[Array], holds: bool
) -> Sequence[Array]:
    predicate, *operands = inputs
    if bool(predicate) is not holds:
        raise PathNotTaken
    return regions[0](operands)


# Its one region, where the predicate is what `holds` says. Else PathNotTaken: the graph is that
# of another path through the function.
assume = define("assume", Assumption(_run_assume), _assume_type, _no_value, tensorflow="If")


__all__ = [
    "Region", "TooManyTurns", "assume", "checkpoint", "cond", "limited_turns", "own_gradient",
    "scan", "switch", "while_loop",
]  # fmt: skip
