"""The functions that are one pointwise primitive and no more, made from the records.

A record's `names` says under which names its function is found and what it says of itself.
Operands broadcast and share one dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphjit.ops import PRIMITIVES
from graphjit.ops.primitive import Pointwise, Primitive
from graphjit.tensors.apply import apply, as_tensor, same_dtype

Unary = Callable[[Any], Any]
Binary = Callable[[Any, Any], Any]

if TYPE_CHECKING:
    from graphjit.core.lazy import name_from_records as __getattr__  # noqa: F401


def unary(primitive: Primitive, name: str, doc: str) -> Unary:
    """The function of one operand that is this primitive."""

    def function(x: Any) -> Any:
        return apply(primitive, as_tensor(x))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} Same shape as x; raises InvalidArgumentError for its dtype."
    return function


def binary(primitive: Primitive, name: str, doc: str, **attrs: Any) -> Binary:
    """The function of two operands that is this primitive with these attributes."""

    def function(x: Any, y: Any) -> Any:
        return apply(primitive, *same_dtype(x, y), **attrs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{doc} Shapes broadcast; raises InvalidArgumentError where shapes or dtypes differ."
    )
    return function


def _functions() -> dict[str, Callable[..., Any]]:
    """The public functions by their own name and by their second ones."""
    found: dict[str, Callable[..., Any]] = {}
    for primitive in PRIMITIVES.values():
        names, kind = primitive.names, primitive.kind
        if isinstance(kind, Pointwise) and names.public:
            make = unary if kind.operands == 1 else binary
            function = make(primitive, names.public[0], names.doc)
            function.__module__ = __name__
            found |= dict.fromkeys(names.public, function)
    return found


_MADE = _functions()
globals().update(_MADE)
__all__ = list(_MADE)
# Without the names of NumPy and of the array API standard for the same functions.
FIRST_NAMES = [name for name, function in _MADE.items() if function.__name__ == name]
