"""Run a function and note what it reads: which of it must stay so for the run to be repeated.

The recorder is the hooks of all Python code that the function reaches. The classes that it is
made of follow what code reads (`guarding`, `access`) and asks of objects (`operators`); here is
what it calls. What can't be followed is refused.
"""

from __future__ import annotations

import builtins
import contextvars
import dataclasses
import enum
import functools
import inspect
import os
import types
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from graphjit.core import float_errors
from graphjit.ir.compile_log import collector_paused
from graphjit.tensors.apply import current_trace

from .callables import (
    GETTERS,
    HANDING_ON,
    HIGHER_ORDER,
    READERS,
    is_known,
    is_made_of_another,
    is_stateful,
    is_trusted,
    package_of,
)
from .effects import Effect, EffectKind
from .guarding import when_closed
from .instrument import CannotInstrument, bind, globals_read, has_hooks, instrumented
from .library_calls import LibraryCalls
from .operators import ErrorState
from .pending_generators import is_generator_expression
from .sources import (
    AttributeSource,
    CallSource,
    Check,
    ConstSource,
    ItemSource,
    Source,
    global_source,
    lasting_source,
    static_attribute,
)
from .values import CALLABLES, CONTAINERS, PLAIN, is_plain

# Objects of these change only in ways that are noticed: variables, random generators.
_ARRAY_PACKAGES: Final = frozenset({"numpy", "scipy", "graphjit", "ml_dtypes", "re"})


_SEARCHES: Final = ("count", "index", "remove")
_KEEPING: Final = ("append", "appendleft", "insert")


# Methods of classes that tell nothing of an object's attributes.
_OF_EVERY_OBJECT: Final = frozenset({
    "__init__", "__new__", "__eq__", "__ne__", "__hash__", "__str__", "__repr__", "__format__",
    "__call__", "__init_subclass__", "__setattr__", "__delattr__", "__lt__", "__le__", "__gt__",
    "__ge__", "__or__", "__ror__",
})  # fmt: skip


class Recorder(LibraryCalls):
    """The hooks of one run.

    capture: is given each ndarray read and its source, and gives what the code goes on with.
    traced: whether a value is one that `capture` or what traces made. outside: whether an
    object is known to have been there before. settle: is told that what was changed until now
    is to stay. in_region, in_turn: whether a branch or loop of the graph is traced, and whether
    one of Python's own is. steps_of: gives what a loop over a value, or over what a function
    gives for arguments, steps through, if its steps are to be seen. guards: what must hold for
    another run to read the same. effects: what each run does outside. failed: the first
    refusal.
    """

    effects: Sequence[Effect] = ()
    # Where lists, dicts and the dicts of attributes come from that are read or written.
    containers: Sequence[Source] = ()
    # By ids: objects that were read, and where from; until `forget`.
    read_from: Mapping[int, tuple[Any, Source]] = types.MappingProxyType({})

    # -- running

    def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call a function with all Python code that it reaches instrumented."""
        self._root = getattr(function, "__func__", function)
        owner = getattr(function, "__self__", function)
        if not isinstance(owner, (*CALLABLES, types.ModuleType)):
            self._register(owner, lasting_source(owner, "self"))
        try:
            with float_errors.kept(), collector_paused():
                value = self.callee(function)(*args, **kwargs)
            self._require_apart()
            self.containers = self._container_sources()
            self.read_from = dict(self._known)
        except BaseException:
            self.failed, self.abandoned = None, True
            raise
        finally:
            self.end_watch()
            self.effects = self.overlay.effects
            self._close()
        failed, self.failed = self.failed, None
        if failed is not None:
            self.abandoned = True
            raise failed
        return value

    def forget(self) -> None:
        """Let go of the objects that were read."""
        self.read_from = types.MappingProxyType({})

    def _require_apart(self) -> None:
        """Guards that objects of which some are written stay different ones."""
        effects = [e for e in self.overlay.effects if e.source is not None]
        named = [e for e in effects if e.kind is EffectKind.ATTRIBUTE]
        kinds = [*(type(e.owner) for e in effects), *([dict] if named else ())]
        for kind in dict.fromkeys(kinds):
            if kind is type:
                continue
            known = self._known.values()
            found = {id(x): source for x, source in known if type(x) is kind}
            for e in named if kind is dict and found else ():  # the dicts of attributes
                place = getattr(e.owner, "__dict__", None)
                if type(place) is dict and e.source is not None:
                    found.setdefault(id(place), AttributeSource(e.source, "__dict__"))
            if len(found) > 1:
                sources = tuple(found.values())
                self.guard(Check.APART, sources[0], sources)

    def _container_sources(self) -> list[Source]:
        """Where containers come from that an argument of the function may be, too."""
        found: list[Source] = []
        for x, source in self._known.values():
            if isinstance(x, (list, dict, set, deque)):
                found.append(source)
            elif not isinstance(x, CALLABLES) and type(getattr(x, "__dict__", None)) is dict:
                found.append(AttributeSource(source, "__dict__"))
            elif dataclasses.is_dataclass(type(x)):  # with slots
                found.append(source)
        for e in self.overlay.effects:
            if e.kind is EffectKind.ATTRIBUTE and e.source is not None:
                found += [AttributeSource(e.source, "__dict__"), e.source]
            elif e.kind is EffectKind.ITEM and e.source is None:  # globals
                found.append(ConstSource(e.owner))
        return list({source.key: source for source in found}.values())

    def _close(self) -> None:
        """Let go of all objects.

        Code with hooks refers to the recorder and may live on, in a generator or a traceback,
        and the garbage collector doesn't look into code.
        """
        self.closed = True
        self._capture = self._traced = self._outside = self._number = when_closed
        self._settle = self._in_region = self._in_turn = when_closed
        self._root = self.draw = None
        for table in (
            self._known, self._copies, self._bound, self._cells, self._globals,
            self._wrappers, self._libraries, self._shadows, self._generators,
        ):  # fmt: skip
            table.clear()
        self._alive.clear()
        self.overlay.clear()

    def argument(self, value: Any, source: Source) -> None:
        """Say where an argument that is an object comes from."""
        self._given.add(id(value))
        self._register(value, source)

    # -- calls

    def callee(self, function: Any) -> Any:
        if self.closed:
            self.end_if_abandoned()
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
        if is_stateful(function):
            raise self.refusal(
                f"calls {function.__name__}, which is about files, or state that may change"
            )
        drawing = self.drawing(function)
        if drawing is not None:
            return drawing
        if kind is types.FunctionType:
            if function.__module__ == "logging":
                called = self.logging_call(function.__name__)
                if (
                    called is not None
                    and function.__globals__.get(function.__name__) is function
                ):
                    return called
            if function is dataclasses.replace:
                return self.replaced
            if function is np.errstate.__enter__:
                return lambda manager: ErrorState(self, manager).__enter__()
            if function.__globals__ is vars(functools) and hasattr(function, "dispatch"):
                return self._dispatched(function)
            if is_trusted(function) and id(function.__code__) not in self._inner:
                return self._library(function)
            if id(function.__code__) in self._inner and is_generator_expression(function):
                return self._generator_expression(function)
            return self.with_hooks(function)
        if kind is types.MethodType:
            return self._method(function)
        if kind is functools.partial:
            return self._partial(function)
        if is_made_of_another(function):
            self._adopt(function)
            partial = getattr(function, "as_partial", None)
            if partial is None:
                return self._decorated(function.python_function)
            return self._transformed(partial)
        if isinstance(function, type):
            return self._class(function)
        if isinstance(function, functools._lru_cache_wrapper):
            return self._remembering(function)
        if kind is weakref.ref:
            return self._weakly(function)
        if isinstance(function, (types.BuiltinFunctionType, types.MethodWrapperType)):
            return self._builtin(function)
        if kind in GETTERS:
            return self.by_getter(function)
        if kind in (types.WrapperDescriptorType, types.MethodDescriptorType):
            name, owner = function.__name__, function.__objclass__
            if owner is object and name == "__setattr__":
                return self.store_by_object
            if owner in (object, type) and name not in _OF_EVERY_OBJECT:
                raise self.refusal(f"calls {owner.__name__}.{name}")
            if owner in (list, dict, set, deque):
                return self._of_exactly(owner, function, self.of_container(name))
        if kind is types.GenericAlias and not is_trusted(function.__origin__):
            raise self.refusal(f"makes a {function.__origin__.__name__} by its generic alias")
        if isinstance(function, np.vectorize):
            return self.elementwise(function)
        if is_known(function) or (
            is_trusted(kind) and kind.__module__ != "functools" and kind is not np.ufunc
        ):
            return self._library(function)
        call = self.method_of(function, "__call__")
        if call is not None:
            return types.MethodType(self.with_hooks(call), function)
        static = inspect.getattr_static(kind, "__call__", None)  # under a guard by now
        if is_made_of_another(static):
            return types.MethodType(self.callee(static), function)
        raise self.refusal(f"calls a {kind.__name__}, which isn't followed")

    def _of_exactly(self, kind: type, function: Any, call: Any) -> Any:
        """A method called by its class, where the object is of just that class."""
        library = self._library(function)
        return lambda *args, **kwargs: (
            call(*args, **kwargs)
            if args and type(args[0]) is kind
            else library(*args, **kwargs)
        )

    def with_hooks(self, function: Any) -> Any:
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
            self.note_inner(code)
        copy = instrumented(function, bound)
        made = (
            id(code) in self._inner
            and self.source_of(function) is None
            and not self._outside(function)
        )
        if not made and not is_trusted(function):
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

    def _adopt(self, function: Any) -> None:
        """Say where the object is found that a function was made of, which it keeps."""
        while True:
            if isinstance(function, functools.partial):
                function = function.func
            elif is_made_of_another(function):
                made = getattr(function, "as_partial", None)
                function = function.python_function if made is None else made.args[0]
            else:
                break
        owner = getattr(function, "__self__", function)
        known = isinstance(owner, (*CALLABLES, types.ModuleType)) or is_trusted(type(owner))
        if not known and self.source_of(owner) is None:
            self._register(owner, lasting_source(owner, "self"))

    def _decorated(self, inner: Any) -> Any:
        """A function that is decorated, too: it is part of the trace."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if "out" in kwargs:
                raise self.refusal("out= of a decorated function called in a traced one")
            return self.call(inner, *args, **kwargs)

        return call

    def _transformed(self, partial: functools.partial[Any]) -> Any:
        """A function that `gj.vmap` or `gj.grad` made of the user's. Its arguments are the
        user's, too: objects among them are handed on as they are, whether they can be called.
        """
        inner, *rest = partial.args
        inner = self._handed(inner, makes=True)
        if type(inner) is types.FunctionType and package_of(inner) == "scipy":
            inner = self.callee(inner)  # which takes no traced values by itself
        functions = (types.FunctionType, types.MethodType)
        rest = [self._handed(x) if isinstance(x, functions) else x for x in rest]

        def hand(value: Any) -> Any:
            kind = type(value)
            known = is_trusted(kind) or kind in PLAIN or self._traced(value)
            held = isinstance(value, (*CALLABLES, *CONTAINERS, type, functools.partial, slice))
            if known or held or dataclasses.is_dataclass(kind) or hasattr(kind, "__next__"):
                return self._handed(value)
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            first = len(self._shadows)
            given, named = [hand(x) for x in args], {k: hand(x) for k, x in kwargs.items()}
            result = partial.func(inner, *rest, *given, **named)
            if len(self._shadows) > first:
                self.require_unchanged(first)
                result = self.translated(result, first)
            return self.made.add(result, partial.func)

        return call

    def _method(self, method: types.MethodType) -> Any:
        function = method.__func__
        if function is np.errstate.__enter__:
            return ErrorState(self, method.__self__).__enter__
        inner = getattr(function, "python_function", None)
        if inner is not None:
            function = inner
        owner = method.__self__
        if is_made_of_another(owner) and method.__name__ == "__call__":
            return self.callee(owner)
        if function.__module__ == "logging":
            called = self.logger_call(method)
            if called is not None:
                return called
        if isinstance(function, types.FunctionType) and not is_trusted(function):
            return types.MethodType(self.with_hooks(function), owner)
        if owner is os.environ and method.__name__ == "get":
            return self.environment_value
        if isinstance(owner, dict) and not self.is_own(owner):
            raise self.refusal(f"calls .{method.__name__} of a {type(owner).__name__}")
        known = is_trusted(type(owner)) or isinstance(owner, (*CALLABLES, *CONTAINERS))
        if not known and not self._traced(owner) and not self.is_own(owner):
            raise self.refusal(
                f"calls .{method.__name__} of a {type(owner).__name__}, which isn't followed"
            )
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

    def _weakly(self, reference: Any) -> Any:
        """What a weak reference gives, read anew by each call."""
        source = self.source_of(reference)
        if source is None:
            if self._outside(reference):
                raise self.refusal(
                    "asks a weak reference that was reached in a way not followed"
                )
            return reference
        return lambda: self.read(reference(), CallSource(source, (), {}))

    def _dispatched(self, function: types.FunctionType) -> Any:
        """A function of functools.singledispatch: which one it calls is under a guard."""
        where = AttributeSource(lasting_source(function, function.__qualname__), "dispatch")

        def call(*args: Any, **kwargs: Any) -> Any:
            kind = self._type(*args[:1])
            chosen = function.dispatch(kind)  # type: ignore[attr-defined]
            self._settle(chosen)  # it remembers what it found
            self.guard(Check.SAME, CallSource(where, (kind,), {}), chosen)
            return self.call(chosen, *args, **kwargs)

        return call

    def _remembering(self, function: Any) -> Any:
        """A function with an lru_cache: it is really called, here and by each call.

        What it reads besides its arguments counts when it runs first, as undecorated.
        """
        source = self.source_of(function)
        if source is None:
            raise self.refusal("calls a new lru_cache, which isn't followed")

        def call(*args: Any, **kwargs: Any) -> Any:
            for x in (*args, *kwargs.values()):
                if self._traced(x) and hasattr(x, "_needs_value"):
                    raise self.noted(x._needs_value("an lru_cache"))
            if not all(map(is_plain, (*args, *kwargs.values()))):
                raise self.refusal("calls an lru_cache with what isn't a plain value")
            if self.overlay:
                raise self.refusal("calls an lru_cache after something was written")
            found = CallSource(source, args, kwargs)
            with self.unwatched():
                value = function(*args, **kwargs)
            self._settle(value)
            if isinstance(value, CONTAINERS) and not is_plain(value):
                raise self.refusal("gets a container from an lru_cache")
            return self.read(value, found)

        return call

    def _class(self, kind: type) -> Any:
        if kind is super:
            return kind
        if kind is type:
            return lambda *args: self._type(*args)
        if is_trusted(kind):
            return self._library(kind)
        self.meet(kind)
        if issubclass(kind, enum.Enum):
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

        if isinstance(static_attribute(kind, "__del__"), types.FunctionType):
            raise self.refusal(f"makes a {kind.__name__}, which has a finalizer")

        def make(*args: Any, **kwargs: Any) -> Any:
            if isinstance(new, types.FunctionType):
                made = self.call(new, kind, *args, **kwargs)
            elif kind.__new__ is object.__new__:
                made = object.__new__(kind)
            else:
                made = kind.__new__(kind, *map(self.shadow, args), **kwargs)
            if self._in_turn():
                current_trace.get().branches.loops.note_made(made)
            if isinstance(made, kind) and isinstance(start, types.FunctionType):
                found = self.call(start, made, *args, **kwargs)
                if found is not None:
                    raise TypeError(
                        f"__init__() should return None, not '{type(found).__name__}'"
                    )
            return made

        return make

    def _builtin(self, function: Any) -> Any:
        owner = getattr(function, "__self__", None)
        if type(function) is types.MethodWrapperType and function.__name__ == "__call__":
            return self.callee(owner)
        called = self._builtin_of(owner, function)
        if isinstance(owner, (list, tuple, deque)) and function.__name__ in _SEARCHES:

            def search(*args: Any) -> Any:
                self.require_numbers(owner, *args)
                self.require_told_apart(args, self.shadow(owner))
                return called(*args)

            return search
        return called

    def _builtin_of(self, owner: Any, function: Any) -> Any:
        if isinstance(owner, np.ufunc):  # np.add.reduce
            if is_known(owner):
                return self._library(function)
            raise self.refusal("calls a ufunc, of which nothing is known")
        followed = self._followed(function)
        if followed is not None:
            return followed
        if isinstance(owner, types.ModuleType) and owner.__name__ in ("_heapq", "_bisect"):
            changes = function.__name__.startswith(("heap", "insort"))
            return self.changing(function) if changes else self.of_plain_list(function)
        if type(owner) is contextvars.ContextVar:
            return self.context_call(owner, function.__name__)
        if function in HIGHER_ORDER:
            return self._library(function)
        if isinstance(owner, (types.ModuleType, type, type(None))):
            if is_known(function):
                return self._library(function)
            name = f"{getattr(owner, '__name__', '')}.{function.__name__}".lstrip(".")
            raise self.refusal(f"calls {name}, of which nothing is known")
        where = self.source_of(function)
        if where is not None and self.source_of(owner) is None:  # note = log.append
            found = self.read(owner, AttributeSource(where, "__self__"))
            if found is not owner:  # total = array.sum
                return self.load_attribute(found, function.__name__)
        if self.source_of(owner) is None:
            if self._outside(owner):
                raise self.refusal(
                    f"calls .{function.__name__} of what was reached in a way not followed"
                )
            if type(owner) in PLAIN:
                return self._of_plain(owner, function)
            if function.__name__ not in READERS and function.__name__ not in HANDING_ON:
                adds = type(owner) is list and function.__name__ == "append"
                keeps = type(owner) in (list, deque) and function.__name__ in _KEEPING
                if keeps and not self._in_turn():  # the objects, which C doesn't look into
                    return function
                if adds and self._in_turn():
                    loops = current_trace.get().branches.loops
                    return lambda item: loops.add_to_list(owner, item)
                self._require_no_turn(f"calls .{function.__name__} of a {type(owner).__name__}")
            return self._library(function)
        if isinstance(owner, (list, tuple, dict, set, frozenset, deque)):
            if function.__name__ in HANDING_ON:
                if isinstance(owner, dict):
                    self._viewed.add(id(owner))
                    if function.__name__ == "values":
                        self._values_viewed.add(id(owner))
                return self._library(getattr(self.one_level(owner), function.__name__))
            if function.__name__ in READERS:
                return self._library(getattr(self.shadow(owner), function.__name__))
            return self._changer(owner, function.__name__)
        if type(owner) in PLAIN:
            return self._of_plain(owner, function)
        writer = self.writer(owner, function.__name__)
        if writer is not None:
            return writer
        if package_of(type(owner)) in _ARRAY_PACKAGES:
            return self._library(function)
        raise self.refusal(
            f"calls .{function.__name__} of a {type(owner).__name__}, of which nothing is known"
        )


__all__ = ["PLAIN", "Recorder"]
