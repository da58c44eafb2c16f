"""Symbolic extents as LLVM operands, computed where a function begins.

An extent is a polynomial of the program's symbols. Functions of a program with symbols take a
pointer `%sizes` to their values (i64), in the order of the program's `symbols`.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphjit.core.dims import Dim
from graphjit.core.errors import InternalError


class SizeEmitter:
    """Gives extents as operands. Appends the instructions that compute them to `lines`."""

    def __init__(self, symbols: Sequence[str], lines: list[str]) -> None:
        self.symbols = {name: index for index, name in enumerate(symbols)}
        self.lines = lines
        self._known: dict[str, str] = {}

    def __call__(self, n: int) -> str:
        """An extent, stride or offset as an i64 operand."""
        if not isinstance(n, Dim):
            return str(n)
        text = str(n)
        if text not in self._known:
            total = ""
            for monomial, factor in n.terms:
                product = ""
                for name in monomial:
                    atom = self._symbol_or_quotient(n, name)
                    product = self._emit(f"mul i64 {product}, {atom}") if product else atom
                if not product:
                    product = str(factor)
                elif factor != 1:
                    product = self._emit(f"mul i64 {product}, {factor}")
                total = self._emit(f"add i64 {total}, {product}") if total else product
            self._known[text] = total
        return self._known[text]

    def _emit(self, text: str) -> str:
        name = f"%size{len(self.lines)}.{len(self._known)}"
        self.lines.append(f"  {name} = {text}")
        return name

    def _symbol_or_quotient(self, n: Dim, name: str) -> str:
        if name not in self._known:
            floor = n.sizes.floor_of(name)
            self._known[name] = (
                self._load(name) if floor is None else self._floor(floor[0], floor[1])
            )
        return self._known[name]

    def _load(self, name: str) -> str:
        index = self.symbols.get(name)
        if index is None:
            raise InternalError(f"no argument has the extent {name}")
        at = self._emit(f"getelementptr inbounds i64, ptr %sizes, i64 {index}")
        return self._emit(f"load i64, ptr {at}, align 8")

    def _never_negative(self, n: int) -> bool:
        """Whether an extent can't be negative by its form: a sum of products of sizes, and of
        quotients of which the same is true.
        """
        if not isinstance(n, Dim):
            return n >= 0
        floors = (n.sizes.floor_of(name) for monomial, _ in n.terms for name in monomial)
        return all(factor > 0 for _, factor in n.terms) and all(
            self._never_negative(floor[0]) for floor in floors if floor is not None
        )

    def _floor(self, inner: Dim, by: int) -> str:
        value = self(inner)
        if self._never_negative(inner):
            return self._emit(f"udiv i64 {value}, {by}")
        quotient = self._emit(f"sdiv i64 {value}, {by}")
        rest = self._emit(f"srem i64 {value}, {by}")
        below = self._emit(f"icmp slt i64 {rest}, 0")
        down = self._emit(f"sext i1 {below} to i64")
        return self._emit(f"add i64 {quotient}, {down}")


__all__ = ["SizeEmitter"]
