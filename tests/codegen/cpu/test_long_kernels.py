"""Kernels so long that LLVM is told to take no trouble: every dtype must get through it."""

from __future__ import annotations

import numpy as np
import pytest

import graphjit as gj
from graphjit.core.types import DTYPES


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_long_kernels_of_every_dtype(dtype):
    """Long bodies, masked and whole, with loads, stores, casts and reductions."""

    def many(x, y):
        total = x
        for k in range(150):
            total = gj.where(total == y, x, total) if k % 2 else gj.where(x == y, y, total)
        results = [gj.cast(gj.where(x == y, total, x), dtype) for _ in range(3)]
        return [*results, gj.reduce_any(total == x, axis=1)]

    for shape in ((7, 40), (1, 3), (5, 1000)):
        x = gj.cast(gj.constant(np.arange(np.prod(shape)).reshape(shape) % 2), dtype)
        y = gj.reverse(x, [1])
        with gj.eager():
            wanted = gj.function(many)(x, y)
        for a, b in zip(gj.function(many, fallback="error")(x, y), wanted, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
