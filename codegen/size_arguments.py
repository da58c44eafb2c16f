"""Kernels of symbolic extents with their sizes as arguments.

Extents, strides and offsets of a kernel are polynomials of the program's symbols. Its code
takes the value of each of them as an argument, a symbol of its own, so that kernels over other
polynomials are the same code: row 3 of `n0` columns and row 4, `n0 - 2` elements and `n0 - 4`.
What code is chosen by remains part of the kernel: numbers that are known, powers of two that
divide a size, lengths that are surely long or surely short.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import gcd
from typing import Any

from graphjit import cost
from graphjit.dims import Dim, Sizes, guess
from graphjit.program import (
    Choice,
    Compute,
    Constant,
    GatherLoad,
    Index,
    Kernel,
    Load,
    Place,
    Reduction,
    Store,
    Value,
)

from .lower import ROW_LANES

# Whether loads and stores are whole cache lines, and loops whole vectors, depends on no more.
LARGEST_DIVISOR = 64
# Up to here code is chosen by a size itself, from here on by its order of magnitude.
SMALL = 64


class SizeArguments:
    """Makes a kernel's sizes symbols of its own. Equal kernels get the same ones.

    To `Sizes` a symbol is never negative. Extents aren't, which a call checks first
    (`prepare.py`); differences of strides may be, of which code asks whether they are equal
    and no more.
    """

    def __init__(self) -> None:
        self.sizes = Sizes()
        self.sizes.usual = 0
        self._symbols: dict[tuple[int, ...], Dim] = {}
        self._facts: dict[Dim, tuple[int, ...]] = {}

    def of(
        self, kernel: Kernel, others: Iterable[int]
    ) -> tuple[Kernel, list[int], dict[Dim, Dim]]:
        """The kernel and other numbers about it over its own symbols; for what the program has
        in their place, these, in order.
        """
        found = _Abstraction(self)
        made = found.kernel(kernel)
        return made, [found(n) for n in others], found.known

    def symbol(self, place: int, argument: Dim) -> Dim:
        """The symbol for a kernel's argument number `place`."""
        facts = self._facts.get(argument)
        if facts is None:
            facts = self._facts[argument] = _facts(argument)
        symbol = self._symbols.get((place, *facts))
        if symbol is None:
            low, high, hint = facts
            name = f"a{len(self._symbols)}"
            symbol = self.sizes.symbol(name, hint, may_be_one=True)
            self.sizes.note(symbol - low, ">=")
            if high:
                self.sizes.note(high - symbol, ">=")
            self._symbols[place, *facts] = symbol
        return symbol


def _facts(argument: Dim) -> tuple[int, ...]:
    """What code is chosen by: a least value, a greatest one (0 for none), about how large."""
    low, high = argument.bounds()
    about = max(0, guess(argument))
    if about >= SMALL:
        about = 1 << about.bit_length() - 1
    least = ROW_LANES if low >= ROW_LANES else 0
    return least, high if 0 < high <= cost.KEEP_BYTES else 0, about


class _Abstraction:
    """Replaces the symbolic numbers of one kernel. known: the arguments, in order."""

    def __init__(self, arguments: SizeArguments) -> None:
        self.arguments = arguments
        self.known: dict[Dim, Dim] = {}

    def __call__(self, n: Any) -> Any:
        """The number over the kernel's own symbols."""
        if not isinstance(n, Dim):
            return n
        by = gcd(LARGEST_DIVISOR, *(factor for _, factor in n.terms))
        if n.bounds()[1] <= 0:
            by = -by
        argument = n // by if by != 1 else n
        symbol = self.known.get(argument)
        if symbol is None:
            symbol = self.arguments.symbol(len(self.known), argument)
            self.known[argument] = symbol
        return symbol * by

    def kernel(self, kernel: Kernel) -> Kernel:
        """A kernel over its own symbols."""
        dims = tuple(map(self, kernel.dims))
        values = tuple(map(self._value, kernel.values))
        return replace(
            kernel, dims=dims, values=values, stores=tuple(map(self._store, kernel.stores))
        )

    def _index(self, index: Index) -> Index:
        return Index(self(index.offset), tuple(map(self, index.strides)))

    def _choices(self, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
        return tuple(Choice(c.arg, self(c.extent), self(c.stride)) for c in choices)

    def _value(self, value: Value) -> Value:
        match value:
            case Load() | Place():
                return replace(value, index=self._index(value.index))
            case GatherLoad():
                index, choices = self._index(value.index), self._choices(value.choices)
                return replace(value, index=index, choices=choices)
            case Reduction() if value.place is not None:
                return replace(value, place=self._index(value.place))
            case Constant():
                return replace(value, number=self(value.number))
            case Compute() if value.attrs:
                return replace(value, attrs=self._attr(value.attrs))
        return value

    def _attr(self, attr: Any) -> Any:
        return tuple(map(self._attr, attr)) if type(attr) is tuple else self(attr)

    def _store(self, store: Store) -> Store:
        index, choices = self._index(store.index), self._choices(store.choices)
        return replace(store, index=index, choices=choices, attrs=self._attr(store.attrs))


__all__ = ["SizeArguments"]
