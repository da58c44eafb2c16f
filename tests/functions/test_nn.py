import math as pymath

import numpy as np
import pytest
import scipy.special as sp
from both_ways import check, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import shapes

from graphjit.core.errors import InvalidArgumentError
from graphjit.functions import losses, nn
from graphjit.tensors.tensor import Tensor

LINE = np.array(
    [
        -np.inf,
        -100.0,
        -6.5,
        -3.0,
        -1.0,
        -0.25,
        0.0,
        0.5,
        1.0,
        2.9,
        3.1,
        7.0,
        100.0,
        np.inf,
        np.nan,
    ]
)
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def random(shape, dtype="float64", seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def expit(x):
    return sp.expit(x)


def tanh_gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def elu(x, a=1.0):
    return np.where(x > 0, x, a * np.expm1(np.minimum(x, 0)))


ACTIVATIONS = {
    "relu": (nn.relu, lambda x: np.maximum(x, 0)),
    "relu6": (nn.relu6, lambda x: np.clip(x, 0, 6)),
    "leaky_relu": (nn.leaky_relu, lambda x: np.where(x > 0, x, 0.2 * x)),
    "elu": (nn.elu, elu),
    "selu": (nn.selu, lambda x: SELU_SCALE * elu(x, SELU_ALPHA)),
    "celu": (
        lambda x: nn.celu(x, 0.5),
        lambda x: np.where(x > 0, x, 0.5 * np.expm1(np.minimum(x, 0) / 0.5)),
    ),
    "gelu": (nn.gelu, lambda x: x * sp.ndtr(x)),
    "gelu_tanh": (lambda x: nn.gelu(x, approximate=True), tanh_gelu),
    "silu": (nn.silu, lambda x: x * expit(x)),
    "swish": (lambda x: nn.swish(x, 1.5), lambda x: x * expit(1.5 * x)),
    "mish": (nn.mish, lambda x: x * np.tanh(np.logaddexp(0, x))),
    "softsign": (nn.softsign, lambda x: x / (1 + np.abs(x))),
    "softplus": (nn.softplus, lambda x: np.logaddexp(0, x)),
    "sigmoid": (nn.sigmoid, expit),
    "tanh": (nn.tanh, np.tanh),
    "log_sigmoid": (nn.log_sigmoid, sp.log_expit),
    "hard_tanh": (nn.hard_tanh, lambda x: np.clip(x, -1, 1)),
    "hard_sigmoid": (nn.hard_sigmoid, lambda x: np.clip(x + 3, 0, 6) / 6),
    "hard_silu": (nn.hard_silu, lambda x: x * (np.clip(x + 3, 0, 6) / 6)),
}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_activations(name, dtype):
    fn, oracle = ACTIVATIONS[name]
    x = LINE.astype(dtype)
    with np.errstate(all="ignore"):
        expected = oracle(x.astype("float64")).astype(dtype)
    ulps, length = (8, 16) if dtype == "float16" else (64, 16)
    check(fn, expected, x, ulps=ulps, length=length, scale=8)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_of_any_shape_and_what_they_refuse(name):
    fn, oracle = ACTIVATIONS[name]
    for shape in ((), (0,), (1, 3), (2, 0)):
        x = random(shape)
        check(fn, oracle(x), x)
    for dtype in ("bool",) if name == "tanh" else ("bool", "complex64"):
        with pytest.raises(InvalidArgumentError, match="allowed values"):
            fn(Tensor(np.ones(2, dtype)))
    if name not in ("relu", "relu6", "leaky_relu"):
        with pytest.raises(InvalidArgumentError, match="allowed values"):
            fn(Tensor([1, 2]))


def test_relu_of_integers():
    x = np.array([-3, 0, 9], "i4")
    check(nn.relu, np.array([0, 0, 9], "i4"), x)
    check(nn.relu6, np.array([0, 0, 6], "i4"), x)
    check(nn.leaky_relu, np.array([-0.6, 0, 9], "f4"), x)
    check(nn.relu, np.array([0, 200], "u1"), np.array([0, 200], "u1"))


def test_crelu_and_glu():
    x = random((2, 4))
    check(nn.crelu, np.maximum(np.concatenate([x, -x], -1), 0), x)
    check(lambda x: nn.crelu(x, 0), np.maximum(np.concatenate([x, -x], 0), 0), x)
    check(nn.glu, x[:, :2] * expit(x[:, 2:]), x)
    with pytest.raises(InvalidArgumentError, match="evenly divide"):
        nn.glu(Tensor(random((2, 3))))


@settings(max_examples=15)
@given(shapes(1, empty=False), st.data())
def test_softmax(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    dtype = data.draw(st.sampled_from(("float64", "float32")))
    x = random(shape, dtype) * np.asarray(data.draw(st.sampled_from((1, 100, 1e4))), dtype)
    check(lambda x: nn.softmax(x, axis), sp.softmax(x, axis), x)
    check(lambda x: nn.log_softmax(x, axis), sp.log_softmax(x, axis), x)
    check(
        lambda x: nn.logsumexp(x, axis),
        np.asarray(sp.logsumexp(x, axis)),
        x,
        scale=abs(x).max(),
    )


def test_softmax_edges():
    x = np.array([[-np.inf, 0.0], [1e300, -1e300], [np.nan, 0.0]])
    check(nn.softmax, np.array([[0, 1], [1, 0], [np.nan, np.nan]]), x)
    check(lambda x: nn.softmax(x, (0, 1)), sp.softmax(random((2, 3))), random((2, 3)))
    check(nn.softmax, np.zeros((0, 3)), np.zeros((0, 3)))
    check(nn.softmax, np.zeros((3, 0)), np.zeros((3, 0)))
    with pytest.raises(InvalidArgumentError, match="out of range"):
        nn.softmax(Tensor(1.0))
    with pytest.raises(InvalidArgumentError, match="allowed values"):
        nn.softmax(Tensor([1, 2]))


@pytest.mark.parametrize("axis", [-1, 0, 1, (1, 2), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_layer_and_rms_norm(axis, dtype):
    x = random((2, 3, 4), dtype)
    axes = tuple(a % 3 for a in ((axis,) if isinstance(axis, int) else axis))
    shape = tuple(x.shape[a] for a in axes)
    gamma, beta = random(shape, dtype, 1), random(shape, dtype, 2)
    column = tuple(n if a in axes else 1 for a, n in enumerate(x.shape))
    g, b = gamma.reshape(column), beta.reshape(column)
    wide = x.astype("f8")
    mean, variance = wide.mean(axes, keepdims=True), wide.var(axes, keepdims=True)
    plain = (wide - mean) / np.sqrt(variance + 1e-5)
    check(lambda x: nn.layer_norm(x, axis=axis), plain, x, dtype=dtype)
    check(
        lambda x, g, b: nn.layer_norm(x, g, b, axis), plain * g + b, x, gamma, beta, dtype=dtype
    )
    rms = wide / np.sqrt((wide**2).mean(axes, keepdims=True) + 1e-6)
    check(lambda x: nn.rms_norm(x, axis=axis), rms, x, dtype=dtype)
    check(lambda x, g: nn.rms_norm(x, g, axis), rms * g, x, gamma, dtype=dtype)


def test_norms_of_narrow_floats_do_not_overflow():
    x = np.array([[1000.0, -1000.0, 500.0]], "f2")
    wide = x.astype("f8")
    expected = (wide - wide.mean()) / wide.std()
    check(nn.layer_norm, expected, x, dtype="f2", ulps=4)
    check(nn.rms_norm, wide / np.sqrt((wide**2).mean()), x, dtype="f2", ulps=4)
    mean, variance = x.mean(1, dtype="f8"), np.array([np.inf])
    check(lambda x: nn.moments(x, 1), (mean, variance), x, dtype="f2", ulps=4)


@pytest.mark.parametrize("axes", [[0], [1], [0, 2], [0, 1, 2]])
@pytest.mark.parametrize("keepdims", [False, True])
def test_moments(axes, keepdims):
    x = random((2, 3, 4))
    axis = tuple(axes)
    expected = (x.mean(axis, keepdims=keepdims), x.var(axis, keepdims=keepdims))
    check(lambda x: nn.moments(x, axes, keepdims), expected, x)


def test_batch_normalization():
    x, mean, variance = random((5, 3)), random(3, seed=1), random(3, seed=2) ** 2
    offset, scale = random(3, seed=3), random(3, seed=4)
    plain = (x - mean) / np.sqrt(variance + 1e-3)
    check(lambda *a: nn.batch_normalization(*a, None, None, 1e-3), plain, x, mean, variance)
    check(
        lambda *a: nn.batch_normalization(*a, 1e-3), plain * scale + offset,
        x, mean, variance, offset, scale,
    )  # fmt: skip


def test_l2_loss_and_bias():
    x = random((2, 3, 4))
    check(nn.l2_loss, (x**2).sum() / 2, x)
    b = random(4, seed=1)
    check(nn.bias_add, x + b, x, b)
    check(lambda x, b: nn.bias_add(x, b, "NWC"), x + b, x, b)
    c = random(3, seed=1)
    check(lambda x, b: nn.bias_add(x, b, "NCW"), x + c[:, None], x, c)


def test_normalisation_refuses():
    x = random((2, 3))
    refused(nn.layer_norm, x, random(2), match="gamma must have shape \\[3\\]")
    refused(lambda x, b: nn.layer_norm(x, beta=b), x, random(2), match="beta must have shape")
    refused(nn.rms_norm, x, random(2), match="gamma must have shape")
    refused(nn.layer_norm, np.arange(3), match="allowed values")
    refused(nn.layer_norm, x, random(3, "f4"), match="double tensor")
    refused(lambda x: nn.moments(x, 2), x, match="out of range")
    refused(lambda x: nn.moments(x, 0), np.arange(3), match="allowed values")
    refused(nn.bias_add, x, random(2), match="as many biases")
    refused(nn.bias_add, x, random((1, 3)), match="must be 1D")
    refused(nn.bias_add, random(3), random(3), match="must be 1D")
    refused(lambda x, b: nn.bias_add(x, b, "HWC"), x, random(3), match="data_format")
    refused(nn.l2_loss, np.arange(3), match="allowed values")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax_cross_entropy(dtype, axis):
    logits, labels = random((3, 4), dtype) * 50, sp.softmax(random((3, 4), seed=1), axis)
    expected = -(labels * sp.log_softmax(logits.astype("f8"), axis)).sum(axis)
    fn = lambda y, x: nn.softmax_cross_entropy_with_logits(y, x, axis)  # noqa: E731
    check(fn, expected, labels.astype(dtype), logits, dtype=dtype)
    whole = np.eye(4, dtype="i4")[[0, 3, 1]]
    expected = -(whole * sp.log_softmax(logits.astype("f8"), axis)).sum(axis)
    check(fn, expected, whole, logits, dtype=dtype)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_sparse_softmax_cross_entropy(shape, dtype):
    logits = random((*shape, 5)) * 10
    labels = np.random.default_rng(0).integers(0, 5, shape).astype(dtype)
    log = sp.log_softmax(logits, -1)
    expected = -np.take_along_axis(log, np.asarray(labels, int)[..., None], -1)[..., 0]
    check(nn.sparse_softmax_cross_entropy_with_logits, expected, np.asarray(labels), logits)


def test_sigmoid_cross_entropies():
    x, z = random((3, 4)) * 100, np.random.default_rng(1).uniform(0, 1, (3, 4))
    plain = -(z * sp.log_expit(x) + (1 - z) * sp.log_expit(-x))
    check(nn.sigmoid_cross_entropy_with_logits, plain, z, x)
    weighted = -(2.5 * z * sp.log_expit(x) + (1 - z) * sp.log_expit(-x))
    check(lambda z, x: nn.weighted_cross_entropy_with_logits(z, x, 2.5), weighted, z, x)


def test_log_poisson_loss():
    c, z = random(6), np.array([0.0, 0.5, 1.0, 1.5, 3.0, 10.0])
    plain = np.exp(c) - c * z
    check(nn.log_poisson_loss, plain, z, c)
    with np.errstate(all="ignore"):
        stirling = z * np.log(z) - z + 0.5 * np.log(2 * np.pi * z)
    full = plain + np.where(z <= 1, 0, stirling)
    check(lambda z, c: nn.log_poisson_loss(z, c, True), full, z, c)


def test_cross_entropies_refuse():
    sparse = nn.sparse_softmax_cross_entropy_with_logits
    refused(
        sparse, np.array([3]), random((1, 3)), match="label value of 3 .* range of \\[0, 3\\)"
    )
    refused(sparse, np.array([-1]), random((1, 3)), match="label value of -1")
    refused(sparse, np.array([1, 2]), random((1, 3)), match="labels.shape")
    refused(sparse, np.array(1), random((1, 3)), match="labels.shape")
    refused(sparse, np.array([1.0]), random((1, 3)), match="allowed values")
    refused(sparse, np.array([1]), np.ones((1, 3), "i4"), match="allowed values")
    dense = nn.softmax_cross_entropy_with_logits
    refused(dense, random((2, 3)), random((2, 4)), match="Incompatible shapes")
    refused(dense, random((2, 3)), np.ones((2, 3), "i4"), match="allowed values")
    for fn in (nn.sigmoid_cross_entropy_with_logits, nn.log_poisson_loss):
        refused(fn, random(2), random(3), match="must have the same shape")
        refused(fn, random(2), random(1), match="must have the same shape")
        refused(fn, random(2), random(2, "f4"), match="float")
    weighted = lambda z, x: nn.weighted_cross_entropy_with_logits(z, x, 2.0)  # noqa: E731
    refused(weighted, random(2), random(1), match="must have the same shape")


def huber(t, p, delta=1.0):
    e = np.abs(t - p)
    return np.where(e <= delta, e**2 / 2, delta * e - delta**2 / 2).mean(-1)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


LOSSES = {
    "mean_squared_error": lambda t, p: ((t - p) ** 2).mean(-1),
    "mean_absolute_error": lambda t, p: np.abs(t - p).mean(-1),
    "mean_absolute_percentage_error": lambda t, p: 100 * np.abs((t - p) / t).mean(-1),
    "mean_squared_logarithmic_error": lambda t, p: ((np.log1p(t) - np.log1p(p)) ** 2).mean(-1),
    "huber": huber,
    "log_cosh": lambda t, p: np.log(np.cosh(p - t)).mean(-1),
    "hinge": lambda t, p: np.maximum(1 - t * p, 0).mean(-1),
    "squared_hinge": lambda t, p: (np.maximum(1 - t * p, 0) ** 2).mean(-1),
    "categorical_hinge": lambda t, p: np.maximum(
        ((1 - t) * p).max(-1) - (t * p).sum(-1) + 1, 0
    ),
    "poisson": lambda t, p: (p - t * np.log(p + 1e-7)).mean(-1),
    "kl_divergence": lambda t, p: (t * np.log(t / p)).sum(-1),
    "cosine_similarity": lambda t, p: -(unit(t) * unit(p)).sum(-1),
}


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_losses(name, dtype):
    rng = np.random.default_rng(0)
    t, p = (rng.uniform(0.1, 0.9, (3, 4)).astype(dtype) for _ in range(2))
    fn = getattr(losses, name)
    check(fn, LOSSES[name](t.astype("f8"), p.astype("f8")), t, p, dtype=dtype, ulps=64)
    refused(fn, t, np.ones((3, 4), "i4"), match="allowed values")
    refused(fn, t, p[:, :3].copy(), match="Incompatible shapes")


def test_losses_of_labels():
    p = random((2, 3))
    t = np.array([[0, 1, 1], [1, 0, 0]], "i4")
    check(losses.hinge, np.maximum(1 - (2 * t - 1) * p, 0).mean(-1), t, p)
    check(losses.mean_squared_error, ((t - p) ** 2).mean(-1), t, p)
    check(lambda t, p: losses.huber(t, p, 0.3), huber(t, p, 0.3), t, p)


def attention(q, k, v, mask=0.0, scale=None):
    scale = 1 / pymath.sqrt(q.shape[-1]) if scale is None else scale
    return sp.softmax(q @ np.swapaxes(k, -1, -2) * scale + mask, -1) @ v


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_attention(dtype):
    q, k, v = random((2, 3, 4), dtype), random((2, 5, 4), dtype, 1), random((5, 6), dtype, 2)
    fn = nn.scaled_dot_product_attention
    wide = [x.astype("f8") for x in (q, k, v)]
    check(fn, attention(*wide), q, k, v, dtype=dtype)
    check(lambda *a: fn(*a, scale=0.5), attention(*wide, scale=0.5), q, k, v, dtype=dtype)
    bias = random((3, 5), dtype, 3)
    check(fn, attention(*wide, mask=bias), q, k, v, bias, dtype=dtype)
    seen = random((2, 3, 5), seed=4) > -0.5
    check(fn, attention(*wide, mask=np.where(seen, 0, -1e30)), q, k, v, seen, dtype=dtype)
    causal = np.where(np.tri(3, 5), 0, -1e30)
    check(
        lambda *a: fn(*a, is_causal=True), attention(*wide, mask=causal), q, k, v, dtype=dtype
    )
    nothing = np.zeros((3, 5), bool)
    mean = np.broadcast_to(wide[2].mean(0), (2, 3, 6))
    check(fn, mean, q, k, v, nothing, dtype=dtype)
    refused(fn, q, k, v.astype("f2"), match="half")
    refused(fn, q, k[..., :3].copy(), v, match="size-incompatible")
    refused(fn, q[0, 0], k, v, match="two axes")
    refused(fn, *(x.astype("i4") for x in (q, k, v)), match="allowed values")


def test_embedding_lookup():
    table, ids = random((5, 3)), np.array([[0, 4], [2, 2]])
    check(nn.embedding_lookup, table[ids], table, ids)
    size = np.linalg.norm(table[ids], axis=-1, keepdims=True)
    limited = table[ids] / np.maximum(size, 1.0)
    check(lambda t, i: nn.embedding_lookup(t, i, 1.0), limited, table, ids)
    refused(nn.embedding_lookup, table, np.array([5]), match="out of range")
    refused(nn.embedding_lookup, table, np.array([0.5]), match="integers")


def test_in_top_k():
    x = np.array(
        [[0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [np.nan, 1, 2], [1, 2, np.inf], [1, 2, 3]], "f4"
    )
    targets = np.array([0, 2, 1, 1, 7], "i4")
    check(lambda t, x: nn.in_top_k(t, x, 1), np.array([False] * 5), targets, x)
    # ties: both 0.1 count as second
    check(
        lambda t, x: nn.in_top_k(t, x, 2),
        np.array([True, True, False, False, False]),
        targets,
        x,
    )
    check(
        lambda t, x: nn.in_top_k(t, x, 2),
        np.zeros(0, bool),
        np.zeros(0, "i4"),
        np.zeros((0, 3), "f4"),
    )
    check(
        lambda t, x: nn.in_top_k(t, x, 2),
        np.zeros(2, bool),
        np.zeros(2, "i4"),
        np.zeros((2, 0), "f4"),
    )
    refused(lambda t, x: nn.in_top_k(t, x, 2), targets, x[:2], match="of one length")
    refused(lambda t, x: nn.in_top_k(t, x, 2), targets[0], x[0], match="2-dimensional")
    refused(lambda t, x: nn.in_top_k(t, x, 2), x[:, 0].copy(), x, match="allowed values")


def test_zero_fraction_and_cosine():
    x = np.array([0.0, 1.0, -0.0, 2.0])
    check(nn.zero_fraction, np.float32(0.5), x)
    check(nn.zero_fraction, np.float32(0.5), np.array([[1, 0]]))
    check(nn.zero_fraction, np.float32(np.nan), np.zeros((0, 2)))
    a, b = random((2, 3)), random((2, 3), seed=1)
    check(nn.cosine_similarity, (unit(a) * unit(b)).sum(-1), a, b)
    refused(nn.cosine_similarity, a, b.astype("f4"), match="float")
