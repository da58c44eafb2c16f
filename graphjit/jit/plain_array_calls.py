"""Calls of a specialization that are the native call and little else, and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.errors import OutOfMemoryError, at_user_line
from graphjit.core.memory_pool import LINE_BYTES
from graphjit.core.object_layout import READABLE_FLAGS
from graphjit.core.tree import ARRAY, LEAF, NUMBER, SCALAR, TENSOR, LeafKind, Tree
from graphjit.tensors.tensor import Tensor, _wrap

from .output_memory import WRITABLE_FLAGS

if TYPE_CHECKING:
    from graphjit.codegen.runtime.executable import Executable

Array = np.ndarray[Any, np.dtype[Any]]


def direct_call(
    executable: Executable, kinds: Sequence[LeafKind], tree: Tree, numpy: bool
) -> Callable[[Sequence[Any]], Any] | None:
    """A call of arrays and floats that gives one array or a tuple of arrays; None where more is
    to do.

    kinds: those of the leaves, which are the program's inputs in order. tree, numpy: how
    results are put together, and whether they are ndarrays.
    """
    if not all(map(_needs_no_conversion, kinds)):
        return None
    only_arrays = all(k.kind == ARRAY for k in kinds)

    def ready(args: Sequence[Any]) -> list[Array]:
        return [
            x
            if type(x) is np.ndarray and x.flags.num & READABLE_FLAGS == READABLE_FLAGS
            else as_input(x)
            for x in args
        ]

    if tree is not LEAF:
        if tree.kind is not tuple or any(c is not LEAF for c in tree.children):
            return None
        run_all = executable.runner()
        if numpy:
            return lambda args: tuple([a if a.shape else a[()] for a in run_all(ready(args))])
        return lambda args: tuple(map(_wrap, run_all(ready(args))))
    run = executable.single_runner()
    if not numpy:
        return lambda args: _wrap(run(ready(args)))
    scalar = not executable.program.buffers[executable.program.outputs[0]].type.shape
    if not only_arrays:
        return lambda args: run(ready(args))[()] if scalar else run(ready(args))
    if scalar:

        def call_scalar(args: Sequence[Any]) -> Any:
            for x in args:
                # a NumPy scalar has flags, too, and no memory where an array has
                if type(x) is not np.ndarray or x.flags.num & READABLE_FLAGS != READABLE_FLAGS:
                    return run(ready(args))[()]
            return run(args)[()]

        return call_scalar

    def call_arrays(args: Sequence[Any]) -> Any:
        for x in args:
            if type(x) is not np.ndarray or x.flags.num & READABLE_FLAGS != READABLE_FLAGS:
                return run(ready(args))
        return run(args)

    return call_arrays


def direct_into(
    executable: Executable, kinds: Sequence[LeafKind], tree: Tree
) -> Callable[[Array, Sequence[Any]], Array | None] | None:
    """A call that writes one result of plain arrays into an array, and that gives None for
    arrays that it can't take. None where more is to do.
    """
    write = executable.single_writer()
    if write is None or tree is not LEAF or any(k.kind != ARRAY for k in kinds):
        return None
    (shape, dtype), apart = executable.output_type, np.may_share_memory
    whole = set(executable.program.outputs) <= set(executable.program.aligned)

    def into(out: Array, args: Sequence[Any]) -> Array | None:
        if (
            out.shape != shape
            or out.dtype is not dtype
            or out.flags.num & WRITABLE_FLAGS != WRITABLE_FLAGS
        ):
            return None
        if whole and out.ctypes.data % LINE_BYTES:
            return None
        for x in args:
            if (
                type(x) is not np.ndarray
                or x.flags.num & READABLE_FLAGS != READABLE_FLAGS
                or apart(out, x)
            ):
                return None
        write(args, out)
        return out

    return into


def _needs_no_conversion(kind: LeafKind) -> bool:
    """Whether a leaf is an array of this machine's byte order, a number of NumPy's, a tensor or
    a Python float.
    """
    if kind.kind == ARRAY:
        return bool(kind.key[1].isnative)
    return kind.kind in (NUMBER, TENSOR) or (kind.kind == SCALAR and kind.key is float)


def as_input(x: Any) -> Array:
    """An argument as an array that compiled code can read."""
    if type(x) is np.ndarray:
        return in_order(x)
    return in_order(x._array) if isinstance(x, Tensor) else _box_number(x)


def _box_number(x: Any) -> Array:
    if isinstance(x, int):
        return np.array(x, np.int64)
    return np.asarray(x)


def in_order(x: Array) -> Array:
    """The array, or a copy that is aligned, in C order and in this machine's byte order."""
    if x.flags.num & READABLE_FLAGS == READABLE_FLAGS and x.dtype.isnative:
        return x
    try:
        return np.array(x, dtype=x.dtype.newbyteorder("="), order="C")
    except MemoryError as error:
        raise OutOfMemoryError(
            at_user_line(f"no memory for a copy in order of an array of shape {list(x.shape)}")
        ) from error


__all__ = ["as_input", "direct_call", "direct_into", "in_order"]
