"""Where the two ways of a branch meet: found in bytecode, so that both can be run there, one
after the other.

A branch is a conditional jump. Its ways meet at its immediate post-dominator: the first
instruction that every way on from it comes to, those left out that end in a `raise`. Before
that instruction a hook says whether the way that was not gone yet is to be gone now; if it is,
a jump leads to its start. Both ways have to find the stack as it is at the branch: what they
take from it of what was there before, as comparisons in a chain do, is kept and put back. Where
the ways leave a value on it, or return one, the hook gets the value.

Post-dominators: Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm" (2001).
"""

from __future__ import annotations

import bisect
import dis
import functools
import inspect
from collections.abc import Sequence
from types import CodeType
from typing import Final

from graphjit.core.frozen import dataclass

from .code import BACKWARD, JUMPS, Decoded

_PIECEMEAL: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
# How many values that were on the stack before a branch its ways may take.
MAX_BELOW: Final = 3
# Functions with more instructions have no joins.
MAX_INSTRUCTIONS: Final = 20_000
_CONDITIONAL: Final = {
    op: name.endswith("IF_FALSE")
    for name, op in dis.opmap.items()
    if op in JUMPS - BACKWARD and name.startswith("POP_JUMP")
    and name.endswith(("IF_TRUE", "IF_FALSE"))
}  # fmt: skip
_RETURNS: Final = frozenset(
    dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap
)
_RAISES: Final = frozenset(dis.opmap[name] for name in ("RAISE_VARARGS", "RERAISE"))
_ALWAYS: Final = frozenset(
    op for op in JUMPS if dis.opname[op] in ("JUMP_FORWARD", "JUMP_BACKWARD")
    or dis.opname[op] == "JUMP_BACKWARD_NO_INTERRUPT"
)  # fmt: skip
# Instructions that take nothing from the stack, and those that only take.
_TAKE_NOTHING: Final = (
    "LOAD_CONST", "LOAD_FAST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLOSURE", "LOAD_ASSERTION",
    "LOAD_BUILD_CLASS", "PUSH_NULL", "NOP", "RESUME", "COPY", "JUMP_", "CACHE", "PRECALL",
    "KW_NAMES", "MAKE_CELL", "COPY_FREE_VARS", "RETURN_CONST", "DELETE_FAST", "DELETE_GLOBAL",
    "DELETE_DEREF", "EXTENDED_ARG", "PUSH_EXC_INFO",
)  # fmt: skip
_ONLY_TAKE: Final = ("STORE_", "POP_", "DELETE_", "RETURN_VALUE", "RAISE", "END_", "RERAISE")
# Instructions that change what lies further down, as deep as their argument says.
_REACH_DOWN: Final = ("SWAP", "LIST_", "SET_", "MAP_", "DICT_")
# Instructions that may take what was there before a branch.
_TAKE_VALUES: Final = (
    "POP_TOP", "SWAP", "COMPARE_OP", "BINARY_OP", "BUILD_TUPLE", "BINARY_SUBSCR",
    "CONTAINS_OP", "IS_OP", "RETURN_VALUE",
)  # fmt: skip
# Instructions after which other code runs before the next one.
_LEAVES: Final = ("YIELD", "SEND", "RETURN_GENERATOR")


@dataclass(frozen=True, slots=True)
class Join:
    """Where the ways of a branch meet. Instructions are told by their numbers.

    branch: the conditional jump. meets: before which instructions its ways meet: one, or all at
    which the function returns. other: where the way begins that the jump leads to. first: the
    outcome with which code goes on to the next instruction. value: whether the ways leave a
    value on the stack, or return one. below: how many values they take that were there before.
    """

    branch: int
    meets: tuple[int, ...]
    other: int
    first: bool
    value: bool
    below: int


def find_joins(code: CodeType, decoded: Decoded) -> list[Join]:
    """The branches of a function whose ways can be run one after the other."""
    ops = decoded.ops
    if code.co_flags & _PIECEMEAL or len(ops) > MAX_INSTRUCTIONS:
        return []
    if _CONDITIONAL.keys().isdisjoint(ops):
        return []
    flow = _Blocks(decoded)
    found = []
    for number, op in enumerate(ops):
        if op in _CONDITIONAL and number in flow.depths:
            join = flow.join_of(number, _CONDITIONAL[op])
            if join is not None:
                found.append(join)
    return found


class _Blocks:
    """The instructions of a function in blocks, of which only the last one may jump.

    depths: how many values are on the stack before each instruction that is reached without an
    exception
    """

    def __init__(self, decoded: Decoded) -> None:
        self._ops, self._args, self._targets = decoded.ops, decoded.args, decoded.targets
        ends = _RETURNS | _RAISES
        leaders = {0, *self._targets.values(), *(h.target for h in decoded.handlers)}
        for number, op in enumerate(self._ops):
            if number in self._targets or op in ends:
                leaders.add(number + 1)
        self._starts = sorted(n for n in leaders if n < len(self._ops))
        self._stops = [*self._starts[1:], len(self._ops)]
        self._exit = len(self._starts)
        self._after = [self._successors(stop - 1) for stop in self._stops]
        self.depths = self._find_depths()
        self._loops = self._find_loops()
        self._meets = self._find_post_dominators()

    def _block(self, number: int) -> int:
        return bisect.bisect_right(self._starts, number) - 1

    def _next(self, number: int) -> list[int]:
        """The instructions that may follow one."""
        op = self._ops[number]
        if op in _RETURNS or op in _RAISES:
            return []
        found = [] if op in _ALWAYS or number + 1 == len(self._ops) else [number + 1]
        if number in self._targets:
            found.append(self._targets[number])
        return found

    def _successors(self, last: int) -> list[int]:
        if self._ops[last] in _RETURNS:
            return [self._exit]
        return [self._block(number) for number in self._next(last)]

    def _find_depths(self) -> dict[int, int]:
        found: dict[int, int] = {}
        todo = [(0, 0)]
        while todo:
            number, depth = todo.pop()
            while number not in found:
                found[number] = depth
                op, arg = self._ops[number], self._args[number]
                following = self._next(number)
                if number in self._targets:
                    todo.append((self._targets[number], depth + _effect(op, arg, True)))
                if number + 1 not in following:
                    break
                number, depth = number + 1, depth + _effect(op, arg, False)
        return found

    def _find_loops(self) -> list[int]:
        """For each block the first one of the innermost loop that it is in, or -1."""
        found = [-1] * (self._exit + 1)
        for head, body in reversed(find_loops([*self._after, []])):
            for number in body:
                found[number] = head
        return found

    def _find_post_dominators(self) -> list[int]:
        """For each block the first one that all ways on from it come to, or -1. Ways that end
        in a `raise` don't count.
        """
        before = _predecessors([*self._after, []])
        order: list[int] = []  # postorder of the reversed graph, from the exit
        seen = {self._exit}
        stack = [(self._exit, iter(before[self._exit]))]
        while stack:
            block, rest = stack[-1]
            unseen = next((n for n in rest if n not in seen), None)
            if unseen is None:
                order.append(block)
                stack.pop()
            else:
                seen.add(unseen)
                stack.append((unseen, iter(before[unseen])))
        rank = {number: k for k, number in enumerate(order)}
        found = [-1] * (self._exit + 1)
        found[self._exit] = self._exit
        changed = True
        while changed:
            changed = False
            for number in reversed(order[:-1]):
                new = -1
                for other in self._after[number]:
                    if found[other] < 0:
                        continue
                    a, b = other, new if new >= 0 else other
                    while a != b:
                        while rank[a] < rank[b]:
                            a = found[a]
                        while rank[b] < rank[a]:
                            b = found[b]
                    new = a
                if new != found[number]:
                    found[number], changed = new, True
        return found

    def join_of(self, branch: int, first: bool) -> Join | None:
        """Where the ways of a branch meet; None where they can't be run one after the other."""
        block = self._block(branch)
        meeting, loop = self._meets[block], self._loops[block]
        if meeting < 0 or self._loops[meeting] != loop:
            return None
        depth = lowest = self.depths[branch] - 1
        end = self._starts[meeting] if meeting != self._exit else -1
        meets, other = [] if end < 0 else [end], self._targets[branch]
        head = self._starts[loop] if loop >= 0 else -1
        # how much of the stack is as it was at the branch where an instruction is come to
        todo, seen = [(branch + 1, depth), (other, depth)], dict[int, int]()
        while todo:
            number, kept = todo.pop()
            if number == end or seen.get(number, -1) >= kept:
                continue
            if number == head:  # the next turn
                return None
            seen[number] = kept
            op, arg = self._ops[number], self._args[number]
            if _leaves(op):
                return None
            below = self.depths[number] - _reach(op, arg)
            if below < kept:  # others take NULLs, or change what they take
                if dis.opname[op] not in _TAKE_VALUES:
                    return None
                kept, lowest = below, min(lowest, below)
            if op in _RETURNS and end < 0:
                meets.append(number)
            todo += [(following, kept) for following in self._next(number)]
        meets = sorted(set(meets))
        taken, depth = depth - lowest, lowest
        if taken > MAX_BELOW:
            return None
        if end < 0:
            constant = dis.opmap.get("RETURN_CONST")
            if any(self.depths[n] != depth + (self._ops[n] != constant) for n in meets):
                return None
            return Join(branch, tuple(meets), other, first, True, taken)
        value = self.depths.get(end, -1) - depth
        if value not in (0, 1):
            return None
        return Join(branch, (end,), other, first, bool(value), taken)


def _predecessors(after: Sequence[Sequence[int]]) -> list[list[int]]:
    """For each node those that it may follow."""
    before: list[list[int]] = [[] for _ in after]
    for k, following in enumerate(after):
        for other in following:
            before[other].append(k)
    return before


def find_loops(after: Sequence[Sequence[int]]) -> list[tuple[int, frozenset[int]]]:
    """The first node and the nodes of each loop, the innermost first. after: for each node, in
    the order of the code, those that may follow it.
    """
    before = _predecessors(after)
    bodies: dict[int, set[int]] = {}
    for k, following in enumerate(after):
        for head in following:
            if head > k:
                continue
            body = bodies.setdefault(head, {head})
            todo = [k]
            while todo:
                number = todo.pop()
                if number not in body:
                    body.add(number)
                    todo += before[number]
    found = [(head, frozenset(body)) for head, body in bodies.items()]
    return sorted(found, key=lambda loop: len(loop[1]))


@functools.lru_cache(maxsize=1 << 14)
def _effect(op: int, arg: int, jump: bool) -> int:
    """By how much an instruction changes the depth of the stack."""
    return dis.stack_effect(op, arg if op >= dis.HAVE_ARGUMENT else None, jump=jump)


@functools.lru_cache(maxsize=1 << 14)
def _reach(op: int, arg: int) -> int:
    """How many values on top of the stack an instruction takes or changes, at most."""
    name = dis.opname[op]
    if name.startswith(_TAKE_NOTHING):
        return 0
    effect = _effect(op, arg, False)
    if name.startswith(_ONLY_TAKE):
        return -effect
    if name.startswith(_REACH_DOWN):
        return arg + (name != "SWAP")
    return max(1 - effect, 1)


def _leaves(op: int) -> bool:
    return dis.opname[op].startswith(_LEAVES)


__all__ = ["Join", "find_joins", "find_loops"]
