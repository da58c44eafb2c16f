"""Numbers that are Python's in some calls and NumPy's in others.

    best = np.inf
    for x in data:
        best = min(best, x)

`best` is a float of Python's until a number of the array is less. Its value is the same either
way, and so is most of what is computed with it. What isn't, and what shows the class, asks for
it: that is a branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.types import TensorType, bool_, float64, int64
from graphjit.numpy_protocol.promotion import result_dtype
from graphjit.numpy_protocol.python_numbers import left_to_python
from graphjit.ops import pointwise as pw
from graphjit.tensors.apply import apply, wrap

from .symbolic_tensor import SET_BY_RECORDING, SymbolicTensor, is_strict, is_weak

# What Python and NumPy compute alike of their own numbers, but for overflow of integers.
_ALIKE = {"add", "sub", "mul", "neg", "pos", "abs", "lt", "le", "gt", "ge", "eq", "ne"}
_COMPARES = {"lt", "le", "gt", "ge", "eq", "ne"}


class MixedNumber(SymbolicTensor):
    """A number without axes.

    flag: a bool without axes: whether it is NumPy's. whole: whether it is else an int, though
    its dtype is float64; such an int fits in 53 bits
    """

    __slots__ = ("flag", "whole")

    is_mixed = True
    precedence = 1

    def __new__(
        cls, recorder: Any, node: int, type: TensorType, origin: str = "", flag: Any = None,
        whole: bool = False,
    ) -> Any:  # fmt: skip
        """A plain symbolic tensor where an origin is given."""
        if flag is None:
            return SymbolicTensor(recorder, node, type, origin)
        return object.__new__(cls)

    def __init__(
        self, recorder: Any, node: int, type: TensorType, origin: str = "", flag: Any = None,
        whole: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(recorder, node, type, "weak")
        self.flag, self.whole = flag, whole
        if type.dtype is int64:
            recorder.note_bounds(self, -(2**63), 2**63 - 1)

    @property
    def origin(self) -> str:
        """Whose rules hold: "weak" or "numpy". A branch on which of them it is."""
        flag = self.flag
        return "numpy" if self.recorder.branches.ask(flag, ("class of a number",)) else "weak"

    @origin.setter
    def origin(self, value: str) -> None:
        pass

    def as_numpy(self) -> SymbolicTensor:
        """The number as one of NumPy's."""
        return self.recorder.symbol_of(self.node, "numpy")  # type: ignore[no-any-return]

    def as_weak(self) -> SymbolicTensor:
        """The number as one of Python's."""
        trace: Any = self.recorder
        node = self.node
        if self.whole:
            node = trace.node_of(apply(pw.cast, self.as_numpy(), dtype=int64))
        found: SymbolicTensor = trace.symbol_of(node, "weak")
        if found.type.dtype is int64:
            trace.note_bounds(found, -(2**63), 2**63 - 1)
        return found

    def settled(self) -> SymbolicTensor:
        """The number as what it is in a call that is traced, after a branch."""
        return self.as_weak() if self.origin == "weak" else self.as_numpy()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in SET_BY_RECORDING:
            raise AttributeError(name)
        return getattr(self.settled(), name)

    def _operator(self, name: str, *operands: Any) -> Any:
        return operator(self.recorder, name, operands)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        given = alike(inputs)
        if any(map(is_mixed, given)):
            given = tuple(x.settled() if is_mixed(x) else x for x in given)
        return getattr(ufunc, method)(*given, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        given = [x.settled() if is_mixed(x) else x for x in args]
        named = {k: x.settled() if is_mixed(x) else x for k, x in kwargs.items()}
        return func(*given, **named)


def is_mixed(value: Any) -> bool:
    """Whether a value is such a number."""
    return type(value) is MixedNumber


def operator(trace: Any, name: str, operands: Sequence[Any]) -> Any:
    """What an operator gives for operands of which one is such a number."""
    if not any(is_strict(x) for x in operands if not is_mixed(x)):
        others = [x for x in operands if not is_mixed(x)]
        if all(map(_is_pythons, others)):
            found = _of_numbers(trace, name, operands)
            if found is not None:
                return found
        else:
            operands = alike(operands)
    given = [x.settled() if is_mixed(x) else x for x in operands]
    first = next(x for x in given if isinstance(x, SymbolicTensor))
    return first._operator(name, *given)


def _is_pythons(value: Any) -> bool:
    return is_weak(value) and (not isinstance(value, SymbolicTensor) or not value.type.shape)


def alike(operands: Sequence[Any]) -> tuple[Any, ...]:
    """Operands of NumPy's with numbers of NumPy's for those of which it doesn't matter."""
    strong = tuple(x.as_numpy() if is_mixed(x) else x for x in operands)
    if len(operands) == 1 and not operands[0].whole:
        return strong
    if any(x.whole or not x.type.dtype.is_floating for x in operands if is_mixed(x)):
        others = [x for x in strong if not is_weak(x)]
        wide = all(_dtype(x) in ("f8", "c16") for x in others)
        return (
            strong
            if wide and len(others) > len(list(filter(is_mixed, operands)))
            else (tuple(operands))
        )
    weak = tuple(x.as_weak() if is_mixed(x) else x for x in operands)
    try:
        same = result_dtype(*strong) is result_dtype(*weak)
    except Exception:
        return tuple(operands)
    return strong if same else tuple(operands)


def _dtype(value: Any) -> str:
    if isinstance(value, SymbolicTensor):
        return value.type.dtype.dtype.str[1:]
    found = getattr(value, "dtype", None)
    return "" if found is None else found.str[1:]


def _of_numbers(trace: Any, name: str, operands: Sequence[Any]) -> Any:
    """The result for numbers that are all Python's, or may be; None where they must be told
    apart.
    """
    if any(x.whole for x in operands if is_mixed(x)):
        return None
    kinds = {_kind(x) for x in operands}
    if not kinds <= {"f", "i"}:
        return None
    weak = [x.as_weak() if is_mixed(x) else x for x in operands]
    flag = _either(trace, [x.flag for x in operands if is_mixed(x)])
    if name in _ALIKE:
        first = next(x for x in weak if isinstance(x, SymbolicTensor))
        made = first._operator(name, *weak)
        return _mixed(trace, made, flag)
    if name == "truediv" and "f" in kinds:
        strong = [x.as_numpy() if is_mixed(x) else x for x in operands]
        divisor = strong[1]
        given: list[Any] = [
            trace.symbol_of(x.node, "numpy") if isinstance(x, SymbolicTensor) else np.float64(x)
            for x in strong
        ]
        if not isinstance(divisor, SymbolicTensor):
            if not divisor:
                return None
            return _mixed(trace, given[0]._operator("truediv", *given), flag)
        made = next(x for x in given if isinstance(x, SymbolicTensor))._operator(
            "truediv", *given
        )
        zero = given[1]._operator("eq", given[1], np.float64(0))
        pythons = apply(pw.logical_not, flag)
        failing = apply(pw.bit_and, zero, pythons)
        checked = trace.with_numpy_rules(lambda: left_to_python(made, failing))
        return _mixed(trace, checked, flag)
    return None


def _kind(value: Any) -> str:
    if isinstance(value, SymbolicTensor):
        return value.type.dtype.kind
    if isinstance(value, bool):
        return "b"
    return {int: "i", float: "f"}.get(type(value), "?")


def _either(trace: Any, flags: Sequence[Any]) -> Any:
    found = flags[0]
    for flag in flags[1:]:
        if flag.node != found.node:
            made = apply(pw.bit_or, found, flag)
            found = trace.symbol_of(trace.node_of(made), "weak")
    return found


def _mixed(trace: Any, made: Any, flag: Any) -> MixedNumber:
    number: MixedNumber = MixedNumber(trace, trace.node_of(made), made.type, flag=flag)
    return number


# -- numbers of several kinds


def kind_of_mix(one: Any, other: Any) -> Any:
    """The kind of a number that is of one kind or another: pairs of a type and an origin; None
    where there is none.
    """
    (a, first), (b, second) = one, other
    if a.shape or b.shape:
        return None
    origins = {first, second}
    if a == b and a.dtype in (float64, int64, bool_):
        if "mixed int" in origins:
            return (a, "mixed int") if origins <= {"mixed int", "numpy"} else None
        return (a, "mixed") if origins <= {"weak", "numpy", "mixed"} else None
    ints = [k for k, origin in (one, other) if k.dtype is int64 and origin == "weak"]
    floats = [o for k, o in (one, other) if k.dtype is float64 and o in ("numpy", "mixed int")]
    if len(ints) == 1 and len(floats) == 1:
        return (b if a.dtype is int64 else a), "mixed int"
    return None


def mixed_parts(trace: Any, values: Sequence[Any]) -> Any:
    """Numbers of two kinds as values of one dtype, with flags that say which of them, and
    whether Python's are ints; None where they are none.
    """
    kind: Any = None
    for x in values:
        own = _kind_of_number(x)
        if own is None:
            return None
        kind = own if kind is None or kind == own else kind_of_mix(kind, own)
        if kind is None:
            return None
    if kind[1] not in ("mixed", "mixed int"):
        return None
    if kind[1] == "mixed int" and not all(
        is_exact(x) for x in values if _kind_of_number(x)[0].dtype is int64
    ):
        return None
    pairs = [value_for(trace, x, kind) for x in values]
    return [x for x, _ in pairs], [flag for _, flag in pairs], kind[1] == "mixed int"


def _kind_of_number(value: Any) -> Any:
    if is_mixed(value):
        return value.type, "mixed int" if value.whole else "mixed"
    if isinstance(value, SymbolicTensor):
        return (
            None if value.type.shape or value.origin == "tensor" else (value.type, value.origin)
        )
    dtype = {bool: bool_, int: int64, float: float64}.get(type(value))
    if dtype is not None:
        return TensorType((), dtype), "weak"
    if isinstance(value, np.float64):
        return TensorType((), float64), "numpy"
    return None


def value_for(trace: Any, value: Any, kind: Any) -> tuple[Any, Any]:
    """A number as one of mixed kind: its value and its flag."""
    type, _ = kind
    if is_mixed(value):
        return value.as_numpy(), value.flag
    numpys = isinstance(value, np.generic) or getattr(value, "origin", "weak") == "numpy"
    flag = wrap(np.array(numpys))
    if isinstance(value, SymbolicTensor):
        found: Any = trace.symbol_of(value.node, "numpy")
        if found.type.dtype is not type.dtype:
            found = apply(pw.cast, found, dtype=type.dtype)
        return found, flag
    return wrap(np.array(value, type.dtype.dtype)), flag


def is_exact(value: Any) -> bool:
    """Whether an int is one that a float64 holds as it is."""
    return isinstance(value, int) and abs(value) <= 2**53


__all__ = [
    "MixedNumber", "alike", "is_exact", "is_mixed", "kind_of_mix", "mixed_parts", "operator",
    "value_for",
]  # fmt: skip
