"""Sources, guards and inputs: what a recorder notes of the values that code reads.

Each value read from outside has a source. Numbers, strings, functions and the like get a guard,
arrays are handed to whoever traces, containers and objects get guards as far as they are looked
into. A guard that is missing would be a wrong answer later, so what isn't known is refused.
"""

from __future__ import annotations

import datetime
import enum
import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphjit.core.errors import TracingError, at_user_line, user_line
from graphjit.tensors.apply import current_trace
from graphjit.tensors.tensor import Tensor
from graphjit.tensors.variable import Variable

from .callables import is_trusted
from .effects import DELETED, Effect, EffectKind, Overlay
from .generators import is_generator
from .made_arrays import MadeArrays
from .sources import (
    MISSING,
    AttributeSource,
    CellSource,
    Check,
    Guard,
    ItemSource,
    Source,
    StaticSource,
    lasting_source,
    static_attribute,
)
from .unseen_code import UnseenCode
from .values import CALLABLES, CONTAINERS, PLAIN, is_one_value, is_plain


class Guarding(UnseenCode):
    """The sources and guards of one run, and what classes hold."""

    def __init__(
        self,
        capture: Callable[[np.ndarray[Any, Any], Source], Any],
        traced: Callable[[Any], bool],
        outside: Callable[[Any], bool] = lambda value: False,
        number: Callable[[Any, Source], Any] = lambda value, source: None,
        made: MadeArrays | None = None,
        settle: Callable[[Any], object] = lambda value: None,
        in_region: Callable[[], bool] = lambda: False,
        in_turn: Callable[[], bool] = lambda: False,
        steps_of: Callable[..., Any] = lambda *_: None,
    ) -> None:
        super().__init__()
        self._in_region, self._in_turn, self._steps_of = in_region, in_turn, steps_of
        self.made = made or MadeArrays()
        self._settle = settle
        self._number = number
        self._capture = capture
        self._traced = traced
        self._outside = outside
        self.guards: dict[Any, Guard] = {}
        # Called with each object that was read from outside.
        self.note_outside: Callable[[Any], object] = lambda value: None
        self.failed: TracingError | None = None
        self.closed = False
        # Whether the run failed: what is left of it must do nothing any more.
        self.abandoned = False
        # Whether code was called that may change what is read after it.
        self.opaque = False
        self._root: Any = None
        self._known: dict[int, tuple[Any, Source]] = {}
        self._alive: list[Any] = []
        self.overlay = Overlay()
        # The places that loops carry, where there may be loops.
        self.places: Any = None
        # Containers that C code was given in place of others, what was in them, the others.
        self._shadows: list[tuple[Any, list[Any], Any]] = []
        # By the ids of random generators, or of what has their state: the copies, and they.
        self._generators: dict[int, tuple[Any, Any]] = {}
        # The ids of dicts of which views were asked for, and those of values.
        self._viewed: set[int] = set()
        self._values_viewed: set[int] = set()
        self.drawn: list[str] = []  # the methods by which random numbers were drawn
        self._given: set[int] = set()  # the ids of objects that are arguments
        # What else is an argument or part of one: traced values and containers.
        self.given: Sequence[Any] = ()
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._bound: dict[int, types.CodeType] = {}
        # Globals read before: the value, and what the code went on with.
        self._globals: dict[tuple[int, str], tuple[Any, Any]] = {}
        # Pairs of types that operators compute of without methods written in Python: they are
        # plain, or traced, which the type alone says.
        self._computed: set[tuple[type, type]] = set()
        self._wrappers: dict[int, tuple[Any, Any]] = {}  # of callables that aren't followed
        self._libraries: dict[int, types.ModuleType] = {}  # modules that aren't followed
        self._inner: set[int] = set()  # code of functions that code with hooks makes
        self._cells: dict[int, types.CellType] = {}  # of functions from outside

    def end_if_abandoned(self) -> None:
        """End code that goes on after its run has failed, such as a generator's `finally`."""
        if self.abandoned:
            raise GeneratorExit

    def note_inner(self, code: types.CodeType) -> None:
        """Note that code gets hooks: the functions that it makes are no state."""
        self._alive.append(code)
        self._inner.update(id(c) for c in code.co_consts if type(c) is types.CodeType)

    # -- sources and guards

    def with_hooks(self, function: Any) -> Any:
        """A function of the user's with hooks in it."""
        raise NotImplementedError

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function of Python with hooks in it."""
        return self.callee(function)(*args, **kwargs)

    def refusal(self, what: str) -> TracingError:
        """The error for what can't be followed; noted, for the code may catch it."""
        return self.noted(TracingError(at_user_line(what)))

    def noted(self, error: TracingError) -> TracingError:
        """The error, which ends the run even where the code catches it."""
        if self.failed is None:
            self.failed = error
        return error

    def source_of(self, value: Any) -> Source | None:
        """Where an object was read from; None if it was made meanwhile."""
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0] is value else None

    def _register(self, value: Any, source: Source) -> None:
        self.meet(value if isinstance(value, type) else type(value))
        self.note_outside(value)
        known = self._known.get(id(value))
        if known is None or known[0] is not value:
            self._known[id(value)] = value, source
        elif known[1].key != source.key and not isinstance(value, CALLABLES):
            self.guard(Check.ALIAS, source, known[1])  # two ways to it: it is one object

    def guard(self, check: Check, source: Source, expected: Any) -> None:
        """Ask that a source goes on giving what it gives now."""
        # of two guards on one source: on another source, or on a name that a dict hasn't
        other = expected.key if isinstance(expected, Source) else None
        if type(expected) is str:
            other = expected
        key = check, source.key, other
        if self.opaque and check not in (Check.SAME, Check.REFERENT, Check.ABSENT):
            raise self.refusal("reads what code that shows texts or warnings may have changed")
        if key not in self.guards:
            if check is Check.SAME and isinstance(
                expected, (types.FunctionType, types.CodeType, type)
            ):
                check, expected = Check.REFERENT, weakref.ref(expected)
            self.guards[key] = Guard(check, source, expected, user_line())

    def read(self, value: Any, source: Source) -> Any:
        """What the code goes on with for a value that it read."""
        kind = type(value)
        if kind in (datetime.datetime, datetime.time):
            zone = type(value.tzinfo)
            if not is_trusted(zone) and zone.__module__ != "zoneinfo":
                raise self.refusal(f"reads a time of a {zone.__name__}")
        if kind in PLAIN or issubclass(kind, enum.Enum):
            if kind in (float, int, complex):
                traced = self._number(value, source)
                if traced is not None:
                    return traced
            check = Check.SAME if value is None or kind is bool else Check.EQUAL
            self.guard(check, source, value)
            return value
        if kind is Variable:
            self.guard(Check.REFERENT, source, weakref.ref(value))
            return value
        if kind is Tensor:
            self.guard(Check.TYPE, source, kind)
        elif self._traced(value):
            return value
        if kind is np.ndarray or kind is Tensor:
            captured = self._capture(value, source)
            self._known.setdefault(id(captured), (captured, source))
            return captured
        if kind is tuple and value and all(isinstance(x, type) for x in value):
            self.guard(Check.SAME, source, value)  # which `except` and C code look into
            self._register(value, source)
            return value
        if kind in (tuple, frozenset, slice) and is_plain(value):
            self.guard(Check.EQUAL, source, value)
            return value
        if isinstance(value, CALLABLES) or is_one_value(value):
            self.guard(Check.SAME, source, value)
        elif kind is types.MethodType:
            self.guard(Check.SAME, AttributeSource(source, "__func__"), value.__func__)
            self.read(value.__self__, AttributeSource(source, "__self__"))
            return value
        elif is_trusted(kind) and kind not in CONTAINERS and not is_generator(value):
            self.guard(Check.SAME, source, value)
        else:
            self.guard(Check.TYPE, source, kind)
        self._register(value, source)
        return value

    # -- what was written

    def guard_type(self, value: Any) -> None:
        """Guard that what was read goes on being of its class, which may be set."""
        kind = type(value)
        if kind in PLAIN or is_trusted(kind) or self._traced(value):
            return
        source = self.source_of(value)
        if source is not None:
            self.guard(Check.TYPE, source, kind)

    def is_own(self, owner: Any) -> bool:
        """Whether an object was made meanwhile: no other code has it."""
        return self.source_of(owner) is None and not self._outside(owner)

    def _store(
        self,
        owner: Any,
        kind: EffectKind,
        key: Any,
        value: Any,
        before: Any,
        place: Any = None,
        surely: bool = True,
    ) -> None:
        """Note that a value is stored in what was there before.

        place: the dict that holds the owner's attributes, where there is one. surely: whether
        what the owner has under this key is surely there, and not in its class.
        """
        place = owner if place is None else place
        source = self.source_of(owner)
        if self._in_region():
            self._require_carried(owner, kind, key, place, before)
        read = self.source_of(value) if self._traced(value) else None
        written = self.overlay.find(place, key) is not MISSING
        stored = surely and before is not MISSING and not written
        if source is not None and read is not None and stored:
            steps = {EffectKind.ATTRIBUTE: AttributeSource, EffectKind.ITEM: ItemSource}
            if kind in steps and read.key == steps[kind](source, key).key:
                return  # x.a += 1 puts the same array back
        self._alive += (owner, place)
        gained = before is MISSING or before is None
        self._put(place, Effect(kind, owner, key, (value,), (), gained, source))

    def _put(self, place: Any, effect: Effect) -> str:
        """Store in the overlay, and note the place. Gives its name."""
        overlay, key = self.overlay, effect.key
        overlay.store(place, effect)
        if self.places is None or not _is_seen(effect.kind, place):
            return ""

        def read() -> Any:
            found = overlay.find(place, key)
            return MISSING if found is DELETED else found

        def write(value: Any) -> None:
            overlay.store(place, replace(effect, values=(value,)))

        name: str = self.places.note(
            place, key, read, write, lambda: overlay.holders(place, key)
        )
        return name

    def _require_carried(
        self, owner: Any, kind: EffectKind, key: Any, place: Any, before: Any
    ) -> None:
        """Refuse what is stored in a branch or loop, but for what a loop carries."""
        trace = current_trace.get()
        loops = trace.branches.loops if self.places is not None else None
        if loops is None or not _is_seen(kind, place) or not loops.may_write(trace):
            raise self.refusal("writes outside of it in a branch or loop")
        if loops.has_place(trace, place, key):
            return
        source = self.source_of(owner)
        if self.overlay.find(place, key) is not MISSING or before is MISSING:
            raise self.refusal("writes outside of it in a branch or loop")
        if kind is EffectKind.ATTRIBUTE:
            value = self.load_attribute(owner, key)
        elif kind is EffectKind.CELL:
            value = self.read(before, CellSource(owner, key))
        elif source is not None:
            value = self.read(before, ItemSource(source, key))
        else:
            raise self.refusal("writes outside of it in a branch or loop")
        name = self._put(place, Effect(kind, owner, key, (value,), (), False, source))
        loops.add_place(name, value)

    def _require_own_place(self, owner: Any, held: Any, key: Any, what: str) -> None:
        """Refuse what a turn of a loop stores in a dict that was made meanwhile, or that of an
        object's attributes, where the loop doesn't carry it.
        """
        if self._in_turn():
            trace = current_trace.get()
            loops = trace.branches.loops
            if not loops.is_made_in_turn(trace, owner) and not loops.has_place(
                trace, held, key
            ):
                raise self.refusal(f"stores {what} in a loop")

    def _require_no_region(self) -> None:
        """Refuse what is written in a branch or loop, which may run never or often."""
        if self._in_region():
            raise self.refusal("writes outside of it in a branch or loop")

    def _require_no_turn(self, what: str) -> None:
        """Refuse what a turn of a loop changes besides variables: it is recorded once or
        several times, however often it runs.
        """
        if self._in_turn():
            raise self.refusal(f"{what} in a loop")

    def guard_static(self, kind: type, name: str) -> Any:
        """What a class has stored under a name, or MISSING; from now on under a guard.

        Attributes that are plain values are not guarded here: reading them is.
        """
        static = static_attribute(kind, name)
        if is_trusted(kind):
            return static
        where = lasting_source(kind, kind.__qualname__)
        source = AttributeSource(where, name)
        if static is MISSING:
            asked_of_metaclass = getattr(kind, name, MISSING) is not MISSING
            absent = StaticSource(where, name) if asked_of_metaclass else source
            self.guard(Check.ABSENT, absent, None)
        elif isinstance(static, classmethod):
            self.guard(Check.SAME, AttributeSource(source, "__func__"), static.__func__)
        elif isinstance(static, staticmethod):
            self.guard(Check.SAME, source, static.__func__)
        elif isinstance(static, property):
            self.guard(Check.TYPE, source, type(static))
            if static.fget is not None:
                self.guard(Check.SAME, AttributeSource(source, "fget"), static.fget)
        elif isinstance(static, types.FunctionType):
            self.guard(Check.SAME, source, static)
        elif name.startswith("__") and getattr(kind, name, MISSING) is static:
            self.guard(Check.SAME, source, static)  # a method of C, which may be overridden
        return static

    def method_of(self, value: Any, name: str) -> types.FunctionType | None:
        """A special method of a value's class, if it is written in Python.

        Whatever the class has in its place, or that it has nothing, is under a guard.
        """
        kind = type(value)
        if kind in PLAIN or is_trusted(kind):
            return None
        static = self.guard_static(kind, name)
        return static if isinstance(static, types.FunctionType) else None


def _is_seen(kind: EffectKind, place: Any) -> bool:
    """Whether a loop can carry what is stored: one place, that is there before and after."""
    return kind in (EffectKind.ATTRIBUTE, EffectKind.CELL) or type(place) is dict


def when_closed(*args: Any) -> Any:
    """In place of the functions of a recorder that is closed."""
    raise AssertionError("the recorder is closed")


__all__ = ["Guarding", "when_closed"]
