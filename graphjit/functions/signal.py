"""Fourier transforms under NumPy's names.

float32 and narrower floats give complex64, float64 gives complex128; integers are refused.
norm: "backward" (only the inverse is scaled, by 1/n), "ortho" (both by 1/√n), "forward".
"""

from __future__ import annotations

import math as pymath
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.types import as_dtype, normalize_axis
from graphjit.ops import library
from graphjit.ops.type_rules import require_kind
from graphjit.tensors.apply import TensorBase, apply, as_tensor, wrap

from . import math
from .shape import roll, static_ints

NORMS = ("backward", "ortho", "forward")


def _transform(name: str, x: Any, n: int | None, axis: int, norm: str | None) -> Any:
    x = as_tensor(x)
    op = name.upper()
    k = normalize_axis(axis, x.ndim, op)
    if name == "rfft":
        require_kind(x.dtype, "f", op)
    else:
        require_kind(x.dtype, "fc", op)
        x = math.cast(x, math.complex_dtype(x.dtype))
    if n is None:
        n = 2 * (x.type.shape[k] - 1) if name == "irfft" else x.type.shape[k]
    else:
        n = static_ints(n, op)[0]
    result = apply(library.fft, x, transform=name, axis=k, n=n)
    return _scaled(result, n, norm or "backward", inverse=name in ("ifft", "irfft"))


def _scaled(x: Any, n: int, norm: str, inverse: bool) -> Any:
    if norm not in NORMS:
        raise InvalidArgumentError(
            at_user_line(f"norm should be one of {', '.join(NORMS)}, not {norm!r}")
        )
    # the library's inverse divides by n already
    powers = {"backward": 0.0, "ortho": 0.5, "forward": 1.0}
    power = powers[norm] if inverse else -powers[norm]
    return math.multiply(x, float(n) ** power) if power else x


def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The discrete Fourier transform along an axis, cut or zero-padded to n points first."""
    return _transform("fft", a, n, axis, norm)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse discrete Fourier transform along an axis of n points."""
    return _transform("ifft", a, n, axis, norm)


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The n // 2 + 1 Fourier coefficients of not negative frequency of n real points."""
    return _transform("rfft", a, n, axis, norm)


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The n real points, 2 (m - 1) by default, that have these m coefficients."""
    return _transform("irfft", a, n, axis, norm)


def _points(
    x: TensorBase, s: Any, axes: Any, last: bool, op: str
) -> tuple[list[int | None], list[int]]:
    """How many points along which axes (None: the default of irfft); `last`: there is one."""
    sizes: list[int | None] | None = None if s is None else list(static_ints(s, op))
    if axes is None:
        count = x.ndim if sizes is None else len(sizes)
        places = list(range(x.ndim - count, x.ndim))
    else:
        places = static_ints(axes, op)
    if sizes is None:
        sizes = [None] * len(places)
    if len(sizes) != len(places):
        raise InvalidArgumentError(
            at_user_line(f"Shape and axes have different lengths: {s}, {axes} [Op:{op}]")
        )
    if last and not places:
        raise InvalidArgumentError(at_user_line(f"a real transform along no axis [Op:{op}]"))
    # from the shape before any transform, as NumPy has it where an axis is given twice
    places = [normalize_axis(k, x.ndim, op) for k in places]
    own: list[int | None] = [x.type.shape[k] for k in places]
    if op == "IRFFTN":
        own[-1] = None
    sizes = [default if n in (None, -1) else n for n, default in zip(sizes, own, strict=True)]
    return sizes, places


def _many(name: str, a: Any, s: Any, axes: Any, norm: str | None) -> Any:
    x: Any = as_tensor(a)
    if name == "fft" or name == "ifft":
        sizes, places = _points(x, s, axes, False, name.upper() + "N")
        if not places:
            require_kind(x.dtype, "fc", name.upper() + "N")
            return math.cast(x, math.complex_dtype(x.dtype))
        for n, axis in reversed(list(zip(sizes, places, strict=True))):
            x = _transform(name, x, n, axis, norm)
        return x
    sizes, places = _points(x, s, axes, True, name.upper() + "N")
    pairs = list(zip(sizes, places, strict=True))
    if name == "rfft":
        x = _transform("rfft", x, *pairs[-1], norm)
        for n, axis in reversed(pairs[:-1]):
            x = _transform("fft", x, n, axis, norm)
        return x
    for n, axis in pairs[:-1]:
        x = _transform("ifft", x, n, axis, norm)
    return _transform("irfft", x, *pairs[-1], norm)


def fftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The Fourier transform along several axes (all, or the last len(s), if None)."""
    return _many("fft", a, s, axes, norm)


def ifftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The inverse of fftn."""
    return _many("ifft", a, s, axes, norm)


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The rfft along the last of several axes, then fft along the others."""
    return _many("rfft", a, s, axes, norm)


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The inverse of rfftn: ifft along all axes but the last, then irfft along that."""
    return _many("irfft", a, s, axes, norm)


def fft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """The Fourier transform along two axes."""
    return _many("fft", a, s, axes, norm)


def ifft2(
    a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None
) -> Any:
    """The inverse of fft2."""
    return _many("ifft", a, s, axes, norm)


def rfft2(
    a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None
) -> Any:
    """The Fourier transform of real values along two axes."""
    return _many("rfft", a, s, axes, norm)


def irfft2(
    a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: str | None = None
) -> Any:
    """The inverse of rfft2."""
    return _many("irfft", a, s, axes, norm)


def fftshift(x: Any, axes: Any = None) -> Any:
    """The zero frequency moved to the middle of axes (all if None)."""
    return _shifted(x, axes, lambda n: n // 2)


def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of fftshift."""
    return _shifted(x, axes, lambda n: -(n // 2))


def _shifted(x: Any, axes: Any, shift: Any) -> Any:
    x = as_tensor(x)
    places = list(range(x.ndim)) if axes is None else static_ints(axes, "FFTShift")
    if not places:
        return x
    places = [normalize_axis(k, x.ndim, "FFTShift") for k in places]
    return roll(x, [shift(x.type.shape[k]) for k in places], places)


def _frequencies(name: str, n: int, d: float, dtype: Any) -> Any:
    count = static_ints(n, name)[0]
    target = as_dtype(dtype)
    require_kind(target, "f", name)
    if count < 1 or not pymath.isfinite(d) or d == 0:
        raise InvalidArgumentError(
            at_user_line(f"{name} of {n} points at a distance of {d}: n must be 1 or more")
        )
    routine = np.fft.fftfreq if name == "fftfreq" else np.fft.rfftfreq
    return wrap(routine(count, d).astype(target.dtype))


def fftfreq(n: int, d: float = 1.0, dtype: Any = "float32") -> Any:
    """The frequencies [cycles per unit of d] of the n coefficients of fft, points d apart."""
    return _frequencies("fftfreq", n, d, dtype)


def rfftfreq(n: int, d: float = 1.0, dtype: Any = "float32") -> Any:
    """The frequencies [cycles per unit of d] of the n // 2 + 1 coefficients of rfft."""
    return _frequencies("rfftfreq", n, d, dtype)
