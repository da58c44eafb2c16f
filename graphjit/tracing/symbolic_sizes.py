"""Which extents of a function's arguments become symbolic, and which sizes that serves.

An extent becomes symbolic when calls have brought `config.symbolic_after` sizes of it, or when
it is None in the input signature. An extent of 1 is never symbolic. Extents that have always
been equal are taken to be one symbol.

The function is then traced for the sizes at hand, which brings guards. A guard may say that a
symbol is a certain number, equal to another symbol, or a multiple of a number. Then the
function is traced again with that known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphjit.core.config import config
from graphjit.core.dims import Dim, Guard, Sizes
from graphjit.core.extents import magnitude
from graphjit.core.frozen import dataclass
from graphjit.core.tree import ARRAY, TENSOR, LeafKind, Tree
from graphjit.core.types import Shape, TensorType
from graphjit.ir.graph import Graph, Node
from graphjit.ops import source

# The number of a leaf, and an axis of it.
LeafAxis = tuple[int, int]
_MAX_TRACES = 8
# How many calls, and how many sizes of an axis, are remembered.
_MAX_CALLS, _MAX_SIZES = 64, 1024


def shape_of(kind: LeafKind) -> Shape | None:
    """The shape of a leaf that is an array or tensor."""
    if kind.kind == ARRAY:
        shape: Shape = kind.key[0]
        return shape
    return kind.key.shape if kind.kind == TENSOR else None


def with_shape(kind: LeafKind, shape: Shape) -> LeafKind:
    """The kind of a leaf of another shape."""
    if kind.kind == ARRAY:
        return LeafKind(ARRAY, (shape, kind.key[1]))
    return LeafKind(TENSOR, kind.key.with_shape(shape))


def rank_key(tree: Tree, kinds: Sequence[LeafKind]) -> Any:
    """What calls have in common whose arrays differ in extents other than 1 alone."""
    parts: list[Any] = []
    for kind in kinds:
        shape = shape_of(kind)
        if shape is None:
            parts.append(kind)
        else:
            dtype = kind.key[1] if kind.kind == ARRAY else kind.key.dtype
            parts.append((kind.kind, dtype, tuple(n == 1 for n in shape)))
    return tree, tuple(parts)


def extents(kinds: Sequence[LeafKind]) -> dict[LeafAxis, int]:
    """Every extent that isn't 1."""
    return {
        (leaf, axis): n
        for leaf, kind in enumerate(kinds)
        for axis, n in enumerate(shape_of(kind) or ())
        if n != 1
    }


class SizeHistory:
    """The sizes that calls of one rank key have brought."""

    def __init__(self) -> None:
        # The different extents of each axis.
        self.sizes: dict[LeafAxis, set[int]] = {}
        # The extents of the latest calls that were to be specialised, the call at hand last.
        self.history: list[dict[LeafAxis, int]] = []
        # Axes of which Python code needs the extent as a number.
        self.fixed: set[LeafAxis] = set()
        # What went wrong when symbolic extents were tried.
        self.trace_error = ""
        # Why symbolic extents are tried no more.
        self.impossible = ""

    def note(self, found: Mapping[LeafAxis, int]) -> None:
        """Note the extents of a call; the oldest calls are forgotten."""
        if (now := dict(found)) in self.history:
            self.history.remove(now)
        self.history = [*self.history[1 - _MAX_CALLS :], now]
        for leaf_axis, n in found.items():
            sizes = self.sizes.setdefault(leaf_axis, set())
            if len(sizes) < _MAX_SIZES:
                sizes.add(n)

    def rule_out(self) -> None:
        """Try symbolic extents no more, if tracing failed with them alone."""
        if self.trace_error:
            self.impossible = self.trace_error

    def symbolic_axes(self, open_axes: frozenset[LeafAxis]) -> set[LeafAxis]:
        """The axes that are to be symbolic. open_axes: those that the signature leaves open."""
        limit = config.symbolic_after
        if limit is None:
            return {p for p in open_axes if p not in self.fixed}
        return {
            leaf_axis
            for leaf_axis, sizes in self.sizes.items()
            if (len(sizes) >= limit or leaf_axis in open_axes) and leaf_axis not in self.fixed
        }


class SizeAssumptions:
    """Which axes share a symbol, and what is known of each symbol."""

    def __init__(self, seen: SizeHistory, open_axes: frozenset[LeafAxis]) -> None:
        # By axes: the group of axes that share a symbol.
        self.group: dict[LeafAxis, Any] = {}
        # By groups: what the extent is a multiple of.
        self.multiple: dict[Any, int] = {}
        now = seen.history[-1]
        for leaf_axis in sorted(seen.symbolic_axes(open_axes)):
            if leaf_axis in now:
                alike = tuple(past.get(leaf_axis) for past in seen.history)
                self.group[leaf_axis] = leaf_axis if leaf_axis in open_axes else alike
        self.now = now
        self.traces = 0

    def shapes(self, kinds: Sequence[LeafKind], sizes: Sizes) -> list[Shape | None]:
        """The shape of each leaf with its symbols."""
        dims: dict[Any, int] = {}
        for leaf_axis, group in self.group.items():
            if group not in dims:
                by = self.multiple.get(group, 1)
                name = f"n{len(dims)}"
                symbol = sizes.symbol(name, self.now[leaf_axis] // by, may_be_one=by > 1)
                dims[group] = symbol * by
        found: list[Shape | None] = []
        for leaf, kind in enumerate(kinds):
            shape = shape_of(kind)
            found.append(
                None
                if shape is None
                else tuple(
                    dims[self.group[leaf, axis]] if (leaf, axis) in self.group else n
                    for axis, n in enumerate(shape)
                )
            )
        self._names = {f"n{k}": group for k, group in enumerate(dims)}
        return found

    def refine(self, sizes: Sizes, seen: SizeHistory) -> bool:
        """Learn from the guards of a trace; whether to trace once more."""
        self.traces += 1
        if self.traces > _MAX_TRACES:
            return False
        for name, group in self._names.items():
            low, high = sizes.bounds_of(name)
            if low == high:
                return self._fix_group(group, seen)
        # one thing at a time: two guards may say the same
        return any(self._apply_guard(guard, seen) for guard in sizes.guards)

    def _apply_guard(self, guard: Guard, seen: SizeHistory) -> bool:
        left = guard.left
        if guard.relation != "==":
            return False
        terms = dict(left.terms)
        names = [m[0] for m in terms if len(m) == 1]
        plain = [n for n in names if n in self._names]
        constant = () in terms
        if len(left.symbols) == 1 and len(terms) == 1 + constant and plain:
            return self._fix_group(self._names[plain[0]], seen)
        if len(plain) == 2 and len(terms) == 2 and sum(terms.values()) == 0:
            one, other = (self._names[n] for n in plain)
            if self.multiple.get(one, 1) == self.multiple.get(other, 1):
                self.group = {p: one if g == other else g for p, g in self.group.items()}
                return True
        if len(plain) == 1 and len(names) == 2 and len(terms) == 2:
            floor = left.sizes.floor_of(next(n for n in names if n not in plain))
            inner = None if floor is None else dict(floor[0].terms)
            if inner is not None and inner.keys() == {(plain[0],)} and inner[plain[0],] == 1:
                group = self._names[plain[0]]
                self.multiple[group] = self.multiple.get(group, 1) * floor[1]
                return True
        return False

    def _fix_group(self, group: Any, seen: SizeHistory) -> bool:
        axes = {p for p, g in self.group.items() if g == group}
        seen.fixed |= axes
        self.group = {p: g for p, g in self.group.items() if p not in axes}
        return True


def guard_64_bits(sizes: Sizes, graph: Graph) -> bool:
    """Add guards by which no number that code computes of sizes passes 62 bits. False where the
    sizes at hand are too large for that: Python's integers have no end.

    Looked at are numbers that are values, and those with floors. All others may wrap around,
    and come back to the right number.
    """
    dims = [n for node in graph.nodes for n in _computed_extents(node)]
    largest = next(
        (1 << b for b in range(40, 3, -1) if all(magnitude(n, 1 << b) < 1 << 62 for n in dims)),
        0,
    )
    symbols = dict.fromkeys(name for n in dims for name in n.symbols)
    if any(sizes.hints[name] > largest for name in symbols):
        return False
    if largest < 1 << 40:
        for name in symbols:
            sizes.note(largest - sizes.made((((name,), 1),)), ">=")
    return True


def _computed_extents(node: Node) -> list[Dim]:
    """The extents of a node that are values, or have floors."""
    todo: list[Any] = [value for _, value in node.attrs]
    if isinstance(node.type, TensorType):
        todo += node.type.shape
    found = []
    while todo:
        value = todo.pop()
        if isinstance(value, (tuple, list)):
            todo += value
        elif isinstance(value, slice):
            todo += [value.start, value.stop, value.step]
        elif isinstance(value, Dim) and (node.primitive is source.extent or value.has_floors):
            found.append(value)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class SizeDomain:
    """The sizes that a specialization of symbolic extents serves."""

    # Of each leaf the shape, or None for a leaf that is no array.
    shapes: tuple[Shape | None, ...]
    # What must be true of the symbols in these shapes.
    guards: tuple[Guard, ...]

    def accepts(self, kinds: Sequence[LeafKind]) -> bool:
        """Whether a call of the specialization's rank key has sizes that it serves."""
        values: dict[str, int] = {}
        for kind, wanted in zip(kinds, self.shapes, strict=True):
            shape = shape_of(kind)
            if wanted is None or shape is None:
                continue
            for n, extent in zip(wanted, shape, strict=True):
                if not isinstance(n, Dim):
                    if n != extent:
                        return False
                    continue
                ((name,), by) = n.terms[0]
                size, rest = divmod(extent, by)
                if rest or values.setdefault(name, size) != size:
                    return False
        return all(guard.holds(values) for guard in self.guards)


__all__ = [
    "SizeAssumptions",
    "SizeDomain",
    "SizeHistory",
    "extents",
    "guard_64_bits",
    "rank_key",
    "shape_of",
    "with_shape",
]
