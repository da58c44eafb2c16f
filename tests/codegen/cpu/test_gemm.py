"""Products against NumPy: orientations, vectors, batches, empty ones."""

import numpy as np
import pytest

import graphjit as gj

DTYPES = (np.float32, np.float64, np.complex64, np.complex128)
SHAPES = [
    ((3, 4), (4, 5)),
    ((1, 7), (7, 5)),
    ((6, 7), (7, 1)),
    ((1, 7), (7, 1)),
    ((1, 1), (1, 1)),
    ((4, 0), (0, 3)),
    ((1, 0), (0, 3)),
    ((4, 0), (0, 1)),
    ((0, 3), (3, 4)),
    ((7,), (7, 5)),
    ((6, 7), (7,)),
    ((7,), (7,)),
    ((2, 3, 4), (4, 5)),
    ((2, 1, 4), (3, 1, 4, 5)),
    ((3, 4), (2, 0, 4, 5)),
    ((65, 129), (129, 33)),
]


def make(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape)
    return (
        (x + 1j * rng.normal(size=shape)).astype(dtype)
        if dtype(0).dtype.kind == "c"
        else x.astype(dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_products(dtype, shapes, turned):
    a, b = make(shapes[0], dtype, 0), make(shapes[1], dtype, 1)
    if "a" in turned and a.ndim > 1:
        a = np.ascontiguousarray(a.swapaxes(-1, -2))
    if "b" in turned and b.ndim > 1:
        b = np.ascontiguousarray(b.swapaxes(-1, -2))

    def product(a, b):
        if "a" in turned and a.ndim > 1:
            a = np.swapaxes(a, -1, -2)
        if "b" in turned and b.ndim > 1:
            b = np.swapaxes(b, -1, -2)
        return a @ b

    f = gj.function(product, fallback="error")
    expected = product(a, b)
    for _ in range(2):  # the second time into memory that holds something
        found = f(a, b)
        assert found.shape == expected.shape and found.dtype == expected.dtype
        tolerance = (
            1e-4 if np.dtype(dtype).itemsize in (4, 8) and dtype != np.float64 else 1e-12
        )
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 10)


def test_nothing_in_the_result_is_left_of_what_its_memory_held():
    f = gj.function(lambda a, b: (a @ b) * 1, fallback="error")
    bad = np.full((1, 4), np.nan)
    f(bad, np.ones((4, 3)))
    assert np.array_equal(f(np.ones((1, 4)), np.ones((4, 3))), np.full((1, 3), 4.0))
    g = gj.function(lambda a, b: (a @ b) + 0, fallback="error")
    assert np.array_equal(g(np.ones((1, 0)), np.ones((0, 3))), np.zeros((1, 3)))
