"""What a specialization requires of a call and does in it: guards, results, the native call.

Values only; `entry_writer` makes the tables of them that machine code reads.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.attribute_layout import Place
from graphjit.core.frozen import dataclass

from .entry_layout import BuildKind, GuardKind, ResultKind

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class LeafGuard:
    """The guard on one leaf.

    value: that of SAME, REFERENT, FLOAT_IS, INTEGER_IS, SMALL, TYPE, LENGTH and ABSENT
    """

    guard: GuardKind
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    value: Any = None


@dataclass(frozen=True, slots=True)
class ContainerGuard:
    """The guard on a container of leaves.

    kind: its very type
    keys: a dict's keys, or names of attributes
    """

    guard: GuardKind
    kind: type
    children: tuple[LeafGuard | ContainerGuard, ...]
    keys: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a path.

    operand: the key, the name, or the object of CONSTANT
    place: where an attribute or a name lies; of UNCHANGED, the class and its version
    hint: the number of an item's entry in a dict, -1 if that isn't known
    """

    kind: GuardKind
    operand: Any = None
    place: Place | None = None
    hint: int = -1

    def key(self) -> Any:
        """What tells it from other steps of one object."""
        if self.kind is GuardKind.CONSTANT:
            return self.kind, id(self.operand)
        return self.kind, type(self.operand), self.operand


@dataclass(frozen=True, slots=True)
class ArgumentLeaf:
    """Stands for an object among the arguments, where any object of its class will do.

    number: that of the leaf
    """

    number: int


@dataclass(frozen=True, slots=True)
class GuardedRoot:
    """An object that leads to what a specialization reads, or has a guard on.

    value: the object, or an ArgumentLeaf
    steps: how it leads there
    leaf: the guard on that; or the number of the leaf that it must equal
    number: as a leaf, among those of the roots; None where it is only compared
    """

    value: Any
    steps: tuple[Step, ...]
    leaf: LeafGuard | int
    number: int | None = None


class GuardNode:
    """The guards on one object, and the steps that lead on from it.

    leaves: those guards, each with its number as a leaf or None
    """

    def __init__(self) -> None:
        self.leaves: list[tuple[LeafGuard | int, int | None]] = []
        self.steps: dict[Any, tuple[Step, GuardNode]] = {}

    def after(self, step: Step) -> GuardNode:
        """The node of the object to which a step leads."""
        found = self.steps.get(step.key())
        if found is None:
            found = self.steps[step.key()] = step, GuardNode()
        return found[1]

    def in_order(
        self,
    ) -> tuple[list[tuple[LeafGuard | int, int | None]], list[tuple[Step, GuardNode]]]:
        """The guards, that on the type first: what other guards ask, and where fields lie, is
        known for objects of this type. Then the steps.
        """

        def asks_later(item: tuple[LeafGuard | int, int | None]) -> bool:
            return not isinstance(item[0], LeafGuard) or item[0].guard is not GuardKind.TYPE

        return sorted(self.leaves, key=asks_later), list(self.steps.values())


def guard_trees(roots: Sequence[GuardedRoot]) -> list[tuple[Any, GuardNode]]:
    """The objects that roots start from, each with the tree of its guards.

    Roots that begin with the same steps share them, so that an owner is looked up once for all
    of its fields. What Python checks comes after what machine code does; and last, what must
    equal an earlier leaf.
    """
    trees: dict[tuple[int, int], tuple[Any, GuardNode]] = {}
    for root in roots:
        turn = 0
        if isinstance(root.leaf, int):
            turn = 2
        elif root.steps and root.steps[0].kind is GuardKind.CALL:
            turn = 1
        _, node = trees.setdefault((turn, id(root.value)), (root.value, GuardNode()))
        for step in root.steps:
            node = node.after(step)
        node.leaves.append((root.leaf, root.number))
    return [trees[key] for key in sorted(trees, key=lambda key: key[0])]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A container to be made of results.

    children: what is in it; None for the next result
    keys: a dict's keys
    call: the callable of CALL
    """

    kind: BuildKind
    children: tuple[Bundle | None, ...]
    keys: tuple[Any, ...] = ()
    call: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What becomes of one result.

    make: a function that allocates its array, or None
    value: a static result, the tensor's type, the variable's cell, or the number of a leaf or
        of an earlier result
    """

    kind: ResultKind
    dtype: np.dtype[Any] | None = None
    shape: tuple[int, ...] = ()
    make: Callable[..., Array] | None = None
    value: Any = None


@dataclass(frozen=True, slots=True)
class NativeLaunch:
    """One native call.

    address: that of the segment
    sources: each of its arguments: "leaf", "output" or "constant", with a number or an array.
        Leaves of the arguments are numbered first, then those of the roots.
    locks: those to hold meanwhile, in order: how to acquire each, and how to release it
    plan: the container of the results; None where the first result is all
    checked: whether a check can fail
    fail: raises what a status and a record mean; None where Python is to run the call instead,
        since it does more before it raises
    sized: None where no extent is symbolic
    code: what keeps the machine code loaded, which is so as long as the entry is there
    """

    address: int
    sources: tuple[tuple[str, Any], ...]
    roots: tuple[GuardedRoot, ...]
    locks: tuple[tuple[Callable[[], Any], Callable[[], Any]], ...]
    outputs: tuple[Output, ...]
    plan: Bundle | None
    arena_bytes: int
    make_arena: Callable[..., Array]
    checked: bool
    fail: Callable[[int, int, int, int], None] | None
    sized: SizedLaunch | None
    code: Any


@dataclass(frozen=True, slots=True)
class Interpreted:
    """A Python function that is called with the arguments as they are.

    finish: makes the result of the function's result and the leaves. It isn't called for
        numbers and the like, nor, with `arrays`, for an array that owns its memory and shares
        it with no leaf.
    """

    function: Callable[..., Any]
    finish: Callable[..., Any]
    arrays: bool


@dataclass(frozen=True, slots=True)
class LeafCall:
    """A Python function that is called with the leaves: of the arguments, then of the roots.

    function: returns `dispatcher.MISS` where the specialization doesn't fit after all
    """

    function: Callable[..., Any]
    roots: tuple[GuardedRoot, ...] = ()


@dataclass(frozen=True, slots=True)
class SizedLaunch:
    """What a launch has besides where extents are symbolic.

    prepare: the address of the function `prepare`
    symbols: the extents from which a call's sizes are read
    results: where `prepare` writes the extents of each result
    arena: where it writes the arena's bytes
    """

    prepare: int
    symbols: tuple[int, ...]
    results: tuple[int, ...]
    arena: int


def static_leaf(value: Any, by_value: bool) -> LeafGuard:
    """The guard on a leaf that the specialization depends on: on a number's value, else on the
    object.
    """
    if type(value) is float and value == value:  # of NaN code may ask which one it is
        return LeafGuard(GuardKind.FLOAT_IS, value=value)
    if type(value) is int and -(2**63) <= value < 2**63:
        return LeafGuard(GuardKind.INTEGER_IS, value=value)
    if by_value:
        return LeafGuard(GuardKind.SAME, value=value)
    try:
        return LeafGuard(GuardKind.REFERENT, value=weakref.ref(value))
    except TypeError:
        return LeafGuard(GuardKind.SAME, value=value)


__all__ = [
    "GuardNode", "Step", "guard_trees",
    "ArgumentLeaf", "Bundle", "ContainerGuard", "GuardedRoot", "Interpreted", "LeafCall",
    "LeafGuard",
    "NativeLaunch",
    "Output", "SizedLaunch", "static_leaf",
]  # fmt: skip
