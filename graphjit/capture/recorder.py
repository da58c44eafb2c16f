"""Run a function and note what it reads: which of it must stay so for the run to be repeated.

The recorder is the hooks of all Python code that the function reaches. The classes that it is
made of follow what code reads (`guarding`, `access`) and asks of objects (`operators`); here is
what it calls. What can't be followed is refused.
"""

from __future__ import annotations

import builtins
import enum
import functools
import types
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from .callables import (
    HIGHER_ORDER,
    ITERATE_ONLY,
    READERS,
    STATEFUL,
    is_known,
    is_trusted,
    package_of,
)
from .guarding import CALLABLES, CONTAINERS, PLAIN, _closed
from .instrument import CannotInstrument, bind, globals_read, has_hooks, instrumented
from .operators import OperatorHooks, checked_length
from .sources import (
    AttributeSource,
    Check,
    ItemSource,
    Source,
    global_source,
    lasting_source,
    static_attribute,
)

# Objects of these change only in ways that are noticed: variables, random generators.
_ARRAY_PACKAGES: Final = frozenset({"numpy", "scipy", "graphjit", "ml_dtypes", "re"})


class Recorder(OperatorHooks):
    """The hooks of one run.

    capture: is given each ndarray read and its source, and gives what the code goes on with.
    traced: whether a value is one that `capture` or what traces made. outside: whether an
    object is known to have been there before. guards: what must hold for another run to read
    the same. failed: the first refusal.
    """

    # -- running

    def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a function with all Python code that it reaches instrumented."""
        self._root = getattr(function, "__func__", function)
        owner = getattr(function, "__self__", function)
        if not isinstance(owner, (*CALLABLES, types.ModuleType)):
            self._register(owner, lasting_source(owner, "self"))
        try:
            value = self.callee(function)(*args, **kwargs)
        except BaseException:
            self.failed = None
            raise
        finally:
            self._close()
        failed, self.failed = self.failed, None
        if failed is not None:
            raise failed
        return value

    def _close(self) -> None:
        """Let go of all objects.

        Code with hooks refers to the recorder and may live on, in a generator or a traceback,
        and the garbage collector doesn't look into code.
        """
        self.closed = True
        self._capture = self._traced = self._outside = self._number = _closed
        self._root = None
        for table in (
            self._known, self._copies, self._bound, self._cells, self._globals,
            self._wrappers, self._libraries,
        ):  # fmt: skip
            table.clear()
        self._alive.clear()

    def argument(self, value: Any, source: Source) -> None:
        """Say where an argument that is an object comes from."""
        self._register(value, source)

    # -- calls

    def callee(self, function: Any) -> Any:
        if self.closed:
            return function
        known = self._wrappers.get(id(function))
        if known is not None and known[0] is function:
            return known[1]
        found = self._called_instead(function)
        if isinstance(function, (types.FunctionType, np.ufunc, type(np.sum))) and (
            type(function) is not types.FunctionType or is_trusted(function)
        ):
            self._wrappers[id(function)] = function, found
        return found

    def _called_instead(self, function: Any) -> Any:
        kind = type(function)
        if kind is types.FunctionType:
            if function in STATEFUL:
                raise self.refusal(f"calls {function.__name__}, which reads NumPy's own state")
            return self._library(function) if is_trusted(function) else self._copy(function)
        if kind is types.MethodType:
            return self._method(function)
        if kind is functools.partial:
            return self._partial(function)
        inner = getattr(function, "python_function", None)
        if inner is not None and is_trusted(kind):
            return self._decorated(inner)
        if isinstance(function, type):
            return self._class(function)
        if isinstance(function, (types.BuiltinFunctionType, types.MethodWrapperType)):
            return self._builtin(function)
        if isinstance(function, np.vectorize):
            raise self.refusal("calls an np.vectorize, which isn't followed")
        if is_known(function) or (
            is_trusted(kind) and kind.__module__ != "functools" and kind is not np.ufunc
        ):
            return self._library(function)
        call = self.method_of(function, "__call__")
        if call is not None:
            return types.MethodType(self._copy(call), function)
        raise self.refusal(f"calls a {kind.__name__}, which isn't followed")

    def _copy(self, function: types.FunctionType) -> Any:
        """A function of the user's with hooks in it."""
        known = self._copies.get(id(function))
        if known is not None and known[0] is function:
            return known[1]
        code = function.__code__
        if has_hooks(code):
            return function
        bound = self._bound.get(id(code))
        if bound is None:
            try:
                bound = self._bound[id(code)] = bind(code, self)
            except CannotInstrument as error:
                raise self.refusal(f"{function.__qualname__}: {error}") from None
            self._alive.append(code)
            self._inner.update(id(c) for c in code.co_consts if type(c) is types.CodeType)
        copy = instrumented(function, bound)
        made = (
            id(code) in self._inner
            and self.source_of(function) is None
            and not self._outside(function)
        )
        if not made:
            if function is not self._root:
                where = self.source_of(function) or lasting_source(
                    function, function.__qualname__
                )
                self.guard(Check.SAME, AttributeSource(where, "__code__"), code)
            names = function.__globals__
            for name in globals_read(bound):  # reading what isn't there calls no hook
                if name not in names and name not in vars(builtins):
                    self.guard(Check.ABSENT, global_source(names, name), None)
                    self.guard(Check.ABSENT, global_source(vars(builtins), name), None)
            self._cells.update((id(cell), cell) for cell in function.__closure__ or ())
            self._defaults(function, copy)
            self._copies[id(function)] = function, copy
        return copy

    def _defaults(self, function: types.FunctionType, copy: types.FunctionType) -> None:
        where = lasting_source(function, function.__qualname__)
        if function.__defaults__:
            source: Source = AttributeSource(where, "__defaults__")
            copy.__defaults__ = tuple(
                self.read(x, ItemSource(source, k)) for k, x in enumerate(function.__defaults__)
            )
        if function.__kwdefaults__:
            source = AttributeSource(where, "__kwdefaults__")
            copy.__kwdefaults__ = {
                k: self.read(x, ItemSource(source, k))
                for k, x in function.__kwdefaults__.items()
            }

    def _decorated(self, inner: Any) -> Any:
        """A function that is decorated, too: it is part of the trace."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if "out" in kwargs:
                raise self.refusal("out= of a decorated function called in a traced one")
            return self.call(inner, *args, **kwargs)

        return call

    def _method(self, method: types.MethodType) -> Any:
        function = method.__func__
        inner = getattr(function, "python_function", None)
        if inner is not None:
            function = inner
        if isinstance(function, types.FunctionType) and not is_trusted(function):
            return types.MethodType(self._copy(function), method.__self__)
        return self._library(method)

    def _partial(self, function: functools.partial[Any]) -> Any:
        source = self.source_of(function)
        inner, args, named = function.func, function.args, function.keywords
        if source is not None:
            inner = self.read(inner, AttributeSource(source, "func"))
            args = tuple(
                self.read(x, ItemSource(AttributeSource(source, "args"), k))
                for k, x in enumerate(args)
            )
            self.guard(Check.LENGTH, AttributeSource(source, "args"), len(args))
            self.guard(Check.KEYS, AttributeSource(source, "keywords"), tuple(named))
            named = {
                k: self.read(x, ItemSource(AttributeSource(source, "keywords"), k))
                for k, x in named.items()
            }
        called = self.callee(inner)
        return lambda *more, **others: called(*args, *more, **{**named, **others})

    def _class(self, kind: type) -> Any:
        if kind is super:
            return kind
        if kind is type:
            return lambda *args: self._type(*args)
        if is_trusted(kind):
            return self._library(kind)
        if issubclass(kind, (BaseException, enum.Enum)):
            return kind
        maker = self.guard_static(kind, "__new__")
        start = self.guard_static(kind, "__init__")
        if type(kind) is not type and isinstance(
            static_attribute(type(kind), "__call__"), types.FunctionType
        ):
            raise self.refusal(f"makes a {kind.__name__}, whose class isn't followed")
        new = maker.__func__ if isinstance(maker, staticmethod) else maker
        if not isinstance(new, types.FunctionType) and not isinstance(
            start, types.FunctionType
        ):
            return self._library(kind)

        def make(*args: Any, **kwargs: Any) -> Any:
            if isinstance(new, types.FunctionType):
                made = self.call(new, kind, *args, **kwargs)
            elif kind.__new__ is object.__new__:
                made = object.__new__(kind)
            else:
                made = kind.__new__(kind, *map(self.shadow, args), **kwargs)
            if isinstance(made, kind) and isinstance(start, types.FunctionType):
                self.call(start, made, *args, **kwargs)
            return made

        return make

    def _type(self, *args: Any) -> Any:
        if len(args) != 1:
            raise self.refusal("makes a class, which can't be traced")
        return getattr(args[0], "__class__", type(args[0]))

    def _library(self, function: Any) -> Any:
        """A function of a library or of C that is known: it sees containers that were read."""
        hands_on = isinstance(function, type) and function in ITERATE_ONLY
        asks = not (hands_on or package_of(function) in ("dataclasses", "typing"))

        def call(*args: Any, **kwargs: Any) -> Any:
            given = [self._handed(x) for x in args]
            named = {k: self._handed(x) for k, x in kwargs.items()}
            if not hands_on:
                for x in given:
                    if isinstance(
                        static_attribute(type(x), "__post_init__"), types.FunctionType
                    ):
                        raise self.refusal(f"hands on a {type(x).__name__}: __post_init__")
            if asks:
                for x in (*given, *named.values()):
                    self.require_no_methods(x)
            return function(*given, **named)

        return call

    def _handed(self, value: Any) -> Any:
        """What a library gets for an argument."""
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return value
        if isinstance(value, (*CONTAINERS, deque, slice)):
            return self.shadow(value)
        if kind is types.FunctionType and not is_trusted(value):
            return self._copy(value)
        if kind is types.MethodType:
            return self._method(value)
        outside = self.source_of(value) is not None or self._outside(value)
        if outside and hasattr(kind, "__next__"):
            raise self.refusal("advances an iterator from outside")
        if outside and not isinstance(value, CALLABLES) and not is_trusted(kind):
            raise self.refusal(
                f"hands a {kind.__name__} from outside to code that isn't followed"
            )
        return value

    def _builtin(self, function: Any) -> Any:
        owner = getattr(function, "__self__", None)
        if isinstance(owner, np.ufunc):  # np.add.reduce
            if is_known(owner):
                return self._library(function)
            raise self.refusal("calls a ufunc, of which nothing is known")
        special = getattr(self, "_call_" + function.__name__, None)
        if special is not None and isinstance(owner, types.ModuleType):
            return special
        if function in HIGHER_ORDER:
            return self._library(function)
        if isinstance(owner, (types.ModuleType, type, type(None))):
            if is_known(function):
                return self._library(function)
            name = f"{getattr(owner, '__name__', '')}.{function.__name__}".lstrip(".")
            raise self.refusal(f"calls {name}, of which nothing is known")
        if self.source_of(owner) is None:
            if self._outside(owner):
                raise self.refusal(
                    f"calls .{function.__name__} of what was reached in a way not followed"
                )
            return function if type(owner) in PLAIN else self._library(function)
        if isinstance(owner, (list, tuple, dict, set, frozenset, deque)):
            if function.__name__ in READERS:
                return self._library(getattr(self.shadow(owner), function.__name__))
            return function  # it changes the container, which is seen afterwards
        if type(owner) in PLAIN or package_of(type(owner)) in _ARRAY_PACKAGES:
            return self._library(function)
        raise self.refusal(
            f"calls .{function.__name__} of a {type(owner).__name__}, of which nothing is known"
        )

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

    def _call_len(self, value: Any) -> int:
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return len(value)
        function = self.method_of(value, "__len__")
        if function is not None:
            return checked_length(self.call(function, value))
        source = self.source_of(value)
        if source is not None:
            self.guard(Check.LENGTH, source, len(value))
        return len(value)

    def _call_isinstance(self, value: Any, kinds: Any) -> bool:
        self._require_plain_classes(kinds)
        return isinstance(value, kinds)

    def _require_plain_classes(self, kinds: Any) -> None:
        """Refuse classes that say by code of their own, or a register, what belongs to them."""
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            if isinstance(kind, tuple):
                self._require_plain_classes(kind)
            elif (
                isinstance(kind, type)
                and type(kind) is not type
                and not is_trusted(kind)
                and not issubclass(kind, enum.Enum)
            ):
                raise self.refusal(f"asks for {kind.__name__}, whose class isn't followed")

    def _call_issubclass(self, kind: Any, kinds: Any) -> bool:
        self._require_plain_classes(kinds)
        return issubclass(kind, kinds)

    def _call_callable(self, value: Any) -> bool:
        return callable(value)

    def _call_id(self, value: Any) -> int:
        raise self.refusal("asks for the id of an object")

    def _call_vars(self, *args: Any) -> Any:
        if not args:
            raise self.refusal("asks for its local names")
        return self.load_attribute(args[0], "__dict__")

    def _call_iter(self, value: Any, *sentinel: Any) -> Any:
        return iter(self.callee(value), *sentinel) if sentinel else iter(self._items(value))

    def _call_next(self, value: Any, *default: Any) -> Any:
        function = self.method_of(value, "__next__")
        if function is not None:
            return self.call(function, value)
        if self.source_of(value) is not None or self._outside(value):
            raise self.refusal("advances an iterator from outside")
        return next(value, *default)


__all__ = ["PLAIN", "Recorder"]
