"""Tensors: making, reading, indexing, operators, and what goes in and out."""

from __future__ import annotations

import copy
import operator
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from both_ways import check, ways
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from naming import ids

import graphjit as gj
from graphjit.core.types import DTYPES

TABLE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
REAL = [d for d in DTYPES if d.kind in "iuf"]
INVALID = gj.errors.InvalidArgumentError


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_arrays_go_in_and_out(dtype: gj.DType) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype.dtype)
    for made in (gj.constant(array), gj.convert_to_tensor(array), gj.asarray(array)):
        assert made.dtype is dtype and made.shape == (2, 3) and made.ndim == 2
        assert made.dtype == array.dtype and array.dtype == made.dtype
        assert np.asarray(made).dtype == array.dtype
        np.testing.assert_array_equal(made.numpy(), array)
        again = pickle.loads(pickle.dumps(made))
        assert type(again) is gj.Tensor and again.dtype is dtype
        np.testing.assert_array_equal(again.numpy(), array)
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert gj.as_dtype(array.dtype) is dtype and gj.as_dtype(dtype.name) is dtype


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0)[::-2],
        np.arange(6.0).reshape(2, 3).T,
        np.arange(6.0).astype(">f8"),
        np.arange(6, dtype=">i4").reshape(2, 3)[:, ::2],
        np.broadcast_to(np.float32(3), (2, 2)),
        np.frombuffer(b"x" + np.arange(3.0).tobytes(), np.uint8)[1:].view(np.float64),
        np.zeros((0, 3)),
        np.array(5),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.matrix([[1, 2], [3, 4]]),
    ],
    ids=lambda a: f"{type(a).__name__}-{a.dtype}-{a.shape}-{a.strides}",
)
def test_layouts(array: Any) -> None:
    wanted = np.asarray(array).astype(array.dtype.newbyteorder("="))
    tensor = gj.constant(array)
    np.testing.assert_array_equal(tensor.numpy(), wanted)
    assert tensor.numpy().dtype.isnative
    plain = type(array) is np.ndarray  # other kinds are not traced
    for fn in ways(lambda x: x + x) if plain else [gj.function(lambda x: gj.constant(x) * 2)]:
        result = np.asarray(fn(array))
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, wanted + wanted)


def test_tensors_are_copies_and_cannot_be_written() -> None:
    array = np.zeros(3)
    tensor = gj.constant(array)
    array[0] = 1
    np.testing.assert_array_equal(tensor.numpy(), 0)
    for view in (tensor.numpy(), np.asarray(tensor), tensor[1:].numpy(), tensor.T.numpy()):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 1
    changed = np.array(tensor)
    changed[0] = 1
    np.testing.assert_array_equal(tensor.numpy(), 0)


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.int64, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
        elements=None,
        fill=st.nothing(),
    )
)
def test_list_of_a_tensor(array: Any) -> None:
    tensor = gj.constant(array)
    np.testing.assert_array_equal(
        np.array(tensor.tolist(), array.dtype).reshape(array.shape), array
    )
    assert tensor.numpy().tobytes() == array.tobytes()
    assert tensor.shape == array.shape and tensor.ndim == array.ndim


def test_array_protocol() -> None:
    tensor = gj.constant([1.0, 2.0])
    assert np.asarray(tensor, np.float64).dtype == np.float64
    assert np.shares_memory(np.asarray(tensor), tensor.numpy())
    assert not np.shares_memory(np.array(tensor), tensor.numpy())
    with pytest.raises(ValueError, match="copy"):
        np.array(tensor, np.float64, copy=False)
    np.testing.assert_array_equal(np.concatenate([tensor, tensor]), [1, 2, 1, 2])
    assert tensor.numpy().sum() == 3 and len(tensor) == 2
    assert [float(x) for x in tensor] == [1, 2]


def test_dlpack() -> None:
    array = np.arange(4.0)
    tensor = gj.from_dlpack(array)
    assert isinstance(tensor, gj.Tensor)
    assert np.shares_memory(tensor.numpy(), array)
    back = np.from_dlpack(tensor)
    assert np.shares_memory(back, array)
    assert not np.from_dlpack(gj.constant([1.0])).flags.writeable
    assert tensor.__dlpack_device__() == (1, 0)
    for bad in (1, None, "x", [1.0], np.array(["x"]), np.array([None])):
        with pytest.raises((gj.errors.GraphJitError, TypeError, AttributeError, BufferError)):
            gj.from_dlpack(bad)


def test_scalars() -> None:
    assert int(gj.constant(3)) == 3 and float(gj.constant([2.5])) == 2.5
    assert complex(gj.constant(1j)) == 1j and bool(gj.constant(True))
    assert operator.index(gj.constant(3)) == 3 and [1, 2, 3][gj.constant(1)] == 2
    assert gj.constant(2.5).item() == 2.5 and isinstance(gj.constant(3).item(), int)
    for bad in (gj.constant(2.5), gj.constant([3]), gj.constant(True)):
        with pytest.raises(TypeError):
            operator.index(bad)
    for convert in (int, float, complex):
        with pytest.raises((ValueError, TypeError), match="one element"):
            convert(gj.constant([1.0, 2.0]))
    for call in (len, iter, list):
        with pytest.raises(TypeError):
            call(gj.constant(3))
    assert isinstance(gj.constant(2.5).numpy(), np.float32)


def test_copies() -> None:
    tensor = gj.constant([1.0])
    for other in (copy.copy(tensor), copy.deepcopy(tensor)):
        np.testing.assert_array_equal(other.numpy(), tensor.numpy())
    assert weakref.ref(tensor)() is tensor
    assert gj.newaxis is None and isinstance(gj.__version__, str)


def test_constructor() -> None:
    assert gj.Tensor([1, 2]).dtype == "int32"
    assert gj.Tensor(gj.constant(2.0)).dtype == "float32"
    with pytest.raises(gj.errors.GraphJitError):
        gj.Tensor(object())


def test_conversion() -> None:
    tensor = gj.constant([1.0])
    assert gj.convert_to_tensor(tensor) is tensor
    with pytest.raises(ValueError, match="Tensor conversion requested dtype int32 for Tensor"):
        gj.convert_to_tensor(tensor, gj.int32)
    assert gj.asarray(tensor, gj.int32).dtype == "int32"
    assert gj.convert_to_tensor(np.ones(2), gj.float32).dtype == "float32"
    assert gj.constant(range(3)).shape == (3,)
    stacked = gj.constant([gj.constant(1.0), 2, np.float32(3)])
    np.testing.assert_array_equal(stacked.numpy(), [1, 2, 3])


KEYS: list[Any] = [
    0, -1, (0, -1), (0, 1, 2), slice(None), slice(1, None), slice(None, None, -1),
    (slice(None), slice(None, None, 2), slice(3, 0, -2)), ..., (..., 0), (0, ...), (..., 1, 2),
    None, (None, 0, None), (slice(None), None, slice(1, 1)), (0, ..., None), slice(5, 9),
    slice(-100, 100), slice(2, 0), [0, 1], [0, -1, 0], (slice(None), [2, 0]), ([0, 1], [2, 0]),
    ([0, 1], slice(None), [3, 0]), (slice(None), [0, 2], [1, 1]), (0, [1, 2], slice(None), ),
    (0, slice(None), [1, 2]), ([[0, 1], [1, 0]], 1), np.array([1, 0]), np.array([], int),
    np.array([True, False]), (slice(None), np.array([True, False, True])),
    TABLE > 7, (TABLE > 7)[..., 0], (0, np.array([False, True, True])), ([], ),
    (np.array([1, 0], np.uint8), 0), (..., np.array([0, 3])), (np.array(1), np.array([0, 2])),
    (0, np.array([True, False, True]), [0, 2]), np.int8(1), (..., [True, False, True, True]),
    (None, [0, 1], None), (slice(None), None, [0, 1]), ([0, 1], None, [1, 2]), (),
    (slice(np.int64(0), np.int64(2)), 0), (0,), ([0], [0], [0]),
    (slice(None), np.zeros((0, 2), int)), (slice(0, 0), 0),
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=ids(KEYS))
@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")  # a captured boolean mask
def test_keys(key: Any) -> None:
    for fn in (lambda x: x[key], gj.function(lambda x: x[key])):
        np.testing.assert_array_equal(np.asarray(fn(gj.constant(TABLE))), TABLE[key])


@given(hnp.basic_indices((2, 3, 4), allow_newaxis=True, max_dims=5))
def test_basic_keys(key: Any) -> None:
    np.testing.assert_array_equal(np.asarray(gj.constant(TABLE)[key]), TABLE[key])
    variable = gj.Variable(TABLE)
    np.testing.assert_array_equal(np.asarray(variable[key]), TABLE[key])
    wanted = TABLE.copy()
    wanted[key] = 100
    variable[key].assign(100)
    np.testing.assert_array_equal(variable.numpy(), wanted)


@given(
    hnp.integer_array_indices((2, 3, 4), result_shape=hnp.array_shapes(max_dims=2, max_side=3))
)
def test_array_keys(key: Any) -> None:
    np.testing.assert_array_equal(np.asarray(gj.constant(TABLE)[key]), TABLE[key])
    variable = gj.Variable(TABLE)
    wanted = TABLE.copy()
    wanted[key] = 100
    variable[key].assign(100)
    np.testing.assert_array_equal(variable.numpy(), wanted)


def test_tensors_as_keys() -> None:
    rows = np.array([1, 0, -1])
    check(lambda x, i: x[i], TABLE[rows], TABLE, rows)
    check(lambda x, i: x[:, i, 0], TABLE[:, rows, 0], TABLE, rows)
    one = gj.constant(1)
    np.testing.assert_array_equal(gj.constant(TABLE)[one].numpy(), TABLE[1])
    np.testing.assert_array_equal(gj.constant(TABLE)[:one].numpy(), TABLE[:1])
    np.testing.assert_array_equal(
        gj.constant(TABLE)[gj.constant(TABLE) > 7].numpy(), TABLE[TABLE > 7]
    )


BAD_KEYS: list[Any] = [
    2, -3, (0, 3), (0, 0, -5), (0, 0, 0, 0), 1.0, "x", True, (..., ...), slice(None, None, 0),
    [2],
    [-3], ([0, 1], [0, 3]), [0.5], np.array([True]), np.ones((2, 2), bool), {},
    pytest.param(object(), id="object"),
    slice("a", None), slice(1.5, None), [[0], [1, 2]], [None], 10**30, [10**30], slice(None,
    2.0),
    (0, [0, 1], [0, 1, 2]), b"x", 1j, np.float64(1), gj, [..., 0], np.array(["x"]), {1: 2},
    ({},),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::graphjit.FallbackWarning")
@pytest.mark.parametrize("key", BAD_KEYS, ids=ids(BAD_KEYS))
def test_bad_keys(key: Any) -> None:
    for fn in (lambda x: x[key], gj.function(lambda x: x[key])):
        with pytest.raises(gj.errors.GraphJitError) as info:
            fn(gj.constant(TABLE))
        assert "test_tensor.py:" in str(info.value)
        assert isinstance(info.value, (ValueError, TypeError, IndexError))
    variable = gj.Variable(TABLE)
    with pytest.raises(gj.errors.GraphJitError):
        variable[key].assign(1.0)
    np.testing.assert_array_equal(variable.numpy(), TABLE)


def test_huge_slices() -> None:
    np.testing.assert_array_equal(gj.constant(TABLE)[: 10**30].numpy(), TABLE)
    np.testing.assert_array_equal(gj.constant(TABLE)[:: 10**20].numpy(), TABLE[:1])
    np.testing.assert_array_equal(gj.constant(TABLE)[:: -(10**20)].numpy(), TABLE[:0:-1])


ARITHMETIC = (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod)
COMPARISONS = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
BITS = (operator.and_, operator.or_, operator.xor)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_arithmetic(dtype: gj.DType) -> None:
    x = np.array([7, 100, 3, 1]).astype(dtype.dtype)
    y = np.array([2, 7, 3, 5]).astype(dtype.dtype)
    for op in ARITHMETIC + COMPARISONS:
        check(op, op(x, y), x, y)
        check(lambda a, op=op: op(a, 3), op(x, np.array(3, dtype.dtype)), x)
        check(lambda a, op=op: op(90, a), op(np.array(90, dtype.dtype), x), x)
    check(lambda a: a**2, x * x, x)
    check(lambda a: +a, x, x)
    check(abs, x, x)
    if dtype.kind == "i" or dtype.kind == "f":
        check(lambda a: abs(-a), x, x)
    if dtype.is_floating:
        check(operator.truediv, x / y, x, y)
    if dtype.is_integer:
        for op in BITS:
            check(op, op(x, y), x, y)
        check(lambda a: ~a, ~x, x)


def test_bools() -> None:
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    for op in BITS:
        check(op, op(x, y), x, y)
    check(lambda a: ~a, ~x, x)
    for op in (operator.add, operator.sub, operator.neg):
        values = (x, y) if op is not operator.neg else (x,)
        with pytest.raises(gj.errors.GraphJitError):
            op(*map(gj.constant, values))


def test_matmul() -> None:
    x, y = TABLE, TABLE.transpose(0, 2, 1)
    check(operator.matmul, x @ y, x, y)
    check(lambda a: (a @ a.T).T, x[0] @ x[0].T, x[0])


def test_python_numbers_adopt_the_dtype() -> None:
    for dtype in REAL:
        x = gj.constant(2, dtype)
        assert (x + 1).dtype is dtype and (1 + x).dtype is dtype and (x * True).dtype is dtype
        if dtype.is_integer:
            for number in (dtype.max + 1, dtype.min - 1, 10**40, 1.5, 1j, float("inf")):
                with pytest.raises(INVALID):
                    x + number
    assert (gj.constant(2.0) + 10**40).numpy() == np.float32(np.inf)
    with pytest.raises(gj.errors.GraphJitError):
        gj.constant(2.0) + 10**400
    with pytest.raises(INVALID):
        gj.constant(2.0) + 1j


def test_in_place_operators_rebind() -> None:
    x = y = gj.constant([1.0, 2.0])
    x += 1
    np.testing.assert_array_equal(x.numpy(), [2, 3])
    np.testing.assert_array_equal(y.numpy(), [1, 2])


@pytest.mark.parametrize("other", [None, "x", object(), {}, b"x", set(), print, gj])
def test_operands_of_no_sense(other: Any) -> None:
    x = gj.constant([1.0])
    assert (x == other) is False and (x != other) is True
    assert (other == x) is False and (other != x) is True
    for op in (operator.add, operator.lt, operator.matmul, operator.and_, operator.pow):
        for args in ((x, other), (other, x)):
            with pytest.raises(TypeError):
                op(*args)


def test_another_class_may_answer() -> None:
    class Other:
        def __radd__(self, x: Any) -> str:
            return "other"

        __req__ = __radd__

    assert gj.constant(1.0) + Other() == "other"


def test_errors_name_the_line() -> None:
    def fn(x: Any) -> Any:
        return x + gj.constant(1)  # the line

    calls: list[Callable[[Any], Any]] = [fn, gj.function(fn)]
    for call in calls:
        with pytest.raises(INVALID) as info:
            call(gj.constant(1.0))
        assert "return x + gj.constant(1)  # the line" in str(info.value)
        assert f"test_tensor.py:{fn.__code__.co_firstlineno + 1}" in str(info.value)


def test_specs() -> None:
    spec = gj.TensorSpec([None, 4], gj.float32)
    assert spec.shape == (None, 4) and spec.dtype == "float32"
    assert spec == gj.TensorSpec((None, 4), np.float32) and hash(spec) == hash(
        gj.TensorSpec((None, 4))
    )
    assert spec != gj.TensorSpec([3, 4]) and repr(spec)
    for bad in (["x"], [1.5], "ab", [-1], [True], 1.5, [[1]]):
        with pytest.raises(gj.errors.GraphJitError):
            gj.TensorSpec(bad)
    with pytest.raises(gj.errors.GraphJitError):
        gj.TensorSpec([1], "str")


def test_shapes_compare_with_lists() -> None:
    shape = gj.constant(TABLE).shape
    assert shape == [2, 3, 4] and shape == (2, 3, 4)
    assert shape != [2, 3] and hash(shape) == hash((2, 3, 4)) and {shape: 1}[(2, 3, 4)]
    assert shape[1:] == (3, 4) and shape != None and shape != 3  # noqa: E711
    assert pickle.loads(pickle.dumps(shape)) == shape
