"""Attributes of symbolic tensors that depend on who asks: graphjit or the user's code."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from graphjit import numpy_protocol
from graphjit.core.errors import TracingError, asked_by_user, at_user_line
from graphjit.core.types import TensorShape
from graphjit.tensors.tensor import Tensor
from graphjit.tensors.variable import VariableSlice


def unassignable(name: str, known: Any = None) -> Any:
    """An attribute that can be set on an ndarray, and not on a symbolic tensor."""

    def read(self: Any) -> Any:
        return self.__getattr__(name) if known is None else known.fget(self)

    def write(self: Any, value: Any) -> None:
        raise TracingError(at_user_line(f"x.{name} = ... of a traced array can't be traced"))

    return property(read, write)


def get_shape(x: Any) -> tuple[int, ...]:
    """The extents: a tuple for what is an ndarray, else a TensorShape."""
    if x.origin == "weak" and asked_by_user(sys._getframe(2)):  # past the property
        raise x._needs_value("the type of a Python number")
    return x.type.shape if x.origin == "numpy" else TensorShape(x.type.shape)


def get_ndim(x: Any) -> int:
    """The number of axes."""
    if x.origin == "weak" and asked_by_user(sys._getframe(1)):
        raise x._needs_value("the type of a Python number")
    return len(x.type.shape)


def get_dtype(x: Any) -> Any:
    """The element type. The user's code gets NumPy's own of what is an ndarray."""
    if x.origin == "weak" and asked_by_user(sys._getframe(2)):  # past the property
        raise x._needs_value("the type of a Python number")
    if x.origin == "numpy" and asked_by_user(sys._getframe(2)):
        return x.type.dtype.dtype.newbyteorder() if x.swapped else x.type.dtype.dtype
    return x.type.dtype


_PYTHON_TYPES = {"b": bool, "i": int, "f": float, "c": complex}


def represented_class(x: Any) -> type:
    """The class of what a symbolic tensor represents: a tensor's, ndarray, a NumPy scalar's or
    a Python number's.
    """
    if x.is_mixed:
        x = x.settled()
    if x.origin == "tensor":
        return Tensor if x._assign_target is None else VariableSlice
    if x.origin == "weak":
        return _PYTHON_TYPES[x.type.dtype.kind]
    if x.type.shape or x.is_zero_dim_array():
        return np.ndarray
    scalar: type = x.type.dtype.dtype.type
    return scalar


def require_attribute(x: Any, name: str) -> None:
    """AttributeError where what a symbolic tensor represents has no such attribute;
    TracingError where the trace has none in its place.
    """
    kind = represented_class(x)
    if not any(name in vars(base) for base in kind.__mro__):
        raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}", name=name)
    others = ("assign", "numpy") if x.origin == "tensor" else numpy_protocol.ATTRIBUTES
    if not hasattr(type(x), name) and name not in others:
        raise x._needs_value(f".{name}")


def get_class(x: Any) -> type:
    """The class that isinstance sees. In the user's code that is the class of what the tensor
    represents.
    """
    if x.recorder.closed or not asked_by_user(sys._getframe(1)):
        return type(x)
    return represented_class(x)


__all__ = [
    "get_class", "get_dtype", "get_ndim", "get_shape", "require_attribute", "unassignable",
]  # fmt: skip
