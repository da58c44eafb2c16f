"""Derivatives compared with central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphjit.core.errors import InvalidArgumentError, at_user_line
from graphjit.core.tree import flatten, unflatten
from graphjit.tensors.apply import TensorBase, as_tensor

from .differentiation import derivative
from .directional import jvp, vjp


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int,
    modes: Sequence[str] = ("fwd", "rev"),
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """AssertionError where derivatives of a function differ from central differences along a
    direction drawn at random: `jax.test_util.check_grads`.

    args: the arguments, structures of floats. order: up to which derivative. modes: "fwd" for
    `gj.jvp`, "rev" for `gj.vjp`, or both. atol, rtol: by default 1e-3 of float64 and 1e-2 of
    narrower floats. eps: the step of the differences, by default 1e-5 and 1e-3.

    Raises InvalidArgumentError for other modes and orders, and for arguments that aren't made
    of floats.
    """
    if order < 1 or not modes or not set(modes) <= {"fwd", "rev"}:
        raise InvalidArgumentError(
            at_user_line(f"check_grads of order {order!r} in modes {tuple(modes)!r}")
        )
    leaves: list[Any] = []
    tree = flatten(tuple(args), leaves)
    arrays = [np.asarray(x) for x in leaves]
    if not arrays or any(a.dtype.kind not in "fc" for a in arrays):
        raise InvalidArgumentError(at_user_line("check_grads by what isn't made of floats"))
    wide = all(a.dtype.itemsize >= (16 if a.dtype.kind == "c" else 8) for a in arrays)
    tolerance = 1e-3 if wide else 1e-2
    atol, rtol = atol or tolerance, rtol or tolerance
    step = eps or (1e-5 if wide else 1e-3)
    rng = np.random.default_rng(0)

    def like(values: Sequence[Any]) -> Any:
        found = iter(
            [
                as_tensor(np.asarray(v, a.dtype)) if isinstance(x, TensorBase) else v
                for x, v, a in zip(leaves, values, arrays, strict=True)
            ]
        )
        return unflatten(tree, lambda: next(found))

    def drawn(a: Any) -> Any:
        found = rng.standard_normal(a.shape)
        if a.dtype.kind == "c":
            found = found + 1j * rng.standard_normal(a.shape)
        return np.asarray(found, a.dtype)[()] if not a.shape else found.astype(a.dtype)

    direction = [drawn(a) for a in arrays]
    along = like(direction)
    high = _floats(f(*like([a + step * d for a, d in zip(arrays, direction, strict=True)])))
    low = _floats(f(*like([a - step * d for a, d in zip(arrays, direction, strict=True)])))
    expected = [(h - s) / (2 * step) for h, s in zip(high, low, strict=True)]
    if "fwd" in modes:
        found = _floats(jvp(f, tuple(args), along)[1])
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=atol, rtol=rtol, err_msg="jvp")
    if "rev" in modes:
        value, back = vjp(f, *args)
        parts: list[Any] = []
        shape = flatten(value, parts)
        weights = [drawn(np.asarray(y)) for y in parts]
        given = iter(weights)
        pulled = _floats(back(unflatten(shape, lambda: next(given))))
        one = sum(float(np.sum(g * d).real) for g, d in zip(pulled, direction, strict=True))
        other = sum(float(np.sum(w * y).real) for w, y in zip(weights, expected, strict=True))
        np.testing.assert_allclose(one, other, atol=atol, rtol=rtol, err_msg="vjp")
    if order > 1:
        check_grads(derivative(f, _change, along), args, order - 1, modes, atol, rtol, eps)


def _change(fun: Callable[..., Any], along: Any, /, *primals: Any) -> Any:
    """How a function changes along one direction."""
    return jvp(fun, primals, along)[1]


def _floats(value: Any) -> list[Any]:
    """The leaves of a value as arrays."""
    leaves: list[Any] = []
    flatten(value, leaves)
    return [np.asarray(x) for x in leaves]


__all__ = ["check_grads"]
