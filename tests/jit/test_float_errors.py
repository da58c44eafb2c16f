"""np.errstate and np.seterr: a call that has to report floating-point errors runs eagerly."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.core import float_errors, object_layout
from graphjit.core.errors import TracingError

X = np.arange(1.0, 5.0)
INFINITE = [np.inf] * 4


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), float_errors.kept():
        warnings.simplefilter("ignore")
        yield


def quotient(x: Any) -> Any:
    return x / (x - x)


def compiled(python_function: Callable[..., Any], calls: int = 3) -> Any:
    """The decorated function, called until machine code enters it or it runs eagerly."""
    function = gj.function(python_function)
    for _ in range(calls):
        with contextlib.suppress(FloatingPointError):
            function(X)
    return function


def reasons(function: Any) -> list[str]:
    return [s.reason for s in function.specializations]


@pytest.mark.parametrize("calls", [1, 3, 100])
def test_errors_are_raised_where_the_caller_asks_for_them(calls: int) -> None:
    f = compiled(quotient, calls)
    assert f(X).tolist() == INFINITE
    with np.errstate(divide="raise"):
        with pytest.raises(FloatingPointError):
            f(X)
        with np.errstate(divide="ignore"):
            assert f(X).tolist() == INFINITE
        with pytest.raises(FloatingPointError):
            f(X)
    with np.errstate(over="raise"):  # of another kind
        assert f(X).tolist() == INFINITE
    assert f(X).tolist() == INFINITE
    assert reasons(f) == [""] and f.trace_count == 1


@pytest.mark.parametrize("calls", [1, 100])
def test_errors_are_handed_to_a_function_or_a_log(calls: int) -> None:
    f = compiled(quotient, calls)
    heard: list[str] = []
    with np.errstate(divide="call", call=lambda kind, flag: heard.append(kind)):
        assert f(X).tolist() == INFINITE
    assert heard == ["divide by zero"]

    class Log:
        def write(self, text: str) -> None:
            heard.append(text)

    with np.errstate(divide="log", call=Log()):
        f(X)
    assert len(heard) == 2
    f(X)
    assert len(heard) == 2


def test_the_state_is_that_of_the_thread() -> None:
    f = compiled(quotient, 100)
    outcomes: dict[str, Any] = {}

    def call(name: str) -> None:
        try:
            outcomes[name] = f(X).tolist()
        except FloatingPointError:
            outcomes[name] = "raised"

    def raising() -> None:
        np.seterr(all="raise")
        call("inside")

    for target, name in ((raising, "inside"), (lambda: call("other"), "other")):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
        assert name in outcomes
    with np.errstate(all="raise"):
        thread = threading.Thread(target=lambda: call("new"))
        thread.start()
        thread.join()
        call("here")
    assert outcomes == {
        "inside": "raised",
        "other": INFINITE,
        "new": INFINITE,
        "here": "raised",
    }


def test_seterr_holds_until_it_is_set_back() -> None:
    f = compiled(quotient, 100)
    before = np.seterr(divide="raise")
    with pytest.raises(FloatingPointError):
        f(X)
    np.seterr(**before)
    assert f(X).tolist() == INFINITE


def test_the_caller_hears_of_the_eager_call() -> None:
    f, strict = gj.function(quotient), gj.function(quotient, fallback="error")
    with np.errstate(divide="print"):
        with pytest.warns(gj.FallbackWarning, match=r"np\.errstate"):
            f(X)
        with pytest.raises(TracingError, match=r"np\.errstate"):
            strict(X)
        out = np.zeros(4)
        assert f(X, out=out) is out and out.tolist() == INFINITE
    assert strict(X).tolist() == INFINITE


class Quotients:
    @np.errstate(divide="raise")
    def raised(self, x: Any) -> Any:
        return quotient(x)


def entered(x: Any) -> Any:
    with np.errstate(divide="raise"):
        return quotient(x)


def entered_between(x: Any) -> Any:
    with np.errstate(divide="ignore"), np.errstate(divide="raise"):
        return quotient(x)


def entered_by_stack(x: Any) -> Any:
    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(divide="raise"))
        return quotient(x)


def entered_by_hand(x: Any) -> Any:
    state = np.errstate(divide="raise")
    state.__enter__()
    try:
        return quotient(x)
    finally:
        state.__exit__(None, None, None)


def caught(x: Any) -> Any:
    with np.errstate(all="raise"):
        try:
            return quotient(x)
        except FloatingPointError:
            return x


def of_method(x: Any) -> Any:
    return Quotients().raised(x)


@np.errstate(divide="raise")
def decorated(x: Any) -> Any:
    return quotient(x)


def calls_decorated(x: Any) -> Any:
    return decorated(x) + 1


def covered(x: Any) -> Any:
    with np.errstate(divide="raise"), np.errstate(divide="ignore"):
        return quotient(x)


@pytest.mark.parametrize(
    "function",
    [
        entered, entered_between, entered_by_stack, entered_by_hand, caught, of_method,
        decorated, calls_decorated, covered,
    ],
)  # fmt: skip
def test_an_errstate_that_reports_is_not_compiled(function: Callable[..., Any]) -> None:
    f = compiled(function)
    state = np.geterr()
    for _ in range(2):
        try:
            expected = function(X).tolist()
        except FloatingPointError:
            with pytest.raises(FloatingPointError):
                f(X)
        else:
            assert f(X).tolist() == expected
    assert all(reasons(f)) and reasons(f)
    assert np.geterr() == state


@pytest.mark.parametrize("mode", ["ignore", "warn"])
def test_quiet_states_are_compiled(mode: Any) -> None:
    def f(x: Any) -> Any:
        with np.errstate(all=mode):
            return quotient(x)

    function = compiled(f)
    assert function(X).tolist() == INFINITE
    assert reasons(function) == [""]
    with np.errstate(divide="raise"):  # what the function enters is inside
        assert function(X).tolist() == INFINITE


def test_setting_the_state_is_an_effect() -> None:
    def f(x: Any) -> Any:
        np.seterr(divide="ignore")
        return x + 1

    function = gj.function(f)
    for _ in range(3):
        np.seterr(divide="warn")
        function(X)
        assert np.geterr()["divide"] == "ignore"
    assert all(reasons(function))


def test_an_errstate_from_outside_is_entered_as_often() -> None:
    state = np.errstate(divide="ignore")

    def f(x: Any) -> Any:
        with state:
            return x + 1

    function = gj.function(f)
    assert function(X).tolist() == (X + 1).tolist()
    with pytest.raises(TypeError):  # as undecorated: it can be entered once
        function(X)


def test_machine_code_knows_where_the_state_is() -> None:
    assert object_layout.fits() or not object_layout.known_interpreter()
    assert float_errors.are_reported() is False
    for mode in ("raise", "call", "print", "log"):
        for kind in ("divide", "over", "under", "invalid"):
            with np.errstate(**{kind: mode}):  # type: ignore[arg-type]
                assert float_errors.are_reported() is True


def test_a_numpy_that_keeps_the_state_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float_errors, "STATE", float_errors._NONE)
    monkeypatch.setattr(float_errors, "IS_KNOWN", False)
    assert not object_layout._float_errors_fit()
    f = compiled(quotient, 1)
    for _ in range(2):
        assert f(X).tolist() == INFINITE
        with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
            f(X)
