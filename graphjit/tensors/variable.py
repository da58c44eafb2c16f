"""Variable: a tensor that can be assigned to, eagerly and inside traced functions.

An assignment replaces the variable's array by a new one, never writes into the old: what was
read before stays as it was, and a refused assignment changes nothing.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from graphjit.core.errors import (
    DTypeError,
    InvalidArgumentError,
    ShapeError,
    TracingError,
    at_user_line,
)
from graphjit.core.fork_safety import new_lock
from graphjit.core.frozen import dataclass
from graphjit.core.types import DType, TensorType, as_dtype, shape_text
from graphjit.functions import create, index, math, shape, subscript

from .apply import TensorBase, as_tensor, current_trace, wrap
from .operators import Items, Operators
from .recording import recorders, recorders_of
from .tensor import Tensor, _element_text

_numbers = itertools.count()
_KINDS = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


@dataclass(frozen=True)
class IndexedSlices:
    """Slices `values[i]` that belong at `indices[i]` of a tensor's first axis."""

    values: Any
    indices: Any
    dense_shape: Any = None


class Cell:
    """A variable's array and the lock that makes steps on it follow one another."""

    __slots__ = ("__weakref__", "array", "lock", "number")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.lock = new_lock()
        self.number = next(_numbers)


class Variable(Items, Operators):
    """A tensor with state: `assign` replaces its value, which keeps shape and dtype.

    name: shown as `name:0`. trainable: for optimizers to ask.
    """

    __slots__ = ("__weakref__", "cell", "name", "trainable", "type")

    type: TensorType

    def __init__(
        self,
        initial_value: Any,
        trainable: bool = True,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if current_trace.get() is not None:
            raise TracingError(
                at_user_line(
                    "a Variable is made inside a traced function, so at each trace and not at "
                    "each call",
                    "make it outside",
                )
            )
        if callable(initial_value):
            initial_value = initial_value()
        value = create.constant(initial_value, dtype)
        self.cell = Cell(np.array(value._array, order="C"))
        self.type = value.type
        self.name = f"{name or 'Variable'}:0"
        self.trainable = trainable

    def as_tensor(self) -> TensorBase:
        """The value now: recorded inside a trace, else a snapshot."""
        trace = current_trace.get()
        found: TensorBase = wrap(self.cell.array) if trace is None else trace.read(self)
        if recorders.get():
            tapes = recorders_of(trace)
            for tape in tapes:
                tape.note_read(self, found)
        return found

    def read_value(self) -> Any:
        """The value now, as a tensor of its own that later assignments don't change."""
        found, trace = self.as_tensor(), current_trace.get()
        # on a tape it is apart from what other reads gave
        return found if trace is None or not recorders_of(trace) else trace.same_value(found)

    value = read_value

    @property
    def _array(self) -> np.ndarray[Any, Any]:
        return self.cell.array

    def numpy(self) -> Any:
        """The value now as a read-only ndarray (a scalar if 0-d)."""
        return self._known("numpy()").numpy()

    def _known(self, what: str) -> Tensor:
        tensor = self.as_tensor()
        if not isinstance(tensor, Tensor):
            raise TracingError(at_user_line(f"{what} of a variable inside a traced function"))
        return tensor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._known("np.array").__array__(dtype, copy)

    def __bool__(self) -> bool:
        return bool(self.as_tensor())

    def __int__(self) -> int:
        return int(self._known("int()"))

    def __float__(self) -> float:
        return float(self._known("float()"))

    def __index__(self) -> int:
        return self._known("an index").__index__()

    def __getitem__(self, key: Any) -> Any:
        """The elements at `key`: a tensor that also has `assign`."""
        current = self.as_tensor()
        if current.recorder is not None:
            part = subscript.getitem(current, key)
            return current.recorder.variable_slice(self, key, part)
        part = subscript.getitem(current, key)
        made = VariableSlice(self, key, part)
        for tape in recorders_of(None):
            tape.note_same(part, made)
        return made

    def __hash__(self) -> int:
        raise DTypeError(
            at_user_line("Variable is unhashable. Instead, use variable.ref() as the key.")
        )

    def ref(self) -> int:
        """Something hashable that stands for this variable."""
        return id(self.cell)

    def assign(self, value: Any) -> Any:
        """Replace the value, by one of the same shape and dtype; returns the variable.

        Python values and ndarrays are converted.
        """
        return self._write(self._converted(value))

    def assign_add(self, delta: Any) -> Any:
        """Add to the value."""
        with self.cell.lock:
            return self._write(
                math.add(self.as_tensor(), self._converted(delta, broadcast=True))
            )

    def assign_sub(self, delta: Any) -> Any:
        """Subtract from the value."""
        with self.cell.lock:
            delta = self._converted(delta, broadcast=True)
            return self._write(math.subtract(self.as_tensor(), delta))

    def _converted(self, value: Any, broadcast: bool = False) -> TensorBase:
        tensor = self._own_dtype(value)
        if tensor.type.shape != self.type.shape and not broadcast:
            raise ShapeError(
                at_user_line(
                    f"Cannot assign value to variable ' {self.name}': Shape mismatch. The "
                    f"variable shape {shape_text(self.type.shape)}, and the assigned value "
                    f"shape {shape_text(tensor.type.shape)} are incompatible."
                )
            )
        return tensor

    def _own_dtype(self, value: Any) -> TensorBase:
        """The value in this variable's dtype: arrays are cast in kind, tensors never."""
        tensor = as_tensor(value, self.dtype)
        if tensor.dtype is self.dtype:
            return tensor
        if isinstance(value, TensorBase) or _KINDS[tensor.dtype.kind] > _KINDS[self.dtype.kind]:
            raise InvalidArgumentError(
                at_user_line(
                    f"Tensor conversion requested dtype {self.dtype.name} for Tensor with "
                    f"dtype {tensor.dtype.name}"
                )
            )
        cast: TensorBase = math.cast(tensor, self.dtype)
        return cast

    def _write(self, value: TensorBase) -> Any:
        if value.type.shape != self.type.shape:
            self._converted(value)
        trace = current_trace.get()
        if trace is not None:
            # what is read after it has no derivative by what the value was made of
            cut = bool(recorders_of(trace))
            trace.assign(self, trace.without_derivative(value) if cut else value)
        else:
            with self.cell.lock:
                array = np.asarray(_array_of(value), order="C")
                # an array over another's memory, such as DLPack's, may be written by its owner
                self.cell.array = array if array.flags.owndata else array.copy()
        return _UnreadVariable(self)

    def _assign_slice(self, key: Any, value: Any) -> Any:
        with self.cell.lock:
            return self._write(subscript.setitem(self.as_tensor(), key, self._own_dtype(value)))

    def _scatter(self, indices: Any, updates: Any, mode: str) -> Any:
        with self.cell.lock:
            current = self.as_tensor()
            values = self._own_dtype(updates)
            return self._write(index.scatter_by(current, indices, values, mode))

    def _scatter_rows(self, slices: IndexedSlices, mode: str) -> Any:
        if not isinstance(slices, IndexedSlices):
            raise DTypeError(
                at_user_line(f"sparse_delta is not IndexedSlices: {type(slices).__name__}")
            )
        rows = as_tensor(slices.indices)
        values = self._own_dtype(slices.values)
        wanted = (*rows.type.shape, *self.type.shape[1:])
        values = subscript.broadcast_value(values, wanted)
        rows = shape.reshape(rows, (*rows.type.shape, 1))
        return self._scatter(rows, values, mode)

    def scatter_update(self, sparse_delta: IndexedSlices) -> Any:
        """Replace the slices; the last of equal indices wins."""
        return self._scatter_rows(sparse_delta, "update")

    def scatter_add(self, sparse_delta: IndexedSlices) -> Any:
        """Add to the slices."""
        return self._scatter_rows(sparse_delta, "add")

    def scatter_sub(self, sparse_delta: IndexedSlices) -> Any:
        """Subtract from the slices."""
        return self._scatter_rows(sparse_delta, "sub")

    def scatter_mul(self, sparse_delta: IndexedSlices) -> Any:
        """Multiply the slices."""
        return self._scatter_rows(sparse_delta, "mul")

    def scatter_max(self, sparse_delta: IndexedSlices) -> Any:
        """Keep the larger elements."""
        return self._scatter_rows(sparse_delta, "max")

    def scatter_min(self, sparse_delta: IndexedSlices) -> Any:
        """Keep the smaller elements."""
        return self._scatter_rows(sparse_delta, "min")

    def scatter_nd_update(self, indices: Any, updates: Any) -> Any:
        """Replace elements or slices at the index vectors in the last axis of `indices`."""
        return self._scatter(indices, updates, "update")

    def scatter_nd_add(self, indices: Any, updates: Any) -> Any:
        """Add to elements or slices at index vectors."""
        return self._scatter(indices, updates, "add")

    def scatter_nd_sub(self, indices: Any, updates: Any) -> Any:
        """Subtract from elements or slices at index vectors."""
        return self._scatter(indices, updates, "sub")

    def __repr__(self) -> str:
        return (
            f"<gj.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}, "
            f"numpy={_element_text(self.cell.array)}>"
        )

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        name = self.name.removesuffix(":0")
        return _unpickle, (self.cell.array, self.trainable, name)


def _unpickle(array: np.ndarray[Any, Any], trainable: bool, name: str) -> Variable:
    return Variable(array, trainable, name, as_dtype(array.dtype))


def _array_of(tensor: TensorBase) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = tensor._array  # type: ignore[attr-defined]
    return array


class _UnreadVariable(Variable):
    """A variable as its own assignments return it."""

    __slots__ = ()

    def __init__(self, variable: Variable) -> None:
        self.cell = variable.cell
        self.type = variable.type
        self.name = "UnreadVariable"
        self.trainable = variable.trainable


class VariableSlice(Tensor):
    """Elements of a variable as they were read; `assign` writes the variable there."""

    __slots__ = ("_key", "_variable")

    _key: Any
    _variable: Variable

    def __init__(self, variable: Variable, key: Any, part: Tensor) -> None:
        object.__setattr__(self, "_array", part._array)
        object.__setattr__(self, "type", part.type)
        object.__setattr__(self, "_variable", variable)
        object.__setattr__(self, "_key", key)

    def assign(self, value: Any) -> Any:
        """Write into the variable; the value is broadcast. Returns the variable."""
        return self._variable._assign_slice(self._key, value)


__all__ = ["Cell", "DType", "IndexedSlices", "Variable", "VariableSlice"]
