"""Symbolic extents: sizes of arrays that a specialisation takes as they come.

A `Dim` is a polynomial over *symbols* (extents of arguments) and over floors of such
polynomials divided by a number. It stands where an int would, and does what an int does. Its
laws:

1. Arithmetic is exact. Results that are the same for all sizes are plain ints and bools again.
2. A question (`==`, `<`, `bool`) is answered where the answer is the same for all sizes that
   fulfil the guards (`size_facts.py`).
3. While a function is traced, any other question is answered for the sizes at hand (the
   *hints*), and the answer becomes a *guard*: the specialisation is for sizes that give the
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
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import LeakedTracerError, asked_by_user, at_user_line
from .frozen import dataclass
from .size_facts import (
    Facts,
    Monomial,
    Terms,
    added,
    constant_of,
    multiplied,
    ordered,
    scaled,
    text_of,
)

# The length of the names of a polynomial's atoms above which a function being traced computes
# with numbers.
_LONGEST = 400


class Undecided(Exception):
    """A question about sizes whose answer depends on them, where no guard can be noted."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What the sizes of a specialisation fulfil: `left` relates to 0 by "==", "!=" or ">="."""

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


class Dim(int if TYPE_CHECKING else object):  # type: ignore[misc]
    """An extent that is known when the compiled function is called.

    To a type checker, and to isinstance, it is an int, which it stands for; its type isn't
    int, so that no C code can take it for a number by mistake.
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

    # -- arithmetic

    def _terms_of(self, other: Any) -> Terms | None:
        if type(other) is int:
            return (((), other),) if other else ()
        if type(other) is Dim:
            if other.sizes is not self.sizes and (
                self.sizes.recording or other.sizes.recording
            ):
                raise LeakedTracerError(
                    at_user_line(
                        "an extent of an array of another trace is used in this one",
                        "return values from the function instead of storing them",
                    )
                )
            return other.terms
        if isinstance(other, np.generic) or not hasattr(other, "__index__"):
            return None
        if hasattr(other, "ndim") or isinstance(other, float):
            return None
        value = int(other)
        return (((), value),) if value else ()

    def _otherwise(self, what: Callable[[Any, Any], Any], other: Any, turned: bool) -> Any:
        """An operation that isn't polynomial: of a traced number beside floats, left to arrays
        and tensors beside them, else of the number at hand.
        """
        if isinstance(other, Dim):
            other = int(other)
        if hasattr(other, "__array_ufunc__") or hasattr(other, "recorder"):
            return NotImplemented
        this: Any = self._as_tensor() if isinstance(other, (float, complex)) else int(self)
        return what(other, this) if turned else what(this, other)

    def _too_long(self, terms: Terms) -> bool:
        """Whether the function had better go on with the number at hand: what a loop makes of
        an extent (`k = k // 2 + k // 3`) may double in length each time.
        """
        return self.sizes.recording and (
            sum(len(name) for monomial, _ in terms for name in monomial) > _LONGEST
        )

    def _plus(self, other: Any, sign: int) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            what = operator.add if sign > 0 else operator.sub
            return self._otherwise(what, other, turned=False)
        return self.sizes.made(added(self.terms, terms, sign))

    def __add__(self, other: Any) -> Any:
        return self._plus(other, 1)

    def __radd__(self, other: Any) -> Any:
        if self._terms_of(other) is None:
            return self._otherwise(operator.add, other, turned=True)
        return self._plus(other, 1)

    def __sub__(self, other: Any) -> Any:
        return self._plus(other, -1)

    def __rsub__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(operator.sub, other, turned=True)
        return self.sizes.made(added(terms, self.terms, -1))

    def __neg__(self) -> Any:
        return self.sizes.made(scaled(self.terms, -1))

    def __pos__(self) -> Any:
        return self

    def __invert__(self) -> Any:
        return -self - 1

    def __abs__(self) -> Any:
        return self if self >= 0 else -self

    def __mul__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(operator.mul, other, turned=False)
        product = multiplied(self.terms, terms)
        if self._too_long(product):
            return int(self) * other
        return self.sizes.made(product)

    def __rmul__(self, other: Any) -> Any:
        if self._terms_of(other) is None:
            return self._otherwise(operator.mul, other, turned=True)
        return self.__mul__(other)

    def __floordiv__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(operator.floordiv, other, turned=False)
        if isinstance(other, Dim):
            return self._exact(other)
        by = constant_of(terms)
        if by == 0:
            raise ZeroDivisionError("integer division or modulo by zero")
        if by < 0:
            return (-self) // -by
        quotient = self.sizes.facts.floor(self.terms, by)
        if self._too_long(quotient):
            return int(self) // by
        return self.sizes.made(quotient)

    def __rfloordiv__(self, other: Any) -> Any:
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(operator.floordiv, other, turned=True)
        number = constant_of(terms)
        if -self <= number < self:  # so it is for larger extents, too
            return 0 if number >= 0 else -1
        return number // int(self)

    def _exact(self, other: Dim) -> Any:
        """The quotient by an extent where that goes without rest."""
        quotient = exact_quotient(self, other)
        return int(self) // int(other) if quotient is None or other == 0 else quotient

    def __mod__(self, other: Any) -> Any:
        if self._terms_of(other) is None:
            return self._otherwise(operator.mod, other, turned=False)
        return self - (self // other) * other

    def __rmod__(self, other: Any) -> Any:
        if self._terms_of(other) is None:
            return self._otherwise(operator.mod, other, turned=True)
        return other - (other // self) * self

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __truediv__(self, other: Any) -> Any:
        return self._as_tensor() / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / self._as_tensor()

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is None and type(other) is int and 0 <= other <= 4:
            return math.prod([self] * other)
        if modulo is not None:
            return pow(int(self), int(other), int(modulo))
        return self._otherwise(operator.pow, other, turned=False)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        if isinstance(other, (float, complex)):
            return other ** self._as_tensor()
        return self._otherwise(operator.pow, other, turned=True)

    def __lshift__(self, other: Any) -> Any:
        if type(other) is int and 0 <= other < 62:
            return self * 2**other
        return self._otherwise(operator.lshift, other, turned=False)

    def __rshift__(self, other: Any) -> Any:
        if type(other) is int and 0 <= other < 62:
            return self // 2**other
        return self._otherwise(operator.rshift, other, turned=False)

    def __and__(self, other: Any) -> Any:
        if type(other) is int and other >= 0 and (other + 1) & other == 0:
            return self % (other + 1)
        return self._otherwise(operator.and_, other, turned=False)

    def __rand__(self, other: Any) -> Any:
        if type(other) is int:
            return self & other
        return self._otherwise(operator.and_, other, turned=True)

    def __or__(self, other: Any) -> Any:
        return self._otherwise(operator.or_, other, turned=False)

    def __ror__(self, other: Any) -> Any:
        return self._otherwise(operator.or_, other, turned=True)

    def __xor__(self, other: Any) -> Any:
        return self._otherwise(operator.xor, other, turned=False)

    def __rxor__(self, other: Any) -> Any:
        return self._otherwise(operator.xor, other, turned=True)

    def __rlshift__(self, other: Any) -> Any:
        return self._otherwise(operator.lshift, other, turned=True)

    def __rrshift__(self, other: Any) -> Any:
        return self._otherwise(operator.rshift, other, turned=True)

    # -- questions

    def _ask(self, left: Any, relation: str) -> bool:
        """Whether `left` relates so to 0."""
        if not isinstance(left, Dim):
            return bool(left == 0 if relation == "==" else left >= 0)
        sizes = self.sizes
        known = sizes.facts.decide(left.terms, relation)
        if known is not None:
            return known
        if not sizes.recording:
            if relation == "==":
                return False
            raise Undecided(f"{left} {relation} 0")
        value = left.hint
        if relation == "==":
            sizes.note(left, "==" if value == 0 else "!=")
            return value == 0
        if value >= 0:
            sizes.note(left, ">=")
            return True
        sizes.note(-left - 1, ">=")
        return False

    def __eq__(self, other: Any) -> Any:
        if self is other:
            return True
        if isinstance(other, (np.number, np.bool_)):
            return self._compare_scalar(operator.eq, other)
        if type(other) is Dim and self.terms == other.terms:
            return True
        if isinstance(other, complex):
            return other.imag == 0 and self == other.real
        if isinstance(other, float):
            if not other.is_integer():
                return False
            other = int(other)
        if type(other) is Dim and other.sizes is not self.sizes:
            return False
        terms = self._terms_of(other)
        if terms is None:
            if other is None or isinstance(other, (str, bytes, tuple, list, dict, set)):
                return False
            if not self.sizes.recording:
                return NotImplemented
            return self._otherwise(operator.eq, other, turned=False)
        return self._ask(self.sizes.made(added(self.terms, terms, -1)), "==")

    def __ne__(self, other: Any) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else equal ^ True  # of NumPy's type, if it is

    def _compare_scalar(
        self, what: Callable[[Any, Any], Any], other: np.number[Any] | np.bool_
    ) -> Any:
        """NumPy's answer, which is NumPy's bool. NumPy rounds an int to the type of a float
        beside it: one that isn't small enough to make no difference asks for the number.
        """
        if isinstance(other, np.floating) and np.isfinite(other):
            exact = abs(float(other)) < 2 ** int(np.finfo(type(other)).nmant)
        else:
            exact = not isinstance(other, np.complexfloating)
        if not exact:
            return what(int(self), other)
        plain = float(other) if isinstance(other, np.floating) else int(other)
        return np.bool_(what(self, plain))

    def _compare(
        self, other: Any, what: Callable[[Any, Any], Any], sign: int, more: int
    ) -> Any:
        """sign * (self - other) >= more."""
        if isinstance(other, (np.number, np.bool_)):
            return self._compare_scalar(what, other)
        if isinstance(other, complex):
            return what(0, other)  # a TypeError
        if isinstance(other, float):
            if not math.isfinite(other):
                return what(0, other)
            # the whole number that is as far away in that direction
            whole = math.ceil(other) if (sign > 0) == (more == 0) else math.floor(other)
            other = int(whole)
        terms = self._terms_of(other)
        if terms is None:
            return self._otherwise(what, other, turned=False)
        left = added(scaled(self.terms, sign), terms, -sign)
        return self._ask(self.sizes.made(added(left, (((), -more),) if more else ())), ">=")

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, operator.ge, 1, 0)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, operator.gt, 1, 1)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, operator.le, -1, 0)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, operator.lt, -1, 1)

    def __bool__(self) -> bool:
        return bool(self != 0)

    # -- as a number

    def __index__(self) -> int:
        low, high = self.bounds()
        if low == high:
            return low
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
        return self if digits is None or digits >= 0 else round(int(self), digits)

    def __floor__(self) -> Any:
        return self

    def __ceil__(self) -> Any:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(int(self), dtype)

    def __getattr__(self, name: str) -> Any:
        """Another attribute of an int, for this very size."""
        if name.startswith("__") or not hasattr(int, name):
            raise AttributeError(f"'int' object has no attribute {name!r}")
        return getattr(int(self), name)

    def _as_tensor(self) -> Any:
        """A traced scalar with its value."""
        traced = self.sizes.traced
        return int(self) if traced is None else traced(self)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        given = [x._as_tensor() if isinstance(x, Dim) else x for x in inputs]
        return getattr(ufunc, method)(*given, **kwargs)


def is_symbolic(shape: Iterable[Any]) -> bool:
    """Whether some extent of a shape is symbolic."""
    return any(type(n) is Dim for n in shape)


def pinned(n: int) -> int:
    """An extent in which whatever the guards leave one value is that number."""
    if type(n) is not Dim:
        return n
    terms = n.sizes.facts.pinned(n.terms)
    made: int = n if terms == n.terms else n.sizes.made(terms)
    return made


def stretched(extent: int, out: int) -> bool:
    """Whether an axis is repeated where it is broadcast to an extent; Undecided where that
    depends on sizes.
    """
    if type(extent) is not Dim and type(out) is not Dim:
        return extent == 1 != out
    if extent == out:
        return False
    if extent == 1:
        return True
    raise Undecided(f"whether {extent} is {out}")


def decide_one(extent: int) -> bool:
    """Whether an extent is 1.

    If that depends on the sizes, the specialization is for one of both cases, since bits depend
    on it: a guard is noted.
    """
    if not isinstance(extent, Dim) or extent.bounds()[0] > 1:
        return extent == 1
    one = bool(extent.hint == 1)
    extent.sizes.note(extent - 1, "==" if one else "!=")
    return one


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
    return {name: max(n.sizes.usual, n.sizes.hints[name]) for n in dims for name in n.symbols}


def exact_quotient(extent: int, by: int) -> int | None:
    """An extent divided by another one, term by term; None where that leaves a rest."""
    if not isinstance(extent, Dim) and not isinstance(by, Dim):
        return None if by == 0 or extent % by else extent // by
    if isinstance(extent, Dim) and isinstance(by, Dim) and extent.terms == by.terms:
        return 1
    divisors = by.terms if isinstance(by, Dim) else (((), by),)
    terms = extent.terms if isinstance(extent, Dim) else (((), extent),) if extent else ()
    if len(divisors) != 1 or not divisors[0][1]:
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
    quotient: int = sizes.made(ordered(total))
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


def magnitude(n: int, size: int) -> int:
    """The sum of an extent's terms without their signs, all symbols being of this size: more
    than anything on the way to its value for sizes up to it.
    """
    if not isinstance(n, Dim):
        return abs(n)
    total = 0
    for monomial, factor in n.terms:
        part = abs(factor)
        for name in monomial:
            floor = n.sizes.floor_of(name)
            part *= size if floor is None else magnitude(floor[0], size)
        total += part
    return max(total, evaluate(n, dict.fromkeys(n.symbols, size)))


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
    "Dim", "Guard", "Sizes", "Undecided", "decide_one", "evaluate", "exact_quotient", "guess",
    "is_symbolic", "magnitude", "parse_dim", "pinned", "stretched",
]  # fmt: skip
