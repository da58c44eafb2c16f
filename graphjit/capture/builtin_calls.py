"""What is called in place of builtins that look at objects, or change containers."""

from __future__ import annotations

import abc
import contextvars
import dataclasses
import enum
import functools
import operator
import os
import sys
import weakref
from typing import Any, Final

from graphjit.core.errors import TracingError, at_user_line

from .access import caller_globals
from .callables import TRUSTED, is_trusted
from .draws import DrawCalls
from .effects import Effect, EffectKind
from .operators import checked_length
from .sources import (
    MISSING,
    AttributeSource,
    CallSource,
    Check,
    ConstSource,
    lasting_source,
)
from .values import PLAIN, is_plain

# Names that every class has of its own, which say nothing of what its objects do.
_OF_CLASSES: Final = frozenset({
    *vars(object), "__module__", "__dict__", "__weakref__", "__slots__", "__abstractmethods__",
    "_abc_impl", "__parameters__", "__orig_bases__", "__protocol_attrs__", "_is_protocol",
    "_is_runtime_protocol", "__annotations__", "__non_callable_proto_members__",
    "__static_attributes__", "__firstlineno__", "__class_getitem__", "__match_args__",
}) - {"__hash__"}  # fmt: skip


class BuiltinCalls(DrawCalls):
    """`_call_` with a builtin's name is called in its place, so that hooks see what it does."""

    # -- methods of containers

    def _changer(self, owner: Any, name: str) -> Any:
        """What is called in place of a method that changes a container from outside."""
        if type(owner) is list and name == "append":
            return lambda value: self._append(owner, [value])
        if type(owner) is list and name == "extend":
            return lambda values: self._append(owner, list(self.one_level(values)))
        if type(owner) is dict and name == "setdefault":

            def setdefault(key: Any, default: Any = None) -> Any:
                if self.contains((key, owner), 0):
                    return self.load_item((owner, key))
                self.store_item((default, owner, key))
                return default

            return setdefault
        if type(owner) is dict and name == "update":

            def update(*args: Any, **kwargs: Any) -> None:
                for key, value in dict(*map(self.with_pairs, args), **kwargs).items():
                    self.store_item((value, owner, key))

            return update

        return functools.partial(self.changed, owner, name)

    def of_container(self, name: str) -> Any:
        """What is called in place of `list.append` and the like, given the container first."""

        def call(owner: Any, *args: Any, **kwargs: Any) -> Any:
            match name:
                case "__getitem__":
                    return self.load_item((owner, *args))
                case "__setitem__":
                    return self.store_item((args[1], owner, args[0]))
                case "__delitem__":
                    return self.delete_item((owner, *args))
            return self.call(getattr(owner, name), *args, **kwargs)

        return call

    def _call_call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return self.call(function, *args, **kwargs)

    def _call_setitem(self, owner: Any, key: Any, value: Any) -> None:
        self.store_item((value, owner, key))

    def _call_getitem(self, owner: Any, key: Any) -> Any:
        return self.load_item((owner, key))

    def _call_delitem(self, owner: Any, key: Any) -> None:
        self.delete_item((owner, key))

    def by_getter(self, getter: Any) -> Any:
        """What is called in place of an operator.attrgetter, itemgetter or methodcaller."""
        kind, (made, args, *_) = type(getter), getter.__reduce__()
        if kind is operator.methodcaller:
            if made is not operator.methodcaller:
                raise self.refusal("calls a methodcaller with named arguments")
            name, *given = args
            return lambda x: self.call(self.load_attribute(x, name), *given)

        def read(x: Any, step: Any) -> Any:
            if kind is operator.itemgetter:
                return self.load_item((x, step))
            for name in step.split("."):
                x = self.load_attribute(x, name)
            return x

        if len(args) == 1:
            return lambda x: read(x, args[0])
        return lambda x: tuple(read(x, step) for step in args)

    def changing(self, function: Any) -> Any:
        """What is called in place of functions of `heapq` and `bisect` that change a list."""

        def call(owner: Any, *args: Any, **kwargs: Any) -> Any:
            if self.is_own(owner):
                return self.of_plain_list(function)(owner, *args, **kwargs)
            if kwargs.get("key") is not None or not all(map(is_plain, (*owner, *args))):
                raise self.refusal(f"calls {function.__name__} with what isn't plain")
            return self.changed(owner, function, *args, **kwargs)

        return call

    def of_plain_list(self, function: Any) -> Any:
        """A function of `heapq` or `bisect`, called with plain values only, also in a list."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._require_no_turn(f"calls {function.__name__}")
            given = [self.shadow(x) if type(x) is list else x for x in args]
            for x in given:
                if not all(map(is_plain, x if type(x) is list else (x,))):
                    raise self.refusal(f"calls {function.__name__} with what isn't plain")
            if kwargs.get("key") is not None:
                kwargs["key"] = self.callee(kwargs["key"])
            return self.watched(function, *given, **kwargs)

        return call

    def _call_globals(self) -> dict[str, Any]:
        names = caller_globals()
        self._register(names, ConstSource(names, "globals()"))
        return names

    # -- context variables

    def context_call(self, variable: contextvars.ContextVar[Any], name: str) -> Any:
        """What is called in place of a context variable's method. What is set during the run is
        in the overlay; what is left of it at the end each call sets.
        """
        source = self.source_of(variable)
        if source is None:
            raise self.refusal("uses a context variable that was reached in a way not followed")
        library = caller_globals().get("__name__", "").partition(".")[0] in TRUSTED
        if library and name != "get":  # such as NumPy's for np.errstate, which code of C reads
            raise self.refusal("sets a library's context variable")

        def get(*default: Any) -> Any:
            found = self.overlay.find(variable, "value")
            if found is not MISSING:
                return found
            if not all(map(is_plain, default)):
                raise self.refusal("reads a context variable, with what isn't plain else")
            way = AttributeSource(source, "get")
            try:
                value = variable.get(*default)
            except LookupError:
                self.guard(Check.ABSENT, CallSource(way, (MISSING,), {}), None)
                raise
            return self.read(value, CallSource(way, default, {}))

        def put(value: Any) -> Any:
            self._require_no_turn("sets a context variable")
            self._require_no_region()
            before = self.overlay.find(variable, "value")
            effect = Effect(EffectKind.CONTEXT, variable, "value", (value,), (), False, source)
            self._alive.append(variable)
            self.overlay.store(variable, effect)
            return _Token(variable, before)

        def reset(token: Any) -> None:
            self._require_no_turn("sets a context variable")
            if type(token) is not _Token or token.variable is not variable:
                raise self.refusal("resets a context variable by a token from outside")
            if token.before is not MISSING:
                put(token.before)
            elif not self.overlay.forget(variable, "value"):
                raise self.refusal("resets a context variable after a call")

        return {"get": get, "set": put, "reset": reset}[name]

    def environment_value(self, key: Any, default: Any = None) -> Any:
        """What `os.environ.get` gives."""
        try:
            return self.load_item((os.environ, key))
        except KeyError:
            return default

    def _call_exc_info(self) -> Any:
        """`sys.exc_info` where nothing is handled."""
        found = sys.exc_info()
        if found != (None, None, None):
            raise self.refusal("asks for the exception that is handled")
        return found

    def _call_exception(self) -> Any:
        """`sys.exception` likewise."""
        return self._call_exc_info()[1]

    def _call_putenv(self, *args: Any) -> None:
        self._change_environment(os.putenv, args)

    def _call_unsetenv(self, *args: Any) -> None:
        self._change_environment(os.unsetenv, args)

    def _change_environment(self, function: Any, args: tuple[Any, ...]) -> None:
        if not all(type(x) in (str, bytes) for x in args):
            raise self.refusal("changes the environment by what isn't plain")
        self._require_no_region()
        self._require_no_turn("changes the environment")
        self.overlay.call(function, args, {})

    def replaced(self, value: Any, /, **changes: Any) -> Any:
        """What `dataclasses.replace` gives."""
        for field in dataclasses.fields(value):
            if not field.init:
                raise self.refusal("replaces a dataclass with fields that it makes itself")
            if field.name not in changes:
                changes[field.name] = self.load_attribute(value, field.name)
        return self.call(type(value), **changes)

    # -- builtins that look at objects

    def _call_getattr(self, owner: Any, name: str, *default: Any) -> Any:
        try:
            return self.load_attribute(owner, name)
        except AttributeError:
            if default:
                return default[0]
            raise

    def _call_hasattr(self, owner: Any, name: str) -> bool:
        try:
            self.load_attribute(owner, name)
        except AttributeError:
            return False
        return True

    def _call_setattr(self, owner: Any, name: str, value: Any) -> None:
        self.store_attribute((value, owner), name)

    def _call_delattr(self, owner: Any, name: str) -> None:
        self.delete_attribute(owner, name)

    def _call_len(self, value: Any) -> int:
        kind = type(value)
        shape = getattr(value, "shape", None) if self._traced(value) else None
        if shape:
            extent: int = shape[0]  # not an int where it is known only at the call
            return extent
        if kind in PLAIN or self._traced(value):
            return len(value)
        function = self.method_of(value, "__len__")
        if function is not None:
            return checked_length(self.call(function, value))
        value = self.merged(value)
        source = self.source_of(value)
        if source is not None:
            self.guard(Check.LENGTH, source, len(value))
        return len(value)

    def _call_isinstance(self, value: Any, kinds: Any) -> bool:
        kinds = self._classes(kinds)
        self._require_plain_classes(kinds, type(value))
        self.guard_type(value)
        self._guard_bases(type(value))
        return isinstance(value, kinds)

    def _classes(self, kinds: Any) -> Any:
        """Classes in tuples, of which each is read."""
        if not isinstance(kinds, tuple):
            return kinds
        return tuple(map(self._classes, self._items(kinds)))

    def _guard_bases(self, kind: type) -> None:
        """Guard that a class goes on being derived from those that it is derived from."""
        if not is_trusted(kind):
            where = AttributeSource(lasting_source(kind, kind.__qualname__), "__mro__")
            self.guard(Check.ITEMS, where, tuple(map(weakref.ref, kind.__mro__)))

    def _require_plain_classes(self, kinds: Any, asked: type) -> None:
        """Refuse classes that say by code of their own what belongs to them. asked: of which
        class it is asked whether it belongs to these.
        """
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            if isinstance(kind, tuple):
                self._require_plain_classes(kind, asked)
            elif (
                not isinstance(kind, type)
                or type(kind) is type
                or issubclass(kind, enum.Enum)
                or (is_trusted(kind) and is_trusted(asked))
            ):
                continue
            elif not (isinstance(kind, abc.ABCMeta) and is_trusted(type(kind))):
                raise self.refusal(f"asks for {kind.__name__}, whose class isn't followed")
            else:
                self._guard_abstract(kind, asked)

    def _guard_abstract(self, kind: type, asked: type) -> None:
        """Guard what an abstract class asks for: who is registered, and methods."""
        # whoever registers a class changes the token
        token = ConstSource(abc.get_cache_token, "abc.get_cache_token")
        self.guard(Check.EQUAL, CallSource(token, (), {}), abc.get_cache_token())
        bases = kind.__mro__[:-1]
        if any("__subclasshook__" in vars(base) for base in bases):
            if not is_trusted(kind):
                raise self.refusal(f"asks for {kind.__name__}, whose class isn't followed")
            names = {n for base in bases for n in vars(base) if n not in _OF_CLASSES}
            for name in sorted(names):
                self.guard_static(asked, name)

    def _call_issubclass(self, kind: Any, kinds: Any) -> bool:
        kinds = self._classes(kinds)
        self._require_plain_classes(kinds, kind if isinstance(kind, type) else type)
        if isinstance(kind, type):
            self._guard_bases(kind)
        return issubclass(kind, kinds)

    def _call_callable(self, value: Any) -> bool:
        if type(value) not in PLAIN and not is_trusted(type(value)):
            self.guard_type(value)
            self.guard_static(type(value), "__call__")
        return callable(value)

    def _call_id(self, value: Any) -> int:
        raise self.refusal("asks for the id of an object")

    def _call_vars(self, *args: Any) -> Any:
        if not args:
            raise self.refusal("asks for its local names")
        return self.load_attribute(args[0], "__dict__")

    def _call_iter(self, value: Any, *sentinel: Any) -> Any:
        if sentinel:
            return iter(self.callee(value), *sentinel)
        found = self.stepped_through(value)
        return iter(self._items(value) if found is None else found)

    def _call_next(self, value: Any, *default: Any) -> Any:
        function = self.method_of(value, "__next__")
        if function is not None:
            return self.call(function, value)
        if self.source_of(value) is not None or self._outside(value):
            raise self.refusal("advances an iterator from outside")
        self._require_no_turn("advances an iterator")
        return next(value, *default)


class _Token:
    """What setting a context variable gives in a run."""

    __slots__ = ("before", "variable")

    def __init__(self, variable: Any, before: Any) -> None:
        self.variable, self.before = variable, before

    def __getattr__(self, name: str) -> Any:
        raise TracingError(at_user_line(f"asks a context variable's token for .{name}"))


__all__ = ["BuiltinCalls"]
