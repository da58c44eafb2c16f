"""Matrix products as kernels: tiles, views, what follows; bits that nothing changes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphjit as gj
from graphjit.codegen.cpu import processor

SIZES = st.integers(1, 40) | st.sampled_from([64, 65, 127, 130, 200, 515, 1100])


def operands(m, k, n, dtype, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)


def assert_product(found, expected, scale):
    """Within the bound of a sum of k products in any order (Higham, 2002, §3.1)."""
    assert found.shape == expected.shape
    bound = 2 * np.finfo(found.dtype).eps * scale
    assert np.all(np.abs(found - expected) <= bound + np.finfo(found.dtype).tiny)


@given(SIZES, SIZES, SIZES, st.sampled_from([np.float32, np.float64]), st.integers(0, 9))
def test_any_size(m, k, n, dtype, seed):
    a, b = operands(m, k, n, dtype, seed)
    f = gj.function(lambda a, b: a @ b, fallback="error")
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    assert_product(f(a, b), exact, k * (np.abs(a).astype(float) @ np.abs(b).astype(float)))


@pytest.mark.parametrize(
    "shape", [(1, 1030, 40), (13, 1030, 10), (70, 600, 33), (200, 90, 130)]
)
@pytest.mark.parametrize(
    "view",
    [
        lambda a, b: (a[::2], b),
        lambda a, b: (a[:, ::-1], b[::-1]),
        lambda a, b: (a, b[:, 1:]),
        lambda a, b: (a, b[:, ::-2]),
        lambda a, b: (a[:, None], b),
        lambda a, b: (np.broadcast_to(a[:1], a.shape), b),
        lambda a, b: (a, np.broadcast_to(b[:, :1], b.shape)),
        lambda a, b: (a.reshape(-1, 2, a.shape[1]), b),
        lambda a, b: (a[None, :, None], np.stack([b, b + 1, b * 2])[:, None]),
    ],
    ids=range(9),
)
def test_views_are_read_in_place(shape, view):
    m, k, n = shape
    if m % 2:
        m += 1
    a, b = operands(m, k, n, np.float64, 3)
    f = gj.function(lambda a, b: np.matmul(*view(a, b)), fallback="error")
    np.testing.assert_allclose(f(a, b), np.matmul(*view(a, b)), rtol=1e-10, atol=1e-10)


def dense(x, w, c):
    return np.maximum(x @ w + c, 0)


@pytest.mark.parametrize("shape", [(1, 40, 50), (7, 600, 10), (37, 530, 70), (200, 20, 129)])
def test_what_follows_is_part_of_the_kernel(shape):
    x, w = operands(*shape, np.float32, 5)
    c = np.linspace(-1, 1, shape[2], dtype=np.float32)
    f = gj.function(dense, fallback="error")
    np.testing.assert_allclose(f(x, w, c), dense(x, w, c), rtol=1e-5, atol=1e-4)
    assert len(f.specializations[0].program.steps) == 1


def both(x, w):
    y = x @ w
    return y, np.exp(-y * y), y.sum(axis=0)


def test_a_product_with_a_vector_and_what_follows():
    """Rows and no columns: the tiles have the operands the other way round."""
    x, e = operands(2, 600, 1, np.float32, 5)
    x, e = x.T.copy(), e[:, 0]
    f = gj.function(lambda x, e, w: w - 0.5 * gj.matvec(gj.transpose(x), e), fallback="error")
    result = f(gj.constant(x), gj.constant(e), gj.constant(np.float32([1, 2]))).numpy()
    exact = [1, 2] - 0.5 * (x.T.astype(float) @ e)
    assert_product(result, exact, 600 * (np.abs(x.T).astype(float) @ np.abs(e)))


def test_several_results():
    x, w = operands(60, 30, 45, np.float64, 6)
    f = gj.function(both, fallback="error")
    for found, expected in zip(f(x, w), both(x, w), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_nothing_is_lost_of_nan_and_infinity():
    x, w = operands(20, 30, 17, np.float32, 7)
    x[3, 5], x[4, 6], w[7, 16] = np.nan, np.inf, -np.inf
    f = gj.function(lambda x, w: x @ w, fallback="error")
    found, expected = f(x, w), x @ w
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))


def stored_apart(x, w, c):
    """What `dense` computes, with the product as a result of its own."""
    y = x @ w
    return np.maximum(y + c, 0), y


@pytest.mark.parametrize(
    "shape", [(1, 784, 512), (37, 1030, 129), (256, 530, 200), (64, 64, 64)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_depend_on_the_graph_alone(shape, dtype, monkeypatch):
    x, w = operands(*shape, dtype, 8)
    c = np.linspace(-1, 1, shape[2], dtype=dtype)
    reference = gj.function(dense, fallback="error")(x, w, c)
    np.testing.assert_array_equal(
        gj.function(stored_apart, fallback="error")(x, w, c)[0], reference, strict=True
    )
    before = gj.config.threads
    try:
        for threads in (1, 2, 3, 8):
            gj.config.threads = threads
            found = gj.function(dense, fallback="error")(x, w, c)
            np.testing.assert_array_equal(found, reference, strict=True)
    finally:
        gj.config.threads = before
    host = processor.host()
    for vector_bytes in (16, 32, 64):
        target = replace(host, vector_bytes=vector_bytes)
        monkeypatch.setattr(processor, "host", lambda target=target: target)
        found = gj.function(dense, fallback="error")(x, w, c)
        np.testing.assert_array_equal(found, reference, strict=True)


FEW = {
    "rows by a matrix": (lambda a, b: a @ b, ("mk", "kn")),
    "a matrix turned by columns": (lambda a, b: b.T @ a.T, ("mk", "kn")),
    "a matrix turned by a vector": (lambda a, b: b.T @ a[0], ("mk", "kn")),
    "a vector by a matrix": (lambda a, b: a[0] @ b, ("mk", "kn")),
    "and more": (lambda a, b: np.exp(-np.abs(a @ b)) + 1, ("mk", "kn")),
    "batch": (lambda a, b: a @ b[None], ("2mk", "kn")),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", FEW)
def test_few_rows_are_summed_block_by_block_in_order(case, dtype, monkeypatch):
    """However many blocks are summed abreast."""
    function, shapes = FEW[case]
    product = (lambda a, b: a @ b) if case == "and more" else function
    rng = np.random.default_rng(3)
    one_block = gj.function(lambda a, b: product(a, b), fallback="error")
    any_size = gj.function(lambda a, b: function(a, b), fallback="error")
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    for m, n in ((1, 1), (1, 3), (2, 5), (1, 70)):
        for k in (512, 1300, 5001):
            sizes = {"m": m, "k": k, "n": n}
            a, b = (
                rng.normal(size=[sizes.get(c) or int(c) for c in s]).astype(dtype)
                for s in shapes
            )
            block = -(-k // -(-k // 512))
            expected = None
            monkeypatch.setattr(gj.config, "symbolic_after", None)
            for start in range(0, k, block):
                part = one_block(a[..., start : start + block], b[start : start + block])
                expected = part if expected is None else expected + part
            static = gj.function(lambda a, b: function(a, b), fallback="error")(a, b)
            monkeypatch.setattr(gj.config, "symbolic_after", 2)
            if case == "and more":
                expected = gj.function(lambda x: np.exp(-np.abs(x)) + 1)(expected)
            if (m, n) != (1, 1):  # which is a sum along a row
                np.testing.assert_array_equal(static, expected, strict=True)
            np.testing.assert_array_equal(any_size(a, b), static, strict=True)
