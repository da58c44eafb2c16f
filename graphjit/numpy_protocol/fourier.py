"""The functions of np.fft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphjit.core.errors import DTypeError, ShapeError, at_user_line
from graphjit.core.types import as_dtype
from graphjit.functions import signal

from .promotion import (
    Handler,
    array,
    axes_of,
    cast,
    indexed_axis,
    refuse,
    static_int,
    static_ints,
    unsupported,
)


def _wave(a: Any, real: bool) -> Any:
    """An operand of a transform: real or complex, of the width that NumPy gives it."""
    x = array(a)
    dtype = x.type.dtype
    if real and dtype.is_complex:
        raise DTypeError(at_user_line("a transform of real numbers got complex ones"))
    sample = np.fft.fft(np.zeros(1, dtype.dtype)).dtype
    wide = as_dtype(sample)
    return cast(x, wide.real if real else wide)


def _transform(name: str) -> Handler:
    function = getattr(signal, name)

    def handler(
        a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None
    ) -> Any:
        refuse(out=(out,), norm=(norm, "backward", "ortho", "forward"))
        x = _wave(a, name == "rfft")
        points = None if n is None else static_int(n)
        if points is not None and points < 1:
            raise ShapeError(
                at_user_line(f"Invalid number of FFT data points ({points}) specified.")
            )
        result = function(x, points, indexed_axis(axis, x.ndim), norm)
        sample = getattr(np.fft, name)(np.zeros(2, array(a).type.dtype.dtype))
        return cast(result, as_dtype(sample.dtype))

    return handler


def _transforms(name: str, default: Any) -> Handler:
    function = getattr(signal, name)

    def handler(
        a: Any, s: Any = None, axes: Any = default, norm: Any = None, out: Any = None
    ) -> Any:
        refuse(out=(out,), norm=(norm, "backward", "ortho", "forward"))
        if axes is not None and not isinstance(axes, (tuple, list)):
            raise unsupported("a transform along what isn't a tuple of axes")
        x = _wave(a, name.startswith("rfft"))
        if s is not None and axes is None:
            raise unsupported("a transform of given lengths along no given axes")
        places = axes_of(axes, x.ndim)
        if not places or len(set(places)) != len(places):
            raise unsupported("a transform along these axes")
        points = None if s is None else _points(s, x, places)
        result = function(x, points, places, norm)
        few = np.zeros((2,) * len(places), array(a).type.dtype.dtype)
        sample = getattr(np.fft, name)(few, axes=tuple(range(few.ndim)))
        return cast(result, as_dtype(sample.dtype))

    return handler


def _points(s: Any, x: Any, places: Any) -> list[int]:
    """How many points there are along axes; -1: as many as there were."""
    if not isinstance(s, (tuple, list)):
        raise unsupported("a transform of what isn't a tuple of lengths")
    if len(s) != len(places):
        raise ShapeError(at_user_line("Shape and axes have different lengths."))
    found = [
        x.type.shape[k] if n == -1 else n for n, k in zip(static_ints(s), places, strict=True)
    ]
    for n in found:
        if n < 1:
            raise ShapeError(
                at_user_line(f"Invalid number of FFT data points ({n}) specified.")
            )
    return found


def _shift(function: Callable[..., Any]) -> Handler:
    def handler(x: Any, axes: Any = None) -> Any:
        t = array(x)
        if not t.ndim:
            raise unsupported("a shift of a number")
        return function(t, list(axes_of(axes, t.ndim)))

    return handler


FUNCTIONS: dict[Any, Handler] = {
    np.fft.fft: _transform("fft"),
    np.fft.ifft: _transform("ifft"),
    np.fft.rfft: _transform("rfft"),
    np.fft.irfft: _transform("irfft"),
    np.fft.fft2: _transforms("fft2", (-2, -1)),
    np.fft.ifft2: _transforms("ifft2", (-2, -1)),
    np.fft.rfft2: _transforms("rfft2", (-2, -1)),
    np.fft.irfft2: _transforms("irfft2", (-2, -1)),
    np.fft.fftn: _transforms("fftn", None),
    np.fft.ifftn: _transforms("ifftn", None),
    np.fft.rfftn: _transforms("rfftn", None),
    np.fft.irfftn: _transforms("irfftn", None),
    np.fft.fftshift: _shift(signal.fftshift),
    np.fft.ifftshift: _shift(signal.ifftshift),
}
