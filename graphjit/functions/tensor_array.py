"""`gj.TensorArray`: elements of one shape that are written and read by number."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any

from graphjit.core.dims import Dim
from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import DType, Shape, as_dtype, int64, shape_text
from graphjit.tensors.apply import TensorBase, as_tensor

from . import create, index, math, shape
from .region_values import Unset

__all__ = ["TensorArray"]


@dataclasses.dataclass(frozen=True, init=False, eq=False, repr=False)
class TensorArray:
    """Elements of one shape and dtype that are written and read by number: TensorFlow's.

    What changes it gives a new one: write `ta = ta.write(i, x)`. It is a structure of one
    tensor, `buffer`, which loops and compiled functions carry, take and give. Elements that
    were never written are 0.

    dtype: of the elements. size: how many there are; an integer. element_shape: that of each;
    if None, that of the first one written, or of which a loop writes. dynamic_size: whether an
    integer beyond the end makes it longer; not in loops of compiled functions, where the number
    must be known before. The other arguments are for TensorFlow's callers, and not used.

    Raises InvalidArgumentError for an element of another shape, IndexOutOfRangeError for a
    number that isn't in range(size).
    """

    #: The elements along a first axis; `Unset` before their shape is known.
    buffer: Any

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool = False,
        clear_after_read: Any = None,
        tensor_array_name: Any = None,
        *,
        infer_shape: bool = True,
        element_shape: Any = None,
        name: Any = None,
    ) -> None:
        del clear_after_read, tensor_array_name, infer_shape, name
        extent = 0 if size is None else _whole(size, "size")
        if not isinstance(extent, Dim) and extent < 0:
            raise InvalidArgumentError(
                at_user_line(f"a TensorArray of size {extent} [Op:TensorArray]")
            )
        found = Unset(extent, as_dtype(dtype), bool(dynamic_size))
        buffer = found if element_shape is None else _zeros(found, tuple(element_shape))
        object.__setattr__(self, "buffer", buffer)

    # -- what it is

    @property
    def dtype(self) -> DType:
        """Of the elements."""
        found: DType = self.buffer.dtype
        return found

    @property
    def element_shape(self) -> Shape | None:
        """The shape of each; None as long as it isn't known."""
        if isinstance(self.buffer, Unset):
            return None
        return tuple(self.buffer.type.shape[1:])

    @property
    def dynamic_size(self) -> bool:
        """Whether a number beyond the end makes it longer, before the first one is written."""
        return isinstance(self.buffer, Unset) and self.buffer.dynamic

    def size(self) -> TensorBase:
        """How many elements there are: an int32 tensor."""
        return as_tensor(self._size(), as_dtype("int32"))

    def __repr__(self) -> str:
        each = "" if self.element_shape is None else f" of {shape_text(self.element_shape)}"
        return f"TensorArray({self._size()} {self.dtype.name}{each})"

    def __len__(self) -> int:
        return int(self._size())

    def _size(self) -> Any:
        if isinstance(self.buffer, Unset):
            return self.buffer.size
        return self.buffer.type.shape[0]

    # -- elements

    def write(self, index: Any, value: Any, name: Any = None) -> TensorArray:
        """One with another element of this number."""
        del name
        element = as_tensor(value, self.dtype)
        buffer = self._room(element.type.shape, index)
        self._require_shape(buffer, element.type.shape)
        return _of(_scattered(buffer, [index], shape.expand_dims(element, 0)))

    def read(self, index: Any, name: Any = None) -> TensorBase:
        """The element of this number."""
        del name
        return _gathered(self._buffer("read"), index)

    def gather(self, indices: Any, name: Any = None) -> TensorBase:
        """The elements of these numbers, along a first axis."""
        del name
        return _gathered(self._buffer("gather"), indices)

    def scatter(self, indices: Any, value: Any, name: Any = None) -> TensorArray:
        """One with the elements along the first axis of `value` under these numbers."""
        del name
        elements = as_tensor(value, self.dtype)
        buffer = self._room(elements.type.shape[1:], None)
        self._require_shape(buffer, elements.type.shape[1:])
        return _of(_scattered(buffer, indices, elements))

    def stack(self, name: Any = None) -> TensorBase:
        """All elements along a first axis."""
        del name
        found: TensorBase = self._buffer("stack")
        return found

    def unstack(self, value: Any, name: Any = None) -> TensorArray:
        """One with the elements along the first axis of `value`."""
        del name
        elements = as_tensor(value, self.dtype)
        if not elements.type.shape:
            raise InvalidArgumentError(
                at_user_line("unstack of a tensor without axes [Op:TensorArray]")
            )
        if not isinstance(self.buffer, Unset):
            self._require_shape(self.buffer, elements.type.shape[1:])
        return _of(elements)

    def concat(self, name: Any = None) -> TensorBase:
        """All elements one after the other along their own first axis."""
        del name
        buffer = self._buffer("concat")
        if len(buffer.type.shape) < 2:
            raise InvalidArgumentError(
                at_user_line("concat of elements without axes [Op:TensorArray]")
            )
        first, second, *rest = buffer.type.shape
        found: TensorBase = shape.reshape(buffer, (first * second, *rest))
        return found

    def split(self, value: Any, lengths: Sequence[int], name: Any = None) -> TensorArray:
        """One with parts of `value` along its first axis for elements: of equal lengths."""
        del name
        elements = as_tensor(value, self.dtype)
        parts = [_whole(n, "lengths") for n in lengths]
        if not parts or any(n != parts[0] for n in parts):
            raise InvalidArgumentError(
                at_user_line(f"split into parts of lengths {parts}, not equal [Op:TensorArray]")
            )
        whole = (len(parts), parts[0], *elements.type.shape[1:])
        return self.unstack(shape.reshape(elements, whole))

    def identity(self) -> TensorArray:
        """The same."""
        return self

    def close(self, name: Any = None) -> None:
        """Nothing: for TensorFlow's callers."""
        del name

    # -- the buffer

    def _buffer(self, op: str) -> Any:
        if isinstance(self.buffer, Unset):
            raise InvalidArgumentError(
                at_user_line(
                    f"{op} of a TensorArray whose elements were never written [Op:TensorArray]",
                    "give element_shape",
                )
            )
        return self.buffer

    def _room(self, element: Shape, index: Any) -> Any:
        """The buffer, with room for an element of a known number where it may grow."""
        known = self.buffer
        if not isinstance(known, Unset):
            return known
        if known.dynamic and index is not None:
            needed = _whole(index, "index") + 1
            known = Unset(max(known.size, needed), known.dtype, True)
        return _zeros(known, element)

    @staticmethod
    def _require_shape(buffer: Any, element: Shape) -> None:
        wanted = tuple(buffer.type.shape[1:])
        if tuple(element) != wanted:
            raise InvalidArgumentError(
                at_user_line(
                    f"an element of shape {shape_text(element)} in a TensorArray of elements "
                    f"of shape {shape_text(wanted)} [Op:TensorArray]"
                )
            )


def _of(buffer: Any) -> TensorArray:
    made: TensorArray = object.__new__(TensorArray)
    object.__setattr__(made, "buffer", buffer)
    return made


def _zeros(unset: Unset, element: Shape) -> Any:
    return create.zeros((unset.size, *element), unset.dtype)


def _numbers(indices: Any) -> Any:
    found = as_tensor(indices)
    if not found.type.dtype.is_integer:
        raise InvalidArgumentError(
            at_user_line(f"a TensorArray has integers for numbers, not {found.type}")
        )
    return math.cast(found, int64)


def _gathered(buffer: Any, indices: Any) -> TensorBase:
    found: TensorBase = index.gather(buffer, _numbers(indices))
    return found


def _scattered(buffer: Any, indices: Any, elements: Any) -> Any:
    if isinstance(indices, list) and len(indices) == 1:
        numbers = shape.reshape(_numbers(indices[0]), (1,))
    else:
        numbers = _numbers(indices)
    places = shape.expand_dims(numbers, -1)
    return index.tensor_scatter_nd_update(buffer, places, elements)


def _whole(value: Any, name: str) -> Any:
    if isinstance(value, Dim):
        return value
    try:
        known = value.numpy() if isinstance(value, TensorBase) else value  # type: ignore[attr-defined]
        return operator.index(known)
    except TypeError:
        raise InvalidArgumentError(
            at_user_line(f"{name} of a TensorArray is an integer, not {value!r}")
        ) from None
