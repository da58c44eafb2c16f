"""The ways through a turn of a loop: each is recorded by itself, and they are joined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from graphjit.core.errors import TracingError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.ir.graph import Graph, Node
from graphjit.ops import control, source

from .regions import Region

# Constants of more bytes are the same if they are one array.
_LARGEST = 1 << 12


# What the names of places have, which are no variables (see `stored_places`).
PLACE_MARK = "@"


def without_marks(text: str) -> str:
    """A text with the names of places as the user writes them."""
    return re.sub(rf"{PLACE_MARK}\d+", "", text)


class LoopRefused(TracingError):
    """A loop that can't be one node, and is to be traced as a path. what: what a turn does."""

    def __init__(self, what: str) -> None:
        super().__init__(at_user_line(without_marks(f"a turn of a loop {what}")))


class JoinRefused(LoopRefused):
    """Branches whose ways can't be joined. keys: which ones."""

    def __init__(self, what: str, keys: Sequence[Any]) -> None:
        super().__init__(what)
        self.keys = keys


@dataclass(frozen=True, slots=True)
class Fork:
    """A branch in a turn.

    place: where it is, and how often the turn has come to it
    start: the nodes from this one on were recorded after it
    second: whether the other outcome was recorded before
    left: where the other outcome leaves the loop, the nodes of what the turn gives then
    """

    place: Any
    start: int
    predicate: int
    outcome: bool
    second: bool
    left: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """A turn as it was recorded along one way. start: the first of its nodes; results: the
    nodes of what the turn gives.
    """

    start: int
    forks: tuple[Fork, ...]
    results: tuple[int, ...]


def joined(trace: Any, ways: list[Way], origins: Sequence[str], depth: int = 0) -> list[Any]:
    """What a turn gives, by ways that have their first `depth` branches in common.

    origins: of each result, whose rules hold for it. Raises LoopRefused where the ways don't
    fit together.
    """
    first = ways[0]
    if len(ways) == 1 and len(first.forks) == depth:
        return _symbols(trace, first.results, origins)
    if any(len(w.forks) <= depth for w in ways):
        raise LoopRefused("branches in another way each time")
    fork = first.forks[depth]
    if any(w.forks[depth].place != fork.place for w in ways):
        raise LoopRefused("branches in another way each time")
    parts = []
    for outcome in (True, False):
        if fork.left is not None and outcome is not fork.outcome:
            start = fork.start
            parts.append((Region(start, (), None), _symbols(trace, fork.left, origins)))
            continue
        arm = [way for way in ways if way.forks[depth].outcome is outcome]
        if not arm:
            raise LoopRefused("branches in another way each time")
        # what comes before the branch is computed once, as in the first, where that has it
        arm = [_sharing(trace, first, way, depth) for way in arm]
        start = arm[0].forks[depth].start if arm[0] is first else arm[0].start
        parts.append((Region(start, (), None), joined(trace, arm, origins, depth + 1)))
    selector = trace.symbol_of(fork.predicate, "weak")
    results: list[Any] = trace.control(control.cond, parts, [selector], origins)
    return results


def _symbols(trace: Any, nodes: Sequence[int], origins: Sequence[str]) -> list[Any]:
    pairs = zip(nodes, origins, strict=True)
    return [trace.symbol_of(node, origin) for node, origin in pairs]


def _sharing(trace: Any, first: Way, way: Way, depth: int) -> Way:
    """A way that reads the nodes before its branch that another way has, too."""
    if way is first:
        return way
    nodes = trace.builder.nodes
    before = (first.start, *(f.start for f in first.forks[: depth + 1]))
    own = (way.start, *(f.start for f in way.forks[: depth + 1]))
    moved = _counterparts(nodes, (own[0], own[-1]), (before[0], before[-1]))
    trace.forget_checks(own[0], own[-1])

    def after(numbers: Sequence[int]) -> tuple[int, ...]:
        return tuple(moved.get(i, i) for i in numbers)

    forks = []
    for k, fork in enumerate(way.forks):
        if k > depth:
            (predicate,) = after([fork.predicate])
            left = None if fork.left is None else after(fork.left)
            fork = Fork(fork.place, fork.start, predicate, fork.outcome, fork.second, left)
        forks.append(fork)
    last = [n for fork in forks[depth + 1 :] for n in (fork.predicate, *(fork.left or ()))]
    for number in range(own[0], max((*way.results, *last)) + 1):
        node = nodes[number]
        if any(i in moved for i in node.inputs):
            nodes[number] = Node(
                node.primitive,
                after(node.inputs),
                node.attrs,
                node.type,
                node.source,
                node.regions,
            )
    return Way(way.start, tuple(forks), after(way.results))


def _counterparts(
    nodes: Sequence[Node], own: tuple[int, int], others: tuple[int, int]
) -> dict[int, int]:
    """For nodes of one part of a trace those that do the same in another part, which was
    recorded of the same code. What is made once in a trace may be missing in either, where the
    other part has or finds it.
    """
    found: dict[int, int] = {}
    other, end = others
    for number in range(*own):
        node = nodes[number]
        if node.primitive is source.const:
            if other < end and _same_constant(node, nodes[other]):
                found[number] = other
                other += 1
            continue
        for k in range(other, end):
            if _are_alike(nodes, found, number, k):
                found[number], other = k, k + 1
                break
            if nodes[k].regions:  # these are matched in order
                break
    return found


def _are_alike(nodes: Sequence[Node], found: dict[int, int], number: int, other: int) -> bool:
    """Whether two nodes compute the same, their operands being alike."""
    a, b = nodes[number], nodes[other]
    return (
        a.primitive is b.primitive
        and a.type == b.type
        and len(a.inputs) == len(b.inputs)
        and bool(a.attrs == b.attrs)
        and len(a.regions) == len(b.regions)
        and all(map(_are_same, a.regions, b.regions))
        and all(
            found.get(x, x) == y or _same_constant(nodes[x], nodes[y])
            for x, y in zip(a.inputs, b.inputs, strict=True)
        )
    )


def _are_same(a: Graph, b: Graph) -> bool:
    """Whether two graphs compute the same in the same order."""
    return (
        len(a.nodes) == len(b.nodes)
        and list(a.roots) == list(b.roots)
        and all(
            _same_constant(x, y)
            or (
                x.primitive is y.primitive
                and x.type == y.type
                and x.inputs == y.inputs
                and bool(x.attrs == y.attrs)
                and len(x.regions) == len(y.regions)
                and all(map(_are_same, x.regions, y.regions))
            )
            for x, y in zip(a.nodes, b.nodes, strict=True)
        )
    )


def _same_constant(a: Node, b: Node) -> bool:
    if a.primitive is not source.const or b.primitive is not source.const or a.type != b.type:
        return False
    one, other = a.attr("value").array, b.attr("value").array
    return one is other or (one.nbytes <= _LARGEST and one.tobytes() == other.tobytes())


__all__ = ["PLACE_MARK", "Fork", "JoinRefused", "LoopRefused", "Way", "joined", "without_marks"]
