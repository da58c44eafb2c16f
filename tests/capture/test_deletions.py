"""Attributes deleted, context variables set, the environment changed: as undecorated, and at
each call.
"""

from __future__ import annotations

import contextvars
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.linspace(0.5, 3, 6)
LEVEL = contextvars.ContextVar("LEVEL", default=1)
SUM: contextvars.ContextVar[Any] = contextvars.ContextVar("SUM")
NAME = "GRAPHJIT_TESTS_NAME"


class Plain:
    t: Any
    k: Any


class WithDeleter:
    def __init__(self) -> None:
        self._p = 1.0

    @property
    def p(self) -> float:
        return self._p

    @p.deleter
    def p(self) -> None:
        self._p = 0.0


plain, managed = Plain(), WithDeleter()


def set_and_reset(x: Any) -> Any:
    token = LEVEL.set(LEVEL.get() + 1)
    y = x * LEVEL.get()
    LEVEL.reset(token)
    return y, LEVEL.get()


def set_and_left(x: Any) -> Any:
    LEVEL.set(LEVEL.get() + 1)
    return x * LEVEL.get()


def traced_value_in_a_variable(x: Any) -> Any:
    token = SUM.set(x.sum())
    found = SUM.get()
    SUM.reset(token)
    try:
        SUM.get()
    except LookupError:
        return found, "none"
    return found


def reset_after_a_call(x: Any) -> Any:
    token = LEVEL.set(5)
    print("told")
    LEVEL.reset(token)
    return x * LEVEL.get()


def asks_the_token(x: Any) -> Any:
    token = LEVEL.set(5)
    return x * 2, token.old_value is contextvars.Token.MISSING


def stored_and_deleted(x: Any) -> Any:
    plain.t = x * 2
    found = plain.t.sum()
    del plain.t
    return found, hasattr(plain, "t")


def stored_again(x: Any) -> Any:
    plain.k = 1
    del plain.k
    plain.k = x.sum()
    return plain.k


def what_was_there(x: Any) -> Any:
    found = plain.k if hasattr(plain, "k") else 0
    if hasattr(plain, "k"):
        del plain.k
    else:
        plain.k = 3
    return x + found


def by_a_property(x: Any) -> Any:
    del managed.p
    return x + managed.p


def what_is_not_there(x: Any) -> Any:
    del plain.nothing  # type: ignore[attr-defined]
    return x


def seen_in_vars(x: Any) -> Any:
    plain.t = 1.0
    del plain.t
    return "t" in vars(plain), len(vars(plain)), x


def by_name(x: Any) -> Any:
    plain.t = 3
    delattr(plain, "t")
    return getattr(plain, "t", x)


def environment(x: Any) -> Any:
    os.environ[NAME] = "1"
    found = os.environ.get(NAME), NAME in os.environ, os.getenv(NAME)
    del os.environ[NAME]
    return x * 2, found, NAME in os.environ, os.environ.get(NAME, "none")


def environment_left(x: Any) -> Any:
    os.environ[NAME] = os.environ.get(NAME, "") + "a"
    return x + len(os.environ[NAME])


COMPILED = (
    set_and_reset, set_and_left, traced_value_in_a_variable, stored_and_deleted, stored_again,
    what_was_there, by_a_property, seen_in_vars, by_name, environment, environment_left,
)  # fmt: skip
EAGER = (reset_after_a_call, asks_the_token, what_is_not_there)


def seen(function: Callable[[Any], Any]) -> list[Any]:
    def outcome(x: Any) -> Any:
        try:
            result = repr(function(x))
        except Exception as error:
            result = repr(error)
        state = sorted(vars(plain).items()), LEVEL.get(), SUM.get("unset"), managed._p
        return result, repr(state), os.environ.get(NAME)

    vars(plain).clear()
    managed._p = 1.0
    os.environ.pop(NAME, None)
    found = []

    def calls() -> None:
        for k in range(5):
            found.append(outcome(X + k))
            managed._p += 1

    contextvars.copy_context().run(calls)
    os.environ.pop(NAME, None)
    return found


@pytest.mark.parametrize("function", (*COMPILED, *EAGER), ids=lambda f: f.__name__)
def test_each_call_does_what_python_does(function: Callable[[Any], Any]) -> None:
    f = gj.function(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gj.FallbackWarning)
        found = seen(f)
    assert found == seen(function)
    eager = [s.reason for s in f.specializations if s.reason]
    assert bool(eager) == (function in EAGER), eager
