"""LLVM IR of control code, written like a program: loads, stores, calls, conditions.

For functions that handle Python objects and tables rather than elements of arrays. They use
pointers and 64-bit integers. Local variables are stack slots, which LLVM turns into registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


class Assembler:
    """The text of one function.

    Values are LLVM operands ("%v3", "0", "null"). Offsets are in bytes, indices in words.
    """

    def __init__(self, name: str, parameters: Sequence[str], attributes: str = "") -> None:
        """Parameters are written as "ptr self"; `name` has no at sign and may be "internal
        name".
        """
        *linkage, symbol = name.split()
        listed = ", ".join("{} %{}".format(*p.split()) for p in parameters)
        start = " ".join(["define", *linkage, "ptr", f"@{symbol}({listed})", attributes])
        self._head = [f"{start} nounwind {{", "locals:"]
        self._lines: list[str] = []
        self._count = 0
        self._open = True  # whether the last block may go on

    def text(self) -> str:
        """The whole function."""
        return "\n".join([*self._head, "  br label %start", "start:", *self._lines, "}"])

    def _name(self, stem: str = "v") -> str:
        self._count += 1
        return f"%{stem}{self._count}"

    def line(self, text: str) -> None:
        """Append an instruction without a result."""
        self._lines.append("  " + text)

    def value(self, text: str) -> str:
        """Append an instruction; gives its result."""
        name = self._name()
        self._lines.append(f"  {name} = {text}")
        return name

    def variable(self, type: str, initial: str) -> str:
        """A pointer to a new local variable, initialized at the start of the function."""
        name = self._name("x")
        self._head[2:2] = [f"  {name} = alloca {type}"]
        self._head.append(f"  store {type} {initial}, ptr {name}")
        return name

    def get(self, type: str, variable: str) -> str:
        """A local variable's value."""
        return self.value(f"load {type}, ptr {variable}")

    def set(self, type: str, variable: str, value: str) -> None:
        """Assign to a local variable."""
        self.line(f"store {type} {value}, ptr {variable}")

    def at(self, base: str, offset: int) -> str:
        """The address `offset` bytes after another."""
        return self.value(f"getelementptr i8, ptr {base}, i64 {offset}") if offset else base

    def item(self, base: str, index: str) -> str:
        """The address of a word in a table."""
        return self.value(f"getelementptr i64, ptr {base}, i64 {index}")

    def load(self, type: str, base: str, offset: int = 0) -> str:
        """The value at an address."""
        return self.value(f"load {type}, ptr {self.at(base, offset)}")

    def load_item(self, type: str, base: str, index: str) -> str:
        """A word of a table."""
        return self.load(type, self.item(base, index))

    def store(self, type: str, value: str, base: str, offset: int = 0) -> None:
        """Write to an address."""
        self.line(f"store {type} {value}, ptr {self.at(base, offset)}")

    def store_item(self, type: str, value: str, base: str, index: str) -> None:
        """Write a word of a table."""
        self.store(type, value, self.item(base, index))

    def add(self, a: str, b: str) -> str:
        """The sum of two integers."""
        return self.value(f"add i64 {a}, {b}")

    def same(self, type: str, a: str, b: str) -> str:
        """Whether two values are equal."""
        return self.value(f"icmp eq {type} {a}, {b}")

    def differ(self, type: str, a: str, b: str) -> str:
        """Whether two values are not equal."""
        return self.value(f"icmp ne {type} {a}, {b}")

    def call(self, type: str, function: str, *arguments: str) -> str:
        """A call's result; arguments with their types."""
        callee = function if function.startswith("%") else f"@{function}"
        return self.value(f"call {type} {callee}({', '.join(arguments)})")

    def label(self, name: str) -> None:
        """Begin a block. The block before continues in it unless it ended."""
        if self._open:
            self.line(f"br label %{name}")
        self._lines.append(f"{name}:")
        self._open = True

    def _end(self, text: str) -> None:
        self.line(text)
        self._open = False

    def jump(self, label: str) -> None:
        """Jump to a block."""
        self._end(f"br label %{label}")

    def ret(self, value: str) -> None:
        """Return a value."""
        self._end(f"ret ptr {value}")

    def require(self, condition: str, otherwise: str) -> None:
        """Continue if the condition holds, else jump to a block."""
        after = self._name("go")[1:]
        self._end(f"br i1 {condition}, label %{after}, label %{otherwise}")
        self.label(after)

    def switch(self, value: str, cases: Mapping[Any, str], otherwise: str) -> None:
        """Jump to the block of a number."""
        listed = " ".join(f"i64 {number}, label %{name}" for number, name in cases.items())
        self._end(f"switch i64 {value}, label %{otherwise} [ {listed} ]")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Run the body if the condition holds."""
        after = self._name("after")[1:]
        self.require(condition, after)
        yield
        self.label(after)

    @contextmanager
    def loop(self, count: str) -> Iterator[str]:
        """Run the body for each number below `count`; gives the number.

        The body may leave by a jump or a `require`.
        """
        counter = self.variable("i64", "0")
        self.set("i64", counter, "0")
        head, after = self._name("head")[1:], self._name("after")[1:]
        self.label(head)
        number = self.get("i64", counter)
        self.require(self.value(f"icmp ult i64 {number}, {count}"), after)
        yield number
        self.set("i64", counter, self.add(number, "1"))
        self.jump(head)
        self.label(after)


__all__ = ["Assembler"]
