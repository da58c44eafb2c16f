"""x[mask] of a traced mask: elements whose number depends on data.

Their values are computed for all elements of the array, chosen or not. What is done with each
by itself, reductions, and putting them back where the same mask holds need no more. For all
else they are put together: see `bounded_arrays`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import TracingError, asked_by_user
from graphjit.core.types import DType
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import apply
from graphjit.tensors.operators import Operators

from . import reductions
from .promotion import cast, detached, fallback_on_error, is_symbol, owned, unsupported
from .ufuncs import PRODUCTS, operator_power, run_ufunc

OPERATORS: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "pow": np.power, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor, "lshift": np.left_shift,
    "rshift": np.right_shift, "eq": np.equal, "ne": np.not_equal, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "neg": np.negative,
    "pos": np.positive, "abs": np.absolute, "invert": np.invert,
}  # fmt: skip
_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": reductions.total, "prod": reductions.product, "mean": reductions.mean,
    "any": reductions.any_, "all": reductions.all_,
}  # fmt: skip
_FUNCTIONS: dict[Any, str] = {
    np.sum: "sum", np.prod: "prod", np.mean: "mean", np.any: "any", np.all: "all",
}  # fmt: skip


# What is done with the elements put together. Filled by `bounded_arrays`.
TOGETHER: dict[str, Callable[..., Any]] = {}


def _refusal() -> TracingError:
    return unsupported(
        "x[mask], whose shape depends on data (write np.where(mask, x, 0)): indexing"
    )


def _needs_shape(*args: Any, **kwargs: Any) -> Any:
    raise _refusal()


def _of_bounded(name: str) -> Any:
    """A method that is carried out on the elements put together."""
    return lambda self, *args: getattr(self.compact(), name)(*args)


def _in_place(name: str) -> Callable[[Selection, Any], Any]:
    def method(self: Selection, other: Any) -> Any:
        result = self._operator(name, self, other)
        if self._made is not None or not isinstance(result, Selection):
            self.compact().write(result)
            return self
        source, target = result._values.type.dtype, self._values.type.dtype
        if self.recorder.regions.is_outside(self._mask.node):
            raise unsupported("an operator such as += that writes into what a mask chose")
        if not np.can_cast(source.dtype, target.dtype, "same_kind"):
            raise unsupported(f"{source.name} into {target.name}")
        self._values = cast(result._values, target)  # other names see it, too
        return self

    return method


class Selection(Operators):
    """The elements of an array where a traced mask of its shape holds.

    Once they were put together, that is what they are.
    """

    __slots__ = ("_made", "_mask", "_values")

    is_selection = True
    precedence = 2

    def __init__(self, values: Any, mask: Any) -> None:
        # Under handles of their own: as the array and the mask are now.
        self._values, self._mask = values, mask
        self._made: Any = None

    @property
    def recorder(self) -> Any:
        """The trace."""
        return self._values.recorder

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The class that isinstance sees: ndarray, in the user's code."""
        return np.ndarray if asked_by_user(sys._getframe(1)) else Selection

    def _require_attribute(self, name: str) -> None:
        if not hasattr(np.ndarray(0), name):
            raise AttributeError(f"'ndarray' object has no attribute {name!r}", name=name)
        if name not in _REDUCTIONS and name not in vars(Selection):
            self.compact()._require_attribute(name)

    def __getattr__(self, name: str) -> Any:
        reduce = _REDUCTIONS.get(name)
        if reduce is None:
            return getattr(self.compact(), name)

        def reduced(*args: Any, **kwargs: Any) -> Any:
            if args or kwargs.keys() - {"dtype"} or self._made is not None:
                return getattr(self.compact(), name)(*args, **kwargs)
            return self._reduced(reduce, kwargs)

        return reduced

    def compact(self) -> Any:
        """The elements as a BoundedArray, put together."""
        if self._made is not None:
            return self._made
        made = self._recorded(lambda: TOGETHER["compacted"](self._mask, [self._values])[0])
        if self.recorder.regions.is_outside(self._mask.node):
            made.copied_from = self._values, self._values.node  # a copy, for this region alone
        else:
            self._made = made
        return made

    def _reduced(self, reduce: Callable[..., Any], kwargs: Any) -> Any:
        return self._recorded(lambda: reduce(self._values, where=self._mask, **kwargs))

    def _recorded(self, action: Callable[[], Any]) -> Any:
        trace = self.recorder
        with fallback_on_error("x[mask]"):
            return trace.with_numpy_rules(lambda: owned(action(), trace))

    def _operator(self, name: str, *operands: Any) -> Any:
        if name == "matmul":
            return self._put_together(np.matmul, operands)
        return self._elementwise(OPERATORS.get(name), operands)

    def _elementwise(self, ufunc: Any, operands: Any) -> Any:
        if ufunc is None or ufunc.nout != 1 or ufunc in PRODUCTS or self._made is not None:
            return self._put_together(ufunc, operands)
        if not all(map(self._fits, operands)):
            return self._put_together(ufunc, operands)
        given = [self._operand(x) for x in operands]
        function = operator_power if ufunc is np.power else lambda *x: run_ufunc(ufunc, *x)
        return Selection(self._recorded(lambda: function(*given)), self._mask)

    def _put_together(self, ufunc: Any, operands: Any) -> Any:
        if ufunc is np.matmul:
            return TOGETHER["call_function"](np.matmul, operands, {})
        return TOGETHER["elementwise"](ufunc, operands)

    def _fits(self, value: Any) -> bool:
        """Whether an operand has a value for each element: another selection by the same mask,
        or a number.
        """
        if isinstance(value, Selection):
            own = value._made is None
            return own and same_value(self.recorder, value._mask.node, self._mask.node)
        if getattr(type(value), "is_selection", False):
            return False
        if is_symbol(value):
            return value.origin != "tensor" and not value.type.shape
        return isinstance(value, (bool, int, float, complex, np.generic))

    def _operand(self, value: Any) -> Any:
        if isinstance(value, Selection):
            return value._values
        return detached(value) if is_symbol(value) else value

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return TOGETHER["call_ufunc"](ufunc, method, inputs, kwargs)
        return self._elementwise(ufunc, inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = _FUNCTIONS.get(func)
        plain = len(args) == 1 and args[0] is self and self._made is None
        if name is None or not plain or kwargs.keys() - {"dtype"}:
            return TOGETHER["call_function"](func, args, kwargs)
        return self._reduced(_REDUCTIONS[name], kwargs)

    def may_be_put_back(self, mask: Any) -> bool:
        """Whether these are the elements that a mask chooses, too."""
        own = self._made is None
        return own and same_value(self.recorder, mask.node, self._mask.node)

    def put_back(self, x: Any, mask: Any) -> Any:
        """x as it is after x[mask] = these."""
        return apply(pw.where, mask, cast(self._values, x.type.dtype), x)

    __iadd__, __isub__, __imul__ = _in_place("add"), _in_place("sub"), _in_place("mul")
    __itruediv__, __ifloordiv__ = _in_place("truediv"), _in_place("floordiv")
    __imod__, __ipow__, __iand__ = _in_place("mod"), _in_place("pow"), _in_place("and")
    __ior__, __ixor__ = _in_place("or"), _in_place("xor")
    __ilshift__, __irshift__ = _in_place("lshift"), _in_place("rshift")
    __bool__ = __int__ = __float__ = __complex__ = __index__ = __len__ = _needs_shape
    __iter__ = __contains__ = __array__ = _needs_shape
    __getitem__, __setitem__ = _of_bounded("__getitem__"), _of_bounded("__setitem__")
    __hash__ = __reduce__ = __format__ = __str__ = __round__ = __copy__ = _needs_shape
    __deepcopy__ = _needs_shape
    type = T = mT = property(_needs_shape)

    @property
    def size(self) -> Any:
        """How many they are: a Python number that is known at the call."""
        trace = self.recorder
        count = trace.as_weak(self._recorded(lambda: reductions.total(self._mask)))
        most = self._mask.type.size
        if not isinstance(most, Dim):
            trace.note_bounds(count, 0, most)
        return count

    @property
    def shape(self) -> Any:
        """One extent."""
        return (self.size,)

    @property
    def ndim(self) -> int:
        """One."""
        return 1

    @property
    def dtype(self) -> Any:
        """The element type, NumPy's for the user's code."""
        found: DType = self._values.type.dtype
        return found.dtype if asked_by_user(sys._getframe(1)) else found

    def __repr__(self) -> str:
        if not self.recorder.closed and asked_by_user(sys._getframe(1)):
            raise _refusal()
        return f"<x[mask] of {self._values!r}>"


def same_value(trace: Any, a: int, b: int, depth: int = 20) -> bool:
    """Whether two nodes of the graph compute the same of the same."""
    if a == b:
        return True
    one, other = trace.builder.nodes[a], trace.builder.nodes[b]
    if depth == 0 or not one.inputs or one.primitive is not other.primitive:
        return a == b or (one.primitive.name == "const" and _same_constant(one, other))
    if one.attrs != other.attrs or len(one.inputs) != len(other.inputs) or one.regions:
        return False
    return all(
        same_value(trace, x, y, depth - 1)
        for x, y in zip(one.inputs, other.inputs, strict=True)
    )


def _same_constant(one: Any, other: Any) -> bool:
    if other.primitive.name != "const":
        return False
    x, y = (dict(node.attrs)["value"].array for node in (one, other))
    return bool(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes())


def select(x: Any, key: Any) -> Selection | None:
    """x[key], where the key is a traced mask of x's shape."""
    mask = _mask_of(x, key)
    if mask is None:
        return None
    if x.swapped:  # in which the result is, too
        raise unsupported("x[mask] of bytes in the other order")
    return Selection(detached(x), detached(mask))


def _mask_of(x: Any, key: Any) -> Any:
    if not is_symbol(key) or key.is_selection or key.origin != "numpy":
        return None
    known = key.type.dtype.is_bool and key.type.shape and key.type.shape == x.type.shape
    return key if known and x.origin == "numpy" else None


def put_selection(x: Any, key: Any, value: Selection) -> Any:
    """x as it is after x[key] = the elements that a mask chose, where the key is that mask;
    else NotImplemented.
    """
    mask = _mask_of(x, key)
    if mask is None or not value.may_be_put_back(mask):
        return NotImplemented
    return value.put_back(detached(x), detached(mask))


__all__ = ["OPERATORS", "TOGETHER", "Selection", "put_selection", "same_value", "select"]
