"""`device="cuda"` on a real GPU, by NVIDIA's driver: `make gpu` runs these and writes a report.

Skipped where there is no GPU. They have NOT YET BEEN RUN on one.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from ptx.test_cuda import CASES

import graphjit as gj
from graphjit import cuda
from graphjit.core.errors import DeviceError, IndexOutOfRangeError, InvalidArgumentError

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cuda.available(), reason="no cuda-core, NVIDIA driver or GPU here"),
]
RNG = np.random.default_rng(5)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


class Lent:
    """An array that has one of the two interfaces alone."""

    def __init__(self, array: Any, *names: str) -> None:
        self.array, self.names = array, names

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__
        if name in own(self, "names"):
            return getattr(own(self, "array"), name)
        if name.startswith(("__dlpack", "__cuda")):
            raise AttributeError(name)
        return own(self, name)

    def __dlpack__(self, **options: Any) -> Any:  # looked up on the type
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("name", CASES)
def test_results(name: str) -> None:
    function, args = CASES[name]
    found = gj.function(function, device="cuda")(*args).numpy()
    wanted = function(*args)
    np.testing.assert_allclose(found, wanted, rtol=3e-3 if found.itemsize == 2 else 1e-5)
    np.testing.assert_array_equal(found, gj.function(function)(*args))  # the CPU's bits


@pytest.mark.parametrize("shape", [(0,), (1,), (31,), (5003,), (1000, 1000), (3, 5, 7)])
def test_sizes(shape: tuple[int, ...]) -> None:
    function = lambda x: (np.exp(-abs(x)) * x).sum(axis=-1) + x.sum()  # noqa: E731
    x = normal(*shape)
    found = gj.function(function, device="cuda")(x).numpy()
    np.testing.assert_array_equal(found, gj.function(function)(x))


def test_large_product() -> None:
    a, b = normal(1000, 700), normal(700, 900)
    found = gj.function(lambda a, b: a @ b, device="cuda", outputs="numpy")(a, b)
    np.testing.assert_allclose(found, a.astype(np.float64) @ b, rtol=1e-3, atol=1e-3)


def test_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    f = gj.function(lambda x: np.sqrt(x * x + 1).sum(axis=0), device="cuda")
    for n in (3, 5, 100, 4097):
        x = normal(n, 6)
        np.testing.assert_allclose(f(x).numpy(), np.sqrt(x * x + 1).sum(axis=0), rtol=1e-5)
    assert len(f.specializations) == 2


def test_variables() -> None:
    v = gj.Variable(np.zeros(1000, np.float32))
    step = gj.function(lambda x: v.assign_add(x), device="cuda")
    x = normal(1000)
    for _ in range(3):
        step(x)
    np.testing.assert_allclose(v.numpy(), x + x + x, rtol=1e-6)


def test_a_failed_check() -> None:
    f = gj.function(lambda x, i: x[i], device="cuda")
    with pytest.raises(IndexOutOfRangeError, match=r"index 12 .* 9 elements"):
        f(normal(9), np.array([1, 12]))
    np.testing.assert_array_equal(f(np.arange(9), np.array([1, 2])).numpy(), [1, 2])


@pytest.mark.parametrize("names", [("__cuda_array_interface__",), ("__dlpack__",)])
def test_lent_and_taken_back(names: tuple[str, ...]) -> None:
    f = gj.function(lambda x: x + 1, device="cuda")
    x = normal(100, 3)
    lent = Lent(
        cuda.array(x), *names, *(("__dlpack_device__",) if "__dlpack__" in names else ())
    )
    np.testing.assert_array_equal(f(lent).numpy(), x + 1)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    x = torch.arange(12.0, device="cuda").reshape(3, 4)
    f = gj.function(lambda x: x * 2 + 1, device="cuda")
    found = f(x)
    wanted = (x * 2 + 1).cpu().numpy()
    np.testing.assert_array_equal(found.numpy(), wanted)
    np.testing.assert_array_equal(torch.from_dlpack(found).cpu().numpy(), wanted)
    np.testing.assert_array_equal(torch.as_tensor(found, device="cuda").cpu().numpy(), wanted)
    with pytest.raises(InvalidArgumentError, match="C order"):
        f(x.T)


def test_memory_is_given_back() -> None:
    """A terabyte in all, a gigabyte at a time at the most."""
    f = gj.function(lambda x: x + 1, device="cuda")
    x = cuda.array(np.zeros(1 << 26, np.float32))
    for _ in range(4000):
        x = f(x)
    assert x.numpy()[0] == 4000


def test_threads() -> None:
    f = gj.function(lambda x: np.tanh(x) @ x, device="cuda")
    x = normal(64, 64)
    wanted = f(x).numpy()
    found: list[bool] = []

    def work() -> None:
        found.extend(np.array_equal(f(x).numpy(), wanted) for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 200


def test_a_forked_child_is_refused() -> None:
    code = """
import os, sys, numpy as np, graphjit as gj
f = gj.function(lambda x: x + 1, device="cuda")
f(np.ones(3)).numpy()
child = os.fork()
if child == 0:
    try:
        f(np.ones(3))
    except gj.errors.DeviceError:
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "7", done.stderr


def test_too_much_memory() -> None:
    f = gj.function(lambda x: np.zeros((1 << 24, 1 << 20), np.float32) + x, device="cuda")
    with pytest.raises((MemoryError, DeviceError)):
        f(np.float32(1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_products(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By cuBLAS, where it is installed; and by our own kernel, with the CPU's bits."""
    a, b = normal(3, 300, 257).astype(dtype), normal(301, 257).astype(dtype)
    f = gj.function(lambda a, b: a @ b.T, device="cuda")
    exact = a.astype(np.float64) @ b.T.astype(np.float64)
    bound = (
        257 * np.finfo(dtype).eps * (abs(a).astype(np.float64) @ abs(b.T).astype(np.float64))
    )
    assert np.all(abs(f(a, b).numpy() - exact) <= bound)
    monkeypatch.setattr(gj.config, "cublas", False)
    np.testing.assert_array_equal(f(a, b).numpy(), gj.function(lambda a, b: a @ b.T)(a, b))


@pytest.mark.parametrize("variant", ["tf32", "float16", "bfloat16"])
@pytest.mark.parametrize("cublas", [True, False])
def test_tensor_cores(variant: str, cublas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small whole numbers, whose products and sums are exact."""
    monkeypatch.setattr(gj.config, "cublas", cublas)
    a = RNG.integers(-8, 9, (300, 257)).astype(np.float32)
    b = RNG.integers(-8, 9, (257, 301)).astype(np.float32)
    f = gj.function(lambda a, b: a @ b, device="cuda", tensor_cores=variant)
    np.testing.assert_array_equal(f(a, b).numpy(), a @ b)
