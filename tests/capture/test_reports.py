"""Functions that warn, log, print to files: what is told, and where from."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.linspace(0.5, 3, 6)
W = np.ones(6)
STREAM = io.StringIO()
LOGGER = logging.getLogger("test_reports")
COUNTS = {"n": 0}


@pytest.fixture(autouse=True)
def handler() -> Any:
    made = logging.StreamHandler(STREAM)
    made.setFormatter(logging.Formatter("%(levelname)s %(lineno)d %(funcName)s %(message)s"))
    LOGGER.addHandler(made)
    LOGGER.propagate = False
    LOGGER.setLevel(logging.INFO)
    yield
    LOGGER.removeHandler(made)


def warns(x: Any) -> Any:
    warnings.warn("old")  # noqa: B028
    return x * 2


def warns_of_values(x: Any) -> Any:
    warnings.warn(f"sum {x.sum():.2f}", DeprecationWarning)  # noqa: B028
    return x


def helper(x: Any) -> Any:
    warnings.warn("of a helper", stacklevel=2)
    return x


def warns_by_a_helper(x: Any) -> Any:
    y = x + 1
    return helper(y)


def warns_its_caller(x: Any) -> Any:
    warnings.warn("of the caller", stacklevel=2)
    return x


def catches(x: Any) -> Any:
    try:
        warnings.warn("caught")  # noqa: B028
    except UserWarning:
        return x
    return x * 2


def writes_and_warns(x: Any) -> Any:
    warnings.warn("before")  # noqa: B028
    x[0] = 1
    return x


def logs(x: Any) -> Any:
    LOGGER.info("sum %.3f %s", x.sum(), x)
    LOGGER.debug("not this")
    return x * 2


def logs_by_name(x: Any) -> Any:
    logging.getLogger("test_reports").warning(f"mean {x.mean()}")
    return x + W


def logs_where_enabled(x: Any) -> Any:
    if LOGGER.isEnabledFor(logging.INFO):
        LOGGER.log(30, "on")
    return x


def prints_to_a_file(x: Any) -> Any:
    print("a", x[0], [x[1]], sep="|", end="!", file=sys.stdout)
    sys.stdout.write(f"{x[0]}\n")
    print("q", file=sys.stderr, flush=True)
    return x


def counts_characters(x: Any) -> Any:
    n = sys.stdout.write("abc")
    m = sys.stdout.write(f"{x[0]}")
    return n, m


def prints_types(x: Any) -> Any:
    print(x.shape, x.dtype, int, len(x))
    return x


COMPILED = [
    warns, warns_of_values, warns_by_a_helper, logs, logs_by_name, logs_where_enabled,
    prints_to_a_file, counts_characters, prints_types,
]  # fmt: skip
EAGER = [catches, writes_and_warns]


def seen(function: Callable[[Any], Any], x: Any) -> Any:
    STREAM.seek(0)
    STREAM.truncate()
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        result = function(x)
    told = [
        (w.category, str(w.message), w.lineno, w.filename)
        for w in caught
        if w.category is not gj.FallbackWarning
    ]
    return repr(result), repr(x), out.getvalue(), err.getvalue(), STREAM.getvalue(), told


@pytest.mark.parametrize("function", [*COMPILED, *EAGER])
def test_reports_what_undecorated_code_does(function: Callable[[Any], Any]) -> None:
    f = gj.function(function)
    for k in range(4):
        assert seen(f, X + k) == seen(function, X + k)
    eager = [s.reason for s in f.specializations if s.reason]
    assert bool(eager) == (function in EAGER), eager


def test_a_level_that_changes_is_seen() -> None:
    f = gj.function(logs_where_enabled)
    for level in (logging.INFO, logging.ERROR, logging.INFO, logging.DEBUG):
        LOGGER.setLevel(level)
        assert seen(f, X) == seen(logs_where_enabled, X)


def test_a_warning_that_is_an_error_is_raised() -> None:
    f = gj.function(warns)
    f(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="old"):
            f(X)


def test_a_warning_for_the_caller_has_its_line() -> None:
    f = gj.function(warns_its_caller)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f(X)
    lines = [w.filename for w in caught if w.category is UserWarning]
    assert len(lines) == 1


def test_a_handler_that_changes_what_is_read_after_it() -> None:
    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            COUNTS["n"] += 1

    counting = Counting()
    LOGGER.addHandler(counting)

    def g(x: Any) -> Any:
        LOGGER.warning("count")
        return x * COUNTS["n"]

    try:
        f = gj.function(g)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gj.FallbackWarning)
            for _ in range(3):
                COUNTS["n"] = 3
                np.testing.assert_array_equal(f(X), X * 4)
    finally:
        LOGGER.removeHandler(counting)
