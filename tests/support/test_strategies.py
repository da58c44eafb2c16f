"""The strategies draw what they say: awkward arrays, and every op of the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from strategies import (
    KINDS,
    LAYOUTS,
    VALUES,
    along_axis,
    arrays,
    dtypes,
    fill,
    graphs,
    inputs_for,
    laid_out,
    pointwise_of,
    shapes,
    special_values,
)

from graphjit.core.types import DTYPES, float32, float64, int32
from graphjit.ir.graph import Graph
from graphjit.ops import PRIMITIVES, source
from graphjit.ops.primitive import Pointwise, Reduce, Scan

FIND = settings(
    max_examples=2000,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_every_op_can_be_drawn() -> None:
    found = {primitive for d in DTYPES for primitive, _ in pointwise_of(d, False)}
    found |= {p for d in DTYPES for kind in (Reduce, Scan) for p in along_axis(kind, d, False)}
    found.add(PRIMITIVES["where"])  # its condition is of another dtype
    found.add(PRIMITIVES["unless"])  # so is that of this
    table = {p for p in PRIMITIVES.values() if isinstance(p.kind, Pointwise | Reduce | Scan)}
    assert table - found == set()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_drawn(kind: Any) -> None:
    def has(graph: Graph) -> bool:
        return any(isinstance(node.primitive.kind, kind) for node in graph.nodes)

    find(graphs(), has, settings=FIND)


FEATURES = {
    "an update": lambda g: g.updates,
    "several outputs": lambda g: len(set(g.outputs)) > 1,
    "an output twice": lambda g: len(set(g.outputs)) < len(g.outputs),
    "a parameter returned": lambda g: set(g.params) & set(g.outputs),
    "a constant": lambda g: any(n.primitive is source.const for n in g.nodes),
    "four parameters": lambda g: len(g.params) == 4,
    "an empty tensor": lambda g: any(n.tensor.size == 0 for n in g.nodes),
    "a value read twice": lambda g: any(len(users) > 1 for users in g.users()),
    "two dtypes": lambda g: len({g.nodes[i].tensor.dtype for i in g.params}) > 1,
    "a 0-d parameter": lambda g: any(g.nodes[i].tensor.ndim == 0 for i in g.params),
}


@pytest.mark.parametrize("what", FEATURES)
def test_graphs_have(what: str) -> None:
    find(graphs(), lambda g: bool(FEATURES[what](g)), settings=FIND)


@given(graphs(min_nodes=3, max_nodes=3, dtypes=[float32, int32], kinds=[Reduce], exact=True))
def test_options_are_kept(graph: Graph) -> None:
    allowed = (source.const, source.param)
    assert all(n.primitive in allowed or n.primitive.exact for n in graph.nodes)
    assert all(
        n.primitive in allowed or isinstance(n.primitive.kind, Reduce) for n in graph.nodes
    )
    assert {graph.nodes[i].tensor.dtype for i in graph.params} <= {float32, int32}
    assert len(graph) == len(graph.params) + 3
    written = {param for param, _ in graph.updates}
    assert written == {i for i in graph.params if graph.nodes[i].attr("role") == "variable"}


def test_graphs_shrink_to_little() -> None:
    def fails(graph: Graph) -> bool:
        return any(n.primitive is PRIMITIVES["sub"] for n in graph.nodes)

    search = settings(max_examples=2000, database=None, derandomize=True)
    graph = find(graphs(), fails, settings=search)
    assert len(graph) <= 2  # x - x


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_special_values(dtype: Any) -> None:
    values = special_values(dtype)
    assert values.dtype == dtype.dtype
    if dtype.is_bool:
        assert set(values.tolist()) == {False, True}
    elif dtype.is_integer:
        assert {dtype.min, dtype.max, 0, 1} <= set(values.tolist())
    else:
        parts = values.astype(np.complex128)
        for wide in (parts.real, parts.imag) if dtype.is_complex else (parts.real,):
            assert np.isnan(wide).any()
            assert {np.inf, -np.inf, dtype.real.max, dtype.real.min} <= set(wide.tolist())
            assert np.any((wide == 0) & np.signbit(wide))
    if dtype.is_floating:
        wide = values.astype(np.float64)
        info = np.finfo if dtype.name != "bfloat16" else __import__("ml_dtypes").finfo
        normal = float(info(dtype.dtype).smallest_normal)
        assert np.any((wide > 0) & (wide < normal))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 4), (5,), (), (0, 2), (1, 3)])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_layouts_keep_the_values(dtype: Any, shape: Any, layout: str) -> None:
    array = fill(dtype, shape, "bits", 1)
    other = laid_out(array, layout)
    native = other.astype(dtype.dtype)
    assert native.shape == shape
    assert native.tobytes() == array.tobytes()
    swaps = layout == "swapped" and dtype.size > 1 and dtype.name != "bfloat16"
    assert other.dtype.isnative != swaps
    if shape == (3, 4):
        assert other.flags.c_contiguous == (layout not in ("F", "strided", "reversed"))
        assert other.flags.writeable == (layout != "readonly")
        assert other.flags.aligned == (layout != "unaligned" or dtype.size == 1)
        assert (other.strides[0] < 0) == (layout == "reversed")


@given(arrays(dtypes("f"), shapes(max_extent=33)), arrays(float64, (2, 3), LAYOUTS, VALUES))
def test_arrays_have_their_type(one: Any, other: Any) -> None:
    assert one.dtype in [d.dtype for d in DTYPES if d.is_floating]
    assert other.dtype.newbyteorder("=") == np.float64 and other.shape == (2, 3)


@given(graphs().flatmap(lambda g: inputs_for(g).map(lambda inputs: (g, inputs))))
def test_inputs_fit(drawn: Any) -> None:
    graph, inputs = drawn
    types = [graph.nodes[i].tensor for i in graph.params]
    assert [(a.shape, a.dtype) for a in inputs] == [(t.shape, t.dtype.dtype) for t in types]
