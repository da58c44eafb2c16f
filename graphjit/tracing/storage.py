"""The memory of traced ndarrays, and the operators that write into it."""

from __future__ import annotations

import weakref
from typing import Any


class Storage:
    """The memory of a traced ndarray, which its views share."""

    __slots__ = ("_handles", "base", "made_at", "shared", "written_back")

    def __init__(self, shared: bool, base: Storage | None = None, made_at: int = 0) -> None:
        # Whether others than the handles see it.
        self.shared = shared
        # How many nodes the trace had.
        self.made_at: int = made_at if base is None else base.made_at
        # Whether it may be written although it is shared: each call writes the elements back.
        self.written_back = False
        # Of a read-only view: the storage of the array that it is a view of.
        self.base = base
        # The array and its views, where it has any.
        self._handles: list[weakref.ref[Any]] = []

    def add(self, base: Any, view: Any) -> None:
        """Note a new view of `base`."""
        known = self.handles()
        new = [h for h in (base, view) if all(h is not other for other in known)]
        self._handles = [weakref.ref(h) for h in (*known, *new)]

    def freeze(self) -> None:
        """Let nothing be written into it any more."""
        self.shared, self.written_back = True, False

    def owner(self) -> Storage:
        """The storage of the array that this is a view of."""
        return self if self.base is None else self.base.owner()

    def handles(self) -> list[Any]:
        """The array and its views that some code can still reach, the oldest first."""
        return [h for h in (ref() for ref in self._handles) if h is not None]


class InPlaceOperators:
    """`x += y` and the like, by the names of the operators."""

    __slots__ = ()

    def _in_place(self, name: str, other: Any) -> Any:
        """Write what the operator gives into this array, where it is one."""
        raise NotImplementedError

    def __iadd__(self, other: Any) -> Any:
        return self._in_place("add", other)

    def __isub__(self, other: Any) -> Any:
        return self._in_place("sub", other)

    def __imul__(self, other: Any) -> Any:
        return self._in_place("mul", other)

    def __itruediv__(self, other: Any) -> Any:
        return self._in_place("truediv", other)

    def __ifloordiv__(self, other: Any) -> Any:
        return self._in_place("floordiv", other)

    def __imod__(self, other: Any) -> Any:
        return self._in_place("mod", other)

    def __ipow__(self, other: Any) -> Any:
        return self._in_place("pow", other)

    def __iand__(self, other: Any) -> Any:
        return self._in_place("and", other)

    def __ior__(self, other: Any) -> Any:
        return self._in_place("or", other)

    def __ixor__(self, other: Any) -> Any:
        return self._in_place("xor", other)

    def __ilshift__(self, other: Any) -> Any:
        return self._in_place("lshift", other)

    def __irshift__(self, other: Any) -> Any:
        return self._in_place("rshift", other)

    def __imatmul__(self, other: Any) -> Any:
        return self._in_place("matmul", other)


__all__ = ["InPlaceOperators", "Storage"]
