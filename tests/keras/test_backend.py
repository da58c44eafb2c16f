import inspect

import numpy as np
import pytest
import scipy.special as sp
from both_ways import check, refused

from graphjit.core.errors import GraphJitError, InvalidArgumentError
from graphjit.keras import backend as K
from graphjit.tensors.tensor import Tensor
from graphjit.tensors.variable import Variable


def random(shape, dtype="float32", seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


X = random((2, 3))


@pytest.fixture(autouse=True)
def settings():
    yield
    K.set_floatx("float32")
    K.set_epsilon(1e-7)
    K.set_image_data_format("channels_last")


def test_settings():
    assert (K.floatx(), K.epsilon(), K.image_data_format()) == (
        "float32",
        1e-7,
        "channels_last",
    )
    K.set_floatx("float64")
    K.set_epsilon(1e-3)
    K.set_image_data_format("channels_first")
    assert (K.floatx(), K.epsilon(), K.image_data_format()) == (
        "float64",
        1e-3,
        "channels_first",
    )
    assert K.zeros((1,)).dtype == K.constant([1]).dtype == K.variable(1).dtype == "float64"
    with pytest.raises(InvalidArgumentError, match="Unknown `floatx` value: int32"):
        K.set_floatx("int32")
    with pytest.raises(InvalidArgumentError, match="Unknown data_format"):
        K.set_image_data_format("NHWC")


def test_what_a_tensor_is():
    t, v = Tensor(X), Variable(X)
    for x in (t, v):
        assert K.is_tensor(x) and not K.is_sparse(x)
        assert K.dtype(x) == "float32" and K.int_shape(x) == (2, 3)
        assert K.ndim(x) == 2 and K.count_params(x) == 6
        check(lambda x=x: K.shape(x), np.array([2, 3], "i4"))
        check(lambda x=x: K.to_dense(x), X)
        check(lambda x=x: K.identity(x), X)
    assert not K.is_tensor(X)
    assert K.int_shape(X) == (2, 3) and K.dtype(X) == "float32" and K.backend() == "graphjit"


def test_constants():
    check(lambda: K.constant([1, 2]), np.array([1, 2], "f4"))
    check(lambda: K.constant(3, "int32", (2,)), np.array([3, 3], "i4"))
    check(lambda: K.zeros((2, 1)), np.zeros((2, 1), "f4"))
    check(lambda: K.ones((2,), "int32"), np.ones(2, "i4"))
    check(lambda: K.eye(2), np.eye(2, dtype="f4"))
    check(lambda: K.eye((2, 3), "int32"), np.eye(2, 3, dtype="i4"))
    check(K.zeros_like, np.zeros_like(X), X)
    check(lambda x: K.ones_like(x, "bool"), np.ones_like(X, bool), X)
    check(lambda: K.arange(4), np.arange(4, dtype="i4"))
    check(lambda: K.arange(-4), np.arange(0, dtype="i4"))
    check(lambda: K.arange(1, 9, 3, "float32"), np.arange(1, 9, 3, dtype="f4"))
    check(lambda x: K.cast(x, "int32"), X.astype("i4"), X)
    check(lambda x: K.cast_to_floatx(x), np.array([1, 2], "f4"), np.array([1, 2]))
    assert K.cast_to_floatx([1, 2]).dtype == np.float32
    check(K.stop_gradient, X, X)
    check(lambda x: K.stop_gradient([x, x]), (X, X), X)


def test_variables():
    v = K.variable([1, 2], name="v")
    assert v.name == "v:0" and v.dtype == "float32"
    K.update(v, Tensor(np.array([3, 4], "f4")))
    K.update_add(v, 1.0)
    K.update_sub(v, [0.0, 1.0])
    np.testing.assert_array_equal(K.get_value(v), [4, 4])
    K.set_value(v, np.array([1.0, 3.0]))
    np.testing.assert_array_equal(K.eval(v), [1, 3])
    K.moving_average_update(v, Tensor(np.array([3.0, 5.0], "f4")), 0.75)
    np.testing.assert_allclose(K.get_value(v), [1.5, 3.5])
    w = K.variable(1, "int32")
    K.batch_set_value([(v, [7, 8]), (w, 2)])
    values = K.batch_get_value([v, w])
    np.testing.assert_array_equal(values[0], [7, 8])
    assert values[1] == 2
    np.testing.assert_array_equal(K.get_value(Tensor(X)), X)
    with pytest.raises(GraphJitError):
        K.update(v, [1.0, 2.0, 3.0])


UNARY = {
    "abs": np.abs, "cos": np.cos, "exp": np.exp, "round": np.round, "sigmoid": sp.expit,
    "sign": np.sign, "sin": np.sin, "softplus": lambda x: np.logaddexp(0, x),
    "softsign": lambda x: x / (1 + np.abs(x)), "square": np.square, "tanh": np.tanh,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
    "relu": lambda x: np.maximum(x, 0), "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "softmax": lambda x: sp.softmax(x, -1), "l2_normalize": lambda x: x / np.linalg.norm(x),
    "transpose": np.transpose, "flatten": np.ravel,
    "batch_flatten": lambda x: x.reshape(x.shape[0], -1),
}  # fmt: skip
BINARY = (
    "equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "maximum",
    "minimum",
    "not_equal",
)


@pytest.mark.parametrize("name", sorted(UNARY))
def test_unary(name):
    x = random((3, 4, 2)) * 3
    check(getattr(K, name), UNARY[name](x), x)


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    x, y = np.array([[1, 2, 3]], "f4"), np.array([[2.0], [3.0]], "f4")
    check(getattr(K, name), getattr(np, name)(x, y), x, y)
    refused(getattr(K, name), x, y.astype("f8"), match="double")


def test_logarithm_and_power():
    x = np.abs(X)
    check(K.log, np.log(x), x)
    check(lambda x: K.pow(x, 2.0), x**2, x)


def test_clip():
    check(lambda x: K.clip(x, -0.5, 0.5), np.clip(X, -0.5, 0.5), X)
    check(lambda x: K.clip(x, 0.5, -0.5), np.full_like(X, 0.5), X)
    check(lambda x: K.clip(x, None, 0.5), np.minimum(X, 0.5), X)
    check(lambda x: K.clip(x, 0.5), np.maximum(X, 0.5), X)
    check(lambda x: K.clip(x, 1, 2), np.array([1, 1, 2], "i4"), np.array([0, 1, 5], "i4"))


@pytest.mark.parametrize(
    ("options", "oracle"),
    [
        ({"alpha": 0.1}, lambda x: np.where(x > 0, x, 0.1 * x)),
        ({"max_value": 1.0}, lambda x: np.clip(x, 0, 1)),
        ({"threshold": 0.5}, lambda x: np.where(x > 0.5, x, 0)),
        (
            {"alpha": 0.1, "max_value": 1.0, "threshold": 0.5},
            lambda x: np.where(x > 0.5, np.minimum(x, 1), 0.1 * (x - 0.5)),
        ),
    ],
)
def test_relu_options(options, oracle):
    x = np.append(random(20) * 2, np.float32([0.5, 0, -0.0]))
    check(lambda x: K.relu(x, **options), oracle(x).astype("f4"), x)
    assert np.isnan(K.relu(Tensor(np.float32(np.nan)), **options).numpy())


def test_switch():
    y = X + 1
    check(lambda x, y: K.switch(True, x, y), X, X, y)
    check(lambda x, y: K.switch(False, lambda: x, lambda: y), y, X, y)
    check(lambda c, x, y: K.switch(c, x, y), X, np.array(1), X, y)
    rows = np.array([True, False])
    check(K.switch, np.where(rows[:, None], X, y), rows, X, y)
    check(lambda c, x, y: K.switch(c, lambda: x, lambda: y), np.where(X > 0, X, y), X > 0, X, y)
    refused(K.switch, X > 0, X[0], y[0], match="Rank of `condition`")


@pytest.mark.parametrize("name", ["max", "min", "sum", "prod", "mean", "var", "std"])
def test_reductions(name):
    x = random((2, 3, 4))
    oracle = getattr(np, name)
    check(getattr(K, name), oracle(x), x)
    check(lambda x: getattr(K, name)(x, 1, True), oracle(x, axis=1, keepdims=True), x)
    check(lambda x: getattr(K, name)(x, axis=[0, -1]), oracle(x, axis=(0, 2)), x)


def test_reductions_of_bools():
    x = np.array([[True, False, True]])
    check(K.mean, np.float32(2 / 3), x)
    check(K.var, np.float32(2 / 9), x)
    check(K.std, np.float32(np.sqrt(2) / 3), x)
    check(K.any, np.True_, x)
    check(lambda x: K.all(x, 0), x[0], x)
    check(K.any, np.True_, np.array([0, 2]))
    check(lambda x: K.all(x, keepdims=True), np.array([False]), np.array([0.0, 2.0]))
    refused(K.sum, x, match="allowed values")


def test_scans_and_places():
    x = random((2, 3, 4))
    check(K.argmax, x.argmax(-1), x)
    check(K.argmin, x.argmin(-1), x)
    check(lambda x: K.argmax(x, 0), x.argmax(0), x)
    check(K.cumsum, x.cumsum(0), x)
    check(lambda x: K.cumprod(x, 2), x.cumprod(2), x)
    check(K.logsumexp, np.asarray(sp.logsumexp(x)), x)
    check(lambda x: K.logsumexp(x, 1, True), sp.logsumexp(x, 1, keepdims=True), x)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((2, 3), (3, 4)),
        ((2, 3, 4), (4, 5)),
        ((2, 3), (5, 3, 4)),
        ((2, 6, 3), (5, 7, 3, 4)),
        ((0, 3), (3, 1)),
    ],
)
def test_dot(first, second):
    a, b = random(first), random(second, seed=1)
    check(K.dot, np.dot(a, b), a, b)


def batch_dot(a, b, i, j):
    parts = [np.tensordot(x, y, ([i - 1], [j - 1])) for x, y in zip(a, b, strict=True)]
    result = np.stack(parts)
    return result if result.ndim > 1 else result[:, None]


@pytest.mark.parametrize(
    ("first", "second", "axes", "used"),
    [
        ((4, 3), (4, 3), None, (1, 1)),
        ((4, 3), (4, 3), 1, (1, 1)),
        ((4, 2, 3), (4, 3, 5), None, (2, 1)),
        ((4, 2, 3), (4, 5, 3), 2, (2, 2)),
        ((4, 2, 3), (4, 3), (2, 1), (2, 1)),
        ((4, 3), (4, 3, 5), None, (1, 1)),
        ((4, 3), (4, 5, 3), (1, -1), (1, 2)),
        ((4, 2, 3, 5), (4, 6, 3), (2, 2), (2, 2)),
        ((4, 2, 3), (4, 6, 3, 5), (-1, 2), (2, 2)),
        ((4, 2, 3, 5), (4, 7, 5, 6), None, (3, 2)),
        ((1, 1), (1, 1), 1, (1, 1)),
    ],
)
def test_batch_dot(first, second, axes, used):
    a, b = random(first), random(second, seed=1)
    check(lambda a, b: K.batch_dot(a, b, axes), batch_dot(a, b, *used), a, b)


def test_products_refuse():
    refused(K.dot, X, X, match="size-incompatible")
    refused(K.dot, X, X[0], match="two axes at least")
    refused(K.batch_dot, X, X[0], match="rank < 2")
    refused(K.batch_dot, X, X[:1], match="different batch sizes")
    refused(lambda x, y: K.batch_dot(x, y, 0), X, X, match="over axis 0")
    refused(lambda x, y: K.batch_dot(x, y, ([1], [1])), X, X, match="Multiple target")
    refused(lambda x, y: K.batch_dot(x, y, (1, 1, 1)), X, X, match="Multiple target")
    refused(K.batch_dot, X, X[:, :2].copy(), match="x.shape\\[1\\] != y.shape\\[1\\]")


def test_shapes():
    x = random((2, 3, 4))
    check(lambda x: K.reshape(x, (4, -1)), x.reshape(4, -1), x)
    check(lambda x: K.permute_dimensions(x, (2, 0, 1)), x.transpose(2, 0, 1), x)
    check(lambda x: K.expand_dims(x, 1), x[:, None], x)
    check(lambda x: K.squeeze(x, 1), x[:, 0], x[:, :1].copy())
    check(lambda x: K.concatenate([x, x]), np.concatenate([x, x], -1), x)
    check(lambda x: K.stack([x, x], 1), np.stack([x, x], 1), x)
    check(lambda x: K.reverse(x, (0, 2)), x[::-1, :, ::-1], x)
    check(lambda x: K.tile(x, (1, 2, 3)), np.tile(x, (1, 2, 3)), x)
    check(lambda x: K.tile(x, 2), np.tile(x[0, 0], 2), x[0, 0])
    check(lambda x: K.repeat_elements(x, 2, 1), np.repeat(x, 2, 1), x)
    check(lambda x: K.repeat(x, 3), np.repeat(X[:, None], 3, 1), X)
    check(lambda i: K.one_hot(i, 3), np.eye(3, dtype="f4")[[2, 0]], np.array([2, 0]))
    check(lambda x, i: K.gather(x, i), x[[1, 0, 1]], x, np.array([1, 0, 1]))
    refused(lambda x: K.repeat(x, 2), x, match="repeat takes a matrix")
    refused(K.batch_flatten, np.float32(1).reshape(()), match="scalar")
    refused(lambda x: K.squeeze(x, 0), x, match="Can not squeeze")


def test_padding():
    x = random((2, 3, 4))
    check(K.temporal_padding, np.pad(x, ((0, 0), (1, 1), (0, 0))), x)
    y = random((2, 3, 4, 1))
    check(
        lambda y: K.spatial_2d_padding(y, ((1, 0), (0, 2))),
        np.pad(y, ((0, 0), (1, 0), (0, 2), (0, 0))),
        y,
    )
    first = np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)))
    check(lambda y: K.spatial_2d_padding(y, data_format="channels_first"), first, y)
    z = random((1, 2, 2, 2, 3))
    check(K.spatial_3d_padding, np.pad(z, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0))), z)
    refused(K.spatial_2d_padding, x, match="2 spatial axes")
    refused(
        lambda y: K.spatial_2d_padding(y, data_format="NHWC"), y, match="Unknown data_format"
    )


def test_resizing():
    x = random((2, 3, 4, 1))
    big = np.repeat(np.repeat(x, 2, 1), 3, 2)
    check(lambda x: K.resize_images(x, 2, 3, "channels_last"), big, x)
    turned = np.moveaxis(x, -1, 1).copy()
    check(lambda x: K.resize_images(x, 2, 3, "channels_first"), np.moveaxis(big, -1, 1), turned)
    line = np.array([1.0, 3.0, 7.0], "f4").reshape(1, 3, 1, 1)
    # centres at -1/4, 1/4, 3/4, ... of the elements
    expected = np.array([1, 1.5, 2.5, 4, 6, 7], "f4").reshape(1, 6, 1, 1)
    check(lambda x: K.resize_images(x, 2, 1, "channels_last", "bilinear"), expected, line)
    refused(
        lambda x: K.resize_images(x, 2, 2, "channels_last", "cubic"), x, match="interpolation"
    )
    z = random((1, 2, 1, 2, 3))
    tripled = np.repeat(np.repeat(np.repeat(z, 2, 1), 3, 2), 2, 3)
    check(lambda z: K.resize_volumes(z, 2, 3, 2, "channels_last"), tripled, z)


def test_loops():
    check(lambda x: K.map_fn(lambda row: K.sum(row), x), X.sum(1), X)
    check(lambda x: K.map_fn(lambda row: row, x, dtype="float64"), X.astype("f8"), X)
    check(lambda x: K.foldl(lambda a, b: a - b, x), X[0] - X[1], X)
    check(lambda x: K.foldr(lambda a, b: a - b, x), X[1] - X[0], X)
    check(lambda x: K.foldl(lambda a, b: a + b, x, x[0]), X[0] + X[0] + X[1], X)
    refused(lambda x: K.foldl(lambda a, b: a, x), X[:0], match="initializer")


def test_bias_and_normalization():
    x, b = random((2, 3, 4)), random(4, seed=1)
    check(K.bias_add, x + b, x, b)
    c = random(3, seed=1)
    check(lambda x, b: K.bias_add(x, b, "channels_first"), x + c[:, None], x, c)
    whole = random((3, 4), seed=1)
    check(K.bias_add, x + whole, x, whole)
    turned = random((4, 3), seed=1)  # [space, channels] on [batch, channels, space]
    check(lambda x, b: K.bias_add(x, b, "channels_first"), x + turned.T, x, turned)
    refused(lambda x, b: K.bias_add(x, b), random((2, 3, 4, 5)), whole, match="Unexpected bias")
    mean, var, beta, gamma = (random(3, seed=s) ** 2 for s in range(4))
    expected = (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-3) * gamma[:, None] + beta[
        :, None
    ]
    check(lambda *a: K.batch_normalization(*a, axis=1), expected, x, mean, var, beta, gamma)
    plain = (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-3)
    check(lambda *a: K.batch_normalization(*a, None, None, axis=1), plain, x, mean, var)


def test_binary_crossentropy():
    t, p = np.array([0, 1, 1, 0], "f4"), np.array([0.0, 1.0, 0.3, 0.6], "f4")
    e = 1e-7
    q = np.clip(p.astype("f8"), np.float32(e), np.float32(1 - e))
    expected = -(t * np.log(q + e) + (1 - t) * np.log(1 - q + e))
    check(K.binary_crossentropy, expected, t, p, dtype="f4", scale=1.0)
    x = random(4) * 10
    logits = -(t * sp.log_expit(x) + (1 - t) * sp.log_expit(-x))
    check(lambda t, x: K.binary_crossentropy(t, x, from_logits=True), logits, t, x, dtype="f4")
    refused(lambda t, x: K.binary_crossentropy(t, x, True), t, x[:2].copy(), match="same shape")


@pytest.mark.parametrize("axis", [-1, 0])
def test_categorical_crossentropies(axis):
    logits = random((3, 4), "float64") * 3
    p = np.abs(logits) + 0.1
    scaled = p / p.sum(axis, keepdims=True)
    labels = np.array([0, 2, 1]) if axis else np.array([0, 2, 1, 2])
    t = np.eye(4)[labels] if axis else np.eye(3)[labels].T.copy()
    log = sp.log_softmax(logits, axis)
    check(
        lambda t, p: K.categorical_crossentropy(t, p, axis=axis),
        -(t * np.log(scaled)).sum(axis),
        t,
        p,
    )
    check(
        lambda t, x: K.categorical_crossentropy(t, x, True, axis),
        -(t * log).sum(axis),
        t,
        logits,
    )
    sparse = K.sparse_categorical_crossentropy
    check(lambda t, p: sparse(t, p, axis=axis), -(t * np.log(scaled)).sum(axis), labels, scaled)
    check(lambda t, x: sparse(t, x, True, axis), -(t * log).sum(axis), labels, logits)
    floats = labels.astype("f4")
    ignored = np.where(labels == 2, 0, -(t * log).sum(axis))
    check(lambda t, x: sparse(t, x, True, axis, ignore_class=2), ignored, floats, logits)
    if axis:
        check(lambda t, x: sparse(t, x, True), -(t * log).sum(axis), labels[:, None], logits)
    refused(K.categorical_crossentropy, t, p[:, :2].copy(), match="incompatible")
    refused(lambda t, x: sparse(t, x, True, axis), labels + 9, logits, match="label value")


def test_in_top_k():
    p = np.array([[0.1, 0.8, 0.1], [0.5, 0.2, 0.3]], "f4")
    check(lambda p, t: K.in_top_k(p, t, 1), np.array([True, False]), p, np.array([1, 2]))


def test_convolutions():
    x, w = random((2, 5, 3)), random((2, 3, 4), seed=1)
    windows = np.stack([x[:, i : i + 2] for i in range(4)], 1)
    expected = np.einsum("bokc,kcn->bon", windows, w)
    check(K.conv1d, expected, x, w)
    causal = np.pad(x, ((0, 0), (2, 0), (0, 0)))
    wide = np.stack([causal[:, i : i + 3 : 2] for i in range(5)], 1)
    check(
        lambda x, w: K.conv1d(x, w, padding="causal", dilation_rate=2),
        np.einsum("bokc,kcn->bon", wide, w), x, w,
    )  # fmt: skip
    y, v = x[:, :, None], w[:, None]
    check(K.conv2d, expected[:, :, None], y.copy(), v.copy())
    check(K.conv3d, expected[:, :, None, None], y[:, :, None].copy(), v[:, None].copy())
    first = np.moveaxis(y, -1, 1).copy()
    turned = np.moveaxis(expected[:, :, None], -1, 1)
    check(lambda x, w: K.conv2d(x, w, data_format="channels_first"), turned, first, v.copy())
    K.set_image_data_format("channels_first")
    check(K.conv2d, turned, first, v.copy())
    K.set_image_data_format("channels_last")
    depthwise = random((2, 1, 3, 1), seed=2)
    each = np.einsum("bokc,kc->boc", windows, depthwise[:, 0, :, 0])[:, :, None]
    check(K.depthwise_conv2d, each, y.copy(), depthwise)
    mix = random((1, 1, 3, 2), seed=3)
    check(K.separable_conv2d, each @ mix[0, 0], y.copy(), depthwise, mix)
    back = random((1, 2, 2, 1))
    ones = np.ones((1, 1, 2, 1), "f4")
    spread = np.zeros((1, 4, 4, 2), "f4")
    spread[:, ::2, ::2] = back
    check(
        lambda x, w: K.conv2d_transpose(x, w, (1, 4, 4, 2), (2, 2), "same"), spread, back, ones
    )
    refused(lambda x, w: K.conv1d(x, w, padding="full"), x, w, match="Invalid padding")
    refused(lambda x, w: K.conv2d(x, w, data_format="NHWC"), y, v, match="Unknown data_format")


def test_pooling():
    x = random((1, 4, 4, 2))
    blocks = x.reshape(1, 2, 2, 2, 2, 2)
    check(lambda x: K.pool2d(x, (2, 2), (2, 2)), blocks.max((2, 4)), x)
    check(lambda x: K.pool2d(x, (2, 2), (2, 2), pool_mode="avg"), blocks.mean((2, 4)), x)
    z = x[:, None].copy()
    check(lambda z: K.pool3d(z, (1, 2, 2), (1, 2, 2), "same"), blocks.max((2, 4))[:, None], z)
    refused(lambda x: K.pool2d(x, (2, 2), pool_mode="sum"), x, match="Invalid pooling mode")


def test_every_public_function_says_what_it_gives():
    names = [n for n, f in vars(K).items() if inspect.isfunction(f) and not n.startswith("_")]
    assert len(names) > 110
    assert all(getattr(K, name).__doc__ for name in names)
