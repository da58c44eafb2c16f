"""Symbolic extents: sizes of arrays that a specialization takes as they come.

A `Dim` is a polynomial over *symbols* (extents of arguments) and over floors of such
polynomials divided by a number. It stands where an int would, and does what an int does. Its
laws:

1. Arithmetic is exact. Results that are the same for all sizes are plain ints and bools again.
2. A question (`==`, `<`, `bool`) is answered where the answer is the same for all sizes that
   fulfil the guards (`size_facts.py`).
3. While a function is traced, any other question is answered for the sizes at hand (the
   *hints*), and the answer becomes a *guard*: the specialization is for sizes that give the
   same answer.
4. After that no guard can be noted: an open question of order raises `Undecided`; equality is
   answered by no, which passes take for "not known to be equal".
5. What Python needs as a number (a hash, an index, bits, text, an operation that isn't
   polynomial) is the number at hand, under the guard that the extent is just that.

A symbol is never 1, for extents of 1 broadcast, unless it stands for a part of an extent; 0 is
one of its values like others.
Cf. the hints and guards of symbolic shapes in PyTorch 2 (Ansel et al., "PyTorch 2: Faster
Machine Learning Through Dynamic Python Bytecode Transformation and Graph Compilation",
ASPLOS 2024).
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .dim_operators import DimOperators, Undecided
from .errors import asked_by_user
from .frozen import dataclass
from .size_facts import Facts, Terms, text_of

# What a symbol is taken to be at least in choices about code that serves larger sizes, too.
USUAL = 256


@dataclass(frozen=True, slots=True)
class Guard:
    """What the sizes of a specialization fulfil: `left` relates to 0 by "==", "!=" or ">="."""

    left: Any
    relation: str

    def __str__(self) -> str:
        left = self.left.text if isinstance(self.left, Dim) else self.left
        return f"{left} {self.relation} 0"

    def holds(self, values: Mapping[str, int]) -> bool:
        """Whether these sizes fulfil it."""
        left = self.left
        found = left.sizes.evaluate(left.terms, values) if isinstance(left, Dim) else left
        match self.relation:
            case "==":
                return found == 0
            case "!=":
                return found != 0
            case _:
                return found >= 0


class Sizes:
    """The symbols of one specialization, and what was assumed of them.

    hints: the size of each symbol at hand. recording: whether guards can be noted. usual: what
    `guess` takes a symbol to be at least. traced: what makes a traced scalar of an extent,
    while a function is traced.
    """

    def __init__(self) -> None:
        self.hints: dict[str, int] = {}
        self.guards: list[Guard] = []
        self.recording = False
        self.usual = USUAL
        self.traced: Callable[[Dim], Any] | None = None
        self.facts = Facts()
        self._noted: set[str] = set()
        self._dims: dict[Terms, Dim] = {}
        self._floors: dict[str, tuple[Dim, int]] = {}

    @property
    def may_be_one(self) -> set[str]:
        """The symbols of which 1 is a value."""
        return self.facts.may_be_one

    def symbol(self, name: str, hint: int, may_be_one: bool = False) -> Dim:
        """A new symbol as an extent."""
        self.hints[name] = hint
        if may_be_one:
            self.facts.may_be_one.add(name)
        return Dim(self, (((name,), 1),))

    def made(self, terms: Terms) -> Any:
        """The extent of these terms; an int where that is all it is."""
        if not terms:
            return 0
        if len(terms) == 1 and not terms[0][0]:
            return terms[0][1]
        known = self._dims.get(terms)
        if known is None:
            known = self._dims[terms] = Dim(self, terms)
        return known

    def floor_of(self, name: str) -> tuple[Dim, int] | None:
        """What an atom that is no symbol divides, and by what."""
        known = self._floors.get(name)
        if known is None and name in self.facts.floors:
            terms, by = self.facts.floors[name]
            known = self._floors[name] = (self.made(terms), by)
        return known

    def evaluate(self, terms: Terms, values: Mapping[str, int]) -> int:
        """A polynomial's value for given sizes."""
        total = 0
        for monomial, factor in terms:
            product = factor
            for name in monomial:
                floor = self.floor_of(name)
                if floor is None:
                    product *= values[name]
                else:
                    product *= self.evaluate(floor[0].terms, values) // floor[1]
            total += product
        return total

    def note(self, left: int, relation: str) -> None:
        """Assume something of the sizes, which the hints must fulfil."""
        if not isinstance(left, Dim):
            return
        known = self.facts.decide(left.terms, "==" if relation == "!=" else relation)
        if known is not None and known == (relation != "!="):
            return
        if zero := self._zero_factors(left, relation):
            for name in zero:
                self.note(self.made((((name,), 1),)), "==")
            return
        guard = Guard(left, relation)
        if str(guard) in self._noted:
            return
        self._noted.add(str(guard))
        self.guards.append(guard)
        self.facts.learn(left.terms, relation)

    def _zero_factors(self, left: Dim, relation: str) -> list[str]:
        """Where a guard says that a product of atoms is 0, those of them that are: what follows
        from a product alone holds for neither factor.
        """
        if relation == "!=" or len(left.terms) != 1:
            return []
        monomial, factor = left.terms[0]
        if len(monomial) < 2:
            return []
        if relation == ">=" and (factor > 0 or self.facts.bounds(((monomial, 1),))[0] < 0):
            return []
        if not self.hints.keys() >= set(left.symbols):
            return []
        return [name for name in dict.fromkeys(monomial) if self.hint(name) == 0]

    def bounds_of(self, name: str) -> tuple[int, int]:
        """The least and the greatest value of an atom."""
        return self.facts.bounds((((name,), 1),))

    def hint(self, name: str) -> int:
        """An atom's value for the sizes at hand."""
        floor = self.floor_of(name)
        return self.hints[name] if floor is None else floor[0].hint // floor[1]


def _in_user_code() -> bool:
    """Whether what asked for a hash is no part of graphjit."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_name == "__hash__":
        frame = frame.f_back
    return frame is None or asked_by_user(frame)


class Dim(DimOperators):
    """An extent that is known when the compiled function is called.

    To a type checker, and to isinstance, it is an int, which it stands for; its type isn't
    int, so that no C code can take it for a number by mistake.
    """

    __slots__ = ("_text", "sizes", "terms")

    sizes: Sizes
    _text: str | None

    def __new__(cls, sizes: Sizes, terms: Terms) -> Dim:
        """The polynomial of these terms: monomials (names in order) with their factors."""
        made: Dim = object.__new__(cls)
        made.sizes = sizes
        made.terms = terms
        made._text = None
        return made

    if not TYPE_CHECKING:
        __class__ = property(lambda self: int)

    # -- what it is

    @property
    def text(self) -> str:
        """The polynomial as text, which `parse_dim` reads."""
        if self._text is None:
            self._text = text_of(self.terms)
        return self._text

    def __repr__(self) -> str:
        return str(int(self)) if self.sizes.recording else self.text

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(int(self), spec) if self.sizes.recording else format(self.text, spec)

    def __hash__(self) -> int:
        if self.sizes.recording and _in_user_code():
            return hash(int(self))
        return hash(self.terms)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if self.sizes.recording:
            return int, (int(self),)
        return parse_dim, (self.text,)

    def __copy__(self) -> Dim:
        return self

    def __deepcopy__(self, memo: Any) -> Dim:
        return self

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
        return tuple(dict.fromkeys(self.sizes.facts.symbols(self.terms)))

    @property
    def has_floors(self) -> bool:
        """Whether it is more than products of symbols."""
        return any(name in self.sizes.facts.floors for m, _ in self.terms for name in m)

    def bounds(self) -> tuple[int, int]:
        """Numbers between which it lies, as near as is easily told."""
        return self.sizes.facts.bounds(self.terms)


def is_symbolic(shape: Iterable[Any]) -> bool:
    """Whether some extent of a shape is symbolic."""
    return any(type(n) is Dim for n in shape)


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
    "USUAL", "Dim", "Guard", "Sizes", "Undecided", "is_symbolic", "parse_dim",
]  # fmt: skip
