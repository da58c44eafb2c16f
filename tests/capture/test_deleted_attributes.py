"""Attributes that are deleted and stored again: which are there, and in what order."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import graphjit as gj

X = np.array([0.5, 0.75])


class Box:
    def __init__(self) -> None:
        self.t, self.s = 1.0, 2.0


def twice(o: Any) -> None:
    del o.t
    o.t = X[0]
    del o.t


def thrice(o: Any) -> None:
    del o.t
    o.t = 1
    del o.t
    o.t = X[1]


def new_twice(o: Any) -> None:
    o.u = 1
    del o.u
    o.u = X[0]
    del o.u


def handled(o: Any) -> Any:
    del o.t
    try:
        return o.t
    except AttributeError:
        o.t = 5
    del o.t
    return None


def in_turns(o: Any) -> None:
    for i in range(6):
        if hasattr(o, "t"):
            del o.t
        else:
            o.t = X[0] * i


def printed_between(o: Any) -> None:
    del o.t
    o.t = X[0]
    print(o.t)
    o.t = 3.0
    del o.t


def printed_before(o: Any) -> None:
    del o.t
    print(len(X))
    o.t = X[0]
    del o.t


def names(o: Any) -> Any:
    del o.t
    o.t = X[1]
    return list(vars(o)), list(o.__dict__.values())


def new_and_old_names(o: Any) -> Any:
    o.u = 1.0
    del o.t
    o.v = X[0]
    o.t = X[1]
    return list(vars(o))


@pytest.mark.parametrize(
    "function",
    [
        twice, thrice, new_twice, handled, in_turns, printed_between, printed_before, names,
        new_and_old_names,
    ],
)  # fmt: skip
def test_as_undecorated(function: Any, capsys: pytest.CaptureFixture[str]) -> None:
    decorated = gj.function(function)
    for _ in range(3):
        outcomes = []
        for f in (decorated, function):
            o = Box()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", gj.FallbackWarning)
                found = f(o)
            outcomes.append((found, list(vars(o).items()), capsys.readouterr().out))
        assert outcomes[0] == outcomes[1]


def test_a_truth_that_is_no_bool() -> None:
    class Value:
        def __init__(self) -> None:
            self.x = 1.0

        def __bool__(self) -> Any:
            return self.x < 20

    def choose(o: Any, x: Any) -> Any:
        o.x = o.x + x[0]
        return 1 if o else 2

    decorated = gj.function(choose)
    for f in (decorated, choose):
        with warnings.catch_warnings(), pytest.raises(TypeError, match="should return bool"):
            warnings.simplefilter("ignore", gj.FallbackWarning)
            f(Value(), X)
