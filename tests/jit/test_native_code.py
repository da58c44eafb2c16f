"""The dispatcher's machine code: when it is made, and the layouts that it relies on."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from native_calls import X, native_only, plus, same

import graphjit as gj
from graphjit.core import object_layout


@native_only
def test_the_code_is_made_after_some_calls() -> None:
    code = (
        "import numpy as np, graphjit as gj\n"
        "f = gj.function(lambda x: x + 1)\n"
        "x, entered = np.ones(3), []\n"
        "for _ in range(6):\n"
        "    assert (f(x) == 2).all()\n"
        "    entered.append(bool(f._entered_at))\n"
        "print(entered)"
    )
    for after, expected in (("3", [False] * 3 + [True] * 3), ("never", [False] * 6)):
        env = {**os.environ, "GRAPHJIT_NATIVE_AFTER": after}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True
        )
        assert done.stdout.strip() == str(expected), done.stderr


def test_unknown_layouts_stay_in_python(natively: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(object_layout, "fits", lambda: False)
    fn = gj.function(plus)
    for _ in range(3):
        same(fn(X), X + 1)
    assert fn._table is None


@pytest.mark.parametrize("version", [(3, 10), (3, 99)])
def test_unknown_interpreters_are_told(version: tuple[int, int], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    assert not object_layout.known_interpreter()


@native_only
def test_offsets_are_those_of_the_headers() -> None:
    x = np.arange(12.0).reshape(3, 4)
    assert object_layout.word(id(x) + object_layout.ARRAY_DATA) == x.ctypes.data
    assert object_layout.word(id(x) + object_layout.TYPE) == id(np.ndarray)
    assert ctypes.c_double.from_address(id(2.5) + object_layout.FLOAT_VALUE).value == 2.5
    assert all(object_layout.scalar_fits(np.dtype(c)) for c in "?bhilqBHILQefdFD")
