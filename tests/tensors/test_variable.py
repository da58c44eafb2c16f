"""Variables: reading and assigning, eagerly and in functions, in order, all or nothing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphjit as gj

TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)
WAYS = [pytest.param(False, id="eager"), pytest.param(True, id="function")]


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Calls a function as it is, or decorated."""
    if not request.param:
        return lambda fn, *args: fn(*args)
    return lambda fn, *args: gj.function(fn, fallback="error")(*args)


def values(x: Any) -> Any:
    return np.asarray(x).tolist()


def test_attributes() -> None:
    v = gj.Variable(TABLE, trainable=False, name="w")
    assert v.shape == (2, 3) and v.shape.as_list() == [2, 3]
    assert v.dtype == "float32" and v.ndim == 2 and v.name == "w:0"
    assert v.trainable is False and gj.Variable(1.0).trainable is True
    assert gj.Variable(1, dtype=gj.float64).dtype == "float64"
    assert gj.Variable(lambda: 2.0).numpy() == 2.0
    assert gj.Variable(gj.Variable([1, 2])).dtype == "int32"
    assert len(v) == 2 and float(gj.Variable(2.5)) == 2.5 and int(gj.Variable(2)) == 2
    assert bool(gj.Variable(True)) and [1, 2, 3][gj.Variable(1)] == 2
    assert f"{gj.Variable(1.0)}"


def test_they_act_as_tensors(run: Callable[..., Any]) -> None:
    v = gj.Variable(TABLE)
    for fn in (
        lambda x: v + x, lambda x: x + v, lambda x: v * 2.0 + x * 0.0,
        lambda x: v @ gj.transpose(v),
        lambda x: v < x, lambda x: -v, lambda x: gj.exp(v), lambda x: v[0],
        lambda x: v[:, ::-1],
        lambda x: gj.reduce_sum(v, axis=0), lambda x: gj.concat([v, v], 0), lambda x: v.T,
        lambda x: gj.reshape(v, [-1]), lambda x: abs(v), lambda x: v**2.0,
        lambda x: 1.0 / (v + 1),
    ):  # fmt: skip
        got, wanted = run(fn, gj.constant(TABLE)), fn(gj.constant(TABLE))
        assert isinstance(got, gj.Tensor)
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=1e-6)
    assert type(np.square(v)) is np.ndarray and type(np.asarray(v)) is np.ndarray
    assert isinstance(TABLE + v, gj.Tensor)
    with pytest.raises(gj.errors.InvalidArgumentError):
        run(lambda: v + gj.constant(1))


def test_the_initial_value_is_copied() -> None:
    array = TABLE.copy()
    v = gj.Variable(array)
    array[:] = 7
    np.testing.assert_array_equal(v.numpy(), TABLE)
    shared = gj.from_dlpack(array)
    v.assign(shared)
    array[:] = 8
    np.testing.assert_array_equal(v.numpy(), np.full((2, 3), 7))


def test_what_was_read_stays() -> None:
    v = gj.Variable(TABLE)
    reads = [v.numpy(), v.read_value(), v.value(), v[...], v[:], v + 0.0, np.asarray(v), v[0:]]
    for assign in (
        lambda: v.assign(TABLE * 2), lambda: v.assign_add(TABLE), lambda: v[0].assign(9.0),
        lambda: v.scatter_nd_update([[0, 0]], [5.0]), lambda: v[:].assign(0.0),
        lambda: gj.function(lambda: v.assign_add(v))(),
    ):  # fmt: skip
        assign()
        for read in reads:
            np.testing.assert_array_equal(np.asarray(read), TABLE)
    for read in (v.numpy(), np.asarray(v), v.read_value().numpy()):
        with pytest.raises(ValueError, match="read-only"):
            read[0, 0] = 1


def test_pickles_and_copies() -> None:
    v = gj.Variable(TABLE, name="w", trainable=False)
    for other in (pickle.loads(pickle.dumps(v)), copy.deepcopy(v)):
        assert isinstance(other, gj.Variable)
        assert (other.name, other.trainable, other.dtype) == ("w:0", False, gj.float32)
        other.assign(other + 1)
        np.testing.assert_array_equal(v.numpy(), TABLE)


@pytest.mark.parametrize(
    "value", [None, "x", object(), [[1], [1, 2]], {}, np.array(["x"]), np.array([None]), [None]]
)
def test_no_variable_of_that(value: Any) -> None:
    with pytest.raises(gj.errors.GraphJitError):
        gj.Variable(value)


def test_not_made_inside_a_function() -> None:
    fn = gj.function(lambda x: gj.Variable(x) + x, fallback="error")
    with pytest.raises(gj.errors.TracingError, match=r"test_variable\.py"):
        fn(gj.constant(1.0))


def test_effects_in_order(run: Callable[..., Any]) -> None:
    v = gj.Variable([1.0, 2.0])

    def fn(x: Any) -> Any:
        before = v.read_value()
        v.assign_add(x)
        middle = v + 0.0
        v[0].assign(10.0)
        v.assign(v * 2.0)
        v.scatter_nd_add([[1]], [100.0])
        v.assign_sub(x)
        return before, middle, v.read_value(), v[1]

    results = run(fn, gj.constant([1.0, 1.0]))
    assert [values(r) for r in results] == [[1, 2], [2, 3], [19, 105], 105]
    assert values(v) == [19, 105]
    results = run(fn, gj.constant([1.0, 1.0]))
    assert values(results[0]) == [19, 105]


def test_assignments_chain_in_a_function(run: Callable[..., Any]) -> None:
    v = gj.Variable([1.0, 2.0])

    def fn() -> Any:
        return v.assign_add([1.0, 1.0]).assign(v * 2.0) + v

    assert values(run(fn)) == [8, 12]
    assert values(v) == [4, 6]


def test_swap(run: Callable[..., Any]) -> None:
    v, w = gj.Variable([1.0]), gj.Variable([2.0])

    def fn() -> None:
        old = v.read_value()
        v.assign(w)
        w.assign(old)

    assert run(fn) is None
    assert values(v) == [2] and values(w) == [1]
    run(fn)
    assert values(v) == [1] and values(w) == [2]


def test_many_calls_of_one_function() -> None:
    v = gj.Variable(0.0)
    step = gj.function(lambda x: v.assign_add(x), fallback="error")
    for _ in range(10):
        step(gj.constant(2.0))
    assert v.numpy() == 20 and step.trace_count == 1
    v.assign(1.0)
    step(gj.constant(2.0))
    assert v.numpy() == 3


def test_variables_as_arguments() -> None:
    step = gj.function(lambda v, x: v.assign_add(x) + 0.0, fallback="error")
    v, w = gj.Variable(1.0), gj.Variable(10.0)
    assert values(step(v, 1.0)) == 2 and values(step(w, 1.0)) == 11
    assert values(step(v, 1.0)) == 3 and values(v) == 3 and values(w) == 11
    nested = gj.function(lambda d: d["v"].assign(d["w"][0] * 2.0), fallback="error")
    nested({"v": v, "w": [w]})
    assert values(v) == 22


def test_state_of_an_object() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = gj.Variable(0)

        @gj.function
        def step(self, n: Any) -> Any:
            return self.count.assign_add(n)

    a, b = Counter(), Counter()
    a.step(1), a.step(2), b.step(5)
    assert values(a.count) == 3 and values(b.count) == 5


def test_results_do_not_share_memory_with_variables() -> None:
    v = gj.Variable(TABLE)
    for fn in (
        lambda x: v.assign(x), lambda x: v.read_value() + x * 0,
        lambda x: v.assign(x).read_value(),
        lambda x: (v.assign(x + 0), x + 0)[1], lambda x: (v.assign(x), v.read_value())[1],
    ):  # fmt: skip
        argument = TABLE.copy()
        result = gj.function(fn, outputs="numpy")(argument)
        assert type(result) is np.ndarray
        result[:] = 50
        argument[:] = 60
        np.testing.assert_array_equal(v.numpy(), TABLE)


def test_strided_writes(run: Callable[..., Any]) -> None:
    for key in (0, (1, 2), (slice(None), 1),
    (slice(None, None, -1), slice(0, 2)), ..., (..., 0),
                (slice(None), [2, 0]), ([0, 1], [1, 1]), (None, 0),
                (0, slice(1, 1))):  # fmt: skip
        v = gj.Variable(TABLE)
        wanted = TABLE.copy()
        wanted[key] = 9
        run(lambda v=v, key=key: (v[key].assign(9), None)[1])
        np.testing.assert_array_equal(v.numpy(), wanted)


def test_index_that_is_data() -> None:
    v = gj.Variable(TABLE)
    write = gj.function(lambda i, x: v[i].assign(x), fallback="error")
    write(gj.constant(1), gj.constant([7.0, 8.0, 9.0]))
    assert values(v) == [[0, 1, 2], [7, 8, 9]]
    with pytest.raises(gj.errors.IndexOutOfRangeError):
        write(gj.constant(2), gj.constant([7.0, 8.0, 9.0]))
    assert values(v) == [[0, 1, 2], [7, 8, 9]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["update", "add", "sub"]),
            st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=4),
        ),
        max_size=4,
    )
)
def test_scatters(steps: Any) -> None:
    v = gj.Variable(TABLE)
    wanted = TABLE.copy()
    for mode, rows in steps:
        updates = np.arange(1, len(rows) + 1, dtype=np.float32)
        getattr(v, f"scatter_nd_{mode}")(rows, updates)
        other = getattr(gj, f"tensor_scatter_nd_{mode}")(wanted, rows, updates)
        for row, x in zip(rows, updates, strict=True):
            wanted[row] = x if mode == "update" else wanted[row] + (x if mode == "add" else -x)
        np.testing.assert_array_equal(v.numpy(), wanted)
        np.testing.assert_array_equal(other.numpy(), wanted)


def test_indexed_slices(run: Callable[..., Any]) -> None:
    v = gj.Variable(TABLE)
    slices = gj.IndexedSlices(gj.constant([[1.0, 1.0, 1.0], [5.0, 5.0, 5.0]]), [0, 0])
    run(lambda: v.scatter_add(slices))
    assert values(v) == [[6, 7, 8], [3, 4, 5]]
    run(lambda: v.scatter_update(slices))
    assert values(v) == [[5, 5, 5], [3, 4, 5]]
    run(lambda: v.scatter_sub(slices))
    assert values(v) == [[-1, -1, -1], [3, 4, 5]]
    for bad in ([[1.0]], None, 3):
        with pytest.raises(gj.errors.GraphJitError):
            run(lambda bad=bad: v.scatter_add(bad))


BAD: list[Callable[[Any], Any]] = [
    lambda v: v.assign(None), lambda v: v.assign("x"), lambda v: v.assign([[1.0], [2.0, 3.0]]),
    lambda v: v.assign(gj.constant(TABLE, gj.float64)), lambda v: v.assign(gj.Variable(1)),
    lambda v: v.assign(1j * TABLE), lambda v: v.assign_add("x"), lambda v: v.assign_sub(None),
    lambda v: v.assign_add(gj.constant(1)), lambda v: v[0].assign(gj.constant(1)),
    lambda v: v[0].assign(None), lambda v: v[0].assign([1.0, 2.0]), lambda v: v[5].assign(1.0),
    lambda v: v[0, 0, 0].assign(1.0), lambda v: v["x"].assign(1.0), lambda v: v[0].assign(1j),
    lambda v: v.scatter_nd_update([[0, 0], [0, 3]], [1.0, 2.0]),
    lambda v: v.scatter_nd_update([[0, 0], [-1, 0]], [1.0, 2.0]),
    lambda v: v.scatter_nd_update([[0.5, 0]], [1.0]), lambda v: v.scatter_nd_update(None, None),
    lambda v: v.scatter_nd_update([[0, 0]], gj.constant([1])),
    lambda v: v.scatter_nd_update([0, 0], [1.0, 2.0]), lambda v: v.scatter_nd_add(0, 1.0),
    lambda v: v.scatter_update(gj.IndexedSlices([1.0], [0])) and v[0].assign(None),
    lambda v: v.scatter_add(gj.IndexedSlices([[1.0] * 3] * 2, [0, 2])),
    lambda v: v.scatter_sub(gj.IndexedSlices(gj.constant([[1] * 3]), [0])),
    lambda v: v.scatter_add(gj.IndexedSlices(None, None)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_refused(number: int, run: Callable[..., Any]) -> None:
    v, other = gj.Variable(TABLE), gj.Variable(0.0)

    def fn() -> Any:
        if number < 0:
            return None
        return BAD[number](v)

    if number == 23:  # the slice broadcasts: only what follows is wrong
        return
    with pytest.raises(gj.errors.GraphJitError) as info:
        run(fn)
    assert "test_variable.py:" in str(info.value)
    np.testing.assert_array_equal(v.numpy(), TABLE)
    assert other.numpy() == 0


def test_an_exception_while_tracing_writes_nothing() -> None:
    v = gj.Variable(1.0)

    def fn(x: Any) -> Any:
        v.assign(x)
        raise KeyError("mine")

    for fallback in ("error",):
        with pytest.raises(KeyError, match="mine"):
            gj.function(fn, fallback=fallback)(gj.constant(5.0))
        assert v.numpy() == 1


def test_an_error_at_run_time_writes_nothing() -> None:
    v, w = gj.Variable(1), gj.Variable(2)

    def fn(x: Any) -> Any:
        v.assign_add(1)
        w.assign(w // x)
        return v + w

    step = gj.function(fn, fallback="error")
    step(gj.constant(1))
    for _ in range(2):
        with pytest.raises(gj.errors.InvalidArgumentError, match="division by zero"):
            step(gj.constant(0))
        assert values(v) == 2 and values(w) == 2
    step(gj.constant(2))
    assert values(v) == 3 and values(w) == 1


def test_a_fallback_after_an_assignment_counts_once() -> None:
    v = gj.Variable(0.0)

    def fn(x: Any) -> Any:
        v.assign_add(x)
        return v + 1.0 if float(x) > 0 else v - 1.0

    step = gj.function(fn)
    with pytest.warns(gj.FallbackWarning):
        assert values(step(gj.constant(2.0))) == 3
    assert values(v) == 2
    assert values(step(gj.constant(2.0))) == 5 and values(v) == 4


def test_item_assignment_is_refused() -> None:
    v = gj.Variable(TABLE)
    with pytest.raises(TypeError, match="item assignment"):
        v[0, 0] = 1.0
    np.testing.assert_array_equal(v.numpy(), TABLE)
