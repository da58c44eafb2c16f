"""TensorFlow's behaviours, one test a row, eagerly and inside a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphjit as gj

K = gj.keras.backend
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
TABLE = np.array(ROWS, np.float32)
WAYS = [pytest.param(False, id="eager"), pytest.param(True, id="function")]


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Calls a function as it is, or decorated."""
    if not request.param:
        return lambda fn, *args: fn(*args)

    def call(fn: Callable[..., Any], *args: Any) -> Any:
        return gj.function(fn, fallback="error")(*args)

    return call


def refused(error: type[Exception], text: str, fn: Callable[..., Any], *args: Any) -> None:
    """Fail unless fn(*args) raises the same error both ways, naming this file."""
    found = []
    for call in (fn, gj.function(fn), gj.function(fn, fallback="error")):
        with pytest.raises(error) as info:
            call(*args)
        message = str(info.value)
        assert text in message
        assert "test_tensorflow_table.py:" in message
        assert isinstance(info.value, gj.errors.GraphJitError)
        found.append(type(info.value))
    assert found[0] is found[1] is found[2]


def t() -> Any:
    return gj.constant(ROWS)


def v() -> Any:
    return gj.Variable(ROWS)


def same(result: Any, expected: Any, dtype: Any) -> None:
    assert isinstance(result, gj.Tensor)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.numpy(), expected)


def test_repr_of_a_scalar() -> None:
    assert repr(gj.constant(42)) == "<gj.Tensor: shape=(), dtype=int32, numpy=42>"


def test_repr() -> None:
    assert repr(t()) == (
        "<gj.Tensor: shape=(2, 3), dtype=float32, numpy=\n"
        "array([[1., 2., 3.],\n       [4., 5., 6.]], dtype=float32)>"
    )
    one = gj.constant([1.0, 2.0])
    assert repr(one) == (
        "<gj.Tensor: shape=(2,), dtype=float32, numpy=array([1., 2.], dtype=float32)>"
    )


def test_str() -> None:
    assert str(t()) == "gj.Tensor(\n[[1. 2. 3.]\n [4. 5. 6.]], shape=(2, 3), dtype=float32)"
    assert str(gj.constant(42.0)) == "gj.Tensor(42.0, shape=(), dtype=float32)"
    assert f"{gj.constant(42.0)}" == "42.0"
    assert f"{gj.constant(42.0):.2f}" == "42.00"


def test_shape(run: Callable[..., Any]) -> None:
    def fn(x: Any) -> Any:
        assert repr(x.shape) == "TensorShape([2, 3])"
        assert str(x.shape) == "(2, 3)"
        assert x.shape == (2, 3) and x.shape == [2, 3]
        assert x.shape[1] == 3 and x.shape.rank == 2 and x.shape.as_list() == [2, 3]
        return x + 0.0

    run(fn, t())


def test_dtype(run: Callable[..., Any]) -> None:
    def fn(x: Any) -> Any:
        assert repr(x.dtype) == "gj.float32" and str(x.dtype) == "<dtype: 'float32'>"
        assert x.dtype == np.float32 and x.dtype == "float32" and x.dtype == np.dtype("f4")
        assert np.float32 == x.dtype and np.dtype("f4") == x.dtype and x.dtype == gj.float32
        assert x.dtype != np.float64 and x.dtype != "int32" and x.dtype is not None
        return x + 0.0

    run(fn, t())


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([1, 2.5], "float32"),
        (3000000000, "int64"),
        (1 + 2j, "complex128"),
        (True, "bool"),
        (42, "int32"),
        (2.0, "float32"),
        ([], "float32"),
        (np.zeros(2), "float64"),
        (np.float16(1), "float16"),
    ],
)
def test_constant(value: Any, dtype: str, run: Callable[..., Any]) -> None:
    same(run(lambda: gj.constant(value)), np.array(value, dtype), dtype)


def test_constant_converts(run: Callable[..., Any]) -> None:
    same(run(lambda: gj.constant(np.array([1.5, 2.0]), dtype=gj.float32)), [1.5, 2], "float32")
    same(run(lambda: gj.constant(3, dtype=np.float64)), 3, "float64")
    same(run(lambda: gj.constant(7, shape=(2, 2))), [[7, 7], [7, 7]], "int32")


def test_constant_refuses(run: Callable[..., Any]) -> None:
    refused(TypeError, "Cannot convert 1.5 to EagerTensor of dtype int32",
            lambda: gj.constant(1.5, dtype=gj.int32))  # fmt: skip
    refused(ValueError, "Can't convert non-rectangular Python sequence to Tensor.",
            lambda: gj.constant([[1, 2], [3]]))  # fmt: skip
    for make in (lambda: "hi", lambda: ["a", "b"], lambda: b"hi", lambda: np.array(["x"])):
        with pytest.raises(gj.errors.GraphJitError, match="strings are not supported"):
            run(lambda make=make: gj.constant(make()))


def test_numpy_functions_of_tensors_give_arrays() -> None:
    x = t()
    for result in (np.square(x), np.array(x), np.sum(x, axis=0), np.asarray(x)):
        assert type(result) is np.ndarray and result.dtype == np.float32
    np.testing.assert_array_equal(np.sum(x, axis=0), [5, 7, 9])


def test_array_and_tensor_make_a_tensor(run: Callable[..., Any]) -> None:
    for fn in (lambda a, x: a + x, lambda a, x: x + a, lambda a, x: np.float32(2) * a * x + x):
        result = run(fn, np.ones((2, 3), np.float32), t())
        assert isinstance(result, gj.Tensor) and result.dtype == "float32"
    for fn in (lambda a, x: a < x, lambda a, x: a == x, lambda a, x: a != x):
        assert isinstance(run(fn, TABLE, t()), gj.Tensor)
    assert isinstance(run(lambda a, x: a @ x, np.ones((1, 2), np.float32), t()), gj.Tensor)
    for fn in (lambda a, x: a + x, lambda a, x: x + a, lambda a, x: a < x):
        with pytest.raises(gj.errors.InvalidArgumentError):
            run(fn, np.ones((2, 3)), t())


OPERATORS: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("AddV2", lambda x, y: x + y),
    ("Sub", lambda x, y: x - y),
    ("Mul", lambda x, y: x * y),
    ("Less", lambda x, y: x < y),
    ("Equal", lambda x, y: x == y),
    ("Maximum", lambda x, y: gj.maximum(x, y)),
]


@pytest.mark.parametrize(("op", "fn"), OPERATORS)
def test_operands_of_two_dtypes(
    op: str, fn: Callable[[Any, Any], Any], run: Callable[..., Any]
) -> None:
    for other, name in ((gj.constant(40), "int32"), (gj.constant(40.0, gj.float64), "double")):
        refused(
            gj.errors.InvalidArgumentError,
            f"cannot compute {op} as input #1(zero-based) was expected to be a float tensor "
            f"but is a {name} tensor [Op:{op}]",
            fn,
            gj.constant(2.0),
            other,
        )


def test_matmul_of_two_dtypes(run: Callable[..., Any]) -> None:
    refused(gj.errors.InvalidArgumentError,
            "cannot compute MatMul as input #1(zero-based) was expected to be a float tensor "
            "but is a double tensor [Op:MatMul]",
            lambda x, y: x @ y, gj.constant([[2.0]]), gj.constant([[2.0]],
            gj.float64))  # fmt: skip


def test_quotient_of_two_dtypes(run: Callable[..., Any]) -> None:
    refused(TypeError, "`x` and `y` must have the same dtype, got gj.float32 != gj.int32.",
            lambda x, y: x / y, gj.constant(2.0), gj.constant(40))  # fmt: skip


def test_python_operands(run: Callable[..., Any]) -> None:
    refused(gj.errors.InvalidArgumentError, "", lambda x: x + 2.5, gj.constant(2))
    refused(gj.errors.InvalidArgumentError, "", lambda x: 2.5 + x, gj.constant(2))
    refused(gj.errors.InvalidArgumentError, "", lambda x: [0.5, 1] - x,
            gj.constant([1, 2]))  # fmt: skip
    same(run(lambda x: x + True, gj.constant(2)), 3, "int32")
    same(run(lambda x: 1 - x, gj.constant(2.5)), -1.5, "float32")
    same(run(lambda x: [1.0, 2.0] * x, gj.constant([3.0, 4.0])), [3, 8], "float32")


def test_shapes(run: Callable[..., Any]) -> None:
    error = gj.errors.InvalidArgumentError
    refused(error, "Incompatible shapes: [2] vs. [3] [Op:AddV2]",
            lambda x, y: x + y, gj.zeros([2]), gj.zeros([3]))  # fmt: skip
    refused(error, "Matrix size-incompatible: In[0]: [1,2], In[1]: [1,2] [Op:MatMul]",
            lambda x, y: x @ y, gj.zeros([1, 2]), gj.zeros([1, 2]))  # fmt: skip
    refused(error,
            "Input to reshape is a tensor with 6 values, but the requested shape has 8",
            lambda x: gj.reshape(x, [4, 2]), t())  # fmt: skip
    refused(error, "slice index 2 of dimension 0 out of bounds.", lambda x: x[2], t())


def test_integer_division(run: Callable[..., Any]) -> None:
    one, three = gj.constant(1), gj.constant(3)
    same(run(lambda x, y: x / y, one, three), 1 / 3, "float64")
    same(run(lambda x, y: x // y, gj.constant(7), gj.constant(-2)), -4, "int32")
    same(run(lambda x, y: x % y, gj.constant(7), gj.constant(-2)), -1, "int32")
    same(run(lambda x: 7 // x, gj.constant(-2)), -4, "int32")
    for fn in (lambda x, y: x // y, lambda x, y: x % y):
        refused(gj.errors.InvalidArgumentError, "Integer division by zero", fn, one,
                gj.constant(0))  # fmt: skip
    refused(gj.errors.InvalidArgumentError, "Integer division by zero", lambda x: x // 0, one)


def test_reductions_and_casts(run: Callable[..., Any]) -> None:
    same(run(gj.reduce_mean, gj.constant([1, 2, 4])), 2, "int32")
    same(run(gj.argmax, gj.constant([1.0, 9.0, 4.0])), 1, "int64")
    same(run(lambda x: gj.cast(x, gj.int32), gj.constant([1.7, -1.7])), [1, -1], "int32")


def test_truth_value() -> None:
    def fn(x: Any) -> Any:
        return x if x else -x

    with pytest.raises(ValueError, match="ambiguous"):
        fn(t())
    assert bool(gj.constant(1.0)) and not bool(gj.constant([[0]]))
    with pytest.warns(gj.FallbackWarning), pytest.raises(ValueError, match="ambiguous"):
        gj.function(fn)(t())
    with pytest.raises(gj.errors.TracingError, match=r"test_tensorflow_table\.py"):
        gj.function(fn, fallback="error")(t())


def test_hash(run: Callable[..., Any]) -> None:
    refused(TypeError, "Tensor is unhashable", lambda x: {x: 1}, t())
    refused(TypeError, "Variable is unhashable", lambda x: {x: 1}, v())


def test_no_item_assignment() -> None:
    x = t()
    with pytest.raises(TypeError, match="does not support item assignment"):
        x[0, 0] = 1.0
    with pytest.raises(AttributeError):
        x.assign([1.0])  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        x[0].assign(1.0)
    with pytest.raises(AttributeError):
        x.new = 1
    with pytest.raises(AttributeError):
        x.type = 1


def test_no_item_assignment_in_a_function() -> None:
    def store(x: Any) -> Any:
        x[0, 0] = 1.0
        return x

    with pytest.raises(TypeError, match="does not support item assignment") as info:
        gj.function(store, fallback="error")(t())
    assert "test_tensorflow_table.py" in str(info.value)
    with pytest.raises(AttributeError):
        gj.function(lambda x: x.assign(ROWS), fallback="error")(t())
    with pytest.raises(AttributeError):
        gj.function(lambda x: x[0].assign([1.0, 1.0, 1.0]), fallback="error")(t())


def test_repr_of_a_variable() -> None:
    array = "numpy=\narray([[1., 2., 3.],\n       [4., 5., 6.]], dtype=float32)>"
    assert repr(v()) == f"<gj.Variable 'Variable:0' shape=(2, 3) dtype=float32, {array}"
    w = gj.Variable(ROWS, name="w")
    assert w.name == "w:0"
    assert repr(w) == f"<gj.Variable 'w:0' shape=(2, 3) dtype=float32, {array}"
    assert (
        repr(w.assign(w))
        == f"<gj.Variable 'UnreadVariable' shape=(2, 3) dtype=float32, {array}"
    )
    assert gj.Variable(1.0).name == "Variable:0"


def changed(array: Any, place: Any, value: Any) -> Any:
    array = np.array(array)
    array[place] = value
    return array


SLICES = gj.IndexedSlices([[7.0, 8.0, 9.0]], [1])
ASSIGNMENTS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda x: x.assign(2 * x), TABLE * 2),
    (lambda x: x[0, 1].assign(42), changed(TABLE, (0, 1), 42)),
    (lambda x: x[0, 1].assign(42.0), changed(TABLE, (0, 1), 42)),
    (lambda x: x[:, 2].assign([0.0, 1.0]), changed(TABLE, (slice(None), 2), [0, 1])),
    (lambda x: x[...].assign(1.0), np.ones((2, 3))),
    (lambda x: x[::-1, ::2].assign([[1.0, 2.0], [3.0, 4.0]]), [[3, 2, 4], [1, 5, 2]]),
    (
        lambda x: x.scatter_nd_update([[0, 0], [1, 2]], [100.0, 200.0]),
        [[100, 2, 3], [4, 5, 200]],
    ),
    (lambda x: x.scatter_nd_add([[0, 0], [1, 2]], [100.0, 200.0]), [[101, 2, 3], [4, 5, 206]]),
    (lambda x: x.scatter_nd_sub([[0, 0], [0, 0]], [100.0, 200.0]), [[-299, 2, 3], [4, 5, 6]]),
    (lambda x: x.scatter_update(SLICES), changed(TABLE, 1, [7, 8, 9])),
    (lambda x: x.scatter_add(SLICES), changed(TABLE, 1, [11, 13, 15])),
    (lambda x: x.scatter_sub(SLICES), changed(TABLE, 1, [-3, -3, -3])),
    (lambda x: x.assign_add(np.ones((2, 3), np.float32)), TABLE + 1),
    (lambda x: x.assign_sub(x), TABLE * 0),
    (lambda x: x.assign([[1, 2, 3], [4, 5, 7]]), [[1, 2, 3], [4, 5, 7]]),
    (lambda x: x.assign(np.zeros((2, 3))), TABLE * 0),
]


@pytest.mark.parametrize("number", range(len(ASSIGNMENTS)))
def test_assignments(number: int, run: Callable[..., Any]) -> None:
    fn, expected = ASSIGNMENTS[number]
    x = v()
    run(lambda: (fn(x), None)[1])
    np.testing.assert_array_equal(x.numpy(), expected)
    y = v()
    result = run(lambda: fn(y))
    np.testing.assert_array_equal(np.asarray(result), expected)
    np.testing.assert_array_equal(y.numpy(), expected)


def test_assignment_returns_the_variable() -> None:
    x = v()
    for fn, _ in ASSIGNMENTS:
        assert "'UnreadVariable' shape=(2, 3)" in repr(fn(x))
    x.assign(ROWS).assign_add(TABLE)
    np.testing.assert_array_equal(x.numpy(), TABLE * 2)


def test_slices_have_assign_only(run: Callable[..., Any]) -> None:
    x = v()
    with pytest.raises(AttributeError):
        run(lambda: x[0, 1].assign_add(1.0))
    np.testing.assert_array_equal(x.numpy(), TABLE)


INVALID = gj.errors.InvalidArgumentError
REFUSED: list[tuple[type[Exception], str, Callable[[Any], Any]]] = [
    (ValueError, "Cannot assign value to variable ' Variable:0': Shape mismatch",
     lambda x: x.assign([1.0, 2.0])),
    (ValueError, "Cannot assign value to variable ' Variable:0': Shape mismatch",
     lambda x: x.assign(1.0)),
    (ValueError,
     "Tensor conversion requested dtype float32 for Tensor with dtype int32",
     lambda x: x.assign(gj.constant([[1, 2, 3], [4, 5, 6]]))),
    (ValueError, "Tensor conversion requested dtype float32 for Tensor with dtype int32",
     lambda x: x.assign_add(gj.constant([[1, 2, 3], [4, 5, 6]]))),
    (INVALID, "slice index 9", lambda x: x[0, 9].assign(1.0)),
    (INVALID, "Cannot broadcast input shape [3] into final shape [2]",
     lambda x: x[:, 2].assign([0.0, 1.0, 2.0])),
    (INVALID, "indices[1] = [5, 0] does not index into shape [2,3]",
     lambda x: x.scatter_nd_update([[0, 0], [5, 0]], [1.0, 2.0])),
    (INVALID, "indices[0] = [-1, 0] does not index into shape [2,3]",
     lambda x: x.scatter_nd_add([[-1, 0], [0, 0]], [1.0, 2.0])),
    (INVALID, "", lambda x: x.scatter_update(gj.IndexedSlices([[1.0, 2.0, 3.0]] * 2, [0, 2]))),
    (INVALID, "", lambda x: x.scatter_nd_update([[0, 0], [1, 0]], [1.0, 2.0, 3.0])),
    (INVALID, "", lambda x: x.scatter_nd_update([[0, 0, 0]], [1.0])),
    (ValueError, "", lambda x: x.assign_add([[1.0, 2.0]] * 2)),
    (ValueError, "", lambda x: x.assign_add([[[1.0, 2.0, 3.0]]] * 2)),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused_assignments(number: int, run: Callable[..., Any]) -> None:
    error, text, fn = REFUSED[number]
    x = v()
    refused(error, text, lambda: fn(x))
    np.testing.assert_array_equal(x.numpy(), TABLE)


def test_indices_known_only_at_the_call(run: Callable[..., Any]) -> None:
    x, other = v(), v()

    def fn(rows: Any) -> Any:
        other.assign(other + 1.0)
        x.scatter_nd_update(rows, gj.constant([1.0, 2.0]))
        return x + 0.0

    run(fn, gj.constant([[0, 0], [1, 0]]))
    before = x.numpy().copy()
    refused(INVALID, "5", fn, gj.constant([[0, 0], [5, 0]]))
    np.testing.assert_array_equal(x.numpy(), before)


def test_keras_backend(run: Callable[..., Any]) -> None:
    result = run(lambda x: K.square(K.transpose(x)) + 10, t())
    same(result, [[11, 26], [14, 35], [19, 46]], "float32")
