"""Every fused pattern at sizes around a warp, a block and a grid, for every architecture: ptxas
assembles it without stack or spills, and the emulator's results have the CPU's bits and are
within a derived bound (rounding.py) of exact ones.

Regularly a few shapes of each pattern, in turns; all shapes, dtypes and architectures with
GRAPHJIT_LONG_TESTS=1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from compiled import same_bits
from ptx import manifest, programs
from ptx.rounding import Rounded, assert_within

import graphjit as gj
from graphjit.export.ptx import export

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
LONG = bool(os.environ.get("GRAPHJIT_LONG_TESTS"))
TARGETS = ("sm_75", "sm_80", "sm_90", "sm_100", "sm_120")
LENGTHS = (0, 1, 31, 32, 33, 255, 256, 257, 5003)
LINES = tuple((n,) for n in LENGTHS)
TALL, FLAT = tuple((n, 3) for n in LENGTHS), tuple((3, n) for n in LENGTHS)
RAGGED = ((5, 33), (33, 5), (17, 4), (3, 7, 31), (2, 1, 65), (4, 33, 2))
ROWS = TALL + FLAT + RAGGED
SQUARES = tuple(s for s in ROWS if max(s) < 5003)
DTYPES: tuple[Any, ...] = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)


@dataclass(frozen=True)
class Places:
    """An array of places among `count`."""

    shape: Shape
    count: int


@dataclass(frozen=True)
class Pattern:
    """A function of arrays.

    shapes: those that the first array is tried with. inputs: all arrays' for one of them.
    exact: what the results should be, in Rounded's arithmetic, where that isn't what the
    function itself says. empty: whether it takes rows or columns of nothing.
    """

    function: Callable[..., Any]
    shapes: tuple[Shape, ...] = ROWS
    inputs: Callable[[Shape], Sequence[Shape | Places]] = lambda shape: [shape]
    exact: Callable[..., Any] | None = None
    empty: bool = True

    def arguments(self, shape: Shape, dtype: Any) -> list[Array]:
        rng = np.random.default_rng(len(shape) + sum(shape))
        return [
            rng.integers(0, given.count, given.shape)
            if isinstance(given, Places)
            else rng.normal(size=given).astype(np.float32).astype(dtype)
            for given in self.inputs(shape)
        ]

    def wanted(self, arrays: Sequence[Array]) -> tuple[Any, ...]:
        given = [a if a.dtype == np.int64 else Rounded(a) for a in arrays]
        found = (self.exact or self.function)(*given)
        return found if isinstance(found, tuple) else (found,)


# -- the patterns


def chain(x: Any, y: Any) -> Any:
    return np.exp(-x * x) + y / 3 - 1


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(0.79788456 * (x + 0.044715 * x * x * x)))


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    apart = x - x.mean(-1, keepdims=True)
    return apart / np.sqrt((apart * apart).mean(-1, keepdims=True) + 1) * scale + shift


def logsumexp(x: Any) -> Any:
    largest = x.max(-1, keepdims=True)
    return np.log(np.exp(x - largest).sum(-1, keepdims=True)) + largest


def standardised(x: Any) -> Any:
    apart = x - x.mean(0, keepdims=True)
    return apart / np.sqrt((apart * apart).mean(0, keepdims=True) + 1)


def attention(q: Any, k: Any) -> Any:
    return softmax(q @ k.swapaxes(-1, -2) * 0.25) @ k


def scattered(mode: str) -> Callable[..., Any]:
    scatter = getattr(gj, f"tensor_scatter_nd_{mode}")
    return lambda updates, index, x: scatter(x, index[:, None], updates)


def scatter_inputs(shape: Shape) -> Sequence[Shape | Places]:
    return [shape, Places(shape[:1], 7), (7, *shape[1:])]


def updated(updates: Any, index: Any, x: Any) -> Any:
    value = x.value.copy()
    for row, update in zip(index, updates.value, strict=True):
        value[row] = update
    return Rounded(value, dtype=x.dtype)


PATTERNS: dict[str, Pattern] = {
    # element by element
    "chain": Pattern(chain, LINES + ROWS, lambda s: [s, s]),
    "gelu": Pattern(gelu, LINES + ROWS),
    "several results": Pattern(
        lambda x, y: (x + 1, x * y - x, np.maximum(x, y)), ROWS, lambda s: [s, s]
    ),
    "read across": Pattern(lambda x, y: x + y.T, ROWS, lambda s: [s, s[::-1]]),
    # along rows
    "softmax": Pattern(softmax, empty=False),
    "layer norm": Pattern(layer_norm, ROWS, lambda s: [s, s[-1:], s[-1:]], empty=False),
    "logsumexp": Pattern(logsumexp, empty=False),
    "over the same rows": Pattern(
        lambda x: (x.max(-1), x.sum(-1), (x * x).sum(-1), x.min(-1)), empty=False
    ),
    "place of the largest": Pattern(
        lambda x: (x.argmax(-1), x.argmin(0)),
        exact=lambda x: (x.value.argmax(-1), x.value.argmin(0)),
        empty=False,
    ),
    # along columns, of all
    "column sums": Pattern(lambda x: x.sum(0)),
    "column sums with a prologue": Pattern(lambda x: np.exp(x).sum(0) * 2),
    "largest of columns": Pattern(lambda x: x.max(0) - 1, empty=False),
    "standardised columns": Pattern(standardised, empty=False),
    "both ends": Pattern(lambda x: x.sum((0, -1))),
    "whole sum": Pattern(lambda x: x.sum() * 2, LINES + ROWS),
    "whole mean": Pattern(lambda x: (x.mean(), x.max()), LINES + ROWS, empty=False),
    # running sums
    "running sums of columns": Pattern(lambda x: x.cumsum(0)),
    "running sums of rows": Pattern(lambda x: x.cumsum(-1), LINES + ROWS),
    "what follows running sums": Pattern(lambda x: x.cumsum(-1) * 2 - x),
    # what data choose
    "gather": Pattern(lambda i, x: x[i] * 2, LINES + RAGGED, lambda s: [Places(s, 9), (9, 4)]),
    "gather and sum": Pattern(lambda i, x: x[i].sum(-1), ROWS, lambda s: [Places(s, 9), (9,)]),
    "scatter add": Pattern(
        scattered("add"), LINES + ROWS, scatter_inputs, lambda u, i, x: x.added_at(i, u)
    ),
    "scatter update": Pattern(scattered("update"), LINES + ROWS, scatter_inputs, updated),
    # products
    "product, bias, relu": Pattern(
        lambda x, w, b: np.maximum(x @ w + b, 0), ROWS, lambda s: [s, (s[-1], 5), (5,)]
    ),
    "product of many terms": Pattern(lambda x, w: w @ x, ROWS, lambda s: [s, (6, s[-2])]),
    "product with a vector": Pattern(lambda x, v: x @ v, ROWS, lambda s: [s, s[-1:]]),
    "square": Pattern(lambda x, y: x @ y.swapaxes(-1, -2) - 1, SQUARES, lambda s: [s, s]),
    "pairwise": Pattern(
        lambda x, y: ((x[..., None, :] - y) * (x[..., None, :] - y)).sum(-1),
        ROWS, lambda s: [s, (4, s[-1])],
    ),
    "nearest": Pattern(
        lambda x, y: ((x[..., None, :] - y) * (x[..., None, :] - y)).sum(-1).min(-1),
        ROWS, lambda s: [s, (4, s[-1])],
    ),
    "attention": Pattern(attention, SQUARES, lambda s: [s, s], empty=False),
}  # fmt: skip


def shapes_of(pattern: Pattern) -> list[Shape]:
    """Those that the pattern takes."""
    return [s for s in pattern.shapes if pattern.empty or 0 not in s]


CASES = [(name, dtype) for name in PATTERNS for dtype in (DTYPES if LONG else DTYPES[:1])]
SOME = 3  # shapes of each pattern in a regular run


def in_turn(name: str, choices: Sequence[Any], count: int) -> list[Any]:
    """All of them in a long run, else a few: others for each pattern."""
    start = list(PATTERNS).index(name)
    step = max(1, len(choices) // count)
    return list(choices) if LONG else [*choices[start % step :: step]][:count]


def body(text: str) -> str:
    """PTX without what it says of the architecture."""
    return re.sub(r"^\.(version|target).*$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "dtype"), CASES, ids=[f"{n}, {np.dtype(d).name}" for n, d in CASES]
)
def test_all_sizes(name: str, dtype: Any) -> None:
    pattern = PATTERNS[name]
    for shape in in_turn(name, shapes_of(pattern), SOME):
        arrays = pattern.arguments(shape, dtype)
        graph = programs.graph_of(pattern.function, *arrays)
        on_cpu, wanted = programs.on_cpu(graph, arrays), pattern.wanted(arrays)
        seen = set()
        for arch in in_turn(name, TARGETS, 1):
            assembly = programs.planned(graph, arch)
            for used in programs.report(assembly, arch):
                assert (used.stack_bytes, used.spill_bytes) == (0, 0), (shape, arch)
            launches = str([call.launch for call in assembly.calls])
            if (text := body(assembly.text) + launches) in seen:
                continue
            seen.add(text)
            found = programs.run(assembly, arrays)
            for actual, cpu, exact in zip(found, on_cpu, wanted, strict=True):
                assert same_bits(actual, cpu), (shape, arch)
                if isinstance(exact, Rounded):
                    assert_within(actual, exact)
                else:
                    np.testing.assert_array_equal(actual, exact)


OPEN = [(name, rank) for name in PATTERNS for rank in {len(s) for s in PATTERNS[name].shapes}]


@pytest.mark.parametrize(("name", "rank"), OPEN, ids=[f"{n}, {r}-d" for n, r in OPEN])
def test_one_ptx_for_all_sizes(name: str, rank: int, tmp_path: Path) -> None:
    """What differs between shapes is left open; zeros and ones are never (DESIGN.md)."""
    pattern = PATTERNS[name]
    shapes = [s for s in shapes_of(pattern) if len(s) == rank and min(s) > 1]
    calls = [pattern.arguments(s, np.float32) for s in shapes]
    specs = []
    for given in zip(*calls, strict=True):
        extents = [set(n) for n in zip(*(a.shape for a in given), strict=True)]
        shape = [n.pop() if len(n) == 1 else None for n in extents]
        specs.append(gj.TensorSpec(shape, given[0].dtype))
    for arch in in_turn(name, TARGETS, 1):
        exported = export(pattern.function, specs, arch)
        for used in programs.report(exported.assembly, arch):
            assert (used.stack_bytes, used.spill_bytes) == (0, 0), arch
    exported.write(tmp_path)
    for arrays in in_turn(name, calls, SOME):
        graph = programs.graph_of(pattern.function, *arrays)
        try:
            found = manifest.run(tmp_path, arrays)
        except ValueError:  # a guard: sums that are cut into stages are another program
            assert max(arrays[0].shape) == max(LENGTHS)
            continue
        for actual, cpu, exact in zip(
            found, programs.on_cpu(graph, arrays), pattern.wanted(arrays), strict=True
        ):
            assert same_bits(actual, cpu), arrays[0].shape
            if isinstance(exact, Rounded):
                assert_within(actual, exact)
