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
        refuse(out=(out,), s=(s,), norm=(norm, "backward", "ortho", "forward"))
        if axes is not None and not isinstance(axes, (tuple, list)):
            raise unsupported("a transform along what isn't a tuple of axes")
        x = _wave(a, name.startswith("rfft"))
        places = axes_of(axes, x.ndim)
        if not places or len(set(places)) != len(places):
            raise unsupported("a transform along these axes")
        return function(x, None, places, norm)

    return handler


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
    np.fft.fftn: _transforms("fftn", None),
    np.fft.ifftn: _transforms("ifftn", None),
    np.fft.rfftn: _transforms("rfftn", None),
    np.fft.fftshift: _shift(signal.fftshift),
    np.fft.ifftshift: _shift(signal.ifftshift),
}
