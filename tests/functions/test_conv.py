import itertools

import numpy as np
import pytest
import scipy.signal
from both_ways import check, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from graphjit.functions import conv
from graphjit.tensors.tensor import Tensor

CONVS = {1: conv.conv1d, 2: conv.conv2d, 3: conv.conv3d}
FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}


def random(shape, dtype="float64", seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def same_padding(n, k, s, d):
    total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
    return total // 2, total - total // 2


def padded(x, kernel, strides, dilations, padding, value=0.0):
    """The image with its padding, in float64."""
    space = x.shape[1:-1]
    if padding == "VALID":
        pairs = [(0, 0)] * len(space)
    elif padding == "SAME":
        pairs = [same_padding(*a) for a in zip(space, kernel, strides, dilations, strict=True)]
    else:
        pairs = padding
    return np.pad(x, [(0, 0), *pairs, (0, 0)], constant_values=value)


def naive_windows(x, kernel, strides, dilations):
    """Each output place with the window [batch, kernel..., channels] that it sees."""
    out = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(x.shape[1:-1], kernel, strides, dilations, strict=True)
    ]
    places = itertools.product(*map(range, out))
    return out, (
        (place, x[(slice(None), *(
            slice(p * s, p * s + (k - 1) * d + 1, d)
            for p, k, s, d in zip(place, kernel, strides, dilations, strict=True)
        ))])
        for place in places
    )  # fmt: skip


def naive_conv(x, w, strides, dilations, padding):
    kernel = w.shape[:-2]
    x = padded(x, kernel, strides, dilations, padding)
    out, windows = naive_windows(x, kernel, strides, dilations)
    groups = x.shape[-1] // w.shape[-2]
    result = np.zeros((x.shape[0], *out, w.shape[-1]))
    depth, outputs = w.shape[-2], w.shape[-1] // groups
    for place, window in windows:
        for g in range(groups):
            part = window[..., g * depth : (g + 1) * depth]
            weights = w[..., g * outputs : (g + 1) * outputs]
            axes = list(range(len(kernel) + 1))
            value = np.tensordot(part, weights, ([a + 1 for a in axes], axes))
            result[(slice(None), *place, slice(g * outputs, (g + 1) * outputs))] = value
    return result


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("first", [False, True])
@settings(max_examples=10)
@given(data=st.data())
def test_convolution_is_a_loop(count, first, data):
    small = st.integers(1, 3)
    kernel, strides, dilations = (
        tuple(data.draw(small) for _ in range(count)) for _ in range(3)
    )
    padding = data.draw(st.sampled_from(("VALID", "SAME", [(1, 2)] * count)))
    space = tuple(
        data.draw(st.integers((k - 1) * d + 1, 7))
        for k, d in zip(kernel, dilations, strict=True)
    )
    groups = data.draw(st.sampled_from((1, 1, 2)))
    batch, depth = data.draw(st.integers(0, 2)), data.draw(st.integers(1, 2))
    x = random((batch, *space, depth * groups))
    w = random((*kernel, depth, groups * data.draw(st.integers(1, 2))), seed=1)
    expected = naive_conv(x, w, strides, dilations, padding)
    sizes = naive_conv(abs(x), abs(w), strides, dilations, padding)
    if first:
        x, expected, sizes = (np.moveaxis(a, -1, 1).copy() for a in (x, expected, sizes))
    layout = FORMATS[count][first]

    def convolve(x, w):
        return CONVS[count](x, w, strides, padding, layout, dilations)

    check(convolve, expected, x, w, scale=sizes)


def test_conv2d_is_scipys_correlation():
    x, w = random((1, 6, 7, 1), "float32"), random((3, 2, 1, 1), "float32", 1)
    for mode, padding in (("valid", "VALID"), ("same", [(1, 1), (0, 1)])):
        expected = scipy.signal.correlate(x[0, :, :, 0], w[:, :, 0, 0], mode)
        if mode == "same":  # SciPy puts the extra column of an even kernel first
            expected = scipy.signal.correlate(
                np.pad(x[0, :, :, 0], ((1, 1), (0, 1))), w[:, :, 0, 0], "valid"
            )
        check(lambda x, w, p=padding: conv.conv2d(x, w, 1, p), expected[None, :, :, None], x, w)
    y, v = random((1, 9, 1)), random((4, 1, 1), seed=1)
    expected = scipy.signal.correlate(y[0, :, 0], v[:, 0, 0], "valid")
    check(conv.conv1d, expected[None, :, None], y, v)


def test_conv_takes_tensorflows_strides_and_padding():
    x, w = random((2, 5, 6, 2)), random((3, 3, 2, 4), seed=1)
    expected = naive_conv(x, w, (2, 2), (1, 1), "SAME")
    for strides in (2, [2], (2, 2), [1, 2, 2, 1]):
        check(lambda x, w, s=strides: conv.conv2d(x, w, s, "same"), expected, x, w)
    pairs = [[0, 0], [1, 0], [0, 2], [0, 0]]
    expected = naive_conv(x, w, (1, 1), (1, 1), [(1, 0), (0, 2)])
    check(lambda x, w: conv.conv2d(x, w, 1, pairs), expected, x, w)
    check(lambda x, w: conv.convolution(x, w, 1, pairs), expected, x, w)
    turned, expected = np.moveaxis(x, -1, 1).copy(), np.moveaxis(expected, -1, 1)
    pairs = [[0, 0], [0, 0], [1, 0], [0, 2]]
    check(lambda x, w: conv.conv2d(x, w, [1, 1, 1, 1], pairs, "NCHW"), expected, turned, w)
    expected = np.moveaxis(naive_conv(x, w, (2, 1), (1, 1), "VALID"), -1, 1)
    check(lambda x, w: conv.conv2d(x, w, [1, 1, 2, 1], "VALID", "NCHW"), expected, turned, w)
    z, v = random((2, 5, 3)), random((2, 3, 2), seed=1)
    check(lambda z, v: conv.conv1d(z, v, 2, "SAME"), naive_conv(z, v, (2,), (1,), "SAME"), z, v)


@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64", "int32"])
def test_conv_keeps_dtypes(dtype):
    x, w = (
        random(s, seed=i).round(0).astype(dtype)
        for i, s in enumerate(((1, 4, 4, 2), (2, 2, 2, 3)))
    )
    wide = "c16" if dtype == "complex64" else "f8"
    expected = naive_conv(
        x.real.astype("f8"), w.real.astype("f8"), (1, 1), (1, 1), "VALID"
    ).astype(wide)
    check(conv.conv2d, expected, x, w, dtype=dtype)


@settings(max_examples=6)
@given(
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from(("VALID", "SAME")),
    st.booleans(),
)
def test_depthwise_and_separable(channels, multiplier, stride, padding, first):
    x = random((2, 5, 4, channels))
    w = random((3, 2, channels, multiplier), seed=1)
    parts = [
        naive_conv(x[..., c : c + 1], w[:, :, c : c + 1], (stride, stride), (1, 1), padding)
        for c in range(channels)
    ]
    expected = np.concatenate(parts, -1)
    mix = random((1, 1, channels * multiplier, 2), seed=2)
    mixed = expected @ mix[0, 0]
    layout = None
    if first:
        x, expected, mixed = (np.moveaxis(a, -1, 1).copy() for a in (x, expected, mixed))
        layout = "NCHW"
    check(lambda x, w: conv.depthwise_conv2d(x, w, stride, padding, layout), expected, x, w)
    check(
        lambda x, w, m: conv.separable_conv2d(x, w, m, stride, padding, layout),
        mixed,
        x,
        w,
        mix,
    )


@pytest.mark.parametrize("count", [1, 2])
@settings(max_examples=10)
@given(data=st.data())
def test_conv_transpose_is_the_transpose(count, data):
    small = st.integers(1, 3)
    kernel, strides = (tuple(data.draw(small) for _ in range(count)) for _ in range(2))
    padding = data.draw(st.sampled_from(("VALID", "SAME")))
    space = tuple(data.draw(st.integers(k, 6)) for k in kernel)
    w = random((*kernel, 2, 3), seed=1)  # as a convolution: 2 channels to 3
    one = (1,) * count
    # the matrix of the convolution, column by column
    size = int(np.prod(space)) * 2
    basis = np.eye(size).reshape(size, *space, 2)
    image = naive_conv(basis, w, strides, one, padding)
    matrix = image.reshape(size, -1)
    y = random((2, *image.shape[1:]))
    expected = (y.reshape(2, -1) @ matrix.T).reshape(2, *space, 2)
    check(lambda y, w: conv.conv_transpose(y, w, space, strides, padding), expected, y, w)
    full = (2, *space, 2)
    check(lambda y, w: conv.conv_transpose(y, w, full, strides, padding), expected, y, w)
    if count == 2:
        turned, expected = (np.moveaxis(a, -1, 1).copy() for a in (y, expected))
        full = (2, 2, *space)
        check(
            lambda y, w: conv.conv2d_transpose(y, w, full, strides, padding, "NCHW"),
            expected,
            turned,
            w,
        )


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("first", [False, True])
@settings(max_examples=6)
@given(data=st.data())
def test_pooling_is_a_loop(count, first, data):
    small = st.integers(1, 3)
    kernel, strides = (tuple(data.draw(small) for _ in range(count)) for _ in range(2))
    padding = data.draw(st.sampled_from(("VALID", "SAME")))
    space = tuple(data.draw(st.integers(k, 6)) for k in kernel)
    x = random((2, *space, 2))
    one, axes = (1,) * count, tuple(range(1, count + 1))
    wide = padded(x, kernel, strides, one, padding, np.nan)
    out, windows = naive_windows(wide, kernel, strides, one)
    largest, mean = (np.zeros((2, *out, 2)) for _ in range(2))
    for place, window in windows:
        largest[(slice(None), *place)] = np.nanmax(window, axes)
        mean[(slice(None), *place)] = np.nanmean(window, axes)
    if first:
        x, largest, mean = (np.moveaxis(a, -1, 1).copy() for a in (x, largest, mean))
    layout = FORMATS[count][first]
    check(lambda x: conv.max_pool(x, kernel, strides, padding, layout), largest, x)
    check(lambda x: conv.avg_pool(x, kernel, strides, padding, layout), mean, x)
    check(lambda x: conv.pool(x, kernel, "max", strides, padding, layout), largest, x)
    check(lambda x: conv.pool(x, kernel, "AVG", strides, padding, layout), mean, x)


def test_pooling_of_integers_and_defaults():
    x = np.arange(16, dtype="i4").reshape(1, 4, 4, 1) - 20
    expected = x.reshape(2, 2, 2, 2).max((1, 3)).reshape(1, 2, 2, 1)
    check(lambda x: conv.max_pool(x, 2), expected, x)
    check(lambda x: conv.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"), expected, x)
    check(lambda x: conv.pool(x, 1, "MAX"), x, x)
    narrow = np.full((1, 4, 1), 60000.0, "f4")
    check(lambda x: conv.avg_pool(x, 2), narrow[:, :2].copy(), narrow)


X, W = random((1, 4, 4, 2)), random((2, 2, 2, 3))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"strides": 0}, "strides must be 2 positive"),
        ({"strides": (1, 2, 3)}, "strides must be 2 positive"),
        ({"strides": 1.5}, "strides must be"),
        ({"strides": True}, "strides must be"),
        ({"strides": [2, 1, 1, 1]}, "no strides along batch"),
        ({"strides": [1, 2, 2, 2]}, "no strides along batch"),
        ({"dilations": -1}, "dilations must be"),
        ({"padding": "FULL"}, "padding must be"),
        ({"padding": [(0, 0)]}, "padding must be"),
        ({"padding": [(0, -1), (0, 0)]}, "padding must be"),
        ({"padding": 1}, "padding must be"),
        ({"data_format": "NWC"}, "data_format must be 'NHWC' or 'NCHW'"),
        ({"dilations": 4}, "would be negative"),
    ],
)
def test_conv2d_refuses_options(options, match):
    refused(lambda x, w: conv.conv2d(x, w, **options), X, W, match=match)


def test_shapes_that_are_refused():
    refused(conv.conv2d, X[0], W, match="input must be 4-dimensional")
    refused(conv.conv2d, X, W[0], match="filter must be 4-dimensional")
    refused(conv.conv2d, X, random((2, 2, 3, 3)), match="input depth")
    refused(conv.conv2d, random((1, 4, 4, 4)), W, match="input depth")  # 3 outputs, 2 groups
    refused(conv.conv2d, X, random((5, 1, 2, 3)), match="would be negative")
    refused(conv.conv2d, X, W.astype("f4"), match="float tensor")
    refused(conv.convolution, X, random((2, 2)), match="1, 2 or 3 spatial axes")
    refused(conv.depthwise_conv2d, X, random((2, 2, 3, 1)), match="same depth")
    refused(conv.depthwise_conv2d, X, random((2, 2, 2)), match="filter must be 4-dimensional")
    refused(conv.depthwise_conv2d, X[0], W, match="input must be 4-dimensional")
    transpose = lambda x, w: conv.conv2d_transpose(x, w, (1, 9, 9, 2), 2)  # noqa: E731
    refused(transpose, random((1, 4, 4, 3)), W, match="no convolution of shape")
    refused(transpose, X, W, match="filter depth differ")
    refused(transpose, X, W[0], match="filter must be 4-dimensional")
    refused(
        lambda x, w: conv.conv_transpose(x, w, (3,), 1), X, random((2, 2)), match="1, 2 or 3"
    )
    refused(lambda x: conv.max_pool(x, 2), random((2, 3)), match="spatial axes")
    refused(lambda x: conv.max_pool(x, 5), X, match="would be negative")
    refused(lambda x: conv.max_pool(x, 0), X, match="ksize must be")
    refused(lambda x: conv.avg_pool(x, 2), np.ones((1, 4, 1), "i4"), match="allowed values")
    refused(lambda x: conv.max_pool(x, 2), np.ones((1, 4, 1), "c8"), match="allowed values")
    refused(lambda x: conv.pool(x, 2, "SUM"), X, match="pooling_type")


def test_arrays_are_taken():
    x = conv.conv2d(X, Tensor(W))
    np.testing.assert_allclose(x.numpy(), naive_conv(X, W, (1, 1), (1, 1), "VALID"))
    y = conv.conv1d([[[1.0], [2.0]]], Tensor(np.ones((2, 1, 1))))
    assert y.dtype == "float64" and y.numpy().item() == 3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_names_for_each_number_of_axes(count):
    x = random((2, *(7, 6, 5)[:count], 3))
    first = np.moveaxis(x, -1, 1)
    for kind in ("max", "avg"):
        named = getattr(conv, f"{kind}_pool{count}d")
        expected = getattr(conv, f"{kind}_pool")(x, 2, 1, "SAME").numpy()
        np.testing.assert_array_equal(named(x, 2, 1, "SAME").numpy(), expected)
        found = named(first, 2, 1, "SAME", FORMATS[count][1]).numpy()
        np.testing.assert_array_equal(np.moveaxis(found, 1, -1), expected)
        refused(
            lambda x, named=named: named(x, 2),
            x[0],
            match=f"input must be {count + 2}-dimensional",
        )
    w = random((*(3, 2, 2)[:count], 4, 3), seed=1)
    out = (2, *(14, 12, 10)[:count], 4)
    named = getattr(conv, f"conv{count}d_transpose")
    expected = conv.conv_transpose(x, w, out, 2).numpy()
    np.testing.assert_array_equal(named(x, w, out, 2).numpy(), expected)
    assert expected.shape == out
    refused(
        lambda x, w: named(x, w, out, 2),
        x,
        w[0],
        match=f"filter must be {count + 2}-dimensional",
    )
