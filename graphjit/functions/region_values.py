"""Values that go into regions and come out of them, as tensors of one type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import DTypeError, InvalidArgumentError, at_user_line
from graphjit.core.tree import Tree, flatten, leaf_names, unflatten
from graphjit.core.types import TensorType
from graphjit.tensors.apply import TensorBase, as_tensor, wrap

_NUMBERS = (bool, int, float, complex)


def is_number(x: Any) -> bool:
    """Whether this is one of Python's own numbers."""
    return isinstance(x, _NUMBERS) and not isinstance(x, (np.generic, Dim))


def is_symbolic(x: Any) -> bool:
    """Whether a value is known only when the compiled function runs."""
    return isinstance(x, TensorBase) and x.recorder is not None


def is_numpy(x: Any) -> bool:
    """Whether NumPy's rules hold for a value."""
    if isinstance(x, (np.ndarray, np.generic)):
        return True
    return is_symbolic(x) and x.origin == "numpy"


def origin_of(x: TensorBase) -> str:
    """Whose rules hold for a tensor of a trace."""
    return str(x.origin) if is_symbolic(x) else "numpy"  # type: ignore[attr-defined]


def as_operand(trace: Any, x: Any, like: TensorBase | None = None) -> Any:
    """A leaf of what a region is given or gives as a tensor; a number with the dtype of `like`,
    if it is that of an array without axes.
    """
    if isinstance(x, Dim):
        return trace.extent_value(x)
    if isinstance(x, np.ndarray):
        return trace.capture(x)
    if is_number(x):
        if like is not None and not like.type.shape:
            return _number(x, like)
        return _number(x, None)
    if isinstance(x, TensorBase):
        return x.as_tensor()
    return as_tensor(x)


def _number(x: Any, like: TensorBase | None) -> TensorBase:
    """A Python number as a tensor, of a dtype like another's."""
    if like is not None:
        try:
            return as_tensor(x, like.type.dtype)
        except (DTypeError, InvalidArgumentError):
            pass  # the message that it doesn't fit names both types
    return wrap(np.asarray(x))


def shown(value: Any) -> str:
    """A structure as text."""
    leaves: list[Any] = []
    tree = flatten(value, leaves)
    kinds = ", ".join(str(getattr(x, "type", type(x).__name__)) for x in leaves)
    return kinds if tree.kind is None else f"{type(value).__name__} of ({kinds})"


class Carry:
    """What a loop hands from turn to turn: a structure, its leaves as tensors.

    op, given, body: names for errors: the op's, the argument's that it begins with, the
        function's that gives new values
    """

    def __init__(self, trace: Any, value: Any, op: str, given: str, body: str) -> None:
        self.trace, self.value = trace, value
        self.op, self.given, self.body = op, given, body
        self.leaves: list[Any] = []
        self.tree: Tree = flatten(value, self.leaves)
        self.tensors = [as_operand(trace, x) for x in self.leaves]
        # a Python number is one in the body, too, unless what comes back is an array
        self.origins = [
            "weak" if is_number(leaf) else origin_of(x)
            for leaf, x in zip(self.leaves, self.tensors, strict=True)
        ]

    @property
    def types(self) -> list[tuple[TensorType, str]]:
        """Type and origin of each leaf."""
        return [(x.type, o) for x, o in zip(self.tensors, self.origins, strict=True)]

    def structure(self, leaves: Sequence[Any]) -> Any:
        """The structure of other leaves."""
        values = iter(leaves)
        return unflatten(self.tree, lambda: next(values))

    def traced(self, run: Callable[[], tuple[Any, Any]]) -> tuple[Any, list[Any]]:
        """What `run` gives, and the leaves of the new values that are the second part of it.

        run: traces the body for the types that the leaves have now. It is called again where a
            number that the loop begins with is an array afterwards.
        """
        for attempt in range(3):
            made, result = run()
            found: list[Any] = []
            if flatten(result, found) != self.tree:
                raise InvalidArgumentError(
                    at_user_line(
                        f"{self.body} gives {shown(result)}, {self.given} is "
                        f"{shown(self.value)} [Op:{self.op}]"
                    )
                )
            found = [
                as_operand(self.trace, x, like)
                for x, like in zip(found, self.tensors, strict=True)
            ]
            if attempt == 2 or not self._adapt(found):
                break
        self._check(found)
        self.origins = [origin_of(x) for x in found]
        return made, found

    def _adapt(self, found: Sequence[Any]) -> bool:
        """Give numbers the types that came back. Whether any has another one now."""
        changed = False
        for number, (leaf, after) in enumerate(zip(self.leaves, found, strict=True)):
            if not is_number(leaf):
                continue
            before = self.tensors[number]
            if before.type != after.type and not after.type.shape and not before.type.shape:
                array = before.numpy()
                self.tensors[number] = wrap(np.asarray(array, after.type.dtype.dtype))
                changed = True
            if self.origins[number] != origin_of(after):
                self.origins[number] = origin_of(after)
                changed = True
        return changed

    def _check(self, found: Sequence[Any]) -> None:
        names = leaf_names(self.tree, self.given)
        for number, (before, after) in enumerate(zip(self.tensors, found, strict=True)):
            if before.type != after.type:
                where = f" ({names[number]})" if len(names) > 1 else ""
                raise InvalidArgumentError(
                    at_user_line(
                        f"value {number} of the loop{where} is {before.type} before "
                        f"{self.body} and {after.type} after it [Op:{self.op}]"
                    )
                )


__all__ = [
    "Carry", "as_operand", "is_number", "is_numpy", "is_symbolic", "origin_of", "shown",
]  # fmt: skip
