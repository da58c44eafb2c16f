"""Control flow that is compiled: a choice between functions, and loops that run a known number
of times. Eagerly they are Python's `if` and `for`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import DTypeError, InvalidArgumentError, at_user_line
from graphjit.core.tree import flatten, unflatten
from graphjit.core.types import TensorType, int64
from graphjit.ops import control
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace, wrap

from . import math

__all__ = ["cond", "fori_loop"]

_NUMBERS = (bool, int, float, complex)


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
    if trace is None or not _is_symbolic(pred):
        return (true_fn if _truth(pred) else false_fn)(*operands)
    if pred.type.shape:
        raise InvalidArgumentError(at_user_line(f"pred is one bool, not {pred.type} [Op:Cond]"))
    numpy = pred.origin != "tensor"
    predicate = pred if pred.dtype.is_bool else math.not_equal(pred, _zero_like(pred))
    regions = [
        trace.region((), lambda f=function: f(*operands)) for function in (true_fn, false_fn)
    ]
    flat: list[list[Any]] = [[], []]
    trees = [flatten(r.result, found) for r, found in zip(regions, flat, strict=True)]
    if trees[0] != trees[1]:
        raise InvalidArgumentError(
            at_user_line(
                f"true_fn gives {_shown(regions[0].result)}, false_fn "
                f"{_shown(regions[1].result)} [Op:Cond]"
            )
        )
    numpy = numpy or any(_is_numpy(x) for found in flat for x in found)
    pairs = [
        _alike(trace, number, yes, no, numpy)
        for number, (yes, no) in enumerate(zip(*flat, strict=True))
    ]
    origins = [_origin(yes, no, numpy) for yes, no in pairs]
    outputs = [[pair[k] for pair in pairs] for k in (0, 1)]
    parts = list(zip(regions, outputs, strict=True))
    results = iter(trace.control(control.cond, parts, [predicate], origins))
    return unflatten(trees[0], lambda: next(results))


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any
) -> Any:
    """What `for i in range(lower, upper): init_val = body_fun(i, init_val)` leaves.

    lower, upper: integers that are known when a compiled function is traced. In one, `body_fun`
    is traced once: i is an integer whose value is known when the loop runs, and what it gives
    has the structure, shapes and dtypes of `init_val`, where a Python number becomes an array
    without axes of the dtype that comes back. InvalidArgumentError where they differ.
    """
    first, last = _bound(lower, "lower"), _bound(upper, "upper")
    trace = current_trace.get()
    if trace is None:
        value = init_val
        for index in range(first, last):
            value = body_fun(index, value)
        return value
    leaves: list[Any] = []
    tree = flatten(init_val, leaves)
    carried = [_carried(trace, x) for x in leaves]
    # a Python number is one in the body, too, unless what comes back is an array
    origins = [
        "weak" if _is_number(leaf) else _origin_of(x)
        for leaf, x in zip(leaves, carried, strict=True)
    ]
    for attempt in (0, 1):
        types = [(TensorType((), int64), "weak")]
        types += [(x.type, origin) for x, origin in zip(carried, origins, strict=True)]
        region = trace.region(types, _body(trace, first, last, body_fun, tree))
        found: list[Any] = []
        if flatten(region.result, found) != tree:
            raise InvalidArgumentError(
                at_user_line(
                    f"body_fun gives {_shown(region.result)}, init_val is {_shown(init_val)} "
                    "[Op:ForiLoop]"
                )
            )
        found = [_carried(trace, x, like) for x, like in zip(found, carried, strict=True)]
        again = [
            _retyped(before, x) if _is_number(leaf) else before
            for leaf, before, x in zip(leaves, carried, found, strict=True)
        ]
        turned = [
            _origin_of(x) if _is_number(leaf) else origin
            for leaf, origin, x in zip(leaves, origins, found, strict=True)
        ]
        same = all(a is b for a, b in zip(again, carried, strict=True)) and turned == origins
        if attempt or same:
            break
        carried, origins = again, turned
    for number, (before, after) in enumerate(zip(carried, found, strict=True)):
        if before.type != after.type:
            raise InvalidArgumentError(
                at_user_line(
                    f"value {number} of the loop is {before.type} before body_fun and "
                    f"{after.type} after it [Op:ForiLoop]"
                )
            )
    origins = [_origin_of(x) for x in found]
    results = iter(
        trace.control(
            control.fori_loop, [(region, found)], carried, origins,
            start=first, count=max(0, last - first), carried=len(carried),
        )
    )  # fmt: skip
    return unflatten(tree, lambda: next(results))


def _body(
    trace: Any, first: int, last: int, function: Callable[[Any, Any], Any], tree: Any
) -> Callable[..., Any]:
    def body(index: Any, *carried: Any) -> Any:
        trace.note_bounds(index, first, max(first, last - 1))
        values = iter(carried)
        return function(index, unflatten(tree, lambda: next(values)))

    return body


def _is_number(x: Any) -> bool:
    return isinstance(x, _NUMBERS) and not isinstance(x, np.generic)


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, TensorBase) and x.recorder is not None


def _is_numpy(x: Any) -> bool:
    if isinstance(x, (np.ndarray, np.generic)):
        return True
    return _is_symbolic(x) and x.origin == "numpy"


def _truth(pred: Any) -> bool:
    if isinstance(pred, TensorBase):
        pred = pred.numpy()  # type: ignore[attr-defined]
    if np.size(pred) != 1:
        raise InvalidArgumentError(
            at_user_line(f"pred is one bool, not an array of shape {np.shape(pred)} [Op:Cond]")
        )
    return bool(pred)


def _zero_like(x: TensorBase) -> TensorBase:
    return as_tensor(np.zeros((), x.type.dtype.dtype))


def _bound(value: Any, name: str) -> int:
    if getattr(value, "origin", "") == "weak":  # a Python integer: the trace needs its value
        return operator.index(value)
    if isinstance(value, TensorBase):
        value = value.as_tensor()
        if value.recorder is not None:
            raise InvalidArgumentError(
                at_user_line(
                    f"{name} is known only when the compiled function runs [Op:ForiLoop]",
                    "give a Python integer or an extent",
                )
            )
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidArgumentError(
            at_user_line(f"{name} is an integer, not {value!r} [Op:ForiLoop]")
        ) from None


def _carried(trace: Any, x: Any, like: TensorBase | None = None) -> Any:
    """A leaf of a loop's value as a tensor; a number with the dtype of `like`, if it is that of
    an array without axes.
    """
    if isinstance(x, Dim):
        return trace.extent_value(x)
    if isinstance(x, np.ndarray):
        return trace.capture(x)
    if _is_number(x):
        if like is not None and not like.type.shape:
            return _number(x, like)
        return _number(x, None)
    if isinstance(x, TensorBase):
        return x.as_tensor()
    return as_tensor(x)


def _number(x: Any, like: TensorBase | None) -> TensorBase:
    """A Python number as a tensor, of a dtype like another's."""
    if like is not None:
        try:
            return as_tensor(x, like.type.dtype)
        except (DTypeError, InvalidArgumentError):
            pass  # the message that it doesn't fit names both types
    return wrap(np.asarray(x))


def _retyped(before: TensorBase, after: TensorBase) -> TensorBase:
    """A number that a loop begins with, of the dtype that comes back from its body."""
    if before.type == after.type or after.type.shape or before.type.shape:
        return before
    array = before.numpy()  # type: ignore[attr-defined]
    return wrap(np.asarray(array, after.type.dtype.dtype))


def _alike(trace: Any, number: int, yes: Any, no: Any, numpy: bool) -> tuple[Any, Any]:
    """The results of two branches as tensors of one type."""
    plain = [_is_number(x) for x in (yes, no)]
    if all(plain) and not numpy:
        yes, no = as_tensor(yes), as_tensor(no)
    else:
        first = None if plain[0] else _carried(trace, yes)
        yes = _carried(trace, yes, None if plain[1] else _carried(trace, no))
        no = _carried(trace, no, first)
    if yes.type != no.type:
        raise InvalidArgumentError(
            at_user_line(
                f"result {number} is {yes.type} of true_fn and {no.type} of false_fn [Op:Cond]"
            )
        )
    return yes, no


def _origin_of(x: TensorBase) -> str:
    return str(x.origin) if _is_symbolic(x) else "numpy"  # type: ignore[attr-defined]


def _origin(yes: Any, no: Any, numpy: bool) -> str:
    """Whose rules a result follows: TensorFlow's if either branch's does."""
    origins = {_origin_of(x) for x in (yes, no) if _is_symbolic(x)}
    if "tensor" in origins or (not origins and not numpy):
        return "tensor"
    return "weak" if origins == {"weak"} else "numpy"


def _shown(value: Any) -> str:
    """A structure as text."""
    leaves: list[Any] = []
    tree = flatten(value, leaves)
    kinds = ", ".join(str(getattr(x, "type", type(x).__name__)) for x in leaves)
    return kinds if tree.kind is None else f"{type(value).__name__} of ({kinds})"
