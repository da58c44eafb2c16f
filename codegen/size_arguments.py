"""Kernels of symbolic extents with their sizes as arguments.

Extents, strides and offsets of a kernel are polynomials of the program's symbols. Its code
takes the value of each of them as an argument, a symbol of its own, so that kernels over other
polynomials are the same code: row 3 of `n0` columns and row 4, `n0 - 2` elements and `n0 - 4`.
What code is chosen by remains part of the kernel: numbers that are known, powers of two that
divide a size, lengths that are surely long or surely short.

Where many kernels of a program, known sizes or not, differ in known numbers, these become
arguments, too: row after row of a triangle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import gcd
from typing import Any

from graphjit.core.dims import Dim, Sizes, guess, is_symbolic
from graphjit.ir import cost_model
from graphjit.ir.program import (
    Compute,
    Constant,
    DynamicIndex,
    GatherLoad,
    Index,
    IndexValue,
    Kernel,
    Load,
    Reduction,
    Store,
    Value,
)

from .kernel_identity import identity
from .lower import ROW_LANES

# Whether loads and stores are whole cache lines, and loops whole vectors, depends on no more.
LARGEST_DIVISOR = 64


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
        self, kernel: Kernel, others: Iterable[int], opened: frozenset[int] = frozenset()
    ) -> tuple[Kernel, list[int], list[int], list[str]]:
        """The kernel and other numbers about it over its own symbols; what the program has in
        their place, and the names of these symbols.

        opened: which of the kernel's known numbers are arguments, too, by their places in
        `known_numbers`; if there are any, so are all others.
        """
        found = _Abstraction(self, opened)
        made = found.kernel(kernel)
        numbers = [found.argument(n, ()) if opened else found(n) for n in others]
        names = [name for n, _ in found.known.values() for name in n.symbols]
        return made, numbers, [argument for _, argument in found.known.values()], names

    def facts(self, argument: Dim) -> tuple[int, ...]:
        """What code is chosen by, of a symbolic number."""
        known = self._facts.get(argument)
        if known is None:
            low, high = argument.bounds()
            known = self._facts[argument] = _facts(low, high, guess(argument))
        return known

    def symbol(self, place: int, facts: tuple[int, ...]) -> Dim:
        """The symbol for a kernel's argument number `place`."""
        symbol = self._symbols.get((place, *facts))
        if symbol is None:
            low, high, hint = facts or (0, 0, 0)
            name = f"a{len(self._symbols)}"
            symbol = self.sizes.symbol(name, hint, may_be_one=True)
            self.sizes.note(symbol - low, ">=")
            if high:
                self.sizes.note(high - symbol, ">=")
            self._symbols[place, *facts] = symbol
        return symbol


def _facts(low: int, high: int, about: int) -> tuple[int, ...]:
    """What code is chosen by: a least value, a greatest one (0 for none), about how large."""
    least = ROW_LANES if low >= ROW_LANES else 0
    about = 1 << about.bit_length() - 1 if about > 0 else 0
    return least, high if 0 < high <= cost_model.SPILL_BYTES else 0, about


class _Numbers:
    """Makes a kernel anew with its extents, strides and offsets replaced, one after another."""

    def extent(self, n: int) -> Any:
        """What comes in the place of an extent."""
        raise NotImplementedError

    def stride(self, n: int) -> Any:
        """What comes in the place of a stride."""
        raise NotImplementedError

    def offset(self, n: int) -> Any:
        """What comes in the place of an offset."""
        raise NotImplementedError

    def number(self, n: Any) -> Any:
        """What comes in the place of a constant or an attribute."""
        return n

    def kernel(self, kernel: Kernel) -> Kernel:
        """The kernel with other numbers."""
        dims = tuple(map(self.extent, kernel.dims))
        values = tuple(map(self._value, kernel.values))
        return replace(
            kernel, dims=dims, values=values, stores=tuple(map(self._store, kernel.stores))
        )

    def _index(self, index: Index) -> Index:
        return Index(self.offset(index.offset), tuple(map(self.stride, index.strides)))

    def _choices(self, choices: tuple[DynamicIndex, ...]) -> tuple[DynamicIndex, ...]:
        return tuple(
            DynamicIndex(c.arg, self.extent(c.extent), self.stride(c.stride)) for c in choices
        )

    def _value(self, value: Value) -> Value:
        match value:
            case Load() | IndexValue():
                return replace(value, index=self._index(value.index))
            case GatherLoad():
                index, choices = self._index(value.index), self._choices(value.choices)
                return replace(value, index=index, choices=choices)
            case Reduction() if value.place is not None:
                return replace(value, place=self._index(value.place))
            case Constant():
                return replace(value, number=self.number(value.number))
            case Compute() if value.attrs:
                return replace(value, attrs=self._attr(value.attrs))
        return value

    def _attr(self, attr: Any) -> Any:
        return tuple(map(self._attr, attr)) if type(attr) is tuple else self.number(attr)

    def _store(self, store: Store) -> Store:
        index, choices = self._index(store.index), self._choices(store.choices)
        return replace(store, index=index, choices=choices, attrs=self._attr(store.attrs))


class _Abstraction(_Numbers):
    """Replaces numbers of one kernel by symbols of its own. known: these, and the arguments for
    them, in order. opened: the known numbers that are replaced.
    """

    def __init__(self, arguments: SizeArguments, opened: frozenset[int]) -> None:
        self.arguments = arguments
        self.opened = opened
        self.known: dict[Any, tuple[Dim, int]] = {}
        self._place = -1

    def __call__(self, n: Any, facts: tuple[int, ...] | None = None) -> Any:
        """The number over the kernel's own symbols. facts: those of it that matter, if not all
        do.
        """
        if not isinstance(n, Dim):
            return n
        by = gcd(LARGEST_DIVISOR, *(factor for _, factor in n.terms))
        if n.bounds()[1] <= 0:
            by = -by
        argument = n // by if by != 1 else n
        known = self.known.get(argument)
        if known is None:
            facts = self.arguments.facts(argument) if facts is None else facts
            symbol = self.arguments.symbol(len(self.known), facts)
            known = self.known[argument] = symbol, argument
        return known[0] * by

    def number(self, n: Any) -> Any:
        return self(n, ())

    def argument(self, n: int, facts: tuple[int, ...]) -> Dim:
        """A symbol for a number whatever it is."""
        symbol = self.arguments.symbol(len(self.known), facts)
        self.known[len(self.known), "opened"] = symbol, n
        return symbol

    def _replaced(self, n: int, facts: tuple[int, ...]) -> Any:
        self._place += 1
        return self.argument(n, facts) if self._place in self.opened else self(n)

    def extent(self, n: int) -> Any:
        if isinstance(n, Dim):
            return self._replaced(n, ())
        return self._replaced(n, _facts(n, 1 << (n - 1).bit_length(), n) if n > 0 else ())

    def stride(self, n: int) -> Any:
        return self._replaced(n, ())

    def offset(self, n: int) -> Any:
        self._place += 1
        return self.argument(n, ()) if self._place in self.opened else self(n, ())


# What stands for a known number in a skeleton.
_ANY = -(1 << 60)


class _Skeleton(_Numbers):
    """Leaves out the numbers of a kernel that can become arguments. numbers: what they are."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def offset(self, n: int) -> Any:
        self.numbers.append(n)
        return _ANY

    def extent(self, n: int) -> Any:
        self.numbers.append(n)
        return n if not isinstance(n, Dim) and n in (0, 1) else _ANY

    def stride(self, n: int) -> Any:
        self.numbers.append(n)
        return n if not isinstance(n, Dim) and n in (0, 1, -1) else _ANY


def opened_numbers(kernels: Mapping[int, Kernel], most: int) -> dict[int, frozenset[int]]:
    """Which known numbers of kernels become arguments, for those kernels that have such: the
    numbers in which more than `most` kernels differ that are equal but for numbers.
    """
    groups: dict[Any, dict[tuple[int, ...], list[int]]] = {}
    for place, kernel in kernels.items():
        skeleton = _Skeleton()
        key = identity(skeleton.kernel(kernel))
        groups.setdefault(key, {}).setdefault(tuple(skeleton.numbers), []).append(place)
    found: dict[int, frozenset[int]] = {}
    for group in groups.values():
        if len(group) <= most:
            continue
        opened = frozenset(
            k
            for k, numbers in enumerate(zip(*group, strict=True))
            if not is_symbolic(numbers) and len(set(numbers)) > 1
        )
        if opened:
            found.update((place, opened) for places in group.values() for place in places)
    return found


__all__ = ["SizeArguments", "opened_numbers"]
