"""What is called in place of builtins that look at objects, or change containers."""

from __future__ import annotations

import enum
from typing import Any

from .callables import is_trusted
from .draws import DrawCalls
from .guarding import PLAIN
from .operators import checked_length
from .sources import Check


class BuiltinCalls(DrawCalls):
    """`_call_` with a builtin's name is called in its place, so that hooks see what it does."""

    # -- methods of containers

    def _changer(self, owner: Any, name: str) -> Any:
        """What is called in place of a method that changes a container from outside."""
        if type(owner) is list and name == "append":
            return lambda value: self._append(owner, [value])
        if type(owner) is list and name == "extend":
            return lambda values: self._append(owner, list(self.shadow(values)))
        if type(owner) is dict and name == "setdefault":

            def setdefault(key: Any, default: Any = None) -> Any:
                if self.contains((key, owner), 0):
                    return self.load_item((owner, key))
                self.store_item((default, owner, key))
                return default

            return setdefault
        if type(owner) is dict and name == "update":

            def update(*args: Any, **kwargs: Any) -> None:
                for key, value in dict(*map(self.shadow, args), **kwargs).items():
                    self.store_item((value, owner, key))

            return update

        def change(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                raise self.refusal(f"calls .{name} of a {type(owner).__name__} by names")
            return self.changed(owner, name, *args)

        return change

    # -- builtins that look at objects

    def _call_getattr(self, owner: Any, name: str, *default: Any) -> Any:
        try:
            return self.load_attribute(owner, name)
        except AttributeError:
            if default:
                return default[0]
            raise

    def _call_hasattr(self, owner: Any, name: str) -> bool:
        try:
            self.load_attribute(owner, name)
        except AttributeError:
            return False
        return True

    def _call_setattr(self, owner: Any, name: str, value: Any) -> None:
        self.store_attribute((value, owner), name)

    def _call_len(self, value: Any) -> int:
        kind = type(value)
        shape = getattr(value, "shape", None) if self._traced(value) else None
        if shape:
            extent: int = shape[0]  # not an int where it is known only at the call
            return extent
        if kind in PLAIN or self._traced(value):
            return len(value)
        function = self.method_of(value, "__len__")
        if function is not None:
            return checked_length(self.call(function, value))
        value = self.merged(value)
        source = self.source_of(value)
        if source is not None:
            self.guard(Check.LENGTH, source, len(value))
        return len(value)

    def _call_isinstance(self, value: Any, kinds: Any) -> bool:
        self._require_plain_classes(kinds)
        return isinstance(value, kinds)

    def _require_plain_classes(self, kinds: Any) -> None:
        """Refuse classes that say by code of their own, or a register, what belongs to them."""
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            if isinstance(kind, tuple):
                self._require_plain_classes(kind)
            elif (
                isinstance(kind, type)
                and type(kind) is not type
                and not is_trusted(kind)
                and not issubclass(kind, enum.Enum)
            ):
                raise self.refusal(f"asks for {kind.__name__}, whose class isn't followed")

    def _call_issubclass(self, kind: Any, kinds: Any) -> bool:
        self._require_plain_classes(kinds)
        return issubclass(kind, kinds)

    def _call_callable(self, value: Any) -> bool:
        return callable(value)

    def _call_id(self, value: Any) -> int:
        raise self.refusal("asks for the id of an object")

    def _call_vars(self, *args: Any) -> Any:
        if not args:
            raise self.refusal("asks for its local names")
        return self.load_attribute(args[0], "__dict__")

    def _call_iter(self, value: Any, *sentinel: Any) -> Any:
        return iter(self.callee(value), *sentinel) if sentinel else iter(self._items(value))

    def _call_next(self, value: Any, *default: Any) -> Any:
        function = self.method_of(value, "__next__")
        if function is not None:
            return self.call(function, value)
        if self.source_of(value) is not None or self._outside(value):
            raise self.refusal("advances an iterator from outside")
        self._require_no_turn("advances an iterator")
        return next(value, *default)


__all__ = ["BuiltinCalls"]
