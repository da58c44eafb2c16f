"""Python's operators on tensors, as methods that eager tensors, tracers and variables share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import DTypeError, FrozenTensorError, GraphJitError, at_user_line
from graphjit.functions import linalg, math, shape, subscript

from .apply import TensorBase, as_tensor

# Operands that an operator answers for; others get NotImplemented, and Python tries theirs.
_OPERANDS = (TensorBase, np.ndarray, np.generic, bool, int, float, complex, Dim, list, tuple)


def _logical(bools: Callable[..., Any], integers: Callable[..., Any]) -> Callable[..., Any]:
    def function(x: Any, y: Any) -> Any:
        known = x if isinstance(x, TensorBase) else y
        return bools(x, y) if known.dtype.is_bool else integers(x, y)

    return function


# Operator name -> function of two operands.
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": math.add,
    "sub": math.subtract,
    "mul": math.multiply,
    "truediv": math.divide,
    "floordiv": math.floordiv,
    "mod": math.floormod,
    "pow": math.pow,
    "matmul": linalg.matmul,
    "and": _logical(math.logical_and, math.bitwise_and),
    "or": _logical(math.logical_or, math.bitwise_or),
    "xor": _logical(math.logical_xor, math.bitwise_xor),
    "lshift": math.left_shift,
    "rshift": math.right_shift,
    "eq": math.equal,
    "ne": math.not_equal,
    "lt": math.less,
    "le": math.less_equal,
    "gt": math.greater,
    "ge": math.greater_equal,
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": math.negative,
    "abs": math.abs,
    "invert": lambda x: math.logical_not(x) if x.dtype.is_bool else math.bitwise_not(x),
}


class Items(TensorBase):
    """What containers of elements have, and numbers have not."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        return subscript.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise FrozenTensorError(
            at_user_line(
                f"'{type(self).__name__}' object does not support item assignment",
                "write gj.tensor_scatter_nd_update, or use a gj.Variable",
            )
        )

    def __len__(self) -> int:
        if not self.type.shape:
            raise DTypeError(at_user_line("Scalar tensor has no `len()`"))
        return self.type.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.type.shape:
            raise DTypeError(at_user_line("Cannot iterate over a scalar tensor."))
        return iter([self[i] for i in range(self.type.shape[0])])


class Operators(TensorBase):
    """The operators. A subclass may carry out an operator its own way in `_operator`."""

    __slots__ = ()
    __array_priority__ = 100.0

    def _operator(self, name: str, *operands: Any) -> Any:
        if len(operands) == 1:
            return UNARY[name](as_tensor(operands[0]))
        return BINARY[name](*operands)

    def _binary(self, name: str, x: Any, y: Any) -> Any:
        other = y if x is self else x
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        if getattr(type(other), "precedence", 0) > self.precedence:
            return NotImplemented
        return self._operator(name, x, y)

    def __add__(self, other: Any) -> Any:
        return self._binary("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self._binary("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self._binary("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self._binary("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self._binary("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self._binary("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._binary("truediv", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._binary("truediv", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return self._binary("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._binary("floordiv", other, self)

    def __mod__(self, other: Any) -> Any:
        return self._binary("mod", self, other)

    def __rmod__(self, other: Any) -> Any:
        return self._binary("mod", other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __pow__(self, other: Any) -> Any:
        return self._binary("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self._binary("pow", other, self)

    def __matmul__(self, other: Any) -> Any:
        return self._binary("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self._binary("matmul", other, self)

    def __and__(self, other: Any) -> Any:
        return self._binary("and", self, other)

    def __rand__(self, other: Any) -> Any:
        return self._binary("and", other, self)

    def __or__(self, other: Any) -> Any:
        return self._binary("or", self, other)

    def __ror__(self, other: Any) -> Any:
        return self._binary("or", other, self)

    def __xor__(self, other: Any) -> Any:
        return self._binary("xor", self, other)

    def __rxor__(self, other: Any) -> Any:
        return self._binary("xor", other, self)

    def __lshift__(self, other: Any) -> Any:
        return self._binary("lshift", self, other)

    def __rlshift__(self, other: Any) -> Any:
        return self._binary("lshift", other, self)

    def __rshift__(self, other: Any) -> Any:
        return self._binary("rshift", self, other)

    def __rrshift__(self, other: Any) -> Any:
        return self._binary("rshift", other, self)

    def __eq__(self, other: Any) -> Any:
        # TensorFlow: what can't be compared, None among it, is just not equal.
        if not isinstance(other, _OPERANDS):
            return False
        return self._binary("eq", self, other)

    def __ne__(self, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return True
        return self._binary("ne", self, other)

    def __lt__(self, other: Any) -> Any:
        return self._binary("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return self._binary("le", self, other)

    def __gt__(self, other: Any) -> Any:
        return self._binary("gt", self, other)

    def __ge__(self, other: Any) -> Any:
        return self._binary("ge", self, other)

    def __neg__(self) -> Any:
        return self._operator("neg", self)

    def __pos__(self) -> Any:
        return self.as_tensor()

    def __abs__(self) -> Any:
        return self._operator("abs", self)

    def __invert__(self) -> Any:
        return self._operator("invert", self)

    def __hash__(self) -> int:
        raise DTypeError(
            at_user_line("Tensor is unhashable. Instead, use id(tensor) as the key.")
        )

    @property
    def T(self) -> Any:
        """The axes reversed."""
        return shape.transpose(self)

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        return shape.swapaxes(self, -1, -2)


__all__ = ["BINARY", "UNARY", "GraphJitError", "Operators"]
