"""Type rules that families of primitives share."""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any

from graphjit.core.errors import InternalError, InvalidArgumentError, at_user_line
from graphjit.core.types import DType, TensorType, bool_, broadcast_shapes, check_size

Rule = Callable[..., TensorType]


def require_same_dtype(inputs: tuple[TensorType, ...], op: str) -> DType:
    """The one dtype of all inputs; where they differ, TensorFlow's InvalidArgumentError."""
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


def require_axes(axes: tuple[int, ...], ndim: int, op: str) -> None:
    """Refuse axes that a tensor of rank `ndim` doesn't have, and repeated ones."""
    if len(set(axes)) != len(axes) or any(not 0 <= axis < ndim for axis in axes):
        raise InvalidArgumentError(
            at_user_line(f"axes {list(axes)} of a tensor of rank {ndim} [Op:{op}]")
        )


def elementwise(
    kinds: str,
    op: str,
    scalar: Callable[..., Any],
    result: Callable[[DType], DType] | None = None,
) -> Rule:
    """Inputs of one dtype of the given kinds, broadcast; the result's dtype by `result`.

    scalar: the op's scalar rule, whose parameters say how many inputs and which attributes.
    """
    code: CodeType = scalar.__code__
    count = code.co_argcount - 1
    names = set(code.co_varnames[count + 1 : count + 1 + code.co_kwonlyargcount])

    def rule(*inputs: TensorType, **attrs: Any) -> TensorType:
        if len(inputs) != count or attrs.keys() != names:
            given = f"{len(inputs)} inputs and attributes {sorted(attrs)}"
            raise InternalError(f"{op} of {given}, not {count} and {sorted(names)}")
        dtype = require_same_dtype(inputs, op)
        require_kind(dtype, kinds, op)
        shape = broadcast_shapes(tuple(t.shape for t in inputs), op)
        if shape != inputs[0].shape:
            check_size(shape, dtype, op)
        return TensorType(shape, result(dtype) if result else dtype)

    return rule


def to_bool(_: DType) -> DType:
    """A comparison's result dtype."""
    return bool_


def to_real(dtype: DType) -> DType:
    """The dtype of a real part."""
    return dtype.real
