"""Types of tensors: dtypes, shapes, and the rules by which shapes meet.

Takes nothing from the rest of graphjit but its errors; every other module takes its types
from here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from .dims import Dim, Undecided
from .errors import InvalidArgumentError, at_user_line
from .frozen import dataclass

Shape = tuple[int, ...]
Array = np.ndarray[Any, np.dtype[Any]]
MAX_BYTES = 2**63 - 1
MAX_RANK = 64  # NumPy's own, since 2.0
_TYPE = type  # DType has an attribute of that name, as NumPy's dtypes have


class DType:
    """An element type. Equal to NumPy's dtype of the same name and to the name itself.

    name: NumPy's name, "float32". short: as graph text has it, "f32". tensorflow: as
    TensorFlow's messages have it, "float". kind: NumPy's kind letter, one of b i u f c.
    size: bytes of one element.
    """

    __slots__ = ("_numpy", "kind", "name", "short", "size", "tensorflow")

    def __init__(self, name: str, short: str, tensorflow: str, kind: str, size: int) -> None:
        self.name = name
        self.short = short
        self.tensorflow = tensorflow
        self.kind = kind
        self.size = size
        self._numpy: np.dtype[Any] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype (bfloat16 comes from ml_dtypes)."""
        if self._numpy is None:
            if self.name == "bfloat16":
                import ml_dtypes

                self._numpy = np.dtype(ml_dtypes.bfloat16)
            else:
                self._numpy = np.dtype(self.name)
        return self._numpy

    __numpy_dtype__ = dtype

    @property
    def itemsize(self) -> int:
        """Bytes of one element, under NumPy's name."""
        return self.size

    @property
    def type(self) -> Any:
        """NumPy's scalar class."""
        return self.dtype.type

    @property
    def char(self) -> str:
        """NumPy's one-letter code."""
        return self.dtype.char

    @property
    def as_numpy_dtype(self) -> Any:
        """NumPy's scalar class, under TensorFlow's name for it."""
        return self.dtype.type

    @property
    def is_floating(self) -> bool:
        """Whether this is a real floating-point type."""
        return self.kind == "f"

    @property
    def is_narrow(self) -> bool:
        """True for floats of 16 bits, whose sums are made in float32."""
        return self.kind == "f" and self.size == 2

    @property
    def is_integer(self) -> bool:
        """Whether this is an integer type; bool is not one."""
        return self.kind in "iu"

    @property
    def is_complex(self) -> bool:
        """Whether this is a complex type."""
        return self.kind == "c"

    @property
    def is_bool(self) -> bool:
        """Whether this is bool."""
        return self.kind == "b"

    @property
    def is_inexact(self) -> bool:
        """Whether this is a floating-point or complex type."""
        return self.kind in "fc"

    @property
    def real(self) -> DType:
        """The type of a real part: float32 of complex64, itself of a real type."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    @property
    def bits(self) -> int:
        """Bits of one element."""
        return self.size * 8

    @property
    def min(self) -> Any:
        """The smallest finite value."""
        return self._limits()[0]

    @property
    def max(self) -> Any:
        """The largest finite value."""
        return self._limits()[1]

    def _limits(self) -> tuple[Any, Any]:
        if self.is_bool:
            return False, True
        if self.is_integer:
            low = 0 if self.kind == "u" else -(2 ** (self.bits - 1))
            return low, 2 ** (self.bits - (self.kind == "i")) - 1
        if self.name == "bfloat16":
            import ml_dtypes

            info: Any = ml_dtypes.finfo(self.dtype)
        else:
            info = np.finfo(self.dtype)
        return float(info.min), float(info.max)

    def __repr__(self) -> str:
        return f"gj.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, DType):
            return False
        if isinstance(other, str):
            return self.name == other
        if isinstance(other, (np.dtype, _TYPE)):
            try:
                return _BY_NUMPY_NAME.get(np.dtype(other).name) is self
            except TypeError:
                return False
        return NotImplemented

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return as_dtype, (self.name,)


bool_ = DType("bool", "bool", "bool", "b", 1)
int8 = DType("int8", "i8", "int8", "i", 1)
int16 = DType("int16", "i16", "int16", "i", 2)
int32 = DType("int32", "i32", "int32", "i", 4)
int64 = DType("int64", "i64", "int64", "i", 8)
uint8 = DType("uint8", "u8", "uint8", "u", 1)
uint16 = DType("uint16", "u16", "uint16", "u", 2)
uint32 = DType("uint32", "u32", "uint32", "u", 4)
uint64 = DType("uint64", "u64", "uint64", "u", 8)
float16 = DType("float16", "f16", "half", "f", 2)
bfloat16 = DType("bfloat16", "bf16", "bfloat16", "f", 2)
float32 = DType("float32", "f32", "float", "f", 4)
float64 = DType("float64", "f64", "double", "f", 8)
complex64 = DType("complex64", "c64", "complex64", "c", 8)
complex128 = DType("complex128", "c128", "complex128", "c", 16)

DTYPES = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
    float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip
BY_SHORT = {dtype.short: dtype for dtype in DTYPES}
_BY_NUMPY_NAME = {dtype.name: dtype for dtype in DTYPES}
_BY_PYTHON = {bool: bool_, int: int32, float: float32, complex: complex128}
# bfloat16 carries no letter of its own, so NumPy gives it kind V: look types up by name.
_BY_NUMPY: dict[Any, DType] = {d.dtype: d for d in DTYPES if d.name != "bfloat16"}

# Of two integers of C's that are as wide, the one that isn't NumPy's int64 or uint64: elements
# of its arrays have another type, though dtypes are equal.
SECOND_LONGS: Final = frozenset(
    code for code in "lLqQ" if np.dtype(code).num not in {d.dtype.num for d in (int64, uint64)}
)


def as_dtype(value: Any) -> DType:
    """The DType that a DType, NumPy dtype, Python type or name means.

    Python's float, int and complex mean TensorFlow's defaults: float32, int32, complex128.
    Raises InvalidArgumentError for types that graphjit has no tensors of.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, np.dtype) and value in _BY_NUMPY:
        return _BY_NUMPY[value]
    if isinstance(value, type) and value in _BY_PYTHON:
        return _BY_PYTHON[value]
    if isinstance(value, str):
        found = _BY_NUMPY_NAME.get(value) or BY_SHORT.get(value)
        found = found or {"half": float16, "double": float64}.get(value)
        if found is not None:
            return found
    try:
        dtype = np.dtype(value)
    except (TypeError, ValueError):
        dtype = None
    if dtype is not None:
        found = _BY_NUMPY.get(dtype) or _BY_NUMPY_NAME.get(dtype.name)
        if found is not None:
            return found
        if dtype.kind in "SU" or dtype.kind == "T":
            raise InvalidArgumentError(
                at_user_line("strings are not supported: graphjit has tensors of numbers only")
            )
    raise InvalidArgumentError(
        at_user_line(
            f"no tensors of dtype {value!r}",
            "the dtypes are " + ", ".join(d.name for d in DTYPES),
        )
    )


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape and dtype of a tensor: all that is known of it while tracing."""

    shape: Shape
    dtype: DType

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements, stored densely."""
        return self.size * self.dtype.size

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape with another dtype."""
        return TensorType(self.shape, dtype)

    def with_shape(self, shape: Iterable[int]) -> TensorType:
        """The same dtype with another shape."""
        return TensorType(tuple(shape), self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype.short}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class TupleType:
    """Types of the several results of one node."""

    items: tuple[TensorType, ...]

    def __str__(self) -> str:
        return "(" + ", ".join(map(str, self.items)) + ")"


class TensorShape(tuple[int, ...]):
    """A shape that prints as TensorFlow prints it: `TensorShape([2, 3])`, as str `(2, 3)`.

    Equal to a tuple or a list of the same extents.
    """

    __slots__ = ()

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self)

    @property
    def ndims(self) -> int:
        """Number of dimensions, under its older name."""
        return len(self)

    def as_list(self) -> list[int]:
        """The extents as a list."""
        return list(self)

    def num_elements(self) -> int:
        """Number of elements."""
        return math.prod(self)

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, tuple(other) if isinstance(other, list) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __repr__(self) -> str:
        return f"TensorShape({list(self)!r})"

    def __str__(self) -> str:
        return tuple.__repr__(self)


class TensorSpec:
    """Shape and dtype that an argument must have; None for an extent that may be any."""

    __slots__ = ("dtype", "name", "shape")

    def __init__(self, shape: Any, dtype: Any = "float32", name: str | None = None) -> None:
        self.shape = _spec_shape(shape)
        self.dtype = as_dtype(dtype)
        self.name = name

    def accepts(self, type: TensorType) -> bool:
        """Whether a tensor of this type fits."""
        return (
            type.dtype is self.dtype
            and len(type.shape) == len(self.shape)
            and all(n is None or n == m for n, m in zip(self.shape, type.shape, strict=True))
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorSpec) and (self.shape, self.dtype) == (
            other.shape,
            other.dtype,
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        return f"TensorSpec(shape={self.shape}, dtype={self.dtype!r})"


def _spec_shape(shape: Any) -> tuple[int | None, ...]:
    if not isinstance(shape, (tuple, list)):
        raise InvalidArgumentError(
            at_user_line(f"a TensorSpec's shape is a list of extents, not {shape!r}")
        )
    extents = tuple(n if n is None else as_int(n, "an extent", "TensorSpec") for n in shape)
    if any(n is not None and n < 0 for n in extents):
        raise InvalidArgumentError(at_user_line(f"a negative extent in {list(extents)}"))
    return extents


def shape_text(shape: Sequence[int]) -> str:
    """A shape as TensorFlow's messages have it: `[2,3]`."""
    return "[" + ",".join(map(str, shape)) + "]"


def _negative(extent: int) -> bool:
    """Whether an extent is below 0; of a symbolic one after its trace only if that is sure."""
    try:
        return extent < 0
    except Undecided:
        return False


def check_size(shape: Sequence[int], dtype: DType, op: str) -> None:
    """Refuse a shape whose bytes can't be addressed, or with a negative extent."""
    for extent in shape:
        if _negative(extent):
            raise InvalidArgumentError(
                at_user_line(f"Dimension {extent} must be >= 0 [Op:{op}]")
            )
    if len(shape) > MAX_RANK:
        raise InvalidArgumentError(
            at_user_line(f"{len(shape)} dimensions: there are {MAX_RANK} at most [Op:{op}]")
        )
    # NumPy can't address such a shape even where another extent is 0; what symbolic extents
    # come to is known, and looked at, when memory is asked for
    if math.prod(n for n in shape if not isinstance(n, Dim) and n) * dtype.size > MAX_BYTES:
        raise InvalidArgumentError(
            at_user_line(
                f"a tensor of shape {shape_text(shape)} and dtype {dtype.name} has more bytes "
                f"than can be addressed [Op:{op}]"
            )
        )


def broadcast_shapes(shapes: Sequence[Shape], op: str) -> Shape:
    """The shape to which NumPy's rule broadcasts the given ones; else InvalidArgumentError."""
    if len(set(shapes)) == 1:
        return shapes[0]
    rank = max(map(len, shapes))
    result: list[int] = [1] * rank
    for shape in shapes:
        for axis, extent in enumerate(shape, rank - len(shape)):
            if (
                result[axis] == 1 and type(result[axis]) is int
            ):  # nothing is asked of an extent that is alone
                result[axis] = extent
                continue
            if extent == 1 or extent == result[axis]:
                continue
            if result[axis] != 1:
                texts = " vs. ".join(map(shape_text, shapes))
                raise InvalidArgumentError(
                    at_user_line(
                        f"Incompatible shapes: {texts} [Op:{op}]: axis {axis} is "
                        f"{result[axis]} and {extent}"
                    )
                )
            result[axis] = extent
    return tuple(result)


def as_int(value: Any, what: str, op: str) -> int:
    """A Python int from whatever stands for one, which a bool doesn't."""
    if isinstance(value, Dim):
        return value
    try:
        if not isinstance(value, (bool, np.bool_)):
            return operator.index(value)
    except TypeError:
        pass
    raise InvalidArgumentError(
        at_user_line(f"{what} must be an integer, not {value!r} [Op:{op}]")
    )


def normalize_axis(axis: Any, ndim: int, op: str) -> int:
    """An axis in range(ndim), from one that may count from the end."""
    index = as_int(axis, "an axis", op)
    if not -ndim <= index < ndim:
        raise InvalidArgumentError(
            at_user_line(
                f"Invalid reduction dimension: axis {index} is out of range for a tensor of "
                f"rank {ndim} [Op:{op}]"
            )
        )
    return index % ndim


def normalize_axes(axes: Any, ndim: int, op: str) -> tuple[int, ...]:
    """Sorted axes from None (all), one axis or several; a repeated one is an error."""
    if axes is None:
        return tuple(range(ndim))
    if isinstance(axes, np.ndarray):
        axes = axes.tolist()
    if not isinstance(axes, (tuple, list)):
        axes = (axes,)
    found = sorted(normalize_axis(axis, ndim, op) for axis in axes)
    if len(set(found)) != len(found):
        raise InvalidArgumentError(
            at_user_line(f"an axis is given twice in {tuple(axes)} [Op:{op}]")
        )
    return tuple(found)
