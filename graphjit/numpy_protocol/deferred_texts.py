"""Texts of values that only the compiled function knows: `f"{x.mean():.3f}"`.

While the code is traced a `DeferredText` is in the text's place. It notes how Python makes the
text, of traced values and other such texts, and each call does that with the values at hand. It
can be printed, stored, returned, and made part of other texts. Whatever looks into it raises:
its length, a comparison, a key of a dict.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from graphjit.core.errors import TracingError, at_user_line

from .promotion import detached, is_symbol

# What a text has in it until a call makes it, so that it is found where C code copied it.
PLACEHOLDER: Final = "<text of values that the compiled function computes>"


def _refuse(text: DeferredText, *args: Any, **kwargs: Any) -> Any:
    raise value_needed(text)


def value_needed(text: DeferredText) -> TracingError:
    """The error for code that looks into a text. It names a value that the text has, one that
    can be a number known at the trace if there is such a one.
    """
    errors = [x._needs_value("what looks into a text") for x in _symbols(text)]
    known = next((error for error in errors if type(error) is not TracingError), None)
    return known or next(
        iter(errors), TracingError(at_user_line("looks into a text that a call makes"))
    )


def _symbols(value: Any) -> Iterator[Any]:
    """The traced values that a text is made of."""
    if type(value) is DeferredText:
        value = value.args
    for part in _parts(value):
        if type(part) is DeferredText:
            yield from _symbols(part)
        elif is_symbol(part):
            yield part


class DeferredText(str):
    """A text that each call makes: `function(*args)`, with the values of what is traced."""

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def __new__(cls, function: Callable[..., Any], args: tuple[Any, ...]) -> DeferredText:
        """args: plain values, traced ones and other texts, in lists, tuples and dicts, too."""
        if any(is_symbol(x) and x.swapped for x in _parts(args)):
            raise TracingError(at_user_line("makes a text of bytes in another order"))
        text = super().__new__(cls, PLACEHOLDER)
        text.function, text.args = function, detached(args)
        return text

    def __str__(self) -> str:
        return self if self.function is not container else DeferredText(str, self.args)

    def __repr__(self) -> str:
        if self.function is container:
            return DeferredText(repr, self.args)
        return DeferredText(repr, (self,))

    def __format__(self, spec: str) -> str:
        if type(spec) is str and not spec:
            return str(self)
        if self.function is container:  # which takes none
            return _refuse(self)  # type: ignore[no-any-return]
        return DeferredText(format, (self, spec))

    def __add__(self, other: str) -> DeferredText:
        return DeferredText(operator.add, (self, other))

    def __radd__(self, other: str) -> DeferredText:
        return DeferredText(operator.add, (other, self))

    def __mul__(self, count: Any) -> DeferredText:
        return DeferredText(operator.mul, (self, count))

    __rmul__ = __mul__

    def __mod__(self, values: Any) -> DeferredText:
        return DeferredText(operator.mod, (self, values))

    def __bool__(self) -> bool:
        return _refuse(self)  # type: ignore[no-any-return]

    __hash__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __len__ = __iter__ = __contains__ = __getitem__ = __reduce__ = _refuse
    __reduce_ex__ = encode = splitlines = _refuse


def holds_text(value: Any, depth: int = 3) -> bool:
    """Whether a value is a DeferredText, or a list, tuple, set or dict with one in it."""
    if isinstance(value, DeferredText):
        return True
    if not depth or type(value) not in (list, tuple, dict, set, frozenset):
        return False
    parts = (*value, *value.values()) if type(value) is dict else value
    return any(holds_text(part, depth - 1) for part in parts)


def _parts(value: Any) -> Iterator[Any]:
    if type(value) in (list, tuple):
        for part in value:
            yield from _parts(part)
    elif type(value) is dict:
        for part in value.values():
            yield from _parts(part)
    else:
        yield value


def is_deferred(args: Any) -> bool:
    """Whether there are traced values or deferred texts in arguments."""
    return any(is_symbol(x) or type(x) is DeferredText for x in _parts(args))


def call_text_method(owner: str, name: str, args: tuple[Any, ...], kwargs: Any) -> Any:
    """A method of a text, which gives a deferred one where it or its arguments are deferred.

    NotImplemented where nothing is deferred. TracingError for methods that give no text.
    """
    named = tuple(kwargs.items())
    if not isinstance(owner, DeferredText) and not is_deferred((args, list(kwargs.values()))):
        return NotImplemented
    if name not in _TEXT_METHODS:
        raise value_needed(DeferredText(str, (owner, args, kwargs)))
    if not named:
        return DeferredText(getattr(str, name), (owner, *args))
    return DeferredText(_call_with_names, (getattr(str, name), (owner, *args), *named))


# The methods of texts that give a text.
_TEXT_METHODS: Final = frozenset({
    "capitalize", "casefold", "center", "expandtabs", "format", "join", "ljust", "lower",
    "lstrip", "removeprefix", "removesuffix", "replace", "rjust", "rstrip", "strip", "swapcase",
    "title", "upper", "zfill", "__add__", "__format__", "__mod__", "__mul__", "__str__",
})  # fmt: skip


def _call_with_names(
    function: Callable[..., Any], args: tuple[Any, ...], *named: tuple[str, Any]
) -> Any:
    return function(*args, **dict(named))


def container(value: Any) -> Any:
    """A list, tuple or dict that is to become a text."""
    return value


def as_formatted(kind: str, value: Any) -> Any:
    """What is formatted of an array that a call computed, or of the number in it.

    kind: "python" for a number of Python's, "numpy" for one of NumPy's, "array"
    """
    array = np.asarray(value)
    if kind == "array":
        return array
    return array.item() if kind == "python" else array[()]


__all__ = [
    "PLACEHOLDER",
    "DeferredText",
    "as_formatted",
    "call_text_method",
    "container",
    "holds_text",
    "is_deferred",
    "value_needed",
]
