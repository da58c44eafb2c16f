"""Values that go into regions and come out of them, as tensors of one type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import numpy as np

from graphjit.core.dims import Dim
from graphjit.core.errors import DTypeError, InvalidArgumentError, TracingError, at_user_line
from graphjit.core.tree import Tree, as_leaf, flatten, leaf_names, leaves_like, unflatten
from graphjit.core.types import DType, TensorType
from graphjit.tensors.apply import TensorBase, as_tensor, wrap

_NUMBERS = (bool, int, float, complex)


def is_number(x: Any) -> bool:
    """Whether this is one of Python's own numbers."""
    return isinstance(x, _NUMBERS) and not isinstance(x, (np.generic, Dim))


def is_symbolic(x: Any) -> bool:
    """Whether a value is known only when the compiled function runs."""
    return isinstance(x, TensorBase) and x.recorder is not None


def _is_variable(x: Any) -> bool:
    return isinstance(x, TensorBase) and hasattr(x, "cell")


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
    parts: list[Any] = []
    tree = flatten(value, parts, as_leaf)
    if tree.kind is None:
        return str(getattr(value, "type", type(value).__name__))
    names = [f"{key}: " for key in tree.keys] or [""] * len(parts)
    inside = ", ".join(name + shown(x) for name, x in zip(names, parts, strict=True))
    return f"{type(value).__name__} of ({inside})"


class Unset:
    """The elements of a `TensorArray` before their shape is known: a leaf of structures.

    dynamic: whether there may become more of them
    """

    __slots__ = ("dtype", "dynamic", "size")

    def __init__(self, size: Any, dtype: DType, dynamic: bool = False) -> None:
        self.size, self.dtype, self.dynamic = size, dtype, dynamic


class AssignedInRegionError(Exception):
    """Raised for variables that a region's function assigns: it is to be run again with their
    values among what goes into the region and comes out of it.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        super().__init__(variables)
        self.variables = list(variables)


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
        # What takes its shape from what the body writes into it.
        self._unset = {k: x for k, x in enumerate(self.leaves) if isinstance(x, Unset)}
        self.tensors = [self._operand(x) for x in self.leaves]
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
        values = iter([self._unset.get(k, x) for k, x in enumerate(leaves)])
        return unflatten(self.tree, lambda: next(values))

    def _operand(self, x: Any, like: TensorBase | None = None) -> Any:
        if isinstance(x, Unset):  # stands for nothing
            return wrap(np.zeros((), x.dtype.dtype))
        return as_operand(self.trace, x, like)

    def traced(self, run: Callable[[], tuple[Any, Any]]) -> tuple[Any, list[Any]]:
        """What `run` gives, and the leaves of the new values that are the second part of it.

        run: traces the body for the types that the leaves have now. It is called again where a
            number that the loop begins with is an array afterwards.
        """
        for attempt in count():
            made, result = run()
            leaves = leaves_like(result, self.tree)
            if leaves is None:
                raise InvalidArgumentError(
                    at_user_line(
                        f"{self.body} gives {shown(result)}, {self.given} is "
                        f"{shown(self.value)} [Op:{self.op}]"
                    )
                )
            written = [k for k in self._unset if not isinstance(leaves[k], Unset)]
            found = [
                self._operand(x, like) for x, like in zip(leaves, self.tensors, strict=True)
            ]
            if written:
                self._make_room(written, found)
                continue
            if attempt >= 2 or not self._adapt(found):
                break
        self._check(found)
        self.origins = [origin_of(x) for x in found]
        return made, found

    def _make_room(self, written: Sequence[int], found: Sequence[Any]) -> None:
        """Begin with zeros of the shape that came back."""
        for k in written:
            type = found[k].type
            self.tensors[k] = wrap(np.zeros(type.shape, type.dtype.dtype))
            self.origins[k] = origin_of(found[k])
            del self._unset[k]

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


class Variables:
    """The variables that the functions of control flow assign: their values go into its regions
    and come out of them beside what is carried.
    """

    def __init__(self, trace: Any, variables: Sequence[Any] = ()) -> None:
        self.trace, self._variables = trace, list(variables)

    def beside(self, value: Any) -> Any:
        """What a loop begins with, and their values."""
        return (value, self._values()) if self._variables else value

    def function(
        self, function: Callable[..., Any], place: int | None, rows: bool = False
    ) -> Any:
        """A region's function that takes their values beside its argument number `place`, if
        that isn't None, and gives those after it beside what it gives; or beside the first item
        of that, if it gives rows, too.
        """
        if not self._variables:
            return function

        def run(*args: Any) -> Any:
            given = list(args)
            if place is not None:
                given[place], values = given[place]
                self.trace.hand_variables(self._variables, values)
            result = self._read(function(*given))
            after = self._values()
            self.trace.regions.hand_on(self._variables)
            if rows and isinstance(result, tuple) and len(result) == 2:
                return ((result[0], after), result[1])
            return result, after

        return run

    def reading(self, function: Callable[..., Any]) -> Any:
        """A region's function of one argument that takes their values and assigns none."""
        if not self._variables:
            return function

        def run(value: Any) -> Any:
            given, values = value
            self.trace.hand_variables(self._variables, values)
            return function(given)

        return run

    def assigned(self, result: Any) -> Any:
        """What is left of a result once the values beside it are assigned."""
        if not self._variables:
            return result
        result, values = result
        for variable, value in zip(self._variables, values, strict=True):
            self.trace.assign(variable, value)
        return result

    def _read(self, result: Any) -> Any:
        """A result with the values that its variables have in the region."""
        leaves: list[Any] = []
        tree = flatten(result, leaves)
        values = iter([self.trace.read(x) if _is_variable(x) else x for x in leaves])
        return unflatten(tree, lambda: next(values))

    def _values(self) -> list[Any]:
        return [self.trace.read(variable) for variable in self._variables]


def with_variables(trace: Any, run: Callable[[Variables], Any]) -> Any:
    """What `run` gives, which is called again with the variables that are found to be assigned
    in its regions.
    """
    variables: list[Any] = []
    while True:
        try:
            return run(Variables(trace, variables))
        except AssignedInRegionError as error:
            known = {id(v.cell) for v in variables}
            new = {id(v.cell): v for v in error.variables if id(v.cell) not in known}
            if not new:
                raise TracingError(
                    at_user_line("a loop's condition assigns a variable, which can't be traced")
                ) from None
            variables += new.values()


__all__ = [
    "AssignedInRegionError", "Carry", "Unset", "Variables", "as_operand", "is_number",
    "is_numpy", "is_symbolic", "origin_of", "shown", "with_variables",
]  # fmt: skip
