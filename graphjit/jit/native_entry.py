"""The tables by which machine code enters a function's specializations.

Most specializations are entered and run natively, with the arrays and variables that they read.
A specialization with library calls has its arguments and captures checked natively, and is then
run by Python. So is a function that runs eagerly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.capture.attribute_access import only_uses_attributes
from graphjit.codegen.runtime.entry_layout import GuardKind
from graphjit.codegen.runtime.entry_spec import (
    ArgumentLeaf,
    ContainerGuard,
    Interpreted,
    LeafCall,
    LeafGuard,
    NativeLaunch,
    static_leaf,
)
from graphjit.codegen.runtime.entry_writer import Entry, make_entry, make_table
from graphjit.core import object_layout
from graphjit.core.config import config
from graphjit.core.fork_safety import importing, new_lock
from graphjit.core.tree import (
    ARRAY,
    LEAF,
    NUMBER,
    SCALAR,
    TENSOR,
    Identity,
    LeafKind,
    Tree,
    by_type,
    by_value,
    flatten,
)
from graphjit.core.types import as_dtype
from graphjit.tensors.tensor import Tensor
from graphjit.tensors.variable import Cell

from .compiled_call import CompiledCall
from .guard_roots import NoPath, Paths
from .native_plan import SCALARS, NotNative, capture_roots, make_launch
from .specialization import Specialization

if TYPE_CHECKING:
    pass


Array = np.ndarray[Any, np.dtype[Any]]

# How many specializations of a function machine code looks through. Python finds the others.
MAX_ENTRIES = 32
# Py_TPFLAGS_HEAPTYPE: of classes that Python code makes.
_HEAP_TYPE = 1 << 9
_lock = new_lock()
_address: list[int] = []


def install_entry_point(kind: type[Any]) -> int:
    """Make the machine code that enters functions, if there is none; the address of it.

    0 where objects are laid out in an unknown way.
    """
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


def specialization_entry(
    specialization: Specialization, leaves: Sequence[Any], function: Any
) -> Entry | None:
    """The entry of a specialization made for these leaves; None where there can be none.

    function: the Python function that it was made of
    """
    if not object_layout.fits() or specialization.executable is None:
        return None
    open_entry = _entry_of_any_object(specialization, leaves, function)
    if open_entry is not None:
        return open_entry
    tree, effects = specialization.argument_tree, specialization.effects
    if effects is not None and effects.writes_objects and _has_containers(tree):
        return None  # Python compares these with what is read and written
    guards = [_leaf_guard(k, x) for k, x in zip(specialization.kinds, leaves, strict=True)]
    try:
        launch = _launch(specialization)
        return None if launch is None else _entry(tree, guards, launch)
    except NotNative:
        return None


def _launch(specialization: Specialization) -> NativeLaunch | Interpreted | LeafCall | None:
    """How a specialization is entered; None where machine code can't."""
    if not specialization.has_handlers:
        try:
            return make_launch(specialization)
        except NotNative:
            pass
    if specialization.sizes is not None:
        return None
    if any(kind == "given" for kind, _ in specialization.results):
        return None if specialization.has_handlers else _launch_returning(specialization)
    return _leaf_call(specialization)


def _entry(
    tree: Tree, guards: Sequence[LeafGuard], launch: NativeLaunch | Interpreted | LeafCall
) -> Entry | None:
    """The entry for arguments of this tree whose leaves have these guards; None if there are
    too many. NotNative where machine code can't look into a container.
    """
    parts = iter(guards)
    args, kwargs = (_argument_guards(child, parts) for child in tree.children)
    assert isinstance(args, ContainerGuard) and isinstance(kwargs, ContainerGuard)
    return make_entry(
        args.children, dict(zip(kwargs.keys, kwargs.children, strict=True)), launch
    )


def _entry_of_any_object(
    specialization: Specialization, leaves: Sequence[Any], function: Any
) -> Entry | None:
    """The entry of a method that serves all objects of the class of the one at hand. None where
    there can be none, for what it computes may depend on which object it is.

    It lives on when the object dies. What Python looks up, it finds for this one alone.
    """
    made, tree = specialization, specialization.argument_tree
    args = tree.children[0]
    if (
        not args.children
        or args.children[0] is not LEAF
        or not isinstance(made.kinds[0].key, Identity)
    ):
        return None
    owner, kind = leaves[0], type(leaves[0])
    if isinstance(owner, type):
        return None
    if sum(x is owner for x in leaves) > 1 or not kind.__flags__ & _HEAP_TYPE:
        return None
    if made.has_handlers or not made.makes_captures:
        return None
    effects = made.effects
    if effects is not None and (
        effects.has_fixed_owners or (effects.writes_objects and _has_containers(tree))
    ):
        return None
    if not only_uses_attributes(function, kind):
        return None
    guards = [_leaf_guard(k, x) for k, x in zip(made.kinds, leaves, strict=True)]
    guards[0] = LeafGuard(GuardKind.TYPE, value=kind)
    try:
        entry = _entry(tree, guards, _launch_of_any_object(made, owner))
    except (NoPath, NotNative):
        return None
    made.serves_any_object = entry is not None
    return entry


def _launch_of_any_object(
    specialization: Specialization, owner: Any
) -> NativeLaunch | LeafCall:
    """How a specialization is entered for objects like the one that is its first argument.
    NoPath or NotNative where that can't be.
    """
    from graphjit.codegen.cpu.dispatcher import MISS

    from .python_calls import call_of_any_object

    try:
        return make_launch(specialization, Paths(owner, ArgumentLeaf(0)))
    except NotNative:
        roots, numbers = capture_roots(specialization, Paths(owner, ArgumentLeaf(0)))
    run = call_of_any_object(specialization, numbers, MISS)
    if run is None:
        raise NotNative
    return LeafCall(run, roots)


def _has_containers(tree: Tree) -> bool:
    """Whether there are containers among the arguments that can be changed."""
    return any(
        (child.kind not in (None, tuple) and not hasattr(child.kind, "_fields"))
        or _has_containers(child)
        for arguments in tree.children
        for child in arguments.children
    )


def eager_entry(
    function: Callable[..., Any],
    finish: Callable[..., Any],
    tree: Tree,
    kinds: Sequence[LeafKind],
    leaves: Sequence[Any],
    numpy: bool | None,
    any_value: bool = False,
) -> Entry | None:
    """The entry for calls that run a function eagerly; None where there can be none.

    finish: makes the results of what the function gives, and the leaves.
    kinds: those of arguments that the entry is for.
    numpy: whether arrays are ndarrays.
    any_value: whether the entry is for all values of the types of these arguments.
    """
    if not object_layout.fits():
        return None
    guards = [
        LeafGuard(GuardKind.TYPE, value=type(x))
        if by_type(k) or (any_value and not by_value(k)) or _unknown_dtype(k)
        else _leaf_guard(k, x)
        for k, x in zip(kinds, leaves, strict=True)
    ]
    # nothing is computed here: arrays are for NumPy to read, in whatever order
    guards = [
        replace(g, guard=GuardKind.SHAPED) if g.guard is GuardKind.ARRAY else g for g in guards
    ]
    try:
        return _entry(tree, guards, Interpreted(function, finish, numpy is not False))
    except NotNative:
        return None


def _unknown_dtype(kind: LeafKind) -> bool:
    """Whether a leaf is of a dtype that tensors don't have, such as long double or a record."""
    if kind.kind not in (ARRAY, NUMBER):
        return False
    dtype = kind.key[1]
    return dtype.char in "gG" or dtype.names is not None


def _leaf_guard(kind: LeafKind, x: Any) -> LeafGuard:
    if kind.kind == ARRAY:
        shape, dtype = kind.key
        if dtype.isnative:
            dtype = as_dtype(dtype).dtype  # NumPy's own object, which most arrays have
        return LeafGuard(GuardKind.ARRAY, dtype, shape)
    if kind.kind == NUMBER:
        return LeafGuard(GuardKind.NUMBER, kind.key[1], ())
    if kind.kind == TENSOR:
        return LeafGuard(GuardKind.TENSOR, kind.key.dtype.dtype, kind.key.shape)
    if kind.kind == SCALAR:
        return LeafGuard(SCALARS[kind.key])
    return static_leaf(x, not isinstance(kind.key, Identity))


def _argument_guards(tree: Tree, leaves: Any) -> LeafGuard | ContainerGuard:
    """The guards on a part of the arguments."""
    kind = tree.kind
    if kind is None:
        leaf: LeafGuard = next(leaves)
        if leaf.dtype is not None and not leaf.dtype.isnative:
            raise NotNative
        return leaf
    children = tuple(_argument_guards(child, leaves) for child in tree.children)
    if kind is tuple or (issubclass(kind, tuple) and kind.__basicsize__ == tuple.__basicsize__):
        return ContainerGuard(GuardKind.TUPLE, kind, children)
    if kind is list:
        return ContainerGuard(GuardKind.LIST, kind, children)
    if kind is dict:
        return ContainerGuard(GuardKind.DICT, kind, children, tree.keys)
    if _plain_fields(kind, tree.keys):
        return ContainerGuard(GuardKind.FIELDS, kind, children, tree.keys)
    raise NotNative


def _plain_fields(kind: type, names: Sequence[str]) -> bool:
    """Whether reading the fields of a dataclass's instances runs no Python code."""
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


def _leaf_call(specialization: Specialization) -> LeafCall:
    """A call of Python that runs a specialization whose guards machine code has compared, or
    compares them itself where machine code can't.
    """
    from graphjit.codegen.cpu.dispatcher import MISS

    from .python_calls import leaf_call

    try:
        roots, leaf_numbers = capture_roots(specialization)
    except (NoPath, NotNative):
        run = leaf_call(specialization, None, MISS)
        return LeafCall(run)
    return LeafCall(leaf_call(specialization, leaf_numbers, MISS), roots)


def _launch_returning(specialization: Specialization) -> Interpreted | None:
    """How a specialization is entered that returns containers of its arguments: Python runs it.
    None where there is more to it.
    """
    if (
        specialization.sources
        or specialization.objects
        or specialization.guards
        or specialization.effects is not None
        or specialization.may_be_left
    ):
        return None

    def run(*args: Any, **kwargs: Any) -> Any:
        leaves: list[Any] = []
        flatten((args, kwargs), leaves)
        return CompiledCall(specialization, leaves).run(given=(args, kwargs))

    return Interpreted(run, _return_unchanged, specialization.numpy)


def _return_unchanged(value: Any, *leaves: Any) -> Any:
    return value


__all__ = [
    "MAX_ENTRIES",
    "eager_entry",
    "install_entry_point",
    "make_table",
    "specialization_entry",
]
