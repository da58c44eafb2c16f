"""Where the bytecode of a function decides whether a loop goes on, and what it reads then."""

from __future__ import annotations

import dis
import inspect
import sys
from dataclasses import replace
from types import CodeType, FrameType
from typing import Any, NamedTuple

from graphjit.capture.code import EXTENDED_ARG, Decoded, decode, opcode_offset
from graphjit.capture.instrument import joins_of, jumps_to_other_ways
from graphjit.capture.joins import find_loops
from graphjit.core.frozen import dataclass

_PIECEMEAL = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_NEW_LOCALS = sys.version_info >= (3, 13)  # f_locals writes through
# What happens between leaving a loop and the code after it.
_NOTHING = ("NOP", "CACHE", "EXTENDED_ARG", "END_FOR", "POP_ITER")
# What a loop's body may not have if an iterator is to be replaced: values on the stack.
_COLLECTS = ("LIST_APPEND", "SET_ADD", "MAP_ADD", "YIELD_VALUE")


@dataclass(frozen=True, slots=True)
class LoopTest:
    """A conditional jump that may leave a loop, or the step of an iterator.

    head: where the loop begins. exit: where it is left for: jumps are followed, and equal
    endings of the function are one. stays: the outcome with which it goes on. iterates: whether
    it is an iterator's; steps: whether the loop has one. around: where the loop around it
    begins, -1 if it is in none. leaves: where those around it begin that are left with it.
    live: the variables that may be read after it; read_outside: if the loop is left here.
    last: of a test that can't leave the loop, for others follow if it doesn't go on, as in
    `while a or b`: the offset of the last of them; -1 for others.
    """

    head: int
    exit: int
    stays: bool
    iterates: bool
    steps: bool
    around: int
    leaves: frozenset[int]
    live: frozenset[str]
    read_outside: frozenset[str]
    last: int = -1


def loop_tests(code: CodeType) -> dict[int, LoopTest]:
    """The tests of a function's loops, by the offset at which a value is asked for its truth,
    or an iterator for an item.
    """
    if code.co_flags & _PIECEMEAL:  # other code runs between turns
        return {}
    flow = _Flow(code)
    if not flow.loops:
        return {}
    live = flow.live_variables()
    exits: dict[int, int] = {}  # by canonical exit: the first equal one
    found: dict[int, LoopTest] = {}
    alternatives: list[tuple[int, int, bool]] = []
    for k, each in enumerate(flow.instructions):
        iterates = each.opname == "FOR_ITER"
        if not iterates and (
            ("IF_TRUE" not in each.opname and "IF_FALSE" not in each.opname)
            or "POP" not in each.opname
            or "OR_POP" in each.opname
        ):
            continue
        loop = next(((head, body) for head, body in flow.loops if k in body), None)
        if loop is None or k + 1 == len(flow.instructions):
            continue
        head, body = loop
        outer = [(h, other) for h, other in flow.loops if h != head and body < other]
        around = next((flow.instructions[h].offset for h, _ in outer), -1)
        ends = k + 1, flow.number_of(each.argval)
        if (ends[0] in body) is (ends[1] in body):
            again = [flow.follows(end) == head for end in ends]
            if not iterates and all(end in body for end in ends) and again[0] is not again[1]:
                alternatives.append((k, head, ("IF_TRUE" in each.opname) is again[1]))
            continue
        iterator = next((n for n in body if flow.is_step_of(n, head)), None)
        if iterates and iterator != k:
            continue
        if iterator is not None and flow.collects(body):
            continue
        outside = ends[0] if ends[1] in body else ends[1]
        jumps_on = iterates or "IF_TRUE" in each.opname
        stays = (ends[1] in body) is jumps_on or iterates
        place = flow.destination(outside, iterator is not None)
        same = next((e for e in exits if flow.same_ending(e, place)), place)
        exits.setdefault(same, same)
        names = flow.names_of(live[ends[0]] | live[ends[1]])
        test = LoopTest(
            flow.instructions[head].offset,
            flow.instructions[same].offset,
            stays,
            iterates,
            iterator is not None,
            around,
            frozenset(flow.instructions[h].offset for h, b in outer if outside not in b),
            names,
            flow.names_of(live[outside]),
        )
        found[each.offset] = test
        # which ask for the truth themselves, from 3.13 on
        if k and not iterates and flow.instructions[k - 1].opname in ("TO_BOOL", "COMPARE_OP"):
            found[flow.instructions[k - 1].offset] = test
    for k, head, stays in reversed(alternatives):
        number, last = flow.last_test(k, head, found)
        if last is None or last.stays is not stays or last.steps:
            continue
        each, before = flow.instructions[k], flow.instructions[k - 1]
        place = last.last if last.last >= 0 else flow.asked_at(number)
        test = replace(last, last=place)
        found[each.offset] = test
        if before.opname in ("TO_BOOL", "COMPARE_OP"):
            found[before.offset] = test
    return found


class JoinNames:
    """Which variables may be read where the ways of branches of code with hooks begin and
    meet.
    """

    def __init__(self, code: CodeType) -> None:
        plain, self._joins = joins_of(code)
        self._flow = None if plain is None else _Flow(plain)
        self._live = [] if self._flow is None else self._flow.live_variables()

    @property
    def is_known(self) -> bool:
        """Whether the code without hooks is there still."""
        return self._flow is not None

    def names(self, number: int) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Those that may be read after a branch, where its other way begins, and where its
        ways meet.
        """
        assert self._flow is not None
        join, live = self._joins[number], self._live
        met = 0 if self._returns(join.meets[0]) else live[join.meets[0]]
        found = live[join.branch], live[join.other], met
        return tuple(map(self._flow.names_of, found))  # type: ignore[return-value]

    def _returns(self, number: int) -> bool:
        assert self._flow is not None
        return self._flow.instructions[number].opname.startswith("RETURN_")


def always_raises(code: CodeType, offset: int) -> bool:
    """Whether all ways on from an instruction end in a `raise`."""
    flow = _Flow(code)
    # an instruction's inline cache may be what the offset is of
    first = sum(each.offset <= offset for each in flow.instructions) - 1
    todo, seen = [*flow.after[first]], set[int]()
    while todo:
        number = todo.pop()
        if number in seen:
            return False  # a loop, or ways that meet
        seen.add(number)
        name = flow.instructions[number].opname
        if name.startswith(("RAISE", "RERAISE")):
            continue
        if name.startswith("RETURN") or not flow.after[number]:
            return False
        todo += flow.after[number]
    return True


class _Instruction(NamedTuple):
    """As `dis` has it, which takes ten times as long.

    argval: of a jump the offset that it goes to, of what is about variables their names
    """

    opname: str
    arg: int
    argval: Any
    offset: int


def _instructions(code: CodeType, decoded: Decoded) -> list[_Instruction]:
    """The instructions of a function, without EXTENDED_ARG and caches."""
    variables = (*code.co_varnames, *code.co_cellvars, *code.co_freevars)
    if not set(code.co_cellvars).isdisjoint(code.co_varnames):  # arguments that are cells
        variables = tuple(dict.fromkeys(variables))
    offsets = [2 * start for start in decoded.starts]
    if EXTENDED_ARG in code.co_code[::2]:
        offsets = [opcode_offset(code, start) for start in decoded.starts[:-1]]
    found = []
    opname, targets = dis.opname, decoded.targets
    for k, (op, arg) in enumerate(zip(decoded.ops, decoded.args, strict=True)):
        name = opname[op]
        argval: Any = None
        if k in targets:
            argval = offsets[targets[k]]
        elif "_FAST" in name or name == "LOAD_CLOSURE":
            if name.count("_FAST") == 2:
                argval = variables[arg >> 4], variables[arg & 15]
            else:
                argval = variables[arg]
        found.append(_Instruction(name, arg, argval, offsets[k]))
    return found


def _without_jumps(code: CodeType, instructions: list[_Instruction]) -> list[_Instruction]:
    """The instructions without jumps to other ways of branches."""
    found, number = list(instructions), 0
    for begin, end in jumps_to_other_ways(code):
        while found[number].offset < 2 * begin:
            number += 1
        while number < len(found) and found[number].offset < 2 * end:
            found[number] = _Instruction("NOP", 0, None, found[number].offset)
            number += 1
    return found


class _Flow:
    """The instructions of a function, by number, and what may follow each.

    loops: the first instruction and the instructions of each loop, the innermost first
    """

    def __init__(self, code: CodeType) -> None:
        decoded = decode(code)
        self.instructions = _without_jumps(code, _instructions(code, decoded))
        self._numbers = {each.offset: k for k, each in enumerate(self.instructions)}
        self.after = [self._successors(k) for k in range(len(self.instructions))]
        self._handled = [(range(h.start, h.stop), h.target) for h in decoded.handlers]
        self.loops = find_loops(self.after)
        self._names = {name: 1 << k for k, name in enumerate(code.co_varnames)}

    def number_of(self, offset: int) -> int:
        """The number of the instruction at an offset."""
        return self._numbers[offset]

    def _successors(self, number: int) -> list[int]:
        each = self.instructions[number]
        name = each.opname
        if name.startswith(
            ("RETURN_V", "RETURN_C", "RAISE_VARARGS", "RERAISE", "JUMP_BACKWARD")
        ):
            return [self._numbers[each.argval]] if "JUMP" in name else []
        if name in ("JUMP_FORWARD", "JUMP_ABSOLUTE", "JUMP"):
            return [self._numbers[each.argval]]
        found = [number + 1] if number + 1 < len(self.instructions) else []
        if ("JUMP" in name or name in ("FOR_ITER", "SEND")) and isinstance(each.argval, int):
            found.append(self._numbers[each.argval])
        return found

    def is_step_of(self, number: int, head: int) -> bool:
        """Whether an instruction is the step of the iterator that a loop is over."""
        if self.instructions[number].opname not in ("FOR_ITER", "SEND"):
            return False
        while head < number and self.instructions[head].opname in ("EXTENDED_ARG", "NOP"):
            head += 1
        return head == number

    def collects(self, body: frozenset[int]) -> bool:
        """Whether a loop makes a list or the like, or gives its items one by one."""
        return any(self.instructions[k].opname in _COLLECTS for k in body)

    def follows(self, number: int) -> int:
        """The instruction that a jump to one gets to."""
        for _ in self.instructions:
            each = self.instructions[number]
            if each.opname in ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_ABSOLUTE"):
                number = self._numbers[each.argval]
            elif each.opname in _NOTHING and number + 1 < len(self.instructions):
                number += 1
            else:
                break
        return number

    def asked_at(self, number: int) -> int:
        """The offset at which a value is asked for its truth before a jump."""
        before = self.instructions[number - 1]
        return before.offset if before.opname == "TO_BOOL" else self.instructions[number].offset

    def last_test(
        self, number: int, head: int, found: dict[int, LoopTest]
    ) -> tuple[int, LoopTest | None]:
        """The test that follows in the same condition as one that can't leave its loop, and
        that can.
        """
        place = self.instructions[head].offset
        for k in range(number + 1, len(self.instructions)):
            each = self.instructions[k]
            if each.offset in found and "JUMP" in each.opname:
                test = found[each.offset]
                back = {self.follows(k + 1), self.follows(self.number_of(each.argval))}
                if test.head == place and head in back:
                    return k, test
                return k, None
            if "STORE" in each.opname or each.opname.startswith(("RETURN", "RAISE")):
                break
        return number, None

    def destination(self, number: int, iterates: bool) -> int:
        """Where code ends up that does nothing but drop an iterator and jump on."""
        dropped = not iterates
        while number + 1 < len(self.instructions):
            each = self.instructions[number]
            if each.opname in ("JUMP_FORWARD", "JUMP_ABSOLUTE") and each.argval > each.offset:
                number = self._numbers[each.argval]
            elif each.opname == "POP_TOP" and not dropped:
                dropped, number = True, number + 1
            elif each.opname in _NOTHING:
                dropped = dropped or (each.opname == "END_FOR" and not _NEW_LOCALS)
                number += 1
            else:
                break
        return number

    def same_ending(self, first: int, second: int) -> bool:
        """Whether two places are one, or the function ends in the same way from both: the end
        of a function is copied to where a loop is left for it.
        """
        while first != second:
            if max(first, second) >= len(self.instructions):
                return False
            if "NOP" in (names := [self.instructions[k].opname for k in (first, second)]):
                first, second = first + (names[0] == "NOP"), second + (names[1] == "NOP")
                continue
            a, b = self.instructions[first], self.instructions[second]
            if a.opname != b.opname or a.arg != b.arg or "JUMP" in a.opname:
                return False
            if a.opname.startswith("RETURN_"):
                return True
            if a.opname in ("RAISE_VARARGS", "RERAISE", "FOR_ITER", "SEND"):
                return False
            first, second = first + 1, second + 1
        return True

    # -- what is read

    def names_of(self, bits: int) -> frozenset[str]:
        """The variables of a set of them."""
        return frozenset(name for name, bit in self._names.items() if bits & bit)

    def live_variables(self) -> list[int]:
        """For each instruction the variables that it or what follows may read before they are
        set.
        """
        effects = [self._effect(each) for each in self.instructions]
        live = [0] * len(self.instructions)
        handlers: list[list[int]] = [[] for _ in self.instructions]
        for numbers, target in self._handled:
            for k in numbers:
                handlers[k].append(target)
        changed = True
        while changed:
            changed = False
            for k in reversed(range(len(live))):
                read, written = effects[k]
                after = 0
                for other in self.after[k]:
                    after |= live[other]
                now = read | after & ~written
                for other in handlers[k]:
                    now |= live[other]
                if now != live[k]:
                    live[k], changed = now, True
        return live

    def _effect(self, each: _Instruction) -> tuple[int, int]:
        """The variables that an instruction reads, and those that it sets and doesn't read
        before.
        """
        if "_FAST" not in each.opname and each.opname != "LOAD_CLOSURE":
            return 0, 0
        names = each.argval if isinstance(each.argval, tuple) else (each.argval,)
        steps = each.opname.replace("STORE_FAST", "S").replace("LOAD_FAST", "L").split("_")
        kinds = [step for step in steps if step in ("S", "L")]
        if len(kinds) != len(names):  # DELETE_FAST and others, which want it set
            kinds = ["L"] * len(names)
        read = written = 0
        for kind, name in zip(kinds, names, strict=True):
            bit = self._names.get(name, 0)
            if kind == "L":
                read |= bit & ~written
            else:
                written |= bit & ~read
        return read, written


def set_locals(frame: FrameType, values: dict[str, Any]) -> None:
    """Give variables of a frame that runs other values."""
    now = frame.f_locals
    now.update(values)
    if not _NEW_LOCALS:
        import ctypes

        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


__all__ = ["JoinNames", "LoopTest", "always_raises", "loop_tests", "set_locals"]
