"""`device="cuda"`: launches, arguments, results and errors, with the emulator for a GPU. What
NVIDIA's driver does is not tested here (see tests/test_gpu.py).
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from ptx.gpu import Emulated, Lender

import graphjit as gj
from graphjit import cuda
from graphjit.codegen.ptx.arch import ARCHITECTURES, arch_of_capability
from graphjit.core.errors import (
    DeviceError,
    IndexOutOfRangeError,
    InvalidArgumentError,
    TracingError,
    UnsupportedError,
)
from graphjit.cuda import DeviceArray, driver, library_products

RNG = np.random.default_rng(3)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Emulated()
    monkeypatch.setattr(driver, "_gpus", [made])
    return made


def normal(*shape: int, dtype: Any = np.float32) -> Any:
    return RNG.normal(size=shape).astype(dtype)


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


CASES: dict[str, tuple[Any, list[Any]]] = {
    "pointwise": (lambda x, y: np.tanh(x) * y + 1, [normal(5, 7), normal(7)]),
    "0-d": (lambda x: x * 2, [np.array(3.0)]),
    "empty": (lambda x: x * 2, [normal(0, 3)]),
    "softmax": (softmax, [normal(3, 40)]),
    "whole sum": (np.sum, [normal(300)]),
    "product": (lambda a, b: np.maximum(a @ b, 0), [normal(9, 20), normal(20, 11)]),
    "two steps": (lambda x: np.cumsum(x, axis=1)[:, ::-1] / x.sum(), [abs(normal(4, 33)) + 1]),
    "gathered": (lambda x, i: x[i] * 2, [normal(9), np.array([3, 0, 8, -1])]),
    "integers": (lambda x, y: x // y + (x % y), [np.arange(20), np.arange(1, 21)]),
    "halves": (lambda x: x * 3 + 1, [normal(17, dtype=np.float16)]),
    "complex": (lambda x: x * (1 + 2j), [normal(5) + 1j * normal(5)]),
    "booleans": (lambda x: np.where(x > 0, x, 0), [normal(31)]),
    "a constant": (lambda x: x + np.arange(6), [normal(6)]),
    "strided": (lambda x: x + 1, [normal(8, 6)[::2, ::-1]]),
}


@pytest.mark.parametrize("name", CASES)
def test_results(gpu: Emulated, name: str) -> None:
    function, args = CASES[name]
    found = gj.function(function, device="cuda")(*args)
    assert isinstance(found, DeviceArray)
    wanted = function(*args)
    array = found.numpy()
    assert (found.shape, array.dtype) == (wanted.shape, wanted.dtype)
    np.testing.assert_allclose(array, wanted, rtol=3e-3 if array.itemsize == 2 else 1e-5)
    # the same bits as on the CPU
    np.testing.assert_array_equal(array, gj.function(function)(*args))


def test_results_stay_on_the_gpu(gpu: Emulated) -> None:
    f = gj.function(lambda x: x * 2 + 1, device="cuda")
    x = normal(50)
    first = f(x)
    assert (gpu.uploads, gpu.downloads, gpu.launches) == (1, 0, 1)
    again = f(f(first))
    assert (gpu.uploads, gpu.downloads, gpu.launches) == (1, 0, 3)
    np.testing.assert_array_equal(again.numpy(), ((x * 2 + 1) * 2 + 1) * 2 + 1)
    assert f.trace_count == 1 and len(gpu.modules) == 1


def test_containers_scalars_and_keywords(gpu: Emulated) -> None:
    f = gj.function(
        lambda state, rate, *, shift: {"w": state["w"] - rate * state["g"], "n": (shift, 3)},
        device="cuda",
    )
    state = {"w": normal(6), "g": gj.constant(normal(6))}
    result = f(state, 0.5, shift=cuda.array(np.float32(2)))
    np.testing.assert_allclose(result["w"].numpy(), state["w"] - 0.5 * state["g"].numpy())
    assert result["n"][0].item() == 2 and result["n"][1] == 3
    for rate in (0.1, 0.2, 0.3):
        f(state, rate, shift=cuda.array(np.float32(2)))
    assert f.trace_count == 1


def test_any_size(gpu: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    f = gj.function(lambda x, w: np.maximum(x @ w, 0).sum(axis=0), device="cuda")
    for n, m in ((3, 4), (5, 6), (7, 9), (33, 5), (2, 40)):
        x, w = normal(n, m), normal(m, 8)
        wanted = np.maximum(x @ w, 0).sum(axis=0)
        np.testing.assert_allclose(f(x, cuda.array(w)).numpy(), wanted, rtol=1e-4, atol=1e-5)
    assert len(f.specializations) == 2


def test_signature_with_open_extents(gpu: Emulated) -> None:
    f = gj.function(
        lambda x: x.sum(axis=1), device="cuda", input_signature=[gj.TensorSpec([None, 4])]
    )
    for n in (2, 3, 9):
        x = normal(n, 4)
        np.testing.assert_allclose(
            f(cuda.array(x)).numpy(), x.sum(axis=1), rtol=1e-5, atol=1e-6
        )
    assert f.trace_count == 1
    with pytest.raises(InvalidArgumentError, match="input_signature"):
        f(cuda.array(normal(2, 5)))


def test_outputs(gpu: Emulated) -> None:
    x = normal(4)
    assert type(gj.function(np.sum, device="cuda", outputs="numpy")(x)) is np.ndarray
    made = gj.function(lambda x: (x, 2), device="cuda", outputs="tensor")(x)
    assert isinstance(made[0], gj.Tensor) and made[1] == 2


def test_variables(gpu: Emulated) -> None:
    v = gj.Variable(normal(5))

    @gj.function(device="cuda")
    def step(x: Any) -> Any:
        v.assign_add(x)
        return v * 2

    x, start = normal(5), v.numpy()
    given = cuda.array(x)
    np.testing.assert_array_equal(step(given).numpy(), (start + x) * 2)
    np.testing.assert_array_equal(v.numpy(), start + x)
    before = gpu.uploads
    step(given)
    assert gpu.uploads == before  # its copy on the GPU is still right
    np.testing.assert_array_equal(v.numpy(), start + x + x)
    v.assign(np.zeros(5, np.float32))
    step(given)
    assert gpu.uploads == before + 1
    np.testing.assert_array_equal(v.numpy(), x)


def test_captured_arrays_are_read_at_each_call(gpu: Emulated) -> None:
    table = normal(4)
    f = gj.function(lambda x: x + table, device="cuda")
    x = normal(4)
    np.testing.assert_array_equal(f(x).numpy(), x + table)
    table[:] = 7
    np.testing.assert_array_equal(f(x).numpy(), x + table)


def test_a_failed_check(gpu: Emulated) -> None:
    f = gj.function(lambda x, i: (x * 2)[i].sum(), device="cuda")
    x = normal(9)
    assert f(x, np.array([1, 2])).numpy() == pytest.approx((x * 2)[[1, 2]].sum(), rel=1e-6)
    with pytest.raises(IndexOutOfRangeError, match="the axis has 9 elements") as error:
        f(x, np.array([1, 12]))
    with pytest.raises(IndexOutOfRangeError) as same:
        gj.function(f.python_function)(x, np.array([1, 12]))
    assert str(error.value) == str(same.value)
    assert f(x, np.array([1, 2])).numpy() == pytest.approx((x * 2)[[1, 2]].sum(), rel=1e-6)


def test_lent_arrays(gpu: Emulated) -> None:
    f = gj.function(lambda x: x + 1, device="cuda")
    x = normal(6)
    lent = Lender(gpu, x)
    uploads = gpu.uploads
    np.testing.assert_array_equal(f(lent).numpy(), x + 1)
    assert gpu.uploads == uploads
    assert gpu.waits == 1  # its owner may free it after the call


def test_the_array_interface(gpu: Emulated) -> None:
    x = cuda.array(normal(2, 3))
    told = x.__cuda_array_interface__
    assert told["shape"] == (2, 3) and told["typestr"] == "<f4" and told["version"] == 3
    assert told["data"] == (x.address, False) and told["stream"] == 7
    assert x.__dlpack_device__() == (2, 0)
    assert cuda.array(normal(0)).__cuda_array_interface__["data"][0] == 0
    half = cuda.array(gj.constant([1.0], gj.bfloat16))
    assert not hasattr(half, "__cuda_array_interface__")
    assert (x.ndim, x.size, x.nbytes, len(x)) == (2, 6, 24, 2)
    assert repr(x) == "<graphjit.cuda.DeviceArray: shape=(2, 3), dtype=float32>"
    np.testing.assert_array_equal(np.asarray(x), x.numpy())
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copied"):
        np.asarray(x, copy=False)
    with pytest.raises(TypeError, match="0-d"):
        len(cuda.array(1.0))


def test_what_it_refuses(gpu: Emulated) -> None:
    x = normal(5)
    with pytest.raises(UnsupportedError, match="NumPy or SciPy, which no GPU"):
        gj.function(np.sort, device="cuda")(x)
    with pytest.raises(TracingError):
        gj.function(lambda x: float(x.sum()), device="cuda")(x)
    with pytest.raises(UnsupportedError, match="out="):
        gj.function(lambda x: x + 1, device="cuda").into(np.empty(5), x)
    with pytest.raises(InvalidArgumentError, match="fast_math or donate"):
        gj.function(lambda x: x + 1, device="cuda", fast_math=True)
    with pytest.raises(InvalidArgumentError, match='"cpu" or "cuda", not'):
        gj.function(lambda x: x + 1, device="tpu")
    with pytest.raises(InvalidArgumentError, match="another GPU"):
        gj.function(lambda x: x + 1, device="cuda")(
            DeviceArray(Emulated(), None, 0, (3,), gj.float32)  # type: ignore[arg-type]
        )
    assert isinstance(gj.function(lambda x: x + 1, device="cpu"), gj.Function)


def test_within_a_traced_function_and_eagerly(gpu: Emulated) -> None:
    inner = gj.function(lambda x: x * 2, device="cuda")
    x = normal(4)
    np.testing.assert_array_equal(gj.function(lambda x: inner(x) + 1)(x), x * 2 + 1)
    with gj.config.eager(True):
        np.testing.assert_array_equal(inner(cuda.array(x)), x * 2)
    assert gpu.launches == 0


def test_the_architecture_of_a_gpu() -> None:
    known = {
        (7, 5): "sm_75",
        (8, 0): "sm_80",
        (8, 6): "sm_86",
        (8, 9): "sm_89",
        (9, 0): "sm_90",
    }
    known |= {(10, 0): "sm_100", (12, 0): "sm_120", (13, 5): "sm_121"}
    for capability, name in known.items():
        assert arch_of_capability(*capability) == name
        assert name in ARCHITECTURES
    with pytest.raises(InvalidArgumentError, match=r"capability 7\.0 is older than sm_75"):
        arch_of_capability(7, 0)


@pytest.mark.skipif(cuda.available(), reason="there is a GPU")
def test_without_a_gpu() -> None:
    """The error comes at the call, names what is missing, and is the same the second time."""
    f = gj.function(lambda x: x + 1, device="cuda")
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"cuda-core|NVIDIA driver"):
            f(np.ones(3))
    with pytest.raises(DeviceError, match=r"test_cuda\.py"):
        cuda.array(np.ones(3))


def test_importing_graphjit_brings_nothing_of_cuda() -> None:
    code = "import sys, graphjit; print(sorted(m for m in sys.modules if 'cuda' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_pickled(gpu: Emulated) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    f = gj.function(lambda x: x * 3, device="cuda")
    again = cloudpickle.loads(cloudpickle.dumps(f))
    assert type(again) is cuda.CudaFunction
    np.testing.assert_array_equal(again(np.ones(4)).numpy(), np.full(4, 3.0))


def test_methods(gpu: Emulated) -> None:
    class Layer:
        def __init__(self) -> None:
            self.w = np.arange(4.0)

        @gj.function(device="cuda")
        def __call__(self, x: Any) -> Any:
            return x * self.w

    np.testing.assert_array_equal(Layer()(np.ones(4)).numpy(), np.arange(4.0))


def test_tensor_cores(gpu: Any) -> None:
    a = RNG.integers(-8, 9, (20, 33)).astype(np.float32)
    b = RNG.integers(-8, 9, (33, 17)).astype(np.float32)
    for name in ("tf32", "float16", "bfloat16"):
        f = gj.function(lambda a, b: a @ b, device="cuda", tensor_cores=name)
        np.testing.assert_array_equal(f(a, b).numpy(), a @ b)
        assert "mma.sync" in f.specializations[0].assembly.text


BLAS_PRODUCTS: dict[str, tuple[Any, list[Any], bool]] = {
    "plain": (lambda a, b: a @ b, [normal(9, 20), normal(20, 11)], True),
    "double": (
        lambda a, b: a @ b,
        [normal(9, 20, dtype=np.float64), normal(20, 11, dtype=np.float64)],
        True,
    ),
    "left turned": (lambda a, b: a.T @ b, [normal(20, 9), normal(20, 11)], True),
    "right turned": (lambda a, b: a @ b.T, [normal(9, 20), normal(11, 20)], True),
    "both turned": (lambda a, b: a.T @ b.T, [normal(20, 9), normal(11, 20)], True),
    "parts": (lambda a, b: a[2:, 3:17] @ b[1:15, :7], [normal(9, 20), normal(20, 11)], True),
    "batch": (lambda a, b: a @ b, [normal(3, 5, 7), normal(3, 7, 4)], True),
    "one for a batch": (lambda a, b: a @ b, [normal(3, 5, 7), normal(7, 4)], True),
    "a batch for one": (lambda a, b: a @ b, [normal(5, 7), normal(3, 7, 4)], True),
    "then more": (lambda a, b: np.tanh(a @ b) @ b.T, [normal(9, 20), normal(20, 11)], True),
    "reversed": (lambda a, b: a[::-1] @ b, [normal(9, 20), normal(20, 11)], False),
    "strided": (lambda a, b: a[:, ::2] @ b, [normal(9, 40), normal(20, 11)], False),
    "followed": (lambda a, b: np.maximum(a @ b, 0), [normal(9, 20), normal(20, 11)], True),
    "a layer": (
        lambda a, b, c: np.maximum(a @ b + c, 0).sum(axis=1),
        [normal(9, 20), normal(20, 11), normal(11)],
        True,
    ),
    "result turned": (lambda a, b: (a @ b).T * 2, [normal(9, 20), normal(20, 11)], True),
    "two batches": (
        lambda a, b: a @ b,
        [normal(3, 5, 2, 7).transpose(2, 0, 1, 3), normal(3, 7, 4)],
        False,
    ),
}


@pytest.mark.parametrize("name", BLAS_PRODUCTS)
def test_products_of_blas(name: str, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    function, args, by_blas = BLAS_PRODUCTS[name]
    monkeypatch.setattr(library_products, "LARGE", 0)
    gpu.blas = True
    f = gj.function(function, device="cuda")
    found, wanted = f(*args).numpy(), function(*args)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    assert bool(gpu.multiplied) == by_blas
    assert by_blas or gpu.launches
    with gpu_without_blas(monkeypatch):
        np.testing.assert_array_equal(f(*args).numpy(), gj.function(function)(*args))


HEADS = normal(2, 9, 3, 5)
# name -> function, arguments, products by BLAS, kernels launched
WHAT_FOLLOWS: dict[str, tuple[Any, list[Any], int, int]] = {
    "by BLAS": (lambda a, b: np.tanh(a @ b), [normal(9, 20), normal(20, 11)], 1, 1),
    "strided": (lambda a, b: np.tanh(a[:, ::2] @ b), [normal(9, 40), normal(20, 11)], 0, 1),
    "reversed": (lambda a, b: np.tanh(a[::-1] @ b) * 2, [normal(9, 20), normal(20, 11)], 0, 1),
    "scores of heads": (
        lambda q, k: np.exp(q.transpose(0, 2, 1, 3) @ k.transpose(0, 2, 3, 1) / 4),
        [HEADS, HEADS + 1],
        0, 1,
    ),
    "some of both": (
        lambda a, b: np.tanh(np.tanh(a @ b)[:, ::2] @ b[:6]), [normal(9, 20), normal(20, 11)],
        1, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WHAT_FOLLOWS)
def test_what_follows_products(name: str, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fused to those that BLAS can't compute, however large."""
    function, args, by_blas, launches = WHAT_FOLLOWS[name]
    monkeypatch.setattr(library_products, "LARGE", 0)
    gpu.blas = True
    f = gj.function(function, device="cuda")
    f(*args)  # copies what isn't as kernels want it
    multiplied, launched = len(gpu.multiplied), gpu.launches
    found, wanted = f(*args).numpy(), function(*args)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert len(gpu.multiplied) - multiplied == by_blas
    assert gpu.launches - launched == launches


@contextmanager
def gpu_without_blas(monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as here:
        here.setattr(gj.config, "cublas", False)
        yield


def test_small_products_and_other_sizes(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_products, "LARGE", 1000)
    gpu.blas = True
    spec = gj.TensorSpec([None, None], np.float32)
    f = gj.function(lambda a, b: a @ b, input_signature=[spec, spec], device="cuda")
    for m, k, n, blas in (
        (9, 8, 7, False),
        (10, 10, 10, True),
        (0, 4, 5, False),
        (40, 2, 30, True),
    ):
        before = len(gpu.multiplied)
        a, b = normal(m, k), normal(k, n)
        np.testing.assert_allclose(f(a, b).numpy(), a @ b, rtol=1e-4, atol=1e-5)
        assert len(gpu.multiplied) - before == blas
    asked = gpu.multiplied[-1]
    assert (asked.m, asked.n, asked.k, asked.batch) == (30, 40, 2, 1)
    gpu.blas = False
    np.testing.assert_array_equal(f(a, b).numpy(), gj.function(lambda a, b: a @ b)(a, b))


def test_what_cublas_may_round(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_products, "LARGE", 0)
    gpu.blas = True
    for dtype, asked in ((np.float32, "tf32"), (np.float64, None)):
        f = gj.function(lambda a: a @ a, device="cuda", tensor_cores="tf32")
        f(normal(8, 8, dtype=dtype))
        assert gpu.multiplied[-1].tensor_cores == asked
