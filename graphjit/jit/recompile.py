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

# How many specializations a call is compared with: methods of many objects have one for each.
MAX_COMPARED = 16
# How many characters of a value are shown.
_MAX_TEXT = 200


class RecompileWarning(UserWarning):
    """A decorated function is compiled again and again, and why."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A call that no specialization served."""

    # What differed, such as "shape of x".
    guard: str
    # What the nearest specialization has there.
    expected: str
    # What the call brought.
    found: str
    # The line of the call.
    source: SourceLine | None
    # How many specializations there were.
    specializations: int

    def __str__(self) -> str:
        where = "" if self.source is None else f"\n  {self.source.describe()}"
        return f"{self.guard}: {self.expected}, now {self.found}{where}"


def explain_miss(
    kinds: Sequence[LeafKind],
    tree: Tree,
    names: Sequence[str],
    specializations: Sequence[Specialization],
    count: int,
    source: SourceLine | None,
) -> Miss:
    """The guards by which a call misses the specialization that is nearest to it.

    Only the latest specializations are compared. count: how many there are.
    """
    nearest, least = specializations[-1], len(kinds) + 2
    for specialization in reversed(specializations[-MAX_COMPARED:]):
        if specialization.argument_tree != tree:
            continue
        pairs = zip(specialization.kinds, kinds, strict=True)
        differences = sum([a.kind != b.kind or a.key != b.key for a, b in pairs])
        if differences < least:
            nearest, least = specialization, differences
    if nearest.argument_tree != tree:
        before, now = f"{len(nearest.kinds)} leaves", f"{len(kinds)} leaves"
        if before == now:
            before, now = "other containers or keywords", "these"
        return Miss("structure of the arguments", before, now, source, count)
    parts = [
        _describe_difference(name, before, now)
        for name, before, now in zip(names, nearest.kinds, kinds, strict=True)
        if before != now
    ]
    for guard in nearest.guards if not parts else ():
        if guard.holds():
            continue
        try:
            return Miss(*guard.describe(), source, len(specializations))
        except ReferenceError:
            text = guard.source.text
            return Miss(f"what {text} refers to", "alive", "gone", source, len(specializations))
    if not parts:
        return Miss("captured arrays", "as traced", "of other types", source, count)
    guards, expected, found = (", ".join(texts) for texts in zip(*parts, strict=True))
    return Miss(guards, expected, found, source, count)


def _describe_difference(name: str, before: LeafKind, now: LeafKind) -> tuple[str, str, str]:
    if before.kind != now.kind:
        return f"kind of {name}", before.kind, now.kind
    if before.kind in ("array", "tensor"):
        (old_shape, old_dtype), (shape, dtype) = (
            _shape_and_dtype(before.key),
            _shape_and_dtype(now.key),
        )
        if not _shape_matches(old_shape, shape) or old_dtype == dtype:
            return f"shape of {name}", _describe_shape(old_shape, shape), shape_text(shape)
        return f"dtype of {name}", str(old_dtype), str(dtype)
    return f"value of {name}", _describe_key(before.key), _describe_key(now.key)


def _describe_shape(before: Sequence[int | Dim], now: Sequence[int]) -> str:
    """A shape that wasn't this one, with what is known of its symbols if these could be it."""
    text = shape_text(before)
    if not _shape_matches(before, now):
        return text
    ones = any(isinstance(a, Dim) and b == 1 for a, b in zip(before, now, strict=True))
    return f"{text} with extents " + ("other than 1" if ones else "that pass its guards")


def _shape_matches(before: Sequence[int | Dim], now: Sequence[int]) -> bool:
    """Whether a specialization's shape, with extents that may be symbolic, admits this one."""
    return len(before) == len(now) and all(
        isinstance(a, Dim) or a == b for a, b in zip(before, now, strict=True)
    )


def _shape_and_dtype(key: Any) -> tuple[Any, Any]:
    return key if isinstance(key, tuple) else (key.shape, key.dtype)


def _describe_key(key: Any) -> str:
    if not (isinstance(key, tuple) and len(key) == 2):
        return getattr(key, "__name__", None) or "another object"
    value = key[1]
    if isinstance(value, str):  # without what a class derived from it does
        return _shorten(str.__getitem__(value, slice(_MAX_TEXT + 1)))
    if isinstance(value, bytes):
        return _shorten(repr(bytes.__getitem__(value, slice(_MAX_TEXT + 1))))
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value._name_}"
    if isinstance(value, frozenset):
        return f"a frozenset of {frozenset.__len__(value)}"
    return _shorten(repr(value))


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."
