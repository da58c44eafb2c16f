"""Copies of code objects in which hooks see what the code reads, writes, calls and tests."""

from __future__ import annotations

import bisect
import dis
import inspect
import weakref
from types import CodeType, FunctionType
from typing import Any, Final

from graphjit.core.errors import GraphJitError
from graphjit.core.frozen import dataclass

from .code import VERSION, Handler, Instruction, Position, decode, encode, opcode_offsets
from .hooks import Hooks
from .opcodes import TREATMENTS, Treatment

_OPS: Final = dis.opmap
# How much of the stack the calls of hooks take at most.
_MARGIN: Final = 6
_IS_FUNCTION: Final = inspect.CO_NEWLOCALS | inspect.CO_OPTIMIZED
_ENDS: Final = frozenset(
    _OPS[name]
    for name in ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "INTERPRETER_EXIT")
    if name in _OPS
)
_ALWAYS_JUMPS: Final = frozenset(
    _OPS[name]
    for name in ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
    if name in _OPS
)
_UNARY_POSITIVE: Final = 5  # the number of CALL_INTRINSIC_1 that computes +x


class CannotInstrument(GraphJitError):
    """The code has an instruction that isn't known in this version of Python."""


def instrument(code: CodeType, hooks: Hooks, *, nested: bool = False) -> CodeType:
    """A copy of a function's code that calls these hooks.

    nested: also the code of functions inside it; else it stays as it is, and is instrumented
    when it is called. Bodies of classes and modules call no hooks themselves.
    Raises CannotInstrument for an instruction that this version's table doesn't have.
    """
    consts = [
        instrument(value, hooks, nested=True)
        if nested and isinstance(value, CodeType)
        else value
        for value in code.co_consts
    ]
    if code.co_flags & _IS_FUNCTION != _IS_FUNCTION:
        return code.replace(co_consts=tuple(consts)) if nested else code
    return _Instrumenter(code, hooks, consts).result()


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """The last constant of code with hooks. numbers: for each of its instructions that of the
    instruction of the code without hooks that it is for. globals: the names that the code
    reads as globals.
    """

    code: weakref.ref[CodeType]
    numbers: tuple[int, ...]
    globals: frozenset[str]


def has_hooks(code: CodeType) -> bool:
    """Whether code is a copy that calls hooks."""
    return bool(code.co_consts) and isinstance(code.co_consts[-1], _Origin)


def globals_read(code: CodeType) -> frozenset[str]:
    """The names that code with hooks reads as globals."""
    origin = code.co_consts[-1]
    return origin.globals if isinstance(origin, _Origin) else frozenset()


def without_hooks(code: CodeType, offset: int) -> tuple[CodeType, int]:
    """The code that has no hooks, and the offset [bytes] that stands for this one in it."""
    origin = code.co_consts[-1] if code.co_consts else None
    if not isinstance(origin, _Origin):
        return code, offset
    plain = origin.code()
    if plain is None:  # it was dropped
        return code, offset
    number = bisect.bisect_right(opcode_offsets(code), offset) - 1
    return plain, opcode_offsets(plain)[origin.numbers[max(number, 0)]]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the hook of this name goes among a template's constants."""

    name: str


class _Places(Hooks):
    """In place of hooks: what they are bound to is decided later."""

    def __getattribute__(self, name: str) -> Any:
        return _Place(name)


_PLACES: Final = _Places()
_templates: dict[int, tuple[weakref.ref[CodeType], CodeType]] = {}


def bind(code: CodeType, hooks: Hooks) -> CodeType:
    """What `instrument` gives, made from a copy that is kept as long as the code lives."""
    known = _templates.get(id(code))
    if known is None or known[0]() is not code:
        number = id(code)

        def forget(reference: Any, templates: dict[int, Any] = _templates) -> None:
            found = templates.get(number)
            if found is not None and found[0] is reference:
                del templates[number]

        known = weakref.ref(code, forget), instrument(code, _PLACES)
        _templates[number] = known
    template = known[1]
    if template is code:  # the body of a class or module
        return code
    return template.replace(
        co_consts=tuple(
            getattr(hooks, value.name) if type(value) is _Place else value
            for value in template.co_consts
        )
    )


def instrumented(function: FunctionType, code: CodeType) -> FunctionType:
    """A function like this one with other code: the same globals, cells and defaults."""
    copy = FunctionType(
        code,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__module__ = function.__module__
    copy.__doc__ = function.__doc__
    copy.__annotations__ = function.__annotations__
    copy.__dict__.update(function.__dict__)
    return copy


class _Instrumenter:
    def __init__(self, code: CodeType, hooks: Hooks, consts: list[Any]) -> None:
        self._code = code
        self._hooks = hooks
        self._consts = consts
        self._numbers: dict[Any, int] = {}  # of constants that were added
        self._old, self._handlers = decode(code)
        self._new: list[Instruction] = []
        self._position: Position = (None, None, None, None)
        self._callables = _callable_depths(self._old, self._handlers)

    def result(self) -> CodeType:
        first: dict[Instruction, Instruction] = {}  # what was put in an instruction's place
        numbers: list[int] = []
        for number, x in enumerate(self._old):
            start = len(self._new)
            self._position = x.position
            self._place(x, number)
            first[x] = self._new[start]
            numbers += [number] * (len(self._new) - start)
        for x in self._new:
            if x.target is not None:
                x.target = first[x.target]
        handlers = [
            Handler(
                first[h.start], None if h.stop is None else first[h.stop], first[h.target],
                h.depth, h.lasti,
            )
            for h in self._handlers
        ]  # fmt: skip
        return encode(
            self._code,
            self._new,
            handlers,
            consts=(
                *self._consts,
                _Origin(weakref.ref(self._code), tuple(numbers), self._globals()),
            ),
            stack=self._code.co_stacksize + _MARGIN,
        )

    def _globals(self) -> frozenset[str]:
        read = _OPS["LOAD_GLOBAL"]
        return frozenset(self._name(x.arg >> 1) for x in self._old if x.op == read)

    # -- emitting

    def _emit(self, name: str, arg: int = 0) -> None:
        self._new.append(Instruction(_OPS[name], arg, None, self._position))

    def _keep(self, x: Instruction, arg: int | None = None) -> None:
        self._new.append(
            Instruction(x.op, x.arg if arg is None else arg, x.target, x.position, x.index)
        )

    def _const(self, value: Any) -> int:
        key = (type(value), value)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._consts)
            self._consts.append(value)
        return number

    def _hook(self, name: str, *more: Any) -> None:
        """Put what a hook gives for the top of the stack in its place."""
        function = self._const(getattr(self._hooks, name))
        if VERSION < (3, 13):
            self._emit("LOAD_CONST", function)
            self._emit("PUSH_NULL")
        else:
            self._emit("PUSH_NULL")
            self._emit("LOAD_CONST", function)
        self._emit("SWAP", 3)
        for value in more:
            self._emit("LOAD_CONST", self._const(value))
        self._call(1 + len(more))

    def _tell(self, name: str, *more: Any) -> None:
        """Call a hook with constants only, and drop what it gives."""
        function = self._const(getattr(self._hooks, name))
        if VERSION < (3, 13):
            self._emit("PUSH_NULL")
            self._emit("LOAD_CONST", function)
        else:
            self._emit("LOAD_CONST", function)
            self._emit("PUSH_NULL")
        for value in more:
            self._emit("LOAD_CONST", self._const(value))
        self._call(len(more))
        self._emit("POP_TOP")

    def _call(self, count: int) -> None:
        if VERSION < (3, 12):
            self._emit("PRECALL", count)
        self._emit("CALL", count)

    def _hook_of(self, count: int, name: str, *more: Any) -> None:
        """The same for so many values on top of the stack, given as a tuple."""
        self._emit("BUILD_TUPLE", count)
        self._hook(name, *more)

    def _as_callee(self) -> None:
        """Make the top of the stack a callable without an object of its own."""
        self._emit("PUSH_NULL")
        if VERSION < (3, 13):
            self._emit("SWAP", 2)

    def _cell(self, number: int) -> None:
        self._emit("LOAD_CLOSURE" if VERSION < (3, 13) else "LOAD_FAST", number)

    def _name(self, number: int) -> str:
        return self._code.co_names[number]

    def _free_name(self, number: int) -> str:
        code = self._code
        names = code.co_varnames
        if number < len(names):
            return names[number]
        others = [name for name in code.co_cellvars if name not in names]
        return (*others, *code.co_freevars)[number - len(names)]

    # -- one instruction

    def _place(self, x: Instruction, number: int) -> None:
        """Emit what stands for an instruction."""
        match TREATMENTS.get(x.op):
            case None | Treatment.NEVER | Treatment.NAME:
                raise CannotInstrument(
                    f"{x.name} in {self._code.co_qualname} is unknown in this version of Python"
                )
            case Treatment.PLAIN:
                if x.name in ("KW_NAMES", "PRECALL"):
                    self._before_call(number)
                self._keep(x)
            case Treatment.CALL:
                self._before_call(number)
                self._keep(x)
            case Treatment.GLOBAL:
                self._keep(x, x.arg & ~1)
                self._hook("load_global", self._name(x.arg >> 1))
                if x.arg & 1:
                    self._as_callee()
            case Treatment.DEREF:
                self._keep(x)
                self._cell(x.arg)
                self._hook_of(2, "load_deref", self._free_name(x.arg))
            case Treatment.STORE_DEREF:
                self._cell(x.arg)
                self._hook_of(2, "store_deref", self._free_name(x.arg))
                self._emit("POP_TOP")
            case Treatment.DELETE_DEREF:
                self._cell(x.arg)
                self._hook("delete_deref", self._free_name(x.arg))
                self._emit("POP_TOP")
                self._keep(x)
            case Treatment.STORE_GLOBAL:
                self._hook("store_global", self._name(x.arg))
                self._emit("POP_TOP")
            case Treatment.DELETE_GLOBAL:
                self._tell("delete_global", self._name(x.arg))
            case Treatment.ATTRIBUTE if VERSION < (3, 12):
                self._hook("load_attribute", self._name(x.arg))
            case Treatment.ATTRIBUTE:
                self._hook("load_attribute", self._name(x.arg >> 1))
                if x.arg & 1:
                    self._as_callee()
            case Treatment.METHOD:
                self._hook("load_attribute", self._name(x.arg))
                self._as_callee()
            case Treatment.SUPER:
                self._keep(x, x.arg & ~1)
                self._hook("load_super", self._name(x.arg >> 2))
                if x.arg & 1:
                    self._as_callee()
            case Treatment.STORE_ATTRIBUTE:
                self._hook_of(2, "store_attribute", self._name(x.arg))
                self._emit("POP_TOP")
            case Treatment.DELETE_ATTRIBUTE:
                self._hook("delete_attribute", self._name(x.arg))
                self._emit("POP_TOP")
            case _:
                self._compute(x)

    def _compute(self, x: Instruction) -> None:
        """The same for instructions on items, operators, tests, and the rest."""
        match TREATMENTS[x.op]:
            case Treatment.ITEM:
                self._hook_of(2, "load_item")
            case Treatment.SLICE:
                self._emit("BUILD_SLICE", 2)
                self._hook_of(2, "load_item")
            case Treatment.STORE_ITEM:
                self._hook_of(3, "store_item")
                self._emit("POP_TOP")
            case Treatment.STORE_SLICE:
                self._emit("BUILD_SLICE", 2)
                self._hook_of(3, "store_item")
                self._emit("POP_TOP")
            case Treatment.DELETE_ITEM:
                self._hook_of(2, "delete_item")
                self._emit("POP_TOP")
            case Treatment.BINARY:
                self._hook_of(2, "binary", x.arg)
            case Treatment.UNARY:
                symbols = {"UNARY_NEGATIVE": "-", "UNARY_POSITIVE": "+", "UNARY_INVERT": "~"}
                self._hook("unary", symbols[x.name])
            case Treatment.INTRINSIC:
                if x.arg == _UNARY_POSITIVE:
                    self._hook("unary", "+")
                else:
                    self._keep(x)
            case Treatment.COMPARE:
                self._hook_of(2, "compare", _comparison(x.arg))
                if VERSION >= (3, 13) and x.arg & 16:
                    self._hook("truth")
                    self._emit("TO_BOOL")
            case Treatment.CONTAINS:
                self._hook_of(2, "contains", x.arg)
            case Treatment.IS:
                self._hook_of(2, "identical", x.arg)
            case Treatment.FORMAT if (x.name == "FORMAT_VALUE" and x.arg & 4) or (
                x.name == "FORMAT_WITH_SPEC"
            ):
                self._emit("SWAP", 2)
                self._hook("text")
                self._emit("SWAP", 2)
                self._keep(x)
            case Treatment.MATCH if x.name == "MATCH_KEYS":
                self._keep(x)  # MATCH_MAPPING came before it
            case Treatment.MATCH if x.name == "MATCH_CLASS":
                self._emit("SWAP", 3)
                self._hook("match")
                self._emit("SWAP", 3)
                self._keep(x)
            case Treatment.IMPORT:
                self._keep(x)
                self._hook("imported", self._name(x.arg))
            case Treatment.IMPORT_FROM:
                self._keep(x)
                self._emit("COPY", 2)
                self._hook_of(2, "imported_from", self._name(x.arg))
            case Treatment.BUILD_CLASS:
                self._tell("build_class")
                self._keep(x)
            case treatment:
                self._hook(_BEFORE[treatment])
                self._keep(x)

    def _before_call(self, number: int) -> None:
        """Let the hook see what is called, before the first instruction of a call."""
        before = self._old[number - 1].name if number else ""
        if before in ("KW_NAMES", "PRECALL"):
            return
        while self._old[number].name in ("KW_NAMES", "PRECALL"):
            number += 1
        depth = self._callables.get(number)
        if depth is None:  # never reached
            return
        self._emit("COPY", depth)
        self._hook("callee")
        self._emit("SWAP", depth + 1)
        self._emit("POP_TOP")


_BEFORE: Final = {
    Treatment.TRUTH: "truth",
    Treatment.ITERATE: "iterate",
    Treatment.UNPACK: "unpack",
    Treatment.FORMAT: "text",
    Treatment.ENTER: "enter",
    Treatment.MATCH: "match",
}


def _comparison(arg: int) -> str:
    """The symbol of a COMPARE_OP."""
    shift = 0 if VERSION < (3, 12) else 4 if VERSION < (3, 13) else 5
    return dis.cmp_op[arg >> shift]


def _callable_depths(
    instructions: list[Instruction], handlers: list[Handler]
) -> dict[int, int]:
    """How deep in the stack the callable of each call lies, by the number of the instruction.

    Up to 3.12 a call has a NULL below its callable, or a callable and its first argument: which
    of them depends on how the stack was filled, so the NULLs are followed through the code.
    """
    found = {}
    for number, x in enumerate(instructions):
        if x.name == "CALL_FUNCTION_EX":
            found[number] = (x.arg & 1) + (2 if VERSION < (3, 13) else 3)
        elif VERSION >= (3, 13) and x.name in ("CALL", "CALL_KW"):
            found[number] = x.arg + (2 if x.name == "CALL" else 3)
    if VERSION < (3, 13):
        found.update(_depths_by_nulls(instructions, handlers))
    return found


def _depths_by_nulls(
    instructions: list[Instruction], handlers: list[Handler]
) -> dict[int, int]:
    found: dict[int, int] = {}
    covering: list[list[Handler]] = [[] for _ in instructions]
    for handler in handlers:
        stop = len(instructions) if handler.stop is None else handler.stop.index
        for number in range(handler.start.index, stop):
            covering[number].append(handler)
    seen = bytearray(len(instructions))
    todo: list[tuple[int, int, frozenset[int]]] = [(0, 0, frozenset())]
    while todo:
        number, depth, nulls = todo.pop()
        while not seen[number]:
            seen[number] = 1
            x = instructions[number]
            for h in covering[number]:
                if not seen[h.target.index]:
                    kept = frozenset(n for n in nulls if n < h.depth)
                    todo.append((h.target.index, h.depth + h.lasti + 1, kept))
            if x.name == "CALL":
                base = depth - (2 if VERSION < (3, 12) else x.arg + 2)
                found[number] = x.arg + (1 if base in nulls else 2)
            if x.target is not None:
                after = depth + dis.stack_effect(x.op, x.arg, jump=True)
                todo.append((x.target.index, after, nulls))
            if x.op in _ENDS or x.op in _ALWAYS_JUMPS:
                break
            after = depth + dis.stack_effect(
                x.op, x.arg if x.op >= dis.HAVE_ARGUMENT else None, jump=False
            )
            nulls = _nulls_after(x, nulls, depth, after)
            number, depth = number + 1, after
    return found


def _nulls_after(
    x: Instruction, nulls: frozenset[int], depth: int, after: int
) -> frozenset[int]:
    """Where NULLs lie in the stack, counted from its bottom, after an instruction."""
    match x.name:
        case "PUSH_NULL":
            return nulls | {depth}
        case "LOAD_GLOBAL" if x.arg & 1:
            return nulls | {depth}
        case "LOAD_METHOD":
            return nulls | {depth - 1}
        case "LOAD_ATTR" if VERSION >= (3, 12) and x.arg & 1:
            return nulls | {depth - 1}
        case "LOAD_SUPER_ATTR" if x.arg & 1:
            return nulls | {depth - 3}
        case "SWAP":
            top, other = depth - 1, depth - x.arg
            swapped = {top: other, other: top}
            return frozenset(swapped.get(n, n) for n in nulls)
        case "CALL" | "CALL_FUNCTION_EX":
            return frozenset(n for n in nulls if n < after - 1)
        case _:
            return frozenset(n for n in nulls if n < after) if after < depth else nulls


__all__ = [
    "CannotInstrument",
    "bind",
    "globals_read",
    "has_hooks",
    "instrument",
    "instrumented",
    "without_hooks",
]
