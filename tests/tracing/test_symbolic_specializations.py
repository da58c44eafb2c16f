"""Specializations with symbolic extents: their number, guards, limits, texts and dumps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from symbolic_calls import RNG, normal, sized

import graphjit as gj
from graphjit.cli import main
from graphjit.core.dims import Undecided, is_symbolic
from graphjit.core.errors import InvalidArgumentError, OutOfMemoryError, RecompileError
from graphjit.ir.graph_json import from_json


@pytest.fixture(autouse=True)
def from_the_second_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)


def test_a_thousand_sizes_take_three_specializations() -> None:
    f = gj.function(lambda x: np.exp(-x) * x.max() if x.ndim > 1 else np.exp(-x) + 1)
    sizes = [*RNG.permutation(1000), 0, 1]
    for n in sizes:
        x = normal((int(n),))
        np.testing.assert_allclose(f(x), np.exp(-x) + 1, rtol=1e-6)
    assert f.trace_count == len(f.specializations) <= 3


def test_ones_stay_static_and_broadcast() -> None:
    f = gj.function(lambda x, y: x + y)
    for n, m in ((3, 4), (5, 6), (1, 9), (9, 1), (1, 1), (7, 8)):
        x, y = normal((n, 1)), normal((1, m))
        np.testing.assert_array_equal(f(x, y), x + y)
    assert len(f.specializations) <= 5


def test_sizes_that_must_agree() -> None:
    f = gj.function(lambda x, y: x + y, fallback="error")
    for n in (3, 5):
        f(normal((n,)), normal((n,)))
    with pytest.raises(ValueError, match="could not be broadcast"):
        f(normal((6,)), normal((7,)))
    x = normal((8,))
    np.testing.assert_array_equal(f(x, x), x + x)
    strict = gj.function(lambda x, y: x + y)
    for n in (3, 5):
        strict(gj.constant(normal((n,))), gj.constant(normal((n,))))
    with pytest.raises(InvalidArgumentError, match=r"Incompatible shapes: \[6\] vs. \[7\]"):
        strict(gj.constant(normal((6,))), gj.constant(normal((7,))))


def test_python_use_of_a_size_makes_it_static() -> None:
    f = gj.function(lambda x: sum(x[i] for i in range(x.shape[0])))
    for n in (2, 3, 4, 5, 3):
        x = normal((n,))
        np.testing.assert_allclose(f(x), x.sum(), rtol=1e-6)
    assert not sized(f) and f.trace_count == 4


def test_branches_on_a_size_are_guards() -> None:
    f = gj.function(lambda x: x * 2 if x.shape[0] > 100 else x * 3)
    for n in (5, 6, 50, 101, 1000, 99, 100):
        x = normal((n,))
        np.testing.assert_array_equal(f(x), x * (2 if n > 100 else 3))
    assert len(sized(f)) == 2
    assert {str(g) for s in sized(f) for g in s.size_domain.guards} == {
        "n0 - 101 >= 0", "-n0 + 100 >= 0",
    }  # fmt: skip


def test_divisibility_is_a_guard() -> None:
    f = gj.function(lambda x: np.reshape(x, (4, -1)).sum(axis=0))
    for n in (8, 12, 40, 400):
        x = normal((n,))
        np.testing.assert_allclose(f(x), x.reshape(4, -1).sum(axis=0), rtol=1e-5)
    assert len(sized(f)) == 1
    with pytest.raises(ValueError, match="cannot reshape array of size 13"):
        f(normal((13,)))


class OneSize(gj.passes.Pass):
    """A pass that can't do with symbolic extents."""

    name = "one-size"

    def run(self, graph: Any) -> Any:
        if any(is_symbolic(node.tensor.shape) for node in graph.nodes):
            raise Undecided("what to do with them")
        return graph


def test_what_is_not_compiled_for_all_sizes_is_for_each() -> None:
    f = gj.function(lambda x: x * 2, passes=[OneSize()])
    for n in (3, 4, 5):
        x = normal((n,))
        np.testing.assert_array_equal(f(x), x * 2)
    assert not sized(f) and len(f.specializations) == 3
    (seen,) = f._specializations.size_histories.values()
    assert "what to do with them" in seen.impossible


def test_input_signature_with_open_extents() -> None:
    f = gj.function(
        lambda x, w: x @ w, input_signature=[gj.TensorSpec([None, 4]), gj.TensorSpec([4, 3])]
    )
    w = normal((4, 3))
    for n in (2, 3, 100, 7):
        x = normal((n, 4))
        np.testing.assert_allclose(f(x, w), x @ w, rtol=1e-5, atol=1e-6)
    assert f.trace_count == 1
    with pytest.raises(InvalidArgumentError, match="input_signature"):
        f(normal((2, 5)), w)


def test_variables_and_captured_arrays() -> None:
    w = gj.Variable(np.zeros(4, np.float32))
    scale = np.arange(4, dtype=np.float32)

    @gj.function
    def step(x: Any) -> Any:
        w.assign_add(gj.reduce_sum(x * scale, axis=0))
        return gj.reduce_mean(x)

    total = np.zeros(4, np.float32)
    for n in (2, 3, 10, 100):
        x = normal((n, 4))
        total = total + (x * scale).sum(axis=0)
        np.testing.assert_allclose(step(gj.constant(x)).numpy(), x.mean(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(w.numpy(), total, rtol=1e-4, atol=1e-5)
    assert step.trace_count == 2


def test_limits_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 1)
    at_once = gj.function(lambda x: x + 1)
    for n in (3, 4, 5):
        at_once(normal((n,)))
    assert at_once.trace_count == 1
    monkeypatch.setattr(gj.config, "symbolic_after", 4)
    late = gj.function(lambda x: x + 1)
    for n in (3, 4, 5, 6, 7, 8):
        late(normal((n,)))
    assert late.trace_count == 4
    monkeypatch.setattr(gj.config, "symbolic_after", None)
    never = gj.function(lambda x: x + 1)
    for n in (3, 4, 5):
        never(normal((n,)))
    assert never.trace_count == 3 and not sized(never)


def test_forbidden_recompiles_and_misses() -> None:
    f = gj.function(lambda x: x + 1)
    f(normal((3,)))
    f(normal((4,)))
    with gj.config.forbid_recompile():
        f(normal((5,)))
        with pytest.raises(RecompileError, match=r"shape of x: \[n0\] .* now \[1\]"):
            f(normal((1,)))
    assert len(f.explain_misses()) == 1


def test_explain_and_graph_text() -> None:
    f = gj.function(lambda x: np.concatenate([x[::-1], x * np.sqrt(x.shape[0])]).sum())
    for n in (3, 5):
        f(normal((n, 6)))
    (specialization,) = sized(f)
    text = str(specialization.graph)
    assert "f32[n0, 6] = param" in text and "extent{dtype=i64, value=n0}" in text
    assert gj.Graph.parse(text) == specialization.graph
    assert from_json(specialization.graph.to_json()) == specialization.graph
    assert "n0" in specialization.graph.to_dot()
    assert "n0" in f.explain(normal((9, 6)))


def test_an_index_that_is_affine_for_some_sizes_only() -> None:
    """Reshaped to symbolic columns and cut: compiled, or compiled per size, never wrong."""
    f = gj.function(lambda x: np.reshape(x.T, (-1,))[1:].reshape(-1, 1) * 2)
    for shape in ((3, 4), (5, 4), (7, 6), (2, 2)):
        x = normal(shape)
        np.testing.assert_array_equal(f(x), x.T.reshape(-1)[1:].reshape(-1, 1) * 2)


def test_too_large_a_size_is_named() -> None:
    f = gj.function(lambda x: np.broadcast_to(x, (1 << 40, x.shape[0])) + 1)
    for n in (2, 3):
        with pytest.raises((InvalidArgumentError, OutOfMemoryError, MemoryError)):
            f(normal((n,)))
    with pytest.raises((InvalidArgumentError, OutOfMemoryError), match="1099511627776"):
        f(normal((1 << 22,)))


@pytest.mark.parametrize(
    ("stage", "output_format"),
    [
        *((s, f) for s in ("trace", "default") for f in ("text", "json", "dot")),
        ("kernels", "text"), ("kernels", "dot"), ("loops", "text"), ("llvm", "text"),
        ("llvm-opt", "text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("signed", [True, False])
def test_dumps_of_open_extents(
    stage: str, output_format: str, signed: bool, tmp_path: Path
) -> None:
    source = tmp_path / "open.py"
    source.write_text(
        "import graphjit as gj\n"
        + "@gj.function(input_signature=[gj.TensorSpec((None, 4)), gj.TensorSpec((None, 4))])\n"
        * signed
        + "def f(x, y):\n"
        "    return x.sum(axis=1) / x.shape[0], gj.concat([x, y], 0)\n"
    )
    given = "f32[7,4]" if signed else "f32[None,4]"
    arguments = ["--arg", given] * 2 + ["--stage", stage, "--format", output_format]
    result = CliRunner().invoke(main.main, ["dump", f"{source}:f", *arguments])
    assert result.exit_code == 0, result.output
    assert ("%sizes" if stage.startswith("llvm") else "n0") in result.output
    if output_format == "json":
        graph = from_json(result.output)
        assert str(graph.nodes[0].tensor.shape[0]) == "n0"
