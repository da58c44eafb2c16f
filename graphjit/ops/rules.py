"""Type rules that families of primitives share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphjit.errors import InvalidArgumentError, at_user_line
from graphjit.types import DType, TensorType, bool_, broadcast_shapes

Rule = Callable[..., TensorType]


def require_same_dtype(inputs: tuple[TensorType, ...], op: str) -> DType:
    """The one dtype of all inputs; InvalidArgumentError in TensorFlow's words if they differ."""
    first = inputs[0].dtype
    for number, other in enumerate(inputs):
        if other.dtype is not first:
            raise InvalidArgumentError(
                at_user_line(
                    f"cannot compute {op} as input #{number}(zero-based) was expected to be a "
                    f"{first.tensorflow} tensor but is a {other.dtype.tensorflow} tensor "
                    f"[Op:{op}]",
                    f"convert one of them: gj.cast(x, gj.{first.name})",
                )
            )
    return first


def require_kind(dtype: DType, kinds: str, op: str) -> None:
    """Refuse a dtype whose kind letter isn't among `kinds`."""
    if dtype.kind not in kinds:
        names = {"b": "bool", "i": "integer", "u": "unsigned", "f": "float", "c": "complex"}
        wanted = ", ".join(names[k] for k in kinds)
        raise InvalidArgumentError(
            at_user_line(
                f"Value for attr 'T' of {dtype.tensorflow} is not in the list of allowed "
                f"values: {wanted} [Op:{op}]",
                "convert it with gj.cast",
            )
        )


def elementwise(kinds: str, op: str, result: Callable[[DType], DType] | None = None) -> Rule:
    """Inputs of one dtype of the given kinds, broadcast; the result's dtype by `result`."""

    def rule(*inputs: TensorType, **_: Any) -> TensorType:
        dtype = require_same_dtype(inputs, op)
        require_kind(dtype, kinds, op)
        shape = broadcast_shapes(tuple(t.shape for t in inputs), op)
        return TensorType(shape, result(dtype) if result else dtype)

    return rule


def to_bool(_: DType) -> DType:
    """A comparison's result dtype."""
    return bool_


def to_real(dtype: DType) -> DType:
    """The dtype of a real part."""
    return dtype.real
