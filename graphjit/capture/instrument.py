"""Copies of code objects in which hooks see what the code reads, writes, calls and tests."""

from __future__ import annotations

import bisect
import dis
import functools
import inspect
import weakref
from array import array
from types import CodeType, FunctionType
from typing import Any, Final

from graphjit.core.errors import GraphJitError
from graphjit.core.frozen import dataclass

from .code import (
    JUMPS,
    VERSION,
    Decoded,
    Handler,
    decode,
    encode,
    instruction,
    opcode_offset,
)
from .hooks import AGAIN, Hooks
from .joins import MAX_BELOW, Join, find_joins
from .opcodes import TREATMENTS, Treatment

_OPS: Final = dis.opmap
# How much of the stack the calls of hooks take at most.
_MARGIN: Final = 7 + 2 * MAX_BELOW
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
# What is left as it is, and is no jump.
_PLAIN: Final = frozenset(o for o, t in TREATMENTS.items() if t is Treatment.PLAIN) - JUMPS
_IF_FALSE: Final = _OPS.get("POP_JUMP_FORWARD_IF_FALSE", _OPS.get("POP_JUMP_IF_FALSE", 0))
_UNARY_POSITIVE: Final = 5  # the number of CALL_INTRINSIC_1 that computes +x


class CannotInstrument(GraphJitError):
    """The code has an instruction that isn't known in this version of Python."""


def instrument(
    code: CodeType, hooks: Hooks, *, nested: bool = False, listing: bool = False
) -> CodeType:
    """A copy of a function's code that calls these hooks.

    nested: also the code of functions inside it; else it stays as it is, and is instrumented
    when it is called. Bodies of classes and modules call no hooks themselves. listing: of a
    generator expression, a function that gives a list of what that yields.
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
    return _Instrumenter(code, hooks, consts, listing).result()


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """The last constant of code with hooks.

    starts: the unit at which begins what stands for each instruction of the code without hooks.
    globals: the names that the code reads as globals. joins: its branches whose ways can be
    run one after the other, and the units of the jumps for that, first and after the last.
    """

    code: weakref.ref[CodeType]
    starts: array[int]
    globals: frozenset[str]
    joins: tuple[Join, ...] = ()
    jumps: tuple[tuple[int, int], ...] = ()


def has_hooks(code: CodeType) -> bool:
    """Whether code is a copy that calls hooks."""
    return bool(code.co_consts) and isinstance(code.co_consts[-1], _Origin)


def globals_read(code: CodeType) -> frozenset[str]:
    """The names that code with hooks reads as globals."""
    origin = code.co_consts[-1]
    return origin.globals if isinstance(origin, _Origin) else frozenset()


def joins_of(code: CodeType) -> tuple[CodeType | None, tuple[Join, ...]]:
    """The branches of code with hooks whose ways can be run one after the other, and the code
    without hooks, by whose instructions they are told; None where there is none.
    """
    origin = code.co_consts[-1] if code.co_consts else None
    if not isinstance(origin, _Origin):
        return None, ()
    return origin.code(), origin.joins


def jumps_to_other_ways(code: CodeType) -> tuple[tuple[int, int], ...]:
    """Where code with hooks jumps to a branch's other way: the units of each such part, the
    first and that after the last.
    """
    origin = code.co_consts[-1] if code.co_consts else None
    return origin.jumps if isinstance(origin, _Origin) else ()


def without_hooks(code: CodeType, offset: int) -> tuple[CodeType, int]:
    """The code that has no hooks, and the offset [bytes] that stands for this one in it."""
    origin = code.co_consts[-1] if code.co_consts else None
    if not isinstance(origin, _Origin):
        return code, offset
    plain = origin.code()
    if plain is None:  # it was dropped
        return code, offset
    number = max(bisect.bisect_right(origin.starts, offset // 2) - 1, 0)
    return plain, opcode_offset(plain, decode(plain).starts[number])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the hook of this name goes among a template's constants."""

    name: str


class _Places(Hooks):
    """In place of hooks: what they are bound to is decided later."""

    def __getattribute__(self, name: str) -> Any:
        return _Place(name)


_PLACES: Final = _Places()
_templates: dict[tuple[int, bool], tuple[weakref.ref[CodeType], CodeType]] = {}


def bind(code: CodeType, hooks: Hooks, listing: bool = False) -> CodeType:
    """What `instrument` gives, made from a copy that is kept as long as the code lives."""
    number = id(code), listing
    known = _templates.get(number)
    if known is None or known[0]() is not code:

        def forget(reference: Any, templates: dict[Any, Any] = _templates) -> None:
            found = templates.get(number)
            if found is not None and found[0] is reference:
                del templates[number]

        known = weakref.ref(code, forget), instrument(code, _PLACES, listing=listing)
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
    """Writes what stands for each instruction of one code object.

    What it is depends on the opcode and its argument alone, but for calls.
    """

    def __init__(self, code: CodeType, hooks: Hooks, consts: list[Any], listing: bool) -> None:
        self._code = code
        self._hooks = hooks
        self._consts = consts
        self._numbers: dict[Any, int] = {}  # of constants that were added
        self._decoded = decode(code)
        self._lists = _comprehensions(self._decoded)
        self._listing = listing
        # How many variables there are besides the code's own.
        self._added = len(self._lists) + listing
        self._callables: dict[int, int] = {}
        self._calls: dict[Any, bytes] = {}  # of hooks

    def result(self) -> CodeType:
        decoded = self._decoded
        if self._added:
            self._make_room(decoded)
        # opcode and argument in one number, for the garbage collector looks at tuples
        words = [arg << 8 | op for op, arg in zip(decoded.ops, decoded.args, strict=True)]
        known = dict.fromkeys(words, b"")
        for word in known:
            op, arg = word & 255, word >> 8
            known[word] = instruction(op, arg) if op in _PLAIN else self._part(op, arg)
        parts = list(map(known.__getitem__, words))
        if not _CALL_OPS.isdisjoint(decoded.ops):
            self._callables = _callable_depths(decoded)
            for number, op in enumerate(decoded.ops):
                if op in _CALL_OPS:
                    parts[number] = self._before_call(number) + parts[number]
        if self._lists:
            self._collect(parts)
        joins = () if self._listing else tuple(find_joins(self._code, decoded))
        if self._listing:
            self._list_yielded(parts)
        stack, jumps = self._code.co_stacksize + _MARGIN, list[tuple[int, int]]()
        if joins:
            copy, starts, jumps = self._encode_joined(joins, parts, stack)
        else:
            copy, starts = encode(self._code, decoded, parts, stack)
        if self._added:
            lists = tuple(f".list{k}" for k in range(self._added))
            count = copy.co_nlocals + len(lists)
            copy = copy.replace(co_varnames=copy.co_varnames + lists, co_nlocals=count)
        if self._listing:
            copy = copy.replace(co_flags=copy.co_flags & ~inspect.CO_GENERATOR)
        read = _OPS["LOAD_GLOBAL"]
        names = frozenset(self._name(word >> 9) for word in known if word & 255 == read)
        origin = _Origin(weakref.ref(self._code), starts, names, joins, tuple(jumps))
        return copy.replace(co_consts=(*self._consts, origin))

    # -- lists of comprehensions, which become variables

    def _make_room(self, decoded: Decoded) -> None:
        """Count cells from where they are when there are more variables before them."""
        first, more = self._code.co_nlocals, self._added
        for number, op in enumerate(decoded.ops):
            if op in _ON_VARIABLES and decoded.args[number] >= first:
                decoded.args[number] += more

    def _collect(self, parts: list[bytes]) -> None:
        """Keep the list of a comprehension in a variable: a loop may then be one node."""
        decoded, first = self._decoded, self._code.co_nlocals
        append, within = _OPS["LIST_APPEND"], [-1] * len(parts)
        for k, (start, end) in enumerate(self._lists):  # inner ones come later
            within[start:end] = [k] * (end - start)
        for number, op in enumerate(decoded.ops):
            if op == append and within[number] >= 0:
                place = first + within[number]
                parts[number] = _bytes("LOAD_FAST", place) + self._hook_of(2, "collect") + _POP
        for k, (start, end) in enumerate(self._lists):
            place = first + k
            parts[start] += _bytes("STORE_FAST", place) + self._load(None)
            made = _bytes("LOAD_FAST", place) + _bytes("SWAP", 2) + _POP
            made += _bytes("DELETE_FAST", place)
            if VERSION < (3, 12):
                parts[end] = made + parts[end]
            else:  # the loop drops its iterator first
                parts[end + (VERSION >= (3, 13))] += made

    def _list_yielded(self, parts: list[bytes]) -> None:
        """Make the code of a generator give a list of what it yields."""
        place = self._code.co_nlocals + len(self._lists)
        found = _bytes("LOAD_FAST", place)
        give = found + _bytes("RETURN_VALUE")
        for number, op in enumerate(self._decoded.ops):
            match dis.opname[op]:
                case "RETURN_GENERATOR":  # what it gives is dropped
                    made = _bytes("BUILD_LIST") + self._hook("made_list")
                    parts[number] = made + _bytes("STORE_FAST", place)
                    parts[number + 1] = b""
                case "YIELD_VALUE":
                    parts[number] = found + self._hook_of(2, "collect")
                case "RESUME" if self._decoded.args[number]:
                    parts[number] = b""
                case "RETURN_VALUE":
                    parts[number] = _POP + give
                case "RETURN_CONST":
                    parts[number] = give

    # -- the other ways of branches

    def _encode_joined(
        self, joins: tuple[Join, ...], parts: list[bytes], stack: int
    ) -> tuple[CodeType, array[int], list[tuple[int, int]]]:
        """The copy with jumps to the other ways of branches where their ways meet, the unit at
        which each part starts, and the units of these jumps.
        """
        decoded = self._decoded
        at: dict[int, list[tuple[int, Join]]] = {}
        for k, join in enumerate(joins):
            self._test_joined(join, k, parts)
            for number in join.meets:
                at.setdefault(number, []).append((k, join))
        ops, args, starts = bytearray(), list[int](), list[int]()
        made, places, first = list[bytes](), list[int](), list[int]()
        wanted: list[tuple[int, int]] = []  # jumps, and the instructions that they lead to
        added: list[tuple[int, int]] = []

        def add(op: int, arg: int, start: int, part: bytes) -> None:
            ops.append(op)
            args.append(arg)
            starts.append(start)
            made.append(part)

        for number, op in enumerate(decoded.ops):
            start, arg = decoded.starts[number], decoded.args[number]
            first.append(len(ops))
            if number in at:
                if dis.opname[op] == "RETURN_CONST":
                    load = _OPS["LOAD_CONST"]
                    add(load, arg, start, instruction(load, arg))
                    op, arg = _OPS["RETURN_VALUE"], 0
                    parts[number] = instruction(op)
                begin = len(ops)
                for k, join in reversed(at[number]):  # the innermost first
                    asked, again = self._at_join(k, join)
                    add(_IF_FALSE, 0, start, asked)
                    back = join.other <= number
                    add(_OPS["JUMP_BACKWARD" if back else "JUMP_FORWARD"], 0, start, again)
                    wanted.append((len(ops) - 1, join.other))
                added.append((begin, len(ops)))
            places.append(len(ops))
            add(op, arg, start, parts[number])
        first.append(len(ops))
        targets = {places[n]: first[to] for n, to in decoded.targets.items()}
        for begin, end in added:
            targets.update({n: n + 2 for n in range(begin, end, 2)})
        targets.update({n: first[to] for n, to in wanted})
        handlers = [
            Handler(first[h.start], first[h.stop], first[h.target], h.depth, h.lasti)
            for h in decoded.handlers
        ]
        whole = Decoded(bytes(ops), args, [*starts, decoded.starts[-1]], targets, handlers)
        copy, units = encode(self._code, whole, made, stack)
        jumps = [(units[begin], units[end]) for begin, end in added]
        return copy, array("I", [units[n] for n in first]), jumps

    def _test_joined(self, join: Join, number: int, parts: list[bytes]) -> None:
        """Let the hook for what decides about a jump know which branch it is."""
        decoded, branch = self._decoded, join.branch
        asked = b"".join(_bytes("COPY", 2 + 2 * k) for k in range(join.below))
        asked += _bytes("BUILD_TUPLE", join.below)
        asked += self._hook_of(2, "test_joined", number, join.first)
        if VERSION < (3, 13):
            parts[branch] = asked
            return
        op, arg = decoded.ops[branch - 1], decoded.args[branch - 1]
        found = b""
        if dis.opname[op] == "COMPARE_OP":
            found = self._hook_of(2, "compare", _comparison(arg))
        elif dis.opname[op] != "TO_BOOL":
            return
        parts[branch - 1] = found + asked + _bytes("TO_BOOL")

    def _at_join(self, number: int, join: Join) -> tuple[bytes, bytes]:
        """What comes before the jump past the jump to a branch's other way, and before that
        one.
        """
        again = b""
        if join.below:
            again = self._ask("kept_below", number) + _bytes("UNPACK_SEQUENCE", join.below)
        if not join.value:
            return self._ask("at_join", number), again
        compare = _bytes("COPY", 1) + self._load(AGAIN) + _bytes("IS_OP")
        return self._hook("at_join_with", number) + compare, _POP + again

    def _ask(self, name: str, number: int) -> bytes:
        """Put what a hook gives for a number on the stack."""
        function, null = self._load(getattr(self._hooks, name)), _bytes("PUSH_NULL")
        start = null + function if VERSION < (3, 13) else function + null
        return start + self._load(number) + _call(1)

    # -- what bytecode is made of

    def _const(self, value: Any) -> int:
        key = (type(value), value)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._consts)
            self._consts.append(value)
        return number

    def _load(self, value: Any) -> bytes:
        return _bytes("LOAD_CONST", self._const(value))

    def _hook(self, name: str, *more: Any) -> bytes:
        """Put what a hook gives for the top of the stack in its place."""
        key = (name, *more)
        made = self._calls.get(key)
        if made is None:
            function = self._load(getattr(self._hooks, name))
            null = _bytes("PUSH_NULL")
            start = function + null if VERSION < (3, 13) else null + function
            given = b"".join(map(self._load, more))
            made = start + _bytes("SWAP", 3) + given + _call(1 + len(more))
            self._calls[key] = made
        return made

    def _tell(self, name: str) -> bytes:
        """Call a hook without arguments, and drop what it gives."""
        function, null = self._load(getattr(self._hooks, name)), _bytes("PUSH_NULL")
        start = null + function if VERSION < (3, 13) else function + null
        return start + _call(0) + _POP

    def _tell_name(self, name: str, value: str) -> bytes:
        """The same with a name."""
        function, null = self._load(getattr(self._hooks, name)), _bytes("PUSH_NULL")
        start = null + function if VERSION < (3, 13) else function + null
        return start + self._load(value) + _call(1) + _POP

    def _hook_of(self, count: int, name: str, *more: Any) -> bytes:
        """The same as _hook for so many values on top of the stack, given as a tuple."""
        return _bytes("BUILD_TUPLE", count) + self._hook(name, *more)

    def _cell(self, number: int) -> bytes:
        return _bytes("LOAD_CLOSURE" if VERSION < (3, 13) else "LOAD_FAST", number)

    def _name(self, number: int) -> str:
        return self._code.co_names[number]

    def _free_name(self, number: int) -> str:
        code = self._code
        names = code.co_varnames
        if number < len(names):
            return names[number]
        others = [name for name in code.co_cellvars if name not in names]
        return (*others, *code.co_freevars)[number - len(names) - self._added]

    # -- one instruction

    def _part(self, op: int, arg: int) -> bytes:
        """What stands for an instruction; of a jump what comes before it."""
        kept = b"" if op in JUMPS else instruction(op, arg)
        match TREATMENTS.get(op):
            case None | Treatment.NEVER | Treatment.NAME:
                raise CannotInstrument(
                    f"{dis.opname[op]} in {self._code.co_qualname} is unknown in this version "
                    "of Python"
                )
            case Treatment.CALL if op == _CALL_FUNCTION_EX:
                unpack = self._hook("unpack")
                swap = _bytes("SWAP", 2)
                return (swap + unpack + swap if arg & 1 else unpack) + kept
            case Treatment.PLAIN | Treatment.CALL:
                return kept
            case Treatment.GLOBAL:
                found = instruction(op, arg & ~1)
                return found + self._hook("load_global", self._name(arg >> 1)) + _callee(arg)
            case Treatment.DEREF:
                hook = self._hook_of(2, "load_deref", self._free_name(arg))
                return kept + self._cell(arg) + hook
            case Treatment.STORE_DEREF:
                hook = self._hook_of(2, "store_deref", self._free_name(arg))
                return self._cell(arg) + hook + _POP
            case Treatment.DELETE_DEREF:
                hook = self._hook("delete_deref", self._free_name(arg))
                return self._cell(arg) + hook + _POP + kept
            case Treatment.STORE_GLOBAL:
                return self._hook("store_global", self._name(arg)) + _POP
            case Treatment.DELETE_GLOBAL:
                return self._tell_name("delete_global", self._name(arg))
            case Treatment.ATTRIBUTE if VERSION < (3, 12):
                return self._hook("load_attribute", self._name(arg))
            case Treatment.ATTRIBUTE:
                return self._hook("load_attribute", self._name(arg >> 1)) + _callee(arg)
            case Treatment.METHOD:
                return self._hook("load_attribute", self._name(arg)) + _callee(1)
            case Treatment.SUPER:
                hook = self._hook_of(3, "load_super", self._name(arg >> 2), bool(arg & 2))
                return hook + _callee(arg)
            case Treatment.STORE_ATTRIBUTE:
                return self._hook_of(2, "store_attribute", self._name(arg)) + _POP
            case Treatment.DELETE_ATTRIBUTE:
                return self._hook("delete_attribute", self._name(arg)) + _POP
            case treatment:
                return self._computed(treatment, dis.opname[op], arg, kept)

    def _computed(self, treatment: Treatment, name: str, arg: int, kept: bytes) -> bytes:
        """The same for instructions on items, operators, tests, and the rest."""
        match treatment:
            case Treatment.ITEM:
                return self._hook_of(2, "load_item")
            case Treatment.SLICE:
                return _bytes("BUILD_SLICE", 2) + self._hook_of(2, "load_item")
            case Treatment.STORE_ITEM:
                return self._hook_of(3, "store_item") + _POP
            case Treatment.STORE_SLICE:
                return _bytes("BUILD_SLICE", 2) + self._hook_of(3, "store_item") + _POP
            case Treatment.DELETE_ITEM:
                return self._hook_of(2, "delete_item") + _POP
            case Treatment.BINARY:
                return self._hook_of(2, "binary", arg)
            case Treatment.UNARY:
                symbols = {"UNARY_NEGATIVE": "-", "UNARY_POSITIVE": "+", "UNARY_INVERT": "~"}
                return self._hook("unary", symbols[name])
            case Treatment.INTRINSIC:
                return self._hook("unary", "+") if arg == _UNARY_POSITIVE else kept
            case Treatment.COMPARE:
                found = self._hook_of(2, "compare", _comparison(arg))
                if VERSION >= (3, 13) and arg & 16:
                    found += self._hook("test") + _bytes("TO_BOOL")
                return found
            case Treatment.CONTAINS:
                return self._hook_of(2, "contains", arg)
            case Treatment.IS:
                return self._hook_of(2, "identical", arg)
            case Treatment.FORMAT if (name == "FORMAT_VALUE" and arg & 4) or (
                name == "FORMAT_WITH_SPEC"
            ):
                return _bytes("SWAP", 2) + self._hook("text") + _bytes("SWAP", 2) + kept
            case Treatment.LIST:
                return kept + self._hook("made_list")
            case Treatment.TRUTH if name.startswith("POP_JUMP") or name == "TO_BOOL":
                return self._hook("test") + kept
            case Treatment.TRUTH if name.endswith("_OR_POP"):
                return self._hook("kept_truth") + kept
            case Treatment.JOIN:
                return self._hook_of(arg, "join_texts")
            case Treatment.MATCH if name == "MATCH_KEYS":
                return kept  # MATCH_MAPPING came before it
            case Treatment.MATCH if name == "MATCH_CLASS":
                return _bytes("SWAP", 3) + self._hook("match") + _bytes("SWAP", 3) + kept
            case Treatment.IMPORT:
                return kept + self._hook("imported", self._name(arg))
            case Treatment.IMPORT_FROM:
                hook = self._hook_of(2, "imported_from", self._name(arg))
                return kept + _bytes("COPY", 2) + hook
            case Treatment.BUILD_CLASS:
                return self._tell("build_class") + kept
            case _:
                return self._hook(_BEFORE[treatment]) + kept

    def _before_call(self, number: int) -> bytes:
        """Let the hook see what is called, before the first instruction of a call."""
        ops = self._decoded.ops
        if number and ops[number - 1] in _CALL_PARTS:
            return b""
        while ops[number] in _CALL_PARTS:
            number += 1
        depth = self._callables.get(number)
        if depth is None:  # never reached
            return b""
        hook = self._hook("callee")
        return _bytes("COPY", depth) + hook + _bytes("SWAP", depth + 1) + _POP


def _comprehensions(decoded: Decoded) -> list[tuple[int, int]]:
    """Where each list comprehension begins, and where its loop is left for."""
    ops = decoded.ops
    found: list[tuple[int, int]] = []
    made, step = _OPS["BUILD_LIST"], _OPS["FOR_ITER"]
    if _OPS["LIST_APPEND"] not in ops:
        return found
    for number in range(len(ops) - 2):
        if ops[number] == made and not decoded.args[number] and ops[number + 2] == step:
            found.append((number, decoded.targets[number + 2]))
    return found


def _bytes(name: str, arg: int = 0) -> bytes:
    return instruction(_OPS[name], arg)


def _call(count: int) -> bytes:
    """A call with so many arguments."""
    call = _bytes("CALL", count)
    return _bytes("PRECALL", count) + call if VERSION < (3, 12) else call


def _callee(flag: int) -> bytes:
    """Make the top of the stack a callable without an object of its own, if the flag's lowest
    bit says so.
    """
    if not flag & 1:
        return b""
    return _bytes("PUSH_NULL") + (_bytes("SWAP", 2) if VERSION < (3, 13) else b"")


_POP: Final = _bytes("POP_TOP")
# Instructions whose argument is the number of a variable or cell.
_ON_VARIABLES: Final = frozenset({*dis.haslocal, *dis.hasfree} & TREATMENTS.keys()) - {
    op for name, op in _OPS.items() if name.count("_FAST") > 1
}
# Instructions that come before a call and belong to it, and those that call.
_CALL_PARTS: Final = frozenset(_OPS[name] for name in ("KW_NAMES", "PRECALL") if name in _OPS)
_CALL_OPS: Final = _CALL_PARTS | {op for op, t in TREATMENTS.items() if t is Treatment.CALL}

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


def _callable_depths(decoded: Decoded) -> dict[int, int]:
    """How deep in the stack the callable of each call lies, by the number of the instruction.

    Up to 3.12 a call has a NULL below its callable, or a callable and its first argument: which
    of them depends on how the stack was filled, so the NULLs are followed through the code.
    """
    found = {}
    for number, op in enumerate(decoded.ops):
        if op == _CALL_FUNCTION_EX:
            found[number] = (decoded.args[number] & 1) + (2 if VERSION < (3, 13) else 3)
        elif op in _PLAIN_CALLS and VERSION >= (3, 13):
            found[number] = decoded.args[number] + _PLAIN_CALLS[op]
    if VERSION < (3, 13) and _OPS["CALL"] in decoded.ops:
        found.update(_depths_by_nulls(decoded))
    return found


_CALL_FUNCTION_EX: Final = _OPS["CALL_FUNCTION_EX"]
_PLAIN_CALLS: Final = {
    _OPS[name]: depth for name, depth in (("CALL", 2), ("CALL_KW", 3)) if name in _OPS
}
# Instructions that push a NULL, move one, or take it.
_ON_NULLS: Final = frozenset(
    _OPS[name]
    for name in (
        "PUSH_NULL", "LOAD_GLOBAL", "LOAD_METHOD", "LOAD_ATTR", "LOAD_SUPER_ATTR", "SWAP",
        "CALL", "CALL_FUNCTION_EX",
    )
    if name in _OPS
)  # fmt: skip
_NO_NULLS: Final[frozenset[int]] = frozenset()


@functools.lru_cache(maxsize=1 << 14)
def _effect(op: int, arg: int, jump: bool) -> int:
    """By how much an instruction changes the depth of the stack."""
    return dis.stack_effect(op, arg if op >= dis.HAVE_ARGUMENT else None, jump=jump)


def _depths_by_nulls(decoded: Decoded) -> dict[int, int]:
    ops, args, targets = decoded.ops, decoded.args, decoded.targets
    call = _OPS["CALL"]
    found: dict[int, int] = {}
    covering: dict[int, list[Handler]] = {}
    for handler in decoded.handlers:
        for number in range(handler.start, handler.stop):
            covering.setdefault(number, []).append(handler)
    seen = bytearray(len(ops))
    todo: list[tuple[int, int, frozenset[int]]] = [(0, 0, _NO_NULLS)]
    while todo:
        number, depth, nulls = todo.pop()
        while not seen[number]:
            seen[number] = 1
            op, arg = ops[number], args[number]
            for h in covering.get(number, ()):
                if not seen[h.target]:
                    kept = frozenset(n for n in nulls if n < h.depth)
                    todo.append((h.target, h.depth + h.lasti + 1, kept))
            if op == call:
                base = depth - (2 if VERSION < (3, 12) else arg + 2)
                found[number] = arg + (1 if base in nulls else 2)
            if number in targets:
                todo.append((targets[number], depth + _effect(op, arg, True), nulls))
            if op in _ENDS or op in _ALWAYS_JUMPS:
                break
            after = depth + _effect(op, arg, False)
            if nulls or op in _ON_NULLS:
                nulls = _nulls_after(op, arg, nulls, depth, after)
            number, depth = number + 1, after
    return found


def _nulls_after(
    op: int, arg: int, nulls: frozenset[int], depth: int, after: int
) -> frozenset[int]:
    """Where NULLs lie in the stack, counted from its bottom, after an instruction."""
    match dis.opname[op]:
        case "PUSH_NULL":
            return nulls | {depth}
        case "LOAD_GLOBAL" if arg & 1:
            return nulls | {depth}
        case "LOAD_METHOD":
            return nulls | {depth - 1}
        case "LOAD_ATTR" if VERSION >= (3, 12) and arg & 1:
            return nulls | {depth - 1}
        case "LOAD_SUPER_ATTR" if arg & 1:
            return nulls | {depth - 3}
        case "SWAP":
            top, other = depth - 1, depth - arg
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
    "joins_of",
    "jumps_to_other_ways",
    "instrument",
    "instrumented",
    "without_hooks",
]
