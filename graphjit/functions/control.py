"""Choices between functions, of which one runs. Eagerly they are Python's `if`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.tree import flatten, leaves_like, unflatten
from graphjit.core.types import int64
from graphjit.ops import control
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace

from . import math
from .region_values import (
    Variables,
    as_operand,
    is_number,
    is_numpy,
    is_symbolic,
    origin_of,
    shown,
    with_variables,
)

__all__ = ["case", "cond", "switch", "switch_case"]


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any
) -> Any:
    """What `true_fn(*operands)` gives where `pred` holds, else what `false_fn(*operands)` does.

    pred: one bool, or one number, which holds if it isn't 0. In a compiled function both are
    traced and one runs, by a value that is known at the call; they give the same structure of
    arrays of the same shapes and dtypes. A Python number where the other function has an array
    without axes takes its dtype. InvalidArgumentError where results differ or `pred` has more
    than one element.
    """
    trace = current_trace.get()
    pred = pred.as_tensor() if isinstance(pred, TensorBase) else pred
    if trace is None or not is_symbolic(pred):
        return (true_fn if _truth(pred) else false_fn)(*operands)
    if pred.type.shape:
        raise InvalidArgumentError(at_user_line(f"pred is one bool, not {pred.type} [Op:Cond]"))
    predicate = pred if pred.dtype.is_bool else math.not_equal(pred, _zero_like(pred))
    functions = {"true_fn": true_fn, "false_fn": false_fn}
    return choose(trace, control.cond, predicate, pred.origin, functions, operands, "Cond")


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """What `branches[index](*operands)` gives; an index below 0 counts as 0, one beyond the end
    as the last.

    index: one integer. In a compiled function all branches are traced and one runs; they give
    the same structure of arrays of the same shapes and dtypes. InvalidArgumentError where
    results differ, there are no branches, or `index` isn't one integer.
    """
    branches = tuple(branches)
    if not branches:
        raise InvalidArgumentError(at_user_line("there are no branches [Op:Case]"))
    trace = current_trace.get()
    index = index.as_tensor() if isinstance(index, TensorBase) else index
    if trace is None or not is_symbolic(index):
        return branches[min(max(_whole(index), 0), len(branches) - 1)](*operands)
    if index.type.shape or not index.type.dtype.is_integer:
        raise InvalidArgumentError(
            at_user_line(f"index is one integer, not {index.type} [Op:Case]")
        )
    functions = {f"branch {k}": function for k, function in enumerate(branches)}
    # an unsigned one beyond int64 would be negative
    if index.type.dtype.name == "uint64":
        index = math.minimum(index, as_tensor(len(branches), index.type.dtype))
    chosen = math.cast(index, int64)
    return choose(trace, control.switch, chosen, index.origin, functions, operands, "Case")


def switch_case(
    branch_index: Any,
    branch_fns: Sequence[Any] | Mapping[int, Callable[..., Any]],
    default: Callable[..., Any] | None = None,
    name: str = "switch_case",
) -> Any:
    """What the function with the number `branch_index` gives, or `default`, where none has it.

    branch_fns: functions, pairs (number, function), or a dict of those. default: the function
    with the greatest number if None. name: for TensorFlow's callers; not used. Otherwise as
    `gj.switch`.
    """
    del name
    if isinstance(branch_fns, Mapping):
        pairs = list(branch_fns.items())
    elif all(callable(f) for f in branch_fns):
        pairs = list(enumerate(branch_fns))
    else:
        pairs = [(k, f) for k, f in branch_fns]
    if not pairs:
        raise InvalidArgumentError(at_user_line("there are no branches [Op:Case]"))
    table: dict[int, Callable[..., Any]] = {}
    for key, function in pairs:
        number = _whole(key)
        if number in table:
            raise InvalidArgumentError(
                at_user_line(f"two branches have the number {number} [Op:Case]")
            )
        table[number] = function
    numbers = sorted(table)
    functions = [table[k] for k in numbers]
    if default is None:
        last, default = numbers[-1], functions[-1]
    else:
        last = None
    index = branch_index.as_tensor() if isinstance(branch_index, TensorBase) else branch_index
    if not is_symbolic(index):
        return table.get(_whole(index), default)()
    position: Any = as_tensor(len(functions) - 1 if last is not None else len(functions), int64)
    wide = math.cast(index, int64)
    for k, number in enumerate(numbers):
        here = math.equal(wide, as_tensor(number, int64))
        position = math.where(here, as_tensor(k, int64), position)
    return switch(position, functions if last is not None else [*functions, default])


def case(
    pred_fn_pairs: Sequence[tuple[Any, Callable[..., Any]]] | Mapping[Any, Callable[..., Any]],
    default: Callable[..., Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """What the function of the first predicate that holds gives, else what `default` does.

    default: the last function, whatever its predicate, if None. exclusive: whether to raise
    InvalidArgumentError where several predicates hold, if they are known when the function is
    traced. strict, name: for TensorFlow's callers; not used. Otherwise as `gj.cond`.
    """
    del strict, name
    given = pred_fn_pairs.items() if isinstance(pred_fn_pairs, Mapping) else pred_fn_pairs
    pairs = [(pred, function) for pred, function in given]
    if not pairs:
        raise InvalidArgumentError(at_user_line("there are no predicates [Op:Case]"))
    if exclusive and not any(is_symbolic(pred) for pred, _ in pairs):
        holding = [k for k, (pred, _) in enumerate(pairs) if _truth(pred)]
        if len(holding) > 1:
            raise InvalidArgumentError(
                at_user_line(f"predicates {holding} hold, which exclude each other [Op:Case]")
            )
    if default is None:
        default = pairs.pop()[1]

    def chosen(k: int) -> Any:
        if k == len(pairs):
            return default()
        return cond(pairs[k][0], pairs[k][1], lambda: chosen(k + 1))

    return chosen(0)


def choose(
    trace: Any,
    primitive: Any,
    selector: Any,
    origin: str,
    functions: Mapping[str, Callable[..., Any]],
    operands: Sequence[Any],
    op: str,
    **attrs: Any,
) -> Any:
    """Append a node that runs one of several functions; its results in their structure."""

    def run(variables: Variables) -> Any:
        extended = {name: variables.function(f, None) for name, f in functions.items()}
        return variables.assigned(
            _chosen(trace, primitive, selector, origin, extended, operands, op, attrs)
        )

    return with_variables(trace, run)


def _chosen(
    trace: Any,
    primitive: Any,
    selector: Any,
    origin: str,
    functions: Mapping[str, Callable[..., Any]],
    operands: Sequence[Any],
    op: str,
    attrs: Mapping[str, Any],
) -> Any:
    numpy = origin != "tensor"
    names = list(functions)
    regions = [trace.region((), lambda f=f: f(*operands)) for f in functions.values()]
    tree = flatten(regions[0].result, [])
    flat = []
    for name, region in zip(names, regions, strict=True):
        leaves = leaves_like(region.result, tree)
        if leaves is None:
            raise InvalidArgumentError(
                at_user_line(
                    f"{names[0]} gives {shown(regions[0].result)}, {name} "
                    f"{shown(region.result)} [Op:{op}]"
                )
            )
        flat.append(leaves)
    numpy = numpy or any(is_numpy(x) for found in flat for x in found)
    columns = [
        _alike(trace, number, values, names, numpy, op)
        for number, values in enumerate(zip(*flat, strict=True))
    ]
    origins = [_origin(values, numpy) for values in columns]
    outputs = [[values[k] for values in columns] for k in range(len(regions))]
    parts = list(zip(regions, outputs, strict=True))
    results = iter(trace.control(primitive, parts, [selector], origins, **attrs))
    return unflatten(tree, lambda: next(results))


def _truth(pred: Any) -> bool:
    if isinstance(pred, TensorBase):
        pred = pred.numpy()  # type: ignore[attr-defined]
    if np.size(pred) != 1:
        raise InvalidArgumentError(
            at_user_line(f"pred is one bool, not an array of shape {np.shape(pred)} [Op:Cond]")
        )
    return bool(pred)


def _whole(index: Any) -> int:
    try:
        return operator.index(index.numpy() if isinstance(index, TensorBase) else index)  # type: ignore[attr-defined]
    except TypeError:
        raise InvalidArgumentError(
            at_user_line(f"index is one integer, not {index!r} [Op:Case]")
        ) from None


def _zero_like(x: TensorBase) -> TensorBase:
    return as_tensor(np.zeros((), x.type.dtype.dtype))


def _alike(
    trace: Any, number: int, values: Sequence[Any], names: Sequence[str], numpy: bool, op: str
) -> list[Any]:
    """One result of each branch, as tensors of one type."""
    plain = [is_number(x) for x in values]
    if all(plain) and not numpy:
        found = [as_tensor(x) for x in values]
    else:
        first = next(
            (
                as_operand(trace, x)
                for x, number in zip(values, plain, strict=True)
                if not number
            ),
            None,
        )
        found = [as_operand(trace, x, first) for x in values]
    for k, x in enumerate(found):
        if x.type != found[0].type:
            raise InvalidArgumentError(
                at_user_line(
                    f"result {number} is {found[0].type} of {names[0]} and {x.type} of "
                    f"{names[k]} [Op:{op}]"
                )
            )
    return found


def _origin(values: Sequence[Any], numpy: bool) -> str:
    """Whose rules a result follows: TensorFlow's if any branch's does."""
    origins = {origin_of(x) for x in values if is_symbolic(x)}
    if "tensor" in origins or (not origins and not numpy):
        return "tensor"
    return "weak" if origins == {"weak"} else "numpy"
