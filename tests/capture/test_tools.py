"""Debuggers, profilers, tracebacks, patches and reloads with decorated functions."""

from __future__ import annotations

import asyncio
import cProfile
import functools
import importlib
import inspect
import io
import os
import pdb
import pstats
import subprocess
import sys
import threading
import traceback
import types
import unittest.mock
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_driver import CASES, lines_that_show_traced_values

import graphjit as gj

LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))
pytestmark = pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
X = np.linspace(0.5, 2, 4)
RATE = 2.0
SWITCH: list[int] = []


def helper(x: Any) -> Any:
    y = x + 1
    return y * RATE


def compiled(x: Any) -> Any:
    z = helper(x)
    return z - 1


def eager(x: Any) -> Any:
    z = helper(x)
    id(z)  # which isn't followed
    return z - 1


BOTH = pytest.mark.parametrize("function", [compiled, eager])


def events(function: Callable[..., Any], install: Callable[[Any], None]) -> list[Any]:
    """What `sys.settrace` or `sys.setprofile` tells of this file's functions in a call."""
    seen: list[Any] = []

    def note(frame: types.FrameType, event: str, arg: Any) -> Any:
        if frame.f_code in (helper.__code__, compiled.__code__, eager.__code__) or (
            frame.f_code.co_name in ("helper", "compiled", "eager")
            and frame.f_code.co_filename == __file__
        ):
            seen.append((frame.f_code.co_name, event, frame.f_lineno))
        return note

    install(note)
    try:
        function(X)
    finally:
        install(None)
    return seen


@pytest.fixture
def no_tracer() -> Any:
    """Puts back the trace and profile functions of who runs the tests."""
    before = sys.gettrace(), sys.getprofile()
    yield
    sys.settrace(before[0])
    sys.setprofile(before[1])


@pytest.mark.usefixtures("no_tracer")
@pytest.mark.parametrize("install", [sys.settrace, sys.setprofile])
def test_lines_and_calls_that_are_seen(install: Callable[[Any], None]) -> None:
    plain = events(compiled, install)
    f = gj.function(compiled)
    assert events(f, install) == plain  # the call that is traced
    assert events(f, install) == []  # a compiled one runs no Python
    plain = events(eager, install)
    f = gj.function(eager)
    first = events(f, install)
    assert first[-len(plain) :] == plain
    assert events(f, install) == plain


@pytest.mark.usefixtures("no_tracer")
@BOTH
def test_profile_and_trace_functions_stay(function: Callable[..., Any]) -> None:
    def note(frame: types.FrameType, event: str, arg: Any) -> Any:
        return note

    f = gj.function(function)
    sys.settrace(note)
    sys.setprofile(note)
    f(X)
    found = sys.gettrace(), sys.getprofile()
    sys.settrace(None)
    sys.setprofile(None)
    assert found == (note, note)


@pytest.mark.usefixtures("no_tracer")
def test_cprofile_counts_eager_calls() -> None:
    f = gj.function(eager)
    f(X)
    profile = cProfile.Profile()
    for _ in range(3):
        profile.runcall(f, X)
    stats: Any = pstats.Stats(profile)
    calls = {key[2]: counts[0] for key, counts in stats.stats.items() if key[0] == __file__}
    assert calls["helper"] == calls["eager"] == 3


@pytest.mark.usefixtures("no_tracer")
@BOTH
def test_cprofile_of_a_first_call(function: Callable[..., Any]) -> None:
    profile = cProfile.Profile()
    np.testing.assert_array_equal(profile.runcall(gj.function(function), X), function(X))


def debugged(function: Callable[..., Any], commands: str) -> str:
    """What the debugger says when it stops in the helper."""
    out = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO(commands), stdout=out, nosigint=True, readrc=False)
    line = inspect.getsourcelines(helper)[1] + 1
    assert debugger.set_break(__file__, line) is None
    debugger.reset()
    debugger.botframe = sys._getframe()
    debugger._set_stopinfo(debugger.botframe, None, -1)
    sys.settrace(debugger.trace_dispatch)
    try:
        function(X)
    finally:
        sys.settrace(None)
        debugger.clear_all_breaks()
    return out.getvalue()


COMMANDS = "p x.shape\nn\np y.shape\np sorted(locals())\nc\n"


@pytest.mark.usefixtures("no_tracer")
@BOTH
def test_breakpoint_in_a_helper_and_steps(function: Callable[..., Any]) -> None:
    plain = debugged(function, COMMANDS)
    assert "y = x + 1" in plain and "(4,)" in plain and "return y * RATE" in plain
    f = gj.function(function)
    if function is compiled:
        assert debugged(f, COMMANDS) == plain
        assert debugged(f, COMMANDS) == ""  # a compiled call runs no Python
    else:
        assert debugged(f, COMMANDS * 2).startswith(plain)  # where it is traced, then for real
        assert debugged(f, COMMANDS) == plain


@pytest.mark.usefixtures("no_tracer")
def test_a_debugger_that_asks_for_values() -> None:
    """In a trace there are none. It then stops in a second run, which has them."""
    plain = debugged(compiled, "p x\nc\n")
    found = debugged(gj.function(compiled), "p x\nc\np x\nc\n")
    assert found.endswith(plain)


def test_breakpoint_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops at each call, where the values are real."""
    seen: list[Any] = []

    def hook() -> None:
        seen.append(sys._getframe(1).f_locals["y"])

    monkeypatch.setattr(sys, "breakpointhook", hook)

    @gj.function
    def f(x: Any) -> Any:
        y = x * 2
        breakpoint()
        return y

    for k in range(3):
        np.testing.assert_array_equal(f(X + k), (X + k) * 2)
        np.testing.assert_array_equal(seen[k], (X + k) * 2)
    assert [type(y) for y in seen] == [np.ndarray] * 3


def test_coverage(tmp_path: Path) -> None:
    pytest.importorskip("coverage")
    (tmp_path / "measured.py").write_text(
        "def helper(x):\n    if x.ndim > 1:\n        return x\n    return x + 1\n\n\n"
        "def f(x):\n    y = helper(x)\n"
        "    for k in range(2):\n        y = y * k\n    return y\n"
    )
    program = (
        "import coverage, sys\nimport numpy as np\nimport graphjit as gj\n"
        "measure = coverage.Coverage(data_file=None, include=['*measured.py'])\n"
        "measure.start()\nimport measured\n"
        "f = gj.function(measured.f) if len(sys.argv) > 1 else measured.f\n"
        "f(np.ones(3)), f(np.ones(3)), f(np.ones(4))\n"
        "measure.stop()\nprint(*measure.analysis2(measured)[1:4])\n"
    )
    shown = []
    for arguments in ((), ("decorated",)):
        result = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        shown.append(result.stdout)
    assert shown[0] == shown[1] and "[3]" in shown[0]


# -- errors


class Failure(Exception):
    pass


def failing_helper(x: Any) -> Any:
    if SWITCH:
        raise Failure("stop", len(SWITCH))
    return x + 1


def fails_in_a_helper(x: Any) -> Any:
    y = x * 2
    return failing_helper(y)


def fails_eagerly(x: Any) -> Any:
    print("", end="")
    return failing_helper(
        x,
    )


def fails_with_a_cause(x: Any) -> Any:
    try:
        return failing_helper(x)
    except Failure as error:
        raise KeyError("again") from error


def has_no_attribute(x: Any) -> Any:
    y = x * 2
    return y.nothing if SWITCH else y


def divides(x: Any) -> Any:
    return x + (1 // (1 - len(SWITCH)))


def fails_in_a_comprehension(x: Any) -> Any:
    return sum([failing_helper(x * k) for k in range(2)])


def fails_in_a_lambda(x: Any) -> Any:
    return next(map(lambda v: failing_helper(v), [x]))


FAILING = [
    fails_in_a_helper, fails_eagerly, fails_with_a_cause, has_no_attribute, divides,
    fails_in_a_comprehension, fails_in_a_lambda,
]  # fmt: skip


def told(function: Callable[..., Any], *args: Any) -> Any:
    """An error with its chain: types, texts, notes, and the frames that aren't graphjit's."""
    with pytest.raises(Exception) as caught:
        function(*args)
    found = []
    error: BaseException | None = caught.value
    while error is not None:
        package = os.path.dirname(gj.__file__)
        frames = [
            (frame.name, frame.lineno, frame.line)
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith(package) and frame.name != "told"
        ]
        found.append((type(error), error.args, getattr(error, "__notes__", None), frames))
        error = error.__cause__ or error.__context__
    return found


@pytest.mark.parametrize("compiled_before", [False, True])
@pytest.mark.parametrize("function", FAILING)
def test_errors_are_those_of_undecorated_functions(
    function: Callable[..., Any], compiled_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    f = gj.function(function)
    if compiled_before:
        for _ in range(2):
            np.testing.assert_array_equal(f(X), function(X))
    monkeypatch.setitem(globals(), "SWITCH", [1])
    expected = told(function, X)
    for _ in range(3):
        assert told(f, X) == expected
    monkeypatch.setitem(globals(), "SWITCH", [])
    np.testing.assert_array_equal(f(X), function(X))


def test_printed_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line, with the marks under the code, but for graphjit's own frames."""

    def printed(function: Callable[..., Any]) -> list[str]:
        try:
            function(X)
        except Failure as error:
            package = os.path.dirname(gj.__file__)
            trace = error.__traceback__
            frames = traceback.StackSummary.from_list(
                frame
                for frame in traceback.extract_tb(trace)
                if not frame.filename.startswith(package)
            )
            return frames.format()[1:] + traceback.format_exception_only(error)
        raise AssertionError("no error")

    monkeypatch.setitem(globals(), "SWITCH", [1])
    f = gj.function(fails_in_a_helper)
    for _ in range(2):
        assert printed(f) == printed(fails_in_a_helper)


def test_an_index_out_of_bounds_in_compiled_code() -> None:
    """The error is one of NumPy's type, and says the line of which there is no frame."""

    def pick(x: Any, i: Any) -> Any:
        y = x * 2
        return y[i]

    f = gj.function(pick)
    f(X, np.array([0, 1]))
    line = inspect.getsourcelines(pick)[1] + 2
    for _ in range(2):
        with pytest.raises(IndexError, match=rf"test_tools.py:{line} in pick: return y\[i\]"):
            f(X, np.array([0, 9]))


@pytest.mark.xfail(reason="the line is that of the caller")
def test_the_line_of_a_singular_matrix() -> None:
    def solve(x: Any) -> Any:
        y = x * np.ones((4, 1))
        return np.linalg.inv(y)

    line = inspect.getsourcelines(solve)[1] + 2
    with pytest.raises(np.linalg.LinAlgError, match=rf"test_tools.py:{line} in solve"):
        gj.function(solve)(X)


def down(x: Any, n: int) -> Any:
    return x if n == 0 else down(x + 1, n - 1)


def endless(x: Any) -> Any:
    return endless(x + 1)


def test_deep_recursion_is_traced() -> None:
    f = gj.function(lambda x: down(x, 300), fallback="error")
    np.testing.assert_array_equal(f(X), X + 300)


def test_recursion_without_end() -> None:
    f = gj.function(endless)
    for _ in range(2):
        with pytest.raises(RecursionError) as caught:
            f(X)
        with pytest.raises(RecursionError) as plain:
            endless(X)
        assert caught.value.args == plain.value.args
    np.testing.assert_array_equal(gj.function(compiled)(X), compiled(X))


# -- what is asked of functions


def documented(x: Any, k: float = 2.0, *args: Any, name: str = "a", **kwargs: Any) -> Any:
    """What it does."""
    return x * k


@pytest.mark.parametrize(
    "ask",
    [
        inspect.signature, inspect.getsource, inspect.getsourcelines, inspect.getdoc,
        inspect.getcomments, inspect.getmodule, inspect.isgeneratorfunction,
        inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isclass, callable,
        inspect.unwrap, inspect.get_annotations,
    ],
)  # fmt: skip
def test_inspect(ask: Callable[[Any], Any]) -> None:
    assert ask(gj.function(documented)) == ask(documented)


@pytest.mark.parametrize(
    "name", ["__name__", "__qualname__", "__doc__", "__module__", "__annotations__"]
)
def test_attributes(name: str) -> None:
    assert getattr(gj.function(documented), name) == getattr(documented, name)


@pytest.mark.xfail(reason="it asks for a code object, as with what lru_cache makes")
def test_getfile() -> None:
    assert inspect.getfile(gj.function(documented)) == __file__


def test_coroutine_function() -> None:
    async def double(x: Any) -> Any:
        await asyncio.sleep(0)
        return x * 2

    f = gj.function(double)
    for k in range(2):
        np.testing.assert_array_equal(asyncio.run(f(X + k)), (X + k) * 2)


def test_coroutine_function_is_known_as_one() -> None:
    async def double(x: Any) -> Any:
        return x * 2

    assert inspect.iscoroutinefunction(gj.function(double))


def test_generator_function() -> None:
    def parts(x: Any) -> Any:
        yield x * 2
        yield from (x, x + 1)

    f = gj.function(parts)
    for k in range(2):
        for found, expected in zip(f(X + k), parts(X + k), strict=True):
            assert type(found) is np.ndarray
            np.testing.assert_array_equal(found, expected)


def test_functions_made_with_numba() -> None:
    numba = pytest.importorskip("numba")

    @numba.njit
    def add(x: Any, k: float) -> Any:
        return x + k

    def f(x: Any) -> Any:
        return add(x * 2, RATE) * 3

    decorated = gj.function(f)
    for k in range(3):
        np.testing.assert_array_equal(decorated(X + k), f(X + k))


CYTHON = """
state = []


def add(x, k=1):
    state.append(k)
    return x + k * len(state)


class Scale:
    def __init__(self, k):
        self.k = k

    def __call__(self, x):
        self.k += 1
        return x * self.k


cdef class Fixed:
    cdef public double k

    def __init__(self, k):
        self.k = k

    def apply(self, x):
        return x * self.k
"""
USES = """
import numpy as np
import compiled_helpers as h
import graphjit as gj


def outcomes(decorate):
    h.state.clear()
    scale, fixed = h.Scale(2.0), h.Fixed(3.0)
    fs = [
        decorate(lambda x: h.add(x * 2, 3) * 2),
        decorate(lambda x: scale(x) + 1),
        decorate(lambda x: fixed.apply(x + 1)),
        decorate(lambda x: x * fixed.k),
    ]
    found = []
    for k in range(4):
        fixed.k += 1
        found += [f(np.arange(3.0) + k).tolist() for f in fs]
    return found, list(h.state), scale.k


assert outcomes(lambda f: f) == outcomes(gj.function), (
    outcomes(lambda f: f), outcomes(gj.function)
)
"""


def test_functions_made_with_cython(tmp_path: Path) -> None:
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    (tmp_path / "compiled_helpers.pyx").write_text(CYTHON)
    (tmp_path / "uses.py").write_text(USES)
    build = (
        "from setuptools import setup\nfrom Cython.Build import cythonize\n"
        "setup(ext_modules=cythonize('compiled_helpers.pyx', language_level=3))"
    )
    made = subprocess.run(
        [sys.executable, "-c", build, "build_ext", "--inplace"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip("no compiler for C")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "uses.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_wrappers_around_and_below() -> None:
    calls: list[str] = []

    def noting(name: str) -> Callable[..., Any]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def inner(*args: Any, **kwargs: Any) -> Any:
                calls.append(name)
                return function(*args, **kwargs)

            return inner

        return decorate

    def work(x: Any, k: float = 2.0) -> Any:
        return x * k

    f = noting("outer")(gj.function(noting("middle")(noting("inner")(work))))
    for k in range(1, 4):
        np.testing.assert_array_equal(f(X, k=3.0 * k), X * 3 * k)
        assert calls == ["outer", "middle", "inner"] * k
    assert inspect.signature(f) == inspect.signature(work) and inspect.unwrap(f) is work


# -- what tests and notebooks replace


def test_patches() -> None:
    f = gj.function(compiled)
    module = sys.modules[__name__]

    def check() -> None:
        for _ in range(2):
            np.testing.assert_array_equal(f(X), compiled(X))

    check()
    with unittest.mock.patch.object(module, "RATE", 5.0):
        check()
    check()
    with unittest.mock.patch.object(module, "helper", lambda x: x - 3):
        check()
    check()
    with unittest.mock.patch.object(module, "helper", return_value=X * 9) as mocked:
        before = mocked.call_count
        check()
        assert mocked.call_count == before + 4
        np.testing.assert_array_equal(mocked.call_args.args[0], X)
        assert type(mocked.call_args.args[0]) is np.ndarray
    check()
    with unittest.mock.patch.object(module, "RATE", np.arange(4.0)):
        check()
    check()


@pytest.mark.xfail(reason="what modules of libraries hold has no guards, as documented")
def test_patched_numpy() -> None:
    def exp(x: Any) -> Any:
        return np.exp(x) + 1

    f = gj.function(exp)
    np.testing.assert_allclose(f(X), exp(X), rtol=1e-15)
    with unittest.mock.patch.object(np, "exp", lambda x: x * 100):
        np.testing.assert_array_equal(f(X), X * 100 + 1)
    np.testing.assert_allclose(f(X), exp(X), rtol=1e-15)


def test_patched_dict_and_environment() -> None:
    settings = {"k": 2.0}

    def scaled(x: Any) -> Any:
        return x * settings["k"] + float(os.environ.get("GRAPHJIT_TEST_TOOLS", "0"))

    f = gj.function(scaled)
    np.testing.assert_array_equal(f(X), X * 2)
    with unittest.mock.patch.dict(settings, {"k": 7.0}):
        np.testing.assert_array_equal(f(X), X * 7)
    with unittest.mock.patch.dict(os.environ, {"GRAPHJIT_TEST_TOOLS": "4"}):
        np.testing.assert_array_equal(f(X), X * 2 + 4)
    np.testing.assert_array_equal(f(X), X * 2)


def test_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of before use the new globals of their module, as Python's do."""
    path = tmp_path / "reloaded_module.py"
    text = (
        "import graphjit as gj\nK = {k}\ndef helper(x):\n    return x * {k}\n"
        "def plain(x):\n    return helper(x) + K\nf = gj.function(plain)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path.write_text(text.format(k=2))
    module = importlib.import_module("reloaded_module")
    try:
        old, old_plain = module.f, module.plain
        for k in (2, 30, 400):
            if k > 2:
                path.write_text(text.format(k=k))
                importlib.invalidate_caches()
                importlib.reload(module)
            for _ in range(2):
                np.testing.assert_array_equal(module.f(X), X * k + k)
                np.testing.assert_array_equal(old(X), old_plain(X))
                np.testing.assert_array_equal(old(X), X * k + k)
    finally:
        sys.modules.pop("reloaded_module", None)


def test_cells_of_a_notebook() -> None:
    """Definitions are executed again in one namespace, without source files."""
    space: dict[str, Any] = {"np": np, "gj": gj, "__name__": "__main__"}
    cells = [
        "K = 2.0\nclass M:\n    def go(self, x):\n        return x * K\nm = M()",
        "@gj.function\ndef f(x):\n    return m.go(x) + 1",
        "r = f(X), X * 2 + 1",
        "K = 5.0",
        "r = f(X), X * 5 + 1",
        "class M:\n    def go(self, x):\n        return x - K",
        "r = f(X), X * 5 + 1",  # the object has the old class
        "m = M()",
        "r = f(X), X - 5 + 1",
        "@gj.function\ndef f(x):\n    return m.go(x) * 10",
        "r = f(X), (X - 5) * 10",
        "def g(x):\n    return x\nM.go = lambda self, x: g(x)",
        "r = f(X), X * 10",
        "def g(x):\n    return x + 1",
        "r = f(X), (X + 1) * 10",
    ]
    space["X"] = X
    for number, cell in enumerate(cells):
        exec(compile(cell, f"<cell {number}>", "exec"), space)
        if cell.startswith("r"):
            np.testing.assert_array_equal(*space["r"])
            np.testing.assert_array_equal(eval("f(X)", space), space["r"][1])


# -- other threads


@pytest.mark.usefixtures("no_tracer")
@pytest.mark.parametrize("part", range(4))
def test_no_traced_value_can_be_seen_from_outside(part: int) -> None:
    """Whatever a case's globals hold at a line of it, another thread could read there."""
    names = list(CASES)[part :: 4 if LONG else 16]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shown = {name: lines_that_show_traced_values(CASES[name]) for name in names}
    assert {name: lines for name, lines in shown.items() if lines} == {}


def test_a_thread_that_watches_what_is_read() -> None:
    """What the function only reads is never replaced, not even while it is traced."""
    state = types.SimpleNamespace(w=np.ones(4), items=[np.ones(4)], k=2.0)
    table = {"w": np.ones(4)}
    stop, bad = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            seen = [state.w, *state.items, table["w"], state.k]
            bad.extend(v for v in seen if type(v) not in (np.ndarray, float))

    def f(x: Any) -> Any:
        for _ in range(20):
            x = x * state.w + state.items[0] * table["w"] + state.k
        return x

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(20):
            expected = f(X)
            np.testing.assert_allclose(gj.function(f)(X), expected, rtol=1e-12)
    finally:
        stop.set()
        thread.join()
    assert not bad
