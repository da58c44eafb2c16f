"""Symbolic extents: sizes of arrays that a specialisation takes as they come.

A `Dim` is a polynomial over *symbols* (extents of arguments) and over floors of such
polynomials divided by a number. It stands where an int would. Results that are the same for
all sizes are plain ints and bools again. What is not, `Sizes` decides:

- while a function is traced, as it is for the sizes at hand (the *hints*), and notes that as a
  *guard*: the specialisation is for sizes that give the same answer;
- afterwards not at all: `Undecided` is raised, or, for equality, the answer is no, which
  passes take for "not known to be equal".

No symbol is ever 1, for extents of 1 broadcast; 0 is one of its values like others.
Cf. the hints and guards of symbolic shapes in PyTorch 2 (Ansel et al., "PyTorch 2: Faster
Machine Learning Through Dynamic Python Bytecode Transformation and Graph Compilation",
ASPLOS 2024).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .values import dataclass

# No array has more elements.
MOST = 2**62
Monomial = tuple[str, ...]
Terms = tuple[tuple[Monomial, int], ...]


class Undecided(Exception):
    """A question about sizes whose answer depends on them, where no guard can be noted."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What the sizes of a specialisation fulfil: `terms` relate to 0 by "==", "!=" or ">="."""

    left: Any
    relation: str

    def __str__(self) -> str:
        left = self.left.text if isinstance(self.left, Dim) else self.left
        return f"{left} {self.relation} 0"

    def holds(self, values: Mapping[str, int]) -> bool:
        """Whether these sizes fulfil it."""
        found = evaluate(self.left, values)
        match self.relation:
            case "==":
                return found == 0
            case "!=":
                return found != 0
            case _:
                return found >= 0


class Sizes:
    """The symbols of one specialisation, and what was assumed of them.

    hints: the size of each symbol at hand. recording: whether guards can be noted.
    """

    def __init__(self) -> None:
        self.hints: dict[str, int] = {}
        self.guards: list[Guard] = []
        self.recording = False
        self.may_be_one: set[str] = set()
        self._noted: set[str] = set()
        self._floors: dict[str, tuple[Dim, int]] = {}
        self._least: dict[str, int] = {}
        self._most: dict[str, int] = {}

    def symbol(self, name: str, hint: int, may_be_one: bool = False) -> Dim:
        """A new symbol as an extent."""
        self.hints[name] = hint
        if may_be_one:
            self.may_be_one.add(name)
        return Dim(self, (((name,), 1),))

    def floor(self, dim: Dim, by: int) -> Dim:
        """An extent divided by a positive number, rounded down."""
        name = f"(({dim.text}) // {by})"
        self._floors.setdefault(name, (dim, by))
        return Dim(self, (((name,), 1),))

    def floor_of(self, name: str) -> tuple[Dim, int] | None:
        """What an atom that is no symbol divides, and by what."""
        return self._floors.get(name)

    def note(self, left: int, relation: str) -> None:
        """Assume something of the sizes, which the hints must fulfil."""
        if not isinstance(left, Dim) or (relation == "!=" and _never_zero(left)):
            return
        guard = Guard(left, relation)
        if str(guard) in self._noted:
            return
        self._noted.add(str(guard))
        self.guards.append(guard)
        if relation == ">=" and len(left.terms) <= 2:
            self._note_bound(left)

    def _note_bound(self, left: Dim) -> None:
        constant = dict(left.terms).get((), 0)
        rest = [(m, c) for m, c in left.terms if m]
        if len(rest) != 1 or len(rest[0][0]) != 1:
            return
        (name,), factor = rest[0]
        if factor > 0:
            self._least[name] = max(self._least.get(name, 0), -(constant // factor))
        else:
            self._most[name] = min(self._most.get(name, MOST), constant // -factor)

    def bounds_of(self, name: str) -> tuple[int, int]:
        """The least and the greatest value of an atom."""
        floor = self._floors.get(name)
        low, high = 0, MOST
        if floor is not None:
            low, high = (end // floor[1] for end in floor[0].bounds())
        return max(low, self._least.get(name, low)), min(high, self._most.get(name, high))

    def hint(self, name: str) -> int:
        """An atom's value for the sizes at hand."""
        floor = self._floors.get(name)
        return self.hints[name] if floor is None else floor[0].hint // floor[1]


class Dim(int if TYPE_CHECKING else object):  # type: ignore[misc]
    """An extent that is known when the compiled function is called.

    To a type checker it is an int, which it stands for; it isn't one, so that no code can take
    it for a number by mistake. `int(n)`, `range(n)` and the like make the specialisation one
    for this very size.
    """

    __slots__ = ("_text", "sizes", "terms")

    sizes: Sizes
    terms: Terms
    _text: str | None

    def __new__(cls, sizes: Sizes, terms: Terms) -> Dim:
        """The polynomial of these terms: monomials (names in order) with their factors."""
        made: Dim = object.__new__(cls)
        made.sizes = sizes
        made.terms = terms
        made._text = None
        return made

    # -- what it is

    @property
    def text(self) -> str:
        """The polynomial as text, which `parse_dim` reads."""
        if self._text is None:
            parts: list[str] = []
            for monomial, factor in self.terms:
                factors = [str(abs(factor))] if abs(factor) != 1 or not monomial else []
                text = "*".join([*factors, *monomial])
                sign = "-" if factor < 0 else "+"
                parts.append(f" {sign} {text}" if parts else ("-" * (factor < 0) + text))
            self._text = "".join(parts)
        return self._text

    def __repr__(self) -> str:
        # what Python code makes a string of is for this very size
        return str(int(self)) if self.sizes.recording else self.text

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if self.sizes.recording else format(self.text, spec)

    def __hash__(self) -> int:
        return hash(self.terms)

    def __reduce__(self) -> tuple[Any, ...]:
        return parse_dim, (self.text,)

    @property
    def hint(self) -> int:
        """Its value for the sizes at hand."""
        return sum(
            factor * math.prod(self.sizes.hint(name) for name in monomial)
            for monomial, factor in self.terms
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that it depends on."""
        found: dict[str, None] = {}
        for monomial, _ in self.terms:
            for name in monomial:
                floor = self.sizes.floor_of(name)
                found.update(dict.fromkeys((name,) if floor is None else floor[0].symbols))
        return tuple(found)

    def bounds(self) -> tuple[int, int]:
        """Numbers between which it lies, as near as is easily told."""
        known = [self._bounds_of(form) for form in (dict(self.terms), *self._rewritten())]
        return max(low for low, _ in known), min(high for _, high in known)

    def _bounds_of(self, terms: dict[Monomial, int]) -> tuple[int, int]:
        low, high = 0, 0
        for monomial, factor in terms.items():
            least, most = 1, 1
            for name in monomial:
                bottom, top = self._atom_bounds(name)
                if bottom < 0:
                    return -MOST * MOST, MOST * MOST
                least, most = least * bottom, most * top
            ends = (factor * least, factor * most)
            low, high = low + min(ends), high + max(ends)
        return low, high

    def _atom_bounds(self, name: str) -> tuple[int, int]:
        if name.startswith("%"):
            return 0, int(name[1:].split("%")[0]) - 1
        return self.sizes.bounds_of(name)

    def _rewritten(self) -> Iterator[dict[Monomial, int]]:
        """The terms with k * (n // k) as n - rest, and those with n as k * (n // k) + rest,
        where both occur: there what cancels does. Rests are atoms `%k%n`.
        """
        floors = {n: self.sizes.floor_of(n) for m, _ in self.terms for n in m}
        folded, spread = dict(self.terms), dict(self.terms)
        for name, floor in floors.items():
            if floor is None:
                continue
            inner, by = floor
            rest = (f"%{by}%{inner.text}",)
            factor, odd = divmod(folded.get((name,), 0), by)
            if not odd:
                folded.pop((name,), None)
                for monomial, c in (*inner.terms, (rest, -1)):
                    folded[monomial] = folded.get(monomial, 0) + factor * c
            lead = next(((m, c) for m, c in inner.terms if m), None)
            if lead is not None and lead[1] == 1 and lead[0] in spread:
                factor = spread.pop(lead[0])
                others = [(m, -c) for m, c in inner.terms if m != lead[0]]
                for monomial, c in (((name,), by), (rest, 1), *others):
                    spread[monomial] = spread.get(monomial, 0) + factor * c
        if any(floors.values()):
            for form in (folded, spread):
                yield {m: c for m, c in form.items() if c}

    # -- arithmetic

    def _terms_of(self, other: Any) -> Terms | None:
        if isinstance(other, Dim):
            return other.terms
        if type(other) is int or (hasattr(other, "__index__") and not hasattr(other, "ndim")):
            value = int(other)
            return (((), value),) if value else ()
        return None

    def _plus(self, other: Any, sign: int) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return NotImplemented
        total = dict(self.terms)
        for monomial, factor in terms:
            total[monomial] = total.get(monomial, 0) + sign * factor
        return _made(self.sizes, total)

    def __add__(self, other: Any) -> Any:
        return self._plus(other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._plus(other, -1)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __neg__(self) -> Any:
        return self * -1

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __mul__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return NotImplemented
        total: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in terms:
                monomial = tuple(sorted(left + right))
                total[monomial] = total.get(monomial, 0) + a * b
        return _made(self.sizes, total)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, Dim):
            return self._exact(other)
        terms = self._terms_of(other)
        if terms is None:
            return NotImplemented
        by = int(other)
        if by == 0:
            raise ZeroDivisionError("an extent divided by zero")
        if by < 0:
            return (-self) // -by
        whole = {m: c for m, c in self.terms if c % by == 0}
        rest = {m: c for m, c in self.terms if c % by}
        quotient = _made(self.sizes, {m: c // by for m, c in whole.items()})
        inner = _made(self.sizes, rest)
        if not isinstance(inner, Dim):
            return quotient + inner // by
        low, high = inner.bounds()
        if low // by == high // by:
            return quotient + low // by
        return quotient + self.sizes.floor(inner, by)

    def __rfloordiv__(self, other: Any) -> Any:
        if type(other) is int and other == 0:
            return 0
        if type(other) is int and -self <= other < self:  # so it is for larger extents, too
            return 0 if other > 0 else -1
        return int(other) // int(self)

    def _exact(self, other: Dim) -> Any:
        """The quotient by an extent where that goes without rest."""
        quotient = exact_quotient(self, other)
        return int(self) // int(other) if quotient is None or other == 0 else quotient

    def __mod__(self, other: Any) -> Any:
        if not isinstance(other, Dim) and self._terms_of(other) is None:
            return NotImplemented
        return self - (self // other) * other

    def __rmod__(self, other: Any) -> Any:
        return other - (other // self) * self

    def __divmod__(self, other: Any) -> Any:
        quotient = self // other
        return quotient, self - quotient * other

    def __rdivmod__(self, other: Any) -> Any:
        return divmod(int(other), int(self))

    # -- questions

    def _ask(self, left: Any, relation: str) -> bool:
        """Whether `left` relates so to 0."""
        if not isinstance(left, Dim):
            return bool(left == 0 if relation == "==" else left >= 0)
        low, high = left.bounds()
        if relation == "==":
            if low > 0 or high < 0 or _never_zero(left):
                return False
            if low == high == 0:
                return True
        elif low >= 0 or high < 0:
            return low >= 0
        if not self.sizes.recording:
            if relation == "==":
                return False
            raise Undecided(f"{left} {relation} 0")
        value = left.hint
        if relation == "==":
            self.sizes.note(left, "==" if value == 0 else "!=")
            return value == 0
        if value >= 0:
            self.sizes.note(left, ">=")
            return True
        self.sizes.note(-left - 1, ">=")
        return False

    def __eq__(self, other: Any) -> Any:
        if self is other:
            return True
        if isinstance(other, Dim) and self.terms == other.terms:
            return True
        if isinstance(other, float) and other.is_integer():
            other = int(other)
        terms = self._terms_of(other)
        if terms is None:
            return NotImplemented
        return self._ask(self - other, "==")

    def __ne__(self, other: Any) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __ge__(self, other: Any) -> Any:
        if isinstance(other, float):
            other = math.ceil(other)
        if self._terms_of(other) is None:
            return NotImplemented
        return self._ask(self - other, ">=")

    def __gt__(self, other: Any) -> Any:
        if isinstance(other, float):
            other = math.floor(other)
        if self._terms_of(other) is None:
            return NotImplemented
        return self._ask(self - other - 1, ">=")

    def __le__(self, other: Any) -> Any:
        if isinstance(other, float):
            other = math.floor(other)
        if self._terms_of(other) is None:
            return NotImplemented
        return self._ask(other - self, ">=")

    def __lt__(self, other: Any) -> Any:
        if isinstance(other, float):
            other = math.ceil(other)
        if self._terms_of(other) is None:
            return NotImplemented
        return self._ask(other - self - 1, ">=")

    def __bool__(self) -> bool:
        return bool(self != 0)

    # -- as a number

    def __index__(self) -> int:
        if not self.sizes.recording:
            raise Undecided(f"the value of {self}")
        value = self.hint
        self.sizes.note(self - value, "==")
        return value

    __int__ = __index__
    __trunc__ = __index__

    def __float__(self) -> float:
        return float(int(self))

    def __complex__(self) -> complex:
        return complex(int(self))

    def __round__(self, digits: int | None = None) -> Any:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(int(self), dtype)

    def bit_length(self) -> int:
        """As of an int, for this very size."""
        return int(self).bit_length()

    def _as_tensor(self) -> Any:
        """A traced scalar with its value."""
        from .dispatch import current_trace

        trace = current_trace.get()
        return int(self) if trace is None else trace.size(self)

    def __truediv__(self, other: Any) -> Any:
        return self._as_tensor() / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / self._as_tensor()

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if type(other) is int and 0 <= other <= 4:
            return math.prod([self] * other)
        return self._as_tensor() ** other

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return other ** self._as_tensor()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        given = [x._as_tensor() if isinstance(x, Dim) else x for x in inputs]
        return getattr(ufunc, method)(*given, **kwargs)


def _made(sizes: Sizes, total: Mapping[Monomial, int]) -> Any:
    """The polynomial of these terms; an int where that is all it is."""
    terms = tuple(sorted((m, c) for m, c in total.items() if c))
    if not terms:
        return 0
    if len(terms) == 1 and not terms[0][0]:
        return terms[0][1]
    # names first, the number last: n0 - 1
    named = tuple(t for t in terms if t[0])
    return Dim(sizes, (*named, *(t for t in terms if not t[0])))


def _never_zero(dim: Dim) -> bool:
    """Whether a polynomial is not 0 because none of its symbols is 1, or by its divisors."""
    constant = dict(dim.terms).get((), 0)
    rest = [(m, c) for m, c in dim.terms if m]
    if len(rest) == 1:
        monomial, factor = rest[0]
        if constant % factor:
            return True
        plain = all(
            dim.sizes.floor_of(n) is None and n not in dim.sizes.may_be_one for n in monomial
        )
        return plain and -constant // factor == 1
    return bool(constant % math.gcd(*(c for _, c in rest)))


def is_symbolic(shape: Iterable[Any]) -> bool:
    """Whether some extent of a shape is symbolic."""
    return any(isinstance(n, Dim) for n in shape)


# What a symbol is taken to be at least in choices about code that serves larger sizes, too.
USUAL = 256


def guess(n: int) -> int:
    """About how large an extent is, a symbolic one not being small: for choices that no
    result depends on.
    """
    return evaluate(n, guesses((n,))) if isinstance(n, Dim) else n


def guesses(shape: Iterable[int]) -> dict[str, int]:
    """What `guess` takes the symbols of a shape to be."""
    dims = [n for n in shape if isinstance(n, Dim)]
    return {name: max(USUAL, n.sizes.hints[name]) for n in dims for name in n.symbols}


def exact_quotient(extent: int, by: int) -> int | None:
    """An extent divided by another one, term by term; None where that leaves a rest."""
    if not isinstance(extent, Dim) and not isinstance(by, Dim):
        return None if by == 0 or extent % by else extent // by
    if isinstance(extent, Dim) and isinstance(by, Dim) and extent.terms == by.terms:
        return 1
    divisors = by.terms if isinstance(by, Dim) else (((), by),)
    terms = extent.terms if isinstance(extent, Dim) else (((), extent),)
    if len(divisors) != 1:
        return None
    names, factor = divisors[0]
    total: dict[Monomial, int] = {}
    for monomial, number in terms:
        left = list(monomial)
        for name in names:
            if name not in left:
                return None
            left.remove(name)
        if number % factor:
            return None
        total[tuple(left)] = number // factor
    sizes = extent.sizes if isinstance(extent, Dim) else by.sizes  # type: ignore[attr-defined]
    quotient: int = _made(sizes, total)
    return quotient


def evaluate(n: int, values: Mapping[str, int]) -> int:
    """An extent for given sizes."""
    if not isinstance(n, Dim):
        return n
    total = 0
    for monomial, factor in n.terms:
        part = factor
        for name in monomial:
            floor = n.sizes.floor_of(name)
            part *= values[name] if floor is None else evaluate(floor[0], values) // floor[1]
        total += part
    return total


def parse_dim(text: str, sizes: Sizes | None = None) -> int:
    """The extent that a text gives: ValueError where it is none."""
    sizes = Sizes() if sizes is None else sizes
    try:
        parsed: int = _parsed(ast.parse(text.strip(), mode="eval").body, sizes)
        return parsed
    except (SyntaxError, KeyError) as error:
        raise ValueError(f"no extent: {text}") from error


_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
}


def _parsed(tree: ast.expr, sizes: Sizes) -> Any:
    match tree:
        case ast.Constant(value=int() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_parsed(operand, sizes)
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](_parsed(left, sizes), _parsed(right, sizes))
        case ast.Name(id=name) if name[:1] == "n" and name[1:].isdigit():
            return sizes.symbol(name, sizes.hints.get(name, USUAL), name in sizes.may_be_one)
    raise ValueError(f"no extent: {ast.unparse(tree)}")


__all__ = [
    "Dim", "Guard", "Sizes", "Undecided", "evaluate", "exact_quotient", "guess", "is_symbolic",
    "parse_dim",
]  # fmt: skip
