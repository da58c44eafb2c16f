"""What is known of a loop of Python's: its state at a test, and the region that is recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import CodeType, FrameType
from typing import Any

from graphjit.core.frozen import dataclass

from .carried_values import join
from .loop_iterators import LoopIterator
from .loop_tests import LoopTest
from .turn_ways import Fork, Way


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """The state of a frame at a test. predicate: the node of the bool that decided, -1 where no
    value did; nodes: those that were recorded until then; branches: how many were taken, this
    one included; written: how many writes into arrays were seen; steps: the iterator, with the
    number of its next item then; number: later visits have higher ones; lists: what was in the
    variables that are lists; fields: the attributes that are values of their own.
    """

    frame: FrameType
    values: dict[str, Any]
    contents: Any
    predicate: int
    nodes: int
    branches: int
    written: int
    steps: LoopIterator | None
    position: int
    number: int
    lists: dict[str, list[Any]]
    fields: frozenset[tuple[int, Any]]


class OpenLoop:
    """A loop whose region is being recorded.

    names: the variables that are carried; arrays: the arrays that are written to, each with
    the node that it was before the loop
    start: the first node of the region; after_params: that after its parameters
    goes_on, index, exit: parameters: whether an earlier test says so, the number of the turn,
    and of the exit
    forks: the branches on this way; planned: the first of them, as they are to be taken
    counts: how often each place was come to
    after: tests that belong to the condition, come to just after this one: the nodes of their
        predicates and where the nodes after them begin
    wanted: variables that an exit needs, with their types
    """

    def __init__(self, visit: Visit, key: Any, test: LoopTest, names: list[str]) -> None:
        self.visit, self.key, self.test, self.names = visit, key, test, names
        self.arrays: list[tuple[Any, int]] = []
        self.start = self.after_params = self.pass_start = 0
        # How often it was begun anew, with more that is carried.
        self.begun = 0
        # The number of the turn that is recorded, of all loops' turns.
        self.turn = 0
        # Its node, once it has one and is a `while_loop`.
        self.node = -1
        # Whether it may be left in the middle of a turn.
        self.leaves = False
        self.goes_on: Any = None
        self.index: Any = None
        self.exit: Any = None
        # Of each variable the kind, and the parameters that stand for it; those of arrays.
        self.kinds: list[Any] = []
        self.parts: list[list[Any]] = []
        self.arrays_in: list[Any] = []
        # What variables were before the loop, where that isn't in the visit.
        self.made: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.contents: dict[str, Any] = {}
        self.fields: frozenset[tuple[int, Any]] = frozenset()
        self.ways: list[Way] = []
        self.planned: list[Fork] = []
        self.forks: list[Fork] = []
        # Branches on this way of which one outcome is left to Python: nodes and outcomes.
        self.left_to_python: list[tuple[int, bool]] = []
        # Branches whose ways are being run one after the other, the innermost last, and how
        # many the turn has had.
        self.both_ways: list[Any] = []
        self.joined = 0
        self.may_need_python = False
        self.counts: Counter[Any] = Counter()
        self.after: list[tuple[int, int, bool]] = []
        self.wanted: dict[str, Any] = {}
        # The tests that leave for other places, with the branches on the way there.
        self.exits: list[tuple[Any, LoopTest, tuple[Fork, ...]]] = []
        # The ways through loops in this one to their exits, by those.
        self.through: dict[Any, tuple[Fork, ...]] = {}
        # Variables that are the same array as one that is carried, with this one.
        self.twins: dict[str, str] = {}
        # The kinds of variables that have other ones than they begin with.
        self.mixed: dict[str, Any] = {}
        # Variables that are arrays which others have, too, as lists that they were added to.
        self.known_elsewhere: set[str] = set()

    def number_of_exit(self, key: Any, test: LoopTest, within: Sequence[Fork] = ()) -> int:
        """The number of the place that a test leaves for on this way, from 1 on.

        within: the branches in loops in this one that are left with it
        """
        forks: list[Fork] = []
        for fork in (*self.forks, *within):
            if isinstance(fork.place[0][0], CodeType):
                forks.append(fork)
            elif fork.outcome:  # no code asks for it: a loop in this one is left on the way
                forks += self.through.get(fork.place[0], ())
        path = [(fork.place, fork.outcome) for fork in forks]
        for k, (other, _, known) in enumerate(self.exits):
            if other == key and [(f.place, f.outcome) for f in known] == path:
                return k + 1
        self.exits.append((key, test, tuple(forks)))
        return len(self.exits)

    @property
    def params(self) -> list[Any]:
        """The parameters of what is carried, variables before arrays."""
        return [*(p for parts in self.parts for p in parts), *self.arrays_in]

    def variables(self, trace: Any) -> list[Any]:
        """The variables as a turn begins."""
        made = []
        for kind, parts in zip(self.kinds, self.parts, strict=True):
            # under handles of their own, for a turn may write into arrays
            fresh = [trace.symbol_of(p.node, p.origin) for p in parts]
            for new, p in zip(fresh, parts, strict=True):
                new.storage.shared = p.storage.shared
            made.append(join(trace, kind, iter(fresh)))
        return made

    def first(self, name: str) -> Any:
        """What a variable was before the loop."""
        return self.made[name] if name in self.made else self.visit.values[name]

    def with_twins(self, carried: Sequence[Any]) -> dict[str, Any]:
        """The variables for values of what is carried."""
        values = dict(zip(self.names, carried, strict=True))
        return {**values, **{name: values[other] for name, other in self.twins.items()}}


class Replay:
    """The last turn of a loop, run once more to get to where it is left.

    start, written: how many nodes and writes there were before it; forks: the branches on the
    way; values: the variables there
    """

    def __init__(
        self, loop: OpenLoop, number: int, start: int, written: int, values: dict[str, Any]
    ) -> None:
        self.key, self.test, forks = loop.exits[number]
        self.frame, self.start, self.values = loop.visit.frame, start, values
        self.written = written
        self.loop, self.forks = loop, list(forks)
        # The tests of loops inside the turn, which are gone through once.
        self.seen: set[Any] = set()


def key_of_place(place: Any) -> Any:
    """A branch's place in a function's code that other traces of it have, too."""
    code, offset = place if len(place) == 2 else (None, None)
    if not isinstance(code, CodeType):
        return None
    return code.co_filename, code.co_firstlineno, code.co_name, offset


def values_of(frame: FrameType, test: LoopTest) -> dict[str, Any]:
    """The variables of a frame that may be read after a test."""
    code = frame.f_code
    names = {*test.live, *code.co_cellvars, *code.co_freevars}
    return {name: value for name, value in frame.f_locals.items() if name in names}


__all__ = ["OpenLoop", "Replay", "Visit", "key_of_place", "values_of"]
