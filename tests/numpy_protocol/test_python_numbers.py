"""`int`, `float`, `round` and `math` of traced numbers, against undecorated calls."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

FUNCTIONS: list[Callable[[Any], Any]] = [
    int, float, bool, round, math.floor, math.ceil, math.trunc, math.sqrt, math.exp, math.log,
    math.log2, math.log10, math.log1p, math.expm1, math.sin, math.cos, math.tan, math.asin,
    math.acos, math.atan, math.sinh, math.cosh, math.tanh, math.asinh, math.acosh, math.atanh,
    math.fabs, math.isnan, math.isinf, math.isfinite,
    lambda x: math.atan2(x, 2.0), lambda x: math.hypot(3.0, x), lambda x: math.copysign(x, -1),
    lambda x: int(x) * 3 + 1, lambda x: [10, 20, 30][int(x)], lambda x: (1.5, -2.5)[int(x)],
    lambda x: int(float(x)), lambda x: (int(x) // 3, int(x) % 3), lambda x: float(x) * 2,
]  # fmt: skip
FLOATS = [
    0.0, -0.0, 0.5, 1.5, 2.5, -2.5, -0.7, 1.0, 2.0, -3.0, 1e-310, 1e10, 1e19, -1e19, 1e308,
    710.0, 9.223372036854775e18, math.inf, -math.inf, math.nan,
]  # fmt: skip
WHOLE = [0, 1, 2, -1, 7, 2**53 + 1, 2**53 + 3, 2**63 - 1, -(2**63)]
NUMBERS = [
    *FLOATS,
    *map(np.float64, FLOATS),
    *map(np.float32, (0.5, 2.5, -1.25, 3e38, math.inf, math.nan)),
    *WHOLE,
    *map(np.int64, WHOLE),
    *map(np.uint64, (0, 3, 2**63, 2**64 - 1)),
    *map(np.int8, (-128, 0, 127)),
    True,
    np.bool_(True),
    np.array(1.5),
    np.array(7),
]


def outcome(function: Callable[..., Any], x: Any) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(x)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            kinds = (k for k in type(error).__mro__ if k.__module__ == "builtins")
            return next(kinds).__name__


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_gives_and_raises_what_python_does(number: int) -> None:
    function = FUNCTIONS[number]
    decorated = gj.function(lambda x: function(x))
    for x in NUMBERS:
        for _ in range(2):
            found, wanted = outcome(decorated, x), outcome(function, x)
            assert type(found) is type(wanted), (x, found, wanted)
            if isinstance(wanted, float):
                np.testing.assert_allclose(found, wanted, rtol=1e-14, err_msg=repr(x))
                assert math.copysign(1, found) == math.copysign(1, wanted) or wanted != wanted
            else:
                assert found == wanted, x


@pytest.mark.parametrize("number", [0, 1, 3, 4, 7, 8])
def test_is_compiled(number: int) -> None:
    function = FUNCTIONS[number]
    decorated = gj.function(lambda x: function(x[0]), fallback="error")
    for x in (1.5, 2.5, 100.0):
        assert decorated(np.array([x])) == pytest.approx(function(np.float64(x)))
