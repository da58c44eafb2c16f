"""Loops whose body is traced once. Eagerly they are Python's `for` and `while`."""

from __future__ import annotations

import builtins
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.tree import LEAF, Tree, flatten, leaves_like, unflatten
from graphjit.core.types import TensorType, bool_, int64
from graphjit.ops import control
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace

from . import math, shape
from .region_values import (
    Carry,
    Variables,
    as_operand,
    is_symbolic,
    origin_of,
    shown,
    with_variables,
)

__all__ = [
    "associative_scan", "foldl", "foldr", "fori_loop", "map", "map_fn", "scan", "while_loop",
]  # fmt: skip
#: `from graphjit import *` doesn't bring `map`, which is Python's.
FIRST_NAMES = [name for name in __all__ if name != "map"]


def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any
) -> Any:
    """What `for i in range(lower, upper): init_val = body_fun(i, init_val)` leaves.

    lower, upper: integers. In a compiled function `body_fun` is traced once: i is an integer
    whose value is known when the loop runs, and what it gives has the structure, shapes and
    dtypes of `init_val`, where a Python number becomes an array without axes of the dtype that
    comes back. InvalidArgumentError where they differ.
    """
    trace = current_trace.get()
    if trace is None:
        value = init_val
        first, last = _bound(lower, "lower"), _bound(upper, "upper")
        for index in range(first, last):
            value = body_fun(index, value)
        return value

    def run(variables: Variables) -> Any:
        body, begin = variables.function(body_fun, 1), variables.beside(init_val)
        return variables.assigned(_fori(trace, lower, upper, body, begin))

    return with_variables(trace, run)


def _fori(trace: Any, lower: Any, upper: Any, body_fun: Any, init_val: Any) -> Any:
    if _is_open(lower) or _is_open(upper):
        return _open_fori(trace, lower, upper, body_fun, init_val)
    first, last = _bound(lower, "lower"), _bound(upper, "upper")
    count: Any = last - first
    if count <= 0:
        return init_val
    carry = Carry(trace, init_val, "ForiLoop", "init_val", "body_fun")

    def run() -> tuple[Any, Any]:
        def body(index: Any, *state: Any) -> Any:
            most = last - 1 if isinstance(last, int) else 2**62
            trace.note_bounds(index, first if isinstance(first, int) else -(2**62), most)
            return body_fun(index, carry.structure(state))

        region = trace.region([_INDEX, *carry.types], body)
        return region, region.result

    region, found = carry.traced(run)
    finals, _ = _scan_node(trace, carry, region, found, (), (), first, count, False)
    return carry.structure(finals)


def _open_fori(trace: Any, lower: Any, upper: Any, body_fun: Any, init_val: Any) -> Any:
    """A loop whose bounds are known when it runs: the index is carried."""
    ends = []
    for bound, name in ((lower, "lower"), (upper, "upper")):
        x = as_operand(trace, bound)
        if x.type.shape or not x.type.dtype.is_integer:
            raise InvalidArgumentError(
                at_user_line(f"{name} is an integer, not {x.type} [Op:ForiLoop]")
            )
        ends.append(math.cast(x, int64))
    first, last = ends
    carry = Carry(trace, init_val, "ForiLoop", "init_val", "body_fun")

    following: list[Any] = []

    def run() -> tuple[Any, Any]:
        def body(index: Any, *state: Any) -> Any:
            following[:] = [math.add(trace.as_result(index, "tensor"), as_tensor(1, int64))]
            # below the upper bound, and so one more is no overflow
            trace.note_bounds(index, -(2**63), 2**63 - 2)
            return body_fun(index, carry.structure(state))

        region = trace.region([_INDEX, *carry.types], body)
        return region, region.result

    region, found = carry.traced(run)

    def proceed(index: Any, *_: Any) -> Any:
        return math.less(trace.as_result(index, "tensor"), trace.as_result(last, "tensor"))

    test = trace.region([_INDEX, *carry.types], proceed)
    results = trace.control(
        control.while_loop,
        [(test, [test.result]), (region, [*following, *found])],
        [first, *carry.tensors],
        ["weak", *carry.origins],
        carried=1 + len(found),
    )
    return carry.structure(results[1:])


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any = None,
    maximum_iterations: Any = None,
    *,
    init_val: Any = None,
    **options: Any,
) -> Any:
    """What `while cond(value): value = body(value)` leaves of the value `loop_vars`.

    loop_vars: any structure (`init_val` is another name for it). A list or tuple is handed to
    functions that take as many arguments as it has items one by one, as TensorFlow does; `body`
    then gives a list or tuple of as many items, or the item, where there is one.
    maximum_iterations: after so many turns the loop ends. options: TensorFlow's
    `shape_invariants`, `parallel_iterations`, `back_prop`, `swap_memory` and `name`, of which
    only None, or what doesn't change the result, is accepted.

    In a compiled function both are traced once, and the number of turns is found when the loop
    runs. What `body` gives has the structure, shapes and dtypes of `loop_vars`, where a
    Python number becomes an array without axes of the dtype that comes back.
    InvalidArgumentError where they differ, or `cond` doesn't give one bool.
    """
    unknown = options.keys() - _IGNORED - {"shape_invariants"}
    if unknown:
        raise TypeError(f"while_loop() has no argument {sorted(unknown)[0]!r}")
    if options.get("shape_invariants") is not None:
        raise InvalidArgumentError(
            at_user_line("shapes are the same at each turn: no shape_invariants [Op:While]")
        )
    value = loop_vars if init_val is None else init_val
    apart = isinstance(value, (list, tuple)) and not hasattr(value, "_fields")
    apart = apart and _takes_items(cond, value) and _takes_items(body, value)
    if apart:
        items, kind = list(value), type(value)

        def test(state: Any) -> Any:
            return cond(*state)

        def step(state: Any) -> Any:
            result = body(*state)
            if len(items) == 1 and not isinstance(result, (list, tuple)):
                result = [result]
            return list(result) if isinstance(result, (list, tuple)) else result

        result = _while(test, step, items, maximum_iterations)
        return kind(result)
    return _while(cond, body, value, maximum_iterations)


def _while(test: Any, step: Any, value: Any, most: Any) -> Any:
    trace = current_trace.get()
    if trace is None:
        turns = 0
        while (most is None or turns < most) and _holds(test(value)):
            value, turns = step(value), turns + 1
        return value
    if most is not None:
        counted = _while(
            lambda state: math.logical_and(_predicate(trace, test(state[1])), state[0] < most),
            lambda state: (state[0] + 1, step(state[1])),
            (as_tensor(0, int64), value),
            None,
        )
        return counted[1]

    def run(variables: Variables) -> Any:
        body, begin = variables.function(step, 0), variables.beside(value)
        return variables.assigned(_traced_while(trace, variables.reading(test), body, begin))

    return with_variables(trace, run)


def _traced_while(trace: Any, test: Any, step: Any, value: Any) -> Any:
    carry = Carry(trace, value, "While", "loop_vars", "body")

    def run() -> tuple[Any, Any]:
        region = trace.region(carry.types, lambda *state: step(carry.structure(state)))
        return region, region.result

    region, found = carry.traced(run)
    check = trace.region(
        carry.types, lambda *state: _predicate(trace, test(carry.structure(state)))
    )
    results = trace.control(
        control.while_loop,
        [(check, [check.result]), (region, found)],
        carry.tensors,
        carry.origins,
        carried=len(found),
    )
    return carry.structure(results)


def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> Any:
    """A loop through arrays along their first axis: what it leaves, and what its turns made.

    Gives `(carry, ys)`, where the carry begins as `init`, `carry, y = f(carry, x)` is done for
    each x of xs, and ys are the y stacked along a first axis. The semantics are those of
    `jax.lax.scan`.

    xs: any structure of arrays with the same first extent; None for `length` turns. reverse:
    from the last element to the first; ys are where the xs were. unroll: how many turns are
    written one after another; True for all. It changes speed only.

    In a compiled function `f` is traced once, and gives a carry of the structure, shapes and
    dtypes of `init`. InvalidArgumentError where they differ, or lengths do.
    """
    del unroll
    trace = current_trace.get()
    arrays: list[Any] = []
    tree = LEAF if xs is None else flatten(xs, arrays)
    if trace is None:
        return _eager_scan(f, init, xs, arrays, tree, length, reverse)

    def run(variables: Variables) -> Any:
        step, begin = variables.function(f, 0, rows=True), variables.beside(init)
        last, ys = _traced_scan(trace, step, begin, xs, arrays, tree, length, reverse)
        return variables.assigned(last), ys

    return with_variables(trace, run)


def _traced_scan(
    trace: Any, f: Any, init: Any, xs: Any, arrays: list[Any], tree: Tree, length: Any,
    reverse: bool,
) -> tuple[Any, Any]:  # fmt: skip
    given = [as_operand(trace, x) for x in arrays]
    count = _length([x.type.shape for x in given], length)
    carry = Carry(trace, init, "Scan", "init", "f")
    slices = [
        (TensorType(x.type.shape[1:], x.type.dtype), origin_of(x)) for x in given
    ]  # fmt: skip

    def run() -> tuple[Any, Any]:
        def body(index: Any, *values: Any) -> Any:
            state, parts = values[: len(carry.leaves)], iter(values[len(carry.leaves) :])
            x = None if xs is None else unflatten(tree, lambda: next(parts))
            return _pair(f(carry.structure(state), x))

        region = trace.region([_INDEX, *carry.types, *slices], body)
        return region, region.result[0]

    region, found = carry.traced(run)
    made: list[Any] = []
    made_tree = flatten(region.result[1], made)
    if region.result[1] is None:
        made = []
    rows = [as_operand(trace, y) for y in made]
    finals, stacked = _scan_node(trace, carry, region, found, given, rows, 0, count, reverse)
    parts = iter(stacked)
    ys = None if region.result[1] is None else unflatten(made_tree, lambda: next(parts))
    return carry.structure(finals), ys


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """What `f` gives for each element along the first axis of arrays, stacked: `jax.lax.map`.

    xs: any structure of arrays with the same first extent. In a compiled function `f` is traced
    once, and its results have the same structure, shapes and dtypes for each.
    """
    return scan(lambda carry, x: (carry, f(x)), (), xs)[1]


def map_fn(
    fn: Callable[[Any], Any],
    elems: Any,
    dtype: Any = None,
    fn_output_signature: Any = None,
    **options: Any,
) -> Any:
    """`gj.map` under TensorFlow's name. dtype and fn_output_signature needn't be given; what
    `fn` gives has its own dtypes.
    """
    del dtype, fn_output_signature
    unknown = options.keys() - _IGNORED - {"infer_shape"}
    if unknown:
        raise TypeError(f"map_fn() has no argument {sorted(unknown)[0]!r}")
    return map(fn, elems)


def foldl(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, **options: Any
) -> Any:
    """`fn(… fn(fn(initializer, elems[0]), elems[1]) …, elems[-1])`.

    elems: any structure of arrays with the same first extent. initializer: the first elements
    if None. InvalidArgumentError where there is none of either.
    """
    return _fold(fn, elems, initializer, options, reverse=False)


def foldr(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, **options: Any
) -> Any:
    """`fn(… fn(fn(initializer, elems[-1]), elems[-2]) …, elems[0])`; else as `gj.foldl`."""
    return _fold(fn, elems, initializer, options, reverse=True)


def associative_scan(
    fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """All partial results of an associative function along an axis: element k is `fn(… fn(e0,
    e1) …, ek)`.

    fn: takes two structures like `elems` with any extent of that axis, and combines them by
    element. It is called about 2·log2(n) times (Blelloch, "Prefix Sums and Their
    Applications", 1990; `jax.lax.associative_scan`).
    """
    leaves: list[Any] = []
    tree = flatten(elems, leaves)
    if not leaves:
        raise InvalidArgumentError(at_user_line("there are no arrays [Op:Scan]"))
    arrays = [x if isinstance(x, (TensorBase, np.ndarray)) else np.asarray(x) for x in leaves]
    ranks = [len(x.shape) for x in arrays]
    if any(not -n <= axis < n for n in ranks):
        raise InvalidArgumentError(
            at_user_line(f"axis {axis} of arrays of {ranks} axes [Op:Scan]")
        )
    extents = {operator.index(x.shape[axis]) for x in arrays}
    if len(extents) != 1:
        raise InvalidArgumentError(
            at_user_line(f"extents {sorted(extents)} along axis {axis} differ [Op:Scan]")
        )

    def cut(x: Any, *bounds: int | None) -> Any:
        key = [slice(None)] * len(x.shape)
        key[axis] = slice(*bounds)
        return x[tuple(key)]

    def joined(parts: Sequence[Any]) -> Any:
        if any(isinstance(x, TensorBase) and not _follows_numpy(x) for x in parts):
            return shape.concat(list(parts), axis)
        return np.concatenate(list(parts), axis)

    def combine(a: list[Any], b: list[Any]) -> list[Any]:
        one, other = iter(a), iter(b)
        result = fn(unflatten(tree, lambda: next(one)), unflatten(tree, lambda: next(other)))
        found = leaves_like(result, tree)
        if found is None:
            raise InvalidArgumentError(
                at_user_line(f"fn gives {shown(result)} for {shown(elems)} [Op:Scan]")
            )
        return found

    def partial(values: list[Any]) -> list[Any]:
        count = operator.index(values[0].shape[axis])
        if count < 2:
            return values
        pairs = combine(
            [cut(x, 0, -1, 2) for x in values], [cut(x, 1, None, 2) for x in values]
        )
        odd = partial(pairs)
        before = [cut(x, 0, -1) for x in odd] if count % 2 == 0 else odd
        even = combine(before, [cut(x, 2, None, 2) for x in values])
        first = [cut(x, 0, 1) for x in values]
        even = [joined((a, b)) for a, b in zip(first, even, strict=True)]
        return [_interleaved(a, b, cut, joined, axis) for a, b in zip(even, odd, strict=True)]

    def turned(x: Any) -> Any:
        return cut(x, None, None, -1)

    values = [turned(x) for x in arrays] if reverse else arrays
    values = partial(values)
    results = iter([turned(x) for x in values] if reverse else values)
    return unflatten(tree, lambda: next(results))


def _interleaved(even: Any, odd: Any, cut: Any, joined: Any, axis: int) -> Any:
    """The elements of two arrays by turns; the first has as many as the second or one more."""
    count = operator.index(odd.shape[axis])
    axis = axis % len(even.shape)
    both = [
        x.reshape((*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
        if hasattr(x, "reshape")
        else shape.expand_dims(x, axis + 1)
        for x in (cut(even, 0, count), odd)
    ]
    if any(isinstance(x, TensorBase) and not _follows_numpy(x) for x in both):
        pairs = shape.concat(both, axis + 1)
        flat = shape.reshape(pairs, (*even.shape[:axis], 2 * count, *even.shape[axis + 1 :]))
    else:
        pairs = np.concatenate(both, axis + 1)
        flat = pairs.reshape((*even.shape[:axis], 2 * count, *even.shape[axis + 1 :]))
    if operator.index(even.shape[axis]) == count:
        return flat
    return joined((flat, cut(even, count, None)))


def _follows_numpy(x: Any) -> bool:
    return is_symbolic(x) and x.origin == "numpy"


_INDEX = (TensorType((), int64), "weak")
# Options of TensorFlow's that change no result.
_IGNORED = {"parallel_iterations", "back_prop", "swap_memory", "name"}


def _scan_node(
    trace: Any,
    carry: Carry,
    region: Any,
    found: Sequence[Any],
    arrays: Sequence[Any],
    rows: Sequence[Any],
    start: int,
    count: int,
    reverse: bool,
) -> tuple[list[Any], list[Any]]:
    """Append a counted loop. Gives the last values of what it carries, and the stacked rows.

    What the body hands on as it is isn't carried: it is read from outside.
    """
    trace.require_handed_on(region)
    index, *params = region.params
    state, parts = params[: len(found)], params[len(found) :]
    kept = [k for k, x in enumerate(found) if trace.node_of(x) != state[k]]
    same = [k for k in range(len(found)) if k not in kept]
    order = (index, *(state[k] for k in kept), *parts, *(state[k] for k in same))
    outputs = [*(found[k] for k in kept), *rows]
    given = [*(carry.tensors[k] for k in kept), *arrays, *(carry.tensors[k] for k in same)]
    origins = [*(carry.origins[k] for k in kept), *(_row_origin(y) for y in rows)]
    if not outputs:
        return carry.leaves, []
    results = trace.control(
        control.scan,
        [(type(region)(region.start, order, region.result), outputs)],
        given,
        origins,
        start=start, count=count, carried=len(kept), sliced=len(arrays), reverse=reverse,
    )  # fmt: skip
    last = dict(zip(kept, results, strict=False))
    return [last.get(k, x) for k, x in enumerate(carry.leaves)], results[len(kept) :]


def _row_origin(y: Any) -> str:
    origin = origin_of(y)
    return "numpy" if origin == "weak" else origin


def _pair(result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise InvalidArgumentError(
            at_user_line(f"f gives {shown(result)}, not a pair (carry, y) [Op:Scan]")
        )
    return result


def _length(shapes: Sequence[Any], length: Any) -> Any:
    """How many turns a scan makes."""
    for number, extents in enumerate(shapes):
        if not extents:
            raise InvalidArgumentError(at_user_line(f"array {number} has no axes [Op:Scan]"))
    found = [extents[0] for extents in shapes]
    if length is not None:
        found.append(length if isinstance(length, Dim) else operator.index(length))
    if not found:
        raise InvalidArgumentError(at_user_line("neither arrays nor a length [Op:Scan]"))
    for n in found[1:]:
        if n != found[0]:
            shown_lengths = ", ".join(dict.fromkeys(builtins.map(str, found)))
            raise InvalidArgumentError(
                at_user_line(f"arrays of different lengths: {shown_lengths} [Op:Scan]")
            )
    if not isinstance(found[0], Dim) and found[0] < 0:
        raise InvalidArgumentError(at_user_line(f"a length of {found[0]} [Op:Scan]"))
    return found[0]


def _row(x: Any, k: int) -> Any:
    """A row, which is an array also where it has no axes, as in compiled code."""
    return np.array(x[k]) if isinstance(x, np.ndarray) and x.ndim == 1 else x[k]


def _eager_scan(
    f: Any, init: Any, xs: Any, arrays: list[Any], tree: Any, length: Any, reverse: bool
) -> Any:
    arrays = [x if isinstance(x, (TensorBase, np.ndarray)) else np.asarray(x) for x in arrays]
    count = _length([tuple(x.shape) for x in arrays], length)
    carry, rows = init, []

    def turn(state: Any, parts: Sequence[Any]) -> tuple[Any, Any]:
        values = iter(parts)
        return _pair(f(state, None if xs is None else unflatten(tree, lambda: next(values))))

    for k in reversed(range(count)) if reverse else range(count):
        carry, y = turn(carry, [_row(x, k) for x in arrays])
        rows.append(y)
    if reverse:
        rows.reverse()
    if not rows:  # the rows' shapes are those of zeros'
        zeros = [np.zeros(tuple(x.shape)[1:], _numpy_dtype(x)) for x in arrays]
        parts: list[Any] = [
            as_tensor(zero) if isinstance(x, TensorBase) else zero
            for zero, x in zip(zeros, arrays, strict=True)
        ]
        sample = turn(init, parts)[1]
        leaves: list[Any] = []
        shape_of = flatten(sample, leaves)
        if sample is None:
            return init, None
        empty = iter([_stacked([x])[:0] for x in leaves])
        return init, unflatten(shape_of, lambda: next(empty))
    if rows[0] is None:
        return carry, None
    first = flatten(rows[0], [])
    flat = []
    for y in rows:
        row = leaves_like(y, first)
        if row is None:
            raise InvalidArgumentError(
                at_user_line(f"f gives {shown(rows[0])}, then {shown(y)} [Op:Scan]")
            )
        flat.append(row)
    columns = iter([_stacked(column) for column in zip(*flat, strict=True)])
    return carry, unflatten(first, lambda: next(columns))


def _numpy_dtype(x: Any) -> Any:
    return x.type.dtype.dtype if isinstance(x, TensorBase) else x.dtype


def _stacked(values: Sequence[Any]) -> Any:
    if any(isinstance(x, TensorBase) for x in values):
        return shape.stack(list(values))
    return np.stack([np.asarray(x) for x in values])


def _fold(fn: Any, elems: Any, initializer: Any, options: Any, reverse: bool) -> Any:
    unknown = options.keys() - _IGNORED
    if unknown:
        raise TypeError(f"a fold has no argument {sorted(unknown)[0]!r}")
    if initializer is None:
        leaves: list[Any] = []
        tree = flatten(elems, leaves)
        leaves = [
            x if isinstance(x, (TensorBase, np.ndarray)) else np.asarray(x) for x in leaves
        ]
        if not _length([tuple(x.shape) for x in leaves], None):
            raise InvalidArgumentError(at_user_line("no elements and no initializer [Op:Scan]"))
        first = iter([x[-1 if reverse else 0] for x in leaves])
        rest = iter([x[:-1] if reverse else x[1:] for x in leaves])
        initializer = unflatten(tree, lambda: next(first))
        elems = unflatten(tree, lambda: next(rest))
    return scan(lambda carry, x: (fn(carry, x), None), initializer, elems, reverse=reverse)[0]


def _is_open(bound: Any) -> bool:
    """Whether a bound is known only when the compiled function runs."""
    return isinstance(bound, TensorBase) and is_symbolic(bound.as_tensor())


def _bound(value: Any, name: str) -> Any:
    """A bound that is known: an int, or a symbolic extent."""
    if type(value) is Dim:
        return value
    if isinstance(value, TensorBase):
        value = value.as_tensor().numpy()  # type: ignore[attr-defined]
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidArgumentError(
            at_user_line(f"{name} is an integer, not {value!r} [Op:ForiLoop]")
        ) from None


def _holds(value: Any) -> bool:
    if isinstance(value, TensorBase):
        value = value.numpy()  # type: ignore[attr-defined]
    if np.size(value) != 1:
        raise InvalidArgumentError(
            at_user_line(
                f"cond gives one bool, not an array of shape {np.shape(value)} [Op:While]"
            )
        )
    return bool(value)


def _predicate(trace: Any, value: Any) -> Any:
    """What a loop's condition gives, as one bool."""
    x = as_operand(trace, value)
    if x.type.shape:
        raise InvalidArgumentError(
            at_user_line(f"cond gives one bool, not {x.type} [Op:While]")
        )
    if x.type.dtype is bool_:
        return x
    return math.not_equal(x, as_tensor(np.zeros((), x.type.dtype.dtype)))


def _takes_items(function: Any, value: Sequence[Any]) -> bool:
    """Whether a function takes the items of a list or tuple one by one."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return isinstance(value, list)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return True
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in places if p.default is p.empty]
    if len(value) == 1:
        return isinstance(value, list)
    return len(needed) <= len(value) <= len(places)
