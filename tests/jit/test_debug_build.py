"""Calls under Python's debug allocator, and where objects are laid out in an unknown way."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import graphjit as gj
from graphjit.core import object_layout
from graphjit.jit import vectorcall

CODE = """
import collections, gc, sys
import numpy as np, graphjit as gj

X = np.arange(4, dtype=np.float32)
Pair = collections.namedtuple("Pair", "a b")
v = gj.Variable(np.zeros(4, np.float32))
w = {"w": X + 1}
calls = [
    (lambda x: x * 2 + 1, (X,)),
    (lambda x: x * 2 + 1, (gj.constant(X),)),
    (lambda x, a: (x * a, [x.sum(), None], {"k": a * 2}), (X, 2.5)),
    (lambda d: Pair(d["a"] * d["b"][0], d["b"][1]), ({"a": X, "b": [X, 2.0]},)),
    (lambda x: x * w["w"], (X,)),
    (lambda x: x * 2, (np.zeros((3, 8), np.float32)[:, ::2],)),
    (lambda x: np.exp(x - x.max(0)).sum(1), (np.ones((30, 30)),)),
    (lambda x: x[:, None] * x, (np.ones(600),)),
    (lambda x: np.sort(x), (X,)),
    (lambda x, i: x[i], (X, np.array([1, 9]))),
    (lambda x: (v.assign_add(x), v * 2)[1], (gj.constant(X),)),
    (lambda x: x + 1, (X.astype(">f4"),)),
    (lambda x, s: (x, s), (X, "text")),
]
for _ in range(2):
    for body, args in calls:
        fn = gj.function(body)
        for k in range(15):
            try:
                fn(*args)
            except IndexError:
                pass
            try:
                fn(*args, *args, *args, X)
            except TypeError:
                pass
    gc.collect()
out = np.zeros(4, np.float32)
fn = gj.function(lambda x: x * 2, donate="x")
for _ in range(100):
    fn(X.copy()), fn(X, out=out)
print("fine", v.numpy()[1])
"""


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not done.returncode, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.parametrize("after", ["0", "never"])
def test_under_a_debug_allocator(after: str) -> None:
    """Which fills what is freed, and notices writes outside blocks."""
    names = {"PYTHONMALLOC": "debug", "MALLOC_PERTURB_": "165", "MALLOC_CHECK_": "3"}
    assert run(CODE, GRAPHJIT_NATIVE_AFTER=after, **names) == "fine 30.0"


def test_an_unknown_interpreter() -> None:
    """As on free-threaded and debug builds: all goes through Python, with equal results."""
    code = (
        "import sys\n"
        "import graphjit.core.object_layout\n"
        "graphjit.core.object_layout.known_interpreter = lambda: False\n"
        "import graphjit as gj, numpy as np\n"
        "f = gj.function(lambda x: x + 1)\n"
        "f(np.ones(3)), f(np.ones(3))\n"
        "assert f._table is None and not f._native and f._entered_at == 0\n"
    )
    assert run(code + CODE, GRAPHJIT_NATIVE_AFTER="0") == "fine 30.0"


def test_free_threaded_builds_are_told(monkeypatch: Any) -> None:
    assert object_layout.known_interpreter() or not object_layout.fits()
    monkeypatch.setattr(sys, "version", "3.14.0 free-threading build (main)")
    assert not object_layout.known_interpreter()
    monkeypatch.setattr(object_layout, "types_fit", object_layout.types_fit.__wrapped__)
    monkeypatch.setattr(vectorcall, "types_fit", object_layout.types_fit)
    assert vectorcall._make_enterable() is vectorcall._NotEnterable


def test_a_million_calls() -> None:
    """Of which one in ten fails: no reference is lost or kept."""
    fn = gj.function(lambda x, i: (x * 2, x[i]), fallback="error")
    x, good, bad = np.arange(4.0), np.array([1, 3]), np.array([1, 9])
    dtypes = np.dtype(np.float64), np.dtype(np.int64)
    watched = [
        x,
        good,
        bad,
        fn,
        np.ndarray,
        IndexError,
        gj.errors.IndexOutOfRangeError,
        *dtypes,
    ]

    def calls(count: int) -> None:
        for _ in range(count):
            fn(x, good), fn(x, good), fn(x, good), fn(x, good), fn(x, good)
            fn(x, good), fn(x, good), fn(x, good), fn(x, good)
            try:
                fn(x, bad)
            except IndexError:
                continue
            raise AssertionError("no error")

    calls(100)
    before = [sys.getrefcount(o) for o in watched]
    calls(100_000)
    after = [sys.getrefcount(o) for o in watched]
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) < 20
