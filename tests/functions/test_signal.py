import numpy as np
import pytest
from both_ways import check
from hypothesis import given, settings
from hypothesis import strategies as st

from graphjit.core.errors import InvalidArgumentError
from graphjit.functions import signal
from graphjit.tensors.tensor import Tensor

EXTENT = st.sampled_from((4, 1, 2, 3, 5, 8))
COMPLEX = {"float16": "complex64", "float32": "complex64", "float64": "complex128"}


def random(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x).astype(dtype)


def dtype_of(name, dtype):
    wide = COMPLEX.get(dtype, dtype)
    return (
        {"complex64": "float32", "complex128": "float64"}[wide]
        if name.startswith("irfft")
        else wide
    )


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "float16"])
@settings(max_examples=5)
@given(shape=st.tuples(EXTENT, EXTENT, EXTENT), data=st.data())
def test_one_axis(name, dtype, shape, data):
    if name == "rfft" and dtype.startswith("c"):
        return
    x = random(shape, dtype)
    axis = data.draw(st.integers(-3, 2))
    n = data.draw(st.sampled_from((None, 1, 2, 3, 7, 8)))
    norm = data.draw(st.sampled_from((None, "backward", "ortho", "forward")))
    if name == "irfft" and n is None and shape[axis] == 1:
        return  # no points: NumPy refuses too
    wide = x.astype("complex128" if dtype.startswith("c") else "float64")
    expected = getattr(np.fft, name)(wide, n, axis, norm)
    check(
        lambda x: getattr(signal, name)(x, n, axis, norm),
        expected,
        x,
        dtype=dtype_of(name, dtype),
    )


@pytest.mark.parametrize("name", ["fftn", "ifftn", "rfftn", "irfftn"])
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize(
    ("s", "axes"),
    [
        (None, None),
        ((2, 3), None),
        (None, (0, 2)),
        (None, (1,)),
        ((4, 3), (2, 0)),
        (None, (0, 0)),
        ((-1, 4), (0, 1)),
    ],
)
@pytest.mark.parametrize("norm", [None, "ortho"])
def test_several_axes(name, dtype, s, axes, norm):
    if name == "rfftn" and dtype == "complex128":
        return
    x = random((3, 4, 5), dtype)
    places = axes
    if s is not None and axes is None:
        places = range(-len(s), 0)  # what NumPy does, with a warning
    expected = getattr(np.fft, name)(
        x.astype("complex128" if dtype[0] == "c" else "f8"), s, places, norm
    )
    check(
        lambda x: getattr(signal, name)(x, s, axes, norm),
        expected,
        x,
        dtype=dtype_of(name, dtype),
    )


@pytest.mark.parametrize("name", ["fft2", "ifft2", "rfft2", "irfft2"])
def test_two_axes(name):
    x = random((2, 3, 4))
    check(getattr(signal, name), getattr(np.fft, name)(x), x)
    expected = getattr(np.fft, name)(x, (2, 5), (0, 1), "forward")
    check(lambda x: getattr(signal, name)(x, (2, 5), (0, 1), "forward"), expected, x)


def test_no_axes_and_empty_batches():
    x = random((2, 3), "float32")
    check(lambda x: signal.fftn(x, axes=()), x.astype("complex64"), x)
    check(signal.fft, np.zeros((0, 3), "complex64"), np.zeros((0, 3), "float32"))
    check(signal.rfft, np.zeros((0, 2), "complex64"), np.zeros((0, 3), "float32"))


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
@pytest.mark.parametrize("shape", [(5,), (4,), (3, 4), (1, 0)])
def test_shifts(name, shape):
    x = random(shape)
    check(getattr(signal, name), getattr(np.fft, name)(x), x)
    check(lambda x: getattr(signal, name)(x, -1), getattr(np.fft, name)(x, -1), x)
    check(lambda x: getattr(signal, name)(x, (0,)), getattr(np.fft, name)(x, (0,)), x)
    check(getattr(signal, name), np.float64(3), np.array(3.0))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("d", [1.0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_frequencies(n, d, dtype):
    check(lambda: signal.fftfreq(n, d, dtype), np.fft.fftfreq(n, d), dtype=dtype)
    check(lambda: signal.rfftfreq(n, d, dtype), np.fft.rfftfreq(n, d), dtype=dtype)
    check(lambda: signal.fftfreq(n), np.fft.fftfreq(n), dtype="float32")


@pytest.mark.parametrize(
    ("fn", "x", "match"),
    [
        (signal.fft, np.arange(3), "allowed values"),
        (signal.fft, np.ones(3, bool), "allowed values"),
        (signal.rfft, np.ones(3, "c8"), "allowed values"),
        (signal.rfft, np.arange(3), "allowed values"),
        (signal.fft, np.float64(1), "out of range"),
        (lambda x: signal.fft(x, axis=1), np.ones(3), "out of range"),
        (lambda x: signal.fft(x, n=0), np.ones(3), "0 points"),
        (signal.fft, np.ones((2, 0)), "0 points"),
        (signal.irfft, np.ones(1), "0 points"),
        (lambda x: signal.fft(x, norm="foo"), np.ones(3), "norm should be"),
        (lambda x: signal.fft(x, n=2.5), np.ones(3), "integers"),
        (lambda x: signal.fftn(x, (2,), (0, 1)), np.ones((3, 3)), "different lengths"),
        (signal.rfftn, np.float64(1), "no axis"),
        (signal.fft2, np.ones(3), "out of range"),
        (lambda x: signal.fftn(x, axes=()), np.arange(3), "allowed values"),
        (lambda x: signal.fftshift(x, 3), np.ones(3), "out of range"),
    ],
)
def test_refuses(fn, x, match):
    with pytest.raises(InvalidArgumentError, match=match):
        fn(Tensor(np.asarray(x)))


@pytest.mark.parametrize("arguments", [(0,), (-1,), (3, 0.0), (3, np.inf), (3, 1.0, "int32")])
def test_frequencies_refuse(arguments):
    for fn in (signal.fftfreq, signal.rfftfreq):
        with pytest.raises(InvalidArgumentError):
            fn(*arguments)
