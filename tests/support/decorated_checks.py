"""Decorated functions beside undecorated ones: values, types, aliases, how often traced."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphjit as gj


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def _outcome(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    given = copy.deepcopy(list(arguments))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = _leaves(function(*given))
    except Exception as error:
        return error, given, []
    places = [next((k for k, x in enumerate(given) if x is r), None) for r in results]
    return results, given, places


def require_same(found: Any, expected: Any, tolerance: float = 0.0) -> None:
    """The same type, dtype, shape and value."""
    assert type(found) is type(expected)
    if isinstance(expected, (np.ndarray, np.generic)):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    else:
        assert found == expected


def same(
    found: Any, expected: Any, message: str = "", tolerance: float = 0.0, types: bool = True
) -> None:
    """Two structures of results have the same containers, with the same leaves in them.

    types: whether leaves are of the same Python type, too
    """
    if isinstance(expected, (tuple, list)):
        assert type(found) is type(expected), message
        assert len(found) == len(expected), message
        for a, b in zip(found, expected, strict=True):
            same(a, b, message, tolerance, types)
        return
    if isinstance(expected, dict):
        assert list(found) == list(expected), message
        for key in expected:
            same(found[key], expected[key], message, tolerance, types)
        return
    assert not types or type(found) is type(expected), message
    if expected is None or isinstance(expected, (str, int)):
        assert found == expected, message
        return
    assert np.shape(found) == np.shape(expected), message
    assert np.asarray(found).dtype == np.asarray(expected).dtype, message
    if tolerance:
        np.testing.assert_allclose(found, expected, tolerance, 1e-300, err_msg=message)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=message)


def outcome(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """What a call of a random program gives, or the name of Python's class that it raises."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return function(*arguments)
    except (ValueError, ArithmeticError, LookupError, UnboundLocalError, TypeError) as error:
        kinds = [k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"]
        own = type(error).__module__.startswith("graphjit")
        return kinds[0] if own else type(error).__name__


def agree(
    function: Callable[..., Any], *calls: Sequence[Any], rounds: int = 2, tolerance: float = 0.0
) -> Any:
    """Call a function decorated and undecorated with all these arguments by turns, and require
    that no call runs eagerly. Gives the decorated function.
    """
    decorated = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("error", gj.FallbackWarning)
        for _ in range(rounds):
            for arguments in calls:
                same(decorated(*arguments), function(*arguments), tolerance=tolerance)
    return decorated


def check_decorated(
    function: Callable[..., Any],
    *calls: Sequence[Any],
    compiled: bool = True,
    traces: int | None = None,
    tolerance: float = 0.0,
) -> Any:
    """Call a function decorated and undecorated with each of these arguments, twice.

    compiled: whether it is to be compiled for all of them. traces: how often at most it is
    traced. Gives the decorated function.
    """
    decorated = gj.function(function)
    for arguments in calls:
        for _ in range(2):
            expected, after, places = _outcome(function, arguments)
            found, changed, found_places = _outcome(decorated, arguments)
            if isinstance(expected, Exception):
                assert isinstance(found, type(expected)), (found, expected)
                continue
            if isinstance(found, Exception):
                raise found
            assert len(found) == len(expected)
            for x, y in zip(found, expected, strict=True):
                require_same(x, y, tolerance)
            assert found_places == places
            for x, y in zip(changed, after, strict=True):
                require_same(x, y)
    reasons = [s.reason for s in decorated.specializations]
    assert reasons and (not any(reasons) if compiled else all(reasons)), reasons
    if traces is not None:
        assert decorated.trace_count <= traces
    return decorated


def vectors(*sizes: int, dtype: Any = float) -> list[tuple[Any]]:
    """A call for each size: a vector of small numbers, no two alike."""
    return [((np.arange(n) * 1.25 - 2).astype(dtype),) for n in sizes]
