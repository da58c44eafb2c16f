"""`out=`: results written into arrays of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.errors import (
    FrozenTensorError,
    InvalidArgumentError,
    at_user_line,
)
from graphjit.core.tree import LEAF, Tree, flatten, unflatten
from graphjit.tensors.apply import TensorBase

from .compiled_call import CompiledCall
from .output_memory import share_memory
from .result_kinds import COMPUTED

if TYPE_CHECKING:
    from graphjit.capture.sources import Readings

    from .specialization import Specialization

Array = np.ndarray[Any, np.dtype[Any]]


def write_results(
    specialization: Specialization,
    leaves: Sequence[Any],
    given: Any,
    out_arrays: OutArrays,
    read: Readings,
) -> Any:
    """The results of a compiled specialization, written into arrays.

    given: the arguments, of which containers may be returned. read: what was looked up for the
    call. CaptureReplacedError as `CompiledCall.run`.
    """
    assert specialization.executable is not None
    call = CompiledCall(specialization, leaves, read)
    if any(kind in ("given", "object", "container") for kind, _ in specialization.results):
        return out_arrays.fill(call.run(given=given))
    outputs = list(specialization.executable.result_types(call.inputs(draws=False)))
    types = iter(outputs)
    found: list[Any] = []
    for kind, value in specialization.results:
        if kind == "view":
            view = call.view(value, [_stub_array(*type) for type in outputs])
            view = getattr(view, "_array", view)
            array = isinstance(view, (np.ndarray, np.generic))
            found.append((view.shape, view.dtype) if array else None)
        elif kind == "again":
            found.append(found[value])
        else:
            type = next(types) if kind in COMPUTED else None
            found.append(None if kind == "python" else type)
    return call.run(out_arrays.for_results(specialization.result_tree, found), given)


def _stub_array(shape: Any, dtype: np.dtype[Any]) -> Array:
    """An array of a type that has the memory of one element."""
    return np.broadcast_to(np.empty((), dtype), shape)


class OutArrays:
    """The arrays that were given as `out`, checked."""

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
        """For each result the array that it is written into, or None.

        found: of each result shape and dtype; None for one that is no array.
        """
        given = self.tree
        if tree is LEAF and given == Tree(tuple, (), (LEAF,)):
            given = LEAF  # as NumPy has it: one array, or a tuple of one
        if self.tree is LEAF and self.arrays[0] is None:
            return [None] * len(found)
        if given != tree:
            raise InvalidArgumentError(
                at_user_line(
                    f"`out` is {_describe_tree(self.tree)}, the function gives "
                    f"{_describe_tree(tree)}",
                    "give one array for each result, None for one that needs no array",
                )
            )
        for array, type in zip(self.arrays, found, strict=True):
            if array is not None:
                _check_type(array, type)
        return list(self.arrays)

    def fill(self, value: Any) -> Any:
        """Copy results into the arrays; gives the results with these arrays in them."""
        results: list[Any] = []
        tree = flatten(value, results)
        plain = [x._array if isinstance(x, TensorBase) else x for x in results]  # type: ignore[attr-defined]
        kinds = (np.ndarray, np.generic)
        found = [(x.shape, x.dtype) if isinstance(x, kinds) else None for x in plain]
        arrays = self.for_results(tree, found)
        copies = [
            np.array(x) if a is not None and any(map(_shares_with(x), self.arrays)) else x
            for a, x in zip(arrays, plain, strict=True)
        ]
        for array, copy in zip(arrays, copies, strict=True):
            if array is not None:
                np.copyto(array, copy)
        chosen = iter([x if a is None else a for a, x in zip(arrays, results, strict=True)])
        return unflatten(tree, lambda: next(chosen))


def _check_array(array: Any) -> None:
    """Raise where an array can't be `out`, whatever the result is."""
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


def _shares_with(x: Any) -> Callable[[Any], bool]:
    return lambda other: (
        isinstance(x, np.ndarray) and other is not None and np.may_share_memory(x, other)
    )


def _describe_tree(tree: Tree) -> str:
    """A structure as text."""
    if tree.kind is None:
        return "one array"
    parts = ", ".join(
        _describe_tree(child).replace("one array", "an array") for child in tree.children
    )
    return f"{tree.kind.__name__}({parts})"


__all__ = ["OutArrays", "write_results"]
