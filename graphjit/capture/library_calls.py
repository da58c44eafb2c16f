"""Calls of what isn't followed: functions of libraries and of C, and what they are given."""

from __future__ import annotations

import copy
import decimal
import enum
import functools
import gc
import math
import operator
import types
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from graphjit.core.errors import GraphJitError, TracingError, UnsupportedError, on_refusal
from graphjit.numpy_protocol.conversion import call_maker
from graphjit.numpy_protocol.deferred_texts import (
    call_text_method,
    holds_text,
    is_deferred,
    value_needed,
)
from graphjit.numpy_protocol.promotion import leaves
from graphjit.numpy_protocol.python_numbers import call_number
from graphjit.numpy_protocol.scipy_calls import call_scipy
from graphjit.tensors.apply import current_trace

from .callables import (
    GETTERS,
    HIGHER_ORDER,
    ITERATE_ONLY,
    is_made_of_another,
    is_trusted,
    package_of,
)
from .elementwise_calls import ElementwiseCalls
from .generators import is_generator
from .in_numpy import IN_NUMPY
from .instrument import CannotInstrument, bind, instrumented
from .pending_generators import PendingGenerator
from .sources import (
    static_attribute,
)
from .values import CALLABLES, CONTAINERS, PLAIN, is_plain

_TEXTS: Final = (str, repr)
# The classes of errors by which nothing else is meant than that something can't be traced.
_REFUSALS: Final = (TracingError, UnsupportedError)
# Functions of NumPy that write into what they are given.
_WRITERS = {
    "at",
    "copyto",
    "fill",
    "fill_diagonal",
    "place",
    "put",
    "put_along_axis",
    "putmask",
}
_TEXT_MAKERS: Final = frozenset({
    str, repr, format, ascii, np.array2string, np.array_repr, np.array_str,
})  # fmt: skip
# What is the same for a Decimal in whatever context, and methods of which this is true.
_FREE_OF_CONTEXT: Final = frozenset({
    str, repr, int, float, hash, bool, list, tuple, dict, zip, enumerate, iter, reversed, len,
    decimal.Decimal, set, frozenset, range, map, filter, math.floor, math.ceil, math.trunc,
})  # fmt: skip
_OF_DECIMALS: Final = frozenset({
    "as_tuple", "as_integer_ratio", "is_nan", "is_finite", "is_infinite", "is_signed",
    "is_zero", "is_qnan", "is_snan", "adjusted", "conjugate", "copy_abs", "copy_negate",
    "copy_sign",
    "__str__", "__repr__", "__int__", "__float__", "__bool__", "__hash__", "real", "imag",
})  # fmt: skip
# How deep in an object that is copied something from outside is looked for.
_MAX_PARTS: Final = 4
_BUILTINS: Final = (type, types.BuiltinFunctionType)
# What calls an argument, and packages whose other functions don't.
_CALLING: Final = frozenset({map, filter, functools.reduce, sorted, min, max})
_OF_BUILTINS: Final = (str, bytes, tuple, dict, set, frozenset)
_CALL_NOTHING: Final = ("builtins", "operator", "_operator", "copy", "math")
# Packages whose functions call the classes that they are given, or do nothing with them.
_MAKING: Final = ("numpy", "scipy", "graphjit", "itertools", "_bisect", "bisect", "heapq")
_LAZY: Final = frozenset({zip, enumerate, map, filter, iter})
# What takes items, and asks nothing else.
_ITERATING: Final = frozenset({
    list, tuple, set, frozenset, sorted, sum, min, max, any, all, zip, enumerate, map, filter,
    iter, deque, functools.reduce, next,
})  # fmt: skip
# What takes all items of a generator, or may.
_TAKE_ALL: Final = frozenset({list, sum, min, max, all, any})


def _python_of(function: Any) -> types.FunctionType | None:
    """The code of a function of NumPy's that is written in Python, and changes nothing."""
    if type(function) is type(np.sum) and function in IN_NUMPY:
        return IN_NUMPY[function]  # type: ignore[no-any-return]
    found = getattr(function, "__wrapped__", function)
    plain = type(found) is types.FunctionType and package_of(found) == "numpy"
    return found if plain and function.__name__ not in _WRITERS else None


class LibraryCalls(ElementwiseCalls):
    """What is called in place of functions that run without hooks."""

    def _type(self, *args: Any) -> Any:
        if len(args) != 1:
            raise self.refusal("makes a class, which can't be traced")
        return self.class_of(args[0])

    def _followed(self, function: Any) -> Any:
        """What takes the place of one of Python's functions that need to be followed."""
        if isinstance(function.__self__, types.ModuleType):
            return getattr(self, "_call_" + function.__name__, None)
        return None

    def _library(self, function: Any) -> Any:
        """A function of a library or of C that is known: it sees containers that were read."""
        hands_on = isinstance(function, type) and function in ITERATE_ONLY
        asks = not (hands_on or package_of(function) in ("dataclasses", "graphjit", "typing"))
        wraps = self.wraps_code(function)
        owner = getattr(function, "__self__", function)
        if not isinstance(owner, (*CONTAINERS, deque)):
            self.require_no_state(owner)
        takes_all = isinstance(function, _BUILTINS) and function in _TAKE_ALL
        of_builtin = isinstance(owner, _OF_BUILTINS) and owner is not function
        calls = not (of_builtin or package_of(function) in _CALL_NOTHING)
        calls = calls or function in HIGHER_ORDER
        makes = package_of(function) in _MAKING
        iterates = package_of(function) == "itertools" or (
            isinstance(function, _BUILTINS) and function in _ITERATING
        )
        handed = functools.partial(self._handed, calls=calls, makes=makes, iterates=iterates)
        followed = _python_of(function)

        def call(*args: Any, **kwargs: Any) -> Any:
            if (
                takes_all
                and len(args) == 1
                and not kwargs
                and type(args[0]) is PendingGenerator
                and not args[0].is_started()
            ):
                args = (self._listed(function, args[0]),)
            first = len(self._shadows)
            if function in _LAZY:
                args = tuple(self._in_steps(x) for x in args)
            if function in _CALLING:  # what they call has hooks, be it of C
                args, kwargs = self._with_callees(function, args, kwargs)
            hand = functools.partial(self._handed_on, handed) if hands_on else handed
            given = [self.with_pairs(x) if function is dict else hand(x) for x in args]
            # which dict() takes as they are
            named = kwargs if function is dict else {k: hand(x) for k, x in kwargs.items()}
            if "out" in named or getattr(function, "__name__", "") in _WRITERS:
                self._require_no_turn("writes into an array")
            if package_of(function) == "graphjit":  # functions in lists: branches
                given = [self._with_functions(x) for x in given]
                named = {k: self._with_functions(x) for k, x in named.items()}
            if not hands_on:
                for x in given:
                    if isinstance(
                        static_attribute(type(x), "__post_init__"), types.FunctionType
                    ):
                        raise self.refusal(f"hands on a {type(x).__name__}: __post_init__")
            if asks:
                for x in (*given, *named.values()):
                    self.require_no_methods(x)
            if function in _TEXT_MAKERS:
                for x in (*given, *named.values()):
                    self.require_known_text(x)
            if function not in _FREE_OF_CONTEXT:
                self._require_no_decimals((*given, *named.values()))
            if package_of(function) == "copy":
                for x in given:
                    if is_generator(x):
                        raise self.refusal("copies a random generator")
                    if function is copy.deepcopy:
                        self._require_own_parts(x, 0)
                        self._guard_apart()
                        if any(_holds_twice(x, set()) for x in args):
                            raise self.refusal("copies a container that is in another twice")
            if function in _TEXTS and any(isinstance(x, GraphJitError) for x in given):
                raise self.refusal("formats an error of NumPy's")
            if function in _TEXTS and len(given) == 1 and _is_deferred_container(given[0]):
                return self.text_of(given[0])
            if self.has_texts() and not _may_have_texts(function):
                for x in (*given, *named.values()):
                    if holds_text(x):
                        raise self.noted(value_needed(x))
            if package_of(function) == "numpy":
                given = [list(x) if type(x) is deque else x for x in given]
            for answer in (call_maker, call_number, call_scipy):
                made = answer(function, given, named)
                if made is not NotImplemented:
                    return made
            steps = self._steps_of(function, given, named)
            if steps is not None:
                return steps
            reaches = wraps or any(map(self.reaches_code, (*given, *named.values())))
            try:
                if followed is not None:
                    result = self._tried(None if reaches else function, followed, given, named)
                elif reaches:
                    result = self.watched(function, *given, **named)
                else:
                    result = function(*given, **named)
            except Exception as error:  # C code may have made another error of a TracingError
                found = [
                    getattr(function, "__self__", None),
                    *leaves((*given, *named.values())),
                ]
                for x in found:
                    self.made.note_written(x)
                self._require_unhandled(error, found)
                raise
            self.note_holder(result, reaches)
            if len(self._shadows) > first:
                self.require_unchanged(first)
                result = self.translated(result, first)
            return self.made.add(self.checked_text(result), function)

        return call

    def _tried(
        self, function: Any, inner: types.FunctionType, args: Sequence[Any], kwargs: Any
    ) -> Any:
        """What a function of NumPy gives that is written in Python, `inner`: where it can't be
        traced as a whole, its code is followed as the user's is. function: None where it would
        call the user's code, which is to run once.
        """
        if function is None:
            return self.with_hooks(inner)(*args, **kwargs)
        try:
            return self._without_refusal(lambda: function(*args, **kwargs))
        except _REFUSALS as error:
            if type(error) not in _REFUSALS:  # it has something be traced anew
                raise self._told(error) from None
            refusal = error
        try:
            return self._without_refusal(lambda: self.with_hooks(inner)(*args, **kwargs))
        except TracingError as error:
            raise self._told(refusal if type(error) in _REFUSALS else error) from None
        except Exception:  # undecorated code says whether it is the user's error
            raise self._told(refusal) from None

    def _without_refusal(self, run: Callable[[], Any]) -> Any:
        """What a function gives. The error that it meets is raised, also where it catches it;
        that it was met isn't noted.
        """
        refused: list[GraphJitError] = []
        failed, token = self.failed, on_refusal.set(refused.append)
        try:
            result = run()
        finally:
            on_refusal.reset(token)
            self.failed, inside = failed, self.failed
        met = refused[0] if refused else inside if inside is not failed else None
        if met is not None:
            raise met
        return result

    def _told(self, error: GraphJitError) -> GraphJitError:
        """An error, noted as one that ends the trace."""
        notify = on_refusal.get()
        if notify is not None:
            notify(error)
        return error

    def _require_unhandled(self, error: Exception, values: Sequence[Any]) -> None:
        """Refuse to go on with the user's handler of an error that a function raises for traced
        values: for arrays it may raise none.
        """
        trace = current_trace.get()
        traced = any(map(self._traced, values))
        if isinstance(error, TracingError) or trace is None or not traced:
            return
        if trace.is_handled():
            raise self.refusal(f"handles a {type(error).__name__}") from error

    def _require_no_decimals(self, values: Sequence[Any]) -> None:
        """Refuse to compute with a Decimal."""
        if any(type(x) is decimal.Decimal for x in leaves(values)):
            raise self.refusal("computes with a Decimal, in a precision that may change")

    def _require_own_parts(self, value: Any, depth: int) -> None:
        """Refuse to copy what was there before, in an object that was made meanwhile."""
        kind = type(value)
        if kind in PLAIN or isinstance(value, CALLABLES) or self._traced(value):
            return
        if is_generator(value):
            raise self.refusal("copies a random generator")
        if depth and isinstance(value, (list, dict, set, deque)) and not self.is_own(value):
            raise self.refusal("copies a container from outside in an object")
        if depth < _MAX_PARTS:
            for x in gc.get_referents(value):
                self._require_own_parts(x, depth + 1)

    def _in_steps(self, value: Any) -> Any:
        found = self.stepped_through(value)
        return value if found is None else found

    def _with_callees(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of a function that calls one of them, with what has hooks for that."""

        def callee(x: Any) -> Any:
            if isinstance(x, (types.FunctionType, types.MethodType)) or not callable(x):
                return x
            made = self.callee(x)
            return lambda *args, **kwargs: made(*args, **kwargs)

        if function in (map, filter, functools.reduce):
            args = (callee(args[0]), *args[1:]) if args else args
        elif "key" in kwargs:
            kwargs = {**kwargs, "key": callee(kwargs["key"])}
        return args, kwargs

    def _of_plain(self, owner: Any, function: Any) -> Any:
        """A method of a plain value."""
        if isinstance(owner, decimal.Decimal) and function.__name__ not in _OF_DECIMALS:
            raise self.refusal("computes with a Decimal, in a precision that may change")
        if not isinstance(owner, str):
            return function

        def call(*args: Any, **kwargs: Any) -> Any:
            iterates = function.__name__ == "join"
            handed = functools.partial(self._handed, calls=False, iterates=iterates)
            given = tuple(map(handed, args))
            named = {k: handed(x) for k, x in kwargs.items()}
            made = call_text_method(owner, function.__name__, given, named)
            if made is not NotImplemented:
                self._note_text()
                return made
            if function.__name__ in ("format", "format_map"):
                for x in (*given, *named.values()):
                    self.require_known_text(x)
                    if "." in owner and not is_plain(x):
                        raise self.refusal("formats attributes, as far as the text may tell")
            return self.checked_text(function(*given, **named))

        return call

    def _with_functions(self, value: Any) -> Any:
        """A list, tuple or dict with the functions in it as they are handed on."""
        if type(value) in (list, tuple):
            return type(value)(map(self._with_functions, value))
        if type(value) is dict:
            return {k: self._with_functions(x) for k, x in value.items()}
        function = callable(value) and not self._traced(value)
        return self._handed(value, makes=True) if function else value

    def _handed_on(self, handed: Callable[[Any], Any], value: Any) -> Any:
        """What a function gets that hands on the items of what it is given."""
        container = isinstance(value, (list, tuple, dict, deque))
        return self.one_level(value) if container else handed(value)

    def _handed(
        self, value: Any, calls: bool = True, makes: bool = False, iterates: bool = False
    ) -> Any:
        """What a library gets for an argument. calls: whether it may call it. makes: whether it
        does nothing else with classes. iterates: whether it takes the items of what has some,
        and asks nothing else.
        """
        kind = type(value)
        if kind in PLAIN or self._traced(value):
            return value
        if isinstance(value, (*CONTAINERS, deque, slice)):
            return self.shadow(value)
        if kind is types.FunctionType and not is_trusted(value):
            return self.with_hooks(value)
        if kind is types.MethodType:
            return self.callee(value)
        if value is type:
            return self._type
        if kind is types.BuiltinFunctionType:
            owner = value.__self__
            bound = owner is not None and not isinstance(owner, (types.ModuleType, type))
            return self.callee(value) if bound else self._followed(value) or value
        if calls and (_stands_for_code(value) or is_made_of_another(value)):
            return self.callee(value)
        if makes and isinstance(value, type) and _may_be_called(value):
            return self.callee(value)
        outside = self.source_of(value) is not None or self._outside(value)
        if outside and hasattr(kind, "__next__"):
            raise self.refusal("advances an iterator from outside")
        if not is_trusted(kind) and not isinstance(value, type):
            call = self.method_of(value, "__call__")
            if call is not None and not calls:
                raise self.refusal(f"hands on a {kind.__name__}, which can be called")
            if call is not None:
                return types.MethodType(self.with_hooks(call), value)
            for name in ("__iter__", "__next__"):
                if self.method_of(value, name) is not None:
                    if not iterates:
                        raise self.refusal(
                            f"hands a {kind.__name__} to code that isn't followed"
                        )
                    return self._items(value)
        if outside and not isinstance(value, CALLABLES) and not is_trusted(kind):
            raise self.refusal(
                f"hands a {kind.__name__} from outside to code that isn't followed"
            )
        self.require_no_state(value)
        return value

    def _generator_expression(self, function: types.FunctionType) -> Any:
        """What is called in place of the function that makes the generator."""

        def listed(steps: Any) -> Any:
            try:
                code = bind(function.__code__, self, listing=True)
            except CannotInstrument as error:
                raise self.refusal(f"{function.__qualname__}: {error}") from None
            self.note_inner(function.__code__)
            return instrumented(function, code)(steps)

        def make(steps: Any) -> Any:
            return self.with_hooks(function)(steps)

        return lambda steps: PendingGenerator(function, steps, make, listed)

    def _listed(self, function: Any, generator: PendingGenerator) -> Any:
        """What is handed to a function that takes all items of a generator expression. `all`
        and `any` may stop early: then nothing may be noted that items do.
        """
        if function not in (all, any):
            return generator.listed()
        if generator.shares_steps():
            raise self.refusal(f"has an iterator that {function.__name__}() may leave items in")
        loops, cells = current_trace.get().branches.loops, generator.function.__closure__ or ()
        before, (values, held) = self._noted_so_far(), loops.held_in(cells)
        found = generator.listed()
        now, held_now = loops.held_in(cells)
        before, after = [*before, *values], [*self._noted_so_far(), *now]
        same = len(before) == len(after) and all(map(operator.is_, before, after))
        if not same or held != held_now:
            raise self.refusal(f"does something for each item of {function.__name__}()")
        return found

    def _noted_so_far(self) -> list[Any]:
        """What was written and drawn."""
        trace = current_trace.get()
        written = [] if trace is None else [x for x, _ in trace.branches.loops.written]
        return [*self.overlay.effects, *written, *self.drawn]


def _holds_twice(value: Any, seen: set[int]) -> bool:
    """Whether a container is reached in two ways through lists, tuples and dicts."""
    if not isinstance(value, (list, tuple, dict)):
        return False
    if id(value) in seen and not isinstance(value, tuple):
        return True
    seen.add(id(value))
    parts = value.values() if isinstance(value, dict) else value
    return any(_holds_twice(x, seen) for x in parts)


def _stands_for_code(value: Any) -> bool:
    """Whether a callable of Python's or NumPy's own calls one that it was made of."""
    if isinstance(value, types.FunctionType):
        return value.__globals__ is vars(functools) and hasattr(value, "dispatch")
    kinds = (functools.partial, types.MethodWrapperType, np.vectorize, *GETTERS)
    return isinstance(value, (*kinds, functools._lru_cache_wrapper))


def _may_be_called(kind: type) -> bool:
    """Whether a class is the user's, and nothing that libraries know by its class."""
    return not is_trusted(kind) and not issubclass(kind, (np.generic, BaseException, enum.Enum))


def _is_deferred_container(value: Any) -> bool:
    return type(value) in (list, tuple, dict) and is_deferred((value,))


def _may_have_texts(function: Any) -> bool:
    """Whether a function of C may be given deferred texts: it doesn't look into them."""
    if isinstance(function, type) and issubclass(function, BaseException):
        return True
    owner = getattr(function, "__self__", None)
    return isinstance(owner, (list, dict, deque)) or any(
        function is f for f in (str, repr, format, list, tuple, dict, zip, enumerate, reversed)
    )


__all__ = ["LibraryCalls"]
