"""Which memory results are computed in: fresh, the caller's `out` arrays, or donated arguments.

A result is computed where it belongs if nothing can go wrong meanwhile: the array is in order,
shares no memory with what is read, and no step can fail. Otherwise it is computed in fresh
memory and copied when all is done, so that an error leaves the array as it was.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.object_layout import ALIGNED, C_CONTIGUOUS, WRITEABLE
from graphjit.core.tree import Tree

if TYPE_CHECKING:
    from graphjit.codegen.runtime.executable import Executable

Array = np.ndarray[Any, np.dtype[Any]]
# ndarray.flags.num of an array that a kernel can write into: C order, aligned, writeable.
WRITABLE_FLAGS = C_CONTIGUOUS | ALIGNED | WRITEABLE
_shares_memory: Any = np.shares_memory
# How long to look for an element that two arrays share; then they are taken to share one.
_MAX_WORK = 10_000


def share_memory(a: Array, b: Array) -> bool:
    """Whether two arrays have an element in common, or may have one."""
    if not np.may_share_memory(a, b):
        return False
    try:
        return bool(_shares_memory(a, b, max_work=_MAX_WORK))
    except np.exceptions.TooHardError:
        return True


def choose_output_arrays(
    executable: Executable, wanted: Sequence[Array | None], inputs: Sequence[Array]
) -> list[Array | None]:
    """For each of the program's outputs the array to compute it in; None for fresh memory.

    wanted: for each computed result the array that `out` has for it, or None.
    """
    program = executable.program
    donated = dict(program.donated) if executable.infallible else {}
    numbers = dict(zip(program.inputs, inputs, strict=True))
    # Outputs beyond the computed results are what others are views of.
    arrays = [*wanted, *[None] * (len(program.outputs) - len(wanted))]
    found: list[Array | None] = []
    for array, number in zip(arrays, program.outputs, strict=True):
        target = None
        if array is not None:
            free = not any(np.may_share_memory(array, x) for x in inputs)
            if free and executable.infallible:
                target = array
        elif number in donated:
            target = numbers[donated[number]]
        found.append(target if target is None or _is_writable(target) else None)
    return found


def check_donated(
    donated: Sequence[int],
    names: Sequence[str],
    leaves: Sequence[Any],
    captures: Sequence[Array],
) -> None:
    """Refuse donated arguments that share memory with other arguments or captured arrays."""
    arrays = [getattr(x, "_array", x) for x in leaves]
    for number in donated:
        x = arrays[number]
        for other, y in [*enumerate(arrays), *((-1, y) for y in captures)]:
            if other == number or not isinstance(y, np.ndarray) or not share_memory(x, y):
                continue
            what = f"argument {names[other]}" if other >= 0 else "an array it reads besides"
            raise InvalidArgumentError(
                at_user_line(
                    f"argument {names[number]} is donated, but shares memory with {what}"
                )
            )


def _is_writable(array: Array) -> bool:
    """Whether a kernel can write into an array."""
    return array.flags.num & WRITABLE_FLAGS == WRITABLE_FLAGS and array.dtype.isnative


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
    "WRITABLE_FLAGS", "check_donated", "choose_output_arrays", "donated_leaves",
    "donated_parameters", "share_memory",
]  # fmt: skip
