"""Nested containers flattened to leaves: tuples, lists, dicts, namedtuples, dataclasses."""

from __future__ import annotations

import dataclasses
import operator
import types
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from .frozen import dataclass

_DICTS = (dict, OrderedDict, defaultdict)


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """How leaves make up a container; hashable. `kind` None means: a leaf.

    default: a defaultdict's factory. exact: of a dict with keys that aren't texts, what tells
    equal keys apart.
    """

    kind: Any
    keys: tuple[Any, ...]
    children: tuple[Tree, ...]
    default: Any = None
    exact: Any = None

    def _compared(self) -> tuple[Any, ...]:
        keys = self.keys if self.exact is None else self.exact
        return self.kind, keys, self.children, self.default

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Tree) and self._compared() == other._compared()
        )

    def __hash__(self) -> int:
        return hash(self._compared())


LEAF = Tree(None, (), ())


def flatten(value: Any, leaves: list[Any], walk: Callable[..., Tree] | None = None) -> Tree:
    """Append the leaves of a value in order; gives the tree to put them together again.

    walk: what is called for the parts of a container, in place of this.
    """
    kind, walk = type(value), walk or flatten
    if kind is tuple or kind is list:
        return Tree(kind, (), tuple([walk(item, leaves) for item in value]))
    if kind in _DICTS:
        children = tuple([walk(v, leaves) for v in value.values()])
        keys, exact = tuple(value), None
        if not all(type(key) is str for key in keys):
            exact = tuple(map(exact_key, keys))
        return Tree(kind, keys, children, getattr(value, "default_factory", None), exact)
    if isinstance(value, tuple):
        if _is_plain_namedtuple(kind):
            return Tree(kind, kind._fields, tuple([walk(item, leaves) for item in value]))
    elif dataclasses.is_dataclass(kind):
        names = _fields_of(kind)
        if names is not None and _has_fields_alone(value, names):
            return Tree(kind, names, tuple([walk(getattr(value, n), leaves) for n in names]))
    leaves.append(value)
    return LEAF


def leaves_like(value: Any, tree: Tree) -> list[Any] | None:
    """The leaves of a value, as a tree has them: plain dicts may hold their keys in another
    order. None where it is of another structure.
    """
    leaves: list[Any] = []
    found = flatten(value, leaves)
    return leaves if found == tree else _in_order(found, iter(leaves), tree)


def _in_order(found: Tree, leaves: Iterator[Any], tree: Tree) -> list[Any] | None:
    kind = found.kind
    if kind is not tree.kind or found.default is not tree.default:
        return None
    if kind is None:
        return [next(leaves)]
    keys = [list(t.keys if t.exact is None else t.exact) for t in (found, tree)]
    if kind not in (dict, defaultdict):
        if keys[0] != keys[1]:
            return None
        keys = [list(range(len(t.children))) for t in (found, tree)]
    places, wanted = keys
    if len(places) != len(wanted) or set(places) != set(wanted):
        return None
    numbers = {place: k for k, place in enumerate(wanted)}
    parts: list[list[Any]] = [[] for _ in wanted]
    for place, child in zip(places, found.children, strict=True):
        number = numbers[place]
        part = _in_order(child, leaves, tree.children[number])
        if part is None:
            return None
        parts[number] = part
    return [leaf for part in parts for leaf in part]


# By classes: the fields of those whose objects are containers.
_known_fields: weakref.WeakKeyDictionary[type, tuple[Any, tuple[str, ...] | None]] = (
    weakref.WeakKeyDictionary()
)


def _fields_of(kind: type) -> tuple[str, ...] | None:
    """The names of a dataclass's fields, if its objects hold these and nothing else happens
    where they are read and stored; else None: such objects are leaves.
    """
    made = kind.__dict__.get("__dataclass_fields__")
    known = _known_fields.get(kind)
    if known is None or known[0] is not made:
        known = _known_fields[kind] = made, _find_fields(kind)
    return known[1]


def _find_fields(kind: Any) -> tuple[str, ...] | None:
    if not any("__dataclass_fields__" in c.__dict__ for c in kind.__mro__):
        return None  # its metaclass answers to any name
    names = tuple(f.name for f in dataclasses.fields(kind))
    frozen = kind.__dataclass_params__.frozen
    classes = [c for c in kind.__mro__ if c is not object]
    hooks = {"__getattribute__", "__getattr__", *(() if frozen else _STORING)}
    if any(hooks.intersection(c.__dict__) for c in classes):
        return None
    for name in names:
        found = next((c.__dict__[name] for c in classes if name in c.__dict__), None)
        if hasattr(type(found), "__get__") and type(found) is not types.MemberDescriptorType:
            return None
    slots = {
        name
        for c in classes
        for name, x in c.__dict__.items()
        if type(x) is types.MemberDescriptorType
    }
    return names if slots.issubset(names) else None


_STORING = ("__setattr__", "__delattr__")


def _has_fields_alone(value: Any, names: tuple[str, ...]) -> bool:
    """Whether an object has all of its class's fields, and no other attributes."""
    own = getattr(value, "__dict__", None)
    if own is not None:
        slots = sum(name not in own for name in names)
        if len(own) + slots != len(names):
            return False
        return not slots or all(hasattr(value, name) for name in names)
    return all(hasattr(value, name) for name in names)


def _is_plain_namedtuple(kind: Any) -> bool:
    """Whether tuples of a class hold what their fields say, and no more."""
    if not hasattr(kind, "_fields") or kind.__dictoffset__:
        return False
    base = next((c for c in kind.__mro__ if c.__bases__ == (tuple,)), None)
    return base is not None and kind.__new__ is base.__new__


def leaf_names(tree: Tree, name: str) -> list[str]:
    """A name for each leaf: that of the whole with the place in each container."""
    if tree.kind is None:
        return [name]
    keys = tree.keys or range(len(tree.children))
    return [
        leaf
        for key, child in zip(keys, tree.children, strict=True)
        for leaf in leaf_names(child, f"{name}.{key}")
    ]


def unflatten(tree: Tree, next_leaf: Callable[[], Any], made: list[Any] | None = None) -> Any:
    """The container with leaves taken in order. made: where each container goes when it is
    done, before those that it is in.
    """
    kind = tree.kind
    if kind is None:
        return next_leaf()
    items = [unflatten(child, next_leaf, made) for child in tree.children]
    if kind is list:
        whole: Any = items
    elif kind is tuple:
        whole = tuple(items)
    elif kind in _DICTS:
        pairs = zip(tree.keys, items, strict=True)
        whole = kind(tree.default, pairs) if kind is defaultdict else kind(pairs)
    elif issubclass(kind, tuple):
        whole = kind(*items)
    else:
        whole = object.__new__(kind)
        for name, item in zip(tree.keys, items, strict=True):
            object.__setattr__(whole, name, item)
    if made is not None:
        made.append(whole)
    return whole


# What no change of leaves is for.
_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value with what `change` gives for each of its leaves; containers in which nothing is
    another object than before are themselves.
    """
    known: dict[int, tuple[Any, Any]] = {}

    def walk(value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN or (
            (kind is list or kind is tuple) and _PLAIN.issuperset(map(type, value))
        ):
            return value  # nothing is to be changed
        if id(value) in known:
            return known[id(value)][1]
        known[id(value)] = value, value  # what holds itself is left as it is
        before: list[Any] = []
        tree = flatten(value, before, as_leaf)
        if tree.kind is None:
            new = change(value)
        else:
            after = [walk(part) for part in before]
            same = all(map(operator.is_, before, after))
            parts = iter(after)
            new = value if same else unflatten(tree, lambda: next(parts))
        known[id(value)] = value, new
        return new

    try:
        return walk(value)
    finally:
        known.clear()  # `walk` refers to itself, and so would live until a garbage collection


def as_leaf(value: Any, leaves: list[Any]) -> Tree:
    """What `flatten` calls for parts that are to stay whole."""
    leaves.append(value)
    return LEAF


# The way to a part of a container: whether by attribute, and the name, key or number.
Path = tuple[tuple[bool, Any], ...]


def containers(tree: Tree, value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The containers in one of this tree, with the ways to them."""
    for number, child in enumerate(tree.children):
        if child.kind is not None:
            by_name = tree.kind not in _DICTS and bool(tree.keys)
            step = (by_name, tree.keys[number] if tree.keys else number)
            part = follow(value, (step,))
            yield (*path, step), part
            yield from containers(child, part, (*path, step))


def follow(value: Any, path: Path) -> Any:
    """The part of a container to which a path leads."""
    for by_name, key in path:
        value = getattr(value, key) if by_name else value[key]
    return value


class Identity:
    """A key that is equal to itself for as long as the object lives."""

    __slots__ = ("_number", "_ref")

    def __init__(self, value: Any) -> None:
        self._number = id(value)
        try:
            self._ref: Callable[[], Any] = weakref.ref(value)
        except TypeError:
            self._ref = lambda: value

    @property
    def value(self) -> Any:
        """The object; None once it died."""
        return self._ref()

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity) or other._number != self._number:
            return False
        return self._ref() is not None and self._ref() is other._ref()


# What a leaf is to the traced function.
ARRAY, NUMBER, TENSOR, SCALAR, STATIC = "array", "number", "tensor", "scalar", "static"
# In the key of a static leaf of whose type alone a specialization depends.
FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class LeafKind:
    """How a leaf is passed: kind, and its type (or the key of a static value)."""

    kind: str
    key: Any


def by_type(kind: LeafKind) -> bool:
    """Whether a specialization depends on a leaf's type alone, which nothing is computed of."""
    key = kind.key
    return kind.kind == STATIC and type(key) is tuple and len(key) == 2 and key[1] is FOREIGN


def exact_key(value: Any) -> Any:
    """A key that is equal to those of values that can't be told apart: 1, 1.0 and True can, and
    so can 0.0 and -0.0, and sets with another order.
    """
    kind = type(value)
    if kind in (int, bool, str, bytes, type(None)) or isinstance(value, (type, Enum)):
        return kind, value
    if kind in (float, complex):  # containers tell one NaN from another
        return (kind, repr(value)) if value == value else Identity(value)
    if kind in (tuple, frozenset):
        return kind, tuple(map(exact_key, value))
    if kind in (range, slice):
        return kind, tuple(map(exact_key, (value.start, value.stop, value.step)))
    if kind.__module__ == "numpy" and hasattr(kind, "tobytes") and not value.shape:
        return kind, value.dtype, value.tobytes()  # a NumPy scalar
    return Identity(value)


def by_value(kind: LeafKind) -> bool:
    """Whether a specialization depends on a leaf's value, which can be compared."""
    return kind.kind == STATIC and not isinstance(kind.key, Identity)
