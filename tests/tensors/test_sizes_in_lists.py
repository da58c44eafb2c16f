"""Symbolic sizes in lists and ranges that become tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj


@pytest.mark.parametrize(
    "function",
    [
        lambda x: gj.constant([x.shape[0], 2]),
        lambda x: gj.range(x.shape[0]),
        lambda x: gj.range(1, x.shape[0], 2) * 3,
        lambda x: gj.constant([[x.shape[0], -x.shape[0]], [0, 1]]),
        lambda x: gj.constant([x.shape[0] * 2.5, 1.0]),
    ],
)
def test_the_second_size_compiles(function: Callable[[Any], Any]) -> None:
    compiled = gj.function(function)
    for n in (5, 6, 9, 14, 0, 1):
        x = gj.zeros((n,))
        expected, found = function(x), compiled(x)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
