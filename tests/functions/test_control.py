"""Control flow with regions, against Python's `if` and `for` without graphjit."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import warnings
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from decorated_checks import same
from hypothesis import given, settings
from hypothesis import strategies as st

import graphjit as gj
from graphjit.core.errors import (
    InternalError,
    InvalidArgumentError,
    LeakedTracerError,
    TracingError,
    UnsupportedError,
)
from graphjit.ir import interpreter
from graphjit.ir.graph import Graph, GraphBuilder, Node, verify
from graphjit.ir.graph_json import from_json
from graphjit.ir.text import print_graph
from graphjit.ops import PRIMITIVES as P
from graphjit.passes import Pipeline, optimized, through, verifying

DTYPES = [
    np.float64, np.float32, np.float16, np.int64, np.int32, np.int8, np.uint8, np.bool_,
    np.complex64, np.complex128,
]  # fmt: skip


def compiled(function: Any) -> Any:
    return gj.function(function, fallback="error")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (3, 0), (2, 3), (40, 33)])
def test_cond_gives_what_the_chosen_function_gives(dtype: Any, shape: Any) -> None:
    rng = np.random.default_rng(3)
    x = np.asarray(rng.integers(0, 5, shape), dtype=dtype)

    def f(x: Any, p: Any) -> Any:
        return gj.cond(p > 0, lambda: (x + x, x), lambda: (x * x, x + x))

    jitted = compiled(f)
    for p in (np.float64(1), np.float64(-1), np.float64(np.nan)):
        expected = (x + x, x) if p > 0 else (x * x, x + x)
        result = jitted(x, p)
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype and a.shape == b.shape
        for a, b in zip(f(x, p), expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_only_the_chosen_branch_runs() -> None:
    """An index out of range in the other branch is no error."""

    def f(x: Any, i: Any) -> Any:
        return gj.cond(i < 3, lambda: x[i], lambda: x[0] * 0 - 1)

    jitted = compiled(f)
    x = np.arange(3.0)
    assert jitted(x, np.int64(2)) == 2.0
    assert jitted(x, np.int64(7)) == -1.0


@pytest.mark.parametrize("pred", [True, False, np.True_, 0, 2.5, np.array(1), gj.constant(0)])
def test_a_predicate_that_is_known_chooses_as_in_python(pred: Any) -> None:
    def f(x: Any) -> Any:
        return gj.cond(pred, lambda a: a + 1, lambda a: a - 1, x)

    x = np.arange(3.0)
    expected = x + 1 if bool(np.asarray(pred)) else x - 1
    same(f(x), expected)
    same(compiled(f)(x), expected)


def test_predicates_that_are_numbers_and_bools_of_arguments() -> None:
    jitted = compiled(lambda x, p: gj.cond(p, lambda: x + 1, lambda: x - 1))
    x = np.arange(3.0)
    for p in (np.int64(3), np.int64(0), np.bool_(True), np.float32(0), np.array(0.5)):
        same(jitted(x, p), x + 1 if p else x - 1)


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int16, np.complex128])
def test_loops_are_pythons(count: int, dtype: Any) -> None:
    x = np.arange(12).reshape(3, 4).astype(dtype)

    def f(x: Any) -> Any:
        def body(i: Any, state: Any) -> Any:
            a, (b, c) = state
            return a + b, (b * 2, {"c": c["c"] + x.sum()})

        return gj.fori_loop(2, 2 + count, body, (x, (x + 1, {"c": x.sum()})))

    same(compiled(f)(x), f(x))


def test_the_index_is_an_int_whose_arithmetic_is_exact() -> None:
    x = np.arange(20.0)

    def f(x: Any) -> Any:
        return gj.fori_loop(-3, 4, lambda i, s: s + x[2 * i + 7] * (i - 1) * -i, 0.0)

    same(compiled(f)(x), f(x))


def test_a_number_that_a_loop_begins_with_has_the_dtype_that_comes_back() -> None:
    def f(x: Any) -> Any:
        return gj.fori_loop(0, 5, lambda i, s: s + x[i] * x[i], 0)

    for dtype in (np.float32, np.float64, np.complex64, np.int64):
        x = np.arange(5).astype(dtype)
        same(compiled(f)(x), f(x))
    narrow = np.arange(5, dtype=np.int32)  # whether a number fits depends on it: eager
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(gj.function(f)(narrow), f(narrow))


def test_control_flow_inside_control_flow() -> None:
    def f(x: Any) -> Any:
        def body(i: Any, s: Any) -> Any:
            a, b = s
            inner = gj.fori_loop(0, 3, lambda j, t: t + a * b, x)
            return gj.cond(
                a.sum() > 3, lambda: (a - 1, b + 1), lambda: (a * 2 + inner * 0.25, b)
            )

        return gj.fori_loop(0, 10, body, (x, x[0] * 0))

    for x in (np.arange(4.0), np.array([-3.0]), np.array([5.0, -9.0])):
        same(compiled(f)(x), f(x))


def test_tensors_and_variables() -> None:
    v = gj.Variable([1.0, 2.0])

    def f(x: Any, p: Any) -> Any:
        y = gj.cond(p, lambda: x + v, lambda: x * v)
        return gj.fori_loop(0, 3, lambda i, s: s * v + 1.0, y)

    x = gj.constant([3.0, 4.0])
    for p in (True, False):
        pred = gj.constant(p)
        expected, actual = f(x, pred), compiled(f)(x, pred)
        np.testing.assert_array_equal(actual.numpy(), expected.numpy())
        v.assign([2.0, -1.0])
        np.testing.assert_array_equal(compiled(f)(x, pred).numpy(), f(x, pred).numpy())


def test_arrays_from_outside_are_read_at_each_call() -> None:
    w = np.arange(3.0)
    jitted = compiled(lambda x, p: gj.cond(p > 0, lambda: x + w, lambda: w))
    x = np.ones(3)
    same(jitted(x, np.float64(1)), x + w)
    w[1] = 50
    same(jitted(x, np.float64(1)), x + w)
    np.testing.assert_array_equal(jitted(x, np.float64(-1)), w)


def test_sizes_that_vary() -> None:
    jitted = compiled(lambda x: gj.fori_loop(0, 4, lambda i, s: s * 0.5 + x, x))
    for n in (0, 1, 2, 3, 5, 17, 100):
        x = np.arange(float(n))
        same(jitted(x), gj.fori_loop(0, 4, lambda i, s, x=x: s * 0.5 + x, x))


def test_a_loop_over_an_extent() -> None:
    jitted = compiled(lambda x: gj.fori_loop(0, x.shape[0], lambda i, s: s + x[i] ** 2, 0.0))
    for n in (1, 2, 5, 6, 7):
        x = np.arange(1.0, n + 1)
        assert jitted(x) == (x**2).sum()


def test_results_are_new_arrays() -> None:
    jitted = compiled(lambda x, p: gj.cond(p > 0, lambda: (x, x), lambda: (x + 1, x)))
    x = np.arange(3.0)
    a, b = jitted(x, np.float64(1))
    a[0], b[0] = 7, 8
    assert x[0] == 0 and a[0] == 7 and b[0] == 8


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "function"),
    [
        (r"result 0 is f64\[3\] of true_fn and f64\[\] of false_fn",
         lambda x: gj.cond(x[0] > 0, lambda: x, lambda: x.sum())),
        (r"result 0 is f64\[3\] of true_fn and bool\[3\] of false_fn",
         lambda x: gj.cond(x[0] > 0, lambda: x, lambda: x > 1)),
        (r"true_fn gives tuple of \(f64\[3\], f64\[3\]\), false_fn f64\[3\]",
         lambda x: gj.cond(x[0] > 0, lambda: (x, x), lambda: x)),
        (r"pred is one bool, not f64\[3\]",
         lambda x: gj.cond(x, lambda: x, lambda: x)),
        (r"value 0 of the loop is f64\[3\] before body_fun and f64\[\] after it",
         lambda x: gj.fori_loop(0, 3, lambda i, s: s.sum(), x)),
        (r"value 0 of the loop is f64\[3\] before body_fun and c128\[3\] after it",
         lambda x: gj.fori_loop(0, 3, lambda i, s: s * 1j, x)),
        (r"body_fun gives tuple of .*, init_val is f64\[3\]",
         lambda x: gj.fori_loop(0, 3, lambda i, s: (s, s), x)),
        (r"upper is an integer, not f64",
         lambda x: gj.fori_loop(0, x.sum(), lambda i, s: s, x)),
        (r"lower is an integer, not 1.5", lambda x: gj.fori_loop(1.5, 3, lambda i, s: s, x)),
    ],
)  # fmt: skip
def test_what_differs_is_named_with_the_users_line(message: str, function: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        compiled(function)(np.arange(3.0))
    assert "test_control.py" in str(caught.value)


def test_a_predicate_of_several_elements_is_refused_eagerly_too() -> None:
    with pytest.raises(InvalidArgumentError, match=r"not an array of shape \(3,\)"):
        gj.cond(np.ones(3), lambda: 1, lambda: 2)


def test_values_of_a_branch_do_not_leave_it() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        def branch() -> Any:
            kept.append(x * 3)
            return x

        y = gj.cond(x[0] > 0, branch, lambda: x)
        return y + kept[-1]

    with pytest.raises((LeakedTracerError, TracingError)):
        compiled(f)(np.arange(3.0))


def test_the_index_does_not_leave_the_loop() -> None:
    def f(x: Any) -> Any:
        kept: list[Any] = []

        def body(i: Any, s: Any) -> Any:
            kept.append(i)
            return s + i

        y = gj.fori_loop(0, 3, body, x)
        return y + kept[0]

    with pytest.raises(LeakedTracerError, match="value of a branch or loop"):
        compiled(f)(np.arange(3.0))


def test_writes_into_arrays_of_outside_are_refused_and_done_eagerly() -> None:
    def f(x: Any) -> Any:
        y = x.copy() * 1

        def branch() -> Any:
            y[0] = 5
            return y.sum()

        total = gj.cond(x[0] > 100, branch, lambda: y.sum())
        return total, y

    x = np.arange(3.0)
    with pytest.raises(TracingError, match="in a branch or loop writes into an array"):
        compiled(f)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(gj.function(f)(x), f(x))


def test_arrays_of_the_branchs_own_may_be_written() -> None:
    def f(x: Any) -> Any:
        def branch() -> Any:
            z = x + 0
            z[1:] = 7
            z += 1
            return z

        return gj.cond(x[0] > 1, branch, lambda: x)

    for x in (np.arange(3.0), np.arange(2.0, 5.0)):
        np.testing.assert_array_equal(compiled(f)(x), f(x))


def test_variables_are_assigned_inside() -> None:
    v = gj.Variable(1.0)
    f = compiled(lambda x: gj.cond(x[0] > 0, lambda: v.assign(2.0), lambda: v + 0.0))
    assert float(f(gj.constant([-1.0]))) == 1.0 == float(v)
    assert float(f(gj.constant([1.0]))) == 2.0 == float(v)


def test_ptx_has_none_of_it_and_says_so() -> None:
    f = compiled(lambda x: gj.cond(x[0] > 0, lambda: x + 1, lambda: x))
    with pytest.raises(UnsupportedError, match=r"no PTX is written yet \[Op:Cond\]") as caught:
        f.ptx(np.ones(3, np.float32))
    assert "test_control.py" in str(caught.value)


# -- graphs -----------------------------------------------------------------------------------


def example() -> Graph:
    def f(x: Any) -> Any:
        def body(i: Any, s: Any) -> Any:
            return gj.cond(s.sum() > 3, lambda: s * 0.5 + x, lambda: np.exp(s) * i)

        return gj.fori_loop(0, 5, body, x), x + 1

    graph = compiled(f).get_graph(np.arange(3.0))
    assert isinstance(graph, Graph)
    return graph


def test_text_and_json_read_back() -> None:
    graph = example()
    verify(graph)
    text = print_graph(graph, sources=False)
    assert print_graph(Graph.parse(str(graph)), sources=False) == text
    assert Graph.parse(text) == graph
    assert from_json(graph.to_json()) == graph
    assert "scan" in graph.to_dot()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("} {", "}", 1),
        lambda text: text.rsplit("}", 1)[0],
        lambda text: "}\n" + text,
        lambda text: text.replace("  return", "  retour", 1),
    ],
)
def test_text_that_is_no_graph(damage: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        verify_text = Graph.parse(damage(str(example())))
        verify(verify_text)  # a branch less is no text's fault
        raise InvalidArgumentError


def test_passes_go_into_regions() -> None:
    x = np.arange(3.0)

    def f(x: Any) -> Any:
        return gj.cond(x[0] > 0, lambda: x * 1 + np.exp(np.zeros(3)) * 0, lambda: x * x - 1)

    graph = compiled(f).get_graph(x)
    after = optimized(graph, (), [verifying])
    region = next(node.regions[0] for node in after.nodes if node.regions)
    assert len(region.nodes) < max(len(n.regions[0]) for n in graph.nodes if n.regions)
    outputs, _ = interpreter.run(after, [x, *[np.zeros(3)] * (len(after.params) - 1)])
    np.testing.assert_array_equal(outputs[0], f(x))


def test_a_region_is_verified() -> None:
    graph = example()
    for position, node in enumerate(graph.nodes):
        if not node.regions:
            continue
        (region,) = node.regions
        broken = Graph(region.name, region.nodes, (0,), ())
        changed = Node(
            node.primitive, node.inputs, node.attrs, node.type, node.source, (broken,)
        )
        nodes = (*graph.nodes[:position], changed, *graph.nodes[position + 1 :])
        with pytest.raises(InternalError):
            verify(Graph(graph.name, nodes, graph.outputs))
    b = GraphBuilder("f")
    x = b.const(np.ones(3))
    node = b.nodes[b.add(P["neg"], (x,))]
    b.nodes[-1] = Node(node.primitive, node.inputs, (), node.type, None, (graph,))
    with pytest.raises(InternalError, match="has no regions"):
        verify(b.finish([1]))


@pytest.mark.parametrize("name", ["fuse", "pack", "row-blocks", "plan-memory"])
def test_programs_of_regions_are_printed_and_verified(name: str) -> None:
    program = Pipeline(through(name).passes).run(example(), [verifying])
    text = str(program)
    assert "program scan_0" in text and "program cond_1" in text


PROGRAM = """
import numpy as np, graphjit as gj
def f(x, p):
    def body(i, s):
        return gj.cond(s.sum() > p, lambda: s * 0.5 + x, lambda: np.exp(-s) * i + W)
    return gj.fori_loop(0, 6, body, x)
W = np.arange(4.0)
x = np.linspace(-1, 1, 4)
jitted = gj.function(f, fallback="error")
for p in (np.float64(0.1), np.float64(5.0)):
    np.testing.assert_allclose(jitted(x, p), f(x, p), rtol=1e-14)
print([specialization.from_cache for specialization in jitted.specializations])
"""


def test_it_is_kept_on_disk(tmp_path: Any) -> None:
    for found in ("[False]", "[True]"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False,
            env={**os.environ, "GRAPHJIT_CACHE_DIR": str(tmp_path)},
        )  # fmt: skip
        assert done.stdout.strip() == found, done.stderr


# -- random programs --------------------------------------------------------------------------


def program(rng: random.Random, depth: int = 2) -> str:
    """An expression of arrays x, y (one shape) and, in loops, s and i."""

    def value(depth: int, names: list[str]) -> str:
        pick = rng.random()
        if depth == 0 or pick < 0.2:
            return rng.choice(names)
        a = value(depth - 1, names)
        b = value(depth - 1, names)
        if pick < 0.5:
            return rng.choice([
                f"({a} + {b})", f"({a} - {b} * 0.5)", f"np.tanh({a})", f"np.maximum({a}, {b})",
                f"({a} * {b})", f"np.where({a} > {b}, {a}, 0.25)", f"({a} + {b}.mean())",
            ])  # fmt: skip
        if pick < 0.75:
            test = rng.choice([f"{a}.sum() > 0.5", f"{b}.max() < 1", f"{a}.min() >= {b}.min()"])
            yes, no = value(depth - 1, names), value(depth - 1, names)
            return f"gj.cond({test}, lambda: {yes} + 0, lambda: {no} * 1)"
        s, i = f"s{depth}", f"i{depth}"
        body = value(depth - 1, [*names, s])
        ends = f"{rng.randrange(3)}, {3 + rng.randrange(4)}"
        return f"gj.fori_loop({ends}, lambda {i}, {s}: 0.5 * {body} + {i}, {a})"

    return value(depth, ["x", "y"])


@given(seed=st.integers(0, 10**9), n=st.integers(0, 6))
@settings(max_examples=60)
def test_random_programs(seed: int, n: int) -> None:
    rng = random.Random(seed)
    text = f"lambda x, y: {program(rng, 3)}"
    f = eval(text, {"np": np, "gj": gj})
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(n + 1,)), draw.normal(size=(n + 1,))
    jitted = gj.function(f, fallback="error")
    for _ in range(2):
        np.testing.assert_allclose(jitted(x, y), f(x, y), rtol=1e-9, atol=1e-12, err_msg=text)
        x, y = -y, x


def test_dicts_may_hold_their_keys_in_another_order() -> None:
    x = np.array([1.0, 2.0])

    def branches(x: Any) -> Any:
        first = lambda: {"a": x, "b": [x * 2, {"c": x, 1: x * 3}]}  # noqa: E731
        second = lambda: {"b": [x * 5, {1: x * 6, "c": x * 7}], "a": x * 4}  # noqa: E731
        return gj.cond(x.sum() > 0, first, second)

    def turns(x: Any) -> Any:
        turn = lambda c, _: ({"b": c["a"], "a": c["b"] + 1}, {"y": c["a"]})  # noqa: E731
        return gj.scan(turn, {"a": x, "b": x * 10}, None, 3)

    for f in (branches, turns):
        for value in (x, -x):
            np.testing.assert_equal(compiled(f)(value), f(value))
    assert compiled(branches)(-x)["b"][1][1].tolist() == [-6, -12]


def test_tangents_cotangents_and_updates_go_by_the_names_of_dicts() -> None:
    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    product = lambda p: p["a"] * p["b"]  # noqa: E731
    forward = gj.jvp(product, ({"a": x, "b": y},), ({"b": x, "a": y},))
    np.testing.assert_array_equal(forward[1], y * y + x * x)
    back = gj.vjp(lambda x: {"a": x, "b": x * 2}, x)[1]({"b": x, "a": y})
    np.testing.assert_array_equal(back[0], y + 2 * x)
    rule = gj.custom_vjp(product)
    rule.defvjp(lambda p: (product(p), p), lambda p, c: ({"b": c * p["a"], "a": c * p["b"]},))
    assert gj.grad(rule)({"a": 2.0, "b": 3.0}) == {"a": 3.0, "b": 2.0}
    moved = gj.optimizers.pure.apply_updates({"w": x, "b": y}, {"b": x, "w": y})
    np.testing.assert_array_equal(moved["w"], x + y)
    with gj.GradientTape() as tape:
        v = gj.constant(x)
        tape.watch(v)
        results = {"a": v * 2, "b": v * 3}
    given = {"b": gj.constant(x), "a": gj.constant(y)}
    found = tape.gradient(results, v, output_gradients=given)
    np.testing.assert_array_equal(found.numpy(), 2 * y + 3 * x)


@pytest.mark.parametrize(
    "other",
    [
        lambda x: {"a": x, "c": x},
        lambda x: {"a": x},
        lambda x: {"a": x, "b": [x]},
        lambda x: OrderedDict(b=x, a=x),
        lambda x: {"a": x, 1: x},
    ],
)
def test_dicts_of_other_keys_are_refused(other: Any) -> None:
    x = np.ones(2)
    message = r"gives dict of \(a: f64\[2\], b: f64\[2\]\)"
    with pytest.raises(InvalidArgumentError, match=message):
        compiled(lambda x: gj.cond(x.sum() > 0, lambda: {"a": x, "b": x}, lambda: other(x)))(x)
    with pytest.raises(InvalidArgumentError, match="in another structure"):
        gj.jvp(lambda p: p["a"], ({"a": x, "b": x},), (other(x),))
