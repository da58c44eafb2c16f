"""Kernels of symbolic extents, with their sizes as arguments.

Extents, strides and offsets of a kernel are polynomials of the program's symbols. Its code
takes the value of each polynomial as an argument, a symbol of its own. So kernels over
different polynomials can be the same code: row 3 of `n0` columns and row 4, `n0 - 2` elements
and `n0 - 4`. What the choice of code depends on remains part of the kernel: known numbers,
powers of two that divide a size, lengths that are surely long or surely short.

Where many kernels of a program differ only in known numbers, these become arguments, too: the
rows of a triangle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import gcd
from typing import Any

from graphjit.core.dims import Dim, Sizes, is_symbolic
from graphjit.core.extents import guess
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

# Whether accesses are whole cache lines and loops whole vectors depends on no greater divisor.
LARGEST_DIVISOR = 64


class SizeArguments:
    """Replaces a kernel's sizes by symbols of its own. Equal kernels get equal symbols.

    To `Sizes` a symbol is never negative. Extents aren't, as a call checks first
    (cpu/prepare.py). Differences of strides may be, but code only asks whether they are equal.
    """

    def __init__(self) -> None:
        self.sizes = Sizes()
        self.sizes.usual = 0
        self._symbols: dict[tuple[int, ...], Dim] = {}
        self._facts: dict[Dim, tuple[int, ...]] = {}

    def abstract(
        self, kernel: Kernel, others: Iterable[int], opened: frozenset[int] = frozenset()
    ) -> tuple[Kernel, list[int], list[int], list[str]]:
        """The kernel, and other numbers about it, over symbols of its own.

        Gives the kernel, the other numbers, what the program has in place of the symbols, and
        the symbols' names.

        opened: the known numbers of the kernel that become arguments, by their positions in
            `KernelSkeleton.numbers`; if there are any, all other numbers become arguments, too
        """
        found = SizeAbstraction(self, opened)
        made = found.kernel(kernel)
        numbers = [found.argument(n, ()) if opened else found(n) for n in others]
        names = [name for n, _ in found.known.values() for name in n.symbols]
        return made, numbers, [argument for _, argument in found.known.values()], names

    def facts(self, argument: Dim) -> tuple[int, ...]:
        """The facts about a symbolic number that the choice of code depends on."""
        known = self._facts.get(argument)
        if known is None:
            low, high = argument.bounds()
            known = self._facts[argument] = _relevant_facts(low, high, guess(argument))
        return known

    def symbol(self, position: int, facts: tuple[int, ...]) -> Dim:
        """The symbol for argument `position` of a kernel."""
        symbol = self._symbols.get((position, *facts))
        if symbol is None:
            low, high, hint = facts or (0, 0, 0)
            name = f"a{len(self._symbols)}"
            symbol = self.sizes.symbol(name, hint, may_be_one=True)
            self.sizes.note(symbol - low, ">=")
            if high:
                self.sizes.note(high - symbol, ">=")
            self._symbols[position, *facts] = symbol
        return symbol


def _relevant_facts(low: int, high: int, about: int) -> tuple[int, ...]:
    """What the choice of code depends on: a lower bound, an upper bound (0 for none), the
    magnitude.
    """
    least = ROW_LANES if low >= ROW_LANES else 0
    about = 1 << about.bit_length() - 1 if about > 0 else 0
    return least, high if 0 < high <= cost_model.SPILL_BYTES else 0, about


class NumberRewriter:
    """Rebuilds a kernel with its extents, strides and offsets replaced, in a fixed order."""

    def extent(self, n: int) -> Any:
        """The replacement of an extent."""
        raise NotImplementedError

    def stride(self, n: int) -> Any:
        """The replacement of a stride."""
        raise NotImplementedError

    def offset(self, n: int) -> Any:
        """The replacement of an offset."""
        raise NotImplementedError

    def number(self, n: Any) -> Any:
        """The replacement of a constant or attribute."""
        return n

    def kernel(self, kernel: Kernel) -> Kernel:
        """The kernel with other numbers."""
        dims = tuple(map(self.extent, kernel.dims))
        values = tuple(map(self._rewrite_value, kernel.values))
        return replace(
            kernel,
            dims=dims,
            values=values,
            stores=tuple(map(self._rewrite_store, kernel.stores)),
        )

    def _rewrite_index(self, index: Index) -> Index:
        return Index(self.offset(index.offset), tuple(map(self.stride, index.strides)))

    def _rewrite_choices(self, choices: tuple[DynamicIndex, ...]) -> tuple[DynamicIndex, ...]:
        return tuple(
            DynamicIndex(c.arg, self.extent(c.extent), self.stride(c.stride)) for c in choices
        )

    def _rewrite_value(self, value: Value) -> Value:
        match value:
            case Load() | IndexValue():
                return replace(value, index=self._rewrite_index(value.index))
            case GatherLoad():
                index, choices = (
                    self._rewrite_index(value.index),
                    self._rewrite_choices(value.choices),
                )
                return replace(value, index=index, choices=choices)
            case Reduction() if value.place is not None:
                return replace(value, place=self._rewrite_index(value.place))
            case Constant():
                return replace(value, number=self.number(value.number))
            case Compute() if value.attrs:
                return replace(value, attrs=self._rewrite_attr(value.attrs))
        return value

    def _rewrite_attr(self, attr: Any) -> Any:
        return (
            tuple(map(self._rewrite_attr, attr)) if type(attr) is tuple else self.number(attr)
        )

    def _rewrite_store(self, store: Store) -> Store:
        index, choices = self._rewrite_index(store.index), self._rewrite_choices(store.choices)
        return replace(
            store, index=index, choices=choices, attrs=self._rewrite_attr(store.attrs)
        )


class SizeAbstraction(NumberRewriter):
    """Replaces numbers of one kernel by symbols of its own.

    known: number -> its symbol and the argument for it, in order
    opened: the known numbers that are replaced, by position
    """

    def __init__(self, arguments: SizeArguments, opened: frozenset[int]) -> None:
        self.arguments = arguments
        self.opened = opened
        self.known: dict[Any, tuple[Dim, int]] = {}
        self._position = -1

    def __call__(self, n: Any, facts: tuple[int, ...] | None = None) -> Any:
        """The number over the kernel's own symbols. facts: those that matter; None for all."""
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
        """A new symbol for a number, whatever it is."""
        symbol = self.arguments.symbol(len(self.known), facts)
        self.known[len(self.known), "opened"] = symbol, n
        return symbol

    def _replace_number(self, n: int, facts: tuple[int, ...]) -> Any:
        self._position += 1
        return self.argument(n, facts) if self._position in self.opened else self(n)

    def extent(self, n: int) -> Any:
        if isinstance(n, Dim):
            return self._replace_number(n, ())
        return self._replace_number(
            n, _relevant_facts(n, 1 << (n - 1).bit_length(), n) if n > 0 else ()
        )

    def stride(self, n: int) -> Any:
        return self._replace_number(n, ())

    def offset(self, n: int) -> Any:
        self._position += 1
        return self.argument(n, ()) if self._position in self.opened else self(n, ())


# Represents a known number in a skeleton.
ANY_NUMBER = -(1 << 60)


class KernelSkeleton(NumberRewriter):
    """Leaves out the numbers of a kernel that can become arguments.

    numbers: those numbers, in order
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def offset(self, n: int) -> Any:
        self.numbers.append(n)
        return ANY_NUMBER

    def extent(self, n: int) -> Any:
        self.numbers.append(n)
        return n if not isinstance(n, Dim) and n in (0, 1) else ANY_NUMBER

    def stride(self, n: int) -> Any:
        self.numbers.append(n)
        return n if not isinstance(n, Dim) and n in (0, 1, -1) else ANY_NUMBER


def opened_numbers(kernels: Mapping[int, Kernel], most: int) -> dict[int, frozenset[int]]:
    """Which known numbers of which kernels become arguments, by position.

    They are those in which more than `most` kernels differ that are equal otherwise.
    """
    groups: dict[Any, dict[tuple[int, ...], list[int]]] = {}
    for position, kernel in kernels.items():
        skeleton = KernelSkeleton()
        key = identity(skeleton.kernel(kernel))
        groups.setdefault(key, {}).setdefault(tuple(skeleton.numbers), []).append(position)
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
            found.update(
                (position, opened) for positions in group.values() for position in positions
            )
    return found


__all__ = ["SizeArguments", "opened_numbers"]
