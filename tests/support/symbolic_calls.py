"""Calls with symbolic extents beside calls without: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

RNG = np.random.default_rng(7)


def normal(shape: tuple[int, ...]) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def both_ways(
    function: Callable[..., Any],
    calls: list[tuple[tuple[int, ...], ...]],
    make: Callable[[tuple[int, ...]], Any] = normal,
) -> Any:
    """Call a function with arrays of these shapes, with symbolic extents and without: the same
    bits. The function with symbolic extents.
    """
    symbolic, static = gj.function(function, fallback="error"), gj.function(function)
    for shapes in calls:
        args = [make(shape) for shape in shapes]
        found = symbolic(*args)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gj.config, "symbolic_after", None)
            patch.setattr(gj.config, "recompile_warning", 0)
            wanted = static(*args)
        parts = zip(np.atleast_1d(found), np.atleast_1d(wanted), strict=True)
        if isinstance(wanted, tuple):
            parts = zip(found, wanted, strict=True)
        for a, b in parts:
            a, b = np.asarray(a), np.asarray(b)
            assert (a.shape, a.dtype) == (b.shape, b.dtype), shapes
            assert a.tobytes() == b.tobytes(), shapes
    return symbolic


def sized(function: Any) -> list[Any]:
    return [
        specialization
        for specialization in function.specializations
        if specialization.size_domain is not None
    ]
