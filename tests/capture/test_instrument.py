"""Instrumented code does what the code does, and its hooks see it."""

from __future__ import annotations

import dis
import os
import subprocess
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from graphjit.capture import opcodes
from graphjit.capture.hooks import Hooks
from graphjit.capture.instrument import CannotInstrument, instrument, instrumented
from graphjit.capture.opcodes import TREATMENTS, Treatment

LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))
# Modules of the standard library that have tests; many of these use what is rare elsewhere.
QUICK = ("textwrap", "dataclasses", "contextlib", "fractions", "copy")
MORE = (
    "argparse", "ast", "bisect", "collections", "configparser", "csv", "decimal", "difflib",
    "enum", "functools", "heapq", "json", "pprint", "random", "shlex", "statistics", "string",
    "tokenize", "typing",
)  # fmt: skip


class Log(Hooks):
    """Hooks that note what they are called with, and change nothing."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name.startswith("_") or name == "seen":
            return found

        def noted(*args: Any) -> Any:
            self.seen.append((name, *args))
            return found(*args)

        # `delete_global` and `store_global` look at the caller's frame
        return found if name.endswith("_global") and name != "load_global" else noted


def hooked(function: Callable[..., Any], hooks: Hooks | None = None) -> Callable[..., Any]:
    assert isinstance(function, types.FunctionType)
    return instrumented(function, instrument(function.__code__, hooks or Hooks(), nested=True))


def test_every_opcode_has_its_treatment() -> None:
    missing = [
        name
        for name, op in dis.opmap.items()
        if op < 256 and not name.startswith("INSTRUMENTED_") and op not in TREATMENTS
    ]
    assert missing == []


def test_an_opcode_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return x[0]

    known = {op: t for op, t in TREATMENTS.items() if t is not Treatment.ITEM}
    monkeypatch.setattr("graphjit.capture.instrument.TREATMENTS", known)
    with pytest.raises(CannotInstrument, match=r"BINARY_SUBSCR in .*\bf\b"):
        instrument(f.__code__, Hooks())
    assert opcodes.TREATMENTS is TREATMENTS


@pytest.mark.parametrize("name", [*QUICK, *(MORE if LONG else ())])
def test_the_standard_library_passes_its_tests(name: str) -> None:
    pytest.importorskip(f"test.test_{name}", reason="Python came without its tests")
    script = Path(__file__).parents[1] / "support" / "idle_hooks.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), name],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "refused: []" in done.stdout


G = 3.0


class Base:
    scale = 2.0

    def value(self, x: Any) -> Any:
        return x * self.scale


class Derived(Base):
    def __init__(self) -> None:
        self.items = [1, 2, 3]
        self.table = {"a": 1}

    def value(self, x: Any) -> Any:
        return super().value(x) + super(Derived, self).scale  # noqa: UP008


class Manager:
    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *error: Any) -> bool:
        return error[0] is KeyError


def everything(n: int) -> Any:  # what follows is there for its instructions
    """A function with most of what a function can have."""
    global G
    found: list[Any] = []
    owner = Derived()
    total, *others = [n, 1, 2]

    def inner(y: Any, *more: Any, key: Any = None, **rest: Any) -> Any:
        nonlocal total
        total += y
        return total, more, key, rest

    def decorate(function: Any) -> Any:
        return lambda *a: ("decorated", function(*a))

    @decorate
    def decorated(y: Any) -> Any:
        return -y if not y else ~y

    def generate() -> Iterator[Any]:
        got = yield total  # noqa: F821
        yield from [got, n]
        return

    found.append(inner(1, 2, *[3, 4], key=5, **{"a": 6}))
    found.append([k * n for k in range(4) if k % 2 or k > n])
    found.append({k: v for k, v in zip("ab", range(2), strict=True)} | {**owner.table})
    found.append({*owner.items} | {k for k in owner.items})
    found.append(decorated(n))
    found.append((owner.value(2), owner.items[-1], owner.items[0:2], owner.items[::-1]))
    owner.items[1:2] = [7, 8]
    owner.items[0] += 10
    del owner.items[-1]
    owner.other = n  # type: ignore[attr-defined]
    del owner.other  # type: ignore[attr-defined]
    found.append(owner.items)
    generator = generate()
    found.append([next(generator), generator.send("sent"), *generator])
    with Manager() as manager, Manager():
        found.append(manager is None)
        raise KeyError(n)
    try:
        try:
            1 / (n - n)
        except ZeroDivisionError as error:
            found.append(str(error))
            raise ValueError("again") from error
        finally:
            found.append("finally")
    except (ValueError, TypeError):
        found.append(f"{n!r:>5} {n:03d} {found[0]}")
    for k in range(10):
        if k == 3:
            continue
        while True:
            if k > 5:
                break
            k += 3
        if k > 8:
            break
    else:
        found.append("no break")
    match (n, owner.table):
        case (0, _):
            found.append("zero")
        case (int(m), {"a": a, **rest}) if m < 100:
            found.append((m, a, rest))
        case [*_]:
            found.append("sequence")
    G = G + 0
    import math
    from math import pi as circle

    class Local(Base):
        scale = n

    assert "absent" not in found, "there"
    found.append((math.floor(circle), Local().value(2), G is not None, 1 < n < 5, n or others))
    found.append((lambda x=n: x + total)())  # noqa: F821
    del total
    return found


@pytest.mark.parametrize("n", [0, 1, 4, 200])
def test_everything_stays_as_it_is(n: int) -> None:
    assert hooked(everything)(n) == everything(n)
    assert hooked(everything, Log())(n) == everything(n)


def test_what_hooks_see() -> None:
    owner, key = Derived(), "a"

    def f(x: Any) -> Any:
        if x > G:
            owner.table[key] = x
        return owner.items[0] + x

    log = Log()
    assert hooked(f, log)(4) == 5
    seen = [entry[0] for entry in log.seen]
    assert seen == [
        "load_global", "compare", "test_joined", "test", "truth", "load_deref",
        "load_attribute", "load_deref", "store_item", "at_join", "load_deref", "load_attribute",
        "load_item", "binary",
    ]  # fmt: skip
    assert log.seen[0] == ("load_global", 3.0, "G")
    assert log.seen[1] == ("compare", (4, 3.0), ">")
    assert log.seen[6] == ("load_attribute", owner, "table")
    assert log.seen[8] == ("store_item", (4, {"a": 4}, "a"))
    assert log.seen[-1] == ("binary", (1, 4), 0)
    owner.table["a"] = 1


def test_hooks_may_give_other_values() -> None:
    class Other(Hooks):
        def load_global(self, value: Any, name: str) -> Any:
            return 10.0 if name == "G" else value

        def callee(self, function: Any) -> Any:
            return (lambda *a: max(*a)) if function is min else function

    def f(x: Any) -> Any:
        return min(x, G) + [min(k, 1) for k in (5,)][0]  # noqa: RUF015

    assert f(4) == 4
    assert hooked(f, Other())(4) == 15


def test_the_frames_and_lines_of_errors() -> None:
    def f(x: Any) -> Any:
        y = [k for k in x]
        return (y +
                1 / 0)  # fmt: skip

    for function in (f, hooked(f)):
        with pytest.raises(ZeroDivisionError) as info:
            function([1])
        found = [
            (e.name, e.lineno, e.colno, e.end_colno)
            for e in traceback.extract_tb(info.tb)
            if e.name == "f"
        ]
        line = f.__code__.co_firstlineno + 3
        assert found == [("f", line, 16, 21)]


def test_lines_that_a_tracer_sees() -> None:
    def f(x: Any) -> Any:
        total = 0
        for k in range(x):
            if k == 1:
                continue
            total += k
        return total

    def lines(function: Callable[..., Any]) -> list[int]:
        found: list[int] = []

        def trace(frame: Any, event: str, arg: Any) -> Any:
            if frame.f_code.co_name != "f":
                return None
            if event == "line":
                found.append(frame.f_lineno)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            function(3)
        finally:
            sys.settrace(before)
        return found

    assert lines(hooked(f)) == lines(f)


def test_recursion_goes_as_deep() -> None:
    def depth(k: int) -> int:
        try:
            return depth(k + 1)
        except RecursionError:
            return k

    plain = depth(0)
    names = {"depth": None}
    copy = types.FunctionType(
        instrument(depth.__code__, Hooks()), names, closure=depth.__closure__
    )
    assert plain - copy(0) < 20
