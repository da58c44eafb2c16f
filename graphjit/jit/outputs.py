"""Results in memory of the caller's: `out=` arrays, and arguments that are donated.

A result is computed where it belongs if nothing can go wrong meanwhile: the array is in order,
shares no memory with what is read, and no step can fail. Else it is computed in fresh memory
and copied when all is done, so that an error leaves the array as it was.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.errors import (
    FrozenTensorError,
    InvalidArgumentError,
    TracingError,
    at_user_line,
)
from graphjit.core.object_layout import ALIGNED, C_CONTIGUOUS, WRITEABLE
from graphjit.core.tree import LEAF, Tree, flatten, unflatten
from graphjit.tensors.apply import TensorBase, current_trace

if TYPE_CHECKING:
    from .function import Function
    from .specialization import Specialization

Array = np.ndarray[Any, np.dtype[Any]]
PLAIN = C_CONTIGUOUS | ALIGNED | WRITEABLE  # of `ndarray.flags.num`
# Kinds of results that are computed: a Python number, an array that a scalar would be without
# axes, an array without axes, an array in the other byte order.
COMPUTED = ("python", "array", "0-d array", "swapped")
_shares_memory: Any = np.shares_memory
# How long to look for an element that two arrays share; then they are taken to share one.
_MAX_WORK = 10_000


def takes_out(function: Callable[..., Any]) -> bool:
    """Whether `out=` isn't the function's own parameter."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    named = (p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return "out" not in parameters and not any(named)


def into(function: Function, out: Any, args: Any, kwargs: Any) -> Any:
    """A function's results, written into `out`."""
    from graphjit.core.config import config

    if current_trace.get() is not None:
        raise TracingError(at_user_line("`out` of a function that is called in a trace"))
    wanted = _Wanted(out)
    if function.input_signature is not None:
        args, kwargs = function._conform(args, kwargs), {}
    if config.functions_run_eagerly:
        return wanted.fill(function(*args, **kwargs))
    specialization = function.specialization(*args, **kwargs)
    leaves: list[Any] = []
    flatten((args, kwargs), leaves)
    if specialization.reason:
        return wanted.fill(function._run(specialization, leaves, args, kwargs))
    assert specialization.executable is not None
    if any(kind in ("given", "object", "container") for kind, _ in specialization.results):
        return wanted.fill(specialization.run(leaves, given=(args, kwargs)))
    outputs = list(specialization.executable.result_types(specialization.inputs(leaves)))
    types = iter(outputs)
    found: list[Any] = []
    for kind, value in specialization.results:
        if kind == "view":
            view = specialization.view(value, leaves, [_stand_in(*type) for type in outputs])
            view = getattr(view, "_array", view)
            array = isinstance(view, (np.ndarray, np.generic))
            found.append((view.shape, view.dtype) if array else None)
        elif kind == "again":
            found.append(found[value])
        else:
            type = next(types) if kind in COMPUTED else None
            found.append(None if kind == "python" else type)
    return specialization.run(
        leaves, wanted.for_results(specialization.tree, found), (args, kwargs)
    )


def _stand_in(shape: Any, dtype: np.dtype[Any]) -> Array:
    """An array of a type, of one element however long it is."""
    return np.broadcast_to(np.empty((), dtype), shape)


class _Wanted:
    """The arrays that were given as `out`."""

    def __init__(self, out: Any) -> None:
        self.arrays: list[Any] = []
        self.tree = flatten(out, self.arrays)
        for number, array in enumerate(self.arrays):
            _check_array(array)
            for other in self.arrays[:number]:
                if array is not None and other is not None and share_memory(array, other):
                    raise InvalidArgumentError(
                        at_user_line("two arrays of `out` share memory, so can't both be right")
                    )

    def for_results(self, tree: Tree, found: Sequence[Any]) -> list[Any]:
        """For each result the array that it goes to, or None. found: shapes and dtypes."""
        given = self.tree
        if tree is LEAF and given == Tree(tuple, (), (LEAF,)):
            given = LEAF  # as NumPy has it: one array, or a tuple of one
        if self.tree is LEAF and self.arrays[0] is None:
            return [None] * len(found)
        if given != tree:
            raise InvalidArgumentError(
                at_user_line(
                    f"`out` is {_shown(self.tree)}, the function gives {_shown(tree)}",
                    "give one array for each result, None for one that needs no array",
                )
            )
        for array, type in zip(self.arrays, found, strict=True):
            if array is not None:
                _check_type(array, type)
        return list(self.arrays)

    def fill(self, value: Any) -> Any:
        """Copy results into the arrays; gives the results with them in place."""
        results: list[Any] = []
        tree = flatten(value, results)
        plain = [x._array if isinstance(x, TensorBase) else x for x in results]  # type: ignore[attr-defined]
        kinds = (np.ndarray, np.generic)
        found = [(x.shape, x.dtype) if isinstance(x, kinds) else None for x in plain]
        arrays = self.for_results(tree, found)
        copies = [
            np.array(x) if a is not None and any(map(_shares(x), self.arrays)) else x
            for a, x in zip(arrays, plain, strict=True)
        ]
        for array, copy in zip(arrays, copies, strict=True):
            if array is not None:
                np.copyto(array, copy)
        chosen = iter([x if a is None else a for a, x in zip(arrays, results, strict=True)])
        return unflatten(tree, lambda: next(chosen))


def _check_array(array: Any) -> None:
    """Raise what is wrong with an array as `out`, whatever the result is."""
    if array is None:
        return
    if isinstance(array, TensorBase):
        if hasattr(array, "assign"):
            raise InvalidArgumentError(
                at_user_line("`out` is a gj.Variable", "write v.assign(f(...)) instead")
            )
        raise FrozenTensorError(at_user_line("`out` is a gj.Tensor, which never changes"))
    if not isinstance(array, np.ndarray) or type(array) not in (np.ndarray, np.memmap):
        raise InvalidArgumentError(
            at_user_line(f"`out` is an ndarray for each result, not {type(array).__name__}")
        )
    if not array.flags.writeable:
        raise InvalidArgumentError(
            at_user_line(f"`out` of shape {list(array.shape)} is read-only")
        )


def _check_type(array: Array, type: tuple[Any, np.dtype[Any]] | None) -> None:
    if type is None:
        raise InvalidArgumentError(
            at_user_line("`out` has an array where the result is none", "put None there")
        )
    shape, dtype = type
    if array.shape != shape or array.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise InvalidArgumentError(
            at_user_line(
                f"`out` is {array.dtype} of shape {list(array.shape)}, the result is {dtype} "
                f"of shape {list(shape)}"
            )
        )


def share_memory(a: Array, b: Array) -> bool:
    """Whether two arrays have an element in common, or may have one."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return bool(_shares_memory(a, b, max_work=_MAX_WORK))
    except np.exceptions.TooHardError:
        return True


def _shares(x: Any) -> Callable[[Any], bool]:
    return lambda other: (
        isinstance(x, np.ndarray) and other is not None and np.may_share_memory(x, other)
    )


def _shown(tree: Tree) -> str:
    """A structure as text."""
    if tree.kind is None:
        return "one array"
    parts = ", ".join(_shown(child).replace("one array", "an array") for child in tree.children)
    return f"{tree.kind.__name__}({parts})"


def places(
    specialization: Specialization,
    leaves: Sequence[Any],
    inputs: Sequence[Array],
    given: Sequence[Any],
) -> list[Array | None]:
    """For each of the program's outputs the array to compute it in; None for fresh memory.

    given: for each result what `out` has. Donated arguments are refused where they share memory
    with others.
    """
    assert specialization.executable is not None
    program = specialization.executable.program
    _check_donated(specialization, leaves)
    sources = dict(program.donated) if specialization.executable.infallible else {}
    numbers = dict(zip(program.inputs, inputs, strict=True))
    arrays = [
        array
        for array, (kind, _) in zip(
            given or [None] * len(specialization.results), specialization.results, strict=True
        )
        if kind in COMPUTED
    ]
    arrays += [None] * (len(program.outputs) - len(arrays))  # what results are views of
    found: list[Array | None] = []
    for array, number in zip(arrays, program.outputs, strict=True):
        place = None
        if array is not None:
            free = not any(np.may_share_memory(array, x) for x in inputs)
            if free and specialization.executable.infallible:
                place = array
        elif number in sources:
            place = numbers[sources[number]]
        found.append(place if place is None or _fits(place) else None)
    return found


def _fits(array: Array) -> bool:
    """Whether a kernel can write into an array."""
    return array.flags.num & PLAIN == PLAIN and array.dtype.isnative


def _check_donated(specialization: Specialization, leaves: Sequence[Any]) -> None:
    arrays = [getattr(x, "_array", x) for x in leaves]
    for number in specialization.donated:
        x = arrays[number]
        for other, y in [*enumerate(arrays), *((-1, y) for y in specialization.captures)]:
            if other == number or not isinstance(y, np.ndarray) or not share_memory(x, y):
                continue
            what = (
                f"argument {specialization.names[other]}"
                if other >= 0
                else "an array it reads besides"
            )
            raise InvalidArgumentError(
                at_user_line(
                    f"argument {specialization.names[number]} is donated, but "
                    f"shares memory with {what}"
                )
            )


def donated_parameters(function: Callable[..., Any], donate: Any) -> tuple[Any, ...]:
    """The parameters to donate, by name or position, checked; kept as they were given."""
    given = (donate,) if isinstance(donate, (str, int)) else donate
    if not isinstance(given, (tuple, list, set, frozenset)):
        raise InvalidArgumentError(
            at_user_line(f"donate has names or positions of parameters, not {donate!r}")
        )
    try:
        parameters: Any = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = None
    for item in given:
        known = not isinstance(item, bool) and (
            (isinstance(item, str) and (parameters is None or item in parameters))
            or (
                isinstance(item, int)
                and item >= 0
                and (parameters is None or item < len(parameters))
            )
        )
        if not known:
            name = getattr(function, "__name__", "the function")
            raise InvalidArgumentError(
                at_user_line(f"donate: {name} has no parameter {item!r}")
            )
    return tuple(given)


def donated_leaves(
    function: Callable[..., Any], donate: Sequence[Any], tree: Tree, leaves: Sequence[Any]
) -> tuple[int, ...]:
    """Which leaves of the arguments are ndarrays of donated parameters."""
    if not donate:
        return ()
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    chosen = {parameters[d].name if isinstance(d, int) and parameters else d for d in donate}
    positional = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    others = [p.name for p in parameters if p.kind is p.VAR_KEYWORD]
    args, kwargs = tree.children
    owners: list[tuple[Any, Tree]] = []
    for k, child in enumerate(args.children):
        owner = positional[k] if k < len(positional) else rest[0] if rest else k
        owners.append((owner, child))
    for key, child in zip(kwargs.keys, kwargs.children, strict=True):
        known = any(p.name == key for p in parameters)
        owners.append((key if known or not others else others[0], child))
    found, number = [], 0
    for owner, child in owners:
        count = _leaf_count(child)
        if owner in chosen:
            found += [k for k in range(number, number + count) if type(leaves[k]) is np.ndarray]
        number += count
    return tuple(found)


def _leaf_count(tree: Tree) -> int:
    return 1 if tree.kind is None else sum(map(_leaf_count, tree.children))


__all__ = [
    "COMPUTED", "donated_leaves", "donated_parameters", "into", "places", "share_memory",
    "takes_out",
]  # fmt: skip
