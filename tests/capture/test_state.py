"""What a decorated function reads outside of it is never frozen: it agrees with undecorated
Python whatever changes between calls.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from support.state_cases import CASES

import graphjit as gj

X = np.linspace(0.5, 3, 6)
# What can't be followed, or changes what outlives the call, and runs eagerly.
EAGER = {
    "attribute and property of super", "class that is registered",
    "set", "default dict", "lru_cache", "deque", "append", "iterator", "counter",
    "counter on self", "array in place", "array replaced", "attrgetter", "weak reference",
    "globals()", "exec", "os.environ", "ContextVar", "random state",
}  # fmt: skip


def outcome(function: Any, x: Any) -> Any:
    try:
        return function(x)
    except Exception as error:
        return type(error)


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, type) or isinstance(found, type):
        return found is expected
    return (
        type(found) is type(expected)
        and found.dtype == expected.dtype
        and np.allclose(found, expected, rtol=1e-15 * 8, atol=0, equal_nan=True)
    )


def agree(text: str, changes: list[str]) -> list[Any]:
    """The specializations after calls between which the changes were made."""
    spaces: list[dict[str, Any]] = [{"np": np, "__name__": "__main__"} for _ in range(2)]
    for space in spaces:
        exec(text, space)
    plain, decorated = spaces[0]["f"], gj.function(spaces[1]["f"])
    for change in ["", "", *changes, "", ""]:
        for space in spaces:
            exec(change, space)
        for k in range(2):
            expected, found = outcome(plain, X + k), outcome(decorated, X + k)
            assert same(found, expected), (change, found, expected)
    return decorated.specializations


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_undecorated_python(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        specializations = agree(*CASES[name])
    eager = [s.reason for s in specializations if s.reason]
    assert (name in EAGER) == bool(eager), eager
