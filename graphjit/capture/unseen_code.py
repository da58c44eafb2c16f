"""Code of the user's that no hook sees: what may start it, and the watch that refuses it.

Hooks follow what code calls. Code of C and of libraries calls functions that it was given, and
asks objects by their special methods; code that starts in that way runs as it is, without
hooks, and what it reads would be frozen. Where that may come, frames that start are watched.
"""

from __future__ import annotations

import enum
import functools
import gc
import signal
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from graphjit.core.errors import TracingError
from graphjit.core.static_lookup import own_attributes, underlying

from .callables import ASKED_BY_C, TRUSTED, is_library_ufunc, is_trusted
from .generators import is_generator
from .hooks import Hooks
from .instrument import has_hooks
from .library_objects import holds_state
from .sources import CellSource, Source, static_attribute
from .values import CALLABLES, CONTAINERS, MAX_DEPTH, MAX_ITEMS, PLAIN, contents

# Special methods that code with hooks calls itself, or nothing calls in a run.
_FOLLOWED: Final = frozenset({
    "__init__", "__new__", "__call__", "__post_init__", "__getattr__", "__getattribute__",
    "__setattr__", "__delattr__", "__enter__", "__exit__", "__set_name__", "__init_subclass__",
    "__del__", "__getstate__", "__setstate__", "__reduce__", "__reduce_ex__", "__getnewargs__",
    "__replace__", "__module__", "__doc__", "__annotations__", "__dict__", "__weakref__",
    "__qualname__", "__slots__", "__match_args__",
})  # fmt: skip
_WRITTEN: Final = (types.FunctionType, property, classmethod, staticmethod)

# What code that dataclasses write is called for that only reads objects.
_ASKED: Final = frozenset({
    "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__repr__",
})  # fmt: skip


class UnseenCode(Hooks):
    """The watch of one run."""

    closed: bool
    _traced: Callable[[Any], bool]
    _outside: Callable[[Any], bool]
    # What ends the watch, where there is one, and whether it looks away.
    _end_watch: Callable[[], None] | None = None
    _looks_away = False

    def __init__(self) -> None:
        self._met: set[type] = set()
        self._harmless: dict[int, Any] = {}  # iterators that call no code of the user's

    def refusal(self, what: str) -> TracingError:
        """The error for what can't be followed; noted, for the code may catch it."""
        raise NotImplementedError

    def guard_static(self, kind: type, name: str) -> Any:
        """What a class has stored under a name, or MISSING; from now on under a guard."""
        raise NotImplementedError

    def guard_unasked(self, value: Any) -> None:
        """Guard that the class of an object goes on having no special methods but those that it
        has, where code of C asks it for them.
        """
        kind = value if isinstance(value, type) else type(value)
        if kind in PLAIN or is_trusted(kind) or isinstance(value, (enum.Enum, BaseException)):
            return
        for name in ASKED_BY_C:
            self.guard_static(kind, name)

    def source_of(self, value: Any) -> Source | None:
        """Where an object was read from; None if it was made meanwhile."""
        raise NotImplementedError

    def meet(self, kind: type) -> None:
        """Watch for the rest of the run if objects of a class may be asked by its methods."""
        if self._end_watch is None and kind not in self._met:
            self._met.add(kind)
            if not is_trusted(kind) and _has_special_methods(kind):
                self._watch()

    def watched(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What C code or a library gives that may call the user's code.

        A TracingError is raised in the user's code where that starts without hooks.
        """
        if self._end_watch is not None:
            return function(*args, **kwargs)
        self._watch()
        try:
            return function(*args, **kwargs)
        finally:
            self.end_watch()

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """A context in which code may start without hooks."""
        before, self._looks_away = self._looks_away, True
        try:
            yield
        finally:
            self._looks_away = before

    def end_watch(self) -> None:
        """End the watch, if there is one."""
        end, self._end_watch = self._end_watch, None
        if end is not None:
            end()

    def note_holder(self, made: Any, reaches: bool) -> None:
        """Note what a library's function made, which may keep what it was given: an iterator,
        say, that calls it later. reaches: whether that was code of the user's.
        """
        kind = type(made)
        if hasattr(kind, "__next__") and not reaches:
            self._harmless[id(made)] = made
        elif reaches and self._end_watch is None and self._may_hold(made):
            self._watch()

    def _may_hold(self, made: Any) -> bool:
        kind = type(made)
        known = kind in PLAIN or kind in CONTAINERS or kind is np.ndarray
        return not (known or self._traced(made) or isinstance(made, CALLABLES))

    def _watch(self) -> None:
        before = sys.getprofile()
        if before is not None and not isinstance(before, types.FunctionType):
            raise self.refusal("calls code that isn't followed while a profiler runs")
        seen: dict[int, types.CodeType] = {}

        def watch(frame: types.FrameType, event: str, argument: Any) -> None:
            if before is not None:
                before(frame, event, argument)
            if event != "call" or self.closed or self._looks_away:
                return
            code = frame.f_code
            if id(code) in seen:
                return
            if _is_generated(code):  # by dataclasses: what it reads of objects is unseen
                asks = code.co_name in _ASKED
                if asks and any(map(self._is_from_outside, frame.f_locals.values())):
                    raise self.refusal(f"code that isn't followed calls {code.co_name}")
            elif not _is_unseen(frame):
                seen[id(code)] = code
            elif not _is_importing(frame):
                raise self.refusal(f"code that isn't followed calls {code.co_qualname}")

        sys.setprofile(watch)
        self._end_watch = lambda: sys.setprofile(before)

    def _is_from_outside(self, value: Any) -> bool:
        return self.source_of(value) is not None or self._outside(value)

    def reaches_code(self, value: Any, depth: int = 0) -> bool:
        """Whether C code that is given a value may call the user's code."""
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return False
        if kind is np.ndarray:
            return bool(value.dtype.hasobject)
        inside = depth + 1
        if kind in CONTAINERS or kind is deque:
            if len(value) > MAX_ITEMS or depth > MAX_DEPTH:
                return True
            return any(self.reaches_code(x, inside) for x in contents(value))
        if kind is slice:
            return any(
                self.reaches_code(x, inside) for x in (value.start, value.stop, value.step)
            )
        if isinstance(value, type):
            return not is_trusted(value)
        if isinstance(value, np.ufunc):
            return not is_library_ufunc(value)
        if kind is types.FunctionType and not is_trusted(value):
            return not has_hooks(value.__code__)
        if not is_trusted(kind) or depth > MAX_DEPTH:
            return True
        if kind is types.MethodType and self.reaches_code(value.__self__, inside):
            return True
        if kind in (types.BuiltinFunctionType, types.MethodWrapperType):
            owner = value.__self__
            known = owner is None or isinstance(owner, types.ModuleType)
            return not known and self.reaches_code(owner, inside)
        if hasattr(kind, "__next__") and id(value) not in self._harmless:
            return not (is_generator(value) and has_hooks(value.gi_code))
        return self.wraps_code(value, depth)

    def wraps_code(self, value: Any, depth: int = 0) -> bool:
        """Whether a library's object was made around others, which may be the user's."""
        function = underlying(value)
        if isinstance(function, types.FunctionType):
            held = [CellSource(cell, "")() for cell in function.__closure__ or ()]
        elif isinstance(function, functools.partial):
            held = [function.func, *function.args, *function.keywords.values()]
        elif isinstance(function, np.ufunc):
            return not is_library_ufunc(function)
        else:
            held = [x for x in own_attributes(function).values() if callable(x)]
        return any(self.reaches_code(x, depth + 1) for x in held)

    def require_no_state(self, value: Any) -> None:
        """Refuse an object of a library from outside that holds what may change."""
        kind = type(value)
        known = kind in PLAIN or isinstance(value, (*CONTAINERS, deque))
        if known or not (is_trusted(kind) or kind is types.SimpleNamespace):
            return
        outside = self.source_of(value) is not None or self._outside(value)
        if outside and holds_state(value):
            raise self.refusal(
                f"hands a {kind.__name__}, which may change, to code that isn't followed"
            )

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
        self.require_no_state(value)
        if is_trusted(kind) or isinstance(value, (enum.Enum, BaseException)):
            return
        for name in ASKED_BY_C:
            if isinstance(static_attribute(kind, name), types.FunctionType):
                raise self.refusal(
                    f"hands a {kind.__name__} to code that isn't followed and may call {name}"
                )
        self.guard_unasked(value)


def _is_unseen(frame: types.FrameType) -> bool:
    """Whether a frame that starts is of the user's code, and has no hooks."""
    code = frame.f_code
    if has_hooks(code):
        return False
    name = frame.f_globals.get("__name__") or ""
    top = name.partition(".")[0]
    if top in TRUSTED or top in sys.stdlib_module_names or top.startswith("namedtuple_"):
        return False
    if top == "llvmlite":  # which compiles what the trace wants the value of
        return False
    return not _is_interrupting(frame)


def _is_interrupting(frame: types.FrameType | None) -> bool:
    """Whether a frame belongs to what the interpreter calls at any time: handlers of signals,
    callbacks of the garbage collector, finalizers.
    """
    handlers = [*map(signal.getsignal, signal.valid_signals()), *gc.callbacks]
    codes = {getattr(underlying(h), "__code__", None) for h in handlers} - {None}
    while frame is not None:
        code = frame.f_code
        if code in codes or code.co_name == "__del__":
            return True
        if code.co_qualname == "finalize.__call__" and code.co_filename == weakref.__file__:
            return True
        frame = frame.f_back
    return False


def _is_importing(frame: types.FrameType | None) -> bool:
    """Whether a module is being imported, which starts code of others."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


def _is_generated(code: types.CodeType) -> bool:
    """Whether code is what `dataclasses` writes."""
    return code.co_qualname.startswith("__create_fn__.<locals>.")


def _has_special_methods(kind: type) -> bool:
    """Whether a class of the user's has special methods in Python that code of C may call."""
    metaclass = type(kind)
    if not is_trusted(metaclass) and _has_special_methods(metaclass):
        return True
    return any(
        _is_special(name) and isinstance(value, _WRITTEN) and not _is_library_code(value)
        for base in kind.__mro__
        if not is_trusted(base)
        for name, value in vars(base).items()
    )


def _is_special(name: str) -> bool:
    named = name.startswith("__") and name.endswith("__") and name not in _FOLLOWED
    return named or name == "_missing_"


def _is_library_code(value: Any) -> bool:
    function = underlying(value)
    if not isinstance(function, types.FunctionType):
        return False
    return is_trusted(function)


__all__ = ["UnseenCode"]
