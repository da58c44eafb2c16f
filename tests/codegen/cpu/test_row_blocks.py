"""Bands, packed operands, turned squares and peeled rows against NumPy, and as plans."""

from dataclasses import replace

import numpy as np
import pytest

import graphjit as gj
from graphjit.codegen.cpu import processor, target
from graphjit.core.machine import machine
from graphjit.ir import cost_model


def attention(q, k, v):
    scores = q @ np.swapaxes(k, -1, -2) / 8
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    return (e / np.sum(e, axis=-1, keepdims=True)) @ v


def layers(x, w1, w2):
    h = np.tanh(x @ w1)
    h = h / np.sqrt(np.sum(h * h, axis=-1, keepdims=True))
    return h @ w2


def program(f):
    return f.specializations[0].program


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(cost_model, "ROW_BLOCK_BYTES", 0)


def heads(*shape, dtype=np.float64):
    rng = np.random.default_rng(len(shape))
    return [rng.normal(size=shape).astype(dtype) for _ in range(3)]


@pytest.mark.parametrize(
    "shape", [(2, 64, 16), (4, 72, 130), (1, 80, 5), (3, 2, 96, 33), (128, 20), (4, 48, 9)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_attention_keeps_a_few_rows_of_the_scores(shape, dtype, always):
    q, k, v = heads(*shape, dtype=dtype)
    f = gj.function(attention, fallback="error")
    tolerance = 2e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(f(q, k, v), attention(q, k, v), rtol=tolerance, atol=tolerance)
    if shape[-2] >= 64:
        assert len(program(f).row_blocks) == 1 and program(f).arena_bytes == 0


def test_a_band_changes_no_bit(monkeypatch):
    args = heads(2, 3, 160, 24, dtype=np.float32)
    plain = gj.function(attention, fallback="error")(*args)
    monkeypatch.setattr(cost_model, "ROW_BLOCK_BYTES", 0)
    before = gj.config.threads
    try:
        for threads in (1, 2, 3, 8):
            gj.config.threads = threads
            found = gj.function(attention, fallback="error")(*args)
            np.testing.assert_array_equal(found, plain, strict=True)
    finally:
        gj.config.threads = before


def test_rows_of_shared_weights(always):
    rng = np.random.default_rng(0)
    x, w1, w2 = rng.normal(size=(96, 40)), rng.normal(size=(40, 70)), rng.normal(size=(70, 9))
    f = gj.function(layers, fallback="error")
    np.testing.assert_allclose(f(x, w1, w2), layers(x, w1, w2), rtol=1e-12, atol=1e-12)
    assert len(program(f).row_blocks) == 1


def test_rows_that_others_read_make_no_band(always):
    f = gj.function(lambda x: (x @ x.T) @ (x @ x.T).T, fallback="error")
    x = np.random.default_rng(1).normal(size=(64, 32))
    np.testing.assert_allclose(f(x), (x @ x.T) @ (x @ x.T).T, rtol=1e-10)
    assert not program(f).row_blocks


def test_an_error_in_a_band_names_its_line(always):
    def pick(x, w, i):
        return np.exp(x @ w)[:, i] @ w

    rng = np.random.default_rng(2)
    x, w, i = rng.normal(size=(64, 40)), rng.normal(size=(40, 40)), np.arange(40)
    f = gj.function(pick, fallback="error")
    np.testing.assert_allclose(f(x, w, i), pick(x, w, i), rtol=1e-10)
    i[39] = 40
    with pytest.raises(gj.errors.IndexOutOfRangeError, match="40"):
        f(x, w, i)


def nearest(a, b):
    d = a[:, None, :] - b[None, :, :]
    return np.min(np.sum(d * d, axis=-1), axis=1)


@pytest.mark.parametrize("shape", [(1, 1), (7, 2), (40, 3), (129, 3), (33, 8), (33, 9)])
def test_distances_are_never_stored(shape):
    a, b = np.random.default_rng(3).normal(size=(2, *shape))
    f = gj.function(nearest, fallback="error")
    np.testing.assert_allclose(f(a, b), nearest(a, b), rtol=1e-13)
    if shape[1] <= 8 and shape[0] > 8:
        temporaries = [p.type.size for p in program(f).buffers if p.role == "temporary"]
        assert sum(temporaries) == b.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint64, np.int16, "c8"])
@pytest.mark.parametrize(
    "shape", [(16, 16), (17, 100), (130, 33), (64, 5), (3, 70, 65), (200, 1), (15, 40)]
)
def test_transposed_operands(shape, dtype):
    rng = np.random.default_rng(4)
    x = (rng.normal(size=shape) * 50).astype(dtype)
    y = (rng.normal(size=(*shape[:-2], shape[-1], shape[-2])) * 50).astype(dtype)

    def both(x, y):
        t = np.swapaxes(x, -1, -2)
        return t + y, t[..., ::-1, :] - y, t * y[..., :1]

    f = gj.function(both, fallback="error")
    for found, expected in zip(f(x, y), both(x, y), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
@pytest.mark.parametrize("columns", [1001, 1024, 1111, 2049])
def test_rows_that_start_anywhere_pass_the_cache(columns, dtype, monkeypatch):
    monkeypatch.setattr(target, "LARGE_BYTES", 0)
    monkeypatch.setattr(target, "machine", lambda: replace(machine(), l3_bytes=0))
    x = (np.random.default_rng(5).normal(size=(1300, columns)) * 50).astype(dtype)

    def stencil(x):
        return x[1:-1, 1:-1] * 2 - x[:-2, 1:-1] - x[1:-1, 2:]

    f = gj.function(stencil, fallback="error")
    np.testing.assert_array_equal(f(x), stencil(x), strict=True)
    if dtype is np.float32 and processor.host().vector_bytes > 16:
        assert "nontemporal" in f.specializations[0].llvm_ir()


@pytest.mark.parametrize("shape", [(40, 50), (1, 7), (130, 129)])
def test_a_kernel_writes_where_it_reads_for_the_last_time(shape):
    rng = np.random.default_rng(6)
    x, w = rng.normal(size=shape), rng.normal(size=(shape[1], shape[1]))

    def normed(x, w):
        y = x @ w
        y = y - y.max(axis=1, keepdims=True)
        return (y / np.exp(y).sum(axis=1, keepdims=True)) @ w

    f = gj.function(normed, fallback="error")
    np.testing.assert_allclose(f(x, w), normed(x, w), rtol=1e-9, atol=1e-12)
    temporaries = [b for b in program(f).buffers if b.role == "temporary"]
    apart = sum(-(-b.type.nbytes // 64) * 64 for b in temporaries)
    assert len(temporaries) == 1 or program(f).arena_bytes < apart


def test_no_block_is_computed_again_over_its_own_result():
    rng = np.random.default_rng(7)
    x, w = rng.normal(size=(70, 70)), rng.normal(size=(70, 70))

    def turned(x, w):
        y = x @ w
        return (y + x.T) @ w, (y * 2).T @ (y + x.T)

    f = gj.function(turned, fallback="error")
    for found, expected in zip(f(x, w), turned(x, w), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def self_attention(x, w):
    h = np.tanh(x @ w)
    return np.exp(h @ h.T / 8) @ h, h


def test_no_band_reads_rows_of_a_result_that_it_has_yet_to_write():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(1024, 32)).astype(np.float32)
    w = rng.normal(size=(32, 32)).astype(np.float32)
    f = gj.function(self_attention, fallback="error")
    for found, expected in zip(f(x, w), self_attention(x, w), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)


def test_nothing_is_written_over_what_a_band_comes_back_to():
    def mixed(x, w, v):
        h = np.tanh(x @ w)
        u = np.exp(h @ h.T / 8) @ v + h
        return u.T @ u

    rng = np.random.default_rng(9)
    x, v = rng.normal(size=(2, 1024, 32))
    w = rng.normal(size=(32, 32))
    f = gj.function(mixed, fallback="error")
    np.testing.assert_allclose(f(x, w, v), mixed(x, w, v), rtol=1e-9)


def test_reversed_rows_of_a_product_are_not_in_its_band(always):
    def turned(a, b, c):
        y = a @ b
        return (y + c)[::-1] * 2, np.tanh(y)[:, :6]

    rng = np.random.default_rng(10)
    a, b, c = rng.normal(size=(64, 40)), rng.normal(size=(40, 70)), rng.normal(size=70)
    f = gj.function(turned, fallback="error")
    for found, expected in zip(f(a, b, c), turned(a, b, c), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("part", [11, 12, 13, 16, 22])
@pytest.mark.parametrize("columns", [17, 33, 48, 50, 63, 100])
def test_parts_and_tiles_of_any_size(part, columns):
    def two(x, w1, w2):
        return np.tanh(np.tanh(x @ w1) @ w2)

    rng = np.random.default_rng(11)
    x = rng.normal(size=(part * 1009, 20)).astype(np.float32)
    w1 = rng.normal(size=(20, columns)).astype(np.float32)
    w2 = rng.normal(size=(columns, columns)).astype(np.float32)
    f = gj.function(two, fallback="error")
    np.testing.assert_allclose(f(x, w1, w2), two(x, w1, w2), rtol=0, atol=2e-4)


@pytest.mark.parametrize("columns", [41, 50, 63, 1001])
def test_kept_values_and_sums_beside_rows_that_start_anywhere(columns, monkeypatch):
    def shared(x):
        e = np.exp(x)
        return e, e / e.sum(-1, keepdims=True), np.sqrt(e).sum(-1)

    x = np.random.default_rng(12).normal(size=(5000, columns))
    monkeypatch.setattr(cost_model, "STREAM_SHARE", 0.0)
    streamed = gj.function(shared, fallback="error")(x)
    monkeypatch.setattr(cost_model, "STREAM_SHARE", 1e9)
    plain = gj.function(shared, fallback="error")(x)
    for one, other, expected in zip(streamed, plain, shared(x), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, expected, rtol=1e-13)


def test_many_sums_of_columns_fit_the_stack():
    x = np.random.default_rng(13).normal(size=(300, 2000))
    f = gj.function(lambda x: [np.sum(x * float(i), axis=0) for i in range(700)])
    for i, found in enumerate(f(x)):
        np.testing.assert_allclose(found, np.sum(x * float(i), axis=0), rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_nested_short_sums_are_not_multiplied_out(levels):
    def nested(x):
        y = np.exp(x)
        for _ in range(levels):
            y = np.sqrt(y.sum(-1))
        return y

    x = np.random.default_rng(14).normal(size=(20, *(8,) * levels))
    f = gj.function(nested, fallback="error")
    np.testing.assert_allclose(f(x), nested(x), rtol=1e-12)
    assert sum(len(step.values) for step in program(f).steps) < 400
