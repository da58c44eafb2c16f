"""`gj.function`: tracing, signatures, captures, fallback, and what comes out."""

from __future__ import annotations

import collections
import dataclasses
import functools
import gc
import os
import pickle
import subprocess
import sys
import types
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphjit as gj
from graphjit.core.types import TensorType
from graphjit.tracing.trace import Trace

INVALID = gj.errors.InvalidArgumentError
X = np.arange(4.0)


@gj.function
def double(x: Any) -> Any:
    """Twice x."""
    return x * 2


def values(x: Any) -> Any:
    return np.asarray(x).tolist()


def tensor(value: Any) -> Any:
    return gj.constant(value)


def test_one_trace_a_signature() -> None:
    fn = gj.function(lambda x: x + 1)
    for array in (X, X + 1, X.astype(np.float32), X[:2], X.reshape(2, 2), X.reshape(2, 2)):
        np.testing.assert_array_equal(fn(array), array + 1)
    assert fn.trace_count == 4
    fn(tensor(X))
    fn(gj.constant(X + 5))
    assert fn.trace_count == 5


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclasses.dataclass
class Model:
    w: Any
    bias: Any
    name: str = "m"


@dataclasses.dataclass(frozen=True)
class Frozen:
    w: Any


STRUCTURES: list[Any] = [
    (X, X + 1), [X, [X + 1]], {"a": X, "b": {"c": X}}, Pair(X, X + 1), Model(X, X),
    Frozen(X), (X, None, "s", True, 3, 2.5), collections.OrderedDict(b=X, a=X),
    collections.defaultdict(list, a=X), {}, [], (), [{"m": Model(X, (X,))}], {1: X, "1": X},
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(STRUCTURES)))
def test_structures(number: int) -> None:
    value = STRUCTURES[number]

    def walk(x: Any) -> Any:
        if isinstance(x, dict):
            made = {k: walk(v) for k, v in x.items()}
            return collections.OrderedDict(made) if type(x) is collections.OrderedDict else made
        if isinstance(x, Pair):
            return Pair(*map(walk, x))
        if isinstance(x, (list, tuple)):
            return type(x)(map(walk, x))
        if dataclasses.is_dataclass(x):
            return dataclasses.replace(x, w=walk(x.w))  # type: ignore[type-var]
        if isinstance(x, (str, bool)) or x is None:
            return x
        return x * 2

    fn = gj.function(lambda value: walk(value), fallback="error")
    for _ in range(2):
        assert repr(fn(value)) == repr(walk(value)) or number == 9
    assert fn.trace_count == 1


def test_static_values() -> None:
    fn = gj.function(lambda x, how: x * 2 if how == "twice" else x, fallback="error")
    np.testing.assert_array_equal(fn(X, "twice"), X * 2)
    np.testing.assert_array_equal(fn(X, "once"), X)
    np.testing.assert_array_equal(fn(X, how="twice"), X * 2)
    flags = gj.function(lambda x, flag: (x, type(flag).__name__), fallback="error")
    assert [flags(X, f)[1] for f in (True, None, "s", b"b", gj.float32)] == [
        "bool", "NoneType", "str", "bytes", "DType",
    ]  # fmt: skip


def test_floats_compile_once() -> None:
    fn = gj.function(lambda x, rate: x * rate, fallback="error")
    for rate in (0.5, 0.25, 1e-3, float("nan"), -0.0, 1e300):
        np.testing.assert_array_equal(fn(X, rate), X * np.float64(rate))
    assert fn.trace_count == 1
    for rate in (1j, 2 + 3j):
        np.testing.assert_array_equal(fn(X, rate), X * rate)
    assert fn.trace_count == 2


def test_ints_become_symbolic_on_the_second_value() -> None:
    fn = gj.function(lambda x, n: x * n, fallback="error")
    for n in (2, 3, 4, 5, -7, 0, 2**40):
        np.testing.assert_array_equal(fn(X, n), X * n)
    assert fn.trace_count == 2
    fn(X, True), fn(X, 2.0)
    assert fn.trace_count == 4


def test_ints_that_python_needs_are_static() -> None:
    def fn(x: Any, n: int) -> Any:
        for _ in range(n):
            x = x * 2
        return x[:n] if n > 2 else x

    traced = gj.function(fn, fallback="error")
    for n in (1, 3, 2, 4, 3, 1):
        np.testing.assert_array_equal(traced(X, n), fn(X, n))
    sized = gj.function(lambda n: gj.zeros([n, 2]), fallback="error")
    assert [sized(n).shape[0] for n in (1, 2, 3, 2)] == [1, 2, 3, 2]


def test_input_signature() -> None:
    fn = gj.function(
        lambda x, y: x + y,
        input_signature=[gj.TensorSpec([None, 2], gj.float32), gj.TensorSpec([2], gj.float32)],
        fallback="error",
    )
    for rows in (1, 2, 5):
        x = np.ones((rows, 2), np.float32)
        np.testing.assert_array_equal(fn(x, np.ones(2, np.float32)), x + 1)
    assert fn([[1.0, 2.0]], [1.0, 1.0]).numpy().tolist() == [[2, 3]]
    good = np.ones(2, np.float32)
    for bad in (
        (np.ones((1, 3), np.float32), good), (np.ones((1, 2)), good), (good, good), (good,),
        ("x", good), (None, good), ([[1.0], [2.0, 3.0]], good), (good, good, good),
        (object(), good),
    ):  # fmt: skip
        with pytest.raises(gj.errors.GraphJitError):
            fn(*bad)


def test_arguments_by_name() -> None:
    fn = gj.function(lambda a, b=2.0, *, c, **rest: a * b + c + rest["d"], fallback="error")
    np.testing.assert_array_equal(fn(X, c=X, d=1), X * 3 + 1)
    np.testing.assert_array_equal(fn(a=X, c=X, b=X, d=X), X * X + X + X)
    np.testing.assert_array_equal(fn(X, 3.0, d=2, c=1), X * 3 + 3)
    with pytest.raises(TypeError):
        fn(X)
    with pytest.raises(TypeError):
        double(X, X)
    with pytest.raises(TypeError):
        double(y=X)


def test_graphs() -> None:
    graph = double.get_graph(X)
    assert isinstance(graph, gj.Graph) and "mul" in str(graph)
    assert str(double.get_graph(tensor(X))) != "" and double.trace_count >= 1
    with pytest.raises(gj.errors.TracingError):
        gj.function(lambda x: x * eval("2"), fallback="error").get_graph(X)


def test_options_are_checked() -> None:
    for options in ({"fallback": "no"}, {"outputs": "list"}):
        with pytest.raises(INVALID):
            gj.function(lambda x: x, **options)
    for bad in (3, "x"):
        with pytest.raises(gj.errors.GraphJitError):
            gj.function(bad)
    assert gj.function()(lambda x: x * 2)(3.0) == 6.0
    assert double.__name__ == "double" and double.__doc__ == "Twice x."


def test_arrays_in_arrays_out() -> None:
    fn = gj.function(lambda x, y: x * y, fallback="error")
    both = [(X, X), (X, 2.0), (2.0, X), (np.float64(2), X), (X, np.float32(2))]
    for args in both:
        assert type(fn(*args)) is np.ndarray
    for args in [(tensor(X), X), (X, tensor(X)), (gj.Variable(X), X), (tensor(X), 2.0)]:
        assert isinstance(fn(*args), gj.Tensor)
    assert type(fn(np.float32(2), 3.0)) is np.float32
    assert type(fn(np.array(2.0), np.array(3.0))) is np.float64
    assert type(gj.function(np.sum)(X)) is np.float64
    assert isinstance(gj.function(lambda: gj.ones(2))(), gj.Tensor)
    assert type(gj.function(lambda x: gj.exp(x))(X)) is np.ndarray


def test_outputs_option() -> None:
    assert isinstance(gj.function(lambda x: x + 1, outputs="tensor")(X), gj.Tensor)
    assert type(gj.function(lambda x: x + 1, outputs="numpy")(tensor(X))) is np.ndarray
    with gj.eager():
        assert isinstance(gj.function(lambda x: x + 1, outputs="tensor")(X), gj.Tensor)
        assert type(gj.function(lambda x: x + 1, outputs="numpy")(tensor(X))) is np.ndarray


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_a_fallback_gives_the_same_types() -> None:
    def fn(x: Any) -> Any:
        y = gj.exp(x)
        assert not bool(gj.reduce_sum(y) < 0)
        return y, [x * 2], {"n": 3}

    for argument in (X, tensor(X)):
        kinds = []
        for call in (gj.function(fn), gj.function(lambda x: (gj.exp(x), [x * 2], {"n": 3}))):
            y, rest, named = call(argument)
            kinds.append((type(y), type(rest[0]), named))
        assert kinds[0] == kinds[1]


VIEWS: list[Any] = [
    lambda x: x, lambda x: x.T, lambda x: x[::-1], lambda x: x[1:], lambda x: x.reshape(-1),
    lambda x: x + 0, lambda x: gj.reshape(x, [2, 2]), lambda x: gj.identity(x),
    lambda x: np.transpose(x), lambda x: gj.broadcast_to(x, [2, 4]),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(VIEWS)))
def test_results_are_arguments_and_views_of_them_as_undecorated(number: int) -> None:
    fn, x = VIEWS[number], X.copy()
    compiled = gj.function(lambda x: (fn(x), x * 2, fn(x)), fallback="error")
    for _ in range(3):
        one, _, two = compiled(x)
        alone = gj.function(fn, fallback="error")(x)
        for result in (one, two, alone):
            plain = fn(x)
            shares = isinstance(plain, np.ndarray) and np.shares_memory(plain, x)
            assert np.shares_memory(result, x) == shares
            assert result is x or plain is not x
            np.testing.assert_array_equal(result, np.asarray(plain))
    assert compiled.trace_count == 1


def test_views_of_arguments_that_lie_in_any_way() -> None:
    functions: list[Any] = [
        lambda x: x[1:, ::-1], lambda x: x.T[1], lambda x: x.reshape(-1), lambda x: x[None],
        lambda x: x.ravel(), lambda x: x[...], lambda x: np.swapaxes(x, 0, 1), np.flip,
        lambda x: x.copy(), lambda x: x.flatten(), lambda x: x.astype(x.dtype), lambda x: +x,
        lambda x: np.squeeze(x), lambda x: x,
        lambda x: np.split(x, 2)[1], lambda x: x[[0, 1]], lambda x: np.roll(x, 0),
        lambda x: x[: x.shape[0] // 2], lambda x: x.reshape(2, -1), np.rot90, np.atleast_3d,
    ]  # fmt: skip
    for fn in functions:
        compiled = gj.function(fn, fallback="error")
        for n in (4, 6, 8):
            base = np.arange(4.0 * n * n).reshape(2 * n, 2 * n)
            for x in (base[:n, :n].copy(), np.asfortranarray(base), base[::2, 1::2]):
                result, plain = compiled(x), fn(x)
                np.testing.assert_array_equal(result, plain)
                assert np.shares_memory(result, x) == np.shares_memory(plain, x)
                assert result is x or plain is not x


def test_arrays_made_of_tensors_do_not_alias_them() -> None:
    held = gj.constant(X)
    for fn in (lambda x: x, lambda x: x.T, lambda x: x[1:], lambda x: gj.reshape(x, [2, 2])):
        gj.function(fn, outputs="numpy")(held)[...] = -1
        with gj.eager():
            gj.function(fn, outputs="numpy")(held)[...] = -1
    np.testing.assert_array_equal(held.numpy(), X)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 8])
def test_eager_results_are_what_the_function_gives(number: int) -> None:
    x = X.copy()
    with gj.eager():
        result = gj.function(VIEWS[number])(x)
    plain = VIEWS[number](x)
    assert (result is x) == (plain is x)
    if isinstance(plain, np.ndarray):
        assert np.shares_memory(result, x) == np.shares_memory(plain, x)


def test_constants_come_out_fresh() -> None:
    fn = gj.function(lambda x: (gj.zeros(3), np.ones(3), x), fallback="error")
    for _ in range(2):
        zeros, ones, _ = fn(X)
        assert zeros.tolist() == [0, 0, 0] and ones.tolist() == [1, 1, 1]
        zeros[0] = ones[0] = 5


WEIGHT = np.ones(4)


def test_globals_are_read_at_each_call() -> None:
    global WEIGHT
    WEIGHT = np.ones(4)
    fn = gj.function(lambda x: x + WEIGHT, fallback="error")
    np.testing.assert_array_equal(fn(X), X + 1)
    WEIGHT[0] = 5
    np.testing.assert_array_equal(fn(X), X + WEIGHT)
    WEIGHT = np.full(4, 7.0)
    np.testing.assert_array_equal(fn(X), X + 7)
    WEIGHT = np.full((2, 4), 8.0)
    np.testing.assert_array_equal(fn(X), X + WEIGHT)
    WEIGHT = np.full(4, 9, np.float32)  # type: ignore[assignment]
    np.testing.assert_array_equal(fn(X), X + 9)


def test_closures_and_objects_are_read_at_each_call() -> None:
    weight = np.ones(4)

    def add(x: Any) -> Any:
        return x + weight

    fn = gj.function(add, fallback="error")
    np.testing.assert_array_equal(fn(X), X + 1)
    weight = np.full(4, 3.0)
    np.testing.assert_array_equal(fn(X), X + 3)

    class Layer:
        def __init__(self) -> None:
            self.w = np.ones(4)
            self.parts = {"b": [np.ones(4)]}

        @gj.function(fallback="error")
        def call(self, x: Any) -> Any:
            return x * self.w + self.parts["b"][0]

    one, other = Layer(), Layer()
    other.w = np.zeros(4)
    np.testing.assert_array_equal(one.call(X), X + 1)
    np.testing.assert_array_equal(other.call(X), np.ones(4))
    one.w = np.full(4, 2.0)
    one.parts["b"][0][:] = 5
    np.testing.assert_array_equal(one.call(X), X * 2 + 5)
    np.testing.assert_array_equal(other.call(X), np.ones(4))


USES: list[Any] = [
    lambda x, w: x + w, lambda x, w: x + gj.constant(w) * 2, lambda x, w: x + gj.exp(w),
    lambda x, w: gj.add(x, w), lambda x, w: np.add(x, w), lambda x, w: np.where(x > 1, w, x),
    lambda x, w: np.concatenate([x, w]), lambda x, w: x @ w,
]  # fmt: skip
BAKED: list[Any] = [
    lambda x, w: x + np.exp(w), lambda x, w: x + w.sum(), lambda x, w: x * w[0],
    lambda x, w: x[int(w[0]) :], lambda x, w: gj.where(w > 1, x, 0.0),
    lambda x, w: x + w[1:3].max(),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("use", [*USES, *BAKED])
def test_uses_of_a_captured_array(use: Any) -> None:
    weight = np.ones(4)
    fn = gj.function(lambda x: use(x, weight))
    for value in (1, 2):
        weight[:] = value
        np.testing.assert_allclose(fn(X), np.asarray(use(X, weight)), rtol=1e-6)
    weight = np.full(4, 3.0)
    np.testing.assert_allclose(fn(X), np.asarray(use(X, weight)), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_arrays_written_to_while_tracing() -> None:
    def fn(x: Any) -> Any:
        local = np.zeros(4)
        before = x + local
        local[0] = 1
        return before, x + local

    traced = gj.function(fn)
    for _ in range(2):
        for got, wanted in zip(traced(X), fn(X), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_tensors_and_functions_of_the_closure() -> None:
    scale = gj.constant(3.0, gj.float64)
    inner = gj.function(lambda x: x * scale)
    outer = gj.function(lambda x: inner(inner(x)) + double(x), fallback="error")
    np.testing.assert_array_equal(outer(tensor(X)).numpy(), X * 9 + X * 2)
    assert inner.trace_count == 0
    assert "mul" in str(outer.get_graph(tensor(X)))


def test_methods() -> None:
    class Layer:
        scale = 2.0

        @gj.function
        def call(self, x: Any) -> Any:
            return x * self.scale

        @classmethod
        def make(cls) -> Any:
            return cls()

        @staticmethod
        @gj.function
        def plain(x: Any) -> Any:
            return x + 1

    layer = Layer()
    np.testing.assert_array_equal(layer.call(X), X * 2)
    np.testing.assert_array_equal(Layer.call(layer, X), X * 2)
    np.testing.assert_array_equal(Layer.plain(X), X + 1)
    np.testing.assert_array_equal(layer.plain(X), X + 1)
    bound = gj.function(layer.call)
    np.testing.assert_array_equal(bound(X), X * 2)


def test_methods_keep_no_instance_alive() -> None:
    class Layer:
        def __init__(self) -> None:
            self.w = np.ones(4)

        @gj.function(fallback="error")
        def call(self, x: Any) -> Any:
            return x * self.w

    layer = Layer()
    np.testing.assert_array_equal(layer.call(X), X)
    np.testing.assert_array_equal(gj.function(layer.call)(X), X)
    seen = weakref.ref(layer)
    del layer
    gc.collect()
    assert seen() is None


def test_methods_with_a_signature() -> None:
    class Layer:
        @gj.function(input_signature=[gj.TensorSpec([2])])
        def call(self, x: Any) -> Any:
            return x * 2

    assert values(Layer().call(gj.ones(2))) == [2, 2]


@pytest.mark.parametrize("bad", [3, [3], "x", [None], [{"a": gj.TensorSpec([2])}, 1]])
def test_signatures_of_no_sense(bad: Any) -> None:
    with pytest.raises(gj.errors.GraphJitError):
        gj.function(lambda *args: args, input_signature=bad)


@pytest.mark.parametrize(
    "make", [lambda: slice(1, 3), lambda: range(3), lambda: frozenset([7])]
)
def test_equal_static_values_trace_once(make: Any) -> None:
    fn = gj.function(lambda x, value: x + 1, fallback="error")
    for _ in range(3):
        fn(X, make())
    assert fn.trace_count == 1


def test_one_trace_for_all_sizes_but_1_which_broadcasts() -> None:
    fn = gj.function(lambda x: x * 2, input_signature=[gj.TensorSpec([None])])
    for n in (2, 0, 3, 4, 5):
        fn(np.ones(n, np.float32))
    assert fn.trace_count == 1
    fn(np.ones(1, np.float32))
    assert fn.trace_count == 2


@pytest.mark.parametrize("place", ["attribute", "helper"])
def test_uses_of_a_far_array(place: str) -> None:
    holder = types.SimpleNamespace(w=np.ones(4))
    direct = np.ones(4)

    def helper(x: Any) -> Any:
        return x * (np.exp(holder.w) if place == "attribute" else np.exp(direct))

    fn = gj.function(lambda x: helper(x), fallback="error")
    fn(X)
    holder.w[:] = direct[:] = 2
    np.testing.assert_allclose(fn(X), helper(X))


def test_kinds_of_callables() -> None:
    np.testing.assert_allclose(gj.function(np.exp)(X), np.exp(X))
    np.testing.assert_allclose(gj.function(gj.exp)(X), np.exp(X))


def test_callables_without_a_name() -> None:
    class Scale:
        def __call__(self, x: Any) -> Any:
            return x * 2

    for call in (functools.partial(np.multiply, 2.0), Scale()):
        np.testing.assert_array_equal(gj.function(call)(X), X * 2)
        assert repr(gj.function(call))


def convert(x: Any) -> Any:
    return x * float(gj.reduce_sum(x))


def iterate(x: Any) -> Any:
    return [y * 2 for y in [*x] * 8 if y > 1]


@pytest.mark.parametrize("fn", [convert, iterate])
def test_control_flow_on_data(fn: Any) -> None:
    for argument in (X, tensor(X)):
        with pytest.raises(gj.errors.TracingError, match=r"test_function\.py:\d+") as info:
            gj.function(fn, fallback="error")(argument)
        assert f"in {fn.__name__}: " in str(info.value) or fn is iterate
        traced = gj.function(fn)
        with pytest.warns(
            gj.FallbackWarning, match=rf"{fn.__name__}.*\n?.*test_function"
        ) as seen:
            first = traced(argument)
        assert len(seen) == 1
        second = traced(argument)  # the second warns no more
        for result in (first, second):
            np.testing.assert_allclose(np.asarray(result), np.asarray(fn(argument)))
        wanted = np.ndarray if argument is X else gj.Tensor
        leaf = second[0] if isinstance(second, list) else second
        assert isinstance(leaf, (wanted, np.generic) if argument is X else wanted)


def test_static_control_flow_is_traced() -> None:
    def fn(x: Any) -> Any:
        for i in range(x.shape[0]):
            if i % 2 == 0 and x.ndim == 1 and x.dtype == np.float64:
                x = x + i
        return x if len(x) == 4 else -x

    np.testing.assert_array_equal(gj.function(fn, fallback="error")(X), fn(X))


def test_errors_of_the_function_itself() -> None:
    def fn(x: Any) -> Any:
        raise KeyError("mine")

    for fallback in ("error", "eager"):
        traced = gj.function(fn, fallback=fallback)
        for _ in range(2):
            with pytest.raises(KeyError, match="mine"):
                traced(X)


def test_bad_arguments_do_not_spoil_a_function() -> None:
    fn = gj.function(lambda x, y: x + y)
    for _ in range(2):
        with pytest.raises(ValueError):
            fn(X, np.ones(3))
        with pytest.raises(INVALID):
            fn(tensor(X), gj.ones(3, gj.float64))
        np.testing.assert_array_equal(fn(X, X), X + X)


def test_leaked_tracers() -> None:
    kept: list[Any] = []

    def fn(x: Any) -> Any:
        kept.append(x * 2)
        return x

    gj.function(fn, fallback="error")(X)
    assert len(kept) == 1 and isinstance(kept[0], np.ndarray)
    kept.clear()
    trace = Trace("fn")  # of which nobody asks what it left
    with trace.active():
        type = TensorType(X.shape, gj.float64)
        fn(trace.parameter(type, "x", "numpy", "argument"))
    for use in (
        lambda: kept[0] + 1, lambda: gj.exp(kept[0]), lambda: kept[0][0],
        lambda: np.exp(kept[0]),
        lambda: gj.function(lambda x: x + kept[0])(X), lambda: gj.stack([kept[0], kept[0]]),
    ):  # fmt: skip
        with pytest.raises(gj.errors.LeakedTracerError, match=r"test_function\.py") as info:
            use()
        assert "kept.append(x * 2)" in str(info.value)
    with pytest.raises(gj.errors.LeakedTracerError, match=r"test_function\.py"):
        double(kept[0])


def write(x: Any) -> Any:
    x[0] = 100
    return x * 2


def add_in_place(x: Any) -> Any:
    x += 1
    return x * 2


def write_through_a_view(x: Any) -> Any:
    x[1:][0] = 7
    return x + 0


def write_by_ufunc(x: Any) -> Any:
    np.multiply(x, 2, out=x)
    return x + 0


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("fn", [write, add_in_place, write_through_a_view, write_by_ufunc])
def test_arguments_are_mutated_as_in_numpy(fn: Any) -> None:
    traced = gj.function(fn)
    for _ in range(2):
        x, y = X.copy(), X.copy()
        np.testing.assert_array_equal(traced(x), fn(y))
        np.testing.assert_array_equal(x, y)


def test_locals_are_written_functionally() -> None:
    def fn(x: Any) -> Any:
        y = x * 1
        y[0] = 5
        y += 1
        y[1:] *= 2
        return y

    x = X.copy()
    np.testing.assert_array_equal(gj.function(fn, fallback="error")(x), fn(X))
    np.testing.assert_array_equal(x, X)


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_containers_are_mutated_as_in_python() -> None:
    def fn(d: Any, items: Any) -> None:
        d["y"] = d["x"] * 2
        items.append(d["x"])

    d: Any = {"x": X}
    items: Any = []
    gj.function(fn)(d, items)
    np.testing.assert_array_equal(d["y"], X * 2)
    assert len(items) == 1


def test_eager_mode() -> None:
    calls: list[int] = []

    def fn(x: Any) -> Any:
        calls.append(1)
        return x + 1

    def plain(x: Any) -> Any:
        return x + 1

    traced = gj.function(plain)
    traced(X), traced(X)
    assert traced.trace_count == 1
    traced.python_function = fn
    with gj.eager():
        traced(X), traced(X)
        assert len(calls) == 2
        with gj.config.eager(False):
            traced(X)
    assert len(calls) == 2
    gj.config.run_functions_eagerly(True)
    try:
        traced(X)
        assert len(calls) == 3 and gj.config.functions_run_eagerly
    finally:
        gj.config.run_functions_eagerly(False)
    traced(X)
    assert len(calls) == 3


def test_eager_mode_by_environment() -> None:
    code = (
        "import graphjit as gj, numpy as np\n"
        "f = gj.function(lambda x: x + 1)\n"
        "f(np.ones(2)); print(f.trace_count)\n"
    )
    for value, traces in (("1", "0"), ("0", "1")):
        environment = {**os.environ, "GRAPHJIT_EAGER": value}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert done.stdout.strip() == traces, done.stderr


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_other_arrays() -> None:
    fn = gj.function(lambda x: x + x)
    for first, second in (
        (np.array(["a", "b"], object), np.array(["c", "d"], object)),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), np.ma.array([5.0, 6.0], mask=[1, 0])),
        (np.array([1], "m8[s]"), np.array([2], "m8[s]")),
        (np.arange(3.0)[::-1], np.arange(3.0)[::-1] + 1),
        (np.arange(3.0).astype(">f8"), np.ones(3, ">f8")),
    ):
        for x in (first, second, first):
            got, wanted = fn(x), x + x
            assert np.asarray(got).tolist() == np.asarray(wanted).tolist()
    matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(fn(matrix), matrix * 2)
    matrix[0, 0] = 9
    np.testing.assert_array_equal(fn(matrix), matrix * 2)


def test_python_arithmetic_of_ints() -> None:
    fn = gj.function(lambda n: n * n)
    assert [fn(n) for n in (2, 3, 2**40)] == [4, 9, 2**80]


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
def test_objects_come_out_without_tracers() -> None:
    class Result:
        y: Any = None

    def fn(x: Any) -> Any:
        result = Result()
        result.y = x * 2
        return result

    np.testing.assert_array_equal(gj.function(fn)(X).y, X * 2)


def test_recursion() -> None:
    @gj.function(fallback="error")
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else x * power(x, n - 1)

    for n in (3, 5, 2):
        np.testing.assert_allclose(power(X, n), X**n)


def test_functions_pickle_by_reference() -> None:
    assert pickle.loads(pickle.dumps(double)) is double


def test_functions_have_docs() -> None:
    for name in gj.__all__:
        value = getattr(gj, name)
        if callable(value):
            assert (value.__doc__ or "").strip(), name
            assert "functools" not in value.__doc__, name
    for name in ("reduce_sum", "exp", "add", "reshape", "concat", "where", "constant"):
        function = getattr(gj, name)
        assert function.__name__ == name and function.__module__.startswith("graphjit")


@pytest.mark.parametrize("native_after", [None, 0, 32])
def test_numpy_scalars_are_no_arrays_on_any_way(monkeypatch, native_after):
    """A scalar has flags as an array has, and no memory where an array has it."""
    monkeypatch.setattr(gj.config, "native_after", native_after)
    x = np.eye(2) + 0.5
    out = np.empty((2, 2))
    for f in (
        lambda x, i: np.linalg.inv(x)[0, 0] * i,
        lambda x, i: np.linalg.inv(x) * i,
        lambda x, i: np.sort(x, axis=None)[0] + i,
        lambda x, i: (x * i).sum(),
    ):
        jitted = gj.function(f, fallback="error")
        for scalar in (np.float64(3), np.float32(2), np.int64(-4)) * 14:
            np.testing.assert_allclose(jitted(x, scalar), f(x, scalar), rtol=1e-14)
    jitted = gj.function(lambda x, i: x * i, fallback="error")
    for scalar in (np.float64(3), np.float64(-4)) * 20:
        jitted(x, scalar, out=out)
        np.testing.assert_array_equal(out, x * scalar)


@pytest.mark.parametrize(
    "f",
    [
        lambda s: gj.multiply(2, s),
        lambda s: gj.maximum(1, s),
        lambda s: gj.where(True, 1, s),
        lambda s: gj.add(1, [s, 2]),
    ],
)
def test_an_integer_beside_a_traced_float_is_one(f: Any) -> None:
    found, expected = gj.function(f, fallback="error")(0.5), f(0.5)
    assert found.dtype is expected.dtype is gj.float32
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_attributes_of_the_python_function() -> None:
    def f(x: Any, y: Any = 2, *, z: Any = 3) -> Any:
        return x + y + z

    decorated = gj.function(f)
    assert decorated(1) == 6
    assert decorated.__code__ is f.__code__ and decorated.__defaults__ == (2,)
    decorated.__defaults__ = (5,)
    assert decorated(1) == 9 == f(1)
    decorated.__kwdefaults__ = {"z": 0}
    assert decorated(np.float64(1)) == 6 == f(1)
    assert decorated.__closure__ is None and decorated.__globals__ is globals()


def test_lists_of_loops_are_no_tensors() -> None:
    def f(x: Any, k: Any) -> Any:
        y, found = np.zeros(3), []
        for i in range(k):
            if x[-1] > np.sign(x[0]):
                y[0] = i
            else:
                found.append(i)
        return y, found

    found = gj.function(f)([1.0, 2.0, -1.0], 130)
    assert type(found[0]) is np.ndarray and type(found[1]) is list
