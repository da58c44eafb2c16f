"""What machine code needs to enter a function's specialisations: their tables.

Takes the specialisations that `jit.py` makes. A form that has nothing to ask Python is entered
and run natively; one with variables, captures or library calls has its arguments checked
natively and is then run by Python.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .codegen import layout
from .codegen.tables import (
    Container,
    Entry,
    Guard,
    Launch,
    Leaf,
    Output,
    Pack,
    Result,
    make_entry,
    static_leaf,
)
from .config import config
from .memory import LARGE_BYTES
from .specialization import ARRAY, SCALAR, TENSOR, Identity, LeafKind, Specialization
from .tensor import Tensor
from .tree import LEAF, Tree, unflatten
from .types import TensorType

if TYPE_CHECKING:
    from .jit import Function

# How many specialisations of one function machine code looks through; Python finds the others.
MOST_ENTRIES = 32
_SCALARS = {float: Guard.FLOAT, int: Guard.INTEGER, complex: Guard.COMPLEX}
_WEAK_RESULTS = {
    "float64": Result.FLOAT, "int64": Result.INTEGER, "complex128": Result.COMPLEX,
    "bool": Result.BOOL,
}  # fmt: skip
_lock = threading.Lock()
_address: list[int] = []


class NotNative(Exception):
    """Something that machine code doesn't do."""


def entry_point(kind: type[Function]) -> int:
    """The address at which functions are entered; made when the first is compiled."""
    from .codegen import dispatcher

    with _lock:
        if not _address:
            slow = kind.__dict__["__call__"]
            eager = config._eager_here
            _address.append(dispatcher.install(kind, slow, Tensor, config.gates, eager))
    return _address[0]


def form_entry(form: Specialization, leaves: Sequence[Any]) -> Entry | None:
    """The tables for a form, made for arguments with these leaves; None if there are none."""
    if not layout.fits() or form.executable is None:
        return None
    parts = iter([_leaf(k, x) for k, x in zip(form.kinds, leaves, strict=True)])
    try:
        args, kwargs = (_part(child, parts) for child in form.given.children)
    except NotNative:
        return None
    assert isinstance(args, Container) and isinstance(kwargs, Container)
    named = dict(zip(kwargs.keys, kwargs.children, strict=True))
    try:
        return make_entry(args.children, named, _launch(form))
    except NotNative:
        return make_entry(args.children, named, _python(form))


def _leaf(kind: LeafKind, x: Any) -> Leaf:
    if kind.kind == ARRAY:
        shape, dtype = kind.key
        return Leaf(Guard.ARRAY if shape else Guard.ZERO_DIM, dtype, shape)
    if kind.kind == TENSOR:
        return Leaf(Guard.TENSOR, kind.key.dtype.dtype, kind.key.shape)
    if kind.kind == SCALAR:
        return Leaf(_SCALARS[kind.key])
    return static_leaf(x, not isinstance(kind.key, Identity))


def _part(tree: Tree, leaves: Any) -> Leaf | Container:
    """The guards on a part of the arguments."""
    kind = tree.kind
    if kind is None:
        leaf: Leaf = next(leaves)
        if leaf.dtype is not None and not leaf.dtype.isnative:
            raise NotNative
        return leaf
    children = tuple(_part(child, leaves) for child in tree.children)
    if kind is tuple or (issubclass(kind, tuple) and kind.__basicsize__ == tuple.__basicsize__):
        return Container(Guard.TUPLE, kind, children)
    if kind is list:
        return Container(Guard.LIST, kind, children)
    if kind is dict:
        return Container(Guard.DICT, kind, children, tree.keys)
    raise NotNative


def _python(form: Specialization) -> Callable[..., Any]:
    """A function of the leaves that runs a form, if the arrays that it reads still fit."""
    from .codegen.dispatcher import MISS

    def run(*leaves: Any) -> Any:
        return form.run(leaves) if form.captures_fit() else MISS

    return run


def _launch(form: Specialization) -> Launch:
    """The native call that is all of a form's run. NotNative where there is more to do."""
    executable, program = form.executable, form.program
    assert program is not None
    call = executable.native_call()
    leaves = all(role == "leaf" for role, _ in form.order)
    if call is None or not leaves or form.variables or program.updates:
        raise NotNative
    address, wanted = call
    sources: dict[int, tuple[str, Any]] = {}
    for number, buffer in enumerate(program.buffers):
        if buffer.role == "constant":
            sources[number] = "constant", executable.constant(number)
    for number, (_, leaf) in zip(program.inputs, form.order, strict=True):
        sources[number] = "leaf", leaf
    for place, number in enumerate(program.outputs):
        sources[number] = "output", place
    if len({*program.inputs, *program.outputs}) < len(program.inputs) + len(program.outputs):
        raise NotNative
    if any(number not in sources for number in wanted):
        raise NotNative
    outputs: list[Output] = []
    place = 0
    for kind, value in form.results:
        if kind == "static":
            outputs.append(Output(Result.STATIC, value=value))
        else:
            outputs.append(_output(form, kind, place))
            place += 1
    pack, finish = _pack(form.tree)
    return Launch(
        address,
        tuple(sources[number] for number in wanted),
        tuple(outputs),
        pack,
        finish,
        program.arena_bytes,
        executable.new_arena,
        bool(executable.checks),
        executable.fail,
    )


def _output(form: Specialization, kind: str, place: int) -> Output:
    program = form.program
    assert program is not None
    type = program.buffers[program.outputs[place]].type
    dtype = type.dtype.dtype
    if kind == "python":
        if type.dtype.name not in _WEAK_RESULTS or type.shape:
            raise NotNative
        return Output(_WEAK_RESULTS[type.dtype.name], dtype)
    make = form.executable.output_maker(place) if type.nbytes >= LARGE_BYTES else None
    if not form.numpy:
        known = TensorType(type.shape, type.dtype)
        return Output(Result.TENSOR, dtype, type.shape, make, known)
    if not type.shape:
        return Output(Result.SCALAR, dtype)
    return Output(Result.ARRAY, dtype, type.shape, make)


def _pack(tree: Tree) -> tuple[Pack, Callable[..., Any] | None]:
    if tree is LEAF:
        return Pack.NOTHING, None
    if all(child is LEAF for child in tree.children):
        if tree.kind is tuple:
            return Pack.TUPLE, None
        if tree.kind is list:
            return Pack.LIST, None

    def finish(*results: Any) -> Any:
        items = iter(results)
        return unflatten(tree, lambda: next(items))

    return Pack.CALL, finish


__all__ = ["MOST_ENTRIES", "entry_point", "form_entry"]
