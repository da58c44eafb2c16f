"""One case, two ways: a function run eagerly, and compiled where there is a compiler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tolerance import assert_close

import graphjit
from graphjit.core.errors import IndexOutOfRangeError, InvalidArgumentError
from graphjit.core.types import as_dtype
from graphjit.tensors.tensor import Tensor

# A function of several steps rounds at each: more than one op's units in the last place, and
# relative to the largest element, for sums cancel.
ULPS = 32
LENGTH = 16


def check(
    fn: Callable[..., Any],
    expected: Any,
    *arrays: Any,
    dtype: Any = None,
    ulps: float = ULPS,
    length: int = LENGTH,
    scale: Any = None,
) -> None:
    """Fail unless fn(*arrays as tensors) is `expected` both ways, within the dtype's tolerance.

    expected: what NumPy says, or a tuple of it for several results; converted to `dtype` if
    that is given, so that it may be computed in a wider one.
    """
    for run in ways(fn):
        results = run(*(Tensor(a) if isinstance(a, np.ndarray) else a for a in arrays))
        wanted = expected
        if not isinstance(expected, (tuple, list)):
            results, wanted = [results], [expected]
        assert len(results) == len(wanted)
        for result, value in zip(results, wanted, strict=True):
            value = np.asarray(value)
            if dtype is not None:
                value = value.astype(as_dtype(dtype).dtype)
            assert_close(np.asarray(result), value, ulps=ulps, length=length, scale=scale)


REFUSALS = (InvalidArgumentError, IndexOutOfRangeError)


def refused(fn: Callable[..., Any], *arrays: Any, match: str) -> None:
    """Fail unless both ways refuse the arrays, eagerly with a message that matches."""
    for number, run in enumerate(ways(fn)):
        # an error that the data make is found later, and worded by another op, when compiled
        with pytest.raises(REFUSALS, match="" if number else match):
            run(*(Tensor(a) if isinstance(a, (np.ndarray, np.generic)) else a for a in arrays))


def ways(fn: Callable[..., Any]) -> Sequence[Callable[..., Any]]:
    """The function itself and, where there is a compiler, the function compiled."""
    function = getattr(graphjit, "function", None)
    return [fn] if function is None else [fn, function(fn, fallback="error")]
