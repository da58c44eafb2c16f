"""What machine code needs to enter a function's specializations: their tables.

Takes the specializations that `function.py` makes. Most specializations are entered and run
natively, with the arrays and variables that they read; one with library calls has its arguments
checked natively and is then run by Python, and so is a function that runs eagerly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.codegen.cpu.prepare import prepared_places, symbols_of
from graphjit.codegen.runtime.tables import (
    Build,
    Bundle,
    Container,
    Entry,
    Guard,
    Interpreted,
    Launch,
    Leaf,
    Output,
    Result,
    Root,
    Sized,
    make_entry,
    make_table,
    static_leaf,
)
from graphjit.core import object_layout
from graphjit.core.config import config
from graphjit.core.dims import is_symbolic
from graphjit.core.fork_safety import importing, new_lock
from graphjit.core.memory import LARGE_BYTES
from graphjit.core.tree import (
    ARRAY,
    LEAF,
    SCALAR,
    TENSOR,
    Identity,
    LeafKind,
    Tree,
    by_type,
    by_value,
    flatten,
    unflatten,
)
from graphjit.core.types import TensorType, as_dtype
from graphjit.tensors.tensor import Tensor, _wrap
from graphjit.tensors.variable import Cell
from graphjit.tracing.captures import (
    AttributeSource,
    CellSource,
    ConsensusSource,
    ConstSource,
    ItemSource,
    Source,
    WeakRefSource,
)

from .outputs import COMPUTED
from .specialization import Replaced, Specialization

if TYPE_CHECKING:
    from graphjit.codegen.runtime.executable import Executable
    from graphjit.tracing.trace import Base, ResultView

    from .function import Function

Array = np.ndarray[Any, np.dtype[Any]]

# How many specializations of one function machine code looks through; Python finds the others.
MAX_ENTRIES = 32
_SCALARS = {float: Guard.FLOAT, int: Guard.INTEGER, complex: Guard.COMPLEX}
_WEAK_RESULTS = {
    "float64": Result.FLOAT, "int64": Result.INTEGER, "complex128": Result.COMPLEX,
    "bool": Result.BOOL,
}  # fmt: skip
_lock = new_lock()
_address: list[int] = []


class NotNative(Exception):
    """Something that machine code doesn't do."""


def entry_point(kind: type[Function]) -> int:
    """The address at which functions are entered; 0 where objects are laid out otherwise."""
    if _address:
        return _address[0]
    if not object_layout.fits():
        return 0
    with importing():
        from graphjit.codegen.cpu import dispatcher

    with _lock:
        if not _address:
            slow = kind.__dict__["__call__"]
            eager = config._eager_here
            _address.append(dispatcher.install(kind, slow, Tensor, Cell, config.gates, eager))
    return _address[0]


def specialization_entry(specialization: Specialization, leaves: Sequence[Any]) -> Entry | None:
    """The tables for a specialization, made for arguments with these leaves; None if there are
    none.
    """
    if not object_layout.fits() or specialization.executable is None:
        return None
    parts = iter([_leaf(k, x) for k, x in zip(specialization.kinds, leaves, strict=True)])
    try:
        args, kwargs = (_part(child, parts) for child in specialization.given.children)
    except NotNative:
        return None
    assert isinstance(args, Container) and isinstance(kwargs, Container)
    named = dict(zip(kwargs.keys, kwargs.children, strict=True))
    try:
        return make_entry(args.children, named, _launch(specialization))
    except NotNative:
        if specialization.sizes is not None:
            return None
        if any(kind == "given" for kind, _ in specialization.results):
            return _given_entry(specialization, args, named)
        return make_entry(args.children, named, _python(specialization))


def eager_entry(
    function: Callable[..., Any],
    finish: Callable[..., Any],
    tree: Tree,
    kinds: Sequence[LeafKind],
    leaves: Sequence[Any],
    numpy: bool | None,
    any_value: bool = False,
) -> Entry | None:
    """The tables for calls that run a function eagerly, with arguments of these kinds or, if
    told so, with any of these types; None if there are none. finish: what makes the results of
    what the function gives, and the leaves. numpy: whether arrays are ndarrays.
    """
    if not object_layout.fits():
        return None
    guards = [
        Leaf(Guard.TYPE, value=type(x))
        if by_type(k) or (any_value and not by_value(k)) or _unknown_dtype(k)
        else _leaf(k, x)
        for k, x in zip(kinds, leaves, strict=True)
    ]
    # nothing is computed here: arrays are for NumPy to read, in whatever order
    parts = iter(
        [replace(g, guard=Guard.SHAPED) if g.guard is Guard.ARRAY else g for g in guards]
    )
    try:
        args, kwargs = (_part(child, parts) for child in tree.children)
    except NotNative:
        return None
    assert isinstance(args, Container) and isinstance(kwargs, Container)
    named = dict(zip(kwargs.keys, kwargs.children, strict=True))
    return make_entry(args.children, named, Interpreted(function, finish, numpy is not False))


def _unknown_dtype(kind: LeafKind) -> bool:
    """Whether a leaf is of a dtype that tensors don't have, such as long double."""
    return kind.kind == ARRAY and kind.key[1].char in "gG"


def _leaf(kind: LeafKind, x: Any) -> Leaf:
    if kind.kind == ARRAY:
        shape, dtype = kind.key
        if dtype.isnative:
            dtype = as_dtype(dtype).dtype  # NumPy's own object, which most arrays have
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
    if _plain_fields(kind, tree.keys):
        return Container(Guard.FIELDS, kind, children, tree.keys)
    raise NotNative


def _plain_fields(kind: type, names: Sequence[str]) -> bool:
    """Whether to look up the fields of a dataclass's instances runs no code of Python's."""
    classes = [c for c in kind.__mro__ if c is not object]
    if not dataclasses.is_dataclass(kind) or any(
        name in c.__dict__ for c in classes for name in ("__getattr__", "__getattribute__")
    ):
        return False
    for name in names:
        found = next((c.__dict__[name] for c in classes if name in c.__dict__), None)
        if hasattr(type(found), "__get__") and type(found) is not MemberDescriptorType:
            return False
    return True


def _python(specialization: Specialization) -> Callable[..., Any]:
    """A function of the leaves that runs a specialization, if the arrays that it reads still
    fit.
    """
    from graphjit.codegen.cpu.dispatcher import MISS

    direct = specialization.direct
    if direct is not None:
        return lambda *leaves: direct(leaves)

    def run(*leaves: Any) -> Any:
        try:
            return specialization.run(leaves) if specialization.captures_fit() else MISS
        except Replaced:
            return MISS

    return run


def _given_entry(
    specialization: Specialization, args: Container, named: dict[str, Any]
) -> Entry | None:
    """The tables for a specialization that returns containers of its arguments, which Python
    runs.
    """
    if specialization.sources or specialization.objects:
        return None

    def run(*args: Any, **kwargs: Any) -> Any:
        leaves: list[Any] = []
        flatten((args, kwargs), leaves)
        return specialization.run(leaves, given=(args, kwargs))

    return make_entry(args.children, named, Interpreted(run, _as_it_is, specialization.numpy))


def _as_it_is(value: Any, *leaves: Any) -> Any:
    return value


def _launch(specialization: Specialization) -> Launch:
    """The native call that is all of a specialization's run. NotNative where there is more to
    do.
    """
    executable = specialization.executable
    assert executable is not None
    program = executable.program
    kinds = {kind for kind, _ in specialization.results}
    if specialization.donated or not kinds.isdisjoint(
        ("given", "container", "copy", "swapped")
    ):
        raise NotNative
    call = executable.native_call()
    results = (*program.outputs, *program.updates)
    if call is None or len({*program.inputs, *results}) < len(program.inputs) + len(results):
        raise NotNative
    address, wanted = call
    roots, places = _roots(specialization)
    sources: dict[int, tuple[str, Any]] = {}
    for number, buffer in enumerate(program.buffers):
        if buffer.role == "constant":
            sources[number] = "constant", executable.constant(number)
    for number, place in zip(program.inputs, specialization.order, strict=True):
        sources[number] = "leaf", places.get(place, place[1])
    for result, number in enumerate(results):
        sources[number] = "output", result
    if any(number not in sources for number in wanted):
        raise NotNative
    outputs = _outputs(specialization, places)
    for number, variable in zip(program.updates, specialization.updated, strict=True):
        outputs.append(_array_output(specialization, number, Result.UPDATE, variable.cell))
    cells = {id(v.cell): v.cell for v in specialization.variables}.values()
    held = sorted(cells, key=lambda c: c.number)  # one order for all: no deadlock
    return Launch(
        address,
        tuple(sources[number] for number in wanted),
        roots,
        tuple((cell.lock.acquire, cell.lock.release) for cell in held),
        tuple(outputs),
        _plan(specialization.tree, iter(_finishing(specialization))),
        program.arena_bytes,
        executable.arena_of if is_symbolic((program.arena_bytes,)) else executable.new_arena,
        bool(executable.checks),
        executable.fail,
        _sized(executable),
    )


def _sized(executable: Executable) -> Sized | None:
    """What is more to do for symbolic extents."""
    program = executable.program
    if not program.symbols:
        return None
    symbols = symbols_of(program)
    results, arena = prepared_places(program)
    extents = tuple(symbols[name] for name in program.symbols)
    return Sized(executable.prepare_address(), extents, tuple(results), arena)


def _outputs(
    specialization: Specialization, places: dict[tuple[str, int], int]
) -> list[Output]:
    """What becomes of each result. places: the numbers of captured arrays and of objects that
    are looked up, as leaves. NotNative where one is a view of what isn't a result.
    """
    assert specialization.executable is not None
    numbers = iter(specialization.executable.program.outputs)
    computed = [n for n, (kind, _) in enumerate(specialization.results) if kind in COMPUTED]
    outputs = []
    for kind, value in specialization.results:
        if kind == "static":
            made = Output(Result.STATIC, value=value)
        elif kind == "again":
            made = Output(Result.AGAIN, value=value)
        elif kind == "object":
            made = Output(Result.LEAF, value=places["object", value])
        elif kind != "view":
            made = _output(specialization, kind, next(numbers))
        elif (base := _only_base(value)).role != "output":
            made = Output(Result.LEAF, value=places.get(base, base.number))
        elif base.number < len(computed):
            made = Output(Result.AGAIN, value=computed[base.number])
        else:
            raise NotNative
        outputs.append(made)
    if len(computed) < len(specialization.executable.program.outputs):
        raise NotNative
    return outputs


def _only_base(view: ResultView) -> Base:
    """The one array that a view is made of. NotNative where there are more."""
    if len(view.bases) > 1:
        raise NotNative
    return next(iter(view.bases))


def _viewing(view: ResultView) -> Callable[[Any], Any]:
    """What makes a view of the one array that it is made of."""
    role, number = _only_base(view)
    return lambda array: view.of({role: {number: array}}, {}, {})


def _finishing(specialization: Specialization) -> list[Callable[[Any], Any] | None]:
    """For each result what Python makes of it: a tensor, of one of another shape each time; a
    view. NotNative for views whose extents differ from call to call, or that have one call of
    NumPy's in common.
    """
    assert specialization.executable is not None
    numbers = iter(specialization.executable.program.outputs)
    found: list[Callable[[Any], Any] | None] = []
    shared: set[int] = set()  # calls that make views, which several results must not repeat
    for kind, value in specialization.results:
        call: Callable[[Any], Any] | None = None
        if kind in COMPUTED:
            symbolic = is_symbolic(_type(specialization, next(numbers)).shape)
            call = _wrap if symbolic and not specialization.numpy else None
        elif kind == "view" and not value.itself:
            calls = {id(made) for made in value.calls}
            if specialization.sizes is not None or not calls.isdisjoint(shared):
                raise NotNative
            shared |= calls
            call = _viewing(value)
        elif kind == "again":
            call = found[value]
            if call is not None:  # it would be made twice
                raise NotNative
        found.append(call)
    return found


def _roots(
    specialization: Specialization,
) -> tuple[tuple[Root, ...], dict[tuple[str, int], int]]:
    """What a specialization reads without being given it, and the number of each as a leaf."""
    roots: list[Root] = []
    again: list[Root] = []
    places: dict[tuple[str, int], int] = {}
    first = len(specialization.kinds)
    for number, (shape, dtype) in enumerate(specialization.capture_types):
        source = specialization.sources[number]
        places["capture", number] = first + len(roots)
        ways = source.sources if isinstance(source, ConsensusSource) else (source,)
        leaf: Leaf | int = _array_leaf(shape, dtype)
        for way in ways:
            value, steps = (specialization.held[number], ()) if way is None else _path(way)
            (roots if isinstance(leaf, Leaf) else again).append(Root(value, steps, leaf))
            leaf = len(roots) - 1
    for number, variable in enumerate(specialization.variables):
        places["variable", number] = first + len(roots)
        leaf = _array_leaf(variable.type.shape, variable.type.dtype.dtype)
        roots.append(Root(variable.cell, ((Guard.VARIABLE, None),), leaf))
    for number, (source, kind) in enumerate(
        zip(specialization.objects, specialization.object_types, strict=True)
    ):
        places["object", number] = first + len(roots)
        ways = source.sources if isinstance(source, ConsensusSource) else (source,)
        leaf = Leaf(Guard.TYPE, value=kind)
        for way in ways:
            (roots if isinstance(leaf, Leaf) else again).append(Root(*_path(way), leaf))
            leaf = len(roots) - 1
    return (*roots, *again), places


def _path(source: Source) -> tuple[Any, tuple[tuple[Guard, Any], ...]]:
    """An object from which a source starts, and its steps."""
    match source:
        case ConstSource():
            return source.value, ()
        case WeakRefSource():
            return source.reference, ((Guard.DEREFERENCE, None),)
        case CellSource():
            return source.cell, ((Guard.CONTENT, None),)
        case ItemSource():
            value, steps = _path(source.parent)
            return value, (*steps, (Guard.ITEM, source.key))
        case AttributeSource():
            value, steps = _path(source.parent)
            return value, (*steps, (Guard.ATTRIBUTE, source.name))
    raise NotNative


def _array_leaf(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Leaf:
    if not dtype.isnative:
        raise NotNative
    return Leaf(Guard.ARRAY, dtype, shape)


def _output(specialization: Specialization, kind: str, number: int) -> Output:
    type = _type(specialization, number)
    if kind == "python":
        if type.dtype.name not in _WEAK_RESULTS or type.shape:
            raise NotNative
        return Output(_WEAK_RESULTS[type.dtype.name], type.dtype.dtype)
    if not specialization.numpy and not is_symbolic(type.shape):
        known = TensorType(type.shape, type.dtype)
        return _array_output(specialization, number, Result.TENSOR, known)
    if not type.shape and kind != "0-d array":
        return Output(Result.SCALAR, type.dtype.dtype)
    return _array_output(specialization, number, Result.ARRAY, None)


def _array_output(
    specialization: Specialization, number: int, kind: Result, value: Any
) -> Output:
    type, executable = _type(specialization, number), specialization.executable
    assert executable is not None
    make: Callable[..., Array] | None = None
    if is_symbolic(type.shape):
        make = executable.maker_for(number)
    elif type.nbytes >= LARGE_BYTES:
        make = executable.maker(number)
    return Output(kind, type.dtype.dtype, type.shape, make, value)


def _type(specialization: Specialization, number: int) -> TensorType:
    assert specialization.executable is not None
    return specialization.executable.program.buffers[number].type


def _plan(tree: Tree, finishing: Iterator[Callable[[Any], Any] | None]) -> Bundle | None:
    """How results are put together. finishing: what makes the next result of what is there."""
    kind = tree.kind
    if kind is None:
        call = next(finishing)
        return None if call is None else Bundle(Build.CALL, (None,), call=call)
    children = tuple(_plan(child, finishing) for child in tree.children)
    if kind is tuple:
        return Bundle(Build.TUPLE, children)
    if kind is list:
        return Bundle(Build.LIST, children)
    if kind is dict:
        return Bundle(Build.DICT, children, tree.keys)
    if issubclass(kind, tuple):
        return Bundle(Build.CALL, children, call=kind)
    if dataclasses.is_dataclass(kind):
        new, names, assign = object.__new__, tree.keys, object.__setattr__
        owner: Any = kind

        def assembled(*parts: Any) -> Any:
            copy = new(owner)
            for name, part in zip(names, parts, strict=True):
                assign(copy, name, part)
            return copy

        return Bundle(Build.CALL, children, call=assembled)
    flat = Tree(kind, tree.keys, tuple(LEAF for _ in children), tree.default)

    def make(*parts: Any) -> Any:
        items = iter(parts)
        return unflatten(flat, lambda: next(items))

    return Bundle(Build.CALL, children, call=make)


__all__ = ["MAX_ENTRIES", "eager_entry", "entry_point", "specialization_entry", "make_table"]
