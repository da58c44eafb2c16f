"""Garbage for the public functions: an error of graphjit's own, or a right answer."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from naming import ids

import graphjit as gj

ERROR = gj.errors.GraphJitError
CLASSES = [
    "Tensor", "Variable", "TensorSpec", "IndexedSlices", "DType", "TensorShape", "Function",
    "Graph", "FallbackWarning", "RecompileWarning",
]  # fmt: skip
# Callables that are no functions of tensors, or that call what they are given.
OTHER = [*CLASSES, "function", "eager", "config"]
FUNCTIONS = sorted(
    name
    for name in gj.__all__
    if name not in OTHER
    and callable(getattr(gj, name))
    and not isinstance(getattr(gj, name), gj.DType)
)


def structured() -> Any:
    return np.zeros(2, dtype=[("a", "f4"), ("b", "i4")])


class Odd:
    pass


class Sub(np.ndarray[Any, Any]):
    pass


NOT_TENSORS: list[Any] = [
    None, "x", "", b"x", ["a"], [None], [[1], [1, 2]], [1, [2]], {}, {1: 2}, set(), Odd(), Odd,
    int,
    print, gj, ..., slice(None), np.array(["x"]), np.array([None]), np.array([object()]),
    structured(), structured()[0], np.array(["2020"], "M8[D]"), np.array([1], "m8[s]"),
    np.dtype("f4"), np.str_("x"), np.float32, gj.float32, gj.TensorSpec([2]),
    np.longdouble(1), np.clongdouble(1), np.ma.array([1.0, 2.0], mask=[0, 1]), lambda: 1,
    [[], [1]], (1, (2, 3)), [1.0, "x"], [np.zeros(2), np.zeros(3)],
]  # fmt: skip


@pytest.mark.parametrize("value", NOT_TENSORS, ids=ids(NOT_TENSORS))
def test_not_a_tensor(value: Any) -> None:
    for make in (
        gj.constant, gj.convert_to_tensor, gj.asarray, gj.Tensor, gj.exp, gj.reduce_sum,
        gj.square,
        lambda x: gj.add(gj.constant(1.0), x), lambda x: gj.maximum(x, gj.constant([1.0])),
        lambda x: gj.concat([x, gj.constant([1.0])], 0), lambda x: gj.where(x, 1.0, 2.0),
        lambda x: gj.gather(gj.constant([1.0]), x), lambda x: gj.matmul(x, x),
    ):  # fmt: skip
        with pytest.raises(ERROR) as info:
            make(value)
        assert isinstance(info.value, (ValueError, TypeError, IndexError))
        assert "test_bad_input.py:" in str(info.value)


BAD_SHAPES: list[Any] = [
    None, "x", 1.5, [1.5], [True], True, [None], [-1], -1, [2, -3], float("inf"),
    [float("nan")],
    [2**63], [2**62, 4], [2**40, 2**40], 10**30, [10**30], [[1, 2]], [[1], [2, 3]], {}, Odd(),
    int,
    np.array([1.5]), np.array([[1, 2]]), np.array([True]), np.array(["x"]), gj.constant([1.5]),
    gj.constant([[1]]), gj.constant(True), [1] * 65, [2**62, 0, 4], object, ..., slice(None),
]  # fmt: skip


@pytest.mark.parametrize("shape", BAD_SHAPES, ids=ids(BAD_SHAPES))
def test_bad_shapes(shape: Any) -> None:
    for make in (
        gj.zeros, gj.ones, gj.empty, lambda s: gj.fill(s, 1), lambda s: gj.full(s, 1.0),
        lambda s: gj.broadcast_to(gj.constant(1.0), s),
        lambda s: gj.scatter_nd([[0]], [1.0], s), lambda s: gj.constant(7, shape=s),
    ):  # fmt: skip
        if shape is None and make is not gj.zeros:  # None: no shape given
            continue
        with pytest.raises(ERROR):
            make(shape)
        with pytest.raises(ERROR):
            gj.function(lambda x, make=make: make(shape) + x, fallback="error")(
                gj.constant(1.0)
            )


def test_good_shapes() -> None:
    for shape in (
        3, [3], (3,), np.array([3]), np.array(3), np.int8(3), [np.int64(3)], gj.constant([3]),
        gj.constant(3), [gj.constant(3)], gj.zeros([3]).shape,
    ):  # fmt: skip
        assert gj.zeros(shape).shape == (3,)
    for shape in ([], (), np.zeros(0, int), gj.constant([], gj.int32)):
        assert gj.zeros(shape).shape == ()
    assert gj.zeros([0, 2**40]).shape == (0, 2**40)


BAD_AXES: list[Any] = [
    5, -5, 1.5, "x", [0, 0], [0, 5], [None], {}, Odd(), True, [1.5], 10**30, int, [[0]], b"x",
    1j,
    float("nan"), np.array([0.5]), np.array(["x"]), gj.constant(0.5), [0, -2],
]  # fmt: skip


@pytest.mark.parametrize("axis", BAD_AXES, ids=ids(BAD_AXES))
def test_bad_axes(axis: Any) -> None:
    x = gj.ones([2, 3])
    for fn in (
        gj.reduce_sum, gj.reduce_mean, gj.reduce_max, gj.reduce_variance, gj.argmax, gj.cumsum,
        gj.reduce_logsumexp, gj.sort, gj.argsort, gj.squeeze, gj.reverse, gj.softmax,
        lambda x, a: gj.concat([x, x], a), lambda x, a: gj.stack([x, x], a),
        lambda x, a: gj.split(x, 1, a), lambda x, a: gj.unstack(x, axis=a),
        lambda x, a: gj.gather(x, [0], axis=a), lambda x, a: gj.moveaxis(x, a, 0),
        lambda x, a: gj.swapaxes(x, a, 0), lambda x, a: gj.repeat(x, 2, axis=a),
    ):  # fmt: skip
        with pytest.raises(ERROR):
            fn(x, axis)
    with pytest.raises(ERROR):
        gj.function(lambda x: gj.reduce_sum(x, axis), fallback="error")(x)


def test_bad_dtypes() -> None:
    for bad in (
        "str", "x", "object", "O", "U1", "M8[s]", "float128", "c32", np.longdouble, object, str,
        bytes, Odd, 1, 1.5, [1], structured().dtype, np.dtype("O"), np.dtype("m8[s]"), {}, ...,
        gj.constant(1), "<q,<i",
    ):  # fmt: skip
        for make in (
            gj.as_dtype, lambda d: gj.constant(1, d), lambda d: gj.cast(gj.constant(1), d),
            lambda d: gj.zeros([1], d), lambda d: gj.zeros_like(gj.constant(1), d),
            lambda d: gj.range(3, dtype=d), lambda d: gj.Variable(1, dtype=d),
            lambda d: gj.argmax(gj.constant([1]), output_type=d),
            lambda d: gj.bitcast([1.0], d),
        ):  # fmt: skip
            with pytest.raises(ERROR):
                make(bad)


def test_wrong_dtypes_for_an_op() -> None:
    one, flag, z = gj.constant(1), gj.constant(True), gj.constant(1j)
    for fn in (
        lambda: gj.exp(one), lambda: gj.sqrt(flag), lambda: gj.logical_and(one, one),
        lambda: gj.bitwise_and(gj.constant(1.0), 2.0), lambda: gj.floor(z),
        lambda: gj.where(one, 1.0, 2.0), lambda: gj.gather([1.0], 0.5), 
        lambda: gj.reduce_any(one), lambda: gj.reduce_max(z), lambda: gj.argmax([1j]),
        lambda: gj.left_shift(1.0, 2.0), lambda: gj.add(flag, flag), 
        lambda: gj.one_hot([0.5], 3), lambda: gj.erf(z), lambda: gj.floordiv(z, z),
        lambda: gj.complex(one, one), lambda: gj.bitcast(one, gj.float64),
        lambda: gj.is_nan(one),
    ):  # fmt: skip
        for call in (fn, gj.function(fn, fallback="error")):
            with pytest.raises(ERROR) as info:
                call()
            assert isinstance(info.value, (ValueError, TypeError))


def test_wrong_shapes_for_an_op() -> None:
    x, y = gj.ones([2, 3]), gj.ones([4])
    for fn in (
        lambda: x + y, lambda: x @ y, lambda: gj.concat([x, y], 0), lambda: gj.stack([x, y]),
        lambda: gj.reshape(x, [5]), lambda: gj.reshape(x, [-1, -1]),
        lambda: gj.reshape(x, [4, -1]),
        lambda: gj.transpose(x, [0]), lambda: gj.transpose(x, [0, 0]),
        lambda: gj.split(x, 2, 1),
        lambda: gj.broadcast_to(x, [3, 3]), lambda: gj.broadcast_to(x, [3]),
        lambda: gj.tile(x, [2]),
        lambda: gj.squeeze(x, 0), lambda: gj.pad(x, [[1, 1]]), lambda: gj.pad(x, [[-1, 0]] * 2),
        lambda: gj.where([True, False], x, y), lambda: gj.slice(x, [0, 0], [3, 3]),
        lambda: gj.gather(x, [2]), lambda: gj.gather(x, [-1]),
        lambda: gj.gather_nd(x, [[0, 5]]),
        lambda: gj.tensor_scatter_nd_add(x, [[5, 0]], [1.0]), lambda: gj.concat([], 0),
        lambda: gj.stack([]), lambda: gj.split(x, [1, 2]), lambda: gj.unstack(gj.constant(1.0)),
        lambda: gj.top_k(x, 9), lambda: gj.boolean_mask(x, [True]),
        lambda: gj.einsum("ij,jk", x, y),
        lambda: gj.repeat(x, [1, 2, 3], 0), lambda: gj.roll(x, [1, 2], 0), lambda: gj.diag(1.0),
        lambda: gj.searchsorted(x, 1.0), lambda: gj.linspace(0.0, 1.0, -1), lambda: gj.eye(-1),
        lambda: gj.range(1, 2, 0), lambda: gj.one_hot([1], -1), lambda: gj.tril(y),
        lambda: x[5],
        lambda: gj.meshgrid(x, y, indexing="no"), lambda: gj.sort(x, direction="UP"),
    ):  # fmt: skip
        for call in (fn, gj.function(fn, fallback="error")):
            with pytest.raises(ERROR) as info:
                call()
            assert isinstance(info.value, (ValueError, IndexError))


def test_no_memory() -> None:
    for fn in (
        lambda: gj.zeros([2**50]) + gj.ones([2**50]), lambda: gj.range(2**50),
        lambda: gj.exp(gj.zeros([2**30, 2**20])), lambda: gj.linspace(0.0, 1.0, 2**50),
    ):  # fmt: skip
        with pytest.raises(gj.errors.OutOfMemoryError):
            fn()


def misaligned(array: Any) -> Any:
    return (
        np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:]
        .view(array.dtype)
        .reshape(array.shape)
    )


def read_only(array: Any) -> Any:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


MAKES: dict[str, Callable[[Any], Any]] = {
    "fortran": np.asfortranarray,
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "swapped": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "misaligned": misaligned,
    "read-only": read_only,
    "subclass": lambda a: a.view(Sub),
    "matrix": np.matrix,
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "list": lambda a: a.tolist(),
    "memmap-like": lambda a: np.lib.stride_tricks.as_strided(a, a.shape, a.strides),
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("make", MAKES)
def test_arrays_of_every_make(make: str) -> None:
    plain = np.arange(1.0, 7).reshape(2, 3)
    array = MAKES[make](plain)
    wanted = np.asarray(array, np.float64)
    if make == "list":
        wanted = wanted.astype(np.float32)
    before = wanted.copy()
    for fn, expected in (
        (lambda x: gj.add(x, x), wanted + wanted),
        (lambda x: gj.reduce_sum(x, 0), wanted.sum(0)),
        (lambda x: gj.transpose(x), wanted.T),
        (lambda x: gj.concat([x, x], 0), np.vstack([wanted] * 2)),
        (lambda x: gj.matmul(x, gj.transpose(x)), wanted @ wanted.T),
        (lambda x: gj.sort(x), wanted),
    ):  # fmt: skip
        if make == "broadcast":
            expected = np.asarray(fn(np.array(wanted)))
        for call in (fn, gj.function(fn)):
            np.testing.assert_array_equal(np.asarray(call(array)), expected)
    np.testing.assert_array_equal(np.asarray(array, wanted.dtype), before)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3), (), (1,), (1, 1, 1)])
def test_few_elements(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, np.float32)
    for fn, expected in (
        (lambda x: x + 1, array + 1), (lambda x: gj.reduce_sum(x), array.sum()),
        (lambda x: gj.reduce_prod(x), array.prod()),
        (lambda x: gj.reshape(x, [-1]), array.reshape(-1)),
        (lambda x: gj.transpose(x), array.T),
        (lambda x: gj.stack([x, x]), np.stack([array, array])),
        (lambda x: gj.reverse(x, list(range(len(shape)))), array),
        (lambda x: gj.where(x > 0, x, 2.0), array), (lambda x: gj.cast(x, gj.int32), array),
        (lambda x: gj.expand_dims(x, 0), array[None]), (lambda x: gj.exp(x) * 0 + x, array),
    ):  # fmt: skip
        for call in (fn, gj.function(fn, fallback="error")):
            np.testing.assert_allclose(np.asarray(call(gj.constant(array))), expected)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-4, 4), st.sampled_from([2**31, 2**63, 10**30,
    10**400]),
    st.floats(), st.complex_numbers(), st.text(max_size=2), st.binary(max_size=2),
    st.sampled_from([np.float64(2), np.int8(3), np.bool_(True), np.str_("x"),
    np.longdouble(1)]),
)  # fmt: skip
odd_values = st.sampled_from([*NOT_TENSORS, gj.eager, gj.bool, "float32", range(3), np.float16])
arrays = hnp.arrays(
    st.sampled_from(["f4", "f8", ">f8", "i4", "i8", "u1", "?", "c8", "f2", "O", "U1", "M8[s]"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
tensors = hnp.arrays(
    st.sampled_from(["f4", "f8", "i4", "i8", "u1", "?", "c8"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
).map(gj.constant)
garbage = st.one_of(
    scalars, odd_values, arrays, tensors, tensors.map(gj.Variable),
    st.lists(st.one_of(st.integers(-3, 3), scalars, tensors), max_size=3),
    st.lists(st.integers(-2, 3), max_size=3).map(tuple),
)  # fmt: skip
# an option that makes no sense may be refused by Python itself
ALLOWED = (ERROR, TypeError, ValueError, OverflowError)


def arity(function: Callable[..., Any]) -> tuple[int, int]:
    """The least and the greatest number of positional arguments."""
    found = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return sum(p.default is p.empty for p in found), len(found)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=12, derandomize=True, database=None)
@given(data=st.data())
def test_garbage(name: str, data: st.DataObject) -> None:
    function = getattr(gj, name)
    least, most = arity(function)
    args = data.draw(
        st.lists(garbage, min_size=least, max_size=max(least, min(most, least + 1)))
    )
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            result = function(*args)
    except gj.errors.InternalError:
        raise
    except ALLOWED:
        return
    for item in result if isinstance(result, (list, tuple)) else [result]:
        if isinstance(item, gj.Tensor) and item.type.size < 1000:
            assert repr(item)
            assert item.numpy().shape == item.shape


@settings(max_examples=200, derandomize=True, database=None)
@given(st.one_of(scalars, odd_values, arrays, st.lists(garbage, max_size=3)))
def test_tensor_of_anything(value: Any) -> None:
    try:
        with np.errstate(all="ignore"):
            tensor = gj.constant(value)
    except ERROR as error:
        assert isinstance(error, (ValueError, TypeError, MemoryError))
        return
    assert isinstance(tensor, gj.Tensor) and tensor.numpy().dtype == tensor.dtype


@settings(max_examples=60, derandomize=True, database=None)
@given(garbage)
def test_functions_of_anything(value: Any) -> None:
    fn = gj.function(lambda x: x)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for _ in range(2):
            result = fn(value)
    if isinstance(value, (int, str, bytes)) or value is None:
        assert type(result) is type(value) and result == value


@pytest.mark.parametrize("number", [-10, -(2**62), 9, 2**62])
def test_an_index_far_outside_is_named_as_it_was_given(number: int) -> None:
    x, index = np.arange(9.0), np.array([1, number])
    for call in (
        gj.function(lambda x, i: x[i], fallback="error"),
        gj.function(lambda x, i: np.take(x, i), fallback="error"),
        lambda x, i: gj.constant(x)[gj.constant(i)],
    ):
        with pytest.raises(IndexError, match=f"index {number} is out of range: the axis has 9"):
            call(x, index)
    near = np.array([-9, -1, 0, 8])
    np.testing.assert_array_equal(gj.function(lambda x, i: x[i])(x, near), x[near])
