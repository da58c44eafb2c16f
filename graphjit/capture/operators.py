"""Hooks of operators, tests, iteration and text: where Python asks objects for methods."""

from __future__ import annotations

import decimal
import itertools
import operator
import sys
import types
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from graphjit.core import float_errors
from graphjit.core.errors import GraphJitError
from graphjit.numpy_protocol.conversion import may_be_same
from graphjit.numpy_protocol.deferred_texts import (
    PLACEHOLDER,
    DeferredText,
    container,
    is_deferred,
)
from graphjit.numpy_protocol.promotion import is_weak_symbol, leaves
from graphjit.tensors.apply import TensorBase, current_trace

from .callables import (
    is_trusted,
)
from .effects import APPENDED
from .hooks import BINARY, BINARY_NAMES, COMPARISON_NAMES
from .identity import is_missing_number, may_be_one
from .items import ItemHooks, is_symbolic
from .sources import (
    MISSING,
    AttributeSource,
    Check,
    ConstSource,
    ItemSource,
    Source,
    static_attribute,
)
from .steps import CountedSteps, ListSteps
from .values import CONTAINERS, MAX_DEPTH, PLAIN, contents, is_plain

# The numbers of % and %=, which format texts.
_REMAINDERS: Final = (BINARY_NAMES.index("mod"), BINARY_NAMES.index("imod"))
_VIEWS: Final[tuple[type, ...]] = (type({}.keys()), type({}.values()), type({}.items()))
# Objects that are equal where their contents are, which nothing guards.
_COMPARED_BY_CONTENTS: Final = (types.SimpleNamespace, weakref.ReferenceType)
# How many pairs of objects have guards of their own.
_MAX_PAIRS: Final = 400
# Names of functions of `operator` that differ from those of methods.
_FUNCTIONS: Final = {"and": "and_", "or": "or_"}


class OperatorHooks(ItemHooks):
    """Hooks that call the methods of classes written in Python with hooks in them."""

    # -- operators

    def binary(self, operands: tuple[Any, Any], number: int) -> Any:
        if number in _REMAINDERS and type(operands[0]) is str:
            if not self.closed:
                self._require_texts(operands[1])
            if is_deferred(operands[1:]):
                self._note_text()
                return DeferredText(operator.mod, operands)
        if (type(operands[0]), type(operands[1])) in self._computed:
            return BINARY[number](*operands)
        if self.closed:
            return super().binary(operands, number)
        if BINARY_NAMES[number] in ("mul", "imul"):
            self._require_no_repetition(*operands)
        first = len(self._shadows)
        operands = self._operands(operands, BINARY_NAMES[number], number >= 13)
        if len(operands) == 1:
            return self.translated(operands[0], first)
        if number >= 13:
            if is_symbolic(operands[1]):
                self.made.note_written(operands[0])
            return self.translated(super().binary(operands, number), first)
        return self.made.add(self.translated(super().binary(operands, number), first))

    def _require_no_repetition(self, a: Any, b: Any) -> None:
        """Refuse to repeat a list or text by a NumPy number, by which arrays are multiplied."""
        for one, other in ((a, b), (b, a)):
            repeated = issubclass(type(one), (list, tuple, str, bytes, bytearray))
            if not repeated or not self._traced(other):
                continue
            numpy = getattr(other, "origin", "") == "numpy" and not other.is_selection
            if numpy and not other.type.shape and not other.is_zero_dim_array():
                raise self.refusal(
                    "repeats a sequence by a NumPy number, known only at the call"
                )

    def compare(self, operands: tuple[Any, Any], symbol: str) -> Any:
        if not self.closed:
            if _compares_identity(operands, symbol):
                for x in operands:
                    self.guard_unasked(x)
                return self.identical(operands, int(symbol == "!="))
            for x in operands:
                kind = type(x)
                if (
                    issubclass(kind, _COMPARED_BY_CONTENTS)
                    and kind is not types.SimpleNamespace
                ):
                    raise self.refusal(f"compares a {kind.__name__}")
            if issubclass(type(operands[0]), (*CONTAINERS, deque)):
                self.require_told_apart(*map(self.shadow, operands))
            operands = self._operands(operands, COMPARISON_NAMES[symbol], False)
            if len(operands) == 1:
                return operands[0]
            if issubclass(type(operands[0]), CONTAINERS):
                self.require_numbers(*operands)
        return super().compare(operands, symbol)

    def _operands(self, operands: tuple[Any, Any], name: str, in_place: bool) -> Any:
        """What an operator computes of; or, in a tuple of one, what it gives."""
        a, b = operands
        if (type(a) in PLAIN or self._traced(a)) and (type(b) in PLAIN or self._traced(b)):
            if decimal.Decimal in (type(a), type(b)):
                raise self.refusal("computes with a Decimal, in a precision that may change")
            self._computed.add((type(a), type(b)))
            return operands
        methods = [
            self.method_of(x, f"__{variant}__")
            for x in operands
            if not self._traced(x)
            for variant in _variants(name)
        ]
        if name == "ne":  # which asks __eq__
            methods += [self.method_of(x, "__eq__") for x in operands if not self._traced(x)]
        if any(method is not None for method in methods):
            return (self._by_methods(a, b, name),)
        changed = isinstance(a, (list, dict, set, deque, bytearray))
        if in_place and changed and not self.is_own(a):
            if self._traced(b) or isinstance(b, (np.ndarray, np.generic)):
                raise self.refusal("adds an array to a container from outside in place")
            if name == "iadd" and type(a) is list and self.source_of(a) is not None:
                self._append(a, list(self.one_level(b)))
            elif hasattr(a, f"__{name}__"):
                self.changed(a, f"__{name}__", self.one_level(b))
            else:
                raise self.refusal(f"changes a {type(a).__name__} from outside in place")
            return (a,)
        self.require_no_state(a)
        self.require_no_state(b)
        a, b = (a if in_place else self.shadow(a)), self.shadow(b)
        if self.reaches_code(a) or self.reaches_code(b):
            in_operator = getattr(operator, _FUNCTIONS.get(name, name))
            return (self.watched(in_operator, a, b),)
        return (a, b)

    def _append(self, owner: list[Any], values: list[Any]) -> None:
        """Note that a list from outside is appended to."""
        if id(owner) in self.overlay.copies:
            for value in values:
                self.changed(owner, "append", value)
            return
        if self._in_region():
            self._append_in_turn(owner, values)
            return
        self._alive.append(owner)
        self._note_appended(owner, values, self.source_of(owner))

    def carry_appended(self, source: Source) -> None:
        """Note what will be appended to a list, before anything is."""
        owner = source()
        if type(owner) is list:
            self._alive.append(owner)
            self._note_appended(owner, [], source)

    def _note_appended(
        self, owner: list[Any], values: list[Any], source: Source | None
    ) -> None:
        overlay = self.overlay
        if overlay.append(owner, values, source) and self.places is not None:
            self.places.note(
                owner,
                APPENDED,
                lambda: overlay.pending(owner),
                lambda value: overlay.set_pending(owner, value),
                lambda: overlay.holders(owner, APPENDED),
            )

    def _append_in_turn(self, owner: list[Any], values: list[Any]) -> None:
        """Append to a list from outside in a turn of a loop that carries what was appended."""
        trace = current_trace.get()
        loops, source = trace.branches.loops, self.source_of(owner)
        if self.places is None or source is None or not loops.may_write(trace):
            raise self.refusal("writes outside of it in a branch or loop")
        pending = self.overlay.pending(owner)
        if pending is MISSING:
            loops.want_outside(source)
        for value in values:
            if type(pending) is list:
                loops.add_to_list(pending, value)
            else:
                pending.append(value)

    def _by_methods(self, a: Any, b: Any, name: str) -> Any:
        """An operator of objects whose classes are written in Python."""
        plain, reflected = _variants(name)[-2:]
        tries = [(a, f"__{plain}__", b), (b, f"__{reflected}__", a)]
        if type(a) is type(b) and reflected.startswith("r"):
            del tries[1]
        elif issubclass(type(b), type(a)) and type(b) is not type(a):
            tries.reverse()
        if len(_variants(name)) == 3:
            tries.insert(0, (a, f"__{_variants(name)[0]}__", b))
        array = isinstance(a, (np.ndarray, np.generic)) or (
            self._traced(a) and not is_weak_symbol(a)
        )
        for owner, method, other in tries:
            function = static_attribute(type(owner), method)
            if function is MISSING:
                continue
            if array and owner is b and not _goes_first(type(b)):
                raise self.refusal(f"computes with an array and a {type(b).__name__}")
            equal = self.method_of(owner, "__eq__") if method == "__ne__" else None
            if isinstance(function, types.FunctionType):
                value = self.call(function, owner, other)
            elif equal is not None and function is vars(object)["__ne__"]:
                value = self.call(equal, owner, other)
                value = value if value is NotImplemented else not self.truth(value)
            else:
                value = getattr(type(owner), method)(owner, self.shadow(other))
            if value is not NotImplemented:
                return value
        if name == "eq":
            return self.identical((a, b), 0)
        if name == "ne":
            return self.identical((a, b), 1)
        raise TypeError(
            f"unsupported operand type(s) for {plain}: {type(a).__name__!r} and "
            f"{type(b).__name__!r}"
        )

    def unary(self, operand: Any, symbol: str) -> Any:
        if not self.closed and type(operand) is decimal.Decimal:
            raise self.refusal("computes with a Decimal, in a precision that may change")
        if not self.closed and type(operand) not in PLAIN and not self._traced(operand):
            name = {"-": "__neg__", "+": "__pos__", "~": "__invert__"}[symbol]
            function = self.method_of(operand, name)
            if function is not None:
                return self.call(function, operand)
            self.require_no_state(operand)
        return super().unary(operand, symbol)

    def made_list(self, value: list[Any]) -> list[Any]:
        if self._in_turn():
            current_trace.get().branches.loops.note_made(value)
        return value

    def collect(self, given: tuple[Any, Any]) -> None:
        value, found = given
        if self.closed or (type(found) is list and not self._in_turn()):
            found.append(value)
        else:
            self.callee(self.load_attribute(found, "append"))(value)

    def contains(self, operands: tuple[Any, Any], inverted: int) -> bool:
        item, owner = operands
        if not self.closed and type(owner) not in PLAIN and not self._traced(owner):
            function = self.method_of(owner, "__contains__")
            if function is Mapping.__contains__:
                try:
                    self.load_item((owner, item))
                except KeyError:
                    return bool(inverted)
                return not inverted
            if function is not None:
                return bool(self.call(function, owner, item)) is not bool(inverted)
            if static_attribute(type(owner), "__contains__") is None:
                raise self.refusal(f"asks what is in a {type(owner).__name__}")
            if isinstance(item, (*CONTAINERS, deque)):
                item = self.shadow(item)
            owner = self.merged(owner)
            source = self.source_of(owner)
            if isinstance(owner, dict) and source is not None and is_plain(item):
                self._guard_keys(owner, source)
            elif isinstance(owner, (list, tuple, deque)):
                owner = self.shadow(owner)
            else:
                self.require_no_state(owner)
                owner = self._items(owner)
        if not self.closed and issubclass(type(owner), (list, tuple, deque)):
            self.require_numbers(item, owner)
        if not self.closed and issubclass(type(owner), (*CONTAINERS, deque, *_VIEWS)):
            self.require_told_apart(item, owner)
        if not self.closed and (self.reaches_code(item) or self.reaches_code(owner)):
            return bool(self.watched(super().contains, (item, owner), inverted))
        return super().contains((item, owner), inverted)

    def require_numbers(self, *compared: Any) -> None:
        """Make sure that no traced number that containers are asked for, or compared with, is
        NaN: of NaN they ask whether it is the same object.
        """
        parts = [
            list(leaves(list(value.values()) if type(value) is dict else value))
            for value in compared
        ]
        one, *others = (
            [x for x in p if self._traced(x) and not is_weak_symbol(x)] for p in parts
        )
        for x, y in itertools.product(one, itertools.chain(*others)):
            if x is not y and self._may_be_given_twice(x, y):
                raise self.refusal("compares arguments that may be one object")
        found = [x for part in parts for x in part]
        traced = [x for x in found if is_weak_symbol(x) and x.type.dtype.kind in "fc"]
        missing = [x for x in found if is_missing_number(x)]
        if not traced or len(traced) + len(missing) < 2:
            return
        if not all(bool(x == x) for x in traced):
            raise self.refusal("compares numbers in a container, of which one is NaN")

    def require_told_apart(self, one: Any, other: Any) -> None:
        """Guard that objects of which code of C asks whether they are equal stay other objects,
        and that their classes gain no methods for that.
        """
        objects = [_objects_in(one), _objects_in(other)]
        for x in itertools.chain(*objects):
            if isinstance(x, _COMPARED_BY_CONTENTS):
                raise self.refusal(f"compares a {type(x).__name__} in a container")
            self.guard_unasked(x)
        if len(objects[0]) * len(objects[1]) > _MAX_PAIRS:
            raise self.refusal("compares containers of many objects")
        for x, y in itertools.product(*objects):
            first, second = self.source_of(x), self.source_of(y)
            if x is not y and first is not None and second is not None:
                self.guard(Check.DISTINCT, first, second)

    def identical(self, operands: tuple[Any, Any], inverted: int) -> bool:
        if not self.closed:
            a, b = operands
            if type(b) is bool:  # a traced bool of Python's is one of the two
                a = self._bool_of(a)
            elif type(a) is bool:
                b = self._bool_of(b)
            operands = a, b
            one, other = self.source_of(a), self.source_of(b)
            if a is not b and one is not None and other is not None:
                self.guard(Check.DISTINCT, one, other)
            elif (one is None) != (other is None) and self._traced(a) and self._traced(b):
                raise self.refusal("asks whether an argument is an array from outside")
            elif a is not b and may_be_same(a, b):
                raise self.refusal("asks whether np.ascontiguousarray gave the array itself")
            elif a is not b and self._may_be_given_twice(a, b):
                raise self.refusal("asks whether two arguments are one object")
            elif one is None and other is None and may_be_one(a, b):
                raise self.refusal("asks whether two equal values are one object")
        return super().identical(operands, inverted)

    def _may_be_given_twice(self, a: Any, b: Any) -> bool:
        """Whether another call may give one object where this one has two."""
        if type(a) is not type(b):
            return False
        given = [any(x is value for x in self.given) for value in (a, b)]
        outside = [
            type(value) in (tuple, frozenset) or self.source_of(value) is not None
            for value in (a, b)
        ]
        return any(given) and all(map(operator.or_, given, outside))

    def _bool_of(self, value: Any) -> Any:
        """What a traced bool of Python's is in this call; other values are themselves."""
        weak = self._traced(value) and getattr(value, "origin", "") == "weak"
        return bool(value) if weak and value.type.dtype.is_bool else value

    # -- containers, texts, with

    def iterate(self, value: Any) -> Any:
        if self.closed:
            return value
        steps = self._steps_of(value)
        if steps is not None:
            return steps
        found = self.stepped_through(value)
        if found is not None:
            return found
        items = self._items(value)
        return self._steps_of(items) or items

    def stepped_through(self, value: Any) -> Any:
        """What is stepped through in place of a container from outside, into which the code may
        write meanwhile; None for others.
        """
        if self._traced(value) or self.source_of(value) is None:
            return None
        if isinstance(value, (dict, deque)):
            return CountedSteps(self, value, self._items(value))
        return ListSteps(self, value) if type(value) is list else None

    def unpack(self, value: Any) -> Any:
        if self.closed:
            return value
        if isinstance(value, dict):
            value = self.merged(value)
            source = self.source_of(value)
            if source is None:
                return value
            self._guard_keys(value, source)
            return {k: self.read(v, ItemSource(source, k)) for k, v in value.items()}
        if self.method_of(value, "keys") is not None:  # ** asks for those, * for items
            raise self.refusal(f"unpacks a {type(value).__name__}")
        return self._items(value)

    def text(self, value: Any) -> Any:
        if self.closed or type(value) in PLAIN:
            return value
        if (
            isinstance(value, types.SimpleNamespace)
            and type(value) is not types.SimpleNamespace
        ):
            raise self.refusal(f"makes a text of a {type(value).__name__}")
        return self._printable(value)

    def join_texts(self, parts: tuple[str, ...]) -> str:
        if not self.closed and any(type(part) is DeferredText for part in parts):
            return DeferredText("".join, (list(parts),))
        return str(self.checked_text("".join(parts)))

    def _note_text(self) -> None:
        """Note that there are deferred texts, into which no C code may look."""
        self._require_no_region()
        self._require_no_turn("makes a text of traced values")
        if current_trace.get().is_handled():  # formatting may raise
            raise self.refusal("makes a text of traced values in a `try`")
        current_trace.get().branches.has_texts = True

    def has_texts(self) -> bool:
        """Whether there are deferred texts."""
        trace = current_trace.get()
        return trace is not None and trace.branches.has_texts

    def checked_text(self, value: Any) -> Any:
        """What C code gave; refused where it has copied a deferred text."""
        if type(value) is str and not self.closed and PLACEHOLDER in value:
            raise self.refusal("makes a text of traced values in a way that isn't followed")
        return value

    def _require_texts(self, value: Any) -> None:
        """Refuse to format containers, in which there may be traced values."""
        for x in value if type(value) is tuple else (value,):
            if isinstance(x, (list, tuple, dict, set, deque)) and not is_plain(x):
                raise self.refusal("formats a container by %")
            self.require_known_text(x)

    def text_of(self, value: Any) -> Any:
        """The text of a list, tuple or dict with traced values in it, which each call makes."""
        self._note_text()
        return DeferredText(str, (value,))

    def _printable(self, value: Any) -> Any:
        kind = type(value)
        self.require_known_text(value)
        if kind in PLAIN or self._traced(value):
            return value
        if kind in (list, tuple, dict):
            value = self.shadow(value)
            if not is_deferred(value):
                return value
            self._note_text()
            return DeferredText(container, (value,))
        if isinstance(value, (*CONTAINERS, deque)):
            value = self.shadow(value)
            if any(map(self._traced, contents(value))):
                raise self.refusal(f"formats a {kind.__name__} of traced values")
            return value
        if isinstance(value, GraphJitError):  # its text has more in it than NumPy's
            raise self.refusal("formats an error of NumPy's")
        for name in ("__format__", "__str__", "__repr__"):
            if self.method_of(value, name) is not None:
                raise self.refusal(f"formats a {kind.__name__}, which isn't followed")
        return self.shadow(value)

    def enter(self, manager: Any) -> Any:
        kind = type(manager)
        if self.closed:
            return manager
        if kind is np.errstate:
            if self._outside(manager):
                raise self.refusal("enters an np.errstate from outside")
            return ErrorState(self, manager)
        if is_trusted(kind):
            return manager
        enter = self.method_of(manager, "__enter__")
        leave = self.method_of(manager, "__exit__")
        if enter is not None and leave is not None:
            return _Manager(self, manager, enter, leave)
        raise self.refusal(f"enters a {kind.__name__}, which isn't followed")

    def match(self, subject: Any) -> Any:
        if self.closed or type(subject) in PLAIN:
            return subject
        if self.source_of(subject) is not None and not isinstance(subject, CONTAINERS):
            raise self.refusal(f"matches a {type(subject).__name__} from outside")
        if not is_trusted(type(subject)):
            self.guard_static(type(subject), "__match_args__")
        return self.one_level(subject)

    def imported(self, module: Any, name: str) -> Any:
        if self.closed:
            return module
        self._require_module(module, name)
        if is_trusted(module):
            return module
        for key in (name, name.partition(".")[0], module.__name__):
            if sys.modules.get(key) is module:
                modules = ConstSource(sys.modules, "sys.modules")
                self.guard(Check.SAME, ItemSource(modules, key), module)
                return module
        raise self.refusal(f"imports {name}, which isn't found under its name afterwards")

    def _require_module(self, module: Any, name: str) -> None:
        if not isinstance(module, types.ModuleType):
            raise self.refusal(f"imports {name} of a {type(module).__name__}, no module")

    def imported_from(self, found: tuple[Any, Any], name: str) -> Any:
        value, module = found
        if self.closed:
            return value
        self._require_module(module, name)
        if is_trusted(module):
            return value
        return self.read(value, AttributeSource(ConstSource(module, module.__name__), name))

    def build_class(self) -> None:
        if not self.closed:
            raise self.refusal("defines a class, which can't be traced")


class _Manager:
    """A context manager of the user's, entered and left with hooks."""

    def __init__(self, recorder: OperatorHooks, manager: Any, enter: Any, leave: Any) -> None:
        self._recorder, self._manager = recorder, manager
        self._enter, self._leave = enter, leave

    def __enter__(self) -> Any:
        return self._recorder.call(self._enter, self._manager)

    def __exit__(self, *error: Any) -> Any:
        return self._recorder.call(self._leave, self._manager, *error)


class ErrorState:
    """An np.errstate, refused where it has floating-point errors raised or the like."""

    def __init__(self, recorder: OperatorHooks, manager: Any) -> None:
        self._recorder, self._manager = recorder, manager

    def __enter__(self) -> Any:
        entered = self._manager.__enter__()
        if float_errors.are_reported():
            self._manager.__exit__()
            raise self._recorder.refusal("enters an np.errstate that reports errors")
        return entered

    def __exit__(self, *error: Any) -> Any:
        return self._manager.__exit__(*error)


def _compares_identity(operands: tuple[Any, Any], symbol: str) -> bool:
    """Whether a comparison is that of `object`, which asks whether both are one."""
    if symbol not in ("==", "!="):
        return False
    own = [static_attribute(type(x), "__eq__") is vars(object)["__eq__"] for x in operands]
    return all(own) and not any(isinstance(x, TensorBase) for x in operands)


def _objects_in(value: Any, depth: int = 0) -> list[Any]:
    """The objects of the user's in nested containers, keys included."""
    if isinstance(value, (*CONTAINERS, deque, *_VIEWS)):
        found = contents(value) if depth < MAX_DEPTH else []
        return [x for part in found for x in _objects_in(part, depth + 1)]
    known = type(value) in PLAIN or isinstance(value, TensorBase) or is_trusted(type(value))
    return [] if known and not isinstance(value, _COMPARED_BY_CONTENTS) else [value]


def checked_length(found: Any) -> int:
    """What `__len__` gave, or a bool."""
    length = operator.index(found)
    if length < 0:
        raise ValueError("__len__() should return >= 0")
    return length


def _goes_first(kind: type) -> bool:
    """Whether NumPy's arrays leave an operator to the method of the right operand's class."""
    ufunc = static_attribute(kind, "__array_ufunc__")
    if ufunc is not MISSING:
        return ufunc is None
    priority = static_attribute(kind, "__array_priority__")
    return isinstance(priority, (int, float)) and priority > 0


def _variants(name: str) -> tuple[str, ...]:
    """The names of an operator's methods: in place, plain, reflected."""
    mirrored = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
    if name in mirrored:
        return name, mirrored[name]
    if name.startswith("i") and name not in ("invert",):
        return name, name[1:], "r" + name[1:]
    return name, "r" + name


__all__ = ["ErrorState", "OperatorHooks", "checked_length"]
