"""What a decorated function reads outside of it is never frozen, and what it writes is written
at each call. It agrees with undecorated Python, whatever changes between calls, in its results,
its arguments, its module's state, the texts printed and the warnings given.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import state_driver
from picture import Painter, difference
from state_driver import CASES, check

import graphjit as gj

LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))
STEP = 1 if LONG else 5
pytestmark = pytest.mark.filterwarnings("ignore")

# Cases that differ from undecorated Python, and why.
ERRORS = "the error is graphjit's, of a class that is NumPy's too, and names the user's line"
DIFFERS = {
    "argument: shapes that don't fit after a write": ERRORS,
    "argument: index out of bounds after a write": ERRORS,
}
# At most these run eagerly.
EAGER = {
    "argument: 0-d argument in place", "argument: an argument in Fortran's order",
    "argument: bits through a view", "argument: what may be a copy written",
    "argument: cast that fails after a write",
    "argument: fields of a structured array",
    "argument: flags set", "argument: items of a list argument sorted and deleted",
    "argument: real and imaginary part", "argument: shape assigned",
    "argument: the same array twice",
    "array: readings of a generator",
    "array: sending to a generator",
    "effect: StopIteration after a write", "effect: class made by the call",
    "effect: closures returned", "effect: global that is made and deleted",
    "effect: heap and bisect", "effect: helper redefined by the call",
    "effect: id of an object", "effect: identity of what is stored",
    "effect: itertools", "effect: lock", "effect: objects as keys",
    "effect: text buffer", "effect: thread's own",
    "effect: warning made an error", "effect: weak dict", "exec", "iterator",
    "library: decimal context", "library: garbage collector", "library: logging",
    "library: np.set_printoptions", "library: np.setbufsize", "library: np.seterr",
    "library: np.seterrcall", "nested: itertools.chain",
    "written again: __dict__ of an object", "written again: attribute of an enum",
    "written again: class of an object", "written again: defaults of a function",
    "written again: random state",
}  # fmt: skip
# A call that raises is traced three times, then run: a later call has that for a reason.
RAISING = {
    "argument: assertion after a write",
    "effect: AttributeError after a write", "effect: exception after appends",
    "effect: exception of a helper with state", "effect: property with a setter",
    "nested: error with a number that is an input",
}  # fmt: skip


def parameters(step: int = 1, first: int = 0, strict: bool = True) -> list[Any]:
    """Every step-th case, with what is known of those that differ.

    strict: whether these must differ, which they don't in each way to call them.
    """
    known = {
        name: pytest.mark.xfail(reason=why, strict=strict) for name, why in DIFFERS.items()
    }
    return [pytest.param(name, marks=known.get(name, ())) for name in list(CASES)[first::step]]


def assert_agrees(name: str, **options: Any) -> state_driver.Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        differs, made = check(name, **options)
    assert not differs, differs
    return made


@pytest.mark.parametrize("name", parameters())
def test_agrees_with_undecorated_python(name: str) -> None:
    made = assert_agrees(name)
    reasons = made.reasons()
    if name in RAISING:
        assert all(reason.startswith("tracing raised ") for reason in reasons), reasons
    else:
        assert name in EAGER or not reasons


G = 1.0


@np.errstate(divide="ignore")
def scaled_by_global(x: Any) -> Any:
    return x * G


@functools.singledispatch
def dispatched(x: Any) -> Any:
    return x * G


@dispatched.register
def _(x: list) -> Any:
    return x[0] * G + 1


@pytest.mark.parametrize(
    "function",
    [
        lambda x: scaled_by_global(x) + 1,
        lambda x: dispatched(x) + dispatched([x]),
        lambda x: np.vectorize(lambda t: t * G)(x),
        lambda x: np.apply_along_axis(lambda t: t * G, 0, np.ones(3)) + x,
        lambda x: np.fromfunction(lambda i: i * G, (3,)) + x,
        lambda x: np.piecewise(np.ones(3), [np.ones(3) > 0], [lambda t: t * G]) + x,
    ],
)
def test_what_a_library_calls_is_not_frozen(function: Callable[[Any], Any]) -> None:
    global G
    f = gj.function(function)
    for value in (1.0, 2.0, 3.0, 4.0):
        G = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gj.FallbackWarning)
            found = f(np.arange(3.0))
        np.testing.assert_array_equal(found, function(np.arange(3.0)))


def test_names_are_those_of_cases() -> None:
    assert {*EAGER, *RAISING, *DIFFERS} <= {*CASES}


@pytest.mark.parametrize("name", parameters(STEP, 1 % STEP, strict=False))
def test_each_call_in_a_new_thread(name: str) -> None:
    """All cases with GRAPHJIT_LONG_TESTS=1; so below."""
    assert_agrees(name, threads=True)


@pytest.mark.parametrize("name", parameters(STEP, 2 % STEP, strict=False))
def test_called_by_way_of_a_pickle(name: str, tmp_path: Path) -> None:
    assert_agrees(name, folder=str(tmp_path))


def test_from_the_disk_cache(tmp_path: Path) -> None:
    """A second process finds on disk what the first one compiled."""
    names = list(CASES)[3 % STEP :: STEP]
    command = [sys.executable, "-W", "ignore", state_driver.__file__, "--json", *names]
    found = []
    for _ in range(2):
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, "GRAPHJIT_CACHE_DIR": str(tmp_path)},
        )
        assert result.returncode == 0, result.stderr
        found.append(json.loads(result.stdout))
    for summary in found:
        assert {n for n in names if summary[n]["differs"]} == {n for n in names if n in DIFFERS}
    first, second = found
    compiled = {n: second[n]["compiled"] for n in names}
    assert compiled == {n: first[n]["compiled"] for n in names}
    # Of graphs that lead to the same code in one process only the first is written.
    missing = [n for n in names if second[n]["from_cache"] < compiled[n]]
    assert len(missing) <= max(2, len(names) // 40), missing
    assert sum(compiled.values()) > len(names) // 2


def test_the_table_of_cases(capsys: pytest.CaptureFixture[str]) -> None:
    state_driver.main(["global number", "exec"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 cases: 1 compiled, 0 but for calls that raise, 1 run eagerly"
    assert lines[-1] == "0 differ from undecorated Python"
    assert "      exec" in lines and "      global number" not in lines


class Box:
    pass


def pictured(*values: Any) -> Any:
    painter = Painter(__name__)
    return painter.paint(list(values)), painter.overlaps()


def box(**attributes: Any) -> Box:
    made = Box()
    vars(made).update(attributes)
    return made


ONES = np.ones(4)
PAIRS = {
    "values": (1, 2),
    "types": (1, 1.0),
    "signs": (0.0, -0.0),
    "dtypes": (np.ones(2), np.ones(2, np.float32)),
    "shapes": (np.ones(2), np.ones((1, 2))),
    "scalars": (np.float64(1), 1.0),
    "elements": (ONES, ONES + 1e-9),
    "order of keys": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "attributes": (box(a=1), box(a=2)),
    "attributes that are missing": (box(), box(a=2)),
    "flags": (np.ones(2), np.broadcast_to(1.0, 2)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pictures_show_differences(name: str) -> None:
    a, b = PAIRS[name]
    assert difference(pictured(a), pictured(b))
    assert not difference(pictured(b), pictured(b))


def test_pictures_show_identity_and_shared_memory() -> None:
    a, b = np.ones(4), np.ones(4)
    assert difference(pictured(a, a), pictured(a, a.copy()))
    assert difference(pictured(a, a[1:]), pictured(a, a[1:].copy()))
    assert difference(pictured(a, a[1:]), pictured(a, a[:-1]))
    assert not difference(pictured(a, a[1:]), pictured(b, b[1:]))
