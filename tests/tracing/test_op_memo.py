"""Operators that a trace recorded before give the graph that NumPy's rules give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphjit as gj
from graphjit.core.errors import user_line
from graphjit.core.types import TensorType
from graphjit.tracing.op_memo import OpMemo
from graphjit.tracing.trace import Trace

BINARY = ["+", "-", "*", "/", "**", "//", "%"]
UNARY = ["np.tanh", "np.exp", "np.negative", "np.abs", "np.sign", "np.sqrt", "-"]
DTYPES = ["f4", "f8", "f2", "i4", "i8", "u1", "?", "c8"]
NUMBERS = ["0.0", "-0.0", "1.5", "1e300", "-1e39", "float('nan')", "2.0", "2", "300", "True"]


@st.composite
def programs(draw):
    """Lines of operators between arrays of two shapes and Python numbers."""
    names, lines = ["a", "b"], []
    for number in range(draw(st.integers(2, 12))):
        x = draw(st.sampled_from(names))
        if draw(st.integers(0, 3)):
            y = draw(st.sampled_from([*names, *NUMBERS]))
            left, right = (x, y) if draw(st.booleans()) else (y, x)
            text = f"{left} {draw(st.sampled_from(BINARY))} {right}"
        else:
            text = f"{draw(st.sampled_from(UNARY))}({x})"
        lines += [f"    v{number} = {text}"] * draw(st.integers(1, 2))
        names.append(f"v{number}")
    kept = ", ".join(names)
    return "def f(a, b):\n" + "\n".join(lines) + f"\n    return [{kept}]\n"


def graph_of(source, arrays):
    names = {"np": np}
    exec(compile(source, "model.py", "exec"), names)
    try:
        with np.errstate(all="ignore"):
            graph = gj.function(names["f"], fallback="error").get_graph(*arrays)
    except Exception as error:
        return f"{type(error).__name__}: {error}", []
    return str(graph), [node.source for node in graph.nodes]


@given(programs(), st.sampled_from(DTYPES), st.sampled_from(DTYPES), st.booleans())
def test_repeated_operators_are_recorded_as_the_first_was(source, one, two, same_shape):
    arrays = np.ones((3, 2), one), np.ones((3, 2) if same_shape else (2,), two)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpMemo, "key", lambda *arguments: None)
        expected = graph_of(source, arrays)
    assert graph_of(source, arrays) == expected


def test_most_operators_of_a_long_chain_are_repeats(monkeypatch):
    asked = []

    def noted(known):
        def note(*arguments):
            asked.append(arguments)
            return known(*arguments)

        return note

    for name in ("call_ufunc", "call_operator"):
        monkeypatch.setattr(gj.numpy_protocol, name, noted(getattr(gj.numpy_protocol, name)))

    @gj.function(fallback="error")
    def f(x):
        for k in range(100):
            x = np.tanh(x * (0.5 + k) + 1.25) - x
        return x

    x = np.linspace(-1, 1, 50)
    np.testing.assert_allclose(f(x), f.python_function(x), rtol=1e-9, atol=1e-12)
    assert len(asked) == 4


def test_a_value_outside_its_trace_is_still_refused():
    trace = Trace("leak")
    with trace.active():
        type = TensorType((3,), gj.float64)
        kept = [trace.parameter(type, "x", "numpy", "argument") + 1.0]
    with pytest.raises(gj.errors.LeakedTracerError):
        kept[0] + 1.0

    @gj.function(fallback="error")
    def use(x):
        return (x + 1.0) + kept[0] + kept[0]

    with pytest.raises(gj.errors.LeakedTracerError):
        use(np.ones(3))


def test_views_and_writes_see_what_they_should():
    @gj.function(fallback="error")
    def f(x):
        y = x + 1.0
        z = x + 1.0
        row = y[0]
        row += 5.0
        z[1] = 7.0
        return y, z, x + 1.0

    x = np.zeros((2, 3))
    y, z, w = f(x)
    np.testing.assert_array_equal(y, [[6] * 3, [1] * 3])
    np.testing.assert_array_equal(z, [[1] * 3, [7] * 3])
    np.testing.assert_array_equal(w, np.ones((2, 3)))


def test_where_no_python_code_calls_there_is_no_line():
    assert user_line(own=100_000) is None
