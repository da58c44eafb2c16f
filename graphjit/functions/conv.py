"""Convolutions and pooling over 1, 2 or 3 spatial axes, by sliding windows.

An image is [batch, space..., channels] ("NWC", "NHWC", "NDHWC"), or has its channels second
("NCW", ...). A convolution is what neural networks call so: the kernel isn't flipped. The
window at every kernel offset is a strided slice; joined, they make one matrix product.
"""

from __future__ import annotations

import itertools
import math as pymath
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.frozen import dataclass
from graphjit.core.types import Shape, shape_text
from graphjit.ops import assemble, contract, view
from graphjit.ops.reduce import lowest
from graphjit.ops.type_rules import require_kind
from graphjit.tensors.apply import TensorBase, apply, as_tensor, same_dtype, wrap

from . import math
from .create import zeros
from .shape import concat, moveaxis, pad, reshape, reverse, slice_strided, swapaxes

Pair = tuple[int, int]


def _spread(value: Any, count: int, first: bool, what: str, op: str) -> list[int]:
    """One positive number a spatial axis, from one, `count`, or TensorFlow's count + 2."""
    listed = list(value) if isinstance(value, (tuple, list)) else [value]
    if len(listed) == 1:
        listed = listed * count
    if len(listed) == count + 2:  # 1 for the batch and the channels, wherever they stand
        others, listed = _without_space(listed, first)
        if others != [1, 1]:
            raise InvalidArgumentError(
                at_user_line(f"no {what} along batch and channels: {value!r} [Op:{op}]")
            )
    if len(listed) != count or any(
        isinstance(n, bool) or not hasattr(n, "__index__") or n < 1 for n in listed
    ):
        raise InvalidArgumentError(
            at_user_line(f"{what} must be {count} positive integers, not {value!r} [Op:{op}]")
        )
    return [int(n) for n in listed]


def _without_space(entries: list[Any], first: bool) -> tuple[list[Any], list[Any]]:
    """Of one entry for each axis: those of batch and channels, and those of space."""
    if first:
        return entries[:2], entries[2:]
    return [entries[0], entries[-1]], entries[1:-1]


def _channels_first(data_format: str | None, count: int, op: str) -> bool:
    space = "DHW"[3 - count :]
    if data_format in (None, f"N{space}C"):
        return False
    if data_format != f"NC{space}":
        raise InvalidArgumentError(
            at_user_line(
                f"data_format must be 'N{space}C' or 'NC{space}', not {data_format!r} [Op:{op}]"
            )
        )
    return True


def _image(x: Any, count: int, op: str) -> TensorBase:
    tensor = as_tensor(x)
    if tensor.ndim != count + 2:
        raise InvalidArgumentError(
            at_user_line(
                f"input must be {count + 2}-dimensional, not of shape "
                f"{shape_text(tensor.type.shape)} [Op:{op}]"
            )
        )
    return tensor


def _paddings(
    padding: Any,
    space: Shape,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    first: bool,
    op: str,
) -> list[Pair]:
    """Elements added before and after each spatial axis."""
    if isinstance(padding, str):
        name = padding.upper()
        if name == "VALID":
            return [(0, 0)] * len(space)
        if name == "SAME":
            same = []
            for n, k, s, d in zip(space, kernel, strides, dilations, strict=True):
                total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
                same.append((total // 2, total - total // 2))
            return same
    elif isinstance(padding, (tuple, list)):
        given = [tuple(p) for p in padding if isinstance(p, (tuple, list)) and len(p) == 2]
        if len(given) == len(padding) == len(space) + 2:
            others, pairs = _without_space(given, first)
            given = pairs if others == [(0, 0)] * 2 else []
        if len(given) == len(space) and all(a >= 0 and b >= 0 for a, b in given):
            return [(int(a), int(b)) for a, b in given]
    raise InvalidArgumentError(
        at_user_line(
            f"padding must be 'VALID', 'SAME' or pairs of counts, not {padding!r} [Op:{op}]"
        )
    )


@dataclass(frozen=True)
class _Space:
    """The spatial axes of an image: how many, and whether channels stand before them.

    op: the op that errors name.
    """

    count: int
    first: bool
    op: str

    def spread(self, value: Any, what: str) -> list[int]:
        """One positive number a spatial axis; 1 for None."""
        given = 1 if value is None else value
        return _spread(given, self.count, self.first, what, self.op)

    def windows(
        self, x: TensorBase, kernel: Sequence[int], strides: Any, padding: Any, dilations: Any,
        fill: Any = 0,
    ) -> _Windows:  # fmt: skip
        """An image with its channels last as windows."""
        steps, gaps = self.spread(strides, "strides"), self.spread(dilations, "dilations")
        return _Windows(x, kernel, steps, padding, gaps, self.first, fill, self.op)

    def restored(self, image: Any) -> Any:
        """An image with channels last, as they stood in what was given."""
        return moveaxis(image, -1, 1) if self.first else image


def _laid_out(
    x: Any, count: int, data_format: str | None, op: str
) -> tuple[TensorBase, _Space]:
    """An image with its channels last, and how it was."""
    image = _image(x, count, op)
    space = _Space(count, _channels_first(data_format, count, op), op)
    return moveaxis(image, 1, -1) if space.first else image, space


def _spatial_axes(kernel: TensorBase, op: str) -> int:
    """How many spatial axes filters have."""
    count = kernel.ndim - 2
    if count not in (1, 2, 3):
        raise InvalidArgumentError(
            at_user_line(
                f"filters of shape {shape_text(kernel.type.shape)}: 1, 2 or 3 spatial axes "
                f"[Op:{op}]"
            )
        )
    return count


class _Windows:
    """An image [batch, space..., channels] as the windows that a kernel slides over.

    Iterating gives (kernel offset, [batch, out..., channels]), a slice for each offset.
    """

    def __init__(
        self,
        x: TensorBase,
        kernel: Sequence[int],
        strides: Sequence[int],
        padding: Any,
        dilations: Sequence[int],
        first: bool,
        fill: Any,
        op: str,
    ) -> None:
        space = x.type.shape[1:-1]
        self.kernel, self.strides, self.dilations = kernel, strides, dilations
        self.pairs = _paddings(padding, space, kernel, strides, dilations, first, op)
        self.image: TensorBase = pad(x, [(0, 0), *self.pairs, (0, 0)], constant_values=fill)
        self.out: list[int] = []
        for n, k, s, d in zip(
            self.image.type.shape[1:-1], kernel, strides, dilations, strict=True
        ):
            reach = (k - 1) * d + 1
            if n < reach:
                raise InvalidArgumentError(
                    at_user_line(
                        f"Computed output size would be negative: the input has {n} elements "
                        f"and the window spans {reach} [Op:{op}]"
                    )
                )
            self.out.append((n - reach) // s + 1)

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        batch, *_, channels = self.image.type.shape
        for offset in itertools.product(*map(range, self.kernel)):
            starts = (0, *(o * d for o, d in zip(offset, self.dilations, strict=True)), 0)
            sizes, steps = (batch, *self.out, channels), (1, *self.strides, 1)
            if 0 in sizes:
                starts = (0,) * len(sizes)
            yield offset, slice_strided(self.image, starts, sizes, steps)


def convolution(
    input: Any,
    filters: Any,
    strides: Any = 1,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
    op: str = "Convolution",
) -> Any:
    """Sliding products of [batch, space..., c] with filters [kernel..., c / groups, o].

    The result is [batch, out..., o]. Where filters have fewer input channels than the image,
    both channels are split into groups.
    """
    image, kernel = same_dtype(input, filters)
    x, space = _laid_out(image, _spatial_axes(kernel, op), data_format, op)
    *extents, depth, outputs = kernel.type.shape
    channels = x.type.shape[-1]
    if depth == 0 or channels % depth or outputs % (channels // depth or 1):
        raise InvalidArgumentError(
            at_user_line(
                f"input depth must be evenly divisible by filter depth: {channels} vs {depth}, "
                f"with {outputs} outputs [Op:{op}]"
            )
        )
    windows = space.windows(x, extents, strides, padding, dilations)
    columns = concat([piece for _, piece in windows], -1) if pymath.prod(extents) else None
    if columns is None:
        result = zeros((x.type.shape[0], *windows.out, outputs), x.dtype)
    else:
        result = _grouped(columns, kernel, x.type.shape[0], windows.out, channels)
    return space.restored(result)


def _grouped(
    columns: Any, kernel: TensorBase, batch: int, out: list[int], channels: int
) -> Any:
    """Windows [batch, out..., kernel * channels] times the kernel, group by group."""
    *extents, depth, outputs = kernel.type.shape
    groups = channels // depth
    offsets, rows = pymath.prod(extents), batch * pymath.prod(out)
    if groups == 1:
        left = reshape(columns, (rows, offsets * channels))
        right = reshape(kernel, (offsets * channels, outputs))
        return reshape(apply(contract.matmul, left, right), (batch, *out, outputs))
    split = reshape(columns, (rows, offsets, groups, depth))
    left = reshape(moveaxis(split, 2, 0), (groups, rows, offsets * depth))
    each = outputs // groups
    right = moveaxis(reshape(kernel, (offsets * depth, groups, each)), 1, 0)
    product = moveaxis(apply(contract.matmul, left, right), 0, 1)
    return reshape(product, (batch, *out, outputs))


def _dimensions(filters: Any, count: int, op: str, what: str = "filter") -> TensorBase:
    kernel = as_tensor(filters)
    if kernel.ndim != count + 2:
        raise InvalidArgumentError(
            at_user_line(
                f"{what} must be {count + 2}-dimensional, not of shape "
                f"{shape_text(kernel.type.shape)} [Op:{op}]"
            )
        )
    return kernel


# By the number of spatial axes: these, and their letters in formats of data.
_AXES = {1: ("width", "W"), 2: ("height, width", "HW"), 3: ("depth, height, width", "DHW")}


def _fixed_rank(count: int, name: str) -> Callable[..., Any]:
    op = name.capitalize().replace("d", "D")
    space, letters = _AXES[count]

    def function(
        input: Any,
        filters: Any,
        strides: Any = 1,
        padding: Any = "VALID",
        data_format: str | None = None,
        dilations: Any = None,
    ) -> Any:
        image, kernel = same_dtype(input, filters)
        kernel = _dimensions(kernel, count, op)
        return convolution(image, kernel, strides, padding, data_format, dilations, op)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Sliding products of [batch, {space}, c] with filters [{space}, c, o].\n\n"
        f"data_format: 'N{letters}C' (if None) or 'NC{letters}'. padding: 'VALID', 'SAME', "
        "pairs."
    )
    return function


conv1d = _fixed_rank(1, "conv1d")
conv2d = _fixed_rank(2, "conv2d")
conv3d = _fixed_rank(3, "conv3d")


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any = 1,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """Each channel with its own kernels: [batch, h, w, c], [kh, kw, c, m] give c m channels."""
    op = "DepthwiseConv2dNative"
    x, kernel = same_dtype(input, filter)
    kernel = _dimensions(kernel, 2, op)
    x, space = _laid_out(x, 2, data_format, op)
    height, width, depth, multiplier = kernel.type.shape
    batch, *_, channels = x.type.shape
    if depth != channels:
        raise InvalidArgumentError(
            at_user_line(
                f"input and filter must have the same depth: {channels} vs {depth} [Op:{op}]"
            )
        )
    windows = space.windows(x, (height, width), strides, padding, dilations)
    total: Any = None
    for (i, j), piece in windows:
        weights = (
            reshape(
                slice_strided(kernel, (i, j, 0, 0), (1, 1, channels, multiplier), (1, 1, 1, 1)),
                (channels, multiplier),
            )
            if kernel.type.size
            else zeros((channels, multiplier), x.dtype)
        )
        term = math.multiply(reshape(piece, (*piece.type.shape, 1)), weights)
        total = term if total is None else math.add(total, term)
    if total is None:
        total = zeros((batch, *windows.out, channels, multiplier), x.dtype)
    result = reshape(total, (batch, *windows.out, channels * multiplier))
    return space.restored(result)


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any = 1,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """depthwise_conv2d, then channels mixed by a pointwise filter [1, 1, c m, o]."""
    middle = depthwise_conv2d(input, depthwise_filter, strides, padding, data_format, dilations)
    return conv2d(middle, pointwise_filter, 1, "VALID", data_format)


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """The transpose of a convolution: [batch, space..., c], filters [kernel..., o, c].

    The result has the output shape [batch, out..., o], such that the convolution of it with
    these filters would have the input's shape. output_shape may be out... alone.
    """
    op = "ConvTranspose"
    x, kernel = same_dtype(input, filters)
    count = _spatial_axes(kernel, op)
    x, space = _laid_out(x, count, data_format, op)
    steps, gaps = space.spread(strides, "strides"), space.spread(dilations, "dilations")
    wanted = list(output_shape)
    if len(wanted) == count + 2:
        _, wanted = _without_space(wanted, space.first)
    *extents, _, depth = kernel.type.shape
    batch, *inner, channels = x.type.shape
    if channels != depth:
        raise InvalidArgumentError(
            at_user_line(f"input and filter depth differ: {channels} vs {depth} [Op:{op}]")
        )
    pairs = _paddings(padding, tuple(wanted), extents, steps, gaps, space.first, op)
    for n, m, k, s, d, (low, high) in zip(
        wanted, inner, extents, steps, gaps, pairs, strict=True
    ):
        reach = (k - 1) * d + 1
        if n + low + high < reach or (n + low + high - reach) // s + 1 != m:
            raise InvalidArgumentError(
                at_user_line(
                    f"no convolution of shape {shape_text(wanted)} gives the input's shape "
                    f"{shape_text(inner)} [Op:{op}]"
                )
            )
    # The input's elements s apart, and room round them for the kernel's whole reach.
    before = [(k - 1) * d - low for k, d, (low, _) in zip(extents, gaps, pairs, strict=True)]
    full = [n + (k - 1) * d for n, k, d in zip(wanted, extents, gaps, strict=True)]
    base = apply(view.broadcast, as_tensor(False, x.dtype), shape=(batch, *full, channels))
    starts, strides_ = (0, *before, 0), (1, *steps, 1)
    spaced = apply(assemble.place, base, x, starts=starts, steps=strides_)
    turned = swapaxes(reverse(kernel, list(range(count))), -1, -2)
    result = convolution(spaced, turned, 1, "VALID", None, gaps, op)
    return space.restored(result)


def _transpose_of_rank(count: int) -> Callable[..., Any]:
    op = f"Conv{count}DBackpropInput"
    space, letters = _AXES[count]

    def function(
        input: Any,
        filters: Any,
        output_shape: Any,
        strides: Any,
        padding: Any = "SAME",
        data_format: str | None = None,
        dilations: Any = None,
    ) -> Any:
        kernel = _dimensions(filters, count, op)
        return conv_transpose(
            input, kernel, output_shape, strides, padding, data_format, dilations
        )

    function.__name__ = function.__qualname__ = f"conv{count}d_transpose"
    function.__doc__ = (
        f"The transpose of conv{count}d: [batch, {space}, c] and filters [{space}, o, c].\n\n"
        f"data_format: 'N{letters}C' (if None) or 'NC{letters}'. See conv_transpose."
    )
    return function


conv1d_transpose = _transpose_of_rank(1)
conv2d_transpose = _transpose_of_rank(2)
conv3d_transpose = _transpose_of_rank(3)


def _pooled(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str | None,
    dilations: Any,
    largest: bool,
) -> Any:
    op = "MaxPool" if largest else "AvgPool"
    x = as_tensor(input)
    require_kind(x.dtype, "iuf" if largest else "f", op)
    count = x.ndim - 2
    if count not in (1, 2, 3):
        raise InvalidArgumentError(
            at_user_line(
                f"input must have 1, 2 or 3 spatial axes, not the shape "
                f"{shape_text(x.type.shape)} [Op:{op}]"
            )
        )
    x, space = _laid_out(x, count, data_format, op)
    kernel = space.spread(ksize, "ksize")
    steps = kernel if strides is None else strides
    fill = lowest(x.dtype) if largest else 0
    windows = space.windows(x, kernel, steps, padding, dilations, fill)
    combine = math.maximum if largest else math.add
    result: Any = None
    for _, piece in windows:
        result = piece if result is None else combine(result, piece)
    if not largest:
        result = math.divide(result, _counts(x, windows))
    return space.restored(result)


def _counts(x: TensorBase, windows: _Windows) -> Any:
    """How many elements of the image, not of its padding, each window holds: [out..., 1]."""
    total: Any = None
    rank = len(windows.out)
    for axis, (low, _) in enumerate(windows.pairs):
        places = np.arange(windows.out[axis]) * windows.strides[axis] - low
        inside = places[:, None] + np.arange(windows.kernel[axis]) * windows.dilations[axis]
        held = ((inside >= 0) & (inside < x.type.shape[axis + 1])).sum(1)
        column = [-1 if k == axis else 1 for k in range(rank + 1)]
        vector = wrap(held.reshape(column).astype(x.dtype.dtype))
        total = vector if total is None else math.multiply(total, vector)
    return total


def max_pool(
    input: Any,
    ksize: Any,
    strides: Any = None,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """The largest element of each window: [batch, space..., c] gives [batch, out..., c].

    ksize: the window's extents. strides: those too if None. Padding is never the largest.
    """
    return _pooled(input, ksize, strides, padding, data_format, dilations, True)


def avg_pool(
    input: Any,
    ksize: Any,
    strides: Any = None,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """The mean of each window's elements, padding not counted: as max_pool."""
    return _pooled(input, ksize, strides, padding, data_format, dilations, False)


def _pool_of_rank(count: int, largest: bool) -> Callable[..., Any]:
    name = ("max" if largest else "avg") + f"_pool{count}d"
    space, letters = _AXES[count]

    def function(
        input: Any,
        ksize: Any,
        strides: Any = None,
        padding: Any = "VALID",
        data_format: str | None = None,
        dilations: Any = None,
    ) -> Any:
        x = _dimensions(input, count, "MaxPool" if largest else "AvgPool", "input")
        return _pooled(x, ksize, strides, padding, data_format, dilations, largest)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"{name[:3]}_pool of [batch, {space}, c].\n\n"
        f"data_format: 'N{letters}C' (if None) or 'NC{letters}'. strides: ksize if None."
    )
    return function


max_pool1d, max_pool2d, max_pool3d = (_pool_of_rank(n, True) for n in (1, 2, 3))
avg_pool1d, avg_pool2d, avg_pool3d = (_pool_of_rank(n, False) for n in (1, 2, 3))


def pool(
    input: Any,
    window_shape: Any,
    pooling_type: str,
    strides: Any = None,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
) -> Any:
    """max_pool or avg_pool, by pooling_type "MAX" or "AVG"; strides are 1 if None."""
    if pooling_type.upper() not in ("MAX", "AVG"):
        raise InvalidArgumentError(
            at_user_line(f"pooling_type must be 'MAX' or 'AVG', not {pooling_type!r} [Op:Pool]")
        )
    largest = pooling_type.upper() == "MAX"
    steps = 1 if strides is None else strides
    return _pooled(input, window_shape, steps, padding, data_format, dilations, largest)


__all__ = [
    "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "conv1d", "conv1d_transpose",
    "conv2d", "conv2d_transpose", "conv3d", "conv3d_transpose", "conv_transpose",
    "convolution", "depthwise_conv2d", "max_pool", "max_pool1d", "max_pool2d", "max_pool3d",
    "pool", "separable_conv2d",
]  # fmt: skip
