"""The GPU of this machine by NVIDIA's cuda-core: memory of the device's stream-ordered pool,
modules, launches; cuBLAS by its nvmath-python. The only file that imports these.

Everything happens in order on one stream of the process. NOT YET RUN ON A GPU.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from graphjit.codegen.ptx.arch import arch_of_capability
from graphjit.codegen.ptx.emit import ALIGNMENT
from graphjit.core.errors import (
    DeviceError,
    InvalidArgumentError,
    OutOfMemoryError,
    at_user_line,
)
from graphjit.core.fork_safety import new_lock
from graphjit.core.types import Array

from .library_products import Multiplication

_CUDA = 2  # DLPack's kDLCUDA


def _modules() -> tuple[Any, Any, Any]:
    """cuda-core, its views and the driver's functions, once a driver and a GPU are seen.

    cuInit comes first: without a driver, other calls of cuda-core end obscurely.
    """
    try:
        core = importlib.import_module("cuda.core")
        utils = importlib.import_module("cuda.core.utils")
        driver = importlib.import_module("cuda.bindings.driver")
    except ImportError as error:
        raise DeviceError(
            at_user_line(
                f'device="cuda" needs NVIDIA\'s cuda-core ({error})',
                "pip install 'graphjit[cuda]'",
            )
        ) from None
    try:
        status, *_ = driver.cuInit(0)
    except RuntimeError as error:  # no libcuda
        raise DeviceError(
            at_user_line(
                f"there is no NVIDIA driver on this machine ({str(error).splitlines()[0]})",
                'leave out device="cuda" to run on the CPU',
            )
        ) from None
    if status == driver.CUresult.CUDA_SUCCESS:
        status, count = driver.cuDeviceGetCount()
        if status == driver.CUresult.CUDA_SUCCESS and count > 0:
            return core, utils, driver
        raise DeviceError(at_user_line("the NVIDIA driver of this machine sees no GPU"))
    raise DeviceError(at_user_line(f"the NVIDIA driver can't be used: {status.name}"))


class _Blas:
    """cuBLAS, by NVIDIA's nvmath-python, on a stream."""

    def __init__(self, blas: Any, types: Any, handle: int) -> None:
        self._blas, self._handle = blas, handle
        kinds = blas.ComputeType
        self._compute = {
            ("float64", None): kinds.COMPUTE_64F,
            ("float32", None): kinds.COMPUTE_32F,
            ("float32", "tf32"): kinds.COMPUTE_32F_FAST_TF32,
            ("float32", "float16"): kinds.COMPUTE_32F_FAST_16F,
            ("float32", "bfloat16"): kinds.COMPUTE_32F_FAST_16BF,
        }
        self._types = {"float32": types.CUDA_R_32F, "float64": types.CUDA_R_64F}
        # read by the host when it is called (CUBLAS_POINTER_MODE_HOST, the default)
        self._numbers = {n: np.array([0, 1], n) for n in self._types}

    @classmethod
    def found(cls, stream: int) -> _Blas | None:
        """It, or None where it isn't installed."""
        try:
            blas = importlib.import_module("nvmath.bindings.cublas")
            types = importlib.import_module("nvmath").CudaDataType
            handle = blas.create()
        except (ImportError, RuntimeError):  # no nvmath-python, or no library for it
            return None
        blas.set_stream(handle, stream)
        return cls(blas, types, handle)

    def multiply(self, asked: Multiplication) -> None:
        """Source: cuBLAS 12.9, cublasGemmStridedBatchedEx."""
        name, blas = asked.dtype.name, self._blas
        kind, numbers = self._types[name], self._numbers[name]
        zero = numbers.ctypes.data
        turned = [blas.Operation.T if t else blas.Operation.N
                  for t in (asked.a_turned, asked.b_turned)]  # fmt: skip
        blas.gemm_strided_batched_ex(
            self._handle, *turned, asked.m, asked.n, asked.k, zero + numbers.itemsize,
            asked.a.address, kind, asked.a.columns_apart, asked.a.batch_apart,
            asked.b.address, kind, asked.b.columns_apart, asked.b.batch_apart,
            zero, asked.c.address, kind, asked.c.columns_apart, asked.c.batch_apart,
            asked.batch, self._compute[name, asked.tensor_cores], blas.GemmAlgo.DEFAULT,
        )  # fmt: skip


class Gpu:
    """One GPU. Launches and copies happen in the order of the calls.

    arch: the name of the architecture that PTX is written for. stream_number: the handle of
    the stream. dlpack_device: what DLPack calls the GPU.
    """

    def __init__(self, number: int = 0) -> None:
        self._core, self._utils, self._driver = _modules()
        self._number, self._process = number, os.getpid()
        device = self._device()
        major, minor = device.compute_capability
        self.arch = arch_of_capability(major, minor)
        self.dlpack_device = (_CUDA, number)
        self._stream = device.create_stream()
        self.stream_number = int(self._stream.handle)
        self._loaded: dict[str, Any] = {}
        self._blas: _Blas | None = None
        self._blas_sought = False

    def _device(self) -> Any:
        device = self._core.Device(self._number)
        device.set_current()
        return device

    def use(self) -> None:
        """Make it the calling thread's GPU."""
        if os.getpid() != self._process:
            message = "a forked process can't use the GPU of its parent"
            advice = "start processes by the method 'spawn'"
            raise DeviceError(at_user_line(message, advice))
        self._device()

    def allocate(self, size: int) -> Any:
        """Memory of so many bytes, freed with the object. Raises OutOfMemoryError."""
        try:
            return self._device().allocate(max(1, size), stream=self._stream)
        except Exception as error:
            if "OUT_OF_MEMORY" not in str(error):
                raise
            raise OutOfMemoryError(
                at_user_line(f"no memory for {size} bytes on the GPU")
            ) from error

    def address(self, memory: Any) -> int:
        """Where memory lies."""
        return int(memory.handle)

    def upload(self, array: Array) -> Any:
        """Memory with an array's bytes, which are in C order."""
        memory = self.allocate(array.nbytes)
        if array.nbytes:
            # of pageable memory: returns when the array may change again
            self._checked(
                self._driver.cuMemcpyHtoDAsync(
                    int(memory.handle), array.ctypes.data, array.nbytes, self.stream_number
                )
            )
        return memory

    def download(self, address: int, array: Array) -> None:
        """Copy bytes from the GPU into an array, once they are there."""
        self.use()
        self._checked(
            self._driver.cuMemcpyDtoHAsync(
                array.ctypes.data, address, array.nbytes, self.stream_number
            )
        )
        self.wait()

    def _checked(self, result: tuple[Any, ...]) -> None:
        status = result[0]
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise DeviceError(at_user_line(f"the GPU failed: {status.name}"))

    def launch(
        self, text: str, entry: str, blocks: int, threads: int, arguments: list[int]
    ) -> None:
        """Launch a kernel of a PTX module with arguments of 8 bytes each."""
        module = self._loaded.get(text)
        if module is None:
            module = self._loaded[text] = self._core.ObjectCode.from_ptx(text.encode())
        config = self._core.LaunchConfig(grid=blocks, block=threads)
        self._core.launch(self._stream, config, module.get_kernel(entry), *arguments)

    @property
    def has_blas(self) -> bool:
        """Whether cuBLAS is installed."""
        if not self._blas_sought:
            self._blas, self._blas_sought = _Blas.found(self.stream_number), True
        return self._blas is not None

    def multiply(self, asked: Multiplication) -> None:
        """Have cuBLAS multiply matrices, where it is installed."""
        assert self._blas is not None
        self._blas.multiply(asked)

    def wait(self) -> None:
        """Return when all is done."""
        self._stream.sync()

    def lent(self, x: Any) -> tuple[Any, int, tuple[int, ...], np.dtype[Any]] | None:
        """What another library's array on this GPU is: what keeps it alive, address, shape,
        dtype; None for what is no such array.
        """
        if not hasattr(x, "__cuda_array_interface__"):
            where = getattr(x, "__dlpack_device__", None)
            if where is None or where()[0] != _CUDA:
                return None
        view = self._utils.StridedMemoryView.from_any_interface(x, self.stream_number)
        if view.device_id != self._number:
            message = f"an array on GPU {view.device_id}; functions run on {self._number}"
            raise InvalidArgumentError(at_user_line(message))
        expected, step = [], 1
        for n in reversed(view.shape):
            expected.append(step)
            step *= n
        strides = view.strides and tuple(view.strides)
        if strides and step > 0 and strides != tuple(reversed(expected)):
            raise InvalidArgumentError(
                at_user_line(
                    f"an array on the GPU of shape {list(view.shape)} that isn't in C order",
                    "make a contiguous copy of it",
                )
            )
        if view.ptr % ALIGNMENT:
            message = (
                f"an array on the GPU that doesn't start at a multiple of {ALIGNMENT} bytes"
            )
            raise InvalidArgumentError(at_user_line(message, "make a copy of it"))
        return (x, view), view.ptr, tuple(view.shape), np.dtype(view.dtype)

    def exported(
        self, memory: Any, shape: tuple[int, ...], dtype: np.dtype[Any], options: Any
    ) -> Any:
        """A DLPack capsule."""
        view = self._utils.StridedMemoryView.from_buffer(memory, shape, dtype=dtype)
        return view.__dlpack__(**options)


_lock = new_lock()
_gpus: list[Gpu] = []


def gpu() -> Gpu:
    """The GPU that functions run on: the first that CUDA_VISIBLE_DEVICES leaves visible.

    Raises DeviceError where cuda-core isn't installed, or there is no driver or no GPU.
    """
    with _lock:
        if not _gpus:
            _gpus.append(Gpu())
        return _gpus[0]


def available() -> bool:
    """Whether functions can run on a GPU here."""
    try:
        gpu()
    except DeviceError:
        return False
    return True


__all__ = ["Gpu", "available", "gpu"]
