"""What is known of symbolic sizes, and what follows from it.

Sizes are whole numbers. An *atom* is a symbol (`n0`) or the floor of a polynomial over a
positive number (`((n0 + 1) // 2)`). A *polynomial* is a tuple of pairs (monomial, factor); a
monomial is a tuple of atoms in order, `()` for the constant. `Facts` holds what the guards of
a specialization say. It answers a question only where the answer is the same for all sizes
that fulfil these guards:

- `bounds(p)`: numbers between which p lies. Each is at least as wide as the truth:
  - a symbol lies in [0, MAX_SIZE]; unless it may be 1, 1 is left out;
  - floor(p / k) lies between the floors of p's bounds over k;
  - sums and products have the bounds of interval arithmetic;
  - p also lies where p with each floor(q / k) written as (q - rest) / k does, 0 <= rest < k;
  - and where a guard puts it.
- `decide(p, relation)`: whether p is 0, or at least 0; None where that depends.

All of this is kept small rather than complete: what isn't found here becomes a guard.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping

# No array has more elements.
MAX_SIZE = 2**62
Monomial = tuple[str, ...]
Terms = tuple[tuple[Monomial, int], ...]
Bounds = tuple[int, int]
# How deep consequences of a guard are followed, and how deep floors within floors.
_MAX_DEPTH = 6
# The same few polynomials come again and again while a program is made.
_remembered = functools.lru_cache(maxsize=1 << 14)


def ordered(total: Mapping[Monomial, int]) -> Terms:
    """The polynomial of these monomials: those with names in order, the constant last."""
    named = tuple(sorted((m, c) for m, c in total.items() if c and m))
    constant = total.get((), 0)
    return (*named, ((), constant)) if constant else named


@_remembered
def added(left: Terms, right: Terms, factor: int = 1) -> Terms:
    """left + factor * right."""
    total = dict(left)
    for monomial, c in right:
        total[monomial] = total.get(monomial, 0) + factor * c
    return ordered(total)


@_remembered
def multiplied(left: Terms, right: Terms) -> Terms:
    """left * right."""
    total: dict[Monomial, int] = {}
    for one, a in left:
        for other, b in right:
            monomial = tuple(sorted(one + other))
            total[monomial] = total.get(monomial, 0) + a * b
    return ordered(total)


@_remembered
def scaled(terms: Terms, factor: int) -> Terms:
    """factor * terms."""
    return tuple((m, c * factor) for m, c in terms) if factor else ()


def divided(left: Terms, right: Terms) -> Terms | None:
    """left / right, term by term; None where that leaves a rest."""
    if left == right and left:
        return (((), 1),)
    if len(right) != 1:
        return None
    names, factor = right[0]
    total: dict[Monomial, int] = {}
    for monomial, number in left:
        rest = list(monomial)
        for name in names:
            if name not in rest:
                return None
            rest.remove(name)
        if number % factor:
            return None
        total[tuple(rest)] = number // factor
    return ordered(total)


def constant_of(terms: Terms) -> int:
    """The term without atoms."""
    return terms[-1][1] if terms and not terms[-1][0] else 0


def split(terms: Terms) -> tuple[Terms, int, int]:
    """(linear, factor, constant) so that terms = factor * linear + constant. The factors of
    `linear`, which has no constant, have no common divisor, and the first is positive. Of a
    number it is ().
    """
    constant = constant_of(terms)
    named = terms[:-1] if constant else terms
    if not named:
        return (), 0, constant
    factor = math.gcd(*(c for _, c in named))
    if named[0][1] < 0:
        factor = -factor
    return tuple((m, c // factor) for m, c in named), factor, constant


def text_of(terms: Terms) -> str:
    """The polynomial as text, which `parse_dim` reads."""
    parts: list[str] = []
    for monomial, factor in terms:
        factors = [str(abs(factor))] if abs(factor) != 1 or not monomial else []
        text = "*".join([*factors, *monomial])
        sign = "-" if factor < 0 else "+"
        parts.append(f" {sign} {text}" if parts else ("-" * (factor < 0) + text))
    return "".join(parts) or "0"


def floor_parts(terms: Terms, by: int) -> tuple[Terms, Terms, int]:
    """(whole, rest, k) so that floor(terms / by) = whole + floor(rest / k), by > 0.

    Equal quotients get equal parts in most cases: what `by` divides is taken out, of the rest
    each factor keeps its sign and is smaller than `by`, common divisors are cancelled, and the
    constant lies in range(k).
    """
    whole: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for monomial, c in terms:
        quotient = c // by if not monomial or c >= 0 else -(-c // by)
        whole[monomial] = quotient
        rest[monomial] = c - quotient * by
    constant = rest.pop((), 0)
    common = math.gcd(by, *rest.values())
    if common > 1:
        rest = {m: c // common for m, c in rest.items()}
        by, constant = by // common, constant // common
    rest[()] = constant
    return ordered(whole), ordered(rest), by


class Facts:
    """What is known of the symbols of one specialization.

    floors: what each atom that is no symbol divides, and by what. may_be_one: the symbols of
    which 1 is a value.
    """

    def __init__(self) -> None:
        self.floors: dict[str, tuple[Terms, int]] = {}
        self.may_be_one: set[str] = set()
        self._ranges: dict[Terms, Bounds] = {}  # of polynomials without a constant
        self._excluded: dict[Terms, set[int]] = {}  # values that they never have
        self._rules: dict[str, Terms] = {}  # an atom, and what the guards say it equals
        # found before, since the last new fact; floors within floors ask for the same again
        self._bounds: dict[tuple[Terms, int], Bounds] = {}
        self._decided: dict[tuple[Terms, str], bool | None] = {}
        self._pinned: dict[Terms, Terms] = {}

    # -- atoms

    def floor(self, terms: Terms, by: int) -> Terms:
        """A polynomial divided by a number above 0 and rounded down, in one way of
        writing it.
        """
        whole, rest, by = floor_parts(terms, by)
        linear, factor, constant = split(rest)
        if not linear or by == 1:
            return added(whole, rest)  # by is 1, or the rest a number below it: 0
        inner = self.floors.get(linear[0][0][0]) if factor == 1 and _is_atom(linear) else None
        if inner is not None:  # floor((floor(p / a) + c) / b) is floor((p + a c) / (a b))
            p, a = inner
            return added(whole, self.floor(added(p, (((), a * constant),)), a * by))
        if factor < 0 and all(c > 0 for _, c in linear):
            # floor(-p / k) is -floor((p + k - 1) / k): one name for both
            turned = added(scaled(rest, -1), (((), by - 1),))
            return added(whole, self.floor(turned, by), -1)
        low, high = self.bounds(rest)
        if low // by == high // by:
            return added(whole, (((), low // by),)) if low // by else whole
        name = f"(({text_of(rest)}) // {by})"
        self.floors.setdefault(name, (rest, by))
        return added(whole, (((name,), 1),))

    def symbols(self, terms: Terms) -> Iterable[str]:
        """The symbols that a polynomial depends on, with repetitions."""
        for monomial, _ in terms:
            for name in monomial:
                floor = self.floors.get(name)
                if floor is None:
                    yield name
                else:
                    yield from self.symbols(floor[0])

    # -- bounds

    def bounds(self, terms: Terms) -> Bounds:
        """Numbers between which a polynomial lies."""
        return self._bounds_of(terms, 0)

    def _bounds_of(self, terms: Terms, depth: int) -> Bounds:
        linear, factor, constant = split(terms)
        if not linear:
            return constant, constant
        known = self._bounds.get((linear, 0)) or self._bounds.get((linear, depth))
        if known is None:
            known = self._bounds[linear, depth] = self._linear_bounds(linear, depth)
        ends = known[0] * factor + constant, known[1] * factor + constant
        return min(ends), max(ends)

    def _linear_bounds(self, linear: Terms, depth: int) -> Bounds:
        low, high = self._interval(linear, depth)
        least, most = self._ranges.get(linear, (low, high))
        low, high = max(low, least), min(high, most)
        if depth < _MAX_DEPTH:
            relaxed, by = self._relaxed(linear)
            if by:
                least, most = self._relaxed_bounds(relaxed, depth + 1)
                low, high = max(low, -(-least // by)), min(high, most // by)
        return self._without_excluded(linear, low, high)

    def _without_excluded(self, linear: Terms, low: int, high: int) -> Bounds:
        excluded = self._excluded.get(linear, ())
        never_one = _is_atom(linear) and self._never_one(linear[0][0][0])
        while low < high and (low in excluded or (low == 1 and never_one)):
            low += 1
        while low < high and (high in excluded or (high == 1 and never_one)):
            high -= 1
        return low, high

    def _never_one(self, name: str) -> bool:
        symbol = name not in self.floors and not name.startswith("%")
        return symbol and name not in self.may_be_one

    def _interval(self, linear: Terms, depth: int) -> Bounds:
        """By interval arithmetic."""
        low, high = 0, 0
        for monomial, factor in linear:
            least, most = 1, 1
            for name in monomial:
                bottom, top = self._atom_bounds(name, linear, depth)
                ends = (least * bottom, least * top, most * bottom, most * top)
                least, most = min(ends), max(ends)
            low += min(factor * least, factor * most)
            high += max(factor * least, factor * most)
        return low, high

    def _atom_bounds(self, name: str, linear: Terms, depth: int) -> Bounds:
        own: Terms = (((name,), 1),)
        if own != linear:
            return self._bounds_of(own, depth)
        if name.startswith("%"):  # a rest
            return 0, int(name[1:].split("%")[0]) - 1
        floor = self.floors.get(name)
        if floor is None:
            return 0, MAX_SIZE
        inner, by = floor
        low, high = self._bounds_of(inner, depth + 1)
        return low // by, high // by

    def _relaxed(self, linear: Terms) -> tuple[Terms, int]:
        """(q, k) so that k times the polynomial is q, whose floors are written as what they
        divide less a rest, an atom `%k%q`; k = 0 where there is no floor.
        """
        names = [n for m, _ in linear for n in m if n in self.floors and m.count(n) == 1]
        by = math.lcm(*(self.floors[n][1] for n in dict.fromkeys(names))) if names else 0
        if not by or by > MAX_SIZE:
            return (), 0
        total: Terms = ()
        for monomial, factor in linear:
            name = next((n for n in monomial if n in names and monomial.count(n) == 1), None)
            if name is None:
                total = added(total, ((monomial, factor * by),))
                continue
            inner, k = self.floors[name]
            left = list(monomial)
            left.remove(name)
            rest = (((f"%{k}%{text_of(inner)}",), 1),)
            numerator = added(inner, rest, -1)
            part = multiplied(((tuple(left), factor * (by // k)),), numerator)
            total = added(total, part)
        return total, by

    def _relaxed_bounds(self, terms: Terms, depth: int) -> Bounds:
        """The bounds of a polynomial with rests: what has none apart, for it may be known."""
        plain = tuple((m, c) for m, c in terms if not any(n[0] == "%" for n in m))
        rests = tuple((m, c) for m, c in terms if any(n[0] == "%" for n in m))
        low, high = self._bounds_of(plain, depth)
        if rests:
            linear, factor, _ = split(rests)
            least, most = self._interval(linear, depth)
            ends = least * factor, most * factor
            low, high = low + min(ends), high + max(ends)
        return low, high

    # -- questions

    def decide(self, terms: Terms, relation: str) -> bool | None:
        """Whether a polynomial is 0 ("=="), or at least 0 (">="); None where that depends."""
        key = (terms, relation)
        if key not in self._decided:
            self._decided[key] = self._decide(terms, relation)
        return self._decided[key]

    def _decide(self, terms: Terms, relation: str) -> bool | None:
        for known in dict.fromkeys((terms, self.reduced(terms))):
            low, high = self.bounds(known)
            if relation == ">=":
                if low >= 0 or high < 0:
                    return low >= 0
                continue
            if low == high == 0:
                return True
            if low > 0 or high < 0 or self._never_zero(known):
                return False
        return None

    def _never_zero(self, terms: Terms) -> bool:
        """Whether no value of the sizes makes a polynomial 0."""
        linear, factor, constant = split(terms)
        if not linear:
            return constant != 0
        if constant % factor:
            return True
        value = -constant // factor
        if value in self._excluded.get(linear, ()):
            return True
        # a product of sizes is 1 only where all are
        return (
            value == 1
            and len(linear) == 1
            and linear[0][1] == 1
            and any(map(self._never_one, linear[0][0]))
            and all(self._atom_bounds(n, (), 0)[0] >= 0 for n in linear[0][0])
        )

    # -- what guards say

    def learn(self, terms: Terms, relation: str) -> None:
        """Take it as given that a polynomial relates so to 0."""
        linear, factor, constant = split(terms)
        if not linear:
            return
        self._forget()
        if relation == "!=":
            if constant % factor == 0:
                self._excluded.setdefault(linear, set()).add(-constant // factor)
        elif relation == "==":
            value = -constant // factor
            self._narrow(linear, value, value, 0)
            self._add_rule(added(linear, (((), -value),) if value else ()))
        elif factor > 0:
            self._narrow(linear, -(constant // factor), None, 0)
        else:
            self._narrow(linear, None, constant // -factor, 0)
        self._forget()

    def _forget(self) -> None:
        for memo in (self._bounds, self._decided, self._pinned):
            memo.clear()

    def _narrow(self, linear: Terms, low: int | None, high: int | None, depth: int) -> None:
        """Note that a polynomial lies in a range, and what follows for the atoms in it."""
        least, most = self.bounds(linear)
        low = least if low is None else max(low, least)
        high = most if high is None else min(high, most)
        if (low, high) == (least, most) or low > high or depth > _MAX_DEPTH:
            return
        self._ranges[linear] = low, high
        self._bounds.clear()
        if _is_atom(linear) and linear[0][0][0] in self.floors:
            inner, by = self.floors[linear[0][0][0]]
            self._narrow_terms(inner, low * by, high * by + by - 1, depth + 1)
            return
        for monomial, factor in linear if len(linear) > 1 else ():
            if len(monomial) != 1:
                continue
            own: Terms = ((monomial, factor),)
            others = self.bounds(added(linear, own, -1))
            self._narrow_terms(own, low - others[1], high - others[0], depth + 1)

    def _narrow_terms(self, terms: Terms, low: int, high: int, depth: int) -> None:
        linear, factor, constant = split(terms)
        if not linear:
            return
        low, high = low - constant, high - constant
        if factor < 0:
            low, high, factor = -high, -low, -factor
        self._narrow(linear, -(-low // factor), high // factor, depth)

    def _add_rule(self, zero: Terms) -> None:
        """Note that a polynomial is 0: one of its atoms is what the others give."""
        linear, factor, constant = split(self.reduced(zero))
        if not linear or constant % factor:
            return
        zero = added(linear, (((), constant // factor),) if constant else ())
        atoms = [m[0] for m, c in zero if len(m) == 1 and abs(c) == 1]
        # floors first, then the latest symbols
        for name in sorted(atoms, key=lambda n: (n in self.floors, len(n), n), reverse=True):
            sign = dict(zero)[(name,)]
            rest = scaled(added(zero, (((name,), sign),), -1), -sign)
            if any(self._holds(n, name) for m, _ in rest for n in m):
                continue
            self._rules = {
                k: self._substituted(v, {name: rest}) for k, v in self._rules.items()
            }
            self._rules[name] = rest
            self._forget()
            self._narrow_terms(rest, *self.bounds((((name,), 1),)), 1)
            return

    def _holds(self, atom: str, name: str) -> bool:
        """Whether an atom is the other one, or has it within."""
        if atom == name:
            return True
        floor = self.floors.get(atom)
        return floor is not None and any(self._holds(n, name) for m, _ in floor[0] for n in m)

    def reduced(self, terms: Terms) -> Terms:
        """A polynomial with the same values, in which equal things have equal names as far as
        guards say what is equal.
        """
        for _ in range(_MAX_DEPTH):
            made = self._substituted(terms, self._rules) if self._rules else terms
            if made == terms:
                break
            terms = made
        return terms

    def _substituted(self, terms: Terms, rules: Mapping[str, Terms]) -> Terms:
        if not any(self._touched(n, rules) for m, _ in terms for n in m):
            return terms
        total: Terms = ()
        for monomial, factor in terms:
            part: Terms = (((), factor),)
            for name in monomial:
                part = multiplied(part, self._substituted_atom(name, rules))
            total = added(total, part)
        return total

    def _touched(self, name: str, rules: Mapping[str, Terms]) -> bool:
        if name in rules:
            return True
        floor = self.floors.get(name)
        return floor is not None and any(
            self._touched(n, rules) for m, _ in floor[0] for n in m
        )

    def _substituted_atom(self, name: str, rules: Mapping[str, Terms]) -> Terms:
        if name in rules:
            return rules[name]
        floor = self.floors.get(name)
        if floor is None:
            return (((name,), 1),)
        return self.floor(self._substituted(floor[0], rules), floor[1])

    def pinned(self, terms: Terms) -> Terms:
        """A polynomial with the same values in which whatever the guards leave one value is
        that number.
        """
        known = self._pinned.get(terms)
        if known is None:
            known = self._pinned[terms] = self._pin(terms)
        return known

    def _pin(self, terms: Terms) -> Terms:
        for candidate in dict.fromkeys((terms, self.reduced(terms))):
            low, high = self.bounds(candidate)
            if low == high:
                return (((), low),) if low else ()
        numbers: dict[str, Terms] = {}
        todo = [n for m, _ in terms for n in m]
        while todo:
            name = todo.pop()
            own: Terms = (((name,), 1),)
            low, high = self.bounds(self.reduced(own))
            if low != high:
                low, high = self.bounds(own)
            if low == high:
                numbers[name] = (((), low),) if low else ()
            elif name in self.floors:
                todo += [n for m, _ in self.floors[name][0] for n in m]
        return self._substituted(terms, numbers)


def _is_atom(linear: Terms) -> bool:
    return len(linear) == 1 and len(linear[0][0]) == 1 and linear[0][1] == 1


__all__ = [
    "MAX_SIZE", "Bounds", "Facts", "Monomial", "Terms", "added", "constant_of", "multiplied",
    "ordered", "scaled", "split", "text_of",
]  # fmt: skip
