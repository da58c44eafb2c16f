"""What instrumented code calls: one method for each kind of thing that a hook sees."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from types import CellType
from typing import Any, Final

BINARY: Final[tuple[Callable[[Any, Any], Any], ...]] = (
    operator.add, operator.and_, operator.floordiv, operator.lshift, operator.matmul,
    operator.mul, operator.mod, operator.or_, operator.pow, operator.rshift, operator.sub,
    operator.truediv, operator.xor, operator.iadd, operator.iand, operator.ifloordiv,
    operator.ilshift, operator.imatmul, operator.imul, operator.imod, operator.ior,
    operator.ipow, operator.irshift, operator.isub, operator.itruediv, operator.ixor,
)  # fmt: skip
_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_UNARY: Final[dict[str, Callable[[Any], Any]]] = {
    "-": operator.neg, "+": operator.pos, "~": operator.invert
}  # fmt: skip
BINARY_NAMES: Final = (
    "add", "and", "floordiv", "lshift", "matmul", "mul", "mod", "or", "pow", "rshift", "sub",
    "truediv", "xor", "iadd", "iand", "ifloordiv", "ilshift", "imatmul", "imul", "imod", "ior",
    "ipow", "irshift", "isub", "itruediv", "ixor",
)  # fmt: skip
COMPARISON_NAMES: Final = {
    "<": "lt", "<=": "le", "==": "eq", "!=": "ne", ">": "gt", ">=": "ge"
}  # fmt: skip


# What `at_join_with` gives where the other way of a branch is to be run.
AGAIN: Final = type("Again", (), {"__repr__": lambda self: "<again>"})()


class Hooks:
    """Hooks that do what the instruction would have done, and nothing else.

    A subclass overrides those that it wants to see. They are called with the frame of the
    user's function as the caller's.
    """

    def load_global(self, value: Any, name: str) -> Any:
        """A global or builtin was read; gives what the code goes on with."""
        return value

    def load_deref(self, found: tuple[Any, CellType], name: str) -> Any:
        """The content of a closure's cell was read, given with the cell."""
        return found[0]

    def store_deref(self, given: tuple[Any, CellType], name: str) -> None:
        """Store a value in a closure's cell."""
        given[1].cell_contents = given[0]

    def delete_deref(self, cell: CellType, name: str) -> None:
        """A closure's cell is about to be emptied."""

    def join_texts(self, parts: tuple[str, ...]) -> str:
        """The text of which these are the parts."""
        return "".join(parts)

    def store_global(self, value: Any, name: str) -> None:
        """Store a global of the calling frame."""
        sys._getframe(1).f_globals[name] = value

    def delete_global(self, name: str) -> None:
        """Delete a global of the calling frame."""
        names = sys._getframe(1).f_globals
        if name not in names:
            raise NameError(f"name '{name}' is not defined", name=name)
        del names[name]

    def load_attribute(self, owner: Any, name: str) -> Any:
        """Read an attribute."""
        return getattr(owner, name)

    def load_super(self, given: tuple[Any, type, Any], name: str, explicit: bool) -> Any:
        """Read an attribute of what `super` gives for a class and an object. explicit: whether
        it was called with them.
        """
        maker, this, owner = given
        if maker is super:
            return getattr(super(this, owner), name)
        return getattr(maker(this, owner) if explicit else maker(), name)

    def store_attribute(self, given: tuple[Any, Any], name: str) -> None:
        """Store a value in an attribute; given: the value, the object."""
        setattr(given[1], name, given[0])

    def delete_attribute(self, owner: Any, name: str) -> None:
        """Delete an attribute."""
        delattr(owner, name)

    def load_item(self, given: tuple[Any, Any]) -> Any:
        """Read an item; given: the object, the key."""
        return given[0][given[1]]

    def store_item(self, given: tuple[Any, Any, Any]) -> None:
        """Store an item; given: the value, the object, the key."""
        given[1][given[2]] = given[0]

    def delete_item(self, given: tuple[Any, Any]) -> None:
        """Delete an item; given: the object, the key."""
        del given[0][given[1]]

    def binary(self, operands: tuple[Any, Any], number: int) -> Any:
        """Compute a binary operator, by its number in BINARY_OP (`+=` from 13 on)."""
        return BINARY[number](*operands)

    def unary(self, operand: Any, symbol: str) -> Any:
        """Compute `-x`, `+x` or `~x`."""
        return _UNARY[symbol](operand)

    def compare(self, operands: tuple[Any, Any], symbol: str) -> Any:
        """Compute a comparison."""
        return _COMPARISONS[symbol](*operands)

    def contains(self, operands: tuple[Any, Any], inverted: int) -> bool:
        """Compute `x in y`, or `x not in y`."""
        return (operands[0] in operands[1]) is not bool(inverted)

    def identical(self, operands: tuple[Any, Any], inverted: int) -> bool:
        """Compute `x is y`, or `x is not y`."""
        return (operands[0] is operands[1]) is not bool(inverted)

    def truth(self, value: Any) -> Any:
        """A value is about to be tested; gives what is tested."""
        return value

    def kept_truth(self, value: Any) -> Any:
        """A value is about to be tested, with which the code may go on."""
        return self.truth(value)

    def test(self, value: Any) -> Any:
        """A value is about to decide about a jump; gives what decides."""
        return self.truth(value)

    def test_joined(self, given: tuple[Any, tuple[Any, ...]], number: int, first: bool) -> Any:
        """The same where both ways of the branch of this number can be run; given: the value,
        and those on the stack that the ways take. first: the outcome whose way is run first.
        """
        return self.test(given[0])

    def kept_below(self, number: int) -> tuple[Any, ...]:
        """The values that were on the stack at the branch of this number."""
        raise NotImplementedError

    def at_join(self, number: int) -> bool:
        """The ways of a branch meet here; gives whether the one that wasn't run is to be."""
        return False

    def at_join_with(self, value: Any, number: int) -> Any:
        """The same where they leave a value, or return it; gives AGAIN for yes, else the value
        with which the code goes on.
        """
        return value

    def made_list(self, value: list[Any]) -> list[Any]:
        """A list was made; gives what the code goes on with."""
        return value

    def collect(self, given: tuple[Any, list[Any]]) -> None:
        """Add a value to the list of a comprehension."""
        given[1].append(given[0])

    def callee(self, function: Any) -> Any:
        """Something is about to be called; gives what is called."""
        return function

    def iterate(self, value: Any) -> Any:
        """An object is about to be iterated over; gives what is."""
        return value

    def unpack(self, value: Any) -> Any:
        """All items of an object are about to be taken; gives what they are taken from."""
        return value

    def text(self, value: Any) -> Any:
        """A value is about to be formatted by an f-string; gives what is."""
        return value

    def enter(self, manager: Any) -> Any:
        """A context manager is about to be entered; gives what is."""
        return manager

    def match(self, subject: Any) -> Any:
        """A pattern is about to look into an object; gives what it looks into."""
        return subject

    def imported(self, module: Any, name: str) -> Any:
        """A module was imported."""
        return module

    def imported_from(self, found: tuple[Any, Any], name: str) -> Any:
        """A name was imported from a module; found: its value, the module."""
        return found[0]

    def build_class(self) -> None:
        """The body of a class statement is about to run."""


__all__ = ["AGAIN", "BINARY", "BINARY_NAMES", "COMPARISON_NAMES", "Hooks"]
