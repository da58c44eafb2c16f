"""Sources, guards and inputs: what a recorder notes of the values that code reads.

Each value read from outside has a source. Numbers, strings, functions and the like get a guard,
arrays are handed to whoever traces, containers and objects get guards as far as they are looked
into. A guard that is missing would be a wrong answer later, so what isn't known is refused.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import operator
import signal
import sys
import types
import weakref
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from graphjit.core.errors import TracingError, at_user_line, user_line
from graphjit.numpy_protocol.deferred_texts import DeferredText

from .callables import (
    ASKED_BY_C,
    TRUSTED,
    is_trusted,
)
from .effects import DELETED, Effect, EffectKind, Overlay
from .generators import is_generator
from .hooks import Hooks
from .instrument import has_hooks
from .made_arrays import MadeArrays
from .sources import (
    MISSING,
    AttributeSource,
    Check,
    Guard,
    ItemSource,
    Source,
    StaticSource,
    lasting_source,
    static_attribute,
)

PLAIN: Final = frozenset({
    int, float, complex, bool, str, bytes, type(None), types.EllipsisType,
    types.NotImplementedType, range, np.dtype, decimal.Decimal, fractions.Fraction,
    datetime.date, datetime.time, datetime.datetime, datetime.timedelta,
    *(np.dtype(code).type for code in "?bhilqBHILQefdgFDG"), DeferredText,
})  # fmt: skip
CALLABLES: Final = (
    types.FunctionType, types.BuiltinFunctionType, type, np.ufunc, type(np.sum),
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ModuleType,
)  # fmt: skip
CONTAINERS: Final = (list, tuple, dict, set, frozenset)
MAX_ITEMS: Final = 100_000
MAX_DEPTH: Final = 20


class Guarding(Hooks):
    """The sources and guards of one run, and what containers and classes hold."""

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
        self._in_region, self._in_turn, self._steps_of = in_region, in_turn, steps_of
        self.made = made or MadeArrays()
        self._settle = settle
        self._number = number
        self._capture = capture
        self._traced = traced
        self._outside = outside
        self.guards: dict[Any, Guard] = {}
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
        # Containers that C code was given in place of others, what was in them, the others.
        self._shadows: list[tuple[Any, list[Any], Any]] = []
        # By the ids of random generators, or of what has their state: the copies, and they.
        self._generators: dict[int, tuple[Any, Any]] = {}
        # The ids of dicts of which views were asked for, and those of values.
        self._viewed: set[int] = set()
        self._values_viewed: set[int] = set()
        self.drawn: list[str] = []  # the methods by which random numbers were drawn
        self._given: set[int] = set()  # the ids of objects that are arguments
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
        known = self._known.get(id(value))
        if known is None or known[0] is not value:
            self._known[id(value)] = value, source
        elif known[1].key != source.key and not isinstance(value, CALLABLES):
            self.guard(Check.ALIAS, source, known[1])  # two ways to it: it is one object

    def guard(self, check: Check, source: Source, expected: Any) -> None:
        """Ask that a source goes on giving what it gives now."""
        # of two guards on one source: on another source, or on a name that a dict hasn't
        other = expected if type(expected) is str else getattr(expected, "key", None)
        key = check, source.key, other
        if self.opaque and check not in (Check.SAME, Check.REFERENT, Check.ABSENT):
            raise self.refusal("reads what a logging handler may have changed")
        if key not in self.guards:
            if check is Check.SAME and isinstance(
                expected, (types.FunctionType, types.CodeType, type)
            ):
                check, expected = Check.REFERENT, weakref.ref(expected)
            self.guards[key] = Guard(check, source, expected, user_line())

    def read(self, value: Any, source: Source) -> Any:
        """What the code goes on with for a value that it read."""
        kind = type(value)
        if kind in PLAIN or issubclass(kind, enum.Enum):
            if kind in (float, int, complex):
                traced = self._number(value, source)
                if traced is not None:
                    return traced
            check = Check.SAME if value is None or kind is bool else Check.EQUAL
            self.guard(check, source, value)
            return value
        if self._traced(value):
            return value
        if kind is np.ndarray:
            captured = self._capture(value, source)
            self._known.setdefault(id(captured), (captured, source))
            return captured
        if kind in (tuple, frozenset, slice) and is_plain(value):
            self.guard(Check.EQUAL, source, value)
            return value
        if isinstance(value, CALLABLES) or _is_one_value(value):
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

    def _is_own(self, owner: Any) -> bool:
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
        self._require_no_region()
        place = owner if place is None else place
        source = self.source_of(owner)
        read = self.source_of(value) if self._traced(value) else None
        written = self.overlay.find(place, key) is not MISSING
        stored = surely and before is not MISSING and not written
        if source is not None and read is not None and stored:
            steps = {EffectKind.ATTRIBUTE: AttributeSource, EffectKind.ITEM: ItemSource}
            if kind in steps and read.key == steps[kind](source, key).key:
                return  # x.a += 1 puts the same array back
        self._alive += (owner, place)
        gained = before is MISSING or before is None
        self.overlay.store(place, Effect(kind, owner, key, (value,), (), gained, source))

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

    def merged(self, value: Any) -> Any:
        """A container with what was written into it, as the code that wrote it sees it."""
        overlay = self.overlay
        if not overlay or not overlay.owns(value):
            return value
        if id(value) in overlay.copies:
            return overlay.copies[id(value)]
        if not isinstance(value, (list, dict)):
            return value
        source = self.source_of(value)
        assert source is not None
        written = overlay.written.get(id(value), {})
        if isinstance(value, dict):
            self._guard_keys(value, source)
            found = {
                k: written[k] if k in written else self.read(v, ItemSource(source, k))
                for k, v in value.items()
            }
            found |= {k: v for k, v in written.items() if k not in found}
            return _dict_like(value, {k: v for k, v in found.items() if v is not DELETED})
        self.guard(Check.LENGTH, source, len(value))
        items = [
            written[k] if k in written else self.read(x, ItemSource(source, k))
            for k, x in enumerate(value)
        ]
        return items + overlay.appended.get(id(value), [])

    def length_now(self, value: Any) -> int:
        """How long a list or dict is for the code that has written into it."""
        overlay = self.overlay
        copy = overlay.copies.get(id(value))
        if copy is not None:
            return len(copy)
        if not isinstance(value, dict):
            return len(value) + len(overlay.appended.get(id(value), ()))
        written = overlay.written.get(id(value), {})
        new = sum(v is not DELETED and k not in value for k, v in written.items())
        return len(value) + new - sum(v is DELETED and k in value for k, v in written.items())

    def version_of(self, value: Any) -> int:
        """A number that changes when a dict changes its size, or a deque is changed at all."""
        if isinstance(value, dict):
            return self.length_now(value)
        return sum(effect.owner is value for effect in self.overlay.effects)

    def require_not_viewed(self, value: Any, new: bool = True) -> None:
        """Refuse to change a dict of which the code has views, which are what it was. new:
        whether its keys change.
        """
        if id(value) in (self._viewed if new else self._values_viewed):
            raise self.refusal("changes a dict of which there are views")

    def shadow(self, value: Any, depth: int = 0) -> Any:
        """What C code may look into in place of a container: all that is in it was read."""
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return value
        if depth > 50:
            raise self.refusal("a container that holds itself can't be traced")
        if isinstance(value, (list, tuple, dict, set, frozenset, deque)):
            given, value = value, self.merged(value)
            source = self.source_of(value)
            if source is None:
                if self._is_outside(value):
                    raise self.refusal("a container reached in a way that isn't followed")
                found = self._shadow_own(value, depth)
            else:
                found = self._shadow_outside(value, source, depth)
            if found is not given:
                self._shadows.append((found, _contents(found), given))
            return found
        if kind is slice:
            parts = (value.start, value.stop, value.step)
            return slice(*(self.shadow(x, depth + 1) for x in parts))
        return value

    def require_unchanged(self, first: int) -> None:
        """Refuse code that changed what it was given in place of a container from outside.

        first: how many shadows there were before it was given some.
        """
        for shadow, before, _ in self._shadows[first:]:
            now = _contents(shadow)
            if len(now) != len(before) or not all(map(operator.is_, now, before)):
                raise self.refusal("changes a container from outside in a way not followed")

    def translated(self, result: Any, first: int) -> Any:
        """What C code gave, with containers themselves where it was given others.

        first: how many shadows there were before it was given some.
        """
        given = self._shadows[first:]
        if not given:
            return result
        del self._shadows[first:]
        originals = {id(shadow): original for shadow, _, original in given}
        nested = any(id(x) in originals for _, contents, _ in given for x in contents)

        def translate(value: Any, depth: int) -> Any:
            if id(value) in originals:
                return originals[id(value)]
            kind = type(value)
            if depth < MAX_DEPTH and kind in (list, tuple):
                items = [translate(x, depth + 1) for x in value]
                if not all(map(operator.is_, items, value)):
                    if kind is tuple:
                        return tuple(items)
                    value[:] = items
            elif depth < MAX_DEPTH and kind is dict:
                value.update((k, translate(x, depth + 1)) for k, x in list(value.items()))
            elif nested and hasattr(kind, "__next__") and kind is not types.GeneratorType:
                raise self.refusal("steps through containers in containers in C")
            return value

        return translate(result, 0)

    def one_level(self, value: Any) -> Any:
        """A copy of a container whose items are those that it has, for code that hands them on
        and looks into none.
        """
        if not isinstance(value, (list, tuple, dict, deque)):
            return self.shadow(value)
        value = self.merged(value)
        source = self.source_of(value)
        if source is None:
            return self.shadow(value) if self._is_outside(value) else value
        if len(value) > MAX_ITEMS:
            raise self.refusal(f"a container of more than {MAX_ITEMS} items can't be traced")
        if isinstance(value, dict):
            self._guard_keys(value, source)
            found = {k: self.read(v, ItemSource(source, k)) for k, v in value.items()}
            return _dict_like(value, found)
        self.guard(Check.LENGTH, source, len(value))
        items = [self.read(x, ItemSource(source, k)) for k, x in enumerate(value)]
        return _rebuilt(value, items)

    def _is_outside(self, value: Any) -> bool:
        """Whether a container was there before; a constant of the code doesn't count."""
        constant = isinstance(value, (tuple, frozenset)) and is_plain(value)
        return not constant and self._outside(value)

    def _shadow_own(self, value: Any, depth: int) -> Any:
        """A container made meanwhile: the same object, unless something outside is in it."""
        if isinstance(value, dict):
            items = {k: self.shadow(v, depth + 1) for k, v in value.items()}
            same = all(map(operator.is_, items.values(), value.values()))
            return value if same or type(value) is not dict else items
        if isinstance(value, (set, frozenset)):
            return value
        found = [self.shadow(x, depth + 1) for x in value]
        if all(map(operator.is_, found, value)):
            return value
        return _rebuilt(value, found)

    def _shadow_outside(self, value: Any, source: Source, depth: int) -> Any:
        if len(value) > MAX_ITEMS:
            raise self.refusal(f"a container of more than {MAX_ITEMS} items can't be traced")
        if isinstance(value, dict):
            self._guard_keys(value, source)
            items = {
                k: self.shadow(self.read(v, ItemSource(source, k)), depth + 1)
                for k, v in value.items()
            }
            return _dict_like(value, items)
        if isinstance(value, (set, frozenset)):  # itself, for a copy may be in another order
            if not all(map(is_plain, value)):
                raise self.refusal("a set from outside that holds objects can't be traced")
            self.guard(Check.KEYS, source, tuple(value))
            return value
        self.guard(Check.LENGTH, source, len(value))
        found = [
            self.shadow(self.read(x, ItemSource(source, k)), depth + 1)
            for k, x in enumerate(value)
        ]
        return _rebuilt(value, found)

    def _guard_keys(self, value: dict[Any, Any], source: Source) -> None:
        if not all(map(is_plain, value)):
            raise self.refusal("a dict from outside with keys that are objects can't be traced")
        self.guard(Check.KEYS, source, tuple(value))

    def _items(self, value: Any) -> Any:
        """What is iterated over in place of a container; its items stay themselves."""
        if type(value) in PLAIN or self._traced(value):
            return value
        value = self.merged(value)
        source = self.source_of(value)
        if source is None and self._is_outside(value):
            raise self.refusal(f"iterates over a {type(value).__name__} from outside")
        if isinstance(value, dict):
            if source is not None:
                self._guard_keys(value, source)
            return value
        if isinstance(value, (list, tuple, deque)):
            if source is None:
                return value
            self.guard(Check.LENGTH, source, len(value))
            return [self.read(x, ItemSource(source, k)) for k, x in enumerate(value)]
        if isinstance(value, (set, frozenset)):
            return self.shadow(value)
        iterate = self.method_of(value, "__iter__")
        if iterate is not None:
            return self._stepped(self.call(iterate, value))
        if self.method_of(value, "__next__") is not None:
            return self._stepped(value)
        if source is not None and not isinstance(value, types.FunctionType):
            raise self.refusal(f"iterates over a {type(value).__name__} from outside")
        return value

    def _stepped(self, iterator: Any) -> Any:
        """What is iterated over in place of an iterator: hooks see its steps."""
        step = self.method_of(iterator, "__next__")
        if step is None:
            return iterator

        def steps() -> Iterator[Any]:
            while True:
                try:
                    value = self.call(step, iterator)
                except StopIteration:
                    return
                yield value

        return steps()

    # -- code that no hook sees

    def watched(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What C code or a library gives that may call the user's code.

        A TracingError is raised in the user's code where that starts without hooks.
        """
        before = sys.getprofile()
        if before is not None and not isinstance(before, types.FunctionType):
            raise self.refusal("calls code that isn't followed while a profiler runs")

        def watch(frame: types.FrameType, event: str, argument: Any) -> None:
            if before is not None:
                before(frame, event, argument)
            if event == "call" and not self.closed and self._is_unseen(frame):
                name = frame.f_code.co_qualname
                raise self.refusal(f"code that isn't followed calls {name}")

        sys.setprofile(watch)
        try:
            return function(*args, **kwargs)
        finally:
            sys.setprofile(before)

    def _is_unseen(self, frame: types.FrameType) -> bool:
        """Whether a frame that starts is of the user's code, and has no hooks."""
        code = frame.f_code
        made = code.co_qualname.startswith("__create_fn__.<locals>.")  # a dataclass's own
        if has_hooks(code) or code.co_name == "__del__" or made:
            return False
        name = frame.f_globals.get("__name__") or ""
        top = name.partition(".")[0]
        if top in TRUSTED or top in sys.stdlib_module_names or top.startswith("namedtuple_"):
            return False
        handlers = map(signal.getsignal, signal.valid_signals())
        return all(getattr(h, "__code__", None) is not code for h in handlers)

    def reaches_code(self, value: Any, depth: int = 0) -> bool:
        """Whether C code that is given a value may call the user's code."""
        kind = type(value)
        if kind in PLAIN or kind is np.ndarray or self._traced(value):
            return False
        if kind in CONTAINERS or kind is deque:
            if len(value) > MAX_ITEMS or depth > MAX_DEPTH:
                return True
            return any(self.reaches_code(x, depth + 1) for x in _contents(value))
        if kind is types.FunctionType:
            return not is_trusted(value) and not has_hooks(value.__code__)
        if kind is types.MethodType:
            return self.reaches_code(value.__func__)
        if isinstance(value, type):
            return not is_trusted(value)
        return not is_trusted(kind)

    def require_no_methods(self, value: Any, depth: int = 0) -> None:
        """Refuse objects that C code would ask by methods written in Python."""
        kind = type(value)
        if kind in PLAIN or self._traced(value) or isinstance(value, CALLABLES):
            return
        if kind in CONTAINERS or isinstance(value, deque):
            if depth < MAX_DEPTH and len(value) <= MAX_ITEMS:
                items = (*value, *value.values()) if isinstance(value, dict) else value
                for x in items:
                    self.require_no_methods(x, depth + 1)
            return
        if is_trusted(kind) or isinstance(value, (enum.Enum, BaseException)):
            return
        for name in ASKED_BY_C:
            if isinstance(static_attribute(kind, name), types.FunctionType):
                raise self.refusal(
                    f"hands a {kind.__name__} to code that isn't followed and may call {name}"
                )

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


def _closed(*args: Any) -> Any:
    """In place of the functions of a recorder that is closed."""
    raise AssertionError("the recorder is closed")


# Types whose objects are values, which objects of classes derived from them are, too.
_VALUES: Final = (int, float, complex, str, bytes, BaseException)


def _is_one_value(value: Any) -> bool:
    """Whether an object of a class of the user's is a number, a text, or a tuple of such."""
    if is_trusted(type(value)) or isinstance(value, np.generic):
        return False
    if isinstance(value, (tuple, frozenset)):
        return all(map(is_plain, value))
    return isinstance(value, _VALUES)


def container_like(owner: Any, found: Any) -> Any:
    """A container of the type of another."""
    if isinstance(owner, deque):
        return deque(found, owner.maxlen)
    if isinstance(owner, defaultdict):
        return defaultdict(owner.default_factory, found)
    return type(owner)(found)


def _dict_like(owner: dict[Any, Any], found: dict[Any, Any]) -> dict[Any, Any]:
    """A dict of the type of another, where that is one of Python's."""
    known = type(owner) in (defaultdict, OrderedDict, Counter)
    return container_like(owner, found) if known else found


def is_plain(value: Any) -> bool:
    """Whether a value, with all that is in it, can be compared and can't change."""
    kind = type(value)
    if kind in PLAIN or issubclass(kind, enum.Enum):
        return True
    if kind in (tuple, frozenset, set):
        return all(map(is_plain, value))
    if kind is slice:
        return all(map(is_plain, (value.start, value.stop, value.step)))
    return False


def _contents(value: Any) -> list[Any]:
    """What is in a list, deque or dict, keys included."""
    return [*value, *value.values()] if isinstance(value, dict) else list(value)


def _rebuilt(value: Any, items: list[Any]) -> Any:
    kind = type(value)
    if kind in (list, tuple):
        return kind(items)
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make(items)
    if isinstance(value, deque):
        return deque(items, value.maxlen)
    return items if isinstance(value, list) else tuple(items)


__all__ = [
    "CALLABLES",
    "CONTAINERS",
    "MAX_ITEMS",
    "PLAIN",
    "Guarding",
    "container_like",
    "is_plain",
]
