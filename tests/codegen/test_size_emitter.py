"""Extents in machine code are what Python computes."""

from __future__ import annotations

import ctypes
import random
from typing import Any

import numpy as np
import pytest

from graphjit.codegen.cpu.native_code import native_code
from graphjit.codegen.optimize import simplify
from graphjit.codegen.sizes import SizeEmitter
from graphjit.core.dims import Dim, Sizes
from graphjit.core.extents import evaluate


def drawn(rng: random.Random, symbols: list[Any], depth: int) -> Any:
    """An expression of extents, with quotients of what may be negative."""
    if depth == 0 or rng.random() < 0.15:
        return rng.choice([*symbols, *symbols, rng.randint(-7, 7)])
    a, b = drawn(rng, symbols, depth - 1), drawn(rng, symbols, depth - 1)
    k = rng.randint(1, 6)
    return rng.choice([a + b, a - b, -(-a // k), a // k, -a // k, a * k - b, (a // k) * b])


@pytest.mark.parametrize("seed", range(40))
def test_extents_are_what_python_computes(seed: int) -> None:
    rng = random.Random(seed)
    sizes = Sizes()
    symbols = [sizes.symbol(name, hint) for name, hint in (("n0", 7), ("n1", 5))]
    found = [drawn(rng, symbols, 4) for _ in range(12)]
    found = [n for n in found if isinstance(n, Dim)]
    names = [str(n) for n in symbols]
    lines: list[str] = []
    emit = SizeEmitter(names, lines)
    for k, n in enumerate(found):
        value = emit(n)
        lines.append(f"  %at{k} = getelementptr i64, ptr %out, i64 {k}")
        lines.append(f"  store i64 {value}, ptr %at{k}, align 8")
    body = "\n".join(lines)
    text = f"define void @run(ptr %sizes, ptr %out) {{\nentry:\n{body}\n  ret void\n}}"
    code, _ = native_code(text, simplify, 1)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(code.address("run"))
    for _ in range(30):
        given = np.array([rng.randint(0, 40), rng.randint(0, 40)], np.int64)
        out = np.zeros(len(found), np.int64)
        run(given.ctypes.data, out.ctypes.data)
        values = dict(zip(names, given.tolist(), strict=True))
        assert out.tolist() == [evaluate(n, values) for n in found], [str(n) for n in found]
