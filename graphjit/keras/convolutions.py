"""Convolutions and pooling."""

from __future__ import annotations

from typing import Any

from graphjit.functions import conv

from .settings import channels, invalid
from .tensors import int_shape

__all__ = [
    "conv1d", "conv2d", "conv2d_transpose", "conv3d", "depthwise_conv2d", "pool2d", "pool3d",
    "separable_conv2d",
]  # fmt: skip


def _format(data_format: str | None, count: int) -> str:
    space = "DHW"[3 - count :]
    return f"NC{space}" if channels(data_format) == "channels_first" else f"N{space}C"


def _padding(padding: str) -> str:
    if padding not in ("same", "valid"):
        raise invalid(f"Invalid padding: {padding!r}")
    return padding.upper()


def conv1d(
    x: Any,
    kernel: Any,
    strides: int = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int = 1,
) -> Any:
    """Sliding products of [batch, steps, c] with a kernel [k, c, o]; or "causal" padding."""
    pads: Any
    if padding == "causal":
        pads = [((int_shape(kernel)[0] - 1) * dilation_rate, 0)]
    else:
        pads = _padding(padding)
    return conv.conv1d(x, kernel, strides, pads, _format(data_format, 1), dilation_rate)


def conv2d(
    x: Any,
    kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Sliding products of images with a kernel [kh, kw, c, o]."""
    layout = _format(data_format, 2)
    return conv.conv2d(x, kernel, strides, _padding(padding), layout, dilation_rate)


def conv3d(
    x: Any,
    kernel: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1, 1),
) -> Any:
    """Sliding products of volumes with a kernel [kd, kh, kw, c, o]."""
    layout = _format(data_format, 3)
    return conv.conv3d(x, kernel, strides, _padding(padding), layout, dilation_rate)


def conv2d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """The transpose of conv2d, with a kernel [kh, kw, o, c]."""
    layout = _format(data_format, 2)
    return conv.conv2d_transpose(
        x, kernel, output_shape, strides, _padding(padding), layout, dilation_rate
    )


def depthwise_conv2d(
    x: Any,
    depthwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Each channel of images with its own kernels [kh, kw, c, m]."""
    layout = _format(data_format, 2)
    return conv.depthwise_conv2d(
        x, depthwise_kernel, strides, _padding(padding), layout, dilation_rate
    )


def separable_conv2d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """depthwise_conv2d, then channels mixed by a kernel [1, 1, c m, o]."""
    layout = _format(data_format, 2)
    return conv.separable_conv2d(
        x, depthwise_kernel, pointwise_kernel, strides, _padding(padding), layout, dilation_rate
    )


def _pool(
    x: Any, size: Any, strides: Any, padding: str, data_format: str | None, mode: str
) -> Any:
    if mode not in ("max", "avg"):
        raise invalid(f"Invalid pooling mode: {mode!r}")
    routine = conv.max_pool if mode == "max" else conv.avg_pool
    return routine(x, size, strides, _padding(padding), _format(data_format, len(size)))


def pool2d(
    x: Any,
    pool_size: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    pool_mode: str = "max",
) -> Any:
    """The largest element or the mean ("avg") of each window of images."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode)


def pool3d(
    x: Any,
    pool_size: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str | None = None,
    pool_mode: str = "max",
) -> Any:
    """The largest element or the mean ("avg") of each window of volumes."""
    return _pool(x, pool_size, strides, padding, data_format, pool_mode)
