"""Questions about extents, which are ints or symbolic (`Dim`): values, guesses, quotients.

Some note a guard or raise `Undecided`, as their docstrings say; the others do neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .dims import Dim, Undecided
from .size_facts import Terms, divided


def evaluate(n: int, values: Mapping[str, int]) -> int:
    """An extent for given sizes."""
    return n.sizes.evaluate(n.terms, values) if isinstance(n, Dim) else n


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
    quotient = divided(_terms_of(extent), _terms_of(by))
    if quotient is None:
        return None
    sizes = extent.sizes if isinstance(extent, Dim) else by.sizes  # type: ignore[attr-defined]
    made: int = sizes.made(quotient)
    return made


def _terms_of(n: int) -> Terms:
    if isinstance(n, Dim):
        return n.terms
    return (((), n),) if n else ()


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


__all__ = [
    "decide_one", "evaluate", "exact_quotient", "guess", "guesses", "magnitude", "pinned",
    "stretched",
]  # fmt: skip
