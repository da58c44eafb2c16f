"""Why a function was compiled again: which guard no specialization of it passed, as data."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from graphjit.core.dims import Dim
from graphjit.core.errors import SourceLine
from graphjit.core.frozen import dataclass
from graphjit.core.types import shape_text

if TYPE_CHECKING:
    from graphjit.core.tree import LeafKind, Tree

    from .specialization import Specialization

# Forms that a call is compared with: methods of many objects have one for each.
MAX_COMPARED = 16


@dataclass(frozen=True, slots=True)
class Miss:
    """A call that no specialization fitted.

    guard: what of which argument was another, such as "shape of x". expected: what the nearest
    specialization has; found: what the call brought. source: the line of the call.
    specializations: how many specializations there were.
    """

    guard: str
    expected: str
    found: str
    source: SourceLine | None
    specializations: int

    def __str__(self) -> str:
        where = "" if self.source is None else f"\n  {self.source.describe()}"
        return f"{self.guard}: {self.expected}, now {self.found}{where}"


def why(
    kinds: Sequence[LeafKind],
    tree: Tree,
    names: Sequence[str],
    specializations: Sequence[Specialization],
    count: int,
    source: SourceLine | None,
) -> Miss:
    """The guards by which a call misses the specialization that is nearest to it, of the
    latest. count: how many there are.
    """
    nearest, least = specializations[-1], len(kinds) + 2
    for specialization in reversed(specializations[-MAX_COMPARED:]):
        if specialization.given != tree:
            continue
        pairs = zip(specialization.kinds, kinds, strict=True)
        apart = sum([a.kind != b.kind or a.key != b.key for a, b in pairs])
        if apart < least:
            nearest, least = specialization, apart
    if nearest.given != tree:
        before, now = f"{len(nearest.kinds)} leaves", f"{len(kinds)} leaves"
        if before == now:
            before, now = "other containers or keywords", "these"
        return Miss("structure of the arguments", before, now, source, count)
    parts = [
        _difference(name, before, now)
        for name, before, now in zip(names, nearest.kinds, kinds, strict=True)
        if before != now
    ]
    if not parts:
        return Miss("captured arrays", "as traced", "of other types", source, count)
    guards, expected, found = (", ".join(texts) for texts in zip(*parts, strict=True))
    return Miss(guards, expected, found, source, count)


def _difference(name: str, before: LeafKind, now: LeafKind) -> tuple[str, str, str]:
    if before.kind != now.kind:
        return f"kind of {name}", before.kind, now.kind
    if before.kind in ("array", "tensor"):
        (old_shape, old_dtype), (shape, dtype) = _type(before.key), _type(now.key)
        if not _admits(old_shape, shape) or old_dtype == dtype:
            return f"shape of {name}", _shape_text(old_shape, shape), shape_text(shape)
        return f"dtype of {name}", str(old_dtype), str(dtype)
    return f"value of {name}", _text(before.key), _text(now.key)


def _shape_text(before: Sequence[int | Dim], now: Sequence[int]) -> str:
    """A shape that wasn't this one, with what is known of its symbols if these could be it."""
    text = shape_text(before)
    if not _admits(before, now):
        return text
    ones = any(isinstance(a, Dim) and b == 1 for a, b in zip(before, now, strict=True))
    return f"{text} with extents " + ("other than 1" if ones else "that pass its guards")


def _admits(before: Sequence[int | Dim], now: Sequence[int]) -> bool:
    """Whether a specialization's shape, of which extents may be symbolic, may be this one."""
    return len(before) == len(now) and all(
        isinstance(a, Dim) or a == b for a, b in zip(before, now, strict=True)
    )


def _type(key: Any) -> tuple[Any, Any]:
    return key if isinstance(key, tuple) else (key.shape, key.dtype)


def _text(key: Any) -> str:
    if not (isinstance(key, tuple) and len(key) == 2):
        return getattr(key, "__name__", None) or "another object"
    value = key[1]
    if isinstance(value, str):  # without what a class derived from it does
        return _short(str.__getitem__(value, slice(MAX_TEXT + 1)))
    if isinstance(value, bytes):
        return _short(repr(bytes.__getitem__(value, slice(MAX_TEXT + 1))))
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value._name_}"
    if isinstance(value, frozenset):
        return f"a frozenset of {frozenset.__len__(value)}"
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


# How much of a value is told.
MAX_TEXT = 200
