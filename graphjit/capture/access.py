"""Hooks of names and attributes: where what code reads comes from."""

from __future__ import annotations

import abc
import builtins
import enum
import functools
import sys
import types
import weakref
from inspect import CO_GENERATOR
from typing import Any, Final

from graphjit.core.errors import GraphJitError
from graphjit.core.static_lookup import is_decorated
from graphjit.numpy_protocol.deferred_texts import DeferredText
from graphjit.tensors.apply import current_trace

from .callables import (
    BUILTIN_NAMES,
    is_made_of_another,
    is_module_trusted,
    is_trusted,
    package_of,
)
from .containers import Containers
from .effects import DELETED, EffectKind
from .sources import (
    MISSING,
    AttributeSource,
    CellSource,
    Check,
    ConstSource,
    ItemSource,
    Source,
    global_source,
    lasting_source,
    static_attribute,
)
from .values import PLAIN

_OF_FUNCTIONS: Final = ("__kwdefaults__", "__defaults__", "__dict__")


class AccessHooks(Containers):
    """Hooks that give sources to what is read by name, attribute or key."""

    # -- names

    def load_global(self, value: Any, name: str) -> Any:
        if self.closed:
            self.end_if_abandoned()
            return value
        names = caller_globals()
        if self.overlay:
            written = self.overlay.find(names, name)
            if written is not MISSING:
                return written
        key = id(names), name
        known = self._globals.get(key)
        if known is not None and known[0] is value:
            return known[1]
        if is_module_trusted(names) and not isinstance(value, types.ModuleType):
            return value
        source = global_source(names, name)
        if name in names:
            found = self.read(value, source)
        else:
            self.guard(Check.ABSENT, source, None)
            found = value
            if name not in BUILTIN_NAMES:
                found = self.read(value, global_source(vars(builtins), name))
        self._globals[key] = value, found
        return found

    def load_deref(self, found: tuple[Any, types.CellType], name: str) -> Any:
        value, cell = found
        if self.closed or self.is_own_cell(cell):
            self.end_if_abandoned()
            return value
        if self.overlay:
            written = self.overlay.find(cell, name)
            if written is not MISSING:
                return written
        return self.read(value, CellSource(cell, name))

    def is_own_cell(self, cell: types.CellType) -> bool:
        """Whether a cell was made meanwhile: it isn't of a function that came from outside."""
        return id(cell) not in self._cells

    def store_deref(self, given: tuple[Any, types.CellType], name: str) -> None:
        value, cell = given
        if self.closed or self.is_own_cell(cell):
            self.end_if_abandoned()
            frame = sys._getframe(1)
            code = frame.f_code
            if name not in code.co_cellvars or code.co_flags & CO_GENERATOR:
                self._note_own_cell(cell, name, bool(code.co_flags & CO_GENERATOR))
            if self.places is not None:
                self.places.note_variable(frame, cell, name)
            super().store_deref(given, name)
            return
        before = CellSource(cell, name)()
        if before is MISSING:
            raise self.refusal(f"stores {name}, which had no value")
        self._store(cell, EffectKind.CELL, name, value, before)

    def _note_own_cell(self, cell: types.CellType, name: str, piecemeal: bool) -> None:
        """Note that code stores in a variable of a function around it, which may be around a
        loop that the code is in.
        """
        if self._in_turn():
            if piecemeal or self.places is None:
                self._require_no_turn(f"stores {name}")
            trace = current_trace.get()
            trace.branches.loops.require_cell(trace, cell, name)
        elif self.places is not None:
            self.places.note_cell(cell, name)

    def delete_deref(self, cell: types.CellType, name: str) -> None:
        if not self.closed and not self.is_own_cell(cell):
            raise self.refusal(f"deletes {name}, which other code sees")

    def store_global(self, value: Any, name: str) -> None:
        names = caller_globals()
        if self.closed:
            self.end_if_abandoned()
            names[name] = value
        elif name not in names:
            raise self.refusal(f"stores {name}, which had no value")
        else:
            self._store(names, EffectKind.ITEM, name, value, names[name])

    def delete_global(self, name: str) -> None:
        if not self.closed:
            raise self.refusal(f"deletes the global {name}")
        names = caller_globals()
        if name not in names:
            raise NameError(f"name '{name}' is not defined", name=name)
        del names[name]

    # -- attributes

    def load_attribute(self, owner: Any, name: str) -> Any:
        kind = type(owner)
        if self.closed or kind in PLAIN:
            self.end_if_abandoned()
            return getattr(owner, name)
        if name == "__class__":
            return self.class_of(owner)
        if name == "__dict__" and not self._traced(owner):
            trace = current_trace.get()
            if trace is not None and isinstance(getattr(owner, name, None), dict):
                trace.attribute_dicts.append(getattr(owner, name))
        if isinstance(owner, GraphJitError) and name in ("args", "message"):
            raise self.refusal("looks into an error of NumPy's")
        if kind is functools.partial and self.source_of(owner) is None:
            raise self.refusal(f"reads .{name} of a functools.partial")
        if self._traced(owner):
            owner._require_attribute(name)
            return getattr(owner, name)
        if self.overlay:
            written = self._written_attribute(owner, name)
            if written is not MISSING:
                return written
        if kind is types.FunctionType and name in _OF_FUNCTIONS:
            raise self.refusal(f"reads .{name} of a function")
        if kind is types.ModuleType:
            if id(owner) in self._libraries:
                return getattr(owner, name)
            if is_trusted(owner):
                self._libraries[id(owner)] = owner
                return getattr(owner, name)
            where = AttributeSource(lasting_source(owner, owner.__name__), name)
            return self._present(owner, name, where)
        if isinstance(owner, type):
            return self._of_class(owner, name)
        if kind is super:
            if owner.__self__ is None:
                raise self.refusal("reads an attribute of super() without an object")
            return self._of_super(owner.__thisclass__, owner.__self__, name)
        if isinstance(owner, enum.Enum) and name in ("value", "_value_", "name", "_name_"):
            member = ConstSource(owner, str(owner))
            return self._present(owner, name, AttributeSource(member, name))
        if isinstance(owner, enum.Enum):
            static = static_attribute(kind, name)
            if isinstance(static, property) and not is_trusted(kind):
                raise self.refusal(f"reads .{name}, a property of an enum")
            if isinstance(static, (types.FunctionType, staticmethod, classmethod)):
                self.guard(Check.SAME, AttributeSource(ConstSource(kind), name), static)
                return getattr(owner, name)
            member = ConstSource(owner, str(owner))
            if self.source_of(owner) is None:
                self._register(owner, member)
            return self._present(owner, name, AttributeSource(member, name))
        source = self.source_of(owner)
        if source is not None and name in ("_replace", "_asdict") and isinstance(owner, tuple):
            self.one_level(owner)  # C code takes the items
        if source is None and self._outside(owner):
            raise self.refusal(
                f"reads .{name} of an object reached in a way that isn't followed"
            )
        if is_trusted(kind):
            return self._of_library_object(owner, name, source)
        return self._of_object(owner, name, source)

    def class_of(self, value: Any) -> Any:
        """The class that undecorated code sees."""
        kind = type(value)
        if kind is DeferredText:
            return str
        if isinstance(value, GraphJitError):
            raise self.refusal("asks for the class of an error, which NumPy's own may be")
        self.guard_type(value)
        found = getattr(value, "__class__", kind)
        if found is kind and hasattr(kind, "__next__") and package_of(kind) == "graphjit":
            raise self.refusal("asks for the type of an iterator")
        return found

    def _written_attribute(self, owner: Any, name: str) -> Any:
        """What the code has stored in an attribute, or MISSING."""
        kind, own = type(owner), getattr(owner, "__dict__", None)
        if isinstance(own, dict):
            found = self.overlay.find(own, name)
            if found is DELETED:
                if static_attribute(kind, name) is not MISSING or self.method_of(
                    owner, "__getattr__"
                ):
                    raise self.refusal(f"reads .{name}, which was deleted")
                raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}")
            if found is not MISSING or name in own:
                return found
        for place in (owner, *(owner.__mro__ if isinstance(owner, type) else kind.__mro__)):
            found = self.overlay.find(place, name)
            if found is not MISSING:
                source = self.source_of(owner)
                if isinstance(own, dict) and place is not owner and source is not None:
                    names = AttributeSource(source, "__dict__")
                    self.guard(Check.ABSENT, ItemSource(names, name), None)
                return found
            if isinstance(place, type) and name in vars(place):
                break
        return MISSING

    def _present(self, owner: Any, name: str, source: Source) -> Any:
        """An attribute read as it is; its absence is under a guard, too."""
        try:
            value = getattr(owner, name)
        except AttributeError:
            self.guard(Check.ABSENT, source, None)
            raise
        return self.read(value, source)

    def _of_class(self, owner: type, name: str) -> Any:
        try:
            value = getattr(owner, name)
        except AttributeError:
            if not is_trusted(owner):
                where = AttributeSource(lasting_source(owner, owner.__qualname__), name)
                self.guard(Check.ABSENT, where, None)
            raise
        if is_trusted(owner):
            return value
        source = AttributeSource(lasting_source(owner, owner.__qualname__), name)
        if type(value) is types.MethodType and value.__self__ is owner:
            self.guard(Check.SAME, AttributeSource(source, "__func__"), value.__func__)
            return value
        return self.read(value, source)

    def _of_library_object(self, owner: Any, name: str, source: Source | None) -> Any:
        """An attribute of an object of a C type or of a library's."""
        try:
            value = getattr(owner, name)
        except AttributeError:
            if source is not None:
                self.guard(Check.ABSENT, AttributeSource(source, name), None)
            raise
        methods = (types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType)
        if kind_of_random(owner) and not isinstance(value, methods):
            raise self.refusal("reads the state of a random generator")
        if source is None or isinstance(value, methods):
            return value
        return self.read(value, AttributeSource(source, name))

    def _of_object(self, owner: Any, name: str, source: Source | None) -> Any:
        kind = type(owner)
        if isinstance(static_attribute(kind, "__getattribute__"), types.FunctionType):
            raise self.refusal(f"{kind.__name__} has a __getattribute__, which isn't followed")
        if source is not None:
            self.guard(Check.TYPE, source, kind)
        own = getattr(owner, "__dict__", None)
        own = own if isinstance(own, dict) else {}
        static = static_attribute(kind, name)
        if isinstance(static, property):
            self.guard_static(kind, name)
            if static.fget is None:
                raise AttributeError(f"property {name!r} of {kind.__name__!r} has no getter")
            return self._got(owner, name, static.fget, owner)
        get = None if static is MISSING else static_attribute(type(static), "__get__")
        if static is not MISSING and static_attribute(type(static), "__set__") is not MISSING:
            if name in own:
                self.guard_static(type(static), "__set__")
            if isinstance(get, types.FunctionType):
                return self._described(owner, name, static, get)
            return self._stored(owner, name, source)
        if name in own:
            if static is not MISSING:
                self.guard_static(type(static), "__set__")
            if isinstance(static, functools.cached_property) and source is not None:
                # a look at the attribute would compute and store one that isn't there any more
                names = AttributeSource(source, "__dict__")
                return self._present(owner, name, ItemSource(names, name))
            return self._stored(owner, name, source)
        if static is MISSING:
            if source is None and any(owner is given for given in self.given):
                # machine code looks at an argument's fields alone
                raise self.refusal(f"asks an argument for .{name}, which isn't a field")
            return self._missing(owner, name, source)
        self.guard_static(kind, name)
        if source is not None:
            own_source = ItemSource(AttributeSource(source, "__dict__"), name)
            if hasattr(owner, "__dict__"):
                self.guard(Check.ABSENT, own_source, None)
        if isinstance(static, (types.FunctionType, staticmethod, classmethod)):
            return getattr(owner, name)
        if isinstance(static, functools.cached_property):
            value = self.call(static.func, owner)
            if source is None:
                own[name] = value
            else:
                # as cached_property does, past the class's __setattr__
                self._register(own, AttributeSource(source, "__dict__"))
                self._store(own, EffectKind.ITEM, name, value, MISSING)
            return value
        if isinstance(get, types.FunctionType):
            return self._described(owner, name, static, get)
        value = getattr(owner, name)
        if isinstance(value, (types.BuiltinFunctionType, types.MethodWrapperType)):
            return value
        where = source or lasting_source(kind, kind.__qualname__)
        return self.read(value, AttributeSource(where, name))

    def _described(self, owner: Any, name: str, static: Any, get: types.FunctionType) -> Any:
        """An attribute that a descriptor written in Python gives."""
        if is_trusted(type(static)):
            raise self.refusal(f".{name} is a {type(static).__name__}, which isn't followed")
        kind = type(owner)
        self._describe(kind, name, static)
        self.guard_static(type(static), "__get__")
        return self._got(owner, name, get, static, owner, kind)

    def _describe(self, kind: type, name: str, static: Any) -> None:
        """Note where a descriptor of a class comes from."""
        for base in kind.__mro__:
            if vars(base).get(name) is static:
                names = AttributeSource(lasting_source(base, base.__qualname__), "__dict__")
                where = ItemSource(names, name)
                self.guard(Check.TYPE, where, type(static))
                self._register(static, where)
                break

    def _got(self, owner: Any, name: str, getter: Any, *args: Any) -> Any:
        """What a property or descriptor gives; `__getattr__` where it raises AttributeError."""
        try:
            return self.call(getter, *args)
        except AttributeError:
            function = self.method_of(owner, "__getattr__")
            if function is None:
                raise
        return self.call(function, owner, name)

    def _stored(self, owner: Any, name: str, source: Source | None) -> Any:
        if source is None:
            return getattr(owner, name)
        return self._present(owner, name, AttributeSource(source, name))

    def _missing(self, owner: Any, name: str, source: Source | None) -> Any:
        kind = type(owner)
        function = self.method_of(owner, "__getattr__")
        if function is not None:
            where: Source = lasting_source(kind, kind.__qualname__)
            self.guard(Check.ABSENT, AttributeSource(where, name), None)
            if source is not None and hasattr(owner, "__dict__"):
                own = ItemSource(AttributeSource(source, "__dict__"), name)
                self.guard(Check.ABSENT, own, None)
            return self.call(function, owner, name)
        if source is None:
            return getattr(owner, name)
        return self._present(owner, name, AttributeSource(source, name))

    def load_super(self, given: tuple[Any, type, Any], name: str, explicit: bool) -> Any:
        maker, this, owner = given
        if self.closed:
            return super().load_super(given, name, explicit)
        if maker is super:
            return self._of_super(this, owner, name)
        found = self.call(maker, this, owner) if explicit else self.call(maker)
        return self.load_attribute(found, name)

    def _of_super(self, this: type, owner: Any, name: str) -> Any:
        """An attribute of `super(this, owner)`."""
        made = super(this, owner)
        kind = owner if isinstance(owner, type) and issubclass(owner, this) else type(owner)
        where = AttributeSource(lasting_source(kind, kind.__qualname__), "__mro__")
        self.guard(Check.ITEMS, where, tuple(map(weakref.ref, kind.__mro__)))
        for base in kind.__mro__[kind.__mro__.index(this) + 1 :]:
            found = vars(base).get(name, MISSING)
            if is_trusted(base):
                if found is MISSING:
                    continue
                break
            source = lasting_source(base, base.__qualname__)
            if found is MISSING:
                self.guard(Check.WITHOUT, AttributeSource(source, "__dict__"), name)
                continue
            if isinstance(found, property) and owner is not kind:
                self.guard_static(base, name)
                if found.fget is None:
                    raise AttributeError(f"property {name!r} has no getter")
                return self.call(found.fget, owner)
            known = isinstance(found, (types.FunctionType, staticmethod, classmethod))
            if known or is_made_of_another(found):
                self.guard_static(base, name)
                break
            if static_attribute(type(found), "__get__") is not MISSING:
                raise self.refusal(f"reads .{name} of super(), which isn't followed")
            return self.read(found, AttributeSource(source, name))
        return getattr(made, name)

    def store_attribute(self, given: tuple[Any, Any], name: str) -> None:
        value, owner = given
        if self.closed or self._traced(owner):
            self.end_if_abandoned()
            setattr(owner, name, value)
            return
        kind = type(owner)
        setter = self.method_of(owner, "__setattr__")
        if setter is not None:
            self.call(setter, owner, name, value)
            return
        static = static_attribute(kind, name)
        if isinstance(static, property) and not is_trusted(kind):
            self.guard_static(kind, name)
            if static.fset is None:
                raise AttributeError(f"property {name!r} of {kind.__name__!r} has no setter")
            self.call(static.fset, owner, value)
            return
        put = None if static is MISSING else static_attribute(type(static), "__set__")
        if isinstance(put, types.FunctionType):
            self._describe(kind, name, static)
            self.guard_static(type(static), "__set__")
            self.call(put, static, owner, value)
        elif isinstance(owner, types.ModuleType):
            names = vars(owner)
            self._store(names, EffectKind.ITEM, name, value, names.get(name, MISSING))
        elif self.is_own(owner) and not isinstance(owner, (type, enum.Enum)):
            if static is MISSING:
                self.guard_static(kind, name)
            self._require_own_place(owner, getattr(owner, "__dict__", None), name, f".{name}")
            setattr(owner, name, value)
        else:
            self._store_outside(owner, name, value, static)

    def store_by_object(self, owner: Any, name: str, value: Any) -> None:
        """Store as `object.__setattr__` does, past a class's own."""
        static = static_attribute(type(owner), name)
        if self.is_own(owner) and not isinstance(owner, (type, enum.Enum)):
            self._require_own_place(owner, getattr(owner, "__dict__", None), name, f".{name}")
            object.__setattr__(owner, name, value)
        else:
            self._store_outside(owner, name, value, static, by_object=True)

    def _store_outside(
        self, owner: Any, name: str, value: Any, static: Any, by_object: bool = False
    ) -> None:
        """Note that an attribute of an object from outside is stored."""
        kind = type(owner)
        if isinstance(owner, type):
            self._store_in_class(owner, name, value)
            return
        plain = kind is types.SimpleNamespace or (
            by_object or static_attribute(kind, "__setattr__") is object.__setattr__
        )
        decorated = static is MISSING and is_decorated(kind)
        takes = kind is types.FunctionType or decorated
        if isinstance(owner, enum.Enum) or (is_trusted(kind) and not takes):
            plain = False
        if not plain or name.startswith("__"):
            raise self.refusal(f"stores .{name} of a {kind.__name__}, which isn't followed")
        if self.source_of(owner) is None:
            raise self.refusal(f"stores .{name} of what was reached in a way not followed")
        slot = isinstance(static, types.MemberDescriptorType)
        if not slot and not isinstance(getattr(owner, "__dict__", None), dict):
            setattr(owner, name, value)  # raises
            raise self.refusal(f"stores .{name} of a {kind.__name__}, which isn't followed")
        if static is MISSING and not is_trusted(kind):
            self.guard_static(kind, name)
        elif (
            not slot
            and static is not MISSING
            and static_attribute(type(static), "__set__") is not MISSING
        ):
            raise self.refusal(f"stores .{name}, a {type(static).__name__}")
        if slot:
            if by_object:
                raise self.refusal(f"stores .{name}, a slot, past its class")
            before = AttributeSource(ConstSource(owner), name)()
            self._store(owner, EffectKind.ATTRIBUTE, name, value, before)
            return
        own = vars(owner)
        if by_object:  # each call stores it past the class, too
            source = self.source_of(owner)
            assert source is not None
            self._register(own, AttributeSource(source, "__dict__"))
            self._store(own, EffectKind.ITEM, name, value, own.get(name, MISSING))
            return
        before = own.get(name, MISSING)
        surely = static is MISSING
        self._store(owner, EffectKind.ATTRIBUTE, name, value, before, own, surely)

    def _store_in_class(self, owner: type, name: str, value: Any) -> None:
        """Note that an attribute of a class is stored, where that changes only what reading it
        gives.
        """
        before = vars(owner).get(name, MISSING)
        simple = all(
            hasattr(x, "__get__") is False or x is MISSING
            for x in (value, static_attribute(owner, name))
        )
        known = type(owner) in (type, abc.ABCMeta)
        if not known or is_trusted(owner) or name[:2] == "__" or not simple:
            raise self.refusal(f"stores .{name} of a class, which isn't followed")
        if self.source_of(owner) is None:
            raise self.refusal(f"stores .{name} of a class reached in a way not followed")
        self._store(owner, EffectKind.ATTRIBUTE, name, value, before, None, False)

    def delete_attribute(self, owner: Any, name: str) -> None:
        if self.closed or self._traced(owner):
            delattr(owner, name)
            return
        kind, source = type(owner), self.source_of(owner)
        static = static_attribute(kind, name)
        deleter = self.method_of(owner, "__delattr__")
        if deleter is not None:
            self.call(deleter, owner, name)
        elif isinstance(static, property) and not is_trusted(kind):
            self.guard_static(kind, name)
            if static.fdel is None:
                raise AttributeError(f"property {name!r} of {kind.__name__!r} has no deleter")
            self.call(static.fdel, owner)
        elif self.is_own(owner):
            self._require_no_turn(f"deletes .{name}")
            delattr(owner, name)
        else:
            own = getattr(owner, "__dict__", None)
            simple = type(own) is dict and static is MISSING and not is_trusted(kind)
            if isinstance(owner, type) or not simple or source is None:
                raise self.refusal(f"deletes .{name} of an object from outside")
            assert own is not None
            self.load_attribute(owner, name)  # it is there, or AttributeError
            self._require_no_region()
            self._require_no_turn(f"deletes .{name}")
            self._alive += (owner, own)
            self.overlay.delete(owner, own, name, source)


def kind_of_random(owner: Any) -> bool:
    """Whether an object is one of NumPy's random generators, or what has their bits."""
    return type(owner).__module__.startswith("numpy.random")


def caller_globals() -> dict[str, Any]:
    """The globals of the user's function that called a hook."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(_OWN):
        frame = frame.f_back
    assert frame is not None
    return frame.f_globals


_OWN: Final = "graphjit.capture"


__all__ = ["AccessHooks", "caller_globals"]
