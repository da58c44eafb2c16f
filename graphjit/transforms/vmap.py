"""Functions of one example as functions of many: `gj.vmap` and `gj.vectorized_map`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.tree import Tree, flatten, leaf_names, unflatten
from graphjit.core.types import TensorType, shape_text
from graphjit.functions import shape
from graphjit.functions.region_values import as_operand, is_number, is_numpy, origin_of
from graphjit.ops import view
from graphjit.tensors.apply import TensorBase, as_tensor, current_trace

from .batching import batch_graph
from .inlining import TracedFunction
from .transformed import Transformed


@dataclass(frozen=True, slots=True)
class _Axes:
    """Along which axes the examples lie, of arguments and results."""

    arguments: Any
    results: Any


def vmap(fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Transformed:
    """`fun`, which takes one example, as a function of many: `jax.vmap`.

    in_axes: along which axis of each argument the examples lie; None for an argument that all
    have in common. One number for all arguments, or a tuple or list with one for each, in which
    containers have a number for all they hold, or are like the argument. Of arguments by name
    it is the first axis. out_axes: the same for the results, where None is for a result that is
    equal for all examples.

    `fun` is traced once, on one example, and all of them are computed at once. It gives any
    structure of arrays. Branches of `gj.cond` and loops that go on differently for different
    examples are run for each by itself, in the compiled code. What can't be traced, as Python's
    `if` on a value of an example, runs eagerly, for one example after the other, with a
    FallbackWarning. Calls of `gj.vmap` nest.

    Raises InvalidArgumentError where numbers of examples differ, an axis isn't there, or
    in_axes or out_axes have another structure than arguments or results.
    """
    if not callable(fun):
        raise InvalidArgumentError(at_user_line(f"vmap of what can't be called: {fun!r}"))
    axes = _Axes(_checked(in_axes, "in_axes"), _checked(out_axes, "out_axes"))
    return Transformed(fun, _call, axes)


def vectorized_map(
    fn: Callable[[Any], Any],
    elems: Any,
    fallback_to_while_loop: bool = True,
    warn: bool = True,
) -> Any:
    """What `fn` gives for each element along the first axis of arrays, all computed at once.

    elems: any structure of arrays with the same first extent. fallback_to_while_loop, warn: for
    TensorFlow's callers; not used. Otherwise as `gj.vmap`.
    """
    del fallback_to_while_loop, warn
    return vmap(fn)(elems)


def _checked(axes: Any, name: str) -> Any:
    """A copy of axes that nobody else changes, lists as tuples."""
    if axes is None:
        return None
    if isinstance(axes, (tuple, list)):
        return tuple(_checked(part, name) for part in axes)
    if isinstance(axes, dict):
        return {key: _checked(part, name) for key, part in axes.items()}
    try:
        return operator.index(axes)
    except TypeError:
        raise InvalidArgumentError(
            at_user_line(f"{name} is an integer, None or a container of these, not {axes!r}")
        ) from None


def _call(fun: Callable[..., Any], axes: _Axes, /, *args: Any, **kwargs: Any) -> Any:
    """What `fun` gives for all examples."""
    examples = _Examples(axes.arguments, args, kwargs)
    trace = current_trace.get()
    if trace is None:
        return _one_by_one(fun, examples, axes.results)
    return _batched(trace, fun, examples, axes.results)


class _Examples:
    """The arguments of a call.

    leaves: those of args and kwargs; axes: along which the examples lie, or None
    size: the number of examples
    """

    def __init__(self, in_axes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.leaves: list[Any] = []
        self.tree = flatten((args, kwargs), self.leaves)
        first, named = self.tree.children
        axes = _spread_axes(in_axes, first, "in_axes")
        axes += [0] * (len(self.leaves) - len(axes))
        names = leaf_names(first, "args") + leaf_names(named, "kwargs")
        self.axes = [
            _axis_of(x, axis, name)
            for x, axis, name in zip(self.leaves, axes, names, strict=True)
        ]
        sizes = [
            (_shape_of(x)[axis], name)
            for x, axis, name in zip(self.leaves, self.axes, names, strict=True)
            if axis is not None
        ]
        if not sizes:
            raise InvalidArgumentError(
                at_user_line("vmap needs an argument with examples; all of in_axes are None")
            )
        self.size: Any = sizes[0][0]
        for size, name in sizes[1:]:
            if size != self.size:
                raise InvalidArgumentError(
                    at_user_line(
                        f"vmap of different numbers of examples: {sizes[0][1]} has "
                        f"{self.size}, {name} has {size}"
                    )
                )

    def arguments(self, leaves: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
        """Arguments with other leaves."""
        values = iter(leaves)
        args, kwargs = unflatten(self.tree, lambda: next(values))
        return args, kwargs


def _spread_axes(axes: Any, tree: Tree, name: str) -> list[int | None]:
    """The axis of each leaf, by a structure that ends earlier."""
    if axes is None or isinstance(axes, int):
        return [axes] * _count(tree)
    if isinstance(axes, dict):
        fits = tree.kind is not None and set(axes) == set(tree.keys)
        parts = tuple(axes[key] for key in tree.keys) if fits else ()
    else:
        parts = axes
        fits = tree.kind is not None and len(parts) == len(tree.children)
    if not fits:
        raise InvalidArgumentError(
            at_user_line(f"{name} {axes!r} is for another structure than what there is")
        )
    children = zip(parts, tree.children, strict=True)
    return [axis for part, child in children for axis in _spread_axes(part, child, name)]


def _count(tree: Tree) -> int:
    return 1 if tree.kind is None else sum(map(_count, tree.children))


def _shape_of(x: Any) -> tuple[Any, ...]:
    return tuple(x.type.shape) if isinstance(x, TensorBase) else np.shape(x)


def _axis_of(x: Any, axis: int | None, name: str) -> int | None:
    if axis is None:
        return None
    rank = len(_shape_of(x)) if isinstance(x, (TensorBase, np.ndarray, np.generic)) else 0
    if not -rank <= axis < rank:
        what = shape_text(_shape_of(x)) if rank else type(x).__name__
        raise InvalidArgumentError(
            at_user_line(f"vmap along axis {axis} of {name}, which is {what}")
        )
    return axis % rank


def _batched(trace: Any, fun: Callable[..., Any], examples: _Examples, out_axes: Any) -> Any:
    """The results for all examples, by the graph of one."""
    moved = {
        k: as_operand(trace, _to_front(x, axis))
        for k, (x, axis) in enumerate(zip(examples.leaves, examples.axes, strict=True))
        if axis is not None
    }
    types = [(TensorType(x.type.shape[1:], x.type.dtype), origin_of(x)) for x in moved.values()]
    given = list(moved.values())

    def run(*symbols: Any) -> Any:
        leaves = list(examples.leaves)
        for k, symbol in zip(moved, symbols, strict=True):
            leaves[k] = symbol
        args, kwargs = examples.arguments(leaves)
        return fun(*args, **kwargs)

    found: list[Any] = []

    def results(value: Any) -> list[Any]:
        _results_tree(value, found)
        return [as_operand(trace, x) for x in found]

    traced = TracedFunction(trace, types, run, results, "vmap")
    tree = flatten(traced.result, [])
    axes = _spread_axes(out_axes, tree, "out_axes")
    wanted = [axis is not None for axis in axes]
    flags = [True] * len(given) + [False] * len(traced.operands)
    graph, batched = batch_graph(traced.graph, flags, examples.size, wanted)
    for name, axis, flag in zip(leaf_names(tree, "result"), axes, batched, strict=True):
        if axis is None and flag:
            raise _not_shared(name)
    nodes = trace.builder.inline(graph, [*map(trace.node_of, given), *traced.operands])
    numpy = any(map(is_numpy, [*examples.leaves, *given, *found]))
    values = iter(
        [
            _from_front(trace.symbol_of(node, _origin(x, numpy)), axis)
            for node, x, axis in zip(nodes, found, axes, strict=True)
        ]
    )
    return unflatten(tree, lambda: next(values))


def _origin(x: Any, numpy: bool) -> str:
    """Whose rules hold for a result of which there is one for each example."""
    known = isinstance(x, TensorBase) and origin_of(x) != "weak" and x.recorder is not None
    return origin_of(x) if known else "numpy" if numpy else "tensor"


def _results_tree(value: Any, found: list[Any]) -> Tree:
    tree = flatten(value, found)
    for x, name in zip(found, leaf_names(tree, "result"), strict=True):
        known = is_number(x) or isinstance(x, (TensorBase, np.ndarray, np.generic, Dim))
        if not known:
            raise InvalidArgumentError(
                at_user_line(f"vmap of a function that gives a {type(x).__name__} ({name})")
            )
    return tree


def _to_front(x: Any, axis: int) -> Any:
    """An array with its axis of examples first."""
    if axis == 0:
        return x
    rank = len(_shape_of(x))
    perm = (axis, *(k for k in range(rank) if k != axis))
    return _transposed(x, perm)


def _from_front(x: Any, axis: int | None) -> Any:
    """An array with its first axis moved to a place."""
    if axis is None:
        return x
    rank = len(x.type.shape)
    if not -rank <= axis < rank:
        raise InvalidArgumentError(
            at_user_line(f"out_axes {axis} of a result of {rank} axes, the examples' included")
        )
    place, rest = axis % rank, list(range(1, rank))
    return _transposed(x, (*rest[:place], 0, *rest[place:])) if place else x


def _transposed(x: Any, perm: tuple[int, ...]) -> Any:
    if isinstance(x, (np.ndarray, np.generic)):
        return np.transpose(x, perm)
    if x.recorder is None:
        return shape.transpose(x, perm)
    trace = x.recorder
    node = trace.builder.add(view.transpose, (trace.node_of(x),), x.line, perm=perm)
    return trace.symbol_of(node, x.origin)


def _one_by_one(fun: Callable[..., Any], examples: _Examples, out_axes: Any) -> Any:
    """The results for one example after the other, stacked: what eager mode gives."""
    if examples.size == 0:
        raise InvalidArgumentError(at_user_line("vmap of no examples in eager mode"))
    rows: list[list[Any]] = []
    tree: Tree | None = None
    for number in range(examples.size):
        leaves = [
            x if axis is None else _to_front(x, axis)[number]
            for x, axis in zip(examples.leaves, examples.axes, strict=True)
        ]
        args, kwargs = examples.arguments(leaves)
        row: list[Any] = []
        made = _results_tree(fun(*args, **kwargs), row)
        if tree is not None and made != tree:
            raise InvalidArgumentError(
                at_user_line("vmap of a function whose results differ in structure")
            )
        tree = made
        rows.append(row)
    assert tree is not None
    axes = _spread_axes(out_axes, tree, "out_axes")
    numpy = any(map(is_numpy, [*examples.leaves, *rows[0]]))
    names = leaf_names(tree, "result")
    columns = [
        _shared(column, name) if axis is None else _stacked(column, axis, numpy)
        for column, axis, name in zip(zip(*rows, strict=True), axes, names, strict=True)
    ]
    values = iter(columns)
    return unflatten(tree, lambda: next(values))


def _shared(column: Sequence[Any], name: str) -> Any:
    """A result that is equal for all examples."""
    first = np.asarray(column[0])
    if not all(np.array_equal(first, np.asarray(x), equal_nan=True) for x in column[1:]):
        raise _not_shared(name)
    return column[0]


def _not_shared(name: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        at_user_line(f"out_axes is None for {name}, which the examples don't share")
    )


def _stacked(column: Sequence[Any], axis: int, numpy: bool) -> Any:
    if numpy and not any(isinstance(x, TensorBase) for x in column):
        return np.stack(column, axis=axis)
    return shape.stack([as_tensor(x) for x in column], axis=axis)


__all__ = ["vectorized_map", "vmap"]
