"""Exceptions that the traced function's own code handles, against undecorated Python."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.core.errors import TracingError

Array = np.ndarray[Any, Any]
TABLE = np.arange(4.0)


def guarded(statement: str, error: str, way: str = "except") -> Callable[..., Any]:
    """A function that gives the statement's value, else something told from x alone."""
    ways = {
        "except": """
    try:
        return STATEMENT
    except ERROR:
        return x * 3""",
        "later": """
    try:
        y = STATEMENT
    except ERROR:
        y = x * 3
    return y""",
        "suppress": """
    y = x * 3
    with contextlib.suppress(ERROR):
        y = STATEMENT
    return y""",
        "finally": """
    try:
        return STATEMENT
    finally:
        return x * 3""",
        "helper": """
    y = attempt(lambda: STATEMENT)
    return x * 3 if y is None else y""",
    }
    body = ways[way].replace("STATEMENT", statement).replace("ERROR", error)

    def attempt(function: Callable[[], Any]) -> Any:
        try:
            return function()
        except Exception:
            return None

    names: dict[str, Any] = {
        "np": np, "contextlib": contextlib, "TABLE": TABLE, "attempt": attempt,
    }  # fmt: skip
    exec(f"def f(x):{body}\n", names)
    function: Callable[..., Any] = names["f"]
    return function


def outcome(function: Callable[..., Any], x: Array) -> Any:
    x = x.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(x), x
        except Exception as error:
            return type(error), x


STATEMENTS = [
    "x[x > 0]", "np.unique(x)", "np.nonzero(x)[0]", "np.linalg.eig(np.diag(x))[0]",
    "np.histogram(x)[0]", "x.strides", "np.take(x, [0, 9])", "x[np.array([0, 9])]",
    "np.take(x, 9)", "x[9]", "x[[0, 9]]", "np.linalg.inv(np.outer(x, x))",
    "np.linalg.cholesky(-np.outer(x, x) - np.eye(len(x)))", "x.reshape(3, 5)", "x + TABLE[:3]",
    "np.median(x[:0])", "float(x.sum())", "x.sum() if x.sum() > 0 else x.max()",
    "np.take_along_axis(x, np.array([7]), 0)", "1 / x", "x.nothing", "x.astype('no')",
]  # fmt: skip


@pytest.mark.parametrize("fallback", ["eager", "error"])
@pytest.mark.parametrize("way", ["except", "later", "suppress", "finally", "helper"])
@pytest.mark.parametrize("statement", STATEMENTS)
def test_what_a_handler_has_is_what_python_gives_it(
    statement: str, way: str, fallback: str
) -> None:
    f = guarded(statement, "Exception", way)
    jitted = gj.function(f, fallback=fallback)
    for x in (np.arange(-1.0, 3.0), np.array([2.0, 0.5, 1.0, 3.0]), np.arange(-1.0, 3.0)):
        expected, actual = outcome(f, x), outcome(jitted, x)
        refused = isinstance(actual[0], type) and issubclass(actual[0], TracingError)
        if fallback == "error" and refused:
            np.testing.assert_array_equal(actual[1], x)
            continue
        assert isinstance(actual[0], type) == isinstance(expected[0], type), actual
        if isinstance(expected[0], type):
            assert issubclass(actual[0], expected[0])
        else:
            np.testing.assert_allclose(actual[0], expected[0], rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize("way", ["except", "later"])
@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("np.linalg.inv(np.outer(x, x) * 0)", "np.linalg.LinAlgError"),
        ("np.linalg.inv(np.outer(x, x))", "IndexError"),
        ("np.linalg.solve(np.outer(x, x) * 0, x)", "np.linalg.LinAlgError"),
        ("np.linalg.cholesky(-np.eye(len(x)))", "(ValueError, np.linalg.LinAlgError)"),
        ("x[10]", "IndexError"),
        ("x[10]", "KeyError"),
        ("x[x.astype(int) + 9]", "IndexError"),
        ("x[x.astype(int) + 9]", "LookupError"),
        ("x / 0", "ZeroDivisionError"),
        ("x * (1 / (len(x) - len(x)))", "ZeroDivisionError"),
        ("x.reshape(7, 5)", "ValueError"),
        ("np.zeros(3)[x.shape[0]] * x", "IndexError"),
        ("np.array([x, x[1:]])", "ValueError"),
        ("np.add(x, x[1:3])", "ValueError"),
        ("np.array(x, dtype='nothing')", "TypeError"),
        ("int(np.array([x[0], x[1]]))", "TypeError"),
    ],
)
def test_handlers_of_one_kind_of_error(statement: str, error: str, way: str) -> None:
    f = guarded(statement, error, way)
    jitted = gj.function(f)
    for x in (np.arange(-1.0, 3.0), np.array([2.0, 0.5, 1.0, 3.0]), np.arange(5.0)):
        for _ in range(2):
            expected, actual = outcome(f, x), outcome(jitted, x)
            assert isinstance(actual[0], type) == isinstance(expected[0], type), actual
            if isinstance(expected[0], type):
                assert issubclass(actual[0], expected[0])
            else:
                np.testing.assert_allclose(actual[0], expected[0], rtol=1e-12, equal_nan=True)


@pytest.mark.parametrize(
    "statement",
    [
        "x[0] = 9",
        "x += 1",
        "x.sort()",
        "np.copyto(x, 5)",
        "np.add(x, 1, out=x)",
        "TABLE[0] += 1",
    ],
)
@pytest.mark.parametrize("error", ["Exception", "RuntimeError", "BaseException", ""])
def test_writes_in_a_try_are_done(statement: str, error: str) -> None:
    names: dict[str, Any] = {"np": np, "TABLE": TABLE.copy()}
    exec(
        f"def f(x):\n    try:\n        {statement}\n    except {error}:\n        return None\n"
        "    return x * 2\n",
        names,
    )
    f = names["f"]
    jitted = gj.function(f)
    for _ in range(4):
        names["TABLE"][:] = TABLE
        expected, wanted = outcome(f, np.array([3.0, 1.0, 2.0]))
        table = names["TABLE"].copy()
        names["TABLE"][:] = TABLE
        actual, found = outcome(jitted, np.array([3.0, 1.0, 2.0]))
        np.testing.assert_array_equal(actual, expected)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(names["TABLE"], table)


def test_a_with_block_around_an_index_is_traced() -> None:
    def f(x: Any, i: Any) -> Any:
        with np.errstate(all="ignore"):
            return x[i] * 2

    jitted = gj.function(f, fallback="error")
    x, i = np.arange(5.0), np.array([1, 3])
    np.testing.assert_array_equal(jitted(x, i), f(x, i))


def test_an_error_of_the_call_reaches_a_handler_outside() -> None:
    jitted = gj.function(lambda x, i: x[i], fallback="error")
    with pytest.raises(IndexError):
        jitted(np.arange(3.0), np.array([5]))
