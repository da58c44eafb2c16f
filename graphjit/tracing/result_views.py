"""Results in the memory of arguments, captured arrays or outputs, and how each call makes them.

The graph computes nothing of these. While tracing, each call of NumPy whose result may lie in
the memory of its operands is noted as a `NumpyCall`. A compiled call replays it on the arrays
at hand. The result is then the object that NumPy gives, with its layout, flags and base.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import IndexOutOfRangeError, at_user_line, user_line
from graphjit.core.extents import evaluate
from graphjit.core.frozen import dataclass


class BaseArray(NamedTuple):
    """An array that results are made of."""

    # "leaf" (of the arguments), "capture" or "output".
    role: str
    number: int


# By the role of base arrays: the arrays of a call, by their numbers.
ArraysByRole = Mapping[str, Any]
# What each NumpyCall gave in a call, by its id: results that need the same one share it.
ReplayMemo = dict[int, Any]


class NumpyCall:
    """A call of NumPy whose result may lie in the memory of other arrays. It is replayed on the
    arrays of each call.
    """

    __slots__ = ("args", "bases", "function", "kwargs", "line", "only_base_differs")

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        # NumPy's own function, or an operator.
        self.function = function
        # These have a BaseArray or CallResult where arrays stand.
        self.args, self.kwargs = args, kwargs
        # All arrays that the result is made of.
        self.bases = frozenset(base_arrays((*args, *kwargs.values())))
        # Whether all but the first argument are the same at each call.
        self.only_base_differs = bool(args) and not any(
            map(_differs_by_call, (*args[1:], *kwargs.values()))
        )
        # The user's line.
        self.line = user_line()

    def replay(self, arrays: ArraysByRole, sizes: Mapping[str, int], memo: ReplayMemo) -> Any:
        """The result for these arrays, made once in a call. sizes: those of the symbols."""
        found = memo.get(id(self))
        if found is None:
            args, kwargs = self.args, self.kwargs
            if self.only_base_differs:
                args = (_replay(args[0], arrays, sizes, memo), *args[1:])
            else:
                args = _replay(args, arrays, sizes, memo)
                kwargs = {k: _replay(v, arrays, sizes, memo) for k, v in kwargs.items()}
            try:
                found = self.function(*args, **kwargs)
            except IndexError as error:
                message = at_user_line(str(error), source=self.line)
                raise IndexOutOfRangeError(message) from error
            memo[id(self)] = found
        return found


@dataclass(frozen=True, slots=True, eq=False)
class CallResult:
    """The result of a call of NumPy's, or an item of it."""

    call: NumpyCall
    # The indices that lead to the item.
    path: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ResultView:
    """A result that is an argument, captured array or output, or lies in the memory of some."""

    provenance: BaseArray | CallResult

    @property
    def is_base(self) -> bool:
        """Whether the result is that very object."""
        return isinstance(self.provenance, BaseArray)

    @property
    def bases(self) -> frozenset[BaseArray]:
        """The arrays of which it is made."""
        return frozenset(base_arrays(self.provenance))

    @property
    def calls(self) -> Iterator[NumpyCall]:
        """The calls that make it."""
        return _numpy_calls(self.provenance)

    def replay(self, arrays: ArraysByRole, sizes: Mapping[str, int], memo: ReplayMemo) -> Any:
        """The result for these arrays. sizes: those of the symbols."""
        return _replay(self.provenance, arrays, sizes, memo)


def full_view(made: BaseArray | CallResult) -> CallResult:
    """A view of all of an array."""
    return CallResult(NumpyCall(operator.getitem, (made, Ellipsis), {}), ())


def read_only(view: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The view, which can't be written into from here on."""
    view.flags.writeable = False
    return view


def cut(array: np.ndarray[Any, Any], new: bool, *windows: Any) -> np.ndarray[Any, Any]:
    """The elements that windows have: for each axis a start and a count, or None.

    new: whether the result has memory of its own
    """
    key = tuple(
        [slice(None) if w is None else slice(int(w[0]), int(w[0]) + int(w[1])) for w in windows]
    )
    part = array[key]
    return array if new and part.shape == array.shape else part.copy() if new else part


def as_list(item: Any, length: Any, *arrays: Any) -> list[Any]:
    """The items of a list, of which arrays have the parts.

    item: "weak", "numpy", "array", "mixed" or "mixed int", or a tuple of such
    """
    count, parts = int(length), iter(arrays)

    def column(kind: Any) -> list[Any]:
        if isinstance(kind, tuple):
            return list(zip(*[column(k) for k in kind], strict=True))
        part = next(parts)[:count]
        if kind == "weak":
            return part.tolist()  # type: ignore[no-any-return]
        if kind == "array":
            return [row.copy() for row in part]
        if kind == "numpy":
            return list(part)
        flags, plain = next(parts)[:count].tolist(), part.tolist()
        if kind == "mixed int":
            plain = [x if flag else int(x) for x, flag in zip(plain, flags, strict=True)]
        return [x if flag else y for x, y, flag in zip(part, plain, flags, strict=True)]

    return column(item)


def _replay(
    value: Any, arrays: ArraysByRole, sizes: Mapping[str, int], memo: ReplayMemo
) -> Any:
    if isinstance(value, BaseArray):
        return arrays[value.role][value.number]
    if isinstance(value, CallResult):
        found = value.call.replay(arrays, sizes, memo)
        for index in value.path:
            found = found[index]
        return found
    if isinstance(value, Dim):
        return evaluate(value, sizes)
    return map_parts(value, lambda part: _replay(part, arrays, sizes, memo))


def map_parts(value: Any, change: Callable[[Any], Any]) -> Any:
    """An argument of NumPy's with its parts changed, or as it is."""
    if isinstance(value, list):
        return [change(part) for part in value]
    if isinstance(value, tuple):
        return tuple([change(part) for part in value])
    if isinstance(value, slice):
        return slice(change(value.start), change(value.stop), change(value.step))
    return value


def _parts(value: Any) -> Sequence[Any]:
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    return value if isinstance(value, (list, tuple)) else ()


def _differs_by_call(value: Any) -> bool:
    return isinstance(value, (BaseArray, CallResult, Dim)) or any(
        map(_differs_by_call, _parts(value))
    )


def base_arrays(value: Any) -> Iterator[BaseArray]:
    """The arrays that an argument of NumPy's is made of."""
    if isinstance(value, BaseArray):
        yield value
    elif isinstance(value, CallResult):
        yield from value.call.bases
    else:
        for part in _parts(value):
            yield from base_arrays(part)


def _numpy_calls(value: Any) -> Iterator[NumpyCall]:
    if isinstance(value, CallResult):
        yield value.call
        yield from _numpy_calls((*value.call.args, *value.call.kwargs.values()))
    elif not isinstance(value, BaseArray):
        for part in _parts(value):
            yield from _numpy_calls(part)


__all__ = [
    "ArraysByRole", "BaseArray", "CallResult", "NumpyCall", "ReplayMemo", "ResultView",
    "base_arrays", "full_view", "map_parts", "read_only",
]  # fmt: skip
