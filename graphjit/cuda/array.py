"""Arrays in a GPU's memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from graphjit.core.errors import UnsupportedError, at_user_line
from graphjit.core.types import Array, DType

if TYPE_CHECKING:
    from .driver import Gpu


class DeviceArray:
    """An immutable array in a GPU's memory, in C order: what `device="cuda"` functions return,
    and take without a copy.

    shape, dtype: as of a Tensor. `numpy()` copies it to the host. Other libraries see the same
    memory by `__dlpack__` and `__cuda_array_interface__` (version 3), and must not write to it.
    gpu: where it lies; memory: what keeps it alive; address: of its first element. borrowed:
    whether the memory is another library's.
    """

    def __init__(
        self,
        gpu: Gpu,
        memory: Any,
        address: int,
        shape: tuple[int, ...],
        dtype: DType,
        borrowed: bool = False,
    ) -> None:
        self.gpu, self.memory, self.address = gpu, memory, address
        self.shape, self.dtype = shape, dtype
        self.borrowed = borrowed

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The bytes that the elements take."""
        return self.size * self.dtype.size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d array has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<graphjit.cuda.DeviceArray: shape={self.shape}, dtype={self.dtype.name}>"

    def numpy(self) -> Array:
        """A copy on the host; waits until the GPU has computed it."""
        array = np.empty(self.shape, self.dtype.dtype)
        if array.nbytes:
            self.gpu.download(self.address, array)
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("an array on a GPU is copied to the host")
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def item(self) -> Any:
        """The only element as a Python number."""
        return self.numpy().item()

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.dtype.dtype.kind == "V":
            raise AttributeError(
                f"{self.dtype.name} has no name in the CUDA array interface; DLPack has one"
            )
        return {
            "shape": self.shape,
            "typestr": self.dtype.dtype.str,
            "data": (self.address if self.size else 0, False),
            "strides": None,
            "version": 3,
            "stream": self.gpu.stream_number,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.gpu.dlpack_device

    def __dlpack__(self, **options: Any) -> Any:
        if self.borrowed:
            message = "memory that another library lent is passed on by that library"
            raise UnsupportedError(at_user_line(message))
        self.gpu.wait()  # whoever takes it may have another stream
        return self.gpu.exported(self.memory, self.shape, self.dtype.dtype, options)


__all__ = ["DeviceArray"]
