"""Where values come from (parameters, constants) and how one of several results is taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphjit.core.errors import InternalError
from graphjit.core.types import TensorType, TupleType, as_dtype, check_size

from .primitive import Item, Source, define


class Literal:
    """A constant array in native byte order, compared and hashed by its bytes."""

    __slots__ = ("_key", "_number", "array")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        self.array = array
        self._key: tuple[Any, ...] | None = None
        self._number: Any = None

    @property
    def key(self) -> tuple[Any, ...]:
        """Shape, number of the dtype and digest of the bytes."""
        if self._key is None:
            data = self.array.tobytes()
            digest = data if len(data) <= 64 else _digest(data)
            self._key = (self.array.shape, self.array.dtype.num, digest)
        return self._key

    @property
    def number(self) -> Any:
        """The number that an array of one element holds, as Python's; None for others."""
        if self._number is None and self.array.size == 1:
            self._number = self.array.reshape(()).item()
        return self._number

    @property
    def type(self) -> TensorType:
        """Shape and dtype."""
        return TensorType(self.array.shape, as_dtype(self.array.dtype))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Literal({self.type})"


def _digest(data: bytes) -> bytes:
    import hashlib  # which loads OpenSSL

    return hashlib.sha256(data).digest()


def _no_value(*_: Any, **__: Any) -> Any:
    raise InternalError("a parameter has no value of its own")


def _param_type(type: TensorType, name: str, role: str) -> TensorType:
    check_size(type.shape, type.dtype, "Param")
    if role not in ROLES:
        raise InternalError(f"no role {role!r}; the roles are {ROLES}")
    return type


ROLES = ("argument", "variable", "capture", "draw")
# role: "argument", "variable", "capture" (an array that the function's Python code reads) or
# "draw" (random numbers that each call draws first).
param = define(
    "param",
    Source(),
    _param_type,
    _no_value,
)
# A value of a region while its function is traced, outside of any graph: see `tracing.regions`.
placeholder = define(
    "placeholder", Source(), lambda type: type, _no_value,
)  # fmt: skip
const = define("const", Source(), lambda value: value.type, lambda value: value.array)

# A symbolic extent as a scalar.
extent = define(
    "extent",
    Source(),
    lambda value, dtype: TensorType((), dtype),
    _no_value,
)


def _item_type(source: TupleType, index: int) -> TensorType:
    if not 0 <= index < len(source.items):
        raise InternalError(f"result {index} of {len(source.items)}")
    return source.items[index]


item = define("item", Item(), _item_type, lambda results, index: results[index])
