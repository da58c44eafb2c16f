"""`dataclass(frozen=True)` of the standard library, made in a tenth of the time.

The standard library compiles the source of each method of each class, 0.4 ms a class; with
the hundred values of this package that was a third of a first call. Here `__init__` alone is
compiled, and only for classes of which many values are made; the other methods are closures
that do the same. Fields, `replace`, `asdict` and `match` are the standard library's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

_set = object.__setattr__
# Compiling `__init__` costs as much as about so many values made without that.
_FEW = 50


def _dataclass(*, frozen: bool, slots: bool = False, eq: bool = True) -> Callable[[Any], Any]:
    """A decorator that makes a class of frozen values. No `__post_init__`, no factories."""
    assert frozen

    def make(kind: Any) -> Any:
        own = dict(kind.__dict__)
        known = _fields(kind, own)
        fields = tuple(known.values())
        names = frozenset(known)
        made: Any = _with_slots(kind, fields) if slots else kind
        made.__dataclass_fields__, made.__dataclass_params__ = known, _PARAMS
        made.__match_args__ = tuple(known)  # type: ignore[misc]
        if hasattr(dataclasses, "_replace"):  # for copy.replace, from Python 3.13 on
            made.__replace__ = dataclasses._replace
        _make_init_later(made, fields)
        made.__setattr__, made.__delattr__ = _refusals(made, names)
        if slots:
            made.__getstate__, made.__setstate__ = _getstate, _setstate
        if "__repr__" not in own:
            made.__repr__ = _repr
        if eq:
            made.__eq__, made.__hash__ = _comparison(
                made, tuple(field.name for field in fields if field.compare), own
            )
        return made

    return make


@dataclasses.dataclass(init=False, repr=False, eq=False)
class _Example:
    """Of whose parameters all classes have a copy."""


_PARAMS: Any = _Example.__dataclass_params__  # type: ignore[attr-defined]
_PARAMS.frozen = True


def _fields(kind: Any, own: dict[str, Any]) -> dict[str, dataclasses.Field[Any]]:
    """A class's fields, those of its bases first; defaults become attributes."""
    known: dict[str, dataclasses.Field[Any]] = {}
    for base in reversed(kind.__mro__[1:]):
        known |= getattr(base, "__dataclass_fields__", {})
    for name, annotation in kind.__annotations__.items():
        if str(annotation).startswith(("ClassVar", "typing.ClassVar")):
            continue
        default = own.get(name, dataclasses.MISSING)
        given = isinstance(default, dataclasses.Field)
        made: Any = default if given else dataclasses.field(default=default)
        made.name, made.type, made.kw_only = name, annotation, False
        made._field_type = dataclasses._FIELD  # type: ignore[attr-defined]
        known[name] = made
        if given and made.default is dataclasses.MISSING:
            delattr(kind, name)
        elif given:
            setattr(kind, name, made.default)
    return known


def _with_slots(kind: Any, fields: tuple[dataclasses.Field[Any], ...]) -> Any:
    """The class once more, with slots for the fields that its bases have none for."""
    taken = {slot for base in kind.__mro__[1:] for slot in getattr(base, "__slots__", ())}
    body = dict(kind.__dict__)
    body["__slots__"] = tuple(f.name for f in fields if f.name not in taken)
    for name in (*body["__slots__"], "__dict__", "__weakref__"):
        body.pop(name, None)
    made = type(kind)(kind.__name__, kind.__bases__, body)
    made.__qualname__ = kind.__qualname__
    return made


class _Signature:
    """A class's signature, which is that of the `__init__` that it will have."""

    def __init__(self, kind: Any, fields: tuple[dataclasses.Field[Any], ...]) -> None:
        self.kind, self.fields = kind, fields

    def __get__(self, instance: Any, owner: Any) -> Any:
        if owner is not self.kind:
            raise AttributeError("__signature__")
        import inspect

        whole = inspect.signature(_init(self.kind, self.fields))
        return whole.replace(parameters=list(whole.parameters.values())[1:])


def _make_init_later(kind: Any, fields: tuple[dataclasses.Field[Any], ...]) -> None:
    names = tuple(field.name for field in fields)
    defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    made_so_far = 0

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal made_so_far
        made_so_far += 1
        values = {**defaults, **dict(zip(names, args, strict=False)), **kwargs}
        # what isn't given, given twice or unknown is for the compiled one to refuse
        wrong = len(values) != len(names) or len(args) > len(names)
        if wrong or made_so_far > _FEW or not kwargs.keys().isdisjoint(names[: len(args)]):
            kind.__init__ = made = _init(kind, fields)
            made(self, *args, **kwargs)
            return
        for name, value in values.items():
            _set(self, name, value)

    kind.__init__ = first
    kind.__signature__ = _Signature(kind, fields)


def _init(kind: Any, fields: tuple[dataclasses.Field[Any], ...]) -> Any:
    scope: dict[str, Any] = {"_set": _set, "__name__": __name__}
    parameters = ["self"]
    lines = ["  pass"]
    for field in fields:
        name = field.name
        if field.default is dataclasses.MISSING:
            parameters.append(name)
        else:
            parameters.append(f"{name}=_default_{name}")
            scope[f"_default_{name}"] = field.default
        lines.append(f"  _set(self, {name!r}, {name})")
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines), scope)
    made = scope["__init__"]
    made.__qualname__, made.__module__ = f"{kind.__qualname__}.__init__", kind.__module__
    made.__annotations__ = {field.name: field.type for field in fields} | {"return": None}
    return made


def _refusals(kind: Any, names: frozenset[str]) -> tuple[Any, Any]:
    def refuse_set(self: Any, name: str, value: Any) -> None:
        if type(self) is kind or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(kind, self).__setattr__(name, value)

    def refuse_delete(self: Any, name: str) -> None:
        if type(self) is kind or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(kind, self).__delattr__(name)

    return refuse_set, refuse_delete


def _comparison(kind: Any, names: tuple[str, ...], own: dict[str, Any]) -> tuple[Any, Any]:
    """`__eq__` and `__hash__`: those of a tuple of the fields, or the class's own."""
    values: Callable[[Any], tuple[Any, ...]]
    if len(names) > 1:
        values = attrgetter(*names)
    elif names:
        one = attrgetter(names[0])

        def values(self: Any) -> tuple[Any, ...]:
            return (one(self),)
    else:

        def values(self: Any) -> tuple[Any, ...]:
            return ()

    def equal(self: Any, other: Any) -> Any:
        if other.__class__ is self.__class__:
            return values(self) == values(other)
        return NotImplemented

    def hashed(self: Any) -> int:
        return hash(values(self))

    return own.get("__eq__", equal), own.get("__hash__") or hashed


def _repr(self: Any) -> str:
    shown = [f for f in dataclasses.fields(self) if f.repr]
    parts = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in shown)
    return f"{type(self).__qualname__}({parts})"


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _setstate(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        _set(self, field.name, value)


# Type checkers know the standard library's by its name.
if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    dataclass = _dataclass
